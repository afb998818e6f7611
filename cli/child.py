"""How `picket up` starts a stage: python -m cli.child STAGE FILE LEVEL.

The same as `picket STAGE --config FILE`, without loading what only a person needs: four stages
start at once, and somebody is waiting.
"""

import sys
from pathlib import Path

from bus import opening
from cli import faults, stages
from runtime import logs


def main(stage_name: str, file: str, level: str) -> int:
    """Run a stage with the settings of a file; return the exit code."""
    logs.configure(logs.LogLevel(level), logs.LogFormat.JSON)
    stage = next(stage for stage in stages.STAGES if stage.name == stage_name)
    try:
        settings = stage.settings.load(stage.name, flags={}, environment={}, file=Path(file))
        bus = opening.BusSettings.load(stages.BUS.name, flags={}, environment={}, file=Path(file))
        stages.run(stage, settings, bus)
    except Exception as error:
        told = faults.told(error)
        if told is None:
            raise
        return faults.say(*told)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
