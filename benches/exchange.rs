//! What the machine itself costs: time and allocations of an exchange, bytes of an idle upload.
//!
//! `cargo bench --bench exchange`. Compare figures of one run: machines are noisy.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response};
use tus_proto::{Answer, Body, Config, Duty, Input, Machine, Output, Parallel, Tick, Upload};

#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

/// Requests of an upload, and so how much the creation weighs in it: next to nothing.
const REQUESTS: u64 = 1_000;
const SIZE: u64 = 64 * 1024;

fn main() {
    println!(
        "an idle Upload: {} bytes, without what it points to",
        size_of::<Upload>()
    );
    println!(
        "an idle Parallel: {} bytes, without its parts",
        size_of::<Parallel>()
    );
    println!("each iteration is {REQUESTS} exchanges");
    divan::main();
}

/// An upload in requests of one size, each answered at once.
#[divan::bench]
fn appends() -> bool {
    run(|body_end| (204, body_end))
}

/// The same over a server that takes half of each request.
#[divan::bench]
fn partial_takes() -> bool {
    run(|body_end| (204, body_end - SIZE / 2))
}

/// The same in four parts, each request of each answered at once, and joined at the end.
#[divan::bench]
fn parts() -> bool {
    let mut config = Config::default();
    config.request_size = Some(SIZE);
    config.parts.least = SIZE;
    let all =
        Parallel::split("https://example.org/files/", SIZE * REQUESTS, 4, &config).expect("a URL");
    let mut names = 0;
    drive(all, |lane, body| {
        let base = SIZE * REQUESTS / 4 * u64::from(lane.saturating_sub(1));
        names += 1;
        if body.is_empty() {
            (201, 0, names)
        } else {
            (204, body.end - base, names)
        }
    })
}

/// Answers every exchange by its lane and body: a status, an offset, a name.
fn drive<M: Machine>(mut machine: M, mut answer: impl FnMut(u32, Body) -> (u16, u64, u32)) -> bool {
    let now = Tick(Duration::ZERO);
    loop {
        match machine.poll(now) {
            Output::Begin(id, Duty::Exchange(request, _)) => {
                let (status, offset, name) = answer(id.lane, request.body().clone());
                let mut response = Response::new(Bytes::new());
                *response.status_mut() = status.try_into().expect("a status");
                let headers = response.headers_mut();
                headers.insert("location", HeaderValue::from(name));
                headers.insert("upload-offset", HeaderValue::from(offset));
                machine.handle(now, Input::Answer(id, Answer::Response(response)));
            }
            Output::Begin(id, _) => machine.handle(now, Input::Answer(id, Answer::Saved)),
            Output::Event(_) => (),
            Output::Done(result) => return result.is_ok(),
            Output::Stop(_) | Output::Wait(_) => return false,
        }
    }
}

fn run(answer: impl Fn(u64) -> (u16, u64)) -> bool {
    let mut config = Config::default();
    config.request_size = Some(SIZE);
    let mut upload =
        Upload::create("https://example.org/files/", SIZE * REQUESTS, &config).expect("a URL");
    let now = Tick(Duration::ZERO);
    for _ in 0..=REQUESTS {
        let (id, end) = loop {
            match upload.poll(now) {
                Output::Begin(id, Duty::Exchange(request, _)) => break (id, request.body().end),
                Output::Begin(id, _) => upload.handle(now, Input::Answer(id, Answer::Saved)),
                Output::Event(_) => (),
                Output::Done(result) => return result.is_ok(),
                Output::Stop(_) | Output::Wait(_) => return false,
            }
        };
        let mut response = Response::new(Bytes::new());
        let (status, offset) = if end == 0 { (201, 0) } else { answer(end) };
        *response.status_mut() = status.try_into().expect("a status");
        let headers = response.headers_mut();
        headers.insert("location", HeaderValue::from_static("a"));
        headers.insert("upload-offset", HeaderValue::from(offset));
        upload.handle(now, Input::Sent(id, 0));
        upload.handle(now, Input::Sent(id, SIZE));
        upload.handle(now, Input::Answer(id, Answer::Response(response)));
    }
    true
}
