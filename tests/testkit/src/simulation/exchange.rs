//! What becomes of one exchange: the line, and the server behind it.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use tus_proto::{Answer, Body, DutyId, Failure, FailureKind, Input, Op, Terms};

use super::Sort;
use super::incident::{Incident, intercepted, redirect};
use super::watch::Broken;
use super::world::{Coming, Made, World, index};
use crate::{Begun, Options, Quirk, Reach, Reading, Trailers, location};

/// When a server notices that a connection is dead.
const NOTICED: Duration = Duration::from_secs(45);

/// What the client sees of an exchange.
struct Seen {
    /// How many bytes of the body it could hand over.
    handed: u64,
    /// `None`: nothing, for ever.
    answer: Option<Answer>,
    delay: Duration,
    made: Made,
}

impl Seen {
    fn answered(handed: u64, response: Response<Bytes>, made: Made) -> Self {
        let answer = Some(Answer::Response(response));
        Self {
            handed,
            answer,
            delay: Duration::ZERO,
            made,
        }
    }

    fn failed(handed: u64, kind: FailureKind) -> Self {
        let answer = Some(Answer::Failed(Failure::new(kind, "by design")));
        Self {
            handed,
            answer,
            delay: Duration::ZERO,
            made: None,
        }
    }
}

impl World<'_> {
    /// Carries out a request, and has its answer come.
    pub(super) fn exchange(
        &mut self,
        id: DutyId,
        request: Request<Body>,
        terms: &Terms,
    ) -> Result<(), Broken> {
        self.tally.requests += 1;
        let request = self.with_body(request, terms)?;
        let length = request.body().len() as u64;
        let incident = self.next_incident(length, terms);
        if let Some(incident) = &incident {
            self.tell(|_| format!("    {incident:?}"));
        }
        let seen = match incident {
            None => {
                let (response, made) = self.served(request);
                Seen::answered(length, response, made)
            }
            Some(incident) => self.befall(request, incident, id),
        };
        let process = self.process;
        let moment = self.moment();
        let arrives = moment + seen.delay;
        let mut come = |delay, input, made| {
            self.clock.after(delay, Coming::Input(process, input, made));
        };
        if self.reports {
            come(Duration::ZERO, Input::Sent(id, 0), None);
            if seen.handed > 1 {
                come(moment / 2, Input::Sent(id, seen.handed / 2), None);
            }
            come(moment, Input::Sent(id, seen.handed), None);
        }
        if let Some(answer) = seen.answer {
            come(arrives, Input::Answer(id, answer), seen.made);
        }
        Ok(())
    }

    fn with_body(
        &mut self,
        request: Request<Body>,
        terms: &Terms,
    ) -> Result<Request<Bytes>, Broken> {
        let range = request.body().clone();
        let bytes = self.bytes(&range)?;
        let mut request = request.map(|_| bytes);
        if let Some(algorithm) = &terms.trailer {
            use base64::Engine as _;
            let digest = self.digest(algorithm, &range)?;
            let digest = base64::engine::general_purpose::STANDARD.encode(digest);
            let value = HeaderValue::try_from(format!("{} {digest}", algorithm.as_str()));
            let fields = value.ok().map(|value| ("upload-checksum", value));
            let fields = fields.map(|(name, value)| (http::HeaderName::from_static(name), value));
            request
                .extensions_mut()
                .insert(Trailers(HeaderMap::from_iter(fields)));
            let chunked = HeaderValue::from_static("chunked");
            request.headers_mut().insert(TRANSFER_ENCODING, chunked);
        }
        Ok(request)
    }

    /// What the server says, and what it has made.
    fn served(&mut self, request: Request<Bytes>) -> (Response<Bytes>, Made) {
        self.wind();
        let creates = request.method() == Method::POST;
        let before = self.server.uploads().count();
        let response = self.server.handle(request);
        let new = self
            .server
            .uploads()
            .nth(before)
            .or(self.server.moved().last());
        let made = new.map(|upload| upload.target().to_owned());
        let status = response.status();
        if status.is_client_error() || status == StatusCode::NOT_IMPLEMENTED {
            self.note_refusal(response.status());
        }
        (response, made.filter(|_| creates))
    }

    /// The server refuses for a reason that a client may have to live with.
    fn note_refusal(&mut self, status: StatusCode) {
        let quirks = self.server.quirks();
        let late = [Sort::Buffered, Sort::Ghost]
            .iter()
            .any(|sort| self.ever.contains(sort));
        let meant = quirks.iter().any(|quirk| match quirk {
            Quirk::LockedIs(locked) => status == *locked,
            Quirk::CompleteIs403 | Quirk::MissingIs403 => status == 403,
            Quirk::MaxBody(_) => status == 413,
            // An earlier request has told the length, when it was thought lost.
            Quirk::LengthOnce => status == 400 && late,
            // One of the parts was moved to another host.
            Quirk::RelativeParts | Quirk::DeferredNeedsLength => status == 400,
            Quirk::PostOnly | Quirk::IgnoresOverride => status == 405,
            Quirk::Authorization(_) => status == 401,
            Quirk::RefusesCompletion(refused)
            | Quirk::RefusesConcatenation(refused)
            | Quirk::RefusesFinal(refused)
            | Quirk::LosesPart(refused) => status == *refused,
            _ => false,
        });
        let server = &self.plan.server;
        let usual = Options::default();
        let lacks = server.extensions.len() < usual.extensions.len()
            || server.checksum_algorithms.len() < usual.checksum_algorithms.len();
        let lacks = lacks && [400, 405, 411].contains(&status.as_u16());
        if meant || lacks || server.max_size.is_some() && status == 413 {
            self.statuses.insert(status);
        }
    }

    /// What happens to the next exchange, if anything does.
    fn next_incident(&mut self, length: u64, terms: &Terms) -> Option<Incident> {
        if self.incidents_left == 0 {
            return None;
        }
        let letters = self.plan.alphabet.iter();
        let letters: Vec<Sort> = letters
            .copied()
            .filter(|sort| applies(*sort, length, terms))
            .collect();
        let chosen = self
            .choices
            .below(1 + letters.len() as u64 + self.plan.quiet);
        let sort = letters.get(index(chosen.checked_sub(1)?))?;
        self.incidents_left -= 1;
        Some(sort.draw(&mut self.choices, length))
    }

    /// Has it happen to this request.
    #[expect(clippy::too_many_lines, reason = "one arm for each kind")]
    #[expect(clippy::needless_pass_by_value, reason = "it happens once")]
    fn befall(&mut self, request: Request<Bytes>, incident: Incident, id: DutyId) -> Seen {
        let length = request.body().len() as u64;
        let target = location::target(request.uri()).to_owned();
        match incident {
            Incident::Refused => {
                self.happened(Sort::Refused);
                Seen::failed(0, FailureKind::NotSent)
            }
            Incident::LostRequest => {
                self.happened(Sort::LostRequest);
                Seen::failed(length, FailureKind::Lost)
            }
            Incident::Cut { after } => {
                self.happened(Sort::Cut);
                if let Some((reading, _)) = self.serve_some(request, after) {
                    self.server.abort(reading);
                }
                Seen::failed(after, FailureKind::Lost)
            }
            Incident::LostAnswer => {
                self.happened(Sort::LostAnswer);
                drop(self.served(request));
                Seen::failed(length, FailureKind::Lost)
            }
            Incident::Stalled { after } => {
                self.happened(Sort::Stalled);
                if let Some((reading, _)) = self.serve_some(request, after) {
                    self.clock.after(NOTICED, Coming::Abort(reading));
                }
                Seen {
                    answer: None,
                    ..Seen::failed(after, FailureKind::Lost)
                }
            }
            Incident::Delayed(delay) => {
                self.happened(Sort::Delayed);
                let (response, made) = self.served(request);
                Seen {
                    delay,
                    ..Seen::answered(length, response, made)
                }
            }
            Incident::Doubled(later) => {
                self.happened(Sort::Doubled);
                let (response, made) = self.served(request);
                let again = Input::Answer(id, Answer::Response(response.clone()));
                self.clock
                    .after(later, Coming::Input(self.process, again, made.clone()));
                Seen::answered(length, response, made)
            }
            Incident::Interim(delay) => {
                self.happened(Sort::Interim);
                let mut interim = Response::new(());
                *interim.status_mut() = StatusCode::PROCESSING;
                let early = Coming::Input(self.process, Input::Interim(id, interim), None);
                self.clock.after(delay / 2, early);
                let (response, made) = self.served(request);
                Seen {
                    delay,
                    ..Seen::answered(length, response, made)
                }
            }
            Incident::Ghost {
                handed,
                arrived,
                later,
                silent,
            } => {
                self.happened(Sort::Ghost);
                if let Some((reading, body)) = self.serve_some(request, arrived) {
                    let rest = body.slice(index(arrived)..index(handed));
                    let whole = handed == length;
                    self.clock.after(
                        later,
                        Coming::Rest {
                            reading,
                            rest,
                            whole,
                        },
                    );
                }
                let lost = Seen::failed(handed, FailureKind::Lost);
                if silent {
                    Seen {
                        answer: None,
                        ..lost
                    }
                } else {
                    lost
                }
            }
            Incident::Buffered { later } => {
                self.happened(Sort::Buffered);
                self.clock.after(later, Coming::Request(request));
                Seen::failed(length, FailureKind::Lost)
            }
            Incident::Intercepted {
                reach,
                status,
                retry_after,
            } => self.intercept(request, reach, status, retry_after),
            Incident::Redirected { status, to } => {
                self.happened(Sort::Redirected);
                let response = redirect(status, request.uri(), to);
                self.statuses.insert(response.status());
                Seen::answered(length, response, None)
            }
            Incident::Hopeless => {
                self.happened(Sort::Hopeless);
                Seen::failed(0, FailureKind::Hopeless)
            }
            Incident::SourceFails { changed } => {
                self.happened(Sort::SourceFails);
                let kind = if changed {
                    FailureKind::SourceChanged
                } else {
                    FailureKind::Source
                };
                Seen::failed(0, kind)
            }
            Incident::Partial(room) => self.serve_part(request, room),
            Incident::Stale(behind) => {
                let (mut response, made) = self.served(request);
                let offset = self.server.upload(&target).map_or(0, crate::Upload::offset);
                if response.headers().contains_key("upload-offset") && offset > 0 {
                    self.happened(Sort::Stale);
                    let stale = HeaderValue::from(offset.saturating_sub(behind));
                    response.headers_mut().insert("upload-offset", stale);
                }
                Seen::answered(length, response, made)
            }
            Incident::Crashed { after, lost } => self.crash(request, &target, after, lost),
            Incident::Vanished => {
                self.vanish();
                let (response, made) = self.served(request);
                Seen::answered(length, response, made)
            }
            Incident::Stranger(bytes) => {
                if self.server.write(&target, &[0xEE; 8][..index(bytes)]) > 0 {
                    self.happened(Sort::Stranger);
                    self.strange.insert(location::key(&target));
                }
                let (response, made) = self.served(request);
                Seen::answered(length, response, made)
            }
            Incident::Cancelled(how) => {
                self.happened(Sort::Cancelled);
                self.cancelling = Some(how);
                let (response, made) = self.served(request);
                Seen::answered(length, response, made)
            }
            Incident::Killed { carried_out } => {
                self.happened(Sort::Killed);
                self.killed = true;
                if carried_out {
                    drop(self.served(request));
                }
                Seen {
                    answer: None,
                    ..Seen::failed(length, FailureKind::Lost)
                }
            }
        }
    }

    /// Carries out the head and so many bytes of the body, or all of it. Gives the rest's handle, and
    /// the body.
    fn serve_some(&mut self, request: Request<Bytes>, after: u64) -> Option<(Reading, Bytes)> {
        self.wind();
        let (head, body) = request.into_parts();
        if after >= body.len() as u64 && body.is_empty() {
            drop(self.served(Request::from_parts(head, body)));
            return None;
        }
        match self.server.begin(&head) {
            Begun::Answered(_) => None,
            Begun::Reading(reading) => {
                self.server.body(&reading, &body[..index(after)]);
                Some((reading, body))
            }
        }
    }

    fn serve_part(&mut self, request: Request<Bytes>, room: u64) -> Seen {
        let length = request.body().len() as u64;
        let checked = request.headers().contains_key("upload-checksum")
            || !request.headers().contains_key(CONTENT_LENGTH);
        if checked {
            // A server that checks what it gets takes all of it or nothing.
            let (response, made) = self.served(request);
            return Seen::answered(length, response, made);
        }
        self.server.quirks_mut().insert(0, Quirk::TakesOnly(room));
        let (response, made) = self.served(request);
        self.server.quirks_mut().remove(0);
        if response.status().is_success() {
            self.happened(Sort::Partial);
        }
        Seen::answered(length, response, made)
    }

    fn intercept(
        &mut self,
        request: Request<Bytes>,
        reach: Reach,
        status: u16,
        retry_after: Option<u64>,
    ) -> Seen {
        self.happened(Sort::Intercepted);
        let length = request.body().len() as u64;
        let response = intercepted(status, retry_after);
        self.misled |= [200, 204, 404, 410].contains(&status);
        self.statuses.insert(response.status());
        let wait = Duration::from_secs(retry_after.unwrap_or(0));
        self.longest_wait = self.longest_wait.max(wait);
        let handed = match reach {
            Reach::Nothing => 0,
            Reach::Swallowed => length,
            Reach::Bytes(after) => {
                if let Some((reading, _)) = self.serve_some(request, after) {
                    self.server.abort(reading);
                }
                after
            }
            Reach::All => {
                drop(self.served(request));
                length
            }
        };
        Seen::answered(handed, response, None)
    }

    fn crash(&mut self, request: Request<Bytes>, target: &str, after: u64, lost: u64) -> Seen {
        self.blame(Sort::Crashed);
        if let Some((reading, _)) = self.serve_some(request, after) {
            self.server.abort(reading);
        }
        // What was acknowledged as complete is on the disk.
        let unfinished = self
            .server
            .upload(target)
            .is_some_and(|upload| !upload.is_complete());
        if unfinished && self.server.lose(target, lost) > 0 {
            self.happened(Sort::Crashed);
        }
        Seen::failed(after, FailureKind::Lost)
    }

    /// The server drops an upload that is not complete.
    fn vanish(&mut self) {
        let unfinished = self.server.uploads().filter(|upload| !upload.is_complete());
        let targets: Vec<_> = unfinished
            .map(|upload| upload.target().to_owned())
            .collect();
        let which = self.choices.below(targets.len() as u64);
        if let Some(target) = targets.get(index(which)) {
            self.server.remove(target);
            self.happened(Sort::Vanished);
        }
    }
}

/// Whether it can happen to this exchange.
fn applies(sort: Sort, length: u64, terms: &Terms) -> bool {
    match sort {
        Sort::Cut | Sort::SourceFails => length > 0,
        Sort::Partial => length > 0 && terms.trailer.is_none(),
        Sort::Stale => terms.op == Op::Probe,
        Sort::Stranger => matches!(terms.op, Op::Probe | Op::Append),
        Sort::Crashed => terms.op == Op::Append,
        // Nobody could tell it from the end of an upload that the user wanted deleted.
        Sort::Vanished => terms.op != Op::Terminate,
        _ => true,
    }
}
