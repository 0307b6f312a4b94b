//! What is around a machine in a simulated run: a server, a bad line, a source, a clock, and somebody
//! who kills the process.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Request};
use tus_proto::{
    Algorithm, Answer, Body, Cancel, Capabilities, Checkpoint, Config, Duty, DutyId, Error, Event,
    Failure, FailureKind, Input, Machine, Output, Terms, Tick, Uploaded,
};
use tus_testkit::{
    Ending, Extension, FaultPlan, Options, Quirk, Rates, Reading, Server, SplitMix64, Trailers,
    VirtualClock, checksum,
};

pub const ENDPOINT: &str = "http://example.org/files/";
/// More steps than any run takes.
const MANY: u64 = 100_000;

/// What is uploaded, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Plain,
    FirstBytes,
    Checksums,
    Trailers,
    Stream,
    StreamChecksums,
    /// A stream whose length is known.
    Measured,
    Parts,
}

impl Kind {
    /// Parts have more to go wrong.
    pub const ALL: [Self; 9] = [
        Self::Plain,
        Self::FirstBytes,
        Self::Checksums,
        Self::Trailers,
        Self::Stream,
        Self::StreamChecksums,
        Self::Measured,
        Self::Parts,
        Self::Parts,
    ];

    fn is_stream(self) -> bool {
        matches!(self, Self::Stream | Self::StreamChecksums)
    }

    fn has_checksums(self) -> bool {
        matches!(
            self,
            Self::Checksums | Self::Trailers | Self::StreamChecksums
        )
    }

    /// The length that the machine is told of at its beginning.
    pub fn tells(self, length: u64) -> Option<u64> {
        (!self.is_stream()).then_some(length)
    }

    /// What the server may do otherwise in such a run.
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
            Quirk::RepeatedLines,
            Quirk::RepeatedValues,
            Quirk::MovesCompleted,
        ];
        habits.extend(match self {
            Self::Plain | Self::Measured => vec![],
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
            Self::Parts => vec![Quirk::StaleFinal(2), Quirk::AbsoluteParts],
        });
        habits
    }
}

/// What comes to the machine, later.
enum Coming {
    /// For the process of this number; a later one has other connections.
    Input(u32, Input),
    /// The server notices that a connection is dead.
    Abort(Reading),
}

/// How a process ends before its time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stroke {
    Kill,
    Cancel(Cancel),
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "each is drawn, or noted, on its own"
)]
pub struct World {
    pub kind: Kind,
    pub source: Bytes,
    /// Of the parts.
    pub lengths: Vec<u64>,
    pub server: Server,
    /// What the driver made durable.
    pub saved: Option<Checkpoint>,
    pub lost_a_save: bool,
    pub requests: usize,
    pub kills: usize,
    pub cancels: usize,
    pub mismatches: usize,
    aloud: bool,
    random: SplitMix64,
    line: FaultPlan,
    clock: VirtualClock<Coming>,
    process: u32,
    /// Bytes of a stream before this are dropped.
    kept: u64,
    /// Those before this were read.
    read: u64,
    early: bool,
    pub discard: bool,
    /// The request before which an unfinished upload vanishes.
    vanishes: Option<usize>,
    pub vanished: bool,
}

/// The uploads that it names.
fn urls(checkpoint: Option<Checkpoint>) -> Vec<String> {
    let text = checkpoint.map_or_else(String::new, |checkpoint| checkpoint.to_text());
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    let urls = lines.filter(|(name, _)| ["url", "whole"].contains(name));
    urls.map(|(_, url)| url.to_owned()).collect()
}

fn upto(n: u64) -> usize {
    usize::try_from(n).unwrap()
}

impl World {
    /// `aloud`: it tells what happens.
    pub fn new(seed: u64, aloud: bool) -> Self {
        let mut random = SplitMix64::new(seed);
        let kind = Kind::ALL[upto(random.below(Kind::ALL.len() as u64))];
        let mut lengths = Vec::new();
        let mut source = Vec::new();
        let parts = if kind == Kind::Parts {
            1 + random.below(5)
        } else {
            1
        };
        for _ in 0..parts {
            let length = match random.below(8) {
                0 => 0,
                _ => random.below(300 / parts),
            };
            lengths.push(length);
            source.extend((0..length).map(|_| random.next_u64().to_le_bytes()[0]));
        }
        let habits = kind.habits().into_iter();
        let quirks = habits.filter(|quirk| match quirk {
            Quirk::MovesCompleted => random.below(12) == 0,
            _ => random.below(6) == 0,
        });
        let mut quirks: Vec<Quirk> = quirks.collect();
        if kind.is_stream() && quirks.contains(&Quirk::HeadWithoutLength) {
            // Nobody could say whether such a server knows the length.
            quirks.retain(|quirk| *quirk != Quirk::CompleteIs403);
        }
        let rates = Rates {
            span: 300,
            ..Rates::rough()
        };
        if aloud {
            println!("{kind:?} {quirks:?} {lengths:?}");
        }
        Self {
            kind,
            source: source.into(),
            lengths,
            server: Server::new(Options {
                quirks,
                ..Options::default()
            }),
            line: FaultPlan::seeded(random.next_u64(), rates).at_most(10 + 5 * parts),
            clock: VirtualClock::new(),
            saved: None,
            lost_a_save: false,
            requests: 0,
            kills: 0,
            cancels: 0,
            mismatches: 0,
            process: 0,
            aloud,
            kept: 0,
            read: 0,
            early: random.below(2) == 0,
            discard: random.below(3) == 0,
            vanishes: (random.below(10) == 0).then(|| upto(random.below(40))),
            vanished: false,
            random,
        }
    }

    /// Where the parts are in the source.
    pub fn parts(&self) -> impl Iterator<Item = Range<usize>> {
        self.lengths.iter().scan(0, |base, length| {
            let part = upto(*base)..upto(*base + length);
            *base += length;
            Some(part)
        })
    }

    pub fn config(&mut self) -> Config {
        let mut config = Config::default();
        config.seed = self.random.next_u64();
        config.retry.attempts = Some(100);
        if self.random.below(2) == 0 {
            config.request_size = Some(1 + self.random.below(300));
        }
        config.parts.at_once = 1 + u32::try_from(self.random.below(3)).unwrap();
        config.parts.unfinished = self.early;
        config.parts.discard = self.discard;
        if self.kind.has_checksums() {
            let names = ["sha1", "crc32"];
            let names = names.map(|name| Algorithm::new(name).unwrap());
            config.checksums = names.to_vec();
            config.trailers = self.kind == Kind::Trailers;
        }
        config.stream = self.kind == Kind::Measured;
        if self.kind != Kind::Plain {
            let mut server = Capabilities::default();
            let with_bytes = self.kind == Kind::FirstBytes || self.random.below(3) == 0;
            let names = Extension::ALL.into_iter();
            let names = names.filter(|name| *name != Extension::CreationWithUpload || with_bytes);
            server.extensions = Some(names.map(|name| name.name().to_owned()).collect());
            config.server = Some(server);
        }
        config
    }

    fn tell(&self, what: &impl std::fmt::Debug) {
        if self.aloud {
            println!("{:?} {what:?}", self.clock.now());
        }
    }

    fn later(&mut self, input: Input) {
        let delay = Duration::from_millis(self.random.below(50));
        self.clock.after(delay, Coming::Input(self.process, input));
    }

    /// The bytes of this range, if the source still has them.
    fn bytes(&self, range: &Body) -> Bytes {
        let dropped = !range.is_empty() && range.start < self.kept;
        assert!(!dropped, "these bytes were dropped");
        let is_read = self.kind.is_stream() || self.kind == Kind::Measured;
        let ahead = is_read && !range.is_empty() && range.end > self.read;
        assert!(!ahead, "these bytes were not read yet");
        self.source.slice(upto(range.start)..upto(range.end))
    }

    /// Once in a while a bit is wrong on the way.
    fn digest(&mut self, algorithm: &Algorithm, range: &Body) -> Vec<u8> {
        let mut digest = checksum(algorithm.as_str(), &self.bytes(range)).unwrap();
        if self.random.below(20) == 0 {
            digest[0] ^= 1;
            self.mismatches += 1;
        }
        digest
    }

    fn exchange(&mut self, id: DutyId, request: Request<Body>, terms: &Terms) {
        if self.vanishes == Some(self.requests) {
            self.vanish();
        }
        self.requests += 1;
        let range = request.body().clone();
        if self.kind == Kind::Parts && !range.is_empty() {
            let part = self.parts().nth(id.lane as usize - 1).unwrap();
            let part = part.start as u64..part.end as u64;
            assert!(part.start <= range.start && range.end <= part.end);
        }
        let mut request = request.map(|range| self.bytes(&range));
        if let Some(algorithm) = &terms.trailer {
            use base64::Engine as _;
            let digest = self.digest(algorithm, &range);
            let digest = base64::engine::general_purpose::STANDARD.encode(digest);
            let value = format!("{} {digest}", algorithm.as_str());
            let mut fields = HeaderMap::new();
            fields.insert("upload-checksum", value.parse().unwrap());
            request.extensions_mut().insert(Trailers(fields));
            let chunked = HeaderValue::from_static("chunked");
            assert!(!request.headers().contains_key(CONTENT_LENGTH));
            request.headers_mut().insert(TRANSFER_ENCODING, chunked);
        }
        let fault = self.line.next_fault();
        let outcome = self.server.exchange(request, fault.as_ref());
        let process = self.process;
        let mut soon = |delay, input| self.clock.after(delay, Coming::Input(process, input));
        soon(Duration::ZERO, Input::Sent(id, 0));
        soon(Duration::ZERO, Input::Sent(id, outcome.taken));
        let failed = |kind| Answer::Failed(Failure::new(kind, "by design"));
        let answer = match outcome.ending {
            Ending::Answer(response) => Answer::Response(response),
            Ending::NotSent => failed(FailureKind::NotSent),
            Ending::Lost => failed(FailureKind::Lost),
            Ending::Silence(reading) => {
                if let Some(reading) = reading {
                    self.clock
                        .after(Duration::from_secs(45), Coming::Abort(reading));
                }
                return;
            }
        };
        let jitter = Duration::from_millis(self.random.below(50));
        self.clock.after(
            outcome.delay + jitter,
            Coming::Input(process, Input::Answer(id, answer)),
        );
    }

    /// The server drops an upload that is not complete.
    fn vanish(&mut self) {
        let unfinished = self.server.uploads().filter(|upload| !upload.is_complete());
        let targets: Vec<_> = unfinished
            .map(|upload| upload.target().to_owned())
            .collect();
        let which = upto(self.random.below(targets.len() as u64));
        if let Some(target) = targets.get(which) {
            self.vanished = self.server.remove(target);
        }
    }

    fn check_gone(&self, urls: &[String]) {
        let left = urls.iter().find(|url| self.server.upload(url).is_some());
        assert_eq!(left, None, "it is still there");
    }

    /// More bytes than before, perhaps fewer or more than are wanted, or the end.
    fn read(&mut self, keep: u64, upto: u64) -> Answer {
        assert!(keep >= self.kept);
        self.kept = keep;
        let length = self.source.len() as u64;
        let least = keep.max(self.read) + 1;
        let upto = match self.random.below(4) {
            0 => least + self.random.below(upto.saturating_sub(least)),
            1 => upto.saturating_add(self.random.below(20)),
            _ => upto,
        };
        let upto = upto.max(least);
        // A source need not know that it ends before it was asked for more.
        let end = upto > length || upto == length && self.random.below(2) == 0;
        self.read = upto.min(length);
        Answer::Available {
            upto: self.read,
            end,
        }
    }

    /// What comes of a duty that is no exchange.
    fn answer(&mut self, duty: Duty) -> Answer {
        match duty {
            Duty::Save(checkpoint) => self.save(checkpoint),
            Duty::Digest { algorithm, range } => {
                Answer::Digest(self.digest(&algorithm, &range).into())
            }
            Duty::Read { keep, upto } => self.read(keep, upto),
            duty => panic!("nobody asked for {duty:?}"),
        }
    }

    /// Whether and how the next run ends before its time.
    fn stroke(&mut self) -> Option<Stroke> {
        if self.requests >= 40 || self.random.below(3) == 0 {
            return None;
        }
        Some(match self.random.below(16) {
            0 => Stroke::Cancel(Cancel::Terminate),
            1..5 => Stroke::Cancel(Cancel::Keep),
            5..9 => Stroke::Cancel(Cancel::Now),
            _ => Stroke::Kill,
        })
    }

    fn save(&mut self, checkpoint: Option<Checkpoint>) -> Answer {
        if self.random.below(40) == 0 {
            self.lost_a_save = true;
            return Answer::Failed(Failure::new(FailureKind::Lost, "disk full"));
        }
        // What is read is what was written (I9).
        self.saved = checkpoint.map(|checkpoint| checkpoint.to_text().parse().unwrap());
        Answer::Saved
    }

    /// One run; `None`: it was killed.
    pub fn run<M>(&mut self, mut machine: M) -> Option<Result<Uploaded, Error>>
    where
        M: Machine<Success = Uploaded>,
    {
        self.process += 1;
        (self.kept, self.read) = (0, 0);
        // By lane, with the upload that each is for.
        let mut out: BTreeMap<u32, (DutyId, String)> = BTreeMap::new();
        let mut confirmed = 0;
        let mut saving = None;
        let mut now = false;
        let mut known = Vec::new();
        let mut stroke = self.stroke();
        let mut steps = match stroke {
            Some(_) => self.random.below(80),
            None => MANY,
        };
        loop {
            if steps == 0 {
                match stroke.take().expect("it never ends") {
                    Stroke::Kill => {
                        self.kills += 1;
                        return None;
                    }
                    Stroke::Cancel(how) => {
                        self.cancels += 1;
                        now = how == Cancel::Now;
                        if how == Cancel::Terminate {
                            known = urls(machine.checkpoint());
                        }
                        machine.handle(Tick(self.clock.now()), Input::Cancel(how));
                        steps = MANY;
                    }
                }
            }
            steps -= 1;
            let output = machine.poll(Tick(self.clock.now()));
            self.tell(&output);
            match output {
                Output::Begin(id, Duty::Exchange(request, terms)) => {
                    let url = request.uri().to_string();
                    if url != ENDPOINT {
                        let mut others = out.values();
                        assert!(
                            others.all(|(_, other)| *other != url),
                            "I3: two of one upload"
                        );
                    }
                    assert!(
                        out.insert(id.lane, (id, url)).is_none(),
                        "I3: two of a lane"
                    );
                    self.exchange(id, request, &terms);
                }
                Output::Begin(id, duty) => {
                    if let Duty::Save(_) = duty {
                        assert_eq!(saving.replace(id), None, "two saves at once");
                    }
                    let answer = self.answer(duty);
                    self.later(Input::Answer(id, answer));
                }
                Output::Stop(id) => out.retain(|_, (out, _)| *out != id),
                Output::Event(Event::Confirmed { offset, .. }) => {
                    assert!(offset >= confirmed, "I5");
                    confirmed = offset;
                }
                Output::Event(Event::Rewound { to, .. }) => confirmed = to,
                Output::Event(Event::Recreating { .. }) => confirmed = 0,
                Output::Event(_) => (),
                Output::Done(result) => {
                    assert!(out.is_empty(), "I11");
                    let after = machine.poll(Tick(self.clock.now()));
                    assert!(matches!(after, Output::Wait(None)), "I2");
                    if let Err(Error::Cancelled {
                        terminated: true, ..
                    }) = result
                    {
                        assert_eq!(machine.checkpoint(), None);
                        self.check_gone(&known);
                    }
                    if now {
                        // The caller does what the machine was forbidden to.
                        self.saved = machine.checkpoint();
                    }
                    return Some(result);
                }
                Output::Wait(until) => {
                    let past = until.is_some_and(|until| until.0 <= self.clock.now());
                    assert!(!past, "it waits for the past");
                    let stuck = until.is_none() && self.clock.next_at().is_none();
                    assert!(!stuck, "there is nothing to wait for");
                    match self.clock.until(until.map(|tick| tick.0)) {
                        Some(Coming::Input(process, input)) if process == self.process => {
                            if let Input::Answer(id, _) = &input {
                                saving.take_if(|saving| saving == id);
                                out.retain(|_, (out, _)| out != id);
                            }
                            self.tell(&input);
                            machine.handle(Tick(self.clock.now()), input);
                        }
                        Some(Coming::Abort(reading)) => self.server.abort(reading),
                        Some(Coming::Input(..)) | None => (),
                    }
                }
            }
        }
    }
}
