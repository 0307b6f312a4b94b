//! Time that passes when it is told to.

use std::collections::BTreeMap;
use std::time::Duration;

/// A clock that stands still until it is moved, and the events that wait for it.
///
/// Times are counted from an epoch of the test's own. The simulation of a client is one loop around
/// [`until`](VirtualClock::until): what happens next, or the client's own deadline, whichever comes
/// first.
///
/// ```
/// use std::time::Duration;
/// use tus_testkit::VirtualClock;
///
/// let mut clock = VirtualClock::new();
/// clock.after(Duration::from_secs(3), "answer");
/// assert_eq!(clock.until(Some(Duration::from_secs(1))), None); // the deadline came first
/// assert_eq!(clock.now(), Duration::from_secs(1));
/// assert_eq!(clock.until(None), Some("answer"));
/// assert_eq!(clock.now(), Duration::from_secs(3));
/// ```
#[derive(Clone, Debug)]
pub struct VirtualClock<E> {
    now: Duration,
    serial: u64,
    events: BTreeMap<(Duration, u64), E>,
}

impl<E> VirtualClock<E> {
    /// A clock at its epoch, with nothing to come.
    #[must_use]
    pub fn new() -> Self {
        Self {
            now: Duration::ZERO,
            serial: 0,
            events: BTreeMap::new(),
        }
    }

    /// The time since the epoch.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Lets time pass. Events that become due stay, and are handed out by the next
    /// [`until`](Self::until).
    pub fn advance(&mut self, by: Duration) {
        self.now = self.now.saturating_add(by);
    }

    /// Has `event` happen `delay` from now. Events of one moment keep the order in which they came.
    pub fn after(&mut self, delay: Duration, event: E) {
        self.events
            .insert((self.now.saturating_add(delay), self.serial), event);
        self.serial += 1;
    }

    /// When the next event happens.
    #[must_use]
    pub fn next_at(&self) -> Option<Duration> {
        self.events.keys().next().map(|&(at, _)| at)
    }

    /// Goes to the next event, if it comes no later than `deadline`, and hands it out; else goes to
    /// the deadline. The clock never goes back: what is overdue happens now. `None` for the deadline
    /// waits for the next event however late; if there is none either, time stands still.
    pub fn until(&mut self, deadline: Option<Duration>) -> Option<E> {
        let Some(next) = self
            .events
            .first_entry()
            .filter(|next| deadline.is_none_or(|deadline| next.key().0 <= deadline))
        else {
            self.now = self.now.max(deadline.unwrap_or_default());
            return None;
        };
        let ((at, _), event) = next.remove_entry();
        self.now = self.now.max(at);
        Some(event)
    }
}

impl<E> Default for VirtualClock<E> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn events_come_in_order_of_time_and_then_of_arrival() {
        let mut clock = VirtualClock::new();
        clock.after(secs(2), 'c');
        clock.after(secs(1), 'a');
        clock.after(secs(1), 'b');
        assert_eq!(clock.next_at(), Some(secs(1)));
        assert_eq!(
            [clock.until(None), clock.until(None), clock.until(None)],
            [Some('a'), Some('b'), Some('c')]
        );
        assert_eq!((clock.until(None), clock.now()), (None, secs(2)));
    }

    #[test]
    fn an_event_at_the_deadline_comes_before_it() {
        let mut clock = VirtualClock::new();
        clock.after(secs(5), ());
        assert_eq!(clock.until(Some(secs(5))), Some(()));
    }

    #[test]
    fn the_clock_never_goes_back() {
        let mut clock = VirtualClock::new();
        clock.after(secs(1), ());
        clock.advance(secs(9));
        assert_eq!(clock.until(Some(secs(3))), Some(()));
        assert_eq!(clock.until(Some(secs(3))), None);
        assert_eq!(clock.now(), secs(9));
        clock.advance(Duration::MAX);
        assert_eq!(clock.now(), Duration::MAX);
    }
}
