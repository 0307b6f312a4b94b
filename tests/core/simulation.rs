//! Seeded runs of the testkit's simulation, in which everything can go wrong and every rule is checked;
//! and that the simulation finds a machine that breaks one.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use tus_proto::{Answer, Checkpoint, Duty, DutyId, Input, Machine, Op, Output, Tick, Uploaded};
use tus_testkit::simulation::{self, Choices, Failed, Own, Sort, Subject, Tally, Task};

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
    for what in [
        "ends in success",
        "user kills",
        "bytes are garbled",
        "clock jumps",
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
}

fn found_at(offset: u64) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert("tus-resumable", HeaderValue::from_static("1.0.0"));
    headers.insert("upload-offset", offset.into());
    response
}

impl Machine for Faulty {
    type Success = Uploaded;

    fn poll(&mut self, now: Tick) -> Output<Uploaded> {
        self.now = self.now.max(now);
        loop {
            let mut output = self.inner.poll(now);
            if let Output::Begin(id, Duty::Exchange(request, terms)) = &mut output {
                if self.wrong == Wrong::TellsEveryone {
                    let secret = HeaderValue::from_static("sesame");
                    request.headers_mut().insert("x-key", secret);
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
                    continue;
                }
            }
            return output;
        }
    }

    fn handle(&mut self, now: Tick, mut input: Input) {
        self.now = self.now.max(now);
        if let Input::Answer(id, Answer::Response(response)) = &mut input
            && let Some((from, to)) = self.appends.remove(id)
        {
            let status = response.status();
            if self.wrong == Wrong::TakesPartForWhole && status.is_success() {
                response.headers_mut().insert("upload-offset", to.into());
            }
            if self.wrong == Wrong::SkipsHead && status == StatusCode::CONFLICT {
                self.assumed = Some(from);
            }
        }
        self.inner.handle(now, input);
    }

    fn checkpoint(&self) -> Option<Checkpoint> {
        self.inner.checkpoint()
    }
}

impl Subject for Wrong {
    fn begin(&self, task: &Task) -> Box<dyn Machine<Success = Uploaded>> {
        Box::new(Faulty {
            inner: task.machine(),
            wrong: *self,
            appends: BTreeMap::new(),
            assumed: None,
            now: Tick::default(),
        })
    }
}

/// The first seed at which it is caught.
fn caught(wrong: Wrong) -> (u64, Box<Failed>) {
    let mut seeds = 0..1_000;
    let first = seeds.find_map(|seed| {
        let run = simulation::run_with(Choices::seeded(seed), &wrong);
        run.err().map(|failed| (seed, failed))
    });
    first.unwrap_or_else(|| panic!("{wrong:?} is not caught"))
}

#[test]
fn what_is_wrong_is_caught_by_the_rule_that_it_breaks() {
    for (wrong, rules) in [
        // Where the part was of the last request, nothing is sent after it.
        (Wrong::TakesPartForWhole, &["I4", "I1"][..]),
        (Wrong::SkipsHead, &["I4"]),
        (Wrong::TellsEveryone, &["I7"]),
    ] {
        let (seed, failed) = caught(wrong);
        println!("{wrong:?}: seed {seed}, {}: {}", failed.rule, failed.what);
        let rule = failed.rule.as_str();
        assert!(rules.contains(&rule), "seed {seed}: {failed}");
        assert!(!failed.transcript.is_empty());
        // It fails again, and in a simpler run.
        let again = simulation::run_with(Choices::scripted(failed.script.clone()), &wrong);
        assert_eq!(again.unwrap_err().what, failed.what);
        let smaller = simulation::shrink(&failed, &wrong);
        assert_eq!(smaller.rule, rule);
        let chosen = |failed: &Failed| failed.script.iter().filter(|value| **value > 0).count();
        assert!(chosen(&smaller) < chosen(&failed), "{smaller}");
    }
}
