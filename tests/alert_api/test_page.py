"""The page: the same as the list, in HTML, without script."""

import re

import pytest

from tests.alert_api.browser import Browser, problem, trigger, variety
from tests.alert_api.builders import TOKEN, Stage, a_match, a_notice, progress

pytestmark = pytest.mark.parametrize("address", ["sqlite"], indirect=True)


def test_the_page_shows_the_list_notices_and_clusters(client: Browser, stage: Stage) -> None:
    """Everything that comes from outside is escaped, and nothing is loaded from elsewhere."""
    evil = {"kind": "x", "namespace": "", "name": "x", "text": "<script>alert(1)</script>"}
    gap = a_notice(kind="gap", reason="<b>ring</b>")
    trigger(stage, a_match(peer=evil), progress(notices=[gap]))
    page = client.get("/").text
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "&lt;b&gt;ring" in page
    assert "demo" in page
    assert not re.search(r"(src|href)=.?https?://", page)
    detail = client.get(f"/alerts/{stage.alerts()[0].id}").text
    assert "<script" not in detail


def test_the_pages_form_asks_nothing_where_it_is_empty(client: Browser, stage: Stage) -> None:
    """A browser sends every field."""
    variety(stage)
    empty = client.get("/?text=&severity=&namespace=&sort=-events")
    assert empty.text.count('class="title"') == 3
    one = client.get("/?text=base&severity=critical&namespace=&sort=-events&status=triggered")
    assert one.text.count('class="title"') == 1
    problem(client.get("/?severity=urgent"), 400)


def test_the_page_turns(client: Browser, stage: Stage) -> None:
    """By a link that holds the filters."""
    trigger(stage, *(a_match(f"f{n}") for n in range(3)))
    page = client.get("/?limit=2&text=shop").text
    (link,) = re.findall(r'href="([^"]+)" rel="next"', page)
    assert client.get(link.replace("&amp;", "&")).text.count('class="title"') == 1


def test_the_pages_buttons_change_the_status(stranger: Browser, stage: Stage) -> None:
    """Without any script; a stale page is told so, in HTML."""
    trigger(stage, a_match())
    stranger.get(f"/?token={TOKEN}")
    (alert,) = stage.alerts()
    headers = {
        "Origin": "http://localhost:8080",
        "Content-Type": "application/x-www-form-urlencoded",
        "Accept": "text/html",
    }
    address = f"/alerts/{alert.id}/status"
    form = {"status": "acknowledged", "revision": str(alert.revision)}
    changed = stranger.post(address, data=form, headers=headers)
    assert changed.headers["location"] == f"/alerts/{alert.id}"
    stale = stranger.post(address, data=form, headers=headers)
    assert stale.status_code == 412
    assert "text/html" in stale.headers["content-type"]
    assert stranger.post(address, content=b"x", headers=headers).status_code == 400


def test_a_runbook_is_a_link_only_where_it_is_one(client: Browser, stage: Stage) -> None:
    """A policy's annotation must not become a script."""
    trigger(
        stage, a_match("a", runbook="javascript:alert(1)"), a_match("b", runbook="https://r.test")
    )
    first, second = stage.alerts()
    assert 'href="javascript' not in client.get(f"/alerts/{first.id}").text
    assert 'href="https://r.test"' in client.get(f"/alerts/{second.id}").text
