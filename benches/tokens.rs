//! What the token of a request costs: not seen before (cold), seen before (warm), bound to a key or a certificate; and how
//! many introspection calls a rate of requests becomes. Run with `cargo bench --bench tokens`; `calls` behind it runs the last
//! part only.
//!
//! Measured is what the gateway does between a request's header fields and its grant, through the same functions. Keys
//! are there already; a server in this process published them over loopback, and answers about opaque tokens.

#![expect(clippy::expect_used, reason = "a bench whose setting does not hold has nothing to measure")]

#[path = "tokens/calls.rs"]
mod calls;
#[path = "../tests/support/proof.rs"]
mod proof;
#[path = "tokens/server.rs"]
mod server;

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use divan::Bencher;
use http::{HeaderMap, Method};
use jiff::Timestamp;
use jsonwebtoken::Algorithm;
use pforte::issuer::Issuers;
use pforte::shared::{Proof as Used, Shared, Use};
use pforte::token::{Caller, Possession, Presented, Sent, Thumbprint};
use proof::Holder;
use server::{Server, Signer};
use tokio::runtime::Runtime;

const URL: &str = "https://gw.test/fhir/Patient/pat-01";

/// The size of a client certificate with a P-256 key and a few names.
const CERTIFICATE: [u8; 800] = [7; 800];

/// The token of a request, by who signed it and what it is bound to.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Rs256,
    Es256,
    /// ES256, with a proof of an ES256 key.
    Dpop,
    /// ES256, on a connection with a certificate.
    Certificate,
}

const KINDS: [Kind; 4] = [Kind::Rs256, Kind::Es256, Kind::Dpop, Kind::Certificate];

fn main() {
    divan::main();
    // Not when a filter or `--test` asks for something else.
    let asked: Vec<String> = std::env::args().skip(1).collect();
    if asked.iter().all(|word| word == "--bench" || word == "calls") && !asked.is_empty() {
        calls::table();
    }
}

/// A token that was not seen before: its signature is verified, its claims are read.
#[divan::bench(args = KINDS)]
fn cold(bencher: Bencher<'_, '_>, kind: Kind) {
    let bench = Bench::new();
    let request = || bench.request(kind, &bench.token(kind));
    bencher.with_inputs(request).bench_local_refs(|headers| bench.caller(kind, headers));
}

/// A token that was seen before. Its proof was not: each request has its own.
#[divan::bench(args = KINDS)]
fn warm(bencher: Bencher<'_, '_>, kind: Kind) {
    let bench = Bench::new();
    let token = bench.token(kind);
    bench.caller(kind, &bench.request(kind, &token));
    let request = || bench.request(kind, &token);
    bencher.with_inputs(request).bench_local_refs(|headers| bench.caller(kind, headers));
}

/// Of which the proof alone, by the algorithm of the client's key.
#[divan::bench(args = [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256])]
fn proof_alone(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    let holder = Holder::new(algorithm);
    let token = "token";
    let request = || presented(&headers("DPoP", token, Some(holder.proof("GET", URL, Some(token), |_| ()))));
    bencher.with_inputs(request).bench_local_refs(|presented| {
        let Presented::Dpop { token, proof } = presented else { return false };
        proof.check(token, &sent(now())).is_ok()
    });
}

/// The issuers of a gateway, and what its clients have.
struct Bench {
    _runtime: Runtime,
    issuers: Issuers,
    shared: Shared,
    rsa: Signer,
    ec: Signer,
    /// More than one, because no key may fill the memory of used proofs alone.
    holders: Vec<Holder>,
    next: AtomicUsize,
}

impl Bench {
    fn new() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let (rsa, ec) = (Signer::new(Algorithm::RS256), Signer::new(Algorithm::ES256));
        let issuers = runtime.block_on(async {
            let server = Server::start(&[&rsa, &ec]).await;
            let issuers = server.issuers(server.signed());
            issuers.refresh().await;
            issuers
        });
        let holders = (0..16).map(|_| Holder::new(Algorithm::ES256)).collect();
        let shared = Shared::new(None).expect("a memory");
        Self { _runtime: runtime, issuers, shared, rsa, ec, holders, next: AtomicUsize::new(0) }
    }

    /// Another token each time.
    fn token(&self, kind: Kind) -> (String, usize) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let holder = number % self.holders.len();
        let issuer = self.issuer();
        let token = match kind {
            Kind::Rs256 => self.rsa.token(&issuer, number, None),
            Kind::Es256 => self.ec.token(&issuer, number, None),
            Kind::Dpop => {
                let thumbprint = self.holders.get(holder).map(Holder::thumbprint).unwrap_or_default();
                self.ec.token(&issuer, number, Some(("jkt", thumbprint)))
            }
            Kind::Certificate => {
                let thumbprint = Thumbprint::of_certificate(&CERTIFICATE).to_string();
                self.ec.token(&issuer, number, Some(("x5t#S256", thumbprint)))
            }
        };
        (token, holder)
    }

    fn issuer(&self) -> String {
        self.issuers.status().first().map(|status| status.issuer.clone()).unwrap_or_default()
    }

    /// The header fields of a request, with a proof of its own.
    fn request(&self, kind: Kind, (token, holder): &(String, usize)) -> HeaderMap {
        match (kind, self.holders.get(*holder)) {
            (Kind::Dpop, Some(holder)) => {
                headers("DPoP", token, Some(holder.proof("GET", URL, Some(token), |_| ())))
            }
            _ => headers("Bearer", token, None),
        }
    }

    /// From header fields to a grant, as the gateway does it.
    fn caller(&self, kind: Kind, headers: &HeaderMap) -> Caller {
        at_once(async {
            let now = now();
            let presented = presented(headers);
            let certificate =
                matches!(kind, Kind::Certificate).then(|| Thumbprint::of_certificate(&CERTIFICATE));
            let claims = self.issuers.verify(&presented, now).await.expect("a good token");
            let proven = match &presented {
                Presented::Dpop { token, proof } => {
                    Some(proof.check(token, &sent(now)).expect("a good proof"))
                }
                Presented::Bearer(_) | Presented::None => None,
            };
            let shown = Possession::of(proven.as_ref(), certificate);
            let caller = Caller::admit(claims, &shown, now).expect("a grant");
            if let Some(proven) = &proven {
                let proof =
                    Used { digest: proven.digest(), holder: *proven.key().bytes(), issued: proven.issued() };
                let noted = self.shared.first_use(&proof, proven.lifetime()).await;
                assert_eq!(noted, Ok(Use::First), "a proof that was not used before");
            }
            caller
        })
    }
}

fn headers(scheme: &str, token: &str, proof: Option<String>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let value = |text: &str| text.try_into().expect("a field value");
    headers.insert("authorization", value(&format!("{scheme} {token}")));
    if let Some(proof) = proof {
        headers.insert("dpop", value(&proof));
    }
    headers
}

fn presented(headers: &HeaderMap) -> Presented {
    Presented::from_request(headers, false).expect("a credential")
}

fn sent(now: Timestamp) -> Sent<'static> {
    Sent { method: &Method::GET, url: URL, now, window: Duration::from_secs(60) }
}

#[expect(clippy::disallowed_methods, reason = "a request has an instant")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// What nothing has to be waited for is done in one go, without a runtime.
fn at_once<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    loop {
        if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
    }
}
