//! How long a sink is left alone after a failure.

use std::time::Duration;

/// After the first failure.
const SHORTEST: Duration = Duration::from_secs(1);

/// After many, whatever the sink asks for: it is found to be back within this time.
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// Pauses that double with each failure in a row. They differ by chance, so that gateways that lost a common sink do not
/// come back to it all at once.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    failures: u32,
}

impl Pauses {
    /// The pause after another failure; `asked` is the sink's own wish.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let mut byte = [0];
        // Without chance the pause is only less even.
        let chance = if aws_lc_rs::rand::fill(&mut byte).is_ok() { byte[0] } else { 0 };
        let pause = pause(self.failures, asked, chance);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// It works again.
    pub(super) fn over(&mut self) {
        self.failures = 0;
    }
}

/// The upper half of the doubled time is left to chance.
fn pause(failures: u32, asked: Option<Duration>, chance: u8) -> Duration {
    let doubled = 1_u32.checked_shl(failures.min(16)).unwrap_or(u32::MAX);
    let most = SHORTEST.saturating_mul(doubled).min(LONGEST);
    let chosen = most / 2 + (most / 2).saturating_mul(u32::from(chance)) / 255;
    asked.map_or(chosen, |asked| asked.max(chosen)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_five_minutes() {
        let millis = Duration::from_millis;
        let seconds = Duration::from_secs;
        let table = [
            (0, None, 0, millis(500)),
            (0, None, 255, seconds(1)),
            (1, None, 255, seconds(2)),
            (3, None, 0, seconds(4)),
            (8, None, 255, seconds(256)),
            (9, None, 255, seconds(300)),
            (9, None, 0, seconds(150)),
            (u32::MAX, None, 255, seconds(300)),
            (0, Some(seconds(7)), 255, seconds(7)),
            (4, Some(seconds(7)), 255, seconds(16)),
            (0, Some(seconds(86_400)), 0, seconds(300)),
        ];
        for (failures, asked, chance, expected) in table {
            assert_eq!(pause(failures, asked, chance), expected, "{failures} {asked:?} {chance}");
        }
        let mut pauses = Pauses::default();
        for _ in 0..5 {
            pauses.next(None);
        }
        pauses.over();
        assert!(pauses.next(None) <= seconds(1));
    }
}
