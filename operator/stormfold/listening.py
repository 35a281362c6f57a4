"""Where our servers listen."""

import errno
import socket

EVERYWHERE = ("", "::")
"""What stands for all addresses of this host, of IPv6 and of IPv4."""


def everywhere(port: int, *, backlog: int = 128) -> socket.socket:
    """A socket that listens on all addresses: of both families, or of IPv4 where there is no IPv6.

    Raises:
        OSError: the port is taken.
    """
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(
                ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=backlog
            )
        except OSError as exc:
            if exc.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise  # otherwise there is the family, and no address of it
    return socket.create_server(("0.0.0.0", port), backlog=backlog)  # noqa: S104 - they come from outside
