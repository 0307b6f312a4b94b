//! Bytes that go with the creation: DESIGN §4, "First bytes", and the rows of its table for a POST
//! with a body.

use std::time::Duration;

use tus_proto::{
    Algorithm, Cancel, Cause, Completion, Config, Conflict, Error, Event, Extension, FailureKind,
    Hint, Limit, Upload, Veto, Violation,
};

use crate::scenario::{ENDPOINT, Scenario, URL, server};

fn offering(config: &mut Config) {
    config.server = Some(server(&[
        Extension::Creation,
        Extension::CreationWithUpload,
    ]));
}

fn create_with(length: u64, configure: impl FnOnce(&mut Config)) -> Scenario<Upload> {
    Scenario::create_with(length, |config| {
        offering(config);
        configure(config);
    })
}

fn create(length: u64) -> Scenario<Upload> {
    create_with(length, |_| ())
}

/// The creation is out, and these bytes with it, or none.
#[track_caller]
fn carries(told: Scenario<Upload>, bytes: u64) -> Scenario<Upload> {
    let told = told
        .asks("POST", ENDPOINT)
        .with("content-length", &bytes.to_string());
    assert_eq!(*told.request().body(), 0..bytes);
    if bytes == 0 {
        told.without("content-type").without("expect")
    } else {
        told.with("content-type", "application/offset+octet-stream")
    }
}

fn retries(told: &Scenario<Upload>) -> usize {
    told.count(|event| matches!(event, Event::Retrying { .. }))
}

fn orphans(told: &Scenario<Upload>) -> usize {
    told.count(|event| *event == Event::Orphaned)
}

// U1; R2.
#[test]
fn a_small_source_goes_along_and_nothing_is_left_to_save() {
    let told = carries(create(9), 9)
        .with("upload-length", "9")
        .without("upload-offset")
        .without("expect")
        .without("transfer-encoding")
        .tells(&Event::Appending { from: 0, to: 9 })
        .answers(201, &[("location", URL), ("upload-offset", "9")])
        .tells(&Event::Confirmed {
            offset: 9,
            length: Some(9),
        });
    assert_eq!(told.saves, [], "the 201 completed it");
    let done = told.succeeds();
    assert_eq!(done.completion, Completion::Acknowledged);
    assert_eq!((done.url.expose(), done.length), (URL.to_owned(), 9));
}

#[test]
fn only_a_whole_small_source_goes_along_and_only_where_that_is_offered() {
    let mib = 1 << 20;
    carries(create(mib), mib);
    carries(create(mib + 1), 0);
    carries(create(0), 0);
    carries(create_with(9, |config| config.creation_body = 8), 0);
    carries(create_with(9, |config| config.creation_body = 0), 0);
    carries(create_with(9, |config| config.request_size = Some(9)), 9);
    carries(create_with(9, |config| config.request_size = Some(8)), 0);
    // The last request may be shorter than the minimum.
    carries(create_with(9, |config| config.request_min = Some(100)), 9);
    carries(
        create_with(9, |config| config.request_multiple = Some(100)),
        9,
    );
    // Not offered, or not known to be.
    carries(Scenario::create(9), 0);
    let plain = |config: &mut Config| config.server = Some(server(&[Extension::Creation]));
    carries(Scenario::create_with(9, plain), 0);
    let silent = |config: &mut Config| config.server = Some(tus_proto::Capabilities::default());
    carries(Scenario::create_with(9, silent), 0);
    // Servers ignore a digest on a POST.
    let checked = create_with(9, |config| {
        config.checksums = vec![Algorithm::SHA1];
        let server = config.server.as_mut().unwrap();
        let extensions = server.extensions.as_mut().unwrap();
        extensions.push("checksum".into());
    });
    carries(checked, 0);
}

// §4, 34.
#[test]
fn a_body_that_the_server_ignored_is_sent_again() {
    let told = create(9).answers(201, &[("location", URL), ("upload-offset", "0")]);
    assert_eq!((told.saves.len(), retries(&told)), (1, 0));
    told.appends(0..9).confirms(9).succeeds();
}

// §4, 1.
#[test]
fn a_body_that_was_taken_in_part_is_followed_from_there() {
    let told = create(9).answers(201, &[("location", URL), ("upload-offset", "6")]);
    assert_eq!(told.saves.len(), 1);
    told.appends(6..9).confirms(9).succeeds();
    create(9)
        .answers(201, &[("location", URL), ("upload-offset", "2")])
        .tells(&Event::Shrunk { to: 4 })
        .appends(2..6);
}

#[test]
fn without_an_offset_the_url_is_saved_and_a_head_tells() {
    for offset in [
        &[][..],
        &[("upload-offset", "9x")],
        &[("upload-offset", "-1")],
    ] {
        let created = [&[("location", URL)], offset].concat();
        let told = create(9).holding_saves().answers(201, &created);
        assert!(told.out.is_none(), "the URL is not durable yet");
        let told = told.saved().probes();
        assert_eq!(retries(&told), 0);
        let told = told.finds(9);
        assert_eq!(told.saves.last(), Some(&None));
        assert_eq!(told.saved().succeeds().completion, Completion::Acknowledged);
        create(9).answers(201, &created).finds(4).appends(4..9);
        create(9).answers(201, &created).finds(0).appends(0..9);
    }
}

// "Endings": a POST with a body is a completing request too.
#[test]
fn an_acknowledged_post_without_an_offset_is_remembered() {
    let told = create(9).answers(201, &[("location", URL)]).loses();
    let checkpoint = told.checkpoint();
    let (error, _) = told.answers(410, &[]).ends();
    assert!(
        matches!(error, Error::CompletionUnknown { .. }) && error.resumable(),
        "{error:?}"
    );
    let error = Scenario::resume(&checkpoint).answers(410, &[]).error();
    assert!(
        matches!(error, Error::CompletionUnknown { .. }),
        "{error:?}"
    );
    let done = Scenario::resume(&checkpoint).finds(9).succeeds();
    assert_eq!(done.completion, Completion::Acknowledged);
    // Its last byte did not leave: it cannot have completed anything.
    let early = create(9).sent(4).answers(201, &[("location", URL)]);
    early
        .finds(4)
        .sent(0)
        .loses()
        .answers(410, &[])
        .asks("POST", ENDPOINT);
}

// §4, 29: never a blind second POST.
#[test]
fn a_success_without_location_is_the_end_with_bytes_too() {
    let error = create(9).answers(201, &[("upload-offset", "9")]).error();
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

// R3; §4, 5. RU answers an offset beyond the length.
#[test]
fn an_offset_above_what_was_sent_is_a_conflict() {
    let (error, told) = create(9)
        .answers(201, &[("location", URL), ("upload-offset", "11")])
        .ends();
    let beyond = Conflict::Offset {
        server: 11,
        reach: 9,
    };
    assert!(matches!(error, Error::Conflict { conflict, .. } if conflict == beyond));
    assert_eq!(told.saves, []);
    let error = create(9)
        .sent(4)
        .answers(201, &[("location", URL), ("upload-offset", "5")])
        .error();
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
    create(9)
        .sent(4)
        .answers(201, &[("location", URL), ("upload-offset", "4")])
        .appends(4..9);
    // Later answers are measured by it too.
    let error = create(9)
        .sent(4)
        .answers(201, &[("location", URL)])
        .finds(5)
        .error();
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
}

// Until the 201 there is no URL to resume, so what was lost once is not lost twice.
#[test]
fn a_lost_creation_is_repeated_without_its_bytes() {
    let lost = create(9).sent(4).loses();
    assert_eq!((orphans(&lost), retries(&lost)), (1, 1));
    let told = carries(lost, 0).answers(201, &[("location", URL)]);
    told.appends(0..9);
    carries(create(9).sent(0).times_out(), 0).tells(&Event::Orphaned);
    for status in [500, 502, 503, 504, 408, 499] {
        let told = create(9).answers(status, &[]);
        assert_eq!((orphans(&told), retries(&told)), (1, 1), "{status}");
        carries(told.waits(), 0);
    }
    let broken_off = create(9).answers_with(400, &[], "ERR_UPLOAD_INTERRUPTED: interrupted");
    assert_eq!(orphans(&broken_off), 1);
    carries(broken_off.waits(), 0);
    let error = create(9).answers(400, &[]).error();
    assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
}

#[test]
fn what_was_not_processed_keeps_its_bytes() {
    let told = create(9).fails(FailureKind::NotSent);
    assert_eq!(orphans(&told), 0);
    carries(told.waits(), 9);
    for status in [423, 425, 429] {
        let told = create(9).answers(status, &[]);
        assert_eq!(orphans(&told), 0, "{status}");
        carries(told.waits(), 9);
    }
    let told = create(9).answers(421, &[]);
    assert!(told.terms().fresh);
    carries(told, 9);
    let told = create(9).answers(307, &[("location", "/b")]);
    let told = told.asks("POST", "http://example.org/b");
    assert_eq!(*told.request().body(), 0..9);
    assert_eq!(retries(&told), 0);
}

// The extension is not what was said, or something on the way refuses the body.
#[test]
fn a_creation_that_is_refused_for_its_bytes_is_repeated_without_them() {
    for status in [413, 415, 501] {
        let told = create(9).answers(status, &[]);
        assert_eq!((retries(&told), orphans(&told)), (0, 0), "{status}");
        let told = carries(told, 0);
        assert_eq!(told.terms().attempt, 0, "it is not counted");
        let error = told.answers(status, &[]).error();
        assert!(matches!(error, Error::Rejected { .. }), "{status}");
    }
    let told = create(9).answers_with(413, &[], "ERR_MAX_SIZE_EXCEEDED: maximum size exceeded");
    let error = carries(told, 0)
        .answers(413, &[("tus-max-size", "8")])
        .error();
    let Error::Rejected { hint, words, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(hint, Some(Hint::TooLarge));
    assert!(words.contains("its limit is 8 bytes"), "{words}");
    for (status, expected) in [(405, Hint::Endpoint), (505, Hint::Method)] {
        let error = create(9).answers(status, &[]).error();
        let Error::Rejected { hint, .. } = error else {
            panic!("{error:?}");
        };
        assert_eq!(hint, Some(expected), "{status}");
    }
}

// U1. Without bytes there is nothing to wait for leave for.
#[test]
fn leave_is_asked_for_where_that_was_wished() {
    let expecting = |length| create_with(length, |config| config.expect_continue = true);
    carries(expecting(9), 9).with("expect", "100-continue");
    carries(expecting(0), 0);
    carries(
        Scenario::create_with(9, |config| config.expect_continue = true),
        0,
    );
    // Whoever does not understand it gets it no more; that costs nothing.
    let told = expecting(9).answers(417, &[]);
    assert_eq!((retries(&told), orphans(&told)), (0, 0));
    let told = carries(told, 9).without("expect");
    let error = told.answers(417, &[]).error();
    assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
    let error = create(9).answers(417, &[]).error();
    assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
}

// "Event, policy": whoever must not leave an upload that nobody knows of says so.
#[test]
fn a_veto_ends_it_at_the_first_lost_creation() {
    let careful = || {
        create_with(9, |config| {
            config.veto = Veto::when(|op, cause| {
                op == tus_proto::Op::Create && matches!(cause, Cause::Failed(_))
            });
        })
    };
    let (error, told) = careful().loses().ends();
    assert!(
        matches!(
            error,
            Error::Exhausted {
                limit: Limit::Veto,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(orphans(&told), 1);
    carries(careful().answers(503, &[]).waits(), 0);
}

#[test]
fn a_creation_with_bytes_that_is_cancelled_may_leave_an_orphan() {
    for how in [Cancel::Keep, Cancel::Terminate, Cancel::Now] {
        let (error, told) = create(9).sent(9).cancel(how).ends();
        assert!(
            matches!(
                error,
                Error::Cancelled {
                    terminated: false,
                    ..
                }
            ) && !error.resumable()
        );
        assert_eq!((orphans(&told), told.stopped.len()), (1, 1), "{how:?}");
    }
}

#[test]
fn a_creation_whose_source_fails_in_mid_body_may_leave_an_orphan() {
    for kind in [FailureKind::Source, FailureKind::SourceChanged] {
        let (error, told) = create(9).sent(4).fails(kind).ends();
        assert_eq!(orphans(&told), 1, "{error:?}");
    }
    let (error, told) = create(9).fails(FailureKind::Hopeless).ends();
    assert_eq!(orphans(&told), 0, "{error:?}");
}

// The upload that is made anew is one like the first.
#[test]
fn a_recreation_carries_the_bytes_again() {
    let told = create(9).answers(201, &[("location", URL), ("upload-offset", "6")]);
    let told = told.sent(0).loses().answers(410, &[]);
    assert_eq!(told.saves.last(), Some(&None));
    carries(told, 9);
}

// Whoever names the length again may contradict it.
#[test]
fn a_creation_with_bytes_of_another_length_is_a_conflict() {
    let fields = [
        ("location", URL),
        ("upload-offset", "8"),
        ("upload-length", "8"),
    ];
    let error = create(9).answers(201, &fields).error();
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
}

#[test]
fn the_expiry_in_the_answer_is_kept() {
    let fields = [
        ("location", URL),
        ("upload-offset", "4"),
        ("upload-expires", "Tue, 14 Nov 2023 22:13:20 GMT"),
    ];
    let told = create(9).answers(201, &fields);
    let expires = told.checkpoint().expires().unwrap();
    assert_eq!(expires.unix_seconds(), 1_700_000_000);
}

// R5: the wait for the answer is that of a request with a body.
#[test]
fn a_creation_with_bytes_has_time_for_its_answer() {
    let told = create(9).sent(9);
    assert_eq!(told.wait(), Duration::from_secs(300));
    assert_eq!(create(9).sent(8).wait(), Duration::from_secs(60));
    assert_eq!(Scenario::create(9).wait(), Duration::from_secs(90));
}

// There is no URL that a HEAD could try them at.
#[test]
fn with_credentials_the_creation_is_repeated_as_it_was() {
    let told = create_with(9, |config| {
        config.authorize = tus_proto::Authorize::OnUnauthorized;
    });
    let fresh = crate::scenario::headers(&[("authorization", "fresh")]);
    let told = told
        .answers(401, &[])
        .answers_duty(tus_proto::Answer::Credentials(Some(fresh)));
    carries(told, 9).with("authorization", "fresh");
}
