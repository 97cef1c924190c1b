//! The kinds of search parameter, one table each.

use super::*;

const R4: FhirVersion = FhirVersion::R4;
const R5: FhirVersion = FhirVersion::R5;

/// FHIR R4 §3.1.1.4.10, SCOPE-46, SCOPE-47.
#[test]
fn tokens_of_concepts() {
    let json = r#"{"resourceType":"Observation","status":"final",
        "category":[{"coding":[{"system":"http://c","code":"vital-signs"}]},
            {"coding":[{"code":"bare","display":"Bare thing"},{"system":"http://C","code":"x"}],"text":"Übersicht all"}],
        "code":{"coding":[{"system":"http://loinc.org","code":"8480-6"}]},
        "method":{"text":"by hand"}}"#;
    let table = [
        ("category=vital-signs", true),
        ("category=vital", false),
        ("category=http://c|vital-signs", true),
        ("category=http://c|", true),
        ("category=|vital-signs", false),
        ("category=|bare", true),
        ("category=bare", true),
        ("category=http://c|bare", false),
        ("category=http://c|x", false),
        ("category=http://C|x", true),
        ("category=HTTP://c|x", false),
        ("category=http://c/|vital-signs", false),
        ("category=a,vital-signs", true),
        ("category=a,b", false),
        (r"category=a\,vital-signs", false),
        ("category:not=vital-signs", false),
        ("category:not=survey", true),
        ("category:not=survey,vital-signs", false),
        ("category:not=survey,exam", true),
        ("category:not=http://d|vital-signs", true),
        ("category:text=bare", true),
        ("category:text=thing", false),
        ("category:text=ubersicht", true),
        ("category:text=vital", false),
        // Case is not decided: neither it nor its opposite holds.
        ("category=Vital-Signs", false),
        ("category:not=Vital-Signs", false),
        // The system of a plain code is not in the resource.
        ("status=final", true),
        ("status=amended", false),
        ("status=http://hl7.org/fhir/observation-status|final", false),
        ("status:not=http://hl7.org/fhir/observation-status|final", false),
        ("status:not=http://hl7.org/fhir/observation-status|amended", true),
        ("status=http://hl7.org/fhir/observation-status|", false),
        ("status=|final", false),
        ("status:not=final", false),
        ("status:not=amended", true),
        // Nothing there: `:not` holds.
        ("data-absent-reason=x", false),
        ("data-absent-reason:not=x", true),
        ("data-absent-reason:missing=true", true),
        ("data-absent-reason:missing=false", false),
        ("method=by hand", false),
        ("method:text=By", true),
        ("method:not=by hand", true),
        // A text without a code is neither present nor missing.
        ("method:missing=true", false),
        ("method:missing=false", false),
        ("code:missing=false", true),
        ("code:missing=true", false),
    ];
    for version in VERSIONS {
        check(version, json, &table);
    }
}

#[test]
fn tokens_of_other_types() {
    let patient = r#"{"resourceType":"Patient","id":"p1","active":true,"gender":"female",
        "meta":{"tag":[{"system":"http://t","code":"a"}],"security":[{"code":"R"}]},
        "identifier":[{"type":{"coding":[{"system":"http://v2","code":"MR"}],"text":"Record"},"system":"urn:mrn","value":"4|7"},
            {"value":"x"}],
        "telecom":[{"system":"phone","value":"0301234"},{"system":"email","value":"a@b.test"},{"value":"none"}]}"#;
    let table = [
        ("_id=p1", true),
        ("_id=p", false),
        ("_id=P1", false),
        ("_id=a,p1", true),
        ("_tag=a", true),
        ("_tag=http://t|a", true),
        ("_tag=|a", false),
        ("_tag:not=a", false),
        ("_tag:not=b", true),
        ("_security=R", true),
        ("_security:not=R", false),
        ("_security=V", false),
        ("active=true", true),
        ("active=false", false),
        ("active=yes", false),
        ("active=x|true", false),
        ("gender=female", true),
        ("gender=male", false),
        (r"identifier=urn:mrn|4\|7", true),
        ("identifier=urn:mrn|4", false),
        ("identifier=urn:mrn|", true),
        ("identifier=|x", true),
        ("identifier=x", true),
        ("identifier=urn:mrn|x", false),
        (r"identifier:of-type=http://v2|MR|4\|7", true),
        ("identifier:of-type=http://v2|MR|x", false),
        (r"identifier:of-type=http://v2|SS|4\|7", false),
        (r"identifier:of-type=http://v3|MR|4\|7", false),
        ("identifier:text=rec", true),
        ("identifier:text=x", false),
        ("phone=0301234", true),
        ("phone=a@b.test", false),
        ("email=a@b.test", true),
        ("telecom=a@b.test", true),
        ("telecom=none", true),
        ("telecom=030", false),
    ];
    for version in VERSIONS {
        check(version, patient, &table);
    }
    check(
        R5,
        r#"{"resourceType":"Patient","language":"de"}"#,
        &[("_language=de", true), ("_language=en", false)],
    );
}

/// HL7 defines `deceased` by what it computes: true for a date or `true`.
#[test]
fn deceased() {
    let table = [
        (r#""deceasedBoolean":true"#, (true, false)),
        (r#""deceasedBoolean":false"#, (false, true)),
        (r#""deceasedDateTime":"2020-01-01""#, (true, false)),
        (r#""active":true"#, (false, true)),
        (r#""_deceasedBoolean":{"extension":[{"url":"u","valueCode":"unknown"}]}"#, (false, false)),
    ];
    for (rest, (dead, alive)) in table {
        let json = format!(r#"{{"resourceType":"Patient",{rest}}}"#);
        for version in VERSIONS {
            check(version, &json, &[("deceased=true", dead), ("deceased=false", alive)]);
        }
    }
}

/// FHIR R4 §3.1.1.4.8.
#[test]
fn strings() {
    let json = r#"{"resourceType":"Patient",
        "name":[{"family":"Müller-Lüdenscheidt","given":["Éva","Zoë Marie"],"use":"official"},{"text":"Evita, Queen"}],
        "address":[{"line":["Hauptstraße 1"],"city":"KÖLN","postalCode":"50667","country":"DE","use":"home"}]}"#;
    let table = [
        ("name=eva", true),
        ("name=EV", true),
        ("name=éva", true),
        ("name=e\u{301}va", true),
        ("name=va", false),
        ("name=marie", false),
        ("name=zoe m", true),
        ("name=mull", true),
        ("name=Mueller", false),
        ("name=official", false),
        ("name=x,evita", true),
        (r"name=Evita\, Q", true),
        (r"name=Evita\, K", false),
        ("family=muller-ludenscheidt", true),
        ("family=eva", false),
        ("given=eva", true),
        ("name:contains=marie", true),
        ("name:contains=dens", true),
        ("name:contains=xyz", false),
        ("name:exact=Éva", true),
        ("name:exact=Eva", false),
        ("name:exact=éva", false),
        ("name:exact=Év", false),
        ("family:exact=Müller-Lüdenscheidt", true),
        ("address=koln", true),
        ("address=hauptstraße", true),
        ("address=506", true),
        ("address=home", false),
        ("address-city=Koln", true),
        ("address-city=50667", false),
        ("name:missing=false", true),
        ("name:missing=true", false),
    ];
    for version in VERSIONS {
        check(version, json, &table);
    }
}

/// FHIR R4 §3.1.1.4.7: the examples of the specification and their neighbours.
#[test]
fn dates() {
    let of = |value: &str| format!(r#"{{"resourceType":"Patient","birthDate":{value:?}}}"#);
    let table: &[(&str, &[(&str, bool)])] = &[
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
            &[
                ("birthdate=ne2013", false),
                ("birthdate:missing=true", false),
                ("birthdate:missing=false", false),
            ],
        ),
    ];
    for version in VERSIONS {
        for (value, rows) in table {
            check(version, &of(value), rows);
        }
        check(
            version,
            r#"{"resourceType":"Patient"}"#,
            &[("birthdate:missing=true", true), ("birthdate=ne2013", false)],
        );
    }
}

/// Instants are compared wherever they are on the earth; what says no zone must hold in each that is in question.
#[test]
fn time_zones_and_precision() {
    let of = |value: &str| format!(r#"{{"resourceType":"Observation","effectiveDateTime":{value:?}}}"#);
    let table: &[(&str, &[(&str, bool)])] = &[
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
    for version in VERSIONS {
        for (value, rows) in table {
            check(version, &of(value), rows);
        }
    }
}

/// Periods are open where they do not say; of a Timing only the outer limits count.
#[test]
fn periods_and_timings() {
    let table: &[(&str, &[(&str, bool)])] = &[
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
    for (rest, rows) in table {
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

/// FHIR R4 §3.1.1.4.6: the examples of the specification and their neighbours.
#[test]
fn numbers() {
    let of = |value: &str| {
        format!(r#"{{"resourceType":"RiskAssessment","prediction":[{{"probabilityDecimal":{value}}}]}}"#)
    };
    let table: &[(&str, &[(&str, bool)])] = &[
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
    for version in VERSIONS {
        for (value, rows) in table {
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

/// FHIR R4 §3.1.1.4.12.
#[test]
fn quantities() {
    let ucum = "http://unitsofmeasure.org";
    let of = |quantity: &str| format!(r#"{{"resourceType":"Observation","valueQuantity":{{{quantity}}}}}"#);
    let coded = of(&format!(r#""value":5.40,"unit":"milligram","system":"{ucum}","code":"mg""#));
    let rows = [
        ("value-quantity=5.4", true),
        ("value-quantity=5.40", true),
        ("value-quantity=5.5", false),
        (&*format!("value-quantity=5.4|{ucum}|mg"), true),
        (&*format!("value-quantity=5.4|{ucum}|g"), false),
        ("value-quantity=5.4|http://other|mg", false),
        ("value-quantity=5.4||mg", true),
        ("value-quantity=5.4||milligram", true),
        ("value-quantity=5.4||g", false),
        (&*format!("value-quantity=5.4|{ucum}|milligram"), false),
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
    for version in VERSIONS {
        check(version, &coded, &rows);
        check(
            version,
            &of(r#""value":5.4,"unit":"mg""#),
            &[("value-quantity=5.4||mg", true), (&*format!("value-quantity=5.4|{ucum}|mg"), false)],
        );
        check(
            version,
            &of(r#""value":5,"comparator":"<""#),
            &[("value-quantity=5", false), ("value-quantity=lt6", false), ("value-quantity=ne7", false)],
        );
        check(
            version,
            &of(r#""unit":"mg""#),
            &[("value-quantity=ne5", false), ("value-quantity:missing=true", false)],
        );
    }
    check(
        R4,
        r#"{"resourceType":"Observation","valueSampledData":{"origin":{"value":5},"period":1,"dimensions":1}}"#,
        &[("value-quantity=5", false)],
    );
    check(
        R4,
        r#"{"resourceType":"Invoice","totalGross":{"value":12.5,"currency":"EUR"}}"#,
        &[
            ("totalgross=12.5||EUR", true),
            ("totalgross=12.5|urn:iso:std:iso:4217|EUR", true),
            ("totalgross=12.5||USD", false),
            ("totalgross=12.5|urn:x|EUR", false),
        ],
    );
    check(
        R4,
        r#"{"resourceType":"Condition","onsetRange":{"low":{"value":10,"unit":"a"},"high":{"value":20,"unit":"a"}}}"#,
        &[
            ("onset-age=gt15||a", true),
            ("onset-age=gt15||mo", false),
            ("onset-age=gt20||a", false),
            ("onset-age=sa9", true),
        ],
    );
    check(
        R4,
        r#"{"resourceType":"Condition","onsetAge":{"value":10}}"#,
        &[("onset-age=10", true), ("onset-age=11", false)],
    );
    check(
        R4,
        r#"{"resourceType":"Condition","onsetString":"10"}"#,
        &[("onset-age=10", false), ("onset-info=10", true), ("onset-age:missing=true", true)],
    );
}

/// FHIR R4 §3.1.1.4.13.
#[test]
fn uris() {
    let json = r#"{"resourceType":"ValueSet","url":"http://acme.org/fhir/ValueSet/123","version":"1"}"#;
    let table = [
        ("url=http://acme.org/fhir/ValueSet/123", true),
        ("url=http://acme.org/fhir/ValueSet/12", false),
        ("url=http://acme.org/fhir/valueset/123", false),
        ("url=https://acme.org/fhir/ValueSet/123", false),
        ("url=a,http://acme.org/fhir/ValueSet/123", true),
        ("url:below=http://acme.org/fhir/", true),
        ("url:below=http://acme.org/fhir", true),
        ("url:below=http://acme.org/fh", false),
        ("url:below=http://acme.org/fhir/ValueSet/123", true),
        ("url:below=http://acme.org/fhir/ValueSet/123/4", false),
        ("url:above=http://acme.org/fhir/ValueSet/123/_history/5", true),
        ("url:above=http://acme.org/fhir/ValueSet/1234", false),
        ("url:above=http://acme.org/fhir/ValueSet/123", true),
        ("url:above=http://acme.org/fhir", false),
        ("url:missing=false", true),
        ("url:missing=true", false),
    ];
    for version in VERSIONS {
        check(version, json, &table);
    }
    check(
        R4,
        r#"{"resourceType":"ValueSet","url":"urn:oid:1.2.3"}"#,
        &[("url=urn:oid:1.2.3", true), ("url:below=urn:oid:1.2", false), ("url:below=urn:oid:1.2.3", true)],
    );
}

/// FHIR R4 §3.1.1.4.14: all parts on one element.
#[test]
fn composites() {
    let json = r#"{"resourceType":"Observation","code":{"coding":[{"system":"http://loinc.org","code":"85354-9"}]},
        "component":[
            {"code":{"coding":[{"system":"http://loinc.org","code":"8480-6"}]},"valueQuantity":{"value":120,"unit":"mmHg"}},
            {"code":{"coding":[{"system":"http://loinc.org","code":"8462-4"}]},"valueQuantity":{"value":80,"unit":"mmHg"}},
            {"code":{"coding":[{"code":"a$b"}]},"valueCodeableConcept":{"coding":[{"code":"yes"}]}}]}"#;
    let table = [
        ("component-code-value-quantity=8480-6$120", true),
        ("component-code-value-quantity=http://loinc.org|8480-6$gt100||mmHg", true),
        ("component-code-value-quantity=8480-6$80", false),
        ("component-code-value-quantity=8462-4$gt100", false),
        ("component-code-value-quantity=8462-4$gt100,8462-4$lt100", true),
        ("component-code-value-concept=8480-6$yes", false),
        (r"component-code-value-concept=a\$b$yes", true),
        ("combo-code-value-quantity=8480-6$120", true),
        ("combo-code-value-quantity=85354-9$120", false),
        ("code-value-quantity=8480-6$120", false),
    ];
    for version in VERSIONS {
        check(version, json, &table);
    }
    let sequence = r#"{"resourceType":"MolecularSequence","referenceSeq":{"chromosome":{"coding":[{"code":"1"}]}},
        "variant":[{"start":5,"end":9}]}"#;
    check(
        R4,
        sequence,
        &[
            ("chromosome-variant-coordinate=1$lt6$gt8", true),
            ("chromosome-variant-coordinate=2$lt6$gt8", false),
        ],
    );
    let group = r#"{"resourceType":"Group","characteristic":[{"code":{"coding":[{"code":"g"}]},"valueBoolean":true}]}"#;
    for version in VERSIONS {
        check(
            version,
            group,
            &[("characteristic-value=g$true", true), ("characteristic-value=g$false", false)],
        );
    }
}

/// Extensions are selected by their URL, and never stand in for what they extend.
#[test]
fn extensions() {
    let alias = "http://hl7.org/fhir/StructureDefinition/careteam-alias";
    let json = format!(
        r#"{{"resourceType":"CareTeam","name":"One","extension":[{{"url":"{alias}","valueString":"Two"}},
            {{"url":"http://other","valueString":"Three"}}]}}"#
    );
    check(R5, &json, &[("name=one", true), ("name=two", true), ("name=three", false)]);
    let subject = "http://hl7.org/fhir/StructureDefinition/questionnaireresponse-isSubject";
    let answer = |url: &str| {
        format!(
            r#"{{"resourceType":"QuestionnaireResponse","item":[{{"linkId":"1","extension":[{{"url":"{url}","valueBoolean":true}}],
                "answer":[{{"valueReference":{{"reference":"Patient/a"}}}}]}}]}}"#
        )
    };
    check(R5, &answer(subject), &[("item-subject=Patient/a", true)]);
    check(R5, &answer("http://other"), &[("item-subject=Patient/a", false)]);
    let birth = r#"{"resourceType":"Patient","birthDate":"2000-01-01","_birthDate":{"extension":[{"url":"u","valueDateTime":"2001-01-01"}]}}"#;
    check(R4, birth, &[("birthdate=2000", true), ("birthdate=2001", false)]);
}
