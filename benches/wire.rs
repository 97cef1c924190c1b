//! How fast bodies are read, cut and rewritten: megabytes a second over a page
//! of search results.

use std::sync::Arc;

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use pforte::fhir::element::Document;
use pforte::fhir::links::{Mapping, Rewriter, is_uri};
use pforte::fhir::outline::{Format, Limits, Outline, cut};

const SIZES: [usize; 2] = [100 << 10, 10 << 20];
const CHUNK: usize = 16 << 10;
const LIMITS: Limits = Limits { depth: 100, entries: 1_000_000, nesting: 4 };

fn main() {
    divan::main();
}

const JSON: &str = r#"{"fullUrl":"http://upstream.internal/fhir/Observation/NUMBER","resource":{"resourceType":"Observation","id":"NUMBER","meta":{"versionId":"1","lastUpdated":"2024-03-01T10:00:00.000+00:00","profile":["http://hl7.org/fhir/StructureDefinition/vitalsigns"]},"text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\"><p><b>Body weight</b>: 71.3 kg on <i>1 March 2024</i></p></div>"},"status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs","display":"Vital Signs"}]}],"code":{"coding":[{"system":"http://loinc.org","code":"29463-7","display":"Body weight"}],"text":"Body weight"},"subject":{"reference":"Patient/p1"},"encounter":{"reference":"Encounter/e1"},"effectiveDateTime":"2024-03-01T09:58:00+01:00","valueQuantity":{"value":71.3,"unit":"kg","system":"http://unitsofmeasure.org","code":"kg"}},"search":{"mode":"match"}}"#;

const XML: &str = r#"<entry><fullUrl value="http://upstream.internal/fhir/Observation/NUMBER"/><resource><Observation xmlns="http://hl7.org/fhir"><id value="NUMBER"/><meta><versionId value="1"/><lastUpdated value="2024-03-01T10:00:00.000+00:00"/><profile value="http://hl7.org/fhir/StructureDefinition/vitalsigns"/></meta><text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml"><p><b>Body weight</b>: 71.3 kg on <i>1 March 2024</i></p></div></text><status value="final"/><category><coding><system value="http://terminology.hl7.org/CodeSystem/observation-category"/><code value="vital-signs"/><display value="Vital Signs"/></coding></category><code><coding><system value="http://loinc.org"/><code value="29463-7"/><display value="Body weight"/></coding><text value="Body weight"/></code><subject><reference value="Patient/p1"/></subject><encounter><reference value="Encounter/e1"/></encounter><effectiveDateTime value="2024-03-01T09:58:00+01:00"/><valueQuantity><value value="71.3"/><unit value="kg"/><system value="http://unitsofmeasure.org"/><code value="kg"/></valueQuantity></Observation></resource><search><mode value="match"/></search></entry>"#;

/// A searchset of about `size` bytes.
fn page(format: Format, size: usize) -> Bytes {
    let (head, entry, between, tail) = match format {
        Format::Json => {
            (r#"{"resourceType":"Bundle","type":"searchset","total":9,"entry":["#, JSON, ",", "]}")
        }
        Format::Xml => {
            (r#"<Bundle xmlns="http://hl7.org/fhir"><type value="searchset"/>"#, XML, "", "</Bundle>")
        }
    };
    let entries: Vec<_> =
        (0..size / entry.len()).map(|number| entry.replace("NUMBER", &number.to_string())).collect();
    format!("{head}{}{tail}", entries.join(between)).into()
}

fn outline_of(bencher: Bencher<'_, '_>, format: Format, size: usize) {
    let page = page(format, size);
    bencher
        .counter(BytesCount::new(page.len()))
        .bench(|| Outline::read(black_box(&page), format, LIMITS).map(|outline| outline.root.range.end));
}

fn cut_of(bencher: Bencher<'_, '_>, format: Format, size: usize) {
    let page = page(format, size);
    let Ok(outline) = Outline::read(&page, format, LIMITS) else { return };
    bencher.counter(BytesCount::new(page.len())).bench(|| {
        let mut turn = 0;
        let every_other = |_: &_| {
            turn += 1;
            turn % 2 == 0
        };
        cut(&outline, every_other).apply(&page)
    });
}

/// A searchset as a test server fills it: long narratives, most of it escaped quotes and tables.
fn told(size: usize) -> Bytes {
    let rows = "<tr><td style=\\\"w\\\">Given</td><td>Erika<br/>\\n</td></tr>".repeat(40);
    let page = page(Format::Json, size / 2);
    let text = String::from_utf8_lossy(&page).replacen(
        "<p><b>",
        &format!("<table>{rows}</table><p><b>"),
        size / 5200,
    );
    Bytes::from(text)
}

/// A searchset in which nothing is to be rewritten and nobody is named.
fn quiet(size: usize) -> Bytes {
    let page = page(Format::Json, size);
    let text = String::from_utf8_lossy(&page).replace("http://upstream.internal/fhir/", "urn:uuid:");
    Bytes::from(text.replace("Patient/", "Group/"))
}

fn rewriter_of(bencher: Bencher<'_, '_>, format: Format, page: Bytes) {
    let Ok(mapping) = Mapping::new(&["http://upstream.internal/fhir"], "https://gw.test/fhir") else {
        return;
    };
    let mapping = Arc::new(mapping);
    bencher.counter(BytesCount::new(page.len())).bench(|| {
        let mut rewriter = Rewriter::new(format, Arc::clone(&mapping), is_uri);
        let mut length = 0;
        let mut at = 0;
        while at < page.len() {
            let end = page.len().min(at + CHUNK);
            let pushed = rewriter.push(page.slice(at..end), &mut |bytes| length += black_box(bytes).len());
            if pushed.is_err() {
                break;
            }
            at = end;
        }
        (length, rewriter.finish())
    });
}

fn view_of(bencher: Bencher<'_, '_>, format: Format, size: usize) {
    let page = page(format, size);
    bencher
        .counter(BytesCount::new(page.len()))
        .bench(|| Document::read(black_box(&page), format).map(|document| document.root().all().count()));
}

#[divan::bench(args = SIZES)]
fn outline_json(bencher: Bencher<'_, '_>, size: usize) {
    outline_of(bencher, Format::Json, size);
}

#[divan::bench(args = SIZES)]
fn outline_xml(bencher: Bencher<'_, '_>, size: usize) {
    outline_of(bencher, Format::Xml, size);
}

#[divan::bench(args = SIZES)]
fn cut_json(bencher: Bencher<'_, '_>, size: usize) {
    cut_of(bencher, Format::Json, size);
}

#[divan::bench(args = SIZES)]
fn rewriter_json(bencher: Bencher<'_, '_>, size: usize) {
    rewriter_of(bencher, Format::Json, page(Format::Json, size));
}

#[divan::bench(args = SIZES)]
fn rewriter_json_narrative(bencher: Bencher<'_, '_>, size: usize) {
    rewriter_of(bencher, Format::Json, told(size));
}

#[divan::bench(args = SIZES)]
fn rewriter_json_quiet(bencher: Bencher<'_, '_>, size: usize) {
    rewriter_of(bencher, Format::Json, quiet(size));
}

#[divan::bench(args = SIZES)]
fn rewriter_xml(bencher: Bencher<'_, '_>, size: usize) {
    rewriter_of(bencher, Format::Xml, page(Format::Xml, size));
}

#[divan::bench(args = SIZES)]
fn view_json(bencher: Bencher<'_, '_>, size: usize) {
    view_of(bencher, Format::Json, size);
}

#[divan::bench(args = SIZES)]
fn view_xml(bencher: Bencher<'_, '_>, size: usize) {
    view_of(bencher, Format::Xml, size);
}
