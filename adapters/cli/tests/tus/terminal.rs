//! S3: what a server says commands no terminal, wherever it is shown.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tus_testkit::{Scripted, Step};

use crate::support::{Place, Ran};

/// What a header field can hold: a C1 control, one that turns the order of what is read, and three that
/// are not seen at all, the last of them beyond what 16 bits hold.
const SLY: &str = "\u{9b}2Jé\u{202e}\u{115f}\u{fe0f}\u{e0041}";
/// What else text can hold.
const SLIER: &str = "\u{1b}[2J\r\n\u{7f}";

/// One that says the same whatever it is asked: an upload may begin with a question.
fn peer(says: impl Into<String>) -> Scripted {
    let says = Step::write(says.into());
    Scripted::start(vec![vec![Step::ReadHead, says, Step::Close]; 3])
}

#[track_caller]
fn commands_nothing(ran: &Ran) {
    for text in [&ran.stdout, &ran.stderr] {
        let sly = text.chars().find(|&c| {
            c != '\n' && (c.is_control() || c != 'é' && !c.is_ascii() && SLY.contains(c))
        });
        assert_eq!(sly, None, "{ran:#?}");
    }
}

fn inspected(metadata: &str) -> Scripted {
    peer(format!(
        "HTTP/1.1 200 OK\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 3\r\nUpload-Length: 3\r\n\
         Upload-Concat: final;/files/{SLY} /files/b\r\nUpload-Metadata: {metadata}\r\n\r\n"
    ))
}

#[test]
fn metadata_is_escaped_and_keeps_its_value() {
    let place = Place::new();
    let value = format!("{SLY}{SLIER}");
    let metadata = format!("name {}", STANDARD.encode(&value));

    let ran = place.run(["info", &inspected(&metadata).url("/files/1")]);
    assert_eq!(ran.status, Some(0), "{ran:#?}");
    commands_nothing(&ran);
    let shown =
        "name = \\u{9b}2Jé\\u{202e}\\u{115f}\\u{fe0f}\\u{e0041}\\u{1b}[2J\\u{d}\\u{a}\\u{7f}\n";
    assert!(ran.stdout.contains(shown), "{ran:#?}");

    let ran = place.run(["info", "--json", &inspected(&metadata).url("/files/1")]);
    assert_eq!(ran.status, Some(0), "{ran:#?}");
    commands_nothing(&ran);
    let said: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(said["metadata"], json!({ "name": { "text": value } }));
    assert_eq!(said["parts"], json!([format!("/files/{SLY}"), "/files/b"]));
    assert!(ran.stdout.contains("\\u009b2Jé\\u202e"), "{ran:#?}");
    assert!(ran.stdout.contains("\\udb40\\udc41"), "{ran:#?}");
}

#[test]
fn a_key_commands_no_terminal() {
    let place = Place::new();
    for json in [&[][..], &["--json"]] {
        let peer = inspected(&format!("{SLY} YQ=="));
        let ran = place.run([&["info", &peer.url("/files/1")][..], json].concat());
        assert_eq!(ran.status, Some(0), "{ran:#?}");
        commands_nothing(&ran);
    }
}

#[test]
fn what_a_server_offers_commands_no_terminal() {
    let place = Place::new();
    for json in [&[][..], &["--json"]] {
        let peer = peer(format!(
            "HTTP/1.1 204 {SLY}\r\nTus-Resumable: 1.0.0\r\nTus-Version: 1.0.0,{SLY}\r\n\
             Tus-Extension: creation,{SLY}\r\nTus-Checksum-Algorithm: sha1,{SLY}\r\n\r\n"
        ));
        let ran = place.run([&["server", &peer.url("/files/")][..], json].concat());
        assert_eq!(ran.status, Some(0), "{ran:#?}");
        assert!(ran.stdout.contains("creation"), "{ran:#?}");
        commands_nothing(&ran);
    }
}

#[test]
fn the_words_of_a_refusal_command_no_terminal() {
    let place = Place::new();
    let file = place.file("a", 3);
    for kind in ["text/plain", "text/html"] {
        let body = format!("<title>no{SLY}{SLIER}way");
        let peer = peer(format!(
            "HTTP/1.1 403 {SLY}\r\nContent-Type: {kind}\r\nTus-Resumable: 1.0.0\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        let upload = [
            "--debug",
            "upload",
            &peer.url("/files/"),
            file.to_str().unwrap(),
        ];
        let ran = place.run(upload);
        assert_eq!(ran.status, Some(4), "{ran:#?}");
        assert!(ran.stderr.contains("no\\u{9b}2Jé\\u{202e}"), "{ran:#?}");
        commands_nothing(&ran);
    }
}

#[test]
fn where_a_server_redirects_to_commands_no_terminal() {
    let place = Place::new();
    let file = place.file("a", 3);
    for location in [format!("/{SLY}"), format!("http://{SLY}/"), SLY.into()] {
        let peer = peer(format!(
            "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
        ));
        let upload = [
            "--debug",
            "upload",
            &peer.url("/files/"),
            file.to_str().unwrap(),
        ];
        let ran = place.run(upload);
        assert_eq!(ran.status, Some(4), "{ran:#?}");
        commands_nothing(&ran);
    }
}

#[test]
fn the_url_of_an_upload_commands_no_terminal() {
    let place = Place::new();
    let file = place.file("a", 3);
    let done = format!(
        "HTTP/1.1 201 Created\r\nLocation: /files/{SLY}?{SLY}\r\nTus-Resumable: 1.0.0\r\n\
         Upload-Offset: 3\r\nContent-Length: 0\r\n\r\n"
    );
    // With or without its body; whatever comes first is asked what it offers.
    let asked = vec![
        Step::ReadHead,
        Step::write(
            "HTTP/1.1 204 No Content\r\nTus-Resumable: 1.0.0\r\n\
             Tus-Extension: creation,creation-with-upload\r\n\r\n",
        ),
        Step::ReadHead,
        Step::Read(3),
        Step::write(done),
        Step::Close,
    ];
    let peer = Scripted::start([asked]);
    let upload = [
        "--debug",
        "upload",
        &peer.url("/files/"),
        file.to_str().unwrap(),
    ];
    let ran = place.run(upload);
    assert!(
        ran.url().contains("/files/%C2%9B2J%C3%A9%E2%80%AE"),
        "{ran:#?}"
    );
    commands_nothing(&ran);
}
