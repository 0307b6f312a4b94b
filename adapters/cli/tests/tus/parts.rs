//! Uploads in parts: `--parallel` and `--concat`.

use std::fs;

use tus_testkit::{
    Extension, Fault, FaultPlan, Loopback, Options, Proxy, ProxyPlan, Reach, Server, Trouble,
    Upload,
};

use crate::support::{Place, Ran, answer, content};

const MIB: usize = 1 << 20;

fn server() -> Loopback {
    Loopback::start(Server::new(Options::default()))
}

/// A final upload, which is this, of so many parts.
#[track_caller]
fn joined(server: &Loopback, ran: &Ran, expected: &[u8], parts: usize) {
    let server = server.server();
    let upload = server.upload(ran.url()).unwrap();
    assert!(upload.is_final() && upload.is_complete(), "{ran:#?}");
    assert!(upload.content() == expected, "{ran:#?}");
    let partial = server.uploads().filter(|upload| upload.is_partial());
    assert_eq!(partial.count(), parts, "{ran:#?}");
    assert_eq!(server.uploads().count(), parts + 1, "{ran:#?}");
}

#[test]
fn a_file_is_sent_in_parts() {
    let (place, server) = (Place::new(), server());
    let file = place.file("a.txt", 25 * MIB);
    let endpoint = server.endpoint();
    let ran = place.run([
        "upload",
        &endpoint,
        file.to_str().unwrap(),
        "--parallel",
        "3",
    ]);
    joined(&server, &ran, &content(25 * MIB), 3);
    assert!(ran.stderr.contains("joining the 3 parts"), "{ran:#?}");
    assert!(ran.stderr.contains("done: 25.00 MiB"), "{ran:#?}");
    let server = server.server();
    let upload = server.upload(ran.url()).unwrap();
    assert_eq!(upload.metadatum("filename").unwrap(), b"a.txt");
    assert!(place.checkpoints().is_empty());
}

#[test]
fn a_short_file_stays_whole() {
    let (place, server) = (Place::new(), server());
    let file = place.file("a", 100_000);
    let endpoint = server.endpoint();
    let ran = place.run([
        "upload",
        &endpoint,
        file.to_str().unwrap(),
        "--parallel",
        "3",
    ]);
    let server = server.server();
    assert!(server.upload(ran.url()).unwrap().content() == content(100_000));
    assert_eq!(server.uploads().count(), 1);
}

/// Of three files, one of them empty, what they are together.
fn three(place: &Place) -> Vec<u8> {
    let texts = [content(70_000), Vec::new(), b"the end".to_vec()];
    for (name, text) in ["one", "two", "three"].iter().zip(&texts) {
        fs::write(place.path(name), text).unwrap();
    }
    texts.concat()
}

#[test]
fn files_are_joined_in_their_order() {
    let (place, server) = (Place::new(), server());
    let whole = three(&place);
    let endpoint = server.endpoint();
    let upload = ["upload", "--concat", &endpoint, "one", "two", "three"];
    let ran = place.run(upload);
    joined(&server, &ran, &whole, 3);
    let upload_of = |ran: &Ran| -> Option<Vec<u8>> {
        let server = server.server();
        let upload = server.upload(ran.url()).unwrap();
        upload.metadatum("filename")
    };
    assert_eq!(upload_of(&ran), None);
    let ran = place.run([&upload[..], &["--metadata", "filename=all"]].concat());
    assert_eq!(upload_of(&ran).unwrap(), b"all");
}

#[test]
fn several_files_are_joined_only_where_that_is_said() {
    let (place, server) = (Place::new(), server());
    three(&place);
    let ran = place.run(["upload", &server.endpoint(), "one", "two"]);
    assert_eq!(ran.status, Some(2), "{ran:#?}");
    assert!(ran.stderr.contains("--concat"), "{ran:#?}");
    assert!(server.server().log().is_empty());
}

#[test]
fn one_file_to_join_is_a_file() {
    let (place, server) = (Place::new(), server());
    three(&place);
    let ran = place.run(["upload", "--concat", &server.endpoint(), "one"]);
    let server = server.server();
    let upload = server.upload(ran.url()).unwrap();
    assert!(upload.content() == content(70_000) && !upload.is_final());
    assert_eq!(upload.metadata(), None);
}

#[test]
fn files_to_join_are_not_cut() {
    let (place, server) = (Place::new(), server());
    place.file("a", 20 * MIB);
    let ran = place.run([
        "upload",
        "--concat",
        &server.endpoint(),
        "a",
        "--parallel",
        "2",
    ]);
    let server = server.server();
    let upload = server.upload(ran.url()).unwrap();
    assert!(upload.content() == content(20 * MIB) && !upload.is_final());
    assert_eq!(server.uploads().count(), 1);
}

#[test]
fn files_that_were_interrupted_go_on() {
    let (place, server) = (Place::new(), server());
    let whole = three(&place);
    let unavailable = Fault::Answer {
        reach: Reach::Nothing,
        response: answer(503, ""),
    };
    let endpoint = server.endpoint();
    let upload = [
        "upload",
        "--concat",
        &endpoint,
        "one",
        "two",
        "three",
        "--parallel",
        "1",
        "--retries",
        "0",
    ];
    // The first run ends with the first request after OPTIONS, the next with a later one, and so on.
    let mut runs = 0;
    loop {
        runs += 1;
        let mut faults = vec![None; runs];
        faults.push(Some(unavailable.clone()));
        server.set_faults(FaultPlan::scripted(faults));
        let ran = place.run(upload);
        if ran.status == Some(0) {
            joined(&server, &ran, &whole, 3);
            break;
        }
        assert_eq!(ran.status, Some(5), "{ran:#?}");
        assert!(ran.stderr.contains("same command"), "{ran:#?}");
        assert!(runs < 20);
    }
    assert!(runs > 2);
    assert!(place.checkpoints().is_empty());
}

#[test]
fn parts_over_a_line_that_is_cut() {
    let (place, server) = (Place::new(), server());
    // Each connection ends after 5 MiB.
    let plan = ProxyPlan {
        each: Some((5 << 20, Trouble::Reset)),
        ..ProxyPlan::default()
    };
    let proxy = Proxy::start(server.address(), plan);
    let file = place.file("a", 24 * MIB);
    let endpoint = proxy.url("/files/");
    let ran = place.run([
        "upload",
        &endpoint,
        file.to_str().unwrap(),
        "--parallel",
        "2",
    ]);
    joined(&server, &ran, &content(24 * MIB), 2);
    assert!(proxy.cuts() >= 4, "{}", proxy.cuts());
    assert!(ran.stderr.contains("of 24.00 MiB"), "{ran:#?}");
}

#[test]
fn a_server_that_joins_nothing_is_told_of() {
    let place = Place::new();
    let server = Loopback::start(Server::new(Options {
        extensions: vec![Extension::Creation],
        ..Options::default()
    }));
    three(&place);
    let endpoint = server.endpoint();
    let upload = ["upload", "-q", "--concat", &endpoint, "one", "three"];
    let ran = place.run(upload);
    assert_eq!(ran.status, Some(4), "{ran:#?}");
    assert!(
        ran.stderr.contains("concatenation") && ran.stderr.contains("--try-unoffered"),
        "{ran:#?}"
    );
    assert_eq!(server.server().log().len(), 1);

    // Asked for all the same, the server says so itself.
    let ran = place.run([&upload[..], &["--try-unoffered"]].concat());
    assert_eq!(ran.status, Some(4), "{ran:#?}");
    let server = server.server();
    assert!(
        server
            .log()
            .iter()
            .any(|request| request.headers.contains_key("upload-concat"))
    );
    assert!(!server.uploads().any(Upload::is_complete));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_all_parts_and_all_go_on() {
    use crate::support::wait_for;

    let (place, server) = (Place::new(), server());
    // Both connections stand still for ever; later ones are good.
    let plan = ProxyPlan {
        troubles: vec![(3 << 20, Trouble::Stall), (6 << 20, Trouble::Stall)],
        ..ProxyPlan::default()
    };
    let proxy = Proxy::start(server.address(), plan);
    let file = place.file("a", 24 * MIB);
    let endpoint = proxy.url("/files/");
    let args = ["--parallel", "2", "--chunk-size", "512K"];
    let running = place.start_upload(&endpoint, &file, &args);
    wait_for("both to stall", || (proxy.cuts() == 2).then_some(()));
    running.signal(rustix::process::Signal::INT);
    let ran = running.finish();
    assert_eq!(ran.status, Some(130), "{ran:#?}");
    assert!(ran.stderr.contains("the same command goes on"), "{ran:#?}");
    assert_eq!(place.checkpoints().len(), 1);

    let fixed = ["upload", &endpoint, file.to_str().unwrap()];
    let ran = place.run([&fixed[..], &args].concat());
    joined(&server, &ran, &content(24 * MIB), 2);
    assert!(ran.stderr.contains("going on at"), "{ran:#?}");
    let brought: u64 = server.server().log().iter().map(|r| r.body).sum();
    assert!(
        brought < 24 * MIB as u64 + (2 << 20),
        "{brought} bytes were sent"
    );
}

#[test]
fn more_files_than_can_be_named_are_refused_at_the_first() {
    let (place, server) = (Place::new(), server());
    let endpoint = server.endpoint();
    let mut args = vec!["upload", "-q", "--concat", &endpoint];
    place.file("a", 1);
    args.extend(["a"; 300]);
    let ran = place.run(args);
    assert_eq!(ran.status, Some(2), "{ran:#?}");
    assert!(ran.stderr.contains("use fewer parts"), "{ran:#?}");
    assert_eq!(server.server().uploads().count(), 1);
    assert!(place.checkpoints().is_empty());
}
