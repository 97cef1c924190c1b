//! The scope grammar: what is read says what was written, and only a letter that is written is granted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pforte::fhir::Format;
use pforte::fhir::Letter;
use pforte::scope::{Scope, ScopeSet};
use pforte_fuzz::{READER, caller, passed};

const LETTERS: [(char, Letter); 5] = [
    ('c', Letter::Create),
    ('r', Letter::Read),
    ('u', Letter::Update),
    ('d', Letter::Delete),
    ('s', Letter::Search),
];

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for written in text.split(' ') {
        let Some(Ok(scope)) = Scope::parse(written, READER) else { continue };
        assert_eq!(scope.written(), written);
        let (level, rest) = written.split_once('/').expect("a level");
        assert!(matches!(level, "patient" | "user" | "system"), "{written}");
        let (head, _) = rest.split_once('?').unwrap_or((rest, ""));
        let (resource, letters) = head.split_once('.').expect("a suffix");
        assert_eq!(
            scope.resource().map(|known| known.as_str().to_owned()),
            (resource != "*").then(|| resource.to_owned())
        );
        for (letter, meant) in LETTERS {
            let said = match letters {
                "read" => "rs".contains(letter),
                "write" => "cud".contains(letter),
                "*" => true,
                _ => letters.contains(letter),
            };
            assert_eq!(scope.letters().has(meant), said, "{written}: {letter}");
        }
        // Read again, it is the same.
        assert!(
            matches!(Scope::parse(scope.written(), READER), Some(Ok(again)) if again.letters() == scope.letters())
        );
    }
    let set = ScopeSet::parse(text.split(' '), READER);
    assert!(set.granted().len() <= text.split(' ').count());
    // Decided on, whatever the scopes say.
    if !text.contains(char::is_control) {
        let _ = passed(&http::Method::GET, "Observation?code=x", (Format::Json, b""), &caller(text));
    }
});
