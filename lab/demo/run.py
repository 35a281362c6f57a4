"""The demo from its start to its verdict: real Signals, applied by a real kubectl to a real API server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lab.building import BuildError, ensure_binaries
from lab.controlplane import ControlPlane
from lab.demo.kind import NAMESPACE as INSTALLED_NAMESPACE
from lab.demo.kind import StepError, kind_cluster
from lab.demo.storms import NAMESPACES, Manifest, Scenario, scenario, total_of, violations
from lab.demo.view import Picture, View
from lab.kubectl import Kubectl, KubectlError
from lab.process import INTERRUPTED, Server, ServerError, free_port, tail
from lab.valkey import Valkey

CHECKOUT = Path(__file__).parents[2]
POLICIES = (  # the first one is part of every installation
    "manifests/base/default-policy.yaml",
    "examples/policies/node-outage.yaml",
    "examples/policies/batch-jobs.yaml",
)
OPERATOR_NAMESPACE = "stormfold-demo"
SIGNALS = 560
SEED = 7
LOOK_SECONDS = 0.5
PAUSE_SECONDS = 0.8
"""Between two files of signals, so that one can watch the storms grow."""
COUNTED_SECONDS = 60.0
"""Within this after the last file, everything must be counted."""
CALM_SECONDS = 2.0
"""Then the counts must stay as they are for so long."""
READY_SECONDS = 30.0


class DemoError(RuntimeError):
    """The demo cannot go on; the message says why and what would help."""


async def demo(*, as_json: bool = False, signals: int = SIGNALS, keep: bool = False) -> int:
    """Run the demo; 0 if every invariant held, 1 if not or if something was missing, 130 if interrupted.

    With `as_json` the last and only line on stdout is a JSON object (signals, requests, total, rejected,
    seconds) and all else goes to stderr. With `keep` everything runs on until Ctrl-C. CLUSTER in the
    environment says where: nothing, an API server of its own; `kind`, a kind cluster of its own with the
    image and the chart; `current`, the cluster that kubectl finds.
    """
    view = View(stderr=as_json)
    try:
        with _sigterm_as_cancellation():
            return await _demo(view, as_json=as_json, signals=signals, keep=keep)
    except asyncio.CancelledError:
        view.say("interrupted; cleaned up")
        return INTERRUPTED
    except (
        *(BuildError, DemoError, FileNotFoundError, KubectlError),
        *(ServerError, StepError, ValueError),
    ) as error:
        view.say(f"error: {error}")
        return 1


@contextlib.contextmanager
def _sigterm_as_cancellation() -> Iterator[None]:
    """SIGTERM cleans up as Ctrl-C does."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


async def _demo(view: View, *, as_json: bool, signals: int, keep: bool) -> int:
    told = scenario(signals, seed=SEED, now=datetime.now(UTC))
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stormfold-demo-")))
        stage = await _stage(stack, view, folder)
        kubeconfig, kubectl = stage.kubeconfig, stage.kubectl
        try:
            with view.live():
                await _tell(told, stage, view, folder)
        except DemoError as error:
            raise DemoError(f"{error}\nthe end of the operator's log:\n{await stage.end_of_log()}") from None
        await _show_commands(kubectl, view)
        requests, rejected = await _requests(kubectl), await _rejected(kubectl)
        wrong = list(violations(told, requests, rejected))
        for sentence in wrong:
            view.say(f"NOT AS IT MUST BE: {sentence}")
        total = Picture(told.signals, requests).counted
        seconds = round(view.seconds, 1)
        view.say(
            f"{told.signals} signals became {len(requests)} requests: {total} counted, {rejected} rejected, "
            f"{'nothing lost, none counted twice' if not wrong else f'{len(wrong)} invariants broken'}"
        )
        if keep:
            config = "" if kubeconfig is None else f"KUBECONFIG={kubeconfig} "
            view.say(f"kept running until Ctrl-C; try: {config}kubectl get remediationrequests -A")
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
    view.say("cleaned up")
    if as_json:
        numbers = {"signals": told.signals, "requests": len(requests), "total": total, "rejected": rejected}
        print(json.dumps({**numbers, "seconds": seconds}))
    return 1 if wrong else 0


@dataclass(frozen=True)
class Stage:
    """A cluster with the policies of the demo and an operator that is ready."""

    kubectl: Kubectl
    kubeconfig: Path | None
    """None: where kubectl finds the cluster by itself."""
    running: Callable[[], bool]
    """Whether the operator is still there, as far as we can tell."""
    end_of_log: Callable[[], Awaitable[str]]


async def _stage(stack: AsyncExitStack, view: View, folder: Path) -> Stage:
    """What CLUSTER says; `stack` takes it away again."""
    cluster = os.environ.get("CLUSTER", "")
    if cluster not in {"", "kind", "current"}:
        raise DemoError(
            f"CLUSTER={cluster} is none of kind and current; without it the demo has an API server of its own"
        )
    if cluster == "kind":
        kubeconfig: Path | None = await stack.enter_async_context(kind_cluster(folder, view.say))
        kubectl = Kubectl(kubeconfig)
        await stack.enter_async_context(_resources(kubectl, view, lasting=False, installed=True))
        view.say("the operator is ready, in the namespace " + INSTALLED_NAMESPACE)
        inside = ("-n", INSTALLED_NAMESPACE, "logs", "deployment/stormfold", "--tail=15")
        return Stage(kubectl, kubeconfig, lambda: True, lambda: kubectl(*inside))
    kubeconfig = await _cluster(stack, view, own=not cluster)
    kubectl = Kubectl(kubeconfig)
    await stack.enter_async_context(_resources(kubectl, view, lasting=kubeconfig is None))
    operator = await _operator(stack, view, folder, kubeconfig, await _valkey(stack))

    async def end_of_log() -> str:
        return tail(operator.log)

    return Stage(kubectl, kubeconfig, lambda: operator.running, end_of_log)


async def _cluster(stack: AsyncExitStack, view: View, *, own: bool) -> Path | None:
    """The kubeconfig of a control plane of our own, or None for the cluster that kubectl finds by itself."""
    if not own:
        kubectl = Kubectl()
        view.say(f"using the current cluster, context {(await kubectl('config', 'current-context')).strip()}")
        return None
    binaries = await asyncio.to_thread(ensure_binaries, view.say)
    control_plane = ControlPlane(binaries)
    stack.callback(control_plane.stop)
    await _finished(control_plane.start)
    view.say(f"etcd and kube-apiserver {binaries.version} are up at {control_plane.url}")
    return control_plane.kubeconfig


async def _finished(start: Callable[[], None]) -> None:
    """Run a blocking start to its end even when cancelled, so that what it started can be stopped."""
    starting = asyncio.ensure_future(asyncio.to_thread(start))
    try:
        await asyncio.shield(starting)
    finally:
        await asyncio.wait({starting})


async def _valkey(stack: AsyncExitStack) -> Valkey:
    valkey = Valkey()
    stack.callback(valkey.stop)
    await _finished(valkey.start)
    return valkey


@asynccontextmanager
async def _resources(
    kubectl: Kubectl, view: View, *, lasting: bool, installed: bool = False
) -> AsyncIterator[None]:
    """Within the block the CRDs, the namespaces and the policies are there; nothing of them before or after.

    A cluster that is not `lasting` goes away as a whole, so nothing is removed from it. Where stormfold is
    `installed`, the CRDs, the operator's namespace and the default policy are there already.
    """
    crds = CHECKOUT / "crds"
    if not crds.is_dir():
        raise DemoError(f"{crds} is missing: run the demo from a checkout of the repository")
    made: list[tuple[str, ...]] = []
    try:
        if not installed:
            await _refuse_to_share(kubectl)
            made.append(("-f", str(crds)))
            await kubectl("apply", "-f", str(crds))
            await kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(crds))
        for namespace in (*(() if installed else (OPERATOR_NAMESPACE,)), *NAMESPACES):
            await kubectl("create", "namespace", namespace)
            made.append(("namespace", namespace))
        for policy in POLICIES[1 if installed else 0 :]:
            await _apply_when_served(kubectl, CHECKOUT / policy)
        view.say("applied crds/ and the policies " + ", ".join(Path(p).stem for p in POLICIES))
        yield
    finally:
        for what in made if lasting else []:
            # The CRDs are waited for, since until their objects are gone the demo cannot run again.
            wait = "--wait=true" if what[0] == "-f" else "--wait=false"
            await kubectl("delete", "--ignore-not-found", "--timeout=120s", wait, *what)


async def _refuse_to_share(kubectl: Kubectl) -> None:
    """The demo folds every Signal of its cluster and removes what it made: it wants no one else's beside
    them."""
    if await kubectl("get", "crds", "signals.stormfold.dev", "--ignore-not-found", "-o", "name"):
        raise DemoError("stormfold is installed in this cluster already: use a cluster without it")
    wanted = [OPERATOR_NAMESPACE, *NAMESPACES]
    if there := await kubectl("get", "namespaces", *wanted, "--ignore-not-found", "-o", "name"):
        raise DemoError(
            f"the demo makes and removes {', '.join(there.split())}, which the cluster has already: "
            "use another cluster"
        )


async def _apply_when_served(kubectl: Kubectl, file: Path) -> None:
    """Apply a file whose kinds may be so new that the API server is not ready for them yet."""
    for _ in range(20):
        try:
            await kubectl("apply", "-f", str(file))
        except KubectlError as error:
            if "initializing" not in error.stderr and "no matches for kind" not in error.stderr:
                raise
            await asyncio.sleep(LOOK_SECONDS)
        else:
            return
    raise DemoError(f"the API server does not serve the kinds of {file}")


def operator_settings(redis_url: str, http_port: int) -> dict[str, str]:
    """The variables of the demo's operator: nobody from outside of this machine is to reach it."""
    return {
        "STORMFOLD_REDIS_URL": redis_url,
        "STORMFOLD_NAMESPACE": OPERATOR_NAMESPACE,
        "STORMFOLD_IDENTITY": "demo-0",
        "STORMFOLD_HTTP_HOST": "127.0.0.1",
        "STORMFOLD_HTTP_PORT": str(http_port),
        "STORMFOLD_WEBHOOK_HOST": "127.0.0.1",
        "STORMFOLD_WEBHOOK_PORT": str(free_port()),
    }


async def _operator(
    stack: AsyncExitStack, view: View, folder: Path, kubeconfig: Path | None, valkey: Valkey
) -> Server:
    """`stormfold run`, ready."""
    port = free_port()
    settings = operator_settings(valkey.url, port)
    if kubeconfig is not None:
        settings["KUBECONFIG"] = str(kubeconfig)
    command = [sys.executable, "-m", "stormfold", "run"]
    operator = Server("stormfold run", command, folder / "operator.log", settings)
    stack.callback(operator.stop)

    def ready() -> bool:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)

    await asyncio.to_thread(operator.wait_until, ready, within_seconds=READY_SECONDS)
    view.say("the operator is ready; Valkey is its memory")
    return operator


async def _tell(told: Scenario, stage: Stage, view: View, folder: Path) -> None:
    """Apply file after file, and show what the operator makes of it until everything is counted and calm."""
    kubectl = stage.kubectl
    applied = 0

    async def apply_all() -> None:
        nonlocal applied
        for number, documents in enumerate(told.files):
            file = folder / f"signals-{number}.yaml"
            # JSON is YAML too, and quotes what another YAML reader would take for a number.
            file.write_text("\n---\n".join(json.dumps(document, indent=1) for document in documents))
            applied += len(documents)
            await kubectl("apply", "-f", str(file))
            await asyncio.sleep(PAUSE_SECONDS)

    loop = asyncio.get_running_loop()
    applying = asyncio.create_task(apply_all(), name="kubectl apply")
    try:
        last_applied, calm_since = 0.0, None
        while True:
            picture = Picture(applied, await _requests(kubectl))
            view.show(told, picture)
            if not stage.running():
                raise DemoError("the operator ended by itself")
            now = loop.time()
            if not applying.done():
                last_applied = now
            elif picture.counted + await _rejected(kubectl) >= told.signals:
                calm_since = calm_since or now
                if now - calm_since >= CALM_SECONDS:
                    break
            elif now - last_applied > COUNTED_SECONDS:
                raise DemoError(
                    f"{picture.counted} of {told.signals} signals counted {COUNTED_SECONDS:g} s later"
                )
            if applying.done():
                applying.result()
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        applying.cancel()
        await asyncio.wait({applying})


async def _show_commands(kubectl: Kubectl, view: View) -> None:
    listing = "get remediationrequests -A"
    view.command(f"kubectl {listing}", await kubectl(*listing.split()))
    largest = max(await _requests(kubectl), key=total_of)["metadata"]
    named = ["-n", largest["namespace"], largest["name"]]
    text = await kubectl("describe", "remediationrequest", *named)
    view.command(f"kubectl describe remediationrequest {' '.join(named)}", text)


async def _requests(kubectl: Kubectl) -> list[Manifest]:
    return list((await kubectl.json("get", "remediationrequests", "-A"))["items"])


async def _rejected(kubectl: Kubectl) -> int:
    found = await kubectl.json("get", "signals", "-A", "--field-selector=status.phase=Rejected")
    return len(found["items"])
