//! Reading and writing header values.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::checksum::announces_trailer;
use super::refusal::{Refusal, bad, refuse};
use super::{Extension, Server};

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

impl Server {
    /// The value of a header that belongs to an extension.
    pub(super) fn offered<'a>(
        &self,
        headers: &'a HeaderMap,
        name: &str,
        extension: Extension,
    ) -> Result<Option<&'a str>, Refusal> {
        if headers.contains_key(name) && !self.offers(extension) {
            return Err(bad(format!(
                "{name} is of an extension that this server does not have"
            )));
        }
        one(headers, name)
    }

    /// The length of the body; `None` for one in chunks, which only a digest in the trailer excuses.
    pub(super) fn body_length(&self, headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
        let length = number(headers, CONTENT_LENGTH.as_str())?;
        let encoding = one(headers, TRANSFER_ENCODING.as_str())?;
        let trailer = self.offers(Extension::ChecksumTrailer) && announces_trailer(headers);
        match (length, encoding) {
            (Some(length), None) => Ok(Some(length)),
            (None, Some(coding)) if trailer && coding.eq_ignore_ascii_case("chunked") => Ok(None),
            _ => Err(refuse(
                StatusCode::LENGTH_REQUIRED,
                "Content-Length is needed, and no Transfer-Encoding",
            )),
        }
    }

    pub(super) fn check_max_size(&self, length: u64) -> Result<(), Refusal> {
        if self.options.max_size.is_some_and(|max| length > max) {
            return Err(refuse(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the upload is longer than Tus-Max-Size",
            ));
        }
        Ok(())
    }
}
