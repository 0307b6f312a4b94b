"""The clients: how each is built and run, what it is given to upload, and what must come of it."""

import hashlib
import os
import random
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from servers import HERE

ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "release"
ADAPTERS = ("ureq", "hyper", "reqwest")

KIB = 1024
MIB = 1024 * KIB

# Exit statuses of `tus`, as its --help lists them.
REFUSED, UNSETTLED, PROTOCOL, NO_TLS = 4, 6, 7, 8


# What ended a client: by the exit status of `tus`, or the name that an adapter's command prints.
ENDINGS = {
    "file": (3, "Source", "SourceChanged"),
    "refused": (REFUSED, "Rejected", "Gone", "Unrepeatable"),
    "gave up": (5, "Exhausted", "ComeBackAt"),
    "unsettled": (UNSETTLED, "CompletionUnknown", "Unfinished"),
    "protocol": (PROTOCOL, "Protocol", "Location", "Conflict"),
    "no connection": (NO_TLS, "Hopeless"),
    "checkpoint": (9, "Store"),
}


class Failed(Exception):
    pass


def build():
    """Name -> command. `tus` is the binary from TUS_BIN, or built; an adapter's is `deliver` with its name."""
    cargo = ["cargo", "build", "--release"]
    if "TUS_BIN" in os.environ:
        tus = Path(os.environ["TUS_BIN"]).resolve()
    else:
        subprocess.run([*cargo, "--bin", "tus"], cwd=ROOT, check=True)
        tus = TARGET / "tus"
    subprocess.run([*cargo, "-p", "tus-adapters", "--bin", "deliver"], cwd=ROOT, check=True)
    return {"tus": [tus], **{name: [TARGET / "deliver", name] for name in ADAPTERS}}


class Sources:
    """Files of pseudo-random bytes, made once per size: no block of one occurs elsewhere in it."""

    def __init__(self, folder):
        self.folder = folder
        self.made = {}

    def get(self, size):
        if size not in self.made:
            path = self.folder / f"source-{size}.bin"
            generator, digest = random.Random(size), hashlib.sha256()
            with path.open("wb") as file:
                for start in range(0, size, MIB):
                    block = generator.randbytes(min(MIB, size - start))
                    digest.update(block)
                    file.write(block)
            self.made[size] = Source(path, size, digest.hexdigest())
        return self.made[size]


@dataclass
class Source:
    path: Path
    size: int
    sha256: str


def sha256_of(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass
class Ended:
    """One run of the client."""

    status: int
    stdout: str
    stderr: str
    seconds: float
    peak_kib: int

    def ending(self):
        """Which of the `ENDINGS` it is; `None`: it says nothing that one could act on."""
        last = self.stderr.splitlines()[-1:] or [""]
        name = self.status if self.status != 1 else last[0].partition(":")[0]
        return next((ending for ending, names in ENDINGS.items() if name in names), None)


class Client:
    """`tus`, or an adapter. Its checkpoints are in a folder of its own."""

    def __init__(self, command, folder):
        self.command = [str(part) for part in command]
        self.folder = folder
        self.child = None
        self.last = None

    def run(self, *arguments, timeout=300, pipe=None):
        """`pipe`: the command whose output is its stdin."""
        feeder = pipe and subprocess.Popen([str(part) for part in pipe], stdout=subprocess.PIPE)
        try:
            return self._run(arguments, timeout, feeder.stdout if feeder else subprocess.DEVNULL)
        finally:
            if feeder:
                # What nobody reads any more ends it.
                feeder.stdout.close()
                feeder.wait()

    def _run(self, arguments, timeout, stdin):
        environment = {**os.environ, "TUS_STATE_DIR": str(self.folder / "state")}
        streams = [self.folder / "stdout", self.folder / "stderr"]
        began, peak = time.monotonic(), 0
        with streams[0].open("wb") as out, streams[1].open("wb") as err:
            child = subprocess.Popen(
                [*self.command, *map(str, arguments)], stdin=stdin, stdout=out, stderr=err, env=environment
            )
            self.child = child
            try:
                while child.poll() is None:
                    peak = max(peak, peak_memory_kib(child.pid))
                    if time.monotonic() - began > timeout:
                        child.kill()
                    time.sleep(0.005)
            finally:
                self.child = None
                child.kill()
                child.wait()
        seconds = time.monotonic() - began
        texts = [path.read_text(errors="replace") for path in streams]
        self.last = Ended(child.returncode, *texts, seconds, peak)
        if seconds > timeout:
            raise Failed(f"the client did not end within {timeout:.0f} s")
        return self.last

    def kill(self):
        """From another thread, while `run` waits: SIGKILL."""
        while (child := self.child) is None:
            time.sleep(0.001)
        child.kill()
        child.wait()

    def has_checkpoint(self):
        return any(path.suffix not in (".lock", ".new") for path in (self.folder / "state").glob("*"))


def peak_memory_kib(pid):
    """The high-water mark of its resident memory. (ru_maxrss would count this process's, from before the exec.)"""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) if found else 0


def expect_stored(server, ended, source):
    """The client succeeded, printed the upload's URL alone, and the server's disk holds the file."""
    if ended.status != 0:
        raise Failed(f"exit status {ended.status}, expected 0")
    url = ended.stdout.strip()
    if not re.fullmatch(r"https?://\S+", url):
        raise Failed(f"stdout is not a URL alone: {ended.stdout[:300]!r}")
    stored = server.content(url)
    if not stored.exists():
        raise Failed(f"the server has no file for {url}")
    if stored.stat().st_size != source.size or sha256_of(stored) != source.sha256:
        raise Failed(f"content differs: {stored.stat().st_size} bytes stored of {source.size}")
    return url
