//! `tus upload ENDPOINT -`: what comes through a pipe.

use std::fs::File;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;

use tus_testkit::{
    Loopback, Options, Proxy, ProxyPlan, Quirk, Scripted, Server, Step, Trouble, Upload,
};

#[cfg(unix)]
use crate::support::Running;
use crate::support::{Place, Ran, content};

fn server() -> Loopback {
    Loopback::start(Server::new(Options::default()))
}

fn from_stdin(place: &Place, endpoint: &str, args: &[&str]) -> Command {
    place.tus([&["upload", endpoint, "-"][..], args].concat())
}

/// The command with so many bytes coming through a pipe.
fn piped(mut command: Command, length: usize) -> Ran {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    // Whoever ends early reads no further.
    let writer = thread::spawn(move || drop(pipe.write_all(&content(length))));
    let ran = child.wait_with_output().unwrap().into();
    writer.join().unwrap();
    ran
}

#[test]
fn a_pipe_arrives_whatever_its_length() {
    // Less than a request, exactly two, two and a bit, and nothing at all.
    for length in [1, 1000, 2_000_000, 2_000_001, 0] {
        let (place, server) = (Place::new(), server());
        let args = ["--chunk-size", "1MB"];
        let ran = piped(from_stdin(&place, &server.endpoint(), &args), length);
        let server = server.server();
        let upload = server.upload(ran.url()).unwrap();
        assert!(upload.is_complete(), "{length}: {ran:#?}");
        assert!(upload.content() == content(length), "{length}");
        assert_eq!(upload.metadata(), None);
        assert!(server.log().iter().all(|request| request.body <= 1_000_000));
        assert!(ran.stderr.contains("done: "), "{ran:#?}");
        assert!(
            !ran.stderr.contains('%'),
            "a share of what has no end: {ran:#?}"
        );
        assert!(!place.state().exists());
    }
}

#[test]
fn stdin_may_be_a_file_and_have_metadata() {
    let (place, server) = (Place::new(), server());
    let file = File::open(place.file("a.txt", 100_000)).unwrap();
    let args = ["--metadata", "filename=b", "--checksum", "sha256"];
    let output = from_stdin(&place, &server.endpoint(), &args)
        .stdin(file)
        .output();
    let ran = Ran::from(output.unwrap());
    let server = server.server();
    let upload = server.upload(ran.url()).unwrap();
    assert!(upload.content() == content(100_000));
    assert_eq!(upload.metadatum("filename").unwrap(), b"b");
    assert_eq!(upload.metadatum("filetype"), None);
}

#[test]
fn a_line_that_is_cut_costs_a_pipe_nothing() {
    let (place, server) = (Place::new(), server());
    let plan = ProxyPlan {
        troubles: vec![
            (700_000, Trouble::Reset),
            (1_500_000, Trouble::Reset),
            (2_990_000, Trouble::LoseAnswer),
        ],
        ..ProxyPlan::default()
    };
    let proxy = Proxy::start(server.address(), plan);
    let args = ["--chunk-size", "512K"];
    let ran = piped(from_stdin(&place, &proxy.url("/files/"), &args), 3_000_000);
    let server = server.server();
    assert!(server.upload(ran.url()).unwrap().content() == content(3_000_000));
    assert_eq!(server.uploads().count(), 1);
    assert_eq!(proxy.cuts(), 3);
}

#[test]
fn a_pipe_that_fails_is_not_said_to_go_on() {
    let (place, server) = (Place::new(), server());
    let plan = ProxyPlan {
        troubles: vec![(1_500_000, Trouble::Reset)],
        ..ProxyPlan::default()
    };
    let proxy = Proxy::start(server.address(), plan);
    let args = ["--retries", "0", "-q"];
    let ran = piped(from_stdin(&place, &proxy.url("/files/"), &args), 3_000_000);
    assert_eq!(ran.status, Some(5), "{ran:#?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:#?}");
    assert!(!ran.stderr.contains("same command"), "{ran:#?}");
    assert_eq!(ran.stdout, "");
}

#[test]
fn a_pipe_that_is_refused_is_told_what_to_mend() {
    let (place, server) = (Place::new(), server());
    let quirk = Quirk::Authorization("Basic x".into());
    server.server().quirks_mut().push(quirk);
    let ran = piped(from_stdin(&place, &server.endpoint(), &["-q"]), 1000);
    assert_eq!(ran.status, Some(4), "{ran:#?}");
    assert!(ran.stderr.contains("--header"), "{ran:#?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:#?}");
    assert!(!ran.stderr.contains("same command"), "{ran:#?}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_is_heard_though_the_pipe_is_silent() {
    let (place, server) = (Place::new(), server());
    let mut command = from_stdin(&place, &server.endpoint(), &["--debug"]);
    command.stdin(Stdio::piped());
    let mut running = Running::spawn(command);
    running.until("OPTIONS");
    running.signal(rustix::process::Signal::INT);
    let ran = running.finish();
    assert_eq!(ran.status, Some(130), "{ran:#?}");
    // That it stops is said by another thread, before or after.
    assert!(ran.stderr.contains("stdin cannot go on"), "{ran:#?}");
    assert!(!server.server().uploads().any(Upload::is_complete));
}

#[test]
fn a_server_that_loses_what_the_pipe_gave_is_told_of() {
    let place = Place::new();
    let answers = |body: u64, status: &str, fields: &str| {
        let says = format!(
            "HTTP/1.1 {status}\r\nTus-Resumable: 1.0.0\r\nContent-Length: 0\r\n{fields}\r\n"
        );
        vec![
            Step::ReadHead,
            Step::Read(body),
            Step::write(says),
            Step::Close,
        ]
    };
    let peer = Scripted::start([
        answers(0, "204 No Content", ""),
        answers(0, "201 Created", "Location: /files/1\r\n"),
        answers(1000, "204 No Content", "Upload-Offset: 1000\r\n"),
        answers(1000, "500 No", ""),
        answers(
            0,
            "200 OK",
            "Upload-Offset: 0\r\nUpload-Defer-Length: 1\r\n",
        ),
    ]);
    let args = ["-q", "--chunk-size", "1000", "--retries", "3"];
    let ran = piped(from_stdin(&place, &peer.url("/files/"), &args), 3000);
    assert_eq!(ran.status, Some(4), "{ran:#?}");
    assert!(ran.stderr.contains("the server lost bytes"), "{ran:#?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:#?}");
}

#[test]
fn what_stdin_cannot_be() {
    let (place, server) = (Place::new(), server());
    place.file("a", 10);
    let endpoint = server.endpoint();
    for (args, says) in [
        (&["-", "--parallel", "2"][..], "read but once"),
        (&["-", "--fresh"], "nothing is kept"),
        (&["-", "a", "--concat"], "cannot be joined"),
        (&["-", "--concat"], "cannot be joined"),
        (&["a", "-"], "cannot be joined"),
    ] {
        let ran = place.run([&["upload", &endpoint][..], args].concat());
        assert_eq!(ran.status, Some(2), "{args:?}: {ran:#?}");
        assert!(ran.stderr.contains(says), "{args:?}: {ran:#?}");
    }
    assert!(server.server().log().is_empty());
}
