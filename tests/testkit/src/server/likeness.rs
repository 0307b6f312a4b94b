//! What it takes to be like a server that people run. `tests/interop/model` compares each with the real one.

use super::{Extension, Options};
use crate::{Location, Quirk};

impl Options {
    /// As tusd 2.10.0 is without settings, as far as quirks go: where it is less strict than the
    /// protocol, this is not.
    #[must_use]
    pub fn like_tusd() -> Self {
        Self {
            extensions: vec![
                Extension::Creation,
                Extension::CreationWithUpload,
                Extension::Termination,
                Extension::Concatenation,
                Extension::CreationDeferLength,
            ],
            quirks: vec![
                Quirk::OptionsAnswers200,
                Quirk::Location(Location::Absolute),
                Quirk::LengthOnce,
                Quirk::IgnoresChecksum,
            ],
            ..Self::default()
        }
    }

    /// As @tus/server 2.4.5 with its file store is without settings; as strict as
    /// [the others](Self::like_tusd).
    #[must_use]
    pub fn like_tus_node() -> Self {
        Self {
            extensions: vec![
                Extension::Creation,
                Extension::CreationWithUpload,
                Extension::CreationDeferLength,
                Extension::Termination,
                Extension::Expiration,
            ],
            quirks: vec![
                Quirk::Location(Location::Absolute),
                Quirk::LengthOnce,
                Quirk::IgnoresOverride,
                Quirk::IgnoresChecksum,
            ],
            ..Self::default()
        }
    }

    /// As resumable-upload 0.3.0 is with all algorithms that it has; as strict as
    /// [the others](Self::like_tusd).
    #[must_use]
    pub fn like_resumable_upload() -> Self {
        let algorithms = ["sha1", "sha256", "sha512", "md5"];
        Self {
            checksum_algorithms: algorithms.map(str::to_owned).into(),
            quirks: vec![Quirk::CompleteIs403, Quirk::DeferredNeedsLength],
            ..Self::default()
        }
    }
}
