//! What callers ask for, over whatever transport.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tus_proto::{
    Algorithm, Authorize, Body, Capabilities, Checkpoint, Config, Date, Discover, Event, Inspect,
    Inspected, Machine, Misuse, Op, Parallel, Terminate, Terminated, Terms, Upload, Uploaded,
};

use crate::run::{Challenge, Options, run};
use crate::{
    ALGORITHMS, Canceller, Client, Entry, Error, IntoSource, Many, Source, Store, StoreError,
};

/// Something that is about to be done; adapters make it. `K` is what.
#[must_use = "nothing is sent before `send`"]
pub struct Call<'a, K> {
    client: Client,
    target: Target,
    config: Config,
    wrong: Option<Error>,
    options: Options<'a>,
    kind: K,
}

/// An upload, about to be made: `client.upload(endpoint)`, `client.append(url)`.
pub type UploadCall<'a> = Call<'a, Uploading<()>>;
/// An upload of several sources, about to be made: `client.upload_many(endpoint, sources)`.
pub type UploadManyCall<'a> = Call<'a, Uploading<Result<Many, Error>>>;
/// A question for what the server knows of an upload: `client.inspect(url)`.
pub type InspectCall<'a> = Call<'a, Inspecting>;
/// The deletion of an upload: `client.terminate(url)`.
pub type TerminateCall<'a> = Call<'a, Terminating>;
/// A question for what a server offers: `client.discover(endpoint)`.
pub type DiscoverCall<'a> = Call<'a, Discovering>;

/// Makes a [`Call`] an upload, of the source `S`.
#[derive(Debug)]
pub struct Uploading<S> {
    source: S,
    store: Option<Store>,
    fresh: bool,
    parts: Option<usize>,
}

/// Makes a [`Call`] a question for what the server knows of an upload.
#[derive(Debug, Default)]
pub struct Inspecting(());

/// Makes a [`Call`] the deletion of an upload.
#[derive(Debug, Default)]
pub struct Terminating(());

/// Makes a [`Call`] a question for what a server offers.
#[derive(Debug, Default)]
pub struct Discovering(());

/// What a call begins with.
#[derive(Debug)]
pub(crate) enum Target {
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
}

impl<'a, K> Call<'a, K> {
    fn begin(client: Client, target: Target, kind: K) -> Self {
        Self {
            client,
            target,
            config: Config::default(),
            wrong: None,
            options: Options::default(),
            kind,
        }
    }

    /// Adds a header to every request to the origin of the URL, and to no other.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        HeaderName: TryFrom<N, Error: Into<http::Error>>,
        HeaderValue: TryFrom<V, Error: Into<http::Error>>,
    {
        let name = HeaderName::try_from(name).map_err(Into::into);
        let value = HeaderValue::try_from(value).map_err(Into::into);
        match name.and_then(|name| Ok((name, value?))) {
            Ok((name, value)) => {
                self.config.headers.append(name, value);
            }
            Err(error) => {
                self.wrong.get_or_insert(Error::Header(error));
            }
        }
        self
    }

    /// Changes any other setting of the machine.
    pub fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Is told of each event, on the thread that calls `send`.
    pub fn on_event(mut self, on_event: impl FnMut(&Event) + 'a) -> Self {
        self.options.on_event = Some(Box::new(on_event));
        self
    }

    /// Sees each request that goes to the caller's own origin, or one that the caller trusts, before
    /// it goes out, and may change its headers: add a signature, a trace. What the protocol owns of it
    /// is put back afterwards. It runs on the thread that calls `send`.
    pub fn on_request(mut self, on_request: impl FnMut(&mut Request<Body>, &Terms) + 'a) -> Self {
        self.options.on_request = Some(Box::new(on_request));
        self
    }

    /// Sees each answer, and what it answers, on the thread that calls `send`.
    pub fn on_response(mut self, on_response: impl FnMut(&Response<Bytes>, Op) + 'a) -> Self {
        self.options.on_response = Some(Box::new(on_response));
        self
    }

    /// Is asked for fresh credentials when the server answers 401 (or as
    /// [`Config::authorize`] says): headers for the origin that asks, from then on. `None`: there are
    /// none, and the refusal stands. Other parts go on meanwhile.
    pub fn authorize(
        mut self,
        authorize: impl FnMut(&Challenge) -> Option<HeaderMap> + 'a,
    ) -> Self {
        if matches!(self.config.authorize, Authorize::Never) {
            self.config.authorize = Authorize::OnUnauthorized;
        }
        self.options.authorize = Some(Box::new(authorize));
        self
    }

    /// Ends the call when this canceller is used.
    pub fn canceller(mut self, canceller: Canceller) -> Self {
        self.options.canceller = Some(canceller);
        self
    }

    fn run<M: Machine>(
        &mut self,
        machine: M,
        source: &Arc<dyn Source>,
    ) -> Result<M::Success, Error> {
        run(machine, &self.client.transport, source, &mut self.options)
    }

    /// Drives a machine that needs no source.
    fn ask<M: Machine>(&mut self, machine: M) -> Result<M::Success, Error> {
        let nothing: Arc<dyn Source> = Arc::new(Bytes::new());
        self.run(machine, &nothing)
    }

    /// What the builder was given wrong; else what only now is known.
    fn check(&mut self) -> Result<(), Error> {
        if let Some(wrong) = self.wrong.take() {
            return Err(wrong);
        }
        let config = &mut self.config;
        let unknown = |algorithm: &&Algorithm| !ALGORITHMS.contains(algorithm);
        if let Some(algorithm) = config.checksums.iter().find(unknown) {
            return Err(Error::Checksum(algorithm.clone()));
        }
        if config.seed == 0 {
            // One of its own for every call, unless the caller chose one.
            config.seed = RandomState::new().build_hasher().finish();
        }
        if config.wall_clock.is_none() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).ok();
            config.wall_clock = now.map(|now| Date::from_unix_seconds(now.as_secs()));
        }
        config.trailers |= self.client.transport.sends_trailers();
        Ok(())
    }

    /// Brings to the configuration what the server offers, where that is known, or can change what is
    /// sent. If it cannot be had, the call goes on without it.
    fn discover(&mut self, op: Op, length: Option<u64>) -> Result<(), Error> {
        let url = self.target.url().to_owned();
        let known = self.config.server.is_some() || self.client.recall(&url, &mut self.config);
        if known || !Discover::pays(&self.config, op, length) {
            return Ok(());
        }
        let machine = Discover::before_upload(&url, &self.config)?;
        let said = self.ask(machine);
        if let Err(error) = &said {
            tracing::debug!(%error, "what the server offers is not known");
        }
        if let (Target::Endpoint(endpoint), false) = (&self.target, is_cancelled(&said)) {
            let said = said.as_ref().map(Clone::clone).map_err(|_| ());
            self.client.remember(endpoint, said);
        }
        self.config.server = said.unwrap_or_default();
        Ok(())
    }
}

fn is_cancelled<T>(result: &Result<T, Error>) -> bool {
    matches!(
        result,
        Err(Error::Upload(tus_proto::Error::Cancelled { .. }))
    )
}

impl<S> Call<'_, Uploading<S>> {
    pub(crate) fn new(client: Client, target: Target, source: S) -> Self {
        let uploading = Uploading {
            source,
            store: None,
            fresh: false,
            parts: None,
        };
        Self::begin(client, target, uploading)
    }

    /// Adds a pair of metadata, such as `filename`. It is set when the upload is created, and
    /// cannot be changed later.
    pub fn metadata(mut self, key: impl Into<String>, value: impl AsRef<[u8]>) -> Self {
        if let Err(error) = self.config.metadata.insert(key, value) {
            self.wrong.get_or_insert(Error::Misuse(error.into()));
        }
        self
    }

    /// Keeps the upload's checkpoint in this store, and goes on from the one that is there, if the
    /// file is still the same; if it is not, the upload ends with
    /// [`SourceChanged`](tus_proto::Error::SourceChanged) before any request.
    ///
    /// The source must have a name: [`FileSource::open`](crate::FileSource::open).
    pub fn resume_from(mut self, store: Store) -> Self {
        self.kind.store = Some(store);
        self
    }

    /// Forgets what an earlier run left in the store, and begins anew.
    pub fn fresh(mut self) -> Self {
        self.kind.fresh = true;
        self
    }

    fn upload(mut self, source: &Arc<dyn Source>) -> Result<Uploaded, Error> {
        self.check()?;
        if self.config.identity.is_none() {
            self.config.identity = source.identity().map(str::to_owned);
        }
        let mut checkpoint = None;
        if let Some(store) = &self.kind.store {
            let name = source.name().ok_or(Error::Unnamed)?;
            let entry = store.entry_named(&name, self.target.url())?;
            if !self.kind.fresh {
                checkpoint = entry.load()?;
            }
            self.options.entry = Some(entry);
        }
        let lengths = self.lengths(&**source)?;
        let op = match (&self.target, &checkpoint, &lengths) {
            (Target::Upload(_), ..) | (_, Some(_), _) => Op::Append,
            (_, None, Some(_)) => Op::Concatenate,
            (_, None, None) => Op::Create,
        };
        self.discover(op, source.length())?;
        match checkpoint {
            Some(checkpoint) => self.resume(checkpoint, source),
            None => self.begin_anew(source, lengths),
        }
    }

    /// The lengths of the parts, if it is to be in parts.
    fn lengths(&self, source: &dyn Source) -> Result<Option<Vec<u64>>, Error> {
        let parts = source.parts().filter(|parts| parts.len() != 1);
        let why = match (&self.target, source.length(), self.kind.parts) {
            (_, _, None) => return Ok(parts),
            (_, _, Some(0)) => return Err(Misuse::Parts.into()),
            (Target::Upload(_), ..) => "the upload exists already",
            (_, None, _) => "the length of its source is not known",
            (Target::Endpoint(_), Some(_), Some(_)) if parts.is_some() => {
                "each of its sources is a part already"
            }
            (Target::Endpoint(_), Some(length), Some(wanted)) => {
                return Ok(self.config.parts.cut(length, wanted));
            }
        };
        Err(Misuse::Uncuttable(why).into())
    }

    fn resume(
        mut self,
        checkpoint: Checkpoint,
        source: &Arc<dyn Source>,
    ) -> Result<Uploaded, Error> {
        let url = self.target.url();
        let mistaken = |misuse| match (misuse, &self.options.entry) {
            (Misuse::Checkpoint, Some(entry)) => {
                Error::Store(StoreError::Mistaken { path: entry.path() })
            }
            (misuse, _) => Error::Misuse(misuse),
        };
        tracing::debug!(checkpoint = ?checkpoint, "resuming");
        if checkpoint.in_parts() {
            let length = source.length().unwrap_or(0);
            let machine = Parallel::resume(url, checkpoint, length, &self.config);
            let machine = machine.map_err(mistaken)?;
            self.run(machine, source)
        } else {
            let machine = Upload::resume(url, checkpoint, source.length(), &self.config);
            let machine = machine.map_err(mistaken)?;
            self.run(machine, source)
        }
    }

    fn begin_anew(
        mut self,
        source: &Arc<dyn Source>,
        lengths: Option<Vec<u64>>,
    ) -> Result<Uploaded, Error> {
        match (&self.target, lengths) {
            (Target::Endpoint(endpoint), Some(lengths)) => {
                let machine = Parallel::join(endpoint, &lengths, &self.config)?;
                self.forget()?;
                self.run(machine, source)
            }
            (Target::Endpoint(endpoint), None) => {
                let machine = Upload::create(endpoint, source.length(), &self.config)?;
                self.forget()?;
                self.run(machine, source)
            }
            (Target::Upload(url), _) => {
                let machine = Upload::append(url, source.length(), &self.config)?;
                self.forget()?;
                self.run(machine, source)
            }
        }
    }

    /// Only once it is known that it can begin, for what cannot must not end what was there.
    fn forget(&self) -> Result<(), Error> {
        match &self.options.entry {
            Some(entry) if self.kind.fresh => Ok(Entry::forget(entry)?),
            _ => Ok(()),
        }
    }
}

impl UploadCall<'_> {
    /// Uploads the source in so many parts at the same time, which are joined at the end
    /// ([Concatenation](https://tus.io/protocols/resumable-upload#concatenation)); in fewer, where they
    /// would be shorter than [`Parts::least`](tus_proto::Parts::least). An upload that goes on from a
    /// checkpoint has the parts that it had.
    pub fn parallel(mut self, parts: usize) -> Self {
        self.kind.parts = Some(parts);
        self
    }

    /// Uploads this source, and returns when the server has every byte.
    ///
    /// # Errors
    ///
    /// Where the server, the source, the store or the caller ends it.
    pub fn send(self, source: impl IntoSource) -> Result<Uploaded, Error> {
        let source = source.into_source()?;
        self.upload(&source)
    }
}

impl UploadManyCall<'_> {
    /// Uploads the sources, and returns when the server has joined them.
    ///
    /// # Errors
    ///
    /// Where the server, a source, the store or the caller ends it.
    pub fn send(mut self) -> Result<Uploaded, Error> {
        let sources = std::mem::replace(&mut self.kind.source, Err(Error::Unnamed));
        let source: Arc<dyn Source> = Arc::new(sources?);
        self.upload(&source)
    }
}

impl InspectCall<'_> {
    pub(crate) fn of(client: Client, url: impl Into<String>) -> Self {
        Self::begin(client, Target::Upload(url.into()), Inspecting(()))
    }

    /// Asks, and returns the answer.
    ///
    /// # Errors
    ///
    /// Where the server or the caller ends it.
    pub fn send(mut self) -> Result<Inspected, Error> {
        self.check()?;
        let machine = Inspect::new(self.target.url(), &self.config)?;
        self.ask(machine)
    }
}

impl TerminateCall<'_> {
    pub(crate) fn of(client: Client, url: impl Into<String>) -> Self {
        Self::begin(client, Target::Upload(url.into()), Terminating(()))
    }

    /// Deletes it, and returns when the server does not have it.
    ///
    /// # Errors
    ///
    /// Where the server or the caller ends it.
    pub fn send(mut self) -> Result<Terminated, Error> {
        self.check()?;
        self.discover(Op::Terminate, None)?;
        let machine = Terminate::new(self.target.url(), &self.config)?;
        self.ask(machine)
    }
}

impl DiscoverCall<'_> {
    pub(crate) fn of(client: Client, endpoint: impl Into<String>) -> Self {
        Self::begin(client, Target::Endpoint(endpoint.into()), Discovering(()))
    }

    /// Asks, and returns the answer; `None` where whoever answers does not say.
    ///
    /// # Errors
    ///
    /// Where the server or the caller ends it.
    pub fn send(mut self) -> Result<Option<Capabilities>, Error> {
        self.check()?;
        let machine = Discover::new(self.target.url(), &self.config)?;
        let server = self.ask(machine)?;
        self.client.remember(self.target.url(), Ok(server.clone()));
        Ok(server)
    }
}

impl<K> fmt::Debug for Call<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("config", &self.config)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
