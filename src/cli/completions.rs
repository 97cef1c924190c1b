//! `pforte completions`: what a shell needs to complete the arguments of `pforte`.

use std::io::Write;

use clap::Command;
use clap_complete::Shell;

/// Prints the completion script of a shell.
pub fn completions(mut command: Command, shell: Shell, out: &mut dyn Write) {
    clap_complete::generate(shell, &mut command, "pforte", out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_gets_a_script_that_names_the_commands() {
        for shell in [Shell::Bash, Shell::Elvish, Shell::Fish, Shell::PowerShell, Shell::Zsh] {
            let command = Command::new("pforte").subcommand(Command::new("explain"));
            let mut out = Vec::new();
            completions(command, shell, &mut out);
            assert!(String::from_utf8_lossy(&out).contains("explain"), "{shell}");
        }
    }
}
