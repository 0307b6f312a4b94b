"""Holding a conversation with a server: what is sent, and what is made of the answers."""

import http.client
import re
import select
import socket
import time
from contextlib import closing, suppress
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin, urlsplit

from conversations import Expire, Rest, head

# What is compared of each answer, besides its status.
HEADERS = (
    "Tus-Resumable", "Tus-Version", "Tus-Extension", "Tus-Max-Size", "Tus-Checksum-Algorithm", "Location",
    "Upload-Offset", "Upload-Length", "Upload-Defer-Length", "Upload-Concat", "Upload-Metadata", "Upload-Expires",
    "Cache-Control",
)  # fmt: skip
PATIENCE = 20
# How long something may take that not every server does.
A_WHILE = 3


def await_or_not(happens):
    """Not every server keeps the beginning of a body."""
    deadline = time.monotonic() + A_WHILE
    while not happens() and time.monotonic() < deadline:
        time.sleep(0.01)


class Talk:
    """One conversation with one server."""

    def __init__(self, server):
        self.server = server
        self.origin = server.endpoint.removesuffix("/files/")
        self.port = urlsplit(self.origin).port
        # Name -> path.
        self.uploads = {}
        self.open = None

    def run(self, conversation):
        """What was answered to each step, and the state that the uploads end in. `None`: there is no such upload."""
        answers = []
        for step in conversation.steps:
            if isinstance(step, Expire):
                if step.name in self.uploads:
                    self.server.expire(self.uploads[step.name])
            elif isinstance(step, Rest):
                answers.append((step.title, self.finish()))
            else:
                answers.append((step.title, self.send(step)))
        for name, path in list(self.uploads.items()):
            answers.append((f"{name} in the end", self.send(head(name))))
            answers.append((f"bytes of {name}", {"bytes": self.server.holds(path)}))
        return answers

    def send(self, step):
        if step.target.startswith("/"):
            path = step.target
        elif step.target in self.uploads:
            path = self.uploads[step.target]
        else:
            return None
        try:
            headers = {name: self.fill(value) for name, value in step.headers.items()}
        except KeyError:
            return None
        lines = [f"{step.method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        raw = "\r\n".join(lines).encode() + b"\r\n\r\n"
        connection = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        if step.sends is not None:
            connection.sendall(raw + step.body[: step.sends])
            beginning = f"{step.sends} "
            await_or_not(lambda: self.server.holds(path).startswith(beginning))
            if step.lost:
                connection.close()
                await_or_not(lambda: self.send(head(step.target)).get("Upload-Offset") == str(step.sends))
            else:
                self.open = (connection, step)
            return {}
        with closing(connection):
            return self.exchange(connection, step.method, raw + step.body, step.makes)

    def finish(self):
        if self.open is None:
            return None
        connection, step = self.open
        with closing(connection):
            # It may have been answered already, and nothing more is wanted.
            answered = select.select([connection], [], [], A_WHILE)[0]
            return self.exchange(connection, step.method, b"" if answered else step.body[step.sends :], None)

    def exchange(self, connection, method, raw, makes):
        try:
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(raw)
            answer = http.client.HTTPResponse(connection, method=method)
            answer.begin()
            status, headers = answer.status, answer.headers
        except (OSError, http.client.HTTPException) as error:
            return {"status": f"none ({type(error).__name__})"}
        location = headers.get("Location")
        if makes and 200 <= status < 300 and location:
            self.uploads[makes] = urlsplit(urljoin(self.server.endpoint, location)).path
        heads = {name: self.normal(name, ", ".join(headers.get_all(name))) for name in HEADERS if name in headers}
        return {"status": status, **heads}

    def fill(self, text):
        names = {"origin": self.origin, **self.uploads}
        return re.sub(r"\{(\w+)\}", lambda found: names[found[1]], text)

    def normal(self, name, value):
        """What two servers can agree on."""
        if name == "Upload-Expires":
            with suppress(ValueError):
                parsedate_to_datetime(value)
                return "a date"
        if name in ("Upload-Metadata", "Tus-Extension", "Tus-Checksum-Algorithm"):
            return ",".join(sorted(value.split(",")))
        value = value.replace(self.origin, "{origin}")
        for upload, path in self.uploads.items():
            value = value.replace(path, f"{{{upload}}}")
        return value
