//! The core's tests: one file per request, and one per theme.
//!
//! Numbers such as "C4" or "§4, 6" are those of the project's protocol notes, which are not kept here.

#![allow(
    unreachable_pub,
    reason = "one binary, whose modules are for each other"
)]

mod append;
mod calls;
mod cancel;
mod checksum;
mod corpus;
mod create;
mod endings;
mod expiry;
mod joining;
mod options;
mod parallel;
mod probe;
mod redirects;
mod resume;
mod scenario;
mod security;
mod several;
mod simulation;
mod states;
mod stream;
mod time;
mod with_creation;
mod words;

// R10: what a driver hands from thread to thread.
const _: () = {
    const fn sent<T: Send + 'static>() {}
    sent::<tus_proto::Upload>();
    sent::<tus_proto::Inspect>();
    sent::<tus_proto::Parallel>();
    sent::<tus_proto::Error>();
    sent::<tus_proto::Checkpoint>();
    sent::<tus_proto::Output<tus_proto::Uploaded>>();
    sent::<tus_proto::Input>();
};
