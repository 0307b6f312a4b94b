//! What must end is ended at once.

use std::future::pending;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Uri};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tower_service::Service;
use tus_driver::{AsyncTransport, BoxFuture, IntoSource, Trial};
use tus_hyper::Client;
use tus_hyper::hyper_util::client::legacy::connect::HttpConnector;
use tus_hyper::hyper_util::rt::TokioIo;
use tus_proto::{Body, Terms};

use crate::peer::{
    Watched, append, clients, creation, exchange, listen, plain, read_head, read_out, within,
};

const MUCH: usize = 64 << 20;

/// A connector that never connects, and tells when it is let go of.
#[derive(Clone, Default)]
pub(crate) struct Endless {
    begun: Arc<Notify>,
    left: Arc<Notify>,
}

struct Leaving(Arc<Notify>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Service<Uri> for Endless {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        self.begun.notify_one();
        let leaving = Leaving(Arc::clone(&self.left));
        Box::pin(async move {
            let _leaving = leaving;
            pending().await
        })
    }
}

/// How an exchange ends before its time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    /// As the driver does it.
    Stop,
    /// The future is dropped, no more.
    Drop,
}

/// Begins an exchange, and ends it when this comes to something and no more of the body is taken.
pub(crate) async fn end_when<T>(
    client: &Client,
    (request, terms): (Request<Body>, Terms),
    source: impl IntoSource,
    end: End,
    when: impl Future<Output = T>,
) -> T {
    let stack = Arc::new(client.clone()) as Arc<dyn AsyncTransport>;
    let trial = Trial::new(source).unwrap();
    let mut asking = Box::pin(trial.run_async(&stack, request, &terms));
    let come = within(async {
        tokio::select! {
            answer = &mut asking => panic!("{answer:?}"),
            come = stuck(&trial, when) => come,
        }
    });
    let come = come.await;
    if end == End::Stop {
        trial.stop();
    }
    drop(asking);
    come
}

async fn stuck<T>(trial: &Trial, when: impl Future<Output = T>) -> T {
    let come = when.await;
    // Everything runs on this thread: what can go on does so in between.
    let (mut sent, mut still) = (trial.sent(), 0);
    while still < 100 {
        tokio::task::yield_now().await;
        still = if trial.sent() == sent { still + 1 } else { 0 };
        sent = trial.sent();
    }
    come
}

#[tokio::test]
async fn a_connection_that_is_not_read_from() {
    for end in [End::Stop, End::Drop] {
        let (listener, url) = listen("/files/1").await;
        let (source, released) = Watched::new(MUCH);
        let serving = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_head(&mut stream).await;
            stream
        };
        let asked = append(&url, MUCH as u64);
        let mut stream = end_when(&Client::new(), asked, source, end, serving).await;
        released.soon().await;
        // What the system still had is gone too.
        let (_, how) = read_out(&mut stream).await;
        assert_eq!(how.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn a_connection_that_is_not_answered_on() {
    for end in [End::Stop, End::Drop] {
        let (listener, url) = listen("/files/1").await;
        let (source, released) = Watched::new(100_000);
        let serving = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_head(&mut stream).await;
            stream.read_exact(&mut vec![0; 100_000]).await.unwrap();
            stream
        };
        let asked = append(&url, 100_000);
        let mut stream = end_when(&Client::new(), asked, source, end, serving).await;
        released.soon().await;
        let (read, how) = read_out(&mut stream).await;
        assert_eq!(read, 0);
        assert_eq!(how.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn a_connection_that_is_being_made() {
    for end in [End::Stop, End::Drop] {
        let endless = Endless::default();
        let client = Client::with_connector(endless.clone());
        let asked = creation("http://h.test/files/", 5);
        end_when(&client, asked, "hello", end, endless.begun.notified()).await;
        within(endless.left.notified()).await;
    }
}

#[tokio::test]
async fn a_connection_of_another_connector() {
    let (listener, url) = listen("/files/1").await;
    let (source, released) = Watched::new(MUCH);
    let client = Client::with_connector(HttpConnector::new());
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        stream
    };
    let asked = append(&url, MUCH as u64);
    let mut stream = end_when(&client, asked, source, End::Stop, serving).await;
    released.soon().await;
    assert!(read_out(&mut stream).await.0 < MUCH);
}

// hyper takes nothing more, and closes once what it has is written.
#[tokio::test]
async fn a_connection_of_the_callers_client() {
    let (listener, url) = listen("/files/1").await;
    let (source, released) = Watched::new(MUCH);
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        // So long that the system's buffers have grown.
        let mut read = vec![0; 16 << 20];
        stream.read_exact(&mut read).await.unwrap();
        stream
    };
    let client = Client::from(plain());
    let asked = append(&url, MUCH as u64);
    let mut stream = end_when(&client, asked, source, End::Stop, serving).await;
    let (read, how) = read_out(&mut stream).await;
    println!("{read} bytes came after the stop");
    assert!(read < MUCH - (16 << 20), "{read}");
    how.unwrap();
    released.soon().await;
}

#[tokio::test]
async fn what_was_answered_before_its_end() {
    for client in clients() {
        let (listener, url) = listen("/files/1").await;
        let (source, released) = Watched::new(MUCH);
        let asking = exchange(&client, append(&url, MUCH as u64), source);
        let serving = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_head(&mut stream).await;
            let refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(refusal).await.unwrap();
            stream
        };
        let (answer, mut stream) = within(async { tokio::join!(asking, serving) }).await;
        assert_eq!(answer.unwrap().status(), 403);
        // It would have read all of it.
        assert!(read_out(&mut stream).await.0 < MUCH);
        released.soon().await;
    }
}
