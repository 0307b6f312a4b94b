//! How often, and how long until: attempts, backoff, jitter, Retry-After.

use std::time::Duration;

use crate::{Limit, RetryPolicy, Tick};

/// New bytes, in sum, that count as progress.
pub(crate) const PROGRESS: u64 = 64 * 1024;
/// Requests without progress after which a server is held to be playing with us.
const REQUESTS: u32 = 1_000;

/// New bytes since the last progress.
#[derive(Debug, Default)]
pub(crate) struct Gained(u64);

impl Gained {
    /// The server has so many bytes that it never had before; `all`: none remains. Whether that is
    /// progress.
    pub(crate) fn add(&mut self, bytes: u64, all: bool) -> bool {
        self.0 = self.0.saturating_add(bytes);
        let progress = bytes > 0 && (all || self.0 >= PROGRESS);
        if progress {
            self.0 = 0;
        }
        progress
    }
}

/// What is left of a retry policy.
#[derive(Debug)]
pub(crate) struct Budget {
    policy: RetryPolicy,
    random: Random,
    failures: u32,
    requests: u32,
    gained: Gained,
    began: Option<Tick>,
    /// Since when there was no progress: the first failed attempt. Time in which bytes were taken, or
    /// nobody asked, is taken out.
    quiet: Tick,
}

/// What a failed attempt leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Wait(Duration),
    GiveUp(Limit),
    ComeBackAt(Duration),
}

impl Budget {
    pub(crate) fn new(policy: RetryPolicy, seed: u64) -> Self {
        Self {
            policy,
            random: Random(seed),
            failures: 0,
            requests: 0,
            gained: Gained::default(),
            began: None,
            quiet: Tick::default(),
        }
    }

    /// The first time that the machine was asked anything.
    pub(crate) fn begin(&mut self, now: Tick) {
        self.began.get_or_insert(now);
    }

    /// When the policy's deadline is.
    pub(crate) fn deadline(&self) -> Option<Tick> {
        Some(self.began? + self.policy.deadline?)
    }

    /// Failed attempts since the last progress.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// This long nothing was wrong, or nobody's fault: bytes were taken, the machine was not polled
    /// though it had asked for it, a person was asked for a password.
    /// Between these two times; some of it may be excused already.
    pub(crate) fn excuse(&mut self, since: Tick, now: Tick) {
        self.quiet = (self.quiet + (now - since)).min(now);
    }

    /// Begins anew, for another task.
    pub(crate) fn renew(&mut self) {
        self.gained = Gained::default();
        self.failures = 0;
        self.requests = 0;
    }

    /// The last request was one that has to be made time and again, and another limit ends it.
    pub(crate) fn forgive_requests(&mut self) {
        self.requests = 0;
    }

    /// The server confirmed so many bytes that it never had before; `all`: none remains.
    pub(crate) fn gain(&mut self, bytes: u64, all: bool) {
        if self.gained.add(bytes, all) {
            self.renew();
        }
    }

    /// Another request is about to go out; an error where there were too many.
    pub(crate) fn request(&mut self) -> Result<(), Limit> {
        if self.requests >= REQUESTS {
            return Err(Limit::Requests);
        }
        self.requests += 1;
        Ok(())
    }

    /// An attempt failed. `lost`: the connection was lost, and the first wait is left out.
    pub(crate) fn fail(&mut self, now: Tick, lost: bool, retry_after: Option<Duration>) -> Next {
        self.failures = self.failures.saturating_add(1);
        if self.failures == 1 {
            self.quiet = now;
        }
        if self
            .policy
            .attempts
            .is_some_and(|most| self.failures > most)
        {
            return Next::GiveUp(Limit::Attempts);
        }
        let left = |since: Tick, limit: Option<Duration>| {
            limit.map_or(Duration::MAX, |limit| limit.saturating_sub(now - since))
        };
        let quiet = left(self.quiet, self.policy.no_progress);
        if quiet.is_zero() {
            return Next::GiveUp(Limit::NoProgress);
        }
        let total = left(self.began.unwrap_or(now), self.policy.deadline);
        if total.is_zero() {
            return Next::GiveUp(Limit::Deadline);
        }
        let wait = match retry_after {
            Some(after) if after > self.policy.max_retry_after.min(total) => {
                return Next::ComeBackAt(after);
            }
            // Never earlier than asked, and not everybody at once.
            Some(after) => {
                let jitter = self.up_to((after / 10).min(Duration::from_secs(5)));
                after.max(self.backoff()).saturating_add(jitter)
            }
            None if lost && self.failures == 1 => Duration::ZERO,
            // One last attempt when the time is over.
            None => self.backoff().min(quiet),
        };
        if wait >= total {
            return Next::GiveUp(Limit::Deadline);
        }
        Next::Wait(wait)
    }

    /// Equal jitter: half of the exponential wait, and up to as much again.
    fn backoff(&mut self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(31);
        let whole = self
            .policy
            .base
            .saturating_mul(1 << doublings)
            .min(self.policy.max);
        let half = whole / 2;
        half.saturating_add(self.up_to(half))
    }

    /// A random duration of at most this.
    fn up_to(&mut self, most: Duration) -> Duration {
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        let scaled = (u128::from(self.random.next()) * (u128::from(nanos) + 1)) >> 64;
        Duration::from_nanos(u64::try_from(scaled).unwrap_or(nanos))
    }
}

/// Numbers from a seed: `SplitMix64`, a counter, well mixed.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn at(n: u64) -> Tick {
        Tick(secs(n))
    }

    fn budget(change: impl FnOnce(&mut RetryPolicy)) -> Budget {
        let mut policy = RetryPolicy::default();
        change(&mut policy);
        let mut budget = Budget::new(policy, 7);
        budget.begin(at(0));
        budget
    }

    #[test]
    fn waits_double_with_equal_jitter_up_to_the_maximum() {
        let mut budget = budget(|policy| policy.attempts = None);
        for whole in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            let Next::Wait(wait) = budget.fail(at(0), false, None) else {
                panic!("gave up");
            };
            let whole = secs(whole);
            assert!(whole / 2 <= wait && wait <= whole, "{wait:?} of {whole:?}");
        }
        for _ in 0..1_000 {
            assert!(matches!(budget.fail(at(0), false, None), Next::Wait(w) if w <= secs(60)));
        }
    }

    #[test]
    fn what_the_server_asks_for_is_waited_out_up_to_the_maximum() {
        for (asked, waits) in [(9, true), (10, true), (11, false)] {
            let mut budget = budget(|policy| policy.max_retry_after = secs(10));
            let next = budget.fail(at(0), false, Some(secs(asked)));
            match next {
                Next::Wait(wait) => assert!(waits && wait >= secs(asked), "{asked}: {wait:?}"),
                other => assert_eq!((waits, other), (false, Next::ComeBackAt(secs(asked)))),
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_waits() {
        let waits = |seed| {
            let mut budget = Budget::new(RetryPolicy::default(), seed);
            (0..10)
                .map(|_| budget.fail(at(0), false, None))
                .collect::<Vec<_>>()
        };
        assert_eq!(waits(3), waits(3));
        assert_ne!(waits(3), waits(4));
    }

    #[test]
    fn the_first_retry_after_a_loss_is_at_once_and_only_the_first() {
        let mut budget = budget(|_| ());
        assert_eq!(budget.fail(at(0), true, None), Next::Wait(Duration::ZERO));
        assert!(matches!(budget.fail(at(0), true, None), Next::Wait(wait) if wait >= secs(1)));
    }

    #[test]
    fn attempts_count_since_64_kib_of_new_bytes_in_sum() {
        let mut budget = budget(|policy| policy.attempts = Some(2));
        assert!(matches!(budget.fail(at(0), false, None), Next::Wait(_)));
        budget.gain(64 * 1024 - 1, false);
        assert!(matches!(budget.fail(at(0), false, None), Next::Wait(_)));
        budget.gain(1, false);
        assert_eq!(budget.failures(), 0);
        assert!(matches!(budget.fail(at(0), false, None), Next::Wait(_)));
        budget.gain(5, true);
        assert_eq!(
            budget.failures(),
            0,
            "all that remained is progress, however little"
        );
        for _ in 0..2 {
            assert!(matches!(budget.fail(at(0), false, None), Next::Wait(_)));
        }
        assert_eq!(
            budget.fail(at(0), false, None),
            Next::GiveUp(Limit::Attempts)
        );
    }

    #[test]
    fn no_progress_counts_from_the_first_failure_and_ends_with_one_last_attempt() {
        let mut budget = budget(|policy| {
            policy.attempts = None;
            policy.no_progress = Some(secs(100));
        });
        assert!(matches!(budget.fail(at(1_000), false, None), Next::Wait(_)));
        assert_eq!(budget.fail(at(1_099), false, None), Next::Wait(secs(1)));
        assert_eq!(
            budget.fail(at(1_100), false, None),
            Next::GiveUp(Limit::NoProgress)
        );
        budget.excuse(at(1_050), at(1_100));
        assert!(matches!(budget.fail(at(1_100), false, None), Next::Wait(_)));
        // What is excused twice is excused once.
        for _ in 0..2 {
            budget.excuse(at(1_100), at(1_300));
        }
        assert!(matches!(budget.fail(at(1_301), false, None), Next::Wait(_)));
        assert_eq!(
            budget.fail(at(1_400), false, None),
            Next::GiveUp(Limit::NoProgress)
        );
        budget.gain(PROGRESS, false);
        assert!(matches!(budget.fail(at(2_000), false, None), Next::Wait(_)));
    }

    #[test]
    fn no_wait_goes_beyond_the_deadline() {
        let mut budget = budget(|policy| policy.deadline = Some(secs(10)));
        assert_eq!(budget.deadline(), Some(at(10)));
        budget.gain(PROGRESS, false);
        assert_eq!(budget.fail(at(9), true, None), Next::Wait(Duration::ZERO));
        assert_eq!(
            budget.fail(at(9), false, None),
            Next::GiveUp(Limit::Deadline)
        );
        assert_eq!(
            budget.fail(at(9), false, Some(secs(100))),
            Next::ComeBackAt(secs(100))
        );
        assert_eq!(
            budget.fail(at(10), true, None),
            Next::GiveUp(Limit::Deadline)
        );
    }

    #[test]
    fn no_new_bytes_are_no_progress() {
        let mut budget = budget(|_| ());
        budget.fail(at(0), false, None);
        budget.gain(0, true);
        assert_eq!(budget.failures(), 1);
    }

    #[test]
    fn every_wait_from_half_to_the_whole_can_be() {
        let nanos = Duration::from_nanos;
        let mut budget = budget(|policy| {
            policy.attempts = None;
            (policy.base, policy.max) = (nanos(2), nanos(2));
        });
        let waits: Vec<_> = (0..100).map(|_| budget.fail(at(0), false, None)).collect();
        for wait in [1, 2] {
            assert!(waits.contains(&Next::Wait(nanos(wait))), "{wait}");
        }
    }

    // The published vectors of SplitMix64: other numbers would spread the waits less well.
    #[test]
    fn the_random_numbers_are_splitmix64s() {
        let mut budget = Budget::new(RetryPolicy::default(), 1_234_567);
        for number in [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ] {
            assert_eq!(budget.random.next(), number);
        }
    }

    #[test]
    fn a_tenth_of_retry_after_is_added_at_most() {
        for seed in 0..100 {
            let mut budget = Budget::new(RetryPolicy::default(), seed);
            let next = budget.fail(at(0), false, Some(secs(10)));
            assert!(
                matches!(next, Next::Wait(wait) if wait <= secs(11)),
                "{next:?}"
            );
        }
    }

    // PROTOCOL §4, 15.
    #[test]
    fn retry_after_is_never_undercut() {
        let mut budget = budget(|_| ());
        for _ in 0..5 {
            let next = budget.fail(at(0), true, Some(secs(100)));
            assert!(
                matches!(next, Next::Wait(wait) if wait >= secs(100) && wait <= secs(105)),
                "{next:?}"
            );
        }
        assert_eq!(
            budget.fail(at(0), false, Some(secs(301))),
            Next::ComeBackAt(secs(301))
        );
    }

    #[test]
    fn a_thousand_requests_without_progress_are_enough() {
        let mut budget = budget(|_| ());
        for _ in 0..1_000 {
            assert_eq!(budget.request(), Ok(()));
            budget.gain(1, false);
        }
        assert_eq!(budget.request(), Err(Limit::Requests));
        budget.gain(PROGRESS, false);
        assert_eq!(budget.request(), Ok(()));
    }

    #[test]
    fn nothing_overflows() {
        let mut budget = budget(|policy| {
            policy.attempts = None;
            policy.base = Duration::MAX;
            policy.max = Duration::MAX;
            policy.max_retry_after = Duration::MAX;
        });
        budget.gain(u64::MAX, false);
        budget.gain(u64::MAX, false);
        for _ in 0..70 {
            assert!(matches!(budget.fail(at(0), false, None), Next::Wait(_)));
        }
        let end = Tick(Duration::MAX);
        budget.excuse(at(0), end);
        budget.excuse(at(0), end);
        assert!(matches!(budget.fail(end, false, None), Next::Wait(_)));
    }
}
