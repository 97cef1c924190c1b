//! Decisions on writes: what is submitted, what is stored and what would result must be within the grant (SCOPE-40,
//! COMP-10 … COMP-12, REST-12 … REST-17).
//!
//! What is submitted is looked at before anything is asked of the backend. The stored version is fetched, and the
//! write carries its version, so that what was checked is what is changed (REST-13).

use crate::fhir::element::{Document as Tree, Element};
use crate::fhir::{Body, Document, Format, Kind, Letter, ResourceType, SearchQuery, patch, with_id};
use crate::matching::{Criterion, Verdict};
use crate::policy::admission::By;
use crate::policy::decide::{Deciding, Stop};
use crate::policy::denial::{Denial, Extent};
use crate::policy::facts::{Complete, Found, Question, Stored, Version};
use crate::policy::permit::{Content, Duties, Expects};
use crate::policy::rules::UpdateCreates;
use crate::policy::search::{Place, Reached};
use crate::policy::searches::narrowed;
use crate::policy::term::{Access, Alternative, Purpose};

/// Stands for the id that a server will give.
const UNBORN: &str = "new.5d41402abc4b2a76b9719d911017c592.of.no.resource.there.is";

/// What becomes of a write at one instance.
enum Instance {
    /// It may go on, pinned to this version.
    Pinned(Option<String>),
    /// Nothing is there, and something may be put there.
    New,
}

impl Deciding<'_, '_> {
    pub(super) fn create(&mut self) -> Result<Duties, Stop> {
        let access = self.reached(Letter::Create);
        let mut duties = self.writing()?;
        if let Some(criteria) = self.request.asked().conditions().if_none_exist.clone() {
            duties.if_none_exist = Some(self.none_exists(&criteria)?);
        }
        self.submitted(&access)?;
        Ok(duties)
    }

    pub(super) fn update(&mut self) -> Result<Duties, Stop> {
        let access = self.reached(Letter::Update);
        let mut duties = self.writing()?;
        self.submitted(&access)?;
        let id = self.request.asked().found().id.clone().unwrap_or_default();
        match self.instance(&access, &id)? {
            None => {}
            Some((Instance::Pinned(version), _)) => duties.write.if_match = version,
            Some((Instance::New, _)) => duties.write.if_absent = true,
        }
        Ok(duties)
    }

    pub(super) fn patch(&mut self) -> Result<Duties, Stop> {
        let access = self.reached(Letter::Update);
        let mut duties = self.writing()?;
        let id = self.request.asked().found().id.clone().unwrap_or_default();
        match self.instance(&access, &id)? {
            None => {}
            Some((Instance::Pinned(version), Some(stored))) => {
                self.results(&stored, &access)?;
                duties.write.if_match = version;
            }
            // Nothing can be patched where nothing is.
            Some(_) => return Err(self.unmatched().into()),
        }
        Ok(duties)
    }

    pub(super) fn delete(&mut self) -> Result<Duties, Stop> {
        let access = self.reached(Letter::Delete);
        let mut duties = self.writing()?;
        let id = self.request.asked().found().id.clone().unwrap_or_default();
        match self.instance(&access, &id)? {
            None => {}
            Some((Instance::Pinned(version), Some(_))) => duties.write.if_match = version,
            Some(_) => return Err(self.unmatched().into()),
        }
        Ok(duties)
    }

    /// Criteria that select what a write acts on: found out first, and carried out on that one instance, so that no
    /// backend can find another one for them (REST-15).
    pub(super) fn conditional(&mut self) -> Result<Duties, Stop> {
        let kind = self.request.kind();
        let letter = if kind == Kind::DeleteConditional { Letter::Delete } else { Letter::Update };
        let access = self.reached(letter);
        let search = self.reached(Letter::Search);
        let mut duties = self.writing()?;
        let both = if let Access::Part(_) = access { &access } else { &search };
        let (Access::Part(_), Some(resource)) = (both, self.resource()) else { return Ok(duties) };
        self.needs_settled()?;
        let criteria = duties.query.clone();
        if kind == Kind::UpdateConditional {
            self.submitted_as(&access, None)?;
        }
        let found = self.only_match(resource, &search, &criteria)?;
        let id = found.id.clone();
        let Some((Instance::Pinned(version), Some(stored))) = self.instance(both, &id)? else {
            return Err(self.unmatched().into());
        };
        if kind == Kind::PatchConditional {
            self.results(&stored, &access)?;
        }
        if let (Kind::UpdateConditional, Body::Resource(document)) = (kind, self.request.body()) {
            duties.write.body = Some(self.identified(document, &id)?);
        }
        duties.query = SearchQuery::default();
        duties.write.if_match = version;
        duties.write.instance = Some(id);
        Ok(duties)
    }

    /// What every write needs besides its own letters.
    fn writing(&mut self) -> Result<Duties, Stop> {
        let resource = self.resource();
        if resource.is_some_and(|t| t.as_str() == "AuditEvent") {
            return Err(Denial::AuditProtected.into());
        }
        if self.request.patch_reads() {
            // What a condition asks about is checked with the stored version.
            self.needs.demand_kept(resource, &[Letter::Read]);
        }
        self.subscription()?;
        self.provenance()?;
        let types: Vec<_> = resource.into_iter().collect();
        let place = if self.request.kind().is_conditional_write() { Place::Search } else { Place::Instance };
        let partly = self.needs.iter().any(|need| need.extent == Extent::Limited);
        let extent = if partly { Reached::Part } else { Reached::Whole };
        let (query, duty) = self.inspect(&self.request.query(), &types, (place, extent))?;
        if !duty.joins.is_empty() {
            // What a write acts on is not shown, so nobody could hold it against the grant.
            return Err(Denial::Constrained.into());
        }
        let mut duties = Duties::sending(query, self.seen.by(By::Read));
        duties.by = By::Read;
        duties.expects = Expects::Written(resource);
        // Writing is not reading (REST-12): without r the content does not come back.
        let reads = resource.map_or(Access::None, |r| self.needs.holder().access(r, &[Letter::Read]));
        if reads == Access::None {
            duties.content = Content::Withheld;
        }
        Ok(duties)
    }

    /// The criteria of a conditional create, narrowed: whether something is there that the grant does not reach is
    /// nothing that it may find out (REST-15).
    fn none_exists(&mut self, criteria: &SearchQuery) -> Result<SearchQuery, Stop> {
        let search = self.reached(Letter::Search);
        let types: Vec<_> = self.resource().into_iter().collect();
        let (criteria, duty) = self.inspect(criteria, &types, (Place::Search, Reached::Whole))?;
        let (Access::Part(_), Some(resource)) = (&search, self.resource()) else { return Ok(criteria) };
        let ways = narrowed(self.needs.holder(), resource, &search, &criteria).ok_or(Denial::Constrained)?;
        // Only one query fits into the field: the first is the narrowest that a subject has.
        let first = ways.into_iter().next().filter(|_| duty.joins.is_empty());
        first.ok_or_else(|| Denial::Constrained.into())
    }

    /// The submitted resource must be within the grant.
    fn submitted(&self, access: &Access) -> Result<(), Stop> {
        self.submitted_as(access, self.request.asked().found().id.as_deref())
    }

    fn submitted_as(&self, access: &Access, id: Option<&str>) -> Result<(), Stop> {
        let (Access::Part(_), Some(resource)) = (access, self.resource()) else { return Ok(()) };
        self.needs_settled()?;
        if id.is_some_and(|id| access.excludes(resource, id)) {
            // Whose it would be is known from its address alone.
            return Err(self.unmatched().into());
        }
        let Body::Resource(document) = self.request.body() else { return Err(Denial::OutsideGrant.into()) };
        if self.request.kind() == Kind::Create {
            // A server gives a new resource an id of its own, whatever it is sent with: it is nobody's yet (COMP-11).
            let unborn = with_id(document, UNBORN).ok_or(Denial::OutsideGrant)?;
            return self.within(&unborn, document.format(), access);
        }
        self.within(document.bytes(), document.format(), access)
    }

    /// Whether a resource may be written under the grant.
    pub(super) fn within(&self, bytes: &[u8], format: Format, access: &Access) -> Result<(), Stop> {
        let tree = Tree::read(bytes, format).map_err(|_| Denial::OutsideGrant)?;
        match access.reaches(tree.root(), &self.scene(Purpose::Write)) {
            Verdict::Yes => Ok(()),
            // What only the backend could tell, it can't tell of what it does not hold.
            Verdict::No | Verdict::Unknown => Err(Denial::OutsideGrant.into()),
        }
    }

    /// The stored version must be within the grant; `None` where the grant reaches every instance.
    fn instance(&self, access: &Access, id: &str) -> Result<Option<(Instance, Option<Version>)>, Stop> {
        let (Access::Part(_), Some(resource)) = (access, self.resource()) else { return Ok(None) };
        self.needs_settled()?;
        if access.excludes(resource, id) {
            return Err(self.unmatched().into());
        }
        let asks = |alternative: &Alternative| alternative.terms.iter().any(|term| term.asked().is_some());
        if access.alternatives().iter().all(asks) {
            // What only the backend could tell of what is stored, it cannot tell of what would be (contract §5).
            return Err(Denial::OutsideGrant.into());
        }
        let version = match self.stored(resource, id)? {
            Stored::Unclear => return Err(Denial::StoredUnclear.into()),
            Stored::Absent => return self.absent().map(|instance| Some((instance, None))),
            Stored::Present(version) => version,
        };
        let within = version
            .tree()
            .is_some_and(|tree| access.reaches(tree.root(), &self.scene(Purpose::Write)) == Verdict::Yes);
        if !within {
            return Err(self.unmatched().into());
        }
        if self.request.patch_reads() {
            let reads = self.needs.holder().access(resource, &[Letter::Read]);
            let read = version
                .tree()
                .is_some_and(|tree| reads.reaches(tree.root(), &self.scene(Purpose::See)) == Verdict::Yes);
            if !read {
                return Err(self.unmatched().into());
            }
        }
        let pinned = self.pinned(version)?;
        Ok(Some((Instance::Pinned(pinned), Some(Version::clone(version)))))
    }

    /// Nothing is stored there: only an update may put something there, where that is configured (REST-25).
    fn absent(&self) -> Result<Instance, Stop> {
        let creates = self.rules().patient.update_creates == UpdateCreates::Yes;
        if self.request.kind() == Kind::Update && creates {
            // A version that is expected but not there is answered like one that is out of reach.
            if self.request.asked().conditions().if_match.is_none() {
                return Ok(Instance::New);
            }
        }
        Err(self.unmatched().into())
    }

    /// The version that was checked, which must be the client's own when it names one.
    fn pinned(&self, version: &Version) -> Result<Option<String>, Stop> {
        let conditions = self.request.asked().conditions();
        if conditions.if_none_match.is_some() {
            // It asks that nothing, or not this, be there (REST-25).
            return Err(Denial::VersionConflict.into());
        }
        match (&conditions.if_match, &version.etag) {
            (None, etag) => Ok(etag.clone()),
            (Some(wanted), Some(etag)) if wanted == "*" || opaque(wanted) == opaque(etag) => {
                Ok(Some(etag.clone()))
            }
            (Some(_), _) => Err(Denial::VersionConflict.into()),
        }
    }

    /// What a patch makes of the stored version must be within the grant (REST-14).
    fn results(&self, stored: &Version, access: &Access) -> Result<(), Stop> {
        let applied = match self.request.body() {
            Body::JsonPatch(patch) => patch::json(&stored.body, patch),
            Body::Resource(document) => patch::fhirpath(&stored.body, document, self.rules().version()),
            Body::Empty | Body::Form(_) | Body::Raw(_) | Body::Bundle(_) => {
                return Err(Denial::OutsideGrant.into());
            }
        };
        let result = applied.map_err(|error| Denial::PatchNotApplicable(error.to_string()))?;
        self.within(&result, Format::Json, access)
    }

    /// The one resource that criteria find within the grant.
    fn only_match(
        &self,
        resource: ResourceType,
        search: &Access,
        criteria: &SearchQuery,
    ) -> Result<Version, Stop> {
        let ways = narrowed(self.needs.holder(), resource, search, criteria).ok_or(Denial::Constrained)?;
        let questions: Vec<_> = ways.into_iter().map(|query| Question::Found(resource, query)).collect();
        let missing: Vec<_> = questions.iter().filter(|q| !self.facts.knows(q)).cloned().collect();
        if !missing.is_empty() {
            return Err(Stop::Ask(missing));
        }
        let mut found: Vec<&Version> = Vec::new();
        for question in &questions {
            match self.facts.found(question) {
                Some(Found::Versions(versions, Complete::Yes)) => {
                    for version in versions {
                        let within = version.tree().is_some_and(|tree| {
                            search.reaches(tree.root(), &self.scene(Purpose::See)) == Verdict::Yes
                                && self.is_asked_for(tree.root(), resource, criteria)
                        });
                        if within && !found.iter().any(|known| known.id == version.id) {
                            found.push(version);
                        }
                    }
                }
                Some(Found::Versions(_, Complete::No)) => return Err(Denial::MultipleMatches.into()),
                Some(Found::Refused | Found::Unclear) | None => return Err(Denial::StoredUnclear.into()),
            }
        }
        match found.as_slice() {
            [] => Err(self.unmatched().into()),
            [only] => Ok(Version::clone(only)),
            [_, _, ..] => Err(Denial::MultipleMatches.into()),
        }
    }

    /// Whether a resource does match criteria, as far as it can tell itself: a backend that passes over a parameter must
    /// not choose what is written to.
    fn is_asked_for(&self, found: Element<'_>, resource: ResourceType, criteria: &SearchQuery) -> bool {
        let site = self.site();
        criteria.iter().filter(|parameter| !parameter.value().is_empty()).all(|parameter| {
            Criterion::new(site.version, resource, parameter)
                .map_or(true, |criterion| criterion.holds(found, &site) != Verdict::No)
        })
    }

    /// The submitted resource with the id of what it replaces.
    fn identified(&self, document: &Document, id: &str) -> Result<bytes::Bytes, Stop> {
        match document.id() {
            Some(own) if own == id => Ok(document.bytes().clone()),
            Some(_) => Err(Denial::OutsideGrant.into()),
            None => with_id(document, id).ok_or_else(|| Denial::OutsideGrant.into()),
        }
    }

    /// A subscription delivers what its criteria match, past the gateway (OPS-30).
    fn subscription(&mut self) -> Result<(), Denial> {
        if self.resource().is_none_or(|t| t.as_str() != "Subscription") || !self.request.asked().takes_body()
        {
            return Ok(());
        }
        let document = self.request.document().filter(|d| d.resource_type() == "Subscription");
        let criteria = document.map(|document| document.values_of("criteria")).unwrap_or_default();
        if criteria.is_empty() {
            // A patch, or a topic whose resources are not known here: only who may see everything may have it.
            self.needs.demand(None, &[Letter::Search]);
            self.needs.demand(None, &[Letter::Read]);
        }
        for criterion in criteria {
            let (name, query) = criterion.split_once('?').unwrap_or((&criterion, ""));
            let resource = self.rules().version().resource_type(name).ok_or(Denial::Subscription)?;
            self.needs.demand(Some(resource), &[Letter::Search]);
            self.needs.demand(Some(resource), &[Letter::Read]);
            let query = SearchQuery::parse(query).map_err(|_| Denial::Subscription)?;
            // They are sent as they stand, so they must be such that need no rewriting.
            let (sent, duty) = self.inspect(&query, &[resource], (Place::Search, Reached::Whole))?;
            if sent != query || !duty.joins.is_empty() {
                return Err(Denial::Subscription);
            }
        }
        Ok(())
    }

    /// `X-Provenance` creates a Provenance (REST-24).
    fn provenance(&mut self) -> Result<(), Stop> {
        let Some(text) = self.request.asked().conditions().provenance.clone() else { return Ok(()) };
        let document =
            Document::read(text.into_bytes().into(), Format::Json, crate::fhir::outline::Limits::default());
        let document = document.map_err(|_| Denial::Provenance)?;
        // It is stored as it stands: no search may hide in it (REST-16).
        if document.resource_type() != "Provenance" || !document.conditional_references().is_empty() {
            return Err(Denial::Provenance.into());
        }
        let Some(provenance) = self.rules().version().resource_type("Provenance") else {
            return Err(Denial::Provenance.into());
        };
        self.needs.demand_kept(Some(provenance), &[Letter::Create]);
        let access = self.needs.holder().access(provenance, &[Letter::Create]);
        if let Access::Part(_) = access {
            self.needs_settled()?;
            self.within(document.bytes(), Format::Json, &access)?;
        }
        Ok(())
    }
}

/// An entity tag without its weakness: FHIR's versions are written both ways.
fn opaque(etag: &str) -> &str {
    etag.trim().strip_prefix("W/").unwrap_or(etag.trim())
}
