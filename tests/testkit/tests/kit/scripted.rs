//! The peer that does what it was told.

use std::io::ErrorKind;
use std::net::Shutdown;

use tus_testkit::{Scripted, Step};

use crate::loopback::Client;

#[test]
fn each_connection_has_its_conversation() {
    let peer = Scripted::start([
        vec![
            Step::ReadHead,
            Step::write("HTTP/1.1 200 OK\r\n\r\n"),
            Step::Read(3),
            Step::write("again\r\n\r\n"),
        ],
        vec![
            Step::Write(b"second\r\n\r\n".into()),
            Step::Close,
            Step::write("never"),
        ],
        vec![Step::Read(2), Step::Reset],
    ]);

    let mut client = Client::connect(peer.address());
    client.say("GET / HTTP/1.1\r\n");
    client.say("\r\nabc and more");
    assert_eq!(client.answer().unwrap(), "HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(client.answer().unwrap(), "again\r\n\r\n");
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.end(), None);

    let mut client = Client::connect(peer.address());
    assert_eq!(client.answer().unwrap(), "second\r\n\r\n");
    assert_eq!(
        client.answer().unwrap_err().kind(),
        ErrorKind::UnexpectedEof
    );

    let mut client = Client::connect(peer.address());
    client.say("ab");
    assert_eq!(client.end(), Some(ErrorKind::ConnectionReset));

    let mut client = Client::connect(peer.address());
    assert_eq!(client.end(), None);

    assert_eq!(
        peer.read(),
        [&b"GET / HTTP/1.1\r\n\r\nabc"[..], b"", b"ab", b""]
    );
}

#[test]
fn what_is_held_ends_with_the_peer() {
    let peer = Scripted::start([vec![Step::ReadHead, Step::Hold]]);
    let mut client = Client::connect(peer.address());
    client.say("GET / HTTP/1.1\r\n\r\n");
    drop(peer);
    assert!(client.answer().is_err());
}

#[test]
fn a_client_that_leaves_ends_the_conversation() {
    let peer = Scripted::start([vec![Step::Read(10), Step::Hold], vec![]]);
    let mut client = Client::connect(peer.address());
    client.say("abc");
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert!(client.answer().is_err());
    assert_eq!(peer.read(), [b"abc"]);
}
