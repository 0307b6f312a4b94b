//! A story told to a machine: what it must ask, and what is answered.
//!
//! Checkpoints are saved at once, unless the story [holds](Scenario::holding_saves) them.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use tus_proto::{
    Answer, Body, Cancel, Capabilities, Checkpoint, Config, Duty, DutyId, Error, Event, Extension,
    Failure, FailureKind, Input, Inspect, Machine, Output, Terms, Tick, Upload,
};

pub const ENDPOINT: &str = "http://example.org/files/";
pub const URL: &str = "http://example.org/files/a";

pub struct Scenario<M: Machine> {
    pub machine: M,
    now: Tick,
    hold: bool,
    pub out: Option<(DutyId, Request<Body>, Terms)>,
    pub duty: Option<(DutyId, Duty)>,
    pub events: Vec<Event>,
    /// What was saved, in order; `None`: forgotten.
    pub saves: Vec<Option<Checkpoint>>,
    pub stopped: Vec<DutyId>,
    /// Every output but `Wait`, in short.
    pub log: Vec<String>,
    wait: Option<Tick>,
    ended: VecDeque<Result<M::Success, Error>>,
}

fn short<T>(output: &Output<T>) -> Option<String> {
    Some(match output {
        Output::Begin(_, Duty::Exchange(request, terms)) => {
            let body = request.body();
            let mut text = request.method().to_string();
            if !body.is_empty() {
                let _ = write!(text, " {}..{}", body.start, body.end);
            }
            if terms.fresh {
                text += " (new connection)";
            }
            text
        }
        Output::Begin(_, Duty::Save(Some(_))) => "save".into(),
        Output::Begin(_, Duty::Save(None)) => "forget".into(),
        Output::Begin(_, duty) => {
            let duty = format!("{duty:?}");
            duty.split_once(' ')
                .map_or(duty.clone(), |(name, _)| name.to_owned())
        }
        Output::Stop(_) => "stop".into(),
        Output::Event(Event::Sent { .. } | Event::Confirmed { .. } | Event::Appending { .. })
        | Output::Wait(_) => return None,
        Output::Event(event) => {
            let event = format!("{event:?}");
            format!(
                "({})",
                event.split_once(' ').map_or(&*event, |(name, _)| name)
            )
        }
        Output::Done(Ok(_)) => "Done".into(),
        Output::Done(Err(error)) => {
            let kept = if error.resumable() { ", resumable" } else { "" };
            let error = format!("{error:?}");
            let name = error.split_once(' ').map_or(&*error, |(name, _)| name);
            format!("Error {name}{kept}")
        }
    })
}

impl<M: Machine> fmt::Debug for Scenario<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario")
            .field("out", &self.out)
            .field("duty", &self.duty)
            .field("events", &self.events)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl Scenario<Upload> {
    /// An upload of so many bytes, at [`ENDPOINT`].
    pub fn create(length: u64) -> Self {
        Self::create_with(length, |_| ())
    }

    pub fn create_with(length: u64, configure: impl FnOnce(&mut Config)) -> Self {
        Self::new(Upload::create(ENDPOINT, length, &config(configure)).unwrap())
    }

    /// The same, created and about to append.
    pub fn created(length: u64) -> Self {
        Self::created_with(length, |_| ())
    }

    pub fn created_with(length: u64, configure: impl FnOnce(&mut Config)) -> Self {
        Self::create_with(length, configure)
            .asks("POST", ENDPOINT)
            .answers(201, &[("location", URL), ("tus-resumable", "1.0.0")])
    }

    /// An upload of whatever the source has, created; the source is asked for its first bytes.
    pub fn stream() -> Self {
        Self::stream_with(|_| ())
    }

    pub fn stream_with(configure: impl FnOnce(&mut Config)) -> Self {
        Self::new(Upload::create(ENDPOINT, None, &config(configure)).unwrap())
            .asks("POST", ENDPOINT)
            .with("upload-defer-length", "1")
            .without("upload-length")
            .with("content-length", "0")
            .answers(201, &[("location", URL), ("tus-resumable", "1.0.0")])
    }

    /// A later run of the same.
    pub fn resume_stream(checkpoint: &Checkpoint) -> Self {
        Self::resume_stream_with(checkpoint, |_| ())
    }

    pub fn resume_stream_with(
        checkpoint: &Checkpoint,
        configure: impl FnOnce(&mut Config),
    ) -> Self {
        let checkpoint: Checkpoint = checkpoint.to_text().parse().unwrap();
        let config = config(configure);
        Self::new(Upload::resume(ENDPOINT, checkpoint, None, &config).unwrap())
    }

    pub fn at_url(length: u64) -> Self {
        Self::new(Upload::append(URL, length, &config(|_| ())).unwrap())
    }

    pub fn resume(checkpoint: &Checkpoint) -> Self {
        Self::resume_with(checkpoint, |_| ())
    }

    pub fn resume_with(checkpoint: &Checkpoint, configure: impl FnOnce(&mut Config)) -> Self {
        let text = checkpoint.to_text();
        let checkpoint: Checkpoint = text.parse().unwrap();
        let length = checkpoint.length().unwrap();
        let start = checkpoint
            .endpoint()
            .map_or(URL.to_owned(), ToString::to_string);
        let config = config(|config| {
            config.identity = checkpoint.identity().map(str::to_owned);
            configure(config);
        });
        Self::new(Upload::resume(&start, checkpoint, length, &config).unwrap())
    }
}

impl Scenario<Inspect> {
    pub fn inspect() -> Self {
        Self::new(Inspect::new(URL, &config(|_| ())).unwrap())
    }
}

pub fn config(configure: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    configure(&mut config);
    config
}

/// A server that says it has these extensions.
pub fn server(extensions: &[Extension]) -> Capabilities {
    let mut server = Capabilities::default();
    server.extensions = Some(extensions.iter().map(|e| e.name().to_owned()).collect());
    server
}

pub fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| {
            let name: http::HeaderName = name.parse().unwrap();
            (name, value.parse::<http::HeaderValue>().unwrap())
        })
        .collect()
}

impl<M: Machine> Scenario<M> {
    pub fn new(machine: M) -> Self {
        let mut scenario = Self {
            machine,
            now: Tick(Duration::from_secs(1_000)),
            hold: false,
            out: None,
            duty: None,
            events: Vec::new(),
            saves: Vec::new(),
            stopped: Vec::new(),
            log: Vec::new(),
            wait: None,
            ended: VecDeque::new(),
        };
        scenario.pump();
        scenario
    }

    /// Polls until there is nothing more to do now.
    fn pump(&mut self) {
        for _ in 0..100 {
            let output = self.machine.poll(self.now);
            self.log.extend(short(&output));
            match output {
                Output::Begin(id, Duty::Exchange(request, terms)) => {
                    assert!(self.out.is_none(), "I3: two exchanges at once");
                    assert!(self.duty.is_none(), "something is sent while a duty is out");
                    assert!(self.ended.is_empty(), "I2: an exchange after the end");
                    self.out = Some((id, request, terms));
                }
                Output::Begin(id, Duty::Save(checkpoint)) => {
                    assert!(
                        self.out.is_none() && self.duty.is_none(),
                        "two duties at once"
                    );
                    self.saves.push(checkpoint.clone());
                    if self.hold {
                        self.duty = Some((id, Duty::Save(checkpoint)));
                    } else {
                        self.machine
                            .handle(self.now, Input::Answer(id, Answer::Saved));
                    }
                }
                Output::Begin(id, duty) => self.duty = Some((id, duty)),
                Output::Stop(id) => {
                    self.stopped.push(id);
                    self.out.take_if(|(out, ..)| *out == id);
                    self.duty.take_if(|(out, _)| *out == id);
                }
                Output::Event(event) => self.events.push(event),
                Output::Done(result) => self.ended.push_back(result),
                Output::Wait(until) => {
                    self.wait = until;
                    if until.is_none() {
                        assert!(
                            !self.ended.is_empty() || self.duty.is_some(),
                            "nothing to wait for, and not done"
                        );
                    } else {
                        assert!(until > Some(self.now), "waits for what has come");
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

    pub fn input(mut self, input: Input) -> Self {
        self.machine.handle(self.now, input);
        self.pump();
        self
    }

    // What it asks.

    #[track_caller]
    pub fn request(&self) -> &Request<Body> {
        let Some((_, request, _)) = &self.out else {
            panic!("no request is out: {self:#?}");
        };
        request
    }

    #[track_caller]
    pub fn id(&self) -> DutyId {
        self.out.as_ref().expect("no request is out").0
    }

    #[track_caller]
    pub fn asks(self, method: &str, url: &str) -> Self {
        let request = self.request();
        let asked = format!("{} {}", request.method(), request.uri());
        assert_eq!(asked, format!("{method} {url}"));
        self
    }

    #[track_caller]
    pub fn probes(self) -> Self {
        self.asks("HEAD", URL)
    }

    /// Bytes of the source are sent, with the headers that go with them (PROTOCOL C4).
    #[track_caller]
    pub fn appends(self, range: Range<u64>) -> Self {
        let request = self.request();
        assert_eq!(request.method(), "PATCH");
        assert_eq!(*request.body(), range);
        assert_eq!(request.headers()["upload-offset"], range.start.to_string());
        assert_eq!(
            request.headers()["content-length"],
            (range.end - range.start).to_string()
        );
        self
    }

    #[track_caller]
    pub fn with(self, name: &str, value: &str) -> Self {
        assert_eq!(self.request().headers()[name], value);
        self
    }

    #[track_caller]
    pub fn without(self, name: &str) -> Self {
        assert_eq!(self.request().headers().get(name), None);
        self
    }

    /// The source is asked for bytes.
    #[track_caller]
    pub fn reads(self, keep: u64, upto: u64) -> Self {
        assert!(self.out.is_none(), "a request is out: {self:#?}");
        match &self.duty {
            Some((_, Duty::Read { keep: k, upto: u })) => assert_eq!((*k, *u), (keep, upto)),
            _ => panic!("it does not read: {self:#?}"),
        }
        self
    }

    /// The source is asked for a digest of these bytes.
    #[track_caller]
    pub fn digests(self, bytes: Range<u64>) -> Self {
        assert!(self.out.is_none(), "a request is out: {self:#?}");
        match &self.duty {
            Some((_, Duty::Digest { range, .. })) => assert_eq!(*range, bytes),
            _ => panic!("it does not digest: {self:#?}"),
        }
        self
    }

    #[track_caller]
    pub fn terms(&self) -> &Terms {
        &self.out.as_ref().expect("no request is out").2
    }

    // What is answered.

    #[track_caller]
    pub fn answers(self, status: u16, fields: &[(&str, &str)]) -> Self {
        self.answers_with(status, fields, "")
    }

    #[track_caller]
    pub fn answers_with(mut self, status: u16, fields: &[(&str, &str)], body: &str) -> Self {
        let (id, ..) = self.out.take().expect("no request is out");
        let mut response = Response::new(Bytes::copy_from_slice(body.as_bytes()));
        *response.status_mut() = status.try_into().unwrap();
        *response.headers_mut() = headers(fields);
        self.input(Input::Answer(id, Answer::Response(response)))
    }

    /// A HEAD finds so many bytes.
    #[track_caller]
    pub fn finds(self, offset: u64) -> Self {
        self.answers(
            200,
            &[
                ("upload-offset", &offset.to_string()),
                ("tus-resumable", "1.0.0"),
            ],
        )
    }

    /// The same, and how long the whole is.
    #[track_caller]
    pub fn finds_of(self, offset: u64, length: u64) -> Self {
        let (offset, length) = (offset.to_string(), length.to_string());
        self.answers(
            200,
            &[("upload-offset", &offset), ("upload-length", &length)],
        )
    }

    /// The same, and that it waits to be told how long the whole is.
    #[track_caller]
    pub fn finds_deferred(self, offset: u64) -> Self {
        let offset = offset.to_string();
        self.answers(
            200,
            &[("upload-offset", &offset), ("upload-defer-length", "1")],
        )
    }

    /// A PATCH is acknowledged up to this offset.
    #[track_caller]
    pub fn confirms(self, offset: u64) -> Self {
        self.answers(
            204,
            &[
                ("upload-offset", &offset.to_string()),
                ("tus-resumable", "1.0.0"),
            ],
        )
    }

    #[track_caller]
    pub fn fails(mut self, kind: FailureKind) -> Self {
        let (id, ..) = self.out.take().expect("no request is out");
        self.input(Input::Answer(
            id,
            Answer::Failed(Failure::new(kind, "by design")),
        ))
    }

    #[track_caller]
    pub fn loses(self) -> Self {
        self.fails(FailureKind::Lost)
    }

    #[track_caller]
    pub fn sent(self, bytes: u64) -> Self {
        let id = self.id();
        self.input(Input::Sent(id, bytes))
    }

    pub fn cancel(self, how: Cancel) -> Self {
        self.input(Input::Cancel(how))
    }

    pub fn holding_saves(mut self) -> Self {
        self.hold = true;
        self
    }

    /// The checkpoint that was held is saved now.
    #[track_caller]
    pub fn saved(mut self) -> Self {
        let (id, _) = self.duty.take().expect("nothing is being saved");
        self.input(Input::Answer(id, Answer::Saved))
    }

    #[track_caller]
    pub fn answers_duty(mut self, answer: Answer) -> Self {
        let (id, _) = self.duty.take().expect("no duty is out");
        self.input(Input::Answer(id, answer))
    }

    /// The source has the bytes before this, and ends there or not.
    #[track_caller]
    pub fn available(self, upto: u64, end: bool) -> Self {
        self.answers_duty(Answer::Available { upto, end })
    }

    #[track_caller]
    pub fn digest(self, digest: &[u8]) -> Self {
        self.answers_duty(Answer::Digest(Bytes::copy_from_slice(digest)))
    }

    /// The duty that is out fails.
    #[track_caller]
    pub fn fails_duty(self, kind: FailureKind) -> Self {
        self.answers_duty(Answer::Failed(Failure::new(kind, "by design")))
    }

    // Time.

    pub fn after(mut self, time: Duration) -> Self {
        self.now = self.now + time;
        self.pump();
        self
    }

    /// How long until it wants to be polled.
    #[track_caller]
    pub fn wait(&self) -> Duration {
        self.wait.expect("it waits for no time") - self.now
    }

    /// It waits before it tries again: at least so long, and at most.
    #[track_caller]
    pub fn backs_off(self, seconds: std::ops::RangeInclusive<f64>) -> Self {
        assert!(self.out.is_none(), "it does not wait: {self:#?}");
        let wait = self.wait();
        assert!(seconds.contains(&wait.as_secs_f64()), "it waits {wait:?}");
        self.after(wait)
    }

    /// It waits however long it likes before it tries again.
    #[track_caller]
    pub fn waits(self) -> Self {
        self.backs_off(0.1..=1e6)
    }

    /// The time comes at which it gives up the request that is out.
    #[track_caller]
    pub fn times_out(self) -> Self {
        let id = self.id();
        let wait = self.wait();
        let scenario = self.after(wait);
        assert_eq!(scenario.stopped.last(), Some(&id));
        scenario
    }

    // What came of it.

    #[track_caller]
    pub fn tells(self, expected: &Event) -> Self {
        assert!(
            self.events.contains(expected),
            "not told: {expected:?} in {:#?}",
            self.events
        );
        self
    }

    pub fn count(&self, matches: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| matches(event)).count()
    }

    pub fn over(&self) -> bool {
        !self.ended.is_empty()
    }

    #[track_caller]
    fn result(&mut self) -> Result<M::Success, Error> {
        assert!(self.out.is_none(), "a request is still out: {self:#?}");
        let result = self.ended.pop_front();
        result.unwrap_or_else(|| panic!("it has not ended: {self:#?}"))
    }

    #[track_caller]
    pub fn succeeds(mut self) -> M::Success {
        self.result().expect("success")
    }

    #[track_caller]
    pub fn ends(mut self) -> (Error, Self) {
        (self.result().expect_err("an error"), self)
    }

    /// It ends with an error. Whether it can be resumed is what was saved.
    #[track_caller]
    pub fn error(self) -> Error {
        let (error, this) = self.ends();
        if let Some(last) = this.saves.last() {
            assert_eq!(
                *last,
                this.machine.checkpoint(),
                "what was saved is not what is true"
            );
            assert_eq!(error.resumable(), last.is_some(), "{error:?}");
        }
        error
    }

    /// The checkpoint as it was last saved.
    #[track_caller]
    pub fn checkpoint(&self) -> Checkpoint {
        self.saves
            .last()
            .cloned()
            .flatten()
            .expect("a checkpoint was saved")
    }
}
