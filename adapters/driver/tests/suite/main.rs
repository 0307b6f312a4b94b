//! The loop, the sources and the store, over a transport without sockets.

mod files;
mod inputs;
mod line;
mod loss;
mod resume;
mod store;
