//! Reading header fields that may be missing, repeated or broken.
//!
//! A repeated header is one of two things: a list ([`list`]), or one value said more than once, which
//! is believed only while all of them agree ([`integer()`], [`single`]; the precedent is
//! [RFC 9110 §8.6](https://www.rfc-editor.org/rfc/rfc9110#section-8.6)).

use http::{HeaderMap, HeaderName};

use super::integer;

/// More members than any header of the protocol has, so that a long header stays cheap.
const MAX_MEMBERS: usize = 128;

/// What a header said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field<T> {
    /// The header is not there.
    Missing,
    /// It is there, and means nothing or several things.
    Malformed,
    /// All of its values agree on this.
    Value(T),
}

impl<T> Field<T> {
    /// The value; a malformed header counts as missing.
    pub(crate) fn value(self) -> Option<T> {
        match self {
            Field::Value(value) => Some(value),
            Field::Missing | Field::Malformed => None,
        }
    }
}

/// An integer; `5, 5` and repeated lines are fine while every member is the same number.
pub(crate) fn integer(headers: &HeaderMap, name: &HeaderName) -> Field<u64> {
    agreed(lines(headers, name).flat_map(members).map(integer::parse))
}

/// A value in which a comma separates nothing, such as a URI or a date; never empty. Repeated lines
/// are fine while they are identical.
pub(crate) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Field<&'a [u8]> {
    agreed(lines(headers, name).map(|line| Some(line.trim_ascii()).filter(|line| !line.is_empty())))
}

/// The members of a comma-separated list over all of its lines, in order, without empty ones; what
/// comes after the first [`MAX_MEMBERS`] is not looked at.
///
/// Syntax: [RFC 9110 §5.6.1](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.1).
pub(crate) fn list<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    lines(headers, name)
        .flat_map(members)
        .filter(|member| !member.is_empty())
        .take(MAX_MEMBERS)
}

fn lines<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    headers
        .get_all(name)
        .into_iter()
        .map(http::HeaderValue::as_bytes)
}

/// A header value holds no control character but the tab, so what `trim_ascii` removes is exactly
/// HTTP's optional whitespace.
fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

fn agreed<T: PartialEq>(mut values: impl Iterator<Item = Option<T>>) -> Field<T> {
    match values.next() {
        None => Field::Missing,
        Some(Some(first)) if values.all(|next| next.as_ref() == Some(&first)) => {
            Field::Value(first)
        }
        Some(_) => Field::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header::LOCATION};

    use super::*;
    use crate::wire::name::{TUS_VERSION, UPLOAD_OFFSET};

    fn headers(name: &HeaderName, lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            let value = HeaderValue::from_bytes(line.as_bytes()).expect("a legal value");
            headers.append(name, value);
        }
        headers
    }

    // PROTOCOL §4, 5 and 38.
    #[test]
    fn integers_are_believed_while_all_values_agree() {
        use Field::{Malformed, Missing, Value};
        let table: &[(&[&str], Field<u64>)] = &[
            (&[], Missing),
            (&["5"], Value(5)),
            (&[" \t5 "], Value(5)),
            (&["5", "5"], Value(5)),
            (&["5, 5"], Value(5)),
            (&["5 ,05", "5"], Value(5)),
            (&["18446744073709551615"], Value(u64::MAX)),
            (&["5", "6"], Malformed),
            (&["5, 6"], Malformed),
            (&["5", "x"], Malformed),
            (&["x", "5"], Malformed),
            (&["x", "x"], Malformed),
            (&["5,"], Malformed),
            (&["5", ""], Malformed),
            (&[""], Malformed),
            (&["3abc"], Malformed),
            (&["-3"], Malformed),
            (&["18446744073709551616"], Malformed),
            (&["5;5"], Malformed),
            (&["5 5"], Malformed),
        ];
        for (lines, expected) in table {
            let headers = headers(&UPLOAD_OFFSET, lines);
            assert_eq!(integer(&headers, &UPLOAD_OFFSET), *expected, "{lines:?}");
        }
    }

    // PROTOCOL §4, 28 and 38.
    #[test]
    fn a_comma_separates_nothing_in_a_single_value() {
        use Field::{Malformed, Missing, Value};
        let table: &[(&[&str], Field<&str>)] = &[
            (&[], Missing),
            (&["/files/a,b"], Value("/files/a,b")),
            (&[" /a\t"], Value("/a")),
            (&["/a", "/a "], Value("/a")),
            (&["/ä"], Value("/ä")),
            (&["/a", "/b"], Malformed),
            (&["/a", ""], Malformed),
            (&["", "/a"], Malformed),
            (&["  "], Malformed),
        ];
        for (lines, expected) in table {
            let headers = headers(&LOCATION, lines);
            let found = match single(&headers, &LOCATION) {
                Missing => Missing,
                Malformed => Malformed,
                Value(bytes) => Value(std::str::from_utf8(bytes).unwrap()),
            };
            assert_eq!(found, *expected, "{lines:?}");
        }
    }

    // PROTOCOL §4, 32 and 38.
    #[test]
    fn lists_span_lines_and_drop_empty_members() {
        let table: &[(&[&str], &[&str])] = &[
            (&[], &[]),
            (&[""], &[]),
            (&[" , ,"], &[]),
            (&["a,b"], &["a", "b"]),
            (&["a, b"], &["a", "b"]),
            (&["a ,\tb,", "", ",c"], &["a", "b", "c"]),
            (&["a", "a"], &["a", "a"]),
        ];
        for (lines, expected) in table {
            let headers = headers(&TUS_VERSION, lines);
            let expected = expected.iter().map(|text| text.as_bytes());
            assert!(list(&headers, &TUS_VERSION).eq(expected), "{lines:?}");
        }
    }

    #[test]
    fn lists_are_bounded() {
        let headers = headers(&TUS_VERSION, &["a,".repeat(1000).as_str()]);
        assert_eq!(list(&headers, &TUS_VERSION).count(), MAX_MEMBERS);
    }

    // PROTOCOL §4, 38.
    #[test]
    fn the_case_of_a_name_does_not_matter() {
        let name = HeaderName::from_bytes(b"UPLOAD-Offset").expect("a legal name");
        assert_eq!(
            integer(&headers(&name, &["5"]), &UPLOAD_OFFSET),
            Field::Value(5)
        );
    }

    #[test]
    fn a_malformed_header_counts_as_missing() {
        assert_eq!(Field::Value(5).value(), Some(5));
        assert_eq!(Field::<u64>::Missing.value(), None);
        assert_eq!(Field::<u64>::Malformed.value(), None);
    }
}
