"""/api/v1/clusters, notices and deliveries: what a person who relies on the alerts must know."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from alert_api import faults, instants
from alert_api.repository import deliveries, streams
from alert_api.web import errors, payloads
from alert_api.web.service import Service


def router(service: Service) -> APIRouter:
    """Return the endpoints."""
    routes = APIRouter(prefix="/api/v1", tags=["operation"], responses=errors.RESPONSES)

    @routes.get("/clusters", summary="List the clusters and how far each was watched")
    def list_clusters() -> payloads.ClusterList:
        return payloads.ClusterList(clusters=clusters(service))

    @routes.get("/notices", summary="List what may be missing from the alerts")
    def list_notices(
        limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    ) -> payloads.NoticeList:
        return payloads.NoticeList(notices=notices(service, limit=limit))

    @routes.get("/deliveries", summary="List the GitLab projects that alerts are delivered to")
    def list_deliveries() -> payloads.ProjectList:
        return payloads.ProjectList(projects=projects(service))

    @routes.post(
        "/deliveries/{project}/resume",
        summary="Try a parked or waiting project again now",
        responses={404: {"model": payloads.Problem, "description": "Not set up"}},
    )
    def resume(project: Annotated[str, Path(max_length=255)]) -> payloads.ProjectList:
        if project not in {entry.project for entry in service.gitlab}:
            raise faults.Unknown(f"project {project} is not set up for deliveries")
        with service.database.writing() as connection:
            deliveries.resume(connection, project, now=service.now())
        return payloads.ProjectList(projects=projects(service))

    return routes


def clusters(service: Service) -> list[payloads.Cluster]:
    """Return all clusters."""
    with service.database.reading() as connection:
        found = streams.clusters(connection)
    return [
        payloads.Cluster(
            name=cluster.name,
            state=cluster.state,
            flow_time=instants.maybe(cluster.flow_time),
            unbroken_since=instants.maybe(cluster.unbroken_since),
            flows=cluster.flows,
            updated_at=instants.to_datetime(cluster.updated_at),
        )
        for cluster in found
    ]


def notices(service: Service, *, limit: int) -> list[payloads.Notice]:
    """Return the newest notices."""
    with service.database.reading() as connection:
        rows = streams.notices(connection, limit=limit)
    return [
        payloads.Notice(
            cluster=row.cluster,
            kind=row.kind,
            reason=row.reason,
            node=row.node,
            count=row.total,
            first_seen=instants.to_datetime(row.first_seen),
            last_seen=instants.to_datetime(row.last_seen),
            detail=row.detail,
        )
        for row in rows
    ]


def projects(service: Service) -> list[payloads.Project]:
    """Return the projects that are set up, and how deliveries to each go."""
    names = [entry.project for entry in service.gitlab]
    with service.database.reading() as connection:
        found = deliveries.standings(connection, names)
    return [
        payloads.Project(
            project=name,
            state=standing.state.value,
            reason=standing.reason,
            since=instants.maybe(standing.since),
            next_try=instants.maybe(standing.until),
            delivered=standing.delivered,
            waiting=standing.waiting,
        )
        for name, standing in found.items()
    ]
