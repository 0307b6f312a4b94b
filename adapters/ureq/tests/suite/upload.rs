//! Whole uploads over lines that break.

use std::io::Cursor;
use std::thread;
use std::time::Duration;

use tus_driver::{Canceller, Error, ReaderSource};
use tus_proto::{Algorithm, Cancel, Config, Event};
use tus_testkit::{Loopback, Options, Proxy, ProxyPlan, Scripted, Server, Step, Trouble};
use tus_ureq::{Client, ureq};

use crate::peer::{Watched, bytes, clients};

const MIB: usize = 1 << 20;

fn content(loopback: &Loopback) -> Vec<u8> {
    let server = loopback.server();
    let uploads: Vec<_> = server.uploads().collect();
    assert_eq!(uploads.len(), 1);
    uploads[0].content().to_vec()
}

#[test]
fn parts_survive_cuts_and_a_stall() {
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
                // A part that is made on a busy machine is not made twice.
                config.timeouts.answer = Duration::from_secs(5);
                config.timeouts.connect = Duration::from_secs(5);
                config.retry.base = Duration::from_millis(1);
                config.parts.least = 1;
            })
            .parallel(4)
            .send(bytes(12 * MIB))
            .unwrap();
        let server = loopback.server();
        let upload = server.upload(&done.url.expose()).unwrap();
        assert!(upload.is_final() && upload.content() == bytes(12 * MIB));
        assert_eq!(
            server
                .uploads()
                .filter(|upload| upload.is_partial())
                .count(),
            4
        );
        assert!(proxy.cuts() >= 8, "{} cuts", proxy.cuts());
    }
}

#[test]
fn a_thousand_small_files_are_a_thousand_and_one_requests_on_one_connection() {
    let client = Client::new();
    let loopback = Loopback::start(Server::new(Options::default()));
    let proxy = Proxy::start(loopback.address(), ProxyPlan::default());
    for n in 0..1_000_usize {
        let mut content = bytes(4096);
        content[..8].copy_from_slice(&n.to_be_bytes());
        let done = client.upload(proxy.url("/files/")).send(content.clone());
        let url = done.unwrap().url.expose();
        assert!(loopback.server().upload(&url).unwrap().content() == content);
    }
    let server = loopback.server();
    assert_eq!(server.log().len(), 1_001);
    assert_eq!(
        server
            .uploads()
            .filter(|upload| upload.is_complete())
            .count(),
        1_000
    );
    assert_eq!(proxy.connections(), 1);
}

#[test]
fn a_stream_survives_cuts() {
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
            .unwrap();
        assert!(content(&loopback) == bytes(3 * MIB + 1));
        assert!(proxy.cuts() >= 4);
    }
}

#[test]
fn a_creation_waits_for_leave_to_send_its_bytes() {
    for client in clients() {
        let loopback = Loopback::start(Server::new(Options::default()));
        let expecting = |config: &mut Config| config.expect_continue = true;
        let upload = || client.upload(loopback.endpoint()).config(expecting);
        upload().send(bytes(100_000)).unwrap();
        assert!(content(&loopback) == bytes(100_000));
        let server = loopback.server();
        let post = server.log().last().unwrap();
        assert_eq!(post.headers["expect"], "100-continue");
    }
}

/// A connection on which nothing is read after this many bytes, and good ones afterwards.
fn stalling(loopback: &Loopback) -> Proxy {
    let line = ProxyPlan {
        troubles: vec![(100_000, Trouble::Stall)],
        ..ProxyPlan::default()
    };
    Proxy::start(loopback.address(), line)
}

#[test]
fn a_server_that_stops_reading_is_left_behind() {
    for client in clients() {
        let loopback = Loopback::start(Server::new(Options::default()));
        let proxy = stalling(&loopback);
        let (source, released) = Watched::new(bytes(32 * MIB));
        client
            .upload(proxy.url("/files/"))
            .config(|config| {
                config.timeouts.stall = Duration::from_millis(500);
                config.retry.base = Duration::from_millis(1);
            })
            .send(source)
            .unwrap();
        assert!(content(&loopback) == bytes(32 * MIB));
        // No worker is left behind for long: the stack's own limit ends what cannot be stopped.
        released
            .recv_timeout(Duration::from_secs(20))
            .unwrap_err_disconnected();
    }
}

trait Disconnected {
    fn unwrap_err_disconnected(self);
}

impl Disconnected for Result<(), std::sync::mpsc::RecvTimeoutError> {
    fn unwrap_err_disconnected(self) {
        assert_eq!(self, Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
    }
}

/// Cancels an upload to `endpoint` when this event comes.
fn cancel_at(client: &Client, endpoint: String, at: fn(&Event) -> bool) {
    let (source, released) = Watched::new(vec![0; 32 * MIB]);
    let canceller = Canceller::new();
    let error = client
        .upload(endpoint)
        .canceller(canceller.clone())
        .on_event(|event| {
            if at(event) {
                canceller.cancel(Cancel::Keep);
            }
        })
        .send(source)
        .unwrap_err();
    assert!(
        matches!(error, Error::Upload(tus_proto::Error::Cancelled { .. })),
        "{error}"
    );
    // The limits are a minute and more: what ends the worker is that its connection is closed.
    released
        .recv_timeout(Duration::from_secs(20))
        .unwrap_err_disconnected();
}

const CREATED: &str = "HTTP/1.1 201 Created\r\nLocation: /1\r\nContent-Length: 0\r\n\r\n";

#[test]
fn a_cancel_closes_a_connection_that_is_not_read_from() {
    let peer = Scripted::start([vec![
        Step::ReadHead,
        Step::write(CREATED),
        Step::ReadHead,
        Step::Hold,
    ]]);
    cancel_at(&Client::new(), peer.url("/files/"), |event| {
        matches!(event, Event::Sent { .. })
    });
}

#[test]
fn a_cancel_closes_a_connection_that_is_not_answered_on() {
    let peer = Scripted::start([vec![
        Step::ReadHead,
        Step::write(CREATED),
        Step::ReadHead,
        Step::Read(32 << 20),
        Step::Hold,
    ]]);
    cancel_at(
        &Client::new(),
        peer.url("/files/"),
        |event| matches!(event, Event::Sent { offset } if *offset == 32 << 20),
    );
}

#[test]
fn a_cancelled_client_is_still_of_use() {
    let client = Client::new();
    let peer = Scripted::start([vec![
        Step::ReadHead,
        Step::write(CREATED),
        Step::ReadHead,
        Step::Hold,
    ]]);
    cancel_at(&client, peer.url("/files/"), |event| {
        matches!(event, Event::Sent { .. })
    });
    let loopback = Loopback::start(Server::new(Options::default()));
    client.upload(loopback.endpoint()).send(bytes(10)).unwrap();
}

#[test]
fn an_agent_of_the_callers_is_not_shut_down() {
    let agent = ureq::Agent::new_with_defaults();
    let client = Client::from(agent.clone());
    let peer = Scripted::start([vec![
        Step::ReadHead,
        Step::write(CREATED),
        Step::ReadHead,
        Step::Hold,
    ]]);
    let canceller = Canceller::new();
    let result = thread::scope(|scope| {
        scope
            .spawn(|| {
                client
                    .upload(peer.url("/files/"))
                    .canceller(canceller.clone())
                    .on_event(|event| {
                        if matches!(event, Event::Sent { .. }) {
                            canceller.cancel(Cancel::Now);
                        }
                    })
                    .send(vec![0; 32 * MIB])
            })
            .join()
            .unwrap()
    });
    assert!(result.is_err());
    let loopback = Loopback::start(Server::new(Options::default()));
    let status = agent
        .get(loopback.endpoint())
        .config()
        .http_status_as_error(false)
        .build()
        .call();
    assert!(status.is_ok(), "{status:?}");
}

// S3.
#[test]
fn nothing_shows_a_secret() {
    // A port that was just given back: no proxy listens there.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let proxy = ureq::Proxy::new(&format!("http://s3cr3t:s3cr3t@{address}")).unwrap();
    let config = || {
        ureq::Agent::config_builder()
            .proxy(Some(proxy.clone()))
            .user_agent("s3cr3t")
            .build()
    };
    for client in [
        Client::with_config(config()),
        Client::from(config().new_agent()),
    ] {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://s3cr3t:s3cr3t@server.test/?k=s3cr3t");
            let call = client.upload(url).header("x-key", "s3cr3t");
            let call = call.config(|config| config.retry.attempts = Some(0));
            let shown = format!("{client:?} {call:?}");
            let error = call.send("hello").unwrap_err();
            let shown = format!("{shown} {error} {error:?}");
            assert!(!shown.contains("s3cr3t"), "{shown}");
            assert!(!shown.contains("czNjcjN0"), "{shown}");
        }
    }
}
