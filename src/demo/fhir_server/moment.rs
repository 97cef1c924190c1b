//! FHIR dates as the span of time they mean, and comparison with prefixes (FHIR R4 §3.1.1.4.6).

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde_json::Value;

/// From its first to just before its last second, in seconds since 1970; open ends are infinite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Moment {
    pub(super) from: f64,
    pub(super) until: f64,
}

impl Moment {
    /// Reads `2024`, `2024-05`, `2024-05-06`, `2024-05-06T10:00` and so on; without a zone it is UTC.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text.len() {
            4 => days(&format!("{text}-01-01"), 1.year()),
            7 => days(&format!("{text}-01"), 1.month()),
            10 => days(text, 1.day()),
            _ => time(text),
        }
    }

    /// Reads a date, a dateTime, an instant, a Period or a Timing.
    pub(super) fn of(value: &Value) -> Option<Self> {
        if let Some(text) = value.as_str() {
            return Self::parse(text);
        }
        let end = |name: &str| value.get(name).and_then(Value::as_str).and_then(Self::parse);
        let (start, stop) = (end("start"), end("end"));
        if start.is_none() && stop.is_none() {
            return None;
        }
        let from = start.map_or(f64::NEG_INFINITY, |start| start.from);
        Some(Self { from, until: stop.map_or(f64::INFINITY, |stop| stop.until) })
    }

    /// Whether this value, found in a resource, satisfies `prefix` with the asked one.
    pub(super) fn meets(self, prefix: &str, asked: Self) -> bool {
        let inside = asked.from <= self.from && self.until <= asked.until;
        match prefix {
            "ne" => !inside,
            "gt" => self.until > asked.until,
            "ge" => self.until > asked.until || inside,
            "lt" => self.from < asked.from,
            "le" => self.from < asked.from || inside,
            "sa" => self.from >= asked.until,
            "eb" => self.until <= asked.from,
            "ap" => self.from < asked.until && asked.from < self.until,
            _ => inside,
        }
    }
}

/// Takes a comparison prefix off a value; none means equal.
pub(super) fn prefix(value: &str) -> (&str, &str) {
    match value.split_at_checked(2) {
        Some((prefix @ ("eq" | "ne" | "gt" | "lt" | "ge" | "le" | "sa" | "eb" | "ap"), rest)) => {
            (prefix, rest)
        }
        _ => ("eq", value),
    }
}

fn days(text: &str, length: jiff::Span) -> Option<Moment> {
    let first: Date = text.parse().ok()?;
    let after = first.checked_add(length).ok()?;
    let seconds = |date: Date| Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second() as f64);
    Some(Moment { from: seconds(first)?, until: seconds(after)? })
}

fn time(text: &str) -> Option<Moment> {
    let clock = text.get(11..)?;
    let zoned = clock.contains(['Z', '+', '-']);
    let full = if zoned { text.to_owned() } else { format!("{text}Z") };
    let when: Timestamp = full.parse().ok()?;
    let from = when.as_millisecond() as f64 / 1000.0;
    let digits = clock.split(['Z', '+', '-']).next()?;
    let precision = match (digits.len(), digits.contains('.')) {
        (5, _) => 60.0,
        (_, true) => 0.001,
        _ => 1.0,
    };
    Some(Moment { from, until: from + precision })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_compare_spans() {
        let table = [
            // found        asked               holds
            ("2024-05-06", "2024-05", true),
            ("2024-06-01", "2024-05", false),
            ("2024-05-06T23:59:59Z", "eq2024-05-06", true),
            ("2024-05-06", "ne2024-05-06", false),
            ("2024-05-07", "gt2024-05-06", true),
            ("2024-05-06", "gt2024-05-06", false),
            ("2024-05-06", "ge2024-05-06", true),
            ("2024-05-05", "ge2024-05-06", false),
            ("2024-05-05", "lt2024-05-06", true),
            ("2024-05-06", "le2024-05-06", true),
            ("2024-05-07", "sa2024-05-06", true),
            ("2024-05-06", "eb2024-05-06", false),
            ("2024-05-06T10:00:00+02:00", "2024-05-06T08:00:00Z", true),
            ("2024-05-06T10:00:30Z", "2024-05-06T10:00", true),
        ];
        let wrong: Vec<_> = table
            .into_iter()
            .filter(|(found, asked, holds)| {
                let (prefix, rest) = prefix(asked);
                let (found, asked) = (Moment::parse(found).unwrap(), Moment::parse(rest).unwrap());
                found.meets(prefix, asked) != *holds
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn nonsense_is_no_date() {
        for text in ["", "24", "2024-13", "2024-02-30", "yesterday", "2024-05-06Tnoon"] {
            assert_eq!(Moment::parse(text), None, "{text}");
        }
    }
}
