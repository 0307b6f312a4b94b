//! What is known of an upload whose last bytes went out: DESIGN §4, "Endings", and rule R8.

use tus_proto::{Completion, Error, Event, Machine};

use crate::scenario::{ENDPOINT, Scenario};

#[test]
fn an_answered_completion_is_acknowledged_even_without_an_offset() {
    let done = Scenario::created(9).answers(204, &[]).finds(9).succeeds();
    assert_eq!(done.completion, Completion::Acknowledged);
    let done = Scenario::created(9)
        .answers(204, &[])
        .loses()
        .finds(9)
        .succeeds();
    assert_eq!(done.completion, Completion::Acknowledged);
    let done = Scenario::created(9)
        .answers(204, &[])
        .finds(4)
        .loses()
        .finds(9)
        .succeeds();
    assert_eq!(
        done.completion,
        Completion::Observed,
        "what holds is the fate of the last one"
    );
}

#[test]
fn an_unanswered_completion_that_is_found_is_observed() {
    let done = Scenario::created(9).loses().finds(9).succeeds();
    assert_eq!(done.completion, Completion::Observed);
    for status in [408, 409, 423, 425, 429, 499, 502, 503, 504, 520, 529] {
        let mut scenario = Scenario::created(9).answers(status, &[]);
        if scenario.out.is_none() {
            scenario = scenario.waits();
        }
        let done = scenario.finds(9).succeeds();
        assert_eq!(done.completion, Completion::Observed, "{status}");
    }
}

// R8: never a success after a refusal that reached us, nor in the next run.
#[test]
fn a_refused_completion_is_no_success_now_or_later() {
    let refused = Scenario::created(9).answers_with(500, &[], "checksum of the whole is wrong");
    let saved = refused.checkpoint();
    let error = refused.waits().probes().finds(9).error();
    let Error::Unfinished {
        place,
        status,
        words,
    } = &error
    else {
        panic!("{error:?}");
    };
    assert_eq!(
        (status.as_u16(), &words[..]),
        (500, "checksum of the whole is wrong")
    );
    assert!(place.resumable);
    assert_eq!(Scenario::resume(&saved).probes().finds(9).error(), {
        let mut again = error.clone();
        if let Error::Unfinished { place, .. } = &mut again {
            place.attempts = 0;
        }
        again
    });
    // Fewer bytes settle it: it goes on, and the refusal is forgotten.
    let scenario = Scenario::resume(&saved).finds(8);
    assert_ne!(scenario.checkpoint(), saved);
    let done = scenario.appends(8..9).confirms(9).succeeds();
    assert_eq!(done.completion, Completion::Acknowledged);
}

#[test]
fn an_unfinished_upload_leaves_the_checkpoint_as_it_was() {
    let refused = Scenario::created(9).answers(500, &[]);
    let saved = refused.checkpoint();
    let (error, scenario) = refused.waits().finds(9).ends();
    assert!(matches!(error, Error::Unfinished { .. }), "{error:?}");
    assert_eq!(scenario.machine.checkpoint(), Some(saved));
}

#[test]
fn a_refusal_is_saved_before_its_head() {
    let scenario = Scenario::created(9).holding_saves().answers(500, &[]);
    assert_eq!(scenario.saves.len(), 2);
    assert!(scenario.duty.is_some());
    scenario.saved().waits().probes();
}

#[test]
fn a_refusal_that_ends_it_is_kept_for_the_next_run() {
    let (error, scenario) = Scenario::created(9).answers(422, &[]).ends();
    assert!(matches!(error, Error::Rejected { .. }));
    let checkpoint = scenario.checkpoint();
    let error = Scenario::resume(&checkpoint).finds(9).error();
    assert!(matches!(error, Error::Unfinished { status, .. } if status.as_u16() == 422));
}

#[test]
fn a_refusal_before_the_last_byte_was_handed_over_is_no_ending() {
    let scenario = Scenario::created(9).sent(8).answers(500, &[]);
    assert_eq!(scenario.saves.len(), 1, "the checkpoint is as it was");
    scenario.waits().finds(8).appends(8..9);
}

// "Finished and moved away" and "deleted" look alike.
#[test]
fn an_unanswered_completion_that_is_gone_is_unknown_now_and_later() {
    let gone = Scenario::created(9).loses();
    let checkpoint = gone.checkpoint();
    let (error, scenario) = gone.probes().answers(410, &[]).ends();
    assert!(
        matches!(error, Error::CompletionUnknown { .. }) && error.resumable(),
        "{error:?}"
    );
    assert_eq!(
        scenario.count(|event| matches!(event, Event::Recreating { .. })),
        0
    );
    for _ in 0..2 {
        let error = Scenario::resume(&checkpoint)
            .probes()
            .answers(410, &[])
            .error();
        assert!(
            matches!(error, Error::CompletionUnknown { .. }),
            "{error:?}"
        );
    }
    let done = Scenario::resume(&checkpoint).finds(9).succeeds();
    assert_eq!(done.completion, Completion::Observed);
    // The rest of that request may have come after the HEAD, until another is answered.
    let later = Scenario::resume(&checkpoint).finds(3).appends(3..9);
    let error = later.sent(0).loses().answers(410, &[]).error();
    assert!(
        matches!(error, Error::CompletionUnknown { .. }),
        "{error:?}"
    );
    let later = Scenario::resume(&checkpoint).finds(3).confirms(6);
    let later = later.appends(6..9).sent(0).loses();
    later.answers(410, &[]).asks("POST", ENDPOINT);
}

#[test]
fn a_loss_before_the_last_byte_was_handed_over_leaves_nothing_unknown() {
    Scenario::created(9)
        .sent(8)
        .loses()
        .answers(410, &[])
        .asks("POST", ENDPOINT);
}

#[test]
fn an_upload_that_expired_is_plainly_gone() {
    let scenario = Scenario::create(9)
        .answers(
            201,
            &[
                ("location", "a"),
                ("upload-expires", "Tue, 14 Nov 2023 22:13:20 GMT"),
            ],
        )
        .loses();
    let expires = scenario.checkpoint().expires().unwrap();
    assert_eq!(expires.unix_seconds(), 1_700_000_000);
    let scenario = scenario.tells(&Event::Expires { at: expires });
    let checkpoint = scenario.checkpoint();
    let later = [("date", "Tue, 14 Nov 2023 22:13:21 GMT")];
    scenario.answers(410, &later).asks("POST", ENDPOINT);
    Scenario::resume(&checkpoint)
        .answers(410, &later)
        .asks("POST", ENDPOINT);
    for date in [
        "Tue, 14 Nov 2023 22:13:19 GMT",
        "Tue, 14 Nov 2023 22:13:20 GMT",
    ] {
        let error = Scenario::resume(&checkpoint)
            .answers(410, &[("date", date)])
            .error();
        assert!(matches!(error, Error::CompletionUnknown { .. }), "{date}");
    }
}

#[test]
fn a_refused_completion_that_is_gone_was_not_completed() {
    Scenario::created(9)
        .answers(404, &[])
        .probes()
        .answers(410, &[])
        .asks("POST", ENDPOINT);
}

#[test]
fn a_displaced_completion_leaves_what_was_known() {
    let error = Scenario::created(9)
        .loses()
        .loses()
        .waits()
        .answers(410, &[])
        .error();
    assert!(matches!(error, Error::CompletionUnknown { .. }));
}

// The rest of a request may arrive after a HEAD that did not see it, and complete the upload.
#[test]
fn what_a_late_rest_may_have_completed_is_not_made_anew() {
    let tus = [("tus-resumable", "1.0.0")];
    for status in [409, 404] {
        let told = Scenario::created(9).sent(9).loses().finds(4).appends(4..9);
        let told = told.sent(5).answers(status, &tus).probes();
        let error = told.answers(404, &tus).error();
        assert!(
            matches!(error, Error::CompletionUnknown { .. }),
            "{error:?}"
        );
    }
    // An answered request has settled what came before it.
    let told = Scenario::created_with(9, |config| config.request_size = Some(9));
    let told = told.sent(9).loses().finds(4).appends(4..9).confirms(6);
    let told = told.appends(6..9).sent(1).answers(409, &tus).probes();
    told.answers(404, &tus).asks("POST", ENDPOINT);
}
