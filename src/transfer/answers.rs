//! What the answers to an upload's requests change.

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, Uri};

use super::{Next, Owed, Step, Told, Transfer};
use crate::call::named;
use crate::checkpoint::{Ending, Start};
use crate::lane::Phase;
use crate::line::{Flight, Line};
use crate::resource::Resource;
use crate::upload::{Completion, Uploaded};
use crate::verdict::{Asked, Verdict, may_be_done};
use crate::wire::words::escape;
use crate::wire::{reference, response};
use crate::{Cause, Error, Event, Hint, Op, Place, UploadUrl, Violation};

impl Transfer {
    /// Where an answer came from that is the end.
    fn place_of(&self, line: &Line, op: Op, flight: &Flight) -> Box<Place> {
        let url = flight.url.clone();
        Box::new(Place {
            url,
            ..*self.place(line, op)
        })
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
                // Those of a checkpoint are whoever's who could write it.
                words: escape(words),
            });
        }
        match &mut self.resource {
            Some(resource) if self.part => {
                // What is complete does not expire.
                resource.expires = None;
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

    /// All bytes are there, and it was not the answer to their request that said so.
    pub(super) fn found_complete(&mut self, line: &Line, op: Op) -> Next {
        let ending = self.resource.as_ref().map(|resource| &resource.ending);
        let completion = if ending == Some(&Ending::Acknowledged) {
            Completion::Acknowledged
        } else {
            Completion::Observed
        };
        self.complete(line, op, completion)
    }

    pub(super) fn can_begin_anew(&self) -> bool {
        matches!(self.start, Start::Endpoint(_)) && self.recreations > 0 && self.supply.kept() == 0
    }

    pub(super) fn begin_anew(&mut self, line: &mut Line, gone: UploadUrl) -> Next {
        self.recreations -= 1;
        self.resumed = false;
        self.resource = None;
        if self.supply.is_open() {
            // What the old one was to have is not what this source has to have.
            self.length = self.declared;
        }
        self.told = self.length.map_or(Told::No, |_| Told::Yes);
        self.owed = Owed::default();
        self.losses = 0;
        line.event(Event::Recreating { gone });
        Phase::Ready(Step::Create)
    }

    /// The upload is not there any more.
    fn gone(&mut self, line: &mut Line, headers: &HeaderMap) -> Next {
        let place = self.place(line, Op::Probe);
        if self.may_be_complete(response::date(headers).or(self.wall_clock)) {
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
        let resource = self.resource.as_mut();
        if resource.is_none_or(|resource| resource.absence.is_believed(now)) {
            return self.gone(line, headers);
        }
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
    pub(super) fn decide(
        &mut self,
        line: &mut Line,
        step: Step,
        (verdict, asked): (Verdict, &Asked),
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
                    place: self.place_of(line, Op::Append, flight),
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
                if step == Step::Create && may_be_done(asked, answer) {
                    self.creation.bytes = 0;
                    line.event(Event::Orphaned);
                }
                self.owed.counted |= step == Step::Append;
                self.again(line, step.op(), cause, retry_after, step.retry())
            }
        }
    }

    fn created(&mut self, line: &mut Line, flight: &Flight, answer: &Response<Bytes>) -> Next {
        let headers = answer.headers();
        let url = match named(line, self.start.uri(), flight, answer) {
            Ok(url) => url,
            Err(misread) => {
                line.event(Event::Orphaned);
                let place = self.place_of(line, Op::Create, flight);
                return Phase::failure(misread.at(place, answer));
            }
        };
        line.event(Event::Created { url: url.clone() });
        let with_bytes = !flight.body.is_empty();
        let offset = Some(0)
            .filter(|_| !with_bytes)
            .or(response::offset(headers));
        let resource = Resource {
            spoke: response::names_tus(headers),
            reach: Some(flight.reach(false)),
            ghost: false,
            ..Resource::at(url, self.length)
        };
        if let Some(conflict) = resource.contradiction(headers, offset.unwrap_or(0)) {
            line.event(Event::Orphaned);
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
                let place = self.place_of(line, Op::Probe, flight);
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
        if let Some(conflict) = self.length.and_then(|length| self.supply.overrun(length)) {
            return self.unfit(line, Op::Probe, conflict);
        }
        let confirmed = self.confirm(line, offset);
        if let Some(resource) = &mut self.resource {
            resource.probed = true;
        }
        let owed = std::mem::take(&mut self.owed);
        if confirmed.gained > 0 && self.told == Told::Said {
            self.told = Told::Yes;
        }
        let is_refused = |known: &Resource| matches!(known.ending, Ending::Refused(..));
        let stands = self.resource.as_ref().is_some_and(is_refused);
        if self.is_full(offset) {
            return if stands || !self.is_foretold() {
                self.found_complete(line, Op::Probe)
            } else {
                // Whatever was owed: whether these are all bytes, the source knows.
                Phase::Ready(Step::Append)
            };
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
        if self.is_creation(line, flight, answer) {
            line.event(Event::Orphaned);
            return Phase::failure(Error::Protocol {
                place: self.place_of(line, Op::Append, flight),
                status: answer.status(),
                violation: Violation::NotAppended,
            });
        }
        self.note_expiry(line, headers);
        let offset = response::offset(headers);
        if self.tells_length() {
            // Who gives no offset may be no tus server: the bytes that came with the length will show,
            // and where there were none, that it says so again.
            let again = flight.body.is_empty() && self.told == Told::Said;
            self.told = if offset.is_some() || again {
                Told::Yes
            } else {
                Told::Said
            };
        }
        let Some(offset) = offset else {
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
    pub(super) fn doubted(&mut self, error: Error) -> Next {
        self.owed.end = Some(Box::new(error));
        Phase::Ready(Step::Probe)
    }

    /// Whether the answer to an append says that an upload was made in its place. Of a server that
    /// answers creations with 200, and takes no POST for a PATCH, only the URL tells; one that names this
    /// upload may name it as it is behind a proxy.
    fn is_creation(&self, line: &Line, flight: &Flight, answer: &Response<Bytes>) -> bool {
        let Some(location) = response::location(answer.headers()) else {
            return false;
        };
        let is_other = |made: Uri| {
            let urls = [self.url(), flight.url.clone()];
            urls.iter()
                .all(|url| url.as_uri().path_and_query() != made.path_and_query())
        };
        answer.status() == StatusCode::CREATED
            || line.overrides_methods()
                && reference::resolve(flight.url.as_uri(), location).is_ok_and(is_other)
    }
}
