//! A source that ends where it ends: DESIGN §4, "Unknown length".

use std::time::Duration;

use tus_proto::{
    Answer, Cancel, Cause, Completion, Config, Conflict, Error, Event, Failure, FailureKind, Hint,
    Input, Limit, Machine, Upload,
};

use crate::scenario::{ENDPOINT, Scenario, URL, config};

const MIB: u64 = 1 << 20;

/// Requests of eight bytes.
fn eights(config: &mut Config) {
    config.request_size = Some(8);
}

fn stream() -> Scenario<Upload> {
    Scenario::stream_with(eights)
}

/// Its last five bytes, and with them its length, are out.
fn ending() -> Scenario<Upload> {
    stream()
        .reads(0, 8)
        .available(8, false)
        .appends(0..8)
        .confirms(8)
        .reads(8, 16)
        .available(13, true)
        .appends(8..13)
        .with("upload-length", "13")
}

/// A stream of eight bytes, whose end is told by an empty request.
fn on_a_boundary() -> Scenario<Upload> {
    stream()
        .available(8, false)
        .confirms(8)
        .reads(8, 16)
        .available(8, true)
        .appends(8..8)
        .with("upload-length", "8")
}

fn retries(told: &Scenario<Upload>) -> usize {
    told.count(|event| matches!(event, Event::Retrying { .. }))
}

// N1, N6; §4, 37.
#[test]
fn the_length_is_told_once_with_the_last_bytes() {
    let told = stream()
        .reads(0, 8)
        .available(8, false)
        .appends(0..8)
        .without("upload-length")
        .without("upload-defer-length")
        .confirms(8)
        .tells(&Event::Confirmed {
            offset: 8,
            length: None,
        })
        .reads(8, 16)
        .available(13, true)
        .appends(8..13)
        .with("upload-length", "13")
        .confirms(13);
    assert_eq!(told.saves.len(), 2, "created, and forgotten");
    let done = told.succeeds();
    assert_eq!(
        (done.length, done.completion),
        (13, Completion::Acknowledged)
    );
}

#[test]
fn requests_are_of_eight_mebibytes_where_nothing_was_said() {
    Scenario::stream()
        .reads(0, 8 * MIB)
        .available(8 * MIB, false)
        .appends(0..8 * MIB)
        .confirms(8 * MIB)
        .reads(8 * MIB, 16 * MIB);
}

// §4, 17.
#[test]
fn a_stream_that_ends_on_a_boundary_ends_with_an_empty_request() {
    let told = on_a_boundary()
        .with("content-length", "0")
        .with("content-type", "application/offset+octet-stream");
    assert_eq!(told.wait(), Duration::from_secs(90), "it has no body");
    let done = told.confirms(8).succeeds();
    assert_eq!(
        (done.length, done.completion),
        (8, Completion::Acknowledged)
    );
    let done = on_a_boundary().answers(204, &[]).finds_of(8, 8).succeeds();
    assert_eq!(done.completion, Completion::Acknowledged);
}

// §4, 20. N3 does not hold where the length was not told.
#[test]
fn an_empty_stream_is_told_to_be_empty() {
    let told = stream()
        .reads(0, 8)
        .available(0, true)
        .appends(0..0)
        .with("upload-length", "0")
        .confirms(0);
    assert_eq!(retries(&told), 0, "no byte was to be taken");
    assert_eq!(told.succeeds().length, 0);
}

// "The request after the end is known carries it": not the last one, if there is more at hand.
#[test]
fn a_source_may_have_more_at_hand_than_was_wanted() {
    let told = stream()
        .available(20, true)
        .appends(0..8)
        .with("upload-length", "20")
        .confirms(8);
    assert_eq!(told.checkpoint().length(), Some(20), "it is settled");
    let told = told.appends(8..16).without("upload-length").confirms(16);
    let told = told.appends(16..20).without("upload-length").confirms(20);
    assert_eq!(told.succeeds().length, 20);
}

// A slow source sends what it has.
#[test]
fn a_source_may_have_less_at_hand_than_was_wanted() {
    stream()
        .available(3, false)
        .appends(0..3)
        .without("upload-length")
        .confirms(3)
        .reads(3, 11)
        .available(4, true)
        .appends(3..4)
        .with("upload-length", "4");
}

// §4, 1, for bytes that are held in a buffer.
#[test]
fn what_the_server_did_not_take_is_kept() {
    stream()
        .available(8, false)
        .confirms(5)
        .reads(5, 13)
        .available(13, false)
        .appends(5..13);
}

#[test]
fn a_retry_does_not_read_again() {
    stream()
        .available(8, false)
        .loses()
        .finds_deferred(0)
        .appends(0..8)
        .answers(503, &[])
        .waits()
        .finds_deferred(0)
        .appends(0..8);
}

// §4, 3.
#[test]
fn a_rewind_below_what_is_buffered_is_the_end() {
    let rewound = |told: Scenario<Upload>| {
        let (error, told) = told.ends();
        let Error::Unrepeatable { offset, kept, .. } = error else {
            panic!("{error:?}");
        };
        assert_eq!((offset, kept), (5, 8));
        told.tells(&Event::Rewound { from: 8, to: 5 });
    };
    let second = || {
        stream()
            .available(8, false)
            .confirms(8)
            .available(16, false)
    };
    rewound(second().loses().finds_deferred(5));
    rewound(second().confirms(5));
    let (error, told) = second().loses().finds_deferred(5).ends();
    assert!(error.resumable(), "another source may have these bytes");
    Scenario::resume_stream(&told.checkpoint())
        .finds_deferred(5)
        .reads(5, 5 + 8 * MIB);
    // Nor is it made anew: its first bytes are not to be had.
    let error = second().loses().answers(410, &[]).error();
    assert!(matches!(error, Error::Gone { .. }), "{error:?}");
}

#[test]
fn while_its_first_bytes_are_at_hand_it_is_made_anew() {
    let told = stream().available(5, true).sent(2).loses();
    let told = told.answers(410, &[]).asks("POST", ENDPOINT);
    // By now the length is known.
    told.with("upload-length", "5")
        .without("upload-defer-length")
        .answers(201, &[("location", "b")])
        .appends(0..5)
        .without("upload-length");
    stream()
        .available(8, false)
        .loses()
        .answers(410, &[])
        .asks("POST", ENDPOINT)
        .with("upload-defer-length", "1")
        .answers(201, &[("location", "b")])
        .appends(0..8);
}

// §4, 18: a lost PATCH that told the length. HEAD comes first, and decides.
#[test]
fn after_a_lost_end_the_server_says_whether_it_was_told() {
    // It came, and all of it.
    let done = ending().loses().finds_of(13, 13).succeeds();
    assert_eq!(done.completion, Completion::Observed);
    // Only the head came, and some bytes.
    let told = ending().loses().finds_of(10, 13);
    assert_eq!(told.checkpoint().length(), Some(13), "it is settled");
    let told = told.appends(10..13).without("upload-length").confirms(13);
    assert_eq!(told.succeeds().completion, Completion::Acknowledged);
    // It did not come.
    ending()
        .loses()
        .finds_deferred(8)
        .appends(8..13)
        .with("upload-length", "13");
    // The bytes came, the length did not.
    let told = ending().loses().finds_deferred(13);
    assert!(!told.over(), "the server waits for more");
    told.appends(13..13)
        .with("upload-length", "13")
        .confirms(13)
        .succeeds();
    // It does not say: it is told again, which does no harm to those who know.
    ending()
        .loses()
        .finds(8)
        .appends(8..13)
        .with("upload-length", "13");
    ending()
        .loses()
        .finds(13)
        .appends(13..13)
        .with("upload-length", "13");
}

#[test]
fn a_lost_empty_end_is_told_again_or_found() {
    let done = on_a_boundary().loses().finds_of(8, 8).succeeds();
    assert_eq!(done.completion, Completion::Observed);
    for found in [
        on_a_boundary().loses().finds_deferred(8),
        on_a_boundary().loses().finds(8),
    ] {
        found.appends(8..8).with("upload-length", "8");
    }
    // R8: it is a completing request.
    let error = on_a_boundary().loses().answers(410, &[]).error();
    assert!(
        matches!(error, Error::CompletionUnknown { .. }),
        "{error:?}"
    );
}

#[test]
fn a_lost_piece_before_the_end_is_found_or_sent_again() {
    let lost = || stream().available(8, false).loses();
    lost().finds_deferred(8).reads(8, 16);
    lost()
        .finds_deferred(3)
        .reads(3, 11)
        .available(11, false)
        .appends(3..11);
    lost().finds_deferred(0).appends(0..8);
    // Nothing completes an upload whose end is not known.
    lost().answers(410, &[]).asks("POST", ENDPOINT);
    let error = lost().finds_deferred(9).error();
    assert!(matches!(error, Error::Conflict { .. }), "R3: {error:?}");
}

#[test]
fn whatever_the_answer_a_length_whose_fate_is_unknown_is_not_taken_for_told() {
    // tusd and @tus/server settle the length with this 413.
    let told = ending().answers(413, &[]).finds_of(8, 13);
    assert!(told.over(), "five bytes cannot be made fewer");
    for status in [408, 409, 423, 429, 499, 502, 503] {
        let answered = || ending().answers(status, &[]).waits_or_not();
        let done = answered().finds_of(13, 13).succeeds();
        assert_eq!(done.completion, Completion::Observed, "{status}");
        let again = |told: Scenario<Upload>| {
            let told = told.waits_or_not().appends(8..13);
            told.with("upload-length", "13")
        };
        again(answered().finds_deferred(8));
        let told = again(answered().finds(8)).answers(400, &[]).waits();
        told.finds(8).appends(8..13).without("upload-length");
    }
}

// "A 400 to a repeated Upload-Length whose first fate is unknown."
#[test]
fn a_400_to_a_repeated_length_is_a_failed_attempt() {
    let repeated = || {
        ending()
            .loses()
            .finds(10)
            .appends(10..13)
            .with("upload-length", "13")
    };
    let words = "ERR_INVALID_UPLOAD_LENGTH: missing or invalid Upload-Length header";
    let told = repeated().answers_with(400, &[], words);
    assert_eq!(retries(&told), 2);
    told.waits()
        .probes()
        .finds(10)
        .appends(10..13)
        .without("upload-length");
    // Unless the server still waits for it.
    let told = repeated().answers(400, &[]).waits().finds_deferred(10);
    let told = told.appends(10..13).with("upload-length", "13");
    // Then it is the length that is refused, or the rest of it.
    let told = told.answers(400, &[]).probes();
    let error = told.finds_deferred(10).error();
    assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
    // All is there: @tus/server refuses the empty PATCH once the upload is complete.
    let told = ending().loses().finds(13).answers(400, &[]).waits();
    let done = told.finds_of(13, 13).succeeds();
    assert_eq!(done.completion, Completion::Observed);
}

#[test]
fn a_400_to_a_length_that_is_told_first_is_a_refusal() {
    let told = ending().answers_with(400, &[], "ERR_INVALID_UPLOAD_LENGTH");
    let (error, told) = told.ends();
    assert!(
        matches!(error, Error::Rejected { .. }) && error.resumable(),
        "{error:?}"
    );
    // R8: nor is it a success in the next run, as long as nobody says otherwise.
    let checkpoint = told.checkpoint();
    let error = Scenario::resume_stream(&checkpoint)
        .finds_of(13, 13)
        .error();
    assert!(matches!(error, Error::Unfinished { .. }), "{error:?}");
    Scenario::resume_stream(&checkpoint)
        .finds_of(9, 13)
        .reads(9, 14);
    // A redirect has not told it.
    let told = ending().answers(307, &[("location", "/b")]);
    let error = told
        .with("upload-length", "13")
        .answers_with(400, &[], "ERR_INVALID_UPLOAD_LENGTH")
        .error();
    assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
}

// RU wants the length in every PATCH of a deferred upload: a clear end, not a loop.
#[test]
fn a_server_that_wants_the_length_first_is_quoted() {
    let words = "Upload-Length header required for deferred-length PATCH";
    let told = stream().available(8, false).answers_with(400, &[], words);
    let error = told.error();
    assert!(matches!(&error, Error::Rejected { words: said, .. } if said == words));
    assert!(error.resumable());
    stream()
        .available(5, true)
        .appends(0..5)
        .with("upload-length", "5")
        .confirms(5)
        .succeeds();
}

// "A 2xx to a PATCH that carried Upload-Length settles the length even if the offset is unchanged."
#[test]
fn a_success_settles_the_length_whatever_was_taken() {
    let told = ending().confirms(8);
    assert_eq!(told.checkpoint().length(), Some(13));
    told.waits().appends(8..13).without("upload-length");
    ending()
        .confirms(10)
        .appends(10..13)
        .without("upload-length");
    let told = ending().answers(204, &[]).finds(10);
    let told = told.waits_or_not().appends(10..13);
    let told = told.without("upload-length");
    assert_eq!(told.checkpoint().length(), Some(13));
    // The server has the last word.
    ending()
        .answers(204, &[])
        .finds_deferred(13)
        .appends(13..13)
        .with("upload-length", "13");
}

// I1: who took the length shows with the offset, or with the bytes that are there. A login page says 200
// as well.
#[test]
fn a_success_that_took_nothing_settles_no_length() {
    let told = ending().answers(200, &[]);
    assert_eq!(told.checkpoint().length(), None);
    let again = told.finds(8).waits().appends(8..13);
    again.with("upload-length", "13").confirms(13).succeeds();
    // Of an empty request no byte shows it: it is sent again, and believed then.
    let told = on_a_boundary().answers(200, &[]).finds(8).waits();
    let again = told.appends(8..8).with("upload-length", "8");
    again.answers(200, &[]).finds(8).succeeds();
    // Nor does it count that an earlier one was lost.
    let told = on_a_boundary().loses().finds(8).answers(200, &[]).finds(8);
    told.waits().appends(8..8).with("upload-length", "8");
    let known = on_a_boundary().answers(200, &[]).finds_of(8, 8);
    assert_eq!(known.succeeds().completion, Completion::Acknowledged);
}

impl Scenario<Upload> {
    fn waits_or_not(self) -> Self {
        if self.out.is_none() {
            self.waits()
        } else {
            self
        }
    }
}

#[test]
fn a_refusal_of_the_end_is_no_success() {
    let refused = ending().answers_with(500, &[], "the whole is infected");
    let checkpoint = refused.checkpoint();
    assert_eq!(
        checkpoint.length(),
        None,
        "nobody knows whether it was heard"
    );
    let error = refused.waits().finds_of(13, 13).error();
    assert!(matches!(error, Error::Unfinished { .. }), "{error:?}");
    let error = Scenario::resume_stream(&checkpoint)
        .finds_of(13, 13)
        .error();
    assert!(matches!(error, Error::Unfinished { .. }), "{error:?}");
    // A HEAD that does not say how long the whole is settles nothing.
    let told = Scenario::resume_stream(&checkpoint).finds(13);
    let told = told.available(13, true).appends(13..13);
    let told = told.answers(400, &[]).waits();
    let error = told.finds_of(13, 13).error();
    assert!(matches!(error, Error::Unfinished { .. }), "{error:?}");
    // Fewer bytes do, once the end is known.
    let told = Scenario::resume_stream(&checkpoint).finds(9);
    let told = told.available(13, true).appends(9..13).sent(1).loses();
    let done = told.finds_of(13, 13).succeeds();
    assert_eq!(done.completion, Completion::Observed);
}

// §4, 4 and 19.
#[test]
fn a_server_that_knows_another_length_is_a_conflict() {
    let at_url = |length: u64| {
        let upload = Upload::append(URL, None, &config(|_| ())).unwrap();
        Scenario::new(upload).probes().finds_of(0, length)
    };
    // One byte more would show that it is longer than the server says.
    let told = at_url(9).reads(0, 10).available(9, true).appends(0..9);
    told.without("upload-length").confirms(9).succeeds();
    for (upto, end) in [(8, true), (10, true), (10, false), (0, true)] {
        let (error, told) = at_url(9).available(upto, end).ends();
        let Error::Conflict { conflict, .. } = error else {
            panic!("{error:?}");
        };
        let expected = Conflict::Length {
            server: 9,
            source_length: upto,
        };
        assert_eq!(conflict, expected);
        assert_eq!(told.saves.last(), Some(&None));
    }
    // While a request is out, or after it.
    let error = ending()
        .answers(204, &[("upload-offset", "13"), ("upload-length", "14")])
        .error();
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
    let error = ending().loses().finds_of(8, 14).error();
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
}

// Some servers and proxies report the present size as the length.
#[test]
fn a_length_that_nobody_told_is_not_the_streams() {
    let lost = || stream().available(8, false).appends(0..8).loses().probes();
    let error = lost()
        .finds_of(8, 8)
        .reads(8, 9)
        .available(9, false)
        .error();
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
    // Should it end there, it was the truth.
    let told = lost().finds_of(8, 8).reads(8, 9).available(8, true);
    told.appends(8..8).confirms(8).succeeds();
    // What waits for the length does not know it.
    let fields = [
        ("upload-offset", "8"),
        ("upload-length", "8"),
        ("upload-defer-length", "1"),
    ];
    let told = lost().answers(200, &fields).reads(8, 16);
    told.available(9, true)
        .appends(8..9)
        .with("upload-length", "9");
}

// Never a success of a part: the file on the server is the source, or it is an error.
#[test]
fn what_the_server_wants_is_not_the_whole_until_the_source_has_ended() {
    let whole = || {
        let upload = Upload::append(URL, None, &config(|_| ())).unwrap();
        let told = Scenario::new(upload).finds_of(0, 9);
        told.reads(0, 10).available(9, false).reads(0, 10)
    };
    whole()
        .available(9, true)
        .appends(0..9)
        .confirms(9)
        .succeeds();
    let error = whole().available(10, false).error();
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
    let error = whole().available(9, false).error();
    assert!(matches!(error, Error::Source { .. }), "{error:?}");
    // By pieces, only the last one asks for the end.
    let upload = Upload::append(URL, None, &config(eights)).unwrap();
    Scenario::new(upload)
        .finds_of(0, 9)
        .reads(0, 8)
        .available(9, false)
        .appends(0..8)
        .confirms(8)
        .reads(8, 10)
        .available(9, true)
        .appends(8..9)
        .without("upload-length");
}

// §4, 21.
#[test]
fn an_upload_that_is_complete_needs_no_byte_of_a_source_of_known_length() {
    let upload = Upload::append(URL, 9, &config(|config| config.stream = true)).unwrap();
    let told = Scenario::new(upload).finds_of(9, 9);
    assert!(!told.log.contains(&"Read".to_owned()), "{:?}", told.log);
    let done = told.succeeds();
    assert_eq!((done.length, done.completion), (9, Completion::Observed));
}

// I1. Found by the simulation: a source that had grown since an earlier run had told its length was never
// looked at.
#[test]
fn what_the_server_calls_complete_is_so_where_the_source_ends() {
    let given = || {
        let upload = Upload::append(URL, None, &config(|_| ())).unwrap();
        Scenario::new(upload).finds_of(9, 9).reads(9, 10)
    };
    let done = given().available(9, true).succeeds();
    assert_eq!((done.length, done.completion), (9, Completion::Observed));
    for (upto, end) in [(10, false), (10, true), (8, true)] {
        let error = given().available(upto, end).error();
        assert!(matches!(error, Error::Conflict { .. }), "{upto}: {error:?}");
    }
    // An earlier run told its length, and did not live to note that.
    let checkpoint = stream().available(8, false).confirms(8).checkpoint();
    let resumed = || {
        let told = Scenario::resume_stream(&checkpoint).finds_of(9, 9);
        told.reads(9, 10)
    };
    let done = resumed().available(9, true).succeeds();
    assert_eq!((done.length, done.completion), (9, Completion::Observed));
    let error = resumed().available(10, true).error();
    assert!(matches!(error, Error::SourceChanged { .. }), "{error:?}");
    // So it is after a refusal that may have come of that.
    let refused = Scenario::resume_stream_with(&checkpoint, eights).finds_deferred(8);
    let refused = refused.available(9, false).appends(8..9).answers(403, &[]);
    let done = refused.finds_of(9, 9).available(9, true).succeeds();
    assert_eq!(done.completion, Completion::Observed);
    // Nor does a conflict count that came of that.
    let once = |config: &mut Config| {
        eights(config);
        config.retry.attempts = Some(0);
    };
    let displaced = Scenario::resume_stream_with(&checkpoint, once).finds_deferred(8);
    let displaced = displaced.available(9, false).answers(409, &[]);
    displaced.finds_of(9, 9).available(9, true).succeeds();
}

#[test]
fn a_later_run_goes_on_where_the_server_is() {
    let checkpoint = stream().available(8, false).confirms(8).checkpoint();
    assert_eq!(checkpoint.length(), None);
    assert!(!checkpoint.to_text().contains("\nlength"));
    Scenario::resume_stream_with(&checkpoint, eights)
        .probes()
        .finds_deferred(5)
        .reads(5, 13)
        .available(13, false)
        .appends(5..13)
        .without("upload-length")
        .confirms(13)
        .reads(13, 21)
        .available(13, true)
        .appends(13..13)
        .with("upload-length", "13")
        .confirms(13)
        .succeeds();
    // Nobody knows whether the length was told: a HEAD that does not say is asked by telling.
    let told = Scenario::resume_stream(&checkpoint).finds(8);
    let told = told.available(9, true).appends(8..9);
    let told = told.with("upload-length", "9").answers(400, &[]).waits();
    told.finds(8).appends(8..9).without("upload-length");
    // A source that is known by now.
    let text = checkpoint.to_text().parse().unwrap();
    let upload = Upload::resume(ENDPOINT, text, 9, &config(|_| ())).unwrap();
    Scenario::new(upload)
        .finds_deferred(8)
        .appends(8..9)
        .with("upload-length", "9");
}

// "The checkpoint stays": the right source may yet come.
#[test]
fn a_later_run_sees_that_the_source_is_another() {
    let changed = |told: Scenario<Upload>, checkpoint: &tus_proto::Checkpoint| {
        let (error, told) = told.ends();
        assert!(
            matches!(error, Error::SourceChanged { .. }) && error.resumable(),
            "{error:?}"
        );
        assert_eq!(told.machine.checkpoint().as_ref(), Some(checkpoint));
    };
    // It ends before what the server has.
    let checkpoint = stream().available(8, false).confirms(8).checkpoint();
    let later = Scenario::resume_stream(&checkpoint).finds_deferred(8);
    changed(later.available(7, true), &checkpoint);
    // It does not end where it did.
    let settled = ending().confirms(9).checkpoint();
    assert_eq!(settled.length(), Some(13));
    for (upto, end) in [(12, true), (14, true), (14, false)] {
        let later = Scenario::resume_stream(&settled).finds(9);
        changed(later.available(upto, end), &settled);
    }
    // What is made anew is of this source.
    let anew = Scenario::resume_stream(&settled).answers(410, &[]);
    let anew = anew.answers(201, &[("location", "b")]);
    let anew = anew.reads(0, 8 * MIB).available(5, false);
    let error = anew.loses().finds_of(5, 12).available(13, true).error();
    assert!(
        matches!(error, Error::Conflict { .. }) && !error.resumable(),
        "{error:?}"
    );
}

// Before any request, as for a source whose length is known.
#[test]
fn a_later_run_compares_the_identity_first() {
    let named = Scenario::stream_with(|config| config.identity = Some("a pipe".into()));
    let checkpoint = named.checkpoint();
    let same = |config: &mut Config| config.identity = Some("a pipe".into());
    Scenario::resume_stream_with(&checkpoint, same).probes();
    let (error, told) = Scenario::resume_stream(&checkpoint).ends();
    assert!(matches!(error, Error::SourceChanged { .. }) && error.resumable());
    assert_eq!(told.saves, []);
}

#[test]
fn a_settled_length_holds_in_the_next_run() {
    let checkpoint = ending().confirms(9).checkpoint();
    assert_eq!(checkpoint.length(), Some(13));
    Scenario::resume_stream(&checkpoint)
        .finds(9)
        .reads(9, 14)
        .available(13, true)
        .appends(9..13)
        .without("upload-length");
    // What is made anew has the length of what the source has now, and that is not read yet.
    Scenario::resume_stream(&checkpoint)
        .answers(410, &[])
        .asks("POST", ENDPOINT)
        .with("upload-defer-length", "1")
        .with("content-length", "0")
        .answers(201, &[("location", "b")])
        .reads(0, 8 * MIB)
        .available(5, true)
        .appends(0..5)
        .with("upload-length", "5");
}

// The length was never told to the upload that is made anew, so a 400 to it is a refusal.
#[test]
fn a_new_upload_has_heard_nothing() {
    let checkpoint = stream().available(8, false).checkpoint();
    let told = Scenario::resume_stream(&checkpoint).answers(410, &[]);
    let told = told.answers(201, &[("location", "b")]).available(5, true);
    let error = told.with("upload-length", "5").answers(400, &[]).error();
    assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
}

// What is sent with a deferred length says nothing of whether the source ends there.
#[test]
fn an_unfinished_stream_is_never_complete() {
    let told = stream().available(8, false).answers(204, &[]);
    let told = told.finds(8);
    assert!(!told.over());
    told.reads(8, 16);
}

#[test]
fn a_source_that_gives_nothing_and_does_not_end_is_an_error() {
    let error = stream().available(0, false).error();
    assert!(
        matches!(error, Error::Source { .. }) && error.resumable(),
        "{error:?}"
    );
    let second = || stream().available(8, false).confirms(8);
    let error = second().available(8, false).error();
    assert!(matches!(error, Error::Source { .. }), "{error:?}");
    // It had more than that.
    let error = stream()
        .available(9, false)
        .confirms(8)
        .available(8, true)
        .error();
    assert!(matches!(error, Error::Source { .. }), "{error:?}");
}

#[test]
fn a_source_that_cannot_be_read_is_an_error_that_keeps_the_checkpoint() {
    let error = stream().fails_duty(FailureKind::Source).error();
    assert!(
        matches!(&error, Error::Source { failure, .. } if failure.message == "by design")
            && error.resumable(),
        "{error:?}"
    );
    let error = stream().fails_duty(FailureKind::SourceChanged).error();
    assert!(matches!(error, Error::SourceChanged { .. }) && error.resumable());
    for kind in [
        FailureKind::Lost,
        FailureKind::NotSent,
        FailureKind::Hopeless,
    ] {
        let error = stream().fails_duty(kind).error();
        assert!(matches!(error, Error::Source { .. }), "{kind:?}");
    }
    // So is the answer to another duty.
    for answer in [
        Answer::Saved,
        Answer::Digest(bytes::Bytes::from_static(&[0; 20])),
        Answer::Credentials(None),
    ] {
        let error = stream().answers_duty(answer).error();
        assert!(matches!(error, Error::Source { .. }), "{error:?}");
    }
}

// I11.
#[test]
fn a_cancel_ends_a_question_to_the_source() {
    let (id, _) = stream().duty.unwrap();
    // What it answers all the same is not heard.
    let late = Answer::Available {
        upto: 8,
        end: false,
    };
    let told = stream().cancel(Cancel::Keep).input(Input::Answer(id, late));
    assert!(told.out.is_none() && told.duty.is_none());
    let (error, told) = told.ends();
    assert!(
        matches!(error, Error::Cancelled { .. }) && error.resumable(),
        "{error:?}"
    );
    assert_eq!(told.stopped, [id]);

    let told = stream().cancel(Cancel::Terminate).asks("DELETE", URL);
    assert_eq!(told.stopped, [id]);
    let error = told.answers(204, &[]).error();
    assert!(matches!(
        error,
        Error::Cancelled {
            terminated: true,
            ..
        }
    ));

    let (error, told) = stream().cancel(Cancel::Now).ends();
    assert!(matches!(error, Error::Cancelled { .. }));
    assert_eq!(told.stopped, [id]);
    assert!(told.machine.checkpoint().is_some());
}

#[test]
fn a_cancelled_end_is_perhaps_told() {
    let (_, told) = ending().sent(2).cancel(Cancel::Keep).ends();
    let checkpoint = told.checkpoint();
    assert_eq!(checkpoint.length(), None);
    Scenario::resume_stream(&checkpoint)
        .finds_of(10, 13)
        .reads(10, 14)
        .available(13, true)
        .appends(10..13)
        .without("upload-length");
}

#[test]
fn a_source_may_take_as_long_as_it_likes() {
    let told = Scenario::stream_with(|config| {
        eights(config);
        config.retry.no_progress = Some(Duration::from_secs(60));
    });
    let long = Duration::from_secs(100_000);
    let told = told.after(long).reads(0, 8);
    // Nor does its time count as time without progress.
    let told = told.available(8, false).answers(503, &[]).waits();
    let told = told.finds_deferred(3).after(long).reads(3, 11);
    let told = told.available(11, false).answers(503, &[]);
    assert!(!told.over(), "nobody's fault");
}

#[test]
fn the_total_deadline_ends_a_question_to_the_source() {
    let told = Scenario::stream_with(|config| {
        config.retry.deadline = Some(Duration::from_secs(60));
    });
    let wait = told.wait();
    assert_eq!(wait, Duration::from_secs(60));
    let (error, told) = told.after(wait).ends();
    assert!(
        matches!(
            error,
            Error::Exhausted {
                limit: Limit::Deadline,
                ..
            }
        ) && error.resumable(),
        "{error:?}"
    );
    assert_eq!(told.stopped.len(), 1);
}

// A host that insists on sizes gets no other, however the source dribbles.
#[test]
fn sizes_are_kept_to_before_the_end() {
    let sized = || {
        Scenario::stream_with(|config| {
            config.request_size = Some(12);
            config.request_min = Some(6);
            config.request_multiple = Some(4);
        })
    };
    let told = sized().reads(0, 12).available(5, false).reads(0, 12);
    let told = told.available(7, false).reads(0, 12);
    let told = told.available(11, false).appends(0..8).confirms(8);
    told.reads(8, 20)
        .available(11, true)
        .appends(8..11)
        .with("upload-length", "11");
    let error = sized().available(5, false).available(5, false).error();
    assert!(matches!(error, Error::Source { .. }), "{error:?}");
    sized().available(5, true).appends(0..5);
}

#[test]
fn losses_shrink_what_is_sent_and_read() {
    let told = Scenario::stream().available(8 * MIB, false);
    let told = told
        .loses()
        .finds_deferred(0)
        .loses()
        .waits()
        .finds_deferred(0);
    let told = told.tells(&Event::Shrunk { to: 4 * MIB });
    told.appends(0..4 * MIB)
        .confirms(4 * MIB)
        // It is taken whole, so the next may be as before.
        .reads(4 * MIB, 12 * MIB);
}

#[test]
fn what_is_at_hand_is_not_read_again() {
    let told = Scenario::stream().available(8 * MIB, false);
    let told = told.answers(413, &[]).finds_deferred(0);
    told.appends(0..4 * MIB)
        .confirms(4 * MIB)
        .appends(4 * MIB..8 * MIB);
}

// @tus/server and RU answer 413 to a stream above their limit, tusd 400.
#[test]
fn a_stream_that_is_too_long_is_refused_for_good() {
    let told = ending().answers_with(413, &[("tus-max-size", "12")], "Maximum size exceeded");
    let error = told.error();
    assert!(
        matches!(
            error,
            Error::Rejected {
                hint: Some(Hint::TooLarge),
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn bytes_that_cannot_be_read_in_mid_request_are_the_source_s_failure() {
    let told = ending().sent(3);
    let id = told.id();
    let failure = Failure::new(FailureKind::Source, "pipe closed");
    let mut told = told;
    told.out = None;
    let error = told
        .input(Input::Answer(id, Answer::Failed(failure)))
        .error();
    assert!(matches!(error, Error::Source { .. }) && error.resumable());
}

#[test]
fn a_ghost_of_a_stream_is_waited_out() {
    let told = stream().available(8, false).loses().finds_deferred(3);
    let told = told.reads(3, 11).available(11, false).answers(409, &[]);
    let told = told.finds_deferred(8);
    assert_eq!(
        told.count(
            |event| matches!(event, Event::Retrying { cause: Cause::Answered { status, .. }, .. } if status.as_u16() == 409)
        ),
        1
    );
    told.waits().reads(8, 16);
}

// N6: a length that the caller knows, and the server does not yet.
#[test]
fn an_upload_that_waits_for_its_length_is_told_it() {
    Scenario::at_url(9)
        .finds_deferred(4)
        .appends(4..9)
        .with("upload-length", "9")
        .confirms(9)
        .succeeds();
    let told = Scenario::at_url(9).finds_deferred(9);
    assert!(!told.over(), "the server waits for more");
    told.appends(9..9)
        .with("upload-length", "9")
        .confirms(9)
        .succeeds();
    let error = Scenario::at_url(9).finds_deferred(10).error();
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
}

// §4, 22; I10.
#[test]
fn lengths_go_up_to_the_edge() {
    Scenario::stream()
        .available(u64::MAX, true)
        .appends(0..8 * MIB)
        .with("upload-length", "18446744073709551615");
    let checkpoint = Scenario::stream().checkpoint();
    let edge = || {
        let told = Scenario::resume_stream(&checkpoint).finds_deferred(u64::MAX);
        told.reads(u64::MAX, u64::MAX)
    };
    let told = edge().available(u64::MAX, true);
    told.appends(u64::MAX..u64::MAX)
        .with("upload-length", "18446744073709551615")
        .confirms(u64::MAX)
        .succeeds();
    let error = edge().available(u64::MAX, false).error();
    assert!(matches!(error, Error::Source { .. }), "{error:?}");
}

// §4, 12.
#[test]
fn a_late_answer_is_no_byte_of_the_source() {
    let told = stream().available(8, false).sent(0);
    let stale = told.id();
    let told = told.times_out().finds_deferred(3).reads(3, 11);
    let late = |upto, end| Input::Answer(stale, Answer::Available { upto, end });
    let told = told.input(late(3, true)).reads(3, 11);
    let (id, _) = told.duty.as_ref().unwrap();
    let id = *id;
    let told = told.available(11, false).appends(3..11);
    // Nor is the same answer a second time.
    let twice = Answer::Available { upto: 3, end: true };
    told.input(Input::Answer(id, twice)).appends(3..11);
}

// With credentials HEAD comes first, which knows whether the length was heard.
#[test]
fn a_refused_end_is_told_again_with_credentials() {
    let told = Scenario::stream_with(|config| {
        config.authorize = tus_proto::Authorize::OnUnauthorized;
    });
    let told = told.available(5, true).answers(401, &[]);
    let fresh = crate::scenario::headers(&[("authorization", "fresh")]);
    let told = told.answers_duty(Answer::Credentials(Some(fresh))).probes();
    told.finds_deferred(0)
        .appends(0..5)
        .with("upload-length", "5")
        .with("authorization", "fresh");
}

// A redirect takes the length and the empty body along.
#[test]
fn an_empty_end_is_redirected_as_it_is() {
    on_a_boundary()
        .answers(308, &[("location", "/b")])
        .asks("PATCH", "http://example.org/b")
        .with("upload-length", "8")
        .with("content-length", "0")
        .confirms(8)
        .succeeds();
}

/// A stream of thirteen bytes, which says so.
fn measured() -> Scenario<Upload> {
    Scenario::created_with(13, |config| {
        eights(config);
        config.stream = true;
    })
}

#[test]
fn a_stream_of_known_length_is_created_with_it_and_read_as_it_comes() {
    measured()
        .reads(0, 8)
        .available(8, false)
        .appends(0..8)
        .without("upload-length")
        .confirms(8)
        .reads(8, 14)
        .available(13, true)
        .appends(8..13)
        .without("upload-length")
        .confirms(13)
        .succeeds();
}

#[test]
fn what_there_is_of_a_stream_of_known_length_is_sent() {
    measured().reads(0, 8).available(5, false).appends(0..5);
}

#[test]
fn a_stream_of_known_length_carries_no_bytes_at_its_creation() {
    let told = Scenario::create_with(5, |config| {
        let mut server = tus_proto::Capabilities::default();
        server.extensions = Some(vec!["creation-with-upload".to_owned()]);
        config.server = Some(server);
        config.stream = true;
    });
    told.asks("POST", ENDPOINT).with("content-length", "0");
}

// N3: its length was told.
#[test]
fn an_empty_stream_of_known_length_is_complete_at_its_creation() {
    Scenario::create_with(0, |config| config.stream = true)
        .reads(0, 1)
        .available(0, true)
        .asks("POST", ENDPOINT)
        .with("upload-length", "0")
        .answers(201, &[("location", URL)])
        .succeeds();
}

#[test]
fn a_stream_that_says_it_is_empty_and_is_not_is_a_bad_source() {
    let told = Scenario::create_with(0, |config| config.stream = true);
    let error = told.reads(0, 1).available(1, false).error();
    assert!(matches!(error, Error::Source { .. }), "{error:?}");
}

// §4, 19.
#[test]
fn a_stream_that_is_not_as_long_as_it_said_is_a_bad_source() {
    for (upto, end, words) in [
        (12, true, "it ends at byte 12, before byte 13"),
        (14, false, "more than the 13 bytes"),
    ] {
        let told = measured().available(8, false).confirms(8).reads(8, 14);
        let told = told.available(upto, end);
        assert!(told.saves.last().is_some_and(Option::is_some), "it is kept");
        match told.error() {
            Error::Source { failure, .. } => assert!(failure.message.contains(words), "{failure}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_stream_of_known_length_that_is_gone_is_made_anew_with_its_length() {
    let told = measured().available(8, false).fails(FailureKind::Lost);
    told.probes()
        .answers(410, &[])
        .asks("POST", ENDPOINT)
        .with("upload-length", "13");
}

#[test]
fn a_stream_of_known_length_is_not_cut_into_parts() {
    let config = crate::scenario::config(|config| config.stream = true);
    let made = tus_proto::Parallel::join(ENDPOINT, &[5, 5], &config);
    assert!(matches!(made, Err(tus_proto::Misuse::Uncuttable(_))));
}

// The rest of an earlier run's last request told a length that this run's source does not have.
#[test]
fn a_source_that_has_more_than_the_server_was_told_since_is_another() {
    let kept = stream().available(8, false).confirms(8).checkpoint();
    let resumed = || {
        let told = Scenario::resume_stream_with(&kept, eights).finds_deferred(8);
        told.available(16, false).appends(8..16).answers(409, &[])
    };
    for offset in [10, 12] {
        let error = resumed().finds_of(offset, 12).error();
        assert!(matches!(error, Error::SourceChanged { .. }), "{error:?}");
        let upload = Upload::append(URL, None, &config(eights)).unwrap();
        let told = Scenario::new(upload).finds_deferred(8);
        let told = told.available(16, false).answers(409, &[]);
        let error = told.finds_of(offset, 12).error();
        let conflict = Conflict::Length {
            server: 12,
            source_length: 16,
        };
        assert!(
            matches!(&error, Error::Conflict { conflict: told, .. } if *told == conflict),
            "{error:?}"
        );
    }
    resumed().finds_of(10, 16).waits().reads(10, 17);
}

// What others told at that URL is as little known as what an earlier run did.
#[test]
fn a_400_to_a_length_that_others_may_have_told_is_a_failed_attempt() {
    let upload = Upload::append(URL, None, &config(eights)).unwrap();
    let told = Scenario::new(upload).finds(8).available(13, true);
    let told = told.appends(8..13).with("upload-length", "13");
    let told = told.answers(400, &[]).waits().finds(8).appends(8..13);
    told.without("upload-length").confirms(13).succeeds();
}
