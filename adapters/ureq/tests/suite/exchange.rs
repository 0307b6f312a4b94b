//! One exchange: what is on the wire, and what is made of the answer.

use std::io::empty;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use http::Request;
use tus_driver::{Control, Transport};
use tus_proto::{FailureKind, MAX_ANSWER_BODY};
use tus_testkit::{Loopback, Options, Proxy, ProxyPlan, Scripted, Server, Step};
use tus_ureq::{Client, ureq};

use crate::peer::{append, bytes, clients, creation, probe};

fn answered(answer: &str) -> Vec<Step> {
    vec![Step::ReadHead, Step::write(answer), Step::Close]
}

fn sent(peer: &Scripted) -> String {
    String::from_utf8(peer.read()[0].clone())
        .unwrap()
        .to_ascii_lowercase()
}

#[test]
fn a_request_without_a_body_says_so() {
    for client in clients() {
        let peer = Scripted::start([answered(
            "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",
        )]);
        let (request, terms) = creation(&peer.url("/files/"), 5);
        client
            .exchange(request, &terms, &mut empty(), &Control::detached())
            .unwrap();
        let sent = sent(&peer);
        assert!(sent.starts_with("post /files/ http/1.1\r\n"), "{sent}");
        assert_eq!(sent.matches("content-length: 0\r\n").count(), 1, "{sent}");
        for not in [
            "transfer-encoding",
            "expect",
            "accept-encoding",
            "content-type",
            "cookie",
        ] {
            assert!(!sent.contains(not), "{not} is in {sent}");
        }
    }
}

#[test]
fn head_and_delete_announce_no_body() {
    for method in ["HEAD", "DELETE"] {
        let peer = Scripted::start([answered("HTTP/1.1 204 No Content\r\n\r\n")]);
        let (mut request, terms) = probe(&peer.url("/files/1"));
        *request.method_mut() = method.parse().unwrap();
        Client::new()
            .exchange(request, &terms, &mut empty(), &Control::detached())
            .unwrap();
        let sent = sent(&peer);
        assert!(
            !sent.contains("content-length") && !sent.contains("transfer-encoding"),
            "{sent}"
        );
    }
}

#[test]
fn a_body_goes_out_whole_and_unchunked() {
    for client in clients() {
        let answer = "HTTP/1.1 204 No Content\r\nUpload-Offset: 300000\r\n\r\n";
        let peer = Scripted::start([vec![
            Step::ReadHead,
            Step::Read(300_000),
            Step::write(answer),
            Step::Close,
        ]]);
        let (request, terms) = append(&peer.url("/files/1"), 300_000);
        let control = Control::detached();
        let answer = client
            .exchange(request, &terms, &mut &bytes(300_000)[..], &control)
            .unwrap();
        assert_eq!(answer.headers()["upload-offset"], "300000");
        let sent = &peer.read()[0];
        let head = sent.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        assert_eq!(sent[head..], bytes(300_000));
        let head = String::from_utf8(sent[..head].to_vec())
            .unwrap()
            .to_ascii_lowercase();
        assert!(head.contains("content-length: 300000\r\n"), "{head}");
        assert!(!head.contains("transfer-encoding"), "{head}");
    }
}

#[test]
fn no_status_is_an_error_and_no_redirect_is_followed() {
    for client in clients() {
        for status in [200, 303, 307, 308, 400, 404, 500, 503] {
            let answer = format!(
                "HTTP/1.1 {status} Some\r\nLocation: /elsewhere\r\nContent-Length: 5\r\n\r\nwords"
            );
            let peer = Scripted::start([answered(&answer)]);
            let (request, terms) = creation(&peer.url("/files/"), 5);
            let answer = client
                .exchange(request, &terms, &mut empty(), &Control::detached())
                .unwrap();
            assert_eq!(answer.status(), status);
            assert_eq!(answer.headers()["location"], "/elsewhere");
            assert_eq!(answer.body(), "words");
            assert_eq!(peer.read().len(), 1);
        }
    }
}

#[test]
fn header_fields_pass_as_they_are() {
    let peer = Scripted::start([answered(
        "HTTP/1.1 204 No Content\r\nX-A: 1\r\nx-a: 2\r\nX-B: caf\u{e9}\r\n\r\n",
    )]);
    let (mut request, terms) = probe(&peer.url("/files/1"));
    request.headers_mut().append("x-c", "1".parse().unwrap());
    request.headers_mut().append("x-c", "2".parse().unwrap());
    request
        .headers_mut()
        .append("user-agent", "mine".parse().unwrap());
    let answer = Client::new()
        .exchange(request, &terms, &mut empty(), &Control::detached())
        .unwrap();
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

#[test]
fn the_answers_body_is_bounded() {
    let much = "a".repeat(MAX_ANSWER_BODY + 10_000);
    for head in [
        "HTTP/1.1 500 Oh\r\nContent-Length: 1000000000000\r\n\r\n",
        // The end is where the connection ends, and it never does.
        "HTTP/1.1 500 Oh\r\n\r\n",
    ] {
        let peer = Scripted::start([vec![
            Step::ReadHead,
            Step::write(head),
            Step::write(much.clone()),
            Step::Hold,
        ]]);
        let (request, terms) = creation(&peer.url("/files/"), 5);
        let answer = Client::new()
            .exchange(request, &terms, &mut empty(), &Control::detached())
            .unwrap();
        assert_eq!(answer.body().len(), MAX_ANSWER_BODY);
    }
}

#[test]
fn a_head_is_a_fact_whatever_becomes_of_its_body() {
    for end in [Step::Reset, Step::Close, Step::Hold] {
        let peer = Scripted::start([vec![
            Step::ReadHead,
            Step::write("HTTP/1.1 201 Created\r\nLocation: /1\r\nContent-Length: 100\r\n\r\nwor"),
            end,
        ]]);
        let (request, mut terms) = creation(&peer.url("/files/"), 5);
        terms.answer = Duration::from_millis(100);
        let answer = Client::new()
            .exchange(request, &terms, &mut empty(), &Control::detached())
            .unwrap();
        assert_eq!(answer.headers()["location"], "/1");
    }
}

#[test]
fn a_head_request_waits_for_no_body() {
    let peer = Scripted::start([vec![
        Step::ReadHead,
        Step::write("HTTP/1.1 200 OK\r\nUpload-Offset: 3\r\nContent-Length: 100\r\n\r\n"),
        Step::Hold,
    ]]);
    let (request, terms) = probe(&peer.url("/files/1"));
    let answer = Client::new()
        .exchange(request, &terms, &mut empty(), &Control::detached())
        .unwrap();
    assert_eq!(answer.headers()["upload-offset"], "3");
}

#[test]
fn interim_answers_are_passed_over() {
    let peer = Scripted::start([vec![
        Step::ReadHead,
        Step::write("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"),
        Step::write("HTTP/1.1 204 No Content\r\nUpload-Offset: 3\r\n\r\n"),
        Step::Close,
    ]]);
    let (request, terms) = probe(&peer.url("/files/1"));
    let answer = Client::new()
        .exchange(request, &terms, &mut empty(), &Control::detached())
        .unwrap();
    assert_eq!(answer.status(), 204);
}

#[test]
fn what_the_server_may_have_seen_is_lost() {
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
        vec![Step::ReadHead, Step::Hold],
    ] {
        for client in clients() {
            let peer = Scripted::start([steps.clone()]);
            let (request, mut terms) = append(&peer.url("/files/1"), 5);
            terms.answer = Duration::from_millis(100);
            let failure = client
                .exchange(request, &terms, &mut &b"hello"[..], &Control::detached())
                .unwrap_err();
            assert_eq!(failure.kind, FailureKind::Lost, "{failure}: {steps:?}");
        }
    }
}

#[test]
fn what_it_cannot_have_seen_is_not_sent() {
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
            let (request, terms) = creation(&url, 5);
            let failure = client
                .exchange(request, &terms, &mut empty(), &Control::detached())
                .unwrap_err();
            assert_eq!(failure.kind, FailureKind::NotSent, "{failure}");
        }
    }
}

#[cfg(feature = "rustls")]
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
fn connections_are_used_again_unless_a_fresh_one_is_asked_for() {
    for client in clients() {
        let loopback = Loopback::start(Server::new(Options::default()));
        let proxy = Proxy::start(loopback.address(), ProxyPlan::default());
        let ask = |fresh: bool| {
            let (request, mut terms) = creation(&proxy.url("/files/"), 5);
            terms.fresh = fresh;
            client
                .exchange(request, &terms, &mut empty(), &Control::detached())
                .unwrap();
            proxy.connections()
        };
        assert_eq!(ask(false), 1);
        assert_eq!(ask(false), 1);
        assert_eq!(ask(true), 2);
        assert_eq!(ask(false), 2);
    }
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
