//! S4, I10: how many bytes a machine keeps of what it is told without end. A process of its own, for everything
//! in it is counted.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use peak_alloc::PeakAlloc;
use tus_proto::{
    Algorithm, Answer, Authorize, Body, Concatenate, Config, Create, Discover, Duty, Failure,
    FailureKind, Input, Inspect, Machine, Output, Parallel, Terminate, Tick, Upload,
};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const KIB: usize = 1 << 10;

/// So much is told beside what counts: fields of 60 KiB, and a body of 1 MiB.
const FIELDS: usize = 60;
const WORDS: usize = 1 << 20;

/// The most that a machine keeps for each of its uploads, whatever it was told, and however often; and the most
/// that it takes at once. A place comes on top of that, and its copies while it is read.
const MOST: usize = 8 * KIB;
const MOST_AT_ONCE: usize = 4 * KIB;

/// As long as a reference may be, and a little less.
const PLACE: usize = 8 * KIB - 200;

const ENDPOINT: &str = "https://example.org/files/";
const URL: &str = "https://example.org/files/1";
const LENGTH: u64 = 1 << 20;

/// What it does when it is asked for the `n`th time.
type Server = fn(usize, &Request<Body>) -> Answer;

/// Each of them goes on for ever.
const SERVERS: &[(&str, Server)] = &[
    ("a byte at a time", |n, request| takes(n, request, 1)),
    ("nothing", |n, request| takes(n, request, 0)),
    ("64 KiB at a time, and then a loss", |n, request| {
        if n % 3 == 2 && request.method() == "PATCH" {
            lost()
        } else {
            takes(n, request, 64 << 10)
        }
    }),
    ("redirects", |n, _| {
        answer(307, &[("location", &format!("/{n}"))])
    }),
    ("redirects, and then trouble", |n, _| match n % 5 {
        4 => answer(503, &[]),
        _ => answer(308, &[("location", &format!("/again/{n}"))]),
    }),
    ("long redirects", |n, _| {
        let place = format!("/{n}/{}", "a".repeat(PLACE));
        answer(308, &[("location", &place)])
    }),
    ("long names", |n, request| {
        match (request.method().as_str(), n) {
            ("POST", _) => {
                let place = format!("/{}", "a".repeat(PLACE));
                answer(201, &[("location", &place), ("tus-resumable", "1.0.0")])
            }
            _ => takes(n, request, 1),
        }
    }),
    ("questions for credentials", |n, request| match n % 3 {
        1 => answer(401, &[("www-authenticate", "Basic realm=\"here\"")]),
        _ => takes(n, request, 1),
    }),
    ("trouble", |n, request| {
        match (n, request.method().as_str()) {
            (0, "POST") => takes(n, request, 0),
            _ => answer(500, &[]),
        }
    }),
    ("conflicts", |n, request| {
        match (request.method().as_str(), n % 2) {
            ("PATCH", _) => answer(409, &[]),
            _ => takes(n, request, 0),
        }
    }),
    ("413", |n, request| match request.method().as_str() {
        "PATCH" => answer(413, &[]),
        _ => takes(n, request, 0),
    }),
    ("uploads that are gone", |n, request| {
        match request.method().as_str() {
            "POST" => takes(n, request, 0),
            _ => answer(410, &[]),
        }
    }),
    ("other dates", |n, request| {
        match (request.method().as_str(), n) {
            ("PATCH", _) => {
                let date = format!("Sun, 06 Nov 1994 08:49:{:02} GMT", n % 60);
                let next = (offset_of(request) + 1).to_string();
                answer(204, &[("upload-offset", &next), ("upload-expires", &date)])
            }
            _ => takes(n, request, 0),
        }
    }),
    ("the largest numbers", |n, request| {
        let most = u64::MAX.to_string();
        match (request.method().as_str(), n % 2) {
            ("POST", _) => takes(n, request, 0),
            ("OPTIONS", _) => answer(
                200,
                &[("tus-max-size", &most), ("tus-extension", "creation")],
            ),
            (_, 0) => answer(503, &[("retry-after", &most)]),
            _ => answer(200, &[("upload-offset", &most), ("upload-length", &most)]),
        }
    }),
];

fn answer(status: u16, fields: &[(&'static str, &str)]) -> Answer {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status.try_into().unwrap();
    for (name, value) in fields {
        let value = HeaderValue::from_str(value).unwrap();
        response
            .headers_mut()
            .append(HeaderName::from_static(name), value);
    }
    Answer::Response(response)
}

fn lost() -> Answer {
    Answer::Failed(Failure::new(FailureKind::Lost, "by design"))
}

/// Where a request appends.
fn offset_of(request: &Request<Body>) -> u64 {
    let offset = request.headers().get("upload-offset");
    offset.map_or(0, |offset| offset.to_str().unwrap().parse().unwrap())
}

/// What a server says that takes at most so many bytes of a request, and has none when it is asked.
fn takes(n: usize, request: &Request<Body>, most: u64) -> Answer {
    let body = request.body();
    let offset = offset_of(request) + most.min(body.end - body.start);
    let offset = offset.to_string();
    let tus = ("tus-resumable", "1.0.0");
    match request.method().as_str() {
        "POST" => answer(201, &[("location", &format!("/files/{n}")), tus]),
        "HEAD" => answer(200, &[("upload-offset", "0"), tus]),
        "PATCH" => answer(204, &[("upload-offset", &offset), tus]),
        _ => answer(204, &[tus]),
    }
}

/// The same answer with all that may be beside it.
fn loud(answer: Answer) -> Answer {
    let Answer::Response(response) = answer else {
        return answer;
    };
    let (mut head, _) = response.into_parts();
    for n in 0..FIELDS {
        let name = HeaderName::try_from(format!("x-{n}")).unwrap();
        let value = HeaderValue::try_from("l".repeat(KIB)).unwrap();
        head.headers.insert(name, value);
    }
    let challenge = HeaderValue::try_from(format!("Basic realm=\"{}\"", "r".repeat(KIB))).unwrap();
    head.headers.append("www-authenticate", challenge);
    Answer::Response(Response::from_parts(head, "w".repeat(WORDS).into()))
}

#[derive(Debug, Default)]
struct Figures {
    /// The most bytes that it kept between two outputs.
    kept: usize,
    /// The most bytes that it took at once.
    at_once: usize,
    answers: usize,
}

/// Runs a machine to its end. Nothing of what it says is kept, so that what is there is the machine's.
fn run<M: Machine>(make: impl FnOnce() -> M, server: Server) -> Figures {
    let mut fresh = HeaderMap::new();
    fresh.insert("authorization", HeaderValue::from_static("fresh"));
    let mut figures = Figures::default();
    let mut now = Tick(Duration::from_secs(1_000));
    let mut read = 0;
    let before = MEMORY.current_usage();
    let mut machine = make();
    for _ in 0..50_000 {
        MEMORY.reset_peak_usage();
        let held = MEMORY.current_usage();
        let output = machine.poll(now);
        let mut taken = MEMORY.peak_usage().saturating_sub(held);
        let (id, answer) = match output {
            Output::Begin(id, Duty::Exchange(request, _)) => {
                let answer = server(figures.answers, &request);
                figures.answers += 1;
                // Thousands of them say no more than dozens.
                let is_loud = figures.answers % 2 == 0 && figures.answers < 60;
                (id, if is_loud { loud(answer) } else { answer })
            }
            Output::Begin(id, Duty::Authorize { .. }) => {
                (id, Answer::Credentials(Some(fresh.clone())))
            }
            Output::Begin(id, Duty::Digest { .. }) => (id, Answer::Digest(vec![7; 20].into())),
            Output::Begin(id, Duty::Read { upto, .. }) => {
                read = upto.max(read);
                let (upto, end) = (read, false);
                (id, Answer::Available { upto, end })
            }
            Output::Begin(id, Duty::Save(_)) => (id, Answer::Saved),
            Output::Event(_) | Output::Stop(_) => continue,
            Output::Wait(Some(at)) => {
                now = at;
                continue;
            }
            Output::Wait(None) => panic!("it waits for nothing"),
            Output::Done(_) => return figures,
        };
        MEMORY.reset_peak_usage();
        let held = MEMORY.current_usage();
        machine.handle(now, Input::Answer(id, answer));
        taken = taken.max(MEMORY.peak_usage().saturating_sub(held));
        figures.at_once = figures.at_once.max(taken);
        let kept = MEMORY.current_usage().saturating_sub(before);
        figures.kept = figures.kept.max(kept);
    }
    panic!("it does not end");
}

/// Each machine with this server: what it is, of how many uploads, and how much it took.
fn all(server: Server) -> [(&'static str, usize, Figures); 10] {
    let mut config = Config::default();
    config.authorize = Authorize::OnUnauthorized;
    config.recreations = 1;
    let mut digested = config.clone();
    digested.checksums = vec![Algorithm::SHA1];
    digested.try_unoffered = true;
    let (to, parts, urls) = (ENDPOINT, [LENGTH / 4; 4], [URL, URL]);
    let upload = |config| move || Upload::create(to, LENGTH, config).unwrap();
    let append = || Upload::append(URL, LENGTH, &config).unwrap();
    let stream = || Upload::create(to, None, &config).unwrap();
    let join = || Parallel::join(to, &parts, &config).unwrap();
    let create = || Create::new(to, LENGTH, &config).unwrap();
    let inspect = || Inspect::new(URL, &config).unwrap();
    let discover = || Discover::new(to, &config).unwrap();
    let terminate = || Terminate::new(URL, &config).unwrap();
    let concatenate = || Concatenate::new(to, &urls, &config).unwrap();
    [
        ("an upload", 1, run(upload(&config), server)),
        ("one with digests", 1, run(upload(&digested), server)),
        ("one that is there", 1, run(append, server)),
        ("a stream", 1, run(stream, server)),
        ("four parts", 5, run(join, server)),
        ("a creation", 1, run(create, server)),
        ("an inspection", 1, run(inspect, server)),
        ("a discovery", 1, run(discover, server)),
        ("a termination", 1, run(terminate, server)),
        ("a concatenation", 1, run(concatenate, server)),
    ]
}

#[test]
fn s4_i10_what_is_kept_does_not_grow_with_what_is_told() {
    let mut all_answers = 0;
    for (what, server) in SERVERS {
        let place = if what.starts_with("long") { PLACE } else { 0 };
        for (machine, uploads, figures) in all(*server) {
            println!("{machine}, {what}: {figures:?}");
            let Figures { kept, at_once, .. } = figures;
            assert!(kept <= uploads * MOST + place, "{machine}, {what}: {kept}");
            let most = uploads * MOST_AT_ONCE + 4 * place;
            assert!(at_once <= most, "{machine}, {what}: {at_once} at once");
            all_answers += figures.answers;
        }
    }
    assert!(all_answers > 10_000, "{all_answers} answers");
}
