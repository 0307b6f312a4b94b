use std::collections::BTreeMap;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use tus_proto::{Answer, Failure, FailureKind, Input, Tick};

use super::ask;
use super::guard::{Guard, Open, Waiting, obliging};
use super::setup::Settings;

/// So many bytes choose the machine and its settings.
const HEAD: usize = 32;

/// A server that says anything to any machine: its end comes, after no more requests than the settings
/// allow, and no secret goes anywhere else.
///
/// The script is of answers with an empty line between them, the first to the first request, and so on.
/// An answer's first line is its status, `lost`, `unsent`, `hopeless`, `source` or `silent`; then come its
/// fields, and of its body each line behind a `|`. `+9` says that the transport took so many bytes of the
/// request, `@9` that so many seconds go by. An offset of `=` is that of the request's last byte, `=9` one
/// that is so much less. Whatever comes after the script is lost.
///
/// # Panics
///
/// Where a rule is broken.
pub fn hostile(data: &[u8]) {
    let (head, script) = data.split_at(data.len().min(HEAD));
    let Ok(settings) = Settings::arbitrary(&mut Unstructured::new(head)) else {
        return;
    };
    let Some(setup) = settings.build() else {
        return;
    };
    let answers: Vec<_> = script.split(|byte| *byte == b'\n').collect();
    let mut answers = answers
        .split(|line| line.is_empty())
        .filter(|answer| !answer.is_empty());
    let lanes = setup.parts.len() + 1;
    // Every request that is lost counts, up to three in a row do not: a redirect, a new connection.
    let most = 4 * (setup.attempts as usize + 4) * lanes * 2;
    let mut line = Line {
        guard: Guard::new(setup),
        now: Tick(Duration::from_secs(1_000_000)),
        held: BTreeMap::new(),
        silent: Vec::new(),
    };
    let mut scripted = 0;
    loop {
        let until = line.guard.drain(line.now);
        if line.guard.over {
            break;
        }
        let idle = |open: &&Open| !line.silent.contains(&open.id);
        let next = line.guard.open.iter().find(idle).cloned();
        match (next, until) {
            (Some(open), _) if open.duty.is_exchange() => {
                let answer = answers.next();
                scripted = if answer.is_some() {
                    line.guard.requests
                } else {
                    scripted
                };
                line.answer(&open, answer.unwrap_or_default());
            }
            (Some(open), _) => {
                let answer = obliging(&open.duty, line.guard.setup().total);
                if let Answer::Available { upto, .. } = answer {
                    line.guard.read = line.guard.read.max(upto);
                }
                line.guard.handle(line.now, Input::Answer(open.id, answer));
            }
            (None, Some(until)) => line.now = until,
            (None, None) => panic!("it waits for nothing"),
        }
        let more = line.guard.requests - scripted;
        assert!(more <= most, "{more} requests, all of them lost");
    }
    assert_eq!(line.guard.drain(line.now), None);
}

/// Between a machine and a server.
struct Line {
    guard: Guard,
    now: Tick,
    /// The offset that was last said on each lane.
    held: BTreeMap<u32, u64>,
    /// What is never answered.
    silent: Vec<tus_proto::DutyId>,
}

impl Line {
    fn answer(&mut self, open: &Open, lines: &[&[u8]]) {
        let (Open { id, .. }, Waiting::Exchange { body, .. }) = (open, &open.duty) else {
            return;
        };
        let mut response = Response::new(Bytes::new());
        let mut text = Vec::new();
        let (first, rest) = match lines {
            [first, rest @ ..] => (*first, rest),
            [] => (&b"lost"[..], lines),
        };
        for line in rest {
            match line.split_first() {
                Some((b'|', words)) => text.extend_from_slice(words),
                Some((b'+', digits)) => {
                    self.guard
                        .handle(self.now, Input::Sent(*id, number(digits)));
                }
                Some((b'@', digits)) => {
                    self.now = self.now + Duration::from_secs(number(digits));
                    self.guard.drain(self.now);
                }
                _ => {
                    let Some((name, value)) = ask::field(line) else {
                        continue;
                    };
                    let value = match value.as_bytes().strip_prefix(b"=") {
                        Some(less) => HeaderValue::from(self.offset(id.lane, body, number(less))),
                        None => value,
                    };
                    response.headers_mut().append(name, value);
                }
            }
        }
        let failed = |kind| Answer::Failed(Failure::new(kind, "so it is said"));
        let answer = match first {
            b"lost" => failed(FailureKind::Lost),
            b"unsent" => failed(FailureKind::NotSent),
            b"hopeless" => failed(FailureKind::Hopeless),
            b"source" => failed(FailureKind::Source),
            b"silent" => {
                self.silent.push(*id);
                return;
            }
            status => {
                let status = u16::try_from(number(status)).unwrap_or_default();
                *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
                *response.body_mut() = text.into();
                if response.status().is_informational() {
                    let (parts, _) = response.into_parts();
                    let interim = Response::from_parts(parts, ());
                    self.guard.handle(self.now, Input::Interim(*id, interim));
                    return;
                }
                Answer::Response(response)
            }
        };
        self.guard.handle(self.now, Input::Answer(*id, answer));
    }

    /// The offset of the lane's upload after this body, or a little before.
    fn offset(&mut self, lane: u32, body: &tus_proto::Body, less: u64) -> u64 {
        let parts = &self.guard.setup().parts;
        let part = (lane as usize).checked_sub(1).and_then(|at| parts.get(at));
        let base = part
            .filter(|_| parts.len() > 1)
            .map_or(0, |part| part.start);
        let held = self.held.entry(lane).or_default();
        if !body.is_empty() {
            *held = body.end - base;
        }
        *held = held.saturating_sub(less);
        *held
    }
}

/// The digits at the beginning; no more than anyone needs.
fn number(text: &[u8]) -> u64 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |n: u64, digit| {
        n.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    })
}
