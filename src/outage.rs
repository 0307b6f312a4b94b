//! Failures of several parts that have one cause.

use crate::retry::Gained;

/// Counts outages: failures of exchanges that were sent before the last counted failure are one with
/// it.
#[derive(Debug)]
pub(crate) struct Outage {
    most: Option<u32>,
    counted: u32,
    /// How many exchanges were sent.
    exchanges: u64,
    /// How many there were at the last counted failure.
    mark: u64,
    /// The last exchange of each lane.
    last: Vec<u64>,
    gained: Gained,
}

impl Outage {
    pub(crate) fn new(most: Option<u32>) -> Self {
        Self {
            most,
            counted: 0,
            exchanges: 0,
            mark: 0,
            last: Vec::new(),
            gained: Gained::default(),
        }
    }

    /// A lane sends something.
    pub(crate) fn sent(&mut self, lane: u32) {
        self.exchanges += 1;
        let lane = lane as usize;
        if self.last.len() <= lane {
            self.last.resize(lane + 1, 0);
        }
        self.last[lane] = self.exchanges;
    }

    /// How many exchanges were sent in all.
    pub(crate) fn exchanges(&self) -> u64 {
        self.exchanges
    }

    /// Which of them was this lane's last one, counted from 1.
    pub(crate) fn last(&self, lane: u32) -> u64 {
        self.last.get(lane as usize).copied().unwrap_or(0)
    }

    /// A lane's attempt failed. How many outages there were since the last progress.
    pub(crate) fn failed(&mut self, lane: u32) -> u32 {
        if self.last(lane) > self.mark {
            self.mark = self.exchanges;
            self.counted = self.counted.saturating_add(1);
        }
        self.counted
    }

    /// Whether so many are not too many.
    pub(crate) fn allows(&self, outages: u32) -> bool {
        self.most.is_none_or(|most| outages <= most)
    }

    /// The server has so many bytes of a part that it never had before; `all`: none of it remains.
    pub(crate) fn gain(&mut self, bytes: u64, all: bool) {
        if self.gained.add(bytes, all) {
            self.counted = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retry::PROGRESS;

    #[test]
    fn what_was_sent_before_the_last_counted_failure_is_one_with_it() {
        let mut outage = Outage::new(Some(1));
        for lane in 1..4 {
            outage.sent(lane);
        }
        for lane in 1..4 {
            assert_eq!(outage.failed(lane), 1, "the three failed of one thing");
        }
        assert!(outage.allows(1));
        outage.sent(2);
        assert_eq!(outage.failed(2), 2, "that is another");
        assert!(!outage.allows(2));
        assert!(Outage::new(None).allows(u32::MAX));
    }

    #[test]
    fn progress_of_any_part_begins_anew() {
        let mut outage = Outage::new(Some(1));
        for _ in 0..5 {
            outage.sent(1);
            assert_eq!(outage.failed(1), 1);
            outage.gain(PROGRESS - 1, false);
            outage.gain(1, false);
        }
        outage.sent(1);
        assert_eq!(outage.failed(1), 1);
        outage.gain(1, true);
        outage.sent(1);
        assert_eq!(outage.failed(1), 1);
        outage.sent(1);
        assert_eq!(outage.failed(1), 2);
        outage.gain(0, true);
        outage.sent(1);
        assert_eq!(outage.failed(1), 3, "what is complete as before is none");
    }
}
