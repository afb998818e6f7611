"""/api/v1/alerts: the list, one alert, and its status."""

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Header, HTTPException, Path, Query, Request, Response

from alert_api import events, faults, instants, states
from alert_api.repository import changes, details, listing
from alert_api.web import errors, payloads
from alert_api.web.service import Service
from schemas import messages

AlertId = Annotated[str, Path(max_length=64)]
ACTOR = "api"

_MISSING: dict[int | str, dict[str, Any]] = {
    404: {"model": payloads.Problem, "description": "There is no such alert"}
}


def router(service: Service) -> APIRouter:
    """Return the endpoints."""
    routes = APIRouter(prefix="/api/v1/alerts", tags=["alerts"], responses=errors.RESPONSES)

    @routes.get("", summary="List alerts")
    def list_alerts(
        query: Annotated[payloads.ListQuery, Query()], request: Request, response: Response
    ) -> payloads.AlertList:
        page = find(service, query)
        if page.following is not None:
            rest = [(name, value) for name, value in request.query_params.multi_items()]
            rest = [(name, value) for name, value in rest if name != "cursor"]
            address = f"{request.url.path}?{urlencode([*rest, ('cursor', page.following)])}"
            response.headers["Link"] = f'<{address}>; rel="next"'
        return payloads.AlertList(
            alerts=[events.shown(row) for row in page.rows], next=page.following
        )

    @routes.get("/{alert_id}", summary="Show one alert", responses=_MISSING)
    def show_alert(alert_id: AlertId) -> payloads.AlertDetails:
        return detailed(service, alert_id)

    @routes.get("/{alert_id}/status", summary="Show an alert's status", responses=_MISSING)
    def show_status(alert_id: AlertId, response: Response) -> payloads.StatusBody:
        with service.database.reading() as connection:
            row = listing.one(connection, alert_id)
        return _status(row, response)

    @routes.put(
        "/{alert_id}/status",
        summary="Change an alert's status",
        responses={
            **_MISSING,
            409: {"model": payloads.Problem, "description": "The status leads to no such one"},
            412: {"model": payloads.Problem, "description": "The alert changed in between"},
            428: {"model": payloads.Problem, "description": "If-Match is missing"},
        },
    )
    def change_status(
        alert_id: AlertId,
        change: payloads.StatusChange,
        response: Response,
        if_match: Annotated[
            str | None,
            Header(max_length=200, description="the ETag that was seen; * for any"),
        ] = None,
    ) -> payloads.StatusBody:
        if if_match is None:
            raise HTTPException(428, "send If-Match with the ETag of the status that you saw")
        with service.database.writing() as connection:
            current = changes.lock(connection, [alert_id])
            if not current:
                raise faults.Unknown(f"there is no alert {alert_id}")
            row = changes.set_status(
                connection,
                alert_id,
                change.status,
                revision=_matched(if_match, current[0].revision),
                actor=ACTOR,
                now=service.now(),
            )
        return _status(row, response)

    return routes


def find(service: Service, query: payloads.ListQuery) -> listing.Page:
    """Return the page of alerts that is asked for. Raises Invalid."""
    filters = listing.Filters(
        status=query.status,
        severity=query.severity,
        project=query.project,
        policy=query.policy,
        namespace=query.namespace,
        cluster=query.cluster,
        text=query.text,
    )
    with service.database.reading() as connection:
        return listing.alerts(
            connection, filters, order=query.sort, limit=query.limit, cursor=query.cursor
        )


def detailed(service: Service, alert_id: str) -> payloads.AlertDetails:
    """Return an alert with its details. Raises Unknown."""
    with service.database.reading() as connection:
        row = listing.one(connection, alert_id)
        known = details.of_alert(connection, alert_id)
        history = changes.history(connection, alert_id)
    delivery = known.delivery
    return payloads.AlertDetails(
        **dict(events.shown(row)),
        sentence=known.sentence,
        findings=[messages.Finding.model_validate(finding) for finding in known.findings],
        ports=[_port(key, count) for key, count in known.ports],
        peers=[_peer(key, count) for key, count in known.peers],
        minutes=[
            payloads.MinuteCount(minute=instants.to_datetime(minute), count=count)
            for minute, count in known.minutes
        ],
        samples=known.samples,
        history=[
            payloads.Change(
                revision=change.revision,
                status=change.status,
                at=instants.to_datetime(change.at),
                actor=change.actor,
                why=change.why,
            )
            for change in history
        ],
        delivery=delivery
        and payloads.AlertDelivery(
            wanted=delivery.wanted,
            told=delivery.told,
            posted_at=instants.maybe(delivery.posted_at),
            attempts=delivery.attempts,
            failure=delivery.failure,
            next_try=instants.maybe(delivery.due),
        ),
    )


def _port(key: str, count: int) -> payloads.Port:
    protocol, _, number = key.rpartition("/")
    return payloads.Port(protocol=protocol, port=int(number), count=count)


def _peer(key: str, count: int) -> payloads.Peer:
    address, _, name = key.partition(" ")
    return payloads.Peer(address=address, name=name, count=count)


def _status(row: object, response: Response) -> payloads.StatusBody:
    alert = events.shown(row)
    response.headers["ETag"] = f'"{alert.revision}"'
    return payloads.StatusBody(
        id=alert.id,
        status=alert.status,
        revision=alert.revision,
        allowed=list(states.allowed(alert.status)),
    )


def _matched(if_match: str, revision: int) -> int:
    """Return the revision that the client names; one that cannot be where none of them fits."""
    tags = {tag.strip() for tag in if_match.split(",")}
    return revision if tags & {"*", f'"{revision}"'} else -1
