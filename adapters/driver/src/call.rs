//! What callers ask for, over whatever transport.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use tus_proto::{Config, Event, Inspect, Inspected, Misuse, Upload, Uploaded};

use crate::run::{OnEvent, Options, run};
use crate::{Canceller, Error, IntoSource, Store, StoreError, Transport};

/// One upload, about to be made. Adapters make it: `client.upload(endpoint)`.
#[must_use = "nothing is sent before `send`"]
pub struct UploadCall<'a> {
    transport: Arc<dyn Transport>,
    target: Target,
    config: Config,
    wrong: Option<Error>,
    on_event: Option<OnEvent<'a>>,
    canceller: Option<Canceller>,
    store: Option<Store>,
    fresh: bool,
}

enum Target {
    /// An endpoint, where uploads are created.
    Endpoint(String),
    /// An upload that exists.
    Upload(String),
}

impl Target {
    fn url(&self) -> &str {
        match self {
            Self::Endpoint(url) | Self::Upload(url) => url,
        }
    }

    fn machine(&self, length: u64, config: &Config) -> Result<Upload, Misuse> {
        match self {
            Self::Endpoint(url) => Upload::create(url, length, config),
            Self::Upload(url) => Upload::append(url, length, config),
        }
    }
}

impl<'a> UploadCall<'a> {
    /// Creates an upload at this endpoint, then sends it.
    pub fn create(transport: Arc<dyn Transport>, endpoint: impl Into<String>) -> Self {
        Self::new(transport, Target::Endpoint(endpoint.into()))
    }

    /// Sends what is missing to the upload at this URL.
    pub fn append(transport: Arc<dyn Transport>, url: impl Into<String>) -> Self {
        Self::new(transport, Target::Upload(url.into()))
    }

    fn new(transport: Arc<dyn Transport>, target: Target) -> Self {
        Self {
            transport,
            target,
            config: Config::default(),
            wrong: None,
            on_event: None,
            canceller: None,
            store: None,
            fresh: false,
        }
    }

    /// Adds a pair of metadata, such as `filename`. It is set when the upload is created, and
    /// cannot be changed later.
    pub fn metadata(mut self, key: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        if let Err(error) = self.config.metadata.insert(key, value) {
            self.wrong.get_or_insert(Error::Misuse(error.into()));
        }
        self
    }

    /// Adds a header to every request to the origin of the endpoint, and to no other.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        HeaderName: TryFrom<N, Error: Into<http::Error>>,
        HeaderValue: TryFrom<V, Error: Into<http::Error>>,
    {
        add_header(&mut self.config, &mut self.wrong, name, value);
        self
    }

    /// Changes any other setting of the upload's machine.
    pub fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Is told of each event, on the thread that calls [`send`](Self::send).
    pub fn on_event(mut self, on_event: impl FnMut(&Event) + 'a) -> Self {
        self.on_event = Some(Box::new(on_event));
        self
    }

    /// Ends the upload when this canceller is used.
    pub fn canceller(mut self, canceller: Canceller) -> Self {
        self.canceller = Some(canceller);
        self
    }

    /// Keeps the upload's checkpoint in this store, and goes on from the one that is there, if the
    /// file is still the same; if it is not, the upload ends with
    /// [`SourceChanged`](tus_proto::Error::SourceChanged) before any request.
    ///
    /// The source must have a path: [`FileSource::open`](crate::FileSource::open).
    pub fn resume_from(mut self, store: Store) -> Self {
        self.store = Some(store);
        self
    }

    /// Forgets what an earlier run left in the store, and begins anew.
    pub fn fresh(mut self) -> Self {
        self.fresh = true;
        self
    }

    /// Uploads this source, and returns when the server has every byte.
    ///
    /// # Errors
    ///
    /// Where the server, the source, the store or the caller ends it.
    pub fn send(mut self, source: impl IntoSource) -> Result<Uploaded, Error> {
        if let Some(wrong) = self.wrong.take() {
            return Err(wrong);
        }
        let source = source.into_source()?;
        let mut config = self.config;
        if config.identity.is_none() {
            config.identity = source.identity().map(str::to_owned);
        }
        sow(&mut config);
        let mut checkpoint = None;
        let entry = match &self.store {
            None => None,
            Some(store) => {
                let path = source.path().ok_or(Error::Unnamed)?;
                let entry = store.entry(path, self.target.url())?;
                if !self.fresh {
                    checkpoint = entry.load()?;
                }
                Some(entry)
            }
        };
        let machine = match (checkpoint, &entry) {
            (Some(checkpoint), Some(entry)) => {
                tracing::debug!(url = %checkpoint.url(), "resuming");
                Upload::resume(self.target.url(), checkpoint, source.len(), &config).map_err(
                    |misuse| match misuse {
                        Misuse::Checkpoint => StoreError::Mistaken { path: entry.path() }.into(),
                        misuse => Error::from(misuse),
                    },
                )?
            }
            (_, entry) => {
                let machine = self.target.machine(source.len(), &config)?;
                // Only now, for what cannot begin must not end what was there.
                if let (true, Some(entry)) = (self.fresh, entry) {
                    entry.forget()?;
                }
                machine
            }
        };
        let options = Options {
            on_event: self.on_event,
            entry,
            canceller: self.canceller,
        };
        run(machine, self.transport, source, options)
    }
}

impl fmt::Debug for UploadCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadCall")
            .field("config", &self.config)
            .field("store", &self.store)
            .field("fresh", &self.fresh)
            .finish_non_exhaustive()
    }
}

/// A question for what the server knows of an upload, about to be asked. Adapters make it:
/// `client.inspect(url)`.
#[must_use = "nothing is sent before `send`"]
pub struct InspectCall<'a> {
    transport: Arc<dyn Transport>,
    url: String,
    config: Config,
    wrong: Option<Error>,
    on_event: Option<OnEvent<'a>>,
    canceller: Option<Canceller>,
}

impl<'a> InspectCall<'a> {
    /// Asks the server at this upload's URL.
    pub fn new(transport: Arc<dyn Transport>, url: impl Into<String>) -> Self {
        Self {
            transport,
            url: url.into(),
            config: Config::default(),
            wrong: None,
            on_event: None,
            canceller: None,
        }
    }

    /// Adds a header to every request to the origin of the URL, and to no other.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        HeaderName: TryFrom<N, Error: Into<http::Error>>,
        HeaderValue: TryFrom<V, Error: Into<http::Error>>,
    {
        add_header(&mut self.config, &mut self.wrong, name, value);
        self
    }

    /// Changes any other setting of the machine.
    pub fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Is told of each event, on the thread that calls [`send`](Self::send).
    pub fn on_event(mut self, on_event: impl FnMut(&Event) + 'a) -> Self {
        self.on_event = Some(Box::new(on_event));
        self
    }

    /// Ends the call when this canceller is used.
    pub fn canceller(mut self, canceller: Canceller) -> Self {
        self.canceller = Some(canceller);
        self
    }

    /// Asks, and returns the answer.
    ///
    /// # Errors
    ///
    /// Where the server or the caller ends it.
    pub fn send(mut self) -> Result<Inspected, Error> {
        if let Some(wrong) = self.wrong.take() {
            return Err(wrong);
        }
        sow(&mut self.config);
        let machine = Inspect::new(&self.url, &self.config)?;
        let options = Options {
            on_event: self.on_event,
            entry: None,
            canceller: self.canceller,
        };
        run(machine, self.transport, Arc::new(Bytes::new()), options)
    }
}

impl fmt::Debug for InspectCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InspectCall")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

fn add_header<N, V>(config: &mut Config, wrong: &mut Option<Error>, name: N, value: V)
where
    HeaderName: TryFrom<N, Error: Into<http::Error>>,
    HeaderValue: TryFrom<V, Error: Into<http::Error>>,
{
    let name = HeaderName::try_from(name).map_err(Into::into);
    let value = HeaderValue::try_from(value).map_err(Into::into);
    match name.and_then(|name| Ok((name, value?))) {
        Ok((name, value)) => {
            config.headers.append(name, value);
        }
        Err(error) => {
            wrong.get_or_insert(Error::Header(error));
        }
    }
}

/// A seed of its own for every upload, unless the caller chose one.
fn sow(config: &mut Config) {
    if config.seed == 0 {
        config.seed = RandomState::new().build_hasher().finish();
    }
}
