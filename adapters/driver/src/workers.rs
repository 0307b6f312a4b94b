//! Where what the loop begins is done, and how the loop waits for it. There is one loop: it waits on a
//! thread ([`Threads`](crate::threads::Threads)) or in a task (`Tasks`).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tus_proto::{Answer, Body, DutyId, Failure, FailureKind, Terms};

use crate::Source;
use crate::control::Exchange;
use crate::mailbox::{Mailbox, Message};

/// A future of whatever kind.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the loop begins. Each comes to an [`Answer`].
pub(crate) enum Work {
    Exchange(Box<Job>),
    /// For a source that is read as it comes: see [`Source::fill`].
    Fill {
        source: Arc<dyn Source>,
        keep: u64,
        upto: u64,
    },
    /// Something that reads a source for long.
    Chore(Chore),
    /// Something that waits for a disk, and not for long.
    Brief(Chore),
    /// Something of the caller's.
    Future(BoxFuture<'static, Answer>),
}

pub(crate) type Chore = Box<dyn FnOnce() -> Answer + Send>;

/// An exchange to be carried out.
pub(crate) struct Job {
    pub(crate) request: Request<Body>,
    pub(crate) terms: Terms,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) exchange: Arc<Exchange>,
}

pub(crate) trait Workers {
    /// Where answers arrive.
    fn mailbox(&self) -> &Mailbox;

    /// Begins it. Its answer is posted.
    fn start(&mut self, id: DutyId, work: Work) -> Result<(), Failure>;

    /// Nobody waits for this one any more.
    fn leave(&mut self, id: DutyId);

    /// Lets what can be posted without waiting be posted.
    fn look(&mut self) -> impl Future<Output = ()> + Send;

    /// Waits for a message, no longer than that.
    fn wait(&mut self, limit: Option<Duration>) -> impl Future<Output = Option<Message>> + Send;
}

/// The answer to [`Work::Fill`], waiting on this thread.
pub(crate) fn fill(source: &dyn Source, keep: u64, upto: u64) -> Answer {
    available(source.fill(keep, upto))
}

pub(crate) fn available(filled: std::io::Result<crate::Filled>) -> Answer {
    match filled {
        Ok(filled) => Answer::Available {
            upto: filled.upto,
            end: filled.end,
        },
        Err(error) => Answer::Failed(Failure::new(FailureKind::Source, error.to_string())),
    }
}

/// A chore that cannot take its thread with it.
pub(crate) fn caught(chore: impl FnOnce() -> Answer) -> Answer {
    catch_unwind(AssertUnwindSafe(chore)).unwrap_or_else(|_| panicked())
}

pub(crate) fn panicked() -> Answer {
    Answer::Failed(Failure::new(FailureKind::Source, "its reader panicked"))
}

/// What becomes of an exchange: what its source says comes first, then an answer's head, which is a
/// fact, then what the transport says. `None`: it panicked.
pub(crate) fn concluded(
    exchange: &Exchange,
    result: Option<Result<Response<Bytes>, Failure>>,
) -> Result<Response<Bytes>, Failure> {
    let result = result.unwrap_or_else(|| {
        Err(Failure::new(
            FailureKind::Lost,
            "the transport panicked; please report this as a bug",
        ))
    });
    match (exchange.source_failure(), result, exchange.head()) {
        (Some(failure), _, _) | (None, Err(failure), None) => Err(failure),
        (None, Ok(response), _) | (None, Err(_), Some(response)) => Ok(response),
    }
}

pub(crate) fn answer(result: Result<Response<Bytes>, Failure>) -> Answer {
    match result {
        Ok(response) => Answer::Response(response),
        Err(failure) => Answer::Failed(failure),
    }
}
