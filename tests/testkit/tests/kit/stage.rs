//! The peers of the conformance suite, over every carrier.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use http::{HeaderMap, Request, Response};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tus_testkit::{
    Act, Authority, Carrier, End, Location, Loopback, Options, Quirk, Server, Stage,
};

use crate::loopback::eventually;

const LONG: Duration = Duration::from_secs(20);

/// A client without manners, over HTTP/2.
struct Client {
    runtime: Runtime,
    requests: SendRequest<Bytes>,
}

impl Client {
    fn connect(address: std::net::SocketAddr, trusts: Option<&Authority>) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let requests = runtime.block_on(async {
            let stream = TcpStream::connect(address).await.unwrap();
            let Some(authority) = trusts else {
                let (requests, connection) = h2::client::handshake(stream).await.unwrap();
                tokio::spawn(connection);
                return requests;
            };
            let connector = tokio_rustls::TlsConnector::from(Arc::new(config(authority, b"h2")));
            let name = ServerName::try_from("127.0.0.1").unwrap();
            let stream = connector.connect(name, stream).await.unwrap();
            let (requests, connection) = h2::client::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            requests
        });
        Self { runtime, requests }
    }

    fn send(&mut self, request: Request<()>, end: bool) -> (ResponseFuture, SendStream<Bytes>) {
        self.requests.send_request(request, end).unwrap()
    }

    fn answer(&self, answer: ResponseFuture) -> Result<Response<Bytes>, h2::Error> {
        self.runtime.block_on(async {
            let (head, mut body) = answer.await?.into_parts();
            let mut words = Vec::new();
            while let Some(data) = body.data().await {
                let data = data?;
                body.flow_control().release_capacity(data.len())?;
                words.extend_from_slice(&data);
            }
            Ok(Response::from_parts(head, words.into()))
        })
    }
}

fn config(authority: &Authority, protocol: &[u8]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from(authority.der().to_vec()))
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    config
}

fn patch(url: &str) -> Request<()> {
    Request::patch(url).body(()).unwrap()
}

#[test]
fn acts_are_played_over_http2() {
    for carrier in [Carrier::Http2, Carrier::Http2Tls] {
        let stage = Stage::start(
            carrier,
            [vec![
                Act::Interim(Response::builder().status(103).body(()).unwrap()),
                Act::ReadAll,
                Act::Head(
                    Response::builder()
                        .status(200)
                        .header("x", "1")
                        .body(())
                        .unwrap(),
                ),
                Act::Trickle("wor".into()),
                Act::Write("ds".into()),
                Act::Flood(200_000),
            ]],
        );
        let mut client = Client::connect(stage.address(), stage.authority());
        let (answer, mut body) = client.send(patch(&stage.url("/1?a")), false);
        body.send_data("hello".into(), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("upload-checksum", "none".parse().unwrap());
        body.send_trailers(trailers.clone()).unwrap();
        let answer = client.answer(answer).unwrap();
        assert_eq!(answer.headers()["x"], "1");
        assert!(answer.body().starts_with(b"wordsaaa"));
        assert_eq!(answer.body().len(), 200_005);
        let seen = stage
            .wait(LONG, |seen| seen[0].end.map(|_| seen[0].clone()))
            .unwrap();
        assert_eq!((seen.body, seen.target.as_str()), (5, "/1?a"));
        assert_eq!(seen.crc32, crc32(b"hello"));
        assert_eq!(seen.trailers, trailers);
        assert_eq!(seen.end, Some(End::Played));
        assert_eq!(stage.connections(), 1);
    }
}

const PIECE: usize = 4_000;

#[test]
fn acts_are_played_again_until_the_client_leaves() {
    for carrier in [Carrier::Http2, Carrier::Http2Tls] {
        // h2 leaves a peer whose frames hold next to nothing.
        let write = |word: &str| Act::Write(word.repeat(PIECE).into());
        let again = Act::Again(vec![write("a"), write("b")]);
        let head = Act::Head(Response::new(()));
        let stage = Stage::start(carrier, [vec![Act::ReadAll, head, again]]);
        let mut client = Client::connect(stage.address(), stage.authority());
        let (answer, _) = client.send(patch(&stage.url("/1")), true);
        let words = client.runtime.block_on(async {
            let mut body = answer.await.unwrap().into_body();
            let mut words = Vec::new();
            // More than the windows hold at once.
            while words.len() < 200_000 {
                let data = body.data().await.unwrap().unwrap();
                body.flow_control().release_capacity(data.len()).unwrap();
                words.extend_from_slice(&data);
            }
            words
        });
        for (at, word) in words.iter().enumerate() {
            let expected = if (at / PIECE).is_multiple_of(2) {
                b'a'
            } else {
                b'b'
            };
            assert_eq!(*word, expected, "at {at}");
        }
        let end = stage.wait(LONG, |seen| seen[0].end);
        assert_eq!(end, Some(End::Left));
    }
}

#[test]
fn what_is_played_again_may_come_to_an_end() {
    let again = |act| vec![Act::Again(vec![Act::Read(1), act])];
    let stage = Stage::start(Carrier::Http2, [again(Act::Reset), again(Act::Close)]);
    let mut client = Client::connect(stage.address(), None);
    let (answer, _) = client.send(patch(&stage.url("/1")), true);
    let reason = client.answer(answer).unwrap_err().reason();
    assert_eq!(reason, Some(Reason::INTERNAL_ERROR));
    let (answer, _) = client.send(patch(&stage.url("/1")), true);
    assert!(!client.answer(answer).unwrap_err().is_io());
    for at in 0..2 {
        let end = stage.wait(LONG, |seen| seen[at].end);
        assert_eq!(end, Some(End::Played));
    }
}

#[test]
fn what_does_nothing_again_waits_for_the_end() {
    for carrier in [Carrier::Http1, Carrier::Http2] {
        for acts in [vec![], vec![Act::ReadAll, Act::Hold], vec![Act::Flood(0)]] {
            let begin = || {
                let acts = [vec![Act::Again(acts.clone())]];
                let stage = Stage::start(carrier, acts);
                stage.go_on();
                let said = "PATCH /1 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello";
                let mut plain = std::net::TcpStream::connect(stage.address()).unwrap();
                let http2 = carrier.is_http2().then(|| {
                    let mut client = Client::connect(stage.address(), None);
                    let request = patch(&stage.url("/1"));
                    (client.send(request, true), client)
                });
                if http2.is_none() {
                    plain.write_all(said.as_bytes()).unwrap();
                }
                let begun = stage.wait(LONG, |seen| seen.first().map(drop));
                assert_eq!(begun, Some(()));
                (stage, plain, http2)
            };
            // The client leaves.
            let (stage, plain, http2) = begin();
            drop((plain, http2));
            let end = stage.wait(LONG, |seen| seen[0].end);
            assert_eq!(end, Some(End::Left));
            // Were the stage not to end, this test would not.
            let (stage, _plain, _http2) = begin();
            drop(stage);
        }
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let digest = tus_testkit::checksum("crc32", bytes).unwrap();
    u32::from_be_bytes(digest.try_into().unwrap())
}

#[test]
fn a_stream_is_reset_or_refused_alone() {
    for (act, reason) in [
        (Act::Reset, Reason::INTERNAL_ERROR),
        (Act::Refuse, Reason::REFUSED_STREAM),
    ] {
        let stage = Stage::start(
            Carrier::Http2,
            [
                vec![Act::Read(2), act],
                vec![Act::ReadAll, Act::answer(204, "")],
            ],
        );
        let mut client = Client::connect(stage.address(), None);
        let (answer, mut body) = client.send(patch(&stage.url("/1")), false);
        body.send_data("hello".into(), true).unwrap();
        assert_eq!(client.answer(answer).unwrap_err().reason(), Some(reason));
        let (answer, _) = client.send(patch(&stage.url("/1")), true);
        assert_eq!(client.answer(answer).unwrap().status(), 204);
        assert_eq!(stage.connections(), 1);
    }
}

#[test]
fn a_connection_ends_with_a_reset_or_in_order() {
    for act in [Act::Abort, Act::Close] {
        let stage = Stage::start(Carrier::Http2, [vec![act.clone()]]);
        let mut client = Client::connect(stage.address(), None);
        let (answer, _body) = client.send(patch(&stage.url("/1")), false);
        let error = client.answer(answer).unwrap_err();
        assert_eq!(error.is_io(), matches!(act, Act::Abort), "{error:?}");
        assert_eq!(stage.seen()[0].end, Some(End::Played));
    }
}

#[test]
fn a_stalled_exchange_ends_with_its_stream() {
    let loopback = Loopback::over(Carrier::Http2, Server::new(Options::default()));
    let target = loopback.server().place(10, 0);
    let stall = tus_testkit::Fault::Stall { after: 2 };
    loopback.set_faults(tus_testkit::FaultPlan::scripted([Some(stall)]));
    let mut client = Client::connect(loopback.address(), None);
    let request = Request::patch(loopback.url(&target))
        .header("Tus-Resumable", "1.0.0")
        .header("Content-Length", "10")
        .header("Content-Type", "application/offset+octet-stream")
        .header("Upload-Offset", "0")
        .body(())
        .unwrap();
    let (_answer, mut body) = client.send(request, false);
    body.send_data("hello".into(), false).unwrap();
    eventually(|| loopback.server().upload(&target).unwrap().offset() == 2);
    assert_eq!(loopback.server().locks(), 1);
    body.send_reset(Reason::CANCEL);
    eventually(|| loopback.server().locks() == 0);
}

#[test]
fn what_is_held_is_not_read_and_what_leaves_is_seen() {
    let stage = Stage::start(Carrier::Http2, [vec![Act::Hold]]);
    let mut client = Client::connect(stage.address(), None);
    let (_answer, mut body) = client.send(patch(&stage.url("/1")), false);
    body.reserve_capacity(1 << 20);
    let mut sent = 0;
    // The default window of a stream, and then no more.
    while sent < 65_535 {
        let room = client
            .runtime
            .block_on(poll_fn(|cx| body.poll_capacity(cx)));
        let room = room.unwrap().unwrap();
        body.send_data(vec![0; room].into(), false).unwrap();
        sent += room;
    }
    assert_eq!(sent, 65_535);
    let read = stage.wait(LONG, |seen| seen.first().map(|seen| seen.body));
    assert_eq!(read, Some(0));
    body.send_reset(Reason::CANCEL);
    assert_eq!(stage.seen()[0].end, None);
    stage.go_on();
    let end = stage.wait(LONG, |seen| seen[0].end);
    assert_eq!(end, Some(End::Left));
}

/// The status of an answer, and the fields that it has.
type Answer = (u16, HeaderMap);

/// One exchange on a connection of its own, over this carrier.
fn exchange(loopback: &Loopback, carrier: Carrier, request: Request<Bytes>) -> Answer {
    let (head, body) = request.into_parts();
    if carrier.is_http2() {
        let mut client = Client::connect(loopback.address(), loopback.authority());
        let (answer, mut sent) = client.send(Request::from_parts(head, ()), body.is_empty());
        if !body.is_empty() {
            sent.send_data(body, true).unwrap();
        }
        let answer = client.answer(answer).unwrap();
        return (answer.status().as_u16(), answer.headers().clone());
    }
    let mut said = format!("{} {} HTTP/1.1\r\n", head.method, head.uri.path()).into_bytes();
    let host = ("host", head.uri.authority().unwrap().as_str());
    let fields = head.headers.iter();
    let fields = fields.map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
    for (name, value) in fields.chain([host, ("connection", "close")]) {
        said.extend(format!("{name}: {value}\r\n").into_bytes());
    }
    said.extend([b"\r\n", &*body].concat());
    let mut stream = std::net::TcpStream::connect(loopback.address()).unwrap();
    let mut answer = String::new();
    if let Some(authority) = loopback.authority() {
        let config = Arc::new(config(authority, b"http/1.1"));
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let connection = ClientConnection::new(config, name).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        stream.write_all(&said).unwrap();
        stream.read_to_string(&mut answer).unwrap();
    } else {
        stream.write_all(&said).unwrap();
        stream.read_to_string(&mut answer).unwrap();
    }
    let mut lines = answer.lines();
    let status = lines.next().unwrap()[9..12].parse().unwrap();
    let fields = lines.map_while(|line| line.split_once(": "));
    let fields = fields.map(|(name, value)| {
        let name = http::HeaderName::try_from(name).unwrap();
        (name, value.parse().unwrap())
    });
    (status, fields.collect())
}

#[test]
fn the_server_is_served_over_every_carrier() {
    for carrier in Carrier::ALL {
        let loopback = Loopback::over(
            carrier,
            Server::new(Options {
                quirks: vec![Quirk::Location(Location::Absolute)],
                ..Options::default()
            }),
        );
        let endpoint = loopback.endpoint();
        let request = Request::post(&endpoint)
            .header("Tus-Resumable", "1.0.0")
            .header("Content-Length", "0")
            .header("Upload-Length", "5")
            .body(Bytes::new())
            .unwrap();
        let (status, fields) = exchange(&loopback, carrier, request);
        assert_eq!(status, 201, "{carrier}");
        let url = fields["location"].to_str().unwrap();
        assert!(url.starts_with(&endpoint), "{carrier}: {url}");

        let request = Request::patch(url)
            .header("Tus-Resumable", "1.0.0")
            .header("Content-Length", "5")
            .header("Content-Type", "application/offset+octet-stream")
            .header("Upload-Offset", "0")
            .body(Bytes::from_static(b"hello"))
            .unwrap();
        let (status, fields) = exchange(&loopback, carrier, request);
        assert_eq!(status, 204, "{carrier}");
        assert_eq!(fields["upload-offset"], "5");
        assert_eq!(loopback.server().upload(url).unwrap().content(), b"hello");
    }
}
