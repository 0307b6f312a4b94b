"""The real servers: how each is installed, started, stopped, killed, and where it keeps its files."""

import hashlib
import http.client
import json
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = HERE / ".cache"


class Missing(Exception):
    """A server that could not be installed, and why."""


def run_logged(title, command, **options):
    """Runs an installation step; its output is shown only if it fails."""
    print(f"  {title} ...", flush=True)
    try:
        done = subprocess.run(
            [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
        )
    except FileNotFoundError as error:
        raise Missing(f"{title}: {error.filename} is not installed") from error
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-15:])
        raise Missing(f"{title}: exit status {done.returncode}\n{tail}")


def installed_once(name, inputs, install):
    """Runs `install(folder)` unless it was done before for the same inputs."""
    folder = CACHE / name
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in inputs)).hexdigest()
    stamp = folder / "stamp"
    if not stamp.exists() or stamp.read_text() != digest:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        install(folder)
        stamp.write_text(digest)
    return folder


def free_port():
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def held_port():
    """A bound socket that does not listen: nobody else is given its port, and a server that reuses addresses, as
    all do, can listen there, end, and come back."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder


def upload_id(url):
    return url.rstrip("/").rsplit("/", 1)[-1]


class Process:
    """A process that listens on a loopback port. Ends only what it started."""

    name = "?"

    def __init__(self, directory):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = None
        self.holder = None
        self.child = None
        # Cases start and stop it from other threads, which may come late.
        self.lock = threading.RLock()
        self.closed = False
        self.log = self.directory / "log"

    def command(self):
        raise NotImplementedError

    def is_ready(self):
        with closing(socket.create_connection(("127.0.0.1", self.port), timeout=5)):
            return True

    def start(self):
        """On a free port, or on the one it had before. Returns itself."""
        with self.lock:
            if self.holder is None and not self.closed:
                self.holder = held_port()
                self.port = self.holder.getsockname()[1]
            for _ in range(5):
                if self.closed:
                    return self
                with self.log.open("ab") as log:
                    self.child = subprocess.Popen(
                        [str(part) for part in self.command()], stdin=subprocess.DEVNULL, stdout=log, stderr=log
                    )
                if self._comes_up():
                    return self
                self.kill()
        raise RuntimeError(f"{self.name} did not start:\n{self.log_tail()}")

    def _comes_up(self):
        deadline = time.monotonic() + 20
        while self.child.poll() is None and time.monotonic() < deadline:
            try:
                if self.is_ready():
                    # Had another process been given the port, ours has ended by now.
                    return self.child.poll() is None
            except OSError:
                pass
            time.sleep(0.02)
        return False

    def _end(self, number):
        with self.lock:
            if self.child is None:
                return
            if self.child.poll() is None:
                self.child.send_signal(number)
            try:
                self.child.wait(10)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
            self.child = None

    def stop(self):
        self._end(signal.SIGTERM)

    def kill(self):
        self._end(signal.SIGKILL)

    def close(self):
        """For good."""
        with self.lock:
            self.closed = True
            self.kill()
            if self.holder:
                self.holder.close()

    def restart(self):
        """As after a crash: killed, then started on the same port and directory."""
        self.kill()
        self.start()

    def log_tail(self, lines=8):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""


@dataclass
class Record:
    """An upload as the server's own records have it. How much of it is there, the size of its file tells."""

    identifier: str
    length: int | None  # None: not settled yet
    metadata: dict
    is_partial: bool = False
    parts: tuple = ()  # of a final upload: the identifiers of its parts, in order


class Server(Process):
    """A tus server that keeps uploads as files in `self.files`."""

    refuses_non_utf8 = False
    # What it announces, as it is started here.
    extensions = frozenset()
    # How a request is told in its log.
    logged = None

    # Settings are class attributes, the ones below the server's own defaults; see `reconfigure`.

    # Tus-Max-Size, of whole uploads.
    max_size = None

    def __init__(self, directory):
        super().__init__(directory)
        self.files = self.directory / "files"
        self.files.mkdir(exist_ok=True)

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}/files/"

    def is_ready(self):
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)) as connection:
            connection.request("OPTIONS", "/files/")
            return connection.getresponse().status < 300

    def reconfigure(self, **settings):
        """Restarted on the same port and directory with other settings. Not every server has each."""
        for name, value in settings.items():
            if not hasattr(self, name):
                raise ValueError(f"{self.name} has no setting {name!r}")
            setattr(self, name, value)
        self.restart()

    def content(self, url):
        """The file that holds what was uploaded to `url`; of a final upload, the concatenation."""
        return self.files / upload_id(url)

    def ids(self):
        """The uploads that the server knows of: partial and final ones, too."""
        raise NotImplementedError

    def records(self):
        """The same with what is known of each, in no order."""
        raise NotImplementedError

    def partials(self):
        return [record for record in self.records() if record.is_partial]

    def finals(self):
        return [record for record in self.records() if record.parts]

    def requests(self, method):
        """How many such requests its log tells of. (Overridden ones: tusd logs PATCH, the others POST.)"""
        pattern = re.compile(self.logged.format(method=method))
        with self.log.open(errors="replace") as log:
            return sum(pattern.search(line) is not None for line in log)

    def delete(self, identifier):
        """Behind the server's back, as a cleaning job or an application that moves finished uploads away would."""
        for path in self.files.glob(identifier + "*"):
            path.unlink()

    def expire(self, identifier):
        """As if its lifetime had passed: no case needs to sleep. Where "expiration" is among the `extensions`."""
        raise NotImplementedError

    def delete_all(self):
        for identifier in self.ids():
            self.delete(identifier)


class Tusd(Server):
    name = "tusd"
    logged = r"RequestIncoming.*\bmethod={method}\b"
    extensions = frozenset(
        ["creation", "creation-with-upload", "creation-defer-length", "termination", "concatenation"]
    )  # fmt: skip
    # Of "concatenation" and "termination", what to switch off.
    without = ()
    flags = ()

    @staticmethod
    def install():
        module = HERE / "tusd"

        def build(folder):
            run_logged(
                "building tusd (about 90 s)",
                ["go", "build", "-trimpath", "-o", folder / "tusd", "github.com/tus/tusd/v2/cmd/tusd"],
                cwd=module,
            )

        installed_once("tusd", [module / "go.mod", module / "go.sum"], build)

    def command(self):
        settings = [f"-disable-{extension}" for extension in self.without]
        if self.max_size is not None:
            settings += ["-max-size", self.max_size]
        return [
            CACHE / "tusd" / "tusd", "-host", "127.0.0.1", "-port", self.port,
            "-upload-dir", self.files, "-base-path", "/files/", *settings, *self.flags,
        ]  # fmt: skip

    def ids(self):
        return [path.stem for path in self.files.glob("*.info")]

    def records(self):
        for path in self.files.glob("*.info"):
            info = json.loads(path.read_text())
            length = None if info["SizeIsDeferred"] else info["Size"]
            parts = tuple(info["PartialUploads"] or ())
            yield Record(info["ID"], length, info["MetaData"] or {}, info["IsPartial"], parts)


class TusdBehindProxy(Tusd):
    flags = ("-behind-proxy",)


class TusNode(Server):
    name = "@tus/server"
    logged = r"^{method} "
    extensions = frozenset(
        ["creation", "creation-with-upload", "creation-defer-length", "termination", "expiration"]
    )  # fmt: skip
    # Seconds until an upload expires, finished or not: HEAD and PATCH are 410 then, DELETE still 204.
    lifetime = None

    @staticmethod
    def install():
        package = HERE / "tus-node"

        def install(folder):
            for name in ("package.json", "package-lock.json", "server.mjs"):
                shutil.copy(package / name, folder)
            run_logged(
                "installing @tus/server",
                ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--omit=optional"],
                cwd=folder,
            )

        installed_once("tus-node", sorted(package.iterdir()), install)

    def command(self):
        # Zero: no limit.
        return [
            "node", CACHE / "tus-node" / "server.mjs", self.port, self.files,
            self.max_size or 0, round(1000 * (self.lifetime or 0)),
        ]  # fmt: skip

    def ids(self):
        return [path.stem for path in self.files.glob("*.json")]

    def records(self):
        for path in self.files.glob("*.json"):
            info = json.loads(path.read_text())
            yield Record(info["id"], info.get("size"), info.get("metadata") or {})

    def expire(self, identifier):
        # It goes by the date of creation, and only if it was started with a lifetime.
        if self.lifetime is None:
            raise ValueError("@tus/server expires nothing without a lifetime")
        path = self.files / f"{identifier}.json"
        info = json.loads(path.read_text())
        path.write_text(json.dumps({**info, "creation_date": "1970-01-01T00:00:00.000Z"}))


class ResumableUpload(Server):
    name = "resumable-upload"
    logged = r"Received {method} request for "
    refuses_non_utf8 = True
    extensions = frozenset(
        ["creation", "creation-with-upload", "creation-defer-length", "termination", "expiration",
         "checksum", "checksum-trailer", "concatenation", "concatenation-unfinished"]
    )  # fmt: skip
    # All that it has; its own default is sha1 alone.
    checksums = ("sha1", "sha256", "sha512", "md5")
    # Of "concatenation" and "termination", what to switch off.
    without = ()
    # The largest body of a PATCH: above it 413 before the body is read, and the connection is closed.
    max_chunk = None
    # As @tus/server's. It also deletes what has expired, so 410 becomes 404: after the first request that
    # follows its start, and then after a request every `cleanup_interval` seconds (60).
    lifetime = None
    cleanup_interval = None

    @staticmethod
    def install():
        requirements = HERE / "resumable-upload" / "requirements.txt"

        def install(folder):
            run_logged("making a Python environment", [sys.executable, "-m", "venv", folder])
            run_logged(
                "installing resumable-upload",
                [folder / "bin" / "pip", "install", "-q", "--disable-pip-version-check", "-r", requirements],
            )

        installed_once("resumable-upload", [requirements], install)

    @property
    def database(self):
        return self.directory / "uploads.db"

    def command(self):
        settings = ["--checksum-algorithms", ",".join(self.checksums)]
        settings += [f"--disable-{extension}" for extension in self.without]
        limits = {
            "--max-size": self.max_size,
            "--max-chunk-size": self.max_chunk,
            "--upload-expiry": self.lifetime,
            "--cleanup-interval": self.cleanup_interval,
        }
        for flag, value in limits.items():
            if value is not None:
                settings += [flag, value]
        return [
            CACHE / "resumable-upload" / "bin" / "python", "-m", "resumable_upload", "serve",
            "--host", "127.0.0.1", "--port", self.port, "--base-path", "/files",
            "--upload-dir", self.files, "--db-path", self.database, *settings,
        ]  # fmt: skip

    def sql(self, statement, *values):
        with closing(sqlite3.connect(self.database, timeout=10)) as db:
            rows = db.execute(statement, values).fetchall()
            db.commit()
            return rows

    def ids(self):
        return [row[0] for row in self.sql("SELECT upload_id FROM uploads")]

    def records(self):
        columns = "upload_id, upload_length, metadata, is_partial, concat_partial_ids"
        for identifier, length, metadata, is_partial, parts in self.sql(f"SELECT {columns} FROM uploads"):
            # -1: deferred, or that of a final upload whose parts are not finished.
            settled = None if length == -1 else length
            yield Record(identifier, settled, json.loads(metadata), bool(is_partial), tuple((parts or "").split()))

    def expire(self, identifier):
        self.sql("UPDATE uploads SET expires_at = '1970-01-01T00:00:00+00:00' WHERE upload_id = ?", identifier)

    def delete(self, identifier):
        self.sql("DELETE FROM uploads WHERE upload_id = ?", identifier)
        super().delete(identifier)


SERVERS = (Tusd, TusNode, ResumableUpload)


def with_extension(extension):
    """The names of the servers that have it, for a case's `only`."""
    return tuple(server.name for server in SERVERS if extension in server.extensions)


def install(wanted):
    """Server -> None, or why it cannot be had."""
    missing = {}
    print("Servers:")
    for server in wanted:
        missing[server] = None
        try:
            server.install()
        except Missing as error:
            missing[server] = str(error)
            print(f"  !!! {server.name} is MISSING: {error}")
    return missing
