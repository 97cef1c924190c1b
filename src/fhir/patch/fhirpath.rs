//! FHIRPath Patch: its operations on a resource (FHIR R4 §3.1.0.10.3, fhirpatch.html).
//!
//! Cardinalities are not known here. What is added where nothing was is written as one value, which reads like a list
//! of one; adding to that again is refused, for a server may take it for the one value it allows.

use std::rc::Rc;

use super::naming::{Choice, DataType, Held, Site};
use super::parameters::{Operation, Value, read};
use super::path::{Path, Step};
use super::select::{Found, Hop, Reading, Selector};
use super::tree::{Member, Tree, find, is_name};
use super::{PatchError, is_identity};
use crate::fhir::FhirVersion;
use crate::fhir::json::DEPTH;

pub(super) fn apply(resource: &mut Tree, parameters: &Tree, version: FhirVersion) -> Result<(), PatchError> {
    let resource_type = resource.member("resourceType").and_then(Tree::text).unwrap_or_default().to_owned();
    let site = Rc::new(Site::resource(version, &resource_type)?);
    let mut patching = Patching { resource, resource_type, site, selector: Selector::new() };
    read(parameters)?.into_iter().try_for_each(|operation| match operation {
        Operation::Add { path, name, value } => patching.add(&path, &name, value),
        Operation::Delete { path } => patching.delete(&path),
        Operation::Insert { path, index, value } => patching.insert(&path, index, value),
        Operation::Move { path, source, destination } => patching.shift(&path, source, destination),
        Operation::Replace { path, value } => patching.replace(&path, value),
    })
}

struct Patching<'r> {
    resource: &'r mut Tree,
    resource_type: String,
    site: Rc<Site>,
    selector: Selector,
}

/// An element that was selected, without the borrow.
struct Place {
    hops: Vec<Hop>,
    site: Rc<Site>,
    choice: Option<Choice>,
}

impl Patching<'_> {
    fn find(&mut self, path: &Path, steps: &[Step], reading: Reading) -> Result<Option<Place>, PatchError> {
        if path.resource_type != self.resource_type {
            return Err(PatchError::unsupported(
                &path.text,
                "a path that begins with the type of the resource",
            ));
        }
        let site = Rc::clone(&self.site);
        let root = Found { tree: self.resource, hops: Vec::new(), site, choice: None };
        let found = self.selector.read(reading).only(root, steps, &path.text)?;
        Ok(found.map(|Found { hops, site, choice, .. }| Place { hops, site, choice }))
    }

    /// The members of the element that the steps select.
    fn object(&mut self, path: &Path, steps: &[Step]) -> Result<(&mut Vec<Member>, Place), PatchError> {
        let place = self.find(path, steps, Reading::Plain)?.ok_or_else(|| PatchError::missing(&path.text))?;
        match down(self.resource, &place.hops) {
            Some(Tree::Object(members)) => Ok((members, place)),
            _ => Err(PatchError::unsupported(&path.text, "an element with children")),
        }
    }

    fn add(&mut self, path: &Path, name: &str, value: Value) -> Result<(), PatchError> {
        if !path.steps.is_empty() {
            path.spares_identity()?;
        } else if is_identity(name) {
            return Err(PatchError::Identity);
        }
        let (members, place) = self.object(path, &path.steps)?;
        element_name(name)?;
        let key = place.site.key(name, value.data_type())?;
        let tree = value.build(&place.site.child(name, None))?;
        fits(&place, &tree)?;
        let Some(held) = place.site.held(members, name)? else {
            members.push((key, tree));
            return Ok(());
        };
        list(members, &held, name, &tree)?.push(tree);
        Ok(())
    }

    fn insert(&mut self, path: &Path, index: usize, value: Value) -> Result<(), PatchError> {
        let (parents, name) = path.list()?;
        let (members, place) = self.object(path, parents)?;
        element_name(name)?;
        let key = place.site.key(name, value.data_type())?;
        let tree = value.build(&place.site.child(name, None))?;
        fits(&place, &tree)?;
        if key != name {
            return Err(PatchError::unsupported(name, "a list, which no choice is"));
        }
        // HAPI keeps what it has deleted as an empty element, which it then takes for the first item.
        let held = place.site.held(members, name)?.ok_or_else(|| PatchError::missing(&path.text))?;
        let items = list(members, &held, name, &tree)?;
        if index > items.len() {
            return Err(PatchError::index(&path.text, index));
        }
        items.insert(index, tree);
        Ok(())
    }

    fn shift(&mut self, path: &Path, source: usize, destination: usize) -> Result<(), PatchError> {
        let (parents, name) = path.list()?;
        let (members, place) = self.object(path, parents)?;
        let held = place.site.held(members, name)?.ok_or_else(|| PatchError::missing(&path.text))?;
        let items = list(members, &held, name, &Tree::Null)?;
        if let Some(index) = [source, destination].into_iter().find(|index| *index >= items.len()) {
            return Err(PatchError::index(&path.text, index));
        }
        let item = items.remove(source);
        items.insert(destination, item);
        Ok(())
    }

    fn delete(&mut self, path: &Path) -> Result<(), PatchError> {
        path.for_delete()?;
        let Some(place) = self.find(path, &path.steps, Reading::Plain)? else { return Ok(()) };
        let empties =
            || PatchError::unsupported(&path.text, "an element beside others; delete the one that holds it");
        let (last, mut parents) = place.hops.split_last().ok_or(PatchError::Identity)?;
        let mut gone = *last;
        if let Hop::Item(at) = *last {
            // HAPI empties such an item and leaves it there, which is another list to count in from then on.
            if matches!(path.steps.last(), Some(Step::Child(_))) {
                return Err(PatchError::unsupported(&path.text, "which item of the list to delete"));
            }
            let Some(Tree::List(items)) = down(self.resource, parents) else { return Err(empties()) };
            if items.len() > 1 && at < items.len() {
                items.remove(at);
                return Ok(());
            }
            (gone, parents) =
                parents.split_last().map(|(hop, parents)| (*hop, parents)).ok_or_else(empties)?;
        }
        let (Hop::Member(at), Some(Tree::Object(members))) = (gone, down(self.resource, parents)) else {
            return Err(empties());
        };
        if at >= members.len() {
            return Err(empties());
        }
        let (key, _) = members.remove(at);
        if let Some(companion) = find(members, &format!("_{key}"))? {
            members.remove(companion);
        }
        if members.is_empty() { Err(empties()) } else { Ok(()) }
    }

    fn replace(&mut self, path: &Path, value: Value) -> Result<(), PatchError> {
        path.for_replace()?;
        let place =
            self.find(path, &path.steps, Reading::Wary)?.ok_or_else(|| PatchError::missing(&path.text))?;
        // HAPI sets the parts in what is there.
        let Value::Typed(of, tree) = value else {
            return Err(PatchError::unsupported(&path.text, "a value of a data type, to replace"));
        };
        // HAPI replaces the first element on the way that has the type of the value.
        let mut below = path.steps.iter().filter_map(Step::name).skip(1);
        if !of.primitive && below.any(|name| of.may_hold(name)) {
            return Err(PatchError::unsupported(
                &path.text,
                "no value of a type that an element above may have",
            ));
        }
        fits(&place, &tree)?;
        let (last, parents) = place.hops.split_last().ok_or(PatchError::Identity)?;
        let target = match (down(self.resource, parents), *last) {
            (Some(Tree::List(items)), Hop::Item(at)) => items.get_mut(at),
            (Some(Tree::Object(members)), Hop::Member(at)) => {
                if let Some(choice) = place.choice.filter(|before| before.of != of) {
                    rename(members, at, (choice, of))?;
                }
                members.get_mut(at).map(|(_, member)| member)
            }
            _ => None,
        };
        let target = target.ok_or_else(|| PatchError::missing(&path.text))?;
        if target.is_primitive() != of.primitive {
            return Err(PatchError::unsupported(&path.text, "a value like the one it replaces"));
        }
        *target = tree;
        Ok(())
    }
}

/// Gives a choice the name of its new type.
fn rename(members: &mut [Member], at: usize, (choice, of): (Choice, DataType)) -> Result<(), PatchError> {
    let Some(key) = members.get(at).map(|(key, _)| key.clone()) else { return Ok(()) };
    let base = key.strip_suffix(choice.of.suffix).unwrap_or(&key);
    if !choice.takes(of) {
        return Err(PatchError::unsupported(base, "a value of a type that the choice has"));
    }
    let renamed = format!("{base}{}", of.suffix);
    if find(members, &format!("_{key}"))?.is_some() || find(members, &renamed)?.is_some() {
        return Err(PatchError::ambiguous(base));
    }
    if let Some((key, _)) = members.get_mut(at) {
        *key = renamed;
    }
    Ok(())
}

/// The list of this name, when an item like `new` may join it.
fn list<'t>(
    members: &'t mut [Member],
    held: &Held,
    name: &str,
    new: &Tree,
) -> Result<&'t mut Vec<Tree>, PatchError> {
    let companion = find(members, &format!("_{name}"))?.is_some();
    match members.get_mut(held.place) {
        Some((_, Tree::List(items))) => {
            let alike = items.iter().all(|item| item.is_primitive() == new.is_primitive());
            if companion || !(alike || *new == Tree::Null) {
                return Err(PatchError::unsupported(name, "a list of values like the new one"));
            }
            Ok(items)
        }
        _ => Err(PatchError::Exists(name.to_owned())),
    }
}

fn element_name(name: &str) -> Result<(), PatchError> {
    let known = is_name(name) && !name.starts_with('_');
    if known && !matches!(name, "contained" | "resource" | "resourceType") {
        return Ok(());
    }
    Err(PatchError::unsupported(name, "the name of an element that holds no resource"))
}

fn fits(place: &Place, tree: &Tree) -> Result<(), PatchError> {
    if place.hops.len() + tree.depth() + 2 > DEPTH { Err(PatchError::TooMuch) } else { Ok(()) }
}

fn down<'t>(root: &'t mut Tree, hops: &[Hop]) -> Option<&'t mut Tree> {
    let mut at = root;
    for hop in hops {
        at = match (at, *hop) {
            (Tree::List(items), Hop::Item(item)) => items.get_mut(item)?,
            (Tree::Object(members), Hop::Member(member)) => &mut members.get_mut(member)?.1,
            _ => return None,
        };
    }
    Some(at)
}

impl Value {
    fn data_type(&self) -> Option<DataType> {
        match self {
            Self::Built(_) => None,
            Self::Typed(of, _) => Some(*of),
        }
    }

    /// The value as it stands in the resource at `site`.
    fn build(self, site: &Site) -> Result<Tree, PatchError> {
        let parts = match self {
            Self::Built(parts) if parts.is_empty() => return Err(PatchError::Form("values with content")),
            Self::Built(parts) => parts,
            Self::Typed(_, tree) => return Ok(tree),
        };
        let mut members: Vec<Member> = Vec::new();
        for (name, value) in parts {
            element_name(&name)?;
            let key = site.key(&name, value.data_type())?;
            // HAPI keeps the last of several parts of one name.
            if site.held(&members, &name)?.is_some() {
                return Err(PatchError::ambiguous(&name));
            }
            members.push((key, value.build(&site.child(&name, None))?));
        }
        Ok(Tree::Object(members))
    }
}
