"""A flow on one line, as hubble observe prints it."""

import gzip
from datetime import UTC
from pathlib import Path

import pytest
from google.protobuf import json_format

from cli import flowlines
from schemas.hubble import observer_pb2

CLASSES = Path(__file__).parent.parent / "data" / "captures" / "classes"


def line(name, index=0):
    text = (CLASSES / f"{name}.jsonl").read_text().splitlines()[index]
    return flowlines.line(a_response(text), UTC)


def a_response(text):
    response = observer_pb2.GetFlowsResponse()
    json_format.Parse(text, response)
    return response


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (
            "ingress-default-deny-133",
            ["<>", "policy-verdict:none INGRESS DENIED", "TCP Flags: SYN"],
        ),
        ("ingress-explicit-deny-181", ["policy-verdict:L3-Only INGRESS DENIED"]),
        ("egress-default-deny-133", ["policy-verdict:none EGRESS DENIED"]),
        ("audit", ["policy-verdict:none INGRESS AUDITED"]),
        ("forwarded-verdict", ["->", "ALLOWED"]),
        ("ingress-icmp-133", ["ICMPv4 type 8 code 0"]),
        ("ingress-udp-133", ["(UDP)"]),
        ("ingress-world-default-deny-133", ["203.0.113.10:", "(ID:16777"]),
        ("dns-l7-denied", ["dns-request", "EGRESS DROPPED", "DNS Query"]),
        ("http-l7-denied-envoy-stand-in", ["http-request INGRESS DROPPED", "DELETE http://"]),
        ("non-policy-drop-139", ["Unsupported l3 protocol DROPPED", "(unknown)"]),
    ],
)
def test_direction_match_and_verdict_are_as_the_flow_has_them(name, parts):
    """One of each kind that a real Cilium sent."""
    for part in parts:
        assert part in line(name)


def test_the_time_has_milliseconds():
    """As hubble prints it, in the zone of whoever looks."""
    assert line("audit").startswith("Nov 21 02:4")
    assert (line("audit")[15], line("audit")[19]) == (".", ":")


def test_lost_events_and_node_status_have_lines():
    """They are no flows, and must be seen."""
    with gzip.open(CLASSES.parent / "flood.jsonl.gz", "rt") as lines:
        lost = next(text for text in lines if "lost_events" in text)
    assert flowlines.line(a_response(lost)).startswith("EVENTS LOST: PERF_EVENT_RING_BUFFER CPU(0)")
    assert line("not-flows").startswith("NODE_CONNECTED: ")


def test_nothing_in_a_flow_steers_the_terminal():
    """A client chooses the URL of its request."""
    text = (CLASSES / "http-l7-denied-envoy-stand-in.jsonl").read_text().splitlines()[0]
    response = a_response(text)
    response.flow.l7.http.url = "/\x1b[2J\n"
    assert "\\x1b[2J\\x0a" in flowlines.line(response)


def test_an_empty_response_and_unknown_numbers_have_lines():
    """A newer Hubble may send what has no name here."""
    assert flowlines.line(observer_pb2.GetFlowsResponse()) == "an empty response"
    response = observer_pb2.GetFlowsResponse()
    response.flow.event_type.type = 200
    response.flow.verdict = 99
    assert "event-200 99" in flowlines.line(response)
