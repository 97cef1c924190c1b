//! The configurations that cases name: `"config": "restrict"`.
//!
//! What only one case needs is written beside it, as an object of the same members: `profile`, `fhir_version`,
//! `backend` (lines of `[backend]`) and `more` (whatever follows).

use serde_json::{Value, json};

use crate::case::BACKEND;

/// Members of a configuration.
const MEMBERS: [&str; 4] = ["profile", "fhir_version", "backend", "more"];

/// A configuration that several cases share.
fn named(name: &str) -> Value {
    match name {
        "compartment-search" => json!({"backend": "compartment_search = true\n"}),
        "forbidden" => json!({"more": "[patient]\nunmatched = \"forbidden\"\n"}),
        "isik" => json!({"profile": "isik"}),
        "linked" => json!({"more": "[patient]\nlinked_patients = true\n"}),
        "r4b" => json!({"fhir_version": "4.3"}),
        "r5" => json!({"fhir_version": "5.0"}),
        "restrict" => json!({"more": "[patient]\nencounter = \"restrict\"\n"}),
        "restrict-r5" => json!({"fhir_version": "5.0", "more": "[patient]\nencounter = \"restrict\"\n"}),
        "rules" => json!({"more": RULES}),
        "shared" => json!({"more": SHARED}),
        "shared-r5" => json!({"fhir_version": "5.0", "more": SHARED}),
        "update-creates" => json!({"more": "[patient]\nupdate_creates = true\n"}),
        _ => panic!("no configuration is named `{name}`"),
    }
}

/// COMP-8, COMP-9.
const SHARED: &str = "[patient]\nshared_types = [\"Practitioner\", \"Organization\", \"Location\", \"Medication\", \"Device\"]\n";

/// A ward's nurses see its patients, nobody sees what is restricted, apps of a study see what is tagged for it.
const RULES: &str = r#"
[[rule]]
when = { claim = "groups", contains = "ward-7" }
contexts = ["user"]
limit = ["Patient?general-practitioner={fhirUser}", "Observation?performer={fhirUser}"]

[[rule]]
contexts = ["user", "patient"]
limit = ["*?_security:not=R"]

[[rule]]
when = { claim = "study", exists = true }
limit = ["Observation?_tag=https://study.test|{study}"]
"#;

/// The configuration of a case as TOML: a name, an object of members, or `null` for the plain one.
pub fn configuration(written: &Value) -> String {
    let members = written.as_str().map_or_else(|| written.clone(), named);
    let unknown: Vec<_> = members
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| !MEMBERS.contains(&name.as_str()))
        .collect();
    assert!(unknown.is_empty(), "unknown members of `config`: {unknown:?}");
    let text = |name: &str, default: &str| members[name].as_str().unwrap_or(default).to_owned();
    format!(
        "profile = \"{}\"\n[server]\npublic_url = \"https://gw.test/fhir\"\ninsecure_http = true\n[backend]\n\
         url = \"http://{BACKEND}/fhir\"\nfhir_version = \"{}\"\n{}[[authorization_server]]\n\
         issuer = \"https://as.test\"\nvalidation = \"jwt\"\n{}",
        text("profile", "smart"),
        text("fhir_version", "4.0"),
        text("backend", ""),
        text("more", ""),
    )
}
