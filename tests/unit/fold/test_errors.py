"""What redis-py raises becomes: try again, slow down, or stop."""

from __future__ import annotations

import pytest

from redis import exceptions as redis_errors
from stormfold.fold.connection import Connection, Memory, _check_version
from stormfold.fold.errors import (
    MENDING_ITSELF,
    StoreConfigError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
    store_errors,
)


@pytest.mark.parametrize(
    ("raised", "becomes"),
    [
        (redis_errors.OutOfMemoryError("OOM command not allowed"), StoreFullError),
        (redis_errors.AuthenticationError("invalid password"), StoreConfigError),
        (redis_errors.AuthorizationError("no"), StoreConfigError),
        (redis_errors.NoPermissionError("no permissions to run 'evalsha'"), StoreConfigError),
        (redis_errors.ResponseError("unknown command"), StoreConfigError),
        (redis_errors.ResponseError("WRONGTYPE Operation against a key"), StoreConfigError),
        *((redis_errors.ResponseError(f"{code} wait"), StoreUnavailableError) for code in MENDING_ITSELF),
        (redis_errors.ConnectionError("refused"), StoreUnavailableError),
        (redis_errors.BusyLoadingError("loading"), StoreUnavailableError),
        (redis_errors.TimeoutError("late"), StoreUnavailableError),
        (redis_errors.ReadOnlyError("a replica"), StoreUnavailableError),
        (redis_errors.ClusterDownError("down"), StoreUnavailableError),
        (redis_errors.MovedError("1 127.0.0.1:7000"), StoreUnavailableError),
        (redis_errors.TryAgainError("moving"), StoreUnavailableError),
        (redis_errors.RedisClusterException("no node"), StoreUnavailableError),
        (redis_errors.RedisError("whatever"), StoreUnavailableError),
        (OSError("unreachable"), StoreUnavailableError),
        (TimeoutError(), StoreUnavailableError),
    ],
    ids=lambda value: f"{type(value).__name__} {value}" if isinstance(value, Exception) else None,
)
def test_error_of_redis_is_one_of_three(raised: Exception, becomes: type[StoreError]) -> None:
    with pytest.raises(StoreError, match=r"^folding: .") as caught, store_errors("folding"):
        raise raised
    assert type(caught.value) is becomes
    assert caught.value.__cause__ is raised


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), store_errors("folding"):
        raise KeyError("a bug")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1",
        "127.0.0.1:6379",
        "redis+pigeon://127.0.0.1",
        "redis://127.0.0.1:port",
        "redis+sentinel://127.0.0.1:26379",
        "redis+sentinel://127.0.0.1/service",
        "",
    ],
)
def test_url_of_another_form_is_refused(url: str) -> None:
    with pytest.raises(StoreConfigError, match="STORMFOLD_REDIS_URL"):
        Connection.from_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:hunter2#x@redis:6379/0",
        "redis://user:hunter2?x@redis:6379/0",
        "redis://user:hunter2/x@redis:6379/0",
        "rediss+cluster://user:[hunter2@redis:6379",
        "redis+sentinel://user:hunter2/x@redis:26379/service/0",
        "redis+sentinel://user:x@redis:26379/service/hunter2",
        "user:hunter2@redis:6379",
        "redis:/user:hunter2@redis:6379/0",
        "hunter2",
        "hunter2://redis:6379",
    ],
)
def test_no_piece_of_the_url_that_may_be_a_password_is_told(url: str) -> None:
    with pytest.raises(StoreConfigError) as raised:
        Connection.from_url(url)
    assert "hunter2" not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "cluster"),
    [
        ("redis://127.0.0.1:6379/0", False),
        ("rediss://user:secret@127.0.0.1:6379/0", False),
        ("redis+cluster://127.0.0.1:6379", True),
        ("redis+sentinel://127.0.0.1:26379,127.0.0.2:26379/service/2", False),
    ],
)
async def test_url_says_what_answers(url: str, cluster: bool) -> None:
    connection = Connection.from_url(url)
    assert connection.is_cluster == cluster
    await connection.close()


@pytest.mark.parametrize(
    "info",
    [
        {"redis_version": "7.0.0"},
        {"redis_version": "8.2.1"},
        {"redis_version": "10.0.0"},
        {"valkey_version": "8.0.0", "redis_version": "6.2"},
    ],
)
def test_server_that_knows_our_scripts_is_taken(info: dict[str, str]) -> None:
    _check_version(info)


@pytest.mark.parametrize("info", [{"redis_version": "6.2.14"}, {}])
def test_server_that_does_not_is_refused(info: dict[str, str]) -> None:
    with pytest.raises(StoreConfigError, match=r"stormfold needs Redis 7\.0 or newer, or Valkey"):
        _check_version(info)


@pytest.mark.parametrize(("memory", "ratio"), [(Memory(90, 100), 0.9), (Memory(90, 0), 0.0)])
def test_memory_is_a_share_of_its_limit(memory: Memory, ratio: float) -> None:
    assert memory.ratio == ratio
