"""The fuzzer's own process: `python -m tests.fuzz.child TARGET CORPUS [libFuzzer's options…]`.

Modules are instrumented while they are imported, so nothing of `policies` may be imported before.
Only those that the target is about are: what prepares the ground for them would cost most of the
time. Comparisons are traced where inputs are text, so that words are found; choices have none.
"""

import importlib
import sys
from pathlib import Path

import atheris
from atheris import import_hook

from tests.fuzz import modules

_TEXTUAL = frozenset({"parsing", "patterns", "failing"})
_FOLDER = Path(__file__).parents[2] / modules.PACKAGE


def main() -> None:
    """Fuzz until the runs or the time are over; a fault ends the process with a trace."""
    target, *arguments = sys.argv[1:]
    own = {f"{modules.PACKAGE}.{name}" for name in modules.OF[target]}
    hook = import_hook.HookManager(
        {modules.PACKAGE},
        _modules() - own,
        enable_loader_override=False,
        trace_dataflow=target in _TEXTUAL,
    )
    with hook:
        module = importlib.import_module(f"tests.fuzz.{target}")
    atheris.Setup([sys.argv[0], *arguments], module.one)
    atheris.Fuzz()


def _modules() -> set[str]:
    paths = (path.relative_to(_FOLDER.parent) for path in _FOLDER.rglob("*.py"))
    names = {".".join(path.with_suffix("").parts) for path in paths}
    return {name.removesuffix(".__init__") for name in names}


if __name__ == "__main__":
    main()
