"""Counts the functions that a Signal passes from the watch to its written request: `python -m
scripts.signal_path`.

The operator runs in this process, on an API server and a Valkey of its own, and `sys.setprofile` sees its
calls. A function is on the Signal's way if an argument is the Signal, or holds it: as it was read, as an
arrival, in a batch, as the snapshot of its storm, or as the request that is written for it. `--list` prints
them in the order of their first call.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import logging
import os
import sys
import time
from collections import deque
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from lab.building import ensure_binaries
from lab.controlplane import ControlPlane
from lab.process import free_port
from lab.valkey import Valkey
from stormfold.api.crd import crds
from stormfold.app import App
from stormfold.fold.connection import Connection
from stormfold.kube import paths
from stormfold.kube.client import KubeClient
from stormfold.kube.preflight import preflight
from stormfold.settings import Settings

ROOT = Path(__file__).parents[1]
PACKAGE = str(ROOT / "operator" / "stormfold")
APP = ROOT / "operator" / "stormfold" / "app.py"
WITHIN_SECONDS = 60.0
CALM_SECONDS = 4.0
"""So long after the first request is written everything of it is over; the second is written within it."""
NAMESPACE = "default"
COMPREHENSIONS = ("<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>")
"""Parts of the function that they stand in, not functions of their own."""


CARRIERS = frozenset(
    (
        "Change",
        "Changed",
        "Seen",
        "Arrival",
        "Routed",
        "InFlight",
        "Fold",
        "Snapshot",
        "SignalRef",
        "Request",
        "Mark",
    )
)
"""The types, by name, that are the Signal or hold it."""


class Calls:
    """The package's functions, in this thread, that are given what carries the Signal, in the order of their
    first call."""

    def __init__(self) -> None:
        self.there: dict[CodeType, None] = {}
        """Until the status of the request is sent."""
        self.back: dict[CodeType, None] = {}
        """After that, and not before."""
        self.in_app = 0
        self._written = False

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call" or not self._is_ours(code):
            return
        self._written = self._written or (
            code.co_name == "merge_patch" and "/remediationrequests/" in frame.f_locals["path"]
        )
        if any(map(carries, arguments_of(frame))):
            self.in_app += code.co_filename == str(APP)
            if code not in self.there:
                (self.back if self._written else self.there)[code] = None

    @staticmethod
    def _is_ours(code: CodeType) -> bool:
        return code.co_filename.startswith(PACKAGE) and code.co_name not in COMPREHENSIONS


def arguments_of(frame: FrameType) -> list[Any]:
    """The values of its arguments, without `self`."""
    code = frame.f_code
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return [frame.f_locals.get(name) for name in names if name != "self"]


def carries(value: Any) -> bool:
    """Whether it is the Signal, or holds it."""
    if isinstance(value, dict):
        return value.get("kind") == "Signal" or any(map(carries, list(value.values())[:1]))
    if isinstance(value, list | tuple | deque) and type(value).__name__ not in CARRIERS:
        return bool(value) and carries(value[0])
    return type(value).__name__ in CARRIERS


def named(code: CodeType) -> str:
    """`fold/store.py:StormStore.fold`."""
    return f"{code.co_filename.removeprefix(PACKAGE)[1:]}:{code.co_qualname}"


def passed_in_app() -> int:
    """How many callables `app.py` passes on or attaches: lambdas, and functions and methods that are named
    and not called."""
    tree = ast.parse(APP.read_text())
    methods = {
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    owned = {
        name
        for path in Path(PACKAGE).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        for name in _plain_methods(node)
    }
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    number = 0
    for node in ast.walk(tree):
        values: list[ast.expr] = []
        if isinstance(node, ast.Call):
            values = [*node.args, *(keyword.value for keyword in node.keywords)]
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
            values = [node.value]
        for value in values:
            if isinstance(value, ast.Lambda):
                number += 1
            elif isinstance(value, ast.Attribute) and id(value) not in called:
                number += value.attr in methods | owned
    return number


def _plain_methods(node: ast.ClassDef) -> set[str]:
    """The methods of a class that are no properties."""
    return {
        child.name
        for child in node.body
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        and not any(isinstance(d, ast.Name) and d.id == "property" for d in child.decorator_list)
    }


async def wait_for_request(client: KubeClient, number: int) -> None:
    """Until so many requests are written; the reading of them is not part of what is counted."""
    deadline = time.monotonic() + WITHIN_SECONDS
    while time.monotonic() < deadline:
        items, _ = await client.list_all(paths.collection("remediationrequests"), dict)
        if sum("status" in item for item in items) >= number:
            return
        await asyncio.sleep(0.1)
    raise SystemExit(f"{number} requests were not written within {WITHIN_SECONDS:.0f} s")


def signal(name: str) -> dict[str, Any]:
    """A Signal of a group of its own under the policy below."""
    return {
        "apiVersion": "stormfold.dev/v1alpha1",
        "kind": "Signal",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "name": "KubePodCrashLooping",
            "severity": "critical",
            "source": "path",
            "labels": {"group": name},
            "target": {"apiVersion": "v1", "kind": "Pod", "name": name, "namespace": NAMESPACE},
        },
    }


POLICY = {
    "apiVersion": "stormfold.dev/v1alpha1",
    "kind": "ClusterStormPolicy",
    "metadata": {"name": "path"},
    "spec": {"groupBy": ["namespace", "labels.group"]},
}


async def count(settings: Settings) -> Calls:
    """The calls of one Signal, until its request is written."""
    connection = Connection.from_url(settings.redis_url)
    await connection.check()
    async with await KubeClient.connect() as client, await KubeClient.connect() as admin:
        for crd in crds().values():
            await admin.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
        cluster = await _ready_cluster(client, settings.namespace)
        await admin.create(paths.collection("clusterstormpolicies"), POLICY)
        running = asyncio.create_task(App(settings, client, connection, cluster).run())
        await admin.create(paths.collection("signals", NAMESPACE), signal("warm-up"))
        await wait_for_request(admin, 1)
        await asyncio.sleep(CALM_SECONDS)
        calls = Calls()
        sys.setprofile(calls)
        await asyncio.to_thread(asyncio.run, _create(signal("counted")))
        await asyncio.sleep(CALM_SECONDS)
        sys.setprofile(None)
        await wait_for_request(admin, 2)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await connection.close()
    return calls


async def _create(body: dict[str, Any]) -> None:
    """Make the Signal, in a thread of its own: what the sender calls is not counted."""
    async with await KubeClient.connect() as client:
        await client.create(paths.collection("signals", NAMESPACE), body)


async def _ready_cluster(client: KubeClient, namespace: str) -> str:
    deadline = time.monotonic() + WITHIN_SECONDS
    while True:
        try:
            return await preflight(client, namespace=namespace)
        except Exception:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.5)


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--list", action="store_true", help="print the functions, in the order of their first call"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    with ControlPlane(ensure_binaries()) as control_plane, Valkey() as valkey:
        os.environ["KUBECONFIG"] = str(control_plane.kubeconfig)
        settings = Settings(
            redis_url=valkey.url,
            namespace=NAMESPACE,
            identity="path",
            http_host="127.0.0.1",
            http_port=free_port(),
            webhook_host="127.0.0.1",
            webhook_port=free_port(),
        )
        calls = asyncio.run(count(settings))
    for what, way in {"to its written request": calls.there, "and back": calls.back}.items():
        if arguments.list:
            print(*map(named, way), sep="\n")
        print(
            f"functions a Signal passes {what}: {len(way)} in {len({code.co_filename for code in way})} files"
        )
    print(f"passes through app.py: {calls.in_app}")
    print(f"callables that app.py passes on: {passed_in_app()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
