//! Text from anywhere, made harmless for a terminal.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Characters that a terminal obeys instead of showing, or that change the order of those around them (Unicode 15 §23.2,
/// UAX 9): a record must not look like another one.
fn obeyed(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The text with such characters written out, as `\u{1b}`.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if obeyed(letter) {
            let _infallible = write!(shown, "\\u{{{:x}}}", u32::from(letter));
        } else {
            shown.push(letter);
        }
    }
    Cow::Owned(shown)
}

/// A JSON text with such characters written out as JSON does it; the value stays the same. They stand within strings only:
/// there is no other white space in what is written here.
pub(super) fn json(text: String) -> String {
    if !text.contains(obeyed) {
        return text;
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if obeyed(letter) {
            // All of them lie in the first plane.
            let _infallible = write!(shown, "\\u{:04x}", u32::from(letter));
        } else {
            shown.push(letter);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_the_cursor() {
        let table = [
            ("Patient/p1?name=Müller", "Patient/p1?name=Müller"),
            ("a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            ("a\nb\r\u{7}\u{9b}1m", "a\\u{a}b\\u{d}\\u{7}\\u{9b}1m"),
            ("abc\u{202e}def\u{2066}", "abc\\u{202e}def\\u{2066}"),
        ];
        for (text, shown) in table {
            assert_eq!(plain(text), shown);
            let written = json(serde_json::to_string(text).unwrap());
            assert!(!written.contains(obeyed), "{written:?}");
            assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
        }
    }
}
