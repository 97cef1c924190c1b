//! Reads what a repository answered to a transaction.
//!
//! What speaks of the events decides about them; what speaks of the server, the way there or the gateway's credentials is
//! no verdict, and the events are sent again.

use reqwest::StatusCode;
use serde_json::Value;

use crate::config::SinkWrite;

/// Most characters of a repository's words that are kept.
const LONGEST: usize = 500;

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not decided: it is sent again.
    Later(StatusCode),
    /// It is not taken as it is.
    Refused(StatusCode, Words),
    /// It is there.
    Taken,
}

/// What an answer says that has no verdict for each event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whole {
    /// Nothing that can be understood.
    Garbage(&'static str),
    /// The events are sent again.
    Later,
    /// One of them is at fault, or their number.
    Refused(Words),
}

/// What the repository said; it may quote the event, and whatever it was shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Words(String);

impl Words {
    /// Of an OperationOutcome: its first error.
    fn of(outcome: Option<&Value>) -> Self {
        let issues = outcome.and_then(|outcome| outcome.get("issue")?.as_array());
        let issues = issues.map(Vec::as_slice).unwrap_or_default();
        let severe =
            |issue: &&Value| matches!(issue.get("severity").and_then(Value::as_str), Some("error" | "fatal"));
        let issue = issues.iter().find(severe).or_else(|| issues.first());
        let text = |pointer: &str| issue.and_then(|issue| issue.pointer(pointer)?.as_str());
        let said = ["/diagnostics", "/details/text", "/code"].into_iter().find_map(text);
        Self(said.unwrap_or_default().to_owned())
    }

    /// On one line, bounded, without `secret`.
    pub(super) fn told(self, status: StatusCode, secret: &str) -> String {
        let whole = if secret.is_empty() { self.0 } else { self.0.replace(secret, "***") };
        let line: String =
            whole.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect();
        match line.trim() {
            "" => status.as_u16().to_string(),
            line => format!("{}: {line}", status.as_u16()),
        }
    }
}

/// What a status says of what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Content,
    Later,
    Taken,
}

fn says(status: StatusCode, write: SinkWrite) -> Says {
    match status.as_u16() {
        200..=299 => Says::Taken,
        // More than one has the tag already (FHIR R4 §3.1.0.8.1).
        412 if write == SinkWrite::Create => Says::Taken,
        // Credentials, rights, the address, what the server can do at all, and its state.
        401..=409 | 415 | 421 | 425 | 426 | 428 | 429 | 431 | 451 => Says::Later,
        400..=499 => Says::Content,
        _ => Says::Later,
    }
}

/// What became of each of so many events, or of all of them.
pub(super) fn read(
    status: StatusCode,
    body: &[u8],
    (events, write): (usize, SinkWrite),
) -> Result<Vec<Verdict>, Whole> {
    let answer: Option<Value> = serde_json::from_slice(body).ok();
    let is = |name: &str| {
        answer.as_ref().and_then(|answer| answer.get("resourceType")?.as_str()).is_some_and(|of| of == name)
    };
    if status.is_success() {
        if !is("Bundle") {
            return Err(Whole::Garbage("with something that is no Bundle"));
        }
        let entries = answer.as_ref().and_then(|answer| answer.get("entry")?.as_array());
        let entries = entries.map(Vec::as_slice).unwrap_or_default();
        if entries.len() != events {
            return Err(Whole::Garbage("with a Bundle of another number of entries"));
        }
        return entries.iter().map(|entry| verdict(entry, write)).collect();
    }
    match says(status, write) {
        // Too much at once, whoever says it; all others of a FHIR server explain themselves, and what does not is not
        // one (FHIR R4 §3.1.0.1.8).
        Says::Content if status == StatusCode::PAYLOAD_TOO_LARGE || is("OperationOutcome") => {
            Err(Whole::Refused(Words::of(answer.as_ref())))
        }
        Says::Taken if events == 1 => Ok(vec![Verdict::Taken]),
        Says::Taken => Err(Whole::Refused(Words::default())),
        Says::Content | Says::Later => Err(Whole::Later),
    }
}

/// What an entry of the answer says.
fn verdict(entry: &Value, write: SinkWrite) -> Result<Verdict, Whole> {
    let text = entry.pointer("/response/status").and_then(Value::as_str).unwrap_or_default();
    let digits = text.split(' ').next().unwrap_or_default();
    let status = digits.parse().ok().and_then(|status: u16| StatusCode::from_u16(status).ok());
    let status = status.ok_or(Whole::Garbage("with an entry that has no status"))?;
    Ok(match says(status, write) {
        Says::Taken => Verdict::Taken,
        Says::Later => Verdict::Later(status),
        Says::Content => Verdict::Refused(status, Words::of(entry.pointer("/response/outcome"))),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words(text: &str) -> Words {
        Words(text.to_owned())
    }

    fn code(status: u16) -> StatusCode {
        StatusCode::from_u16(status).unwrap()
    }

    fn entries(statuses: &[&str]) -> String {
        let entry = |status: &&str| json!({ "response": { "status": status } });
        let entries: Vec<Value> = statuses.iter().map(entry).collect();
        json!({ "resourceType": "Bundle", "type": "transaction-response", "entry": entries }).to_string()
    }

    const OUTCOME: &str = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"information","diagnostics":"well"},
        {"severity":"error","code":"invalid","details":{"text":"no such code"}}]}"#;

    /// Which answers are a verdict, and which are none.
    #[test]
    fn answers_are_verdicts_or_none() {
        use Verdict::{Later, Refused, Taken};
        let update = SinkWrite::Update;
        let refused = |text: &str| Err(Whole::Refused(words(text)));
        let all = Ok(vec![Taken, Taken]);
        let table = [
            (200, entries(&["201 Created", "200 OK"]), update, all.clone()),
            (201, entries(&["201", "204 No Content"]), update, all.clone()),
            (200, entries(&["200", "412 twice"]), SinkWrite::Create, all),
            (200, entries(&["200", "422 no"]), update, Ok(vec![Taken, Refused(code(422), words(""))])),
            (200, entries(&["503", "200"]), update, Ok(vec![Later(code(503)), Taken])),
            (200, entries(&["403", "200"]), update, Ok(vec![Later(code(403)), Taken])),
            (
                200,
                entries(&["200"]),
                update,
                Err(Whole::Garbage("with a Bundle of another number of entries")),
            ),
            (200, entries(&["", "200"]), update, Err(Whole::Garbage("with an entry that has no status"))),
            (200, OUTCOME.to_owned(), update, Err(Whole::Garbage("with something that is no Bundle"))),
            (200, String::new(), update, Err(Whole::Garbage("with something that is no Bundle"))),
            (204, String::new(), update, Err(Whole::Garbage("with something that is no Bundle"))),
            (200, "<html>".to_owned(), update, Err(Whole::Garbage("with something that is no Bundle"))),
            (302, String::new(), update, Err(Whole::Later)),
            (400, OUTCOME.to_owned(), update, refused("no such code")),
            (422, OUTCOME.to_owned(), update, refused("no such code")),
            (412, OUTCOME.to_owned(), update, refused("no such code")),
            (412, OUTCOME.to_owned(), SinkWrite::Create, refused("")),
            (413, "<html>".to_owned(), update, refused("")),
            (400, "<html>".to_owned(), update, Err(Whole::Later)),
            (401, OUTCOME.to_owned(), update, Err(Whole::Later)),
            (403, OUTCOME.to_owned(), update, Err(Whole::Later)),
            (404, OUTCOME.to_owned(), update, Err(Whole::Later)),
            (405, OUTCOME.to_owned(), update, Err(Whole::Later)),
            (408, OUTCOME.to_owned(), update, Err(Whole::Later)),
            (409, OUTCOME.to_owned(), update, Err(Whole::Later)),
            (415, OUTCOME.to_owned(), update, Err(Whole::Later)),
            (425, OUTCOME.to_owned(), update, Err(Whole::Later)),
            (429, OUTCOME.to_owned(), update, Err(Whole::Later)),
            (500, OUTCOME.to_owned(), update, Err(Whole::Later)),
            (503, OUTCOME.to_owned(), update, Err(Whole::Later)),
        ];
        for (status, body, write, expected) in table {
            assert_eq!(
                read(code(status), body.as_bytes(), (2, write)),
                expected,
                "{status} {body} {write:?}"
            );
        }
        let one = read(code(412), OUTCOME.as_bytes(), (1, SinkWrite::Create));
        assert_eq!(one, Ok(vec![Taken]), "it is there already");
    }

    /// One line, bounded, without what the repository was shown.
    #[test]
    fn words_are_bounded_and_hold_no_secret() {
        let long = "x".repeat(2000);
        let table = [
            ("", "", "422".to_owned()),
            ("no such\r\ncode\u{1b}[31m", "", "422: no such  code [31m".to_owned()),
            ("token s3cret is old", "s3cret", "422: token *** is old".to_owned()),
            (long.as_str(), "", format!("422: {}", "x".repeat(LONGEST))),
        ];
        for (said, secret, expected) in table {
            assert_eq!(words(said).told(code(422), secret), expected, "{said}");
        }
    }
}
