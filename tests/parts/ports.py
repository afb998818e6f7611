"""Ports of loopback for parts that must be told theirs before they start."""

import errno
import random
import socket

STEADY = range(20000, 30000)
"""Below what systems give to outgoing connections, and to services of Kubernetes."""
_GIVEN: set[int] = set()


def free() -> int:
    """Return a port that nobody holds at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def steady(address: str = "127.0.0.1") -> int:
    """Return a free port for a server that comes back to it, which no connection takes meanwhile.

    A client that keeps trying a port of the other range can even end up connected to itself. None
    is given twice. Raises OSError where the address is not this machine's.
    """
    while True:
        port = random.choice(STEADY)
        if port in _GIVEN:
            continue
        with socket.socket() as probe:
            try:
                probe.bind((address, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
        _GIVEN.add(port)
        return port
