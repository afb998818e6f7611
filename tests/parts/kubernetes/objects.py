"""Objects of an API server, as dictionaries: applied, read, deleted.

Where a kind is served is asked of the API server itself, so that kinds may come and go.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

Manifest = Mapping[str, Any]
MANAGER = "tests"
DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
APPLY = "application/apply-patch+yaml"
DELETE = {
    "apiVersion": "v1",
    "kind": "DeleteOptions",
    "gracePeriodSeconds": 0,
    "propagationPolicy": "Background",
}


class Refused(Exception):
    """The API server said no; the message is its own."""

    def __init__(self, response: httpx.Response) -> None:
        self.code = response.status_code
        super().__init__(f"{self.code}: {response.text[:1000]}")


@dataclass(frozen=True, slots=True)
class Kind:
    """Where a kind is served."""

    base: str
    plural: str
    namespaced: bool

    def path(self, namespace: str | None, name: str | None = None) -> str:
        """Return the path of one object, or of all in a namespace or everywhere."""
        parts = [self.base]
        if self.namespaced and (namespace or name):
            parts += ["namespaces", namespace or "default"]
        parts.append(self.plural)
        return "/".join([*parts, name] if name else parts)


@dataclass(slots=True)
class Objects:
    """All objects that a client may see."""

    client: httpx.Client
    _kinds: dict[tuple[str, str], Kind] = field(default_factory=dict)

    def apply(
        self, manifests: Manifest | Iterable[Manifest], *, subresource: str | None = None
    ) -> list[dict[str, Any]]:
        """Apply one or many, in their order, on the server's side; return what it made of them.

        Fields that others own are taken over. Raises Refused.
        """
        applied = []
        for manifest in _each(manifests):
            path = self._path(manifest) + (f"/{subresource}" if subresource else "")
            response = self.client.patch(
                path,
                params={"fieldManager": MANAGER, "force": "true"},
                headers={"Content-Type": APPLY},
                json=manifest,
            )
            applied.append(answer(response))
        return applied

    def delete(self, manifests: Manifest | Iterable[Manifest]) -> None:
        """Delete one or many at once, without a grace period; what is not there is fine."""
        for manifest in _each(manifests):
            try:
                path = self._path(manifest)
            except LookupError:
                continue
            response = self.client.request("DELETE", path, json=DELETE)
            if response.status_code != httpx.codes.NOT_FOUND:
                answer(response)

    def get(
        self, api_version: str, kind: str, name: str, namespace: str | None = None
    ) -> dict[str, Any] | None:
        """Return an object, None where there is none."""
        response = self.client.get(self.kind(api_version, kind).path(namespace, name))
        return None if response.status_code == httpx.codes.NOT_FOUND else answer(response)

    def all_of(
        self, api_version: str, kind: str, namespace: str | None = None
    ) -> list[dict[str, Any]]:
        """Return all objects of a kind, of one namespace or of all."""
        items = answer(self.client.get(self.kind(api_version, kind).path(namespace)))["items"]
        return [{"apiVersion": api_version, "kind": kind, **item} for item in items]

    def kind(self, api_version: str, kind: str) -> Kind:
        """Return where a kind is served. Raises LookupError where it is not."""
        wanted = (api_version, kind)
        if wanted not in self._kinds:
            self._kinds = dict(self._discovered())
        if wanted not in self._kinds:
            raise LookupError(f"{api_version} {kind} is not served")
        return self._kinds[wanted]

    def _path(self, manifest: Manifest) -> str:
        metadata = manifest["metadata"]
        kind = self.kind(manifest["apiVersion"], manifest["kind"])
        return kind.path(metadata.get("namespace"), metadata["name"])

    def _discovered(self) -> Iterator[tuple[tuple[str, str], Kind]]:
        for root in ("/api", "/apis"):
            groups = answer(self.client.get(root, headers={"Accept": DISCOVERY}))
            for group in groups["items"]:
                name = group["metadata"].get("name")
                for version in group["versions"]:
                    api_version = "/".join(filter(None, (name, version["version"])))
                    for each in version.get("resources", ()):
                        found = Kind(
                            base=f"{root}/{api_version}",
                            plural=each["resource"],
                            namespaced=each["scope"] == "Namespaced",
                        )
                        yield (api_version, each["responseKind"]["kind"]), found


def _each(manifests: Manifest | Iterable[Manifest]) -> Iterator[Manifest]:
    for manifest in [manifests] if isinstance(manifests, Mapping) else manifests:
        if manifest["kind"] == "List":
            yield from _each(manifest["items"])
        else:
            yield manifest


def answer(response: httpx.Response) -> dict[str, Any]:
    """Return what a response says. Raises Refused."""
    if response.is_error:
        raise Refused(response)
    body: dict[str, Any] = response.json()
    return body
