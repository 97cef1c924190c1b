//! Search URLs: criteria, joins and wishes for the result.

use crate::ask::{Ask, Kind};
use crate::chance::Chance;
use crate::mended;
use crate::vocabulary::parameter;

/// What the laws must know of a search.
#[derive(Debug, Clone, Default)]
pub struct Query {
    parts: Vec<String>,
    /// The types that are searched; none when no one names them.
    pub searched: Vec<String>,
    /// Types that `_revinclude` may bring; `*` for all.
    pub reverse: Vec<String>,
    /// Whether it is a plain search on elements of the type itself, so that every reached match must be shown.
    pub plain: bool,
    /// Whether only the number is wanted.
    pub counts: bool,
    /// A reference of the matches that is followed to patients.
    pub followed: Option<&'static str>,
    /// Whether it can never be answered under a limited grant.
    pub reserved: bool,
    /// Whether another patient is named to an operation.
    pub names_another: bool,
}

impl Query {
    /// Adds a parameter.
    pub fn push(&mut self, written: String) {
        self.parts.push(written);
    }
}

/// A search on a type.
pub fn query(chance: &mut Chance, kind: &'static str) -> Query {
    let mut query = Query { searched: vec![kind.to_owned()], plain: true, ..Query::default() };
    for _ in 0..chance.below(4) {
        part(chance, kind, &mut query);
    }
    query
}

fn part(chance: &mut Chance, kind: &str, query: &mut Query) {
    match chance.below(100) {
        0..=39 => {
            let written = parameter(chance, kind);
            let reference =
                ["subject", "patient", "encounter", "performer", "source", "target", "member", "_id"];
            query.plain &= !reference.iter().any(|name| written.starts_with(name));
            query.plain &= !written.contains(":in") && !written.contains(":below");
            if written.starts_with("patient.") {
                query.followed = Some("subject");
            }
            query.push(written);
        }
        40..=54 => includes(chance, kind, query),
        55..=69 => {
            let wish = chance.pick(&[
                "_count=2",
                "_count=2",
                "_sort=-_lastUpdated",
                "_total=accurate",
                "_elements=code",
                "_elements=id",
                "_summary=true",
                "_summary=text",
                "_summary=data",
                "_summary=false",
                "_count=",
                "foo=bar",
                "category=",
            ]);
            // More than that a page need not show.
            query.plain &= wish != "_count=2";
            query.push(wish.into());
        }
        70..=74 => {
            query.counts = true;
            query.push(chance.pick(&["_summary=count", "_count=0"]).into());
        }
        75..=89 => names(chance, kind, query),
        _ => joins(chance, kind, query),
    }
}

fn includes(chance: &mut Chance, kind: &str, query: &mut Query) {
    match chance.below(6) {
        0 => query.push(format!("_include={kind}:subject")),
        1 => query.push(format!("_include={kind}:*")),
        2 => query.push(format!("_include:iterate={kind}:encounter")),
        3 => query.push(format!("_include={kind}:performer")),
        _ => {
            let from = chance.pick(&["Observation", "Provenance", "Condition", "List"]);
            let by = if from == "Provenance" { "target" } else { "subject" };
            query.reverse.push(from.into());
            query.push(format!("_revinclude={from}:{by}"));
        }
    }
}

/// Patients that a client names.
fn names(chance: &mut Chance, kind: &str, query: &mut Query) {
    query.plain = false;
    let whose = if kind == "AllergyIntolerance" || chance.percent(40) { "patient" } else { "subject" };
    let value = chance.pick(&[
        "Patient/p1",
        "p1",
        "Patient/p2",
        "p2",
        "p1,p2",
        "Patient/p1,Patient/p2",
        "https://gw.test/fhir/Patient/p1",
        "https://gw.test/fhir/Patient/p2",
    ]);
    query.push(format!("{whose}={value}"));
}

/// Parameters that look beyond the type.
fn joins(chance: &mut Chance, kind: &str, query: &mut Query) {
    query.plain = false;
    let reserved = chance.percent(50);
    query.reserved |= reserved;
    if reserved {
        let written = [
            "_contained=true",
            "_contained=both",
            "_filter=code%20eq%20x",
            "_query=everything",
            "_list=$current-allergies",
        ];
        query.push(chance.pick(&written).into());
        return;
    }
    let chains = ["subject.family=Adler", "subject:Patient.family=Adler", "patient.identifier=i1"];
    let others = ["encounter.status=finished", "_list=l1", "encounter.subject.family=Adler"];
    match chance.below(3) {
        0 if kind == "Patient" => query.push("_has:Observation:subject:code=x".into()),
        0 => query.push(chance.pick(&others).into()),
        _ if ["Observation", "Condition", "Encounter", "MedicationRequest", "List"].contains(&kind) => {
            query.followed = Some("subject");
            query.push(chance.pick(&chains).into());
        }
        _ => query.push("patient.family=Adler".into()),
    }
}

/// The request that carries a query: in the URL, or as a form.
pub fn finish(mut ask: Ask, query: Query, chance: &mut Chance) -> Ask {
    let written = query.parts.join("&");
    ask.query = query;
    let posts = ask.kind != Kind::SearchSystem && chance.percent(12);
    if posts {
        ask.method = "POST";
        ask.target.push_str("/_search");
        ask.body = written;
        return ask.header("content-type", "application/x-www-form-urlencoded");
    }
    if !written.is_empty() {
        ask.target = format!("{}?{written}", ask.target);
    }
    ask
}

/// A cursor as the backend wrote it.
pub fn cursor(chance: &mut Chance) -> Ask {
    let written = [
        "?_getpages=abc",
        "Observation?_page=abc",
        if mended::CURSOR_CT { "Observation?ct=abc" } else { "Observation?_page=abc" },
        "?__token=abc",
        "?_getpagesoffset=abc",
    ];
    Ask::new(Kind::Cursor, "GET", chance.pick(&written).into())
}
