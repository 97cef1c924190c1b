use super::*;

/// Reads the tables' short form of an operation: its type, its path and what it takes, with `|` between them.
fn operation(short: &str) -> Value {
    let mut fields = short.splitn(4, '|');
    let mut field = || fields.next().expect(short);
    let (kind, path) = (field(), field());
    let text = |name: &str, content: &str| value!({"name":name,"valueString":content});
    let position =
        |name: &str, at: &str| value!({"name":name,"valueInteger":at.parse::<u32>().expect(short)});
    let content =
        |it: &str| -> Value { serde_json::from_str(&format!(r#"{{"name":"value",{it}}}"#)).expect(short) };
    let mut parts = vec![value!({"name":"type","valueCode":kind}), text("path", path)];
    parts.extend(match kind {
        "add" => vec![text("name", field()), content(field())],
        "insert" => vec![position("index", field()), content(field())],
        "move" => vec![position("source", field()), position("destination", field())],
        "replace" => vec![content(field())],
        _ => vec![],
    });
    value!({"name":"operation","part":parts})
}

fn delete(path: &str) -> Value {
    let path = value!({"name":"path","valueString":path});
    value!({"name":"operation","part":[{"name":"type","valueCode":"delete"},path]})
}

/// The XML of a JSON element.
fn xml(name: &str, content: &Value, out: &mut String) {
    match content {
        Value::Array(items) => items.iter().for_each(|item| xml(name, item, out)),
        Value::Object(members) => {
            out.push_str(&format!("<{name}>"));
            let members = members.iter().filter(|(name, _)| *name != "resourceType");
            members.for_each(|(name, it)| xml(name, it, out));
            out.push_str(&format!("</{name}>"));
        }
        Value::String(text) => {
            let mut escaped = Vec::new();
            crate::fhir::xml::escape_into(text, &mut escaped);
            out.push_str(&format!("<{name} value=\"{}\"/>", String::from_utf8(escaped).expect("UTF-8")));
        }
        Value::Bool(_) | Value::Null | Value::Number(_) => {
            out.push_str(&format!("<{name} value=\"{content}\"/>"))
        }
    }
}

/// The outcome of the patch as JSON, after the patch as XML has come to the same.
fn in_version(before: &str, operations: &[Value], version: FhirVersion) -> Result<Value, String> {
    let parameters = value!({"resourceType":"Parameters","parameter":operations});
    let json = document(parameters.to_string(), Format::Json);
    let from_json = outcome(fhirpath(before.as_bytes(), &json, version));
    let mut text = String::new();
    xml("Parameters", &parameters, &mut text);
    let text = text.replacen("<Parameters", r#"<Parameters xmlns="http://hl7.org/fhir""#, 1);
    let from_xml = outcome(fhirpath(before.as_bytes(), &document(text, Format::Xml), version));
    match (&from_json, &from_xml) {
        (Ok(one), Ok(two)) => assert_eq!(view(one), view(two), "{operations:?}"),
        (one, two) => assert_eq!(one, two, "{operations:?}"),
    }
    from_json
}

fn patched(before: &str, operations: &[Value]) -> Result<Value, String> {
    in_version(before, operations, FhirVersion::R4)
}

/// A resource as policy sees it.
fn view(resource: &Value) -> String {
    fn shown(element: Element<'_>) -> String {
        let children: Vec<_> = element.all().map(shown).collect();
        format!("{}={:?}({})", element.name(), element.value(), children.join(" "))
    }
    let bytes = resource.to_string();
    let document = element::Document::read(bytes.as_bytes(), Format::Json).expect("a resource");
    shown(document.root())
}

/// Members of a resource, operations, and the members that result or the error.
type Row<'t> = (&'t str, &'t [&'t str], &'t str);

fn check(resource_type: &str, table: &[Row<'_>]) {
    let begun = format!(r#""resourceType":"{resource_type}""#);
    for (before, operations, after) in table {
        let patch: Vec<_> = operations.iter().map(|short| operation(short)).collect();
        let outcome = patched(&resource_of(&begun, before), &patch);
        assert_eq!(outcome, expected(&begun, after), "{before} {operations:?}");
    }
}

const HL7: &[Row<'_>] = &[
    (r#""birthDate":"1920-01-01""#, &[], r#""birthDate":"1920-01-01""#),
    (
        r#""birthDate":"1920-01-01""#,
        &[r#"replace|Patient.birthDate|"valueDate":"1930-01-01""#],
        r#""birthDate":"1930-01-01""#,
    ),
    (r#""birthDate":"1920-01-01""#, &["delete|Patient.birthDate"], ""),
    ("", &[r#"add|Patient|birthDate|"valueDate":"1930-01-01""#], r#""birthDate":"1930-01-01""#),
    (
        r#""contact":[{"name":{"text":"a name"},"gender":"male"}]"#,
        &[r#"replace|Patient.contact[0].gender|"valueCode":"female""#],
        r#""contact":[{"name":{"text":"a name"},"gender":"female"}]"#,
    ),
    (
        r#""contact":[{"name":{"text":"a name"},"gender":"male"}]"#,
        &[r#"replace|Patient.contact[0].name.text|"valueString":"the name""#],
        r#""contact":[{"name":{"text":"the name"},"gender":"male"}]"#,
    ),
    (
        r#""contact":[{"name":{"text":"a name"},"gender":"male"}]"#,
        &["delete|Patient.contact[0].gender"],
        r#""contact":[{"name":{"text":"a name"}}]"#,
    ),
    (
        r#""contact":[{"name":{"text":"a name"}}]"#,
        &[r#"add|Patient.contact[0]|gender|"valueCode":"male""#],
        r#""contact":[{"name":{"text":"a name"},"gender":"male"}]"#,
    ),
    (
        "",
        &[r#"add|Patient|maritalStatus|"valueCodeableConcept":{"text":"married"}"#],
        r#""maritalStatus":{"text":"married"}"#,
    ),
    (
        r#""maritalStatus":{"id":"1","text":"married"}"#,
        &[r#"replace|Patient.maritalStatus|"valueCodeableConcept":{"text":"not married"}"#],
        r#""maritalStatus":{"text":"not married"}"#,
    ),
    (r#""maritalStatus":{"text":"married"}"#, &["delete|Patient.maritalStatus"], ""),
    (
        "",
        &[r#"add|Patient|contact|"part":[{"name":"name","valueHumanName":{"text":"a name"}}]"#],
        r#""contact":{"name":{"text":"a name"}}"#,
    ),
    (r#""contact":[{"name":{"text":"a name"}}]"#, &["delete|Patient.contact[0]"], ""),
    ("", &[r#"add|Patient|identifier|"valueIdentifier":{"value":"3"}"#], r#""identifier":{"value":"3"}"#),
    (
        r#""identifier":[{"use":"official","value":"123"}]"#,
        &[r#"add|Patient.identifier.where(use = 'official').period|end|"valueDate":"2021-12-01""#],
        "Missing",
    ),
];

/// Values of identifiers, operations, and the values that result.
const HL7_LISTS: &[(&[u8], &[&str], &[u8])] = &[
    (
        &[1, 2],
        &[
            r#"replace|Patient.identifier[0].value|"valueString":"2""#,
            r#"replace|Patient.identifier[1].value|"valueString":"1""#,
        ],
        &[2, 1],
    ),
    (&[1, 2], &[r#"insert|Patient.identifier|2|"valueIdentifier":{"value":"3"}"#], &[1, 2, 3]),
    (&[1, 2], &[r#"insert|Patient.identifier|1|"valueIdentifier":{"value":"3"}"#], &[1, 3, 2]),
    (&[1, 2], &[r#"insert|Patient.identifier|0|"valueIdentifier":{"value":"3"}"#], &[3, 1, 2]),
    (&[1, 2], &[r#"add|Patient|identifier|"valueIdentifier":{"value":"3"}"#], &[1, 2, 3]),
    (&[1, 2, 3], &["delete|Patient.identifier[0]"], &[2, 3]),
    (&[1, 2, 3], &["delete|Patient.identifier[1]"], &[1, 3]),
    (&[1, 2, 3], &["delete|Patient.identifier[2]"], &[1, 2]),
    (&[1, 2, 3, 4], &["move|Patient.identifier|3|1"], &[1, 4, 2, 3]),
    (&[1, 2, 3, 4], &["move|Patient.identifier|3|0"], &[4, 1, 2, 3]),
    (&[1, 2, 3, 4], &["move|Patient.identifier|3|2"], &[1, 2, 4, 3]),
    (&[1, 2, 3, 4], &["move|Patient.identifier|0|3"], &[2, 3, 4, 1]),
    (&[1, 2, 3, 4], &["move|Patient.identifier|1|0", "move|Patient.identifier|2|1"], &[2, 3, 1, 4]),
    (
        &[1, 2, 3, 4],
        &["move|Patient.identifier|3|0", "move|Patient.identifier|3|1", "move|Patient.identifier|3|2"],
        &[4, 3, 2, 1],
    ),
];

/// The cases of HL7's fhir-test-cases (r4/patch/fhir-path-tests.xml).
#[test]
fn fhirpath_patch_does_what_hl7_tests() {
    check("Patient", HL7);
    let identifiers = |values: &[u8]| {
        let items: Vec<_> = values.iter().map(|it| format!(r#"{{"value":"{it}"}}"#)).collect();
        if items.is_empty() { String::new() } else { format!(r#""identifier":[{}]"#, items.join(",")) }
    };
    for (before, operations, after) in HL7_LISTS {
        check("Patient", &[(&identifiers(before), operations, &identifiers(after))]);
    }
}

const CHOICES: &[Row<'_>] = &[
    ("", &[r#"add|Observation|value|"valueQuantity":{"value":5}"#], r#""valueQuantity":{"value":5}"#),
    (
        r#""component":[{"id":"c"}]"#,
        &[r#"add|Observation.component[0]|value|"valueString":"x""#],
        r#""component":[{"id":"c","valueString":"x"}]"#,
    ),
    (
        r#""component":[{"id":"c"}]"#,
        &[
            r#"insert|Observation.component|1|"part":[{"name":"code","valueCodeableConcept":{"text":"t"}},{"name":"value","valueInteger":1}]"#,
        ],
        r#""component":[{"id":"c"},{"code":{"text":"t"},"valueInteger":1}]"#,
    ),
    (r#""valueString":"y""#, &[r#"replace|Observation.value|"valueQuantity":{"value":5}"#], "Unsupported"),
    (
        r#""valueQuantity":{"value":1}"#,
        &[r#"replace|Observation.value|"valueCodeableConcept":{"text":"x"}"#],
        r#""valueCodeableConcept":{"text":"x"}"#,
    ),
    (
        r#""valueString":"y","status":"final""#,
        &[r#"replace|Observation.value|"valueInteger":1"#],
        r#""valueInteger":1,"status":"final""#,
    ),
    (r#""valueString":"y","_valueString":{"id":"i"}"#, &["delete|Observation.value"], ""),
    (r#""valueString":"y""#, &[r#"add|Observation|value|"valueQuantity":{"value":5}"#], "Exists"),
    (r#""_valueString":{"id":"y"}"#, &[r#"add|Observation|value|"valueInteger":5"#], "Ambiguous"),
    (
        r#""valueString":"y","_valueString":{"id":"i"}"#,
        &[r#"replace|Observation.value|"valueInteger":5"#],
        "Ambiguous",
    ),
    (r#""valueString":"y","valueInteger":1"#, &["delete|Observation.value"], "Ambiguous"),
    (r#""valueString":"y","ValueInteger":1"#, &["delete|Observation.value"], "Ambiguous"),
    (r#""valueString":"y""#, &["delete|Observation.valueString"], "Unsupported"),
    ("", &[r#"add|Observation|valueQuantity|"valueQuantity":{"value":5}"#], "Unsupported"),
    // HAPI writes a string.
    ("", &[r#"add|Observation|value|"valueCode":"x""#], "Unsupported"),
    (r#""valueString":"y""#, &[r#"replace|Observation.value|"valueCode":"x""#], "Unsupported"),
    ("", &[r#"add|Observation|value|"part":[{"name":"value","valueDecimal":1}]"#], "Unsupported"),
    (
        r#""valueQuantity":{"value":1}"#,
        &[r#"add|Observation.value.ofType(Quantity)|unit|"valueString":"mg""#],
        r#""valueQuantity":{"value":1,"unit":"mg"}"#,
    ),
    (
        r#""valueQuantity":{"value":1}"#,
        &[r#"add|Observation.value.as(Quantity)|unit|"valueString":"mg""#],
        r#""valueQuantity":{"value":1,"unit":"mg"}"#,
    ),
    (
        r#""valueQuantity":{"value":1}"#,
        &[r#"add|Observation.value.ofType(Age)|unit|"valueString":"mg""#],
        "Unsupported",
    ),
    (
        r#""valueQuantity":{"value":1}"#,
        &[r#"replace|Observation.value.value|"valueDecimal":2.50"#],
        r#""valueQuantity":{"value":2.50}"#,
    ),
    // Names that are choices elsewhere.
    (
        r#""identifier":[{"system":"s"}]"#,
        &[r#"add|Observation.identifier[0]|value|"valueString":"x""#],
        r#""identifier":[{"system":"s","value":"x"}]"#,
    ),
    // Choices of data types.
    (
        r#""extension":[{"url":"u","valueString":"y"},{"url":"v"}]"#,
        &[r#"add|Observation.extension('v')|value|"valueString":"x""#],
        r#""extension":[{"url":"u","valueString":"y"},{"url":"v","valueString":"x"}]"#,
    ),
    (
        r#""extension":[{"url":"u","valueString":"y"}]"#,
        &[r#"replace|Observation.extension.where(url = 'u').value|"valueString":"x""#],
        r#""extension":[{"url":"u","valueString":"x"}]"#,
    ),
    (
        r#""note":[{"text":"t"}]"#,
        &[r#"add|Observation.note[0]|author|"valueString":"x""#],
        r#""note":[{"text":"t","authorString":"x"}]"#,
    ),
    (
        r#""effectiveTiming":{"repeat":{"count":1}}"#,
        &[r#"add|Observation.effective.repeat|bounds|"valueDuration":{"value":1}"#],
        r#""effectiveTiming":{"repeat":{"count":1,"boundsDuration":{"value":1}}}"#,
    ),
];

/// Choices are named by their value's type, in the elements that HL7 calls choices and nowhere else.
#[test]
fn choices_have_the_name_of_their_type() {
    check("Observation", CHOICES);
    // The same name is a choice in one version and none in another.
    let request = r#"{"resourceType":"MedicationRequest","medicationCodeableConcept":{"text":"m"}}"#;
    let gone = [delete("MedicationRequest.medication")];
    assert_eq!(patched(request, &gone), Ok(value!({"resourceType":"MedicationRequest"})));
    let untouched = in_version(request, &gone, FhirVersion::R5);
    assert_eq!(untouched.map(|it| it.to_string()).as_deref(), Ok(request));
    // What is made like another element is as it.
    let path = "Questionnaire.item[0].item[0].item[0].initial[0]";
    let initial = |it: &str| format!(r#""item":[{{"item":[{{"item":[{{"initial":[{it}]}}]}}]}}]"#);
    let add = format!(r#"add|{path}|value|"valueString":"x""#);
    check(
        "Questionnaire",
        &[(&initial(r#"{"id":"i"}"#), &[&add], &initial(r#"{"id":"i","valueString":"x"}"#))],
    );
}

const SELECTED: &[(&str, Option<&str>)] = &[
    ("Patient.telecom[1]", Some("/telecom/1")),
    ("Patient.telecom.first()", Some("/telecom/0")),
    ("Patient.telecom.last()", Some("/telecom/2")),
    ("Patient.telecom.where(system = 'email')", Some("/telecom/1")),
    ("Patient.telecom.where(system='phone' and value='3')", Some("/telecom/2")),
    ("Patient.telecom.where( system = 'phone'  and  use = 'home' )", Some("/telecom/0")),
    ("Patient.telecom.where(system='phone').last()", Some("/telecom/2")),
    ("Patient.telecom.where(system='phone')[1]", Some("/telecom/2")),
    ("Patient.telecom.where(use='home').value", Some("/telecom/0/value")),
    ("Patient.name.family", Some("/name/1/family")),
    ("Patient.name[0].given[1]", Some("/name/0/given/1")),
    ("Patient.name.where(use = 'official').given.last()", Some("/name/0/given/1")),
    ("Patient.contact.where(name.family = 'Y').gender", Some("/contact/1/gender")),
    ("Patient.extension('http://u.test/a').id", Some("/extension/0/id")),
    ("Patient.extension.where(url='http://u.test/a')", Some("/extension/0")),
    ("Patient.birthDate", Some("/birthDate")),
    ("Patient.birthDate[0]", Some("/birthDate")),
    // Nothing is there: nothing is deleted, and that is no error.
    ("Patient.telecom[3]", None),
    ("Patient.deceased", None),
    ("Patient.telecom.where(system = 'fax')", None),
    ("Patient.managingOrganization.identifier.where(system = 'x')", None),
];

/// The paths that are understood, by what they delete.
#[test]
fn paths_select_what_fhirpath_says() {
    let before = value!({
        "resourceType": "Patient",
        "name": [{"use":"official","given":["A","B"]},{"use":"usual","given":["C"],"family":"F"}],
        "telecom": [
            {"system":"phone","value":"1","use":"home"},{"system":"email","value":"2"},{"system":"phone","value":"3"}
        ],
        "contact": [{"name":{"family":"X"},"gender":"male"},{"name":{"family":"Y"},"gender":"female"}],
        "extension": [{"id":"e","url":"http://u.test/a","valueString":"x"}],
        "birthDate": "1970-01-01", "active": true
    })
    .to_string();
    for (path, gone) in SELECTED {
        let removed = gone.map(|gone| format!(r#"{{"op":"remove","path":"{gone}"}}"#)).unwrap_or_default();
        let after = outcome(json(before.as_bytes(), format!("[{removed}]").as_bytes()));
        assert_eq!(patched(&before, &[delete(path)]), after, "{path}");
    }
    // A primitive goes with its extensions.
    let gender = r#"{"resourceType":"Patient","gender":"male","_gender":{"id":"g"}}"#;
    assert_eq!(patched(gender, &[delete("Patient.gender")]), Ok(value!({"resourceType":"Patient"})));
}

const REFUSED: &[(&str, &str)] = &[
    ("patient.gender", "Unsupported"),
    ("gender", "Unsupported"),
    ("Observation.gender", "Unsupported"),
    ("Resource.gender", "Unsupported"),
    ("Patient..gender", "Unsupported"),
    ("Patient.gender.", "Unsupported"),
    ("Patient .gender", "Unsupported"),
    ("Patient[0].gender", "Unsupported"),
    ("Patient.telecom[-1]", "Unsupported"),
    ("Patient.telecom[00]", "Unsupported"),
    ("Patient.telecom[0", "Unsupported"),
    ("Patient.telecom[$index]", "Unsupported"),
    ("Patient[.name", "Unsupported"),
    ("Patient.`gender`", "Unsupported"),
    ("Patient._gender", "Unsupported"),
    ("Patient.Gender", "Unsupported"),
    ("Patient.birthdate", "Ambiguous"),
    ("Patient.telecom.single()", "Unsupported"),
    ("Patient.telecom.where(system != 'x')", "Unsupported"),
    ("Patient.telecom.where(system ~ 'x')", "Unsupported"),
    ("Patient.telecom.where(system = 'x' or use = 'y')", "Unsupported"),
    ("Patient.telecom.where(rank = 1)", "Unsupported"),
    ("Patient.telecom.where(system = \"x\")", "Unsupported"),
    ("Patient.telecom.where(system = 'x\\'y')", "Unsupported"),
    ("Patient.telecom.where(system = 'x(y')", "Unsupported"),
    ("Patient.telecom.where(value.exists())", "Unsupported"),
    ("Patient.contact.where(organization.resolve().name = 'x')", "Unsupported"),
    ("Patient.contact.organization.resolve()", "Unsupported"),
    ("Patient.telecom | Patient.name", "Unsupported"),
    ("Patient.children()", "Unsupported"),
    ("%resource.gender", "Unsupported"),
    ("Patient.telecom", "Ambiguous"),
    ("Patient.telecom.where(system = 'phone')", "Ambiguous"),
    ("Patient.telecom.value", "Ambiguous"),
    ("Patient.contact.gender", "Ambiguous"),
    // Across lists, or in each?
    ("Patient.contact.gender[0]", "Ambiguous"),
    // HAPI leaves an empty item.
    ("Patient.identifier", "Unsupported"),
    // A position in a list with extensions of its primitives.
    ("Patient.name[0].given[0]", "Unsupported"),
    // What is left would be empty.
    ("Patient.identifier[0].value", "Unsupported"),
    ("Patient.extension('v').value", "Result"),
    ("Patient.deceased", "Ambiguous"),
    ("Patient.active.where(id = 'x')", "Unsupported"),
    ("Patient.name.where(given = 'C')", "Unsupported"),
    ("Patient.name[1].where(given = 'C')", "Ambiguous"),
    ("Patient.where(birthDate = '1970-01-01').name", "Unsupported"),
    ("Patient.contact.where(period.start = '2020').gender", "Unsupported"),
    // HAPI looks for `name` in Patient, or deletes nothing.
    ("Patient.contact.where(name.family = 'Y')", "Unsupported"),
    ("Patient.contact.first().name.given.where(id = 'x')", "Unsupported"),
    ("Patient.contact.where(gender = 'female').name.family.last().extension", "Unsupported"),
    ("Patient.deceased.ofType(boolean)", "Unsupported"),
    ("Patient.contact.extension('u')", "Unsupported"),
];

/// Paths that are refused: not of the subset, of several elements, or read differently by servers.
#[test]
fn paths_that_are_refused() {
    let before = value!({
        "resourceType": "Patient",
        "name": [{"use":"official","given":["A","B"],"_given":[null,{"id":"g"}]},{"use":"usual","given":["C","C"]}],
        "telecom": [{"system":"phone","value":"1"},{"system":"phone","value":"2"}],
        "contact": [{"gender":"male"},{"name":{"family":"Y"},"gender":"female","period":{"start":"2020"}}],
        "identifier": [{"value":"1"}], "active": true, "birthDate": "1970-01-01",
        "extension": [{"url":"v","valueString":"x"}],
        "_deceasedDateTime": {"id":"d"}
    })
    .to_string();
    for (path, error) in REFUSED {
        assert_eq!(patched(&before, &[delete(path)]), Err((*error).to_owned()), "{path}");
    }
    // A year is a date to an engine only where a date may stand.
    let (two, one) =
        (r#""identifier":[{"value":"2020"},{"value":"2021"}]"#, r#""identifier":[{"value":"2021"}]"#);
    check("Patient", &[(two, &["delete|Patient.identifier.where(value = '2020')"], one)]);
}

const HOLDER: &str = r#""name":[{"given":["A","B"],"text":"t"}],"gender":"male",
    "contact":[{"organization":{"reference":"Organization/1","identifier":{"value":"1"}}}],
    "managingOrganization":{"reference":"Organization/1","identifier":{"value":"1","assigner":{"display":"d"}}},
    "generalPractitioner":[{"reference":"Practitioner/1"}]"#;

const OPERATIONS_REFUSED: &[(&str, &str)] = &[
    (r#"add|Patient|gender|"valueCode":"female""#, "Exists"),
    (r#"add|Patient|managingOrganization|"valueReference":{"reference":"Organization/2"}"#, "Exists"),
    (r#"add|Patient.photo|title|"valueString":"x""#, "Missing"),
    (r#"add|Patient.gender|title|"valueString":"x""#, "Unsupported"),
    (r#"add|Patient|Active|"valueBoolean":true"#, "Unsupported"),
    (r#"add|Patient|_gender|"valueString":"x""#, "Unsupported"),
    (r#"add|Patient|name.text|"valueString":"x""#, "Unsupported"),
    (r#"add|Patient|contained|"part":[{"name":"id","valueId":"x"}]"#, "Unsupported"),
    (r#"add|Patient|generalPractitioner|"valueString":"Patient/x""#, "Unsupported"),
    (r#"add|Patient|contact|"part":[]"#, "Form"),
    (
        r#"add|Patient|contact|"part":[{"name":"gender","valueCode":"a"},{"name":"gender","valueCode":"b"}]"#,
        "Ambiguous",
    ),
    (r#"insert|Patient.name|2|"valueHumanName":{"text":"x"}"#, "Index"),
    (r#"insert|Patient.identifier|0|"valueIdentifier":{"value":"x"}"#, "Missing"),
    (r#"insert|Patient.gender|0|"valueCode":"x""#, "Exists"),
    (r#"insert|Patient.name[0]|0|"valueHumanName":{"text":"x"}"#, "Unsupported"),
    (r#"insert|Patient.deceased|0|"valueBoolean":true"#, "Unsupported"),
    ("move|Patient.name|0|1", "Index"),
    ("move|Patient.name|1|0", "Index"),
    ("move|Patient.telecom|0|0", "Missing"),
    ("move|Patient.gender|0|0", "Exists"),
    (r#"replace|Patient.birthDate|"valueDate":"2000-01-01""#, "Missing"),
    (r#"replace|Patient.gender|"valueReference":{"reference":"Patient/x"}"#, "Unsupported"),
    (r#"replace|Patient.contact[0]|"part":[{"name":"gender","valueCode":"male"}]"#, "Unsupported"),
    // HAPI would replace the managing organization itself.
    (
        r#"replace|Patient.managingOrganization.reference|"valueReference":{"reference":"Patient/x"}"#,
        "Unsupported",
    ),
    (
        r#"replace|Patient.managingOrganization.identifier|"valueReference":{"reference":"Patient/x"}"#,
        "Unsupported",
    ),
    (
        r#"replace|Patient.managingOrganization.identifier.assigner|"valueReference":{"reference":"Patient/x"}"#,
        "Unsupported",
    ),
    // HAPI would replace the first name of all.
    (r#"replace|Patient.name.where(text = 't')[0]|"valueHumanName":{"text":"x"}"#, "Unsupported"),
    (
        r#"replace|Patient.contact.where(organization.reference = 'Organization/1').gender|"valueCode":"x""#,
        "Unsupported",
    ),
];

/// Operations that the specification refuses, or servers carry out differently.
#[test]
fn operations_that_are_refused() {
    for (operation, error) in OPERATIONS_REFUSED {
        check("Patient", &[(HOLDER, &[operation], error)]);
    }
    let reference = r#""valueReference":{"reference":"Patient/other"}"#;
    let fine = [
        r#"replace|Patient.name[0].given[0]|"valueString":"x""#.to_owned(),
        format!("replace|Patient.contact[0].organization|{reference}"),
        format!("add|Patient|generalPractitioner|{reference}"),
    ];
    let patch: Vec<_> = fine.iter().map(|short| operation(short)).collect();
    let after = patched(&resource_of(r#""resourceType":"Patient""#, HOLDER), &patch).expect("applies");
    assert_eq!(after.pointer("/name/0/given"), Some(&value!(["x", "B"])));
    assert_eq!(after.pointer("/contact/0/organization"), Some(&value!({"reference":"Patient/other"})));
    assert_eq!(after.pointer("/generalPractitioner/1"), Some(&value!({"reference":"Patient/other"})));
}

/// REST-14: type and id stay.
#[test]
fn a_fhirpath_patch_never_touches_identity() {
    for (before, operation) in [
        (r#""id":"p""#, r#"add|Patient|id|"valueId":"x""#),
        ("", r#"add|Patient|ID|"valueId":"x""#),
        (r#""id":"p""#, r#"add|Patient.id|extension|"valueId":"x""#),
    ] {
        check("Patient", &[(before, &[operation], "Identity")]);
    }
    for path in ["Patient", "Patient.id", "Patient.id[0]", "Patient.resourceType"] {
        let replace = format!(r#"replace|{path}|"valueId":"x""#);
        let insert = format!(r#"insert|{path}|0|"valueId":"x""#);
        for operation in [&format!("delete|{path}"), &replace, &insert] {
            check("Patient", &[(r#""id":"p""#, &[operation], "Identity")]);
        }
    }
}

/// What is added where nothing was may be a list to one server and one value to the next.
#[test]
fn what_servers_count_differently() {
    let mine = r#"add|Observation|subject|"valueReference":{"reference":"Patient/p1"}"#;
    let other = r#"add|Observation|subject|"valueReference":{"reference":"Patient/other"}"#;
    check(
        "Observation",
        &[("", &[mine], r#""subject":{"reference":"Patient/p1"}"#), ("", &[mine, other], "Exists")],
    );
    // A position among items that lack what follows: HAPI leaves them out when it replaces.
    let before = r#""participant":[{"status":"accepted"},{"actor":{"reference":"Patient/1"}},{"actor":{"reference":"Patient/2"}}]"#;
    let part = r#"replace|Appointment.participant[1].actor.reference|"valueString":"Patient/3""#;
    let whole = r#"replace|Appointment.participant[1].actor|"valueReference":{"reference":"Patient/3"}"#;
    let first = "delete|Appointment.participant[0]";
    let after = r#""participant":[{"actor":{"reference":"Patient/1"}},{"actor":{"reference":"Patient/3"}}]"#;
    check(
        "Appointment",
        &[
            (before, &[part], "Ambiguous"),
            (before, &[whole], "Ambiguous"),
            (before, &[first, part], after),
            (before, &[first, whole], after),
        ],
    );
}

/// Replacements in the Parameters of one delete, and whether it still applies.
const PROFILE: &[(&str, &str, bool)] = &[
    ("", "", true),
    ("valueCode", "valueString", true),
    (r#"{"resourceType":"Parameters""#, r#"{"resourceType":"Parameters","id":"x","meta":{"id":"m"}"#, true),
    (r#"{"resourceType":"Parameters""#, r#"{"resourceType":"Parameters","implicitRules":"x""#, false),
    ("Parameters", "Basic", false),
    ("parameter", "Parameter", false),
    ("operation", "Operation", false),
    ("delete", "Delete", false),
    ("delete", "upsert", false),
    (r#""part""#, r#""parts""#, false),
    ("valueCode", "valueReference", false),
    (r#""name":"type","#, "", false),
    (r#"{"name":"type","valueCode":"delete"},"#, "", false),
    (r#"{"name":"type","#, r#"{"name":"type","valueCode":"delete"},{"name":"type","#, false),
    (r#"{"name":"type","#, r#"{"name":"path","valueString":"Patient.name"},{"name":"type","#, false),
    (r#"{"name":"type","#, r#"{"name":"allowMultipleMatches","valueBoolean":true},{"name":"type","#, false),
    (r#"{"name":"type","#, r#"{"name":"value","valueString":"x"},{"name":"type","#, false),
    (
        r#"{"name":"type","#,
        r#"{"name":"value","resource":{"resourceType":"Patient"}},{"name":"type","#,
        false,
    ),
    (r#""name":"type","#, r#""name":"type","_valueCode":{"id":"x"},"#, false),
    (r#""name":"type","#, r#""name":"type","valueString":"x","#, false),
    (r#"{"name":"operation","#, r#"{"name":"other","valueString":"x"},{"name":"operation","#, false),
];

/// The Parameters must be of the profile, which is closed.
#[test]
fn parameters_that_are_refused() {
    let patient = br#"{"resourceType":"Patient","gender":"male"}"#;
    let fine = r#"{"resourceType":"Parameters","parameter":[{"name":"operation","part":[{"name":"type","valueCode":"delete"},{"name":"path","valueString":"Patient.gender"}]}]}"#;
    for (from, to, applies) in PROFILE {
        let text = fine.replacen(from, to, 1);
        let patch = document(text.clone(), Format::Json);
        assert_eq!(fhirpath(patient, &patch, FhirVersion::R4).is_ok(), *applies, "{text}");
    }
    let xml = r#"<Parameters xmlns="http://hl7.org/fhir"><parameter><name value="operation"/><part><name value="type"/><valueCode value="move"/></part><part><name value="path"/><valueString value="Patient.name"/></part><part><name value="source"/><valueInteger value="0"/></part><part><name value="destination"/><valueInteger value="0"/></part></parameter></Parameters>"#;
    for (from, to, applies) in [
        ("", "", true),
        (r#"<valueInteger value="0"/>"#, r#"<valueInteger value="00"/>"#, false),
        (
            r#"<valueCode value="move"/>"#,
            r#"<valueCode value="move"><extension url="u"/></valueCode>"#,
            false,
        ),
        (r#"<valueCode value="move"/>"#, "<resource><Patient/></resource>", false),
    ] {
        let text = xml.replacen(from, to, 1);
        let named = br#"{"resourceType":"Patient","name":[{"text":"x"}]}"#;
        let patch = document(text.clone(), Format::Xml);
        assert_eq!(fhirpath(named, &patch, FhirVersion::R4).is_ok(), applies, "{text}");
    }
}

/// A value must be written as its type is.
#[test]
fn values_that_are_refused() {
    let add = |value: &str| {
        let text = format!(
            r#"{{"resourceType":"Parameters","parameter":[{{"name":"operation","part":[{{"name":"type","valueCode":"add"}},{{"name":"path","valueString":"Patient"}},{{"name":"name","valueString":"active"}},{{"name":"value",{value}}}]}}]}}"#
        );
        fhirpath(br#"{"resourceType":"Patient"}"#, &document(text, Format::Json), FhirVersion::R4).is_ok()
    };
    for value in [r#""valueBoolean":true"#, r#""valueString":"x""#, r#""valueQuantity":{"value":1}"#] {
        assert!(add(value), "{value}");
    }
    for value in [
        r#""valueBoolean":"true""#,
        r#""valueBoolean":null"#,
        r#""valueInteger":"1""#,
        r#""valueString":1"#,
        r#""valueString":["x"]"#,
        r#""valueNone":"x""#,
        r#""valueQuantity":{}"#,
        r#""valueQuantity":"x""#,
        r#""valueQuantity":{"value":{}}"#,
        r#""value":"x""#,
    ] {
        assert!(!add(value), "{value}");
    }
}

/// Depth and number are bounded.
#[test]
fn a_fhirpath_patch_is_limited() {
    let patient = r#"{"resourceType":"Patient"}"#;
    for (count, fits) in [(1000, true), (1001, false)] {
        assert_eq!(patched(patient, &vec![delete("Patient.gender"); count]).is_ok(), fits, "{count}");
    }
    let long = format!("Patient{}", ".a".repeat(100_000));
    assert_eq!(patched(patient, &[delete(&long)]), Err("TooMuch".into()));
    let part = |depth: usize| {
        let begun = r#"{"name":"a","part":["#.repeat(depth);
        format!(
            r#"add|Patient|contact|"part":[{begun}{{"name":"a","valueString":"x"}}{}]"#,
            "]}".repeat(depth)
        )
    };
    assert!(patched(patient, &[operation(&part(40))]).is_ok());
    // Many elements, looked through many times.
    let items = vec![r#"{"value":"x"}"#; 2000].join(",");
    let many = format!(r#"{{"resourceType":"Patient","identifier":[{items}]}}"#);
    let deletes = vec![delete("Patient.identifier.where(value = 'y')"); 500];
    assert_eq!(patched(&many, &deletes), Err("TooMuch".into()));
}

/// Every choice that a search parameter asks for by type is known here as one.
#[test]
fn choices_agree_with_the_search_parameters() {
    let lists =
        [(FhirVersion::R4, choices::R4), (FhirVersion::R4B, choices::R4B), (FhirVersion::R5, choices::R5)];
    for (version, own) in lists {
        let mut seen = 0;
        for parameter in version.resource_types().flat_map(|it| version.search_parameters(it)) {
            for branch in parameter.expression.split('|') {
                let path = branch.trim().trim_start_matches('(');
                let mut casts = [" as ", ".ofType(", ".as("].iter().filter_map(|cast| path.split_once(cast));
                let plain = |path: &str| path.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'.');
                let Some((path, _)) = casts.next().filter(|(path, _)| plain(path)) else { continue };
                seen += 1;
                let known = choices::ALL.iter().chain(own).any(|(choice, _)| *choice == path);
                assert!(known, "{version:?} {}: {path}", parameter.code);
            }
        }
        assert!(seen > 50 && own.is_sorted(), "{version:?}: {seen}");
    }
    let again = [choices::R4_AGAIN, choices::R4B_AGAIN, choices::R5_AGAIN];
    assert!(choices::ALL.is_sorted() && again.into_iter().all(<[(&str, &str)]>::is_sorted));
}

fn any_path() -> impl Strategy<Value = String> {
    let step = prop_oneof![
        "\\.(name|given|contact|identifier|value|deceased|active|extension|id)",
        "\\[[0-2]\\]",
        Just(".first()".to_owned()),
        Just(".last()".to_owned()),
        Just(".where(value = 'a')".to_owned()),
        Just(".extension('a')".to_owned()),
        Just(".ofType(boolean)".to_owned()),
        "[ .'()\\[\\]=a]{0,3}",
    ];
    prop::collection::vec(step, 0..5).prop_map(|steps| format!("Patient{}", steps.concat()))
}

fn any_operation() -> impl Strategy<Value = Value> {
    let content = prop::sample::select(vec![
        r#""valueString":"a""#,
        r#""valueBoolean":true"#,
        r#""valueHumanName":{"given":["a"]}"#,
        r#""part":[{"name":"value","valueString":"a"}]"#,
    ]);
    let name = "(name|given|value|deceased|active|extension|id)";
    (0..5u8, any_path(), name, 0..3u8, content).prop_map(|(kind, path, name, at, content)| match kind {
        0 => operation(&format!("add|{path}|{name}|{content}")),
        1 => operation(&format!("insert|{path}|{at}|{content}")),
        2 => operation(&format!("move|{path}|{at}|0")),
        3 => operation(&format!("replace|{path}|{content}")),
        _ => delete(&path),
    })
}

const STORED: &str = r#"{"resourceType":"Patient","id":"b","name":[{"given":["a","b"]},{"given":["a"]}],
    "identifier":[{"value":"a"},{"value":"b","system":"c"}],"deceasedBoolean":true,
    "contact":[{"name":{"given":["a"],"extension":[{"url":"a","valueString":"a"}]}}],"extension":[{"url":"a","valueBoolean":true}]}"#;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever is submitted: no panic, and what results is a resource of the same type and id.
    #[test]
    fn fhirpath_patches_keep_the_resource(operations in prop::collection::vec(any_operation(), 0..4)) {
        if let Ok(result) = patched(STORED, &operations) {
            let bytes = result.to_string();
            let document = element::Document::read(bytes.as_bytes(), Format::Json).expect("a resource");
            prop_assert_eq!(
                (document.root().resource_type(), document.root().id()),
                (Some("Patient"), Some("b"))
            );
        }
    }
}
