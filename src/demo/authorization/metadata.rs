//! RFC 8414 and OpenID Connect metadata, in one document at both places.

use serde_json::{Value, json};

use super::{Endpoint, Shared, path};

pub(super) fn document(shared: &Shared) -> Value {
    let at = |endpoint| format!("{}{}", shared.origin, path(endpoint));
    let mut all = json!({
        "issuer": shared.issuer,
        "authorization_endpoint": at(Endpoint::Authorization),
        "token_endpoint": at(Endpoint::Token),
        "introspection_endpoint": at(Endpoint::Introspection),
        "revocation_endpoint": at(Endpoint::Revocation),
        "jwks_uri": at(Endpoint::Jwks),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "client_credentials", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "revocation_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
        "authorization_response_iss_parameter_supported": true,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "claims_supported": ["sub", "iss", "aud", "exp", "iat", "nonce", "fhirUser", "name"],
        "scopes_supported": ["openid", "fhirUser", "profile", "launch", "launch/patient", "launch/encounter", "offline_access",
            "patient/*.rs", "patient/*.cruds", "user/*.rs", "user/*.cruds", "system/*.rs", "system/*.cruds"],
        "service_documentation": format!("{}/", shared.origin)
    });
    if let Some(map) = all.as_object_mut() {
        map.extend(shared.memory().metadata.clone());
        map.retain(|_, value| !value.is_null());
    }
    all
}
