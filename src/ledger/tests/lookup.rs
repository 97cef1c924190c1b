//! Events are found by index as they would be by reading all of them.

use std::ops::ControlFlow;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::super::fact::Fact;
use super::super::queue::Job;
use super::super::store::Spool as _;
use super::super::{Filter, Reader};
use super::{Folder, at, entry, read, settled, store};
use crate::audit::{Entry, Outcome};

fn begin() -> Timestamp {
    at("2026-03-01T10:00:00Z")
}

fn some(of: &'static str) -> impl Strategy<Value = Option<String>> {
    (0..4_usize).prop_map(move |number| (number > 0).then(|| format!("{of}{number}")))
}

fn entries() -> impl Strategy<Value = Vec<(Entry, bool)>> {
    let one =
        (some("p"), some("u"), some("u"), some("c"), 0..5000_i64, 0..3_usize, prop::bool::weighted(0.2));
    let one = one.prop_map(|(patient, user, fhir_user, client, millis, status, rotate)| {
        let mut entry = entry(&format!("r{}", millis % 7));
        (entry.patient, entry.subject, entry.fhir_user, entry.client) = (patient, user, fhir_user, client);
        entry.recorded = begin() + SignedDuration::from_micros(millis * 700);
        entry.answered([200, 404, 500][status]);
        (entry, rotate)
    });
    prop::collection::vec(one, 1..40)
}

fn filters() -> impl Strategy<Value = Filter> {
    let instant = || {
        prop::option::of((0..5000_i64).prop_map(|millis| begin() + SignedDuration::from_micros(millis * 700)))
    };
    let outcome =
        prop::option::of(prop::sample::select(vec![Outcome::Success, Outcome::Refused, Outcome::Failed]));
    let request = prop::option::of((0..7).prop_map(|number| format!("r{number}")));
    (some("p"), some("u"), some("c"), request, instant(), instant(), outcome).prop_map(
        |(patient, user, client, request_id, since, until, outcome)| Filter {
            patient,
            user,
            client,
            request_id,
            since,
            until,
            outcome,
        },
    )
}

fn found(reader: &Reader, filter: &Filter) -> Vec<u64> {
    let mut found = Vec::new();
    let each = &mut |kept: super::Kept| {
        found.push(kept.sequence);
        ControlFlow::Continue(())
    };
    reader.find(filter, each).unwrap();
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// With the indexes of closed files, without those of the open one, past those that hold none.
    #[test]
    fn as_if_all_were_read(entries in entries(), filters in prop::collection::vec(filters(), 1..20)) {
        let folder = Folder::new();
        let mut store = store(&folder.settings()).unwrap();
        for (entry, rotate) in &entries {
            store.apply(&[&Job::Record { facts: vec![Fact::of(entry)], intent: None }]).unwrap();
            if *rotate {
                store.rotate(begin()).unwrap();
                settled(&store);
            }
        }
        let all = read(&folder.path);
        prop_assert_eq!(all.len(), entries.len());
        let reader = Reader::open(&folder.path).unwrap();
        for filter in filters {
            let expected: Vec<u64> =
                all.iter().filter(|kept| filter.takes(&kept.entry)).map(|kept| kept.sequence).collect();
            prop_assert_eq!(found(&reader, &filter), expected, "{:?}", filter);
        }
    }
}

/// Many matches are read piece by piece, in order, and no further than wanted.
#[test]
fn more_than_one_piece() {
    let folder = Folder::new();
    let mut store = store(&folder.settings()).unwrap();
    for file in 0..2 {
        let facts = (0..1300).map(|number| {
            let mut entry = entry(&number.to_string());
            entry.subject = Some("u1".into());
            entry.fhir_user = (number % 2 == 0).then(|| "u1".into());
            Fact::of(&entry)
        });
        store.apply(&[&Job::Record { facts: facts.collect(), intent: None }]).unwrap();
        if file == 0 {
            store.rotate(begin()).unwrap();
        }
    }
    let reader = Reader::open(&folder.path).unwrap();
    let filter = Filter { user: Some("u1".into()), ..Filter::default() };
    assert_eq!(found(&reader, &filter), (1..=2600).collect::<Vec<u64>>());
    let mut seen = 0;
    let each = &mut |_| {
        seen += 1;
        if seen < 600 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    reader.find(&filter, each).unwrap();
    assert_eq!(seen, 600);
}
