//! The documents anybody may read: how to get a token here, and what the server can do.
//!
//! `.well-known/smart-configuration` (SMART App Launch 2.2), the protected-resource metadata of RFC 9728, and our part
//! of the CapabilityStatement. They are built from what the authorization server and the backend say, but say only what
//! is true of this gateway (DISC-1 … DISC-21). Builders only: fetching and caching is others' business.

mod address;
pub mod capability;
pub mod cors;
mod document;
mod json;
mod smart;
mod tree;

pub use document::{
    Bindings, Document, oauth_protected_resource_path, openid_configuration, protected_resource,
};
pub use smart::{Endpoints, SmartFacts, access_token_format, smart_configuration};
