//! What an upload is made of: which request comes next, and what an answer changes.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};

use crate::call::{named, same};
use crate::checkpoint::{Ending, Kept, Saved, Start};
use crate::lane::{Loss, Phase, Story, judge};
use crate::line::{Flight, Line, Spent};
use crate::resource::{Confirmed, Ghost, Resource};
use crate::supply::{Shortage, Supply};
use crate::upload::{Completion, Uploaded};
use crate::verdict::{Asked, Fate, Verdict, fate};
use crate::wire::date::Date;
use crate::wire::request::{Along, Creation};
use crate::wire::{request, response};
use crate::{
    Algorithm, Answer, Body, Cancel, Cause, Checkpoint, Config, Conflict, Duty, Error, Event,
    Extension, FailureKind, Hint, Metadata, Misuse, Op, Place, UploadUrl, Violation,
};

/// So many 404s, over so long, are believed even without a tus server's signature.
const MISSING_TIMES: u32 = 3;
const MISSING_OVER: Duration = Duration::from_secs(30);

/// The requests of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Create,
    Probe,
    Append,
    Terminate,
}

impl Step {
    fn op(self) -> Op {
        match self {
            Self::Create => Op::Create,
            Self::Probe => Op::Probe,
            Self::Append => Op::Append,
            Self::Terminate => Op::Terminate,
        }
    }

    /// What comes when it has failed, or when there are credentials for it: without a body first.
    fn retry(self) -> Self {
        match self {
            Self::Append => Self::Probe,
            step => step,
        }
    }
}

type Next = Phase<Step, Uploaded>;

/// The story of one upload.
#[derive(Debug)]
pub(crate) struct Transfer {
    start: Start,
    /// Bytes of the whole, once the source or the server said it.
    length: Option<u64>,
    /// Whether the server knows the length.
    told: Told,
    creation: Opening,
    /// It is one of several, and stays what it is when it is complete.
    part: bool,
    identity: Option<String>,
    recreations: u32,
    wall_clock: Option<Date>,
    supply: Supply,
    /// The upload on the server, once there is one.
    resource: Option<Resource>,
    /// What the offset that a HEAD brings will decide, beside where to go on.
    owed: Owed,
    /// Appends lost in a row without new bytes.
    losses: u32,
}

/// Whether the server knows the length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// It is to be told by the next append, once it is known.
    No,
    /// A request told it, and what became of that is not known.
    Perhaps,
    Yes,
}

/// How the upload is created.
#[derive(Debug)]
struct Opening {
    metadata: Metadata,
    partial: bool,
    /// The longest source that goes along; 0: none does.
    bytes: u64,
    expect: bool,
}

/// What is to be decided when a HEAD has brought the offset.
#[derive(Debug, Default)]
struct Owed {
    /// The append before it was a failed attempt, and counted.
    counted: bool,
    /// It was lost, and had this size.
    lost: Option<u64>,
    /// A failed attempt that is not counted yet; its wait comes before the next append.
    failed: Option<(Cause, Option<Duration>)>,
    /// It is none if there are new bytes.
    unless_new: bool,
    /// The next append is smaller than this one.
    smaller: Option<u64>,
    /// The next append is smaller than this one, or it is the end.
    refused: Option<(u64, Box<Error>)>,
    /// The end, unless all bytes are there.
    end: Option<Box<Error>>,
}

impl Transfer {
    /// `length`: `None` where the source ends where it ends.
    pub(crate) fn new(
        start: Start,
        length: Option<u64>,
        config: &Config,
    ) -> Result<Self, Misuse> {
        let supply = Supply::new(length.is_none(), config)?;
        if matches!(start, Start::Endpoint(_)) {
            if length.is_none() {
                config.needs(Extension::CreationDeferLength)?;
            }
            if config.partial {
                config.needs(Extension::Concatenation)?;
            }
            config.fits(length.unwrap_or(0))?;
        }
        let with_bytes = config.offered(Extension::CreationWithUpload) == Some(true)
            && !supply.has_checksum();
        let resource = match &start {
            Start::Endpoint(_) => None,
            Start::Upload(url) => Some(Resource::at(UploadUrl::new(url.clone()), length)),
        };
        Ok(Self {
            start,
            length,
            told: length.map_or(Told::No, |_| Told::Yes),
            creation: Opening {
                metadata: config.metadata.clone(),
                partial: config.partial,
                bytes: if with_bytes { config.creation_body } else { 0 },
                expect: config.expect_continue,
            },
            part: false,
            identity: config.identity.clone(),
            recreations: config.recreations,
            wall_clock: config.wall_clock,
            supply,
            resource,
            owed: Owed::default(),
            losses: 0,
        })
    }

    /// As an earlier run left it, at this URL.
    pub(crate) fn resume(
        start: Start,
        identity: Option<String>,
        saved: Saved,
        url: UploadUrl,
        length: Option<u64>,
        config: &Config,
    ) -> Result<Self, Misuse> {
        // What it was created with is not asked for again.
        let mut transfer = Self::new(Start::Upload(url.as_uri().clone()), length, config)?;
        transfer.start = start;
        transfer.identity = identity;
        transfer.length = saved.length.or(length);
        transfer.told = match saved.length {
            Some(_) => Told::Yes,
            None => Told::Perhaps,
        };
        transfer.resource = Some(Resource {
            spoke: saved.spoke,
            expires: saved.expires,
            ending: saved.ending,
            ..Resource::at(url, transfer.length)
        });
        Ok(transfer)
    }

    /// The same as one of several: its checkpoint lasts until they are joined.
    pub(crate) fn as_part(self) -> Self {
        Self { part: true, ..self }
    }

    /// What must survive of the upload on the server.
    pub(crate) fn saved(&self) -> Option<Saved> {
        let resource = self.resource.as_ref()?;
        Some(Saved {
            url: resource.url.as_uri().clone(),
            length: self.length.filter(|_| self.told == Told::Yes),
            spoke: resource.spoke,
            expires: resource.expires,
            ending: resource.ending.clone(),
        })
    }

    /// It is not made anew any more, if it should be gone.
    pub(crate) fn keep(&mut self) {
        self.recreations = 0;
    }

    /// How an earlier run's upload goes on.
    pub(crate) fn go_on(&mut self, line: &mut Line) -> Next {
        let now = self.wall_clock;
        match &self.resource {
            // Complete uploads do not expire.
            Some(resource)
                if resource.expired(now)
                    && !resource.may_be_complete(None)
                    && self.can_begin_anew() =>
            {
                let url = resource.url.clone();
                self.begin_anew(line, url)
            }
            Some(_) => Phase::Ready(Step::Probe),
            None => Phase::Ready(Step::Create),
        }
    }

    /// Where the upload is, or will be made.
    fn url(&self) -> UploadUrl {
        match &self.resource {
            Some(resource) => resource.url.clone(),
            None => UploadUrl::new(self.start.uri().clone()),
        }
    }

    pub(crate) fn place(&self, line: &Line, op: Op) -> Box<Place> {
        Box::new(Place {
            op,
            url: self.url(),
            attempts: line.budget.failures(),
            resumable: false,
        })
    }

    /// A failed attempt, and then this step.
    fn again(
        &self,
        line: &mut Line,
        op: Op,
        cause: Cause,
        retry_after: Option<Duration>,
        step: Step,
    ) -> Next {
        match line.fail(op, cause, retry_after) {
            Ok(at) => Phase::Waiting(at, step),
            Err(spent) => Phase::failure(spent.at(self.place(line, op))),
        }
    }

    /// The server's offset is not what it can be. Whoever wrote there, it was not this upload.
    fn conflict(&mut self, line: &Line, op: Op, conflict: Conflict) -> Next {
        let place = self.place(line, op);
        self.resource = None;
        Phase::failure(Error::Conflict { place, conflict })
    }

    fn contradiction(&self, headers: &HeaderMap, offset: u64) -> Option<Conflict> {
        self.resource.as_ref()?.contradiction(headers, offset)
    }

    /// Takes the server's word for how much it has.
    fn confirm(&mut self, line: &mut Line, offset: u64) -> Confirmed {
        let Some(resource) = &mut self.resource else {
            return Confirmed::default();
        };
        let confirmed = resource.confirm(offset);
        if let Some(from) = confirmed.rewound {
            line.event(Event::Rewound { from, to: offset });
        }
        if confirmed.gained > 0 {
            self.losses = 0;
        }
        line.gain(confirmed.gained, Some(offset) == self.length);
        line.event(Event::Confirmed {
            offset,
            length: self.length,
        });
        confirmed
    }

    /// Whether the server has all there is, and knows it.
    fn is_whole(&self, offset: u64) -> bool {
        self.length == Some(offset) && self.told == Told::Yes
    }

    /// The server lost bytes that the source does not have any more.
    fn unrepeatable(&self, line: &Line, op: Op, offset: u64) -> Option<Next> {
        let kept = self.supply.kept();
        (offset < kept).then(|| {
            Phase::failure(Error::Unrepeatable {
                place: self.place(line, op),
                offset,
                kept,
            })
        })
    }

    /// Takes the server's word for how long the whole is, or that it was not told.
    fn note_length(&mut self, headers: &HeaderMap) {
        if let Some(server) = response::length(headers) {
            self.told = Told::Yes;
            self.know_length(server);
        } else if response::is_deferred(headers) {
            self.told = Told::No;
        }
    }

    fn know_length(&mut self, length: u64) {
        self.length = Some(length);
        if let Some(resource) = &mut self.resource {
            resource.length = Some(length);
        }
    }

    /// Whether the next append says how long the whole is.
    fn tells_length(&self) -> bool {
        self.length.is_some() && self.told != Told::Yes
    }

    /// The offset that the next append begins at.
    fn offset(&self) -> u64 {
        self.resource.as_ref().map_or(0, |resource| resource.offset)
    }

    /// The bytes that go with the creation.
    fn first_bytes(&self) -> Body {
        match self.length {
            Some(length)
                if length <= self.creation.bytes
                    && length == self.supply.chunk.size(length) =>
            {
                0..length
            }
            _ => 0..0,
        }
    }

    fn note_expiry(&mut self, line: &mut Line, headers: &HeaderMap) {
        if let (Some(resource), Some(at)) = (&mut self.resource, response::expires(headers))
            && resource.expires != Some(at)
        {
            resource.expires = Some(at);
            line.event(Event::Expires { at });
        }
    }

    /// All bytes are there.
    fn complete(&mut self, line: &Line, op: Op, completion: Completion) -> Next {
        let place = self.place(line, op);
        if let Some(resource) = &self.resource
            && let Ending::Refused(status, words) = &resource.ending
            && completion == Completion::Observed
        {
            return Phase::failure(Error::Unfinished {
                place,
                status: *status,
                words: words.clone(),
            });
        }
        match &mut self.resource {
            Some(resource) if self.part => {
                if completion == Completion::Acknowledged {
                    resource.ending = Ending::Open;
                }
            }
            _ => self.resource = None,
        }
        Phase::success(Uploaded {
            url: place.url,
            length: self.length.unwrap_or(0),
            completion,
            parts: Vec::new(),
        })
    }

    fn can_begin_anew(&self) -> bool {
        matches!(self.start, Start::Endpoint(_)) && self.recreations > 0 && self.supply.kept() == 0
    }

    fn begin_anew(&mut self, line: &mut Line, gone: UploadUrl) -> Next {
        self.recreations -= 1;
        self.resource = None;
        if self.length.is_some() {
            self.told = Told::Yes;
        }
        self.owed = Owed::default();
        self.losses = 0;
        line.event(Event::Recreating { gone });
        Phase::Ready(Step::Create)
    }

    /// The upload is not there any more.
    fn gone(&mut self, line: &mut Line, headers: &HeaderMap) -> Next {
        let place = self.place(line, Op::Probe);
        let Some(resource) = &self.resource else {
            return Phase::failure(Error::Gone { place });
        };
        if resource.may_be_complete(response::date(headers).or(self.wall_clock)) {
            return Phase::failure(Error::CompletionUnknown { place });
        }
        if self.can_begin_anew() {
            return self.begin_anew(line, place.url);
        }
        self.resource = None;
        Phase::failure(Error::Gone { place })
    }

    /// A HEAD found no upload, but perhaps it was not the tus server who said so.
    fn missing(&mut self, line: &mut Line, answer: &Response<Bytes>, cause: Cause) -> Next {
        let headers = answer.headers();
        let now = line.now();
        let Some(resource) = &mut self.resource else {
            return self.gone(line, headers);
        };
        let (times, since) = resource.missing.unwrap_or((0, now));
        if times + 1 >= MISSING_TIMES && now - since >= MISSING_OVER {
            return self.gone(line, headers);
        }
        resource.missing = Some((times + 1, since));
        self.again(
            line,
            Op::Probe,
            cause,
            response::retry_after(headers),
            Step::Probe,
        )
    }

    /// Requests of this size are lost, time and again.
    fn shrink(&mut self, line: &mut Line, size: u64) {
        if let Some(to) = self.supply.chunk.lost(size) {
            line.event(Event::Shrunk { to });
        }
    }

    /// What a verdict leads to.
    fn decide(
        &mut self,
        line: &mut Line,
        step: Step,
        verdict: Verdict,
        flight: &Flight,
        answer: &Response<Bytes>,
    ) -> Next {
        let status = answer.status();
        let retry_after = response::retry_after(answer.headers());
        let size = flight.body.end - flight.body.start;
        let cause = Cause::Answered {
            status,
            words: response::said(answer),
        };
        match (verdict, step) {
            (Verdict::Success, Step::Create) => self.created(line, flight, answer),
            (Verdict::Success, Step::Probe) => self.probed(line, flight, answer),
            (Verdict::Success, Step::Append) => self.appended(line, flight, answer),
            (Verdict::Success | Verdict::Gone, Step::Terminate) => {
                let place = self.place(line, Op::Terminate);
                self.resource = None;
                Phase::failure(Error::Cancelled {
                    place,
                    terminated: true,
                })
            }
            (Verdict::Displaced, _) => {
                self.owed.failed = Some((cause, retry_after));
                Phase::Ready(Step::Probe)
            }
            (Verdict::Vanished, _) => {
                self.owed.failed = Some((cause, retry_after));
                self.owed.smaller = Some(size);
                Phase::Ready(Step::Probe)
            }
            (Verdict::RequestTooLarge, _) => {
                let error = Error::Rejected {
                    place: self.place(line, Op::Append),
                    status,
                    words: response::refusal(flight.url.as_uri(), answer),
                    hint: Some(Hint::RequestTooLarge),
                };
                self.owed.refused = Some((size, Box::new(error)));
                Phase::Ready(Step::Probe)
            }
            (Verdict::WithoutBytes, _) => {
                self.creation.bytes = 0;
                Phase::Ready(Step::Create)
            }
            (Verdict::WithoutExpect, step) => {
                self.creation.expect = false;
                Phase::Ready(step)
            }
            (Verdict::Missing, _) => self.missing(line, answer, cause),
            (Verdict::Gone, _) => self.gone(line, answer.headers()),
            // What is left is a failed attempt. An append owes a HEAD.
            (_, step) => {
                match verdict {
                    Verdict::Mismatch => self.supply.forget_digest(),
                    Verdict::LengthKnown => self.told = Told::Yes,
                    _ => (),
                }
                if step == Step::Create
                    && (status.is_server_error() || matches!(status.as_u16(), 400 | 408 | 499))
                {
                    self.creation.bytes = 0;
                    line.event(Event::Orphaned);
                }
                self.owed.counted |= step == Step::Append;
                self.again(line, step.op(), cause, retry_after, step.retry())
            }
        }
    }

    // The answers to each request.

    fn created(&mut self, line: &mut Line, flight: &Flight, answer: &Response<Bytes>) -> Next {
        let headers = answer.headers();
        let mut named = named(line, flight, answer);
        if matches!(&named, Ok(url) if same(url.as_uri(), self.start.uri())) {
            named = Err(Violation::LocationIsEndpoint.into());
        }
        let url = match named {
            Ok(url) => url,
            Err(misread) => {
                let mut place = self.place(line, Op::Create);
                place.url = flight.url.clone();
                return Phase::failure(misread.at(place, answer));
            }
        };
        line.event(Event::Created { url: url.clone() });
        let with_bytes = !flight.body.is_empty();
        let offset = Some(0).filter(|_| !with_bytes).or(response::offset(headers));
        let resource = Resource {
            spoke: response::names_tus(headers),
            reach: Some(flight.reach(false)),
            ghost: Ghost::None,
            ..Resource::at(url, self.length)
        };
        if let Some(conflict) = resource.contradiction(headers, offset.unwrap_or(0)) {
            return self.conflict(line, Op::Create, conflict);
        }
        self.resource = Some(resource);
        self.note_expiry(line, headers);
        let Some(offset) = offset else {
            if let Some(resource) = &mut self.resource {
                resource.note_ending(flight, Ending::Acknowledged);
            }
            return Phase::Ready(Step::Probe);
        };
        if with_bytes {
            self.confirm(line, offset);
        }
        if self.is_whole(offset) {
            return self.complete(line, Op::Create, Completion::Acknowledged);
        }
        if offset > 0 {
            self.note_taken(line, flight, offset);
        }
        Phase::Ready(Step::Append)
    }

    /// The server took less than it was given, perhaps.
    fn note_taken(&mut self, line: &mut Line, flight: &Flight, offset: u64) {
        let (from, to) = (flight.body.start, flight.body.end);
        if let Some(to) = self.supply.chunk.taken(to - from, offset - from) {
            line.event(Event::Shrunk { to });
        }
    }

    fn probed(&mut self, line: &mut Line, flight: &Flight, answer: &Response<Bytes>) -> Next {
        let headers = answer.headers();
        let status = answer.status();
        let Some(offset) = response::offset(headers) else {
            let spoke = self
                .resource
                .as_ref()
                .is_some_and(|resource| resource.spoke);
            return if spoke {
                let cause = Cause::NoOffset { status };
                let retry_after = response::retry_after(headers);
                self.again(line, Op::Probe, cause, retry_after, Step::Probe)
            } else {
                let mut place = self.place(line, Op::Probe);
                place.url = flight.url.clone();
                Phase::failure(Error::Protocol {
                    place,
                    status,
                    violation: Violation::NoOffset,
                })
            };
        };
        if let Some(conflict) = self.contradiction(headers, offset) {
            return self.conflict(line, Op::Probe, conflict);
        }
        self.moved(flight);
        self.note_expiry(line, headers);
        self.note_length(headers);
        let confirmed = self.confirm(line, offset);
        if let Some(resource) = &mut self.resource {
            resource.probed = true;
        }
        let owed = std::mem::take(&mut self.owed);
        if self.is_whole(offset) {
            let ending = self.resource.as_ref().map(|resource| &resource.ending);
            let completion = if ending == Some(&Ending::Acknowledged) {
                Completion::Acknowledged
            } else {
                Completion::Observed
            };
            return self.complete(line, Op::Probe, completion);
        }
        if let Some(error) = owed.end {
            return Phase::failure(*error);
        }
        if let Some(end) = self.unrepeatable(line, Op::Probe, offset) {
            return end;
        }
        if let Some(size) = owed.lost
            && confirmed.gained == 0
        {
            self.losses += 1;
            if self.losses >= 2 {
                self.shrink(line, size);
            }
        }
        if let Some(size) = owed.smaller {
            self.shrink(line, size);
        }
        if let Some((size, error)) = owed.refused {
            match self.supply.chunk.refused(size) {
                Some(to) => line.event(Event::Shrunk { to }),
                None => return Phase::failure(*error),
            }
        }
        let rewound =
            (confirmed.rewound.is_some() && !owed.counted).then_some((Cause::Rewound, None));
        let failed = owed
            .failed
            .filter(|_| !owed.unless_new || confirmed.gained == 0);
        match failed.or(rewound) {
            Some((cause, retry_after)) => {
                self.again(line, Op::Append, cause, retry_after, Step::Append)
            }
            None => Phase::Ready(Step::Append),
        }
    }

    fn appended(&mut self, line: &mut Line, flight: &Flight, answer: &Response<Bytes>) -> Next {
        let headers = answer.headers();
        let retry_after = response::retry_after(headers);
        let (from, to) = (flight.body.start, flight.body.end);
        self.note_expiry(line, headers);
        if self.tells_length() {
            self.told = Told::Yes;
        }
        let Some(offset) = response::offset(headers) else {
            if let Some(resource) = &mut self.resource {
                resource.note_ending(flight, Ending::Acknowledged);
            }
            let status = answer.status();
            self.owed = Owed {
                failed: Some((Cause::NoOffset { status }, retry_after)),
                unless_new: true,
                ..Owed::default()
            };
            return Phase::Ready(Step::Probe);
        };
        if let Some(conflict) = self.contradiction(headers, offset) {
            return self.conflict(line, Op::Append, conflict);
        }
        self.moved(flight);
        if offset > to {
            return self.again(line, Op::Append, Cause::Ghost, retry_after, Step::Probe);
        }
        let confirmed = self.confirm(line, offset);
        if let Some(resource) = &mut self.resource {
            resource.appended = true;
        }
        if self.is_whole(offset) {
            return self.complete(line, Op::Append, Completion::Acknowledged);
        }
        if let Some(end) = self.unrepeatable(line, Op::Append, offset) {
            return end;
        }
        if offset <= from {
            let cause = if confirmed.rewound.is_some() {
                Cause::Rewound
            } else {
                Cause::NothingTaken
            };
            return self.again(line, Op::Append, cause, retry_after, Step::Append);
        }
        self.note_taken(line, flight, offset);
        Phase::Ready(Step::Append)
    }

    /// A permanent redirect led to where a tus server speaks: the upload is there now.
    fn moved(&mut self, flight: &Flight) {
        if let Some(resource) = &mut self.resource
            && flight.moved
        {
            resource.url = flight.url.clone();
        }
    }

    /// An append is refused, but perhaps the rest of the request before was faster, and there is
    /// nothing left to refuse: a HEAD will tell.
    fn doubted(&mut self, error: Error) -> Next {
        self.owed.end = Some(Box::new(error));
        Phase::Ready(Step::Probe)
    }
}

impl Story for Transfer {
    type Step = Step;
    type Success = Uploaded;

    fn prepare(&mut self, step: Step) -> Option<Duty> {
        match step {
            Step::Append => self.supply.prepare(self.offset(), self.length),
            Step::Create | Step::Probe | Step::Terminate => None,
        }
    }

    fn prepared(&mut self, line: &mut Line, step: Step, answer: Answer) -> Next {
        match self.supply.prepared(self.offset(), self.length, answer) {
            Ok(None) => Phase::Ready(step),
            Ok(Some(length)) => {
                self.know_length(length);
                Phase::Ready(step)
            }
            Err(Shortage::Conflict(conflict)) => self.conflict(line, step.op(), conflict),
            Err(Shortage::Failed(failure)) => {
                let place = self.place(line, step.op());
                Phase::failure(match failure.kind {
                    FailureKind::SourceChanged => Error::SourceChanged { place },
                    _ => Error::Source { place, failure },
                })
            }
        }
    }

    fn request(&self, step: Step) -> (Op, Request<Body>) {
        let url = self.url();
        let url = url.as_uri();
        let request = match step {
            Step::Create => request::create(
                url,
                &Creation {
                    length: self.length.filter(|_| self.told == Told::Yes),
                    metadata: &self.creation.metadata,
                    partial: self.creation.partial,
                    body: self.first_bytes(),
                    expect: self.creation.expect,
                },
            ),
            Step::Probe => request::head(url),
            Step::Terminate => request::terminate(url),
            Step::Append => {
                let body = self.supply.body(self.offset(), self.length);
                let trailer = self.trailer(step).is_some();
                let along = Along {
                    length: self.length.filter(|_| self.tells_length()),
                    digest: self
                        .supply
                        .digest()
                        .filter(|_| !body.is_empty() && !trailer),
                    trailer,
                };
                request::append(url, body, &along)
            }
        };
        (step.op(), request)
    }

    fn trailer(&self, step: Step) -> Option<Algorithm> {
        let body = self.supply.body(self.offset(), self.length);
        let trailer = self.supply.trailer().cloned();
        trailer.filter(|_| step == Step::Append && !body.is_empty())
    }

    fn answered(
        &mut self,
        line: &mut Line,
        step: Step,
        flight: Flight,
        answer: Response<Bytes>,
    ) -> Next {
        let status = answer.status();
        let resource = self.resource.as_ref();
        let with_bytes = !flight.body.is_empty();
        let asked = Asked {
            worked: resource.is_some_and(|resource| match step {
                Step::Append => resource.appended,
                _ => resource.probed,
            }),
            length: self.length,
            bytes: with_bytes,
            expect: step == Step::Create && with_bytes && self.creation.expect,
            checksum: with_bytes && self.supply.has_checksum(),
            length_again: step == Step::Append && self.tells_length() && self.told == Told::Perhaps,
            ..Asked::new(step.op(), flight.fresh)
        };
        // The rows of the table that a ghost may have brought about.
        let doubtful = step == Step::Append
            && matches!(status, StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN)
            && resource.is_some_and(|resource| resource.ghost == Ghost::Whole);
        if step == Step::Append
            && let Some(resource) = &mut self.resource
        {
            let fate = fate(&asked, &answer);
            resource.note_ghost(&flight, fate, false);
            match fate {
                Fate::Unanswered => resource.note_ending(&flight, Ending::Unsettled),
                Fate::Refused if !doubtful => {
                    let words = response::said(&answer);
                    resource.note_ending(&flight, Ending::Refused(status, words));
                }
                Fate::Refused | Fate::Acknowledged | Fate::Unprocessed => (),
            }
        }
        if step == Step::Append && self.tells_length() && !status.is_success() {
            // Whether it was heard, a HEAD will tell.
            self.told = Told::Perhaps;
        }
        let verdict = judge(
            line,
            (step, step.retry()),
            &asked,
            &flight,
            &answer,
            |line| self.place(line, step.op()),
        );
        let verdict = match verdict {
            Ok(verdict) => verdict,
            Err(Phase::Over(Some(result))) if doubtful => {
                line.settle();
                return match *result {
                    Err(error) => self.doubted(error),
                    done => Phase::Over(Some(Box::new(done))),
                };
            }
            Err(Phase::Asking(ask, step, without)) if doubtful => {
                // Should there be none, it is in doubt as before.
                if let Some(resource) = &mut self.resource {
                    resource.ghost = Ghost::Whole;
                }
                return Phase::Asking(ask, step, without);
            }
            Err(Phase::Over(Some(result))) => {
                return match self.owed.end.take() {
                    Some(error) if step == Step::Probe => Phase::failure(*error),
                    _ => Phase::Over(Some(result)),
                };
            }
            Err(next) => return next,
        };
        if step == Step::Probe && verdict != Verdict::Success {
            // One HEAD is enough for a doubt.
            if let Some(error) = self.owed.end.take() {
                return Phase::failure(*error);
            }
            if let Some(resource) = &mut self.resource
                && verdict != Verdict::Missing
            {
                resource.missing = None;
            }
        }
        self.decide(line, step, verdict, &flight, &answer)
    }

    fn lost(&mut self, line: &mut Line, step: Step, flight: Flight, loss: Loss) -> Next {
        line.settle();
        let op = step.op();
        if step == Step::Probe
            && let Some(error) = self.owed.end.take()
        {
            return Phase::failure(*error);
        }
        let stopped = loss.stopped();
        if step == Step::Append && self.tells_length() && loss.kind() != FailureKind::NotSent {
            self.told = Told::Perhaps;
        }
        let (next, fate) = match (loss.kind(), step) {
            (FailureKind::NotSent, step) => (step, Fate::Unprocessed),
            (FailureKind::Lost, Step::Append) => (Step::Probe, Fate::Unanswered),
            (FailureKind::Lost, step) => (step, Fate::Unanswered),
            (kind, _) => {
                let place = self.place(line, op);
                return Phase::failure(match (kind, loss) {
                    (FailureKind::SourceChanged, _) => Error::SourceChanged { place },
                    (FailureKind::Source, Loss::Failed(failure)) => {
                        Error::Source { place, failure }
                    }
                    (_, loss) => Error::Hopeless {
                        place,
                        failure: loss.failure(),
                    },
                });
            }
        };
        match step {
            Step::Append if fate == Fate::Unanswered => {
                if let Some(resource) = &mut self.resource {
                    resource.note_silence(&flight, stopped);
                }
                self.owed.counted = true;
                self.owed.lost = Some(flight.body.end - flight.body.start);
            }
            Step::Create if fate == Fate::Unanswered => {
                // Until it is answered there is nothing to resume.
                self.creation.bytes = 0;
                line.event(Event::Orphaned);
            }
            _ => (),
        }
        self.again(line, op, loss.cause(), None, next)
    }

    fn declined(&mut self, error: Error) -> Next {
        let doubtful = matches!(
            &error,
            Error::Rejected { status: StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN, place, .. }
                if place.op == Op::Append
        );
        if doubtful
            && self
                .resource
                .as_ref()
                .is_some_and(|resource| resource.ghost == Ghost::Whole)
        {
            self.doubted(error)
        } else {
            Phase::failure(error)
        }
    }

    fn cancelled(&mut self, line: &mut Line, flight: Option<Flight>, how: Cancel) -> Next {
        line.settle();
        match flight {
            Some(flight) if flight.op == Op::Append => {
                if self.tells_length() {
                    self.told = Told::Perhaps;
                }
                if let Some(resource) = &mut self.resource {
                    resource.note_silence(&flight, true);
                }
            }
            Some(flight) if flight.op == Op::Create => line.event(Event::Orphaned),
            _ => (),
        }
        self.owed = Owed::default();
        if how == Cancel::Terminate && self.resource.is_some() {
            line.budget.renew();
            return Phase::Ready(Step::Terminate);
        }
        let op = match &self.resource {
            Some(_) => Op::Append,
            None => Op::Create,
        };
        Phase::failure(Error::Cancelled {
            place: self.place(line, op),
            terminated: false,
        })
    }

    fn spent(&self, line: &Line, step: Step, spent: Spent) -> Error {
        spent.at(self.place(line, step.op()))
    }

    fn checkpoint(&self) -> Option<Checkpoint> {
        Some(Checkpoint {
            start: self.start.clone(),
            identity: self.identity.clone(),
            kept: Kept::Whole(self.saved()?),
        })
    }
}
