//! The hyper clients under a [`Client`](crate::Client).

use std::time::Duration;

use bytes::Bytes;
use http::header::USER_AGENT;
use http::{HeaderValue, Request, Response};
use hyper_util::client::legacy::connect::Connect;
use hyper_util::client::legacy::{self, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tus_driver::{AsyncTransport, BoxFuture, Control, UploadBody};
use tus_proto::{Failure, Terms};

use crate::exchange::exchange;
use crate::failure::hopeless;

pub(crate) struct Stack {
    pub(crate) requests: Box<dyn Requests>,
    /// Why no https can be spoken.
    pub(crate) no_tls: Option<String>,
}

impl AsyncTransport for Stack {
    fn exchange<'a>(
        &'a self,
        request: Request<UploadBody>,
        terms: &'a Terms,
        control: &'a Control,
    ) -> BoxFuture<'a, Result<Response<Bytes>, Failure>> {
        Box::pin(async move {
            match &self.no_tls {
                Some(why) if request.uri().scheme_str() == Some("https") => Err(hopeless(why)),
                _ => exchange(&*self.requests, request, terms, control, self).await,
            }
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

/// Something that sends requests, over whatever connector.
pub(crate) trait Requests: Send + Sync + 'static {
    fn request(&self, request: Request<UploadBody>, terms: &Terms) -> ResponseFuture;
}

/// The caller's, whose pool cannot be passed by.
impl<C> Requests for legacy::Client<C, UploadBody>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    fn request(&self, request: Request<UploadBody>, _terms: &Terms) -> ResponseFuture {
        self.request(request)
    }
}

/// Two over one connector.
pub(crate) struct Own<C> {
    pooled: legacy::Client<C, UploadBody>,
    /// It makes a connection for each request.
    fresh: legacy::Client<C, UploadBody>,
}

impl<C> Own<C>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    pub(crate) fn new(connector: C) -> Self {
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new());
        let pooled = builder.build(connector.clone());
        let fresh = builder.pool_max_idle_per_host(0).build(connector);
        Self { pooled, fresh }
    }
}

impl<C> Requests for Own<C>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    fn request(&self, mut request: Request<UploadBody>, terms: &Terms) -> ResponseFuture {
        const NAME: HeaderValue =
            HeaderValue::from_static(concat!("tus-hyper/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().entry(USER_AGENT).or_insert(NAME);
        let client = if terms.fresh {
            &self.fresh
        } else {
            &self.pooled
        };
        client.request(request)
    }
}
