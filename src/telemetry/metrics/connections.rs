//! Client connections and their handshakes.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Shaken {
    version: &'static str,
    outcome: &'static str,
}

/// How a TLS handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// The two did not agree, or the client broke it off.
    Failed,
    /// The session was resumed with a certificate that is accepted no more.
    Refused,
    /// It took longer than it may.
    Slow,
    /// A connection came of it; the protocol's number, as in `1.3`.
    Done(&'static str),
}

/// The bytes of connections, TLS and its overhead aside.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    received: Counter,
    sent: Counter,
}

impl Meter {
    /// So many bytes came from a client.
    pub fn received(&self, bytes: usize) {
        self.received.inc_by(bytes as u64);
    }

    /// So many bytes went to a client.
    pub fn sent(&self, bytes: usize) {
        self.sent.inc_by(bytes as u64);
    }
}

/// Connections.
#[derive(Debug, Default)]
pub(super) struct Connections {
    pub(super) open: Gauge,
    pub(super) accepted: Counter,
    pub(super) limit: Gauge,
    pub(super) not_accepted: Counter,
    pub(super) meter: Meter,
    pub(super) certificate_expiry: Gauge<f64, AtomicU64>,
    handshakes: Family<Shaken, Counter>,
}

impl Connections {
    pub(super) fn register(&self, to: &mut Registry) {
        to.register("connections", "Client connections open now", self.open.clone());
        to.register("connections_accepted", "Client connections accepted", self.accepted.clone());
        to.register("connections_limit", "Client connections that may be open", self.limit.clone());
        let text = "Times that the system could not accept a connection";
        to.register("connections_accept_errors", text, self.not_accepted.clone());
        let text = "Bytes of HTTP from clients";
        to.register_with_unit("received", text, Unit::Bytes, self.meter.received.clone());
        let text = "Bytes of HTTP to clients";
        to.register_with_unit("sent", text, Unit::Bytes, self.meter.sent.clone());
        to.register("tls_handshakes", "TLS handshakes with clients", self.handshakes.clone());
        to.register_with_unit(
            "certificate_expiry_timestamp",
            "When the served certificate ends, since the epoch",
            Unit::Seconds,
            self.certificate_expiry.clone(),
        );
    }

    pub(super) fn shaken(&self, handshake: Handshake) {
        let (version, outcome) = match handshake {
            Handshake::Failed => ("", "failed"),
            Handshake::Refused => ("", "refused"),
            Handshake::Slow => ("", "slow"),
            Handshake::Done(version) => (version, "done"),
        };
        self.handshakes.get_or_create(&Shaken { version, outcome }).inc();
    }
}
