"""KubeClient: few verbs on JSON objects, over one bounded pool of connections.

Where the API server is and who we are there says `kube.access`. Requests go over `kube.exchange`, since with
every Signal comes a deletion; watches, which are few and last, go over aiohttp.
"""

import asyncio
import random
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
import orjson
from prometheus_client import Counter

from stormfold.kube.access import Access, find_access
from stormfold.kube.answers import read_json
from stormfold.kube.credentials import NOTHING, Credential
from stormfold.kube.errors import ApiError, ApiUnavailableError, CredentialError, error_of
from stormfold.kube.exchange import Answer, Call, Exchanges
from stormfold.kube.paging import PageSize

CONNECTIONS = 64
"""Sockets to the API server, at most: so many for requests, and so many for watches."""
TIMEOUT_SECONDS = 15.0
"""How long one request may take, but for a watch."""
WATCH_SECONDS = 60
"""How long a watch is asked to last, at most. An API server that has nothing to say may say nothing until
then: bookmarks come only if something changes, or if its etcd is told to notify it of progress."""
IDLE_SECONDS = WATCH_SECONDS + 30.0
"""How long a watch may be silent: longer, and its connection is dead, since the server would have ended
it."""
THROTTLED_TRIES = 4
"""How often a request is sent that is answered by 429."""
MAX_RETRY_AFTER_SECONDS = 10.0
"""The longest wait that a 429 may ask for."""
SPREAD = 0.5
"""By up to this share the wait is longer: those that were refused together would be together again, most of
them in vain, and the last of them each time the same one."""
THROTTLED_SECONDS = 2.0
"""For so long after a 429 we are told to ask for less."""
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
SERVER_SIDE_APPLY = "application/apply-patch+yaml"
JSON = "application/json"
TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"
"""Rows of what `kubectl get` prints, each with the metadata of its object."""

T = TypeVar("T")

REQUESTS = Counter("stormfold_api_requests_total", "Requests to the API server.", ["method", "code"])


class KubeClient:
    """The API server. Every verb raises the errors of `kube.errors`."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self.host = access.server
        """Where the API server is, for messages."""
        self.unauthorized = ""
        """Why the last request was answered by 401, or had no credentials to be sent with; empty: it had and
        was not."""
        self._throttled_at = -THROTTLED_SECONDS
        self._credential = NOTHING
        self._exchange = Exchanges(
            access.server,
            tls=self._tls if access.tls else None,
            limit=CONNECTIONS,
            headers=(("User-Agent", "stormfold"),),
            proxy=access.proxy,
        )
        self._session = access.session(
            NOTHING,
            limit=CONNECTIONS,
            timeout=aiohttp.ClientTimeout(sock_connect=TIMEOUT_SECONDS, sock_read=IDLE_SECONDS),
        )

    @classmethod
    async def connect(cls) -> "KubeClient":
        """A client for the cluster that `kube.access` finds.

        Raises:
            ClusterConfigError: there is none, or it cannot be used.
            CredentialError: what gives the credentials gives none.
        """
        return cls(await find_access())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._exchange.close()
        await self._session.close()

    @property
    def throttled(self) -> bool:
        """Whether the API server has answered a request by 429 lately."""
        return time.monotonic() - self._throttled_at < THROTTLED_SECONDS

    def not_ready(self) -> dict[str, str]:
        """What keeps the process from being ready: that the API server does not know who we are."""
        return {"credentials": self.unauthorized} if self.unauthorized else {}

    def _tls(self) -> ssl.SSLContext:
        assert self.access.tls is not None
        return self.access.tls.context(self._credential.pair)

    @contextmanager
    def _answered(self, method: str, path: str) -> Iterator[None]:
        """Around what waits for an answer: that there was none is counted, and raised as one error."""
        try:
            yield
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            REQUESTS.labels(method=method, code="none").inc()
            raise ApiUnavailableError(
                f"{method} {path}",
                0,
                type(exc).__name__,
                f"no answer from {self.host}: {str(exc) or type(exc).__name__}",
            ) from exc

    async def _credentials(self, doing: str) -> Credential:
        """What to show now; a plugin that is asked for it has its own time."""
        try:
            self._credential = await self.access.credentials.get()
        except CredentialError as exc:
            self.unauthorized = str(exc)
            raise ApiUnavailableError(doing, 0, "NoCredentials", str(exc)) from exc
        return self._credential

    async def _exchanged(self, call: Call, headers: dict[str, str]) -> Answer:
        """The answer to a call; if it is 401, that to the same call with later credentials, if there are
        any."""
        doing = f"{call.method} {call.path}"
        for last in (False, True):
            credential = await self._credentials(doing)
            if credential.authorization:
                headers["Authorization"] = credential.authorization
            with self._answered(call.method, call.path):
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    answer = await self._exchange(call)
            REQUESTS.labels(method=call.method, code=answer.status).inc()
            if answer.status != 401:
                self.unauthorized = ""
                break
            # A connection tells who we are if that is a certificate.
            self._exchange.drop()
            try:
                if last or not await self.access.credentials.renew(credential):
                    break
            except CredentialError as exc:
                self.unauthorized = str(exc)
                raise ApiUnavailableError(doing, 401, "NoCredentials", str(exc)) from exc
        if answer.status == 401:
            self.unauthorized = f"the API server at {self.host} answers 401: it does not take our credentials"
        return answer

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> dict[str, Any]:
        """Send one request and give the object that comes back; a 429 is obeyed and tried again."""
        data = b"" if body is None else orjson.dumps(body)
        headers = {"Accept": accept, "Content-Type": content_type} if data else {"Accept": accept}
        answer = await self._send(Call(method, path, params or {}, headers, data), headers)
        return _object(f"{method} {path}", answer.body)

    async def _send(self, call: Call, headers: dict[str, str]) -> Answer:
        """The answer to a call, whose headers these are, if it is a good one; a 429 is obeyed and tried
        again."""
        method, path = call.method, call.path
        for attempt in range(1, THROTTLED_TRIES + 1):
            answer = await self._exchanged(call, headers)
            if 200 <= answer.status < 300:
                return answer
            error = error_of(f"{method} {path}", answer.status, parsed(answer.body))
            if error.status == 429:
                self._throttled_at = time.monotonic()
            if error.status != 429 or attempt == THROTTLED_TRIES:
                raise error
            await asyncio.sleep(retry_after(answer.headers) * random.uniform(1.0, 1.0 + SPREAD))  # noqa: S311
        raise AssertionError("unreachable")

    async def get(self, path: str, **params: str) -> dict[str, Any]:
        """Read an object or a list."""
        return await self.request("GET", path, params=params)

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object in the collection `path`."""
        return await self.request("POST", path, body=body)

    async def replace(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Put an object in the place of what was there; with a resourceVersion, only if it is still that."""
        return await self.request("PUT", path, body=body)

    async def merge_patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Change the fields named; with `metadata.resourceVersion`, only if it is still that."""
        return await self.request("PATCH", path, body=body, content_type=MERGE_PATCH)

    async def delete(self, path: str, *, uid: str, resource_version: int) -> None:
        """Delete exactly this version of this object."""
        preconditions = {"uid": uid, "resourceVersion": str(resource_version)}
        await self.request("DELETE", path, body={"preconditions": preconditions})

    async def list_all(
        self,
        path: str,
        keep: Callable[[dict[str, Any]], T],
        *,
        objects: Callable[[dict[str, Any]], list[dict[str, Any]]] = lambda page: page.get("items") or [],
        params: Mapping[str, str] = {},
        accept: str = JSON,
    ) -> tuple[list[T], str]:
        """What `keep` makes of each object of a collection, and the resourceVersion of the list.

        It comes page by page, and no more of a page stays than what was kept: see `kube.paging`. `objects`
        finds them in a page.
        """
        kept: list[T] = []
        size = PageSize()
        query = dict(params)
        while True:
            query["limit"] = str(size.limit)
            headers = {"Accept": accept}
            answer = await self._send(Call("GET", path, query, headers, longest=size.longest), headers)
            if answer.too_long:
                size.too_long()
                continue
            length = len(answer.body)
            page = _object(f"GET {path}", answer.body)
            del answer
            found = objects(page)
            size.took(len(found), length)
            kept += map(keep, found)
            metadata = page.get("metadata") or {}
            del page, found
            if not metadata.get("continue"):
                return kept, str(metadata.get("resourceVersion", ""))
            query["continue"] = metadata["continue"]

    async def watch(
        self,
        path: str,
        keep: Callable[[dict[str, Any]], T],
        *,
        accept: str = JSON,
        params: Mapping[str, str],
        within: float = TIMEOUT_SECONDS,
        opened: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[T, None]:
        """What `keep` makes of each event of a watch, as they come, until the server ends it.

        The server takes the watch `within` so many seconds, and `opened` hears of it. No event stays longer
        than it takes to read it.

        Raises:
            ApiUnavailableError: it was not taken in time, broke, or said nothing for `IDLE_SECONDS`.
        """
        query = {"watch": "1", **params}
        credential = await self._credentials(f"WATCH {path}")
        tls = self.access.tls.context(credential.pair) if self.access.tls else True
        with self._answered("GET", path):
            async with asyncio.timeout(within):
                asking = {"Accept": accept}
                answer = await self._session.get(self.host + path, params=query, headers=asking, ssl=tls)
            async with answer as response:
                REQUESTS.labels(method="GET", code=response.status).inc()
                if response.status >= 400:
                    async with asyncio.timeout(within):
                        refusal = await response.read()
                    error = error_of(f"WATCH {path}", response.status, parsed(refusal))
                    if error.status == 429:
                        error.retry_after = retry_after(response.headers)
                    raise error
                opened()
                async for line in lines(response.content):
                    kept = keep(_event(path, line))
                    del line
                    yield kept


def _event(path: str, line: bytes) -> dict[str, Any]:
    """An event of a watch. One that is cut short says that the connection was."""
    try:
        event = read_json(line)
    except orjson.JSONDecodeError as exc:
        raise ApiUnavailableError(f"WATCH {path}", 0, "CutShort", "the connection was cut") from exc
    return event if isinstance(event, dict) else {}


async def lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """The lines of a stream, however long they are; what they take is twice the longest of them."""
    begun: list[bytes] = []
    async for chunk in content.iter_any():
        *ends, rest = chunk.split(b"\n")
        del chunk
        for end in ends:
            line = b"".join((*begun, end))
            begun.clear()
            if line:
                yield line
            del line
        begun.append(rest)
        del ends, rest
    last = b"".join(begun)
    if last.strip():
        yield last


def retry_after(headers: Mapping[str, str]) -> float:
    """The seconds that an answer asks to wait, within bounds; 1 if it does not say."""
    text = headers.get("Retry-After", "")
    return min(float(text), MAX_RETRY_AFTER_SECONDS) if text.isascii() and text.isdigit() else 1.0


def error_in(event: Mapping[str, Any], path: str) -> ApiError:
    """The error that an ERROR event of a watch carries."""
    status = event.get("object") or {}
    code = status.get("code") if isinstance(status, dict) else None
    return error_of(f"WATCH {path}", code if isinstance(code, int) else 500, status)


def _object(doing: str, data: bytes) -> dict[str, Any]:
    """The object of a good answer. One that is none says nothing: least of all that a list is empty."""
    try:
        payload = read_json(data) if data else {}
    except orjson.JSONDecodeError as exc:
        raise ApiUnavailableError(doing, 0, "NoJSON", f"the answer is no JSON: {exc}") from exc
    return payload if isinstance(payload, dict) else {}


def parsed(data: bytes) -> Any:
    """What an answer says, whatever it is: the beginning of a text is a message."""
    try:
        return read_json(data) if data else {}
    except orjson.JSONDecodeError:
        return {"message": data[:200].decode(errors="replace")}
