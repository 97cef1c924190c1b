//! `pforte run`: serve until told to stop, take new settings without dropping a request, drain.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Failure, ends, files};
use crate::admin::{self, Admin, Check, Readiness};
use crate::config::{Settings, Standing};
use crate::gateway::{Front, Gateway, Lasting};
use crate::issuer::Health;
use crate::ledger::Ledger;
use crate::listener::{self, Bounds, CertificateStore, Drained, Options, Rules};
use crate::shared::{Shared, SharedKey};
use crate::sink::{Sinks, Status};
use crate::telemetry::{self, IssuerFigures, LedgerFigures, Metrics, Reload, SinkFigures, Traces};

/// How often public documents are built anew from the issuers' metadata.
const DOCUMENTS_EVERY: Duration = Duration::from_secs(30);

/// How often what ends soon is warned of.
const DAY: Duration = Duration::from_secs(86_400);

/// Editors write a file in several steps; what follows within this time is one change.
const SETTLE: Duration = Duration::from_millis(200);

/// The runtime of the commands that need one. What serves has others; here runs what no request waits for.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::work)
}

/// Serves by the file until SIGTERM or SIGINT.
pub(super) fn run(config: &Path) -> Result<u8, Failure> {
    let (settings, warnings) = files::settings(config)?;
    let guard = telemetry::start(&settings.telemetry).map_err(Failure::configuration)?;
    files::warn(&warnings);
    runtime()?.block_on(async {
        let stop = CancellationToken::new();
        // Before anything listens: who sees the port open may already send a signal.
        let signals = Signals::take()?;
        let hangup = signal(SignalKind::hangup()).map_err(Failure::work)?;
        let seen = fingerprint(config, &settings);
        let house = House::open(settings, stop.clone()).await?;
        let watching = watch(config.to_owned(), house.running(), hangup, seen);
        let watching = tokio::spawn(stop.clone().run_until_cancelled_owned(watching));
        tokio::spawn(signals.stop(stop));
        let drained = house.serve().await;
        watching.abort();
        drop(guard);
        drained
    })
}

/// The signals that end a server.
pub(super) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    /// From here on they no longer end the process by themselves.
    pub(super) fn take() -> Result<Self, Failure> {
        let taken = |kind| signal(kind).map_err(Failure::work);
        Ok(Self { terminate: taken(SignalKind::terminate())?, interrupt: taken(SignalKind::interrupt())? })
    }

    /// Cancels at the first SIGTERM or SIGINT.
    pub(super) async fn stop(mut self, stop: CancellationToken) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        tracing::info!("stopping: requests in flight are finished");
        stop.cancel();
    }
}

/// A gateway with its sockets taken, ready to serve.
pub(super) struct House {
    running: Arc<Running>,
    sockets: Vec<std::net::TcpListener>,
    admin: Option<tokio::net::TcpListener>,
    stop: CancellationToken,
}

/// What a reload reaches.
pub(super) struct Running {
    front: Arc<Front>,
    certificates: Option<Arc<CertificateStore>>,
    /// The same through reloads.
    lasting: Lasting,
    sinks: Sinks,
    /// The key of links and nonces, as the first gateway was built with it.
    key: tokio::sync::watch::Receiver<SharedKey>,
    tasks: parking::Slot,
}

/// Holds the token that ends the background tasks of the gateway in force.
mod parking {
    use arc_swap::ArcSwap;
    use tokio_util::sync::CancellationToken;

    /// One token, replaced with each new gateway.
    #[derive(Debug, Default)]
    pub(super) struct Slot(ArcSwap<CancellationToken>);

    impl Slot {
        /// Ends the tasks before, and gives the token for the tasks to come.
        pub(super) fn next(&self) -> CancellationToken {
            let token = CancellationToken::new();
            self.0.swap(token.clone().into()).cancel();
            token
        }

        /// Ends the tasks.
        pub(super) fn end(&self) {
            self.0.load().cancel();
        }
    }
}

impl House {
    /// Takes the sockets, opens ledger and certificates, and builds the gateway.
    pub(super) async fn open(settings: Settings, stop: CancellationToken) -> Result<Self, Failure> {
        let metrics = Metrics::new();
        metrics.configured(files::now());
        let traces = match &settings.telemetry.traces {
            Some(settings) => Traces::start(settings, &metrics).map_err(Failure::configuration)?,
            None => Traces::off(),
        };
        let ledger = Arc::new(Ledger::open(&settings.audit).map_err(Failure::work)?);
        let certificates = match &settings.server.tls {
            Some(tls) => Some(Arc::new(CertificateStore::open(tls.clone()).map_err(Failure::configuration)?)),
            None => None,
        };
        let sockets = listener::bind(&settings.server.listen).map_err(Failure::work)?;
        let admin = match settings.admin {
            Some(address) => Some(tokio::net::TcpListener::bind(address).await.map_err(|error| {
                Failure::work(format!("`admin.listen` names `{address}`: {error}; choose a free address"))
            })?),
            None => None,
        };
        let shared = Arc::new(Shared::new(settings.shared_state.as_ref()).map_err(Failure::configuration)?);
        // A link that is sealed before the replicas' common key is known opens here only.
        shared.settled().await;
        let key = shared.key();
        let sinks = Sinks::start(&settings.audit, Arc::clone(&ledger)).map_err(Failure::configuration)?;
        let lasting = Lasting { ledger, metrics, shared, traces };
        let gateway = Gateway::new(settings, &lasting, None).map_err(Failure::configuration)?;
        let front = Arc::new(Front::new(gateway));
        let running =
            Arc::new(Running { front, certificates, lasting, sinks, key, tasks: parking::Slot::default() });
        Ok(Self { running, sockets, admin, stop })
    }

    /// What a reload reaches.
    pub(super) fn running(&self) -> Arc<Running> {
        Arc::clone(&self.running)
    }

    /// Serves until stopped, and drains.
    pub(super) async fn serve(self) -> Result<u8, Failure> {
        let Self { running, sockets, admin, stop } = self;
        running.tend();
        let gateway = running.front.gateway();
        let settings = gateway.settings();
        let ports = settings.server.listen.iter().map(std::net::SocketAddr::port).collect();
        let bounds = Bounds { target: settings.limits.target_bytes, fields: settings.limits.header_bytes };
        let options = Options {
            rules: Rules::new(&settings.server.public_url, ports, bounds),
            limits: settings.limits.clone(),
            tls: running.certificates.clone(),
            metrics: running.lasting.metrics.clone(),
            workers: settings.server.workers.unwrap_or_else(listener::cores),
        };
        tracing::info!(public_url = %settings.server.public_url, listen = ?settings.server.listen, "serving");
        let admin = admin.map(|socket| {
            let admin = Arc::new(Admin::new(running.lasting.metrics.clone(), Ready(Arc::clone(&running))));
            tokio::spawn(admin::serve(socket, admin, stop.clone().cancelled_owned()))
        });
        drop(gateway);
        let watching = tokio::spawn({
            let running = Arc::clone(&running);
            async move { running.watch_ends().await }
        });
        let drained = listener::serve(sockets, options, Arc::clone(&running.front), stop).await;
        running.tasks.end();
        watching.abort();
        if let Some(admin) = admin {
            let _ended = admin.await;
        }
        // Events of the last requests are sent as far as time allows; the others at the next start.
        running.sinks.stop().await;
        let closed = running.lasting.ledger.close().await.map_err(Failure::work);
        running.lasting.traces.close().await;
        closed?;
        match drained.map_err(Failure::work)? {
            Drained::Complete => Ok(0),
            Drained::TimedOut => {
                Err(Failure::work("requests were still in flight after `limits.drain_timeout`"))
            }
        }
    }
}

impl Running {
    /// Shows when the certificate in force ends (TLS-9).
    fn show_expiry(&self) {
        if let Some(certificates) = &self.certificates {
            self.lasting.metrics.certificate_expires(certificates.expires());
        }
    }

    /// Warns of what ends soon, each day; start and reload warn with the configuration's other warnings (TLS-9).
    async fn watch_ends(&self) {
        loop {
            tokio::time::sleep(DAY).await;
            ends::warn(self.certificates.as_deref(), self.front.gateway().settings());
        }
    }

    /// Starts the background tasks of the gateway in force.
    fn tend(&self) {
        self.show_expiry();
        let stop = self.tasks.next();
        let gateway = self.front.gateway();
        let issuers = Arc::clone(gateway.issuers());
        tokio::spawn({
            let stop = stop.clone();
            async move { issuers.keep_fresh(stop).await }
        });
        tokio::spawn({
            let (gateway, stop) = (Arc::clone(&gateway), stop.clone());
            async move { gateway.keep_access(stop).await }
        });
        tokio::spawn(async move {
            while !stop.is_cancelled() {
                gateway.refresh_documents().await;
                if stop.run_until_cancelled(tokio::time::sleep(DOCUMENTS_EVERY)).await.is_none() {
                    return;
                }
            }
        });
    }

    /// Takes the file's new settings, or keeps the old ones and says why (HTTP-22).
    fn reload(&self, config: &Path) {
        let settings = match files::settings(config) {
            Ok((settings, warnings)) => {
                files::warn(&warnings);
                settings
            }
            Err(failure) => {
                tracing::error!(
                    complaints = failure.text,
                    "configuration not reloaded; the old one stays in force"
                );
                self.lasting.metrics.reloaded(Reload::Failed);
                // A renewed certificate does not wait until somebody has mended the file.
                return self.renew();
            }
        };
        let before = self.front.gateway();
        for key in needs_restart(before.settings(), &settings) {
            tracing::warn!(key, "changed, but takes effect at the next start only");
        }
        let (tls, shared) = (settings.server.tls.clone(), settings.shared_state.clone());
        let audit = settings.audit.clone();
        let replaced =
            Gateway::new(settings, &self.lasting, Some(&before)).map_err(|error| error.to_string());
        let replaced = replaced.and_then(|gateway| match (&self.certificates, tls) {
            (Some(certificates), Some(tls)) => {
                certificates.replace(tls).map(|()| gateway).map_err(|error| error.to_string())
            }
            (Some(_), None) | (None, _) => Ok(gateway),
        });
        match replaced {
            Ok(gateway) => {
                if let Err(error) = self.lasting.shared.change(shared.as_ref()) {
                    tracing::error!(%error, "shared state not reloaded; the old one stays in force");
                }
                match self.sinks.replace(&audit.sinks) {
                    // What is kept for the sinks is known by their names.
                    Ok(()) => self.lasting.ledger.change(&audit),
                    Err(error) => tracing::error!(%error, "audit sinks not reloaded; the old ones go on"),
                }
                self.front.replace(gateway);
                self.tend();
                self.lasting.metrics.configured(files::now());
                self.lasting.metrics.reloaded(Reload::Taken);
                tracing::info!("configuration reloaded");
            }
            Err(error) => {
                self.lasting.metrics.reloaded(Reload::Failed);
                tracing::error!(error, "configuration not reloaded; the old one stays in force");
            }
        }
    }

    /// Reads certificates again that the configuration in force names.
    fn renew(&self) {
        let Some(certificates) = &self.certificates else { return };
        if let Err(error) = certificates.reload() {
            tracing::error!(%error, "certificates not reloaded; the old ones stay in force");
        }
        self.show_expiry();
    }

    /// Makes links and nonces with the key that the replicas have agreed upon; those of the key before go on.
    fn rekey(&self) {
        let before = self.front.gateway();
        if before.settings().seal_key.is_some() {
            return;
        }
        match Gateway::new(before.settings().clone(), &self.lasting, Some(&before)) {
            Ok(gateway) => {
                self.front.replace(gateway);
                self.tend();
                tracing::info!("another key of links and nonces is shared; it is taken over");
            }
            Err(error) => tracing::error!(%error, "the shared key of links and nonces is not taken over"),
        }
    }
}

/// Keys that sockets, ledger and telemetry were opened by.
fn needs_restart(before: &Settings, after: &Settings) -> Vec<&'static str> {
    let tls = |settings: &Settings| settings.server.tls.is_some();
    // Whether there is an access log is asked with each request.
    let telemetry = |settings: &Settings| {
        let telemetry = &settings.telemetry;
        format!("{:?}", (&telemetry.log, telemetry.log_format, &telemetry.traces))
    };
    let limits = |settings: &Settings| {
        let limits = &settings.limits;
        let sizes = [limits.header_bytes, limits.target_bytes, limits.connections];
        (sizes, [limits.header_timeout, limits.idle_timeout, limits.drain_timeout])
    };
    [
        ("server.listen", before.server.listen != after.server.listen),
        ("server.public_url", before.server.public_url != after.server.public_url),
        ("server.workers", before.server.workers != after.server.workers),
        ("server.tls", tls(before) != tls(after)),
        ("audit.path", before.audit.path != after.audit.path),
        ("admin.listen", before.admin != after.admin),
        ("limits of connections", limits(before) != limits(after)),
        ("telemetry", telemetry(before) != telemetry(after)),
    ]
    .into_iter()
    .filter_map(|(key, changed)| changed.then_some(key))
    .collect()
}

/// Whether requests may be sent here.
struct Ready(Arc<Running>);

impl Readiness for Ready {
    fn checks(&self) -> Vec<Check> {
        let gateway = self.0.front.gateway();
        let away: Vec<String> = gateway
            .issuers()
            .status()
            .into_iter()
            .filter(|status| status.health == Health::Away)
            .map(|status| format!("{}: no keys or metadata yet", status.issuer))
            .collect();
        let own = gateway.access_amiss().map(|amiss| Check { name: "backend_credentials", amiss });
        let always = [
            Check { name: "issuers", amiss: (!away.is_empty()).then(|| away.join("; ")) },
            Check { name: "audit", amiss: self.0.lasting.ledger.status().last_error },
        ];
        always.into_iter().chain(own).collect()
    }

    fn measure(&self) {
        let (gateway, lasting) = (self.0.front.gateway(), &self.0.lasting);
        for status in gateway.issuers().status() {
            let figures = status.figures;
            let figures = IssuerFigures {
                keys_age: figures.keys_age,
                key_fetches: figures.key_fetches,
                introspections: figures.introspections,
                introspections_failed: figures.introspections_failed,
                introspections_avoided: figures.introspections_avoided,
                introspection_durations: status.durations,
            };
            lasting.metrics.issuer(&status.issuer, &figures);
        }
        lasting.metrics.lines_dropped(telemetry::lines_dropped());
        lasting.metrics.tokens(&gateway.issuers().tokens());
        let ledger = lasting.ledger.status();
        lasting.metrics.ledger(&LedgerFigures {
            waiting: ledger.queued,
            newest: ledger.head,
            oldest: ledger.oldest,
            files: ledger.segments,
            bytes: ledger.bytes,
            free: ledger.free,
            commits: ledger.commits,
        });
        if let Some(status) = lasting.shared.status() {
            lasting.metrics.shared_state(status.amiss.is_none(), status.asked, status.failed);
        }
        let figures = self.0.sinks.status().into_iter().map(|sink| SinkFigures {
            name: sink.name,
            lag: sink.lag,
            oldest: sink.oldest.unwrap_or_default(),
            delivered: sink.delivered,
            rejected: sink.rejected,
            failures: sink.failures,
        });
        self.0.lasting.metrics.audit_sinks(&figures.collect::<Vec<_>>());
    }

    fn weaknesses(&self) -> Vec<Check> {
        let gateway = self.0.front.gateway();
        let stale: Vec<String> = gateway
            .issuers()
            .status()
            .into_iter()
            .filter(|status| status.health == Health::Stale)
            .map(|status| format!("{}: its keys should have been renewed by now", status.issuer))
            .collect();
        let tls =
            self.0.certificates.as_ref().map(|store| Check { name: "certificates", amiss: ending(store) });
        let shared = self.0.lasting.shared.status();
        let always = [
            Check { name: "backend", amiss: gateway.backend_amiss() },
            Check { name: "issuer_keys", amiss: (!stale.is_empty()).then(|| stale.join("; ")) },
        ];
        let shared = shared.map(|status| Check { name: "shared_state", amiss: status.amiss });
        always.into_iter().chain(tls).chain(shared).chain(self.sinks()).collect()
    }
}

impl Ready {
    /// Sinks that are away: their events wait, and nothing is refused for it.
    fn sinks(&self) -> Option<Check> {
        let sinks = self.0.sinks.status();
        let amiss = |sink: &Status| Some(format!("{}: {}", sink.name, sink.last_error.as_ref()?));
        let away: Vec<String> = sinks.iter().filter_map(amiss).collect();
        let amiss = (!away.is_empty()).then(|| away.join("; "));
        (!sinks.is_empty()).then_some(Check { name: "audit_sinks", amiss })
    }
}

/// What of the listener's certificates, revocation lists and OCSP response has ended or ends soon (TLS-9).
fn ending(store: &CertificateStore) -> Option<String> {
    let now = files::now();
    let told = |ends: listener::Ends| {
        let (key, until) = (ends.key, ends.validity.until);
        match ends.validity.standing(now) {
            Standing::Ended => Some(format!("`{key}` ended at {until}")),
            Standing::Near => Some(format!("`{key}` ends at {until}")),
            Standing::Coming | Standing::Sound => None,
        }
    };
    let told: Vec<String> = store.ends().into_iter().filter_map(told).collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// Reloads on SIGHUP and when the file or a certificate changes.
async fn watch(
    config: PathBuf,
    running: Arc<Running>,
    mut hangup: tokio::signal::unix::Signal,
    mut seen: Fingerprint,
) {
    let (changed, mut changes) = mpsc::channel::<()>(1);
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            // A full channel already holds the news.
            let _full = changed.try_send(());
        }
    });
    let mut watcher = match watcher {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(%error, "files are not watched; send SIGHUP after a change");
            None
        }
    };
    let mut watched = BTreeSet::new();
    let mut key = running.key.clone();
    loop {
        let gateway = running.front.gateway();
        watch_folders(&mut watcher, &mut watched, folders(&config, gateway.settings()));
        // Before the files are read: what changes while they are read is news. A reload may name other files, and then
        // there is news once more.
        let now = fingerprint(&config, gateway.settings());
        if now != seen {
            seen = now;
            running.reload(&config);
            continue;
        }
        drop(gateway);
        tokio::select! {
            _ = hangup.recv() => {
                seen = fingerprint(&config, running.front.gateway().settings());
                running.reload(&config);
            }
            Ok(()) = key.changed() => running.rekey(),
            Some(()) = changes.recv() => {
                // Other files in the folder change too; only ours matter.
                tokio::time::sleep(SETTLE).await;
                while changes.try_recv().is_ok() {}
            }
        }
    }
}

/// Watches the folders that are not watched yet: a reload may name files elsewhere. Those named no more stay watched, which
/// costs a look at files that have not changed.
fn watch_folders(
    watcher: &mut Option<notify::RecommendedWatcher>,
    watched: &mut BTreeSet<PathBuf>,
    folders: BTreeSet<PathBuf>,
) {
    let Some(watcher) = watcher else { return };
    for folder in folders {
        if watched.contains(&folder) {
            continue;
        }
        match watcher.watch(&folder, RecursiveMode::NonRecursive) {
            Ok(()) => drop(watched.insert(folder)),
            Err(error) => {
                tracing::warn!(%error, folder = %folder.display(), "not watched; send SIGHUP after a change");
            }
        }
    }
}

/// The files whose change matters: every one that the configuration's checks read.
fn watched_files(config: &Path, settings: &Settings) -> Vec<PathBuf> {
    let mut files = vec![config.to_owned()];
    files.extend(settings.files.iter().cloned());
    files
}

fn folders(config: &Path, settings: &Settings) -> BTreeSet<PathBuf> {
    let folder = |file: PathBuf| match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    watched_files(config, settings).into_iter().map(folder).collect()
}

type Fingerprint = Vec<(PathBuf, Option<(u64, std::time::SystemTime)>)>;

/// Size and time of the files that matter: cheap, and enough to tell a change from a neighbour's.
fn fingerprint(config: &Path, settings: &Settings) -> Fingerprint {
    watched_files(config, settings)
        .into_iter()
        .map(|file| {
            let found = std::fs::metadata(&file).ok();
            let stamp = found.and_then(|found| Some((found.len(), found.modified().ok()?)));
            (file, stamp)
        })
        .collect()
}
