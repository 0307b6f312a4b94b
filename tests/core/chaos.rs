//! Seeded runs against the testkit's server over a bad line, killed and resumed on the way:
//! whatever happens, the server ends with the source's bytes.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tus_proto::{
    Answer, Body, Checkpoint, Config, Duty, DutyId, Error, Failure, FailureKind, Input, Machine,
    Output, Tick, Upload, Uploaded,
};
use tus_testkit::{
    Ending, FaultPlan, Options, Quirk, Rates, Reading, Server, SplitMix64, VirtualClock,
};

const ENDPOINT: &str = "http://example.org/files/";
const SEEDS: Range<u64> = 0..3_000;

/// What comes to the machine, later.
enum Coming {
    /// For the process of this number; a later one has other connections.
    Input(u32, Input),
    /// The server notices that a connection is dead.
    Abort(Reading),
}

struct World {
    random: SplitMix64,
    source: Bytes,
    server: Server,
    line: FaultPlan,
    clock: VirtualClock<Coming>,
    saved: Option<Checkpoint>,
    requests: u32,
    process: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = SplitMix64::new(seed);
        let length = random.below(300);
        let source = (0..length)
            .map(|_| random.next_u64().to_le_bytes()[0])
            .collect();
        let habits = [
            Quirk::PatchAnswers200,
            Quirk::PatchWithoutOffset,
            Quirk::HeadWithoutLength,
            Quirk::ErrorsWithoutVersion,
            Quirk::TakesOnly(7),
            Quirk::MaxBody(70_000),
            Quirk::CompleteIs403,
            Quirk::LockedIs423,
            Quirk::RepeatedValues,
        ];
        let quirks = habits
            .into_iter()
            .filter(|_| random.below(4) == 0)
            .collect();
        let rates = Rates {
            span: 300,
            ..Rates::rough()
        };
        Self {
            source,
            server: Server::new(Options {
                quirks,
                ..Options::default()
            }),
            line: FaultPlan::seeded(random.next_u64(), rates).at_most(20),
            clock: VirtualClock::new(),
            saved: None,
            requests: 0,
            process: 0,
            random,
        }
    }

    fn config(&mut self) -> Config {
        let mut config = Config::default();
        config.seed = self.random.next_u64();
        config.retry.attempts = Some(100);
        if self.random.below(2) == 0 {
            config.request_size = Some(1 + self.random.below(300));
        }
        config
    }

    /// A run: from the checkpoint that was saved, if one was.
    fn begin(&mut self) -> Upload {
        let config = self.config();
        let length = self.source.len() as u64;
        match &self.saved {
            Some(checkpoint) => Upload::resume(ENDPOINT, checkpoint.clone(), length, &config),
            None => Upload::create(ENDPOINT, length, &config),
        }
        .unwrap()
    }

    fn carry_out(&mut self, id: DutyId, request: Request<Body>) {
        self.requests += 1;
        let range = request.body().clone();
        let bytes = self
            .source
            .slice(usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap());
        let outcome = self
            .server
            .exchange(request.map(|_| bytes), self.line.next_fault().as_ref());
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
        soon(outcome.delay, Input::Answer(id, answer));
    }

    /// One run; `None`: it was killed.
    fn run(&mut self, mut upload: Upload, mut steps: u64) -> Option<Result<Uploaded, Error>> {
        let mut out = None;
        self.process += 1;
        loop {
            steps = steps.checked_sub(1)?;
            match upload.poll(Tick(self.clock.now())) {
                Output::Begin(id, Duty::Exchange(request, _)) => {
                    assert_eq!(out, None, "I3: two exchanges at once");
                    out = Some(id);
                    self.carry_out(id, request);
                }
                Output::Begin(id, Duty::Save(checkpoint)) => {
                    self.saved = checkpoint;
                    self.clock.after(
                        Duration::ZERO,
                        Coming::Input(self.process, Input::Answer(id, Answer::Saved)),
                    );
                }
                Output::Begin(_, duty) => panic!("nobody asked for {duty:?}"),
                Output::Stop(id) => assert_eq!(out.take(), Some(id)),
                Output::Event(_) => (),
                Output::Done(result) => return Some(result),
                Output::Wait(until) => match self.clock.until(until.map(|tick| tick.0)) {
                    Some(Coming::Input(process, input)) if process == self.process => {
                        if let Input::Answer(id, _) = &input {
                            out.take_if(|out| out == id);
                        }
                        upload.handle(Tick(self.clock.now()), input);
                    }
                    Some(Coming::Abort(reading)) => self.server.abort(reading),
                    Some(Coming::Input(..)) | None => (),
                },
            }
        }
    }
}

#[test]
fn over_a_bad_line_the_server_ends_with_the_sources_bytes() {
    let (mut requests, mut kills, mut unfinished) = (0, 0, 0);
    for seed in SEEDS {
        let mut world = World::new(seed);
        let url = loop {
            let upload = world.begin();
            let steps = if kills_left(&mut world) {
                world.random.below(60)
            } else {
                100_000
            };
            match world.run(upload, steps) {
                Some(Ok(done)) => {
                    assert_eq!(
                        world.saved, None,
                        "the checkpoint is forgotten, seed {seed}"
                    );
                    break done.url;
                }
                // A 500 to the last byte is a refusal, whatever the server did with it (R8).
                Some(Err(Error::Unfinished { place, status, .. })) if status == 500 => {
                    unfinished += 1;
                    break place.url;
                }
                Some(Err(error)) => panic!("seed {seed}: {error}\n{error:?}"),
                None => kills += 1,
            }
        };
        let upload = world.server.upload(&url.expose()).expect("an upload");
        assert_eq!(upload.content(), &world.source[..], "I1, seed {seed}");
        requests += world.requests;
    }
    // A run in which nothing goes wrong would prove nothing.
    let told = format!("{requests} requests, {kills} kills, {unfinished} unfinished");
    assert!(
        requests > 30_000 && kills > 1_000 && unfinished < 300,
        "{told}"
    );
    println!("{told}");
}

fn kills_left(world: &mut World) -> bool {
    world.requests < 30 && world.random.below(2) == 0
}
