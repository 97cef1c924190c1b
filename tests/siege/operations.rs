//! What operators do while clients come: reload, stop, start anew. Not one request fails by it (HTTP-22; FLT-019 … FLT-023).

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pforte::demo::fhir_server::Misbehaviour;
use tokio::task::JoinSet;

use crate::house::House;
use crate::place::{Asked, Crowd, besieged, descriptors, get, resident, serves, t1, until};
use crate::wire::{PATIENCE, Wire, statuses};

/// Clients that ask until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: JoinSet<Vec<String>>,
}

impl Load {
    /// Over kept connections, of HTTP/2 and HTTP/1.1 as the client likes.
    fn kept(house: &House) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut clients = JoinSet::new();
        for _ in 0..4 {
            let (crowd, token) = (Crowd::of(house), t1(house));
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            clients.spawn(async move {
                let mut failed = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let asked =
                        Asked { method: "GET", target: "Patient/p1", token: &token, id: "", body: "" };
                    match crowd.ask(asked).await {
                        Ok((200, body)) if body.contains("Grant") => {
                            answered.fetch_add(1, Ordering::SeqCst);
                        }
                        other => failed.push(format!("{other:?}")),
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                failed
            });
        }
        Self { stop, answered, clients }
    }

    /// Each over a connection of its own.
    fn fresh(house: &House) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut clients = JoinSet::new();
        let request =
            get(house, "/fhir/Patient/p1", &t1(house)).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        for _ in 0..3 {
            let (at, certificate) = (house.address, house.gateway.certificate().to_owned());
            let (stop, answered, request) = (Arc::clone(&stop), Arc::clone(&answered), request.clone());
            clients.spawn(async move {
                let mut failed = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let got = match Wire::to(at, &certificate, "http/1.1").await {
                        Err(error) => format!("no handshake: {error}"),
                        Ok(mut wire) => {
                            wire.say(request.as_bytes()).await;
                            let (read, _) = wire.rest(PATIENCE).await;
                            let text = String::from_utf8_lossy(&read).into_owned();
                            if statuses(&text) == [200] && text.contains("Grant") {
                                answered.fetch_add(1, Ordering::SeqCst);
                                continue;
                            }
                            format!("`{text}`")
                        }
                    };
                    failed.push(got);
                }
                failed
            });
        }
        Self { stop, answered, clients }
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }

    /// Stops, and fails with whatever was not answered.
    async fn end(self, house: &House, name: &str) {
        self.stop.store(true, Ordering::SeqCst);
        let failed: Vec<String> = self.clients.join_all().await.into_iter().flatten().collect();
        let some: Vec<_> = failed.iter().take(5).collect();
        house
            .findings
            .check(failed.is_empty(), format!("{name}: {} requests failed: {some:?}", failed.len()));
        let answered = self.answered.load(Ordering::SeqCst);
        house.findings.check(answered > 20, format!("{name}: {answered} requests are no load"));
    }
}

/// FLT-023.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_reloads() {
    let mut house = besieged("[cors]\norigins = [\"https://one.example\"]").await;
    house.rewrite(&house.settings("log = \"debug\"", "log = \"info\""));
    house.gateway.restart(&house.findings.clone());
    serves(&house, "nothing").await;
    let load = Load::kept(&house);
    let reloaded = |times: usize| house.gateway.log().matches("configuration reloaded").count() >= times;
    let (mut files, mut memory) = (0, 0);
    for round in 1..=100 {
        house.gateway.signal("HUP");
        until("the settings are reloaded", || reloaded(round)).await;
        if round == 20 {
            (files, memory) = (descriptors(&house), resident(&house));
        }
    }
    load.end(&house, "a hundred reloads").await;
    let (open, grown) = (descriptors(&house), resident(&house).saturating_sub(memory));
    house.findings.check(open <= files + 12, format!("a hundred reloads: {files} descriptors became {open}"));
    house.findings.check(grown < 24 * 1024, format!("eighty reloads: grew by {grown} KiB"));
    serves(&house, "a hundred reloads").await;
    house.close();
}

/// FLT-019: ninety in flight, some of them streaming, are answered to their ends; then it ends well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_under_load() {
    // As many as one HTTP/2 connection carries, but for a few.
    const MANY: usize = 90;
    let mut house = besieged("").await;
    house.demo.fhir.misbehave(Misbehaviour::Hang);
    house.demo.fhir.forget();
    let mut flying = JoinSet::new();
    for number in 0..MANY {
        let streams = number % 10 == 0;
        let token = if streams { house.token("system/*.rs") } else { t1(&house) };
        let asked = house.client.ask("GET", "Patient/p1").bearer(&token).with("in flight");
        flying.spawn(async move { asked.send().await });
    }
    until("all are in flight", || house.demo.fhir.seen() == MANY).await;
    house.gateway.signal("TERM");
    until("nobody new is let in", || std::net::TcpStream::connect(house.address).is_err()).await;
    house.demo.fhir.behave();
    for answer in flying.join_all().await {
        answer.is(200).holds("Grant");
        if answer.broken.is_some() {
            answer.wrong("a whole answer");
        }
    }
    let findings = house.findings.clone();
    house.gateway.ended(&findings);
    house.gateway.start();
    house.close();
}

/// FLT-020: a second signal neither hurries nor harms; what is killed after that loses no event of an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_twice() {
    let mut house = besieged("").await;
    for _ in 0..20 {
        serves(&house, "nothing").await;
    }
    house.demo.fhir.misbehave(Misbehaviour::Hang);
    let asked = house.client.ask("GET", "Patient/p1").bearer(&t1(&house)).with("in flight");
    house.demo.fhir.forget();
    let flying = tokio::spawn(async move { asked.send().await });
    until("one is in flight", || house.demo.fhir.seen() == 1).await;
    house.gateway.signal("TERM");
    house.gateway.signal("TERM");
    tokio::time::sleep(Duration::from_millis(300)).await;
    house.demo.fhir.behave();
    flying.await.expect("an answer").is(200).holds("Grant");
    let findings = house.findings.clone();
    house.gateway.ended(&findings);
    house.gateway.start();
    house.demo.fhir.misbehave(Misbehaviour::Hang);
    house.demo.fhir.forget();
    let asked = house.client.ask("GET", "Patient/p1").bearer(&t1(&house)).with("killed");
    let flying = tokio::spawn(async move { asked.send().await });
    until("one is in flight", || house.demo.fhir.seen() == 1).await;
    house.gateway.signal("TERM");
    house.gateway.kill();
    flying.await.expect("an end").is(0);
    house.demo.fhir.behave();
    // Those that were answered are all on record: the house looks when it closes.
    house.gateway.start();
    house.close();
}

/// A gateway on a socket that somebody else keeps, as systemd's socket units do.
fn activated(house: &House, socket: &TcpListener) -> Child {
    let folder = &house.gateway.folder;
    let log = std::fs::File::options().append(true).create(true).open(folder.join("log")).expect("a log");
    let line = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" run --config \"$1\"";
    Command::new("sh")
        .args(["-c", line, env!("CARGO_BIN_EXE_pforte")])
        .arg(folder.join("gateway.toml"))
        .stdin(Stdio::from(OwnedFd::from(socket.try_clone().expect("a copy"))))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("a shell")
}

fn end(child: &mut Child) {
    let ended = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(ended.is_ok_and(|status| status.success()), "it is there");
    let begun = Instant::now();
    while child.try_wait().expect("a process").is_none() {
        assert!(begun.elapsed() < PATIENCE, "it does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
    let status = child.wait().expect("its end");
    assert!(status.success(), "it ended with {status}");
}

/// Whoever comes while the gateway is started anew waits, and is served: nobody is turned away.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn started_anew_without_a_gap() {
    let mut house = besieged("").await;
    house.gateway.terminate(&house.findings.clone());
    let socket = TcpListener::bind(house.address).expect("the address");
    let mut child = activated(&house, &socket);
    let load = Load::fresh(&house);
    for _ in 0..4 {
        let before = load.answered();
        until("it is under load", || load.answered() > before + 10).await;
        tokio::task::block_in_place(|| end(&mut child));
        child = activated(&house, &socket);
    }
    let before = load.answered();
    until("it is under load", || load.answered() > before + 10).await;
    load.end(&house, "started anew").await;
    tokio::task::block_in_place(|| end(&mut child));
    drop(socket);
    // A socket that no line of the settings names would leave its clients waiting for ever.
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut child = activated(&house, &other);
    let status = tokio::task::block_in_place(|| child.wait()).expect("its end");
    house.findings.check(!status.success(), "a foreign socket is taken");
    house
        .findings
        .check(house.gateway.log().contains("LISTEN_FDS"), "the log does not name the foreign socket");
    house.gateway.start();
    house.close();
}
