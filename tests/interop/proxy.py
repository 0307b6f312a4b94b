"""A TCP proxy that cuts, stalls, garbles, swallows and gives answers at exact byte counts."""

import re
import socket
import struct
import threading
import time
from dataclasses import dataclass

BLOCK = 64 * 1024

REQUEST = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.1\r\n")
ANSWER = re.compile(rb"HTTP/1\.[01] (\d{3}) ")

HEAD_END = b"\r\n\r\n"
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)

# Planned actions: the client's connection is reset; it hears an orderly end, and is still listened to; the
# server hears one, and what the client goes on to say is lost.
CUT = object()
END_ANSWERS = object()
END_REQUESTS = object()


@dataclass
class Swallowed:
    """An answer of which the client gets this share, and then an orderly end or a reset."""

    count: int
    action: object
    share: float
    reset: bool


@dataclass(eq=False)
class Exchange:
    """A request: of its body so many bytes were read; and the status of its answer."""

    method: str
    body: int = 0
    status: int = None
    # As much of it as was read, until its end.
    head: bytes = b""

    def __str__(self):
        return f"{self.method} {self.body}: {self.status}"

    def is_taken(self):
        return self.status is not None and 200 <= self.status < 300

    def read(self, data):
        """The next of it."""
        if self.head is not None:
            self.head += data
            if (end := self.head.find(HEAD_END)) < 0:
                return
            data, self.head = self.head[end + len(HEAD_END) :], None
        self.body += len(data)


@dataclass
class Refusal:
    """An answer in the server's place: after the request's body, or while it is still coming."""

    status: int
    headers: tuple = ()
    early: bool = False

    def text(self):
        fields = ["Content-Length: 0", "Connection: close", *self.headers]
        return "\r\n".join([f"HTTP/1.1 {self.status} Refused", *fields, "", ""]).encode()


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


def _send_last(connection, data):
    try:
        connection.sendall(data)
    except OSError:
        pass
    _finish_writing(connection)


class Proxy:
    """Listens on `port`, forwards to `upstream_port`, and counts what clients send in `bytes_read`;
    the first of it is in `beginning`. `requests` are (method, target), `statuses` those of the answers, in
    their order: clients send a request when the last one was answered, so that a head begins a piece.
    `exchanges` are both together.
    It forwards `rate` bytes of requests a second, on each connection."""

    def __init__(self, upstream_port, rate=None):
        self.upstream_port = upstream_port
        self.rate = rate
        self.bytes_read = 0
        # What came last.
        self.latest = b""
        self.beginning = b""
        self.requests = []
        self.statuses = []
        self.exchanges = []
        # Target -> how often it was cut, see `cut_each`.
        self.cuts = {}
        self._each = None
        self._garbled = []
        self._plan = []
        self._swallow = []
        self._refusals = []
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
        """Once clients have sent `count` bytes in all, and these were forwarded: one of the planned
        actions above, or call `action()` while nothing moves; if it returns one of them, that."""
        self._plan = sorted([*self._plan, (count, action)], key=lambda entry: entry[0])

    def cut_each(self, count, times):
        """Each upload is cut so often, when a connection has sent so many bytes of a PATCH to it."""
        self._each = (count, times)

    def garble(self, count):
        """The byte that clients send after `count` bytes in all reaches the server as another. Only once."""
        self._garbled.append(count)

    def swallow(self, count, action=lambda: None, share=0, reset=True):
        """Of the first answer after `count` bytes in all the client gets this share; `action()` is called,
        and the client's connection ends. Only once."""
        self._swallow.append(Swallowed(count, action, share, reset))

    def refuse(self, refusal, wanted):
        """Answers the next request that is `wanted(number, method, length of the body)` in the server's place.
        The first number is 0. Only once."""
        self._refusals.append((refusal, wanted))

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
        # Those of this connection.
        exchanges = []
        threading.Thread(target=self._answers, args=(server, client, exchanges), daemon=True).start()
        self._requests(client, server, exchanges)

    def _read(self, client):
        """What the client says next. Never past the next planned count: what is not read was not sent, as
        far as the count goes."""
        with self._lock:
            left = self._plan[0][0] - self.bytes_read if self._plan else BLOCK
        most = BLOCK if self.rate is None else max(1, min(BLOCK, self.rate // 20))
        try:
            data = client.recv(max(1, min(most, left)))
        except OSError:
            return b""
        if self.rate is not None:
            time.sleep(len(data) / self.rate)
        return data

    def _requests(self, client, server, exchanges):
        """Client to server. Afterwards the server sees an orderly end after the last forwarded byte;
        the thread that reads its answers closes the connection."""
        # What it is patching, and how much of that it has sent.
        patched, sent = None, 0
        forwards = True
        while data := self._read(client):
            refusal = None
            with self._lock:
                if head := REQUEST.match(data):
                    method, target = (part.decode() for part in head.groups())
                    patched, sent = (target if method == "PATCH" else None), 0
                    refusal = self._begun(method, target, data, exchanges)
                for count in self._garbled:
                    if 0 <= (at := count - self.bytes_read) < len(data):
                        data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
                        self._garbled.remove(count)
            if refusal:
                self._refuse(client, data, refusal, exchanges)
                break
            try:
                if forwards:
                    server.sendall(data)
            except OSError:
                _reset(client)
                return
            with self._lock:
                self._count(data, exchanges)
                sent += len(data)
                due = self._plan and self._plan[0][0] <= self.bytes_read
                action = self._plan.pop(0)[1] if due else None
                if action is None and patched and self._each and sent >= self._each[0]:
                    if self.cuts.get(patched, 0) < self._each[1]:
                        self.cuts[patched] = self.cuts.get(patched, 0) + 1
                        action = CUT
            if callable(action):
                action = action()
            if action is CUT:
                _reset(client)
                break
            if action is END_ANSWERS:
                _finish_writing(client)
            if action is END_REQUESTS:
                forwards = False
                _finish_writing(server)
        _finish_writing(server)

    def _begun(self, method, target, data, exchanges):
        """Notes a request; returns the refusal that it is to get."""
        number = len(self.requests)
        self.requests.append((method, target))
        exchanges.append(Exchange(method))
        self.exchanges.append(exchanges[-1])
        length = CONTENT_LENGTH.search(data)
        length = int(length[1]) if length else 0
        for entry in self._refusals:
            refusal, wanted = entry
            if wanted(number, method, length):
                self._refusals.remove(entry)
                self.statuses.append(refusal.status)
                exchanges[-1].status = refusal.status
                return refusal
        return None

    def _read_counted(self, client, exchanges):
        data = self._read(client)
        with self._lock:
            self._count(data, exchanges)
        return data

    def _count(self, data, exchanges):
        self.bytes_read += len(data)
        self.latest = data
        self.beginning += data[: BLOCK - len(self.beginning)]
        if exchanges:
            exchanges[-1].read(data)

    def _refuse(self, client, data, refusal, exchanges):
        """Answers, and ends the connection; the rest of the request is read, so that the client is not reset."""
        if refusal.early:
            _send_last(client, refusal.text())
        with self._lock:
            self._count(data, exchanges)
        while HEAD_END not in data and (more := self._read_counted(client, exchanges)):
            data += more
        length = CONTENT_LENGTH.search(data)
        left = (int(length[1]) if length else 0) - (len(data) - data.find(HEAD_END) - len(HEAD_END))
        while left > 0 and (more := self._read_counted(client, exchanges)):
            left -= len(more)
        if not refusal.early:
            _send_last(client, refusal.text())

    def _answers(self, server, client, exchanges):
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
                    if exchanges:
                        exchanges[-1].status = self.statuses[-1]
                swallowed = next((one for one in self._swallow if one.count <= self.bytes_read), None)
                if swallowed:
                    self._swallow.remove(swallowed)
            if swallowed:
                data = data[: int(swallowed.share * len(data))]
                swallowed.action()
            if client_is_there:
                try:
                    client.sendall(data)
                except OSError:
                    client_is_there = False
            if swallowed:
                (_reset if swallowed.reset else _finish_writing)(client)
                client_is_there = False
        server.close()
        if client_is_there:
            if broken:
                _reset(client)
            else:
                _finish_writing(client)
