//! Bodies in chunks, with a digest after them, on a socket.

use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use tus_testkit::{Extension, Fault, FaultPlan, Loopback, Options, Quirk, Reach, Server};

use crate::OCTETS;
use crate::checksum::SHA1;
use crate::loopback::{Client, eventually, head_head, loopback};

fn chunked_head(target: &str) -> String {
    format!(
        "PATCH {target} HTTP/1.1\r\nHost: h\r\nTus-Resumable: 1.0.0\r\nContent-Type: {OCTETS}\r\n\
         Upload-Offset: 0\r\nTransfer-Encoding: chunked\r\nTrailer: Upload-Checksum\r\n\r\n"
    )
}

/// `hello` in chunks, with its digest.
fn hello() -> String {
    format!("2\r\nhe\r\n03;x=y\r\nllo\r\n0\r\nOther: x\r\nUpload-Checksum: {SHA1}\r\n\r\n")
}

#[test]
fn chunks_are_taken_with_a_digest_after_them() {
    let (loopback, target) = loopback([]);
    let mut client = Client::connect(loopback.address());
    client.say(chunked_head(&target) + &hello() + &head_head(&target));
    let answer = client.answer().unwrap();
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    assert!(answer.contains("\r\nUpload-Offset: 5\r\n"));
    // The connection goes on, in step.
    let found = client.answer().unwrap();
    assert!(found.contains("\r\nUpload-Offset: 5\r\n"), "{found}");
    let server = loopback.server();
    assert_eq!(server.upload(&target).unwrap().content(), b"hello");
    assert_eq!(server.log()[0].trailers["upload-checksum"], SHA1);
    assert_eq!(server.log()[0].trailers["other"], "x");
}

#[test]
fn chunks_arrive_byte_by_byte_as_well() {
    let (loopback, target) = loopback([]);
    let mut client = Client::connect(loopback.address());
    client.say(chunked_head(&target));
    for byte in hello().into_bytes() {
        client.say([byte]);
    }
    assert!(client.answer().unwrap().starts_with("HTTP/1.1 204 "));
    assert_eq!(
        loopback.server().upload(&target).unwrap().content(),
        b"hello"
    );
}

#[test]
fn a_wrong_digest_or_none_keeps_nothing() {
    for (rest, status) in [
        (hello().replace("llo", "llO"), "460"),
        ("5\r\nhello\r\n0\r\n\r\n".into(), "400"),
        (
            "5\r\nhello\r\n0\r\nUpload-Checksum: x\r\n\r\n".into(),
            "400",
        ),
        ("0\r\n\r\n".into(), "400"),
    ] {
        let (loopback, target) = loopback([]);
        let mut client = Client::connect(loopback.address());
        client.say(chunked_head(&target) + &rest + &head_head(&target));
        assert_eq!(&client.answer().unwrap()[9..12], status, "{rest}");
        assert_eq!(loopback.server().upload(&target).unwrap().offset(), 0);
    }
}

#[test]
fn chunks_that_are_none_are_refused() {
    for rest in [
        "x\r\n",
        "5\r\nhello!\r\n",
        "5\r\nhello\r\n-1\r\n",
        "11111111111111111\r\n",
        "5\r\nhello\r\n0\r\nno field\r\n\r\n",
    ] {
        let (loopback, target) = loopback([]);
        let mut client = Client::connect(loopback.address());
        client.say(chunked_head(&target) + rest);
        let answer = client.answer().unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{rest}: {answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"));
        let server = loopback.server();
        assert_eq!(server.upload(&target).unwrap().offset(), 0);
        assert_eq!(server.locks(), 0);
    }
}

#[test]
fn trailers_come_to_an_end() {
    let (loopback, target) = loopback([]);
    let mut client = Client::connect(loopback.address());
    let field = format!("x: {}\r\n", "x".repeat(1000));
    client.say(chunked_head(&target) + "0\r\n" + &field.repeat(66));
    assert!(client.answer().unwrap().starts_with("HTTP/1.1 400 "));
}

#[test]
fn chunks_that_break_off_keep_nothing() {
    let (loopback, target) = loopback([]);
    let mut client = Client::connect(loopback.address());
    client.say(chunked_head(&target) + "5\r\nhello\r\n");
    eventually(|| {
        loopback
            .server()
            .log()
            .iter()
            .any(|record| record.body == 5)
    });
    drop(client);
    eventually(|| loopback.server().locks() == 0);
    assert_eq!(loopback.server().upload(&target).unwrap().offset(), 0);
    assert_eq!(loopback.server().log()[0].status, None);
}

#[test]
fn chunks_need_the_extension() {
    let loopback = Loopback::start(Server::new(Options {
        extensions: vec![Extension::Checksum],
        ..Options::default()
    }));
    let target = loopback.server().place(10, 0);
    let mut client = Client::connect(loopback.address());
    client.say(chunked_head(&target));
    assert!(client.answer().unwrap().starts_with("HTTP/1.1 411 "));
}

#[test]
fn a_length_leaves_no_room_for_a_trailer() {
    let (loopback, target) = loopback([]);
    let mut client = Client::connect(loopback.address());
    let head = chunked_head(&target).replace("Transfer-Encoding: chunked", "Content-Length: 5");
    client.say(head + "hello" + &head_head(&target));
    assert!(client.answer().unwrap().starts_with("HTTP/1.1 400 "));
    assert!(
        client
            .answer()
            .unwrap()
            .contains("\r\nUpload-Offset: 0\r\n")
    );
}

#[test]
fn what_goes_beyond_the_length_is_answered_early() {
    let (loopback, target) = loopback([]);
    let mut client = Client::connect(loopback.address());
    client.say(chunked_head(&target) + "6\r\n012345\r\n5\r\n67890\r\n");
    let answer = client.answer().unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"));
    assert_eq!(loopback.server().upload(&target).unwrap().offset(), 0);
}

/// What a fault does to `hello` in chunks where digests are ignored: the status, or how the connection
/// ended; and what was kept.
fn undergo(fault: Fault) -> (Result<String, ErrorKind>, u64) {
    let (loopback, target) = loopback([Quirk::IgnoresChecksum]);
    loopback.set_faults(FaultPlan::scripted([Some(fault)]));
    let mut client = Client::connect(loopback.address());
    client.say(chunked_head(&target) + &hello());
    let answer = client.answer().map(|answer| answer[9..12].to_owned());
    let kept = loopback.server().upload(&target).unwrap().offset();
    (answer.map_err(|error| error.kind()), kept)
}

#[test]
fn faults_count_the_bytes_in_the_chunks() {
    let reset = Err(ErrorKind::ConnectionReset);
    for (after, kept) in [(0, 0), (1, 1), (2, 2), (4, 4), (5, 5), (9, 5)] {
        assert_eq!(undergo(Fault::Cut { after }), (reset.clone(), kept));
    }
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let answer = |reach| Fault::Answer {
        reach,
        response: response.clone(),
    };
    let status = Ok("503".to_owned());
    assert_eq!(undergo(answer(Reach::Nothing)), (status.clone(), 0));
    assert_eq!(undergo(answer(Reach::Swallowed)), (status.clone(), 0));
    assert_eq!(undergo(answer(Reach::Bytes(4))), (status.clone(), 4));
    assert_eq!(undergo(answer(Reach::All)), (status, 5));
}

#[test]
fn a_body_in_chunks_that_is_swallowed_leaves_the_connection() {
    let (loopback, target) = loopback([]);
    let busy = Fault::Answer {
        reach: Reach::Swallowed,
        response: Response::new(Bytes::new()),
    };
    loopback.set_faults(FaultPlan::scripted([Some(busy)]));
    let mut client = Client::connect(loopback.address());
    client.say(chunked_head(&target) + &hello() + &head_head(&target));
    assert!(client.answer().unwrap().starts_with("HTTP/1.1 200 "));
    assert!(
        client
            .answer()
            .unwrap()
            .contains("\r\nUpload-Offset: 0\r\n")
    );
    assert_eq!(loopback.server().log()[0].body, 5);
}

#[test]
fn a_fault_at_a_byte_does_not_wait_for_the_next() {
    let (loopback, target) = loopback([]);
    loopback.set_faults(FaultPlan::scripted([Some(Fault::Cut { after: 5 })]));
    let mut client = Client::connect(loopback.address());
    client
        .stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    // Nothing follows on the fifth byte of ten, and the cut comes all the same.
    client.say(crate::loopback::patch_head(&target, 0, 10) + "01234");
    assert_eq!(
        client.answer().unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    assert_eq!(loopback.server().upload(&target).unwrap().offset(), 5);
}
