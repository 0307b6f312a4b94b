//! What the parts have in common: one checkpoint, and credentials.

use std::collections::BTreeMap;
use std::mem;

use http::Uri;

use super::stages::Stage;
use super::{Joins, Parallel, Part, State, part_of};
use crate::checkpoint::{Pieces, Saved};
use crate::lane::failure;
use crate::wire::request::concatenation_list;
use crate::{
    Answer, Cancel, Checkpoint, Duty, DutyId, Error, Event, Input, Machine as _, Op, Origin, Output,
};

/// A checkpoint holds the URLs of the parts, and is not to outgrow what can be read again.
const MOST_URLS: usize = 512 * 1024;

/// The one checkpoint of all.
#[derive(Debug)]
pub(super) struct Saving {
    /// The checkpoint that the driver keeps, or was last given to keep.
    kept: Option<Checkpoint>,
    /// It could not be saved, or is not yet, so nobody knows what is kept.
    unsaved: bool,
    /// It may not be what is true any more.
    pub(super) changed: bool,
    /// The save that is out, and who waits for it.
    out: Option<(DutyId, Vec<DutyId>)>,
    /// Who waits for the next one.
    waiting: Vec<DutyId>,
}

impl Saving {
    /// `kept`: what the driver has already.
    pub(super) fn new(kept: Option<Checkpoint>) -> Self {
        Self {
            kept,
            unsaved: false,
            changed: false,
            out: None,
            waiting: Vec::new(),
        }
    }

    /// Takes who waits for this save, if it is the one that is out.
    fn take(&mut self, id: DutyId) -> Option<Vec<DutyId>> {
        let (_, waiting) = self.out.take_if(|(out, _)| *out == id)?;
        Some(waiting)
    }

    /// Whether something is being saved, or will be.
    pub(super) fn is_due(&self) -> bool {
        self.out.is_some() || self.is_wanted()
    }

    fn is_wanted(&self) -> bool {
        self.changed || !self.waiting.is_empty()
    }

    /// Whether a later run can go on from what is kept.
    pub(super) fn is_kept(&self) -> bool {
        self.kept.is_some() && !self.unsaved
    }

    /// Nobody waits for the save that is out any more, whatever comes of it.
    pub(super) fn withdraw(&mut self) {
        self.out = None;
    }
}

/// Questions for credentials.
#[derive(Debug, Default)]
pub(super) struct Asking {
    out: Vec<Question>,
    /// How many exchanges there were when these origins' were last obtained.
    obtained: BTreeMap<Origin, u64>,
}

#[derive(Debug)]
struct Question {
    id: DutyId,
    origin: Origin,
    /// Who else waits for the answer.
    waiting: Vec<DutyId>,
}

impl Asking {
    /// Takes this question, if it is out.
    fn take(&mut self, id: DutyId) -> Option<Question> {
        let at = self.out.iter().position(|question| question.id == id)?;
        Some(self.out.remove(at))
    }

    /// Nobody asks any more.
    pub(super) fn forget(&mut self) {
        self.out.clear();
    }

    /// This lane does not ask any more. Who waits for its answer has ended as well: a question is
    /// stopped by a deadline or a cancel, and those are for all.
    pub(super) fn withdraw(&mut self, id: DutyId) {
        self.out.retain_mut(|question| {
            question.waiting.retain(|waiting| *waiting != id);
            question.id != id
        });
    }
}

impl Parallel {
    pub(super) fn pieces(&self) -> Option<Pieces> {
        let exists = self.parts.iter().any(|part| part.url().is_some());
        (exists && !self.forgotten).then(|| Pieces {
            parts: self
                .parts
                .iter()
                .map(|part| {
                    let saved = part.lane.story().saved();
                    // Known here, whatever the server was told.
                    let length = Some(part.length);
                    (part.length, saved.map(|saved| Saved { length, ..saved }))
                })
                .collect(),
            joining: self.joins != Joins::No,
            whole: (self.whole.story().whole.as_ref()).map(|url| url.as_uri().clone()),
        })
    }

    /// This part's state has changed, and it waits until that is durable.
    pub(super) fn await_save(&mut self, id: DutyId) {
        self.saving.waiting.push(id);
        if let Some(part) = part_of(id).and_then(|at| self.parts.get_mut(at))
            && self.stage == Stage::Create
            && part.url().is_some()
            && !part.lane.is_ending()
        {
            // It is created, and goes on when all are.
            part.state = State::Waiting;
        }
        self.check_list();
    }

    /// Gives the driver what must be durable before anything that depends on it is sent. One at a
    /// time, each with all that is known, so that their order cannot matter.
    pub(super) fn save(&mut self) -> bool {
        let may = self.saving.out.is_none() && self.cancel != Some(Cancel::Now);
        if !may || !self.saving.is_wanted() {
            return false;
        }
        let wanted = self.checkpoint();
        let saving = &mut self.saving;
        saving.changed = false;
        let waiting = mem::take(&mut saving.waiting);
        if saving.kept == wanted && !saving.unsaved {
            self.release(waiting);
            return true;
        }
        saving.kept.clone_from(&wanted);
        saving.unsaved = true;
        let id = self.whole.line_mut().next_id();
        self.saving.out = Some((id, waiting));
        self.said.push_back(Output::Begin(id, Duty::Save(wanted)));
        true
    }

    /// What is the whole's own, or is asked once for all parts, is answered here.
    pub(super) fn answer(&mut self, id: DutyId, answer: Answer) {
        if let Some(waiting) = self.saving.take(id) {
            self.saved(waiting, answer);
        } else if let Some(question) = self.asking.take(id) {
            self.authorized(question, answer);
        } else {
            self.hand_on(id, Input::Answer(id, answer));
        }
    }

    fn saved(&mut self, waiting: Vec<DutyId>, answer: Answer) {
        if matches!(answer, Answer::Saved) {
            self.saving.unsaved = false;
        } else {
            let failure = failure(answer);
            self.tell(Event::CheckpointFailed { failure });
        }
        self.release(waiting);
    }

    /// These need not wait any more.
    fn release(&mut self, waiting: Vec<DutyId>) {
        for id in waiting {
            self.hand_on(id, Input::Answer(id, Answer::Saved));
        }
    }

    /// Asks for credentials for this URL's origin; `false`: it is asked already, or need not be.
    pub(super) fn ask(&mut self, id: DutyId, uri: &Uri) -> bool {
        let Ok(origin) = Origin::of(uri) else {
            return true;
        };
        let obtained = self.asking.obtained.get(&origin);
        if obtained.is_some_and(|then| self.outage.last(id.lane) <= *then) {
            // They came when its request was out, without them.
            let none_but_those = Answer::Credentials(Some(http::HeaderMap::new()));
            self.hand_on(id, Input::Answer(id, none_but_those));
            return false;
        }
        let mut questions = self.asking.out.iter_mut();
        if let Some(question) = questions.find(|question| question.origin == origin) {
            question.waiting.push(id);
            return false;
        }
        self.tell(Event::Authorizing {
            origin: origin.clone(),
        });
        self.asking.out.push(Question {
            id,
            origin,
            waiting: Vec::new(),
        });
        true
    }

    /// What was obtained for one lane holds for all.
    fn authorized(&mut self, question: Question, answer: Answer) {
        let Question {
            id,
            origin,
            waiting,
        } = question;
        let fresh = match answer {
            Answer::Credentials(fresh) => fresh,
            _ => None,
        };
        if let Some(fresh) = &fresh {
            let lines = self.parts.iter_mut().map(|part| part.lane.line_mut());
            for line in lines.chain([self.whole.line_mut()]) {
                line.renew_credentials(origin.clone(), fresh.clone());
            }
            self.asking.obtained.insert(origin, self.outage.exchanges());
        }
        for id in waiting.into_iter().chain([id]) {
            let fresh = Answer::Credentials(fresh.clone());
            self.hand_on(id, Input::Answer(id, fresh));
        }
    }

    /// The list of all parts is too long to be sent, as far as it is known.
    pub(super) fn check_list(&mut self) {
        if self.end.is_some() {
            return;
        }
        let home = self.settings.relative.then_some(self.endpoint.as_uri());
        let name = concatenation_list([].into_iter(), home).len();
        let (mut known, mut list, mut urls) = (0, name, 0);
        let mut longest = (0, 0);
        for url in self.parts.iter().filter_map(Part::url) {
            let listed = concatenation_list([url].into_iter(), home).len() - name;
            let whole = url.to_string().len();
            known += 1;
            (list, urls) = (list + listed, urls + whole);
            longest = (longest.0.max(listed), longest.1.max(whole));
        }
        let unknown = self.parts.len() - known;
        (list, urls) = (list + unknown * longest.0, urls + unknown * longest.1);
        // Where the whole is known, it is not sent again.
        let sent = self.whole.story().whole.is_some();
        let limit = if sent {
            usize::MAX
        } else {
            self.settings.list_limit
        };
        let (length, limit) = if list > limit {
            (list, limit)
        } else {
            (urls, MOST_URLS)
        };
        if known == 0 || length <= limit {
            return;
        }
        if self.saving.kept.is_none() {
            // The first part. Nothing was sent, and nothing is lost if it is forgotten.
            self.forgotten = true;
            self.tell(Event::Orphaned);
        }
        let place = self.place(Op::Concatenate);
        self.end_with(Err(Error::PartList {
            place,
            length: length as u64,
            limit: limit as u64,
        }));
    }
}
