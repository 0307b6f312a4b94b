//! The server on a socket.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Response, StatusCode};
use tus_testkit::{Fault, FaultPlan, Loopback, Quirk, Reach};

use crate::{OCTETS, server};

/// A client without manners: it says what it is told to, and reads answers off the wire.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream
            .set_write_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Self {
            stream,
            read: Vec::new(),
        }
    }

    pub(crate) fn say(&mut self, text: impl AsRef<[u8]>) {
        self.stream.write_all(text.as_ref()).unwrap();
    }

    /// The next answer's head. None of those here has a body to be read, but errors.
    pub(crate) fn answer(&mut self) -> std::io::Result<String> {
        loop {
            if let Some(at) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.read.drain(..at + 4).collect();
                return Ok(String::from_utf8(head).unwrap());
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                read => self.read.extend_from_slice(&buffer[..read]),
            }
        }
    }

    /// How the connection ends, after all that is still to be read.
    pub(crate) fn end(&mut self) -> Option<ErrorKind> {
        self.stream
            .read_to_end(&mut self.read)
            .err()
            .map(|error| error.kind())
    }
}

pub(crate) fn patch_head(target: &str, offset: u64, length: usize) -> String {
    format!(
        "PATCH {target} HTTP/1.1\r\nHost: h\r\nTus-Resumable: 1.0.0\r\nContent-Type: {OCTETS}\r\n\
         Upload-Offset: {offset}\r\nContent-Length: {length}\r\n\r\n"
    )
}

pub(crate) fn head_head(target: &str) -> String {
    format!("HEAD {target} HTTP/1.1\r\nHost: h\r\nTus-Resumable: 1.0.0\r\n\r\n")
}

/// A loopback with one upload of ten bytes, and its target.
pub(crate) fn loopback(quirks: impl Into<Vec<Quirk>>) -> (Loopback, String) {
    let loopback = Loopback::start(server(quirks));
    let target = loopback.server().place(10, 0);
    (loopback, target)
}

/// Waits for what another thread is about to do.
#[track_caller]
pub(crate) fn eventually(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "it did not come");
        std::thread::yield_now();
    }
}

fn unavailable() -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(b"later"));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

/// The client ends its connection, or breaks it off.
fn leave(client: Client, reset: bool) {
    if reset {
        socket2::SockRef::from(&client.stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }
    drop(client);
}

#[test]
fn an_http_client_of_repute_can_upload() {
    let loopback = Loopback::start(server([]));
    let agent = ureq::Agent::new_with_defaults();
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let created = agent
        .post(loopback.endpoint())
        .header("Tus-Resumable", "1.0.0")
        .header("Upload-Length", body.len().to_string())
        .send(&[][..])
        .unwrap();
    assert_eq!(created.status(), 201);
    let url = loopback.url(created.headers()["location"].to_str().unwrap());
    for (from, to) in [(0, 1), (1, 2_000_000), (2_000_000, body.len())] {
        let patched = agent
            .patch(&url)
            .header("Tus-Resumable", "1.0.0")
            .header("Content-Type", OCTETS)
            .header("Upload-Offset", from.to_string())
            .send(&body[from..to])
            .unwrap();
        assert_eq!(patched.status(), 204);
        assert_eq!(patched.headers()["upload-offset"], to.to_string());
    }
    let found = agent
        .head(&url)
        .header("Tus-Resumable", "1.0.0")
        .call()
        .unwrap();
    assert_eq!(found.headers()["upload-length"], body.len().to_string());
    let deleted = agent.delete(&url).header("Tus-Resumable", "1.0.0").call();
    assert!(
        loopback
            .server()
            .log()
            .iter()
            .all(|record| record.status.is_some_and(|status| status.is_success()))
    );
    assert_eq!(deleted.unwrap().status(), 204);
}

#[test]
fn requests_can_be_pipelined_on_one_connection() {
    let (loopback, target) = loopback([]);
    let mut client = Client::connect(loopback.address());
    client.say(
        patch_head(&target, 0, 4)
            + "0123"
            + &patch_head(&target, 4, 6)
            + "456789"
            + &head_head(&target),
    );
    assert!(
        client
            .answer()
            .unwrap()
            .starts_with("HTTP/1.1 204 No Content\r\n")
    );
    assert!(
        client
            .answer()
            .unwrap()
            .contains("\r\nUpload-Offset: 10\r\n")
    );
    assert!(client.answer().unwrap().starts_with("HTTP/1.1 200 OK\r\n"));
    assert_eq!(
        loopback.server().upload(&target).unwrap().content(),
        b"0123456789"
    );
}

#[test]
fn a_connection_closes_when_the_client_wants_it_to() {
    let (loopback, target) = loopback([]);
    let mut client = Client::connect(loopback.address());
    client.say(head_head(&target).replace("Host: h", "Host: h\r\nConnection: foo, Close"));
    assert!(
        client
            .answer()
            .unwrap()
            .contains("\r\nConnection: close\r\n")
    );
    assert_eq!(client.end(), None);
}

#[test]
fn a_body_that_breaks_off_leaves_what_arrived() {
    for reset in [false, true] {
        let (loopback, target) = loopback([]);
        let mut client = Client::connect(loopback.address());
        client.say(patch_head(&target, 0, 10) + "01234");
        eventually(|| loopback.server().upload(&target).unwrap().offset() == 5);
        assert_eq!(loopback.server().locks(), 1);
        leave(client, reset);
        eventually(|| loopback.server().locks() == 0);
        assert_eq!(
            loopback.server().upload(&target).unwrap().content(),
            b"01234"
        );
    }
}

#[test]
fn the_body_is_asked_for_only_when_it_is_wanted() {
    let (loopback, target) = loopback([]);
    let expect = |offset| {
        patch_head(&target, offset, 10).replace("Host: h", "Host: h\r\nExpect: 100-continue")
    };
    let mut client = Client::connect(loopback.address());
    client.say(expect(3));
    assert!(
        client
            .answer()
            .unwrap()
            .starts_with("HTTP/1.1 409 Conflict\r\n")
    );

    let mut client = Client::connect(loopback.address());
    client.say(expect(0));
    assert_eq!(client.answer().unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.say("0123456789");
    assert!(client.answer().unwrap().starts_with("HTTP/1.1 204 "));
}

#[test]
fn an_early_answer_comes_early_and_survives_the_rest_of_the_body() {
    let (loopback, target) = loopback([]);
    let length = 30_000_000;
    loopback.server().place(1, 0);
    let mut client = Client::connect(loopback.address());
    client.say(patch_head(&target, 0, length));
    // Before a byte of the body was sent:
    let answer = client.answer().unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"));
    // A client that does not look up while it sends is not reset either.
    client.say(vec![0; length]);
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.end(), None);
}

#[test]
fn a_newcomer_gets_an_early_answer_to_the_other() {
    let (loopback, target) = loopback([]);
    let mut old = Client::connect(loopback.address());
    old.say(patch_head(&target, 0, 10) + "012");
    eventually(|| loopback.server().upload(&target).unwrap().offset() == 3);
    let mut new = Client::connect(loopback.address());
    new.say(head_head(&target));
    assert!(new.answer().unwrap().contains("\r\nUpload-Offset: 3\r\n"));
    old.say("34");
    assert!(old.answer().unwrap().starts_with("HTTP/1.1 400 "));
    assert_eq!(loopback.server().upload(&target).unwrap().content(), b"012");
}

#[test]
fn what_is_not_http_is_refused() {
    let (loopback, target) = loopback([]);
    let mut client = Client::connect(loopback.address());
    client.say("HELO\r\n\r\n");
    assert!(client.answer().unwrap().starts_with("HTTP/1.1 400 "));

    let mut client = Client::connect(loopback.address());
    client.say(
        patch_head(&target, 0, 10).replace("Content-Length: 10", "Transfer-Encoding: chunked"),
    );
    assert!(client.answer().unwrap().starts_with("HTTP/1.1 411 "));
    client.say("3\r\n012\r\n0\r\n\r\n");
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.end(), None);
    assert_eq!(loopback.server().log().len(), 1);
}

#[test]
fn a_length_that_is_none_is_refused_and_ends_the_connection() {
    for length in [
        "5, 6",
        "5, 5",
        "5\r\nContent-Length: 6",
        "5\r\nContent-Length: 5",
        "abc",
        "",
        "+5",
        "-5",
        "18446744073709551616",
    ] {
        let (loopback, target) = loopback([]);
        let mut client = Client::connect(loopback.address());
        let head = patch_head(&target, 0, 10).replace(": 10", &format!(": {length}"));
        client.say(head + "01234" + &head_head(&target));
        let answer = client.answer().unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{length}: {answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{length}");
        client.stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.end(), None);
        let after = String::from_utf8(client.read).unwrap();
        assert!(!after.contains("HTTP/"), "{length}: {after}");
        assert_eq!(loopback.server().log().len(), 0);
    }
}

#[test]
fn header_names_can_be_of_any_case() {
    for (quirk, name) in [
        (Quirk::LowerCase, "\r\nupload-offset: 0\r\n"),
        (Quirk::UpperCase, "\r\nUPLOAD-OFFSET: 0\r\n"),
    ] {
        let (loopback, target) = loopback([quirk]);
        let mut client = Client::connect(loopback.address());
        client.say(head_head(&target));
        assert!(client.answer().unwrap().contains(name));
    }
}

#[test]
fn connections_are_refused_until_it_listens() {
    let refusing = Loopback::refusing(server([]));
    let endpoint = refusing.endpoint();
    let address = endpoint.strip_prefix("http://").unwrap();
    let address: SocketAddr = address.split('/').next().unwrap().parse().unwrap();
    let refused = TcpStream::connect(address).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let loopback = refusing.listen();
    assert_eq!(loopback.endpoint(), endpoint);
    TcpStream::connect(address).unwrap();
}

#[test]
fn two_ports_serve_the_same_uploads() {
    let (loopback, target) = loopback([]);
    let other = loopback.another();
    {
        // The server is not asked: it may be held, even here.
        let _held = loopback.server();
        assert_ne!(loopback.endpoint(), other.endpoint());
    }
    let mut client = Client::connect(other.address());
    client.say(patch_head(&target, 0, 10) + "0123456789");
    assert!(client.answer().unwrap().starts_with("HTTP/1.1 204 "));
    assert!(loopback.server().upload(&target).unwrap().is_complete());
}

/// What a fault does to a PATCH of ten bytes: the status, or how the connection ended; and what was
/// kept when the client knew.
fn undergo(fault: Fault) -> (Result<String, ErrorKind>, u64) {
    let (loopback, target) = loopback([]);
    loopback.set_faults(FaultPlan::scripted([Some(fault)]));
    let mut client = Client::connect(loopback.address());
    client.say(patch_head(&target, 0, 10) + "0123456789");
    let answer = client
        .answer()
        .map(|answer| answer[9..12].to_owned())
        .map_err(|error| error.kind());
    let kept = loopback.server().upload(&target).unwrap().offset();
    (answer, kept)
}

#[test]
fn each_fault_reaches_as_far_as_it_says() {
    let reset = Err(ErrorKind::ConnectionReset);
    assert_eq!(undergo(Fault::Refuse), (reset.clone(), 0));
    assert_eq!(undergo(Fault::LoseRequest), (reset.clone(), 0));
    assert_eq!(undergo(Fault::Cut { after: 0 }), (reset.clone(), 0));
    assert_eq!(undergo(Fault::Cut { after: 4 }), (reset.clone(), 4));
    assert_eq!(undergo(Fault::Cut { after: 11 }), (reset.clone(), 10));
    assert_eq!(undergo(Fault::LoseAnswer), (reset, 10));
    let answer = |reach| Fault::Answer {
        reach,
        response: unavailable(),
    };
    let status = Ok("503".to_owned());
    assert_eq!(undergo(answer(Reach::Nothing)), (status.clone(), 0));
    assert_eq!(undergo(answer(Reach::Swallowed)), (status.clone(), 0));
    assert_eq!(undergo(answer(Reach::Bytes(4))), (status.clone(), 4));
    assert_eq!(undergo(answer(Reach::All)), (status, 10));
    assert_eq!(
        undergo(Fault::Delay(Duration::from_millis(1))),
        (Ok("204".to_owned()), 10)
    );
}

#[test]
fn faults_come_in_the_order_of_the_plan_and_leave_the_connection_where_they_can() {
    let (loopback, target) = loopback([]);
    let busy = Fault::Answer {
        reach: Reach::Swallowed,
        response: unavailable(),
    };
    loopback.set_faults(FaultPlan::scripted([Some(busy.clone()), None, Some(busy)]));
    let mut client = Client::connect(loopback.address());
    for (status, body) in [("503", "later"), ("200", ""), ("503", "")] {
        client.say(head_head(&target));
        let answer = client.answer().unwrap();
        assert_eq!(&answer[9..12], status, "{body}");
    }
    let log = loopback
        .server()
        .log()
        .iter()
        .map(|record| record.status.unwrap().as_u16())
        .collect::<Vec<_>>();
    assert_eq!(log, [503, 200, 503]);
}

#[test]
fn a_stalled_exchange_stays_silent_until_the_end() {
    let (loopback, target) = loopback([]);
    loopback.set_faults(FaultPlan::scripted([Some(Fault::Stall { after: 4 })]));
    let mut client = Client::connect(loopback.address());
    client.say(patch_head(&target, 0, 10) + "0123456789");
    eventually(|| loopback.server().upload(&target).unwrap().offset() == 4);
    client
        .stream
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let error = client.answer().unwrap_err().kind();
    assert!(
        matches!(error, ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{error:?}"
    );
    assert_eq!(loopback.server().locks(), 1);
    // Dropping must end it: were it not for that, this test would not.
    drop(loopback);
    client
        .stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let ending = client.answer().unwrap_err().kind();
    assert!(
        matches!(
            ending,
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
        ),
        "{ending:?}"
    );
}

#[test]
fn a_stalled_exchange_ends_when_its_client_leaves() {
    for reset in [false, true] {
        for length in [10, 1 << 20] {
            let loopback = Loopback::start(server([Quirk::LockedIs(423)]));
            let target = loopback.server().place(length as u64, 0);
            loopback.set_faults(FaultPlan::scripted([Some(Fault::Stall { after: 4 })]));
            let mut client = Client::connect(loopback.address());
            client.say(patch_head(&target, 0, length));
            client.say(vec![b'a'; length]);
            eventually(|| loopback.server().upload(&target).unwrap().offset() == 4);
            assert_eq!(loopback.server().locks(), 1);
            leave(client, reset);
            eventually(|| loopback.server().locks() == 0);
            assert_eq!(
                loopback.server().upload(&target).unwrap().content(),
                b"aaaa"
            );
        }
    }
}

#[test]
fn dropping_ends_all_connections() {
    let (loopback, target) = loopback([]);
    let mut idle = Client::connect(loopback.address());
    idle.say(head_head(&target));
    idle.answer().unwrap();
    let mut sending = Client::connect(loopback.address());
    sending.say(patch_head(&target, 0, 10) + "012");
    let address = loopback.address();
    eventually(|| loopback.server().locks() == 1);
    drop(loopback);
    assert!(idle.answer().is_err());
    assert!(sending.answer().is_err());
    assert!(TcpStream::connect(address).is_err());
}
