//! S7, and what others write: nothing becomes a field, a line or a command that is not meant to.

use http::{HeaderMap, HeaderName, HeaderValue};
use tus_proto::{
    Authorize, Checkpoint, Concatenate, Config, Create, Discover, Error, Failure, FailureKind,
    Inspect, Metadata, Misuse, Parallel, Terminate, Upload, is_protocol_field,
};

use super::places::{Machine, checkpoint_text, start};
use super::{Story, answer, run};
use crate::scenario::{ENDPOINT, URL, config, headers};

/// Every name of S7, and of each family some more.
const OWNED: [&str; 30] = [
    "Connection",
    "Content-Length",
    "Content-Type",
    "Expect",
    "Host",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "X-HTTP-Method-Override",
    "Tus-Checksum-Algorithm",
    "Tus-Extension",
    "Tus-Max-Size",
    "Tus-Resumable",
    "Tus-Version",
    "Tus-Anything",
    "Tus-",
    "Upload-Checksum",
    "Upload-Complete",
    "Upload-Concat",
    "Upload-Defer-Length",
    "Upload-Draft-Interop-Version",
    "Upload-Expires",
    "Upload-Length",
    "Upload-Limit",
    "Upload-Metadata",
    "Upload-Offset",
    "Upload-Anything",
    "Upload-",
    "UPLOAD-OFFSET",
];

/// The same, with something wrong in the configuration.
fn misuses(config: &Config) -> [Misuse; 10] {
    let checkpoint = |lines| {
        let text = checkpoint_text(lines, "http", "http://home.test/files/1");
        text.parse::<Checkpoint>().unwrap()
    };
    let whole = checkpoint("url PLACE\nlength 5\nspoke yes\n");
    let parts = checkpoint("parts 1\njoining no\npart 5\nurl PLACE\nspoke yes\n");
    let home = "http://home.test/files/";
    [
        Upload::create(ENDPOINT, 5, config).unwrap_err(),
        Upload::append(URL, 5, config).unwrap_err(),
        Upload::resume(home, whole, 5, config).unwrap_err(),
        Parallel::join(ENDPOINT, &[5, 5], config).unwrap_err(),
        Parallel::resume(home, parts, 5, config).unwrap_err(),
        Create::new(ENDPOINT, 5, config).unwrap_err(),
        Inspect::new(URL, config).unwrap_err(),
        Discover::new(ENDPOINT, config).unwrap_err(),
        Terminate::new(URL, config).unwrap_err(),
        Concatenate::new(ENDPOINT, &[URL], config).unwrap_err(),
    ]
}

#[test]
fn s7_what_the_protocol_owns_is_not_the_users() {
    for name in OWNED {
        let name: HeaderName = name.parse().unwrap();
        assert!(is_protocol_field(&name), "{name}");
        let as_header = config(|config| {
            config
                .headers
                .insert("x-fine", HeaderValue::from_static("1"));
            config
                .headers
                .insert(&name, HeaderValue::from_static("s3cr3t"));
        });
        let as_id = config(|config| config.request_id = Some(name.clone()));
        for config in [as_header, as_id] {
            for misuse in misuses(&config) {
                assert_eq!(misuse, Misuse::Header(name.clone()));
                super::conceals(&name, &format!("{misuse} {misuse:?}"));
            }
        }
    }
    for name in [
        "authorization",
        "cookie",
        "user-agent",
        "x-tus-resumable",
        "x-upload-offset",
        "uploads",
    ] {
        assert!(!is_protocol_field(&name.parse().unwrap()), "{name}");
    }
}

/// Nor are they of whoever is asked for credentials: with one of them among these, they are none.
#[test]
fn s7_what_the_protocol_owns_is_no_credential() {
    let opted = config(|config| config.authorize = Authorize::OnUnauthorized);
    for name in OWNED {
        for machine in Machine::ALL {
            let fresh = headers(&[
                ("authorization", "fresh"),
                (&name.to_ascii_lowercase(), "9"),
            ]);
            let story = start(machine, [ENDPOINT, URL], &opted, Some(&fresh), |_| {
                answer(401, &[])
            });
            assert_eq!(story.asked.len(), 1, "{machine:?}, {name}");
            assert!(
                matches!(story.error, Some(Error::Rejected { .. })),
                "{machine:?}, {name}"
            );
            let sent = |(request, _): &(http::Request<_>, _)| {
                request.headers().contains_key("authorization")
                    || request
                        .headers()
                        .get(name)
                        .is_some_and(|value| value == "9")
            };
            assert!(!story.requests.iter().any(sent), "{machine:?}, {name}");
        }
    }
}

/// The fields of the protocol are there once, with the user's beside them.
#[test]
fn s7_a_request_has_each_field_of_the_protocol_once() {
    for method_override in [false, true] {
        let mut config = config(|config| {
            config.method_override = method_override;
            config.headers = headers(&[("x-a", "1"), ("x-a", "2")]);
            config
                .metadata
                .insert("filename", "a,b c\r\nX-Evil: 1")
                .unwrap();
            config.authorize = Authorize::OnUnauthorized;
        });
        config.foreign = tus_proto::Foreign::Bare;
        for machine in Machine::ALL {
            let mut n = 0;
            let fresh = headers(&[("authorization", "fresh")]);
            let story = start(machine, [ENDPOINT, URL], &config, Some(&fresh), |request| {
                n += 1;
                let location: &[u8] = match n % 3 {
                    0 => b"/files/1",
                    _ => b"http://elsewhere.test/files/1",
                };
                match (n, request.method().as_str()) {
                    (1, _) => answer(401, &[]),
                    (2, _) => answer(307, &[("location", location)]),
                    (_, "POST") => answer(201, &[("location", location)]),
                    _ => answer(403, &[]),
                }
            });
            for (request, _) in &story.requests {
                let headers: &HeaderMap = request.headers();
                for name in headers.keys().filter(|name| is_protocol_field(name)) {
                    let lines = headers.get_all(name).iter().count();
                    assert_eq!(lines, 1, "{machine:?}: {name} in {}", request.method());
                }
                for value in headers.values() {
                    assert!(
                        !value.as_bytes().iter().any(u8::is_ascii_control),
                        "{machine:?}"
                    );
                }
            }
        }
    }
}

/// What a terminal would obey, or show in another order than it was said.
const COMMANDS: [&str; 12] = [
    "\u{1b}[2J",
    "\u{1b}]0;x\u{7}",
    "\u{9b}31m",
    "\r",
    "\0",
    "\u{7f}",
    "\u{8}",
    "\u{202e}",
    "\u{2066}",
    "\u{200f}",
    "\u{feff}",
    "\u{2028}",
];

fn is_harmless(text: &str) -> bool {
    let obeyed = |c: char| {
        c.is_control()
            || COMMANDS
                .iter()
                .any(|command| command.contains(c) && !c.is_ascii())
    };
    !text.contains(obeyed)
}

#[track_caller]
fn harmless(what: &str, story: &Story) {
    let error = story
        .error
        .as_ref()
        .expect("it ends with an error")
        .to_string();
    assert!(is_harmless(&error), "{what}: {error:?}");
    for text in [format!("{:?}", story.error), format!("{:?}", story.events)] {
        assert!(is_harmless(&text), "{what}: {text:?}");
    }
    for event in &story.events {
        if let tus_proto::Event::Retrying { cause, .. } = event {
            assert!(is_harmless(&cause.to_string()), "{what}: {cause:?}");
        }
    }
}

#[test]
fn s3_a_servers_words_command_nothing() {
    for command in COMMANDS {
        let words = format!("no{command}way");
        for status in [403, 503, 412] {
            let upload = Upload::create(ENDPOINT, 5, &Config::default()).unwrap();
            let story = run(upload, None, |_| {
                let mut response = http::Response::new(words.clone().into());
                *response.status_mut() = status.try_into().unwrap();
                if let Ok(value) = HeaderValue::from_bytes(words.as_bytes()) {
                    response.headers_mut().insert("tus-version", value);
                }
                tus_proto::Answer::Response(response)
            });
            harmless(&format!("{status} {words:?}"), &story);
        }
        // In fields, as far as a field can hold them.
        for (status, name) in [(201, "tus-resumable"), (302, "location"), (201, "location")] {
            if HeaderValue::from_bytes(words.as_bytes()).is_err() {
                continue;
            }
            let upload = Upload::create(ENDPOINT, 5, &Config::default()).unwrap();
            let story = run(upload, None, |_| {
                let place = format!("//x.{words}.test/{words}");
                let value = if name == "location" { &place } else { &words };
                answer(status, &[(name, value.as_bytes())])
            });
            harmless(&format!("{status} {name} {words:?}"), &story);
        }
        let failed = || tus_proto::Answer::Failed(Failure::new(FailureKind::Hopeless, &words));
        let upload = Upload::create(ENDPOINT, 5, &Config::default()).unwrap();
        harmless("a transport", &run(upload, None, |_| failed()));
    }
}

/// What a checkpoint holds was a server's once, or is somebody's who could write the file.
#[test]
fn s3_a_checkpoints_words_command_nothing() {
    for command in COMMANDS {
        let encode = |byte: u8| match byte {
            byte if byte.is_ascii_graphic() => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        };
        let encoded: String = command.bytes().map(encode).collect();
        let lines = format!("url PLACE\nlength 5\nspoke yes\nending refused 422 no{encoded}way\n");
        let text = checkpoint_text(&lines, "http", "http://home.test/files/1");
        let checkpoint: Checkpoint = text.parse().unwrap();
        let home = "http://home.test/files/";
        let upload = Upload::resume(home, checkpoint, 5, &Config::default()).unwrap();
        let story = run(upload, None, |_| answer(200, &[("upload-offset", b"5")]));
        assert!(
            matches!(story.error, Some(Error::Unfinished { .. })),
            "{:?}",
            story.error
        );
        harmless(command, &story);
    }
}

/// A line in a checkpoint is a line of the core's, however a value was written.
#[test]
fn s5_a_checkpoints_values_make_no_lines() {
    for place in [
        "http://home.test/1\nlength 4",
        "http://home.test/1\r\nx: y",
        "http://home.test/1 2",
        "http://home.test/\u{1b}[2J",
        "http://home.test/\u{202e}",
        "http://home.test/a#b",
        "http://home.test/a/../b",
    ] {
        let text = checkpoint_text("url PLACE\nlength 5\nspoke yes\n", "http", place);
        assert!(text.parse::<Checkpoint>().is_err(), "{place:?}");
    }
    // And back: what identifies the source is the caller's, and may be anything.
    let identity = "a\nurl http://evil.test/1\n%0A\u{202e}";
    let config = config(|config| config.identity = Some(identity.to_owned()));
    let upload = Upload::create(ENDPOINT, 5, &config).unwrap();
    let story = run(upload, None, |request| match request.method().as_str() {
        "POST" => answer(201, &[("location", b"/files/1")]),
        _ => answer(403, &[]),
    });
    let saved = story.saves.iter().flatten().next().unwrap();
    let again: Checkpoint = saved.to_text().parse().unwrap();
    assert_eq!(&again, saved);
    assert_eq!(again.identity(), Some(identity));
    assert_eq!(again.url().unwrap().expose(), URL.replace("/a", "/1"));
}

/// Where one field lists many, no member makes two.
#[test]
fn s5_no_url_of_a_part_makes_two() {
    for (part, listed) in [
        (
            "http://example.org/files/1 http://evil.test/2",
            "http://example.org/files/1%20http://evil.test/2",
        ),
        (
            "http://example.org/files/1;final",
            "http://example.org/files/1;final",
        ),
    ] {
        let machine = Concatenate::new(ENDPOINT, &[part], &Config::default()).unwrap();
        let story = run(machine, None, |_| answer(403, &[]));
        let list = &story.requests[0].0.headers()["upload-concat"];
        assert_eq!(list, &format!("final;{listed}"));
    }
    for part in [
        "http://example.org/1\r\nX-Evil: 1",
        "http://example.org/1\t2",
        "http://s3cr3t@example.org/1",
    ] {
        let misuse = Concatenate::new(ENDPOINT, &[part], &Config::default()).unwrap_err();
        assert!(matches!(misuse, Misuse::Url(_)), "{part:?}: {misuse}");
        super::conceals(part, &format!("{misuse} {misuse:?}"));
    }
    // Nor one that a server names.
    let parts = Parallel::join(ENDPOINT, &[5, 5], &Config::default()).unwrap();
    let mut number = 0;
    let story = run(parts, None, |request| match request.method().as_str() {
        "POST" if request.headers()["upload-concat"] == "partial" => {
            number += 1;
            let location = format!("/files/{number} http://evil.test/2");
            answer(201, &[("location", location.as_bytes())])
        }
        "PATCH" => answer(204, &[("upload-offset", b"5")]),
        _ => answer(403, &[]),
    });
    let (joining, _) = story.requests.last().unwrap();
    let list = joining.headers()["upload-concat"].to_str().unwrap();
    assert_eq!(list.split(' ').count(), 2, "{list}");
}

#[test]
fn s4_metadata_makes_no_field_and_no_second_pair() {
    let mut metadata = Metadata::new();
    for key in [
        "",
        "a b",
        "a,b",
        "a\r\nX-Evil: 1",
        "a\n",
        "a\0",
        "\u{e4}",
        "a\t",
        "a\u{7f}",
        "\u{202e}",
    ] {
        let error = metadata.insert(key, "value").unwrap_err();
        assert!(is_harmless(&error.to_string()), "{error}");
    }
    assert!(metadata.is_empty());
    let value = "a,evil Zg==\r\nX-Evil: 1\0\u{202e}";
    metadata.insert("name", value).unwrap();
    let encoded = metadata.encode().unwrap();
    assert!(encoded.is_sensitive());
    let text = encoded.to_str().unwrap();
    assert!(
        text.bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' '),
        "{text}"
    );
    let back = Metadata::decode(encoded.as_bytes()).unwrap();
    assert_eq!((back.len(), back.get("name")), (1, Some(value.as_bytes())));
    assert!(metadata.insert("long", vec![b'x'; 1 << 20]).is_err());
}
