//! What is tried: a transport, and what it says of itself.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use tus_driver::{AsyncClient, AsyncTransport, Client, Error, IntoSource, Transport, Trial};
use tus_proto::{Body, Config, Failure, FailureKind, Terms, Uploaded};

use crate::port::lock;
use crate::{Authority, Carrier};

/// What a transport is made for.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Setup {
    /// What it is to speak.
    pub carrier: Carrier,
    /// Whom it is to trust, beside nobody; `None`: whomever it trusts by itself.
    pub authority: Option<Authority>,
}

/// What not every stack can do. What takes its place is tested in its place.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability {
    /// Reads an answer that comes while the body is still being sent.
    EarlyAnswers,
    /// Shows interim answers (1xx).
    Interim,
    /// Ends an exchange at once when it is stopped, whatever it waits for.
    Stop,
    /// Ends an exchange in time, and its connection with it, whose peer says without end what is no
    /// answer, or none's body.
    Endless,
    /// Makes a new connection where [`Terms::fresh`] asks for one.
    Fresh,
}

/// What runs a future to its end on the thread that calls it.
type BlockOn = dyn for<'a> Fn(Pin<Box<dyn Future<Output = ()> + 'a>>) + Send + Sync;

/// What makes a transport.
type Maker<T> = dyn Fn(&Setup) -> Arc<T> + Send + Sync;

#[derive(Clone)]
enum Make {
    Blocking(Arc<Maker<dyn Transport>>),
    Future(Arc<Maker<dyn AsyncTransport>>, Arc<BlockOn>),
}

/// A transport to be tried, with what it speaks and what it cannot do.
#[derive(Clone)]
pub struct Subject {
    name: String,
    carriers: Vec<Carrier>,
    cannot: Vec<(Ability, Vec<Carrier>, String)>,
    make: Make,
}

impl Subject {
    /// A blocking transport, made anew for each case. It speaks HTTP/1.1 in the clear, unless
    /// [more](Self::speaks) is said.
    pub fn blocking<T: Transport>(
        name: impl Into<String>,
        make: impl Fn(&Setup) -> T + Send + Sync + 'static,
    ) -> Self {
        let make = move |setup: &Setup| Arc::new(make(setup)) as Arc<dyn Transport>;
        Self::new(name.into(), Make::Blocking(Arc::new(make)))
    }

    /// An asynchronous transport, made anew for each case, and what runs a future to its end. It is
    /// called on several threads at once; what the transport does in the background must go on between
    /// the calls, as in a runtime with threads of its own. It speaks HTTP/1.1 in the clear, unless
    /// [more](Self::speaks) is said.
    pub fn asynchronous<T: AsyncTransport>(
        name: impl Into<String>,
        block_on: impl Fn(Pin<Box<dyn Future<Output = ()> + '_>>) + Send + Sync + 'static,
        make: impl Fn(&Setup) -> T + Send + Sync + 'static,
    ) -> Self {
        let make = move |setup: &Setup| Arc::new(make(setup)) as Arc<dyn AsyncTransport>;
        Self::new(
            name.into(),
            Make::Future(Arc::new(make), Arc::new(block_on)),
        )
    }

    fn new(name: String, make: Make) -> Self {
        Self {
            name,
            carriers: vec![Carrier::Http1],
            cannot: Vec::new(),
            make,
        }
    }

    /// Says what it speaks.
    #[must_use]
    pub fn speaks(self, carriers: impl IntoIterator<Item = Carrier>) -> Self {
        let carriers = carriers.into_iter().collect();
        Self { carriers, ..self }
    }

    /// Says what it cannot do over these carriers, and why.
    #[must_use]
    pub fn cannot(
        mut self,
        what: Ability,
        over: impl IntoIterator<Item = Carrier>,
        why: impl Into<String>,
    ) -> Self {
        let over = over.into_iter().collect();
        self.cannot.push((what, over, why.into()));
        self
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn carriers(&self) -> &[Carrier] {
        &self.carriers
    }

    /// Why it cannot do this.
    pub(super) fn lacks(&self, what: Ability, over: Carrier) -> Option<&str> {
        let lack = |(lack, carriers, _): &&(Ability, Vec<Carrier>, String)| {
            *lack == what && carriers.contains(&over)
        };
        self.cannot.iter().find(lack).map(|(.., why)| &**why)
    }

    pub(super) fn stack(&self, setup: &Setup) -> Stack {
        match &self.make {
            Make::Blocking(make) => Stack::Blocking(make(setup)),
            Make::Future(make, block_on) => Stack::Future(make(setup), Arc::clone(block_on)),
        }
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("name", &self.name)
            .field("carriers", &self.carriers)
            .field("cannot", &self.cannot)
            .finish_non_exhaustive()
    }
}

/// A transport of either kind.
#[derive(Clone)]
pub(super) enum Stack {
    Blocking(Arc<dyn Transport>),
    Future(Arc<dyn AsyncTransport>, Arc<BlockOn>),
}

impl Stack {
    /// Carries out one exchange.
    pub(super) fn exchange(
        &self,
        attempt: &Attempt,
        request: Request<Body>,
        terms: &Terms,
    ) -> Result<Response<Bytes>, Failure> {
        match self {
            Self::Blocking(transport) => attempt.trial.run(&**transport, request, terms),
            Self::Future(transport, block_on) => {
                let exchange = attempt.trial.run_async(transport, request, terms);
                let stopped = attempt.stopped(exchange);
                wait(&**block_on, stopped).unwrap_or_else(|| {
                    let words = "the exchange was stopped";
                    Err(Failure::new(FailureKind::Lost, words))
                })
            }
        }
    }

    /// Carries out an upload, in so many parts.
    pub(super) fn upload(
        &self,
        endpoint: String,
        parts: usize,
        config: impl FnOnce(&mut Config),
        source: impl IntoSource,
    ) -> Result<Uploaded, Error> {
        match self {
            Self::Blocking(transport) => Client::over(Arc::clone(transport))
                .upload(endpoint)
                .config(config)
                .parallel(parts)
                .send(source),
            Self::Future(transport, block_on) => {
                let client = AsyncClient::over(Arc::clone(transport));
                let call = client.upload(endpoint).config(config).parallel(parts);
                wait(&**block_on, call.send(source))
            }
        }
    }

    pub(super) fn sends_trailers(&self) -> bool {
        match self {
            Self::Blocking(transport) => transport.sends_trailers(),
            Self::Future(transport, _) => transport.sends_trailers(),
        }
    }
}

fn wait<T>(block_on: &BlockOn, future: impl Future<Output = T>) -> T {
    let mut result = None;
    block_on(Box::pin(async { result = Some(future.await) }));
    result.expect("`block_on` runs a future to its end")
}

/// One exchange that can be stopped, as the driver stops it.
#[derive(Clone)]
pub(super) struct Attempt {
    trial: Trial,
    stop: Arc<Mutex<(bool, Option<Waker>)>>,
}

impl Attempt {
    pub(super) fn new(source: impl IntoSource) -> Result<Self, String> {
        let trial = Trial::new(source).map_err(|error| error.to_string())?;
        Ok(Self {
            trial,
            stop: Arc::default(),
        })
    }

    pub(super) fn sent(&self) -> Option<u64> {
        self.trial.sent()
    }

    pub(super) fn interims(&self) -> Vec<Response<()>> {
        self.trial.interims()
    }

    pub(super) fn stop(&self) {
        self.trial.stop();
        let waker = {
            let mut stop = lock(&self.stop);
            stop.0 = true;
            stop.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The future's result; `None`: it was stopped, and dropped.
    async fn stopped<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = Box::pin(future);
        std::future::poll_fn(|cx| {
            {
                let mut stop = lock(&self.stop);
                if stop.0 {
                    return Poll::Ready(None);
                }
                stop.1 = Some(cx.waker().clone());
            }
            future.as_mut().poll(cx).map(Some)
        })
        .await
    }
}
