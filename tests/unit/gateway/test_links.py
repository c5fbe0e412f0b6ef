"""Links: under the configured address, or under the one by which the request came."""

from typing import Any

from gateway.links import Links, file_url, page_link


def scope(*headers: tuple[str, str], client: str = "10.1.2.3", scheme: str = "http") -> Any:
    """A request's scope."""
    return {
        "headers": [(name.encode(), value.encode()) for name, value in headers],
        "client": (client, 1),
        "scheme": scheme,
    }


def links(public_url: str | None = None, *proxies: str) -> Links:
    """Links of a gateway."""
    return Links(public_url=public_url, trusted_proxies=proxies, default_authority="127.0.0.1:8080")


def test_configured_address_overrules_every_header() -> None:
    made = links("https://fleet.example/", "10.0.0.0/8")
    assert made.base(scope(("host", "evil"), ("x-forwarded-host", "evil"))) == "https://fleet.example"


def test_host_of_the_request_serves_where_none_is_configured() -> None:
    assert links().base(scope(("host", "box:8080"))) == "http://box:8080"
    assert links().base(scope(("host", "[::1]:8080"), scheme="https")) == "https://[::1]:8080"


def test_forwarded_headers_count_only_from_listed_proxies() -> None:
    headers = (("host", "inner"), ("x-forwarded-host", "outer.example, x"), ("x-forwarded-proto", "https"))
    assert links(None, "10.0.0.0/8").base(scope(*headers)) == "https://outer.example"
    assert links(None, "192.168.0.0/16").base(scope(*headers)) == "http://inner"
    assert links().base(scope(*headers)) == "http://inner"


def test_hostile_hosts_make_no_links() -> None:
    for host in ("evil/path", 'a"b', "user@host", "", "a b", "host:port"):
        assert links().base(scope(("host", host))) == "http://127.0.0.1:8080"
    headers = (("host", "inner"), ("x-forwarded-proto", "javascript"))
    assert links(None, "10.0.0.0/8").base(scope(*headers)) == "http://inner"


def test_ids_and_tokens_are_escaped() -> None:
    assert file_url("http://a", "x/../y") == "http://a/v1/files/x%2F..%2Fy/content"
    link = page_link("http://a", "/v1/runs", [("filter", 'a="b&c"'), ("page_token", "old")], "n+w")
    assert link == '<http://a/v1/runs?filter=a%3D%22b%26c%22&page_token=n%2Bw>; rel="next"'
