"""Whole flows for people to look at, without what may be secret."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher import samples
from schemas.hubble import flow_pb2
from tests.enricher import builders

SECRET = "hunter2"


def a_request(url: str = "http://backend/", **headers: str) -> bytes:
    http = flow_pb2.HTTP(method="GET", url=url, protocol="HTTP/1.1")
    for key, value in headers.items():
        http.headers.add(key=key.replace("_", "-"), value=value)
    flow = builders.a_flow(event=129, http=http)
    flow.Summary = f"HTTP/1.1 GET {url}"
    return builders.a_response(flow)


@pytest.mark.parametrize(
    "header",
    [
        "Authorization",
        "PROXY-AUTHORIZATION",
        "cookie",
        "Set-Cookie",
        "X-Api-Key",
        "X-Auth-Token",
        "x-csrf-token",
        "X-Vault-Token",
        "X-Amz-Security-Token",
        "X-Access-Key",
        "PRIVATE-TOKEN",
        "X-Session-Id",
        "X-Client-Secret",
        "apikey",
    ],
)
def test_headers_that_carry_credentials_are_emptied(header: str) -> None:
    """Their names stay: that there was a credential may explain the request."""
    http = flow_pb2.HTTP(url="http://backend/")
    http.headers.add(key=header, value=SECRET)
    sample = samples.of(builders.a_response(builders.a_flow(event=129, http=http)))
    assert sample["l7"]["http"]["headers"] == [{"key": header, "value": samples.REDACTED}]


def test_other_headers_stay() -> None:
    """A sample is there to be understood."""
    sample = samples.of(a_request(User_Agent="curl/8", X_Request_Id="17"))
    headers = {entry["key"]: entry["value"] for entry in sample["l7"]["http"]["headers"]}
    assert headers == {"User-Agent": "curl/8", "X-Request-Id": "17"}


@pytest.mark.parametrize(
    "url",
    [
        f"http://backend/path?token={SECRET}&other={SECRET}",
        f"http://user:{SECRET}@backend/path",
        f"/path?{SECRET}",
        f"/path?a={SECRET};b={SECRET}",
        f"http://backend/path#{SECRET}",
        f"http://[broken/path?token={SECRET}",
        f"http://a@b@{SECRET}@backend/path?x=%3d{SECRET}",
    ],
)
def test_addresses_lose_values_and_users(url: str) -> None:
    """In the address, in a referrer, and in the summary, which repeats it."""
    if url.startswith("http://a@b"):
        url = url.replace(f"{SECRET}@", "")
    sample = samples.of(a_request(url, Referer=url))
    assert SECRET not in json.dumps(sample)
    assert "path" in json.dumps(sample) or "broken" in url


def test_names_of_query_values_stay() -> None:
    """They tell one request from another."""
    assert samples.url("http://h/p?a=1&b=2") == "http://h/p?a=REDACTED&b=REDACTED"


@given(st.text(max_size=60))
def test_no_text_breaks_an_address(text: str) -> None:
    """Whatever a client sent as its address."""
    assert isinstance(samples.url(text), str)


def test_a_sample_is_the_flow_as_hubble_shows_it() -> None:
    """So that people and tools know its fields; numbers of 64 bits are text, times are RFC 3339."""
    sample = samples.of(builders.shop_responses()[80])
    assert {"time", "uuid", "verdict", "IP", "l4", "source", "destination"} <= sample.keys()
    assert sample["verdict"] in {
        "DROPPED",
        "FORWARDED",
        "TRACED",
        "TRANSLATED",
        "REDIRECTED",
        "AUDIT",
    }
    assert "emitter" not in sample


def test_long_texts_are_cut() -> None:
    """One request must not fill a record."""
    sample = samples.of(a_request("http://backend/" + "x" * 10_000))
    assert len(sample["l7"]["http"]["url"]) == samples.TEXT_LIMIT
