//! A connection over TLS on which a test says what it likes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::house::{HOST, House};

/// Longest wait for anything that must come.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The gateway closed.
    Closed,
    /// It said nothing for as long as was asked.
    Quiet,
}

/// A TLS connection.
pub struct Wire(pub TlsStream<TcpStream>);

impl Wire {
    /// Connects with this protocol, or without ALPN.
    pub async fn open(house: &House, alpn: &str) -> Self {
        Self::to(house.address, house.gateway.certificate(), alpn).await.expect("TLS")
    }

    /// The same by address.
    pub async fn to(at: SocketAddr, certificate: &str, alpn: &str) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate");
        roots.add(certificate).expect("a trust anchor");
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        if !alpn.is_empty() {
            config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        }
        let stream = TcpStream::connect(at).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(HOST).expect("a name");
        Ok(Self(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
    }

    /// Sends these bytes; false when the gateway has closed, or takes none of them for long.
    pub async fn say(&mut self, bytes: &[u8]) -> bool {
        let told = async {
            self.0.write_all(bytes).await?;
            self.0.flush().await
        };
        matches!(tokio::time::timeout(Duration::from_secs(5), told).await, Ok(Ok(())))
    }

    /// What comes next; nothing at the end.
    pub async fn piece(&mut self) -> Vec<u8> {
        let mut piece = vec![0; 16 * 1024];
        let count = self.0.read(&mut piece).await.unwrap_or_default();
        piece.truncate(count);
        piece
    }

    /// Reads until the gateway closes, or is silent for so long.
    pub async fn rest(&mut self, quiet: Duration) -> (Vec<u8>, End) {
        let mut all = Vec::new();
        loop {
            match tokio::time::timeout(quiet, self.piece()).await {
                Err(_silent) => return (all, End::Quiet),
                Ok(piece) if piece.is_empty() => return (all, End::Closed),
                Ok(piece) => all.extend_from_slice(&piece),
            }
        }
    }

    /// Whether the gateway closes within this time; what it says until then is dropped.
    pub async fn closes_within(&mut self, limit: Duration) -> bool {
        let closed = async { while !self.piece().await.is_empty() {} };
        tokio::time::timeout(limit, closed).await.is_ok()
    }
}

/// The status of each HTTP/1.1 answer in what was read.
pub fn statuses(text: &str) -> Vec<u16> {
    let heads = text.split("HTTP/1.").skip(1);
    heads.filter_map(|head| head.get(2..5).and_then(|status| status.parse().ok())).collect()
}
