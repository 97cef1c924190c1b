//! `openssl` and `sslscan`, asked the way an auditor asks them.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::house::{HOST, House};

fn run(program: &str, arguments: &[&str], input: &str) -> (bool, String) {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| {
        panic!("`{program}` cannot be run ({error}): install Debian's package of that name, as ./test does")
    });
    // A program that has ended takes no input.
    drop(child.stdin.take().expect("a pipe").write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("an end");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (output.status.success(), text.concat())
}

/// A handshake by `openssl s_client` with these options; what it says when the gateway agrees.
pub fn s_client(house: &House, options: &[&str]) -> Option<String> {
    client(house, options, "")
}

/// The same with a request and its answer, so that what comes after the handshake is told too.
pub fn s_client_asks(house: &House, options: &[&str]) -> Option<String> {
    let host = format!("{HOST}:{}", house.address.port());
    let request = format!("GET /fhir/Patient/1 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    client(house, &[options, &["-ign_eof"]].concat(), &request)
}

fn client(house: &House, options: &[&str], input: &str) -> Option<String> {
    let address = house.address.to_string();
    let ca = house.folder.join("ca.pem");
    let mut arguments = vec!["s_client", "-connect", &address, "-servername", HOST, "-verify_return_error"];
    arguments.extend(["-CAfile", ca.to_str().expect("a path")]);
    arguments.extend(options);
    let (agreed, text) = run("openssl", &arguments, input);
    let refused = text.contains("alert") || text.contains("handshake failure");
    assert!(agreed || refused, "{options:?}: neither agreed nor refused:\n{text}");
    agreed.then_some(text)
}

/// The suites of TLS 1.2 and before that the gateway agrees to, in its order or the client's: what it takes is offered no
/// more, until it takes none.
pub fn suites_before_13(house: &House) -> Vec<String> {
    let (_, all) = run("openssl", &["ciphers", "-tls1_2", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"], "");
    let mut offered: Vec<&str> = all.trim().split(':').collect();
    assert!(offered.len() > 60, "openssl offers less than it should: {offered:?}");
    let mut taken = Vec::new();
    loop {
        let list = format!("{}:@SECLEVEL=0", offered.join(":"));
        let Some(text) = s_client(house, &["-tls1_2", "-cipher", &list]) else { return taken };
        let suite = text.split("Cipher is ").nth(1).and_then(|rest| rest.split_whitespace().next());
        let suite = suite.expect("a suite").to_owned();
        offered.retain(|name| *name != suite);
        taken.push(suite);
    }
}

/// Which of these the gateway agrees to when each is all that a client offers.
pub fn agreed<'a>(house: &House, version: &str, option: &str, each: &[&'a str]) -> Vec<&'a str> {
    let agrees = |one: &str| s_client(house, &[version, option, one, "-cipher", "ALL:@SECLEVEL=0"]).is_some();
    each.iter().copied().filter(|one| agrees(one)).collect()
}

/// What sslscan finds: `protocol TLSv1.2`, `cipher TLSv1.3 TLS_…`, `group TLSv1.3 x25519`, and faults by their names.
pub fn sslscan(house: &House) -> BTreeSet<String> {
    let address = house.address.to_string();
    let sni = format!("--sni-name={HOST}");
    let (done, text) = run("sslscan", &["--xml=-", "--no-colour", &sni, &address], "");
    assert!(done && text.contains("</ssltest>"), "{text}");
    text.lines().filter_map(found).collect()
}

fn found(line: &str) -> Option<String> {
    let of = |name: &str| {
        let rest = line.split(&format!(" {name}=\"")).nth(1)?;
        rest.split('"').next()
    };
    match line.trim_start().strip_prefix('<')?.split_whitespace().next()? {
        "protocol" if of("enabled") == Some("1") => {
            Some(format!("protocol {}{}", of("type")?, of("version")?))
        }
        "cipher" => Some(format!("cipher {} {}", of("sslversion")?, of("cipher")?)),
        "group" => Some(format!("group {} {}", of("sslversion")?, of("name")?.split(' ').next()?)),
        "renegotiation" if of("supported") == Some("1") => Some("renegotiation".to_owned()),
        "compression" if of("supported") == Some("1") => Some("compression".to_owned()),
        "heartbleed" if of("vulnerable") == Some("1") => Some("heartbleed".to_owned()),
        _ => None,
    }
}
