// Drives a host service with the package xen-api of npm, by each of its transports: its arguments are the address of HTTPS
// and a file with the command line of the demo guest.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createClient } from 'xen-api'

const [address, line] = process.argv.slice(2)
const commandLine = readFileSync(line, 'utf8')

function client(transport, password) {
  return createClient({ url: `https://${address}`, auth: { user: 'root', password }, transport, watchEvents: false })
}

async function failure(promise) {
  try {
    await promise
  } catch (error) {
    return [error.code, ...(error.params ?? [])]
  }
  assert.fail('it has not failed')
}

const records = []
for (const transport of ['json-rpc', 'xml-rpc', 'auto']) {
  const wrong = await failure(client(transport, 'correct hors').connect())
  assert.deepEqual(wrong.slice(0, 2), ['SESSION_AUTHENTICATION_FAILED', 'root'], transport)

  const xapi = client(transport, 'correct horse')
  await xapi.connect()
  console.log('session', xapi.sessionId)
  assert.ok(xapi.pool.$ref.startsWith('OpaqueRef:'))
  const vm = await xapi.call('VM.create', {
    name_label: transport, memory_static_max: 64 << 20, memory_static_min: 64 << 20, memory_dynamic_max: 64 << 20,
    memory_dynamic_min: 64 << 20, VCPUs_max: 1, VCPUs_at_startup: 1, PV_kernel: 'demo', PV_args: commandLine,
    actions_after_crash: 'destroy', other_config: { key: ' a\n<b> ' }, tags: [], affinity: 'OpaqueRef:NULL',
  })
  const record = await xapi.call('VM.get_record', vm)
  assert.equal(record.other_config.key, ' a\n<b> ')
  assert.deepEqual(record.tags, [])
  assert.equal(record.is_a_template, false)
  records.push(Object.keys(record).sort())
  await xapi.call('VM.start', vm, false, false)
  assert.equal(await xapi.call('VM.get_power_state', vm), 'Running')
  const again = await failure(xapi.call('VM.start', vm, false, false))
  assert.deepEqual(again.slice(0, 4), ['VM_BAD_POWER_STATE', vm, 'halted', 'running'])
  await xapi.call('VM.hard_shutdown', vm)
  await xapi.call('VM.destroy', vm)
  assert.deepEqual((await failure(xapi.call('VM.get_record', vm))).slice(0, 3), ['HANDLE_INVALID', 'VM', vm])
  await xapi.disconnect()
}
assert.deepEqual(records[0], records[1])
