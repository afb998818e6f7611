"""All tests, as `make test` runs them: the checks beside the building of parts, then the rest.

Parts that were built once are there at once; from cold they take minutes, in which the checks run.
What could not run for want of a part stands at the very end, where it is not overlooked.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
REAL = (
    "(kafka or postgres or relay or kubernetes or engine or cilium or journey or slow) and not soak"
)


def main() -> int:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="picket-tests-") as folder:
        missing = Path(folder) / "not-run"
        environment = {**os.environ, "PICKET_NOT_RUN": str(missing)}
        parts = subprocess.Popen(
            [sys.executable, "-m", "tests.parts", "build"], cwd=ROOT, start_new_session=True
        )
        try:
            code = subprocess.run(
                ["make", "check"], cwd=ROOT, env=environment, check=False
            ).returncode
            if code:
                return code
            say("the checks are fine; waiting for the parts", started)
            # What cannot be built is told by the tests that need it.
            parts.wait()
            say("now the tests on real parts", started)
            code = subprocess.run(
                [
                    *(sys.executable, "-m", "pytest", "-q", "-m", REAL),
                    *("-n", "3", "--dist", "loadgroup", "--durations", "10"),
                ],
                cwd=ROOT,
                env=environment,
                check=False,
            ).returncode
        finally:
            if parts.poll() is None:
                # Its group, that is: the compiler too.
                os.killpg(parts.pid, signal.SIGTERM)
                parts.wait()
        if missing.exists():
            print(
                "\nTESTS THAT DID NOT RUN, FOR WANT OF A PART:\n",
                missing.read_text(encoding="utf-8"),
                sep="",
                flush=True,
            )
    say("done" if code == 0 else "failed", started)
    return code


def say(text: str, started: float) -> None:
    print(f"== {text} ({time.monotonic() - started:.0f} s)", flush=True)


if __name__ == "__main__":
    sys.exit(main())
