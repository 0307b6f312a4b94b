//! How soon and how often a client asks: what I6 bounds.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{Response, StatusCode};
use tus_proto::Op;

use super::watch::{Broken, hold};

/// A second in which a client that does not wait sends more requests than one that does ever has reason
/// to.
const WINDOW: Duration = Duration::from_secs(1);

/// How soon and how often one process asks.
#[derive(Debug)]
pub(super) struct Pace {
    /// How many failed attempts it may have, where it is known which of them count.
    attempts: Option<u32>,
    /// How many requests may begin within a second in which nothing comes of them.
    most: usize,
    /// When those began that nothing came of so far.
    recent: VecDeque<Duration>,
    /// Whom the server told to come later, and who waits after a failure, and until when.
    waits: BTreeMap<(u32, Option<Op>), Duration>,
    /// Attempts that have failed by any account.
    failed: u32,
    /// Attempts of which nothing has come, for whatever reason.
    fruitless: u32,
    /// When the process began.
    began: Duration,
}

impl Pace {
    /// A process of so many parts begins. `attempts`: how many may fail, where that can be told.
    pub(super) fn new(now: Duration, parts: usize, attempts: Option<u32>) -> Self {
        Self {
            attempts,
            most: 16 + 8 * parts,
            recent: VecDeque::new(),
            waits: BTreeMap::new(),
            failed: 0,
            fruitless: 0,
            began: now,
        }
    }

    /// The process learns of the time.
    pub(super) fn begins(&mut self, now: Duration) {
        self.began = now;
    }

    /// How long the process has been there.
    pub(super) fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.began)
    }

    /// How many attempts came to nothing, at most.
    pub(super) fn fruitless(&self) -> u32 {
        self.fruitless
    }

    /// A request begins.
    pub(super) fn begin(&mut self, now: Duration, lane: u32, op: Op) -> Result<(), Broken> {
        for of in [None, Some(op)] {
            let until = self.waits.get(&(lane, of)).copied().unwrap_or_default();
            hold(now >= until, "I6", || {
                format!("{op:?} begins {:?} too early", until.saturating_sub(now))
            })?;
        }
        let allowed = self.attempts;
        hold(
            allowed.is_none_or(|allowed| self.failed <= allowed),
            "I6",
            || {
                format!(
                    "{op:?} begins after {} failed attempts of {allowed:?}",
                    self.failed
                )
            },
        )?;
        self.recent.push_back(now);
        while self.recent.front().is_some_and(|at| *at + WINDOW <= now) {
            self.recent.pop_front();
        }
        hold(self.recent.len() <= self.most, "I6", || {
            format!("{} requests in a second, for nothing", self.recent.len())
        })
    }

    /// An answer came.
    pub(super) fn answered(&mut self, now: Duration, lane: u32, response: &Response<bytes::Bytes>) {
        let status = response.status();
        if passing(status) {
            self.failed += 1;
            let seconds = response.headers().get(RETRY_AFTER);
            let seconds = seconds.and_then(|text| text.to_str().ok()?.parse().ok());
            if let Some(seconds) = seconds {
                let until = now + Duration::from_secs(seconds);
                self.waits.insert((lane, None), until);
            }
        }
        self.fruitless += 1;
    }

    /// No answer came.
    pub(super) fn lost(&mut self) {
        self.failed += 1;
        self.fruitless += 1;
    }

    /// The client says when it asks the same again.
    pub(super) fn retries(&mut self, lane: u32, op: Op, at: Duration) {
        self.waits.insert((lane, Some(op)), at);
    }

    /// The server has more than it ever said; `all`: whatever was missing.
    pub(super) fn gains(&mut self, all: bool) {
        self.recent.clear();
        self.fruitless = self.fruitless.saturating_sub(1);
        if all {
            self.failed = 0;
        }
    }

    /// It has something else to do now: the waits of what it did are over.
    pub(super) fn turns(&mut self) {
        self.waits.clear();
        self.recent.clear();
        self.attempts = None;
    }
}

/// Whether this status, to any request of an upload, is a failed attempt and nothing else.
pub(super) fn passing(status: StatusCode) -> bool {
    match status.as_u16() {
        408 | 423 | 425 | 429 | 499 => true,
        501 | 505 | 507 => false,
        status => (500..600).contains(&status),
    }
}
