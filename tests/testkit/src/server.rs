//! A tus server without I/O.

mod fields;
mod refusal;
mod requests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};

use crate::fault::SplitMix64;
use crate::names::{TUS_RESUMABLE, VERSION};
use crate::{Quirk, Upload, location};
use fields::{number, text};
use refusal::{Refusal, bad, refuse};

/// A part of the protocol that a server may leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Extension {
    /// POST to the endpoint makes an upload.
    Creation,
    /// DELETE ends one.
    Termination,
}

impl Extension {
    /// All that [`Server`] has.
    pub const ALL: [Self; 2] = [Self::Creation, Self::Termination];

    /// Its name in `Tus-Extension`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Creation => "creation",
            Self::Termination => "termination",
        }
    }
}

/// What a [`Server`] is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Path of the endpoint; `/files/` by default.
    pub endpoint: String,
    /// `Tus-Max-Size`, in bytes; none by default.
    pub max_size: Option<u64>,
    /// All by default.
    pub extensions: Vec<Extension>,
    /// None by default.
    pub quirks: Vec<Quirk>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            endpoint: "/files/".into(),
            max_size: None,
            extensions: Extension::ALL.into(),
            quirks: Vec::new(),
        }
    }
}

/// One request that a [`Server`] got.
#[derive(Clone, Debug)]
pub struct Record {
    /// The method that the server understood: that of an `X-HTTP-Method-Override` it followed.
    pub method: Method,
    /// Path and query, as they were sent.
    pub target: String,
    /// All headers, as they were sent.
    pub headers: HeaderMap,
    /// How many bytes of the body arrived.
    pub body: u64,
    /// Where in the upload the bytes are that were kept; empty if none were.
    pub kept: Range<u64>,
    /// The answer's status. `None` as long as there is none, so for good where the connection was
    /// lost before. That there is one does not mean that it reached the client.
    pub status: Option<StatusCode>,
}

/// What [`Server::begin`] makes of a request's head.
#[derive(Debug)]
#[must_use]
pub enum Begun {
    /// The answer. Of the body, if the request has one, nothing is wanted.
    Answered(Response<Bytes>),
    /// The body is wanted: [`Server::body`] as it arrives, then [`Server::finish`] or
    /// [`Server::abort`].
    Reading(Reading),
}

/// A request whose body is being read. While one for an upload is open, the upload is
/// [locked](Server::locks).
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Reading(u64);

/// What is known of a request whose body is being read.
#[derive(Debug)]
struct Open {
    record: usize,
    left: u64,
    purpose: Purpose,
}

#[derive(Debug)]
enum Purpose {
    /// Append to this upload, as many bytes at most.
    Append { id: u64, room: u64 },
    /// Throw the body away; this is the answer.
    Discard(Response<Bytes>),
    /// Another request has taken the upload over.
    Displaced,
}

/// A strict tus 1.0.0 server without I/O, which holds its uploads in memory.
///
/// Where the specification leaves a choice, it does as tusd does: a body that breaks off leaves the
/// bytes that arrived, and a request to an upload that another one is writing to ends the other. See
/// [`Quirk`] for what it can be made to do otherwise. An `Expect: 100-continue` is the transport's to
/// answer, once [`begin`](Server::begin) asked for the body.
///
/// Beyond the letter it refuses what a client must not do: a POST or PATCH without `Content-Length`
/// (411), protocol headers that are there twice, an override on anything but a POST.
///
/// The same requests give the same answers, byte for byte: upload names are counted, not random.
#[derive(Debug)]
pub struct Server {
    options: Options,
    /// By number, which is also the order of creation.
    uploads: BTreeMap<u64, Upload>,
    deleted: BTreeSet<Vec<u8>>,
    open: BTreeMap<u64, Open>,
    serial: u64,
    log: Vec<Record>,
}

impl Server {
    /// A server without uploads.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            uploads: BTreeMap::new(),
            deleted: BTreeSet::new(),
            open: BTreeMap::new(),
            serial: 0,
            log: Vec::new(),
        }
    }

    /// Answers a request that arrived whole. Its `Content-Length` must be its body's length, else the
    /// answer is a 400.
    pub fn handle(&mut self, request: Request<Bytes>) -> Response<Bytes> {
        let (head, body) = request.into_parts();
        if let Ok(Some(length)) = number(&head.headers, CONTENT_LENGTH.as_str())
            && length != body.len() as u64
        {
            let record = self.note(&head, None);
            self.log[record].body = body.len() as u64;
            return self.seal(
                record,
                Err(bad(format!(
                    "the body has {} bytes, not {length}",
                    body.len()
                ))),
            );
        }
        match self.begin(&head) {
            Begun::Answered(response) => response,
            Begun::Reading(reading) => {
                self.body(&reading, &body);
                self.finish(reading)
            }
        }
    }

    /// Takes the head of a request. Its URI may be a path or a whole URL; without a `Host` header the
    /// URL's authority counts.
    pub fn begin(&mut self, head: &Parts) -> Begun {
        let record = self.note(head, None);
        match self.dispatch(head, record) {
            Ok(Begun::Answered(response)) => Begun::Answered(self.seal(record, Ok(response))),
            Ok(reading @ Begun::Reading(_)) => reading,
            Err(refusal) => Begun::Answered(self.seal(record, Err(refusal))),
        }
    }

    /// Takes a piece of the body. `false`: no more is wanted, the answer is there already;
    /// [`finish`](Self::finish) gives it.
    pub fn body(&mut self, reading: &Reading, piece: &[u8]) -> bool {
        let Some(open) = self.open.get_mut(&reading.0) else {
            return false;
        };
        if matches!(open.purpose, Purpose::Displaced) {
            return false;
        }
        let piece = &piece[..fit(piece, open.left)];
        open.left -= piece.len() as u64;
        let record = &mut self.log[open.record];
        record.body += piece.len() as u64;
        if let Purpose::Append { id, room } = &mut open.purpose
            && let Some(upload) = self.uploads.get_mut(id)
        {
            let kept = &piece[..fit(piece, *room)];
            *room -= kept.len() as u64;
            upload.content.extend_from_slice(kept);
            record.kept.end += kept.len() as u64;
        }
        true
    }

    /// Ends the body, and gives the answer: the body was whole, or [`body`](Self::body) wanted no
    /// more.
    #[expect(clippy::needless_pass_by_value, reason = "a body ends once")]
    pub fn finish(&mut self, reading: Reading) -> Response<Bytes> {
        let Some(open) = self.open.remove(&reading.0) else {
            return refuse(
                StatusCode::INTERNAL_SERVER_ERROR,
                "this server is not reading that request",
            )
            .into();
        };
        let outcome = match open.purpose {
            Purpose::Displaced => Err(bad(
                "ERR_UPLOAD_INTERRUPTED: another request took the upload over",
            )),
            _ if open.left > 0 => Err(bad("ERR_UNEXPECTED_EOF: the body ended early")),
            Purpose::Discard(response) => Ok(response),
            Purpose::Append { id, .. } => match self.uploads.get(&id) {
                Some(upload) => Ok(self.appended(upload.offset())),
                None => Err(self.not_found(true)),
            },
        };
        self.seal(open.record, outcome)
    }

    /// The connection was lost in the body, or its answer is not wanted: what arrived is kept.
    #[expect(clippy::needless_pass_by_value, reason = "a body ends once")]
    pub fn abort(&mut self, reading: Reading) {
        self.open.remove(&reading.0);
    }

    /// All requests, in the order in which their heads arrived.
    #[must_use]
    pub fn log(&self) -> &[Record] {
        &self.log
    }

    /// All uploads, in the order of their creation.
    pub fn uploads(&self) -> impl Iterator<Item = &Upload> {
        self.uploads.values()
    }

    /// The upload of this URL, which may be whole or just path and query.
    #[must_use]
    pub fn upload(&self, url: &str) -> Option<&Upload> {
        self.find(url).map(|id| &self.uploads[&id])
    }

    /// Makes an upload behind the client's back, of which the first `offset` bytes are there already,
    /// unseen: the way to offsets that no test would send its way to. Gives path and query of its URL.
    ///
    /// # Panics
    ///
    /// If `offset` is greater than `length`.
    pub fn place(&mut self, length: u64, offset: u64) -> String {
        assert!(
            offset <= length,
            "offset {offset} is beyond length {length}"
        );
        let (id, name) = self.next_name();
        let target = format!("{}{name}", self.options.endpoint);
        self.uploads
            .insert(id, Upload::new(target.clone(), length, offset, None));
        target
    }

    /// Deletes an upload behind the client's back, and says whether it was there.
    pub fn remove(&mut self, url: &str) -> bool {
        let Some(id) = self.find(url) else {
            return false;
        };
        self.displace(id);
        self.uploads.remove(&id);
        self.deleted.insert(location::key(url));
        true
    }

    /// How many requests are writing to uploads at the moment.
    #[must_use]
    pub fn locks(&self) -> usize {
        self.open
            .values()
            .filter(|open| matches!(open.purpose, Purpose::Append { .. }))
            .count()
    }

    /// The quirks that are on.
    #[must_use]
    pub fn quirks(&self) -> &[Quirk] {
        &self.options.quirks
    }

    /// The quirks that are on, to switch them.
    pub fn quirks_mut(&mut self) -> &mut Vec<Quirk> {
        &mut self.options.quirks
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.options.endpoint
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
            body: 0,
            kept: 0..0,
            status,
        });
        self.log.len() - 1
    }

    /// Logs the answer, and puts on it what every answer has.
    fn seal(
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

    fn open(&mut self, open: Open) -> Begun {
        self.serial += 1;
        self.open.insert(self.serial, open);
        Begun::Reading(Reading(self.serial))
    }

    /// Gives the upload to the request that wants to change it.
    fn lock(&mut self, id: u64) -> Result<(), Refusal> {
        if self.has(&Quirk::LockedIs423) && self.open.values().any(|open| open.writes_to(id)) {
            return Err(refuse(StatusCode::LOCKED, "another request is writing"));
        }
        self.displace(id);
        Ok(())
    }

    /// Ends the request that is writing to the upload, if there is one; what it brought stays.
    fn displace(&mut self, id: u64) {
        for open in self.open.values_mut().filter(|open| open.writes_to(id)) {
            open.purpose = Purpose::Displaced;
        }
    }

    fn next_name(&mut self) -> (u64, String) {
        self.serial += 1;
        (
            self.serial,
            format!("{:016x}", SplitMix64::new(self.serial).next_u64()),
        )
    }

    fn find(&self, url: &str) -> Option<u64> {
        let key = location::key(url);
        self.uploads
            .iter()
            .find(|(_, upload)| upload.key == key)
            .map(|(&id, _)| id)
    }

    fn found(&self, target: &str) -> Result<u64, Refusal> {
        self.find(target)
            .ok_or_else(|| self.not_found(self.deleted.contains(&location::key(target))))
    }

    fn not_found(&self, deleted: bool) -> Refusal {
        if self.has(&Quirk::MissingIs403) {
            refuse(StatusCode::FORBIDDEN, "this is not for you")
        } else if deleted && self.has(&Quirk::DeletedIs410) {
            refuse(StatusCode::GONE, "there is no such upload any more")
        } else {
            refuse(StatusCode::NOT_FOUND, "there is no such upload")
        }
    }

    fn has(&self, quirk: &Quirk) -> bool {
        self.options.quirks.contains(quirk)
    }

    fn quirk<'a, T>(&'a self, read: impl Fn(&'a Quirk) -> Option<T>) -> Option<T> {
        self.options.quirks.iter().find_map(read)
    }
}

impl Open {
    fn writes_to(&self, upload: u64) -> bool {
        matches!(self.purpose, Purpose::Append { id, .. } if id == upload)
    }
}

/// How much of `piece` fits into `room` bytes.
fn fit(piece: &[u8], room: u64) -> usize {
    usize::try_from(room).map_or(piece.len(), |room| room.min(piece.len()))
}
