//! Resumable uploads ([tus 1.0.0](https://tus.io/protocols/resumable-upload)) over [`ureq`]:
//! blocking, without a runtime.
//!
//! ```no_run
//! use tus_ureq::driver::FileSource;
//!
//! let done = tus_ureq::Client::new()
//!     .upload("https://example.org/files/")
//!     .metadata("filename", "a.bin")
//!     .on_event(|event| println!("{event:?}"))
//!     .send(FileSource::open("a.bin")?)?;
//! println!("{}", done.url.expose());
//! # Ok::<(), tus_ureq::driver::Error>(())
//! ```
//!
//! Beside files there are pipes, parts, and several files as one; checksums; credentials that are
//! renewed in mid-upload:
//!
//! ```no_run
//! # use tus_ureq::http::HeaderValue;
//! use tus_ureq::driver::{FileSource, ReaderSource};
//! use tus_ureq::http::{HeaderMap, header::AUTHORIZATION};
//! use tus_ureq::proto::Algorithm;
//!
//! # let endpoint = "https://example.org/files/";
//! # fn token() -> HeaderValue { HeaderValue::from_static("Bearer x") }
//! let client = tus_ureq::Client::new(); // it remembers what each server offers
//! client.upload(endpoint).send(ReaderSource::new(std::io::stdin()))?;
//! client.upload(endpoint).parallel(4).send(FileSource::open("disk.img")?)?;
//! let logs = [FileSource::open("1.log")?, FileSource::open("2.log")?];
//! client.upload_many(endpoint, logs).send()?;
//! client
//!     .upload(endpoint)
//!     .config(|config| config.checksums = vec![Algorithm::SHA256, Algorithm::SHA1])
//!     .authorize(|_challenge| Some(HeaderMap::from_iter([(AUTHORIZATION, token())])))
//!     .send(FileSource::open("a.bin")?)?;
//! # Ok::<(), tus_ureq::driver::Error>(())
//! ```
//!
//! An upload that was cut short goes on in a later run if its checkpoint is kept:
//! [`resume_from`](tus_driver::Call::resume_from). It is ended from elsewhere with a
//! [`Canceller`](tus_driver::Canceller).
//!
//! # Which client
//!
//! [`Client::new`], and [`Client::with_config`] with ureq settings of one's own (TLS roots, a
//! proxy, a resolver's address family), make their agents themselves, one for each exchange that
//! goes on at the same time. So an exchange that must end is ended at once, by closing its
//! connection.
//!
//! `Client::from` takes an [`ureq::Agent`] with all that is in it: its pool, its connector, its
//! middleware. Such an agent cannot be interrupted without ending whatever else it does. What must
//! end is then handed no further byte of the file, and ends with the limits below; the upload does
//! not wait for that.
//!
//! Either way each request has settings of its own, whatever the agent's are: no redirect is
//! followed, no status is an error, and instead of the agent's time limits (of which a global one
//! would end every long request) those of [`Timeouts`](tus_proto::Timeouts) hold: for the name and
//! the connection each `connect`, for each write `stall`, for the answer's head `answer` or
//! `answer_to_body`. A connector of one's own that ignores ureq's limits is not bounded by them.
//! Middleware may add fields, or answer by itself. It must not follow redirects: that is refused where
//! it asks for another URL with the request that it was given, and may go unseen where it makes requests
//! of its own.
//!
//! # Which TLS
//!
//! The feature `rustls`, which is on by default, is ureq's. With `native-tls` alone a client from
//! [`Client::new`] speaks the system's own. Settings of one's own, and an agent, must name the provider
//! themselves (`TlsConfig::builder().provider(TlsProvider::NativeTls)`): ureq takes rustls otherwise, and
//! panics at the first https URL if it is not there, which is reported as a lost connection.
//!
//! # What ureq cannot do
//!
//! - It does not read before it has written the whole body. A server that refuses in mid-body and
//!   closes is seen as a lost connection, and asked again.
//! - It does not show interim answers (1xx). It waits for `100 Continue` where that was asked for,
//!   for a second.
//! - It sends no trailers, so a checksum is computed before the bytes are sent, and they are read
//!   twice.
//! - The feature `cookies` of ureq, if anything in the build turns it on, keeps cookies within each
//!   agent.
//!
//! # What is logged
//!
//! [`tus_driver`] says what it logs. ureq itself logs through the `log` crate, and at trace level
//! whole URLs, which here are secrets: leave the target `ureq` out of what is recorded.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod exchange;
mod failure;

use std::fmt;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use tus_driver::{Control, Transport};
use tus_proto::{Body, Failure, Terms};
use ureq::Agent;

pub use http;
pub use tus_driver as driver;
pub use tus_proto as proto;
pub use ureq;

/// Uploads over ureq. Clones share their connections, and what they know of servers.
#[derive(Clone)]
pub struct Client {
    agents: Arc<Agents>,
    client: driver::Client,
}

enum Agents {
    /// Made here, each for one exchange at a time, so that it can be shut down with it.
    Own {
        config: Box<ureq::config::Config>,
        idle: Mutex<Vec<Agent>>,
    },
    /// The caller's, which may have other things to do.
    Given(Agent),
}

impl Client {
    /// A client with ureq's defaults: its root certificates, and the proxy that the environment
    /// names. Without the feature `socks-proxy` ureq goes around a SOCKS proxy, and only logs that.
    #[must_use]
    pub fn new() -> Self {
        let config =
            Agent::config_builder().user_agent(concat!("tus-ureq/", env!("CARGO_PKG_VERSION")));
        // ureq's default is rustls, whether it is there or not.
        #[cfg(all(feature = "native-tls", not(feature = "rustls")))]
        let config = {
            use ureq::tls::{TlsConfig, TlsProvider::NativeTls};
            config.tls_config(TlsConfig::builder().provider(NativeTls).build())
        };
        Self::with_config(config.build())
    }

    /// A client with these settings of ureq's. With `native-tls` alone [they must say
    /// so](crate#which-tls).
    #[must_use]
    pub fn with_config(config: ureq::config::Config) -> Self {
        Self::of(Agents::Own {
            config: Box::new(config),
            idle: Mutex::default(),
        })
    }

    fn of(agents: Agents) -> Self {
        let agents = Arc::new(agents);
        Self {
            client: driver::Client::over(Arc::clone(&agents) as _),
            agents,
        }
    }
}

driver::client_methods!(Client, driver::Blocking);

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Agent> for Client {
    fn from(agent: Agent) -> Self {
        Self::of(Agents::Given(agent))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Transport for Client {
    fn exchange(
        &self,
        request: Request<Body>,
        terms: &Terms,
        body: &mut dyn Read,
        control: &Control,
    ) -> Result<Response<Bytes>, Failure> {
        self.agents.exchange(request, terms, body, control)
    }
}

impl Transport for Agents {
    fn exchange(
        &self,
        request: Request<Body>,
        terms: &Terms,
        body: &mut dyn Read,
        control: &Control,
    ) -> Result<Response<Bytes>, Failure> {
        let (config, idle) = match self {
            Agents::Given(agent) => {
                return exchange::exchange(agent, request, terms, body, control);
            }
            Agents::Own { config, idle } => (config, idle),
        };
        let idle = || idle.lock().unwrap_or_else(PoisonError::into_inner);
        let agent = idle().pop().unwrap_or_else(|| config.new_agent());
        // Whoever takes it out decides: it is shut down, or used again.
        let running = Arc::new(Mutex::new(Some(agent.clone())));
        let take = |running: &Mutex<Option<Agent>>| {
            running
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take()
        };
        control.on_stop({
            let running = Arc::clone(&running);
            move || {
                if let Some(agent) = take(&running) {
                    agent.shutdown();
                }
            }
        });
        let answer = exchange::exchange(&agent, request, terms, body, control);
        // After a failure its other connections are not to be trusted either.
        if let Some(agent) = take(&running)
            && answer.is_ok()
        {
            idle().push(agent);
        }
        answer
    }
}
