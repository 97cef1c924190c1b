//! The configuration file: whatever it holds is read or complained about, each complaint at a place in the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pforte::config::{Settings, Source, Surroundings};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // No file that it names exists there.
    let surroundings = Surroundings::new("/nonexistent/pforte", jiff::Timestamp::UNIX_EPOCH);
    match Settings::check(&Source::new("gateway.toml", text), &surroundings) {
        Ok((_, warnings)) => warnings.iter().for_each(|warning| drop(warning.to_string())),
        Err(complaints) => {
            assert!(!complaints.is_empty(), "refused without a word");
            complaints.iter().for_each(|complaint| drop(complaint.to_string()));
        }
    }
});
