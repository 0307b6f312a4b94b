//! What the tests share.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};

use http::Request;
use tus_driver::Source;
use tus_proto::{Body, Config, Duty, Machine, Output, Terms, Tick, Upload};
use tus_ureq::{Client, ureq};

/// Both kinds of client: with agents of its own, and with the caller's.
pub(crate) fn clients() -> [Client; 2] {
    [
        Client::new(),
        Client::from(ureq::Agent::new_with_defaults()),
    ]
}

/// The request that an upload of so many bytes to this endpoint begins with.
pub(crate) fn creation(endpoint: &str, length: u64) -> (Request<Body>, Terms) {
    first(Upload::create(endpoint, length, &Config::default()).unwrap())
}

/// The request that asks for the offset of the upload at this URL.
pub(crate) fn probe(url: &str) -> (Request<Body>, Terms) {
    first(Upload::append(url, 1, &Config::default()).unwrap())
}

/// A PATCH of so many bytes.
pub(crate) fn append(url: &str, length: u64) -> (Request<Body>, Terms) {
    let (request, terms) = probe(url);
    let request = Request::patch(request.uri())
        .header("content-length", length)
        .header("content-type", "application/offset+octet-stream")
        .header("upload-offset", "0")
        .body(0..length)
        .unwrap();
    (request, terms)
}

fn first(mut upload: Upload) -> (Request<Body>, Terms) {
    match upload.poll(Tick::default()) {
        Output::Begin(_, Duty::Exchange(request, terms)) => (request, terms),
        other => panic!("{other:?}"),
    }
}

/// Bytes of which no two pieces of a transfer are alike.
pub(crate) fn bytes(length: usize) -> Vec<u8> {
    // Longer than a piece by a little, and prime.
    const PERIOD: usize = 65_537;
    let pattern: Vec<_> = (0..PERIOD)
        .map(|at| u8::try_from((at * 7 + at / 251) % 256).unwrap())
        .collect();
    let mut bytes = pattern.repeat(length.div_ceil(PERIOD));
    bytes.truncate(length);
    bytes
}

/// Bytes, and word of when nobody holds them any more: when all workers have ended.
pub(crate) struct Watched {
    bytes: Vec<u8>,
    _word: Sender<()>,
}

impl Watched {
    pub(crate) fn new(bytes: Vec<u8>) -> (Self, Receiver<()>) {
        let (word, released) = channel();
        let watched = Self { bytes, _word: word };
        (watched, released)
    }
}

impl Source for Watched {
    fn length(&self) -> Option<u64> {
        Some(self.bytes.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.bytes.read_at(buf, at)
    }
}
