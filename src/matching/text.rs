//! Strings (FHIR R4 §3.1.1, "string").
//!
//! A value matches what begins with it, and `:contains` what holds it, without regard to case and accents; `:exact` is
//! the whole text, compared exactly. Of a HumanName and an Address each part is a text. Punctuation and white space
//! count, though a server may leave them out of account: in doubt a string does not match.

use crate::fhir::element::Element;

use super::value::{Modifier, unescape};

/// A text as searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    /// Folded, unless compared exactly.
    text: String,
    way: Way,
}

/// How texts are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Begins,
    Contains,
    Exact,
}

impl Way {
    pub(super) fn of(modifier: Modifier) -> Self {
        match modifier {
            Modifier::Contains => Self::Contains,
            Modifier::Exact => Self::Exact,
            Modifier::Above
            | Modifier::Below
            | Modifier::Identifier
            | Modifier::None
            | Modifier::OfType
            | Modifier::Text
            | Modifier::Type(_) => Self::Begins,
        }
    }
}

/// The elements of HumanName and Address that are searched (FHIR R4 §3.1.1, "string"), and an Identifier's value.
const PARTS: &[&str] = &[
    "city",
    "country",
    "district",
    "family",
    "given",
    "line",
    "postalCode",
    "prefix",
    "state",
    "suffix",
    "text",
    "value",
];

impl Text {
    pub(super) fn read(raw: &str, way: Way) -> Option<Self> {
        let text = unescape(raw);
        let text = if way == Way::Exact { text } else { folded(&text) };
        // A value of nothing but accents would match everything.
        (!text.is_empty()).then_some(Self { text, way })
    }

    pub(super) fn matches(&self, element: Element<'_>) -> bool {
        texts(element).any(|found| self.is(found))
    }

    /// `:text`: what a person reads of a code or a reference (FHIR R4 §3.1.1, "token"; R5 §3.2.1, "Modifiers").
    pub(super) fn labels(&self, element: Element<'_>) -> bool {
        labels(element).any(|found| self.is(found))
    }

    fn is(&self, found: &str) -> bool {
        match self.way {
            Way::Begins => folded(found).starts_with(&self.text),
            Way::Contains => folded(found).contains(&self.text),
            Way::Exact => found == self.text,
        }
    }
}

/// The texts of an element: its value, or its parts.
pub(super) fn texts<'d>(element: Element<'d>) -> impl Iterator<Item = &'d str> {
    let parts = element.all().filter(|part| PARTS.contains(&part.name()));
    element.value().into_iter().chain(parts.filter_map(Element::value))
}

/// `CodeableConcept.text`, `Coding.display`, `Identifier.type.text`, `Reference.display`.
fn labels<'d>(element: Element<'d>) -> impl Iterator<Item = &'d str> {
    let own = element.all().filter(|child| matches!(child.name(), "text" | "display"));
    let codings = element.children("coding").flat_map(|coding| coding.children("display"));
    let types = element.children("type").flat_map(|it| it.children("text"));
    let concepts = element.children("concept").flat_map(|concept| {
        concept
            .children("text")
            .chain(concept.children("coding").flat_map(|coding| coding.children("display")))
    });
    own.chain(codings).chain(types).chain(concepts).filter_map(Element::value)
}

/// The text in lower case and, as far as letters of the Latin script go, without accents.
fn folded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let lower = text.chars().flat_map(char::to_lowercase);
    lower.filter(|it| !('\u{300}'..='\u{36f}').contains(it)).map(plain).collect()
}

fn plain(letter: char) -> char {
    if letter.is_ascii() {
        return letter;
    }
    let found = ACCENTED.iter().find(|(_, accented)| accented.contains(letter));
    found.map_or(letter, |(base, _)| *base)
}

/// The lower-case letters that Unicode decomposes into a letter of ASCII and combining marks, from the blocks Latin-1
/// Supplement, Latin Extended-A, Latin Extended-B and Latin Extended Additional.
const ACCENTED: &[(char, &str)] = &[
    ('a', "àáâãäåāăąǎǟǡǻȁȃȧḁạảấầẩẫậắằẳẵặ"),
    ('b', "ḃḅḇ"),
    ('c', "çćĉċčḉ"),
    ('d', "ďḋḍḏḑḓ"),
    ('e', "èéêëēĕėęěȅȇȩḕḗḙḛḝẹẻẽếềểễệ"),
    ('f', "ḟ"),
    ('g', "ĝğġģǧǵḡ"),
    ('h', "ĥȟḣḥḧḩḫẖ"),
    ('i', "ìíîïĩīĭįǐȉȋḭḯỉị"),
    ('j', "ĵǰ"),
    ('k', "ķǩḱḳḵ"),
    ('l', "ĺļľḷḹḻḽ"),
    ('m', "ḿṁṃ"),
    ('n', "ñńņňǹṅṇṉṋ"),
    ('o', "òóôõöōŏőơǒǫǭȍȏȫȭȯȱṍṏṑṓọỏốồổỗộớờởỡợ"),
    ('p', "ṕṗ"),
    ('r', "ŕŗřȑȓṙṛṝṟ"),
    ('s', "śŝşšșṡṣṥṧṩ"),
    ('t', "ţťțṫṭṯṱẗ"),
    ('u', "ùúûüũūŭůűųưǔǖǘǚǜȕȗṳṵṷṹṻụủứừửữự"),
    ('v', "ṽṿ"),
    ('w', "ŵẁẃẅẇẉẘ"),
    ('x', "ẋẍ"),
    ('y', "ýÿŷȳẏẙỳỵỷỹ"),
    ('z', "źżžẑẓẕ"),
];
