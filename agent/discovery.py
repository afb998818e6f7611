"""Which version of a kind the API server serves, if any.

Custom resources come and go with their definitions; what is built in is always there.
"""

import contextlib
from collections.abc import Collection, Mapping
from typing import Any

from agent import apiserver
from agent.resources import Resource


def version(server: apiserver.ApiServer, resource: Resource) -> str | None:
    """Return the best version to read, None where none is served. Raises ApiError, UserError."""
    if not resource.is_optional:
        return resource.versions[0]
    root = f"/apis/{resource.group}"
    with contextlib.suppress(apiserver.Absent):
        for served in _served(resource, server.get(root)):
            with contextlib.suppress(apiserver.Absent):
                if _has(resource, server.get(f"{root}/{served}")):
                    return served
    return None


def _served(resource: Resource, group: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the versions that can be read and are served, by the group's document."""
    entries = group.get("versions")
    found = [entry.get("version") for entry in entries or () if isinstance(entry, dict)]
    return tuple(version for version in resource.versions if version in found)


def _has(resource: Resource, version: Mapping[str, Any]) -> bool:
    """Return whether the document of a version names the resource."""
    entries: Collection[Any] = version.get("resources") or ()
    return any(
        isinstance(entry, dict) and entry.get("name") == resource.plural for entry in entries
    )
