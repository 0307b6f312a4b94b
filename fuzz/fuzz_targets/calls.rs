//! The machines of one request, told anything.

#![no_main]

mod story;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use tus_proto::{Concatenate, Create, Discover, Inspect, Terminate};

#[derive(Arbitrary, Debug)]
enum Which {
    Discover,
    Inspect,
    Create(Option<u64>),
    Terminate,
    Concatenate,
}

#[derive(Arbitrary, Debug)]
struct Told {
    which: Which,
    settings: story::Settings,
    events: Vec<story::Event>,
}

fuzz_target!(|told: Told| {
    let config = told.settings.config();
    let (endpoint, url) = ("https://example.org/files/", "https://example.org/files/a");
    let events = &told.events;
    let nothing = Some(0);
    match told.which {
        Which::Discover => Discover::new(endpoint, &config)
            .map(|machine| story::tell(machine, nothing, events)),
        Which::Inspect => {
            Inspect::new(url, &config).map(|machine| story::tell(machine, nothing, events))
        }
        Which::Create(length) => Create::new(endpoint, length, &config)
            .map(|machine| story::tell(machine, nothing, events)),
        Which::Terminate => {
            Terminate::new(url, &config).map(|machine| story::tell(machine, nothing, events))
        }
        Which::Concatenate => Concatenate::new(endpoint, &[url, url], &config)
            .map(|machine| story::tell(machine, nothing, events)),
    }
    // What cannot be asked for is refused at once.
    .unwrap_or_default();
});
