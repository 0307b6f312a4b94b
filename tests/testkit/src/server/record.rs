//! What the server remembers of requests, and what all answers have.

use std::ops::Range;

use bytes::Bytes;
use http::header::DATE;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::Server;
use super::fields::text;
use super::refusal::Refusal;
use crate::names::{TUS_RESUMABLE, VERSION};
use crate::{Quirk, location};

/// One request that a [`Server`] got.
#[derive(Clone, Debug)]
pub struct Record {
    /// The method that the server understood: that of an `X-HTTP-Method-Override` it followed.
    pub method: Method,
    /// Path and query, as they were sent.
    pub target: String,
    /// All headers, as they were sent.
    pub headers: HeaderMap,
    /// The fields that came after the body.
    pub trailers: HeaderMap,
    /// How many bytes of the body arrived.
    pub body: u64,
    /// Where in the upload the bytes are that were kept; empty if none were.
    pub kept: Range<u64>,
    /// The answer's status. `None` as long as there is none, so for good where the connection was
    /// lost before. That there is one does not mean that it reached the client.
    pub status: Option<StatusCode>,
}

impl Server {
    /// All requests, in the order in which their heads arrived.
    #[must_use]
    pub fn log(&self) -> &[Record] {
        &self.log
    }

    /// Logs how much of a body came that the server did not see.
    pub(crate) fn note_body(&mut self, record: usize, bytes: u64) {
        self.log[record].body = bytes;
    }

    /// Logs a request, and gives its place in the log.
    pub(crate) fn note(&mut self, head: &Parts, status: Option<StatusCode>) -> usize {
        self.log.push(Record {
            method: head.method.clone(),
            target: location::target(&head.uri).to_owned(),
            headers: head.headers.clone(),
            trailers: HeaderMap::new(),
            body: 0,
            kept: 0..0,
            status,
        });
        self.log.len() - 1
    }

    /// Logs the answer, and puts on it what every answer has.
    pub(super) fn seal(
        &mut self,
        record: usize,
        outcome: Result<Response<Bytes>, Refusal>,
    ) -> Response<Bytes> {
        let bare = self.has(&Quirk::NoVersion)
            || outcome
                .as_ref()
                .is_err_and(|refusal| refusal.foreign || self.has(&Quirk::ErrorsWithoutVersion));
        let mut response = outcome.unwrap_or_else(Response::from);
        self.log[record].status = Some(response.status());
        let version = self.quirk(|quirk| match quirk {
            Quirk::OtherVersion(version) => Some(text(version)),
            _ => None,
        });
        if !bare {
            response.headers_mut().insert(
                TUS_RESUMABLE,
                version.unwrap_or(HeaderValue::from_static(VERSION)),
            );
        }
        if let Some(now) = self.now {
            response.headers_mut().insert(DATE, self.date(now));
        }
        if self.has(&Quirk::RepeatedLines) {
            let lines: Vec<_> = response
                .headers()
                .iter()
                .filter(|(name, _)| {
                    ["tus-", "upload-"]
                        .iter()
                        .any(|prefix| name.as_str().starts_with(prefix))
                })
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            for (name, value) in lines {
                response.headers_mut().append(name, value);
            }
        }
        response
    }
}
