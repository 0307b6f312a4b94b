//! The loop, the sources and the store, over a transport without sockets.

mod calls;
mod checksums;
mod files;
mod hooks;
mod inputs;
mod line;
mod loss;
mod parts;
mod resume;
mod store;
mod streams;
