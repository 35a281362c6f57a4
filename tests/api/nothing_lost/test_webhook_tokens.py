"""Whose token it is that a post brings, as a real API server says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from tests.api.conftest import NewNamespace
from tests.harness.accounts import account, allow
from tests.harness.api import Api
from tests.harness.served_webhook import GOOD, Served, alert, body, metric, served

from lab.controlplane import ControlPlane
from lab.process import free_port
from stormfold.kube.access import Access, find_access
from stormfold.kube.client import KubeClient
from stormfold.kube.reviews import Reviews

Token = Callable[..., Any]


@asynccontextmanager
async def reviewed(
    control_plane: ControlPlane, *, audience: str = "", host: str | None = None
) -> AsyncIterator[Served]:
    access = await find_access({"KUBECONFIG": str(control_plane.kubeconfig)})
    if host:
        access = Access.plain(host)
    async with (
        KubeClient(access) as client,
        served(authorizer=Reviews(client, audience=audience)) as it,
    ):
        yield it


async def test_token_speaks_for_the_namespaces_in_which_its_owner_may_create_signals(
    api: Api, control_plane: ControlPlane, new_namespace: NewNamespace
) -> None:
    own, other = await new_namespace(), await new_namespace()
    token = await account(api, own)
    await allow(api, own, own)
    async with reviewed(control_plane) as it:
        found = await it.post(
            body(
                alert(0, namespace=own),
                alert(1, namespace=other),
                alert(2, namespace=None),
                alert(3, namespace=own),
            ),
            Authorization=f"Bearer {token}",
        )
        assert (found.code, found.json["accepted"]) == (200, 2)
        who = f"system:serviceaccount:{own}:alerts"
        assert found.json["rejected"] == [
            {
                "index": index,
                "reason": "NamespaceNotAllowed",
                "message": f"{who} may not create signals.stormfold.dev in namespace {namespace}",
            }
            for index, namespace in ((1, other), (2, "ops"))
        ]
        assert [arrival.namespace for arrival in it.behind.arrivals] == [own, own]
        alone = await it.post(body(alert(1, namespace=other)), Authorization=f"Bearer {token}")
        assert (alone.code, alone.reason, alone.json["accepted"]) == (403, "NamespaceNotAllowed", 0)


async def test_token_with_the_right_in_all_namespaces_is_asked_about_once(
    api: Api, control_plane: ControlPlane, namespace: str
) -> None:
    token = await account(api, namespace)
    await allow(api, namespace)
    asked = metric("stormfold_reviews_total", kind="access", outcome="yes")
    known = metric("stormfold_reviews_total", kind="token", outcome="yes")
    async with reviewed(control_plane) as it:
        for _ in range(3):
            found = await it.post(
                body(*(alert(number, namespace=f"team-{number}") for number in range(50))),
                Authorization=f"Bearer {token}",
            )
            assert (found.code, found.json["accepted"]) == (200, 50)
    assert metric("stormfold_reviews_total", kind="access", outcome="yes") == asked + 1
    assert metric("stormfold_reviews_total", kind="token", outcome="yes") == known + 1


async def test_token_that_the_api_server_does_not_know_is_not_let_in(control_plane: ControlPlane) -> None:
    async with reviewed(control_plane) as it:
        for token in ("made-up", f"{control_plane.token}x", "ö"):
            found = await it.post(GOOD, Authorization=f"Bearer {token}")
            assert (found.code, found.reason) == (401, "NotAuthenticated")


async def test_token_must_be_made_for_the_audience_that_is_set(
    api: Api, control_plane: ControlPlane, namespace: str
) -> None:
    for_us = await account(api, namespace, audience="stormfold")
    for_others = await account(api, namespace, audience="others")
    for_the_api = await account(api, namespace)
    await allow(api, namespace, namespace)
    post = body(alert(0, namespace=namespace))
    tokens = (for_us, for_others, for_the_api)
    async with reviewed(control_plane, audience="stormfold") as it:
        assert [(await it.post(post, Authorization=f"Bearer {token}")).code for token in tokens] == [
            200,
            401,
            401,
        ]
    async with reviewed(control_plane) as it:
        assert [(await it.post(post, Authorization=f"Bearer {token}")).code for token in tokens] == [
            401,
            401,
            200,
        ]


async def test_api_server_that_does_not_answer_is_said(control_plane: ControlPlane) -> None:
    async with reviewed(control_plane, host=f"https://127.0.0.1:{free_port()}") as it:
        found = await it.post(GOOD)
        assert (found.code, found.reason, found.headers["Retry-After"]) == (503, "ReviewUnavailable", "2")
        assert found.json["message"] == "The API server did not answer the review of the token or its rights."
