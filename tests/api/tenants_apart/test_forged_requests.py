"""Requests that stormfold has not made, or not this version of it: whoever may create them ends nothing and
stops no other."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.conftest import NewOperator
from tests.harness.api import Api, Manifest
from tests.harness.scene import Scene

from stormfold.model.group import PolicyId, group_hash
from stormfold.model.storm import request_name


def forged(namespace: str, hash_: str, **spec: Any) -> Manifest:
    """A request of a cluster policy, as far as the API server can tell."""
    said = {
        "groupHash": hash_,
        "epoch": 1,
        "name": "Trouble",
        "severity": "high",
        "openedAt": "2026-01-01T00:00:00Z",
        "policyRef": {"kind": "ClusterStormPolicy", "name": "forged", "uid": "u", "generation": 1},
        "policy": {"groupBy": ["name", "namespace"]},
    }
    return {
        "apiVersion": "stormfold.dev/v1alpha1",
        "kind": "RemediationRequest",
        "metadata": {"name": request_name(hash_, 1), "namespace": namespace},
        "spec": said | spec,
    }


@pytest.mark.parametrize("when", ["before the start", "afterwards"])
async def test_request_of_a_policy_with_keys_that_nobody_knows_ends_nothing(
    operator: NewOperator, api: Api, namespace: str, when: str
) -> None:
    process = await operator(start=False)
    scene = Scene(api, namespace, process)
    strange = forged(namespace, "0" * 16, policy={"groupBy": ["flavour"], "causes": ["colour"]})
    elsewhere = await scene.another_namespace()
    if when == "before the start":
        await api.create(strange)
    await process.start()
    if when == "afterwards":
        await api.create(strange)
    await scene.policy(namespace=elsewhere)
    await scene.pods("Trouble", 2, namespace=elsewhere)
    await scene.comes_to((1, "Settled", 2), namespace=elsewhere)
    await process.restart()
    await scene.pods("Trouble", 2, first=2, namespace=elsewhere)
    await scene.comes_to((1, "Settled", 4), namespace=elsewhere)


async def test_request_that_cannot_be_read_holds_up_its_own_group_and_no_other(
    operator: NewOperator, api: Api, namespace: str
) -> None:
    process = await operator()
    scene = Scene(api, namespace, process)
    await scene.policy("team")
    values = (("name", "Trouble"), ("namespace", namespace))
    hash_ = group_hash(PolicyId("StormPolicy", namespace, "team"), values)
    unreadable = await api.create(forged(namespace, hash_, openedAt="0000-01-01T00:00:00Z"))
    [signal] = await scene.pods("Trouble", 1)
    await scene.events_come_to(signal, [("Warning", "RequestRefused")])
    await scene.pods("Other", 1)
    await scene.requests_come_to(
        "spec.name status.phase status.signals.total", [("Other", "Settled", 1), ("Trouble", None, None)]
    )
    assert "please report this" not in process.log.read_text()
    await api.delete("RemediationRequest", unreadable["metadata"]["name"], namespace)
    await scene.requests_come_to(
        "spec.name status.phase status.signals.total", [("Other", "Settled", 1), ("Trouble", "Settled", 1)]
    )


async def test_copy_of_a_request_in_another_namespace_takes_nothing_from_it(
    operator: NewOperator, api: Api, namespace: str
) -> None:
    """As a backup makes one that is restored beside its original, or somebody who forges it."""
    process = await operator()
    scene = Scene(api, namespace, process)
    elsewhere = await scene.another_namespace()
    await scene.policy("team")
    await scene.pods("Trouble", 2)
    [request] = await scene.comes_to((1, "Settled", 2))
    where = {"name": request["metadata"]["name"], "namespace": elsewhere}
    copy = {key: request[key] for key in ("apiVersion", "kind", "spec")}
    copied = await api.create(copy | {"metadata": where})
    for number in range(2, 6):
        await scene.pods("Trouble", 1, first=number)
        await scene.comes_to((1, "Settled", number + 1))
        if number == 3:
            await process.restart()
    lies = {"phase": "Open", "remediation": {"phase": "Succeeded"}}
    await api.patch("RemediationRequest", where["name"], elsewhere, {"status": lies}, subresource="status")
    await scene.pods("Trouble", 1, first=6)
    await scene.comes_to((1, "Settled", 7))
    left = await api.get("RemediationRequest", where["name"], elsewhere)
    assert left is not None
    assert left["spec"] == copied["spec"]
    assert left["status"] == lies
