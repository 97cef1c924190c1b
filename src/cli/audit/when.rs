//! Points in time as people write them.

use jiff::civil::{Date, DateTime};
use jiff::{Span, Timestamp, Zoned};

/// A point in time as it was written.
#[derive(Debug, Clone, Copy)]
pub(super) enum When {
    /// A time span before now.
    Back(Span),
    /// A day, in the time zone of this machine.
    Day(Date),
    /// A time of day there.
    Local(DateTime),
    /// An instant.
    Point(Timestamp),
}

/// Which end of a range of time is meant: the events from `Since` on, those before `Until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Since,
    Until,
}

/// Reads `2026-03-01T10:00:00+01:00`, `2026-03-01`, `2026-03-01T10:00` and `24h`.
pub(super) fn read(text: &str) -> Result<When, String> {
    if let Ok(point) = text.parse() {
        return Ok(When::Point(point));
    }
    // A date alone has ten letters; jiff would take one out of something longer.
    if let Some(day) = text.parse().ok().filter(|_| text.len() == 10) {
        return Ok(When::Day(day));
    }
    if let Ok(local) = text.parse() {
        return Ok(When::Local(local));
    }
    match text.parse::<Span>() {
        Ok(span) if span.is_positive() => Ok(When::Back(span)),
        _ => Err(
            "expected an instant such as `2026-03-01T10:00:00Z`, a day such as `2026-03-01`, or a time back such as `24h` or `7d`"
                .to_owned(),
        ),
    }
}

impl When {
    /// The instant that is meant; a day as an end includes that day.
    pub(super) fn at(self, now: &Zoned, end: End) -> Result<Timestamp, String> {
        let zone = now.time_zone();
        let at = match self {
            Self::Point(point) => return Ok(point),
            Self::Back(span) => now.checked_sub(span),
            Self::Day(day) if end == End::Until => {
                day.tomorrow().and_then(|next| next.to_zoned(zone.clone()))
            }
            Self::Day(day) => day.to_zoned(zone.clone()),
            Self::Local(local) => local.to_zoned(zone.clone()),
        };
        at.map(|at| at.timestamp()).map_err(|_| "this lies beyond the calendar".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_in_time() {
        let now: Zoned = "2026-03-29T12:00:00+02:00[Europe/Berlin]".parse().unwrap();
        let table = [
            ("2026-03-01T10:00:00Z", "2026-03-01T10:00:00Z", "2026-03-01T10:00:00Z"),
            ("2026-03-01T10:00:00+01:00", "2026-03-01T09:00:00Z", "2026-03-01T09:00:00Z"),
            ("2026-03-01", "2026-02-28T23:00:00Z", "2026-03-01T23:00:00Z"),
            // The day on which summer time began.
            ("2026-03-29", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            ("2026-03-01T10:00", "2026-03-01T09:00:00Z", "2026-03-01T09:00:00Z"),
            ("2026-03-01 10:00:30", "2026-03-01T09:00:30Z", "2026-03-01T09:00:30Z"),
            ("24h", "2026-03-28T10:00:00Z", "2026-03-28T10:00:00Z"),
            ("1d", "2026-03-28T11:00:00Z", "2026-03-28T11:00:00Z"),
            ("90m", "2026-03-29T08:30:00Z", "2026-03-29T08:30:00Z"),
            ("2w", "2026-03-15T11:00:00Z", "2026-03-15T11:00:00Z"),
        ];
        for (text, since, until) in table {
            let when = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(when.at(&now, End::Since).unwrap().to_string(), since, "{text}");
            assert_eq!(when.at(&now, End::Until).unwrap().to_string(), until, "{text}");
        }
        for text in ["", "yesterday", "-24h", "2026-13-01", "2026-3-1", "12", "24h ago", "2026-02-30", "0s"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(read("30000y").is_err() || read("30000y").unwrap().at(&now, End::Since).is_err());
    }
}
