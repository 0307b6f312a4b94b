//! The end of an upload in parts: they are joined, looked at, and deleted if that is wished.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Uri};

use crate::call::named;
use crate::lane::{Loss, Phase, Story, judge};
use crate::line::{Flight, Line, Spent};
use crate::resource::Absence;
use crate::verdict::{Asked, Verdict, may_be_done};
use crate::wire::{request, response};
use crate::{
    Body, Cancel, Cause, Checkpoint, Config, Conflict, Error, Event, FailureKind, Limit, Metadata,
    Op, Place, Tick, UploadUrl,
};

/// The longest wait between two looks at a whole that is not complete yet.
const LONGEST_LOOK: Duration = Duration::from_secs(60);

/// The requests about the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Join the parts.
    Join,
    /// Ask whether an earlier run's whole is complete.
    Glance,
    /// Ask until the whole is complete.
    Look,
    /// Delete the first of those that are left.
    Discard,
    /// Delete the whole.
    Terminate,
}

impl Step {
    fn op(self) -> Op {
        match self {
            Self::Join => Op::Concatenate,
            Self::Glance | Self::Look => Op::Probe,
            Self::Discard | Self::Terminate => Op::Terminate,
        }
    }
}

/// What a step came to.
#[derive(Debug)]
pub(crate) enum Joined {
    /// The parts are joined, or will be; `look`: whether they are is to be seen there.
    At { url: UploadUrl, look: bool },
    /// They are not, or nobody knows: they are to be looked at, not before this time, and then joined.
    Verify { at: Tick },
    /// They are to be completed first.
    Later,
    /// It has every byte.
    Whole(UploadUrl),
    /// What was to be deleted is deleted.
    Deleted,
}

/// The story of the whole.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Joining {
    endpoint: UploadUrl,
    pub(crate) metadata: Metadata,
    /// The parts, in order, as `Upload-Concat` names them.
    pub(crate) list: HeaderValue,
    /// The length of the whole.
    pub(crate) length: u64,
    /// Where it is, once that is known.
    pub(crate) whole: Option<UploadUrl>,
    /// The whole is gone, or was never complete: whether a part lacks a byte tells.
    pub(crate) gone: bool,
    /// The parts are not complete yet.
    pub(crate) early: bool,
    /// They may have been joined, and nobody knows where.
    pub(crate) doubt: bool,
    /// They were just found complete.
    pub(crate) verified: bool,
    /// What is to be deleted.
    pub(crate) left: Vec<UploadUrl>,
    /// What could not be.
    stays: Vec<UploadUrl>,
    absence: Absence,
    /// How often the whole was found incomplete, and since when.
    looks: u32,
    since: Option<Tick>,
    /// How long it may be.
    patience: Duration,
}

type Next = Phase<Step, Joined>;

impl Joining {
    pub(crate) fn new(endpoint: Uri, length: u64, config: &Config) -> Self {
        Self {
            endpoint: UploadUrl::from(endpoint),
            metadata: config.metadata.clone(),
            list: HeaderValue::from_static(""),
            length,
            whole: None,
            gone: false,
            early: false,
            doubt: false,
            verified: false,
            left: Vec::new(),
            stays: Vec::new(),
            absence: Absence::default(),
            looks: 0,
            since: None,
            patience: config.timeouts.concatenation,
        }
    }

    fn url(&self, step: Step) -> UploadUrl {
        let url = match step {
            Step::Join => None,
            Step::Glance | Step::Look | Step::Terminate => self.whole.clone(),
            Step::Discard => self.left.first().cloned(),
        };
        url.unwrap_or_else(|| self.endpoint.clone())
    }

    pub(crate) fn place(&self, line: &Line, step: Step) -> Box<Place> {
        Box::new(Place {
            op: step.op(),
            url: self.url(step),
            attempts: line.budget.failures(),
            resumable: false,
        })
    }

    /// A failed attempt, and then this, once its wait is over.
    fn again(
        &mut self,
        line: &mut Line,
        step: Step,
        cause: Cause,
        retry_after: Option<Duration>,
        then: impl FnOnce(Tick) -> Next,
    ) -> Next {
        let busy = matches!(cause, Cause::Answered { .. }) && retry_after.is_none();
        match line.fail(step.op(), cause, retry_after) {
            Ok(at) => then(at),
            // Another part may not be busy.
            Err(Spent::Limit(Limit::Attempts | Limit::NoProgress | Limit::Veto, _))
                if step == Step::Discard && busy =>
            {
                self.kept(line)
            }
            Err(spent) => Phase::failure(spent.at(self.place(line, step))),
        }
    }

    /// Nobody knows what became of the request that joins the parts.
    fn doubted(&mut self, line: &mut Line, cause: Cause, retry_after: Option<Duration>) -> Next {
        line.event(Event::Orphaned);
        let early = self.early;
        self.doubt = true;
        self.again(line, Step::Join, cause, retry_after, |at| {
            if early {
                Phase::Waiting(at, Step::Join)
            } else {
                Phase::success(Joined::Verify { at })
            }
        })
    }

    /// Whether the server's whole is not that of these parts.
    fn contradiction(&self, headers: &HeaderMap) -> Option<Conflict> {
        match (response::length(headers), response::offset(headers)) {
            (Some(server), _) if server != self.length => Some(Conflict::Length {
                server,
                source_length: self.length,
            }),
            (_, Some(server)) if server > self.length => Some(Conflict::Offset {
                server,
                reach: self.length,
            }),
            _ => None,
        }
    }

    fn joined(&mut self, line: &mut Line, flight: &Flight, answer: &Response<Bytes>) -> Next {
        match named(line, self.endpoint.as_uri(), flight, answer) {
            Ok(url) => {
                line.event(Event::Created { url: url.clone() });
                if let Some(conflict) = self.contradiction(answer.headers()) {
                    line.event(Event::Orphaned);
                    let mut place = self.place(line, Step::Join);
                    place.url = url;
                    return Phase::failure(Error::Conflict { place, conflict });
                }
                let offset = response::offset(answer.headers());
                let short = offset.is_some_and(|offset| offset < self.length);
                // Before the parts were complete, it cannot have been.
                let look = self.early || short;
                Phase::success(Joined::At { url, look })
            }
            Err(misread) => {
                line.event(Event::Orphaned);
                self.doubt = true;
                let mut place = self.place(line, Step::Join);
                place.url = flight.url.clone();
                Phase::failure(misread.at(place, answer))
            }
        }
    }

    /// A whole that was asked for early may lack an offset until its parts are complete (P4): that is
    /// no failed attempt.
    fn looked(&mut self, line: &mut Line, step: Step, answer: &Response<Bytes>) -> Next {
        let headers = answer.headers();
        if let Some(conflict) = self.contradiction(headers) {
            let place = self.place(line, step);
            return Phase::failure(Error::Conflict { place, conflict });
        }
        if response::offset(headers) == Some(self.length) {
            return Phase::success(Joined::Whole(self.url(step)));
        }
        if step == Step::Glance {
            return Phase::success(Joined::Later);
        }
        let since = *self.since.get_or_insert(line.now());
        if line.now() - since >= self.patience {
            let cause = Cause::Unjoined;
            return self.again(line, Step::Look, cause, None, |at| {
                Phase::Waiting(at, Step::Look)
            });
        }
        // Until then there may be any number of them.
        line.budget.forgive_requests();
        let wait = Duration::from_secs(1 << self.looks.min(6)).min(LONGEST_LOOK);
        self.looks += 1;
        Phase::Waiting(line.now() + wait, Step::Look)
    }

    /// One is deleted, or is to stay.
    fn next_to_discard(&mut self) -> Next {
        if !self.left.is_empty() {
            self.left.remove(0);
        }
        if self.left.is_empty() {
            Phase::success(Joined::Deleted)
        } else {
            Phase::Ready(Step::Discard)
        }
    }

    /// One cannot be deleted. What the next one may cost is its own.
    fn kept(&mut self, line: &mut Line) -> Next {
        line.settle();
        line.budget.renew();
        self.stays.extend(self.left.first().cloned());
        self.next_to_discard()
    }

    /// What there still is of what was to be deleted, in order.
    pub(crate) fn leave(&mut self) -> Vec<UploadUrl> {
        let mut stays = std::mem::take(&mut self.stays);
        stays.append(&mut self.left);
        stays
    }
}

impl Story for Joining {
    type Step = Step;
    type Success = Joined;

    fn request(&self, step: Step) -> (Op, Request<Body>) {
        let url = self.url(step);
        let url = url.as_uri();
        let request = match step {
            Step::Join => request::concatenate(url, self.list.clone(), &self.metadata),
            Step::Glance | Step::Look => request::head(url),
            Step::Discard | Step::Terminate => request::terminate(url),
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
        let asked = Asked {
            worked: step.op() == Op::Probe,
            verified: self.verified,
            ..Asked::new(step.op(), flight.fresh)
        };
        let verdict = judge(line, (step, step), &asked, &flight, &answer, |line| {
            self.place(line, step)
        });
        let verdict = match verdict {
            Ok(verdict) => verdict,
            Err(Phase::Over(_)) if step == Step::Discard => return self.kept(line),
            Err(next) => {
                // It speaks another version, and has joined them.
                self.doubt |= step == Step::Join && status.is_success();
                return next;
            }
        };
        if verdict != Verdict::Missing {
            self.absence = Absence::default();
        }
        let retry_after = response::retry_after(answer.headers());
        let cause = Cause::Answered {
            status,
            words: response::said(&answer),
        };
        match (verdict, step) {
            (Verdict::Success, Step::Join) => self.joined(line, &flight, &answer),
            (Verdict::Success, step @ (Step::Glance | Step::Look)) => {
                self.looked(line, step, &answer)
            }
            (Verdict::Success | Verdict::Gone, Step::Discard) => {
                line.budget.renew();
                self.next_to_discard()
            }
            (Verdict::Success | Verdict::Gone, Step::Terminate) => Phase::success(Joined::Deleted),
            (Verdict::PartsUnfinished, _) if self.early => Phase::success(Joined::Later),
            (Verdict::PartsUnfinished, _) => self.again(line, step, cause, retry_after, |at| {
                Phase::success(Joined::Verify { at })
            }),
            (Verdict::Missing, _) if !self.absence.is_believed(line.now()) => {
                self.again(line, step, cause, retry_after, |at| {
                    Phase::Waiting(at, step)
                })
            }
            (Verdict::Gone | Verdict::Missing, Step::Glance) => {
                self.gone = true;
                Phase::success(Joined::Later)
            }
            // Joined, complete, and moved away?
            (Verdict::Gone | Verdict::Missing, _) => Phase::failure(Error::CompletionUnknown {
                place: self.place(line, step),
            }),
            (_, Step::Join) if may_be_done(&asked, &answer) => {
                self.doubted(line, cause, retry_after)
            }
            (_, step) => self.again(line, step, cause, retry_after, |at| {
                Phase::Waiting(at, step)
            }),
        }
    }

    fn lost(&mut self, line: &mut Line, step: Step, _: Flight, loss: Loss) -> Next {
        line.settle();
        match loss.passing() {
            Ok(loss) if step == Step::Join && loss.kind() == FailureKind::Lost => {
                self.doubted(line, loss.cause(), None)
            }
            Ok(loss) => self.again(line, step, loss.cause(), None, |at| {
                Phase::Waiting(at, step)
            }),
            Err(_) if step == Step::Discard => self.kept(line),
            Err(failure) => {
                // The transport may have noticed that when the server had joined them.
                self.doubt |= step == Step::Join;
                Phase::failure(Error::Hopeless {
                    place: self.place(line, step),
                    failure,
                })
            }
        }
    }

    fn cancelled(&mut self, line: &mut Line, flight: Option<Flight>, _: Cancel) -> Next {
        if flight.is_some_and(|flight| flight.op == Op::Concatenate) {
            line.event(Event::Orphaned);
            self.doubt = true;
        }
        Phase::failure(Error::Cancelled {
            place: self.place(line, Step::Look),
            terminated: false,
        })
    }

    fn declined(&mut self, line: &mut Line, error: Error) -> Next {
        match error.place().op {
            Op::Terminate if !self.left.is_empty() => self.kept(line),
            _ => Phase::failure(error),
        }
    }

    fn spent(&self, line: &Line, step: Step, spent: Spent) -> Error {
        spent.at(self.place(line, step))
    }

    /// The parts' checkpoint is kept elsewhere.
    fn checkpoint(&self) -> Option<Checkpoint> {
        None
    }
}
