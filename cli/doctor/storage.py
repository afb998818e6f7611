"""The log and the database: whether they answer, and who is behind."""

from collections.abc import Iterator

from alert_api import database
from alert_api import settings as alert_api
from bus import opening, port
from cli import stages
from cli.doctor.finding import About, Finding
from runtime.errors import UserError
from schemas import topics

GROUPS = {topics.FLOWS.name: "picket-enricher", topics.MATCHES.name: "picket-alert-api"}
BEHIND = 10_000
"""Records; more than a minute's work for the slowest stage."""

_LOG, _LAG, _DATABASE = About("log"), About("lag"), About("database")


def examine_log(given: opening.BusSettings) -> Iterator[Finding]:
    """Look at the log, creating nothing."""
    if not given.is_kafka and not opening.file(given.bus).exists():
        yield _LOG.unsure(f"there is none yet at {given.bus}", "picket up makes it")
        return
    try:
        log = stages.opened(given, ensure=False)
    except (UserError, port.LogError) as error:
        yield _LOG.problem(str(error), "check --bus and the settings under [bus]")
        return
    try:
        missing = [topic.name for topic in topics.ALL if not _is_there(log, topic.name)]
        if missing:
            yield _LOG.warning(
                f"{given.bus} answers; {len(missing)} of {len(topics.ALL)} topics are missing",
                "the stages create them where they may; picket topics shows how each must be",
            )
        else:
            yield _LOG.fine(f"{given.bus} answers, with all {len(topics.ALL)} topics")
        if not missing:
            yield _behind(log)
    except port.LogError as error:
        yield _LOG.problem(f"{given.bus}: {error}", "is the broker up, and are we allowed to read?")
    finally:
        log.close()


def _is_there(log: port.Log, topic: str) -> bool:
    try:
        reader = log.reader([topic])
    except port.Misconfigured:
        return False
    try:
        return bool(reader.partitions())
    except port.Misconfigured:
        return False
    finally:
        reader.close()


def _behind(log: port.Log) -> Finding:
    waiting = {}
    for topic, group in GROUPS.items():
        rows = log.lag(group, [topic])
        waiting[topic] = sum(row.end - (row.committed or 0) for row in rows)
    slow = [topic for topic, count in waiting.items() if count > BEHIND]
    if slow:
        return _LAG.warning(
            "; ".join(
                f"{waiting[topic]} records of {topic} wait for {GROUPS[topic]}" for topic in slow
            ),
            "does that stage run, and what does it log? More replicas help, up to the partitions",
        )
    return _LAG.fine("nobody is far behind")


def examine_database(given: alert_api.Settings) -> Iterator[Finding]:
    """Look at the database, creating nothing."""
    url = given.database_url()
    name = url.render_as_string(hide_password=True)
    if url.get_backend_name() == "sqlite" and not opening.file(str(url.database)).exists():
        yield _DATABASE.unsure(f"there is none yet at {url.database}", "picket up makes it")
        return
    try:
        found = database.of(given)
    except UserError as error:
        yield _DATABASE.problem(str(error), "mend the settings under [alert-api]")
        return
    try:
        reason = found.problem()
    finally:
        found.close()
    if reason is None:
        yield _DATABASE.fine(f"{name} answers")
    else:
        yield _DATABASE.problem(
            f"{name}: {reason}", "is it up, does the database exist, and may this user connect?"
        )
