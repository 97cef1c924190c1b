//! What recording costs. This program serves in processes of its own, with the same code but for the ledger: one that
//! keeps what it is given, and one that keeps nothing. There is no such switch in the product.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use pforte::config::{self, Audit};
use pforte::gateway::{Front, Gateway, Lasting};
use pforte::ledger::Ledger;
use pforte::listener::{self, CertificateStore, Options, Rules};
use pforte::shared::Shared;
use pforte::telemetry::{Metrics, Traces};
use tokio_util::sync::CancellationToken;

use crate::client::Protocol;
use crate::contestant::{Contestant, Peer};
use crate::load::{self, Done, Target};
use crate::rounds::median;
use crate::standing::{Figure, Stand};
use crate::work::{Grant, WORKS, Work};

/// What the part is called, and what it measures.
pub const PART: (&str, &str) = ("audit", "the same code with the ledger and with one that keeps nothing");

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
                pforte::listener::Bounds {
                    target: settings.limits.target_bytes,
                    fields: settings.limits.header_bytes,
                },
            ),
            limits: settings.limits.clone(),
            tls: tls.map(Arc::new),
            metrics: metrics.clone(),
            workers: settings.server.workers.unwrap_or_else(listener::cores),
        };
        let shared = Arc::new(Shared::new(None).expect("no Redis"));
        let lasting = Lasting { ledger, metrics, shared, traces: Traces::off() };
        let gateway = Gateway::new(settings, &lasting, None).expect("a gateway");
        let issuers = Arc::clone(gateway.issuers());
        tokio::spawn({
            let stop = stop.clone();
            async move { issuers.keep_fresh(stop).await }
        });
        drop(listener::serve(sockets, options, Arc::new(Front::new(gateway)), stop).await);
    });
    ExitCode::SUCCESS
}

/// The works that both do.
const DONE: [(&str, Grant); 4] = [
    ("read", Grant::Everything),
    ("read", Grant::OfAPatient),
    ("search", Grant::Everything),
    ("search", Grant::OfAPatient),
];

/// Measures both by turns: a table, and what is held against limits.
///
/// # Errors
/// When an answer is not 200.
pub async fn measure(stand: &Stand<'_>) -> Result<(String, Vec<Figure>), String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?.display().to_string();
    let start = |kept: Kept| Contestant::serving(&[&this, SERVE, kept.name()], stand.setting);
    let (on, off) = (start(Kept::Durably), start(Kept::Not));
    let mut table = "| work | grant | answers/s, audit on | off | apart | CPU µs/answer, on | off | apart |\n| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n".to_owned();
    let mut figures = Vec::new();
    for (name, grant) in DONE {
        let Some(work) = WORKS.iter().find(|work| work.name == name) else { continue };
        let (mut with, mut without) = (Turns::default(), Turns::default());
        for round in 0..=stand.effort.rounds {
            // Who comes first changes: what warms up or wears out meets both.
            for first in [round % 2 == 0, round % 2 != 0] {
                let (contestant, turns) = if first { (&on, &mut with) } else { (&off, &mut without) };
                let done = turn(stand, work, (contestant, grant)).await?;
                // The first round is for warming up.
                if round > 0 {
                    turns.note(done);
                }
            }
        }
        let apart =
            with.rate.iter().zip(&without.rate).map(|(on, off)| (1.0 - on / off) * 100.0).collect::<Vec<_>>();
        let cpu =
            with.cpu.iter().zip(&without.cpu).map(|(on, off)| (on / off - 1.0) * 100.0).collect::<Vec<_>>();
        table.push_str(&format!(
            "| {} | {} | {:.0} | {:.0} | {:.1} % | {:.1} | {:.1} | {:.1} % |\n",
            work.title,
            if grant == Grant::Everything { "`system/*.rs`" } else { "`patient/*.rs`, checked" },
            median(&with.rate),
            median(&without.rate),
            median(&apart),
            median(&with.cpu),
            median(&without.cpu),
            median(&cpu)
        ));
        if (name, grant) == ("read", Grant::Everything) {
            let by = vec![(Peer::Pforte, apart)];
            figures.push(Figure { name: "audit-read", title: "audit on: less answers", unit: "%", by });
        }
    }
    Ok((table, figures))
}

async fn turn(
    stand: &Stand<'_>,
    work: &Work,
    (contestant, grant): (&Contestant, Grant),
) -> Result<Done, String> {
    let target = Target {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, contestant.port)),
        process: contestant.process(),
        protocol: Protocol::Http1,
        connections: work.connections(),
    };
    let asks = work.asks(grant, stand.purse, 1);
    stand.settle(contestant).await?;
    let time = Duration::from_secs_f64(stand.effort.seconds);
    load::closed(stand.client, target, &asks, load::Lasting::Time(time)).await
}

/// What one of the two was able to do, turn by turn.
#[derive(Default)]
struct Turns {
    rate: Vec<f64>,
    cpu: Vec<f64>,
}

impl Turns {
    fn note(&mut self, done: Done) {
        let answers = done.answers.max(1) as f64;
        self.rate.push(answers / done.elapsed.as_secs_f64());
        self.cpu.push(done.cpu.as_secs_f64() * 1e6 / answers);
    }
}
