//! What a person sees meanwhile: a bar on a terminal, lines elsewhere.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use tus_proto::{Event, Uploaded};

use crate::text::{line, rfc3339, span};

/// Lines about progress are at least this far apart,
const LEAST: Duration = Duration::from_secs(1);
/// and there is one after this time, or after a tenth of the file.
const MOST: Duration = Duration::from_secs(30);
/// How often the bar is drawn anew.
const TICK: Duration = Duration::from_millis(250);

/// Tells what happens. Clones tell the same story.
#[derive(Clone, Debug)]
pub(crate) struct Reporter(Arc<Mutex<Story>>);

#[derive(Debug)]
struct Story {
    style: Style,
    /// Whether the story is itself what the command is for, as in the demo.
    product: bool,
    /// `None`: nobody knows yet.
    length: Option<u64>,
    began: Instant,
    /// Whether it is to be said where the upload goes on.
    astray: bool,
    /// Whether it was said when the upload expires.
    dated: bool,
    /// When progress was last told, and how far it was.
    told: Option<(Instant, u64)>,
}

#[derive(Debug)]
enum Style {
    Quiet,
    Lines,
    Bar(ProgressBar),
}

impl Reporter {
    /// For something of so many bytes, if that is known; `plain`: no bar, even on a terminal.
    pub(crate) fn new(length: Option<u64>, quiet: bool, plain: bool) -> Self {
        Self::telling(length, quiet, plain, false)
    }

    /// As [`new`](Self::new), with all but the bar on stdout.
    pub(crate) fn for_demo(length: u64, plain: bool) -> Self {
        Self::telling(Some(length), false, plain, true)
    }

    fn telling(length: Option<u64>, quiet: bool, plain: bool, product: bool) -> Self {
        let style = if quiet {
            Style::Quiet
        } else if plain || !io::stderr().is_terminal() {
            Style::Lines
        } else {
            Style::Bar(bar(length))
        };
        Self(Arc::new(Mutex::new(Story {
            style,
            product,
            length,
            began: Instant::now(),
            astray: true,
            dated: false,
            told: None,
        })))
    }

    /// One line for people.
    pub(crate) fn notice(&self, text: &str) {
        self.story().notice(text);
    }

    pub(crate) fn event(&self, event: &Event) {
        tracing::debug!(target: "tus", "{event:?}");
        self.story().event(event);
    }

    /// What the upload came to.
    pub(crate) fn done(&self, done: &Uploaded) {
        let story = self.story();
        story.clear();
        if done.completion == tus_proto::Completion::Observed {
            story.notice("the server's last answer was lost; asked again, it has every byte");
        }
        story.notice(&format!(
            "done: {} in {}",
            HumanBytes(done.length),
            span(story.began.elapsed())
        ));
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        self.story().clear();
    }

    fn story(&self) -> MutexGuard<'_, Story> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Story {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Sent { offset } => self.progress(*offset),
            Event::Confirmed { offset, length } => {
                if self.length.is_none() {
                    self.length = *length;
                }
                if self.astray && *offset > 0 && Some(*offset) < *length {
                    self.notice(&format!("going on at {}", self.share(*offset)));
                    self.told = Some((Instant::now(), *offset));
                }
                match &self.style {
                    Style::Bar(bar) if self.astray || *offset > bar.position() => {
                        jump(bar, *offset);
                    }
                    // It shows what was sent, which is no less.
                    Style::Bar(_) => (),
                    _ => self.progress(*offset),
                }
                self.astray = false;
            }
            Event::Created { .. } => {
                self.astray = false;
                self.tell(event);
            }
            Event::Retrying { .. } => {
                self.astray = true;
                self.tell(event);
            }
            Event::Expires { .. } if self.dated => (),
            Event::Expires { .. } => {
                self.dated = true;
                self.tell(event);
            }
            Event::Rewound { to, .. } => {
                self.tell(event);
                self.rewind(*to);
            }
            Event::Recreating { .. } => {
                self.dated = false;
                self.tell(event);
                self.rewind(0);
            }
            other => self.tell(other),
        }
    }

    fn tell(&self, event: &Event) {
        if let Some(text) = words(event) {
            self.notice(&text);
        }
    }

    fn rewind(&mut self, offset: u64) {
        if let Style::Bar(bar) = &self.style {
            bar.set_position(offset);
        }
        if let Some((_, told)) = &mut self.told {
            *told = offset;
        }
    }

    fn progress(&mut self, offset: u64) {
        match &self.style {
            Style::Quiet => (),
            Style::Bar(bar) => bar.set_position(offset),
            Style::Lines => {
                let now = Instant::now();
                let (last, from) = self.told.unwrap_or((self.began, 0));
                let passed = now.duration_since(last);
                // Of what has no end yet, ever fewer lines.
                let step = self.length.map_or(from, |length| length / 10).max(1);
                if passed >= LEAST
                    && offset != from
                    && (offset.abs_diff(from) >= step || passed >= MOST)
                {
                    self.told = Some((now, offset));
                    self.notice(&self.share(offset));
                }
            }
        }
    }

    fn share(&self, offset: u64) -> String {
        let Some(length) = self.length else {
            return HumanBytes(offset).to_string();
        };
        let whole = u128::from(length.max(1));
        let rounded = (u128::from(offset) * 100 + whole / 2) / whole;
        // All of it is only said to be there when it is.
        let percent = if offset < length {
            rounded.min(99)
        } else {
            rounded
        };
        format!(
            "{} of {} ({percent} %)",
            HumanBytes(offset),
            HumanBytes(length)
        )
    }

    fn notice(&self, text: &str) {
        match &self.style {
            Style::Quiet => (),
            Style::Lines => self.say(text),
            Style::Bar(bar) => bar.suspend(|| self.say(text)),
        }
    }

    fn say(&self, text: &str) {
        if self.product {
            drop(io::stdout().lock().write_all(line(text).as_bytes()));
        } else {
            say(text);
        }
    }

    fn clear(&self) {
        if let Style::Bar(bar) = &self.style {
            bar.finish_and_clear();
        }
    }
}

/// An event in words, where it is more than progress.
fn words(event: &Event) -> Option<String> {
    Some(match event {
        Event::Created { url } => format!("created {url}"),
        Event::Retrying {
            op,
            cause,
            attempt,
            after,
        } => {
            format!(
                "{op} failed (attempt {attempt}): {cause}; again {}",
                again(*after)
            )
        }
        Event::Rewound { from, to } => {
            format!("the server had {from} bytes and has {to} now; sending the others again")
        }
        Event::Recreating { gone } => {
            format!("{gone} is no longer on the server; sending everything anew")
        }
        Event::Orphaned => {
            "it is unknown whether the server made an upload of this: one may be left there, empty or not"
                .into()
        }
        Event::Joining { parts } => format!("all is there; joining the {parts} parts"),
        Event::PartLeft { url } => {
            format!("the part {url} could not be deleted, and is left on the server")
        }
        Event::Redirected { op, to } => format!("{op}: the server redirects to {to}"),
        Event::Foreign { origin } => {
            format!(
                "the server has the file go to another origin, {origin}; your headers do not go there"
            )
        }
        Event::Upgraded { url } => format!("the server named an http URL; using https: {url}"),
        Event::Shrunk { to } => format!("going on with smaller requests, of {}", HumanBytes(*to)),
        Event::Expires { at } => format!(
            "the server keeps the unfinished upload until {}",
            rfc3339(*at)
        ),
        Event::Authorizing { origin } => format!("asking for credentials for {origin}"),
        Event::CheckpointFailed { failure } => {
            format!("this upload can not be resumed, for the checkpoint cannot be saved: {failure}")
        }
        _ => return None,
    })
}

fn again(after: Duration) -> String {
    if after.is_zero() {
        "at once".into()
    } else {
        format!("in {}", span(after))
    }
}

fn bar(length: Option<u64>) -> ProgressBar {
    let (bar, template) = match length {
        Some(length) => (
            ProgressBar::new(length),
            "{bar:32} {percent:>3} % {bytes}/{total_bytes} {bytes_per_sec} {eta} left",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{spinner} {bytes} {bytes_per_sec}",
        ),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    // Time goes on where the line stands still.
    bar.enable_steady_tick(TICK);
    bar
}

/// Moves the bar to bytes that were not sent just now, so they make no speed.
fn jump(bar: &ProgressBar, offset: u64) {
    // While it ticks by itself it does not see the position here, and would take it for speed later.
    bar.disable_steady_tick();
    bar.set_position(offset);
    bar.tick();
    bar.reset_eta();
    bar.enable_steady_tick(TICK);
}

/// A line on stderr. Where nobody listens, that is no reason to end.
pub(crate) fn say(text: &str) {
    drop(io::stderr().lock().write_all(line(text).as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_told_of_what_has_a_length() {
        for (length, offset, text) in [
            (Some(2048), 1024, "1.00 KiB of 2.00 KiB (50 %)"),
            (Some(2048), 2047, "2.00 KiB of 2.00 KiB (99 %)"),
            (Some(0), 0, "0 B of 0 B (0 %)"),
            (None, 1024, "1.00 KiB"),
        ] {
            let reporter = Reporter::new(length, true, true);
            assert_eq!(reporter.story().share(offset), text);
        }
    }

    #[test]
    fn what_the_server_had_already_is_no_speed() {
        let reporter = Reporter::new(None, true, true);
        let length = 4 << 30;
        let bar = bar(Some(length));
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        reporter.story().style = Style::Bar(bar.clone());
        let speed = || {
            bar.disable_steady_tick();
            bar.tick();
            bar.per_sec()
        };
        // Each of several parts is asked for what the server has.
        for offset in [1 << 30, 2 << 30] {
            let length = Some(length);
            reporter.event(&Event::Confirmed { offset, length });
            assert_eq!(bar.position(), offset);
            assert!(speed() < 1.0, "{}", speed());
        }
        let offset = 3 << 30;
        reporter.event(&Event::Sent { offset });
        reporter.event(&Event::Confirmed {
            offset,
            length: Some(length),
        });
        assert!(speed() > 1.0, "{}", speed());
    }

    #[test]
    fn a_stream_has_a_length_once_it_has_ended() {
        let reporter = Reporter::new(None, true, true);
        let confirmed = |offset, length| reporter.event(&Event::Confirmed { offset, length });
        confirmed(1024, None);
        assert_eq!(reporter.story().length, None);
        confirmed(2048, Some(3072));
        assert_eq!(reporter.story().share(2048), "2.00 KiB of 3.00 KiB (67 %)");
    }
}
