//! What recording costs. This program serves in processes of its own, with the same code but for the ledger: one that
//! keeps what it is given, and one that keeps nothing. There is no such switch in the product.

#![expect(clippy::indexing_slicing, reason = "both ledgers have their turns")]

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use pforte::config::{self, Audit};
use pforte::demo::authorization::{AuthorizationServer, Claims};
use pforte::gateway::{Front, Gateway, Lasting};
use pforte::ledger::Ledger;
use pforte::listener::{self, CertificateStore, Options, Rules};
use pforte::shared::Shared;
use pforte::telemetry::{Metrics, Traces};
use tokio_util::sync::CancellationToken;

use crate::{Bench, Running, cpu, free_port, load};

/// Turns of each.
const PAIRS: usize = 5;

/// How long each is under load in a turn.
const SECONDS: u32 = 5;

/// What becomes of events.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kept {
    Durably,
    Not,
}

const SERVE: &str = "--serve";

impl Kept {
    fn name(self) -> &'static str {
        match self {
            Self::Durably => "on",
            Self::Not => "off",
        }
    }

    /// Whether this process is one of those that serve.
    pub fn asked_for() -> Option<Self> {
        let mut arguments = std::env::args().skip_while(|argument| argument != SERVE).skip(1);
        let name = arguments.next()?;
        [Self::Durably, Self::Not].into_iter().find(|kept| kept.name() == name)
    }

    fn ledger(self, settings: &Audit) -> Ledger {
        match self {
            Self::Durably => Ledger::open(settings).expect("a ledger"),
            Self::Not => Ledger::discarding().expect("a ledger"),
        }
    }
}

/// Serves by the file that is named last, until it is ended.
pub fn serve(kept: Kept) -> ExitCode {
    let file = std::env::args().next_back().expect("a file");
    let (settings, _) = config::load(file.as_ref()).expect("settings");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let ledger = Arc::new(kept.ledger(&settings.audit));
        let tls = settings.server.tls.clone().map(|tls| CertificateStore::open(tls).expect("a certificate"));
        let sockets = listener::bind(&settings.server.listen).expect("a socket");
        let metrics = Metrics::new();
        let options = Options {
            rules: Rules::new(
                &settings.server.public_url,
                settings.server.listen.iter().map(std::net::SocketAddr::port).collect(),
                settings.limits.target_bytes,
            ),
            limits: settings.limits.clone(),
            tls: tls.map(Arc::new),
            metrics: metrics.clone(),
        };
        let shared = Arc::new(Shared::new(None).expect("no Redis"));
        let lasting = Lasting { ledger, metrics, shared, traces: Traces::off() };
        let gateway = Gateway::new(settings, &lasting, None).expect("a gateway");
        let issuers = Arc::clone(gateway.issuers());
        tokio::spawn({
            let stop = stop.clone();
            async move { issuers.keep_fresh(stop).await }
        });
        listener::serve(sockets, options, Arc::new(Front::new(gateway)), stop).await;
    });
    ExitCode::SUCCESS
}

/// One turn.
struct Turn {
    rate: f64,
    cpu: f64,
}

/// Measures both by turns and prints their medians.
pub fn measure(bench: &Bench, authorization: &AuthorizationServer) {
    let children: BTreeMap<Kept, (u16, Running)> = [Kept::Durably, Kept::Not]
        .into_iter()
        .map(|kept| {
            let port = free_port();
            let file = bench.settings(port, authorization.issuer(), &format!("audit-{}", kept.name()));
            let this = std::env::current_exe().expect("this program");
            let mut command = Command::new(this);
            (kept, (port, bench.start(command.args([SERVE, kept.name()]).arg(file), port)))
        })
        .collect();
    println!();
    println!("| work | grant | answers/s, audit on | off | apart | CPU µs/answer, on | off | apart |");
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    for (work, path) in [("read, 2 KiB", "Patient/pat-01"), ("search, 100 KiB", "Observation")] {
        for (grant, scope) in [
            ("for everything (streams)", "system/*.rs"),
            ("by type (checked)", "system/Patient.rs system/Observation.rs"),
        ] {
            let mut turns: BTreeMap<Kept, Vec<Turn>> = BTreeMap::new();
            for pair in 0..PAIRS {
                // Who comes first changes: what warms up or wears out meets both.
                let order = [Kept::Durably, Kept::Not];
                for kept in if pair % 2 == 0 { order } else { [order[1], order[0]] } {
                    let (port, child) = &children[&kept];
                    // The audience is the port.
                    authorization.set_audience(&format!("https://127.0.0.1:{port}/fhir"));
                    let token = authorization.mint(Claims::new(scope));
                    turns.entry(kept).or_default().push(turn((*port, child), path, &token));
                }
            }
            let of = |kept: Kept, figure: fn(&Turn) -> f64| median(turns[&kept].iter().map(figure).collect());
            let (on, off) = (of(Kept::Durably, |turn| turn.rate), of(Kept::Not, |turn| turn.rate));
            let (cpu_on, cpu_off) = (of(Kept::Durably, |turn| turn.cpu), of(Kept::Not, |turn| turn.cpu));
            println!(
                "| {work} | {grant} | {on:.0} | {off:.0} | {:.1} % | {cpu_on:.0} | {cpu_off:.0} | {:.1} % |",
                (1.0 - on / off) * 100.0,
                (cpu_on / cpu_off - 1.0) * 100.0
            );
            for kept in [Kept::Durably, Kept::Not] {
                let rates: Vec<String> =
                    turns[&kept].iter().map(|turn| format!("{:.0}", turn.rate)).collect();
                eprintln!("  audit {}: {} answers/s", kept.name(), rates.join(", "));
            }
        }
    }
}

fn turn((port, child): (u16, &Running), path: &str, token: &str) -> Turn {
    let before = cpu(child.0.id());
    let load = load(port, path, token, SECONDS);
    let used = cpu(child.0.id()).saturating_sub(before);
    assert_eq!(load.refused, 0, "answers other than 2xx: the figures mean nothing");
    Turn {
        rate: f64::from(load.answers) / f64::from(SECONDS),
        cpu: used.as_secs_f64() * 1e6 / f64::from(load.answers.max(1)),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
