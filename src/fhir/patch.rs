//! Applies a patch to a stored resource in memory, so that what would result can be held against the grant before
//! anything is sent (REST-14, REST-40).
//!
//! JSON Patch follows RFC 6902. FHIRPath Patch follows FHIR R4 §3.1.0.10.3, with the part of FHIRPath that selects by
//! name, position and literal. The result is only checked; what is sent on is the patch as submitted. So the server
//! behind us computes it again, and a result of ours that is more inside the grant than its own would be a hole:
//! whatever servers are known to compute differently, or could, is refused and never guessed. This is stricter than
//! the specifications. Comments name what was found in servers.
//!
//! Type and id of the resource are never touched. Lists that become empty go, as FHIR's JSON wants it.

mod fhirpath;
mod naming;
mod parameters;
mod path;
mod rfc6902;
mod select;
mod tree;

#[rustfmt::skip]
mod choices;

use crate::fhir::element::{self, ElementError};
use crate::fhir::{Document, FhirVersion, Format};

use tree::Tree;

/// Most operations of one patch.
const OPERATIONS: usize = 1000;

/// Most elements that all paths of one patch may pass.
const VISITS: usize = 1_000_000;

/// Why a patch has no result. The texts in it are the client's own; but which variant it is may tell of the stored
/// resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// More than one element is meant, or servers could mean different ones.
    #[error("`{0}` must mean one element, and the same to every server")]
    Ambiguous(String),
    /// A value where one is added that may stand only once.
    #[error("`{0}` is there already")]
    Exists(String),
    /// Not a patch.
    #[error("the patch must be {0}")]
    Form(&'static str),
    /// The resource itself, its type or its id.
    #[error("a patch must not touch the resource as a whole, its type or its id")]
    Identity,
    /// A position that the list does not have.
    #[error("`{path}` has no position {index}")]
    Index {
        /// The list.
        path: String,
        /// The position, counted from 0.
        index: usize,
    },
    /// The path leads to nothing.
    #[error("`{0}` is not there")]
    Missing(String),
    /// What results is no FHIR resource.
    #[error("the patch leaves {0}")]
    Result(&'static str),
    /// The stored resource cannot be read.
    #[error("the stored resource cannot be read: {0}")]
    Stored(ElementError),
    /// A `test` fails.
    #[error("the test of `{0}` fails")]
    Test(String),
    /// More operations, depth or size than is worked through.
    #[error("the patch must be smaller, in operations, depth and length")]
    TooMuch,
    /// Not JSON or XML that every reader takes the same way.
    #[error("the patch cannot be read: {0}")]
    Unreadable(ElementError),
    /// What may be a patch, but is not applied here.
    #[error("`{text}` is not supported: expected {expected}")]
    Unsupported {
        /// What was found.
        text: String,
        /// What would be understood.
        expected: &'static str,
    },
}

impl PatchError {
    fn ambiguous(text: &str) -> Self {
        Self::Ambiguous(shown(text))
    }

    fn index(path: &str, index: usize) -> Self {
        Self::Index { path: shown(path), index }
    }

    fn missing(text: &str) -> Self {
        Self::Missing(shown(text))
    }

    fn test(text: &str) -> Self {
        Self::Test(shown(text))
    }

    fn unsupported(text: &str, expected: &'static str) -> Self {
        Self::Unsupported { text: shown(text), expected }
    }
}

/// The resource that a JSON Patch (RFC 6902) makes of a stored one, as JSON.
///
/// # Errors
/// When the patch does not apply, or servers could disagree on what it does.
pub fn json(stored: &[u8], patch: &[u8]) -> Result<Vec<u8>, PatchError> {
    let mut resource = resource(stored)?;
    let before = identity(&resource);
    let patch = Tree::json(patch).map_err(|error| PatchError::Unreadable(error.into()))?;
    rfc6902::apply(&mut resource, &patch)?;
    written(resource, before)
}

/// The resource that a FHIRPath Patch, the Parameters in either format, makes of a stored one, as JSON.
///
/// # Errors
/// When the patch does not apply, or servers could disagree on what it does.
pub fn fhirpath(stored: &[u8], patch: &Document, version: FhirVersion) -> Result<Vec<u8>, PatchError> {
    let mut resource = resource(stored)?;
    let before = identity(&resource);
    let unreadable = PatchError::Unreadable;
    if patch.resource_type() != "Parameters" {
        return Err(PatchError::Form("a Parameters resource"));
    }
    let parameters = match patch.format() {
        Format::Json => Tree::json(patch.bytes()).map_err(|error| unreadable(error.into()))?,
        Format::Xml => {
            let document = element::Document::read(patch.bytes(), Format::Xml).map_err(unreadable)?;
            Tree::element(document.root())?
        }
    };
    fhirpath::apply(&mut resource, &parameters, version)?;
    written(resource, before)
}

/// Type and id, and what JSON keeps beside the id.
type Identity = [Option<Tree>; 3];

fn identity(resource: &Tree) -> Identity {
    ["resourceType", "id", "_id"].map(|name| resource.member(name).cloned())
}

/// Whether a member of a resource is its type or id, in any case: to some servers cases are one.
fn is_identity(name: &str) -> bool {
    ["resourceType", "id", "_id"].iter().any(|it| it.eq_ignore_ascii_case(name))
}

/// A position: digits without leading zeros.
fn number(digits: &str) -> Option<usize> {
    let plain = digits == "0" || !digits.starts_with('0');
    let short = (1..=9).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain && short)
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

fn resource(stored: &[u8]) -> Result<Tree, PatchError> {
    element::Document::read(stored, Format::Json).map_err(PatchError::Stored)?;
    Tree::json(stored).map_err(|error| PatchError::Stored(error.into()))
}

fn written(mut resource: Tree, before: Identity) -> Result<Vec<u8>, PatchError> {
    if identity(&resource) != before {
        return Err(PatchError::Identity);
    }
    prune(&mut resource);
    check(&resource)?;
    let mut bytes = Vec::new();
    resource.write(&mut bytes);
    // The reader that policy asks with has the last word.
    element::Document::read(&bytes, Format::Json)
        .map_err(|_| PatchError::Result("something that is no FHIR resource"))?;
    Ok(bytes)
}

/// Takes out lists without items (FHIR R4 §2.1.4 JSON: arrays are never empty).
fn prune(tree: &mut Tree) {
    match tree {
        Tree::List(items) => items.iter_mut().for_each(prune),
        Tree::Object(members) => {
            members.retain(|(_, member)| !matches!(member, Tree::List(items) if items.is_empty()));
            members.iter_mut().for_each(|(_, member)| prune(member));
        }
        Tree::Bool(_) | Tree::Null | Tree::Number(_) | Tree::Text(_) | Tree::Untyped(_) => {}
    }
}

/// Refuses elements without content: one server leaves them out, the next counts them.
fn check(tree: &Tree) -> Result<(), PatchError> {
    const EMPTY: PatchError = PatchError::Result("an element without content");
    if let Tree::Object(members) = tree {
        if members.is_empty() {
            return Err(EMPTY);
        }
        for (name, member) in members {
            // ext-1: an extension has a value or extensions.
            let bare = |it: &Tree| matches!(it.members(), [(only, _)] if only == "url");
            match member {
                Tree::List(items) if name == "extension" && items.iter().any(bare) => return Err(EMPTY),
                Tree::Null => return Err(EMPTY),
                Tree::List(items) => {
                    let twin = name.strip_prefix('_').map_or_else(|| format!("_{name}"), str::to_owned);
                    let twin = tree.member(&twin);
                    for (at, item) in items.iter().enumerate() {
                        // `null` keeps the place of a primitive that has extensions only, or none.
                        let filled = matches!(twin, Some(Tree::List(twins)) if twins.get(at).is_some_and(|it| *it != Tree::Null));
                        if *item == Tree::Null && !filled {
                            return Err(EMPTY);
                        }
                        check(item)?;
                    }
                }
                Tree::Object(_) => check(member)?,
                Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) | Tree::Untyped(_) => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
