//! Which requirements the cases must show, each with a yes and a no.

use std::collections::BTreeSet;

use crate::case::Case;

/// Rooms of the catalogue, with the numbers that a decision can show. RESP-8 is of header fields that the gateway adds to
/// whatever leaves, which `explain` does not show.
const REQUIRED: [(&str, &[u16]); 8] = [
    (
        "SCOPE",
        &[
            1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 40, 41, 42, 43, 44, 45,
            46, 47, 48, 49, 50, 51, 52,
        ],
    ),
    ("CTX", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 11]),
    ("COMP", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]),
    (
        "REST",
        &[
            0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 30,
            31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41,
        ],
    ),
    (
        "SRCH",
        &[
            0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,
            27, 28,
        ],
    ),
    ("OPS", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 20, 21, 30, 40]),
    ("RESP", &[1, 2, 3, 4, 5, 6, 7, 9]),
    ("HTTP", &[6, 7]),
];

/// Requirements that say only what is done with a permitted request, so that no decision of theirs is a refusal.
const ONLY_YES: [&str; 17] = [
    "CTX-2", "OPS-21", "RESP-4", "RESP-6", "RESP-7", "RESP-9", "SCOPE-42", "SCOPE-43", "SCOPE-51", "SRCH-7",
    "SRCH-8", "SRCH-9", "SRCH-16", "SRCH-18", "SRCH-19", "SRCH-24", "SRCH-27",
];
/// Requirements that only refuse.
const ONLY_NO: [&str; 1] = ["REST-8"];

/// What is missing, one line a requirement. A case with a withheld answer counts as refused.
pub fn missing(cases: &[Case]) -> Vec<String> {
    let mut shown: BTreeSet<(&str, bool)> = BTreeSet::new();
    for case in cases {
        let steps = case.expectations();
        for (source, permitted) in
            case.source.split(' ').flat_map(|source| steps.iter().map(move |step| (source, *step)))
        {
            shown.insert((source, permitted));
        }
    }
    let ids = REQUIRED.iter().flat_map(|(room, numbers)| numbers.iter().map(move |n| format!("{room}-{n}")));
    let mut missing = Vec::new();
    for id in ids.chain(["AUD-12".to_owned()]) {
        for (permitted, exempt, word) in [(true, &ONLY_NO[..], "permit"), (false, &ONLY_YES[..], "deny")] {
            if !exempt.contains(&id.as_str()) && !shown.contains(&(id.as_str(), permitted)) {
                missing.push(format!("{id}: no case with `{word}`"));
            }
        }
    }
    missing
}
