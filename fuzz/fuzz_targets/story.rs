//! Any inputs, in any order, told to any machine: no panic, one end, one exchange at a time for each
//! lane, nothing outside the source.

use std::time::Duration;

use arbitrary::Arbitrary;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use tus_proto::{
    Algorithm, Answer, Authorize, Body, Cancel, Capabilities, Config, Duty, DutyId, Failure, FailureKind,
    Input, Machine, Output, Tick,
};

#[derive(Arbitrary, Debug)]
pub struct Settings {
    request_size: Option<u64>,
    request_min: Option<u64>,
    request_multiple: Option<u64>,
    attempts: Option<u8>,
    authorize: bool,
    /// Which extensions the server is known to have; `None`: nothing is known.
    offered: Option<u16>,
    checksum: bool,
    trailers: bool,
    override_method: bool,
    unfinished: bool,
    discard: bool,
    relative: bool,
    at_once: u8,
    wall_clock: Option<u32>,
}

impl Settings {
    pub fn config(&self) -> Config {
        const NAMES: [&str; 9] = [
            "creation",
            "creation-with-upload",
            "creation-defer-length",
            "expiration",
            "checksum",
            "checksum-trailer",
            "termination",
            "concatenation",
            "concatenation-unfinished",
        ];
        let mut config = Config::default();
        config.request_size = self.request_size;
        config.request_min = self.request_min;
        config.request_multiple = self.request_multiple;
        config.retry.attempts = self.attempts.map(u32::from);
        if self.authorize {
            config.authorize = Authorize::OnUnauthorized;
        }
        config.server = self.offered.map(|bits| {
            let names = NAMES.iter().enumerate();
            let offered = names.filter(|(n, _)| bits & (1 << n) != 0);
            let mut server = Capabilities::default();
            server.extensions = Some(offered.map(|(_, name)| (*name).to_owned()).collect());
            server
        });
        config.try_unoffered = true;
        if self.checksum {
            config.checksums = vec![Algorithm::SHA1];
        }
        config.trailers = self.trailers;
        config.method_override = self.override_method;
        config.parts.unfinished = self.unfinished;
        config.parts.discard = self.discard;
        config.parts.relative = self.relative;
        config.parts.at_once = u32::from(self.at_once);
        config.parts.least = 1;
        config.wall_clock = self
            .wall_clock
            .map(|seconds| tus_proto::Date::from_unix_seconds(u64::from(seconds)));
        config
    }
}

#[derive(Arbitrary, Debug)]
pub enum Event {
    Respond { which: u8, status: u16, fields: Vec<(Field, Value)>, body: Vec<u8> },
    Offset { which: u8, back: u64 },
    Fail(u8, u8),
    Sent(u8, u64),
    Interim(u8),
    Saved(u8),
    Credentials(u8, bool),
    Digest(u8, u8),
    Available(u8, u64, bool),
    Cancel(u8),
    Stale { lane: u32, serial: u32 },
    Later(u32),
    Earlier(u32),
}

#[derive(Arbitrary, Debug)]
pub enum Field {
    Location,
    Offset,
    Length,
    Deferred,
    Version,
    Extension,
    Concat,
    RetryAfter,
    Date,
    Expires,
    MaxSize,
}

#[derive(Arbitrary, Debug)]
pub enum Value {
    Number(u64),
    Raw(Vec<u8>),
    Path(u8),
    Version,
    Final,
}

impl Field {
    fn name(&self) -> HeaderName {
        HeaderName::from_static(match self {
            Self::Location => "location",
            Self::Offset => "upload-offset",
            Self::Length => "upload-length",
            Self::Deferred => "upload-defer-length",
            Self::Version => "tus-resumable",
            Self::Extension => "tus-extension",
            Self::Concat => "upload-concat",
            Self::RetryAfter => "retry-after",
            Self::Date => "date",
            Self::Expires => "upload-expires",
            Self::MaxSize => "tus-max-size",
        })
    }
}

impl Value {
    fn value(&self) -> Option<HeaderValue> {
        match self {
            Self::Number(number) => Some(HeaderValue::from(*number)),
            Self::Raw(bytes) => HeaderValue::from_bytes(bytes).ok(),
            Self::Path(path) => HeaderValue::from_str(&format!("/files/{path}")).ok(),
            Self::Version => Some(HeaderValue::from_static("1.0.0")),
            Self::Final => Some(HeaderValue::from_static("final;/files/1 /files/2")),
        }
    }
}

/// What is out: an exchange with its body, or something else.
struct Open {
    id: DutyId,
    body: Option<Body>,
}

/// Tells the machine the events. `length`: that of the source, if it has one.
pub fn tell<M: Machine>(mut machine: M, length: Option<u64>, events: &[Event]) {
    let mut now = Duration::from_secs(1_000_000);
    let mut open: Vec<Open> = Vec::new();
    // How far a stream was read, and what of it is gone.
    let (mut read, mut gone) = (0, 0);
    let mut over = false;
    for event in events {
        for polls in 0.. {
            assert!(polls < 10_000, "it spins");
            match machine.poll(Tick(now)) {
                Output::Begin(id, duty) => {
                    assert!(!over, "a duty after the end");
                    let body = match duty {
                        Duty::Exchange(request, _) => {
                            let lane = |open: &Open| open.id.lane == id.lane && open.body.is_some();
                            assert!(!open.iter().any(lane), "two exchanges of one lane");
                            let body = request.body().clone();
                            assert!(body.start <= body.end && body.end <= length.unwrap_or(read));
                            assert!(length.is_some() || body.is_empty() || body.start >= gone);
                            assert_eq!(request.uri().scheme_str(), Some("https"));
                            Some(body)
                        }
                        Duty::Save(Some(checkpoint)) => {
                            assert_eq!(checkpoint.to_text().parse(), Ok(checkpoint));
                            None
                        }
                        Duty::Read { keep, upto } => {
                            assert!(length.is_none() && keep >= gone && upto >= keep);
                            gone = keep;
                            None
                        }
                        Duty::Digest { range, .. } => {
                            assert!(range.start < range.end && range.end <= length.unwrap_or(read));
                            None
                        }
                        _ => None,
                    };
                    open.push(Open { id, body });
                }
                Output::Stop(id) => open.retain(|open| open.id != id),
                Output::Event(event) => drop(format!("{event:?}")),
                Output::Done(result) => {
                    assert!(!over, "two ends");
                    over = true;
                    if let Err(error) = result {
                        assert!(!error.to_string().is_empty());
                        assert!(!error.resumable() || machine.checkpoint().is_some());
                    }
                }
                Output::Wait(None) => {
                    let waits = over || open.iter().any(|open| open.body.is_none());
                    assert!(waits, "it waits for nothing");
                    break;
                }
                Output::Wait(Some(_)) => break,
            }
        }
        let at = |which: u8| {
            let at = usize::from(which).checked_rem(open.len())?;
            open.get(at)
        };
        let answer = |which: u8, answer: Answer| {
            let id = at(which).map_or(DutyId { lane: 0, serial: 0 }, |open| open.id);
            Some(Input::Answer(id, answer))
        };
        let input = match event {
            Event::Respond { which, status, fields, body } => {
                let mut response = Response::new(Bytes::copy_from_slice(body));
                *response.status_mut() = StatusCode::from_u16(*status % 1_000).unwrap_or_default();
                for (field, value) in fields {
                    if let Some(value) = value.value() {
                        response.headers_mut().append(field.name(), value);
                    }
                }
                answer(*which, Answer::Response(response))
            }
            Event::Offset { which, back } => {
                let body = at(*which).and_then(|open| open.body.clone());
                let end = body.map_or(length.unwrap_or(read), |body| body.end);
                let mut response = Response::new(Bytes::new());
                let offset = HeaderValue::from(end.saturating_sub(*back));
                response.headers_mut().insert("upload-offset", offset);
                let location = HeaderValue::from_str(&format!("a{which}"));
                response.headers_mut().insert("location", location.expect("a path"));
                answer(*which, Answer::Response(response))
            }
            Event::Fail(which, kind) => {
                let kinds = [
                    FailureKind::NotSent,
                    FailureKind::Lost,
                    FailureKind::Source,
                    FailureKind::SourceChanged,
                    FailureKind::Hopeless,
                ];
                let kind = kinds[usize::from(*kind) % kinds.len()];
                answer(*which, Answer::Failed(Failure::new(kind, "fuzz")))
            }
            Event::Sent(which, bytes) => at(*which).map(|open| Input::Sent(open.id, *bytes)),
            Event::Interim(which) => {
                at(*which).map(|open| Input::Interim(open.id, Response::new(())))
            }
            Event::Saved(which) => answer(*which, Answer::Saved),
            Event::Credentials(which, some) => {
                answer(*which, Answer::Credentials(some.then(Default::default)))
            }
            Event::Digest(which, bytes) => {
                answer(*which, Answer::Digest(vec![7; usize::from(*bytes)].into()))
            }
            Event::Available(which, more, end) => {
                read = read.saturating_add(*more % 100_000);
                answer(*which, Answer::Available { upto: read, end: *end })
            }
            Event::Cancel(how) => {
                let hows = [Cancel::Keep, Cancel::Terminate, Cancel::Now];
                Some(Input::Cancel(hows[usize::from(*how) % hows.len()]))
            }
            Event::Stale { lane, serial } => {
                let id = DutyId { lane: *lane, serial: *serial };
                let known = open.iter().any(|open| open.id == id);
                (!known).then_some(Input::Answer(id, Answer::Saved))
            }
            Event::Later(seconds) => {
                now = now.saturating_add(Duration::from_secs(u64::from(*seconds)));
                None
            }
            Event::Earlier(seconds) => {
                now = now.saturating_sub(Duration::from_secs(u64::from(*seconds)));
                None
            }
        };
        if let Some(Input::Answer(answered, _)) = &input {
            open.retain(|open| open.id != *answered);
        }
        if let Some(input) = input {
            machine.handle(Tick(now), input);
        }
    }
}
