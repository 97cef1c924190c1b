//! The scratch folder: certificate, FHIR answers on disk, and the nginx that serves them as the FHIR server.

use std::fs;
use std::path::{Path, PathBuf};

use crate::authority::Authority;
use crate::machine::{self, Running};

/// The name by which clients know each contestant.
pub const HOST: &str = "gw.bench.test";

/// The FHIR base that clients use.
pub const BASE: &str = "https://gw.bench.test/fhir";

/// Whose records all but one are.
pub const PATIENT: &str = "pat-01";

/// Somebody else, who has one entry in each searchset: a checked answer does not name them.
pub const STRANGER: &str = "pat-99";

/// Entries of the batch.
pub const ENTRIES: usize = 50;

/// What all parts need.
pub struct Setting {
    /// Where everything is written.
    pub folder: PathBuf,
    /// Where keys and tokens are kept from run to run.
    pub kept: PathBuf,
    /// The core of the one that is measured.
    pub core: usize,
    pub authority: Authority,
    pub upstream: u16,
    /// The program that is measured.
    pub gateway: String,
    _nginx: Running,
}

impl Setting {
    /// Writes files, starts authorization server and FHIR server.
    pub fn prepare(gateway: String, core: usize, load_core: usize) -> Self {
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers");
        let folder = scratch.join(std::process::id().to_string());
        let site = folder.join("site");
        fs::create_dir_all(&site).expect("a folder");
        let upstream = machine::free_port();
        for (name, text) in bodies(upstream) {
            fs::write(site.join(name), text).expect("a file");
        }
        let made = rcgen::generate_simple_self_signed(vec![HOST.to_owned()]).expect("a certificate");
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let authority = Authority::start(&scratch);
        let files = [
            ("server.pem", certificate.clone()),
            ("server.key", key.clone()),
            ("both.pem", format!("{certificate}{key}")),
            ("rs256.pem", authority.rsa.public_pem.clone()),
            ("es256.pem", authority.ec.public_pem.clone()),
            ("rs256.crt", authority.rsa.certificate.clone()),
            ("secret", "secret".to_owned()),
            ("upstream.conf", configured(&folder, upstream)),
        ];
        for (name, text) in files {
            fs::write(folder.join(name), text).expect("a file");
        }
        let file = folder.join("upstream.conf").display().to_string();
        let mut nginx = Running::start(load_core, &["nginx", "-c", &file], &folder);
        nginx.listening(upstream).expect("nginx starts as FHIR server");
        Self { folder, kept: scratch, core, authority, upstream, gateway, _nginx: nginx }
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        let _left = fs::remove_dir_all(&self.folder);
    }
}

/// Static answers: the search by what `_count` says, XML where it is asked for, and a batch that is answered unread.
fn configured(folder: &Path, port: u16) -> String {
    let folder = folder.display();
    format!(
        "daemon off; master_process off; pid {folder}/upstream.pid; error_log stderr warn; worker_processes 1; worker_rlimit_nofile 20000;
events {{ worker_connections 10000; }}
http {{
 access_log off; keepalive_requests 100000000; keepalive_timeout 600s; sendfile on; tcp_nopush on; client_max_body_size 16m;
 client_body_temp_path {folder}/upstream-body; proxy_temp_path {folder}/upstream-proxy; proxy_buffers 16 16k;
 open_file_cache max=100 inactive=600s; open_file_cache_valid 600s;
 map $http_accept $form {{ default json; ~xml xml; }}
 map $arg__count $size {{ default 100k; 10000 10m; }}
 upstream own {{ server 127.0.0.1:{port}; keepalive 64; }}
 types {{ application/fhir+json json; application/fhir+xml xml; }}
 server {{
  listen 127.0.0.1:{port}; root {folder}/site;
  location /fhir/Patient/{PATIENT} {{ try_files /patient.$form =404; }}
  location /fhir/Patient/{PATIENT}/Observation {{ try_files /search-$size.$form =404; }}
  location /fhir/Observation {{ try_files /search-$size.$form =404; }}
  location = /fhir/metadata {{ try_files /metadata.json =404; }}
  location = /fhir {{ rewrite ^ /answered last; }}
  location = /fhir/ {{ rewrite ^ /answered last; }}
  # A file is for GET only, so the batch becomes one.
  location = /answered {{ internal; proxy_method GET; proxy_pass_request_body off; proxy_set_header Content-Length \"\"; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_pass http://own/batch.json; }}
  location = /batch.json {{ }}
 }}
}}
"
    )
}

/// The files and what they hold.
fn bodies(port: u16) -> Vec<(&'static str, String)> {
    let patient = patient();
    let entry = format!(r#"{{"response":{{"status":"200 OK"}},"resource":{patient}}}"#);
    let batch = vec![entry; ENTRIES].join(",");
    vec![
        ("patient.json", patient),
        ("patient.xml", patient_xml()),
        ("search-100k.json", searchset(100 << 10, &JSON, port)),
        ("search-100k.xml", searchset(100 << 10, &XML, port)),
        ("search-10m.json", searchset(10 << 20, &JSON, port)),
        ("search-10m.xml", searchset(10 << 20, &XML, port)),
        ("batch.json", format!(r#"{{"resourceType":"Bundle","type":"batch-response","entry":[{batch}]}}"#)),
        ("metadata.json", r#"{"resourceType":"CapabilityStatement","status":"active","kind":"instance","fhirVersion":"4.0.1","format":["json","xml"],"rest":[{"mode":"server","resource":[{"type":"Patient"},{"type":"Observation"}]}]}"#.to_owned()),
    ]
}

/// The batch that a client sends.
pub fn batch() -> String {
    let entry = format!(r#"{{"request":{{"method":"GET","url":"Patient/{PATIENT}"}}}}"#);
    format!(r#"{{"resourceType":"Bundle","type":"batch","entry":[{}]}}"#, vec![entry; ENTRIES].join(","))
}

/// A patient of 1 KiB.
fn patient() -> String {
    let text = "Anna Maria Muster, born 1967-03-12, lives in Musterstadt and was seen last in the clinic for cardiology. ";
    format!(
        r#"{{"resourceType":"Patient","id":"{PATIENT}","meta":{{"versionId":"3","lastUpdated":"2024-05-01T10:00:00.000+00:00","profile":["http://hl7.org/fhir/StructureDefinition/Patient"]}},"text":{{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>{text}</p></div>"}},"identifier":[{{"use":"official","system":"http://fhir.de/sid/gkv/kvid-10","value":"A123456789"}},{{"system":"http://hospital.example/patients","value":"0815"}}],"active":true,"name":[{{"use":"official","family":"Muster","given":["Anna","Maria"]}}],"telecom":[{{"system":"phone","value":"+49 30 123456","use":"home"}}],"gender":"female","birthDate":"1967-03-12","address":[{{"line":["Musterstraße 1"],"city":"Musterstadt","postalCode":"12345","country":"DE"}}],"generalPractitioner":[{{"reference":"Practitioner/prac-1","display":"Dr. Beispiel"}}],"managingOrganization":{{"reference":"Organization/org-1"}}}}"#
    )
}

fn patient_xml() -> String {
    format!(
        r#"<Patient xmlns="http://hl7.org/fhir"><id value="{PATIENT}"/><meta><versionId value="3"/></meta><active value="true"/><name><family value="Muster"/><given value="Anna"/></name><gender value="female"/><birthDate value="1967-03-12"/></Patient>"#
    )
}

/// How a searchset is written in one format.
struct Form {
    head: &'static str,
    entry: &'static str,
    between: &'static str,
    tail: &'static str,
}

const JSON: Form = Form {
    head: r#"{"resourceType":"Bundle","type":"searchset","entry":["#,
    entry: r#"{"fullUrl":"http://127.0.0.1:PORT/fhir/Observation/NUMBER","resource":{"resourceType":"Observation","id":"NUMBER","meta":{"versionId":"1","lastUpdated":"2024-03-01T10:00:00.000+00:00","profile":["http://hl7.org/fhir/StructureDefinition/vitalsigns"]},"text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\"><p><b>Hemoglobin</b>: 13.7 g/dL on <i>1 March 2024</i></p></div>"},"status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"laboratory","display":"Laboratory"}]}],"code":{"coding":[{"system":"http://loinc.org","code":"718-7","display":"Hemoglobin"}],"text":"Hemoglobin"},"subject":{"reference":"Patient/WHOSE"},"encounter":{"reference":"Encounter/e1"},"effectiveDateTime":"2024-03-01T09:58:00+01:00","valueQuantity":{"value":13.7,"unit":"g/dL","system":"http://unitsofmeasure.org","code":"g/dL"}},"search":{"mode":"match"}}"#,
    between: ",",
    tail: "]}",
};

const XML: Form = Form {
    head: r#"<Bundle xmlns="http://hl7.org/fhir"><type value="searchset"/>"#,
    entry: r#"<entry><fullUrl value="http://127.0.0.1:PORT/fhir/Observation/NUMBER"/><resource><Observation xmlns="http://hl7.org/fhir"><id value="NUMBER"/><meta><versionId value="1"/><lastUpdated value="2024-03-01T10:00:00.000+00:00"/><profile value="http://hl7.org/fhir/StructureDefinition/vitalsigns"/></meta><text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml"><p><b>Hemoglobin</b>: 13.7 g/dL on <i>1 March 2024</i></p></div></text><status value="final"/><category><coding><system value="http://terminology.hl7.org/CodeSystem/observation-category"/><code value="laboratory"/><display value="Laboratory"/></coding></category><code><coding><system value="http://loinc.org"/><code value="718-7"/><display value="Hemoglobin"/></coding><text value="Hemoglobin"/></code><subject><reference value="Patient/WHOSE"/></subject><encounter><reference value="Encounter/e1"/></encounter><effectiveDateTime value="2024-03-01T09:58:00+01:00"/><valueQuantity><value value="13.7"/><unit value="g/dL"/><system value="http://unitsofmeasure.org"/><code value="g/dL"/></valueQuantity></Observation></resource><search><mode value="match"/></search></entry>"#,
    between: "",
    tail: "</Bundle>",
};

/// A searchset of about this size; its last entry is the stranger's.
fn searchset(size: usize, form: &Form, port: u16) -> String {
    let entry = form.entry.replace("PORT", &port.to_string());
    let last = size / (entry.len() + form.between.len());
    let one = |number: usize| {
        let whose = if number == last { STRANGER } else { PATIENT };
        entry.replace("NUMBER", &number.to_string()).replace("WHOSE", whose)
    };
    let entries: Vec<_> = (0..=last).map(one).collect();
    format!("{}{}{}", form.head, entries.join(form.between), form.tail)
}
