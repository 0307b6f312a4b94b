// @tus/server over @tus/file-store, with the defaults of both but for two limits (0: none); logs each
// request: `node server.mjs PORT DIRECTORY MAX_SIZE LIFETIME_MS`.
import { FileStore } from '@tus/file-store'
import { Server } from '@tus/server'

const [port, directory, maxSize, lifetime] = process.argv.slice(2)
const datastore = new FileStore({ directory, expirationPeriodInMilliseconds: Number(lifetime) })
const server = new Server({ path: '/files', datastore, maxSize: Number(maxSize) })
server
  .listen({ host: '127.0.0.1', port: Number(port) })
  .on('request', (request) => console.log(request.method, request.url))
