//! Seeded runs of the testkit's simulation, in which everything can go wrong and every rule is checked;
//! and that the simulation finds a machine that breaks one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use tus_proto::{
    Answer, Authorize, Checkpoint, Duty, DutyId, Event, Failure, FailureKind, Input, Machine, Op,
    Output, Tick, Uploaded, Veto,
};
use tus_testkit::simulation::{self, Choices, Failed, Kind, Own, Plan, Sort, Subject, Tally, Task};

#[test]
fn every_rule_holds_whatever_happens() {
    let mut all = Tally::default();
    for seed in 0..3_000 {
        match simulation::run(Choices::seeded(seed)) {
            Ok(life) => all.add(&life.tally),
            Err(failed) => panic!("seed {seed}: {}", simulation::shrink(&failed, &Own)),
        }
    }
    println!("{all}");
    // An incident that never happened would prove nothing.
    for sort in Sort::ALL {
        assert!(all.of(sort.name()) > 0, "{sort:?} was never taken\n{all}");
    }
    for kind in Kind::ALL {
        assert!(all.of(kind.name()) > 0, "{kind:?} was never taken\n{all}");
    }
    for name in Plan::all_traits() {
        assert!(all.of(name) > 0, "{name}: never\n{all}");
    }
    for what in [
        "answer to nobody",
        "buffered request was carried out",
        "bytes are garbled",
        "checkpoint is not saved",
        "clock goes back",
        "clock jumps",
        "ends deleted",
        "ends in an error",
        "ends in success",
        "ghost's rest was written",
        "source is another",
        "source is longer",
        "source is shorter",
        "user cancels",
        "user cancels at once",
        "user is asked for credentials",
        "user kills",
        "user terminates",
    ] {
        assert!(all.of(what) > 0, "{what}: never\n{all}");
    }
    assert!(all.of("ends in success") > all.runs / 2, "{all}");
}

#[test]
fn seeds_that_once_failed_pass() {
    let lines = include_str!("seeds.txt").lines();
    let seeds = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut tried = 0;
    for seed in seeds {
        let choices = Choices::seeded(seed.parse().expect("a seed"));
        if let Err(failed) = simulation::run(choices) {
            panic!("seed {seed}: {}", simulation::shrink(&failed, &Own));
        }
        tried += 1;
    }
    assert!(tried > 0, "there are none");
}

/// How a machine is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// It believes that a server which took a part of a request took all.
    TakesPartForWhole,
    /// It does not ask for the offset after a 409.
    SkipsHead,
    /// It sends the caller's headers wherever it goes.
    TellsEveryone,
    /// It does not hear a cancel.
    IgnoresCancel,
    /// It takes a server that is busy for one that refuses.
    GivesUp,
    /// It makes an upload anew after a 500.
    MakesAnew,
    /// It does not say that bytes were lost.
    HidesRewinds,
    /// It does not say that it may have left an upload behind.
    HidesOrphans,
    /// It does not wait between attempts.
    DoesNotWait,
    /// It tries more often than it may.
    TriesForEver,
    /// It takes a refusal of the last byte for a lost connection.
    ForgetsRefusals,
    /// It does not tell how long a stream was.
    EndsWithoutLength,
    /// It leaves exchanges out that it has given up.
    DoesNotStop,
    /// It leaves a checkpoint behind.
    KeepsCheckpoint,
    /// It says something after its end.
    TalksOn,
    /// It is not the same twice.
    Varies,
    /// It panics at a 409.
    Panics,
    /// It sends no checksums.
    SendsNoChecksums,
    /// It tries again what the caller wants to be the last attempt.
    IgnoresVeto,
    /// It asks for credentials at every refusal.
    AlwaysAsks,
    /// It goes on with whatever source it is given.
    TakesAnySource,
}

impl Wrong {
    /// All of them, with the rules that each breaks.
    const ALL: [(Self, &[&str]); 21] = [
        // Where the part was of the last request, nothing is sent after it.
        (Self::TakesPartForWhole, &["I4", "I1"]),
        (Self::SkipsHead, &["I4"]),
        (Self::TellsEveryone, &["I7"]),
        (Self::IgnoresCancel, &["I11"]),
        (Self::GivesUp, &["I1"]),
        (Self::MakesAnew, &["I1"]),
        (Self::HidesRewinds, &["I5"]),
        (Self::HidesOrphans, &["I1"]),
        (Self::DoesNotWait, &["I6"]),
        (Self::TriesForEver, &["I6"]),
        (Self::ForgetsRefusals, &["R8"]),
        (Self::EndsWithoutLength, &["I1", "R8"]),
        (Self::DoesNotStop, &["I3", "I11"]),
        (Self::KeepsCheckpoint, &["I9"]),
        (Self::TalksOn, &["I2"]),
        (Self::Varies, &["I8"]),
        (Self::Panics, &["I10"]),
        (Self::SendsNoChecksums, &["option"]),
        (Self::IgnoresVeto, &["option"]),
        (Self::AlwaysAsks, &["option"]),
        (Self::TakesAnySource, &["I1"]),
    ];
}

/// The crate's machine with something wrong between it and its driver.
struct Faulty {
    inner: Box<dyn Machine<Success = Uploaded>>,
    wrong: Wrong,
    /// The offsets of the appends that are out.
    appends: BTreeMap<DutyId, (u64, u64)>,
    /// What the next question for an offset is answered, without asking.
    assumed: Option<u64>,
    now: Tick,
    /// How far it is ahead of its time.
    ahead: Duration,
    ended: bool,
    /// Not the same for its twin.
    number: u64,
}

/// How many there were.
static FAULTY: AtomicU64 = AtomicU64::new(0);

fn with_status(status: StatusCode) -> Answer {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    Answer::Response(response)
}

fn found_at(offset: u64) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert("tus-resumable", HeaderValue::from_static("1.0.0"));
    headers.insert("upload-offset", offset.into());
    response
}

impl Faulty {
    /// What goes out, and whether it does.
    fn spoil_output(&mut self, output: &mut Output<Uploaded>) -> bool {
        match output {
            Output::Begin(id, Duty::Exchange(request, terms)) => {
                let headers = request.headers_mut();
                match self.wrong {
                    Wrong::TellsEveryone => {
                        headers.insert("x-key", HeaderValue::from_static("sesame"));
                    }
                    Wrong::EndsWithoutLength if terms.op == Op::Append => {
                        headers.remove("upload-length");
                    }
                    Wrong::Varies => {
                        headers.insert("x-number", self.number.into());
                    }
                    _ => (),
                }
                if terms.op == Op::Append {
                    let from = request.headers()["upload-offset"].to_str().unwrap();
                    let from: u64 = from.parse().unwrap();
                    let body = request.body();
                    self.appends
                        .insert(*id, (from, from + body.end - body.start));
                }
                if terms.op == Op::Probe
                    && let Some(offset) = self.assumed.take()
                {
                    let answer = Answer::Response(found_at(offset));
                    self.inner.handle(self.now, Input::Answer(*id, answer));
                    return false;
                }
                true
            }
            Output::Begin(id, Duty::Save(None)) if self.wrong == Wrong::KeepsCheckpoint => {
                self.inner
                    .handle(self.now, Input::Answer(*id, Answer::Saved));
                false
            }
            Output::Stop(_) => self.wrong != Wrong::DoesNotStop,
            Output::Event(Event::Rewound { .. }) => self.wrong != Wrong::HidesRewinds,
            Output::Event(Event::Orphaned) => self.wrong != Wrong::HidesOrphans,
            Output::Wait(Some(until)) if self.wrong == Wrong::DoesNotWait => {
                let nothing_is_out = self.appends.is_empty();
                if nothing_is_out && self.now + self.ahead < *until {
                    self.ahead = *until - self.now;
                    return false;
                }
                true
            }
            Output::Wait(None) if self.wrong == Wrong::TalksOn && self.ended => {
                *output = Output::Event(Event::Orphaned);
                true
            }
            Output::Done(_) => {
                self.ended = true;
                true
            }
            _ => true,
        }
    }

    fn spoil_answer(&mut self, id: DutyId, answer: &mut Answer) {
        let append = self.appends.remove(&id);
        let Answer::Response(response) = answer else {
            return;
        };
        let status = response.status();
        match (self.wrong, append) {
            (Wrong::TakesPartForWhole, Some((_, to))) if status.is_success() => {
                response.headers_mut().insert("upload-offset", to.into());
            }
            (Wrong::SkipsHead, Some((from, _))) if status == StatusCode::CONFLICT => {
                self.assumed = Some(from);
            }
            (Wrong::GivesUp, _) if status == StatusCode::SERVICE_UNAVAILABLE => {
                *answer = with_status(StatusCode::NOT_IMPLEMENTED);
            }
            (Wrong::MakesAnew, _) if status == StatusCode::INTERNAL_SERVER_ERROR => {
                *answer = with_status(StatusCode::GONE);
            }
            (Wrong::ForgetsRefusals, Some(_)) if status == StatusCode::UNPROCESSABLE_ENTITY => {
                *answer = Answer::Failed(Failure::new(FailureKind::Lost, "so it thinks"));
            }
            (Wrong::Panics, _) if status == StatusCode::CONFLICT => {
                // Without the words of the hook.
                std::panic::resume_unwind(Box::new("a 409"))
            }
            _ => (),
        }
    }
}

impl Machine for Faulty {
    type Success = Uploaded;

    fn poll(&mut self, now: Tick) -> Output<Uploaded> {
        self.now = self.now.max(now);
        loop {
            let mut output = self.inner.poll(self.now + self.ahead);
            if self.spoil_output(&mut output) {
                return output;
            }
        }
    }

    fn handle(&mut self, now: Tick, mut input: Input) {
        self.now = self.now.max(now);
        if self.wrong == Wrong::IgnoresCancel && matches!(input, Input::Cancel(_)) {
            return;
        }
        if let Input::Answer(id, answer) = &mut input {
            self.spoil_answer(*id, answer);
        }
        self.inner.handle(self.now + self.ahead, input);
    }

    fn checkpoint(&self) -> Option<Checkpoint> {
        self.inner.checkpoint()
    }
}

impl Subject for Wrong {
    fn begin(&self, task: &Task) -> Box<dyn Machine<Success = Uploaded>> {
        let mut task = task.clone();
        let config = &mut task.config;
        match self {
            Self::TriesForEver => config.retry.attempts = Some(100),
            Self::SendsNoChecksums => config.checksums.clear(),
            Self::IgnoresVeto => config.veto = Veto::default(),
            Self::AlwaysAsks => config.authorize = Authorize::When(Arc::new(|_| true)),
            Self::TakesAnySource => {
                let saved = task.saved.as_ref().and_then(Checkpoint::identity);
                config.identity = saved.map(str::to_owned).or(config.identity.take());
            }
            _ => (),
        }
        Box::new(Faulty {
            inner: task.machine(),
            wrong: *self,
            appends: BTreeMap::new(),
            assumed: None,
            now: Tick::default(),
            ahead: Duration::ZERO,
            ended: false,
            number: FAULTY.fetch_add(1, Ordering::Relaxed),
        })
    }
}

/// The first seed at which it is caught.
fn caught(wrong: Wrong) -> (u64, Box<Failed>) {
    let mut seeds = 0..3_000;
    let first = seeds.find_map(|seed| {
        let run = simulation::run_with(Choices::seeded(seed), &wrong);
        run.err().map(|failed| (seed, failed))
    });
    first.unwrap_or_else(|| panic!("{wrong:?} is not caught"))
}

#[test]
fn what_is_wrong_is_caught_by_the_rule_that_it_breaks() {
    for (wrong, rules) in Wrong::ALL {
        let (seed, failed) = caught(wrong);
        println!("{wrong:?}: seed {seed}, {}: {}", failed.rule, failed.what);
        let rule = failed.rule.as_str();
        assert!(rules.contains(&rule), "{wrong:?}, seed {seed}: {failed}");
        assert!(!failed.transcript.is_empty());
        if wrong == Wrong::Varies {
            continue;
        }
        // It fails again, and in a simpler run.
        let again = simulation::run_with(Choices::scripted(failed.script.clone()), &wrong);
        assert_eq!(again.unwrap_err().what, failed.what);
        let smaller = simulation::shrink(&failed, &wrong);
        assert_eq!(smaller.rule, rule);
        let chosen = |failed: &Failed| failed.script.iter().filter(|value| **value > 0).count();
        assert!(chosen(&smaller) < chosen(&failed), "{smaller}");
    }
}
