"""What the port of the probes says, and to whom."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from lab.process import free_port
from stormfold.probes import Probes
from stormfold.readiness import Readiness


async def test_what_is_no_http_is_refused_without_a_word_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    nothing = cast("Any", None)  # nobody asks whether we are ready
    probes = Probes(Readiness(nothing, nothing), host="127.0.0.1", port=port)
    await probes.start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nno header\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.0 400 ")
        writer.close()
        await writer.wait_closed()
    finally:
        await probes.stop()
    assert caplog.records == []
