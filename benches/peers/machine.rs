//! What the system knows of a process: its CPU time to the nanosecond, its memory, its place on a core.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Ends a process that this program started.
pub struct Running(Child);

impl Running {
    /// Starts a command on one core. `taskset` becomes the command, so the process is the command's own.
    pub fn start(core: usize, command: &[&str], folder: &Path) -> Self {
        let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("started.log"));
        let mut pinned = Command::new("taskset");
        pinned.arg("-c").arg(core.to_string()).args(command).current_dir(folder);
        pinned.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.expect("a file for what it says"));
        Self(pinned.spawn().expect("taskset (of util-linux) starts"))
    }

    /// Its number.
    pub fn process(&self) -> u32 {
        self.0.id()
    }

    /// Waits until it listens.
    ///
    /// # Errors
    /// When it ends before that, or takes ten seconds.
    pub fn listening(&mut self, port: u16) -> Result<(), String> {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            if TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).is_ok() {
                return Ok(());
            }
            if let Ok(Some(status)) = self.0.try_wait() {
                return Err(format!("it ended at its start ({status})"));
            }
            if Instant::now() > until {
                return Err(format!("nothing listens on port {port} after ten seconds"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// The CPU time of each thread of a process so far, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct Spent(BTreeMap<u32, u64>);

impl Spent {
    /// As it is now.
    pub fn of(process: u32) -> Self {
        let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { return Self::default() };
        let task = |path: PathBuf| {
            let number = path.file_name()?.to_str()?.parse().ok()?;
            let spent = text(&path.join("schedstat"));
            Some((number, spent.split_whitespace().next()?.parse().ok()?))
        };
        Self(tasks.filter_map(|entry| task(entry.ok()?.path())).collect())
    }

    /// What was spent since. A thread that ended in between is missing; there are none among those that serve.
    pub fn since(&self, before: &Self) -> Duration {
        let each =
            self.0.iter().map(|(task, spent)| spent - before.0.get(task).copied().unwrap_or(0).min(*spent));
        Duration::from_nanos(each.sum())
    }
}

/// Memory that is a process's own, in bytes, with its part of what it shares (PSS).
pub fn memory(process: u32) -> u64 {
    kilobytes(&text(Path::new(&format!("/proc/{process}/smaps_rollup"))), "Pss:") * 1024
}

/// Memory that a process has in use, in bytes: quicker to ask for than [`memory`].
pub fn resident(process: u32) -> u64 {
    kilobytes(&text(Path::new(&format!("/proc/{process}/status"))), "VmRSS:") * 1024
}

/// How many files and sockets a process has open.
pub fn open_files(process: u32) -> usize {
    fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count)
}

fn kilobytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Puts this process and all of its threads on one core.
pub fn pin(core: usize) {
    let process = std::process::id().to_string();
    let done = Command::new("taskset")
        .args(["-a", "-p", "-c", &core.to_string(), &process])
        .stdout(Stdio::null())
        .status();
    assert!(done.is_ok_and(|status| status.success()), "taskset could not move this program to core {core}");
}

/// Lets the calling thread sleep to the microsecond: the system otherwise rounds up by fifty.
pub fn sleep_sharply() {
    let own = fs::read_link("/proc/thread-self").unwrap_or_default();
    if let Some(task) = own.file_name() {
        let _rounded = fs::write(Path::new("/proc").join(task).join("timerslack_ns"), "1000");
    }
}

/// A port that nobody has.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port()
}

/// Processor, system and the versions of programs, in one sentence.
pub fn described(peers: &[String]) -> String {
    let cpu = text(Path::new("/proc/cpuinfo"));
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unknown processor", |(_, model)| model);
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = text(Path::new("/proc/sys/kernel/osrelease"));
    format!("{model}, {cores} cores, Linux {}; {}", kernel.trim(), peers.join(", "))
}

/// The first word with a digit after the program's name in what it says of its version.
pub fn version(program: &str) -> Option<String> {
    let output = Command::new(program).arg("-v").output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let words = said.split(|c: char| c.is_whitespace() || c == '/');
    let number = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
    words.into_iter().find(number).map(|word| word.trim_end_matches(',').to_owned())
}

/// A file of `/proc`, empty when it is gone.
#[expect(clippy::disallowed_methods, reason = "a measuring program reads /proc")]
pub fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
