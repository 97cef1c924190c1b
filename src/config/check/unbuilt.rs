//! Keys this version knows but does not honour.
//!
//! Where ignoring one would change what is enforced or where something is sent, it is an error; where it would change
//! nothing that anybody relies on, a warning. None is passed over in silence.

use super::Check;
use crate::config::file::{Dpop, File, Nonce};
use crate::config::settings;

const LATER: &str = "nothing there: it is not available in this version";

impl Check<'_> {
    pub(super) fn refuse_unbuilt(&mut self, file: &File) {
        if file.route.is_some() {
            self.wrong("route", LATER, "remove it, and run one gateway for each backend");
        }
    }

    /// Sender-constrained tokens.
    pub(super) fn dpop(&mut self, dpop: &Dpop) -> settings::Dpop {
        let window = self.period("dpop.clock_window", dpop.clock_window, super::limits::CLOCK_WINDOW);
        settings::Dpop {
            enabled: dpop.enabled.unwrap_or(true),
            window,
            nonce: dpop.nonce == Some(Nonce::Required),
        }
    }
}
