use crate::simulation::{self, Choices, Own};

/// A correct server behind a faulty network, and every rule of a client: the choices of a run of the
/// [simulation](crate::simulation).
///
/// # Panics
///
/// Where a rule is broken, with the smallest run found that breaks it.
pub fn network(data: &[u8]) {
    if let Err(failed) = simulation::run(Choices::from_bytes(data)) {
        panic!("{}", simulation::shrink(&failed, &Own));
    }
}
