"""`picket up`: all stages as children of this process, and what they found on the terminal."""

import fcntl
import os
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from bus import opening, port
from cli import faults, flags, options, outputs, signals, stages, state, tomltext, watching
from cli.settings import UpSettings, address
from runtime import logs
from runtime.errors import UserError
from runtime.settings import Settings
from runtime.supervisor import Child, Supervisor

SECTION = flags.Section("up", UpSettings, "What to watch")
VARIABLES = "PICKET_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """All settings, checked."""

    up: UpSettings
    bus: opening.BusSettings
    stages: Mapping[str, Settings]
    state: state.State


def up(
    context: typer.Context,
    *,
    state: options.StateFolder = None,
    config: options.Config = None,
    log_level: options.LogLevel = logs.LogLevel.INFO,
    **values: Any,
) -> None:
    """Run everything on this machine: from flows and policies to alerts, until Ctrl-C.

    picket up --flows capture.jsonl.gz --policies manifests/

    picket up --relay 127.0.0.1:4245 --policies manifests/

    picket up --relay 127.0.0.1:4245 --kubeconfig ~/.kube/config

    Run again, it goes on where it was: nothing is counted twice.
    """
    logs.configure(logs.LogLevel.ERROR, logs.LogFormat.AUTO)
    stop = threading.Event()
    # Until there are stages nothing depends on a good ending, and Kafka may take its time.
    signals.stopping(stop, again=lambda: os._exit(faults.INTERRUPTED))
    whole = settings(context, values, config, options.state_folder(state))
    whole.state.prepare()
    with _alone(whole.state), stages_file(whole) as file:
        _check_listen(whole.up.listen)
        log = stages.opened(whole.bus)
        try:
            run(whole, log, file, log_level, stop)
        finally:
            log.close()


def settings(
    context: typer.Context, values: dict[str, Any], config: Path | None, folder: state.State
) -> Whole:
    """Read the settings of everything, so that nothing starts where anything is wrong."""
    chosen = UpSettings.load(
        SECTION.name,
        flags=flags.given(context, SECTION, values),
        environment=os.environ,
        file=config,
    )
    if (chosen.flows is None) == (chosen.relay is None):
        raise UserError("give either --flows FILE or --relay HOST:PORT (see picket up --help)")
    if chosen.flows not in {None, "-"} and not Path(str(chosen.flows)).exists():
        raise UserError(f"there is no capture {chosen.flows}")
    if (chosen.policies is None) == (chosen.kubeconfig is None):
        raise UserError("give either --policies FOLDER or --kubeconfig FILE (see picket up --help)")
    given = told(chosen, folder)
    return Whole(
        up=chosen,
        bus=options.bus(context, values, config, folder),
        stages={
            stage.name: stage.settings.load(
                stage.name,
                flags=given[stage.name],
                environment=os.environ,
                file=config,
                defaults=defaults(stage, folder),
            )
            for stage in stages.STAGES
        },
        state=folder,
    )


def told(chosen: UpSettings, folder: state.State) -> dict[str, dict[str, Any]]:
    """Return what each stage is told by the settings of the whole."""
    host, number = address(chosen.listen)
    database = chosen.database or f"sqlite:///{folder.alerts}"
    found: dict[str, dict[str, Any]] = {
        stages.AGENT.name: {"cluster": chosen.cluster, **_policies(chosen)},
        stages.ALERT_API.name: {"host": host, "port": number, "database": database},
        stages.ENRICHER.name: {},
        stages.COLLECTOR.name: {"cluster": chosen.cluster},
    }
    if chosen.relay is not None:
        found[stages.COLLECTOR.name]["relay"] = chosen.relay
    elif chosen.flows is not None:
        flows = {"flows": _absolute(chosen.flows), "follow": chosen.follow}
        found[stages.COLLECTOR.name] |= flows
    if chosen.gitlab is not None:
        found[stages.ALERT_API.name]["gitlab"] = chosen.gitlab
    return found


def run(
    whole: Whole, log: port.Log, file: Path, level: logs.LogLevel, stop: threading.Event
) -> None:
    """Start the stages, tell what they find, and stop them in reverse."""
    with outputs.opened(whole.state.output, [stage.name for stage in stages.STAGES]) as files:
        terminal = watching.Terminal(whole.up, whole.state, log, level)
        state.write_private(whole.state.api, terminal.base + "\n")
        supervisor = Supervisor(
            children=tuple(child(stage, file, level) for stage in stages.STAGES),
            environment=environment(),
            listener=terminal.listener(files),
            crashed=terminal.crashed,
        )
        signals.stopping(stop, again=supervisor.kill)
        try:
            supervisor.start()
            terminal.run(supervisor, stop)
        finally:
            terminal.stopping()
            supervisor.close()


def child(stage: stages.Stage, file: Path, level: logs.LogLevel) -> Child:
    """Return how a stage is started: by this interpreter, told everything by a private file."""
    return Child(
        name=stage.name,
        # -P: a folder called cli where the user stands is none of ours.
        command=(sys.executable, "-P", "-m", "cli.child", stage.name, str(file), level.value),
        keeps_stdin=stage is stages.COLLECTOR,
    )


def environment() -> dict[str, str]:
    """Return the children's environment: our settings are in their file, and nowhere else."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(VARIABLES)}
    root = str(Path(__file__).parent.parent)
    paths = [root, *filter(None, kept.get("PYTHONPATH", "").split(os.pathsep))]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


@contextmanager
def stages_file(whole: Whole) -> Iterator[Path]:
    """Write what the stages are told into a file that only its owner reads, for as long."""
    tables = {"bus": whole.bus.model_dump(mode="json")}
    tables |= {name: part.model_dump(mode="json") for name, part in whole.stages.items()}
    path = whole.state.settings
    state.write_private(path, tomltext.document(tables))
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _alone(folder: state.State) -> Iterator[None]:
    """Hold the state folder: two of us would only fence each other."""
    path = folder.folder / "up.lock"
    with path.open("a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            stream.seek(0)
            owner = stream.read().strip() or "unknown"
            raise UserError(
                f"picket up (process {owner}) is using {folder.folder}; stop it, or give --state"
            ) from None
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield


def _check_listen(listen: str) -> None:
    """Say at once what the API would say later: that its port is taken."""
    host, number = address(listen)
    try:
        family = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, number))
    except OSError as error:
        raise UserError(
            f"cannot listen on {listen}: {error.strerror}; give another one by --listen"
        ) from error


def defaults(stage: stages.Stage, folder: state.State) -> dict[str, Any]:
    """Return what a stage is told where nothing else says it."""
    return {"token_file": str(folder.token)} if stage is stages.ALERT_API else {}


def _policies(chosen: UpSettings) -> dict[str, str]:
    """Return where the agent reads, as its own settings call it."""
    given = {
        "policies": chosen.policies,
        "kubeconfig": chosen.kubeconfig,
        "kube_context": chosen.kube_context,
    }
    return {name: str(value) for name, value in given.items() if value is not None}


def _absolute(flows: str | None) -> str:
    return "-" if flows in {None, "-"} else str(Path(str(flows)).absolute())
