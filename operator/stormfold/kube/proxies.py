"""Which proxy leads to the API server, by the rules that kubectl and all Go programs follow."""

import base64
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from stormfold.kube.errors import ClusterConfigError


@dataclass(frozen=True, slots=True)
class Proxy:
    """A forward proxy that takes CONNECT. It shows itself without its password."""

    host: str
    port: int
    authorization: str = ""
    """The value of `Proxy-Authorization`; empty: none."""

    @property
    def url(self) -> str:
        """Its URL, without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def __repr__(self) -> str:
        return f"Proxy({self.url})"


def proxy_of(server: str, proxy_url: str, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy for this server: that of the kubeconfig, which `NO_PROXY` does not concern, or that of the
    environment.

    Raises:
        ClusterConfigError: it is one that stormfold cannot use.
    """
    if proxy_url:
        return _proxy("proxy-url", proxy_url)
    parts = urlsplit(server)
    name = f"{parts.scheme.upper()}_PROXY"
    url = environment.get(name) or environment.get(name.lower()) or ""
    if not url or is_exempt(parts, environment.get("NO_PROXY") or environment.get("no_proxy") or ""):
        return None
    return _proxy(name, url if "://" in url else f"http://{url}")


def is_exempt(server: SplitResult, no_proxy: str) -> bool:
    """Whether the environment's proxy is not for this server: loopback is never, nor is what `NO_PROXY`
    lists.

    It lists hosts (with all below them), `.suffixes`, addresses and networks, each with a port or without, or
    `*`.
    """
    host = (server.hostname or "").rstrip(".")
    port = server.port or (443 if server.scheme == "https" else 80)
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_exempts(entry.strip().lower(), host, port, address) for entry in no_proxy.split(","))


Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _exempts(entry: str, host: str, port: int, address: Address | None) -> bool:
    if entry in ("", "*"):
        return entry == "*"
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    if _address(entry) is None:
        name, colon, digits = entry.rpartition(":")
        if colon:
            if digits != str(port):
                return False
            entry = name
    wanted = _address(entry)
    if wanted is not None or address is not None:
        return wanted == address
    entry = entry.removeprefix("*").rstrip(".")
    return host.endswith(entry) if entry.startswith(".") else host == entry or host.endswith(f".{entry}")


def _address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def _proxy(name: str, url: str) -> Proxy:
    try:
        parts = urlsplit(url)
        port = parts.port or 80
    except ValueError:
        raise _unreadable(name) from None
    # An @ that comes so late ends a login: what seems to be host and port is a piece of it.
    if "@" in parts.path + parts.query + parts.fragment:
        raise _unreadable(name)
    if parts.scheme != "http" or not parts.hostname:
        raise ClusterConfigError(
            f"{name} names a proxy of the kind {parts.scheme or '(none)'}://, which stormfold does not know: "
            "use http://host:port of a proxy that takes CONNECT"
        )
    authorization = ""
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {base64.b64encode(login.encode()).decode()}"
    return Proxy(parts.hostname, port, authorization)


def _unreadable(name: str) -> ClusterConfigError:
    """The words of the URL itself may be a piece of the password, and ours end in the log and in the pod's
    status."""
    return ClusterConfigError(
        f"{name} is no URL of a proxy: host or port cannot be read; "
        "in a password, / ? # [ are written as %2F %3F %23 %5B"
    )
