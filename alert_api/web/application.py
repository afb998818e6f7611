"""The web application: endpoints, page, errors, and the guard around them."""

from urllib.parse import urlsplit

import fastapi
from starlette.types import ASGIApp

from alert_api.settings import Settings
from alert_api.web import alerts, errors, operation, pages, security
from alert_api.web.service import Service

DESCRIPTION = """Alerts of network flows that a policy stopped.

Every request needs the token: `Authorization: Bearer <token>`. Lists are read page by page with
`next`, which is also in the `Link` header. Errors are problem documents (RFC 9457)."""


def create(service: Service, settings: Settings, *, access: security.Access) -> ASGIApp:
    """Return the application."""
    app = fastapi.FastAPI(
        title="Picket alert API",
        version="1",
        description=DESCRIPTION,
        openapi_url="/api/v1/openapi.json",
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    errors.install(app)
    app.include_router(alerts.router(service))
    app.include_router(operation.router(service))
    app.include_router(pages.router(service))
    return security.Guard(
        app,
        access=access,
        hosts=hosts(settings),
        secure=settings.tls_certificate is not None
        or (settings.public_url or "").startswith("https:"),
    )


def hosts(settings: Settings) -> frozenset[str]:
    """Return the names by which clients may call."""
    names = {*security.LOOPBACK, settings.host, *settings.hosts}
    if settings.public_url:
        names.add(urlsplit(settings.public_url).hostname or "")
    return frozenset(names)
