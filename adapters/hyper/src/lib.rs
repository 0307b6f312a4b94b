//! Resumable uploads ([tus 1.0.0](https://tus.io/protocols/resumable-upload)) over [`hyper`]: async,
//! HTTP/1.1 and HTTP/2.
//!
//! ```no_run
//! use tus_hyper::driver::FileSource;
//!
//! # async fn upload() -> Result<(), tus_hyper::driver::Error> {
//! let done = tus_hyper::Client::new()
//!     .upload("https://example.org/files/")
//!     .metadata("filename", "a.bin")
//!     .on_event(|event| println!("{event:?}"))
//!     .send(FileSource::open("a.bin")?)
//!     .await?;
//! println!("{}", done.url.expose());
//! # Ok(())
//! # }
//! ```
//!
//! Beside files there are pipes, parts, and several files as one; checksums; credentials that are
//! renewed in mid-upload:
//!
//! ```no_run
//! # use tus_hyper::http::HeaderValue;
//! use tus_hyper::driver::{FileSource, ReaderSource};
//! use tus_hyper::http::{HeaderMap, header::AUTHORIZATION};
//! use tus_hyper::proto::Algorithm;
//!
//! # let endpoint = "https://example.org/files/";
//! # async fn token() -> HeaderValue { HeaderValue::from_static("Bearer x") }
//! # async fn upload(endpoint: &str) -> Result<(), tus_hyper::driver::Error> {
//! let client = tus_hyper::Client::new(); // it remembers what each server offers
//! client.upload(endpoint).send(ReaderSource::new(std::io::stdin())).await?;
//! client.upload(endpoint).parallel(4).send(FileSource::open("disk.img")?).await?;
//! let logs = [FileSource::open("1.log")?, FileSource::open("2.log")?];
//! client.upload_many(endpoint, logs).send().await?;
//! client
//!     .upload(endpoint)
//!     .config(|config| config.checksums = vec![Algorithm::SHA256, Algorithm::SHA1])
//!     .authorize(|_challenge| async { Some(HeaderMap::from_iter([(AUTHORIZATION, token().await)])) })
//!     .send(FileSource::open("a.bin")?)
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! An upload that was cut short goes on in a later run if its checkpoint is kept:
//! [`resume_from`](tus_driver::Call::resume_from). It is ended from elsewhere with a
//! [`Canceller`](tus_driver::Canceller), or by dropping its future.
//!
//! It runs in a tokio runtime with its I/O and its time enabled, and panics in any other place. Files are
//! read, and checkpoints written, on the runtime's blocking threads.
//!
//! # Which client
//!
//! [`Client::new`] and its like make their connections themselves. An exchange that must end is
//! ended at once: its connection is reset, and what the system still held of it never arrives. Over
//! HTTP/2, where others may be on the same connection, its stream is reset; the connection takes no new
//! exchange and ends with the last one that is on it. Exchanges that go on side by side share one HTTP/2
//! connection, and have one each over HTTP/1.1.
//!
//! `Client::from` takes a [hyper-util client](legacy::Client) with all that is in it: its pool, its
//! connector, its limits. When an exchange on it must end, hyper is handed nothing more, and lets the
//! connection go once it has written what it has, up to some 400 KiB, which with the system's own buffers
//! comes to a few MiB that may still arrive; where the peer reads nothing at all, it waits until the
//! system gives up. Nor does it leave a peer at once that says without end what comes to nothing, such as
//! the size of a chunk, or interim answers: it reads some MiB of that before it gives way to anything
//! else. A runtime of few threads has no clock meanwhile, and limits are overrun by seconds, or by
//! minutes. A [`Connector`] around the client's own makes it end as those above do, in both cases. Its
//! pool cannot be passed by: after a 421 the connection that answered is not used again, but another one
//! from the pool may be.
//!
//! Neither follows redirects, reads the environment for proxies, nor decodes. A request that a pooled
//! connection was closed for before a byte of it went out is sent on another one, and nothing else is
//! sent twice. The limits in [`Timeouts`](tus_proto::Timeouts) hold; but a connection may take half a minute
//! at most, which a host with several addresses shares among them.
//!
//! # Which TLS
//!
//! With the feature `rustls`, which is on by default, it is [rustls](https://docs.rs/rustls) with *ring*,
//! and trust is the system's: roots that an administrator has added hold, and so does what a
//! keychain revokes. A system that has no roots at all, such as an empty container, is told so when the
//! first https URL is asked for; give it some with [`Client::with_rustls`]. With `native-tls` alone it is
//! the system's own. With neither there is http only, or what a [connector of one's
//! own](Client::with_connector) speaks.
//!
//! # What hyper cannot do
//!
//! - It does not wait for `100 Continue`: the body goes out with the head.
//! - It shows interim answers (1xx) over HTTP/1.1 only.
//! - It reads an answer that comes in mid-body. Over a connection of the caller's that is reset right
//!   after it, it may be lost; those that are made here read it first.
//!
//! # What is logged
//!
//! [`tus_driver`] says what it logs. hyper-util and h2 log through `tracing` too, at debug and trace
//! level: hosts, addresses and frames, but no path, no query and no field.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod connector;
mod exchange;
mod failure;
mod line;
mod stack;
mod tls;

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connect, Connection};
use tower_service::Service;
use tus_driver::{AsyncTransport, BoxFuture, Control, UploadBody};
use tus_proto::{Failure, Terms};

pub use connector::Connector;
pub use http;
pub use hyper;
pub use hyper_util;
#[cfg(feature = "native-tls")]
pub use native_tls;
#[cfg(feature = "rustls")]
pub use rustls;
pub use tus_driver as driver;
pub use tus_proto as proto;

use crate::stack::{Own, Requests, Stack};

/// Uploads over hyper. Clones share their connections, and what they know of servers.
#[derive(Clone)]
pub struct Client {
    stack: Arc<Stack>,
    client: driver::AsyncClient,
}

impl Client {
    /// A client that trusts the root certificates of the system. It speaks HTTP/2 where a server offers
    /// that in the TLS handshake.
    #[must_use]
    pub fn new() -> Self {
        tls::client()
    }

    /// A client with these TLS settings. Where they name no protocols (ALPN), HTTP/2 and HTTP/1.1 are
    /// offered.
    #[cfg(feature = "rustls")]
    #[must_use]
    pub fn with_rustls(config: rustls::ClientConfig) -> Self {
        Self::own(tls::over_rustls(config), None)
    }

    /// A client with these TLS settings. What they offer in the handshake
    /// ([`request_alpns`](native_tls::TlsConnectorBuilder::request_alpns)) is what is spoken.
    #[cfg(feature = "native-tls")]
    #[must_use]
    pub fn with_native_tls(connector: native_tls::TlsConnector) -> Self {
        Self::own(tls::over_native_tls(connector), None)
    }

    /// A client over a connector of one's own: through a proxy, a tunnel, a socket that is no TCP. It must
    /// speak TLS itself where that is wanted, and says with
    /// [`negotiated_h2`](hyper_util::client::legacy::connect::Connected::negotiated_h2) where HTTP/2 is
    /// to be spoken. Its connections are ended as those of [`new`](Self::new) are.
    #[must_use]
    pub fn with_connector<C>(connector: C) -> Self
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Connection + hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
        C::Error: Into<Box<dyn Error + Send + Sync>> + 'static,
        C::Future: Send + 'static,
    {
        Self::own(Connector::new(connector), None)
    }

    fn own<C: Connect + Clone + Send + Sync + 'static>(
        connector: C,
        no_tls: Option<String>,
    ) -> Self {
        Self::of(Own::new(connector), no_tls)
    }

    fn of(requests: impl Requests, no_tls: Option<String>) -> Self {
        let requests = Box::new(requests);
        let stack = Arc::new(Stack { requests, no_tls });
        Self {
            client: driver::AsyncClient::over(Arc::clone(&stack) as _),
            stack,
        }
    }
}

driver::client_methods!(Client, driver::Async);

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl<C> From<legacy::Client<C, UploadBody>> for Client
where
    C: Connect + Clone + Send + Sync + 'static,
{
    fn from(client: legacy::Client<C, UploadBody>) -> Self {
        Self::of(client, None)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl AsyncTransport for Client {
    fn exchange<'a>(
        &'a self,
        request: Request<UploadBody>,
        terms: &'a Terms,
        control: &'a Control,
    ) -> BoxFuture<'a, Result<Response<Bytes>, Failure>> {
        self.stack.exchange(request, terms, control)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.stack.sleep(duration)
    }

    fn unblock(&self, work: Box<dyn FnOnce() + Send>) {
        self.stack.unblock(work);
    }

    fn sends_trailers(&self) -> bool {
        self.stack.sends_trailers()
    }
}
