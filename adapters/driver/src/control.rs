//! One exchange, seen from the transport and from the driver.

use std::fmt;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
#[cfg(feature = "async")]
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use tus_proto::{Body, DutyId, Failure, Terms};

use crate::mailbox::{Mailbox, Message, Post};

/// How many interim responses are passed on in so much time. Each wakes the driver, which would else do
/// nothing but listen to a server that sends them without end.
const INTERIMS: (usize, Duration) = (16, Duration::from_millis(100));

/// An HTTP stack, as far as an upload needs it: one exchange at a time, blocking.
///
/// Exchanges run on threads of the driver's, several at once if there are several uploads.
pub trait Transport: Send + Sync + 'static {
    /// Sends the request and brings the answer.
    ///
    /// It follows no redirect, retries nothing, decodes nothing, and no status is an error. Header
    /// fields go out as they are. `body` gives exactly the bytes of the request's range, then its
    /// end; where the range is empty there is no body. When `body` fails, the exchange is to end
    /// without another byte, and whatever is returned then is overruled by what the source said.
    ///
    /// Of the answer's body no more than [`MAX_ANSWER_BODY`](tus_proto::MAX_ANSWER_BODY) bytes are
    /// wanted. Once the head is there, the answer is returned, even if its body fails; a transport
    /// that waits for the body says so with [`Control::answered`].
    ///
    /// A transport that knows what it has taken of the body says so with [`Control::sent`], or by
    /// reading the body through [`Control::counted`]. One that cannot be stopped while it reads or
    /// writes should at least keep the time limits in `terms`.
    ///
    /// # Errors
    ///
    /// [`NotSent`](tus_proto::FailureKind::NotSent) only where the server cannot have seen the
    /// request; [`Hopeless`](tus_proto::FailureKind::Hopeless) where trying again cannot help;
    /// otherwise [`Lost`](tus_proto::FailureKind::Lost). The message must hold no secret.
    fn exchange(
        &self,
        request: Request<Body>,
        terms: &Terms,
        body: &mut dyn Read,
        control: &Control,
    ) -> Result<Response<Bytes>, Failure>;

    /// Whether it can send a trailer after a body ([`Terms::trailer`]).
    fn sends_trailers(&self) -> bool {
        false
    }
}

/// What a transport tells of an exchange while it goes on, and hears of its end. Clones are of the
/// same exchange.
#[derive(Clone)]
pub struct Control {
    id: DutyId,
    exchange: Arc<Exchange>,
    driver: Post,
}

impl Control {
    pub(crate) fn new(id: DutyId, exchange: Arc<Exchange>, driver: Post) -> Self {
        Self {
            id,
            exchange,
            driver,
        }
    }

    /// One that nobody listens to and nobody stops: for trying a transport without a driver.
    #[must_use]
    pub fn detached() -> Self {
        let id = DutyId { lane: 0, serial: 0 };
        Self::new(id, Arc::default(), Mailbox::new().post())
    }

    /// How many bytes of the body the transport has taken in all. It is said before they are
    /// written. `sent(0)` at the start means "I will report": a transport that cannot tell never
    /// says it, and is then given time by the body's length alone.
    pub fn sent(&self, bytes: u64) {
        self.exchange.sent(bytes);
    }

    /// The body, with each byte that is read from it counted as [sent](Self::sent). For stacks that
    /// read no further ahead than they write.
    pub fn counted<'a>(&'a self, body: &'a mut dyn Read) -> Counted<'a> {
        self.sent(0);
        Counted {
            body,
            control: self,
            taken: 0,
        }
    }

    /// The head of the answer is there, and its body is still to be read. The head is a fact even if
    /// the body never comes: it is what counts if the exchange fails now, or takes too long.
    pub fn answered(&self, head: &Response<()>) {
        self.exchange.answered(head);
    }

    /// An interim response (1xx) came. Of a flood of them only some are passed on: they say no more than
    /// that the server is alive.
    pub fn interim(&self, response: Response<()>) {
        if self.exchange.heeds_interim() {
            self.driver.send(Message::Interim(self.id, response));
        }
    }

    /// Whether the exchange is to end now.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.exchange.stopped()
    }

    /// Runs `end` when the exchange is stopped, on the driver's thread, or at once if it was
    /// stopped already. It must not block: close a socket, send a signal. It is dropped unused when
    /// the exchange has returned; where that is a future, when it has taken its whole body too.
    pub fn on_stop(&self, end: impl FnOnce() + Send + 'static) {
        self.exchange.on_stop(Box::new(end));
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("id", &self.id)
            .field("stopped", &self.stopped())
            .finish_non_exhaustive()
    }
}

/// A body that counts as [sent](Control::sent) what is read from it.
pub struct Counted<'a> {
    body: &'a mut dyn Read,
    control: &'a Control,
    taken: u64,
}

impl Counted<'_> {
    /// How many bytes were read.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }
}

impl Read for Counted<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.body.read(buf)?;
        self.taken = self.taken.saturating_add(read as u64);
        self.control.sent(self.taken);
        Ok(read)
    }
}

impl fmt::Debug for Counted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted")
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

/// What driver and worker share of one exchange.
#[derive(Default)]
pub(crate) struct Exchange {
    stopped: AtomicBool,
    /// One more than the bytes sent; 0 as long as the transport says nothing.
    sent: AtomicU64,
    stops: Mutex<Vec<Stop>>,
    source: Mutex<Option<Failure>>,
    head: Mutex<Option<Response<()>>>,
    /// When the first of some interim responses came, and how many they are.
    interims: Mutex<Option<(Instant, usize)>>,
    /// Of the task that waits for bytes of the body.
    #[cfg(feature = "async")]
    waker: Mutex<Option<Waker>>,
}

type Stop = Box<dyn FnOnce() + Send>;

impl Exchange {
    pub(crate) fn stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    pub(crate) fn sent(&self, bytes: u64) {
        self.sent
            .fetch_max(bytes.saturating_add(1), Ordering::SeqCst);
    }

    /// How many bytes the transport has taken; `None`: it does not say.
    pub(crate) fn count(&self) -> Option<u64> {
        self.sent.load(Ordering::SeqCst).checked_sub(1)
    }

    fn on_stop(&self, stop: Stop) {
        let mut stops = self.stops.lock().unwrap_or_else(PoisonError::into_inner);
        if self.stopped() {
            drop(stops);
            stop();
        } else {
            stops.push(stop);
        }
    }

    /// Hands over nothing more, and then tells the transport.
    pub(crate) fn stop(&self) {
        let stops = {
            let mut stops = self.stops.lock().unwrap_or_else(PoisonError::into_inner);
            self.stopped.store(true, Ordering::SeqCst);
            std::mem::take(&mut *stops)
        };
        for stop in stops {
            // A transport's fault must not keep the driver from ending the rest.
            if catch_unwind(AssertUnwindSafe(stop)).is_err() {
                tracing::warn!("a transport panicked when it was stopped");
            }
        }
        #[cfg(feature = "async")]
        let waker = self
            .waker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        #[cfg(feature = "async")]
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Has the task woken that waits for bytes of the body, when there will be none.
    #[cfg(feature = "async")]
    pub(crate) fn wakes(&self, waker: &Waker) {
        let waker = Some(waker.clone());
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = waker;
    }

    /// The exchange has returned: there is nothing left to stop.
    pub(crate) fn over(&self) {
        let stops = std::mem::take(&mut *self.stops.lock().unwrap_or_else(PoisonError::into_inner));
        drop(stops);
    }

    /// One more interim response came; whether it is passed on.
    fn heeds_interim(&self) -> bool {
        let (most, within) = INTERIMS;
        let mut interims = self.interims.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *interims {
            Some((first, count)) if first.elapsed() < within => {
                *count += 1;
                *count <= most
            }
            anew => {
                *anew = Some((Instant::now(), 1));
                true
            }
        }
    }

    fn answered(&self, head: &Response<()>) {
        let mut copy = Response::new(());
        *copy.status_mut() = head.status();
        *copy.version_mut() = head.version();
        *copy.headers_mut() = head.headers().clone();
        *self.head.lock().unwrap_or_else(PoisonError::into_inner) = Some(copy);
    }

    /// The answer, as far as it is there, without its body.
    pub(crate) fn head(&self) -> Option<Response<Bytes>> {
        let head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        Some(head.clone()?.map(|()| Bytes::new()))
    }

    /// The source failed: that overrules what the transport makes of it.
    pub(crate) fn source_failed(&self, failure: Failure) {
        self.source
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(failure);
    }

    pub(crate) fn source_failure(&self) -> Option<Failure> {
        self.source
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_flood_of_interim_answers_a_few_are_passed_on() {
        let mailbox = Mailbox::new();
        let id = DutyId { lane: 0, serial: 0 };
        let control = Control::new(id, Arc::default(), mailbox.post());
        let passed = || std::iter::from_fn(|| mailbox.take()).count();
        let (most, within) = INTERIMS;
        let begun = Instant::now();
        for _ in 0..10 * most {
            control.interim(Response::new(()));
        }
        let floods = 1 + usize::from(begun.elapsed() >= within);
        assert!((most..=floods * most).contains(&passed()));
        // Whatever came before, one that comes later is heard.
        let earlier = begun.checked_sub(within).unwrap();
        *control.exchange.interims.lock().unwrap() = Some((earlier, usize::MAX));
        control.interim(Response::new(()));
        assert_eq!(passed(), 1);
    }
}
