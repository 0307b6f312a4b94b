//! The decision table: what an answer to an operation means.
//!
//! It is stateless. What a verdict leads to is the machines' business.

use bytes::Bytes;
use http::Response;

use crate::wire::response;
use crate::{Authorize, Hint, Op};

/// What the verdict depends on beside the answer.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Asked {
    pub(crate) op: Op,
    /// The same kind of request worked at this URL before.
    pub(crate) worked: bool,
    /// The length of the whole, where it matters.
    pub(crate) length: Option<u64>,
    /// It went over a new connection on purpose.
    pub(crate) fresh: bool,
    /// It had bytes.
    pub(crate) bytes: bool,
    /// It asked for leave to send them.
    pub(crate) expect: bool,
    /// It had a checksum.
    pub(crate) checksum: bool,
    /// It told the length, and perhaps not for the first time.
    pub(crate) length_again: bool,
    /// Every part that is to be joined was just found complete.
    pub(crate) verified: bool,
}

impl Asked {
    pub(crate) fn new(op: Op, fresh: bool) -> Self {
        Self {
            op,
            worked: false,
            length: None,
            fresh,
            bytes: false,
            expect: false,
            checksum: false,
            length_again: false,
            verified: false,
        }
    }
}

/// What to do about an answer.
///
/// "Counted" is a failed attempt: it takes from the retry budget and is followed by a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A 2xx. Whether it has the fields that it needs is for the reader of them.
    Success,
    /// Ask where the answer says, with the same method and body. Not counted.
    Follow,
    /// Ask once more, over a new connection. Not counted.
    NewConnection,
    /// Ask the caller for credentials, then go on. Not counted.
    Authorize,
    /// Counted. An append owes a HEAD before the next one (rule R4).
    Failed,
    /// An append was at the wrong offset: HEAD at once; counted, with the wait before the next
    /// append.
    Displaced,
    /// An append found no upload: HEAD at once, which knows better; counted if it finds one.
    Vanished,
    /// An append was too large for something on the way: HEAD at once, then smaller. Not counted.
    RequestTooLarge,
    /// Create again, without bytes. Not counted.
    WithoutBytes,
    /// Ask again, without asking for leave. Not counted.
    WithoutExpect,
    /// The bytes that arrived are not those of the checksum: counted, HEAD, then digest anew.
    Mismatch,
    /// The server knows the length already: counted, HEAD, then without it.
    LengthKnown,
    /// Perhaps a part is not complete: counted; the parts are looked at, then joined again.
    PartsUnfinished,
    /// A HEAD found no upload, but perhaps it was not the tus server who said so: counted.
    Missing,
    /// The upload is no longer there.
    Gone,
    /// The end.
    Fatal(Option<Hint>),
}

/// The verdict over an answer.
pub(crate) fn verdict(asked: &Asked, authorize: &Authorize, answer: &Response<Bytes>) -> Verdict {
    use Op::{Append, Concatenate, Create, Discover, Inspect, Probe, Terminate};
    use Verdict::{
        Displaced, Failed, Fatal, Follow, Gone, LengthKnown, Mismatch, Missing, NewConnection,
        PartsUnfinished, RequestTooLarge, Success, Vanished, WithoutBytes, WithoutExpect,
    };
    let headers = answer.headers();
    match (answer.status().as_u16(), asked.op) {
        (200..=299, _) => Success,
        (307 | 308, _) if response::location(headers).is_some() => Follow,
        (400, Append) if response::broken_off(answer) => Failed,
        (400, Create) if asked.bytes && response::broken_off(answer) => Failed,
        (400, Append) if asked.length_again => LengthKnown,
        (400 | 404 | 410, Concatenate) if !asked.verified => PartsUnfinished,
        (409, Concatenate) => PartsUnfinished,
        // What is left of these is a refusal.
        (300..=399 | 400 | 401 | 403, _) if authorize.wants(answer) => Verdict::Authorize,
        (300..=399, _) => Fatal(Some(Hint::Redirect)),

        (401, _) => Fatal(Some(Hint::Credentials)),
        (403, _) => Fatal(Some(Hint::Permission)),
        (404 | 405 | 410, Create) | (405, Concatenate) => Fatal(Some(Hint::Endpoint)),
        (404 | 410, Concatenate) => Fatal(Some(Hint::Parts)),
        (413 | 415 | 501, Create) if asked.bytes => WithoutBytes,
        (417, Create) if asked.expect => WithoutExpect,
        (417 | 460, Append) if asked.checksum => Mismatch,
        (404, Probe) if !response::names_tus(headers) => Missing,
        (400 | 405 | 501, Discover) | (404 | 410, Discover | Probe | Inspect | Terminate) => Gone,
        (404 | 410, Append) => Vanished,
        (405 | 501 | 505, Probe | Append) if asked.worked => Failed,
        (405 | 501 | 505, _) => Fatal(Some(Hint::Method)),
        (407, _) => Fatal(Some(Hint::Proxy)),
        (409, Create) => Fatal(None),
        (409, Append) => Displaced,
        (412, _) => Fatal(Some(Hint::Version)),
        (413, Append) if !response::upload_too_large(answer, asked.length) => RequestTooLarge,
        (413, _) => Fatal(Some(Hint::TooLarge)),
        (414 | 431, Create) => Fatal(Some(Hint::MetadataTooLong)),
        (414 | 431, Concatenate) => Fatal(Some(Hint::PartListTooLong)),
        (414 | 431, _) => Fatal(Some(Hint::FieldsTooLong)),
        (421, _) if !asked.fresh => NewConnection,
        (421, _) => Fatal(Some(Hint::Misdirected)),
        (507, _) => Fatal(Some(Hint::NoSpace)),
        (408 | 409 | 423 | 425 | 429 | 499 | 500..=599, _) => Failed,
        _ => Fatal(None),
    }
}

/// What an answer says of the fate of the request that would have completed the upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was acknowledged.
    Acknowledged,
    /// It was not processed; what was known before still holds.
    Unprocessed,
    /// Whoever answered may not know what the server did.
    Unanswered,
    /// It was refused (rule R8).
    Refused,
}

/// Whether what is to be asked for again may have been done all the same, by the answer.
pub(crate) fn may_be_done(asked: &Asked, answer: &Response<Bytes>) -> bool {
    answer.status().is_server_error() || fate(asked, answer) == Fate::Unanswered
}

/// The fate of a completing request, by its answer.
pub(crate) fn fate(asked: &Asked, answer: &Response<Bytes>) -> Fate {
    match answer.status().as_u16() {
        400 if response::broken_off(answer) => Fate::Unanswered,
        // What is refused is the length, because an earlier request brought it.
        400 if asked.length_again => Fate::Unprocessed,
        500 if response::is_locked_out(answer) => Fate::Unprocessed,
        200..=299 => Fate::Acknowledged,
        307 | 308 | 409 | 421 | 423 | 425 | 429 => Fate::Unprocessed,
        408 | 499 | 502..=504 | 520..=529 => Fate::Unanswered,
        _ => Fate::Refused,
    }
}
