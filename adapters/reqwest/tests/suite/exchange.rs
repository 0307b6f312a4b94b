//! One exchange: what is on the wire, and what is made of the answer.

use std::net::TcpListener;
use std::time::Duration;

use tus_driver::{ALGORITHMS, AsyncTransport as _};
use tus_proto::{FailureKind, MAX_ANSWER_BODY};
use tus_reqwest::Client;
use tus_reqwest::reqwest::Proxy as Proxied;
use tus_testkit::{Loopback, Options, Proxy, ProxyPlan, Scripted, Server, Step};

use crate::peer::{
    Watched, answered, append, ask, bytes, clients, creation, exchange, probe, sent,
};

#[tokio::test]
async fn a_request_without_a_body_says_so() {
    for client in clients() {
        let peer = Scripted::start([answered(
            "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",
        )]);
        ask(&client, creation(&peer.url("/files/"), 5))
            .await
            .unwrap();
        let sent = sent(&peer);
        assert!(sent.starts_with("post /files/ http/1.1\r\n"), "{sent}");
        assert_eq!(sent.matches("content-length: 0\r\n").count(), 1, "{sent}");
        for not in ["transfer-encoding", "expect", "content-type", "cookie"] {
            assert!(!sent.contains(not), "{not} is in {sent}");
        }
    }
}

#[tokio::test]
async fn head_and_delete_announce_no_body() {
    for method in ["HEAD", "DELETE"] {
        let peer = Scripted::start([answered("HTTP/1.1 204 No Content\r\n\r\n")]);
        let (mut request, terms) = probe(&peer.url("/files/1"));
        *request.method_mut() = method.parse().unwrap();
        ask(&Client::new(), (request, terms)).await.unwrap();
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
        let answer = "HTTP/1.1 204 No Content\r\nUpload-Offset: 300000\r\n\r\n";
        let peer = Scripted::start([vec![
            Step::ReadHead,
            Step::Read(300_000),
            Step::write(answer),
            Step::Close,
        ]]);
        let patch = append(&peer.url("/files/1"), 300_000);
        let answer = exchange(&client, patch, bytes(300_000)).await.unwrap();
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

#[tokio::test]
async fn a_checksum_follows_the_body_it_is_of() {
    assert!(Client::new().sends_trailers());
    for client in clients() {
        let peer = Scripted::start([vec![
            Step::ReadHead,
            // The last chunk, the trailer, and the empty line after it.
            Step::ReadHead,
            Step::write("HTTP/1.1 204 No Content\r\nUpload-Offset: 5\r\n\r\n"),
            Step::Close,
        ]]);
        let (mut request, mut terms) = append(&peer.url("/files/1"), 5);
        request.headers_mut().remove("content-length");
        let announced = "Upload-Checksum".parse().unwrap();
        request.headers_mut().insert("trailer", announced);
        terms.trailer = ALGORITHMS
            .iter()
            .find(|known| known.as_str() == "sha1")
            .cloned();
        exchange(&client, (request, terms), "hello").await.unwrap();
        let sent = String::from_utf8(peer.read()[0].clone()).unwrap();
        let sent = sent.split_once("\r\n\r\n").unwrap();
        let head = sent.0.to_ascii_lowercase();
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        assert!(head.contains("trailer: upload-checksum"), "{head}");
        assert!(!head.contains("content-length"), "{head}");
        assert_eq!(
            sent.1.to_ascii_lowercase(),
            "5\r\nhello\r\n0\r\nupload-checksum: sha1 qvtghdzf6klavt4po0gs2a6pq00=\r\n\r\n",
        );
    }
}

#[tokio::test]
async fn no_status_is_an_error_and_no_redirect_is_followed() {
    for client in clients() {
        for status in [200, 301, 303, 307, 308, 400, 404, 421, 500, 503] {
            let answer = format!(
                "HTTP/1.1 {status} Some\r\nLocation: /elsewhere\r\nContent-Length: 5\r\n\r\nwords"
            );
            let peer = Scripted::start([answered(&answer)]);
            let answer = ask(&client, creation(&peer.url("/files/"), 5))
                .await
                .unwrap();
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
    let (mut request, terms) = probe(&peer.url("/files/1"));
    for (name, value) in [
        ("x-c", "1"),
        ("x-c", "2"),
        ("user-agent", "mine"),
        ("accept", "a/b"),
    ] {
        request.headers_mut().append(name, value.parse().unwrap());
    }
    let answer = ask(&Client::new(), (request, terms)).await.unwrap();
    let values: Vec<_> = answer.headers().get_all("x-a").iter().collect();
    assert_eq!(values, ["1", "2"]);
    assert_eq!(answer.headers()["x-b"].as_bytes(), "caf\u{e9}".as_bytes());
    let sent = sent(&peer);
    assert!(
        sent.contains("x-c: 1\r\n") && sent.contains("x-c: 2\r\n"),
        "{sent}"
    );
    for (field, value) in [("user-agent: ", "mine"), ("accept: ", "a/b")] {
        assert_eq!(sent.matches(field).count(), 1, "{sent}");
        assert!(sent.contains(&format!("{field}{value}\r\n")), "{sent}");
    }
}

#[tokio::test]
async fn what_reqwest_adds_is_known() {
    let peer = Scripted::start([answered("HTTP/1.1 204 No Content\r\n\r\n")]);
    let (request, terms) = probe(&peer.url("/files/1"));
    let ours: Vec<_> = request.headers().keys().map(ToString::to_string).collect();
    ask(&Client::new(), (request, terms)).await.unwrap();
    let sent = sent(&peer);
    let names = sent.lines().skip(1).filter_map(|line| line.split_once(':'));
    let mut added: Vec<_> = names
        .map(|(name, _)| name)
        .filter(|name| !ours.iter().any(|our| our == name))
        .collect();
    added.sort_unstable();
    assert_eq!(added, ["accept", "host", "user-agent"]);
}

#[tokio::test]
async fn a_url_is_asked_for_as_it_is_or_not_at_all() {
    for path in [
        "//a//b",
        "/a,b;c",
        "/%2F%7B%7D%7C%22",
        "/a.",
        "/a?",
        "/a?b=/../c%27",
        "/$&'()",
    ] {
        let peer = Scripted::start([answered("HTTP/1.1 204 No Content\r\n\r\n")]);
        ask(&Client::new(), probe(&peer.url(path))).await.unwrap();
        let said = String::from_utf8(peer.read()[0].clone()).unwrap();
        assert!(
            said.starts_with(&format!("HEAD {path} HTTP/1.1\r\n")),
            "{said}"
        );
    }
    let peer = Scripted::start([]);
    let failure = ask(&Client::new(), probe(&peer.url("/files/%2e%2e/1"))).await;
    assert_eq!(failure.unwrap_err().kind, FailureKind::Hopeless);
    assert!(peer.read().is_empty());
}

#[tokio::test]
async fn the_answers_body_is_bounded() {
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
        let answer = ask(&Client::new(), creation(&peer.url("/files/"), 5)).await;
        assert_eq!(answer.unwrap().body().len(), MAX_ANSWER_BODY);
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
        let (request, mut terms) = creation(&peer.url("/files/"), 5);
        terms.answer = Duration::from_millis(100);
        let answer = ask(&Client::new(), (request, terms)).await.unwrap();
        assert_eq!(answer.headers()["location"], "/1");
    }
}

#[tokio::test]
async fn a_head_request_waits_for_no_body() {
    let peer = Scripted::start([vec![
        Step::ReadHead,
        Step::write("HTTP/1.1 200 OK\r\nUpload-Offset: 3\r\nContent-Length: 100\r\n\r\n"),
        Step::Hold,
    ]]);
    let answer = ask(&Client::new(), probe(&peer.url("/files/1"))).await;
    assert_eq!(answer.unwrap().headers()["upload-offset"], "3");
}

#[tokio::test]
async fn interim_answers_are_passed_over() {
    let peer = Scripted::start([vec![
        Step::ReadHead,
        Step::write("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"),
        Step::write("HTTP/1.1 204 No Content\r\nUpload-Offset: 3\r\n\r\n"),
        Step::Close,
    ]]);
    let answer = ask(&Client::new(), probe(&peer.url("/files/1"))).await;
    assert_eq!(answer.unwrap().status(), 204);
}

// PROTOCOL §4, 14.
#[tokio::test]
async fn an_answer_in_mid_body_is_read_and_ends_the_body() {
    const LENGTH: u64 = 1 << 40;
    for after in [Step::Close, Step::Read(LENGTH)] {
        let client = Client::new();
        let peer = Scripted::start([vec![
            Step::ReadHead,
            Step::Read(100_000),
            Step::write("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig"),
            after,
        ]]);
        let (source, released) = Watched::new(LENGTH);
        let patch = append(&peer.url("/files/1"), LENGTH);
        let answer = exchange(&client, patch, source).await.unwrap();
        assert_eq!(answer.status(), 413);
        assert_eq!(answer.body(), "big");
        // There are peers that read on for ever.
        released.wait().await;
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
            let patch = append(&peer.url("/files/1?secret"), 5);
            let failure = exchange(&client, patch, "hello").await.unwrap_err();
            assert_eq!(failure.kind, FailureKind::Lost, "{failure}: {steps:?}");
            assert!(!failure.message.contains("secret"), "{failure}");
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
        format!("http://{address}/files/?secret"),
        "http://tus.invalid/files/?secret".to_owned(),
    ] {
        for client in clients() {
            let failure = ask(&client, creation(&url, 5)).await.unwrap_err();
            assert_eq!(failure.kind, FailureKind::NotSent, "{failure}");
            assert!(!failure.message.contains("secret"), "{failure}");
        }
    }
}

#[tokio::test]
async fn connections_are_used_again_unless_a_fresh_one_is_asked_for() {
    let client = Client::new();
    let loopback = Loopback::start(Server::new(Options::default()));
    let proxy = Proxy::start(loopback.address(), ProxyPlan::default());
    for (fresh, connections) in [(false, 1), (false, 1), (true, 2), (false, 2), (true, 3)] {
        let (request, mut terms) = creation(&proxy.url("/files/"), 5);
        terms.fresh = fresh;
        ask(&client, (request, terms)).await.unwrap();
        assert_eq!(proxy.connections(), connections);
    }
}

#[tokio::test]
async fn a_connection_that_ended_while_it_waited_is_replaced() {
    let said = "HTTP/1.1 204 No Content\r\nUpload-Offset: 0\r\n\r\n";
    let peer = Scripted::start([answered(said), answered(said)]);
    let client = Client::new();
    let url = peer.url("/files/1");
    ask(&client, probe(&url)).await.unwrap();
    // Whether its end has been seen by now or not: nothing is lost that needs a guess.
    match ask(&client, probe(&url)).await {
        Ok(answer) => assert_eq!(answer.status(), 204),
        Err(failure) => assert_eq!(failure.kind, FailureKind::Lost, "{failure}"),
    }
}

#[tokio::test]
async fn what_cannot_be_made_is_hopeless() {
    let broken = Client::with_builder(|builder| builder.user_agent("a\nb"));
    let failure = ask(&broken, creation("http://127.0.0.1/files/", 5)).await;
    let failure = failure.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Hopeless, "{failure}");
    let panics = Client::with_builder(|_| panic!("no provider"));
    let failure = ask(&panics, creation("http://127.0.0.1/files/", 5)).await;
    let failure = failure.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Hopeless);
    assert!(failure.message.contains("no provider"), "{failure}");
}

fn through(proxy: &Scripted) -> Client {
    let url = proxy.url("");
    Client::with_builder(move |builder| builder.proxy(Proxied::all(&url).unwrap()))
}

#[tokio::test]
async fn a_proxy_that_refuses_is_hopeless() {
    let refusal = "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n";
    let proxy = Scripted::start([answered(refusal)]);
    let secure = creation("https://tus.test/files/", 5);
    let failure = ask(&through(&proxy), secure).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Hopeless, "{failure}");
    if cfg!(feature = "rustls") {
        let said = sent(&proxy);
        assert!(said.starts_with("connect tus.test:443 "), "{said}");
        assert!(failure.message.contains("proxy"), "{failure}");
    } else {
        // Without TLS nothing goes there at all, least of all in the clear.
        assert!(proxy.read().is_empty());
        assert!(failure.message.contains("no TLS"), "{failure}");
    }
}

#[tokio::test]
async fn a_request_keeps_its_method_and_body_through_a_proxy() {
    let proxy = Scripted::start([vec![
        Step::ReadHead,
        Step::Read(5),
        Step::write("HTTP/1.1 204 No Content\r\nUpload-Offset: 5\r\n\r\n"),
        Step::Close,
    ]]);
    let patch = append("http://tus.test/files/1?a=b", 5);
    exchange(&through(&proxy), patch, "hello").await.unwrap();
    let said = sent(&proxy);
    assert!(
        said.starts_with("patch http://tus.test/files/1?a=b http/1.1\r\n"),
        "{said}"
    );
    assert!(said.ends_with("\r\n\r\nhello"), "{said}");
}

#[tokio::test]
async fn one_client_serves_many_tasks() {
    let loopback = Loopback::start(Server::new(Options::default()));
    let client = Client::new();
    let uploads: Vec<_> = (0..8)
        .map(|_| {
            let (client, endpoint) = (client.clone(), loopback.endpoint());
            tokio::spawn(async move {
                for _ in 0..5 {
                    client.upload(&endpoint).send(bytes(10_000)).await.unwrap();
                }
            })
        })
        .collect();
    for upload in uploads {
        upload.await.unwrap();
    }
    let server = loopback.server();
    assert_eq!(server.uploads().count(), 40);
    assert!(
        server
            .uploads()
            .all(|upload| upload.content() == bytes(10_000))
    );
}
