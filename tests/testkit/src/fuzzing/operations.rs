use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use tus_proto::{Answer, Cancel, DutyId, Failure, FailureKind, Input, Tick};

use super::guard::{Guard, Waiting, obliging};
use super::setup::Settings;

/// One thing that happens.
#[derive(Arbitrary, Debug)]
enum Step {
    Poll,
    Respond {
        which: u8,
        status: u16,
        fields: Vec<(Field, Value)>,
    },
    Progress {
        which: u8,
        less: u8,
    },
    Oblige(u8),
    Fail(u8, u8),
    Sent(u8, u64),
    Interim(u8),
    Answered(u8, Wrong),
    Available(u8, u64, bool),
    Credentials(u8, Vec<(Field, Value)>),
    Cancel(u8),
    Stale {
        lane: u8,
        serial: u8,
        kind: Wrong,
    },
    /// What was answered before is answered again.
    Again(Wrong),
    Later(u32),
    Earlier(u32),
    ToItsTime,
}

/// An answer that need not fit its question.
#[derive(Arbitrary, Debug)]
enum Wrong {
    Saved,
    Digest(u8),
    Credentials(bool),
    Available(u64, bool),
    Response(u16),
    Failed(u8),
}

#[derive(Arbitrary, Debug)]
enum Field {
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
    Authenticate,
}

#[derive(Arbitrary, Debug)]
enum Value {
    Number(u64),
    Raw(Vec<u8>),
    Path(u8),
    Version,
    Final,
}

impl Field {
    fn name(&self) -> &'static str {
        match self {
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
            Self::Authenticate => "www-authenticate",
        }
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

impl Wrong {
    fn answer(&self) -> Answer {
        match self {
            Self::Saved => Answer::Saved,
            Self::Digest(length) => Answer::Digest(vec![7; usize::from(*length)].into()),
            Self::Credentials(some) => Answer::Credentials(some.then(HeaderMap::new)),
            Self::Available(upto, end) => Answer::Available {
                upto: *upto,
                end: *end,
            },
            Self::Response(status) => Answer::Response(response(*status, &[])),
            Self::Failed(kind) => failed(*kind),
        }
    }
}

fn response(status: u16, fields: &[(Field, Value)]) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::from_u16(status % 1_000).unwrap_or_default();
    *response.headers_mut() = headers(fields);
    response
}

fn headers(fields: &[(Field, Value)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (field, value) in fields {
        if let Some(value) = value.value() {
            headers.append(field.name(), value);
        }
    }
    headers
}

fn failed(kind: u8) -> Answer {
    const KINDS: [FailureKind; 5] = [
        FailureKind::NotSent,
        FailureKind::Lost,
        FailureKind::Source,
        FailureKind::SourceChanged,
        FailureKind::Hopeless,
    ];
    let kind = KINDS[usize::from(kind) % KINDS.len()];
    Answer::Failed(Failure::new(kind, "so it is said"))
}

/// Any inputs in any order, polls at any time: nothing panics, there is one end, one exchange at a time for
/// an upload, and the same inputs have the same outputs.
///
/// # Panics
///
/// Where that is not so.
pub fn operations(data: &[u8]) {
    let once = tell(data);
    assert_eq!(once, tell(data), "the same inputs, and other outputs");
}

/// All that a machine said; empty where there is none.
fn tell(data: &[u8]) -> String {
    let mut bytes = Unstructured::new(data);
    let setup = Settings::arbitrary(&mut bytes).map(|settings| settings.build());
    let Ok(Some(setup)) = setup else {
        return String::new();
    };
    let mut teller = Teller {
        guard: Guard::new(setup),
        now: Duration::from_secs(1_000_000),
        until: None,
        last: None,
    };
    // To the last byte: a `Vec` would as often as not end at the next step.
    while let (false, Ok(step)) = (bytes.is_empty(), Step::arbitrary(&mut bytes)) {
        teller.step(&step);
    }
    // Whatever was said, it can be ended.
    teller.guard.drain(Tick(teller.now));
    teller
        .guard
        .handle(Tick(teller.now), Input::Cancel(Cancel::Now));
    teller.guard.drain(Tick(teller.now));
    assert!(teller.guard.over, "it goes on after a cancel");
    assert_eq!(teller.guard.drain(Tick(teller.now)), None);
    teller.guard.into_transcript()
}

struct Teller {
    guard: Guard,
    now: Duration,
    /// When it wants to be polled.
    until: Option<Tick>,
    /// What was answered last.
    last: Option<DutyId>,
}

impl Teller {
    fn step(&mut self, step: &Step) {
        let input = match step {
            Step::Poll => {
                self.until = self.guard.drain(Tick(self.now));
                None
            }
            Step::Respond {
                which,
                status,
                fields,
            } => self.answer(*which, |_| Answer::Response(response(*status, fields))),
            Step::Progress { which, less } => {
                let parts = self.guard.setup().parts.clone();
                let lane = self.at(*which).map_or(0, |(id, _)| id.lane) as usize;
                let part = lane.checked_sub(1).and_then(|at| parts.get(at));
                let base = part
                    .filter(|_| parts.len() > 1)
                    .map_or(0, |part| part.start);
                self.answer(*which, |duty| {
                    let end = match duty {
                        Waiting::Exchange { body, .. } => body.end.saturating_sub(base),
                        _ => 0,
                    };
                    let mut response = Response::new(Bytes::new());
                    let offset = HeaderValue::from(end.saturating_sub(u64::from(*less)));
                    response.headers_mut().insert("upload-offset", offset);
                    let location = HeaderValue::from_str(&format!("a{lane}"));
                    response
                        .headers_mut()
                        .insert("location", location.expect("a path"));
                    Answer::Response(response)
                })
            }
            Step::Oblige(which) => {
                let total = self.guard.setup().total;
                let answer = self.answer(*which, |duty| obliging(duty, total));
                if let Some(Input::Answer(_, Answer::Available { upto, .. })) = &answer {
                    self.guard.read = self.guard.read.max(*upto);
                }
                answer
            }
            Step::Fail(which, kind) => self.answer(*which, |_| failed(*kind)),
            Step::Sent(which, bytes) => {
                let at = self.at(*which);
                at.map(|(id, _)| Input::Sent(id, *bytes))
            }
            Step::Interim(which) => {
                let at = self.at(*which);
                at.map(|(id, _)| Input::Interim(id, Response::new(())))
            }
            Step::Answered(which, wrong) => {
                // A stream that grows by itself would be taken for granted below.
                let grows = matches!(wrong, Wrong::Available(..));
                (!grows)
                    .then(|| self.answer(*which, |_| wrong.answer()))
                    .flatten()
            }
            Step::Available(which, more, end) => {
                self.guard.read = self.guard.read.saturating_add(*more % 100_000);
                let (upto, end) = (self.guard.read, *end);
                self.answer(*which, |_| Answer::Available { upto, end })
            }
            Step::Credentials(which, fields) => {
                self.answer(*which, |_| Answer::Credentials(Some(headers(fields))))
            }
            Step::Cancel(how) => {
                const HOWS: [Cancel; 3] = [Cancel::Keep, Cancel::Terminate, Cancel::Now];
                Some(Input::Cancel(HOWS[usize::from(*how) % HOWS.len()]))
            }
            Step::Stale { lane, serial, kind } => {
                let id = DutyId {
                    lane: u32::from(*lane),
                    serial: u32::from(*serial),
                };
                let known = self.guard.open.iter().any(|open| open.id == id);
                (!known).then(|| Input::Answer(id, kind.answer()))
            }
            Step::Again(wrong) => self.last.map(|id| Input::Answer(id, wrong.answer())),
            Step::Later(seconds) => {
                self.now = self
                    .now
                    .saturating_add(Duration::from_secs(u64::from(*seconds)));
                None
            }
            Step::Earlier(seconds) => {
                self.now = self
                    .now
                    .saturating_sub(Duration::from_secs(u64::from(*seconds)));
                None
            }
            Step::ToItsTime => {
                self.now = self.until.map_or(self.now, |until| self.now.max(until.0));
                None
            }
        };
        if let Some(input) = input {
            if let Input::Answer(id, _) = &input {
                self.last = Some(*id);
            }
            self.guard.handle(Tick(self.now), input);
        }
    }

    fn at(&self, which: u8) -> Option<(DutyId, &Waiting)> {
        let at = usize::from(which).checked_rem(self.guard.open.len())?;
        self.guard.open.get(at).map(|open| (open.id, &open.duty))
    }

    fn answer(&self, which: u8, answer: impl FnOnce(&Waiting) -> Answer) -> Option<Input> {
        let (id, duty) = self.at(which)?;
        Some(Input::Answer(id, answer(duty)))
    }
}
