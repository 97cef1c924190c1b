//! What a reference denotes (COMP-7).
//!
//! A literal reference is compared as an identity, never as text: `Patient/x`, `[public base]/Patient/x`, `[backend
//! base]/Patient/x` and each with `/_history/v` are one resource (FHIR R4 §2.3, "Literal References"). `http` and
//! `https` denote the same, the host's case and a default port do not count, any other port does. Everything else is
//! not a resource of this server: another base, a contained resource, a conditional reference, a fragment, a path
//! that would have to be resolved first. What it might be is kept, because a write must not smuggle in what cannot be
//! told.

use crate::fhir::element::Element;
use crate::fhir::{FhirVersion, ResourceType, is_id};

use super::Site;
use super::path::Scene;

/// What a literal reference stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denotes<'a> {
    /// A resource inside the one that refers: its id.
    Contained(&'a str),
    /// Something that is not known to be a resource of this server; its type, where the text tells.
    Elsewhere(Option<ResourceType>),
    /// The resource of this server with that type and id.
    Local(ResourceType, &'a str),
}

/// What a literal reference denotes.
pub(super) fn denotes<'a>(literal: &'a str, site: &Site<'a>) -> Denotes<'a> {
    if let Some(fragment) = literal.strip_prefix('#') {
        return Denotes::Contained(fragment);
    }
    if literal.starts_with("urn:") {
        let stands_for = site.urns.and_then(|urns| urns.get(literal));
        return stands_for.map_or(Denotes::Elsewhere(None), |it| relative(it, site.version));
    }
    if !literal.contains("://") {
        return relative(literal, site.version);
    }
    match [site.public_base, site.backend_base].into_iter().find_map(|base| below(literal, base)) {
        Some(rest) => relative(rest, site.version),
        None => Denotes::Elsewhere(foreign(literal, site.version)),
    }
}

/// The type that a reference leads to: by what it denotes or, where it has no text, by `Reference.type`.
pub(super) fn kind_of(element: Element<'_>, scene: Scene<'_, '_>) -> Option<ResourceType> {
    if element.value().is_none() && element.children("reference").next().is_none() {
        return element.text("type").and_then(|name| scene.site.version.resource_type(name));
    }
    match denotes(literal(element)?, scene.site) {
        Denotes::Contained(id) => contained(id, scene),
        Denotes::Elsewhere(kind) => kind,
        Denotes::Local(kind, _) => Some(kind),
    }
}

/// The text of a Reference, or a canonical as it stands. None where there is no text, or more than one.
pub(super) fn literal<'d>(element: Element<'d>) -> Option<&'d str> {
    element.value().or_else(|| element.text("reference"))
}

/// The type of the contained resource of this id, if there is exactly one.
pub(super) fn contained(id: &str, scene: Scene<'_, '_>) -> Option<ResourceType> {
    let mut named = scene.root.children("contained").filter(|it| it.id() == Some(id));
    let first = named.next().filter(|_| named.next().is_none())?;
    scene.site.version.resource_type(first.resource_type()?)
}

/// `Type/id`, perhaps with `/_history/v`; a conditional reference tells its type.
fn relative(text: &str, version: FhirVersion) -> Denotes<'_> {
    if let Some((kind, _)) = text.split_once('?') {
        return Denotes::Elsewhere(version.resource_type(kind));
    }
    let mut segments = text.split('/');
    let parts = [(); 5].map(|()| segments.next());
    let (kind, id) = match parts {
        [Some(kind), Some(id), None, ..] => (kind, id),
        [Some(kind), Some(id), Some("_history"), Some(of), None] if names_one(of) => (kind, id),
        _ => return Denotes::Elsewhere(None),
    };
    match version.resource_type(kind) {
        Some(kind) if names_one(id) => Denotes::Local(kind, id),
        Some(_) | None => Denotes::Elsewhere(None),
    }
}

/// The type that the path of an absolute URL ends in: `…/Type/id`, perhaps with `/_history/v`.
fn foreign(url: &str, version: FhirVersion) -> Option<ResourceType> {
    if url.contains(['?', '#']) {
        return None;
    }
    let mut segments = url.rsplit('/');
    let (last, before) = (segments.next()?, segments.next()?);
    let (id, kind) = match before {
        "_history" => (segments.next()?, segments.next()?),
        kind => (last, kind),
    };
    version.resource_type(kind).filter(|_| names_one(id))
}

/// An id, but none that is a dot segment to whoever resolves the path.
fn names_one(id: &str) -> bool {
    is_id(id) && !matches!(id, "." | "..")
}

/// What follows a base and a slash, if the URL is below it.
fn below<'a>(url: &'a str, base: &str) -> Option<&'a str> {
    // What nearly every URL is, without a look at its parts.
    if let Some(rest) = url.strip_prefix(base).and_then(|rest| rest.strip_prefix('/')) {
        return Some(rest);
    }
    let (url, base) = (Url::read(url)?, Url::read(base)?);
    let same = url.host.eq_ignore_ascii_case(base.host) && url.port == base.port;
    url.path.strip_prefix(base.path).filter(|_| same)?.strip_prefix('/')
}

struct Url<'a> {
    host: &'a str,
    /// None for the scheme's own.
    port: Option<u16>,
    path: &'a str,
}

impl<'a> Url<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let own = match scheme {
            _ if scheme.eq_ignore_ascii_case("http") => 80,
            _ if scheme.eq_ignore_ascii_case("https") => 443,
            _ => return None,
        };
        let (authority, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?;
        let (host, port) = match authority.rsplit_once(':') {
            // The colons of an IPv6 address stand in brackets.
            Some((_, tail)) if tail.ends_with(']') => (authority, None),
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (authority, None),
        };
        Some(Self { host, port: port.filter(|port| *port != own), path })
    }
}
