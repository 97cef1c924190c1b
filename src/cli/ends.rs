//! Warns of certificates, revocation lists and OCSP responses that end soon (TLS-9).

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::files;
use crate::config::{AuditSinkKind, BackendCredentials, IssuerClientAuth, Settings, Standing, Validity};
use crate::listener::{CertificateStore, Ends};

/// Logs what ends soon and what has ended: what the listener has in force, and what the files of the connections to
/// backend and authorization servers hold now.
pub(super) fn warn(store: Option<&CertificateStore>, settings: &Settings) {
    let now = files::now();
    for ends in store.map(CertificateStore::ends).unwrap_or_default().into_iter().chain(outward(settings)) {
        let (key, file, until) = (ends.key, ends.file.display(), ends.validity.until);
        match ends.validity.standing(now) {
            Standing::Ended => tracing::warn!(key, %file, %until, "has ended: renew it"),
            Standing::Near => {
                let days_left = ends.validity.days_left(now);
                tracing::warn!(key, %file, %until, days_left, "ends soon: renew it");
            }
            Standing::Coming | Standing::Sound => {}
        }
    }
}

/// Anchors and certificates of the connections that the gateway makes.
fn outward(settings: &Settings) -> Vec<Ends> {
    let backend = &settings.backend;
    let mut files: Vec<(&'static str, PathBuf)> = Vec::new();
    files.extend(backend.ca.iter().map(|ca| ("backend.ca", ca.clone())));
    let shown = backend.client_certificate.iter();
    files.extend(shown.map(|shown| ("backend.client_certificate", shown.certificate.clone())));
    let keys = ("backend.credentials.ca", "backend.credentials.certificate");
    files.extend(of_credentials(keys, &backend.credentials));
    settings.audit.sinks.iter().for_each(|sink| files.extend(of_sink(&sink.kind)));
    for server in &settings.authorization_servers {
        files.extend(server.ca.iter().map(|ca| ("authorization_server.ca", ca.clone())));
        let client = server.client.iter();
        files.extend(
            client.filter_map(|client| of_client("authorization_server.client.certificate", &client.auth)),
        );
    }
    let shared = settings.shared_state.iter().filter_map(|shared| shared.ca.clone());
    files.extend(shared.map(|ca| ("shared_state.ca", ca)));
    files.into_iter().flat_map(|(key, file)| in_file(key, &file)).collect()
}

fn of_credentials(
    (ca, certificate): (&'static str, &'static str),
    credentials: &BackendCredentials,
) -> Vec<(&'static str, PathBuf)> {
    match credentials {
        BackendCredentials::ClientCredentials(request) | BackendCredentials::TokenExchange(request) => {
            let anchor = request.ca.iter().map(|file| (ca, file.clone()));
            anchor.chain(of_client(certificate, &request.client.auth)).collect()
        }
        BackendCredentials::Basic { .. }
        | BackendCredentials::Bearer { .. }
        | BackendCredentials::Forward
        | BackendCredentials::None => Vec::new(),
    }
}

fn of_sink(kind: &AuditSinkKind) -> Vec<(&'static str, PathBuf)> {
    let (ca, shown, credentials) = match kind {
        AuditSinkKind::Fhir(sink) => (&sink.ca, &sink.client_certificate, Some(&sink.credentials)),
        AuditSinkKind::File(_) => return Vec::new(),
        AuditSinkKind::Syslog(sink) => (&sink.ca, &sink.client_certificate, None),
    };
    let keys = ("audit.sink.credentials.ca", "audit.sink.credentials.certificate");
    let tokens = credentials.map(|credentials| of_credentials(keys, credentials)).unwrap_or_default();
    let anchor = ca.iter().map(|ca| ("audit.sink.ca", ca.clone()));
    let shown = shown.iter().map(|shown| ("audit.sink.client_certificate", shown.certificate.clone()));
    anchor.chain(shown).chain(tokens).collect()
}

fn of_client(key: &'static str, auth: &IssuerClientAuth) -> Option<(&'static str, PathBuf)> {
    match auth {
        IssuerClientAuth::Tls(files) => Some((key, files.certificate.clone())),
        IssuerClientAuth::PrivateKeyJwt(_)
        | IssuerClientAuth::SecretBasic(_)
        | IssuerClientAuth::SecretPost(_) => None,
    }
}

fn in_file(key: &'static str, file: &Path) -> Vec<Ends> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.unwrap_or_default();
    let validities = certificates.iter().filter_map(|der| Validity::of_certificate(der));
    validities.map(|validity| Ends { key, file: file.to_owned(), validity }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TLS-9: the files of the connections that the gateway makes.
    #[test]
    fn files_of_other_connections_are_read() {
        let folder = std::env::temp_dir().join(format!("pforte-ends-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let made = rcgen::generate_simple_self_signed(["ca.test".to_owned()]).unwrap();
        let file = folder.join("ca.pem");
        std::fs::write(&file, made.cert.pem()).unwrap();
        let mut settings = crate::config::tests::settings("");
        assert_eq!(outward(&settings), []);
        settings.backend.ca = Some(file.clone());
        let found = outward(&settings);
        assert_eq!(found.first().map(|ends| (ends.key, &ends.file)), Some(("backend.ca", &file)));
        settings.backend.ca = None;
        let sinks = "[[audit.sink]]\nkind = \"syslog\"\nurl = \"tls://arr.test\"\n";
        settings.audit.sinks = crate::config::tests::settings(sinks).audit.sinks;
        let AuditSinkKind::Syslog(sink) = &mut settings.audit.sinks[0].kind else { panic!("syslog") };
        sink.ca = Some(file.clone());
        let found = outward(&settings);
        assert_eq!(found.first().map(|ends| (ends.key, &ends.file)), Some(("audit.sink.ca", &file)));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
