//! A syslog receiver over TLS that knows its senders by their certificates (RFC 5425, ATNA).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::house::free;
use crate::repository::Identity;

/// A receiver; it listens once it is told to.
pub struct Receiver {
    address: SocketAddr,
    identity: Identity,
    senders: String,
    inner: Arc<Inner>,
    task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Inner {
    messages: Mutex<Vec<String>>,
    faults: Mutex<Vec<String>>,
    /// The connection is cut without a word after so many bytes; once.
    cut: Mutex<Option<usize>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Receiver {
    /// Has an address, and does not listen yet. `senders` is the certificate of whom it lets in.
    pub fn new(senders: &str) -> Self {
        let identity = Identity::of("localhost");
        let (inner, task) = (Arc::default(), Mutex::default());
        Self { address: free(), identity, senders: senders.to_owned(), inner, task }
    }

    pub fn url(&self) -> String {
        format!("tls://localhost:{}", self.address.port())
    }

    /// What to trust.
    pub fn certificate(&self) -> &str {
        &self.identity.certificate
    }

    /// Listens.
    pub async fn up(&self) {
        self.down().await;
        let mut roots = RootCertStore::empty();
        let sender =
            <rustls::pki_types::CertificateDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_slice(
                self.senders.as_bytes(),
            );
        roots.add(sender.expect("PEM")).expect("an anchor");
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().expect("a verifier");
        let config = rustls::ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.identity.chain(), self.identity.private())
            .expect("a certificate with its key");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(self.address).await.expect("the address is free");
        let inner = Arc::clone(&self.inner);
        *locked(&self.task) = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(receive(Arc::clone(&inner), acceptor.clone(), stream));
            }
        }));
    }

    /// Listens no more; every connection breaks.
    pub async fn down(&self) {
        let task = locked(&self.task).take();
        if let Some(task) = task {
            task.abort();
            drop(task.await);
        }
    }

    /// Cuts the connection after so many bytes more.
    pub fn cut_after(&self, bytes: usize) {
        *locked(&self.inner.cut) = Some(bytes);
    }

    /// What was received, without the lengths.
    pub fn messages(&self) -> Vec<String> {
        locked(&self.inner.messages).clone()
    }

    /// What was no message.
    pub fn faults(&self) -> Vec<String> {
        locked(&self.inner.faults).clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(task) = locked(&self.task).take() {
            task.abort();
        }
    }
}

async fn receive(inner: Arc<Inner>, acceptor: TlsAcceptor, stream: TcpStream) {
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    let mut bytes = Vec::new();
    let mut piece = vec![0; 4096];
    loop {
        match stream.read(&mut piece).await {
            Ok(length) if length > 0 => bytes.extend_from_slice(&piece[..length]),
            // The sender has ended, and is told that it was heard.
            Ok(_) => {
                drop(tokio::io::AsyncWriteExt::shutdown(&mut stream).await);
                return;
            }
            Err(_) => return,
        }
        let mut cut = locked(&inner.cut);
        if cut.is_some_and(|after| bytes.len() > after) {
            *cut = None;
            return;
        }
        drop(cut);
        while let Some(message) = framed(&mut bytes) {
            match message {
                Ok(message) => locked(&inner.messages).push(message),
                Err(fault) => return locked(&inner.faults).push(fault),
            }
        }
    }
}

/// `LENGTH SP MESSAGE` off the front, once it is all there (RFC 5425 §4.3).
fn framed(bytes: &mut Vec<u8>) -> Option<Result<String, String>> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let length = std::str::from_utf8(&bytes[..space]).ok().and_then(|digits| digits.parse::<usize>().ok());
    let Some(length) = length.filter(|_| bytes[0] != b'0') else {
        return Some(Err(format!("no length: {}", String::from_utf8_lossy(&bytes[..bytes.len().min(80)]))));
    };
    if bytes.len() < space + 1 + length {
        return None;
    }
    let message = bytes[space + 1..space + 1 + length].to_vec();
    bytes.drain(..space + 1 + length);
    Some(String::from_utf8(message).map_err(|_| "no UTF-8".to_owned()))
}
