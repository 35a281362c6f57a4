#!/usr/bin/env python3
"""Makes `dist/` from the commit HEAD: wheel, sdist, install.yaml, chart, SBOM and checksums.

    scripts/release.py 0.1.0

Two runs at the same commit give the same bytes: what is written carries the commit's time, and nothing of
a machine. IMAGE is the operator's image without its tag, `stormfold` unless set; OUT is the folder, `dist`
unless set.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import yaml
from chart_values import REPOSITORY
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent


class ReleaseError(Exception):
    """The commit cannot be released; the message says why."""


def versions(tree: Path) -> dict[str, str]:
    """Every place of a tree that says which version it is, and what it says."""
    project = tomllib.loads((tree / "pyproject.toml").read_text())["project"]
    chart = yaml.safe_load((tree / "chart/Chart.yaml").read_text())
    base = yaml.safe_load((tree / "manifests/base/kustomization.yaml").read_text())
    install = yaml.safe_load((tree / "manifests/install/kustomization.yaml").read_text())
    package = (tree / "operator/stormfold/__init__.py").read_text()
    return {
        "pyproject.toml version": project["version"],
        "operator/stormfold/__init__.py __version__": re.findall(
            r'^__version__ = "(.*)"$', package, re.MULTILINE
        )[0],
        "chart/Chart.yaml version": chart["version"],
        "chart/Chart.yaml appVersion": chart["appVersion"],
        "manifests/base/kustomization.yaml label": base["labels"][0]["pairs"]["app.kubernetes.io/version"],
        "manifests/base/kustomization.yaml newTag": base["images"][0]["newTag"],
        "manifests/install/kustomization.yaml newTag": install["images"][0]["newTag"],
    }


def release(version: str, image: str, out: Path) -> None:
    """Fill `out`, which is emptied first.

    Raises:
        ReleaseError: the commit says that it is another version, or the image has no possible name.
    """
    if not re.fullmatch(REPOSITORY, image):
        raise ReleaseError(
            f"IMAGE={image} is not the name of an image without its tag. The release is tagged {version}: "
            "leave out the tag, as in IMAGE=registry.example.org/stormfold"
        )
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch)
        commit, seconds = _run("git", "log", "-1", "--format=%H %ct", at=ROOT).decode().split()
        with tarfile.open(fileobj=io.BytesIO(_run("git", "archive", "HEAD", at=ROOT))) as archive:
            archive.extractall(tree, filter="data")
        if wrong := [f"{place} says {said}" for place, said in versions(tree).items() if said != version]:
            raise ReleaseError(f"the commit {commit[:12]} is not {version}: " + ", ".join(wrong))
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        os.environ["SOURCE_DATE_EPOCH"] = seconds
        _run(BIN / "hatchling", "build", "-d", out.absolute(), at=tree)
        (out / "install.yaml").write_text(install_yaml(tree, f"{image}:{version}"))
        write_chart(tree / "chart", image, out / f"stormfold-chart-{version}.tgz", int(seconds))
        (out / f"stormfold-{version}.cdx.json").write_text(sbom(tree, version, commit, int(seconds)))
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(out.iterdir())
    ]
    (out / "SHA256SUMS").write_text("".join(lines))


def install_yaml(tree: Path, image: str) -> str:
    """All objects in one file."""
    rendered = _run(BIN / "kubectl", "kustomize", tree / "manifests" / "install", at=tree).decode()
    head = "# kubectl apply --server-side -f install.yaml\n"
    return head + re.sub(r"^( *image:) stormfold:\S+$", rf"\1 {image}", rendered, flags=re.MULTILINE)


def write_chart(chart: Path, image: str, into: Path, seconds: int) -> None:
    """The chart as Helm packages it, but with one time for all files, no owner, and the image's name."""
    values = chart / "values.yaml"
    values.write_text(values.read_text().replace("repository: stormfold\n", f"repository: {image}\n", 1))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        # Helm reads Chart.yaml first.
        for path in sorted(
            (it for it in chart.rglob("*") if it.is_file()), key=lambda it: (it.name != "Chart.yaml", it)
        ):
            content = path.read_bytes()
            entry = tarfile.TarInfo(f"stormfold/{path.relative_to(chart)}")
            entry.size, entry.mtime, entry.mode = len(content), seconds, 0o644
            archive.addfile(entry, io.BytesIO(content))
    with (
        into.open("wb") as file,
        gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=seconds) as packed,
    ):
        packed.write(buffer.getvalue())


def sbom(tree: Path, version: str, commit: str, seconds: int) -> str:
    """CycloneDX 1.6 of what the image installs: this package, and those of requirements.lock with their
    digests."""
    stormfold = Component(
        name="stormfold",
        version=version,
        type=ComponentType.APPLICATION,
        bom_ref="stormfold",
        purl=PackageURL("pypi", None, "stormfold", version),
        licenses=[LicenseExpression("Apache-2.0")],
    )
    bom = Bom(
        serial_number=uuid5(NAMESPACE_URL, f"stormfold/{version}/{commit}"),
        metadata=BomMetaData(component=stormfold, timestamp=datetime.fromtimestamp(seconds, UTC)),
    )
    packages = list(_locked(tree / "requirements.lock"))
    bom.components.update(packages)
    bom.register_dependency(stormfold, packages)
    return JsonV1Dot6(bom).output_as_string(indent=1) + "\n"


def _locked(lock: Path) -> Iterator[Component]:
    text = lock.read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if found := re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)", line):
            name, version = found.groups()
            digests = [
                HashType(alg=HashAlgorithm.SHA_256, content=digest)
                for digest in re.findall(r"--hash=sha256:([0-9a-f]{64})", line)
            ]
            page = XsUri(f"https://pypi.org/project/{name}/{version}/")
            yield Component(
                name=name,
                version=version,
                bom_ref=f"{name}@{version}",
                purl=PackageURL("pypi", None, name, version),
                external_references=[
                    ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=page, hashes=digests)
                ],
            )


def _run(*command: Any, at: Path) -> bytes:
    return subprocess.run([str(word) for word in command], cwd=at, check=True, stdout=subprocess.PIPE).stdout


def main() -> int:
    """The exit code: 0, or 1 with a line that says why not."""
    if len(sys.argv) != 2:
        print("usage: make release VERSION=x.y.z", file=sys.stderr)
        return 2
    out = Path(os.environ.get("OUT", "dist"))
    try:
        release(sys.argv[1], os.environ.get("IMAGE") or "stormfold", out)
    except ReleaseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if _run("git", "status", "--porcelain", at=ROOT):
        print(
            "stormfold: the release is that of the commit; changes beside it are not in it", file=sys.stderr
        )
    sys.stdout.write((out / "SHA256SUMS").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
