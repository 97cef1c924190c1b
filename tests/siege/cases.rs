//! The rows of the hostile catalogue that are shown here, and where the others of their classes are shown.

use std::collections::BTreeSet;

use serde_json::Value;

/// Every row.
pub fn all() -> Vec<Value> {
    let text = include_str!("../hostile/cases.jsonl");
    text.lines().map(|line| serde_json::from_str(line).expect("a row")).collect()
}

/// The rows of a class.
pub fn of(class: &str) -> Vec<Value> {
    all().into_iter().filter(|case| case["class"] == class).collect()
}

/// Bytes of a text with `\r`, `\n`, `\t` and `\xHH`.
pub fn unescaped(text: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, behind @ ..] = rest {
        let (byte, used) = match (first, behind) {
            (b'\\', [b'r', ..]) => (b'\r', 2),
            (b'\\', [b'n', ..]) => (b'\n', 2),
            (b'\\', [b't', ..]) => (b'\t', 2),
            (b'\\', [b'x', high, low, ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).expect("hexadecimal digits");
                (u8::from_str_radix(digits, 16).expect("hexadecimal digits"), 4)
            }
            (first, _) => (*first, 1),
        };
        out.push(byte);
        rest = rest.get(used..).unwrap_or_default();
    }
    out
}

/// The classes that are shown here. All of `h1-framing` and `h2-frames` are run, row by row.
const CLASSES: [&str; 3] = ["dos", "tls", "fault"];

/// Row, file and function that shows it.
const SHOWN: &[(&str, &str, &str)] = &[
    ("DOS-001", "tests/siege/floods.rs", "requests_taken_back"),
    ("DOS-003", "tests/siege/floods.rs", "header_blocks"),
    ("DOS-004", "tests/siege/floods.rs", "header_blocks"),
    ("DOS-006", "tests/siege/floods.rs", "frames_that_mean_nothing"),
    ("DOS-008", "tests/siege/slow.rs", "slow_heads"),
    ("DOS-009", "tests/siege/slow.rs", "slow_bodies"),
    ("DOS-010", "tests/siege/slow.rs", "slow_readers"),
    ("DOS-013", "tests/siege/overload.rs", "idle_connections"),
    ("DOS-014", "tests/siege/overload.rs", "no_descriptors_left"),
    ("DOS-016", "tests/siege/overload.rs", "key_updates"),
    ("DOS-017", "tests/siege/overload.rs", "large_answers"),
    ("DOS-018", "tests/siege/overload.rs", "large_answers"),
    ("DOS-022", "tests/siege/overload.rs", "the_backend_is_full"),
    ("DOS-023", "tests/siege/overload.rs", "junk"),
    ("DOS-024", "tests/siege/overload.rs", "junk"),
    ("DOS-025", "tests/siege/overload.rs", "handshakes"),
    ("FLT-003", "tests/siege/overload.rs", "the_backend_is_full"),
    ("FLT-004", "tests/journeys/backend.rs", "broken_bodies"),
    ("FLT-005", "src/upstream/tests.rs", "misbehaving_backends"),
    ("FLT-006", "src/upstream/tests.rs", "misbehaving_backends"),
    ("FLT-007", "tests/journeys/backend.rs", "broken_bodies"),
    ("FLT-009", "tests/journeys/settings.rs", "reload_without_authorization_server"),
    ("FLT-011", "tests/journeys/together.rs", "without_redis_no_proof_passes"),
    ("FLT-013", "tests/disk.rs", "a_disk_that_becomes_read_only"),
    ("FLT-015", "tests/crash.rs", "a_hundred_kills_lose_nothing"),
    ("FLT-016", "tests/journeys/sinks.rs", "a_repository_comes_and_goes"),
    ("FLT-017", "tests/siege/faults.rs", "a_repository_that_never_answers"),
    ("FLT-018", "tests/audit.rs", "verification"),
    ("FLT-019", "tests/siege/operations.rs", "stopped_under_load"),
    ("FLT-020", "tests/siege/operations.rs", "stopped_twice"),
    ("FLT-021", "tests/journeys/settings.rs", "reload"),
    ("FLT-022", "tests/journeys/settings.rs", "reload"),
    ("FLT-023", "tests/siege/operations.rs", "a_hundred_reloads"),
    ("FLT-024", "tests/tls/rotation.rs", "rotation_under_load"),
    ("FLT-028", "tests/siege/overload.rs", "large_answers"),
    ("FLT-032", "src/upstream/tests.rs", "tls"),
    ("FLT-033", "tests/siege/breaker.rs", "a_backend_that_is_away"),
    ("FLT-038", "src/telemetry/log/lines.rs", "a_full_queue_drops_what_matters_least"),
    ("FLT-040", "tests/siege/soak.rs", "soak"),
    ("TLS-001", "tests/tls/raw.rs", "hostile_bytes"),
    ("TLS-002", "tests/tls/raw.rs", "hostile_bytes"),
    ("TLS-004", "tests/tls/raw.rs", "names"),
    ("TLS-005", "tests/tls/raw.rs", "names"),
    ("TLS-006", "tests/siege/slow.rs", "protocols"),
    ("TLS-008", "src/listener/tests/clients.rs", "modes"),
    ("TLS-009", "tests/tls/raw.rs", "hostile_bytes"),
    ("TLS-013", "tests/tls/raw.rs", "names"),
];

/// Rows that no test shows, and why.
const ASIDE: &[(&str, &str)] = &[
    (
        "DOS-021",
        "worst cases of parsers are found by the fuzz targets, whose inputs grow; tests/laws.rs bounds generated ones",
    ),
    (
        "FLT-026",
        "the clock of a process cannot be set from beside it without preloading; tokens are judged by the one reading a request has, timeouts by the monotonic clock",
    ),
    ("FLT-031", "names are resolved by the system at each connection; the TLS name check is FLT-032"),
    (
        "FLT-035",
        "the writer of events cannot be made to panic from outside; src/ledger/tests shows that a failed write refuses",
    ),
    (
        "FLT-039",
        "times are RFC 3339 of jiff and seconds since 1970 in 64 bits; src/token's tests have the edges",
    ),
    (
        "TLS-010",
        "tlsfuzzer needs Python packages of its own; tests/tls/raw.rs and tests/tls/profiles.rs ask openssl and sslscan",
    ),
];

#[test]
fn every_row_is_shown() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    for (id, file, function) in SHOWN {
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
        if !text.contains(&format!("fn {function}(")) {
            wrong.push(format!("{id}: {file} has no `{function}`"));
        }
    }
    let rows = all();
    let known: BTreeSet<&str> =
        SHOWN.iter().map(|(id, ..)| *id).chain(ASIDE.iter().map(|(id, _)| *id)).collect();
    for row in rows.iter().filter(|row| CLASSES.iter().any(|class| row["class"] == **class)) {
        let id = row["id"].as_str().unwrap_or_default();
        if !known.contains(id) {
            wrong.push(format!("{id}: shown nowhere: {}", row["request"]["target"]));
        }
    }
    for raw in
        rows.iter().filter(|row| matches!(row["request"]["transport"].as_str(), Some("h1-raw" | "h2-raw")))
    {
        let class = raw["class"].as_str().unwrap_or_default();
        if !["h1-framing", "h2-frames"].contains(&class) {
            println!("raw, in the class {class}: {}", raw["id"]);
        }
    }
    for id in known {
        if !rows.iter().any(|row| row["id"] == id) {
            wrong.push(format!("{id}: no such row"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
