//! Bytes to meaning and back, without state: the one place that knows header names, media types
//! and the syntax of their values.
//!
//! Reading is total: whatever the peer sent becomes a value, "malformed" or an error, never a panic,
//! and never an allocation out of proportion to what was sent.

pub(crate) mod date;
pub(crate) mod field;
pub(crate) mod integer;
pub(crate) mod metadata;
pub(crate) mod name;
pub(crate) mod reference;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod words;
