"""Runs in a network namespace of its own, holds it, and does there what it is asked to do.

It serves, calls, sends and asks as a container's process would. One request a connection on a unix
socket, one answer, both a line of JSON. It ends with its standard input, so that a namespace never
outlives whoever made it. This file runs by itself and imports nothing of the project.

    python inside.py SOCKET
"""

import contextlib
import errno
import http.client
import http.server
import itertools
import json
import os
import random
import secrets
import socket
import socketserver
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

Answer = dict[str, Any]
ANY = "0.0.0.0"
DNS_PORT = 53
DNS_TYPE_A, DNS_CLASS_IN, DNS_NAME_ERROR = 1, 1, 3
DNS_TTL_SECONDS = 30
ECHO_REQUEST, ECHO_REPLY = 8, 0

own_ports = itertools.cycle(random.sample(range(30_000, 61_000), 31_000))
"""For calls, each its own: of a port that was used a moment ago no new connection is told."""
kept: dict[str, http.client.HTTPConnection] = {}
"""Connections that stay open between two requests, by the name that a test gave them."""


class Page(http.server.BaseHTTPRequestHandler):
    """Answers 200 to whatever it is asked."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        """Say that the request arrived."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


for _method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
    setattr(Page, f"do_{_method}", Page.answer)


class Pages(http.server.ThreadingHTTPServer):
    """A server of them; many may call at once."""

    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A caller that went away is no error."""


def serve(*, ports: Sequence[int]) -> Answer:
    """Answer HTTP on these ports of TCP, and send back what comes on the same ports of UDP."""
    for port in ports:
        _in_background(Pages((ANY, port), Page).serve_forever)
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind((ANY, port))
        _in_background(lambda bound=datagrams: _answer_datagrams(bound, bytes))
    return {}


def set_network(*, settings: Mapping[str, str]) -> Answer:
    """Set settings of the network; what /proc shows of it depends on who looks."""
    for name, value in settings.items():
        with open(f"/proc/sys/net/{name}", "w", encoding="ascii") as file:  # noqa: PTH123
            file.write(value)
    return {}


def discard(*, port: int) -> Answer:
    """Take datagrams on a port and never answer."""
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind((ANY, port))
    _in_background(lambda: _answer_datagrams(datagrams, None))
    return {}


def serve_dns(*, names: Mapping[str, str]) -> Answer:
    """Be a name server (UDP and TCP); a name may begin with `*.`, what is not there is NXDOMAIN."""

    def respond(query: bytes) -> bytes:
        name, end = _dns_name(query)
        parents = [name, *(f"*.{rest}" for rest in _parents(name))]
        found = next((names[each] for each in parents if each in names), None)
        question = query[12 : end + 4]
        asked = struct.unpack_from(">H", query, end)[0]
        answers = []
        if found is not None and asked == DNS_TYPE_A:
            head = struct.pack(">HHHIH", 0xC00C, DNS_TYPE_A, DNS_CLASS_IN, DNS_TTL_SECONDS, 4)
            answers.append(head + socket.inet_aton(found))
        flags = 0x8580 | (0 if found is not None else DNS_NAME_ERROR)
        header = query[:2] + struct.pack(">HHHHH", flags, 1, len(answers), 0, 0)
        return header + question + b"".join(answers)

    class Stream(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError, struct.error, IndexError):
                size = struct.unpack(">H", _exactly(self.request, 2))[0]
                answer = respond(_exactly(self.request, size))
                self.request.sendall(struct.pack(">H", len(answer)) + answer)

    class Streams(socketserver.ThreadingTCPServer):
        allow_reuse_address = daemon_threads = True

    _in_background(Streams((ANY, DNS_PORT), Stream).serve_forever)
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind((ANY, DNS_PORT))
    _in_background(lambda: _answer_datagrams(datagrams, respond))
    return {}


def connect(*, ip: str, port: int, timeout: float, source: str) -> Answer:
    """Open a connection and close it again."""
    with _socket(socket.SOCK_STREAM, source, timeout) as sock:
        error = _error(lambda: sock.connect((ip, port)))
        own = _own(sock)
    return {"error": error, **own}


def curl(
    *,
    ip: str,
    port: int,
    method: str,
    path: str,
    headers: Mapping[str, str],
    timeout: float,
    source: str,
    keep: str,
) -> Answer:
    """Make a request; `keep` names a connection that stays open, and is used again."""
    connection = kept.get(keep) or http.client.HTTPConnection(ip, port)
    status = None

    def ask() -> None:
        nonlocal status
        if connection.sock is None:
            connection.sock = _socket(socket.SOCK_STREAM, source, timeout)
            connection.sock.connect((ip, port))
        connection.sock.settimeout(timeout)
        connection.request(method, path, headers=dict(headers))
        response = connection.getresponse()
        response.read()
        status = response.status

    error = _error(ask)
    own = _own(connection.sock)
    if keep and not error:
        kept[keep] = connection
    else:
        kept.pop(keep, None)
        connection.close()
    return {"error": error, **own, "status": status}


def udp(*, ip: str, port: int, text: str, timeout: float, source: str) -> Answer:
    """Send a datagram, and wait for one that comes back; no timeout: send it only."""
    with _socket(socket.SOCK_DGRAM, source, timeout) as sock:
        answer = b""

        def ask() -> None:
            nonlocal answer
            sock.connect((ip, port))
            sock.send(text.encode())
            if timeout:
                answer = sock.recv(65535)

        error = _error(ask)
        own = _own(sock)
    return {"error": error, **own, "text": answer.decode(errors="replace")}


def flood(*, ip: str, port: int, count: int) -> Answer:
    """Send so many datagrams as fast as it goes."""
    failed = 0
    with _socket(socket.SOCK_DGRAM, "", None) as sock:
        sock.connect((ip, port))
        for _ in range(count):
            try:
                sock.send(b"x")
            except OSError:
                failed += 1
        own = _own(sock)
    return {"error": "", **own, "sent": count - failed}


def ping(*, ip: str, timeout: float, source: str) -> Answer:
    """Send an echo request and wait for its reply."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        if source:
            sock.bind((source, 0))
        own = secrets.randbelow(0xFFFF) + 1
        head = struct.pack(">BBHHH", ECHO_REQUEST, 0, 0, own, 1)
        packet = struct.pack(">BBHHH", ECHO_REQUEST, 0, _checksum(head), own, 1)

        def ask() -> None:
            sock.sendto(packet, (ip, 0))
            deadline = time.monotonic() + timeout
            while (left := deadline - time.monotonic()) > 0:
                sock.settimeout(left)
                got, sender = sock.recvfrom(65535)
                body = got[(got[0] & 15) * 4 :]
                if sender[0] == ip and (body[0], body[4:6]) == (ECHO_REPLY, head[4:6]):
                    return
            raise TimeoutError("timed out")

        error = _error(ask)
    return {"error": error}


def dns(*, name: str, server: str, timeout: float, tcp: bool) -> Answer:
    """Ask for a name's address."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    query = secrets.token_bytes(2) + struct.pack(">HHHHH", 0x0100, 1, 0, 0, 0)
    query += labels + struct.pack(">BHH", 0, DNS_TYPE_A, DNS_CLASS_IN)
    kind = socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM
    with _socket(kind, "", timeout) as sock:
        answer = b""

        def ask() -> None:
            nonlocal answer
            sock.connect((server, DNS_PORT))
            if not tcp:
                sock.send(query)
                answer = sock.recv(4096)
                return
            sock.sendall(struct.pack(">H", len(query)) + query)
            answer = _exactly(sock, struct.unpack(">H", _exactly(sock, 2))[0])

        error = _error(ask)
        own = _own(sock)
    code = answer[3] & 15 if answer else None
    return {"error": error, **own, "code": code, "addresses": _dns_addresses(answer)}


COMMANDS: Mapping[str, Callable[..., Answer]] = {
    each.__name__: each
    for each in (set_network, serve, serve_dns, discard, connect, curl, udp, flood, ping, dns)
}


class Request(socketserver.StreamRequestHandler):
    """One command."""

    commands: ClassVar[Mapping[str, Callable[..., Answer]]] = COMMANDS

    def handle(self) -> None:
        """Do it, and say what came of it; `failed` is for what no peer is to blame for."""
        arguments = json.loads(self.rfile.readline())
        started = time.monotonic()
        try:
            answer = self.commands[arguments.pop("do")](**arguments)
        except Exception as error:  # noqa: BLE001 - whoever asked is told
            answer = {"failed": f"{type(error).__name__}: {error}"}
        answer["seconds"] = time.monotonic() - started
        with contextlib.suppress(BrokenPipeError):
            self.wfile.write(json.dumps(answer).encode() + b"\n")


class Commands(socketserver.ThreadingUnixStreamServer):
    """The socket that requests come on."""

    request_queue_size = 128
    daemon_threads = True


def _in_background(work: Callable[[], object]) -> None:
    threading.Thread(target=work, daemon=True).start()


def _answer_datagrams(sock: socket.socket, respond: Callable[[bytes], bytes] | None) -> None:
    while True:
        got, sender = sock.recvfrom(65535)
        if respond is None:
            continue
        with contextlib.suppress(OSError, struct.error, IndexError):
            sock.sendto(respond(got), sender)


def _socket(kind: socket.SocketKind, source: str, timeout: float | None) -> socket.socket:
    """Return a socket that has its port already, so that its flows can be told from others'."""
    sock = socket.socket(socket.AF_INET, kind)
    sock.settimeout(timeout or None)
    while True:
        try:
            sock.bind((source or ANY, next(own_ports)))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return sock


def _own(sock: socket.socket | None) -> Answer:
    """Return from where a call was made."""
    source, port = sock.getsockname() if sock is not None else ("", 0)
    return {"source": source, "port": port}


def _error(work: Callable[[], None]) -> str:
    """Return what went wrong on the way, in one word or a few."""
    try:
        work()
    except TimeoutError:
        return "timed out"
    except ConnectionRefusedError:
        return "refused"
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _exactly(sock: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        more = sock.recv(size - len(got))
        if not more:
            raise ConnectionError("the other side closed")
        got += more
    return got


def _parents(name: str) -> Iterator[str]:
    while "." in name:
        name = name.partition(".")[2]
        yield name


def _dns_name(message: bytes, at: int = 12) -> tuple[str, int]:
    """Return the name that stands there, uncompressed, and where it ends."""
    labels = []
    while size := message[at]:
        labels.append(message[at + 1 : at + 1 + size].decode())
        at += 1 + size
    return ".".join(labels).lower(), at + 1


def _dns_addresses(message: bytes) -> list[str]:
    """Return the IPv4 addresses of an answer whose names are compressed, as ours are."""
    if not message:
        return []
    count = struct.unpack_from(">H", message, 6)[0]
    at = _dns_name(message)[1] + 4
    addresses = []
    for _ in range(count):
        at = at + 2 if message[at] & 0xC0 == 0xC0 else _dns_name(message, at)[1]
        kind, _, _, size = struct.unpack_from(">HHIH", message, at)
        at += 10
        if kind == DNS_TYPE_A:
            addresses.append(socket.inet_ntoa(message[at : at + size]))
        at += size
    return addresses


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def main(path: str) -> None:
    """Do what is asked until the input ends."""
    _in_background(Commands(path, Request).serve_forever)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
