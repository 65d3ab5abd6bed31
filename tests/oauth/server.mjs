// oidc-provider behind the routes of GitLab, with PKCE and the rotation of refresh tokens enforced.
//
// Listens on a free loopback port and prints its address. The user says yes to everything: a GET of an authorization
// URL, or of a device's verification page with its code, is walked through the provider's own pages, and answered with
// where the browser would end up. Beside OAuth there is just enough of GitLab's API for a login.

import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const USER = { id: 7, username: 'ada', name: 'Ada', state: 'active' };
const SCOPES = ['ai_features', 'api', 'read_user'];
const HOPS_MAX = 12;
const GATEWAY_TOKEN = 'foreign-gateway-token';

const client = (client_id, rest) => ({
  client_id,
  // Native applications may come back to any port of loopback, as with GitLab.
  application_type: 'native',
  redirect_uris: ['http://127.0.0.1/oauth/callback'],
  grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
  response_types: ['code'],
  ...rest,
});

function configure(root) {
  const provider = new Provider(root, {
    clients: [
      client('public-app', { token_endpoint_auth_method: 'none' }),
      client('confidential-app', {
        token_endpoint_auth_method: 'client_secret_post',
        client_secret: 'foreign-app-secret',
      }),
    ],
    scopes: SCOPES,
    pkce: { required: () => true },
    rotateRefreshToken: true,
    issueRefreshToken: async () => true,
    findAccount: async (ctx, accountId) => ({ accountId, claims: async () => ({ sub: accountId }) }),
    loadExistingGrant: async (ctx) => {
      const { client, session, params } = ctx.oidc;
      const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
      grant.addOIDCScope(params.scope);
      await grant.save();
      return grant;
    },
    interactions: { url: (ctx, interaction) => `/walk/interaction/${interaction.uid}` },
    features: {
      devInteractions: { enabled: false },
      revocation: { enabled: true },
      deviceFlow: {
        enabled: true,
        userCodeInputSource: async (ctx, form) => { ctx.body = form; },
        userCodeConfirmSource: async (ctx, form) => { ctx.body = form; },
        successSource: async (ctx) => { ctx.body = 'done'; },
      },
    },
    ttl: {
      AccessToken: 7200,
      AuthorizationCode: 600,
      DeviceCode: 300,
      Grant: 86400,
      Interaction: 600,
      RefreshToken: 86400,
      Session: 600,
    },
    cookies: { keys: ['not a secret: nobody but the tests comes here'] },
    routes: {
      authorization: '/walk/authorize',
      code_verification: '/oauth/device',
      device_authorization: '/oauth/authorize_device',
      revocation: '/oauth/revoke',
      token: '/oauth/token',
    },
    renderError: async (ctx, out) => { ctx.body = out; },
  });
  return provider;
}

// A browser that follows every redirect inside the provider and keeps its cookies.
class Browser {
  #cookies = new Map();

  async visit(url, form) {
    for (let hops = 0; hops < HOPS_MAX; hops += 1) {
      const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ');
      const body = form && new URLSearchParams(form);
      const method = form ? 'POST' : 'GET';
      const response = await fetch(url, { method, body, headers: { cookie }, redirect: 'manual' });
      for (const line of response.headers.getSetCookie()) {
        const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
        this.#cookies.set(name, value);
      }
      const location = response.headers.get('location');
      if (location === null) return { status: response.status, text: await response.text() };
      const next = new URL(location, url);
      if (next.origin !== new URL(url).origin) return { status: 302, location: next.href };
      [url, form] = [next.href, undefined];
    }
    throw new Error('too many redirects');
  }
}

async function approveDevice(root, user_code) {
  const browser = new Browser();
  const page = `${root}/oauth/device`;
  const { text } = await browser.visit(page);
  const xsrf = /name="xsrf" value="([^"]+)"/.exec(text)[1];
  await browser.visit(page, { xsrf, user_code });
  return browser.visit(page, { xsrf, user_code, confirm: 'yes' });
}

const json = (response, status, value) => {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(value));
};

// Answers GitLab's API as far as a login needs it.
async function api(provider, path, request, response) {
  const value = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
  const token = value && (value === GATEWAY_TOKEN || (await provider.AccessToken.find(value)));
  if (!token) return json(response, 401, { message: '401 Unauthorized' });
  const expires_at = Math.floor(Date.now() / 1000) + 3600;
  switch (path) {
    case '/api/v4/user':
      if (!token.scopes.has('read_user') && !token.scopes.has('api')) {
        return json(response, 403, { error: 'insufficient_scope', error_description: 'no', scope: 'api read_user' });
      }
      return json(response, 200, USER);
    case '/oauth/token/info':
      return json(response, 200, {
        resource_owner_id: USER.id,
        scope: [...token.scopes],
        expires_in: token.remainingTTL,
      });
    case '/api/v4/ai/third_party_agents/direct_access':
      return json(response, 201, {
        headers: { 'x-gitlab-realm': 'self-managed' },
        token: GATEWAY_TOKEN,
        expires_at,
      });
    // The gateway, by which a login proves that it is good for something.
    case '/api/gateway/v1/proxy/anthropic/v1/messages/count_tokens':
      return json(response, 200, { input_tokens: 8 });
    default:
      return json(response, 404, { error: '404 Not Found' });
  }
}

// Returns where a browser ends up that is sent to `url`, if that is one of the pages that are walked.
async function walked(root, { pathname, search, searchParams }) {
  if (pathname === '/oauth/authorize') return new Browser().visit(`${root}/walk/authorize${search}`);
  const code = searchParams.get('user_code');
  if (pathname === '/oauth/device' && code) return approveDevice(root, code);
  return undefined;
}

async function handle(provider, root, request, response) {
  const url = new URL(request.url, root);
  const end = await walked(root, url);
  if (end) {
    response.writeHead(end.status, end.location ? { location: end.location } : { 'content-type': 'text/plain' });
    return response.end(end.text);
  }
  if (url.pathname.startsWith('/walk/interaction/')) {
    const yes = { login: { accountId: String(USER.id) }, consent: {} };
    return provider.interactionFinished(request, response, yes);
  }
  if (url.pathname.startsWith('/api/') || url.pathname === '/oauth/token/info') {
    return api(provider, url.pathname, request, response);
  }
  return provider.callback()(request, response);
}

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const root = `http://127.0.0.1:${server.address().port}`;
  const provider = configure(root);
  server.on('request', (request, response) => {
    handle(provider, root, request, response).catch((error) => {
      console.error(error);
      response.writeHead(500).end();
    });
  });
  console.log(root);
});
// Ends with whoever started it.
process.stdin.on('end', () => process.exit(0)).resume();
