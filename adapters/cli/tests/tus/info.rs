//! `tus info`.

use std::fs;

use serde_json::{Value, json};
use tus_testkit::{Loopback, Options, Scripted, Server, Step};

use crate::support::Place;

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn info_tells_what_the_server_knows() {
    let (place, server) = (
        Place::new(),
        Loopback::start(Server::new(Options::default())),
    );
    let file = place.file("a.txt", 10);
    let said = ["--metadata", "bare", "--metadata-base64", "raw=/wA="];
    let ran = place.run(
        [
            &["upload", &server.endpoint(), file.to_str().unwrap()][..],
            &said,
        ]
        .concat(),
    );
    let url = ran.url();

    let ran = place.run(["info", "--json", url]);
    assert_eq!(ran.status, Some(0), "{ran:#?}");
    assert_eq!(
        parsed(&ran.stdout),
        json!({
            "url": url,
            "offset": 10,
            "length": 10,
            "deferred": false,
            "complete": true,
            "role": "whole",
            "parts": null,
            "metadata": {
                "filename": { "text": "a.txt" },
                "filetype": { "text": "text/plain" },
                "bare": null,
                "raw": { "base64": "/wA=" },
            },
            "expires": null,
        })
    );

    let ran = place.run(["info", url]);
    assert_eq!(ran.status, Some(0), "{ran:#?}");
    for line in [
        "offset    10",
        "complete  yes",
        "metadata  filename = a.txt",
        "metadata  raw = (base64) /wA=",
    ] {
        assert!(
            ran.stdout.lines().any(|said| said == line),
            "{line}: {ran:#?}"
        );
    }
}

#[test]
fn an_upload_that_is_not_complete_is_said_to_be_so() {
    let (place, server) = (
        Place::new(),
        Loopback::start(Server::new(Options::default())),
    );
    let target = server.server().place(1000, 400);
    let ran = place.run(["info", "--json", &server.url(&target)]);
    let said = parsed(&ran.stdout);
    assert_eq!(
        (&said["offset"], &said["length"], &said["complete"]),
        (&json!(400), &json!(1000), &json!(false))
    );
}

/// A peer that answers one HEAD with these fields beside an offset.
fn says(fields: &str) -> Scripted {
    let head =
        format!("HTTP/1.1 200 OK\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 3\r\n{fields}\r\n");
    Scripted::start([vec![Step::ReadHead, Step::write(head), Step::Close]])
}

#[test]
fn expiry_is_told_as_rfc_3339_and_the_unknown_as_null() {
    let place = Place::new();
    let peer = says("Upload-Expires: Sun, 06 Nov 1994 08:49:37 GMT\r\nUpload-Defer-Length: 1\r\n");
    let ran = place.run(["info", "--json", &peer.url("/files/1")]);
    let said = parsed(&ran.stdout);
    assert_eq!(said["expires"], "1994-11-06T08:49:37Z");
    assert_eq!(
        (&said["length"], &said["complete"], &said["deferred"]),
        (&Value::Null, &Value::Null, &json!(true))
    );
}

#[test]
fn what_is_not_settled_is_said_to_be_so() {
    let place = Place::new();
    let lines = |fields: &str, lines: &[&str]| {
        let ran = place.run(["info", &says(fields).url("/files/1")]);
        for line in lines {
            assert!(
                ran.stdout.lines().any(|said| said == *line),
                "{line}: {ran:#?}"
            );
        }
    };
    lines(
        "Upload-Defer-Length: 1\r\n",
        &["length    to be told later", "complete  unknown"],
    );
    lines("", &["length    unknown", "complete  unknown"]);
}

#[test]
fn parts_and_what_is_joined_from_them_are_told() {
    let place = Place::new();
    let partial = "Upload-Length: 9\r\nUpload-Concat: partial\r\n";
    let joined = "Upload-Length: 3\r\nUpload-Concat: final;/files/a?k=1 /files/b\r\n";
    let said = |fields: &str| {
        let ran = place.run(["info", "--json", &says(fields).url("/files/1")]);
        let said = parsed(&ran.stdout);
        (said["role"].clone(), said["parts"].clone())
    };
    assert_eq!(said(partial), (json!("partial"), Value::Null));
    assert_eq!(
        said(joined),
        (json!("final"), json!(["/files/a?k=1", "/files/b"]))
    );
    let ran = place.run(["info", &says(partial).url("/files/1")]);
    assert!(ran.stdout.contains("\nrole      partial"), "{ran:#?}");
    let ran = place.run(["info", &says(joined).url("/files/1")]);
    assert!(
        ran.stdout
            .contains("\nrole      final: joined from 2 parts\n"),
        "{ran:#?}"
    );
}

#[test]
fn metadata_commands_no_terminal() {
    let place = Place::new();
    let peer = says("Upload-Metadata: name G1sySgo=\r\n"); // ESC [ 2 J, line feed
    let ran = place.run(["info", &peer.url("/files/1")]);
    assert!(
        ran.stdout.contains("metadata  name = \\u{1b}[2J\\u{a}\n"),
        "{ran:#?}"
    );
}

#[test]
fn metadata_that_cannot_be_read_hides_nothing_else() {
    let place = Place::new();
    let peer = says("Upload-Metadata: name !!!\r\n");
    let ran = place.run(["info", "--json", &peer.url("/files/1")]);
    let said = parsed(&ran.stdout);
    assert_eq!(
        (&said["offset"], &said["metadata"]),
        (&json!(3), &Value::Null)
    );
    assert_eq!(ran.status, Some(0));
    assert!(ran.stderr.contains("metadata"), "{ran:#?}");
}

#[test]
fn no_file_is_made_by_asking() {
    let place = Place::new();
    let peer = says("");
    place.run(["info", &peer.url("/files/1")]);
    assert!(fs::exists(place.state()).is_ok_and(|there| !there));
}
