//! Faults in memory, and plans of them.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use tus_testkit::{Ending, Fault, FaultPlan, Rates, Reach, SplitMix64};

use crate::{assert_status, create, head, header, patch, server, with_upload};

fn unavailable() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

/// What the fault does to a PATCH of ten bytes: what was taken, what was kept, and the ending.
fn undergo(fault: &Fault) -> (u64, u64, Ending) {
    let (mut server, target) = with_upload(10, []);
    let outcome = server.exchange(patch(&target, 0, b"0123456789"), Some(fault));
    let upload = server.upload(&target).unwrap();
    assert!(b"0123456789".starts_with(upload.content()));
    (outcome.taken, upload.offset(), outcome.ending)
}

#[test]
fn each_fault_reaches_as_far_as_it_says() {
    assert!(matches!(undergo(&Fault::Refuse), (0, 0, Ending::NotSent)));
    assert!(matches!(undergo(&Fault::LoseRequest), (0, 0, Ending::Lost)));
    assert!(matches!(
        undergo(&Fault::Cut { after: 0 }),
        (0, 0, Ending::Lost)
    ));
    assert!(matches!(
        undergo(&Fault::Cut { after: 4 }),
        (4, 4, Ending::Lost)
    ));
    assert!(matches!(
        undergo(&Fault::Cut { after: 99 }),
        (10, 10, Ending::Lost)
    ));
    assert!(matches!(
        undergo(&Fault::LoseAnswer),
        (10, 10, Ending::Lost)
    ));
    assert!(matches!(
        undergo(&Fault::Stall { after: 4 }),
        (4, 4, Ending::Silence(Some(_)))
    ));
    assert!(matches!(
        undergo(&Fault::Stall { after: 10 }),
        (10, 10, Ending::Silence(None))
    ));
    let answered = |reach| match undergo(&Fault::Answer {
        reach,
        response: unavailable(),
    }) {
        (taken, kept, Ending::Answer(response)) => {
            assert_status(&response, 503);
            (taken, kept)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(answered(Reach::Nothing), (0, 0));
    assert_eq!(answered(Reach::Swallowed), (10, 0));
    assert_eq!(answered(Reach::Bytes(4)), (4, 4));
    assert_eq!(answered(Reach::All), (10, 10));
}

#[test]
fn a_delay_is_the_answers() {
    let outcome = server([]).exchange(create(5), Some(&Fault::Delay(Duration::from_secs(7))));
    assert_eq!(outcome.delay, Duration::from_secs(7));
    assert!(matches!(outcome.ending, Ending::Answer(response) if response.status() == 201));
}

#[test]
fn a_stalled_request_holds_the_upload_until_it_is_aborted() {
    let (mut server, target) = with_upload(10, []);
    let outcome = server.exchange(
        patch(&target, 0, b"0123456789"),
        Some(&Fault::Stall { after: 4 }),
    );
    assert_eq!(server.locks(), 1);
    let Ending::Silence(Some(reading)) = outcome.ending else {
        panic!("{outcome:?}")
    };
    server.abort(reading);
    assert_eq!(server.locks(), 0);
    assert_eq!(
        header(&server.handle(head(&target)), "upload-offset"),
        Some("4")
    );
}

#[test]
fn a_creation_whose_answer_is_lost_is_made() {
    for (fault, made) in [
        (Fault::LoseAnswer, 1),
        (Fault::Cut { after: 0 }, 1),
        (Fault::LoseRequest, 0),
        (Fault::Refuse, 0),
    ] {
        let mut server = server([]);
        let _ = server.exchange(create(5), Some(&fault));
        assert_eq!(server.uploads().count(), made, "{fault:?}");
    }
}

#[test]
fn a_seed_gives_the_same_plan_and_another_seed_another() {
    let plan = |seed| {
        let mut plan = FaultPlan::seeded(seed, Rates::rough());
        format!(
            "{:?}",
            (0..500).map(|_| plan.next_fault()).collect::<Vec<_>>()
        )
    };
    assert_eq!(plan(1), plan(1));
    assert_ne!(plan(1), plan(2));
}

#[test]
fn rates_are_in_a_thousand() {
    let mut plan = FaultPlan::seeded(7, Rates::rough());
    let mut kinds = [0_u32; 8];
    for _ in 0..100_000 {
        let kind = match plan.next_fault() {
            None => 0,
            Some(Fault::Refuse) => 1,
            Some(Fault::LoseRequest) => 2,
            Some(Fault::Cut { after }) => {
                assert!(after <= 1 << 20);
                3
            }
            Some(Fault::LoseAnswer) => 4,
            Some(Fault::Answer { .. }) => 5,
            Some(Fault::Stall { after }) => {
                assert!(after <= 1 << 20);
                6
            }
            Some(Fault::Delay(delay)) => {
                assert!(delay <= Duration::from_secs(10));
                7
            }
        };
        kinds[kind] += 1;
    }
    let expected = [500, 70, 70, 130, 70, 70, 40, 50];
    for (counted, expected) in kinds.into_iter().zip(expected) {
        assert!(counted.abs_diff(expected * 100) < 500, "{kinds:?}");
    }
}

#[test]
fn a_plan_comes_to_its_end() {
    let mut plan = FaultPlan::seeded(
        3,
        Rates {
            refuse: 1000,
            ..Rates::calm()
        },
    )
    .at_most(2);
    assert!(plan.next_fault().is_some());
    assert!(plan.next_fault().is_some());
    assert!(plan.next_fault().is_none());
    let mut calm = FaultPlan::seeded(3, Rates::calm());
    assert!((0..1000).all(|_| calm.next_fault().is_none()));
    let mut odd = FaultPlan::seeded(
        3,
        Rates {
            answer: 1000,
            cut: 0,
            span: u64::MAX,
            ..Rates::calm()
        },
    );
    assert!(odd.next_fault().is_none(), "there is no answer to give");
    let mut wide = FaultPlan::seeded(
        3,
        Rates {
            cut: 1000,
            span: u64::MAX,
            ..Rates::calm()
        },
    );
    assert!((0..1000).all(|_| wide.next_fault().is_some()));
}

#[test]
fn splitmix64_is_what_it_is_everywhere() {
    let mut random = SplitMix64::new(1_234_567);
    let numbers = [random.next_u64(), random.next_u64(), random.next_u64()];
    assert_eq!(
        numbers,
        [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423
        ]
    );
    assert_eq!(random.below(0), 0);
    assert!((0..100).all(|_| random.below(3) < 3));
}
