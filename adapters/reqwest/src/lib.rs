//! Resumable uploads ([tus 1.0.0](https://tus.io/protocols/resumable-upload)) over [`reqwest`]: async,
//! over HTTP/1.1 and HTTP/2, in a runtime of tokio's with its time and I/O enabled; it
//! panics in any other place.
//!
//! ```no_run
//! use tus_reqwest::driver::FileSource;
//!
//! # async fn example() -> Result<(), tus_reqwest::driver::Error> {
//! let done = tus_reqwest::Client::new()
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
//! # use tus_reqwest::http::HeaderValue;
//! use tus_reqwest::driver::{FileSource, ReaderSource};
//! use tus_reqwest::http::{HeaderMap, header::AUTHORIZATION};
//! use tus_reqwest::proto::Algorithm;
//!
//! # fn token() -> HeaderValue { HeaderValue::from_static("Bearer x") }
//! # async fn example(endpoint: &str) -> Result<(), tus_reqwest::driver::Error> {
//! let client = tus_reqwest::Client::new(); // it remembers what each server offers
//! client.upload(endpoint).send(ReaderSource::new(std::io::stdin())).await?;
//! client.upload(endpoint).parallel(4).send(FileSource::open("disk.img")?).await?;
//! let logs = [FileSource::open("1.log")?, FileSource::open("2.log")?];
//! client.upload_many(endpoint, logs).send().await?;
//! client
//!     .upload(endpoint)
//!     .config(|config| config.checksums = vec![Algorithm::SHA256, Algorithm::SHA1])
//!     .authorize(async |_challenge| Some(HeaderMap::from_iter([(AUTHORIZATION, token())])))
//!     .send(FileSource::open("a.bin")?)
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! An upload that was cut short goes on in a later run if its checkpoint is kept:
//! [`resume_from`](tus_driver::Call::resume_from). It is ended from elsewhere with a
//! [`Canceller`](tus_driver::Canceller), or by dropping its future. Files are read where tokio lets
//! threads wait.
//!
//! # Which client
//!
//! [`Client::new`], and [`Client::with_builder`] with settings of one's own (TLS roots, a proxy, a
//! version of HTTP), make reqwest's client themselves, when the first request goes out. Where it cannot
//! be made, because there is no TLS provider, say, that is the error of that upload. It follows no
//! redirect, asks nothing twice and decodes nothing; instead of reqwest's limits on whole requests and
//! on reads, of which either would end a long one, the limits of [`Timeouts`](tus_proto::Timeouts) hold.
//! A connection may take 30 seconds, however long [`connect`](tus_proto::Timeouts::connect) is, and on
//! Linux the system ends one whose peer has taken no byte for
//! 90 (`tcp_user_timeout`): let that be more than [`stall`](tus_proto::Timeouts::stall).
//!
//! `Client::from` takes a [`reqwest::Client`] as it is, with its pool, its middleware and its headers:
//!
//! - It must not follow redirects: build it with `.redirect(reqwest::redirect::Policy::none())`. By
//!   default it follows them before that can be seen here, and takes headers along to wherever it is led,
//!   also those of [`header`](tus_driver::Call::header), and `Upload-Metadata`. It keeps from another
//!   origin only `Authorization`, `Cookie`, `Cookie2`, `Proxy-Authorization` and `WWW-Authenticate`. An
//!   answer that comes from another URL than was asked ends the upload. No body of a file is ever sent
//!   twice, but an empty one is.
//! - Its `timeout` does not apply. Its `read_timeout` does, from the beginning of a request until the
//!   head of its answer, however fast its body goes out: do without it.
//! - Its `tcp_user_timeout`, 30 seconds unless it is set, ends the connection to a server that takes no
//!   byte for so long.
//! - Headers of its own go to every server, also to one on another origin that an upload was created
//!   on; those of [`header`](tus_driver::Call::header) do not, as long as it follows no redirects. That
//!   holds of `default_headers` in [`Client::with_builder`] too.
//! - Where it decodes, the words of an answer are decoded, and nothing else.
//! - A new connection cannot be had from it when a server says that it is the wrong one (421), nor when
//!   one over HTTP/2 has died in silence: that is asked on again until the system ends it, on Linux after
//!   `tcp_user_timeout`, elsewhere after many minutes.
//!
//! # TLS
//!
//! The feature `rustls`, which is on, is reqwest's: rustls with aws-lc and the system's certificates.
//! Without default features there are `rustls-no-provider`, for a provider that the program installs,
//! and `native-tls`. A client that is made here refuses a URL with https where none of them is on, even if
//! something else in the build gives reqwest TLS; one from `Client::from` has what reqwest has. `http2`
//! is on too; `socks` and `system-proxy` are not.
//!
//! # What reqwest cannot do
//!
//! - It does not show interim answers (1xx), and does not wait for `100 Continue`.
//! - What is stopped is handed no further byte of the file, and nobody waits for it. Over HTTP/2 the
//!   stream is reset. Over HTTP/1.1 the connection is closed, once what it already holds is written (some
//!   hundred KiB, and the system's own buffers): where the server takes nothing, not before the system
//!   ends it. That is after `tcp_user_timeout` on Linux; elsewhere when the server closes. Either way a
//!   client that is made here asks on new connections from then on.
//! - Over HTTP/1.1 it does not leave a peer at once that says without end what comes to nothing, such as
//!   the size of a chunk: it reads some MiB of it before it gives way to anything else. A runtime of few
//!   threads has no clock meanwhile, and limits are overrun by seconds, or by minutes.
//! - It resolves `.` and `..` in a URL, also where they are escaped. A URL that it would change is refused.
//! - It adds `Accept: */*`.
//! - The feature `cookies` of reqwest keeps none here, unless the builder is told to.
//!
//! # What is logged
//!
//! [`tus_driver`] says what it logs. reqwest and what it is made of log through `log` and `tracing`; at
//! debug and trace level that shows hosts, and with `connection_verbose` whole requests, URLs and
//! credentials included: leave that off.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod exchange;
mod failure;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response};
use reqwest::ClientBuilder;
use reqwest::redirect::Policy;
use tus_driver::{AsyncTransport, BoxFuture, Control, UploadBody};
use tus_proto::{Failure, Terms};

use crate::failure::{reason, unmade, without_tls};

pub use http;
pub use reqwest;
pub use tus_driver as driver;
pub use tus_proto as proto;

/// Uploads over reqwest. Clones share their connections, and what they know of servers.
#[derive(Clone)]
pub struct Client {
    stack: Arc<Stack>,
    client: driver::AsyncClient,
}

enum Stack {
    /// Made here, when the first exchange begins.
    Own {
        settings: Settings,
        made: Mutex<Option<Arc<reqwest::Client>>>,
    },
    /// The caller's, which may have other things to do.
    Given(Arc<reqwest::Client>),
}

type Settings = Box<dyn Fn(ClientBuilder) -> ClientBuilder + Send + Sync>;

/// Whether the clients that are made here are meant to have TLS.
const TLS: bool = cfg!(any(
    feature = "rustls",
    feature = "rustls-no-provider",
    feature = "native-tls"
));
/// How long a connection may take, all addresses of a host together.
const CONNECT: Duration = Duration::from_secs(30);
/// How long a peer may take no byte, on Linux, before the system ends the connection. It is longer than
/// a stall, for a slow server must not be cut off; it is what ends an exchange that is left behind.
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
const UNTAKEN: Duration = Duration::from_secs(90);

impl Client {
    /// A client with reqwest's defaults: the system's root certificates, and the proxy that the
    /// environment names.
    #[must_use]
    pub fn new() -> Self {
        Self::with_builder(|builder| builder)
    }

    /// A client with settings of one's own: root certificates, a proxy, a version of HTTP.
    ///
    /// They are made on what [`new`](Self::new) has; redirects, retries, decoding and limits on whole
    /// requests are switched off afterwards. This is asked again whenever a new connection is due: when a
    /// server says that it is the wrong one (421), and after an exchange that had to be stopped.
    #[must_use]
    pub fn with_builder(
        settings: impl Fn(ClientBuilder) -> ClientBuilder + Send + Sync + 'static,
    ) -> Self {
        Self::of(Stack::Own {
            settings: Box::new(settings),
            made: Mutex::default(),
        })
    }

    fn of(stack: Stack) -> Self {
        let stack = Arc::new(stack);
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

impl From<reqwest::Client> for Client {
    fn from(client: reqwest::Client) -> Self {
        Self::of(Stack::Given(Arc::new(client)))
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

impl AsyncTransport for Stack {
    fn exchange<'a>(
        &'a self,
        request: Request<UploadBody>,
        terms: &'a Terms,
        control: &'a Control,
    ) -> BoxFuture<'a, Result<Response<Bytes>, Failure>> {
        Box::pin(async move {
            // Without TLS reqwest would ask a proxy for it in the clear.
            if !TLS && self.is_own() && request.uri().scheme() == Some(&Scheme::HTTPS) {
                return Err(without_tls());
            }
            let client = self.client(terms.fresh)?;
            let mut trust = Trust {
                stack: self,
                client: &client,
                kept: false,
            };
            let answer = exchange::exchange(&client, request, terms, control, self).await;
            trust.kept = true;
            answer
        })
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn unblock(&self, work: Box<dyn FnOnce() + Send>) {
        drop(tokio::task::spawn_blocking(work));
    }

    fn sends_trailers(&self) -> bool {
        true
    }
}

impl Stack {
    fn is_own(&self) -> bool {
        matches!(self, Stack::Own { .. })
    }

    /// `fresh`: with no connection yet, for this exchange and those after it.
    fn client(&self, fresh: bool) -> Result<Arc<reqwest::Client>, Failure> {
        let (settings, made) = match self {
            Stack::Given(client) => return Ok(Arc::clone(client)),
            Stack::Own { settings, made } => (settings, made),
        };
        let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
        match &*made {
            Some(client) if !fresh => Ok(Arc::clone(client)),
            _ => Ok(Arc::clone(made.insert(Arc::new(make(settings)?)))),
        }
    }

    /// Has the next exchange begin with another client than this one. Those that are on it go on.
    fn give_up(&self, client: &Arc<reqwest::Client>) {
        if let Stack::Own { made, .. } = self {
            made.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take_if(|made| Arc::ptr_eq(made, client));
        }
    }
}

/// What an exchange has in its client, until it is dropped unanswered: its connection may be dead then, and
/// over HTTP/2 reqwest would go on asking on that one until the system ends it.
struct Trust<'a> {
    stack: &'a Stack,
    client: &'a Arc<reqwest::Client>,
    kept: bool,
}

impl Drop for Trust<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.stack.give_up(self.client);
        }
    }
}

fn make(settings: &Settings) -> Result<reqwest::Client, Failure> {
    let ours = reqwest::Client::builder()
        .user_agent(concat!("tus-reqwest/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT);
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    let ours = ours.tcp_user_timeout(UNTAKEN);
    let make = || {
        settings(ours)
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .read_timeout(exchange::FOREVER)
            .build()
    };
    // reqwest panics where nobody has installed a provider for rustls, and says so.
    match catch_unwind(AssertUnwindSafe(make)) {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(error)) => Err(unmade(&reason(&error))),
        Err(panic) => Err(unmade(panic.downcast_ref::<&str>().unwrap_or(&"a panic"))),
    }
}
