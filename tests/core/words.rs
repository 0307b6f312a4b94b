//! What is said to people: by errors and events, and by `Debug`.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tus_proto::{
    Answer, Authorize, Cancel, Cause, Conflict, Deadline, Duty, DutyId, Error, Extension, Failure,
    FailureKind, Hint, Input, Limit, Op, Role, Tick, Upload, Veto,
};

use crate::scenario::{ENDPOINT, Scenario, URL, config};

#[test]
fn causes() {
    let answered = |words: &str| Cause::Answered {
        status: StatusCode::BAD_GATEWAY,
        words: words.to_owned(),
    };
    let failed = |message| Cause::Failed(Failure::new(FailureKind::Lost, message));
    let status = StatusCode::NO_CONTENT;
    for (cause, said) in [
        (answered(""), "the server answered 502 Bad Gateway"),
        (answered("no"), "the server answered 502 Bad Gateway: no"),
        (failed("reset"), "reset"),
        (failed("\u{1b}[2J"), "\\u{1b}[2J"),
        (Cause::TimedOut(Deadline::Connect), "no connection in time"),
        (Cause::TimedOut(Deadline::Stall), "the connection stalled"),
        (Cause::TimedOut(Deadline::Answer), "no answer in time"),
        (
            Cause::NoOffset { status },
            "the server answered 204 No Content without Upload-Offset",
        ),
        (Cause::NothingTaken, "the server took none of the bytes"),
        (
            Cause::Rewound,
            "the server lost bytes that it had confirmed",
        ),
        (Cause::Ghost, "an earlier request reached the server late"),
        (
            Cause::Unjoined,
            "the parts are complete, but the server has not joined them",
        ),
    ] {
        assert_eq!(cause.to_string(), said);
    }
}

// Each says something of its own, by which a person knows what to do.
#[test]
fn hints() {
    for (hint, said) in [
        (Hint::Credentials, "check the credentials"),
        (Hint::Permission, "not allowed"),
        (Hint::Endpoint, "nothing can be created at this URL"),
        (Hint::Parts, "check that each part is still there"),
        (Hint::Redirect, "use the URL that it names"),
        (Hint::Method, "the method is not let through"),
        (Hint::Version, "another version of tus than 1.0.0"),
        (Hint::Proxy, "a proxy wants credentials"),
        (Hint::TooLarge, "larger than the server accepts"),
        (Hint::RequestTooLarge, "no request of any useful size"),
        (Hint::FieldsTooLong, "fewer fields of your own"),
        (Hint::MetadataTooLong, "shorten the metadata"),
        (Hint::PartListTooLong, "use fewer parts"),
        (Hint::NoSpace, "out of space"),
        (Hint::Misdirected, "a server that is not meant for it"),
    ] {
        let hint = hint.to_string();
        assert!(hint.contains(said), "{hint}");
    }
}

#[test]
fn limits() {
    let (error, _) = Scenario::create(9).answers(404, &[]).ends();
    let exhausted = |limit, attempts, cause: Option<Cause>| {
        let mut place = Box::new(error.place().clone());
        place.attempts = attempts;
        let cause = cause.map(Box::new);
        Error::Exhausted {
            place,
            limit,
            cause,
        }
        .to_string()
    };
    let at = "creating the upload at http://example.org/files/: ";
    for (limit, attempts, said) in [
        (Limit::Attempts, 1, "gave up after one failed attempt"),
        (Limit::Attempts, 2, "gave up after 2 failed attempts"),
        (
            Limit::NoProgress,
            2,
            "gave up after too long without progress",
        ),
        (Limit::Deadline, 2, "gave up when the time allowed was over"),
        (
            Limit::Requests,
            2,
            "gave up after a thousand requests with next to no progress",
        ),
        (Limit::Veto, 2, "the caller allows no further attempt"),
    ] {
        assert_eq!(exhausted(limit, attempts, None), format!("{at}{said}"));
    }
    assert_eq!(
        exhausted(Limit::Veto, 1, Some(Cause::Rewound)),
        format!(
            "{at}the server lost bytes that it had confirmed; the caller allows no further attempt"
        )
    );
}

// What happened, and where the protocol tells, what to do.
#[test]
fn errors() {
    let error_at = |op| {
        let (error, _) = Scenario::create(9).answers(404, &[]).ends();
        let mut place = Box::new(error.place().clone());
        place.op = op;
        place
    };
    let rejected = |words: &str, hint| Error::Rejected {
        place: error_at(Op::Create),
        status: StatusCode::FORBIDDEN,
        words: words.to_owned(),
        hint,
    };
    let gone = |op| Error::Gone {
        place: error_at(op),
    };
    let unknown = |op| Error::CompletionUnknown {
        place: error_at(op),
    };
    let conflict = |conflict| Error::Conflict {
        place: error_at(Op::Append),
        conflict,
    };
    let (server, source_length, reach) = (9, 5, 5);
    for (error, said) in [
        (
            rejected("", None),
            "creating the upload at {}: the server answered 403 Forbidden",
        ),
        (
            rejected("no", Some(Hint::Credentials)),
            "creating the upload at {}: the server answered 403 Forbidden: no (check the credentials)",
        ),
        (
            gone(Op::Inspect),
            "inspecting the upload at {}: the server has no upload at this URL",
        ),
        (
            gone(Op::Probe),
            "asking for the offset at {}: the server does not have this upload any more; start it anew",
        ),
        (
            unknown(Op::Probe),
            "asking for the offset at {}: it is unknown whether the upload was completed: its last \
             bytes went out, and now the server no longer has it; look there, then start it anew or \
             forget it",
        ),
        (
            unknown(Op::Concatenate),
            "joining the parts at {}: it is unknown whether the parts were joined: the server may have \
             done it when no answer came, and now it refuses; look there, then start it anew or forget it",
        ),
        (
            conflict(Conflict::Length {
                server,
                source_length,
            }),
            "sending the file at {}: the server expects 9 bytes, the source has 5: it is another \
             source's upload, or the source is not given from its first byte on; start a new one",
        ),
        (
            conflict(Conflict::Offset { server, reach }),
            "sending the file at {}: the server has 9 bytes, of which at most 5 can have come from \
             here: something else writes to this upload; start a new one",
        ),
        (
            conflict(Conflict::Shared),
            "sending the file at {}: another part is at the same URL: the server does not tell the \
             parts apart; send them as one upload",
        ),
    ] {
        assert_eq!(error.to_string(), said.replace("{}", ENDPOINT));
    }
}

// By these names servers are asked and callers are told.
#[test]
fn extensions() {
    for (extension, name) in [
        (Extension::Creation, "creation"),
        (Extension::CreationWithUpload, "creation-with-upload"),
        (Extension::CreationDeferLength, "creation-defer-length"),
        (Extension::Expiration, "expiration"),
        (Extension::Checksum, "checksum"),
        (Extension::ChecksumTrailer, "checksum-trailer"),
        (Extension::Termination, "termination"),
        (Extension::Concatenation, "concatenation"),
        (
            Extension::ConcatenationUnfinished,
            "concatenation-unfinished",
        ),
    ] {
        assert_eq!(extension.name(), name);
        assert_eq!(extension.to_string(), name);
    }
}

#[test]
fn ticks() {
    for (millis, said) in [(0, "0.000s"), (1_500, "1.500s"), (61_000, "61.000s")] {
        assert_eq!(Tick(Duration::from_millis(millis)).to_string(), said);
    }
}

#[test]
fn what_debug_shows() {
    let role = |role: Role| format!("{role:?}");
    assert_eq!(role(Role::Whole), "Whole");
    assert_eq!(role(Role::Partial), "Partial");
    let parts = vec!["/secret/1".to_owned(), "/secret/2".to_owned()];
    assert_eq!(role(Role::Final { parts }), "Final(2 parts)");
    for (authorize, shown) in [
        (Authorize::Never, "Never"),
        (Authorize::OnUnauthorized, "OnUnauthorized"),
        (
            Authorize::When(std::sync::Arc::new(|_| unreachable!("nobody asks"))),
            "When(..)",
        ),
    ] {
        assert_eq!(format!("{authorize:?}"), shown);
    }
    assert_eq!(format!("{:?}", Veto::default()), "Veto");
    let veto = Veto::when(|_, _| unreachable!("nobody asks"));
    assert_eq!(format!("{veto:?}"), "Veto(..)");
    let (keep, upto) = (1, 2);
    let read = Duty::Read { keep, upto };
    assert_eq!(format!("{read:?}"), "Read { keep: 1, upto: 2 }");
    let id = DutyId { lane: 0, serial: 7 };
    for (input, shown) in [
        (
            Input::Answer(id, Answer::Saved),
            "Answer(DutyId { lane: 0, serial: 7 }, Saved)",
        ),
        (Input::Sent(id, 9), "Sent(DutyId { lane: 0, serial: 7 }, 9)"),
        (Input::Cancel(Cancel::Keep), "Cancel(Keep)"),
    ] {
        assert_eq!(format!("{input:?}"), shown);
    }
    let digest = Answer::Digest(Bytes::from_static(b"ab"));
    assert_eq!(format!("{digest:?}"), "Digest(b\"ab\")");
}

// S3: where it began and where it is are shown, but not what lets others in.
#[test]
fn debug_of_a_machine_and_its_checkpoint_shows_no_query() {
    let secret = "http://example.org/files/?key=hunter2";
    let config = config(|_| ());
    let upload = Upload::create(secret, 9, &config).unwrap();
    let told = Scenario::new(upload).answers(201, &[("location", "a?key=hunter2")]);
    let created = format!("{:?}", told.machine);
    assert!(
        created.contains("Endpoint(http://example.org/files/"),
        "{created}"
    );
    let kept = format!("{:?}", told.checkpoint());
    assert!(
        kept.contains("Saved {") && kept.contains(URL) && kept.contains("length: Some(9)"),
        "{kept}"
    );
    let upload = Upload::append(secret, 9, &config).unwrap();
    let appended = format!("{upload:?}");
    assert!(
        appended.contains("Upload(http://example.org/files/"),
        "{appended}"
    );
    let call = tus_proto::Terminate::new(secret, &config).unwrap();
    let called = format!("{call:?}");
    assert!(
        called.contains("Call { op: Terminate") && called.contains("http://example.org/files/"),
        "{called}"
    );
    for shown in [created, kept, appended, called] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
