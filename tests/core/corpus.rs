//! The fuzz targets without a fuzzer: what it found worth keeping, and inputs made up from a seed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::{fs, thread};

use tus_testkit::SplitMix64;
use tus_testkit::fuzzing::TARGETS;

/// How many inputs are made up for each target.
const MADE_UP: u64 = 300;

#[test]
fn every_input_that_was_kept_passes() {
    each(|name, body| {
        let kept = corpus(name);
        for (path, input) in &kept {
            run(name, body, &path.display().to_string(), input);
        }
        println!("{name}: {} inputs", kept.len());
    });
}

/// Pieces of what was kept, changed and joined: a little of what a fuzzer does.
#[test]
fn inputs_made_up_from_a_seed_pass() {
    each(|name, body| {
        let kept = corpus(name);
        let mut random = SplitMix64::new(1);
        for n in 0..MADE_UP {
            let mut input = Vec::new();
            for _ in 0..=random.below(2) {
                let (_, piece) = &kept[index(random.below(kept.len() as u64))];
                let from = index(random.below(piece.len() as u64 + 1)) / 2;
                input.extend_from_slice(&piece[from..]);
            }
            for _ in 0..random.below(6) {
                let at = index(random.below(input.len() as u64 + 1));
                let byte = u8::try_from(random.below(256)).unwrap();
                match (random.below(3), input.get_mut(at)) {
                    (0, Some(there)) => *there = byte,
                    (1, Some(_)) => drop(input.remove(at)),
                    _ => input.insert(at, byte),
                }
            }
            run(name, body, &format!("made up, {n}"), &input);
        }
    });
}

#[test]
fn every_folder_and_every_binary_is_a_targets() {
    let mut names: Vec<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    names.sort();
    for (folder, ending) in [("corpus", ""), ("fuzz_targets", ".rs")] {
        let mut found: Vec<_> = fs::read_dir(fuzz().join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .map(|name| name.strip_suffix(ending).expect("a target").to_owned())
            .collect();
        found.sort();
        assert_eq!(found, names, "{folder}");
    }
}

/// The targets take their time, each on a thread of its own.
fn each(all: impl Fn(&str, fn(&[u8])) + Sync) {
    thread::scope(|scope| {
        for (name, body) in TARGETS {
            let all = &all;
            scope.spawn(move || all(name, body));
        }
    });
}

fn run(name: &str, body: fn(&[u8]), from: &str, input: &[u8]) {
    let passes = catch_unwind(AssertUnwindSafe(|| body(input))).is_ok();
    assert!(passes, "{name} fails, {from}: {}", input.escape_ascii());
}

fn fuzz() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// What was kept for this target, in order: never nothing.
#[expect(
    clippy::disallowed_methods,
    reason = "the core has no files, its tests have"
)]
fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = fuzz().join("corpus").join(name);
    let entries =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    let read = |path: PathBuf| {
        let input = fs::read(&path).unwrap();
        (path, input)
    };
    paths.into_iter().map(read).collect()
}

fn index(n: u64) -> usize {
    usize::try_from(n).unwrap()
}
