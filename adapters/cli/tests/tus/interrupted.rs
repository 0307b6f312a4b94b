//! Uploads that are ended from outside, and go on.
#![cfg(unix)]

use rustix::process::Signal;
use tus_testkit::{Loopback, Options, Proxy, ProxyPlan, Scripted, Server, Step, Trouble};

#[cfg(target_os = "linux")]
use crate::support::Running;
use crate::support::{Place, Ran, content, wait_for};

const LENGTH: usize = 3_000_000;

/// The line stands still for ever after half of the file; the next connection is a good one.
fn hanging(server: &Loopback) -> Proxy {
    Proxy::start(
        server.address(),
        ProxyPlan {
            troubles: vec![(1_500_000, Trouble::Stall)],
            ..ProxyPlan::default()
        },
    )
}

/// Ends an upload in its middle, and runs the same command again.
fn interrupted(signal: Signal) -> (Ran, Ran) {
    let (place, server) = (
        Place::new(),
        Loopback::start(Server::new(Options::default())),
    );
    let proxy = hanging(&server);
    let file = place.file("a", LENGTH);
    let endpoint = proxy.url("/files/");

    let mut running = place.start_upload(&endpoint, &file, &["--chunk-size", "512K"]);
    // Two chunks are there, and the third hangs.
    running.until("Confirmed { offset: 1048576");
    wait_for("the stall", || (proxy.cuts() > 0).then_some(()));
    running.signal(signal);
    let first = running.finish();
    assert_eq!(place.checkpoints().len(), 1, "{first:#?}");

    let second = place.run(["upload".as_ref(), endpoint.as_ref(), file.as_os_str()]);
    let server = server.server();
    assert!(server.upload(second.url()).unwrap().content() == content(LENGTH));
    assert_eq!(server.uploads().count(), 1);
    assert!(second.stderr.contains("going on at"), "{second:#?}");
    assert!(place.checkpoints().is_empty());
    (first, second)
}

#[test]
fn a_killed_upload_goes_on() {
    let (first, _) = interrupted(Signal::KILL);
    assert_eq!(first.status, None);
}

#[test]
fn ctrl_c_says_how_to_go_on() {
    let (first, _) = interrupted(Signal::INT);
    assert_eq!(first.status, Some(130), "{first:#?}");
    let last = first.stderr.lines().last().unwrap();
    assert!(
        last.starts_with("tus: interrupted") && last.contains("same command"),
        "{first:#?}"
    );
    assert_eq!(first.stdout, "");
}

#[test]
fn the_command_that_goes_on_is_the_one_without_fresh() {
    let (place, server) = (
        Place::new(),
        Loopback::start(Server::new(Options::default())),
    );
    let proxy = hanging(&server);
    let file = place.file("a", LENGTH);
    let mut running = place.start_upload(
        &proxy.url("/files/"),
        &file,
        &["--chunk-size", "512K", "--fresh"],
    );
    running.until("Confirmed { offset: 1048576");
    running.signal(Signal::INT);
    let ran = running.finish();
    assert!(
        ran.stderr
            .contains("the same command without --fresh goes on"),
        "{ran:#?}"
    );
}

#[test]
fn sigterm_is_as_ctrl_c() {
    let (first, _) = interrupted(Signal::TERM);
    assert_eq!(first.status, Some(130), "{first:#?}");
}

#[test]
fn ctrl_c_is_heard_though_the_server_never_answers() {
    let place = Place::new();
    let peer = Scripted::start([vec![Step::ReadHead, Step::Hold]]);
    let file = place.file("a", 3_000_000);
    let running = place.start_upload(&peer.url("/files/"), &file, &[]);
    wait_for("a request", || (!peer.read().is_empty()).then_some(()));
    running.signal(Signal::INT);
    let ran = running.finish();
    assert_eq!(ran.status, Some(130), "{ran:#?}");
    assert!(!ran.stderr.contains("panicked"));
}

#[test]
fn ctrl_c_is_heard_though_nobody_reads_stderr() {
    use std::io::Write as _;

    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

    let (place, server) = (
        Place::new(),
        Loopback::start(Server::new(Options::default())),
    );
    let file = place.file("a", LENGTH);
    // Whoever writes to this one waits for ever.
    let (_reader, mut writer) = std::io::pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    while writer.write(&[b'.'; 4096]).is_ok() || writer.write(b".").is_ok() {}
    fcntl_setfl(&writer, flags).unwrap();

    let endpoint = server.endpoint();
    let mut command = place.tus(["upload", &endpoint, file.to_str().unwrap()]);
    let mut child = command
        .stderr(writer)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the upload", || {
        server.server().uploads().next().is_some().then_some(())
    });
    let pid = rustix::process::Pid::from_child(&child);
    let status = wait_for("the end", || {
        let ended = child.try_wait().unwrap();
        if ended.is_none() {
            // The first asks it to stop, the second ends it; two that come together count as one.
            rustix::process::kill_process(pid, Signal::INT).unwrap();
        }
        ended
    });
    assert_eq!(status.code(), Some(130));
}

/// What becomes of an upload that begins with SIGINT ignored, as in a shell's background, and gets
/// this signal before its creation is answered.
#[cfg(target_os = "linux")]
fn in_the_background(signal: Signal) -> Ran {
    let (place, server) = (
        Place::new(),
        Loopback::start(Server::new(Options::default())),
    );
    let file = place.file("a", LENGTH);
    let mut command = place.command("sh");
    command
        .args(["-c", "trap '' INT; exec \"$@\"", "sh"])
        .args([env!("CARGO_BIN_EXE_tus"), "upload", "--debug"])
        .arg(server.endpoint())
        .arg(file);
    // The creation has to wait for its answer.
    let held = server.server();
    let mut running = Running::spawn(command);
    running.until("POST");
    running.signal(signal);
    // Long enough for it to be heard, if it is.
    std::thread::sleep(std::time::Duration::from_millis(100));
    drop(held);
    running.finish()
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_that_was_ignored_stays_ignored() {
    let ran = in_the_background(Signal::INT);
    ran.url();
    assert!(!ran.stderr.contains("stopping"), "{ran:#?}");
    assert_eq!(in_the_background(Signal::TERM).status, Some(130));
}
