"""`picket policy lint` as a user and a pipeline see it."""

import io
import json
import re
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from cli import main
from cli.linting import checking, page
from tests.cli import stand
from tests.policies.builders import a_policy

ROOT = Path(__file__).parents[2]
GOOD = a_policy("good", ingress=[{"fromEntities": ["cluster"]}])
BAD = a_policy("bad", ingress=[{"fromEntities": ["custer"]}])
WARNED = a_policy("warned", ingress=[{"fromEndpoints": []}])


@pytest.fixture
def lint(capsys, monkeypatch, tmp_path):
    """Run the command in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, stdin=None):
        if stdin is not None:
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        code = main.run(["policy", "lint", *map(str, arguments)])
        written = capsys.readouterr()
        return code, written.out, written.err

    return run


def write(file, *manifests):
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as out:
        YAML().dump_all(manifests, out)
    return file


def test_clean_policies_are_fine(lint):
    """Exit code 0, and how much was looked at."""
    write("a.yaml", GOOD)
    code, out, err = lint(".")
    assert (code, out, err) == (0, "All fine: 1 policy in 1 file.\n", "")


def test_findings_are_told_with_line_and_mark(lint):
    """As compilers do: editors jump to it."""
    write("a/b.yaml", WARNED, BAD)
    code, out, _ = lint("a")
    assert code == 1
    line = Path("a/b.yaml").read_text().split("\n").index("    - custer") + 1
    assert f"\na/b.yaml:{line}:7: error: unsupported entity 'custer' [refused-by-cilium]\n" in out
    assert f"{line:>5} |     - custer\n      |       ^^^^^^\n" in out
    assert "in CiliumNetworkPolicy shop/bad, spec.ingress[0].fromEntities[0]" in out
    assert "help: did you mean cluster?" in out
    assert out.endswith("Found 1 error and 1 warning in 2 policies in 1 file.\n")


def test_warnings_fail_only_where_that_is_asked_for(lint):
    """--strict, for who wants it."""
    write("a.yaml", WARNED)
    assert lint("a.yaml")[0] == 0
    assert lint("a.yaml", "--strict")[0] == 1
    assert lint("a.yaml", "--strict", "--ignore", "matches-*")[0] == 0
    assert lint("a.yaml", "--strict", "--select", "refused-by-cilium,unknown-field")[0] == 0


def test_standard_input_is_read(lint):
    """What a renderer writes."""
    code, out, _ = lint("-", stdin=json.dumps(BAD).encode())
    assert code == 1
    assert out.startswith("<stdin>:1:")


def test_a_comment_switches_a_rule_off(lint):
    """And the summary says that it did."""
    write("a.yaml", WARNED)
    text = Path("a.yaml").read_text()
    Path("a.yaml").write_text("# picket: ignore matches-nothing\n" + text)
    assert (
        lint("a.yaml", "--strict")[1] == "All fine: 1 policy in 1 file (1 ignored by comments).\n"
    )


def test_one_object_in_two_folders_is_for_two_clusters(lint):
    """In one folder it is a mistake."""
    write("dev/a.yaml", GOOD)
    write("prod/a.yaml", GOOD)
    code, out, _ = lint("dev", "prod")
    assert (code, "same-object-elsewhere" in out) == (0, True)
    assert "dev/a.yaml:" in out.split("\n")[4]
    write("prod/b.yaml", GOOD)
    code, out, _ = lint("prod")
    assert (code, "prod/b.yaml:" in out, "duplicate-object" in out) == (1, True, True)


def test_patches_of_a_kustomization_are_left_out(lint):
    """They are parts of objects."""
    patch = {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": {"name": "x"}}
    write("base/patch.yaml", patch)
    assert lint("base")[0] == 1
    wanted = {"kind": "Kustomization", "patches": [{"path": "../base/patch.yaml"}]}
    write("over/kustomization.yaml", wanted)
    code, out, _ = lint("base", "over")
    assert (code, "1 kustomize patch left out" in out) == (0, True)


def test_other_files_and_objects_are_passed_over(lint):
    """Hidden ones, other suffixes, other kinds."""
    write("a/.hidden.yaml", BAD)
    write("a/.git/b.yaml", BAD)
    write("a/readme.txt", BAD)
    write("a/values.yaml", {"replicas": 3})
    write("a/deploy.yaml", {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {}})
    code, out, _ = lint("a")
    assert (code, out) == (0, "No policies found in 2 files.\n")


def test_a_file_that_cannot_be_read_is_a_finding(lint):
    """Like any other."""
    Path("a.yaml").write_bytes(b"kind: A\nname: \xff\n")
    code, out, _ = lint("a.yaml")
    assert (code, out.split(" [")[0]) == (1, "a.yaml:2:1: error: is not UTF-8 text")


def test_json_has_everything(lint):
    """For scripts."""
    write("a.yaml", BAD, WARNED)
    code, out, _ = lint("a.yaml", "--format", "json")
    told = json.loads(out)
    assert code == 1
    assert told["summary"]["errors"] == 1
    assert told["findings"][0]["object"] == {
        "kind": "CiliumNetworkPolicy",
        "namespace": "shop",
        "name": "bad",
    }
    assert {one["rule"] for one in told["findings"]} == {"refused-by-cilium", "matches-nothing"}


CODE_QUALITY = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["description", "check_name", "fingerprint", "severity", "location"],
        "properties": {
            "description": {"type": "string", "minLength": 5},
            "check_name": {"type": "string"},
            "fingerprint": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
            "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
            "location": {
                "type": "object",
                "required": ["path", "lines"],
                "properties": {
                    "path": {"type": "string", "pattern": "^[^./]"},
                    "lines": {
                        "type": "object",
                        "required": ["begin"],
                        "properties": {"begin": {"type": "integer", "minimum": 1}},
                    },
                },
            },
        },
    },
}


def test_gitlab_gets_its_code_quality_report(lint):
    """In a file, while the job's log has the text."""
    write("policies/a.yaml", BAD, WARNED)
    code, out, _ = lint("./policies", "--format", "gitlab", "-o", "report.json")
    report = json.loads(Path("report.json").read_text())
    assert (code, "Found 1 error" in out) == (1, True)
    jsonschema.validate(report, CODE_QUALITY)
    assert {one["severity"] for one in report} == {"critical", "minor"}
    assert {one["location"]["path"] for one in report} == {"policies/a.yaml"}


def test_fingerprints_stay_while_lines_move(lint):
    """GitLab tells new findings from old ones by them; each is there once."""

    def prints():
        report = json.loads(lint("a.yaml", "--format", "gitlab")[1])
        return [(one["check_name"], one["fingerprint"]) for one in report]

    write("a.yaml", BAD, WARNED, a_policy("worse", ingress=[{"fromEntities": ["x", "y"]}]))
    before = prints()
    assert len({fingerprint for _, fingerprint in before}) == len(before) == 4
    Path("a.yaml").write_text("# a line more\n\n" + Path("a.yaml").read_text())
    assert prints() == before


_POSITIVE = {"type": "integer", "minimum": 1}
_LOCATION = {
    "type": "object",
    "required": ["physicalLocation"],
    "properties": {
        "id": {"type": "integer"},
        "message": {"$ref": "#/$defs/message"},
        "physicalLocation": {
            "type": "object",
            "required": ["artifactLocation", "region"],
            "additionalProperties": False,
            "properties": {
                "artifactLocation": {
                    "type": "object",
                    "required": ["uri"],
                    "properties": {"uri": {"type": "string", "pattern": "^[^ <>]+$"}},
                },
                "region": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": dict.fromkeys(
                        ("startLine", "startColumn", "endLine", "endColumn"), _POSITIVE
                    ),
                },
            },
        },
        "logicalLocations": {"type": "array"},
    },
    "additionalProperties": False,
}
SARIF = {
    "$defs": {
        "message": {
            "type": "object",
            "required": ["text"],
            "properties": {"text": {"type": "string"}, "markdown": {"type": "string"}},
        }
    },
    "type": "object",
    "required": ["version", "runs", "$schema"],
    "properties": {
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["tool", "results"],
                "properties": {
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "tool": {
                        "type": "object",
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "type": "object",
                                "required": ["name", "rules"],
                                "properties": {
                                    "rules": {
                                        "type": "array",
                                        "uniqueItems": True,
                                        "items": {
                                            "type": "object",
                                            "required": ["id", "shortDescription"],
                                            "properties": {
                                                "shortDescription": {"$ref": "#/$defs/message"},
                                                "help": {"$ref": "#/$defs/message"},
                                            },
                                        },
                                    }
                                },
                            }
                        },
                    },
                    "results": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["message", "ruleId", "ruleIndex", "locations"],
                            "additionalProperties": False,
                            "properties": {
                                "ruleId": {"type": "string"},
                                "ruleIndex": {"type": "integer", "minimum": 0},
                                "level": {"enum": ["none", "note", "warning", "error"]},
                                "message": {"$ref": "#/$defs/message"},
                                "locations": {"type": "array", "items": _LOCATION},
                                "relatedLocations": {"type": "array", "items": _LOCATION},
                                "partialFingerprints": {
                                    "type": "object",
                                    "additionalProperties": {"type": "string"},
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}
"""What SARIF 2.1.0 says of the parts that are written here."""


def test_sarif_is_as_the_standard_has_it(lint):
    """Each result points at its rule."""
    write("dir with space/a.yaml", BAD, GOOD, GOOD)
    _, out, _ = lint("dir with space", "--format", "sarif")
    log = json.loads(out)
    jsonschema.validate(log, SARIF)
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [rule.id for rule in checking.RULES]
    assert len(run["results"]) == 2
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    assert any("relatedLocations" in result for result in run["results"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give the files or folders to lint"),
        (("nowhere",), "nowhere does not exist"),
        ((".", "--select", "matches-nothin"), "did you mean matches-nothing?"),
        ((".", "--ignore", "x*y"), "there is no rule 'x*y'"),
        ((".", "--format", "xml"), "'xml' is not one of"),
        ((".", "--cluster-cidr", "10.0.0.0"), "--cluster-cidr: '10.0.0.0' is not a CIDR"),
        ((".", "-o", "no/where"), "no/where cannot be written"),
        (("--explain", "matches-nothin"), "did you mean matches-nothing?"),
    ],
)
def test_misuse_is_one_line(lint, arguments, said):
    """And exit code 2."""
    code, _, err = lint(*arguments)
    assert (code, err.count("\n"), said in err) == (2, 1, True), err


def test_a_file_cannot_move_the_cursor(lint):
    """Escape sequences in a manifest are shown as what they are: something that cannot be."""
    Path("a.yaml").write_text(
        f'{json.dumps(a_policy("x", ingress=[{"fromEntities": ["a"]}]))[:-1]}, "\\u001b[2J": 1}}\n'
    )
    assert "\x1b" not in lint("a.yaml")[1]


def test_every_rule_is_documented():
    """Run `python -m cli.linting.page > docs/lint.md` after a change of a rule."""
    written = (ROOT / "docs" / "lint.md").read_text(encoding="utf-8")
    assert written == page.document()
    headings = re.findall(r"^## (.*)$", written, re.MULTILINE)
    assert headings == [rule.id for rule in checking.RULES]


@pytest.mark.parametrize("rule", checking.RULES, ids=lambda rule: rule.id)
def test_a_rule_explains_itself(lint, rule):
    """What, why, and how to mend it."""
    code, out, _ = lint("--explain", rule.id)
    assert code == 0
    assert out.startswith(f"## {rule.id}\n")
    assert "**Why.**" in out
    assert "**Mend.**" in out


def test_all_rules_are_listed(lint):
    """With their severity."""
    code, out, _ = lint("--rules")
    assert code == 0
    assert all(rule.id in out for rule in checking.RULES)


def test_the_example_of_a_pipeline_runs_this_command(lint):
    """The job of examples/gitlab-ci.yml, line by line, on the policies of the examples."""
    job = YAML(typ="safe").load(ROOT / "examples" / "gitlab-ci.yml")["lint policies"]
    (command,) = [line for line in job["script"] if line.startswith("picket policy lint")]
    words = command.removeprefix("picket policy lint ").split()
    assert words[0] == "policies/"
    code, _, _ = lint(ROOT / "examples" / "policies", *words[1:])
    assert code == 0
    report = job["artifacts"]["reports"]["codequality"]
    jsonschema.validate(json.loads(Path(report).read_text()), CODE_QUALITY | {"items": {}})


def test_a_process_of_its_own_ends_with_the_exit_code(tmp_path):
    """As a pipeline sees it."""
    file = write(tmp_path / "a.yaml", BAD)
    assert stand.picket("policy", "lint", file, state=tmp_path).returncode == 1
