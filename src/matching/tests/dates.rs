//! Dates, periods and timings.

use super::*;

const R4: FhirVersion = FhirVersion::R4;
const R5: FhirVersion = FhirVersion::R5;

const DATES: &[(&str, Rows)] = &[
    (
        "2013-01-14",
        &[
            ("birthdate=2013-01-14", true),
            ("birthdate=eq2013-01-14", true),
            ("birthdate=2013-01", true),
            ("birthdate=2013", true),
            ("birthdate=2013-01-15", false),
            ("birthdate=2013-02", false),
            ("birthdate=2013-01-14T10:00", false),
            ("birthdate=ne2013-01-14", false),
            ("birthdate=ne2013", false),
            ("birthdate=ne2013-01-15", true),
            ("birthdate=gt2013-01-13", true),
            ("birthdate=gt2013-01-14", false),
            ("birthdate=gt2013-01-14T10:00", true),
            ("birthdate=lt2013-01-15", true),
            ("birthdate=lt2013-01-14", false),
            ("birthdate=lt2013-01-14T10:00", true),
            ("birthdate=ge2013-01-14", true),
            ("birthdate=ge2013", true),
            ("birthdate=ge2013-01-15", false),
            ("birthdate=le2013-01-14", true),
            ("birthdate=le2013-01-13", false),
            ("birthdate=sa2013-01-13", true),
            ("birthdate=sa2013-01-14", false),
            ("birthdate=sa2012", true),
            ("birthdate=eb2013-01-15", true),
            ("birthdate=eb2013-01-14", false),
            ("birthdate=2012,2013", true),
            ("birthdate=2012,2014", false),
            ("birthdate:missing=false", true),
        ],
    ),
    (
        "2013",
        &[
            ("birthdate=2013", true),
            ("birthdate=2013-01", false),
            ("birthdate=ne2013-01", true),
            ("birthdate=gt2013-06", true),
            ("birthdate=lt2013-06", true),
            ("birthdate=sa2013-06", false),
            ("birthdate=eb2014", true),
        ],
    ),
    (
        "2012-02",
        &[
            ("birthdate=le2012-02-29", true),
            ("birthdate=le2012-01", false),
            ("birthdate=lt2012-02-29", true),
            ("birthdate=2012-02", true),
        ],
    ),
    (
        "soon",
        &[("birthdate=ne2013", false), ("birthdate:missing=true", false), ("birthdate:missing=false", false)],
    ),
];

/// FHIR R4 §3.1.1, "date": the examples of the specification and their neighbours.
#[test]
fn dates() {
    let of = |value: &str| format!(r#"{{"resourceType":"Patient","birthDate":{value:?}}}"#);
    for version in VERSIONS {
        for (value, rows) in DATES {
            check(version, &of(value), rows);
        }
        check(
            version,
            r#"{"resourceType":"Patient"}"#,
            &[("birthdate:missing=true", true), ("birthdate=ne2013", false)],
        );
    }
}

const TIMES: &[(&str, Rows)] = &[
    (
        "2020-03-01T08:00:00+01:00",
        &[
            ("date=2020-03-01T07:00:00Z", true),
            ("date=2020-03-01T08:00:00+01:00", true),
            ("date=2020-03-01T08:00:00Z", false),
            ("date=2020-03-01T02:00:00-05:00", true),
            ("date=2020-03-01T08:00+01:00", true),
            ("date=2020-03-01T08:00:00.0+01:00", false),
            ("date=gt2020-03-01T06:59:59Z", true),
            ("date=gt2020-03-01T07:00:00Z", false),
            ("date=2020-03-01", true),
            ("date=ge2020-03-01", true),
            ("date=le2020-02-29", false),
            // In UTC it is seven, on the wall eight.
            ("date=2020-03-01T08:00:00", false),
            ("date=ne2020-03-01T08:00:00", false),
        ],
    ),
    (
        "2020-03-01T00:30:00+01:00",
        &[
            ("date=2020-03-01", false),
            ("date=2020-02-29", false),
            ("date=2020-03", false),
            ("date=2020", true),
        ],
    ),
    (
        "2020-03-01T07:00:00.123Z",
        &[
            ("date=2020-03-01T07:00:00Z", true),
            ("date=2020-03-01T07:00:00.123Z", true),
            ("date=2020-03-01T07:00:00.124Z", false),
            ("date=2020-03-01T07:00:00.1230Z", false),
        ],
    ),
    ("2020-03-01T07:00:00+01", &[("date=2020", false)]),
    ("2020-03-01T07:00:60Z", &[("date=2020", false)]),
];

/// Instants are compared wherever they are on the earth; what says no zone must hold in each that is in question.
#[test]
fn time_zones_and_precision() {
    let of = |value: &str| format!(r#"{{"resourceType":"Observation","effectiveDateTime":{value:?}}}"#);
    for version in VERSIONS {
        for (value, rows) in TIMES {
            check(version, &of(value), rows);
        }
    }
}

const PERIODS: &[(&str, Rows)] = &[
    (
        r#""effectivePeriod":{"start":"2020-01-10","end":"2020-01-20"}"#,
        &[
            ("date=2020-01", true),
            ("date=2020-01-10", false),
            ("date=ge2020-01-10", true),
            ("date=ge2020-01-20", false),
            ("date=gt2020-01-19", true),
            ("date=gt2020-01-20", false),
            ("date=lt2020-01-11", true),
            ("date=lt2020-01-10", false),
            ("date=sa2020-01-09", true),
            ("date=sa2020-01-10", false),
            ("date=eb2020-01-21", true),
            ("date=eb2020-01-20", false),
        ],
    ),
    (
        r#""effectivePeriod":{"start":"2020-01-10"}"#,
        &[
            ("date=gt2030", true),
            ("date=lt2020-01-11", true),
            ("date=lt2020", false),
            ("date=eb2030", false),
            ("date=2020", false),
            ("date=ne2020", true),
        ],
    ),
    (
        r#""effectivePeriod":{"end":"2020-01-10"}"#,
        &[("date=lt1900", true), ("date=sa1900", false), ("date=gt2020-01-10", false)],
    ),
    (
        r#""effectivePeriod":{"extension":[{"url":"u","valueCode":"x"}]}"#,
        &[("date=ne2020", false), ("date:missing=true", false), ("date:missing=false", false)],
    ),
    (
        r#""effectivePeriod":{"start":"2020-01-10","end":"soon"}"#,
        &[("date=gt2030", false), ("date=sa2019", false)],
    ),
    (
        r#""effectiveTiming":{"event":["2020-01-20","2020-01-10"]}"#,
        &[
            ("date=2020-01", true),
            ("date=2020-01-10", false),
            ("date=sa2020-01-09", true),
            ("date=eb2020-01-21", true),
        ],
    ),
    (
        r#""effectiveTiming":{"repeat":{"boundsPeriod":{"start":"2020-01-10","end":"2020-01-20"},"frequency":1}}"#,
        &[("date=2020-01", true), ("date=gt2020-01-20", false)],
    ),
    (r#""effectiveTiming":{"event":["2020-01-20"],"repeat":{"frequency":1}}"#, &[("date=ne1900", false)]),
    (r#""effectiveInstant":"2020-01-10T00:00:00Z""#, &[("date=2020-01", true), ("date=2021", false)]),
    (r#""effective":"2020-01-10""#, &[("date=2020-01", true)]),
    (r#""effectiveness":"2020-01-10""#, &[("date=2020-01", false), ("date:missing=true", true)]),
];

/// Periods are open where they do not say; of a Timing only the outer limits count.
#[test]
fn periods_and_timings() {
    for (rest, rows) in PERIODS {
        let json = format!(r#"{{"resourceType":"Observation",{rest}}}"#);
        check(R4, &json, rows);
        if !rest.starts_with(r#""effective":"#) {
            check(R5, &json, rows);
        }
    }
    // A string is no date, though it may look like one.
    let performed = r#"{"resourceType":"Procedure","performedString":"2020"}"#;
    check(
        R4,
        performed,
        &[("date=2020", false), ("date:missing=true", false), ("date:missing=false", false)],
    );
    // R5 takes the first of two.
    let appointment = r#"{"resourceType":"Appointment","start":"2020-01-10T10:00:00Z","requestedPeriod":[{"start":"2021-01-01"}]}"#;
    check(R5, appointment, &[("date=2020", true), ("date=2021", false)]);
    let requested = r#"{"resourceType":"Appointment","requestedPeriod":[{"start":"2021-01-01"}]}"#;
    check(R5, requested, &[("date=2021", true), ("date=2020", false)]);
}
