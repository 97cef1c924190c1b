//! Method, target and query of a request: what is sent on is what was asked below the base, and nothing of it can be read in two
//! ways. Input: `METHOD TARGET`, a newline, and a body.
#![no_main]

use http::Method;
use libfuzzer_sys::fuzz_target;
use pforte::fhir::{Format, SearchQuery, Target, decode};
use pforte_fuzz::{ROUTE, caller, fields, line, passed};

fuzz_target!(|data: &[u8]| {
    let Some((head, body)) = line(data) else { return };
    let Some((method, target)) = head.split_once(' ') else { return };
    let Ok(method) = Method::from_bytes(method.as_bytes()) else { return };
    let _ = decode(target);
    let _ = SearchQuery::parse(target);
    let _ = ROUTE.ask(&method, target, &fields(Format::Json));
    let below = target.strip_prefix("/fhir/").unwrap_or(target);
    let Ok(read) = Target::relative(below) else { return };
    for segment in read.segments() {
        assert!(!matches!(segment.as_str(), "." | ".."), "{segment:?}");
        assert!(!segment.contains(['/', '\\', '\0', ';', '%']), "{segment:?}");
    }
    for scope in ["system/*.cruds", "system/Observation.rs", "patient/*.cruds"] {
        let Some(passage) = passed(&method, below, (Format::Json, body), &caller(scope)) else { continue };
        let Some(sent) = passage.outbound else { continue };
        let sent_target = sent.target();
        assert!(sent_target.bytes().all(|byte| byte.is_ascii_graphic()), "{sent_target:?}");
        assert!(!sent_target.contains(['#', '\\']), "{sent_target:?}");
        let (path, _) = sent_target.split_once('?').unwrap_or((sent_target, ""));
        let path = path.strip_prefix("/fhir").unwrap_or(path).trim_start_matches('/');
        assert!(path.split('/').all(|segment| !matches!(segment, "." | "..")), "{sent_target:?}");
        assert!(!path.contains("//") && !path.contains('%'), "{sent_target:?}");
        // What is sent can be read again.
        let again = sent_target.strip_prefix("/fhir").unwrap_or(sent_target).trim_start_matches('/');
        assert!(Target::relative(again).is_ok(), "{sent_target:?}");
    }
});
