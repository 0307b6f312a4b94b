//! S4: a server that never comes to an end comes to one here.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use tus_proto::{
    Answer, Authorize, Body, Cause, Config, Duty, Error, Input, Inspect, Limit, MAX_ANSWER_BODY,
    Machine as _, Output, Tick, Upload, Violation,
};

use super::places::{Machine, start};
use super::{Story, answer, lost, run};
use crate::scenario::{ENDPOINT, URL, config, headers};

/// The length of the upload, in bytes.
const LENGTH: u64 = 1 << 20;

/// How a server keeps on, by the number of the request; the most requests that it gets of an upload;
/// and what that ends with.
type Row = (
    &'static str,
    fn(usize, &Request<Body>) -> Answer,
    usize,
    fn(&Error) -> bool,
);

const ENDLESS: &[Row] = &[
    (
        "redirects, one after the other",
        |n, _| answer(307, &[("location", format!("/{n}").as_bytes())]),
        6,
        |error| violates(error, &Violation::Redirects),
    ),
    (
        "redirects for good",
        |n, _| answer(308, &[("location", format!("/{n}").as_bytes())]),
        6,
        |error| violates(error, &Violation::Redirects),
    ),
    (
        "redirects, and then trouble",
        |n, _| match n % 5 {
            4 => answer(503, &[]),
            _ => answer(307, &[("location", b"/again")]),
        },
        55,
        |error| exhausts(error, Limit::Attempts),
    ),
    (
        "a redirect for each byte",
        |n, request| match (request.method().as_str(), n % 2) {
            ("PATCH", 1) => answer(308, &[("location", format!("/{n}").as_bytes())]),
            _ => takes(request, 1),
        },
        1_001,
        |error| exhausts(error, Limit::Requests),
    ),
    (
        "one byte at a time",
        |_, request| takes(request, 1),
        1_001,
        |error| exhausts(error, Limit::Requests),
    ),
    (
        "no byte at a time",
        |_, request| takes(request, 0),
        12,
        |error| exhausts(error, Limit::Attempts),
    ),
    (
        "no offset",
        |_, request| match request.method().as_str() {
            "PATCH" => answer(204, &[]),
            _ => takes(request, 0),
        },
        23,
        |error| exhausts(error, Limit::Attempts),
    ),
    (
        "losses",
        |_, request| match request.method().as_str() {
            "PATCH" => lost(),
            _ => takes(request, 0),
        },
        23,
        |error| exhausts(error, Limit::Attempts),
    ),
    (
        "bytes that are lost again",
        |n, request| match (request.method().as_str(), n % 2) {
            ("PATCH", 0) => takes(request, 1 << 10),
            ("PATCH", _) => answer(409, &[]),
            _ => takes(request, 0),
        },
        40,
        |error| exhausts(error, Limit::Attempts),
    ),
    (
        "questions for credentials",
        |_, _| answer(401, &[("www-authenticate", b"Basic")]),
        4,
        |error| rejects(error, 401),
    ),
    (
        "a question for credentials after each byte",
        |n, request| match (request.method().as_str(), n % 3) {
            ("PATCH", 1) => answer(401, &[]),
            ("HEAD", _) => {
                let has = (n / 3).to_string();
                answer(200, &[("upload-offset", has.as_bytes())])
            }
            _ => takes(request, 1),
        },
        1_001,
        |error| exhausts(error, Limit::Requests),
    ),
    (
        "uploads that are gone",
        |_, request| match request.method().as_str() {
            "POST" => takes(request, 0),
            _ => answer(410, &[]),
        },
        6,
        |error| matches!(error, Error::Gone { .. }),
    ),
    (
        "uploads that are gone once they have some bytes",
        |_, request| match (request.method().as_str(), request.body().start) {
            ("POST", _) => takes(request, 0),
            ("PATCH", 0) => takes(request, 70 << 10),
            _ => answer(410, &[]),
        },
        8,
        |error| matches!(error, Error::Gone { .. }),
    ),
    (
        "uploads that are not found",
        |_, request| match request.method().as_str() {
            "POST" => takes(request, 0),
            _ => answer(404, &[]),
        },
        16,
        |error| matches!(error, Error::Gone { .. }),
    ),
    (
        "requests that are too large",
        |_, request| match request.method().as_str() {
            "PATCH" => answer(413, &[]),
            _ => takes(request, 0),
        },
        60,
        |error| rejects(error, 413),
    ),
    (
        "wrong servers",
        |_, _| answer(421, &[]),
        2,
        |error| rejects(error, 421),
    ),
    (
        "trouble",
        |_, _| answer(500, &[]),
        11,
        |error| exhausts(error, Limit::Attempts),
    ),
    (
        "pauses that are allowed",
        |_, _| answer(503, &[("retry-after", b"299")]),
        11,
        |error| exhausts(error, Limit::Attempts),
    ),
    (
        "a pause for as long as can be said",
        |_, _| answer(503, &[("retry-after", b"18446744073709551615")]),
        1,
        |error| matches!(error, Error::ComeBackAt { .. }),
    ),
    (
        "a pause until the end of dates",
        |_, _| answer(429, &[("retry-after", b"Fri, 31 Dec 9999 23:59:59 GMT")]),
        11,
        |error| matches!(error, Error::ComeBackAt { .. } | Error::Exhausted { .. }),
    ),
    (
        "a pause that cannot be counted",
        |_, _| answer(503, &[("retry-after", b"99999999999999999999999")]),
        11,
        |error| exhausts(error, Limit::Attempts),
    ),
    (
        "interim statuses in the place of final ones",
        |_, _| answer(103, &[]),
        1,
        |error| violates(error, &Violation::Status),
    ),
];

fn violates(error: &Error, expected: &Violation) -> bool {
    matches!(error, Error::Protocol { violation, .. } if violation == expected)
}

fn exhausts(error: &Error, expected: Limit) -> bool {
    matches!(error, Error::Exhausted { limit, .. } if *limit == expected)
}

fn rejects(error: &Error, expected: u16) -> bool {
    matches!(error, Error::Rejected { status, .. } if *status == expected)
}

/// What a server says that takes at most so many bytes of a request, and has none when it is asked.
fn takes(request: &Request<Body>, most: u64) -> Answer {
    let body = request.body();
    let taken = most.min(body.end - body.start);
    let offset = (body.start + taken).to_string();
    let tus: (&str, &[u8]) = ("tus-resumable", b"1.0.0");
    match request.method().as_str() {
        "POST" => answer(201, &[("location", b"/files/1"), tus]),
        "HEAD" => answer(200, &[("upload-offset", b"0"), tus]),
        "PATCH" => answer(204, &[("upload-offset", offset.as_bytes()), tus]),
        _ => answer(204, &[tus]),
    }
}

/// The same answer with as much beside it as a transport lets through.
fn loud(answer: Answer) -> Answer {
    let Answer::Response(response) = answer else {
        return answer;
    };
    let (mut head, _) = response.into_parts();
    for n in 0..60 {
        let name = HeaderName::try_from(format!("x-{n}")).unwrap();
        let value = HeaderValue::try_from("l".repeat(1_000)).unwrap();
        head.headers.insert(name, value);
    }
    Answer::Response(Response::from_parts(head, "w".repeat(100 << 10).into()))
}

fn opted() -> Config {
    config(|config| config.authorize = Authorize::OnUnauthorized)
}

/// The same for whoever is asked: time, and what is told.
fn judge(what: &str, story: &Story) {
    assert!(
        story.took < Duration::from_secs(2 * 60 * 60),
        "{what}: {:?}",
        story.took
    );
    let told = story.error_text().len();
    assert!(told < 4 << 10, "{what}: it tells {told} bytes");
}

#[test]
fn s4_i6_no_server_keeps_an_upload_for_ever() {
    let fresh = headers(&[("authorization", "fresh")]);
    for (what, server, most, ends) in ENDLESS {
        let upload = Upload::create(ENDPOINT, LENGTH, &opted()).unwrap();
        let mut n = 0;
        let story = run(upload, Some(&fresh), |request| {
            n += 1;
            let answer = server(n - 1, request);
            // Thousands of them say no more than dozens.
            if n < 30 { loud(answer) } else { answer }
        });
        assert!(n <= *most, "{what}: {n} requests, {:?}", story.error);
        let error = story.error.as_ref();
        assert!(error.is_some_and(ends), "{what}: {error:?}, {n} requests");
        assert!(story.asked.len() <= n, "{what}");
        judge(what, &story);
    }
}

#[test]
fn s4_i6_no_server_keeps_any_machine_for_ever() {
    let fresh = headers(&[("authorization", "fresh")]);
    for (what, server, ..) in ENDLESS {
        for machine in Machine::ALL {
            let what = format!("{machine:?}, {what}");
            let mut n = 0;
            let story = start(
                machine,
                [ENDPOINT, URL],
                &opted(),
                Some(&fresh),
                |request| {
                    n += 1;
                    server(n - 1, request)
                },
            );
            assert!(n <= 150, "{what}: {n} requests");
            judge(&what, &story);
        }
    }
}

#[test]
fn s4_of_an_answer_no_more_is_wanted_than_64_kib() {
    assert_eq!(MAX_ANSWER_BODY, 65_536);
}

/// Words, versions, keys: whatever is quoted is quoted in part.
#[test]
fn s4_what_is_quoted_of_a_server_is_short() {
    let long = "v".repeat(100_000);
    let version = |_: &Request<Body>| answer(201, &[("tus-resumable", long.as_bytes())]);
    let upload = Upload::create(ENDPOINT, LENGTH, &opted()).unwrap();
    judge("a version", &run(upload, None, version));

    let versions = |_: &Request<Body>| answer(412, &[("tus-version", long.as_bytes())]);
    let upload = Upload::create(ENDPOINT, LENGTH, &opted()).unwrap();
    judge("versions", &run(upload, None, versions));

    let metadata = format!("{long} !");
    let fields: &[(&str, &[u8])] = &[
        ("upload-offset", b"1"),
        ("upload-metadata", metadata.as_bytes()),
    ];
    let mut inspect = Inspect::new(URL, &opted()).unwrap();
    let Output::Begin(id, Duty::Exchange(..)) = inspect.poll(Tick::default()) else {
        panic!("it asks");
    };
    inspect.handle(Tick::default(), Input::Answer(id, answer(200, fields)));
    let Output::Done(Ok(inspected)) = inspect.poll(Tick::default()) else {
        panic!("it is answered");
    };
    let error = inspected.metadata.unwrap_err();
    let told = format!("{error} {error:?}").len();
    assert!(told < 4 << 10, "a key: {told} bytes");
}

/// Interim answers are a sign of life, and no more than one is heeded.
#[test]
fn s4_interim_answers_without_end_are_no_answer() {
    let mut upload = Upload::create(ENDPOINT, LENGTH, &opted()).unwrap();
    let mut now = Tick(Duration::from_secs(1));
    let (began, mut requests) = (now, Vec::new());
    let mut out = None;
    let error = loop {
        match upload.poll(now) {
            Output::Begin(id, _) => {
                requests.push(now - began);
                out = Some(id);
            }
            Output::Done(result) => break result.unwrap_err(),
            Output::Stop(_) => out = None,
            Output::Event(_) => {}
            Output::Wait(None) => panic!("it waits for nothing"),
            Output::Wait(Some(at)) => {
                // Each second another one.
                now = at.min(now + Duration::from_secs(1));
                if let Some(id) = out {
                    let mut hint = Response::new(());
                    *hint.status_mut() = http::StatusCode::EARLY_HINTS;
                    upload.handle(now, Input::Interim(id, hint));
                }
            }
        }
    };
    assert!(exhausts(&error, Limit::Attempts), "{error}");
    assert!(
        matches!(&error, Error::Exhausted { cause: Some(cause), .. } if matches!(**cause, Cause::TimedOut(_))),
        "{error}"
    );
    assert_eq!(requests.len(), 11);
    assert!(
        now - began < Duration::from_secs(60 * 60),
        "{:?}",
        now - began
    );
}

/// The words of a body are bounded before they are looked at.
#[test]
fn i10_a_body_of_any_kind_is_cut() {
    for piece in ["w", "<", "<script>", "&amp;", "\u{202e}", "\0", " ", "é"] {
        let body = Bytes::from(piece.repeat((200 << 10) / piece.len()));
        let upload = Upload::create(ENDPOINT, LENGTH, &opted()).unwrap();
        let story = run(upload, None, |_| {
            let mut response = Response::new(body.clone());
            *response.status_mut() = http::StatusCode::FORBIDDEN;
            response
                .headers_mut()
                .insert("content-type", HeaderValue::from_static("text/html"));
            Answer::Response(response)
        });
        judge(piece, &story);
    }
}
