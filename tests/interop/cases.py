"""The cases: each gets a bench with a fresh server and a client, and raises `Failed`; it may return a note."""

import base64
import hashlib
import http.client
import json
import random
import re
import threading
import time
from contextlib import closing
from dataclasses import dataclass

from clients import KIB, MIB, NO_TLS, PROTOCOL, REFUSED, UNSETTLED
from clients import Client, Failed, Source, Sources, expect_stored, sha256_of
from proxy import CUT, Proxy
from servers import upload_id, with_extension

CASES = []

# The clients: the command alone, or the adapters too, or those of them that speak HTTP/2 and send trailers.
COMMAND = ("tus",)
ALL = ("tus", "ureq", "hyper", "reqwest")
MODERN = ("hyper", "reqwest")


def case(title, only=None, clients=COMMAND):
    """Registers a case. `only`: the names of the servers it is about. `clients`: who runs it."""

    def register(function):
        CASES.append(Case(title, function, only, clients))
        return function

    return register


@dataclass
class Case:
    title: str
    run: object
    only: tuple
    clients: tuple


@dataclass
class Sizes:
    """What a full run and a quick one differ in."""

    big: int
    huge: int
    kills: int
    cuts: int
    # Sizes of the requests that a pipe is sent in.
    pieces: tuple


FULL = Sizes(big=300 * MIB, huge=1024 * MIB, kills=10, cuts=20, pieces=("64K", "1M", "8M"))
QUICK = Sizes(big=40 * MIB, huge=128 * MIB, kills=3, cuts=5, pieces=("1M",))


@dataclass
class Bench:
    server: object
    client: Client
    name: str
    sources: Sources
    sizes: Sizes
    random: random.Random

    def upload(self, source, *flags, endpoint=None):
        """Through the command line: `upload [flags] ENDPOINT FILE`."""
        return self.client.run("upload", *flags, endpoint or self.server.endpoint, source.path)

    def upload_pipe(self, source, *flags, endpoint=None):
        """The same through a pipe."""
        words = ["upload", *flags, endpoint or self.server.endpoint, "-"]
        return self.client.run(*words, pipe=["cat", source.path])

    def expect_identical(self, ended, source, uploads=1):
        """It succeeded, printed the URL alone, and the server's disk holds the file."""
        url = expect_stored(self.server, ended, source)
        if uploads is not None and len(self.server.ids()) != uploads:
            raise Failed(f"{len(self.server.ids())} uploads on the server, expected {uploads}")
        return url

    def expect_patches(self, count):
        """Going by the server's log."""
        if self.server.requests("PATCH") != count:
            raise Failed(f"{self.server.requests('PATCH')} PATCH requests, expected {count}")

    def expect_failure(self, ended, status, pattern):
        """An adapter has one status for every failure."""
        status = status if self.name == "tus" else 1
        if ended.status != status or ended.stdout.strip():
            raise Failed(f"exit status {ended.status}, expected {status}, and nothing on stdout: {ended.stdout[:300]!r}")
        if not re.search(pattern, ended.stderr, re.IGNORECASE):
            raise Failed(f"stderr says nothing that matches {pattern!r}")


def plain(title, size, chunk="", chunk_bytes=None):
    def run(bench):
        source = bench.sources.get(size(bench.sizes))
        ended = bench.upload(source, *(["--chunk-size", chunk] if chunk else []))
        bench.expect_identical(ended, source)
        # Small files may go with the POST.
        if source.size > MIB:
            bench.expect_patches(-(-source.size // (chunk_bytes or source.size)))

    case(title, clients=ALL)(run)


plain("empty", lambda _: 0)
plain("1 byte", lambda _: 1)
plain("5 MiB, one PATCH", lambda _: 5 * MIB)
plain("5 MiB, chunks of 1 MiB", lambda _: 5 * MIB, "1M", MIB)
plain("5 MiB, chunks of 1,000,003", lambda _: 5 * MIB, "1000003", 1_000_003)
plain("big, one PATCH", lambda sizes: sizes.big)
plain("big, chunks of 8 MiB", lambda sizes: sizes.big, "8M", 8 * MIB)


def bytes_of(value):
    """A key without a value is `null`: @tus/server makes one of an empty value."""
    if value is None:
        return b""
    return value["text"].encode() if "text" in value else base64.b64decode(value["base64"])


def metadata_of(bench, url):
    ended = bench.client.run("info", url, "--json")
    if ended.status != 0:
        raise Failed(f"tus info: exit status {ended.status}")
    info = json.loads(ended.stdout)
    if not info["complete"]:
        raise Failed(f"tus info: not complete: {info}")
    return {key: bytes_of(value) for key, value in info["metadata"].items()}


def expect_metadata(bench, url, expected):
    got = metadata_of(bench, url)
    for key, value in expected.items():
        if got.get(key) != value:
            raise Failed(f"metadata {key!r}: expected {value!r}, read back {got.get(key)!r}")


@case("metadata: every byte of UTF-8, empty, no value")
def metadata_text(bench):
    # All code points below 256 have every ASCII and every continuation byte; the others have every leading byte.
    leads = [*range(0x80, 0x800, 0x40), 0x800, *range(0x1000, 0x10000, 0x1000)]
    leads += [0x10000, *range(0x40000, 0x110000, 0x40000)]
    every = "".join(map(chr, [*range(256), *leads])).encode()
    source = bench.sources.get(1)
    ended = bench.upload(
        source, "--metadata-base64", "every=" + base64.b64encode(every).decode(),
        "--metadata", "text=héllo, wörld =,", "--metadata", "empty=", "--metadata", "bare",
    )  # fmt: skip
    expected = {"every": every, "text": "héllo, wörld =,".encode(), "empty": b"", "bare": b""}
    expect_metadata(bench, bench.expect_identical(ended, source), expected)


@case("metadata: all 256 byte values")
def metadata_bytes(bench):
    # None of the servers can keep bytes that are not UTF-8, so what they were sent is looked at on the way.
    every = bytes(range(256))
    encoded = base64.b64encode(every).decode()
    source = bench.sources.get(1)
    with Proxy(bench.server.port) as proxy:
        ended = bench.upload(source, "--metadata-base64", f"every={encoded}", endpoint=proxy.endpoint)
        if f"every {encoded}".encode() not in proxy.beginning:
            raise Failed("the server was not sent these bytes")
        if bench.server.refuses_non_utf8:
            bench.expect_failure(ended, REFUSED, "utf-8")
            return "metadata that is not UTF-8: refused with a 400, reported"
        url = bench.expect_identical(ended, source)
        expect_metadata(bench, url, {"every": every.decode(errors="replace").encode()})
    return "metadata that is not UTF-8: sent as it is, read back as the server replaced it, by U+FFFD"


@case("cut three times in mid-PATCH", clients=ALL)
def cut(bench):
    source = bench.sources.get(40 * MIB)
    with Proxy(bench.server.port) as proxy:
        for count in (1 * MIB, 13 * MIB, 29 * MIB):
            proxy.at(count, CUT)
        bench.expect_identical(bench.upload(source, endpoint=proxy.endpoint), source)


@case("stalled for 3 s in mid-PATCH")
def stall(bench):
    source = bench.sources.get(40 * MIB)
    with Proxy(bench.server.port) as proxy:
        proxy.at(20 * MIB, lambda: time.sleep(3))
        bench.expect_identical(bench.upload(source, endpoint=proxy.endpoint), source)
        if proxy.bytes_read > source.size + MIB:
            raise Failed(f"a short stall made it send {proxy.bytes_read} bytes")


@case("server killed in mid-PATCH, twice", clients=ALL)
def server_killed(bench):
    source = bench.sources.get(40 * MIB)
    with Proxy(bench.server.port) as proxy:
        proxy.at(12 * MIB, bench.server.restart)
        proxy.at(30 * MIB, bench.server.restart)
        bench.expect_identical(bench.upload(source, endpoint=proxy.endpoint), source)


@case("server down for 3 s in mid-PATCH")
def server_down(bench):
    source = bench.sources.get(40 * MIB)
    back = threading.Timer(3, bench.server.start)

    def go_down():
        bench.server.kill()
        back.start()

    with Proxy(bench.server.port) as proxy:
        # Meanwhile the proxy resets what connects, as a proxy with a dead upstream may.
        proxy.at(12 * MIB, go_down)
        bench.expect_identical(bench.upload(source, endpoint=proxy.endpoint), source)


@case("server up only after 2 s")
def server_late(bench):
    source = bench.sources.get(5 * MIB)
    bench.server.kill()
    threading.Timer(2, bench.server.start).start()
    bench.expect_identical(bench.upload(source), source)


@case("client SIGKILLed at random moments", clients=ALL)
def client_killed(bench):
    """`kills` moments of one big upload; after each the same command again."""
    source = bench.sources.get(bench.sizes.big)
    moments = sorted(bench.random.randrange(1, source.size) for _ in range(bench.sizes.kills))
    with Proxy(bench.server.port) as proxy:
        for moment in moments:
            proxy.at(moment, bench.client.kill)
            ended = bench.upload(source, endpoint=proxy.endpoint)
            if ended.status != -9:
                raise Failed(f"exit status {ended.status}, expected to be killed at {moment} of {moments}")
        # A kill before the URL was saved leaves an upload that nobody continues.
        ended = bench.upload(source, endpoint=proxy.endpoint)
        bench.expect_identical(ended, source, uploads=None)
        if moments[0] > MIB and len(bench.server.ids()) != 1:
            raise Failed(f"{len(bench.server.ids())} uploads on the server: it was not resumed")


def deleted(bench):
    bench.server.delete_all()
    return CUT


@case("deleted on the server, cut early: sent anew", clients=ALL)
def deleted_in_between(bench):
    # Larger than what a client may have handed over unread: the last byte was not sent, so nothing can
    # be complete, and the 404 (with Tus-Resumable on all three servers) means gone.
    source = bench.sources.get(24 * MIB)
    with Proxy(bench.server.port) as proxy:
        proxy.at(4 * MIB, lambda: deleted(bench))
        bench.expect_identical(bench.upload(source, endpoint=proxy.endpoint), source)


@case("last answer lost, upload there: done", clients=ALL)
def last_answer_lost(bench):
    source = bench.sources.get(24 * MIB)
    with Proxy(bench.server.port) as proxy:
        proxy.swallow(source.size)
        bench.expect_identical(bench.upload(source, endpoint=proxy.endpoint), source)


@case("last answer lost, upload gone: unknown", clients=ALL)
def completion_unknown(bench):
    # The three answer HEAD with the same 404 whether an upload was finished and moved away or never
    # finished. Neither success nor sending it again is right, in this run or in the next.
    source = bench.sources.get(24 * MIB)
    with Proxy(bench.server.port) as proxy:
        proxy.swallow(source.size, bench.server.delete_all)
        for _ in range(2):
            bench.expect_failure(bench.upload(source, endpoint=proxy.endpoint), UNSETTLED, "unknown")
            if bench.server.ids():
                raise Failed("it was sent a second time")


@case("huge, one PATCH: memory under 16 MiB", only=("tusd",))
def memory(bench):
    source = bench.sources.get(bench.sizes.huge)
    ended = bench.upload(source)
    bench.expect_identical(ended, source)
    bench.expect_patches(1)
    if not 0 < ended.peak_kib < 16 * KIB:
        raise Failed(f"peak memory {ended.peak_kib} KiB")
    return f"peak {ended.peak_kib / KIB:.1f} MiB"


@case("huge, cut many times: little sent twice", only=("tusd",))
def many_cuts(bench):
    source = bench.sources.get(bench.sizes.huge)
    with Proxy(bench.server.port) as proxy:
        for _ in range(bench.sizes.cuts):
            proxy.at(bench.random.randrange(MIB, source.size), CUT)
        bench.expect_identical(bench.upload(source, endpoint=proxy.endpoint), source)
        ratio = proxy.bytes_read / source.size
    if ratio > 1.05:
        raise Failed(f"{ratio:.3f} times the file was sent")
    return f"{bench.sizes.cuts} cuts, {ratio:.4f} x"


@case("creation with upload: one POST", only=with_extension("creation-with-upload"), clients=ALL)
def creation_with_upload(bench):
    methods = ("OPTIONS", "POST", "HEAD", "PATCH")

    def counts():
        return [bench.server.requests(method) for method in methods]

    for uploads, size in enumerate((1, 1000, MIB), 1):
        # The harness asks for OPTIONS itself.
        before = counts()
        source = bench.sources.get(size)
        bench.expect_identical(bench.upload(source), source, uploads=uploads)
        made = [after - before for after, before in zip(counts(), before)]
        if made != [1, 1, 0, 0]:
            raise Failed(f"{size} bytes took {made} of {methods}")


DEFERRED = ("tusd", "@tus/server")


def expect_settled(bench, url, source):
    lengths = [record.length for record in bench.server.records() if record.identifier == upload_id(url)]
    if lengths != [source.size]:
        raise Failed(f"the server's records say {lengths}, expected one of {source.size}")


@case("pipe: 3 MiB in requests of 1 MiB, cut twice", only=DEFERRED, clients=ALL)
def pipe_cut(bench):
    source = bench.sources.get(3 * MIB + 5)
    with Proxy(bench.server.port) as proxy:
        proxy.at(MIB // 2, CUT)
        proxy.at(5 * MIB // 2, CUT)
        ended = bench.upload_pipe(source, "--chunk-size", "1M", endpoint=proxy.endpoint)
        expect_settled(bench, bench.expect_identical(ended, source), source)


@case("pipe: ends where a request does", only=DEFERRED)
def pipe_boundary(bench):
    source = bench.sources.get(3 * MIB)
    ended = bench.upload_pipe(source, "--chunk-size", "1M")
    expect_settled(bench, bench.expect_identical(ended, source), source)
    return f"{bench.server.requests('PATCH')} PATCH requests for 3 MiB from a pipe, 1 MiB each"


@case("pipe: empty", only=with_extension("creation-defer-length"))
def pipe_empty(bench):
    source = bench.sources.get(0)
    expect_settled(bench, bench.expect_identical(bench.upload_pipe(source), source), source)


@case("pipe: all in one request", only=with_extension("creation-defer-length"), clients=ALL)
def pipe_one_request(bench):
    for uploads, size in enumerate((1000, 5 * MIB), 1):
        source = bench.sources.get(size)
        url = bench.expect_identical(bench.upload_pipe(source), source, uploads=uploads)
        expect_settled(bench, url, source)


@case("pipe: longer than the one request that is taken", only=("resumable-upload",))
def pipe_too_long(bench):
    ended = bench.upload_pipe(bench.sources.get(3 * MIB), "--chunk-size", "1M")
    bench.expect_failure(ended, REFUSED, "Upload-Length header required.*--chunk-size")


@case("100 MiB pipe, cut: memory", only=("tusd",))
def pipe_memory(bench):
    waiting = ["sh", "-c", "sleep 1; printf x"]
    idle = bench.client.run("upload", bench.server.endpoint, "-", pipe=waiting).peak_kib
    source = bench.sources.get(100 * MIB)
    figures = []
    for uploads, piece in enumerate(bench.sizes.pieces, 2):
        with Proxy(bench.server.port) as proxy:
            for _ in range(3):
                proxy.at(bench.random.randrange(MIB, source.size), CUT)
            ended = bench.upload_pipe(source, "--chunk-size", piece, endpoint=proxy.endpoint)
        bench.expect_identical(ended, source, uploads=uploads)
        above = ended.peak_kib - idle
        allowed = KIB + int(piece[:-1]) * (KIB if piece.endswith("M") else 1)
        if not 0 < idle or above >= allowed:
            raise Failed(f"requests of {piece}: {above} KiB above the {idle} KiB of an idle client")
        figures.append(f"requests of {piece}: {above / KIB:+.2f} MiB")
    return f"idle {idle / KIB:.1f} MiB; {', '.join(figures)}"


def checksum(name):
    def run(bench):
        source = bench.sources.get(5 * MIB)
        with Proxy(bench.server.port) as proxy:
            # In the body of the second request; and of the one that repeats it.
            proxy.garble(3 * MIB // 2)
            proxy.garble(5 * MIB // 2)
            ended = bench.upload(source, "--checksum", name, "--chunk-size", "1M", endpoint=proxy.endpoint)
            bench.expect_identical(ended, source)
            if proxy.statuses.count(460) != 2:
                raise Failed(f"two bodies were garbled, the answers are {proxy.statuses}")
        if "460" not in ended.stderr:
            raise Failed("the refusals were not told of")

    case(f"checksum: {name}, two bodies garbled", only=with_extension("checksum"), clients=ALL)(run)


for algorithm in ("sha1", "sha256", "sha512", "md5"):
    checksum(algorithm)


@case("checksum after the body, as a trailer, garbled", only=("resumable-upload",), clients=MODERN)
def trailer(bench):
    source = bench.sources.get(5 * MIB)
    with Proxy(bench.server.port) as proxy:
        proxy.garble(3 * MIB // 2)
        ended = bench.upload(source, "--checksum", "sha256", "--chunk-size", "1M", endpoint=proxy.endpoint)
        bench.expect_identical(ended, source)
        head = proxy.beginning.lower()
        if b"transfer-encoding: chunked" not in head or b"trailer: upload-checksum" not in head:
            raise Failed("the first PATCH announces no trailer")
        if b"\nupload-checksum:" in head:
            raise Failed("the checksum comes before the body")
        if proxy.statuses.count(460) != 1:
            raise Failed(f"one body was garbled, the answers are {proxy.statuses}")
    return f"trailers from {bench.name}: the garbled one refused with 460, sent again"


@case("garbled without a checksum: nobody notices", only=with_extension("checksum"))
def garbled(bench):
    # What the cases above would be if nothing was compared.
    source = bench.sources.get(5 * MIB)
    with Proxy(bench.server.port) as proxy:
        proxy.garble(3 * MIB // 2)
        ended = bench.upload(source, "--chunk-size", "1M", endpoint=proxy.endpoint)
    stored = bench.server.content(ended.stdout.strip())
    if ended.status != 0 or stored.stat().st_size != source.size or sha256_of(stored) == source.sha256:
        raise Failed("the byte was not changed")


@case("checksum: not offered")
def checksum_not_offered(bench):
    name, says = "sha1", "checksum"
    if "checksum" in bench.server.extensions:
        bench.server.reconfigure(checksums=("sha1", "md5"))
        name, says = "sha512,sha256", "sha1, md5.*--try-unoffered"
    bench.expect_failure(bench.upload(bench.sources.get(1000), "--checksum", name), REFUSED, says)
    if bench.server.ids():
        raise Failed("something was created")


def created_url(ended):
    """The last upload that a run made, though it ended without success."""
    urls = re.findall(r"^created (\S+)$", ended.stderr, re.MULTILINE)
    if not urls:
        raise Failed("stderr names no upload")
    return urls[-1]


@case("expired between two runs: sent anew", only=with_extension("expiration"))
def expired(bench):
    bench.server.reconfigure(lifetime=3600)
    source = bench.sources.get(24 * MIB)
    with Proxy(bench.server.port) as proxy:
        proxy.at(12 * MIB, bench.client.kill)
        killed = bench.upload(source, endpoint=proxy.endpoint)
        if killed.status != -9 or "keeps the unfinished upload until" not in killed.stderr:
            raise Failed(f"exit status {killed.status}, expected to be killed, and told when it expires")
        bench.server.expire(upload_id(created_url(killed)))
        ended = bench.upload(source, endpoint=proxy.endpoint)
        # The other one stays until somebody sweeps.
        url = bench.expect_identical(ended, source, uploads=2)
        if 410 not in proxy.statuses:
            raise Failed(f"the answers are {proxy.statuses}, expected a 410")
        if upload_id(url) == upload_id(created_url(killed)):
            raise Failed("it is the upload that expired")


def delete(bench, url, uploads, says="deleted"):
    ended = bench.client.run("delete", url)
    if ended.status != 0 or ended.stdout or says not in ended.stderr:
        raise Failed(f"tus delete: exit status {ended.status}, and not {says!r}: {ended.stderr[:300]!r}")
    if bench.server.content(url).exists() or len(bench.server.ids()) != uploads:
        raise Failed(f"it is still there, or not alone: {bench.server.ids()}")


TERMINATION = with_extension("termination")


@case("deleted, and once more", only=TERMINATION)
def delete_twice(bench):
    small, large = bench.sources.get(1000), bench.sources.get(5 * MIB)
    kept = bench.expect_identical(bench.upload(small), small)
    url = bench.expect_identical(bench.upload(large), large, uploads=2)
    delete(bench, url, uploads=1)
    delete(bench, url, uploads=1, says="nothing to delete")
    if not bench.server.content(kept).exists():
        raise Failed("the other upload is gone")


@case("killed, deleted, and sent again", only=TERMINATION)
def delete_killed(bench):
    source = bench.sources.get(24 * MIB)
    with Proxy(bench.server.port) as proxy:
        proxy.at(12 * MIB, bench.client.kill)
        killed = bench.upload(source, endpoint=proxy.endpoint)
        url = created_url(killed)
        if killed.status != -9 or not bench.server.content(url).exists():
            raise Failed(f"exit status {killed.status}, expected to be killed in its middle")
        delete(bench, url, uploads=0)
        again = bench.expect_identical(bench.upload(source, endpoint=proxy.endpoint), source)
        if again == url:
            raise Failed("it has the URL of the upload that was deleted")


@case("deletion switched off", only=("tusd", "resumable-upload"))
def delete_refused(bench):
    source = bench.sources.get(1000)
    url = bench.expect_identical(bench.upload(source), source)
    bench.server.reconfigure(without=("termination",))
    bench.expect_failure(bench.client.run("delete", url), REFUSED, "termination.*--try-unoffered")
    bench.expect_failure(bench.client.run("delete", "--try-unoffered", url), REFUSED, "405")
    if not bench.server.content(url).exists():
        raise Failed("it was deleted")


CONCATENATION = with_extension("concatenation")


def expect_joined(bench, url, parts):
    """The upload at this URL is a final one of so many parts, and there is nothing else."""
    finals = [(record.identifier, len(record.parts)) for record in bench.server.finals()]
    if finals != [(upload_id(url), parts)] or len(bench.server.partials()) != parts:
        raise Failed(f"{finals} and {len(bench.server.partials())} parts on the server")


@case("big, --parallel 4", only=CONCATENATION, clients=ALL)
def parallel(bench):
    source = bench.sources.get(bench.sizes.big)
    ended = bench.upload(source, "--parallel", 4)
    expect_joined(bench, bench.expect_identical(ended, source, uploads=5), 4)


def patched(proxy):
    """The targets of PATCH requests."""
    return {target for method, target in proxy.requests if method == "PATCH"}


def kill_once(bench, proxy, count, is_ready):
    """At so many bytes, or later, when it is ready for that."""

    def kill():
        if is_ready():
            bench.client.kill()
        else:
            proxy.at(proxy.bytes_read + 256 * KIB, kill)

    proxy.at(count, kill)


@case("big in 4 parts, each cut twice, then killed", only=CONCATENATION, clients=ALL)
def parallel_killed(bench):
    source = bench.sources.get(bench.sizes.big)
    with Proxy(bench.server.port) as proxy:
        proxy.cut_each(source.size // 40, 2)
        kill_once(bench, proxy, source.size // 2, lambda: sum(proxy.cuts.values()) == 8)
        ended = bench.upload(source, "--parallel", 4, endpoint=proxy.endpoint)
        if ended.status != -9 or sorted(proxy.cuts.values()) != [2] * 4:
            raise Failed(f"exit status {ended.status}, expected to be killed after two cuts each: {proxy.cuts}")
        ended = bench.upload(source, "--parallel", 4, endpoint=proxy.endpoint)
        expect_joined(bench, bench.expect_identical(ended, source, uploads=5), 4)
        ratio = proxy.bytes_read / source.size
    # resumable-upload says at once, while it still reads what was cut, how much it had before that, and
    # refuses what comes then only when all of it has come.
    if bench.server.name == "tusd" and ratio > 1.1:
        raise Failed(f"{ratio:.3f} times the file was sent")
    return f"4 parts, 8 cuts and a kill on {bench.server.name}: {ratio:.2f} x"


def several(bench, *sizes):
    """Files of these sizes, and what they are together."""
    paths = [bench.sources.get(size).path for size in sizes]
    together = hashlib.sha256(b"".join(path.read_bytes() for path in paths))
    return paths, Source(None, sum(sizes), together.hexdigest())


@case("--concat of three files, one of them empty", only=CONCATENATION)
def concat(bench):
    paths, whole = several(bench, 5 * MIB, 0, 1_000_003)
    ended = bench.client.run("upload", "--concat", bench.server.endpoint, *paths)
    expect_joined(bench, bench.expect_identical(ended, whole, uploads=4), 3)


@case("--concat of three files, killed twice", only=CONCATENATION)
def concat_killed(bench):
    paths, whole = several(bench, 12 * MIB, 13 * MIB, 14 * MIB)
    with Proxy(bench.server.port) as proxy:
        for moment in (12 * MIB, 25 * MIB):
            # A part whose URL was not saved yet would be left behind.
            kill_once(bench, proxy, moment, lambda: len(patched(proxy)) == 3)
            ended = bench.client.run("upload", "--concat", proxy.endpoint, *paths)
            if ended.status != -9:
                raise Failed(f"exit status {ended.status}, expected to be killed")
        ended = bench.client.run("upload", "--concat", proxy.endpoint, *paths)
        expect_joined(bench, bench.expect_identical(ended, whole, uploads=4), 3)


@case("--parallel, not offered")
def parallel_not_offered(bench):
    if "concatenation" in bench.server.extensions:
        bench.server.reconfigure(without=("concatenation",))
    ended = bench.upload(bench.sources.get(40 * MIB), "--parallel", 4)
    bench.expect_failure(ended, REFUSED, "concatenation.*--try-unoffered")
    if bench.server.ids():
        raise Failed("something was created")


@case("method override", only=("tusd", "resumable-upload"))
def method_override(bench):
    source = bench.sources.get(5 * MIB)
    with Proxy(bench.server.port) as proxy:
        flags = ("--method-override", "--chunk-size", "1M")
        url = bench.expect_identical(bench.upload(source, *flags, endpoint=proxy.endpoint), source)
        if bench.client.run("delete", "--method-override", url).status != 0 or bench.server.ids():
            raise Failed("it was not deleted")
        methods = [method for method, _ in proxy.requests if method not in ("OPTIONS", "HEAD")]
        # The creation, five PATCHes and the DELETE.
        if methods != ["POST"] * 7:
            raise Failed(f"what went over the wire: {methods}")


@case("method override, ignored", only=("@tus/server",))
def method_override_ignored(bench):
    source = bench.sources.get(5 * MIB)
    bench.expect_failure(bench.upload(source, "--method-override"), REFUSED, "400")
    # With length and body it is a creation to this server: another upload, which must not be taken for ours.
    before = len(bench.server.ids())
    ended = bench.upload_pipe(source, "--method-override", "--chunk-size", "8M")
    bench.expect_failure(ended, PROTOCOL, "ignores X-HTTP-Method-Override")
    if len(bench.server.ids()) != before + 2:
        raise Failed(f"{len(bench.server.ids()) - before} uploads, expected ours and the one by mistake")


@case("tus server")
def server(bench):
    bench.server.reconfigure(max_size=12_345_678)
    with closing(http.client.HTTPConnection("127.0.0.1", bench.server.port, timeout=5)) as connection:
        connection.request("OPTIONS", "/files/")
        answer = connection.getresponse()
    lists = {
        name: text.split(",") if (text := answer.getheader(field)) else None
        for name, field in (
            ("versions", "Tus-Version"),
            ("extensions", "Tus-Extension"),
            ("checksum_algorithms", "Tus-Checksum-Algorithm"),
        )
    }
    if set(lists["extensions"]) != bench.server.extensions:
        raise Failed(f"the harness expects {sorted(bench.server.extensions)} of it")
    ended = bench.client.run("server", "--json", bench.server.endpoint)
    said = json.loads(ended.stdout) if ended.status == 0 else None
    if said != {**lists, "max_size": 12_345_678}:
        raise Failed(f"exit status {ended.status}; it said {said}, the server {lists}")


@case("over the server's limit: refused")
def too_large(bench):
    bench.server.reconfigure(max_size=1000)
    # Of a small file it is known before, of a large one the server says it.
    for size in (1001, 5 * MIB):
        ended = bench.upload(bench.sources.get(size))
        bench.expect_failure(ended, REFUSED, "at most 1000" if size == 1001 else "larger than the server accepts")
        if bench.server.ids():
            raise Failed("something was created")


TLS = ("nginx + tusd",)


def tls(bench, site, *flags, size=5 * MIB):
    source = bench.sources.get(size)
    ended = bench.upload(source, *flags, endpoint=bench.server.endpoints[site])
    url = bench.expect_identical(ended, source)
    if not url.startswith("https://"):
        raise Failed(f"the URL is not https: {url}")


@case("TLS: trusted certificate", only=TLS, clients=ALL)
def tls_trusted(bench):
    tls(bench, "trusted", "--ca", bench.server.ca)


@case("TLS: big, chunks of 8 MiB", only=TLS, clients=ALL)
def tls_big(bench):
    tls(bench, "trusted", "--ca", bench.server.ca, "--chunk-size", "8M", size=bench.sizes.big)


@case("TLS: certificate of an unknown CA refused", only=TLS, clients=ALL)
def tls_unknown_ca(bench):
    refused(bench, bench.server.endpoints["trusted"])


@case("TLS: self-signed certificate refused", only=TLS, clients=ALL)
def tls_self_signed(bench):
    refused(bench, bench.server.endpoints["self-signed"], "--ca", bench.server.ca)


def refused(bench, endpoint, *flags):
    ended = bench.upload(bench.sources.get(1), *flags, endpoint=endpoint)
    bench.expect_failure(ended, NO_TLS, "certificate")
    if ended.seconds > 10 or bench.server.ids():
        raise Failed(f"refused only after {ended.seconds:.0f} s and {len(bench.server.ids())} uploads")


@case("TLS: self-signed with --insecure", only=TLS)
def tls_insecure(bench):
    tls(bench, "self-signed", "--insecure")


@case("TLS: tusd answers with an http Location", only=TLS, clients=ALL)
def tls_http_location(bench):
    tls(bench, "http-location", "--ca", bench.server.ca)


@case("TLS: nginx refuses large bodies (413)", only=TLS, clients=ALL)
def tls_limited(bench):
    tls(bench, "limited", "--ca", bench.server.ca, size=24 * MIB)


def expect_http2(bench):
    spoken = bench.server.protocols("PATCH")
    if spoken != {"HTTP/2.0"}:
        raise Failed(f"its PATCH requests came by {spoken}")


@case("TLS: HTTP/2", only=TLS, clients=MODERN)
def http2(bench):
    tls(bench, "http2", "--ca", bench.server.ca, "--chunk-size", "8M", size=bench.sizes.big)
    expect_http2(bench)


@case("TLS: HTTP/2, cut three times in mid-PATCH", only=TLS, clients=MODERN)
def http2_cut(bench):
    source = bench.sources.get(40 * MIB)
    port = int(re.search(r":(\d+)/", bench.server.endpoints["http2"])[1])
    with Proxy(port) as proxy:
        for count in (1 * MIB, 13 * MIB, 29 * MIB):
            proxy.at(count, CUT)
        endpoint = proxy.endpoint.replace("http:", "https:")
        bench.expect_identical(bench.upload(source, "--ca", bench.server.ca, endpoint=endpoint), source)
    expect_http2(bench)


@case("TLS: HTTP/2, 4 parts on one connection", only=TLS, clients=MODERN)
def http2_parallel(bench):
    source = bench.sources.get(bench.sizes.big)
    flags = ("--ca", bench.server.ca, "--parallel", 4)
    ended = bench.upload(source, *flags, endpoint=bench.server.endpoints["http2"])
    bench.expect_identical(ended, source, uploads=5)
    expect_http2(bench)
