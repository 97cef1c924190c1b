//! Whether a Binary is within a grant: it is in no compartment, and its content may be no FHIR (OPS-40).

use crate::fhir::element::Element;
use crate::fhir::{CompartmentKind, Letter, Parameter, ResourceType, SearchQuery};
use crate::matching::{self, Verdict};
use crate::policy::decide::{Deciding, Stop};
use crate::policy::denial::Denial;
use crate::policy::facts::{Found, Question, Stored};
use crate::policy::term::{Access, Purpose, Term};

const SEEING: [Letter; 2] = [Letter::Read, Letter::Search];

impl Deciding<'_, '_> {
    /// Whether the Binary of this id is reached: under a compartment by its `securityContext`, or by a
    /// DocumentReference that the grant sees; by its own elements otherwise.
    pub(super) fn reaches_binary(&self, id: &str, access: &Access) -> Result<bool, Stop> {
        let version = match self.stored(ResourceType::BINARY, id)? {
            Stored::Absent => return Ok(false),
            Stored::Unclear => return Err(Denial::StoredUnclear.into()),
            Stored::Present(version) => version,
        };
        let Some(tree) = version.tree() else { return Ok(false) };
        let scene = self.scene(Purpose::See);
        for alternative in access.alternatives() {
            let (context, content): (Vec<&Term>, Vec<&Term>) = alternative
                .terms
                .iter()
                .partition(|term| matches!(term, Term::Compartment(CompartmentKind::Patient, _)));
            if content.iter().any(|term| term.holds(tree.root(), &scene) != Verdict::Yes) {
                continue;
            }
            if context.is_empty() || self.belongs_to_seen(id, tree.root())? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn belongs_to_seen(&self, id: &str, binary: Element<'_>) -> Result<bool, Stop> {
        let mut contexts = binary.children("securityContext");
        let Some(context) = contexts.next() else { return self.attached(id) };
        let named = context.text("reference").filter(|_| contexts.next().is_none());
        let Some((resource, id)) = named.and_then(|reference| matching::denoted(reference, &self.site()))
        else {
            return Ok(false);
        };
        let access = self.needs.holder().access(resource, &SEEING);
        if resource == ResourceType::BINARY || access.excludes(resource, &id) {
            return Ok(false);
        }
        if access.is_focus(resource, &id) {
            return Ok(true);
        }
        let stored = match self.stored(resource, &id)? {
            Stored::Absent => return Ok(false),
            Stored::Unclear => return Err(Denial::StoredUnclear.into()),
            Stored::Present(version) => version,
        };
        let scene = self.scene(Purpose::See);
        Ok(stored.tree().is_some_and(|tree| access.reaches(tree.root(), &scene) == Verdict::Yes))
    }

    /// Whether a DocumentReference that the grant sees has the Binary as its attachment.
    fn attached(&self, id: &str) -> Result<bool, Stop> {
        let rules = self.rules();
        let Some(resource) = rules.version().resource_type("DocumentReference") else { return Ok(false) };
        let access = self.needs.holder().access(resource, &SEEING);
        if access == Access::None || rules.version().search_parameter(resource, "location").is_none() {
            return Ok(false);
        }
        let addresses = [format!("Binary/{id}"), format!("{}/Binary/{id}", rules.backend_base)];
        let mut query = SearchQuery::default();
        query.push(Parameter::new("location", addresses.join(",")));
        let question = Question::Found(resource, query);
        let Some(found) = self.facts.found(&question) else { return Err(Stop::Ask(vec![question])) };
        let Found::Versions(versions, _) = found else { return Ok(false) };
        let scene = self.scene(Purpose::See);
        let shows = |reference: Element<'_>| {
            let site = self.site();
            reference.children("content").flat_map(|content| content.children("attachment")).any(
                |attachment| {
                    let denoted = attachment.text("url").and_then(|url| matching::denoted(url, &site));
                    denoted.is_some_and(|(of, its)| of == ResourceType::BINARY && its == id)
                },
            )
        };
        Ok(versions
            .iter()
            .filter_map(|version| version.tree())
            .any(|tree| shows(tree.root()) && access.reaches(tree.root(), &scene) == Verdict::Yes))
    }
}
