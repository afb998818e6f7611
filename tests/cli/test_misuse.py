"""A user's mistake is one line on standard error and exit code 2, never a traceback."""

import subprocess

import pytest

from cli import main
from tests.cli import stand
from tests.parts import ports

POLICIES = ("--policies", "examples/policies")


@pytest.fixture
def picket(capsys, monkeypatch, tmp_path):
    """Run a command in this process, as if it were one of its own."""
    monkeypatch.setattr("runtime.logs.configure", lambda *_: None)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    def run(*arguments, **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        code = main.run([str(argument) for argument in arguments])
        written = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, code, written.out, written.err)

    return run


def check(found, said, code=2):
    assert found.returncode == code, found.stderr
    assert found.stderr.startswith("picket: ")
    assert found.stderr.count("\n") == 1
    assert said in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nonsense",), "No such command 'nonsense'"),
        (("up", "--nonsense"), "No such option: --nonsense"),
        (("up",), "give either --flows FILE or --relay HOST:PORT"),
        (("up", "--flows", "-"), "give either --policies FOLDER or --kubeconfig FILE"),
        (("up", "--flows", "-", *POLICIES, "--kubeconfig", "x"), "give either --policies FOLDER"),
        (("up", "--flows", "-", "--kubeconfig", "/nope"), "--kubeconfig: /nope does not exist"),
        (("agent",), "give exactly one of --policies, --kubeconfig and --in-cluster"),
        (("agent", "--kubeconfig", "README.md"), "README.md is n"),
        (("up", *POLICIES), "give either --flows FILE or --relay HOST:PORT"),
        (("up", *POLICIES, "--flows", "nope"), "there is no capture nope"),
        (("up", *POLICIES, "--relay", "nope"), "--relay: 'nope' is not HOST:PORT"),
        (("up", *POLICIES, "--relay", "a:1", "--flows", "-"), "give either"),
        (("up", *POLICIES, "--flows", "-", "--listen", "x"), "'x' is not HOST:PORT"),
        (("up", "--flows", "-", "--policies", "/nope"), "/nope does not exist"),
        (("up", *POLICIES, "--flows", "-", "--bus", "amqp://x"), "--bus: must be a file's path"),
        (("up", *POLICIES, "--flows", "-", "--cluster", "A/B"), "--cluster: String should match"),
        (("up", *POLICIES, "--flows", "-", "--gitlab", "x"), "must be a JSON list"),
        (("up", *POLICIES, "--flows", "-", "--config", "/nope"), "cannot read settings from /nope"),
        (("agent", "--policies", "/nope"), "--policies: /nope does not exist"),
        (("collector",), "give either relay or flows"),
        (("collector", "--relay", "x:1", "--delay-ms", "soon"), "--delay-ms: Input should be"),
        (("alert-api",), "--database is needed"),
        (("enricher", "--batch-seconds", "99"), "--batch-seconds: Input should be less"),
        (("alerts", "list"), "cannot read the API's token"),
        (("alerts", "list", "--output", "xml"), "'xml' is not one of"),
        (("flows",), "there is no log at"),
        (("flows", "--since", "soon"), "--since must be like 10m"),
        (("flows", "--verdict", "maybe"), "--verdict must be one of"),
        (("topics", "show", "nope"), "there is no topic nope"),
    ],
)
def test_a_mistake_is_one_line(picket, arguments, said):
    """What is wrong, and where it came from."""
    check(picket(*arguments), said)


def test_a_process_of_its_own_ends_the_same_way(tmp_path):
    """The exit code and the line, as a shell sees them."""
    check(stand.picket("up", "--nonsense", state=tmp_path), "No such option: --nonsense")


def test_a_bad_variable_is_named(picket):
    """The environment is checked by the same rules as a flag."""
    found = picket("collector", "--relay", "x:1", PICKET_COLLECTOR_DELAY_MS="0")
    check(found, "PICKET_COLLECTOR_DELAY_MS: Input should be greater")


def test_a_bad_line_of_a_file_is_named(picket, tmp_path):
    """With the file, the table and the name."""
    file = tmp_path / "picket.toml"
    file.write_text('[collector]\nrelya = "x:1"\n')
    found = picket("collector", "--config", file)
    check(found, f"{file} [collector] relya: Extra inputs")
    file.write_text("[collector\n")
    check(picket("collector", "--config", file), "is not valid TOML")


def test_an_api_that_is_away_is_told(picket, tmp_path):
    """Nobody listens there; a hint says why that may be."""
    token = tmp_path / "token"
    token.write_text("x" * 20)
    address = f"http://127.0.0.1:{ports.free()}"
    found = picket("alerts", "list", "--api", address, "--token-file", token)
    check(found, f"nobody answers at {address}; is picket up running?")


def test_looking_makes_nothing(picket, tmp_path):
    """A look at a log that is not there leaves no file behind."""
    picket("topics")
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_is_none_is_told(picket, tmp_path):
    """Some other file is not overwritten."""
    file = tmp_path / "letter.txt"
    file.write_text("dear reader, this is no database at all" * 50)
    found = picket("topics", "--bus", file)
    assert found.returncode in {1, 2}
    assert found.stderr.startswith("picket: ")
    assert "Traceback" not in found.stderr
    assert file.read_text().startswith("dear reader")


@pytest.mark.parametrize(
    "command",
    ["", "up", "collector", "enricher", "alert-api", "agent", "alerts list", "flows", "topics"],
)
def test_every_command_explains_itself(picket, command):
    """--help works without any setting and says what the command is for."""
    found = picket(*command.split(), "--help")
    assert found.returncode == 0
    assert "Usage: picket" in found.stdout


def test_the_version_is_told(picket):
    """That of Picket and of the Python under it."""
    found = picket("version")
    assert (found.returncode, found.stdout.startswith("picket ")) == (0, True)
