//! `pforte explain`: cases in, decisions out. It runs the code that serves requests and contacts nothing (contract §9).

mod case;

use std::io::{self, BufRead, Read, Write};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use case::Case;

use crate::fhir::links::Rewriter;
use crate::fhir::{Body, FhirRequest, Format, Target, Unreadable};
use crate::gateway::{Passage, Question, Route, Step, is_uri};
use crate::policy::{
    Alternative, Denial, EntryDuty, EntryRefusal, Extent, Facts, Holder, Need, Question as Inquiry,
};
use crate::reject::Rejection;
use crate::release::{self, Answer, Opening};
use crate::scope::Scope;
use crate::token::{Caller, ClaimNames, Grant, Reading, TokenError};

/// Why a request without needs is permitted.
const PUBLIC: &str = "Anybody may do this.";

/// Why claims that bind their token are refused here.
const BOUND: &str = "The claims bind the token to a key or certificate (cnf), which a case cannot show. Leave cnf out to see what a request gets that shows it.";

/// Explains cases by one route.
#[derive(Debug)]
pub struct Explainer {
    route: Route,
    names: ClaimNames,
    now: Timestamp,
}

/// Why a case cannot be explained.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// Not JSON.
    #[error("the case is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A member is missing or of another type.
    #[error("`{member}` must be {expected}")]
    Member {
        /// Which one.
        member: &'static str,
        /// What belongs there.
        expected: &'static str,
    },
}

/// How what was asked came out.
struct Verdict {
    out: Map<String, Value>,
}

impl Explainer {
    /// An explainer for one route, whose claims carry these names.
    #[must_use]
    pub fn new(route: Route, names: ClaimNames, now: Timestamp) -> Self {
        Self { route, names, now }
    }

    /// Reads one case a line and writes one decision a line, in order.
    ///
    /// # Errors
    /// When input or output breaks. A line that is no case gets a decision that says so.
    pub fn lines(&self, input: impl BufRead, mut output: impl Write) -> io::Result<()> {
        for line in input.lines() {
            let line = line?;
            if line.trim().is_empty() {
                continue;
            }
            let decision = self.line(&line);
            writeln!(output, "{decision}")?;
        }
        output.flush()
    }

    /// Reads one case and explains it in readable text.
    ///
    /// # Errors
    /// When input or output breaks.
    pub fn text(&self, mut input: impl Read, mut output: impl Write) -> io::Result<()> {
        let mut text = String::new();
        input.read_to_string(&mut text)?;
        let decision = self.line(&text);
        output.write_all(readable(&decision).as_bytes())
    }

    fn line(&self, line: &str) -> Value {
        let case: Result<Value, CaseError> = serde_json::from_str(line).map_err(CaseError::from);
        let id = case.as_ref().ok().and_then(|case| case.get("id")).cloned();
        match case.and_then(|case| self.explain(&case)) {
            Ok(decision) => decision,
            Err(error) => json!({
                "id": id, "decision": "deny", "status": 400, "reason_id": "case_malformed", "reason": error.to_string(),
            }),
        }
    }

    /// Explains one case.
    ///
    /// # Errors
    /// When it is not of the form that contract §9 gives.
    pub fn explain(&self, case: &Value) -> Result<Value, CaseError> {
        let case = case.as_object().ok_or(CaseError::Member { member: "case", expected: "an object" })?;
        let asked = Case::read(case)?;
        let mut verdict = Verdict { out: Map::new() };
        verdict.put("id", case.get("id").cloned().unwrap_or(Value::Null));
        verdict.unknown();
        if let Some(name) = self.public_document(&asked) {
            verdict.put("decision", json!("permit"));
            verdict.put("interaction", json!(name));
            verdict.put("reason", json!(PUBLIC));
            return Ok(Value::Object(verdict.out));
        }
        match self.passage(&asked, &mut verdict) {
            Ok(passage) => {
                verdict.permitted(&passage);
                self.limits(&asked, &passage.needs, &mut verdict);
                self.returned(&asked, &passage, &mut verdict);
            }
            Err(rejection) => {
                verdict.denied(&rejection);
                if rejection == Rejection::Unauthenticated(TokenError::Bound) {
                    verdict.put("reason", json!(BOUND));
                }
                if let Rejection::Denied(refused) = &rejection {
                    self.limits(&asked, &refused.needs, &mut verdict);
                }
            }
        }
        Ok(Value::Object(verdict.out))
    }

    /// What each scope that grants a part of what is needed is limited to, and who can tell; and why scopes that name it
    /// grant nothing.
    fn limits(&self, case: &Case, needs: &[Need], verdict: &mut Verdict) {
        let Ok(Caller::Holder(grant)) = self.caller(case) else { return };
        let holder = Holder::new(&grant, self.route.rules());
        let mut limits = Vec::new();
        for need in needs {
            for letter in &need.letters {
                let reach = holder.reach(need.resource, *letter);
                let written = |scope: &Scope, alternative: &Alternative| {
                    let terms = alternative.terms.iter().map(|term| {
                        let by = if term.asked().is_some() { "backend" } else { "gateway" };
                        json!({"term": term.to_string(), "verified_by": by})
                    });
                    let terms: Vec<Value> = terms.collect();
                    let letter = letter.as_char().to_string();
                    json!({"type": need.type_name(), "letter": letter, "scope": scope.written(), "all_of": terms})
                };
                if reach.all.is_empty() && need.resource.is_some() {
                    let parts =
                        reach.limited.iter().flat_map(|(scope, any)| any.iter().map(move |one| (scope, one)));
                    limits.extend(parts.map(|(scope, alternative)| written(scope, alternative)));
                }
                limits.extend(reach.barred.iter().map(|barred| {
                    let letter = letter.as_char().to_string();
                    json!({"type": need.type_name(), "letter": letter, "nothing": barred.why()})
                }));
            }
        }
        if !limits.is_empty() {
            verdict.put("limits", Value::Array(limits));
        }
    }

    /// The discovery document, which needs no token (DISC-1) and is served by `discovery` alone.
    fn public_document(&self, case: &Case) -> Option<&'static str> {
        let path = case.target.split('?').next().unwrap_or("");
        let relative = path.strip_prefix(self.route.base_path()).and_then(|rest| rest.strip_prefix('/'));
        let named = relative.unwrap_or(path) == ".well-known/smart-configuration";
        (named && matches!(case.method, Method::GET | Method::HEAD)).then_some("smart-configuration")
    }

    fn passage(&self, case: &Case, verdict: &mut Verdict) -> Result<Passage, Rejection> {
        let target = if case.target.starts_with('/') {
            Target::below(self.route.base_path(), &case.target)
        } else {
            Target::relative(&case.target)
        };
        let question = target
            .map_err(|error| Rejection::Unreadable(Unreadable::from(error)))
            .and_then(|target| self.route.ask_target(&case.method, target, &case.headers));
        let caller = self.caller(case);
        let question = match (question, &caller) {
            // Without a valid token nothing is said about the request.
            (_, Err(error)) => return Err(Rejection::Unauthenticated(error.clone())),
            (question, Ok(_)) => question?,
        };
        verdict.asked(&question);
        let caller = caller.map_err(Rejection::Unauthenticated)?;
        if question.kind() != crate::fhir::Kind::Capabilities {
            self.route.before_body(&question, &caller)?;
        }
        let asked = match question {
            Question::Link { link, method, wanted } => {
                return self.route.follow(&link, (&method, wanted), &caller, self.now);
            }
            Question::Fhir(asked) => asked,
        };
        let request = self.route.read(*asked, case.body.clone())?;
        let passage = self.decided(&request, &caller, case);
        self.entries((&request, case), &caller, passage.as_ref().ok(), verdict);
        passage
    }

    /// Decides with what the case says is stored; what it does not say does not exist.
    fn decided(&self, request: &FhirRequest, caller: &Caller, case: &Case) -> Result<Passage, Rejection> {
        let mut facts = Facts::default();
        loop {
            match self.route.pass(request, caller, &facts)? {
                Step::Pass(passage) => return Ok(*passage),
                Step::Ask(questions) => {
                    questions.into_iter().for_each(|question| case.answer(question, &mut facts));
                }
            }
        }
    }

    fn caller(&self, case: &Case) -> Result<Caller, TokenError> {
        let Some(claims) = &case.claims else { return Ok(Caller::Anonymous) };
        if claims.contains_key("cnf") {
            return Err(TokenError::Bound);
        }
        let rules = self.route.rules();
        let reading = Reading { scopes: rules.scopes, base: rules.public_base.clone() };
        Grant::from_claims(claims, &self.names, &reading).map(Caller::Holder)
    }

    /// What becomes of each entry of a batch or transaction, as if sent alone.
    fn entries(
        &self,
        (request, case): (&FhirRequest, &Case),
        caller: &Caller,
        whole: Option<&Passage>,
        verdict: &mut Verdict,
    ) {
        let Body::Bundle(bundle) = request.body() else { return };
        let forwarded = |at: usize| {
            let duty = whole.and_then(|passage| passage.duties.entries.get(at));
            matches!(duty, Some(EntryDuty::Forward(_)))
        };
        let one = |(at, entry): (usize, &Result<FhirRequest, Unreadable>)| {
            let mut verdict = Verdict { out: Map::new() };
            verdict.unknown();
            match entry {
                Ok(request) => {
                    verdict.asked(&Question::Fhir(Box::new(request.asked().clone())));
                    match self.decided(request, caller, case) {
                        Ok(passage) => verdict.permitted(&passage),
                        // Beside the others it may be more than alone: a urn stands for one of them (REST-35).
                        Err(_) if forwarded(at) => verdict.permitted_beside_others(),
                        Err(rejection) => verdict.denied(&rejection),
                    }
                }
                Err(unreadable) => verdict.denied(&Rejection::Unreadable(unreadable.clone())),
            }
            Value::Object(verdict.out)
        };
        let entries: Vec<Value> = bundle.entries.iter().enumerate().map(one).collect();
        verdict.put("entries", Value::Array(entries));
    }

    /// What the client would get of the backend's answer.
    fn returned(&self, case: &Case, passage: &Passage, verdict: &mut Verdict) {
        let terms = self.route.terms(passage, self.now);
        let mut as_object = case.object_response;
        let released = match (&passage.outbound, &case.response) {
            (None, _) => Ok(release::refused_batch(&passage.duties, &terms).into_parts()),
            (Some(_), Some(answer)) => self.released(answer.clone(), passage, case),
            (Some(_), None) => return,
        };
        let (status, headers, body) = released.unwrap_or_else(|rejection| {
            as_object = true;
            let outcome = rejection.outcome("explain").write(passage.format());
            let mut headers = HeaderMap::new();
            headers.insert("content-type", HeaderValue::from_static(passage.format().media_type()));
            (rejection.status(), headers, outcome.into())
        });
        // HEAD brings fields only.
        let body = if case.method == Method::HEAD { Bytes::new() } else { body };
        let body = shown_body(&body, as_object);
        verdict.put(
            "returned",
            json!({"status": status.as_u16(), "headers": shown_headers(&headers), "body": body}),
        );
    }

    /// A search that became several: the answer is that of the first, and the others find nothing.
    fn united(
        &self,
        mut union: release::Union<'_>,
        answer: Answer,
        passage: &Passage,
        case: &Case,
    ) -> Result<(StatusCode, HeaderMap, Bytes), Rejection> {
        let facts = self.asked_of(&answer, passage, case);
        let terms = release::Terms { facts: &facts, ..self.route.terms(passage, self.now) };
        let format = answer.headers.get("content-type").and_then(|written| written.to_str().ok());
        let nothing = match format.and_then(Format::of) {
            Some(Format::Xml) => r#"<Bundle xmlns="http://hl7.org/fhir"><type value="searchset"/></Bundle>"#,
            Some(Format::Json) | None => r#"{"resourceType":"Bundle","type":"searchset"}"#,
        };
        let nothing =
            Answer { status: StatusCode::OK, headers: answer.headers.clone(), body: nothing.into() };
        let mut answers = std::iter::once(answer).chain(std::iter::repeat(nothing));
        while let Some((at, _)) = union.wants()
            && let Some(answer) = answers.next()
        {
            union.add(at, &answer, &terms).map_err(Rejection::Withheld)?;
        }
        union.finish(&passage.own, &terms).map(release::Released::into_parts).map_err(Rejection::Withheld)
    }

    /// What is known for the check. A parameter that only the backend can evaluate holds of nothing here, where the
    /// backend is not asked.
    fn asked_of(&self, answer: &Answer, passage: &Passage, case: &Case) -> Facts {
        let mut facts = passage.facts.clone();
        let questions = release::questions(answer, &passage.duties, &self.route.terms(passage, self.now));
        for question in questions {
            if matches!(question, Inquiry::Stored(..)) {
                case.answer(question, &mut facts);
            }
        }
        facts
    }

    fn released(
        &self,
        answer: Answer,
        passage: &Passage,
        case: &Case,
    ) -> Result<(StatusCode, HeaderMap, Bytes), Rejection> {
        if let Some(union) = release::Union::of(&passage.duties) {
            return self.united(union, answer, passage, case);
        }
        let facts = self.asked_of(&answer, passage, case);
        let terms = release::Terms { facts: &facts, ..self.route.terms(passage, self.now) };
        let opening = release::open(answer.status, &answer.headers, &passage.duties, &terms);
        match opening.map_err(Rejection::Withheld)? {
            Opening::Hold => release::check(answer, &passage.duties, &terms)
                .map(release::Released::into_parts)
                .map_err(Rejection::Withheld),
            Opening::Stream { status, headers, format: None } => Ok((status, headers, answer.body)),
            Opening::Stream { status, headers, format: Some(format) } => {
                let mut rewriter = Rewriter::new(format, self.route.mapping().clone(), is_uri);
                let mut body = Vec::with_capacity(answer.body.len());
                let pushed = rewriter.push(answer.body, &mut |bytes| body.extend_from_slice(&bytes));
                pushed
                    .and_then(|()| rewriter.finish())
                    .map_err(|error| Rejection::Withheld(release::Withheld::Unreadable(error.to_string())))?;
                Ok((status, headers, body.into()))
            }
        }
    }
}

impl Verdict {
    fn put(&mut self, name: &str, value: Value) {
        self.out.insert(name.to_owned(), value);
    }

    /// What is shown of a request that cannot be read.
    fn unknown(&mut self) {
        self.put("decision", Value::Null);
        self.put("interaction", Value::Null);
        self.put("types", json!([]));
        self.put("needs", json!([]));
        self.put("constrained", json!(false));
    }

    fn asked(&mut self, question: &Question) {
        self.put("interaction", json!(question.kind().code()));
        if let Question::Fhir(asked) = question
            && let Some(resource_type) = asked.resource_type()
        {
            self.put("types", json!([resource_type.as_str()]));
        }
    }

    fn permitted(&mut self, passage: &Passage) {
        self.put("decision", json!("permit"));
        if let Some(action) = passage.action() {
            let name = match action {
                crate::fhir::BundleAction::Batch => "batch",
                crate::fhir::BundleAction::Transaction => "transaction",
            };
            self.put("interaction", json!(name));
        }
        self.needs(&passage.needs);
        if let Some(outbound) = &passage.outbound {
            let mut forward = Map::new();
            forward.insert("method".into(), json!(outbound.method().as_str()));
            forward.insert("target".into(), json!(outbound.target()));
            forward.insert("headers".into(), shown_headers(outbound.headers()));
            if !outbound.body().is_empty() {
                forward.insert("body".into(), shown_body(outbound.body(), true));
            }
            self.put("forward", Value::Object(forward));
        }
        let refused =
            passage.duties.entries.iter().filter(|entry| matches!(entry, EntryDuty::Refuse(_))).count();
        let reason = match (refused, passage.needs.is_empty()) {
            (0, true) => PUBLIC.to_owned(),
            (0, false) => "The scopes of the access token permit this.".to_owned(),
            (1, _) => "One entry is refused; the rest is carried out.".to_owned(),
            (refused, _) => format!("{refused} entries are refused; the rest is carried out."),
        };
        self.put("reason", json!(reason));
    }

    fn permitted_beside_others(&mut self) {
        self.put("decision", json!("permit"));
        self.put(
            "reason",
            json!("The scopes of the access token permit this together with the other entries."),
        );
    }

    fn denied(&mut self, rejection: &Rejection) {
        self.put("decision", json!("deny"));
        self.put("status", json!(rejection.status().as_u16()));
        self.put("reason_id", json!(rejection.reason_id()));
        self.put("reason", json!(rejection.text()));
        if let Rejection::Denied(refused) = rejection {
            let needs = if let Denial::Entry { why: EntryRefusal::Denied(inner), .. } = &refused.denial {
                &inner.needs
            } else {
                &refused.needs
            };
            self.needs(needs);
        }
    }

    fn needs(&mut self, needs: &[Need]) {
        let shown: Vec<Value> = needs
            .iter()
            .map(|need| {
                let letter = need.letter().map(|letter| letter.as_char().to_string());
                let granted_by = need.granted.as_ref().map_or(&[][..], |(_, scopes)| scopes.as_slice());
                json!({"type": need.type_name(), "letter": letter, "granted_by": granted_by})
            })
            .collect();
        let mut types: Vec<&str> = needs.iter().map(Need::type_name).collect();
        types.dedup();
        if !types.is_empty() {
            self.put("types", json!(types));
        }
        self.put("needs", Value::Array(shown));
        self.put("constrained", json!(needs.iter().any(|need| need.extent == Extent::Limited)));
    }
}

fn shown_headers(headers: &HeaderMap) -> Value {
    let mut shown = Map::new();
    for name in headers.keys() {
        let values: Vec<_> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        shown.insert(name.as_str().to_owned(), json!(values.join(", ")));
    }
    Value::Object(shown)
}

/// JSON as an object where the case gave one, text otherwise.
fn shown_body(body: &[u8], as_object: bool) -> Value {
    if as_object && let Ok(value) = serde_json::from_slice::<Value>(body) {
        return value;
    }
    Value::String(String::from_utf8_lossy(body).into_owned())
}

/// A decision for people.
fn readable(decision: &Value) -> String {
    let text = |name: &str| decision.get(name).and_then(Value::as_str).unwrap_or("").to_owned();
    let mut lines = vec![match text("decision").as_str() {
        "permit" => "PERMIT".to_owned(),
        _ => format!("DENY {} ({})", decision.get("status").unwrap_or(&Value::Null), text("reason_id")),
    }];
    lines.push(format!("  {}", text("reason")));
    if !text("interaction").is_empty() {
        lines.push(format!("  interaction: {}", text("interaction")));
    }
    for need in decision.get("needs").and_then(Value::as_array).into_iter().flatten() {
        let member = |name: &str| need.get(name).and_then(Value::as_str).unwrap_or("?");
        let granted: Vec<_> = need
            .get("granted_by")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let by =
            if granted.is_empty() { "not granted".to_owned() } else { format!("by {}", granted.join(" ")) };
        lines.push(format!("  needs {}.{}: {by}", member("type"), member("letter")));
    }
    for limit in decision.get("limits").and_then(Value::as_array).into_iter().flatten() {
        let member = |name: &str| limit.get(name).and_then(Value::as_str).unwrap_or("?");
        let what = format!("  {}.{}", member("type"), member("letter"));
        let Some(terms) = limit.get("all_of").and_then(Value::as_array) else {
            lines.push(format!("{what}: a scope grants nothing: {}", member("nothing")));
            continue;
        };
        let terms: Vec<_> = terms
            .iter()
            .map(|term| {
                let part = |name: &str| term.get(name).and_then(Value::as_str).unwrap_or("?");
                format!("{} (told by the {})", part("term"), part("verified_by"))
            })
            .collect();
        lines.push(format!("{what} by {} only within {}", member("scope"), terms.join(" and ")));
    }
    for (index, entry) in decision.get("entries").and_then(Value::as_array).into_iter().flatten().enumerate()
    {
        let what = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or("?");
        lines.push(format!(
            "  entry {index}: {} ({}): {}",
            what("decision"),
            what("interaction"),
            what("reason")
        ));
    }
    if let Some(forward) = decision.get("forward") {
        let member = |name: &str| forward.get(name).and_then(Value::as_str).unwrap_or("");
        lines.push(format!("  sent to the backend: {} {}", member("method"), member("target")));
    }
    if let Some(status) = decision.pointer("/returned/status") {
        lines.push(format!("  returned to the client: {status}"));
    }
    lines.join("\n") + "\n"
}
