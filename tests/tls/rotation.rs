//! Certificates and settings that change while clients come (TLS-9, FLT-024).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};

use crate::house::{House, Plan};

const ROTATIONS: usize = 50;

/// What FLT-024 allows between a new certificate and its use.
const SOON: Duration = Duration::from_secs(5);

/// Ends the load, also when the test fails.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn rotation_under_load() {
    let house = House::open(&Plan::default());
    let (done, handshakes) = (AtomicBool::new(false), AtomicUsize::new(0));
    let longest = std::thread::scope(|scope| {
        let load = || {
            let client = Arc::new(house.client());
            while !done.load(Ordering::Relaxed) {
                let asked = house.ask(&client).expect("no handshake and no request fails");
                assert_eq!(asked.status(), "401");
                handshakes.fetch_add(1, Ordering::Relaxed);
            }
        };
        let threads = [scope.spawn(load), scope.spawn(load)];
        let _ended = Ended(&done);
        let kinds = [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384];
        let rotate = |i: usize| {
            let plan = Plan { kind: kinds[i % 2], ..Plan::default() };
            house.await_shown(&house.renew("server", &plan))
        };
        let longest = (0..ROTATIONS)
            .map(|i| if threads.iter().any(|load| load.is_finished()) { Duration::MAX } else { rotate(i) })
            .max();
        longest.expect("rotations")
    });
    assert!(longest < SOON, "a new certificate was shown after {longest:?} only");
    let handshakes = handshakes.into_inner();
    assert!(handshakes > 10 * ROTATIONS, "{handshakes} handshakes are no load");
    assert!(!house.log().contains("panicked"), "{}", house.log());
}

/// A reload takes other files, in folders of which nothing was known, and another profile; the metric follows, and the
/// new files are watched.
#[test]
fn other_files_and_another_profile() {
    let house = House::open(&Plan::default());
    let x25519 = CryptoProvider { kx_groups: vec![kx_group::X25519], ..default_provider() };
    let x25519 = Arc::new(house.client_with(x25519));
    assert!(house.ask(&x25519).is_ok());
    let before = expiry(&house);
    std::fs::create_dir_all(house.folder.join("renewed")).expect("a folder");
    let renewed = house.renew("renewed/gw", &Plan { days: 200, ..Plan::default() });
    house.rewrite("certificate = \"renewed/gw.pem\"\nkey = \"renewed/gw.key\"\nsuites = \"bsi-tr-02102-2\"");
    house.await_shown(&renewed);
    assert!(house.ask(&x25519).is_err(), "X25519 is not in the tables");
    let after = expiry(&house);
    assert!(after < before, "{before} {after}");
    house.await_shown(&house.renew("renewed/gw", &Plan { days: 100, ..Plan::default() }));
    assert!(expiry(&house) < after);
    assert!(!house.log().contains("takes effect at the next start only"), "{}", house.log());
}

/// A renewed certificate is taken although the file has been broken meanwhile; a pair that does not fit is not.
#[test]
fn renewal_does_not_wait_for_the_file() {
    let house = House::open(&Plan::default());
    house.rewrite("client_certificates = \"sometimes\"");
    let renewed = house.renew("server", &Plan::default());
    house.await_shown(&renewed);
    std::fs::write(house.folder.join("server.key"), "no key").expect("written");
    let client = Arc::new(house.client());
    house.await_logged("certificates not reloaded; the old ones stay in force", 1);
    assert_eq!(house.ask(&client).expect("the old pair serves").shown, renewed);
}

/// TLS-9: warned of in the log at the start, and again at a reload.
#[test]
fn an_end_that_is_near_is_logged() {
    let house = House::open(&Plan { days: 6, ..Plan::default() });
    let near = "more than 5 days of validity";
    assert_eq!(house.log().matches(near).count(), 1, "{}", house.log());
    house.await_shown(&house.renew("server", &Plan { days: 6, ..Plan::default() }));
    house.await_logged(near, 2);
    assert_eq!(House::open(&Plan::default()).log().matches(near).count(), 0);
}

fn expiry(house: &House) -> f64 {
    let text = house.metrics();
    let line = text.lines().find(|line| line.starts_with("pforte_certificate_expiry_timestamp_seconds "));
    line.and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}
