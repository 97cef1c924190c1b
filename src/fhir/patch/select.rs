//! What a path selects in a resource (HL7 FHIRPath N1 §5, on collections).

use std::rc::Rc;

use super::naming::{Choice, Held, Site};
use super::path::{Condition, Step};
use super::tree::{Tree, find};
use super::{PatchError, VISITS};

/// A step down the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hop {
    Item(usize),
    Member(usize),
}

/// An element and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Found<'t> {
    pub(super) tree: &'t Tree,
    pub(super) hops: Vec<Hop>,
    pub(super) site: Rc<Site>,
    /// What it is, when it is a choice.
    pub(super) choice: Option<Choice>,
}

/// How a list is understood when a filter by position stands before further names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// The position in the list.
    Plain,
    /// Refused where it makes a difference whether items that lack what follows are counted; HAPI leaves them out
    /// when it replaces.
    Wary,
}

/// Evaluates the paths of one patch, and counts what it costs.
pub(super) struct Selector {
    reading: Reading,
    visits: usize,
}

impl Selector {
    pub(super) fn new() -> Self {
        Self { reading: Reading::Plain, visits: 0 }
    }

    pub(super) fn read(&mut self, reading: Reading) -> &mut Self {
        self.reading = reading;
        self
    }

    /// The one element that is selected.
    pub(super) fn only<'t>(
        &mut self,
        root: Found<'t>,
        steps: &[Step],
        path: &str,
    ) -> Result<Option<Found<'t>>, PatchError> {
        let mut found = self.select(vec![root], steps)?;
        if found.len() > 1 {
            return Err(PatchError::ambiguous(path));
        }
        Ok(found.pop())
    }

    fn select<'t>(
        &mut self,
        mut found: Vec<Found<'t>>,
        steps: &[Step],
    ) -> Result<Vec<Found<'t>>, PatchError> {
        // Whether what was found has more than one parent: a position then counts across them, or within each.
        let mut spread = false;
        for (at, step) in steps.iter().enumerate() {
            if spread && matches!(step, Step::First | Step::Index(_) | Step::Last) {
                return Err(PatchError::Ambiguous("a position across several lists".to_owned()));
            }
            found = match step {
                Step::Child(name) => self.children(found, name, &mut spread)?,
                Step::Extension(url) => {
                    let all = self.children(found, "extension", &mut spread)?;
                    let literal = url.clone();
                    self.filter(all, &[Condition { names: vec!["url".to_owned()], literal }])?
                }
                Step::First => found.into_iter().take(1).collect(),
                Step::Index(index) => {
                    let rest = steps.get(at + 1..).unwrap_or_default();
                    if self.reading == Reading::Wary && !rest.is_empty() {
                        self.all_have(found.iter().take(*index), rest)?;
                    }
                    found.into_iter().skip(*index).take(1).collect()
                }
                Step::Last => found.pop().into_iter().collect(),
                Step::OfType(name) => match found.iter().all(|it| it.choice.is_some_and(|it| it.of.is(name)))
                {
                    true => found,
                    false => return Err(PatchError::unsupported(name, "the type that the element has")),
                },
                Step::Where(conditions) => self.filter(found, conditions)?,
            };
        }
        Ok(found)
    }

    fn all_have<'t, 'f>(
        &mut self,
        mut items: impl Iterator<Item = &'f Found<'t>>,
        rest: &[Step],
    ) -> Result<(), PatchError>
    where
        't: 'f,
    {
        items.try_for_each(|item| match self.select(vec![item.clone()], rest)?.is_empty() {
            true => Err(PatchError::Ambiguous("a position behind items without what follows".to_owned())),
            false => Ok(()),
        })
    }

    fn children<'t>(
        &mut self,
        parents: Vec<Found<'t>>,
        name: &str,
        spread: &mut bool,
    ) -> Result<Vec<Found<'t>>, PatchError> {
        if name == "resourceType" {
            return Err(PatchError::unsupported(name, "the name of an element"));
        }
        let mut children = Vec::new();
        let mut fertile = 0;
        for parent in parents {
            let before = children.len();
            self.add_children(&parent, name, &mut children)?;
            fertile += usize::from(children.len() > before);
        }
        *spread = fertile > 1;
        Ok(children)
    }

    fn add_children<'t>(
        &mut self,
        parent: &Found<'t>,
        name: &str,
        into: &mut Vec<Found<'t>>,
    ) -> Result<(), PatchError> {
        if parent.tree.is_primitive() {
            return Err(PatchError::unsupported(name, "no path into a primitive"));
        }
        let members = parent.tree.members();
        let Some(Held { place, choice }) = parent.site.held(members, name)? else { return Ok(()) };
        let Some((key, tree)) = members.get(place) else { return Ok(()) };
        let mut child = |tree: &'t Tree, hops: &[Hop]| {
            self.visits += 1;
            if self.visits > VISITS {
                return Err(PatchError::TooMuch);
            }
            let site = Rc::new(self.site(parent, (name, tree), choice)?);
            let hops = [parent.hops.as_slice(), hops].concat();
            into.push(Found { tree, hops, site, choice });
            Ok(())
        };
        match tree {
            Tree::List(items) => {
                if find(members, &format!("_{key}"))?.is_some() {
                    return Err(PatchError::unsupported(name, "a list without extensions of its primitives"));
                }
                let mut items = items.iter().enumerate();
                items.try_for_each(|(at, item)| child(item, &[Hop::Member(place), Hop::Item(at)]))
            }
            Tree::Bool(_)
            | Tree::Null
            | Tree::Number(_)
            | Tree::Object(_)
            | Tree::Text(_)
            | Tree::Untyped(_) => child(tree, &[Hop::Member(place)]),
        }
    }

    /// A resource that an element holds is what its own type says.
    fn site(
        &self,
        parent: &Found<'_>,
        (name, tree): (&str, &Tree),
        choice: Option<Choice>,
    ) -> Result<Site, PatchError> {
        match tree.member("resourceType").and_then(Tree::text) {
            Some(held) if matches!(name, "contained" | "outcome" | "resource") => {
                parent.site.held_resource(held)
            }
            _ => Ok(parent.site.child(name, choice.map(|it| it.of))),
        }
    }

    fn filter<'t>(
        &mut self,
        found: Vec<Found<'t>>,
        conditions: &[Condition],
    ) -> Result<Vec<Found<'t>>, PatchError> {
        let mut kept = Vec::new();
        for element in found {
            let mut holds = true;
            for condition in conditions {
                // Every condition is looked at, so that what cannot be compared is refused wherever it stands.
                holds &= self.holds(&element, condition)?;
            }
            if holds {
                kept.push(element);
            }
        }
        Ok(kept)
    }

    fn holds(&mut self, element: &Found<'_>, condition: &Condition) -> Result<bool, PatchError> {
        let mut found = vec![element.clone()];
        let mut spread = false;
        for name in &condition.names {
            found = self.children(found, name, &mut spread)?;
        }
        let name = condition.names.last().map_or("", String::as_str);
        match found.as_slice() {
            [] => Ok(false),
            [Found { tree: Tree::Text(text), choice, .. }] => {
                let text_by_name = TEXTS.contains(&name) && choice.is_none();
                if is_temporal(&condition.literal) && !text_by_name {
                    return Err(PatchError::unsupported(
                        &condition.literal,
                        "no comparison with a date or time",
                    ));
                }
                Ok(*text == condition.literal)
            }
            [_] => Err(PatchError::unsupported(name, "an element that is text, to compare")),
            [..] => Err(PatchError::ambiguous(name)),
        }
    }
}

/// Names of elements that are text in every type, so that what looks like a date is none.
const TEXTS: [&str; 7] = ["code", "display", "id", "reference", "system", "url", "value"];

/// Whether it has the form of a date, dateTime or time: engines differ on whether text equals these.
fn is_temporal(literal: &str) -> bool {
    let shape: String =
        literal.chars().take(7).map(|it| if it.is_ascii_digit() { '0' } else { it }).collect();
    shape == "0000" || shape.starts_with("0000-00") || shape.starts_with("00:00")
}
