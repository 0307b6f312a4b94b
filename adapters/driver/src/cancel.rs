use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tus_proto::Cancel;

use crate::mailbox::{Message, Post};

/// Ends a call from another thread, from a signal handler's thread, or from its own events.
///
/// Clones end the same calls. A call that begins after the cancel ends at once.
///
/// ```
/// use tus_driver::Canceller;
/// use tus_proto::Cancel;
///
/// let canceller = Canceller::new();
/// let other = canceller.clone();
/// // ctrlc::set_handler(move || other.cancel(Cancel::Keep))?;
/// # other.cancel(Cancel::Keep);
/// assert_eq!(canceller.cancelled(), Some(Cancel::Keep));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Canceller(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    wanted: Option<Cancel>,
    next: u64,
    waiting: Vec<(u64, Post)>,
}

impl Canceller {
    /// One that has cancelled nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the calls that have this canceller. A later cancel may only be harder than the one
    /// before; a softer one changes nothing.
    pub fn cancel(&self, how: Cancel) {
        let waiting: Vec<Post> = {
            let mut state = self.state();
            if state.wanted >= Some(how) {
                return;
            }
            state.wanted = Some(how);
            let posts = state.waiting.iter().map(|(_, driver)| driver.clone());
            posts.collect()
        };
        // Not under the lock: a waker may poll the call at once, or drop it.
        for driver in waiting {
            driver.send(Message::Wake);
        }
    }

    /// How it was cancelled, if it was.
    #[must_use]
    pub fn cancelled(&self) -> Option<Cancel> {
        self.state().wanted
    }

    /// Wakes this driver at each cancel, as long as the guard lives.
    pub(crate) fn wakes(&self, driver: Post) -> Waking {
        let mut state = self.state();
        let id = state.next;
        state.next += 1;
        state.waiting.push((id, driver));
        Waking(self.clone(), id)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Canceller::wakes`].
pub(crate) struct Waking(Canceller, u64);

impl Drop for Waking {
    fn drop(&mut self) {
        self.0.state().waiting.retain(|(id, _)| *id != self.1);
    }
}
