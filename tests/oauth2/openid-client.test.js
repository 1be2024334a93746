// Every flow as an application sees it, with openid-client; and servers that make a mistake, which it has to find.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import * as client from 'openid-client'
import { Browser, start } from './server.js'

const redirect_uri = 'https://app.example/cb'
let server, config

before(async () => {
  server = await start()
  config = await configure(server, 'web')
})
after(() => server.stop())

async function configure(server, id) {
  const auth = server.clients[id] ? client.ClientSecretPost(server.clients[id]) : client.None()
  const options = { execute: [client.allowInsecureRequests, client.enableNonRepudiationChecks] }
  return client.discovery(new URL(server.issuer), id, undefined, auth, options)
}

async function signIn(server, config, scope = 'openid profile') {
  const [pkceCodeVerifier, expectedState, expectedNonce] = [client.randomPKCECodeVerifier(), client.randomState(), client.randomNonce()]
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri, scope, state: expectedState, nonce: expectedNonce,
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier), code_challenge_method: 'S256',
  })
  const browser = new Browser(server)
  const { url: callback } = await browser.visit(url)
  const checks = { pkceCodeVerifier, expectedState, expectedNonce, idTokenExpected: true }
  return { browser, ...(await grant(config, callback, checks)) }
}

async function grant(config, callback, checks) {
  const tokens = await client.authorizationCodeGrant(config, callback, checks)
  return { ...tokens, claims: tokens.claims() }
}

test('signing in, userinfo, refresh, introspection, revocation, signing out', async () => {
  const tokens = await signIn(server, config)
  assert.equal(tokens.claims.sub, server.sub)
  const info = await client.fetchUserInfo(config, tokens.access_token, server.sub)
  assert.equal(info.preferred_username, 'ann')
  const next = await client.refreshTokenGrant(config, tokens.refresh_token)
  assert.equal((await client.tokenIntrospection(config, next.access_token)).active, true)
  await client.tokenRevocation(config, next.refresh_token)
  assert.equal((await client.tokenIntrospection(config, next.access_token)).active, false)
  const url = client.buildEndSessionUrl(config, {
    id_token_hint: tokens.id_token, post_logout_redirect_uri: 'https://app.example/bye',
  })
  const { url: end } = await tokens.browser.open(url)
  assert.equal(end.href, 'https://app.example/bye')
})

test('a program without a secret', async () => {
  const cli = await configure(server, 'cli')
  assert.equal((await signIn(server, cli)).claims.sub, server.sub)
})

test('client credentials', async () => {
  const tokens = await client.clientCredentialsGrant(config, { scope: 'api' })
  assert.deepEqual([tokens.scope, tokens.expires_in], ['api', 600])
})

test('the device flow', async () => {
  const cli = await configure(server, 'cli')
  const device = await client.initiateDeviceAuthorization(cli, { scope: 'openid' })
  const page = await new Browser(server).visit(device.verification_uri_complete)
  assert.match(page.html, /The device is connected/)
  const tokens = await client.pollDeviceAuthorizationGrant(cli, device)
  assert.equal(tokens.claims().sub, server.sub)
})

for (const [mutation, message] of [
  ['no-iss', /"iss"/],
  ['other-iss', /"iss"/],
  ['other-state', /"state"/],
  ['other-aud', /"aud"/],
  ['other-issuer', /"iss"/],
  ['other-nonce', /"nonce"/],
  ['unsigned', /signature/],
])
  test(`a server with a mistake is found out: ${mutation}`, async () => {
    const mutated = await start(mutation)
    try {
      const config = await configure(mutated, 'web')
      await assert.rejects(signIn(mutated, config), (error) => {
        const said = [error.message, error.cause?.message, JSON.stringify(error.cause?.cause ?? error.cause)].join(' ')
        assert.match(said, message)
        return true
      })
    } finally {
      mutated.stop()
    }
  })
