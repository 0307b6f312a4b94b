//! Which uploads a client makes, and makes anew: at most one for each part, unless it says that another
//! may be left behind, or the server says that the first is gone.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Response, StatusCode};
use tus_proto::Op;

use super::pace::passing;
use super::watch::{Broken, hold};

/// How often in a row something that may not be the tus server says 404 before it is believed.
const BELIEVED: u32 = 3;

/// What one process has made, and what it was told of it.
#[derive(Debug, Default)]
pub(super) struct Births {
    /// By what was saved, its time is over.
    lapsed: bool,
    /// How many creations of each lane were answered with success.
    made: BTreeMap<u32, u32>,
    /// Creations that may have been carried out, though no success came back.
    doubtful: u32,
    /// How many the client said that it may have left.
    orphaned: u32,
    /// How many it said that it makes anew.
    anew: u32,
    /// How often each upload was said to be gone, since it was last said to be there.
    missing: BTreeMap<String, u32>,
}

impl Births {
    /// A process begins. `lapsed`: by what it goes on from, the upload's time is over. `joining`: an earlier
    /// one was killed when the server was asked to join the parts.
    pub(super) fn new(lapsed: bool, joining: bool) -> Self {
        Self {
            lapsed,
            doubtful: u32::from(joining),
            ..Self::default()
        }
    }

    /// A creation begins. `alone`: there are no others.
    pub(super) fn begin(&self, lane: u32, alone: bool) -> Result<(), Broken> {
        let more = |made: &u32| made.saturating_sub(1);
        let before: u32 = self.made.values().map(more).sum();
        let another = u32::from(self.made.contains_key(&lane));
        hold(before + another <= self.anew, "I1", || {
            format!("lane {lane} makes another upload, and the first is there")
        })?;
        if alone { self.is_told() } else { Ok(()) }
    }

    /// Whether all that may have been left behind was said.
    pub(super) fn is_told(&self) -> Result<(), Broken> {
        hold(self.doubtful <= self.orphaned, "I1", || {
            format!(
                "{} creations may have been carried out, and it told of {}",
                self.doubtful, self.orphaned
            )
        })
    }

    /// A creation's answer came; or none.
    pub(super) fn ended(&mut self, lane: u32, status: Option<StatusCode>) {
        match status {
            Some(status) if status.is_success() => *self.made.entry(lane).or_default() += 1,
            status => self.joined(status),
        }
    }

    /// The answer came to a request that joins the parts; or none.
    pub(super) fn joined(&mut self, status: Option<StatusCode>) {
        let doubtful = status
            .is_none_or(|status| passing(status) && ![423, 425, 429].contains(&status.as_u16()));
        self.doubtful += u32::from(doubtful);
    }

    /// An answer to a request for an upload that is there.
    pub(super) fn answered(&mut self, op: Op, target: &str, response: &Response<Bytes>) {
        if !matches!(op, Op::Probe | Op::Append) {
            return;
        }
        let evidence = match response.status() {
            status if status.is_success() => {
                self.missing.remove(target);
                return;
            }
            StatusCode::GONE => BELIEVED,
            StatusCode::NOT_FOUND if response.headers().contains_key("tus-resumable") => BELIEVED,
            StatusCode::NOT_FOUND => 1,
            _ => return,
        };
        *self.missing.entry(target.to_owned()).or_default() += evidence;
    }

    /// Whether there is reason to believe that something is gone.
    pub(super) fn misses_any(&self) -> bool {
        self.missing.values().any(|said| *said >= BELIEVED)
    }

    /// The client may have left one behind.
    pub(super) fn orphaned(&mut self) {
        self.orphaned += 1;
    }

    /// The client makes one anew.
    pub(super) fn anew(&mut self, gone: &str) -> Result<(), Broken> {
        self.anew += 1;
        let said = self.missing.get(gone).copied().unwrap_or(0);
        hold(said >= BELIEVED || self.lapsed, "I1", || {
            format!("{gone} is made anew, and nobody said that it is gone")
        })
    }
}
