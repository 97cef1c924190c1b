//! A connection to the server that replicas share by: TCP, TLS where the URL says so, and who we are there.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::SharedError;
use crate::config::SharedState;

/// Where Redis listens when the URL does not say.
const PORT: u16 = 6379;

/// Makes connections.
pub(super) struct Dialler {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    anchors: Vec<CertificateDer<'static>>,
    who: RedisConnectionInfo,
}

impl std::fmt::Debug for Dialler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Dialler {
    /// Reads the trust anchor; connects to nothing.
    pub(super) fn new(settings: &SharedState) -> Result<Self, SharedError> {
        let host = settings.url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let mut who = RedisConnectionInfo::default()
            .set_db(i64::from(settings.database))
            .set_protocol(ProtocolVersion::RESP2)
            .set_skip_set_lib_name();
        if let Some(username) = &settings.username {
            who = who.set_username(username);
        }
        if let Some(password) = &settings.password {
            who = who.set_password(password.reveal());
        }
        let anchors = anchors(settings)?;
        let tls = if settings.url.scheme() == "rediss" { Some(tls(&anchors, &host)?) } else { None };
        Ok(Self { host, port: settings.url.port().unwrap_or(PORT), tls, anchors, who })
    }

    /// The trust anchors that were read.
    pub(super) fn anchors(&self) -> &[CertificateDer<'static>] {
        &self.anchors
    }

    /// Connects, says who we are, and hears an answer. Deadlines, for this and for what is asked later, are the caller's.
    pub(super) async fn dial(&self) -> Result<MultiplexedConnection, String> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(text)?;
        stream.set_nodelay(true).map_err(text)?;
        match &self.tls {
            None => self.greet(stream).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await.map_err(text)?;
                self.greet(stream).await
            }
        }
    }

    async fn greet<S>(&self, stream: S) -> Result<MultiplexedConnection, String>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let made = MultiplexedConnection::new_with_config(&self.who, stream, config).await;
        let (mut connection, driver) = made.map_err(text)?;
        // Ends with the last clone of the connection.
        tokio::spawn(driver);
        // A server that hangs takes connections all the same; one that answers is one.
        redis::cmd("PING").query_async::<String>(&mut connection).await.map_err(text)?;
        Ok(connection)
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn anchors(settings: &SharedState) -> Result<Vec<CertificateDer<'static>>, SharedError> {
    let Some(path) = &settings.ca else { return Ok(Vec::new()) };
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|cause| SharedError::Unusable(format!("{}: {cause}", path.display())))
}

fn tls(
    anchors: &[CertificateDer<'static>],
    host: &str,
) -> Result<(TlsConnector, ServerName<'static>), SharedError> {
    let unusable = |cause: &dyn std::fmt::Display| SharedError::Unusable(cause.to_string());
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    for anchor in anchors {
        roots.add(anchor.clone()).map_err(|cause| unusable(&cause))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|cause| unusable(&cause))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|cause| unusable(&cause))?;
    Ok((TlsConnector::from(Arc::new(config)), name))
}
