//! The configuration file from outside: good files load, bad ones say what, where and how to mend it.
#![cfg(test)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use pforte::config::{Settings, Source, Surroundings, load, schema};
use rcgen::{CertificateParams, KeyPair};

const EVERY_KEY: &str = include_str!("../gateway.toml");

/// Contract §10: public URL, certificate, backend URL, issuer, audience.
const SHORTEST: &str = r#"
[server]
public_url = "https://gw.example/fhir"
tls = { certificate = "certs/server.pem", key = "certs/server.key" }
[backend]
url = "http://127.0.0.1:8080/fhir"
[[authorization_server]]
issuer = "https://as.example"
audience = "https://gw.example/fhir"
"#;

const NOW: &str = "2026-06-01T00:00:00Z";

/// A folder of its own for each test, with certificates and secrets in it.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("config").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("certs")).expect("made");
    fs::create_dir_all(folder.join("secrets")).expect("made");
    certificate(&folder, "server", (2020, 2040));
    certificate(&folder, "other", (2020, 2040));
    certificate(&folder, "ended", (2020, 2021));
    certificate(&folder, "coming", (2030, 2040));
    private(&folder.join("secrets/as"), "s3cret\n");
    private(&folder.join("secrets/empty"), "\n");
    private(&folder.join("secrets/redis"), "s3cret\n");
    private(&folder.join("secrets/seal.key"), &format!("{}\n", "0badc0de".repeat(8)));
    private(&folder.join("secrets/seal-text.key"), "0123456789abcdef0123456789abcdef");
    private(&folder.join("secrets/seal-zeros.key"), &"\0".repeat(32));
    folder
}

fn certificate(folder: &Path, name: &str, (from, until): (i32, i32)) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["gw.example".to_owned()]).expect("parameters");
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let certificate = params.self_signed(&key).expect("signed");
    fs::write(folder.join(format!("certs/{name}.pem")), certificate.pem()).expect("written");
    private(&folder.join(format!("certs/{name}.key")), &key.serialize_pem());
}

fn private(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("permitted");
    }
}

fn check(folder: &Path, text: &str, now: Timestamp) -> (Option<Settings>, Vec<String>) {
    match Settings::check(&Source::new("gateway.toml", text), &Surroundings::new(folder, now)) {
        Ok((settings, warnings)) => {
            (Some(settings), warnings.iter().map(|w| format!("warning: {w}")).collect())
        }
        Err(complaints) => (None, complaints.iter().map(ToString::to_string).collect()),
    }
}

fn now() -> Timestamp {
    NOW.parse().expect("an instant")
}

/// A file may be loaded by its path; relative paths start at its folder.
#[test]
fn the_shortest_file_is_ten_lines_and_loads() {
    assert!(SHORTEST.lines().count() <= 10);
    let folder = folder("shortest");
    fs::write(folder.join("gateway.toml"), SHORTEST).expect("written");
    let (settings, warnings) = load(&folder.join("gateway.toml")).expect("sound");
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(settings.server.tls.expect("TLS").certificate, folder.join("certs/server.pem"));
    assert_eq!(settings.audit.path, folder.join("audit"));
    assert!(load(&folder.join("none.toml")).is_err());
}

/// Each default written down is the default in force.
#[test]
fn the_example_file_says_every_default() {
    let folder = folder("example");
    let (example, warnings) = check(&folder, EVERY_KEY, now());
    let (shortest, _) = check(&folder, SHORTEST, now());
    assert!(warnings.is_empty(), "{warnings:#?}");
    let (example, shortest) = (example.expect("sound"), shortest.expect("sound"));
    assert_eq!(format!("{example:#?}"), format!("{shortest:#?}"));
}

/// Every key that the types read is shown, set or commented out.
#[test]
fn the_example_file_has_every_key() {
    let mut keys = BTreeSet::new();
    collect(&schema(), &mut keys);
    assert!(keys.len() > 100, "{keys:?}");
    let shown = |key: &&String| {
        let table = EVERY_KEY.contains(&format!("[{key}]")) || EVERY_KEY.contains(&format!(".{key}]"));
        table || EVERY_KEY.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == key.as_str())
    };
    let absent: Vec<_> = keys.iter().filter(|key| !shown(key)).collect();
    assert!(absent.is_empty(), "not in gateway.toml: {absent:?}");
}

fn collect(schema: &serde_json::Value, keys: &mut BTreeSet<String>) {
    match schema {
        serde_json::Value::Object(members) => {
            if let Some(properties) = members.get("properties").and_then(|properties| properties.as_object())
            {
                keys.extend(properties.keys().cloned());
            }
            members.values().for_each(|member| collect(member, keys));
        }
        serde_json::Value::Array(members) => members.iter().for_each(|member| collect(member, keys)),
        serde_json::Value::Bool(_)
        | serde_json::Value::Null
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => {}
    }
}

/// What is commented out in the example reads as soon as it is taken in, unless it says that it is not available.
#[test]
fn commented_keys_of_the_example_are_real() {
    let folder = folder("commented");
    fs::copy(folder.join("certs/server.pem"), folder.join("certs/clients.pem")).expect("copied");
    fs::copy(folder.join("certs/server.pem"), folder.join("certs/as-ca.pem")).expect("copied");
    fs::copy(folder.join("certs/server.pem"), folder.join("certs/redis-ca.pem")).expect("copied");
    // The backend of the example has no TLS.
    let tls = ["#ca = \"certs/backend", "#client_certificate = ", "#client_key"];
    let unavailable = ["#otlp", "#[[route]]"];
    let mut text = String::new();
    for line in EVERY_KEY.lines() {
        let key = line
            .strip_prefix('#')
            .filter(|rest| rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()));
        match key {
            Some(key) if !unavailable.iter().chain(&tls).any(|start| line.starts_with(start)) => {
                text.push_str(key);
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    let (settings, said) = check(&folder, &text, now());
    let settings = settings.unwrap_or_else(|| panic!("{said:#?}"));
    assert_eq!(settings.rules.limits.len(), 1);
    assert_eq!(settings.discovery.len(), 21);
    assert!(settings.authorization_servers[0].client.is_some());
    let shared = settings.shared_state.as_ref().expect("a server that replicas share by");
    assert_eq!((shared.url.as_str(), shared.database), ("rediss://redis.example:6379/0", 0));
    assert!(shared.password.is_some() && !format!("{settings:?}").contains("s3cret"));
}

/// A certificate that ends soon is a warning, one that has ended an error.
#[test]
fn certificates_end() {
    let folder = folder("ends");
    let days = |before: i64| {
        "2040-01-01T00:00:00Z".parse::<Timestamp>().expect("an instant")
            - SignedDuration::from_hours(24 * before)
    };
    let table = [(60, true, 0), (31, true, 0), (29, true, 1), (1, true, 1), (-1, false, 1)];
    for (before, sound, said) in table {
        let (settings, lines) = check(&folder, SHORTEST, days(before));
        assert_eq!((settings.is_some(), lines.len()), (sound, said), "{before} days: {lines:?}");
    }
}

/// A secret in a file is read without its last newline, and `Debug` hides it.
#[test]
fn secrets_come_from_files() {
    let folder = folder("secrets");
    let text = format!(
        "{SHORTEST}validation = \"introspection\"\nclient = {{ id = \"pforte\", secret_file = \"secrets/as\" }}\n"
    );
    let (settings, said) = check(&folder, &text, now());
    assert!(said.is_empty(), "{said:?}");
    let settings = settings.expect("sound");
    assert!(settings.authorization_servers[0].opaque, "the only one that introspects");
    let shown = format!("{settings:?}");
    assert!(!shown.contains("s3cret"), "{shown}");
    let pforte::config::IssuerClientAuth::SecretBasic(secret) =
        &settings.authorization_servers[0].client.as_ref().expect("a client").auth
    else {
        panic!("client_secret_basic is the default");
    };
    assert_eq!(secret.reveal(), "s3cret");
}

/// SRCH-25: the key of page links is read from its file, and `Debug` hides it.
#[test]
fn the_key_of_page_links_comes_from_a_file() {
    let folder = folder("seal");
    let (settings, said) = check(&folder, SHORTEST, now());
    assert!(settings.expect("sound").seal_key.is_none(), "{said:?}");
    let text = format!("{SHORTEST}[shared_state]\nseal_key_file = \"secrets/seal.key\"\n");
    let (settings, said) = check(&folder, &text, now());
    assert!(said.is_empty(), "{said:?}");
    let settings = settings.expect("sound");
    let key = settings.seal_key.as_ref().expect("a key");
    assert_eq!(key.path, folder.join("secrets/seal.key"));
    let shown = format!("{settings:?}").to_lowercase();
    assert!(!shown.contains("0badc0de") && !shown.contains("[11, 173"), "{shown}");
}

/// Bad files in, exact messages out. `tests/config/bad/*.toml` hold files; a file without `[server]` is put behind the
/// shortest one.
#[test]
#[expect(clippy::disallowed_methods, reason = "the bad files are read as they lie there")]
fn bad_files_say_what_where_and_how_to_mend_it() {
    let folder = folder("bad");
    let mut files: Vec<_> = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config/bad"))
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(files.len() >= 25, "{}", files.len());
    let mut said = String::new();
    for file in &files {
        let text = fs::read_to_string(file).expect("text");
        let (settings, lines) = check(&folder, &text, now());
        let name = file.file_stem().expect("a name").to_string_lossy();
        writeln!(said, "== {name}").expect("written");
        for line in &lines {
            writeln!(said, "{line}").expect("written");
        }
        let good = name.starts_with("warn-");
        assert_eq!(settings.is_some(), good, "{name}: {lines:#?}");
        assert!(!lines.is_empty(), "{name} has nothing to say");
        assert!(!said.contains("hunter2"), "{name} shows a secret");
    }
    insta::with_settings!({ snapshot_path => "config", prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("messages", said);
    });
}

/// No text makes the checks panic, and whatever is refused is refused with a reason.
#[test]
fn cut_files_are_refused_with_a_reason() {
    let folder = folder("cut");
    for (cut, _) in EVERY_KEY.char_indices().step_by(211) {
        let (settings, said) = check(&folder, EVERY_KEY.get(..cut).expect("a boundary"), now());
        assert!(settings.is_some() || !said.is_empty(), "cut at {cut}");
    }
}
