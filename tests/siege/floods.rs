//! Floods over HTTP/2, each bounded: the gateway ends the connection or goes on without growing, and serves others meanwhile
//! (HTTP-14; DOS-001 … DOS-006, CVE-2023-44487, CVE-2024-27316, CVE-2025-8671).

use std::time::Duration;

use crate::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, H2, HEADERS, Outcome, PING, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, block, frame, remembered,
};
use crate::house::House;
use crate::place::{authority, besieged, resident, serves, t1};

const LIMITS: &str = "[limits]\nheader_timeout = \"2s\"\nidle_timeout = \"2s\"";

/// What a flood may cost in memory, in KiB. A debug build is not small.
const GROWTH: u64 = 32 * 1024;

/// Longest until a connection has ended that must end.
const SOON: Duration = Duration::from_secs(20);

fn head(house: &House, method: &str, target: &str) -> Vec<u8> {
    let (authority, token) = (authority(house), format!("Bearer {}", t1(house)));
    block(&[
        (":method", method),
        (":scheme", "https"),
        (":authority", &authority),
        (":path", target),
        ("authorization", &token),
    ])
}

/// Memory before, and a look at it and at the others after.
struct Watch {
    before: u64,
}

impl Watch {
    fn begin(house: &House) -> Self {
        Self { before: resident(house) }
    }

    async fn end(self, house: &House, name: &str) {
        let grown = resident(house).saturating_sub(self.before);
        house.findings.check(grown < GROWTH, format!("{name}: grew by {grown} KiB"));
        serves(house, name).await;
    }
}

fn stream(number: usize) -> u32 {
    u32::try_from(number * 2 + 1).expect("a stream")
}

/// Requests that are taken back, by the client or by an error that it provokes: 11 is ENHANCE_YOUR_CALM.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_taken_back() {
    let house = besieged(LIMITS).await;
    let head = head(&house, "GET", "/fhir/Patient/p1");
    let opened = |number| frame(HEADERS, END_HEADERS | END_STREAM, stream(number), &head);
    let unfinished = |number| frame(HEADERS, END_HEADERS, stream(number), &head);
    let cancel = |number| frame(RST_STREAM, 0, stream(number), &8_u32.to_be_bytes());
    let nothing = |number| frame(WINDOW_UPDATE, 0, stream(number), &[0; 4]);
    let overflow = |number| frame(WINDOW_UPDATE, 0, stream(number), &0x7fff_ffff_u32.to_be_bytes());
    type Made<'a> = &'a dyn Fn(usize) -> Vec<u8>;
    let table: [(&str, Made<'_>); 4] = [
        ("rapid reset", &|number| [opened(number), cancel(number)].concat()),
        ("MadeYouReset by an empty window update", &|number| [unfinished(number), nothing(number)].concat()),
        ("MadeYouReset by a full window", &|number| [unfinished(number), overflow(number)].concat()),
        ("MadeYouReset by data behind the end", &|number| {
            [opened(number), frame(DATA, 0, stream(number), b"x")].concat()
        }),
    ];
    for (name, made) in table {
        let watch = Watch::begin(&house);
        let mut h2 = H2::open(&house).await;
        h2.flood(3000, made).await;
        let ended = h2.ended(SOON).await;
        house.findings.check(ended.is_some(), format!("{name}: the connection stays"));
        watch.end(&house, name).await;
    }
    house.close();
}

/// One at a time, so that each has begun: they run to their ends, and the connection that leaves so many alone is ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_left_alone_one_by_one() {
    let house = besieged("").await;
    house.demo.fhir.misbehave(pforte::demo::fhir_server::Misbehaviour::Hang);
    let head = head(&house, "GET", "/fhir/Patient/p1");
    let mut h2 = H2::open(&house).await;
    let mut taken = 0;
    for number in 0..400 {
        let both =
            [frame(HEADERS, END_HEADERS | END_STREAM, stream(number), &head), frame(PING, 0, 0, &[1; 8])];
        if !h2.wire.say(&both.concat()).await {
            break;
        }
        // Its ping is answered: the request before it was read.
        let pong = async {
            while let Some(frame) = h2.next().await {
                if frame.kind == PING {
                    return true;
                }
            }
            false
        };
        if !tokio::time::timeout(SOON, pong).await.unwrap_or_default() {
            break;
        }
        taken += 1;
        if !h2.send(RST_STREAM, 0, stream(number), &8_u32.to_be_bytes()).await {
            break;
        }
    }
    let waiting = house.demo.fhir.seen();
    house.findings.check(waiting > 10, format!("only {waiting} requests reached the backend"));
    house.findings.check(
        waiting < 250,
        format!("one connection left {waiting} requests alone at the backend ({taken} taken)"),
    );
    house.demo.fhir.behave();
    drop(h2);
    serves(&house, "requests left alone").await;
    house.close();
}

/// Header blocks without end, and small ones that unpack to large ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_blocks() {
    let house = besieged(LIMITS).await;
    let head = head(&house, "GET", "/fhir/Patient/p1");
    for (name, size) in [("empty CONTINUATION frames", 0), ("CONTINUATION frames of 4 KiB", 4096)] {
        let watch = Watch::begin(&house);
        let mut h2 = H2::open(&house).await;
        h2.send(HEADERS, END_STREAM, 1, &head).await;
        let filler = crate::frames::field(b"x-filler", &vec![b'a'; 4080]);
        let piece = filler.get(..size).unwrap_or(&filler).to_vec();
        h2.flood(5000, |_| frame(CONTINUATION, 0, 1, &piece)).await;
        let ended = h2.ended(SOON).await;
        house.findings.check(ended.is_some(), format!("{name}: the connection stays"));
        watch.end(&house, name).await;
    }
    let watch = Watch::begin(&house);
    let mut h2 = H2::open(&house).await;
    let bomb = [head.clone(), remembered(b"x-bomb", &[b'b'; 3900]), vec![0xbe; 3000]].concat();
    h2.send(HEADERS, END_HEADERS | END_STREAM, 1, &bomb).await;
    let outcome = h2.outcome(1).await;
    let fits = matches!(outcome, Outcome::Status(431) | Outcome::Reset(_));
    house.findings.check(fits, format!("HPACK bomb: {outcome:?}"));
    watch.end(&house, "HPACK bomb").await;
    let many: Vec<u8> =
        (0..2000).flat_map(|n| crate::frames::field(format!("x-{n}").as_bytes(), b"1")).collect();
    let mut h2 = H2::open(&house).await;
    let mut parts = many.chunks(16_000);
    let first =
        [head.as_slice(), parts.next().unwrap_or_default().get(..10_000).unwrap_or_default()].concat();
    h2.send(HEADERS, END_STREAM | END_HEADERS, 1, &first).await;
    let outcome = h2.outcome(1).await;
    let fits = matches!(outcome, Outcome::Status(400 | 431) | Outcome::Reset(_));
    house.findings.check(fits, format!("very many fields: {outcome:?}"));
    house.close();
}

/// Frames that mean nothing, or that want an answer that nobody reads. Bounded in memory; and the connection, on which no
/// request is ever complete, ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_mean_nothing() {
    let house = besieged(LIMITS).await;
    let open = frame(HEADERS, END_HEADERS, 1, &head(&house, "POST", "/fhir/Observation/_search"));
    let (ping, settings) = (frame(PING, 0, 0, &[0; 8]), frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]));
    let table = [
        ("empty DATA", open.clone(), frame(DATA, 0, 1, &[])),
        ("padded DATA", open, frame(DATA, 8, 1, &[8, 0, 0, 0, 0, 0, 0, 0, 0])),
        ("PING", Vec::new(), ping),
        ("SETTINGS", Vec::new(), settings),
        ("PRIORITY", Vec::new(), frame(2, 0, 1, &[0, 0, 0, 3, 1])),
        ("unknown frames", Vec::new(), frame(0xfa, 0, 0, &[0; 16])),
        ("window updates", Vec::new(), frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
    ];
    for (name, first, again) in table {
        let watch = Watch::begin(&house);
        let mut h2 = H2::open(&house).await;
        h2.wire.say(&first).await;
        h2.flood(20_000, |_| again.clone()).await;
        let ended = h2.ended(SOON).await;
        house.findings.check(ended.is_some(), format!("{name}: the connection stays"));
        watch.end(&house, name).await;
    }
    house.close();
}

/// Windows that are never opened, or opened beyond all bounds: 1 is PROTOCOL_ERROR, 3 FLOW_CONTROL_ERROR.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows() {
    let house = besieged(LIMITS).await;
    let head = head(&house, "GET", "/fhir/Patient/p1");
    for (name, step) in [("an empty update", 0_u32), ("too large a window", 0x7fff_ffff)] {
        let mut h2 = H2::open(&house).await;
        h2.send(WINDOW_UPDATE, 0, 0, &step.to_be_bytes()).await;
        let ended = h2.ended(SOON).await;
        house.findings.check(matches!(ended, Some(1 | 3)), format!("{name}: ended with {ended:?}"));
    }
    // Answers that may never be sent, of a hundred requests, and no byte from there on.
    let watch = Watch::begin(&house);
    let mut h2 = H2::with(&house, &[(4, 0)]).await;
    h2.flood(100, |number| frame(HEADERS, END_HEADERS | END_STREAM, stream(number), &head)).await;
    let ended = h2.ended(SOON).await;
    house.findings.check(ended.is_some(), "answers without a window: the connection stays");
    watch.end(&house, "windows that stay shut").await;
    // The same one byte at a time.
    let mut h2 = H2::with(&house, &[(4, 1)]).await;
    h2.send(HEADERS, END_HEADERS | END_STREAM, 1, &head).await;
    let outcome = h2.outcome(1).await;
    house.findings.check(outcome == Outcome::Status(200), format!("a window of one byte: {outcome:?}"));
    let ended = h2.ended(SOON).await;
    house.findings.check(ended.is_some(), "a window of one byte: the connection stays");
    serves(&house, "windows").await;
    house.close();
}
