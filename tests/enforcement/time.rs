//! Points in time as FHIR writes them: each a span as long as it is vague.

/// Seconds since 1970, from and until (exclusive).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its first second.
    pub from: i64,
    /// The second after its last.
    pub until: i64,
}

impl Span {
    /// A year, month, day or second; times of day in UTC or with their offset.
    pub fn of(written: &str) -> Option<Self> {
        let (day, clock) = written.split_once('T').map_or((written, None), |(day, clock)| (day, Some(clock)));
        let parts: Vec<i64> = day.split('-').map(str::parse).collect::<Result<_, _>>().ok()?;
        let span = |from: i64, until: i64| Some(Self { from: from * 86_400, until: until * 86_400 });
        let (year, month, date) = match parts[..] {
            [year] => return span(days(year, 1, 1), days(year + 1, 1, 1)),
            [year, 12] => return span(days(year, 12, 1), days(year + 1, 1, 1)),
            [year, month] => return span(days(year, month, 1), days(year, month + 1, 1)),
            [year, month, date] => (year, month, date),
            _ => return None,
        };
        let midnight = days(year, month, date);
        let Some(clock) = clock else { return span(midnight, midnight + 1) };
        let from = midnight * 86_400 + of_day(clock)?;
        Some(Self { from, until: from + 1 })
    }

    /// A period; what is not said of it has no bound.
    pub fn between(start: Option<&str>, end: Option<&str>) -> Option<Self> {
        if start.is_none() && end.is_none() {
            return None;
        }
        let from = start.map_or(Some(i64::MIN), |start| Self::of(start).map(|span| span.from))?;
        let until = end.map_or(Some(i64::MAX), |end| Self::of(end).map(|span| span.until))?;
        Some(Self { from, until })
    }
}

/// `hh:mm:ssZ`, or with an offset in place of the `Z`.
fn of_day(clock: &str) -> Option<i64> {
    let (time, offset) = match clock.split_once(['Z', '+', '-']) {
        Some((time, "")) => (time, 0),
        Some((time, offset)) if clock.contains('+') => (time, minutes(offset)?),
        Some((time, offset)) => (time, -minutes(offset)?),
        None => return None,
    };
    let (hours, second) = time.rsplit_once(':')?;
    Some((minutes(hours)? - offset) * 60 + second.parse::<i64>().ok()?)
}

fn minutes(written: &str) -> Option<i64> {
    let (hours, minutes) = written.split_once(':')?;
    Some(hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?)
}

/// Days from 1970-01-01, counted year by year and month by month.
fn days(year: i64, month: i64, date: i64) -> i64 {
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let of_year = |year: i64| if leap(year) { 366 } else { 365 };
    let of_month = |month: i64| match month {
        2 => of_year(year) - 337,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let years: i64 =
        if year >= 1970 { (1970..year).map(of_year).sum() } else { -(year..1970).map(of_year).sum::<i64>() };
    years + (1..month).map(of_month).sum::<i64>() + date - 1
}
