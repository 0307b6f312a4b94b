//! Any text is a checkpoint that prints as it was, or an error.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tus_proto::Checkpoint;

fuzz_target!(|text: &str| {
    // The seal keeps a fuzzer out; with the right one the lines are reached.
    let hash = text.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    for text in [text.to_owned(), format!("{text}end {hash:016x}\n")] {
        if let Ok(checkpoint) = text.parse::<Checkpoint>() {
            assert_eq!(checkpoint.to_text(), text);
        }
    }
});
