//! Dates and times (FHIR R4 §3.1.1, "date").
//!
//! What is said of a time has a precision and is therefore a range, `[low, high)`; so is a Period, open where it does
//! not say. With S the range searched for and R the resource's:
//!
//! | prefix | holds when |
//! | --- | --- |
//! | `eq` | S contains R |
//! | `ne` | it does not |
//! | `gt` | R reaches above S |
//! | `lt` | R reaches below S |
//! | `ge`, `le` | `gt` or `eq`; `lt` or `eq` |
//! | `sa` | R begins after S |
//! | `eb` | R ends before S |
//!
//! `ap` depends on the time of the question and is refused. Where a side says no time zone, the server's own is meant,
//! which is not known here: the comparison must hold in UTC and in every zone that the two sides name.

use crate::fhir::element::Element;

use super::path::Item;
use super::value::unescape;

const DAY: i128 = 86_400 * SECOND;
const MINUTE: i128 = 60 * SECOND;
const SECOND: i128 = 1_000_000_000;

/// A comparison, as the prefix of a value says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prefix {
    Ap,
    Eb,
    Eq,
    Ge,
    Gt,
    Le,
    Lt,
    Ne,
    Sa,
}

impl Prefix {
    /// Takes the prefix off a value.
    pub(super) fn read(text: &str) -> (Self, &str) {
        let (prefix, rest) = text.split_at_checked(2).unwrap_or(("", text));
        let prefix = match prefix {
            "ap" => Self::Ap,
            "eb" => Self::Eb,
            "eq" => Self::Eq,
            "ge" => Self::Ge,
            "gt" => Self::Gt,
            "le" => Self::Le,
            "lt" => Self::Lt,
            "ne" => Self::Ne,
            "sa" => Self::Sa,
            _ => return (Self::Eq, text),
        };
        (prefix, rest)
    }
}

/// Dates as searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dates {
    prefix: Prefix,
    low: Moment,
    high: Moment,
}

/// A point on the clock on the wall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment {
    /// Nanoseconds since the wall showed 1970-01-01T00:00.
    wall: i128,
    /// How far the wall is ahead of UTC, in nanoseconds, where that is said.
    ahead: Option<i128>,
}

/// The range of a resource's dates; a side without a moment is open.
#[derive(Debug, Clone, Copy)]
struct Range {
    low: Option<Moment>,
    high: Option<Moment>,
}

impl Dates {
    pub(super) fn read(raw: &str) -> Option<Self> {
        let text = unescape(raw);
        let (prefix, rest) = Prefix::read(&text);
        let (low, high) = moments(rest)?;
        (prefix != Prefix::Ap).then_some(Self { prefix, low, high })
    }

    pub(super) fn matches(&self, item: &Item<'_>) -> bool {
        let Some(range) = range(item) else { return false };
        let sides = [Some(self.low), range.low, range.high].into_iter().flatten();
        let mut zones: Vec<i128> = sides.filter_map(|side| side.ahead).collect();
        zones.push(0);
        zones.into_iter().all(|zone| self.holds(range, zone))
    }

    /// Whether it holds when what says no zone is in this one.
    fn holds(&self, range: Range, zone: i128) -> bool {
        let at = |moment: Moment| moment.wall - moment.ahead.unwrap_or(zone);
        let (low, high) = (at(self.low), at(self.high));
        let (from, until) = (range.low.map(at), range.high.map(at));
        let contains = from.is_some_and(|from| low <= from) && until.is_some_and(|until| until <= high);
        let above = until.is_none_or(|until| until > high);
        let below = from.is_none_or(|from| from < low);
        match self.prefix {
            Prefix::Ap => false,
            Prefix::Eb => until.is_some_and(|until| until <= low),
            Prefix::Eq => contains,
            Prefix::Ge => above || contains,
            Prefix::Gt => above,
            Prefix::Le => below || contains,
            Prefix::Lt => below,
            Prefix::Ne => !contains,
            Prefix::Sa => from.is_some_and(|from| from >= high),
        }
    }
}

/// Whether the item says a time.
pub(super) fn is_indexed(item: &Item<'_>) -> bool {
    range(item).is_some()
}

fn range(item: &Item<'_>) -> Option<Range> {
    let element = item.element;
    if let Some(text) = element.value() {
        let (low, high) = moments(text).filter(|_| item.may_be(&["date", "dateTime", "instant"]))?;
        return Some(Range { low: Some(low), high: Some(high) });
    }
    let scheduled = ["event", "repeat"].iter().any(|part| element.children(part).next().is_some());
    if scheduled && item.may_be(&["Timing"]) {
        return timing(element);
    }
    period(element).filter(|_| item.may_be(&["Period"]))
}

/// A Period. One that is open on both sides says nothing, and neither does one with a side that cannot be read.
fn period(element: Element<'_>) -> Option<Range> {
    let side = |name| match element.children(name).count() {
        0 => Some(None),
        _ => moments(element.text(name)?).map(Some),
    };
    let (start, end) = (side("start")?, side("end")?);
    let range = Range { low: start.map(|(low, _)| low), high: end.map(|(_, high)| high) };
    (start.is_some() || end.is_some()).then_some(range)
}

/// The outer limits of a Timing. Where its `repeat` has none, they are not known.
fn timing(element: Element<'_>) -> Option<Range> {
    let mut ranges = Vec::new();
    for event in element.children("event") {
        let (low, high) = moments(event.value()?)?;
        ranges.push(Range { low: Some(low), high: Some(high) });
    }
    for repeat in element.children("repeat") {
        ranges.push(period(repeat.only("boundsPeriod")?)?);
    }
    // Which of several moments is the outermost needs a zone: with more than one kind of it, nothing is said.
    let moments = ranges.iter().flat_map(|range| [range.low, range.high]).flatten();
    let mut zoned = moments.map(|moment| moment.ahead.is_some());
    let first = zoned.next()?;
    if zoned.any(|next| next != first) {
        return None;
    }
    let at = |moment: &Moment| moment.wall - moment.ahead.unwrap_or(0);
    let lows: Option<Vec<_>> = ranges.iter().map(|range| range.low).collect();
    let highs: Option<Vec<_>> = ranges.iter().map(|range| range.high).collect();
    Some(Range {
        low: lows.and_then(|all| all.into_iter().min_by_key(at)),
        high: highs.and_then(|all| all.into_iter().max_by_key(at)),
    })
}

/// The first moment of a date or time, and the first one after it.
fn moments(text: &str) -> Option<(Moment, Moment)> {
    let (date, time) = text.split_once('T').map_or((text, None), |(date, time)| (date, Some(time)));
    let mut parts = date.split('-');
    let year = digits(parts.next()?, 4)?;
    let month = parts.next().map(|part| digits(part, 2)).map_or(Some(None), |it| it.map(Some))?;
    let day = parts.next().map(|part| digits(part, 2)).map_or(Some(None), |it| it.map(Some))?;
    let whole = parts.next().is_none() && year > 0;
    let (low, high) = match (month, day) {
        (None, None) => (civil(year, 1, 1)?, civil(year + 1, 1, 1)?),
        (Some(month), None) if month < 12 => (civil(year, month, 1)?, civil(year, month + 1, 1)?),
        (Some(month), None) => (civil(year, month, 1)?, civil(year + 1, 1, 1)?),
        (Some(month), Some(day)) => (civil(year, month, day)?, civil(year, month, day)? + 1),
        (None, Some(_)) => return None,
    };
    let (low, high) = (low * DAY, high * DAY);
    let Some(time) = time else {
        return whole.then_some((Moment { wall: low, ahead: None }, Moment { wall: high, ahead: None }));
    };
    let (clock, ahead) = zone(time)?;
    let (from, precision) = clock_time(clock)?;
    let moment = |wall| Moment { wall, ahead };
    (whole && day.is_some()).then(|| (moment(low + from), moment(low + from + precision)))
}

/// `hh:mm`, `hh:mm:ss` or `hh:mm:ss.fff`, with what its last digit counts. A leap second is none that all servers read.
fn clock_time(text: &str) -> Option<(i128, i128)> {
    let mut parts = text.split(':');
    let (hour, minute) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let seconds = parts.next();
    if parts.next().is_some() || hour > 23 || minute > 59 {
        return None;
    }
    let start = (i128::from(hour) * 60 + i128::from(minute)) * MINUTE;
    let Some(seconds) = seconds else { return Some((start, MINUTE)) };
    let (whole, fraction) = seconds.split_once('.').map_or((seconds, None), |(it, rest)| (it, Some(rest)));
    let second = digits(whole, 2).filter(|second| *second < 60)?;
    let start = start + i128::from(second) * SECOND;
    let Some(fraction) = fraction else { return Some((start, SECOND)) };
    let places = u32::try_from(fraction.len()).ok().filter(|places| (1..=9).contains(places))?;
    let unit = 10_i128.pow(9 - places);
    Some((start + i128::from(digits(fraction, fraction.len())?) * unit, unit))
}

/// Takes the time zone off a time.
fn zone(text: &str) -> Option<(&str, Option<i128>)> {
    if let Some(clock) = text.strip_suffix('Z') {
        return Some((clock, Some(0)));
    }
    let Some(at) = text.find(['+', '-']) else { return Some((text, None)) };
    let (clock, offset) = text.split_at_checked(at)?;
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = offset.trim_start_matches(['+', '-']).split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    let within = hours <= 14 && minutes < 60 && offset.len() == 6;
    within.then_some((clock, Some(sign * (i128::from(hours) * 60 + i128::from(minutes)) * MINUTE)))
}

/// The number that exactly so many digits write.
fn digits(text: &str, count: usize) -> Option<u32> {
    let plain = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// Days since 1970-01-01 of a date of the Gregorian calendar, if there is that date.
fn civil(year: u32, month: u32, day: u32) -> Option<i128> {
    let leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let long = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if !(1..=long).contains(&day) {
        return None;
    }
    // Years begin in March here, so that the leap day is the last of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let days =
        365 * i128::from(year) + i128::from(year / 4) - i128::from(year / 100) + i128::from(year / 400);
    Some(days + i128::from((153 * month + 2) / 5) + i128::from(day) - 1 - 719_468)
}
