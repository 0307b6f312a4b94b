//! The loop, the sources and the store, over a transport without sockets.

mod async_sources;
mod calls;
mod checksums;
mod files;
mod futures;
mod hooks;
mod inputs;
mod line;
mod loss;
mod parts;
mod resume;
mod secrets;
mod store;
mod streams;
mod wire;
