"""The real servers: how each is installed, started, stopped, killed, and where it keeps its files."""

import hashlib
import http.client
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
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


def upload_id(url):
    return url.rstrip("/").rsplit("/", 1)[-1]


class Process:
    """A process that listens on a loopback port. Ends only what it started."""

    name = "?"

    def __init__(self, directory):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = None
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
        fixed = self.port is not None
        with self.lock:
            for _ in range(5):
                if self.closed:
                    return self
                self.port = self.port if fixed else free_port()
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

    def restart(self):
        """As after a crash: killed, then started on the same port and directory."""
        self.kill()
        self.start()

    def log_tail(self, lines=8):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""


class Server(Process):
    """A tus server that keeps uploads as files in `self.files`."""

    refuses_non_utf8 = False

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

    def content(self, url):
        """The file that holds what was uploaded to `url`."""
        return self.files / upload_id(url)

    def ids(self):
        """The uploads that the server knows of."""
        raise NotImplementedError

    def delete(self, identifier):
        """Behind the server's back, as a cleaning job or an application that moves finished uploads away would."""
        for path in self.files.glob(identifier + "*"):
            path.unlink()

    def delete_all(self):
        for identifier in self.ids():
            self.delete(identifier)


class Tusd(Server):
    name = "tusd"
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
        return [
            CACHE / "tusd" / "tusd", "-host", "127.0.0.1", "-port", self.port,
            "-upload-dir", self.files, "-base-path", "/files/", *self.flags,
        ]  # fmt: skip

    def ids(self):
        return [path.stem for path in self.files.glob("*.info")]

    def patches(self):
        """How many PATCH requests its log tells of."""
        lines = self.log.read_text(errors="replace").splitlines()
        return sum("RequestIncoming" in line and "method=PATCH" in line for line in lines)


class TusdBehindProxy(Tusd):
    flags = ("-behind-proxy",)


class TusNode(Server):
    name = "@tus/server"

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
        return ["node", CACHE / "tus-node" / "server.mjs", self.port, self.files]

    def ids(self):
        return [path.stem for path in self.files.glob("*.json")]


class ResumableUpload(Server):
    name = "resumable-upload"
    refuses_non_utf8 = True

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
        return [
            CACHE / "resumable-upload" / "bin" / "python", "-m", "resumable_upload", "serve",
            "--host", "127.0.0.1", "--port", self.port, "--base-path", "/files",
            "--upload-dir", self.files, "--db-path", self.database,
        ]  # fmt: skip

    def ids(self):
        with closing(sqlite3.connect(self.database, timeout=10)) as db:
            return [row[0] for row in db.execute("SELECT upload_id FROM uploads")]

    def delete(self, identifier):
        with closing(sqlite3.connect(self.database, timeout=10)) as db:
            db.execute("DELETE FROM uploads WHERE upload_id = ?", (identifier,))
            db.commit()
        super().delete(identifier)


SERVERS = (Tusd, TusNode, ResumableUpload)
