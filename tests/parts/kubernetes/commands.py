"""How each server of a control plane is run: its command line, and why it has what it has.

Building the programs is asked for here, running them is not.
"""

from pathlib import Path

from tests.parts.kubernetes import fakes, keys, programs

SERVICES = "10.96.0.0/16"
ISSUER = "https://kubernetes.default.svc"


def etcd(*, name: str, data: Path, url: str, peer_url: str) -> list[str]:
    """Return how etcd is run. Raises Missing, as all of these do."""
    return [
        str(programs.etcd()),
        f"--name={name}",
        f"--data-dir={data}",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        f"--listen-peer-urls={peer_url}",
        f"--initial-advertise-peer-urls={peer_url}",
        f"--initial-cluster={name}={peer_url}",
        # Tests kill processes, not the machine.
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def api_server(version: str, *, etcd: str, address: str, port: int, files: keys.Keys) -> list[str]:
    """Return how the API server is run."""
    certificate, key = files.server
    private, public = files.service_accounts
    return [
        str(programs.api_server(version)),
        f"--etcd-servers={etcd}",
        f"--bind-address={address}",
        f"--advertise-address={address}",
        f"--secure-port={port}",
        f"--tls-cert-file={certificate}",
        f"--tls-private-key-file={key}",
        f"--client-ca-file={files.ca_file}",
        f"--token-auth-file={files.tokens_file}",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={public}",
        f"--service-account-signing-key-file={private}",
        f"--service-cluster-ip-range={SERVICES}",
        "--authorization-mode=RBAC",
        "--allow-privileged",
        # No kubelet mounts a token, so that pods need no account to exist first.
        "--disable-admission-plugins=ServiceAccount",
        # It would write its own address, which may be loopback's, into endpoints.
        "--endpoint-reconciler-type=none",
    ]


def controllers(version: str, kubeconfig: Path, files: keys.Keys) -> list[str]:
    """Return how kube-controller-manager is run."""
    private, _ = files.service_accounts
    return [
        str(programs.controllers(version)),
        f"--kubeconfig={kubeconfig}",
        f"--service-account-private-key-file={private}",
        f"--root-ca-file={files.ca_file}",
        *_ALONE,
    ]


def scheduler(version: str, kubeconfig: Path) -> list[str]:
    """Return how kube-scheduler is run."""
    return [str(programs.scheduler(version)), f"--kubeconfig={kubeconfig}", *_ALONE]


def kwok(kubeconfig: Path) -> list[str]:
    """Return how kwok is run: for the nodes that `fakes` makes, and no others."""
    home = programs.kwok()
    stages = sorted(
        path
        for folder in programs.STAGES
        for path in (home / folder).glob("*.yaml")
        if path.name != "kustomization.yaml"
    )
    return [
        str(home / "kwok"),
        f"--kubeconfig={kubeconfig}",
        f"--manage-nodes-with-annotation-selector={fakes.MARK}=fake",
        "--manage-all-nodes=false",
        "--node-lease-duration-seconds=40",
        *(f"--config={path}" for path in stages),
    ]


_ALONE = ("--leader-elect=false", "--secure-port=0")
"""One of it, which nobody asks anything."""
