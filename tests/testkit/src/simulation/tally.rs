//! How often things have happened.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use super::judge::End;

/// How often things have happened, in one run or in many.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Runs.
    pub runs: u64,
    /// Requests that went out.
    pub requests: u64,
    /// Everything else, by its name.
    pub counts: BTreeMap<Cow<'static, str>, u64>,
}

impl Tally {
    pub(super) fn count(&mut self, what: impl Into<Cow<'static, str>>) {
        *self.counts.entry(what.into()).or_default() += 1;
    }

    /// How often it has happened.
    #[must_use]
    pub fn of(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }

    pub(super) fn end(&mut self, end: &End) {
        self.runs += 1;
        self.count(match end {
            End::Uploaded(_) => "ends in success",
            End::Failed(_) => "ends in an error",
            End::Terminated => "ends deleted",
        });
    }

    /// Adds another one.
    pub fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.requests += other.requests;
        for (what, count) in &other.counts {
            *self.counts.entry(what.clone()).or_default() += count;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} runs, {} requests", self.runs, self.requests)?;
        for (what, count) in &self.counts {
            writeln!(f, "{count:>12}  {what}")?;
        }
        Ok(())
    }
}
