"""One kind, listed and watched, against an API server that says what a test wants it to say."""

import contextlib
import http.server
import json
import socketserver
import threading
from urllib.parse import parse_qs, urlsplit

import pytest
from kubernetes.client.configuration import Configuration

from agent import apiserver, inbox, reflecting, resources, troubles
from agent.credentials import Credentials
from runtime import clock
from runtime.errors import UserError
from tests.waiting import until

SERVICES = next(item for item in resources.OBJECTS if item.kind == "Service")
CNP = next(item for item in resources.OBJECTS if item.kind == "CiliumNetworkPolicy")
KUBE_SYSTEM = {"items": [{"metadata": {"name": "kube-system", "uid": "u-1"}}]}


def an_object(name, place="5"):
    return {"metadata": {"name": name, "namespace": "shop", "resourceVersion": place}}


def a_list(*names, place="10", more=""):
    metadata = {"resourceVersion": place, "continue": more}
    return {"metadata": metadata, "items": [an_object(name) for name in names]}


def an_event(type_, name, place):
    return {"type": type_, "object": an_object(name, place)}


def a_failure(code, message="no"):
    return {"type": "ERROR", "object": {"code": code, "message": message}}


class FakeApi(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Answers lists and watches of one resource from what a test put there, in order."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lists = []
        """Bodies, or (status, body)."""
        self.watches = []
        """Lists of events; a string is sent as it is, an Event holds the stream until it is set."""
        self.others = {"/readyz": (200, {})}
        """Answers to other paths."""
        self.everything = None
        """The one answer to whatever is asked."""
        self.asked = []
        self.hold = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def handle_error(self, request, client_address):
        """A client that goes away is no error."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if self.server.everything:
            return self._say(*self.server.everything)
        if query.get("fieldSelector", "").endswith("kube-system"):
            return self._say(200, KUBE_SYSTEM)
        if url.path in self.server.others:
            return self._say(*self.server.others[url.path])
        if not url.path.endswith(("/services", "/ciliumnetworkpolicies")):
            return self._say(404, {"message": "not here"})
        self.server.asked.append(query)
        if "watch" not in query:
            found = self.server.lists.pop(0) if self.server.lists else a_list()
            return self._say(*(found if isinstance(found, tuple) else (200, found)))
        return self._stream(
            self.server.watches.pop(0) if self.server.watches else [self.server.hold]
        )

    def _say(self, status, body, **headers):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, events):
        if isinstance(events, tuple):
            self._say(*events)
            return
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in events:
            if isinstance(event, threading.Event):
                event.wait(60)
                continue
            text = event if isinstance(event, str) else json.dumps(event) + "\n"
            data = text.encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()
        if events and events[-1] == "":
            return  # that was the end of the chunks
        self.close_connection = True


class Bench:
    """A reflector on its thread, and what it has put into its inbox."""

    def __init__(self, api, resource=SERVICES):
        configuration = Configuration(host=f"http://127.0.0.1:{api.server_port}")
        configuration.proxy = None
        self.server = apiserver.ApiServer(Credentials("a test", lambda: configuration))
        self.inbox = inbox.Inbox()
        self.troubles = troubles.Troubles()
        self.stop = threading.Event()
        self.items = []
        self.reflector = reflecting.Reflector(
            resource=resource,
            server=self.server,
            into=self.inbox,
            troubles=self.troubles,
            turn=threading.Lock(),
            stop=self.stop,
            asked=lambda kind, verb: None,
            clock=clock.SYSTEM,
        )

    def close(self):
        self.stop.set()
        self.inbox.close()
        self.server.close()

    def seen(self):
        """Names in the order in which they came; one that is gone has a minus sign."""
        self.items += self.inbox.take(timeout=0.05)
        return [
            ("" if sighting.thing else "-") + sighting.identity.name
            for item in self.items
            if isinstance(item, reflecting.Seen)
            for sighting in item.sightings
        ]

    def of(self, kind):
        self.seen()
        return [item for item in self.items if isinstance(item, kind)]


@pytest.fixture
def api(monkeypatch):
    monkeypatch.setattr(reflecting, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(reflecting, "LAST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(reflecting, "DOUBT_SECONDS", 0.05)
    monkeypatch.setattr(reflecting, "DISCOVERY_SECONDS", 0.05)
    with FakeApi() as found:
        yield found
        found.hold.set()
        found.shutdown()


@contextlib.contextmanager
def reflecting_on(api, resource=SERVICES):
    bench = Bench(api, resource)
    bench.reflector.start()
    try:
        yield bench
    finally:
        bench.close()


def watched_from(api):
    return [query["resourceVersion"] for query in api.asked if "watch" in query]


def test_a_list_comes_in_pages_and_ends_with_what_there_is(api):
    """The next page is asked for by its token, and the watch goes on from the list's version."""
    api.lists = [a_list("a", "b", more="next"), a_list("c")]
    with reflecting_on(api) as bench:
        until(lambda: bench.of(reflecting.Listed))
        until(lambda: watched_from(api) == ["10"])
    assert bench.seen() == ["a", "b", "c"]
    (listed,) = bench.of(reflecting.Listed)
    assert {identity.name for identity in listed.present} == {"a", "b", "c"}
    assert [query.get("continue") for query in api.asked[:2]] == [None, "next"]
    assert bench.of(reflecting.Belongs)[0].uid == "u-1"


def test_a_watch_goes_on_from_the_newest_event_or_bookmark(api):
    """However it ended; nothing is listed again."""
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "30"}}}
    broken = '{"type": "ADDED", "object": {"meta'
    api.watches = [
        [an_event("ADDED", "a", "20"), ""],
        [an_event("DELETED", "a", "21"), bookmark, ""],
        [an_event("ADDED", "b", "31"), broken, ""],
        ["no json\n", ""],
    ]
    with reflecting_on(api) as bench:
        until(lambda: len(watched_from(api)) == 5)
        assert watched_from(api) == ["10", "20", "30", "31", "31"]
        until(lambda: bench.seen() == ["a", "-a", "b"])
        until(lambda: bench.troubles.summary() is None)
    assert len([query for query in api.asked if "watch" not in query]) == 1


@pytest.mark.parametrize(
    "expired", [[a_failure(410, "too old"), ""], (410, {"message": "too old"})]
)
def test_a_place_that_is_too_old_is_listed_for(api, expired):
    """Said within the stream or instead of it."""
    api.lists = [a_list("a", "b"), a_list("b", place="50")]
    api.watches = [expired]
    with reflecting_on(api) as bench:
        until(lambda: len(bench.of(reflecting.Listed)) == 2)
        until(lambda: watched_from(api) == ["10", "50"])
        assert {i.name for i in bench.of(reflecting.Listed)[1].present} == {"b"}
        assert bench.troubles.summary() is None


def test_a_token_of_a_page_that_expired_begins_the_list_anew(api):
    """What was seen before may have gone since."""
    api.lists = [a_list("a", more="next"), (410, {"message": "expired"}), a_list("b")]
    with reflecting_on(api) as bench:
        (listed,) = until(lambda: bench.of(reflecting.Listed))
    assert {identity.name for identity in listed.present} == {"b"}


def test_a_watch_in_the_future_is_listed_for(api):
    """A cluster that was restored from a copy is behind what was seen of it."""
    api.lists = [a_list("a", place="100"), a_list(place="7"), a_list("b", place="7")]
    api.watches = [[""]]
    with reflecting_on(api):
        until(lambda: watched_from(api) == ["100", "7"])


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_api_server_in_trouble_is_asked_again(api, status):
    """What it said stands in the way until it answers."""
    api.lists = [(status, {"message": "too much"})] * 3 + [a_list("a")]
    with reflecting_on(api) as bench:
        until(lambda: "too much" in (bench.troubles.summary() or ""))
        until(lambda: bench.seen() == ["a"])
        assert bench.troubles.summary() is None


def test_a_right_that_is_missing_names_verb_and_rule(api):
    """For the watch as well as for the list."""
    api.watches = [(403, {"message": "forbidden"})] * 3
    with reflecting_on(api) as bench:
        said = until(lambda: bench.troubles.summary())
        assert said.startswith("may not watch services: its ClusterRole needs the rule")
        until(lambda: bench.troubles.summary() is None)


def test_what_is_no_api_server_is_told(api):
    """It may be something else on that port, which answers all the same."""
    api.lists = [{"hello": "world"}] * 50
    with reflecting_on(api) as bench:
        assert "is this an API server?" in until(lambda: bench.troubles.summary())


def test_credentials_that_never_worked_end_the_process(api):
    """After some tries; a starting API server may not know them yet."""
    api.everything = (401, {"message": "who are you"})
    with reflecting_on(api) as bench:
        (failed,) = until(lambda: bench.of(reflecting.Failed))
    assert isinstance(failed.error, UserError)
    assert "does not take the credentials of a test" in str(failed.error)


def test_credentials_that_worked_once_are_tried_again(api):
    """They may have been rotated; it is told meanwhile."""
    with reflecting_on(api) as bench:
        until(lambda: watched_from(api) == ["10"])
        api.everything = (401, {"message": "who are you"})
        bench.reflector.relist()
        until(lambda: "credentials of a test" in (bench.troubles.summary() or ""))
        api.everything = None
        until(lambda: bench.troubles.summary() is None)
        assert not bench.of(reflecting.Failed)


def test_a_kind_that_is_not_served_is_none_until_it_is(api):
    """Found by discovery, in the best of the versions that can be read."""
    with reflecting_on(api, CNP) as bench:
        (listed,) = until(lambda: bench.of(reflecting.Listed))
        assert listed.present == frozenset()
        assert bench.troubles.summary() is None
        api.lists = [a_list("a")]
        api.others["/apis/cilium.io/v2"] = (200, {"resources": [{"name": CNP.plural}]})
        api.others["/apis/cilium.io"] = (
            200,
            {"versions": [{"version": "v2alpha1"}, {"version": "v2"}]},
        )
        until(lambda: bench.seen() == ["a"])
    thing = bench.of(reflecting.Seen)[0].sightings[0].thing
    assert thing.manifest["apiVersion"] == "cilium.io/v2"


def test_a_starting_api_server_is_not_believed(api):
    """While it is not ready, a kind that it does not know may still come."""
    api.others["/readyz"] = (500, {"message": "still starting"})
    with reflecting_on(api, CNP) as bench:
        until(lambda: "still starting" in (bench.troubles.summary() or ""))
        assert not bench.of(reflecting.Listed)
        api.others["/readyz"] = (200, {})
        until(lambda: bench.of(reflecting.Listed))


def test_listing_again_on_demand_breaks_the_watch_off(api):
    """Also one on which nothing happens."""
    api.lists = [a_list("a"), a_list("b", place="11")]
    with reflecting_on(api) as bench:
        until(lambda: watched_from(api) == ["10"])
        bench.reflector.relist()
        until(lambda: watched_from(api) == ["10", "11"])
        assert bench.seen() == ["a", "b"]


def test_a_failure_of_our_own_ends_the_process(api, monkeypatch):
    """A thread never dies alone."""
    monkeypatch.setattr("agent.shaping.wanted", lambda *_: 1 / 0)
    api.lists = [a_list("a")]
    with reflecting_on(api) as bench:
        (failed,) = until(lambda: bench.of(reflecting.Failed))
    assert isinstance(failed.error, ZeroDivisionError)
