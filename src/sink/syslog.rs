//! Syslog over TLS: RFC 5424 messages in RFC 5425 frames, as ATNA sends them (ITI-20).
//!
//! A receiver acknowledges nothing. An event counts as delivered when the connection has stood for a while after it without
//! an error, and its machine has confirmed every byte, or when the receiver has answered our end of the connection with
//! its own. When the connection breaks before, everything since is sent again: at least once. A message that comes twice
//! is the same but for its process id, with the same event id and the same `sequenceId`.

mod message;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::SyslogSink;
use crate::ledger::Kept;
use crate::sink::outlet::Sent;
use crate::sink::{SinkError, tls};

/// How long a connection must stand after an event.
const STANDS: Duration = Duration::from_secs(5);

/// A machine that does not confirm what was sent to it for this long is gone: sooner than an event counts as delivered.
const UNCONFIRMED: Duration = Duration::from_secs(4);

/// Longest wait for the receiver's end of the connection.
const FAREWELL: Duration = Duration::from_secs(3);

/// A receiver.
pub(super) struct Receiver {
    settings: SyslogSink,
    tls: Arc<ClientConfig>,
    name: ServerName<'static>,
    open: Option<Open>,
}

/// A connection.
struct Open {
    stream: TlsStream<TcpStream>,
    /// What is on its way: the last event of each batch, and since when.
    waiting: VecDeque<(u64, Instant)>,
}

impl Receiver {
    /// The most events in one piece.
    pub(super) const BATCH: usize = 100;

    /// Connects to nothing yet.
    pub(super) fn new(settings: &SyslogSink) -> Result<Self, SinkError> {
        let config = tls::client(settings.ca.as_deref(), settings.client_certificate.as_ref())?;
        let name = ServerName::try_from(settings.host.clone()).map_err(|cause| SinkError::Unreachable {
            address: settings.host.clone(),
            cause: cause.to_string(),
        })?;
        Ok(Self { settings: settings.clone(), tls: Arc::new(config), name, open: None })
    }

    /// Writes events, over a new connection when there is none.
    pub(super) async fn send(&mut self, events: &[Kept]) -> Sent {
        let Some(last) = events.last() else { return Sent::default() };
        match self.written(events).await {
            Ok(mut open) => {
                open.waiting.push_back((last.sequence, Instant::now()));
                self.open = Some(open);
                Sent { out: Some(last.sequence), ..Sent::default() }
            }
            Err(trouble) => Sent::none(trouble),
        }
    }

    /// The connection, once it has taken the events. It is gone when it has not, or nobody waits for it.
    async fn written(&mut self, events: &[Kept]) -> Result<Open, SinkError> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.connected().await?,
        };
        let frames: Vec<u8> =
            events.iter().flat_map(|event| message::frame(event, self.settings.format)).collect();
        let write = async {
            open.stream.write_all(&frames).await?;
            open.stream.flush().await
        };
        match tokio::time::timeout(self.settings.timeout, write).await {
            Ok(Ok(())) => Ok(open),
            Ok(Err(cause)) => Err(SinkError::unreachable(&self.address(), &cause)),
            Err(_) => Err(SinkError::TimedOut { address: self.address() }),
        }
    }

    async fn connected(&self) -> Result<Open, SinkError> {
        let broken = |cause: std::io::Error| SinkError::unreachable(&self.address(), &cause);
        let connect = async {
            let tcp = TcpStream::connect((self.settings.host.as_str(), self.settings.port))
                .await
                .map_err(broken)?;
            confirmed(&tcp).map_err(broken)?;
            let connector = TlsConnector::from(Arc::clone(&self.tls));
            connector.connect(self.name.clone(), tcp).await.map_err(broken)
        };
        let connected = tokio::time::timeout(self.settings.timeout, connect).await;
        let stream = connected.map_err(|_| SinkError::TimedOut { address: self.address() })??;
        Ok(Open { stream, waiting: VecDeque::new() })
    }

    /// Waits until the connection has stood long enough after the oldest events that are on their way. A receiver may end
    /// an idle connection; then there is none, and nothing is amiss.
    pub(super) async fn settled(&mut self) -> Result<u64, SinkError> {
        loop {
            let Some(open) = &mut self.open else { return std::future::pending().await };
            let oldest = open.waiting.front().copied();
            let stood = async {
                match oldest {
                    Some((_, since)) => {
                        tokio::time::sleep_until(since.checked_add(STANDS).unwrap_or(since)).await;
                    }
                    None => std::future::pending().await,
                }
            };
            let mut heard = [0; 512];
            tokio::select! {
                biased;
                // Whatever a receiver says means nothing (RFC 5425 §4.3).
                read = open.stream.read(&mut heard) => match read {
                    Ok(length) if length > 0 => {}
                    Ok(_) | Err(_) if oldest.is_none() => self.open = None,
                    Ok(_) => return Err(self.ended()),
                    Err(cause) => {
                        self.open = None;
                        return Err(SinkError::unreachable(&self.address(), &cause));
                    }
                },
                () = stood => {
                    open.waiting.pop_front();
                    if let Some((last, _)) = oldest {
                        return Ok(last);
                    }
                }
            }
        }
    }

    fn ended(&mut self) -> SinkError {
        self.open = None;
        SinkError::Closed { address: self.address() }
    }

    /// Forgets the connection and what is on its way.
    pub(super) fn reset(&mut self) {
        self.open = None;
    }

    /// Ends the connection. A receiver that ends it in turn has read all that came before (RFC 5425 §4.4): the last event.
    pub(super) async fn close(&mut self) -> Option<u64> {
        let mut open = self.open.take()?;
        let last = open.waiting.back().map(|(last, _)| *last);
        let farewell = async {
            open.stream.shutdown().await.ok()?;
            let mut heard = [0; 512];
            loop {
                // Without its end of TLS, a connection that just breaks is an error here.
                match open.stream.read(&mut heard).await {
                    Ok(0) => return last,
                    Ok(_) => {}
                    Err(_) => return None,
                }
            }
        };
        tokio::time::timeout(FAREWELL, farewell).await.ok().flatten()
    }

    /// A handshake, and the end of it.
    pub(super) async fn try_out(&mut self) -> Result<(), SinkError> {
        let mut open = self.connected().await?;
        // A certificate of ours that is refused under TLS 1.3 shows only now.
        let mut heard = [0; 512];
        match tokio::time::timeout(Duration::from_secs(1), open.stream.read(&mut heard)).await {
            Ok(Ok(0)) => return Err(self.ended()),
            Ok(Err(cause)) => return Err(SinkError::unreachable(&self.address(), &cause)),
            Ok(Ok(_)) | Err(_) => {}
        }
        // Whatever comes of it, nothing was sent.
        drop(tokio::time::timeout(FAREWELL, open.stream.shutdown()).await);
        Ok(())
    }

    fn address(&self) -> String {
        let host = &self.settings.host;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        format!("tls://{host}:{}", self.settings.port)
    }
}

/// The connection breaks when the other machine does not confirm what was sent to it (RFC 5482).
fn confirmed(tcp: &TcpStream) -> std::io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = socket2::SockRef::from(tcp);
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNCONFIRMED))?;
    // A machine that went away while nothing was sent is noticed as well.
    socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(Duration::from_secs(60)))
}
