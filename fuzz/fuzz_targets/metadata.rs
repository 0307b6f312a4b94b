//! Any header is metadata that survives a round, or an error.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tus_proto::Metadata;

fuzz_target!(|header: &[u8]| {
    let Ok(read) = Metadata::decode(header) else {
        return;
    };
    let mut built = Metadata::new();
    for (key, value) in read.iter() {
        if built.insert(key, value.unwrap_or_default()).is_err() {
            // What a server says may be longer than what is sent to one.
            return;
        }
    }
    let again = match built.encode() {
        Some(header) => Metadata::decode(header.as_bytes()).expect("what was written is read"),
        None => Metadata::new(),
    };
    assert_eq!(read.len(), again.len());
    for (key, value) in read.iter() {
        assert_eq!(again.get(key), Some(value.unwrap_or_default()));
    }
});
