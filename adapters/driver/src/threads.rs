//! Exchanges on threads of their own, while the loop waits on the caller's.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use tus_proto::{DutyId, Failure, FailureKind};

use crate::mailbox::{Mailbox, Message, Post};
use crate::reader::BodyReader;
use crate::workers::{Job, Work, Workers, answer, caught, concluded, fill};
use crate::{Control, Error, Transport};

pub(crate) struct Threads {
    transport: Arc<dyn Transport>,
    mailbox: Mailbox,
}

impl Threads {
    pub(crate) fn new(transport: Arc<dyn Transport>) -> Self {
        Self {
            transport,
            mailbox: Mailbox::new(),
        }
    }
}

impl Workers for Threads {
    fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// What takes long is on a thread of its own, which is never waited for.
    fn start(&mut self, id: DutyId, work: Work) -> Result<(), Failure> {
        let post = self.mailbox.post();
        match work {
            Work::Exchange(job) => {
                let transport = Arc::clone(&self.transport);
                spawn("tus-exchange", move || {
                    let exchange = Arc::clone(&job.exchange);
                    let result = carry_out(&*transport, *job, id, &post);
                    post.send(Message::Answer(id, answer(result)));
                    exchange.over();
                })?;
            }
            Work::Fill { source, keep, upto } => spawn("tus-source", move || {
                let answer = caught(|| fill(&*source, keep, upto));
                post.send(Message::Answer(id, answer));
            })?,
            Work::Chore(chore) => spawn("tus-source", move || {
                post.send(Message::Answer(id, caught(chore)));
            })?,
            Work::Brief(chore) => post.send(Message::Answer(id, chore())),
            Work::Future(future) => {
                // There is nobody to wait for it.
                let waits = |_| Failure::new(FailureKind::Hopeless, "its future waits");
                let answer = now(async { Ok(future.await) }).map_err(waits)?;
                post.send(Message::Answer(id, answer));
            }
        }
        Ok(())
    }

    fn leave(&mut self, _: DutyId) {}

    async fn look(&mut self) {}

    async fn wait(&mut self, limit: Option<Duration>) -> Option<Message> {
        self.mailbox.wait(limit)
    }
}

/// Carries out one exchange on this thread.
pub(crate) fn carry_out(
    transport: &dyn Transport,
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
    let mut body = BodyReader::new(source, request.body(), Arc::clone(&exchange));
    let control = Control::new(id, Arc::clone(&exchange), post.clone());
    let result = catch_unwind(AssertUnwindSafe(|| {
        transport.exchange(request, &terms, &mut body, &control)
    }));
    concluded(&exchange, result.ok())
}

/// What a future comes to that waits on the thread that polls it.
pub(crate) fn now<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(Error::Stuck),
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map(drop).map_err(|error| {
        Failure::new(
            FailureKind::NotSent,
            format!("cannot start a thread: {error}"),
        )
    })
}
