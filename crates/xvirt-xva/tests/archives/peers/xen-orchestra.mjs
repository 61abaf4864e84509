// Writes a VM into an archive with Xen Orchestra's own code, which else sends it to a host.
// usage: node xen-orchestra.mjs NODE_MODULES ARCHIVE DISK...

import { createReadStream, createWriteStream, statSync } from 'node:fs'
import { pipeline } from 'node:stream/promises'

const [modules, archive, ...disks] = process.argv.slice(2)
const { importVm } = await import(`${modules}/@xen-orchestra/xva/importVm.mjs`)

const host = {
  task_create: async () => 'OpaqueRef:task',
  putResource: async pack => {
    await pipeline(pack, createWriteStream(archive))
    return 'OpaqueRef:0'
  },
}
const vdis = disks.map((path, index) => ({ name_label: `disk ${index}`, virtual_size: statSync(path).size }))
const vhds = disks.map(path => ({
  footer: { currentSize: statSync(path).size },
  rawContent: async () => createReadStream(path),
}))
const networks = [{ macAddress: '02:00:00:00:00:09', isGenerated: false }]
const vm = { name_label: 'from <Xen Orchestra>', memory: 512 * 1024 * 1024, nCpus: 3, firmware: 'bios', networks, vdis, vhds }
await importVm(vm, host, { $ref: 'OpaqueRef:sr', name_label: 'disks', content_type: 'user' }, { name_label: 'lan', bridge: 'xenbr0' })
