"""Cilium's custom resource definitions, as its own module carries them."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.parts import cache, go, relay
from tests.parts.kubernetes import plane

RECIPE = 2
"""Raised whenever what is taken below changes."""
WITHIN = "pkg/k8s/apis/cilium.io/client/crds"
FILE = "definitions.json"


def file() -> Path:
    """Return the file with all of them as JSON. Raises Missing."""

    def take(folder: Path) -> None:
        go.files(relay.MODULE, {"yaml": WITHIN}, into=folder, at_least=relay.GO)
        yaml = YAML(typ="safe")
        # Two megabytes of YAML take many seconds to read: once is enough.
        found = [
            yaml.load(each.read_text("utf-8")) for each in sorted(folder.glob("yaml/*/*.yaml"))
        ]
        (folder / FILE).write_text(json.dumps(found), "utf-8")

    return cache.part("cilium-crds", f"{relay.VERSION}-{RECIPE}", take) / FILE


def manifests() -> list[dict[str, Any]]:
    """Return all of them. Raises Missing."""
    found: list[dict[str, Any]] = json.loads(file().read_text("utf-8"))
    return found


def install(cluster: plane.ControlPlane, names: Collection[str] | None = None) -> None:
    """Define Cilium's kinds, or those whose plural is among `names`, and wait until they serve."""
    wanted = [each["spec"] for each in cluster.apply(_named(names))]
    cluster.until(lambda: all(_served(cluster, each) for each in wanted), what="Cilium's kinds")


def _named(names: Collection[str] | None) -> list[dict[str, Any]]:
    every = manifests()
    return [each for each in every if names is None or each["spec"]["names"]["plural"] in names]


def _served(cluster: plane.ControlPlane, spec: Mapping[str, Any]) -> bool:
    group, plural = spec["group"], spec["names"]["plural"]
    return all(
        cluster.client.get(f"/apis/{group}/{version['name']}/{plural}").is_success
        for version in spec["versions"]
        if version["served"]
    )
