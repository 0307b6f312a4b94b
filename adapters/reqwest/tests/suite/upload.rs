//! Whole uploads over lines that break.

use std::io::Cursor;
use std::time::Duration;

use tokio::time::timeout;
use tus_driver::{Canceller, Error, ReaderSource};
use tus_proto::{Algorithm, Cancel, Event};
use tus_reqwest::Client;
use tus_testkit::{Loopback, Options, Proxy, ProxyPlan, Scripted, Server, Step, Trouble};

use crate::peer::{PATIENCE, Watched, bytes, clients};

const MIB: usize = 1 << 20;

fn content(loopback: &Loopback) -> Vec<u8> {
    let server = loopback.server();
    let uploads: Vec<_> = server.uploads().collect();
    assert_eq!(uploads.len(), 1);
    uploads[0].content().to_vec()
}

#[tokio::test]
async fn parts_survive_cuts_and_a_stall() {
    for client in clients() {
        let loopback = Loopback::start(Server::new(Options::default()));
        let line = ProxyPlan {
            troubles: (1..12)
                .map(|n| (n * 1_000_003, Trouble::Reset))
                .chain([(5_500_000, Trouble::Stall)])
                .collect(),
            ..ProxyPlan::default()
        };
        let proxy = Proxy::start(loopback.address(), line);
        let done = client
            .upload(proxy.url("/files/"))
            .config(|config| {
                config.timeouts.stall = Duration::from_millis(500);
                // What is left of a stalled part may fit the system's buffers.
                config.timeouts.answer_to_body = Duration::from_secs(1);
                // And the line may stall under a question as well.
                config.timeouts.connect = Duration::from_secs(1);
                config.timeouts.answer = Duration::from_secs(1);
                config.retry.base = Duration::from_millis(1);
                config.parts.least = 1;
            })
            .parallel(4)
            .send(bytes(12 * MIB))
            .await
            .unwrap();
        let server = loopback.server();
        let upload = server.upload(&done.url.expose()).unwrap();
        assert!(upload.is_final() && upload.content() == bytes(12 * MIB));
        assert!(proxy.cuts() >= 8, "{} cuts", proxy.cuts());
    }
}

#[tokio::test]
async fn a_stream_survives_cuts_with_a_checksum_after_each_piece() {
    for client in clients() {
        let loopback = Loopback::start(Server::new(Options::default()));
        let line = ProxyPlan {
            troubles: (1..9).map(|n| (n * 500_009, Trouble::Reset)).collect(),
            ..ProxyPlan::default()
        };
        let proxy = Proxy::start(loopback.address(), line);
        client
            .upload(proxy.url("/files/"))
            .config(|config| {
                config.retry.base = Duration::from_millis(1);
                config.request_size = Some(700_000);
                config.checksums = vec![Algorithm::SHA1];
            })
            .send(ReaderSource::new(Cursor::new(bytes(3 * MIB + 1))))
            .await
            .unwrap();
        assert!(content(&loopback) == bytes(3 * MIB + 1));
        assert!(proxy.cuts() >= 4);
        let server = loopback.server();
        let patches = server.log().iter().filter(|asked| asked.method == "PATCH");
        let mut trailers = patches.map(|asked| asked.headers.contains_key("trailer"));
        assert!(trailers.all(|is| is));
    }
}

#[tokio::test]
async fn a_server_that_stops_reading_is_left_behind() {
    for client in clients() {
        let loopback = Loopback::start(Server::new(Options::default()));
        let line = ProxyPlan {
            troubles: vec![(100_000, Trouble::Stall)],
            ..ProxyPlan::default()
        };
        let proxy = Proxy::start(loopback.address(), line);
        client
            .upload(proxy.url("/files/"))
            .config(|config| {
                config.timeouts.stall = Duration::from_millis(500);
                config.retry.base = Duration::from_millis(1);
            })
            .send(bytes(32 * MIB))
            .await
            .unwrap();
        assert!(content(&loopback) == bytes(32 * MIB));
        assert_eq!(proxy.connections(), 2);
    }
}

const CREATED: &str = "HTTP/1.1 201 Created\r\nLocation: /1\r\nContent-Length: 0\r\n\r\n";

fn deaf() -> Scripted {
    Scripted::start([vec![
        Step::ReadHead,
        Step::write(CREATED),
        Step::ReadHead,
        Step::Hold,
    ]])
}

#[tokio::test]
async fn a_cancelled_upload_ends_at_once_and_its_client_is_still_of_use() {
    for client in clients() {
        let peer = deaf();
        let (source, released) = Watched::new(1 << 40);
        let canceller = Canceller::new();
        let upload = client
            .upload(peer.url("/files/"))
            .canceller(canceller.clone())
            .on_event(|event| {
                if matches!(event, Event::Sent { .. }) {
                    canceller.cancel(Cancel::Keep);
                }
            })
            .send(source);
        let error = timeout(PATIENCE, upload).await.unwrap().unwrap_err();
        assert!(
            matches!(error, Error::Upload(tus_proto::Error::Cancelled { .. })),
            "{error}"
        );
        drop(peer);
        released.wait().await;
        let loopback = Loopback::start(Server::new(Options::default()));
        client
            .upload(loopback.endpoint())
            .send(bytes(10))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn an_upload_can_be_dropped() {
    let client = Client::new();
    let peer = deaf();
    let (source, released) = Watched::new(1 << 40);
    let (tell, sending) = tokio::sync::oneshot::channel();
    let mut tell = Some(tell);
    let upload = client
        .upload(peer.url("/files/"))
        .on_event(move |event| {
            if matches!(event, Event::Sent { .. })
                && let Some(tell) = tell.take()
            {
                tell.send(()).unwrap();
            }
        })
        .send(source);
    tokio::select! {
        result = upload => panic!("{result:?}"),
        sending = sending => sending.unwrap(),
    }
    drop(peer);
    released.wait().await;
}
