//! Bundles of a hostile backend: pages, histories, documents, and the answers to a batch.

use crate::ask::{Ask, Kind};
use crate::backend::{Backend, Place};
use crate::requests::id_of;
use crate::world::{BACKEND, PUBLIC, TYPES};

impl Backend<'_> {
    /// A page of matches, of what comes with them, and of what does not belong there.
    pub fn matches(&mut self, ask: &Ask) -> String {
        self.bundle_of("searchset", ask)
    }

    /// A bundle of a type, with entries as a search has them.
    pub fn bundle_of(&mut self, kind: &str, ask: &Ask) -> String {
        let count = self.chance().weighted(&[(5, 0), (25, 1), (25, 2), (20, 3), (15, 4), (10, 6)]);
        let mut entries: Vec<String> = (0..count).map(|_| self.entry(ask)).collect();
        if self.chance().percent(4) && !entries.is_empty() {
            self.tame = false;
            self.repeats = true;
            let at = self.chance().below(entries.len());
            entries.push(entries[at].clone());
        }
        let total = match self.chance().below(10) {
            0..=5 => Some(entries.len()),
            6..=7 => Some(entries.len() + 40),
            _ => None,
        };
        let links = self.links(ask);
        let mut head = self.pen().head(total, &links);
        if self.chance().percent(2) {
            head.push_str(&self.issues());
        }
        self.pen().bundle(kind, &head, &entries)
    }

    /// A member of the bundle that only R5 knows.
    fn issues(&mut self) -> String {
        self.tame = false;
        // It is written before the entries.
        self.repeats = true;
        let held = self.resource(Place::Beside, "Patient", "p2");
        let member = self.pen().holding("issues", &held);
        if self.format == pforte::fhir::Format::Json { format!(",{member}") } else { member }
    }

    fn searched(&mut self, ask: &Ask) -> &'static str {
        let known = |name: &String| TYPES.iter().find(|kind| *kind == name).copied();
        let searched: Vec<_> = ask.query.searched.iter().filter_map(known).collect();
        if searched.is_empty() || self.chance().percent(6) {
            return self.chance().pick(&TYPES);
        }
        self.chance().pick(&searched)
    }

    fn entry(&mut self, ask: &Ask) -> String {
        let mode =
            self.chance().weighted(&[(70, "match"), (22, "include"), (2, "outcome"), (3, ""), (3, "MATCH")]);
        let place = if matches!(mode, "match" | "") { Place::Match } else { Place::Include };
        let kind = if place == Place::Match { self.searched(ask) } else { self.chance().pick(&TYPES) };
        let id = id_of(self.chance(), kind);
        let mut parts = Vec::new();
        let resource = match self.chance().below(100) {
            0..=2 => self.outcome(),
            3..=4 => self.container(),
            5 => {
                self.tame = false;
                self.resource(place, kind, "")
            }
            _ => self.resource(place, kind, id),
        };
        let full = match self.chance().below(100) {
            0..=1 => {
                self.tame = false;
                format!("{BACKEND}/Patient/p1")
            }
            2..=3 => "urn:uuid:c757873d-ec9a-4326-a141-556f43239520".to_owned(),
            4..=15 => format!("{PUBLIC}/{kind}/{id}"),
            _ => format!("{BACKEND}/{kind}/{id}"),
        };
        let pen = self.pen();
        if self.chance().percent(95) {
            parts.push(pen.member("fullUrl", &full));
        }
        parts.push(pen.holding("resource", &resource));
        if !mode.is_empty() {
            parts.push(pen.group("search", &[pen.member("mode", mode)]));
        } else {
            self.tame = false;
        }
        pen.entry(&parts)
    }

    /// A Bundle or Parameters where one resource should be.
    fn container(&mut self) -> String {
        self.tame = false;
        let kind = self.chance().pick(&TYPES);
        let before = self.items.len();
        let inner: Vec<String> = (0..2).map(|_| self.resource(Place::Inner, kind, "o1")).collect();
        if self.chance().percent(50) {
            return self.pen().parameters(&inner);
        }
        // What is in a Bundle is seen by whoever sees the Bundle, and it.
        for item in &mut self.items[before..] {
            item.readings.push(serde_json::json!({"resourceType": "Bundle", "id": "b1"}));
        }
        let pen = self.pen();
        let entries: Vec<_> = inner.iter().map(|it| pen.entry(&[pen.holding("resource", it)])).collect();
        pen.bundle("collection", "", &entries)
    }

    /// Versions of one resource or of many, deletions among them.
    pub fn history(&mut self, ask: &Ask) -> String {
        let count = self.chance().below(5);
        let mut entries = Vec::new();
        for _ in 0..count {
            let kind = if ask.resource.is_empty() { self.searched(ask) } else { known(&ask.resource) };
            let id = if ask.id.is_empty() { id_of(self.chance(), kind).to_owned() } else { ask.id.clone() };
            let pen = self.pen();
            let mut parts = vec![pen.member("fullUrl", &format!("{BACKEND}/{kind}/{id}"))];
            let deleted = self.chance().percent(15);
            self.deletions += usize::from(deleted);
            let mut response = vec![pen.member("status", "200 OK")];
            if !deleted {
                let other = if self.chance().percent(4) { self.chance().pick(&TYPES) } else { kind };
                parts.push(pen.holding("resource", &self.resource(Place::Version, other, &id)));
                let marker = self.items.last().map(|item| item.marker.clone()).unwrap_or_default();
                response.push(pen.member(
                    "etag",
                    &if pen.format == pforte::fhir::Format::Json {
                        format!("W/\\\"{marker}\\\"")
                    } else {
                        marker
                    },
                ));
            }
            let method = if deleted { "DELETE" } else { "PUT" };
            parts.push(pen.group(
                "request",
                &[pen.member("method", method), pen.member("url", &format!("{kind}/{id}"))],
            ));
            parts.push(pen.group("response", &response));
            entries.push(pen.entry(&parts));
        }
        let links = self.links(ask);
        let total = self.chance().percent(60).then_some(entries.len());
        let head = self.pen().head(total, &links);
        self.pen().bundle("history", &head, &entries)
    }

    /// A document: a composition and what it is about.
    pub fn document(&mut self) -> String {
        let mut entries = Vec::new();
        let count = 1 + self.chance().below(3);
        for at in 0..count {
            let kind = if at == 0 { "Composition" } else { self.chance().pick(&TYPES) };
            let id = if at == 0 { "o1" } else { id_of(self.chance(), kind) };
            let resource = self.resource(Place::Inner, kind, id);
            let pen = self.pen();
            entries.push(pen.entry(&[
                pen.member("fullUrl", &format!("{BACKEND}/{kind}/{id}")),
                pen.holding("resource", &resource),
            ]));
        }
        self.pen().bundle("document", "", &entries)
    }

    /// The answers to the entries of a batch, in their order.
    pub fn responses(&mut self, ask: &Ask) -> String {
        let name = if ask.kind == Kind::Batch { "batch-response" } else { "transaction-response" };
        let entries: Vec<String> = ask.entries.iter().map(|entry| self.response(entry)).collect();
        self.pen().bundle(name, "", &entries)
    }

    fn response(&mut self, ask: &Ask) -> String {
        let pen = self.pen();
        let status = self.chance().pick(&[
            "200 OK",
            "200 OK",
            "200 OK",
            "200",
            "201 Created",
            "404 Not Found",
            "304",
            "409 Conflict",
        ]);
        let mut response = vec![pen.member("status", status)];
        if self.chance().percent(30) {
            response.push(pen.member("location", &format!("{BACKEND}/{}/o7/_history/1", ask.resource)));
        }
        if self.chance().percent(10) {
            let outcome = self.outcome();
            response.push(pen.holding("outcome", &outcome));
        }
        let resource = if self.chance().percent(8) {
            None
        } else if matches!(ask.kind, Kind::Read | Kind::Vread) {
            Some(self.resource(Place::Root, &ask.resource, &ask.id))
        } else if ask.kind.is_history() {
            Some(self.history(ask))
        } else if ask.kind.searches() {
            Some(self.matches(ask))
        } else {
            self.chance().percent(50).then(|| self.resource(Place::Root, &ask.resource, "o7"))
        };
        // What stands first in the text was made last.
        self.repeats = true;
        let mut parts = Vec::new();
        parts.extend(resource.map(|resource| pen.holding("resource", &resource)));
        parts.push(pen.group("response", &response));
        pen.entry(&parts)
    }
}

fn known(name: &str) -> &'static str {
    TYPES.iter().find(|kind| **kind == name).copied().unwrap_or("Observation")
}
