"""Every client reads the proxy variables alike: valid values are used, invalid ones are reported."""

from __future__ import annotations

import httpx
import pytest

from connectors.http import RequestLimits
from connectors.http.proxy import AsyncProxyTransport, ProxyConfigError, proxies_from_environment
from connectors.http.send import RequestNotSent, send_request

PROXY = "http://ana:s3cret@proxy.acme.com:3128"


def straight(no_proxy: str, url: str) -> bool:
    proxies = proxies_from_environment({"HTTPS_PROXY": PROXY, "HTTP_PROXY": PROXY, "NO_PROXY": no_proxy})
    return proxies.proxy_for(httpx.URL(url)) is None


@pytest.mark.parametrize(
    ("no_proxy", "url"),
    [
        ("localhost,[::1]", "http://[::1]:8080/scim"),
        ("localhost,[::1]", "http://localhost/"),
        ("::1", "http://[::1]/"),
        ("fd00::/8", "https://[fd12::1]/"),
        ("[fd00::]/8", "https://[fd12::1]/"),
        ("[fd12::1]:8443", "https://[fd12::1]:8443/"),
        ("10.0.0.0/8", "https://10.1.2.3/"),
        ("10.1.2.3", "https://10.1.2.3/"),
        ("10.1.2.3:443", "https://10.1.2.3/"),
        ("10.1.2.*", "https://10.1.2.3/"),
        ("acme.com", "https://acme.com/"),
        ("acme.com", "https://eu.acme.com/"),
        (".acme.com", "https://eu.acme.com/"),
        (".acme.com", "https://acme.com/"),
        ("*.acme.com", "https://eu.acme.com/"),
        ("ACME.com.", "https://eu.acme.COM/"),
        ("acme.com:8443", "https://acme.com:8443/"),
        ("https://acme.com", "https://acme.com/"),
        ("acme.com:*", "https://acme.com/"),
        ("a.example b.example", "https://b.example/"),
        ("a.example, ,b.example,", "https://b.example/"),
        ("*", "https://acme.com/"),
        ("x,*", "https://acme.com/"),
    ],
)
def test_entry_of_no_proxy_is_heeded(no_proxy: str, url: str) -> None:
    assert straight(no_proxy, url)


@pytest.mark.parametrize(
    ("no_proxy", "url"),
    [
        ("", "https://acme.com/"),
        ("acme.com", "https://notacme.com/"),
        ("acme.com", "https://acme.com.evil.example/"),
        ("acme.com:8443", "https://acme.com/"),
        ("fd00::/8", "https://[fe80::1]/"),
        ("10.0.0.0/8", "https://11.0.0.1/"),
        ("10.0.0.0/8", "https://ten.acme.com/"),
        ("[", "https://acme.com/"),
        ("]:x,/,::,a/b/c,[x]:1", "https://acme.com/"),
        (".", "https://acme.com/"),
    ],
)
def test_what_no_entry_names_goes_through_the_proxy(no_proxy: str, url: str) -> None:
    assert not straight(no_proxy, url)


def test_entry_that_matches_nothing_is_known() -> None:
    assert proxies_from_environment({"NO_PROXY": "a/b/c,localhost,]["}).invalid_entries == ("a/b/c", "][")


@pytest.mark.parametrize(
    ("environ", "url", "proxy"),
    [
        ({"HTTPS_PROXY": "http://p:1"}, "https://a/", "http://p:1"),
        ({"https_proxy": "http://p:1", "HTTPS_PROXY": "http://q:1"}, "https://a/", "http://p:1"),
        ({"https_proxy": "", "HTTPS_PROXY": "http://q:1"}, "https://a/", None),
        ({"HTTPS_PROXY": "p:1"}, "https://a/", "http://p:1"),
        ({"HTTPS_PROXY": " http://p:1\n"}, "https://a/", "http://p:1"),
        ({"HTTPS_PROXY": "https://p:1"}, "https://a/", "https://p:1"),
        ({"HTTPS_PROXY": "http://p:1"}, "http://a/", None),
        ({"ALL_PROXY": "http://p:1"}, "http://a/", "http://p:1"),
        ({"all_proxy": "http://p:1", "HTTP_PROXY": "http://q:1"}, "http://a/", "http://q:1"),
        ({"HTTP_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, "http://a/", None),
        ({"HTTPS_PROXY": "socks5://p:1", "NO_PROXY": "*"}, "https://a/", None),
        ({"HTTPS_PROXY": "http://p:1", "HTTP_PROXY": "http://p:1", "ALL_PROXY": "socks5://p:1"}, "https://a/", "http://p:1"),
    ],
)  # fmt: skip
def test_variable_that_counts_is_taken(environ: dict[str, str], url: str, proxy: str | None) -> None:
    assert proxies_from_environment(environ).proxy_for(httpx.URL(url)) == proxy


@pytest.mark.parametrize(
    "variable", ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]
)
@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("socks5://ana:s3cret@p:1080", "SOCKS"),
        ("socks5h://p", "SOCKS"),
        ("ftp://ana:s3cret@p", "neither http"),
        ('"http://ana:s3cret@p:1"', "quotation marks"),
        ("http://", "no host"),
        ("http://ana:s3cret@", "no host"),
        ("http://[::1", "not a URL"),
        ("http://ana:s3cret@p:x", "not a URL"),
        ("http://ana:s3cret@p:99999", "no host and port"),
        ("http://ana:s3cret@p q:1", "no"),
    ],
)
def test_proxy_that_cannot_be_used_is_named_without_its_value(variable: str, value: str, why: str) -> None:
    with pytest.raises(ProxyConfigError) as raised:
        proxies_from_environment({variable: value})

    assert raised.value.variable == variable
    assert str(raised.value).startswith(f"{variable} ")
    assert why in raised.value.problem
    assert f"Write {variable}=http://host:port" in raised.value.hint
    assert "s3cret" not in str(raised.value) + raised.value.hint


async def test_proxy_stands_in_the_error_of_a_connection_without_its_password() -> None:
    def refused(request: httpx.Request) -> httpx.Response:
        raise httpx.ProxyError("407 Proxy Authentication Required", request=request)

    proxies = proxies_from_environment({"https_proxy": PROXY, "NO_PROXY": "127.0.0.1"})
    unreachable = httpx.MockTransport(lambda _: httpx.Response(200))
    transport = AsyncProxyTransport(proxies, unreachable, https=httpx.MockTransport(refused))
    async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
        with pytest.raises(RequestNotSent) as raised:
            await send_request(client, client.build_request("GET", "https://acme.okta.com/api"), RequestLimits())
        answer, _ = await send_request(client, client.build_request("GET", "https://127.0.0.1/api"), RequestLimits())

    assert str(raised.value) == (
        "407 Proxy Authentication Required, through the proxy http://proxy.acme.com:3128 (https_proxy)"
    )
    assert answer.status_code == 200
