//! What wakes the driver.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use http::Response;
use tus_proto::{Answer, DutyId};

#[derive(Debug)]
pub(crate) enum Message {
    Answer(DutyId, Answer),
    Interim(DutyId, Response<()>),
    Wake,
}

/// Where messages are posted, from any thread.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    messages: Sender<Message>,
    waker: Arc<Mutex<Option<Waker>>>,
}

impl Post {
    /// Posts a message. A driver that is gone has no use for it.
    pub(crate) fn send(&self, message: Message) {
        let _ = self.messages.send(message);
        let waker = lock(&self.waker).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Where they arrive. One waits for them on a thread or in a task.
#[derive(Debug)]
pub(crate) struct Mailbox {
    messages: Receiver<Message>,
    post: Post,
}

impl Mailbox {
    pub(crate) fn new() -> Self {
        let (sender, messages) = channel();
        Self {
            messages,
            post: Post {
                messages: sender,
                waker: Arc::default(),
            },
        }
    }

    pub(crate) fn post(&self) -> Post {
        self.post.clone()
    }

    /// A message that has arrived.
    pub(crate) fn take(&self) -> Option<Message> {
        self.messages.try_recv().ok()
    }

    /// Waits on this thread for a message, no longer than that.
    pub(crate) fn wait(&self, limit: Option<Duration>) -> Option<Message> {
        let message = match limit {
            Some(limit) => self.messages.recv_timeout(limit),
            None => self
                .messages
                .recv()
                .map_err(|_| RecvTimeoutError::Disconnected),
        };
        message.ok()
    }

    /// Has the task woken when the next message is posted.
    #[cfg(feature = "async")]
    pub(crate) fn wakes(&self, waker: &Waker) {
        let mut known = lock(&self.post.waker);
        if known.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
