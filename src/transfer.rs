//! What an upload is made of: which request comes next, and what an answer changes.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Uri};

use crate::checkpoint::{Ending, Start};
use crate::chunk::Chunk;
use crate::config::MAX_IDENTITY;
use crate::lane::{Loss, Phase, Story, judge};
use crate::line::{Flight, Line, Spent};
use crate::resource::{Confirmed, Ghost, Resource};
use crate::upload::{Completion, Uploaded};
use crate::verdict::{Asked, Fate, Verdict, fate};
use crate::wire::{request, response};
use crate::{
    Body, Cancel, Cause, Checkpoint, Config, Conflict, Error, Event, FailureKind, Hint, Metadata,
    Misuse, Op, Place, UploadUrl, Violation,
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
    length: u64,
    metadata: Metadata,
    identity: Option<String>,
    recreations: u32,
    chunk: Chunk,
    /// The upload on the server, once there is one.
    resource: Option<Resource>,
    /// What the offset that a HEAD brings will decide, beside where to go on.
    owed: Owed,
    /// Appends lost in a row without new bytes.
    losses: u32,
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
    pub(crate) fn new(start: Start, length: u64, config: &Config) -> Result<Self, Misuse> {
        if config.request_size == Some(0) {
            return Err(Misuse::RequestSize);
        }
        if config
            .identity
            .as_ref()
            .is_some_and(|identity| identity.len() > MAX_IDENTITY)
        {
            return Err(Misuse::Identity);
        }
        let resource = match &start {
            Start::Endpoint(_) => None,
            Start::Upload(url) => Some(Resource::at(UploadUrl::new(url.clone()), length)),
        };
        Ok(Self {
            start,
            length,
            metadata: config.metadata.clone(),
            identity: config.identity.clone(),
            recreations: config.recreations,
            chunk: Chunk::new(config.request_size),
            resource,
            owed: Owed::default(),
            losses: 0,
        })
    }

    /// As an earlier run left it, at this URL.
    pub(crate) fn resume(
        checkpoint: Checkpoint,
        url: UploadUrl,
        config: &Config,
    ) -> Result<Self, Misuse> {
        let mut transfer = Self::new(checkpoint.start, checkpoint.length, config)?;
        transfer.identity = checkpoint.identity;
        transfer.resource = Some(Resource {
            spoke: checkpoint.spoke,
            expires: checkpoint.expires,
            ending: checkpoint.ending,
            ..Resource::at(url, checkpoint.length)
        });
        Ok(transfer)
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
        line.gain(confirmed.gained, offset == self.length);
        line.event(Event::Confirmed {
            offset,
            length: Some(self.length),
        });
        confirmed
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
        self.resource = None;
        Phase::success(Uploaded {
            url: place.url,
            length: self.length,
            completion,
        })
    }

    /// The upload is not there any more.
    fn gone(&mut self, line: &mut Line, headers: &HeaderMap) -> Next {
        let place = self.place(line, Op::Probe);
        let Some(resource) = &self.resource else {
            return Phase::failure(Error::Gone { place });
        };
        if resource.may_be_complete(headers) {
            return Phase::failure(Error::CompletionUnknown { place });
        }
        self.resource = None;
        if matches!(self.start, Start::Upload(_)) || self.recreations == 0 {
            return Phase::failure(Error::Gone { place });
        }
        self.recreations -= 1;
        self.owed = Owed::default();
        self.losses = 0;
        line.event(Event::Recreating { gone: place.url });
        Phase::Ready(Step::Create)
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
        if let Some(to) = self.chunk.lost(size) {
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
            (Verdict::Missing, _) => self.missing(line, answer, cause),
            (Verdict::Gone, _) => self.gone(line, answer.headers()),
            // What is left is a failed attempt. An append owes a HEAD.
            (_, step) => {
                if step == Step::Create
                    && (status.is_server_error() || fate(answer) == Fate::Unanswered)
                {
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
        let mut place = self.place(line, Op::Create);
        place.url = flight.url.clone();
        let violation = |place, violation| {
            Phase::failure(Error::Protocol {
                place,
                status: answer.status(),
                violation,
            })
        };
        let Some(location) = response::location(headers) else {
            return violation(place, Violation::NoLocation);
        };
        let url = match line.admit(flight.url.as_uri(), location) {
            Ok(url) => url,
            Err(refusal) => return Phase::failure(Error::Location { place, refusal }),
        };
        if same(url.as_uri(), self.start.uri()) || same(url.as_uri(), flight.url.as_uri()) {
            return violation(place, Violation::LocationIsEndpoint);
        }
        line.event(Event::Created { url: url.clone() });
        let resource = Resource {
            spoke: response::names_tus(headers),
            reach: Some(0),
            ghost: Ghost::None,
            ..Resource::at(url, self.length)
        };
        if let Some(conflict) = resource.contradiction(headers, 0) {
            return self.conflict(line, Op::Create, conflict);
        }
        self.resource = Some(resource);
        self.note_expiry(line, headers);
        if self.length == 0 {
            self.complete(line, Op::Create, Completion::Acknowledged)
        } else {
            Phase::Ready(Step::Append)
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
        let confirmed = self.confirm(line, offset);
        if let Some(resource) = &mut self.resource {
            resource.probed = true;
        }
        let owed = std::mem::take(&mut self.owed);
        if offset == self.length {
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
            match self.chunk.refused(size) {
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
        if offset == self.length {
            return self.complete(line, Op::Append, Completion::Acknowledged);
        }
        if offset <= from {
            let cause = if confirmed.rewound.is_some() {
                Cause::Rewound
            } else {
                Cause::NothingTaken
            };
            return self.again(line, Op::Append, cause, retry_after, Step::Append);
        }
        if let Some(to) = self.chunk.taken(to - from, offset - from) {
            line.event(Event::Shrunk { to });
        }
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

/// Whether two URLs name the same, an empty query left out.
fn same(one: &Uri, other: &Uri) -> bool {
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

impl Story for Transfer {
    type Step = Step;
    type Success = Uploaded;

    fn request(&self, step: Step) -> (Op, Request<Body>) {
        let url = self.url();
        let url = url.as_uri();
        let request = match step {
            Step::Create => request::create(url, self.length, &self.metadata),
            Step::Probe => request::head(url),
            Step::Terminate => request::terminate(url),
            Step::Append => {
                let from = self.resource.as_ref().map_or(0, |resource| resource.offset);
                let to = from.saturating_add(self.chunk.size()).min(self.length);
                request::append(url, from..to)
            }
        };
        (step.op(), request)
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
        let asked = Asked {
            op: step.op(),
            worked: resource.is_some_and(|resource| match step {
                Step::Append => resource.appended,
                _ => resource.probed,
            }),
            fresh: flight.fresh,
            length: Some(self.length),
        };
        // The rows of the table that a ghost may have brought about.
        let doubtful = step == Step::Append
            && matches!(status, StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN)
            && resource.is_some_and(|resource| resource.ghost == Ghost::Whole);
        if step == Step::Append
            && let Some(resource) = &mut self.resource
        {
            let fate = fate(&answer);
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
            Step::Create if fate == Fate::Unanswered => line.event(Event::Orphaned),
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
        let resource = self.resource.as_ref()?;
        Some(Checkpoint {
            start: self.start.clone(),
            url: resource.url.as_uri().clone(),
            length: self.length,
            identity: self.identity.clone(),
            spoke: resource.spoke,
            expires: resource.expires,
            ending: resource.ending.clone(),
        })
    }
}
