//! Values that carry a unit, or the word `off`: how they are written and what they mean.
//!
//! A number without a unit is refused: `timeout = 30` is half a minute to one reader and thirty milliseconds to another.

use std::borrow::Cow;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

use super::settings::Rate;

/// The member of the JSON Schema that says which reader of this file a string goes through.
pub(super) const WRITTEN_AS: &str = "x-written-as";

/// A length of time, written `500ms`, `30s`, `5m`, `1h` or `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period(pub Duration);

/// A length of time, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaybePeriod(pub Option<Duration>);

/// A number of bytes, written `512B`, `32KiB`, `16MiB` or `1GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

/// A rate, written `200/s` or `200/s burst 400`, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaybeRate(pub Option<Rate>);

const PERIOD: &str = "a number with a unit (`ms`, `s`, `m`, `h`, `d`) such as `30s`";
const MAYBE_PERIOD: &str = "`off`, or a number with a unit (`ms`, `s`, `m`, `h`, `d`) such as `30s`";
const SIZE: &str = "a number with a unit (`B`, `KiB`, `MiB`, `GiB`) such as `16MiB`";
const MAYBE_RATE: &str = "`off`, or a rate such as `200/s` or `200/s burst 400`";

/// Splits `30s` into its number and its unit; signs, fractions and blanks are refused.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit))
}

impl FromStr for Period {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (number, unit) = number_and_unit(text).ok_or(PERIOD)?;
        let millis = match unit {
            "ms" => Some(number),
            "s" => number.checked_mul(1_000),
            "m" => number.checked_mul(60_000),
            "h" => number.checked_mul(3_600_000),
            "d" => number.checked_mul(86_400_000),
            _ => None,
        };
        millis.map(Duration::from_millis).map(Self).ok_or(PERIOD)
    }
}

impl FromStr for MaybePeriod {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self(None)),
            _ => text.parse().map(|Period(length)| Self(Some(length))).map_err(|_| MAYBE_PERIOD),
        }
    }
}

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (number, unit) = number_and_unit(text).ok_or(SIZE)?;
        let bytes = match unit {
            "B" => Some(number),
            "KiB" => number.checked_mul(1 << 10),
            "MiB" => number.checked_mul(1 << 20),
            "GiB" => number.checked_mul(1 << 30),
            _ => None,
        };
        bytes.map(Self).ok_or(SIZE)
    }
}

impl FromStr for MaybeRate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self(None));
        }
        let (rate, burst) = match text.split_once(" burst ") {
            Some((rate, burst)) => (rate, Some(burst)),
            None => (text, None),
        };
        let per_second = rate.strip_suffix("/s").and_then(count).ok_or(MAYBE_RATE)?;
        let burst = match burst {
            Some(burst) => count(burst).ok_or(MAYBE_RATE)?,
            None => per_second,
        };
        Ok(Self(Some(Rate { per_second, burst })))
    }
}

/// A whole number of at least one, digits only.
fn count(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|number| *number > 0)
}

/// Reads `text` the way the schema member [`WRITTEN_AS`] names; the error says what was expected.
pub(super) fn readable(written_as: &str, text: &str) -> Result<(), &'static str> {
    match written_as {
        "period" => text.parse::<Period>().map(drop),
        "period or off" => text.parse::<MaybePeriod>().map(drop),
        "size" => text.parse::<Size>().map(drop),
        "rate or off" => text.parse::<MaybeRate>().map(drop),
        _ => Err("a form this reader knows"),
    }
}

/// Reading and describing the written form is the same for each of these types.
macro_rules! written {
    ($type:ident, $written_as:literal, $pattern:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'_, str>::deserialize(deserializer)?;
                text.parse().map_err(|expected| de::Error::custom(format!("expected {expected}")))
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "x-written-as": $written_as })
            }
        }
    };
}

written!(Period, "period", "^[0-9]+(ms|s|m|h|d)$");
written!(MaybePeriod, "period or off", "^(off|[0-9]+(ms|s|m|h|d))$");
written!(Size, "size", "^[0-9]+(B|KiB|MiB|GiB)$");
written!(MaybeRate, "rate or off", "^(off|[1-9][0-9]*/s( burst [1-9][0-9]*)?)$");

/// One value, or a list of them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum OneOrMany<T> {
    /// A single value.
    One(T),
    /// Several.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// The values as a list.
    pub fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(value) => vec![value],
            Self::Many(values) => values,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_need_a_unit() {
        let table = [
            ("30s", Some(30_000)),
            ("500ms", Some(500)),
            ("5m", Some(300_000)),
            ("2h", Some(7_200_000)),
            ("1d", Some(86_400_000)),
            ("0s", Some(0)),
            ("30", None),
            ("s", None),
            ("", None),
            ("-1s", None),
            ("+1s", None),
            ("1.5s", None),
            ("30 s", None),
            ("30S", None),
            ("30sec", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
        ];
        for (written, millis) in table {
            let read = written.parse::<Period>().ok().map(|Period(length)| length.as_millis());
            assert_eq!(read, millis, "{written}");
        }
        assert_eq!("off".parse(), Ok(MaybePeriod(None)));
        assert!("off".parse::<Period>().is_err());
        assert!("Off".parse::<MaybePeriod>().is_err());
    }

    #[test]
    fn sizes_need_a_unit() {
        let table = [
            ("512B", Some(512)),
            ("32KiB", Some(32 << 10)),
            ("16MiB", Some(16 << 20)),
            ("1GiB", Some(1 << 30)),
            ("16", None),
            ("16MB", None),
            ("16mib", None),
            ("1.5MiB", None),
            ("17179869184GiB", None),
        ];
        for (written, bytes) in table {
            assert_eq!(written.parse::<Size>().ok().map(|Size(bytes)| bytes), bytes, "{written}");
        }
    }

    #[test]
    fn rates_are_per_second() {
        let table = [
            ("off", Some(None)),
            ("200/s", Some(Some((200, 200)))),
            ("200/s burst 400", Some(Some((200, 400)))),
            ("0/s", None),
            ("200/s burst 0", None),
            ("200/m", None),
            ("200", None),
            ("+2/s", None),
            ("200/s burst", None),
            ("200/s  burst 4", None),
        ];
        for (written, rate) in table {
            let read = written.parse::<MaybeRate>().ok();
            let read = read.map(|MaybeRate(rate)| rate.map(|rate| (rate.per_second, rate.burst)));
            assert_eq!(read, rate, "{written}");
        }
    }
}
