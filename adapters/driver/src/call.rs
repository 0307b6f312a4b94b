//! What callers ask for, over whatever transport.

#![expect(private_bounds, reason = "only methods that are private have them")]

use std::collections::hash_map::RandomState;
use std::fmt;
use std::future::ready;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tus_proto::{
    Algorithm, Authorize, Body, Capabilities, Checkpoint, Config, Date, Discover, Event, Inspect,
    Inspected, Machine, Misuse, Op, Parallel, Terminate, Terminated, Terms, Upload, Uploaded,
};

#[cfg(feature = "async")]
use crate::Async;
use crate::run::{Challenge, OnChallenge, Options};
use crate::stack::Stack;
use crate::threads::now;
use crate::{
    ALGORITHMS, Blocking, Canceller, ClientOver, Entry, Error, IntoSource, Many, Source, Store,
    StoreError,
};

/// Something that is about to be done; adapters make it. `K` is what, `T` the kind of transport.
#[must_use = "nothing is sent before `send`"]
pub struct Call<'a, K, T = Blocking> {
    client: ClientOver<T>,
    target: Target,
    config: Config,
    wrong: Option<Error>,
    options: Options<'a>,
    kind: K,
}

/// An upload, about to be made: `client.upload(endpoint)`, `client.append(url)`.
pub type UploadCall<'a, T = Blocking> = Call<'a, Uploading<()>, T>;
/// An upload of several sources, about to be made: `client.upload_many(endpoint, sources)`.
pub type UploadManyCall<'a, T = Blocking> = Call<'a, Uploading<Result<Many, Error>>, T>;
/// A question for what the server knows of an upload: `client.inspect(url)`.
pub type InspectCall<'a, T = Blocking> = Call<'a, Inspecting, T>;
/// The deletion of an upload: `client.terminate(url)`.
pub type TerminateCall<'a, T = Blocking> = Call<'a, Terminating, T>;
/// A question for what a server offers: `client.discover(endpoint)`.
pub type DiscoverCall<'a, T = Blocking> = Call<'a, Discovering, T>;

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

impl<'a, K, T> Call<'a, K, T> {
    fn begin(client: ClientOver<T>, target: Target, kind: K) -> Self {
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

    /// Is told of each event, on the thread, or in the task, of `send`.
    pub fn on_event(mut self, on_event: impl FnMut(&Event) + Send + 'a) -> Self {
        self.options.on_event = Some(Box::new(on_event));
        self
    }

    /// Sees each request that goes to the caller's own origin, or one that the caller trusts, before
    /// it goes out, and may change its headers: add a signature, a trace. What the protocol owns of it
    /// is put back afterwards. It runs on the thread, or in the task, of `send`.
    pub fn on_request(
        mut self,
        on_request: impl FnMut(&mut Request<Body>, &Terms) + Send + 'a,
    ) -> Self {
        self.options.on_request = Some(Box::new(on_request));
        self
    }

    /// Sees each answer, and what it answers, on the thread, or in the task, of `send`.
    pub fn on_response(
        mut self,
        on_response: impl FnMut(&Response<Bytes>, Op) + Send + 'a,
    ) -> Self {
        self.options.on_response = Some(Box::new(on_response));
        self
    }

    /// Ends the call when this canceller is used.
    pub fn canceller(mut self, canceller: Canceller) -> Self {
        self.options.canceller = Some(canceller);
        self
    }

    /// Takes what gives credentials.
    fn asking(mut self, authorize: OnChallenge<'a>) -> Self {
        if matches!(self.config.authorize, Authorize::Never) {
            self.config.authorize = Authorize::OnUnauthorized;
        }
        self.options.authorize = Some(authorize);
        self
    }
}

impl<'a, K> Call<'a, K> {
    /// Is asked for fresh credentials when the server answers 401 (or as
    /// [`Config::authorize`] says): headers for the origin that asks, from then on. `None`: there are
    /// none, and the refusal stands. Other parts go on meanwhile.
    pub fn authorize(
        self,
        mut authorize: impl FnMut(&Challenge) -> Option<HeaderMap> + Send + 'a,
    ) -> Self {
        self.asking(Box::new(move |challenge| {
            Box::pin(ready(authorize(&challenge)))
        }))
    }
}

#[cfg(feature = "async")]
impl<'a, K> Call<'a, K, Async> {
    /// Is asked for fresh credentials when the server answers 401 (or as
    /// [`Config::authorize`] says): headers for the origin that asks, from then on. `None`: there are
    /// none, and the refusal stands. Other parts go on meanwhile.
    pub fn authorize<F>(self, mut authorize: impl FnMut(Challenge) -> F + Send + 'a) -> Self
    where
        F: Future<Output = Option<HeaderMap>> + Send + 'static,
    {
        self.asking(Box::new(move |challenge| Box::pin(authorize(challenge))))
    }
}

impl<K, T: Stack> Call<'_, K, T> {
    async fn run<M: Machine<Success: Send> + Send>(
        &mut self,
        machine: M,
        source: &Arc<dyn Source>,
    ) -> Result<M::Success, Error> {
        let stack = &self.client.stack;
        stack.run(machine, source, &mut self.options).await
    }

    /// Drives a machine that needs no source.
    async fn ask<M: Machine<Success: Send> + Send>(
        &mut self,
        machine: M,
    ) -> Result<M::Success, Error> {
        let nothing: Arc<dyn Source> = Arc::new(Bytes::new());
        self.run(machine, &nothing).await
    }

    /// Does this with the entry where waiting is allowed, if there is one.
    async fn at_entry<R: Send + 'static>(
        &mut self,
        work: impl FnOnce(&Entry) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<Option<R>, Error> {
        let Some(entry) = self.options.entry.clone() else {
            return Ok(None);
        };
        let done = self.client.stack.apart(move || work(&entry)).await;
        Ok(Some(done.ok_or(Error::Stuck)??))
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
        config.trailers |= self.client.stack.has_trailers();
        Ok(())
    }

    /// Brings to the configuration what the server offers, where that is known, or can change what is
    /// sent. If it cannot be had, the call goes on without it.
    async fn discover(&mut self, op: Op, length: Option<u64>) -> Result<(), Error> {
        let known =
            self.config.server.is_some() || self.client.recall(&self.target, &mut self.config);
        if known || !Discover::pays(&self.config, op, length) {
            return Ok(());
        }
        let machine = Discover::before_upload(self.target.url(), &self.config)?;
        let said = self.ask(machine).await;
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

impl<S, T> Call<'_, Uploading<S>, T> {
    pub(crate) fn new(client: ClientOver<T>, target: Target, source: S) -> Self {
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
    /// [`SourceChanged`](tus_proto::Error::SourceChanged) before any request but OPTIONS.
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
}

impl<S, T: Stack> Call<'_, Uploading<S>, T> {
    async fn upload(mut self, source: Arc<dyn Source>) -> Result<Uploaded, Error> {
        self.check()?;
        if !self.client.stack.reads(&*source) {
            let words = "it is read in a task: use a client whose calls are futures";
            return Err(Error::Source {
                path: None,
                source: io::Error::new(io::ErrorKind::Unsupported, words),
            });
        }
        if self.config.identity.is_none() {
            self.config.identity = source.identity().map(str::to_owned);
        }
        let mut checkpoint = None;
        if let Some(store) = self.kind.store.take() {
            let name = source.name().ok_or(Error::Unnamed)?;
            let url = self.target.url().to_owned();
            let entry = move || store.entry_named(&name, &url);
            let entry = self.client.stack.apart(entry).await;
            self.options.entry = Some(Arc::new(entry.ok_or(Error::Stuck)??));
            if !self.kind.fresh {
                checkpoint = self.at_entry(Entry::load).await?.flatten();
            }
        }
        self.config.stream = source.is_stream();
        let lengths = self.lengths(&*source)?;
        let op = match (&self.target, &checkpoint, &lengths) {
            (Target::Upload(_), ..) | (_, Some(_), _) => Op::Append,
            (_, None, Some(_)) => Op::Concatenate,
            (_, None, None) => Op::Create,
        };
        self.discover(op, source.length()).await?;
        match checkpoint {
            Some(checkpoint) => self.resume(checkpoint, &source).await,
            None => self.begin_anew(&source, lengths).await,
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
            _ if source.is_stream() => "its source is read as it comes",
            (Target::Endpoint(_), Some(_), Some(_)) if parts.is_some() => {
                "each of its sources is a part already"
            }
            (Target::Endpoint(_), Some(length), Some(wanted)) => {
                return Ok(self.config.parts.cut(length, wanted));
            }
        };
        Err(Misuse::Uncuttable(why).into())
    }

    async fn resume(
        &mut self,
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
            self.run(machine, source).await
        } else {
            let machine = Upload::resume(url, checkpoint, source.length(), &self.config);
            let machine = machine.map_err(mistaken)?;
            self.run(machine, source).await
        }
    }

    async fn begin_anew(
        &mut self,
        source: &Arc<dyn Source>,
        lengths: Option<Vec<u64>>,
    ) -> Result<Uploaded, Error> {
        match (&self.target, lengths) {
            (Target::Endpoint(endpoint), Some(lengths)) => {
                let machine = Parallel::join(endpoint, &lengths, &self.config)?;
                self.forget().await?;
                self.run(machine, source).await
            }
            (Target::Endpoint(endpoint), None) => {
                let machine = Upload::create(endpoint, source.length(), &self.config)?;
                self.forget().await?;
                self.run(machine, source).await
            }
            (Target::Upload(url), _) => {
                let machine = Upload::append(url, source.length(), &self.config)?;
                self.forget().await?;
                self.run(machine, source).await
            }
        }
    }

    /// Only once it is known that it can begin, for what cannot must not end what was there.
    async fn forget(&mut self) -> Result<(), Error> {
        let canceller = self.options.canceller.as_ref();
        let begins = canceller.and_then(Canceller::cancelled).is_none();
        if self.kind.fresh && begins {
            self.at_entry(Entry::forget).await?;
        }
        Ok(())
    }
}

impl<T> UploadCall<'_, T> {
    /// Uploads the source in so many parts at the same time, which are joined at the end
    /// ([Concatenation](https://tus.io/protocols/resumable-upload#concatenation)); in fewer, where they
    /// would be shorter than [`Parts::least`](tus_proto::Parts::least). An upload that goes on from a
    /// checkpoint has the parts that it had.
    pub fn parallel(mut self, parts: usize) -> Self {
        self.kind.parts = Some(parts);
        self
    }
}

impl<T: Stack> UploadManyCall<'_, T> {
    async fn upload_all(mut self) -> Result<Uploaded, Error> {
        let sources = std::mem::replace(&mut self.kind.source, Err(Error::Unnamed));
        self.upload(Arc::new(sources?)).await
    }
}

impl<T> InspectCall<'_, T> {
    pub(crate) fn of(client: ClientOver<T>, url: impl Into<String>) -> Self {
        Self::begin(client, Target::Upload(url.into()), Inspecting(()))
    }
}

impl<T: Stack> InspectCall<'_, T> {
    async fn inspect(mut self) -> Result<Inspected, Error> {
        self.check()?;
        let machine = Inspect::new(self.target.url(), &self.config)?;
        self.ask(machine).await
    }
}

impl<T> TerminateCall<'_, T> {
    pub(crate) fn of(client: ClientOver<T>, url: impl Into<String>) -> Self {
        Self::begin(client, Target::Upload(url.into()), Terminating(()))
    }
}

impl<T: Stack> TerminateCall<'_, T> {
    async fn terminate(mut self) -> Result<Terminated, Error> {
        self.check()?;
        self.discover(Op::Terminate, None).await?;
        let machine = Terminate::new(self.target.url(), &self.config)?;
        self.ask(machine).await
    }
}

impl<T> DiscoverCall<'_, T> {
    pub(crate) fn of(client: ClientOver<T>, endpoint: impl Into<String>) -> Self {
        Self::begin(client, Target::Endpoint(endpoint.into()), Discovering(()))
    }
}

impl<T: Stack> DiscoverCall<'_, T> {
    async fn offers(mut self) -> Result<Option<Capabilities>, Error> {
        self.check()?;
        let machine = Discover::new(self.target.url(), &self.config)?;
        let server = self.ask(machine).await?;
        self.client.remember(self.target.url(), Ok(server.clone()));
        Ok(server)
    }
}

/// Over a blocking transport a call returns when it is done; over the other it is a future.
macro_rules! sends {
    ($($(#[$doc:meta])* $call:ident $(($source:ident))? => $success:ty, $this:ident: $work:expr;)*) => {$(
        impl $call<'_> {
            $(#[$doc])*
            ///
            /// # Errors
            ///
            /// Where the server, the source, the store or the caller ends it.
            pub fn send(self $(, $source: impl IntoSource)?) -> Result<$success, Error> {
                let $this = self;
                now($work)
            }
        }

        #[cfg(feature = "async")]
        impl $call<'_, Async> {
            $(#[$doc])*
            ///
            /// # Errors
            ///
            /// Where the server, the source, the store or the caller ends it.
            pub async fn send(self $(, $source: impl IntoSource)?) -> Result<$success, Error> {
                let $this = self;
                // A call is large, and its future has it more than once.
                Box::pin($work).await
            }
        }
    )*};
}

sends! {
    /// Uploads this source, and is done when the server has every byte.
    UploadCall(source) => Uploaded, call: call.upload(source.into_source()?);
    /// Uploads the sources, and is done when the server has joined them.
    UploadManyCall => Uploaded, call: call.upload_all();
    /// Asks, and gives the answer.
    InspectCall => Inspected, call: call.inspect();
    /// Deletes it, and is done when the server does not have it.
    TerminateCall => Terminated, call: call.terminate();
    /// Asks, and gives the answer; `None` where whoever answers does not say.
    DiscoverCall => Option<Capabilities>, call: call.offers();
}

impl<K, T> fmt::Debug for Call<'_, K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("config", &self.config)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "async"))]
mod tests {
    use crate::AsyncClient;

    // R10: a call may go to whatever thread a runtime has.
    #[test]
    fn calls_are_send() {
        fn is_send<T: Send + 'static>(_: fn(AsyncClient) -> T) {}
        is_send(|client| client.upload("").on_event(|_| ()).send("hello"));
        is_send(|client| client.upload_many("", ["a", "b"]).send());
        is_send(|client| client.inspect("").send());
        is_send(|client| client.terminate("").send());
        is_send(|client| client.discover("").send());
    }
}
