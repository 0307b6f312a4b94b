//! A tus server without I/O.

mod append;
mod checksum;
mod concat;
mod create;
mod expiry;
mod fields;
mod likeness;
mod options;
mod record;
mod refusal;
mod requests;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode};

use crate::fault::SplitMix64;
use crate::upload::New;
use crate::{Quirk, Upload, location};
use append::Keep;
pub use checksum::checksum;
use fields::number;
pub use options::{Extension, Options};
pub use record::Record;
use refusal::{Refusal, bad, refuse, refuse_as};

/// What [`Server::begin`] makes of a request's head.
#[derive(Debug)]
#[must_use]
pub enum Begun {
    /// The answer. Of the body, if the request has one, nothing is wanted.
    Answered(Response<Bytes>),
    /// The body is wanted: [`Server::body`] as it arrives, [`Server::trailers`] if there are any, then
    /// [`Server::finish`] or [`Server::abort`].
    Reading(Reading),
}

/// The fields that come after the body of a request in memory, as one of its
/// [extensions](Request::extensions_mut): [`Server::handle`] and [`Server::exchange`] look there.
///
/// ```
/// use bytes::Bytes;
/// use http::{HeaderMap, Request};
/// use tus_testkit::{Options, Server, Trailers};
///
/// let mut server = Server::new(Options::default());
/// let url = server.place(5, 0);
/// let mut fields = HeaderMap::new();
/// fields.insert("Upload-Checksum", "crc32 NhCmhg==".parse().unwrap());
/// let append = Request::patch(&url)
///     .header("Tus-Resumable", "1.0.0")
///     .header("Transfer-Encoding", "chunked")
///     .header("Trailer", "Upload-Checksum")
///     .header("Content-Type", "application/offset+octet-stream")
///     .header("Upload-Offset", "0")
///     .extension(Trailers(fields))
///     .body(Bytes::from_static(b"hello"))
///     .unwrap();
/// assert_eq!(server.handle(append).status(), 204);
/// ```
#[derive(Clone, Debug)]
pub struct Trailers(pub HeaderMap);

/// A request whose body is being read. While one for an upload is open, the upload is
/// [locked](Server::locks).
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Reading(u64);

/// What is known of a request whose body is being read.
#[derive(Debug)]
struct Open {
    record: usize,
    /// `None`: it ends when it is said to.
    left: Option<u64>,
    purpose: Purpose,
}

#[derive(Debug)]
enum Purpose {
    /// Append it to an upload.
    Keep(Keep),
    /// Throw the body away; this is the answer.
    Discard(Result<Response<Bytes>, Refusal>),
    /// Another request has taken the upload over.
    Displaced,
}

/// A strict tus 1.0.0 server without I/O, which holds its uploads in memory. It has every
/// [`Extension`].
///
/// Where the specification leaves a choice, it does as tusd does: a body that breaks off leaves the
/// bytes that arrived, and a request to an upload that another one is writing to ends the other. An
/// upload is there once the head of its creation was accepted. A body with a checksum waits for its
/// end: it is kept whole or not at all, in a creation as in a PATCH. A length that comes late may
/// come again if it is the same. See [`Quirk`] for what it can be made to do otherwise. An `Expect: 100-continue` is the transport's to
/// answer, once [`begin`](Server::begin) asked for the body.
///
/// Beyond the letter it refuses what a client must not do: a POST or PATCH without `Content-Length`
/// (411), but for one in chunks that announces the trailer `Upload-Checksum`; headers of extensions that it
/// does not offer; protocol headers that are there twice; an override on anything but a POST.
///
/// The same requests give the same answers, byte for byte: upload names are counted, not random, and
/// time is [what it was set to](Self::set_now).
#[derive(Debug)]
pub struct Server {
    options: Options,
    /// By number, which is also the order of creation.
    uploads: BTreeMap<u64, Upload>,
    deleted: BTreeSet<Vec<u8>>,
    moved: Vec<Upload>,
    now: Option<u64>,
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
            moved: Vec::new(),
            now: None,
            open: BTreeMap::new(),
            serial: 0,
            log: Vec::new(),
        }
    }

    /// Answers a request that arrived whole, with [`Trailers`] perhaps. Its `Content-Length`, if there
    /// is one, must be its body's length, else the answer is a 400.
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
                if let Some(Trailers(fields)) = head.extensions.get() {
                    self.trailers(&reading, fields);
                }
                self.finish(reading)
            }
        }
    }

    /// Takes the head of a request. Its URI may be a path or a whole URL; without a `Host` header the
    /// URL's authority counts. Of a path, the scheme is an extension of the head (a
    /// [`Scheme`](http::uri::Scheme)), or `http`.
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
        let piece = &piece[..fit(piece, open.left.unwrap_or(u64::MAX))];
        open.left = open.left.map(|left| left - piece.len() as u64);
        let record = &mut self.log[open.record];
        record.body += piece.len() as u64;
        let Purpose::Keep(keep) = &mut open.purpose else {
            return true;
        };
        let Some(upload) = self.uploads.get_mut(&keep.id) else {
            return false;
        };
        let wanted = keep.take(piece, upload, record);
        if upload.is_complete() {
            self.join();
        }
        wanted
    }

    /// Takes the fields after the body, where a digest may be, before [`finish`](Self::finish).
    pub fn trailers(&mut self, reading: &Reading, fields: &HeaderMap) {
        if let Some(open) = self.open.get(&reading.0) {
            self.log[open.record].trailers = fields.clone();
        }
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
            _ if open.left.is_some_and(|left| left > 0) => {
                Err(bad("ERR_UNEXPECTED_EOF: the body ended early"))
            }
            Purpose::Discard(outcome) => outcome,
            Purpose::Keep(keep) => self.conclude(open.record, keep),
        };
        self.seal(open.record, outcome)
    }

    /// The connection was lost in the body, or its answer is not wanted: what arrived is kept, unless
    /// it was still to be checked.
    #[expect(clippy::needless_pass_by_value, reason = "a body ends once")]
    pub fn abort(&mut self, reading: Reading) {
        self.open.remove(&reading.0);
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

    /// The uploads that [`Quirk::MovesCompleted`] has taken away, in the order of their completion.
    #[must_use]
    pub fn moved(&self) -> &[Upload] {
        &self.moved
    }

    /// Makes an upload behind the client's back, of which the first `offset` bytes are there already,
    /// unseen: the way to offsets that no test would send its way to. Its length may be announced later
    /// (`None`). Gives path and query of its URL.
    ///
    /// # Panics
    ///
    /// If `offset` is greater than `length`.
    pub fn place(&mut self, length: impl Into<Option<u64>>, offset: u64) -> String {
        let length = length.into();
        assert!(
            length.is_none_or(|length| offset <= length),
            "offset {offset} is beyond length {length:?}"
        );
        let (id, name) = self.next_name();
        let target = format!("{}{name}", self.options.endpoint);
        let new = New {
            length,
            ..New::default()
        };
        self.uploads
            .insert(id, Upload::new(target.clone(), offset, new));
        self.renew(id);
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

    /// Loses the last bytes of an upload, so many or all that it has, as a crash does to what was not
    /// on the disk yet, and ends the request that was writing to it. Gives how many were lost: of an
    /// upload that was [placed](Self::place), only what was sent can be.
    pub fn lose(&mut self, url: &str, bytes: u64) -> u64 {
        let Some(id) = self.find(url) else {
            return 0;
        };
        self.displace(id);
        let Some(upload) = self.uploads.get_mut(&id) else {
            return 0;
        };
        let lost = fit(&upload.content, bytes);
        upload.content.truncate(upload.content.len() - lost);
        lost as u64
    }

    /// Appends bytes to an upload behind the client's back, as another client does that shares its
    /// URL. Gives how many fitted: without a length, the limit is [`Options::max_size`].
    pub fn write(&mut self, url: &str, bytes: &[u8]) -> u64 {
        let Some(id) = self.find(url) else {
            return 0;
        };
        self.displace(id);
        let limit = self.limit(self.uploads[&id].length);
        let Some(upload) = self.uploads.get_mut(&id) else {
            return 0;
        };
        let room = limit.saturating_sub(upload.offset());
        let taken = fit(bytes, room);
        upload.content.extend_from_slice(&bytes[..taken]);
        self.join();
        taken as u64
    }

    /// How many requests are writing to uploads at the moment.
    #[must_use]
    pub fn locks(&self) -> usize {
        self.open
            .values()
            .filter(|open| matches!(open.purpose, Purpose::Keep(_)))
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

    fn open(&mut self, open: Open) -> Begun {
        self.serial += 1;
        self.open.insert(self.serial, open);
        Begun::Reading(Reading(self.serial))
    }

    /// Gives the upload to the request that wants to change it.
    fn lock(&mut self, id: u64) -> Result<(), Refusal> {
        let status = self.locked_status();
        if let Some(status) = status.filter(|_| self.open.values().any(|open| open.writes_to(id))) {
            return Err(refuse_as(status, "another request is writing"));
        }
        self.displace(id);
        Ok(())
    }

    /// What a request is answered that comes while another one is writing, unless the newcomer wins.
    fn locked_status(&self) -> Option<u16> {
        self.quirk(|quirk| match quirk {
            Quirk::LockedIs(status) => Some(*status),
            _ => None,
        })
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
        match self.find(target) {
            Some(id) if !self.is_expired(&self.uploads[&id]) => Ok(id),
            Some(_) if self.has(&Quirk::MissingIs403) => Err(self.not_found(false)),
            Some(_) if !self.has(&Quirk::ExpiredIs404) => {
                Err(refuse(StatusCode::GONE, "the upload has expired"))
            }
            Some(_) => Err(self.not_found(false)),
            None => Err(self.not_found(self.deleted.contains(&location::key(target)))),
        }
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

    fn offers(&self, extension: Extension) -> bool {
        self.options.extensions.contains(&extension)
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
        matches!(&self.purpose, Purpose::Keep(keep) if keep.id == upload)
    }
}

/// How much of `piece` fits into `room` bytes.
fn fit(piece: &[u8], room: u64) -> usize {
    usize::try_from(room).map_or(piece.len(), |room| room.min(piece.len()))
}
