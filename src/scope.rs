//! The SMART scope grammar, v2 and v1 (SMART App Launch 2.2, "Scopes for requesting FHIR Resources").
//!
//! `(patient|user|system)/(T|*).(c?r?u?d?s?)(?param=value&…)`. Reading a set of scopes never fails as a whole: a scope
//! that cannot be read grants nothing and widens nothing (SCOPE-3). Parameters are read here and enforced by `policy`.

use std::fmt;

use crate::fhir::{FhirVersion, Letter, ResourceType, SearchQuery};

/// Whose data a scope speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The launch patient's compartment.
    Patient,
    /// What the policy gives a client without a user.
    System,
    /// What the user may see.
    User,
}

impl Level {
    /// All levels.
    pub const ALL: [Self; 3] = [Self::Patient, Self::System, Self::User];

    /// The word in a scope.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Patient => "patient",
            Self::System => "system",
            Self::User => "user",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of permission letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Letters(u8);

impl Letters {
    /// Whether the letter is in the set.
    #[must_use]
    pub const fn has(self, letter: Letter) -> bool {
        self.0 & (1 << letter as u8) != 0
    }

    const fn with(self, letter: Letter) -> Self {
        Self(self.0 | 1 << letter as u8)
    }

    /// Reads `cruds` letters: a subset, in that order, each once (SCOPE-2).
    fn v2(written: &str) -> Result<Self, ScopeError> {
        let mut letters = Self::default();
        let mut last = None;
        for c in written.chars() {
            let letter = Letter::from_char(c).ok_or(ScopeError::Letters)?;
            if last.is_some_and(|last| letter <= last) {
                return Err(ScopeError::Letters);
            }
            last = Some(letter);
            letters = letters.with(letter);
        }
        if last.is_none() { Err(ScopeError::NoLetters) } else { Ok(letters) }
    }

    /// `read` is `rs`, `write` is `cud`, `*` is `cruds` (SCOPE-6).
    fn v1(written: &str) -> Option<Self> {
        let letters: &[Letter] = match written {
            "read" => &[Letter::Read, Letter::Search],
            "write" => &[Letter::Create, Letter::Update, Letter::Delete],
            "*" => &Letter::ALL,
            _ => return None,
        };
        Some(letters.iter().fold(Self::default(), |set, letter| set.with(*letter)))
    }
}

impl fmt::Display for Letters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Letter::ALL.iter().filter(|letter| self.has(**letter)).try_for_each(|l| write!(f, "{}", l.as_char()))
    }
}

/// One scope that grants something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    level: Level,
    resource: Option<ResourceType>,
    letters: Letters,
    only: SearchQuery,
    written: String,
}

impl Scope {
    /// Whose data it speaks of.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// The type it speaks of; absent for `*`.
    #[must_use]
    pub fn resource(&self) -> Option<ResourceType> {
        self.resource
    }

    /// What it permits.
    #[must_use]
    pub fn letters(&self) -> Letters {
        self.letters
    }

    /// The search that instances must match; empty: every instance.
    #[must_use]
    pub fn only(&self) -> &SearchQuery {
        &self.only
    }

    /// As it stood in the token.
    #[must_use]
    pub fn written(&self) -> &str {
        &self.written
    }

    /// Whether it names this letter for this type; no type means all of them.
    #[must_use]
    pub fn covers(&self, resource: Option<ResourceType>, letter: Letter) -> bool {
        self.letters.has(letter) && (self.resource.is_none() || self.resource == resource)
    }
}

/// The canonical v2 form; it parses to a scope that grants the same.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resource = self.resource.map_or("*", ResourceType::as_str);
        write!(f, "{}/{}.{}", self.level, resource, self.letters)?;
        if self.only.is_empty() { Ok(()) } else { write!(f, "?{}", self.only) }
    }
}

/// Why a scope that begins like a FHIR scope grants nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// No `.` between type and letters.
    #[error("expected `level/Type.letters`")]
    Form,
    /// Not a subset of `cruds` in order (SCOPE-2).
    #[error("permissions must be letters of `cruds` in that order")]
    Letters,
    /// No letter at all (SCOPE-4).
    #[error("no permission letter, so it grants nothing")]
    NoLetters,
    /// A v1 suffix while v1 is switched off (SCOPE-6).
    #[error("SMART v1 permissions are switched off")]
    V1Off,
    /// A v1 suffix with parameters (SCOPE-7).
    #[error("SMART v1 permissions take no parameters")]
    V1Parameters,
    /// Not a concrete type of the served FHIR version (SCOPE-5).
    #[error("`{0}` is no resource type of this FHIR version")]
    UnknownType(String),
    /// A dangling `?` or `&`, a parameter without name or value, or a broken escape (SCOPE-8).
    #[error("its parameters are not of the form `name=value&…`")]
    Parameters,
    /// A parameter that shapes results instead of selecting (SCOPE-49).
    #[error("`{0}` does not select resources")]
    NotSelecting(String),
    /// A parameter that the type does not define (SCOPE-48, SCOPE-50).
    #[error("`{0}` is no search parameter of this type")]
    UnknownParameter(String),
}

/// What a reader of scopes must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reader {
    /// The FHIR version whose types scopes may name.
    pub version: FhirVersion,
    /// Whether `.read`, `.write` and `.*` are understood (`permission-v1`).
    pub v1: bool,
}

/// The scopes of one token.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScopeSet {
    granted: Vec<Scope>,
    ignored: Vec<(String, ScopeError)>,
    /// The places of those that name a type, sorted by its name: a token may have thousands.
    by_type: Vec<(ResourceType, usize)>,
    /// The places of those that name all types.
    of_all: Vec<usize>,
}

impl ScopeSet {
    /// Reads scopes one by one. Those that are no FHIR scopes (`openid`, `launch/patient`, URIs) are passed over
    /// (SCOPE-10).
    pub fn parse<'a>(scopes: impl IntoIterator<Item = &'a str>, reader: Reader) -> Self {
        let mut set = Self::default();
        for written in scopes {
            match Scope::parse(written, reader) {
                None => {}
                Some(Ok(scope)) => set.granted.push(scope),
                Some(Err(error)) => set.ignored.push((written.to_owned(), error)),
            }
        }
        for (place, scope) in set.granted.iter().enumerate() {
            match scope.resource {
                Some(resource) => set.by_type.push((resource, place)),
                None => set.of_all.push(place),
            }
        }
        set.by_type.sort_unstable();
        set
    }

    /// Those that name this type or all types, in the order of the token; no type: only those that name all.
    pub fn naming(&self, resource: Option<ResourceType>) -> impl Iterator<Item = &Scope> {
        let named = resource.map_or(&[][..], |resource| self.of_type(resource));
        let mut named = named.iter().map(|(_, place)| *place).peekable();
        let mut all = self.of_all.iter().copied().peekable();
        std::iter::from_fn(move || {
            let from_named = match (named.peek(), all.peek()) {
                (Some(one), Some(two)) => one < two,
                (one, _) => one.is_some(),
            };
            if from_named { named.next() } else { all.next() }
        })
        .filter_map(|place| self.granted.get(place))
    }

    fn of_type(&self, resource: ResourceType) -> &[(ResourceType, usize)] {
        let from = self.by_type.partition_point(|(of, _)| *of < resource);
        let behind = self.by_type.get(from..).unwrap_or_default();
        let count = behind.partition_point(|(of, _)| *of == resource);
        behind.get(..count).unwrap_or_default()
    }

    /// Scopes that grant something.
    #[must_use]
    pub fn granted(&self) -> &[Scope] {
        &self.granted
    }

    /// Scopes that look like FHIR scopes but grant nothing, and why.
    #[must_use]
    pub fn ignored(&self) -> &[(String, ScopeError)] {
        &self.ignored
    }
}

impl Scope {
    /// Reads one scope; `None` when it is no FHIR scope at all.
    #[must_use]
    pub fn parse(written: &str, reader: Reader) -> Option<Result<Self, ScopeError>> {
        let (level, rest) = Level::ALL.into_iter().find_map(|level| {
            written
                .strip_prefix(level.as_str())
                .and_then(|rest| rest.strip_prefix('/'))
                .map(|rest| (level, rest))
        })?;
        Some(
            Self::after_level(level, rest, reader).map(|scope| Self { written: written.to_owned(), ..scope }),
        )
    }

    fn after_level(level: Level, rest: &str, reader: Reader) -> Result<Self, ScopeError> {
        let (head, query) = match rest.split_once('?') {
            Some((head, query)) => (head, Some(query)),
            None => (rest, None),
        };
        let (resource, suffix) = head.split_once('.').ok_or(ScopeError::Form)?;
        let letters = match Letters::v1(suffix) {
            None => Letters::v2(suffix)?,
            Some(_) if !reader.v1 => return Err(ScopeError::V1Off),
            Some(_) if query.is_some() => return Err(ScopeError::V1Parameters),
            Some(letters) => letters,
        };
        let resource = match resource {
            "*" => None,
            name => Some(
                reader.version.resource_type(name).ok_or_else(|| ScopeError::UnknownType(name.to_owned()))?,
            ),
        };
        let only = query.map_or(Ok(SearchQuery::default()), |query| only(query, resource, reader.version))?;
        Ok(Self { level, resource, letters, only, written: String::new() })
    }
}

/// Reads the parameters of a scope: all of them or none (SCOPE-8).
fn only(raw: &str, resource: Option<ResourceType>, version: FhirVersion) -> Result<SearchQuery, ScopeError> {
    let complete =
        |pair: &str| pair.split_once('=').is_some_and(|(name, value)| !name.is_empty() && !value.is_empty());
    if !raw.split('&').all(complete) {
        return Err(ScopeError::Parameters);
    }
    let query = SearchQuery::parse(raw).map_err(|_| ScopeError::Parameters)?;
    for parameter in &query {
        let code = parameter.code();
        if SHAPING.contains(&code) || JOINING.contains(&code) {
            return Err(ScopeError::NotSelecting(parameter.name().to_owned()));
        }
        // For `*` each type is looked at when it is asked for (SCOPE-50).
        let known = resource.is_none_or(|resource| version.search_parameter(resource, code).is_some());
        if !known || code.is_empty() {
            return Err(ScopeError::UnknownParameter(parameter.name().to_owned()));
        }
    }
    Ok(query)
}

/// Parameters that shape a result (SCOPE-49).
const SHAPING: [&str; 17] = [
    "_contained",
    "_containedType",
    "_count",
    "_elements",
    "_format",
    "_include",
    "_maxresults",
    "_offset",
    "_page",
    "_pretty",
    "_revinclude",
    "_score",
    "_since",
    "_sort",
    "_summary",
    "_total",
    "_type",
];

/// Parameters that reach into other resources (SCOPE-48).
const JOINING: [&str; 5] = ["_filter", "_has", "_in", "_list", "_query"];

#[cfg(test)]
mod tests {
    use super::*;

    const R4: Reader = Reader { version: FhirVersion::R4, v1: true };

    fn means(written: &str) -> Result<String, ScopeError> {
        Scope::parse(written, R4).unwrap_or(Err(ScopeError::Form)).map(|scope| scope.to_string())
    }

    /// SCOPE-2 … SCOPE-8, SCOPE-25, SCOPE-49: what a scope means, and the neighbour that means nothing.
    #[test]
    fn grammar() {
        use ScopeError::{
            Form, Letters, NoLetters, NotSelecting, Parameters, UnknownParameter, UnknownType, V1Parameters,
        };
        let table = [
            ("patient/Observation.rs", Ok("patient/Observation.rs")),
            ("user/*.cruds", Ok("user/*.cruds")),
            ("system/Patient.c", Ok("system/Patient.c")),
            ("system/Patient.rd", Ok("system/Patient.rd")),
            ("system/Patient.cud", Ok("system/Patient.cud")),
            ("patient/Observation.read", Ok("patient/Observation.rs")),
            ("patient/Observation.write", Ok("patient/Observation.cud")),
            ("patient/*.*", Ok("patient/*.cruds")),
            ("patient/Observation.rs?category=a|b", Ok("patient/Observation.rs?category=a%7Cb")),
            (
                "patient/Observation.rs?category=a%7Cb&status=final",
                Ok("patient/Observation.rs?category=a%7Cb&status=final"),
            ),
            ("patient/*.rs?_tag=x", Ok("patient/*.rs?_tag=x")),
            ("patient/Observation.sr", Err(Letters)),
            ("patient/Observation.dus", Err(Letters)),
            ("patient/Observation.rr", Err(Letters)),
            ("patient/Observation.RS", Err(Letters)),
            ("patient/Observation.rx", Err(Letters)),
            ("patient/Observation.rsXYZ", Err(Letters)),
            ("patient/Observation.read-only", Err(Letters)),
            ("patient/Observation.reads", Err(Letters)),
            ("patient/Observation.rs.rs", Err(Letters)),
            ("patient/Observation.", Err(NoLetters)),
            ("patient/Observation", Err(Form)),
            ("patient/", Err(Form)),
            ("patient/observation.rs", Err(UnknownType("observation".into()))),
            ("patient/Resource.rs", Err(UnknownType("Resource".into()))),
            ("patient/DomainResource.rs", Err(UnknownType("DomainResource".into()))),
            ("patient/Foo.rs", Err(UnknownType("Foo".into()))),
            ("patient/.rs", Err(UnknownType(String::new()))),
            ("patient/Observation.read?category=x", Err(V1Parameters)),
            ("patient/Observation.rs?", Err(Parameters)),
            ("patient/Observation.rs?category", Err(Parameters)),
            ("patient/Observation.rs?category=", Err(Parameters)),
            ("patient/Observation.rs?=x", Err(Parameters)),
            ("patient/Observation.rs?category=x&", Err(Parameters)),
            ("patient/Observation.rs?category=%zz", Err(Parameters)),
            ("patient/Observation.rs?_include=Observation:subject", Err(NotSelecting("_include".into()))),
            ("patient/Observation.rs?_count=1", Err(NotSelecting("_count".into()))),
            (
                "patient/Observation.rs?_has:Group:member:_id=1",
                Err(NotSelecting("_has:Group:member:_id".into())),
            ),
            ("patient/Observation.rs?colour=red", Err(UnknownParameter("colour".into()))),
        ];
        for (written, expected) in table {
            assert_eq!(means(written), expected.map(str::to_owned), "{written}");
        }
    }

    /// SCOPE-10: legal scopes that grant no FHIR access are neither granted nor complained about.
    #[test]
    fn scopes_of_others_are_passed_over() {
        let others = [
            "openid",
            "fhirUser",
            "launch",
            "launch/patient",
            "offline_access",
            "https://x/y.rs",
            "__x",
            "Patient/Observation.rs",
            "patients/Observation.rs",
            "",
        ];
        assert_eq!(ScopeSet::parse(others, R4), ScopeSet::default());
    }

    /// The scopes that are found by type are those that all together would give, in the order of the token.
    #[test]
    fn scopes_by_type() {
        let written = [
            "system/*.r",
            "patient/Observation.s",
            "system/Patient.r",
            "user/*.s",
            "user/Observation.c",
            "system/Account.r",
            "system/Patient.cud",
        ];
        let set = ScopeSet::parse(written, R4);
        for name in
            [None, Some("Account"), Some("Observation"), Some("Patient"), Some("Zebra"), Some("Group")]
        {
            let resource = name.and_then(|name| R4.version.resource_type(name));
            let naming = |scope: &&Scope| scope.resource.is_none() || scope.resource == resource;
            let expected: Vec<&Scope> = set.granted().iter().filter(naming).collect();
            assert_eq!(set.naming(resource).collect::<Vec<_>>(), expected, "{name:?}");
        }
        assert_eq!(set.naming(R4.version.resource_type("Patient")).count(), 4);
    }

    /// SCOPE-6: v1 permissions can be switched off.
    #[test]
    fn v1_can_be_off() {
        let reader = Reader { v1: false, ..R4 };
        for (written, expected) in [
            ("user/Patient.read", Some(ScopeError::V1Off)),
            ("user/Patient.*", Some(ScopeError::V1Off)),
            ("user/Patient.rs", None),
        ] {
            let error = Scope::parse(written, reader).and_then(Result::err);
            assert_eq!(error, expected, "{written}");
        }
    }

    proptest::proptest! {
        /// A scope prints to a form that parses to the same scope; no input panics.
        #[test]
        fn printing_and_parsing_agree(written in "(patient|user|system)/(Observation|Patient|\\*|X)\\.[cruds*]{0,5}(\\?[a-z_]{1,9}=[ -~]{1,9})?") {
            if let Some(Ok(scope)) = Scope::parse(&written, R4) {
                let again = Scope::parse(&scope.to_string(), R4).expect("a scope").expect("readable");
                proptest::prop_assert_eq!(again.to_string(), scope.to_string());
                proptest::prop_assert_eq!((again.level, again.resource, again.letters, again.only), (scope.level, scope.resource, scope.letters, scope.only));
            }
        }
    }
}
