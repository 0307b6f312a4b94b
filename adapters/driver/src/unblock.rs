//! Work that waits, done apart from the task that needs it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::AsyncTransport;

/// What the work will have come to; `None`: it was dropped undone, or panicked.
pub(crate) struct Unblocked<T>(Arc<Mutex<Slot<T>>>);

struct Slot<T> {
    result: Option<T>,
    over: bool,
    waker: Option<Waker>,
}

/// Does this where waiting is allowed. It begins at once, and goes on if nobody waits for it.
pub(crate) fn unblock<T: Send + 'static>(
    stack: &dyn AsyncTransport,
    work: impl FnOnce() -> T + Send + 'static,
) -> Unblocked<T> {
    unblock_with(|work| stack.unblock(work), work)
}

/// The same, where `begin` says.
pub(crate) fn unblock_with<T: Send + 'static>(
    begin: impl FnOnce(Box<dyn FnOnce() + Send>),
    work: impl FnOnce() -> T + Send + 'static,
) -> Unblocked<T> {
    let slot = Arc::new(Mutex::new(Slot {
        result: None,
        over: false,
        waker: None,
    }));
    let promise = Promise(Arc::clone(&slot));
    begin(Box::new(move || {
        let result = work();
        lock(&promise.0).result = Some(result);
    }));
    Unblocked(slot)
}

impl<T> Future for Unblocked<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut slot = lock(&self.0);
        if slot.over {
            return Poll::Ready(slot.result.take());
        }
        slot.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// Wakes whoever waits, whatever becomes of the work.
struct Promise<T>(Arc<Mutex<Slot<T>>>);

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        let waker = {
            let mut slot = lock(&self.0);
            slot.over = true;
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

fn lock<T>(slot: &Mutex<Slot<T>>) -> MutexGuard<'_, Slot<T>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
