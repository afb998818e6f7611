"""Who may call: the token, the cookie, the host and the origin."""

import pytest

from alert_api.web import security
from tests.alert_api.browser import Browser, problem, trigger
from tests.alert_api.builders import TOKEN, Stage, a_match

ALERTS = "/api/v1/alerts"

pytestmark = pytest.mark.parametrize("address", ["sqlite"], indirect=True)


@pytest.mark.parametrize("path", [ALERTS, "/", "/api/v1/openapi.json", "/style.css", "/nothing"])
def test_nothing_is_shown_without_the_token(stranger: Browser, path: str) -> None:
    """Not even whether the path exists."""
    response = stranger.get(path)
    problem(response, 401)
    assert response.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer x", "Basic x", f"Bearer {TOKEN}x", f"Token {TOKEN}", "Bearer é"]
)
def test_a_wrong_token_is_refused(stranger: Browser, given: str) -> None:
    """And a cookie beside it does not help."""
    stranger.get(f"/?token={TOKEN}")
    assert stranger.get("/").status_code == 200
    response = stranger.get(ALERTS, headers={"Authorization": given.encode()})
    problem(response, 401)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8080", 200),
        ("127.0.0.1:8080", 200),
        ("[::1]:8080", 200),
        ("PICKET.test", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("", 421),
    ],
)
def test_only_known_hosts_are_answered(client: Browser, host: str, status: int) -> None:
    """A name that an attacker points here is none of ours."""
    response = client.get(ALERTS, headers={"Host": host})
    assert response.status_code == status
    if status != 200:
        problem(response, status)


def test_the_link_with_the_token_signs_a_browser_in(stranger: Browser, stage: Stage) -> None:
    """The token leaves the address at once; the cookie is for this site and no script."""
    trigger(stage, a_match())
    response = stranger.get(f"/?status=triggered&token={TOKEN}&text=a+b")
    assert (response.status_code, response.headers["location"]) == (
        303,
        "/?status=triggered&text=a+b",
    )
    cookie = response.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert TOKEN not in cookie
    assert stranger.get("/").status_code == 200
    assert stranger.get(ALERTS).status_code == 200


def test_the_link_leads_nowhere_else(stranger: Browser) -> None:
    """Two slashes would name another host."""
    response = stranger.get(f"http://localhost:8080//evil.example/?token={TOKEN}")
    assert response.headers["location"] == "/evil.example/"


def test_a_wrong_link_signs_nobody_in(stranger: Browser) -> None:
    """And the API takes no token from an address at all."""
    problem(stranger.get("/?token=wrong"), 401)
    problem(stranger.get(f"{ALERTS}?token={TOKEN}"), 401)


def test_a_session_ends(stranger: Browser, stage: Stage) -> None:
    """After a week, and with another token."""
    stranger.get(f"/?token={TOKEN}")
    stage.time.move(security.COOKIE_SECONDS + 1)
    problem(stranger.get(ALERTS), 401)
    other = security.Access(token="another-token-0123456", clock=stage.time.clock)
    mine = security.Access(token=TOKEN, clock=stage.time.clock)
    assert mine.is_session(mine.session())
    assert not other.is_session(mine.session())


@pytest.mark.parametrize("value", ["", "x", ".", "1.2.3", "9999999999.00.", "é", '"', "a.b.c.d"])
def test_a_made_up_session_is_refused(stranger: Browser, value: str) -> None:
    """Whatever it looks like."""
    header = f"{security.COOKIE}={value}".encode()
    problem(stranger.get(ALERTS, headers={"Cookie": header}), 401)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:9999"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://localhost:8080"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
def test_a_change_with_a_cookie_must_come_from_the_own_page(
    stranger: Browser, stage: Stage, headers: dict[str, str], status: int
) -> None:
    """A token in a header needs no such proof: no page sends it by itself."""
    trigger(stage, a_match())
    stranger.get(f"/?token={TOKEN}")
    response = stranger.put(
        f"{ALERTS}/{stage.alerts()[0].id}/status",
        json={"status": "resolved"},
        headers={"If-Match": "*", **headers},
    )
    assert response.status_code == status


def test_answers_carry_the_headers_that_browsers_heed(client: Browser) -> None:
    """On answers and on errors."""
    for path in ("/", "/nothing"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
