"""A network namespace with a process in it, and what a test may have that process do.

The process is inside.py. Knows nothing of Cilium.
"""

import json
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.parts import cache

INSIDE = Path(__file__).parent / "inside.py"
PATIENCE_SECONDS = 2.0
"""How long a call waits for its answer where a test says nothing else."""
SLACK_SECONDS = 30.0
END_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Call:
    """What came of a call."""

    error: str
    """Empty; `timed out`, which is how a stopped packet looks; `refused`; or another fault."""
    seconds: float
    source: str = ""
    """The caller's own address, and its port: by these the call's flows are found."""
    port: int = 0
    """Each call has another one; 0 where there is none."""
    status: int | None = None
    """Of HTTP."""
    text: str = ""
    """What came back, of UDP."""
    code: int | None = None
    """Of DNS: 0, 3 for a name that is not there, 5 where it was refused."""
    addresses: tuple[str, ...] = ()
    """Of DNS."""

    @property
    def ok(self) -> bool:
        """Return whether an answer came."""
        return not self.error


class Host:
    """A network namespace of one's own; whoever made it closes it."""

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        environment: Mapping[str, str],
        mounts: Sequence[str] = (),
    ) -> None:
        """`mounts`: a command that runs first in a mount namespace of its own, and goes on."""
        self.name = name
        folder.mkdir(parents=True, exist_ok=True)
        self._socket = folder / "inside.sock"
        # Whoever had this name before is gone, and its socket's file may not be.
        self._socket.unlink(missing_ok=True)
        self.log = folder / "inside.log"
        command = ["unshare", "--net"]
        if mounts:
            command += ["--mount", "--propagation", "slave"]
        command += ["--", *mounts, sys.executable, "-I", str(INSIDE), str(self._socket)]
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Return the process that holds the namespace: `nsenter --target PID --net COMMAND`."""
        return self._process.pid

    @property
    def root(self) -> Path:
        """Return its file system, as seen from outside."""
        return Path(f"/proc/{self.pid}/root")

    def ready(self) -> None:
        """Wait until it can be used. Raises Missing."""
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            self.close()
            raise cache.Missing(f"no namespace for {self.name}: {self.log.read_text('utf-8')}")

    def enter(self, *command: str, mounts: bool = False) -> list[str]:
        """Return the command that runs one in the namespace."""
        own = ["--mount"] if mounts else []
        return ["nsenter", "--target", str(self.pid), "--net", *own, "--", *command]

    def configure(self, *lines: str) -> None:
        """Run lines of `ip` in the namespace. Raises Missing."""
        run_ip(lines, within=self.enter())

    def set(self, settings: Mapping[str, str]) -> None:
        """Set settings of the namespace's network, such as `ipv4/ip_forward`. Raises OSError."""
        self._do("set_network", settings=dict(settings))

    def close(self) -> None:
        """End the process, and with it the namespace. Idempotent."""
        self._process.kill()
        self._process.wait(END_SECONDS)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def serve(self, *ports: int) -> None:
        """Answer HTTP on these ports, and send datagrams back that come to the same ones."""
        self._do("serve", ports=ports)

    def discard(self, port: int) -> None:
        """Take datagrams on a port and never answer."""
        self._do("discard", port=port)

    def serve_dns(self, names: Mapping[str, str]) -> None:
        """Be a name server for these names, which may begin with `*.`; others are not there."""
        self._do("serve_dns", names=names)

    def curl(
        self,
        ip: str,
        port: int,
        path: str = "/",
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        timeout: float = PATIENCE_SECONDS,
        source: str = "",
        keep: str = "",
    ) -> Call:
        """Make an HTTP request; over the connection `keep` where that is open, which stays so."""
        return self._call(
            "curl",
            ip=ip,
            port=port,
            method=method,
            path=path,
            headers=dict(headers or {}),
            timeout=timeout,
            source=source,
            keep=keep,
        )

    def connect(
        self, ip: str, port: int, *, timeout: float = PATIENCE_SECONDS, source: str = ""
    ) -> Call:
        """Open a TCP connection; a timeout below 1 s sends one SYN and none again."""
        return self._call("connect", ip=ip, port=port, timeout=timeout, source=source)

    def udp(
        self,
        ip: str,
        port: int,
        text: str = "x",
        *,
        timeout: float = PATIENCE_SECONDS,
        source: str = "",
    ) -> Call:
        """Send one datagram and wait for one that comes back; timeout 0: send it only."""
        return self._call("udp", ip=ip, port=port, text=text, timeout=timeout, source=source)

    def ping(self, ip: str, *, timeout: float = PATIENCE_SECONDS, source: str = "") -> Call:
        """Send one echo request and wait for its reply."""
        return self._call("ping", ip=ip, timeout=timeout, source=source)

    def dns(
        self, name: str, server: str, *, timeout: float = PATIENCE_SECONDS, tcp: bool = False
    ) -> Call:
        """Ask a name server for the address of a name."""
        return self._call("dns", name=name, server=server, timeout=timeout, tcp=tcp)

    def flood(self, ip: str, port: int, count: int) -> Call:
        """Send so many datagrams as fast as it goes; they all have the same source port."""
        return self._call("flood", ip=ip, port=port, count=count, within=600.0)

    def _call(self, command: str, *, within: float = 0.0, **arguments: Any) -> Call:
        within += arguments.get("timeout", 0.0)
        answer = self._do(command, within=within, **arguments)
        answer["addresses"] = tuple(answer.pop("addresses", ()))
        answer.pop("sent", None)
        return Call(**answer)

    def _do(self, command: str, *, within: float = 0.0, **arguments: Any) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(within + SLACK_SECONDS)
            sock.connect(str(self._socket))
            sock.sendall(json.dumps({"do": command, **arguments}).encode() + b"\n")
            answer: dict[str, Any] = json.loads(sock.makefile("rb").readline())
        if "failed" in answer:
            raise OSError(f"{self.name}, {command}: {answer['failed']}")
        return answer


def run_ip(lines: Sequence[str], *, within: Sequence[str] = ()) -> None:
    """Run lines of `ip`, all or up to the first that fails. Raises Missing."""
    done = subprocess.run(
        [*within, "ip", "-batch", "-"],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise cache.Missing(f"the network cannot be made: {done.stderr.strip()}")
