// The platform itself, as a resource that takes tokens which are bound to a key (RFC 9449), with oauth4webapi.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, before, test } from 'node:test'
import * as oauth from 'oauth4webapi'
import { Browser } from './server.js'

const MGX = resolve(process.env.MGX_BIN ?? '../../target/debug/mgx')
const http = { [oauth.allowInsecureRequests]: true }
const redirect = 'https://app.example/cb'
const client = { client_id: 'judge' }
const user = { user: 'ann', password: 'seven grey herons wade' }
let dir, url, as

before(async () => {
  dir = mkdtempSync(join(tmpdir(), 'mgx-judge-'))
  url = `http://127.0.0.1:${await freePort()}`
  writeFileSync(join(dir, 'mgx.toml'), `runtime = "null"\nserver.listen = "${new URL(url).host}"\n`)
  mgx('up', '--detach')
  const token = readFileSync(join(dir, 'data/admin.token'), 'utf8').trim()
  const make = async (path, body) => {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
    const response = await fetch(url + path, { method: 'POST', headers, body: JSON.stringify(body) })
    assert.equal(response.status, 201, await response.text())
  }
  await make('/api/admin/users', { name: user.user, password: user.password })
  await make('/api/admin/clients', { ...client, name: 'Judge', redirect_uris: [redirect], scope: 'openid profile read', audience: 'mgx' })
  const issuer = new URL('/oauth2', url)
  as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, http))
})
after(() => {
  mgx('down')
  rmSync(dir, { recursive: true })
})

function mgx(...args) {
  const { MGX_BIN: _, ...env } = process.env
  execFileSync(MGX, args, { cwd: dir, env, stdio: 'ignore' })
}

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

/** An access token of ann's; with options that have a key, one that is bound to it. */
async function accessToken(options) {
  const [verifier, state] = [oauth.generateRandomCodeVerifier(), oauth.generateRandomState()]
  const asked = new URL(as.authorization_endpoint)
  asked.search = new URLSearchParams({
    ...client, redirect_uri: redirect, response_type: 'code', scope: 'openid profile read', state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
  })
  const { url: callback } = await new Browser({ ...user, issuer: as.issuer }).visit(asked)
  const parameters = oauth.validateAuthResponse(as, client, callback, state)
  const response = await oauth.authorizationCodeGrantRequest(as, client, oauth.None(), parameters, redirect, verifier, options)
  return (await oauth.processAuthorizationCodeResponse(as, client, response)).access_token
}

const me = (token, options, method = 'GET') =>
  oauth.protectedResourceRequest(token, method, new URL('/api/me?why', url), undefined, undefined, options)

test('a token that is bound to a key opens the API with a proof of that key, and not otherwise', async () => {
  const bound = { DPoP: oauth.DPoP(client, await oauth.generateKeyPair('ES256')), ...http }
  const token = await accessToken(bound)
  for (let time = 0; time < 3; time++) assert.equal((await (await me(token, bound)).json()).user, user.user)

  const challenges = async (options) => {
    const error = await me(token, options).then(() => assert.fail('it opened'), (error) => error)
    assert.ok(error instanceof oauth.WWWAuthenticateChallengeError, String(error))
    assert.equal(error.status, 401)
    return error.cause.map(({ scheme, parameters }) => [scheme, parameters.error])
  }
  assert.deepEqual(await challenges(http), [['bearer', 'invalid_token'], ['dpop', undefined]])
  const thief = { DPoP: oauth.DPoP(client, await oauth.generateKeyPair('ES256')), ...http }
  assert.deepEqual(await challenges(thief), [['dpop', 'invalid_dpop_proof']])
})

test('a token that is bound to nothing opens it alone', async () => {
  assert.equal((await (await me(await accessToken(http), http)).json()).user, user.user)
})
