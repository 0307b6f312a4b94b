//! The suite is what others are tested with; this is what it is tested with: a stack that conforms, over
//! each carrier, and many that do not.

#[path = "conformance/faulty.rs"]
mod faulty;
#[path = "conformance/plain.rs"]
mod plain;
