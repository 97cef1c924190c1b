//! The keys about tokens: who issues them, and what is published about it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::values::{MaybePeriod, OneOrMany, Period};

/// A trusted issuer of access tokens.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthorizationServer {
    /// The issuer's URL; compared exactly with the token's `iss`.
    #[schemars(required, example = &"https://as.example")]
    pub issuer: Option<String>,
    /// Accepted `aud` values, one or a list. Default: `server.public_url`.
    pub audience: Option<OneOrMany<String>>,
    /// How its tokens are checked. Default: `jwt`.
    pub validation: Option<Validation>,
    /// Where its metadata is. Default: derived from the issuer (RFC 8414, then OpenID Connect Discovery).
    pub metadata_url: Option<String>,
    /// Where its keys are. Default: from the metadata.
    pub jwks_url: Option<String>,
    /// Accepted signature algorithms; never `none`, never HMAC. Default: `ES256`, `RS256`, `PS256`, `EdDSA`.
    pub algorithms: Option<Vec<String>>,
    /// Required `typ`: `at+jwt` (RFC 9068), or `any`, which also accepts `JWT` and absent. Default: `at+jwt`.
    pub token_type: Option<TokenType>,
    /// Where tokens are introspected. Default: from the metadata.
    pub introspection_url: Option<String>,
    /// How the gateway authenticates there; needed when tokens are introspected.
    pub client: Option<Client>,
    /// Longest time an introspection answer is reused; `0s` asks every time. Default: `0s`.
    pub introspection_cache: Option<Period>,
    /// Longest wait for any call to this server. Default: `5s`.
    pub timeout: Option<Period>,
    /// Tolerated clock difference, at most `60s`. Default: `30s`.
    pub clock_skew: Option<Period>,
    /// Whether tokens that are no JWT belong to this server, at most one. Default: true for the only one that introspects.
    pub opaque: Option<bool>,
    /// Tokens that live longer are refused. Default: `off`.
    pub max_lifetime: Option<MaybePeriod>,
    /// Whether introspection answers must be signed (RFC 9701). Default: `json`.
    pub introspection_response: Option<IntrospectionResponse>,
    /// What `authorization_details` of the type `smart_on_fhir` mean (SMART App Launch 2.2, experimental). Default: `ignore`.
    pub authorization_details: Option<AuthorizationDetails>,
    /// How often its metadata and keys are fetched anew, at most; a removed key stops working after this time. Default: `5m`.
    pub refresh: Option<Period>,
    /// PEM file with an extra trust anchor.
    pub ca: Option<PathBuf>,
    /// Which claims carry what.
    pub claims: Option<Claims>,
}

/// How tokens are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Validation {
    /// Signature and introspection must agree.
    Both,
    /// RFC 7662.
    Introspection,
    /// Signature by the issuer's keys.
    Jwt,
}

/// Whether introspection answers must be signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IntrospectionResponse {
    /// RFC 7662.
    #[default]
    Json,
    /// RFC 9701: a JWT by a key of the server; anything else is refused.
    Jwt,
}

/// What `authorization_details` mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuthorizationDetails {
    /// Nothing.
    #[default]
    Ignore,
    /// The one entry of type `smart_on_fhir` for this base replaces scopes and context; none for this base: no access.
    SmartOnFhir,
}

/// Which `typ` an access token must carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum TokenType {
    /// `at+jwt`, `JWT` or none; never an ID token or a foreign type.
    #[serde(rename = "any")]
    Any,
    /// RFC 9068.
    #[serde(rename = "at+jwt")]
    AccessToken,
}

/// How the gateway authenticates at an authorization server.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// The gateway's client id there.
    #[schemars(required, example = &"pforte")]
    pub id: Option<String>,
    /// The method. Default: `client_secret_basic`.
    pub auth: Option<ClientAuth>,
    /// File with the client secret.
    pub secret_file: Option<PathBuf>,
    /// Environment variable with the client secret.
    pub secret_env: Option<String>,
    /// PEM file with the private key of `private_key_jwt` or `tls`.
    pub key_file: Option<PathBuf>,
    /// The key's id for `private_key_jwt`.
    pub kid: Option<String>,
    /// The signature algorithm of `private_key_jwt`. Default: by the key.
    pub algorithm: Option<String>,
    /// PEM file with the certificate of `tls`.
    pub certificate: Option<PathBuf>,
}

/// OAuth client authentication methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// RFC 6749 §2.3.1, in the `Authorization` header.
    ClientSecretBasic,
    /// RFC 6749 §2.3.1, in the form body.
    ClientSecretPost,
    /// RFC 7523, as `private_key_jwt` in OpenID Connect Core §9.
    PrivateKeyJwt,
    /// RFC 8705 §2, by certificate.
    Tls,
}

/// Which claims carry what.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// Scopes; the first claim that is there counts. Default: `scope`, `scp`.
    pub scope: Option<OneOrMany<String>>,
    /// The launch patient. Default: `patient`.
    pub patient: Option<String>,
    /// The launch encounter. Default: `encounter`.
    pub encounter: Option<String>,
    /// The user as a FHIR resource. Default: `fhirUser`.
    pub fhir_user: Option<String>,
    /// The OAuth client; the first claim that is there counts. Default: `client_id`, `azp`.
    pub client: Option<OneOrMany<String>>,
}

/// Members of the SMART discovery document, under their own names.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Discovery {
    /// Issuer of ID tokens; exactly when `sso-openid-connect` is a capability.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Keys of ID tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// Where apps send the user's browser.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization_endpoint: Option<String>,
    /// Where apps get tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_endpoint: Option<String>,
    /// Supported OAuth grant types.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_types_supported: Option<Vec<String>>,
    /// Supported client authentication methods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
    /// Signature algorithms of client assertions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_signing_alg_values_supported: Option<Vec<String>>,
    /// Dynamic client registration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration_endpoint: Option<String>,
    /// Scopes that clients may ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes_supported: Option<Vec<String>>,
    /// Supported OAuth response types.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_types_supported: Option<Vec<String>>,
    /// Where users see which apps have access.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub management_endpoint: Option<String>,
    /// Token introspection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub introspection_endpoint: Option<String>,
    /// Token revocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocation_endpoint: Option<String>,
    /// Supported PKCE methods; `S256` in and `plain` out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code_challenge_methods_supported: Option<Vec<String>>,
    /// SMART capabilities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Vec<String>>,
    /// SMART App State (deprecated member).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smart_app_state_endpoint: Option<String>,
    /// Other endpoints that share this authorization server (experimental).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub associated_endpoints: Option<Vec<AssociatedEndpoint>>,
    /// Where the User-access Brand Bundle is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_access_brand_bundle: Option<String>,
    /// Which brand of the bundle is this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_access_brand_identifier: Option<BrandIdentifier>,
    /// Structure of access tokens (IHE IUA), e.g. `ihe-jwt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_token_format: Option<String>,
    /// Whether `.well-known/openid-configuration` below the FHIR base shows the authorization server's own metadata.
    /// Not a member of the document. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub openid_configuration: Option<bool>,
}

/// Another endpoint that shares the authorization server.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AssociatedEndpoint {
    /// Its base.
    #[schemars(required)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Its capabilities.
    #[schemars(required)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Vec<String>>,
}

/// A FHIR Identifier of a brand.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BrandIdentifier {
    /// The naming system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The identifier.
    #[schemars(required)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// Sender-constrained tokens by DPoP (RFC 9449).
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dpop {
    /// Whether the `DPoP` scheme is accepted. Default: true.
    pub enabled: Option<bool>,
    /// Tolerated age of a proof. Default: `60s`.
    pub clock_window: Option<Period>,
    /// Whether proofs must carry a nonce of the gateway. Default: `off`.
    pub nonce: Option<Nonce>,
}

/// Whether proofs must carry a nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Nonce {
    /// Never asked for.
    Off,
    /// Always.
    Required,
}
