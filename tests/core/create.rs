//! The creation of an upload.

use tus_proto::{Completion, Error, Event, FailureKind, Hint, Misuse, Op, Upload, Violation};

use crate::scenario::{ENDPOINT, Scenario, URL, config};

// N1, N4, C1; §4, 37.
#[test]
fn a_creation_says_the_length_the_metadata_and_that_it_has_no_body() {
    let scenario = Scenario::create_with(5, |config| {
        config.metadata.insert("filename", "a b").unwrap();
        config.metadata.insert("empty", "").unwrap();
    });
    scenario
        .asks("POST", ENDPOINT)
        .with("tus-resumable", "1.0.0")
        .with("upload-length", "5")
        .with("content-length", "0")
        .with("upload-metadata", "filename YSBi,empty")
        .without("upload-defer-length")
        .without("content-type")
        .without("transfer-encoding");
    Scenario::create(5)
        .asks("POST", ENDPOINT)
        .without("upload-metadata");
}

// N2, C4, C5, C6.
#[test]
fn a_created_upload_is_saved_and_then_sent_in_one_request() {
    let scenario = Scenario::create(5)
        .holding_saves()
        .answers(201, &[("location", "/files/a")]);
    assert!(
        scenario.out.is_none(),
        "something is sent before the URL is durable"
    );
    let checkpoint = scenario.checkpoint();
    assert_eq!(checkpoint.endpoint().unwrap(), ENDPOINT);
    assert_eq!(checkpoint.url().unwrap().expose(), URL);
    assert_eq!(checkpoint.length(), Some(5));
    let done = scenario
        .saved()
        .appends(0..5)
        .with("content-type", "application/offset+octet-stream")
        .with("tus-resumable", "1.0.0")
        .confirms(5);
    assert_eq!(
        done.saves.last(),
        Some(&None),
        "the checkpoint is forgotten before the success"
    );
    let done = done.saved().succeeds();
    assert_eq!(done.url.expose(), URL);
    assert_eq!(done.completion, Completion::Acknowledged);
}

// N3; §4, 20.
#[test]
fn an_empty_file_is_complete_at_its_creation() {
    let scenario = Scenario::create(0)
        .with("upload-length", "0")
        .answers(201, &[("location", "a")]);
    assert_eq!(scenario.saves, [], "there is nothing to resume");
    let done = scenario.succeeds();
    assert_eq!(
        (done.length, done.completion),
        (0, Completion::Acknowledged)
    );
}

#[test]
fn servers_that_answer_200_are_understood() {
    Scenario::create(5)
        .answers(200, &[("location", "a")])
        .appends(0..5);
}

// §4, 29.
#[test]
fn a_success_without_location_is_never_followed_by_a_second_creation() {
    for fields in [
        &[][..],
        &[("location", "")],
        &[("location", "a"), ("location", "b")],
    ] {
        let error = Scenario::create(5).answers(201, fields).error();
        assert!(
            matches!(
                error,
                Error::Protocol {
                    violation: Violation::NoLocation,
                    ..
                }
            ),
            "{error:?}"
        );
    }
}

#[test]
fn a_location_that_is_the_endpoint_is_no_upload() {
    let redirected = || Scenario::create(5).answers(307, &[("location", "/other/")]);
    for error in [
        Scenario::create(5).answers(201, &[("location", ENDPOINT)]),
        redirected().answers(201, &[("location", ENDPOINT)]),
        redirected().answers(201, &[("location", "/other/")]),
    ]
    .map(Scenario::error)
    {
        assert!(
            matches!(
                error,
                Error::Protocol {
                    violation: Violation::LocationIsEndpoint,
                    ..
                }
            ),
            "{error:?}"
        );
    }
}

// §4, 28: the references themselves are tested where they are resolved.
#[test]
fn a_location_is_resolved_against_the_url_that_answered() {
    for (location, url) in [
        ("http://example.org/files/a", URL),
        ("/files/a", URL),
        ("a", URL),
        ("?id=a,b", "http://example.org/files/?id=a,b"),
        ("//example.org/x", "http://example.org/x"),
    ] {
        Scenario::create(5)
            .answers(201, &[("location", location)])
            .asks("PATCH", url);
    }
    Scenario::create(5)
        .answers(308, &[("location", "/other/")])
        .asks("POST", "http://example.org/other/")
        .with("upload-length", "5")
        .answers(201, &[("location", "a")])
        .asks("PATCH", "http://example.org/other/a");
}

// §4, 10; R4 does not apply: there is nothing to ask for an offset.
#[test]
fn a_creation_that_failed_in_passing_is_tried_again() {
    for status in [408, 423, 425, 429, 499, 500, 502, 503, 504, 520, 599] {
        Scenario::create(5)
            .answers(status, &[])
            .backs_off(0.5..=1.0)
            .asks("POST", ENDPOINT)
            .with("upload-length", "5");
    }
    Scenario::create(5)
        .fails(FailureKind::NotSent)
        .backs_off(0.5..=1.0)
        .asks("POST", ENDPOINT);
    let lost = Scenario::create(5)
        .loses()
        .asks("POST", ENDPOINT)
        .tells(&Event::Orphaned);
    lost.loses().backs_off(1.0..=2.0).asks("POST", ENDPOINT);
}

#[test]
fn a_refusal_ends_it_and_says_what_to_do() {
    for (status, hint) in [
        (300, Some(Hint::Redirect)),
        (301, Some(Hint::Redirect)),
        (304, Some(Hint::Redirect)),
        (400, None),
        (401, Some(Hint::Credentials)),
        (403, Some(Hint::Permission)),
        (404, Some(Hint::Endpoint)),
        (405, Some(Hint::Endpoint)),
        (407, Some(Hint::Proxy)),
        (409, None),
        (410, Some(Hint::Endpoint)),
        (412, Some(Hint::Version)),
        (413, Some(Hint::TooLarge)),
        (414, Some(Hint::MetadataTooLong)),
        (418, None),
        (422, None),
        (431, Some(Hint::MetadataTooLong)),
        (451, None),
        (501, Some(Hint::Method)),
        (505, Some(Hint::Method)),
        (507, Some(Hint::NoSpace)),
    ] {
        let error = Scenario::create(5)
            .answers_with(status, &[("content-type", "text/plain")], "the\r\nreason")
            .error();
        let Error::Rejected {
            place,
            status: said,
            words,
            hint: given,
        } = error
        else {
            panic!("{status}: {error:?}");
        };
        assert_eq!((said.as_u16(), given), (status, hint));
        assert_eq!(words, "the reason");
        assert_eq!(place.op, Op::Create);
        assert!(!place.resumable);
    }
}

// C2.
#[test]
fn a_version_mismatch_names_the_servers_versions() {
    let error = Scenario::create(5)
        .answers(
            412,
            &[("tus-version", "0.2.2,2.0.0"), ("tus-resumable", "2.0.0")],
        )
        .error();
    assert!(
        error.to_string().contains("it speaks tus 0.2.2, 2.0.0"),
        "{error}"
    );
    let error = Scenario::create(5)
        .answers(201, &[("location", "a"), ("tus-resumable", "0.2.2")])
        .error();
    assert!(
        matches!(&error, Error::Protocol { violation: Violation::Version(version), .. } if version == "0.2.2"),
        "{error:?}"
    );
}

// N5.
#[test]
fn a_file_that_is_too_large_is_told_the_limit() {
    let error = Scenario::create(5)
        .answers(413, &[("tus-max-size", "4")])
        .error();
    assert!(
        error.to_string().contains("its limit is 4 bytes"),
        "{error}"
    );
}

#[test]
fn a_status_that_is_none_of_https_is_a_violation() {
    for status in [100, 199, 600, 999] {
        let error = Scenario::create(5)
            .answers(status, &[("location", "a")])
            .error();
        assert!(
            matches!(
                error,
                Error::Protocol {
                    violation: Violation::Status,
                    ..
                }
            ),
            "{status}"
        );
    }
}

#[test]
fn what_cannot_be_asked_is_refused_before_any_request() {
    for endpoint in [
        "",
        "files/",
        "ftp://h/",
        "http://",
        "http://h:99999/",
        "http://127.1/",
    ] {
        let misuse = Upload::create(endpoint, 5, &config(|_| ())).unwrap_err();
        assert!(matches!(misuse, Misuse::Url(_)), "{endpoint}: {misuse:?}");
    }
    for name in [
        "content-length",
        "tus-resumable",
        "upload-offset",
        "expect",
        "host",
    ] {
        let config = config(|config| {
            let name: http::HeaderName = name.parse().unwrap();
            config
                .headers
                .insert(name, http::HeaderValue::from_static("1"));
        });
        let misuse = Upload::create(ENDPOINT, 5, &config).unwrap_err();
        assert!(matches!(misuse, Misuse::Header(_)), "{name}: {misuse:?}");
    }
    let config = config(|config| config.request_size = Some(0));
    assert_eq!(
        Upload::create(ENDPOINT, 5, &config).unwrap_err(),
        Misuse::RequestSize
    );
}

// S1, S3: user information becomes credentials and is seen nowhere else.
#[test]
fn user_information_becomes_basic_credentials() {
    let upload = Upload::create("http://me:secret@example.org/files/", 5, &config(|_| ())).unwrap();
    let shown = format!("{upload:?}");
    let scenario = Scenario::new(upload)
        .asks("POST", ENDPOINT)
        .with("authorization", "Basic bWU6c2VjcmV0");
    assert!(scenario.request().headers()["authorization"].is_sensitive());
    assert!(
        !shown.contains("secret") && !shown.contains("bWU6"),
        "{shown}"
    );
    let error = scenario.answers(404, &[]).error();
    assert!(!format!("{error} {error:?}").contains("me:"), "{error:?}");
}

#[test]
fn an_empty_query_makes_the_endpoint_no_upload() {
    let error = Scenario::create(5)
        .answers(201, &[("location", "/files/?")])
        .error();
    assert!(matches!(
        error,
        Error::Protocol {
            violation: Violation::LocationIsEndpoint,
            ..
        }
    ));
}

// It is the caller's endpoint, wherever the answer came from.
#[test]
fn a_creation_that_was_redirected_does_not_make_the_endpoint_an_upload() {
    let error = Scenario::create(5)
        .answers(307, &[("location", "/other/")])
        .asks("POST", "http://example.org/other/")
        .answers(201, &[("location", "/files/")])
        .error();
    assert!(matches!(
        error,
        Error::Protocol {
            violation: Violation::LocationIsEndpoint,
            ..
        }
    ));
}

#[test]
fn a_creation_of_another_length_is_a_conflict() {
    let (error, scenario) = Scenario::create(5)
        .answers(201, &[("location", "a"), ("upload-length", "4")])
        .ends();
    assert!(matches!(error, Error::Conflict { .. }));
    assert_eq!(scenario.saves, []);
}

#[test]
fn a_creation_that_may_have_happened_is_told() {
    for status in [408, 500, 502, 503] {
        Scenario::create(5)
            .answers(status, &[])
            .tells(&Event::Orphaned);
    }
    for status in [423, 429] {
        let told = Scenario::create(5).answers(status, &[]);
        assert_eq!(told.count(|event| *event == Event::Orphaned), 0, "{status}");
    }
    Scenario::create(5)
        .cancel(tus_proto::Cancel::Keep)
        .tells(&Event::Orphaned);
}

#[test]
fn a_creation_whose_answer_is_of_no_use_may_have_happened() {
    let of_no_use: [&[(&str, &str)]; 5] = [
        &[],
        &[("location", ENDPOINT)],
        &[("location", "http://user@example.org/files/a")],
        &[("location", URL), ("upload-length", "6")],
        &[("location", URL), ("tus-resumable", "0.2.2")],
    ];
    for fields in of_no_use {
        let (error, told) = Scenario::create(5).answers(201, fields).ends();
        let orphans = told.count(|event| *event == Event::Orphaned);
        assert_eq!(orphans, 1, "{fields:?}: {error:?}");
    }
    for status in [302, 403, 412] {
        let (error, told) = Scenario::create(5).answers(status, &[]).ends();
        assert_eq!(
            told.count(|event| *event == Event::Orphaned),
            0,
            "{error:?}"
        );
    }
}

#[test]
fn an_identity_must_fit_a_checkpoint() {
    let identity = |length: usize| config(|config| config.identity = Some("x".repeat(length)));
    assert!(Upload::create(ENDPOINT, 5, &identity(4096)).is_ok());
    let misuse = Upload::create(ENDPOINT, 5, &identity(4097)).unwrap_err();
    assert_eq!(misuse, Misuse::Identity);
}
