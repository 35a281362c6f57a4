"""A real Helm, built from its Go module, against a cluster of this test run."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from tests.harness.guard import refuse_foreign
from tests.harness.programs import helm

CHART = Path(__file__).parents[2] / "chart"
NAMESPACE = "stormfold-system"


def copied(folder: Path, *, version: str) -> Path:
    """A copy of the chart in a folder, of another version."""
    other = folder / f"chart-{version}"
    shutil.copytree(CHART, other)
    chart = yaml.safe_load((other / "Chart.yaml").read_text()) | {"version": version, "appVersion": version}
    (other / "Chart.yaml").write_text(yaml.safe_dump(chart))
    return other


class HelmError(AssertionError):
    """Helm ended with an error; the message is what it said."""


class Helm:
    """`await helm("list")` gives what it printed; without a kubeconfig it can only lint, render and
    package."""

    def __init__(self, folder: Path, kubeconfig: Path | None = None) -> None:
        """`folder` is for Helm's own files, so that nobody's configuration is read or written."""
        names = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "HOME")
        self._environment = os.environ | dict.fromkeys(names, str(folder))
        self._environment["KUBECONFIG"] = str(refuse_foreign(kubeconfig) if kubeconfig else folder / "none")

    async def __call__(self, *arguments: str | Path, values: Mapping[str, Any] | None = None) -> str:
        """What Helm printed on stdout, and on stderr behind it.

        Raises:
            HelmError: its exit code was not 0.
        """
        given = ("--values", "-") if values is not None else ()
        process = await asyncio.create_subprocess_exec(
            *(str(helm()), *map(str, arguments), *given),
            env=self._environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate(yaml.safe_dump(dict(values or {})).encode())
        if process.returncode != 0:
            raise HelmError(f"helm {' '.join(map(str, arguments))}: {out.decode()}{err.decode()}")
        return out.decode() + err.decode()

    async def upgrade(
        self, chart: Path = CHART, *arguments: str, values: Mapping[str, Any] | None = None
    ) -> str:
        """`helm upgrade --install`, as docs/install.md has it."""
        named = ("stormfold", chart, "--namespace", NAMESPACE, "--create-namespace", "--wait")
        return await self("upgrade", "--install", *named, *arguments, values=values)

    async def rendered(
        self, values: Mapping[str, Any] | None = None, chart: Path = CHART
    ) -> list[dict[str, Any]]:
        """The objects that `helm template` prints, those of `helm test` left out."""
        printed = await self(
            *("template", "stormfold", chart, "--namespace", NAMESPACE, "--skip-tests"), values=values or {}
        )
        return [found for found in yaml.safe_load_all(printed) if found]

    async def status(self) -> Any:
        """The release as it stands."""
        return json.loads(await self("status", "stormfold", "--namespace", NAMESPACE, "--output", "json"))
