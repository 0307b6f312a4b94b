//! A machine that is told one answer, and what it makes of it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use tus_proto::{Answer, Body, Config, Duty, Error, Event, Input, Inspect, Machine, Output, Tick};

/// What came of it.
#[derive(Debug)]
pub(super) enum Came<T> {
    Done(Result<T, Error>),
    /// Another request, and how long it was waited for.
    Again(Box<Request<Body>>, Option<Duration>),
}

/// Tells the machine this answer to its first request.
pub(super) fn tell<M: Machine>(
    mut machine: M,
    status: StatusCode,
    headers: &HeaderMap,
) -> Came<M::Success> {
    let mut now = Tick(Duration::from_secs(1_000));
    let (mut told, mut waited) = (false, None);
    for _ in 0..100 {
        match machine.poll(now) {
            Output::Begin(_, Duty::Exchange(request, _)) if told => {
                return Came::Again(Box::new(request), waited);
            }
            Output::Begin(id, Duty::Exchange(..)) => {
                told = true;
                let mut response = Response::new(Bytes::new());
                *response.status_mut() = status;
                *response.headers_mut() = headers.clone();
                machine.handle(now, Input::Answer(id, Answer::Response(response)));
            }
            Output::Begin(id, _) => machine.handle(now, Input::Answer(id, Answer::Saved)),
            Output::Event(Event::Retrying { after, .. }) => waited = Some(after),
            Output::Event(_) | Output::Stop(_) => (),
            Output::Wait(Some(until)) => now = until,
            Output::Wait(None) => panic!("it waits for nothing"),
            Output::Done(result) => return Came::Done(result),
        }
    }
    panic!("it spins");
}

/// Checks that after an answer with these fields it is waited for as long as this, and not much longer.
pub(super) fn check_wait(headers: &HeaderMap, expected: Option<Duration>) {
    let config = Config::default();
    let inspect = Inspect::new("https://example.org/files/a", &config).expect("a URL");
    let wish = expected.filter(|wish| !wish.is_zero());
    let most = config.retry.max_retry_after;
    let came = tell(inspect, StatusCode::SERVICE_UNAVAILABLE, headers);
    match (&came, wish) {
        (Came::Done(Err(Error::ComeBackAt { after, .. })), Some(wish)) => {
            assert!(wish > most && *after == wish, "{wish:?}: {came:?}");
        }
        (Came::Again(_, Some(waited)), wish) => {
            // Half a second at least, one at most, where the server has no wish; else a tenth more.
            let least = wish.unwrap_or(config.retry.base / 2);
            let jitter = wish.map_or(Duration::ZERO, |wish| wish / 10);
            assert!(least <= most, "{wish:?}: {came:?}");
            assert!(*waited >= least, "{wish:?}: {came:?}");
            assert!(
                *waited <= least.max(config.retry.base) + jitter,
                "{wish:?}: {came:?}"
            );
        }
        _ => panic!("{wish:?}: {came:?}"),
    }
}

/// Fields, a line each; what can be none is left out.
pub(super) fn headers(text: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        if let Some((name, value)) = field(line) {
            headers.append(name, value);
        }
    }
    headers
}

/// `name: value`
pub(super) fn field(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let value = &line[colon + 1..];
    let value = value.strip_prefix(b" ").unwrap_or(value);
    Some((
        HeaderName::from_bytes(&line[..colon]).ok()?,
        HeaderValue::from_bytes(value).ok()?,
    ))
}
