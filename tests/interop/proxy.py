"""A TCP proxy that cuts, stalls, garbles and swallows answers at exact byte counts."""

import re
import socket
import struct
import threading

BLOCK = 64 * 1024

REQUEST = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.1\r\n")
ANSWER = re.compile(rb"HTTP/1\.[01] (\d{3}) ")

# A planned action: reset the client's connection.
CUT = object()


def _reset(connection):
    """Closes with RST, so that the peer sees a broken connection, not an orderly end."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    # The shutdown wakes the other thread that reads here; with RST pending it sends nothing itself.
    try:
        connection.shutdown(socket.SHUT_RD)
    except OSError:
        pass
    connection.close()


def _finish_writing(connection):
    try:
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        pass


class Proxy:
    """Listens on `port`, forwards to `upstream_port`, and counts what clients send in `bytes_read`;
    the first of it is in `beginning`. `requests` are (method, target), `statuses` those of the answers, in
    their order: clients send a request when the last one was answered, so that a head begins a piece."""

    def __init__(self, upstream_port):
        self.upstream_port = upstream_port
        self.bytes_read = 0
        self.beginning = b""
        self.requests = []
        self.statuses = []
        # Target -> how often it was cut, see `cut_each`.
        self.cuts = {}
        self._each = None
        self._garbled = []
        self._plan = []
        self._swallow = None
        self._lock = threading.Lock()
        self._listener = socket.socket()
        # Accepted sockets inherit the size: little is on its way unread when a connection is cut.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BLOCK)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(64)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # `close` alone does not wake a thread that is in `accept`.
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}/files/"

    def at(self, count, action):
        """Once clients have sent `count` bytes in all, and these were forwarded: `CUT`, or call
        `action()` while nothing moves; if it returns `CUT`, that."""
        self._plan = sorted([*self._plan, (count, action)], key=lambda entry: entry[0])

    def cut_each(self, count, times):
        """Each upload is cut so often, when a connection has sent so many bytes of a PATCH to it."""
        self._each = (count, times)

    def garble(self, count):
        """The byte that clients send after `count` bytes in all reaches the server as another. Only once."""
        self._garbled.append(count)

    def swallow(self, count, action=lambda: None):
        """The first answer after `count` bytes in all is dropped, `action()` called, the client reset.
        Only once."""
        self._swallow = (count, action)

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        try:
            server = socket.create_connection(("127.0.0.1", self.upstream_port), timeout=10)
        except OSError:
            _reset(client)
            return
        server.settimeout(None)
        for connection in (client, server):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=self._answers, args=(server, client), daemon=True).start()
        self._requests(client, server)

    def _requests(self, client, server):
        """Client to server. Afterwards the server sees an orderly end after the last forwarded byte;
        the thread that reads its answers closes the connection."""
        # What it is patching, and how much of that it has sent.
        patched, sent = None, 0
        while True:
            # Never past the next planned count: what is not read was not sent, as far as the count goes.
            with self._lock:
                left = self._plan[0][0] - self.bytes_read if self._plan else BLOCK
            try:
                data = client.recv(max(1, min(BLOCK, left)))
            except OSError:
                data = b""
            if not data:
                _finish_writing(server)
                return
            with self._lock:
                if head := REQUEST.match(data):
                    method, target = (part.decode() for part in head.groups())
                    self.requests.append((method, target))
                    patched, sent = (target if method == "PATCH" else None), 0
                for count in self._garbled:
                    if 0 <= (at := count - self.bytes_read) < len(data):
                        data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
                        self._garbled.remove(count)
            try:
                server.sendall(data)
            except OSError:
                _reset(client)
                return
            with self._lock:
                self.bytes_read += len(data)
                sent += len(data)
                self.beginning += data[: BLOCK - len(self.beginning)]
                due = self._plan and self._plan[0][0] <= self.bytes_read
                action = self._plan.pop(0)[1] if due else None
                if action is None and patched and self._each and sent >= self._each[0]:
                    if self.cuts.get(patched, 0) < self._each[1]:
                        self.cuts[patched] = self.cuts.get(patched, 0) + 1
                        action = CUT
            if action is not None and action is not CUT:
                action = action()
            if action is CUT:
                _reset(client)
                _finish_writing(server)
                return

    def _answers(self, server, client):
        """Server to client. Reads on when the client is gone, so that the server is never reset."""
        client_is_there = True
        broken = False
        while True:
            try:
                data = server.recv(BLOCK)
            except OSError:
                data, broken = b"", True
            if not data:
                break
            with self._lock:
                if head := ANSWER.match(data):
                    self.statuses.append(int(head[1]))
                swallowed = self._swallow and self._swallow[0] <= self.bytes_read
                action = self._swallow[1] if swallowed else None
                if swallowed:
                    self._swallow = None
            if swallowed:
                action()
                _reset(client)
                client_is_there = False
            if client_is_there:
                try:
                    client.sendall(data)
                except OSError:
                    client_is_there = False
        server.close()
        if client_is_there:
            if broken:
                _reset(client)
            else:
                _finish_writing(client)
