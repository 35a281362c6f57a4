"""kopf's side hands over and does nothing else."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import kopf
import pytest

from stormfold.handlers import policies, requests, startup
from stormfold.handlers.startup import Handover, KopfThread, settings
from stormfold.kube.access import Access

Told = list[tuple[str, tuple[Any, ...]]]


@pytest.fixture
def told() -> Told:
    """What was handed over: the word's name and its arguments."""
    return []


@pytest.fixture
def handlers(told: Told) -> dict[str, list[Any]]:
    """Handlers by the plural of what they watch."""
    registry = kopf.OperatorRegistry()

    def word(name: str) -> Any:
        def heard(*arguments: Any) -> None:
            told.append((name, arguments))

        return heard

    def hand_over(function: Any, *arguments: Any) -> None:
        function(*arguments)

    policies.register(registry, hand_over, word("policy changed"), word("namespace changed"))
    requests.register(registry, hand_over, word("request changed"), word("request deleted"))
    found: dict[str, list[Any]] = {}
    for handler in registry._watching.get_all_handlers():
        found.setdefault(str(handler.selector.any_name or handler.selector.plural), []).append(handler.fn)
    return found


def call(handler: Any, **arguments: Any) -> None:
    result = handler(**arguments)
    assert inspect.iscoroutine(result)
    asyncio.run(result)


def test_kopf_copies_no_object_to_find_what_has_changed() -> None:
    diffs = settings().persistence.diffbase_storage
    assert (diffs.build(body=kopf.Body({"spec": {"a": 1}})), diffs.fetch(body=kopf.Body({}))) == ({}, None)


def test_every_kind_of_few_changes_has_one_handler(handlers: dict[str, list[Any]]) -> None:
    assert {name: len(found) for name, found in handlers.items()} == {
        "stormpolicies": 1,
        "clusterstormpolicies": 1,
        "namespaces": 1,
        "remediationrequests": 1,
    }


@pytest.mark.parametrize("plural", ["stormpolicies", "clusterstormpolicies"])
@pytest.mark.parametrize("kind", [None, "ADDED", "MODIFIED", "DELETED"])
def test_event_of_a_policy_is_handed_over(
    handlers: dict[str, list[Any]], told: Told, plural: str, kind: str | None
) -> None:
    call(handlers[plural][0], type=kind, name="own")
    assert told == [("policy changed", ())]


@pytest.mark.parametrize("kind", [None, "ADDED", "MODIFIED"])
def test_namespace_is_handed_over_with_its_labels(
    handlers: dict[str, list[Any]], told: Told, kind: str | None
) -> None:
    call(handlers["namespaces"][0], type=kind, name="shop", labels={"team": "a"}, uid="u")
    assert told == [("namespace changed", ("shop", {"team": "a"}))]


def test_namespace_that_has_gone_has_no_labels(handlers: dict[str, list[Any]], told: Told) -> None:
    call(handlers["namespaces"][0], type="DELETED", name="shop", labels={"team": "a"})
    assert told == [("namespace changed", ("shop", None))]


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (None, "request changed"),
        ("ADDED", "request changed"),
        ("MODIFIED", "request changed"),
        ("DELETED", "request deleted"),
    ],
)
def test_request_is_handed_over_as_it_is(
    handlers: dict[str, list[Any]], told: Told, kind: str | None, word: str
) -> None:
    body = {"metadata": {"name": "storm-1"}, "spec": {"gid": "g"}}
    call(handlers["remediationrequests"][0], type=kind, body=kopf.Body(body), name="storm-1")
    assert told == [(word, (body,))]


def test_kopf_gives_up_soon_since_it_is_begun_again() -> None:
    assert settings().networking.error_backoffs == (0.5, 1.0, 2.0)


def test_kopf_writes_nothing_and_asks_for_no_crds() -> None:
    chosen = settings()
    assert chosen.posting.enabled is False
    assert chosen.scanning.disabled is True


def test_kopf_needs_no_name_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    # Were it not told, it would ask for it, and end where a container's user has a number only.
    told: dict[str, Any] = {}

    async def operator(**arguments: Any) -> None:
        told.update(arguments)

    monkeypatch.setattr(kopf, "operator", operator)
    assert asyncio.run(ends_with(KopfThread(handover(), Access.plain("http://127.0.0.1:1")))) is None
    assert told["identity"] == "stormfold"


async def ends_with(thread: KopfThread) -> BaseException | None:
    return await thread._run_once(asyncio.get_running_loop())


def handover() -> Handover:
    def nothing(*_: Any) -> None:
        pass

    return Handover(nothing, nothing, nothing, nothing)


@pytest.mark.parametrize(("steady_seconds", "failing"), [(60.0, True), (0.0, False)])
async def test_kopf_that_ends_again_and_again_is_failing_until_it_is_steady(
    monkeypatch: pytest.MonkeyPatch, steady_seconds: float, failing: bool
) -> None:
    monkeypatch.setattr(startup, "LONGEST_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(startup, "STEADY_SECONDS", steady_seconds)
    enough = asyncio.Event()
    ended: list[bool] = []

    async def end_at_once(self: KopfThread, _: asyncio.AbstractEventLoop) -> BaseException | None:
        ended.append(self.failing)
        if len(ended) > startup.ENDS:
            enough.set()
            await asyncio.Event().wait()
        return OSError("gone")

    monkeypatch.setattr(KopfThread, "_run_once", end_at_once)
    running = asyncio.create_task(KopfThread(handover(), Access.plain("http://127.0.0.1:1")).run())
    await enough.wait()
    running.cancel()
    assert ended == [False, False, False, failing]
