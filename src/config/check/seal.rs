//! The key of sealed page links (SRCH-25): 32 bytes in a file, so that links outlive the process and replicas open each
//! other's.

use std::path::Path;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::Check;
use crate::config::file::SharedState;
use crate::config::settings::{Keys, SealKeyFile};
use crate::config::surroundings;

const KEY: &str = "shared_state.seal_key_file";
const FORMS: &str = "a key of 32 bytes: raw, as 64 hexadecimal digits, or as base64";
const MEND: &str = "make one with `openssl rand -hex 32`, and give the same file to every replica";

/// What a key of 32 bytes has.
const BYTES: usize = 32;

impl Check<'_> {
    /// The key that the file names; absent when none is named, and when files are not looked at.
    pub(super) fn seal_key(&mut self, shared: &SharedState) -> Option<SealKeyFile> {
        let written: &Path = shared.seal_key_file.as_deref()?;
        let content = self.bytes(KEY, written)?;
        let path = self.path(written);
        if surroundings::read_by_all(&path) {
            self.warn(KEY, "a key that only the gateway can read", "take the read permission of others away");
        }
        let Some(bytes) = seal_key(&content) else {
            let found = format!("{FORMS} (it has {} bytes, in none of these forms)", content.len());
            self.wrong(KEY, found, MEND);
            return None;
        };
        // Chance makes 32 printable bytes once in 10^13 keys; people make them every time.
        if content == bytes && bytes.iter().all(u8::is_ascii_graphic) {
            self.warn(KEY, "random bytes: 32 printable characters are easier to guess", MEND);
        }
        if bytes.iter().all(|byte| *byte == 0) {
            self.wrong(KEY, "random bytes, not zeros", MEND);
            return None;
        }
        let keys = Keys::new(&bytes);
        if keys.is_none() {
            self.wrong(KEY, "a key that the cipher takes", MEND);
        }
        Some(SealKeyFile { path, keys: keys? })
    }
}

/// Reads the content of a key file. Raw bytes are taken as they are; text may end with a newline.
fn seal_key(content: &[u8]) -> Option<[u8; BYTES]> {
    if let Ok(raw) = <[u8; BYTES]>::try_from(content) {
        return Some(raw);
    }
    let text = std::str::from_utf8(content).ok()?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    match text.len() {
        64 => hexadecimal(text),
        43 | 44 => base64(text),
        _ => None,
    }
}

fn hexadecimal(text: &str) -> Option<[u8; BYTES]> {
    let mut digits = text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()));
    let mut bytes = [0; BYTES];
    for byte in &mut bytes {
        let (high, low) = (digits.next()??, digits.next()??);
        *byte = high << 4 | low;
    }
    digits.next().is_none().then_some(bytes)
}

/// RFC 4648 §4 and §5, with or without padding.
fn base64(text: &str) -> Option<[u8; BYTES]> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    [alphabet::STANDARD, alphabet::URL_SAFE]
        .iter()
        .find_map(|alphabet| GeneralPurpose::new(alphabet, config).decode(text).ok())
        .and_then(|bytes| bytes.try_into().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SRCH-25: three forms of one key, and their neighbours that are none.
    #[test]
    fn keys_have_three_forms() {
        let raw: Vec<u8> = (0..32).map(|n| n * 8 + 3).collect();
        let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
        let padded = base64::engine::general_purpose::STANDARD.encode(&raw);
        let url = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode([0xfb; 32]);
        let same = [
            raw.clone(),
            hex.clone().into_bytes(),
            hex.to_uppercase().into_bytes(),
            format!("{hex}\n").into_bytes(),
            format!("{hex}\r\n").into_bytes(),
            padded.clone().into_bytes(),
            format!("{padded}\n").into_bytes(),
            padded.trim_end_matches('=').to_owned().into_bytes(),
        ];
        for content in same {
            let shown = String::from_utf8_lossy(&content).into_owned();
            assert_eq!(seal_key(&content).map(Vec::from), Some(raw.clone()), "{shown}");
        }
        assert_eq!(seal_key(url.as_bytes()), Some([0xfb; 32]), "{url}");
        assert_eq!(seal_key(url.replace('-', "+").replace('_', "/").as_bytes()), Some([0xfb; 32]), "{url}");
        let none = [
            String::new(),
            "\n".to_owned(),
            hex.replacen('0', "g", 1),
            format!("{hex}0"),
            format!("{hex}\n\n"),
            format!(" {hex}"),
            hex.replacen("03", "é", 1),
            hex.replacen("03", "", 1),
            padded.replacen('D', "*", 1),
            format!("{padded}="),
            padded.replacen('=', "A", 1),
        ];
        for content in none {
            assert_eq!(seal_key(content.as_bytes()), None, "{content:?}");
        }
        assert_eq!(seal_key(&raw[..31]), None);
        assert_eq!(seal_key(&[raw, vec![10]].concat()), None);
    }
}
