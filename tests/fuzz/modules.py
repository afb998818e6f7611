"""Which modules each target is about: they are instrumented, and their lines are counted.

Apart from the targets, since nothing of `policies` may be imported before it is instrumented.
"""

PACKAGE = "policies"
OF = {
    "parsing": (
        *("parsing", "peers", "ports", "http_rules", "networkpolicies", "selecting"),
        *("decoding", "alerting", "inventory", "options", "unread", "spelling"),
    ),
    "evaluation": (
        *(
            "evaluating",
            "matching",
            "explaining",
            "explanation",
            "compiling",
            "facts",
            "subjects",
            "addresses",
        ),
        *(
            "repository",
            "indexing",
            "timelines",
            "labels",
            "naming",
            "nearness",
            "refusing",
            "allowing",
        ),
        *("wording", "inventory", "selectors"),
    ),
    "patterns": ("dnsnames", "requests"),
    "linting": (
        *("crd.checking", "crd.fields", "linting.linter", "linting.effects", "linting.engine"),
        *("linting.findings", "linting.kubernetes", "linting.objects", "linting.references"),
        *("linting.requests", "linting.schema", "linting.selecting", "linting.shadowing"),
        *("linting.subjects", "linting.surroundings", "linting.values", "linting.alerting"),
    ),
    "failing": ("dnsnames",),
}
