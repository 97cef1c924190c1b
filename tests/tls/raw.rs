//! Bytes that no well-behaved client sends, and names that do not fit. After each the next client is served, and the log
//! tells of no panic.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use crate::house::{HOST, House, OTHER, Plan};

/// A record: type, legacy version, length, content.
fn record(kind: u8, version: [u8; 2], content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("a record").to_be_bytes();
    [&[kind], &version[..], &length, content].concat()
}

fn with_length(content: &[u8]) -> Vec<u8> {
    [&u16::try_from(content.len()).expect("short").to_be_bytes()[..], content].concat()
}

/// A ClientHello with some suites, P-256, signatures, and whatever extensions come on top, without its record.
fn hello(version: [u8; 2], more: &[u8]) -> Vec<u8> {
    let suites = [0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x09, 0xc0, 0x13, 0x00, 0x2f, 0x00, 0x35, 0x00, 0x0a];
    let groups = [&[0, 10][..], &with_length(&with_length(&[0, 23]))].concat();
    let signatures = [&[0, 13][..], &with_length(&with_length(&[4, 3, 4, 1, 2, 3, 2, 1]))].concat();
    let extensions =
        if version == [3, 0] { Vec::new() } else { with_length(&[&groups[..], &signatures, more].concat()) };
    let body = [&version[..], &[7; 32], &[0], &with_length(&suites), &[1, 0], &extensions].concat();
    let length = u32::try_from(body.len()).expect("short").to_be_bytes();
    [&[1], &length[1..], &body].concat()
}

/// A ClientHello that a good client sends, without its record.
fn good_hello(house: &House) -> Vec<u8> {
    let name = ServerName::try_from(HOST).expect("a name");
    let mut client = ClientConnection::new(Arc::new(house.client()), name).expect("a client");
    let mut wire = Vec::new();
    client.write_tls(&mut wire).expect("written");
    wire.split_off(5)
}

/// All that comes back until the gateway closes, which it must.
fn sent(house: &House, bytes: &[u8]) -> Vec<u8> {
    let mut stream = house.wire().expect("a connection");
    // The gateway may close before it has read all.
    drop(stream.write_all(bytes));
    let mut seen = Vec::new();
    match stream.read_to_end(&mut seen) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "still open"),
    }
    seen
}

/// What a fatal alert says; `None` when something else came.
fn alert(seen: &[u8]) -> Option<u8> {
    match seen {
        [21, 3, _, 0, 2, 2, told] => Some(*told),
        _ => None,
    }
}

const HANDSHAKE_FAILURE: u8 = 40;
const PROTOCOL_VERSION: u8 = 70;

/// TLS-001, TLS-002, TLS-009.
#[test]
fn hostile_bytes() {
    let house = House::open(&Plan::default());
    let client = Arc::new(house.client());
    let serves = |after: &str| {
        let asked = house.ask(&client).unwrap_or_else(|error| panic!("after {after}: {error}"));
        assert_eq!(asked.status(), "401", "after {after}");
    };
    let before = [
        // SSLv3 has no extensions, and so no groups or signatures in common.
        ("SSLv3", [3, 0], HANDSHAKE_FAILURE),
        ("TLS 1.0", [3, 1], PROTOCOL_VERSION),
        ("TLS 1.1", [3, 2], PROTOCOL_VERSION),
    ];
    for (name, version, told) in before {
        let seen = sent(&house, &record(22, version, &hello(version, &[])));
        assert_eq!(alert(&seen), Some(told), "{name}: {seen:?}");
        serves(name);
    }
    // The same with TLS 1.2: none of the suites goes with an ECDSA key but the first, and that is agreed on.
    let seen = sent(&house, &record(22, [3, 3], &hello([3, 3], &[])));
    assert_eq!(seen.first(), Some(&22), "TLS 1.2: {seen:?}");

    let plain = sent(&house, b"GET /fhir/Patient/1?secret HTTP/1.1\r\nHost: gw.test\r\n\r\n");
    assert!(!plain.windows(4).any(|four| four == b"HTTP"), "plain HTTP is answered: {plain:?}");
    serves("plain HTTP");

    let whole = good_hello(&house);
    let crumbs: Vec<u8> = whole.iter().flat_map(|byte| record(22, [3, 1], &[*byte])).collect();
    let seen = sent(&house, &crumbs);
    assert_eq!(seen.first(), Some(&22), "in records of one byte: {:?}", seen.get(..7));
    serves("records of one byte");

    // The extensions of `hello` take 22 bytes, a header 4: together as many as two bytes can count.
    let filler = [&[0x12, 0x34][..], &with_length(&vec![0; 65_535 - 22 - 4])].concat();
    let large = hello([3, 3], &filler);
    let records: Vec<u8> = large.chunks(16_384).flat_map(|part| record(22, [3, 1], part)).collect();
    let seen = sent(&house, &records);
    // The gateway hangs up before it has read all, so that its alert may not arrive.
    assert!(seen.is_empty() || alert(&seen).is_some(), "64 KiB of extensions: {seen:?}");
    serves("64 KiB of extensions");

    let oddities: [(&str, Vec<u8>); 8] = [
        ("nothing", Vec::new()),
        ("zeros", vec![0; 300]),
        ("SSLv2", vec![0x80, 0x2e, 1, 0, 2, 0, 21, 0, 0, 0, 16, 1, 0, 0x80, 2, 0, 0x80]),
        ("an empty record", record(22, [3, 1], &[])),
        ("a record too long", [&[22, 3, 1, 0xff, 0xff][..], &[1; 70_000]].concat()),
        ("a hello too long", record(22, [3, 1], &[1, 0xff, 0xff, 0xff])),
        ("half a hello", record(22, [3, 1], &whole[..whole.len() / 2])),
        ("early application data", record(23, [3, 3], &[0; 100])),
    ];
    for (name, bytes) in oddities {
        let seen = sent(&house, &bytes);
        assert!(seen.is_empty() || alert(&seen).is_some(), "{name}: {seen:?}");
        serves(name);
    }
    assert!(!house.log().contains("panicked"), "{}", house.log());
}

/// TLS-6: under BSI TLS 1.2 needs the Extended Master Secret.
#[test]
fn extended_master_secret() {
    let secret = [&[0, 23][..], &with_length(&[])].concat();
    for (tls, demanded) in [("", false), ("suites = \"bsi-tr-02102-2\"", true)] {
        let house = House::open(&Plan { tls, ..Plan::default() });
        let with = sent(&house, &record(22, [3, 3], &hello([3, 3], &secret)));
        assert_eq!(with.first(), Some(&22), "{tls}: {with:?}");
        let without = sent(&house, &record(22, [3, 3], &hello([3, 3], &[])));
        assert_eq!(alert(&without) == Some(HANDSHAKE_FAILURE), demanded, "{tls}: {without:?}");
    }
}

/// TLS-004, TLS-005, TLS-013: every name is shown the one certificate; the authority must be ours and that of the handshake.
#[test]
fn names() {
    let house = House::open(&Plan::default());
    let client = Arc::new(house.client());
    // An address is no server name (RFC 6066 §3), so there a client sends none.
    let table = [
        (HOST, HOST, "401"),
        (HOST, OTHER, "421"),
        (OTHER, HOST, "421"),
        (OTHER, OTHER, "421"),
        ("127.0.0.1", HOST, "401"),
        ("127.0.0.1", "127.0.0.1", "401"),
        ("127.0.0.1", OTHER, "421"),
    ];
    for (sni, host, expected) in table {
        let host = format!("{host}:{}", house.address.port());
        let asked = house.asked(&client, sni, &host).expect("an answer");
        assert_eq!(asked.status(), expected, "{sni} {host}: {}", asked.head);
        let kept = asked.head.contains("strict-transport-security: max-age=31536000\r\n");
        assert!(kept, "{sni} {host}: {}", asked.head);
    }
}
