//! Numbers and quantities.

use super::*;

const R4: FhirVersion = FhirVersion::R4;

const NUMBERS: &[(&str, Rows)] = &[
    (
        "100",
        &[
            ("probability=100", true),
            ("probability=100.00", true),
            ("probability=1e2", true),
            ("probability=1.00e2", true),
            ("probability=101", false),
            ("probability=ne100", false),
            ("probability=ne101", true),
            ("probability=gt100", false),
            ("probability=gt99.999", true),
            ("probability=lt100", false),
            ("probability=lt100.001", true),
            ("probability=ge100", true),
            ("probability=ge100.001", false),
            ("probability=le100", true),
            ("probability=le99.999", false),
            ("probability=sa100", false),
            ("probability=sa99", true),
            ("probability=eb100", false),
            ("probability=eb101", true),
            ("probability=ap109", true),
            ("probability=ap120", false),
            ("probability=5,100", true),
        ],
    ),
    ("99.5", &[("probability=100", true), ("probability=100.0", false), ("probability=1e2", true)]),
    ("100.5", &[("probability=100", false), ("probability=1e2", true)]),
    ("105", &[("probability=1e2", false), ("probability=10.5e1", true)]),
    ("95", &[("probability=1e2", true)]),
    ("94.9", &[("probability=1e2", false)]),
    (
        "0.1",
        &[
            ("probability=0.1", true),
            ("probability=1e-1", true),
            ("probability=0.10", true),
            ("probability=gt0.09999999999", true),
            ("probability=le0.1", true),
            ("probability=lt0.1", false),
        ],
    ),
    (
        "-3",
        &[
            ("probability=-3", true),
            ("probability=-3.4", false),
            ("probability=lt-2", true),
            ("probability=ap-3.1", true),
            ("probability=3", false),
        ],
    ),
    ("1e-17", &[("probability=gt0", true), ("probability=0.00000000000000001", true)]),
    (
        "1e40",
        &[
            ("probability=gt0", false),
            ("probability=ne5", false),
            ("probability:missing=true", false),
            ("probability:missing=false", false),
        ],
    ),
];

/// FHIR R4 §3.1.1, "number": the examples of the specification and their neighbours.
#[test]
fn numbers() {
    let of = |value: &str| {
        format!(r#"{{"resourceType":"RiskAssessment","prediction":[{{"probabilityDecimal":{value}}}]}}"#)
    };
    for version in VERSIONS {
        for (value, rows) in NUMBERS {
            check(version, &of(value), rows);
        }
    }
    let range = r#"{"resourceType":"RiskAssessment","prediction":[{"probabilityRange":{"low":{"value":10},"high":{"value":20}}}]}"#;
    check(
        R4,
        range,
        &[
            ("probability=15", false),
            ("probability=gt15", true),
            ("probability=gt20", false),
            ("probability=lt15", true),
            ("probability=sa9", true),
            ("probability=sa15", false),
            ("probability=eb21", true),
        ],
    );
}

const MILLIGRAMS: Rows = &[
    ("value-quantity=5.4", true),
    ("value-quantity=5.40", true),
    ("value-quantity=5.5", false),
    ("value-quantity=5.4|http://unitsofmeasure.org|mg", true),
    ("value-quantity=5.4|http://unitsofmeasure.org|g", false),
    ("value-quantity=5.4|http://unitsofmeasure.org|milligram", false),
    ("value-quantity=5.4|http://other|mg", false),
    ("value-quantity=5.4||mg", true),
    ("value-quantity=5.4||milligram", true),
    ("value-quantity=5.4||g", false),
    ("value-quantity=gt5", true),
    ("value-quantity=gt5||mg", true),
    ("value-quantity=gt5||g", false),
    ("value-quantity=lt5", false),
    ("value-quantity=ap5", true),
    ("value-quantity=ne5.4", false),
    ("value-quantity=5.4||g,5.4||mg", true),
    ("value-quantity:missing=false", true),
    ("combo-value-quantity=5.4", true),
];

const OTHER_QUANTITIES: &[(&str, Rows)] = &[
    (
        r#""value":5.4,"unit":"mg""#,
        &[("value-quantity=5.4||mg", true), ("value-quantity=5.4|http://unitsofmeasure.org|mg", false)],
    ),
    (
        r#""value":5,"comparator":"<""#,
        &[("value-quantity=5", false), ("value-quantity=lt6", false), ("value-quantity=ne7", false)],
    ),
    (r#""unit":"mg""#, &[("value-quantity=ne5", false), ("value-quantity:missing=true", false)]),
];

/// FHIR R4 §3.1.1, "quantity".
#[test]
fn quantities() {
    let of = |quantity: &str| format!(r#"{{"resourceType":"Observation","valueQuantity":{{{quantity}}}}}"#);
    let milligrams =
        of(r#""value":5.40,"unit":"milligram","system":"http://unitsofmeasure.org","code":"mg""#);
    for version in VERSIONS {
        check(version, &milligrams, MILLIGRAMS);
        for (quantity, rows) in OTHER_QUANTITIES {
            check(version, &of(quantity), rows);
        }
    }
}

const RANGES: &[(&str, Rows)] = &[
    (
        r#""resourceType":"Observation","valueSampledData":{"origin":{"value":5},"period":1,"dimensions":1}"#,
        &[("value-quantity=5", false), ("value-quantity:missing=true", false)],
    ),
    (
        r#""resourceType":"Invoice","totalGross":{"value":12.5,"currency":"EUR"}"#,
        &[
            ("totalgross=12.5||EUR", true),
            ("totalgross=12.5|urn:iso:std:iso:4217|EUR", true),
            ("totalgross=12.5||USD", false),
            ("totalgross=12.5|urn:x|EUR", false),
        ],
    ),
    (
        r#""resourceType":"Condition","onsetRange":{"low":{"value":10,"unit":"a"},"high":{"value":20,"unit":"a"}}"#,
        &[
            ("onset-age=gt15||a", true),
            ("onset-age=gt15||mo", false),
            ("onset-age=gt20||a", false),
            ("onset-age=sa9", true),
            ("onset-age=1e1", false),
        ],
    ),
    (
        r#""resourceType":"Condition","onsetRange":{"low":{"value":10,"unit":"a"}}"#,
        &[("onset-age=gt15||a", true), ("onset-age=lt5", false), ("onset-age=eb100", false)],
    ),
    (
        r#""resourceType":"Condition","onsetAge":{"value":10}"#,
        &[("onset-age=10", true), ("onset-age=11", false)],
    ),
    (
        r#""resourceType":"Condition","onsetString":"10""#,
        &[("onset-age=10", false), ("onset-info=10", true), ("onset-age:missing=true", true)],
    ),
];

/// Ranges, money and what is no quantity.
#[test]
fn other_types_of_quantity() {
    for (rest, rows) in RANGES {
        check(R4, &format!("{{{rest}}}"), rows);
    }
}
