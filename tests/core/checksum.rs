//! Checksums: PROTOCOL K1 to K3, DESIGN §4.

use std::time::Duration;

use tus_proto::{
    Algorithm, Answer, Cancel, Cause, Completion, Config, Error, Event, Extension, FailureKind,
    Input, Limit, Upload,
};

use crate::scenario::{Scenario, URL, server};

const MIB: u64 = 1 << 20;
/// A digest, and how it is written.
const DIGEST: [u8; 20] = *b"twenty bytes of it..";
const WRITTEN: &str = "sha1 dHdlbnR5IGJ5dGVzIG9mIGl0Li4=";

fn sha1(config: &mut Config) {
    config.checksums = vec![Algorithm::SHA1];
}

fn upload() -> Scenario<Upload> {
    Scenario::created_with(9, sha1)
}

fn retries(told: &Scenario<Upload>) -> usize {
    told.count(|event| matches!(event, Event::Retrying { .. }))
}

// K1; R1: the digest is the driver's, like the bytes.
#[test]
fn what_is_sent_is_digested_first() {
    let done = upload()
        .digests(0..9)
        .digest(&DIGEST)
        .appends(0..9)
        .with("upload-checksum", WRITTEN)
        .without("trailer")
        .confirms(9)
        .succeeds();
    assert_eq!(done.completion, Completion::Acknowledged);
}

#[test]
fn each_request_has_a_digest_of_its_own() {
    let other = [7; 20];
    Scenario::created_with(10, |config| {
        sha1(config);
        config.request_size = Some(8);
    })
    .digests(0..8)
    .digest(&DIGEST)
    .appends(0..8)
    .with("upload-checksum", WRITTEN)
    .confirms(8)
    .digests(8..10)
    .digest(&other)
    .appends(8..10)
    .with("upload-checksum", "sha1 BwcHBwcHBwcHBwcHBwcHBwcHBwc=")
    .confirms(10)
    .succeeds();
}

// A cut discards the request, so it is not the whole file.
#[test]
fn requests_are_of_eight_mebibytes_where_nothing_was_said() {
    let told = Scenario::created_with(20 * MIB, sha1).digests(0..8 * MIB);
    told.digest(&DIGEST).appends(0..8 * MIB);
    let larger = |config: &mut Config| {
        sha1(config);
        config.request_size = Some(16 * MIB);
    };
    Scenario::created_with(20 * MIB, larger).digests(0..16 * MIB);
}

#[test]
fn the_same_bytes_are_not_digested_again() {
    let told = upload().digest(&DIGEST).loses().finds(0).appends(0..9);
    let told = told.with("upload-checksum", WRITTEN).answers(503, &[]);
    let told = told.waits().finds(0).appends(0..9);
    told.with("upload-checksum", WRITTEN)
        .loses()
        .waits()
        .finds(4)
        .digests(4..9);
}

// K1: 460 mismatch: nothing was kept. §2: "checksum mismatch as 417".
#[test]
fn a_mismatch_is_a_failed_attempt_and_digested_anew() {
    for status in [460, 417] {
        let told = upload().digest(&DIGEST).answers(status, &[]);
        assert_eq!(retries(&told), 1, "{status}");
        let told = told.waits().probes().finds(0).digests(0..9);
        let told = told.digest(&[7; 20]).appends(0..9);
        told.with("upload-checksum", "sha1 BwcHBwcHBwcHBwcHBwcHBwcHBwc=")
            .confirms(9)
            .succeeds();
        // Without a checksum it is about something else.
        let error = Scenario::created(9).answers(status, &[]).error();
        assert!(matches!(error, Error::Rejected { .. }), "{status}");
    }
    // Not for ever.
    let mut told = Scenario::created_with(9, |config| {
        sha1(config);
        config.retry.attempts = Some(2);
    });
    for _ in 0..2 {
        told = told.digest(&DIGEST).answers(460, &[]).waits().finds(0);
    }
    let (error, _) = told.digest(&DIGEST).answers(460, &[]).ends();
    let Error::Exhausted {
        limit: Limit::Attempts,
        cause: Some(cause),
        ..
    } = error
    else {
        panic!("{error:?}");
    };
    assert!(matches!(*cause, Cause::Answered { status, .. } if status.as_u16() == 460));
}

// R8: a server that says "mismatch" and keeps the bytes has refused them.
#[test]
fn a_mismatch_on_the_last_byte_is_no_success() {
    let told = upload().digest(&DIGEST).answers(460, &[]).waits();
    let error = told.finds(9).error();
    assert!(matches!(error, Error::Unfinished { .. }), "{error:?}");
}

// K1: 400, algorithm unknown.
#[test]
fn an_algorithm_that_the_server_does_not_know_is_the_end() {
    let told = upload().digest(&DIGEST);
    let error = told
        .answers_with(400, &[], "Unsupported checksum algorithm: sha1")
        .error();
    assert!(matches!(error, Error::Rejected { .. }) && error.resumable());
}

// A digest that no server can compare is not sent.
#[test]
fn a_digest_of_another_length_is_the_source_s_failure() {
    for digest in [&[][..], &[0; 19], &[0; 21], &[0; 32]] {
        let error = upload().digest(digest).error();
        let Error::Source { failure, place } = &error else {
            panic!("{error:?}");
        };
        assert!(place.resumable);
        assert_eq!(
            failure.message,
            format!("a digest of {} bytes is none of sha1", digest.len())
        );
    }
}

#[test]
fn a_digest_that_fails_is_the_source_s_failure() {
    for kind in [
        FailureKind::Source,
        FailureKind::Lost,
        FailureKind::Hopeless,
    ] {
        let error = upload().fails_duty(kind).error();
        assert!(
            matches!(error, Error::Source { .. }) && error.resumable(),
            "{kind:?}"
        );
    }
    let error = upload().fails_duty(FailureKind::SourceChanged).error();
    assert!(matches!(error, Error::SourceChanged { .. }) && error.resumable());
    // So is the answer to another duty, whatever it is.
    for answer in [
        Answer::Saved,
        Answer::Available { upto: 9, end: true },
        Answer::Credentials(None),
    ] {
        let error = upload().answers_duty(answer).error();
        assert!(matches!(error, Error::Source { .. }), "{error:?}");
    }
}

#[test]
fn an_empty_file_has_no_bytes_to_check() {
    let told = Scenario::create_with(0, sha1).answers(201, &[("location", URL)]);
    told.succeeds();
}

// §4, 21.
#[test]
fn an_upload_that_is_complete_is_not_digested() {
    let told = Scenario::resume_with(&upload().checkpoint(), sha1).finds(9);
    assert!(!told.log.contains(&"Digest".to_owned()), "{:?}", told.log);
    told.succeeds();
}

// §4, 11 and 1: what is sent next is what is digested next.
#[test]
fn a_part_that_was_taken_is_not_digested_again() {
    upload().digest(&DIGEST).confirms(5).digests(5..9);
    let told = upload().digest(&DIGEST).answers(204, &[]);
    told.finds(5).digests(5..9);
}

// §4, 12.
#[test]
fn a_late_answer_is_no_digest() {
    let told = upload().digest(&DIGEST).sent(0);
    let stale = told.id();
    let told = told.times_out().finds(3).digests(3..9);
    let told = told.input(Input::Answer(stale, Answer::Saved));
    told.digests(3..9).digest(&DIGEST).appends(3..9);
}

// I11.
#[test]
fn a_cancel_ends_a_digest() {
    let (id, _) = upload().duty.unwrap();
    for how in [Cancel::Keep, Cancel::Now] {
        let (error, told) = upload().cancel(how).ends();
        assert!(matches!(error, Error::Cancelled { .. }) && error.resumable());
        assert_eq!(told.stopped, [id]);
        assert!(!told.checkpoint().to_text().contains("ending"));
    }
    let told = upload().cancel(Cancel::Terminate).asks("DELETE", URL);
    assert_eq!(told.stopped, [id]);
}

#[test]
fn the_total_deadline_ends_a_digest() {
    let told = Scenario::created_with(9, |config| {
        sha1(config);
        config.retry.deadline = Some(Duration::from_secs(60));
    });
    let wait = told.wait();
    let (error, told) = told.after(wait).ends();
    assert!(
        matches!(
            error,
            Error::Exhausted {
                limit: Limit::Deadline,
                ..
            }
        ) && error.resumable()
    );
    assert_eq!(told.stopped.len(), 1);
}

/// A source of unknown length, in requests of eight bytes.
fn stream() -> Scenario<Upload> {
    Scenario::stream_with(|config| {
        sha1(config);
        config.request_size = Some(8);
    })
}

#[test]
fn a_stream_is_read_then_digested_then_sent() {
    let told = stream()
        .reads(0, 8)
        .available(8, false)
        .digests(0..8)
        .digest(&DIGEST)
        .appends(0..8)
        .with("upload-checksum", WRITTEN)
        .confirms(8)
        .reads(8, 16)
        .available(11, true)
        .digests(8..11)
        .digest(&DIGEST)
        .appends(8..11)
        .with("upload-length", "11")
        .with("upload-checksum", WRITTEN);
    // RU: a mismatch does not settle the length.
    let told = told.answers(460, &[]).waits().finds_deferred(8);
    told.digests(8..11)
        .digest(&DIGEST)
        .appends(8..11)
        .with("upload-length", "11")
        .confirms(11)
        .succeeds();
}

// The end of a stream on a boundary has no bytes to check.
#[test]
fn an_empty_end_has_no_checksum() {
    stream()
        .available(8, false)
        .digest(&DIGEST)
        .confirms(8)
        .available(8, true)
        .appends(8..8)
        .without("upload-checksum")
        .with("upload-length", "8");
}

#[test]
fn a_digest_is_no_answer_to_a_question_for_bytes() {
    let error = stream().digest(&DIGEST).error();
    assert!(matches!(error, Error::Source { .. }), "{error:?}");
    let told = stream().available(8, false).digests(0..8);
    let error = told.available(8, false).error();
    assert!(matches!(error, Error::Source { .. }), "{error:?}");
}

fn trailing(config: &mut Config) {
    sha1(config);
    config.trailers = true;
    config.server = Some(server(&[
        Extension::Checksum,
        Extension::ChecksumTrailer,
        Extension::CreationDeferLength,
    ]));
}

// K3; R2's one exception.
#[test]
fn a_trailer_spares_the_digest() {
    let told = Scenario::created_with(9, trailing);
    let request = told.request();
    assert_eq!(
        (request.method().as_str(), request.body()),
        ("PATCH", &(0..9))
    );
    assert_eq!(told.terms().trailer, Some(Algorithm::SHA1));
    let told = told
        .with("trailer", "Upload-Checksum")
        .without("upload-checksum")
        .without("content-length");
    let told = told.answers(460, &[]).waits().finds(0);
    assert_eq!(told.terms().trailer, Some(Algorithm::SHA1), "PATCH again");
    told.confirms(9).succeeds();
    // A HEAD has none.
    let told = Scenario::created_with(9, trailing).loses();
    assert_eq!(told.terms().trailer, None);
}

#[test]
fn a_trailer_needs_a_transport_and_a_server_for_it() {
    let mute = Scenario::created_with(9, |config| {
        trailing(config);
        config.trailers = false;
    });
    mute.digests(0..9);
    let old = Scenario::created_with(9, |config| {
        trailing(config);
        config.server = Some(server(&[Extension::Checksum]));
    });
    old.digests(0..9);
    let unknown = Scenario::created_with(9, |config| {
        trailing(config);
        config.server = None;
    });
    let told = unknown.digests(0..9).digest(&DIGEST).appends(0..9);
    assert_eq!(told.terms().trailer, None);
}

#[test]
fn an_empty_end_has_no_trailer() {
    let told = Scenario::stream_with(trailing)
        .available(0, true)
        .appends(0..0)
        .without("trailer")
        .with("content-length", "0");
    assert_eq!(told.terms().trailer, None);
}

#[test]
fn the_digest_of_each_algorithm_has_its_length() {
    let table = [
        (Algorithm::MD5, 16),
        (Algorithm::SHA256, 32),
        (Algorithm::SHA512, 64),
        (Algorithm::CRC32, 4),
    ];
    for (algorithm, length) in table {
        let told = Scenario::created_with(9, |config| config.checksums = vec![algorithm.clone()]);
        let told = told.digest(&vec![0; length]).appends(0..9);
        let sent = told.request().headers()["upload-checksum"]
            .to_str()
            .unwrap();
        assert!(sent.starts_with(&format!("{algorithm} ")), "{sent}");
    }
}
