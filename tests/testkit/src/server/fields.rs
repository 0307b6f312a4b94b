//! Reading and writing header values.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::refusal::{Refusal, bad, refuse};

/// A header's value; what cannot be one (a quirk's text with a line feed) becomes empty.
pub(super) fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static(""))
}

/// The value of a header that may be there once.
pub(super) fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(bad(format!("{name} is there twice")));
    }
    value
        .to_str()
        .map(Some)
        .map_err(|_| bad(format!("{name} is not ASCII")))
}

/// The value of a header that is a number: decimal digits that fit 64 bits, and nothing else.
pub(super) fn number(headers: &HeaderMap, name: &str) -> Result<Option<u64>, Refusal> {
    let Some(value) = one(headers, name)? else {
        return Ok(None);
    };
    let digits = Some(value).filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|digits| digits.parse().ok()) {
        Some(n) => Ok(Some(n)),
        None => Err(bad(format!("{name} is not a number"))),
    }
}

pub(super) fn content_length(headers: &HeaderMap) -> Result<u64, Refusal> {
    let length = number(headers, CONTENT_LENGTH.as_str())?;
    length
        .filter(|_| !headers.contains_key(TRANSFER_ENCODING))
        .ok_or_else(|| {
            refuse(
                StatusCode::LENGTH_REQUIRED,
                "Content-Length is needed, and no Transfer-Encoding",
            )
        })
}
