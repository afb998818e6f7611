"""The health port answers probes, and nothing else."""

import socket

import httpx
import prometheus_client
import pytest

from runtime.errors import UserError
from runtime.health import HealthServer


def a_server(**checks):
    registry = prometheus_client.CollectorRegistry()
    prometheus_client.Counter("picket_test", "x", registry=registry).inc()
    return HealthServer(host="127.0.0.1", port=0, registry=registry, **checks)


def test_probes_and_metrics_are_served():
    """Live while nothing is wrong; not ready says why; metrics are Prometheus's."""
    server = a_server(ready={"log": lambda: "is away", "other": lambda: None})
    server.start()
    try:
        base = "http://{}:{}".format(*server.address)
        with httpx.Client(base_url=base, trust_env=False) as client:
            assert client.get("/livez").status_code == 200
            ready = client.get("/readyz")
            assert (ready.status_code, ready.text) == (503, "log: is away\n")
            assert "picket_test_total 1.0" in client.get("/metrics").text
            assert client.get("/api/v1/alerts").status_code == 404
    finally:
        server.close()
        server.close()


def test_a_taken_port_is_a_users_mistake():
    """One clear line instead of a traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = HealthServer(host="127.0.0.1", port=taken.getsockname()[1])
        with pytest.raises(UserError, match=r"cannot listen on 127\.0\.0\.1"):
            server.start()
