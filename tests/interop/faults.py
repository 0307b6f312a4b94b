"""The faults of a campaign: each is drawn for a run, armed before the client starts, and tells if it hit.

A fault is planned where the bytes are counted, at the proxy, so that the same seed has it at the same byte.
"""

import os
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass, field

from clients import KIB, MIB
from proxy import CUT, END_ANSWERS, END_REQUESTS, HEAD_END, Refusal

FAULTS = {}

# How long a client that is to notice a stall lets the line stand still, and waits for an answer; and how long a
# stall lasts. A busy machine may keep a client from the line for some tenths of a second.
STALL_LIMIT, ANSWER_LIMIT, STALL = 1, 2.5, 4

# What a server says while it has a request before: that the offset is another by now, or that it is locked.
LOCKED = (409, 423)

# The most requests with bytes that find no room: a client comes again at once, then after pauses of up to two seconds.
MOST_WITHOUT_ROOM = 8

# After this the libraries and the command come back another day (5 min and 1 h).
TOO_LONG = 2 * 60 * 60


@dataclass
class Run:
    """What one run has: a fresh server, a proxy before it, a client, and a file to send."""

    server: object
    proxy: object
    client: object
    source: object
    random: object
    # What the client is told, beside endpoint and file.
    flags: dict = field(default_factory=dict)
    planned: list = field(default_factory=list)
    # How the client may end, other than well: by which kinds of errors.
    allowed: set = field(default_factory=set)
    # What is mended after it ended so.
    mends: list = field(default_factory=list)
    disk: object = None
    # Uploads that it may leave behind without a word.
    orphans: int = 0
    # How many requests there were when the disk had room again.
    roomy_since: int = None

    def moment(self, least=0.0, most=1.0):
        """A number of bytes that will have been sent in mid-upload."""
        size = self.source.size
        return max(1, self.random.randrange(int(least * size), max(int(least * size) + 1, int(most * size))))

    def plan(self, words):
        planned = Planned(words, self.proxy)
        self.planned.append(planned)
        return planned

    def grow_disk(self):
        self.disk.grow()
        self.roomy_since = len(self.proxy.exchanges)

    def may_resend(self):
        """How many bytes may have been sent again: those of the requests that a fault struck; of one that came
        too soon after such a one, whose end the server still had before it; and of some that found no room."""
        excused = [planned.struck for planned in self.planned if planned.struck]
        behind, before = [], None
        for exchange in self.proxy.exchanges:
            if exchange.body:
                if exchange.status in LOCKED and before in excused:
                    behind.append(exchange)
                before = exchange
        excused += behind
        if self.disk:
            narrow = self.proxy.exchanges[: self.roomy_since]
            narrow = [one for one in narrow if one not in excused and one.body and not one.is_taken()]
            excused += narrow[:MOST_WITHOUT_ROOM]
        return sum(exchange.body for exchange in set(excused))

    def requests_of(self, count):
        """Makes the client send the file in some `count` requests."""
        self.flags["--chunk-size"] = max(KIB, -(-self.source.size // count))


@dataclass
class Planned:
    """One fault of a run."""

    words: str
    proxy: object
    hit: bool = False
    # The request that it struck.
    struck: object = None

    def strike(self):
        self.hit = True
        self.struck = self.proxy.exchanges[-1] if self.proxy.exchanges else None

    def then(self, action=lambda: None):
        """The action, noting that it was taken; what is no function is what the action returns."""

        def act():
            self.strike()
            return action() if callable(action) else action

        return act


def fault(name):
    """Registers what plans a fault of this name."""

    def register(function):
        FAULTS[name] = function
        return function

    return register


@fault("cut request")
def cut_request(run):
    """The connection is reset at any byte, in a head too."""
    for _ in range(run.random.choice((1, 1, 2, 3))):
        moment = run.moment()
        run.proxy.at(moment, run.plan(f"cut at {moment}").then(CUT))


@fault("cut answer")
def cut_answer(run):
    """Of an answer only a part comes back, or nothing."""
    run.requests_of(run.random.choice((1, 3, 8)))
    for _ in range(run.random.choice((1, 1, 2))):
        moment, share = run.moment(), run.random.choice((0, run.random.random()))
        planned = run.plan(f"answer after {moment} cut at {share:.0%}")
        run.proxy.swallow(moment, planned.then(), share)


@fault("half-closed")
def half_closed(run):
    """One direction ends in an orderly way; or all was read, and the end comes instead of the answer."""
    for _ in range(run.random.choice((1, 1, 2))):
        moment = run.moment()
        kind = run.random.choice(("answers end", "requests end", "end for an answer"))
        planned = run.plan(f"{kind} after {moment}")
        if kind == "end for an answer":
            run.proxy.swallow(moment, planned.then(), reset=False)
        else:
            run.proxy.at(moment, planned.then(END_ANSWERS if kind == "answers end" else lambda: end_requests(run)))


def end_requests(run):
    """Half a head is no request that a server could understand. (The file is random bytes, a head is ASCII.)"""
    latest = run.proxy.latest
    if HEAD_END not in latest and latest.isascii():
        run.allowed.add("refused")
    return END_REQUESTS


@fault("client killed")
def client_killed(run):
    """SIGKILL; the campaign then runs it again."""
    for _ in range(run.random.choice((1, 2, 3, 4))):
        moment = run.moment()

        def kill():
            run.client.kill()
            # Before the URL is saved nobody can know of the upload.
            if not run.client.has_checkpoint():
                run.orphans += 1
            return CUT

        run.proxy.at(moment, run.plan(f"client killed at {moment}").then(kill))


@fault("server killed")
def server_killed(run):
    """SIGKILL, and it starts again on the same port and folder, at once or later."""
    for _ in range(run.random.choice((1, 1, 2))):
        moment, away = run.moment(), run.random.choice((0, 0, 0.5))

        def kill(away=away):
            run.server.kill()
            time.sleep(away)
            run.server.start()

        run.proxy.at(moment, run.plan(f"server killed at {moment}, away {away} s").then(kill))


@fault("stall")
def stall(run):
    """Nothing moves for longer than the client bears it."""
    run.flags.update({"--stall-timeout": STALL_LIMIT, "--answer-timeout": ANSWER_LIMIT})
    moment = run.moment(0.1, 0.9)
    run.proxy.at(moment, run.plan(f"stall at {moment}").then(lambda: time.sleep(STALL)))


@fault("refused")
def refused(run):
    """A proxy's own answers, in the server's place."""
    requests = run.random.choice((4, 6))
    run.requests_of(requests)
    first = run.random.randrange(requests)
    status = run.random.choice((502, 503, 504, 413, 429))
    # More than two of them in a row are a wait of many seconds.
    for number in range(first, first + run.random.choice((1, 1, 2))):
        headers = ()
        if status in (503, 429):
            after = run.random.choice((None, "0", "1", "2", "soon", TOO_LONG))
            headers = () if after is None else (f"Retry-After: {after}",)
        planned = run.plan(f"request {number}: {status} {' '.join(headers)}".rstrip())
        early = status == 413 or run.random.random() < 0.3
        run.proxy.refuse(Refusal(status, headers, early), refusable(run, planned, number, status, headers))


def refusable(run, planned, least, status, headers):
    """What says whether a request is to be refused: not before that number. It notes how the client may end."""

    def wanted(number, method, body):
        # What has no body is not too large, and the client would believe who says so; OPTIONS may fail.
        if number < least or method == "OPTIONS" or (status == 413 and body == 0):
            return False
        if f"Retry-After: {TOO_LONG}" in headers:
            run.allowed.add("gave up")
        if status == 413 and body <= 64 * KIB:
            # Smaller requests are not tried.
            run.allowed.add("refused")
        planned.strike()
        return True

    return wanted


class Disk:
    """A small disk under a server's files."""

    def __init__(self, folder, size):
        self.folder = folder
        self.closed = False
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)

    def grow(self):
        subprocess.run(["mount", "-o", f"remount,size={64 * MIB}", self.folder], check=True)

    def when_full(self, action):
        """Once it is: the action, on another thread."""

        def watch():
            # The last pages are not always given away; no server needs so long for the next one.
            since = time.monotonic()
            while time.monotonic() < since + 0.1:
                if self.closed:
                    return
                if os.statvfs(self.folder).f_bavail > 2:
                    since = time.monotonic()
                time.sleep(0.01)
            action()

        threading.Thread(target=watch, daemon=True).start()

    def close(self):
        self.closed = True
        subprocess.run(["umount", "--lazy", self.folder], check=True)


def fill_disk(run, words):
    """Room for a part of the file alone."""
    room = run.moment(0.2, 0.8)
    run.disk = Disk(run.server.files, room)
    return run.plan(f"{words} after {room}")


@fault("disk full")
def disk_full(run):
    """Until the client has given up; then there is room, and it is run again."""
    run.flags["--give-up-after"] = 2
    planned = fill_disk(run, "disk full for good")
    run.disk.when_full(planned.then())
    run.allowed |= {"gave up", "refused"}
    run.mends.append(run.grow_disk)


@fault("disk full for a while")
def disk_full_for_a_while(run):
    away = run.random.choice((0, 1))
    planned = fill_disk(run, f"disk full for {away} s")

    def grow():
        time.sleep(away)
        run.grow_disk()

    run.disk.when_full(planned.then(grow))


@fault("mixed")
def mixed(run):
    """Two or three of the others."""
    names = [name for name in FAULTS if name not in ("mixed", *DISK)]
    if run.source.size >= least_size(DISK[0]):
        names.append(run.random.choice(DISK))
    # Where there is no small disk, the others are the same.
    for name in sorted(run.random.sample(names, run.random.choice((2, 2, 3))), key=DISK.__contains__):
        if name not in DISK or can_mount():
            FAULTS[name](run)


# These need a file system of their own.
DISK = ("disk full", "disk full for a while")


def least_size(name):
    """Of a file that the fault can hit."""
    return 256 * KIB if name in DISK else 8 * KIB


def can_mount():
    return os.geteuid() == 0 and shutil.which("mount") is not None
