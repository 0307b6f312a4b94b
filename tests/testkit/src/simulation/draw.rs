//! How a plan is drawn: every option of a client, and what a server may be like.

use std::time::Duration;

use http::{HeaderName, Uri};
use tus_proto::{Algorithm, Authorize, Capabilities, Foreign, Metadata, Origin};

use super::plan::{Kind, Plan, Vetoed, secret};
use super::watch::obtained;
use super::{Choices, Sort};
use crate::{Extension, Location, Options, Quirk};

/// By how many bytes a source may grow.
pub(super) const GROWTH: u64 = 40;

impl Plan {
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
            quiet: Sort::ALL.len() as u64,
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
        plan.server.expires_after = choices
            .once_in(5)
            .then(|| Duration::from_secs(*choices.pick(&[3_600, 600, 20])));
        plan.draw_trust(choices);
        plan.draw_source(choices);
        plan.draw_creation(choices);
        plan.draw_parts(choices);
        plan.draw_policy(choices);
        plan.draw_habits(choices, big);
        plan.draw_sizes(choices, big);
        plan.draw_extensions(choices);
        plan
    }

    /// What is told to whom, and who is asked.
    fn draw_trust(&mut self, choices: &mut Choices) {
        let config = &mut self.config;
        if choices.once_in(2) {
            config.headers.insert("authorization", secret());
        }
        let elsewhere = ["http://elsewhere.example", "http://example.org:8081"];
        let elsewhere = elsewhere.map(|url| Origin::of(&Uri::from_static(url)));
        config.foreign = match choices.below(4) {
            0 | 1 => Foreign::Bare,
            2 => Foreign::Refuse,
            _ => Foreign::Trust(elsewhere.into_iter().flatten().collect()),
        };
        match choices.below(8) {
            0 | 1 => (),
            2 => self.asks_at = vec![401, 403],
            3 => self.asks_at = vec![400, 307],
            _ => config.authorize = Authorize::OnUnauthorized,
        }
        config.method_override = choices.once_in(6);
        config.request_id = choices
            .once_in(6)
            .then(|| HeaderName::from_static("x-request-id"));
    }

    /// How the source is read, and checked.
    fn draw_source(&mut self, choices: &mut Choices) {
        let config = &mut self.config;
        if choices.once_in(4) {
            config.identity = None;
        }
        let can_stream = !self.kind.is_deferred() && self.kind != Kind::Parts;
        config.stream |= can_stream && choices.once_in(8);
        let unchecked = config.checksums.is_empty();
        if unchecked && choices.once_in(if self.kind == Kind::Parts { 3 } else { 8 }) {
            let wanted = [
                ["sha1", "crc32"],
                ["crc32", "md5"],
                ["md5", "sha256"],
                ["sha512", "sha1"],
            ];
            config.checksums = algorithms(choices.pick(&wanted).as_slice());
            config.trailers = choices.once_in(3);
        }
    }

    /// How an upload comes to be, and comes to be anew.
    fn draw_creation(&mut self, choices: &mut Choices) {
        let config = &mut self.config;
        config.expect_continue = choices.once_in(4);
        config.recreations = *choices.pick(&[1, 0, 3]);
        if choices.once_in(3) {
            config.creation_body = choices.below(200);
        }
        if choices.once_in(2) {
            name(&mut config.metadata, "a.bin");
        }
        config.partial = self.kind == Kind::Plain && choices.once_in(10);
    }

    fn draw_parts(&mut self, choices: &mut Choices) {
        if self.kind != Kind::Parts {
            return;
        }
        let parts = &mut self.config.parts;
        parts.at_once = *choices.pick(&[3, 1, 2]);
        parts.unfinished = choices.once_in(2);
        parts.discard = choices.once_in(3);
        parts.relative = choices.once_in(3);
        if choices.once_in(3) {
            name(&mut parts.metadata, "a part");
        }
        if choices.once_in(12) {
            parts.list_limit = *choices.pick(&[400, 120, 20]);
        }
    }

    /// How long and how often it is tried.
    fn draw_policy(&mut self, choices: &mut Choices) {
        let retry = &mut self.config.retry;
        retry.base = *choices.pick(&[Duration::from_secs(1), Duration::from_millis(50)]);
        if choices.once_in(8) {
            retry.no_progress = Some(Duration::from_secs(15 * 60));
        }
        if choices.once_in(12) {
            retry.deadline = Some(Duration::from_secs(60 * 60));
        }
        if choices.once_in(8) {
            retry.max = Duration::from_secs(3);
        }
        if choices.once_in(8) {
            retry.max_retry_after = Duration::from_secs(10);
        }
        if choices.once_in(4) {
            let timeouts = &mut self.config.timeouts;
            timeouts.connect = Duration::from_secs(2);
            timeouts.stall = Duration::from_secs(5);
            timeouts.answer = Duration::from_secs(5);
            timeouts.answer_to_body = Duration::from_secs(5);
            timeouts.concatenation = Duration::from_secs(5);
            timeouts.least_speed = *choices.pick(&[16 * 1024, 1]);
        }
        if choices.once_in(16) {
            let vetoes = [Vetoed::Losses, Vetoed::Creations, Vetoed::Answers];
            self.veto = Some(*choices.pick(&vetoes));
        }
    }

    /// What the server does otherwise than it should, for good.
    fn draw_habits(&mut self, choices: &mut Choices, big: bool) {
        let habits = self.habits().into_iter();
        let mut quirks: Vec<Quirk> = habits.filter(|_| choices.once_in(9)).collect();
        if choices.once_in(12) {
            quirks.push(Quirk::MovesCompleted);
        }
        if choices.once_in(16) {
            quirks.push(Quirk::RefusesCompletion(
                *choices.pick(&[422, 403, 400, 500]),
            ));
        }
        if choices.once_in(24) {
            quirks.push(choices.pick(&self.walls()).clone());
        }
        if big && choices.once_in(2) {
            quirks.push(Quirk::MaxBody(*choices.pick(&[70_000, 200_000])));
        }
        if big {
            // A thousand requests are the end.
            quirks.retain(|quirk| !matches!(quirk, Quirk::TakesOnly(_)));
        }
        if self.kind.is_deferred() && quirks.contains(&Quirk::HeadWithoutLength) {
            // Nobody could say whether such a server knows the length.
            quirks.retain(|quirk| *quirk != Quirk::CompleteIs403);
        }
        let mut relative = self.config.parts.relative;
        if choices.once_in(3) {
            quirks.push(Quirk::Location(choices.pick(&locations()).clone()));
            // A part may be elsewhere.
            relative = false;
        }
        quirks.retain(|quirk| match quirk {
            Quirk::RelativeParts => relative,
            Quirk::AbsoluteParts => !self.config.parts.relative,
            _ => true,
        });
        if choices.once_in(16) {
            let status = *choices.pick(&[307, 308]);
            quirks.push(Quirk::RedirectsCreation(status, "/made/here/".into()));
        }
        self.server.quirks = quirks;
    }

    /// What a server of such an upload may do otherwise, and a client gets by all the same.
    fn habits(&self) -> Vec<Quirk> {
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
        if self.kind == Kind::FirstBytes {
            habits.extend([
                Quirk::IgnoresCreationBody,
                Quirk::CreateWithoutOffset,
                Quirk::RefusesCreationBody(413),
            ]);
        }
        if !self.config.checksums.is_empty() {
            habits.extend([Quirk::IgnoresChecksum, Quirk::MismatchIs(417)]);
        }
        if self.kind.is_deferred() {
            habits.extend([Quirk::HeadWithoutDeferLength, Quirk::LengthOnce]);
        }
        if self.kind == Kind::Parts {
            habits.extend([
                Quirk::StaleFinal(2),
                Quirk::AbsoluteParts,
                Quirk::RelativeParts,
            ]);
        }
        habits
    }

    /// What few such uploads can get by.
    fn walls(&self) -> Vec<Quirk> {
        let home = self.endpoint.parse().unwrap_or_else(|_| Uri::default());
        let home = Origin::of(&home).map(|origin| obtained(&origin));
        let mut walls = vec![Quirk::Authorization(home.unwrap_or_default())];
        walls.push(if self.config.method_override {
            Quirk::IgnoresOverride
        } else {
            Quirk::PostOnly
        });
        if self.kind.is_deferred() {
            walls.push(Quirk::DeferredNeedsLength);
        }
        if self.kind == Kind::Parts {
            walls.extend([
                Quirk::RefusesConcatenation(403),
                Quirk::RefusesFinal(400),
                Quirk::RefusesFinal(501),
                Quirk::FinalAtPart,
                Quirk::LosesPart(404),
                Quirk::LosesPart(400),
            ]);
        }
        walls
    }

    /// Of what size requests are.
    fn draw_sizes(&mut self, choices: &mut Choices, big: bool) {
        if big || !choices.once_in(6) {
            return;
        }
        let (config, quirks) = (&mut self.config, &mut self.server.quirks);
        let multiple = 1 + choices.below(20);
        config.request_multiple = Some(multiple);
        config.request_min = choices.once_in(2).then_some(multiple);
        quirks.push(Quirk::BodyMultiple(multiple));
        quirks.extend(config.request_min.map(Quirk::MinBody));
        // Nobody could go on with what such a server has taken, nor know whether it knows the length, and
        // with it which request is the last.
        quirks
            .retain(|quirk| !matches!(quirk, Quirk::TakesOnly(_) | Quirk::HeadWithoutDeferLength));
    }

    /// What the server offers, and what is known of that: the truth, nothing, or what is not so.
    fn draw_extensions(&mut self, choices: &mut Choices) {
        let (config, server) = (&mut self.config, &mut self.server);
        if choices.once_in(6) {
            // One that has uploads of unknown length has that extension.
            let given = self.kind == Kind::GivenStream;
            let stays = |extension: &Extension| match extension {
                Extension::Creation => true,
                Extension::CreationDeferLength => given,
                _ => false,
            };
            server
                .extensions
                .retain(|extension| stays(extension) || !choices.once_in(5));
        }
        if choices.once_in(8) {
            server
                .checksum_algorithms
                .retain(|name| name == "sha1" || choices.once_in(2));
        }
        let length: u64 = self.lengths.iter().sum();
        if choices.once_in(16) {
            server.max_size = Some(choices.below(2 * length + 2));
        }
        let needs = matches!(self.kind, Kind::FirstBytes | Kind::Trailers);
        // Creations with bytes would hide the others.
        let with_bytes = self.kind == Kind::FirstBytes || choices.once_in(3);
        config.server = match choices.below(8) {
            0..4 => Some(offered(server, with_bytes)),
            4 => Some(offered(&Options::default(), with_bytes)),
            _ => needs.then(|| offered(server, with_bytes)),
        };
        let anyway = choices.once_in(8);
        self.config.try_unoffered = anyway || self.asks_too_much();
    }

    /// Whether the client knows that the server does not offer what this needs.
    fn asks_too_much(&self) -> bool {
        let Some(server) = &self.config.server else {
            return false;
        };
        let config = &self.config;
        let needed = [
            (Extension::CreationDeferLength, self.kind.is_deferred()),
            (
                Extension::Concatenation,
                config.partial || self.kind == Kind::Parts,
            ),
            (Extension::Checksum, !config.checksums.is_empty()),
            (Extension::Termination, config.parts.discard),
        ];
        let names = server.extensions.as_deref().unwrap_or_default();
        let lacks = |extension: Extension| !names.iter().any(|name| name == extension.name());
        let algorithms = &server.checksum_algorithms;
        let mut wanted = config.checksums.iter();
        let most: u64 = self.lengths.iter().sum::<u64>() + GROWTH;
        needed
            .into_iter()
            .any(|(extension, is_needed)| is_needed && lacks(extension))
            || !config.checksums.is_empty() && !wanted.any(|name| algorithms.contains(name))
            || server.max_size.is_some_and(|limit| limit < most)
    }
}

/// All that a plan can have beside its kind, by its name in a [`Tally`](super::Tally).
type Trait = (&'static str, fn(&Plan) -> bool);

const TRAITS: &[Trait] = &[
    ("option: asks for credentials at 401", |plan| {
        matches!(plan.config.authorize, Authorize::OnUnauthorized)
    }),
    ("option: asks for credentials at other answers", |plan| {
        !plan.asks_at.is_empty()
    }),
    ("option: checksums", |plan| {
        !plan.config.checksums.is_empty()
    }),
    ("option: checksums after the body", |plan| {
        !plan.config.checksums.is_empty() && plan.config.trailers
    }),
    ("option: checksums in parts", |plan| {
        plan.kind == Kind::Parts && !plan.config.checksums.is_empty()
    }),
    ("option: deadline", |plan| {
        plan.config.retry.deadline.is_some()
    }),
    ("option: expect 100-continue", |plan| {
        plan.config.expect_continue
    }),
    ("option: foreign origins refused", |plan| {
        plan.config.foreign == Foreign::Refuse
    }),
    ("option: foreign origins trusted", |plan| {
        matches!(plan.config.foreign, Foreign::Trust(_))
    }),
    ("option: gives up without progress", |plan| {
        plan.config.retry.no_progress.is_some()
    }),
    ("option: long Retry-After is not waited out", |plan| {
        plan.config.retry.max_retry_after < Duration::from_secs(60)
    }),
    ("option: metadata", |plan| !plan.config.metadata.is_empty()),
    ("option: metadata of parts", |plan| {
        !plan.config.parts.metadata.is_empty()
    }),
    ("option: method override", |plan| {
        plan.config.method_override
    }),
    ("option: no identity", |plan| plan.config.identity.is_none()),
    ("option: partial", |plan| plan.config.partial),
    ("option: parts are deleted", |plan| {
        plan.config.parts.discard
    }),
    ("option: parts are named by path", |plan| {
        plan.config.parts.relative
    }),
    ("option: parts are joined early", |plan| {
        plan.config.parts.unfinished
    }),
    ("option: parts one at a time", |plan| {
        plan.kind == Kind::Parts && plan.config.parts.at_once == 1
    }),
    ("option: parts' list is short", |plan| {
        plan.config.parts.list_limit < 1_000
    }),
    ("option: recreated often", |plan| {
        plan.config.recreations > 1
    }),
    ("option: recreated never", |plan| {
        plan.config.recreations == 0
    }),
    ("option: requests have ids", |plan| {
        plan.config.request_id.is_some()
    }),
    ("option: requests of a multiple", |plan| {
        plan.config.request_multiple.is_some()
    }),
    ("option: requests of a least size", |plan| {
        plan.config.request_min.is_some()
    }),
    ("option: server is known", |plan| {
        plan.config.server.is_some()
    }),
    ("option: short longest wait", |plan| {
        plan.config.retry.max < Duration::from_secs(60)
    }),
    ("option: short timeouts", |plan| {
        plan.config.timeouts.concatenation < Duration::from_secs(60)
    }),
    ("option: source is read as it comes", |plan| {
        plan.config.stream
    }),
    ("option: tries what is not offered", |plan| {
        plan.config.try_unoffered
    }),
    ("option: veto", |plan| plan.veto.is_some()),
    ("server: expires uploads", |plan| {
        plan.server.expires_after.is_some()
    }),
    ("server: is not what it is thought to be", |plan| {
        plan.config.server.as_ref().is_some_and(|known| {
            let names = known.extensions.iter().flatten();
            let mut has = plan.server.extensions.iter();
            names
                .into_iter()
                .any(|name| has.all(|extension| extension.name() != name))
        })
    }),
    ("server: has a longest upload", |plan| {
        plan.server.max_size.is_some()
    }),
    ("server: lacks algorithms", |plan| {
        plan.server.checksum_algorithms.len() < Options::default().checksum_algorithms.len()
    }),
    ("server: lacks extensions", |plan| {
        plan.server.extensions.len() < Extension::ALL.len()
    }),
];

impl Plan {
    /// The names of all traits that a plan can have.
    pub fn all_traits() -> impl Iterator<Item = &'static str> {
        TRAITS.iter().map(|(name, _)| *name)
    }

    /// The names of those that this one has.
    pub(super) fn traits(&self) -> impl Iterator<Item = &'static str> {
        let here = TRAITS.iter().filter(|(_, has)| has(self));
        here.map(|(name, _)| *name)
    }
}

fn name(metadata: &mut Metadata, value: &str) {
    metadata.insert("filename", value).expect("a good name");
}

pub(super) fn algorithms(names: &[impl AsRef<str>]) -> Vec<Algorithm> {
    let names = names.iter().map(|name| Algorithm::new(name.as_ref()));
    names.map(|name| name.expect("a good name")).collect()
}

/// What such a server says of itself. `with_bytes`: also of creations with bytes, if it has them.
pub(super) fn offered(server: &Options, with_bytes: bool) -> Capabilities {
    let names = server.extensions.iter();
    let names = names.filter(|name| **name != Extension::CreationWithUpload || with_bytes);
    let mut offered = Capabilities::default();
    offered.extensions = Some(names.map(|name| name.name().to_owned()).collect());
    offered.checksum_algorithms = algorithms(&server.checksum_algorithms);
    offered.max_size = server.max_size;
    offered
}

/// What the Location of a creation may look like.
fn locations() -> [Location; 10] {
    let template = |text: &str| Location::Template(text.into());
    [
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
    ]
}
