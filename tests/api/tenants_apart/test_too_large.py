"""An object so large that nothing more can be written to it: it holds up nothing but itself."""

from __future__ import annotations

import pytest
from tests.harness.api import Api, ApiError
from tests.harness.eventually import eventually
from tests.harness.resources import signal
from tests.harness.stage import Stage

from stormfold.kube.errors import RefusedError, error_of

LABELS = 25_000
"""Each has some 70 bytes; etcd takes 1.5 MiB."""
TOO_LARGE = {"status": "Failure", "message": "etcdserver: request is too large"}


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_words_of_etcd_about_what_is_too_large_mean_that_a_repetition_does_not_help(
    api: Api, namespace: str
) -> None:
    large = signal(namespace, "large", "Trouble")
    large["metadata"]["labels"] = {f"k{number:06}": "x" * 63 for number in range(LABELS)}
    with pytest.raises(ApiError) as refused:
        await api.create(large)
    assert refused.value.status == 500
    assert type(error_of("POST", 500, {"message": str(refused.value)})) is RefusedError


@pytest.mark.started(closeAfter="1h")
async def test_signal_to_which_no_status_can_be_written_holds_up_no_checkpoint(stage: Stage) -> None:
    """It waits for the status of one that no policy takes: that is its only trace."""
    team = stage.team
    refused = stage.api_proxy.respond("PATCH", "/signals/large/status", 500, TOO_LARGE, times=None)
    made = await stage.api.create(signal(await team.another_namespace(), "large", "Trouble"))
    await eventually(refused.arrived.is_set, within=30, what="its status is refused")
    await team.report("trouble", 2)
    await team.counted("trouble")
    version = int(made["metadata"]["resourceVersion"])
    await eventually(
        lambda: stage.metric("stormfold_checkpoint_resource_version", kind="Signal"),
        lambda seen: seen > version,
        within=30,
        what="the checkpoint passes it",
    )
