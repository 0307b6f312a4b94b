// @tus/server over @tus/file-store, with the defaults of both: `node server.mjs PORT DIRECTORY`.
import { FileStore } from '@tus/file-store'
import { Server } from '@tus/server'

const [port, directory] = process.argv.slice(2)
const datastore = new FileStore({ directory })
new Server({ path: '/files', datastore }).listen({ host: '127.0.0.1', port: Number(port) })
