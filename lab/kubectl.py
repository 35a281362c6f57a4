"""kubectl as a child process: the one of the pinned wheel if it is installed, else the one on PATH."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from lab.building import cache_home


def kubectl_path() -> str:
    """The program beside this Python, else on PATH.

    Raises:
        FileNotFoundError: there is none.
    """
    beside = Path(sys.executable).parent / "kubectl"
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    if found is None:
        raise FileNotFoundError("kubectl is missing: run `scripts/venv`, or put kubectl on PATH")
    return found


class KubectlError(RuntimeError):
    """kubectl ended with an error; the message is its command line and its stderr, the latter also in
    `stderr`."""

    def __init__(self, arguments: tuple[str, ...], stderr: str) -> None:
        super().__init__(f"kubectl {' '.join(arguments)}: {stderr.strip()}")
        self.stderr = stderr


class Kubectl:
    """`await kubectl("get", "signals", "-A")` gives what it printed; None as kubeconfig: as kubectl finds
    it."""

    def __init__(self, kubeconfig: Path | None = None) -> None:
        self.kubeconfig = kubeconfig
        # Not the user's cache, since these API servers live for a minute and their ports are used again.
        self._options = [f"--cache-dir={cache_home() / 'kubectl'}"]
        if kubeconfig is not None:
            self._options.append(f"--kubeconfig={kubeconfig}")

    async def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl printed on stdout.

        Raises:
            KubectlError: its exit code was not 0.
        """
        process = await asyncio.create_subprocess_exec(
            kubectl_path(),
            *self._options,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate((stdin or "").encode())
        if process.returncode != 0:
            raise KubectlError(arguments, err.decode(errors="replace"))
        return out.decode()

    async def json(self, *arguments: str) -> Any:
        """The object that kubectl printed with `-o json`."""
        return json.loads(await self(*arguments, "-o", "json"))

    async def apply(self, manifests: str) -> str:
        """`kubectl apply` of one or several YAML documents."""
        return await self("apply", "-f", "-", stdin=manifests)
