//! Several exchanges on one connection.

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tus_hyper::hyper_util::client::legacy;
use tus_hyper::hyper_util::rt::TokioExecutor;
use tus_hyper::{Client, Connector};
use tus_proto::{Algorithm, FailureKind};

use crate::peer::{Watched, append, bytes, creation, exchange, listen, probe, within};
use crate::stop::{End, end_when};

const MUCH: usize = 64 << 20;

/// A client that knows that HTTP/2 is spoken there, over connections of ours.
fn client() -> Client {
    let hyper = legacy::Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build(Connector::tcp());
    Client::from(hyper)
}

type Asked = (Request<RecvStream>, SendResponse<Bytes>);

/// A connection as a server has it: what comes in, and its end.
struct Served {
    asked: mpsc::UnboundedReceiver<Asked>,
    end: JoinHandle<()>,
}

impl Served {
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = within(listener.accept()).await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (tell, asked) = mpsc::unbounded_channel();
        let end = tokio::spawn(async move {
            while let Some(Ok(next)) = connection.accept().await {
                let _ = tell.send(next);
            }
        });
        Self { asked, end }
    }

    async fn next(&mut self) -> Asked {
        within(self.asked.recv()).await.unwrap()
    }
}

fn answer(mut respond: SendResponse<Bytes>, status: u16) {
    let response = Response::builder().status(status).body(()).unwrap();
    respond.send_response(response, true).unwrap();
}

/// Reads a body to its end.
async fn read(body: &mut RecvStream) -> Vec<u8> {
    let mut read = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        read.extend_from_slice(&piece);
    }
    read
}

#[tokio::test]
async fn lengths_are_exact() {
    let (listener, url) = listen("/files/1").await;
    let head = probe(&url);
    let mut delete = head.clone();
    *delete.0.method_mut() = http::Method::DELETE;
    for (asked, length) in [
        (creation(&url, 5), Some("0")),
        (append(&url, 300_000), Some("300000")),
        (head, None),
        (delete, None),
    ] {
        let asking = tokio::spawn(async move { exchange(&client(), asked, bytes(300_000)).await });
        let mut served = Served::accept(&listener).await;
        let (mut request, respond) = served.next().await;
        let field = request.headers().get("content-length").cloned();
        assert_eq!(field.as_ref().map(|value| value.to_str().unwrap()), length);
        let sent = read(request.body_mut()).await;
        assert_eq!(sent.len().to_string(), length.unwrap_or("0"));
        assert!(sent[..] == bytes(300_000)[..sent.len()]);
        answer(respond, 204);
        assert_eq!(asking.await.unwrap().unwrap().status(), 204);
    }
}

#[tokio::test]
async fn a_digest_goes_out_as_a_trailer() {
    let (listener, url) = listen("/files/1").await;
    let mut asked = append(&url, 100_000);
    asked.0.headers_mut().remove("content-length");
    asked.1.trailer = Some(Algorithm::SHA1);
    let asking = tokio::spawn(async move { exchange(&client(), asked, bytes(100_000)).await });
    let mut served = Served::accept(&listener).await;
    let (mut request, respond) = served.next().await;
    assert!(read(request.body_mut()).await == bytes(100_000));
    let trailers = request.body_mut().trailers().await.unwrap().unwrap();
    let digest = trailers["upload-checksum"].to_str().unwrap();
    assert!(digest.starts_with("sha1 "), "{digest}");
    answer(respond, 204);
    asking.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stop_leaves_the_siblings_alone() {
    let (listener, url) = listen("/files/1").await;
    let client = client();
    let sibling = {
        let (client, asked) = (client.clone(), append(&url, 100_000));
        tokio::spawn(async move { exchange(&client, asked, bytes(100_000)).await })
    };
    let mut served = Served::accept(&listener).await;
    let (mut of_sibling, respond) = served.next().await;

    let (source, released) = Watched::new(MUCH);
    let coming = served.next();
    let asked = append(&url, MUCH as u64);
    let (mut stopped, _) = end_when(&client, asked, source, End::Stop, coming).await;
    released.soon().await;
    let reset = loop {
        // What comes before it was there before.
        if let Err(error) = within(stopped.body_mut().data()).await.unwrap() {
            break error;
        }
    };
    assert!(reset.is_reset(), "{reset}");

    // Whoever comes now is on another connection.
    let later = {
        let (client, asked) = (client.clone(), probe(&url));
        tokio::spawn(async move { exchange(&client, asked, Bytes::new()).await })
    };
    let mut anew = Served::accept(&listener).await;
    answer(anew.next().await.1, 200);
    later.await.unwrap().unwrap();

    assert!(read(of_sibling.body_mut()).await == bytes(100_000));
    answer(respond, 204);
    assert_eq!(sibling.await.unwrap().unwrap().status(), 204);
    // The last one is gone, and with it the connection; the other one is still of use.
    within(served.end).await.unwrap();
    let later = tokio::spawn(async move { exchange(&client, probe(&url), Bytes::new()).await });
    answer(anew.next().await.1, 200);
    later.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stop_of_the_last_one_ends_the_connection() {
    for end in [End::Stop, End::Drop] {
        let (listener, url) = listen("/files/1").await;
        let (source, released) = Watched::new(MUCH);
        let coming = async {
            let mut served = Served::accept(&listener).await;
            (served.next().await, served)
        };
        let asked = append(&url, MUCH as u64);
        let (_, served) = end_when(&client(), asked, source, end, coming).await;
        released.soon().await;
        within(served.end).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_answered_before_its_end_is_left() {
    let (listener, url) = listen("/files/1").await;
    let (source, released) = Watched::new(MUCH);
    let asked = append(&url, MUCH as u64);
    let asking = tokio::spawn(async move { exchange(&client(), asked, source).await });
    let mut served = Served::accept(&listener).await;
    // Its window is full, and it is neither reset nor read.
    let (_request, respond) = served.next().await;
    answer(respond, 403);
    assert_eq!(within(asking).await.unwrap().unwrap().status(), 403);
    released.soon().await;
    within(served.end).await.unwrap();
}

#[tokio::test]
async fn a_refused_stream_was_not_sent() {
    for (reason, kind) in [
        (Reason::REFUSED_STREAM, FailureKind::NotSent),
        (Reason::INTERNAL_ERROR, FailureKind::Lost),
        (Reason::NO_ERROR, FailureKind::Lost),
    ] {
        let (listener, url) = listen("/files/1").await;
        let asked = append(&url, 5);
        let asking = tokio::spawn(async move { exchange(&client(), asked, "hello").await });
        let mut served = Served::accept(&listener).await;
        served.next().await.1.send_reset(reason);
        let failure = within(asking).await.unwrap().unwrap_err();
        assert_eq!(failure.kind, kind, "{failure}");
    }
}

#[tokio::test]
async fn a_refused_stream_leaves_its_connection_of_use() {
    let (listener, url) = listen("/files/1").await;
    let client = client();
    let asking = {
        let (client, asked) = (client.clone(), append(&url, MUCH as u64));
        tokio::spawn(async move { exchange(&client, asked, vec![0; MUCH]).await })
    };
    let mut served = Served::accept(&listener).await;
    // In mid-body: its window is full.
    let (_request, mut respond) = served.next().await;
    respond.send_reset(Reason::REFUSED_STREAM);
    let failure = within(asking).await.unwrap().unwrap_err();
    assert_eq!(failure.kind, FailureKind::NotSent, "{failure}");
    let later = tokio::spawn(async move { exchange(&client, probe(&url), Bytes::new()).await });
    answer(served.next().await.1, 200);
    later.await.unwrap().unwrap();
}

/// Reads frames until one of this type has come.
async fn read_frame(stream: &mut TcpStream, wanted: u8) {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await.unwrap();
        if head[3] == wanted {
            return;
        }
    }
}

#[tokio::test]
async fn what_is_above_the_last_stream_of_a_server_that_goes_away_was_not_sent() {
    const HEADERS: u8 = 1;
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    for (last, kind) in [(0, FailureKind::NotSent), (1, FailureKind::Lost)] {
        let (listener, url) = listen("/files/1").await;
        let asked = append(&url, 5);
        let asking = tokio::spawn(async move { exchange(&client(), asked, "hello").await });
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut [0; 24]).await.unwrap();
        stream.write_all(&SETTINGS).await.unwrap();
        read_frame(&mut stream, HEADERS).await;
        let go_away = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, last, 0, 0, 0, 0];
        stream.write_all(&go_away).await.unwrap();
        stream.shutdown().await.unwrap();
        let failure = within(asking).await.unwrap().unwrap_err();
        assert_eq!(failure.kind, kind, "{failure}");
    }
}

#[tokio::test]
async fn a_lost_connection_is_seen_though_a_pong_is_owed() {
    // The widest windows there are, for the stream and for the connection.
    const SETTINGS: &[u8] = &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff];
    const WINDOW: &[u8] = &[0, 0, 4, 8, 0, 0, 0, 0, 0, 0x7f, 0xff, 0, 0];
    const PING: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let (listener, url) = listen("/files/1").await;
    let client = client();
    let asking = exchange(&client, append(&url, MUCH as u64), vec![0; MUCH]);
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream
            .write_all(&[SETTINGS, WINDOW].concat())
            .await
            .unwrap();
        // All buffers on the way fill up.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        stream.write_all(PING).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        // With much unread, so that it is reset.
        drop(stream);
    };
    let (failure, ()) = within(async { tokio::join!(asking, serving) }).await;
    assert_eq!(failure.unwrap_err().kind, FailureKind::Lost);
}

#[tokio::test]
async fn a_head_is_not_kept_whatever_its_length() {
    for length in [64 << 10, 4 << 20] {
        let (listener, url) = listen("/files/1").await;
        let asking = tokio::spawn(async move { exchange(&client(), probe(&url), "").await });
        let mut served = Served::accept(&listener).await;
        let (_request, mut respond) = served.next().await;
        let long = Response::builder().header("x-long", "a".repeat(length));
        // It may have gone before it has it all.
        let _ = respond.send_response(long.body(()).unwrap(), true);
        let failure = within(asking).await.unwrap().unwrap_err();
        assert_eq!(failure.kind, FailureKind::Lost, "{failure}");
    }
}

#[tokio::test]
async fn a_head_without_an_end_ends_the_connection() {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const HEADERS: u8 = 1;
    const MOST: usize = 16 << 20;
    let (listener, url) = listen("/files/1").await;
    let asking = tokio::spawn(async move { exchange(&client(), probe(&url), "").await });
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.read_exact(&mut [0; 24]).await.unwrap();
    stream.write_all(&SETTINGS).await.unwrap();
    read_frame(&mut stream, HEADERS).await;
    // `:status: 200`, and then `a: a` in frames that never say that the head ends.
    stream
        .write_all(&[0, 0, 1, 1, 0, 0, 0, 0, 1, 0x88])
        .await
        .unwrap();
    let field = [0, 1, b'a', 1, b'a'].repeat(3_000);
    let length = u16::try_from(field.len()).unwrap().to_be_bytes();
    let frame = [&[0, length[0], length[1], 9, 0, 0, 0, 0, 1], &field[..]].concat();
    let mut written = 0;
    while written < MOST && stream.write_all(&frame).await.is_ok() {
        written += frame.len();
    }
    assert!(written < MOST, "it takes whatever comes");
    let failure = within(asking).await.unwrap().unwrap_err();
    assert_eq!(failure.kind, FailureKind::Lost, "{failure}");
}
