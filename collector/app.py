"""Putting the collector together: the only place that makes its parts."""

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

import prometheus_client

from bus import port
from collector import capture_file, instants, redaction, relay_channel, relay_renewal, sources
from collector.capture_source import CaptureSource, Progress
from collector.metrics import Metrics
from collector.relay_source import RelaySource
from collector.session import Setup
from collector.settings import STDIN, CollectorSettings
from collector.stage import Stage
from runtime import clock, health, lifecycle
from runtime.errors import UserError
from schemas import topics

SWITCH_SECONDS = 0.00005
"""How long a thread waits before it asks the one that runs to let go.

The stream's thread lets go of the interpreter at every message and takes it back before another
thread has woken, so that the others wake up in vain until they ask. With Python's 5 ms that costs
about a tenth of the CPU time.
"""
USED = (topics.FLOWS, topics.COLLECTOR, topics.DEADLETTER)


def build(
    settings: CollectorSettings,
    *,
    log: port.Log,
    clock: clock.Clock = clock.SYSTEM,
    registry: prometheus_client.CollectorRegistry = prometheus_client.REGISTRY,
    progress: Callable[[Progress], None] | None = None,
    stdin: BinaryIO | None = None,
) -> lifecycle.App:
    """Return the collector of one cluster. It ends by itself only at the end of a capture.

    `progress` is called on the running thread after each transaction of a capture. Raises
    UserError where a file of the settings cannot be used; Misconfigured, Unavailable as the log.
    """
    log.ensure(USED)
    metrics = Metrics(registry)
    stage = Stage(
        setup=Setup(
            cluster=settings.cluster,
            cluster_uid=settings.cluster_uid,
            writer_name=f"{socket.gethostname()}/{os.getpid()}",
            log=log,
            source=_source(settings, clock=clock, metrics=metrics, progress=progress, stdin=stdin),
            time=clock,
            metrics=metrics,
            batch_bytes=settings.batch_bytes,
            delay=settings.delay_ms / 1000,
            checkpoint_every=settings.checkpoint_seconds,
            redact=redaction.redact if settings.redact else None,
        ),
        may_stand_by=settings.standby,
    )
    parts: tuple[lifecycle.Part, ...] = ()
    if settings.health_port:
        parts = (
            health.HealthServer(
                host=settings.health_host, port=settings.health_port, registry=registry
            ),
        )
    return lifecycle.App(name="collector", run=stage.run, parts=parts)


def _source(
    settings: CollectorSettings,
    *,
    clock: clock.Clock,
    metrics: Metrics,
    progress: Callable[[Progress], None] | None,
    stdin: BinaryIO | None,
) -> sources.Source:
    if settings.flows is not None:
        if settings.flows != STDIN:
            _check_file(Path(settings.flows))
        return CaptureSource(
            file=capture_file.Capture(settings.flows, stdin or cast("BinaryIO", sys.stdin.buffer)),
            follow=settings.follow,
            filters=settings.wanted,
            time=clock,
            progress=progress,
        )
    sys.setswitchinterval(SWITCH_SECONDS)
    relay = relay_channel.connect(settings)
    relay_renewal.follow(relay, settings, time=clock, metrics=metrics)
    return RelaySource(
        relay=relay,
        filters=settings.wanted,
        limit=settings.buffer_bytes,
        retention=instants.of_seconds(settings.retention_hours * 3600),
        time=clock,
        metrics=metrics,
        name=f"relay {settings.relay}",
        read_ahead=settings.read_ahead,
    )


def _check_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder, not a capture")
        with path.open("rb"):
            pass
    except OSError as error:
        raise UserError(f"cannot read the capture {path}: {error.strerror}") from None
