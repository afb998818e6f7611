"""The whole examination, from the command line."""

import json

import pytest

from cli import main
from cli.doctor.finding import State
from tests.cli import stand
from tests.cli.doctor.examined import about, doctor
from tests.parts import ports
from tests.parts.gitlab import GitLab, Project


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    # A process sets up its logs once; this one is pytest's.
    monkeypatch.setattr("runtime.logs.configure", lambda *_: None)


def test_before_the_first_run_nothing_is_wrong_and_nothing_is_made(capsys, tmp_path):
    """What is not there yet is told as such; the state folder stays away."""
    code, found = doctor(capsys, "--policies", stand.EXAMPLES / "policies")
    assert code == 0
    assert about(found, "relay").state is State.LEFT_OUT
    assert about(found, "policies").what == "7 policies, 5 of them alert"
    assert {about(found, name).state for name in ("log", "database")} == {State.UNSURE}
    assert not (tmp_path / "state").exists()


@pytest.mark.slow
def test_after_a_run_log_and_database_answer(capsys, tmp_path):
    """The embedded ones, of picket up."""
    with stand.running(tmp_path, "--flows", stand.EXAMPLES / "shop.jsonl.gz") as up:
        up.ready()
    code, found = doctor(capsys, "--policies", stand.EXAMPLES / "policies", "--state", up.folder)
    assert code == 0
    assert {about(found, name).state for name in ("log", "lag", "database")} == {State.FINE}


def test_policies_that_do_not_alert_are_told_how(capsys, tmp_path):
    """The label and the annotation are spelled out."""
    (tmp_path / "policy.yaml").write_text(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\n"
        "metadata: {name: quiet, namespace: shop}\n"
        "spec: {endpointSelector: {}, ingress: [{}]}\n"
    )
    _, found = doctor(capsys, "--policies", tmp_path)
    one = about(found, "policies")
    assert (one.state, one.what) == (State.WARNING, "1 policies, 0 of them alert")
    assert "app.gitlab.com/alert" in one.next


def test_what_does_not_work_is_exit_code_1(capsys):
    """A relay, a broker and a database that are not there."""
    nobody = f"127.0.0.1:{ports.free()}"
    code, found = doctor(
        capsys,
        *("--relay", nobody, "--policies", stand.EXAMPLES / "policies"),
        *("--bus", f"kafka://{nobody}", "--database", f"postgresql://picket@{nobody}/picket"),
    )
    assert code == 1
    for name in ("relay", "log", "database"):
        assert about(found, name).state is State.PROBLEM
        assert about(found, name).next


def test_gitlab_is_asked_without_making_an_alert(capsys, tmp_path):
    """A right key is taken, a wrong one told; nothing is stored either way."""
    with GitLab(Project(id="42"), Project(id="43")) as gitlab:
        entries = []
        for name, key in (("42", gitlab.projects["42"].key), ("43", "not-the-key")):
            (tmp_path / name).write_text(key)
            url = gitlab.address(name)
            entries.append({"project": name, "url": url, "token_file": str(tmp_path / name)})
        code, found = doctor(
            capsys,
            *("--policies", stand.EXAMPLES / "policies", "--gitlab", json.dumps(entries)),
        )
        assert not gitlab.of("42")
        assert not gitlab.of("43")
    assert code == 1
    assert about(found, "GitLab project 42").state is State.FINE
    wrong = about(found, "GitLab project 43")
    assert wrong.state is State.PROBLEM
    assert "key is wrong" in wrong.next


def test_the_report_is_for_people_unless_asked_otherwise(capsys):
    """A sign, what it is about, what was found, and what to do."""
    assert main.run(["doctor", "--policies", str(stand.EXAMPLES / "policies")]) == 0
    text = capsys.readouterr().out
    assert "✓ policies         7 policies, 5 of them alert" in text
    assert "→ picket up makes it" in text
    assert text.endswith("Nothing is wrong.\n")


@pytest.mark.parametrize(
    ("table", "said"),
    [('[collector]\nrelay = "nowhere"', "HOST:PORT"), ('[agent]\nkubeconfig = "/none"', "/none")],
)
def test_a_setting_that_is_wrong_is_a_finding(capsys, tmp_path, table, said):
    """The rest is looked at all the same."""
    config = tmp_path / "picket.toml"
    config.write_text(table)
    code, found = doctor(capsys, "--config", config)
    assert code == 1
    assert any(said in finding.what for finding in found if finding.state is State.PROBLEM)
    assert about(found, "log").state is State.UNSURE
