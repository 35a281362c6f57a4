"""stormfold as users install it, for the demo: a kind cluster, the image of this checkout, the Helm chart."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from lab.building import GO_ENVIRONMENT, BuildError, cache_home, go_program, made_once

CHECKOUT = Path(__file__).parents[2]
CLUSTER = "stormfold-demo"
NAMESPACE = "stormfold-system"
IMAGE = "stormfold:demo"
TOOLS = {"kind": "sigs.k8s.io/kind@v0.33.0", "helm": "helm.sh/helm/v4/cmd/helm@v4.3.1"}
"""What `go install` makes of a tool that is not on PATH."""

Say = Callable[[str], None]


class StepError(RuntimeError):
    """A step failed; the message is its command and what that printed."""


@asynccontextmanager
async def kind_cluster(folder: Path, say: Say) -> AsyncIterator[Path]:
    """Within the block there is a cluster with stormfold, ready; gives its kubeconfig. It is deleted at the
    end.

    KIND_IMAGE is kind's node image, PYTHON_IMAGE what the operator's image is built on; VALKEY_IMAGE, if
    set, is loaded into the nodes and used instead of the chart's.

    Raises:
        BuildError: kind or Helm cannot be installed.
        StepError: Docker is missing, or a step failed.
    """
    await _step(say, "looking for Docker", "docker", "version", "--format", "{{.Server.Version}}")
    kind, helm = [str(await asyncio.to_thread(_tool, name, say)) for name in ("kind", "helm")]
    kubeconfig = folder / "kubeconfig"
    named = ("--name", CLUSTER, "--kubeconfig", str(kubeconfig))
    there = await _output(kind, "get", "clusters")
    if CLUSTER in there.split():
        raise StepError(f"there is a kind cluster {CLUSTER} already: kind delete cluster --name {CLUSTER}")
    node = ("--image", image) if (image := os.environ.get("KIND_IMAGE")) else ()
    try:
        await _step(
            say, "creating the kind cluster", kind, "create", "cluster", *named, *node, "--wait", "3m"
        )
        await _step(say, "building the image", CHECKOUT / "scripts" / "image", environment={"IMAGE": IMAGE})
        valkey = os.environ.get("VALKEY_IMAGE", "")
        for name in filter(None, (IMAGE, valkey)):
            await _step(say, f"loading {name}", kind, "load", "docker-image", "--name", CLUSTER, name)
        await _step(
            *(say, "installing the chart"),
            *(helm, "upgrade", "--install", "stormfold", CHECKOUT / "chart", "--kubeconfig", kubeconfig),
            *("--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout", "5m"),
            *_image_flags("image", IMAGE),
            *(_image_flags("valkey.image", valkey) if valkey else ()),
        )
        yield kubeconfig
    finally:
        await _step(say, "deleting the kind cluster", kind, "delete", "cluster", *named)


def _image_flags(value: str, image: str) -> tuple[str, ...]:
    repository, _, tag = image.rpartition(":")
    return ("--set", f"{value}.repository={repository}", "--set-string", f"{value}.tag={tag}")


def _tool(name: str, say: Say) -> Path:
    """The program on PATH, else built from its Go module, once."""
    if found := shutil.which(name):
        return Path(found)
    module = TOOLS[name]
    version = module.rpartition("@")[2]

    def make(folder: Path) -> None:
        go = go_program()
        say(f"{name} is not on PATH: building {name} {version} from source, once (1 to 5 minutes)")
        # `go install` takes no flag that a go.mod would have to be there for.
        environment = os.environ | {**GO_ENVIRONMENT, "GOFLAGS": "", "GOBIN": str(folder)}
        done = subprocess.run(
            [go, "install", "-trimpath", module], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise BuildError(f"`go install {module}` failed:\n{done.stderr}")

    folder = cache_home() / "programs" / f"installed-{name}-{version}"
    return made_once(folder, make, what=f"{name} {version}", progress=say) / name


async def _step(
    say: Say, what: str, *command: str | Path, environment: Mapping[str, str] | None = None
) -> None:
    """Run a command to its end and say how long it took."""
    say(f"{what} …")
    started = time.monotonic()
    await _output(*command, environment=environment)
    say(f"{what}: {time.monotonic() - started:.0f} s")


async def _output(*command: str | Path, environment: Mapping[str, str] | None = None) -> str:
    """What a command printed; one that is cancelled is ended."""
    words = [str(word) for word in command]
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=os.environ | (environment or {}),
        )
    except FileNotFoundError:
        raise StepError(f"{words[0]} is not on PATH") from None
    try:
        printed = (await process.communicate())[0].decode(errors="replace")
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
    if process.returncode != 0:
        raise StepError(f"`{' '.join(words[:4])} …` failed:\n{printed.strip()}")
    return printed
