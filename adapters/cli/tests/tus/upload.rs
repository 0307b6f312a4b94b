//! `tus upload`, where all goes well in the end.

use std::fs;
use std::process::Stdio;

use tus_testkit::{Fault, FaultPlan, Loopback, Options, Proxy, ProxyPlan, Reach, Server, Trouble};

use crate::support::{Place, answer, content};

fn server() -> Loopback {
    Loopback::start(Server::new(Options::default()))
}

#[test]
fn a_file_arrives_and_its_url_is_printed() {
    let (place, server) = (Place::new(), server());
    let file = place.file("plan ü.pdf", 3_000_000);
    let ran = place.run([
        "upload".as_ref(),
        server.endpoint().as_ref(),
        file.as_os_str(),
    ]);
    let server = server.server();
    let upload = server.upload(ran.url()).unwrap();
    assert!(upload.content() == content(3_000_000));
    assert_eq!(
        upload.metadatum("filename").unwrap(),
        "plan ü.pdf".as_bytes()
    );
    assert_eq!(upload.metadatum("filetype").unwrap(), b"application/pdf");
    assert!(place.checkpoints().is_empty());
    assert!(ran.stderr.contains("done: 2.86 MiB"), "{ran:#?}");
}

#[test]
fn metadata_is_what_one_says() {
    let (place, server) = (Place::new(), server());
    let file = place.file("a.txt", 10);
    let file = file.to_str().unwrap();
    let endpoint = server.endpoint();
    let said = [
        "--metadata",
        "filename=b=c",
        "--metadata",
        "bare",
        "--metadata-base64",
        "raw=/wA=",
    ];

    let ran = place.run([&["upload", &endpoint, file][..], &said].concat());
    {
        let server = server.server();
        let upload = server.upload(ran.url()).unwrap();
        assert_eq!(upload.metadatum("filename").unwrap(), b"b=c");
        assert_eq!(upload.metadatum("filetype").unwrap(), b"text/plain");
        assert_eq!(upload.metadatum("bare").unwrap(), b"");
        assert_eq!(upload.metadatum("raw").unwrap(), [0xff, 0]);
    }

    let ran = place.run(["upload", &endpoint, file, "--no-default-metadata"]);
    assert_eq!(server.server().upload(ran.url()).unwrap().metadata(), None);
}

// Not every system lets a file be named so.
#[cfg(target_os = "linux")]
#[test]
fn a_name_is_sent_as_its_bytes() {
    use std::os::unix::ffi::OsStrExt as _;

    let (place, server) = (Place::new(), server());
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9.txt");
    let file = place.path("").join(name);
    fs::write(&file, "coffee").unwrap();
    let ran = place.run([
        "upload".as_ref(),
        server.endpoint().as_ref(),
        file.as_os_str(),
    ]);
    let server = server.server();
    let upload = server.upload(ran.url()).unwrap();
    assert_eq!(upload.metadatum("filename").unwrap(), b"caf\xe9.txt");
    assert_eq!(upload.metadatum("filetype").unwrap(), b"text/plain");
}

#[test]
fn an_empty_file_arrives() {
    let (place, server) = (Place::new(), server());
    let file = place.file("empty", 0);
    let ran = place.run(["upload", &server.endpoint(), file.to_str().unwrap()]);
    let server = server.server();
    let upload = server.upload(ran.url()).unwrap();
    assert!(upload.is_complete());
    assert_eq!(
        upload.metadatum("filetype").unwrap(),
        b"application/octet-stream"
    );
}

#[test]
fn headers_and_chunk_size_are_kept_to() {
    let (place, server) = (Place::new(), server());
    let file = place.file("a", 2_500_000);
    let args = [
        "--header",
        "Authorization: Bearer x",
        "-H",
        "X-Two: 2",
        "--chunk-size",
        "1MB",
    ];
    let endpoint = server.endpoint();
    let ran = place.run([&["upload", &endpoint, file.to_str().unwrap()][..], &args].concat());
    let server = server.server();
    assert!(server.upload(ran.url()).unwrap().is_complete());
    assert!(
        server
            .log()
            .iter()
            .all(|request| request.headers["authorization"] == "Bearer x")
    );
    assert!(
        server
            .log()
            .iter()
            .all(|request| request.headers["x-two"] == "2")
    );
    assert!(server.log().iter().all(|request| request.body <= 1_000_000));
    assert!(!ran.stderr.contains("Bearer"));
}

#[test]
fn a_line_that_is_cut_costs_nothing() {
    let (place, server) = (Place::new(), server());
    let plan = ProxyPlan {
        troubles: vec![
            (1_000_000, Trouble::Reset),
            (2_000_000, Trouble::Reset),
            (3_050_000, Trouble::LoseAnswer),
        ],
        ..ProxyPlan::default()
    };
    let proxy = Proxy::start(server.address(), plan);
    let file = place.file("a", 3_000_000);
    let ran = place.run(["upload", &proxy.url("/files/"), file.to_str().unwrap()]);
    let server = server.server();
    assert!(server.upload(ran.url()).unwrap().content() == content(3_000_000));
    assert_eq!(server.uploads().count(), 1);
    assert!(
        ran.stderr.contains("sending the file failed (attempt 1)")
            && ran.stderr.contains("going on at"),
        "{ran:#?}"
    );
}

#[test]
fn an_upload_that_gave_up_goes_on_with_the_same_command() {
    let (place, server) = (Place::new(), server());
    let plan = ProxyPlan {
        troubles: vec![(1_500_000, Trouble::Reset)],
        ..ProxyPlan::default()
    };
    let proxy = Proxy::start(server.address(), plan);
    let file = place.file("a", 3_000_000);
    let endpoint = proxy.url("/files/");
    let upload = [
        "upload",
        &endpoint,
        file.to_str().unwrap(),
        "--retries",
        "0",
    ];

    let ran = place.run(upload);
    assert_eq!(ran.status, Some(5), "{ran:#?}");
    assert!(ran.stderr.contains("same command"), "{ran:#?}");
    assert_eq!(place.checkpoints().len(), 1);

    let ran = place.run(upload);
    let server = server.server();
    assert!(server.upload(ran.url()).unwrap().content() == content(3_000_000));
    assert_eq!(server.uploads().count(), 1);
    let brought: u64 = server.log().iter().map(|request| request.body).sum();
    assert_eq!(brought, 3_000_000, "no byte went twice");
    assert!(
        ran.stderr.contains("going on at 1.43 MiB of 2.86 MiB"),
        "{ran:#?}"
    );
    assert!(place.checkpoints().is_empty());
}

#[test]
fn fresh_forgets_the_earlier_upload() {
    let (place, server) = (Place::new(), server());
    let unavailable = Fault::Answer {
        reach: Reach::Nothing,
        response: answer(503, ""),
    };
    server.set_faults(FaultPlan::scripted([None, Some(unavailable)]));
    let file = place.file("a", 2_000_000);
    let endpoint = server.endpoint();
    let file = file.to_str().unwrap();

    let ran = place.run(["upload", &endpoint, file, "--retries", "0"]);
    assert_eq!(ran.status, Some(5), "{ran:#?}");
    let ran = place.run(["upload", &endpoint, file, "--fresh"]);
    let server = server.server();
    assert!(server.upload(ran.url()).unwrap().is_complete());
    assert_eq!(server.uploads().count(), 2);
}

#[test]
fn quiet_says_nothing() {
    let (place, server) = (Place::new(), server());
    let file = place.file("a", 100_000);
    let ran = place.run([
        "upload",
        "--quiet",
        &server.endpoint(),
        file.to_str().unwrap(),
    ]);
    assert!(server.server().upload(ran.url()).is_some());
    assert_eq!(ran.stderr, "");
}

#[test]
fn a_reader_that_has_gone_is_no_panic() {
    let (place, server) = (Place::new(), server());
    let file = place.file("a", 1000);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let command = place
        .tus(["upload", &server.endpoint(), file.to_str().unwrap()])
        .stdout(Stdio::from(writer))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = command.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("stdout") && !stderr.contains("panicked"),
        "{stderr}"
    );
    assert!(
        server
            .server()
            .uploads()
            .all(tus_testkit::Upload::is_complete)
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_url_that_stdout_does_not_take_is_told_on_stderr() {
    let (place, server) = (Place::new(), server());
    let file = place.file("a", 1000);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = place
        .tus(["upload", "-q", &server.endpoint(), file.to_str().unwrap()])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    let url = stderr.trim_end().rsplit(' ').next().unwrap();
    let server = server.server();
    assert!(
        server
            .upload(url)
            .is_some_and(tus_testkit::Upload::is_complete),
        "{stderr}"
    );
}

#[test]
fn without_stderr_it_works_all_the_same() {
    let (place, server) = (Place::new(), server());
    let file = place.file("a", 1000);
    for args in [&[][..], &["--debug"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = place
            .tus(["upload", &server.endpoint(), file.to_str().unwrap()])
            .args(args)
            .stderr(Stdio::from(writer))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}");
    }
}

#[cfg(unix)]
#[test]
fn checkpoints_are_kept_in_the_folder_for_state() {
    let (place, server) = (Place::new(), server());
    let unavailable = Fault::Answer {
        reach: Reach::Nothing,
        response: answer(503, ""),
    };
    server.set_faults(FaultPlan::scripted([None, Some(unavailable)]));
    let file = place.file("a", 2_000_000);
    let mut command = place.tus([
        "upload",
        &server.endpoint(),
        file.to_str().unwrap(),
        "--retries",
        "0",
    ]);
    command
        .env_remove("TUS_STATE_DIR")
        .env("HOME", place.path("home"))
        .env("XDG_STATE_HOME", place.path("xdg"));
    assert_eq!(command.output().unwrap().status.code(), Some(5));
    assert!(fs::read_dir(place.path("xdg/tus")).unwrap().count() > 0);
}
