//! Every schedule of incidents in small worlds: `exhaust DEPTH [KIND...]`, with kinds as [`Kind`] names them
//! (`Plain`, `Parts`); all, where none is named. Sources of up to 4 bytes go in requests of up to 2, over servers with different locks and words.
//! To a depth of 1 all runs are [careful](Plan::careful).

use std::process::ExitCode;
use std::time::Instant;

use tus_testkit::Quirk;
use tus_testkit::simulation::{self, Kind, Own, Plan, Sort, Tally};

/// What else the server may be like.
fn servers() -> Vec<(&'static str, Vec<Quirk>)> {
    vec![
        ("as it should be", vec![]),
        ("locks with 423", vec![Quirk::LockedIs(423)]),
        (
            "locks with 409",
            vec![Quirk::LockedIs(409), Quirk::PatchWithoutOffset],
        ),
        (
            "locks with 403",
            vec![Quirk::LockedIs(403), Quirk::CompleteIs403],
        ),
        (
            "moves what is complete",
            vec![Quirk::MovesCompleted, Quirk::DeletedIs410],
        ),
    ]
}

fn lengths(kind: Kind) -> Vec<Vec<u64>> {
    match kind {
        Kind::Parts => vec![vec![0, 1], vec![2, 1], vec![1, 1, 1]],
        _ => (0..=4).map(|length| vec![length]).collect(),
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let depth = arguments
        .next()
        .map_or(1, |text| text.parse().expect("a number"));
    let named: Vec<_> = arguments.collect();
    let began = Instant::now();
    let kinds = Kind::ALL.map(|kind| format!("{kind:?}"));
    if let Some(unknown) = named.iter().find(|name| !kinds.contains(name)) {
        println!("no kind is called {unknown}: {}", kinds.join(", "));
        return ExitCode::FAILURE;
    }
    let mut all = Tally::default();
    println!(
        "{:>18}  {:>10}  schedules of up to {depth} incidents",
        "", "runs"
    );
    let mut total = 0;
    for kind in Kind::ALL {
        let name = format!("{kind:?}");
        if !named.is_empty() && !named.contains(&name) {
            continue;
        }
        let mut of_kind = 0;
        for (server, quirks) in servers() {
            for lengths in lengths(kind) {
                let mut plan = Plan::calm(kind, 0);
                plan.lengths.clone_from(&lengths);
                plan.server.quirks.clone_from(&quirks);
                plan.config.request_size = Some(2);
                plan.alphabet = Sort::ALL.into();
                plan.incidents = depth;
                plan.careful = depth <= 1;
                match simulation::every(&plan, &Own, |life| all.add(&life.tally)) {
                    Ok(runs) => of_kind += runs,
                    Err(failed) => {
                        println!("{name} {lengths:?}, a server that {server}:\n{failed}");
                        return ExitCode::FAILURE;
                    }
                }
            }
        }
        println!("{name:>18}  {of_kind:>10}");
        total += of_kind;
    }
    let taken = began.elapsed().as_secs_f64();
    println!("{all}\n{total} schedules, none breaks a rule; {taken:.1} s");
    ExitCode::SUCCESS
}
