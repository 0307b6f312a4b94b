//! `tus demo`.

use crate::support::Place;

#[test]
fn the_demo_ends_in_identical() {
    let place = Place::new();
    for length in [0, 1, 20_000, 5_000_000] {
        let file = place.file("a", length);
        let ran = place.run(["demo", file.to_str().unwrap()]);
        assert_eq!(ran.status, Some(0), "{ran:#?}");
        assert!(
            ran.stdout.lines().last().unwrap().contains("identical"),
            "{ran:#?}"
        );
        assert!(ran.stdout.contains("failed (attempt 1)"), "{ran:#?}");
        assert_eq!(ran.stderr, "");
    }
    assert!(place.checkpoints().is_empty());
}

#[test]
fn each_cut_and_each_recovery_is_shown() {
    let place = Place::new();
    let file = place.file("a", 5_000_000);
    let ran = place.run(["demo", file.to_str().unwrap()]);
    let count = |text: &str| ran.stdout.matches(text).count();
    assert_eq!(count("sending the file failed (attempt 1)"), 5, "{ran:#?}");
    assert_eq!(count("going on at"), 4, "{ran:#?}");
    assert!(
        ran.stdout.contains("the connection was cut 5 times"),
        "{ran:#?}"
    );
}
