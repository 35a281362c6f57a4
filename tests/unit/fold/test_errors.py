"""What redis-py raises becomes: try again, ask anew, slow down, or stop."""

from __future__ import annotations

import pytest
from redis._parsers import BaseParser
from tests.harness.redis_answers import AGAIN, ANEW, ANSWERS, SLOWER, STOP

from redis import exceptions as redis_errors
from stormfold.fold.connection import Memory, check_version
from stormfold.fold.errors import (
    BY_CODE,
    StoreConfigError,
    StoreError,
    StoreUnavailableError,
    class_of,
    code_of,
    store_errors,
    words_of,
)


def test_every_code_has_an_answer_in_the_table() -> None:
    assert set(BY_CODE) - {answer.partition(" ")[0] for answer in ANSWERS} == {"IOERR"}


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: " ".join(answer.split()[:2]))
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "in a pipeline"])
def test_answer_of_redis_has_its_class_and_keeps_its_words(answer: str, alone: bool) -> None:
    raised = BaseParser.parse_error(answer)
    if not alone:
        raised.args = (
            (
                f"Command # 1 (HSET sf:{{p0}}:checkpoint cluster (a) of b) of pipeline caused error: "
                f"{raised.args}"
            ),
        )
    with pytest.raises(StoreError, match=r"^fencing: .") as caught, store_errors("fencing"):
        raise raised
    assert (type(caught.value), caught.value.__cause__) == (ANSWERS[answer], raised)
    assert caught.value.words == answer.removeprefix("ERR ") or caught.value.words == answer
    assert "of pipeline" not in str(caught.value)


@pytest.mark.parametrize(
    ("raised", "becomes"),
    [
        (redis_errors.OutOfMemoryError("command not allowed"), SLOWER),
        (redis_errors.AuthenticationError("invalid password"), STOP),
        (redis_errors.AuthorizationError("no"), STOP),
        (redis_errors.ReadOnlyError("a replica"), ANEW),
        (redis_errors.ConnectionError("The previous master is now a slave"), ANEW),
        (redis_errors.ClusterError("TTL exhausted."), ANEW),
        (redis_errors.ConnectionError("refused"), AGAIN),
        (redis_errors.TimeoutError("late"), AGAIN),
        (redis_errors.ClusterDownError("down"), AGAIN),
        (redis_errors.RedisClusterException("no node"), AGAIN),
        (redis_errors.RedisError("whatever"), AGAIN),
        (OSError("unreachable"), AGAIN),
        (TimeoutError(), AGAIN),
    ],
    ids=lambda value: f"{type(value).__name__} {value}" if isinstance(value, Exception) else None,
)
def test_error_without_a_code_has_its_class(raised: Exception, becomes: type[StoreError]) -> None:
    with pytest.raises(StoreError, match=r"^folding: .") as caught, store_errors("folding"):
        raise raised
    assert (type(caught.value), caught.value.__cause__) == (becomes, raised)


def test_connection_that_broke_has_no_words_of_redis() -> None:
    for raised in (redis_errors.ConnectionError("Connection reset"), TimeoutError(), OSError("unreachable")):
        with pytest.raises(StoreUnavailableError) as caught, store_errors("folding"):
            raise raised
        assert caught.value.words == ""


def test_what_a_node_said_is_found_behind_the_error_of_the_cluster() -> None:
    node, client = BaseParser.parse_error("BUSY Redis is busy"), redis_errors.RedisClusterException("no node")
    client.__context__ = node
    with (
        pytest.raises(StoreUnavailableError, match=r"^folding: BUSY Redis is busy$"),
        store_errors("folding"),
    ):
        raise client


def test_code_is_a_whole_word() -> None:
    assert (code_of(BaseParser.parse_error("BUSYGROUP name exists")), class_of(Exception("BUSYBODY"))) == (
        "BUSYGROUP",
        AGAIN,
    )
    assert words_of(BaseParser.parse_error("NOAUTH HELLO must be called")) == "NOAUTH HELLO must be called"


def test_refused_user_is_named_and_the_rights_are_pointed_to() -> None:
    with pytest.raises(StoreConfigError) as caught, store_errors("asking", user="reader"):
        raise BaseParser.parse_error("WRONGPASS invalid username-password pair or user is disabled.")
    assert str(caught.value) == (
        "asking: Redis refused the credentials of user 'reader' (WRONGPASS invalid username-password pair or "
        "user "
        "is disabled.); fix user and password in STORMFOLD_REDIS_URL"
    )
    with pytest.raises(StoreConfigError) as caught, store_errors("folding"):
        raise BaseParser.parse_error("ERR The user executing the script can't run this command or subcommand")
    assert str(caught.value).endswith(
        "; give its user the rights of https://stormfold.dev/install/#a-redis-of-your-own"
    )


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), store_errors("folding"):
        raise KeyError("a bug")


@pytest.mark.parametrize(
    "info",
    [
        {"redis_version": "7.0.0"},
        {"redis_version": "8.2.1"},
        {"redis_version": "10.0.0"},
        {"valkey_version": "8.0.0", "redis_version": "6.2"},
        {"redis_version": "rolling"},
    ],
)
def test_server_that_knows_our_scripts_is_taken(info: dict[str, str]) -> None:
    check_version(info)


def test_server_that_does_not_is_refused() -> None:
    with pytest.raises(StoreConfigError, match=r"stormfold needs Redis 7\.0 or newer, or Valkey"):
        check_version({"redis_version": "6.2.14"})


@pytest.mark.parametrize(("memory", "ratio"), [(Memory(90, 100), 0.9), (Memory(90, 0), 0.0)])
def test_memory_is_a_share_of_its_limit(memory: Memory, ratio: float) -> None:
    assert memory.ratio == ratio
