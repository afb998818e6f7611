"""The one place where errors become HTTP: problem documents, and a short page for browsers."""

import html
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response

from alert_api import faults
from alert_api.database import Unreachable
from alert_api.web import payloads

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"

_STATUS = {
    faults.Unknown: HTTPStatus.NOT_FOUND,
    faults.Stale: HTTPStatus.PRECONDITION_FAILED,
    faults.NotAllowed: HTTPStatus.CONFLICT,
    faults.Invalid: HTTPStatus.BAD_REQUEST,
}

RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": payloads.Problem, "description": HTTPStatus(status).phrase}
    for status in (400, 401, 403, 422, 503)
}
"""What any endpoint may answer besides."""


def problem(
    path: str,
    headers: Headers,
    status: int,
    detail: str,
    *,
    more: Mapping[str, Any] | None = None,
    answer_headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the answer that says what went wrong, in the shape that the client asks for."""
    title = HTTPStatus(status).phrase
    if not path.startswith("/api/") and "text/html" in headers.get("accept", ""):
        page = (
            f"<!doctype html><html lang=en><title>{title}</title>"
            '<meta name=viewport content="width=device-width">'
            '<meta name=color-scheme content="light dark">'
            f"<h1>{title}</h1><p>{html.escape(detail)}</p><p><a href='/'>All alerts</a></p>"
        )
        return HTMLResponse(page, status, headers=dict(answer_headers or {}))
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return JSONResponse(
        {**body, **(more or {})}, status, headers=dict(answer_headers or {}), media_type=MEDIA_TYPE
    )


def install(app: FastAPI) -> None:
    """Make the application answer every error with a problem document."""

    @app.exception_handler(faults.RequestError)
    def refused(request: Request, error: faults.RequestError) -> Response:
        return problem(request.url.path, request.headers, _STATUS[type(error)], str(error))

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> Response:
        detail = {
            404: f"there is nothing at {request.url.path}",
            405: f"{request.method} is not possible here",
        }.get(error.status_code, str(error.detail))
        return problem(
            request.url.path,
            request.headers,
            error.status_code,
            detail,
            answer_headers=error.headers,
        )

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        errors = [
            {"at": "/".join(str(part) for part in one["loc"]), "problem": one["msg"]}
            for one in error.errors()
        ]
        detail = "; ".join(f"{one['at']}: {one['problem']}" for one in errors)
        more = {"errors": jsonable_encoder(errors)}
        return problem(request.url.path, request.headers, 422, detail, more=more)

    @app.exception_handler(Unreachable)
    def away(request: Request, error: Unreachable) -> Response:
        log.warning("the database is away", reason=str(error))
        return problem(
            request.url.path,
            request.headers,
            503,
            "the database cannot be reached now; try again",
            answer_headers={"Retry-After": "5"},
        )

    @app.exception_handler(Exception)
    def fault(request: Request, error: Exception) -> Response:
        log.error("a request failed", path=request.url.path, exc_info=error)
        return problem(request.url.path, request.headers, 500, "Picket failed; its log says how")
