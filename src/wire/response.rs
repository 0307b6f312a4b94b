//! What the server's fields and words mean. Stateless; what to do about them is `verdict`'s.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, Response, StatusCode, Uri};

use super::date::Date;
use super::{field, integer, name, reference, words};
use crate::{Algorithm, Capabilities, Role};

/// How many bytes the server has.
pub(crate) fn offset(headers: &HeaderMap) -> Option<u64> {
    field::integer(headers, &name::UPLOAD_OFFSET).value()
}

/// How many bytes the whole has.
pub(crate) fn length(headers: &HeaderMap) -> Option<u64> {
    field::integer(headers, &name::UPLOAD_LENGTH).value()
}

/// When the unfinished upload will be dropped.
pub(crate) fn expires(headers: &HeaderMap) -> Option<Date> {
    Date::parse(field::single(headers, &name::UPLOAD_EXPIRES).value()?)
}

/// The server's own time.
pub(crate) fn date(headers: &HeaderMap) -> Option<Date> {
    Date::parse(field::single(headers, &DATE).value()?)
}

/// Where the upload is, or where to ask.
pub(crate) fn location(headers: &HeaderMap) -> Option<&[u8]> {
    field::single(headers, &LOCATION).value()
}

/// Whether it is a tus server that answers, of whatever version.
pub(crate) fn names_tus(headers: &HeaderMap) -> bool {
    headers.contains_key(name::TUS_RESUMABLE)
}

/// The version that the answer is in, if it is not ours. Servers and proxies leave it out.
pub(crate) fn other_version(headers: &HeaderMap) -> Option<String> {
    match field::single(headers, &name::TUS_RESUMABLE).value() {
        Some(version) if version != name::VERSION.as_bytes() => Some(words::quote(version)),
        _ => None,
    }
}

/// Whether the server still waits to be told the length.
pub(crate) fn is_deferred(headers: &HeaderMap) -> bool {
    field::integer(headers, &name::UPLOAD_DEFER_LENGTH).value() == Some(1)
}

/// What the upload is in a concatenation.
pub(crate) fn role(headers: &HeaderMap) -> Role {
    let value = field::single(headers, &name::UPLOAD_CONCAT).value();
    let Some(value) = value else {
        return Role::Whole;
    };
    if value == name::CONCAT_PARTIAL.as_bytes() {
        return Role::Partial;
    }
    match value.strip_prefix(name::CONCAT_FINAL.as_bytes()) {
        None => Role::Whole,
        Some(parts) => Role::Final {
            parts: parts
                .strip_prefix(b";")
                .unwrap_or_default()
                .split(|byte| *byte == b' ')
                .filter(|part| !part.is_empty())
                .map(|part| String::from_utf8_lossy(part).into_owned())
                .collect(),
        },
    }
}

/// What the server offers; `None` where it is no tus server that answers.
pub(crate) fn capabilities(headers: &HeaderMap) -> Option<Capabilities> {
    let fields = [
        &name::TUS_RESUMABLE,
        &name::TUS_VERSION,
        &name::TUS_EXTENSION,
        &name::TUS_MAX_SIZE,
    ];
    if !fields.iter().any(|name| headers.contains_key(*name)) {
        return None;
    }
    let names = |name| {
        field::list(headers, name)
            .filter(|name| name.iter().all(u8::is_ascii_graphic))
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect::<Vec<_>>()
    };
    Some(Capabilities {
        versions: names(&name::TUS_VERSION),
        extensions: Some(names(&name::TUS_EXTENSION)).filter(|names| !names.is_empty()),
        max_size: field::integer(headers, &name::TUS_MAX_SIZE).value(),
        checksum_algorithms: field::list(headers, &name::TUS_CHECKSUM_ALGORITHM)
            .filter_map(Algorithm::read)
            .collect(),
    })
}

/// How long the server wants to be left alone. A date counts from the answer's own `Date`, for
/// nobody here knows the time; what is garbage, negative or zero is not a wish.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = field::single(headers, &RETRY_AFTER).value()?;
    let wait = match integer::parse(value) {
        Some(seconds) => Duration::from_secs(seconds),
        None => Date::parse(value)?.saturating_since(date(headers)?),
    };
    (!wait.is_zero()).then_some(wait)
}

/// The server's words, fit for a message.
pub(crate) fn said(answer: &Response<Bytes>) -> String {
    words::words(answer.headers().get(CONTENT_TYPE), answer.body())
}

/// The server's words on a refusal, and what its fields add to them. `base` is the URL that answered.
pub(crate) fn refusal(base: &Uri, answer: &Response<Bytes>) -> String {
    let headers = answer.headers();
    let mut said = said(answer);
    let mut add = |more: String| {
        if !said.is_empty() {
            said.push_str("; ");
        }
        said.push_str(&more);
    };
    match answer.status() {
        StatusCode::PRECONDITION_FAILED => {
            let versions: Vec<_> = field::list(headers, &name::TUS_VERSION).collect();
            if !versions.is_empty() {
                let versions = words::quote(&versions.join(&b", "[..]));
                add(format!("it speaks tus {versions}"));
            }
        }
        StatusCode::PAYLOAD_TOO_LARGE => {
            if let Some(limit) = field::integer(headers, &name::TUS_MAX_SIZE).value() {
                add(format!("its limit is {limit} bytes"));
            }
        }
        status if status.is_redirection() => {
            let target = location(headers).map(|location| reference::resolve(base, location));
            if let Some(Ok(target)) = target {
                add(format!("it redirects to {}", reference::redacted(&target)));
            }
        }
        _ => (),
    }
    said
}

/// Whether a 400 says that the request was broken off or displaced on its way, not wrong.
///
/// tusd has codes for it. Node ends the connection without a word, for no tus server has heard of the
/// request then.
pub(crate) fn broken_off(answer: &Response<Bytes>) -> bool {
    const CODES: [&[u8]; 3] = [
        b"ERR_UPLOAD_INTERRUPTED",
        b"ERR_UNEXPECTED_EOF",
        b"Request aborted due to lock acquired",
    ];
    let headers = answer.headers();
    let closes = headers
        .get(CONNECTION)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"));
    let wordless = answer.body().is_empty() && !names_tus(headers);
    closes && wordless || CODES.iter().any(|code| contains(answer.body(), code))
}

/// Whether a 500 says that another request held the upload's lock for too long. tusd and @tus/server
/// use the same words.
pub(crate) fn is_locked_out(answer: &Response<Bytes>) -> bool {
    contains(answer.body(), b"failed to acquire lock before timeout")
}

/// Whether a 413 is about the whole upload and not about this request.
pub(crate) fn upload_too_large(answer: &Response<Bytes>, length: Option<u64>) -> bool {
    let limit = field::integer(answer.headers(), &name::TUS_MAX_SIZE).value();
    limit
        .zip(length)
        .is_some_and(|(limit, length)| limit < length)
        || contains(answer.body(), b"ERR_MAX_SIZE_EXCEEDED")
        || contains(answer.body(), b"ERR_SIZE_EXCEEDED")
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Extension;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let fields = fields.iter().map(|(name, value)| {
            let name = http::HeaderName::from_static(name);
            (name, http::HeaderValue::from_static(value))
        });
        fields.collect()
    }

    fn answer(status: u16, fields: &[(&'static str, &'static str)]) -> Response<Bytes> {
        let mut answer = Response::new(Bytes::from_static(b"no"));
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        *answer.headers_mut() = headers(fields);
        answer
    }

    #[test]
    fn a_refusal_says_what_its_fields_add() {
        let table = [
            (412, ("tus-version", "0.2.2"), "no; it speaks tus 0.2.2"),
            (412, ("tus-version", ""), "no"),
            (413, ("tus-max-size", "5"), "no; its limit is 5 bytes"),
            (413, ("tus-max-size", "much"), "no"),
            (
                302,
                ("location", "/b"),
                "no; it redirects to http://a.test/b",
            ),
            (302, ("location", "ftp://b.test/"), "no"),
            (400, ("location", "/b"), "no"),
        ];
        let base = Uri::from_static("http://a.test/files/1");
        for (status, field, words) in table {
            let answer = answer(status, &[field]);
            assert_eq!(refusal(&base, &answer), words, "{status} {field:?}");
        }
    }

    #[test]
    fn a_limit_is_that_of_the_whole_where_the_whole_is_above_it() {
        for (limit, is) in [("8", true), ("9", false), ("10", false)] {
            let answer = answer(413, &[("tus-max-size", limit)]);
            assert_eq!(upload_too_large(&answer, Some(9)), is, "{limit}");
            assert!(!upload_too_large(&answer, None));
        }
    }

    // PROTOCOL C8, K2; §4, 32.
    #[test]
    fn lists_of_capabilities_are_read_with_spaces_and_without() {
        let table = [
            ("creation,checksum", "sha1,md5"),
            ("creation, checksum", "sha1, md5"),
            (" creation ,\tchecksum,", "sha1,,MD5,a b,md5"),
        ];
        for (extensions, algorithms) in table {
            let read = capabilities(&headers(&[
                ("tus-version", "1.0.0, 0.2.2"),
                ("tus-extension", extensions),
                ("tus-checksum-algorithm", algorithms),
                ("tus-max-size", "1000"),
            ]))
            .unwrap();
            assert_eq!(read.versions, ["1.0.0", "0.2.2"]);
            assert_eq!(read.offers(Extension::Checksum), Some(true), "{extensions}");
            assert_eq!(read.offers(Extension::Termination), Some(false));
            assert_eq!(read.checksum_algorithms, [Algorithm::SHA1, Algorithm::MD5]);
            assert_eq!(read.max_size, Some(1000));
        }
    }

    #[test]
    fn who_names_no_extension_says_nothing_of_them() {
        let silent = capabilities(&headers(&[("tus-version", "1.0.0")])).unwrap();
        assert_eq!(silent.offers(Extension::Creation), None);
        assert_eq!(capabilities(&headers(&[("server", "nginx")])), None);
        let garbage = capabilities(&headers(&[("tus-max-size", "-1")])).unwrap();
        assert_eq!(garbage.max_size, None);
    }

    // PROTOCOL P1, P2.
    #[test]
    fn a_role_is_read_as_it_was_sent() {
        let final_of = |parts: &[&str]| Role::Final {
            parts: parts.iter().map(ToString::to_string).collect(),
        };
        let table = [
            ("partial", Role::Partial),
            ("final;/a /b", final_of(&["/a", "/b"])),
            ("final; /a  http://h/b ", final_of(&["/a", "http://h/b"])),
            ("final", final_of(&[])),
            ("other", Role::Whole),
        ];
        for (value, expected) in table {
            assert_eq!(
                role(&headers(&[("upload-concat", value)])),
                expected,
                "{value}"
            );
        }
        assert_eq!(role(&HeaderMap::new()), Role::Whole);
    }
}
