//! An upload in parts, from the beginning or from any checkpoint, told anything.

#![no_main]

mod story;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use tus_proto::{Checkpoint, Parallel};

const ENDPOINT: &str = "https://example.org/files/";

#[derive(Arbitrary, Debug)]
struct Told {
    lengths: Vec<u32>,
    /// Which parts an earlier run created, and whether it began to join them.
    created: Option<u32>,
    joining: bool,
    settings: story::Settings,
    events: Vec<story::Event>,
}

/// What an earlier run left.
fn checkpoint(told: &Told, created: u32) -> Option<Checkpoint> {
    let yes = |value: bool| if value { "yes" } else { "no" };
    let mut text = format!(
        "tus-checkpoint 1\nendpoint {ENDPOINT}\nparts {}\njoining {}\n",
        told.lengths.len(),
        yes(told.joining)
    );
    for (n, length) in told.lengths.iter().enumerate() {
        text += &format!("part {length}\n");
        if created & (1 << (n % 32)) != 0 {
            text += &format!("url {ENDPOINT}{n}\nspoke yes\n");
        }
    }
    let hash = text.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    format!("{text}end {hash:016x}\n").parse().ok()
}

fuzz_target!(|told: Told| {
    let lengths: Vec<_> = told.lengths.iter().take(9).map(|length| u64::from(*length)).collect();
    let told = Told {
        lengths: told.lengths.into_iter().take(9).collect(),
        ..told
    };
    let total = lengths.iter().sum();
    let config = told.settings.config();
    let parallel = match told.created.and_then(|created| checkpoint(&told, created)) {
        Some(checkpoint) => Parallel::resume(ENDPOINT, checkpoint, total, &config),
        None => Parallel::join(ENDPOINT, &lengths, &config),
    };
    if let Ok(parallel) = parallel {
        story::tell(parallel, Some(total), &told.events);
    }
});
