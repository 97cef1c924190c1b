//! Puts one base URL in the place of another, structurally (RESP-6).
//!
//! The backend writes its own address into links, full URLs and references; the
//! client must see the gateway's, and in request bodies the reverse. Only values
//! of elements whose name is that of a uri are touched, and only when they begin
//! with the base and go on at a boundary. Narrative, base64, markdown and all
//! other text stays as it is, to the byte.
//!
//! The same scan serves two forms: over a whole body it gives [`Edits`], over a
//! stream it passes slices of the chunks on as they come and holds back no more
//! than a value that may yet turn out to begin with the base. The stream form
//! also notices a document that ends too early, so that a cut answer is never
//! given a clean end (RESP-021 of the hostile catalogue). It does not check the
//! document otherwise: it is for answers that need no check.
//!
//! On the way it notes the [`Patients`] that the document names, each before the
//! bytes that name it are passed on.

mod json;
#[cfg(test)]
mod model;
mod patients;
mod xml;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::fhir::json::escape_into as escape_json_into;
use crate::fhir::outline::{Edits, Format};
use crate::fhir::xml::escape_into as escape_xml_into;

pub use patients::{Grouping, Mention, Patients};

/// Most bases one mapping can look for; one bit each.
const BASES: usize = 64;

/// How deep a streamed document may nest; one bit each.
const DEPTH: u32 = 128;

/// A base that cannot be looked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("base `{0}`: expected an absolute http or https URL without query and fragment")]
pub struct BadBase(pub String);

/// Why a document could not be rewritten to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// What is not JSON, or not XML as FHIR uses it.
    #[error("the document is malformed")]
    Malformed,
    /// Deeper than any resource.
    #[error("expected at most {DEPTH} levels")]
    TooDeep,
    /// The bytes end inside the document.
    #[error("the document ends too early")]
    Truncated,
    /// Something closes that is not open.
    #[error("the document closes what it did not open")]
    Unbalanced,
}

/// Which bases become which other base.
#[derive(Debug, Clone)]
pub struct Mapping {
    from: Vec<Pattern>,
    json: Bytes,
    xml: Bytes,
    /// The first bytes of the patterns, in lower case.
    first: u8,
}

#[derive(Debug, Clone)]
struct Pattern {
    text: Vec<u8>,
    /// How many bytes compare without regard to case: scheme and host (RFC 3986
    /// §6.2.2.1). They are kept in lower case.
    folded: usize,
    /// Its first bytes without regard to case, and which of 16 bytes those are.
    head: (u128, u128),
}

/// All letters in lower case, and other bytes as they may come.
const CASE: u128 = u128::from_le_bytes([0x20; 16]);

impl Mapping {
    /// A mapping of each base in `from` to `to`. A trailing slash does not matter,
    /// nor does a default port. Where several match, the longest is taken.
    pub fn new(from: &[&str], to: &str) -> Result<Self, BadBase> {
        let mut patterns = Vec::new();
        for base in from {
            patterns.extend(Pattern::variants(base)?);
        }
        let to = to.strip_suffix('/').unwrap_or(to);
        if patterns.is_empty() || patterns.len() > BASES {
            return Err(BadBase(from.join(" ")));
        }
        Pattern::variants(to)?;
        let (mut json, mut xml) = (Vec::new(), Vec::new());
        escape_json_into(to, &mut json);
        escape_xml_into(to, &mut xml);
        Ok(Self { from: patterns, json: json.into(), xml: xml.into(), first: b'h' })
    }

    /// The new address when `url` begins with one of the bases; for headers.
    pub fn apply(&self, url: &str) -> Option<String> {
        let mut comparison = Comparison::begin(self, 0);
        for (at, byte) in url.bytes().enumerate() {
            if comparison.feed(self, byte, at as u64) == Progress::Decided {
                break;
            }
        }
        let end = match comparison.decided() {
            true => comparison.best,
            false => comparison.end(self, url.len() as u64),
        };
        let rest = url.get(usize::try_from(end?).ok()?..)?;
        // The JSON form of a URL is the URL: it holds nothing to be escaped.
        Some(format!("{}{rest}", std::str::from_utf8(&self.json).ok()?))
    }

    fn target(&self, format: Format) -> &Bytes {
        match format {
            Format::Json => &self.json,
            Format::Xml => &self.xml,
        }
    }

    /// What follows one of the bases and these words behind it.
    fn below<'v>(&self, value: &'v [u8], words: &[u8]) -> Option<&'v [u8]> {
        // The words are looked for first: they tell most values apart by one comparison.
        self.from.iter().find_map(|pattern| {
            let (base, rest) = value.split_at_checked(pattern.text.len())?;
            let rest = rest.strip_prefix(words)?;
            base.iter().enumerate().all(|(at, byte)| pattern.has(at, *byte)).then_some(rest)
        })
    }

    /// The length of the longest base that a value begins with, which goes on at a boundary.
    fn base_of(&self, value: &[u8]) -> Option<usize> {
        let begins = |pattern: &&Pattern| {
            let Some((base, rest)) = value.split_at_checked(pattern.text.len()) else { return false };
            let (origin, path) = base.split_at(pattern.folded.min(base.len()));
            matches!(rest.first(), None | Some(b'/' | b'?' | b'#' | b'|'))
                && pattern.text.get(pattern.folded..) == Some(path)
                && pattern.text.get(..pattern.folded).is_some_and(|text| text.eq_ignore_ascii_case(origin))
        };
        self.from.iter().filter(begins).map(|pattern| pattern.text.len()).max()
    }

    /// Whether a text may begin with one of the bases, going by its first bytes: few do by chance.
    #[inline]
    fn may_begin(&self, text: &[u8]) -> bool {
        let Some(head) = text.first_chunk() else { return true };
        let head = u128::from_le_bytes(*head) | CASE;
        self.from.iter().any(|pattern| head & pattern.head.1 == pattern.head.0)
    }

    /// The length of the longest base.
    fn longest(&self) -> usize {
        self.from.iter().map(|pattern| pattern.text.len()).max().unwrap_or(0)
    }
}

impl Pattern {
    fn variants(base: &str) -> Result<Vec<Self>, BadBase> {
        let bad = || BadBase(base.to_owned());
        let parsed = url::Url::parse(base).map_err(|_| bad())?;
        let (scheme, rest) = base.split_once("://").ok_or_else(bad)?;
        let default = match scheme.to_ascii_lowercase().as_str() {
            "http" => ":80",
            "https" => ":443",
            _ => return Err(bad()),
        };
        let plain = base.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\<>?#|".contains(&byte));
        let (host, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len())).ok_or_else(bad)?;
        if !plain || host.is_empty() || host.contains('@') {
            return Err(bad());
        }
        let path = path.strip_suffix('/').unwrap_or(path);
        let bare = host.strip_suffix(default).unwrap_or(host);
        let mut hosts = vec![bare.to_owned()];
        if parsed.port().is_none() {
            hosts.push(format!("{bare}{default}"));
        }
        Ok(hosts
            .into_iter()
            .map(|host| {
                let origin = format!("{scheme}://{host}").to_ascii_lowercase();
                let folded = origin.len();
                let text = (origin + path).into_bytes();
                let mut head = ([0; 16], [0; 16]);
                for ((byte, mask), text) in head.0.iter_mut().zip(&mut head.1).zip(&text) {
                    (*byte, *mask) = (*text, 0xFF);
                }
                let mask = u128::from_le_bytes(head.1);
                Self { folded, text, head: ((u128::from_le_bytes(head.0) | CASE) & mask, mask) }
            })
            .collect())
    }

    fn has(&self, at: usize, byte: u8) -> bool {
        let byte = if at < self.folded { byte.to_ascii_lowercase() } else { byte };
        self.text.get(at) == Some(&byte)
    }
}

/// Says of an element's name whether its values are uris.
pub type IsUri = fn(&str) -> bool;

/// The names under which FHIR R4 to R5 keep what may hold an address of the
/// server itself: references, canonicals, and the uris of bundles and
/// capability statements.
pub fn is_uri(name: &str) -> bool {
    matches!(
        name,
        "canonical"
            | "definition"
            | "endpoint"
            | "fullUrl"
            | "implicitRules"
            | "instantiates"
            | "instantiatesCanonical"
            | "instantiatesUri"
            | "location"
            | "policy"
            | "profile"
            | "reference"
            | "source"
            | "system"
            | "targetProfile"
            | "target"
            | "uri"
            | "url"
            | "valueCanonical"
            | "valueSet"
            | "valueUri"
            | "valueUrl"
    )
}

/// The edits that rewrite a whole body; notes the patients that it names.
pub fn edits(
    source: &[u8],
    format: Format,
    (mapping, is_uri): (&Mapping, IsUri),
    patients: &mut Patients,
) -> Result<Edits, Broken> {
    let mut scan = Scan::new(format);
    let mut found = Found { ranges: Vec::new(), patients: std::mem::take(patients) };
    let read = scan.chunk(source, 0, &Rule { mapping, is_uri }, &mut found).and_then(|()| scan.finish());
    *patients = found.patients;
    read?;
    let mut edits = Edits::new(format);
    for find in found.ranges {
        let (Ok(start), Ok(end)) = (usize::try_from(find.start), usize::try_from(find.end)) else { continue };
        edits.replace(start..end, mapping.target(format).to_vec());
    }
    Ok(edits)
}

/// The patients that a whole body names; of one that cannot be read, those that it names up to there.
pub fn patients(source: &[u8], format: Format, mapping: &Mapping, grouping: Grouping) -> Vec<Mention> {
    let mut patients = Patients::by(grouping);
    look(source, format, mapping, &mut patients);
    patients.take()
}

/// Notes the patients that a whole body names, as [`patients`] does.
pub fn look(source: &[u8], format: Format, mapping: &Mapping, patients: &mut Patients) {
    // Whoever needs to know whether it can be read has read it.
    drop(edits(source, format, (mapping, |_| false), patients));
}

/// Rewrites a body as it streams by.
#[derive(Debug)]
pub struct Rewriter {
    scan: Scan,
    format: Format,
    mapping: Arc<Mapping>,
    is_uri: IsUri,
    /// Bytes read so far.
    offset: u64,
    /// What was read but not passed on: the beginning of a value that may begin
    /// with a base or name a patient. Bounded by the length of the bases and of an
    /// id, however they are escaped.
    held: Vec<u8>,
    found: Found,
    broken: Option<Broken>,
}

impl Rewriter {
    /// Begins a body of this format.
    pub fn new(format: Format, mapping: Arc<Mapping>, is_uri: IsUri) -> Self {
        Self {
            scan: Scan::new(format),
            format,
            mapping,
            is_uri,
            offset: 0,
            held: Vec::new(),
            found: Found::default(),
            broken: None,
        }
    }

    /// Begins a file of resources, one after the other (NDJSON): nothing is rewritten, the patients are noted.
    pub fn of_lines(mapping: Arc<Mapping>) -> Self {
        Self { scan: Scan::Json(json::Scan::of_many()), ..Self::new(Format::Json, mapping, |_| false) }
    }

    /// The patients that are named in what was handed on.
    pub fn patients(&mut self) -> &mut Patients {
        &mut self.found.patients
    }

    /// How many bytes were taken and not handed on.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Takes the next chunk and hands on what is decided, in order. Untouched
    /// bytes are slices of the chunks. After an error nothing is handed on: the
    /// stream must be aborted.
    pub fn push(&mut self, chunk: Bytes, out: &mut impl FnMut(Bytes)) -> Result<(), Broken> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        self.found.ranges.clear();
        let rule = Rule { mapping: &self.mapping, is_uri: self.is_uri };
        if let Err(broken) = self.scan.chunk(&chunk, self.offset, &rule, &mut self.found) {
            self.broken = Some(broken);
            return Err(broken);
        }
        let window = Window { held: Bytes::from(std::mem::take(&mut self.held)), chunk, at: self.offset };
        let mut from = window.start();
        let until = self.scan.undecided().unwrap_or_else(|| window.end());
        for find in &self.found.ranges {
            window.emit(from..find.start, out);
            out(self.mapping.target(self.format).clone());
            from = find.end;
        }
        window.emit(from..until, out);
        window.emit(until.max(from)..window.end(), &mut |rest| self.held.extend_from_slice(&rest));
        self.offset = window.end();
        Ok(())
    }

    /// Ends the body. An error means that what was handed on is not a whole
    /// document, and that the client must not take it for one.
    pub fn finish(self) -> Result<(), Broken> {
        match self.broken {
            Some(broken) => Err(broken),
            None => self.scan.finish(),
        }
    }
}

/// What can be handed on: bytes held from before, and the new chunk behind them.
struct Window {
    held: Bytes,
    chunk: Bytes,
    /// Where the chunk begins in the stream.
    at: u64,
}

impl Window {
    fn start(&self) -> u64 {
        self.at - self.held.len() as u64
    }

    fn end(&self) -> u64 {
        self.at + self.chunk.len() as u64
    }

    fn emit(&self, range: Range<u64>, out: &mut impl FnMut(Bytes)) {
        let part = |bytes: &Bytes, begins: u64| {
            let within = |offset: u64| {
                usize::try_from(offset.saturating_sub(begins)).map_or(bytes.len(), |at| at.min(bytes.len()))
            };
            let (start, end) = (within(range.start), within(range.end));
            (start < end).then(|| bytes.slice(start..end))
        };
        if let Some(bytes) = part(&self.held, self.start()) {
            out(bytes);
        }
        if let Some(bytes) = part(&self.chunk, self.at) {
            out(bytes);
        }
    }
}

/// What to look for, and where.
struct Rule<'m> {
    mapping: &'m Mapping,
    is_uri: IsUri,
}

/// What was found.
#[derive(Debug, Default)]
struct Found {
    /// Where a base stands.
    ranges: Vec<Range<u64>>,
    patients: Patients,
}

/// Finds the values that begin with a base, chunk by chunk.
#[derive(Debug)]
enum Scan {
    Json(json::Scan),
    #[cfg(test)]
    Model(model::Scan),
    Xml(xml::Scan),
}

impl Scan {
    fn new(format: Format) -> Self {
        match format {
            Format::Json => Self::Json(json::Scan::default()),
            Format::Xml => Self::Xml(xml::Scan::default()),
        }
    }

    fn chunk(&mut self, bytes: &[u8], offset: u64, rule: &Rule<'_>, found: &mut Found) -> Result<(), Broken> {
        match self {
            Self::Json(scan) => scan.chunk(bytes, offset, rule, found),
            #[cfg(test)]
            Self::Model(scan) => scan.chunk(bytes, offset, rule, found),
            Self::Xml(scan) => scan.chunk(bytes, offset, rule, found),
        }
    }

    /// From where on it is not decided whether the bytes stay.
    fn undecided(&self) -> Option<u64> {
        match self {
            Self::Json(scan) => scan.undecided(),
            #[cfg(test)]
            Self::Model(scan) => scan.undecided(),
            Self::Xml(scan) => scan.undecided(),
        }
    }

    fn finish(&self) -> Result<(), Broken> {
        match self {
            Self::Json(scan) => scan.finish(),
            #[cfg(test)]
            Self::Model(scan) => scan.finish(),
            Self::Xml(scan) => scan.finish(),
        }
    }
}

/// A value being compared with the bases, byte by decoded byte.
#[derive(Debug, Clone)]
struct Comparison {
    /// Where the value begins in the stream.
    start: u64,
    /// The bases that still fit, one bit each.
    alive: u64,
    /// How many bytes have been compared.
    at: usize,
    /// Where the longest base that fits so far ends, as written.
    best: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Decided,
    Open,
}

impl Comparison {
    fn begin(mapping: &Mapping, start: u64) -> Self {
        let alive = u64::MAX.checked_shr(64 - u32::try_from(mapping.from.len()).unwrap_or(64)).unwrap_or(0);
        Self { start, alive, at: 0, best: None }
    }

    fn decided(&self) -> bool {
        self.alive == 0
    }

    /// Takes the next decoded byte, which was written at `offset`.
    fn feed(&mut self, mapping: &Mapping, byte: u8, offset: u64) -> Progress {
        if matches!(byte, b'/' | b'?' | b'#' | b'|') && self.complete(mapping) {
            self.best = Some(offset);
        }
        for (bit, pattern) in mapping.from.iter().enumerate() {
            if !pattern.has(self.at, byte) {
                self.alive &= !(1 << bit);
            }
        }
        self.at += 1;
        if self.decided() { Progress::Decided } else { Progress::Open }
    }

    /// The value ends at `offset`; gives where the base ends in it.
    fn end(&self, mapping: &Mapping, offset: u64) -> Option<u64> {
        if self.complete(mapping) { Some(offset) } else { self.best }
    }

    /// Whether a base has been compared to its end.
    fn complete(&self, mapping: &Mapping) -> bool {
        let fits =
            |(bit, pattern): (usize, &Pattern)| self.alive >> bit & 1 == 1 && pattern.text.len() == self.at;
        mapping.from.iter().enumerate().any(fits)
    }
}

/// A name that a scan has passed: where it stands in the chunk, or what is left
/// of it when the chunk has gone.
#[derive(Debug, Clone, Default)]
enum Name {
    /// In the current chunk.
    Here(Range<usize>),
    /// Judged at the end of its chunk.
    Judged(bool),
    #[default]
    None,
}

/// The beginning of a name whose chunk ended within it.
#[derive(Debug, Clone, Default)]
struct Carried(Vec<u8>);

impl Carried {
    /// Longer than any name of FHIR's, with every character escaped.
    const MOST: usize = 1024;

    fn extend(&mut self, bytes: &[u8]) {
        let room = Self::MOST.saturating_sub(self.0.len());
        self.0.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
    }
}

#[cfg(test)]
mod differential;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BACKEND: &str = "http://upstream.internal/fhir";
    const PUBLIC: &str = "https://gw.test/fhir";

    fn mapping() -> Mapping {
        Mapping::new(&[BACKEND, "http://upstream.internal:8080/fhir/v2/"], PUBLIC).unwrap()
    }

    fn whole(text: &str, format: Format) -> Result<String, Broken> {
        let edits = edits(text.as_bytes(), format, (&mapping(), is_uri), &mut Patients::default())?;
        Ok(String::from_utf8(edits.apply(text.as_bytes())).unwrap())
    }

    fn streamed(text: &[u8], format: Format, cuts: &[usize]) -> Result<Vec<u8>, Broken> {
        let mut rewriter = Rewriter::new(format, Arc::new(mapping()), is_uri);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
        cuts.sort_unstable();
        cuts.push(text.len());
        let (mut out, mut at) = (Vec::new(), 0);
        for cut in cuts {
            let chunk = Bytes::copy_from_slice(&text[at..cut]);
            rewriter.push(chunk, &mut |bytes| out.extend_from_slice(&bytes))?;
            at = cut;
        }
        let most = 16 * (mapping().longest() + 128);
        assert!(rewriter.held() <= most, "holds {} bytes", rewriter.held());
        rewriter.finish().map(|()| out)
    }

    /// The expected form of a value inside a uri element; `None`: untouched.
    const VALUES: &[(&str, Option<&str>)] = &[
        ("http://upstream.internal/fhir", Some("https://gw.test/fhir")),
        ("http://upstream.internal/fhir/", Some("https://gw.test/fhir/")),
        ("http://upstream.internal/fhir/Patient/1", Some("https://gw.test/fhir/Patient/1")),
        ("http://upstream.internal/fhir?_getpages=1", Some("https://gw.test/fhir?_getpages=1")),
        ("http://upstream.internal/fhir#a", Some("https://gw.test/fhir#a")),
        ("http://upstream.internal/fhir|1.0", Some("https://gw.test/fhir|1.0")),
        ("HTTP://Upstream.INTERNAL/fhir/Patient/1", Some("https://gw.test/fhir/Patient/1")),
        ("http://upstream.internal:80/fhir/Patient/1", Some("https://gw.test/fhir/Patient/1")),
        ("http://upstream.internal:8080/fhir/v2/Patient/1", Some("https://gw.test/fhir/Patient/1")),
        ("http://upstream.internal:8080/fhir/v3", None),
        ("http://upstream.internal/FHIR/Patient/1", None),
        ("http://upstream.internal/fhirx", None),
        ("http://upstream.internal/fhi", None),
        ("http://upstream.internal.evil/fhir", None),
        ("http://upstream.internal:81/fhir", None),
        ("https://upstream.internal/fhir/Patient/1", None),
        (" http://upstream.internal/fhir", None),
        ("urn:uuid:1", None),
        ("Patient/http://upstream.internal/fhir", None),
        ("", None),
        ("h", None),
    ];

    #[test]
    fn bases_are_replaced_at_boundaries() {
        for (value, means) in VALUES {
            let means = means.unwrap_or(value);
            let json = |value: &str| format!("{{\"reference\":\"{value}\",\"display\":\"{BACKEND}\"}}");
            assert_eq!(whole(&json(value), Format::Json).as_deref(), Ok(&*json(means)));
            let xml =
                |value: &str| format!("<a><reference value=\"{value}\"/><display value='{BACKEND}'/></a>");
            assert_eq!(whole(&xml(value), Format::Xml).as_deref(), Ok(&*xml(means)));
            assert_eq!(mapping().apply(value).as_deref().unwrap_or(value), means);
        }
    }

    #[test]
    fn names_decide_and_spellings_do_not_matter() {
        let table = [
            (Format::Json, r#"{"url":"http:\/\/upstream.internal\/fhir\/a"}"#, true),
            (Format::Json, r#"{"url":"http:\u002f\u002Fupstream.internal/fh\u0069r/a"}"#, true),
            (Format::Json, r#"{"\u0075rl":"http://upstream.internal/fhir/a"}"#, true),
            (Format::Json, r#"{"url":"\u0068ttp://upstream.internal/fhir\u002fa"}"#, true),
            (Format::Json, r#"{"url" : [ "http://upstream.internal/fhir/a" ]}"#, true),
            (Format::Json, r#"{"profile":["x","http://upstream.internal/fhir/a"]}"#, true),
            (Format::Json, r#"{"text":{"div":"http://upstream.internal/fhir/a"}}"#, false),
            (Format::Json, r#"{"data":"http://upstream.internal/fhir/a"}"#, false),
            (Format::Json, r#"{"valueMarkdown":"http://upstream.internal/fhir/a"}"#, false),
            (Format::Json, r#"{"valueUri":"http://upstream.internal/fhir/a"}"#, true),
            (Format::Json, r#"{"url":{"x":"http://upstream.internal/fhir/a"}}"#, false),
            (Format::Json, r#"{"x":"url","y":"http://upstream.internal/fhir/a"}"#, false),
            (Format::Json, r#"["url","http://upstream.internal/fhir/a"]"#, false),
            (Format::Json, r#"{"url":[{"x":1},"http://upstream.internal/fhir/a"]}"#, false),
            (Format::Xml, "<a><url value='http://upstream.internal/fhir/a'/></a>", true),
            (
                Format::Xml,
                "<a><url id='x' value = \"http:&#47;&#x2F;upstream.internal/fhir/a\"></url></a>",
                true,
            ),
            (Format::Xml, "<a><extension url='http://upstream.internal/fhir/a'/></a>", true),
            (Format::Xml, "<a><url id='http://upstream.internal/fhir/a'/></a>", false),
            (Format::Xml, "<a><display value='http://upstream.internal/fhir/a'/></a>", false),
            (Format::Xml, "<a><div><url value='http://upstream.internal/fhir/a'/></div></a>", false),
            (Format::Xml, "<a><div><div/>x</div><url value='http://upstream.internal/fhir/a'/></a>", true),
            (Format::Xml, "<a><!-- <url value='http://upstream.internal/fhir/a'/> --></a>", false),
            (Format::Xml, "<a><b><![CDATA[<url value='http://upstream.internal/fhir/a'/>]]]></b></a>", false),
            (Format::Xml, "<?xml version='1.0'?><a><url value='http://upstream.internal/fhir/a'/></a>", true),
        ];
        let wrong: Vec<_> = table
            .iter()
            .map(|(format, text, means)| (text, whole(text, *format), *means))
            .filter(|(text, got, means)| match got {
                Ok(got) if *means => !got.contains(PUBLIC),
                Ok(got) => got != *text,
                Err(_) => true,
            })
            .collect();
        assert!(wrong.is_empty(), "misread: {wrong:#?}");
    }

    /// RESP-021: what was cut short gets no clean end.
    #[test]
    fn documents_that_end_early_or_wrongly_are_noticed() {
        let table = [
            (Format::Json, "{}", Ok(())),
            (Format::Json, "[]\n", Ok(())),
            (Format::Json, "", Err(Broken::Truncated)),
            (Format::Json, " ", Err(Broken::Truncated)),
            (Format::Json, "{", Err(Broken::Truncated)),
            (Format::Json, "{\"url\":\"http:", Err(Broken::Truncated)),
            (Format::Json, "{\"a\":[1}", Err(Broken::Unbalanced)),
            (Format::Json, "{}}", Err(Broken::Unbalanced)),
            (Format::Json, "{}{}", Err(Broken::Malformed)),
            (Format::Json, "{\"a\n\":1}", Err(Broken::Malformed)),
            (Format::Xml, "<a/>\n", Ok(())),
            (Format::Xml, "<a></a>", Ok(())),
            (Format::Xml, "", Err(Broken::Truncated)),
            (Format::Xml, "<a>", Err(Broken::Truncated)),
            (Format::Xml, "<a/", Err(Broken::Truncated)),
            (Format::Xml, "<a></a", Err(Broken::Truncated)),
            (Format::Xml, "<a></a></a>", Err(Broken::Unbalanced)),
            (Format::Xml, "<a/><a/>", Err(Broken::Malformed)),
            (Format::Xml, "<!DOCTYPE a><a/>", Err(Broken::Malformed)),
        ];
        let wrong: Vec<_> = table
            .into_iter()
            .map(|(format, text, means)| (text, streamed(text.as_bytes(), format, &[]).map(drop), means))
            .filter(|(_, got, means)| got != means)
            .collect();
        assert!(wrong.is_empty(), "misread: {wrong:#?}");
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(streamed(deep(128).as_bytes(), Format::Json, &[]).is_ok());
        assert_eq!(streamed(deep(129).as_bytes(), Format::Json, &[]), Err(Broken::TooDeep));
    }

    #[test]
    fn bases_that_cannot_be_looked_for_are_refused() {
        for base in [
            "",
            "fhir",
            "ftp://h/fhir",
            "http://",
            "http://h/a?b",
            "http://h/a#b",
            "http://h/a b",
            "http:///a",
        ] {
            assert!(Mapping::new(&[base], PUBLIC).is_err(), "{base}");
            assert!(Mapping::new(&[PUBLIC], base).is_err(), "{base}");
        }
        assert!(Mapping::new(&["http://[::1]:8080/fhir/"], PUBLIC).is_ok());
        assert!(Mapping::new(&[], PUBLIC).is_err());
    }

    #[test]
    fn untouched_bytes_are_slices_of_the_chunk() {
        let chunk = Bytes::from(format!("{{\"a\":\"b\",\"url\":\"{BACKEND}/x\",\"c\":1}}"));
        let mut parts = Vec::new();
        let mut rewriter = Rewriter::new(Format::Json, Arc::new(mapping()), is_uri);
        rewriter.push(chunk.clone(), &mut |bytes| parts.push(bytes)).unwrap();
        rewriter.finish().unwrap();
        let within = |part: &Bytes| chunk.as_ptr_range().contains(&part.as_ptr());
        assert_eq!(parts.iter().map(within).collect::<Vec<_>>(), [true, false, true]);
    }

    /// A member with a value that is, or is nearly, one of the bases.
    fn member() -> impl Strategy<Value = (String, String)> {
        let value = prop_oneof![
            prop::sample::select(VALUES).prop_map(|(value, _)| value.to_owned()),
            "[a-z/\\\\\"&<é]{0,12}",
            (0..VALUES.len(), 0usize..60).prop_map(|(at, cut)| VALUES[at].0.chars().take(cut).collect()),
        ];
        (prop::sample::select(vec!["reference", "url", "display", "div", "data", "fullUrl"]), value)
            .prop_map(|(name, value)| (name.to_owned(), value))
    }

    fn in_json(members: &[(String, String)], spelling: u8) -> String {
        let spelt = |text: &str| {
            let mut out = Vec::new();
            escape_json_into(text, &mut out);
            let out = String::from_utf8(out).unwrap();
            match spelling {
                0 => out,
                1 => out.replace('/', "\\/"),
                _ => out.replace('/', "\\u002f").replace('h', "\\u0068"),
            }
        };
        let items: Vec<_> = members
            .iter()
            .map(|(name, value)| format!("{{ \"{}\":\"{}\", \"n\":[1,\"x\"]}}", spelt(name), spelt(value)))
            .collect();
        format!("{{\"entry\":[{}]}}", items.join(","))
    }

    fn in_xml(members: &[(String, String)], spelling: u8) -> String {
        let spelt = |text: &str| {
            let mut out = Vec::new();
            escape_xml_into(text, &mut out);
            let out = String::from_utf8(out).unwrap();
            if spelling == 0 { out } else { out.replace('/', "&#x2F;").replace('h', "&#104;") }
        };
        let items: Vec<_> = members
            .iter()
            .map(|(name, value)| format!("<{name} id='a' value=\"{}\"/><!-- c -->", spelt(value)))
            .collect();
        format!("<entry>{}</entry>", items.concat())
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(
            members in prop::collection::vec(member(), 0..6),
            spelling in 0u8..3, cuts in prop::collection::vec(any::<usize>(), 0..12),
        ) {
            let bodies = [(Format::Json, in_json(&members, spelling)), (Format::Xml, in_xml(&members, spelling))];
            for (format, text) in bodies {
                let expected = whole(&text, format).map(String::into_bytes);
                prop_assert!(expected.is_ok(), "{}", text);
                prop_assert_eq!(&streamed(text.as_bytes(), format, &cuts), &expected);
                let each: Vec<_> = (0..text.len()).collect();
                prop_assert_eq!(&streamed(text.as_bytes(), format, &each), &expected);
            }
        }

        /// The scan finds what a reader of whole documents would find.
        #[test]
        fn agrees_with_a_rewriting_of_the_tree(members in prop::collection::vec(member(), 0..6), spelling in 0u8..3) {
            let rewritten: Vec<_> = members
                .iter()
                .map(|(name, value)| {
                    let new = if is_uri(name) { mapping().apply(value) } else { None };
                    (name.clone(), new.unwrap_or_else(|| value.clone()))
                })
                .collect();
            let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            let got = whole(&in_json(&members, spelling), Format::Json).unwrap();
            prop_assert_eq!(parse(&got), parse(&in_json(&rewritten, 0)));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), cuts in prop::collection::vec(any::<usize>(), 0..5)) {
            for format in [Format::Json, Format::Xml] {
                let _ = streamed(&bytes, format, &cuts);
                let _ = streamed(&[b"{\"url\":\"http".as_slice(), &bytes].concat(), format, &cuts);
                let _ = streamed(&[b"<url value='http".as_slice(), &bytes].concat(), format, &cuts);
            }
        }
    }
}
