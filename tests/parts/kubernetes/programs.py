"""The programs of a control plane, built from their Go modules and kept in the cache of parts.

Two minors of Kubernetes: the default one whole, the other one as an API server only, which is
what clients meet. Nothing here runs anything but a compiler.
"""

from collections.abc import Mapping
from pathlib import Path

from tests.parts import cache, go

DEFAULT = "v1.34.4"
OTHER = "v1.36.3"
GO = {DEFAULT: "1.24.0", OTHER: "1.26.0"}
"""The Go that each one's go.mod asks for."""
ETCD = go.Module("go.etcd.io/etcd/server/v3", "v3.6.16")
ETCD_GO = "1.26.0"
KWOK = go.Module("sigs.k8s.io/kwok", "v0.7.0")
KWOK_GO = "1.24.0"
RECIPE = 1
"""Raised whenever what is built below changes."""
STAGES = {"node": "kustomize/stage/node/fast", "pod": "kustomize/stage/pod/fast"}
"""How a fake node or pod goes from one state to the next: folders of kwok's module."""


def etcd() -> Path:
    """Return etcd, building it where it is not there yet. Raises Missing."""

    def build(folder: Path) -> None:
        go.build_required(ETCD, {"etcd": ETCD.path}, into=folder, at_least=ETCD_GO)

    return cache.part("etcd", f"{ETCD.version}-{RECIPE}", build) / "etcd"


def api_server(version: str = DEFAULT) -> Path:
    """Return an API server. Raises Missing."""
    return _kubernetes("kube-apiserver", version)


def controllers(version: str = DEFAULT) -> Path:
    """Return a controller manager. Raises Missing."""
    return _kubernetes("kube-controller-manager", version)


def scheduler(version: str = DEFAULT) -> Path:
    """Return a scheduler. Raises Missing."""
    # The controller manager has nearly all of it in itself: this costs no more than linking.
    return _kubernetes("kube-scheduler", version)


def kwok() -> Path:
    """Return the folder with kwok and, in `node` and `pod`, its stages. Raises Missing."""

    def build(folder: Path) -> None:
        go.build_required(KWOK, {"kwok": f"{KWOK.path}/cmd/kwok"}, into=folder, at_least=KWOK_GO)
        go.files(KWOK, STAGES, into=folder, at_least=KWOK_GO)

    return cache.part("kwok", f"{KWOK.version}-{RECIPE}", build)


def all_default() -> None:
    """Build whatever the default version needs. Raises Missing."""
    for build in (etcd, api_server, controllers, scheduler, kwok):
        build()


def all_other() -> None:
    """Build whatever the other version needs beyond that. Raises Missing."""
    for build in (api_server, controllers, scheduler):
        build(OTHER)


def _kubernetes(program: str, version: str) -> Path:
    def build(folder: Path) -> None:
        go.build_required(
            go.Module("k8s.io/kubernetes", version),
            {program: f"k8s.io/kubernetes/cmd/{program}"},
            into=folder,
            at_least=GO[version],
            variables=_named(version),
            # Each staging module is released with it, as v0.
            siblings=f"v0{version.removeprefix('v1')}",
        )

    return cache.part(program, f"{version}-{RECIPE}", build) / program


def _named(version: str) -> Mapping[str, str]:
    """Return what it says of itself, which clients read."""
    major, minor, _ = version.removeprefix("v").split(".")
    base = "k8s.io/component-base/version"
    return {f"{base}.gitVersion": version, f"{base}.gitMajor": major, f"{base}.gitMinor": minor}
