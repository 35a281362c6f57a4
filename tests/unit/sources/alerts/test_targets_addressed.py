"""What is at an address: the target of an alert that a probe or an exporter reports."""

from __future__ import annotations

import pytest
from tests.harness.senders import NODE_EXPORTER, instance

from stormfold.sources.alerts.targets import MAX_ADDRESS, target_and_namespace


def test_probes_of_one_namespace_are_as_many_targets() -> None:
    probes = [
        target_and_namespace({"namespace": "team-00", "instance": f"https://{n}.example/", "job": "probe"})
        for n in range(459)
    ]
    assert len(set(probes)) == 459


def test_exporters_of_twelve_nodes_are_as_many_targets() -> None:
    found = [target_and_namespace({**NODE_EXPORTER, "instance": f"10.0.0.{n}:9100"}) for n in range(12)]
    assert found == [(instance(f"10.0.0.{n}:9100"), "monitoring") for n in range(12)]


@pytest.mark.parametrize(
    ("address", "name"),
    [
        pytest.param("https://monitor:s3cret@a.example/x", "https://a.example/x", id="a password"),
        pytest.param("https://s3cret@a.example", "https://a.example", id="a token"),
        pytest.param("redis://:s3cret@redis-0:6379", "redis://redis-0:6379", id="only a password"),
        pytest.param("monitor:s3cret@db-1:9100", "db-1:9100", id="a password without a scheme"),
        pytest.param("https://m:" + "s" * 600 + "@a.example/x", "https://a.example/x", id="a long password"),
        pytest.param("https://a.example/x?token=s3cret#top", "https://a.example/x", id="a query"),
        pytest.param("https://a.example/#s3cret", "https://a.example/", id="a fragment"),
        pytest.param("https://a.example/@b", "https://a.example/@b", id="a path with an at"),
        pytest.param("user@a.example", "user@a.example", id="an address of mail"),
        pytest.param("a\x1b[31mb\n", "a�[31mb", id="characters that a terminal obeys"),
        pytest.param("a" * 253, "a" * 253, id="as long as a name may be"),
    ],
)
def test_address_is_shown_without_what_does_not_belong_into_a_status(address: str, name: str) -> None:
    assert target_and_namespace({"instance": address}) == (instance(name), None)


def test_addresses_that_differ_at_the_end_stay_apart() -> None:
    found = [target_and_namespace({"instance": "https://a.example/" + "x" * 4000 + end})[0] for end in "ab"]
    assert len(set(found)) == 2
    for target in found:
        assert target is not None
        assert len(target.name) <= MAX_ADDRESS == 253
        assert target.name.startswith("https://a.example/xxx")
        assert "…" in target.name
