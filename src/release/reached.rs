//! Whether a resource of an answer is within the grant, by its type and where that is not enough by its content.

use super::Case;
use crate::fhir::ResourceType;
use crate::fhir::element::{Document as Tree, Element};
use crate::fhir::outline::{Kind, Resource};
use crate::matching::{self, Criterion, Verdict};
use crate::policy::{Access, By, Join, Purpose, Question, Scene, SearchDuty};

/// Whether a resource may be shown by this permission: containers by all they contain. A container is never altered
/// inside another answer, so one part too many withholds all of it.
pub(super) fn shows(resource: &Resource<'_>, by: By, case: Case<'_>) -> bool {
    let admit = &case.duties.admit;
    if matches!(admit, crate::policy::Admit::All) {
        return true;
    }
    let carrier = matches!(resource.resource_type.as_ref(), "OperationOutcome" | "Parameters");
    // Only a domain resource may contain others as parts of itself; Bundle and Parameters are none.
    let honest = resource.kind == Kind::Other || resource.contained.is_empty();
    honest
        && ((carrier && resource.contained.is_empty()) || verdict(resource, by, case) == Verdict::Yes)
        && super::bundle::resources(resource).all(|inner| shows(inner, By::Either, case))
}

/// What the grant says of one resource, whatever it contains.
fn verdict(resource: &Resource<'_>, by: By, case: Case<'_>) -> Verdict {
    let admit = &case.duties.admit;
    let access = admit.access(&resource.resource_type, by);
    match &access {
        Access::Whole => Verdict::Yes,
        Access::None | Access::Part(_)
            if resource.id.as_ref().is_some_and(|id| admit.knows(&resource.resource_type, &id.text)) =>
        {
            Verdict::Yes
        }
        Access::None => Verdict::No,
        Access::Part(_) => match tree(resource, case) {
            Some(tree) => access.reaches(tree.root(), &scene(case)),
            None => Verdict::No,
        },
    }
}

fn tree<'r>(resource: &'r Resource<'_>, case: Case<'r>) -> Option<Tree<'r>> {
    Tree::of(resource, case.body, case.format).ok()
}

fn scene(case: Case<'_>) -> Scene<'_> {
    Scene { site: case.terms.site(), facts: case.terms.facts, purpose: Purpose::See }
}

/// How an entry of a search came to be there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// It was searched for.
    Match,
    /// It came along.
    Along,
    /// By no way that was asked for.
    Uncalled,
}

/// How an entry came into a searchset, by its mode and by what was searched.
pub(super) fn came(resource_type: &str, mode: Option<&str>, duty: &SearchDuty) -> Came {
    let searched = duty.searched.iter().any(|t| t.as_str() == resource_type);
    match mode {
        // Nothing is known of what an operation searches.
        _ if duty.searched.is_empty() => Came::Along,
        Some("match") | None if searched => Came::Match,
        // Nobody searched for it (SRCH-28).
        Some("match") => Came::Uncalled,
        Some("include") | None => Came::Along,
        Some(_) => Came::Uncalled,
    }
}

/// Whether an entry of a search may be shown (SCOPE-45, SRCH-7, SRCH-8).
pub(super) fn shows_found(
    resource: &Resource<'_>,
    mode: Option<&str>,
    duty: &SearchDuty,
    case: Case<'_>,
) -> bool {
    let of = |types: &[ResourceType]| types.iter().any(|t| t.as_str() == resource.resource_type);
    match came(&resource.resource_type, mode, duty) {
        Came::Uncalled => false,
        Came::Along => {
            let by = if of(&duty.reversed) { By::Search } else { case.duties.by };
            shows(resource, by, case)
        }
        Came::Match => shows(resource, By::Search, case) && asked_for(resource, duty, case),
    }
}

/// Whether a match is what the client's own references and chains ask for, and they lead to nothing out of sight.
fn asked_for(resource: &Resource<'_>, duty: &SearchDuty, case: Case<'_>) -> bool {
    if duty.pins.is_empty() && duty.joins.is_empty() {
        return true;
    }
    let Some(tree) = tree(resource, case) else { return false };
    let site = case.terms.site();
    let pinned = duty.pins.iter().all(|criterion| {
        criterion.resource().as_str() != resource.resource_type
            || criterion.holds(tree.root(), &site) == Verdict::Yes
    });
    pinned && duty.joins.iter().all(|join| joined(join, tree.root(), case) == Verdict::Yes)
}

/// Whether all that a chain could have been asked about is within the grant (SRCH-5).
fn joined(join: &Join, resource: Element<'_>, case: Case<'_>) -> Verdict {
    let Some(ids) = matching::references((join.from, &join.code), join.to, resource, &case.terms.site())
    else {
        return Verdict::No;
    };
    let access = case.duties.admit.access(join.to.as_str(), By::Either);
    ids.iter().fold(Verdict::Yes, |verdict, id| verdict.and(linked(join.to, id, &access, case)))
}

fn linked(resource: ResourceType, id: &str, access: &Access, case: Case<'_>) -> Verdict {
    if *access == Access::Whole {
        return Verdict::Yes;
    }
    if access.excludes(resource, id) {
        return Verdict::No;
    }
    if access.is_focus(resource, id) {
        return Verdict::Yes;
    }
    match case.terms.facts.stored(resource, id) {
        None => Verdict::Unknown,
        Some(crate::policy::Stored::Present(version)) => match version.tree() {
            Some(tree) => access.reaches(tree.root(), &scene(case)),
            None => Verdict::No,
        },
        Some(crate::policy::Stored::Absent | crate::policy::Stored::Unclear) => Verdict::No,
    }
}

/// What must be asked of the backend before these resources can be judged.
#[derive(Default)]
pub(super) struct Asking {
    matching: Vec<(Criterion, Vec<String>)>,
    linked: Vec<(ResourceType, String)>,
}

/// Most linked resources that one answer may make the gateway look up.
const MOST_LINKED: usize = 100;

impl Asking {
    /// Looks at one resource of an answer.
    pub(super) fn look(&mut self, resource: &Resource<'_>, case: Case<'_>) {
        let access = case.duties.admit.access(&resource.resource_type, By::Either);
        let asked: Vec<&Criterion> = access.asked().collect();
        let joins = case.duties.search.as_deref().map_or(&[][..], |duty| &duty.joins);
        let joins: Vec<&Join> =
            joins.iter().filter(|join| join.from.as_str() == resource.resource_type).collect();
        if asked.is_empty() && joins.is_empty() {
            return;
        }
        let Some(tree) = tree(resource, case) else { return };
        if access.reaches(tree.root(), &scene(case)) == Verdict::Unknown
            && let Some(id) = tree.root().id()
        {
            for criterion in asked {
                match self.matching.iter_mut().find(|(known, _)| known == criterion) {
                    Some((_, ids)) if ids.iter().any(|known| known == id) => {}
                    Some((_, ids)) => ids.push(id.to_owned()),
                    None => self.matching.push((criterion.clone(), vec![id.to_owned()])),
                }
            }
        }
        for join in joins {
            let to = case.duties.admit.access(join.to.as_str(), By::Either);
            let ids = matching::references((join.from, &join.code), join.to, tree.root(), &case.terms.site());
            for id in ids.unwrap_or_default() {
                let known = self.linked.iter().any(|(of, its)| *of == join.to && *its == id);
                if !known && linked(join.to, &id, &to, case) == Verdict::Unknown {
                    self.linked.push((join.to, id));
                }
            }
        }
    }

    /// The questions; too many links are not asked about, and so not answered for.
    pub(super) fn questions(self) -> Vec<Question> {
        let matching = self.matching.iter().flat_map(|(criterion, ids)| Question::matching(criterion, ids));
        let linked = self.linked.into_iter().take(MOST_LINKED).map(|(of, id)| Question::Stored(of, id));
        matching.chain(linked).collect()
    }
}
