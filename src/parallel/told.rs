//! What the parts say, as what is said of the whole.

use std::time::Duration;

use http::Uri;

use super::stages::Stage;
use super::{Joins, Parallel, Part, part_of};
use crate::{Body, Cause, Conflict, Duty, DutyId, Error, Event, Limit, Op, Output, UploadUrl};

impl Parallel {
    pub(super) fn begin(&mut self, id: DutyId, duty: Duty) {
        let part = part_of(id).and_then(|at| self.parts.get(at));
        let base = part.map_or(0, |part| part.base);
        let in_whole = |range: Body| {
            if range.is_empty() {
                range
            } else {
                range.start + base..range.end + base
            }
        };
        let duty = match duty {
            Duty::Save(_) => return self.await_save(id),
            Duty::Authorize { ref uri, .. } => {
                if !self.ask(id, uri) {
                    return;
                }
                duty
            }
            Duty::Exchange(request, terms) => {
                if let Some(at) = part_of(id)
                    && terms.op == Op::Append
                {
                    if self.is_shared(at, request.uri()) {
                        return self.end_as_shared(at);
                    }
                    self.parts[at].target = Some(UploadUrl::from(request.uri().clone()));
                }
                self.outage.sent(id.lane);
                Duty::Exchange(request.map(in_whole), terms)
            }
            Duty::Digest { algorithm, range } => Duty::Digest {
                algorithm,
                range: in_whole(range),
            },
            // A source that is read as it comes has no parts.
            Duty::Read { .. } => duty,
        };
        self.said.push_back(Output::Begin(id, duty));
    }

    /// Whether another part is there, or sends there.
    pub(super) fn is_shared(&self, at: usize, uri: &Uri) -> bool {
        self.parts.iter().enumerate().any(|(other, part)| {
            let target = part.target.as_ref().map(UploadUrl::as_uri);
            other != at && [part.url(), target].contains(&Some(uri))
        })
    }

    /// The server does not tell the parts apart, and would mix them.
    pub(super) fn end_as_shared(&mut self, at: usize) {
        let lane = &self.parts[at].lane;
        let place = lane.story().place(lane.line(), Op::Append);
        self.forgotten = true;
        self.end_with(Err(Error::Conflict {
            place,
            conflict: Conflict::Shared,
        }));
    }

    pub(super) fn pass_on_stop(&mut self, id: DutyId) {
        self.asking.withdraw(id);
        self.said.push_back(Output::Stop(id));
    }

    /// Tells what happened.
    pub(super) fn tell(&mut self, event: Event) {
        self.orphaned |= matches!(event, Event::Orphaned);
        self.said.push_back(Output::Event(event));
    }

    /// What happened to the whole.
    pub(super) fn tell_of_whole(&mut self, event: Event) {
        match event {
            // Told with the question, for it may be asked already.
            Event::Authorizing { .. } => (),
            event => self.tell(event),
        }
    }

    /// What happened to a part: offsets become those of the whole, amounts are of all parts.
    pub(super) fn tell_of_part(&mut self, at: usize, event: Event) {
        let part = &mut self.parts[at];
        let event = match event {
            Event::Sent { offset } => {
                part.sent = offset;
                let offset = self.sum(|part| part.sent);
                Event::Sent { offset }
            }
            Event::Appending { from, to } => {
                part.sent = from;
                let base = part.base;
                Event::Appending {
                    from: from + base,
                    to: to + base,
                }
            }
            Event::Confirmed { offset, .. } => {
                let gained = offset.saturating_sub(part.highest);
                let all = offset == part.length;
                (part.confirmed, part.sent) = (offset, offset);
                part.highest = part.highest.max(offset);
                self.outage.gain(gained, all);
                self.whole.line_mut().gain(gained, all);
                if !all && self.whole.story().gone {
                    // It lacked these bytes, and was not moved away with them.
                    self.forsake_whole();
                }
                Event::Confirmed {
                    offset: self.sum(|part| part.confirmed),
                    length: Some(self.length()),
                }
            }
            Event::Rewound { from, to } => {
                let before = self.sum(|part| part.confirmed);
                Event::Rewound {
                    from: before,
                    to: before.saturating_sub(from - to),
                }
            }
            Event::Recreating { .. } => {
                (part.confirmed, part.sent, part.highest) = (0, 0, 0);
                self.settle_doubt();
                self.forsake_whole();
                event
            }
            Event::Retrying {
                op,
                ref cause,
                after,
                ..
            } => {
                if let Some(error) = self.failed(at, op, cause, after) {
                    return self.end_with(Err(error));
                }
                event
            }
            event => return self.tell_of_whole(event),
        };
        self.tell(event);
    }

    /// The whole waits for a part that is gone, and will be asked for anew.
    fn forsake_whole(&mut self) {
        let story = self.whole.story_mut();
        story.gone = false;
        if story.whole.take().is_some() {
            self.note_parts_joined(self.joins == Joins::InDoubt);
            self.saving.changed = true;
            self.tell(Event::Orphaned);
            self.check_list();
        }
    }

    /// Of a part that was gone in an earlier run the checkpoint knows no more, and the whole of that run
    /// waits for it.
    pub(super) fn forsake_lost_whole(&mut self) {
        if self.parts.iter().any(|part| part.url().is_none()) {
            self.settle_doubt();
            self.forsake_whole();
        }
    }

    /// A part is gone that was not complete: nothing was joined of it.
    fn settle_doubt(&mut self) {
        self.whole.story_mut().doubt = false;
        self.joins = Joins::No;
        self.note_parts_joined(false);
    }

    fn sum(&self, of: impl Fn(&Part) -> u64) -> u64 {
        self.parts.iter().map(of).sum()
    }

    /// A part's attempt failed; an error, if it was the last one.
    fn failed(&mut self, at: usize, op: Op, cause: &Cause, after: Duration) -> Option<Error> {
        // A deletion waits for deletions alone.
        let counts = self.stage != Stage::Terminate || op == Op::Terminate;
        if counts && pauses(cause) {
            let until = self.now + after;
            for (other, part) in self.parts.iter_mut().enumerate() {
                if other != at {
                    part.lane.line_mut().hold_until(until);
                }
            }
        }
        let lane = &self.parts[at].lane;
        let mut place = lane.story().place(lane.line(), op);
        let outages = self.outage.failed(lane.line().lane());
        if self.stage == Stage::Terminate || self.outage.allows(outages) {
            return None;
        }
        place.attempts = outages;
        Some(Error::Exhausted {
            place,
            limit: Limit::Attempts,
            cause: Some(Box::new(cause.clone())),
        })
    }
}

/// What is bad for one part is likely bad for all.
fn pauses(cause: &Cause) -> bool {
    match cause {
        Cause::Answered { status, .. } => matches!(status.as_u16(), 429 | 503),
        Cause::Failed(_) | Cause::TimedOut(_) => true,
        _ => false,
    }
}
