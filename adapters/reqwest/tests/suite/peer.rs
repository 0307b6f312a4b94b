//! What the tests share.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::sync::oneshot;
use tus_driver::{AsyncTransport, IntoSource, Source, Trial};
use tus_proto::{Body, Config, Duty, Failure, Machine, Output, Terms, Tick, Upload};
use tus_reqwest::{Client, reqwest};
use tus_testkit::{Scripted, Step};

/// What ends a test that hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Both kinds of client: its own, and the caller's, which follows no redirects.
pub(crate) fn clients() -> [Client; 2] {
    let given = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    [Client::new(), given.build().unwrap().into()]
}

/// Carries out one exchange, as the driver does.
pub(crate) async fn exchange(
    client: &Client,
    (request, terms): (Request<Body>, Terms),
    source: impl IntoSource,
) -> Result<Response<Bytes>, Failure> {
    let stack: Arc<dyn AsyncTransport> = Arc::new(client.clone());
    let trial = Trial::new(source).unwrap();
    trial.run_async(&stack, request, &terms).await
}

/// One without a body.
pub(crate) async fn ask(
    client: &Client,
    asked: (Request<Body>, Terms),
) -> Result<Response<Bytes>, Failure> {
    exchange(client, asked, Bytes::new()).await
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

/// A conversation of one request without a body.
pub(crate) fn answered(answer: &str) -> Vec<Step> {
    vec![Step::ReadHead, Step::write(answer), Step::Close]
}

/// What was said on the first connection, in lower case.
pub(crate) fn sent(peer: &Scripted) -> String {
    String::from_utf8(peer.read()[0].clone())
        .unwrap()
        .to_ascii_lowercase()
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

/// Zeros, more than fit any buffer, and word of when nobody holds them any more.
pub(crate) struct Watched {
    length: u64,
    _word: oneshot::Sender<()>,
}

impl Watched {
    pub(crate) fn new(length: u64) -> (Self, Released) {
        let (word, released) = oneshot::channel();
        let watched = Self {
            length,
            _word: word,
        };
        (watched, Released(released))
    }
}

impl Source for Watched {
    fn length(&self) -> Option<u64> {
        Some(self.length)
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let left = usize::try_from(self.length - at).unwrap();
        let read = left.min(buf.len());
        buf[..read].fill(0);
        Ok(read)
    }
}

pub(crate) struct Released(oneshot::Receiver<()>);

impl Released {
    /// Waits until nobody holds the source.
    pub(crate) async fn wait(self) {
        tokio::time::timeout(PATIENCE, self.0)
            .await
            .expect("somebody still holds the source")
            .unwrap_err();
    }
}
