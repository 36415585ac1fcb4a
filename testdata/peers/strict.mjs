// strict.mjs ISSUER RESOURCE OTHER_RESOURCE SIGN_IN_LINK: a strict OAuth client (oauth4webapi) against mcpd's issuer. It
// walks the way that must work, and then the ways that must not. It prints a line for each, and ends with 1 at the first surprise.
// The issuer has no grace for refresh tokens.
import assert from 'node:assert/strict'
import * as oauth from 'oauth4webapi'

const [issuer, resource, other, link] = process.argv.slice(2)
const insecure = { [oauth.allowInsecureRequests]: true } // http on this computer
const redirect = 'http://127.0.0.1:9/callback'

// browser is a person's browser, as far as the issuer's pages need one.
class browser {
  cookies = new Map()
  async fetch(url, form) {
    const headers = { cookie: [...this.cookies].map(([k, v]) => `${k}=${v}`).join('; '), 'sec-fetch-site': 'same-origin' }
    const r = await fetch(url, { redirect: 'manual', headers, method: form ? 'POST' : 'GET', body: form && new URLSearchParams(form) })
    for (const c of r.headers.getSetCookie()) {
      const [, k, v] = /^([^=]+)=([^;]*)/.exec(c)
      this.cookies.set(k, v)
    }
    return { status: r.status, to: r.headers.get('location') && new URL(r.headers.get('location'), url), page: await r.text(), url }
  }
  // browse follows redirects as long as they stay with the issuer, and answers what is asked for consent.
  async browse(url, decision = 'allow') {
    let at = await this.fetch(url)
    for (let n = 0; n < 10; n++) {
      if (at.to?.origin === issuer) at = await this.fetch(at.to)
      else if (!at.to && at.status === 200 && at.page.includes('id="allow"')) at = await this.fetch(new URL('/consent', issuer), { ...hidden(at.page), decision })
      else break
    }
    return at
  }
}
const hidden = page => Object.fromEntries([...page.matchAll(/type="hidden" name="([^"]+)" value="([^"]*)"/g)].map(m => [m[1], m[2].replaceAll('&#43;', '+').replaceAll('&amp;', '&')]))

let good = 0, bad = 0
const works = what => { good++; console.log('works:', what) }
const refuses = what => { bad++; console.log('refuses:', what) }

const discover = async algorithm => oauth.processDiscoveryResponse(new URL(issuer), await oauth.discoveryRequest(new URL(issuer), { algorithm, ...insecure }))
const as = await discover('oauth2')
assert.deepEqual(await discover('oidc'), as)
works('both discovery documents, equal')
const prm = await oauth.processResourceDiscoveryResponse(new URL(resource), await oauth.resourceDiscoveryRequest(new URL(resource), insecure))
assert.deepEqual(prm.authorization_servers, [issuer])
works('metadata of the resource')

const metadata = { client_name: 'strict', redirect_uris: [redirect], token_endpoint_auth_method: 'none' }
const register = async extra => oauth.processDynamicClientRegistrationResponse(await oauth.dynamicClientRegistrationRequest(as, { ...metadata, ...extra }, insecure))
const client = await register()
const stranger = await register({ client_name: 'stranger' })
works('registration')

const alice = new browser()
let at = await alice.fetch(link)
at = await alice.fetch(new URL('/signin', issuer), hidden(at.page))
assert.equal(at.status, 303)
works('signing in by a link')

// ask is a good authorization request, with changes; null takes a parameter away.
async function ask(changes = {}, who = alice, decision) {
  const verifier = oauth.generateRandomCodeVerifier(), state = oauth.generateRandomState(), nonce = oauth.generateRandomNonce()
  const q = {
    client_id: client.client_id, redirect_uri: redirect, response_type: 'code', scope: 'mcp openid', state, nonce, resource,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256', ...changes,
  }
  const url = new URL(as.authorization_endpoint)
  for (const [k, v] of Object.entries(q)) for (const each of v === null ? [] : [v].flat()) url.searchParams.append(k, each)
  return { at: await who.browse(url, decision), verifier, state, nonce }
}
async function code(changes) {
  const a = await ask(changes)
  assert.ok(a.at.to?.href.startsWith(redirect), `no redirect to the client: ${a.at.status} ${a.at.page}`)
  return { ...a, params: oauth.validateAuthResponse(as, client, a.at.to, a.state) }
}
const redeem = async (c, o = {}) => oauth.authorizationCodeGrantRequest(as, o.client ?? client, oauth.None(), c.params, o.redirect ?? redirect, o.verifier ?? c.verifier,
  { ...insecure, additionalParameters: { resource, ...o.more } })
const refresh = async (token, o = {}) => oauth.processRefreshTokenResponse(as, o.client ?? client,
  await oauth.refreshTokenGrantRequest(as, o.client ?? client, oauth.None(), token, { ...insecure, additionalParameters: { ...o.more } }))
async function tokens(changes, o) {
  const c = await code(changes)
  const r = await redeem(c, o)
  return { c, ...await oauth.processAuthorizationCodeResponse(as, client, r, { expectedNonce: c.nonce, requireIdToken: true }) }
}
const initialize = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'strict', version: '1' } } })
const call = async (token, url = resource, query = '') => (await fetch(url + query, {
  method: 'POST', body: initialize,
  headers: { ...(token ? { authorization: `Bearer ${token}` } : {}), 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
})).status

const first = await tokens()
works('code, PKCE, iss, state, nonce, ID token')
assert.equal(await call(first.access_token), 200)
works('the resource with its token')
{
  const keys = await (await fetch(as.jwks_uri)).json()
  assert.equal(keys.keys.length, 1)
  const second = await refresh(first.refresh_token, { more: { resource } })
  assert.notEqual(second.refresh_token, first.refresh_token)
  assert.equal(await call(second.access_token), 200)
  works('refresh with rotation')
  await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, oauth.None(), second.refresh_token, insecure))
  assert.equal(await call(second.access_token), 401)
  works('revocation of all')
  const verifier = oauth.generateRandomCodeVerifier()
  const pushed = await oauth.processPushedAuthorizationResponse(as, client, await oauth.pushedAuthorizationRequest(as, client, oauth.None(), new URLSearchParams({
    redirect_uri: redirect, response_type: 'code', scope: 'mcp', resource, code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
  }), insecure))
  const a = await alice.browse(`${as.authorization_endpoint}?client_id=${client.client_id}&request_uri=${encodeURIComponent(pushed.request_uri)}`)
  await oauth.processAuthorizationCodeResponse(as, client, await redeem({ params: oauth.validateAuthResponse(as, client, a.to, oauth.expectNoState), verifier }))
  works('a pushed request')
}

// What comes back to the client, with an error, its state and the issuer.
for (const [what, changes, error, who, decision] of [
  ['no PKCE', { code_challenge: null, code_challenge_method: null }, 'invalid_request'],
  ['PKCE plain', { code_challenge_method: 'plain' }, 'invalid_request'],
  ['PKCE without a method', { code_challenge_method: null }, 'invalid_request'],
  ['response_type=token', { response_type: 'token' }, 'unsupported_response_type'],
  ['response_type=code id_token', { response_type: 'code id_token' }, 'unsupported_response_type'],
  ['response_mode=fragment', { response_mode: 'fragment' }, 'invalid_request'],
  ['no resource', { resource: null }, 'invalid_target'],
  ['a foreign resource', { resource: 'https://evil.example/mcp' }, 'invalid_target'],
  ['two resources', { resource: [resource, other] }, 'invalid_target'],
  ['a parameter twice', { nonce: ['a', 'b'] }, 'invalid_request'],
  ['a request object', { request: 'e30.e30.' }, 'request_not_supported'],
  ['prompt=none with nobody there', { prompt: 'none' }, 'login_required', new browser()],
  ['prompt=none without consent', { prompt: 'none', resource: other }, 'consent_required'],
  ['a person who says no', { resource: other }, 'access_denied', alice, 'deny'],
]) {
  const a = await ask(changes, who, decision)
  assert.ok(a.at.to?.href.startsWith(redirect), `${what}: ${a.at.status} ${a.at.page}`)
  assert.throws(() => oauth.validateAuthResponse(as, client, a.at.to, a.state), e => e instanceof oauth.AuthorizationResponseError && e.error === error && e.cause.get('iss') === issuer, what)
  refuses(what)
}

// What is shown, and never redirected.
for (const [what, changes] of [
  ['an unknown client', { client_id: 'nobody' }], ['a client named twice', { client_id: [client.client_id, stranger.client_id] }],
  ['a redirect URI of nobody', { redirect_uri: 'https://evil.example/callback' }], ['localhost for 127.0.0.1', { redirect_uri: 'http://localhost:9/callback' }],
  ['[::1] for 127.0.0.1', { redirect_uri: 'http://[::1]:9/callback' }], ['a redirect URI with more path', { redirect_uri: redirect + '/more' }],
  ['a redirect URI with user info', { redirect_uri: 'http://127.0.0.1:9@evil.example/callback' }], ['no redirect URI', { redirect_uri: null }],
]) {
  const { at } = await ask(changes)
  assert.ok(at.status >= 400 && at.status < 500 && !at.to, `${what}: ${at.status} ${at.to}`)
  refuses(what)
}

// What the token endpoint answers.
const fails = async (what, error, promise, status = 400) => {
  await assert.rejects(promise, e => e instanceof oauth.ResponseBodyError && e.error === error && e.status === status, `${what} is not refused with ${error}`)
  refuses(what)
}
const process_ = async (r, c = client) => oauth.processAuthorizationCodeResponse(as, c, await r)
{
  const c = await code()
  await fails("another client's code", 'invalid_grant', process_(redeem(c, { client: stranger }), stranger))
  await fails('a foreign resource at the token endpoint', 'invalid_target', process_(redeem(c, { more: { resource: other } })))
  await fails('a wrong verifier', 'invalid_grant', process_(redeem(c, { verifier: oauth.generateRandomCodeVerifier() })))
  await fails('a code whose verifier was guessed at', 'invalid_grant', process_(redeem(c)))
  await fails('another redirect URI', 'invalid_grant', process_(redeem(await code(), { redirect: 'http://127.0.0.1:10/callback' })))
  await fails('an unknown client at the token endpoint', 'invalid_client', process_(redeem(await code(), { client: { client_id: 'nobody' } })), 401)
}
{
  const c = await code()
  const all = await Promise.all(Array.from({ length: 8 }, async () => (await redeem(c)).json()))
  const got = all.filter(t => t.access_token)
  assert.ok(got.length <= 1, `a code was good ${got.length} times`)
  for (const t of got) assert.equal(await call(t.access_token), 401)
  refuses('a code eight times at once, and what it gave')
}
const form = async (body, method = 'POST') => fetch(method === 'GET' ? `${as.token_endpoint}?${new URLSearchParams(body)}` : as.token_endpoint, method === 'GET' ? {} : { method, body: new URLSearchParams(body) })
const plainly = async (what, body, error, status = 400, method) => {
  const r = await form(body, method)
  assert.equal(r.status, status, what)
  if (error) assert.equal((await r.json()).error, error, what)
  refuses(what)
}
await plainly('no verifier', { grant_type: 'authorization_code', client_id: client.client_id, redirect_uri: redirect, code: (await code()).params.get('code') }, 'invalid_grant')
await plainly('GET at the token endpoint', { grant_type: 'refresh_token', client_id: client.client_id, refresh_token: 'x' }, null, 405, 'GET')
await plainly('the password grant', { grant_type: 'password', client_id: client.client_id, username: 'a', password: 'b' }, 'unsupported_grant_type')
await plainly('a token in exchange', { grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange', client_id: client.client_id, subject_token: 'x', subject_token_type: 'urn:ietf:params:oauth:token-type:access_token' }, 'unauthorized_client')
{
  const t = await tokens()
  await fails('a foreign resource at refresh', 'invalid_target', refresh(t.refresh_token, { more: { resource: other } }))
  await fails("another client's refresh token", 'invalid_grant', refresh(t.refresh_token, { client: stranger }))
  await fails('more scope at refresh', 'invalid_scope', refresh(t.refresh_token, { more: { scope: 'mcp profile' } }))
  assert.equal(await call(t.id_token), 401)
  refuses('an ID token as bearer')
  assert.equal(await call(t.access_token, other), 401)
  refuses("one server's token at another")
  assert.equal(await call(t.refresh_token), 401)
  refuses('a refresh token as bearer')
  assert.equal(await call(null, resource, `?access_token=${t.access_token}`), 401)
  refuses('a token in the query')
  const next = await refresh(t.refresh_token)
  await fails('a refresh token twice', 'invalid_grant', refresh(t.refresh_token))
  await fails('what came of a refresh token used twice', 'invalid_grant', refresh(next.refresh_token))
  assert.equal(await call(next.access_token), 401)
  refuses('an access token of that family')
}

// What cannot be registered.
for (const [what, uris] of [
  ['a wildcard', ['https://*.example.com/callback']], ['javascript:', ['javascript:alert(1)']], ['data:', ['data:text/html,x']], ['a fragment', [redirect + '#x']],
  ['http elsewhere', ['http://app.example/callback']], ['a relative one', ['/callback']], ['none', []], ['one bad among good', [redirect, 'file:///etc/passwd']],
]) {
  await assert.rejects(register({ redirect_uris: uris }), e => e instanceof oauth.ResponseBodyError && e.status === 400 && /^invalid_(redirect_uri|client_metadata)$/.test(e.error), what)
  refuses(`a redirect URI to register: ${what}`)
}

// A client that is led to another issuer notices (RFC 9207).
{
  const c = await code()
  c.at.to.searchParams.set('iss', 'https://evil.example')
  assert.throws(() => oauth.validateAuthResponse(as, client, c.at.to, c.state))
  c.at.to.searchParams.delete('iss')
  assert.throws(() => oauth.validateAuthResponse(as, client, c.at.to, c.state))
  refuses('an answer of another issuer, or of none')
}
console.log(`strict client: ${good} that work, ${bad} that are refused`)
