//! Where audit events are sent as well: repositories, syslog receivers, files.

use std::path::{Path, PathBuf};

use rustls::pki_types::ServerName;
use url::Url;

use super::Check;
use super::backend::PlainUrl;
use super::limits::SINK_TIMEOUT;
use super::web::PlainHttp;
use crate::config::file::{self, Credentials, FhirRelease, Sink};
use crate::config::settings::{
    AuditSink, AuditSinkKind, BackendCredentials, CertificateFiles, FhirSink, FileSink, SinkWrite,
    SyslogFormat, SyslogSink,
};
use crate::fhir::FhirVersion;

/// The port of syslog over TLS (RFC 5425 §4.1).
const SYSLOG_TLS: u16 = 6514;

/// Events in one transaction.
const BATCH: usize = 100;
const LARGEST_BATCH: usize = 1000;

/// Longest name: it is in every sample of a metric.
const LONGEST: usize = 64;

/// Files as written: `client_certificate` and `client_key`.
type Own<'w> = (Option<&'w Path>, Option<&'w Path>);

impl Check<'_> {
    /// The sinks; `version` is the backend's, whose form events have unless the file says otherwise.
    pub(super) fn sinks(&mut self, written: Option<Vec<Sink>>, version: FhirVersion) -> Vec<AuditSink> {
        let written = written.unwrap_or_default();
        let names = self.sink_names(&written);
        let mut sinks = Vec::with_capacity(written.len());
        for ((number, sink), name) in (1..).zip(&written).zip(names) {
            let key = format!("audit.sink[{number}]");
            let kind = match sink {
                Sink::Fhir { .. } => self.repository(&key, sink, version),
                Sink::File { .. } => self.lines(&key, sink, version),
                Sink::Syslog { .. } => self.receiver(&key, sink),
            };
            sinks.extend(kind.map(|kind| AuditSink { name, kind }));
        }
        self.distinct_files(&written);
        sinks
    }

    /// A name for each, like no other's: what a sink has taken is remembered by it.
    fn sink_names(&mut self, written: &[Sink]) -> Vec<String> {
        let mut taken: Vec<String> = Vec::new();
        for (number, name) in (1..).zip(written.iter().map(named)) {
            let Some(name) = name else { continue };
            let key = format!("audit.sink[{number}].name");
            let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if name.is_empty() || name.len() > LONGEST || !name.bytes().all(letter) {
                let expected = format!("1 to {LONGEST} lower-case letters, digits or `-`");
                self.wrong(&key, expected, "write `repository` or the like");
            } else if taken.iter().any(|taken| taken == name) {
                self.wrong(&key, "a name that no other sink has", "choose another");
            }
            taken.push(name.to_owned());
        }
        let mut names = Vec::with_capacity(written.len());
        for sink in written {
            let name = named(sink).map_or_else(|| free_name(sink, &taken), str::to_owned);
            taken.push(name.clone());
            names.push(name);
        }
        names
    }

    /// A FHIR repository.
    fn repository(&mut self, key: &str, sink: &Sink, version: FhirVersion) -> Option<AuditSinkKind> {
        let Sink::Fhir {
            name: _,
            url,
            fhir_version,
            write,
            credentials,
            ca,
            client_certificate,
            client_key,
            timeout,
            batch,
        } = sink
        else {
            return None;
        };
        let at = |name: &str| format!("{key}.{name}");
        // Events name patients, and credentials go with them.
        let url = url.as_deref().and_then(|text| self.base(&at("url"), text, PlainHttp::Loopback));
        let plain = url.as_ref().filter(|url| url.scheme() == "http").map(|_| PlainUrl);
        let (ca, own) = (ca.as_deref(), (client_certificate.as_deref(), client_key.as_deref()));
        let (ca, client_certificate) = self.sink_tls(key, (ca, own), plain);
        let credentials = self.sink_credentials(&at("credentials"), credentials.as_deref());
        let batch = batch.unwrap_or(BATCH);
        if batch == 0 || batch > LARGEST_BATCH {
            let expected = format!("between `1` and `{LARGEST_BATCH}`");
            self.wrong(&at("batch"), expected, format!("write `{BATCH}` or the like"));
        }
        let timeout = self.period(&at("timeout"), *timeout, SINK_TIMEOUT);
        let write = match write {
            Some(file::SinkWrite::Create) => SinkWrite::Create,
            Some(file::SinkWrite::Update) | None => SinkWrite::Update,
        };
        Some(AuditSinkKind::Fhir(Box::new(FhirSink {
            url: url?,
            fhir_version: chosen(*fhir_version, version),
            write,
            credentials: credentials?,
            ca,
            client_certificate,
            timeout,
            batch,
        })))
    }

    /// Syslog over TLS.
    fn receiver(&mut self, key: &str, sink: &Sink) -> Option<AuditSinkKind> {
        let Sink::Syslog { name: _, url, format, ca, client_certificate, client_key, timeout } = sink else {
            return None;
        };
        let at = |name: &str| format!("{key}.{name}");
        let place = url.as_deref().and_then(|text| self.syslog_url(&at("url"), text));
        let own = (client_certificate.as_deref(), client_key.as_deref());
        let (ca, client_certificate) = self.sink_tls(key, (ca.as_deref(), own), None);
        let timeout = self.period(&at("timeout"), *timeout, SINK_TIMEOUT);
        let format = match format {
            Some(file::SyslogFormat::Dicom) | None => SyslogFormat::Dicom,
            Some(file::SyslogFormat::Fhir) => SyslogFormat::Fhir,
        };
        let (host, port) = place?;
        Some(AuditSinkKind::Syslog(Box::new(SyslogSink {
            host,
            port,
            ca,
            client_certificate,
            format,
            timeout,
        })))
    }

    /// A file of lines.
    fn lines(&mut self, key: &str, sink: &Sink, version: FhirVersion) -> Option<AuditSinkKind> {
        let Sink::File { name: _, path, fhir_version } = sink else { return None };
        let (key, written) = (format!("{key}.path"), path.as_deref()?);
        let path = self.path(written);
        if written.as_os_str().is_empty() || path.file_name().is_none() {
            self.wrong(&key, "a file", "write `path = \"audit.ndjson\"` or the like");
        } else if path.is_dir() {
            self.wrong(&key, "a file, not a folder", "name a file in it");
        }
        Some(AuditSinkKind::File(FileSink { path, fhir_version: chosen(*fhir_version, version) }))
    }

    /// Two that write to one file would each take the other's lines for its own.
    fn distinct_files(&mut self, written: &[Sink]) {
        let mut taken: Vec<PathBuf> = Vec::new();
        for (number, sink) in (1..).zip(written) {
            let Sink::File { path: Some(path), .. } = sink else { continue };
            let path = self.path(path);
            if taken.contains(&path) {
                let key = format!("audit.sink[{number}].path");
                self.wrong(&key, "a file that no other sink writes", "remove one of the two");
            }
            taken.push(path);
        }
    }

    /// Trust anchor, and what the gateway presents.
    fn sink_tls(
        &mut self,
        key: &str,
        (ca, own): (Option<&Path>, Own<'_>),
        plain: Option<PlainUrl>,
    ) -> (Option<PathBuf>, Option<CertificateFiles>) {
        let at = format!("{key}.ca");
        if ca.is_some() && plain.is_some() {
            let expected = format!("an https `{key}.url` beside it");
            self.wrong(&at, expected, "use https, or remove `ca`");
        }
        let ca = ca.and_then(|ca| self.anchors(&at, ca));
        (ca, self.client_certificate(key, own, plain))
    }

    /// Events are sent on nobody's behalf, so there is no client's token to send with them.
    fn sink_credentials(&mut self, table: &str, written: Option<&Credentials>) -> Option<BackendCredentials> {
        let Some(written) = written else { return Some(BackendCredentials::None) };
        if matches!(written, Credentials::Forward {} | Credentials::TokenExchange { .. }) {
            let expected =
                "`none`, `basic`, `bearer` or `client_credentials`: events are sent on no client's behalf";
            self.wrong(&format!("{table}.kind"), expected, "use `client_credentials`");
            return None;
        }
        self.credentials(table, written)
    }

    /// `tls://host:port`, or `syslog+tls://host:port`.
    fn syslog_url(&mut self, key: &str, text: &str) -> Option<(String, u16)> {
        let expected =
            "a URL such as `tls://arr.example:6514`: TLS, a host, perhaps a port, and nothing else";
        let place = Url::parse(text).ok().and_then(|url| {
            let bare = matches!(url.path(), "" | "/")
                && url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none();
            let tls = matches!(url.scheme(), "tls" | "syslog+tls");
            let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
            ServerName::try_from(host.as_str()).ok()?;
            let port = url.port().unwrap_or(SYSLOG_TLS);
            (bare && tls && port != 0).then_some((host, port))
        });
        if place.is_none() {
            self.wrong(key, expected, "write `tls://…`; syslog without TLS is not offered");
        }
        place
    }
}

fn named(sink: &Sink) -> Option<&str> {
    match sink {
        Sink::Fhir { name, .. } | Sink::File { name, .. } | Sink::Syslog { name, .. } => name.as_deref(),
    }
}

/// The kind, with a number when it is taken.
fn free_name(sink: &Sink, taken: &[String]) -> String {
    let kind = match sink {
        Sink::Fhir { .. } => "fhir",
        Sink::File { .. } => "file",
        Sink::Syslog { .. } => "syslog",
    };
    let numbered = (2..=taken.len().saturating_add(2)).map(|number| format!("{kind}-{number}"));
    let mut names = std::iter::once(kind.to_owned()).chain(numbered);
    names.find(|name| !taken.contains(name)).unwrap_or_default()
}

fn chosen(written: Option<FhirRelease>, otherwise: FhirVersion) -> FhirVersion {
    match written {
        Some(FhirRelease::R4) => FhirVersion::R4,
        Some(FhirRelease::R4b) => FhirVersion::R4B,
        Some(FhirRelease::R5) => FhirVersion::R5,
        None => otherwise,
    }
}

#[cfg(test)]
mod tests {
    use crate::config::settings::AuditSinkKind;
    use crate::config::tests::settings;

    /// A sink without a name is called by its kind, and by a number when that is taken.
    #[test]
    fn sinks_have_names_of_their_own() {
        let sinks = settings(
            "[[audit.sink]]\nkind = \"file\"\npath = \"a\"\n\
             [[audit.sink]]\nkind = \"file\"\npath = \"b\"\n\
             [[audit.sink]]\nkind = \"file\"\npath = \"c\"\nname = \"file-2\"\n\
             [[audit.sink]]\nkind = \"fhir\"\nurl = \"http://127.0.0.1/fhir\"\n",
        )
        .audit
        .sinks;
        let names: Vec<&str> = sinks.iter().map(|sink| sink.name.as_str()).collect();
        assert_eq!(names, ["file", "file-3", "file-2", "fhir"]);
    }

    /// RFC 5425 §4.1: port 6514 unless another is named.
    #[test]
    fn addresses_of_receivers() {
        let table = [
            ("tls://arr.example", "arr.example", 6514),
            ("tls://arr.example:6515/", "arr.example", 6515),
            ("syslog+tls://ARR.example:10514", "arr.example", 10514),
            ("tls://[::1]:6514", "::1", 6514),
            ("tls://192.0.2.7", "192.0.2.7", 6514),
        ];
        for (url, host, port) in table {
            let found =
                settings(&format!("[[audit.sink]]\nkind = \"syslog\"\nurl = \"{url}\"\n")).audit.sinks;
            let AuditSinkKind::Syslog(found) = &found[0].kind else { panic!("{url}") };
            assert_eq!((found.host.as_str(), found.port), (host, port), "{url}");
        }
    }
}
