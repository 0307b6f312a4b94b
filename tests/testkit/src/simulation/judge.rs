//! What a run's end is worth: which files are on the server, and whether an error had a reason.

use std::time::Duration;

use http::StatusCode;
use tus_proto::{Cancel, Error, Foreign, Limit, Op, UploadUrl, Uploaded};

use super::pace::passing;
use super::watch::{Broken, hold};
use super::world::World;
use super::{Kind, Sort};
use crate::{Location, Quirk, Upload, location};

/// How an upload ended, over all its processes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum End {
    /// It is on the server.
    Uploaded(Uploaded),
    /// It could not be, and there was a reason.
    Failed(Error),
    /// The user had it deleted.
    Terminated,
}

/// How much longer than it was asked to a client may wait.
const JITTER: Duration = Duration::from_secs(5);
/// How many processes are begun where nothing goes wrong in them but the server's answer.
const PATIENCE: u32 = 20;

impl World<'_> {
    /// What becomes of a process's end: the end of all, or another process.
    pub(super) fn judge(
        &mut self,
        result: Result<Uploaded, Error>,
        asked: Option<Cancel>,
        doomed: &[String],
    ) -> Result<Option<End>, Broken> {
        let error = match result {
            Ok(done) => return Ok(Some(End::Uploaded(done))),
            Err(error) => error,
        };
        if let Error::Cancelled { terminated, .. } = &error {
            hold(asked.is_some(), "I11", || {
                format!("nobody cancelled: {error:?}")
            })?;
            if *terminated {
                let now = self.wall_clock();
                let there = |url: &&String| {
                    let upload = self.server.upload(url);
                    upload.is_some_and(|upload| upload.expires().is_none_or(|at| at > now))
                };
                let left = doomed.iter().find(there);
                hold(left.is_none() || self.misled, "I11", || {
                    format!("it is still there: {left:?}")
                })?;
                return Ok(Some(End::Terminated));
            }
            return Ok(None);
        }
        hold(self.is_excused(&error), "I1", || {
            format!("without a reason: {error}: {error:?}")
        })?;
        self.tally.count(name(&error));
        let other = matches!(
            error,
            Error::SourceChanged { .. }
                | Error::Conflict { .. }
                | Error::Source { .. }
                | Error::Rejected { .. }
        );
        if other && self.former.is_some() {
            self.settle_source();
            return Ok(None);
        }
        // Where something went wrong in this process, somebody tries again.
        let hope = match &error {
            Error::Unfinished { .. } | Error::CompletionUnknown { .. } => false,
            Error::Exhausted { .. } if self.patient && !self.jumped => false,
            Error::Exhausted { .. } => !self.quirk(|quirk| *quirk == Quirk::RefusesCompletion(500)),
            _ => {
                !self.here.is_empty()
                    || !self.patient
                    || self.jumped
                    || asked.is_some()
                    // Trouble may be yet to come, but nobody asks for ever who is refused each time.
                    || self.incidents_left > 0 && self.process < PATIENCE
            }
        };
        let again = error.resumable() && self.saved.is_some() && hope;
        Ok((!again).then_some(End::Failed(error)))
    }

    /// Whether the source is not what it was at the beginning, or was not once.
    fn has_changed(&self) -> bool {
        self.sources.len() > 1
    }

    fn quirk(&self, is: impl Fn(&Quirk) -> bool) -> bool {
        self.server.quirks().iter().any(is)
    }

    fn happened_ever(&self, sorts: &[Sort]) -> bool {
        sorts.iter().any(|sort| self.ever.contains(sort))
    }

    /// Whether something has happened, or the server is such, that a client may end so.
    fn is_excused(&self, error: &Error) -> bool {
        use Sort::{Hopeless, Intercepted, Redirected, SourceFails, Stranger, Vanished};
        let ever = |sorts: &[Sort]| self.happened_ever(sorts);
        let retry = &self.plan.config.retry;
        let (age, fruitless) = self.watch.pace();
        match error {
            Error::Rejected { place, status, .. } => {
                // To a server that does not say the length, a stream that has grown goes beyond it.
                let beyond = self.has_changed() && [400, 413].contains(&status.as_u16());
                (beyond || self.statuses.contains(status))
                    && self.watch.heard(place.op, *status)
                    && is_final(place.op, *status)
            }
            Error::Protocol { .. } => ever(&[Intercepted, Redirected]),
            Error::Location { .. } => ever(&[Redirected]) || self.leads_astray(),
            Error::Conflict { .. } => {
                let shared = self.quirk(|quirk| *quirk == Quirk::FinalAtPart);
                shared || ever(&[Stranger]) || self.has_changed()
            }
            Error::PartList { .. } => self.plan.config.parts.list_limit < 1_000,
            Error::Gone { .. } | Error::CompletionUnknown { .. } => {
                let reason = ever(&[Vanished, Intercepted])
                    || self.quirk(|quirk| *quirk == Quirk::MovesCompleted)
                    || self.asked_to_delete
                    || self.plan.server.expires_after.is_some()
                    || self.lost_a_save && self.plan.config.parts.discard
                    || self.quirk(|quirk| matches!(quirk, Quirk::LosesPart(_)));
                reason && self.watch.misses_any()
            }
            Error::Unfinished { status, .. } => {
                // A 404 or 410 of a server that drops uploads may be faster than the end of one.
                let drops = self.plan.server.expires_after.is_some() || ever(&[Vanished]);
                self.statuses.contains(status)
                    || [500, 460, 417].contains(&status.as_u16())
                    || drops && [404, 410].contains(&status.as_u16())
            }
            Error::Exhausted {
                place,
                limit,
                cause,
            } => match limit {
                Limit::Veto => {
                    let veto = self.plan.veto.zip(cause.as_deref());
                    veto.is_some_and(|(veto, cause)| veto.says(place.op, cause))
                }
                Limit::Attempts => fruitless > self.attempts,
                // It begins with the first failure.
                Limit::NoProgress => retry.no_progress.is_some_and(|limit| age >= limit),
                // No wait goes beyond it.
                Limit::Deadline => retry.deadline.is_some_and(|limit| {
                    age + retry.max.max(retry.max_retry_after + JITTER) >= limit
                }),
                _ => false,
            },
            Error::ComeBackAt { .. } => {
                let most = retry.max_retry_after;
                let most = retry.deadline.map_or(most, |deadline| most.min(deadline));
                self.longest_wait > most || retry.deadline.is_some()
            }
            Error::Hopeless { .. } => self.here.contains(&Hopeless),
            Error::Source { .. } => self.here.contains(&SourceFails) || self.has_changed(),
            Error::SourceChanged { .. } => {
                self.here.contains(&SourceFails) || ever(&[Stranger]) || self.has_changed()
            }
            Error::Unrepeatable { .. } => {
                self.plan.is_streamed() && ever(&[Vanished, Sort::Crashed, Sort::Stale])
            }
            _ => false,
        }
    }

    /// Whether the server's Locations lead where this client must not go.
    fn leads_astray(&self) -> bool {
        let secure = self.plan.endpoint.starts_with("https");
        let refuses = self.plan.config.foreign == Foreign::Refuse;
        self.quirk(|quirk| match quirk {
            Quirk::Location(Location::Template(text)) => {
                refuses || text.contains('@') || secure && text.starts_with("http:")
            }
            Quirk::Location(Location::Http) => secure,
            _ => false,
        })
    }

    /// I1: no complete upload holds anything but the source, or its part of it.
    pub(super) fn check_end(&mut self, end: &End) -> Result<(), Broken> {
        self.tally.end(end);
        self.tally.count(self.plan.kind.name());
        let strange = |upload: &Upload| {
            let written = self.strange.contains(&upload.key);
            // It was joined of such a part, perhaps.
            let joined = !upload.is_partial() && self.plan.kind == Kind::Parts;
            written || joined && !self.strange.is_empty()
        };
        for upload in self.everything().filter(|upload| upload.is_complete()) {
            let right = strange(upload) || self.is_right(upload);
            hold(right, "I1", || {
                format!("a wrong file at {}", upload.target())
            })?;
        }
        for upload in self.everything() {
            let given = self.given.as_deref() == Some(upload.target());
            let part = upload.is_partial() && self.plan.kind == Kind::Parts;
            let config = &self.plan.config;
            let metadata = if part {
                &config.parts.metadata
            } else {
                &config.metadata
            };
            let metadata = metadata.encode();
            let wanted = metadata.as_ref().and_then(|value| value.to_str().ok());
            hold(given || upload.metadata() == wanted, "option", || {
                format!("metadata: {:?}, not {wanted:?}", upload.metadata())
            })?;
        }
        match end {
            End::Uploaded(done) => {
                let found = self.found(&done.url);
                let length = self.source.len() as u64;
                let right = |upload: &Upload| {
                    let same = upload.content() == self.source.as_ref();
                    strange(upload) || upload.is_complete() && same
                };
                // A deletion that an earlier process gave up may have come since.
                let deleted = found.is_none() && self.asked_to_delete;
                hold(found.is_some_and(right) || deleted, "I1", || {
                    format!("a success, and {} is not the source", done.url)
                })?;
                hold(done.length == length, "I1", || {
                    format!("{} bytes", done.length)
                })?;
                let kept = self.saved.is_some() && !self.lost_a_save;
                hold(!kept, "I9", || "a success, and the checkpoint stays".into())
            }
            End::Failed(Error::Unfinished { place, .. }) => {
                let there = self.found(&place.url).is_some_and(Upload::is_complete);
                let gone = self.happened_ever(&[Sort::Vanished, Sort::Stranger])
                    || self.asked_to_delete
                    || self.quirk(|quirk| *quirk == Quirk::MovesCompleted);
                hold(there || gone, "R8", || {
                    "unfinished, and not all bytes are there".into()
                })
            }
            End::Failed(_) | End::Terminated => Ok(()),
        }
    }

    fn everything(&self) -> impl Iterator<Item = &Upload> {
        self.server.uploads().chain(self.server.moved())
    }

    fn found(&self, url: &UploadUrl) -> Option<&Upload> {
        let target = location::key(location::target(url.as_uri()));
        self.everything().find(|upload| upload.key == target)
    }

    fn is_right(&self, upload: &Upload) -> bool {
        let content = upload.content();
        let whole = !upload.is_partial();
        self.sources.iter().any(|(source, lengths)| {
            let mut base = 0;
            let mut parts = lengths.iter().map(|length| {
                let part = base..base + super::world::index(*length);
                base = part.end;
                part
            });
            whole && content == source.as_ref()
                || !whole && parts.any(|part| source.get(part) == Some(content))
        })
    }
}

/// Whether a client may take this status, to such a request, for the last word.
fn is_final(op: Op, status: StatusCode) -> bool {
    match status.as_u16() {
        // Of an upload that is there it says nothing, and of one that is not it has its own name.
        404 | 409 | 410 => !matches!(op, Op::Probe | Op::Append | Op::Terminate),
        _ => !passing(status),
    }
}

/// Its name in a tally.
fn name(error: &Error) -> &'static str {
    match error {
        Error::Rejected { status, .. } if *status == StatusCode::UNAUTHORIZED => "error: 401",
        Error::Rejected { .. } => "error: rejected",
        Error::Protocol { .. } => "error: protocol",
        Error::Location { .. } => "error: location",
        Error::Conflict { .. } => "error: conflict",
        Error::Gone { .. } => "error: gone",
        Error::CompletionUnknown { .. } => "error: completion unknown",
        Error::Unfinished { .. } => "error: unfinished",
        Error::Exhausted { .. } => "error: exhausted",
        Error::ComeBackAt { .. } => "error: come back at",
        Error::Hopeless { .. } => "error: hopeless",
        Error::Source { .. } | Error::SourceChanged { .. } => "error: source",
        Error::Unrepeatable { .. } => "error: unrepeatable",
        _ => "error: another",
    }
}
