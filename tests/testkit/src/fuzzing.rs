//! What a fuzzer tells the crate, and what must hold whatever it tells.
//!
//! Each [target](TARGETS) is a function of bytes that panics where something is wrong. A fuzzer gives it
//! bytes of its own making, and a test those that were found worth keeping. Where the input of a target is
//! text, it is taken as it is, so that an input can be read and written by hand:
//!
//! | target | its input |
//! |---|---|
//! | [`metadata`] | the value of an `Upload-Metadata` header; its lines, pairs to send |
//! | [`fields`] | the fields of an answer, a line each |
//! | [`dates`] | a date, and on a second line another |
//! | [`references`] | a base and, on a second line, a reference to be resolved against it |
//! | [`checkpoint`] | a checkpoint's text, with its seal or without |
//! | [`hostile`] | 32 bytes that choose a machine and its settings, then a script of answers |
//! | [`operations`] | bytes that choose a machine, and what it is told |
//! | [`network`] | the choices of one run of the [simulation](crate::simulation) |
//!
//! ```
//! for (name, body) in tus_testkit::fuzzing::TARGETS {
//!     println!("{name}");
//!     body(b"https://example.org/files/\n../a");
//! }
//! ```

mod ask;
mod checkpoint;
mod dates;
mod fields;
mod guard;
mod hostile;
mod metadata;
mod network;
mod operations;
mod references;
mod setup;

pub use checkpoint::checkpoint;
pub use dates::dates;
pub use fields::fields;
pub use hostile::hostile;
pub use metadata::metadata;
pub use network::network;
pub use operations::operations;
pub use references::references;

/// What is done with a fuzzer's bytes.
pub type Body = fn(&[u8]);

/// The targets, by name.
pub const TARGETS: [(&str, Body); 8] = [
    ("checkpoint", checkpoint),
    ("dates", dates),
    ("fields", fields),
    ("hostile", hostile),
    ("metadata", metadata),
    ("network", network),
    ("operations", operations),
    ("references", references),
];
