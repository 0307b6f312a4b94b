use std::time::Duration;

use tus_proto::{Checkpoint, Config, Machine, Output, Parallel, Tick, Upload};

/// Any text is a checkpoint that prints as it was, shows no query, and can be gone on with; or an error.
///
/// # Panics
///
/// Where that is not so.
pub fn checkpoint(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // The seal keeps a fuzzer out; with the right one the lines are reached.
    for text in [text.to_string(), sealed(&text)] {
        if let Ok(checkpoint) = text.parse::<Checkpoint>() {
            assert_eq!(checkpoint.to_text(), text);
            check_shown(&text, &checkpoint);
            go_on(&text, &checkpoint);
        }
    }
}

/// The text with its seal, the FNV-1a hash of it.
pub(super) fn sealed(text: &str) -> String {
    let hash = text.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    format!("{text}end {hash:016x}\n")
}

fn check_shown(text: &str, checkpoint: &Checkpoint) {
    let show = |checkpoint: &Checkpoint| format!("{checkpoint:?} {:?}", checkpoint.url());
    let shown = show(checkpoint);
    let body = text.rfind("end ").map_or(text, |end| &text[..end]);
    // Without it: it may be one of the words that are shown of any.
    let is_word = |query: &str| {
        let other = sealed(&body.replace(query, "")).parse();
        other.is_ok_and(|other| show(&other).contains(query))
    };
    for line in text.lines() {
        let Some((_, query)) = line.split_once('?') else {
            continue;
        };
        // What stands elsewhere too may be shown.
        let secret = query.len() > 5 && text.matches(query).count() == 1;
        let url = ["endpoint ", "upload ", "url ", "whole "];
        if secret && url.iter().any(|name| line.starts_with(name)) {
            assert!(
                !shown.contains(query) || is_word(query),
                "{query} in {shown}"
            );
        }
    }
}

fn go_on(text: &str, checkpoint: &Checkpoint) {
    let line = |name| text.lines().find_map(|line| line.strip_prefix(name));
    let start = line("endpoint ")
        .or_else(|| line("upload "))
        .expect("where it began");
    let mut config = Config::default();
    config.identity = checkpoint.identity().map(str::to_owned);
    let length = checkpoint.length();
    let kept = checkpoint.clone();
    // What is on https stays there (S2), and a whole that waits for a part that is gone is forsaken.
    let is_plain = |line: &str| line.starts_with("url http:") || line.starts_with("whole http:");
    let is_upgraded = start.starts_with("https:") && text.lines().any(is_plain);
    // Nor was anything joined of it.
    let count = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
    let is_doubted = line("joining ") == Some("yes") && count("url ") < count("part ");
    let is_settled = !is_upgraded && !is_doubted && line("whole ").is_none();
    if checkpoint.in_parts() {
        let length = length.expect("that of all parts");
        if let Ok(machine) = Parallel::resume(start, kept, length, &config) {
            begin(machine, checkpoint, is_settled);
        }
        return;
    }
    for length in [length, Some(1), None] {
        if let Ok(machine) = Upload::resume(start, kept.clone(), length, &config) {
            begin(machine, checkpoint, is_settled);
        }
    }
}

/// It is asked for its first outputs. `is_settled`: nothing in the checkpoint is to change before that.
fn begin<M: Machine>(mut machine: M, checkpoint: &Checkpoint, is_settled: bool) {
    let own = machine.checkpoint().expect("what it goes on from");
    if is_settled {
        assert_eq!(own, *checkpoint);
    }
    assert_eq!(own.endpoint(), checkpoint.endpoint());
    assert_eq!(own.identity(), checkpoint.identity());
    for polls in 0..1_000 {
        let output = machine.poll(Tick(Duration::from_secs(1_000)));
        if let Some(kept) = machine.checkpoint() {
            assert_eq!(kept.to_text().parse(), Ok(kept));
        }
        if matches!(output, Output::Wait(_) | Output::Done(_)) {
            return;
        }
        assert!(polls < 500, "it spins");
    }
}
