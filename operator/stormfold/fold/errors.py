"""Errors of the storm store.

StoreError
├── StoreUnavailableError   no answer: try again; whether it was done is not known
├── StoreFullError          refused for lack of memory: slow the intake down
└── StoreConfigError        will not mend itself: stop, and say how to mend it
"""

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ClusterError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

MENDING_ITSELF = (
    "LOADING",
    "BUSY",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "NOREPLICAS",
    "MISCONF",
    "UNBLOCKED",
)
"""Error codes of Redis that end without anybody's help, or that an operator of Redis mends while we wait."""


class StoreError(Exception):
    """Something went wrong between us and Redis."""


class StoreUnavailableError(StoreError):
    """No answer, or not yet: try again."""


class StoreFullError(StoreError):
    """Redis is out of memory and refused."""


class StoreConfigError(StoreError):
    """Redis is not set up as stormfold needs it."""


@contextmanager
def store_errors(doing: str) -> Iterator[None]:
    """Translate redis-py's exceptions; `doing` names the step, for the message."""
    try:
        yield
    except OutOfMemoryError as exc:
        raise StoreFullError(f"{doing}: Redis is out of memory") from exc
    except (AuthenticationError, AuthorizationError) as exc:
        raise StoreConfigError(
            f"{doing}: Redis refused the credentials ({exc}); mend user and password in STORMFOLD_REDIS_URL"
        ) from exc
    except NoPermissionError as exc:
        raise StoreConfigError(
            f"{doing}: {exc}; the Redis user needs ~sf:* and the commands of README.md"
        ) from exc
    except (
        RedisConnectionError,
        RedisTimeoutError,
        ReadOnlyError,
        ClusterError,
        MovedError,
        TryAgainError,
    ) as exc:
        raise StoreUnavailableError(f"{doing}: {str(exc) or type(exc).__name__}") from exc
    except RedisClusterException as exc:
        raise StoreUnavailableError(f"{doing}: {exc}") from exc
    except ResponseError as exc:
        if str(exc).startswith(MENDING_ITSELF):
            raise StoreUnavailableError(f"{doing}: {exc}") from exc
        raise StoreConfigError(f"{doing}: {exc}") from exc
    except (RedisError, OSError, TimeoutError) as exc:
        raise StoreUnavailableError(f"{doing}: {str(exc) or type(exc).__name__}") from exc
