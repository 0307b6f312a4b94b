"""A TCP proxy that cuts, stalls and swallows answers at exact byte counts."""

import socket
import struct
import threading

BLOCK = 64 * 1024

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
    the first of it is in `beginning`."""

    def __init__(self, upstream_port):
        self.upstream_port = upstream_port
        self.bytes_read = 0
        self.beginning = b""
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
            try:
                server.sendall(data)
            except OSError:
                _reset(client)
                return
            with self._lock:
                self.bytes_read += len(data)
                self.beginning += data[: BLOCK - len(self.beginning)]
                due = self._plan and self._plan[0][0] <= self.bytes_read
                action = self._plan.pop(0)[1] if due else None
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
