"""The page: the list and one alert, as plain HTML that needs no script."""

from datetime import UTC, datetime
from pathlib import Path as FilePath
from typing import Annotated, Any
from urllib.parse import parse_qs, urlencode

import fastapi
import jinja2
from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import HTMLResponse, RedirectResponse, Response

from alert_api import events, faults, states
from alert_api.repository import changes, listing
from alert_api.repository.listing import Order
from alert_api.web import alerts, operation, payloads
from alert_api.web.service import Service
from schemas.messages import AlertStatus, Severity, StreamState

HERE = FilePath(__file__).parent
ACTOR = "page"
NOTICES = 20
BARS = 60
"""Minutes of the chart."""

_STATE_WORDS = {
    StreamState.LIVE: "live",
    StreamState.CATCHING_UP: "catching up",
    StreamState.BLIND: "blind: flows may be missed",
    StreamState.ENDED: "ended",
}


def router(service: Service) -> APIRouter:
    """Return the page's addresses, which are no part of the API."""
    routes = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
    render = _Renderer()
    style = (HERE / "style.css").read_text(encoding="utf-8")

    @routes.get("/")
    def show_list(query: Annotated[_PageQuery, Query()], request: Request) -> Response:
        page = alerts.find(service, query.as_list())
        rest = [
            (name, value)
            for name, value in request.query_params.multi_items()
            if name != "cursor" and value
        ]
        following = urlencode([*rest, ("cursor", page.following)]) if page.following else None
        with service.database.reading() as connection:
            counts = listing.counts(connection)
        return render(
            "list.html",
            alerts=[events.shown(row) for row in page.rows],
            query=query,
            counts=counts,
            following=following,
            first=urlencode(rest) if query.cursor else None,
            clusters=operation.clusters(service),
            notices=operation.notices(service, limit=NOTICES),
            projects=[one for one in operation.projects(service) if one.state != "ok"],
            state_words=_STATE_WORDS,
            now=service.clock.utc(),
        )

    @routes.get("/alerts/{alert_id}")
    def show_alert(alert_id: alerts.AlertId) -> Response:
        alert = alerts.detailed(service, alert_id)
        return render(
            "alert.html",
            alert=alert,
            allowed=states.allowed(alert.status),
            bars=_bars(alert.minutes),
            now=service.clock.utc(),
        )

    @routes.post("/alerts/{alert_id}/status")
    def change_status(
        alert_id: alerts.AlertId, body: Annotated[bytes, fastapi.Depends(_raw_body)]
    ) -> Response:
        status, revision = _form(body)
        with service.database.writing() as connection:
            changes.set_status(
                connection,
                alert_id,
                status,
                revision=revision,
                actor=ACTOR,
                now=service.now(),
            )
        return RedirectResponse(f"/alerts/{alert_id}", 303)

    @routes.get("/style.css")
    def show_style() -> Response:
        return Response(style, media_type="text/css", headers={"Cache-Control": "max-age=300"})

    return routes


class _PageQuery(payloads.ListQuery):
    """As the API's, but an empty field of the form asks nothing."""

    status: list[AlertStatus | str] = Field(default=[], max_length=10)  # type: ignore[assignment]
    severity: list[Severity | str] = Field(default=[], max_length=10)  # type: ignore[assignment]
    sort: Order | str = Order.NEWEST  # type: ignore[assignment]

    def as_list(self) -> payloads.ListQuery:
        """Return it as the API's query. Raises Invalid."""
        values = {
            name: value for name, value in self.model_dump().items() if value not in ("", [""])
        }
        try:
            return payloads.ListQuery.model_validate(values)
        except ValueError as error:
            raise faults.Invalid(f"the filter cannot be used: {error}") from None


async def _raw_body(request: Request) -> bytes:
    return await request.body()


def _form(body: bytes) -> tuple[AlertStatus, int]:
    try:
        fields = parse_qs(body.decode(), strict_parsing=True, max_num_fields=10)
        return AlertStatus(fields["status"][0]), int(fields["revision"][0])
    except (ValueError, KeyError):
        raise faults.Invalid("the form holds no status and revision") from None


def _bars(minutes: list[payloads.MinuteCount]) -> list[dict[str, Any]]:
    """Return the newest minutes with heights in percent."""
    newest = minutes[-BARS:]
    top = max((minute.count for minute in newest), default=1)
    return [
        {"minute": minute.minute, "count": minute.count, "height": 100 * minute.count / top}
        for minute in newest
    ]


class _Renderer:
    """The templates beside this module; whatever goes into them is escaped."""

    def __init__(self) -> None:
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["ago"] = _ago
        self._templates.filters["stamp"] = _stamp
        self._templates.globals.update(
            statuses=tuple(AlertStatus), severities=tuple(Severity), orders=_ORDERS
        )

    def __call__(self, name: str, **values: Any) -> Response:
        return HTMLResponse(self._templates.get_template(name).render(**values))


_ORDERS = {
    Order.NEWEST: "newest",
    Order.MOST_EVENTS: "most events",
    Order.MOST_SEVERE: "most severe",
    Order.LATEST_START: "latest start",
}


def _stamp(moment: datetime | None) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if moment else ""


def _ago(moment: datetime | None, now: datetime) -> str:
    """Return how long ago a moment was, in its largest unit."""
    if moment is None:
        return "not known"
    seconds = int((now - moment).total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{max(seconds, 0)} s ago"
