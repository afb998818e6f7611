"""What an operator can set for the alert API, all checked before anything starts."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from runtime.settings import Settings as Base

DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}


class GitLabProject(BaseModel):
    """One project's HTTP endpoint integration, as GitLab shows it under Settings, Monitor, Alerts.

    The authorization key is read from its file at each change of the file, never from here.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    project: str = Field(
        min_length=1,
        max_length=255,
        description="The project's id, as in the policies' label app.gitlab.com/proj.",
    )
    url: str = Field(description="The integration's address, .../alerts/notify/<name>/<id>.json.")
    token_file: Path = Field(description="File with the integration's authorization key.")
    environment: str | None = Field(
        default=None, max_length=255, description="Name of the GitLab environment, if one fits."
    )
    ca_file: Path | None = Field(
        default=None, description="Certificates to trust instead of the system's."
    )

    @field_validator("url")
    @classmethod
    def _is_plain_http_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be an http or https address")
        if parts.username or parts.password:
            raise ValueError("must not hold a user or a password; use token_file")
        return value


class Settings(Base):
    """Settings of the alert API."""

    database: str = Field(
        description="Where alerts are kept, without a password: sqlite:///<path> or "
        "postgresql://<user>@<host>/<database>."
    )
    database_password_file: Path | None = Field(
        default=None, description="File with the database's password."
    )
    token_file: Path = Field(
        description="File with the token that clients must present, 16 characters or more."
    )
    host: str = Field(default="127.0.0.1", description="Address on which the API listens.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port of the API; 0 picks one.")
    hosts: tuple[str, ...] = Field(
        default=(), description="Host names, besides the own address, by which clients may call."
    )
    public_url: str | None = Field(
        default=None,
        description="The page's address for links in GitLab, such as https://picket.x.",
    )
    tls_certificate: Path | None = Field(
        default=None, description="PEM file with the certificate chain; absent: plain HTTP."
    )
    tls_key: Path | None = Field(default=None, description="PEM file with the certificate's key.")
    health_host: str = Field(
        default="127.0.0.1", description="Address of the health port, which shows no alert."
    )
    health_port: int = Field(
        default=0, ge=0, le=65535, description="Port for /livez, /readyz and /metrics; 0 is off."
    )
    slot: str = Field(
        default="0",
        pattern=r"^[A-Za-z0-9._-]{1,100}$",
        description="This replica's stable name among the alert APIs of one log.",
    )
    batch_records: int = Field(
        default=2000, ge=1, le=20_000, description="Most records written in one transaction."
    )
    resolve_after: int | None = Field(
        default=None,
        ge=60,
        description="Seconds of observed quiet after which an alert resolves by itself, where its "
        "policy says nothing; absent: never.",
    )
    keep_days: int = Field(
        default=90, ge=1, description="Days for which resolved alerts and minute counts are kept."
    )
    recount: bool = Field(
        default=False,
        description="Whether an empty database may count a log from its beginning though another "
        "database had read it already.",
    )
    gitlab: tuple[GitLabProject, ...] = Field(
        default=(), description="Projects to deliver to: project, url, token_file, environment."
    )

    @field_validator("gitlab", mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError("must be a JSON list of objects") from None

    @field_validator("hosts", mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(",") if name.strip())
        return value

    @field_validator("database")
    @classmethod
    def _is_known_database(cls, value: str) -> str:
        _database_url(value)
        return value

    @field_validator("public_url")
    @classmethod
    def _is_web_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be an http or https address")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _fits_together(self) -> "Settings":
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together")
        projects = [entry.project for entry in self.gitlab]
        if len(set(projects)) != len(projects):
            raise ValueError("gitlab: each project once")
        return self

    def database_url(self) -> URL:
        """Return the database's address with the driver that this code uses, still no password."""
        return _database_url(self.database)


def _database_url(value: str) -> URL:
    try:
        url = make_url(value)
    except ArgumentError:
        raise ValueError("must be sqlite:///<path> or postgresql://...") from None
    name = DRIVERS.get(url.get_backend_name())
    if name is None:
        raise ValueError("must be sqlite:///<path> or postgresql://...")
    if url.password:
        raise ValueError("must not hold a password; use database_password_file")
    if name == "sqlite" and url.database in {None, "", ":memory:"}:
        raise ValueError("must name a file: sqlite:///<path>")
    return url.set(drivername=name)
