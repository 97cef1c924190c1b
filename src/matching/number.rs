//! Numbers and quantities (FHIR R4 §3.1.1, "number" and "quantity"), as decimals and never as floating point.
//!
//! Without a prefix a value stands for all numbers that round to it: `100` for `[99.5, 100.5)`, `100.00` for
//! `[99.995, 100.005)`. `1e2` has one significant figure, yet FHIR's example gives it `[95, 105)`; that is followed,
//! since it is the narrower. With `gt`, `lt`, `ge`, `le`, `sa` and `eb` a value is exactly itself; `ap` takes a tenth
//! of it to both sides. A Range is compared as a whole, as dates are.
//!
//! Units are never converted. A Quantity with a comparator (`< 5`) says no number and does not match.

use crate::fhir::element::Element;
use crate::fhir::split_unescaped;

use super::date::Prefix;
use super::path::Item;
use super::value::unescape;

/// Decimal places that are kept. More of them, or numbers of more than twenty digits before the point, are not
/// compared.
const PLACES: i32 = 18;

/// A number, counted in units of the last place kept.
type Fixed = i128;

/// A decimal as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Decimal {
    number: Fixed,
    /// Half of what the last digit counts.
    half: Fixed,
}

/// Numbers as searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Numbers {
    prefix: Prefix,
    decimal: Decimal,
}

/// What a resource says: a number, or a Range whose open sides have none.
#[derive(Debug, Clone, Copy)]
struct Span {
    low: Option<Fixed>,
    high: Option<Fixed>,
}

impl Numbers {
    pub(super) fn read(raw: &str) -> Option<Self> {
        let (prefix, rest) = Prefix::read(raw);
        let decimal = decimal(rest)?;
        // The half of the last place must be a number too.
        (decimal.half > 0).then_some(Self { prefix, decimal })
    }

    pub(super) fn matches(&self, item: &Item<'_>) -> bool {
        span(item).is_some_and(|span| self.holds(span))
    }

    fn holds(&self, Span { low, high }: Span) -> bool {
        let Decimal { number, half } = self.decimal;
        let contains =
            low.is_some_and(|low| low >= number - half) && high.is_some_and(|high| high < number + half);
        let tenth = number.abs() / 10;
        match self.prefix {
            Prefix::Ap => {
                low.is_none_or(|low| low <= number + tenth) && high.is_none_or(|high| high >= number - tenth)
            }
            Prefix::Eb => high.is_some_and(|high| high < number),
            Prefix::Eq => contains,
            Prefix::Ge => high.is_none_or(|high| high >= number),
            Prefix::Gt => high.is_none_or(|high| high > number),
            Prefix::Le => low.is_none_or(|low| low <= number),
            Prefix::Lt => low.is_none_or(|low| low < number),
            Prefix::Ne => !contains,
            Prefix::Sa => low.is_some_and(|low| low > number),
        }
    }
}

/// Whether the item says a number.
pub(super) fn is_number(item: &Item<'_>) -> bool {
    span(item).is_some()
}

fn span(item: &Item<'_>) -> Option<Span> {
    if let Some(text) = item.element.value() {
        let number = decimal(text)?.number;
        return item.may_be(NUMBERS).then_some(Span { low: Some(number), high: Some(number) });
    }
    if !item.may_be(&["Range"]) {
        return None;
    }
    let quantities = [side(item.element, "low")?, side(item.element, "high")?];
    let [low, high] = quantities.map(|side| side.map(amount));
    ends(low, high)
}

const NUMBERS: &[&str] = &["decimal", "integer", "integer64", "positiveInt", "unsignedInt"];

/// Quantities as searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Quantities {
    numbers: Numbers,
    unit: Unit,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Unit {
    Any,
    /// `|system|code`.
    Coded(String, String),
    /// `||code`: the code or the unit as people read it.
    Named(String),
}

impl Quantities {
    pub(super) fn read(raw: &str) -> Option<Self> {
        let parts: Vec<_> = split_unescaped(raw, '|').collect();
        let (number, unit) = match *parts.as_slice() {
            [number] => (number, Unit::Any),
            [number, "", code] if !code.is_empty() => (number, Unit::Named(unescape(code))),
            [number, system, code] if !code.is_empty() => {
                (number, Unit::Coded(unescape(system), unescape(code)))
            }
            _ => return None,
        };
        Some(Self { numbers: Numbers::read(number)?, unit })
    }

    pub(super) fn matches(&self, item: &Item<'_>) -> bool {
        measured(item).is_some_and(|(span, quantities)| {
            self.numbers.holds(span) && quantities.into_iter().flatten().all(|it| self.unit.is(it))
        })
    }
}

impl Unit {
    fn is(&self, quantity: Element<'_>) -> bool {
        let says = |name, wanted: &str| quantity.text(name) == Some(wanted);
        match self {
            Self::Any => true,
            // ISO 4217 is the system of Money.currency (FHIR R4 §3.1.1, "quantity").
            Self::Coded(system, code) => {
                says("system", system) && says("code", code)
                    || system == "urn:iso:std:iso:4217" && says("currency", code)
            }
            Self::Named(code) => says("code", code) || says("unit", code) || says("currency", code),
        }
    }
}

/// Whether the item says a quantity.
pub(super) fn is_quantity(item: &Item<'_>) -> bool {
    measured(item).is_some()
}

/// What a Quantity or a Range says, with the quantities that have its units.
fn measured<'d>(item: &Item<'d>) -> Option<(Span, [Option<Element<'d>>; 2])> {
    let element = item.element;
    let ranges = ["low", "high"].iter().any(|side| element.children(side).next().is_some());
    if ranges {
        let sides = [side(element, "low")?, side(element, "high")?];
        let [low, high] = sides.map(|side| side.map(amount));
        return item.may_be(&["Range"]).then_some((ends(low, high)?, sides));
    }
    let number = amount(element).filter(|_| item.may_be(QUANTITIES))?;
    Some((Span { low: Some(number), high: Some(number) }, [Some(element), None]))
}

const QUANTITIES: &[&str] = &["Age", "Count", "Distance", "Duration", "Money", "Quantity"];

/// One side of a Range; none at all when it is there more than once.
fn side<'d>(range: Element<'d>, name: &str) -> Option<Option<Element<'d>>> {
    match range.children(name).count() {
        0 => Some(None),
        _ => range.only(name).map(Some),
    }
}

/// A Range between sides that can be read. One that is open on both says nothing.
fn ends(low: Option<Option<Fixed>>, high: Option<Option<Fixed>>) -> Option<Span> {
    match (low, high) {
        (Some(None), _) | (_, Some(None)) | (None, None) => None,
        (low, high) => Some(Span { low: low.flatten(), high: high.flatten() }),
    }
}

/// The number of a quantity, if it is one and not a limit.
fn amount(quantity: Element<'_>) -> Option<Fixed> {
    let limit = quantity.children("comparator").next().is_some();
    decimal(quantity.text("value")?).filter(|_| !limit).map(|decimal| decimal.number)
}

/// Reads a decimal (FHIR R4 §2.24, "Primitive Types"). None too when it has more places than are kept.
fn decimal(text: &str) -> Option<Decimal> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) =
        text.split_once(['e', 'E']).map_or((text, None), |(it, rest)| (it, Some(rest)));
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(it, rest)| (it, Some(rest)));
    let fraction = match fraction {
        Some("") => return None,
        other => other.unwrap_or_default(),
    };
    let exponent: i32 = match exponent {
        None => 0,
        Some(exponent) => {
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            let plain = (1..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
            exponent.parse().ok().filter(|_| plain)?
        }
    };
    let last = exponent - i32::try_from(fraction.len()).ok()?;
    let mut digits: Fixed = 0;
    for byte in whole.bytes().chain(fraction.bytes()) {
        let digit = byte.is_ascii_digit().then(|| Fixed::from(byte - b'0'))?;
        digits = digits.checked_mul(10)?.checked_add(digit)?;
    }
    let power = |places: i32| 10_i128.checked_pow(u32::try_from(places).ok()?);
    let number = digits.checked_mul(power(PLACES + last)?)?;
    // As FHIR's `1e2` has it: a last digit that counts more than one is taken for a tenth of what it says.
    let half = match last {
        ..=0 => power(PLACES + last)? / 2,
        1.. => power(PLACES + last)?.checked_div(20)?,
    };
    let bounded = number <= LARGEST && half <= LARGEST && !whole.is_empty();
    bounded.then_some(Decimal { number: if negative { -number } else { number }, half })
}

/// Numbers up to here can be added without a check.
const LARGEST: Fixed = Fixed::MAX / 4;
