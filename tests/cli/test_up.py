"""`picket up` as a new user meets it: real processes, the real example."""

import contextlib
import gzip
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess

import httpx
import jsonschema
import psutil
import pytest

from bus import embedded, port
from schemas import jsonschemas, topics
from tests.cli import stand
from tests.parts import ports
from tests.waiting import until

EXAMPLE = ("--flows", stand.EXAMPLES / "shop.jsonl.gz", "--cluster", "demo")

pytestmark = pytest.mark.slow


def test_the_example_gives_its_seven_alerts_and_twice_the_same(tmp_path):
    """Exactly the counts of the recording, printed and in the API; run again, it resumes."""
    with stand.running(tmp_path, *EXAMPLE) as up:
        up.ready()
        assert up.printed_counts() == stand.COUNTS
        assert up.counts() == stand.COUNTS
        assert "7 alerts, 136 stopped flows" in up.text
        ids = {alert["id"] for alert in up.alerts()}
        titles = " ".join(alert["title"] for alert in up.alerts())
        assert "bare-no-alert" not in titles
    assert up.process.returncode == 0
    with stand.running(tmp_path, *EXAMPLE) as again:
        again.ready()
        assert again.printed_counts() == stand.COUNTS
        assert {alert["id"] for alert in again.alerts()} == ids
    _check_topics(again.folder / "log.db")


def test_days_later_it_resumes_as_well(tmp_path):
    """The flows themselves are long deleted from the log, and still nothing is read anew."""
    with stand.running(tmp_path, *EXAMPLE) as up:
        up.ready()
    days = 3 * 24 * 3600 * 1000
    with contextlib.closing(sqlite3.connect(up.folder / "log.db")) as sql:
        sql.execute("UPDATE records SET timestamp = timestamp - ?", (days,))
        sql.commit()
    with stand.running(tmp_path, *EXAMPLE) as again:
        assert again.ready().counts() == stand.COUNTS
    log = embedded.EmbeddedLog(again.folder / "log.db")
    reader = log.reader([topics.FLOWS.name])
    assert min(reader.beginning().values()) > 0
    reader.close()
    log.close()


def test_the_state_folder_is_private(tmp_path):
    """Token and settings are for their owner alone, and no process has the token as argument."""
    with stand.running(tmp_path, *EXAMPLE) as up:
        up.ready()
        token = (up.folder / "token").read_text().strip()
        assert f"{up.base}/?token={token}" in up.text
        assert (up.folder / "token").stat().st_mode & 0o777 == 0o600
        assert up.folder.stat().st_mode & 0o077 == 0
        assert (up.folder / "stages.toml").stat().st_mode & 0o777 == 0o600
        arguments = [psutil.Process(pid).cmdline() for pid in up.children().values()]
        assert not any(token in word for words in arguments for word in words)
    assert not (up.folder / "stages.toml").exists()


def test_a_capture_may_come_from_standard_input(tmp_path):
    """A pipe ends where the capture ends."""
    command = ["gzip", "-dc", str(stand.EXAMPLES / "shop.jsonl.gz")]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as source,
        stand.running(tmp_path, "--flows", "-", "--cluster", "demo", stdin=source.stdout) as up,
    ):
        assert up.ready().counts() == stand.COUNTS


def test_a_growing_capture_is_followed(tmp_path):
    """What is appended later is counted, and told as it comes."""
    lines = _example_lines()
    capture = tmp_path / "flows.jsonl"
    capture.write_text("".join(lines[:100]))
    with stand.running(tmp_path, "--flows", capture, "--follow", "--cluster", "demo") as up:
        up.ready()
        with capture.open("a") as stream:
            stream.write("".join(lines[100:]))
        until(lambda: up.counts() == stand.COUNTS, seconds=60)
        told = "medium  shop/db-deny-attacker: evil/attacker → shop/db denied by rule"
        until(lambda: told in up.text.partition(stand.READY)[2])


def test_killing_every_stage_in_turn_changes_no_count(tmp_path):
    """Each is started again, and nothing is lost or counted twice."""
    lines = _example_lines()
    capture = tmp_path / "flows.jsonl"
    capture.write_text("".join(lines[:100]))
    with stand.running(tmp_path, "--flows", capture, "--follow", "--cluster", "demo") as up:
        up.ready()
        step = 250
        for number, stage in enumerate(("collector", "enricher", "alert-api", "agent")):
            with capture.open("a") as stream:
                start = 100 + number * step
                stream.write("".join(lines[start : start + step + 1000 * (number == 3)]))
            before = up.children()
            os.kill(before[stage], signal.SIGKILL)

            def back(stage=stage, before=before):
                found = up.children().get(stage)
                return found is not None and found != before[stage]

            until(back, seconds=30)
        until(lambda: _away_or(up) == stand.COUNTS, seconds=90)


def test_no_stage_outlives_a_killed_supervisor(tmp_path):
    """A picket up that is killed leaves nobody behind, and the next one goes on."""
    with stand.running(tmp_path, *EXAMPLE) as up:
        up.ready()
        children = up.children().values()
        up.process.kill()
        up.process.wait(20)
        until(lambda: not any(psutil.pid_exists(pid) for pid in children), seconds=40)
    with stand.running(tmp_path, *EXAMPLE) as again:
        assert again.ready().counts() == stand.COUNTS


def test_a_broken_policy_is_told_on_the_terminal(tmp_path):
    """With its file and line, while everything else goes on."""
    policies = tmp_path / "policies"
    shutil.copytree(stand.EXAMPLES / "policies", policies)
    (policies / "broken.yaml").write_text("a: [\n b")
    with stand.running(tmp_path, *EXAMPLE, policies=policies) as up:
        up.ready()
        assert up.counts() == stand.COUNTS
        assert "where=broken.yaml:2" in up.text


def test_a_taken_port_is_one_line(tmp_path):
    """Nothing is started, and the line says what to change."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        found = stand.picket(
            *("up", *EXAMPLE, "--policies", stand.EXAMPLES / "policies", "--listen", listen),
            state=tmp_path,
        )
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr == (
        f"picket: cannot listen on {listen}: Address already in use; give another one by --listen\n"
    )


def test_a_second_one_on_the_same_state_is_refused(tmp_path):
    """Two would only fence each other."""
    with stand.running(tmp_path, *EXAMPLE) as up:
        up.ready()
        found = stand.picket(
            *("up", *EXAMPLE, "--policies", stand.EXAMPLES / "policies"),
            *("--listen", f"127.0.0.1:{ports.free()}"),
            state=tmp_path,
        )
        assert found.returncode == 2
        assert f"picket up (process {up.process.pid}) is using" in found.stderr


def test_the_commands_that_look_find_what_was_found(tmp_path):
    """alerts, flows and topics over the state folder of a running picket up."""
    with stand.running(tmp_path, *EXAMPLE) as up:
        up.ready()
        _check_alerts(up)
        flows = stand.picket("flows", "--last", "3", state=tmp_path)
        assert flows.stdout.count(" INGRESS DENIED ") == 3
        audited = stand.picket("flows", "--verdict", "audit", "-n", "shop", state=tmp_path)
        assert audited.stdout.count("AUDITED") == 8
        topics = stand.picket("topics", "show", "policies", "-o", "json", state=tmp_path)
        assert '"key": "demo/synced"' in topics.stdout


def _check_alerts(up):
    listed = stand.picket("alerts", "list", "--limit", "1", "--sort", "-events", state=up.state)
    assert listed.returncode == 1, listed.stderr
    assert "evil/attacker" in listed.stdout
    assert "There are more than these 1" in listed.stdout
    alert = up.alerts()[0]["id"]
    shown = stand.picket("alerts", "show", alert[:10], "--api", up.base, state=up.state)
    assert "spec.ingressDeny[0]" in shown.stdout
    unknown = stand.picket("alerts", "show", "nope", state=up.state)
    assert (unknown.returncode, "there is no alert nope" in unknown.stderr) == (2, True)
    none = stand.picket("alerts", "list", "--status", "resolved", state=up.state)
    assert (none.returncode, none.stdout) == (0, "No alerts.\n")
    token = up.state / "wrong"
    token.write_text("0" * 40)
    refused = stand.picket("alerts", "list", "--token-file", token, state=up.state)
    assert (refused.returncode, "refuses the token" in refused.stderr) == (2, True)


def _check_topics(path):
    """What is really on the topics keeps the schemas that others rely on."""
    log = embedded.EmbeddedLog(path)
    seen = set()
    for topic in (topics.MATCHES, topics.ALERTS, topics.POLICIES):
        reader = log.reader([topic.name])
        for record in port.read_to_end(reader):
            name = _schema_name(json.loads(record.value))
            jsonschema.validate(json.loads(record.value), jsonschemas.schema(name))
            seen.add(name)
        reader.close()
    log.close()
    assert {"picket.match.v1", "picket.progress.v1", "picket.alert.v1"} <= seen


def _schema_name(value):
    if "specversion" in value:
        return value["type"]
    return "picket.policies-synced" if "synced" in value else "picket.policy-object"


def _example_lines():
    with gzip.open(stand.EXAMPLES / "shop.jsonl.gz", "rt") as lines:
        return list(lines)


def _away_or(up):
    try:
        return up.counts()
    except httpx.HTTPError:
        return None
