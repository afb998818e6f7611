"""A control plane that runs: etcd, the API server, and on demand controllers and fake nodes.

Instances run side by side, each with ports, keys and data of its own in its folder. They end with
the test session, however that ends.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tests import waiting
from tests.parts import ports
from tests.parts.kubernetes import commands, keys, objects, programs
from tests.parts.kubernetes.server import Server

Value = TypeVar("Value")
TOKEN_SECONDS = 3600
ANSWER_SECONDS = 30.0


@dataclass(slots=True, kw_only=True)
class ControlPlane:
    """A control plane; whoever started it stops it. Ports, keys and data stay over restarts."""

    folder: Path
    version: str = programs.DEFAULT
    address: str = "127.0.0.1"
    """Where the API server listens; one of this machine's."""
    addresses: tuple[str, ...] = ()
    """More addresses under which it may be reached, for its certificate."""
    with_controllers: bool = False
    """Whether controllers and the scheduler run, and kwok for the nodes that `fakes` makes."""
    port: int
    etcd_port: int
    peer_port: int
    etcd: Server = field(init=False, repr=False)
    api: Server = field(init=False, repr=False)
    controllers: Server = field(init=False, repr=False)
    scheduler: Server = field(init=False, repr=False)
    kwok: Server = field(init=False, repr=False)
    files: keys.Keys = field(init=False, repr=False)
    client: httpx.Client = field(init=False, repr=False)
    """The administrator's, for what is not among the methods."""
    _objects: objects.Objects = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.files = keys.Keys(self.folder)
        self.client = self.client_for(self.files.token)
        self._objects = objects.Objects(self.client)
        self.etcd = self._server("etcd", self._etcd, self._etcd_ready)
        self.api = self._server("kube-apiserver", self._api_server, self._api_ready)
        # These three find the API server by the kubeconfig file; the last two need no waiting for.
        self.controllers = self._server(
            "kube-controller-manager",
            lambda: commands.controllers(self.version, self.kubeconfig, self.files),
            self._controllers_ready,
        )
        self.scheduler = self._server(
            "kube-scheduler",
            lambda: commands.scheduler(self.version, self.kubeconfig),
            lambda: True,
        )
        self.kwok = self._server("kwok", lambda: commands.kwok(self.kubeconfig), lambda: True)

    @property
    def url(self) -> str:
        """Return the API server's address."""
        return f"https://{self.address}:{self.port}"

    @property
    def etcd_url(self) -> str:
        """Return etcd's address."""
        return f"http://127.0.0.1:{self.etcd_port}"

    @property
    def ca_file(self) -> Path:
        """Return the authority that signed the API server's certificate."""
        return self.files.ca_file

    @property
    def token(self) -> str:
        """Return the token of the administrator, who is in system:masters."""
        return self.files.token

    @property
    def kubeconfig(self) -> Path:
        """Return the administrator's kubeconfig file."""
        return self.folder / "admin.kubeconfig"

    @property
    def servers(self) -> list[Server]:
        """Return its servers in the order in which they start."""
        servers = [self.etcd, self.api]
        if self.with_controllers:
            servers += [self.controllers, self.scheduler, self.kwok]
        return servers

    def start(self) -> None:
        """Start all of it and wait until it is ready. Raises Missing."""
        self.files.kubeconfig("admin", url=self.url, token=self.token)
        # The API server tries etcd until that answers, and takes longer to start.
        self.etcd.launch()
        self.api.launch()
        self.etcd.wait()
        self.api.wait()
        for act in (Server.launch, Server.wait):
            for server in self.servers[2:]:
                act(server)

    def stop(self, *, kill: bool = False) -> None:
        """End all of it in good order, or kill -9; its data stay. Idempotent."""
        for server in reversed(self.servers):
            server.stop(kill=kill)

    def leave(self) -> None:
        """Let it go on to the session's end. Idempotent."""
        for server in self.servers:
            server.leave()

    def restart(self, *, kill: bool = False) -> None:
        """Stop and start it with the same ports, keys and data."""
        self.stop(kill=kill)
        self.start()

    def compact(self) -> None:
        """Have etcd forget all but the newest revisions: older versions of resources are gone."""
        status = self._etcd_call("/v3/maintenance/status")
        self._etcd_call("/v3/kv/compaction", revision=status["header"]["revision"], physical=True)

    def apply(
        self,
        manifests: objects.Manifest | Iterable[objects.Manifest],
        *,
        subresource: str | None = None,
    ) -> list[dict[str, Any]]:
        """Apply one or many on the server's side, in their order. Raises objects.Refused."""
        return self._objects.apply(manifests, subresource=subresource)

    def delete(self, manifests: objects.Manifest | Iterable[objects.Manifest]) -> None:
        """Delete one or many at once; what is not there is fine.

        A namespace is emptied and goes only where controllers run.
        """
        self._objects.delete(manifests)

    def get(
        self, api_version: str, kind: str, name: str, namespace: str | None = None
    ) -> dict[str, Any] | None:
        """Return an object, None where there is none."""
        return self._objects.get(api_version, kind, name, namespace)

    def all_of(
        self, api_version: str, kind: str, namespace: str | None = None
    ) -> list[dict[str, Any]]:
        """Return all objects of a kind, of one namespace or of all."""
        return self._objects.all_of(api_version, kind, namespace)

    def until(self, look: Callable[[], Value], *, what: str, seconds: float = 60.0) -> Value:
        """Return the first true answer of `look`, though the API server may be away meanwhile."""
        gone = (httpx.TransportError, objects.Refused)
        return waiting.until(look, what=what, seconds=seconds, every=0.05, despite=gone)

    def service_account_token(
        self, namespace: str, name: str, *, seconds: int = TOKEN_SECONDS
    ) -> str:
        """Return a new token of a service account that is there. Raises objects.Refused."""
        response = self.client.post(
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token",
            json={
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {"expirationSeconds": seconds},
            },
        )
        return str(objects.answer(response)["status"]["token"])

    def kubeconfig_for(self, token: str, name: str = "user") -> Path:
        """Write a kubeconfig file for a token and return it."""
        return self.files.kubeconfig(name, url=self.url, token=token)

    def client_for(self, token: str) -> httpx.Client:
        """Return a client that shows a token; close it."""
        return httpx.Client(
            base_url=self.url,
            verify=self.files.trust(),
            headers={"Authorization": f"Bearer {token}"},
            timeout=ANSWER_SECONDS,
            trust_env=False,
        )

    def _server(
        self, name: str, command: Callable[[], list[str]], ready: Callable[[], bool]
    ) -> Server:
        return Server(name=name, folder=self.folder, command=command, ready=ready)

    def _etcd(self) -> list[str]:
        return commands.etcd(
            name=self._name,
            data=self.folder / "etcd",
            url=self.etcd_url,
            peer_url=f"http://127.0.0.1:{self.peer_port}",
        )

    def _api_server(self) -> list[str]:
        return commands.api_server(
            self.version,
            etcd=self.etcd_url,
            address=self.address,
            port=self.port,
            files=self.files,
        )

    def _etcd_ready(self) -> bool:
        # Another etcd on the port would be as ready, and the API server would write into that.
        try:
            members = self._etcd_call("/v3/cluster/member/list")["members"]
        except httpx.HTTPError:
            return False
        return [each.get("name") for each in members] == [self._name]

    def _api_ready(self) -> bool:
        try:
            return self.client.get("/readyz").is_success
        except httpx.TransportError:
            return False

    def _controllers_ready(self) -> bool:
        try:
            return self.get("v1", "ServiceAccount", "default", "default") is not None
        except (httpx.TransportError, objects.Refused):
            return False

    def _etcd_call(self, path: str, **fields: Any) -> dict[str, Any]:
        response = httpx.post(
            self.etcd_url + path, json=fields, timeout=ANSWER_SECONDS, trust_env=False
        )
        answer: dict[str, Any] = response.raise_for_status().json()
        return answer

    @property
    def _name(self) -> str:
        """Return a name that no other instance has."""
        return f"picket-{self.token[:12]}"


def new(
    folder: Path,
    *,
    version: str = programs.DEFAULT,
    address: str = "127.0.0.1",
    addresses: tuple[str, ...] = (),
    with_controllers: bool = False,
) -> ControlPlane:
    """Make one of its own in an empty or missing folder, not yet started. Raises Missing."""
    # Whatever must be built is built before anything runs.
    programs.etcd()
    programs.api_server(version)
    if with_controllers:
        programs.controllers(version)
        programs.scheduler(version)
        programs.kwok()
    keys.make(folder, (address, *addresses))
    return ControlPlane(
        folder=folder,
        version=version,
        address=address,
        addresses=addresses,
        with_controllers=with_controllers,
        port=ports.steady(address),
        etcd_port=ports.steady(),
        peer_port=ports.steady(),
    )


@contextlib.contextmanager
def running(
    folder: Path,
    *,
    version: str = programs.DEFAULT,
    address: str = "127.0.0.1",
    addresses: tuple[str, ...] = (),
    with_controllers: bool = False,
) -> Iterator[ControlPlane]:
    """Run one of one's own. Raises Missing."""
    cluster = new(
        folder,
        version=version,
        address=address,
        addresses=addresses,
        with_controllers=with_controllers,
    )
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop(kill=True)
        cluster.client.close()
        shutil.rmtree(folder, ignore_errors=True)
