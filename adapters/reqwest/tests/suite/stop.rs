//! What becomes of an exchange that must end. There is nothing to take back what the system has; all else
//! is to go no further.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::task::yield_now;
use tokio::time::timeout;
use tus_driver::{AsyncTransport, Trial};
use tus_proto::{Body, Terms};
use tus_reqwest::Client;
use tus_reqwest::reqwest::dns::{Name, Resolve, Resolving};

use crate::peer::{PATIENCE, Released, Watched, append, ask, clients, probe};

/// Far more than any buffers hold.
pub(crate) const LENGTH: u64 = 1 << 40;
/// More than all buffers on the way hold.
pub(crate) const BUFFERS: usize = 256 << 20;

/// Begins to send, and is stopped when so many bytes have been taken. Says when nobody holds the
/// source any more.
pub(crate) async fn begin_and_stop(
    client: &Client,
    (request, terms): (http::Request<Body>, Terms),
    after: u64,
) -> Released {
    let (source, released) = Watched::new(request.body().end);
    let stack: Arc<dyn AsyncTransport> = Arc::new(client.clone());
    let trial = Trial::new(source).unwrap();
    let sent = async {
        while trial.sent() < Some(after) {
            yield_now().await;
        }
    };
    select! {
        result = trial.run_async(&stack, request, &terms) => panic!("{result:?}"),
        () = sent => trial.stop(),
    }
    released
}

async fn listening() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/files/1", listener.local_addr().unwrap());
    (listener, url)
}

/// Reads to the end, however the connection ends, and says how much there was.
pub(crate) async fn rest(mut stream: impl tokio::io::AsyncRead + Unpin) -> usize {
    let mut buf = vec![0; 1 << 16];
    let mut all = 0;
    let reading = async {
        while let Ok(read @ 1..) = stream.read(&mut buf).await {
            all += read;
        }
    };
    timeout(PATIENCE, reading)
        .await
        .expect("the connection is still open");
    all
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_given_no_more_than_the_buffers_hold() {
    for client in clients() {
        let (listener, url) = listening().await;
        let released = begin_and_stop(&client, append(&url, LENGTH), 1 << 20).await;
        let (stream, _) = listener.accept().await.unwrap();
        assert!(rest(stream).await < BUFFERS);
        released.wait().await;
    }
}

/// hyper writes what it holds before it closes, and here it never can.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_peer_that_never_reads_is_left_when_the_system_gives_up() {
    let limit = std::time::Duration::from_millis(100);
    let client = Client::with_builder(move |builder| builder.tcp_user_timeout(limit));
    let (_listener, url) = listening().await;
    let released = begin_and_stop(&client, append(&url, LENGTH), 1 << 20).await;
    released.wait().await;
}

#[tokio::test]
async fn a_peer_that_does_not_answer_is_left_at_once() {
    for client in clients() {
        let (listener, url) = listening().await;
        let peer = tokio::spawn(async move { rest(listener.accept().await.unwrap().0).await });
        let released = begin_and_stop(&client, append(&url, 100_000), 100_000).await;
        released.wait().await;
        assert!(peer.await.unwrap() > 100_000);
    }
}

/// Knows no host, and goes on looking.
#[derive(Clone)]
struct Looking;

impl Resolve for Looking {
    fn resolve(&self, _: Name) -> Resolving {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_connection_that_is_not_there_yet_is_not_waited_for() {
    let client = Client::with_builder(|builder| builder.dns_resolver(Looking));
    let released = begin_and_stop(&client, append("http://tus.test/files/1", LENGTH), 0).await;
    released.wait().await;
}

#[tokio::test]
async fn a_stopped_client_is_still_of_use() {
    for client in clients() {
        let (listener, url) = listening().await;
        begin_and_stop(&client, append(&url, LENGTH), 1 << 20).await;
        let answer = async {
            let _stopped = listener.accept().await.unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            answer(&mut stream).await;
        };
        let (answered, ()) = tokio::join!(ask(&client, probe(&url)), answer);
        assert_eq!(answered.unwrap().status(), 204);
    }
}

async fn answer(stream: &mut TcpStream) {
    let mut said = Vec::new();
    while !said.ends_with(b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut said).await.unwrap(), 0);
    }
    let answer = b"HTTP/1.1 204 No Content\r\nUpload-Offset: 0\r\n\r\n";
    stream.write_all(answer).await.unwrap();
}
