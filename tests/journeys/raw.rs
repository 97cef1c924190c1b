//! Bytes as a hostile client sends them: no library in between that would mend or refuse them.

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

use crate::house::HOST;

/// Longest wait for the server to close.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection over TLS with HTTP/1.1.
pub struct Wire(TlsStream<TcpStream>);

impl Wire {
    /// Connects; trusts this certificate only.
    pub async fn open(at: SocketAddr, certificate: &str) -> Self {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate");
        roots.add(certificate).expect("a trust anchor");
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let stream = TcpStream::connect(at).await.expect("a connection");
        let name = ServerName::try_from(HOST).expect("a name");
        Self(TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("TLS"))
    }

    /// Sends these bytes; the server may have closed already.
    pub async fn say(&mut self, bytes: &[u8]) {
        drop(self.0.write_all(bytes).await);
        drop(self.0.flush().await);
    }

    /// Reads until the server closes.
    pub async fn rest(mut self) -> String {
        let mut all = Vec::new();
        let mut piece = [0; 4096];
        // A close without notice ends it as well.
        while let Ok(Ok(count @ 1..)) = tokio::time::timeout(PATIENCE, self.0.read(&mut piece)).await {
            all.extend_from_slice(&piece[..count]);
        }
        String::from_utf8_lossy(&all).into_owned()
    }
}

/// The status of each answer in what was read.
pub fn statuses(text: &str) -> Vec<u16> {
    let heads = text.split("HTTP/1.").skip(1);
    heads.filter_map(|head| head.get(2..5).and_then(|status| status.parse().ok())).collect()
}
