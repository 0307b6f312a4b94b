//! What there is to do over a transport.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tus_proto::{Capabilities, Config};

use crate::call::{
    Call, DiscoverCall, InspectCall, Target, TerminateCall, UploadCall, UploadManyCall,
};
#[cfg(feature = "async")]
use crate::{Async, AsyncTransport};
use crate::{Blocking, Error, IntoSource, Many, Transport};

/// What there is to do over a transport: upload, inspect, delete. Each adapter has one of its own,
/// with the same names.
///
/// Over a [`Transport`] a call returns when it is done: [`Client`]. Over one whose exchanges are
/// futures a call is a future: `AsyncClient`, with the feature `async`.
///
/// It remembers for an hour what each endpoint offers, and asks only where that changes what is sent;
/// that one could not be asked is remembered for five minutes. Clones remember the same.
#[derive(Clone)]
pub struct ClientOver<T> {
    pub(crate) stack: T,
    servers: Arc<Mutex<Servers>>,
}

/// What there is to do over a blocking transport.
pub type Client = ClientOver<Blocking>;

/// What there is to do over a transport whose exchanges are futures.
#[cfg(feature = "async")]
pub type AsyncClient = ClientOver<Async>;

type Servers = HashMap<String, Known>;

/// What an endpoint said that it offers.
struct Known {
    /// `None`: it does not say.
    server: Option<Capabilities>,
    /// When it is asked again.
    until: Instant,
}

/// How long an answer is believed.
const ANSWERED: Duration = Duration::from_secs(60 * 60);
/// How long an endpoint that could not be asked is left alone.
const UNANSWERED: Duration = Duration::from_secs(5 * 60);

impl Client {
    /// One over this transport.
    pub fn new(transport: impl Transport) -> Self {
        Self::over(Arc::new(transport))
    }

    /// One over this transport, which others may use as well.
    pub fn over(transport: Arc<dyn Transport>) -> Self {
        Self::of(Blocking(transport))
    }
}

#[cfg(feature = "async")]
impl AsyncClient {
    /// One over this transport.
    pub fn new(transport: impl AsyncTransport) -> Self {
        Self::over(Arc::new(transport))
    }

    /// One over this transport, which others may use as well.
    pub fn over(transport: Arc<dyn AsyncTransport>) -> Self {
        Self::of(Async(transport))
    }
}

impl<T: Clone> ClientOver<T> {
    fn of(stack: T) -> Self {
        Self {
            stack,
            servers: Arc::default(),
        }
    }

    /// Creates an upload at this endpoint, then sends it.
    pub fn upload<'a>(&self, endpoint: impl Into<String>) -> UploadCall<'a, T> {
        Call::new(self.clone(), Target::Endpoint(endpoint.into()), ())
    }

    /// Uploads several sources, each as a part, and joins them in their order to one upload at this
    /// endpoint ([Concatenation](https://tus.io/protocols/resumable-upload#concatenation)).
    pub fn upload_many<'a, S: IntoSource>(
        &self,
        endpoint: impl Into<String>,
        sources: impl IntoIterator<Item = S>,
    ) -> UploadManyCall<'a, T> {
        let sources: Result<Vec<_>, Error> =
            sources.into_iter().map(IntoSource::into_source).collect();
        let many = sources.and_then(Many::new);
        Call::new(self.clone(), Target::Endpoint(endpoint.into()), many)
    }

    /// Sends what is missing to the upload at this URL. The source must be the one that it was begun
    /// with, from its first byte on, also if it is read as it comes: what the server has is passed over.
    pub fn append<'a>(&self, url: impl Into<String>) -> UploadCall<'a, T> {
        Call::new(self.clone(), Target::Upload(url.into()), ())
    }

    /// Asks what the server knows of the upload at this URL.
    pub fn inspect<'a>(&self, url: impl Into<String>) -> InspectCall<'a, T> {
        InspectCall::of(self.clone(), url)
    }

    /// Deletes the upload at this URL.
    pub fn terminate<'a>(&self, url: impl Into<String>) -> TerminateCall<'a, T> {
        TerminateCall::of(self.clone(), url)
    }

    /// Asks what the server at this endpoint offers.
    pub fn discover<'a>(&self, endpoint: impl Into<String>) -> DiscoverCall<'a, T> {
        DiscoverCall::of(self.clone(), endpoint)
    }

    /// Brings to the configuration what is remembered of this endpoint, or of the one that this upload
    /// lies under; whether there is anything.
    pub(crate) fn recall(&self, target: &Target, config: &mut Config) -> bool {
        let now = Instant::now();
        let is_of = |endpoint: &str| match target {
            // Below one there may be another, and another server behind it.
            Target::Endpoint(url) => url == endpoint,
            Target::Upload(url) => lies_under(url, endpoint),
        };
        let servers = self.servers();
        let known = servers
            .iter()
            .filter(|(endpoint, known)| now < known.until && is_of(endpoint))
            .max_by_key(|(endpoint, _)| endpoint.len());
        if let Some((_, known)) = known {
            config.server.clone_from(&known.server);
        }
        known.is_some()
    }

    /// Remembers what an endpoint said; an error: that it could not be asked.
    pub(crate) fn remember(&self, endpoint: &str, said: Result<Option<Capabilities>, ()>) {
        let now = Instant::now();
        let (server, long) = match said {
            Ok(server) => (server, ANSWERED),
            Err(()) => (None, UNANSWERED),
        };
        let mut servers = self.servers();
        servers.retain(|_, known| now < known.until);
        let until = now + long;
        servers.insert(endpoint.to_owned(), Known { server, until });
    }

    fn servers(&self) -> MutexGuard<'_, Servers> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether this URL is the endpoint, or one of those that it makes.
fn lies_under(url: &str, endpoint: &str) -> bool {
    url.strip_prefix(endpoint).is_some_and(|rest| {
        rest.is_empty() || endpoint.ends_with('/') || rest.starts_with(['/', '?'])
    })
}

/// Gives an adapter's own `Client` the methods of a [`ClientOver`], which is its field `client`:
/// `tus_driver::client_methods!(Client, Blocking);`.
#[macro_export]
macro_rules! client_methods {
    ($client:ty, $kind:ty) => {
        impl $client {
            /// Creates an upload at this endpoint, then sends it.
            pub fn upload<'a>(&self, endpoint: impl Into<String>) -> $crate::UploadCall<'a, $kind> {
                self.client.upload(endpoint)
            }

            /// Uploads several sources, each as a part, and joins them in their order to one upload at
            /// this endpoint.
            pub fn upload_many<'a, S: $crate::IntoSource>(
                &self,
                endpoint: impl Into<String>,
                sources: impl IntoIterator<Item = S>,
            ) -> $crate::UploadManyCall<'a, $kind> {
                self.client.upload_many(endpoint, sources)
            }

            /// Sends what is missing to the upload at this URL. The source must be the one that it was
            /// begun with, from its first byte on: what the server has is passed over.
            pub fn append<'a>(&self, url: impl Into<String>) -> $crate::UploadCall<'a, $kind> {
                self.client.append(url)
            }

            /// Asks what the server knows of the upload at this URL.
            pub fn inspect<'a>(&self, url: impl Into<String>) -> $crate::InspectCall<'a, $kind> {
                self.client.inspect(url)
            }

            /// Deletes the upload at this URL.
            pub fn terminate<'a>(
                &self,
                url: impl Into<String>,
            ) -> $crate::TerminateCall<'a, $kind> {
                self.client.terminate(url)
            }

            /// Asks what the server at this endpoint offers.
            pub fn discover<'a>(
                &self,
                endpoint: impl Into<String>,
            ) -> $crate::DiscoverCall<'a, $kind> {
                self.client.discover(endpoint)
            }
        }
    };
}

impl<T> fmt::Debug for ClientOver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_lies_under_its_endpoint() {
        let endpoint = "https://h.test/files";
        for url in ["", "/", "/1", "/a/b", "?key=1"] {
            assert!(lies_under(&format!("{endpoint}{url}"), endpoint), "{url}");
        }
        assert!(lies_under(
            "https://h.test/files/1",
            "https://h.test/files/"
        ));
        for (url, endpoint) in [
            ("https://h.test/files-big/", endpoint),
            ("https://h.test.evil/1", "https://h.test"),
            ("https://h.test/", endpoint),
        ] {
            assert!(!lies_under(url, endpoint), "{url}");
        }
    }
}
