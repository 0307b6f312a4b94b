//! Many uploads as one: parts, and the concatenation.
//!
//! Each part is a lane of its own, with its number as [`DutyId::lane`]; lane 0 is that of the whole.
//! What the parts need in common is here: which of them run, their checkpoint, credentials, pauses,
//! and the one end.

use std::collections::VecDeque;
use std::mem;

use http::{HeaderMap, Uri};

use crate::checkpoint::{Kept, Pieces, Saved, Start};
use crate::config::MAX_PARTS;
use crate::joining::{self, Joined, Joining};
use crate::lane::{Lane, Phase, Story as _, failure};
use crate::line::Line;
use crate::outage::Outage;
use crate::transfer::{self, Transfer};
use crate::upload::{home, readmit};
use crate::wire::request::concatenation_list;
use crate::{
    Answer, Cancel, Cause, Checkpoint, Config, Duty, DutyId, Error, Event, Extension, Input, Limit,
    Machine, Misuse, Op, Origin, Output, Place, Refusal, Tick, UploadUrl, Uploaded,
};

/// A checkpoint holds the URLs of the parts, and is not to outgrow what can be read again.
const MOST_URLS: usize = 512 * 1024;

/// An upload in parts that are sent at the same time and then joined: a [`Machine`] that ends when
/// the server has made one upload of them
/// ([Concatenation](https://tus.io/protocols/resumable-upload#concatenation)).
///
/// [One source is split](Self::split), [several are joined](Self::join), or
/// [an earlier run's goes on](Self::resume). Several sources are one source for it, one after the
/// other: ranges and offsets are those of the whole. [`Config::parts`] says how it is cut and joined.
///
/// A part that fails for good ends the others, and the upload with its error. Whatever stays on the
/// server then can be gone on from.
#[derive(Debug)]
pub struct Parallel {
    start: Uri,
    identity: Option<String>,
    parts: Vec<Part>,
    whole: Lane<Joining>,
    stage: Stage,
    /// The server was, perhaps, asked to join complete parts.
    joining: bool,
    /// There is nothing to go on from.
    forgotten: bool,
    settings: crate::Parts,
    outage: Outage,
    /// The checkpoint that the driver keeps, or was last given to keep.
    saved: Option<Checkpoint>,
    /// It could not be saved, so nobody knows what is kept.
    unsaved: bool,
    /// It may not be what is true any more.
    changed: bool,
    /// The save that is out, and the lanes that wait for it.
    saving: Option<(DutyId, Vec<DutyId>)>,
    /// The lanes that wait for the next one.
    to_save: Vec<DutyId>,
    /// The question for credentials that is out, for which origin, and who else waits for it.
    asking: Option<(DutyId, Origin, Vec<DutyId>)>,
    said: VecDeque<Output<Uploaded>>,
    /// How it ends, once that is decided.
    end: Option<Result<Uploaded, Error>>,
    over: bool,
    cancel: Option<Cancel>,
    began: bool,
    now: Tick,
}

#[derive(Debug)]
struct Part {
    /// The offset of its first byte in the whole.
    base: u64,
    length: u64,
    lane: Lane<Transfer>,
    state: State,
    /// How many of its bytes the server has, by its last word.
    confirmed: u64,
    /// How many the transport took.
    sent: u64,
}

/// Where a part stands in the present stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    /// It is created, and goes on when all are.
    Created,
    Over,
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The parts are created, for a whole that is asked for before they are complete.
    Create,
    /// The parts are sent.
    Send,
    /// The parts are looked at, and what they lack is sent.
    Verify,
    /// That they will be joined is made durable.
    Commit,
    /// The whole is asked for, or looked at.
    Join,
    /// The parts are deleted, for they are joined.
    Discard,
    /// The parts are deleted, for the caller wants no upload.
    Terminate,
    /// The end is decided; the rest comes to its end.
    End,
}

impl Parallel {
    /// Uploads a source of so many bytes in so many parts to this endpoint; in fewer, where they
    /// would be shorter than [`Parts::least`](crate::Parts::least).
    ///
    /// # Errors
    ///
    /// Where the endpoint or an option cannot be used, no part or too many are asked for, or the
    /// [server](Config::server) is known not to offer what this needs.
    pub fn split(
        endpoint: &str,
        length: u64,
        parts: usize,
        config: &Config,
    ) -> Result<Self, Misuse> {
        if !(1..=MAX_PARTS).contains(&parts) {
            return Err(Misuse::Parts);
        }
        let most = length / config.parts.least.max(1);
        let count = (parts as u64).min(most).max(1);
        let (each, more) = (length / count, length % count);
        let lengths: Vec<_> = (0..count).map(|n| each + u64::from(n < more)).collect();
        Self::join(endpoint, &lengths, config)
    }

    /// Uploads sources of these lengths to this endpoint, each as a part, and joins them in this
    /// order.
    ///
    /// # Errors
    ///
    /// Where the endpoint or an option cannot be used, there is no part or too many, or the
    /// [server](Config::server) is known not to offer what this needs.
    pub fn join(endpoint: &str, lengths: &[u64], config: &Config) -> Result<Self, Misuse> {
        let pieces = Pieces {
            parts: lengths.iter().map(|length| (*length, None)).collect(),
            joining: false,
            whole: None,
        };
        let identity = config.identity.clone();
        Self::new(endpoint, identity, pieces, None, config)
    }

    /// Goes on from where an earlier run ended, with the parts of that run. `endpoint` is what it
    /// began with.
    ///
    /// Headers and credentials are this run's. Where the length or the
    /// [identity](Config::identity) are not the checkpoint's, the machine ends with
    /// [`Error::SourceChanged`] before any request; where a part is on an origin that this run
    /// [refuses](Config::foreign), with [`Error::Location`]. The checkpoint stays.
    ///
    /// # Errors
    ///
    /// Where the endpoint or an option cannot be used, or the checkpoint is of an upload that began
    /// at another URL, or is not [in parts](Checkpoint::in_parts).
    pub fn resume(
        endpoint: &str,
        checkpoint: Checkpoint,
        length: u64,
        config: &Config,
    ) -> Result<Self, Misuse> {
        let (uri, _) = home(endpoint, config)?;
        if checkpoint.start != Start::Endpoint(uri) {
            return Err(Misuse::Checkpoint);
        }
        let same = checkpoint.length() == Some(length) && checkpoint.identity == config.identity;
        let kept = checkpoint.clone();
        let Kept::Parts(pieces) = checkpoint.kept else {
            return Err(Misuse::CheckpointKind);
        };
        let mut all = Self::new(endpoint, checkpoint.identity, pieces, Some(kept), config)?;
        if !same {
            let place = all.place(Op::Probe);
            all.end_with(Err(Error::SourceChanged { place }));
        }
        Ok(all)
    }

    fn new(
        endpoint: &str,
        identity: Option<String>,
        pieces: Pieces,
        saved: Option<Checkpoint>,
        config: &Config,
    ) -> Result<Self, Misuse> {
        let (start, credentials) = home(endpoint, config)?;
        config.check()?;
        if config.partial {
            return Err(Misuse::PartOfParts);
        }
        if !(1..=MAX_PARTS).contains(&pieces.parts.len()) {
            return Err(Misuse::Parts);
        }
        if saved.is_none() {
            config.needs(Extension::Concatenation)?;
        }
        let mut part_config = config.clone();
        part_config.metadata = config.parts.metadata.clone();
        part_config.partial = true;
        part_config.identity = None;
        let early = config.parts.unfinished
            && pieces.whole.is_none()
            && !pieces.joining
            && config.offered(Extension::ConcatenationUnfinished) == Some(true);
        let mut base = 0_u64;
        let mut parts = Vec::with_capacity(pieces.parts.len());
        let mut refused = None;
        for (number, (length, saved)) in (1..).zip(pieces.parts) {
            let mut line = Line::of_lane(number, config, credentials.clone());
            let exists = saved.is_some();
            let (mut transfer, refusal) =
                begin_part(&mut line, &start, saved, length, &part_config)?;
            if pieces.joining {
                // What is gone now may have been joined, and moved away.
                transfer.keep();
            }
            if let Some(refusal) = refusal {
                let place = transfer.place(&line, Op::Probe);
                refused.get_or_insert(Error::Location { place, refusal });
            }
            let saved = transfer.checkpoint();
            let first = transfer.go_on(&mut line);
            if early && exists {
                line.hold(Tick::NEVER);
            }
            parts.push(Part {
                base,
                length,
                lane: Lane::new(line, transfer, first, saved),
                state: if early && exists {
                    State::Created
                } else {
                    State::Waiting
                },
                confirmed: 0,
                sent: 0,
            });
            base = base.checked_add(length).ok_or(Misuse::Parts)?;
        }
        if saved.is_none() {
            config.fits(base)?;
        }
        let mut line = Line::new(config, credentials);
        let mut joining = Joining::new(start.clone(), base, config);
        if let Some(whole) = pieces.whole {
            let (url, refusal) = readmit(&mut line, &start, &whole);
            if let Some(refusal) = refusal {
                let place = joining.place(&line, joining::Step::Join);
                refused.get_or_insert(Error::Location { place, refusal });
            }
            joining.whole = Some(url);
        }
        let mut all = Self {
            start,
            identity,
            parts,
            whole: Lane::new(line, joining, Phase::Over(None), None),
            stage: if early { Stage::Create } else { Stage::Send },
            joining: pieces.joining,
            forgotten: false,
            settings: config.parts.clone(),
            outage: Outage::new(config.retry.attempts),
            saved,
            unsaved: false,
            changed: false,
            saving: None,
            to_save: Vec::new(),
            asking: None,
            said: VecDeque::new(),
            end: None,
            over: false,
            cancel: None,
            began: false,
            now: Tick::default(),
        };
        if let Some(error) = refused {
            all.end_with(Err(error));
        }
        Ok(all)
    }

    /// The length of the whole, in bytes.
    fn length(&self) -> u64 {
        self.parts.last().map_or(0, |part| part.base + part.length)
    }

    fn place(&self, op: Op) -> Box<Place> {
        Box::new(Place {
            op,
            url: UploadUrl::new(self.start.clone()),
            attempts: 0,
            resumable: false,
        })
    }

    // One step.

    /// Goes on with whatever can; says until when there is nothing to do.
    fn step(&mut self) -> Option<Option<Tick>> {
        self.start_parts();
        let mut until = None;
        for at in 0..self.parts.len() {
            if self.parts[at].state != State::Running && self.parts[at].state != State::Created {
                continue;
            }
            match self.parts[at].lane.poll(self.now) {
                Output::Wait(tick) => until = earlier(until, tick),
                Output::Done(result) => {
                    self.part_ended(at, result.map(drop));
                    return None;
                }
                Output::Begin(id, duty) => {
                    self.begin(at, id, duty);
                    return None;
                }
                Output::Stop(id) => {
                    self.asking.take_if(|(asking, ..)| *asking == id);
                    self.said.push_back(Output::Stop(id));
                    return None;
                }
                Output::Event(event) => {
                    self.tell(at, event);
                    return None;
                }
            }
        }
        match self.whole.poll(self.now) {
            Output::Wait(tick) => until = earlier(until, tick),
            Output::Done(result) => {
                self.whole_ended(result);
                return None;
            }
            Output::Begin(id, Duty::Authorize { .. }) if self.asking.is_some() => {
                self.wait_for_credentials(id);
                return None;
            }
            Output::Begin(id, duty) => {
                if let Duty::Authorize { uri, .. } = &duty {
                    self.ask(id, uri);
                }
                self.said.push_back(Output::Begin(id, duty));
                return None;
            }
            Output::Stop(id) => {
                self.said.push_back(Output::Stop(id));
                return None;
            }
            Output::Event(event) => {
                self.said.push_back(Output::Event(event));
                return None;
            }
        }
        if self.save() || self.turn() {
            return None;
        }
        Some(until)
    }

    /// Begins as many parts as may run.
    fn start_parts(&mut self) {
        if !matches!(
            self.stage,
            Stage::Create | Stage::Send | Stage::Verify | Stage::Terminate
        ) {
            return;
        }
        // The first one's URL tells whether the list of all can be sent.
        let known = self.parts.iter().any(|part| part.saved().is_some());
        let most = if known {
            usize::try_from(self.settings.at_once)
                .unwrap_or(usize::MAX)
                .max(1)
        } else {
            1
        };
        let running = |part: &&mut Part| part.state == State::Running;
        let free = most.saturating_sub(self.parts.iter_mut().filter(running).count());
        let (stage, now) = (self.stage, self.now);
        let waiting = self
            .parts
            .iter_mut()
            .filter(|part| part.state == State::Waiting);
        for part in waiting.take(free) {
            part.state = State::Running;
            match stage {
                Stage::Verify => {
                    part.lane.line_mut().advance(now);
                    part.lane.restart(|_| transfer::Step::Probe);
                }
                Stage::Terminate if part.saved().is_some() => {
                    part.lane.line_mut().advance(now);
                    part.lane.restart(|_| transfer::Step::Terminate);
                }
                Stage::Terminate => part.state = State::Over,
                _ => (),
            }
        }
    }

    /// Goes on to the next stage, if the present one is over and all is saved that it brought.
    fn turn(&mut self) -> bool {
        let over = || {
            let parts = self.parts.iter().all(|part| part.state == State::Over);
            parts && self.whole.is_over()
        };
        let is_saved = self.saving.is_none() && !self.changed && self.to_save.is_empty();
        match self.stage {
            _ if !is_saved && self.cancel != Some(Cancel::Now) => return false,
            Stage::Create if !self.parts.iter().any(|part| part.state.is_to_be_created()) => {
                self.ask_to_join(true);
            }
            Stage::Send | Stage::Verify if over() => {
                if self.whole.story().whole.is_some() {
                    self.stage = Stage::Join;
                    self.whole.line_mut().advance(self.now);
                    self.whole.restart(|_| joining::Step::Look);
                } else {
                    self.joining = true;
                    self.changed = true;
                    self.stage = Stage::Commit;
                }
            }
            Stage::Commit => self.ask_to_join(false),
            Stage::Terminate if over() => self.stage = Stage::End,
            Stage::End if self.whole.is_over() && !self.parts.iter().any(Part::is_active) => {
                return self.conclude();
            }
            _ => return false,
        }
        true
    }

    fn ask_to_join(&mut self, early: bool) {
        let parts: Vec<_> = self
            .parts
            .iter()
            .filter_map(|part| Some(part.saved()?.url))
            .collect();
        let home = self.settings.relative.then_some(&self.start);
        let list = concatenation_list(parts.iter(), home);
        let verified = self.stage == Stage::Commit && self.whole.story().verified;
        self.said
            .push_back(Output::Event(Event::Joining { parts: parts.len() }));
        self.stage = Stage::Join;
        self.whole.line_mut().advance(self.now);
        self.whole.restart(|story| {
            story.list = list;
            story.early = early;
            story.verified = verified;
            joining::Step::Join
        });
    }

    // What the parts say.

    fn begin(&mut self, at: usize, id: DutyId, duty: Duty) {
        let base = self.parts[at].base;
        let duty = match duty {
            Duty::Save(_) => {
                self.to_save.push(id);
                if self.stage == Stage::Create && self.parts[at].saved().is_some() {
                    self.parts[at].lane.line_mut().hold(Tick::NEVER);
                    self.parts[at].state = State::Created;
                }
                self.check_list();
                return;
            }
            Duty::Exchange(request, terms) => {
                self.outage.sent(at);
                let request = request.map(|body| body.start + base..body.end + base);
                Duty::Exchange(request, terms)
            }
            Duty::Digest { algorithm, range } => Duty::Digest {
                algorithm,
                range: range.start + base..range.end + base,
            },
            Duty::Authorize { .. } if self.asking.is_some() => {
                return self.wait_for_credentials(id);
            }
            Duty::Authorize { ref uri, .. } => {
                self.ask(id, uri);
                duty
            }
            Duty::Read { keep, upto } => Duty::Read {
                keep: keep + base,
                upto: upto + base,
            },
        };
        self.said.push_back(Output::Begin(id, duty));
    }

    fn ask(&mut self, id: DutyId, uri: &Uri) {
        if let Ok(origin) = Origin::of(uri) {
            self.asking = Some((id, origin, Vec::new()));
        }
    }

    fn wait_for_credentials(&mut self, id: DutyId) {
        if let Some((_, _, waiting)) = &mut self.asking {
            waiting.push(id);
        }
    }

    fn tell(&mut self, at: usize, event: Event) {
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
                let gained = offset.saturating_sub(part.confirmed);
                let all = offset == part.length;
                (part.confirmed, part.sent) = (offset, offset);
                self.outage.gain(gained, all);
                Event::Confirmed {
                    offset: self.sum(|part| part.confirmed),
                    length: Some(self.length()),
                }
            }
            Event::Rewound { from, to } => {
                let before = self.sum(|part| part.confirmed);
                let lost = from - to;
                Event::Rewound {
                    from: before,
                    to: before.saturating_sub(lost),
                }
            }
            Event::Recreating { .. } => {
                (part.confirmed, part.sent) = (0, 0);
                event
            }
            Event::Retrying {
                op,
                ref cause,
                after,
                ..
            } => {
                if pauses(cause) {
                    let until = self.now + after;
                    let others = self.parts.iter_mut().enumerate();
                    for (_, part) in others.filter(|(other, _)| *other != at) {
                        part.lane.line_mut().hold_until(until);
                    }
                }
                if self.outage.failed(at) {
                    let lane = &self.parts[at].lane;
                    let place = lane.story().place(lane.line(), op);
                    let cause = Some(Box::new(cause.clone()));
                    let limit = Limit::Attempts;
                    self.said.push_back(Output::Event(event));
                    self.end_with(Err(Error::Exhausted {
                        place,
                        limit,
                        cause,
                    }));
                    return;
                }
                event
            }
            event => event,
        };
        self.said.push_back(Output::Event(event));
    }

    fn sum(&self, of: impl Fn(&Part) -> u64) -> u64 {
        self.parts.iter().map(of).sum()
    }

    fn part_ended(&mut self, at: usize, result: Result<(), Error>) {
        self.changed = true;
        let part = &mut self.parts[at];
        part.state = State::Over;
        match result {
            Ok(()) => (part.confirmed, part.sent) = (part.length, part.length),
            Err(Error::Cancelled { .. }) if self.end.is_some() => (),
            Err(error) if self.stage == Stage::Terminate => self.end = Some(Err(error)),
            Err(Error::Gone { place }) if self.joining => {
                self.end_with(Err(Error::CompletionUnknown { place }));
            }
            Err(error) => self.end_with(Err(error)),
        }
    }

    fn whole_ended(&mut self, result: Result<Joined, Error>) {
        match result {
            // That of another stage has nothing to say.
            Ok(Joined::Discarded) if self.stage == Stage::Discard => self.stage = Stage::End,
            Err(_) if self.stage == Stage::Discard => {
                for url in mem::take(&mut self.whole.story_mut().left) {
                    self.said.push_back(Output::Event(Event::PartLeft { url }));
                }
                self.stage = Stage::End;
            }
            _ if self.stage != Stage::Join => (),
            Ok(Joined::At(url)) if self.whole.story().early => {
                self.whole.story_mut().whole = Some(url);
                self.go_on_sending();
            }
            Ok(Joined::At(url)) => self.joined(url),
            Ok(Joined::Whole) => {
                if let Some(url) = self.whole.story().whole.clone() {
                    self.joined(url);
                }
            }
            Ok(Joined::TooEarly) => self.go_on_sending(),
            Ok(Joined::Verify(at)) => {
                self.stage = Stage::Verify;
                self.whole.story_mut().verified = true;
                for part in &mut self.parts {
                    part.state = State::Waiting;
                    part.lane.story_mut().keep();
                    part.lane.line_mut().hold_until(at);
                }
            }
            Ok(Joined::Discarded) => (),
            Err(error) => self.end_with(Err(error)),
        }
    }

    /// The whole is asked for, or will be once its parts are complete.
    fn go_on_sending(&mut self) {
        self.stage = Stage::Send;
        self.changed = true;
        for part in &mut self.parts {
            part.lane.line_mut().hold(Tick::default());
            if part.state == State::Created {
                part.state = State::Waiting;
            }
        }
    }

    /// There is one upload now.
    fn joined(&mut self, url: UploadUrl) {
        let parts = self.parts.iter().filter_map(Part::saved);
        let parts: Vec<_> = parts.map(|saved| UploadUrl::new(saved.url)).collect();
        let uploaded = Uploaded {
            url,
            length: self.length(),
            completion: crate::Completion::Acknowledged,
            parts,
        };
        self.forgotten = true;
        self.end_with(Ok(uploaded));
    }

    /// The list of all parts is too long to be sent, as far as it is known.
    fn check_list(&mut self) {
        let home = self.settings.relative.then_some(&self.start);
        let urls: Vec<_> = self
            .parts
            .iter()
            .filter_map(|part| Some(part.saved()?.url))
            .collect();
        let lengths = urls.iter().map(|url| {
            let listed = concatenation_list([url].into_iter(), home).len() - "final;".len();
            (listed, url.to_string().len())
        });
        let (mut listed, mut whole, mut longest) = (0, 0, (0, 0));
        for (one, url) in lengths {
            (listed, whole) = (listed + one + 1, whole + url);
            longest = (longest.0.max(one), longest.1.max(url));
        }
        let missing = self.parts.len() - urls.len();
        listed += "final".len() + missing * (longest.0 + 1);
        whole += missing * longest.1;
        let limit = self.settings.list_limit;
        if self.end.is_none() && (listed > limit || whole > MOST_URLS) {
            let (length, limit) = if listed > limit {
                (listed, limit)
            } else {
                (whole, MOST_URLS)
            };
            self.forgotten = true;
            self.said.push_back(Output::Event(Event::Orphaned));
            let place = self.place(Op::Concatenate);
            self.end_with(Err(Error::PartList {
                place,
                length: length as u64,
                limit: limit as u64,
            }));
        }
    }

    // Checkpoints.

    fn pieces(&self) -> Option<Pieces> {
        let pieces = Pieces {
            parts: self
                .parts
                .iter()
                .map(|part| (part.length, part.saved()))
                .collect(),
            joining: self.joining,
            whole: (self.whole.story().whole.as_ref()).map(|url| url.as_uri().clone()),
        };
        let exists = pieces.parts.iter().any(|(_, saved)| saved.is_some());
        (exists && !self.forgotten).then_some(pieces)
    }

    /// Gives the driver what must be durable before anything that depends on it is sent. One at a
    /// time, each with all that is known, so that their order cannot matter.
    fn save(&mut self) -> bool {
        let due = self.changed || !self.to_save.is_empty();
        if self.saving.is_some() || !due || self.cancel == Some(Cancel::Now) {
            return false;
        }
        self.changed = false;
        let waiting = mem::take(&mut self.to_save);
        let wanted = self.checkpoint();
        if wanted == self.saved && (!self.unsaved || waiting.is_empty()) {
            self.release(waiting);
            return true;
        }
        self.saved.clone_from(&wanted);
        self.unsaved = false;
        let id = self.whole.line_mut().next_id();
        self.saving = Some((id, waiting));
        self.said.push_back(Output::Begin(id, Duty::Save(wanted)));
        true
    }

    /// These need not wait any more.
    fn release(&mut self, waiting: Vec<DutyId>) {
        for id in waiting {
            self.hand_on(Input::Answer(id, Answer::Saved), id);
        }
    }

    fn saved_now(&mut self, answer: Answer) {
        let Some((_, waiting)) = self.saving.take() else {
            return;
        };
        if !matches!(answer, Answer::Saved) {
            let failure = failure(answer);
            self.said
                .push_back(Output::Event(Event::CheckpointFailed { failure }));
            self.unsaved = true;
        }
        self.release(waiting);
    }

    // Credentials.

    /// What was obtained for one lane holds for all.
    fn authorized(&mut self, answer: Answer) {
        let Some((id, origin, waiting)) = self.asking.take() else {
            return;
        };
        let fresh = match answer {
            Answer::Credentials(fresh) => fresh,
            _ => None,
        };
        if let Some(fresh) = &fresh {
            let lines = self.parts.iter_mut().map(|part| part.lane.line_mut());
            for line in lines.chain([self.whole.line_mut()]) {
                line.renew_credentials(origin.clone(), fresh.clone());
            }
        }
        for id in waiting.into_iter().chain([id]) {
            let fresh: Option<HeaderMap> = fresh.clone();
            self.hand_on(Input::Answer(id, Answer::Credentials(fresh)), id);
        }
    }

    fn hand_on(&mut self, input: Input, id: DutyId) {
        let now = self.now;
        match (id.lane as usize).checked_sub(1) {
            None => self.whole.handle(now, input),
            Some(at) => {
                if let Some(part) = self.parts.get_mut(at) {
                    part.lane.handle(now, input);
                }
            }
        }
    }

    // The end.

    /// Decides how it ends, once; whatever still goes on is stopped.
    fn end_with(&mut self, result: Result<Uploaded, Error>) {
        if self.end.is_some() {
            return;
        }
        if result.is_err() {
            let how = self.cancel.unwrap_or(Cancel::Keep).max(Cancel::Keep);
            let how = if how == Cancel::Terminate {
                Cancel::Keep
            } else {
                how
            };
            for part in &mut self.parts {
                if part.state == State::Running || part.state == State::Created {
                    part.state = State::Running;
                    part.lane.handle(self.now, Input::Cancel(how));
                }
            }
            self.whole.handle(self.now, Input::Cancel(how));
        }
        self.end = Some(result);
        self.stage = Stage::End;
        self.changed = true;
    }

    /// The end: all is saved that must be.
    fn conclude(&mut self) -> bool {
        if let Some(Ok(done)) = &mut self.end
            && self.settings.discard
            && !done.parts.is_empty()
        {
            self.whole.story_mut().left = mem::take(&mut done.parts);
            self.stage = Stage::Discard;
            self.whole.line_mut().advance(self.now);
            self.whole.restart(|_| joining::Step::Discard);
            return true;
        }
        let resumable = self.saved.is_some() && !self.unsaved;
        let Some(mut result) = self.end.take() else {
            return false;
        };
        if let Err(error) = &mut result {
            error.place_mut().resumable = resumable;
        }
        self.over = true;
        self.said.push_back(Output::Done(result));
        true
    }

    fn cancel(&mut self, how: Cancel) {
        if self.over || self.cancel.is_some_and(|before| how <= before) {
            return;
        }
        let decided = self.end.is_some();
        if decided && how < Cancel::Now {
            return;
        }
        self.cancel = Some(how);
        match how {
            Cancel::Terminate => {
                for part in &mut self.parts {
                    match part.state {
                        State::Running | State::Created => {
                            part.state = State::Running;
                            part.lane.line_mut().hold(Tick::default());
                            part.lane.handle(self.now, Input::Cancel(how));
                        }
                        State::Waiting | State::Over => part.state = State::Waiting,
                    }
                }
                self.whole.handle(self.now, Input::Cancel(Cancel::Keep));
                if let Some(url) = self.whole.story().whole.clone() {
                    self.whole.restart(|story| {
                        story.left = vec![url];
                        joining::Step::Discard
                    });
                }
                let place = self.place(Op::Terminate);
                self.end = Some(Err(Error::Cancelled {
                    place,
                    terminated: true,
                }));
                self.stage = Stage::Terminate;
            }
            Cancel::Keep | Cancel::Now => {
                let place = self.place(Op::Append);
                self.end_with(Err(Error::Cancelled {
                    place,
                    terminated: false,
                }));
                if decided {
                    for part in &mut self.parts {
                        part.lane.handle(self.now, Input::Cancel(how));
                    }
                    self.whole.handle(self.now, Input::Cancel(how));
                }
                if how == Cancel::Now {
                    self.to_save.clear();
                    self.said
                        .retain(|output| !matches!(output, Output::Begin(..)));
                    if let Some((id, _)) = self.saving.take() {
                        self.said.push_back(Output::Stop(id));
                    }
                }
            }
        }
    }
}

impl Part {
    fn saved(&self) -> Option<Saved> {
        self.lane.story().saved()
    }

    fn is_active(&self) -> bool {
        matches!(self.state, State::Running | State::Created)
    }
}

impl State {
    fn is_to_be_created(self) -> bool {
        matches!(self, Self::Waiting | Self::Running)
    }
}

/// A part, where it was left or from the beginning, and why it may not be gone on with.
fn begin_part(
    line: &mut Line,
    start: &Uri,
    saved: Option<Saved>,
    length: u64,
    config: &Config,
) -> Result<(Transfer, Option<Refusal>), Misuse> {
    let start_at = Start::Endpoint(start.clone());
    let Some(saved) = saved else {
        let transfer = Transfer::new(start_at, Some(length), config)?;
        return Ok((transfer.as_part(), None));
    };
    let (url, refusal) = readmit(line, start, &saved.url);
    let transfer = Transfer::resume(start_at, None, saved, url, Some(length), config)?;
    Ok((transfer.as_part(), refusal))
}

/// What is bad for one part is likely bad for all.
fn pauses(cause: &Cause) -> bool {
    match cause {
        Cause::Answered { status, .. } => matches!(status.as_u16(), 429 | 503),
        Cause::Failed(_) | Cause::TimedOut(_) => true,
        _ => false,
    }
}

fn earlier(one: Option<Tick>, other: Option<Tick>) -> Option<Tick> {
    one.into_iter().chain(other).min()
}

impl Machine for Parallel {
    type Success = Uploaded;

    fn poll(&mut self, now: Tick) -> Output<Uploaded> {
        self.now = self.now.max(now);
        if !self.began {
            self.began = true;
            // The policy's deadline is that of the whole.
            for part in &mut self.parts {
                part.lane.line_mut().advance(self.now);
            }
            self.whole.line_mut().advance(self.now);
        }
        loop {
            if let Some(output) = self.said.pop_front() {
                return output;
            }
            if self.over {
                return Output::Wait(None);
            }
            if let Some(until) = self.step() {
                return Output::Wait(until);
            }
        }
    }

    fn handle(&mut self, now: Tick, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Answer(id, answer) => {
                if self
                    .saving
                    .as_ref()
                    .is_some_and(|(saving, _)| *saving == id)
                {
                    self.saved_now(answer);
                } else if self
                    .asking
                    .as_ref()
                    .is_some_and(|(asking, ..)| *asking == id)
                {
                    self.authorized(answer);
                } else {
                    self.hand_on(Input::Answer(id, answer), id);
                }
            }
            Input::Sent(id, _) | Input::Interim(id, _) => self.hand_on(input, id),
            Input::Cancel(how) => self.cancel(how),
        }
    }

    fn checkpoint(&self) -> Option<Checkpoint> {
        Some(Checkpoint {
            start: Start::Endpoint(self.start.clone()),
            identity: self.identity.clone(),
            kept: Kept::Parts(self.pieces()?),
        })
    }
}
