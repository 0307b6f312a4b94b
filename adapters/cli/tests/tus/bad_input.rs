//! Whatever one gives it: one clear line, a status from the list, and nothing that is lost.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;

use tus_testkit::{
    Fault, FaultPlan, Location, Loopback, Options, Proxy, Quirk, Reach, Scripted, Server, Step,
};

use crate::support::{Place, Ran, answer, wait_for};

/// What every command of this file is given beside, and must show to nobody.
const SECRETS: [&str; 2] = ["hunter2", "hunter3"];

/// Uploads a file of a megabyte to an endpoint that has a query; quietly, so that nothing but errors
/// is said.
fn upload(place: &Place, endpoint: &str, args: &[&str]) -> Ran {
    upload_file(
        place,
        &format!("{endpoint}?key={}", SECRETS[1]),
        &place.file("a", 1_000_000),
        args,
    )
}

fn upload_file(place: &Place, endpoint: &str, file: &Path, args: &[&str]) -> Ran {
    let header = format!("X-Secret: {}", SECRETS[0]);
    let fixed = ["upload", "--quiet", "--header", &header, endpoint];
    let all = fixed
        .iter()
        .map(OsStr::new)
        .chain([file.as_os_str()])
        .chain(args.iter().map(OsStr::new));
    place.run(all)
}

/// One line, this status, these words, no secret, and no URL on stdout.
#[track_caller]
fn fails(name: &str, ran: &Ran, status: i32, says: &str) {
    assert_eq!(ran.status, Some(status), "{name}: {ran:#?}");
    assert_eq!(ran.stdout, "", "{name}");
    let line = ran.stderr.strip_suffix('\n').unwrap();
    assert!(
        line.starts_with("tus: ") && !line.contains('\n'),
        "{name}: {ran:#?}"
    );
    assert!(line.contains(says), "{name}: {says:?} is not in {line:?}");
    assert!(!line.contains("panicked"), "{name}: {line}");
    assert!(
        line.matches("; ").count() <= 1,
        "{name}: a chain of advice: {line}"
    );
    assert!(
        SECRETS.iter().all(|secret| !line.contains(secret)),
        "{name}: {line}"
    );
}

fn server() -> Loopback {
    Loopback::start(Server::new(Options::default()))
}

/// A server whose every answer is this one.
fn always(status: u16, headers: &[(&'static str, &str)], body: &'static str) -> Loopback {
    let server = server();
    let mut response = answer(status, body);
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().unwrap());
    }
    let fault = Fault::Answer {
        reach: Reach::Swallowed,
        response,
    };
    server.set_faults(FaultPlan::scripted(vec![Some(fault); 100]));
    server
}

/// A peer that says this on every connection.
fn peer(says: &str) -> Scripted {
    Scripted::start(vec![
        vec![Step::ReadHead, Step::write(says), Step::Close];
        10
    ])
}

#[test]
fn files_that_cannot_be_sent() {
    let (place, server) = (Place::new(), server());
    let endpoint = server.endpoint();
    fs::create_dir(place.path("folder")).unwrap();
    fails(
        "missing",
        &upload_file(&place, &endpoint, &place.path("none"), &[]),
        3,
        "No such file",
    );
    fails(
        "directory",
        &upload_file(&place, &endpoint, &place.path("folder"), &[]),
        3,
        "directory",
    );
    fails(
        "empty name",
        &upload_file(&place, &endpoint, Path::new("none/"), &[]),
        3,
        "cannot read",
    );
    assert!(server.server().log().is_empty());
}

#[cfg(unix)]
#[test]
fn files_that_may_not_be_read_or_have_no_end() {
    use std::os::unix::fs::PermissionsExt as _;

    let (place, server) = (Place::new(), server());
    let pipe = place.path("pipe");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    fails(
        "pipe",
        &upload_file(&place, &server.endpoint(), &pipe, &[]),
        3,
        "not a regular file",
    );
    fails(
        "device",
        &upload_file(&place, &server.endpoint(), Path::new("/dev/null"), &[]),
        3,
        "not a regular file",
    );
    // To root every file is readable.
    if !rustix::process::geteuid().is_root() {
        let file = place.file("secret", 10);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
        fails(
            "unreadable",
            &upload_file(&place, &server.endpoint(), &file, &[]),
            3,
            "ermission denied",
        );
    }
    assert!(server.server().log().is_empty());
}

/// Changes a file of a million bytes when its upload has begun and none of its bytes were sent.
fn changed_while_sent(length: u64) {
    let (place, server) = (Place::new(), server());
    let proxy = Proxy::start(server.address(), tus_testkit::ProxyPlan::default());
    let file = place.file("a", 1_000_000);
    let running = {
        // The creation has to wait for its answer.
        let _held = server.server();
        let running = place.start_upload(&proxy.url("/files/"), &file, &["--chunk-size", "100K"]);
        wait_for("the creation", || (proxy.received() > 0).then_some(()));
        File::options()
            .write(true)
            .open(&file)
            .unwrap()
            .set_len(length)
            .unwrap();
        running
    };
    let ran = running.finish();
    assert_eq!(ran.status, Some(3), "{ran:#?}");
    let last = ran.stderr.lines().last().unwrap();
    assert!(
        last.starts_with("tus: ") && last.contains("changed") && last.contains("--fresh"),
        "{last}"
    );
    assert!(!ran.stderr.contains("panicked"));
    assert!(
        server
            .server()
            .uploads()
            .all(|upload| !upload.is_complete()),
        "a mixed file"
    );

    // Nor does a later run make one.
    let ran = upload_file(&place, &proxy.url("/files/"), &file, &[]);
    drop(ran);
    assert!(
        server
            .server()
            .uploads()
            .all(|upload| upload.length() == Some(length) || !upload.is_complete())
    );
}

#[test]
fn a_file_that_shrinks_while_it_is_sent() {
    changed_while_sent(500_000);
}

#[test]
fn a_file_that_grows_while_it_is_sent() {
    changed_while_sent(1_500_000);
}

#[test]
fn endpoints_that_are_no_url() {
    let place = Place::new();
    for endpoint in [
        "",
        "files",
        "ftp://localhost/",
        "http://",
        "http://localhost:99999/",
        "http://ho st/",
        "//x/",
    ] {
        fails(
            endpoint,
            &upload(&place, endpoint, &[]),
            2,
            "not a usable URL",
        );
    }
    assert!(!fs::exists(place.state()).unwrap() || place.checkpoints().is_empty());
}

#[test]
fn endpoints_where_nobody_is() {
    let place = Place::new();
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let ran = upload(
        &place,
        &format!("http://{closed}/files/"),
        &["--retries", "0"],
    );
    fails("refused", &ran, 5, "refused");
    let ran = upload(&place, "http://nobody.invalid/files/", &["--retries", "0"]);
    fails("unresolved", &ran, 5, "same command");
}

#[test]
fn a_proxy_that_is_not_there_is_not_gone_around() {
    let (place, server) = (Place::new(), server());
    let file = place.file("a", 10);
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for scheme in ["http", "socks5", "socks4"] {
        let endpoint = server.endpoint();
        let upload = ["upload", "-q", "--retries", "0", &endpoint];
        let mut command = place.tus(upload);
        command
            .arg(&file)
            .env("ALL_PROXY", format!("{scheme}://{closed}"));
        let ran = command.output().unwrap().into();
        fails(scheme, &ran, 5, "same command");
        assert!(server.server().log().is_empty(), "{scheme}");
    }
}

#[test]
fn endpoints_that_refuse() {
    let place = Place::new();
    for (status, says) in [
        (400, "400"),
        (401, "--header"),
        (403, "--header"),
        (404, "check that it is"),
        (405, "check that it is"),
        (410, "410"),
        (412, "version"),
        (413, "larger than"),
        (414, "shorten the metadata"),
        (422, "422"),
        (431, "shorten the metadata"),
        (507, "out of space"),
    ] {
        let server = always(status, &[], "no");
        fails(
            &status.to_string(),
            &upload(&place, &server.endpoint(), &[]),
            4,
            says,
        );
        assert!(server.server().log().len() <= 2, "{status}");
    }
}

#[test]
fn endpoints_that_are_no_tus_server() {
    let place = Place::new();
    let server = always(
        200,
        &[("content-type", "text/html")],
        "<html>Welcome</html>",
    );
    fails(
        "a page",
        &upload(&place, &server.endpoint(), &[]),
        7,
        "the URL of a tus server",
    );
    let server = always(307, &[("location", "/files/")], "");
    fails(
        "a circle",
        &upload(&place, &server.endpoint(), &[]),
        7,
        "redirects",
    );
    let server = always(201, &[("location", "gopher://x")], "");
    fails(
        "a bad Location",
        &upload(&place, &server.endpoint(), &[]),
        7,
        "Location",
    );
    let server = always(
        201,
        &[("location", "/files/1"), ("tus-resumable", "0.2.2")],
        "",
    );
    fails(
        "another version",
        &upload(&place, &server.endpoint(), &[]),
        7,
        "0.2.2",
    );
    let server = always(302, &[("location", "/login")], "");
    fails(
        "a login",
        &upload(&place, &server.endpoint(), &[]),
        4,
        "302",
    );
}

#[test]
fn endpoints_that_never_work() {
    let place = Place::new();
    let server = always(500, &[], "no");
    fails(
        "500",
        &upload(&place, &server.endpoint(), &["--retries", "1"]),
        5,
        "500",
    );
    // What it offers, which nothing hangs on, and the creation twice.
    assert_eq!(server.server().log().len(), 3);
    let server = always(503, &[("retry-after", "86400")], "");
    fails(
        "in a day",
        &upload(&place, &server.endpoint(), &[]),
        5,
        "86400 s",
    );

    let retries = ["--retries", "1"];
    let once = ["--retries", "0"];
    for (name, says) in [
        ("garbage", "SSH-2.0-OpenSSH_9.6\r\n"),
        (
            "garbage headers",
            "HTTP/1.1 201 Created\r\nno colon\u{0}\r\n\r\n",
        ),
        ("half a head", "HTTP/1.1 201 Crea"),
        ("nothing", ""),
    ] {
        let peer = peer(says);
        fails(
            name,
            &upload(&place, &peer.url("/files/"), &once),
            5,
            "same command",
        );
        fails(
            name,
            &upload(&place, &peer.url("/files/"), &retries),
            5,
            "same command",
        );
    }
    let peer = Scripted::start(vec![vec![Step::Close]; 10]);
    fails(
        "closes at once",
        &upload(&place, &peer.url("/files/"), &retries),
        5,
        "same command",
    );
    let peer = Scripted::start(vec![vec![Step::Reset]; 10]);
    fails(
        "resets at once",
        &upload(&place, &peer.url("/files/"), &retries),
        5,
        "same command",
    );
}

#[test]
fn endpoints_that_never_answer() {
    let place = Place::new();
    let peer = Scripted::start(vec![vec![Step::Hold]; 10]);
    let args = ["--answer-timeout", "0.2", "--retries", "0"];
    fails(
        "silent",
        &upload(&place, &peer.url("/files/"), &args),
        5,
        "no answer in time",
    );
    let args = ["--answer-timeout", "0.2", "--give-up-after", "0.3"];
    fails(
        "silent for long",
        &upload(&place, &peer.url("/files/"), &args),
        5,
        "no answer in time",
    );
}

#[test]
fn a_line_that_stalls_loses_nothing() {
    let (place, server) = (Place::new(), server());
    // Larger than what goes with the creation. Each connection stands still after 600 kB.
    let plan = tus_testkit::ProxyPlan {
        each: Some((600_000, tus_testkit::Trouble::Stall)),
        ..tus_testkit::ProxyPlan::default()
    };
    let proxy = Proxy::start(server.address(), plan);
    let args = [
        "--stall-timeout",
        "0.3",
        "--answer-timeout",
        "0.3",
        "--retries",
        "0",
    ];
    let file = place.file("a", 1_100_000);
    fails(
        "stalled",
        &upload_file(&place, &proxy.url("/files/"), &file, &args),
        5,
        "same command goes on",
    );
    let ran = upload_file(&place, &proxy.url("/files/"), &file, &[]);
    assert_eq!(ran.status, Some(0), "{ran:#?}");
    assert_eq!(server.server().uploads().count(), 1);
}

#[test]
fn metadata_and_headers_that_cannot_be_sent() {
    let (place, server) = (Place::new(), server());
    let endpoint = server.endpoint();
    for (name, args, says) in [
        ("no key", &["--metadata", "=x"][..], "key is empty"),
        ("a space", &["--metadata", "a b=x"], "\"a b\""),
        ("a comma", &["--metadata", "a,b"], "\"a,b\""),
        (
            "not ASCII",
            &["--metadata", "schlüssel=x"],
            "printable ASCII",
        ),
        (
            "twice",
            &["--metadata", "a=1", "--metadata", "a=2"],
            "twice",
        ),
        (
            "twice in two ways",
            &["--metadata", "a=1", "--metadata-base64", "a=MQ=="],
            "twice",
        ),
        (
            "not base64",
            &["--metadata-base64", "a=hunter2"],
            "not base64",
        ),
        ("no colon", &["--header", "hunter2"], "colon"),
        ("no name", &["--header", ": hunter2"], "name"),
        ("a bad name", &["--header", "a b: hunter2"], "name"),
        (
            "a bad value",
            &["--header", "a: hunter2\u{1}"],
            "the value of a",
        ),
        (
            "a header of the protocol",
            &["--header", "Upload-Offset: 1"],
            "upload-offset",
        ),
        (
            "a header of the framing",
            &["--header", "Content-Length: 1"],
            "content-length",
        ),
        ("no such file", &["--ca", "none.pem"], "none.pem"),
        ("no certificate", &["--ca", "a"], "no certificate"),
    ] {
        fails(name, &upload(&place, &endpoint, args), 2, says);
    }
    let long = "x".repeat(10_000);
    fails(
        "too long",
        &upload(&place, &endpoint, &["--metadata", &format!("a={long}")]),
        2,
        "longer than",
    );
    assert!(server.server().log().is_empty());
}

#[test]
fn no_log_shows_a_secret() {
    let place = Place::new();
    let server = always(401, &[("www-authenticate", "Basic realm=hunter2")], "no");
    let endpoint = format!(
        "{}?key=hunter3",
        server.endpoint().replace("//", "//me:hunter3@")
    );
    let file = place.file("a", 10);
    let ran = place.run([
        "upload",
        "--debug",
        "-H",
        "X-Secret: hunter2",
        &endpoint,
        file.to_str().unwrap(),
    ]);
    assert_eq!(ran.status, Some(4), "{ran:#?}");
    assert!(ran.stderr.contains("DEBUG"), "{ran:#?}");
    assert!(
        SECRETS.iter().all(|secret| !ran.stderr.contains(secret)),
        "{ran:#?}"
    );
    assert!(
        server.server().log()[0].headers["authorization"]
            .to_str()
            .unwrap()
            .starts_with("Basic ")
    );
}

#[test]
fn command_lines_that_mean_nothing() {
    let place = Place::new();
    for args in [
        &["upload"][..],
        &["upload", "http://localhost/"],
        &["upload", "http://localhost/", "a", "--chunk-size", "0"],
        &["upload", "http://localhost/", "a", "--chunk-size", "8X"],
        &["upload", "http://localhost/", "a", "--retries", "-1"],
        &["upload", "http://localhost/", "a", "--give-up-after", "0"],
        &["upload", "http://localhost/", "a", "--parallel", "0"],
        &["upload", "http://localhost/", "a", "--checksum", ""],
        &["download"],
        &["delete"],
        &["server"],
        &["info"],
        &[],
    ] {
        let ran = place.run(args);
        assert_eq!(ran.status, Some(2), "{args:?}: {ran:#?}");
        assert!(!ran.stderr.contains("panicked") && !ran.stderr.is_empty());
    }
    let url = "http://me:hunter2@localhost/files/?key=hunter3";
    let ran = place.run(["upload", "a.bin", url]);
    let right = "the endpoint comes first: tus upload ENDPOINT FILE";
    fails("the wrong way round", &ran, 2, right);
    for args in [&[url, "a.bin"][..], &["info", "http://localhost/", url]] {
        let ran = place.run(args);
        assert_eq!(ran.status, Some(2), "{ran:#?}");
        assert!(
            SECRETS.iter().all(|secret| !ran.stderr.contains(secret)),
            "{ran:#?}"
        );
    }
    let help = place.run(["--help"]);
    assert_eq!(help.status, Some(0));
    assert!(help.stdout.contains("130  interrupted"));
}

#[test]
fn headers_are_not_advised_where_they_do_not_go() {
    let (place, server) = (Place::new(), server());
    let elsewhere = always(401, &[], "no");
    let location = Location::Template(elsewhere.url("/files/{id}"));
    server.server().quirks_mut().push(Quirk::Location(location));
    // Larger than what goes with the creation.
    let file = place.file("a", 2_000_000);
    let ran = upload_file(&place, &server.endpoint(), &file, &[]);
    fails(
        "elsewhere",
        &ran,
        4,
        "--header goes to the given URL's own origin alone",
    );
    assert!(!ran.stderr.contains("Name: value"), "{ran:#?}");
}

/// A checkpoint of a file, half of which is on the server.
fn half(place: &Place, server: &Loopback, name: &str) -> std::path::PathBuf {
    let unavailable = Fault::Answer {
        reach: Reach::Bytes(500_000),
        response: answer(503, ""),
    };
    server.set_faults(FaultPlan::scripted([None, Some(unavailable)]));
    let file = place.file(name, 1_000_000);
    let before = place.checkpoints();
    let ran = upload_file(
        place,
        &server.endpoint(),
        &file,
        &["--retries", "0", "--chunk-size", "600K"],
    );
    assert_eq!(ran.status, Some(5), "{ran:#?}");
    server.set_faults(FaultPlan::none());
    place
        .checkpoints()
        .into_iter()
        .find(|path| !before.contains(path))
        .unwrap()
}

#[test]
fn advice_is_no_chain_where_a_later_run_goes_on() {
    for (status, args, code, says) in [
        (
            401,
            &[][..],
            4,
            "; with credentials (--header 'Name: value') the same command goes on",
        ),
        (
            403,
            &[],
            4,
            "; with credentials (--header 'Name: value') the same command goes on",
        ),
        (
            409,
            &["--retries", "0"],
            5,
            "one failed attempt (the same command goes on",
        ),
        (
            422,
            &[],
            4,
            "; once whoever runs the server has mended that, the same command",
        ),
        (
            507,
            &[],
            4,
            "; once that is mended, the same command goes on",
        ),
    ] {
        let (place, server) = (Place::new(), server());
        half(&place, &server, "a");
        let fault = Fault::Answer {
            reach: Reach::Swallowed,
            response: answer(status, "no"),
        };
        server.set_faults(FaultPlan::scripted(vec![Some(fault); 100]));
        let ran = upload_file(&place, &server.endpoint(), &place.path("a"), args);
        fails(&status.to_string(), &ran, code, says);
    }
}

#[cfg(unix)]
#[test]
fn a_line_is_written_at_once() {
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixDatagram;
    use std::time::Duration;

    // Each write comes out as one message.
    let (reader, writer) = UnixDatagram::pair().unwrap();
    reader
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let place = Place::new();
    let mut child = place
        .tus(["upload", "-q", "http://localhost/", "none"])
        .stderr(OwnedFd::from(writer))
        .spawn()
        .unwrap();
    let mut message = [0; 4096];
    let length = reader.recv(&mut message).unwrap();
    // It may be waiting for a reader of all the others.
    drop(reader);
    assert_eq!(child.wait().unwrap().code(), Some(3));
    let line = std::str::from_utf8(&message[..length]).unwrap();
    assert!(
        line.starts_with("tus: cannot read ") && line.ends_with('\n'),
        "{line:?}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn no_bar_stays_before_an_error() {
    use std::io::Read as _;
    use std::os::fd::OwnedFd;

    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    let place = Place::new();
    place.file("a", 10);
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let stderr = File::options()
        .write(true)
        .open(name.to_str().unwrap())
        .unwrap();
    let mut command = place.tus(["upload", "--ca", "none.pem", "http://localhost/", "a"]);
    command.stderr(OwnedFd::from(stderr));
    assert_eq!(command.status().unwrap().code(), Some(2));
    // Nobody else has the other end now; Linux tells that as an error after the last byte.
    drop(command);
    let mut shown = Vec::new();
    let _ = File::from(terminal).read_to_end(&mut shown);
    let shown = String::from_utf8(shown).unwrap();
    assert!(shown.starts_with("tus: --ca none.pem: "), "{shown:?}");
}

#[test]
fn a_damaged_checkpoint_is_left_alone() {
    let (place, server) = (Place::new(), server());
    let checkpoint = half(&place, &server, "a");
    let text = fs::read_to_string(&checkpoint).unwrap();
    let file = place.path("a");
    for damaged in [
        &text[..text.len() / 2],
        &text.replace("files", "fi1es"),
        "",
        "\u{0}",
        "tus-checkpoint 2\n",
    ] {
        fs::write(&checkpoint, damaged).unwrap();
        let ran = upload_file(&place, &server.endpoint(), &file, &[]);
        fails(damaged, &ran, 9, "--fresh");
        assert_eq!(fs::read_to_string(&checkpoint).unwrap(), damaged);
    }
    fs::write(&checkpoint, text).unwrap();
    let ran = upload_file(&place, &server.endpoint(), &file, &[]);
    assert_eq!(ran.status, Some(0), "{ran:#?}");
    assert_eq!(server.server().uploads().count(), 1);
}

#[test]
fn a_checkpoint_of_another_file_or_server_is_seen_as_such() {
    let (place, server) = (Place::new(), server());
    let one = half(&place, &server, "a");
    let other = half(&place, &server, "b");
    fs::copy(&other, &one).unwrap();
    let file = place.path("a");
    fails(
        "of another file",
        &upload_file(&place, &server.endpoint(), &file, &[]),
        3,
        "--fresh",
    );

    let elsewhere = server.another();
    let third = half(&place, &elsewhere, "a");
    fs::copy(&third, &one).unwrap();
    fails(
        "of another server",
        &upload_file(&place, &server.endpoint(), &file, &[]),
        9,
        "--fresh",
    );

    let ran = upload_file(&place, &server.endpoint(), &file, &["--fresh"]);
    assert_eq!(ran.status, Some(0), "{ran:#?}");
}

#[test]
fn a_file_that_changed_since_is_not_mixed() {
    let (place, server) = (Place::new(), server());
    half(&place, &server, "a");
    let file = place.path("a");
    fs::write(&file, vec![1; 1_000_000]).unwrap();
    let ran = upload_file(&place, &server.endpoint(), &file, &[]);
    fails("changed", &ran, 3, "--fresh");
    assert_eq!(place.checkpoints().len(), 1);
    let ran = upload_file(&place, &server.endpoint(), &file, &["--fresh"]);
    assert_eq!(ran.status, Some(0), "{ran:#?}");
    assert!(
        server
            .server()
            .upload(ran.stdout.trim_end())
            .unwrap()
            .content()
            .iter()
            .all(|byte| *byte == 1)
    );
}

#[test]
fn a_second_upload_of_the_same_file_is_told_of_the_first() {
    let (place, server) = (Place::new(), server());
    let file = place.file("a", 1_000_000);
    let endpoint = server.endpoint();
    let running = {
        let _held = server.server();
        let mut running = place.start_upload(&endpoint, &file, &[]);
        running.until("POST");
        let ran = place.run(["upload".as_ref(), endpoint.as_ref(), file.as_os_str()]);
        fails("busy", &ran, 9, "already being uploaded");
        running
    };
    assert_eq!(running.finish().status, Some(0));
}

#[test]
fn a_state_folder_that_cannot_be_used() {
    let (place, server) = (Place::new(), server());
    let file = place.file("a", 10);
    let state = place.file("state", 3);
    fails(
        "a file",
        &upload_file(&place, &server.endpoint(), &file, &[]),
        9,
        "TUS_STATE_DIR",
    );
    assert_eq!(fs::read(state).unwrap().len(), 3);
    assert!(server.server().log().is_empty());
}

#[test]
fn an_upload_that_is_gone_is_made_anew_once() {
    let (place, server) = (Place::new(), server());
    half(&place, &server, "a");
    let target = server
        .server()
        .uploads()
        .next()
        .unwrap()
        .target()
        .to_owned();
    server.server().remove(&target);
    let ran = upload_file(&place, &server.endpoint(), &place.path("a"), &[]);
    assert_eq!(ran.status, Some(0), "{ran:#?}");
}

#[test]
fn info_of_what_is_no_upload() {
    let (place, server) = (Place::new(), server());
    fails(
        "no URL",
        &place.run(["info", "-q", "nowhere"]),
        2,
        "not a usable URL",
    );
    fails(
        "not there",
        &place.run(["info", "-q", &server.url("/files/none")]),
        4,
        "no upload at this URL",
    );
    server.server().quirks_mut().push(Quirk::LoginPage);
    let target = server.server().place(10, 5);
    fails(
        "a page",
        &place.run(["info", "-q", &server.url(&target)]),
        7,
        "not a tus server",
    );
    let server = always(401, &[], "");
    fails(
        "401",
        &place.run(["info", "-q", &server.url("/files/1")]),
        4,
        "--header",
    );
    let server = always(500, &[], "");
    fails(
        "500",
        &place.run(["info", "-q", "--retries", "0", &server.url("/files/1")]),
        5,
        "500",
    );
}
