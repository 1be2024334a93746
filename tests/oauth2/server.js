// A live provider, and a browser that signs in at it.

import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

const SERVE = process.env.MGX_OAUTH2_SERVE ?? '../../target/debug/examples/serve'

/** Starts a provider; with a mutation, one that makes a mistake. */
export async function start(mutation) {
  const child = spawn(SERVE, mutation ? [mutation] : [], { stdio: ['pipe', 'pipe', 'inherit'] })
  const failed = new Promise((_, reject) => {
    child.once('error', reject)
    child.once('exit', (code) => reject(new Error(`the provider ended with ${code}`)))
  })
  failed.catch(() => {})
  const [line] = await Promise.race([onceLine(child.stdout), failed])
  return { ...JSON.parse(line), stop: () => child.stdin.end() }
}

async function onceLine(stream) {
  for await (const line of createInterface({ input: stream })) return [line]
  throw new Error('the provider said nothing')
}

/** A browser: cookies, redirects within the provider, forms. */
export class Browser {
  #cookies = new Map()

  constructor(server) {
    this.server = server
    this.origin = new URL(server.issuer).origin
  }

  /** Where the browser ends: a page of the provider's, or the address of a client. */
  async open(address, form) {
    let url = new URL(address, this.origin)
    for (let hop = 0; hop < 10; hop++) {
      if (url.origin !== this.origin) return { url }
      const response = await fetch(url, {
        method: form ? 'POST' : 'GET',
        body: form && new URLSearchParams(form),
        redirect: 'manual',
        headers: { cookie: [...this.#cookies].map((pair) => pair.join('=')).join('; '), ...(form && { origin: this.origin }) },
      })
      for (const cookie of response.headers.getSetCookie()) {
        const [, name, value] = /^([^=]+)=([^;]*)/.exec(cookie)
        if (value) this.#cookies.set(name, value)
        else this.#cookies.delete(name)
      }
      if (response.status !== 303) return { url, status: response.status, html: await response.text() }
      url = new URL(response.headers.get('location'), url)
      form = undefined
    }
    throw new Error('redirected for ever')
  }

  /** Goes there as the user does: signs in and says yes wherever that is asked. */
  async visit(address) {
    let page = await this.open(address)
    while (page.html?.includes('<form')) {
      const fields = {}
      for (const [, name, value] of page.html.matchAll(/<input[^>]* name="([^"]+)"(?:[^>]* value="([^"]*)")?/g))
        fields[name] = (value ?? '').replaceAll('&amp;', '&')
      if ('password' in fields) Object.assign(fields, { username: this.server.user, password: this.server.password })
      if (page.html.includes('name="decision"')) fields.decision = 'allow'
      page = await this.open(/action="([^"]+)"/.exec(page.html)[1], fields)
      if (page.status >= 400) throw new Error(page.html)
    }
    return page
  }
}
