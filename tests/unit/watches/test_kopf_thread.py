"""kopf's side hands over and does nothing else."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Mapping
from typing import Any, cast

import kopf
import pytest

from stormfold.kube.access import Access
from stormfold.kube.paging import FIRST
from stormfold.request.index import RequestIndex
from stormfold.watches import kopf_thread
from stormfold.watches.handlers import Listeners, listings
from stormfold.watches.handlers import handlers as handlers_of
from stormfold.watches.kopf_thread import KopfThread, settings
from stormfold.watches.policies import PolicyIntake
from stormfold.watches.session import Listing

Told = list[tuple[str, tuple[Any, ...]]]


class Listener:
    """Takes all that is handed over: policies, the router and the index in one."""

    def __init__(self) -> None:
        self.told: Told = []

    def changed(self) -> None:
        self.told.append(("policy changed", ()))

    def namespace_changed(self, name: str, labels: Mapping[str, str] | None) -> None:
        self.told.append(("namespace changed", (name, labels)))

    def seen(self, body: dict[str, Any]) -> None:
        self.told.append(("request seen", (body,)))

    def gone(self, body: dict[str, Any]) -> None:
        self.told.append(("request gone", (body,)))

    def listed(self, uids: frozenset[str], resource_version: int) -> None:
        self.told.append(("requests listed", (uids, resource_version)))

    def as_listeners(self) -> Listeners:
        return Listeners(cast("PolicyIntake", self), cast("RequestIndex", self))


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def told(listener: Listener) -> Told:
    """What was handed over: the word's name and its arguments."""
    return listener.told


@pytest.fixture
def handlers(listener: Listener) -> dict[str, Any]:
    """Handlers by the plural of what they watch."""

    def hand_over(function: Any, *arguments: Any) -> None:
        function(*arguments)

    found = handlers_of(listener.as_listeners(), hand_over)
    return {plural: handler for (_, _, plural), handler in found.items()}


def call(handler: Any, **arguments: Any) -> None:
    result = handler(**arguments)
    assert inspect.iscoroutine(result)
    asyncio.run(result)


def test_kopf_copies_no_object_to_find_what_has_changed() -> None:
    diffs = settings().persistence.diffbase_storage
    assert (diffs.build(body=kopf.Body({"spec": {"a": 1}})), diffs.fetch(body=kopf.Body({}))) == ({}, None)


def test_every_kind_of_few_changes_has_a_handler() -> None:
    assert list(handlers_of(Listener().as_listeners(), print)) == [
        ("stormfold.dev", "v1alpha1", "stormpolicies"),
        ("stormfold.dev", "v1alpha1", "clusterstormpolicies"),
        ("", "v1", "namespaces"),
        ("stormfold.dev", "v1alpha1", "remediationrequests"),
    ]


@pytest.mark.parametrize("plural", ["stormpolicies", "clusterstormpolicies"])
@pytest.mark.parametrize("kind", [None, "ADDED", "MODIFIED", "DELETED"])
def test_event_of_a_policy_is_handed_over(
    handlers: dict[str, Any], told: Told, plural: str, kind: str | None
) -> None:
    call(handlers[plural], type=kind, name="own")
    assert told == [("policy changed", ())]


@pytest.mark.parametrize("kind", [None, "ADDED", "MODIFIED"])
def test_namespace_is_handed_over_with_its_labels(
    handlers: dict[str, Any], told: Told, kind: str | None
) -> None:
    call(handlers["namespaces"], type=kind, name="shop", labels={"team": "a"}, uid="u")
    assert told == [("namespace changed", ("shop", {"team": "a"}))]


def test_namespace_that_has_gone_has_no_labels(handlers: dict[str, Any], told: Told) -> None:
    call(handlers["namespaces"], type="DELETED", name="shop", labels={"team": "a"})
    assert told == [("namespace changed", ("shop", None))]


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (None, "request seen"),
        ("ADDED", "request seen"),
        ("MODIFIED", "request seen"),
        ("DELETED", "request gone"),
    ],
)
def test_request_is_handed_over_as_it_is(
    handlers: dict[str, Any], told: Told, kind: str | None, word: str
) -> None:
    body = {"metadata": {"name": "storm-1"}, "spec": {"groupHash": "g"}}
    call(handlers["remediationrequests"], type=kind, body=kopf.Body(body), name="storm-1")
    assert told == [(word, (body,))]


def page(*uids: str, version: str = "7", more: str = "") -> dict[str, Any]:
    """A page of a list, as the API server answers."""
    items = [{"metadata": {"uid": uid}} for uid in uids]
    return {"metadata": {"resourceVersion": version, "continue": more}, "items": items}


@pytest.mark.parametrize(
    ("pages", "heard"),
    [
        pytest.param([page("a", "b")], ({"a", "b"}, 7), id="one page"),
        pytest.param([page("a", more="x"), page("b")], ({"a", "b"}, 7), id="two pages"),
        pytest.param([page()], (set(), 7), id="an empty list"),
        pytest.param([page("a", more="x")], None, id="not read to its end"),
        pytest.param([{}], None, id="an answer that is no list"),
        pytest.param([page(version="")], None, id="a list without a resourceVersion"),
    ],
)
def test_requests_that_a_whole_list_has_are_handed_over(
    listener: Listener, told: Told, pages: list[dict[str, Any]], heard: tuple[set[str], int] | None
) -> None:
    whole = listings(listener.as_listeners(), lambda function, *arguments: function(*arguments))
    assert list(whole) == ["remediationrequests"]
    listing = Listing(whole["remediationrequests"])
    for answer in pages:
        listing.took(answer, 100)
    assert told == ([("requests listed", heard)] if heard else [])


def test_list_of_which_nobody_hears_is_read_all_the_same(told: Told) -> None:
    listing = Listing()
    listing.took(page(*"abcdefghij"), 100)
    assert listing.size.limit == 2 * FIRST
    assert told == []


def test_kopf_gives_up_soon_since_it_is_begun_again() -> None:
    assert settings().networking.error_backoffs == (0.5, 1.0, 2.0)


def test_kopf_writes_nothing_and_asks_for_no_crds() -> None:
    chosen = settings()
    assert chosen.posting.enabled is False
    assert chosen.scanning.disabled is True


class Kopf:
    """kopf's operator, as long as it is wanted: it ends at once, until it is to stay."""

    def __init__(self, ends: int) -> None:
        self.ends = ends
        self.begun: list[dict[str, Any]] = []
        self.not_ready: list[dict[str, str]] = []
        """What its thread said each time that it was begun."""
        self.stays = threading.Event()

    async def operate(self, thread: KopfThread, **arguments: Any) -> None:
        self.begun.append(arguments)
        self.not_ready.append(thread.not_ready())
        if len(self.begun) <= self.ends:
            raise OSError("gone")
        self.stays.set()
        await asyncio.to_thread(arguments["stop_flag"].wait)


async def run_until_it_stays(monkeypatch: pytest.MonkeyPatch, ends: int = 0) -> Kopf:
    """Run kopf's thread with a kopf that ends by itself so often, until it does not."""
    access = Access.plain("http://127.0.0.1:1")
    thread, stand_in = KopfThread(Listener().as_listeners(), access), Kopf(ends)

    async def operator(**arguments: Any) -> None:
        await stand_in.operate(thread, **arguments)

    monkeypatch.setattr(kopf, "operator", operator)
    running = asyncio.create_task(thread.run())
    assert await asyncio.to_thread(stand_in.stays.wait, 10)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    return stand_in


async def test_kopf_needs_no_name_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    # Were it not told, it would ask for it, and end where a container's user has a number only.
    (begun,) = (await run_until_it_stays(monkeypatch)).begun
    assert begun["identity"] == "stormfold"


ENDS_AGAIN = {"kopf": "the watches of policies and requests end again and again: see the log"}


@pytest.mark.parametrize(("steady_seconds", "not_ready"), [(60.0, ENDS_AGAIN), (0.0, {})])
async def test_kopf_that_ends_again_and_again_is_not_ready_until_it_is_steady(
    monkeypatch: pytest.MonkeyPatch, steady_seconds: float, not_ready: dict[str, str]
) -> None:
    monkeypatch.setattr(kopf_thread, "LONGEST_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(kopf_thread, "STEADY_SECONDS", steady_seconds)
    stand_in = await run_until_it_stays(monkeypatch, kopf_thread.ENDS)
    assert stand_in.not_ready == [{}, {}, {}, not_ready]
