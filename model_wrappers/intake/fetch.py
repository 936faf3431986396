"""Fetch a photo from a public address, and from nowhere else.

Every hop's name is resolved once, every address of it must be public, and the connection goes to the very address that
was checked: a redirect or a changed DNS answer cannot lead inside.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from model_wrappers.intake.errors import IMAGE_TOO_LARGE, URL_REFUSED, PhotoError

FETCH_TIMEOUT_S = 5.0
MAX_REDIRECTS = 3
MAX_LOOKUPS = 8  # of names at once; one that the resolver hangs on counts until it gives up
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
URL_CHARACTERS = "/?:@!$&'()*+,;=-._~%"  # RFC 3986; everything else is written as %XX
READ_BYTES = 64 * 1024
DEFAULT_PORTS = {"http": 80, "https": 443}
REDIRECTS = (301, 302, 303, 307, 308)
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Sequence[str]]
_LOOKUPS = threading.BoundedSemaphore(MAX_LOOKUPS)


def resolve(host: str, port: int) -> Sequence[str]:
    """Every address of a name, as text."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def is_public(address: Address) -> bool:
    """Whether anyone on the Internet could be at ``address``; an IPv4 address inside an IPv6 one must be public too."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None and not is_public(inner):
            return False
    return address.is_global and not address.is_multicast


def fetch_photo(url: str, *, max_bytes: int, resolve: Resolve = resolve) -> bytes:
    """The body at ``url``. PhotoError for anything but a 200 of at most ``max_bytes`` from a public address."""
    deadline = time.monotonic() + FETCH_TIMEOUT_S
    for _ in range(MAX_REDIRECTS + 1):
        parts = _parse(url)
        address = _public_address(parts, resolve, deadline)
        with _connection(parts, address, deadline) as connection:
            location, body = _get(connection, parts, max_bytes)
        if location is None:
            return body
        url = _joined(url, location)
    raise _refused(f"it is redirected more than {MAX_REDIRECTS} times")


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as exc:
        raise _refused(f"its redirect does not parse ({exc})") from exc


def _refused(cause: str) -> PhotoError:
    return PhotoError(URL_REFUSED, f"The photo's address cannot be used: {cause}.")


def _parse(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as exc:
        raise _refused(f"it does not parse ({exc})") from exc
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or parts.username is not None:
        raise _refused("only http://HOST/… and https://HOST/… without a login are fetched")
    return parts


def _port(parts: SplitResult) -> int:
    return parts.port or DEFAULT_PORTS[parts.scheme]


def _public_address(parts: SplitResult, resolve: Resolve, deadline: float) -> str:
    host = parts.hostname or ""
    try:
        found = _look_up(lambda: resolve(host, _port(parts)), deadline)
        addresses = [ipaddress.ip_address(text.partition("%")[0]) for text in found]
    except TimeoutError as exc:
        raise _refused(f"{host} was not found in {FETCH_TIMEOUT_S:g} s") from exc
    except (OSError, ValueError, UnicodeError) as exc:
        raise _refused(f"{host} has no address") from exc
    if not addresses or not all(is_public(address) for address in addresses):
        raise _refused(f"{host} is not a public address")
    return str(addresses[0])


def _look_up(find: Callable[[], Sequence[str]], deadline: float) -> Sequence[str]:
    """``find()`` in a thread of its own: the system's resolver knows no deadline. Raises ``TimeoutError``, or what it did."""
    answer: queue.SimpleQueue[Sequence[str] | Exception] = queue.SimpleQueue()

    places = _LOOKUPS

    def run() -> None:
        try:
            answer.put(find())
        except Exception as exc:  # noqa: BLE001  - raised where it is waited for
            answer.put(exc)
        finally:
            places.release()

    if not places.acquire(timeout=max(deadline - time.monotonic(), 0)):
        raise TimeoutError
    threading.Thread(target=run, daemon=True).start()
    try:
        found = answer.get(timeout=max(deadline - time.monotonic(), 0))
    except queue.Empty as exc:
        raise TimeoutError from exc
    if isinstance(found, Exception):
        raise found
    return found


@contextlib.contextmanager
def _connection(parts: SplitResult, address: str, deadline: float) -> Iterator[http.client.HTTPConnection]:
    """A connection whose name is the URL's and whose socket goes to the checked address; cut at ``deadline``."""
    host, timeout_s = parts.hostname or "", max(deadline - time.monotonic(), 0.01)
    try:
        with contextlib.ExitStack() as stack:
            sock = stack.enter_context(socket.create_connection((address, _port(parts)), timeout=timeout_s))
            is_cut = stack.enter_context(_cut_at(deadline, sock))
            if parts.scheme == "https":
                sock = stack.enter_context(ssl.create_default_context().wrap_socket(sock, server_hostname=host))
            connection = http.client.HTTPConnection(host, _port(parts), timeout=timeout_s)
            connection.sock = sock
            connection.default_port = DEFAULT_PORTS[parts.scheme]  # which the Host header leaves out
            yield connection
            if is_cut():  # what came until then looks whole where the server gave no length
                raise TimeoutError
    except (OSError, http.client.HTTPException) as exc:
        raise _refused(f"{host} did not send it in {FETCH_TIMEOUT_S:g} s ({type(exc).__name__})") from exc


@contextlib.contextmanager
def _cut_at(deadline: float, sock: socket.socket) -> Iterator[Callable[[], bool]]:
    """Shut the connection down at ``deadline``: each byte of a server that sends one now and then is within its time-out.

    What it gives tells whether that has happened.
    """
    same, done = sock.dup(), threading.Event()  # TLS takes the original over

    def cut() -> None:
        done.set()
        with contextlib.suppress(OSError):  # the server has closed it
            same.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(deadline - time.monotonic(), 0), cut)
    timer.daemon = True
    timer.start()
    try:
        yield done.is_set
    finally:
        timer.cancel()
        timer.join()
        same.close()


def _get(connection: http.client.HTTPConnection, parts: SplitResult, max_bytes: int) -> tuple[str | None, bytes]:
    """(redirect target, b"") or (None, body)."""
    path = quote(parts.path or "/", safe=URL_CHARACTERS)
    target = f"{path}?{quote(parts.query, safe=URL_CHARACTERS)}" if parts.query else path
    connection.request("GET", target, headers={"Accept": "image/*"})
    with connection.getresponse() as answer:
        if answer.status in REDIRECTS and (location := answer.getheader("Location")):
            return location, b""
        if answer.status != 200:
            raise _refused(f"{parts.hostname} answered {answer.status}")
        body = bytearray()
        while chunk := answer.read(READ_BYTES):
            body += chunk
            if len(body) > max_bytes:
                raise PhotoError(IMAGE_TOO_LARGE, f"The photo at the address has more than {max_bytes:,} bytes.")
        if answer.length:
            raise http.client.IncompleteRead(bytes(body), answer.length)
        return None, bytes(body)
