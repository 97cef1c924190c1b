//! Cases that are no single request through this house, and the tests that show them.

/// Where a case is shown; none when it is sent here.
pub fn of(id: &str, class: &str) -> Option<&'static str> {
    let by_class = match class {
        "h1-framing" | "h2-frames" | "dos" | "fault" => Some("tests/siege.rs"),
        "tls" => Some("tests/tls.rs, tests/siege.rs"),
        "jwt" => Some("src/issuer/tests/{signatures,claims,forms}.rs, tests/journeys/credentials.rs"),
        "jwks-introspection" => Some("src/issuer/tests/{asked,rotation}.rs"),
        "proof-of-possession" => Some("tests/journeys/{dpop,bound}.rs, src/issuer/tests"),
        _ => None,
    };
    by_class.or_else(|| CASES.iter().find(|(known, _)| *known == id).map(|(_, place)| *place))
}

const PAGES: &str = "tests/hostile.rs, pages";

const CASES: &[(&str, &str)] = &[
    ("RESP-002", PAGES),
    ("RESP-003", PAGES),
    ("RESP-004", PAGES),
    ("RESP-006", PAGES),
    ("RESP-022", "docs/PERFORMANCE.md: memory; tests/journeys/backend.rs: the bound of checked answers"),
    ("RESP-028", "src/upstream/tests: framing of answers"),
    ("RESP-029", "src/upstream/tests: what follows an answer"),
    ("RESP-033", "every case here: the link of p1 leads to p2, who is never shown"),
    ("RESP-035", "src/gateway tests: Cache-Control and Vary of each answer"),
    ("SBX-008", "tests/release/answers.rs: an export is followed by whom it was given to"),
    ("SBX-009", "tests/release/answers.rs: an export is followed by whom it was given to"),
    ("SBX-010", "tests/release/answers.rs: an export is followed by whom it was given to"),
    ("SBX-029", "src/fhir/links: attachment URLs are rewritten; a read of Binary/b2 is refused here"),
    ("CTRL-012", PAGES),
    ("CTRL-027", PAGES),
];
