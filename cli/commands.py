"""All commands of `picket`, with their help."""

import importlib.metadata
import os
import platform
from typing import Any

import typer

from cli import alerts as alert_commands
from cli import flags, options, stages
from cli import flows as flow_commands
from cli import topics as topic_commands
from cli import up as up_command
from cli.doctor import command as doctor_command
from cli.policy import group as policy_group
from runtime import logs

ABOUT = (
    "Tells the owners of network policies what their policies stop.\n\n"
    "Picket reads flows from Hubble, matches them against the policies that ask for it, and turns"
    " them into alerts: in a list, on a page, and in GitLab.\n\n"
    "picket up --flows examples/shop.jsonl.gz --policies examples/policies --cluster demo"
)

RUN, STAGES, LOOK = "Run", "Stages, each a process of its own", "Look"

app = typer.Typer(
    name="picket",
    help=ABOUT,
    no_args_is_help=False,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _picket(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _stage_command(stage: stages.Stage) -> None:
    sections = (stage.section, stages.BUS)
    section = stage.section

    def body(
        context: typer.Context,
        *,
        config: options.Config = None,
        state: options.StateFolder = None,
        log_level: options.LogLevel = logs.LogLevel.INFO,
        log_format: options.LogFormat = logs.LogFormat.AUTO,
        **values: Any,
    ) -> None:
        logs.configure(log_level, log_format)
        folder = options.state_folder(state)
        settings = stage.settings.load(
            section.name,
            flags=flags.given(context, section, values),
            environment=os.environ,
            file=config,
        )
        stages.run(stage, settings, options.bus(context, values, config, folder))

    prefix = f"PICKET_{stage.name.upper().replace('-', '_')}_"
    body.__doc__ = (
        f"{stage.summary}\n\nEvery setting may also stand in the environment as {prefix}…, or in"
        f" table \\[{stage.name}] of the file that --config names. Flags win over the environment,"
        " which wins over the file."
    )
    app.command(stage.name, rich_help_panel=STAGES, short_help=stage.summary)(
        flags.command(body, sections)
    )


app.command("up", rich_help_panel=RUN)(
    flags.command(up_command.up, (up_command.SECTION, stages.BUS))
)
for _stage in reversed(stages.STAGES):
    _stage_command(_stage)

app.command("doctor", rich_help_panel=LOOK)(
    flags.command(doctor_command.doctor, (up_command.SECTION, stages.BUS))
)

_alerts = typer.Typer(help="List alerts, or show one.", no_args_is_help=True)
_alerts.command("list")(alert_commands.list_alerts)
_alerts.command("show")(alert_commands.show)
app.add_typer(_alerts, name="alerts", rich_help_panel=LOOK)

app.command("flows", rich_help_panel=LOOK)(flags.command(flow_commands.flows, (stages.BUS,)))

app.add_typer(policy_group.app, name="policy", rich_help_panel=LOOK)

_topics = typer.Typer(help="List the topics of the log, or show one.")
_topics.callback(invoke_without_command=True)(
    flags.command(topic_commands.list_topics, (stages.BUS,))
)
_topics.command("show")(flags.command(topic_commands.show, (stages.BUS,)))
app.add_typer(_topics, name="topics", rich_help_panel=LOOK)


@app.command("version", rich_help_panel=LOOK)
def version() -> None:
    """Print the version of Picket, and of the Python that runs it."""
    try:
        number = importlib.metadata.version("picket")
    except importlib.metadata.PackageNotFoundError:
        number = "unknown (run from a folder that was not installed)"
    typer.echo(f"picket {number}, Python {platform.python_version()}")
