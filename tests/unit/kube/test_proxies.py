"""Which proxy leads to the API server: the rules of kubectl, that is of Go's `net/http/httpproxy`."""

from __future__ import annotations

from traceback import format_exception
from urllib.parse import urlsplit

import pytest

from stormfold.kube.errors import ClusterConfigError
from stormfold.kube.proxies import Proxy, is_exempt, proxy_of

HTTPS, HTTP = "https://api.example.org:6443", "http://api.example.org:8001"
FIRM = Proxy("proxy", 3128)


@pytest.mark.parametrize(
    ("server", "proxy_url", "environment", "expected"),
    [
        pytest.param(HTTPS, "", {}, None, id="none"),
        pytest.param(HTTPS, "http://proxy:3128", {}, FIRM, id="kubeconfig"),
        pytest.param(
            HTTPS, "http://proxy:3128", {"NO_PROXY": "*"}, FIRM, id="kubeconfig whatever NO_PROXY says"
        ),
        pytest.param("https://127.0.0.1", "http://proxy:3128", {}, FIRM, id="kubeconfig for loopback"),
        pytest.param(HTTPS, "", {"HTTPS_PROXY": "http://proxy:3128"}, FIRM, id="environment"),
        pytest.param(HTTPS, "", {"https_proxy": "proxy:3128"}, FIRM, id="in lower case, without http://"),
        pytest.param(HTTPS, "", {"HTTPS_PROXY": "http://proxy"}, Proxy("proxy", 80), id="no port"),
        pytest.param(HTTPS, "", {"HTTP_PROXY": "http://proxy:3128"}, None, id="that of the other scheme"),
        pytest.param(HTTP, "", {"HTTP_PROXY": "http://proxy:3128"}, FIRM, id="plain HTTP"),
        pytest.param(
            HTTPS, "", {"HTTPS_PROXY": "http://[fd00::2]:3128"}, Proxy("fd00::2", 3128), id="IPv6 address"
        ),
        pytest.param(
            HTTPS, "http://ann:p%40ss@proxy:3128", {}, Proxy("proxy", 3128, "Basic YW5uOnBAc3M="), id="login"
        ),
        pytest.param(
            HTTPS, "", {"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "example.org"}, None, id="exempt"
        ),
    ],
)
def test_proxy_is_that_of_kubectl(
    server: str, proxy_url: str, environment: dict[str, str], expected: Proxy | None
) -> None:
    assert proxy_of(server, proxy_url, environment) == expected


@pytest.mark.parametrize(
    ("server", "no_proxy", "expected"),
    [
        ("https://api.example.org:6443", "", False),
        ("https://api.example.org:6443", "*", True),
        ("https://api.example.org:6443", "other.org, api.example.org", True),
        ("https://api.example.org:6443", "example.org", True),
        ("https://api.example.org:6443", ".example.org", True),
        ("https://api.example.org:6443", "*.example.org", True),
        ("https://example.org", ".example.org", False),
        ("https://notexample.org", "example.org", False),
        ("https://API.example.org.", "Api.Example.Org", True),
        ("https://api.example.org:6443", "api.example.org:6443", True),
        ("https://api.example.org:6443", "api.example.org:443", False),
        ("https://api.example.org", "api.example.org:443", True),
        ("https://10.96.0.1", "10.96.0.1", True),
        ("https://10.96.0.1", "10.0.0.0/8", True),
        ("https://11.96.0.1", "10.0.0.0/8", False),
        ("https://10.96.0.1:443", "10.96.0.1:443", True),
        ("https://10.96.0.1:443", "10.96.0.1:6443", False),
        ("https://10.96.0.1", "0.1", False),
        ("https://[fd00:10:96::1]:443", "fd00:10:96::/112", True),
        ("https://[fd00:10:96::1]:443", "fd00:10:96:0:0:0:0:1", True),
        ("https://[fd00:10:96::1]:443", "[fd00:10:96::1]:443", True),
        ("https://[fd00:10:96::1]:443", "fd00:10:97::/112", False),
        ("https://api.example.org", "10.0.0.0/8,nonsense/99", False),
        ("https://localhost:6443", "", True),
        ("https://127.0.0.2:6443", "", True),
        ("https://[::1]:6443", "", True),
    ],
)
def test_no_proxy_lists_hosts_suffixes_addresses_and_networks(
    server: str, no_proxy: str, expected: bool
) -> None:
    assert is_exempt(urlsplit(server), no_proxy) is expected


@pytest.mark.parametrize(
    ("proxy_url", "environment", "says"),
    [
        ("socks5://proxy:1080", {}, "proxy-url names a proxy of the kind socks5://"),
        ("https://proxy:3128", {}, "proxy-url names a proxy of the kind https://"),
        ("proxy", {}, "proxy-url names a proxy of the kind (none)://"),
        ("http://:3128", {}, "proxy-url names a proxy of the kind http://"),
        ("", {"HTTPS_PROXY": "socks5://proxy:1080"}, "HTTPS_PROXY names a proxy of the kind socks5://"),
        ("http://proxy:port", {}, "proxy-url is no URL of a proxy"),
    ],
)
def test_proxy_of_another_kind_is_refused_by_name(
    proxy_url: str, environment: dict[str, str], says: str
) -> None:
    with pytest.raises(ClusterConfigError) as refusal:
        proxy_of(HTTPS, proxy_url, environment)
    assert str(refusal.value).startswith(says)


def test_password_of_a_proxy_is_not_shown() -> None:
    proxy = proxy_of(HTTPS, "http://ann:secret@proxy:3128", {})
    assert (repr(proxy), proxy and proxy.url) == ("Proxy(http://proxy:3128)", "http://proxy:3128")


@pytest.mark.parametrize("variable", [True, False], ids=["HTTPS_PROXY", "proxy-url"])
@pytest.mark.parametrize("scheme", ["http://", ""])
@pytest.mark.parametrize(
    "password", ["Pa55/word", "Pa55#word", "Pa55?word", "Pa55[word", "5555/word", "5555#word", "5555?word"]
)
def test_no_piece_of_a_password_with_an_unescaped_character_is_told(
    password: str, scheme: str, variable: bool
) -> None:
    url = f"{scheme if variable else 'http://'}ann:{password}@proxy:3128"
    with pytest.raises(ClusterConfigError) as refusal:
        proxy_of(HTTPS, "" if variable else url, {"HTTPS_PROXY": url} if variable else {})
    assert str(refusal.value) == (
        f"{'HTTPS_PROXY' if variable else 'proxy-url'} is no URL of a proxy: host or port cannot be read; "
        "in a password, / ? # [ are written as %2F %3F %23 %5B"
    )
    assert "55" not in "".join(format_exception(refusal.value))
