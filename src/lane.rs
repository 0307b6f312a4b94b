//! What every machine of one lane shares: polling, inputs, deadlines, and the one rule about
//! checkpoints: whatever must survive is durable before the lane sends anything else.

use bytes::Bytes;
use http::{Request, Response, StatusCode};

use crate::line::{Ask, Flight, Line, NotFollowed, Signal, Spent};
use crate::verdict::{Asked, Verdict, verdict};
use crate::wire::response;
use crate::{
    Algorithm, Answer, Body, Cancel, Cause, Checkpoint, Deadline, Duty, DutyId, Error, Event,
    Failure, FailureKind, Hint, Input, Limit, Op, Output, Place, Tick, Violation,
};

/// Where a lane stands. `S` names the requests of its story, `T` what it succeeds with.
#[derive(Debug)]
pub(crate) enum Phase<S, T> {
    /// This request goes out at the next poll.
    Ready(S),
    /// What this request needs of the source is being asked for, since this time.
    Preparing(DutyId, Tick, S),
    /// This request is out.
    Out(S),
    /// This request goes out when the time has come.
    Waiting(Tick, S),
    /// A checkpoint is being saved; this comes then.
    Saving(DutyId, Box<Phase<S, T>>),
    /// Credentials are asked for at the next poll; the request that comes then, or the error
    /// without them.
    Asking(Box<Ask>, S, Box<Error>),
    /// Credentials are being asked for, since this time.
    Authorizing(DutyId, Tick, Box<Ask>, S, Box<Error>),
    /// The end, and what is still to be told of it.
    Over(Option<Box<Result<T, Error>>>),
}

impl<S, T> Phase<S, T> {
    pub(crate) fn success(value: T) -> Self {
        Self::Over(Some(Box::new(Ok(value))))
    }

    pub(crate) fn failure(error: Error) -> Self {
        Self::Over(Some(Box::new(Err(error))))
    }

    /// It has ended, and not because it was cancelled.
    fn is_final(&self) -> bool {
        matches!(self, Self::Over(Some(result)) if !matches!(**result, Err(Error::Cancelled { .. })))
    }
}

/// How an exchange went wrong.
#[derive(Debug)]
pub(crate) enum Loss {
    Failed(Failure),
    TimedOut(Deadline),
}

impl Loss {
    pub(crate) fn kind(&self) -> FailureKind {
        match self {
            Self::Failed(failure) => failure.kind,
            Self::TimedOut(_) => FailureKind::Lost,
        }
    }

    /// Whether the machine ended the exchange, so that the transport's counts are not the last.
    pub(crate) fn stopped(&self) -> bool {
        matches!(self, Self::TimedOut(_))
    }

    /// The loss, if asking again may help; else what it failed of.
    pub(crate) fn passing(self) -> Result<Self, Failure> {
        match self {
            Self::Failed(failure)
                if !matches!(failure.kind, FailureKind::NotSent | FailureKind::Lost) =>
            {
                Err(failure)
            }
            loss => Ok(loss),
        }
    }

    pub(crate) fn cause(self) -> Cause {
        match self {
            Self::Failed(failure) => Cause::Failed(failure),
            Self::TimedOut(deadline) => Cause::TimedOut(deadline),
        }
    }
}

/// Deals with what does not depend on the request: answers outside the protocol, redirects,
/// credentials, and the end. Gives back the verdicts that do depend on it.
///
/// `retry` is the step that comes once there are credentials.
pub(crate) fn judge<S, T>(
    line: &mut Line,
    (step, retry): (S, S),
    asked: &Asked,
    flight: &Flight,
    answer: &Response<Bytes>,
    place: impl Fn(&Line) -> Box<Place>,
) -> Result<Verdict, Phase<S, T>> {
    let status = answer.status();
    let place = |line: &Line| {
        let mut place = place(line);
        place.url = flight.url.clone();
        place
    };
    let violation = |line: &Line, violation| {
        Phase::failure(Error::Protocol {
            place: place(line),
            status,
            violation,
        })
    };
    if !(200..600).contains(&status.as_u16()) {
        return Err(violation(line, Violation::Status));
    }
    if status != StatusCode::PRECONDITION_FAILED
        && let Some(version) = response::other_version(answer.headers())
    {
        if status.is_success() && matches!(asked.op, Op::Create | Op::Concatenate) {
            line.event(Event::Orphaned);
        }
        return Err(violation(line, Violation::Version(version)));
    }
    let rejected = |line: &Line, hint| Error::Rejected {
        place: place(line),
        status,
        words: response::refusal(flight.url.as_uri(), answer),
        hint,
    };
    match (
        verdict(asked, line.authorize(), answer),
        response::location(answer.headers()),
    ) {
        (Verdict::Follow, Some(location)) => {
            let permanent = status == StatusCode::PERMANENT_REDIRECT;
            Err(match line.follow(flight, location, permanent) {
                Ok(()) => Phase::Ready(step),
                Err(NotFollowed::TooMany) => violation(line, Violation::Redirects),
                Err(NotFollowed::Refused(refusal)) => Phase::failure(Error::Location {
                    place: place(line),
                    refusal,
                }),
            })
        }
        (Verdict::NewConnection, _) => {
            line.renew_connection();
            Err(Phase::Ready(step))
        }
        (Verdict::Authorize, _) => {
            line.settle();
            let hint = match status {
                StatusCode::UNAUTHORIZED => Some(Hint::Credentials),
                StatusCode::FORBIDDEN => Some(Hint::Permission),
                status if status.is_redirection() => Some(Hint::Redirect),
                _ => None,
            };
            let without = rejected(line, hint);
            Err(match line.may_ask(flight, answer) {
                Some(ask) => Phase::Asking(Box::new(ask), retry, Box::new(without)),
                None => Phase::failure(without),
            })
        }
        (Verdict::Fatal(hint), _) => Err(Phase::failure(rejected(line, hint))),
        (other, _) => {
            line.settle();
            Ok(other)
        }
    }
}

/// What a lane is for: which requests it makes, and what their answers lead to.
pub(crate) trait Story: Send + 'static {
    type Step: Copy + std::fmt::Debug + Send;
    type Success: std::fmt::Debug + Send + 'static;

    /// What is to be asked of the source before this step's request can be made.
    fn prepare(&mut self, _step: Self::Step) -> Option<Duty> {
        None
    }

    /// What an answer to that leads to.
    fn prepared(
        &mut self,
        _line: &mut Line,
        step: Self::Step,
        _answer: Answer,
    ) -> Phase<Self::Step, Self::Success> {
        Phase::Ready(step)
    }

    /// The request of this step.
    fn request(&self, step: Self::Step) -> (Op, Request<Body>);

    /// The checksum that is to follow its body.
    fn trailer(&self, _step: Self::Step) -> Option<Algorithm> {
        None
    }

    /// What an answer leads to.
    fn answered(
        &mut self,
        line: &mut Line,
        step: Self::Step,
        flight: Flight,
        answer: Response<Bytes>,
    ) -> Phase<Self::Step, Self::Success>;

    /// What the loss of an exchange leads to.
    fn lost(
        &mut self,
        line: &mut Line,
        step: Self::Step,
        flight: Flight,
        loss: Loss,
    ) -> Phase<Self::Step, Self::Success>;

    /// What it leads to that there are no fresh credentials, for which this error stands.
    fn declined(&mut self, line: &mut Line, error: Error) -> Phase<Self::Step, Self::Success>;

    /// What a cancel leads to; the exchange that was out has been stopped.
    fn cancelled(
        &mut self,
        line: &mut Line,
        flight: Option<Flight>,
        how: Cancel,
    ) -> Phase<Self::Step, Self::Success>;

    /// The end, because there is to be no further request: the limit's, or one that was decided before
    /// and waited for a request alone.
    fn spent(&self, line: &Line, step: Self::Step, spent: Spent) -> Error;

    /// What must survive as things stand.
    fn checkpoint(&self) -> Option<Checkpoint>;
}

/// A machine of one lane.
#[derive(Debug)]
pub(crate) struct Lane<S: Story> {
    line: Line,
    story: S,
    phase: Phase<S::Step, S::Success>,
    /// The checkpoint that the driver keeps, or was last given to keep.
    saved: Option<Checkpoint>,
    /// It could not be saved, or is not yet, so nobody knows what is kept.
    unsaved: bool,
    cancel: Option<Cancel>,
}

impl<S: Story> Lane<S> {
    /// `saved`: the checkpoint that the driver has already.
    pub(crate) fn new(
        line: Line,
        story: S,
        first: Phase<S::Step, S::Success>,
        saved: Option<Checkpoint>,
    ) -> Self {
        let mut this = Self {
            line,
            story,
            phase: Phase::Over(None),
            saved,
            unsaved: false,
            cancel: None,
        };
        if this.saved.is_some() {
            // It may be no longer what is true.
            this.turn(first);
        } else {
            this.phase = first;
        }
        this
    }

    pub(crate) fn checkpoint(&self) -> Option<Checkpoint> {
        self.story.checkpoint()
    }

    pub(crate) fn story(&self) -> &S {
        &self.story
    }

    pub(crate) fn story_mut(&mut self) -> &mut S {
        &mut self.story
    }

    pub(crate) fn line(&self) -> &Line {
        &self.line
    }

    /// Whether only its end comes after what is being saved.
    pub(crate) fn is_ending(&self) -> bool {
        matches!(&self.phase, Phase::Saving(_, then) if matches!(**then, Phase::Over(_)))
    }

    /// Whether it has come to an end, and said so.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over(None))
    }

    pub(crate) fn line_mut(&mut self) -> &mut Line {
        &mut self.line
    }

    /// Takes its end, if nobody was told of it yet.
    pub(crate) fn take_end(&mut self) -> Option<Result<S::Success, Error>> {
        let Phase::Over(end) = &mut self.phase else {
            return None;
        };
        let end = *end.take()?;
        Some(self.conclude(end))
    }

    /// Goes on after its end, with this step.
    pub(crate) fn restart(&mut self, change: impl FnOnce(&mut S) -> S::Step) {
        let step = change(&mut self.story);
        self.cancel = None;
        self.line.settle();
        self.turn(Phase::Ready(step));
    }

    pub(crate) fn poll(&mut self, now: Tick) -> Output<S::Success> {
        self.line.advance(now);
        self.keep_time();
        loop {
            match self.line.next_signal() {
                Some(Signal::Begin(id, duty)) => return Output::Begin(id, duty),
                Some(Signal::Stop(id)) => return Output::Stop(id),
                Some(Signal::Event(event)) => return Output::Event(event),
                None => (),
            }
            let until = match std::mem::replace(&mut self.phase, Phase::Over(None)) {
                Phase::Ready(step) if self.line.held().is_none() => {
                    self.send(step);
                    continue;
                }
                Phase::Waiting(until, step) if until <= self.line.now() => {
                    self.phase = Phase::Ready(step);
                    continue;
                }
                Phase::Asking(ask, step, without) => {
                    let id = self.line.ask(&ask);
                    self.phase = Phase::Authorizing(id, self.line.now(), ask, step, without);
                    continue;
                }
                Phase::Over(Some(result)) => return Output::Done(self.conclude(*result)),
                Phase::Over(None) => None,
                phase => {
                    let until = match &phase {
                        Phase::Waiting(until, _) => Some(*until),
                        Phase::Ready(_) => self.line.held(),
                        Phase::Out(_) => self.line.deadline().map(|(at, _)| at),
                        _ => None,
                    };
                    let total = self.line.budget.deadline();
                    let total = total.filter(|_| !matches!(phase, Phase::Saving(..)));
                    self.phase = phase;
                    until.into_iter().chain(total).min()
                }
            };
            return Output::Wait(self.line.until(until));
        }
    }

    pub(crate) fn handle(&mut self, now: Tick, input: Input) {
        self.line.advance(now);
        match input {
            Input::Sent(id, bytes) => self.line.sent(id, bytes),
            Input::Interim(id, _) => self.line.interim(id),
            Input::Cancel(how) => self.cancel(how),
            Input::Answer(id, answer) => self.answer(id, answer),
        }
    }

    /// Whether a later run can go on is known only now.
    fn conclude(&self, mut result: Result<S::Success, Error>) -> Result<S::Success, Error> {
        if let Err(error) = &mut result {
            error.place_mut().resumable = self.saved.is_some() && !self.unsaved;
        }
        result
    }

    fn send(&mut self, step: S::Step) {
        if let Some(duty) = self.story.prepare(step) {
            let id = self.line.begin(duty);
            self.phase = Phase::Preparing(id, self.line.now(), step);
            return;
        }
        let (op, request) = self.story.request(step);
        let trailer = self.story.trailer(step);
        match self.line.exchange(op, request, trailer) {
            Ok(()) => self.phase = Phase::Out(step),
            Err(limit) => self.turn(Phase::failure(self.spent(step, limit))),
        }
    }

    /// The end, because this limit says so.
    fn spent(&self, step: S::Step, limit: Limit) -> Error {
        self.story.spent(&self.line, step, self.line.spent(limit))
    }

    fn answer(&mut self, id: DutyId, answer: Answer) {
        match std::mem::replace(&mut self.phase, Phase::Over(None)) {
            Phase::Out(step) => match self.line.land(id) {
                Some(flight) => {
                    let line = &mut self.line;
                    let next = match answer {
                        Answer::Response(response) => {
                            self.story.answered(line, step, flight, response)
                        }
                        other => {
                            let loss = Loss::Failed(failure(other));
                            self.story.lost(line, step, flight, loss)
                        }
                    };
                    self.turn(next);
                }
                None => self.phase = Phase::Out(step),
            },
            Phase::Preparing(preparing, since, step) if preparing == id => {
                self.line.excuse(since);
                let next = self.story.prepared(&mut self.line, step, answer);
                self.turn(next);
            }
            Phase::Saving(saving, then) if saving == id => {
                if matches!(answer, Answer::Saved) {
                    self.unsaved = false;
                    self.turn(*then);
                } else {
                    let failure = failure(answer);
                    self.line.event(Event::CheckpointFailed { failure });
                    self.phase = *then;
                }
            }
            Phase::Authorizing(asking, since, ask, step, without) if asking == id => {
                self.line.excuse(since);
                if let Answer::Credentials(Some(headers)) = answer
                    && self.line.renew_credentials(ask.origin, headers)
                {
                    self.phase = Phase::Ready(step);
                } else {
                    let next = self.story.declined(&mut self.line, *without);
                    self.turn(next);
                }
            }
            other => self.phase = other,
        }
    }

    /// Goes on to `next`, but first to its checkpoint, if that is not the one that was saved.
    fn turn(&mut self, next: Phase<S::Step, S::Success>) {
        let wanted = self.story.checkpoint();
        if self.saved == wanted && !self.unsaved {
            self.phase = next;
        } else {
            self.saved.clone_from(&wanted);
            self.unsaved = true;
            let id = self.line.begin(Duty::Save(wanted));
            self.phase = Phase::Saving(id, Box::new(next));
        }
    }

    /// Ends what has taken too long.
    fn keep_time(&mut self) {
        let now = self.line.now();
        let step = match self.phase {
            Phase::Ready(step)
            | Phase::Preparing(_, _, step)
            | Phase::Out(step)
            | Phase::Waiting(_, step)
            | Phase::Asking(_, step, _)
            | Phase::Authorizing(_, _, _, step, _) => step,
            Phase::Saving(..) | Phase::Over(_) => return,
        };
        if self.line.budget.deadline().is_some_and(|at| at <= now) {
            // What it is depends on what the interruption makes the story forget.
            let error = self.spent(step, Limit::Deadline);
            self.interrupt(Cancel::Keep);
            self.turn(Phase::failure(error));
        } else if let Some((_, deadline)) = self.line.deadline().filter(|(at, _)| *at <= now)
            && let Some(flight) = self.line.stop_flight()
        {
            let loss = Loss::TimedOut(deadline);
            let next = self.story.lost(&mut self.line, step, flight, loss);
            self.turn(next);
        }
    }

    /// Stops what is out, and lets the story draw its conclusions.
    fn interrupt(&mut self, how: Cancel) -> Phase<S::Step, S::Success> {
        if let Phase::Authorizing(id, ..) | Phase::Preparing(id, ..) = self.phase {
            self.line.stop(id);
        }
        let flight = self.line.stop_flight();
        self.story.cancelled(&mut self.line, flight, how)
    }

    fn cancel(&mut self, how: Cancel) {
        if self.cancel.is_some_and(|before| how <= before) {
            return;
        }
        let stands = match &self.phase {
            // That it was cancelled is not told yet.
            Phase::Over(Some(end)) => !matches!(
                **end,
                Err(Error::Cancelled {
                    terminated: false,
                    ..
                })
            ),
            Phase::Over(None) => true,
            Phase::Saving(_, then) => then.is_final() && how < Cancel::Now,
            _ => false,
        };
        if stands {
            return;
        }
        self.cancel = Some(how);
        if how == Cancel::Now {
            let phase = std::mem::replace(&mut self.phase, Phase::Over(None));
            self.phase = match phase {
                Phase::Saving(_, then) if matches!(*then, Phase::Over(_)) => *then,
                phase => {
                    self.phase = phase;
                    self.interrupt(how)
                }
            };
            self.line.hush();
            return;
        }
        let next = self.interrupt(how);
        match &mut self.phase {
            // One checkpoint at a time; what has changed is saved after it.
            Phase::Saving(_, then) => **then = next,
            _ => self.turn(next),
        }
    }
}

/// What a duty failed of; an answer that belongs to another duty is a failure too.
pub(crate) fn failure(answer: Answer) -> Failure {
    match answer {
        Answer::Failed(failure) => failure,
        _ => Failure::new(
            FailureKind::Lost,
            "the driver gave the answer of another duty",
        ),
    }
}
