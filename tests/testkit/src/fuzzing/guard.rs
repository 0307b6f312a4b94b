//! Carries out what a machine says, and checks it against what it may say.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use tus_proto::{
    Algorithm, Answer, Body, Duty, DutyId, Event, FailureKind, Foreign, Input, Op, Origin, Output,
    Terms, Tick,
};

use super::setup::{Any, SECRETS, Setup};

/// Nothing comes after it.
const END_OF_TIME: Tick = Tick(Duration::MAX);

/// What is out.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) id: DutyId,
    pub(super) duty: Waiting,
    /// Its transport says how much of it went out.
    reports: bool,
}

/// What it is.
#[derive(Clone, Debug)]
pub(super) enum Waiting {
    Exchange {
        url: String,
        op: Op,
        body: Body,
        /// It has said `Expect`.
        expects: bool,
    },
    Digest(Algorithm),
    Read {
        upto: u64,
    },
    Authorize(Origin),
    Save,
}

impl Waiting {
    pub(super) fn is_exchange(&self) -> bool {
        matches!(self, Self::Exchange { .. })
    }
}

/// What a server has said of a lane's upload.
#[derive(Debug, Default)]
struct Word {
    /// How many bytes it has, unless a request has left that open since.
    offset: Option<u64>,
    /// How many it had when it last said.
    last: u64,
    /// How many fewer it has now, which is to be told.
    rewound: u64,
    /// How it refused the request with the last byte, which went out whole as far as anyone knows.
    refused: Option<u16>,
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
    words: BTreeMap<u32, Word>,
    /// How many uploads are to be made anew.
    anew: usize,
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
            words: BTreeMap::new(),
            anew: 0,
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
                    self.close(id, None);
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
                self.close(*answered, Some(answer));
                if let Answer::Response(response) = answer {
                    let values = response.headers().values().map(HeaderValue::as_bytes);
                    self.guessed |= values.chain([&response.body()[..]]).any(tells_a_secret);
                }
            }
            Input::Sent(sent, _) => {
                let open = self.open.iter_mut().find(|open| open.id == *sent);
                if let Some(open) = open {
                    open.reports = true;
                }
            }
            Input::Interim(..) | Input::Cancel(_) => (),
            _ => panic!("{input:?}"),
        }
        self.machine().handle(now, input);
    }

    /// This duty has come to its end; without an answer it was stopped.
    fn close(&mut self, id: DutyId, answer: Option<&Answer>) {
        let Some(at) = self.open.iter().position(|open| open.id == id) else {
            return;
        };
        let Open {
            duty: Waiting::Exchange {
                op, body, expects, ..
            },
            reports,
            ..
        } = self.open.remove(at)
        else {
            return;
        };
        let base = self.base(id.lane);
        let word = self.words.entry(id.lane).or_default();
        let (status, said) = match answer {
            Some(Answer::Response(response)) => {
                (response.status().as_u16(), said_offset(response.headers()))
            }
            // It was not processed, as one that has to go elsewhere.
            Some(Answer::Failed(failure)) if failure.kind == FailureKind::NotSent => (421, None),
            _ => (0, None),
        };
        let processed = match status {
            200..300 => true,
            307 | 308 | 421 => return,
            417 if expects => return,
            _ => false,
        };
        let offset = match op {
            Op::Create if processed && body.is_empty() => Some(0),
            Op::Create => said.filter(|_| processed),
            Op::Append => said.filter(|offset| processed && base + offset <= body.end),
            Op::Probe if processed => said,
            _ => return,
        };
        let is_whole = Some(body.end) == self.setup.length && !body.is_empty();
        if op == Op::Append && is_whole && !reports && is_refusal(status) {
            word.refused = Some(status);
        }
        let short = offset.is_some_and(|offset| Some(offset) < self.setup.length);
        if short || op == Op::Append && processed {
            word.refused = None;
        }
        if let Some(offset) = offset {
            if op != Op::Create {
                word.rewound += word.last.saturating_sub(offset);
            }
            word.last = offset;
        }
        word.offset = offset;
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
        self.open.push(Open {
            id,
            duty,
            reports: false,
        });
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
        self.check_offset(id.lane, request, op);
        let bodied = ["POST", "PATCH"].contains(&request.method().as_str());
        let framed = headers.contains_key("content-length") || terms.trailer.is_some();
        assert!(framed || !bodied, "no Content-Length");
        self.check_secrecy(&url, headers, terms);
        let expects = headers.contains_key("expect");
        Waiting::Exchange {
            url,
            op,
            body,
            expects,
        }
    }

    /// An append begins where the server said last that it is, and where that is less than before somebody
    /// was told; nothing is made anew in silence.
    fn check_offset(&mut self, lane: u32, request: &Request<Body>, op: Op) {
        let base = self.base(lane);
        let word = self.words.entry(lane).or_default();
        if op == Op::Create && word.last > 0 {
            assert!(self.anew > 0, "it begins anew, and tells nobody");
            self.anew -= 1;
            *word = Word::default();
        }
        if op == Op::Append {
            let offset = said_offset(request.headers());
            assert_eq!(offset, word.offset, "not the server's last word");
            assert_eq!(word.rewound, 0, "{offset:?} is less than before");
            let body = request.body();
            let from = offset.map(|offset| base + offset);
            assert!(body.is_empty() || from == Some(body.start), "{body:?}");
        }
    }

    /// Where the source of a lane's upload begins.
    fn base(&self, lane: u32) -> u64 {
        let part = (lane as usize).checked_sub(1);
        let part = part.and_then(|part| self.setup.parts.get(part));
        part.filter(|_| self.is_joined())
            .map_or(0, |part| part.start)
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
        match event {
            // Of parts it says how many bytes there are in all.
            Event::Rewound { from, to } => {
                let mut words = self.words.values_mut();
                let word = words.find(|word| word.rewound == from - to);
                word.expect("a rewound upload").rewound = 0;
            }
            Event::Recreating { .. } => self.anew += 1,
            _ => (),
        }
    }

    fn done(&mut self, result: Result<String, tus_proto::Error>) {
        assert!(!self.over, "two ends");
        self.over = true;
        let out = self.open.iter().find(|open| open.duty.is_exchange());
        assert!(out.is_none(), "an end with {out:?}");
        match result {
            Ok(success) => {
                if let Some(length) = self.setup.length.filter(|_| self.setup.appends) {
                    let word = self.words.values().next();
                    let offset = word.and_then(|word| word.offset);
                    assert_eq!(offset, Some(length), "{success}");
                    let refused = word.and_then(|word| word.refused);
                    assert_eq!(refused, None, "{success}");
                }
                self.note(format_args!("{success}"));
            }
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

/// After which an upload that is whole was yet refused. (What says that somebody else was faster, or that the
/// server was in trouble, and 400 and 403 after an earlier loss, leave it open.)
fn is_refusal(status: u16) -> bool {
    let open = matches!(
        status,
        400 | 403 | 408 | 409 | 423 | 425 | 429 | 499 | 502..=504 | 520..=529
    );
    status >= 400 && !open
}

/// The offset in these fields, where all that they say agree on one.
fn said_offset(headers: &HeaderMap) -> Option<u64> {
    let values = headers.get_all("upload-offset").iter();
    let mut numbers = values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|member| {
            let digits = std::str::from_utf8(member.trim_ascii()).ok()?;
            // No sane server's number has so many zeros in front.
            let are_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
            (are_digits && digits.len() <= 32).then(|| digits.parse().ok())?
        });
    let first = numbers.next()??;
    numbers.all(|next| next == Some(first)).then_some(first)
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
