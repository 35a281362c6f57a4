"""What a real Alertmanager sends, and when: the ground on which the tests of the webhook stand."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.api.conftest import NewAlertmanager
from tests.harness.alertmanager import config, pod_alerts
from tests.harness.eventually import eventually
from tests.harness.programs import ALERTMANAGER, module_version
from tests.harness.receiver import Receiver

from lab.controlplane import ControlPlane


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that takes everything."""
    async with Receiver().running() as running:
        yield running


async def test_group_is_one_body_that_is_repeated_and_ends_with_the_resolved(
    alertmanager: NewAlertmanager, receiver: Receiver
) -> None:
    sender = await alertmanager(config([receiver.url], repeat_interval="600ms"))
    crashes, misses = pod_alerts("CrashLooping", 4), pod_alerts("ProbeFailed", 3)
    await sender.post(crashes + misses)
    # Each alert at least three times: repeat_interval has gone by twice.
    await eventually(receiver.counted, lambda seen: len(seen) == 7 and min(seen.values()) >= 3)
    sizes = {len(delivery.instances("firing")) for delivery in receiver.deliveries}
    keys = {delivery.body["groupKey"] for delivery in receiver.deliveries}
    assert (sizes, len(keys)) == ({4, 3}, 2)
    assert {delivery.body.get("truncatedAlerts", 0) for delivery in receiver.deliveries} == {0}
    assert len(await sender.alerts()) == 7
    over = [alert.resolved() for alert in crashes[:2] + misses]
    await sender.post(over)
    resolved = await eventually(lambda: receiver.counted("resolved"), lambda seen: len(seen) == 5)
    assert resolved.keys() < receiver.counted("firing").keys(), "an alert keeps its fingerprint and its start"
    last = next(it for it in receiver.deliveries if len(it.instances("resolved")) == 2)
    assert (last.body["status"], len(last.instances("firing"))) == ("firing", 2)


async def test_body_that_is_answered_503_comes_again_until_it_is_taken(
    alertmanager: NewAlertmanager, receiver: Receiver
) -> None:
    sender = await alertmanager(config([receiver.url]))
    receiver.answer = 503
    await sender.post(pod_alerts("CrashLooping", 5))
    await eventually(lambda: len(receiver.deliveries) >= 2, what="the body came twice")
    receiver.answer = 200
    await eventually(receiver.taken, what="the body is taken")
    refused = len(receiver.deliveries) - 1
    await eventually(sender.attempts, lambda seen: seen == (refused + 1, refused))
    assert await sender.sent() == 1
    assert set(receiver.counted().values()) == {1}


async def test_body_that_is_answered_400_comes_again_with_the_next_interval(
    alertmanager: NewAlertmanager, receiver: Receiver
) -> None:
    sender = await alertmanager(config([receiver.url]))
    receiver.answer = 400
    await sender.post(pod_alerts("CrashLooping", 5))
    await eventually(lambda: len(receiver.deliveries) >= 2, what="the body came twice")
    receiver.answer = 200
    await eventually(receiver.taken, what="the body is taken")
    assert await sender.sent() >= 3, "each was a notification of its own"


async def test_member_of_a_cluster_leaves_it_to_the_one_before_it(
    alertmanager: NewAlertmanager, receiver: Receiver
) -> None:
    first = await alertmanager(config([receiver.url]), cluster=True)
    second = await alertmanager(config([receiver.url]), peer=first, peer_timeout="1s")
    alerts = pod_alerts("CrashLooping", 5)
    for sender in (first, second):
        await sender.post(alerts)
    # The second one looks when its turn has come, a second after the first one's.
    await eventually(second.looks, lambda seen: seen >= 2)
    assert [await first.sent(), await second.sent()] == [1, 0]
    assert list(receiver.counted().values()) == [1] * 5


async def test_pair_that_has_lost_each_other_sends_everything_twice(
    alertmanager: NewAlertmanager, receiver: Receiver
) -> None:
    pair = [await alertmanager(config([receiver.url])) for _ in range(2)]
    alerts = pod_alerts("CrashLooping", 5)
    for sender in pair:
        await sender.post(alerts)
    counted = await eventually(receiver.counted, lambda seen: set(seen.values()) == {2})
    assert len(counted) == 5, "both say the same fingerprints and starts"
    assert [await sender.sent() for sender in pair] == [1, 1]


async def test_token_and_authority_are_used(
    alertmanager: NewAlertmanager, control_plane: ControlPlane, tmp_path: Path
) -> None:
    # The API server signed its certificate itself, for 127.0.0.1.
    certificate = control_plane.ca_file
    trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trust.load_cert_chain(certificate, certificate.with_suffix(".key"))
    token = tmp_path / "token"
    token.write_text("s3cret")
    async with Receiver(trust).running() as receiver:
        sender = await alertmanager(config([receiver.url], token_file=token, ca_file=certificate))
        await sender.post(pod_alerts("CrashLooping", 1))
        (delivery,) = await eventually(receiver.taken)
        assert delivery.authorization == "Bearer s3cret"


async def test_versions_are_debians_and_the_one_that_go_mod_names(
    alertmanager: NewAlertmanager, receiver: Receiver, alertmanager_program: Path
) -> None:
    sender = await alertmanager(config([receiver.url]))
    (version,) = {
        labels["version"]
        for name, labels, _ in (await sender.metrics()).samples
        if name == "alertmanager_build_info"
    }
    current = module_version(ALERTMANAGER).removeprefix("v")
    assert (version == current) == (alertmanager_program.name == "alertmanager")
