//! The contract between a machine and whoever drives it.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};

use crate::{Algorithm, Checkpoint, Error, Event, Failure, Op, Tick, UploadUrl};

/// A protocol state machine: it says what to do, and is told what came of it.
///
/// The whole contract: **[`poll`](Self::poll) until [`Output::Wait`] or [`Output::Done`], carrying
/// out each output; then give it an input or let the time come; poll again.** Nothing else has an
/// order. An extra poll changes nothing. An answer with a stale or unknown id is ignored. No input
/// can panic it. There is exactly one [`Output::Done`].
///
/// The crate's front page has a run loop that compiles.
pub trait Machine: Send + 'static {
    /// What [`Output::Done`] brings.
    type Success: fmt::Debug + Send + 'static;

    /// What to do next, at the time `now`.
    fn poll(&mut self, now: Tick) -> Output<Self::Success>;

    /// Takes what happened, at the time `now`. Several inputs may come before the next poll.
    fn handle(&mut self, now: Tick, input: Input);

    /// What must survive a restart as things stand; `None` where there is nothing to resume.
    ///
    /// A driver need not ask: [`Duty::Save`] comes whenever it changes.
    fn checkpoint(&self) -> Option<Checkpoint>;
}

/// Names one duty of one machine; never used twice.
///
/// `lane` is the part of a composite that the duty belongs to, 0 for a machine of one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DutyId {
    /// The part of a composite machine.
    pub lane: u32,
    /// The duty within its lane.
    pub serial: u32,
}

/// The body of a request: this range of the source, in bytes.
///
/// An empty range is a request without a body, sent with `Content-Length: 0` where the request
/// says so.
pub type Body = Range<u64>;

/// What a machine wants done.
///
/// Exhaustive on purpose: a new kind of output must break drivers at compile time.
#[must_use]
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart where it is returned"
)]
pub enum Output<T> {
    /// Start this now. Exactly one [`Answer`] with this id is expected, unless it is stopped.
    Begin(DutyId, Duty),
    /// End this as soon as the stack can: hand over no further byte of its body. An unknown id
    /// means nothing; an answer that comes all the same is ignored.
    Stop(DutyId),
    /// Something happened that a person may want to know. It comes before the
    /// [`Begin`](Self::Begin) that it explains.
    Event(Event),
    /// Nothing more now: poll again after the next input, or at this tick, whichever comes first.
    /// `None` comes only while a duty other than an exchange is out, or after
    /// [`Done`](Self::Done).
    Wait(Option<Tick>),
    /// The end, once; [`Wait(None)`](Self::Wait) afterwards.
    Done(Result<T, Error>),
}

/// One thing to carry out.
///
/// With a [`Config`](crate::Config) as it is by default, and a known length, only
/// [`Exchange`](Self::Exchange) and [`Save`](Self::Save) come: [`Digest`](Self::Digest) needs
/// [`checksums`](crate::Config::checksums), [`Read`](Self::Read) a length of `None` or
/// [`stream`](crate::Config::stream), and [`Authorize`](Self::Authorize)
/// [`authorize`](crate::Config::authorize).
///
/// Exhaustive on purpose: a driver that does not know a duty could not answer it.
pub enum Duty {
    /// Send the request with this range of the source as its body and bring the answer.
    ///
    /// The fields go out as they are, `Content-Length` among them; an empty range is no body. No
    /// redirect is followed, nothing is retried, nothing decoded, and no status is an error. What blocks
    /// while it goes on must itself keep the limits in [`Terms`]: the machine can end it only where it
    /// is polled meanwhile.
    Exchange(Request<Body>, Terms),
    /// Digest this range of the source; answered by [`Answer::Digest`].
    Digest {
        /// The algorithm, as the server names it.
        algorithm: Algorithm,
        /// The bytes of the source, by offset.
        range: Range<u64>,
    },
    /// For a source that is read as it comes: have the bytes up to `upto` at hand, waiting for them if
    /// need be; answered by [`Answer::Available`].
    Read {
        /// Bytes before this offset will not be asked for again, neither by a request nor for a
        /// digest.
        keep: u64,
        /// The offset up to which bytes are wanted.
        upto: u64,
    },
    /// Obtain fresh credentials for the origin of `uri`; answered by [`Answer::Credentials`].
    Authorize {
        /// The URL that asked for credentials.
        uri: Uri,
        /// The status with which it did.
        status: StatusCode,
        /// Its `WWW-Authenticate` fields.
        challenges: Vec<HeaderValue>,
    },
    /// Make this checkpoint durable, or with `None` forget the one that was saved; answered by
    /// [`Answer::Saved`]. Nothing that depends on it is sent meanwhile: of an upload in parts, what is
    /// of other parts is.
    Save(Option<Checkpoint>),
}

/// Shows neither the query of a URL nor a header: both may hold secrets.
impl fmt::Debug for Duty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exchange(request, terms) => f
                .debug_struct("Exchange")
                .field("method", request.method())
                .field("url", &UploadUrl::from(request.uri().clone()))
                .field("body", request.body())
                .field("terms", terms)
                .finish(),
            Self::Digest { algorithm, range } => f
                .debug_struct("Digest")
                .field("algorithm", algorithm)
                .field("range", range)
                .finish(),
            Self::Read { keep, upto } => f
                .debug_struct("Read")
                .field("keep", keep)
                .field("upto", upto)
                .finish(),
            Self::Authorize { uri, status, .. } => f
                .debug_struct("Authorize")
                .field("url", &UploadUrl::from(uri.clone()))
                .field("status", status)
                .finish_non_exhaustive(),
            Self::Save(checkpoint) => f.debug_tuple("Save").field(checkpoint).finish(),
        }
    }
}

/// The terms of one exchange: what a transport needs to know beside the request.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What the request is for.
    pub op: Op,
    /// How many failed attempts came before it, since the last progress.
    pub attempt: u32,
    /// Whether it goes to the caller's own origin, or one that the caller trusts: only then may a
    /// hook add credentials.
    pub trusted: bool,
    /// Whether it must go over a new connection, where the stack can (after
    /// [421](https://www.rfc-editor.org/rfc/rfc9110#section-15.5.20)).
    pub fresh: bool,
    /// The checksum to compute of the body and to send after it, as the trailer field
    /// `Upload-Checksum`: the algorithm's name, a space, the digest in base64. The request announces
    /// it and has no `Content-Length`: the transport frames the body, whose length is that of its
    /// range. Only where the transport said that it can
    /// ([`Config::trailers`](crate::Config::trailers)).
    pub trailer: Option<Algorithm>,
    /// How long the connection may take.
    pub connect: Duration,
    /// How long the transport may go without taking a byte while body remains.
    pub stall: Duration,
    /// How long the answer may take after the last byte of the body.
    pub answer: Duration,
}

impl Terms {
    /// Terms with the default [timeouts](crate::Timeouts), for trying a transport without a machine.
    #[must_use]
    pub fn new(op: Op) -> Self {
        let timeouts = crate::Timeouts::default();
        Self {
            op,
            attempt: 0,
            trusted: true,
            fresh: false,
            trailer: None,
            connect: timeouts.connect,
            stall: timeouts.stall,
            answer: timeouts.answer,
        }
    }
}

/// What came of a duty.
pub enum Answer {
    /// An exchange was answered. The status and the fields are facts even if the body could not
    /// be read; no more than [`MAX_ANSWER_BODY`] bytes of it are wanted.
    Response(Response<Bytes>),
    /// The digest, as raw bytes.
    Digest(Bytes),
    /// What the source has. Where it has not ended, there must be at least one byte more than what
    /// the duty said to keep, and more than the answer before, if that was to the same question.
    Available {
        /// Bytes before this offset can be read. It may be more than was wanted.
        upto: u64,
        /// Whether the source ends there.
        end: bool,
    },
    /// Fields to send to the origin that asked from now on; `None`: there are none.
    Credentials(Option<HeaderMap>),
    /// The checkpoint is durable, or forgotten.
    Saved,
    /// It could not be done. Any duty can fail.
    Failed(Failure),
}

/// Shows no header and no body: both may hold secrets.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Response(response) => f
                .debug_struct("Response")
                .field("status", &response.status())
                .field("body", &response.body().len())
                .finish_non_exhaustive(),
            Self::Digest(digest) => f.debug_tuple("Digest").field(digest).finish(),
            Self::Available { upto, end } => f
                .debug_struct("Available")
                .field("upto", upto)
                .field("end", end)
                .finish(),
            Self::Credentials(headers) => {
                let names = headers.as_ref().map(|map| map.keys().collect::<Vec<_>>());
                f.debug_tuple("Credentials").field(&names).finish()
            }
            Self::Saved => f.write_str("Saved"),
            Self::Failed(failure) => f.debug_tuple("Failed").field(failure).finish(),
        }
    }
}

/// How much of an answer's body a machine has a use for, in bytes (64 KiB): it is read for the
/// server's words alone.
pub const MAX_ANSWER_BODY: usize = 64 * 1024;

/// What a machine is told.
#[non_exhaustive]
pub enum Input {
    /// What came of a duty.
    Answer(DutyId, Answer),
    /// An interim response (1xx) to an exchange: the server is alive.
    Interim(DutyId, Response<()>),
    /// How many bytes of the body the transport has taken so far, counted before they are
    /// written. `Sent(id, 0)` at the start means "I will report".
    Sent(DutyId, u64),
    /// End the machine.
    Cancel(Cancel),
}

/// Shows no header, as [`Answer`] does.
impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(id, answer) => f.debug_tuple("Answer").field(id).field(answer).finish(),
            Self::Interim(id, response) => {
                let status = response.status();
                f.debug_tuple("Interim").field(id).field(&status).finish()
            }
            Self::Sent(id, bytes) => f.debug_tuple("Sent").field(id).field(bytes).finish(),
            Self::Cancel(how) => f.debug_tuple("Cancel").field(how).finish(),
        }
    }
}

/// How to end a machine before its time. A later cancel may only be harder than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cancel {
    /// Stop, and keep what is needed to go on later.
    Keep,
    /// Stop, and delete the upload on the server.
    Terminate,
    /// Stop without another duty. What [`Machine::checkpoint`] says then was not saved; a caller who
    /// wants to go on later saves it.
    Now,
}
