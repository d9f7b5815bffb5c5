"""Free ports on 127.0.0.1."""

from __future__ import annotations

import random
import socket

from local.environment import HOST

# Below the range from which the operating system picks ports of outgoing connections.
_LOWEST, _HIGHEST = 15_000, 32_000


def is_free(port: int) -> bool:
    """Return True if a server can listen on this port."""
    with socket.socket() as probe:
        # Connections of an earlier server in TIME_WAIT do not block a port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def free_port_base(count: int = 3) -> int:
    """Return the first of `count` consecutive free ports.

    Raises:
        OSError: no such ports were found.
    """
    for _ in range(200):
        base = random.randrange(_LOWEST, _HIGHEST)
        if all(is_free(base + offset) for offset in range(count)):
            return base
    raise OSError(f"Found no {count} consecutive free ports on {HOST}. Close some programs and try again.")
