//! Answers of batches and transactions: each entry by the duties of its request, refused ones put back in their place
//! (REST-31 … REST-34).

use http::StatusCode;

use super::{Case, Fate, Released, Terms, Withheld, bundle, faults, fields, judge, links, reached};
use crate::fhir::outcome::sentence;
use crate::fhir::outline::{Bundle, Edits, Entry, EntryResponse, Step};
use crate::fhir::{BundleAction, Format, NoInteraction, Unreadable};
use crate::policy::{Denial, Duties, EntryDuty, EntryRefusal, Expects, Unmatched};

/// Checks every entry of the answer and puts the refused ones back; says whether something was changed.
pub(super) fn release(bundle: &Bundle<'_>, case: Case<'_>, edits: &mut Edits) -> Result<bool, Withheld> {
    let forwarded: Vec<&Duties> = case
        .duties
        .entries
        .iter()
        .filter_map(|entry| match entry {
            EntryDuty::Forward(permit) => Some(permit.duties()),
            EntryDuty::Refuse(_) => None,
        })
        .collect();
    if forwarded.len() != bundle.entries.len() {
        // Which answer belongs to which entry can't be told.
        return Err(Withheld::WrongShape);
    }
    let mut altered = false;
    let mut steps = Vec::with_capacity(forwarded.len());
    for (entry, duties) in bundle.entries.iter().zip(&forwarded) {
        let step = match verdict(entry, Case { duties, ..case }) {
            Verdict::Show(more) => {
                altered |= more.altered;
                edits.merge(more.edits);
                Step::Keep
            }
            Verdict::Mask(unmatched) => {
                altered = true;
                Step::Replace(masked_entry(unmatched, case.format))
            }
            Verdict::Replace => {
                altered = true;
                Step::Replace(withheld_entry(case.format))
            }
        };
        steps.push(step);
    }
    let refused = refused(case.duties, case.format);
    altered |= !refused.is_empty();
    let mut steps = steps.into_iter();
    edits.entries(bundle, |_, _| steps.next().unwrap_or(Step::Drop), &refused);
    if let Some(issues) = &bundle.issues {
        edits.remove(issues.member.clone());
    }
    bundle::links(bundle, case, edits);
    Ok(altered)
}

/// The answer to a batch of which every entry was refused.
pub(super) fn all_refused(duties: &Duties, terms: &Terms<'_>) -> Released {
    let entries: Vec<Vec<u8>> = refused(duties, terms.format).into_iter().map(|(_, entry)| entry).collect();
    let kind = match terms.action {
        Some(BundleAction::Transaction) => "transaction-response",
        Some(BundleAction::Batch) | None => "batch-response",
    };
    let body = match terms.format {
        Format::Json if entries.is_empty() => {
            format!(r#"{{"resourceType":"Bundle","type":"{kind}"}}"#).into_bytes()
        }
        Format::Json => [
            format!(r#"{{"resourceType":"Bundle","type":"{kind}","entry":["#).as_bytes(),
            &entries.join(&b','),
            b"]}",
        ]
        .concat(),
        Format::Xml => [
            format!(r#"<Bundle xmlns="http://hl7.org/fhir"><type value="{kind}"/>"#).as_bytes(),
            &entries.concat(),
            b"</Bundle>",
        ]
        .concat(),
    };
    let mut headers = http::HeaderMap::new();
    fields::content_type(&mut headers, terms.format);
    Released { status: StatusCode::OK, headers, body: body.into(), altered: true, patients: Vec::new() }
}

enum Verdict {
    Show(Changes),
    /// It is answered like a resource that does not exist.
    Mask(Unmatched),
    Replace,
}

struct Changes {
    edits: Edits,
    altered: bool,
}

fn verdict(entry: &Entry<'_>, case: Case<'_>) -> Verdict {
    let mut changes = Changes { edits: Edits::new(case.format), altered: false };
    let Some(response) = &entry.response else { return Verdict::Replace };
    let Some(status) = status(response) else { return Verdict::Replace };
    let ours = matches!(
        status,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED
    );
    if ours && !case.terms.credentials.tell_the_client(status) {
        return Verdict::Replace;
    }
    if let (StatusCode::NOT_FOUND | StatusCode::GONE, Some(unmatched)) = (status, case.duties.masks) {
        return Verdict::Mask(unmatched);
    }
    if let Some(outcome) = &response.outcome {
        match faults::cleaned(case.bytes(outcome), status, case) {
            Some(cleaned) => changes.edits.replace(outcome.range.clone(), cleaned),
            None => return Verdict::Replace,
        }
    }
    // Three digits and the words that belong to them, nothing of the backend's own.
    if let Some(written) = response.status.as_ref().filter(|written| written.text.len() > 3) {
        changes.edits.set(written, &status.to_string());
    }
    if !status.is_success() && status != StatusCode::NOT_MODIFIED {
        // An error carries an outcome, never content; and no address of a record (RESP-9).
        forget(entry, response, &mut changes);
        if let Some(resource) = &entry.resource {
            changes.edits.remove(resource.member.clone());
            changes.altered = true;
        }
        return Verdict::Show(changes);
    }
    let shown = shown(entry, case);
    if !may_name_record(status, case.duties, shown) {
        forget(entry, response, &mut changes);
    } else if let Some(location) = &response.location
        && links::below(&location.text, case.terms).is_none()
    {
        // As with the header field: what leads past the base is no address here.
        changes.edits.remove(location.member.clone());
    }
    content(entry, status, case, changes)
}

fn content(entry: &Entry<'_>, status: StatusCode, case: Case<'_>, mut changes: Changes) -> Verdict {
    let Some(resource) = &entry.resource else {
        return match case.duties.expects {
            // RFC 9110 §15.4.5: it has no content.
            Expects::Resource(..) if status == StatusCode::NOT_MODIFIED => Verdict::Show(changes),
            Expects::Resource(..) | Expects::Bundle(_) | Expects::Export => Verdict::Replace,
            Expects::Anything | Expects::Written(_) => Verdict::Show(changes),
        };
    };
    match judge(resource, case, &mut changes.edits) {
        Ok(Fate::Shown { altered }) => changes.altered |= altered,
        Ok(Fate::Gone) => {
            changes.edits.remove(resource.member.clone());
            changes.altered = true;
        }
        Err(Withheld::Unmatched(unmatched)) => return Verdict::Mask(unmatched),
        Err(_) => return Verdict::Replace,
    }
    Verdict::Show(changes)
}

/// Whether the content of an entry is within the grant, so that the record may be named.
fn shown(entry: &Entry<'_>, case: Case<'_>) -> bool {
    let Expects::Written(Some(of)) = case.duties.expects else { return false };
    let own = entry.resource.as_ref().filter(|resource| resource.resource_type == of.as_str());
    own.is_some_and(|resource| reached::shows(resource, case.duties.by, case))
}

/// The three digits that `response.status` begins with.
fn status(response: &EntryResponse<'_>) -> Option<StatusCode> {
    let text = &response.status.as_ref()?.text;
    StatusCode::from_bytes(text.get(..3)?.as_bytes()).ok()
}

fn may_name_record(status: StatusCode, duties: &Duties, shown: bool) -> bool {
    let Expects::Written(Some(resource)) = duties.expects else { return true };
    let created = status == StatusCode::CREATED && duties.if_none_exist.is_none();
    // A write at an instance was checked at that instance.
    let addressed = duties.write.if_match.is_some() || duties.write.if_absent;
    created || addressed || fields::names_existing(resource, duties, shown)
}

fn forget(entry: &Entry<'_>, response: &EntryResponse<'_>, changes: &mut Changes) {
    let members = [&response.location, &response.etag, &response.last_modified, &entry.full_url];
    for member in members.into_iter().flatten() {
        changes.edits.remove(member.member.clone());
        changes.altered = true;
    }
}

/// The refused entries, each with the place among the forwarded ones that it goes before.
fn refused(duties: &Duties, format: Format) -> Vec<(usize, Vec<u8>)> {
    let mut place = 0;
    let mut refused = Vec::new();
    for entry in &duties.entries {
        match entry {
            EntryDuty::Forward(_) => place += 1,
            EntryDuty::Refuse(why) => {
                let (status, code, text) = words(why);
                refused.push((place, response_entry(status, code, &text, format)));
            }
        }
    }
    refused
}

/// Status, issue code and sentence of a refused entry.
fn words(why: &EntryRefusal) -> (StatusCode, &'static str, String) {
    match why {
        EntryRefusal::Unreadable(unreadable) => {
            let status = match unreadable {
                Unreadable::Interaction(
                    NoInteraction::MethodNotAllowed { .. } | NoInteraction::UnknownMethod(_),
                ) => StatusCode::METHOD_NOT_ALLOWED,
                Unreadable::Interaction(NoInteraction::UnknownPath | NoInteraction::UnknownType(_)) => {
                    StatusCode::NOT_FOUND
                }
                Unreadable::Body(_)
                | Unreadable::ConditionalReference
                | Unreadable::Entry
                | Unreadable::Form(_)
                | Unreadable::FullUrl
                | Unreadable::Header(_)
                | Unreadable::IfNoneExist(_)
                | Unreadable::Interaction(_)
                | Unreadable::MediaType { .. }
                | Unreadable::MissingBody
                | Unreadable::NotABatch
                | Unreadable::NotAcceptable
                | Unreadable::Patch(_)
                | Unreadable::Target(_)
                | Unreadable::TooManyEntries(_)
                | Unreadable::UnexpectedBody
                | Unreadable::WrongId
                | Unreadable::WrongType(_) => StatusCode::BAD_REQUEST,
            };
            (status, "invalid", sentence(&unreadable.to_string()))
        }
        EntryRefusal::Denied(refused) => denied(&refused.denial),
    }
}

fn denied(denial: &Denial) -> (StatusCode, &'static str, String) {
    let text = match denial {
        Denial::Unmatched(unmatched) => return masked(*unmatched),
        Denial::VersionConflict => {
            let text = "The stored version is not the one the entry names.".to_owned();
            return (StatusCode::PRECONDITION_FAILED, "conflict", text);
        }
        Denial::MultipleMatches => {
            let text = "The criteria find more than one resource.".to_owned();
            return (StatusCode::PRECONDITION_FAILED, "multiple-matches", text);
        }
        Denial::PatchNotApplicable(_) => {
            let text = "The patch cannot be applied to what is stored.".to_owned();
            return (StatusCode::UNPROCESSABLE_ENTITY, "processing", text);
        }
        Denial::StoredUnclear => {
            let text = "What is stored could not be read from the FHIR server.".to_owned();
            return (StatusCode::BAD_GATEWAY, "exception", text);
        }
        Denial::Parameter { parameter } | Denial::Chain { parameter } => {
            format!("The parameter `{parameter}` is not permitted here.")
        }
        Denial::OperationUnknown { name, .. } | Denial::OperationReserved { name } => {
            format!("The operation `{name}` is not permitted here.")
        }
        Denial::Anonymous
        | Denial::AuditProtected
        | Denial::Constrained
        | Denial::ContradictoryContext
        | Denial::Entry { .. }
        | Denial::InsufficientScope
        | Denial::Link
        | Denial::MalformedScope { .. }
        | Denial::NoLaunchPatient
        | Denial::OutsideGrant
        | Denial::Provenance
        | Denial::Subscription => "The scopes of the access token do not permit this.".to_owned(),
    };
    (StatusCode::FORBIDDEN, "forbidden", text)
}

/// What stands for a resource that is out of reach or not there.
fn masked(unmatched: Unmatched) -> (StatusCode, &'static str, String) {
    match unmatched {
        Unmatched::NotFound => (StatusCode::NOT_FOUND, "not-found", "The resource was not found.".to_owned()),
        Unmatched::Forbidden => {
            let text = "The scopes of the access token do not permit this.".to_owned();
            (StatusCode::FORBIDDEN, "forbidden", text)
        }
    }
}

fn masked_entry(unmatched: Unmatched, format: Format) -> Vec<u8> {
    let (status, code, text) = masked(unmatched);
    response_entry(status, code, &text, format)
}

fn withheld_entry(format: Format) -> Vec<u8> {
    let text = "The FHIR server's answer to this entry cannot be shown.";
    response_entry(StatusCode::BAD_GATEWAY, "exception", text, format)
}

fn response_entry(status: StatusCode, code: &str, text: &str, format: Format) -> Vec<u8> {
    let outcome = faults::entry_outcome(code, text).write(format);
    match format {
        Format::Json => {
            [format!(r#"{{"response":{{"status":"{status}","outcome":"#).as_bytes(), &outcome, b"}}"].concat()
        }
        Format::Xml => [
            format!(r#"<entry><response><status value="{status}"/><outcome>"#).as_bytes(),
            &outcome,
            b"</outcome></response></entry>",
        ]
        .concat(),
    }
}
