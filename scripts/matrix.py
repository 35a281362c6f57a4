"""Runs tests of the API tier against API servers of other versions, and says how each went.

    make matrix VERSIONS="v1.32.13 v1.35.4"

A kube-apiserver is built from its Go modules once (5 to 10 minutes on two cores, each) and stays in the
cache. PYTEST_ARGS chooses tests; unless set, those that ask most of an API server. Redis and Valkey, and
two Alertmanagers, are part of `make test-redis` and `make test-api`.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

from lab.building import (
    GO_ENVIRONMENT,
    MODULE,
    build_flags,
    build_one,
    cache_home,
    ensure_binaries,
    go_program,
    made_once,
    to_stderr,
)

ROOT = Path(__file__).parent.parent
TESTS = [
    f"tests/api/{name}.py"
    for name in (
        "policies/test_schema",
        "nothing_lost/test_signals",
        "policies/test_policies",
        "policies/test_precedence",
        "one_request/test_consumers",
        "one_request/test_windows",
        "nothing_lost/test_events",
        "tenants_apart/test_rbac",
        "nothing_lost/test_webhook",
        "nothing_lost/test_webhook_files",
        "nothing_lost/test_webhook_limits",
        "nothing_lost/test_webhook_refusals",
        "nothing_lost/test_webhook_tokens",
        "installed/test_chart",
        "installed/test_chart_pods",
        "installed/test_chart_release",
    )
]
TOOLS = """//go:build tools

package matrix

import _ "k8s.io/kubernetes/cmd/kube-apiserver"
"""


def go_mod(version: str) -> str:
    """A Go module that requires Kubernetes in a version, and its parts in the same one."""
    parts = re.findall(r"^\s*(k8s\.io/\S+) => ", (MODULE / "go.mod").read_text(), re.MULTILINE)
    minor = "v0." + version.removeprefix("v1.")
    replaced = "\n".join(f"\t{part} => {part} {minor}" for part in parts)
    required = f"module stormfold.dev/matrix\n\ngo 1.26.0\n\nrequire k8s.io/kubernetes {version}\n"
    return f"{required}\nreplace (\n{replaced}\n)\n"


def assets(version: str) -> Path:
    """A folder with etcd and the kube-apiserver of a version, built if need be."""
    usual = ensure_binaries()
    if version == usual.version:
        return usual.kube_apiserver.parent

    def make(folder: Path) -> None:
        module = folder / "module"
        module.mkdir()
        (module / "go.mod").write_text(go_mod(version))
        (module / "tools.go").write_text(TOOLS)
        go = go_program()
        to_stderr(f"building kube-apiserver {version} from source, once: 5 to 10 minutes on two cores")
        surroundings = os.environ | {**GO_ENVIRONMENT, "GOFLAGS": "-mod=mod"}
        subprocess.run([go, "mod", "tidy"], cwd=module, env=surroundings, check=True)
        package = "k8s.io/kubernetes/cmd/kube-apiserver"
        build_one(
            go,
            package,
            folder / "kube-apiserver",
            flags=build_flags(version),
            module=module,
            progress=to_stderr,
        )
        (folder / "etcd").symlink_to(usual.etcd)

    return made_once(cache_home() / "matrix" / version, make, what=f"kube-apiserver {version}")


def main() -> int:
    """The exit code: 0 if all versions passed."""
    versions = sys.argv[1:]
    if not versions or not all(re.fullmatch(r"v1\.\d+\.\d+", version) for version in versions):
        print('usage: make matrix VERSIONS="v1.32.13 v1.35.4"', file=sys.stderr)
        return 2
    folders = {version: assets(version) for version in versions}
    chosen = shlex.split(os.environ.get("PYTEST_ARGS", "")) or [*TESTS, "-n", "2", "--dist", "loadfile"]
    rows, failed = [], False
    for version, folder in folders.items():
        started = time.monotonic()
        command = [sys.executable, "-m", "pytest", "-q", *chosen]
        environment = os.environ | {"KUBEBUILDER_ASSETS": str(folder)}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, check=False, stdout=subprocess.PIPE, text=True
        )
        sys.stdout.write(done.stdout)
        failed |= done.returncode != 0
        closing = done.stdout.strip().splitlines()[-1].strip("= ") if done.stdout.strip() else "no test ran"
        rows.append(f"| {version} | {'passed' if done.returncode == 0 else 'FAILED'} | {closing} |")
        to_stderr(f"{version}: {time.monotonic() - started:.0f} s")
    print("\n".join(["", "| kube-apiserver | | tests |", "|---|---|---|", *rows]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
