//! What one can say behind the command.

use crate::rounds::Effort;

/// `--help`.
pub const HELP: &str = include_str!("help.txt");

/// What was said.
#[derive(Debug)]
pub struct Options {
    pub quick: bool,
    pub list: bool,
    pub help: bool,
    pub write: bool,
    pub only: Vec<String>,
    pub gateway: Option<String>,
    pub cores: (usize, usize),
    pub effort: Effort,
}

impl Options {
    /// Reads arguments.
    ///
    /// # Errors
    /// The argument that is none, and what was expected.
    pub fn read(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments.peekable();
        let (mut rounds, mut seconds) = (None, None);
        let effort = Effort { rounds: 5, seconds: 2.0, half_load: 2.0 };
        let mut options = Self {
            quick: false,
            list: false,
            help: false,
            write: false,
            only: Vec::new(),
            gateway: None,
            cores: (0, 1),
            effort,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("`{argument}` needs a value"));
            match argument.as_str() {
                "--quick" => options.quick = true,
                "--list" => options.list = true,
                "--help" | "-h" => options.help = true,
                "--write" => options.write = true,
                // What cargo says to every bench.
                "--bench" => {}
                "--rounds" => rounds = Some(number(&value()?)?),
                "--seconds" => seconds = Some(number(&value()?)?),
                "--gateway" => options.gateway = Some(value()?),
                "--cores" => options.cores = cores(&value()?)?,
                "--only" => {
                    while let Some(name) = arguments.next_if(|next| !next.starts_with('-')) {
                        options.only.extend(name.split(',').map(str::to_owned));
                    }
                }
                other => return Err(format!("`{other}` is no option: see --help")),
            }
        }
        if options.quick {
            options.effort = Effort { rounds: 3, seconds: 0.6, half_load: 0.6 };
        }
        options.effort.rounds = rounds.unwrap_or(options.effort.rounds);
        options.effort.seconds = seconds.unwrap_or(options.effort.seconds);
        Ok(options)
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

fn cores(text: &str) -> Result<(usize, usize), String> {
    let (gateway, others) =
        text.split_once(',').ok_or(format!("`{text}`: expected two numbers such as 0,1"))?;
    Ok((number(gateway)?, number(others)?))
}
