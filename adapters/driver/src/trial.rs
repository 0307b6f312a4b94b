//! One exchange by itself.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use tus_proto::{Body, DutyId, Failure, Terms};

use crate::control::Exchange;
use crate::mailbox::{Mailbox, Message};
use crate::workers::Job;
#[cfg(feature = "async")]
use crate::{AsyncTransport, tasks};
use crate::{Error, IntoSource, Source, Transport, threads};

/// One exchange without a machine, carried out as the driver does it: for trying a transport.
///
/// The body is exactly the request's range of the source, what the source says overrules the transport,
/// and a panic is a failure. Clones are of the same exchange, so that another thread can stop it.
#[derive(Clone)]
pub struct Trial {
    source: Arc<dyn Source>,
    exchange: Arc<Exchange>,
    mailbox: Arc<Mutex<Mailbox>>,
}

const ID: DutyId = DutyId { lane: 0, serial: 0 };

impl Trial {
    /// One whose body comes from this source.
    ///
    /// # Errors
    ///
    /// Where it is none.
    pub fn new(source: impl IntoSource) -> Result<Self, Error> {
        Ok(Self {
            source: source.into_source()?,
            exchange: Arc::default(),
            mailbox: Arc::new(Mutex::new(Mailbox::new())),
        })
    }

    /// Ends it, as the driver would: nothing more is handed over. A future is to be dropped then.
    pub fn stop(&self) {
        self.exchange.stop();
    }

    /// How many bytes of the body the transport has taken; `None`: it does not say.
    #[must_use]
    pub fn sent(&self) -> Option<u64> {
        self.exchange.count()
    }

    /// The interim responses (1xx) that came since this was last asked.
    #[must_use]
    pub fn interims(&self) -> Vec<Response<()>> {
        let mailbox = self.mailbox.lock().unwrap_or_else(PoisonError::into_inner);
        let interim = |message| match message {
            Message::Interim(_, response) => Some(response),
            Message::Answer(..) | Message::Wake => None,
        };
        std::iter::from_fn(|| mailbox.take())
            .filter_map(interim)
            .collect()
    }

    /// Carries it out on this thread.
    ///
    /// # Errors
    ///
    /// What the transport, or the source, fails with.
    pub fn run(
        &self,
        transport: &dyn Transport,
        request: Request<Body>,
        terms: &Terms,
    ) -> Result<Response<Bytes>, Failure> {
        let result = threads::carry_out(transport, self.job(request, terms), ID, &self.post());
        self.exchange.over();
        result
    }

    /// Carries it out in this task.
    ///
    /// # Errors
    ///
    /// What the transport, or the source, fails with.
    #[cfg(feature = "async")]
    pub async fn run_async(
        &self,
        transport: &Arc<dyn AsyncTransport>,
        request: Request<Body>,
        terms: &Terms,
    ) -> Result<Response<Bytes>, Failure> {
        let post = self.post();
        tasks::carry_out(transport, self.job(request, terms), ID, &post).await
    }

    fn job(&self, request: Request<Body>, terms: &Terms) -> Job {
        Job {
            request,
            terms: terms.clone(),
            source: Arc::clone(&self.source),
            exchange: Arc::clone(&self.exchange),
        }
    }

    fn post(&self) -> crate::mailbox::Post {
        self.mailbox
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .post()
    }
}

impl fmt::Debug for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trial").finish_non_exhaustive()
    }
}
