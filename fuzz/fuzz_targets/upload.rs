//! One upload, of known length or as a stream, told anything.

#![no_main]

mod story;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use tus_proto::Upload;

#[derive(Arbitrary, Debug)]
struct Told {
    length: Option<u64>,
    at_url: bool,
    settings: story::Settings,
    events: Vec<story::Event>,
}

fuzz_target!(|told: Told| {
    let config = told.settings.config();
    let upload = if told.at_url {
        Upload::append("https://example.org/files/a", told.length, &config)
    } else {
        Upload::create("https://example.org/files/", told.length, &config)
    };
    if let Ok(upload) = upload {
        story::tell(upload, told.length, &told.events);
    }
});
