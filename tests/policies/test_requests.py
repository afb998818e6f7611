import pytest

from policies.dnsnames import DnsPattern
from policies.flows import HttpRequest
from policies.requests import HeaderMatch, HttpRule, compiles, is_expression


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("api.example.com", "API.example.com.", True),
        ("api.example.com", "xapi.example.com", False),
        ("*.example.com", "api.example.com", True),
        ("*.example.com", "a.b.example.com", False),
        ("*.example.com", "example.com", False),
        ("**.example.com", "a.b.example.com", True),
        ("**.example.com", "example.com", False),
        ("*example.com", "myexample.com", True),
        ("api*.example.com", "api-7.example.com", True),
        ("*", "whatever.it.is.", True),
        ("*", ".", True),
        ("**", "whatever.it.is.", True),
        ("***.example.com", "a.b.example.com", True),
        ("a**.example.com", "a.b.example.com", False),
        ("*.*", "example.com", True),
        ("*.*", "example", False),
        ("_srv.example.com", "_srv.example.com", True),
    ],
)
def test_dns_patterns(pattern, name, matches):
    """A star stays within a label, two at the start span labels, one alone is every name."""
    assert DnsPattern(pattern).matches(name) is matches


def passes(rule: HttpRule, method="GET", path="/", host="h", headers=()) -> bool:
    """Whether a request meets a rule."""
    return rule.matches(method=method, path=path, host=host, headers=headers)


def test_http_expressions_match_in_full():
    """A part of a path is not the path."""
    rule = HttpRule(method="GET|HEAD", path="/api/.*", host=r"shop\.example\.com")
    assert passes(rule, path="/api/x?y=1", host="shop.example.com")
    assert not passes(rule, path="/v1/api/x", host="shop.example.com")
    assert not passes(rule, method="GETX", path="/api/x", host="shop.example.com")
    assert not passes(rule, path="/api/x", host="shop.example.com.evil")


def test_an_empty_http_rule_lets_everything_through():
    """No condition is no limit."""
    assert passes(HttpRule())


def test_headers_must_be_there_with_their_value():
    """Names are compared without regard to case, values exactly."""
    rule = HttpRule(headers=(HeaderMatch(name="X-Team", value="shop"), HeaderMatch(name="X-Id")))
    assert passes(rule, headers=(("x-team", "shop"), ("X-Id", "")))
    assert not passes(rule, headers=(("x-team", "Shop"), ("X-Id", "1")))
    assert not passes(rule, headers=(("x-team", "shop"),))


def test_expressions_are_those_of_re2():
    """What needs backtracking is refused instead of being slow."""
    assert compiles("/a(b|c)+")
    assert not compiles("(")
    assert not compiles(r"(a)\1")
    assert not compiles(r"a\Cb")
    assert compiles(r"a\\Cb")
    assert compiles(r"a\Q\C\E")
    assert not compiles(r"\Qa\E\C")
    assert not compiles("((a{100}){100}){100}")
    assert not is_expression("((a{100}){100}){100}")
    slow = HttpRule(path="(a+)+b")
    assert not passes(slow, path="a" * 50_000)


def test_an_expression_too_large_for_envoy_is_one_and_lets_nothing_pass():
    """Go takes it, so the policy is in force."""
    large = r"/\pL{1000}"
    assert is_expression(large)
    assert not compiles(large)
    assert not passes(HttpRule(path=large), path="/" + "a" * 1000)


@pytest.mark.parametrize(
    ("url", "host", "path"),
    [
        ("http://backend.shop/admin", "backend.shop", "/admin"),
        ("http://user@backend:8080/a?q=1", "backend:8080", "/a?q=1"),
        ("http://backend", "backend", "/"),
        ("/only/a/path", "", "/only/a/path"),
        ("http://[broken/x", "", "http://[broken/x"),
    ],
)
def test_a_url_is_host_and_path(url, host, path):
    """Hubble reports one URL; Envoy compares its parts."""
    request = HttpRequest.of_url("GET", url)
    assert (request.host, request.path) == (host, path)


def test_half_a_character_meets_nothing():
    """JSON can hold what is no text; no expression and no pattern is about that."""
    assert not compiles("/\ud800")
    assert not passes(HttpRule(path="/.*"), path="/\ud800")
    assert not DnsPattern("*.example.com").matches("\ud800.example.com")
