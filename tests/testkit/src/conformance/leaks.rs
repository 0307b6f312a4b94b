//! What is left of many exchanges.

use std::fs;
use std::thread;
use std::time::Duration;

use http::Request;
use tus_proto::{Body, FailureKind, Terms};

use super::bench::{
    Bench, Done, LONG, Running, answered, append, creation, ensure, failed, instead,
};
use super::subject::{Ability, Attempt, Stack};
use super::{CLEAR, Case, Outcome};
use crate::{Act, Stage};

pub(super) const CASES: &[Case] = &[Case::new(
    "10,000 exchanges",
    "exchanges leak neither memory nor descriptors nor threads, however they end",
    CLEAR,
    leaks,
)];

/// How many exchanges are watched at once.
const MANY: usize = 10_000;
/// What the process may hold more of after so many: less than one descriptor or thread for a hundred
/// exchanges, and less than 1 KiB for each.
const MORE: Held = Held {
    descriptors: 50,
    threads: 50,
    memory: 8 << 20,
};
/// What is seen only once is no leak: a pool that fills, an arena, a thread that is about to end.
const ROUNDS: usize = 4;

/// What the process holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    descriptors: usize,
    threads: usize,
    /// In bytes.
    memory: usize,
}

impl Held {
    /// `None`: this system does not say.
    fn now() -> Option<Self> {
        let count = |path| fs::read_dir(path).map(Iterator::count).ok();
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kibibytes: usize = resident.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(Self {
            descriptors: count("/proc/self/fd")?,
            threads: count("/proc/self/task")?,
            memory: kibibytes << 10,
        })
    }

    /// What is held more than before, where it is too much.
    fn leaked_since(self, before: Self) -> Option<String> {
        let leaks: Vec<_> = [
            (
                "descriptors",
                self.descriptors,
                before.descriptors,
                MORE.descriptors,
            ),
            ("threads", self.threads, before.threads, MORE.threads),
            ("bytes", self.memory, before.memory, MORE.memory),
        ]
        .into_iter()
        .filter(|(_, now, before, more)| *now > before + more)
        .map(|(what, now, before, _)| format!("{} {what}", now - before))
        .collect();
        (!leaks.is_empty()).then(|| leaks.join(", "))
    }
}

fn leaks(bench: &Bench) -> Done {
    let lanes: Vec<_> = (0..LANES).map(|_| Lane::new(bench)).collect();
    exchanges(&lanes, MANY / 5)?;
    let Some(mut before) = Held::now() else {
        exchanges(&lanes, MANY)?;
        let why = "this system has no /proc to count by";
        return instead(why, "10,000 exchanges end as they must");
    };
    let mut leaked = None;
    for _ in 0..ROUNDS {
        exchanges(&lanes, MANY)?;
        let now = Held::now().ok_or("/proc is gone")?;
        leaked = now.leaked_since(before);
        if leaked.is_none() {
            return Ok(Outcome::Passed);
        }
        before = now;
    }
    Err(format!(
        "{MANY} exchanges leak {}, again and again",
        leaked.unwrap_or_default()
    ))
}

fn exchanges(lanes: &[Lane], many: usize) -> Result<(), String> {
    thread::scope(|scope| {
        let run = |lane| scope.spawn(move || Lane::exchanges(lane, many / LANES));
        let lanes: Vec<_> = lanes.iter().map(run).collect();
        lanes.into_iter().try_for_each(|lane| {
            lane.join()
                .unwrap_or_else(|panic| Err(super::words(&*panic)))
        })
    })
}

/// How many exchanges go on at the same time.
const LANES: usize = 4;

/// A stage, and a transport that has exchanges with it, one after the other.
struct Lane {
    bench: Bench,
    stage: Stage,
    stack: Stack,
}

/// In how many exchanges each end comes up.
const CYCLE: usize = 100;
/// Which of them is cut off.
const CUT: usize = 33;
/// Which of them is stopped.
const STOPPED: usize = 66;

impl Lane {
    fn new(bench: &Bench) -> Self {
        let stage = Stage::choosing(bench.carrier, |number| match number % CYCLE {
            CUT => vec![Act::Read(1), Act::Reset],
            STOPPED => vec![Act::ReadAll],
            _ => vec![Act::ReadAll, Act::answer(204, "")],
        });
        Self {
            bench: bench.clone(),
            stack: bench.stack(stage.authority()),
            stage,
        }
    }

    /// Carries out so many: whole cycles.
    fn exchanges(&self, many: usize) -> Result<(), String> {
        (0..many).try_for_each(|number| {
            let (request, terms) = match number % 2 {
                0 => creation(&self.stage),
                _ => append(&self.stage, 0..3000),
            };
            let attempt = Attempt::new(&[7; 3000][..])?;
            match number % CYCLE {
                CUT => {
                    let result = self.stack.exchange(&attempt, request, &terms);
                    failed(result, &[FailureKind::Lost])?;
                }
                STOPPED => self.stop(&attempt, request, terms)?,
                _ => drop(answered(self.stack.exchange(&attempt, request, &terms))?),
            }
            self.stage.forget();
            Ok(())
        })
    }

    fn stop(
        &self,
        attempt: &Attempt,
        request: Request<Body>,
        mut terms: Terms,
    ) -> Result<(), String> {
        if self.bench.lacks(Ability::Stop).is_some() {
            // This is what ends it then, perhaps before it is seen here.
            terms.answer = Duration::from_millis(5);
        }
        let running = Running::start(&self.stack, attempt, (request, terms));
        let arrived = self.stage.wait(LONG, |seen| seen.first().map(drop));
        ensure!(arrived.is_some(), "the request does not come");
        attempt.stop();
        running.end().map(drop)
    }
}
