//! What a server may offer or not: `--checksum`, `--method-override`, `tus delete`, `tus server`.

use serde_json::{Value, json};
use tus_testkit::{Extension, Loopback, Options, Quirk, Scripted, Server, Step};

use crate::support::{Place, content};

fn server() -> Loopback {
    Loopback::start(Server::new(Options::default()))
}

fn offering(extensions: &[Extension]) -> Loopback {
    Loopback::start(Server::new(Options {
        extensions: extensions.into(),
        ..Options::default()
    }))
}

#[test]
fn each_request_has_a_checksum() {
    let place = Place::new();
    let file = place.file("a", 2_500_000);
    for name in ["sha1", "sha256", "sha512", "md5", "crc32"] {
        let server = server();
        let endpoint = server.endpoint();
        let ran = place.run([
            "upload",
            &endpoint,
            file.to_str().unwrap(),
            "--checksum",
            name,
            "--chunk-size",
            "1MB",
        ]);
        let server = server.server();
        assert!(server.upload(ran.url()).unwrap().content() == content(2_500_000));
        let sums: Vec<_> = server
            .log()
            .iter()
            .filter_map(|request| request.headers.get("upload-checksum"))
            .collect();
        assert_eq!(sums.len(), 3, "{name}");
        assert!(
            sums.iter()
                .all(|sum| sum.to_str().unwrap().starts_with(&format!("{name} ")))
        );
    }
}

#[test]
fn the_first_checksum_that_the_server_has_is_sent() {
    let place = Place::new();
    let file = place.file("a", 1000);
    let upload = |names: &[&str], wanted: &[&str]| {
        let server = Loopback::start(Server::new(Options {
            checksum_algorithms: names.iter().map(ToString::to_string).collect(),
            ..Options::default()
        }));
        let endpoint = server.endpoint();
        let fixed = ["upload", "-q", &endpoint, file.to_str().unwrap()];
        let ran = place.run([&fixed[..], wanted].concat());
        let sum = server.server().log().iter().find_map(|request| {
            let sum = request.headers.get("upload-checksum")?;
            Some(sum.to_str().unwrap().split_once(' ')?.0.to_owned())
        });
        (ran, sum)
    };
    let (ran, sum) = upload(&["md5", "sha512"], &["--checksum", "sha256,sha512,md5"]);
    assert_eq!((ran.status, sum.as_deref()), (Some(0), Some("sha512")));
    let (ran, sum) = upload(&["md5"], &["--checksum", "sha256", "--checksum", "md5"]);
    assert_eq!((ran.status, sum.as_deref()), (Some(0), Some("md5")));

    let (ran, sum) = upload(&["md5"], &["--checksum", "sha256"]);
    assert_eq!((ran.status, sum), (Some(4), None), "{ran:#?}");
    assert!(
        ran.stderr.contains("md5") && ran.stderr.contains("--try-unoffered"),
        "{ran:#?}"
    );
    let (ran, sum) = upload(&["md5"], &["--checksum", "sha256", "--try-unoffered"]);
    assert_eq!((ran.status, sum.as_deref()), (Some(4), Some("sha256")));

    let (ran, sum) = upload(&["md5"], &["--checksum", "sha3"]);
    assert_eq!((ran.status, sum), (Some(2), None));
    assert!(
        ran.stderr.contains("sha1, sha256, sha512, md5, crc32"),
        "{ran:#?}"
    );
}

#[test]
fn that_a_server_may_not_compare_checksums_is_told() {
    let place = Place::new();
    let file = place.file("a", 1000);
    let silent = [Quirk::NoOptions(404), Quirk::SilentOptions].map(Some);
    for quirk in silent.into_iter().chain([None]) {
        let server = server();
        let told = usize::from(quirk.is_some());
        server.server().quirks_mut().extend(quirk);
        let endpoint = server.endpoint();
        let upload = ["upload", &endpoint, file.to_str().unwrap()];
        let ran = place.run([&upload[..], &["--checksum", "sha1"]].concat());
        assert!(server.server().upload(ran.url()).unwrap().is_complete());
        let words = "does not say whether it compares checksums";
        assert_eq!(ran.stderr.matches(words).count(), told, "{ran:#?}");
        let server = server.server();
        let asked = server.log().iter().filter(|r| r.method == "OPTIONS");
        assert_eq!(asked.count(), 1, "{ran:#?}");
    }
}

#[test]
fn a_file_that_is_too_large_is_not_begun() {
    let place = Place::new();
    let server = Loopback::start(Server::new(Options {
        max_size: Some(999),
        ..Options::default()
    }));
    let file = place.file("a", 1000);
    let endpoint = server.endpoint();
    let upload = ["upload", "-q", &endpoint, file.to_str().unwrap()];
    let ran = place.run(upload);
    assert_eq!(ran.status, Some(4), "{ran:#?}");
    assert!(
        ran.stderr.contains("at most 999") && ran.stderr.contains("--try-unoffered"),
        "{ran:#?}"
    );
    assert_eq!(server.server().log().len(), 1);
    let ran = place.run([&upload[..], &["--try-unoffered"]].concat());
    assert_eq!(ran.status, Some(4), "{ran:#?}");
    assert!(ran.stderr.contains("413"), "{ran:#?}");
}

#[test]
fn methods_are_overridden() {
    let (place, server) = (Place::new(), server());
    server.server().quirks_mut().push(Quirk::PostOnly);
    let file = place.file("a", 2_000_000);
    let endpoint = server.endpoint();
    let upload = ["upload", "-q", &endpoint, file.to_str().unwrap()];
    let ran = place.run(upload);
    assert_eq!(ran.status, Some(4), "{ran:#?}");
    let ran = place.run([&upload[..], &["--method-override", "--fresh"]].concat());
    assert!(server.server().upload(ran.url()).unwrap().is_complete());
    let url = ran.url();
    assert_eq!(place.run(["delete", "-q", url]).status, Some(4));
    let ran = place.run(["delete", "-q", "--method-override", url]);
    assert_eq!(ran.status, Some(0), "{ran:#?}");
    assert!(server.server().upload(url).is_none());
}

#[test]
fn what_is_deleted_is_gone() {
    let (place, server) = (Place::new(), server());
    let target = server.server().place(10, 4);
    let url = server.url(&target);
    for words in ["deleted: ", "nothing to delete: "] {
        let ran = place.run(["delete", &url]);
        assert_eq!(ran.status, Some(0), "{ran:#?}");
        assert_eq!(ran.stdout, "");
        assert_eq!(ran.stderr.lines().count(), 1, "{ran:#?}");
        assert!(ran.stderr.starts_with(words), "{ran:#?}");
        assert!(server.server().upload(&target).is_none());
    }
    let ran = place.run(["delete", "-q", &url]);
    assert_eq!((ran.status, &*ran.stderr), (Some(0), ""));
}

#[test]
fn what_cannot_be_deleted_is_told_of() {
    let place = Place::new();
    let server = offering(&[Extension::Creation]);
    let target = server.server().place(10, 4);
    let url = server.url(&target);
    let ran = place.run(["delete", "-q", &url]);
    assert_eq!(ran.status, Some(4), "{ran:#?}");
    assert!(
        ran.stderr.contains("termination") && ran.stderr.contains("--try-unoffered"),
        "{ran:#?}"
    );
    let ran = place.run(["delete", "-q", "--try-unoffered", &url]);
    assert_eq!(ran.status, Some(4), "{ran:#?}");
    let methods: Vec<_> = {
        let server = server.server();
        server.log().iter().map(|r| r.method.to_string()).collect()
    };
    assert_eq!(methods, ["OPTIONS", "OPTIONS", "DELETE"]);
    assert!(server.server().upload(&target).is_some());
    assert_eq!(place.run(["delete", "nowhere"]).status, Some(2));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_deletion() {
    use crate::support::{Running, wait_for};

    let place = Place::new();
    let peer = Scripted::start([vec![Step::ReadHead, Step::Hold]]);
    let running = Running::spawn(place.tus(["delete", &peer.url("/files/1")]));
    wait_for("a request", || (!peer.read().is_empty()).then_some(()));
    running.signal(rustix::process::Signal::INT);
    let ran = running.finish();
    assert_eq!(ran.status, Some(130), "{ran:#?}");
}

#[test]
fn a_server_tells_what_it_can_do() {
    let place = Place::new();
    let server = Loopback::start(Server::new(Options {
        max_size: Some(1 << 30),
        extensions: vec![Extension::Creation, Extension::Checksum],
        checksum_algorithms: vec!["sha1".into(), "md5".into()],
        ..Options::default()
    }));
    let ran = place.run(["server", &server.endpoint()]);
    assert_eq!(ran.status, Some(0), "{ran:#?}");
    assert_eq!(
        ran.stdout,
        "versions    1.0.0\n\
         extensions  creation, checksum\n\
         max size    1073741824 bytes\n\
         checksums   sha1, md5\n"
    );
    assert_eq!(ran.stderr, "");
    let ran = place.run(["server", "--json", &server.endpoint()]);
    assert_eq!(
        serde_json::from_str::<Value>(&ran.stdout).unwrap(),
        json!({
            "versions": ["1.0.0"],
            "extensions": ["creation", "checksum"],
            "max_size": 1 << 30,
            "checksum_algorithms": ["sha1", "md5"],
        })
    );
}

#[test]
fn what_a_server_does_not_say_is_said_to_be_so() {
    let place = Place::new();
    let silent = |head: &str| {
        let says = format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n");
        Scripted::start([vec![Step::ReadHead, Step::write(says), Step::Close]])
    };
    for (head, status) in [
        ("204 No Content\r\nTus-Resumable: 1.0.0", 0),
        ("204 No Content", 7),
        ("404 Not Found", 7),
        ("200 OK\r\nContent-Type: text/html", 7),
    ] {
        let ran = place.run(["server", &silent(head).url("/files/")]);
        assert_eq!(ran.status, Some(status), "{head}: {ran:#?}");
        assert_eq!(ran.stdout.matches("the server does not say").count(), 4);
        let lines = usize::from(status != 0);
        assert_eq!(ran.stderr.lines().count(), lines, "{head}: {ran:#?}");
        let ran = place.run(["server", "--json", &silent(head).url("/files/")]);
        assert_eq!(ran.status, Some(status), "{head}: {ran:#?}");
        assert_eq!(
            serde_json::from_str::<Value>(&ran.stdout).unwrap(),
            json!({
                "versions": null, "extensions": null, "max_size": null, "checksum_algorithms": null,
            })
        );
    }
    let ran = place.run(["server", "-q", &silent("401 Unauthorized").url("/files/")]);
    assert_eq!(ran.status, Some(4), "{ran:#?}");
    assert!(ran.stderr.contains("--header"), "{ran:#?}");
    assert_eq!(place.run(["server", "nowhere"]).status, Some(2));
}
