//! One exchange: what is on the wire, and what is made of the answer.

use std::future::{Ready, ready};
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tower_service::Service;
use tus_driver::{AsyncTransport, Trial};
use tus_hyper::hyper::rt::ReadBufCursor;
use tus_hyper::hyper_util::client::legacy;
use tus_hyper::hyper_util::client::legacy::connect::{Connected, Connection};
use tus_hyper::hyper_util::rt::{TokioExecutor, TokioIo};
use tus_hyper::{Client, Connector, hyper};
use tus_proto::{Algorithm, FailureKind, MAX_ANSWER_BODY};
use tus_testkit::{Loopback, Options, Proxy, ProxyPlan, Scripted, Server, Step};

use crate::peer::{
    append, bytes, clients, creation, exchange, listen, plain, probe, read_head, read_out, within,
};

fn answered(answer: &str) -> Vec<Step> {
    vec![Step::ReadHead, Step::write(answer), Step::Close]
}

fn sent(peer: &Scripted) -> String {
    String::from_utf8(peer.read()[0].clone())
        .unwrap()
        .to_ascii_lowercase()
}

#[tokio::test]
async fn a_request_without_a_body_says_so() {
    for client in clients() {
        let created = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
        let peer = Scripted::start([answered(created)]);
        let asked = creation(&peer.url("/files/"), 5);
        exchange(&client, asked, Bytes::new()).await.unwrap();
        let sent = sent(&peer);
        assert!(sent.starts_with("post /files/ http/1.1\r\n"), "{sent}");
        assert_eq!(sent.matches("content-length: 0\r\n").count(), 1, "{sent}");
        assert_eq!(sent.matches("host: ").count(), 1, "{sent}");
        for not in [
            "transfer-encoding",
            "expect",
            "accept-encoding",
            "content-type",
        ] {
            assert!(!sent.contains(not), "{not} is in {sent}");
        }
    }
}

#[tokio::test]
async fn head_and_delete_announce_no_body() {
    for method in ["HEAD", "DELETE"] {
        let peer = Scripted::start([answered("HTTP/1.1 204 No Content\r\n\r\n")]);
        let mut asked = probe(&peer.url("/files/1"));
        *asked.0.method_mut() = method.parse().unwrap();
        exchange(&Client::new(), asked, Bytes::new()).await.unwrap();
        let sent = sent(&peer);
        assert!(
            !sent.contains("content-length") && !sent.contains("transfer-encoding"),
            "{sent}"
        );
    }
}

#[tokio::test]
async fn a_body_goes_out_whole_and_unchunked() {
    for client in clients() {
        let peer = Scripted::start([vec![
            Step::ReadHead,
            Step::Read(300_000),
            Step::write("HTTP/1.1 204 No Content\r\nUpload-Offset: 300000\r\n\r\n"),
            Step::Close,
        ]]);
        let asked = append(&peer.url("/files/1"), 300_000);
        let answer = exchange(&client, asked, bytes(300_000)).await.unwrap();
        assert_eq!(answer.headers()["upload-offset"], "300000");
        let sent = &peer.read()[0];
        let head = sent.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        assert_eq!(sent[head..], bytes(300_000));
        let head = String::from_utf8_lossy(&sent[..head]).to_ascii_lowercase();
        assert_eq!(head.matches("content-length: 300000\r\n").count(), 1);
        assert!(!head.contains("transfer-encoding"), "{head}");
    }
}

// K3; R2.
#[tokio::test]
async fn a_digest_goes_out_as_a_trailer() {
    for client in clients() {
        let loopback = Loopback::start(Server::new(Options::default()));
        let content = bytes(200_000);
        client
            .upload(loopback.endpoint())
            .config(|config| {
                config.checksums = vec![Algorithm::SHA1];
                config.creation_body = 0;
            })
            .send(content.clone())
            .await
            .unwrap();
        let server = loopback.server();
        assert!(server.uploads().next().unwrap().content() == content);
        let patch = server.log().last().unwrap();
        assert_eq!(patch.headers["trailer"], "Upload-Checksum");
        assert_eq!(patch.headers["transfer-encoding"], "chunked");
        for not in ["content-length", "upload-checksum"] {
            assert!(!patch.headers.contains_key(not), "{not}");
        }
        assert!(patch.trailers.contains_key("upload-checksum"));
    }
}

#[tokio::test]
async fn no_status_is_an_error_and_no_redirect_is_followed() {
    for client in clients() {
        for status in [200, 303, 307, 308, 400, 404, 500, 503] {
            let answer = format!(
                "HTTP/1.1 {status} Some\r\nLocation: /elsewhere\r\nContent-Length: 5\r\n\r\nwords"
            );
            let peer = Scripted::start([answered(&answer)]);
            let asked = creation(&peer.url("/files/"), 5);
            let answer = exchange(&client, asked, Bytes::new()).await.unwrap();
            assert_eq!(answer.status(), status);
            assert_eq!(answer.headers()["location"], "/elsewhere");
            assert_eq!(answer.body(), "words");
            assert_eq!(peer.read().len(), 1);
        }
    }
}

#[tokio::test]
async fn header_fields_pass_as_they_are() {
    let peer = Scripted::start([answered(
        "HTTP/1.1 204 No Content\r\nX-A: 1\r\nx-a: 2\r\nX-B: caf\u{e9}\r\n\r\n",
    )]);
    let mut asked = probe(&peer.url("/files/1"));
    let fields = asked.0.headers_mut();
    fields.append("x-c", "1".parse().unwrap());
    fields.append("x-c", "2".parse().unwrap());
    fields.append("user-agent", "mine".parse().unwrap());
    let answer = exchange(&Client::new(), asked, Bytes::new()).await.unwrap();
    let values: Vec<_> = answer.headers().get_all("x-a").iter().collect();
    assert_eq!(values, ["1", "2"]);
    assert_eq!(answer.headers()["x-b"].as_bytes(), "caf\u{e9}".as_bytes());
    let sent = sent(&peer);
    assert!(
        sent.contains("x-c: 1\r\n") && sent.contains("x-c: 2\r\n"),
        "{sent}"
    );
    assert_eq!(sent.matches("user-agent: ").count(), 1, "{sent}");
    assert!(sent.contains("user-agent: mine\r\n"), "{sent}");
}

#[tokio::test]
async fn interim_answers_are_passed_on() {
    let peer = Scripted::start([vec![
        Step::ReadHead,
        Step::write("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"),
        Step::write("HTTP/1.1 204 No Content\r\nUpload-Offset: 3\r\n\r\n"),
        Step::Close,
    ]]);
    let (request, terms) = probe(&peer.url("/files/1"));
    let trial = Trial::new(Bytes::new()).unwrap();
    let stack = Arc::new(Client::new()) as Arc<dyn AsyncTransport>;
    let answer = trial.run_async(&stack, request, &terms).await.unwrap();
    assert_eq!(answer.status(), 204);
    let interims = trial.interims();
    assert_eq!(interims.len(), 2);
    assert_eq!(interims[0].status(), 102);
    assert_eq!(interims[1].status(), 103);
    assert_eq!(interims[1].headers()["link"], "<a>");
}

#[tokio::test]
async fn the_answers_body_is_bounded() {
    let much = "a".repeat(MAX_ANSWER_BODY + 10_000);
    for head in [
        "HTTP/1.1 500 Oh\r\nContent-Length: 1000000000000\r\n\r\n",
        // The end is where the connection ends, and it never does.
        "HTTP/1.1 500 Oh\r\n\r\n",
    ] {
        let (listener, url) = listen("/files/").await;
        let client = Client::new();
        let asking = exchange(&client, creation(&url, 5), Bytes::new());
        let serving = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_head(&mut stream).await;
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(much.as_bytes()).await.unwrap();
            stream
        };
        let (answer, mut stream) = within(async { tokio::join!(asking, serving) }).await;
        assert_eq!(answer.unwrap().body().len(), MAX_ANSWER_BODY);
        // What is left unread costs the connection.
        let _ = read_out(&mut stream).await;
    }
}

#[tokio::test]
async fn a_head_is_a_fact_whatever_becomes_of_its_body() {
    for end in [Step::Reset, Step::Close, Step::Hold] {
        let peer = Scripted::start([vec![
            Step::ReadHead,
            Step::write("HTTP/1.1 201 Created\r\nLocation: /1\r\nContent-Length: 100\r\n\r\nwor"),
            end,
        ]]);
        let mut asked = creation(&peer.url("/files/"), 5);
        asked.1.answer = Duration::from_millis(100);
        let answer = exchange(&Client::new(), asked, Bytes::new()).await.unwrap();
        assert_eq!(answer.headers()["location"], "/1");
    }
}

// Traps of the clients before, no. 14.
#[tokio::test]
async fn an_answer_in_mid_body_is_read() {
    let refusal = "HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nwords";
    for end in [Step::Reset, Step::Close, Step::Hold] {
        for _ in 0..20 {
            let peer = Scripted::start([vec![
                Step::ReadHead,
                Step::Read(100_000),
                Step::write(refusal),
                end.clone(),
            ]]);
            let asked = append(&peer.url("/files/1"), 64 << 20);
            let client = Client::new();
            let answer = within(exchange(&client, asked, vec![0; 64 << 20])).await;
            assert_eq!(answer.unwrap().status(), 413, "{end:?}");
        }
    }
}

#[tokio::test]
async fn what_the_server_may_have_seen_is_lost() {
    for steps in [
        vec![Step::ReadHead, Step::Close],
        vec![Step::ReadHead, Step::Reset],
        vec![Step::ReadHead, Step::write("HTTP/1.1 2"), Step::Close],
        vec![
            Step::ReadHead,
            Step::write("SSH-2.0-OpenSSH\r\n\r\n"),
            Step::Close,
        ],
        vec![Step::Read(1), Step::Reset],
    ] {
        for client in clients() {
            let peer = Scripted::start([steps.clone()]);
            let asked = append(&peer.url("/files/1"), 5);
            let failure = exchange(&client, asked, "hello").await.unwrap_err();
            assert_eq!(failure.kind, FailureKind::Lost, "{failure}: {steps:?}");
        }
    }
}

#[tokio::test]
async fn what_it_cannot_have_seen_is_not_sent() {
    // A port that was just given back: nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for url in [
        format!("http://{address}/files/"),
        "http://tus.invalid/files/".to_owned(),
    ] {
        for client in clients() {
            let asked = creation(&url, 5);
            let failure = exchange(&client, asked, Bytes::new()).await.unwrap_err();
            assert_eq!(failure.kind, FailureKind::NotSent, "{failure}");
        }
    }
}

// S2.
#[tokio::test]
async fn what_is_for_https_is_not_sent_in_the_clear() {
    let peer = Scripted::start([answered("HTTP/1.1 204 No Content\r\n\r\n")]);
    let url = peer.url("/files/").replace("http:", "https:");
    let hyper = legacy::Client::builder(TokioExecutor::new()).build(Connector::tcp());
    for client in [
        Client::from(hyper),
        Client::with_connector(Connector::tcp()),
    ] {
        let failure = exchange(&client, creation(&url, 5), Bytes::new()).await;
        let failure = failure.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Hopeless, "{failure}");
    }
    assert!(peer.read().concat().is_empty());
}

#[tokio::test]
async fn a_connection_is_waited_for_as_long_as_the_terms_say() {
    let client = Client::with_connector(crate::stop::Endless::default());
    let mut asked = creation("http://h.test/files/", 5);
    asked.1.connect = Duration::from_millis(10);
    let failure = within(exchange(&client, asked, Bytes::new())).await;
    let failure = failure.unwrap_err();
    assert_eq!(failure.kind, FailureKind::NotSent);
    assert_eq!(failure.message, "no connection in time");
    // No limit at all is no trouble either.
    let peer = Scripted::start([answered("HTTP/1.1 204 No Content\r\n\r\n")]);
    let mut asked = probe(&peer.url("/files/1"));
    (asked.1.connect, asked.1.answer) = (Duration::MAX, Duration::MAX);
    exchange(&Client::new(), asked, Bytes::new()).await.unwrap();
}

#[tokio::test]
async fn connections_are_used_again_unless_a_fresh_one_is_asked_for() {
    let client = Client::new();
    let loopback = Loopback::start(Server::new(Options::default()));
    let proxy = Proxy::start(loopback.address(), ProxyPlan::default());
    for (fresh, connections) in [(false, 1), (false, 1), (true, 2), (false, 2)] {
        let mut asked = creation(&proxy.url("/files/"), 5);
        asked.1.fresh = fresh;
        exchange(&client, asked, Bytes::new()).await.unwrap();
        assert_eq!(proxy.connections(), connections);
    }
}

#[tokio::test]
async fn a_connection_that_is_misdirected_is_not_used_again() {
    for client in clients() {
        let misdirected = "HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\n\r\n";
        let peer = Scripted::start([
            vec![Step::ReadHead, Step::write(misdirected), Step::Hold],
            answered("HTTP/1.1 204 No Content\r\n\r\n"),
        ]);
        for status in [421, 204] {
            let asked = probe(&peer.url("/files/1"));
            let answer = within(exchange(&client, asked, Bytes::new())).await;
            assert_eq!(answer.unwrap().status(), status);
        }
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_costs_nothing() {
    for client in clients() {
        for _ in 0..50 {
            // It says that it stays open, and closes.
            let kept = "HTTP/1.1 204 No Content\r\n\r\n";
            let (listener, url) = listen("/files/1").await;
            let asking = exchange(&client, probe(&url), Bytes::new());
            let serving = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                read_head(&mut stream).await;
                stream.write_all(kept.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
                // The client has seen that it is closed.
                read_out(&mut stream).await.1.unwrap();
            };
            tokio::join!(asking, serving).0.unwrap();
            let asking = exchange(&client, probe(&url), Bytes::new());
            let serving = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                read_head(&mut stream).await;
                stream.write_all(kept.as_bytes()).await.unwrap();
            };
            within(async { tokio::join!(asking, serving) })
                .await
                .0
                .unwrap();
        }
    }
}

/// A connector to one peer, which serves it once.
#[derive(Clone)]
struct Once(Arc<Mutex<Option<Pipe>>>);

struct Pipe(TokioIo<DuplexStream>);

impl Service<Uri> for Once {
    type Response = Pipe;
    type Error = io::Error;
    type Future = Ready<io::Result<Pipe>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let pipe = self.0.lock().unwrap().take();
        ready(pipe.ok_or(io::ErrorKind::ConnectionRefused.into()))
    }
}

impl Connection for Pipe {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn what_neither_an_old_connection_nor_a_new_one_took_is_not_sent() {
    let (ours, mut theirs) = tokio::io::duplex(64 << 10);
    let pipe = Pipe(TokioIo::new(ours));
    let client = Client::with_connector(Once(Arc::new(Mutex::new(Some(pipe)))));
    let url = "http://h.test/files/1";
    let serving = async {
        read_head(&mut theirs).await;
        let kept = b"HTTP/1.1 204 No Content\r\n\r\n";
        theirs.write_all(kept).await.unwrap();
    };
    let asking = exchange(&client, probe(url), Bytes::new());
    tokio::join!(asking, serving).0.unwrap();
    // Everything runs on this thread: in between the connection goes back to the pool.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    // That it is closed is not seen before the next request is on its way to it.
    drop(theirs);
    let failure = exchange(&client, probe(url), Bytes::new()).await;
    let failure = failure.unwrap_err();
    assert_eq!(failure.kind, FailureKind::NotSent, "{failure}");
}

#[test]
#[should_panic(expected = "must be called from the context of a Tokio 1.x runtime")]
fn outside_of_a_runtime_it_says_so() {
    let sending = Client::from(plain()).inspect("http://127.0.0.1:1/1").send();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let _ = std::pin::pin!(sending).poll(&mut context);
}
