//! Runs the simulation: `simulate FROM TO`, or one seed, of which all is told.

use std::process::ExitCode;
use std::time::Instant;

use tus_testkit::simulation::{self, Choices, Own, Tally};

fn main() -> ExitCode {
    let mut seeds = std::env::args()
        .skip(1)
        .map(|text| text.parse::<u64>().expect("a number"));
    let from = seeds.next().unwrap_or(0);
    let to = seeds.next().unwrap_or(from + 1);
    if from >= to {
        println!("no seed is from {from} on and below {to}");
        return ExitCode::FAILURE;
    }
    let began = Instant::now();
    let mut all = Tally::default();
    let mut failed = Vec::new();
    for seed in from..to {
        match simulation::run(Choices::seeded(seed)) {
            Ok(life) => all.add(&life.tally),
            Err(broken) => failed.push((seed, broken)),
        }
    }
    println!("{all}");
    let seconds = began.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let rate = (to - from) as f64 / seconds;
    println!("{seconds:.1} s, {rate:.0} runs a second");
    let mut kinds = std::collections::BTreeMap::<_, (u64, u64)>::new();
    for (seed, broken) in &failed {
        let kind = kinds
            .entry(format!(
                "{}: {}",
                broken.rule,
                broken.what.get(..70).unwrap_or(&broken.what)
            ))
            .or_insert((0, *seed));
        kind.0 += 1;
    }
    for (what, (count, seed)) in kinds {
        println!("{count:>8} e.g. {seed:<8} {what}");
    }
    let Some((seed, broken)) = failed.first() else {
        return ExitCode::SUCCESS;
    };
    println!("{} seeds failed; the first is {seed}", failed.len());
    if to - from == 1 {
        eprintln!("{broken}");
        println!("\nsmaller:\n{}", simulation::shrink(broken, &Own));
    }
    ExitCode::FAILURE
}
