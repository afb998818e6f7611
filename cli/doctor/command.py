"""`picket doctor`: runs the examinations and prints what they found."""

import dataclasses
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from bus import opening
from cli import flags, options, output, stages, state, up
from cli.doctor import alerting, gitlab, hubble, storage
from cli.doctor.finding import About, Finding, State
from cli.output import Output
from cli.settings import UpSettings
from collector import instants
from runtime import logs
from runtime.clock import SYSTEM
from runtime.errors import UserError

SIGNS = {
    State.FINE: ("✓", "green"),
    State.UNSURE: ("?", "cyan"),
    State.WARNING: ("!", "yellow"),
    State.PROBLEM: ("✗", "bold red"),
    State.LEFT_OUT: ("-", "dim"),
}


def doctor(
    context: typer.Context,
    *,
    style: options.OutputFormat = Output.TABLE,
    state: options.StateFolder = None,
    config: options.Config = None,
    **values: Any,
) -> None:
    """Look at everything that Picket stands on, and say what to do next.

    It takes what `picket up` takes, and --config as the stages do: put doctor in place of up.
    Nothing is created or changed. Exit code 1 where anything does not work.

    picket doctor --relay 127.0.0.1:4245 --kubeconfig ~/.kube/config
    """
    logs.configure(logs.LogLevel.ERROR, logs.LogFormat.AUTO)
    folder = options.state_folder(state)
    asked = Asked(
        chosen=UpSettings.load(
            up.SECTION.name,
            flags=flags.given(context, up.SECTION, values),
            environment=os.environ,
            file=config,
        ),
        bus=options.bus(context, values, config, folder),
        folder=folder,
        config=config,
    )
    found: list[Finding] = []
    console = output.console()
    for finding in asked.findings():
        found.append(finding)
        if style is Output.TABLE:
            _print(console, finding)
    if style is Output.TABLE:
        _sum_up(console, found)
    else:
        output.data([dataclasses.asdict(finding) for finding in found], style)
    if any(finding.state is State.PROBLEM for finding in found):
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be looked at."""

    chosen: UpSettings
    bus: opening.BusSettings
    folder: state.State
    config: Path | None

    def findings(self) -> Iterator[Finding]:
        """Yield what is found, from the flows to GitLab."""
        yield from self._flows()
        yield from self._policies()
        yield from storage.examine_log(self.bus)
        yield from self._alerts()

    def _flows(self) -> Iterator[Finding]:
        about = About("relay")
        settings = self._settings(stages.COLLECTOR)
        if isinstance(settings, UserError):
            yield self._not_given(about, settings, "--relay HOST:PORT")
        elif settings.relay is None:
            yield about.left_out("flows come from a capture", "--relay HOST:PORT")
        else:
            yield from hubble.examine(settings, now=instants.of_seconds(SYSTEM.now()))

    def _policies(self) -> Iterator[Finding]:
        settings = self._settings(stages.AGENT)
        if isinstance(settings, UserError):
            yield self._not_given(
                About("policies"), settings, "--kubeconfig FILE or --policies DIR"
            )
        elif settings.policies is not None:
            yield from alerting.examine(settings.policies)
        else:
            # The client of the API server takes its time to load.
            from cli.doctor import cluster  # noqa: PLC0415

            yield from cluster.examine(settings)

    def _alerts(self) -> Iterator[Finding]:
        settings = self._settings(stages.ALERT_API)
        if isinstance(settings, UserError):
            yield self._not_given(About("database"), settings, "--database URL")
            return
        yield from storage.examine_database(settings)
        if not settings.gitlab:
            yield About("GitLab").left_out(
                "no project is given",
                "alerts stay in Picket's own list; [[alert-api.gitlab]] adds one",
            )
        for project in settings.gitlab:
            yield from gitlab.examine(project, at=SYSTEM.utc())

    def _settings(self, stage: stages.Stage) -> Any:
        """Return a stage's settings, or the UserError that they are."""
        try:
            return stage.settings.load(
                stage.name,
                flags=up.told(self.chosen, self.folder)[stage.name],
                environment=os.environ,
                file=self.config,
                defaults=up.defaults(stage, self.folder),
            )
        except UserError as error:
            return error

    def _not_given(self, about: About, error: UserError, flag: str) -> Finding:
        if self.config is None and "give " in str(error):
            return about.left_out("none is given", flag)
        return about.problem(str(error), f"mend the settings, or give {flag}")


def _print(console: Console, finding: Finding) -> None:
    sign, colour = SIGNS[finding.state]
    line = Text.assemble((f"{sign} ", colour), (f"{finding.about:<16} ", "bold"), finding.what)
    console.print(line, soft_wrap=True)
    if finding.next:
        console.print(Text(f"{'':<19}→ {finding.next}", "dim"), soft_wrap=True)


def _sum_up(console: Console, found: Sequence[Finding]) -> None:
    count = Counter(finding.state for finding in found)
    words = [
        f"{count[state]} {name}{'s' if count[state] != 1 else ''}"
        for state, name in ((State.PROBLEM, "problem"), (State.WARNING, "warning"))
        if count[state]
    ]
    console.print(" and ".join(words) + "." if words else "Nothing is wrong.")
