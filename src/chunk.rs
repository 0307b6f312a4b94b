//! How many bytes the next request carries.

use crate::Config;

/// Requests are not made smaller than this on the way down, in bytes.
const FLOOR: u64 = 64 * 1024;
/// The first step down goes to this at most, in bytes.
const FIRST: u64 = 64 * 1024 * 1024;
/// How often a request may be made smaller for being too large.
const REFUSALS: u8 = 24;

/// What limits the size of a request.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// The caller's maximum.
    limit: u64,
    /// The caller's minimum, a multiple of `unit`, and what sizes are multiples of.
    least: u64,
    unit: u64,
    /// What something on the way takes, learnt from refusals; it stays.
    lasting: u64,
    /// What the connection bears, learnt from losses; it grows again.
    passing: u64,
    refusals: u8,
}

impl Chunk {
    /// `even`: without a word of the caller's the size is not unlimited.
    pub(crate) fn new(config: &Config, even: bool) -> Self {
        let unit = config.request_multiple.unwrap_or(1).max(1);
        let least = config.request_min.unwrap_or(1);
        Self {
            limit: config.most(even).unwrap_or(u64::MAX),
            least: least.checked_next_multiple_of(unit).unwrap_or(least),
            unit,
            lasting: u64::MAX,
            passing: u64::MAX,
            refusals: 0,
        }
    }

    /// The bytes of the next request, if so many are left. The last one may be of any size.
    pub(crate) fn size(&self, left: u64) -> u64 {
        left.min(self.most())
    }

    /// The bytes of the next request, if so many are at hand and it is not the last.
    pub(crate) fn part(&self, at_hand: u64) -> u64 {
        let size = self.size(at_hand);
        size - size % self.unit
    }

    /// Whether so many bytes are enough for a request that is not the last.
    pub(crate) fn suffices(&self, at_hand: u64) -> bool {
        at_hand >= self.least
    }

    /// The most bytes of the next request.
    fn most(&self) -> u64 {
        self.even(self.limit.min(self.lasting).min(self.passing))
    }

    /// The largest size that is allowed and not above this; the least that is allowed, if none is.
    fn even(&self, size: u64) -> u64 {
        (size - size % self.unit).max(self.least)
    }

    /// Whether smaller is of no use, where a request of this size is refused for its size.
    pub(crate) fn is_least(&self, size: u64) -> bool {
        self.refusals >= REFUSALS || self.smaller(size).is_none()
    }

    /// A request of this size was refused for its size. `None`: smaller is of no use.
    pub(crate) fn refused(&mut self, size: u64) -> Option<u64> {
        if self.is_least(size) {
            return None;
        }
        self.refusals += 1;
        self.lasting = self.lasting.min(self.smaller(size)?);
        Some(self.most())
    }

    /// Requests of this size are lost. `None`: they stay as they are.
    pub(crate) fn lost(&mut self, size: u64) -> Option<u64> {
        self.passing = self.passing.min(self.smaller(size)?);
        Some(self.most())
    }

    /// The server took so many of a request's bytes. `Some`: the next request is made smaller.
    pub(crate) fn taken(&mut self, size: u64, took: u64) -> Option<u64> {
        if took == size {
            self.passing = self.passing.saturating_mul(2);
        } else if took.saturating_mul(2) < size {
            self.passing = self.passing.min(took.saturating_mul(2));
            return (self.most() < size).then(|| self.most());
        }
        None
    }

    fn smaller(&self, size: u64) -> Option<u64> {
        let next = self.even((size / 2).clamp(FLOOR, FIRST));
        (size > FLOOR && next < size).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const KIB: u64 = 1 << 10;
    const LEFT: u64 = u64::MAX;

    fn up_to(limit: Option<u64>) -> Chunk {
        sized(limit, None, None)
    }

    fn sized(limit: Option<u64>, least: Option<u64>, unit: Option<u64>) -> Chunk {
        let config = Config {
            request_size: limit,
            request_min: least,
            request_multiple: unit,
            ..Config::default()
        };
        assert_eq!(config.check(), Ok(()));
        Chunk::new(&config, false)
    }

    #[test]
    fn the_callers_maximum_is_never_exceeded() {
        let mut chunk = up_to(Some(10));
        assert_eq!(chunk.size(LEFT), 10);
        assert_eq!(chunk.refused(10), None);
        assert_eq!(chunk.lost(10), None);
        for _ in 0..100 {
            chunk.taken(10, 10);
        }
        assert_eq!(chunk.size(LEFT), 10);
    }

    #[test]
    fn refusals_halve_down_to_the_floor_and_stay() {
        let mut chunk = up_to(None);
        assert_eq!(chunk.refused(u64::MAX), Some(64 * MIB));
        let mut size = chunk.size(LEFT);
        while let Some(next) = chunk.refused(size) {
            assert!(next < size);
            size = next;
        }
        assert_eq!(size, FLOOR);
        for _ in 0..100 {
            assert_eq!(chunk.taken(FLOOR, FLOOR), None);
        }
        assert_eq!(chunk.size(LEFT), FLOOR);
        assert_eq!(up_to(None).refused(100_000), Some(FLOOR));
        let mut odd = sized(None, None, Some(10_000));
        assert_eq!(odd.refused(FLOOR), None, "nor to the multiple below it");
    }

    #[test]
    fn refusals_are_counted() {
        let mut chunk = up_to(None);
        for _ in 0..REFUSALS {
            assert!(chunk.refused(MIB).is_some());
        }
        assert_eq!(chunk.refused(MIB), None);
    }

    #[test]
    fn losses_halve_and_whole_requests_double() {
        let mut chunk = up_to(None);
        assert_eq!(chunk.lost(3 * MIB), Some(3 * MIB / 2));
        assert_eq!(chunk.lost(3 * MIB / 2), Some(3 * MIB / 4));
        chunk.taken(3 * MIB / 4, 3 * MIB / 4);
        assert_eq!(chunk.size(LEFT), 3 * MIB / 2);
        chunk.taken(MIB, MIB - 1);
        assert_eq!(
            chunk.size(LEFT),
            3 * MIB / 2,
            "a partial take of more than half changes nothing"
        );
    }

    #[test]
    fn a_server_that_takes_little_is_offered_little() {
        let mut chunk = up_to(None);
        let before = chunk.size(LEFT);
        assert_eq!(chunk.taken(2_000, 1_000), None);
        assert_eq!(chunk.size(LEFT), before, "half is enough");
        assert_eq!(chunk.taken(MIB, 1_000), Some(2_000));
        assert_eq!(chunk.taken(2_000, 1_000), None);
        assert_eq!(chunk.taken(9, 4), Some(8), "4 of 9 is less than half");
        assert_eq!(chunk.size(LEFT), 8);
    }

    #[test]
    fn a_host_gets_the_sizes_that_it_insists_on() {
        let mut chunk = sized(Some(MIB + 5), Some(300 * KIB), Some(256 * KIB));
        assert_eq!(chunk.size(LEFT), MIB);
        assert_eq!(chunk.size(MIB + 1), MIB);
        assert_eq!(chunk.size(MIB), MIB);
        assert_eq!(chunk.size(7), 7, "the last request may be of any size");
        assert_eq!(chunk.lost(MIB), Some(512 * KIB));
        assert_eq!(
            chunk.lost(512 * KIB),
            None,
            "512 KiB is the least that fits"
        );
        assert_eq!(chunk.refused(512 * KIB), None);
        assert_eq!(chunk.size(LEFT), 512 * KIB);
        assert_eq!(chunk.taken(512 * KIB, 10), None);
        assert_eq!(chunk.size(LEFT), 512 * KIB);
    }

    #[test]
    fn a_fixed_size_stays() {
        let mut chunk = sized(Some(MIB), Some(MIB), None);
        assert_eq!(chunk.refused(MIB), None);
        assert_eq!(chunk.lost(MIB), None);
        assert_eq!(chunk.taken(MIB, 1), None);
        assert_eq!(chunk.size(LEFT), MIB);
    }
}
