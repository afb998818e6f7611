"""The API server: who we are to it, what we may, and the policies that it holds."""

from collections.abc import Iterator, Mapping
from typing import Any

from agent import apiserver, credentials, discovery, resources, rights, settings
from cli.doctor import alerting
from cli.doctor.finding import About, Finding, listed
from runtime.errors import UserError

PAGE = 500

_SERVER, _RIGHTS, _KINDS = About("API server"), About("rights"), About("kinds")


def examine(given: settings.AgentSettings) -> Iterator[Finding]:
    """Look at the cluster whose policies the agent would read."""
    who = (
        credentials.of_pod()
        if given.in_cluster
        else credentials.of_kubeconfig(given.kubeconfig, given.kube_context)  # type: ignore[arg-type]
    )
    server = apiserver.ApiServer(who)
    try:
        yield from _examine(server, who, given)
    except UserError as error:
        yield _SERVER.problem(str(error), "mend the kubeconfig, or name another one")
    except apiserver.Denied as error:
        yield _SERVER.problem(str(error), "the credentials are not accepted: are they expired?")
    except apiserver.Untrusted as error:
        yield _SERVER.problem(str(error), "check certificate-authority in the kubeconfig")
    except apiserver.ApiError as error:
        yield _SERVER.problem(str(error), "is the address right, and can it be reached from here?")
    finally:
        server.close()


def _examine(
    server: apiserver.ApiServer, who: credentials.Credentials, given: settings.AgentSettings
) -> Iterator[Finding]:
    version = server.get("/version").get("gitVersion", "of unknown version")
    yield _SERVER.fine(f"{server.url} answers, Kubernetes {version} ({who.origin})")
    config = resources.cilium_config(given.cilium_namespace, given.cilium_config)
    wanted = (config, *resources.OBJECTS, resources.POD)
    missing = rights.missing(who, wanted)
    if missing:
        yield _RIGHTS.problem(
            f"{len(missing)} are missing: " + listed(map(_name, missing), most=3),
            "grant them as examples/kubernetes/agent-rbac.yaml does; the first is the rule "
            + missing[0].rule(),
        )
    else:
        yield _RIGHTS.fine(f"all {len(wanted)} kinds may be listed and watched")
    versions = {each: discovery.version(server, each) for each in resources.OBJECTS}
    if absent := [each.kind for each, served in versions.items() if served is None]:
        yield _KINDS.warning(
            f"not served: {listed(absent)}",
            "is Cilium installed? Its definitions come with its operator; they are read once they"
            " are there",
        )
    readable = {
        each: served
        for each, served in versions.items()
        if served is not None and each not in missing and each.kind in alerting.KINDS
    }
    yield alerting.counted(
        manifest for each, served in readable.items() for manifest in _objects(server, each, served)
    )


def _objects(
    server: apiserver.ApiServer, resource: resources.Resource, version: str
) -> Iterator[Mapping[str, Any]]:
    """Yield all objects of a kind, in pages."""
    query: dict[str, str | int] = {"limit": PAGE}
    while True:
        page = server.get(resource.path(version), query)
        for item in page.get("items") or ():
            yield {"kind": resource.kind, **item}
        following = (page.get("metadata") or {}).get("continue")
        if not following:
            return
        query["continue"] = following


def _name(resource: resources.Resource) -> str:
    return f"{resource.plural}.{resource.group}" if resource.group else resource.plural
