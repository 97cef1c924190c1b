//! What is wrong with a configuration file, where, and the mend.

use std::fmt;

/// One thing to mend. Printed as
/// ``gateway.toml:14:19: `issuer` is `http://idp.test`: expected an https URL; write `https://…` ``.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// The file's name as given.
    pub file: String,
    /// Where in it, when the fault has a place.
    pub place: Option<Place>,
    /// What is there.
    pub finding: Finding,
    /// What was expected instead.
    pub expected: String,
    /// How to mend it.
    pub mend: String,
}

/// A line and a column, both counted from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// What is there. Keys are paths; members of a list are counted from 1, so `rule[2].limit[1]` is the second rule's first
/// limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// A key that should be there is not.
    Missing {
        /// The key's path.
        key: String,
    },
    /// The file as a whole, in words.
    Text(String),
    /// No such key. Its value is not shown: it may be a secret in the wrong place.
    Unknown {
        /// The key's path.
        key: String,
    },
    /// A key has a value that does not do.
    Value {
        /// The key's path.
        key: String,
        /// The value as written, without quotes, cut when long.
        value: String,
    },
}

impl Complaint {
    /// Whether it is about a key of `[audit]`.
    pub(super) fn is_about_audit(&self) -> bool {
        match &self.finding {
            Finding::Missing { key } | Finding::Unknown { key } | Finding::Value { key, .. } => {
                key.strip_prefix("audit").is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            }
            Finding::Text(_) => false,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { key } => write!(f, "`{key}` is missing"),
            Self::Text(text) => f.write_str(text),
            Self::Unknown { key } => write!(f, "`{key}` is no known key"),
            Self::Value { key, value } => write!(f, "`{key}` is `{value}`"),
        }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if let Some(Place { line, column }) = self.place {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {}: expected {}; {}", self.finding, self.expected, self.mend)
    }
}

/// The text form of a value in a complaint: one line, bounded, and without the password of a URL.
pub(super) fn shown(written: &str) -> String {
    const LONGEST: usize = 120;
    let line: String = written
        .chars()
        .map(|letter| if letter.is_control() || letter == '`' { ' ' } else { letter })
        .collect();
    let line = without_password(&line);
    match line.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{}…", line.get(..cut).unwrap_or_default()),
        None => line,
    }
}

/// `https://user:password@host` becomes `https://***@host`.
fn without_password(text: &str) -> String {
    let Some((before, rest)) = text.split_once("://") else { return text.to_owned() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    match authority.rsplit_once('@') {
        Some((user, _)) => format!("{before}://***{}", rest.get(user.len()..).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_values_are_one_bounded_line_without_passwords() {
        let table = [
            ("https://idp.test", "https://idp.test"),
            ("https://me:hunter2@idp.test/x", "https://***@idp.test/x"),
            ("redis://:hunter2@h:1/0", "redis://***@h:1/0"),
            ("https://me@hunter2@h", "https://***@h"),
            ("https://h/a@b", "https://h/a@b"),
            ("two\nlines `x`", "two lines  x "),
        ];
        for (written, expected) in table {
            assert_eq!(shown(written), expected);
        }
        assert_eq!(shown(&"ä".repeat(200)).chars().count(), 121);
    }
}
