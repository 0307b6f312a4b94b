//! A story told to an upload in parts, of which several exchanges can be out, one for each lane.
//!
//! Part `n` is at `/files/n`, the whole at `/files/whole`. Checkpoints are saved at once, unless the
//! story [holds](Several::holding_saves) them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tus_proto::{
    Answer, Body, Cancel, Capabilities, Checkpoint, Config, Duty, DutyId, Error, Event, Failure,
    FailureKind, Input, Machine as _, Output, Parallel, Terms, Tick, Uploaded,
};

use crate::scenario::{ENDPOINT, config, headers};

pub const WHOLE: &str = "http://example.org/files/whole";

pub fn url(part: u32) -> String {
    format!("{ENDPOINT}{part}")
}

/// A server that joins parts also before they are complete.
pub fn unfinished(config: &mut Config) {
    config.parts.unfinished = true;
    offers(config, &["concatenation", "concatenation-unfinished"]);
}

/// The server says that it has these extensions, and no others.
pub fn offers(config: &mut Config, extensions: &[&str]) {
    let mut server = Capabilities::default();
    server.extensions = Some(extensions.iter().map(ToString::to_string).collect());
    config.server = Some(server);
}

pub struct Several {
    pub machine: Parallel,
    now: Tick,
    at_once: usize,
    hold: bool,
    /// The exchanges that are out, by lane.
    pub out: BTreeMap<u32, (DutyId, Request<Body>, Terms)>,
    /// Digests and questions for credentials.
    pub duties: Vec<(DutyId, Duty)>,
    saving: Option<DutyId>,
    /// What was given to be saved, in order; `None`: forgotten.
    pub saves: Vec<Option<Checkpoint>>,
    pub events: Vec<Event>,
    pub stopped: Vec<DutyId>,
    wait: Option<Tick>,
    over: bool,
    ended: Option<Result<Uploaded, Error>>,
}

impl Several {
    pub fn join(lengths: &[u64]) -> Self {
        Self::join_with(lengths, |_| ())
    }

    pub fn join_with(lengths: &[u64], configure: impl FnOnce(&mut Config)) -> Self {
        let config = config(configure);
        Self::new(Parallel::join(ENDPOINT, lengths, &config).unwrap(), &config)
    }

    pub fn split(length: u64, parts: usize, least: u64) -> Self {
        let config = config(|config| config.parts.least = least);
        let machine = Parallel::split(ENDPOINT, length, parts, &config).unwrap();
        Self::new(machine, &config)
    }

    pub fn resume(checkpoint: &Checkpoint) -> Self {
        Self::resume_with(checkpoint, |_| ())
    }

    pub fn resume_with(checkpoint: &Checkpoint, configure: impl FnOnce(&mut Config)) -> Self {
        let checkpoint: Checkpoint = checkpoint.to_text().parse().unwrap();
        let length = checkpoint.length().unwrap();
        let config = config(|config| {
            config.identity = checkpoint.identity().map(str::to_owned);
            configure(config);
        });
        let machine = Parallel::resume(ENDPOINT, checkpoint, length, &config).unwrap();
        Self::new(machine, &config)
    }

    pub fn new(machine: Parallel, config: &Config) -> Self {
        let mut story = Self {
            machine,
            now: Tick(Duration::from_secs(1_000)),
            at_once: config.parts.at_once as usize,
            hold: false,
            out: BTreeMap::new(),
            duties: Vec::new(),
            saving: None,
            saves: Vec::new(),
            events: Vec::new(),
            stopped: Vec::new(),
            wait: None,
            over: false,
            ended: None,
        };
        story.pump();
        story
    }

    /// Every part is created, one after the other, and those that may are being sent.
    pub fn created(lengths: &[u64]) -> Self {
        Self::created_with(lengths, |_| ())
    }

    pub fn created_with(lengths: &[u64], configure: impl FnOnce(&mut Config)) -> Self {
        let story = Self::join_with(lengths, |config| {
            config.parts.at_once = u32::MAX;
            configure(config);
        });
        story.create(lengths)
    }

    /// Answers the creations.
    pub fn create(self, lengths: &[u64]) -> Self {
        let lanes = 1..=u32::try_from(lengths.len()).unwrap();
        lanes.fold(self, Self::creates)
    }

    /// Every part is complete, and the server is asked to join them.
    pub fn complete(lengths: &[u64]) -> Self {
        Self::complete_with(lengths, |_| ())
    }

    pub fn complete_with(lengths: &[u64], configure: impl FnOnce(&mut Config)) -> Self {
        Self::created_with(lengths, configure).send(lengths)
    }

    /// Confirms all bytes of parts that have some.
    pub fn send(self, lengths: &[u64]) -> Self {
        let parts = (1..).zip(lengths).filter(|(_, length)| **length > 0);
        parts.fold(self, |story, (lane, length)| story.confirms(lane, *length))
    }

    fn pump(&mut self) {
        for _ in 0..10_000 {
            match self.machine.poll(self.now) {
                Output::Begin(id, Duty::Exchange(request, terms)) => {
                    assert!(!self.over, "I2: an exchange after the end");
                    let before = self.out.insert(id.lane, (id, request, terms));
                    assert!(before.is_none(), "I3: two exchanges of lane {}", id.lane);
                    assert!(self.out.len() <= self.at_once.max(1), "too many at once");
                    let (_, request, _) = &self.out[&id.lane];
                    assert!(!request.body().is_empty() || *request.body() == (0..0));
                    let whole = self.out.contains_key(&0);
                    assert!(!whole || self.out.len() == 1, "the whole goes alone");
                }
                Output::Begin(id, Duty::Save(checkpoint)) => {
                    assert!(self.saving.is_none(), "two saves at once");
                    assert!(!self.over, "a save after the end");
                    if let Some(checkpoint) = checkpoint.as_ref().filter(|_| self.saves.len() < 99)
                    {
                        // I9.
                        assert_eq!(checkpoint.to_text().parse().as_ref(), Ok(checkpoint));
                    }
                    assert_eq!(checkpoint, self.machine.checkpoint());
                    self.saves.push(checkpoint);
                    self.saving = Some(id);
                    if !self.hold {
                        self.save(Answer::Saved);
                    }
                }
                Output::Begin(id, duty) => self.duties.push((id, duty)),
                Output::Stop(id) => {
                    // An unknown id means nothing.
                    self.out.retain(|_, (out, ..)| *out != id);
                    self.duties.retain(|(out, _)| *out != id);
                    self.stopped.push(id);
                }
                Output::Event(event) => self.events.push(event),
                Output::Done(result) => {
                    assert!(self.out.is_empty(), "I11: {:?}", self.out);
                    assert!(!self.over, "I2: two ends");
                    self.over = true;
                    self.ended = Some(result);
                }
                Output::Wait(until) => {
                    self.wait = until;
                    match until {
                        None => assert!(
                            self.over
                                || self.out.is_empty()
                                    && (self.saving.is_some() || !self.duties.is_empty()),
                            "nothing to wait for, and not done"
                        ),
                        Some(until) => assert!(until > self.now, "waits for what has come"),
                    }
                    // An extra poll changes nothing.
                    assert!(
                        matches!(self.machine.poll(self.now), Output::Wait(again) if again == until)
                    );
                    return;
                }
            }
        }
        panic!("I6: the machine spins");
    }

    fn save(&mut self, answer: Answer) {
        let id = self.saving.take().expect("nothing is being saved");
        self.machine.handle(self.now, Input::Answer(id, answer));
    }

    pub fn input(mut self, input: Input) -> Self {
        self.machine.handle(self.now, input);
        self.pump();
        self
    }

    /// Several inputs before the next poll.
    pub fn inputs(mut self, inputs: impl IntoIterator<Item = Input>) -> Self {
        for input in inputs {
            if let Input::Answer(id, _) = &input {
                self.out.remove(&id.lane);
            }
            self.machine.handle(self.now, input);
        }
        self.pump();
        self
    }

    // What it asks.

    #[track_caller]
    pub fn request(&self, lane: u32) -> &Request<Body> {
        let out = self.lanes();
        let Some((_, request, _)) = self.out.get(&lane) else {
            panic!("no request of {lane} is out, only of {out:?}");
        };
        request
    }

    #[track_caller]
    pub fn id(&self, lane: u32) -> DutyId {
        self.out[&lane].0
    }

    pub fn lanes(&self) -> Vec<u32> {
        self.out.keys().copied().collect()
    }

    /// These lanes have an exchange out, and no others.
    #[track_caller]
    pub fn out(self, lanes: &[u32]) -> Self {
        assert_eq!(self.lanes(), lanes);
        self
    }

    #[track_caller]
    pub fn asks(self, lane: u32, method: &str, url: &str) -> Self {
        let request = self.request(lane);
        let asked = format!("{} {}", request.method(), request.uri());
        assert_eq!(asked, format!("{method} {url}"));
        self
    }

    #[track_caller]
    pub fn probes(self, lane: u32) -> Self {
        self.asks(lane, "HEAD", &url(lane))
    }

    /// A part is created, and no bytes go along.
    #[track_caller]
    pub fn posts(self, lane: u32) -> Self {
        let this = self.asks(lane, "POST", ENDPOINT);
        assert_eq!(this.request(lane).headers()["upload-concat"], "partial");
        assert!(this.request(lane).body().is_empty());
        this
    }

    /// Bytes of the source are sent, to this offset of the part.
    #[track_caller]
    pub fn appends(self, lane: u32, range: Range<u64>, offset: u64) -> Self {
        let this = self.asks(lane, "PATCH", &url(lane));
        let request = this.request(lane);
        assert_eq!(*request.body(), range);
        assert_eq!(request.headers()["upload-offset"], offset.to_string());
        this
    }

    /// The server is asked to join these parts.
    #[track_caller]
    pub fn joins(self, parts: &[u32]) -> Self {
        let this = self.asks(0, "POST", ENDPOINT);
        let urls: Vec<_> = parts.iter().map(|part| url(*part)).collect();
        let list = format!("final;{}", urls.join(" "));
        assert_eq!(this.request(0).headers()["upload-concat"], list);
        this
    }

    #[track_caller]
    pub fn looks(self) -> Self {
        self.asks(0, "HEAD", WHOLE)
    }

    // What is answered.

    #[track_caller]
    pub fn answers(self, lane: u32, status: u16, fields: &[(&str, &str)]) -> Self {
        self.answers_with(lane, status, fields, "")
    }

    #[track_caller]
    pub fn answers_with(
        self,
        lane: u32,
        status: u16,
        fields: &[(&str, &str)],
        words: &str,
    ) -> Self {
        self.answered(lane, Self::answer(status, fields, words))
    }

    #[track_caller]
    pub fn answered(mut self, lane: u32, answer: Answer) -> Self {
        let (id, ..) = self.out.remove(&lane).expect("no request is out");
        self.input(Input::Answer(id, answer))
    }

    pub fn answer(status: u16, fields: &[(&str, &str)], words: &str) -> Answer {
        let mut answer = Self::unsigned(status);
        if let Answer::Response(response) = &mut answer {
            *response.headers_mut() = headers(fields);
            let version = http::HeaderValue::from_static("1.0.0");
            let named = response.headers_mut().entry("tus-resumable");
            named.or_insert(version);
            *response.body_mut() = Bytes::copy_from_slice(words.as_bytes());
        }
        answer
    }

    /// What somebody says who does not speak tus.
    pub fn unsigned(status: u16) -> Answer {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = status.try_into().unwrap();
        Answer::Response(response)
    }

    /// A part is created where its lane says.
    #[track_caller]
    pub fn creates(self, lane: u32) -> Self {
        self.posts(lane)
            .answers(lane, 201, &[("location", &url(lane))])
    }

    #[track_caller]
    pub fn confirms(self, lane: u32, offset: u64) -> Self {
        self.answers(lane, 204, &[("upload-offset", &offset.to_string())])
    }

    #[track_caller]
    pub fn finds(self, lane: u32, offset: u64) -> Self {
        self.answers(lane, 200, &[("upload-offset", &offset.to_string())])
    }

    /// The parts are joined.
    #[track_caller]
    pub fn joined(self) -> Self {
        self.answers(0, 201, &[("location", WHOLE)])
    }

    #[track_caller]
    pub fn fails(mut self, lane: u32, kind: FailureKind) -> Self {
        let (id, ..) = self.out.remove(&lane).expect("no request is out");
        self.input(Input::Answer(id, failed(kind)))
    }

    #[track_caller]
    pub fn loses(self, lane: u32) -> Self {
        self.fails(lane, FailureKind::Lost)
    }

    #[track_caller]
    pub fn sent(self, lane: u32, bytes: u64) -> Self {
        let id = self.id(lane);
        self.input(Input::Sent(id, bytes))
    }

    pub fn cancel(self, how: Cancel) -> Self {
        self.input(Input::Cancel(how))
    }

    pub fn holding_saves(mut self) -> Self {
        self.hold = true;
        self
    }

    pub fn is_saving(&self) -> bool {
        self.saving.is_some()
    }

    /// The checkpoint that was held is saved now.
    #[track_caller]
    pub fn saved(self) -> Self {
        self.saved_as(Answer::Saved)
    }

    #[track_caller]
    pub fn saved_as(mut self, answer: Answer) -> Self {
        self.save(answer);
        self.pump();
        self
    }

    #[track_caller]
    pub fn answers_duty(mut self, answer: Answer) -> Self {
        let (id, _) = self.duties.remove(0);
        self.input(Input::Answer(id, answer))
    }

    // Time.

    pub fn after(mut self, time: Duration) -> Self {
        self.now = self.now + time;
        self.pump();
        self
    }

    #[track_caller]
    pub fn wait(&self) -> Duration {
        self.wait.expect("it waits for no time") - self.now
    }

    /// The time comes that it waits for.
    #[track_caller]
    pub fn waits(self) -> Self {
        let wait = self.wait();
        self.after(wait)
    }

    // What came of it.

    pub fn count(&self, matches: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| matches(event)).count()
    }

    pub fn over(&self) -> bool {
        self.over
    }

    #[track_caller]
    fn result(&mut self) -> Result<Uploaded, Error> {
        let out = self.lanes();
        let ended = self.ended.take();
        ended.unwrap_or_else(|| panic!("it has not ended: {out:?}, {:#?}", self.events))
    }

    /// It ends with the whole, and its checkpoint is forgotten.
    #[track_caller]
    pub fn succeeds(mut self) -> Uploaded {
        let done = self.result().expect("success");
        assert_eq!(done.url.expose(), WHOLE);
        assert_eq!(self.saves.last(), Some(&None));
        done
    }

    /// What it came to, whatever was saved.
    #[track_caller]
    pub fn done(mut self) -> (Parallel, Uploaded) {
        let done = self.result().expect("success");
        (self.machine, done)
    }

    #[track_caller]
    pub fn ends(mut self) -> (Error, Self) {
        (self.result().expect_err("an error"), self)
    }

    /// It ends with an error. Whether it can be resumed is what was saved.
    /// It was cancelled: whether all that was made is deleted.
    #[track_caller]
    pub fn ends_deleted(self) -> bool {
        match self.error() {
            Error::Cancelled { terminated, .. } => terminated,
            error => panic!("{error:?}"),
        }
    }

    #[track_caller]
    pub fn error(self) -> Error {
        let (error, this) = self.ends();
        if let Some(last) = this.saves.last() {
            assert_eq!(*last, this.machine.checkpoint());
            assert_eq!(error.resumable(), last.is_some(), "{error:?}");
        }
        error
    }

    /// The checkpoint as it was last saved.
    #[track_caller]
    pub fn checkpoint(&self) -> Checkpoint {
        let last = self.saves.last().cloned().flatten();
        last.expect("a checkpoint was saved")
    }
}

pub fn failed(kind: FailureKind) -> Answer {
    Answer::Failed(Failure::new(kind, "by design"))
}
