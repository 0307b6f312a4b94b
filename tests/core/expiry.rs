//! Uploads that the server drops after a time: PROTOCOL E1, and the caller's wall clock.

use tus_proto::{Cancel, Checkpoint, Config, Date, Error, Event};

use crate::scenario::{ENDPOINT, Scenario, URL};
use crate::several::{Several, unfinished, url};

/// A second before, the moment, and a second after.
const BEFORE: u64 = 1_699_999_999;
const MOMENT: u64 = 1_700_000_000;
const AFTER: u64 = 1_700_000_001;

const EXPIRES: (&str, &str) = ("upload-expires", "Tue, 14 Nov 2023 22:13:20 GMT");

fn expiring() -> Scenario<tus_proto::Upload> {
    Scenario::create(9).answers(201, &[("location", URL), EXPIRES])
}

/// As it is after a piece of the upload was acknowledged.
fn checkpoint() -> Checkpoint {
    expiring().confirms(4).checkpoint()
}

fn at(seconds: u64) -> impl FnOnce(&mut Config) {
    move |config| config.wall_clock = Some(Date::from_unix_seconds(seconds))
}

#[test]
fn what_has_expired_by_the_wall_clock_is_not_asked_for() {
    let told = Scenario::resume_with(&checkpoint(), at(AFTER));
    let told = told.asks("POST", ENDPOINT);
    assert_eq!(
        told.log,
        ["(Recreating)", "forget", "POST"],
        "the old checkpoint is forgotten before the POST"
    );
    told.answers(201, &[("location", "b")]).appends(0..9);
    for time in [BEFORE, MOMENT] {
        Scenario::resume_with(&checkpoint(), at(time)).probes();
    }
    Scenario::resume(&checkpoint()).probes();
    // No expiry is known.
    Scenario::resume_with(&Scenario::created(9).checkpoint(), at(AFTER)).probes();
}

// The clock of this machine may be wrong: nothing is given up for its sake.
#[test]
fn where_it_may_not_be_made_anew_the_server_is_asked() {
    let told = Scenario::resume_with(&checkpoint(), |config| {
        at(AFTER)(config);
        config.recreations = 0;
    });
    told.probes().finds(4).appends(4..9);

    let known = Scenario::at_url(9).answers(200, &[("upload-offset", "4"), EXPIRES]);
    let (_, known) = known.cancel(tus_proto::Cancel::Keep).ends();
    let checkpoint = known.checkpoint();
    assert_eq!(checkpoint.expires(), Some(Date::from_unix_seconds(MOMENT)));
    Scenario::resume_with(&checkpoint, at(AFTER)).probes();
}

// It may be complete, and complete uploads do not expire.
#[test]
fn what_may_be_complete_is_asked_for() {
    let unsettled = expiring().loses().checkpoint();
    let told = Scenario::resume_with(&unsettled, at(AFTER)).probes();
    told.finds(9).succeeds();
    let acknowledged = expiring().answers(204, &[]).checkpoint();
    Scenario::resume_with(&acknowledged, at(AFTER)).probes();
}

// R8: the next run says the same of the same state.
#[test]
fn what_was_refused_is_asked_for() {
    let (_, refused) = expiring().answers(422, &[]).ends();
    let refused = refused.checkpoint();
    let error = Scenario::resume_with(&refused, at(AFTER))
        .probes()
        .finds(9)
        .error();
    assert!(matches!(error, Error::Unfinished { .. }), "{error:?}");
    Scenario::resume_with(&refused, at(AFTER))
        .answers(410, &[])
        .asks("POST", ENDPOINT);
}

// Plainly gone by the answer's own clock, else by the caller's.
#[test]
fn the_wall_clock_settles_a_410_that_has_no_date() {
    let unsettled = expiring().loses().checkpoint();
    Scenario::resume_with(&unsettled, at(AFTER))
        .answers(410, &[])
        .asks("POST", ENDPOINT);
    for time in [BEFORE, MOMENT] {
        let told = Scenario::resume_with(&unsettled, at(time));
        let error = told.answers(410, &[]).error();
        assert!(matches!(error, Error::CompletionUnknown { .. }), "{time}");
    }
    let earlier = [("date", "Tue, 14 Nov 2023 22:13:19 GMT")];
    let told = Scenario::resume_with(&unsettled, at(AFTER));
    let error = told.answers(410, &earlier).error();
    assert!(
        matches!(error, Error::CompletionUnknown { .. }),
        "the server's clock is what counts"
    );
}

// E1: it may change, and each change is told and saved once.
#[test]
fn a_new_expiry_is_told_and_saved() {
    let later = [
        ("upload-offset", "4"),
        ("upload-expires", "Tue, 14 Nov 2023 22:13:21 GMT"),
    ];
    let told = expiring();
    assert_eq!(told.saves.len(), 1);
    let told = told.tells(&Event::Expires {
        at: Date::from_unix_seconds(MOMENT),
    });
    let told = told.answers(204, &later).tells(&Event::Expires {
        at: Date::from_unix_seconds(AFTER),
    });
    assert_eq!(told.saves.len(), 2);
    assert_eq!(
        told.checkpoint().expires(),
        Some(Date::from_unix_seconds(AFTER))
    );
    // The same again, none at all, and none that can be read.
    let told = told.loses().answers(200, &later);
    let told = told.answers(204, &[("upload-offset", "5")]);
    let garbage = [("upload-offset", "6"), ("upload-expires", "tomorrow")];
    let told = told.answers(204, &garbage);
    assert_eq!(
        told.count(|event| matches!(event, Event::Expires { .. })),
        2
    );
    // The loss of the last bytes was a change, and its end another.
    assert_eq!(
        told.checkpoint().expires(),
        Some(Date::from_unix_seconds(AFTER))
    );
    // A HEAD may bring it.
    let told = Scenario::at_url(9).answers(200, &later);
    assert_eq!(
        told.checkpoint().expires(),
        Some(Date::from_unix_seconds(AFTER))
    );
}

// A stream's later run has the bytes from the first on.
#[test]
fn an_expired_stream_is_made_anew_with_its_length_open() {
    let told = Scenario::stream();
    let told = told.available(3, false);
    let told = told.answers(204, &[("upload-offset", "3"), EXPIRES]);
    let checkpoint = told.checkpoint();
    let told = Scenario::resume_stream_with(&checkpoint, at(AFTER));
    told.asks("POST", ENDPOINT)
        .with("upload-defer-length", "1")
        .answers(201, &[("location", "b")])
        .reads(0, 8 << 20);
}

// What is complete does not expire, and a part is asked for its bytes again.
#[test]
fn a_part_that_is_complete_is_not_made_anew_for_its_expiry() {
    for unanswered in [false, true] {
        let story = Several::join(&[5, 5]).posts(1);
        let story = story.answers(1, 201, &[("location", &url(1)), EXPIRES]);
        let story = story.creates(2).sent(1, 5);
        let story = if unanswered {
            story.loses(1).finds(1, 5)
        } else {
            story.confirms(1, 5)
        };
        let (_, story) = story.cancel(Cancel::Keep).ends();
        let kept = story.checkpoint();
        assert_eq!(kept.expires(), None);
        let story = Several::resume_with(&kept, at(AFTER)).probes(1).finds(1, 5);
        let story = story.finds(2, 0).confirms(2, 5).joins(&[1, 2]);
        story.joined().succeeds();
    }
}

// Nor is an upload made a second time whose completion was acknowledged.
#[test]
fn an_upload_that_may_be_complete_by_an_acknowledgement_is_not_made_anew_for_its_expiry() {
    let told = expiring().appends(0..9).sent(9).answers(204, &[]);
    let kept = told.probes().checkpoint();
    let later = [("date", "Tue, 14 Nov 2023 22:13:21 GMT")];
    for date in [&later[..], &[]] {
        let told = Scenario::resume_with(&kept, at(AFTER)).probes();
        let error = told.answers(410, date).error();
        assert!(
            matches!(error, Error::CompletionUnknown { .. }),
            "{error:?}"
        );
    }
}

// A whole was asked for early, and cannot have been complete.
#[test]
fn a_part_that_has_expired_is_made_anew_under_a_whole_that_waits_for_it() {
    let story = Several::join_with(&[5, 5], unfinished).posts(1);
    let story = story.answers(1, 201, &[("location", &url(1)), EXPIRES]);
    let story = story.creates(2).joins(&[1, 2]).joined().confirms(1, 3);
    let (_, story) = story.confirms(2, 5).cancel(Cancel::Keep).ends();
    let later = [("date", "Tue, 14 Nov 2023 22:13:21 GMT")];
    for wall_clock in [None, Some(Date::from_unix_seconds(AFTER))] {
        let story = Several::resume_with(&story.checkpoint(), |config| {
            unfinished(config);
            config.wall_clock = wall_clock;
        });
        let story = story.looks().answers(0, 200, &[]).probes(1);
        story.answers(1, 410, &later).posts(1);
    }
}
