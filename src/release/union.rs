//! Several searches shown as one: each resource once, in the client's order, page by page (SCOPE-44).
//!
//! Without `_sort` the parts follow one another; with it their pages are merged by the keys, which each part's backend
//! has sorted already. A page is over when a part that might hold the next entry has to be asked for another page:
//! pages may be short, never wrong. What was shown is kept in the sealed link that leads on, so that nothing is kept
//! here between two pages.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::reached::{Came, came};
use super::{Answer, Case, Released, Terms, Withheld, bundle, faults, fields, format, links, outlined};
use crate::fhir::element::Document as Tree;
use crate::fhir::links::{Grouping, patients};
use crate::fhir::outline::{Bundle, Edits, Entry, Step};
use crate::fhir::{Format, Target};
use crate::matching::{SortKey, Verdict, sort_key};
use crate::policy::{
    Counting, Duties, Expects, LINK_PARAMETER, Link, Part, Purpose, Scene, SearchDuty, State, Term,
};

/// Most pages that are asked for to answer one request.
const PAGES: usize = 16;

/// Parts of a search on their way to one page.
#[derive(Debug)]
pub struct Union<'u> {
    duties: &'u Duties,
    duty: SearchDuty,
    parts: Vec<Going>,
    asked: usize,
    first: bool,
}

#[derive(Debug)]
struct Going {
    part: Part,
    page: Option<Page>,
}

/// One checked page of a part.
#[derive(Debug)]
struct Page {
    target: String,
    body: Bytes,
    format: Format,
    matches: Vec<Match>,
    /// What came along, each with the number of matches before it.
    along: Vec<(usize, String, Range<usize>)>,
    taken: usize,
    /// Whether something was found that may not be shown.
    cut: bool,
    next: Option<String>,
}

#[derive(Debug)]
struct Match {
    identity: String,
    range: Range<usize>,
    keys: Vec<Option<SortKey>>,
}

impl<'u> Union<'u> {
    /// The union that these duties ask for, if they ask for more than one plain search.
    #[must_use]
    pub fn of(duties: &'u Duties) -> Option<Self> {
        let begins = |part: &Part| part.state == State::Begin;
        let plain = duties.parts.is_empty() || (duties.parts.len() == 1 && duties.parts.iter().all(begins));
        if plain {
            return None;
        }
        let parts: Vec<_> =
            duties.parts.iter().map(|part| Going { part: part.clone(), page: None }).collect();
        let duty = duties.search.as_deref().cloned().unwrap_or_default();
        Some(Self { duties, duty, first: duties.parts.iter().all(begins), parts, asked: 0 })
    }

    /// The part whose page is needed next; none when there is enough for an answer.
    #[must_use]
    pub fn wants(&self) -> Option<(usize, &Part)> {
        if self.asked >= PAGES {
            return None;
        }
        let open = |going: &&(usize, &Going)| going.1.part.state != State::Done && going.1.page.is_none();
        let parts: Vec<(usize, &Going)> = self.parts.iter().enumerate().collect();
        if self.duty.sort.is_empty() {
            // One after the other, for as long as those before are at their end and there is room.
            let goes_on =
                |(_, going): &(usize, &Going)| going.page.as_ref().is_some_and(|page| page.next.is_some());
            let found: usize =
                parts.iter().filter_map(|(_, going)| going.page.as_ref()).map(Page::left).sum();
            let room = self.duty.count.is_none_or(|count| found < count) || self.counting();
            if !room || parts.iter().any(goes_on) {
                return None;
            }
        }
        parts.iter().find(open).map(|(at, going)| (*at, &going.part))
    }

    fn counting(&self) -> bool {
        self.duty.counting == Counting::Only
    }

    /// Checks the answer to a part.
    ///
    /// # Errors
    /// When it is not what was asked for, or the backend refused or failed.
    pub fn add(&mut self, at: usize, answer: &Answer, terms: &Terms<'_>) -> Result<(), Withheld> {
        self.asked += 1;
        let Some(target) = self.parts.get(at).map(|going| target(&going.part)) else { return Ok(()) };
        if answer.status != StatusCode::OK {
            return Err(match faults::release(answer, self.duties, terms) {
                Err(withheld) => withheld,
                Ok(_) => Withheld::PartRefused(answer.status),
            });
        }
        let earlier: Vec<&Part> = self.parts.iter().take(at).map(|going| &going.part).collect();
        let page = Page::read(answer, target, (self.duties, &self.duty, terms), &earlier)?;
        if let Some(going) = self.parts.get_mut(at) {
            let shown = match &going.part.state {
                State::Page(_, shown) => *shown,
                State::Begin | State::Done => 0,
            };
            going.page = Some(Page { taken: shown.min(page.matches.len()), ..page });
        }
        Ok(())
    }

    /// One page of all of them; `own` is the client's search below the base.
    ///
    /// # Errors
    /// When parts came in different formats.
    pub fn finish(mut self, own: &str, terms: &Terms<'_>) -> Result<Released, Withheld> {
        let format = self.format(terms)?;
        let room = if self.counting() { usize::MAX } else { self.duty.count.unwrap_or(usize::MAX) };
        let mut page = Shown::default();
        while page.matches < room
            && let Some(at) = self.head()
        {
            let Some(from) = self.parts.get_mut(at).and_then(|going| going.page.as_mut()) else { break };
            page.take(from);
        }
        // What stands behind the last match of a page came along with it.
        let begun = |from: &&Page| from.taken > 0 || from.matches.is_empty();
        for from in self.parts.iter().filter_map(|going| going.page.as_ref()).filter(begun) {
            let ended = from.taken == from.matches.len();
            page.along(from, if ended { usize::MAX } else { from.taken });
        }
        let count = page.matches;
        let shown = if self.counting() { Vec::new() } else { page.entries };
        let rest = self.rest();
        let complete = rest.iter().all(|part| part.state == State::Done);
        let cut = self.parts.iter().filter_map(|going| going.page.as_ref()).any(|page| page.cut);
        // A backend that brings what was not asked for may also keep back what was.
        let total = (self.first && complete && !cut).then_some(count);
        let next = (!complete && !self.counting()).then(|| self.onward(own, &rest, terms)).flatten();
        let links = [("self", Some(links::join(terms.public_base, own))), ("next", next)];
        let body = write(format, total, &links, &shown);
        let mut headers = HeaderMap::new();
        fields::content_type(&mut headers, format);
        // Pages of the parts hold more than is shown of them.
        let patients = patients(&body, format, terms.mapping, Grouping::Document);
        Ok(Released { status: StatusCode::OK, headers, body: body.into(), altered: true, patients })
    }

    fn format(&self, terms: &Terms<'_>) -> Result<Format, Withheld> {
        let mut formats = self.parts.iter().filter_map(|going| going.page.as_ref()).map(|page| page.format);
        let format = formats.next().unwrap_or(terms.format);
        if formats.all(|other| other == format) { Ok(format) } else { Err(Withheld::WrongShape) }
    }

    /// The part that has the next entry; none when that cannot be told without another page.
    fn head(&self) -> Option<usize> {
        let mut best: Option<(usize, &Match)> = None;
        for (at, going) in self.parts.iter().enumerate() {
            let Some(page) = &going.page else {
                if going.part.state == State::Done {
                    continue;
                }
                // It was not asked: what it holds comes after all that was, or there is no telling.
                return if self.duty.sort.is_empty() { best.map(|(at, _)| at) } else { None };
            };
            match page.matches.get(page.taken) {
                Some(found) => {
                    if best.is_none_or(|(_, known)| before(found, known, &self.duty.sort)) {
                        best = Some((at, found));
                    }
                    if self.duty.sort.is_empty() {
                        break;
                    }
                }
                None if page.next.is_some() => {
                    return if self.duty.sort.is_empty() { best.map(|(at, _)| at) } else { None };
                }
                None => {}
            }
        }
        best.map(|(at, _)| at)
    }

    /// Where each part is now.
    fn rest(&self) -> Vec<Part> {
        let of = |going: &Going| {
            let mut part = going.part.clone();
            if let Some(page) = &going.page {
                part.state = match (&page.next, page.taken < page.matches.len()) {
                    (_, true) => State::Page(page.target.clone(), page.taken),
                    (Some(next), false) => State::Page(next.clone(), 0),
                    (None, false) => State::Done,
                };
            }
            part
        };
        self.parts.iter().map(of).collect()
    }

    fn onward(&self, own: &str, rest: &[Part], terms: &Terms<'_>) -> Option<String> {
        let on = links::sealing(self.duties, terms)?;
        let text = terms.seal.seal(&Link::onward(own.to_owned(), rest, &on))?;
        Some(format!("{}?{LINK_PARAMETER}={text}", terms.public_base))
    }
}

/// What one page of the union shows.
#[derive(Default)]
struct Shown {
    entries: Vec<Bytes>,
    known: HashSet<String>,
    matches: usize,
}

impl Shown {
    /// Takes the next match of a part's page, and before it what stands before it there.
    fn take(&mut self, from: &mut Page) {
        self.along(from, from.taken);
        let Some(found) = from.matches.get(from.taken) else { return };
        from.taken += 1;
        if self.known.insert(found.identity.clone()) {
            self.entries.push(from.body.slice(found.range.clone()));
            self.matches += 1;
        }
    }

    /// What came along with a part's matches up to one of them.
    fn along(&mut self, from: &Page, until: usize) {
        for (_, identity, range) in from.along.iter().filter(|(before, ..)| *before <= until) {
            if self.known.insert(identity.clone()) {
                self.entries.push(from.body.slice(range.clone()));
            }
        }
    }
}

impl Page {
    fn left(&self) -> usize {
        self.matches.len().saturating_sub(self.taken)
    }

    fn read(
        answer: &Answer,
        target: String,
        (duties, duty, terms): (&Duties, &SearchDuty, &Terms<'_>),
        earlier: &[&Part],
    ) -> Result<Self, Withheld> {
        let format = format(&answer.headers).ok_or(Withheld::NotFhir)?;
        let outline = outlined(&answer.body, format)?;
        let case = Case { body: &answer.body, format, duties, terms };
        let found =
            outline.bundle().filter(|_| outline.root.contained.is_empty()).ok_or(Withheld::WrongShape)?;
        let Expects::Bundle(types) = &duties.expects else { return Err(Withheld::WrongShape) };
        if !types.contains(&bundle::type_of(found)) {
            return Err(Withheld::WrongShape);
        }
        let next = next(found, terms);
        let mut edits = Edits::new(format);
        let mut cut = false;
        let mut kept = Vec::with_capacity(found.entries.len());
        for entry in &found.entries {
            let shown = bundle::keeps(entry, bundle::type_of(found), case, &mut edits);
            cut |= !shown;
            let known = is_match(entry, duty) && earlier.iter().any(|part| finds(part, entry, case));
            kept.push(shown && !known);
        }
        edits.entries(found, |at, _| if kept.get(at) == Some(&true) { Step::Keep } else { Step::Drop }, &[]);
        let left = Bytes::from(edits.apply(&answer.body));
        let (body, _) = links::rewrite(left, format, terms)?;
        let mut page = Self {
            target,
            body: body.clone(),
            format,
            matches: Vec::new(),
            along: Vec::new(),
            taken: 0,
            cut,
            next,
        };
        let outline = outlined(&body, format)?;
        for entry in outline.bundle().map(|bundle| bundle.entries.as_slice()).unwrap_or_default() {
            page.keep(entry, duty, terms);
        }
        Ok(page)
    }

    fn keep(&mut self, entry: &Entry<'_>, duty: &SearchDuty, terms: &Terms<'_>) {
        let Some(resource) = &entry.resource else { return };
        let id = resource.id.as_ref().map_or("", |id| &id.text);
        let identity = format!("{}/{id}", resource.resource_type);
        if !is_match(entry, duty) {
            self.along.push((self.matches.len(), identity, entry.range.clone()));
            return;
        }
        let bytes = self.body.get(resource.range.clone()).unwrap_or_default();
        let tree = (!duty.sort.is_empty()).then(|| Tree::read(bytes, self.format).ok()).flatten();
        let site = terms.site();
        let keys = duty
            .sort
            .iter()
            .map(|key| tree.as_ref().and_then(|tree| sort_key(key, tree.root(), &site)))
            .collect();
        self.matches.push(Match { identity, range: entry.range.clone(), keys });
    }
}

/// The target of the next page below the base, as the backend wrote it.
fn next(bundle: &Bundle<'_>, terms: &Terms<'_>) -> Option<String> {
    let link = bundle.links.iter().find(|link| link.relation.as_ref().is_some_and(|r| r.text == "next"))?;
    links::below(&link.url.as_ref()?.text, terms).map(str::to_owned)
}

/// Where a part's page is, as it may be asked for again.
fn target(part: &Part) -> String {
    match &part.state {
        State::Page(target, _) => target.clone(),
        State::Begin | State::Done => Target::from_parts(part.path.clone(), part.query.clone()).to_string(),
    }
}

fn is_match(entry: &Entry<'_>, duty: &SearchDuty) -> bool {
    let mode = entry.search_mode.as_ref().map(|mode| mode.text.as_ref());
    entry.resource.as_ref().is_some_and(|resource| came(&resource.resource_type, mode, duty) == Came::Match)
}

/// Whether an entry is among what a part before this one finds.
fn finds(part: &Part, entry: &Entry<'_>, case: Case<'_>) -> bool {
    let Some(resource) = entry.resource.as_ref().filter(|r| r.resource_type == part.resource.as_str()) else {
        return false;
    };
    let Ok(tree) = Tree::read(case.bytes(resource), case.format) else { return false };
    let scene = Scene { site: case.terms.site(), facts: case.terms.facts, purpose: Purpose::See };
    let holds = |term: &Term| term.holds(tree.root(), &scene) == Verdict::Yes;
    part.finds.iter().all(holds)
}

/// Whether one match comes before another. What has no key comes last.
fn before(one: &Match, two: &Match, sort: &[String]) -> bool {
    for ((key, one), two) in sort.iter().zip(&one.keys).zip(&two.keys) {
        let order = match (one, two) {
            (Some(one), Some(two)) if key.starts_with('-') => two.cmp(one),
            (Some(one), Some(two)) => one.cmp(two),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        };
        if order != Ordering::Equal {
            return order == Ordering::Less;
        }
    }
    false
}

/// A searchset of these entries.
fn write(
    format: Format,
    total: Option<usize>,
    links: &[(&str, Option<String>)],
    entries: &[Bytes],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.iter().map(Bytes::len).sum::<usize>() + 512);
    let links = links.iter().filter_map(|(relation, url)| Some((relation, url.as_ref()?)));
    match format {
        Format::Json => {
            out.extend_from_slice(br#"{"resourceType":"Bundle","type":"searchset""#);
            if let Some(total) = total {
                out.extend_from_slice(format!(r#","total":{total}"#).as_bytes());
            }
            let links: Vec<String> = links
                .map(|(relation, url)| {
                    let mut escaped = Vec::new();
                    crate::fhir::json::escape_into(url, &mut escaped);
                    format!(r#"{{"relation":"{relation}","url":"{}"}}"#, String::from_utf8_lossy(&escaped))
                })
                .collect();
            out.extend_from_slice(format!(r#","link":[{}]"#, links.join(",")).as_bytes());
            if !entries.is_empty() {
                out.extend_from_slice(br#","entry":["#);
                out.extend_from_slice(&entries.join(&b','));
                out.push(b']');
            }
            out.push(b'}');
        }
        Format::Xml => {
            out.extend_from_slice(br#"<Bundle xmlns="http://hl7.org/fhir"><type value="searchset"/>"#);
            if let Some(total) = total {
                out.extend_from_slice(format!(r#"<total value="{total}"/>"#).as_bytes());
            }
            for (relation, url) in links {
                out.extend_from_slice(
                    format!(r#"<link><relation value="{relation}"/><url value=""#).as_bytes(),
                );
                crate::fhir::xml::escape_into(url, &mut out);
                out.extend_from_slice(br#""/></link>"#);
            }
            entries.iter().for_each(|entry| out.extend_from_slice(entry));
            out.extend_from_slice(b"</Bundle>");
        }
    }
    out
}
