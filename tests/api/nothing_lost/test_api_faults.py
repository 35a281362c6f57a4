"""What an API server may answer, in the way of every call: the counts are exact all the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from tests.api.conftest import NewNamespace, Restart
from tests.harness.api import Api
from tests.harness.eventually import eventually
from tests.harness.stage import Stage
from tests.harness.team import Team

SIGNALS = "/apis/stormfold.dev/v1alpha1/signals"
WATCH = rf"{SIGNALS}\?watch"
LIST = rf"{SIGNALS}\?limit"
EXPIRED = {"status": "Failure", "reason": "Expired", "message": "too old resource version"}


def error_event(code: int) -> Mapping[str, Any]:
    """What a watch says before it ends for a reason."""
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "injected"}
    return {"type": "ERROR", "object": status}


async def watching(stage: Stage) -> None:
    """Wait until the Signals are watched."""
    await eventually(
        lambda: stage.api_proxy.open_watches(WATCH),
        lambda watches: len(watches) == 1,
        within=30,
        what="a watch",
    )


@pytest.mark.parametrize("status", [410, 429, 500, 503])
@pytest.mark.started
async def test_watch_that_is_refused_is_begun_again(status: int, stage: Stage) -> None:
    team, proxy = stage.team, stage.api_proxy
    await team.report("trouble", 6)
    await watching(stage)
    refusal = proxy.respond("GET", WATCH, status, EXPIRED, headers={"Retry-After": "1"}, times=2)
    assert proxy.end_watches(WATCH) == 1
    await team.report("trouble", 7)
    await team.assert_exact()
    assert refusal.hits == 2
    # Only 410 says that what lies between is lost; a new list costs the API server more than a watch.
    lists = await stage.metric("stormfold_lists_total", kind="Signal")
    assert lists == (3 if status == 410 else 1)


@pytest.mark.started
async def test_watch_that_breaks_is_begun_again(stage: Stage) -> None:
    team, proxy = stage.team, stage.api_proxy
    for name in ("expired", "failed", "half-a-line", "ended"):
        await team.report(name, 4)
        await watching(stage)
        match name:
            case "expired":
                assert await proxy.inject(WATCH, error_event(410)) == 1
            case "failed":
                assert await proxy.inject(WATCH, error_event(500)) == 1
            case "half-a-line":
                (watch,) = proxy.open_watches(WATCH)
                await watch.response.write(b'{"type": "ADDED", "object": {"metadata": {"na')
                proxy.end_watches(WATCH)
            case "ended":
                proxy.end_watches(WATCH)
        await team.report(name, 5)
        await team.counted(name)
    await team.assert_exact()
    assert await stage.metric("stormfold_lists_total", kind="Signal") == 2


async def test_list_that_fails_half_way_is_begun_again(stage: Stage) -> None:
    team, proxy = stage.team, stage.api_proxy
    await team.policy()
    total = 520  # more than a page
    await stage.api.create_all([team.next_signal("trouble") for _ in range(total)])
    refusals = [
        proxy.respond("GET", LIST, 429, headers={"Retry-After": "1"}),
        proxy.respond("GET", LIST, 500),
        proxy.respond("GET", LIST, 503),
        proxy.cut("GET", LIST, when="after"),
        proxy.respond("GET", rf"{LIST}.*continue=", 410, EXPIRED),
    ]
    await stage.operator.start()
    totals = await eventually(
        lambda: team.totals("trouble"), lambda seen: sum(seen) >= total, within=60, what="all are counted"
    )
    assert totals == [total]
    assert [rule.hits for rule in refusals] == [1, 1, 1, 1, 1]


@pytest.mark.started
async def test_failed_writes_of_requests_are_repeated_without_harm(stage: Stage) -> None:
    team, proxy = stage.team, stage.api_proxy
    creates = f"/namespaces/{team.namespace}/remediationrequests$"
    rules = []
    for name in ("throttled", "failed", "failed-after", "cut", "cut-after"):
        patches = f"/remediationrequests/storm-{team.group_hash(name)}-1/status"
        body = f'"{name}"'.encode()
        for method, path, match in (("POST", creates, body), ("PATCH", patches, b"")):
            what = {
                "body": lambda text, match=match: match in text,
                "when": "after" if "after" in name else "before",
            }
            if name.startswith("cut"):
                rules.append(proxy.cut(method, path, **what))
            elif name == "throttled":
                rules.append(proxy.respond(method, path, 429, headers={"Retry-After": "1"}, **what))
            else:
                rules.append(proxy.respond(method, path, 500, **what))
        await team.report(name, 6)
    for name in team.expected:
        await team.report(name, 4)
    await team.assert_exact()
    assert [rule.hits for rule in rules] == [1] * len(rules)


async def test_request_that_is_there_already_is_adopted(stage: Stage) -> None:
    team, proxy = stage.team, stage.api_proxy
    await team.policy()
    # kopf, whose list comes after our own, neither lists nor watches, or we would hear that it is there.
    our_own = iter([False])
    proxy.respond(
        "GET", r"/remediationrequests\?(limit|.*watch)", 503, times=None, body=lambda _: next(our_own, True)
    )
    failed = proxy.respond("POST", f"/namespaces/{team.namespace}/remediationrequests$", 500, when="after")
    await stage.operator.start()
    await team.report("trouble", 6)
    await team.assert_exact()
    assert failed.hits == 1
    assert await stage.metric("stormfold_request_writes_total", operation="create", outcome="adopted") == 1


@pytest.mark.started
async def test_consumer_that_writes_at_the_same_time_keeps_its_words(stage: Stage) -> None:
    team, proxy = stage.team, stage.api_proxy
    await team.report("trouble", 6)
    await team.counted("trouble")
    (request,) = await team.requests()
    name = request["metadata"]["name"]
    held = proxy.hold("PATCH", f"/remediationrequests/{name}/status")
    await team.report("trouble", 5)
    await eventually(held.arrived.is_set, what="a patch is under way")
    words = {"phase": "InProgress", "message": "cordoning the node"}
    await stage.api.patch(
        "RemediationRequest", name, team.namespace, {"status": {"remediation": words}}, subresource="status"
    )
    held.release()
    await team.assert_exact()
    (request,) = await team.requests()
    assert request["status"]["remediation"] == words
    assert await stage.metric("stormfold_request_writes_total", outcome="conflict") == 1


@pytest.mark.started
async def test_deletions_missed_while_disconnected_are_noticed(stage: Stage) -> None:
    team, proxy, api = stage.team, stage.api_proxy, stage.api
    made = await team.report("trouble", 8)
    await team.counted("trouble")
    await watching(stage)
    away = proxy.respond("GET", WATCH, 503, times=None)
    proxy.end_watches(WATCH)
    for signal in made[:3]:
        await api.delete("Signal", signal["metadata"]["name"], team.namespace)
    proxy.respond("GET", WATCH, 410, EXPIRED)
    proxy.remove(away)
    await eventually(
        lambda: stage.metric("stormfold_missed_deletions_total", kind="Signal"),
        lambda missed: missed == 3,
        within=30,
        what="3 missed deletions",
    )
    await eventually(
        lambda: stage.metric("stormfold_signals_live"), lambda live: live == 5, what="5 Signals are there"
    )
    await team.report("trouble", 4)
    await team.assert_exact()


@pytest.mark.started
async def test_apiserver_killed_in_mid_storm_is_waited_for(stage: Stage, restart_apiserver: Restart) -> None:
    team = stage.team
    await team.report("trouble", 7)
    await restart_apiserver()
    await eventually(lambda: stage.api.list("Namespace"), within=30, what="the API answers again")
    await team.report("trouble", 6)
    await team.assert_exact(within=60)
    assert stage.operator.running


@pytest.mark.parametrize("status", [410, 500])
async def test_consumer_is_heard_after_kopf_was_told_off(status: int, stage: Stage) -> None:
    team, proxy = stage.team, stage.api_proxy
    requests = r"/remediationrequests\?.*watch"
    await team.policy(window={"idle": "1m", "maxDuration": "1h"})
    await stage.operator.start()
    await team.report("trouble", 6)
    await team.counted("trouble")
    await eventually(lambda: proxy.open_watches(requests), within=30, what="kopf watches")
    assert await proxy.inject(requests, error_event(status)) == 1
    if status == 500:
        await eventually(
            lambda: stage.metric("stormfold_kopf_restarts_total"),
            lambda restarts: restarts == 1,
            within=30,
            what="kopf is begun again",
        )
    (request,) = await team.requests()
    done = {"status": {"remediation": {"phase": "Succeeded"}}}
    await stage.api.patch(
        "RemediationRequest", request["metadata"]["name"], team.namespace, done, subresource="status"
    )
    await eventually(
        team.storms, lambda storms: storms["trouble"][0].phase == "Closed", within=30, what="it is closed"
    )
    assert stage.operator.running


async def test_signals_of_a_namespace_that_is_being_deleted_are_kept_and_others_go_on(
    stage: Stage, api: Api, new_namespace: NewNamespace
) -> None:
    doomed = Team(api, await new_namespace())
    await doomed.policy(groupWait="5s")
    await stage.team.policy()
    await stage.operator.start()
    await doomed.report("trouble", 3)
    await eventually(
        lambda: stage.metric("stormfold_signals_folded_total"), lambda folded: folded == 3, what="3 wait"
    )
    await api.delete("Namespace", doomed.namespace)
    await stage.team.report("trouble", 6)

    await eventually(
        lambda: stage.metric("stormfold_storms_failed_total", reason="api"),
        lambda failed: failed >= 2,
        within=30,
        what="its request is refused, and tried again",
    )
    assert [signal for signal in await api.list("Signal", doomed.namespace) if "status" in signal] == []
    assert await doomed.requests() == []
    await stage.team.assert_exact()


@pytest.mark.started
async def test_lease_that_cannot_be_renewed_for_a_while_is_kept(stage: Stage) -> None:
    team, proxy = stage.team, stage.api_proxy
    refused = proxy.respond("PUT", "/leases/", 500, times=3)
    await team.report("trouble", 6)
    await eventually(lambda: refused.hits, lambda hits: hits == 3, within=30, what="3 renewals failed")
    await team.report("trouble", 3)
    await team.assert_exact()
    newest = max(
        int(signal["metadata"]["resourceVersion"])
        for signal in await stage.api.list("Signal", team.namespace)
    )
    await eventually(
        lambda: stage.metric("stormfold_checkpoint_resource_version"),
        lambda version: version >= newest,
        what="the checkpoint goes on",
    )
