//! One row of contract §6: what it needs is enough, and one letter or type less is not.

use crate::house::House;
use crate::support::{Answer, Ask};

/// A request, a scope that permits it, and scopes that do not.
pub struct Row {
    /// Method and target.
    pub request: (&'static str, String),
    /// Media type and body.
    pub body: Option<(&'static str, String)>,
    /// One more header field.
    pub field: Option<(&'static str, String)>,
    /// Enough.
    pub granted: &'static str,
    /// What the backend then answers.
    pub status: u16,
    /// In the body of that answer.
    pub holds: &'static str,
    /// Each not enough: 403, and the backend is not asked.
    pub short: &'static [&'static str],
}

/// A row without body or header field.
pub fn row(method: &'static str, target: impl Into<String>, granted: &'static str) -> Row {
    let request = (method, target.into());
    Row { request, body: None, field: None, granted, status: 200, holds: "", short: &[] }
}

impl Row {
    /// With a body.
    pub fn body(self, media: &'static str, body: impl Into<String>) -> Self {
        Self { body: Some((media, body.into())), ..self }
    }

    /// With a header field.
    pub fn field(self, name: &'static str, value: impl Into<String>) -> Self {
        Self { field: Some((name, value.into())), ..self }
    }

    /// Answered so.
    pub fn gives(self, status: u16, holds: &'static str) -> Self {
        Self { status, holds, ..self }
    }

    /// Refused under each of these.
    pub fn not(self, short: &'static [&'static str]) -> Self {
        Self { short, ..self }
    }

    async fn send(&self, house: &House<'_>, scope: &str) -> Answer {
        let token = house.tokens.get(scope).await;
        let mut asked: Ask = house.client.ask(self.request.0, &self.request.1).bearer(&token).with(scope);
        if let Some((media, body)) = &self.body {
            asked = asked.body(media, body.clone());
        }
        if let Some((name, value)) = &self.field {
            asked = asked.field(name, value);
        }
        asked.send().await
    }

    /// Refused first, so that a write that slipped through would be seen by what follows; then permitted.
    pub async fn run(&self, house: &House<'_>) -> Answer {
        for scope in self.short {
            self.send(house, scope).await.refused(403, "insufficient_scope");
        }
        let answer = self.send(house, self.granted).await;
        answer.is(self.status);
        if !self.holds.is_empty() {
            answer.holds(self.holds);
        }
        if self.status >= 400 {
            answer.holds("OperationOutcome");
        }
        answer
    }
}

/// Runs each.
pub async fn run(house: &House<'_>, rows: Vec<Row>) {
    for row in rows {
        row.run(house).await;
    }
}
