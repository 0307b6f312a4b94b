//! A client of the caller's, as it is.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tus_proto::FailureKind;
use tus_reqwest::reqwest::{Client as Reqwest, ClientBuilder, redirect, retry};
use tus_reqwest::{Client, reqwest};
use tus_testkit::{Loopback, Options, Proxy, ProxyPlan, Scripted, Server, Step};

use crate::peer::{answered, append, ask, bytes, creation, exchange, probe, sent};

fn given(settings: fn(ClientBuilder) -> ClientBuilder) -> Client {
    settings(Reqwest::builder()).build().unwrap().into()
}

#[tokio::test]
async fn one_that_follows_redirects_is_seen_and_refused() {
    let client = given(|builder| builder);
    for (status, target) in [
        (301, "/b"),
        (302, "/b"),
        (303, "/b"),
        (307, "/b"),
        (308, "/files/"),
    ] {
        let moved =
            format!("HTTP/1.1 {status} Moved\r\nLocation: {target}\r\nConnection: close\r\n\r\n");
        let there = "HTTP/1.1 201 Created\r\nLocation: /1\r\nContent-Length: 0\r\n\r\n";
        // The last of them leads to itself, for ever.
        let peer = Scripted::start(
            [&*moved, if status == 308 { &*moved } else { there }]
                .repeat(20)
                .iter()
                .map(|said| answered(said)),
        );
        let failure = ask(&client, creation(&peer.url("/files/"), 5))
            .await
            .unwrap_err();
        assert_eq!(failure.kind, FailureKind::Hopeless, "{status}");
        assert!(failure.message.contains("redirects"), "{failure}");
    }
}

#[tokio::test]
async fn no_body_is_sent_twice() {
    let moved = "HTTP/1.1 307 Moved\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n";
    let busy = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
    for (said, status) in [(moved, 307), (busy, 503)] {
        let peer = Scripted::start([vec![
            Step::ReadHead,
            Step::Read(5),
            Step::write(said),
            Step::Close,
        ]]);
        let client = given(|builder| {
            let always = retry::for_host("127.0.0.1").classify_fn(|asked| {
                assert!(asked.error().is_none());
                asked.retryable()
            });
            builder.retry(always)
        });
        let patch = append(&peer.url("/files/1"), 5);
        let answer = exchange(&client, patch, "hello").await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(peer.read().len(), 1);
    }
}

#[tokio::test]
async fn a_limit_on_whole_requests_does_not_apply() {
    let client = given(|builder| builder.timeout(Duration::ZERO));
    let peer = Scripted::start([vec![
        Step::ReadHead,
        Step::Read(5),
        Step::write("HTTP/1.1 500 Oh\r\nContent-Length: 5\r\n\r\nwords"),
        Step::Close,
    ]]);
    let patch = append(&peer.url("/files/1"), 5);
    let answer = exchange(&client, patch, "hello").await.unwrap();
    assert_eq!(answer.body(), "words");
}

#[tokio::test]
async fn a_limit_on_reads_applies_only_here() {
    let hold = || Scripted::start([vec![Step::ReadHead, Step::Hold]]);
    let peer = hold();
    let client = given(|builder| builder.read_timeout(Duration::from_millis(50)));
    let failure = ask(&client, probe(&peer.url("/files/1")))
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Lost, "{failure}");
    assert!(failure.message.contains("time limit"), "{failure}");

    let said = "HTTP/1.1 204 No Content\r\nUpload-Offset: 0\r\n\r\n";
    let peer = Scripted::start([answered(said)]);
    let client = Client::with_builder(|builder| builder.read_timeout(Duration::ZERO));
    ask(&client, probe(&peer.url("/files/1"))).await.unwrap();
}

#[tokio::test]
async fn decoding_touches_nothing_but_words() {
    let said = "HTTP/1.1 201 Created\r\nLocation: /1\r\nContent-Encoding: gzip\r\n\
                Content-Length: 5\r\n\r\nwords";
    for (client, asks, body) in [
        (Client::new(), false, "words"),
        (
            Client::with_builder(|builder| builder.gzip(true)),
            false,
            "words",
        ),
        (given(|builder| builder), true, ""),
    ] {
        let peer = Scripted::start([answered(said)]);
        let answer = ask(&client, creation(&peer.url("/files/"), 5))
            .await
            .unwrap();
        assert_eq!(answer.headers()["location"], "/1");
        assert_eq!(answer.body(), body);
        assert_eq!(sent(&peer).contains("accept-encoding"), asks);
    }
}

#[tokio::test]
async fn its_pool_is_its_own() {
    let loopback = Loopback::start(Server::new(Options::default()));
    let proxy = Proxy::start(loopback.address(), ProxyPlan::default());
    let theirs = Reqwest::builder()
        .redirect(redirect::Policy::none())
        .build()
        .unwrap();
    let ask_fresh = async |fresh| {
        let (request, mut terms) = creation(&proxy.url("/files/"), 5);
        terms.fresh = fresh;
        ask(&theirs.clone().into(), (request, terms)).await.unwrap();
        proxy.connections()
    };
    assert_eq!(ask_fresh(false).await, 1);
    assert_eq!(ask_fresh(true).await, 1);
    theirs.get(proxy.url("/")).send().await.unwrap();
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn it_goes_on_with_what_else_it_does() {
    let loopback = Loopback::start(Server::new(Options::default()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let slow = format!("http://{}/", listener.local_addr().unwrap());
    let theirs = reqwest::Client::new();
    let other = tokio::spawn(theirs.get(slow).send());
    let (mut stream, _) = listener.accept().await.unwrap();
    assert_ne!(stream.read(&mut [0; 4096]).await.unwrap(), 0);
    let client = Client::from(theirs);
    client
        .upload(loopback.endpoint())
        .send(bytes(1_000_000))
        .await
        .unwrap();
    drop(client);
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await
        .unwrap();
    let answer = other.await.unwrap().unwrap();
    assert_eq!(answer.text().await.unwrap(), "ok");
}

// S3.
#[tokio::test]
async fn nothing_shows_a_secret() {
    // A port that was just given back: no proxy listens there.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let proxy = format!("http://s3cr3t:s3cr3t@{address}");
    let settings = move |builder: ClientBuilder| {
        let proxy = tus_reqwest::reqwest::Proxy::all(&proxy).unwrap();
        builder.proxy(proxy).user_agent("s3cr3t")
    };
    let theirs = settings(ClientBuilder::new()).build().unwrap();
    for client in [Client::with_builder(settings), Client::from(theirs)] {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://s3cr3t:s3cr3t@server.test/?k=s3cr3t");
            let call = client.upload(url).header("x-key", "s3cr3t");
            let call = call.config(|config| config.retry.attempts = Some(0));
            let shown = format!("{client:?} {call:?}");
            let error = call.send("hello").await.unwrap_err();
            let shown = format!("{shown} {error} {error:?}");
            assert!(!shown.contains("s3cr3t"), "{shown}");
            assert!(!shown.contains("czNjcjN0"), "{shown}");
        }
    }
}
