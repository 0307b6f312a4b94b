//! What a caller may choose, and what is refused before anything is sent.

use std::collections::BTreeSet;

use tus_proto::{
    Algorithm, Authorize, Cancel, Capabilities, Cause, Concatenate, Config, Create, Discover,
    Error, Event, Extension, FailureKind, Inspect, Limit, Machine, Misuse, Op, Terminate, Upload,
    Veto, Violation,
};

use crate::scenario::{ENDPOINT, Scenario, URL, config, server};

fn knowing(extensions: &'static [Extension]) -> impl Fn(&mut Config) {
    move |config| config.server = Some(server(extensions))
}

fn misuse<M>(made: Result<M, Misuse>) -> Misuse {
    match made {
        Ok(_) => panic!("it was made"),
        Err(misuse) => misuse,
    }
}

/// What needs an extension, by that extension.
fn needs(extension: Extension, config: &mut Config) -> Vec<Result<(), Misuse>> {
    match extension {
        Extension::CreationDeferLength => vec![
            Upload::create(ENDPOINT, None, config).map(drop),
            Create::new(ENDPOINT, None, config).map(drop),
        ],
        Extension::Concatenation => {
            let joined = Concatenate::new(ENDPOINT, &[URL], config).map(drop);
            config.partial = true;
            vec![
                joined,
                Upload::create(ENDPOINT, 9, config).map(drop),
                Create::new(ENDPOINT, 9, config).map(drop),
            ]
        }
        Extension::Termination => vec![Terminate::new(URL, config).map(drop)],
        Extension::Checksum => {
            config.checksums = vec![Algorithm::SHA1];
            vec![
                Upload::create(ENDPOINT, 9, config).map(drop),
                Upload::append(URL, 9, config).map(drop),
            ]
        }
        other => panic!("{other} is not needed"),
    }
}

#[test]
fn what_the_server_does_not_offer_is_refused_before_anything_is_sent() {
    for extension in [
        Extension::CreationDeferLength,
        Extension::Concatenation,
        Extension::Termination,
        Extension::Checksum,
    ] {
        let mut without = config(knowing(&[Extension::Creation]));
        for made in needs(extension, &mut without) {
            assert_eq!(made, Err(Misuse::NotOffered(extension)));
        }
        let mut all_the_same = config(knowing(&[Extension::Creation]));
        all_the_same.try_unoffered = true;
        let mut unknown = Config::default();
        let mut silent = config(|config| config.server = Some(Capabilities::default()));
        let mut offering = config(|config| config.server = Some(server(&[extension])));
        for config in [&mut all_the_same, &mut unknown, &mut silent, &mut offering] {
            for made in needs(extension, config) {
                assert_eq!(made, Ok(()), "{extension}");
            }
        }
    }
    // What is sent to any server.
    let bare = config(knowing(&[]));
    assert!(Upload::create(ENDPOINT, 9, &bare).is_ok());
    assert!(Upload::append(URL, None, &bare).is_ok());
    assert!(Inspect::new(URL, &bare).is_ok());
    assert!(Discover::new(ENDPOINT, &bare).is_ok());
}

// N5.
#[test]
fn what_is_too_large_is_refused_before_anything_is_sent() {
    let limited = || {
        config(|config| {
            let mut server = server(&[Extension::Creation, Extension::CreationDeferLength]);
            server.max_size = Some(9);
            config.server = Some(server);
        })
    };
    let too_large = Misuse::TooLarge {
        length: 10,
        limit: 9,
    };
    assert_eq!(
        misuse(Upload::create(ENDPOINT, 10, &limited())),
        too_large.clone()
    );
    assert_eq!(misuse(Create::new(ENDPOINT, 10, &limited())), too_large);
    assert!(Upload::create(ENDPOINT, 9, &limited()).is_ok());
    assert!(Upload::create(ENDPOINT, None, &limited()).is_ok());
    let mut all_the_same = limited();
    all_the_same.try_unoffered = true;
    assert!(Upload::create(ENDPOINT, 10, &all_the_same).is_ok());
    assert!(Create::new(ENDPOINT, 10, &all_the_same).is_ok());
}

// K2.
#[test]
fn the_first_wish_that_the_server_has_is_used() {
    let chosen = |wished: &[Algorithm], offered: Option<&[Algorithm]>, all_the_same: bool| {
        let config = config(|config| {
            config.checksums = wished.to_vec();
            config.try_unoffered = all_the_same;
            config.server = offered.map(|offered| {
                let mut server = server(&[Extension::Checksum]);
                server.checksum_algorithms = offered.to_vec();
                server
            });
        });
        let told = Scenario::new(Upload::append(URL, 9, &config)?);
        match told.finds(0).duty {
            Some((_, tus_proto::Duty::Digest { algorithm, .. })) => Ok(algorithm),
            other => panic!("{other:?}"),
        }
    };
    let (sha1, sha256, md5) = (Algorithm::SHA1, Algorithm::SHA256, Algorithm::MD5);
    let wished = [sha256.clone(), sha1.clone(), md5.clone()];
    let offered = [md5.clone(), sha1.clone(), sha256.clone()];
    assert_eq!(chosen(&wished, Some(&offered), false), Ok(sha256.clone()));
    assert_eq!(chosen(&wished, Some(&offered[..1]), false), Ok(md5.clone()));
    // It has the extension, and does not say which.
    assert_eq!(chosen(&wished, Some(&[]), false), Ok(sha1.clone()));
    assert_eq!(chosen(&wished[..1], Some(&[]), false), Ok(sha256.clone()));
    // Nothing is known.
    assert_eq!(chosen(&wished, None, false), Ok(sha1.clone()));
    assert_eq!(chosen(&wished[2..], None, false), Ok(md5.clone()));
    // It has others.
    let none = Misuse::NoAlgorithm {
        offered: vec![sha1.clone()],
    };
    assert_eq!(
        none.to_string(),
        "the server compares none of the checksums that are asked for; it has: sha1"
    );
    assert_eq!(chosen(&wished[..1], Some(&wished[1..2]), false), Err(none));
    assert_eq!(chosen(&wished[..1], Some(&wished[1..2]), true), Ok(sha256));
}

#[test]
fn sizes_that_contradict_each_other_are_refused() {
    let made = |most, least, multiple| {
        let config = config(|config| {
            config.request_size = most;
            config.request_min = least;
            config.request_multiple = multiple;
        });
        let first = Upload::create(ENDPOINT, 9, &config).map(drop);
        assert_eq!(first, Upload::append(URL, None, &config).map(drop));
        assert_eq!(first, Terminate::new(URL, &config).map(drop));
        first
    };
    for (most, least, multiple) in [
        (Some(0), None, None),
        (None, Some(0), None),
        (None, None, Some(0)),
        (Some(8), Some(9), None),
        (Some(8), None, Some(9)),
        // 12 is the least multiple that is not below 9.
        (Some(11), Some(9), Some(6)),
    ] {
        assert_eq!(
            made(most, least, multiple),
            Err(Misuse::RequestSize),
            "{most:?} {least:?} {multiple:?}"
        );
    }
    for (most, least, multiple) in [
        (None, None, None),
        (Some(8), Some(8), Some(8)),
        (Some(12), Some(9), Some(6)),
        (None, Some(u64::MAX), Some(1)),
    ] {
        assert_eq!(made(most, least, multiple), Ok(()));
    }
}

// Some hosts insist: a fixed size; a minimum; a multiple.
#[test]
fn requests_have_the_sizes_that_a_host_insists_on() {
    let sized = |length: u64, most: u64, least: u64, multiple: u64| {
        Scenario::created_with(length, |config| {
            config.request_size = Some(most);
            config.request_min = Some(least);
            config.request_multiple = Some(multiple);
        })
    };
    sized(25, 10, 1, 4)
        .appends(0..8)
        .confirms(8)
        .appends(8..16)
        .confirms(16)
        .appends(16..24)
        .confirms(24)
        .appends(24..25)
        .confirms(25)
        .succeeds();
    // A server that takes little is not offered less than the minimum.
    sized(25, 10, 5, 1).confirms(1).appends(1..6);
    sized(25, 12, 1, 4)
        .confirms(1)
        .tells(&Event::Shrunk { to: 4 })
        .appends(1..5);
    // Not all that remains, with checksums or streams, but what the host can bear.
    let mib = 1 << 20;
    let large = Scenario::stream_with(|config| config.request_min = Some(9 * mib));
    large.reads(0, 9 * mib);
    let uneven = Scenario::stream_with(|config| config.request_multiple = Some(3 * mib));
    uneven.reads(0, 6 * mib);
    let steps = Scenario::stream_with(|config| config.request_multiple = Some(9 * mib));
    steps.reads(0, 9 * mib);
}

#[test]
fn a_request_id_must_not_stand_in_a_field_of_the_protocols() {
    for name in ["upload-offset", "content-length", "tus-resumable"] {
        let config = config(|config| config.request_id = Some(name.parse().unwrap()));
        let header = Misuse::Header(name.parse().unwrap());
        assert_eq!(misuse(Upload::create(ENDPOINT, 9, &config)), header);
        assert_eq!(misuse(Inspect::new(URL, &config)), header);
    }
}

/// The ids of five requests, one of them a retry.
fn ids(seed: u64) -> Vec<String> {
    let mut told = Scenario::create_with(9, |config| {
        config.request_id = Some("x-request-id".parse().unwrap());
        config.seed = seed;
    });
    let mut ids = Vec::new();
    let mut note = |told: &Scenario<Upload>| {
        let id = &told.request().headers()["x-request-id"];
        ids.push(id.to_str().unwrap().to_owned());
    };
    note(&told);
    told = told.answers(201, &[("location", URL)]);
    note(&told);
    told = told.loses();
    note(&told);
    told = told.loses().waits();
    note(&told);
    told = told.finds(4);
    note(&told);
    ids
}

// I8.
#[test]
fn each_request_has_an_id_of_its_own_from_the_seed() {
    let first = ids(1);
    assert_eq!(first, ids(1), "the same inputs, the same outputs");
    let all: BTreeSet<_> = first.iter().chain(&ids(2)).cloned().collect();
    assert_eq!(all.len(), 10);
    for id in &all {
        assert!(
            id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{id}"
        );
    }
    Scenario::create(9).without("x-request-id");
}

// S1.
#[test]
fn an_id_goes_to_the_callers_own_origin_only() {
    let told = Scenario::create_with(9, |config| {
        config.request_id = Some("x-request-id".parse().unwrap());
    });
    told.answers(201, &[("location", "http://other.org/a")])
        .asks("PATCH", "http://other.org/a")
        .without("x-request-id");
}

// C9; §4, 36.
#[test]
fn patch_and_delete_can_be_posted() {
    let overriding = |config: &mut Config| config.method_override = true;
    let told = Scenario::create_with(9, overriding)
        .asks("POST", ENDPOINT)
        .without("x-http-method-override")
        .answers(201, &[("location", URL)])
        .asks("POST", URL)
        .with("x-http-method-override", "PATCH")
        .with("upload-offset", "0")
        .with("content-type", "application/offset+octet-stream")
        .with("content-length", "9");
    assert_eq!(*told.request().body(), 0..9);
    assert_eq!(told.terms().op, Op::Append);
    let told = told.answers(204, &[("upload-offset", "4")]);
    let told = told.loses().probes().without("x-http-method-override");
    told.finds(4)
        .cancel(Cancel::Terminate)
        .asks("POST", URL)
        .with("x-http-method-override", "DELETE")
        .with("content-length", "0");
    let told = Scenario::new(Terminate::new(URL, &config(overriding)).unwrap());
    told.asks("POST", URL)
        .with("x-http-method-override", "DELETE")
        .answers(204, &[])
        .succeeds();
    let told = Scenario::new(Discover::new(ENDPOINT, &config(overriding)).unwrap());
    told.asks("OPTIONS", ENDPOINT)
        .without("x-http-method-override");
    // The endpoint of a 307 as well.
    Scenario::created_with(9, overriding)
        .answers(307, &[("location", "/b")])
        .asks("POST", "http://example.org/b")
        .with("x-http-method-override", "PATCH");
}

/// It ends, for something else was made, and a later run goes on.
#[track_caller]
fn appended_nothing(told: Scenario<Upload>) {
    let error = told.error();
    assert!(
        matches!(
            error,
            Error::Protocol {
                violation: Violation::NotAppended,
                ..
            }
        ) && error.resumable(),
        "{error:?}"
    );
}

// Servers that answer creations with 200 may ignore the override as well.
#[test]
fn neither_is_one_that_a_200_names() {
    let overriding = || Scenario::created_with(9, |config| config.method_override = true);
    let fields = [("location", "b"), ("upload-offset", "9")];
    let told = overriding().answers(200, &fields).tells(&Event::Orphaned);
    appended_nothing(told);
    // Where it is the upload itself, nothing was made.
    let fields = [("location", "a"), ("upload-offset", "9")];
    overriding().answers(200, &fields).succeeds();
    // A server behind a proxy may name it as it is there.
    let fields = [
        ("location", "http://inner:1080/files/a"),
        ("upload-offset", "9"),
    ];
    overriding().answers(200, &fields).succeeds();
    let told = overriding().answers(307, &[("location", "https://example.org/node")]);
    let fields = [("location", URL), ("upload-offset", "9")];
    told.answers(204, &fields).succeeds();
    // A PATCH makes nothing.
    let fields = [("location", "b"), ("upload-offset", "9")];
    Scenario::created(9).answers(200, &fields).succeeds();
}

// @tus/server ignores the override, and makes a second upload of a stream's last bytes.
#[test]
fn an_upload_made_by_an_append_is_no_progress() {
    let other = [
        ("location", "http://example.org/files/b"),
        ("upload-offset", "9"),
    ];
    for overriding in [true, false] {
        let told = Scenario::created_with(9, |config| config.method_override = overriding);
        let told = told.answers(201, &other);
        assert_eq!(
            told.count(|event| matches!(event, Event::Confirmed { .. })),
            0
        );
        let told = told.tells(&Event::Orphaned);
        let kept = told.checkpoint();
        appended_nothing(told);
        // The first one is as it was, and where it was.
        Scenario::resume(&kept).probes().finds(0).appends(0..9);
    }
    let told = Scenario::stream_with(|config| config.method_override = true);
    let told = told.available(9, true).with("upload-length", "9");
    let told = told.answers(201, &other);
    assert_eq!(told.checkpoint().length(), None, "it was not told");
    let error = told.error();
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    // A 201 that names nothing is odd, and understood.
    Scenario::created(9)
        .answers(201, &[("upload-offset", "9")])
        .succeeds();
}

#[test]
fn a_veto_has_the_last_word_on_an_attempt() {
    let only = |last: Op| {
        move |config: &mut Config| {
            config.veto = Veto::when(move |op, _| op == last);
        }
    };
    let told = Scenario::created_with(9, only(Op::Append)).loses();
    let error = told.error();
    let Error::Exhausted {
        limit: Limit::Veto,
        cause: Some(cause),
        place,
    } = &error
    else {
        panic!("{error:?}");
    };
    assert!(matches!(&**cause, Cause::Failed(failure) if failure.kind == FailureKind::Lost));
    assert!(place.resumable);
    Scenario::created_with(9, only(Op::Create)).loses().probes();
    let probing = Scenario::created_with(9, only(Op::Probe)).loses().probes();
    assert!(probing.answers(503, &[]).over());
    // A 409 counts as the append that it answers.
    let told = Scenario::created_with(9, only(Op::Append)).answers(409, &[]);
    let error = told.finds(0).error();
    assert!(matches!(
        error,
        Error::Exhausted {
            limit: Limit::Veto,
            ..
        }
    ));
    // What is not counted is not put to it.
    let told = Scenario::created_with(200_000, only(Op::Append)).answers(413, &[]);
    told.finds(0).appends(0..100_000);
    let config = config(only(Op::Terminate));
    let told = Scenario::new(Terminate::new(URL, &config).unwrap());
    assert!(told.answers(423, &[]).over());
}

// Who must not ask twice for the same file.
#[test]
fn a_veto_sees_the_cause() {
    let patient = |config: &mut Config| {
        config.veto = Veto::when(
            |_, cause| matches!(cause, Cause::Answered { status, .. } if status.as_u16() == 503),
        );
    };
    Scenario::create_with(9, patient).answers(502, &[]).waits();
    assert!(Scenario::create_with(9, patient).answers(503, &[]).over());
}

// I11, for a question that a person answers.
#[test]
fn a_cancel_ends_a_question_for_credentials() {
    let asking = || {
        let told = Scenario::created_with(9, |config| {
            config.authorize = Authorize::OnUnauthorized;
        });
        told.sent(4).answers(401, &[])
    };
    let (id, _) = asking().duty.unwrap();
    for how in [Cancel::Keep, Cancel::Now] {
        let (error, told) = asking().cancel(how).ends();
        assert!(
            matches!(error, Error::Cancelled { .. }) && error.resumable(),
            "{error:?}"
        );
        assert_eq!(told.stopped, [id], "{how:?}");
        assert!(told.machine.checkpoint().is_some());
    }
    let told = asking().cancel(Cancel::Terminate).asks("DELETE", URL);
    assert_eq!(told.stopped, [id]);
}

// P1.
#[test]
fn a_part_says_so_when_it_is_created() {
    let part = |config: &mut Config| config.partial = true;
    Scenario::create_with(9, part)
        .with("upload-concat", "partial")
        .answers(201, &[("location", URL)])
        .appends(0..9)
        .without("upload-concat")
        .confirms(9)
        .succeeds();
    Scenario::create(9).without("upload-concat");
}

#[test]
fn debug_shows_no_header_of_the_callers() {
    let shown = config(|config| {
        config
            .headers
            .insert("authorization", "Bearer secret".parse().unwrap());
    });
    let shown = format!("{shown:?}");
    assert!(
        shown.contains("authorization") && !shown.contains("secret"),
        "{shown}"
    );
}
