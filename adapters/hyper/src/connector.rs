//! A connector whose connections can be ended from outside.

use std::fmt;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;
use tus_driver::BoxFuture;
use tus_proto::Timeouts;

use crate::line::Line;

/// A connector around another one, which has a stopped exchange's connection ended at once.
///
/// [`Client::new`](crate::Client::new) and its like have one. It is here for a hyper client of one's own:
///
/// ```
/// use hyper_util::client::legacy;
/// use hyper_util::rt::TokioExecutor;
/// # use tus_hyper::hyper_util;
///
/// let hyper = legacy::Client::builder(TokioExecutor::new())
///     .http2_only(true)
///     .build(tus_hyper::Connector::tcp());
/// let client = tus_hyper::Client::from(hyper);
/// ```
///
/// It can lie below TLS (`hyper_rustls::HttpsConnector::from((Connector::below_tls(), config))`) or around
/// it. A connection that is broken tells first what the peer had said, so that an early refusal is not
/// taken for a loss.
pub struct Connector<C: Service<Uri>> {
    inner: C,
    reset: fn(&C::Response),
}

impl<C: Service<Uri>> Connector<C> {
    /// One around this connector.
    pub fn new(inner: C) -> Self {
        Self {
            inner,
            reset: |_| (),
        }
    }
}

impl Connector<HttpConnector> {
    /// One over TCP, without delay for small packets, for http alone: it has no connection for an https
    /// URL. What the system still holds of a connection that is ended is thrown away with it, and so
    /// cannot arrive later.
    #[must_use]
    pub fn tcp() -> Self {
        Self::over(HttpConnector::new())
    }

    /// One as [`tcp`](Self::tcp) is, for a connector that speaks TLS over it, and so asks it for https.
    /// By itself it would send what is meant for https in the clear.
    #[must_use]
    pub fn below_tls() -> Self {
        let mut inner = HttpConnector::new();
        inner.enforce_http(false);
        Self::over(inner)
    }

    fn over(mut inner: HttpConnector) -> Self {
        inner.set_nodelay(true);
        // It is shared among a host's addresses, so that a dead one is passed over.
        inner.set_connect_timeout(Some(Timeouts::default().connect));
        Self {
            inner,
            reset: |tcp: &TokioIo<TcpStream>| {
                // Without it some MiB might go out after all; there is no other harm.
                let _ = tcp.inner().set_zero_linger();
            },
        }
    }
}

impl<C: Service<Uri> + Clone> Clone for Connector<C> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            reset: self.reset,
        }
    }
}

impl<C: Service<Uri>> fmt::Debug for Connector<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

impl<C> Service<Uri> for Connector<C>
where
    C: Service<Uri, Future: Send + 'static>,
    C::Response: 'static,
{
    type Response = Line<C::Response>;
    type Error = C::Error;
    type Future = BoxFuture<'static, Result<Self::Response, C::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.inner.call(uri);
        let reset = self.reset;
        Box::pin(async move {
            let io = connecting.await?;
            Ok(Line::new(io, reset))
        })
    }
}
