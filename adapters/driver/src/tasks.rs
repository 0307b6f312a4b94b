//! Exchanges as futures, in the task that drives the machine.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tus_proto::{Answer, DutyId, Failure, FailureKind, Terms};

use crate::mailbox::{Mailbox, Message, Post};
use crate::unblock::{Unblocked, unblock, unblock_with};
use crate::workers::{
    BoxFuture, Job, Work, Workers, answer, available, caught, concluded, fill, panicked,
};
use crate::{Control, UploadBody};

/// An HTTP stack, as far as an upload needs it: one exchange at a time, as a future. With it comes
/// what a runtime gives: time, and a place to wait.
///
/// No runtime is named here. Exchanges are polled in the task that drives the upload, several at once
/// if it is in parts. The limits in [`Terms`] are kept by the driver, which drops what takes too long.
///
/// ```
/// use std::time::Duration;
///
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use tus_driver::{AsyncTransport, BoxFuture, Control, UploadBody, read_answer};
/// use tus_proto::{Failure, FailureKind, Terms};
///
/// # mod stack {
/// #     pub struct Client;
/// #     impl Client {
/// #         pub async fn send(
/// #             &self,
/// #             _: http::Request<tus_driver::UploadBody>,
/// #         ) -> Result<http::Response<tus_driver::UploadBody>, std::io::Error> {
/// #             Err(std::io::ErrorKind::Unsupported.into())
/// #         }
/// #     }
/// # }
/// /// Over some HTTP stack that takes an `http_body::Body`, and gives one.
/// struct Mine(stack::Client);
///
/// impl AsyncTransport for Mine {
///     fn exchange<'a>(
///         &'a self,
///         request: Request<UploadBody>, // its URL is absolute, and there is no Host field yet
///         terms: &'a Terms,
///         control: &'a Control,
///     ) -> BoxFuture<'a, Result<Response<Bytes>, Failure>> {
///         Box::pin(async move {
///             let answer = self.0.send(request).await;
///             // What the server cannot have seen would be `NotSent`.
///             let answer = answer
///                 .map_err(|error| Failure::new(FailureKind::Lost, error.to_string()))?;
///             Ok(read_answer(answer, terms, control, self).await)
///         })
///     }
///
///     fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
///         Box::pin(tokio::time::sleep(duration))
///     }
/// }
/// ```
pub trait AsyncTransport: Send + Sync + 'static {
    /// Sends the request and brings the answer.
    ///
    /// It follows no redirect, retries nothing, decodes nothing, and no status is an error. Header
    /// fields go out as they are. The body gives exactly the bytes of the request's range; where it
    /// [ends at once](http_body::Body::is_end_stream) there is none, and a `Content-Length: 0` among the
    /// fields goes out all the same. When the body fails, the exchange is to end without another byte,
    /// and whatever is returned then is overruled by what the source said.
    ///
    /// Of the answer's body no more than [`MAX_ANSWER_BODY`](tus_proto::MAX_ANSWER_BODY) bytes are
    /// wanted. Once the head is there, the answer is returned, even if its body fails; a transport
    /// that waits for the body says so with [`Control::answered`].
    ///
    /// An exchange is stopped by dropping its future, after what was given to [`Control::on_stop`] has
    /// been run. What the stack holds of it then should go no further. So it is with one that returned
    /// before the whole body was taken: nothing more is wanted of it.
    ///
    /// # Errors
    ///
    /// [`NotSent`](tus_proto::FailureKind::NotSent) only where the server cannot have seen the
    /// request; [`Hopeless`](tus_proto::FailureKind::Hopeless) where trying again cannot help;
    /// otherwise [`Lost`](tus_proto::FailureKind::Lost). The message must hold no secret.
    fn exchange<'a>(
        &'a self,
        request: Request<UploadBody>,
        terms: &'a Terms,
        control: &'a Control,
    ) -> BoxFuture<'a, Result<Response<Bytes>, Failure>>;

    /// Is ready after so much time, as [`Instant`](std::time::Instant) has it, by which the driver goes.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// Does this where waiting is allowed, for it reads files: on a thread of its own, unless the
    /// runtime has a better place. What is dropped undone counts as failed.
    fn unblock(&self, work: Box<dyn FnOnce() + Send>) {
        detached(work);
    }

    /// Whether it can send a trailer after a body ([`Terms::trailer`]): the body then ends in one,
    /// the fields have no `Content-Length`, and the framing is the transport's to choose.
    fn sends_trailers(&self) -> bool {
        false
    }
}

pub(crate) struct Tasks {
    stack: Arc<dyn AsyncTransport>,
    mailbox: Mailbox,
    running: Vec<(DutyId, BoxFuture<'static, ()>)>,
}

impl Tasks {
    pub(crate) fn new(stack: Arc<dyn AsyncTransport>) -> Self {
        Self {
            stack,
            mailbox: Mailbox::new(),
            running: Vec::new(),
        }
    }

    fn poll_running(&mut self, cx: &mut Context<'_>) {
        self.mailbox.wakes(cx.waker());
        self.running
            .retain_mut(|(_, future)| future.as_mut().poll(cx).is_pending());
    }
}

impl Workers for Tasks {
    fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// All of it is polled where the loop waits.
    fn start(&mut self, id: DutyId, work: Work) -> Result<(), Failure> {
        let post = self.mailbox.post();
        let stack = Arc::clone(&self.stack);
        let task: BoxFuture<'static, Answer> = match work {
            Work::Exchange(job) => {
                let post = post.clone();
                Box::pin(async move { answer(carry_out(&stack, *job, id, &post).await) })
            }
            Work::Fill { source, keep, upto } => Box::pin(async move {
                let begun = catch_unwind(AssertUnwindSafe(|| source.fill_async(keep, upto)));
                match begun {
                    Ok(Some(filling)) => Caught(filling).await.map_or_else(panicked, available),
                    Ok(None) => {
                        let source = Arc::clone(&source);
                        let filling = move || caught(|| fill(&*source, keep, upto));
                        done(unblock_with(detached, filling)).await
                    }
                    Err(_) => panicked(),
                }
            }),
            Work::Chore(chore) | Work::Brief(chore) => {
                // It begins now, and not when the loop next waits.
                let task = done(unblock(&*stack, || caught(chore)));
                Box::pin(task)
            }
            Work::Future(future) => future,
        };
        let task = async move { post.send(Message::Answer(id, task.await)) };
        self.running.push((id, Box::pin(task)));
        Ok(())
    }

    fn leave(&mut self, id: DutyId) {
        self.running.retain(|(running, _)| *running != id);
    }

    async fn look(&mut self) {
        poll_fn(|cx| {
            self.poll_running(cx);
            Poll::Ready(())
        })
        .await;
    }

    async fn wait(&mut self, limit: Option<Duration>) -> Option<Message> {
        let mut timer = limit.map(|limit| self.stack.sleep(limit));
        poll_fn(|cx| {
            self.poll_running(cx);
            if let Some(message) = self.mailbox.take() {
                return Poll::Ready(Some(message));
            }
            match &mut timer {
                Some(timer) => timer.as_mut().poll(cx).map(|()| None),
                None => Poll::Pending,
            }
        })
        .await
    }
}

/// On a thread of its own. A stream may wait for ever, and a runtime waits for what it does where
/// waiting is allowed.
fn detached(work: Box<dyn FnOnce() + Send>) {
    // Where there is no thread to be had, the work is dropped, and so it fails.
    drop(
        thread::Builder::new()
            .name("tus-source".to_owned())
            .spawn(work),
    );
}

async fn done(work: Unblocked<Answer>) -> Answer {
    work.await.unwrap_or_else(|| {
        let words = "nobody is left to do it";
        Answer::Failed(Failure::new(FailureKind::Source, words))
    })
}

/// Carries out one exchange in this task.
pub(crate) async fn carry_out(
    stack: &Arc<dyn AsyncTransport>,
    job: Job,
    id: DutyId,
    post: &Post,
) -> Result<Response<Bytes>, Failure> {
    let Job {
        request,
        terms,
        source,
        exchange,
    } = job;
    let trailer = terms.trailer.as_ref();
    let body = UploadBody::new(&source, request.body(), &exchange, trailer, stack)?;
    let (head, range) = request.into_parts();
    let control = Control::new(id, Arc::clone(&exchange), post.clone());
    // What is polled from the body is counted.
    control.sent(0);
    let request = Request::from_parts(head, body);
    let exchanging = AssertUnwindSafe(|| stack.exchange(request, &terms, &control));
    let result = match catch_unwind(exchanging) {
        Ok(exchanging) => Caught(exchanging).await,
        Err(_) => None,
    };
    if exchange.count() < Some(range.end.saturating_sub(range.start)) {
        // The stack may be sending still, where an answer came early.
        exchange.stop();
    } else {
        exchange.over();
    }
    concluded(&exchange, result)
}

/// A future that cannot take the task with it; `None`: it panicked.
struct Caught<'a, T>(BoxFuture<'a, T>);

impl<T> Future for Caught<'_, T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let polled = catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(cx)));
        match polled {
            Ok(polled) => polled.map(Some),
            Err(_) => Poll::Ready(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Waker;

    use http_body::Body as _;
    use tus_proto::{Config, Duty, Machine, Output, Tick, Upload};

    use super::*;
    use crate::Trial;

    /// Takes so many pieces of the body, answers, and keeps the rest to be sent on.
    struct Eager {
        pieces: usize,
        body: Mutex<Option<UploadBody>>,
        stopped: Arc<AtomicBool>,
    }

    impl AsyncTransport for Eager {
        fn exchange<'a>(
            &'a self,
            request: Request<UploadBody>,
            _terms: &'a Terms,
            control: &'a Control,
        ) -> BoxFuture<'a, Result<Response<Bytes>, Failure>> {
            let stopped = Arc::clone(&self.stopped);
            control.on_stop(move || stopped.store(true, Ordering::SeqCst));
            Box::pin(async move {
                let mut body = request.into_body();
                for _ in 0..self.pieces {
                    assert!(
                        poll_fn(|cx| Pin::new(&mut body).poll_frame(cx))
                            .await
                            .is_some()
                    );
                }
                *self.body.lock().unwrap() = Some(body);
                Ok(Response::new(Bytes::new()))
            })
        }

        fn sleep(&self, _duration: Duration) -> BoxFuture<'static, ()> {
            Box::pin(std::future::pending())
        }
    }

    /// What a future comes to that waits for nothing.
    fn at_once<T>(future: impl Future<Output = T>) -> T {
        match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => done,
            Poll::Pending => panic!("it waits"),
        }
    }

    #[test]
    fn what_is_answered_early_is_stopped() {
        for pieces in 0..3 {
            let eager = Arc::new(Eager {
                pieces,
                body: Mutex::default(),
                stopped: Arc::default(),
            });
            let url = "http://h.test/1";
            let mut upload = Upload::append(url, 1, &Config::default()).unwrap();
            let Output::Begin(_, Duty::Exchange(request, terms)) = upload.poll(Tick::default())
            else {
                panic!("it begins with an exchange");
            };
            let request = request.map(|_| 0..100_000);
            let trial = Trial::new(vec![7; 100_000]).unwrap();
            let stack = Arc::clone(&eager) as Arc<dyn AsyncTransport>;
            at_once(trial.run_async(&stack, request, &terms)).unwrap();
            let whole = pieces == 2;
            assert_eq!(eager.stopped.load(Ordering::SeqCst), !whole);
            let mut body = eager.body.lock().unwrap().take().unwrap();
            let next = at_once(poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)));
            assert!(if whole {
                next.is_none()
            } else {
                next.unwrap().is_err()
            });
        }
    }
}
