"""Errors of the storm store, by what the caller does about them.

StoreError
├── StoreUnavailableError   no answer, or not now: try again; whether it was done is not known
│   └── StoreMovedError     another server has the keys by now: drop the connections, then try again
├── StoreFullError          refused for lack of memory: slow the intake down
└── StoreConfigError        does not end by itself: stop, and say what to change
    └── StoreContentError   a key holds what no stormfold of this layout has written
"""

import ast
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    ClusterError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
)

from stormfold.api.site import page

CODE = re.compile(r"-?([A-Z][A-Z0-9_]+)(?: |$)")
IN_A_PIPELINE = re.compile(r"Command # \d+ \(.*\) of pipeline caused error: (\(.*\))", re.DOTALL)
"""What redis-py puts before the words of Redis, as a tuple, if a command was not alone."""


class StoreError(Exception):
    """Something went wrong between us and Redis. `words` is what Redis itself said; empty if it gave no
    answer."""

    def __init__(self, message: str, *, words: str = "") -> None:
        super().__init__(message)
        self.words = words


class StoreUnavailableError(StoreError):
    """No answer, or not now: try again."""


class StoreMovedError(StoreUnavailableError):
    """Who answered has not the keys, or not for writing, any more: ask anew who has them."""


class StoreFullError(StoreError):
    """Redis is out of memory and refused."""


class StoreConfigError(StoreError):
    """Redis is not set up as stormfold needs it."""


class StoreContentError(StoreConfigError):
    """Redis holds what stormfold has not written there."""


BY_CODE: Mapping[str, type[StoreError]] = {
    # try again: these end by themselves, or somebody fixes Redis while we wait
    "LOADING": StoreUnavailableError,
    "BUSY": StoreUnavailableError,
    "UNKILLABLE": StoreUnavailableError,
    "CLUSTERDOWN": StoreUnavailableError,
    "TRYAGAIN": StoreUnavailableError,
    "NOREPLICAS": StoreUnavailableError,
    "MISCONF": StoreUnavailableError,
    "UNBLOCKED": StoreUnavailableError,
    "EXECABORT": StoreUnavailableError,
    "INPROG": StoreUnavailableError,
    "IOERR": StoreUnavailableError,
    # ask anew
    "READONLY": StoreMovedError,
    "MASTERDOWN": StoreMovedError,
    "MOVED": StoreMovedError,
    "ASK": StoreMovedError,
    "REDIRECT": StoreMovedError,
    # slow down
    "OOM": StoreFullError,
    # stop; so does every code that is not here
    "NOAUTH": StoreConfigError,
    "WRONGPASS": StoreConfigError,
    "NOPERM": StoreConfigError,
    "NOSCRIPT": StoreConfigError,
    "CROSSSLOT": StoreConfigError,
    "WRONGTYPE": StoreContentError,
}
"""Code of an error of Redis → what to do. Nothing else decides it."""
BY_WORDS: Mapping[str, type[StoreError]] = {
    "max number of clients": StoreUnavailableError,
    "Script killed by user with SCRIPT KILL": StoreUnavailableError,
    "The previous master is now a slave": StoreMovedError,
    "TTL exhausted": StoreMovedError,
    "user_script:": StoreContentError,
}
"""How errors begin that have no code of their own: of Redis, and of redis-py instead of a READONLY behind a
Sentinel and of one MOVED after the other."""
BY_CLASS: tuple[tuple[tuple[type[Exception], ...], type[StoreError]], ...] = (
    ((OutOfMemoryError,), StoreFullError),
    ((ReadOnlyError, AskError), StoreMovedError),
    ((AuthenticationError, AuthorizationError), StoreConfigError),
    ((ClusterError, TryAgainError), StoreUnavailableError),
    ((ResponseError,), StoreConfigError),
)
"""What redis-py raises without a code, the first that fits; all else is no answer."""
DENIED = re.compile(r"^NOPERM|ACL failure in script|The user executing the script can't")
"""How Redis and Valkey say that a right is missing, also within a script."""
RIGHTS = f"give its user the rights of {page('install', 'a-redis-of-your-own')}"


def code_of(exc: Exception) -> str:
    """The code with which Redis began its answer, such as `MISCONF`; empty if it has none."""
    code = getattr(exc, "status_code", None) or ""
    found = CODE.match(_text_of(exc))
    return found[1] if found and code in {"", "ERR"} else str(code)


def words_of(exc: Exception) -> str:
    """What Redis said, its code first; what redis-py says if Redis said nothing."""
    text = _text_of(exc)
    code = code_of(exc)
    return text if not code or code == "ERR" or text.startswith(code) else f"{code} {text}"


def _text_of(exc: Exception) -> str:
    text = str(exc)
    if found := IN_A_PIPELINE.fullmatch(text):
        try:
            return str(ast.literal_eval(found[1])[0])
        except (ValueError, SyntaxError, IndexError):
            return text
    return text


def chain_of(exc: BaseException) -> Iterator[BaseException]:
    """The exception, and what it was raised for."""
    following: BaseException | None = exc
    while following is not None:
        yield following
        following = following.__cause__ or following.__context__


def _said(exc: Exception) -> Exception:
    """Behind the exception of a Cluster's client, what a node of it said, if one did."""
    if isinstance(exc, RedisClusterException):
        return next((e for e in chain_of(exc) if isinstance(e, RedisError | OSError)), exc)
    return exc


def class_of(exc: Exception) -> type[StoreError]:
    """What to do about an exception of redis-py: see the module."""
    if found := BY_CODE.get(code_of(exc)):
        return found
    text = _text_of(exc).removeprefix("ERR ")
    for begin, what in BY_WORDS.items():
        if text.startswith(begin):
            return what
    return next((what for classes, what in BY_CLASS if isinstance(exc, classes)), StoreUnavailableError)


@contextmanager
def store_errors(doing: str, *, user: str = "") -> Iterator[None]:
    """Translate redis-py's exceptions; `doing` names the step and `user` who we are, for the message."""
    try:
        yield
    except (RedisError, RedisClusterException, OSError, TimeoutError) as exc:
        raise _translated(doing, _said(exc), user) from exc


def _translated(doing: str, exc: Exception, user: str) -> StoreError:
    what, said = class_of(exc), words_of(exc) or type(exc).__name__
    # redis-py makes one exception of a connection that broke and of one that Redis refused: the latter has a
    # code.
    answered = isinstance(exc, ResponseError) or what is StoreMovedError or bool(code_of(exc))
    words = said if answered else ""
    if what is StoreFullError:
        said = "Redis is out of memory"
    elif what is StoreConfigError and isinstance(exc, AuthenticationError | AuthorizationError):
        whose = f" of user {user!r}" if user else ""
        said = f"Redis refused the credentials{whose} ({said}); fix user and password in STORMFOLD_REDIS_URL"
    elif what is StoreConfigError and DENIED.search(words):
        said = f"{said}; {RIGHTS}"
    elif what is StoreContentError:
        said = f"{said}; empty this Redis, and stormfold gives everything back"
    return what(f"{doing}: {said}", words=words)
