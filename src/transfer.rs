//! What an upload is made of: which request comes next.

mod answers;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Uri};

use crate::checkpoint::{Ending, Kept, Saved, Start};
use crate::lane::{Loss, Phase, Story, judge};
use crate::line::{Flight, Line, Spent};
use crate::resource::{Absence, Confirmed, Resource};
use crate::supply::{Shortage, Supply};
use crate::upload::Uploaded;
use crate::verdict::{Asked, Fate, Verdict, fate};
use crate::wire::date::Date;
use crate::wire::request::{Along, Creation};
use crate::wire::{request, response};
use crate::{
    Algorithm, Answer, Body, Cancel, Cause, Checkpoint, Config, Conflict, Duty, Error, Event,
    Extension, Failure, FailureKind, Metadata, Misuse, Op, Place, UploadUrl,
};

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
    /// What the caller says that it is.
    declared: Option<u64>,
    /// Whether the server knows the length.
    told: Told,
    creation: Opening,
    /// It is one of several, and stays what it is when it is complete.
    part: bool,
    /// It may have been joined with others, and moved away, once it was complete.
    joined: bool,
    identity: Option<String>,
    recreations: u32,
    wall_clock: Option<Date>,
    supply: Supply,
    /// The upload on the server, once there is one.
    resource: Option<Resource>,
    /// An earlier run sent bytes of the same source.
    resumed: bool,
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
    /// The same, and its answer was a success without an offset, which others than the server give too.
    Said,
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
    pub(crate) fn new(start: Start, length: Option<u64>, config: &Config) -> Result<Self, Misuse> {
        let supply = Supply::new(length.is_none() || config.stream, config)?;
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
            && !supply.has_checksum()
            && !config.stream;
        let resource = match &start {
            Start::Endpoint(_) => None,
            Start::Upload(url) => Some(Resource::at(UploadUrl::from(url.clone()), length)),
        };
        Ok(Self {
            start,
            length,
            declared: length,
            told: match (length, &resource) {
                (Some(_), _) => Told::Yes,
                // Others may have.
                (None, Some(_)) => Told::Perhaps,
                (None, None) => Told::No,
            },
            creation: Opening {
                metadata: config.metadata.clone(),
                partial: config.partial,
                bytes: if with_bytes { config.creation_body } else { 0 },
                expect: config.expect_continue,
            },
            part: false,
            joined: false,
            identity: config.identity.clone(),
            recreations: config.recreations,
            wall_clock: config.wall_clock,
            supply,
            resource,
            resumed: false,
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
        transfer.resumed = true;
        transfer.length = saved.length.or(length);
        transfer.told = match saved.length {
            Some(_) => Told::Yes,
            None => Told::Perhaps,
        };
        transfer.resource = Some(Resource {
            spoke: saved.spoke,
            expires: saved.expires,
            late: saved.ending == Ending::Unsettled,
            ending: saved.ending,
            ..Resource::at(url, transfer.length)
        });
        Ok(transfer)
    }

    /// The same as one of several: its checkpoint lasts until they are joined.
    pub(crate) fn into_part(self) -> Self {
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

    /// Where it is, once it is created.
    pub(crate) fn uri(&self) -> Option<&Uri> {
        Some(self.resource.as_ref()?.url.as_uri())
    }

    /// Takes whether it may have been joined with others, and moved away, if it is complete.
    pub(crate) fn note_joined(&mut self, may: bool) {
        self.joined = may;
    }

    /// Whether it may have been completed, and moved away, by the time that it is gone.
    fn may_be_complete(&self, now: Option<Date>) -> bool {
        self.resource.as_ref().is_some_and(|resource| {
            let reached = resource
                .reach
                .is_none_or(|reach| Some(reach) >= self.length);
            let joined = self.joined && reached && !resource.expired(now);
            resource.may_be_complete(now) || joined
        })
    }

    /// How an earlier run's upload goes on.
    pub(crate) fn go_on(&mut self, line: &mut Line) -> Next {
        let now = self.wall_clock;
        match &self.resource {
            // As long as its bytes are there, a refusal stands.
            Some(Resource {
                ending: Ending::Refused(..),
                ..
            }) => Phase::Ready(Step::Probe),
            // Complete uploads do not expire.
            Some(resource)
                if resource.expired(now)
                    && !self.may_be_complete(None)
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
            None => UploadUrl::from(self.start.uri().clone()),
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
            Err(spent) => Phase::failure(self.ended(line, op, spent)),
        }
    }

    /// The end, because there is to be no further request. A refusal that waited for a HEAD alone says
    /// more than that the HEAD was lost, and a 413 does where requests cannot be smaller.
    fn ended(&self, line: &Line, op: Op, spent: Spent) -> Error {
        match (&self.owed.end, &self.owed.refused) {
            (Some(end), _) => (**end).clone(),
            (None, Some((size, error))) if self.supply.chunk.is_least(*size) => (**error).clone(),
            _ => spent.at(self.place(line, op)),
        }
    }

    /// The server's offset is not what it can be. Whoever wrote there, it was not this upload.
    fn conflict(&mut self, line: &Line, op: Op, conflict: Conflict) -> Next {
        let place = self.place(line, op);
        self.resource = None;
        Phase::failure(Error::Conflict { place, conflict })
    }

    /// The source does not fit what is there.
    fn unfit(&mut self, line: &Line, op: Op, conflict: Conflict) -> Next {
        let place = self.place(line, op);
        match conflict {
            // It is no stranger's doing that it does not fit what an earlier run made of it.
            _ if self.resumed => Phase::failure(Error::SourceChanged { place }),
            // Nor is it anybody's that it does not fit what the caller said of it.
            Conflict::Length {
                server,
                source_length,
            } if self.declared.is_some() => {
                let words = if source_length < server {
                    format!("it ends at byte {source_length}, before byte {server}")
                } else {
                    format!("it has more than the {server} bytes that it was to have")
                };
                let failure = Failure::new(FailureKind::Source, words);
                Phase::failure(Error::Source { place, failure })
            }
            conflict => self.conflict(line, op, conflict),
        }
    }

    fn contradiction(&self, headers: &HeaderMap, offset: u64) -> Option<Conflict> {
        self.resource.as_ref()?.contradiction(headers, offset)
    }

    /// Takes the server's word for how much it has.
    fn confirm(&mut self, line: &mut Line, offset: u64) -> Confirmed {
        let resource = self.resource.as_mut();
        let confirmed = resource.map_or_else(Confirmed::default, |known| known.confirm(offset));
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
        self.is_full(offset) && !self.is_foretold()
    }

    /// Whether the upload takes no more bytes.
    fn is_full(&self, offset: u64) -> bool {
        self.length == Some(offset) && self.told == Told::Yes
    }

    /// Whether the length is only what the server was told by others, or by an earlier run. Where the
    /// caller does not say how long the source is, nobody but the source knows where it ends.
    fn is_foretold(&self) -> bool {
        self.declared.is_none() && self.supply.is_open()
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
        if response::is_deferred(headers) {
            self.told = Told::No;
        } else if let Some(server) = response::length(headers) {
            self.told = Told::Yes;
            self.know_length(server);
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
                if length <= self.creation.bytes && length == self.supply.chunk.size(length) =>
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
}

impl Story for Transfer {
    type Step = Step;
    type Success = Uploaded;

    fn prepare(&mut self, step: Step) -> Option<Duty> {
        match step {
            Step::Append => self.supply.prepare(self.offset(), self.length),
            // It is complete when it is created: that there is nothing to read is to be known before.
            Step::Create if self.length == Some(0) => self.supply.prepare(0, self.length),
            Step::Create | Step::Probe | Step::Terminate => None,
        }
    }

    fn prepared(&mut self, line: &mut Line, step: Step, answer: Answer) -> Next {
        match self.supply.prepared(self.offset(), self.length, answer) {
            Ok(None) => Phase::Ready(step),
            Ok(Some(length)) => {
                self.know_length(length);
                if let Some(resource) = &mut self.resource {
                    resource.note_end(length);
                }
                // What only this run could have told, it tells.
                let others = self.resumed || matches!(self.start, Start::Upload(_));
                if step == Step::Append && others && self.is_whole(self.offset()) {
                    return self.found_complete(line, step.op());
                }
                Phase::Ready(step)
            }
            Err(Shortage::Conflict(conflict)) => self.unfit(line, step.op(), conflict),
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
            length_again: step == Step::Append && self.tells_length() && self.told != Told::No,
            ..Asked::new(step.op(), flight.fresh)
        };
        // The rows of the table that a ghost may have brought about.
        let doubtful = step == Step::Append
            && matches!(status, StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN)
            && resource.is_some_and(|resource| resource.ghost);
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
        let passed_on = matches!(status.as_u16(), 307 | 308 | 421);
        if step == Step::Append && self.tells_length() && !status.is_success() && !passed_on {
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
            Err(Phase::Asking(ask, step, without)) if doubtful => {
                // Should there be none, it is in doubt as before.
                if let Some(resource) = &mut self.resource {
                    resource.ghost = true;
                }
                return Phase::Asking(ask, step, without);
            }
            Err(Phase::Over(Some(result))) => {
                return match (*result, self.owed.end.take()) {
                    (Err(error), _) if doubtful => {
                        line.settle();
                        self.doubted(error)
                    }
                    (_, Some(error)) => Phase::failure(*error),
                    (result, _) => Phase::Over(Some(Box::new(result))),
                };
            }
            Err(next) => return next,
        };
        if step == Step::Probe
            && verdict != Verdict::Success
            && let Some(error) = self.owed.end.take()
        {
            // One HEAD is enough for a doubt.
            return Phase::failure(*error);
        }
        if step == Step::Probe
            && verdict != Verdict::Missing
            && let Some(resource) = &mut self.resource
        {
            // Only those in a row are evidence.
            resource.absence = Absence::default();
        }
        self.decide(line, step, (verdict, &asked), &flight, &answer)
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
        let loss = match loss.passing() {
            Ok(loss) => loss,
            Err(failure) => {
                if step == Step::Create && failure.kind != FailureKind::Hopeless {
                    // It was on its way when its source failed.
                    line.event(Event::Orphaned);
                }
                let place = self.place(line, op);
                return Phase::failure(match failure.kind {
                    FailureKind::SourceChanged => Error::SourceChanged { place },
                    FailureKind::Source => Error::Source { place, failure },
                    _ => Error::Hopeless { place, failure },
                });
            }
        };
        let (next, fate) = match (loss.kind(), step) {
            (FailureKind::NotSent, step) => (step, Fate::Unprocessed),
            (_, Step::Append) => (Step::Probe, Fate::Unanswered),
            (_, step) => (step, Fate::Unanswered),
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

    fn declined(&mut self, _: &mut Line, error: Error) -> Next {
        if let Some(end) = self.owed.end.take() {
            // It was asked for a doubt.
            return Phase::failure(*end);
        }
        let doubtful = matches!(
            &error,
            Error::Rejected { status: StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN, place, .. }
                if place.op == Op::Append
        );
        if doubtful
            && self
                .resource
                .as_ref()
                .is_some_and(|resource| resource.ghost)
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
        self.ended(line, step.op(), spent)
    }

    fn checkpoint(&self) -> Option<Checkpoint> {
        Some(Checkpoint {
            start: self.start.clone(),
            identity: self.identity.clone(),
            kept: Kept::Whole(self.saved()?),
        })
    }
}
