"""`stormfold gate`: what it does to gates, and what it says."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest
from tests.harness.api import Api
from tests.harness.api_proxy import ApiProxy
from tests.harness.eventually import eventually
from tests.harness.resources import storm_gate

from lab.controlplane import ControlPlane

NOT_COUNTED = "stormfold has not counted its requests yet"
"""No operator runs here."""
Command = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def gate(gate_by: Callable[[Path], Command], control_plane: ControlPlane) -> Command:
    """Runs `stormfold gate`; gives its exit code, and what it printed and complained, with NS for the
    namespace."""
    return gate_by(control_plane.kubeconfig)


@pytest.fixture
def gate_by(namespace: str) -> Callable[[Path], Command]:
    """The same with a kubeconfig."""
    return lambda kubeconfig: partial(typed, namespace, kubeconfig)


async def typed(namespace: str, kubeconfig: Path, *arguments: str) -> tuple[int, str, str]:
    """What alice types."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stormfold", "gate", *arguments),
        env={"PATH": os.environ["PATH"], "KUBECONFIG": str(kubeconfig), "USER": "alice"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    said = [text.decode().replace(namespace, "NS") for text in (out, err)]
    return process.returncode or 0, said[0], said[1]


async def test_holds_are_made_listed_and_lifted_each_by_its_owner(
    gate: Command, api: Api, namespace: str
) -> None:
    began = time.time()
    code, out, err = await gate("hold", "freeze", "-n", namespace, "--reason", "a move", "--for", "1h30m")
    assert (code, err) == (0, "")
    match = re.fullmatch(
        rf"StormGate NS/freeze: held; {NOT_COUNTED}\n  Hold by alice until ([0-9T:Z-]+): a move\n", out
    )
    assert match
    until = datetime.fromisoformat(match[1]).timestamp()
    assert 5399 <= until - began <= 5460
    code, out, err = await gate(
        *("hold", "freeze", "-n", namespace, "--by", "bob", "--stop", "--reason", "it deletes data")
    )
    alices = f"  Hold by alice until {match[1]}: a move\n"
    both = f"StormGate NS/freeze: held; {NOT_COUNTED}\n{alices}  Stop by bob: it deletes data\n"
    assert (code, out, err) == (0, both, "")
    assert await gate("status", "-n", namespace) == (0, both, "")
    assert await gate("lift", "freeze", "-n", namespace, "--by", "carol") == (
        1,
        "",
        "stormfold: StormGate NS/freeze has no hold of carol; it is held by alice, bob\n",
    )
    assert await gate("lift", "freeze", "-n", namespace, "--by", "bob") == (
        0,
        f"StormGate NS/freeze: held; {NOT_COUNTED}\n{alices}",
        "",
    )
    # The same owner holds anew, without an end.
    assert await gate("hold", "freeze", "-n", namespace, "--reason", "longer") == (
        0,
        f"StormGate NS/freeze: held; {NOT_COUNTED}\n  Hold by alice: longer\n",
        "",
    )
    found = await api.get("StormGate", "freeze", namespace)
    assert found
    assert found["spec"]["holds"] == [{"by": "alice", "reason": "longer", "verdict": "Hold"}]
    assert await gate("lift", "freeze", "-n", namespace) == (
        0,
        f"StormGate NS/freeze: not held; {NOT_COUNTED}\n",
        "",
    )


async def test_hold_that_was_made_otherwise_is_lifted_and_the_rest_stays(
    gate: Command, api: Api, namespace: str
) -> None:
    holds = [{"by": name, "reason": "r"} for name in ("bob", "alice")]
    await api.create(storm_gate(namespace, "own", {"selector": {"policies": ["team"]}, "holds": holds}))
    assert await gate("lift", "own", "-n", namespace) == (
        0,
        f"StormGate NS/own: held; {NOT_COUNTED}\n  Hold by bob: r\n",
        "",
    )


async def test_what_cannot_be_done_is_said(gate: Command, namespace: str) -> None:
    assert await gate("status", "-n", namespace) == (
        0,
        "no StormGate in NS; those of the operator's namespace govern its requests, too\n",
        "",
    )
    for arguments, said in (
        (("lift", "none"), "StormGate NS/none does not exist: nothing is held by it"),
        (("status", "none"), "no StormGate none in NS"),
        (
            ("hold", "--reason", "r", "--for", "soon"),
            "--for 'soon' is not a duration: must be one to four numbers with h, m, s or ms, such as 1h30m",
        ),
        (
            ("hold", "--reason", "r", "-n", "nowhere"),
            'namespaces "nowhere" not found: name the namespace of the gate by -n',
        ),
        (("hold", "--reason", "r", "--for", "0s"), "--for must be greater than 0s"),
        (("hold", "--reason", "r", "--by", ""), "--by must be given: $USER is not set"),
        (
            ("hold", "../signals", "--reason", "r"),
            "'../signals' is no name of an object: lower case, digits, '-' and '.'",
        ),
    ):
        where = () if "-n" in arguments else ("-n", namespace)
        assert await gate(*arguments, *where) == (1, "", f"stormfold: {said}\n"), arguments


async def test_status_says_what_stormfold_has_said_of_a_gate(gate: Command, api: Api, namespace: str) -> None:
    await api.create(storm_gate(namespace, "registry", {"breaker": {"openRequests": 3}}))
    tripped = {
        "verdict": "Hold",
        "requests": 5,
        "state": "Tripped",
        "message": "4 requests within 5m, limit 3",
    }
    await api.patch("StormGate", "registry", namespace, {"status": tripped}, subresource="status")
    assert await gate("status", "-n", namespace) == (
        0,
        "StormGate NS/registry: held; 5 requests\n  Tripped: 4 requests within 5m, limit 3\n",
        "",
    )
    await api.create(storm_gate(namespace, "late", {}))
    refused = {
        "type": "Accepted",
        "status": "False",
        "reason": "TooManyGates",
        "message": "merge some",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    status = {"verdict": "Proceed", "requests": 1, "conditions": [refused]}
    await api.patch("StormGate", "late", namespace, {"status": status}, subresource="status")
    assert await gate("status", "late", "-n", namespace) == (
        0,
        "StormGate NS/late: not held; 1 request\n  not in force: merge some\n",
        "",
    )


async def test_what_others_have_written_makes_no_line_of_its_own_and_moves_no_cursor(
    gate: Command, api: Api, namespace: str
) -> None:
    reason = "é\x1b[2K\u202e\nStormGate stormfold-system/everything: not held"
    await api.create(storm_gate(namespace, "freeze", {"holds": [{"by": "eve", "reason": reason}]}))
    said = "é\\x1b[2K\\u202e\\nStormGate stormfold-system/everything: not held"
    assert await gate("status", "-n", namespace) == (
        0,
        f"StormGate NS/freeze: held; {NOT_COUNTED}\n  Hold by eve: {said}\n",
        "",
    )


async def test_lifting_a_hold_while_somebody_changes_the_list_takes_away_no_other(
    gate_by: Callable[[Path], Command], api: Api, namespace: str, api_proxy: ApiProxy, tmp_path: Path
) -> None:
    holds = [{"by": name, "reason": "r", "verdict": "Hold"} for name in ("alice", "bob")]
    await api.create(storm_gate(namespace, "freeze", {"holds": holds}))
    held = api_proxy.hold("PATCH", "/stormgates/freeze")
    lifting = asyncio.create_task(
        gate_by(api_proxy.kubeconfig(tmp_path / "proxied"))("lift", "freeze", "-n", namespace)
    )
    await eventually(held.arrived.is_set, within=30, what="it is about to be lifted")
    await api.patch("StormGate", "freeze", namespace, {"spec": {"holds": [holds[1], holds[0]]}})
    held.release()
    assert await lifting == (
        1,
        "",
        "stormfold: StormGate NS/freeze was changed by somebody else meanwhile: try again\n",
    )
    found = await api.get("StormGate", "freeze", namespace)
    assert found
    assert [hold["by"] for hold in found["spec"]["holds"]] == ["bob", "alice"]
