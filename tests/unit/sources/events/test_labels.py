"""What an Event says beside its target: the image of a container, its registry, and where it comes from."""

from __future__ import annotations

from typing import Any

import pytest
from tests.harness.events import ARRIVAL, BODY, arrival, body
from tests.harness.values import NOBODY

from stormfold.model.arrival import Arrival
from stormfold.sources.events.parser import REMEMBERED_IMAGES, EventParser, registry_of

LABELS = ARRIVAL.labels
WITHOUT_IMAGE = {key: value for key, value in LABELS.items() if key not in ("image", "registry")}


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("registry.example/shop/web:1", "registry.example"),
        ("localhost/web", "localhost"),
        ("registry:5000/web@sha256:0f", "registry:5000"),
        ("library/nginx", "docker.io"),
        ("nginx:1.2", "docker.io"),
    ],
)
def test_registry_is_that_of_the_image(image: str, registry: str) -> None:
    assert registry_of(image) == registry


def test_image_that_another_event_about_the_container_names_is_a_hint_and_no_label() -> None:
    parse = EventParser(NOBODY)
    hints = {"image": "registry.example/web:1", "registry": "registry.example"}
    first, pull, back_off, crash, other = (
        parse(body(message=message, about={"fieldPath": f"spec.containers{{{container}}}"})).outcome
        for message, container in (
            (BODY["message"], "web"),
            ("Error: ErrImagePull", "web"),
            ("Error: ImagePullBackOff", "web"),
            ("Back-off restarting failed container web in pod web-0_shop(1)", "web"),
            ("Error: ErrImagePull", "sidecar"),
        )
    )
    for arrival_, expected in ((first, None), (pull, hints), (back_off, hints), (crash, None), (other, None)):
        assert isinstance(arrival_, Arrival)
        assert arrival_.hints == expected
    assert isinstance(pull, Arrival)
    assert "image" not in pull.labels


def test_images_of_so_many_containers_are_remembered() -> None:
    parse = EventParser(NOBODY)
    for n in range(REMEMBERED_IMAGES + 1):
        parse(body(about={"uid": f"uid-{n}"}))
    hints = [
        outcome.hints is not None
        for n in (0, 1, REMEMBERED_IMAGES)
        if isinstance(
            outcome := parse(body(message="Error: ErrImagePull", about={"uid": f"uid-{n}"})).outcome, Arrival
        )
    ]
    assert hints == [False, True, True]


@pytest.mark.parametrize(
    ("message", "image"),
    [
        ('Failed to pull image "nginx": not found', "nginx"),
        (
            'Failed to pull image "ghcr.io/a/b@sha256:0f": rpc error: failed to pull "ghcr.io/a/b@sha256:0f"',
            "ghcr.io/a/b@sha256:0f",
        ),
        ('Failed to inspect image "nginx:1": rpc error', "nginx:1"),
        ('Failed to inspect image "": rpc error', None),
        ('Failed to apply default image tag "Nginx:1:2": invalid reference format', "Nginx:1:2"),
        ('Container image "nginx:1" is not present with pull policy of Never', "nginx:1"),
        ('Container image "nginx:1" already present on machine', None),
        ('Failed to pull image "nginx', None),
        ('Failed to pull image "a\\"b": x', None),
        ('Failed to pull image "a\nb": x', None),
        (f'Failed to pull image "{"a" * 256}": x', "a" * 256),
        (f'Failed to pull image "{"a" * 257}": x', None),
        ("Error: ErrImagePull", None),
        ("Error: ImagePullBackOff", None),
        ("Back-off restarting failed container web in pod web-0_shop(1)", None),
        ('(combined from similar events): Failed to pull image "nginx": not found', None),
        ('it says: Failed to pull image "nginx": not found', None),
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_image_is_read_from_the_beginning_of_a_message(message: object, image: str | None) -> None:
    assert arrival(body(message=message)).labels == (
        WITHOUT_IMAGE | {"image": image, "registry": registry_of(image)} if image else WITHOUT_IMAGE
    )


@pytest.mark.parametrize(
    "message",
    ['Failed to pull image "' + "a" * 2**20, '"' * 2**20, "\n" * 2**20, "Failed to pull image " * 2**16],
)
def test_message_of_a_megabyte_is_no_label(message: str) -> None:
    assert arrival(body(message=message)).labels == WITHOUT_IMAGE


@pytest.mark.parametrize(
    ("fields", "changed"),
    [
        pytest.param(
            {"about": {"fieldPath": "spec.initContainers{setup}"}}, {"container": "setup"}, id="init"
        ),
        pytest.param(
            {"about": {"fieldPath": "spec.ephemeralContainers{debug}"}},
            {"container": "debug"},
            id="ephemeral",
        ),
        pytest.param({"about": {"fieldPath": "spec.containers[0]"}}, {"container": None}, id="no name"),
        pytest.param({"about": {"fieldPath": None}}, {"container": None}, id="no container"),
        pytest.param({"reportingComponent": ""}, {}, id="the component of the older API"),
        pytest.param(
            {"reportingComponent": "my.org/controller", "source": None},
            {"component": "my.org/controller", "host": None},
            id="the component of the newer API",
        ),
        pytest.param(
            {"reportingComponent": None, "source": {}}, {"component": None, "host": None}, id="nobody reports"
        ),
        pytest.param({"source": {"host": "h" * 1000}}, {"host": "h" * 256}, id="a host that is too long"),
    ],
)
def test_labels_say_where_an_event_comes_from(fields: dict[str, Any], changed: dict[str, str | None]) -> None:
    wanted = {key: value for key, value in (LABELS | changed).items() if value is not None}
    assert arrival(body(**fields)).labels == wanted
