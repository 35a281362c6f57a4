"""Where our servers listen if no address is set: on all of them, whatever families there are."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest

from stormfold import listening
from stormfold.listening import everywhere


def reaches(family: socket.AddressFamily, address: str, port: int) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(5)
        return client.connect_ex((address, port)) == 0


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_both_families_reach_the_same_port() -> None:
    with everywhere(0) as server:
        port = server.getsockname()[1]
        reached = (
            reaches(socket.AF_INET, "127.0.0.1", port),
            has_ipv6() and reaches(socket.AF_INET6, "::1", port),
        )
        assert reached == (True, has_ipv6())


@pytest.mark.parametrize("refusal", [None, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
def test_without_ipv6_it_is_ipv4(refusal: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    create = socket.create_server

    def refuse(address: Any, **more: Any) -> socket.socket:
        if refusal is not None and more.get("family") == socket.AF_INET6:
            raise OSError(refusal, "no")
        return create(address, **more)

    monkeypatch.setattr(listening.socket, "create_server", refuse)
    monkeypatch.setattr(listening.socket, "has_dualstack_ipv6", lambda: refusal is not None)
    with everywhere(0) as server:
        assert server.family == socket.AF_INET
        assert reaches(socket.AF_INET, "127.0.0.1", server.getsockname()[1])


def test_port_that_is_taken_in_one_family_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="Address already in use"):
            everywhere(port)
