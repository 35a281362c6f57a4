"""Pages of lists are sized by the bytes that came."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stormfold.kube.paging import LONGEST_BYTES, MOST, PAGE_BYTES, PageSize


def limits(*sizes: int) -> list[int]:
    """The limits of the pages of a list whose objects have these sizes, page by page; the last is that after
    the end."""
    size = PageSize()
    seen = [size.limit]
    for each in sizes:
        size.took(size.limit, size.limit * each)
        seen.append(size.limit)
    return seen


def test_pages_of_small_objects_grow_step_by_step() -> None:
    assert limits(*[1_500] * 7) == [10, 20, 40, 80, 160, 320, 500, 500]


@pytest.mark.parametrize(
    ("objects", "size", "limit"),
    [
        pytest.param(10, 760_000, 13, id="76 KB each"),
        pytest.param(10, 4_000_000, 2, id="400 KB each"),
        pytest.param(1, 1_500_000, 1, id="1.5 MB: one at a time"),
        pytest.param(1, 18_000_000, 1, id="an object that is larger than a page may be"),
        pytest.param(10, 1_000, 20, id="small"),
        pytest.param(0, 90, 10, id="an empty page says nothing"),
        pytest.param(3, 0, 20, id="no bytes"),
    ],
)
def test_next_page_is_sized_by_the_bytes_of_the_last(objects: int, size: int, limit: int) -> None:
    page = PageSize()
    page.took(objects, size)
    assert page.limit == limit


def test_size_falls_at_once_and_rises_slowly() -> None:
    assert limits(*[1_000] * 6, 1_000_000, 1_000, 1_000) == [10, 20, 40, 80, 160, 320, 500, 1, 2, 4]


def test_page_that_is_too_long_comes_again_with_fewer_objects_down_to_one_which_has_no_limit() -> None:
    page = PageSize()
    page.limit = MOST
    seen = []
    while page.longest is not None:
        assert page.longest == LONGEST_BYTES
        page.too_long()
        seen.append(page.limit)
    assert seen == [62, 7, 1]
    page.too_long()
    assert page.limit == 1


@given(st.lists(st.integers(1, 2_000_000)))
def test_page_of_objects_like_the_last_ones_fits(sizes: list[int]) -> None:
    page = PageSize()
    for each in sizes:
        page.took(page.limit, page.limit * each)
        assert 1 <= page.limit <= MOST
        assert page.limit == 1 or page.limit * each <= PAGE_BYTES
