"""Who the agent is to the API server, and where that is: a kubeconfig or a pod's service account.

What is read becomes the client library's configuration; nothing is sent. Nothing of what a file
holds gets into a message.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes.client.configuration import Configuration
from kubernetes.config import ConfigException, incluster_config, kube_config
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from runtime.errors import UserError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where they come from, for messages, and how they are read; again whenever they may be old."""

    origin: str
    load: Callable[[], Configuration]
    """Raises UserError."""


def of_kubeconfig(path: Path, context: str | None) -> Credentials:
    """Return those of a context of a kubeconfig, by default of the current one."""
    origin = f"{path}" + (f" (context {context})" if context else "")
    return Credentials(origin, lambda: _from_kubeconfig(path, context))


def of_pod(folder: Path = SERVICE_ACCOUNT) -> Credentials:
    """Return those of the pod's service account; its token is read anew every minute."""
    return Credentials(f"the service account of this pod ({folder})", lambda: _from_pod(folder))


def _from_pod(folder: Path) -> Configuration:
    configuration = Configuration()
    loader: Any = incluster_config.InClusterConfigLoader  # its methods have no types
    try:
        loader(
            token_filename=str(folder / "token"), cert_filename=str(folder / "ca.crt")
        ).load_and_set(configuration)
    except (ConfigException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"no service account of a pod can be used: {_said(error)}") from None
    return configuration


def _from_kubeconfig(path: Path, context: str | None) -> Configuration:
    document = _document(path)
    name, user = _chosen(path, document, context)
    configuration = Configuration()
    loader: Any = kube_config.KubeConfigLoader
    try:
        loader(
            config_dict=document, active_context=name, config_base_path=str(path.parent)
        ).load_and_set(configuration)
    except (ConfigException, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path}, context {name}: {_said(error)}") from None
    if "exec" in user and not configuration.api_key and not configuration.cert_file:
        # The library only logs what went wrong.
        command = user["exec"].get("command", "") if isinstance(user["exec"], Mapping) else ""
        raise UserError(f"{path}, context {name}: {command or 'exec'} gave no credentials")
    return configuration


def _document(path: Path) -> dict[str, Any]:
    try:
        document = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read kubeconfig {path}: {error.strerror}") from None
    except (YAMLError, ValueError, RecursionError):
        raise UserError(f"{path} is not YAML, so it is no kubeconfig") from None
    if not isinstance(document, dict) or not isinstance(document.get("contexts"), list):
        raise UserError(f"{path} is no kubeconfig: it has no contexts")
    return document


def _chosen(
    path: Path, document: Mapping[str, Any], context: str | None
) -> tuple[str, Mapping[str, Any]]:
    """Return the context's name and its user. Raises UserError."""
    contexts = _named(document, "contexts", "context")
    name = context or document.get("current-context")
    if not name:
        raise UserError(f"{path} has no current context; give --kube-context: {_list(contexts)}")
    if name not in contexts:
        raise UserError(f"{path} has no context {name}; there are: {_list(contexts)}")
    cluster = contexts[name].get("cluster")
    clusters = _named(document, "clusters", "cluster")
    if cluster not in clusters:
        raise UserError(f"{path}, context {name}: there is no cluster {cluster}")
    if not isinstance(clusters[cluster].get("server"), str):
        raise UserError(f"{path}, context {name}: cluster {cluster} has no server")
    user = contexts[name].get("user") or ""
    users = _named(document, "users", "user")
    if user and user not in users:
        raise UserError(f"{path}, context {name}: there is no user {user}")
    return name, users.get(user, {})


def _named(document: Mapping[str, Any], part: str, inner: str) -> dict[str, Mapping[str, Any]]:
    """Return the entries of a kubeconfig's list by their names."""
    found = {}
    for entry in document.get(part) or ():
        if isinstance(entry, Mapping) and isinstance(entry.get(inner), Mapping):
            found[str(entry.get("name"))] = entry[inner]
    return found


def _list(names: Mapping[str, object]) -> str:
    return ", ".join(sorted(names)) or "none"


def _said(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot read {error.filename}: {error.strerror}"
    if isinstance(error, ConfigException):
        return str(error)
    # Such as broken base64: the words of the libraries may show what stands there.
    return "a value cannot be made sense of"
