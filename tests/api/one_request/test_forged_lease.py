"""Whatever somebody has written into the Lease, somebody leads."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.conftest import OPERATOR_NAMESPACE, NewOperator
from tests.harness.api import Api
from tests.harness.scene import Scene

MOST = 2**31 - 1


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"holderIdentity": "", "leaseTransitions": MOST}, id="no number is left"),
        pytest.param({"holderIdentity": "nobody", "leaseDurationSeconds": MOST}, id="for 68 years"),
    ],
)
async def test_lease_that_somebody_has_forged_is_taken(
    operator: NewOperator, api: Api, namespace: str, spec: dict[str, Any]
) -> None:
    metadata = {"name": "stormfold-ingest", "namespace": OPERATOR_NAMESPACE}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}
    await api.create(lease | {"spec": spec})
    process = await operator(ready=False)
    scene = Scene(api, namespace, process)
    await scene.policy()
    await scene.pods("Trouble", 1)
    await scene.comes_to((1, "Settled", 1))
