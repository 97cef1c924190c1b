//! References (FHIR R4 §3.1.1, "reference"), compared as identities.
//!
//! | written | matches |
//! | --- | --- |
//! | `id` | a resource of this server with that id, of any type the parameter may point at |
//! | `Type/id`, or `id` with `:Type` | that resource of this server |
//! | a URL below one of this server's bases | the same |
//! | any other URL | a reference with exactly that text |
//! | a URL, perhaps with `\|version` | a canonical of that URL, of that or of any version |
//!
//! Versioned values are refused: what they match differs between servers.

use crate::fhir::element::Element;
use crate::fhir::{ResourceType, is_id, split_unescaped};

use super::Site;
use super::identity::{Denotes, denotes, literal};
use super::value::{Form, Modifier, unescape};

/// A reference as searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Referred {
    Id(String, &'static [ResourceType]),
    Resource(ResourceType, String),
    Url { url: String, version: Option<String> },
}

impl Referred {
    pub(super) fn read(raw: &str, form: Form) -> Option<Self> {
        let version = form.version;
        let wanted = match form.modifier {
            Modifier::Type(wanted) => Some(wanted),
            Modifier::Above
            | Modifier::Below
            | Modifier::Contains
            | Modifier::Exact
            | Modifier::Identifier
            | Modifier::None
            | Modifier::OfType
            | Modifier::Text => None,
        };
        if is_id(raw) {
            let id = raw.to_owned();
            return Some(match wanted {
                Some(kind) => Self::Resource(kind, id),
                None => Self::Id(id, form.parameter.targets),
            });
        }
        if let Some((kind, id)) = raw.split_once('/')
            && let Some(kind) = version.resource_type(kind)
        {
            let fits = is_id(id) && wanted.is_none_or(|wanted| wanted == kind);
            return fits.then(|| Self::Resource(kind, id.to_owned()));
        }
        // What is left must be a whole URL, and a URL says its type itself.
        if wanted.is_some() || !raw.contains(':') || raw.contains(['#', '?']) || raw.contains("/_history/") {
            return None;
        }
        let mut parts = split_unescaped(raw, '|').map(unescape);
        let (url, version) = (parts.next()?, parts.next());
        let empty = url.is_empty() || version.as_ref().is_some_and(String::is_empty);
        (!empty && parts.next().is_none()).then_some(Self::Url { url, version })
    }

    pub(super) fn matches(&self, element: Element<'_>, site: &Site<'_>) -> bool {
        // A parameter of Bundle selects the resource itself.
        if let Some(kind) = element.resource_type() {
            return element.id().is_some_and(|id| match self {
                Self::Id(wanted, _) => wanted == id,
                Self::Resource(wanted, of) => wanted.as_str() == kind && of == id,
                Self::Url { .. } => false,
            });
        }
        match element.value() {
            Some(canonical) => self.is_canonical(canonical),
            None => literal(element).is_some_and(|text| self.is(text, site)),
        }
    }

    /// Whether a Reference with this text is meant.
    fn is(&self, text: &str, site: &Site<'_>) -> bool {
        let found = denotes(text, site);
        match self {
            Self::Id(wanted, targets) => matches!(
                found,
                Denotes::Local(kind, id) if id == wanted && (targets.is_empty() || targets.contains(&kind))
            ),
            Self::Resource(kind, wanted) => found == Denotes::Local(*kind, wanted),
            Self::Url { url, version: None } => match denotes(url, &Site { urns: None, ..*site }) {
                Denotes::Local(kind, id) => found == Denotes::Local(kind, id),
                Denotes::Contained(_) | Denotes::Elsewhere(_) => text == url,
            },
            Self::Url { version: Some(_), .. } => false,
        }
    }

    /// Whether this canonical is meant: it is a name, and only its own URL names it.
    fn is_canonical(&self, text: &str) -> bool {
        let (found, of) = text.split_once('|').map_or((text, None), |(url, version)| (url, Some(version)));
        match self {
            Self::Id(..) | Self::Resource(..) => false,
            Self::Url { url, version: None } => found == url,
            Self::Url { url, version } => found == url && of == version.as_deref(),
        }
    }
}
