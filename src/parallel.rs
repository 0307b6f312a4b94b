//! Many uploads as one: parts, and the concatenation.
//!
//! Each part is a lane of its own, with its number as [`DutyId::lane`]; lane 0 is that of the whole.
//! What the parts need in common is here: which of them run, their checkpoint, credentials, pauses,
//! and the one end.

mod shared;
mod stages;
mod told;

use std::collections::VecDeque;

use http::Uri;

use self::shared::{Asking, Saving};
use self::stages::Stage;
use crate::checkpoint::{Ending, Kept, Pieces, Saved, Start};
use crate::config::MAX_PARTS;
use crate::joining::{self, Joining};
use crate::lane::{Lane, Phase, Story as _};
use crate::line::Line;
use crate::outage::Outage;
use crate::transfer::Transfer;
use crate::upload::{home, readmit};
use crate::{
    Cancel, Checkpoint, Config, DutyId, Error, Event, Extension, Input, Machine, Misuse, Op,
    Output, Place, Refusal, Tick, UploadUrl, Uploaded,
};

/// An upload in parts that are sent at the same time and then joined: a [`Machine`] that ends when
/// the server has made one upload of them
/// ([Concatenation](https://tus.io/protocols/resumable-upload#concatenation)).
///
/// [One source is split](Self::split), [several are joined](Self::join), or
/// [an earlier run's goes on](Self::resume). Several sources are one source for it, one after the
/// other: ranges and offsets are those of the whole. [`Config::parts`] says how it is cut and joined.
///
/// A part that fails for good ends the others, and the upload with its error. Whatever stays on the
/// server then can be gone on from.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Parallel {
    endpoint: UploadUrl,
    identity: Option<String>,
    settings: crate::Parts,
    parts: Vec<Part>,
    whole: Lane<Joining>,
    stage: Stage,
    joins: Joins,
    /// A part was completed by a request whose answer this run has not heard.
    observed: bool,
    /// There is nothing to go on from.
    forgotten: bool,
    /// An upload that nobody knows of may be left on the server.
    orphaned: bool,
    /// An upload was deleted, for the caller wants none.
    deleted: bool,
    outage: Outage,
    saving: Saving,
    asking: Asking,
    said: VecDeque<Output<Uploaded>>,
    /// How it ends, once that is decided.
    end: Option<Result<Uploaded, Error>>,
    cancel: Option<Cancel>,
    began: bool,
    now: Tick,
}

/// Whether the server was asked to join the parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Joins {
    No,
    /// It is, or was, and did not answer yet.
    Asked,
    /// It was, and nobody knows what became of that.
    InDoubt,
}

#[derive(Debug)]
struct Part {
    /// The offset of its first byte in the whole.
    base: u64,
    length: u64,
    lane: Lane<Transfer>,
    state: State,
    /// How many of its bytes the server has, by its last word.
    confirmed: u64,
    /// The most that it ever said of the upload that is there.
    highest: u64,
    /// How many the transport took.
    sent: u64,
    /// Where its last append went, which a redirect may have named.
    target: Option<UploadUrl>,
}

/// Where a part stands in the present stage. Only one that runs is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    Over,
}

impl Part {
    /// Where it is, once it is created.
    fn url(&self) -> Option<&Uri> {
        self.lane.story().uri()
    }
}

impl Parallel {
    /// Uploads a source of so many bytes in so many parts to this endpoint; in fewer, where they
    /// would be shorter than [`Parts::least`](crate::Parts::least).
    ///
    /// # Errors
    ///
    /// Where the endpoint or an option cannot be used, no part or too many are asked for, or the
    /// [server](Config::server) is known not to offer what this needs: concatenation, and termination,
    /// where the parts are to be [deleted](crate::Parts::discard).
    pub fn split(
        endpoint: &str,
        length: u64,
        parts: usize,
        config: &Config,
    ) -> Result<Self, Misuse> {
        if !(1..=MAX_PARTS).contains(&parts) {
            return Err(Misuse::Parts);
        }
        let lengths = config.parts.cut(length, parts);
        let lengths = lengths.unwrap_or_else(|| vec![length]);
        Self::join(endpoint, &lengths, config)
    }

    /// Uploads sources of these lengths to this endpoint, each as a part, and joins them in this
    /// order.
    ///
    /// # Errors
    ///
    /// Where the endpoint or an option cannot be used, there is no part or too many, or the
    /// [server](Config::server) is known not to offer what this needs: concatenation, and termination,
    /// where the parts are to be [deleted](crate::Parts::discard).
    pub fn join(endpoint: &str, lengths: &[u64], config: &Config) -> Result<Self, Misuse> {
        let pieces = Pieces {
            parts: lengths.iter().map(|length| (*length, None)).collect(),
            joining: false,
            whole: None,
        };
        check_offered(false, config)?;
        let all = Self::new(endpoint, pieces, None, true, config)?;
        config.fits(all.length())?;
        Ok(all)
    }

    /// Goes on from where an earlier run ended, with the parts of that run. `endpoint` is what it
    /// began with.
    ///
    /// Headers and credentials are this run's. Where the length or the
    /// [identity](Config::identity) are not the checkpoint's, the machine ends with
    /// [`Error::SourceChanged`] before any request; where a part is on an origin that this run
    /// [refuses](Config::foreign), with [`Error::Location`]. The checkpoint stays.
    ///
    /// # Errors
    ///
    /// Where the endpoint or an option cannot be used, the checkpoint is of an upload that began
    /// at another URL, or is not [in parts](Checkpoint::in_parts), or the
    /// [server](Config::server) is known not to offer what this needs: concatenation, unless the URLs of the
    /// whole and of all parts are known, and termination, where the parts are to be [deleted](crate::Parts::discard).
    pub fn resume(
        endpoint: &str,
        checkpoint: Checkpoint,
        length: u64,
        config: &Config,
    ) -> Result<Self, Misuse> {
        let (uri, _) = home(endpoint, config)?;
        if checkpoint.start != Start::Endpoint(uri) {
            return Err(Misuse::Checkpoint);
        }
        let same = checkpoint.length() == Some(length) && checkpoint.identity == config.identity;
        let kept = checkpoint.clone();
        let Kept::Parts(pieces) = checkpoint.kept else {
            return Err(Misuse::CheckpointKind);
        };
        check_offered(pieces.whole.is_some(), config)?;
        let mut all = Self::new(endpoint, pieces, Some(kept), same, config)?;
        if all.stage == Stage::Send {
            all.forsake_lost_whole();
        }
        Ok(all)
    }

    /// `saved`: the checkpoint that the driver has already; `same`: its source is the present one.
    fn new(
        endpoint: &str,
        pieces: Pieces,
        saved: Option<Checkpoint>,
        same: bool,
        config: &Config,
    ) -> Result<Self, Misuse> {
        let (start, credentials) = home(endpoint, config)?;
        config.check()?;
        if config.partial {
            return Err(Misuse::PartOfParts);
        }
        if !(1..=MAX_PARTS).contains(&pieces.parts.len()) {
            return Err(Misuse::Parts);
        }
        let mut part_config = config.clone();
        part_config.metadata = config.parts.metadata.clone();
        part_config.partial = true;
        part_config.identity = None;

        let is_refused = |saved: &Saved| matches!(saved.ending, Ending::Refused(..));
        let mut saved_parts = pieces.parts.iter().filter_map(|(_, saved)| saved.as_ref());
        let stands = saved_parts.any(is_refused);
        let mut length = 0_u64;
        let mut refused = None;
        let mut begun = Vec::with_capacity(pieces.parts.len());
        for (number, (part, saved)) in (1..).zip(pieces.parts) {
            let mut line = Line::of_lane(number, config, credentials.clone());
            let (mut transfer, refusal) = begin_part(&mut line, &start, saved, part, &part_config)?;
            transfer.note_joined(pieces.joining || pieces.whole.is_some());
            if let Some(refusal) = refusal {
                let place = transfer.place(&line, Op::Probe);
                refused.get_or_insert(Error::Location { place, refusal });
            }
            begun.push((length, part, line, transfer));
            length = length.checked_add(part).ok_or(Misuse::Parts)?;
        }
        let mut line = Line::new(config, credentials);
        let mut joining = Joining::new(start.clone(), length, config);
        if let Some(whole) = pieces.whole {
            let (url, refusal) = readmit(&mut line, &start, &whole);
            if let Some(refusal) = refusal {
                let place = joining.place(&line, joining::Step::Join);
                refused.get_or_insert(Error::Location { place, refusal });
            }
            joining.whole = Some(url);
        }
        if !same {
            let place = joining.place(&line, joining::Step::Look);
            refused = Some(Error::SourceChanged { place });
        }

        let parts = begun.into_iter().map(|(base, length, mut line, mut part)| {
            let saved = part.checkpoint();
            let first = match refused {
                Some(_) => Phase::Over(None),
                None => part.go_on(&mut line),
            };
            Part {
                base,
                length,
                lane: Lane::new(line, part, first, saved),
                state: State::Waiting,
                confirmed: 0,
                highest: 0,
                sent: 0,
                target: None,
            }
        });
        let early = config.parts.unfinished
            && config.offered(Extension::ConcatenationUnfinished) == Some(true);
        let (stage, first) = match &joining.whole {
            _ if refused.is_some() => (Stage::End, Phase::Over(None)),
            // What refused a part's last byte said more than the whole does (R8).
            Some(_) if stands => (Stage::Send, Phase::Over(None)),
            Some(_) => (Stage::Join, Phase::Ready(joining::Step::Glance)),
            None if early && !stands && !pieces.joining => (Stage::Create, Phase::Over(None)),
            None => (Stage::Send, Phase::Over(None)),
        };
        let observed = joining.whole.is_some();
        // The whole of an earlier run may be there.
        let orphan = pieces.joining && stage != Stage::End;
        let orphan = orphan.then_some(Output::Event(Event::Orphaned));
        Ok(Self {
            identity: match &saved {
                Some(saved) => saved.identity.clone(),
                None => config.identity.clone(),
            },
            endpoint: UploadUrl::from(start),
            settings: config.parts.clone(),
            parts: parts.collect(),
            whole: Lane::new(line, joining, first, None),
            stage,
            joins: if pieces.joining {
                Joins::InDoubt
            } else {
                Joins::No
            },
            observed,
            forgotten: false,
            orphaned: orphan.is_some(),
            deleted: false,
            outage: Outage::new(config.retry.attempts),
            saving: Saving::new(saved),
            asking: Asking::default(),
            said: orphan.into_iter().collect(),
            end: refused.map(Err),
            cancel: None,
            began: false,
            now: Tick::default(),
        })
    }

    /// The length of the whole, in bytes.
    fn length(&self) -> u64 {
        self.parts.last().map_or(0, |part| part.base + part.length)
    }

    fn place(&self, op: Op) -> Box<Place> {
        Box::new(Place {
            op,
            url: self.endpoint.clone(),
            attempts: 0,
            resumable: false,
        })
    }

    /// The policy's deadline is that of the whole, and counts from now.
    fn begin_time(&mut self) {
        self.began = true;
        for part in &mut self.parts {
            part.lane.line_mut().advance(self.now);
        }
        self.whole.line_mut().advance(self.now);
    }

    fn hand_on(&mut self, id: DutyId, input: Input) {
        match part_of(id) {
            None => self.whole.handle(self.now, input),
            Some(at) => {
                if let Some(part) = self.parts.get_mut(at) {
                    part.lane.handle(self.now, input);
                }
            }
        }
    }
}

/// Which part a duty is for; `None`: for the whole.
fn part_of(id: DutyId) -> Option<usize> {
    (id.lane as usize).checked_sub(1)
}

/// Whether the server may be asked for all that is to come; `whole`: where that is, is known.
fn check_offered(whole: bool, config: &Config) -> Result<(), Misuse> {
    if !whole {
        config.needs(Extension::Concatenation)?;
    }
    if config.parts.discard {
        config.needs(Extension::Termination)?;
    }
    Ok(())
}

/// A part, where it was left or from the beginning, and why it may not be gone on with.
fn begin_part(
    line: &mut Line,
    start: &Uri,
    saved: Option<Saved>,
    length: u64,
    config: &Config,
) -> Result<(Transfer, Option<Refusal>), Misuse> {
    if config.stream {
        return Err(Misuse::Uncuttable("its source is read as it comes"));
    }
    let start_at = Start::Endpoint(start.clone());
    let Some(saved) = saved else {
        let transfer = Transfer::new(start_at, Some(length), config)?;
        return Ok((transfer.into_part(), None));
    };
    let (url, refusal) = readmit(line, start, &saved.url);
    let transfer = Transfer::resume(start_at, None, saved, url, Some(length), config)?;
    Ok((transfer.into_part(), refusal))
}

impl Machine for Parallel {
    type Success = Uploaded;

    fn poll(&mut self, now: Tick) -> Output<Uploaded> {
        self.now = self.now.max(now);
        if !self.began {
            self.begin_time();
            self.check_list();
        }
        loop {
            if let Some(output) = self.said.pop_front() {
                return output;
            }
            if self.stage == Stage::Over {
                return Output::Wait(None);
            }
            if let Some(wait) = self.step() {
                return wait;
            }
        }
    }

    fn handle(&mut self, now: Tick, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Answer(id, answer) => self.answer(id, answer),
            Input::Sent(id, _) | Input::Interim(id, _) => self.hand_on(id, input),
            Input::Cancel(how) => self.cancel(how),
        }
    }

    fn checkpoint(&self) -> Option<Checkpoint> {
        Some(Checkpoint {
            start: Start::Endpoint(self.endpoint.as_uri().clone()),
            identity: self.identity.clone(),
            kept: Kept::Parts(self.pieces()?),
        })
    }
}
