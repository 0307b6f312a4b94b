//! Any inputs, in any order: no panic, one end, one exchange at a time, nothing outside the source.

#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use libfuzzer_sys::fuzz_target;
use tus_proto::{
    Answer, Authorize, Cancel, Config, Duty, DutyId, Failure, FailureKind, Input, Machine, Output, Tick,
    Upload,
};

#[derive(Arbitrary, Debug)]
struct Story {
    length: u64,
    request_size: Option<u64>,
    attempts: Option<u8>,
    at_url: bool,
    authorize: bool,
    events: Vec<Event>,
}

#[derive(Arbitrary, Debug)]
enum Event {
    Respond { status: u16, fields: Vec<(Field, Value)>, body: Vec<u8> },
    Offset { back: u64 },
    Fail(u8),
    Sent(u64),
    Interim,
    Saved,
    Credentials(bool),
    Cancel(u8),
    Stale { lane: u32, serial: u32 },
    Later(u32),
    Earlier(u32),
}

#[derive(Arbitrary, Debug)]
enum Field {
    Location,
    Offset,
    Length,
    Version,
    RetryAfter,
    Date,
    Expires,
    MaxSize,
}

#[derive(Arbitrary, Debug)]
enum Value {
    Number(u64),
    Raw(Vec<u8>),
    Path(u8),
    Version,
}

impl Field {
    fn name(&self) -> HeaderName {
        HeaderName::from_static(match self {
            Self::Location => "location",
            Self::Offset => "upload-offset",
            Self::Length => "upload-length",
            Self::Version => "tus-resumable",
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
        }
    }
}

fuzz_target!(|story: Story| {
    let mut config = Config::default();
    config.request_size = story.request_size;
    config.retry.attempts = story.attempts.map(u32::from);
    if story.authorize {
        config.authorize = Authorize::OnUnauthorized;
    }
    let upload = if story.at_url {
        Upload::append("https://example.org/files/a", story.length, &config)
    } else {
        Upload::create("https://example.org/files/", story.length, &config)
    };
    let Ok(mut upload) = upload else { return };

    let mut now = Duration::from_secs(1_000_000);
    let mut flight: Option<(DutyId, std::ops::Range<u64>)> = None;
    let mut duty = None;
    let mut over = false;
    for event in &story.events {
        for polls in 0.. {
            assert!(polls < 64, "it spins");
            match upload.poll(Tick(now)) {
                Output::Begin(id, Duty::Exchange(request, _)) => {
                    assert!(flight.is_none() && !over);
                    let body = request.body().clone();
                    assert!(body.start <= body.end && body.end <= story.length);
                    assert_eq!(request.uri().scheme_str(), Some("https"));
                    flight = Some((id, body));
                }
                Output::Begin(id, Duty::Save(checkpoint)) => {
                    if let Some(checkpoint) = checkpoint {
                        assert_eq!(checkpoint.to_text().parse(), Ok(checkpoint));
                    }
                    duty = Some(id);
                }
                Output::Begin(id, _) => duty = Some(id),
                Output::Stop(id) => {
                    flight.take_if(|(flight, _)| *flight == id);
                }
                Output::Event(event) => drop(format!("{event:?}")),
                Output::Done(result) => {
                    assert!(!over, "two ends");
                    over = true;
                    if let Err(error) = result {
                        assert!(!error.to_string().is_empty());
                        assert_eq!(error.resumable() && upload.checkpoint().is_none(), false);
                    }
                }
                Output::Wait(None) => {
                    assert!(over || duty.is_some());
                    break;
                }
                Output::Wait(Some(_)) => break,
            }
        }
        let any = flight.as_ref().map(|(id, _)| *id).or(duty);
        let id = any.unwrap_or(DutyId { lane: 0, serial: 0 });
        let answer = |answer| Some(Input::Answer(id, answer));
        let input = match event {
            Event::Respond { status, fields, body } => {
                let mut response = Response::new(Bytes::copy_from_slice(body));
                *response.status_mut() = StatusCode::from_u16(*status % 1_000).unwrap_or_default();
                for (field, value) in fields {
                    if let Some(value) = value.value() {
                        response.headers_mut().append(field.name(), value);
                    }
                }
                answer(Answer::Response(response))
            }
            Event::Offset { back } => {
                let end = flight.as_ref().map_or(story.length, |(_, body)| body.end);
                let mut response = Response::new(Bytes::new());
                let offset = HeaderValue::from(end.saturating_sub(*back));
                response.headers_mut().insert("upload-offset", offset);
                response.headers_mut().insert("location", HeaderValue::from_static("a"));
                answer(Answer::Response(response))
            }
            Event::Fail(kind) => {
                let kinds = [
                    FailureKind::NotSent,
                    FailureKind::Lost,
                    FailureKind::Source,
                    FailureKind::SourceChanged,
                    FailureKind::Hopeless,
                ];
                let kind = kinds[usize::from(*kind) % kinds.len()];
                answer(Answer::Failed(Failure::new(kind, "fuzz")))
            }
            Event::Sent(bytes) => Some(Input::Sent(id, *bytes)),
            Event::Interim => Some(Input::Interim(id, Response::new(()))),
            Event::Saved => answer(Answer::Saved),
            Event::Credentials(some) => answer(Answer::Credentials(some.then(Default::default))),
            Event::Cancel(how) => {
                let hows = [Cancel::Keep, Cancel::Terminate, Cancel::Now];
                Some(Input::Cancel(hows[usize::from(*how) % hows.len()]))
            }
            Event::Stale { lane, serial } => {
                let id = DutyId { lane: *lane, serial: *serial };
                if Some(id) == any {
                    None
                } else {
                    Some(Input::Answer(id, Answer::Saved))
                }
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
            flight.take_if(|(id, _)| id == answered);
            duty.take_if(|id| id == answered);
        }
        if let Some(input) = input {
            upload.handle(Tick(now), input);
        }
    }
});
