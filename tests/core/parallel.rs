//! Parts: how they are cut, sent, and gone on with.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tus_proto::{
    Algorithm, Answer, Authorize, Cancel, Cause, Checkpoint, Conflict, Duty, Error, Event,
    Extension, FailureKind, Foreign, Input, Limit, Machine as _, Misuse, Output, Parallel, Tick,
};

use crate::scenario::{ENDPOINT, config};
use crate::several::{Several, failed, offers, unfinished, url};

const MIB: u64 = 1 << 20;

/// The lengths of the parts that a source is cut into.
fn cut(length: u64, parts: usize, least: u64) -> Vec<u64> {
    let mut story = Several::split(length, parts, least);
    let mut lengths = Vec::new();
    for lane in 1.. {
        if !story.out.contains_key(&lane) {
            break;
        }
        let length = story.request(lane).headers()["upload-length"].to_str();
        let length: u64 = length.unwrap().parse().unwrap();
        lengths.push(length);
        story = story.creates(lane);
        if length > 0 {
            story = story.confirms(lane, length);
        }
    }
    lengths
}

// §4, 27.
#[test]
fn a_source_is_cut_evenly_and_no_part_is_too_short() {
    assert_eq!(cut(10, 3, 1), [4, 3, 3]);
    assert_eq!(cut(10, 1, 1), [10]);
    assert_eq!(cut(3, 5, 1), [1, 1, 1], "more parts than bytes");
    assert_eq!(cut(3, 5, 0), [1, 1, 1]);
    assert_eq!(cut(0, 5, 1), [0]);
    assert_eq!(cut(16 * MIB - 1, 4, 8 * MIB), [16 * MIB - 1]);
    assert_eq!(cut(16 * MIB, 4, 8 * MIB), [8 * MIB, 8 * MIB]);
    let misuse = |parts| Parallel::split(ENDPOINT, 9, parts, &config(|_| ())).unwrap_err();
    assert_eq!(misuse(0), Misuse::Parts);
    assert_eq!(misuse(4_097), Misuse::Parts);
}

#[test]
fn what_cannot_be_is_refused_before_any_request() {
    let join = |lengths: &[u64], configure: fn(&mut tus_proto::Config)| {
        Parallel::join(ENDPOINT, lengths, &config(configure)).unwrap_err()
    };
    assert_eq!(join(&[], |_| ()), Misuse::Parts);
    assert_eq!(join(&[u64::MAX, 1], |_| ()), Misuse::Parts);
    assert_eq!(
        join(&[1], |config| config.partial = true),
        Misuse::PartOfParts
    );
    let lacking = join(&[1], |config| offers(config, &["creation"]));
    assert!(matches!(lacking, Misuse::NotOffered(_)), "{lacking:?}");
    let large = join(&[6, 6], |config| {
        offers(config, &["concatenation"]);
        config.server.as_mut().unwrap().max_size = Some(11);
    });
    assert!(
        matches!(large, Misuse::TooLarge { length: 12, .. }),
        "{large:?}"
    );
    assert!(Parallel::join(ENDPOINT, &[u64::MAX], &config(|_| ())).is_ok());
}

// Neither by a new upload nor by one that goes on, unless that is wished.
#[test]
fn what_the_server_does_not_offer_is_not_asked_of_it() {
    let made = |checkpoint: Option<&Checkpoint>, discard, extensions: &[&str], anyway| {
        let config = config(|config| {
            offers(config, extensions);
            config.parts.discard = discard;
            config.parts.least = 1;
            config.try_unoffered = anyway;
        });
        let made = match checkpoint {
            Some(checkpoint) => Parallel::resume(ENDPOINT, checkpoint.clone(), 10, &config),
            None => Parallel::join(ENDPOINT, &[5, 5], &config)
                .and_then(|_| Parallel::split(ENDPOINT, 10, 2, &config)),
        };
        made.map(drop)
    };
    let created = Several::created(&[5, 5]).checkpoint();
    let asked = Several::complete(&[5, 5]).checkpoint();
    let whole = Several::created_with(&[5, 5], unfinished).joined();
    let whole = whole.checkpoint();
    let not_offered = |extension| Err(Misuse::NotOffered(extension));
    for begun in [None, Some(&created), Some(&asked)] {
        let lacking = not_offered(Extension::Concatenation);
        assert_eq!(made(begun, false, &["creation"], false), lacking);
        assert_eq!(made(begun, false, &["creation"], true), Ok(()));
        assert_eq!(made(begun, false, &["concatenation"], false), Ok(()));
    }
    assert_eq!(made(Some(&whole), false, &["creation"], false), Ok(()));
    for begun in [None, Some(&created), Some(&asked), Some(&whole)] {
        let lacking = not_offered(Extension::Termination);
        assert_eq!(made(begun, true, &["concatenation"], false), lacking);
        assert_eq!(made(begun, true, &["concatenation"], true), Ok(()));
        let both = ["concatenation", "termination"];
        assert_eq!(made(begun, true, &both, false), Ok(()));
    }
}

// P1, and ranges are those of the whole.
#[test]
fn parts_are_created_without_meaning_and_sent_from_where_they_begin() {
    let story = Several::join_with(&[5, 0, 4], |config| {
        config.metadata.insert("filename", "a").unwrap();
        config.parts.metadata.insert("part", "of a").unwrap();
    });
    let story = story.out(&[1]).creates(1).out(&[1, 2, 3]);
    for lane in [2, 3] {
        let headers = story.request(lane).headers();
        assert_eq!(headers["upload-concat"], "partial");
        assert_eq!(headers["upload-metadata"], "part b2YgYQ==");
    }
    assert_eq!(story.request(2).headers()["upload-length"], "0");
    assert_eq!(story.request(3).headers()["upload-length"], "4");
    let story = story.appends(1, 0..5, 0).creates(2).creates(3);
    let story = story.out(&[1, 3]).appends(3, 5..9, 0);
    let story = story.confirms(3, 2).appends(3, 7..9, 2).confirms(3, 4);
    let story = story.out(&[1]).confirms(1, 5);
    // P2: in order, the metadata here, no length.
    let story = story.joins(&[1, 2, 3]);
    let headers = story.request(0).headers();
    assert_eq!(headers["upload-metadata"], "filename YQ==");
    assert_eq!(headers["content-length"], "0");
    assert!(headers.get("upload-length").is_none());
    assert!(headers.get("content-type").is_none());
    let done = story.joined().succeeds();
    assert_eq!(done.length, 9);
    let parts: Vec<_> = done
        .parts
        .iter()
        .map(tus_proto::UploadUrl::expose)
        .collect();
    assert_eq!(parts, [url(1), url(2), url(3)]);
}

#[test]
fn parts_without_metadata_have_none() {
    let story = Several::join_with(&[5], |config| {
        config.metadata.insert("filename", "a").unwrap();
    });
    assert!(story.request(1).headers().get("upload-metadata").is_none());
}

#[test]
fn a_digest_is_of_a_range_of_the_whole() {
    let story = Several::created_with(&[5, 4], |config| {
        offers(config, &["concatenation", "checksum"]);
        config.checksums = vec![Algorithm::SHA1];
    });
    let ranges: Vec<_> = story.duties.iter().map(|(_, duty)| duty).collect();
    let [
        Duty::Digest { range: one, .. },
        Duty::Digest { range: other, .. },
    ] = &ranges[..]
    else {
        panic!("{ranges:?}")
    };
    assert_eq!((one.clone(), other.clone()), (0..5, 5..9));
    let digest = || Answer::Digest(Bytes::from_static(&[0; 20]));
    let story = story.answers_duty(digest()).answers_duty(digest());
    let story = story.appends(1, 0..5, 0).appends(2, 5..9, 0);
    assert!(story.request(2).headers().contains_key("upload-checksum"));
}

// A creation may carry bytes.
#[test]
fn first_bytes_are_those_of_the_part() {
    let story = Several::join_with(&[5, 4], |config| {
        offers(config, &["concatenation", "creation-with-upload"]);
    });
    assert_eq!(*story.request(1).body(), 0..5);
    let fields = |lane: u32| [("location", url(lane)), ("upload-offset", "3".to_owned())];
    let answer = |story: Several, lane| {
        let fields = fields(lane);
        let fields: Vec<_> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
        story.answers(lane, 201, &fields)
    };
    let story = answer(story, 1);
    assert_eq!(*story.request(2).body(), 5..9);
    answer(story.appends(1, 3..5, 3), 2).appends(2, 8..9, 3);
}

#[test]
fn three_run_at_once_and_the_next_begins_when_one_is_over() {
    let story = Several::join(&[5; 5]).creates(1).out(&[1, 2, 3]);
    let story = story.creates(2).creates(3).out(&[1, 2, 3]);
    let story = story.confirms(2, 5).out(&[1, 3, 4]).creates(4);
    let story = story.confirms(1, 5).confirms(3, 5).out(&[4, 5]);
    let story = story.creates(5).confirms(4, 5).confirms(5, 5);
    story.joins(&[1, 2, 3, 4, 5]).joined().succeeds();
    let story = Several::join_with(&[5; 2], |config| config.parts.at_once = 0);
    story.creates(1).confirms(1, 5).out(&[2]);
}

#[test]
fn the_list_may_name_the_parts_by_path() {
    let relative = |config: &mut tus_proto::Config| config.parts.relative = true;
    let story = Several::created_with(&[1, 1], relative).send(&[1, 1]);
    let list = &story.request(0).headers()["upload-concat"];
    assert_eq!(list, "final;/files/1 /files/2");
    assert!(list.is_sensitive());
}

/// The length of a list of so many parts.
fn list(parts: usize) -> usize {
    "final".len() + parts * (1 + url(1).len())
}

#[test]
fn a_list_that_is_too_long_is_seen_before_any_byte_is_sent() {
    let limited = |limit| {
        Several::join_with(&[5; 9], |config| config.parts.list_limit = limit)
            .out(&[1])
            .creates(1)
    };
    let story = limited(list(9) - 1);
    assert_eq!(story.count(|event| matches!(event, Event::Orphaned)), 1);
    assert!(story.saves.is_empty());
    let error = story.error();
    let Error::PartList { length, limit, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!((*length, *limit), (list(9) as u64, list(9) as u64 - 1));
    limited(list(9)).out(&[1, 2, 3]);
}

// Whatever the server takes, the checkpoint names them all.
#[test]
fn the_urls_of_all_parts_have_512_kib() {
    let named = |name: usize| format!("{ENDPOINT}{}", "x".repeat(name - ENDPOINT.len()));
    let parts = |name| {
        // The list itself is never too long.
        let limit = "final".len() + 512 * 1026;
        let story = Several::join_with(&[5; 512], |config| config.parts.list_limit = limit);
        story.answers(1, 201, &[("location", &named(name))])
    };
    parts(1024).out(&[1, 2, 3]);
    let error = parts(1025).error();
    assert!(
        matches!(error, Error::PartList { length, limit, .. } if (length, limit) == (524_800, 524_288)),
        "{error:?}"
    );
    // Those that are known count as they are, the others as the longest.
    let story = Several::join_with(&[5; 100], |config| config.parts.list_limit = usize::MAX);
    let story = story.answers(1, 201, &[("location", &named(5_000))]);
    let error = story
        .answers(2, 201, &[("location", &named(6_000))])
        .error();
    assert!(
        matches!(
            error,
            Error::PartList {
                length: 599_000,
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn a_later_run_may_allow_a_longer_list_or_a_shorter_one() {
    let checkpoint = Several::created(&[5; 3]).checkpoint();
    let error = Several::resume_with(&checkpoint, |config| {
        config.parts.list_limit = list(3) - 1;
    });
    assert!(error.saves.is_empty() || error.saves.last().unwrap().is_some());
    let (error, _) = error.ends();
    assert!(
        matches!(error, Error::PartList { .. }) && error.resumable(),
        "{error:?}"
    );
    let resumed = Several::resume_with(&checkpoint, |config| {
        config.parts.list_limit = list(3);
    });
    resumed.out(&[1, 2, 3]);
}

// It is not sent again, unless the whole is gone.
#[test]
fn a_list_that_was_sent_may_be_too_long() {
    let shorter = |config: &mut tus_proto::Config| {
        unfinished(config);
        config.parts.list_limit = list(3) - 1;
    };
    let story = Several::created_with(&[5; 3], unfinished).joined();
    let kept = story.checkpoint();
    let story = Several::resume_with(&kept, shorter).looks().finds(0, 0);
    story.finds(1, 5).finds(2, 5).out(&[3]);
    let story = Several::created_with(&[5; 3], |config| {
        unfinished(config);
        config.recreations = 0;
    });
    let story = story.joined().sent(3, 0).loses(3).answers(3, 410, &[]);
    let (error, story) = story.ends();
    assert!(matches!(error, Error::Gone { .. }), "{error:?}");
    let story = Several::resume_with(&story.checkpoint(), shorter).looks();
    let error = story.finds(0, 0).error();
    assert!(matches!(error, Error::PartList { .. }), "{error:?}");
}

// A longer URL than the first one's: what was sent is not forgotten.
#[test]
fn a_list_that_becomes_too_long_keeps_what_is_there() {
    let story = Several::join_with(&[5; 3], |config| config.parts.list_limit = list(3));
    let story = story.creates(1).confirms(1, 5);
    let error = story.answers(2, 201, &[("location", "/files/longer")]);
    let error = error.error();
    assert!(
        matches!(error, Error::PartList { .. }) && error.resumable(),
        "{error:?}"
    );
}

// Outages.

#[test]
fn what_fails_together_counts_once() {
    let once = |config: &mut tus_proto::Config| config.retry.attempts = Some(1);
    let story = Several::created_with(&[5; 3], once);
    let ids: Vec<_> = (1..=3).map(|lane| story.id(lane)).collect();
    let lost = ids
        .iter()
        .map(|id| Input::Answer(*id, failed(FailureKind::Lost)));
    let story = story.inputs(lost).out(&[1, 2, 3]).probes(2);
    // That was one outage; another is one too many.
    let (error, story) = story.loses(2).ends();
    let Error::Exhausted {
        place,
        limit,
        cause,
    } = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!((*limit, place.attempts), (Limit::Attempts, 2));
    assert_eq!(place.url.expose(), url(2));
    assert!(matches!(cause.as_deref(), Some(Cause::Failed(_))));
    assert!(error.resumable());
    let retries = story.count(|event| matches!(event, Event::Retrying { .. }));
    assert_eq!(retries, 3, "no retry is told that does not come");
}

// Though no part has failed more often than it may.
#[test]
fn outages_of_several_parts_add_up() {
    let story = Several::created_with(&[5; 3], |config| {
        config.retry.attempts = Some(2);
    });
    let story = story.loses(1).confirms(2, 3).loses(2);
    let (error, story) = story.confirms(3, 3).loses(3).ends();
    let Error::Exhausted { place, limit, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!((*limit, place.attempts), (Limit::Attempts, 3));
    assert_eq!(place.url.expose(), url(3));
    let retries = story.count(|event| matches!(event, Event::Retrying { .. }));
    assert_eq!(retries, 2, "no retry is told that does not come");
}

#[test]
fn one_after_the_other_they_count_each() {
    let story = Several::created_with(&[5; 3], |config| {
        config.retry.attempts = Some(2);
    });
    let story = story.loses(1).loses(2);
    // Each was sent before the first failed: one outage still.
    let story = story.probes(1).probes(2).loses(1);
    let (error, _) = story.waits().probes(1).loses(1).ends();
    assert!(
        matches!(
            error,
            Error::Exhausted {
                limit: Limit::Attempts,
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn progress_of_one_resets_the_outages_but_not_what_another_counts() {
    let story = Several::created_with(&[5, 5], |config| {
        config.retry.attempts = Some(2);
    });
    let story = story.loses(1).loses(1).waits().out(&[1, 2]);
    let story = story.confirms(2, 5).loses(1);
    let error = story.error();
    assert_eq!(error.place().url.expose(), url(1));
    assert_eq!(error.place().attempts, 3);
}

#[test]
fn a_busy_server_is_left_alone_by_all_parts() {
    for status in ["429", "503", "lost"] {
        let story = Several::created(&[5; 3]);
        let story = match status {
            "lost" => story.loses(1).loses(1),
            status => story.answers(1, status.parse().unwrap(), &[("retry-after", "20")]),
        };
        // Those that are out go on; what would come next waits.
        let story = story.out(&[2, 3]).confirms(2, 3).out(&[3]).confirms(3, 5);
        let at_least = if status == "lost" { 0.5 } else { 20.0 };
        assert!(story.wait().as_secs_f64() >= at_least, "{status}");
        let story = story.waits();
        story.out(&[1, 2]).probes(1).appends(2, 8..10, 3);
    }
    let story = Several::created(&[5; 3]).answers(1, 500, &[("retry-after", "20")]);
    story.confirms(2, 3).out(&[2, 3]);
}

// Not all at the same time, nor under the same name.
#[test]
fn parts_that_fail_together_come_back_one_by_one() {
    let mut story = Several::created_with(&[5; 3], |config| {
        config.request_id = Some("x-request-id".parse().unwrap());
    });
    let mut ids = BTreeSet::new();
    for lane in 1..=3 {
        ids.insert(story.request(lane).headers()["x-request-id"].clone());
        story = story.answers(lane, 500, &[]);
    }
    assert_eq!(ids.len(), 3, "{ids:?}");
    let waits = story.events.iter().filter_map(|event| match event {
        Event::Retrying { after, .. } => Some(after),
        _ => None,
    });
    let waits: BTreeSet<_> = waits.collect();
    assert_eq!(waits.len(), 3, "{waits:?}");
}

#[test]
fn a_pause_is_for_those_too_that_have_not_begun() {
    let story = Several::join(&[5, 5]).creates(1).answers(2, 503, &[]);
    let story = story.confirms(1, 5).out(&[]);
    story.waits().posts(2);
    let story = Several::join_with(&[5, 5], |config| config.parts.at_once = 1);
    let story = story
        .creates(1)
        .answers(1, 503, &[("retry-after", "9")])
        .waits();
    story.probes(1).finds(1, 5).out(&[2]);
}

// §4, 23.
#[test]
fn a_part_that_fails_ends_all_with_one_error() {
    let story = Several::created(&[5; 3]);
    let ids = [story.id(1), story.id(3)];
    let (error, story) = story.answers(2, 403, &[]).ends();
    assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
    assert_eq!(error.place().url.expose(), url(2));
    assert!(error.resumable());
    assert_eq!(story.stopped, ids);
    assert!(matches!(story.saves.last(), Some(Some(_))));
    assert_eq!(story.checkpoint(), story.machine.checkpoint().unwrap());
    // Late answers change nothing.
    let late = Input::Answer(ids[0], failed(FailureKind::Lost));
    story.input(late);
}

#[test]
fn of_two_errors_the_first_is_told() {
    let story = Several::created(&[5; 2]);
    let refused = [(1, 403), (2, 507)].map(|(lane, status)| {
        let answer = Several::answer(status, &[], "");
        Input::Answer(story.id(lane), answer)
    });
    let error = story.inputs(refused).error();
    assert!(
        matches!(error, Error::Rejected { status, .. } if status == 403),
        "{error:?}"
    );
    // The same with failures of which each is one too many.
    let story = Several::created_with(&[5; 3], |config| config.retry.attempts = Some(1));
    let story = story.loses(1).confirms(2, 3).confirms(3, 3);
    let lost = [story.id(2), story.id(3)].map(|id| Input::Answer(id, failed(FailureKind::Lost)));
    let error = story.inputs(lost).error();
    assert!(matches!(error, Error::Exhausted { .. }), "{error:?}");
    assert_eq!(error.place().url.expose(), url(2));
}

#[test]
fn a_source_that_cannot_be_read_ends_all() {
    for kind in [FailureKind::Source, FailureKind::SourceChanged] {
        let error = Several::created(&[5, 5]).fails(2, kind).error();
        assert!(error.resumable(), "{error:?}");
        assert!(matches!(
            error,
            Error::Source { .. } | Error::SourceChanged { .. }
        ));
    }
}

// Credentials.

fn opted(config: &mut tus_proto::Config) {
    config.authorize = Authorize::OnUnauthorized;
}

fn credentials(value: &'static str) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", value.parse().unwrap());
    Answer::Credentials(Some(headers))
}

fn asked(story: &Several) -> usize {
    story.count(|event| matches!(event, Event::Authorizing { .. }))
}

#[test]
fn credentials_are_asked_for_once_and_used_by_all() {
    let story = Several::created_with(&[5; 4], opted);
    let story = story.answers(1, 401, &[]).answers(2, 401, &[]);
    assert_eq!(story.duties.len(), 1);
    // The third was out without them when they came: it does not ask again.
    let story = story.answers_duty(credentials("new")).answers(3, 401, &[]);
    assert!(story.duties.is_empty());
    assert_eq!(asked(&story), 1);
    for lane in 1..=3 {
        assert_eq!(story.request(lane).headers()["authorization"], "new");
    }
    let story = story
        .probes(1)
        .probes(2)
        .probes(3)
        .confirms(4, 2)
        .confirms(4, 5);
    // The fourth was not asked, and has them all the same.
    let story = story.finds(1, 0).finds(2, 0).finds(3, 0).send(&[5; 3]);
    let story = story.joins(&[1, 2, 3, 4]);
    assert_eq!(story.request(0).headers()["authorization"], "new");
    // They are refused: that is another question.
    let story = story.answers(0, 401, &[]);
    assert_eq!(story.duties.len(), 1);
    let story = story.answers_duty(credentials("newer"));
    assert_eq!(story.request(0).headers()["authorization"], "newer");
    assert_eq!(asked(&story), 2);
    story.joined().succeeds();
}

#[test]
fn a_question_for_credentials_outlasts_what_happens_to_another_part() {
    let story = Several::created_with(&[5; 3], opted);
    let story = story.answers(1, 401, &[]).answers(2, 401, &[]).out(&[3]);
    let story = story.waits();
    assert_eq!(story.stopped.len(), 1, "the third has stalled");
    let story = story.probes(3).answers_duty(credentials("new"));
    let story = story.out(&[1, 2, 3]).probes(1).probes(2);
    for lane in [1, 2] {
        assert_eq!(story.request(lane).headers()["authorization"], "new");
    }
}

#[test]
fn credentials_that_are_refused_are_asked_for_anew() {
    let story = Several::created_with(&[5; 2], opted);
    let story = story.answers(1, 401, &[]).answers(2, 401, &[]);
    let story = story.answers_duty(credentials("bad")).out(&[1, 2]);
    let story = story.answers(1, 401, &[]);
    assert_eq!(story.duties.len(), 1);
    let story = story.answers(2, 401, &[]);
    assert_eq!((story.duties.len(), asked(&story)), (1, 2));
    let story = story.answers_duty(credentials("good"));
    assert_eq!(story.request(2).headers()["authorization"], "good");
}

#[test]
fn without_credentials_it_ends() {
    let story = Several::created_with(&[5; 3], opted);
    let story = story.answers(1, 401, &[]).answers(2, 401, &[]);
    let error = story.answers_duty(Answer::Credentials(None)).error();
    assert!(
        matches!(error, Error::Rejected { status, .. } if status == 401),
        "{error:?}"
    );
    assert!(error.resumable());
    // Who cannot ask has none.
    let story = Several::created_with(&[5; 3], opted).answers(1, 401, &[]);
    let error = story.answers_duty(failed(FailureKind::Lost)).error();
    assert!(
        matches!(error, Error::Rejected { status, .. } if status == 401),
        "{error:?}"
    );
}

// S1, S7: each origin has a question of its own.
#[test]
fn credentials_for_one_origin_are_not_sent_to_another() {
    let story = Several::join_with(&[5, 5], |config| {
        opted(config);
        config.foreign = Foreign::Bare;
    });
    let story = story.creates(1);
    let story = story.answers(2, 201, &[("location", "http://b.test/2")]);
    let story = story.answers(1, 401, &[]).answers(2, 401, &[]);
    let uris: Vec<_> = story
        .duties
        .iter()
        .map(|(_, duty)| match duty {
            Duty::Authorize { uri, .. } => uri.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(uris, [url(1), "http://b.test/2".to_owned()]);
    assert_eq!(asked(&story), 2);
    let story = story.answers_duty(credentials("secret")).out(&[1]);
    let story = story.answers_duty(credentials("other"));
    assert_eq!(story.request(1).headers()["authorization"], "secret");
    assert_eq!(story.request(2).headers()["authorization"], "other");
    assert!(!format!("{:?}", story.machine).contains("secret"));
}

#[test]
fn a_cancel_ends_the_one_question_for_credentials() {
    let story = Several::created_with(&[5; 3], opted);
    let story = story.answers(1, 401, &[]).answers(2, 401, &[]);
    let asked = story.duties[0].0;
    let (_, story) = story.cancel(Cancel::Keep).ends();
    assert!(story.stopped.contains(&asked) && story.duties.is_empty());
}

// The deletion may need them as well.
#[test]
fn a_question_that_was_cancelled_can_be_asked_again() {
    let story = Several::created_with(&[5, 5], opted).answers(1, 401, &[]);
    let story = story.cancel(Cancel::Terminate).answers(1, 401, &[]);
    assert_eq!(story.duties.len(), 1);
    let story = story.answers_duty(credentials("new"));
    assert_eq!(story.request(1).method(), "DELETE");
    assert_eq!(story.request(1).headers()["authorization"], "new");
}

// Checkpoints.

#[test]
fn checkpoints_are_saved_one_at_a_time_with_all_that_is_known() {
    let story = Several::join(&[5; 4]).holding_saves().creates(1);
    assert!(story.is_saving());
    // Others go on; the one whose URL it is waits.
    let story = story.out(&[2, 3]).creates(2).creates(3).out(&[]);
    assert_eq!(story.saves.len(), 1);
    let story = story.saved().appends(1, 0..5, 0).out(&[1]);
    assert_eq!(
        story.saves.len(),
        2,
        "the two that waited are saved at once"
    );
    let text = story.checkpoint().to_text();
    assert!(text.contains(&url(2)) && text.contains(&url(3)));
    story.saved().out(&[1, 2, 3]);
}

#[test]
fn a_checkpoint_that_cannot_be_saved_is_told_and_tried_again() {
    let story = Several::join(&[5, 5]).holding_saves().creates(1);
    let story = story
        .saved_as(failed(FailureKind::Lost))
        .appends(1, 0..5, 0);
    let told = |event: &Event| matches!(event, Event::CheckpointFailed { .. });
    assert_eq!(story.count(told), 1);
    let lost = story.creates(2).saved_as(failed(FailureKind::Lost));
    let lost = lost.answers(1, 403, &[]);
    // That it was refused is to be saved, and there is one more attempt at the end.
    let lost = lost.saved_as(failed(FailureKind::Lost));
    let (error, story) = lost.saved_as(failed(FailureKind::Lost)).ends();
    assert!(!error.resumable());
    assert_eq!(story.count(told), 4);

    let story = Several::join(&[5, 5]).holding_saves().creates(1);
    let story = story
        .saved_as(failed(FailureKind::Lost))
        .answers(1, 403, &[]);
    assert!(story.saved().error().resumable());

    // Also where nothing changed since.
    let story = Several::join(&[5]).holding_saves().creates(1);
    let story = story.saved_as(failed(FailureKind::Lost)).sent(1, 0);
    let story = story.answers(1, 403, &[]);
    assert!(story.saved().error().resumable());
}

#[test]
fn what_did_not_change_is_not_saved_again() {
    let story = Several::complete(&[5, 5]);
    // Two URLs, and that they will be joined.
    assert_eq!(story.saves.len(), 3);
    let story = story.joined();
    assert_eq!(story.saves.len(), 4);
    story.succeeds();
}

// Later runs.

// §4, 24.
#[test]
fn a_later_run_has_the_parts_of_the_checkpoint() {
    let story = Several::join_with(&[5, 0, 7], |config| {
        config.identity = Some("a".into());
    });
    let story = story.creates(1).creates(2).confirms(1, 3);
    let story = Several::resume_with(&story.checkpoint(), |config| {
        // Other boundaries by now.
        config.parts.least = 1;
    });
    let story = story.out(&[1, 2, 3]).probes(1).probes(2).posts(3);
    assert_eq!(story.request(3).headers()["upload-length"], "7");
    let story = story.finds(1, 3).finds(2, 0).creates(3);
    let story = story.appends(1, 3..5, 3).appends(3, 5..12, 0);
    let story = story.confirms(1, 5).confirms(3, 7);
    story.joins(&[1, 2, 3]).joined().succeeds();
}

#[test]
fn a_later_run_without_any_part_begins_at_the_first() {
    let checkpoint = Several::created(&[5, 5]).checkpoint();
    let text = checkpoint.to_text();
    assert!(text.contains("parts 2\njoining no\n"), "{text}");
    // None of them is there any more, and each is made anew.
    let story = Several::resume(&checkpoint);
    let story = story.answers(1, 410, &[]).answers(2, 410, &[]);
    story
        .creates(1)
        .creates(2)
        .out(&[1, 2])
        .appends(2, 5..10, 0);
}

#[test]
fn another_source_ends_before_any_request() {
    let checkpoint = Several::created(&[5, 5]).checkpoint();
    let changed = config(|config| config.identity = Some("b".into()));
    for (length, config) in [(10, &changed), (11, &config(|_| ()))] {
        let machine = Parallel::resume(ENDPOINT, checkpoint.clone(), length, config).unwrap();
        let (error, story) = Several::new(machine, config).ends();
        assert!(
            matches!(error, Error::SourceChanged { .. }) && error.resumable(),
            "{error:?}"
        );
        assert!(story.saves.is_empty(), "the checkpoint stays");
    }
}

// The checkpoint stays whatever the clock says.
#[test]
fn another_source_does_not_forget_parts_that_expired() {
    let expiring = [
        ("location", "/files/1"),
        ("upload-expires", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ];
    let story = Several::join(&[5]).answers(1, 201, &expiring);
    let config = config(|config| {
        config.identity = Some("b".into());
        config.wall_clock = Some(tus_proto::Date::from_unix_seconds(2_000_000_000));
    });
    let machine = Parallel::resume(ENDPOINT, story.checkpoint(), 5, &config).unwrap();
    let (error, again) = Several::new(machine, &config).ends();
    assert!(error.resumable() && again.saves.is_empty());
    assert_eq!(again.machine.checkpoint(), Some(story.checkpoint()));
}

#[test]
fn a_checkpoint_of_another_kind_or_place_is_refused() {
    let checkpoint = Several::created(&[5, 5]).checkpoint();
    let config = config(|_| ());
    let other = Parallel::resume("http://example.org/b/", checkpoint.clone(), 10, &config);
    assert_eq!(other.unwrap_err(), Misuse::Checkpoint);
    let whole = tus_proto::Upload::resume(ENDPOINT, checkpoint, 10, &config);
    assert_eq!(whole.unwrap_err(), Misuse::CheckpointKind);
    let whole = crate::scenario::Scenario::created(9).checkpoint();
    let parts = Parallel::resume(ENDPOINT, whole, 9, &config);
    assert_eq!(parts.unwrap_err(), Misuse::CheckpointKind);
}

#[test]
fn parts_on_a_refused_origin_are_not_gone_on_with() {
    let story = Several::join(&[5]).answers(1, 201, &[("location", "http://b.test/1")]);
    let (error, story) = Several::resume_with(&story.checkpoint(), |config| {
        config.foreign = Foreign::Refuse;
    })
    .ends();
    assert!(
        matches!(error, Error::Location { .. }) && error.resumable(),
        "{error:?}"
    );
    assert!(story.saves.is_empty());
}

// §4, 26.
#[test]
fn what_was_cancelled_goes_on() {
    let story = Several::created(&[5, 5]).sent(1, 5).sent(2, 2);
    let (error, story) = story.cancel(Cancel::Keep).ends();
    assert!(
        matches!(
            error,
            Error::Cancelled {
                terminated: false,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.resumable());
    let story = Several::resume(&story.checkpoint());
    let story = story.finds(1, 5).finds(2, 1).appends(2, 6..10, 1);
    story.confirms(2, 5).joined().succeeds();
}

// R8: the next run says the same.
#[test]
fn a_part_that_was_refused_at_its_last_byte_stays_refused() {
    let story = Several::created(&[5, 5]).sent(1, 5).answers(1, 422, &[]);
    let (error, story) = story.ends();
    assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
    let error = Several::resume(&story.checkpoint()).finds(1, 5).error();
    assert!(
        matches!(error, Error::Unfinished { status, .. } if status == 422),
        "{error:?}"
    );
}

#[test]
fn a_part_of_another_length_is_another_upload() {
    let story = Several::resume(&Several::created(&[5, 5]).checkpoint());
    let wrong = [("upload-offset", "1"), ("upload-length", "6")];
    let error = story.answers(1, 200, &wrong).error();
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
}

// What is saved is what is read again, which the story checks of each checkpoint (I9).
#[test]
fn a_part_that_waits_to_be_told_its_length_is_kept_with_it() {
    let deferred = [
        ("upload-offset", "2"),
        ("upload-defer-length", "1"),
        ("upload-expires", "Sun, 06 Nov 2044 08:49:37 GMT"),
    ];
    let story = Several::created(&[5, 5])
        .loses(1)
        .answers(1, 200, &deferred);
    let story = story.appends(1, 2..5, 2);
    assert_eq!(story.request(1).headers()["upload-length"], "5");
    let story = Several::resume(&story.checkpoint());
    let story = story.answers(1, 200, &deferred).appends(1, 2..5, 2);
    assert_eq!(story.request(1).headers()["upload-length"], "5");
}

// Time.

#[test]
fn the_deadline_is_that_of_all() {
    let story = Several::created_with(&[5; 3], |config| {
        config.retry.deadline = Some(Duration::from_secs(10));
    });
    let (error, story) = story.after(Duration::from_secs(10)).ends();
    assert!(
        matches!(
            error,
            Error::Exhausted {
                limit: Limit::Deadline,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(story.stopped.len(), 3);
    assert!(error.resumable());

    // A part that begins late has no more time.
    let story = Several::join_with(&[5, 5], |config| {
        config.retry.deadline = Some(Duration::from_secs(10));
        config.parts.at_once = 1;
    });
    let story = story.creates(1).after(Duration::from_secs(6));
    let story = story.confirms(1, 5).creates(2);
    assert_eq!(story.wait(), Duration::from_secs(4));

    // Nor has the joining.
    let story = Several::created_with(&[5, 5], |config| {
        config.retry.deadline = Some(Duration::from_secs(10));
    });
    let story = story.confirms(1, 5).confirms(2, 5);
    assert_eq!(story.request(0).method(), "POST");
    let (error, story) = story.after(Duration::from_secs(10)).ends();
    let is_late = matches!(error, Error::Exhausted { limit, .. } if limit == Limit::Deadline);
    assert!(is_late && error.resumable(), "{error:?}");
    assert_eq!(story.count(|event| *event == Event::Orphaned), 1);
}

// What is displayed.

#[test]
fn amounts_are_of_all_parts() {
    let story = Several::created(&[5, 5]).sent(1, 0).sent(2, 0);
    let story = story.sent(1, 4).sent(2, 3).confirms(1, 3);
    let story = story.sent(1, 0).sent(1, 2).confirms(1, 5).loses(2);
    let story = story.finds(2, 2);
    let told = |event: &Event| match event {
        Event::Sent { offset } => Some(format!("sent {offset}")),
        Event::Confirmed { offset, length } => {
            assert_eq!(*length, Some(10));
            Some(format!("has {offset}"))
        }
        Event::Appending { from, to } => Some(format!("{from}..{to}")),
        _ => None,
    };
    let told: Vec<_> = story.events.iter().filter_map(told).collect();
    assert_eq!(
        told,
        [
            "0..5", "5..10", "sent 4", "sent 7", "has 3", "3..5", "sent 8", "has 5", "has 7",
            "7..10"
        ]
    );
}

#[test]
fn what_the_server_did_not_take_is_not_held_to_be_sent() {
    let story = Several::created(&[5, 5]).sent(1, 0).sent(1, 4);
    // It waits, and so no other request has told how far it is.
    let story = story.confirms(1, 0).sent(2, 0).sent(2, 3);
    assert_eq!(story.events.last(), Some(&Event::Sent { offset: 3 }));
}

// I5: what goes back is told.
#[test]
fn a_rewind_and_a_recreation_are_told_in_amounts_of_the_whole() {
    let story = Several::created(&[5, 5]).confirms(1, 3).confirms(2, 4);
    let story = story.loses(2).finds(2, 1);
    let rewound = Event::Rewound { from: 7, to: 4 };
    assert!(story.events.contains(&rewound), "{:#?}", story.events);
    let story = story.appends(2, 6..10, 1).sent(1, 0);
    let story = story.loses(1).answers(1, 410, &[]);
    assert_eq!(
        story.count(|event| matches!(event, Event::Recreating { .. })),
        1
    );
    let story = story.creates(1).confirms(1, 2);
    let confirmed = |event: &Event| match event {
        Event::Confirmed { offset, .. } => Some(*offset),
        _ => None,
    };
    let last = story.events.iter().filter_map(confirmed).next_back();
    assert_eq!(last, Some(3));
}

#[test]
fn how_a_part_was_completed_is_not_kept() {
    let story = Several::created(&[5, 5]).answers(1, 204, &[]);
    let noted = |story: &Several| story.checkpoint().to_text().contains("ending acknowledged");
    assert!(noted(&story));
    assert!(!noted(&story.finds(1, 5)));
}

// S3.
#[test]
fn debug_shows_no_secret() {
    let config = config(|config| {
        let bearer = "Bearer hunter2".parse().unwrap();
        config.headers.insert("authorization", bearer);
    });
    let endpoint = "http://u:hunter2@example.org/files/?key=hunter2";
    let machine = Parallel::join(endpoint, &[5, 5], &config).unwrap();
    let mut story = Several::new(machine, &config);
    let place = |lane: u32| format!("/files/{lane}?key=hunter2");
    story = story.answers(1, 201, &[("location", &place(1))]);
    story = story.answers(2, 201, &[("location", &place(2))]);
    story = story.confirms(1, 5).confirms(2, 5);
    assert_eq!(story.request(0).method(), "POST");
    let story = story.loses(0);
    for shown in [
        format!("{:?}", story.machine),
        format!("{:?}", story.events),
    ] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

// I8.
#[test]
fn the_same_inputs_give_the_same_outputs() {
    let tell = || {
        let story = Several::created(&[5; 3]).loses(1).loses(2).finds(1, 2);
        let story = story.loses(2).answers(3, 503, &[]);
        (format!("{:?}", story.events), story.wait(), story.lanes())
    };
    assert_eq!(tell(), tell());
}

#[test]
fn nothing_is_asked_after_the_hardest_cancel() {
    let config = config(opted);
    let mut all = Parallel::join(ENDPOINT, &[5, 5], &config).unwrap();
    let now = Tick::default();
    let Output::Begin(id, Duty::Exchange(..)) = all.poll(now) else {
        panic!("it begins with a creation");
    };
    let mut refusal = http::Response::new(Bytes::new());
    *refusal.status_mut() = http::StatusCode::UNAUTHORIZED;
    all.handle(now, Input::Answer(id, Answer::Response(refusal)));
    assert!(matches!(
        all.poll(now),
        Output::Event(Event::Authorizing { .. })
    ));
    all.handle(now, Input::Cancel(Cancel::Now));
    for _ in 0..9 {
        assert!(!matches!(all.poll(now), Output::Begin(..)));
    }
}

fn is_shared(story: Several) {
    let error = story.error();
    let shared =
        matches!(&error, Error::Conflict { conflict, .. } if *conflict == Conflict::Shared);
    assert!(shared, "{error:?}");
}

// I1: a server that names uploads by what they have in common would mix the parts.
#[test]
fn two_parts_at_one_url_are_a_conflict() {
    let same = [("location", "/files/1")];
    let moved = url(1);
    let moved = [("location", moved.as_str())];
    for story in [
        Several::join(&[5, 5]).creates(1).answers(2, 201, &same),
        Several::created(&[5, 5]).answers(2, 307, &moved),
        Several::created(&[5, 5]).answers(2, 308, &moved),
        // Each of them is led to where neither was.
        Several::created(&[5, 5])
            .answers(1, 307, &[("location", "/elsewhere")])
            .answers(2, 307, &[("location", "/elsewhere")]),
    ] {
        assert!(story.lanes().is_empty(), "the other is stopped");
        is_shared(story);
    }
    // A part that was complete with its creation is no part of its own either.
    let story = Several::join(&[5, 0]).creates(1).answers(2, 201, &same);
    is_shared(story);
}

// I1: nor is one that is found complete.
#[test]
fn two_parts_at_one_url_in_a_checkpoint_are_a_conflict() {
    let text = Several::created(&[5, 5]).checkpoint().to_text();
    let (lines, _) = text.rsplit_once("end ").unwrap();
    let lines = lines.replace(&url(2), &url(1));
    let hash = lines.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    let checkpoint = format!("{lines}end {hash:016x}\n").parse().unwrap();
    let story = Several::resume(&checkpoint).finds(1, 5);
    is_shared(story);
}

// Found by reading: the answer came before anybody was told that the question was stopped.
#[test]
fn a_deletion_asks_for_credentials_itself() {
    let story = Several::created_with(&[5, 5], |config| {
        config.authorize = Authorize::OnUnauthorized;
    });
    let story = story.confirms(1, 5).answers(2, 401, &[]);
    assert_eq!(story.duties.len(), 1);
    let mut story = story;
    let now = Tick(Duration::from_secs(1_000));
    story.machine.handle(now, Input::Cancel(Cancel::Terminate));
    let (deletion, mut stopped) = (story.machine.poll(now), 0);
    let Output::Begin(id, Duty::Exchange(request, _)) = deletion else {
        panic!("{deletion:?}");
    };
    assert_eq!((id.lane, request.method().as_str()), (1, "DELETE"));
    story
        .machine
        .handle(now, Input::Answer(id, Several::answer(401, &[], "")));
    let asks = (0..99).any(|_| match story.machine.poll(now) {
        Output::Begin(_, Duty::Authorize { .. }) => true,
        Output::Stop(_) => {
            stopped += 1;
            false
        }
        _ => false,
    });
    assert!(asks && stopped <= 1, "{stopped}");
}
