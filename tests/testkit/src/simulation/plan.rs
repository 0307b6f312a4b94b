//! What a run is of: a source, a server, a client's settings, and what is going to go wrong.

use bytes::Bytes;
use http::HeaderValue;
use tus_proto::{Cause, Config, Op};

use super::Sort;
use super::draw::{algorithms, offered};
use crate::{Options, SplitMix64};

/// What must never be seen where it does not belong: parts of the caller's headers, password, and of
/// the URLs of uploads.
pub(super) const SECRETS: [&str; 3] = ["sesame", "pa55word", "c4pability"];
/// `me:pa55word` as it is sent.
pub(super) const BASIC: &str = "bWU6cGE1NXdvcmQ=";

/// What is uploaded, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// A source of known length.
    Plain,
    /// The same, to an upload that somebody else has created.
    Given,
    /// The same, of a source whose length is not known.
    GivenStream,
    /// With the creation go the first bytes.
    FirstBytes,
    /// Every request has a checksum.
    Checksums,
    /// The same, after the body.
    Trailers,
    /// A source whose length is not known.
    Stream,
    /// The same, with checksums.
    StreamChecksums,
    /// A stream whose length is known.
    Measured,
    /// In parts, which are joined.
    Parts,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Plain,
        Self::Given,
        Self::GivenStream,
        Self::FirstBytes,
        Self::Checksums,
        Self::Trailers,
        Self::Stream,
        Self::StreamChecksums,
        Self::Measured,
        Self::Parts,
    ];

    /// Whether the length is not known at the beginning.
    #[must_use]
    pub fn is_deferred(self) -> bool {
        matches!(
            self,
            Self::Stream | Self::StreamChecksums | Self::GivenStream
        )
    }

    /// Whether the upload is there already.
    #[must_use]
    pub fn is_given(self) -> bool {
        matches!(self, Self::Given | Self::GivenStream)
    }

    /// Its name in a [`Tally`](super::Tally).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "kind: of known length",
            Self::Given => "kind: created by somebody else",
            Self::GivenStream => "kind: created by somebody else, of unknown length",
            Self::FirstBytes => "kind: first bytes with the creation",
            Self::Checksums => "kind: with checksums",
            Self::Trailers => "kind: with checksums after the body",
            Self::Stream => "kind: of unknown length",
            Self::StreamChecksums => "kind: of unknown length with checksums",
            Self::Measured => "kind: a stream of known length",
            Self::Parts => "kind: in parts",
        }
    }

    fn has_checksums(self) -> bool {
        matches!(
            self,
            Self::Checksums | Self::Trailers | Self::StreamChecksums
        )
    }
}

/// Failed attempts after which a client allows no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Vetoed {
    /// Those of which no answer came.
    Losses,
    /// Those to create an upload.
    Creations,
    /// Those that the server has answered.
    Answers,
}

impl Vetoed {
    /// Whether this was such an attempt.
    #[must_use]
    pub fn says(self, op: Op, cause: &Cause) -> bool {
        match self {
            Self::Losses => matches!(cause, Cause::Failed(_) | Cause::TimedOut(_)),
            Self::Creations => op == Op::Create,
            Self::Answers => matches!(cause, Cause::Answered { .. }),
        }
    }
}

/// What a run is of: a source, a server, a client's settings, and what may go wrong.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Plan {
    /// What is uploaded, and how.
    pub kind: Kind,
    /// Where to, with the path of the server's endpoint, `/files/`. Of a password only `pa55word` is watched.
    pub endpoint: String,
    /// The lengths of the parts, in bytes; of the source, where it is not in parts. At least one.
    pub lengths: Vec<u64>,
    /// What the source's bytes are made of.
    pub content: u64,
    /// The server.
    pub server: Options,
    /// The client's settings. What it asks for and refuses by a predicate stands in the next two.
    pub config: Config,
    /// After which failed attempts the client allows no other ([`Config::veto`]).
    pub veto: Option<Vetoed>,
    /// The statuses at which credentials are asked for ([`Authorize::When`]); if there are none, what the
    /// settings say.
    ///
    /// [`Authorize::When`]: tus_proto::Authorize::When
    pub asks_at: Vec<u16>,
    /// What can happen to an exchange. What is in it twice happens twice as often.
    pub alphabet: Vec<Sort>,
    /// How many more choices there are in which nothing happens to an exchange.
    pub quiet: u64,
    /// How many incidents happen at most; then the run comes to its end.
    pub incidents: u64,
    /// Whether the user kills, cancels and waits, the disk is full, the clock jumps (and goes back, in
    /// [careful](Self::careful) runs), the source comes in pieces, and everything takes its time. Without this nothing is chosen but what
    /// happens to exchanges.
    pub restless: bool,
    /// Whether all that the machine says is compared with a twin (I8), and searched for secrets (S3).
    pub careful: bool,
}

impl Plan {
    /// A run in which nothing goes wrong, of so many bytes. The endpoint's password and a header of the
    /// caller's are secrets that are watched.
    #[must_use]
    pub fn calm(kind: Kind, length: u64) -> Self {
        let mut config = Config::default();
        config.retry.attempts = Some(100);
        config.parts.least = 1;
        config.stream = kind == Kind::Measured;
        config.trailers = kind == Kind::Trailers;
        config.identity = Some("the same".into());
        if kind.has_checksums() {
            config.checksums = algorithms(&["sha1", "crc32"]);
        }
        if kind != Kind::Plain && !kind.is_given() {
            config.server = Some(offered(&Options::default(), kind == Kind::FirstBytes));
        }
        config.headers.insert("x-key", secret());
        Self {
            kind,
            endpoint: "http://me:pa55word@example.org/files/".into(),
            lengths: vec![length],
            content: 0,
            server: Options::default(),
            config,
            veto: None,
            asks_at: Vec::new(),
            alphabet: Vec::new(),
            quiet: 0,
            incidents: 0,
            restless: false,
            careful: false,
        }
    }

    /// The bytes of the source.
    #[must_use]
    pub fn source(&self) -> Bytes {
        let length: u64 = self.lengths.iter().sum();
        let mut random = SplitMix64::new(self.content);
        let words = (0..length.div_ceil(8)).flat_map(|_| random.next_u64().to_le_bytes());
        words
            .take(usize::try_from(length).unwrap_or(usize::MAX))
            .collect()
    }

    /// Whether the bytes are read as they come.
    #[must_use]
    pub fn is_streamed(&self) -> bool {
        self.kind.is_deferred() || self.config.stream
    }
}

/// What no foreign origin may be told.
pub(super) fn secret() -> HeaderValue {
    let mut secret = HeaderValue::from_static("Bearer sesame");
    secret.set_sensitive(true);
    secret
}
