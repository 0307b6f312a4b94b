//! The `tus` command as its users have it: the built binary, against servers on loopback ports.

mod bad_input;
mod demo;
mod info;
mod interrupted;
mod secure;
mod support;
mod upload;
