"""The page of rules, made from the rules: `python -m cli.linting.page > docs/lint.md`."""

import sys
import textwrap
from typing import Final

from cli.linting import checking
from policies.linting.findings import Rule, Severity

_ABOUT: Final = """\
# What `picket policy lint` finds

    picket policy lint policies/
    helm template chart/ | picket policy lint -

It reads YAML and JSON: single objects, many documents to a file, lists, and folders with all that
is in them. Looked at are CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy and NetworkPolicy.
Other objects are passed over, but some are learnt from: Namespaces, Services, CiliumCIDRGroups and
NamedPorts say what a policy may refer to. Files that a kustomization names as patches are left out.

An **error** is what Cilium's engine, the schema of its CRDs or the API server refuses. A
**warning** is accepted and surely not meant. A **note** (`info`) is worth knowing. What a policy
means is looked at once it is taken, so some warnings come only when its errors are mended.
Rules that need to know what else is there are silent where nothing of the kind was given, so it is
best to lint all of a cluster's manifests together. The exit code is
1 where there are errors (with `--strict`: or warnings), 2 for misuse, else 0. `--select` and
`--ignore` choose rules, by name or by a pattern such as `'alert-*'`.

A comment switches rules off where they are wrong for once:

```yaml
  ingress:
    # picket: ignore shadowed-rule -- the broad rule goes next week
    - fromEndpoints:
        - matchLabels: {app: web}
  egress: []  # picket: ignore empty-section
```

At the end of a line it holds for that line. On a line of its own it holds for the key, the entry or
the document that begins below.

`--format` is `text`, `json`, `sarif` (2.1.0) or `gitlab`, a Code Quality report that GitLab shows
beside the changed lines of a merge request. With `--output-file` the report goes there and the text
to the job's log; see [examples/gitlab-ci.yml](../examples/gitlab-ci.yml).

What follows is made from the rules themselves; in the examples, `metadata` and what else is left
out are those of any policy.
"""


def document() -> str:
    """The whole page."""
    lines = [_ABOUT, "| rule | severity | what |", "|---|---|---|"]
    lines += [
        f"| [`{rule.id}`](#{rule.id}) | {_severity(rule)} | {rule.what} |"
        for rule in checking.RULES
    ]
    return "\n".join(lines) + "\n\n" + "\n".join(section(rule) for rule in checking.RULES)


def section(rule: Rule) -> str:
    """What stands about one rule."""
    written = f"## {rule.id}\n\n*{_severity(rule).capitalize()}.* {rule.what}\n\n"
    written += f"**Why.** {rule.why}\n\n**Mend.** {rule.mend}\n"
    for title, example in (("Found in", rule.wrong), ("Not in", rule.right)):
        if example:
            written += f"\n{title}:\n\n```yaml\n{textwrap.dedent(example).rstrip()}\n```\n"
    wrapped = [
        textwrap.fill(line, 100, break_long_words=False, break_on_hyphens=False)
        if line.startswith("*")
        else line
        for line in written.splitlines()
    ]
    return "\n".join(wrapped) + "\n"


def _severity(rule: Rule) -> str:
    return "note" if rule.severity is Severity.INFO else rule.severity.value


if __name__ == "__main__":
    sys.stdout.write(document())
