"""`stormfold gate hold | lift | status`: a thin client of StormGates, for people and scripts."""

import argparse
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

from stormfold.api.conditions import ConditionType
from stormfold.api.decision import Verdict
from stormfold.api.duration import parse_duration
from stormfold.api.resource import API_VERSION
from stormfold.api.stormgate import GateState, StormGate
from stormfold.gate.gates import FOREVER, Gate
from stormfold.kube import paths
from stormfold.kube.client import JSON_PATCH, SERVER_SIDE_APPLY, KubeClient
from stormfold.kube.errors import ApiError, ClusterConfigError, CredentialError, NotFoundError, RefusedError
from stormfold.model.moments import now_ms, written

GATE = "everything"
"""The gate that is meant if none is named."""
MANAGER = "stormfold-gate-{}"
"""The field manager of a hold: each has one of its own, so that nobody's apply takes away another's hold."""
INVALID = 422
"""What the API server answers where the test of a patch does not hold."""
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


class CommandError(Exception):
    """What was asked for cannot be done; the message says why."""


def add_parser(commands: Any) -> None:
    """Add `gate` to the parser of the command line."""
    gate = commands.add_parser(
        "gate",
        help="hold requests, lift a hold, or show who holds what",
        description="While a StormGate holds a request, no consumer begins to work on it.",
    )
    verbs = gate.add_subparsers(dest="verb", required=True, metavar="hold | lift | status")
    hold = verbs.add_parser("hold", help="let consumers begin nothing")
    lift = verbs.add_parser("lift", help="remove your hold")
    status = verbs.add_parser("status", help="show gates, holds and how many requests they govern")
    for verb in (hold, lift):
        verb.add_argument("gate", nargs="?", default=GATE, help=f"name of the StormGate [{GATE}]")
        verb.add_argument(
            "--by", default=os.environ.get("USER", ""), metavar="WHO", help="whose hold it is [$USER]"
        )
    status.add_argument("gate", nargs="?", default="", help="name of the StormGate [all]")
    hold.add_argument("--reason", required=True, metavar="TEXT", help="why, for people who find it")
    hold.add_argument("--for", dest="duration", metavar="DURATION", help="until it ends, such as 1h30m")
    hold.add_argument("--stop", action="store_true", help="end what runs, too")
    everywhere = os.environ.get("STORMFOLD_NAMESPACE", "stormfold-system")
    for verb, default in ((hold, everywhere), (lift, everywhere), (status, "")):
        verb.add_argument(
            *("-n", "--namespace"),
            default=default,
            help=f"namespace of the gate [{default or 'all'}]; gates in {everywhere} govern all namespaces",
        )


async def run(arguments: argparse.Namespace) -> int:
    """Do it; gives the exit code, 1 if it could not be done."""
    try:
        async with await KubeClient.connect() as client:
            for line in await DO[arguments.verb](client, arguments):
                sys.stdout.write(f"{_printable(line)}\n")
    except (CommandError, ApiError, ClusterConfigError, CredentialError) as exc:
        sys.stderr.write(f"stormfold: {exc}\n")
        return 1
    return 0


async def _hold(client: KubeClient, arguments: argparse.Namespace) -> list[str]:
    path, by = _path(arguments), _by(arguments)
    hold = {
        "by": by,
        "reason": arguments.reason,
        "verdict": (Verdict.STOP if arguments.stop else Verdict.HOLD).value,
    }
    if arguments.duration:
        try:
            duration_ms = parse_duration(arguments.duration)
        except ValueError as exc:
            raise CommandError(f"--for {exc}") from exc
        if not duration_ms:
            raise CommandError("--for must be greater than 0s")
        hold["until"] = written(now_ms() + duration_ms + 999)  # not before: it is written to the second
    body = {
        "apiVersion": API_VERSION,
        "kind": StormGate.__name__,
        "metadata": {"name": arguments.gate, "namespace": arguments.namespace},
        "spec": {"holds": [hold]},
    }
    manager = {"fieldManager": MANAGER.format(by), "force": "true"}
    try:
        applied = await client.request(
            "PATCH", path, params=manager, body=body, content_type=SERVER_SIDE_APPLY
        )
    except NotFoundError as exc:
        raise CommandError(f"{exc.message}: name the namespace of the gate by -n") from exc
    return list(_said(Gate.read(applied)))


async def _lift(client: KubeClient, arguments: argparse.Namespace) -> list[str]:
    path, by = _path(arguments), _by(arguments)
    try:
        gate = Gate.read(await client.get(path))
    except NotFoundError as exc:
        raise CommandError(
            f"StormGate {arguments.namespace}/{arguments.gate} does not exist: nothing is held by it"
        ) from exc
    holders = [hold.by for hold in gate.holds]
    if by not in holders:
        raise CommandError(f"{gate} has no hold of {by}; it is held by {', '.join(holders) or 'nobody'}")
    place = holders.index(by)
    # The test keeps it from another one's hold, if somebody has changed the list meanwhile.
    change = [
        {"op": "test", "path": f"/spec/holds/{place}/by", "value": by},
        {"op": "remove", "path": f"/spec/holds/{place}"},
    ]
    try:
        lifted = await client.request("PATCH", path, body=change, content_type=JSON_PATCH)
    except RefusedError as exc:
        if exc.status != INVALID:
            raise
        raise CommandError(f"{gate} was changed by somebody else meanwhile: try again") from exc
    return list(_said(Gate.read(lifted)))


async def _status(client: KubeClient, arguments: argparse.Namespace) -> list[str]:
    gates, _ = await client.list_all(paths.collection(StormGate.plural, arguments.namespace), Gate.read)
    found = [gate for gate in gates if arguments.gate in ("", gate.metadata.name)]
    if not found and arguments.gate:
        raise CommandError(f"no StormGate {arguments.gate} in {arguments.namespace or 'any namespace'}")
    lines = [line for gate in found for line in _said(gate)]
    if lines or not arguments.namespace:
        return lines or ["no StormGate: consumers may begin on every request"]
    return [
        f"no StormGate in {arguments.namespace}; those of the operator's namespace govern its requests, too"
    ]


DO = {"hold": _hold, "lift": _lift, "status": _status}


def _said(gate: Gate) -> Iterator[str]:
    """The gate, what its breaker does, and each of its holds."""
    holds = [hold for hold in gate.holds if not hold.is_over(now_ms())]
    selected = "" if gate.spec.selector is None else ", of those that it selects"
    number, trips = gate.status.requests, gate.state is not GateState.PASSING
    governed = f"{number} request{'' if number == 1 else 's'}{selected}"
    if gate.status.verdict is None:
        governed = "stormfold has not counted its requests yet"
    yield f"{gate}: {'held' if holds or trips else 'not held'}; {governed}"
    for condition in gate.status.conditions:
        if condition.type == ConditionType.ACCEPTED and not condition.holds:
            yield f"  not in force: {condition.message}"
    if trips:
        yield f"  {gate.state}: {gate.status.message}"
    for hold in holds:
        until = "" if hold.until_ms == FOREVER else f" until {written(hold.until_ms)}"
        yield f"  {hold.verdict} by {hold.by}{until}: {hold.reason}"


def _printable(text: str) -> str:
    """The text without what moves a terminal's cursor, or begins another line."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _by(arguments: argparse.Namespace) -> str:
    by: str = arguments.by
    if not by:
        raise CommandError("--by must be given: $USER is not set")
    return by


def _path(arguments: argparse.Namespace) -> str:
    for what in (arguments.gate, arguments.namespace):
        if not NAME.fullmatch(what):
            raise CommandError(f"{what!r} is no name of an object: lower case, digits, '-' and '.'")
    return paths.item(StormGate.plural, arguments.gate, arguments.namespace)
