"""A client that calls the application directly: no socket, no thread, the cookies of a browser."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from starlette.types import ASGIApp

from alert_api.settings import GitLabProject
from alert_api.web import application, security
from alert_api.web.service import Service
from tests.alert_api import builders
from tests.alert_api.builders import TOKEN, Stage, a_match, put

BASE = "http://localhost:8080"


@dataclass(slots=True)
class Browser:
    """One user agent: follows no redirects, keeps cookies."""

    app: ASGIApp
    headers: Mapping[str, Any] = field(default_factory=dict)
    raises: bool = True
    """Whether a fault of the application is raised here, or answered as a server would."""
    cookies: httpx.Cookies = field(default_factory=httpx.Cookies)

    def get(self, url: str, **given: Any) -> httpx.Response:
        return self.request("GET", url, **given)

    def put(self, url: str, **given: Any) -> httpx.Response:
        return self.request("PUT", url, **given)

    def post(self, url: str, **given: Any) -> httpx.Response:
        return self.request("POST", url, **given)

    def request(self, method: str, url: str, **given: Any) -> httpx.Response:
        return asyncio.run(self._request(method, url, given))

    async def _request(self, method: str, url: str, given: dict[str, Any]) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=self.raises)
        async with httpx.AsyncClient(
            transport=transport, base_url=BASE, headers=self.headers, cookies=self.cookies
        ) as client:
            response = await client.request(method, url, **given)
            self.cookies = client.cookies
            return response


def a_client(stage: Stage, folder: Path, **given: Any) -> Browser:
    project = GitLabProject(project="42", url="http://gitlab.test/x", token_file=folder / "none")
    chosen = builders.settings(folder, f"sqlite:///{folder}/x.db", hosts=["picket.test"])
    service = Service(database=stage.database, clock=stage.time.clock, gitlab=(project,))
    access = security.Access(token=TOKEN, clock=stage.time.clock)
    app = application.create(service, chosen, access=access)
    return Browser(app, **given)


def trigger(stage: Stage, *matches: dict[str, Any]) -> None:
    put(stage.log, *matches)
    stage.read()


def problem(response: httpx.Response, status: int) -> str:
    """Check that the answer is a problem document and return its detail."""
    assert response.status_code == status
    assert response.headers["content-type"].startswith("application/problem+json")
    body = response.json()
    assert body["status"] == status
    assert {"type", "title", "detail"} <= body.keys()
    return str(body["detail"])


def variety(stage: Stage) -> None:
    """Alerts that differ in what can be filtered by."""
    clusterwide = {"kind": "CiliumClusterwideNetworkPolicy", "namespace": "", "name": "base"}
    web = {"kind": "NetworkPolicy", "namespace": "web", "name": "db"}
    party = {"kind": "world", "namespace": "", "name": "world", "text": "100% of_the WORLD"}
    at = builders.minutes(0, 1, 2, 3)
    trigger(
        stage,
        a_match("a", at=at[0], count=5, severity="low"),
        a_match("b", at=at[1], count=1, severity="critical", policy=clusterwide, project="7"),
        a_match("c", at=at[2], count=9, policy=web, cluster="other", peer=party),
        a_match("d", at=at[3], threshold={"count": 5, "seconds": 60}),
    )
