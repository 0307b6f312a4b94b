//! Carries out what a machine says, and checks it against what it may say.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use tus_proto::{
    Algorithm, Answer, Body, Duty, DutyId, Event, Foreign, Input, Op, Origin, Output, Terms, Tick,
};

use super::setup::{Any, SECRETS, Setup};

/// Nothing comes after it.
const END_OF_TIME: Tick = Tick(Duration::MAX);

/// What is out.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) id: DutyId,
    pub(super) duty: Waiting,
}

/// What it is.
#[derive(Clone, Debug)]
pub(super) enum Waiting {
    Exchange { url: String, op: Op, body: Body },
    Digest(Algorithm),
    Read { upto: u64 },
    Authorize(Origin),
    Save,
}

impl Waiting {
    pub(super) fn is_exchange(&self) -> bool {
        matches!(self, Self::Exchange { .. })
    }
}

/// A machine, of which everything is seen.
pub(super) struct Guard {
    setup: Setup,
    pub(super) open: Vec<Open>,
    /// How far a stream was read, and what of it is gone.
    pub(super) read: u64,
    gone: u64,
    pub(super) over: bool,
    pub(super) requests: usize,
    /// The fuzzer has guessed a secret: what the server says is shown.
    guessed: bool,
    transcript: String,
}

impl Guard {
    pub(super) fn new(setup: Setup) -> Self {
        Self {
            setup,
            open: Vec::new(),
            read: 0,
            gone: 0,
            over: false,
            requests: 0,
            guessed: false,
            transcript: String::new(),
        }
    }

    pub(super) fn setup(&self) -> &Setup {
        &self.setup
    }

    fn machine(&mut self) -> &mut Any {
        &mut self.setup.machine
    }

    /// All that it said and asked for.
    pub(super) fn into_transcript(self) -> String {
        self.transcript
    }

    /// Polls until there is nothing more to do; gives until when to wait.
    pub(super) fn drain(&mut self, now: Tick) -> Option<Tick> {
        for _ in 0..1_000 {
            let output = self.machine().poll(now);
            match output {
                Output::Begin(id, duty) => self.begin(id, duty),
                Output::Stop(id) => {
                    self.note(format_args!("stop {id:?}"));
                    self.open.retain(|open| open.id != id);
                }
                Output::Event(event) => self.event(&event),
                Output::Done(result) => self.done(result),
                Output::Wait(until) => {
                    let asks = self.open.iter().any(|open| !open.duty.is_exchange());
                    assert!(until.is_some() || self.over || asks, "it waits for nothing");
                    assert!(until.is_none() || !self.over, "it waits after its end");
                    let ahead = until.is_none_or(|until| until > now || now == END_OF_TIME);
                    assert!(ahead, "it waits for what has come: {until:?}, {now:?}");
                    return until;
                }
            }
        }
        panic!("it spins");
    }

    pub(super) fn handle(&mut self, now: Tick, input: Input) {
        match &input {
            Input::Answer(answered, answer) => {
                self.open.retain(|open| open.id != *answered);
                if let Answer::Response(response) = answer {
                    let values = response.headers().values().map(HeaderValue::as_bytes);
                    self.guessed |= values.chain([&response.body()[..]]).any(tells_a_secret);
                }
            }
            Input::Sent(..) | Input::Interim(..) | Input::Cancel(_) => (),
            _ => panic!("{input:?}"),
        }
        self.machine().handle(now, input);
    }

    fn note(&mut self, line: std::fmt::Arguments<'_>) {
        // To a `String` nothing fails to be written.
        let _ = writeln!(self.transcript, "{line}");
    }

    fn begin(&mut self, id: DutyId, duty: Duty) {
        assert!(!self.over, "a duty after the end");
        assert!(self.open.iter().all(|open| open.id != id), "{id:?} twice");
        let shown = format!("{duty:?}");
        assert!(self.guessed || !tells_a_secret(shown.as_bytes()), "{shown}");
        self.note(format_args!("begin {id:?} {shown}"));
        let length = self.at_hand();
        let duty = match duty {
            Duty::Exchange(request, terms) => self.exchange(id, &request, &terms),
            Duty::Digest { algorithm, range } => {
                assert!(range.start < range.end && range.end <= length, "{range:?}");
                Waiting::Digest(algorithm)
            }
            Duty::Read { keep, upto } => {
                assert!(self.setup.streamed, "it reads what it knows");
                assert!(keep >= self.gone && upto >= keep, "{keep} {upto}");
                self.gone = keep;
                Waiting::Read { upto }
            }
            Duty::Authorize { uri, .. } => Waiting::Authorize(Origin::of(&uri).expect("an origin")),
            Duty::Save(checkpoint) => {
                if let Some(checkpoint) = checkpoint {
                    let text = checkpoint.to_text();
                    self.note(format_args!("{text}"));
                    assert_eq!(text.parse(), Ok(checkpoint));
                    assert!(self.guessed || !tells_a_secret(text.as_bytes()), "{text}");
                }
                Waiting::Save
            }
        };
        self.open.push(Open { id, duty });
    }

    fn exchange(&mut self, id: DutyId, request: &Request<Body>, terms: &Terms) -> Waiting {
        self.requests += 1;
        let (uri, body, headers) = (request.uri(), request.body().clone(), request.headers());
        self.note(format_args!("{} {uri} {body:?}", request.method()));
        for (name, value) in headers {
            self.note(format_args!("{name}: {}", value.as_bytes().escape_ascii()));
        }
        let url = uri.to_string();
        let op = terms.op;
        for open in &self.open {
            let Waiting::Exchange {
                url: other,
                op: before,
                ..
            } = &open.duty
            else {
                continue;
            };
            assert_ne!(open.id.lane, id.lane, "two exchanges of one lane");
            let appends = op == Op::Append && *before == Op::Append;
            assert!(
                !appends || *other != url || !self.is_joined(),
                "two appends to {url}"
            );
        }
        let length = self.at_hand();
        assert!(
            body.start <= body.end && body.end <= length,
            "{body:?} of {length}"
        );
        if self.setup.streamed && !body.is_empty() {
            assert!(body.start >= self.gone, "{body:?} is gone");
        }
        if self.is_joined() && !body.is_empty() {
            let part = &self.setup.parts[id.lane as usize - 1];
            assert!(
                part.start <= body.start && body.end <= part.end,
                "{body:?} of {part:?}"
            );
        }
        let bodied = ["POST", "PATCH"].contains(&request.method().as_str());
        let framed = headers.contains_key("content-length") || terms.trailer.is_some();
        assert!(framed || !bodied, "no Content-Length");
        self.check_secrecy(&url, headers, terms);
        Waiting::Exchange { url, op, body }
    }

    /// The end of what can be sent.
    fn at_hand(&self) -> u64 {
        let length = self.setup.length.unwrap_or(u64::MAX);
        if self.setup.streamed {
            length.min(self.read)
        } else {
            length
        }
    }

    fn is_joined(&self) -> bool {
        self.setup.parts.len() > 1
    }

    fn check_secrecy(&self, url: &str, headers: &HeaderMap, terms: &Terms) {
        let (home, foreign) = (&self.setup.home, &self.setup.foreign);
        let (secure, text) = (url.starts_with("https://"), home.to_string());
        assert!(secure || !text.starts_with("https:"), "in the clear: {url}");
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        assert!(!authority.contains('@'), "a password in {url}");
        let plain = text.strip_prefix("http://");
        // Both schemes of one host, on their default ports.
        let own = url.split('/').take(3).eq(text.split('/'))
            || secure && plain.is_some_and(|plain| plain == authority && !plain.contains(':'));
        assert!(
            own || *foreign != Foreign::Refuse,
            "it goes to {url}, which was refused"
        );
        let origin: Origin = url
            .split('/')
            .take(3)
            .collect::<Vec<_>>()
            .join("/")
            .parse()
            .expect(url);
        let trusted =
            own || matches!(foreign, Foreign::Trust(origins) if origins.contains(&origin));
        assert_eq!(trusted, terms.trusted, "{url}");
        let told = headers.iter().find(|(name, value)| {
            // A list of URLs is of the server's making.
            *name != "upload-concat" && tells_a_secret(value.as_bytes())
        });
        assert!(trusted || told.is_none(), "{url} is told {told:?}");
        assert!(
            !trusted || headers.contains_key("x-key"),
            "{url} is not told"
        );
        let fresh = obtained(&origin);
        for value in headers.get_all("x-fresh") {
            assert_eq!(*value, fresh, "{url} is told what another one asked for");
        }
    }

    fn event(&mut self, event: &Event) {
        assert!(!self.over, "{event:?} after the end");
        let shown = format!("{event:?}");
        assert!(self.guessed || !tells_a_secret(shown.as_bytes()), "{shown}");
        self.note(format_args!("{shown}"));
    }

    fn done(&mut self, result: Result<String, tus_proto::Error>) {
        assert!(!self.over, "two ends");
        self.over = true;
        let out = self.open.iter().find(|open| open.duty.is_exchange());
        assert!(out.is_none(), "an end with {out:?}");
        match result {
            Ok(success) => self.note(format_args!("{success}")),
            Err(error) => {
                let shown = format!("{error} {error:?}");
                assert!(!error.to_string().is_empty());
                assert!(self.guessed || !tells_a_secret(shown.as_bytes()), "{shown}");
                let kept = self.machine().checkpoint();
                assert!(!error.resumable() || kept.is_some(), "{error:?}");
                self.note(format_args!("{shown}"));
            }
        }
    }
}

fn tells_a_secret(text: &[u8]) -> bool {
    let holds = |secret: &str| {
        text.windows(secret.len())
            .any(|window| window == secret.as_bytes())
    };
    SECRETS.iter().any(|secret| holds(secret))
}

/// What is obtained for an origin that asks.
pub(super) fn obtained(origin: &Origin) -> String {
    format!("for {origin}")
}

/// The answer of a driver that nothing goes wrong for.
pub(super) fn obliging(duty: &Waiting, total: u64) -> Answer {
    match duty {
        Waiting::Exchange { .. } | Waiting::Save => Answer::Saved,
        Waiting::Digest(algorithm) => {
            let lengths = BTreeMap::from([("crc32", 4), ("md5", 16), ("sha1", 20), ("sha256", 32)]);
            let length = lengths.get(algorithm.as_str()).copied().unwrap_or(64);
            Answer::Digest(Bytes::from(vec![7; length]))
        }
        Waiting::Read { upto } => Answer::Available {
            upto: total.min(*upto),
            end: *upto >= total,
        },
        Waiting::Authorize(origin) => {
            let value = HeaderValue::from_str(&obtained(origin)).expect("an origin");
            let mut headers = HeaderMap::new();
            headers.insert("x-fresh", value);
            Answer::Credentials(Some(headers))
        }
    }
}
