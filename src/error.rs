//! What can go wrong, told so that one can act on it.

use std::fmt;
use std::time::Duration;

use http::StatusCode;

use crate::credentials::{Owned, Refusal};
use crate::wire::reference::ReferenceError;
use crate::{Extension, MetadataError, UploadUrl};

/// What a request is for.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// `OPTIONS`, for what the server offers.
    Discover,
    /// `HEAD`, for what the server knows of an upload.
    Inspect,
    /// `POST`: [Creation](https://tus.io/protocols/resumable-upload#creation).
    Create,
    /// `HEAD`, for the offset to go on from.
    Probe,
    /// `PATCH`: bytes.
    Append,
    /// `DELETE`: [Termination](https://tus.io/protocols/resumable-upload#termination).
    Terminate,
    /// `POST`: [Concatenation](https://tus.io/protocols/resumable-upload#concatenation) of parts.
    Concatenate,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discover => "asking what the server offers",
            Self::Inspect => "inspecting the upload",
            Self::Create => "creating the upload",
            Self::Probe => "asking for the offset",
            Self::Append => "sending the file",
            Self::Terminate => "deleting the upload",
            Self::Concatenate => "joining the parts",
        })
    }
}

/// Why a duty could not be done.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What that means for the protocol.
    pub kind: FailureKind,
    /// What happened, for people. It must hold no secret.
    pub message: String,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::wire::words::escape(&self.message))
    }
}

impl std::error::Error for Failure {}

/// What a failure means for the protocol.
///
/// Exhaustive on purpose: whoever writes a transport chooses among these. When in doubt it is
/// [`Lost`](Self::Lost), which costs one question to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureKind {
    /// The server cannot have seen the request: no connection, a refused HTTP/2 stream.
    NotSent,
    /// Nobody can know whether the server acted on the request.
    Lost,
    /// The source could not be read.
    Source,
    /// The source is no longer what it was when the upload began.
    SourceChanged,
    /// Trying again cannot help: a refused certificate, a URL that the stack cannot use.
    Hopeless,
}

/// Which limit of time ran out.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// No first sign of life from the connection.
    Connect,
    /// The transport took no byte while body remained.
    Stall,
    /// No answer after the last byte.
    Answer,
}

/// Why an attempt failed.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The server's answer.
    Answered {
        /// Its status.
        status: StatusCode,
        /// Its words, escaped and shortened; empty where it had none.
        words: String,
    },
    /// The transport's failure.
    Failed(Failure),
    /// The machine's own deadline.
    TimedOut(Deadline),
    /// A successful answer without the field that it needs.
    NoOffset {
        /// Its status.
        status: StatusCode,
    },
    /// The server took no byte of a request that had some.
    NothingTaken,
    /// The server has fewer bytes than it had confirmed.
    Rewound,
    /// The server has more bytes than this request brought, but not more than were sent.
    Ghost,
    /// All parts are complete, and the server still does not call the whole so.
    Unjoined,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered { status, words } => write!(f, "{}", Said(*status, words)),
            Self::Failed(failure) => failure.fmt(f),
            Self::TimedOut(Deadline::Connect) => f.write_str("no connection in time"),
            Self::TimedOut(Deadline::Stall) => f.write_str("the connection stalled"),
            Self::TimedOut(Deadline::Answer) => f.write_str("no answer in time"),
            Self::NoOffset { status } => {
                write!(f, "the server answered {status} without Upload-Offset")
            }
            Self::NothingTaken => f.write_str("the server took none of the bytes"),
            Self::Rewound => f.write_str("the server lost bytes that it had confirmed"),
            Self::Ghost => f.write_str("an earlier request reached the server late"),
            Self::Unjoined => {
                f.write_str("the parts are complete, but the server has not joined them")
            }
        }
    }
}

struct Said<'a>(StatusCode, &'a str);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server answered {}", self.0)?;
        if !self.1.is_empty() {
            write!(f, ": {}", self.1)?;
        }
        Ok(())
    }
}

/// Where something ended.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What was being done.
    pub op: Op,
    /// The URL that it was done to. Where one answer was the end, as in [`Error::Rejected`] and
    /// [`Error::Protocol`], it is the one that gave it, after redirects; else the upload's own, or the
    /// endpoint.
    pub url: UploadUrl,
    /// Failed attempts since the last progress.
    pub attempts: u32,
    /// Whether a checkpoint is saved from which a later run can go on.
    pub resumable: bool,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.op, self.url)
    }
}

/// What to do about a refusal, as far as the status tells.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Credentials are missing or wrong.
    Credentials,
    /// The server does not allow it with these credentials.
    Permission,
    /// No uploads are created at this URL.
    Endpoint,
    /// A part that is to be joined is not there, or nothing is joined at this URL.
    Parts,
    /// The server redirects to where the request may not follow.
    Redirect,
    /// The server, or something before it, does not let the method through, or lacks the
    /// extension.
    Method,
    /// The server speaks other versions of tus.
    Version,
    /// A proxy wants credentials.
    Proxy,
    /// The file is larger than the server takes.
    TooLarge,
    /// The requests are larger than something on the way takes, however small they are made.
    RequestTooLarge,
    /// The URL or the fields of a request that has no metadata are too long: send fewer or shorter
    /// [fields](crate::Config::headers) of your own.
    FieldsTooLong,
    /// The fields of a creation are too long: shorten the metadata, or send fewer of your own.
    MetadataTooLong,
    /// The fields of the request that joins the parts are too long: use fewer parts, or
    /// [shorter URLs](crate::Parts::relative) for them.
    PartListTooLong,
    /// The server is out of space.
    NoSpace,
    /// The request reached a server that is not meant for it.
    Misdirected,
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Credentials => "check the credentials",
            Self::Permission => "it is not allowed, or credentials are missing",
            Self::Endpoint => "nothing can be created at this URL: check that it is the server's endpoint, often with a slash at the end, and not an upload's URL",
            Self::Parts => "check that each part is still there, and that this URL is the server's endpoint",
            Self::Redirect => "use the URL that it names",
            Self::Method => "the method is not let through, the server lacks the extension, or the URL is not of the right kind",
            Self::Version => "the server speaks another version of tus than 1.0.0",
            Self::Proxy => "a proxy wants credentials",
            Self::TooLarge => "the file is larger than the server accepts",
            Self::RequestTooLarge => "something on the way accepts no request of any useful size",
            Self::FieldsTooLong => "the URL or the fields are too long: send fewer fields of your own",
            Self::MetadataTooLong => "shorten the metadata, or send fewer fields of your own",
            Self::PartListTooLong => "the list of the parts is too long: use fewer parts",
            Self::NoSpace => "the server is out of space: try again later",
            Self::Misdirected => "the request reached a server that is not meant for it",
        })
    }
}

/// How an answer broke the protocol.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A success that names no upload.
    #[error("without a usable Location; check that this is the URL of a tus server")]
    NoLocation,
    /// The upload is said to be where uploads are created.
    #[error("with the endpoint itself as Location")]
    LocationIsEndpoint,
    /// A success without the offset from where no tus server was heard before.
    #[error(
        "without a usable Upload-Offset: it is a caching proxy, a login page, or not a tus server"
    )]
    NoOffset,
    /// A version other than 1.0.0.
    #[error("in version {0} of tus, not 1.0.0")]
    Version(String),
    /// A final status below 200 or above 599.
    #[error("which is no status of HTTP's")]
    Status,
    /// More redirects than anyone needs.
    #[error("after too many redirects")]
    Redirects,
    /// Bytes were sent to an upload, and another was made of them.
    #[error(
        "and made another upload of the bytes: it ignores X-HTTP-Method-Override, so leave that out"
    )]
    NotAppended,
}

/// What shows that something else writes to the upload.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The upload's length is not the source's.
    #[error("the server expects {server} bytes, the source has {source_length}")]
    Length {
        /// What the server says.
        server: u64,
        /// What the source has.
        source_length: u64,
    },
    /// The server has bytes that this client cannot have sent.
    #[error("the server has {server} bytes, of which at most {reach} can have come from here")]
    Offset {
        /// What the server has.
        server: u64,
        /// The highest offset that requests can have reached.
        reach: u64,
    },
    /// Two parts of one upload are at the same URL, so that each would write over the other.
    #[error("another part is at the same URL")]
    Shared,
}

/// Which limit of the retry policy ended an upload.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// [`RetryPolicy::attempts`](crate::RetryPolicy::attempts).
    Attempts,
    /// [`RetryPolicy::no_progress`](crate::RetryPolicy::no_progress).
    NoProgress,
    /// [`RetryPolicy::deadline`](crate::RetryPolicy::deadline).
    Deadline,
    /// A thousand requests without 64 KiB of progress.
    Requests,
    /// The caller's [`Veto`](crate::Veto).
    Veto,
}

/// Why an upload, or another machine, ended without success.
///
/// Every message says what was being done and to which URL (without its query), what happened,
/// and, where the protocol tells, what to do.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The server refused, and asking again would not change that.
    #[error("{place}: {}{}", Said(*status, words), Advice(*hint))]
    Rejected {
        /// Where.
        place: Box<Place>,
        /// The answer's status.
        status: StatusCode,
        /// The server's words, escaped and shortened.
        words: String,
        /// What to do about it.
        hint: Option<Hint>,
    },
    /// The answer is not one that tus 1.0.0 knows.
    #[error("{place}: the server answered {status} {violation}")]
    Protocol {
        /// Where.
        place: Box<Place>,
        /// The answer's status.
        status: StatusCode,
        /// What is wrong with it.
        violation: Violation,
    },
    /// A Location or a redirect names a URL that must not be used.
    #[error("{place}: the server names another URL: {refusal}")]
    Location {
        /// Where.
        place: Box<Place>,
        /// Why it must not be used.
        refusal: Refusal,
    },
    /// Something else writes to this upload, or it is another source's. Its checkpoint is forgotten; of
    /// an upload in parts, that of this part alone, unless it is the whole or [shared](Conflict::Shared).
    #[error("{place}: {conflict}: {}", Stranger(conflict))]
    Conflict {
        /// Where.
        place: Box<Place>,
        /// What shows it.
        conflict: Conflict,
    },
    /// The upload is not, or no longer, on the server. Its checkpoint is forgotten; of an upload in
    /// parts, that of this part alone, which a later run makes anew.
    #[error("{place}: {}", Missing(place.op))]
    Gone {
        /// Where.
        place: Box<Place>,
    },
    /// The last bytes went out, no answer came, and now the upload is not there: it may be
    /// complete and moved away, or deleted. Sending it again might make a second copy. Of a
    /// [`Concatenate`](crate::Concatenate): an answer was lost, and now the server refuses as if it lacked a
    /// part.
    #[error("{place}: it is unknown whether {}", Unsettled(place.op))]
    CompletionUnknown {
        /// Where.
        place: Box<Place>,
    },
    /// All bytes are on the server, and it refused the request that brought the last of them.
    #[error("{place}: all bytes are there, but on the last of them {}", Said(*status, words))]
    Unfinished {
        /// Where.
        place: Box<Place>,
        /// The status of the refusal.
        status: StatusCode,
        /// The server's words, escaped and shortened.
        words: String,
    },
    /// The retry policy allows no further attempt.
    #[error("{place}: {}", GaveUp(cause, *limit, place.attempts))]
    Exhausted {
        /// Where.
        place: Box<Place>,
        /// The limit that was reached.
        limit: Limit,
        /// Why the last attempt failed, if one did since the last progress.
        cause: Option<Box<Cause>>,
    },
    /// The server asked to be left alone for longer than the policy allows to wait.
    #[error("{place}: {cause}, and asks to come back in {} s", after.as_secs())]
    ComeBackAt {
        /// Where.
        place: Box<Place>,
        /// What the server asked for, from its answer on.
        after: Duration,
        /// What it answered.
        cause: Box<Cause>,
    },
    /// The transport cannot do it, however often it tries.
    #[error("{place}: {failure}")]
    Hopeless {
        /// Where.
        place: Box<Place>,
        /// What it said.
        failure: Failure,
    },
    /// The server has fewer bytes than it had confirmed, and the source no longer has those that are
    /// missing.
    #[error(
        "{place}: the server lost bytes: it has {offset}, and the source can only go on from {kept}; \
         start it anew"
    )]
    Unrepeatable {
        /// Where.
        place: Box<Place>,
        /// How many bytes the server has.
        offset: u64,
        /// The first byte that the source can still give.
        kept: u64,
    },
    /// The URLs of the parts do not fit into the request that would join them
    /// ([`Parts::relative`](crate::Parts::relative) makes them shorter). It is known by the first part's:
    /// then nothing else was created, and there is no checkpoint.
    #[error(
        "{place}: the list of its parts would have {length} bytes, more than the {limit} that are \
         allowed; use fewer parts"
    )]
    PartList {
        /// Where.
        place: Box<Place>,
        /// The length that the list would have, in bytes.
        length: u64,
        /// The length that it may have ([`Parts::list_limit`](crate::Parts::list_limit)).
        limit: u64,
    },
    /// The source could not be read.
    #[error("{place}: cannot read the source: {failure}")]
    Source {
        /// Where.
        place: Box<Place>,
        /// What it said.
        failure: Failure,
    },
    /// The source is not what it was when the upload began.
    #[error("{place}: the source has changed since the upload began; start it anew")]
    SourceChanged {
        /// Where.
        place: Box<Place>,
    },
    /// The caller ended it.
    #[error("{place}: cancelled{}", if *.terminated { ", and no longer on the server" } else { "" })]
    Cancelled {
        /// Where.
        place: Box<Place>,
        /// Whether the server was asked to delete the upload, and does not have it. `false` also where
        /// it was never created; and of an upload in parts where something of it may be left that
        /// nobody knows of ([`Event::Orphaned`](crate::Event::Orphaned)).
        terminated: bool,
    },
}

struct Missing(Op);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Op::Inspect => "the server has no upload at this URL",
            _ => "the server does not have this upload any more; start it anew",
        })
    }
}

struct Unsettled(Op);

impl fmt::Display for Unsettled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Op::Concatenate => {
                "the parts were joined: the server may have done it when no answer came, and now it \
                 refuses; look there, then start it anew or forget it"
            }
            _ => {
                "the upload was completed: its last bytes went out, and now the server no longer has it; \
                 look there, then start it anew or forget it"
            }
        })
    }
}

struct Stranger<'a>(&'a Conflict);

impl fmt::Display for Stranger<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Conflict::Length { .. } => {
                "it is another source's upload, or the source is not given from its first byte on; \
                 start a new one"
            }
            Conflict::Shared => "the server does not tell the parts apart; send them as one upload",
            Conflict::Offset { .. } => "something else writes to this upload; start a new one",
        })
    }
}

struct Advice(Option<Hint>);

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

struct GaveUp<'a>(&'a Option<Box<Cause>>, Limit, u32);

impl fmt::Display for GaveUp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(cause) = self.0 {
            write!(f, "{cause}; ")?;
        }
        match (self.1, self.2) {
            (Limit::Attempts, 1) => f.write_str("gave up after one failed attempt"),
            (Limit::Attempts, n) => write!(f, "gave up after {n} failed attempts"),
            (Limit::NoProgress, _) => f.write_str("gave up after too long without progress"),
            (Limit::Deadline, _) => f.write_str("gave up when the time allowed was over"),
            (Limit::Requests, _) => {
                f.write_str("gave up after a thousand requests with next to no progress")
            }
            (Limit::Veto, _) => f.write_str("the caller allows no further attempt"),
        }
    }
}

/// The place of an error, whichever it is.
macro_rules! place_of {
    ($error:ident) => {
        match $error {
            Self::Rejected { place, .. }
            | Self::Protocol { place, .. }
            | Self::Location { place, .. }
            | Self::Conflict { place, .. }
            | Self::Gone { place }
            | Self::CompletionUnknown { place }
            | Self::Unfinished { place, .. }
            | Self::Exhausted { place, .. }
            | Self::ComeBackAt { place, .. }
            | Self::Hopeless { place, .. }
            | Self::Source { place, .. }
            | Self::SourceChanged { place }
            | Self::Unrepeatable { place, .. }
            | Self::PartList { place, .. }
            | Self::Cancelled { place, .. } => place,
        }
    };
}

impl Error {
    /// Where it happened.
    #[must_use]
    pub fn place(&self) -> &Place {
        place_of!(self)
    }

    pub(crate) fn place_mut(&mut self) -> &mut Place {
        place_of!(self)
    }

    /// Whether a checkpoint is saved from which a later run can go on.
    #[must_use]
    pub fn resumable(&self) -> bool {
        self.place().resumable
    }
}

/// What was asked of this crate cannot be done: found before any request is made.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    /// The endpoint, or the upload's URL, cannot be used.
    #[error("not a usable URL: {0}")]
    Url(#[from] ReferenceError),
    /// A header that the protocol or the framing owns.
    #[error("the header {0} is set by the protocol itself; leave it out")]
    Header(http::HeaderName),
    /// The metadata cannot be sent.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The identity of the source is too long for a checkpoint.
    #[error(
        "the identity of the source may have at most {} bytes",
        crate::config::MAX_IDENTITY
    )]
    Identity,
    /// The checkpoint is of an upload that began at another URL.
    #[error("the checkpoint is of an upload that began at another URL")]
    Checkpoint,
    /// The checkpoint is of an upload in parts, or of one that is not, and the machine is for the
    /// other kind ([`Checkpoint::in_parts`](crate::Checkpoint::in_parts)).
    #[error("the checkpoint is of another kind of upload: one is in parts, the other is not")]
    CheckpointKind,
    /// The sizes of requests contradict each other, or allow no byte.
    #[error(
        "no request can be of the size that is asked for: the maximum must be at least 1 byte, and no \
         less than the minimum and the multiple"
    )]
    RequestSize,
    /// This is no name of a checksum algorithm.
    #[error("{0:?} is no name of a checksum algorithm: lower-case ASCII, such as sha1")]
    Algorithm(String),
    /// The server says that it does not have the extension that this needs.
    /// [`Config::try_unoffered`](crate::Config::try_unoffered) tries all the same.
    #[error("the server does not offer the extension {0}, which this needs")]
    NotOffered(Extension),
    /// The server offers checksums, but none of these.
    #[error(
        "the server compares none of the checksums that are asked for; it has: {}",
        Names(offered)
    )]
    NoAlgorithm {
        /// What it offers.
        offered: Vec<crate::Algorithm>,
    },
    /// The server says that it takes no upload of this length.
    #[error("the source has {length} bytes, and the server takes at most {limit}")]
    TooLarge {
        /// The length of the source, in bytes.
        length: u64,
        /// `Tus-Max-Size`.
        limit: u64,
    },
    /// An upload of no parts, of more than a header can name, or of more bytes than can be counted.
    #[error(
        "an upload in parts needs at least 1 part and at most {}, and a length that can be counted",
        crate::config::MAX_PARTS
    )]
    Parts,
    /// What cannot be uploaded in parts, and why.
    #[error("it cannot be uploaded in parts: {0}")]
    Uncuttable(&'static str),
    /// The list of the parts' URLs is longer than what may be sent.
    #[error("the list of the parts has {length} bytes, more than the {limit} that are allowed")]
    PartList {
        /// The length of the list, in bytes.
        length: usize,
        /// The length that it may have ([`Parts::list_limit`](crate::Parts::list_limit)).
        limit: usize,
    },
    /// A part of an upload that is itself in parts.
    #[error("parts cannot have parts: an upload is partial, or it is joined from partial ones")]
    PartOfParts,
}

struct Names<'a>(&'a [crate::Algorithm]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, name) in self.0.iter().enumerate() {
            write!(f, "{}{name}", if n == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl From<Owned> for Misuse {
    fn from(Owned(name): Owned) -> Self {
        Self::Header(name)
    }
}
