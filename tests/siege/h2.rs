//! HTTP/2 as frames: class `h2-frames` of the hostile catalogue (RFC 9113 §8, HTTP-3, HTTP-6). What HTTP/1.1 could read
//! otherwise never gets through, whatever a library would have refused to send.

use serde_json::Value;

use crate::cases::{self, unescaped};
use crate::frames::{DATA, END_HEADERS, END_STREAM, H2, HEADERS, Outcome, field};
use crate::house::House;
use crate::place::{authority, besieged, serves, t1};

/// Header block, body and trailers of a row.
struct Made {
    head: Vec<u8>,
    body: Option<Vec<u8>>,
    trailers: Option<Vec<u8>>,
}

fn made(house: &House, case: &Value) -> Made {
    let request = &case["request"];
    let filled = |text: &str| {
        let text = text.replace("gw.test", &authority(house)).replace("<TS>", &house.token("system/*.rs"));
        unescaped(&text)
    };
    let (mut head, mut trailers) = (Vec::new(), None);
    for (name, value) in request["pseudo"].as_object().into_iter().flatten() {
        head.extend(field(name.as_bytes(), &filled(value.as_str().unwrap_or_default())));
    }
    let mut fields = Vec::new();
    for (name, value) in request["headers"].as_object().into_iter().flatten() {
        match (name.strip_suffix("(second)"), value) {
            (Some(pseudo), value) => {
                head.extend(field(pseudo.as_bytes(), &filled(value.as_str().unwrap_or_default())));
            }
            (None, Value::Array(several)) => {
                for one in several {
                    fields.extend(field(name.as_bytes(), one.as_str().unwrap_or_default().as_bytes()));
                }
            }
            (None, Value::Object(behind)) => {
                let each = |(name, value): (&String, &Value)| {
                    field(name.as_bytes(), &filled(value.as_str().unwrap_or_default()))
                };
                trailers = Some(behind.iter().flat_map(each).collect());
            }
            (None, value) => {
                fields.extend(field(&unescaped(name), &filled(value.as_str().unwrap_or_default())));
            }
        }
    }
    head.extend(field(b"authorization", format!("Bearer {}", t1(house)).as_bytes()));
    if request["method"] == "POST" {
        head.extend(field(b"content-type", b"application/x-www-form-urlencoded"));
    }
    head.extend(fields);
    let body = request["body"].as_str().map(unescaped);
    Made { head, body, trailers }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests() {
    let house = besieged("").await;
    for case in cases::of("h2-frames") {
        house.demo.fhir.forget();
        let made = made(&house, &case);
        let mut h2 = H2::open(&house).await;
        let last = if made.body.is_none() { END_STREAM } else { 0 };
        h2.send(HEADERS, END_HEADERS | last, 1, &made.head).await;
        if let Some(body) = &made.body {
            let last = if made.trailers.is_none() { END_STREAM } else { 0 };
            h2.send(DATA, last, 1, body).await;
        }
        if let Some(trailers) = &made.trailers {
            h2.send(HEADERS, END_HEADERS | END_STREAM, 1, trailers).await;
        }
        let outcome = h2.outcome(1).await;
        judge(&house, &case, outcome);
    }
    serves(&house, "h2-frames").await;
    house.close();
}

fn judge(house: &House, case: &Value, outcome: Outcome) {
    let (id, expected) = (case["id"].as_str().unwrap_or_default(), &case["expected"]);
    let wrong = |what: String| house.findings.add(format!("{id}: {what}\n    {}", case["request"]));
    let allowed: Vec<&Value> = expected["status"].as_array().into_iter().flatten().collect();
    let or_400 = expected["note"].as_str().is_some_and(|note| note.contains("or 400"));
    let fits = match outcome {
        Outcome::Reset(_) => allowed.iter().any(|status| *status == "reset"),
        Outcome::Status(got) => {
            allowed.iter().any(|status| status.as_u64() == Some(got.into())) || (or_400 && got == 400)
        }
        Outcome::Nothing => false,
    };
    if !fits {
        wrong(format!("expected {allowed:?}, got {outcome:?}"));
    }
    let seen = house.demo.fhir.log();
    let most = usize::from(expected["upstream"] != "none");
    if seen.len() > most {
        wrong(format!("expected at most {most} requests at the backend, got {}", seen.len()));
    }
    for request in seen {
        let smuggled = request.target.contains("p2")
            || ["transfer_encoding", "transfer-encoding", "trailer"]
                .iter()
                .any(|name| request.headers.contains_key(*name))
            || request.headers.get_all("authorization").iter().count() > 1
            || request.headers.get("x-a").is_some_and(|value| value != "b");
        if smuggled {
            wrong(format!("the backend saw {} {:?}", request.target, request.headers));
        }
    }
}
