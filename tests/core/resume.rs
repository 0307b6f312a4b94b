//! A later run goes on from a checkpoint.

use tus_proto::{Checkpoint, Error, Machine, Upload};

use crate::scenario::{ENDPOINT, Scenario, URL, config};

fn checkpoint() -> Checkpoint {
    Scenario::created_with(9, |config| {
        config.identity = Some("9 bytes, inode 5".into());
    })
    .checkpoint()
}

#[test]
fn it_begins_with_a_head_and_creates_nothing() {
    let scenario = Scenario::resume(&checkpoint())
        .probes()
        .finds(4)
        .appends(4..9);
    assert_eq!(scenario.saves, [], "nothing has changed that must survive");
    let done = scenario.confirms(9);
    assert_eq!(done.saves, [None]);
    done.succeeds();
}

#[test]
fn a_changed_source_is_seen_before_any_request_and_the_checkpoint_stays() {
    let attempts = [
        (9, Some("9 bytes, inode 6".to_owned())),
        (9, None),
        (10, Some("9 bytes, inode 5".to_owned())),
    ];
    for (length, identity) in attempts {
        let config = config(|config| config.identity = identity);
        let upload = Upload::resume(ENDPOINT, checkpoint(), length, &config).unwrap();
        let (error, scenario) = Scenario::new(upload).ends();
        assert!(matches!(error, Error::SourceChanged { .. }) && error.resumable());
        assert_eq!(scenario.saves, []);
        assert_eq!(scenario.machine.checkpoint(), Some(checkpoint()));
    }
}

// An upload that expired, or was deleted, between the runs.
#[test]
fn an_upload_that_is_gone_is_made_anew() {
    Scenario::resume(&checkpoint())
        .answers(410, &[])
        .asks("POST", ENDPOINT)
        .answers(201, &[("location", "b")])
        .appends(0..9);
    let nowhere = Scenario::at_url(9).finds(4).sent(1).loses();
    let (_, nowhere) = nowhere.cancel(tus_proto::Cancel::Keep).ends();
    let checkpoint = nowhere.checkpoint();
    assert_eq!(
        (checkpoint.endpoint(), checkpoint.url().unwrap().expose()),
        (None, URL.to_owned())
    );
    let error = Scenario::resume(&checkpoint)
        .finds(4)
        .sent(1)
        .loses()
        .answers(410, &[])
        .error();
    assert!(matches!(error, Error::Gone { .. }), "{error:?}");
}

// I9: whatever the step at which a run ends, the next one goes on.
#[test]
fn every_step_leaves_a_checkpoint_that_goes_on() {
    let steps: [fn() -> Scenario<Upload>; 7] = [
        || Scenario::created(9),
        || Scenario::created(9).sent(5),
        || Scenario::created(9).sent(5).loses(),
        || Scenario::created(9).answers(409, &[]),
        || Scenario::created(9).answers(503, &[]),
        || Scenario::created(9).confirms(5),
        || Scenario::created(9).answers(500, &[]),
    ];
    for step in steps {
        let told = step();
        let checkpoint = told.machine.checkpoint().unwrap();
        assert_eq!(
            checkpoint,
            told.checkpoint(),
            "what is true is what was saved"
        );
        Scenario::resume(&checkpoint)
            .probes()
            .finds(5)
            .appends(5..9)
            .confirms(9)
            .succeeds();
    }
}
