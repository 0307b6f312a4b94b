//! Seeded runs against the testkit's server over a bad line, killed, cancelled and resumed on the way.
//!
//! Whatever happens, the server ends with the source's bytes and never with another file, or the
//! caller is told one of these:
//!
//! - [`Error::Unfinished`] of a 500, for that is a refusal whatever the server did with the last byte
//!   (R8), or of a 460, where the rest of an earlier request then brought the right bytes: it cannot be
//!   told from a server that keeps what it has refused;
//! - [`Error::CompletionUnknown`], where the server moves away what is complete, and the answer that
//!   said so was lost (*endings*); [`Error::Gone`], where in place of that answer came one that means
//!   that the request was not carried out, which only something in between can have said;
//! - either of them, where the server drops an unfinished upload, or where the parts were joined and
//!   deleted, that could not be noted, and the process was killed.

use std::ops::Range;

use tus_proto::{Error, Parallel, Upload, UploadUrl, Uploaded};
use tus_testkit::Quirk;

use crate::world::{ENDPOINT, Kind, World};

const SEEDS: Range<u64> = 0..3_000;

/// How a seed ended.
enum End {
    Success(Uploaded),
    Unfinished(UploadUrl),
    Unknown,
    /// By the caller's wish.
    Terminated,
}

/// Runs until there is an end, from the checkpoint that was saved, if one was.
fn live(world: &mut World) -> End {
    loop {
        let config = world.config();
        let saved = world.saved.clone();
        let length = world.source.len() as u64;
        let ended = match (world.kind, saved) {
            (Kind::Parts, Some(saved)) => {
                world.run(Parallel::resume(ENDPOINT, saved, length, &config).unwrap())
            }
            (Kind::Parts, None) => {
                world.run(Parallel::join(ENDPOINT, &world.lengths, &config).unwrap())
            }
            (kind, Some(saved)) => {
                let length = kind.tells(length);
                world.run(Upload::resume(ENDPOINT, saved, length, &config).unwrap())
            }
            (kind, None) => {
                let length = kind.tells(length);
                world.run(Upload::create(ENDPOINT, length, &config).unwrap())
            }
        };
        match ended {
            Some(Err(Error::Cancelled {
                terminated: true, ..
            })) => return End::Terminated,
            None | Some(Err(Error::Cancelled { .. })) => (),
            Some(Ok(done)) => return End::Success(done),
            Some(Err(Error::Unfinished { place, status, .. }))
                if [500, 460].contains(&status.as_u16()) =>
            {
                return End::Unfinished(place.url);
            }
            Some(Err(Error::CompletionUnknown { .. } | Error::Gone { .. }))
                if world.vanished
                    || world.lost_a_save && world.discard
                    || world.server.quirks().contains(&Quirk::MovesCompleted) =>
            {
                return End::Unknown;
            }
            Some(Err(error)) => panic!("{:?}: {error}\n{error:?}", world.kind),
        }
    }
}

/// I1: no complete upload holds anything but the source, or its part of it.
fn check(world: &World, end: &End) {
    let server = &world.server;
    let uploads = || server.uploads().chain(server.moved());
    for upload in uploads().filter(|upload| upload.is_complete()) {
        let right = if upload.is_partial() {
            let mut parts = world.parts();
            parts.any(|part| upload.content() == &world.source[part])
        } else {
            upload.content() == &world.source[..]
        };
        assert!(right, "a wrong file");
    }
    let found = |url: &UploadUrl| {
        let target = url.as_uri().path();
        let mut found = uploads().filter(|upload| upload.target() == target);
        found.next().expect("an upload")
    };
    match end {
        End::Success(done) => {
            assert_eq!(found(&done.url).content(), &world.source[..]);
            assert_eq!(done.length, world.source.len() as u64);
            if !world.lost_a_save {
                assert_eq!(world.saved, None, "the checkpoint is forgotten");
            }
        }
        End::Unfinished(url) => assert!(found(url).is_complete()),
        End::Unknown if world.vanished => (),
        End::Terminated => assert!(world.lost_a_save || world.saved.is_none()),
        End::Unknown => assert!(uploads().any(|upload| upload.content() == &world.source[..])),
    }
}

#[test]
fn over_a_bad_line_the_server_ends_with_the_sources_bytes() {
    let (mut requests, mut kills, mut cancels) = (0, 0, 0);
    let (mut unfinished, mut unknown, mut terminated, mut mismatches) = (0, 0, 0, 0);
    let mut kinds = [0; 8];
    let mut failed = Vec::new();
    let aloud = seeds().count() == 1;
    for seed in seeds() {
        let run = || {
            let mut world = World::new(seed, aloud);
            let end = live(&mut world);
            check(&world, &end);
            (world, end)
        };
        let Ok((world, end)) = std::panic::catch_unwind(run) else {
            failed.push(seed);
            continue;
        };
        match end {
            End::Success(_) => (),
            End::Unfinished(_) => unfinished += 1,
            End::Unknown => unknown += 1,
            End::Terminated => terminated += 1,
        }
        kinds[world.kind as usize] += 1;
        requests += world.requests;
        kills += world.kills;
        cancels += world.cancels;
        mismatches += world.mismatches;
    }
    let told = format!(
        "{requests} requests, {kills} kills, {cancels} cancels, {mismatches} mismatches, \
         {unfinished} unfinished, {unknown} unknown, {terminated} terminated, {kinds:?}"
    );
    println!("{told}");
    assert!(
        failed.is_empty(),
        "{} seeds failed: {failed:?}",
        failed.len()
    );
    if seeds() != SEEDS {
        return;
    }
    // A run in which nothing goes wrong would prove nothing.
    let seeds = seeds().count();
    assert!(
        requests > 10 * seeds && kills > seeds / 4 && cancels > seeds / 8 && mismatches > 0,
        "{told}"
    );
    assert!(unfinished < seeds / 8 && unknown < seeds / 20, "{told}");
    assert!(kinds.iter().all(|kind| *kind > seeds / 12), "{told}");
}

/// `CHAOS_SEEDS=from..to` tries others; of a single one all is told.
#[expect(clippy::disallowed_methods, reason = "for a developer's hands")]
fn seeds() -> Range<u64> {
    let Ok(range) = std::env::var("CHAOS_SEEDS") else {
        return SEEDS;
    };
    let (from, to) = range.split_once("..").expect("from..to");
    from.parse().unwrap()..to.parse().unwrap()
}
