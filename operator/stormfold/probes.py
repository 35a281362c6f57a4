"""/livez, /readyz and /metrics."""

import logging
import os

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, Info, disable_created_metrics, generate_latest

from stormfold import __version__
from stormfold.listening import EVERYWHERE, everywhere
from stormfold.readiness import Readiness

disable_created_metrics()  # type: ignore[no-untyped-call]
Info("stormfold_build", "Which stormfold this is.").info({"version": __version__})


UNHEARD = logging.getLogger(f"{__name__}.http")
"""Where aiohttp tells of what is no HTTP, with a traceback for each: whoever can connect could fill the
log."""
UNHEARD.disabled = True


class Probes:
    """A small HTTP server."""

    def __init__(self, readiness: Readiness, *, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._readiness = readiness
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen. Raises OSError if the port is taken."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/livez", self._livez),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, logger=UNHEARD)
        await self._runner.setup()
        try:
            if self._host in EVERYWHERE:
                await web.SockSite(self._runner, everywhere(self._port)).start()
            else:
                await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as exc:
            await self._runner.cleanup()
            raise OSError(
                f"cannot listen on {self._host or '*'}:{self._port} ({os.strerror(exc.errno or 0)}): "
                "set STORMFOLD_HTTP_HOST and STORMFOLD_HTTP_PORT"
            ) from exc

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner:
            await self._runner.cleanup()

    async def _livez(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        problems = self._readiness.not_ready()
        return web.Response(
            status=503 if problems else 200,
            body=orjson.dumps(
                {"ready": not problems, "problems": problems}, option=orjson.OPT_APPEND_NEWLINE
            ),
            content_type="application/json",
        )

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
