"""`python -m lab.demo`: arguments in, exit code out."""

from __future__ import annotations

import argparse
import asyncio
import sys

from lab.demo.run import SIGNALS, demo

ENVIRONMENT = """\
in the environment:
  CLUSTER            unset: an API server of its own; kind: a kind cluster, with the image and the chart;
                     current: the cluster that kubectl finds
  KUBEBUILDER_ASSETS folder with etcd and kube-apiserver; unset: those on PATH, or built once
  STORMFOLD_CACHE    where built programs are kept; unset: ~/.cache/stormfold
  KIND_IMAGE, PYTHON_IMAGE, VALKEY_IMAGE
                     with CLUSTER=kind: the image of the node, the base of the operator's, the one of Valkey
"""


def main() -> int:
    """Run the demo with the arguments of the command line; gives its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.demo",
        description="Shows storms of signals that become one RemediationRequest each.",
        epilog=ENVIRONMENT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--json", action="store_true", help="end with one JSON line on stdout, all else on stderr"
    )
    parser.add_argument(
        "--signals", type=int, default=SIGNALS, metavar="N", help=f"how many signals (default: {SIGNALS})"
    )
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    arguments = parser.parse_args()
    return asyncio.run(demo(as_json=arguments.json, signals=arguments.signals, keep=arguments.keep))


if __name__ == "__main__":
    sys.exit(main())
