"""Webhook: the HTTP server to which Alertmanager and Grafana post."""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web
from prometheus_client import Counter, Histogram

from stormfold.api.reasons.webhook import WebhookReason
from stormfold.enrich.enricher import Enricher
from stormfold.fold.folder import Folder
from stormfold.listening import EVERYWHERE, everywhere
from stormfold.sources.alerts import refusals
from stormfold.sources.alerts.credentials import Certificate, Secret
from stormfold.sources.alerts.heads import PATH, not_served
from stormfold.sources.alerts.parser import Policies
from stormfold.sources.alerts.posts import Answer, RefusalError
from stormfold.sources.alerts.receiver import Authorizer, Receiver, Serving, WebhookOptions

log = logging.getLogger(__name__)

UNHEARD = logging.getLogger(f"{__name__}.http")
"""Where aiohttp logs what is no HTTP, with a traceback each: anybody who can connect could fill the log."""
UNHEARD.disabled = True

IDLE_SECONDS = 30.0
"""How long a connection may take to send the head of its next request."""
HANDSHAKE_SECONDS = 10.0
LINGER_SECONDS = 2.0
"""How long the rest of a body is read that was refused, so that the client sees the answer."""
CONNECTIONS = 1024
"""Sockets, at most; a further one is closed at once."""
RELOAD_SECONDS = 5.0
"""How often the files are looked at."""
STOP_SECONDS = 5.0
"""How long answers may take to be sent when the server stops."""

POSTS = Counter("stormfold_webhook_posts_total", "Posts to the webhook by the code of the answer.", ["code"])
SECONDS = Histogram(
    "stormfold_webhook_duration_seconds",
    "From the head of a post to its answer.",
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 8, 13, 30),
)
REFUSED = Counter(
    "stormfold_webhook_connections_refused_total", "Connections closed at once since there were too many."
)


class Webhook:
    """The HTTP server: each connection's posts go to a `Receiver`."""

    def __init__(
        self,
        options: WebhookOptions,
        *,
        enricher: Enricher,
        folder: Folder,
        authorizer: Authorizer,
        serving: Serving,
        policies: Policies,
    ) -> None:
        self._options = options
        self._secret = Secret(options.secret_file)
        self._certificate = Certificate(options.tls_cert_file, options.tls_key_file)
        self._receiver = Receiver(
            options,
            secret=self._secret,
            enricher=enricher,
            folder=folder,
            authorizer=authorizer,
            serving=serving,
            policies=policies,
        )
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None

    # --- starting and stopping

    async def start(self) -> None:
        """Listen. Raises OSError if the port is taken or a file cannot be used."""
        options = self._options
        self._secret.load()
        tls = self._certificate.load()
        app = web.Application(middlewares=[self._answered])
        # A contact point of Grafana may be set to PUT.
        app.add_routes([add(path, self._post) for add in (web.post, web.put) for path in (PATH, f"{PATH}/")])
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=UNHEARD,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=LINGER_SECONDS,
            auto_decompress=False,
            handler_cancellation=True,
            shutdown_timeout=STOP_SECONDS,
        )
        await self._runner.setup()
        try:
            where: dict[str, Any] = (
                {"sock": everywhere(options.port, backlog=CONNECTIONS)}
                if options.host in EVERYWHERE
                else {"host": options.host, "port": options.port}
            )
            self._server = await asyncio.get_running_loop().create_server(
                self._protocol,
                **where,
                backlog=CONNECTIONS,
                ssl=tls,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if tls else None,
            )
        except OSError as exc:
            await self._runner.cleanup()
            raise OSError(
                f"cannot listen on {options.host or '*'}:{options.port} ({os.strerror(exc.errno or 0)}): "
                "set STORMFOLD_WEBHOOK_HOST and STORMFOLD_WEBHOOK_PORT"
            ) from exc

    @property
    def port(self) -> int:
        """The port it listens on."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def _protocol(self) -> asyncio.Protocol:
        assert self._runner is not None
        assert self._runner.server is not None
        if len(self._runner.server.connections) >= CONNECTIONS:
            REFUSED.inc()
            return Closing()
        return self._runner.server()

    async def run(self) -> None:
        """Look at the files for ever, and use what has changed."""
        while True:
            await asyncio.sleep(RELOAD_SECONDS)
            self.reload()

    def reload(self) -> None:
        """Use what has changed in the files; what cannot be used is said, and what was used goes on being."""
        self._secret.reload()
        self._certificate.reload()

    async def stop(self) -> None:
        """Stop listening; posts under way are answered for a few seconds more, or cut off."""
        if self._server:
            self._server.close()
        if self._runner:
            await self._runner.cleanup()

    # --- a post

    @web.middleware
    async def _answered(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Every answer is JSON and counted."""
        began = time.monotonic()
        try:
            return await handler(request)
        except asyncio.CancelledError:
            POSTS.labels(code="none").inc()
            raise
        except RefusalError as exc:
            return self._response(exc.answer, began)
        except web.HTTPException as exc:
            refusal = RefusalError(exc.status, WebhookReason.NO_SUCH_ENDPOINT, not_served(request.path))
            if "Allow" in exc.headers:
                refusal.answer.headers["Allow"] = exc.headers["Allow"]
            return self._response(refusal.answer, began)
        except Exception:
            log.exception("post failed")
            return self._response(
                refusals.failed().answer,
                began,
            )

    def _response(self, answer: Answer, began: float) -> web.Response:
        POSTS.labels(code=answer.code).inc()
        SECONDS.observe(time.monotonic() - began)
        return web.Response(
            status=answer.code,
            body=orjson.dumps(answer.body, option=orjson.OPT_APPEND_NEWLINE),
            content_type="application/json",
            headers=answer.headers,
        )

    async def _post(self, request: web.Request) -> web.Response:
        began = time.monotonic()
        return self._response(await self._receiver.receive(request), began)


class Closing(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close it."""
        transport.close()
