//! The hostile catalogue over real TLS, by HTTP/1.1 and HTTP/2, before a backend that does whatever it is told and
//! answers searches with everybody's records. `hostile/README.md` says how a case is written.
//!
//! Cases of the classes h1-framing, h2-frames, dos, fault and tls have tests of their own; which case is shown where,
//! when not here, says `hostile/elsewhere.rs`, and a case that is neither run nor named there is a failure.
#![cfg(test)]

#[path = "hostile/answers.rs"]
mod answers;
#[path = "hostile/backend.rs"]
mod backend;
#[path = "hostile/case.rs"]
mod case;
#[path = "hostile/elsewhere.rs"]
mod elsewhere;
#[path = "hostile/fixture.rs"]
mod fixture;
#[path = "hostile/grants.rs"]
mod grants;
#[path = "hostile/house.rs"]
mod house;
#[path = "hostile/judge.rs"]
mod judge;
#[expect(dead_code, unused_imports, reason = "the journeys use what is not used here")]
mod support;
#[path = "hostile/wire.rs"]
mod wire;

use std::collections::BTreeMap;

use case::Case;
use house::House;
use judge::Tally;
use wire::Protocol;

/// Every case that is a request, each over both protocols.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_of_the_catalogue() {
    let house = House::open().await;
    let cases = Case::all();
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    let mut unknown = Vec::new();
    for case in &cases {
        let tally = tallies.entry(case.class.clone()).or_default();
        if elsewhere::of(&case.id, &case.class).is_some() {
            tally.elsewhere += 1;
            continue;
        }
        let Some(asked) = case.asked(&house) else {
            unknown.push(case.id.clone());
            continue;
        };
        for protocol in [Protocol::Http1, Protocol::Http2] {
            if protocol == Protocol::Http2 && !asked.fits_http2() {
                continue;
            }
            house.backend.say(answers::of(&case.id));
            let Some(answer) = wire::send(&house, &asked, protocol).await else { continue };
            let seen = house.backend.seen();
            judge::hold(&house, case, &asked, (protocol, &answer), &seen);
            tally.count(&answer, &seen);
        }
    }
    house.findings.check(unknown.is_empty(), format!("neither run nor shown elsewhere: {unknown:?}"));
    let expected = judge::table(&tallies);
    let kept = include_str!("../docs/hostile-table.md");
    house
        .findings
        .check(kept == expected, format!("docs/hostile-table.md is not current; it should be:\n{expected}"));
    house.close();
}

/// RESP-002 … RESP-006, CTRL-012, CTRL-027: a page is reached by the link that the gateway gave to this token, and by
/// nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages() {
    let house = House::open().await;
    let own = grants::holder("T1").expect("a token");
    let ask = |target: &str, holder: &grants::Holder| case::Asked::get(&house, target, holder);
    let (http, backend) = (Protocol::Http1, &house.backend);
    let found = wire::send(&house, &ask("/fhir/Observation?_count=2", &own), http).await.expect("an answer");
    let bundle: serde_json::Value = serde_json::from_str(&found.body).expect("a bundle");
    let link = bundle["link"].as_array().into_iter().flatten().find(|it| it["relation"] == "next");
    let link = link.and_then(|it| it["url"].as_str()).expect("a next page");
    let target = link.strip_prefix(&format!("https://{}", house.authority())).expect("a link to the gateway");
    backend.forget();
    let page = wire::send(&house, &ask(target, &own), http).await.expect("an answer");
    let clean = page.status == 200
        && !page.body.contains(fixture::VICTIM)
        && !page.body.contains(&backend.address.to_string());
    house
        .findings
        .check(clean && backend.seen().len() == 1, format!("own page: {} {}", page.status, page.body));
    let foreign = grants::holder("patient/Patient.rs only").expect("a token");
    let raw = "_getpages=11111111-2222-3333-4444-555555555555&_getpagesoffset=20&_count=20";
    for (target, holder) in [
        (target.to_owned(), &foreign),
        (format!("{target}&patient=p2"), &own),
        (format!("{target}x"), &own),
        (format!("/fhir?{raw}&_bundletype=searchset"), &own),
        (format!("/fhir?{raw}&_bundletype=transaction"), &own),
        (format!("/fhir?{raw}&patient=p2"), &own),
        (format!("http://{}/fhir?{raw}", backend.address), &own),
    ] {
        backend.forget();
        let answer = wire::send(&house, &ask(&target, holder), http).await.expect("an answer");
        let refused = matches!(answer.status, 400 | 403 | 404 | 410 | 421) && backend.seen().is_empty();
        house
            .findings
            .check(refused, format!("{target}: expected a refusal, got {} {}", answer.status, answer.body));
    }
    house.close();
}
