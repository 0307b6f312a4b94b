//! Answers that are not what was asked for.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Response, StatusCode};

use super::fields::text;

/// An answer that is not what was asked for: status, words, and at most one header of its own.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    words: String,
    header: Option<(HeaderName, HeaderValue)>,
    /// Said by something in front of the server, which does not speak tus.
    pub(super) foreign: bool,
}

pub(super) fn refuse(status: StatusCode, words: impl Into<String>) -> Refusal {
    Refusal {
        status,
        words: words.into(),
        header: None,
        foreign: false,
    }
}

/// With a quirk's status; one that is none is a server error.
pub(super) fn refuse_as(status: u16, words: impl Into<String>) -> Refusal {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    refuse(status, words)
}

/// What a proxy says, as a web page.
pub(super) fn page(status: StatusCode, words: &str) -> Refusal {
    Refusal {
        foreign: true,
        ..refuse(status, format!("<!DOCTYPE html><title>{words}</title>"))
    }
}

pub(super) fn bad(words: impl Into<String>) -> Refusal {
    refuse(StatusCode::BAD_REQUEST, words)
}

impl Refusal {
    pub(super) fn with(self, name: HeaderName, value: &str) -> Self {
        Self {
            header: Some((name, text(value))),
            ..self
        }
    }
}

impl From<Refusal> for Response<Bytes> {
    fn from(refusal: Refusal) -> Self {
        let mut response = Response::new(Bytes::from(refusal.words + "\n"));
        *response.status_mut() = refusal.status;
        let media = if refusal.foreign {
            "text/html; charset=utf-8"
        } else {
            "text/plain; charset=utf-8"
        };
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(media));
        response.headers_mut().extend(refusal.header);
        response
    }
}

pub(super) fn not_allowed(words: &str) -> Refusal {
    refuse(StatusCode::METHOD_NOT_ALLOWED, words).with(ALLOW, "OPTIONS, POST, HEAD, PATCH, DELETE")
}
