//! What the folder of events lies on, and how that is filled, broken and mended.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;

use crate::support;

/// A disk of its own for the folder of events.
pub struct Ground {
    kind: Kind,
    /// Holds the folder of events.
    pub place: PathBuf,
    /// Keeps the mount namespace.
    keeper: Option<Child>,
    /// How `nsenter` goes there.
    way: Vec<String>,
    /// The limit on files in force.
    limit: Mutex<Option<u64>>,
}

#[derive(PartialEq, Eq)]
enum Kind {
    Ext4(PathBuf),
    Limit,
    Tmpfs,
}

impl Ground {
    /// Files of a limited size on the usual disk.
    pub fn limit() -> Self {
        let place = support::folder().join("place");
        std::fs::create_dir(&place).expect("a folder");
        Self { kind: Kind::Limit, place, keeper: None, way: Vec::new(), limit: Mutex::default() }
    }

    /// A small disk in memory.
    pub fn tmpfs() -> Result<Self, String> {
        let ground = Self::within(Kind::Tmpfs)?;
        ground.done(r#"mount -t tmpfs -o size=8m,mode=700 pforte-test "$0""#, &[])?;
        Ok(ground)
    }

    /// A small disk that breaks down as real ones do.
    pub fn ext4() -> Result<Self, String> {
        let image = support::folder().join("image");
        let ground = Self::within(Kind::Ext4(image.clone()))?;
        let make =
            r#"truncate -s 24M "$1" && mkfs.ext4 -q -F "$1" && mount -o loop,errors=remount-ro "$1" "$0""#;
        ground.done(make, &[&image])?;
        // It must be possible to break it.
        ground.done(&format!("test -w {TRIGGER}"), &[])?;
        Ok(ground)
    }

    fn within(kind: Kind) -> Result<Self, String> {
        let place = support::folder().join("place");
        std::fs::create_dir(&place).expect("a folder");
        let mut why = String::new();
        for (options, user) in [(vec!["--mount"], false), (vec!["--mount", "--map-root-user"], true)] {
            let mut keeper = Command::new("unshare")
                .args(options)
                .args(["sh", "-c", "echo there; exec sleep 900"])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .map_err(|error| format!("unshare: {error}"))?;
            let mut line = String::new();
            let out = keeper.stdout.take().expect("its output");
            BufReader::new(out).read_line(&mut line).expect("a line");
            if line == "there\n" {
                let mut way = vec![format!("--target={}", keeper.id()), "--mount".to_owned()];
                if user {
                    way.extend(["--user".to_owned(), "--preserve-credentials".to_owned()]);
                }
                return Ok(Self { kind, place, keeper: Some(keeper), way, limit: Mutex::default() });
            }
            let said = keeper.wait_with_output().expect("it has ended");
            why = String::from_utf8_lossy(&said.stderr).trim().to_owned();
        }
        Err(why)
    }

    /// A program that sees this disk. What it writes beyond a limit is an error and no signal.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("sh");
        let script = match *self.limit.lock().expect("no panic") {
            Some(limit) => format!(r#"trap '' XFSZ; exec prlimit --fsize={limit}: "$0" "$@""#),
            None => r#"trap '' XFSZ; exec "$0" "$@""#.to_owned(),
        };
        if self.keeper.is_some() {
            command = Command::new("nsenter");
            command.args(&self.way).args(["--", "sh"]);
        }
        command.args(["-c", script.as_str(), program]);
        command
    }

    /// Runs a line of shell there, with the place as `$0`.
    fn sh(&self, script: &str, arguments: &[&Path]) -> Output {
        let mut command = self.command("sh");
        command.args(["-c", script]).arg(&self.place).args(arguments).stdin(Stdio::null());
        command.output().expect("a shell")
    }

    fn done(&self, script: &str, arguments: &[&Path]) -> Result<(), String> {
        let output = self.sh(script, arguments);
        if output.status.success() {
            return Ok(());
        }
        Err(format!("{script}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }

    /// Takes all room from a process.
    pub fn fill(&self, process: u32) {
        if self.kind == Kind::Limit {
            let largest = files(&self.place.join("audit")).into_iter().max().expect("a file");
            *self.limit.lock().expect("no panic") = Some(largest);
            return limit(process, &largest.to_string());
        }
        // Down to the last block: `dd` ends with the error that is wanted.
        self.sh(
            r#"for size in 64k 4k 1k; do dd if=/dev/zero bs=$size >> "$0/fill"; done; sync "$0/fill""#,
            &[],
        );
        let left = self.sh(r#"echo x > "$0/more""#, &[]);
        assert!(!left.status.success(), "the disk is not full");
        self.done(r#"rm -f "$0/more""#, &[]).expect("it goes");
    }

    /// Gives it back.
    pub fn empty(&self, process: u32) {
        if self.kind == Kind::Limit {
            *self.limit.lock().expect("no panic") = None;
            return limit(process, "unlimited");
        }
        self.done(r#"rm "$0/fill""#, &[]).expect("room is made");
    }

    /// The file system finds a fault in itself and takes no more writes.
    pub fn break_down(&self) {
        self.done(&format!("echo 1 > {TRIGGER}"), &[]).expect("a fault");
    }

    /// It is repaired and mounted again.
    pub fn mend(&self) {
        let Kind::Ext4(image) = &self.kind else { return };
        let mend =
            r#"umount "$0" && { e2fsck -fy "$1" >/dev/null 2>&1; [ $? -le 1 ]; } && mount -o loop "$1" "$0""#;
        self.done(mend, &[image]).expect("it is mended");
    }

    /// Nobody uses it, and nobody can write to it.
    pub fn read_only(&self) {
        if self.kind == Kind::Tmpfs {
            self.done(r#"mount -o remount,ro "$0""#, &[]).expect("read-only");
        } else {
            self.done(r#"mv "$0/audit" "$0/away" && touch "$0/audit""#, &[]).expect("no folder");
        }
    }

    /// The end of that.
    pub fn writable(&self) {
        if self.kind == Kind::Tmpfs {
            self.done(r#"mount -o remount,rw "$0""#, &[]).expect("writable");
        } else {
            self.done(r#"rm "$0/audit" && mv "$0/away" "$0/audit""#, &[]).expect("a folder");
        }
    }

    /// Copies the events to where everybody sees them.
    pub fn copy(&self, to: &Path) {
        self.done(r#"cp -a "$0/audit" "$1""#, &[to]).expect("a copy");
    }
}

/// Where ext4 takes a fault for a test.
const TRIGGER: &str = r#""/sys/fs/ext4/$(basename "$(findmnt -no SOURCE "$0")")/trigger_fs_error""#;

fn limit(process: u32, size: &str) {
    // One that has ended has no limits.
    drop(Command::new("prlimit").args([&format!("--pid={process}"), &format!("--fsize={size}:")]).status());
}

fn files(folder: &Path) -> Vec<u64> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.and_then(|entry| entry.metadata()).expect("a file").len()).collect()
}

impl Drop for Ground {
    fn drop(&mut self) {
        if self.keeper.is_some() {
            // A busy disk goes with the namespace.
            drop(self.sh(r#"umount "$0""#, &[]));
        }
        if let Some(keeper) = &mut self.keeper {
            drop(keeper.kill());
            drop(keeper.wait());
        }
        drop(std::fs::remove_dir_all(self.place.parent().unwrap_or(&self.place)));
        if let Kind::Ext4(image) = &self.kind {
            drop(std::fs::remove_dir_all(image.parent().unwrap_or(image)));
        }
    }
}
