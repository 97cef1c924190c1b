"""The Keycloak realm of the reference stack, as Keycloak's import file.

Keycloak matches scopes literally, so every SMART scope a test may ask for is a
client scope of its own; `scopes()` says which. Accounts and secrets are for
development on loopback only.
"""

import json

# Keycloak's import takes time with the square of the number of client scopes (900 of them: minutes), hence a choice;
# for any other scope ask oidc-provider, which reads them by their grammar.
# Types for which every single letter exists, so that a test can grant one letter and miss another.
LETTERED = ["*", "Patient", "Observation", "Condition", "Encounter"]
# Types with the forms of SMART v1.
FIRST = ["*", "Patient", "Observation"]
# Types that can only be read and searched.
READABLE = [
    "Binary", "Composition", "DocumentReference", "Group", "List", "Location", "Medication", "MedicationRequest",
    "Organization", "Practitioner", "Procedure",
]
LETTERS = {
    "patient": ["c", "r", "u", "d", "s", "rs", "cruds"],
    "user": ["r", "s", "rs", "cruds"],
    "system": ["c", "r", "u", "d", "s", "rs", "cud", "cruds"],
}
CONTEXTS = ["patient", "user", "system"]

CONDITION = "http://terminology.hl7.org/CodeSystem/condition-category"
OBSERVATION = "http://terminology.hl7.org/CodeSystem/observation-category"
CORE_CONDITION = "http://hl7.org/fhir/us/core/CodeSystem/condition-category"
CORE = "http://hl7.org/fhir/us/core/CodeSystem/us-core-category"
# Inferno's two rounds of granular scopes (US Core test kit, fine-grained scopes).
GRANULAR = {
    "G1": [
        ("Condition", CONDITION + "|encounter-diagnosis"),
        ("Condition", CORE_CONDITION + "|health-concern"),
        ("Observation", OBSERVATION + "|laboratory"),
        ("Observation", OBSERVATION + "|social-history"),
    ],
    "G2": [
        ("Condition", CONDITION + "|problem-list-item"),
        ("Observation", OBSERVATION + "|vital-signs"),
        ("Observation", OBSERVATION + "|survey"),
        ("Observation", CORE + "|sdoh"),
    ],
}
# Not well-formed on purpose: they must grant nothing (SCOPE-2, SCOPE-3).
MALFORMED = ["Observation.dus", "Patient.sr", "Condition.rr"]

IDENTITY = ["launch", "launch/patient", "launch/encounter", "fhirUser", "profile", "offline_access", "online_access"]

PASSWORD = "reference"
USERS = {
    "patient-in": {"patient": "pat-in", "encounter": "enc-1", "fhirUser": "Patient/pat-in"},
    "patient-out": {"patient": "pat-out", "encounter": "enc-3", "fhirUser": "Patient/pat-out"},
    "practitioner": {
        "patient": "pat-in", "encounter": "enc-1", "fhirUser": "Practitioner/prac-1", "groups": "ward-7",
    },
    # No launch context at all: patient/ scopes of this user must grant nothing.
    "nobody": {"fhirUser": "Practitioner/prac-2"},
}
SECRETS = {
    "confidential-app": "confidential-app-secret",
    "pforte": "pforte-secret",
    "system-client": "system-client-secret",
    "other-audience": "other-audience-secret",
    "dpop-client": "dpop-client-secret",
    "certificate-client": "certificate-client-secret",
}
# The gateway's clients: they introspect, each authenticating in its own way, and are in every token's `aud` for that.
GATEWAYS = ["pforte", "pforte-jwt", "pforte-tls"]
# The FHIR server as an OAuth audience, for tokens that the gateway gets for itself or in exchange.
BACKEND = "fhir-backend"
REDIRECTS = ["http://127.0.0.1:18090/callback", "https://app.example/callback"]


def granular(context, group):
    """The scopes of one of Inferno's granular groups in one context."""
    return [f"{context}/{kind}.rs?category={token}" for kind, token in GRANULAR[group]]


def scopes(context):
    """Every FHIR scope of one context that the realm knows."""
    names = [f"{context}/{kind}.{letters}" for kind in LETTERED for letters in LETTERS[context]]
    names += [f"{context}/{kind}.{word}" for kind in FIRST for word in ("read", "write", "*")]
    names += [f"{context}/{kind}.rs" for kind in READABLE]
    names += granular(context, "G1") + granular(context, "G2")
    names.append(f"{context}/Observation.cruds?category={OBSERVATION}|vital-signs")
    if context != "user":
        names += [f"{context}/{wrong}" for wrong in MALFORMED]
    return names


def _mapper(name, kind, **config):
    config = {key.replace("__", "."): value for key, value in config.items()}
    return {"name": name, "protocol": "openid-connect", "protocolMapper": kind, "config": config}


def _attribute(attribute, kind="oidc-usermodel-attribute-mapper", many="false"):
    return _mapper(
        attribute, kind, user__attribute=attribute, claim__name=attribute, jsonType__label="String", multivalued=many,
        access__token__claim="true", id__token__claim="true", userinfo__token__claim="true",
        introspection__token__claim="true", access__tokenResponse__claim="true" if kind.startswith("smart") else "false")


def _context(attribute):
    return _attribute(attribute, "smart-launch-context")


def _scope(name, *mappers, announced=True):
    return {
        "name": name, "protocol": "openid-connect", "protocolMappers": list(mappers),
        "attributes": {
            "include.in.token.scope": "true" if announced else "false",
            "include.in.openid.provider.metadata": "true" if announced else "false",
            "display.on.consent.screen": "false",
        },
    }


def _client(name, algorithm, optional, **more):
    client = {
        "clientId": name, "enabled": True, "protocol": "openid-connect", "fullScopeAllowed": False,
        "standardFlowEnabled": False, "implicitFlowEnabled": False, "directAccessGrantsEnabled": False,
        "serviceAccountsEnabled": False, "publicClient": False, "redirectUris": [], "webOrigins": ["+"],
        "defaultClientScopes": ["basic", "gateway"], "optionalClientScopes": optional,
        "attributes": {
            "access.token.signed.response.alg": algorithm,
            "access.token.header.type.rfc9068": "true",  # typ: at+jwt
        },
    }
    if name in SECRETS:
        client["secret"] = SECRETS[name]
        client["clientAuthenticatorType"] = "client-secret"
    attributes = {**client["attributes"], **more.pop("attributes", {})}
    return {**client, **more, "attributes": attributes}


def _audience(name, **config):
    return _mapper(name, "oidc-audience-mapper", access__token__claim="true", introspection__token__claim="true", **config)


def realm(public_url, jwks, gateway_jwks):
    """The import file: audience is `public_url`; the key sets are those of `backend-services` and of `pforte-jwt`."""
    app = IDENTITY + scopes("patient") + scopes("user")
    system = scopes("system")
    client_scopes = [
        _scope("basic", _mapper(
            "sub", "oidc-sub-mapper", access__token__claim="true", introspection__token__claim="true"),
            _attribute("groups", many="true"), announced=False),
        # Keycloak answers an introspection only to a client in the token's `aud`: hence the gateway's clients beside the base.
        _scope("gateway", _audience("base", included__custom__audience=public_url),
               *(_audience(client, included__client__audience=client) for client in GATEWAYS), announced=False),
        _scope("elsewhere", _audience("other", included__custom__audience="https://elsewhere.example/fhir"), announced=False),
        _scope("backend", _audience("backend", included__client__audience=BACKEND), announced=False),
        _scope("launch", _context("patient"), _context("encounter")),
        _scope("launch/patient", _context("patient")),
        _scope("launch/encounter", _context("encounter")),
        _scope("fhirUser", _attribute("fhirUser")),
        _scope("profile"), _scope("offline_access"), _scope("online_access"),
    ]
    client_scopes += [_scope(name) for context in CONTEXTS for name in scopes(context)]
    keys = {"priority": ["100"]}
    return {
        "realm": "pforte", "enabled": True, "sslRequired": "none", "loginTheme": "keycloak",
        "accessTokenLifespan": 600, "revokeRefreshToken": True, "refreshTokenMaxReuse": 0,
        "bruteForceProtected": False, "defaultSignatureAlgorithm": "RS256",
        "clientScopes": client_scopes, "defaultDefaultClientScopes": ["basic"], "defaultOptionalClientScopes": [],
        "scopeMappings": [{"clientScope": "offline_access", "roles": ["offline_access"]}],
        "components": {
            "org.keycloak.keys.KeyProvider": [
                {"name": "rsa", "providerId": "rsa-generated", "config": keys},
                {"name": "ec", "providerId": "ecdsa-generated", "config": {**keys, "ecdsaEllipticCurveKey": ["P-256"]}},
                {"name": "hmac", "providerId": "hmac-generated", "config": {**keys, "algorithm": ["HS512"]}},
                {"name": "aes", "providerId": "aes-generated", "config": keys},
            ],
            "org.keycloak.userprofile.UserProfileProvider": [{
                "providerId": "declarative-user-profile",
                "config": {"kc.user.profile.config": [json.dumps({
                    "attributes": [{"name": name, "permissions": {"view": ["admin", "user"], "edit": ["admin"]}}
                                   for name in ("username", "email", "firstName", "lastName")],
                    "unmanagedAttributePolicy": "ADMIN_EDIT",
                })]},
            }],
        },
        "clients": [
            _client("backend-services", "ES256", system, serviceAccountsEnabled=True,
                    clientAuthenticatorType="client-jwt", attributes={
                        "use.jwks.string": "true", "jwks.string": json.dumps(jwks),
                        "token.endpoint.auth.signing.alg": "ES384"}),
            _client("system-client", "RS256", system, serviceAccountsEnabled=True),
            _client("public-app", "RS256", app, publicClient=True, standardFlowEnabled=True, redirectUris=REDIRECTS,
                    attributes={"pkce.code.challenge.method": "S256"}),
            _client("confidential-app", "ES256", app, standardFlowEnabled=True, directAccessGrantsEnabled=True,
                    redirectUris=REDIRECTS, attributes={"pkce.code.challenge.method": "S256"}),
            # The gateway itself: introspects, and gets tokens for the backend, in its own name or in exchange (RFC 8693).
            _client("pforte", "RS256", system, defaultClientScopes=["basic", "backend"], serviceAccountsEnabled=True,
                    attributes={"standard.token.exchange.enabled": "true"}),
            _client("pforte-jwt", "RS256", [], defaultClientScopes=["basic", "backend"], serviceAccountsEnabled=True,
                    clientAuthenticatorType="client-jwt", attributes={
                        "use.jwks.string": "true", "jwks.string": json.dumps(gateway_jwks),
                        "token.endpoint.auth.signing.alg": "ES256"}),
            _client("pforte-tls", "RS256", [], defaultClientScopes=["basic", "backend"], serviceAccountsEnabled=True,
                    clientAuthenticatorType="client-x509", attributes={
                        "x509.subjectdn": "CN=pforte,O=Pforte reference", "x509.allow.regex.pattern.comparison": "false"}),
            _client(BACKEND, "RS256", [], defaultClientScopes=[]),
            # Tokens that only the holder of a key (RFC 9449) or of a certificate (RFC 8705) may use.
            _client("dpop-client", "ES256", system, serviceAccountsEnabled=True,
                    attributes={"dpop.bound.access.tokens": "true"}),
            _client("certificate-client", "RS256", system, serviceAccountsEnabled=True,
                    attributes={"tls.client.certificate.bound.access.tokens": "true"}),
            _client("other-audience", "RS256", system, serviceAccountsEnabled=True,
                    defaultClientScopes=["basic", "elsewhere"]),
        ],
        "users": [{
            "username": name, "enabled": True, "emailVerified": True, "email": f"{name}@example.org",
            "firstName": name.split("-")[0].capitalize(), "lastName": "Reference", "realmRoles": ["default-roles-pforte"],
            "credentials": [{"type": "password", "value": PASSWORD, "temporary": False}],
            "attributes": {key: [value] for key, value in attributes.items()},
        } for name, attributes in USERS.items()],
    }
