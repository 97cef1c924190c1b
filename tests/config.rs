//! The configuration file from outside: good files load, bad ones say what, where and how to mend it.
#![cfg(test)]

#[path = "support/ocsp.rs"]
mod ocsp;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use ocsp::Says;
use pforte::config::{Settings, Source, Surroundings, load, load_to_serve, schema};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa,
    KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize,
    SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

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
    responses(&folder);
    authorities(&folder);
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

/// OCSP responses for `server.pem`, and one for another certificate.
fn responses(folder: &Path) {
    let der = |name: &str| CertificateDer::from_pem_file(folder.join(name)).expect("a certificate");
    let (server, other) = (der("certs/server.pem"), der("certs/other.pem"));
    let at = |instant: &str| {
        u64::try_from(instant.parse::<Timestamp>().expect("an instant").as_second()).expect("after 1970")
    };
    let (before, now, after) = (at("2026-05-20T00:00:00Z"), at(NOW), at("2026-06-10T00:00:00Z"));
    let table = [
        ("server", ocsp::response(&server, Says::Good, before, Some(after))),
        ("ended", ocsp::response(&server, Says::Good, before, Some(now - 1))),
        ("near", ocsp::response(&server, Says::Good, before, Some(now + 86_400))),
        ("endless", ocsp::response(&server, Says::Good, before, None)),
        ("revoked", ocsp::response(&server, Says::Revoked, before, Some(after))),
        ("unknown", ocsp::response(&server, Says::Unknown, before, Some(after))),
        ("other", ocsp::response(&other, Says::Good, before, Some(after))),
    ];
    for (name, response) in table {
        fs::write(folder.join(format!("certs/{name}.ocsp")), response).expect("written");
    }
}

/// CAs with their revocation lists, and certificates by them.
fn authorities(folder: &Path) {
    let authority = |name: &str, until: i32, kind: &'static SignatureAlgorithm| {
        let mut ca = CertificateParams::new(Vec::new()).expect("parameters");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        ca.distinguished_name.push(DnType::CommonName, name);
        ca.not_after = date_time_ymd(until, 1, 1);
        CertifiedIssuer::self_signed(ca, KeyPair::generate_for(kind).expect("a key")).expect("signed")
    };
    let list = |issuer: &CertifiedIssuer<'_, KeyPair>, until: i32| {
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(issuer).expect("signed").pem().expect("PEM")
    };
    let clients = authority("clients", 2040, &PKCS_ECDSA_P256_SHA256);
    let rsa = authority("rsa", 2040, &PKCS_RSA_SHA256);
    let tired = authority("tired", 2025, &PKCS_ECDSA_P256_SHA256);
    let table = [
        ("clients.pem", clients.pem()),
        ("clients-and-rsa.pem", clients.pem() + &rsa.pem()),
        ("clients.crl", list(&clients, 2040)),
        ("ended.crl", list(&clients, 2026)),
        ("rsa.crl", list(&rsa, 2040)),
        ("tired.pem", tired.pem()),
    ];
    for (name, text) in table {
        fs::write(folder.join("certs").join(name), text).expect("written");
    }
    let leaf = |name: &str, key: KeyPair, issuer: Option<&CertifiedIssuer<'_, KeyPair>>| {
        let mut params = CertificateParams::new(vec!["gw.example".to_owned()]).expect("parameters");
        params.not_after = date_time_ymd(2040, 1, 1);
        let pem = match issuer {
            Some(issuer) => params.signed_by(&key, issuer).expect("signed").pem() + &issuer.pem(),
            None => params.self_signed(&key).expect("signed").pem(),
        };
        fs::write(folder.join(format!("certs/{name}.pem")), pem).expect("written");
        private(&folder.join(format!("certs/{name}.key")), &key.serialize_pem());
    };
    let small = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key");
    leaf("by-rsa", small, Some(&rsa));
    leaf("by-tired", KeyPair::generate().expect("a key"), Some(&tired));
    leaf("ed25519", KeyPair::generate_for(&PKCS_ED25519).expect("a key"), None);
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
    fs::copy(folder.join("certs/server.pem"), folder.join("certs/as-ca.pem")).expect("copied");
    fs::copy(folder.join("certs/server.pem"), folder.join("certs/redis-ca.pem")).expect("copied");
    fs::copy(folder.join("certs/server.pem"), folder.join("certs/repository-ca.pem")).expect("copied");
    private(&folder.join("secrets/repository"), "s3cret\n");
    // The backend of the example has no TLS.
    let tls = ["#ca = \"certs/backend", "#client_certificate = ", "#client_key"];
    let unavailable = ["#[[route]]"];
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
    let sinks: Vec<&str> = settings.audit.sinks.iter().map(|sink| sink.name.as_str()).collect();
    assert_eq!(sinks, ["repository", "syslog", "file"]);
    let shared = settings.shared_state.as_ref().expect("a server that replicas share by");
    assert_eq!((shared.url.as_str(), shared.database), ("rediss://redis.example:6379/0", 0));
    let traces = settings.telemetry.traces.as_ref().expect("a collector");
    assert_eq!((traces.collector.as_str(), traces.ratio), ("http://127.0.0.1:4317/", 1.0));
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

/// What is past its time and can be done without is an error to `check`, and a warning to a gateway that serves.
#[test]
fn a_gateway_serves_without_what_is_stale() {
    let folder = folder("stale");
    // These are read with the clock of this machine.
    certificate(&folder, "server", (2020, 4000));
    let der = CertificateDer::from_pem_file(folder.join("certs/server.pem")).expect("a certificate");
    let far = Some(4_000_000_000);
    let table = [
        ("good", ocsp::response(&der, Says::Good, 0, far), true, true),
        ("ended", ocsp::response(&der, Says::Good, 0, Some(1_000_000_000)), false, true),
        ("not begun", ocsp::response(&der, Says::Good, 3_999_999_999, far), false, true),
        ("revoked", ocsp::response(&der, Says::Revoked, 0, far), false, false),
        ("no response", b"nothing".to_vec(), false, false),
    ];
    let file = folder.join("gateway.toml");
    let named = "key = \"certs/server.key\", ocsp = \"certs/stale.ocsp\"";
    fs::write(&file, SHORTEST.replace("key = \"certs/server.key\"", named)).expect("written");
    for (what, response, checks, serves) in table {
        fs::write(folder.join("certs/stale.ocsp"), response).expect("written");
        assert_eq!(load(&file).is_ok(), checks, "{what}");
        let served = load_to_serve(&file);
        assert_eq!(served.is_ok(), serves, "{what}: {served:?}");
        assert!(served.is_err() || served.is_ok_and(|(_, warnings)| warnings.is_empty() == checks), "{what}");
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
