//! Where a request points: path segments below the FHIR base, and the query.
//!
//! There is one normalisation and it is strict (HTTP-7): unreserved characters may be percent-encoded, everything that
//! two servers could read differently is refused. What FHIR puts into a path is a small alphabet, so that is all that
//! is let in: no dot segments, empty segments, encoded separators, double encoding, parameters or backslashes.
//! What is sent on is written from what was read here.

use std::fmt;

use crate::fhir::query::hex;
use crate::fhir::{QueryError, SearchQuery};

/// The normalised target of one request, relative to the FHIR base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    segments: Vec<String>,
    query: SearchQuery,
}

/// Why a target cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The path lies outside the FHIR base.
    #[error("the path is not below the FHIR base")]
    OutsideBase,
    /// A `.` or `..` segment, encoded or not.
    #[error("the path has a dot segment")]
    DotSegment,
    /// `//`.
    #[error("the path has an empty segment")]
    EmptySegment,
    /// A character that no FHIR path has, or a broken escape.
    #[error("the path has a character that no FHIR path has")]
    ForeignCharacter,
    /// A fragment.
    #[error("the target has a fragment")]
    Fragment,
    /// The query cannot be read.
    #[error(transparent)]
    Query(#[from] QueryError),
}

impl Target {
    /// Reads a target as it stands in a request line, below `base_path` (`/fhir`, or empty for the root).
    ///
    /// # Errors
    /// When it is outside the base or not unambiguous.
    pub fn below(base_path: &str, raw: &str) -> Result<Self, TargetError> {
        let rest = raw.strip_prefix(base_path).ok_or(TargetError::OutsideBase)?;
        match rest.bytes().next() {
            None | Some(b'/' | b'?') => Self::relative(rest.strip_prefix('/').unwrap_or(rest)),
            Some(_) => Err(TargetError::OutsideBase),
        }
    }

    /// Reads a target relative to the base, without a leading slash: `Observation?code=x`.
    ///
    /// # Errors
    /// When it is not unambiguous.
    pub fn relative(raw: &str) -> Result<Self, TargetError> {
        if raw.contains('#') {
            return Err(TargetError::Fragment);
        }
        let (path, query) = raw.split_once('?').unwrap_or((raw, ""));
        // One trailing slash means the same as none (REST-2).
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments = match path {
            "" if raw.starts_with('/') => return Err(TargetError::EmptySegment),
            "" => Vec::new(),
            path => path.split('/').map(segment).collect::<Result<_, _>>()?,
        };
        Ok(Self { segments, query: SearchQuery::parse(query)? })
    }

    /// A target made of parts that were read before.
    #[must_use]
    pub fn from_parts(segments: Vec<String>, query: SearchQuery) -> Self {
        Self { segments, query }
    }

    /// The decoded path segments.
    #[must_use]
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// The query.
    #[must_use]
    pub fn query(&self) -> &SearchQuery {
        &self.query
    }

    /// The same path with another query.
    #[must_use]
    pub fn with_query(self, query: SearchQuery) -> Self {
        Self { query, ..self }
    }
}

/// The canonical form, without a leading slash.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.segments.join("/"))?;
        if !self.query.is_empty() {
            write!(f, "?{}", self.query)?;
        }
        Ok(())
    }
}

fn segment(raw: &str) -> Result<String, TargetError> {
    if raw.is_empty() {
        return Err(TargetError::EmptySegment);
    }
    let mut decoded = String::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => match (hex(bytes.next()), hex(bytes.next())) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err(TargetError::ForeignCharacter),
            },
            other => other,
        };
        // `$` starts an operation's name and may come encoded (OPS-1); `*` stands for all types of a compartment.
        if byte.is_ascii_alphanumeric() || b"-._~$*".contains(&byte) {
            decoded.push(char::from(byte));
        } else {
            return Err(TargetError::ForeignCharacter);
        }
    }
    if matches!(decoded.as_str(), "." | "..") { Err(TargetError::DotSegment) } else { Ok(decoded) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// HTTP-7, REST-2, OPS-1 and the path class of the hostile catalogue.
    #[test]
    fn one_strict_normalisation() {
        use TargetError::{DotSegment, EmptySegment, ForeignCharacter, Fragment, OutsideBase};
        let table = [
            ("/fhir", Ok("")),
            ("/fhir/", Ok("")),
            ("/fhir?_type=Patient", Ok("?_type=Patient")),
            ("/fhir/?_type=Patient", Ok("?_type=Patient")),
            ("/fhir/Patient/p1", Ok("Patient/p1")),
            ("/fhir/Encounter/?patient=1", Ok("Encounter?patient=1")),
            ("/fhir/Patient/p%31", Ok("Patient/p1")),
            ("/fhir/%50atient/p1", Ok("Patient/p1")),
            ("/fhir/Patient/p1/%24everything", Ok("Patient/p1/$everything")),
            ("/fhir/Patient/p1.", Ok("Patient/p1.")),
            ("/fhir/Patient/p1/*", Ok("Patient/p1/*")),
            ("/fhir2/Patient", Err(OutsideBase)),
            ("/other", Err(OutsideBase)),
            ("/fhir/Patient/../p1", Err(DotSegment)),
            ("/fhir/Observation/%2e%2e/Patient/p2", Err(DotSegment)),
            ("/fhir/./Patient", Err(DotSegment)),
            ("/fhir//Patient", Err(EmptySegment)),
            ("/fhir//", Err(EmptySegment)),
            ("/fhir/Patient//", Err(EmptySegment)),
            ("/fhir/Patient%2Fp2", Err(ForeignCharacter)),
            ("/fhir/Patient%5Cp2", Err(ForeignCharacter)),
            ("/fhir/Patient\\p2", Err(ForeignCharacter)),
            ("/fhir/Patient%00", Err(ForeignCharacter)),
            ("/fhir/Observation/%252e%252e", Err(ForeignCharacter)),
            ("/fhir/Patient;x=1/p2", Err(ForeignCharacter)),
            ("/fhir/Patient/p%", Err(ForeignCharacter)),
            ("/fhir/P%C3%A4tient", Err(ForeignCharacter)),
            ("/fhir/Patient/p 2", Err(ForeignCharacter)),
            ("/fhir/Patient#x", Err(Fragment)),
            ("/fhir/Patient?a=%zz", Err(TargetError::Query(QueryError::BadEscape))),
        ];
        for (raw, normal) in table {
            let read = Target::below("/fhir", raw).map(|target| target.to_string());
            assert_eq!(read, normal.map(str::to_owned), "{raw}");
        }
        assert_eq!(Target::below("", "/Patient").map(|t| t.to_string()), Ok("Patient".into()));
    }

    proptest::proptest! {
        /// Reading what was written gives the same target; nothing panics.
        #[test]
        fn writing_and_reading_agree(raw in "\\PC*") {
            if let Ok(target) = Target::relative(&raw) {
                proptest::prop_assert_eq!(Target::relative(&target.to_string()), Ok(target));
            }
        }
    }
}
