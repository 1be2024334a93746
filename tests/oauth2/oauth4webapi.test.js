// Every flow, step by step, with oauth4webapi.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import * as oauth from 'oauth4webapi'
import { Browser, start } from './server.js'

const http = { [oauth.allowInsecureRequests]: true }
const redirect = 'https://app.example/cb'
let server, as

before(async () => {
  server = await start()
  as = await discover(server, 'oidc')
})
after(() => server.stop())

async function discover(server, algorithm) {
  const issuer = new URL(server.issuer)
  const response = await oauth.discoveryRequest(issuer, { algorithm, ...http })
  return oauth.processDiscoveryResponse(issuer, response)
}

const secret = (id) => oauth.ClientSecretBasic(server.clients[id])

async function authorize(id, scope = 'openid profile email', extra = {}) {
  const [verifier, state, nonce] = [oauth.generateRandomCodeVerifier(), oauth.generateRandomState(), oauth.generateRandomNonce()]
  const url = new URL(as.authorization_endpoint)
  const parameters = {
    client_id: id, redirect_uri: redirect, response_type: 'code', scope, state, nonce,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256', ...extra,
  }
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value)
  const browser = new Browser(server)
  const { url: callback } = await browser.visit(url)
  return { browser, verifier, nonce, parameters: oauth.validateAuthResponse(as, { client_id: id }, callback, state) }
}

async function tokens(id, auth, scope) {
  const { browser, verifier, nonce, parameters } = await authorize(id, scope)
  const client = { client_id: id }
  const response = await oauth.authorizationCodeGrantRequest(as, client, auth, parameters, redirect, verifier, http)
  const result = await oauth.processAuthorizationCodeResponse(as, client, response, {
    expectedNonce: nonce, maxAge: 60, requireIdToken: true,
  })
  await oauth.validateApplicationLevelSignature(as, response, http)
  return { browser, ...result, claims: oauth.getValidatedIdTokenClaims(result) }
}

test('both spellings of discovery', async () => {
  const other = await discover(server, 'oauth2')
  assert.deepEqual(other, as)
  assert.equal(as.issuer, server.issuer)
})

for (const id of ['web', 'third', 'cli'])
  test(`code and PKCE, userinfo, refresh: ${id}`, async () => {
    const client = { client_id: id }
    const auth = id === 'cli' ? oauth.None() : secret(id)
    const result = await tokens(id, auth)
    assert.equal(result.claims.sub, server.sub)
    assert.equal(result.token_type, 'bearer')

    const asked = await oauth.userInfoRequest(as, client, result.access_token, http)
    const info = await oauth.processUserInfoResponse(as, client, server.sub, asked)
    assert.deepEqual([info.name, info.email, info.groups], ['Ann', 'ann@example.org', undefined])

    const refreshed = await oauth.refreshTokenGrantRequest(as, client, auth, result.refresh_token, http)
    const next = await oauth.processRefreshTokenResponse(as, client, refreshed)
    assert.notEqual(next.refresh_token, result.refresh_token)

    const again = await oauth.refreshTokenGrantRequest(as, client, auth, result.refresh_token, http)
    await assert.rejects(oauth.processRefreshTokenResponse(as, client, again), { error: 'invalid_grant' })
    const dead = await oauth.refreshTokenGrantRequest(as, client, auth, next.refresh_token, http)
    await assert.rejects(oauth.processRefreshTokenResponse(as, client, dead), { error: 'invalid_grant' })
  })

test('a code is good once', async () => {
  const client = { client_id: 'web' }
  const { verifier, nonce, parameters } = await authorize('web')
  const redeem = () => oauth.authorizationCodeGrantRequest(as, client, secret('web'), parameters, redirect, verifier, http)
  const first = await oauth.processAuthorizationCodeResponse(as, client, await redeem(), { expectedNonce: nonce })
  await assert.rejects(async () => oauth.processAuthorizationCodeResponse(as, client, await redeem()), { error: 'invalid_grant' })
  const asked = await oauth.userInfoRequest(as, client, first.access_token, http)
  await assert.rejects(oauth.processUserInfoResponse(as, client, server.sub, asked), oauth.WWWAuthenticateChallengeError)
})

for (const [name, auth] of [['basic', secret], ['post', (id) => oauth.ClientSecretPost(server.clients[id])]])
  test(`client credentials, introspection, revocation: ${name}`, async () => {
    const client = { client_id: 'web' }
    const response = await oauth.clientCredentialsGrantRequest(as, client, auth('web'), { scope: 'api' }, http)
    const { access_token, expires_in } = await oauth.processClientCredentialsResponse(as, client, response)
    assert.equal(expires_in, 600)

    const introspect = async (token) =>
      oauth.processIntrospectionResponse(as, client, await oauth.introspectionRequest(as, client, auth('web'), token, http))
    const told = await introspect(access_token)
    assert.deepEqual([told.active, told.scope, told.aud, told.sub], [true, 'api', 'mgx', 'web'])
    await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, auth('web'), access_token, http))
    assert.equal((await introspect(access_token)).active, false)
    assert.equal((await introspect('nonsense')).active, false)
  })

test('access tokens are what a resource server expects', async () => {
  const { access_token } = await tokens('web', secret('web'), 'openid api')
  const request = () => new Request('https://mgx.example/api', { headers: { authorization: `Bearer ${access_token}` } })
  const claims = await oauth.validateJwtAccessToken(as, request(), 'mgx', http)
  assert.deepEqual([claims.client_id, claims.scope, claims.sub], ['web', 'api openid', server.sub])
  await assert.rejects(oauth.validateJwtAccessToken(as, request(), 'other', http))
})

test('an access token for somebody else is found out', async () => {
  const mutated = await start('other-access-aud')
  try {
    const as = await discover(mutated, 'oidc')
    const auth = oauth.ClientSecretBasic(mutated.clients.web)
    const response = await oauth.clientCredentialsGrantRequest(as, { client_id: 'web' }, auth, {}, http)
    const { access_token } = await oauth.processClientCredentialsResponse(as, { client_id: 'web' }, response)
    const request = new Request('https://mgx.example/api', { headers: { authorization: `Bearer ${access_token}` } })
    await assert.rejects(oauth.validateJwtAccessToken(as, request, 'mgx', http), /"aud"/)
  } finally {
    mutated.stop()
  }
})

test('the device flow', async () => {
  const client = { client_id: 'cli' }
  const begun = await oauth.deviceAuthorizationRequest(as, client, oauth.None(), { scope: 'openid api' }, http)
  const device = await oauth.processDeviceAuthorizationResponse(as, client, begun)
  const poll = async () => {
    const response = await oauth.deviceCodeGrantRequest(as, client, oauth.None(), device.device_code, http)
    return oauth.processDeviceCodeResponse(as, client, response)
  }
  await assert.rejects(poll(), { error: 'authorization_pending' })
  await assert.rejects(poll(), { error: 'slow_down' })
  const page = await new Browser(server).visit(device.verification_uri_complete)
  assert.match(page.html, /The device is connected/)
  const result = await poll()
  assert.equal(oauth.getValidatedIdTokenClaims(result).sub, server.sub)
})

test('DPoP: tokens that count with their key alone', async () => {
  const client = { client_id: 'cli' }
  const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'))
  const bound = { DPoP, ...http }
  const { verifier, nonce, parameters } = await authorize('cli')
  const response = await oauth.authorizationCodeGrantRequest(as, client, oauth.None(), parameters, redirect, verifier, bound)
  const tokens = await oauth.processAuthorizationCodeResponse(as, client, response, { expectedNonce: nonce })
  assert.equal(tokens.token_type, 'dpop')

  const asked = await oauth.userInfoRequest(as, client, tokens.access_token, bound)
  assert.equal((await oauth.processUserInfoResponse(as, client, server.sub, asked)).name, 'Ann')
  const bare = await oauth.userInfoRequest(as, client, tokens.access_token, http)
  await assert.rejects(oauth.processUserInfoResponse(as, client, server.sub, bare), oauth.WWWAuthenticateChallengeError)

  const unbound = await oauth.refreshTokenGrantRequest(as, client, oauth.None(), tokens.refresh_token, http)
  await assert.rejects(oauth.processRefreshTokenResponse(as, client, unbound), { error: 'invalid_grant' })
  const refreshed = await oauth.refreshTokenGrantRequest(as, client, oauth.None(), tokens.refresh_token, bound)
  const next = await oauth.processRefreshTokenResponse(as, client, refreshed)
  const request = new Request('https://mgx.example/api', {
    headers: { authorization: `DPoP ${next.access_token}`, dpop: await proof(DPoP, next.access_token) },
  })
  assert.equal((await oauth.validateJwtAccessToken(as, request, 'mgx', { requireDPoP: true, ...http })).sub, server.sub)
})

/** The proof that the library sends with a request for a resource. */
async function proof(DPoP, token) {
  let sent
  const spy = (_, { headers }) => {
    sent = new Headers(headers).get('dpop')
    return new Response()
  }
  const options = { DPoP, [oauth.customFetch]: spy }
  await oauth.protectedResourceRequest(token, 'GET', new URL('https://mgx.example/api'), undefined, undefined, options)
  return sent
}

test('signing out', async () => {
  const { browser, id_token, refresh_token } = await tokens('web', secret('web'))
  const url = new URL(as.end_session_endpoint)
  url.search = new URLSearchParams({ id_token_hint: id_token, post_logout_redirect_uri: 'https://app.example/bye', state: 's' })
  const { url: end } = await browser.open(url)
  assert.equal(end.href, 'https://app.example/bye?state=s')
  const client = { client_id: 'web' }
  const refreshed = await oauth.refreshTokenGrantRequest(as, client, secret('web'), refresh_token, http)
  await assert.rejects(oauth.processRefreshTokenResponse(as, client, refreshed), { error: 'invalid_grant' })
})

test('what is refused is told as the library expects', async () => {
  await assert.rejects(authorize('web', 'root'), { error: 'invalid_scope' })
  await assert.rejects(authorize('web', 'openid', { response_type: 'token' }), { error: 'unsupported_response_type' })
  await assert.rejects(authorize('web', 'openid', { code_challenge_method: 'plain' }), { error: 'invalid_request' })
  await assert.rejects(authorize('web', 'openid', { prompt: 'none' }), { error: 'login_required' })
  const wrong = oauth.ClientSecretBasic('wrong')
  const response = await oauth.clientCredentialsGrantRequest(as, { client_id: 'web' }, wrong, {}, http)
  await assert.rejects(oauth.processClientCredentialsResponse(as, { client_id: 'web' }, response), oauth.WWWAuthenticateChallengeError)
})
