//! Bodies to count by.

use bytes::Bytes;
use pforte::fhir::Format;

const JSON: &str = r#"{"fullUrl":"http://127.0.0.1:1/fhir/Observation/NUMBER","resource":{"resourceType":"Observation","id":"NUMBER","meta":{"versionId":"1","lastUpdated":"2024-03-01T10:00:00.000+00:00"},"text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\"><p><b>Haemoglobin</b>: 13.7 g/dL</p></div>"},"status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"CATEGORY"}]}],"code":{"coding":[{"system":"http://loinc.org","code":"718-7","display":"Haemoglobin"}]},"subject":{"reference":"Patient/PATIENT"},"encounter":{"reference":"http://127.0.0.1:1/fhir/Encounter/e1"},"effectiveDateTime":"2024-03-01T09:58:00+01:00","valueQuantity":{"value":13.7,"unit":"g/dL","system":"http://unitsofmeasure.org","code":"g/dL"}},"search":{"mode":"match"}}"#;

const XML: &str = r#"<entry><fullUrl value="http://127.0.0.1:1/fhir/Observation/NUMBER"/><resource><Observation xmlns="http://hl7.org/fhir"><id value="NUMBER"/><meta><versionId value="1"/><lastUpdated value="2024-03-01T10:00:00.000+00:00"/></meta><text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml"><p><b>Haemoglobin</b>: 13.7 g/dL</p></div></text><status value="final"/><category><coding><system value="http://terminology.hl7.org/CodeSystem/observation-category"/><code value="CATEGORY"/></coding></category><code><coding><system value="http://loinc.org"/><code value="718-7"/><display value="Haemoglobin"/></coding></code><subject><reference value="Patient/PATIENT"/></subject><encounter><reference value="http://127.0.0.1:1/fhir/Encounter/e1"/></encounter><effectiveDateTime value="2024-03-01T09:58:00+01:00"/><valueQuantity><value value="13.7"/><unit value="g/dL"/><system value="http://unitsofmeasure.org"/><code value="g/dL"/></valueQuantity></Observation></resource><search><mode value="match"/></search></entry>"#;

/// A searchset of 100 KiB, of which one entry in ten is of another patient and category.
pub fn searchset(format: Format) -> Bytes {
    let (head, entry, between, tail) = match format {
        Format::Json => (r#"{"resourceType":"Bundle","type":"searchset","entry":["#, JSON, ",", "]}"),
        Format::Xml => {
            (r#"<Bundle xmlns="http://hl7.org/fhir"><type value="searchset"/>"#, XML, "", "</Bundle>")
        }
    };
    let one = |number: usize| {
        let (patient, category) = if number % 10 == 9 { ("p2", "vital-signs") } else { ("p1", "laboratory") };
        entry.replace("NUMBER", &number.to_string()).replace("PATIENT", patient).replace("CATEGORY", category)
    };
    let entries: Vec<_> = (0..(100 << 10) / entry.len()).map(one).collect();
    format!("{head}{}{tail}", entries.join(between)).into()
}

/// A Patient of a kibibyte.
pub fn patient() -> Bytes {
    let note = "Seen in the ward. ".repeat(36);
    Bytes::from(format!(
        r#"{{"resourceType":"Patient","id":"p1","text":{{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">{note}</div>"}},"name":[{{"family":"Muster","given":["Erika"]}}],"gender":"female","birthDate":"1964-08-12","managingOrganization":{{"reference":"http://127.0.0.1:1/fhir/Organization/o1"}}}}"#
    ))
}
