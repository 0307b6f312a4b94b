//! Whole uploads over lines that break.

use std::io::Cursor;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tus_driver::{Canceller, Error, ReaderSource};
use tus_hyper::Client;
use tus_proto::{Algorithm, Cancel, Event};
use tus_testkit::{Loopback, Options, Proxy, ProxyPlan, Scripted, Server, Step, Trouble};

use crate::peer::{Watched, bytes, clients};

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
                // What is left of a stalled part may fit the system's buffers, or be a HEAD.
                config.timeouts.answer_to_body = Duration::from_secs(1);
                config.timeouts.answer = Duration::from_secs(1);
                config.timeouts.connect = Duration::from_secs(1);
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
async fn a_thousand_small_files_are_a_thousand_and_one_requests_on_one_connection() {
    let client = Client::new();
    let loopback = Loopback::start(Server::new(Options::default()));
    let proxy = Proxy::start(loopback.address(), ProxyPlan::default());
    for n in 0..1_000_usize {
        let mut content = bytes(4096);
        content[..8].copy_from_slice(&n.to_be_bytes());
        let upload = client.upload(proxy.url("/files/"));
        let url = upload.send(content.clone()).await.unwrap().url.expose();
        assert!(loopback.server().upload(&url).unwrap().content() == content);
    }
    assert_eq!(loopback.server().log().len(), 1_001);
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn a_stream_survives_cuts() {
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
    }
}

/// Passes connections on; in the first one the byte at this place towards the server is another one.
async fn garble(listener: TcpListener, loopback: SocketAddr, place: u64) {
    let mut garbled = false;
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let server = TcpStream::connect(loopback).await.unwrap();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
        let here = !std::mem::replace(&mut garbled, true);
        tokio::spawn(async move {
            if here {
                copy(&mut (&mut from_client).take(place), &mut to_server).await?;
                let byte = from_client.read_u8().await?;
                to_server.write_u8(!byte).await?;
            }
            copy(&mut from_client, &mut to_server).await
        });
    }
}

// K1, K3.
#[tokio::test]
async fn what_arrives_with_another_digest_is_sent_again() {
    let loopback = Loopback::start(Server::new(Options::default()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/files/", listener.local_addr().unwrap());
    let garbling = tokio::spawn(garble(listener, loopback.address(), 100_000));
    Client::new()
        .upload(endpoint)
        .config(|config| {
            config.retry.base = Duration::from_millis(1);
            config.checksums = vec![Algorithm::SHA1];
            config.creation_body = 0;
        })
        .send(bytes(200_000))
        .await
        .unwrap();
    assert!(content(&loopback) == bytes(200_000));
    let server = loopback.server();
    let patches = server
        .log()
        .iter()
        .filter(|record| record.method == "PATCH");
    let patches: Vec<_> = patches.collect();
    let statuses: Vec<_> = patches.iter().filter_map(|patch| patch.status).collect();
    assert_eq!(statuses, [460, 204]);
    let trailing = |patch: &&tus_testkit::Record| patch.trailers.contains_key("upload-checksum");
    assert!(patches.iter().all(trailing));
    garbling.abort();
}

#[tokio::test]
async fn a_server_that_stops_reading_is_left_behind() {
    for (client, own) in clients().into_iter().zip([true, false]) {
        let loopback = Loopback::start(Server::new(Options::default()));
        let line = ProxyPlan {
            troubles: vec![(100_000, Trouble::Stall)],
            ..ProxyPlan::default()
        };
        let proxy = Proxy::start(loopback.address(), line);
        let (source, released) = Watched::new(32 * MIB);
        client
            .upload(proxy.url("/files/"))
            .config(|config| {
                config.timeouts.stall = Duration::from_millis(500);
                config.retry.base = Duration::from_millis(1);
            })
            .send(source)
            .await
            .unwrap();
        assert!(content(&loopback) == vec![0; 32 * MIB]);
        // hyper's own way out is to write what it has: it holds on until the peer is gone.
        let proxy = own.then_some(proxy);
        released.soon().await;
        drop(proxy);
    }
}

#[tokio::test]
async fn a_cancelled_client_is_still_of_use() {
    for (client, own) in clients().into_iter().zip([true, false]) {
        let created = "HTTP/1.1 201 Created\r\nLocation: /1\r\nContent-Length: 0\r\n\r\n";
        let peer = Scripted::start([vec![
            Step::ReadHead,
            Step::write(created),
            Step::ReadHead,
            Step::Hold,
        ]]);
        let (source, released) = Watched::new(32 * MIB);
        let canceller = Canceller::new();
        let error = client
            .upload(peer.url("/files/"))
            .canceller(canceller.clone())
            .on_event(|event| {
                if matches!(event, Event::Sent { .. }) {
                    canceller.cancel(Cancel::Keep);
                }
            })
            .send(source)
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::Upload(tus_proto::Error::Cancelled { .. })),
            "{error}"
        );
        let peer = own.then_some(peer);
        released.soon().await;
        drop(peer);
        let loopback = Loopback::start(Server::new(Options::default()));
        let upload = client.upload(loopback.endpoint());
        upload.send(bytes(10)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_client_serves_many_tasks() {
    let loopback = Arc::new(Loopback::start(Server::new(Options::default())));
    let client = Client::new();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (client, loopback) = (client.clone(), Arc::clone(&loopback));
            tokio::spawn(async move {
                for _ in 0..5 {
                    let upload = client.upload(loopback.endpoint());
                    upload.send(bytes(10_000)).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let server = loopback.server();
    assert_eq!(server.uploads().count(), 40);
    let whole = |upload: &tus_testkit::Upload| upload.content() == bytes(10_000);
    assert!(server.uploads().all(whole));
}

// S3.
#[tokio::test]
async fn nothing_shows_a_secret() {
    // A port that was just given back: nobody listens there.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    for client in clients() {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://s3cr3t:s3cr3t@{address}/?k=s3cr3t");
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
