"""URLs as people write them, on the servers that they name: they work, or one line says what to change.

After what is wrong with the URL itself (`tests/unit/fold/test_url.py`) comes what only the server can tell.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.harness.certificates import behind_tls
from tests.harness.eventually import eventually
from tests.harness.folding import CLUSTER
from tests.harness.redis_servers import found_servers

from lab.process import Server, free_port
from lab.valkey import Valkey, ValkeyCluster
from stormfold.fold.connection import Connection
from stormfold.fold.errors import StoreConfigError, StoreUnavailableError
from stormfold.fold.preflight import preflight
from stormfold.fold.store import StormStore

PASSWORD = "p#a/s?s@w%rd:1"
ESCAPED = "p%23a%2Fs%3Fs%40w%25rd%3A1"


async def told(url: str) -> str:
    """The line with which the preflight ends; empty if it goes well."""
    try:
        connection = Connection.from_url(url)
    except StoreConfigError as error:
        return str(error)
    try:
        await preflight(connection, StormStore(connection, cluster=CLUSTER))
    except (StoreConfigError, StoreUnavailableError) as error:
        return str(error)
    finally:
        await connection.close()
    return ""


@pytest.mark.parametrize(
    ("begin", "end", "right"),
    [
        pytest.param(f"redis://:{ESCAPED}@", "/0\n", "", id="newline"),
        pytest.param(f"redis://:{ESCAPED}@", "/0\r\n", "", id="crlf"),
        pytest.param(f"redis://:{ESCAPED}@", "/0", "", id="escaped"),
        pytest.param(f"REDIS://:{ESCAPED}@", "/", "", id="upper case, trailing slash"),
        pytest.param(f"redis://default:{ESCAPED}@", "/0", "", id="name of the default user"),
        pytest.param(f"redis://:{PASSWORD}@", "/0", r".*written as %2F %3F %23 %5B", id="raw"),
        pytest.param(
            "redis://stormfold:wrong@",
            "/0",
            r"asking Redis who it is: Redis refused the credentials of user 'stormfold' \(WRONGPASS .*\); "
            "fix user and password in STORMFOLD_REDIS_URL",
            id="unknown user",
        ),
        pytest.param(
            "redis://:$(REDIS_PASSWORD)@",
            "/0",
            r"asking Redis who it is: Redis refused the credentials \(WRONGPASS .*\); "
            "fix user and password in STORMFOLD_REDIS_URL",
            id="variable that was not expanded",
        ),
        pytest.param(
            "redis://",
            "/0",
            r"asking Redis who it is: Redis refused the credentials \(NOAUTH .*\); "
            "fix user and password in STORMFOLD_REDIS_URL",
            id="none",
        ),
        pytest.param(
            f"redis://:{ESCAPED}@", "/16", "asking Redis who it is: DB index is out of range", id="database"
        ),
        pytest.param(
            f"redis+cluster://:{ESCAPED}@",
            "",
            "asking Redis who it is: This instance has cluster support disabled: "
            "this is no Cluster: write redis:// in STORMFOLD_REDIS_URL",
            id="no Cluster",
        ),
    ],
)
async def test_url_of_a_server_with_a_password(server_binary: Path, begin: str, end: str, right: str) -> None:
    with Valkey(server_binary, settings={"requirepass": f'"{PASSWORD}"'}, password=PASSWORD) as server:
        found = await told(f"{begin}127.0.0.1:{server.port}{end}")
    assert re.fullmatch(right, found), found
    assert not any(piece in found for piece in ("w%rd", "$(", "wrong@", ":wrong", "p#a", ESCAPED))


async def test_url_names_any_node_of_a_cluster_that_is_up(cluster: ValkeyCluster) -> None:
    first, second, third = (node.port for node in cluster.nodes)
    down = free_port()
    for hosts in (
        f"127.0.0.1:{first},127.0.0.1:{second},127.0.0.1:{third}",
        f"127.0.0.1:{down},127.0.0.1:{second}",
        f"127.0.0.1:{third},127.0.0.1:{down},127.0.0.1:{free_port()}",
    ):
        assert await told(f"redis+cluster://{hosts}") == ""
    assert await told(f"redis://127.0.0.1:{first}/0") == (
        "STORMFOLD_REDIS_URL names a node of a Cluster: write redis+cluster://"
    )
    nobody = await told(f"redis+cluster://127.0.0.1:{down}")
    assert nobody.startswith("asking Redis who it is: ")
    assert nobody.endswith(": check STORMFOLD_REDIS_URL and the network")
    assert "\n" not in nobody


@asynccontextmanager
async def sentinel(
    primary: int | str, binary: Path, folder: Path, *, tls: dict[str, str] | None = None
) -> AsyncIterator[str]:
    """Host and port of a Sentinel that knows the primary at that port as `storms`."""
    port = free_port()
    config = folder / "sentinel.conf"
    settings = {"port": f"{port}", **({"port": "0", "tls-port": f"{port}", **tls} if tls else {})}
    config.write_text(
        "".join(f"{name} {value}\n" for name, value in settings.items())
        + f"bind 127.0.0.1\ndir {folder}\nsentinel monitor storms 127.0.0.1 {primary} 1\n"
    )
    process = Server("sentinel", [binary, config, "--sentinel"], folder / "sentinel.log")
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()


async def test_url_of_a_sentinel(server: Valkey, server_binary: Path, tmp_path: Path) -> None:
    async with sentinel(server.port, server_binary, tmp_path) as at:
        url = f"redis+sentinel://127.0.0.1:{free_port()},{at}/storms/0"
        await eventually(lambda: told(url), lambda found: found == "", what="the second Sentinel answers")
        assert await told(f"redis://{at}/0") == (
            "STORMFOLD_REDIS_URL names a node of a Sentinel: write redis+sentinel://host:port/<service>/0"
        )
        assert await told(f"redis+sentinel://{at}/others/0") == (
            f"asking Redis who it is: no Sentinel names a primary 'others' that is up ({at}: knows none): "
            "check the addresses of the Sentinels, the service's name and sentinel_password in "
            "STORMFOLD_REDIS_URL"
        )
        assert "the database behind the last / must be a number" in await told(
            f"redis+sentinel://{at}/storms/zero"
        )
        assert await told(f"redis+sentinel://127.0.0.1:{server.port}/storms/0") == (
            "asking Redis who it is: unknown command 'SENTINEL', with args beginning with: 'MASTERS' : "
            "this is no Sentinel: write redis:// in STORMFOLD_REDIS_URL"
        )


async def test_url_of_a_socket(server_binary: Path, tmp_path: Path) -> None:
    with Valkey(server_binary, settings={"unixsocket": str(tmp_path / "redis.sock")}):
        assert await told(f"unix://{tmp_path}/redis.sock?db=1") == ""
    assert (await told(f"unix://{tmp_path}/redis.sock")).endswith(
        ": check STORMFOLD_REDIS_URL and the network"
    )


# --- TLS, before servers whose own binaries may have none


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that is its own authority, for `localhost` and loopback; its key beside it."""
    folder = tmp_path_factory.mktemp("tls")
    made = [
        "openssl",
        *[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ],
    ]
    made += ["-subj", "/CN=redis", "-addext", "subjectAltName=IP:127.0.0.1,IP:::1", "-keyout", "tls.key"]
    subprocess.run([*made, "-out", "tls.crt"], cwd=folder, check=True, capture_output=True)
    return folder / "tls.crt"


async def test_tls_takes_an_authority_or_says_that_it_needs_one(redis: Valkey, authority: Path) -> None:
    async with behind_tls(redis.port, authority) as port:
        url = f"rediss://127.0.0.1:{port}/0"
        assert await told(f"{url}?ssl_ca_certs={authority}") == ""
        assert await told(f"{url}?ssl_cert_reqs=none") == ""
        unknown = await told(url)
        assert "CERTIFICATE_VERIFY_FAILED" in unknown
        assert unknown.endswith(
            ": name its authority by ssl_ca_certs in STORMFOLD_REDIS_URL, or use the component redis-ca"
        )
        plain = await told(f"redis://127.0.0.1:{port}/0")
        assert plain.endswith(": check STORMFOLD_REDIS_URL and the network")
    assert (await told(f"rediss://127.0.0.1:{redis.port}/0?ssl_ca_certs={authority}")).endswith(
        ": check the network, and that this port speaks TLS: without, the URL begins with redis"
    )


async def test_address_of_ipv6_is_asked(redis: Valkey, authority: Path) -> None:
    async with behind_tls(redis.port, authority, "::1") as port:
        assert await told(f"rediss://[::1]:{port}/0?ssl_ca_certs={authority}") == ""


WITH_TLS = [pytest.param(binary, id=name) for name, binary in found_servers().items() if name == "redis"]
"""The embedded Valkey is built without."""


@pytest.mark.parametrize("binary", WITH_TLS)
async def test_sentinel_and_its_primary_take_the_options_of_tls(
    binary: Path, authority: Path, tmp_path: Path
) -> None:
    port = str(free_port())
    tls = {
        "tls-cert-file": str(authority),
        "tls-key-file": str(authority.with_suffix(".key")),
        "tls-ca-cert-file": str(authority),
        "tls-auth-clients": "no",
        "tls-replication": "yes",
    }
    with Valkey(binary, settings={"tls-port": port, **tls}):
        async with sentinel(port, binary, tmp_path, tls=tls) as at:
            url = f"rediss+sentinel://{at}/storms/0"
            trusting = f"{url}?ssl_ca_certs={authority}"
            await eventually(lambda: told(trusting), lambda found: found == "", what="the Sentinel answers")
            assert await told(f"{url}?ssl_cert_reqs=none") == ""
            unknown = await told(url)
            assert "CERTIFICATE_VERIFY_FAILED" in unknown
            assert unknown.endswith("or use the component redis-ca")
