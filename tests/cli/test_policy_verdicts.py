"""`picket policy verdicts`: one line a scenario, from plain or packed files and from a pipe."""

import gzip
import io
import json
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from cli import main
from tests.policies.builders import a_policy

CORPUS = Path(__file__).parents[1] / "data" / "oracle" / "dev.jsonl.gz"


def a_scenario(name: str = "s", **more: Any) -> dict[str, Any]:
    """A pod whose policy takes port 80 from another, and a policy that the CRD refuses."""
    pod = {"policy_subject": True, "named_ports": {}, "kind": "pod"}
    namespace = "k8s:io.kubernetes.pod.namespace=shop"
    cluster = "k8s:io.cilium.k8s.policy.cluster=c1"
    rule = {
        "fromEndpoints": [{"matchLabels": {"app": "api"}}],
        "toPorts": [{"ports": [{"port": "80", "protocol": "TCP"}]}],
    }
    lower = {**rule, "toPorts": [{"ports": [{"port": "80", "protocol": "tcp"}]}]}
    return {
        "id": name,
        "options": {"cluster_name": "c1"},
        "policies": [
            a_policy(ingress=[rule]),
            a_policy("lower", ingress=[lower]),
            a_policy("none", ingress=[]),
        ],
        "endpoints": {
            "web": {**pod, "labels": ["k8s:app=web", namespace, cluster], "ip": "10.0.0.1"},
            "api": {**pod, "labels": ["k8s:app=api", namespace, cluster], "ip": "10.0.0.2"},
        },
        "queries": [
            {"from": "api", "to": "web", "protocol": "TCP", "dport": port} for port in (80, 81)
        ],
        **more,
    }


@pytest.fixture
def verdicts(capsys, tmp_path):
    """Run the command on lines, and give back exit code, output and errors."""

    def run(*lines: Any, name: str = "scenarios.jsonl") -> tuple[int, list[Any], str]:
        file = tmp_path / name
        file.write_text("".join(f"{line}\n" for line in lines))
        code = main.run(["policy", "verdicts", str(file)])
        written = capsys.readouterr()
        return code, [json.loads(line) for line in written.out.splitlines()], written.err

    return run


def test_a_line_says_what_is_refused_and_what_is_decided(verdicts):
    """In the form and the order that conformance tests read."""
    code, found, said = verdicts(json.dumps(a_scenario()))
    allow_any = ["reserved//allow-any-egress"]
    egress = {"decision": "allowed", "enforced": False, "origin": allow_any}
    origin = ["CiliumNetworkPolicy/shop/lower", "CiliumNetworkPolicy/shop/p"]
    assert (code, said) == (0, "")
    assert found == [
        {
            "id": "s",
            "rejected": [2],
            "schema_rejected": [1],
            "queries": [
                {
                    "egress": egress,
                    "ingress": {"decision": "allowed", "enforced": True, "origin": origin},
                    "verdict": "allowed",
                },
                {
                    "egress": egress,
                    "ingress": {"decision": "default-deny", "enforced": True, "origin": []},
                    "verdict": "denied",
                },
            ],
        }
    ]
    assert list(found[0]) == ["id", "rejected", "schema_rejected", "queries"]


def test_results_in_the_input_are_not_looked_at(verdicts):
    """A scenario with wrong results comes to the same."""
    wrong = a_scenario(rejected=[{"index": 0}], schema_rejected=[], quirk=True)
    wrong["queries"][0]["ingress"] = {"decision": "denied"}
    _, found, _ = verdicts(json.dumps(a_scenario()), json.dumps(wrong))
    assert found[0] == found[1]


def test_empty_lines_are_passed_over(verdicts):
    """And the next scenario keeps the number of its line."""
    code, found, said = verdicts(json.dumps(a_scenario("a")), "", "   ", "{")
    assert [each["id"] for each in found] == ["a"]
    assert code == 2
    assert "scenarios.jsonl:4 is no JSON" in said


@pytest.mark.parametrize("packed", [False, True])
def test_a_pipe_is_read_like_a_file(packed, capsysbinary, monkeypatch):
    """Plain or packed, by what it holds and not by a name."""
    text = json.dumps(a_scenario()).encode() + b"\n"
    stream = io.TextIOWrapper(
        io.BufferedReader(io.BytesIO(gzip.compress(text) if packed else text))
    )
    monkeypatch.setattr(sys, "stdin", stream)
    assert main.run(["policy", "verdicts", "-"]) == 0
    assert json.loads(capsysbinary.readouterr().out)["schema_rejected"] == [1]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nonsense", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "it is no object"),
        ('{"policies": []}', "it has no id"),
        ('{"id": 1}', "policies: must be given"),
        ('{"id": 1, "policies": [7]}', "policies[0]: must be an object, not a number"),
        ('{"id": 1, "policies": [{"kind": "Pod"}]}', "policies[0].kind: 'Pod' is not"),
        (
            json.dumps(a_scenario(queries=[{"from": "x", "to": "web"}])),
            "queries[0].from: 'x' is not api, web",
        ),
        (
            json.dumps(
                a_scenario(queries=[{"from": "api", "to": "web", "protocol": "TCP", "dport": "80"}])
            ),
            "queries[0].dport: must be a whole number, not a string",
        ),
        (json.dumps(a_scenario(endpoints={"a": {}})), "endpoints.a.labels: must be given"),
        (
            json.dumps(a_scenario(options={"enforcement_mode": "some"})),
            "options.enforcement_mode: 'some' is not always, default, never",
        ),
        (
            json.dumps(a_scenario(services=[{"name": "a"}])),
            "services[0].namespace: must be given",
        ),
    ],
)
def test_a_line_that_is_no_scenario_is_told_by_its_number(verdicts, line, said):
    """One line on standard error, exit code 2, and what came before it is printed."""
    code, found, error = verdicts(json.dumps(a_scenario()), line)
    assert code == 2
    assert len(found) == 1
    assert error.startswith("picket: ")
    assert error.count("\n") == 1
    assert "scenarios.jsonl:2 " in error
    assert said in error


def test_a_file_that_cannot_be_read_is_told(capsys, tmp_path):
    """Missing, a folder, or cut off within the packed data."""
    cut = tmp_path / "cut.gz"
    cut.write_bytes(CORPUS.read_bytes()[:2000])
    for file in (tmp_path / "none", tmp_path, cut):
        assert main.run(["policy", "verdicts", str(file)]) == 2
        assert f"{file} cannot be read: " in capsys.readouterr().err


def test_it_ends_quietly_when_nobody_reads_any_longer():
    """As in a pipe to `head`: no traceback, no error, exit code 0."""
    command = [sys.executable, "-m", "cli", "policy", "verdicts", str(CORPUS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read()
    assert (process.returncode, said) == (0, b"")


def test_the_corpus_comes_out_of_the_command_as_it_was_recorded(verdicts):
    """Some scenarios of each kind; tests/policies/test_oracle.py has them all."""
    with gzip.open(CORPUS, "rt", encoding="utf-8") as lines:
        given = [line.rstrip("\n") for line in islice(lines, 0, None, 60)]
    recorded = [each for each in map(json.loads, given) if not each.get("quirk")]
    code, found, said = verdicts(*map(json.dumps, recorded))
    assert (code, said, len(found)) == (0, "", len(recorded))
    assert len(recorded) > 20
    for scenario, line in zip(recorded, found, strict=True):
        for stage in ("rejected", "schema_rejected"):
            assert line[stage] == [each["index"] for each in scenario[stage]], scenario["id"]
        assert [_without_origin(query) for query in line["queries"]] == [
            _without_origin(query) for query in scenario["queries"]
        ], scenario["id"]


def _without_origin(query: Any) -> Any:
    """What was decided: the engine names some of the policies, we all."""
    sides = {
        side: {key: query[side].get(key, False) for key in ("decision", "enforced", "l7")}
        for side in ("egress", "ingress")
    }
    return {**sides, "verdict": query["verdict"]}
