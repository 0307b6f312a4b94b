//! What must hold in every run, whatever happens: the invariants of a client, as an observer of all that
//! goes between it and its driver sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use tus_proto::{
    Authorize, Body, Cancel, Checkpoint, Completion, Config, DutyId, Error, Event, FailureKind,
    Foreign, Op, Origin, Terms, Uploaded,
};

use super::Task;
use super::births::Births;
use super::incident::DISPLACED;
use super::pace::{Pace, passing};
use super::plan::{BASIC, Kind, Plan, SECRETS, Vetoed};
use crate::location;

/// A rule that was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) rule: &'static str,
    pub(super) what: String,
}

/// An error unless the rule holds.
pub(super) fn hold(
    holds: bool,
    rule: &'static str,
    what: impl FnOnce() -> String,
) -> Result<(), Broken> {
    if holds {
        Ok(())
    } else {
        Err(Broken { rule, what: what() })
    }
}

/// An exchange that is out.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is known on its own")]
struct Flight {
    /// Path and query of its URL.
    target: String,
    op: Op,
    body: Body,
    /// Whether it would complete its upload.
    completing: bool,
    expects: bool,
    /// Whether it brings a length.
    tells: bool,
    /// Whether it brings a length that an earlier request has brought, perhaps.
    tells_again: bool,
    /// How many bytes of its body the transport took; `None`: it does not say.
    handed: Option<u64>,
}

/// What is known of one upload on the server.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is known on its own")]
struct Known {
    /// The offset that the server said last, in this process.
    offset: Option<u64>,
    /// The highest that it said in this process, since bytes were last said to be lost.
    highest: u64,
    /// A HEAD is due before the next append.
    owes_probe: bool,
    /// An append may be on its way that nobody knows of: the last one ended without an answer, or was
    /// that of an earlier process.
    unanswered: bool,
    /// An earlier process has had to do with it.
    earlier: bool,
    /// Its length was announced late.
    told_length: bool,
    /// What was said to the request that completed it, where that is a refusal for good.
    refused: Option<StatusCode>,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            offset: None,
            highest: 0,
            owes_probe: false,
            unanswered: true,
            earlier: false,
            told_length: false,
            refused: None,
        }
    }
}

/// An observer of all that goes between a machine and its driver.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Watch {
    home: Origin,
    foreign: Foreign,
    secure: bool,
    parts: Vec<Range<u64>>,
    length: u64,
    deferred: bool,
    base_wait: Duration,
    /// The policy has an end in time.
    hurried: bool,
    flights: BTreeMap<DutyId, Flight>,
    uploads: BTreeMap<String, Known>,
    confirmed: u64,
    recreated: u32,
    recreations: u32,
    /// The last process was killed when the server was asked to join the parts.
    joining: bool,
    /// The time that the machine knows of.
    now: Duration,
    present: Present,
}

/// What is known of the process that runs.
#[derive(Debug)]
struct Present {
    /// What it was told last of the time.
    clock: Option<Duration>,
    /// When it learnt of the last answer, or gave one up.
    learnt: Duration,
    pace: Pace,
    births: Births,
    /// All that was answered.
    heard: Vec<(Op, StatusCode)>,
    /// A request that completed an upload was answered with success, by now or by what was saved.
    acknowledged: bool,
    /// All bytes of an upload, or of a part, were said to be there.
    complete: bool,
    cancelled: Option<Cancel>,
    config: Config,
    veto: Option<Vetoed>,
    asks_at: Vec<u16>,
    /// The machine was told that its source is not the one that was begun with.
    differs: bool,
    /// What each lane was answered last.
    last: BTreeMap<u32, StatusCode>,
    /// The lanes in which a creation has failed.
    unmade: BTreeSet<u32>,
}

impl Present {
    fn new(
        now: Duration,
        attempts: Option<u32>,
        saved: Option<&Checkpoint>,
        plan: &Plan,
        config: Config,
    ) -> Self {
        let saved = saved.map(Checkpoint::to_text);
        Self {
            clock: None,
            learnt: now,
            pace: Pace::new(now, plan.lengths.len(), attempts),
            births: Births::default(),
            heard: Vec::new(),
            acknowledged: saved.is_some_and(|saved| saved.contains("\nending acknowledged\n")),
            complete: false,
            cancelled: None,
            config,
            veto: plan.veto,
            asks_at: plan.asks_at.clone(),
            differs: false,
            last: BTreeMap::new(),
            unmade: BTreeSet::new(),
        }
    }
}

impl Present {
    fn note_failure(&mut self, id: DutyId, op: Op) {
        if op == Op::Create {
            self.unmade.insert(id.lane);
        }
    }
}

impl Watch {
    pub(super) fn new(plan: &Plan) -> Self {
        let uri: Uri = plan.endpoint.parse().unwrap_or_default();
        Self {
            home: Origin::of(&uri).expect("an endpoint"),
            foreign: plan.config.foreign.clone(),
            secure: uri.scheme_str() == Some("https"),
            parts: ranges(&plan.lengths),
            length: plan.lengths.iter().sum(),
            deferred: plan.kind.is_deferred(),
            base_wait: plan.config.retry.base,
            hurried: plan.config.retry.no_progress.is_some()
                || plan.config.retry.deadline.is_some(),
            flights: BTreeMap::new(),
            uploads: BTreeMap::new(),
            confirmed: 0,
            recreated: 0,
            recreations: plan.config.recreations,
            joining: false,
            now: Duration::ZERO,
            present: Present::new(Duration::ZERO, None, None, plan, plan.config.clone()),
        }
    }

    /// A process begins: it knows of nothing but what was saved. `differs`: and that its source is not the
    /// one that was begun with.
    pub(super) fn begin_process(&mut self, now: Duration, task: &Task, plan: &Plan, differs: bool) {
        self.parts = ranges(&task.lengths);
        self.length = task.lengths.iter().sum();
        self.flights.clear();
        self.confirmed = 0;
        self.recreated = 0;
        self.now = now;
        // Of several parts each has failures of its own, and of a stream nobody knows what is missing. Of
        // what is long, some is progress.
        let counts = task.kind != Kind::Parts && !self.deferred && self.length < 64 * 1024;
        let attempts = task.config.retry.attempts.filter(|_| counts);
        let saved = task.saved.as_ref();
        self.present = Present::new(now, attempts, saved, plan, task.config.clone());
        self.present.differs = differs;
        let expires = saved.and_then(Checkpoint::expires);
        let lapsed = expires.is_some_and(|at| task.config.wall_clock.is_some_and(|now| at <= now));
        let joining = std::mem::take(&mut self.joining) && saved.is_some() && !differs;
        self.present.births = Births::new(lapsed, joining);
        for known in self.uploads.values_mut() {
            known.offset = None;
            known.highest = 0;
            known.owes_probe = false;
            // An earlier process may have left a request that is still on its way.
            known.unanswered = true;
            known.earlier = true;
        }
    }

    /// The machine is told the time. The first that it is told may be before that at which it was begun.
    pub(super) fn time(&mut self, now: Duration) {
        if self.present.clock.replace(now).is_none() {
            self.now = now;
            self.present.learnt = now;
            self.present.pace.begins(now);
        }
        self.now = self.now.max(now);
    }

    /// The user has cancelled.
    pub(super) fn cancelled(&mut self, how: Cancel) {
        self.present.cancelled = self.present.cancelled.max(Some(how));
        self.present.pace.turns();
    }

    /// Whether something is out that a machine which was cancelled may wait for.
    pub(super) fn may_wait(&self, saving: bool) -> Result<(), Broken> {
        let over = match self.present.cancelled {
            None | Some(Cancel::Terminate) => true,
            Some(Cancel::Keep) => saving,
            Some(_) => false,
        };
        hold(over, "I11", || "cancelled, it waits".into())
    }

    /// How long the process has been there, and how many of its attempts came to nothing.
    pub(super) fn pace(&self) -> (Duration, u32) {
        (
            self.present.pace.age(self.now),
            self.present.pace.fruitless(),
        )
    }

    /// Whether this process was answered so.
    pub(super) fn heard(&self, op: Op, status: StatusCode) -> bool {
        self.present.heard.contains(&(op, status))
    }

    /// Whether all bytes of an upload are known to be there.
    pub(super) fn is_complete(&self) -> bool {
        self.present.complete
    }

    /// Whether something said that an upload is gone, in a way that is to be believed.
    pub(super) fn misses_any(&self) -> bool {
        self.present.births.misses_any()
    }

    /// A process was killed, and what it knew last may be lost. `noted`: how the upload ended is in the
    /// checkpoint that stays. `kept`: so is all that was to be saved.
    pub(super) fn killed(&mut self, noted: bool, kept: bool) {
        let mut flights = self.flights.values();
        self.joining = kept && flights.any(|flight| flight.op == Op::Concatenate);
        for flight in self
            .flights
            .values()
            .filter(|flight| flight.op == Op::Append)
        {
            self.uploads
                .entry(flight.target.clone())
                .or_default()
                .unanswered = true;
        }
        for known in self.uploads.values_mut().filter(|_| !noted) {
            known.refused = None;
        }
    }

    pub(super) fn is_out(&self, id: DutyId) -> bool {
        self.flights.contains_key(&id)
    }

    /// The part that the lane sends, or the whole.
    fn part(&self, lane: u32) -> Range<u64> {
        match self.parts.as_slice() {
            [_] => 0..self.length,
            parts => (lane as usize)
                .checked_sub(1)
                .and_then(|at| parts.get(at).cloned())
                .unwrap_or(0..0),
        }
    }

    /// An exchange begins.
    pub(super) fn begin(
        &mut self,
        id: DutyId,
        request: &Request<Body>,
        terms: &Terms,
    ) -> Result<(), Broken> {
        let target = location::target(request.uri()).to_owned();
        let creates = matches!(terms.op, Op::Create | Op::Concatenate);
        for (other, flight) in &self.flights {
            hold(other.lane != id.lane, "I3", || {
                format!("two exchanges of one lane: {id:?}")
            })?;
            let same = !creates && flight.target == target;
            hold(!same, "I3", || {
                format!("two exchanges of one upload: {id:?}, {other:?}")
            })?;
        }
        let allowed = match self.present.cancelled {
            None => true,
            Some(Cancel::Terminate) => matches!(terms.op, Op::Terminate | Op::Probe),
            Some(_) => false,
        };
        hold(allowed, "I11", || {
            format!("{:?} begins after {:?}", terms.op, self.present.cancelled)
        })?;
        let deletes = self.present.cancelled == Some(Cancel::Terminate);
        hold(!self.present.differs || deletes, "I1", || {
            "it sends another source than the one that it began with".into()
        })?;
        self.present.pace.begin(self.now, id.lane, terms.op)?;
        self.check_options(id, request, terms)?;
        if terms.op == Op::Create {
            // Another lane may not have been told of yet.
            let alone = self.parts.len() == 1;
            self.present.births.begin(id.lane, alone)?;
        }

        let framed = request.headers().contains_key(http::header::CONTENT_LENGTH);
        let bodied = [Method::POST, Method::PATCH].contains(request.method());
        hold(framed || !bodied || terms.trailer.is_some(), "R2", || {
            "no Content-Length".into()
        })?;
        self.check_secrecy(request, terms)?;
        let body = request.body().clone();
        let part = if terms.op == Op::Concatenate {
            0..0
        } else {
            self.part(id.lane)
        };
        let within = body.is_empty() || part.start <= body.start && body.end <= part.end;
        hold(within, "I1", || format!("{body:?} is not in {part:?}"))?;
        if terms.op == Op::Append {
            self.check_append(&target, request.headers(), body.start - part.start)?;
        }
        let told = request.headers().contains_key("upload-length");
        let known = self.uploads.entry(target.clone()).or_default();
        // An earlier process may have told it.
        let tells_again = told && (known.told_length || known.earlier);
        known.told_length |= told;
        let settled = !self.deferred || told || known.told_length;
        let carries = terms.op == Op::Append || terms.op == Op::Create && !body.is_empty();
        let empty = terms.op == Op::Create && part.is_empty() && (told || !self.deferred);
        let flight = Flight {
            completing: carries && settled && body.end == part.end || empty,
            expects: request.headers().contains_key(http::header::EXPECT),
            tells: told,
            op: terms.op,
            tells_again,
            handed: None,
            body,
            target,
        };
        self.flights.insert(id, flight);
        Ok(())
    }

    /// That the request is as the caller has asked for.
    fn check_options(
        &self,
        id: DutyId,
        request: &Request<Body>,
        terms: &Terms,
    ) -> Result<(), Broken> {
        let config = &self.present.config;
        let body = request.body().end - request.body().start;
        let carries = terms.op == Op::Append && body > 0;
        let most = match terms.op {
            Op::Append => config.request_size.unwrap_or(u64::MAX),
            _ => config.creation_body,
        };
        let checked = request.headers().contains_key("upload-checksum") || terms.trailer.is_some();
        let list = request.headers().get("upload-concat");
        let overridden = !matches!(*request.method(), Method::PATCH | Method::DELETE);
        let id_wanted = config.request_id.as_ref().filter(|_| terms.trusted);
        let vetoed = self.present.veto == Some(Vetoed::Creations)
            && terms.op == Op::Create
            && self.present.unmade.contains(&id.lane);
        let promises = [
            ("request_size", body <= most),
            (
                "checksums",
                !carries || checked != config.checksums.is_empty(),
            ),
            (
                "list_limit",
                list.is_none_or(|list| list.len() <= config.parts.list_limit),
            ),
            ("method_override", overridden || !config.method_override),
            (
                "request_id",
                id_wanted.is_none_or(|name| request.headers().contains_key(name)),
            ),
            ("veto", !vetoed),
        ];
        let broken = promises.iter().find(|(_, kept)| !kept);
        hold(broken.is_none(), "option", || {
            format!(
                "{:?} is not heeded by {:?}",
                broken.map(|(name, _)| name),
                terms.op
            )
        })
    }

    /// Credentials are asked for.
    pub(super) fn asks(&self, id: DutyId) -> Result<(), Broken> {
        let config = &self.present.config;
        let last = self.present.last.get(&id.lane).copied();
        let may = last.is_some_and(|status| match config.authorize {
            Authorize::Never => false,
            Authorize::OnUnauthorized => status == StatusCode::UNAUTHORIZED,
            _ => self.present.asks_at.contains(&status.as_u16()),
        });
        hold(may, "option", || {
            format!("credentials are asked for after {last:?}")
        })
    }

    fn check_append(&self, target: &str, headers: &HeaderMap, from: u64) -> Result<(), Broken> {
        let said = number(headers, "upload-offset");
        hold(said == Some(from), "I4", || {
            format!("{said:?} for the byte at {from}")
        })?;
        let known = self.uploads.get(target);
        let offset = known.and_then(|known| known.offset);
        hold(offset == Some(from), "I4", || {
            format!("it appends at {from}, and the server's last word is {offset:?}")
        })?;
        hold(known.is_none_or(|known| !known.owes_probe), "I4", || {
            format!("it appends at {from} though nobody can know the offset")
        })?;
        let highest = known.map_or(0, |known| known.highest);
        hold(from >= highest, "I5", || {
            format!("it appends at {from} after {highest}, and says nothing of that")
        })
    }

    fn check_secrecy(&self, request: &Request<Body>, terms: &Terms) -> Result<(), Broken> {
        let uri = request.uri();
        let secure = uri.scheme_str() == Some("https");
        hold(secure || !self.secure, "S2", || {
            format!("https became {uri}")
        })?;
        hold(!uri.to_string().contains('@'), "S3", || {
            format!("user information in {uri}")
        })?;
        let Ok(origin) = Origin::of(uri) else {
            return hold(false, "S5", || format!("no origin: {uri}"));
        };
        let upgraded = !self.secure && secure && {
            let plain = format!("http://{}/", uri.host().unwrap_or_default());
            let plain = plain
                .parse()
                .ok()
                .and_then(|uri: Uri| Origin::of(&uri).ok());
            uri.port().is_none() && plain.as_ref() == Some(&self.home)
        };
        let own = origin == self.home || upgraded;
        hold(own || self.foreign != Foreign::Refuse, "S1", || {
            format!("it goes to {origin}, which was refused")
        })?;
        let trusted =
            own || matches!(&self.foreign, Foreign::Trust(origins) if origins.contains(&origin));
        hold(trusted || !terms.trusted, "I7", || {
            format!("{origin} is trusted")
        })?;
        let secret = |value: &[u8]| {
            let value = String::from_utf8_lossy(value).into_owned();
            value.contains(SECRETS[0]) || value.contains(SECRETS[1]) || value.contains(BASIC)
        };
        let told = request
            .headers()
            .iter()
            .find(|(_, value)| secret(value.as_bytes()));
        hold(trusted || told.is_none(), "I7", || {
            format!("{origin} is told {:?}", told.map(|(name, _)| name))
        })?;
        let own = obtained(&origin);
        let others = request.headers().values().find(|value| {
            value.as_bytes().starts_with(OBTAINED.as_bytes()) && *value != own.as_str()
        });
        hold(others.is_none(), "S7", || {
            format!("{origin} is told what another one asked for")
        })
    }

    /// The transport took so many bytes in all.
    pub(super) fn sent(&mut self, id: DutyId, bytes: u64) {
        if let Some(flight) = self.flights.get_mut(&id) {
            flight.handed = Some(bytes);
        }
    }

    /// The machine gave an exchange up.
    pub(super) fn stop(&mut self, id: DutyId) {
        self.present.learnt = self.now;
        if let Some(flight) = self.flights.remove(&id) {
            self.present.pace.lost();
            self.present.note_failure(id, flight.op);
            self.ended_unanswered(id.lane, &flight);
        }
    }

    /// The transport could not bring an answer.
    pub(super) fn failed(&mut self, id: DutyId, kind: FailureKind) {
        self.present.learnt = self.now;
        if let Some(flight) = self.flights.remove(&id) {
            self.present.pace.lost();
            self.present.note_failure(id, flight.op);
            match kind {
                FailureKind::NotSent => (),
                FailureKind::Lost => self.ended_unanswered(id.lane, &flight),
                _ => self.append_unanswered(&flight),
            }
        }
    }

    fn ended_unanswered(&mut self, lane: u32, flight: &Flight) {
        match flight.op {
            Op::Create => self.present.births.ended(lane, None),
            Op::Concatenate => self.present.births.joined(None),
            _ => (),
        }
        self.append_unanswered(flight);
    }

    fn append_unanswered(&mut self, flight: &Flight) {
        if flight.op == Op::Append {
            let known = self.uploads.entry(flight.target.clone()).or_default();
            known.owes_probe = true;
            known.unanswered = true;
        }
    }

    /// An answer comes. `made`: the upload that the request has made, by its path and query.
    pub(super) fn answered(&mut self, id: DutyId, response: &Response<Bytes>, made: Option<&str>) {
        self.present.learnt = self.now;
        let Some(flight) = self.flights.remove(&id) else {
            return;
        };
        let status = response.status();
        let offset = number(response.headers(), "upload-offset");
        let length = self.part(id.lane).end - self.part(id.lane).start;
        self.present.heard.push((flight.op, status));
        self.present.last.insert(id.lane, status);
        if passing(status) {
            self.present.note_failure(id, flight.op);
        }
        self.present.pace.answered(self.now, id.lane, response);
        self.present
            .births
            .answered(flight.op, &flight.target, response);
        match flight.op {
            Op::Create => self.present.births.ended(id.lane, Some(status)),
            Op::Concatenate => self.present.births.joined(Some(status)),
            _ => (),
        }
        self.present.acknowledged |=
            status.is_success() && (flight.completing || flight.op == Op::Concatenate);
        self.present.complete |=
            status.is_success() && (flight.completing || offset == Some(length));
        match flight.op {
            Op::Create if status.is_success() => {
                let target = made.unwrap_or(&flight.target).to_owned();
                let known = self.uploads.entry(target).or_default();
                known.unanswered = false;
                known.told_length |= flight.tells;
                known.offset = if flight.body.is_empty() {
                    Some(0)
                } else {
                    offset
                };
                known.highest = known.offset.unwrap_or(0);
                self.present.pace.gains(false);
            }
            Op::Probe if status.is_success() => {
                let known = self.uploads.entry(flight.target).or_default();
                if let Some(offset) = offset {
                    known.offset = Some(offset);
                    known.owes_probe = false;
                    if offset > known.highest {
                        known.highest = offset;
                        self.present.pace.gains(offset == length);
                    }
                    let said = number(response.headers(), "upload-length");
                    let open = self.deferred && said.is_none();
                    if offset < said.unwrap_or(length) || open {
                        known.refused = None;
                    }
                }
            }
            Op::Append => self.append_answered(&flight, response, offset, length),
            // The end of what there was to do, or of a part of it.
            Op::Concatenate | Op::Terminate if status.is_success() => self.present.pace.gains(true),
            _ => (),
        }
    }

    fn append_answered(
        &mut self,
        flight: &Flight,
        response: &Response<Bytes>,
        offset: Option<u64>,
        length: u64,
    ) {
        let status = response.status();
        let part = self
            .parts
            .iter()
            .find(|part| part.contains(&flight.body.start));
        let base = part.map_or(0, |part| if self.parts.len() > 1 { part.start } else { 0 });
        let known = self.uploads.entry(flight.target.clone()).or_default();
        if status.is_success() {
            known.offset = offset;
            known.unanswered = false;
            let beyond = offset.is_some_and(|offset| offset + base > flight.body.end);
            known.owes_probe = offset.is_none() || beyond;
            if let Some(offset) = offset.filter(|offset| *offset > known.highest) {
                known.highest = offset;
                self.present.pace.gains(offset == length);
            }
            if flight.completing {
                known.refused = None;
            }
            return;
        }
        // To these the request was not carried out.
        let unread = [307, 308, 421].contains(&status.as_u16());
        if unread || status == StatusCode::EXPECTATION_FAILED && flight.expects {
            return;
        }
        known.owes_probe = true;
        let length = flight.body.end - flight.body.start;
        let whole = flight.handed.is_none_or(|handed| handed == length);
        let counts = !matches!(
            status.as_u16(),
            408 | 409 | 423 | 425 | 429 | 499 | 502..=504 | 520..=529
        );
        // Such a request was broken off, and not refused. Nor is it where its length may be what is
        // refused, for the server has it already.
        let counts = counts && !(status == StatusCode::BAD_REQUEST && flight.tells_again);
        let counts = counts && !response.body().starts_with(DISPLACED);
        // A 4xx may mean that an earlier request was faster.
        let doubted = status.is_client_error() && known.unanswered;
        if flight.completing && whole && counts && !doubted {
            known.refused = Some(status);
        }
        known.unanswered |= !counts;
    }

    pub(super) fn event(&mut self, event: &Event) -> Result<(), Broken> {
        match event {
            Event::Confirmed { offset, .. } => {
                let before = std::mem::replace(&mut self.confirmed, *offset);
                hold(*offset >= before, "I5", || {
                    format!("{before} became {offset}")
                })?;
            }
            Event::Rewound { to, .. } => {
                self.confirmed = *to;
                // Which of several parts it is, it does not say.
                for known in self.uploads.values_mut() {
                    known.highest = 0;
                }
            }
            Event::Orphaned => self.present.births.orphaned(),
            Event::Recreating { gone } => {
                self.present.births.anew(location::target(gone.as_uri()))?;
                self.confirmed = 0;
                self.recreated += 1;
                let most = self.recreations * u32::try_from(self.parts.len()).unwrap_or(u32::MAX);
                hold(self.recreated <= most, "I6", || {
                    "too many recreations".into()
                })?;
                self.uploads.remove(location::target(gone.as_uri()));
            }
            Event::Retrying {
                op,
                cause,
                attempt,
                after,
            } => {
                let veto = self.present.veto;
                hold(
                    !veto.is_some_and(|veto| veto.says(*op, cause)),
                    "option",
                    || format!("{op:?} is tried again in spite of {veto:?}"),
                )?;
                // The last attempt before the policy's time is over may come sooner, and the first after
                // a loss at once.
                let due = *attempt <= 1 || self.hurried || *after >= self.base_wait / 2;
                hold(due, "I6", || {
                    format!("attempt {attempt} comes after {after:?}")
                })?;
                // Which of several parts it is, it does not say.
                if self.parts.len() == 1 {
                    self.present
                        .pace
                        .retries(0, *op, self.present.learnt + *after);
                }
            }
            _ => (),
        }
        Ok(())
    }

    /// A process says how it ended.
    pub(super) fn done(&self, result: &Result<Uploaded, Error>) -> Result<(), Broken> {
        hold(self.flights.is_empty(), "I11", || {
            format!("still out: {:?}", self.flights)
        })?;
        self.present.births.is_told()?;
        if let Ok(done) = result {
            let said = done.completion == Completion::Acknowledged;
            hold(!said || self.present.acknowledged, "R8", || {
                "acknowledged, and nobody did".into()
            })?;
            let target = location::target(done.url.as_uri());
            let refused = self.uploads.get(target).and_then(|known| known.refused);
            hold(refused.is_none(), "R8", || {
                format!("a success after {refused:?}")
            })?;
        }
        Ok(())
    }
}

/// Where in the source each of these parts is.
fn ranges(lengths: &[u64]) -> Vec<Range<u64>> {
    let mut base = 0;
    let part = |length: &u64| {
        base += length;
        base - length..base
    };
    lengths.iter().map(part).collect()
}

const OBTAINED: &str = "Bearer asked-for-by ";

/// The credentials that are given to an origin that asks for some.
pub(super) fn obtained(origin: &Origin) -> String {
    format!("{OBTAINED}{origin}")
}

/// The number in a field that may be there twice.
fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    let text = headers.get(name)?.to_str().ok()?;
    text.split(',').next()?.trim().parse().ok()
}

/// That a text which people see tells no secret.
pub(super) fn check_words(text: &str) -> Result<(), Broken> {
    let told = SECRETS
        .iter()
        .chain([&BASIC])
        .find(|secret| text.contains(**secret));
    hold(told.is_none(), "S3", || {
        format!("a secret is shown: {text}")
    })
}

/// That a checkpoint is read as it was written.
pub(super) fn reread(checkpoint: &Checkpoint) -> Result<Checkpoint, Broken> {
    let text = checkpoint.to_text();
    let again = text.parse();
    hold(again.as_ref() == Ok(checkpoint), "I9", || {
        format!("not read as written: {text}")
    })?;
    Ok(checkpoint.clone())
}
