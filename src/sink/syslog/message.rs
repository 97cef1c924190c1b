//! One event as a syslog message, in its frame.

use crate::config::SyslogFormat;
use crate::fhir::FhirVersion;
use crate::ledger::Kept;

/// Facility 10 (security), severity 5 (notice): 10 * 8 + 5 (RFC 5424 §6.2.1).
const PRI: u8 = 85;

/// What `MSGID` says of the content: ATNA's word for audit messages (ITI-20), and ours for FHIR.
const DICOM: &str = "IHE+RFC-3881";
const FHIR: &str = "FHIR";

/// Says that what follows is UTF-8 (RFC 5424 §6.4).
const BOM: &str = "\u{feff}";

/// The largest `sequenceId`; after it comes 1 (RFC 5424 §7.3.1).
const LAST_SEQUENCE: u64 = 2_147_483_647;

/// The message with its length before it (RFC 5425 §4.3).
pub(super) fn frame(event: &Kept, format: SyslogFormat) -> Vec<u8> {
    let message = message(event, format);
    format!("{} {message}", message.len()).into_bytes()
}

/// `HOSTNAME` is the public name of the gateway, which a machine's name behind it need not be like. The structured data are
/// those that every receiver knows (RFC 5424 §7.2, §7.3): what of Pforte's own would need an enterprise number. The event's id is
/// in the content.
fn message(event: &Kept, format: SyslogFormat) -> String {
    let id = event.id();
    let entry = &event.entry;
    let (kind, content) = match format {
        SyslogFormat::Dicom => (DICOM, entry.to_dicom(&id)),
        SyslogFormat::Fhir => (FHIR, entry.to_audit_event_in(FhirVersion::R4, Some(&id)).to_string()),
    };
    // Three digits: receivers take six, and milliseconds are what the content has.
    format!(
        "<{PRI}>1 {time:.3} {host} pforte {process} {kind} [origin software=\"pforte\" swVersion=\"{version}\"]\
         [meta sequenceId=\"{sequence}\"] {BOM}{content}",
        time = entry.recorded,
        host = host(&entry.observer),
        process = std::process::id(),
        version = env!("CARGO_PKG_VERSION"),
        sequence = sequence(event.sequence),
    )
}

/// The host of the public base, as far as the header can hold it (RFC 5424 §6.2.4).
fn host(observer: &str) -> String {
    let authority = observer.split_once("://").map_or(observer, |(_, rest)| rest);
    let authority = authority.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(address) => address.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let host: String = host.chars().filter(char::is_ascii_graphic).take(255).collect();
    if host.is_empty() { "-".to_owned() } else { host }
}

/// The number of the event, from 1 again after the largest.
fn sequence(number: u64) -> u64 {
    (number.saturating_sub(1) % LAST_SEQUENCE).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::sink::tests::event;

    /// RFC 5424 §6, RFC 5425 §4.3: header, structured data, BOM and content, counted in octets.
    #[test]
    fn a_message_has_its_header_and_its_length() {
        let table = [
            (SyslogFormat::Dicom, "IHE+RFC-3881", "<?xml", "</AuditMessage>"),
            (SyslogFormat::Fhir, "FHIR", "{\"resourceType\":\"AuditEvent\"", "}"),
        ];
        for (format, kind, begins, ends) in table {
            let mut event = event(7);
            event.entry.client = Some("Ärztekammer".to_owned());
            let framed = String::from_utf8(frame(&event, format)).unwrap();
            let (length, message) = framed.split_once(' ').unwrap();
            assert_eq!(length.parse(), Ok(message.len()), "octets, not characters");
            let (header, content) = message.split_once('\u{feff}').unwrap();
            let expected = format!(
                "<85>1 2026-03-01T10:00:07.000Z fhir.example pforte {} {kind} [origin software=\"pforte\" \
                 swVersion=\"{}\"][meta sequenceId=\"7\"] ",
                std::process::id(),
                env!("CARGO_PKG_VERSION")
            );
            assert_eq!(header, expected);
            assert!(content.starts_with(begins) && content.ends_with(ends), "{content}");
            assert!(content.contains("Ärztekammer"), "{content}");
            // DICOM's details are base64.
            let id = event.id();
            assert!(content.contains(&id) || content.contains(&STANDARD.encode(&id)), "{content}");
        }
    }

    #[test]
    fn hosts_and_numbers_fit_the_header() {
        let table = [
            ("https://fhir.example/fhir", "fhir.example"),
            ("https://fhir.example:8443/fhir", "fhir.example"),
            ("http://127.0.0.1:8443", "127.0.0.1"),
            ("https://[2001:db8::1]:8443/fhir", "2001:db8::1"),
            ("", "-"),
        ];
        for (observer, expected) in table {
            assert_eq!(host(observer), expected, "{observer}");
        }
        let table = [(1, 1), (2, 2), (LAST_SEQUENCE, LAST_SEQUENCE), (LAST_SEQUENCE + 1, 1), (u64::MAX, 3)];
        for (number, expected) in table {
            assert_eq!(sequence(number), expected, "{number}");
        }
    }
}
