//! A client, a server and all that is between them, under a time that is not the clock's.
//!
//! One run is one upload: a machine with its driver, a [`Server`](crate::Server) with its habits, a line
//! on which [incidents](Sort) happen, a source, and a user who cancels, kills the process and begins it
//! again. All that is open in it is a [choice](Choices), so that a seed decides everything, a fuzzer's
//! bytes do too, and a run that failed can be had again and made smaller.
//!
//! While it goes on, and at its end, the rules of a correct client are checked, by what the server and the
//! line have said, not by what the client says of it: the server ends with exactly the source's bytes, and
//! knows that they are all, or the caller gets an error for which there was a reason; no second upload is
//! made where the first may be there, unless that is told (I1); one end, and nothing after it (I2); one
//! exchange at a time for an upload (I3); no append before the offset was learnt from the server (I4), nor
//! below what it had confirmed without a word (I5), so that no bytes go twice but those that were out when
//! something failed (I12, which follows from these two); failed attempts, waits, what `Retry-After` asks
//! for, recreations and polls are kept to their bounds, and nothing spins (I6); what is sent is at hand and
//! was not dropped (R1); a request with a body says its length, or has a trailer (R2); no secret goes to a
//! foreign origin (I7, S1, S2, S7); a checkpoint is read as it was written, and whatever step it is of, its
//! upload can be gone on with (I9); nothing panics (I10); after a cancel nothing begins but a deletion, and
//! at the end nothing is out (I11); no success after a refusal, and none that is called acknowledged if
//! nobody did (R8); and requests are as the caller's settings want them, by a rule that is called `option`.
//! In [careful](Plan::careful) runs the same inputs have the same outputs (I8), and nothing that is shown
//! holds a secret (S3).
//!
//! ```
//! use tus_testkit::simulation::{self, Choices};
//!
//! for seed in 0..20 {
//!     if let Err(failed) = simulation::run(Choices::seeded(seed)) {
//!         panic!("seed {seed}: {}", simulation::shrink(&failed, &simulation::Own));
//!     }
//! }
//! ```
//!
//! A [`Subject`] puts a wrapper around the crate's own machine ([`Task::machine`]), which may change what
//! goes in and what comes out: one that is wrong on purpose, to see that it is caught.
//! `tests/core/simulation.rs` has some twenty of them. A machine from the ground up cannot be put there,
//! for only the crate makes an [`Uploaded`].

mod births;
mod choices;
mod draw;
mod exchange;
mod incident;
mod judge;
mod pace;
mod plan;
mod tally;
mod watch;
mod world;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tus_proto::{Checkpoint, Config, Machine, Parallel, Upload, Uploaded};

pub use choices::{Choice, Choices};
pub use incident::Sort;
pub use judge::End;
pub use plan::{Kind, Plan, Vetoed};
pub use tally::Tally;
use world::World;

/// What a process is to do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Task {
    /// What is uploaded, and how.
    pub kind: Kind,
    /// The endpoint, or where the upload is.
    pub url: String,
    /// The lengths of the parts, in bytes; of the source, where it is not in parts.
    pub lengths: Vec<u64>,
    /// What an earlier process has left.
    pub saved: Option<Checkpoint>,
    /// The settings.
    pub config: Config,
}

impl Task {
    /// The machine of the crate's own that does it.
    ///
    /// # Panics
    ///
    /// If the crate refuses what a plan asks for.
    #[must_use]
    pub fn machine(&self) -> Box<dyn Machine<Success = Uploaded>> {
        let Self {
            kind,
            url,
            lengths,
            saved,
            config,
        } = self;
        let total = lengths.iter().sum();
        let length = (!kind.is_deferred()).then_some(total);
        match (kind, saved.clone()) {
            (Kind::Parts, None) => boxed(Parallel::join(url, lengths, config)),
            (Kind::Parts, Some(saved)) => boxed(Parallel::resume(url, saved, total, config)),
            (Kind::Given | Kind::GivenStream, None) => boxed(Upload::append(url, length, config)),
            (_, None) => boxed(Upload::create(url, length, config)),
            (_, Some(saved)) => boxed(Upload::resume(url, saved, length, config)),
        }
    }
}

fn boxed<M: Machine<Success = Uploaded>>(
    machine: Result<M, tus_proto::Misuse>,
) -> Box<dyn Machine<Success = Uploaded>> {
    match machine {
        Ok(machine) => Box::new(machine),
        Err(misuse) => panic!("a plan that cannot be: {misuse}"),
    }
}

/// What is put to the test.
///
/// To see that a mistake is caught, wrap [`Task::machine`] in a machine that makes it: one that changes
/// what goes to its driver, or what comes from it.
pub trait Subject {
    /// A process begins.
    fn begin(&self, task: &Task) -> Box<dyn Machine<Success = Uploaded>>;
}

/// The crate's own machines.
#[derive(Clone, Copy, Debug)]
pub struct Own;

impl Subject for Own {
    fn begin(&self, task: &Task) -> Box<dyn Machine<Success = Uploaded>> {
        task.machine()
    }
}

/// A run that kept all rules.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Life {
    /// How it ended.
    pub end: End,
    /// What happened in it.
    pub tally: Tally,
    /// All that was chosen.
    pub choices: Choices,
}

/// A run in which a rule was broken. `Display` shows all of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failed {
    /// The rule's name.
    pub rule: String,
    /// How it was broken.
    pub what: String,
    /// All that was chosen until then: a [script](Choices::scripted) of it fails again, over the same plan.
    pub script: Vec<u64>,
    /// What the run was of; `None` where the script begins with the plan's own choices.
    pub plan: Option<Plan>,
    /// What was said and done.
    pub transcript: Vec<String>,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.transcript {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "{} is broken: {}", self.rule, self.what)?;
        write!(f, "script: {:?}", self.script)
    }
}

impl std::error::Error for Failed {}

/// One run of the crate's own machines, in which these choices decide everything.
///
/// # Errors
///
/// Where a rule was broken.
pub fn run(choices: Choices) -> Result<Life, Box<Failed>> {
    run_with(choices, &Own)
}

/// One run of other machines.
///
/// # Errors
///
/// Where a rule was broken.
pub fn run_with(mut choices: Choices, subject: &dyn Subject) -> Result<Life, Box<Failed>> {
    let plan = Plan::draw(&mut choices);
    run_aloud(&plan, choices, subject)
}

/// One run of this plan, in which the choices decide what happens.
///
/// # Errors
///
/// Where a rule was broken.
pub fn run_plan(plan: &Plan, choices: Choices, subject: &dyn Subject) -> Result<Life, Box<Failed>> {
    run_aloud(plan, choices, subject).map_err(|mut failed| {
        failed.plan = Some(plan.clone());
        failed
    })
}

/// A run of which all is told if it fails.
fn run_aloud(plan: &Plan, choices: Choices, subject: &dyn Subject) -> Result<Life, Box<Failed>> {
    let failed = match attempt(plan, choices.clone(), subject, false) {
        Ok(life) => return Ok(life),
        Err(failed) => failed,
    };
    match attempt(plan, choices, subject, true) {
        Err(told) if told.what == failed.what => Err(told),
        Err(told) => Err(Box::new(Failed {
            rule: "I8".into(),
            what: format!("{}; and once more: {}", failed.what, told.what),
            ..*told
        })),
        Ok(_) => Err(Box::new(Failed {
            rule: "I8".into(),
            what: format!("{}; and once more, nothing", failed.what),
            ..*failed
        })),
    }
}

/// Every run of this plan, each with other choices, in order; gives how many there were. The plan must
/// leave few choices: it is not [restless](Plan::restless), its source is of a few bytes, and only a few
/// [incidents](Plan::incidents) happen.
///
/// ```
/// use tus_testkit::simulation::{self, Kind, Own, Plan, Sort};
///
/// let mut plan = Plan::calm(Kind::Plain, 3);
/// plan.config.request_size = Some(2);
/// plan.alphabet = vec![Sort::LostAnswer, Sort::Killed];
/// plan.incidents = 2;
/// let runs = simulation::every(&plan, &Own, |life| assert!(life.tally.requests < 20)).unwrap();
/// assert!(runs > 20);
/// ```
///
/// # Errors
///
/// Where a rule was broken: the first such run.
pub fn every(
    plan: &Plan,
    subject: &dyn Subject,
    mut each: impl FnMut(&Life),
) -> Result<u64, Box<Failed>> {
    let mut runs = 0;
    let mut next = Some(Choices::scripted([]));
    while let Some(choices) = next {
        let life = run_plan(plan, choices, subject)?;
        runs += 1;
        each(&life);
        next = life.choices.next();
    }
    Ok(runs)
}

fn attempt(
    plan: &Plan,
    choices: Choices,
    subject: &dyn Subject,
    aloud: bool,
) -> Result<Life, Box<Failed>> {
    let mut world = World::new(plan.clone(), choices, subject, aloud);
    let lived = catch_unwind(AssertUnwindSafe(|| world.live()));
    let (rule, what) = match lived {
        Ok(Ok(end)) => {
            let tally = std::mem::take(&mut world.tally);
            let (choices, _) = world.into_transcript();
            return Ok(Life {
                end,
                tally,
                choices,
            });
        }
        Ok(Err(broken)) => (broken.rule.to_owned(), broken.what),
        Err(panic) => ("I10".to_owned(), words(panic.as_ref())),
    };
    let (choices, transcript) = world.into_transcript();
    let script = choices.made().iter().map(|choice| choice.value).collect();
    Err(Box::new(Failed {
        rule,
        what,
        script,
        plan: None,
        transcript,
    }))
}

/// What a panic says.
fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let said = panic.downcast_ref::<String>().cloned();
    let said = said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()));
    format!("a panic: {}", said.unwrap_or_default())
}

/// The same failure in a simpler run, if there is one: fewer choices, and smaller ones, break the same
/// rule.
#[must_use]
pub fn shrink(failed: &Failed, subject: &dyn Subject) -> Failed {
    let mut best = failed.clone();
    let mut left = 3_000_u32;
    let mut try_script = |best: &mut Failed, script: Vec<u64>| {
        if left == 0 {
            return false;
        }
        left -= 1;
        let choices = Choices::scripted(script);
        let run = match &best.plan {
            Some(plan) => run_plan(plan, choices, subject),
            None => run_with(choices, subject),
        };
        match run {
            Err(simpler) if simpler.rule == best.rule && is_simpler(&simpler, best) => {
                *best = *simpler;
                true
            }
            _ => false,
        }
    };
    loop {
        let before = best.script.clone();
        let mut size = best.script.len().next_power_of_two();
        while size > 0 {
            let mut at = 0;
            while at < best.script.len() {
                let end = (at + size).min(best.script.len());
                let mut without = best.script.clone();
                without.drain(at..end);
                let mut zeros = best.script.clone();
                zeros[at..end].fill(0);
                if !try_script(&mut best, without) && !try_script(&mut best, zeros) {
                    at += size;
                }
            }
            size /= 2;
        }
        for at in 0..best.script.len() {
            while let Some(value) = best.script.get(at).copied().filter(|value| *value > 0) {
                let mut smaller = best.script.clone();
                smaller[at] = value / 2;
                let mut less = best.script.clone();
                less[at] = value - 1;
                if !try_script(&mut best, smaller) && !try_script(&mut best, less) {
                    break;
                }
            }
        }
        if best.script == before {
            return best;
        }
    }
}

fn is_simpler(one: &Failed, other: &Failed) -> bool {
    let trimmed = |failed: &Failed| {
        let end = failed
            .script
            .iter()
            .rposition(|value| *value > 0)
            .map_or(0, |at| at + 1);
        failed.script[..end].to_vec()
    };
    let (one, other) = (trimmed(one), trimmed(other));
    (one.len(), &one) < (other.len(), &other)
}
