"""Requests to put to a server and to its model: a conversation is a few of them in a row, on a connection each.

An upload that a request makes gets a name, by which later requests and answers speak of it, so that the answers of
two servers can be compared.
"""

import hashlib
import random
from base64 import b64encode
from dataclasses import dataclass, field

OFFSET_OCTET_STREAM = "application/offset+octet-stream"


@dataclass(frozen=True)
class Request:
    title: str
    method: str
    # The name of an upload, or a path.
    target: str
    headers: dict
    body: bytes = b""
    # How the upload is called that it makes.
    makes: str | None = None
    # Of the body, so many bytes are sent. Then the connection is lost, or others go first, until `Rest`.
    sends: int | None = None
    lost: bool = False


@dataclass(frozen=True)
class Rest:
    """The rest of the request that was left in the middle."""

    title: str = "the rest of the first"


@dataclass(frozen=True)
class Expire:
    """The lifetime of an upload passes."""

    name: str = "A"


@dataclass(frozen=True)
class Conversation:
    title: str
    steps: tuple
    # The server's settings.
    settings: dict = field(default_factory=dict)


def data(length):
    return bytes(n * 7 % 251 for n in range(length))


def request(title, method, target, body, defaults, others, **more):
    """`others` go over `defaults`, with `_` for `-`; `None` leaves a header out."""
    headers = {"Tus-Resumable": "1.0.0", **defaults}
    headers |= {name.replace("_", "-"): value for name, value in others.items()}
    present = {name: str(value) for name, value in headers.items() if value is not None}
    return Request(title, method, target, present, body, **more)


def post(title="POST", body=b"", makes="A", target="/files/", **headers):
    kind = OFFSET_OCTET_STREAM if body else None
    return request(
        title, "POST", target, body, {"Content-Type": kind, "Content-Length": len(body)}, headers, makes=makes
    )


def create(length, makes="A", **headers):
    return post(f"POST {makes}", makes=makes, Upload_Length=length, **headers)


def defer(**headers):
    return post("POST A", Upload_Defer_Length=1, **headers)


def patch(offset, body, title="PATCH", of="A", sends=None, lost=False, method="PATCH", **headers):
    defaults = {"Content-Type": OFFSET_OCTET_STREAM, "Upload-Offset": offset, "Content-Length": len(body)}
    return request(title, method, of, body, defaults, headers, sends=sends, lost=lost)


def plain(method, of="A", title=None, **headers):
    return request(title or f"{method} {of}", method, of, b"", {}, headers)


def head(of="A", title=None, **headers):
    return plain("HEAD", of, title, **headers)


def checksum(algorithm, content):
    name = {"sha1": "sha1", "md5": "md5", "sha256": "sha256"}[algorithm]
    return f"{algorithm} {b64encode(hashlib.new(name, content).digest()).decode()}"


def chunked(offset, body, trailer):
    """A PATCH in chunks with a digest behind them."""
    framed = b"%x\r\n%b\r\n0\r\nUpload-Checksum: %b\r\n\r\n" % (len(body), body, trailer.encode())
    return patch(
        offset, framed, "PATCH in chunks", Content_Length=None, Transfer_Encoding="chunked", Trailer="Upload-Checksum"
    )


UNKNOWN = "/files/00000000-0000-4000-8000-000000000000"
TEN = data(10)
PARTS = (
    create(4, "A", Upload_Concat="partial"),
    create(3, "B", Upload_Concat="partial"),
    patch(0, TEN[:4], "PATCH A"),
)
WHOLE_PARTS = (*PARTS, patch(0, TEN[4:7], "PATCH B", of="B"))


def final(parts, title="POST final", **headers):
    return post(title, makes="F", Upload_Concat=f"final;{parts}", **headers)


def conversations():
    def say(title, *steps, **settings):
        return Conversation(title, steps, settings)

    yield say("options", plain("OPTIONS", "/files/", Tus_Resumable=None))
    yield say("options, with a version", plain("OPTIONS", "/files/"))
    yield say("options, with another version", plain("OPTIONS", "/files/", Tus_Resumable="0.2.2"))
    yield say("options of an upload", create(10), plain("OPTIONS"))
    yield say("options, with a largest size", plain("OPTIONS", "/files/"), max_size=1000)

    # Versions.
    for title, version in (("no version", None), ("another version", "0.2.2"), ("two versions", "1.0.0,0.2.2")):
        yield say(f"creation, {title}", post(Upload_Length=10, Tus_Resumable=version))
        yield say(f"HEAD, {title}", create(10), head(title="HEAD", Tus_Resumable=version))
        yield say(f"PATCH, {title}", create(10), patch(0, TEN, Tus_Resumable=version))
        yield say(f"DELETE, {title}", create(10), plain("DELETE", Tus_Resumable=version))

    # Creation.
    yield say("creation", create(10))
    yield say("creation without a length", post())
    yield say("creation with a length and deferred", post(Upload_Length=10, Upload_Defer_Length=1))
    yield say("creation deferred", defer())
    for value in ("0", "2", "true"):
        yield say(f"creation deferred by {value}", post(Upload_Defer_Length=value))
    yield say("creation of nothing", create(0))
    for value in ("+3", "-1", "3abc", "0x3", "3.0", "1e3", "3 ", "3, 3", "٣", "007", "2147483648", "9007199254740993",
                  "9223372036854775807", "9223372036854775808", "18446744073709551616"):  # fmt: skip
        yield say(f"creation with length {value!r}", post(Upload_Length=value))
    yield say("creation with an empty length", post(Upload_Length=""))
    yield say("creation without Content-Length", post(Upload_Length=10, Content_Length=None))
    yield say("creation with a media type and no body", post(Upload_Length=10, Content_Type=OFFSET_OCTET_STREAM))
    yield say("creation at the endpoint without its slash", post(Upload_Length=10, target="/files"))
    yield say("creation at an upload", create(10), post("POST to A", target="A", makes="B", Upload_Length=10))
    yield say("creation elsewhere", post(Upload_Length=10, target="/elsewhere/"))
    yield say("creation of the largest size", create(1000), max_size=1000)
    yield say("creation over the largest size", create(1001), max_size=1000)

    # Metadata.
    for title, value in (
        ("one pair", "filename aGVsbG8="),
        ("two pairs", "filename aGVsbG8=,type dGV4dA=="),
        ("two pairs and a space", "filename aGVsbG8=, type dGV4dA=="),
        ("a key alone", "secret"),
        ("a key and a space", "secret "),
        ("bytes that are not UTF-8", "raw /w=="),
        ("no base64", "filename !!!"),
        ("base64 without padding", "filename aGVsbG8"),
        ("URL-safe base64", "raw _-8="),
        ("a key twice", "a YQ==,a Yg=="),
        ("two spaces", "a  YQ=="),
        ("an empty pair", "a YQ==,,b Yg=="),
        ("a comma at the end", "a YQ==,"),
        ("nothing", ""),
        ("a value with a space", "a YQ== YQ=="),
        ("a non-ASCII key", "ä YQ=="),
    ):
        yield say(f"metadata: {title}", post(Upload_Length=10, Upload_Metadata=value), head(title="HEAD"))

    # Creation with upload.
    yield say("creation with all", post(body=TEN, Upload_Length=10))
    yield say("creation with some", post(body=TEN[:4], Upload_Length=10), patch(4, TEN[4:]))
    yield say("creation with more than all", post(body=TEN, Upload_Length=9))
    yield say("creation with a body of another type", post(body=TEN, Upload_Length=10, Content_Type="text/plain"))
    yield say("creation with a body of no type", post(body=TEN, Upload_Length=10, Content_Type=None))
    yield say("creation deferred, with some", post(body=TEN[:4], Upload_Defer_Length=1))
    yield say(
        "creation with some and a digest",
        post(body=TEN[:4], Upload_Length=10, Upload_Checksum=checksum("sha1", TEN[:4])),
    )
    yield say(
        "creation with some and a wrong digest",
        post(body=TEN[:4], Upload_Length=10, Upload_Checksum=checksum("sha1", TEN)),
    )

    # HEAD, GET and what there is not.
    # GET of a whole upload is left out: it ends @tus/server 2.4.5 on Node 20 every other time.
    for method in ("HEAD", "GET", "DELETE", "PUT"):
        yield say(f"{method} of an unknown upload", plain(method, UNKNOWN, method))
    yield say("PATCH of an unknown upload", patch(0, TEN, of=UNKNOWN))
    yield say("HEAD of the endpoint", plain("HEAD", "/files/"))
    yield say("PATCH of the endpoint", patch(0, TEN, of="/files/"))
    yield say("DELETE of the endpoint", plain("DELETE", "/files/"))
    yield say("GET of an unfinished upload", create(10), plain("GET"))
    yield say("PUT of an upload", create(10), plain("PUT"))

    # PATCH.
    begun = (create(10), patch(0, TEN[:4], "PATCH, 4 bytes"))
    yield say("PATCH, whole", create(10), patch(0, TEN))
    yield say("PATCH, in pieces", *begun, patch(4, TEN[4:], "PATCH, the rest"))
    yield say("PATCH too low", *begun, patch(0, TEN[4:]))
    yield say("PATCH too low, of nothing", *begun, patch(0, b""))
    yield say("PATCH too high", *begun, patch(5, TEN[4:]))
    yield say("PATCH beyond the length", *begun, patch(11, TEN[4:]))
    yield say("PATCH without offset", *begun, patch(None, TEN[4:]))
    for value in ("+4", "-1", "4abc", "4.0", "", "04", "4, 4", "18446744073709551616"):
        yield say(f"PATCH at {value!r}", *begun, patch(value, TEN[4:]))
    yield say("PATCH of another type", create(10), patch(0, TEN, Content_Type="text/plain"))
    yield say("PATCH of no type", create(10), patch(0, TEN, Content_Type=None))
    yield say("PATCH of a type with parameters", create(10), patch(0, TEN, Content_Type=f"{OFFSET_OCTET_STREAM}; a=b"))
    yield say("PATCH of a type in capitals", create(10), patch(0, TEN, Content_Type=OFFSET_OCTET_STREAM.upper()))
    yield say("PATCH, empty", *begun, patch(4, b""))
    yield say("PATCH without Content-Length", *begun, patch(4, b"", Content_Length=None))
    yield say("PATCH with too much", *begun, patch(4, TEN))
    yield say("PATCH with too much at once", create(4), patch(0, TEN))
    yield say("PATCH after the end, of nothing", create(10), patch(0, TEN), patch(10, b"", "PATCH again"))
    yield say("PATCH after the end, of something", create(10), patch(0, TEN), patch(10, TEN, "PATCH again"))
    yield say("PATCH again from the start", create(10), patch(0, TEN), patch(0, TEN, "PATCH again"))
    yield say("PATCH of an upload of length 0", create(0), patch(0, b""))
    yield say("PATCH with the length it has", *begun, patch(4, TEN[4:], Upload_Length=10))
    yield say("PATCH with another length", *begun, patch(4, TEN[4:], Upload_Length=11))
    yield say("PATCH that breaks off, lost", create(10), patch(0, TEN, sends=4, lost=True), head(title="HEAD"))

    # A length that comes late.
    settled = patch(0, TEN[:4], "PATCH with the length", Upload_Length=10)
    yield say("late length, at once", defer(), patch(0, TEN, Upload_Length=10))
    yield say("late length, first", defer(), settled, patch(4, TEN[4:], "PATCH, the rest"))
    yield say("late length, last", defer(), patch(0, TEN[:4]), patch(4, TEN[4:], "PATCH with it", Upload_Length=10))
    yield say("late length, with nothing", defer(), patch(0, b"", Upload_Length=10))
    yield say("late length of nothing", defer(), patch(0, b"", Upload_Length=0))
    yield say("late length, the same again", defer(), settled, patch(4, TEN[4:], "PATCH again", Upload_Length=10))
    yield say("late length, another then", defer(), settled, patch(4, TEN[4:], "PATCH again", Upload_Length=11))
    yield say(
        "late length, less than is there", defer(), patch(0, TEN[:4]), patch(4, b"", "PATCH with it", Upload_Length=3)
    )
    yield say("late length, less than the body", defer(), patch(0, TEN, Upload_Length=9))
    yield say("late length, at a wrong offset", defer(), patch(1, TEN, Upload_Length=11))
    for value in ("+10", "-1", "10abc"):
        yield say(f"late length {value!r}", defer(), patch(0, TEN, Upload_Length=value))
    yield say("late length, over the largest", defer(), patch(0, TEN, Upload_Length=1001), max_size=1000)
    yield say("deferred, over the largest", defer(), patch(0, data(1001)), max_size=1000)
    yield say("PATCH that defers", create(10), patch(0, TEN, Upload_Defer_Length=1))

    # Override of the method.
    yield say("override by PATCH", create(10), patch(0, TEN, method="POST", X_HTTP_Method_Override="PATCH"))
    yield say(
        "override by DELETE", create(10), plain("POST", title="POST", X_HTTP_Method_Override="DELETE", Content_Length=0)
    )
    yield say(
        "override by HEAD", create(10), plain("POST", title="POST", X_HTTP_Method_Override="HEAD", Content_Length=0)
    )
    yield say("override by patch", create(10), patch(0, TEN, method="POST", X_HTTP_Method_Override="patch"))
    yield say("override by PUT", create(10), patch(0, TEN, method="POST", X_HTTP_Method_Override="PUT"))
    yield say("override of HEAD", create(10), head(title="HEAD", X_HTTP_Method_Override="DELETE"))

    # Checksums.
    right = checksum("sha1", TEN)
    for title, value in (
        ("right", right),
        ("right, sha256", checksum("sha256", TEN)),
        ("right, md5", checksum("md5", TEN)),
        ("wrong", checksum("sha1", TEN[1:])),
        ("of an unknown algorithm", "sha0 AAAA"),
        ("in capitals", right.replace("sha1", "SHA1")),
        ("without digest", "sha1"),
        ("that is no base64", "sha1 !!!"),
        ("that is too short", "sha1 AAAA"),
        ("with two spaces", right.replace(" ", "  ")),
    ):
        yield say(f"digest {title}", create(10), patch(0, TEN, Upload_Checksum=value))
    yield say(
        "digest wrong, and beyond the length", create(9), patch(0, TEN, Upload_Checksum=checksum("sha1", TEN[1:]))
    )
    yield say("digest wrong, at a wrong offset", create(10), patch(1, TEN, Upload_Checksum=checksum("sha1", TEN[1:])))
    yield say(
        "digest wrong, with a late length",
        defer(),
        patch(0, TEN, Upload_Length=10, Upload_Checksum=checksum("sha1", TEN[1:])),
    )
    yield say(
        "digest of a PATCH that breaks off",
        create(10),
        patch(0, TEN, sends=4, lost=True, Upload_Checksum=right),
        head(title="HEAD"),
    )
    yield say("digest behind, right", create(10), chunked(0, TEN, right))
    yield say("digest behind, wrong", create(10), chunked(0, TEN, checksum("sha1", TEN[1:])))

    # Termination.
    yield say(
        "DELETE", create(10), plain("DELETE"), plain("DELETE", title="DELETE again"), head(title="HEAD"), patch(0, TEN)
    )
    yield say("DELETE of a begun upload", *begun, plain("DELETE"))
    yield say("DELETE of a whole upload", create(10), patch(0, TEN), plain("DELETE"))

    # Concatenation.
    yield say("concatenation", *WHOLE_PARTS, final("{A} {B}"), head("F"))
    yield say("concatenation, the other way round", *WHOLE_PARTS, final("{B} {A}"))
    yield say("concatenation, by URLs", *WHOLE_PARTS, final("{origin}{A} {origin}{B}"))
    yield say("concatenation of one", *WHOLE_PARTS, final("{A}"))
    yield say("concatenation, one twice", *WHOLE_PARTS, final("{A} {A}"))
    yield say("concatenation, with metadata", *WHOLE_PARTS, final("{A} {B}", Upload_Metadata="filename aGVsbG8="))
    yield say("concatenation of nothing", final(""))
    yield say("concatenation of an unknown part", *WHOLE_PARTS, final(f"{{A}} {UNKNOWN}"))
    yield say("concatenation of what is no URL", *WHOLE_PARTS, final("{A} /files/!"))
    yield say("concatenation of what is no part", create(4, "A"), patch(0, TEN[:4]), final("{A}"))
    yield say("concatenation of a deleted part", *WHOLE_PARTS, plain("DELETE", "B"), final("{A} {B}"))
    yield say(
        "concatenation, unfinished",
        *PARTS,
        final("{A} {B}"),
        head("F"),
        patch(0, TEN[4:7], "PATCH B", of="B"),
        head("F", "HEAD F later"),
    )
    yield say("concatenation of a deferred part", defer(Upload_Concat="partial"), final("{A}"))
    yield say("concatenation, with a length", *WHOLE_PARTS, final("{A} {B}", Upload_Length=7))
    yield say("concatenation, deferred", *WHOLE_PARTS, final("{A} {B}", Upload_Defer_Length=1))
    yield say("concatenation, with a body", *WHOLE_PARTS, final("{A} {B}", body=TEN))
    yield say("concatenation, then PATCH", *WHOLE_PARTS, final("{A} {B}"), patch(7, b"", "PATCH F", of="F"))
    yield say("concatenation, then PATCH with more", *WHOLE_PARTS, final("{A} {B}"), patch(7, TEN, "PATCH F", of="F"))
    yield say("concatenation, then DELETE of a part", *WHOLE_PARTS, final("{A} {B}"), plain("DELETE", "A"))
    yield say("concatenation, then DELETE", *WHOLE_PARTS, final("{A} {B}"), plain("DELETE", "F"), head("A"))
    yield say("concatenation that is neither", post(Upload_Length=10, Upload_Concat="whole"))
    yield say(
        "concatenation, over the largest",
        create(600, "A", Upload_Concat="partial"),
        patch(0, data(600)),
        final("{A} {A}"),
        max_size=1000,
    )

    # Expiration.
    yield say(
        "expiration",
        create(10),
        patch(0, TEN[:4]),
        head(title="HEAD"),
        patch(4, TEN[4:], "PATCH, the rest"),
        lifetime=3600,
    )
    yield say("expiration, of a body with the creation", post(body=TEN[:4], Upload_Length=10), lifetime=3600)
    yield say("expired", create(10), Expire(), head(title="HEAD"), patch(0, TEN), plain("DELETE"), lifetime=3600)
    yield say("expired, whole", create(10), patch(0, TEN), Expire(), head(title="HEAD"), lifetime=3600)

    # Two at once.
    half = patch(0, TEN, "PATCH, half", sends=4)
    yield say("HEAD during a PATCH", create(10), half, head(title="HEAD"), Rest())
    yield say("PATCH during a PATCH", create(10), half, patch(0, TEN, "a second PATCH"), Rest())
    yield say("PATCH during a PATCH, from its offset", create(10), half, patch(4, TEN[4:], "a second PATCH"), Rest())
    yield say("DELETE during a PATCH", create(10), half, plain("DELETE"), Rest())


def drawn(seed, count):
    """Conversations of which the seed decides what is said of one upload, in which order."""
    for number in range(count):
        yield Conversation(f"drawn {number}", tuple(draw(random.Random(f"{seed} {number}"))))


def draw(generator):
    # How long the upload is, and how much of it is there; as far as it goes by the specification.
    length, offset = generator.choice((None, 0, 1, 10, 10, 10)), 0
    yield defer() if length is None else create(length)
    for number in range(generator.randint(3, 7)):

        def title(text, number=number):
            return f"{text}, {number}"

        rest = 10 if length is None else length - offset
        body = data(30)[offset:][: generator.randint(1, max(1, rest))]
        what = generator.choice((
            "PATCH", "PATCH", "PATCH", "PATCH", "of nothing", "too low", "too high", "with too much", "of another type",
            "right digest", "wrong digest", "with a length", "HEAD", "HEAD", "DELETE",
        ))  # fmt: skip
        if what == "HEAD":
            yield head(title=title("HEAD"))
        elif what == "DELETE":
            # Not every one is the end.
            if generator.random() < 0.3:
                yield plain("DELETE", title=title("DELETE"))
        elif what == "of nothing":
            yield patch(offset, b"", title("PATCH of nothing"))
        elif what == "too low":
            if offset:
                yield patch(generator.randrange(offset), body, title("PATCH too low"))
        elif what == "too high":
            yield patch(offset + generator.randint(1, 3), body, title("PATCH too high"))
        elif what == "of another type":
            yield patch(offset, body, title("PATCH of a wrong type"), Content_Type="text/plain")
        elif what == "wrong digest":
            yield patch(offset, body, title("PATCH with a wrong digest"), Upload_Checksum=checksum("sha1", body + b"!"))
        elif what == "with too much":
            if length is not None:
                yield patch(offset, data(rest + 1), title("PATCH with too much"))
        elif what == "with a length":
            if length is None:
                length = offset + len(body) + generator.choice((0, 3))
                yield patch(offset, body, title("PATCH with the length"), Upload_Length=length)
                offset += len(body)
        elif rest:
            digest = checksum("sha1", body) if what == "right digest" else None
            yield patch(offset, body, title(f"PATCH with a {what}" if digest else "PATCH"), Upload_Checksum=digest)
            offset += len(body)
