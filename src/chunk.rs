//! How many bytes the next request carries.

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
    /// What something on the way takes, learnt from refusals; it stays.
    lasting: u64,
    /// What the connection bears, learnt from losses; it grows again.
    passing: u64,
    refusals: u8,
}

impl Chunk {
    pub(crate) fn new(limit: Option<u64>) -> Self {
        Self {
            limit: limit.unwrap_or(u64::MAX),
            lasting: u64::MAX,
            passing: u64::MAX,
            refusals: 0,
        }
    }

    /// The most bytes of the next request.
    pub(crate) fn size(&self) -> u64 {
        self.limit.min(self.lasting).min(self.passing)
    }

    /// A request of this size was refused for its size. `None`: smaller is of no use.
    pub(crate) fn refused(&mut self, size: u64) -> Option<u64> {
        if self.refusals >= REFUSALS {
            return None;
        }
        self.refusals += 1;
        self.lasting = self.lasting.min(smaller(size)?);
        Some(self.size())
    }

    /// Requests of this size are lost. `None`: they stay as they are.
    pub(crate) fn lost(&mut self, size: u64) -> Option<u64> {
        self.passing = self.passing.min(smaller(size)?);
        Some(self.size())
    }

    /// The server took so many of a request's bytes. `Some`: the next request is made smaller.
    pub(crate) fn taken(&mut self, size: u64, took: u64) -> Option<u64> {
        if took == size {
            self.passing = self.passing.saturating_mul(2);
        } else if took.saturating_mul(2) < size {
            self.passing = self.passing.min(took.saturating_mul(2));
            return Some(self.size());
        }
        None
    }
}

fn smaller(size: u64) -> Option<u64> {
    (size > FLOOR).then(|| (size / 2).clamp(FLOOR, FIRST))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_callers_maximum_is_never_exceeded() {
        let mut chunk = Chunk::new(Some(10));
        assert_eq!(chunk.size(), 10);
        assert_eq!(chunk.refused(10), None);
        assert_eq!(chunk.lost(10), None);
        for _ in 0..100 {
            chunk.taken(10, 10);
        }
        assert_eq!(chunk.size(), 10);
    }

    #[test]
    fn refusals_halve_down_to_the_floor_and_stay() {
        let mut chunk = Chunk::new(None);
        assert_eq!(chunk.refused(u64::MAX), Some(64 * MIB));
        let mut size = chunk.size();
        while let Some(next) = chunk.refused(size) {
            assert!(next < size);
            size = next;
        }
        assert_eq!(size, FLOOR);
        for _ in 0..100 {
            assert_eq!(chunk.taken(FLOOR, FLOOR), None);
        }
        assert_eq!(chunk.size(), FLOOR);
        assert_eq!(Chunk::new(None).refused(100_000), Some(FLOOR));
    }

    #[test]
    fn refusals_are_counted() {
        let mut chunk = Chunk::new(None);
        for _ in 0..REFUSALS {
            assert!(chunk.refused(MIB).is_some());
        }
        assert_eq!(chunk.refused(MIB), None);
    }

    #[test]
    fn losses_halve_and_whole_requests_double() {
        let mut chunk = Chunk::new(None);
        assert_eq!(chunk.lost(3 * MIB), Some(3 * MIB / 2));
        assert_eq!(chunk.lost(3 * MIB / 2), Some(3 * MIB / 4));
        chunk.taken(3 * MIB / 4, 3 * MIB / 4);
        assert_eq!(chunk.size(), 3 * MIB / 2);
        chunk.taken(MIB, MIB - 1);
        assert_eq!(
            chunk.size(),
            3 * MIB / 2,
            "a partial take of more than half changes nothing"
        );
    }

    #[test]
    fn a_server_that_takes_little_is_offered_little() {
        let mut chunk = Chunk::new(None);
        assert_eq!(chunk.taken(MIB, 1_000), Some(2_000));
        assert_eq!(chunk.taken(2_000, 1_000), None);
        assert_eq!(chunk.taken(9, 4), Some(8), "4 of 9 is less than half");
        assert_eq!(chunk.size(), 8);
    }
}
