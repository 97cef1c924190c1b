//! Resources and their versions, in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::fault::Fault;

/// Type and logical id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) kind: String,
    pub(super) id: String,
}

impl Key {
    pub(super) fn new(kind: &str, id: &str) -> Self {
        Self { kind: kind.to_owned(), id: id.to_owned() }
    }

    /// Reads `Patient/x`, `Patient/x/_history/1` or the same under `base`.
    pub(super) fn parse(reference: &str, base: &str) -> Option<Self> {
        let relative = reference.strip_prefix(base).map_or(reference, |rest| rest.trim_start_matches('/'));
        let mut parts = relative.split('/');
        let (kind, id) = (parts.next()?, parts.next()?);
        match (parts.next(), parts.next(), parts.next()) {
            (None, ..) | (Some("_history"), Some(_), None) => {}
            _ => return None,
        }
        (kind.starts_with(|c: char| c.is_ascii_uppercase()) && !id.is_empty()).then(|| Self::new(kind, id))
    }

    pub(super) fn of(resource: &Value) -> Option<Self> {
        Some(Self::new(resource.get("resourceType")?.as_str()?, resource.get("id")?.as_str()?))
    }

    pub(super) fn reference(&self) -> String {
        format!("{}/{}", self.kind, self.id)
    }
}

/// What made a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Create,
    Delete,
    Update,
}

/// One version of a resource; a deletion is a version without content.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) number: u64,
    pub(super) when: Timestamp,
    pub(super) deed: Deed,
    pub(super) resource: Option<Arc<Value>>,
}

/// A search result that is handed out in pages.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    pub(super) keys: Arc<Vec<Key>>,
    pub(super) request: Arc<super::search::Request>,
}

/// Everything the server knows. Cloning is cheap enough to undo a transaction.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    resources: BTreeMap<Key, Vec<Version>>,
    journal: Vec<(Key, u64)>,
    next_id: u64,
    pub(super) cursors: HashMap<String, Cursor>,
}

impl Store {
    /// The newest version, deletions included.
    pub(super) fn newest(&self, key: &Key) -> Option<&Version> {
        self.resources.get(key)?.last()
    }

    /// The live content.
    pub(super) fn live(&self, key: &Key) -> Option<&Arc<Value>> {
        self.newest(key)?.resource.as_ref()
    }

    /// The newest version, or 404, or 410 for what was deleted.
    pub(super) fn read(&self, key: &Key) -> Result<(&Version, &Arc<Value>), Fault> {
        let version = self.newest(key).ok_or_else(|| missing(key))?;
        let resource = version.resource.as_ref().ok_or_else(|| gone(key))?;
        Ok((version, resource))
    }

    /// A given version.
    pub(super) fn version(&self, key: &Key, number: &str) -> Result<(&Version, &Arc<Value>), Fault> {
        let versions = self.resources.get(key).ok_or_else(|| missing(key))?;
        let version = versions.iter().find(|version| version.number.to_string() == number);
        let version = version.ok_or_else(|| missing(key))?;
        let resource = version.resource.as_ref().ok_or_else(|| gone(key))?;
        Ok((version, resource))
    }

    /// All live resources of a type, by id; of all types when none is given.
    pub(super) fn all<'a>(
        &'a self,
        kind: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> {
        self.resources
            .iter()
            .filter(move |(key, _)| kind.is_none_or(|kind| key.kind == kind))
            .filter_map(|(key, versions)| Some((key, versions.last()?.resource.as_ref()?)))
    }

    /// Versions, newest first, of everything, of a type, or of one resource.
    pub(super) fn history<'a>(
        &'a self,
        kind: Option<&'a str>,
        id: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Key, &'a Version)> {
        self.journal
            .iter()
            .rev()
            .filter(move |(key, _)| {
                kind.is_none_or(|kind| key.kind == kind) && id.is_none_or(|id| key.id == id)
            })
            .filter_map(|(key, number)| {
                let version = self.resources.get(key)?.iter().find(|version| version.number == *number)?;
                Some((key, version))
            })
    }

    /// An id that is not taken.
    pub(super) fn free_id(&mut self, kind: &str) -> String {
        loop {
            self.next_id += 1;
            let id = format!("new-{}", self.next_id);
            if !self.resources.contains_key(&Key::new(kind, &id)) {
                return id;
            }
        }
    }

    /// Writes a new version; `meta.versionId` and `meta.lastUpdated` are the server's.
    pub(super) fn put(&mut self, key: &Key, mut resource: Value, when: Timestamp) -> Version {
        let deed = if self.live(key).is_some() { Deed::Update } else { Deed::Create };
        let number = self.newest(key).map_or(1, |version| version.number + 1);
        let stamp = json!({"versionId": number.to_string(), "lastUpdated": instant(when)});
        if let (Some(map), Value::Object(stamp)) = (resource.as_object_mut(), stamp) {
            *map = headed(std::mem::take(map), key, stamp);
        }
        self.push(key, Version { number, when, deed, resource: Some(Arc::new(resource)) })
    }

    /// Deletes; deleting what is not there changes nothing.
    pub(super) fn delete(&mut self, key: &Key, when: Timestamp) -> Option<Version> {
        self.live(key)?;
        let number = self.newest(key).map_or(1, |version| version.number + 1);
        Some(self.push(key, Version { number, when, deed: Deed::Delete, resource: None }))
    }

    fn push(&mut self, key: &Key, version: Version) -> Version {
        self.journal.push((key.clone(), version.number));
        self.resources.entry(key.clone()).or_default().push(version.clone());
        version
    }
}

/// `resourceType`, `id` and `meta` come first: XML needs that order.
fn headed(mut rest: Map<String, Value>, key: &Key, stamp: Map<String, Value>) -> Map<String, Value> {
    let mut meta = stamp;
    if let Some(Value::Object(given)) = rest.shift_remove("meta") {
        let kept = given.into_iter().filter(|(name, _)| name != "versionId" && name != "lastUpdated");
        meta.extend(kept.collect::<Map<_, _>>());
    }
    rest.shift_remove("resourceType");
    rest.shift_remove("id");
    let mut map = Map::new();
    map.insert("resourceType".to_owned(), key.kind.clone().into());
    map.insert("id".to_owned(), key.id.clone().into());
    map.insert("meta".to_owned(), Value::Object(meta));
    map.extend(rest);
    map
}

/// A FHIR instant in milliseconds.
pub(super) fn instant(when: Timestamp) -> String {
    format!("{when:.3}")
}

fn missing(key: &Key) -> Fault {
    Fault::unknown(format!("Resource {} is not known", key.reference()))
}

fn gone(key: &Key) -> Fault {
    Fault::new(StatusCode::GONE, "deleted", format!("Resource {} was deleted", key.reference()))
}
