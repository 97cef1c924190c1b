//! The members of a JSON resource, read when they are asked for.
//!
//! A check mostly asks for one or two members of a resource. The outline has passed them all and says where they stand;
//! what nobody asks for is not read a second time.

use std::cell::OnceCell;

use super::{Element, Node, json};
use crate::fhir::outline::Member;

/// The members of a resource, and what is read of them.
#[derive(Debug, Clone)]
pub(super) struct Members<'a> {
    members: &'a [Member<'a>],
    read: Vec<OnceCell<Group<'a>>>,
}

/// The elements of one name, as children of a nameless node.
#[derive(Debug, Clone)]
struct Group<'a> {
    nodes: Vec<Node<'a>>,
    /// How many of them the member of this very name gives; what is behind them only its shadow gives.
    own: usize,
}

impl<'a> Members<'a> {
    pub(super) fn new(members: &'a [Member<'a>]) -> Self {
        Self { members, read: vec![OnceCell::new(); members.len()] }
    }
}

/// Members that are read when they are asked for, whatever they borrow from.
pub(super) trait Later: std::fmt::Debug {
    fn count(&self) -> usize;

    /// The name of a member as written.
    fn name(&self, at: usize) -> &str;

    /// What a member and its counterpart with or without the underscore give, and how many of that the one without gives.
    fn group(&self, at: usize) -> (&[Node<'_>], usize);
}

impl Later for Members<'_> {
    fn count(&self) -> usize {
        self.members.len()
    }

    fn name(&self, at: usize) -> &str {
        self.members.get(at).map_or("", |member| member.name)
    }

    fn group(&self, at: usize) -> (&[Node<'_>], usize) {
        let name = self.members.get(at).map_or("", |member| plain(member.name).unwrap_or(member.name));
        // INVARIANT: no name stands twice in an object (REST-10), so these are all.
        let own = self.members.iter().position(|member| member.name == name && plain(name).is_none());
        let shadow = self.members.iter().position(|member| plain(member.name) == Some(name));
        let Some(cell) = own.or(shadow).and_then(|at| self.read.get(at)) else { return (&[], 0) };
        let group = cell.get_or_init(|| {
            let value = |at: Option<usize>| Some(self.members.get(at?)?.value);
            // INVARIANT: an outline passed these values and found nothing in them that this reader refuses.
            let (nodes, own) = json::group(name, value(own), value(shadow)).unwrap_or_default();
            Group { nodes, own }
        });
        (&group.nodes, group.own)
    }
}

/// The name of the primitive that a member like `_birthDate` is about.
fn plain(name: &str) -> Option<&str> {
    name.strip_prefix('_')
}

/// The elements of the wanted names, in the order of a whole tree: what has no element to belong to comes last.
pub(super) fn select<'d, W: Fn(&str) -> bool + Copy>(
    later: &'d dyn Later,
    wanted: W,
) -> impl Iterator<Item = Element<'d>> + use<'d, W> {
    let members = move || (0..later.count()).map(move |at| (at, later.name(at)));
    let owns = members().filter(move |(_, name)| plain(name).is_none() && wanted(name));
    let shadows = members().filter(move |(_, name)| plain(name).is_some_and(wanted));
    let elements = move |at: usize| {
        let (nodes, own) = later.group(at);
        (Element { nodes, at: 0, later: None }.read(), own)
    };
    let first = owns.flat_map(move |(at, _)| {
        let (elements, own) = elements(at);
        elements.take(own)
    });
    let last = shadows.flat_map(move |(at, _)| {
        let (elements, own) = elements(at);
        elements.skip(own)
    });
    first.chain(last)
}
