// Reads a session's events as a browser does, and prints the id of each: `node eventsource.mjs URL SESSION`.
// The token is in MGX_TOKEN; the package `eventsource` is in the directory that MGX_NODE_MODULES names.
import { createRequire } from 'node:module'
import { join } from 'node:path'

const require = createRequire(join(process.env.MGX_NODE_MODULES, 'node_modules', 'index.js'))
const { EventSource } = require('eventsource')
const [url, session] = process.argv.slice(2)
const headers = { authorization: `Bearer ${process.env.MGX_TOKEN}` }
const source = new EventSource(`${url}/api/sessions/${session}/events`, {
  fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, ...headers } }),
})
const ids = []
for (const kind of ['job_queued', 'job_admitted', 'job_starting', 'job_running', 'message_delta', 'finish']) {
  source.addEventListener(kind, (event) => {
    ids.push(event.lastEventId)
    if (kind === 'finish') {
      source.close()
      process.stdout.write(ids.join('\n') + '\n', () => process.exit(0))
    }
  })
}
source.addEventListener('error', (event) => {
  if (source.readyState === EventSource.CLOSED) {
    console.error(`closed: ${event.code} ${event.message}`)
    process.exit(1)
  }
})
