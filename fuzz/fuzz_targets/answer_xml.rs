//! Answers in XML: what is shown is well-formed and of no type outside the grant. `quick-xml` is the judge.
//! Input: a byte that chooses the request, then the answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pforte::fhir::Format;
use pforte_fuzz::{caller, passed, shown};
use quick_xml::Reader;
use quick_xml::events::Event;

const ASKED: [&str; 4] = [
    "Observation?code=x",
    "Observation/1",
    "Observation/_history",
    "Observation?code=x&_include=Observation:subject",
];

/// Types that a grant for Observations does not show.
const OTHERS: [&str; 5] = ["Patient", "Condition", "Encounter", "Practitioner", "Immunization"];

/// The names of all elements that stand in no Observation, in order: what stands in one is a part of it, as `contained` is. An error where a
/// plain reader finds no document.
fn elements(body: &[u8]) -> Result<Vec<String>, quick_xml::Error> {
    let mut reader = Reader::from_reader(body);
    reader.config_mut().check_end_names = true;
    let mut names = Vec::new();
    let mut open: Vec<String> = Vec::new();
    loop {
        match reader.read_event()? {
            Event::Start(tag) => {
                if !open.iter().any(|name| name == "Observation") {
                    names.push(tag.name().as_ref().to_owned());
                }
                open.push(tag.name().as_ref().to_owned());
            }
            Event::Empty(tag) if open.iter().any(|name| name == "Observation") => drop(tag),
            Event::Empty(tag) => names.push(tag.name().as_ref().to_owned()),
            Event::End(_) => drop(open.pop()),
            Event::DocType(_) => panic!("a document type"),
            Event::Eof => {
                assert!(open.is_empty(), "an element that is open at the end");
                return Ok(names);
            }
            Event::Text(_)
            | Event::CData(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::GeneralRef(_) => {}
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, body)) = data.split_first() else { return };
    let target = ASKED[usize::from(*choice) % ASKED.len()];
    for scope in ["system/Observation.rs", "patient/Observation.rs"] {
        let Some(passage) = passed(&http::Method::GET, target, (Format::Xml, b""), &caller(scope)) else {
            continue;
        };
        let Some((out, true)) = shown(&passage, Format::Xml, body) else { continue };
        let names = elements(&out).unwrap_or_else(|error| panic!("{error}: shown of {target}"));
        elements(body).unwrap_or_else(|error| panic!("{error}: taken of {target}"));
        // No element of FHIR begins with a capital letter but a resource.
        for name in &names {
            assert!(!OTHERS.contains(&name.as_str()), "{name} under {scope} at {target}");
        }
    }
});
