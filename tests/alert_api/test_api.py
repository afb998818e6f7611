"""The HTTP API: lists, details, status, problems, and who may call."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from alert_api import faults
from alert_api.database import Database, Unreachable
from alert_api.repository import listing
from alert_api.web import security
from schemas import messages
from schemas.messages import AlertStatus
from tests.alert_api import builders
from tests.alert_api.browser import Browser, a_client, problem, trigger, variety
from tests.alert_api.builders import START, TOKEN, Stage, a_match, a_notice, progress

ALERTS = "/api/v1/alerts"

ON_SQLITE = pytest.mark.parametrize("address", ["sqlite"], indirect=True)
"""For what does not reach the database."""


def ids(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [alert["id"] for alert in response.json()["alerts"]]


def names(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [alert["fingerprint"] for alert in response.json()["alerts"]]


# The list.


def test_an_alert_in_the_list_is_the_message_of_the_topic(client: Browser, stage: Stage) -> None:
    """One shape for the API and for picket.alerts."""
    trigger(stage, a_match(count=3, severity="high"))
    body = client.get(ALERTS).json()
    assert body["next"] is None
    (alert,) = body["alerts"]
    assert set(alert) == set(messages.Alert.model_fields)
    assert messages.Alert.model_validate(alert).events == 3
    assert alert["policy"] == {
        "kind": "CiliumNetworkPolicy",
        "namespace": "shop",
        "name": "db",
    }
    assert alert["subject"]["text"] == "shop/db"
    assert alert["severity"] == "high"


FILTERS = {
    "": "cba",
    "status=pending": "d",
    "status=pending&status=triggered": "dcba",
    "status=resolved": "",
    "severity=low&severity=critical": "ba",
    "project=7": "b",
    "policy=db": "ca",
    "policy=shop/db": "a",
    "policy=/base": "b",
    "policy=base": "b",
    "namespace=web": "c",
    "namespace=": "b",
    "cluster=other": "c",
    "text=WORLD": "c",
    "text=world 100%25": "c",
    "text=%25": "c",
    "text=of_the": "c",
    "text=ofxthe": "",
    "text=base": "b",
    "text=nowhere": "",
    "sort=last_seen": "abc",
    "sort=-first_seen": "cba",
    "sort=-events": "cab",
    "sort=events": "bac",
    "sort=-severity": "bca",
    "sort=severity": "acb",
}


def test_filters_and_orders(client: Browser, stage: Stage) -> None:
    """Each alone, on both databases alike."""
    variety(stage)
    found = {query: "".join(names(client.get(f"{ALERTS}?{query}"))) for query in FILTERS}
    assert found == FILTERS


@pytest.mark.parametrize("sort", ["-last_seen", "events", "-severity", "first_seen"])
def test_pages_hold_every_alert_once_while_others_come(
    client: Browser, stage: Stage, sort: str
) -> None:
    """What opens between two pages shifts nothing; ties are no trouble."""
    trigger(stage, *(a_match(f"f{n:02}") for n in range(25)))
    seen: list[str] = []
    address: str | None = f"{ALERTS}?limit=4&sort={sort}&cluster=demo"
    turn = 0
    while address:
        response = client.get(address)
        seen += names(response)
        turn += 1
        late = START - timedelta(days=turn) if sort == "first_seen" else START
        trigger(stage, a_match(f"g{turn}", at=late, severity="critical"))
        link = response.headers.get("link", "")
        assert bool(link) == bool(response.json()["next"])
        address = link.partition(">")[0].lstrip("<") or None
    old = [name for name in seen if name.startswith("f")]
    assert sorted(old) == [f"f{n:02}" for n in range(25)]
    assert len(seen) == len(set(seen))


def test_the_links_address_keeps_the_filters(client: Browser, stage: Stage) -> None:
    """So that a client can simply follow it."""
    variety(stage)
    response = client.get(f"{ALERTS}?limit=1&status=pending&status=triggered&text=shop")
    assert "status=pending&status=triggered" in response.headers["link"]
    assert 'rel="next"' in response.headers["link"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=501",
        "limit=x",
        "status=open",
        "severity=urgent",
        "sort=title",
        "colour=red",
        "text=" + "x" * 501,
    ],
)
@ON_SQLITE
def test_a_parameter_that_means_nothing_is_refused(client: Browser, query: str) -> None:
    """A misspelt filter must not look like an empty list."""
    name = query.partition("=")[0]
    assert name in problem(client.get(f"{ALERTS}?{query}"), 422)


@pytest.mark.parametrize(
    "cursor", ["x", "!!", "e30", "WzEsMl0", "WyItbGFzdF9zZWVuIiwxZTk5OSwiYSJd", "é"]
)
@ON_SQLITE
def test_a_cursor_that_is_none_is_refused(client: Browser, cursor: str) -> None:
    """With a problem document, whatever it holds."""
    problem(client.get(ALERTS, params={"cursor": cursor}), 400)


@given(st.text(max_size=60))
def test_no_cursor_makes_the_list_fail(cursor: str) -> None:
    """Made up by anybody."""
    try:
        listing._decode(cursor, listing.Order.NEWEST)
    except faults.Invalid:
        return


def test_a_cursor_of_another_order_is_refused(client: Browser, stage: Stage) -> None:
    """Its value would mean something else."""
    variety(stage)
    cursor = client.get(f"{ALERTS}?limit=1").json()["next"]
    problem(client.get(f"{ALERTS}?limit=1&sort=events&cursor={cursor}"), 400)


# One alert.


def test_one_alert_with_all_that_is_known(client: Browser, stage: Stage) -> None:
    """Samples newest first, ports and peers heaviest first, minutes oldest first."""
    at = builders.minutes(0, 60)
    trigger(
        stage,
        a_match(at=at[0], count=2, ports=[{"protocol": "TCP", "port": 80, "count": 2}]),
        a_match(at=at[1], count=3, ports=[{"protocol": "UDP", "port": 53, "count": 3}]),
    )
    (alert,) = stage.alerts()
    stage.set_status(alert, AlertStatus.ACKNOWLEDGED)
    body = client.get(f"{ALERTS}/{alert.id}").json()
    assert body["events"] == 5
    assert [(port["protocol"], port["port"], port["count"]) for port in body["ports"]] == [
        ("UDP", 53, 3),
        ("TCP", 80, 2),
    ]
    assert body["peers"] == [{"address": "10.0.0.1", "name": "shop/web-0", "count": 5}]
    assert [minute["count"] for minute in body["minutes"]] == [2, 3]
    assert [sample["uuid"][-14:-9] for sample in body["samples"]] == ["12:01", "12:00"]
    assert [change["status"] for change in body["history"]] == ["triggered", "acknowledged"]
    assert body["findings"][0]["path"] == "spec.ingress[0]"
    assert body["delivery"]["told"] == "nothing"


def test_an_unknown_alert_is_a_problem(client: Browser) -> None:
    """On every path that names one."""
    problem(client.get(f"{ALERTS}/nope"), 404)
    problem(client.get(f"{ALERTS}/nope/status"), 404)
    change = {"status": "resolved"}
    problem(client.put(f"{ALERTS}/nope/status", json=change, headers={"If-Match": "*"}), 404)


# Status.


def test_a_status_is_changed_by_who_saw_it_last(client: Browser, stage: Stage) -> None:
    """The ETag is the revision; counts do not move it."""
    trigger(stage, a_match())
    address = f"{ALERTS}/{stage.alerts()[0].id}/status"
    etag = client.get(address).headers["etag"]
    trigger(stage, a_match())
    changed = client.put(address, json={"status": "acknowledged"}, headers={"If-Match": etag})
    assert changed.status_code == 200
    assert changed.json()["status"] == "acknowledged"
    assert changed.headers["etag"] != etag
    late = client.put(address, json={"status": "ignored"}, headers={"If-Match": etag})
    problem(late, 412)
    assert stage.alerts()[0].status == "acknowledged"


def test_a_change_must_name_what_was_seen(client: Browser, stage: Stage) -> None:
    """Without If-Match nothing is changed."""
    trigger(stage, a_match())
    address = f"{ALERTS}/{stage.alerts()[0].id}/status"
    problem(client.put(address, json={"status": "resolved"}), 428)
    several = {"If-Match": '"9", "1"'}
    assert client.put(address, json={"status": "ignored"}, headers=several).status_code == 200
    anything = {"If-Match": "*"}
    assert client.put(address, json={"status": "ignored"}, headers=anything).status_code == 200
    weak = {"If-Match": 'W/"2"'}
    problem(client.put(address, json={"status": "resolved"}, headers=weak), 412)


def test_setting_the_same_status_changes_nothing(client: Browser, stage: Stage) -> None:
    """A repeated request is answered as the first one."""
    trigger(stage, a_match())
    address = f"{ALERTS}/{stage.alerts()[0].id}/status"
    again = client.put(address, json={"status": "triggered"}, headers={"If-Match": '"1"'})
    assert (again.status_code, again.json()["revision"]) == (200, 1)


def test_a_resolved_alert_stays_resolved(client: Browser, stage: Stage) -> None:
    """A conflict, and the answer says why."""
    trigger(stage, a_match())
    address = f"{ALERTS}/{stage.alerts()[0].id}/status"
    client.put(address, json={"status": "resolved"}, headers={"If-Match": "*"})
    back = client.put(address, json={"status": "triggered"}, headers={"If-Match": "*"})
    assert "final" in problem(back, 409)
    assert client.get(address).json()["allowed"] == []


@pytest.mark.parametrize(
    "body", ['{"status": "open"}', "{}", "[]", "x", '{"status": "resolved", "why": 1}']
)
@ON_SQLITE
def test_a_body_that_is_no_status_is_refused(client: Browser, stage: Stage, body: str) -> None:
    """With a problem document."""
    trigger(stage, a_match())
    address = f"{ALERTS}/{stage.alerts()[0].id}/status"
    headers = {"If-Match": "*", "Content-Type": "application/json"}
    problem(client.put(address, content=body, headers=headers), 422)


def test_pending_cannot_be_set_by_hand(client: Browser, stage: Stage) -> None:
    """It is the threshold's alone."""
    trigger(stage, a_match())
    address = f"{ALERTS}/{stage.alerts()[0].id}/status"
    headers = {"If-Match": "*"}
    problem(client.put(address, json={"status": "pending"}, headers=headers), 409)


# Clusters, notices, deliveries.


def test_clusters_and_notices_are_shown(client: Browser, stage: Stage) -> None:
    """The worst part of a cluster is its state."""
    lost = a_notice(kind="lost-events", node="n1", count=4)
    trigger(stage, progress(flows=3, notices=[lost]), progress(partition=1, state="blind"))
    (cluster,) = client.get("/api/v1/clusters").json()["clusters"]
    assert (cluster["name"], cluster["state"], cluster["flows"]) == ("demo", "blind", 3)
    (notice,) = client.get("/api/v1/notices").json()["notices"]
    assert (notice["kind"], notice["node"], notice["count"]) == ("lost-events", "n1", 4)


def test_a_parked_project_is_shown_and_can_be_resumed(client: Browser, stage: Stage) -> None:
    """Only one that is set up."""
    trigger(stage, a_match())
    with stage.database.writing() as connection:
        connection.exec_driver_sql(
            "INSERT INTO endpoints VALUES ('42', 'parked', '401', 0, NULL, 1, 0, 'x')"
        )
    (project,) = client.get("/api/v1/deliveries").json()["projects"]
    assert (project["state"], project["waiting"]) == ("parked", 1)
    (resumed,) = client.post("/api/v1/deliveries/42/resume").json()["projects"]
    assert resumed["state"] == "ok"
    problem(client.post("/api/v1/deliveries/9/resume"), 404)


# Problems.


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/nothing", 404),
        ("DELETE", ALERTS, 405),
        ("POST", "/", 405),
        ("GET", ALERTS + "?text=a%00b", 400),
        ("GET", ALERTS + "?" + "x" * 9000, 400),
        ("GET", ALERTS + "/" + "x" * 100, 422),
    ],
)
@ON_SQLITE
def test_every_error_is_a_problem_document(
    client: Browser, method: str, path: str, status: int
) -> None:
    """Whatever went wrong."""
    problem(client.request(method, path), status)


@ON_SQLITE
def test_a_body_beyond_the_limit_is_refused(client: Browser) -> None:
    """Announced or not."""
    large = b"x" * (security.MAX_BODY + 1)
    problem(client.put(f"{ALERTS}/x/status", content=large), 413)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(70):
            yield b"x" * 1024

    chunked = client.put(
        f"{ALERTS}/x/status",
        content=pieces(),
        headers={"If-Match": "*", "Content-Type": "application/json"},
    )
    problem(chunked, 413)


def test_a_database_that_is_away_is_503(client: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again later."""

    def away(_: Database) -> None:
        raise Unreachable("away")

    monkeypatch.setattr(Database, "reading", away)
    response = client.get(ALERTS)
    problem(response, 503)
    assert response.headers["retry-after"]


def test_a_fault_says_nothing_of_its_inside(stage: Stage, tmp_path: Path) -> None:
    """Its log says how; the client learns that it was our fault."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    client = a_client(stage, tmp_path, headers=headers, raises=False)
    trigger(stage, a_match())
    with stage.database.writing() as connection:
        connection.exec_driver_sql("UPDATE alerts SET subject = 'no JSON'")
    with structlog.testing.capture_logs() as logs:
        assert "no JSON" not in problem(client.get(ALERTS), 500)
    assert logs[-1]["event"] == "a request failed"


def test_openapi_describes_it(client: Browser) -> None:
    """And is behind the token like everything."""
    paths = client.get("/api/v1/openapi.json").json()["paths"]
    assert {"/api/v1/alerts", "/api/v1/alerts/{alert_id}/status", "/api/v1/clusters"} <= set(paths)
    assert "/" not in paths
