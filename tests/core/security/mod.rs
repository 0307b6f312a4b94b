//! The security rules, each stated as a test that says its name.
//!
//! | rule | here | what else shows it |
//! |------|------|------------------|
//! | S1: headers go to the endpoint's origin only | [`places`] | `src/credentials.rs` |
//! | S2: https never becomes http | [`places`] | `src/credentials.rs` |
//! | S3: nothing shown holds a secret | [`secrets`], [`places`], [`fields`] | `adapters/driver/tests/log.rs`, `adapters/driver/tests/suite/secrets.rs`, the adapters' suites |
//! | S3: a server's words command no terminal | [`fields`] | `src/wire/words.rs`, `adapters/cli/tests/tus/terminal.rs` |
//! | S4: what a server sends is bounded | [`bounds`] | `tests/memory.rs`, in bytes; the conformance suite, case by case; `http2.rs` of the suites of tus-hyper and tus-reqwest |
//! | S5: what parsers disagree on is refused | [`places`] | `src/wire/reference.rs` |
//! | S6: the checkpoint store | – | `adapters/driver/tests/suite/store.rs`, `adapters/driver/tests/suite/resume.rs` |
//! | S7: fields of the protocol are nobody else's | [`fields`], [`places`] | `adapters/driver/tests/suite/hooks.rs` |

mod bounds;
mod fields;
mod places;
mod secrets;

use std::fmt::{Display, Write as _};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tus_proto::{
    Answer, Body, Checkpoint, Duty, Error, Event, Failure, FailureKind, Input, Machine, Output,
    Terms, Tick,
};

/// What nothing that is shown may hold.
pub const SECRET: &str = "s3cr3t";
/// The same where it is Basic credentials: the base64 of `s3cr3t:s3cr3t`.
pub const BASIC: &str = "Basic czNjcjN0OnMzY3IzdA==";

/// How often a machine may be polled for one answer, and how often in all.
const POLLS: usize = 50_000;

/// A machine that was run to its end by a server that answers at once.
pub struct Story {
    pub requests: Vec<(Request<Body>, Terms)>,
    pub events: Vec<Event>,
    pub saves: Vec<Option<Checkpoint>>,
    /// Where credentials were asked for.
    pub asked: Vec<String>,
    pub error: Option<Error>,
    /// The `Debug` of all outputs, and of the machine at its end.
    pub shown: String,
    /// How long it took.
    pub took: Duration,
}

/// Runs a machine to its end. What it asks is answered by `server`; where it asks for credentials, by
/// `credentials`.
pub fn run<M: Machine + std::fmt::Debug>(
    mut machine: M,
    credentials: Option<&HeaderMap>,
    mut server: impl FnMut(&Request<Body>) -> Answer,
) -> Story {
    let began = Tick(Duration::from_secs(1_000));
    let mut now = began;
    let mut story = Story {
        requests: Vec::new(),
        events: Vec::new(),
        saves: Vec::new(),
        asked: Vec::new(),
        error: None,
        shown: String::new(),
        took: Duration::ZERO,
    };
    for _ in 0..POLLS {
        let output = machine.poll(now);
        if story.shown.len() < 1 << 20 {
            let _ = writeln!(story.shown, "{output:?}");
        }
        let (id, answer) = match output {
            Output::Begin(id, Duty::Exchange(request, terms)) => {
                let answer = server(&request);
                story.requests.push((request, terms));
                (id, answer)
            }
            Output::Begin(id, Duty::Save(checkpoint)) => {
                story.saves.push(checkpoint);
                (id, Answer::Saved)
            }
            Output::Begin(id, Duty::Authorize { uri, .. }) => {
                story.asked.push(uri.to_string());
                (id, Answer::Credentials(credentials.cloned()))
            }
            Output::Begin(id, _) => {
                let words = "nobody reads here";
                (id, Answer::Failed(Failure::new(FailureKind::Source, words)))
            }
            Output::Event(event) => {
                story.events.push(event);
                continue;
            }
            Output::Stop(_) => continue,
            Output::Wait(Some(at)) => {
                assert!(at > now, "I6: it spins");
                now = at;
                continue;
            }
            Output::Wait(None) => panic!("it waits for nothing"),
            Output::Done(result) => {
                story.error = result.err();
                let _ = write!(story.shown, "{machine:?}");
                story.took = now - began;
                return story;
            }
        };
        machine.handle(now, Input::Answer(id, answer));
    }
    panic!("it does not end");
}

impl Story {
    pub fn error_text(&self) -> String {
        self.error
            .as_ref()
            .map_or(String::new(), |error| format!("{error} {error:?}"))
    }

    /// S3, of all that was shown on the way.
    #[track_caller]
    pub fn keeps_secrets(&self, what: impl Display) {
        for text in [&self.shown, &self.error_text()] {
            conceals(&what, text);
        }
    }
}

/// S3, of this text.
#[track_caller]
pub fn conceals(what: impl Display, text: &str) {
    for secret in [SECRET, &BASIC[6..]] {
        if let Some(at) = text.find(secret) {
            let from = text[..at].char_indices().rev().nth(200);
            panic!(
                "{what} shows a secret: …{}",
                &text[from.map_or(0, |(at, _)| at)..at + 40]
            );
        }
    }
}

pub fn answer(status: u16, fields: &[(&str, &[u8])]) -> Answer {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status.try_into().unwrap();
    for (name, value) in fields {
        let name: HeaderName = name.parse().unwrap();
        let value = HeaderValue::from_bytes(value).unwrap();
        response.headers_mut().append(name, value);
    }
    Answer::Response(response)
}

pub fn lost() -> Answer {
    Answer::Failed(Failure::new(FailureKind::Lost, "by design"))
}

/// Scheme, host and port as they are in this URL, where none is a default one.
pub fn origin(url: &str) -> &str {
    let place = url.find("//").expect("an absolute URL") + 2;
    let end = url[place..].find(['/', '?', '#']);
    &url[..end.map_or(url.len(), |end| place + end)]
}
