//! What a run is of: a source, a server, a client's settings, and what is going to go wrong.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use tus_proto::{Algorithm, Authorize, Capabilities, Config, Foreign, Origin};

use super::{Choices, Sort};
use crate::{Extension, Location, Options, Quirk, SplitMix64};

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
    pub const ALL: [Self; 9] = [
        Self::Plain,
        Self::Given,
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
        matches!(self, Self::Stream | Self::StreamChecksums)
    }

    /// Whether the bytes are read as they come.
    #[must_use]
    pub fn is_stream(self) -> bool {
        self.is_deferred() || self == Self::Measured
    }

    /// Its name in a [`Tally`](super::Tally).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "kind: of known length",
            Self::Given => "kind: created by somebody else",
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

    /// What the server may do otherwise in such a run, for good.
    fn habits(self) -> Vec<Quirk> {
        let mut habits = vec![
            Quirk::PatchAnswers200,
            Quirk::HeadAnswers204,
            Quirk::CreateAnswers200,
            Quirk::PatchWithoutOffset,
            Quirk::HeadWithoutLength,
            Quirk::ErrorsWithoutVersion,
            Quirk::NoVersion,
            Quirk::TakesOnly(7),
            Quirk::CompleteIs403,
            Quirk::LockedIs(423),
            Quirk::LockedIs(409),
            Quirk::LockedIs(403),
            Quirk::RepeatedLines,
            Quirk::RepeatedValues,
            Quirk::DeletedIs410,
            Quirk::MissingIs403,
            Quirk::ExpiredIs404,
            Quirk::Rfc850Dates,
            Quirk::AsctimeDates,
            Quirk::SpacedLists,
        ];
        habits.extend(match self {
            Self::Plain | Self::Given | Self::Measured => vec![],
            Self::FirstBytes => vec![
                Quirk::IgnoresCreationBody,
                Quirk::CreateWithoutOffset,
                Quirk::RefusesCreationBody(413),
            ],
            Self::Checksums | Self::Trailers => {
                vec![Quirk::IgnoresChecksum, Quirk::MismatchIs(417)]
            }
            Self::Stream | Self::StreamChecksums => {
                vec![Quirk::HeadWithoutDeferLength, Quirk::LengthOnce]
            }
            Self::Parts => vec![
                Quirk::StaleFinal(2),
                Quirk::AbsoluteParts,
                Quirk::RelativeParts,
            ],
        });
        habits
    }
}

/// What a run is of: a source, a server, a client's settings, and what may go wrong.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Plan {
    /// What is uploaded, and how.
    pub kind: Kind,
    /// Where to. It may hold a password.
    pub endpoint: String,
    /// The lengths of the parts, in bytes; of the source, where it is not in parts.
    pub lengths: Vec<u64>,
    /// What the source's bytes are made of.
    pub content: u64,
    /// The server.
    pub server: Options,
    /// The client's settings.
    pub config: Config,
    /// What can happen to an exchange. What is in it twice happens twice as often.
    pub alphabet: Vec<Sort>,
    /// How many more choices there are in which nothing happens to an exchange.
    pub calm: u64,
    /// How many incidents happen at most; then the run comes to its end.
    pub incidents: u64,
    /// Whether the user kills, cancels and waits, the disk is full, the clock jumps and goes back, the
    /// source comes in pieces, and everything takes its time. Without this nothing is chosen but what
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
            let names = ["sha1", "crc32"].map(Algorithm::new);
            config.checksums = names.into_iter().flatten().collect();
        }
        if kind != Kind::Plain && kind != Kind::Given {
            config.server = Some(offered(kind == Kind::FirstBytes));
        }
        config.headers.insert("x-key", secret());
        Self {
            kind,
            endpoint: "http://me:pa55word@example.org/files/".into(),
            lengths: vec![length],
            content: 0,
            server: Options::default(),
            config,
            alphabet: Vec::new(),
            calm: 0,
            incidents: 0,
            restless: false,
            careful: false,
        }
    }

    /// Draws everything.
    #[must_use]
    pub fn draw(choices: &mut Choices) -> Self {
        let kind = *choices.pick(&Kind::ALL);
        let big = kind != Kind::Parts && choices.once_in(96);
        let parts = if kind == Kind::Parts {
            1 + choices.below(5)
        } else {
            1
        };
        let most = if big { 300_000 } else { 300 / parts };
        let mut length = || {
            if choices.once_in(8) {
                0
            } else {
                choices.below(most)
            }
        };
        let lengths = (0..parts).map(|_| length()).collect();
        let mut plan = Self {
            lengths,
            content: choices.below(u64::MAX),
            incidents: choices.below(11 + 5 * parts),
            alphabet: Sort::ALL.into(),
            calm: Sort::ALL.len() as u64,
            restless: true,
            careful: choices.once_in(4),
            ..Self::calm(kind, 0)
        };
        // Those that every line has, more often than a server that loses what it had.
        let common = [
            Sort::Cut,
            Sort::LostAnswer,
            Sort::Stalled,
            Sort::Ghost,
            Sort::Intercepted,
        ];
        plan.alphabet.extend([common, common].concat());
        // These end most runs.
        if !choices.once_in(4) {
            let fatal = [
                Sort::Hopeless,
                Sort::SourceFails,
                Sort::Vanished,
                Sort::Stranger,
            ];
            plan.alphabet.retain(|sort| !fatal.contains(sort));
        }
        let endpoints = [
            "http://example.org/files/",
            "https://example.org/files/",
            "http://me:pa55word@example.org/files/",
            "http://example.org:8080/files/",
        ];
        plan.endpoint = (*choices.pick(&endpoints)).to_owned();
        plan.server = server(choices, kind, big);
        plan.configure(choices, big);
        plan
    }

    fn configure(&mut self, choices: &mut Choices, big: bool) {
        let kind = self.kind;
        let config = &mut self.config;
        if choices.once_in(2) {
            config.headers.insert("authorization", secret());
        }
        let elsewhere = ["http://elsewhere.example", "http://example.org:8081"];
        let elsewhere = elsewhere.map(|url| Origin::of(&http::Uri::from_static(url)));
        config.foreign = match choices.below(4) {
            0 | 1 => Foreign::Bare,
            2 => Foreign::Refuse,
            _ => Foreign::Trust(elsewhere.into_iter().flatten().collect()),
        };
        if !choices.once_in(4) {
            config.authorize = Authorize::OnUnauthorized;
        }
        config.method_override = choices.once_in(6);
        config.expect_continue = choices.once_in(4);
        config.request_id = choices
            .once_in(6)
            .then(|| HeaderName::from_static("x-request-id"));
        config.recreations = *choices.pick(&[1, 0, 3]);
        if choices.once_in(3) {
            config.creation_body = choices.below(200);
        }
        if choices.once_in(2) {
            let named = config.metadata.insert("filename", "a.bin");
            named.expect("a good name");
        }
        config.partial = kind == Kind::Plain && choices.once_in(10);
        config.parts.at_once = *choices.pick(&[3, 1, 2]);
        config.parts.unfinished = choices.once_in(2);
        config.parts.discard = choices.once_in(3);
        config.parts.relative = choices.once_in(3);
        let unwanted = if config.parts.relative {
            Quirk::AbsoluteParts
        } else {
            Quirk::RelativeParts
        };
        let moved = self
            .server
            .quirks
            .iter()
            .any(|quirk| matches!(quirk, Quirk::Location(_)));
        self.server
            .quirks
            .retain(|quirk| *quirk != unwanted && !(moved && *quirk == Quirk::RelativeParts));
        if kind != Kind::Plain && kind != Kind::Given || choices.once_in(2) {
            let with_bytes = kind == Kind::FirstBytes || choices.once_in(3);
            config.server = Some(offered(with_bytes));
        }
        if choices.once_in(6) && !big {
            let multiple = 1 + choices.below(20);
            config.request_multiple = Some(multiple);
            config.request_min = choices.once_in(2).then_some(multiple);
            self.server.quirks.push(Quirk::BodyMultiple(multiple));
            // Nobody could go on with what such a server has taken, nor know whether it knows the
            // length, and with it which request is the last.
            self.server.quirks.retain(|quirk| {
                !matches!(quirk, Quirk::TakesOnly(_) | Quirk::HeadWithoutDeferLength)
            });
        }
        config.retry.base = *choices.pick(&[Duration::from_secs(1), Duration::from_millis(50)]);
        if choices.once_in(8) {
            config.retry.no_progress = Some(Duration::from_secs(15 * 60));
        }
        if choices.once_in(12) {
            config.retry.deadline = Some(Duration::from_secs(60 * 60));
        }
        if choices.once_in(4) {
            let timeouts = &mut config.timeouts;
            timeouts.connect = Duration::from_secs(2);
            timeouts.stall = Duration::from_secs(5);
            timeouts.answer = Duration::from_secs(5);
            timeouts.answer_to_body = Duration::from_secs(5);
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

    /// What the machine is told of the length.
    #[must_use]
    pub fn told_length(&self) -> Option<u64> {
        (!self.kind.is_deferred()).then(|| self.lengths.iter().sum())
    }
}

/// What no foreign origin may be told.
fn secret() -> HeaderValue {
    let mut secret = HeaderValue::from_static("Bearer sesame");
    secret.set_sensitive(true);
    secret
}

/// A server with every extension.
fn offered(with_bytes: bool) -> Capabilities {
    let names = Extension::ALL.into_iter();
    let names = names.filter(|name| *name != Extension::CreationWithUpload || with_bytes);
    let mut server = Capabilities::default();
    server.extensions = Some(names.map(|name| name.name().to_owned()).collect());
    server
}

fn server(choices: &mut Choices, kind: Kind, big: bool) -> Options {
    let habits = kind.habits().into_iter();
    let mut quirks: Vec<Quirk> = habits.filter(|_| choices.once_in(9)).collect();
    if choices.once_in(12) {
        quirks.push(Quirk::MovesCompleted);
    }
    if choices.once_in(16) {
        quirks.push(Quirk::RefusesCompletion(
            *choices.pick(&[422, 403, 400, 500]),
        ));
    }
    if big && choices.once_in(2) {
        quirks.push(Quirk::MaxBody(*choices.pick(&[70_000, 200_000])));
    }
    if big {
        // A thousand requests are the end.
        quirks.retain(|quirk| !matches!(quirk, Quirk::TakesOnly(_)));
    }
    if kind.is_deferred() && quirks.contains(&Quirk::HeadWithoutLength) {
        // Nobody could say whether such a server knows the length.
        quirks.retain(|quirk| *quirk != Quirk::CompleteIs403);
    }
    if choices.once_in(3) {
        let template = |text: &str| Location::Template(text.into());
        let forms = [
            Location::Absolute,
            Location::Relative,
            Location::ProtocolRelative,
            template("{endpoint}{id}?key=c4pability"),
            Location::Http,
            template("{scheme}://{host}:8081/files/{id}"),
            template("{scheme}://elsewhere.example/files/{id}?key=c4pability"),
            template("http://elsewhere.example/files/{id}"),
            template("https://{host}/files/{id}"),
            template("{scheme}://evil:gu35t@{authority}/files/{id}"),
        ];
        quirks.push(Quirk::Location(choices.pick(&forms).clone()));
    }
    if choices.once_in(16) {
        let status = *choices.pick(&[307, 308]);
        quirks.push(Quirk::RedirectsCreation(status, "/made/here/".into()));
    }
    let expires_after = choices
        .once_in(5)
        .then(|| Duration::from_secs(*choices.pick(&[3_600, 600, 20])));
    Options {
        expires_after,
        quirks,
        ..Options::default()
    }
}
