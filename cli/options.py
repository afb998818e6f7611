"""Options that several commands share."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from bus import opening
from cli import flags, stages, state
from cli.output import Output
from runtime import logs

Config = Annotated[
    Path | None,
    typer.Option("--config", help="TOML file with a table for each stage.", metavar="FILE"),
]
StateFolder = Annotated[
    Path | None,
    typer.Option(
        "--state",
        help="Folder of log, alerts and token; $XDG_STATE_HOME/picket unless given.",
        metavar="DIR",
    ),
]
OutputFormat = Annotated[
    Output, typer.Option("--output", "-o", help="How the data is printed.", metavar="FORMAT")
]
LogLevel = Annotated[
    logs.LogLevel, typer.Option("--log-level", help="The lowest level that is written.")
]
LogFormat = Annotated[
    logs.LogFormat,
    typer.Option("--log-format", help="auto writes text on a terminal and JSON elsewhere."),
]


def bus(
    context: typer.Context, values: dict[str, Any], config: Path | None, folder: state.State
) -> opening.BusSettings:
    """Return which log to open: as given, else the one in the state folder."""
    return opening.BusSettings.load(
        stages.BUS.name,
        flags=flags.given(context, stages.BUS, values),
        environment=os.environ,
        file=config,
        defaults={"bus": str(folder.log)},
    )


def state_folder(given: Path | None) -> state.State:
    """Return the state folder that the option and the environment name."""
    return state.folder(os.environ, given)


def path(given: str | None) -> Path | None:
    """Return a path as the shell would have made it."""
    return Path(given).expanduser() if given else None
