"""etcd and kube-apiserver: those of this machine, else built from their published Go modules, once, into a
cache.

The versions that are built are those of `go/go.mod`, which is the only place that names them. A first
build compiles about 2,100 packages and takes 5 to 10 minutes on two cores, so every step reports progress.
Two builders on one machine do not collide: one builds, the other waits at a file lock and then finds the
result.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

MODULE = Path(__file__).parent / "go"
OLDEST_GO = (1, 21)
"""From here on `go` fetches by itself the newer toolchain that a go.mod asks for."""
GO_ENVIRONMENT = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"}
OLDEST_KUBERNETES = (1, 32)
"""Older ones do not take our CRDs."""
PROGRESS_SECONDS = 3.0
ASKED_SECONDS = 30.0
"""Within this a program must tell its version."""

Progress = Callable[[str], None]
"""Takes one line for the person who waits."""


class BuildError(RuntimeError):
    """The control plane cannot be built here; the message says what is missing or what `go` answered."""


@dataclass(frozen=True)
class Binaries:
    """The programs of a control plane."""

    etcd: Path
    kube_apiserver: Path
    version: str
    """Of Kubernetes, such as `v1.37.2`."""


def to_stderr(line: str) -> None:
    """Progress for a terminal or a build log."""
    print(f"stormfold: {line}", file=sys.stderr, flush=True)


def cache_home() -> Path:
    """`$STORMFOLD_CACHE`, else `stormfold` in the user's cache folder."""
    if own := os.environ.get("STORMFOLD_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stormfold"


def ensure_binaries(progress: Progress = to_stderr) -> Binaries:
    """Programs of this machine if there are any (`ready_made`), else built ones, from the cache if they are
    there; blocks for minutes if they are not.

    A crash leaves a temporary folder in the cache and no half result.

    Raises:
        BuildError: `go` is missing, too old, or failed.
    """
    if found := ready_made(progress):
        return found
    version = _kubernetes_version()
    folder = cache_home() / "controlplane" / f"{version}-{_fingerprint()}"

    def build(scratch: Path) -> None:
        progress(
            f"building etcd and kube-apiserver {version} from source, once: 5 to 10 minutes on two cores, "
            f"and this machine "
            f"has {os.cpu_count()}; faster: KUBEBUILDER_ASSETS (`setup-envtest use -p path`) or CLUSTER=kind"
        )
        _build(scratch, progress)

    made_once(folder, build, what="the control plane", progress=progress)
    return Binaries(folder / "etcd", folder / "kube-apiserver", version)


def ready_made(progress: Progress = to_stderr) -> Binaries | None:
    """The programs in `$KUBEBUILDER_ASSETS`, else those on PATH; None if neither place has both, runnable and
    new enough.

    What was passed over, and why, is told to `progress`, unless nothing is there at all.
    """
    places: list[tuple[str, Path, Path]] = []
    if assets := os.environ.get("KUBEBUILDER_ASSETS"):
        places.append(
            (f"KUBEBUILDER_ASSETS={assets}", Path(assets) / "etcd", Path(assets) / "kube-apiserver")
        )
    etcd, kube_apiserver = (shutil.which(name) for name in ("etcd", "kube-apiserver"))
    if etcd and kube_apiserver:
        places.append(("PATH", Path(etcd), Path(kube_apiserver)))
    for place, etcd_path, apiserver_path in places:
        try:
            _version_of(etcd_path)
            version = _version_of(apiserver_path)
        except (OSError, subprocess.SubprocessError) as error:
            progress(f"{place} is not used: {error}")
            continue
        number = re.match(r"v(\d+)\.(\d+)", version)
        if number is None or (int(number[1]), int(number[2])) < OLDEST_KUBERNETES:
            oldest = ".".join(map(str, OLDEST_KUBERNETES))
            progress(f"{place} is not used: its kube-apiserver is {version}, and {oldest} or newer is needed")
            continue
        progress(f"using etcd and kube-apiserver {version} of {place}")
        return Binaries(etcd_path, apiserver_path, version)
    return None


def _version_of(program: Path) -> str:
    """The first version that a program prints, such as `v1.37.2`; OSError or SubprocessError if it does not
    run."""
    done = subprocess.run(
        [program, "--version"], check=True, capture_output=True, text=True, timeout=ASKED_SECONDS
    )
    found = re.search(r"v?(\d+\.\d+\.\d\S*)", done.stdout)
    return f"v{found[1]}" if found else done.stdout.strip()


def made_once(
    folder: Path, make: Callable[[Path], None], *, what: str, progress: Progress = to_stderr
) -> Path:
    """The folder, filled by `make` unless it is there already; whoever else wants it meanwhile waits.

    `make` fills a temporary folder beside it. A crash leaves that one behind, and no half result.
    """
    if folder.is_dir():
        return folder
    home = folder.parent
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"{what}: another process is making it; waiting for that")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            started = time.monotonic()
            scratch = Path(tempfile.mkdtemp(prefix="building-", dir=home))
            try:
                make(scratch)
                scratch.rename(folder)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
            progress(f"{what}: made in {time.monotonic() - started:.0f} s, kept in {folder}")
    return folder


def _kubernetes_version() -> str:
    found = re.search(r"^\s*k8s\.io/kubernetes (v\S+)", (MODULE / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise BuildError(f"{MODULE / 'go.mod'} does not require k8s.io/kubernetes")
    return found[1]


def _fingerprint() -> str:
    """Changes with every file of the Go module, with the flags and with the kind of machine."""
    digest = hashlib.blake2b(
        repr((build_flags(_kubernetes_version()), GO_ENVIRONMENT, platform.machine())).encode(), digest_size=6
    )
    for path in sorted(p for p in MODULE.rglob("*") if p.is_file()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _build(folder: Path, progress: Progress) -> None:
    go, flags = go_program(), build_flags(_kubernetes_version())
    for name, package in (("etcd", "./etcd"), ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver")):
        build_one(go, package, folder / name, flags=flags, module=MODULE, progress=progress)


def build_one(
    go: str, package: str, program: Path, *, flags: list[str], module: Path, progress: Progress
) -> None:
    """Compile a package of the Go module in the folder `module`, and tell how far that is.

    Raises:
        BuildError: what `go` answered.
    """
    name = program.name
    progress(f"{name}: looking at its modules (the first time downloads them)")
    listed = _go_lines([go, "list", "-deps", package], module, name, progress, "modules downloaded: {}")
    counted = f"{{}} of about {len(listed):,} packages compiled"
    _go_lines([go, "build", *flags, "-o", str(program), package], module, name, progress, counted)


def go_program() -> str:
    """`go`, if it is new enough.

    Raises:
        BuildError: it is not, or it is missing.
    """
    go = shutil.which("go")
    wanted = f"Go {OLDEST_GO[0]}.{OLDEST_GO[1]} or newer"
    if go is None:
        raise BuildError(
            f"`go` is not on PATH: install {wanted} (https://go.dev/dl), or use CLUSTER=kind or "
            f"CLUSTER=current"
        )
    answer = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False)
    number = re.match(r"go(\d+)\.(\d+)", answer.stdout.strip())
    if number is None or (int(number[1]), int(number[2])) < OLDEST_GO:
        said = answer.stdout.strip() or answer.stderr.strip()
        raise BuildError(f"`{go}` is too old ({said}): install {wanted} (https://go.dev/dl)")
    return go


def build_flags(version: str) -> list[str]:
    """Flags of `go build`; the version is stamped in because a plain build calls itself v0.0.0."""
    major, minor = version.removeprefix("v").split(".")[:2]
    stamp = "k8s.io/component-base/version"
    linked = f"-s -w -X {stamp}.gitVersion={version} -X {stamp}.gitMajor={major} -X {stamp}.gitMinor={minor}"
    return ["-v", "-trimpath", "-ldflags", linked]


def _go_lines(command: list[str], module: Path, name: str, progress: Progress, counted: str) -> list[str]:
    """What `go` printed, while the lines of its stderr are counted to `progress` every few seconds."""
    environment = os.environ | GO_ENVIRONMENT
    errors: list[str] = []
    told = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command, cwd=module, env=environment, stdout=output, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        with closing(process.stderr):
            for line in process.stderr:
                errors.append(line.rstrip())
                if time.monotonic() - told >= PROGRESS_SECONDS:
                    told = time.monotonic()
                    progress(f"{name}: {counted.format(f'{len(errors):,}')}")
        if process.wait() != 0:
            raise BuildError(f"`go {command[1]}` of {name} failed:\n" + "\n".join(errors[-15:]))
        output.seek(0)
        return output.read().splitlines()


def main() -> int:
    """Build what is missing and say where it is: `python -m lab.building`."""
    try:
        binaries = ensure_binaries()
    except BuildError as error:
        to_stderr(f"error: {error}")
        return 1
    to_stderr(f"control plane {binaries.version} is in {binaries.etcd.parent}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
