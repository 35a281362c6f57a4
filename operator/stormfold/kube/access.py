"""Access: the one way to the API server and the credentials for it, for our own requests and for kopf's."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from stormfold.kube import kubeconfig
from stormfold.kube.credentials import NOTHING, Credential, Credentials, Fixed, TokenFile
from stormfold.kube.errors import ClusterConfigError, CredentialError
from stormfold.kube.kubeconfig import Target
from stormfold.kube.proxies import Proxy, proxy_of
from stormfold.kube.tls import Tls

log = logging.getLogger(__name__)

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet puts the token of a pod's ServiceAccount, and the authority of the API server."""

READ_BYTES = 1 << 17
"""What is read ahead of a watch; twice as much may wait to be read."""

Handler = Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]]


class Access:
    """Where the API server is, how it is reached, whom we believe to be it, and who we are there."""

    def __init__(self, target: Target, *, proxy: Proxy | None = None) -> None:
        self._origin = URL(target.server).origin()
        self.server = target.server
        """Its URL, without a slash at the end."""
        self.tls = target.tls
        """None: plain HTTP."""
        self.proxy = proxy
        self.credentials = Credentials(target.source)

    @classmethod
    def plain(cls, server: str) -> "Access":
        """Without TLS and credentials, as to a proxy on one's own machine that has them."""
        return cls(Target(server, None, "", Fixed(NOTHING)))

    def session(
        self,
        credential: Credential,
        *,
        limit: int,
        timeout: aiohttp.ClientTimeout | None = None,
        response_class: type[aiohttp.ClientResponse] = aiohttp.ClientResponse,
    ) -> aiohttp.ClientSession:
        """A session of aiohttp that goes this way; for a client certificate it shows that of `credential`.

        Its requests get the credentials of their moment. To be called in the event loop that uses it.
        """
        proxy = self.proxy
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=limit, ssl=self.tls.context(credential.pair) if self.tls else True
            ),
            # Without a type some proxies add one of theirs, and the discovery of the API server takes no
            # other.
            headers={"User-Agent": "stormfold", "Content-Type": "application/json"},
            cookie_jar=aiohttp.DummyCookieJar(),
            middlewares=[self._authorize],
            proxy=proxy.url if proxy else None,
            response_class=response_class,
            read_bufsize=READ_BYTES,
            timeout=timeout or aiohttp.ClientTimeout(),
        )

    async def _authorize(self, request: aiohttp.ClientRequest, handler: Handler) -> aiohttp.ClientResponse:
        """Send a request with the credentials of now, and once more if the API server wants later ones."""
        if request.url.origin() != self._origin:
            return await handler(request)  # of a redirection, where our credentials are nobody's business
        try:
            credential = await self.credentials.get()
            response = await handler(self._signed(request, credential))
            if response.status == 401 and await self.credentials.renew(credential):
                response.close()
                response = await handler(self._signed(request, await self.credentials.get()))
        except CredentialError as exc:
            raise aiohttp.ClientConnectionError(str(exc)) from exc
        return response

    def _signed(self, request: aiohttp.ClientRequest, credential: Credential) -> aiohttp.ClientRequest:
        if credential.authorization:
            request.headers["Authorization"] = credential.authorization
        if self.proxy and self.proxy.authorization:
            shown = CIMultiDict({"Proxy-Authorization": self.proxy.authorization})
            if request.is_ssl():
                request.proxy_headers = shown
            else:
                request.headers.update(shown)
        return request


async def find_access(
    environment: Mapping[str, str] = os.environ, service_account: Path | None = None
) -> Access:
    """That of the pod we run in, unless `KUBECONFIG` is set, or else that of a kubeconfig.

    Raises:
        ClusterConfigError: there is none that can be used; the message says how to fix it.
        CredentialError: what gives the credentials gives none.
    """
    target = None
    if not environment.get("KUBECONFIG"):
        target = _of_pod(environment, service_account or SERVICE_ACCOUNT)
    try:
        if target is None:
            target = await asyncio.to_thread(kubeconfig.load, environment)
        access = Access(target, proxy=proxy_of(target.server, target.proxy_url, environment))
        credential = await access.credentials.get()
        if access.tls:
            access.tls.context(credential.pair)
    except ClusterConfigError as exc:
        raise ClusterConfigError(f"no way to an API server: {exc}{_missed(environment)}") from exc
    return access


def _of_pod(environment: Mapping[str, str], folder: Path) -> Target | None:
    """What the kubelet gives a pod; None outside of one, and in one that is given no token."""
    host, port = (environment.get(f"KUBERNETES_SERVICE_{name}", "") for name in ("HOST", "PORT"))
    token = folder / "token"
    if not host or not port or not token.exists():
        return None
    return Target(
        f"https://{f'[{host}]' if ':' in host else host}:{port}",
        Tls(ca=folder / "ca.crt"),
        "",
        TokenFile(token),
    )


def _missed(environment: Mapping[str, str]) -> str:
    if environment.get("KUBECONFIG"):
        return ""
    if environment.get("KUBERNETES_SERVICE_HOST"):
        return (
            f", and this pod has no {SERVICE_ACCOUNT / 'token'}: set automountServiceAccountToken: true, or "
            "KUBECONFIG"
        )
    return ": not in a cluster; set KUBECONFIG"
