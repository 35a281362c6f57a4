"""`stormfold gate`: what it does to gates, and what it says."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import datetime

import pytest
from tests.harness.api import Api
from tests.harness.resources import storm_gate

from lab.controlplane import ControlPlane

Command = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def gate(control_plane: ControlPlane, namespace: str) -> Command:
    """Runs `stormfold gate`; gives its exit code, and what it printed and complained, with NS for the
    namespace."""

    async def run(*arguments: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "stormfold", "gate", *arguments),
            env={"PATH": os.environ["PATH"], "KUBECONFIG": str(control_plane.kubeconfig), "USER": "alice"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        said = [text.decode().replace(namespace, "NS") for text in (out, err)]
        return process.returncode or 0, said[0], said[1]

    return run


async def test_holds_are_made_listed_and_lifted_each_by_its_owner(
    gate: Command, api: Api, namespace: str
) -> None:
    began = time.time()
    code, out, err = await gate("hold", "freeze", "-n", namespace, "--reason", "a move", "--for", "1h30m")
    assert (code, err) == (0, "")
    match = re.fullmatch(
        r"StormGate NS/freeze: held; 0 requests\n  Hold by alice until ([0-9T:Z-]+): a move\n", out
    )
    assert match
    until = datetime.fromisoformat(match[1]).timestamp()
    assert 5399 <= until - began <= 5460
    code, out, err = await gate(
        *("hold", "freeze", "-n", namespace, "--by", "bob", "--stop", "--reason", "it deletes data")
    )
    alices = f"  Hold by alice until {match[1]}: a move\n"
    both = f"StormGate NS/freeze: held; 0 requests\n{alices}  Stop by bob: it deletes data\n"
    assert (code, out, err) == (0, both, "")
    assert await gate("status", "-n", namespace) == (0, both, "")
    assert await gate("lift", "freeze", "-n", namespace, "--by", "carol") == (
        1,
        "",
        "stormfold: StormGate NS/freeze has no hold of carol; it is held by alice, bob\n",
    )
    assert await gate("lift", "freeze", "-n", namespace, "--by", "bob") == (
        0,
        f"StormGate NS/freeze: held; 0 requests\n{alices}",
        "",
    )
    # The same owner holds anew, without an end.
    assert await gate("hold", "freeze", "-n", namespace, "--reason", "longer") == (
        0,
        "StormGate NS/freeze: held; 0 requests\n  Hold by alice: longer\n",
        "",
    )
    found = await api.get("StormGate", "freeze", namespace)
    assert found
    assert found["spec"]["holds"] == [{"by": "alice", "reason": "longer", "verdict": "Hold"}]
    assert await gate("lift", "freeze", "-n", namespace) == (
        0,
        "StormGate NS/freeze: not held; 0 requests\n",
        "",
    )


async def test_hold_that_was_made_otherwise_is_lifted_and_the_rest_stays(
    gate: Command, api: Api, namespace: str
) -> None:
    holds = [{"by": name, "reason": "r"} for name in ("bob", "alice")]
    await api.create(storm_gate(namespace, "own", {"selector": {"policies": ["team"]}, "holds": holds}))
    assert await gate("lift", "own", "-n", namespace) == (
        0,
        "StormGate NS/own: held; 0 requests, of those that it selects\n  Hold by bob: r\n",
        "",
    )


async def test_what_cannot_be_done_is_said(gate: Command, namespace: str) -> None:
    assert await gate("status", "-n", namespace) == (
        0,
        "no StormGate: consumers may begin on every request\n",
        "",
    )
    for arguments, said in (
        (("lift", "none"), "StormGate NS/none does not exist: nothing is held by it"),
        (("status", "none"), "no StormGate none in NS"),
        (
            ("hold", "--reason", "r", "--for", "soon"),
            "--for 'soon' is not a duration: must be one to four numbers with h, m, s or ms, such as 1h30m",
        ),
        (("hold", "--reason", "r", "--by", ""), "--by must be given: $USER is not set"),
        (
            ("hold", "../signals", "--reason", "r"),
            "'../signals' is no name of an object: lower case, digits, '-' and '.'",
        ),
    ):
        assert await gate(*arguments, "-n", namespace) == (1, "", f"stormfold: {said}\n"), arguments
