//! Failures of several parts that have one cause.

/// New bytes, in sum, that count as progress.
const PROGRESS: u64 = 64 * 1024;

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
    /// The last exchange of each part.
    last: Vec<u64>,
    gained: u64,
}

impl Outage {
    pub(crate) fn new(most: Option<u32>) -> Self {
        Self {
            most,
            counted: 0,
            exchanges: 0,
            mark: 0,
            last: Vec::new(),
            gained: 0,
        }
    }

    /// A part sends something.
    pub(crate) fn sent(&mut self, part: usize) {
        self.exchanges += 1;
        if self.last.len() <= part {
            self.last.resize(part + 1, 0);
        }
        self.last[part] = self.exchanges;
    }

    /// A part's attempt failed; whether that was one outage too many.
    pub(crate) fn failed(&mut self, part: usize) -> bool {
        let sent = self.last.get(part).copied().unwrap_or(0);
        if sent > self.mark {
            self.mark = self.exchanges;
            self.counted = self.counted.saturating_add(1);
        }
        self.most.is_some_and(|most| self.counted > most)
    }

    /// The server has so many bytes more of a part; `all`: none of it remains.
    pub(crate) fn gain(&mut self, bytes: u64, all: bool) {
        self.gained = self.gained.saturating_add(bytes);
        if bytes > 0 && (all || self.gained >= PROGRESS) {
            self.gained = 0;
            self.counted = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_before_the_last_counted_failure_is_one_with_it() {
        let mut outage = Outage::new(Some(1));
        for part in 0..3 {
            outage.sent(part);
        }
        for part in 0..3 {
            assert!(!outage.failed(part), "the three failed of one thing");
        }
        outage.sent(1);
        assert!(outage.failed(1), "that is another");
    }

    #[test]
    fn progress_of_any_part_begins_anew() {
        let mut outage = Outage::new(Some(1));
        for _ in 0..5 {
            outage.sent(0);
            assert!(!outage.failed(0));
            outage.gain(PROGRESS - 1, false);
            outage.gain(1, false);
        }
        outage.gain(1, true);
        outage.sent(0);
        assert!(!outage.failed(0));
        outage.sent(0);
        assert!(outage.failed(0));
    }
}
