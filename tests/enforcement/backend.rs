//! A hostile backend: it answers with anything of anybody, in any shape, now and then with what was asked for.
//!
//! Every resource carries a text of its own, so that what leaves can be told from the bytes alone.

use pforte::fhir::Format;
use serde_json::{Value, json};

use crate::ask::{Ask, Kind};
use crate::chance::Chance;
use crate::mended;
use crate::records::Records;
use crate::world::{BACKEND, CURSOR, TYPES, text, type_of};
use crate::writing::{Pen, Twist};

/// Where in an answer something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a member of a bundle that is no entry.
    Beside,
    /// In a header field of an answer without content.
    Head,
    /// An entry that is no match.
    Include,
    /// In a container, or where no resource belongs.
    Inner,
    /// An entry that matches.
    Match,
    /// In a header field that is the backend's own business.
    Private,
    /// In a header field that names the record that was written, or found in its place.
    Record,
    /// The whole answer.
    Root,
    /// An entry of a history.
    Version,
    /// In the texts of an outcome.
    Words,
}

/// Something in an answer that can be recognised.
#[derive(Debug, Clone)]
pub struct Item {
    /// The text that stands in it only.
    pub marker: String,
    /// What it is, as different readers may read it.
    pub readings: Vec<Value>,
    /// Its bytes; they stay as they are where `exact`.
    pub raw: String,
    pub place: Place,
    pub exact: bool,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
    /// What is in it, in its order.
    pub items: Vec<Item>,
    /// Whether it is what was asked for, so that whatever is reached in it must be shown.
    pub tame: bool,
    /// Whether something is in it twice, or in another order than it is written here.
    pub repeats: bool,
    /// How many entries of a history have no content.
    pub deletions: usize,
}

impl Answer {
    /// Whether two of its resources have the same type and id, of which a search that becomes several shows one.
    pub fn names_twice(&self) -> bool {
        let names = self.items.iter().filter_map(|item| {
            let reading = item.readings.first()?;
            Some((type_of(reading).to_owned(), text(reading, "id")?.to_owned()))
        });
        let mut names: Vec<_> = names.collect();
        let all = names.len();
        names.sort();
        names.dedup();
        names.len() < all
    }

    /// Whether it is a document.
    pub fn is_document(&self) -> bool {
        let marks = ["\"type\":\"document\"", "<type value=\"document\"/>"];
        marks.iter().any(|mark| self.body.contains(mark))
    }

    /// As a case has it.
    pub fn value(&self) -> Value {
        let headers: serde_json::Map<String, Value> =
            self.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into())).collect();
        json!({"status": self.status, "headers": headers, "body": self.body})
    }
}

/// Makes an answer.
pub struct Backend<'c> {
    pub records: Records<'c>,
    pub format: Format,
    pub items: Vec<Item>,
    pub tame: bool,
    pub repeats: bool,
    pub deletions: usize,
}

/// Status, header fields and body.
type Parts = (u16, Vec<(&'static str, String)>, String);

impl<'c> Backend<'c> {
    /// A backend that writes this format.
    pub fn new(records: Records<'c>, format: Format) -> Self {
        Self { records, format, items: Vec::new(), tame: true, repeats: false, deletions: 0 }
    }

    pub fn chance(&mut self) -> &mut Chance {
        self.records.chance
    }

    pub fn pen(&self) -> Pen {
        Pen::plain(self.format)
    }

    /// The answer to a request.
    pub fn answer(mut self, ask: &Ask) -> Answer {
        let (status, mut headers, body) = match self.chance().below(100) {
            0..=9 => self.failure(ask),
            10..=12 => self.not_modified(),
            13 => self.strange((200, Vec::new(), String::new())),
            14 => self.strange((
                200,
                vec![("content-type", "text/html".into())],
                "<html>upstream</html>".into(),
            )),
            _ => self.success(ask),
        };
        if self.chance().percent(10) {
            let marker = self.records.marker();
            self.note(marker.clone(), Place::Private);
            let name =
                self.chance().pick(&["set-cookie", "x-internal", "server", "via", "link", "x-request-id"]);
            headers.push((name, format!("{marker} {BACKEND}")));
        }
        if !body.is_empty() && !headers.iter().any(|(name, _)| *name == "content-type") {
            headers.push(("content-type", format!("{};charset=UTF-8", self.format.media_type())));
        }
        let Self { items, tame, repeats, deletions, .. } = self;
        Answer { status, headers, body, items, tame, repeats, deletions }
    }

    /// Marks the answer as one that need not be shown.
    fn strange<T>(&mut self, it: T) -> T {
        self.tame = false;
        it
    }

    /// Remembers something that is no resource.
    fn note(&mut self, marker: String, place: Place) {
        self.items.push(Item { marker, readings: Vec::new(), raw: String::new(), place, exact: false });
    }

    /// An answer that says no, and perhaps too much.
    fn failure(&mut self, ask: &Ask) -> Parts {
        self.tame = false;
        let status = self.chance().pick(&[
            400, 401, 403, 404, 404, 404, 409, 410, 410, 412, 422, 429, 500, 503, 301, 302, 303, 307, 308,
            206, 207, 299,
        ]);
        let status = if status == 303 && !mended::SEE_OTHER { 302 } else { status };
        let marker = self.records.marker();
        // What is no failure after all speaks of what was asked for.
        let (head, content) =
            if status < 300 { (Place::Record, Place::Root) } else { (Place::Head, Place::Words) };
        self.note(marker.clone(), head);
        let mut headers = Vec::new();
        if self.chance().percent(50) {
            let whose = self.chance().pick(&["Patient/p2", "Observation/o2", "Patient/p1"]);
            headers.push(("location", format!("{BACKEND}/{whose}/_history/{marker}")));
            headers.push(("etag", format!("W/\"{marker}\"")));
        }
        let body = match self.chance().below(5) {
            0 => String::new(),
            1 => self.resource(content, &ask.resource, "o1"),
            2 => format!("<html><body>{marker} {BACKEND}</body></html>"),
            _ => self.outcome(),
        };
        (status, headers, body)
    }

    fn not_modified(&mut self) -> Parts {
        let marker = self.records.marker();
        self.note(marker.clone(), Place::Head);
        let headers = vec![
            ("etag", format!("W/\"{marker}\"")),
            ("last-modified", "Sat, 01 Jun 2024 10:00:00 GMT".to_owned()),
        ];
        self.strange((304, headers, String::new()))
    }

    fn success(&mut self, ask: &Ask) -> Parts {
        if self.chance().percent(5) {
            return self.wrong(ask);
        }
        let body = match ask.kind {
            Kind::Read | Kind::Vread => return self.read(ask),
            Kind::HistoryInstance | Kind::HistorySystem | Kind::HistoryType => self.history(ask),
            Kind::Cursor | Kind::SearchCompartment | Kind::SearchSystem | Kind::SearchType => self.matches(ask),
            Kind::Operation("$document") => self.document(),
            Kind::Operation("$meta") => r#"{"resourceType":"Parameters","parameter":[{"name":"return","valueMeta":{"versionId":"1"}}]}"#.into(),
            Kind::Operation(_) => self.matches(ask),
            Kind::Validate => self.outcome(),
            Kind::Batch | Kind::Transaction => self.responses(ask),
            Kind::ConditionalCreate
            | Kind::ConditionalDelete
            | Kind::ConditionalPatch
            | Kind::ConditionalUpdate
            | Kind::Create
            | Kind::Delete
            | Kind::Patch
            | Kind::Update => return self.written(ask),
        };
        if ask.kind == Kind::Operation("$meta") {
            self.format = Format::Json;
        }
        (200, Vec::new(), body)
    }

    /// What was asked for, or nearly.
    fn read(&mut self, ask: &Ask) -> Parts {
        if ask.resource == "Binary" && self.chance().percent(40) {
            return self.content();
        }
        let body = match self.chance().below(40) {
            0 => {
                let other = self.chance().pick(&TYPES);
                self.tame = false;
                self.resource(Place::Root, other, &ask.id)
            }
            1 => {
                self.tame = false;
                self.resource(Place::Root, &ask.resource, "o9")
            }
            2 => {
                self.tame = false;
                self.resource(Place::Root, &ask.resource, "")
            }
            _ => self.resource(Place::Root, &ask.resource, &ask.id),
        };
        let root = self.items.last().map(|item| item.marker.clone()).unwrap_or_default();
        let headers = vec![
            ("etag", format!("W/\"{root}\"")),
            ("content-disposition", format!("attachment; filename=\"{root}\"")),
            ("content-location", format!("{BACKEND}/{}/{}/_history/1", ask.resource, ask.id)),
            ("last-modified", "Sat, 01 Jun 2024 10:00:00 GMT".to_owned()),
        ];
        (200, headers, body)
    }

    /// Content of a Binary as it is, with a header field in place of its `securityContext`.
    fn content(&mut self) -> Parts {
        let marker = self.records.marker();
        let mut reading = json!({"resourceType": "Binary"});
        let mut headers = vec![("content-type", "text/plain".to_owned())];
        if self.chance().percent(40) {
            let whose = self.chance().pick(&["Patient/p1", "Patient/p2"]);
            reading["securityContext"] = json!({"reference": whose});
            headers.push(("x-security-context", whose.to_owned()));
        }
        let (readings, place) = (vec![reading], Place::Root);
        self.items.push(Item { marker: marker.clone(), readings, raw: marker.clone(), place, exact: true });
        self.strange((200, headers, marker))
    }

    /// Something else altogether.
    fn wrong(&mut self, ask: &Ask) -> Parts {
        self.tame = false;
        let kind = self.chance().pick(&TYPES);
        let body = match self.chance().below(5) {
            0 => self.resource(Place::Inner, kind, "o1"),
            1 => {
                let resources: Vec<_> = (0..3).map(|_| self.resource(Place::Inner, kind, "o1")).collect();
                self.pen().parameters(&resources)
            }
            2 => self.outcome(),
            3 => self.document(),
            _ => self.bundle_of("collection", ask),
        };
        (200, Vec::new(), body)
    }

    fn written(&mut self, ask: &Ask) -> Parts {
        let status = self.chance().pick(&[200, 200, 201, 204]);
        let marker = self.records.marker();
        self.note(marker.clone(), Place::Record);
        let mut headers = vec![("etag", format!("W/\"{marker}\""))];
        if self.chance().percent(60) {
            let name = self.chance().pick(&["location", "content-location"]);
            headers.push((name, format!("{BACKEND}/{}/o7/_history/{marker}", ask.resource)));
        }
        let body = match self.chance().below(10) {
            _ if status == 204 => String::new(),
            0..=2 => String::new(),
            3 => self.outcome(),
            _ => self.resource(Place::Root, &ask.resource, "o7"),
        };
        (status, headers, body)
    }

    /// An outcome that names what it should not.
    pub fn outcome(&mut self) -> String {
        self.tame = false;
        let marker = self.records.marker();
        let mut outcome = json!({
            "resourceType": "OperationOutcome",
            "issue": [{"severity": self.chance().pick(&["error", "warning", "information"]), "code": "processing",
                "details": {"text": format!("conflict with {marker}")}, "diagnostics": format!("see {marker}"),
                "expression": [format!("Patient.name = '{marker}'")]}],
        });
        if self.chance().percent(20) {
            let (inner, _) = self.records.resource("Patient", "p2");
            outcome["contained"] = json!([inner, {"resourceType": "Basic", "id": "b", "extension": [{"url": "urn:m", "valueString": marker}]}]);
        }
        let raw = self.pen().resource(&outcome);
        let readings = Vec::new();
        self.items.push(Item { marker, readings, raw: raw.clone(), place: Place::Words, exact: false });
        raw
    }

    /// A resource of anybody, written down and remembered.
    pub fn resource(&mut self, place: Place, kind: &str, id: &str) -> String {
        let kind = if kind.is_empty() { "Observation" } else { kind };
        let (mut value, marker) = self.records.resource(kind, id);
        if id.is_empty() {
            value.as_object_mut().expect("an object").shift_remove("id");
        }
        let pen = Pen::any(self.format, self.chance());
        // A Bundle without entries, and XML with prefixes, may be found unreadable.
        self.tame &= kind != "Bundle" && (pen.twist != Twist::Strange || self.format == Format::Json);
        let mut readings = vec![value.clone()];
        let doubled =
            pen.twist == Twist::Doubled && value.get("subject").is_some() && value.get("contained").is_none();
        let raw = if doubled {
            self.tame = false;
            let other = self.records.patient_reference();
            let raw = pen.doubled(&value, "subject", &other);
            let mut second = value.clone();
            second["subject"] = other;
            readings.push(second);
            raw
        } else {
            pen.resource(&value)
        };
        // A URL that was written with escapes may come out without.
        let exact = pen.twist == Twist::Plain
            || ["upstream.internal", "gw.test"].iter().all(|host| !raw.contains(host));
        self.items.push(Item { marker, readings, raw: raw.clone(), place, exact });
        raw
    }

    /// Links of a page: in ordinary words, and as cursors.
    pub fn links(&mut self, ask: &Ask) -> Vec<(&'static str, String)> {
        let mut links = vec![("self", format!("{BACKEND}/{}?_count=2", ask.resource))];
        let next = [
            format!("{BACKEND}?_getpages={CURSOR}&_getpagesoffset=20"),
            format!("{BACKEND}/{}?_page={CURSOR}", ask.resource),
            format!("{BACKEND}/{}?_count=2&_offset=2", ask.resource),
            format!("http://evil.test/fhir?page={CURSOR}"),
            format!("/fhir/Observation?{}={CURSOR}", if mended::CURSOR_CT { "ct" } else { "_page" }),
        ];
        if self.chance().percent(30) {
            let at = self.chance().below(next.len());
            let relation = self.chance().pick(&["next", "next", "previous", "first", "self", "strange"]);
            links.push((relation, next[at].clone()));
        }
        links
    }
}
