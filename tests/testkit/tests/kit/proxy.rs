//! The line that breaks.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use tus_testkit::{Loopback, Proxy, ProxyPlan, Scripted, Step, Trouble};

use crate::loopback::{Client, eventually, head_head, loopback, patch_head};
use crate::server;

fn content(length: usize) -> Vec<u8> {
    (0..length)
        .map(|n| u8::try_from(n % 251).unwrap())
        .collect()
}

/// Sends as much as is taken, and says how the connection ended.
fn send_until_it_ends(client: &mut Client, bytes: &[u8]) -> ErrorKind {
    match client.stream.write_all(bytes) {
        Err(error) => error.kind(),
        Ok(()) => client
            .answer()
            .expect_err("the answer should not have come")
            .kind(),
    }
}

#[track_caller]
fn assert_reset(kind: ErrorKind) {
    assert!(
        matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
        "{kind:?}"
    );
}

#[test]
fn an_untroubled_line_changes_nothing() {
    let (loopback, target) = loopback([]);
    let proxy = Proxy::start(loopback.address(), ProxyPlan::default());
    let mut client = Client::connect(proxy.address());
    let first = patch_head(&target, 0, 4) + "0123";
    client.say(&first);
    assert!(client.answer().unwrap().starts_with("HTTP/1.1 204 "));
    let second = patch_head(&target, 4, 6) + "456789";
    client.say(&second);
    assert!(
        client
            .answer()
            .unwrap()
            .contains("\r\nUpload-Offset: 10\r\n")
    );
    assert_eq!(proxy.received(), (first.len() + second.len()) as u64);
    assert_eq!((proxy.connections(), proxy.cuts()), (1, 0));
}

#[test]
fn resets_come_at_exact_counts_of_the_total() {
    const LENGTH: usize = 4_000_000;
    let counts = [1_000_003, 1_000_303, 2_500_000];
    let loopback = Loopback::start(server([]));
    let target = loopback.server().place(LENGTH as u64, 0);
    let content = content(LENGTH);
    let troubles = counts
        .iter()
        .rev()
        .map(|&at| (at, Trouble::Reset))
        .collect();
    let proxy = Proxy::start(
        loopback.address(),
        ProxyPlan {
            troubles,
            ..ProxyPlan::default()
        },
    );

    let (mut heads, mut offset) = (0, 0);
    for count in counts {
        let head = patch_head(&target, offset, LENGTH - usize::try_from(offset).unwrap());
        heads += head.len() as u64;
        let mut client = Client::connect(proxy.address());
        client.say(head);
        assert_reset(send_until_it_ends(
            &mut client,
            &content[usize::try_from(offset).unwrap()..],
        ));
        assert_eq!(proxy.received(), count);
        // The server has dealt with every byte by now: nothing is waited for.
        offset = loopback.server().upload(&target).unwrap().offset();
        assert_eq!(offset, count - heads);
        assert_eq!(loopback.server().locks(), 0);
    }

    let mut client = Client::connect(proxy.address());
    client.say(patch_head(
        &target,
        offset,
        LENGTH - usize::try_from(offset).unwrap(),
    ));
    client.say(&content[usize::try_from(offset).unwrap()..]);
    assert!(client.answer().unwrap().starts_with("HTTP/1.1 204 "));
    assert!(loopback.server().upload(&target).unwrap().content() == content);
    assert_eq!((proxy.connections(), proxy.cuts()), (4, 3));
}

#[test]
fn each_connection_can_have_its_count() {
    let peer = Scripted::start(vec![vec![Step::Read(u64::MAX)]; 4]);
    let plan = ProxyPlan {
        each: Some((100_000, Trouble::Reset)),
        graceful: false,
        ..ProxyPlan::default()
    };
    let proxy = Proxy::start(peer.address(), plan);
    for n in 1..=3 {
        let mut client = Client::connect(proxy.address());
        assert_reset(send_until_it_ends(&mut client, &content(200_000)));
        assert_eq!((proxy.received(), proxy.cuts()), (n * 100_000, n));
    }
    let at_once = ProxyPlan {
        each: Some((0, Trouble::Reset)),
        ..ProxyPlan::default()
    };
    let proxy = Proxy::start(peer.address(), at_once);
    let mut client = Client::connect(proxy.address());
    assert_reset(send_until_it_ends(&mut client, b"GET"));
    assert_eq!(proxy.received(), 0);
}

#[test]
fn a_reset_that_is_not_graceful_is_one_for_the_server_too() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for (graceful, ending) in [(true, None), (false, Some(ErrorKind::ConnectionReset))] {
        let plan = ProxyPlan {
            troubles: vec![(5, Trouble::Reset)],
            graceful,
            ..ProxyPlan::default()
        };
        let proxy = Proxy::start(listener.local_addr().unwrap(), plan);
        let mut client = Client::connect(proxy.address());
        client.say("0123456789");
        let mut server = listener.accept().unwrap().0;
        let mut read = Vec::new();
        let end = server.read_to_end(&mut read);
        assert_eq!(end.err().map(|error| error.kind()), ending);
        // After a reset the system may or may not hand out what had arrived.
        assert!(b"01234".starts_with(&read[..]) && (!graceful || read.len() == 5));
        drop(server);
        assert_eq!(client.end(), Some(ErrorKind::ConnectionReset));
    }
}

#[test]
fn a_lost_answer_is_lost_after_all_was_done() {
    let (loopback, target) = loopback([]);
    let request = patch_head(&target, 0, 10) + "0123456789";
    let troubles = vec![(request.len() as u64 - 3, Trouble::LoseAnswer)];
    let proxy = Proxy::start(
        loopback.address(),
        ProxyPlan {
            troubles,
            ..ProxyPlan::default()
        },
    );
    let mut client = Client::connect(proxy.address());
    client.say(&request);
    assert_eq!(
        client.answer().unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    assert!(loopback.server().upload(&target).unwrap().is_complete());
    assert_eq!((proxy.received(), proxy.cuts()), (request.len() as u64, 1));

    let mut client = Client::connect(proxy.address());
    client.say(head_head(&target));
    assert!(client.answer().unwrap().starts_with("HTTP/1.1 200 "));
}

#[test]
fn an_interim_answer_is_none() {
    let peer = Scripted::start([vec![
        Step::ReadHead,
        Step::write("HTTP/1.1 100 Continue\r\n\r\n"),
        Step::Read(3),
        Step::write("HTTP/1.1 204 No Content\r\n\r\n"),
        Step::Hold,
    ]]);
    let plan = ProxyPlan {
        troubles: vec![(0, Trouble::LoseAnswer)],
        ..ProxyPlan::default()
    };
    let proxy = Proxy::start(peer.address(), plan);
    let mut client = Client::connect(proxy.address());
    client.say("PATCH / HTTP/1.1\r\n\r\n");
    assert!(client.answer().unwrap().starts_with("HTTP/1.1 100 "));
    client.say("abc");
    assert_eq!(
        client.answer().unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
}

#[test]
fn an_answer_is_told_from_interim_ones_however_they_come() {
    const INTERIM: [&str; 2] = [
        "HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
    ];
    const FINAL: &str = "HTTP/1.1 204 No Content\r\n\r\n";
    let start = |steps: Vec<Step>| {
        let steps = [Step::ReadHead].into_iter().chain(steps);
        let peer = Scripted::start([steps.chain([Step::Hold]).collect()]);
        let plan = ProxyPlan {
            troubles: vec![(0, Trouble::LoseAnswer)],
            ..ProxyPlan::default()
        };
        let proxy = Proxy::start(peer.address(), plan);
        let mut client = Client::connect(proxy.address());
        client.say("PATCH / HTTP/1.1\r\n\r\n");
        (peer, proxy, client)
    };
    let reset = Err(ErrorKind::ConnectionReset);
    let answer = |client: &mut Client| client.answer().map_err(|error| error.kind());

    // In one piece with the final one.
    let (_peer, proxy, mut client) = start(vec![Step::write(INTERIM.concat() + FINAL)]);
    // The system may have thrown away with the reset what was there.
    let mut last = answer(&mut client);
    while last.as_ref().is_ok_and(|last| INTERIM.contains(&&**last)) {
        last = answer(&mut client);
    }
    assert_eq!((last, proxy.cuts()), (reset.clone(), 1));

    // Byte by byte.
    let bytes = INTERIM.concat().into_bytes();
    let trickled = bytes.chunks(1).map(Step::write);
    let last = [Step::Read(1), Step::write(FINAL)];
    let (_peer, proxy, mut client) = start(trickled.chain(last).collect());
    for interim in INTERIM {
        assert_eq!(answer(&mut client).as_deref(), Ok(interim));
    }
    client.say("a");
    assert_eq!((answer(&mut client), proxy.cuts()), (reset.clone(), 1));

    // One that breaks off is lost too.
    let (_peer, proxy, mut client) = start(vec![Step::write("HTTP/1"), Step::Close]);
    assert_eq!((answer(&mut client), proxy.cuts()), (reset, 1));
}

#[test]
fn an_answer_that_began_with_the_count_is_lost_too() {
    // The peer answers at once, and its end comes with it.
    let peer = Scripted::start(vec![
        vec![
            Step::ReadHead,
            Step::write("HTTP/1.1 204 No Content\r\n\r\n"),
            Step::Close,
        ];
        300
    ]);
    let request = "PATCH / HTTP/1.1\r\n\r\n";
    let plan = ProxyPlan {
        each: Some((request.len() as u64, Trouble::LoseAnswer)),
        ..ProxyPlan::default()
    };
    let proxy = Proxy::start(peer.address(), plan);
    for n in 1..=300 {
        let mut client = Client::connect(proxy.address());
        client.say(request);
        assert_eq!(
            client.answer().unwrap_err().kind(),
            ErrorKind::ConnectionReset
        );
        assert_eq!(proxy.cuts(), n);
    }
}

#[test]
fn a_stall_takes_no_more_and_says_nothing() {
    let (loopback, target) = loopback([]);
    let head = patch_head(&target, 0, 10);
    let troubles = vec![(head.len() as u64 + 4, Trouble::Stall)];
    let proxy = Proxy::start(
        loopback.address(),
        ProxyPlan {
            troubles,
            ..ProxyPlan::default()
        },
    );
    let mut client = Client::connect(proxy.address());
    client.say(head + "0123456789");
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
    assert_eq!((loopback.server().locks(), proxy.cuts()), (1, 1));

    // Another connection is another line.
    let mut other = Client::connect(proxy.address());
    other.say(head_head(&target));
    assert!(other.answer().unwrap().contains("\r\nUpload-Offset: 4\r\n"));

    drop(proxy);
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
fn a_stalled_client_is_not_read_from() {
    let (loopback, _) = loopback([]);
    let plan = ProxyPlan {
        troubles: vec![(1000, Trouble::Stall)],
        ..ProxyPlan::default()
    };
    let proxy = Proxy::start(loopback.address(), plan);
    let client = Client::connect(proxy.address());
    client
        .stream
        .set_write_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let error = (&client.stream)
        .write_all(&content(16 << 20))
        .unwrap_err()
        .kind();
    assert!(
        matches!(error, ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{error:?}"
    );
    assert_eq!(proxy.received(), 1000);
}

#[test]
fn a_delay_holds_every_piece_up() {
    let (loopback, target) = loopback([]);
    let delay = Duration::from_millis(60);
    let proxy = Proxy::start(
        loopback.address(),
        ProxyPlan {
            delay,
            ..ProxyPlan::default()
        },
    );
    let mut client = Client::connect(proxy.address());
    let start = Instant::now();
    client.say(head_head(&target));
    client.answer().unwrap();
    assert!(start.elapsed() >= delay);
    // One that outlasts everything does not outlast the proxy.
    let proxy = Proxy::start(
        loopback.address(),
        ProxyPlan {
            delay: Duration::MAX,
            ..ProxyPlan::default()
        },
    );
    let mut client = Client::connect(proxy.address());
    client.say(head_head(&target));
    eventually(|| proxy.received() > 0);
    drop(proxy);
    assert!(client.answer().is_err());
}

#[test]
fn ends_pass_through_one_direction_at_a_time() {
    let peer = Scripted::start([vec![
        Step::Read(4),
        Step::Write(b"after the end\r\n\r\n".into()),
    ]]);
    let proxy = Proxy::start(peer.address(), ProxyPlan::default());
    let mut client = Client::connect(proxy.address());
    client.say("abc");
    client.stream.shutdown(Shutdown::Write).unwrap();
    // The peer waits for a fourth byte, which the end of the three tells it not to.
    assert_eq!(client.end(), None);
    assert_eq!(peer.read(), [b"abc"]);

    let peer = Scripted::start([vec![Step::Write(b"hello\r\n\r\n".into()), Step::Close]]);
    let proxy = Proxy::start(peer.address(), ProxyPlan::default());
    let mut client = Client::connect(proxy.address());
    assert_eq!(client.answer().unwrap(), "hello\r\n\r\n");
    assert_eq!(
        client.answer().unwrap_err().kind(),
        ErrorKind::UnexpectedEof
    );
}

#[test]
fn resets_pass_through() {
    let peer = Scripted::start([vec![Step::Read(1), Step::Reset]]);
    let proxy = Proxy::start(peer.address(), ProxyPlan::default());
    let mut client = Client::connect(proxy.address());
    client.say("a");
    assert_eq!(
        client.answer().unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );

    let (loopback, target) = loopback([]);
    let proxy = Proxy::start(loopback.address(), ProxyPlan::default());
    let mut client = Client::connect(proxy.address());
    client.say(patch_head(&target, 0, 10) + "0123");
    eventually(|| loopback.server().upload(&target).unwrap().offset() == 4);
    socket2::SockRef::from(&client.stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    eventually(|| loopback.server().locks() == 0);
}

#[test]
fn a_server_that_is_not_there_resets() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let proxy = Proxy::start(address, ProxyPlan::default());
    let mut client = Client::connect(proxy.address());
    assert_reset(send_until_it_ends(&mut client, b"GET"));
}

#[test]
fn dropping_ends_all_connections() {
    let peer = Scripted::start([vec![Step::Hold]]);
    let proxy = Proxy::start(peer.address(), ProxyPlan::default());
    let mut idle = Client::connect(proxy.address());
    // One whose bytes nobody takes: the proxy's thread is blocked in a write.
    let stuck = Client::connect(proxy.address());
    stuck
        .stream
        .set_write_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    drop((&stuck.stream).write_all(&content(16 << 20)));
    let address = proxy.address();
    drop(proxy);
    assert!(idle.answer().is_err());
    assert!(TcpStream::connect(address).is_err());
}
