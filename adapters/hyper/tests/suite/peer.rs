//! What the tests share.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tus_driver::{AsyncTransport, IntoSource, Source, Trial, UploadBody};
use tus_hyper::Client;
use tus_hyper::hyper_util::client::legacy;
use tus_hyper::hyper_util::client::legacy::connect::HttpConnector;
use tus_hyper::hyper_util::rt::TokioExecutor;
use tus_proto::{Body, Config, Duty, Failure, Machine, Output, Terms, Tick, Upload};

/// Longer than anything here takes, and shorter than any limit that could end it otherwise.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A hyper client without anything of ours.
pub(crate) fn plain() -> legacy::Client<HttpConnector, UploadBody> {
    legacy::Client::builder(TokioExecutor::new()).build_http()
}

/// Both kinds of client: with connections of its own, and the caller's.
pub(crate) fn clients() -> [Client; 2] {
    [Client::new(), Client::from(plain())]
}

/// One exchange, as the driver carries it out.
pub(crate) async fn exchange(
    client: &Client,
    (request, terms): (Request<Body>, Terms),
    source: impl IntoSource,
) -> Result<Response<Bytes>, Failure> {
    let stack = Arc::new(client.clone()) as Arc<dyn AsyncTransport>;
    let trial = Trial::new(source).unwrap();
    trial.run_async(&stack, request, &terms).await
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

/// Bytes, and word of when nobody holds them any more.
pub(crate) struct Watched {
    bytes: Vec<u8>,
    _word: oneshot::Sender<()>,
}

impl Watched {
    pub(crate) fn new(length: usize) -> (Self, Released) {
        let (word, released) = oneshot::channel();
        let watched = Self {
            bytes: vec![0; length],
            _word: word,
        };
        (watched, Released(released))
    }
}

impl Source for Watched {
    fn length(&self) -> Option<u64> {
        Some(self.bytes.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.bytes.read_at(buf, at)
    }

    fn is_in_memory(&self) -> bool {
        true
    }
}

pub(crate) struct Released(oneshot::Receiver<()>);

impl Released {
    /// Waits until no body holds the bytes, so no connection does.
    pub(crate) async fn soon(self) {
        within(self.0).await.unwrap_err();
    }
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it comes soon")
}

/// A listener, and the URL of a path there.
pub(crate) async fn listen(path: &str) -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}{path}", listener.local_addr().unwrap());
    (listener, url)
}

pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Reads to the end, whichever it is; says how many bytes came.
pub(crate) async fn read_out(stream: &mut TcpStream) -> (usize, io::Result<()>) {
    let mut read = 0;
    let mut piece = vec![0; 64 << 10];
    loop {
        match within(stream.read(&mut piece)).await {
            Ok(0) => return (read, Ok(())),
            Ok(more) => read += more,
            Err(error) => return (read, Err(error)),
        }
    }
}
