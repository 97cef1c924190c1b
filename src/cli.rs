//! The commands of `pforte`.

mod audit;
pub mod check;
pub mod completions;
mod demo;
mod ends;
pub mod explain;
mod files;
mod run;
pub mod schema;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

/// A gate in front of a FHIR server: SMART on FHIR scopes, held against every request.
#[derive(Debug, Parser)]
#[command(name = "pforte", version, about, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT, drain what is in flight, exit.
    Run {
        /// The configuration.
        #[arg(long, value_name = "FILE", default_value = "gateway.toml")]
        config: PathBuf,
    },
    /// Serve at once on loopback, with an embedded authorization server, FHIR server and SMART app.
    Demo {
        /// Where the gateway listens.
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
        listen: std::net::SocketAddr,
    },
    /// Check a configuration: every complaint at once, with its place and the mend.
    Check {
        /// The configuration.
        #[arg(long, value_name = "FILE", default_value = "gateway.toml")]
        config: PathBuf,
        /// Also ask the authorization servers and the backend, and report what does not fit.
        #[arg(long)]
        online: bool,
    },
    /// Read a case from standard input and explain what would become of it; contacts nothing.
    Explain {
        /// The configuration; without one, the defaults.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// One case a line in, one decision a line out.
        #[arg(long)]
        jsonl: bool,
    },
    /// Recorded audit events: who asked for what, about whom, and how it ended.
    Audit {
        #[command(subcommand)]
        what: Box<audit::AuditCommand>,
    },
    /// Print the JSON Schema of gateway.toml.
    Schema,
    /// Print the completion script of a shell.
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

/// Why a command ends badly: what to print, and the exit code (contract §1).
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    /// The work failed.
    pub(crate) fn work(text: impl std::fmt::Display) -> Self {
        Self { code: 1, text: text.to_string() }
    }

    /// The configuration must be mended.
    pub(crate) fn configuration(text: impl std::fmt::Display) -> Self {
        Self { code: 2, text: text.to_string() }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::work(error)
    }
}

/// Runs what the arguments say.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Run { config } => run::run(&config),
        Command::Demo { listen } => demo::demo(listen),
        Command::Check { config, online } => check(&config, online),
        Command::Explain { config, jsonl } => explain(config, jsonl),
        Command::Audit { what } => audit::run(&what),
        Command::Schema => schema::schema(&mut io::stdout().lock()).map(|()| 0).map_err(Failure::from),
        Command::Completions { shell } => {
            completions::completions(Arguments::command(), shell, &mut io::stdout().lock());
            Ok(0)
        }
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            let colour = io::stderr().is_terminal();
            let label = if colour { "\u{1b}[1;31merror\u{1b}[0m" } else { "error" };
            let _unwritable = writeln!(io::stderr(), "{label}: {}", failure.text);
            ExitCode::from(failure.code)
        }
    }
}

fn check(config: &std::path::Path, online: bool) -> Result<u8, Failure> {
    let mut out = io::stdout().lock();
    let Some(settings) = check::check(config, &mut out)? else {
        return Ok(check::Outcome::Mend.exit_code());
    };
    if !online {
        return Ok(0);
    }
    let outcome = run::runtime()?.block_on(check::online(&settings, &mut out))?;
    Ok(outcome.exit_code())
}

fn explain(config: Option<PathBuf>, jsonl: bool) -> Result<u8, Failure> {
    let explainer = files::explainer(config.as_deref())?;
    let (input, output) = (io::stdin().lock(), io::stdout().lock());
    if jsonl {
        explainer.lines(input, output)?
    } else {
        explainer.text(input, output)?
    };
    Ok(0)
}
