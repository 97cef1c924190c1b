//! Exactly the versions, suites, groups and signatures of each profile, as OpenSSL and sslscan find them (TLS-1, TLS-3 …
//! TLS-6). What OpenSSL of Debian 12 does not know, X25519MLKEM768, is tested beside the listener.

use std::collections::BTreeSet;
use std::sync::Arc;

use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm};

use crate::house::{House, Plan, replace};
use crate::ocsp;
use crate::programs::{agreed, s_client, s_client_asks, sslscan, suites_before_13};

const MODERN: &str = "suites = \"modern\"";
const BSI: &str = "suites = \"bsi-tr-02102-2\"";

/// What OpenSSL can offer alone, by version.
const GROUPS_13: [&str; 8] =
    ["P-256", "P-384", "P-521", "X25519", "X448", "ffdhe2048", "ffdhe3072", "ffdhe4096"];
const GROUPS_12: [&str; 8] =
    ["P-256", "P-384", "P-521", "X25519", "X448", "brainpoolP256r1", "brainpoolP384r1", "secp224r1"];
const SIGNATURES_13: [&str; 6] =
    ["RSA-PSS+SHA256", "RSA-PSS+SHA384", "RSA-PSS+SHA512", "ECDSA+SHA256", "ECDSA+SHA384", "ed25519"];
const SIGNATURES_12: [&str; 11] = [
    "RSA-PSS+SHA256",
    "RSA-PSS+SHA384",
    "RSA-PSS+SHA512",
    "RSA+SHA1",
    "RSA+SHA256",
    "RSA+SHA384",
    "RSA+SHA512",
    "ECDSA+SHA1",
    "ECDSA+SHA256",
    "ECDSA+SHA384",
    "ed25519",
];

fn open(kind: &'static SignatureAlgorithm, tls: &'static str) -> House {
    House::open(&Plan { kind, tls, ..Plan::default() })
}

/// A row of the table: a profile with a key, and all that is agreed on.
struct Row {
    kind: &'static SignatureAlgorithm,
    tls: &'static str,
    suites_13: &'static [&'static str],
    suites_12: &'static [&'static str],
    groups: &'static [&'static str],
    signatures_13: &'static [&'static str],
    signatures_12: &'static [&'static str],
}

const AES: &[&str] = &["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"];
const AES_AND_CHACHA: &[&str] =
    &["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
const CURVES: &[&str] = &["P-256", "P-384", "X25519"];
const NIST: &[&str] = &["P-256", "P-384"];
const PSS: &[&str] = &["RSA-PSS+SHA256", "RSA-PSS+SHA384", "RSA-PSS+SHA512"];

/// The whole of what each profile agrees on.
const TABLE: [Row; 4] = [
    Row {
        kind: &PKCS_ECDSA_P256_SHA256,
        tls: MODERN,
        suites_13: AES_AND_CHACHA,
        suites_12: &[
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
        ],
        groups: CURVES,
        signatures_13: &["ECDSA+SHA256"],
        signatures_12: &["ECDSA+SHA256"],
    },
    Row {
        kind: &PKCS_RSA_SHA256,
        tls: MODERN,
        suites_13: AES_AND_CHACHA,
        suites_12: &[
            "ECDHE-RSA-AES128-GCM-SHA256",
            "ECDHE-RSA-AES256-GCM-SHA384",
            "ECDHE-RSA-CHACHA20-POLY1305",
        ],
        groups: CURVES,
        signatures_13: PSS,
        signatures_12: &[
            "RSA-PSS+SHA256",
            "RSA-PSS+SHA384",
            "RSA-PSS+SHA512",
            "RSA+SHA256",
            "RSA+SHA384",
            "RSA+SHA512",
        ],
    },
    Row {
        kind: &PKCS_ECDSA_P256_SHA256,
        tls: BSI,
        suites_13: AES,
        suites_12: &["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"],
        groups: NIST,
        signatures_13: &["ECDSA+SHA256"],
        signatures_12: &["ECDSA+SHA256"],
    },
    Row {
        kind: &PKCS_RSA_SHA256,
        tls: BSI,
        suites_13: AES,
        suites_12: &["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384"],
        groups: NIST,
        signatures_13: PSS,
        signatures_12: PSS,
    },
];

#[test]
fn openssl_agrees_on_the_table_and_nothing_else() {
    for row in &TABLE {
        let house = open(row.kind, row.tls);
        let name = format!("{} with {:?}", row.tls, row.kind);
        let all: Vec<&str> =
            [AES_AND_CHACHA, &["TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"]].concat();
        assert_eq!(agreed(&house, "-tls1_3", "-ciphersuites", &all), row.suites_13, "{name}");
        let mut suites = suites_before_13(&house);
        suites.sort();
        assert_eq!(suites, row.suites_12, "{name}");
        assert_eq!(agreed(&house, "-tls1_3", "-groups", &GROUPS_13), row.groups, "{name}");
        // With an ECDSA key OpenSSL wants the key's curve among the groups, also where they are another matter.
        if *row.kind == PKCS_RSA_SHA256 {
            assert_eq!(agreed(&house, "-tls1_2", "-groups", &GROUPS_12), row.groups, "{name}");
        }
        assert_eq!(agreed(&house, "-tls1_3", "-sigalgs", &SIGNATURES_13), row.signatures_13, "{name}");
        assert_eq!(agreed(&house, "-tls1_2", "-sigalgs", &SIGNATURES_12), row.signatures_12, "{name}");
    }
}

/// Of groups sslscan finds those of TLS 1.3 only. Its own handshakes have no Extended Master Secret, so that under BSI it finds TLS 1.3 only; what of TLS 1.2 is left
/// there OpenSSL finds, above.
#[test]
fn sslscan_finds_the_table_and_no_fault() {
    for row in &TABLE {
        let house = open(row.kind, row.tls);
        let mut expected = BTreeSet::from(["protocol tls1.3".to_owned()]);
        expected.extend(row.suites_13.iter().map(|suite| format!("cipher TLSv1.3 {suite}")));
        let group = |group: &&str| match *group {
            "P-256" => "secp256r1".to_owned(),
            "P-384" => "secp384r1".to_owned(),
            other => other.to_lowercase(),
        };
        expected.extend(row.groups.iter().map(|name| format!("group TLSv1.3 {}", group(name))));
        if row.tls == MODERN {
            expected.insert("protocol tls1.2".to_owned());
            expected.extend(row.suites_12.iter().map(|suite| format!("cipher TLSv1.2 {suite}")));
        }
        assert_eq!(sslscan(&house), expected, "{} with {:?}", row.tls, row.kind);
    }
}

/// TLS-6: no compression, no early data, no renegotiation; tickets for hours, never for days.
#[test]
fn what_a_session_has() {
    for tls in [MODERN, BSI] {
        let house = open(&PKCS_ECDSA_P256_SHA256, tls);
        let told = s_client(&house, &["-tls1_2"]).expect("a handshake");
        for part in ["Compression: NONE", "Extended master secret: yes", "Verify return code: 0 (ok)"] {
            assert!(told.contains(part), "{tls}: {part} is not in\n{told}");
        }
        let told = s_client_asks(&house, &["-tls1_3"]).expect("an answer");
        for part in ["Compression: NONE", "Max Early Data: 0", "lifetime hint: 43200", "HTTP/1.1 401"] {
            assert!(told.contains(part), "{tls}: {part} is not in\n{told}");
        }
    }
}

/// A response beside the configuration is stapled, and stays when what comes after it says anything but `good`.
#[test]
fn a_response_is_stapled() {
    let plan = Plan { tls: "ocsp = \"server.ocsp\"", ..Plan::default() };
    let house = House::prepared(&plan, |folder, leaf| {
        let response = ocsp::response(leaf, ocsp::Says::Good, 1_600_000_000, Some(4_000_000_000));
        std::fs::write(folder.join("server.ocsp"), response).expect("written");
    });
    let told = s_client(&house, &["-status"]).expect("a handshake");
    assert!(
        told.contains("OCSP Response Status: successful") && told.contains("Cert Status: good"),
        "{told}"
    );
    let shown = house.ask(&Arc::new(house.client())).expect("an answer").shown;
    for (i, says) in [ocsp::Says::Revoked, ocsp::Says::Unknown].into_iter().enumerate() {
        let response = ocsp::response(&shown, says, 1_600_000_000, Some(4_000_000_000));
        replace(&house.folder.join("server.ocsp"), &response);
        house.await_logged("certificates not reloaded; the old ones stay in force", i + 1);
        let told = s_client(&house, &["-status"]).expect("a handshake");
        assert!(told.contains("Cert Status: good"), "{told}");
    }
    let house = open(&PKCS_ECDSA_P256_SHA256, MODERN);
    let told = s_client(&house, &["-status"]).expect("a handshake");
    assert!(told.contains("OCSP response: no response sent"), "{told}");
}
