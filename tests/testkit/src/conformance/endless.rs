//! What never comes to an end by itself.

use tus_proto::FailureKind;

use super::bench::{Bench, Done, LONG, Running, creation, ensure, failed};
use super::subject::Attempt;
use super::{Case, HTTP1, Outcome};
use crate::{Act, End, Stage};

pub(super) const CASES: &[Case] = &[Case::new(
    "head without end",
    "a head is read up to a bound, and then the request is lost",
    HTTP1,
    head,
)];

fn again(words: &str) -> Act {
    // In large pieces: the bound is to be reached soon.
    Act::Again(vec![Act::Write(
        words.repeat(1 + 4_000 / words.len()).into(),
    )])
}

/// The client is the one who ends it.
fn is_left(stage: &Stage) -> Result<(), String> {
    let end = stage.wait(LONG, |seen| seen.first()?.end);
    ensure!(end == Some(End::Left), "it is still read: {end:?}");
    Ok(())
}

fn head(bench: &Bench) -> Done {
    for (begins, goes_on) in [
        ("", "a"),
        ("HTTP/1.1 200 ", "O"),
        ("HTTP/1.1 201 Created\r\n", "X-Line: of more than one\r\n"),
        ("HTTP/1.1 201 Created\r\nX-Line: ", "a"),
        ("HTTP/1.1 201 Created\r\n", "a"),
    ] {
        let said = |why| format!("{begins:?}, and then {goes_on:?}: {why}");
        let acts = vec![Act::ReadAll, Act::Write(begins.into()), again(goes_on)];
        let stage = bench.stage([acts]);
        let stack = bench.stack(stage.authority());
        let attempt = Attempt::new("")?;
        let running = Running::start(&stack, &attempt, creation(&stage));
        let result = running.end().map_err(said)?;
        failed(result, &[FailureKind::Lost]).map_err(said)?;
        is_left(&stage).map_err(said)?;
        let requests = stage.seen().len();
        ensure!(requests == 1, "{requests} requests");
    }
    Ok(Outcome::Passed)
}
