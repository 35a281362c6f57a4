"""Segments: where a namespace is stays so for ever, and shards leave none out."""

from __future__ import annotations

from collections import Counter

import pytest

from stormfold.model.segment import SEGMENTS, segment, segments_of


# What is kept in Leases and requests depends on these numbers.
@pytest.mark.parametrize(
    ("namespace", "number"), [("default", 15), ("stormfold-system", 4), ("shop", 2), ("bank", 10), ("", 0)]
)
def test_namespace_stays_in_its_segment(namespace: str, number: int) -> None:
    assert segment(namespace) == number


@pytest.mark.parametrize("shards", range(1, SEGMENTS + 1))
def test_each_segment_belongs_to_one_shard(shards: int) -> None:
    owners = Counter(number for shard in range(shards) for number in segments_of(shard, shards))
    assert owners == dict.fromkeys(range(SEGMENTS), 1)
    assert all(number % shards == shard for shard in range(shards) for number in segments_of(shard, shards))
