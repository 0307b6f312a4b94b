//! Sending bytes, and what the server makes of them.

use std::time::Duration;

use tus_proto::{
    Answer, Authorize, Cancel, Completion, Config, Conflict, Error, Event, FailureKind, Hint,
    Input, Limit, Machine as _, Tick, Upload,
};

use crate::scenario::{Scenario, URL};

const MIB: u64 = 1 << 20;

// §4, 1: the bytes go on where the server says, not where the request ended.
#[test]
fn a_partly_taken_request_is_followed_from_the_acknowledged_offset() {
    Scenario::created_with(100, |config| config.request_size = Some(40))
        .appends(0..40)
        .confirms(25)
        .tells(&Event::Confirmed {
            offset: 25,
            length: Some(100),
        })
        .appends(25..65)
        .confirms(65)
        .appends(65..100)
        .confirms(100)
        .succeeds();
}

#[test]
fn a_server_that_takes_little_is_offered_twice_that() {
    Scenario::created(1_000)
        .appends(0..1_000)
        .confirms(10)
        .tells(&Event::Shrunk { to: 20 })
        .appends(10..30)
        .confirms(30)
        .appends(30..70);
}

#[test]
fn the_requests_that_carry_bytes_are_told() {
    let scenario = Scenario::created_with(9, |config| config.request_size = Some(4))
        .confirms(4)
        .loses()
        .finds(4)
        .appends(4..8);
    let told: Vec<_> = scenario
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Appending { from, to } => Some((*from, *to)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(0, 4), (4, 8), (4, 8)]);
}

#[test]
fn of_several_counts_before_a_poll_the_last_is_told() {
    let mut told = Scenario::created(9);
    let id = told.id();
    let sent = Input::Sent(id, 3);
    told.machine.handle(Tick::default(), sent);
    let told = told.sent(5);
    assert_eq!(told.count(|event| matches!(event, Event::Sent { .. })), 1);
    told.tells(&Event::Sent { offset: 5 });
}

#[test]
fn failed_attempts_are_numbered() {
    let scenario = Scenario::created_with(9, |config| config.retry.attempts = Some(2))
        .answers(503, &[])
        .waits()
        .answers(503, &[]);
    for number in [1, 2] {
        let told =
            |event: &Event| matches!(event, Event::Retrying { attempt, .. } if *attempt == number);
        assert_eq!(scenario.count(told), 1, "{:?}", scenario.events);
    }
    let scenario = scenario.waits();
    assert_eq!(scenario.out.as_ref().unwrap().2.attempt, 2);
    let error = scenario.answers(503, &[]).error();
    assert!(
        matches!(&error, Error::Exhausted { place, .. } if place.attempts == 3),
        "{error:?}"
    );
}

// §4, 2.
#[test]
fn an_unchanged_offset_is_a_failed_attempt_and_no_loop() {
    let mut scenario = Scenario::created_with(9, |config| config.retry.attempts = Some(3));
    for _ in 0..3 {
        scenario = scenario.appends(0..9).confirms(0).waits();
    }
    let error = scenario.confirms(0).error();
    assert!(
        matches!(
            error,
            Error::Exhausted {
                limit: Limit::Attempts,
                ..
            }
        ) && error.resumable(),
        "{error:?}"
    );
}

#[test]
fn a_success_without_an_offset_is_asked_about_at_once() {
    for fields in [&[][..], &[("upload-offset", "3abc")]] {
        Scenario::created(9)
            .answers(204, fields)
            .probes()
            .finds(9)
            .succeeds();
        Scenario::created(9)
            .answers(204, fields)
            .probes()
            .finds(4)
            .appends(4..9);
        Scenario::created(9)
            .answers(204, fields)
            .probes()
            .finds(0)
            .waits()
            .appends(0..9);
    }
}

#[test]
fn a_rewound_offset_is_told_and_followed() {
    Scenario::created_with(9, |config| config.request_size = Some(3))
        .confirms(3)
        .appends(3..6)
        .confirms(1)
        .tells(&Event::Rewound { from: 3, to: 1 })
        .waits()
        .appends(1..4);
}

// §4, 5.
#[test]
fn an_offset_beyond_the_request_is_looked_into_and_beyond_what_was_sent_a_conflict() {
    let ghost = Scenario::created_with(9, |config| config.request_size = Some(3))
        .loses()
        .finds(0)
        .appends(0..3);
    let error = ghost.confirms(4).error();
    assert!(
        matches!(
            error,
            Error::Conflict {
                conflict: Conflict::Offset {
                    server: 4,
                    reach: 3
                },
                ..
            }
        ),
        "{error:?}"
    );
    // A request of 9 was lost, and one of 4 answered: the first one's rest arrived late.
    Scenario::created(9).answers(413, &[]).probes().finds(0);
    let error = Scenario::created(9).confirms(10).error();
    assert!(matches!(error, Error::Conflict { .. }) && !error.resumable());
    let error = Scenario::created(9)
        .answers(204, &[("upload-offset", "9"), ("upload-length", "10")])
        .error();
    assert!(matches!(
        error,
        Error::Conflict {
            conflict: Conflict::Length { .. },
            ..
        }
    ));
}

// The rest of a large request arrives while a smaller one is answered.
#[test]
fn ones_own_ghost_is_no_conflict() {
    Scenario::created(MIB)
        .loses()
        .finds(0)
        .loses()
        .waits()
        .finds(0)
        .tells(&Event::Shrunk { to: MIB / 2 })
        .appends(0..MIB / 2)
        .confirms(MIB / 2 + 1)
        .waits()
        .probes()
        .finds(MIB / 2 + 1)
        .appends(MIB / 2 + 1..MIB);
}

// R4; §4, 11: the retry has a new offset and the body that belongs to it.
#[test]
fn after_a_loss_comes_a_head_and_then_the_rest() {
    Scenario::created(9)
        .loses()
        .probes()
        .without("upload-offset")
        .without("content-length")
        .finds(7)
        .appends(7..9)
        .with("content-length", "2")
        .confirms(9)
        .succeeds();
    for status in [408, 423, 425, 429, 499, 500, 502, 503, 504, 524] {
        Scenario::created(9)
            .answers(status, &[])
            .backs_off(0.5..=1.0)
            .probes()
            .finds(7)
            .appends(7..9);
    }
}

#[test]
fn what_was_not_sent_is_sent_again_as_it_was() {
    Scenario::created(9)
        .fails(FailureKind::NotSent)
        .backs_off(0.5..=1.0)
        .appends(0..9);
}

// C4.
#[test]
fn a_displaced_request_asks_at_once_and_waits_before_it_sends() {
    Scenario::created(9)
        .answers(409, &[])
        .probes()
        .finds(4)
        .backs_off(0.5..=1.0)
        .appends(4..9);
    Scenario::created(9).answers(409, &[]).finds(9).succeeds();
}

#[test]
fn a_request_that_was_broken_off_on_its_way_is_no_refusal() {
    for words in [
        "ERR_UPLOAD_INTERRUPTED: upload has been interrupted",
        "ERR_UNEXPECTED_EOF: server expected to receive more bytes",
        "Request aborted due to lock acquired",
    ] {
        Scenario::created(9)
            .answers_with(400, &[("content-type", "text/plain")], words)
            .waits()
            .probes()
            .finds(4)
            .appends(4..9);
    }
}

// The lock is that of an earlier request, whose rest completes the upload.
#[test]
fn a_lock_that_is_not_to_be_had_is_no_refusal() {
    for words in [
        "ERR_LOCK_TIMEOUT: failed to acquire lock before timeout\n",
        "failed to acquire lock before timeout",
    ] {
        let told = Scenario::created(9).sent(9).loses().finds(4).appends(4..9);
        let told = told.sent(5).answers_with(500, &[], words);
        let done = told.waits().probes().finds(9).succeeds();
        assert_eq!(done.completion, Completion::Observed);
    }
    // Any other is (R8).
    let told = Scenario::created(9).sent(9).loses().finds(4).appends(4..9);
    let told = told.sent(5).answers_with(500, &[], "ERR_INTERNAL");
    let error = told.waits().finds(9).error();
    assert!(matches!(error, Error::Unfinished { .. }), "{error:?}");
}

// It tries the credentials, but was asked for the doubt.
#[test]
fn a_doubt_that_cannot_be_settled_is_the_refusal_that_raised_it() {
    let kept = Scenario::created(9).confirms(4).checkpoint();
    let told = Scenario::resume_with(&kept, |config| {
        config.authorize = Authorize::OnUnauthorized;
    });
    let told = told.finds(4).answers_with(403, &[], "no").probes();
    let error = told
        .answers(401, &[])
        .answers_duty(Answer::Credentials(None));
    let error = error.error();
    assert!(
        matches!(&error, Error::Rejected { status, words, .. } if *status == 403 && words == "no"),
        "{error:?}"
    );
}

// What Node says of a request that ended early, before any tus server hears of it.
#[test]
fn a_400_without_a_word_that_ends_the_connection_is_no_refusal() {
    let close = ("connection", "close");
    Scenario::created(9)
        .answers(400, &[close])
        .waits()
        .probes()
        .finds(4)
        .appends(4..9);
    for (headers, words) in [
        (&[close][..], "no"),
        (&[close, ("tus-resumable", "1.0.0")], ""),
        (&[], ""),
    ] {
        let error = Scenario::created(9)
            .answers_with(400, headers, words)
            .error();
        assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
    }
}

// §4, 9.
#[test]
fn a_refusal_ends_it_and_keeps_the_url() {
    for (status, hint) in [
        (400, None),
        (401, Some(Hint::Credentials)),
        (403, Some(Hint::Permission)),
        (405, Some(Hint::Method)),
        (407, Some(Hint::Proxy)),
        (412, Some(Hint::Version)),
        (414, Some(Hint::FieldsTooLong)),
        (415, None),
        (422, None),
        (431, Some(Hint::FieldsTooLong)),
        (460, None),
        (501, Some(Hint::Method)),
        (507, Some(Hint::NoSpace)),
    ] {
        let error = Scenario::created(9).answers(status, &[]).error();
        let Error::Rejected {
            place, hint: given, ..
        } = error
        else {
            panic!("{status}: {error:?}");
        };
        assert_eq!(given, hint, "{status}");
        assert!(place.resumable, "{status}");
        assert_eq!(place.url.expose(), URL);
    }
}

#[test]
fn methods_that_worked_before_are_tried_again() {
    Scenario::created_with(9, |config| config.request_size = Some(3))
        .confirms(3)
        .answers(501, &[])
        .waits()
        .probes();
}

// †: the rest of a lost request may have been faster than the next one.
#[test]
fn a_refusal_after_a_loss_is_doubted_once() {
    for status in [400, 403] {
        let doubted = || {
            Scenario::created(9)
                .loses()
                .finds(4)
                .appends(4..9)
                .answers(status, &[])
                .probes()
        };
        doubted().finds(9).succeeds();
        let error = doubted().finds(4).error();
        assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
        let checkpoint = Scenario::created(9).checkpoint();
        Scenario::resume(&checkpoint)
            .finds(4)
            .answers(status, &[])
            .probes()
            .finds(9)
            .succeeds();
        // Once the server has answered an append, nothing is on its way any more.
        let answered = Scenario::created_with(9, |config| config.request_size = Some(3))
            .loses()
            .finds(0)
            .confirms(3)
            .answers(status, &[]);
        assert!(matches!(answered.error(), Error::Rejected { .. }));
    }
}

#[test]
fn an_upload_that_vanished_is_asked_for() {
    for status in [404, 410] {
        Scenario::created(9)
            .answers(status, &[])
            .probes()
            .finds(4)
            .waits()
            .appends(4..9);
        Scenario::created(9)
            .answers(status, &[])
            .probes()
            .answers(410, &[])
            .asks("POST", crate::scenario::ENDPOINT);
    }
    Scenario::created(4 * MIB)
        .answers(404, &[])
        .finds(0)
        .tells(&Event::Shrunk { to: 2 * MIB });
}

#[test]
fn a_request_that_is_too_large_is_made_smaller_uncounted() {
    let scenario = Scenario::created_with(300 * MIB, |config| config.retry.attempts = Some(0))
        .answers(413, &[])
        .probes()
        .finds(0)
        .tells(&Event::Shrunk { to: 64 * MIB })
        .appends(0..64 * MIB)
        .answers(413, &[])
        .finds(0)
        .appends(0..32 * MIB)
        .confirms(32 * MIB)
        .appends(32 * MIB..64 * MIB);
    drop(scenario);

    let mut scenario = Scenario::created_with(300 * MIB, |config| config.retry.attempts = Some(0));
    while scenario.request().body().end > 64 * 1024 {
        scenario = scenario.answers(413, &[]).finds(0);
    }
    let error = scenario.answers(413, &[]).finds(0).error();
    assert!(
        matches!(
            error,
            Error::Rejected {
                hint: Some(Hint::RequestTooLarge),
                ..
            }
        ) && error.resumable(),
        "{error:?}"
    );
}

#[test]
fn an_upload_that_is_too_large_is_not_made_smaller() {
    let error = Scenario::created(9)
        .answers(413, &[("tus-max-size", "5")])
        .error();
    assert!(matches!(
        error,
        Error::Rejected {
            hint: Some(Hint::TooLarge),
            ..
        }
    ));
    let error = Scenario::created(9)
        .answers_with(413, &[], "ERR_MAX_SIZE_EXCEEDED: maximum size exceeded")
        .error();
    assert!(matches!(
        error,
        Error::Rejected {
            hint: Some(Hint::TooLarge),
            ..
        }
    ));
}

#[test]
fn two_losses_in_a_row_without_new_bytes_make_requests_smaller_for_a_while() {
    Scenario::created(8 * MIB)
        .loses()
        .finds(0)
        .loses()
        .waits()
        .finds(0)
        .appends(0..4 * MIB)
        .loses()
        .waits()
        .finds(1)
        .appends(1..4 * MIB + 1)
        .confirms(4 * MIB + 1)
        .appends(4 * MIB + 1..8 * MIB);
    Scenario::created(8 * MIB)
        .loses()
        .finds(1)
        .loses()
        .waits()
        .finds(2)
        .appends(2..8 * MIB);
}

// §4, 19.
// What is halved is the request, wherever in the file it began.
#[test]
fn a_request_from_the_middle_shrinks_by_its_own_size() {
    let (from, half) = (4 * MIB, 4 * MIB..6 * MIB);
    let second = || {
        Scenario::created_with(300 * MIB, |config| config.request_size = Some(4 * MIB))
            .confirms(from)
            .appends(from..from + 4 * MIB)
    };
    second().answers(413, &[]).finds(from).appends(half.clone());
    second()
        .answers(404, &[])
        .finds(from)
        .waits()
        .appends(half.clone());
    second()
        .loses()
        .finds(from)
        .loses()
        .waits()
        .finds(from)
        .appends(half);
}

#[test]
fn a_source_that_fails_ends_it_and_keeps_the_checkpoint() {
    let error = Scenario::created(9).fails(FailureKind::Source).error();
    assert!(
        matches!(error, Error::Source { .. }) && error.resumable(),
        "{error:?}"
    );
    let (error, scenario) = Scenario::created(9)
        .fails(FailureKind::SourceChanged)
        .ends();
    assert!(matches!(error, Error::SourceChanged { .. }) && error.resumable());
    assert!(scenario.saves.last().unwrap().is_some());
}

// §4, 22.
#[test]
fn lengths_go_to_the_edge_of_u64() {
    let over = 5 << 30;
    Scenario::created(over)
        .appends(0..over)
        .confirms(over - 1)
        .appends(over - 1..over);
    Scenario::created(u64::MAX)
        .appends(0..u64::MAX)
        .with("content-length", "18446744073709551615")
        .confirms(u64::MAX - 1)
        .appends(u64::MAX - 1..u64::MAX)
        .confirms(u64::MAX)
        .succeeds();
    Scenario::created_with(u64::MAX, |config| config.request_size = Some(u64::MAX - 1))
        .appends(0..u64::MAX - 1)
        .confirms(u64::MAX - 1)
        .appends(u64::MAX - 1..u64::MAX);
}

// §4, 15.
#[test]
fn retry_after_is_waited_out_in_both_forms() {
    Scenario::created(9)
        .answers(503, &[("retry-after", "100")])
        .backs_off(100.0..=105.0)
        .probes();
    Scenario::created(9)
        .answers(
            429,
            &[
                ("retry-after", "Tue, 14 Nov 2023 22:13:20 GMT"),
                ("date", "Tue, 14 Nov 2023 22:12:20 GMT"),
            ],
        )
        .backs_off(60.0..=65.0)
        .probes();
    Scenario::created(9)
        .answers(409, &[("retry-after", "100")])
        .finds(0)
        .backs_off(100.0..=105.0)
        .appends(0..9);
    for garbage in ["-5", "0", "soon", "1e3", "Tue, 14 Nov 2023 22:13:20 GMT"] {
        Scenario::created(9)
            .answers(503, &[("retry-after", garbage)])
            .backs_off(0.5..=1.0);
    }
    let error = Scenario::created(9)
        .answers(503, &[("retry-after", "301")])
        .error();
    assert!(
        matches!(error, Error::ComeBackAt { after, .. } if after.as_secs() == 301)
            && error.resumable(),
        "{error:?}"
    );
}

// A cut line with progress is not a line that fails.
#[test]
fn progress_gives_the_budget_back() {
    let piece = 64 * 1024;
    let mut scenario = Scenario::created_with(piece * 50, |config| config.retry.attempts = Some(1));
    for n in 1..50 {
        scenario = scenario.loses().probes().finds(n * piece);
    }
    scenario.confirms(50 * piece).succeeds();
}

// I6: a server that takes a byte at a time is left after a thousand requests.
#[test]
fn next_to_no_progress_is_bounded() {
    let mut scenario =
        Scenario::created_with(1 << 40, |config| config.request_size = Some(1 << 30));
    let mut offset = 0;
    let mut requests = 1; // the creation
    while scenario.out.is_some() {
        requests += 1;
        offset += 1;
        scenario = scenario.confirms(offset);
    }
    assert_eq!(requests, 1_000);
    let error = scenario.error();
    assert!(
        matches!(
            error,
            Error::Exhausted {
                limit: Limit::Requests,
                ..
            }
        ),
        "{error:?}"
    );
}

// †, and what it is not.
#[test]
fn a_refusal_is_doubted_only_where_a_rest_can_have_completed_the_upload() {
    let part = Scenario::created(9).sent(5).loses().finds(4).appends(4..9);
    assert!(matches!(
        part.answers(403, &[]).error(),
        Error::Rejected { .. }
    ));
    // A refusal of the whole is a refusal.
    let whole = || Scenario::created(9).loses().finds(4).appends(4..9);
    assert!(matches!(
        whole().answers(422, &[]).error(),
        Error::Rejected { .. }
    ));
    // What was not processed leaves the doubt.
    for (status, fields) in [(409, &[][..]), (307, &[("location", "/b")]), (421, &[])] {
        let mut again = whole().answers(status, fields);
        if status == 409 {
            again = again.finds(4).waits();
        }
        again
            .appends(4..9)
            .answers(403, &[])
            .asks("HEAD", URL)
            .finds(9)
            .succeeds();
    }
    let asked = |config: &mut Config| {
        config.authorize = Authorize::When(std::sync::Arc::new(|_| true));
    };
    Scenario::created_with(9, asked)
        .loses()
        .finds(4)
        .answers(403, &[])
        .answers_duty(Answer::Credentials(None))
        .probes()
        .finds(9)
        .succeeds();
}

// Found by the simulation: a predicate that knows only the status was asked of what is no refusal, and the
// request was not mended.
#[test]
fn a_400_that_can_be_mended_is_not_put_to_the_predicate() {
    let asks = |config: &mut Config| {
        config.authorize = Authorize::When(std::sync::Arc::new(|answer| answer.status() == 400));
    };
    let words = "ERR_UPLOAD_INTERRUPTED: upload has been interrupted";
    Scenario::created_with(9, asks)
        .answers_with(400, &[], words)
        .waits()
        .probes();
    let told = Scenario::created_with(9, asks).answers_with(400, &[], "no");
    told.answers_duty(Answer::Credentials(None));
}

#[test]
fn one_head_is_enough_for_a_doubt() {
    let doubted = || {
        let lost = Scenario::created(9).loses().finds(4);
        lost.appends(4..9).answers(403, &[]).probes()
    };
    let is_403 = |error: &Error| matches!(error, Error::Rejected { status, .. } if *status == 403);
    for status in [401, 404, 410, 503] {
        let error = doubted().answers(status, &[]).error();
        assert!(is_403(&error) && error.resumable(), "{status}: {error:?}");
    }
    assert!(is_403(&doubted().loses().error()));
    // The answer to a deletion is its own.
    let error = doubted().cancel(Cancel::Terminate).asks("DELETE", URL);
    let error = error.answers(401, &[]).error();
    assert!(
        matches!(error, Error::Rejected { status, .. } if status == 401),
        "{error:?}"
    );
}

// No limit makes anything else of what was decided, and waits for a HEAD alone.
#[test]
fn a_limit_tells_the_refusal_that_waits_for_its_head() {
    let minute = Duration::from_secs(60);
    let kept = Scenario::created(9).checkpoint();
    let resumed = |attempts| {
        Scenario::resume_with(&kept, |config| {
            config.retry.attempts = attempts;
            config.retry.deadline = attempts.map(|_| minute);
            config.authorize = Authorize::OnUnauthorized;
        })
    };
    let refused = |told: Scenario<Upload>| told.finds(4).answers_with(403, &[], "no");
    let mut busy = resumed(None);
    for _ in 0..998 {
        busy = busy.answers(503, &[]).waits();
    }
    let hangs = || refused(resumed(Some(10))).probes();
    for told in [
        hangs().after(minute),
        hangs().answers(401, &[]).after(minute),
        refused(busy),
    ] {
        let error = told.error();
        assert!(
            matches!(&error, Error::Rejected { status, words, .. } if *status == 403 && words == "no"),
            "{error:?}"
        );
    }
    // One of a size that can be smaller is no end yet.
    let too_large = |length| {
        let told = Scenario::created_with(length, |config| config.retry.deadline = Some(minute));
        told.answers(413, &[]).probes().after(minute).error()
    };
    assert!(matches!(
        too_large(9),
        Error::Rejected { status, hint: Some(Hint::RequestTooLarge), .. } if status == 413
    ));
    assert!(matches!(too_large(MIB), Error::Exhausted { .. }));
    // However the HEAD ends.
    let lost = Scenario::created_with(9, |config| config.retry.attempts = Some(0));
    let error = lost.answers(413, &[]).answers(503, &[]).error();
    assert!(
        matches!(&error, Error::Rejected { status, .. } if *status == 413),
        "{error:?}"
    );
}

// I5: a rewind is a failed attempt of its own only where nothing else has failed.
#[test]
fn bytes_that_a_failed_attempt_has_cost_are_no_second_failure() {
    let told = Scenario::created(9).confirms(5).answers(503, &[]).waits();
    let told = told.probes().finds(2).appends(2..9);
    let retries = told.count(|event| matches!(event, Event::Retrying { .. }));
    assert_eq!(retries, 1, "{:#?}", told.events);
}

#[test]
fn retry_after_is_honoured_on_every_counted_answer() {
    let later = |mut fields: Vec<(&'static str, &'static str)>| {
        fields.push(("retry-after", "100"));
        fields
    };
    let head = |scenario: Scenario<_>| scenario.probes().finds(0).backs_off(100.0..=105.0);
    head(Scenario::created(9).answers(404, &later(vec![]))).appends(0..9);
    head(Scenario::created(9).answers(204, &later(vec![]))).appends(0..9);
    Scenario::created(9)
        .answers(204, &later(vec![("upload-offset", "0")]))
        .backs_off(100.0..=105.0)
        .appends(0..9);
    Scenario::created(9)
        .loses()
        .answers(200, &later(vec![("tus-resumable", "1.0.0")]))
        .backs_off(100.0..=105.0)
        .probes();
}

#[test]
fn losses_with_new_bytes_in_between_are_not_in_a_row() {
    Scenario::created(8 * MIB)
        .loses()
        .finds(0)
        .answers(503, &[])
        .waits()
        .finds(1)
        .loses()
        .waits()
        .finds(1)
        .appends(1..8 * MIB);
}

#[test]
fn a_limit_that_the_upload_keeps_says_nothing_of_it() {
    Scenario::created(4 * MIB)
        .answers(413, &[("tus-max-size", "1000000000")])
        .finds(0)
        .appends(0..2 * MIB);
}

#[test]
fn what_a_request_without_an_offset_says_is_not_lost() {
    let expires = ("upload-expires", "Tue, 14 Nov 2023 22:13:20 GMT");
    let scenario = Scenario::created(9).answers(204, &[expires]);
    assert_eq!(
        scenario.checkpoint().expires().unwrap().unix_seconds(),
        1_700_000_000
    );
}
