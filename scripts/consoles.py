"""Runs the commands that pages show, and writes what they print into the pages.

.venv/bin/python -m scripts.consoles          # three minutes

It starts an API server, Valkey and an operator. Then it runs the blocks `console` and `sh` between two
headings of a page, one command after the other. A line `…` in an output stays: the lines before and after
it are then as many as they were.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.building import ensure_binaries
from lab.controlplane import ControlPlane
from lab.process import Server, free_port
from lab.valkey import Valkey

ROOT = Path(__file__).parents[1]
LOOKS_SECONDS = 3.0
"""How long somebody looks at an output before the next command."""
LONGEST_SECONDS = 150.0
"""Of one command: the tutorial waits for a minute."""
BLOCK = re.compile(r"^```(console|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ELLIPSIS = "…"


@dataclass(frozen=True)
class Part:
    """The part of a page that is run, from one heading to another. `before` is run first."""

    page: str
    begin: str
    end: str
    before: tuple[str, ...] = ()


PARTS = (
    Part("README.md", "## One storm", "## What it does"),
    Part("docs/tutorial.md", "## 2. Send five signals", "## 7. Clean up"),
    Part(
        *("docs/gates.md", "## Hold, lift, look", "## What a consumer reads"),
        before=("kubectl create namespace shop", "kubectl apply -f examples/signals/small-storm.yaml"),
    ),
)


@dataclass
class Typed:
    """A command of a block and the output that follows it."""

    command: list[str]
    output: list[str]


def commands(block: str) -> list[Typed]:
    """The commands of a block `console`. One goes on in the next line after a backslash."""
    found: list[Typed] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append(Typed([line], []))
        elif found and not found[-1].output and found[-1].command[-1].endswith("\\"):
            found[-1].command.append(line)
        else:
            found[-1].output.append(line)
    return found


def shortened(new: list[str], old: list[str]) -> list[str]:
    """The new output, with as many lines around `…` as the old one has."""
    if ELLIPSIS not in old:
        return new
    before = old.index(ELLIPSIS)
    after = len(old) - before - 1
    return [*new[:before], ELLIPSIS, *(new[-after:] if after else [])]


def played(text: str, part: Part, environment: dict[str, str]) -> str:
    """The page with the outputs of a run."""
    begin, end = (text.index(f"{heading}\n") for heading in (part.begin, part.end))
    for command in part.before:
        output_of(command, environment)

    def run(block: re.Match[str]) -> str:
        if block[1] == "sh":
            output_of(block[2], environment)
            return block[0]
        lines = []
        for typed in commands(block[2]):
            command = "\n".join(typed.command).removeprefix("$ ")
            output = output_of(command, environment)
            lines += typed.command + shortened(output, typed.output)
        return "```console\n" + "".join(f"{line}\n" for line in lines) + "```"

    return text[:begin] + BLOCK.sub(run, text[begin:end]) + text[end:]


def output_of(command: str, environment: dict[str, str]) -> list[str]:
    """What a command prints, errors included.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    print(f"$ {command}", flush=True)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=ROOT,
        env=environment,
        text=True,
        check=False,
        timeout=LONGEST_SECONDS,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    print(done.stdout, end="", flush=True)
    done.check_returncode()
    time.sleep(LOOKS_SECONDS)
    return done.stdout.splitlines()


@contextmanager
def cluster() -> Iterator[dict[str, str]]:
    """Within the block stormfold runs beside an API server of its own. Gives the environment of a shell."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stormfold-consoles-")))
        plane = stack.enter_context(ControlPlane(ensure_binaries(print)))
        valkey = stack.enter_context(Valkey())
        environment = os.environ | {
            "KUBECONFIG": str(plane.kubeconfig),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "NS": "shop",
        }
        for command in (
            "kubectl apply --server-side -k crds",
            "kubectl wait --for=condition=Established crd -l app.kubernetes.io/part-of=stormfold",
            "kubectl create namespace stormfold-system",
            "kubectl apply -f manifests/base/default-policy.yaml",
        ):
            output_of(command, environment)
        port = free_port()
        operator = Server(
            "stormfold run",
            [sys.executable, "-m", "stormfold", "run"],
            folder / "operator.log",
            {
                "KUBECONFIG": str(plane.kubeconfig),
                "STORMFOLD_REDIS_URL": valkey.url,
                "STORMFOLD_HTTP_HOST": "127.0.0.1",
                "STORMFOLD_HTTP_PORT": str(port),
                "STORMFOLD_WEBHOOK_HOST": "127.0.0.1",
                "STORMFOLD_WEBHOOK_PORT": str(free_port()),
            },
        )
        stack.callback(operator.stop)

        def ready() -> bool:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)

        operator.wait_until(ready, within_seconds=30)
        yield environment


def main() -> int:
    """Run all parts; gives the exit code."""
    for part in PARTS:
        page = ROOT / part.page
        with cluster() as environment:
            page.write_text(played(page.read_text(), part, environment))
    return 0


if __name__ == "__main__":
    sys.exit(main())
