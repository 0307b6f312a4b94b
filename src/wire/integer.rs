//! Integers of the protocol: ASCII digits that fit a `u64`, and nothing else.

use http::HeaderValue;

/// `u64::MAX` has twenty digits.
const MAX_DIGITS: usize = 20;

/// Leading zeros are digits too; a value that needs more room than this is no integer of a sane
/// server's.
const MAX_PADDED: usize = 32;

/// Reads `bytes` as a whole; no sign, no space, no fraction.
pub(crate) fn parse(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || bytes.len() > MAX_PADDED {
        return None;
    }
    bytes.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Writes `number`. Formatted on the stack: one allocation, where `HeaderValue::from(u64)` makes
/// several.
pub(crate) fn header_value(number: u64) -> HeaderValue {
    let mut digits = [b'0'; MAX_DIGITS];
    let mut start = MAX_DIGITS;
    let mut rest = number;
    loop {
        start -= 1;
        digits[start] += (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    HeaderValue::from_bytes(&digits[start..]).expect("digits are legal in a header")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read() {
        for (text, number) in [
            ("0", 0),
            ("5", 5),
            ("0005", 5),
            ("4294967296", 1 << 32),
            ("18446744073709551615", u64::MAX),
            ("00000000000018446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(number), "{text}");
        }
    }

    // PROTOCOL §4, 5.
    #[test]
    fn nothing_else_is() {
        for text in [
            "",
            " ",
            "3abc",
            "-3",
            "+3",
            " 3",
            "3 ",
            "3.0",
            "3,3",
            "0x3",
            "1e3",
            "1_000",
            "\u{0663}",
            "18446744073709551616",
            "99999999999999999999",
            "100000000000000000000",
            "18446744073709551615000000000000",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse(&[b'0'; MAX_PADDED]), Some(0));
        assert_eq!(parse(&[b'0'; MAX_PADDED + 1]), None);
        assert_eq!(parse(&[b'3', 0xff]), None);
    }

    // PROTOCOL §4, 22.
    #[test]
    fn what_is_written_is_read_again() {
        let powers = (0..64).map(|bit| 1_u64 << bit);
        for number in powers.flat_map(|n| [n - 1, n, n + 1]).chain([u64::MAX]) {
            let value = header_value(number);
            assert_eq!(value, number.to_string());
            assert_eq!(parse(value.as_bytes()), Some(number));
        }
    }
}
