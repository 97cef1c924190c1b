//! URIs: compared exactly, case and all (FHIR R4 §3.1.1, "uri").
//!
//! `:below` takes a value for the root of a tree and `:above` for a leaf of it; both go by whole path segments, so that
//! `http://a/b` is not above `http://a/bc`. URNs have no tree.

use crate::fhir::element::Element;

use super::value::{Modifier, unescape};

/// A URI as searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Uri {
    text: String,
    relation: Relation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Above,
    Below,
    Same,
}

impl Uri {
    pub(super) fn read(raw: &str, modifier: Modifier) -> Option<Self> {
        let relation = match modifier {
            Modifier::Above => Relation::Above,
            Modifier::Below => Relation::Below,
            Modifier::Contains
            | Modifier::Exact
            | Modifier::Identifier
            | Modifier::None
            | Modifier::OfType
            | Modifier::Text
            | Modifier::Type(_) => Relation::Same,
        };
        Some(Self { text: unescape(raw), relation })
    }

    pub(super) fn matches(&self, element: Element<'_>) -> bool {
        element.value().is_some_and(|found| match self.relation {
            Relation::Above => is_below(&self.text, found),
            Relation::Below => is_below(found, &self.text),
            Relation::Same => found == self.text,
        })
    }
}

fn is_below(leaf: &str, root: &str) -> bool {
    let Some(rest) = leaf.strip_prefix(root) else { return false };
    rest.is_empty() || root.contains("://") && (root.ends_with('/') || rest.starts_with('/'))
}
