"""`picket alerts`: the list and one alert, from the API."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from cli import api, options, output
from cli.output import Output
from cli.settings import LISTEN
from runtime.errors import UserError

DEFAULT_API = f"http://{LISTEN}"
DEFAULT_LIMIT = 50
SEARCHED = 1000
"""How many of the newest alerts a shortened id is looked for among."""
FOUND = 1
"""The exit code where alerts are open: a script can ask without reading."""
_OPEN = {"triggered", "acknowledged"}
_COLOURS = {
    "critical": "bold red",
    "high": "red",
    "medium": "yellow",
    "low": "cyan",
    "info": "blue",
}

ApiAddress = Annotated[
    str | None,
    typer.Option(
        "--api",
        help=f"Address of the alert API; where picket up last served it, or http://{LISTEN}.",
        metavar="URL",
        envvar="PICKET_ALERTS_API",
    ),
]
TokenFile = Annotated[
    str | None,
    typer.Option(
        "--token-file",
        help="File with the API's token; the state folder's unless given.",
        metavar="FILE",
    ),
]


def list_alerts(
    *,
    status: Annotated[
        list[str] | None,
        typer.Option("--status", help="triggered, acknowledged, resolved, ignored, pending."),
    ] = None,
    severity: Annotated[
        list[str] | None, typer.Option("--severity", help="critical, high, medium, low, info.")
    ] = None,
    project: Annotated[str, typer.Option("--project", help="GitLab project id.")] = "",
    policy: Annotated[str, typer.Option("--policy", help="Name of the policy.")] = "",
    namespace: Annotated[str, typer.Option("--namespace", "-n")] = "",
    cluster: Annotated[str, typer.Option("--cluster")] = "",
    text: Annotated[str, typer.Option("--text", help="Words of the title.")] = "",
    sort: Annotated[str, typer.Option("--sort", help="Such as -last_seen or events.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = DEFAULT_LIMIT,
    style: options.OutputFormat = Output.TABLE,
    address: ApiAddress = None,
    token_file: TokenFile = None,
    state: options.StateFolder = None,
) -> int:
    """List alerts. Exit code 1 where any of those listed is open, 0 where none is."""
    wanted = {
        "status": status,
        "severity": severity,
        "project": project,
        "policy": policy,
        "namespace": namespace,
        "cluster": cluster,
        "text": text,
        "sort": sort,
    }
    with _api(address, token_file, state) as client:
        parameters = {name: value for name, value in wanted.items() if value}
        # One more than is shown tells whether there are more.
        found = list(client.alerts(parameters, limit=limit + 1))
    more, found = len(found) > limit, found[:limit]
    if style is Output.TABLE:
        console = output.console()
        console.print(table(found) if found else "No alerts.")
        if more:
            console.print(f"There are more than these {limit}: --limit N shows N of them.")
    else:
        output.data(found, style)
    return FOUND if any(alert["status"] in _OPEN for alert in found) else 0


def show(
    alert: Annotated[str, typer.Argument(help="Its id, or the first characters of it.")],
    *,
    style: options.OutputFormat = Output.TABLE,
    address: ApiAddress = None,
    token_file: TokenFile = None,
    state: options.StateFolder = None,
) -> int:
    """Show one alert: what was stopped, by which rule, from where, and when."""
    with _api(address, token_file, state) as client:
        found = _one(client, alert)
    if style is Output.TABLE:
        output.console().print(details(found))
    else:
        output.data(found, style)
    return FOUND if found["status"] in _OPEN else 0


def table(alerts: Sequence[Mapping[str, Any]]) -> Table:
    """Return the list for people, in the order given."""
    made = output.table(
        ("EVENTS", "SEVERITY", "STATUS", "ALERT", "PROJECT", "LAST SEEN", "ID"),
        [],
        right={"EVENTS"},
    )
    for alert in alerts:
        severity = str(alert["severity"])
        made.add_row(
            Text(str(alert["events"]), style="bold"),
            Text(severity, style=_COLOURS.get(severity, "")),
            Text(str(alert["status"])),
            Text(str(alert["title"])),
            Text(str(alert["project"])),
            Text(_time(alert["last_seen"])),
            Text(str(alert["id"])[:8]),
        )
    return made


def details(alert: Mapping[str, Any]) -> Group:
    """Return one alert for people."""
    facts = [
        ("status", f"{alert['status']}, {alert['severity']}"),
        ("events", f"{alert['events']}"),
        ("policy", f"{alert['policy']['kind']} {policy_name(alert['policy'])}"),
        ("project", alert["project"]),
        ("cluster", alert["cluster"]),
        ("seen", f"{_time(alert['first_seen'])} to {_time(alert['last_seen'])}"),
        ("reason", f"{alert['reason']}, {alert['direction']}"),
        ("id", alert["id"]),
    ]
    if alert.get("runbook"):
        facts.append(("runbook", alert["runbook"]))
    parts: list[Any] = [Text(str(alert["title"]), style="bold"), output.table(("", ""), facts)]
    if alert.get("findings"):
        parts += [Text("\nWhy", style="bold")]
        parts += [
            Text(f"  {policy_name(one['policy'])} {one['path']}: {one['why']}")
            for one in alert["findings"]
        ]
    if alert.get("ports"):
        ports = [(one["count"], f"{one['protocol']} {one['port']}") for one in alert["ports"]]
        parts += [Text(""), output.table(("FLOWS", "PORT"), ports, right={"FLOWS"})]
    if alert.get("peers"):
        peers = [(one["count"], one["address"], one.get("name", "")) for one in alert["peers"]]
        parts += [Text(""), output.table(("FLOWS", "ADDRESS", "NAME"), peers, right={"FLOWS"})]
    return Group(*parts)


def policy_name(policy: Mapping[str, Any]) -> str:
    """Return namespace and name, or the name alone of a clusterwide one."""
    return f"{policy['namespace']}/{policy['name']}" if policy.get("namespace") else policy["name"]


def print_list(console: Console, alerts: Sequence[Mapping[str, Any]]) -> None:
    """Print the list on a console that someone else uses as well."""
    console.print(table(alerts))


def _one(client: api.Api, alert: str) -> dict[str, Any]:
    """Return an alert by its id, or by the beginning of it where only one fits."""
    try:
        found: dict[str, Any] = client.get(_path(alert))
    except api.Unknown:
        known = (str(other["id"]) for other in client.alerts({}, limit=SEARCHED))
        fitting = [other for other in known if other.startswith(alert)]
        if not fitting:
            raise
        if len(fitting) > 1:
            raise UserError(
                f"{len(fitting)} alerts begin with {alert}; give more of the id"
            ) from None
        found = client.get(_path(fitting[0]))
    return found


def _path(alert: str) -> str:
    return f"/api/v1/alerts/{quote(alert, safe='')}"


def _api(address: str | None, token_file: str | None, folder: Path | None) -> api.Api:
    chosen = options.state_folder(folder)
    if address is None:
        known = chosen.api
        address = known.read_text(encoding="utf-8").strip() if known.exists() else DEFAULT_API
    return api.Api(address, options.path(token_file) or chosen.token)


def _time(value: object) -> str:
    """Return a time of the API in the reader's own zone, to the second."""
    return f"{datetime.fromisoformat(str(value)).astimezone():%Y-%m-%d %H:%M:%S}"
