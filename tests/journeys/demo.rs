//! `pforte demo`: starts at once, and every line it prints works when it is pasted.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::house::free;

/// The demo, ended when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Contract §1: permitted and narrowed lines are 200, refused ones 401, 403 or 404, discovery needs no token.
#[test]
fn printed_lines_work() {
    let address = free();
    let begun = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_pforte"))
        .args(["demo", "--listen", &address.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the demo starts");
    let out = child.stdout.take().expect("its output");
    let mut running = Running(child);
    let mut lines = Vec::new();
    for line in BufReader::new(out).lines() {
        let line = line.expect("a line of text");
        let last = line.ends_with("/app");
        lines.push(line);
        if last {
            break;
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(30), "the demo took {:?}", begun.elapsed());
    let mut wrong = Vec::new();
    let mut tried = 0;
    for (place, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("curl ")) {
        let words = lines.get(place.wrapping_sub(1)).cloned().unwrap_or_default();
        let expected = match () {
            () if words.contains("refused, 401") => "401",
            () if words.contains("refused, 403") => "403",
            () if words.contains("refused, 404") => "404",
            () => "200",
        };
        tried += 1;
        let shell = format!("{line} --max-time 20 --output /dev/null --write-out '%{{http_code}}'");
        let ran = Command::new("sh").args(["-c", &shell]).output().expect("a shell");
        let got = String::from_utf8_lossy(&ran.stdout).into_owned();
        if got != expected || !ran.status.success() {
            wrong.push(format!("{words}\n    {line}\n    expected {expected}, got {got} {}", ran.status));
        }
        let bare = Command::new("sh").args(["-c", line]).output().expect("a shell");
        if bare.stdout.is_empty() || !bare.status.success() {
            wrong.push(format!(
                "{line}\n    expected a body when pasted, got {} {:?}",
                bare.status, bare.stderr
            ));
        }
    }
    assert!(tried >= 5, "expected at least five lines to paste, got {tried}:\n{}", lines.join("\n"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let told = Command::new("sh").args(["-c", &format!("kill -TERM {}", running.0.id())]).status();
    assert!(told.expect("a shell").success());
    let status = running.0.wait().expect("the demo ends");
    assert_eq!(status.code(), Some(0), "expected exit code 0 after SIGTERM");
}
