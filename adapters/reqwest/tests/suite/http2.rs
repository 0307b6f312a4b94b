//! The same over HTTP/2.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{self, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tus_driver::ALGORITHMS;
use tus_proto::FailureKind;
use tus_reqwest::{Client, reqwest::ClientBuilder};
use tus_testkit::{Scripted, Step};

use crate::peer::{Watched, append, ask, bytes, creation, exchange, probe};
use crate::stop::{LENGTH, begin_and_stop};

/// One that speaks HTTP/2 without asking.
fn client() -> Client {
    Client::with_builder(ClientBuilder::http2_prior_knowledge)
}

type Stream = (Request<RecvStream>, SendResponse<Bytes>);

/// Gives away each stream of each connection, with the connection's number.
async fn peer() -> (String, mpsc::UnboundedReceiver<(usize, Stream)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/files/", listener.local_addr().unwrap());
    let (tell, streams) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut connection = server::handshake(stream).await.unwrap();
                while let Some(Ok(stream)) = connection.accept().await {
                    let _ = tell.send((number, stream));
                }
            });
        }
    });
    (url, streams)
}

/// Reads a body to its end; with an error, where it ends in one.
async fn read(body: &mut RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        all.extend_from_slice(&data);
    }
    Ok((all, body.trailers().await?))
}

fn say(respond: &mut SendResponse<Bytes>, status: u16, offset: u64) {
    let answer = Response::builder().status(status);
    let answer = answer.header("upload-offset", offset).body(()).unwrap();
    respond.send_response(answer, true).unwrap();
}

#[tokio::test]
async fn lengths_are_exact() {
    let client = client();
    let (url, mut streams) = peer().await;
    let mut delete = probe(&url);
    *delete.0.method_mut() = http::Method::DELETE;
    for (asked, length) in [
        (append(&url, 300_000), Some("300000")),
        (creation(&url, 5), Some("0")),
        (probe(&url), None),
        (delete, None),
    ] {
        let method = asked.0.method().clone();
        let size = usize::try_from(asked.0.body().end).unwrap();
        let serve = async {
            let (number, (mut request, mut respond)) = streams.recv().await.unwrap();
            assert_eq!(number, 0, "a second connection");
            assert_eq!(request.method(), method);
            assert_eq!(request.uri().path(), "/files/");
            let announced = request.headers().get("content-length");
            assert_eq!(announced.map(|value| value.to_str().unwrap()), length);
            let (body, _) = read(request.body_mut()).await.unwrap();
            assert!(body == bytes(size));
            say(&mut respond, 204, 7);
        };
        let (answer, ()) = tokio::join!(exchange(&client, asked, bytes(size)), serve);
        assert_eq!(answer.unwrap().headers()["upload-offset"], "7");
    }
}

#[tokio::test]
async fn a_checksum_follows_the_body_it_is_of() {
    let (url, mut streams) = peer().await;
    let (mut request, mut terms) = append(&url, 5);
    request.headers_mut().remove("content-length");
    let announced = "Upload-Checksum".parse().unwrap();
    request.headers_mut().insert("trailer", announced);
    terms.trailer = ALGORITHMS
        .iter()
        .find(|known| known.as_str() == "sha1")
        .cloned();
    let serve = async {
        let (_, (mut request, mut respond)) = streams.recv().await.unwrap();
        assert_eq!(request.headers()["trailer"], "Upload-Checksum");
        assert!(!request.headers().contains_key("content-length"));
        let (body, trailers) = read(request.body_mut()).await.unwrap();
        assert_eq!(body, b"hello");
        let checksum = "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00=";
        assert_eq!(trailers.unwrap()["upload-checksum"], checksum);
        say(&mut respond, 204, 5);
    };
    let client = client();
    let (answer, ()) = tokio::join!(exchange(&client, (request, terms), "hello"), serve);
    assert_eq!(answer.unwrap().status(), 204);
}

#[tokio::test]
async fn a_stop_resets_the_stream_and_leaves_the_connection_to_others() {
    let client = client();
    let (url, mut streams) = peer().await;
    let sibling = tokio::spawn({
        let (client, probe) = (client.clone(), probe(&url));
        async move { ask(&client, probe).await }
    });
    let (_, (_, mut respond)) = streams.recv().await.unwrap();
    // More than the stream's window: it waits for leave to go on.
    let released = begin_and_stop(&client, append(&url, LENGTH), 65_536).await;
    released.wait().await;
    let serve = async {
        let (number, (mut request, _respond)) = streams.recv().await.unwrap();
        assert_eq!(number, 0, "a second connection");
        let error = read(request.body_mut()).await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::CANCEL), "{error}");
        let (number, (_, mut respond)) = streams.recv().await.unwrap();
        assert_eq!(number, 1, "what was stopped may have been dead");
        say(&mut respond, 204, 0);
    };
    let (answer, ()) = tokio::join!(ask(&client, probe(&url)), serve);
    assert_eq!(answer.unwrap().status(), 204);
    say(&mut respond, 204, 3);
    let answer = sibling.await.unwrap().unwrap();
    assert_eq!(answer.headers()["upload-offset"], "3");
}

#[tokio::test]
async fn a_connection_that_died_in_silence_is_not_asked_on_for_ever() {
    let (url, mut streams) = peer().await;
    tokio::spawn(async move {
        let mut unanswered = Vec::new();
        while let Some((number, (mut request, mut respond))) = streams.recv().await {
            let answer = Response::builder();
            let answer = match request.method().as_str() {
                "POST" => answer.status(201).header("location", "/files/1"),
                // As if a router on the way had forgotten it.
                _ if number == 0 => {
                    unanswered.push((request, respond));
                    continue;
                }
                "HEAD" => answer.header("upload-offset", 0).header("upload-length", 5),
                _ => {
                    let (body, _) = read(request.body_mut()).await.unwrap();
                    answer.status(204).header("upload-offset", body.len())
                }
            };
            respond
                .send_response(answer.body(()).unwrap(), true)
                .unwrap();
        }
    });
    let soon = Duration::from_millis(300);
    let done = client()
        .upload(url)
        .config(|config| {
            config.creation_body = 0;
            config.timeouts.answer = soon;
            config.timeouts.answer_to_body = soon;
            config.retry.base = Duration::from_millis(1);
            config.retry.attempts = Some(3);
        })
        .send("hello")
        .await;
    done.unwrap();
}

// PROTOCOL §4, 14.
#[tokio::test]
async fn an_answer_in_mid_body_is_read_and_ends_the_body() {
    let (url, mut streams) = peer().await;
    let serve = async {
        let (_, (mut request, mut respond)) = streams.recv().await.unwrap();
        say(&mut respond, 413, 0);
        // It is a server that would read on.
        read(request.body_mut()).await.unwrap_err();
    };
    let client = client();
    let (source, released) = Watched::new(LENGTH);
    let patch = append(&url, LENGTH);
    let (answer, ()) = tokio::join!(exchange(&client, patch, source), serve);
    assert_eq!(answer.unwrap().status(), 413);
    released.wait().await;
}

const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// The other way (RFC 9113 §8.1): a whole answer, and then word that the rest is not wanted.
#[tokio::test]
async fn an_answer_before_a_reset_is_read() {
    // The status 400 is the twelfth of the static table.
    const ANSWER: &[u8] = &[0, 0, 1, 1, 5, 0, 0, 0, 1, 0x8c];
    const RESET: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    let peer = Scripted::start([vec![
        Step::write(SETTINGS),
        // The head of the request is well among it.
        Step::Read(10_000),
        Step::write([ANSWER, RESET].concat()),
        Step::Hold,
    ]]);
    let (source, released) = Watched::new(LENGTH);
    let patch = append(&peer.url("/files/1"), LENGTH);
    let answer = exchange(&client(), patch, source).await.unwrap();
    assert_eq!(answer.status(), 400);
    released.wait().await;
}

#[tokio::test]
async fn what_the_server_refuses_unseen_is_not_sent() {
    for (reason, kind) in [
        (Reason::REFUSED_STREAM, FailureKind::NotSent),
        (Reason::INTERNAL_ERROR, FailureKind::Lost),
        (Reason::CANCEL, FailureKind::Lost),
    ] {
        let client = client();
        let (url, mut streams) = peer().await;
        let serve = async {
            let (_, (_, mut respond)) = streams.recv().await.unwrap();
            respond.send_reset(reason);
        };
        let (failure, ()) = tokio::join!(ask(&client, creation(&url, 5)), serve);
        assert_eq!(failure.unwrap_err().kind, kind, "{reason}");
        // And reqwest has not tried again.
        assert!(streams.try_recv().is_err());
    }
}

#[tokio::test]
async fn what_a_leaving_server_has_not_seen_is_not_sent() {
    // The client's preface, and the head of the frame with its settings.
    const BEGUN: u64 = 24 + 9;
    for (last, kind) in [(0, FailureKind::NotSent), (1, FailureKind::Lost)] {
        // NO_ERROR, and ENHANCE_YOUR_CALM.
        for reason in [0, 11] {
            // Why, in the server's words, which decide nothing.
            let words = b"certificate";
            let mut leave = vec![0, 0, 19, 7, 0, 0, 0, 0, 0, 0, 0, 0, last, 0, 0, 0, reason];
            leave.extend(words);
            let peer = Scripted::start([vec![
                Step::write(SETTINGS),
                Step::Read(BEGUN),
                Step::write(leave),
                Step::Close,
            ]]);
            let failure = ask(&client(), creation(&peer.url("/files/"), 5)).await;
            let failure = failure.unwrap_err();
            assert_eq!(failure.kind, kind, "{last}, {reason}: {failure}");
            assert!(!failure.message.contains("certificate"), "{failure}");
        }
    }
}

#[tokio::test]
async fn parts_share_a_connection() {
    const LENGTH: usize = 4_000_000;
    let (url, mut streams) = peer().await;
    let (connections, uploads) =
        <(Arc<AtomicUsize>, Arc<Mutex<BTreeMap<String, Vec<u8>>>>)>::default();
    let (most, shared) = (Arc::clone(&connections), Arc::clone(&uploads));
    tokio::spawn(async move {
        while let Some((number, (mut request, mut respond))) = streams.recv().await {
            most.fetch_max(number + 1, Ordering::SeqCst);
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                let path = request.uri().path().to_owned();
                let (body, _) = read(request.body_mut()).await.unwrap();
                let answer = Response::builder().header("tus-resumable", "1.0.0");
                let mut uploads = shared.lock().unwrap();
                let answer = match request.method().as_str() {
                    "OPTIONS" => answer
                        .header("tus-version", "1.0.0")
                        .header("tus-extension", "creation,concatenation"),
                    "POST" => {
                        let concat = request.headers().get("upload-concat");
                        let list = concat.and_then(|list| list.to_str().ok());
                        let parts = list.and_then(|list| list.strip_prefix("final;"));
                        let content = parts.map_or(Vec::new(), |parts| {
                            let part = |part: &str| {
                                uploads[&part[part.find("/files/").unwrap()..]].clone()
                            };
                            parts.split(' ').flat_map(part).collect()
                        });
                        let location = format!("/files/{}", uploads.len());
                        uploads.insert(location.clone(), content);
                        answer.status(201).header("location", location)
                    }
                    _ => {
                        let upload = uploads.get_mut(&path).unwrap();
                        upload.extend_from_slice(&body);
                        answer.status(204).header("upload-offset", upload.len())
                    }
                };
                respond
                    .send_response(answer.body(()).unwrap(), true)
                    .unwrap();
            });
        }
    });
    let done = client()
        .upload(url)
        .config(|config| config.parts.least = 1)
        .parallel(4)
        .send(bytes(LENGTH))
        .await
        .unwrap();
    let uploads = uploads.lock().unwrap();
    assert_eq!(uploads.len(), 5);
    assert!(uploads[done.url.as_uri().path()] == bytes(LENGTH));
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_head_is_not_kept_whatever_its_length() {
    for length in [64 << 10, 4 << 20] {
        let (url, mut streams) = peer().await;
        let serve = async {
            let (_, (request, mut respond)) = streams.recv().await.unwrap();
            let long = Response::builder().header("x-long", "a".repeat(length));
            // It may have gone before it has it all.
            let _ = respond.send_response(long.body(()).unwrap(), true);
            request
        };
        let client = client();
        let (failure, _) = tokio::join!(ask(&client, probe(&url)), serve);
        let failure = failure.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Lost, "{failure}");
    }
}

#[tokio::test]
async fn a_head_without_an_end_ends_the_connection() {
    // `:status: 200`, and then `a: a` in frames that never say that the head ends.
    let mut head = vec![0, 0, 1, 1, 0, 0, 0, 0, 1, 0x88];
    let field = [0, 1, b'a', 1, b'a'].repeat(3_000);
    let length = u16::try_from(field.len()).unwrap().to_be_bytes();
    let frame = [&[0, length[0], length[1], 9, 0, 0, 0, 0, 1], &field[..]].concat();
    head.extend(frame.repeat(1_000));
    let peer = Scripted::start([vec![
        Step::write(SETTINGS),
        // The head of the request is well among it.
        Step::Read(10_000),
        Step::write(head),
        Step::Hold,
    ]]);
    let (source, released) = Watched::new(LENGTH);
    let patch = append(&peer.url("/files/1"), LENGTH);
    let client = client();
    let asked = exchange(&client, patch, source);
    let ended = tokio::time::timeout(Duration::from_secs(20), asked).await;
    let failure = ended.expect("it takes whatever comes").unwrap_err();
    assert_eq!(failure.kind, FailureKind::Lost, "{failure}");
    released.wait().await;
}
