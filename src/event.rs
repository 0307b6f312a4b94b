//! What a person may want to know while an upload goes on.

use std::time::Duration;

use crate::wire::date::Date;
use crate::{Cause, Failure, Op, Origin, UploadUrl};

/// Something that happened.
///
/// Events are for people: whatever a driver must do comes as another output. None holds a
/// credential or the query of an upload's URL. Offsets are those of the whole source; where it is
/// uploaded in parts, [`Sent`](Self::Sent), [`Confirmed`](Self::Confirmed) and
/// [`Rewound`](Self::Rewound) say how many of its bytes that is in all.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The server made an upload.
    Created {
        /// Where.
        url: UploadUrl,
    },
    /// A request with these bytes of the source is about to go out.
    Appending {
        /// The first byte's offset.
        from: u64,
        /// The offset after the last byte.
        to: u64,
    },
    /// The transport took the bytes before this offset. A hope, for display: the server may yet
    /// lose them.
    Sent {
        /// The offset after the last byte taken.
        offset: u64,
    },
    /// The server has the bytes before this offset. A fact.
    Confirmed {
        /// The server's offset.
        offset: u64,
        /// The length of the whole, where it is known.
        length: Option<u64>,
    },
    /// An attempt failed and there will be another.
    Retrying {
        /// What failed.
        op: Op,
        /// Why.
        cause: Cause,
        /// Which failed attempt since the last progress it was: 1 for the first.
        attempt: u32,
        /// How long until the next request.
        after: Duration,
    },
    /// The server has fewer bytes than it had confirmed; they are sent again.
    Rewound {
        /// What it had confirmed.
        from: u64,
        /// What it has now.
        to: u64,
    },
    /// The upload is no longer on the server and is made anew, from the first byte.
    Recreating {
        /// The upload that is gone.
        gone: UploadUrl,
    },
    /// The answer to a creation, or to the request that joins the parts, was lost, or what it named is
    /// of no use: an upload that nobody knows of may be left on the server.
    Orphaned,
    /// All parts are complete and the server is asked to join them; or they are created, and it is
    /// asked [before they are complete](crate::Parts::unfinished).
    Joining {
        /// How many there are.
        parts: usize,
    },
    /// The parts are joined, but this one could not be deleted as was wished; it stays on the server.
    PartLeft {
        /// Where.
        url: UploadUrl,
    },
    /// The request goes on to where the server says.
    Redirected {
        /// What is redirected.
        op: Op,
        /// To where.
        to: UploadUrl,
    },
    /// The upload is on another origin than the caller's own, and so the file goes there.
    Foreign {
        /// That origin.
        origin: Origin,
    },
    /// The server named an `http` URL where `https` was asked; the caller's own scheme is kept.
    Upgraded {
        /// The URL that is used.
        url: UploadUrl,
    },
    /// Requests are made smaller.
    Shrunk {
        /// Their size from now on, in bytes.
        to: u64,
    },
    /// When the server will drop the unfinished upload.
    Expires {
        /// That moment, by the server's clock.
        at: Date,
    },
    /// Fresh credentials are asked for.
    Authorizing {
        /// The origin that they are for.
        origin: Origin,
    },
    /// The checkpoint could not be saved. The upload goes on, and could not be resumed.
    CheckpointFailed {
        /// Why.
        failure: Failure,
    },
}
