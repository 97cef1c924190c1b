//! References (FHIR R4 §3.1.1.4.11), compared as identities.
//!
//! | written | matches |
//! | --- | --- |
//! | `id` | a resource of this server with that id, of any type the parameter may point at |
//! | `Type/id`, or `id` with `:Type` | that resource of this server |
//! | a URL below one of this server's bases | the same |
//! | any other URL | a reference or canonical with exactly that text; without `\|version`, a canonical of any version |
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
        let Some(text) = literal(element) else { return false };
        let found = denotes(text, site);
        match self {
            Self::Id(wanted, targets) => matches!(
                found,
                Denotes::Local(kind, id) if id == wanted && (targets.is_empty() || targets.contains(&kind))
            ),
            Self::Resource(kind, wanted) => found == Denotes::Local(*kind, wanted),
            Self::Url { url, version: None } => match denotes(url, &Site { urns: None, ..*site }) {
                Denotes::Local(kind, id) => found == Denotes::Local(kind, id),
                Denotes::Contained(_) | Denotes::Elsewhere(_) => {
                    text == url || is_canonical(element) && versionless(text) == url
                }
            },
            Self::Url { url, version: Some(version) } => {
                is_canonical(element) && text.split_once('|') == Some((url, version))
            }
        }
    }
}

fn is_canonical(element: Element<'_>) -> bool {
    element.value().is_some()
}

fn versionless(canonical: &str) -> &str {
    canonical.split_once('|').map_or(canonical, |(url, _)| url)
}
