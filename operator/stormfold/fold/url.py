"""RedisUrl: what STORMFOLD_REDIS_URL says, read to the last character.

| URL | what answers |
|---|---|
| `redis://host:6379/0`, `rediss://…` | one server; `rediss` is TLS |
| `redis+cluster://host:6379,host:6379`, `rediss+cluster://…` | a Cluster; one node that is up is enough |
| `redis+sentinel://host:26379,host:26379/<service>/<db>`, `rediss+…` | the primary that the Sentinels name |
| `unix:///path/to/socket?db=0` | one server on this machine |

A user and a password stand before the host: `user:password@`, or `:password@` for the default user. An IPv6
address stands in brackets. TLS takes the options of `TLS_OPTIONS`, Sentinels those of `SENTINEL_OPTIONS`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from stormfold.fold.errors import StoreConfigError

TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
"""Files as PEM: whom to trust, our certificate, its key; `required`, `optional` or `none`; `true` or
`false`."""
SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")
"""What the Sentinels themselves ask for."""
KNOWN_OPTIONS = frozenset(
    (
        *("db", "protocol", "client_name", "encoding", "encoding_errors", "decode_responses"),
        *("max_connections", "health_check_interval", "timeout", "socket_timeout", "socket_connect_timeout"),
        *("socket_keepalive", "retry_on_timeout", "ssl_ca_path", "ssl_ca_data", "ssl_min_version"),
        *SENTINEL_OPTIONS,
    )
)
"""Names of options that other clients take; they are told to people who use them here."""
SCHEMES = {
    "redis": ("server", False),
    "rediss": ("server", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "unix": ("unix", False),
}
PORT = 6379
SCHEME = re.compile(r"[a-z][a-z+]{0,31}")
OPTION = re.compile(r"[a-z_]{2,40}")
HOST = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+(?:%\w+)?)\]|(?P<name>[\w.-]+))(?::(?P<port>\d{1,9}))?", re.ASCII
)
BARE_V6 = re.compile(r"[0-9A-Fa-f.]*(?::[0-9A-Fa-f.]*){2,}")
UNREADABLE = (
    "its host, port or options cannot be read; in a password, / ? # [ and the like are written as "
    "%2F %3F %23 %5B"
)
"""The words of the URL itself may be a piece of the password, and ours end in the log and in the pod's
status."""


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """One address of Redis; nothing of it has been asked yet."""

    kind: str
    """`server`, `cluster`, `sentinel` or `unix`."""
    tls: bool = False
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    """Of a socket on this machine."""
    db: int = 0
    service: str = ""
    """What the Sentinels call the primary."""
    username: str = ""
    password: str = field(default="", repr=False)
    tls_options: Mapping[str, str | bool] = field(default_factory=dict)
    sentinel_username: str = ""
    sentinel_password: str = field(default="", repr=False)

    @property
    def where(self) -> str:
        """The address without secrets, for messages."""
        return self.path or ",".join(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts
        )


def parse(url: str) -> RedisUrl:
    """What the URL says; white space around it, as a Secret made from a file has, is left out.

    Raises:
        StoreConfigError: it says nothing that the table above has; the message holds no piece of a password.
    """
    text = url.strip()
    if text[:1] in {'"', "'"}:
        raise _none("it begins with a quotation mark: write it without")
    if any(not character.isprintable() or character.isspace() for character in text):
        raise _none("it holds a space or a line break")
    name, _, rest = text.partition("://")
    scheme = name.lower()
    if scheme not in SCHEMES or not rest:
        raise _other_scheme(scheme, rest)
    kind, tls = SCHEMES[scheme]
    authority, after = _split(rest)
    username, password, addresses = _login(authority)
    path, _, query = after.partition("?")
    options = _options(query, kind=kind, tls=tls)
    hosts = _hosts(addresses, kind)
    service, db = "", _database(options.get("db", ""))
    if kind == "unix":
        if not path.strip("/"):
            raise _none("unix:// needs the path of a socket")
    else:
        service, db = _path(path, kind)
        path = ""
    return RedisUrl(
        kind,
        tls,
        hosts,
        unquote(path),
        db,
        service,
        username,
        password,
        {option: _tls_value(option, options[option]) for option in TLS_OPTIONS if option in options},
        options.get("sentinel_username", ""),
        options.get("sentinel_password", ""),
    )


def _none(why: str) -> StoreConfigError:
    return StoreConfigError(f"STORMFOLD_REDIS_URL is not a URL of Redis: {why}")


def _other_scheme(scheme: str, rest: str) -> StoreConfigError:
    said = f"begins with {scheme!r}; it must begin" if SCHEME.fullmatch(scheme) and rest else "must begin"
    if scheme in SCHEMES:
        return _none("it names no host")
    return StoreConfigError(
        f"STORMFOLD_REDIS_URL {said} with redis://, rediss://, redis+cluster:// or redis+sentinel://"
    )


def _split(rest: str) -> tuple[str, str]:
    """Login and hosts; path and query."""
    end = re.search(r"[/?#]", rest)
    authority, after = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    path = after.partition("?")[0]
    # An @ that comes so late ends a login whose password has one of these characters.
    if "@" in path or "#" in after or ("@" in after and "@" not in authority):
        raise _none(UNREADABLE)
    return authority, after


def _login(authority: str) -> tuple[str, str, str]:
    """User, password and the rest."""
    login, at, addresses = authority.rpartition("@")
    username, colon, password = login.partition(":")
    if at and not colon:
        raise _none("before the @ stands user:password, or :password for the default user")
    return unquote(username), unquote(password), addresses


def _hosts(addresses: str, kind: str) -> tuple[tuple[str, int], ...]:
    if kind == "unix":
        if addresses:
            raise _none("unix:// is followed by a path, not by a host")
        return ()
    if not addresses:
        raise _none("it names no host")
    hosts = [_host(address, kind) for address in addresses.split(",")]
    if kind == "server" and len(hosts) > 1:
        raise _none("it names several hosts: write redis+cluster:// or redis+sentinel://")
    return tuple(hosts)


def _host(address: str, kind: str) -> tuple[str, int]:
    found = HOST.fullmatch(address)
    if not found:
        if BARE_V6.fullmatch(address):
            raise _none("an IPv6 address stands in brackets, such as [::1]:6379")
        raise _none(UNREADABLE)
    if kind == "sentinel" and not found["port"]:
        raise _none("redis+sentinel:// needs host:port,…/service")
    port = int(found["port"] or PORT)
    if not 0 < port < 65536:
        raise _none(f"{port} is no port")
    return found["v6"] or found["name"], port


def _path(path: str, kind: str) -> tuple[str, int]:
    """Service and database."""
    first, *others = path.strip("/").split("/")
    if kind == "sentinel":
        if not first:
            raise _none("redis+sentinel:// needs host:port,…/service")
        service, db, beyond = unquote(first), "".join(others[:1]), others[1:]
    else:
        service, db, beyond = "", first, others
    if beyond:
        raise _none("remove what follows the number of the database")
    number = _database(db)
    if kind == "cluster" and number:
        raise _none(f"a Cluster has only database 0: leave out /{number}")
    return service, number


def _database(text: str) -> int:
    if text and not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise _none("the database behind the last / must be a number, such as 0")
    return int(text or 0)


def _options(query: str, *, kind: str, tls: bool) -> dict[str, str]:
    taken = {"unix": ("db",), "sentinel": SENTINEL_OPTIONS}.get(kind, ()) + (TLS_OPTIONS if tls else ())
    options: dict[str, str] = {}
    for part in query.split("&") if query else ():
        name, given, value = part.partition("=")
        if not given or not OPTION.fullmatch(name):
            raise _none(UNREADABLE)
        if name in TLS_OPTIONS and not tls:
            raise _none(f"{name} is for TLS, and the URL begins without: write rediss")
        if name not in taken:
            # Behind an unescaped & or ? in a password comes a piece of it.
            unknown = f"the option {name}" if name in KNOWN_OPTIONS else "an option that is not taken"
            known = f"it takes {', '.join(taken)}" if taken else "this URL takes no options"
            raise _none(f"it has {unknown}: {known}")
        if name in options:
            raise _none(f"it has the option {name} twice")
        options[name] = unquote(value)
    return options


def _tls_value(option: str, value: str) -> str | bool:
    match option:
        case "ssl_check_hostname":
            if value.lower() not in {"true", "false"}:
                raise _none("ssl_check_hostname must be true or false")
            return value.lower() == "true"
        case "ssl_cert_reqs":
            if value not in {"required", "optional", "none"}:
                raise _none("ssl_cert_reqs must be required, optional or none")
        case _:
            if not Path(value).is_file():
                raise _none(f"{option} names a file that is not there")
    return value
