//! The question for the offset, and `Inspect`, which asks the same.

use std::time::Duration;

use tus_proto::{Completion, Conflict, Error, Event, FailureKind, Hint, Limit, Violation};

use crate::scenario::{ENDPOINT, Scenario, URL};

// C3; §4, 21.
#[test]
fn an_upload_at_a_url_goes_on_where_the_server_is() {
    Scenario::at_url(9)
        .probes()
        .finds(4)
        .appends(4..9)
        .confirms(9)
        .succeeds();
    let done = Scenario::at_url(9).probes().finds(9).succeeds();
    assert_eq!(done.completion, Completion::Observed);
    Scenario::at_url(9)
        .answers(204, &[("upload-offset", "4")])
        .appends(4..9);
}

// §4, 5, 38.
#[test]
fn an_offset_is_digits_and_nothing_else() {
    for offset in [
        "3abc",
        "-3",
        "+3",
        "",
        "18446744073709551616",
        "3.0",
        "0x3",
        "3 4",
        "3,4",
    ] {
        let error = Scenario::at_url(9)
            .answers(200, &[("upload-offset", offset)])
            .error();
        assert!(
            matches!(
                error,
                Error::Protocol {
                    violation: Violation::NoOffset,
                    ..
                }
            ),
            "{offset:?}: {error:?}"
        );
    }
    for fields in [
        &[("upload-offset", "5, 5")][..],
        &[("Upload-Offset", "5"), ("UPLOAD-OFFSET", "5")],
        &[("upload-offset", " 5 ")],
    ] {
        Scenario::at_url(9).answers(200, fields).appends(5..9);
    }
    let error = Scenario::at_url(9)
        .answers(200, &[("upload-offset", "5"), ("upload-offset", "6")])
        .error();
    assert!(matches!(error, Error::Protocol { .. }));
}

// §4, 4, 5.
#[test]
fn another_length_or_an_offset_beyond_it_is_another_writer() {
    let (error, scenario) = Scenario::created(9)
        .loses()
        .answers(200, &[("upload-offset", "0"), ("upload-length", "8")])
        .ends();
    assert!(
        matches!(
            error,
            Error::Conflict {
                conflict: Conflict::Length {
                    server: 8,
                    source_length: 9
                },
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(
        scenario.saves.last(),
        Some(&None),
        "the checkpoint is forgotten"
    );
    let error = Scenario::at_url(9).finds(10).error();
    assert!(
        matches!(
            error,
            Error::Conflict {
                conflict: Conflict::Offset {
                    server: 10,
                    reach: 9
                },
                ..
            }
        ),
        "{error:?}"
    );
    Scenario::at_url(9)
        .answers(200, &[("upload-offset", "1"), ("upload-length", "nine")])
        .appends(1..9);
}

// R3: in a run that created the upload, the server cannot have more than was sent.
#[test]
fn more_bytes_than_were_sent_are_another_writers() {
    let lost = Scenario::created(9).sent(0).sent(4).loses().probes();
    let error = lost.finds(5).error();
    assert!(
        matches!(
            error,
            Error::Conflict {
                conflict: Conflict::Offset {
                    server: 5,
                    reach: 4
                },
                ..
            }
        ),
        "{error:?}"
    );
    Scenario::created(9)
        .sent(0)
        .sent(4)
        .loses()
        .finds(4)
        .appends(4..9);
    // A transport that does not report may have sent all of it, and so may one that was stopped.
    Scenario::created(9).loses().finds(8).appends(8..9);
    Scenario::created(9)
        .sent(4)
        .times_out()
        .finds(8)
        .appends(8..9);
    // Nobody knows what an earlier run sent.
    let checkpoint = Scenario::created(9).checkpoint();
    Scenario::resume(&checkpoint).finds(8).appends(8..9);
}

// §4, 13.
#[test]
fn a_page_instead_of_an_offset_is_named_as_such() {
    let error = Scenario::at_url(9)
        .answers_with(
            200,
            &[("content-type", "text/html")],
            "<title>Please log in</title>",
        )
        .error();
    assert!(error.to_string().contains("login page"), "{error}");
    assert!(error.resumable());
    // Where a tus server was heard before, it is a passing fault.
    Scenario::created(9)
        .loses()
        .answers_with(
            200,
            &[("content-type", "text/html")],
            "<title>Please log in</title>",
        )
        .backs_off(1.0..=2.0)
        .probes()
        .finds(3)
        .appends(3..9);
}

// §4, 6, 7: nothing but "gone" makes a new upload.
#[test]
fn a_fault_or_a_refusal_on_head_never_starts_anew() {
    for status in [408, 409, 423, 425, 429, 499, 500, 502, 503, 504] {
        Scenario::created(9)
            .loses()
            .answers(status, &[])
            .waits()
            .probes()
            .finds(3)
            .appends(3..9);
    }
    for status in [400, 401, 403, 407, 412, 418] {
        let error = Scenario::created(9).loses().answers(status, &[]).error();
        assert!(
            matches!(error, Error::Rejected { .. }),
            "{status}: {error:?}"
        );
        assert!(error.resumable(), "{status}");
    }
}

#[test]
fn methods_that_worked_before_are_tried_again() {
    for status in [405, 501, 505] {
        let created = Scenario::created_with(9, |config| config.request_size = Some(3));
        let lost = created.loses().finds(3).confirms(6).loses();
        lost.waits().probes().answers(status, &[]).waits().probes();
        let error = Scenario::created(9).loses().answers(status, &[]).error();
        assert!(matches!(
            error,
            Error::Rejected {
                hint: Some(Hint::Method),
                ..
            }
        ));
        let error = Scenario::at_url(9).answers(status, &[]).error();
        assert!(
            matches!(error, Error::Rejected { .. }),
            "{status}: {error:?}"
        );
    }
}

// §4, 8.
#[test]
fn an_upload_that_is_gone_is_made_anew_once() {
    let tus = [("tus-resumable", "1.0.0")];
    for (status, fields) in [(404, &tus[..]), (410, &[][..])] {
        let scenario = Scenario::created(9).sent(4).loses().answers(status, fields);
        assert_eq!(
            scenario.count(|event| matches!(event, Event::Recreating { .. })),
            1
        );
        assert_eq!(
            scenario.saves.last(),
            Some(&None),
            "forgotten before the new creation"
        );
        let scenario = scenario
            .asks("POST", ENDPOINT)
            .answers(201, &[("location", "b")])
            .appends(0..9)
            .asks("PATCH", "http://example.org/files/b");
        let (error, scenario) = scenario
            .sent(4)
            .loses()
            .waits()
            .answers(status, fields)
            .ends();
        assert!(matches!(error, Error::Gone { .. }), "{error:?}");
        assert_eq!(scenario.saves.last(), Some(&None));
    }
    let error = Scenario::created_with(9, |config| config.recreations = 0)
        .sent(4)
        .loses()
        .answers(410, &[])
        .error();
    assert!(matches!(error, Error::Gone { .. }) && !error.resumable());
    // There is no endpoint to make it at.
    let error = Scenario::at_url(9).answers(410, &[]).error();
    assert!(matches!(error, Error::Gone { .. }));
}

// A proxy's 404 is no evidence; three of them, over time, are.
#[test]
fn an_unsigned_404_is_doubted_at_first() {
    let mut scenario = Scenario::created(9).sent(2).loses();
    for _ in 0..2 {
        scenario = scenario.probes().answers(404, &[]).waits();
    }
    scenario = scenario
        .probes()
        .finds(2)
        .appends(2..9)
        .sent(1)
        .loses()
        .waits();
    for _ in 0..2 {
        scenario = scenario.probes().answers(404, &[]).waits();
    }
    scenario
        .after(Duration::from_secs(30))
        .answers(404, &[])
        .asks("POST", ENDPOINT);
    let (error, _) = Scenario::created_with(9, |config| config.retry.attempts = Some(1))
        .loses()
        .answers(404, &[])
        .ends();
    assert!(
        matches!(
            error,
            Error::Exhausted {
                limit: Limit::Attempts,
                ..
            }
        ) && error.resumable()
    );
}

#[test]
fn unsigned_404s_that_a_find_came_between_do_not_add_up() {
    let mut scenario = Scenario::created(9).sent(2).loses();
    for _ in 0..2 {
        scenario = scenario.probes().answers(404, &[]).waits();
    }
    scenario
        .probes()
        .finds(2)
        .appends(2..9)
        .after(Duration::from_secs(30))
        .sent(1)
        .after(Duration::from_secs(30))
        .loses()
        .waits()
        .probes()
        .answers(404, &[])
        .waits()
        .probes();
}

#[test]
fn an_unsigned_404_is_believed_only_if_it_came_both_often_and_long() {
    let missing = || {
        Scenario::created(9)
            .sent(2)
            .loses()
            .answers(404, &[])
            .waits()
    };
    missing()
        .answers(404, &[])
        .waits()
        .answers(404, &[])
        .waits()
        .probes();
    missing()
        .after(Duration::from_secs(30))
        .answers(404, &[])
        .waits()
        .probes();
}

#[test]
fn a_rewind_is_told_followed_and_counted_once() {
    const MIB: u64 = 1 << 20;
    Scenario::created_with(9 * MIB, |config| config.request_size = Some(3 * MIB))
        .confirms(3 * MIB)
        .confirms(6 * MIB)
        .answers(413, &[])
        .finds(3 * MIB)
        .tells(&Event::Rewound {
            from: 6 * MIB,
            to: 3 * MIB,
        })
        .backs_off(0.5..=1.0)
        .appends(3 * MIB..9 * MIB / 2)
        .loses()
        .waits()
        .finds(2 * MIB)
        .tells(&Event::Rewound {
            from: 3 * MIB,
            to: 2 * MIB,
        })
        .appends(2 * MIB..7 * MIB / 2);
}

#[test]
fn what_cannot_be_mended_ends_it() {
    let error = Scenario::at_url(9).fails(FailureKind::Hopeless).error();
    assert!(matches!(error, Error::Hopeless { .. }), "{error:?}");
    let error = Scenario::inspect().fails(FailureKind::Hopeless).error();
    assert!(matches!(error, Error::Hopeless { .. }), "{error:?}");
}

#[test]
fn inspect_reads_what_the_server_says() {
    let inspected = Scenario::inspect()
        .asks("HEAD", URL)
        .answers(
            200,
            &[
                ("upload-offset", "4"),
                ("upload-length", "9"),
                ("upload-metadata", "name YQ==, bare"),
                ("upload-expires", "Tue, 14 Nov 2023 22:13:20 GMT"),
            ],
        )
        .succeeds();
    assert_eq!((inspected.offset, inspected.length), (Some(4), Some(9)));
    assert_eq!(inspected.complete(), Some(false));
    assert_eq!(inspected.expires.unwrap().unix_seconds(), 1_700_000_000);
    let metadata = inspected.metadata.unwrap();
    assert_eq!(
        metadata.iter().collect::<Vec<_>>(),
        [("name", Some(&b"a"[..])), ("bare", None)]
    );
}

#[test]
fn inspect_tells_unreadable_metadata_from_none() {
    let inspected = Scenario::inspect()
        .answers(
            200,
            &[("upload-offset", "4"), ("upload-metadata", "name ###")],
        )
        .succeeds();
    assert!(inspected.metadata.is_err());
    assert_eq!((inspected.length, inspected.complete()), (None, None));
}

// P4.
#[test]
fn inspect_allows_an_unfinished_final_to_have_no_offset() {
    let inspected = Scenario::inspect()
        .answers(200, &[("upload-concat", "final;/a /b")])
        .succeeds();
    assert_eq!(inspected.offset, None);
    let error = Scenario::inspect().answers(200, &[]).error();
    assert!(matches!(
        error,
        Error::Protocol {
            violation: Violation::NoOffset,
            ..
        }
    ));
}

#[test]
fn inspect_says_gone_at_once_and_retries_the_rest() {
    for status in [404, 410] {
        let error = Scenario::inspect().answers(status, &[]).error();
        assert!(matches!(error, Error::Gone { .. }), "{error:?}");
    }
    Scenario::inspect()
        .answers(503, &[])
        .waits()
        .asks("HEAD", URL);
    Scenario::inspect().loses().asks("HEAD", URL);
    let error = Scenario::inspect().answers(401, &[]).error();
    assert!(matches!(error, Error::Rejected { .. }));
}
