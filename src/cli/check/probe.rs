//! Asks one question over HTTP and keeps what was answered; collects what fits and what does not.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use http::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Identity, RequestBuilder};
use serde_json::Value;

use crate::config::CertificateFiles;

/// No document that is asked for here is larger.
const LARGEST: usize = 32 << 20;

/// What one question brought to light.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As it should be.
    Fits,
    /// Worth knowing; nothing has to change.
    Note,
    /// Does not fit, with the mend in the text.
    Misfit,
}

/// All verdicts so far.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<(Verdict, String)>);

impl Report {
    pub(super) fn fits(&mut self, text: impl fmt::Display) {
        self.0.push((Verdict::Fits, text.to_string()));
    }

    pub(super) fn note(&mut self, text: impl fmt::Display) {
        self.0.push((Verdict::Note, text.to_string()));
    }

    pub(super) fn misfit(&mut self, text: impl fmt::Display) {
        self.0.push((Verdict::Misfit, text.to_string()));
    }

    pub(super) fn misfits(&self) -> usize {
        self.0.iter().filter(|(verdict, _)| *verdict == Verdict::Misfit).count()
    }

    pub(super) fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        for (verdict, text) in &self.0 {
            let mark = match verdict {
                Verdict::Fits => "fits",
                Verdict::Note => "note",
                Verdict::Misfit => "MEND",
            };
            writeln!(out, "  {mark}  {text}")?;
        }
        Ok(())
    }
}

/// An answer, read whole.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) version: http::Version,
    body: Vec<u8>,
}

impl Answer {
    /// The body as JSON, null when it is none.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// A client that follows no redirect: an endpoint that moved is a finding, and credentials stay where they were meant
/// for. `own` is what it presents in the handshake.
pub(super) fn client(
    ca: Option<&Path>,
    own: Option<&CertificateFiles>,
    timeout: Duration,
) -> Result<Client, String> {
    let read = |path: &Path| {
        pem(path).map_err(|error| format!("{} cannot be read ({})", path.display(), error.kind()))
    };
    let mut builder =
        Client::builder().redirect(Policy::none()).no_proxy().timeout(timeout).user_agent("pforte-check");
    if let Some(ca) = ca {
        let anchors = Certificate::from_pem_bundle(&read(ca)?).map_err(|error| cause(&error))?;
        builder = builder.tls_certs_merge(anchors);
    }
    if let Some(own) = own {
        let both = [read(&own.certificate)?, b"\n".to_vec(), read(&own.key)?].concat();
        builder = builder.identity(Identity::from_pem(&both).map_err(|error| cause(&error))?);
    }
    builder.build().map_err(|error| cause(&error))
}

#[expect(clippy::disallowed_methods, reason = "the trust anchor of a check is read when the check runs")]
fn pem(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
}

/// Sends a request and reads its answer up to a bound.
pub(super) async fn ask(request: RequestBuilder) -> Result<Answer, String> {
    let mut response = request.send().await.map_err(|error| cause(&error))?;
    let (status, version) = (response.status().as_u16(), response.version());
    let headers = response.headers().clone();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| cause(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > LARGEST {
            return Err(format!("answered with more than {} MiB", LARGEST >> 20));
        }
    }
    Ok(Answer { status, headers, version, body })
}

/// The innermost cause: "connection refused" says more than "error sending request". URLs are left out, they may carry
/// what was asked.
fn cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    if error.is_timeout() { "no answer in time".to_owned() } else { innermost.to_string() }
}
