//! How an exchange ends that is ended from here.

use std::time::Duration;

use tus_proto::{Config, Timeouts};

use super::bench::{
    Bench, Done, LONG, Running, SHORT, Watch, Watched, answered, append, creation, ensure, instead,
};
use super::subject::{Ability, Attempt, Stack};
use super::{Case, EVERY, Outcome};
use crate::{Act, End, Seen, Stage};

pub(super) const CASES: &[Case] = &[
    Case::new(
        "stopped in the body",
        "a stop hands over no further byte, and ends the exchange and its connection or stream",
        EVERY,
        in_the_body,
    ),
    Case::new(
        "stopped before the answer",
        "a stop ends an exchange that waits for its answer",
        EVERY,
        before_the_answer,
    ),
    Case::new(
        "never reads",
        "a server that stops reading is left, and the upload goes on",
        EVERY,
        never_reads,
    ),
    Case::new(
        "never answers",
        "a server that does not answer is left, and the upload goes on",
        EVERY,
        never_answers,
    ),
    Case::new(
        "never ends its words",
        "an answer whose words never come is an answer in the end, and the upload goes on",
        EVERY,
        never_ends,
    ),
];

/// More than the buffers of systems and stacks hold.
const ALL: u64 = 32 << 20;

fn left(stage: &Stage) -> Result<Seen, String> {
    stage
        .wait(LONG, |seen| {
            let seen = seen.first()?;
            (seen.end == Some(End::Left)).then(|| seen.clone())
        })
        .ok_or_else(|| format!("the stage still has the client after {LONG:?}"))
}

fn in_the_body(bench: &Bench) -> Done {
    const SOME: u64 = 200_000;
    let stage = bench.stage([
        vec![Act::Read(SOME), Act::Hold],
        vec![Act::ReadAll, Act::answer(204, "")],
    ]);
    let stack = bench.stack(stage.authority());
    let (source, watch) = Watched::new(ALL);
    let attempt = Attempt::new(source)?;
    let (request, mut terms) = append(&stage, 0..ALL);
    let lacks = bench.lacks(Ability::Stop);
    if lacks.is_some() {
        // These are what ends it then.
        (terms.stall, terms.answer) = (SHORT, SHORT);
    }
    let running = Running::start(&stack, &attempt, (request, terms));
    let arrived = stage.wait(LONG, |seen| {
        seen.first().filter(|seen| seen.body == SOME).map(drop)
    });
    ensure!(arrived.is_some(), "the body does not come");
    running.fills_up(&watch)?;
    attempt.stop();
    let read = watch.read();
    drop(attempt);
    drop(running.end()?);
    let_go(&stage, &watch, lacks)?;
    let seen = left(&stage)?;
    ensure!(
        seen.body <= read && seen.body < ALL,
        "{} bytes came, of which {read} were read before the stop",
        seen.body
    );
    still_of_use(&stack, &stage)?;
    match lacks {
        Some(reason) => instead(
            reason,
            "no further byte is handed over, and the connection ends once it moves again",
        ),
        None => Ok(Outcome::Passed),
    }
}

/// The stack has let go of the exchange while the stage still held the connection; or, where it cannot,
/// once the stage goes on.
fn let_go(stage: &Stage, watch: &Watch, lacks: Option<&str>) -> Result<(), String> {
    if lacks.is_some() {
        stage.go_on();
    }
    ensure!(watch.is_released(), "the source is still held");
    stage.go_on();
    Ok(())
}

fn before_the_answer(bench: &Bench) -> Done {
    let stage = bench.stage([vec![Act::ReadAll], vec![Act::ReadAll, Act::answer(204, "")]]);
    let stack = bench.stack(stage.authority());
    let attempt = Attempt::new("hello")?;
    let (request, mut terms) = append(&stage, 0..5);
    let lacks = bench.lacks(Ability::Stop);
    if lacks.is_some() {
        terms.answer = SHORT;
    }
    let running = Running::start(&stack, &attempt, (request, terms));
    let arrived = stage.wait(LONG, |seen| {
        seen.first().filter(|seen| seen.body == 5).map(drop)
    });
    ensure!(arrived.is_some(), "the body does not come");
    attempt.stop();
    drop(running.end()?);
    left(&stage)?;
    still_of_use(&stack, &stage)?;
    match lacks {
        Some(reason) => instead(reason, "the stack's limits end the exchange"),
        None => Ok(Outcome::Passed),
    }
}

fn still_of_use(stack: &Stack, stage: &Stage) -> Result<(), String> {
    let (request, terms) = creation(stage);
    let result = stack.exchange(&Attempt::new("")?, request, &terms);
    answered(result).map_err(|why| format!("after the stop: {why}"))?;
    Ok(())
}

fn never_reads(bench: &Bench) -> Done {
    silence(bench, &[Act::Read(100_000), Act::Hold], ALL, |timeouts| {
        timeouts.stall = SHORT;
    })
}

fn never_answers(bench: &Bench) -> Done {
    silence(bench, &[Act::ReadAll], 5, |timeouts| {
        timeouts.answer_to_body = SHORT;
    })
}

/// An upload to a server that falls silent at the first append.
fn silence(bench: &Bench, acts: &[Act], length: u64, limit: fn(&mut Timeouts)) -> Done {
    let total = length.to_string();
    let stage = bench.stage([
        vec![Act::ReadAll, Act::fields(201, &[("location", "/files/1")])],
        acts.to_vec(),
        vec![Act::fields(
            200,
            &[("upload-offset", "0"), ("upload-length", &total)],
        )],
        vec![Act::ReadAll, Act::fields(204, &[("upload-offset", &total)])],
    ]);
    let stack = bench.stack(stage.authority());
    let (source, watch) = Watched::new(length);
    let settings = |config: &mut Config| {
        config.creation_body = 0;
        config.retry.base = Duration::from_millis(1);
        limit(&mut config.timeouts);
    };
    stack
        .upload(stage.url("/files/"), 1, settings, source)
        .map_err(|error| format!("the upload ends with: {error}"))?;
    let methods: Vec<_> = stage
        .seen()
        .iter()
        .map(|seen| seen.method.clone())
        .collect();
    ensure!(
        methods
            .iter()
            .map(http::Method::as_str)
            .eq(["POST", "PATCH", "HEAD", "PATCH"]),
        "the requests are {methods:?}"
    );
    let lacks = bench.lacks(Ability::Stop);
    let_go(&stage, &watch, lacks)?;
    let end = stage.wait(LONG, |seen| seen[1].end);
    ensure!(end == Some(End::Left), "the silent connection is kept");
    match lacks {
        Some(reason) => instead(
            reason,
            "the upload goes on without it, and it ends once it moves again",
        ),
        None => Ok(Outcome::Passed),
    }
}

fn never_ends(bench: &Bench) -> Done {
    let named: &[(&str, &str)] = &[("location", "/files/1"), ("content-length", "100")];
    let head = crate::stage::response(201, named, "").map(drop);
    let stage = bench.stage([
        vec![Act::Head(head), Act::Write("wor".into()), Act::Hold],
        vec![Act::ReadAll, Act::fields(204, &[("upload-offset", "5")])],
    ]);
    let settings = |config: &mut Config| {
        config.creation_body = 0;
        // A request without a body shows no progress: the answer's limit begins after the connection's.
        config.timeouts.connect = Duration::from_secs(1);
        config.timeouts.answer = SHORT;
    };
    bench
        .stack(stage.authority())
        .upload(stage.url("/files/"), 1, settings, "hello")
        .map_err(|error| format!("the upload ends with: {error}"))?;
    let requests = stage.seen().len();
    ensure!(requests == 2, "{requests} requests");
    Ok(Outcome::Passed)
}
