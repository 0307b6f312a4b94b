//! What is around a machine in a simulated run: a driver, a line, a server, a source, a clock, and a
//! user who kills the process and begins it again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tus_proto::{
    Algorithm, Answer, Authorize, Body, Cancel, Checkpoint, Config, Date, Duty, DutyId, Error,
    Failure, FailureKind, Input, Machine, Op, Origin, Output, Tick, Uploaded, Veto,
};

use super::draw::GROWTH;
use super::judge::End;
use super::watch::{Broken, Watch, check_words, hold, obtained, reread};
use super::{Choices, Plan, Sort, Subject, Tally, Task};
use crate::{Quirk, Reading, Server, VirtualClock, checksum};

/// More steps than any process takes.
const MANY: u64 = 200_000;
/// More outputs than any machine has between two inputs.
const MUCH: u32 = 400;
/// More processes than any upload takes.
const LIVES: usize = 100;
/// The wall clock when the simulated one begins: 2024-01-01.
const EPOCH: u64 = 1_704_067_200;

/// What comes later.
pub(super) enum Coming {
    /// For the process of this number; a later one has other connections.
    Input(u32, Input, Made),
    /// The server notices that a connection is dead.
    Abort(Reading),
    /// What something on the way held back comes to the server.
    Rest {
        reading: Reading,
        rest: Bytes,
        whole: bool,
    },
    /// So does a whole request.
    Request(http::Request<Bytes>),
}

/// The path and query of what a request has created.
pub(super) type Made = Option<String>;

/// How a process ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stroke {
    Kill,
    Cancel(Cancel),
}

/// What is uploaded, before it was changed.
pub(super) struct Former {
    content: u64,
    lengths: Vec<u64>,
    identity: Option<String>,
}

/// Everything around a machine, and what has happened so far.
#[expect(clippy::struct_excessive_bools, reason = "each has happened or not")]
pub(super) struct World<'a> {
    pub(super) plan: Plan,
    pub(super) choices: Choices,
    pub(super) server: Server,
    pub(super) clock: VirtualClock<Coming>,
    pub(super) watch: Watch,
    pub(super) tally: Tally,
    pub(super) source: Bytes,
    /// What the source was before the user put another in its place.
    pub(super) former: Option<Former>,
    /// All that the source ever was, with the lengths of its parts.
    pub(super) sources: Vec<(Bytes, Vec<u64>)>,
    /// What the driver made durable.
    pub(super) saved: Option<Checkpoint>,
    pub(super) lost_a_save: bool,
    /// The user wanted it deleted, so that it may be, even if that was not noted.
    pub(super) asked_to_delete: bool,
    /// What has happened in this process, and in any.
    pub(super) here: BTreeSet<Sort>,
    pub(super) ever: BTreeSet<Sort>,
    /// The statuses that something gave in the server's place, or the server itself for a reason.
    pub(super) statuses: BTreeSet<StatusCode>,
    /// The uploads that somebody else has written to.
    pub(super) strange: BTreeSet<Vec<u8>>,
    /// Something that is no tus server said that it is done, or gone.
    pub(super) misled: bool,
    pub(super) longest_wait: Duration,
    pub(super) incidents_left: u64,
    /// How many attempts of this process may fail.
    pub(super) attempts: u32,
    /// This process goes on however often something fails.
    pub(super) patient: bool,
    /// The clock has jumped in this process.
    pub(super) jumped: bool,
    /// The process is to be killed before the next output.
    pub(super) killed: bool,
    /// It is to be cancelled.
    pub(super) cancelling: Option<Cancel>,
    pub(super) process: u32,
    /// Whether the transport says what it takes, in this process.
    pub(super) reports: bool,
    /// The upload that was there before, where one was.
    pub(super) given: Option<String>,
    subject: &'a dyn Subject,
    transcript: Option<Vec<String>>,
    /// Bytes of a stream before this are dropped.
    kept: u64,
    /// Those before this were read.
    read: u64,
    /// The latest tick that the machine was told.
    latest: Duration,
    /// The tick of the last poll.
    polled: Tick,
    saving: Option<DutyId>,
}

pub(super) fn index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

fn copy_of(input: &Input) -> Input {
    match input {
        Input::Answer(id, answer) => Input::Answer(*id, copy_of_answer(answer)),
        Input::Interim(id, response) => Input::Interim(*id, response.clone()),
        Input::Sent(id, bytes) => Input::Sent(*id, *bytes),
        Input::Cancel(how) => Input::Cancel(*how),
        other => unreachable!("nobody says {other:?} here"),
    }
}

fn copy_of_answer(answer: &Answer) -> Answer {
    match answer {
        Answer::Response(response) => Answer::Response(response.clone()),
        Answer::Digest(digest) => Answer::Digest(digest.clone()),
        Answer::Available { upto, end } => Answer::Available {
            upto: *upto,
            end: *end,
        },
        Answer::Credentials(fields) => Answer::Credentials(fields.clone()),
        Answer::Saved => Answer::Saved,
        Answer::Failed(failure) => Answer::Failed(failure.clone()),
    }
}

impl<'a> World<'a> {
    pub(super) fn new(plan: Plan, choices: Choices, subject: &'a dyn Subject, aloud: bool) -> Self {
        let mut server = Server::new(plan.server.clone());
        server.set_now(EPOCH);
        let length = (!plan.kind.is_deferred()).then(|| plan.lengths[0]);
        let given = plan.kind.is_given().then(|| server.place(length, 0));
        let mut world = Self {
            choices,
            server,
            clock: VirtualClock::new(),
            watch: Watch::new(&plan),
            tally: tally_of(&plan),
            source: plan.source(),
            former: None,
            sources: vec![(plan.source(), plan.lengths.clone())],
            saved: None,
            lost_a_save: false,
            asked_to_delete: false,
            here: BTreeSet::new(),
            ever: BTreeSet::new(),
            statuses: BTreeSet::new(),
            strange: BTreeSet::new(),
            misled: false,
            longest_wait: Duration::ZERO,
            incidents_left: plan.incidents,
            attempts: u32::MAX,
            patient: true,
            jumped: false,
            killed: false,
            cancelling: None,
            process: 0,
            reports: true,
            given,
            subject,
            transcript: aloud.then(Vec::new),
            kept: 0,
            read: 0,
            latest: Duration::ZERO,
            polled: Tick::default(),
            saving: None,
            plan,
        };
        world.tell(|world| {
            let Plan {
                kind,
                lengths,
                endpoint,
                server,
                ..
            } = &world.plan;
            let config = &world.plan.config;
            format!(
                "{kind:?} {lengths:?} to {endpoint} {:?} {config:?}",
                server.quirks
            )
        });
        world
    }

    pub(super) fn tell(&mut self, what: impl FnOnce(&Self) -> String) {
        if self.transcript.is_some() {
            let line = format!("{:>12.3?} {}", self.clock.now(), what(self));
            self.transcript.get_or_insert_default().push(line);
        }
    }

    pub(super) fn into_transcript(self) -> (Choices, Vec<String>) {
        (self.choices, self.transcript.unwrap_or_default())
    }

    /// Something happened that excuses errors.
    pub(super) fn happened(&mut self, sort: Sort) {
        self.tally.count(sort.name());
        self.blame(sort);
    }

    /// Something went wrong that excuses errors, though nobody may have seen it.
    pub(super) fn blame(&mut self, sort: Sort) {
        self.here.insert(sort);
        self.ever.insert(sort);
    }

    /// What the machine is begun with: the endpoint, or the upload that is there.
    fn url(&self) -> String {
        let target = self.given.as_deref();
        match (target, self.plan.endpoint.find("/files/")) {
            (Some(target), Some(at)) => format!("{}{target}", &self.plan.endpoint[..at]),
            _ => self.plan.endpoint.clone(),
        }
    }

    /// The settings of the next process.
    fn config(&mut self) -> Config {
        let mut config = self.plan.config.clone();
        if let Some(veto) = self.plan.veto {
            config.veto = Veto::when(move |op, cause| veto.says(op, cause));
        }
        if !self.plan.asks_at.is_empty() {
            let asks_at = self.plan.asks_at.clone();
            let asks =
                move |answer: &http::Response<Bytes>| asks_at.contains(&answer.status().as_u16());
            config.authorize = Authorize::When(Arc::new(asks));
        }
        if !self.plan.restless {
            return config;
        }
        config.seed = self.choices.below(u64::MAX);
        let big = self.source.len() > 1_000;
        let least = config.request_multiple.unwrap_or(1);
        if self.choices.once_in(2) {
            let least = if big { 50_000 } else { least };
            config.request_size = Some(least + self.choices.below(300));
        }
        if self.incidents_left > 0 && self.choices.once_in(6) {
            config.retry.attempts = Some(u32::try_from(self.choices.below(4)).unwrap_or(0));
        }
        if self.choices.once_in(2) {
            config.wall_clock = Some(Date::from_unix_seconds(self.wall_clock()));
        }
        config
    }

    pub(super) fn wall_clock(&self) -> u64 {
        EPOCH + self.clock.now().as_secs()
    }

    /// The server's clock goes with everyone's.
    pub(super) fn wind(&mut self) {
        self.server.set_now(self.wall_clock());
    }

    /// Runs one process after the other until there is an end.
    pub(super) fn live(&mut self) -> Result<End, Broken> {
        for _ in 0..LIVES {
            self.change_source();
            let config = self.config();
            let task = Task {
                kind: self.plan.kind,
                url: self.url(),
                lengths: self.plan.lengths.clone(),
                saved: self.saved.clone(),
                config,
            };
            self.here.clear();
            self.jumped = false;
            self.attempts = task.config.retry.attempts.unwrap_or(u32::MAX);
            self.patient = self.attempts >= 100;
            if let Some(end) = self.run(&task)? {
                self.check_end(&end)?;
                return Ok(end);
            }
            if self.plan.restless && self.choices.once_in(3) {
                self.clock
                    .advance(Duration::from_secs(*self.choices.pick(&[1, 60, 3_600])));
            }
        }
        Err(Broken {
            rule: "I6",
            what: "no end after a hundred processes".into(),
        })
    }

    /// The user puts another source in the place of the one that an earlier process began with.
    fn change_source(&mut self) {
        // Of a server that does not say a length that an earlier process has told, nobody could say that it
        // is another.
        let says = !self.plan.kind.is_deferred()
            || !self.server.quirks().contains(&Quirk::HeadWithoutLength);
        let may = self.plan.restless && self.incidents_left > 0 && self.saved.is_some();
        if !may || !says || self.former.is_some() || !self.choices.once_in(12) {
            return;
        }
        self.incidents_left -= 1;
        let plan = &mut self.plan;
        let former = Former {
            content: plan.content,
            lengths: plan.lengths.clone(),
            identity: plan.config.identity.clone(),
        };
        let known = former.identity.is_some();
        let last = plan.lengths.len() - 1;
        let what = match (self.choices.below(3), plan.lengths[last]) {
            (1, length) if length > 0 => {
                plan.lengths[last] -= 1 + self.choices.below(length.min(GROWTH));
                "source is shorter"
            }
            (2, _) if known => {
                plan.content += 1;
                "source is another"
            }
            _ => {
                plan.lengths[last] += 1 + self.choices.below(GROWTH);
                "source is longer"
            }
        };
        // Who does not change it says that what was there is still the same.
        let another = plan.content != former.content;
        if known && (another || self.choices.once_in(2)) {
            plan.config.identity = Some(format!("number {}", self.sources.len()));
        }
        self.former = Some(former);
        self.tally.count(what);
        self.take_source();
        self.tell(|world| format!("{what}: {:?}", world.plan.lengths));
    }

    /// After an error for its sake, the user gives up what was begun with the former source, or gives it
    /// back.
    pub(super) fn settle_source(&mut self) {
        let Some(former) = self.former.take() else {
            return;
        };
        let anew = self.given.is_none() && self.choices.once_in(2);
        self.tell(|_| format!("the user begins anew: {anew}"));
        if anew {
            self.saved = None;
            return;
        }
        self.plan.content = former.content;
        self.plan.lengths = former.lengths;
        self.plan.config.identity = former.identity;
        self.take_source();
    }

    fn take_source(&mut self) {
        self.source = self.plan.source();
        let source = (self.source.clone(), self.plan.lengths.clone());
        self.sources.push(source);
    }

    /// Whether the machine can know, by what it is begun with, that the source is not the former one.
    fn is_seen_to_differ(&self) -> bool {
        let Some(former) = self.former.as_ref().filter(|_| self.saved.is_some()) else {
            return false;
        };
        let length: u64 = self.plan.lengths.iter().sum();
        let longer = length != former.lengths.iter().sum();
        former.identity != self.plan.config.identity || !self.plan.kind.is_deferred() && longer
    }

    /// Whether and how the next process ends before its time.
    fn stroke(&mut self) -> Option<Stroke> {
        if !self.plan.restless || self.incidents_left == 0 || self.choices.below(2) == 0 {
            return None;
        }
        Some(match self.choices.below(16) {
            0..7 => Stroke::Kill,
            7..11 => Stroke::Cancel(Cancel::Keep),
            11..15 => Stroke::Cancel(Cancel::Now),
            _ => Stroke::Cancel(Cancel::Terminate),
        })
    }

    /// What time the machine is told: clocks go back once in a while.
    fn tick(&mut self) -> Tick {
        let now = self.clock.now();
        if self.plan.restless && self.plan.careful && self.choices.once_in(40) {
            let back = Duration::from_millis(self.choices.below(5_000));
            if now.saturating_sub(back) < self.latest {
                self.tally.count("clock goes back");
            }
            let told = now.saturating_sub(back);
            self.latest = self.latest.max(told);
            self.watch.time(told);
            return Tick(told);
        }
        self.latest = now;
        self.watch.time(now);
        Tick(now)
    }

    /// One process; `None`: there will be another.
    fn run(&mut self, task: &Task) -> Result<Option<End>, Broken> {
        self.process += 1;
        (self.kept, self.read) = (0, 0);
        self.saving = None;
        self.killed = false;
        self.cancelling = None;
        self.reports = !(self.plan.restless && self.choices.once_in(8));
        self.latest = Duration::ZERO;
        let differs = self.is_seen_to_differ();
        self.watch
            .begin_process(self.clock.now(), task, &self.plan, differs);
        self.tell(|world| {
            let from = world.saved.as_ref().map(|saved| format!(" from {saved:?}"));
            format!("process {}{}", world.process, from.unwrap_or_default())
        });
        let mut pair = Pair {
            machine: self.subject.begin(task),
            twin: self.plan.careful.then(|| self.subject.begin(task)),
        };
        let mut asked = None;
        let mut ending = self.plan.kind == super::Kind::Parts;
        let mut doomed = Vec::new();
        let mut stroke = self.stroke();
        let mut steps = match stroke {
            Some(_) => self.choices.below(80),
            None => MANY,
        };
        let mut outputs = 0;
        loop {
            if self.killed || steps == 0 && stroke == Some(Stroke::Kill) {
                return self.kill(&pair).map(|()| None);
            }
            if steps == 0 {
                steps = MANY;
                match stroke.take() {
                    Some(Stroke::Cancel(how)) => self.cancelling = Some(how),
                    _ => {
                        return Err(Broken {
                            rule: "I6",
                            what: "it never ends".into(),
                        });
                    }
                }
            }
            if let Some(how) = self.cancelling.take() {
                if how == Cancel::Terminate {
                    self.asked_to_delete = true;
                    doomed = urls(pair.machine.checkpoint());
                }
                asked = asked.max(Some(how));
                // It may be at its end, and knows or notes that.
                ending |= self.saving.is_some() || self.watch.is_complete();
                self.watch.cancelled(how);
                self.cancel(&mut pair, how);
            }
            steps -= 1;
            outputs += 1;
            hold(outputs < MUCH, "I6", || "it never waits".into())?;
            let now = self.tick();
            self.polled = now;
            let output = pair.poll(now)?;
            self.tell(|_| format!("  {output:?}"));
            if self.plan.careful {
                check_words(&format!("{output:?}"))?;
            }
            match output {
                Output::Begin(id, duty) => self.carry_out(id, duty)?,
                Output::Stop(id) => self.watch.stop(id),
                Output::Event(event) => self.watch.event(&event)?,
                Output::Done(result) => {
                    hold(asked.is_none() || ending || result.is_err(), "I11", || {
                        "cancelled, it goes on to a success".into()
                    })?;
                    return self.finish(&mut pair, result, asked, &doomed);
                }
                Output::Wait(until) => {
                    outputs = 0;
                    self.watch.may_wait(self.saving.is_some())?;
                    self.wait(&mut pair, until)?;
                }
            }
        }
    }

    fn cancel(&mut self, pair: &mut Pair, how: Cancel) {
        self.tally.count(match how {
            Cancel::Keep => "user cancels",
            Cancel::Terminate => "user terminates",
            Cancel::Now => "user cancels at once",
        });
        self.handle(pair, Input::Cancel(how));
    }

    fn kill(&mut self, pair: &Pair) -> Result<(), Broken> {
        self.tally.count("user kills");
        self.tell(|_| "killed".into());
        // An application may keep what there is to keep by itself, at any step (I9).
        let own = self.choices.once_in(if self.plan.restless { 3 } else { 2 });
        if own && let Some(checkpoint) = pair.machine.checkpoint() {
            self.saved = Some(reread(&checkpoint)?);
        }
        let noted = |saved: &Checkpoint| saved.to_text().contains("\nending refused ");
        let noted = self.saved.as_ref().is_some_and(noted);
        self.watch.killed(noted, !self.lost_a_save);
        Ok(())
    }

    fn finish(
        &mut self,
        pair: &mut Pair,
        result: Result<Uploaded, Error>,
        asked: Option<Cancel>,
        doomed: &[String],
    ) -> Result<Option<End>, Broken> {
        self.watch.done(&result)?;
        // What is said to it after its end changes nothing.
        if self.plan.careful {
            let id = DutyId { lane: 0, serial: 1 };
            self.handle(pair, Input::Sent(id, 7));
            self.handle(pair, Input::Cancel(Cancel::Terminate));
        }
        let after = pair.poll(Tick(self.clock.now()))?;
        hold(matches!(after, Output::Wait(None)), "I2", || {
            format!("{after:?} after the end")
        })?;
        if asked == Some(Cancel::Now) {
            // The caller does what the machine was forbidden to.
            self.saved = pair.machine.checkpoint();
        }
        if let Err(error) = &result {
            check_words(&format!("{error} {error:?}"))?;
            let there = pair.machine.checkpoint().is_some();
            hold(!error.resumable() || there, "I9", || {
                format!("it says that it can be resumed, and has no checkpoint: {error:?}")
            })?;
        }
        self.judge(result, asked, doomed)
    }

    /// Lets time go on to what comes next.
    fn wait(&mut self, pair: &mut Pair, until: Option<Tick>) -> Result<(), Broken> {
        hold(
            until.is_none_or(|until| until.0 > self.latest),
            "I6",
            || format!("it waits for the past: {until:?}"),
        )?;
        let stuck = until.is_none() && self.clock.next_at().is_none();
        hold(!stuck, "I6", || "there is nothing to wait for".into())?;
        if self.plan.careful {
            let again = pair.poll(self.polled)?;
            let same = matches!(again, Output::Wait(again) if again == until);
            hold(same, "I8", || {
                format!("{until:?}, and asked again {again:?}")
            })?;
        }
        if self.plan.restless && self.choices.once_in(100) {
            self.tally.count("clock jumps");
            self.jumped = true;
            self.clock
                .advance(Duration::from_secs(*self.choices.pick(&[7, 700, 70_000])));
        }
        let coming = self.clock.until(until.map(|tick| tick.0));
        self.wind();
        match coming {
            Some(Coming::Input(process, input, made)) if process == self.process => {
                self.hear(pair, input, made.as_deref());
            }
            Some(Coming::Abort(reading)) => self.server.abort(reading),
            Some(Coming::Rest {
                reading,
                rest,
                whole,
            }) => {
                if self.server.body(&reading, &rest) && !rest.is_empty() {
                    self.tally.count("ghost's rest was written");
                }
                if whole {
                    drop(self.server.finish(reading));
                } else {
                    self.server.abort(reading);
                }
            }
            Some(Coming::Request(request)) => {
                let answer = self.server.handle(request);
                self.tell(|_| format!("  (a held request arrives: {})", answer.status()));
                if answer.status().is_success() {
                    self.tally.count("buffered request was carried out");
                }
            }
            Some(Coming::Input(..)) | None => (),
        }
        Ok(())
    }

    /// The machine is told something.
    fn hear(&mut self, pair: &mut Pair, input: Input, made: Option<&str>) {
        let now = self.tick();
        match &input {
            Input::Answer(id, answer) => {
                self.saving.take_if(|saving| saving == id);
                if !self.watch.is_out(*id) && matches!(answer, Answer::Response(_)) {
                    self.tally.count("answer to nobody");
                }
                match answer {
                    Answer::Response(response) => self.watch.answered(*id, response, made),
                    Answer::Failed(failure) => self.watch.failed(*id, failure.kind),
                    _ => (),
                }
            }
            Input::Sent(id, bytes) => self.watch.sent(*id, *bytes),
            _ => (),
        }
        self.handle_at(pair, now, input);
    }

    fn handle(&mut self, pair: &mut Pair, input: Input) {
        let now = self.tick();
        self.handle_at(pair, now, input);
    }

    fn handle_at(&mut self, pair: &mut Pair, now: Tick, input: Input) {
        self.tell(|_| format!("{input:?}"));
        if let Some(twin) = &mut pair.twin {
            twin.handle(now, copy_of(&input));
        }
        pair.machine.handle(now, input);
    }

    fn carry_out(&mut self, id: DutyId, duty: Duty) -> Result<(), Broken> {
        let answer = match duty {
            Duty::Exchange(request, terms) => {
                // A deletion needs nothing to be durable.
                let waits = self.saving.is_some_and(|saving| saving.lane == id.lane)
                    && terms.op != Op::Terminate;
                hold(!waits, "I9", || "it sends what may be forgotten".into())?;
                self.watch.begin(id, &request, &terms)?;
                return self.exchange(id, request, &terms);
            }
            Duty::Save(checkpoint) => {
                let other = self.saving.replace(id);
                hold(other.is_none(), "I9", || "two saves at once".into())?;
                self.save(checkpoint.as_ref())?
            }
            Duty::Digest { .. } | Duty::Read { .. } if self.source_fails() => {
                Answer::Failed(Failure::new(FailureKind::Source, "by design"))
            }
            Duty::Digest { algorithm, range } => self.digest_answer(&algorithm, &range)?,
            Duty::Read { keep, upto } => self.read(keep, upto)?,
            Duty::Authorize { uri, .. } => {
                self.watch.asks(id)?;
                self.tally.count("user is asked for credentials");
                let mut fields = http::HeaderMap::new();
                let value = Origin::of(&uri).map(|origin| obtained(&origin).parse());
                if let Ok(Ok(value)) = value {
                    fields.insert("authorization", value);
                }
                let gives = !(self.plan.restless && self.choices.once_in(3));
                Answer::Credentials(gives.then_some(fields))
            }
        };
        let delay = self.moment();
        self.clock.after(
            delay,
            Coming::Input(self.process, Input::Answer(id, answer), None),
        );
        Ok(())
    }

    /// Whether the source cannot be read now.
    fn source_fails(&mut self) -> bool {
        let may = self.incidents_left > 0 && self.plan.alphabet.contains(&Sort::SourceFails);
        let fails = self.plan.restless && may && self.choices.once_in(60);
        if fails {
            self.happened(Sort::SourceFails);
        }
        fails
    }

    /// A little time.
    pub(super) fn moment(&mut self) -> Duration {
        let more = if self.plan.restless {
            self.choices.below(50)
        } else {
            0
        };
        Duration::from_millis(1 + more)
    }

    fn save(&mut self, checkpoint: Option<&Checkpoint>) -> Result<Answer, Broken> {
        if self.plan.restless && self.incidents_left > 0 && self.choices.once_in(60) {
            self.tally.count("checkpoint is not saved");
            self.lost_a_save = true;
            return Ok(Answer::Failed(Failure::new(FailureKind::Lost, "disk full")));
        }
        self.saved = checkpoint.map(reread).transpose()?;
        Ok(Answer::Saved)
    }

    /// The bytes of this range, if the source still has them.
    pub(super) fn bytes(&self, range: &Body) -> Result<Bytes, Broken> {
        let streams = self.plan.is_streamed() && !range.is_empty();
        hold(!streams || range.start >= self.kept, "R1", || {
            format!(
                "{range:?} is wanted, and what is before {} was dropped",
                self.kept
            )
        })?;
        hold(!streams || range.end <= self.read, "R1", || {
            format!("{range:?} is wanted, and {} bytes were read", self.read)
        })?;
        Ok(self.source.slice(index(range.start)..index(range.end)))
    }

    /// Once in a while a bit is wrong on the way.
    pub(super) fn digest(
        &mut self,
        algorithm: &Algorithm,
        range: &Body,
    ) -> Result<Vec<u8>, Broken> {
        let bytes = self.bytes(range)?;
        let mut digest = checksum(algorithm.as_str(), &bytes).unwrap_or_default();
        let wrong = self.plan.restless && self.incidents_left > 0 && self.choices.once_in(30);
        if let Some(first) = digest.first_mut().filter(|_| wrong) {
            *first ^= 1;
            self.tally.count("bytes are garbled");
        }
        Ok(digest)
    }

    fn digest_answer(&mut self, algorithm: &Algorithm, range: &Body) -> Result<Answer, Broken> {
        let digest = self.digest(algorithm, range)?;
        Ok(Answer::Digest(digest.into()))
    }

    /// More bytes than before, perhaps fewer or more than are wanted, or the end.
    fn read(&mut self, keep: u64, upto: u64) -> Result<Answer, Broken> {
        hold(keep >= self.kept, "R1", || {
            format!("keep {keep} after {}", self.kept)
        })?;
        self.kept = keep;
        let length = self.source.len() as u64;
        let least = keep.max(self.read) + 1;
        let mut upto = upto;
        let mut knows = true;
        if self.plan.restless {
            upto = match self.choices.below(4) {
                0 | 1 => upto,
                2 => upto.saturating_add(self.choices.below(20)),
                _ => least + self.choices.below(upto.saturating_sub(least)),
            };
            // A source need not know that it ends before it was asked for more.
            knows = !self.choices.once_in(2);
        }
        let upto = upto.max(least);
        self.read = upto.min(length);
        let end = upto > length || upto == length && knows;
        Ok(Answer::Available {
            upto: self.read,
            end,
        })
    }
}

/// A machine and, in some runs, another one that is told the same and must say the same (I8).
pub(super) struct Pair {
    machine: Box<dyn Machine<Success = Uploaded>>,
    twin: Option<Box<dyn Machine<Success = Uploaded>>>,
}

impl Pair {
    fn poll(&mut self, now: Tick) -> Result<Output<Uploaded>, Broken> {
        let output = self.machine.poll(now);
        if let Some(twin) = &mut self.twin {
            let (one, other) = (shown(&output), shown(&twin.poll(now)));
            hold(one == other, "I8", || format!("{one} and {other}"))?;
        }
        Ok(output)
    }
}

/// All of an output, with what `Debug` leaves out.
fn shown(output: &Output<Uploaded>) -> String {
    match output {
        Output::Begin(id, Duty::Exchange(request, _)) => {
            let fields: Vec<_> = request
                .headers()
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_bytes()))
                .collect();
            format!("{id:?} {} {fields:?} {output:?}", request.uri())
        }
        Output::Begin(id, Duty::Save(Some(checkpoint))) => {
            format!("{id:?} {}", checkpoint.to_text())
        }
        output => format!("{output:?}"),
    }
}

/// What a run is of.
fn tally_of(plan: &Plan) -> Tally {
    let mut tally = Tally::default();
    plan.traits().for_each(|name| tally.count(name));
    for quirk in &plan.server.quirks {
        let habit = format!("{quirk:?}");
        let name = habit.split(['(', ' ']).next().unwrap_or_default();
        tally.count(format!("habit: {name}"));
    }
    tally
}

/// The uploads that a checkpoint names.
fn urls(checkpoint: Option<Checkpoint>) -> Vec<String> {
    let text = checkpoint.map_or_else(String::new, |checkpoint| checkpoint.to_text());
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    let urls = lines.filter(|(name, _)| ["url", "whole"].contains(name));
    urls.map(|(_, url)| url.to_owned()).collect()
}
