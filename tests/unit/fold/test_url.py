"""STORMFOLD_REDIS_URL is read to the last character, or refused in one line that repeats nothing of a
password."""

from __future__ import annotations

from pathlib import Path

import pytest

from stormfold.fold.connection import Connection
from stormfold.fold.errors import StoreConfigError
from stormfold.fold.url import TLS_OPTIONS, UNREADABLE, RedisUrl, parse

HERE = (("127.0.0.1", 6379),)
SCHEMES = "with redis://, rediss://, redis+cluster:// or redis+sentinel://"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://127.0.0.1:6379/0", RedisUrl("server", hosts=HERE)),
        ("redis://127.0.0.1", RedisUrl("server", hosts=HERE)),
        ("redis://127.0.0.1:6379/", RedisUrl("server", hosts=HERE)),
        ("REDIS://127.0.0.1:6379/3", RedisUrl("server", hosts=HERE, db=3)),
        ("  redis://127.0.0.1:6379/0\r\n", RedisUrl("server", hosts=HERE)),
        ("redis://my_redis.db-1.svc:7000", RedisUrl("server", hosts=(("my_redis.db-1.svc", 7000),))),
        ("redis://[::1]:7000/1", RedisUrl("server", hosts=(("::1", 7000),), db=1)),
        ("redis://[fe80::1%eth0]", RedisUrl("server", hosts=(("fe80::1%eth0", 6379),))),
        (
            "redis://:p%23a%2Fs%3Fs%40w%25rd%3A1@127.0.0.1",
            RedisUrl("server", hosts=HERE, password="p#a/s?s@w%rd:1"),
        ),
        ("redis://:p@ss:word@127.0.0.1", RedisUrl("server", hosts=HERE, password="p@ss:word")),
        ("redis://:100%@127.0.0.1", RedisUrl("server", hosts=HERE, password="100%")),
        ("redis://:[a]@127.0.0.1", RedisUrl("server", hosts=HERE, password="[a]")),
        ("redis://:a+b@127.0.0.1", RedisUrl("server", hosts=HERE, password="a+b")),
        ("redis://te%40m:@127.0.0.1", RedisUrl("server", hosts=HERE, username="te@m")),
        (
            "redis://:$(REDIS_PASSWORD)@127.0.0.1",
            RedisUrl("server", hosts=HERE, password="$(REDIS_PASSWORD)"),
        ),
        ("rediss://127.0.0.1", RedisUrl("server", tls=True, hosts=HERE)),
        (
            "rediss://127.0.0.1?ssl_cert_reqs=none&ssl_check_hostname=false",
            RedisUrl(
                "server",
                tls=True,
                hosts=HERE,
                tls_options={"ssl_cert_reqs": "none", "ssl_check_hostname": False},
            ),
        ),
        ("unix:///run/redis.sock", RedisUrl("unix", path="/run/redis.sock")),
        (
            "unix://user:pass@/run/redis.sock?db=2",
            RedisUrl("unix", path="/run/redis.sock", db=2, username="user", password="pass"),
        ),
        (
            "redis+cluster://127.0.0.1:7001,127.0.0.1:7002,[::1]:7003/0",
            RedisUrl("cluster", hosts=(("127.0.0.1", 7001), ("127.0.0.1", 7002), ("::1", 7003))),
        ),
        (
            "rediss+cluster://user:pass@a,b:7002",
            RedisUrl("cluster", tls=True, hosts=(("a", 6379), ("b", 7002)), username="user", password="pass"),
        ),
        (
            "redis+sentinel://user:pass@a:1,[::1]:2/my%20master/3?sentinel_username=u&sentinel_password=s%2Fe+t",
            RedisUrl(
                "sentinel",
                hosts=(("a", 1), ("::1", 2)),
                db=3,
                service="my master",
                username="user",
                password="pass",
                sentinel_username="u",
                sentinel_password="s/e+t",
            ),
        ),
        (
            "rediss+sentinel://a:1/storms?ssl_check_hostname=false",
            RedisUrl(
                "sentinel",
                tls=True,
                hosts=(("a", 1),),
                service="storms",
                tls_options={"ssl_check_hostname": False},
            ),
        ),
    ],
)
async def test_url_says(url: str, says: RedisUrl) -> None:
    assert parse(url) == says
    connection = Connection.from_url(url)
    assert connection.is_cluster == (says.kind == "cluster")
    await connection.close()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", f"must begin {SCHEMES}"),
        ("http://127.0.0.1", f"begins with 'http'; it must begin {SCHEMES}"),
        ("valkey://127.0.0.1:6379/0", f"begins with 'valkey'; it must begin {SCHEMES}"),
        ("redis+pigeon://127.0.0.1", f"begins with 'redis+pigeon'; it must begin {SCHEMES}"),
        ("127.0.0.1:6379", f"must begin {SCHEMES}"),
        ('"redis://127.0.0.1:6379/0"', "it begins with a quotation mark: write it without"),
        ("'redis://127.0.0.1:6379/0'", "it begins with a quotation mark: write it without"),
        ("redis://127.0.0.1:6379/0 redis://b", "it holds a space or a line break"),
        ("redis://127.0.0.1\n:6379/0", "it holds a space or a line break"),
        ("redis://:p#a/s?s@w%rd:1@127.0.0.1:6379/0", UNREADABLE),
        ("redis://127.0.0.1:port", UNREADABLE),
        ("redis://127.0.0.1:6379/0#fragment", UNREADABLE),
        ("redis://", "it names no host"),
        ("redis:///0", "it names no host"),
        ("redis://:secret@/0", "it names no host"),
        ("redis://secret@127.0.0.1", "before the @ stands user:password, or :password for the default user"),
        ("redis://127.0.0.1:0", "0 is no port"),
        ("redis://127.0.0.1:70000", "70000 is no port"),
        ("redis://::1:6379/0", "an IPv6 address stands in brackets, such as [::1]:6379"),
        ("redis://a:1,b:2", "it names several hosts: write redis+cluster:// or redis+sentinel://"),
        ("redis://a:1,", UNREADABLE),
        ("redis://a/zero", "the database behind the last / must be a number, such as 0"),
        ("redis://a/-1", "the database behind the last / must be a number, such as 0"),
        ("redis://a/0/1", "remove what follows the number of the database"),
        ("redis+cluster://127.0.0.1:7001/3", "a Cluster has only database 0: leave out /3"),
        ("redis+sentinel://127.0.0.1", "redis+sentinel:// needs host:port,…/service"),
        ("redis+sentinel://127.0.0.1:26379", "redis+sentinel:// needs host:port,…/service"),
        ("redis+sentinel://127.0.0.1/service", "redis+sentinel:// needs host:port,…/service"),
        ("redis+sentinel://a:1/mymaster/zero", "the database behind the last / must be a number, such as 0"),
        (
            "redis://a/0?socket_timeout=5&health_check_interval=30",
            "it has the option socket_timeout: this URL takes no options",
        ),
        (
            "rediss://a?ssl_cert_reqs=none&db=1",
            f"it has the option db: it takes {', '.join(TLS_OPTIONS)}",
        ),
        (
            "redis://a?ssl_cert_reqs=none",
            "ssl_cert_reqs is for TLS, and the URL begins without: write rediss",
        ),
        ("rediss://a?ssl_cert_reqs=none&ssl_cert_reqs=none", "it has the option ssl_cert_reqs twice"),
        ("rediss://a?ssl_cert_reqs=maybe", "ssl_cert_reqs must be required, optional or none"),
        ("rediss://a?ssl_check_hostname=2", "ssl_check_hostname must be true or false"),
        ("rediss://a?ssl_ca_certs=/not/there.pem", "ssl_ca_certs names a file that is not there"),
        (
            "redis+sentinel://a:1/s?sentinel_password=s&ecret=1",
            "it has an option that is not taken: it takes sentinel_username, sentinel_password",
        ),
        ("redis://a/0?secret=1", "it has an option that is not taken: this URL takes no options"),
        ("unix://run/redis.sock", "unix:// is followed by a path, not by a host"),
        ("unix://user:pass@/", "unix:// needs the path of a socket"),
    ],
)
def test_url_is_refused_and_says_why(url: str, why: str) -> None:
    with pytest.raises(StoreConfigError) as raised:
        Connection.from_url(url)
    begin = "STORMFOLD_REDIS_URL " if SCHEMES in why else "STORMFOLD_REDIS_URL is not a URL of Redis: "
    assert str(raised.value) == begin + why
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:hunter2#x@redis:6379/0",
        "redis://user:hunter2?x@redis:6379/0",
        "redis://user:hunter2?hunter2=x@redis:6379/0",
        "redis://user:hunter2/x@redis:6379/0",
        "redis://user:hunter2/x",
        "redis://hunter2@redis:6379/0",
        "redis://user:hunter 2hunter2@redis:6379/0",
        "redis+sentinel://user:hunter2/x@redis:26379/service/0",
        "redis+sentinel://user:x@redis:26379/service/hunter2",
        "redis+sentinel://redis:26379/service?sentinel_password=hunter2&hunter2",
        "redis+sentinel://redis:26379/service?sentinel_password=x#hunter2",
        "user:hunter2@redis:6379",
        "redis:/user:hunter2@redis:6379/0",
        "hunter2",
        "hunter2://redis:6379",
        '"redis://:hunter2@redis"',
    ],
)
def test_no_piece_of_the_url_that_may_be_a_password_is_told(url: str) -> None:
    with pytest.raises(StoreConfigError) as raised:
        Connection.from_url(url)
    assert "hunter2" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_password_is_not_in_what_is_shown_of_a_url() -> None:
    address = parse("redis+sentinel://user:hunter2@a:1/s?sentinel_password=hunter2")
    assert "hunter2" not in f"{address!r} {address} {address.where}"
    assert (address.where, parse("redis://u:p@[::1]:7/0").where) == ("a:1", "[::1]:7")


def test_files_of_tls_are_taken(tmp_path: Path) -> None:
    authority = tmp_path / "ca.crt"
    authority.touch()
    assert parse(f"rediss://a?ssl_ca_certs={authority}").tls_options == {"ssl_ca_certs": str(authority)}
