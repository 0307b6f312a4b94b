//! Seeded runs of the testkit's simulation, in which everything can go wrong and every rule is checked.

use tus_testkit::simulation::{self, Choices, Own, Tally};

#[test]
fn every_rule_holds_whatever_happens() {
    let mut all = Tally::default();
    for seed in 0..1_000 {
        match simulation::run(Choices::seeded(seed)) {
            Ok(life) => all.add(&life.tally),
            Err(failed) => panic!("seed {seed}: {}", simulation::shrink(&failed, &Own)),
        }
    }
    println!("{all}");
    // An incident that never happened would prove nothing.
    for sort in simulation::Sort::ALL {
        assert!(
            all.of(sort.name()) > 0,
            "never taken: {}\n{all}",
            sort.name()
        );
    }
}
