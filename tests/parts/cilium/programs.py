"""What a node runs: Cilium's programs from its Go module, and the tools that its agent calls.

The tools are the distribution's; where one is missing and we may, its package is installed.
Nothing here runs a part.
"""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.parts import cache, go, relay

RECIPE = 1
"""Raised whenever what is built below changes."""
BUILT = {
    "cilium-agent": "./daemon",
    "cilium-dbg": "./cilium-dbg",
    "cilium-cni": "./plugins/cilium-cni",
}
DATAPATH = "bpf"
"""The C sources that the agent compiles for its node, within the module."""
COMPILERS = ("clang-19", "clang-20", "clang-21", "clang-18")
PACKAGES = {
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "mount": "mount",
    "iptables": "iptables",
    "ipset": "ipset",
    COMPILERS[0]: COMPILERS[0],
}
"""Tools, and the Debian packages that have them."""
NETFILTER = ("iptables", "iptables-save", "iptables-restore")


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs, built."""

    agent: Path
    cni: Path
    debugging: Path
    """`cilium-dbg`, for people."""
    datapath: Path
    http_log: Path
    relay: relay.Programs


def programs() -> Programs:
    """Return the programs, building them where they are not there yet. Raises Missing."""
    require_root()
    require_tools()
    return built()


def built() -> Programs:
    """Return the programs alone, which need neither root nor tools to be built. Raises Missing."""

    def build(folder: Path) -> None:
        go.build(relay.MODULE, BUILT, into=folder, at_least=relay.GO, variables=relay.NAMED)
        go.files(relay.MODULE, {DATAPATH: DATAPATH}, into=folder, at_least=relay.GO)

    front = relay.programs()
    home = cache.part("cilium", f"{relay.VERSION}-{RECIPE}", build)
    return Programs(
        agent=home / "cilium-agent",
        cni=home / "cilium-cni",
        debugging=home / "cilium-dbg",
        datapath=home / DATAPATH,
        http_log=relay.beside("httplog", Path(__file__).parent / "httplog"),
        relay=front,
    )


def require_root() -> None:
    """Raise Missing unless namespaces and eBPF are ours to use."""
    if sys.platform != "linux":
        raise cache.Missing(f"eBPF is Linux's, and this is {sys.platform}")
    if os.geteuid() != 0:
        raise cache.Missing("namespaces and eBPF need root: run the tests as root")
    if "nodev\tbpf\n" not in Path("/proc/filesystems").read_text("utf-8"):
        raise cache.Missing("this kernel has no file system of eBPF (CONFIG_BPF_SYSCALL)")


def require_tools() -> None:
    """Install what is missing of the distribution's tools. Raises Missing."""
    wanted = sorted({package for tool, package in PACKAGES.items() if not _has(tool)})
    if not wanted:
        return
    label = ("cilium", "tools")
    if shutil.which("apt-get") is None:
        raise cache.Missing(f"install {', '.join(wanted)}")
    cache.say(*label, f"installing {', '.join(wanted)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "--no-install-recommends", *wanted]
    try:
        cache.run(["apt-get", "update"], label=label, environment=quiet)
        cache.run(install, label=label, environment=quiet)
    except cache.Missing as error:
        raise cache.Missing(f"install {', '.join(wanted)}: {error}") from error
    if still := [tool for tool in PACKAGES if not _has(tool)]:
        raise cache.Missing(f"{', '.join(wanted)} brought no {', '.join(still)}")


def link_tools(folder: Path) -> None:
    """Put under the names that the agent calls them by what has other names here."""
    folder.mkdir()
    (folder / "clang").symlink_to(_compiler())
    # Rules of the old kind would need modules of the kernel that not each machine has.
    if (both := shutil.which("xtables-nft-multi")) is not None:
        for name in NETFILTER:
            (folder / name).symlink_to(both)


def _has(tool: str) -> bool:
    if tool == COMPILERS[0]:
        return any(map(shutil.which, COMPILERS))
    return shutil.which(tool) is not None


def _compiler() -> str:
    return next(found for name in COMPILERS if (found := shutil.which(name)))
