"""From what the API server says to what is published: less of each object. Pure.

Policies stay whole, but for bookkeeping. Of everything else only what matching reads is kept: other
fields may hold secrets, and change all day without meaning anything here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent import kinds, plan, resources, versions

_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""The whole object once more, as text."""
_METADATA = ("name", "namespace", "uid", "labels", "creationTimestamp", "resourceVersion")


class Shapeless(ValueError):
    """Not an object of this kind; the message says why."""


@dataclass(frozen=True, slots=True)
class ContainerPort:
    """A port of a container that has a name."""

    name: str
    protocol: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """What of a pod matters: nothing, where it has no named ports or no endpoint of its own."""

    namespace: str
    name: str
    labels: Mapping[str, str]
    ports: tuple[ContainerPort, ...]
    created_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A ConfigMap of Cilium."""

    data: Mapping[str, str]
    changed_at: datetime | None
    created_at: datetime | None


def identity(resource: resources.Resource, raw: Mapping[str, Any]) -> kinds.Identity:
    """Return which object this is. Raises Shapeless."""
    metadata = raw.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(name, str) or not name or "/" in name:
        raise Shapeless(f"a {resource.kind} without a name")
    namespace = metadata.get("namespace") or ""
    if not isinstance(namespace, str) or "/" in namespace:
        raise Shapeless(f"a {resource.kind} of a namespace that is no text")
    return kinds.Identity(resource.kind, namespace, name)


def wanted(resource: resources.Resource, version: str, raw: Mapping[str, Any]) -> plan.Wanted:
    """Return what is published of an object; items of a list leave out their own type."""
    kind = resource.kind
    metadata = raw["metadata"]
    api_version = f"{resource.group}/{version}" if resource.group else version
    if kind in kinds.POLICIES:
        body = {
            key: value
            for key, value in raw.items()
            if key not in {"apiVersion", "kind", "metadata", "status"}
        }
        kept = {key: value for key, value in metadata.items() if key != "managedFields"}
        if isinstance(notes := kept.get("annotations"), dict) and _APPLIED in notes:
            kept["annotations"] = {key: value for key, value in notes.items() if key != _APPLIED}
    else:
        body = _needed(kind, raw)
        kept = {key: metadata[key] for key in _METADATA if key in metadata}
    manifest = {"apiVersion": api_version, "kind": kind, "metadata": kept, **body}
    return plan.Wanted(
        manifest=manifest,
        meaning=versions.meaning(manifest),
        changed_at=versions.changed_at(metadata),
        created_at=versions.created_at(metadata),
    )


def pod(raw: Mapping[str, Any]) -> Pod:
    """Return what of a pod matters. Its identity was taken from it already."""
    metadata, spec = raw["metadata"], _mapping(raw.get("spec"))
    ports: set[ContainerPort] = set()
    if not spec.get("hostNetwork"):
        for container in spec.get("containers") or ():
            for port in _mapping(container).get("ports") or ():
                ports |= _named(_mapping(port))
    return Pod(
        namespace=metadata.get("namespace") or "",
        name=metadata["name"],
        labels={str(key): str(text) for key, text in _mapping(metadata.get("labels")).items()},
        ports=tuple(sorted(ports, key=lambda port: (port.name, port.protocol, port.port))),
        created_at=versions.created_at(metadata),
    )


def config(raw: Mapping[str, Any]) -> Config:
    """Return the data of a ConfigMap, and since when it holds."""
    data = _mapping(raw.get("data"))
    return Config(
        data={str(key): str(text) for key, text in data.items()},
        changed_at=versions.changed_at(raw["metadata"]),
        created_at=versions.created_at(raw["metadata"]),
    )


def _named(port: Mapping[str, Any]) -> set[ContainerPort]:
    name, number = port.get("name"), port.get("containerPort")
    if not isinstance(name, str) or not name or not isinstance(number, int):
        return set()
    return {ContainerPort(name, str(port.get("protocol") or "TCP"), number)}


def _needed(kind: str, raw: Mapping[str, Any]) -> dict[str, Any]:
    if kind == "Service":
        selector = _mapping(raw.get("spec")).get("selector")
        return {"spec": {"selector": selector} if selector else {}}
    if kind == "EndpointSlice":
        addresses = {
            address
            for endpoint in raw.get("endpoints") or ()
            for address in _mapping(endpoint).get("addresses") or ()
            if isinstance(address, str)
        }
        return {
            "addressType": raw.get("addressType"),
            # Their order and readiness change all day.
            "endpoints": [{"addresses": [address]} for address in sorted(addresses)],
        }
    if kind == "CiliumCIDRGroup":
        return {"spec": raw.get("spec")}
    return {}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
