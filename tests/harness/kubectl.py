"""kubectl against a cluster of this test run, and no other."""

from __future__ import annotations

from pathlib import Path

from tests.harness.guard import refuse_foreign

from lab import kubectl
from lab.kubectl import KubectlError

__all__ = ["Kubectl", "KubectlError"]


class Kubectl(kubectl.Kubectl):
    """`await kubectl("get", "signals", "-A")` gives what it printed; errors raise `KubectlError`."""

    def __init__(self, kubeconfig: Path) -> None:
        super().__init__(refuse_foreign(kubeconfig))

    async def may(self, user: str, verb: str, what: str, *where: str) -> bool:
        """Whether a user has a right, as the API server knows now; `where` is `-A`, or `-n` and a
        namespace."""
        try:
            await self("auth", "can-i", verb, what, *where, f"--as={user}")
        except KubectlError:
            return False
        return True
