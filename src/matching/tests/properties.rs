//! What holds for every resource and every value.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::fhir::CompartmentKind;
use crate::matching::{belongs, belongs_by_subject, references};

/// JSON of the shapes that resources are made of.
fn tree() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        select(&["Patient/a", "Patient/b", "#a", "urn:uuid:1", "2020-01-01", "a", "http://s", "A"][..])
            .prop_map(Json::from),
        any::<bool>().prop_map(Json::from),
        (-1000_i32..1000).prop_map(Json::from),
        "\\PC{0,8}".prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 40, 4, |inner| {
        let names = select(
            &[
                "subject",
                "reference",
                "performer",
                "category",
                "coding",
                "code",
                "system",
                "text",
                "value",
                "valueQuantity",
                "effectivePeriod",
                "effectiveDateTime",
                "start",
                "end",
                "identifier",
                "extension",
                "url",
                "component",
                "type",
                "display",
                "event",
                "repeat",
                "low",
                "high",
                "contained",
                "id",
                "status",
            ][..],
        );
        prop_oneof![
            prop::collection::vec(inner.clone().prop_filter("nested", |it| !it.is_array()), 0..3)
                .prop_map(Json::Array),
            prop::collection::btree_map(names, inner, 0..4)
                .prop_map(|map| map.into_iter().map(|(name, it)| (name.to_owned(), it)).collect()),
        ]
    })
}

fn resource() -> impl Strategy<Value = String> {
    tree().prop_map(|mut tree| {
        if !tree.is_object() {
            tree = Json::Object(serde_json::Map::new());
        }
        tree["resourceType"] = "Observation".into();
        tree.to_string()
    })
}

fn ask<T>(json: &str, ask: impl Fn(Element<'_>) -> T) -> Option<T> {
    Some(ask(Document::read(json.as_bytes(), Format::Json).ok()?.root()))
}

fn holds(json: &str, written: &str) -> Option<bool> {
    let criterion = criterion(FhirVersion::R4, "Observation", written).ok()?;
    ask(json, |root| criterion.holds(root, &site(FhirVersion::R4, None)) == Verdict::Yes)
}

const CODES: &[&str] = &[
    "category",
    "status",
    "code",
    "date",
    "value-quantity",
    "subject",
    "patient",
    "performer",
    "identifier",
    "_id",
    "_tag",
    "_profile",
    "_lastUpdated",
    "code-value-quantity",
    "component-code-value-concept",
    "value-string",
    "value-date",
    "focus",
];

proptest! {
    #[test]
    fn nothing_makes_it_panic(
        json in resource(),
        code in select(CODES),
        modifier in select(&["", ":not", ":text", ":missing", ":identifier", ":Patient", ":exact", ":of-type", ".name"][..]),
        value in prop_oneof![
            "\\PC{0,20}",
            "[a-z0-9|,$\\\\:./-]{0,20}",
            select(&["a", "true", "Patient/a", "gt2020-01-01T10:00:00.5+02:00", "5.4||mg", "a$5", "-1e-3"][..])
                .prop_map(str::to_owned),
        ],
    ) {
        for version in VERSIONS {
            let site = site(version, None);
            if let Ok(criterion) = criterion(version, "Observation", &format!("{code}{modifier}={value}")) {
                ask(&json, |root| criterion.holds(root, &site));
            }
            ask(&json, |root| {
                let of = version.resource_type("Observation").expect("a type");
                let _ = references((of, code), ResourceType::PATIENT, root, &site);
                let may_write = belongs_by_subject("a", root, &site);
                // What may be written may be read.
                assert!(!may_write || belongs(CompartmentKind::Patient, "a", root, &site));
            });
        }
    }

    /// A `:not` is the opposite of the parameter, unless it cannot be told: then neither holds.
    #[test]
    fn not_is_the_complement(
        json in resource(),
        code in select(&["category", "status", "code", "identifier"][..]),
        value in select(&["a", "A", "http://s|a", "|a", "http://s|", "a,b", "2020-01-01"][..]),
    ) {
        let (plain, not) = (holds(&json, &format!("{code}={value}")), holds(&json, &format!("{code}:not={value}")));
        if let (Some(plain), Some(not)) = (plain, not) {
            prop_assert!(!(plain && not));
            let tells = !json.contains("\"A\"") && !value.contains(['A', '|']) && code != "status";
            let once = !json.contains("\"value\"") || !json.contains("\"code\"");
            prop_assert!(plain != not || !tells || !once, "{json}");
        }
    }

    /// The order of alternatives does not matter, and one more only widens.
    #[test]
    fn alternatives_commute(
        json in resource(),
        code in select(&["category", "subject", "code"][..]),
        values in prop::collection::vec(select(&["a", "b", "Patient/a", "http://s"][..]), 1..4),
    ) {
        let there = values.join(",");
        let back: Vec<_> = values.iter().rev().copied().collect();
        let all = holds(&json, &format!("{code}={there}"));
        prop_assert_eq!(all, holds(&json, &format!("{code}={}", back.join(","))));
        let one = values.iter().any(|value| holds(&json, &format!("{code}={value}")) == Some(true));
        prop_assert_eq!(one, all == Some(true));
    }

    /// Every moment is before, in or after a day, whatever its zone.
    #[test]
    fn dates_are_ordered(day in 1_u32..29, hour in 0_u32..24, zone in -12_i32..13, wanted in 1_u32..29) {
        let sign = if zone < 0 { '-' } else { '+' };
        let json = format!(
            r#"{{"resourceType":"Observation","effectiveDateTime":"2020-02-{day:02}T{hour:02}:00:00{sign}{:02}:00"}}"#,
            zone.abs()
        );
        let at = format!("2020-02-{wanted:02}T00:00:00Z");
        let [eq, ne, gt, lt, ge, le] =
            ["eq", "ne", "gt", "lt", "ge", "le"].map(|prefix| holds(&json, &format!("date={prefix}{at}")).unwrap());
        prop_assert_eq!(u8::from(eq) + u8::from(gt) + u8::from(lt), 1);
        prop_assert_eq!((ne, ge, le), (!eq, eq || gt, eq || lt));
    }
}
