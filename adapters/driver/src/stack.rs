//! The two kinds of transport, and what a call needs of either.

use std::fmt;
use std::sync::Arc;

use tus_proto::Machine;

use crate::run::{Options, run};
use crate::workers::BoxFuture;
#[cfg(feature = "async")]
use crate::{AsyncTransport, run::run_async, unblock::unblock};
use crate::{Error, Source, Transport};

/// Marks calls that return when they are done, over a [`Transport`].
#[derive(Clone)]
pub struct Blocking(pub(crate) Arc<dyn Transport>);

/// Marks calls that are futures, over an [`AsyncTransport`].
#[cfg(feature = "async")]
#[derive(Clone)]
pub struct Async(pub(crate) Arc<dyn AsyncTransport>);

/// What is written once for both kinds. Over a blocking transport its futures never wait.
pub(crate) trait Stack: Clone + Send + Sync + 'static {
    fn run<'r, M: Machine<Success: Send> + Send + 'r>(
        &'r self,
        machine: M,
        source: &'r Arc<dyn Source>,
        options: &'r mut Options<'_>,
    ) -> BoxFuture<'r, Result<M::Success, Error>>;

    fn has_trailers(&self) -> bool;

    /// Whether it can read this source.
    fn reads(&self, source: &dyn Source) -> bool;

    /// What this comes to, which waits for a disk; `None`: there is nobody to do it.
    fn apart<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> BoxFuture<'static, Option<R>>;
}

impl Stack for Blocking {
    fn run<'r, M: Machine<Success: Send> + Send + 'r>(
        &'r self,
        machine: M,
        source: &'r Arc<dyn Source>,
        options: &'r mut Options<'_>,
    ) -> BoxFuture<'r, Result<M::Success, Error>> {
        Box::pin(std::future::ready(run(machine, &self.0, source, options)))
    }

    fn has_trailers(&self) -> bool {
        self.0.sends_trailers()
    }

    #[cfg(feature = "async")]
    fn reads(&self, source: &dyn Source) -> bool {
        source.fill_async(0, 0).is_none()
    }

    #[cfg(not(feature = "async"))]
    fn reads(&self, _: &dyn Source) -> bool {
        true
    }

    fn apart<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> BoxFuture<'static, Option<R>> {
        Box::pin(std::future::ready(Some(work())))
    }
}

#[cfg(feature = "async")]
impl Stack for Async {
    fn run<'r, M: Machine<Success: Send> + Send + 'r>(
        &'r self,
        machine: M,
        source: &'r Arc<dyn Source>,
        options: &'r mut Options<'_>,
    ) -> BoxFuture<'r, Result<M::Success, Error>> {
        Box::pin(run_async(machine, &self.0, source, options))
    }

    fn has_trailers(&self) -> bool {
        self.0.sends_trailers()
    }

    fn reads(&self, _: &dyn Source) -> bool {
        true
    }

    fn apart<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> BoxFuture<'static, Option<R>> {
        Box::pin(unblock(&*self.0, work))
    }
}

impl fmt::Debug for Blocking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Blocking")
    }
}

#[cfg(feature = "async")]
impl fmt::Debug for Async {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Async")
    }
}
