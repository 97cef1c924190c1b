// The second authorization server of the reference stack: opaque access tokens, introspection, revocation.
//
// Unlike Keycloak it reads SMART scopes by their grammar, so any well-formed scope can be asked for. Everything is
// in memory: a restart forgets every token. Accounts and secrets are for development on loopback only.
//
// PFORTE_OIDC_PORT: where to listen. PFORTE_PUBLIC_URL: the gateway's FHIR base, the audience of every token.
// PFORTE_OIDC_TLS_PORT: where the same is served over TLS, asking for a client certificate; PFORTE_OIDC_TLS: the folder with
// server.pem, server.key and ca.pem. PFORTE_OIDC_GATEWAY_JWKS: the public key of `pforte-jwt`.

import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import Provider from 'oidc-provider';

// `oidc-provider` uses URL.parse, which Node 20 does not have yet.
URL.parse ??= (url, base) => {
  try {
    return new URL(url, base);
  } catch {
    return null;
  }
};

const port = Number(process.env.PFORTE_OIDC_PORT ?? 18082);
const base = process.env.PFORTE_PUBLIC_URL ?? 'https://localhost:18443/fhir';
const issuer = `http://127.0.0.1:${port}`;
const tlsPort = Number(process.env.PFORTE_OIDC_TLS_PORT ?? 18084);
const tls = (name) => readFileSync(`${process.env.PFORTE_OIDC_TLS}/${name}`);
const smart = /^(patient|user|system)\/(\*|[A-Z][A-Za-z]+)\.(c?r?u?d?s?|read|write|\*)(\?[^?]+)?$/;
const launch = new Set(['launch', 'launch/patient', 'launch/encounter', 'fhirUser', 'online_access']);
const redirects = ['http://127.0.0.1:18090/callback', 'https://app.example/callback'];

const password = 'reference';
const accounts = {
  'patient-in': { patient: 'pat-in', encounter: 'enc-1', fhirUser: 'Patient/pat-in' },
  'patient-out': { patient: 'pat-out', encounter: 'enc-3', fhirUser: 'Patient/pat-out' },
  practitioner: { patient: 'pat-in', encounter: 'enc-1', fhirUser: 'Practitioner/prac-1', groups: ['ward-7'] },
  nobody: { fhirUser: 'Practitioner/prac-2' },
};
// Tokens of this client carry a launch patient although nobody logs in: the shortest way to a patient-bound opaque token.
const bound = { 'opaque-patient': accounts['patient-in'] };

const gateway = (id, more) => ({ client_id: id, grant_types: [], redirect_uris: [], response_types: [], ...more });

const machine = (id) => ({
  client_id: id,
  client_secret: `${id}-secret`,
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
});

// ES256 signs introspection answers, RS256 ID tokens; other keys after every start.
const signing = (kind, options, alg) => ({
  ...generateKeyPairSync(kind, options).privateKey.export({ format: 'jwk' }),
  alg,
  use: 'sig',
});

// What a grant of these scopes says about patient, encounter and user.
function context(facts, scopes) {
  const wanted = scopes.has('launch') ? ['patient', 'encounter'] : [];
  if (scopes.has('launch/patient')) wanted.push('patient');
  if (scopes.has('launch/encounter')) wanted.push('encounter');
  if (scopes.has('fhirUser')) wanted.push('fhirUser');
  wanted.push('groups');
  return Object.fromEntries(wanted.filter((name) => facts?.[name]).map((name) => [name, facts[name]]));
}

function factsOf(token) {
  return bound[token.clientId] ?? accounts[token.accountId];
}

const provider = new Provider(issuer, {
  clients: [
    machine('opaque-client'),
    machine('opaque-patient'),
    {
      client_id: 'opaque-app',
      token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code', 'refresh_token'],
      redirect_uris: redirects,
    },
    // Tokens that only the holder of a key (RFC 9449) or of a certificate (RFC 8705) may use.
    { ...machine('opaque-dpop'), dpop_bound_access_tokens: true },
    { ...machine('opaque-certificate'), tls_client_certificate_bound_access_tokens: true },
    // The gateway: introspects, asks for nothing itself; by a secret, by a key, with signed answers (RFC 9701).
    gateway('pforte', { client_secret: 'pforte-secret' }),
    gateway('pforte-jwt', {
      token_endpoint_auth_method: 'private_key_jwt',
      token_endpoint_auth_signing_alg: 'ES256',
      jwks: JSON.parse(process.env.PFORTE_OIDC_GATEWAY_JWKS ?? '{"keys":[]}'),
    }),
    gateway('pforte-signed', { client_secret: 'pforte-signed-secret', introspection_signed_response_alg: 'ES256' }),
  ],
  jwks: {
    keys: [signing('ec', { namedCurve: 'P-256' }, 'ES256'), signing('rsa', { modulusLength: 2048 }, 'RS256')],
  },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    introspection: { enabled: true, allowedPolicy: (ctx, client) => client.clientId.startsWith('pforte') },
    jwtIntrospection: { enabled: true },
    dPoP: { enabled: true },
    mTLS: {
      enabled: true,
      certificateBoundAccessTokens: true,
      getCertificate: (ctx) => ctx.socket.getPeerX509Certificate?.()?.toString(),
    },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => base,
      useGrantedResource: () => true,
      getResourceServerInfo(ctx) {
        const { params, entities } = ctx.oidc;
        const asked = [params?.scope, entities.AuthorizationCode?.scope, entities.RefreshToken?.scope]
          .flatMap((scope) => scope?.split(' ') ?? []);
        return {
          audience: base,
          scope: asked.filter((scope) => smart.test(scope) || launch.has(scope)).join(' '),
          accessTokenFormat: 'opaque',
          accessTokenTTL: 600,
        };
      },
    },
  },
  scopes: ['openid', 'offline_access', ...launch],
  claims: { openid: ['sub'], fhirUser: ['fhirUser'] },
  conformIdTokenClaims: false,
  responseTypes: ['code'],
  pkce: { required: () => true },
  extraTokenClaims(ctx, token) {
    const scopes = new Set(token.scope?.split(' '));
    // Nobody chose a patient at `opaque-patient`: its context is part of the registration.
    return bound[token.clientId] ?? context(factsOf(token), scopes);
  },
  findAccount: (ctx, id) =>
    accounts[id] && { accountId: id, claims: () => ({ sub: id, fhirUser: accounts[id].fhirUser }) },
  // `offline_access` would want a consent page; SMART's `online_access` is enough to have a refresh token.
  issueRefreshToken: (ctx, client, source) =>
    client.grantTypeAllowed('refresh_token') && (source.scopes.has('online_access') || source.scopes.has('offline_access')),
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  // Logging in is agreeing: a consent page would only be in the way of the tests.
  async loadExistingGrant(ctx) {
    const { client, session, params } = ctx.oidc;
    const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
    grant.addOIDCScope(params.scope);
    grant.addResourceScope(base, params.scope);
    await grant.save();
    return grant;
  },
  cookies: { keys: ['development only'] },
  ttl: { AccessToken: 600, ClientCredentials: 600, Grant: 86400, Interaction: 600, Session: 86400, IdToken: 600 },
});

// `patient` and `encounter` beside the access token (SMART App Launch 2.2, 2.0.10), and the login form.
provider.use(async (ctx, next) => {
  const [, room, uid] = ctx.path.split('/');
  if (room !== 'interaction' || !uid) {
    await next();
    const token = ctx.oidc?.entities?.AccessToken ?? ctx.oidc?.entities?.ClientCredentials;
    if (ctx.path === '/token' && token && ctx.body?.access_token) {
      const { patient, encounter } = token.extra ?? {};
      Object.assign(ctx.body, patient && { patient }, encounter && { encounter });
    }
    return;
  }
  if (ctx.method === 'POST') {
    const chunks = [];
    for await (const chunk of ctx.req) chunks.push(chunk);
    const form = new URLSearchParams(Buffer.concat(chunks).toString());
    const login = form.get('username');
    if (accounts[login] && form.get('password') === password) {
      await provider.interactionFinished(ctx.req, ctx.res, { login: { accountId: login } });
      ctx.respond = false;
      return;
    }
    ctx.status = 401;
  }
  ctx.type = 'html';
  ctx.body = `<!doctype html><title>Log in</title><form method="post" action="/interaction/${encodeURIComponent(uid)}">
<label>User <input name="username"></label> <label>Password <input name="password" type="password"></label>
<button>Log in</button></form>`;
});

const server = provider.listen(port, '127.0.0.1', () => console.log(`serving ${issuer}`));
const options = { cert: tls('server.pem'), key: tls('server.key'), ca: tls('ca.pem') };
const secure = createServer({ ...options, requestCert: true, rejectUnauthorized: false }, provider.callback());
secure.listen(tlsPort, '127.0.0.1');
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.on(signal, () => {
    secure.close();
    secure.closeAllConnections();
    server.close(() => process.exit(0));
    server.closeAllConnections();
  });
}
