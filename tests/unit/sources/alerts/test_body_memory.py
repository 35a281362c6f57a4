"""However a body of 8 MiB is made, reading it takes at most so much memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from stormfold.sources.alerts.heads import MAX_BODY

MOST_MB = 180
"""The shipped limit is 512 MiB; the operator itself and the bodies that wait take about 200 of it."""

READ = """
import sys
from stormfold.sources.alerts.parser import AlertParser, BodyError
from stormfold.policy.router import Router

def kilobytes(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))

body = sys.stdin.buffer.read()
parser = AlertParser("ops", Router())
parser(b'{"version":"4","alerts":[{"status":"firing"}]}', post=None, now_ms=0)
before = kilobytes("VmRSS")
try:
    outcome = len(parser(body, post=None, now_ms=0).refusals)
except BodyError as exc:
    outcome = exc.reason.value
print(outcome, (kilobytes("VmHWM") - before) // 1024)
"""


def body(item: Callable[[int], str], most: int = MAX_BODY) -> bytes:
    """A body whose list of alerts has these items, as many of them as may be."""
    text, end = bytearray(b'{"version":"4","alerts":[' + item(0).encode()), b"]}"
    for number in range(1, most):
        part = f",{item(number)}".encode()
        if len(text) + len(part) + len(end) > MAX_BODY:
            break
        text += part
    return bytes(text + end)


@pytest.mark.parametrize(
    ("item", "most", "outcome"),
    [
        pytest.param(lambda _: "{}", MAX_BODY, "TooManyAlerts", id="empty objects"),
        pytest.param(lambda _: "[]", MAX_BODY, "TooManyAlerts", id="empty lists"),
        pytest.param(lambda n: '{"a":0.5}' if n else "NaN", MAX_BODY, "TooManyAlerts", id="a NaN"),
        pytest.param(lambda n: f'{{"🔥{n}":0.5}}', 399_000, "TooManyAlerts", id="objects within the bound"),
        pytest.param(lambda _: '"🔥"', 900_000, "TooManyAlerts", id="texts within the bound"),
        pytest.param(
            lambda n: '{"labels":{' + ",".join(f'"é{n}-{key}":0' for key in range(23)) + "}}",
            20_000,
            "20000",
            id="many labels",
        ),
    ],
)
def test_memory_that_reading_a_body_takes_is_bounded(
    item: Callable[[int], str], most: int, outcome: str
) -> None:
    run = subprocess.run(
        [sys.executable, "-c", READ], input=body(item, most), check=True, capture_output=True
    )
    found, megabytes = run.stdout.decode().split()
    assert found == outcome
    assert int(megabytes) < MOST_MB
