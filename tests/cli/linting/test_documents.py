"""From text to objects with places: YAML, JSON, lists, and what is none of them."""

import json
import textwrap

import pytest

from agent import manifests
from cli.linting import documents, places, scalars


def parse(text):
    return documents.parse(textwrap.dedent(text))


def place(text, *path, **options):
    """The text at a path, and where it begins."""
    found = parse(text).documents[-1]
    spot = places.of(found, path, **options)
    line = textwrap.dedent(text).split("\n")[spot.line]
    return spot.line, line[spot.column : spot.end_column]


TEXT = """\
    # a comment
    kind: A
    ---
    kind: B
    spec:
      list:
        - one
        - {two: 2, three: "3"}
      empty:
      "quoted key": x
    """


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("kind",), (3, "B")),
        (("spec",), (4, "spec")),
        (("spec", "list", 0), (6, "one")),
        (("spec", "list", 1, "two"), (7, "2")),
        (("spec", "list", 1), (7, '{two: 2, three: "3"}')),
        (("spec", "list", 1, "three"), (7, '"3"')),
        (("spec", "empty"), (8, "empty")),
        (("spec", "quoted key"), (9, "x")),
        (("spec", "missing", "deeper"), (4, "spec")),
        ((), (3, "kind")),
    ],
)
def test_a_path_is_found_in_the_text(path, expected):
    """What is missing stands where it would have to be."""
    assert place(TEXT, *path) == expected


def test_a_key_can_be_meant():
    """Where the value is not to blame."""
    assert place(TEXT, "spec", "list", 1, "two", at_key=True) == (7, "two")


def test_objects_of_a_list_have_their_own_places():
    """A List, and a typed list whose items do not say their kind."""
    text = """\
        apiVersion: networking.k8s.io/v1
        kind: NetworkPolicyList
        items:
          - metadata: {name: a}
          - metadata:
              name: b
        """
    found = parse(text).documents
    assert [one.manifest["kind"] for one in found] == ["NetworkPolicy", "NetworkPolicy"]
    assert place(text, "metadata", "name") == (5, "b")


def test_json_is_read_with_places():
    """Any JSON is YAML."""
    text = json.dumps({"kind": "A", "spec": {"list": [1, {"x": "y"}]}}, indent=2)
    assert place(text, "spec", "list", 1, "x") == (6, '"y"')


@pytest.mark.parametrize("options", [{}, {"ensure_ascii": False}, {"indent": "\t"}])
def test_json_of_any_spelling_is_read(options):
    """Escapes of JSON that YAML does not have, and tabs between tokens."""
    manifest = {"kind": "A", "text": '\N{GRINNING FACE} \u00e9 " / \\'}
    contents = documents.parse(json.dumps(manifest, **options).replace("/", "\\/"))
    assert ([one.manifest for one in contents.documents], contents.problems) == ([manifest], [])


def test_a_broken_document_does_not_hide_the_others():
    """It is told with its place; the places after it are right."""
    text = "kind: A\n---\nkind: [B\n---\na:\n\tb: 1\n---\nkind: C\n"
    contents = documents.parse(text)
    assert [one.manifest["kind"] for one in contents.documents] == ["A", "C"]
    assert [(one.rule.id, one.line) for one in contents.problems] == [
        ("unreadable", 3),
        ("unreadable", 5),
    ]
    assert "not by tabs" in contents.problems[1].message
    assert places.of(contents.documents[1], ("kind",)).line == 7


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("name: {{ .Release.Name }}\n", "template"),
        ('name: "{{ .Release.Name }}"\n', "template"),
        ("{{- if .Values.on }}\nkind: A\n{{- end }}\n", "template"),
        ("{% for x in y %}\nkind: A\n{% endfor %}\n", "template"),
        ("a: {{ x }}\n---\nb: {{ x }}\n---\n{{ c }}\n", "template"),
        ("[1, 2]\n", "unreadable"),
        ("words\n", "unreadable"),
        ("{[a]: b}\n", "unreadable"),
        ("a: &x {b: *x}\n", "unreadable"),
        ("a: *nowhere\n", "unreadable"),
        ("a: 1\na: 2\n", "duplicate-key"),
        ("a: {b: 1, b: 1}\n", "duplicate-key"),
        ("a: \x00\n", "unreadable"),
        ("[" * 100_000, "unreadable"),
    ],
)
def test_what_is_no_manifest_is_told(text, rule):
    """Templates apart from mistakes."""
    assert [one.rule.id for one in documents.parse(text).problems] == [rule]


def test_a_few_lines_that_unfold_to_billions_are_refused():
    """Before anything is built of them."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    found = documents.parse("\n".join(lines)).problems
    assert [f"{manifests.MAX_VALUES:,}" in one.message for one in found] == [True]


def test_merged_keys_are_taken_and_found():
    """YAML 1.1 knows `<<`."""
    text = "base: &b {x: 1, y: 2}\nown:\n  <<: *b\n  y: 3\n"
    (found,) = documents.parse(text).documents
    assert found.manifest["own"] == {"x": 1, "y": 3}
    assert places.of(found, ("own", "x")).line == 0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True),
        ("Off", False),
        ("n", False),
        ("true", True),
        ("~", None),
        ("", None),
        ("010", 8),
        ("0x1F", 31),
        ("0b11", 3),
        ("1_000", 1000),
        ("-5", -5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.2.3", "1.2.3"),
        ("08", 8.0),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("2024-01-01", "2024-01-01"),
        ("-", "-"),
        ("yes please", "yes please"),
    ],
)
def test_plain_scalars_mean_what_kubectl_takes_them_for(text, value):
    """YAML 1.1, as Go's yaml.v2 reads it."""
    found = scalars.value(text)
    assert found == value
    assert type(found) is type(value)


def test_quoted_scalars_are_text():
    """Also those with a tag."""
    (found,) = documents.parse("a: 'yes'\nb: \"5\"\nc: !!str 5\n").documents
    assert found.manifest == {"a": "yes", "b": "5", "c": "5"}
