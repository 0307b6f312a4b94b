//! One request, retried until it is answered.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};

use crate::credentials::Refusal;
use crate::lane::{Lane, Loss, Phase, Story, judge};
use crate::line::{Flight, Line, Spent};
use crate::upload::begin;
use crate::verdict::{Asked, Verdict, may_be_done};
use crate::wire::date::Date;
use crate::wire::reference::{self, ReferenceError};
use crate::wire::request::{self, Creation};
use crate::wire::response;
use crate::{
    Authorize, Body, Cancel, Capabilities, Cause, Checkpoint, Config, Error, Event, Extension,
    FailureKind, Input, Machine, Metadata, MetadataError, Misuse, Op, Output, Place, Tick,
    UploadUrl, Violation,
};

/// How long an upload waits to hear what the server offers, at most.
const BEFORE_UPLOAD: Duration = Duration::from_secs(5);

/// Makes a machine of a call.
macro_rules! machine {
    ($name:ident, $success:ty) => {
        impl Machine for $name {
            type Success = $success;

            fn poll(&mut self, now: Tick) -> Output<$success> {
                self.0.poll(now)
            }

            fn handle(&mut self, now: Tick, input: Input) {
                self.0.handle(now, input);
            }

            fn checkpoint(&self) -> Option<Checkpoint> {
                self.0.checkpoint()
            }
        }
    };
}

/// A question for what a server offers: a [`Machine`] that ends with the answer, or with `None`
/// where whoever answers does not say.
///
/// See [OPTIONS](https://tus.io/protocols/resumable-upload#options). It needs no source.
#[derive(Debug)]
pub struct Discover(Lane<Call<Option<Capabilities>>>);

impl Discover {
    /// Asks the server at this endpoint.
    ///
    /// # Errors
    ///
    /// Where the URL or an option cannot be used.
    pub fn new(endpoint: &str, config: &Config) -> Result<Self, Misuse> {
        let (endpoint, line) = begin(endpoint, config)?;
        let request = request::options(&endpoint);
        let read = |_: &mut Line, _: &UploadUrl, _: &Flight, answer: &Response<Bytes>| {
            Ok(response::capabilities(answer.headers()))
        };
        Call::lane(
            line,
            Op::Discover,
            endpoint,
            request,
            read,
            |_, _| Ok(None),
            config,
        )
        .map(Self)
    }

    /// The same before an upload that can do without the answer: one attempt, of five seconds at
    /// most. How it fails makes no difference.
    ///
    /// # Errors
    ///
    /// Where the URL or an option cannot be used.
    pub fn before_upload(endpoint: &str, config: &Config) -> Result<Self, Misuse> {
        let mut config = config.clone();
        config.retry.attempts = Some(0);
        config.retry.deadline = Some(BEFORE_UPLOAD);
        // Nobody is asked for a password that is taken away after five seconds.
        config.authorize = Authorize::Never;
        Self::new(endpoint, &config)
    }

    /// Whether the answer can change what is sent for this operation:
    /// [`Create`](Op::Create), for an upload of this length, [`Append`](Op::Append) to one that exists,
    /// [`Concatenate`](Op::Concatenate), for an upload in parts, or [`Terminate`](Op::Terminate).
    #[must_use]
    pub fn pays(config: &Config, op: Op, length: Option<u64>) -> bool {
        if config.server.is_some() {
            return false;
        }
        let needs_checksum = !config.checksums.is_empty();
        match (op, length) {
            (Op::Create, None) | (Op::Concatenate | Op::Terminate, _) => true,
            (Op::Create, Some(length)) => {
                let goes_along = 1..=config
                    .creation_body
                    .min(config.most(false).unwrap_or(u64::MAX));
                let goes_along = !config.stream && goes_along.contains(&length);
                needs_checksum || config.partial || goes_along
            }
            (Op::Append, _) => needs_checksum,
            _ => false,
        }
    }
}

machine!(Discover, Option<Capabilities>);

/// A question for what the server knows of an upload: a [`Machine`] that ends with the answer.
///
/// It needs no source. See [HEAD](https://tus.io/protocols/resumable-upload#head).
#[derive(Debug)]
pub struct Inspect(Lane<Call<Inspected>>);

/// What the server knows of an upload.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// Where it is, after redirects that are for good.
    pub url: UploadUrl,
    /// How many bytes the server has; `None` only for a concatenation that is not finished.
    pub offset: Option<u64>,
    /// How many bytes the whole has; `None` where that is not settled, or not said.
    pub length: Option<u64>,
    /// Whether the server waits to be told the length.
    pub deferred: bool,
    /// What it is in a concatenation.
    pub role: Role,
    /// What its creator said of it. Of metadata that cannot be read, the reason is kept: the
    /// rest is no less true.
    pub metadata: Result<Metadata, MetadataError>,
    /// When the server will drop it, unfinished.
    pub expires: Option<Date>,
}

/// What an upload is in a concatenation
/// ([Upload-Concat](https://tus.io/protocols/resumable-upload#upload-concat)).
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq)]
pub enum Role {
    /// Nothing: it is an upload of its own.
    Whole,
    /// A part of another.
    Partial,
    /// It is joined from parts.
    Final {
        /// Their URLs, as the server says them: whole or relative. They are capabilities, and `Debug`
        /// only counts them.
        parts: Vec<String>,
    },
}

impl std::fmt::Debug for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole => f.write_str("Whole"),
            Self::Partial => f.write_str("Partial"),
            Self::Final { parts } => write!(f, "Final({} parts)", parts.len()),
        }
    }
}

impl Inspected {
    /// Whether the server has every byte; `None` where it does not say.
    #[must_use]
    pub fn complete(&self) -> Option<bool> {
        Some(self.offset? == self.length?)
    }
}

impl Inspect {
    /// Asks the server at this upload's URL.
    ///
    /// # Errors
    ///
    /// Where the URL or an option cannot be used.
    pub fn new(url: &str, config: &Config) -> Result<Self, Misuse> {
        let (url, line) = begin(url, config)?;
        let request = request::head(&url);
        Call::lane(line, Op::Inspect, url, request, inspected, gone, config).map(Self)
    }
}

machine!(Inspect, Inspected);

fn inspected(
    _: &mut Line,
    url: &UploadUrl,
    flight: &Flight,
    answer: &Response<Bytes>,
) -> Result<Inspected, Misread> {
    let headers = answer.headers();
    let offset = response::offset(headers);
    let role = response::role(headers);
    if offset.is_none() && !matches!(role, Role::Final { .. }) {
        return Err(Violation::NoOffset.into());
    }
    let url = if flight.moved { &flight.url } else { url };
    Ok(Inspected {
        url: url.clone(),
        offset,
        length: response::length(headers),
        deferred: response::is_deferred(headers),
        role,
        metadata: Metadata::from_headers(headers),
        expires: response::expires(headers),
    })
}

/// The creation of an upload that is left empty: a [`Machine`] that ends with its URL.
///
/// See [Creation](https://tus.io/protocols/resumable-upload#creation). It needs no source;
/// [`Upload::append`](crate::Upload::append) sends the bytes. With [`Config::partial`] it creates a part
/// for [`Concatenate`].
#[derive(Debug)]
pub struct Create(Lane<Call<UploadUrl>>);

impl Create {
    /// Creates an upload of so many bytes at this endpoint; `None`: the length is told later.
    ///
    /// # Errors
    ///
    /// Where the endpoint or an option cannot be used, or the [server](Config::server) is known not to
    /// offer what this needs.
    pub fn new(
        endpoint: &str,
        length: impl Into<Option<u64>>,
        config: &Config,
    ) -> Result<Self, Misuse> {
        let length = length.into();
        let (endpoint, line) = begin(endpoint, config)?;
        if length.is_none() {
            config.needs(Extension::CreationDeferLength)?;
        }
        if config.partial {
            config.needs(Extension::Concatenation)?;
        }
        config.fits(length.unwrap_or(0))?;
        let creation = Creation {
            length,
            metadata: &config.metadata,
            partial: config.partial,
            body: 0..0,
            expect: false,
        };
        let request = request::create(&endpoint, &creation);
        Call::lane(line, Op::Create, endpoint, request, created, gone, config).map(Self)
    }
}

machine!(Create, UploadUrl);

/// The concatenation of partial uploads that are complete: a [`Machine`] that ends with the URL of
/// the upload that they make.
///
/// See [Concatenation](https://tus.io/protocols/resumable-upload#concatenation). It needs no source.
/// After an answer that was lost it asks again, which may leave one upload more on the server; a
/// [`Veto`](crate::Veto) prevents that. Where the server then lacks a part, the parts may be joined, and
/// it ends with [`Error::CompletionUnknown`]. [`Parallel`](crate::Parallel) makes the parts as well.
#[derive(Debug)]
pub struct Concatenate(Lane<Call<UploadUrl>>);

impl Concatenate {
    /// Joins the uploads at these URLs, in this order, at this endpoint.
    ///
    /// # Errors
    ///
    /// Where a URL or an option cannot be used, there are no parts or too many, their list is
    /// [too long](crate::Parts::list_limit), or the [server](Config::server) is known not to offer
    /// concatenation.
    pub fn new(endpoint: &str, parts: &[&str], config: &Config) -> Result<Self, Misuse> {
        let (endpoint, line) = begin(endpoint, config)?;
        config.needs(Extension::Concatenation)?;
        if config.partial {
            return Err(Misuse::PartOfParts);
        }
        if parts.is_empty() || parts.len() > crate::config::MAX_PARTS {
            return Err(Misuse::Parts);
        }
        let parts = parts
            .iter()
            .map(|part| match reference::endpoint(part)? {
                (uri, None) => Ok(uri),
                (_, Some(_)) => Err(ReferenceError::UserInfo("is not for others to see")),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let home = config.parts.relative.then_some(&endpoint);
        let list = request::concatenation_list(parts.iter(), home);
        let (length, limit) = (list.len(), config.parts.list_limit);
        if length > limit {
            return Err(Misuse::PartList { length, limit });
        }
        let request = request::concatenate(&endpoint, list, &config.metadata);
        Call::lane(
            line,
            Op::Concatenate,
            endpoint,
            request,
            created,
            gone,
            config,
        )
        .map(Self)
    }
}

machine!(Concatenate, UploadUrl);

fn created(
    line: &mut Line,
    endpoint: &UploadUrl,
    flight: &Flight,
    answer: &Response<Bytes>,
) -> Result<UploadUrl, Misread> {
    let url = named(line, endpoint.as_uri(), flight, answer)?;
    line.event(Event::Created { url: url.clone() });
    Ok(url)
}

/// The URL that the answer to a creation at this endpoint names, by the rules for what may be used.
pub(crate) fn named(
    line: &mut Line,
    endpoint: &Uri,
    flight: &Flight,
    answer: &Response<Bytes>,
) -> Result<UploadUrl, Misread> {
    let location = response::location(answer.headers()).ok_or(Violation::NoLocation)?;
    let url = line.admit(flight.url.as_uri(), location)?;
    // That of a redirect is one, too.
    if [endpoint, flight.url.as_uri()]
        .iter()
        .any(|one| same(url.as_uri(), one))
    {
        return Err(Violation::LocationIsEndpoint.into());
    }
    Ok(url)
}

/// Whether two URLs name the same, an empty query left out.
pub(crate) fn same(one: &Uri, other: &Uri) -> bool {
    let parts = |uri: &Uri| {
        let query = uri.query().filter(|query| !query.is_empty());
        (
            uri.scheme().cloned(),
            uri.authority().cloned(),
            uri.path().to_owned(),
            query.map(str::to_owned),
        )
    };
    parts(one) == parts(other)
}

/// The deletion of an upload: a [`Machine`] that ends when the server does not have it.
///
/// See [Termination](https://tus.io/protocols/resumable-upload#termination). It needs no source. An
/// upload that is not there is deleted, whoever did it.
#[derive(Debug)]
pub struct Terminate(Lane<Call<Terminated>>);

/// What a deletion comes to: the server does not have the upload.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminated {
    /// Whether this deleted it, or may have, in an attempt whose answer was lost or did not say; else it
    /// was not there.
    pub existed: bool,
}

impl Terminate {
    /// Deletes the upload at this URL.
    ///
    /// # Errors
    ///
    /// Where the URL or an option cannot be used, or the [server](Config::server) is known not to
    /// offer termination.
    pub fn new(url: &str, config: &Config) -> Result<Self, Misuse> {
        let (url, line) = begin(url, config)?;
        config.needs(Extension::Termination)?;
        let request = request::terminate(&url);
        let read = |_: &mut Line, _: &UploadUrl, _: &Flight, _: &Response<Bytes>| {
            Ok(Terminated { existed: true })
        };
        Call::lane(
            line,
            Op::Terminate,
            url,
            request,
            read,
            |_, doubtful| Ok(Terminated { existed: doubtful }),
            config,
        )
        .map(Self)
    }
}

machine!(Terminate, Terminated);

fn gone<T>(place: Box<Place>, _: bool) -> Result<T, Error> {
    Err(Error::Gone { place })
}

/// Why a success cannot be used.
#[derive(Debug)]
pub(crate) enum Misread {
    Violation(Violation),
    Location(Refusal),
}

impl From<Violation> for Misread {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl From<Refusal> for Misread {
    fn from(refusal: Refusal) -> Self {
        Self::Location(refusal)
    }
}

impl Misread {
    pub(crate) fn at(self, place: Box<Place>, answer: &Response<Bytes>) -> Error {
        match self {
            Self::Violation(violation) => Error::Protocol {
                place,
                status: answer.status(),
                violation,
            },
            Self::Location(refusal) => Error::Location { place, refusal },
        }
    }
}

/// Takes the URL of the call as well, after redirects that are for good.
type Read<T> = fn(&mut Line, &UploadUrl, &Flight, &Response<Bytes>) -> Result<T, Misread>;

type Gone<T> = fn(Box<Place>, bool) -> Result<T, Error>;

/// The story of one request.
struct Call<T> {
    op: Op,
    url: UploadUrl,
    request: Request<Body>,
    read: Read<T>,
    /// What it means that there is nothing there; whether an attempt before may have done it.
    gone: Gone<T>,
    /// An attempt that was repeated may have done it.
    doubtful: bool,
}

/// Shows nothing of the request, whose URL and fields hold secrets.
impl<T> std::fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call")
            .field("op", &self.op)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl<T: std::fmt::Debug + Send + 'static> Call<T> {
    fn lane(
        line: Line,
        op: Op,
        url: Uri,
        request: Request<Body>,
        read: Read<T>,
        gone: Gone<T>,
        config: &Config,
    ) -> Result<Lane<Self>, Misuse> {
        config.check()?;
        let call = Self {
            op,
            url: UploadUrl::from(url),
            request,
            read,
            gone,
            doubtful: false,
        };
        Ok(Lane::new(line, call, Phase::Ready(()), None))
    }

    /// An attempt that is repeated may have done it.
    fn doubt(&mut self, line: &mut Line) {
        self.doubtful = true;
        if self.creates() {
            line.event(Event::Orphaned);
        }
    }

    /// Whether a lost answer may leave something on the server.
    fn creates(&self) -> bool {
        matches!(self.op, Op::Create | Op::Concatenate)
    }

    /// What an error comes to. Parts that an attempt before may have joined may be gone for that.
    fn ended(&self, error: Error) -> Error {
        match error {
            Error::Rejected { place, status, .. }
                if self.doubtful
                    && self.op == Op::Concatenate
                    && matches!(status.as_u16(), 400 | 404 | 410) =>
            {
                Error::CompletionUnknown { place }
            }
            error => error,
        }
    }
}

impl<T> Call<T> {
    fn place(&self, line: &Line) -> Box<Place> {
        Box::new(Place {
            op: self.op,
            url: self.url.clone(),
            attempts: line.budget.failures(),
            resumable: false,
        })
    }

    fn again(&self, line: &mut Line, cause: Cause, retry_after: Option<Duration>) -> Phase<(), T> {
        match line.fail(self.op, cause, retry_after) {
            Ok(at) => Phase::Waiting(at, ()),
            Err(spent) => Phase::failure(spent.at(self.place(line))),
        }
    }
}

impl<T: std::fmt::Debug + Send + 'static> Story for Call<T> {
    type Step = ();
    type Success = T;

    fn request(&self, (): ()) -> (Op, Request<Body>) {
        (self.op, self.request.clone())
    }

    fn answered(
        &mut self,
        line: &mut Line,
        (): (),
        flight: Flight,
        answer: Response<Bytes>,
    ) -> Phase<(), T> {
        let status = answer.status();
        let asked = Asked {
            verified: true,
            ..Asked::new(self.op, flight.fresh)
        };
        match judge(line, ((), ()), &asked, &flight, &answer, |line| {
            self.place(line)
        }) {
            Err(Phase::Over(Some(result))) => {
                Phase::Over(Some(Box::new(result.map_err(|error| self.ended(error)))))
            }
            Err(next) => next,
            Ok(Verdict::Success) => match (self.read)(line, &self.url, &flight, &answer) {
                Ok(value) => Phase::success(value),
                Err(misread) => {
                    if self.creates() {
                        line.event(Event::Orphaned);
                    }
                    let mut place = self.place(line);
                    place.url = flight.url.clone();
                    Phase::failure(misread.at(place, &answer))
                }
            },
            Ok(Verdict::Gone) => match (self.gone)(self.place(line), self.doubtful) {
                Ok(value) => Phase::success(value),
                Err(error) => Phase::failure(error),
            },
            Ok(_) => {
                let retry_after = response::retry_after(answer.headers());
                let words = response::said(&answer);
                if may_be_done(&asked, &answer) {
                    self.doubt(line);
                }
                self.again(line, Cause::Answered { status, words }, retry_after)
            }
        }
    }

    fn lost(&mut self, line: &mut Line, (): (), _: Flight, loss: Loss) -> Phase<(), T> {
        line.settle();
        if loss.kind() == FailureKind::Lost {
            self.doubt(line);
        }
        match loss.passing() {
            Ok(loss) => self.again(line, loss.cause(), None),
            Err(failure) => Phase::failure(Error::Hopeless {
                place: self.place(line),
                failure,
            }),
        }
    }

    fn declined(&mut self, _: &mut Line, error: Error) -> Phase<(), T> {
        Phase::failure(self.ended(error))
    }

    fn cancelled(&mut self, line: &mut Line, flight: Option<Flight>, _: Cancel) -> Phase<(), T> {
        if self.creates() && flight.is_some() {
            line.event(Event::Orphaned);
        }
        Phase::failure(Error::Cancelled {
            place: self.place(line),
            terminated: false,
        })
    }

    fn spent(&self, line: &Line, (): (), spent: Spent) -> Error {
        spent.at(self.place(line))
    }

    fn checkpoint(&self) -> Option<Checkpoint> {
        None
    }
}
