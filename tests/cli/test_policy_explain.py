import gzip
import io
import json
import sys

import pytest
from ruamel.yaml import YAML

from cli.main import run
from tests.enricher import builders

CAPTURES = builders.CAPTURES
POLICIES = CAPTURES / "policies.yaml"
DENIED = CAPTURES / "classes" / "ingress-default-deny-133.jsonl"


@pytest.fixture
def explain(capsys):
    """Run the command in this process: its code, and what it wrote to both streams."""

    def explain(flow, *more, policies=POLICIES):
        asked = ["--policies", str(policies), "--flow", str(flow), *more]
        code = run(["policy", "explain", *asked])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return explain


def test_a_denied_flow_gets_a_block_with_all_that_its_owner_needs(explain):
    """Who to whom, the verdict, the sentence, and each rule with its place and why not."""
    code, out, err = explain(DENIED)
    assert code == 0
    assert out.split("\n\n")[0] == "\n".join(
        [
            (
                "2026-11-21T02:46:05.369827Z  ingress of shop/backend from shop/bare (10.244.2.76), "
                "8080/TCP  DENIED: no-rule-allowed"
            ),
            "  shop/backend-ingress allows 8080/TCP from app=frontend; this came from shop/bare",
            f"  CiliumNetworkPolicy shop/backend-ingress  {POLICIES}:2  alerts project 123",
            "    spec.ingress[0].toPorts[0]  allows 8080/TCP from app=frontend: not this peer",
        ]
    )
    assert err == "picket: 2 verdicts, 2 events passed over that are no verdicts\n"


def test_a_flow_that_passed_is_told_by_the_rule_that_allows_it(explain):
    """The same block, with what let it through."""
    code, out, _ = explain(CAPTURES / "classes" / "forwarded-verdict.jsonl")
    assert code == 0
    assert "ALLOWED: allowed-by\n  shop/backend-ingress allows 8080/TCP from app=frontend\n" in out


@pytest.mark.parametrize("name", ["shop.jsonl.gz", "all.jsonl.gz", "flood.jsonl.gz"])
def test_all_of_a_recording_is_explained_but_its_stand_ins(explain, name):
    """Requests that were refused without a rule in force: for them the code is 1."""
    code, out, _ = explain(CAPTURES / name, "-o", "json")
    found = json.loads(out)
    unexplained = [entry for entry in found if "unexplained" in entry]
    assert {entry["unexplained"] for entry in unexplained} <= {"l7-no-rule"}
    assert all(entry["request"].startswith("DELETE ") for entry in unexplained)
    assert code == (1 if unexplained else 0)
    assert all(
        entry["policies"] and entry["findings"] for entry in found if entry not in unexplained
    )
    assert not any("disagreement" in entry for entry in found)


def test_json_and_yaml_say_the_same(explain):
    """All fields, one list."""
    _, as_json, _ = explain(DENIED, "-o", "json")
    _, as_yaml, _ = explain(DENIED, "-o", "yaml")
    found = json.loads(as_json)
    assert YAML(typ="safe").load(as_yaml) == found
    assert found[0]["policies"] == [
        {
            "kind": "CiliumNetworkPolicy",
            "namespace": "shop",
            "name": "backend-ingress",
            "where": f"{POLICIES}:2",
            "alerts_project": "123",
        }
    ]
    assert found[0]["findings"][0]["path"] == "spec.ingress[0].toPorts[0]"
    assert found[0]["findings"][0]["why"] == "peer"


def test_a_capture_may_be_gzip_stdin_a_bare_flow_or_one_document(explain, monkeypatch, tmp_path):
    """Spelled as Hubble's JSON has it in either way."""
    lines = DENIED.read_text().splitlines()
    flow = next(f for f in map(json.loads, lines) if f["flow"]["event_type"]["type"] == 5)
    expected = explain(DENIED)[1].split("\n\n")[0]

    def spelled(value):
        if isinstance(value, dict):
            return {camel(key): spelled(item) for key, item in value.items()}
        return [spelled(item) for item in value] if isinstance(value, list) else value

    def camel(key):
        first, *rest = key.split("_")
        return first + "".join(word.title() for word in rest)

    texts = {
        "bare": json.dumps(flow["flow"]),
        "pretty": json.dumps(flow, indent=2),
        "list": json.dumps([flow]),
        "camel": json.dumps(spelled(flow)),
        "numbers": json.dumps({**flow, "flow": {**flow["flow"], "verdict": 2}}),
    }
    for name, text in texts.items():
        path = tmp_path / name
        path.write_text(text)
        code, out, err = explain(path)
        assert (code, out.split("\n\n")[0].strip()) == (0, expected), name
        assert err.startswith("picket: 1 verdict"), name
    for content in (texts["bare"].encode(), gzip.compress(texts["bare"].encode())):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        assert explain("-")[1].strip() == expected


def test_bad_lines_are_told_with_their_number_and_counted(explain, tmp_path):
    """And the others are explained all the same."""
    good = DENIED.read_text().splitlines()
    bad = [
        '{"flow": 3}',
        '{"uuid": "\\ud800"}',
        "nonsense",
        '{"a": 1}',
        '{"flow": {"event_type": {"type": 5}}}',
        "[1]",
    ]
    broken = json.loads(good[0])
    broken["flow"]["source"]["labels"] = {"a": "b"}
    broken["flow"]["event_type"] = {"type": 5}
    path = tmp_path / "capture"
    path.write_text("\n".join([*bad, json.dumps(broken), "", *good]))
    code, out, err = explain(path)
    assert code == 1
    assert out.count("DENIED") == 2
    told = err.splitlines()
    assert [line.split(" is ")[0] for line in told[:-1]] == [
        f"picket: {path}:{number}" for number in range(1, 8)
    ]
    assert told[-1].endswith("7 lines that could not be read")


def test_what_a_client_chose_cannot_steer_a_terminal(explain, tmp_path):
    """A name that was asked for may hold anything."""
    lines = (CAPTURES / "classes" / "dns-l7-denied.jsonl").read_text().splitlines()
    flow = json.loads(lines[0])
    flow["flow"]["l7"]["dns"]["query"] = "\x1b[2Jevil.org."
    path = tmp_path / "capture"
    path.write_text(json.dumps(flow))
    _, out, _ = explain(path)
    assert "\x1b" not in out
    assert "asked for another name: \\x1b[2Jevil.org." in out


def test_a_policy_that_cilium_would_refuse_is_told_and_not_in_force(explain, tmp_path):
    """As in the cluster: the others count."""
    policy = builders.a_policy("bad", ingress=[{"fromCIDR": ["x"]}])
    (tmp_path / "bad.json").write_text(json.dumps(policy))
    (tmp_path / "good.yaml").write_text(POLICIES.read_text())
    code, out, err = explain(DENIED, policies=tmp_path)
    assert code == 0
    assert "backend-ingress" in out
    where = f"{tmp_path / 'bad.json'}:1: CiliumNetworkPolicy shop/bad is not in force: "
    assert err.splitlines()[0].startswith(f"picket: {where}spec.ingress[0].fromCIDR[0]")


@pytest.mark.parametrize(
    ("message", "flow", "policies"),
    [
        ("cannot be read: No such file or directory", "missing", POLICIES),
        ("cannot be read: Is a directory", CAPTURES, POLICIES),
        ("there is no folder or file", DENIED, "missing"),
        ("broken.yaml:2: ", DENIED, "broken"),
        ("is a damaged gzip after line", "cut.gz", POLICIES),
    ],
)
def test_a_mistake_is_one_line_and_code_2(
    explain, tmp_path, monkeypatch, *, message, flow, policies
):
    """Without a traceback, and nothing is explained by half of the policies."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "broken.yaml").write_text("a: b\n  c: [")
    whole = (CAPTURES / "shop.jsonl.gz").read_bytes()
    (tmp_path / "cut.gz").write_bytes(whole[: len(whole) // 2])
    code, _, err = explain(flow, policies=policies)
    assert code == 2
    assert message in err.splitlines()[-1]
