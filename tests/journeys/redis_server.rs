//! A real Redis on loopback, for one test: nothing of it outlives the value.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::house::free;
use crate::support::folder;

/// Longest wait for it to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server, running or not.
pub struct RedisServer {
    address: SocketAddr,
    folder: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts one that keeps nothing on disk.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more arguments.
    pub fn start_with(arguments: &[&str]) -> Self {
        let mut server = Self::absent(arguments);
        server.begin();
        server
    }

    /// One that has a place and does not run yet.
    pub fn absent(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self { address: free(), folder: folder(), arguments, child: None }
    }

    /// The folder that it runs in.
    pub fn folder(&self) -> &PathBuf {
        &self.folder
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL, for those who come without TLS and password.
    pub fn url(&self) -> String {
        format!("redis://{}/0", self.address)
    }

    /// Runs it, at the same place as before.
    pub fn begin(&mut self) {
        let log =
            File::options().create(true).append(true).open(self.folder.join("redis.log")).expect("a log");
        let port = self.address.port().to_string();
        let tls = self.arguments.iter().any(|argument| argument == "--tls-port");
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"]);
        command.arg(if tls { "0" } else { port.as_str() });
        command.args(self.arguments.iter().map(|argument| argument.replace("{port}", &port)));
        let started = command
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn();
        let child = started.unwrap_or_else(|error| {
            panic!("redis-server: {error}; install it (Debian's redis-server), or run ./test, which does")
        });
        self.child = Some(child);
        let begun = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            assert!(begun.elapsed() < PATIENCE, "redis-server does not listen:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills it; what it knew is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Lets it take connections and answer nothing.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let child = self.child.as_ref().expect("a running server");
        let line = format!("kill -{name} {}", child.id());
        assert!(Command::new("sh").args(["-c", &line]).status().expect("a shell").success(), "{line}");
    }

    /// Says something to it, as an operator does.
    pub fn say(&self, words: &str) -> redis::Value {
        let client = redis::Client::open(self.url()).expect("a client");
        let mut connection = client.get_connection().expect("a connection");
        let mut words = words.split(' ');
        let mut command = redis::cmd(words.next().unwrap_or_default());
        command.arg(words.collect::<Vec<_>>());
        command.query(&mut connection).unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    /// The same, for an answer that is text; empty for none.
    pub fn told(&self, words: &str) -> String {
        redis::from_redis_value::<Option<String>>(self.say(words)).expect("text").unwrap_or_default()
    }

    fn log(&self) -> String {
        let bytes = std::process::Command::new("cat").arg(self.folder.join("redis.log")).output();
        bytes.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        drop(std::fs::remove_dir_all(&self.folder));
    }
}
