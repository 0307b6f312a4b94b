//! Which parts run, when they are joined, and how it ends.

use std::ops::ControlFlow::{self, Break, Continue};

use crate::call::same;
use crate::joining::{self, Joined};
use crate::transfer;
use crate::wire::request::concatenation_list;
use crate::{Cancel, Completion, Error, Event, Input, Op, Output, Tick, UploadUrl, Uploaded};

use super::{Joins, Parallel, Part, State};

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The parts are created, for a whole that is asked for before they are complete.
    Create,
    /// The parts are sent, or looked at, and what they lack is sent.
    Send,
    /// That they will be joined is made durable, whether they are complete or not.
    Commit,
    /// The whole is asked for, or looked at.
    Join,
    /// The parts are deleted, for they are joined.
    Discard,
    /// The whole and then the parts are deleted, for the caller wants no upload.
    Terminate,
    /// The end is decided; the rest comes to its end.
    End,
    /// It is told.
    Over,
}

impl Parallel {
    /// Goes on with whatever can; says until when there is nothing to do.
    pub(super) fn step(&mut self) -> Option<Output<Uploaded>> {
        self.start_parts();
        let mut until = None;
        for at in 0..self.parts.len() {
            if self.parts[at].state == State::Running {
                let output = self.parts[at].lane.poll(self.now);
                let tell = |all: &mut Self, event| all.tell_of_part(at, event);
                let end = |all: &mut Self, result| all.part_ended(at, result);
                let Continue(wait) = self.relay(output, tell, end) else {
                    return None;
                };
                until = earlier(until, wait);
            }
        }
        let output = self.whole.poll(self.now);
        let Continue(wait) = self.relay(output, Self::tell_of_whole, Self::whole_ended) else {
            return None;
        };
        until = earlier(until, wait);
        if self.save() || self.turn() {
            return None;
        }
        Some(Output::Wait(until))
    }

    /// Deals with what a lane wants; gives until when it waits, if it wants nothing.
    fn relay<T>(
        &mut self,
        output: Output<T>,
        tell: impl FnOnce(&mut Self, Event),
        end: impl FnOnce(&mut Self, Result<T, Error>),
    ) -> ControlFlow<(), Option<Tick>> {
        match output {
            Output::Wait(until) => return Continue(until),
            Output::Done(result) => end(self, result),
            Output::Begin(id, duty) => self.begin(id, duty),
            Output::Stop(id) => self.pass_on_stop(id),
            Output::Event(event) => tell(self, event),
        }
        Break(())
    }

    /// Begins as many parts as may run.
    fn start_parts(&mut self) {
        let (create, delete) = match self.stage {
            Stage::Create => (true, false),
            Stage::Send => (false, false),
            // A server may not let go of a part that a whole waits for.
            Stage::Terminate if self.whole.is_over() => (false, true),
            _ => return,
        };
        // The first one's URL tells whether the list of all can be sent.
        let most = if self.parts.iter().any(|part| part.url().is_some()) {
            usize::try_from(self.settings.at_once)
                .unwrap_or(usize::MAX)
                .max(1)
        } else {
            1
        };
        let is_running = |part: &&Part| part.state == State::Running;
        let free = most.saturating_sub(self.parts.iter().filter(is_running).count());
        let waiting = self
            .parts
            .iter_mut()
            .filter(|part| part.state == State::Waiting && !(create && part.url().is_some()));
        for part in waiting.take(free) {
            part.state = State::Running;
            if delete {
                part.lane.line_mut().budget.renew();
                part.lane.restart(|_| transfer::Step::Terminate);
            }
        }
    }

    /// Goes on to the next stage, if the present one is over and all is saved that it brought.
    fn turn(&mut self) -> bool {
        if self.saving.is_due() && self.cancel != Some(Cancel::Now) {
            return false;
        }
        let parts = |is: fn(&Part) -> bool| self.parts.iter().all(is);
        match self.stage {
            Stage::Create if parts(|part| part.url().is_some()) => self.commit(),
            Stage::Send if parts(|part| part.state == State::Over) => {
                if self.whole.story().whole.is_some() {
                    self.stage = Stage::Join;
                    self.whole.line_mut().budget.renew();
                    self.whole.restart(|_| joining::Step::Look);
                } else {
                    self.commit();
                }
            }
            // Their first bytes may have been all.
            Stage::Commit => self.ask_to_join(!parts(|part| part.state == State::Over)),
            Stage::Terminate if self.whole.is_over() && parts(|part| part.state == State::Over) => {
                self.stage = Stage::End;
            }
            // Whatever still ran was stopped, and waited for nothing but a save.
            Stage::End => self.conclude(),
            _ => return false,
        }
        true
    }

    fn commit(&mut self) {
        if self.joins == Joins::No {
            self.joins = Joins::Asked;
        }
        self.saving.changed = true;
        self.stage = Stage::Commit;
    }

    /// The server is not asked any more: whether it may have joined the parts, and nobody knows where.
    fn settle_joins(&mut self) {
        let settled = match self.joins {
            _ if self.whole.story().doubt => Joins::InDoubt,
            Joins::Asked => Joins::No,
            joins => joins,
        };
        self.saving.changed |= settled != self.joins;
        self.joins = settled;
    }

    fn ask_to_join(&mut self, early: bool) {
        let parts = self.parts.iter().filter_map(Part::url);
        let home = self.settings.relative.then_some(self.endpoint.as_uri());
        let list = concatenation_list(parts, home);
        let parts = self.parts.len();
        self.said.push_back(Output::Event(Event::Joining { parts }));
        self.stage = Stage::Join;
        self.whole.restart(|story| {
            story.list = list;
            story.early = early;
            joining::Step::Join
        });
    }

    fn part_ended(&mut self, at: usize, result: Result<Uploaded, Error>) {
        let url = self.parts[at].url();
        let shared = url.is_some_and(|url| self.is_shared(at, url));
        let part = &mut self.parts[at];
        part.state = State::Over;
        match (self.stage, result) {
            (
                Stage::Terminate,
                Err(Error::Cancelled {
                    terminated: true, ..
                }),
            ) => self.deleted = true,
            (Stage::Terminate, Err(error)) if error.place().op == Op::Terminate => {
                self.rather(error);
            }
            // However it ended: what there is of it is deleted.
            (Stage::Terminate, _) if part.url().is_some() => part.state = State::Waiting,
            (Stage::End, Err(error)) => self.rather(error),
            (Stage::Terminate | Stage::End, _) => (),
            // Another's bytes may be there in the place of its own.
            (_, Ok(_)) if shared => self.end_as_shared(at),
            (_, Ok(done)) => {
                self.observed |= done.completion == Completion::Observed;
                (part.confirmed, part.sent) = (part.length, part.length);
            }
            (_, Err(error)) => self.end_with(Err(error)),
        }
    }

    fn whole_ended(&mut self, result: Result<Joined, Error>) {
        match (self.stage, result) {
            (Stage::Join, Ok(joined)) => self.joined(joined),
            (Stage::Join, Err(error)) => {
                self.forgotten |= matches!(error, Error::Conflict { .. });
                self.end_with(Err(error));
            }
            (Stage::Discard, _) => {
                self.leave_parts();
                self.stage = Stage::End;
            }
            (Stage::Terminate, Ok(_)) => {
                self.whole.story_mut().whole = None;
                self.saving.changed = true;
                self.deleted = true;
            }
            (Stage::Terminate, Err(error)) => self.rather(error),
            _ => (),
        }
    }

    fn joined(&mut self, joined: Joined) {
        if let Joined::At { url, .. } | Joined::Whole(url) = &joined {
            let is_there = |part: &Part| part.url().is_some_and(|part| same(part, url.as_uri()));
            if let Some(at) = self.parts.iter().position(is_there) {
                return self.end_as_shared(at);
            }
        }
        match joined {
            Joined::At { url, look: true } => {
                self.whole.story_mut().whole = Some(url);
                self.settle_joins();
                self.note_parts_joined(true);
                self.stage = Stage::Send;
                self.saving.changed = true;
            }
            Joined::Later => {
                self.settle_joins();
                if self.joins == Joins::InDoubt {
                    self.note_parts_joined(true);
                }
                self.stage = Stage::Send;
                self.forsake_lost_whole();
            }
            Joined::Whole(url) if self.observed => self.succeed(url, Completion::Observed),
            Joined::At { url, .. } | Joined::Whole(url) => {
                self.succeed(url, Completion::Acknowledged);
            }
            Joined::Verify { at } => {
                self.settle_joins();
                self.saving.changed = true;
                self.whole.story_mut().verified = true;
                self.stage = Stage::Send;
                self.note_parts_joined(self.joins == Joins::InDoubt);
                for part in &mut self.parts {
                    part.state = State::Waiting;
                    part.lane.line_mut().hold_until(at);
                    part.lane.restart(|_| transfer::Step::Probe);
                }
            }
            Joined::Deleted => (),
        }
    }

    /// Takes whether a part that is gone may be so because it was joined.
    pub(super) fn note_parts_joined(&mut self, may: bool) {
        for part in &mut self.parts {
            part.lane.story_mut().note_joined(may);
        }
    }

    /// There is one upload now.
    fn succeed(&mut self, url: UploadUrl, completion: Completion) {
        let urls = self.parts.iter().filter_map(Part::url);
        let parts: Vec<_> = urls.cloned().map(UploadUrl::from).collect();
        let (left, parts) = if self.settings.discard {
            (parts, Vec::new())
        } else {
            (Vec::new(), parts)
        };
        self.whole.story_mut().left = left;
        self.forgotten = true;
        let length = self.length();
        self.end_with(Ok(Uploaded {
            url,
            length,
            completion,
            parts,
        }));
    }

    /// The parts that were to be deleted, and were not, stay.
    fn leave_parts(&mut self) {
        let left = self.whole.story_mut().leave();
        if let Some(Ok(done)) = &mut self.end {
            for url in left {
                let event = Event::PartLeft { url: url.clone() };
                self.said.push_back(Output::Event(event));
                done.parts.push(url);
            }
        }
    }

    /// Decides how it ends, once; whatever still goes on is stopped.
    pub(super) fn end_with(&mut self, result: Result<Uploaded, Error>) {
        if self.end.is_some() {
            return;
        }
        self.end = Some(result);
        self.stage = Stage::End;
        self.saving.changed = true;
        let now = self.cancel == Some(Cancel::Now);
        self.stop_all(if now { Cancel::Now } else { Cancel::Keep });
    }

    fn stop_all(&mut self, how: Cancel) {
        for part in &mut self.parts {
            if part.state == State::Running {
                part.lane.handle(self.now, Input::Cancel(how));
            }
        }
        self.whole.handle(self.now, Input::Cancel(how));
        self.settle_joins();
    }

    /// All is saved that must be, and nothing runs.
    fn conclude(&mut self) {
        if !self.whole.story().left.is_empty() {
            self.stage = Stage::Discard;
            self.whole.line_mut().budget.renew();
            self.whole.restart(|_| joining::Step::Discard);
        } else if let Some(mut result) = self.end.take() {
            if let Err(Error::Cancelled { terminated, .. }) = &mut result {
                *terminated &= self.deleted && !self.orphaned;
            }
            if let Err(error) = &mut result {
                // What was kept may name parts that are deleted by now.
                error.place_mut().resumable = self.saving.is_kept() && self.pieces().is_some();
            }
            self.stage = Stage::Over;
            self.said.push_back(Output::Done(result));
        }
    }

    pub(super) fn cancel(&mut self, how: Cancel) {
        if self.stage == Stage::Over || self.cancel >= Some(how) {
            return;
        }
        self.cancel = Some(how);
        // What has ended before it was cancelled has ended.
        if let Some(result) = self.whole.take_end() {
            self.whole_ended(result);
        }
        match (&self.end, self.stage) {
            // A success stands. What is not deleted yet stays.
            (Some(Ok(_)), Stage::Discard) => self.whole.handle(self.now, Input::Cancel(how)),
            (Some(Ok(_)), _) => self.leave_parts(),
            (Some(Err(Error::Cancelled { .. })), Stage::End) if how == Cancel::Terminate => {
                self.terminate();
            }
            // So does an error. One that waits for a save alone is told in place of a cancel.
            (Some(Err(_)), Stage::End) if how < Cancel::Now => (),
            (Some(Err(_)), Stage::End) => self.stop_all(how),
            _ if how == Cancel::Terminate => self.terminate(),
            _ => {
                let place = self.place(Op::Append);
                self.end = None;
                self.end_with(Err(Error::Cancelled {
                    place,
                    terminated: false,
                }));
            }
        }
        if how == Cancel::Now {
            self.saving.withdraw();
            // What was not told yet is not begun.
            self.said
                .retain(|output| !matches!(output, Output::Begin(..)));
        }
    }

    fn terminate(&mut self) {
        self.stop_all(Cancel::Keep);
        // Who asked was stopped, and may ask again before that is told.
        self.asking.forget();
        for part in &mut self.parts {
            // A busy server's wait was for bytes.
            part.lane.line_mut().release();
            if part.state != State::Running {
                part.state = match part.url() {
                    Some(_) => State::Waiting,
                    None => State::Over,
                };
            }
        }
        if self.whole.story().whole.is_some() {
            self.whole.line_mut().budget.renew();
            self.whole.restart(|_| joining::Step::Terminate);
        }
        let place = self.place(Op::Terminate);
        self.end = Some(Err(Error::Cancelled {
            place,
            terminated: true,
        }));
        self.stage = Stage::Terminate;
    }

    /// Something failed before it could be cancelled, or could not be deleted: the first such error is
    /// told in place of the cancel.
    fn rather(&mut self, error: Error) {
        let is_cancel = |error: &Error| matches!(error, Error::Cancelled { .. });
        if let Some(Err(end)) = &mut self.end
            && is_cancel(end)
            && !is_cancel(&error)
        {
            *end = error;
        }
    }
}

fn earlier(one: Option<Tick>, other: Option<Tick>) -> Option<Tick> {
    one.into_iter().chain(other).min()
}
