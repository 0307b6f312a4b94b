//! One exchange, where ureq is not like the others: what every adapter does is shown by the conformance
//! suite.

use std::io::empty;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use http::Request;
use tus_driver::{Control, Transport};
use tus_proto::FailureKind;
use tus_testkit::{Loopback, Options, Scripted, Server, Step};
use tus_ureq::{Client, ureq};

use crate::peer::{append, bytes, clients, creation, probe};

fn answered(answer: &str) -> Vec<Step> {
    vec![Step::ReadHead, Step::write(answer), Step::Close]
}

#[test]
fn the_users_own_limits_do_not_apply() {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::ZERO))
        .timeout_per_call(Some(Duration::ZERO))
        .timeout_recv_body(Some(Duration::ZERO))
        .timeout_send_body(Some(Duration::ZERO))
        .timeout_per_read(Some(Duration::ZERO))
        .max_redirects_will_error(true)
        .http_status_as_error(true)
        .build()
        .into();
    let peer = Scripted::start([vec![
        Step::ReadHead,
        Step::Read(5),
        Step::write("HTTP/1.1 500 Oh\r\nContent-Length: 5\r\n\r\nwords"),
        Step::Close,
    ]]);
    let (request, terms) = append(&peer.url("/files/1"), 5);
    let answer = Client::from(agent)
        .exchange(request, &terms, &mut &b"hello"[..], &Control::detached())
        .unwrap();
    assert_eq!(answer.status(), 500);
    assert_eq!(answer.body(), "words");
}

#[test]
fn the_longest_limits_are_no_trouble() {
    let peer = Scripted::start([answered("HTTP/1.1 204 No Content\r\n\r\n")]);
    let (request, mut terms) = probe(&peer.url("/files/1"));
    (terms.connect, terms.stall, terms.answer) = (Duration::MAX, Duration::MAX, Duration::MAX);
    Client::new()
        .exchange(request, &terms, &mut empty(), &Control::detached())
        .unwrap();
}

#[cfg(any(feature = "rustls", feature = "native-tls"))]
#[test]
fn tls_to_a_peer_without_it_is_hopeless() {
    let peer = Scripted::start([vec![
        Step::Read(10),
        Step::write("HTTP/1.1 400 Bad\r\n\r\n"),
        Step::Close,
    ]]);
    let (request, terms) = creation(&peer.url("/files/").replace("http:", "https:"), 5);
    let failure = Client::new()
        .exchange(request, &terms, &mut empty(), &Control::detached())
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Hopeless, "{failure}");
}

#[test]
fn a_host_that_is_not_found_is_not_sent_to() {
    for client in clients() {
        let (request, terms) = creation("http://tus.invalid/files/", 5);
        let failure = client
            .exchange(request, &terms, &mut empty(), &Control::detached())
            .unwrap_err();
        assert_eq!(failure.kind, FailureKind::NotSent, "{failure}");
    }
}

#[test]
fn words_that_do_not_come_are_timed_out_even_if_the_stack_cannot_be_stopped() {
    for client in clients() {
        let peer = Scripted::start([vec![
            Step::ReadHead,
            Step::write("HTTP/1.1 201 Created\r\nLocation: /1\r\nContent-Length: 100\r\n\r\nwor"),
            Step::Hold,
        ]]);
        let (request, mut terms) = creation(&peer.url("/files/"), 5);
        terms.answer = Duration::from_millis(100);
        let answer = client
            .exchange(request, &terms, &mut empty(), &Control::detached())
            .unwrap();
        assert_eq!(answer.headers()["location"], "/1");
    }
}

#[test]
fn an_answer_that_does_not_come_is_timed_out_even_if_the_stack_cannot_be_stopped() {
    for client in clients() {
        let peer = Scripted::start([vec![Step::ReadHead, Step::Hold]]);
        let (request, mut terms) = append(&peer.url("/files/1"), 5);
        terms.answer = Duration::from_millis(100);
        let failure = client
            .exchange(request, &terms, &mut &b"hello"[..], &Control::detached())
            .unwrap_err();
        assert_eq!(failure.kind, FailureKind::Lost, "{failure}");
    }
}

#[test]
fn a_peer_that_stops_reading_is_timed_out_even_if_the_stack_cannot_be_stopped() {
    let peer = Scripted::start([vec![Step::ReadHead, Step::Hold]]);
    let (request, mut terms) = append(&peer.url("/files/1"), 64 << 20);
    terms.stall = Duration::from_millis(100);
    let client = Client::from(ureq::Agent::new_with_defaults());
    let failure = client
        .exchange(
            request,
            &terms,
            &mut std::io::repeat(0),
            &Control::detached(),
        )
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Lost);
    assert_eq!(failure.message, "the connection stalled");
}

#[test]
fn an_answer_from_elsewhere_is_refused() {
    let elsewhere = |mut request: Request<ureq::SendBody>,
                     next: ureq::middleware::MiddlewareNext| {
        let uri = request.uri().to_string().replace("/files/", "/elsewhere/");
        *request.uri_mut() = uri.parse().unwrap();
        next.handle(request)
    };
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .middleware(elsewhere)
        .build()
        .into();
    let peer = Scripted::start([answered("HTTP/1.1 201 Created\r\nLocation: /1\r\n\r\n")]);
    let (request, terms) = creation(&peer.url("/files/"), 5);
    let failure = Client::from(agent)
        .exchange(request, &terms, &mut empty(), &Control::detached())
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Hopeless);
}

#[test]
fn an_answer_that_a_middleware_makes_is_an_answer() {
    let own = |_: Request<ureq::SendBody>, _: ureq::middleware::MiddlewareNext| {
        let answer = http::Response::builder().status(403);
        Ok(answer.body(ureq::Body::builder().data("words")).unwrap())
    };
    let agent: ureq::Agent = ureq::Agent::config_builder().middleware(own).build().into();
    let (request, terms) = creation("http://h.test/files/", 5);
    let answer = Client::from(agent)
        .exchange(request, &terms, &mut empty(), &Control::detached())
        .unwrap();
    assert_eq!(answer.status(), 403);
    assert_eq!(answer.body(), "words");
}

#[test]
fn one_client_serves_many_threads() {
    let loopback = Loopback::start(Server::new(Options::default()));
    let client = Arc::new(Client::new());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..5 {
                    client
                        .upload(loopback.endpoint())
                        .send(bytes(10_000))
                        .unwrap();
                }
            });
        }
    });
    let server = loopback.server();
    assert_eq!(server.uploads().count(), 40);
    assert!(
        server
            .uploads()
            .all(|upload| upload.content() == bytes(10_000))
    );
}
