"""The cluster as these tests see it: a kubeconfig, a way to load an image, and what `scripts/deploy` put
there."""

from __future__ import annotations

import asyncio
import base64
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from tests.harness import guard
from tests.harness.api import Manifest
from tests.harness.eventually import eventually
from tests.harness.kubectl import Kubectl
from tests.harness.operator import Metrics

from lab.kubectl import kubectl_path

ROOT = Path(__file__).parents[2]
SYSTEM = "stormfold-system"
PART = "app.kubernetes.io/part-of=stormfold"
"""The label of all that is ours."""
TESTER = "stormfold-e2e"
"""The service account, in kube-system, whose token the fast client has."""
OVERLAYS = ROOT / "manifests" / "overlays"
REPLICAS = {"standalone": 1, "ha": 2}
"""How many operators an overlay has."""
VALKEY = "valkey/valkey"
"""What the overlay standalone calls the image of Valkey."""
READ = """
import sys, urllib.error, urllib.request
try:
    answer = urllib.request.urlopen("http://127.0.0.1:8080" + sys.argv[1], timeout=5)
except urllib.error.HTTPError as error:
    answer = error
print(answer.status)
sys.stdout.write(answer.read().decode())
"""
"""Asks the operator from inside of its pod: a NetworkPolicy lets nobody else in."""


class DeployError(AssertionError):
    """scripts/deploy ended with an error; the message is what it said."""


@dataclass(frozen=True)
class Server:
    """The API server, for `tests.harness.api.Api`."""

    url: str
    ca_file: Path
    token: str


class Progress:
    """Says on the terminal which long step is under way and, at its end, how long it took."""

    def __init__(self, config: pytest.Config) -> None:
        self._capture = config.pluginmanager.getplugin("capturemanager")

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        """A step."""
        started = time.monotonic()
        self._say(f"\nstormfold: {what} … ")
        yield
        self._say(f"{time.monotonic() - started:.0f} s ")

    def _say(self, text: str) -> None:
        with self._capture.global_and_fixture_disabled():
            sys.stderr.write(text)
            sys.stderr.flush()


class Cluster:
    """Made once for all tests; what is installed on it is `installed`: None if a test may have changed it."""

    def __init__(self, kubeconfig: Path, load: str, folder: Path, progress: Progress) -> None:
        """`load` is a command that takes an image to the nodes; `folder` is for files of this run."""
        config = yaml.safe_load(kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        if urlsplit(cluster["server"]).hostname not in {"127.0.0.1", "::1", "localhost"}:
            raise guard.ForeignClusterError(f"{cluster['server']} is not on this machine")
        guard.own(cluster["server"])
        self.kubeconfig = kubeconfig
        self.kubectl = Kubectl(kubeconfig)
        self.image = os.environ.get("IMAGE", "stormfold:dev")
        self.installed: str | None = None
        self._config = config
        self._load = shlex.split(load)
        self._folder = folder
        self._progress = progress
        self._valkey_image = os.environ["VALKEY_IMAGE"]
        self._url = cluster["server"]
        self._ca_file = folder / "ca.crt"
        self._ca_file.write_bytes(base64.b64decode(cluster["certificate-authority-data"]))

    # --- ways in

    def server(self) -> Server:
        """The API server, with the token of an administrator."""
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": TESTER}}
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": TESTER},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "cluster-admin",
            },
            "subjects": [{"kind": "ServiceAccount", "name": TESTER, "namespace": "kube-system"}],
        }
        inside = "--namespace=kube-system"
        self._kubectl_now(inside, "apply", "-f", "-", stdin=yaml.safe_dump_all([account, binding]))
        token = self._kubectl_now(inside, "create", "token", TESTER, "--duration=6h").strip()
        return Server(self._url, self._ca_file, token)

    def apply(self, manifests: Path) -> None:
        """Apply a file, for a fixture that outlives a test's event loop."""
        self._kubectl_now("apply", "-f", str(manifests))

    def delete(self, manifests: Path) -> None:
        """Delete what a file has, likewise."""
        self._kubectl_now("delete", "-f", str(manifests))

    def _kubectl_now(self, *arguments: str, stdin: str = "") -> str:
        return _run(kubectl_path(), f"--kubeconfig={self.kubeconfig}", *arguments, stdin=stdin)

    async def user(self, name: str, namespace: str, *cluster_roles: str) -> Kubectl:
        """kubectl as a service account that has these ClusterRoles in its namespace, and no other right."""
        await self.kubectl("-n", namespace, "create", "serviceaccount", name)
        for role in cluster_roles:
            await self.kubectl(
                *("-n", namespace, "create", "rolebinding", f"{name}-{role}"),
                *(f"--clusterrole={role}", f"--serviceaccount={namespace}:{name}"),
            )
        token = (await self.kubectl("-n", namespace, "create", "token", name)).strip()
        context = {**self._config["contexts"][0]["context"], "namespace": namespace}
        config = self._config | {
            "users": [{"name": context["user"], "user": {"token": token}}],
            "contexts": [{"name": self._config["contexts"][0]["name"], "context": context}],
        }
        file = self._folder / f"{namespace}-{name}"
        file.write_text(yaml.safe_dump(config))
        return Kubectl(file)

    # --- what is installed

    def load(self, image: str, *, as_: str | None = None) -> str:
        """Take an image to the nodes, under another name if one is given; the name it has there."""
        name = as_ or image
        with self._progress(f"loading {name}"):
            if as_:
                _run("docker", "tag", image, as_)
            _run(*self._load, name)
        return name

    def load_images(self) -> None:
        """Take the operator and Valkey to the nodes."""
        self.load(self.image)
        self.load(self._valkey_image)

    def overlay(self, base: str, *components: str, image: str | None = None) -> Path:
        """A folder for `OVERLAY=`: one of ours with the images at hand, as docs/install.md has it."""
        folder = self._folder / "-".join((base, *components, image or self.image)).replace("/", "_").replace(
            ":", "_"
        )
        folder.mkdir(exist_ok=True)
        content: dict[str, Any] = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [os.path.relpath(OVERLAYS / base, folder)],
            "components": [os.path.relpath(ROOT / "manifests/components" / c, folder) for c in components],
            "images": [
                _override("stormfold", image or self.image),
                _override(VALKEY, self._valkey_image),
            ],
        }
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
        return folder

    async def deploy(self, base: str = "standalone", *components: str, image: str | None = None) -> str:
        """`make deploy` with one of the overlays, components and another image; what it said."""
        overlay = self.overlay(base, *components, image=image)
        self.installed = None
        said = await self.script("up", OVERLAY=str(overlay))
        # Read the kinds anew: `kubectl explain` believes what it has in its cache.
        await self.kubectl("api-resources")
        self.installed = overlay.name
        return said

    async def undeploy(self, *, purge: bool = False) -> str:
        """`make undeploy`, with PURGE=1 if `purge`; what it said."""
        self.installed = None
        return await self.script("down", **({"PURGE": "1", "YES": "1"} if purge else {}))

    async def script(self, verb: str, **environment: str) -> str:
        """What `scripts/deploy` said.

        Raises:
            DeployError: its exit code was not 0.
        """
        # The overlay says which image.
        surroundings = {name: value for name, value in os.environ.items() if name != "IMAGE"}
        with self._progress(f"scripts/deploy {verb}"):
            process = await asyncio.create_subprocess_exec(
                str(ROOT / "scripts" / "deploy"),
                verb,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**surroundings, "KUBECONFIG": str(self.kubeconfig), **environment},
            )
            said, _ = await process.communicate()
        if process.returncode != 0:
            raise DeployError(f"scripts/deploy {verb}: {said.decode()}")
        return said.decode()

    async def be_as_deployed(self, base: str = "standalone", *components: str) -> None:
        """Have an overlay there, all of it ready, and an operator that was never restarted.

        Another one than `standalone` has the Valkey of `standalone` for its Redis from elsewhere.
        """
        wanted = self.overlay(base, *components).name
        if self.installed != wanted:
            if base == "standalone" or self.installed is None:
                await self.deploy()
                await self._take_away_what_others_have_besides()
            if self.installed != wanted:
                await self.deploy(base, *components)
        for pod in await self.pods():
            if restarts(pod):
                await self.kubectl("-n", SYSTEM, "delete", "pod", pod["metadata"]["name"])
        await self.ready(count=REPLICAS[base])

    async def _take_away_what_others_have_besides(self) -> None:
        """What no `deploy` of `standalone` undoes."""
        await self.kubectl("-n", SYSTEM, "delete", "pdb,pvc", "-l", PART)
        for name in ("stormfold-to-redis", "stormfold-webhook"):
            await self.kubectl("-n", SYSTEM, "delete", "--ignore-not-found", "networkpolicy", name)
        admission = "validatingadmissionpolicybindings,validatingadmissionpolicies"
        await self.kubectl("delete", admission, "-l", f"{PART},app.kubernetes.io/component=steering")

    # --- its pods

    async def pods(self, component: str = "operator") -> list[Manifest]:
        """The pods of a component that are not being deleted, the oldest first."""
        found = await self.kubectl.json(
            *("-n", SYSTEM, "get", "pods", "-l", f"app.kubernetes.io/component={component}"),
            "--sort-by=.metadata.creationTimestamp",
        )
        return [pod for pod in found["items"] if "deletionTimestamp" not in pod["metadata"]]

    async def ready(
        self, component: str = "operator", *, count: int = 1, within: float = 120
    ) -> list[Manifest]:
        """The pods of a component as soon as they are `count` and all are ready."""
        return await eventually(
            lambda: self.pods(component),
            lambda pods: len(pods) == count and all(is_ready(pod) for pod in pods),
            within=within,
            what=f"{count} ready {component}",
        )

    async def leader(self) -> str:
        """The pod that has the Lease of ingest; nobody while it is handed over."""
        lease = await self.kubectl.json("-n", SYSTEM, "get", "lease", "stormfold-ingest")
        return str(lease["spec"].get("holderIdentity", ""))

    async def ask(self, path: str, pod: str = "deployment/stormfold") -> tuple[int, str]:
        """Status and body of an HTTP endpoint of the operator, asked from inside of its pod."""
        printed = await self.kubectl("-n", SYSTEM, "exec", pod, "--", "python", "-c", READ, path)
        status, _, body = printed.partition("\n")
        return int(status), body

    async def metrics(self, pod: str = "deployment/stormfold") -> Metrics:
        """What `/metrics` says now."""
        _, text = await self.ask("/metrics", pod)
        families = text_string_to_metric_families(text)
        return Metrics(tuple((s.name, s.labels, s.value) for family in families for s in family.samples))


def _run(*command: str, stdin: str = "") -> str:
    """What a program printed; if it fails, the test fails with what it said."""
    done = subprocess.run(command, input=stdin, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout


def _override(name: str, image: str) -> dict[str, str]:
    new_name, _, tag = image.rpartition(":")
    return {"name": name, "newName": new_name, "newTag": tag}


def is_ready(pod: Manifest) -> bool:
    """Whether the kubelet says that a pod is ready."""
    conditions: Sequence[Manifest] = pod.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def restarts(pod: Manifest) -> int:
    """How often the containers of a pod were started again."""
    return sum(c["restartCount"] for c in pod.get("status", {}).get("containerStatuses", []))
