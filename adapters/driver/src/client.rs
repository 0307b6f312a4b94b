//! What there is to do over a transport.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tus_proto::Capabilities;

use crate::call::{DiscoverCall, InspectCall, Target, TerminateCall, UploadCall, UploadManyCall};
use crate::{Error, IntoSource, Many, Transport};

/// What there is to do over a transport: upload, inspect, delete. Each adapter has one of its own,
/// with the same names.
///
/// It remembers what each endpoint offers, and asks only where that changes what is sent. Clones
/// remember the same.
#[derive(Clone)]
pub struct Client {
    pub(crate) transport: Arc<dyn Transport>,
    servers: Arc<Mutex<Servers>>,
}

/// What each endpoint said that it offers; `None`: it does not say.
type Servers = HashMap<String, Option<Capabilities>>;

impl Client {
    /// One over this transport.
    pub fn new(transport: impl Transport) -> Self {
        Self::over(Arc::new(transport))
    }

    /// One over this transport, which others may use as well.
    pub fn over(transport: Arc<dyn Transport>) -> Self {
        Self {
            transport,
            servers: Arc::default(),
        }
    }

    /// Creates an upload at this endpoint, then sends it.
    pub fn upload<'a>(&self, endpoint: impl Into<String>) -> UploadCall<'a> {
        UploadCall::new(self.clone(), Target::Endpoint(endpoint.into()), ())
    }

    /// Uploads several sources, each as a part, and joins them in their order to one upload at this
    /// endpoint ([Concatenation](https://tus.io/protocols/resumable-upload#concatenation)).
    pub fn upload_many<'a, S: IntoSource>(
        &self,
        endpoint: impl Into<String>,
        sources: impl IntoIterator<Item = S>,
    ) -> UploadManyCall<'a> {
        let sources: Result<Vec<_>, Error> =
            sources.into_iter().map(IntoSource::into_source).collect();
        let many = sources.and_then(Many::new);
        UploadManyCall::new(self.clone(), Target::Endpoint(endpoint.into()), many)
    }

    /// Sends what is missing to the upload at this URL.
    pub fn append<'a>(&self, url: impl Into<String>) -> UploadCall<'a> {
        UploadCall::new(self.clone(), Target::Upload(url.into()), ())
    }

    /// Asks what the server knows of the upload at this URL.
    pub fn inspect<'a>(&self, url: impl Into<String>) -> InspectCall<'a> {
        InspectCall::of(self.clone(), url)
    }

    /// Deletes the upload at this URL.
    pub fn terminate<'a>(&self, url: impl Into<String>) -> TerminateCall<'a> {
        TerminateCall::of(self.clone(), url)
    }

    /// Asks what the server at this endpoint offers.
    pub fn discover<'a>(&self, endpoint: impl Into<String>) -> DiscoverCall<'a> {
        DiscoverCall::of(self.clone(), endpoint)
    }

    /// What is remembered of an endpoint, if it was asked.
    pub(crate) fn known(&self, endpoint: &str) -> Option<Option<Capabilities>> {
        self.servers().get(endpoint).cloned()
    }

    pub(crate) fn remember(&self, endpoint: &str, server: Option<Capabilities>) {
        self.servers().insert(endpoint.to_owned(), server);
    }

    fn servers(&self) -> MutexGuard<'_, Servers> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}
