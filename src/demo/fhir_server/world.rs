//! Which interaction a request is, and the ones that read (FHIR R4 §3.1.0).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use serde_json::Value;

use super::call::{Answer, Call, Content};
use super::fault::Fault;
use super::parameters::{TYPES, known_type, members};
use super::search::{Request, Unknown};
use super::store::{Key, Store};
use super::{batch, capability, operation, page, write};

/// The store and how the server looks at it.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) store: Store,
    /// The server's own base URL, without a slash at the end.
    pub(super) base: String,
    pub(super) unknown: Unknown,
    pub(super) heeds: Heeds,
}

/// What the server heeds of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heeds {
    /// Everything, as it should.
    All,
    /// Not the conditions of writes: the first resource of the type is the one.
    NoConditions,
    /// Not the parameters of searches: everyone is found.
    NoParameters,
}

/// Answers one request.
pub(super) fn answer(world: &mut World, call: &Call) -> Result<Answer, Fault> {
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    if let Some(kind) = segments.first().filter(|kind| !kind.starts_with(['$', '_']) && **kind != "metadata")
        && !known_type(kind)
    {
        return Err(Fault::unknown(format!("Unknown resource type \"{kind}\"")));
    }
    if let Some((name, place)) = segments.split_last()
        && name.starts_with('$')
    {
        return operation::run(world, call, place, name);
    }
    match call.method {
        Method::GET => reading(world, call, &segments),
        Method::POST => posting(world, call, &segments),
        Method::PUT => write::update(world, call, &segments),
        Method::PATCH => write::patch(world, call, &segments),
        Method::DELETE => write::delete(world, call, &segments),
        _ => Err(refused(call)),
    }
}

fn refused(call: &Call) -> Fault {
    let text = format!("{} is not possible on /{}", call.method, call.segments.join("/"));
    Fault::new(StatusCode::METHOD_NOT_ALLOWED, "not-supported", text)
}

fn reading(world: &mut World, call: &Call, segments: &[&str]) -> Result<Answer, Fault> {
    match segments {
        ["metadata"] => Ok(Answer::ok(capability::statement(&world.base))),
        [] if call.value("_getpages").is_some() => {
            page::next(&world.store, &world.base, &call.pairs).map(Answer::ok)
        }
        [] => search(world, call, None, &[]),
        [.., "_history"] => history(world, call, segments),
        [kind] => search(world, call, None, &[kind]),
        [kind, id] => read(world, call, &Key::new(kind, id)),
        [kind, id, "_history", version] => {
            let (version, resource) = world.store.version(&Key::new(kind, id), version)?;
            Ok(Answer::version(version, Value::clone(resource)))
        }
        [kind, id, what] => search(world, call, Some(Key::new(kind, id)), &[what]),
        _ => Err(Fault::unknown(format!("Nothing is at /{}", segments.join("/")))),
    }
}

fn posting(world: &mut World, call: &Call, segments: &[&str]) -> Result<Answer, Fault> {
    match segments {
        [] => batch::run(world, call),
        ["_search"] if call.value("_getpages").is_some() => {
            page::next(&world.store, &world.base, &call.pairs).map(Answer::ok)
        }
        ["_search"] => search(world, call, None, &[]),
        [kind] => write::create(world, call, kind),
        [kind, "_search"] => search(world, call, None, &[kind]),
        [kind, id, what, "_search"] => search(world, call, Some(Key::new(kind, id)), &[what]),
        _ => Err(refused(call)),
    }
}

fn read(world: &World, call: &Call, key: &Key) -> Result<Answer, Fault> {
    let (version, resource) = world.store.read(key)?;
    let etag = format!("W/\"{}\"", version.number);
    if call.header("if-none-match") == Some(etag.as_str()) {
        let mut answer = Answer::version(version, Value::Null).status(StatusCode::NOT_MODIFIED);
        answer.content = Content::Nothing;
        return Ok(answer);
    }
    let mut answer = Answer::version(version, Value::clone(resource));
    if key.kind == "Binary" && !wants_fhir(call) {
        // FHIR R4 §2.40.1: unless FHIR is asked for, a Binary is answered as what it contains.
        let text = |name: &str| resource.get(name).and_then(Value::as_str).unwrap_or_default();
        let bytes = STANDARD.decode(text("data")).unwrap_or_default().into();
        answer.content = Content::Raw { media: text("contentType").to_owned(), bytes };
        return Ok(answer);
    }
    if let Some(pairs) = ["_elements", "_summary"].iter().find_map(|name| call.value(name)) {
        let request = Request { pairs: call.pairs.clone(), ..blank(world, pairs) };
        answer.content = Content::Resource(page::shape(resource, &request));
    }
    Ok(answer)
}

fn wants_fhir(call: &Call) -> bool {
    call.value("_format").is_some() || call.header("accept").is_some_and(|accept| accept.contains("fhir"))
}

fn blank(world: &World, path: &str) -> Request {
    Request {
        path: path.to_owned(),
        kinds: Vec::new(),
        within: None,
        pairs: Vec::new(),
        unknown: world.unknown,
    }
}

/// A search of some types, within a compartment or not.
pub(super) fn search(
    world: &mut World,
    call: &Call,
    within: Option<Key>,
    what: &[&str],
) -> Result<Answer, Fault> {
    let request = request(world, call, within, what)?;
    page::first(&mut world.store, &world.base, request).map(Answer::ok)
}

/// Reads a search out of a call.
pub(super) fn request(
    world: &World,
    call: &Call,
    within: Option<Key>,
    what: &[&str],
) -> Result<Request, Fault> {
    let mut request = blank(world, &call.segments.join("/").replace("/_search", "").replace("_search", ""));
    request.pairs =
        call.pairs.iter().filter(|(name, _)| name != "_format" && name != "_pretty").cloned().collect();
    if let Some(within) = &within {
        world.store.read(within)?;
        if members(&within.kind).next().is_none() {
            return Err(Fault::unsupported(format!("There is no compartment of {}", within.kind)));
        }
    }
    request.kinds = match what {
        ["*"] => within.iter().flat_map(|key| members(&key.kind)).map(str::to_owned).collect(),
        [kind] => vec![(*kind).to_owned()],
        _ => Vec::new(),
    };
    if let Some(odd) = request.kinds.iter().find(|kind| !known_type(kind)) {
        return Err(Fault::unknown(format!("Unknown resource type \"{odd}\"")));
    }
    let named = request.values("_type");
    if let Some(odd) = named.iter().find(|kind| !known_type(kind)) {
        return Err(Fault::invalid(format!("Unknown resource type \"{odd}\" in _type")));
    }
    if what.is_empty() {
        request.kinds =
            if named.is_empty() { TYPES.iter().map(|kind| (*kind).to_owned()).collect() } else { named };
    } else if !named.is_empty() {
        request.kinds.retain(|kind| named.contains(kind));
    }
    request.within = within;
    match call.header("prefer").unwrap_or_default() {
        prefer if prefer.contains("handling=strict") => request.unknown = Unknown::Refuse,
        prefer if prefer.contains("handling=lenient") => request.unknown = Unknown::Ignore,
        _ => {}
    }
    if world.heeds == Heeds::NoParameters {
        request.within = None;
        request.pairs.retain(|(name, _)| name == "_count");
    }
    Ok(request)
}

fn history(world: &World, call: &Call, segments: &[&str]) -> Result<Answer, Fault> {
    let (kind, id) = match segments {
        [_] => (None, None),
        [kind, _] => (Some(*kind), None),
        [kind, id, _] => (Some(*kind), Some(*id)),
        _ => return Err(refused(call)),
    };
    if let (Some(kind), Some(id)) = (kind, id)
        && world.store.newest(&Key::new(kind, id)).is_none()
    {
        return Err(Fault::unknown(format!("Resource {kind}/{id} is not known")));
    }
    let versions = world.store.history(kind, id);
    page::history(&world.base, &segments.join("/"), versions, &call.pairs).map(Answer::ok)
}
