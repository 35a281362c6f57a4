"""`make release`: the same bytes each time, and what it makes can be installed."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.harness import guard
from tests.harness.helm import Helm
from tests.harness.kubectl import Kubectl
from tests.harness.programs import actionlint

from lab.building import ensure_binaries
from lab.controlplane import ControlPlane
from stormfold import __version__

ROOT = Path(__file__).parents[3]
IMAGE = "registry.example.org/team/stormfold"
FILES = {
    f"stormfold-{__version__}-py3-none-any.whl",
    f"stormfold-{__version__}.tar.gz",
    f"stormfold-chart-{__version__}.tgz",
    f"stormfold-{__version__}.cdx.json",
    "install.yaml",
    "SHA256SUMS",
}


def released(out: Path, version: str = __version__, **environment: str) -> subprocess.CompletedProcess[str]:
    """`make release`, into a folder."""
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "release.py", version],
        env={**os.environ, "OUT": str(out), "IMAGE": IMAGE, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a release has, made once."""
    out = tmp_path_factory.mktemp("release") / "dist"
    done = released(out)
    assert done.returncode == 0, done.stderr
    return out


def test_second_run_gives_the_same_bytes(dist: Path, tmp_path: Path) -> None:
    done = released(tmp_path / "again", TZ="Asia/Tokyo", SOURCE_DATE_EPOCH="1", LC_ALL="C")
    assert done.returncode == 0, done.stderr
    first, second = (
        {path.name: path.read_bytes() for path in it.iterdir()} for it in (dist, tmp_path / "again")
    )
    assert first.keys() == FILES
    assert [name for name in first if first[name] != second[name]] == []


def test_checksums_are_those_of_all_files(dist: Path) -> None:
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=dist, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert {line.split()[1] for line in (dist / "SHA256SUMS").read_text().splitlines()} == FILES - {
        "SHA256SUMS"
    }


def test_version_that_the_commit_is_not_is_refused_with_every_place(tmp_path: Path) -> None:
    done = released(tmp_path / "dist", "77.0.0")
    assert done.returncode == 1
    assert done.stderr.startswith("error: the commit ")
    for place in (
        "pyproject.toml version",
        "chart/Chart.yaml appVersion",
        "manifests/base/kustomization.yaml newTag",
    ):
        assert f"{place} says {__version__}" in done.stderr
    assert not (tmp_path / "dist").exists()


@pytest.mark.parametrize(
    "image",
    [
        pytest.param("registry.example.org/stormfold:0.1.0", id="with a tag, as make image takes it"),
        pytest.param("stormfold@sha256:12", id="with a digest"),
        pytest.param("registry.example.org/Stormfold", id="with a capital letter"),
        pytest.param("a b", id="with a space"),
    ],
)
def test_image_that_is_no_name_without_a_tag_is_refused(image: str, tmp_path: Path) -> None:
    done = released(tmp_path / "dist", IMAGE=image)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: IMAGE={image} is not the name of an image without its tag. The release is tagged "
        f"{__version__}: leave out the tag, as in IMAGE=registry.example.org/stormfold\n"
    )
    assert not (tmp_path / "dist").exists()


def test_wheel_is_of_this_version(dist: Path) -> None:
    with zipfile.ZipFile(dist / f"stormfold-{__version__}-py3-none-any.whl") as wheel:
        metadata = wheel.read(f"stormfold-{__version__}.dist-info/METADATA").decode()
    assert f"\nVersion: {__version__}\n" in metadata


def test_wheel_holds_the_operator_and_nothing_of_the_lab(dist: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "operator/stormfold"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    with zipfile.ZipFile(dist / f"stormfold-{__version__}-py3-none-any.whl") as wheel:
        files = {name for name in wheel.namelist() if ".dist-info/" not in name}
        metadata = wheel.read(f"stormfold-{__version__}.dist-info/METADATA").decode()
    assert files == {line.removeprefix("operator/") for line in listed.stdout.splitlines()}
    assert "Provides-Extra" not in metadata


def test_sbom_names_every_locked_package_with_its_digests(dist: Path) -> None:
    bom = json.loads((dist / f"stormfold-{__version__}.cdx.json").read_text())
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")
    assert bom["metadata"]["component"]["purl"] == f"pkg:pypi/stormfold@{__version__}"
    lock = (ROOT / "requirements.lock").read_text()
    assert {(it["name"], it["version"]) for it in bom["components"]} == set(
        re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", lock, re.MULTILINE)
    )
    digests = {
        digest["content"]
        for component in bom["components"]
        for reference in component["externalReferences"]
        for digest in reference["hashes"]
    }
    assert digests == set(re.findall(r"sha256:([0-9a-f]{64})", lock))


async def test_chart_of_the_release_has_the_image_of_the_release(dist: Path, tmp_path: Path) -> None:
    helm, package = Helm(tmp_path), dist / f"stormfold-chart-{__version__}.tgz"
    assert "1 chart(s) linted, 0 chart(s) failed" in await helm("lint", "--strict", package)
    own = {"redis": {"existingSecret": "own"}}
    assert await helm.rendered(own, package) == await helm.rendered({**own, "image": {"repository": IMAGE}})


def setup(name: str) -> Any:
    """The script of the Job, as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "manifests" / "install" / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_default_policy_is_that_of_the_overlays() -> None:
    policy = yaml.safe_load((ROOT / "manifests" / "base" / "default-policy.yaml").read_text())
    policy["metadata"]["labels"]["app.kubernetes.io/part-of"] = "stormfold"
    assert setup("policy").policy() == policy


@pytest.fixture
def bare() -> Iterator[ControlPlane]:
    """An API server on which nothing of stormfold is."""
    with ControlPlane(ensure_binaries()) as running:
        guard.own(running.url)
        yield running
        guard.disown(running.url)


async def test_one_command_installs_on_a_bare_cluster_and_the_job_makes_the_rest(
    bare: ControlPlane,
    dist: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kubectl = Kubectl(bare.kubeconfig)
    apply = ("apply", "--server-side", "--warnings-as-errors", "-f", str(dist / "install.yaml"))
    await kubectl(*apply)
    inside = ("-n", "stormfold-system", "get")
    for deployed in ("deployment/stormfold", "job/stormfold-setup"):
        spec = (await kubectl.json(*inside, deployed))["spec"]["template"]["spec"]
        assert spec["containers"][0]["image"] == f"{IMAGE}:{__version__}"

    script = setup("job")
    script.ACCOUNT = tmp_path
    token = await asyncio.to_thread(bare.service_account_token, "stormfold-system", "stormfold-setup")
    (tmp_path / "token").write_text(token)
    (tmp_path / "ca.crt").write_bytes(bare.ca_file.read_bytes())
    for name, value in (
        ("NAMESPACE", "stormfold-system"),
        ("KUBERNETES_SERVICE_HOST", "127.0.0.1"),
        ("KUBERNETES_SERVICE_PORT", str(bare.port)),
    ):
        monkeypatch.setenv(name, value)
    await asyncio.to_thread(script.main)
    assert capsys.readouterr().out.splitlines() == [
        "Secret stormfold-redis is created",
        "ClusterStormPolicy default is created",
    ]
    made = (await kubectl.json(*inside, "secret", "stormfold-redis"))["data"]
    password, url = (base64.b64decode(made[key]).decode() for key in ("password", "url"))
    assert len(password) == 48
    assert url == f"redis://:{password}@stormfold-valkey.stormfold-system:6379/0"

    # Applied again, as an upgrade is.
    await kubectl(*apply)
    await asyncio.to_thread(script.main)
    assert capsys.readouterr().out.splitlines() == [
        "Secret stormfold-redis is there and stays as it is",
        "ClusterStormPolicy default is there and stays as it is",
    ]
    assert (await kubectl.json(*inside, "secret", "stormfold-redis"))["data"] == made
    # The account of the Job may do nothing else.
    listing = await kubectl(
        *("auth", "can-i", "--list", "--as=system:serviceaccount:stormfold-system:stormfold-setup"),
        *("-n", "stormfold-system", "--no-headers"),
    )
    rights = [line.split() for line in listing.splitlines() if "create" in line or "get" not in line]
    assert [(right[0], right[-1]) for right in rights if "selfsubject" not in right[0]] == [
        ("secrets", "[create]"),
        ("clusterstormpolicies.stormfold.dev", "[create]"),
    ]


WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_workflows_are_sound() -> None:
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "release.yml"]
    done = subprocess.run([actionlint(), *WORKFLOWS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflow_holds_no_secret_and_no_right_that_it_does_not_need(path: Path) -> None:
    text = path.read_text()
    assert "secrets." not in text
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    (job,) = workflow["jobs"].values()
    rights = {"contents": "write", "packages": "write"} if path.name == "release.yml" else None
    assert job.get("permissions") == rights
    for step in job["steps"]:
        if "uses" in step:
            assert re.fullmatch(r"actions/[a-z-]+@(v\d+|[0-9a-f]{40})", step["uses"])


def test_workflow_runs_what_a_developer_runs() -> None:
    ci, release = (yaml.safe_load(path.read_text())["jobs"] for path in WORKFLOWS)
    assert ".ci/run" in [step.get("run") for step in ci["all"]["steps"]]
    commands = " ".join(step.get("run", "") for step in release["release"]["steps"])
    assert commands.count('make release VERSION="$VERSION"') == 2
