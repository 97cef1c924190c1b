//! The claims of a token to be minted.

use serde_json::{Map, Value};

/// Claims, member by member. What is not said is filled in when the token is minted.
#[derive(Clone, Debug, Default)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// A token with this scope.
    pub fn new(scope: &str) -> Self {
        Self::default().with("scope", scope)
    }

    /// Exactly these members.
    pub fn of(members: Map<String, Value>) -> Self {
        Self(members)
    }

    /// Sets a member; null keeps it from being filled in.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Leaves a member out that would be filled in.
    #[must_use]
    pub fn without(self, name: &str) -> Self {
        self.with(name, Value::Null)
    }

    pub(super) fn into_map(self) -> Map<String, Value> {
        self.0
    }
}
