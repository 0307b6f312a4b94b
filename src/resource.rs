//! What is known of an upload on the server, and what each exchange says of it.

use std::time::Duration;

use http::HeaderMap;

use crate::checkpoint::Ending;
use crate::line::Flight;
use crate::verdict::Fate;
use crate::wire::date::Date;
use crate::wire::response;
use crate::{Conflict, Tick, UploadUrl};

/// So many 404s, over so long, are believed even without a tus server's signature.
const MISSING_TIMES: u32 = 3;
const MISSING_OVER: Duration = Duration::from_secs(30);

/// What is known of the upload on the server.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and they come in any combination"
)]
pub(crate) struct Resource {
    pub(crate) url: UploadUrl,
    /// How many bytes it is to have; `None`: the source has not ended yet.
    pub(crate) length: Option<u64>,
    /// A tus server was heard at this URL, or in the answer that named it.
    pub(crate) spoke: bool,
    /// A HEAD, or an append, was answered as it should be.
    pub(crate) probed: bool,
    pub(crate) appended: bool,
    /// The server's last word on how much it has.
    pub(crate) offset: u64,
    /// The most that it ever said.
    pub(crate) highest: u64,
    /// What this run's requests can have brought it to; `None`: earlier runs may have sent more.
    pub(crate) reach: Option<u64>,
    /// A request of this run, or of an earlier one, that may still arrive can complete it.
    pub(crate) ghost: bool,
    /// A request that would have completed it ended unanswered, and may still arrive; of earlier runs'
    /// requests the last one alone is known.
    pub(crate) late: bool,
    pub(crate) expires: Option<Date>,
    pub(crate) ending: Ending,
    pub(crate) absence: Absence,
}

/// 404s in a row that no tus server signed: how often, and since when.
#[derive(Debug, Default)]
pub(crate) struct Absence(Option<(u32, Tick)>);

impl Absence {
    /// Another one. So many, over so long, are believed.
    pub(crate) fn is_believed(&mut self, now: Tick) -> bool {
        let (times, since) = self.0.unwrap_or((0, now));
        self.0 = Some((times + 1, since));
        times + 1 >= MISSING_TIMES && now - since >= MISSING_OVER
    }
}

impl Resource {
    /// An upload that earlier runs, or others, may have written to.
    pub(crate) fn at(url: UploadUrl, length: Option<u64>) -> Self {
        Self {
            url,
            length,
            spoke: false,
            probed: false,
            appended: false,
            offset: 0,
            highest: 0,
            reach: None,
            ghost: true,
            late: false,
            expires: None,
            ending: Ending::Open,
            absence: Absence::default(),
        }
    }

    /// Whether what the server says of the upload can be, by rule R3 and the length.
    pub(crate) fn contradiction(&self, headers: &HeaderMap, offset: u64) -> Option<Conflict> {
        let server = response::length(headers);
        if let (Some(server), Some(source_length)) = (server, self.length)
            && server != source_length
        {
            return Some(Conflict::Length {
                server,
                source_length,
            });
        }
        let bounds = [self.reach, self.length, server];
        let reach = bounds.into_iter().flatten().min()?;
        (offset > reach).then_some(Conflict::Offset {
            server: offset,
            reach,
        })
    }

    /// Takes the server's word for how much it has.
    pub(crate) fn confirm(&mut self, offset: u64) -> Confirmed {
        let confirmed = Confirmed {
            gained: offset.saturating_sub(self.highest),
            rewound: (offset < self.offset).then_some(self.offset),
        };
        self.offset = offset;
        self.highest = self.highest.max(offset);
        self.spoke = true;
        if let Some(length) = self.length {
            self.note_end(length);
        }
        confirmed
    }

    /// What the length says of the upload's completion, by the server's last word.
    pub(crate) fn note_end(&mut self, length: u64) {
        if self.offset < length {
            // Whatever became of the request that would have completed it, it did not.
            self.ending = Ending::Open;
        }
    }

    /// What the end of an append says of what may still arrive of it.
    pub(crate) fn note_ghost(&mut self, flight: &Flight, fate: Fate, stopped: bool) {
        let reach = flight.reach(stopped);
        if let Some(before) = &mut self.reach {
            *before = (*before).max(reach);
        }
        match fate {
            Fate::Acknowledged => self.late = false,
            Fate::Unanswered => {
                self.late |= Some(flight.body.end) == self.length && flight.handed_over();
            }
            Fate::Unprocessed | Fate::Refused => (),
        }
        match fate {
            Fate::Unprocessed => (),
            Fate::Unanswered => self.ghost |= self.length.is_some_and(|length| reach >= length),
            Fate::Acknowledged | Fate::Refused => self.ghost = false,
        }
    }

    /// What the end of an append says of the upload's completion.
    pub(crate) fn note_ending(&mut self, flight: &Flight, ending: Ending) {
        if Some(flight.body.end) == self.length && flight.handed_over() {
            self.ending = ending;
        }
    }

    /// The end of an append that nobody answered.
    pub(crate) fn note_silence(&mut self, flight: &Flight, stopped: bool) {
        self.note_ghost(flight, Fate::Unanswered, stopped);
        self.note_ending(flight, Ending::Unsettled);
    }

    /// Whether it may have been completed, and moved away, by the time that it is gone.
    /// `now`: the time by the server's clock, or by the caller's.
    pub(crate) fn may_be_complete(&self, now: Option<Date>) -> bool {
        // What is complete does not expire.
        let open = self.ending == Ending::Unsettled || self.late;
        self.ending == Ending::Acknowledged || open && !self.expired(now)
    }

    /// Whether the server has dropped it by now, if it was not complete.
    pub(crate) fn expired(&self, now: Option<Date>) -> bool {
        matches!((self.expires, now), (Some(expires), Some(now)) if expires < now)
    }
}

/// What a word of the server's changed.
#[derive(Debug, Default)]
pub(crate) struct Confirmed {
    /// Bytes that the server never had before.
    pub(crate) gained: u64,
    /// It has fewer than it had said, which was this.
    pub(crate) rewound: Option<u64>,
}
