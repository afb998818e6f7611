"""GitLab's endpoints: whether each takes our key, without an alert being made."""

from collections.abc import Iterator
from datetime import datetime

from alert_api.gitlab import endpoint
from alert_api.gitlab.endpoint import Meaning
from alert_api.settings import GitLabProject
from cli.doctor.finding import About, Finding
from runtime.errors import UserError

FINGERPRINT = "picket-doctor"
ADVICE = {
    "401": "the key is wrong: copy it anew from Settings, Monitor, Alerts",
    "403": "the integration is not active: switch it on under Settings, Monitor, Alerts",
    "404": "the address is wrong: copy it anew from Settings, Monitor, Alerts",
}


def examine(project: GitLabProject, *, at: datetime) -> Iterator[Finding]:
    """Ask to resolve an alert that never was: nothing is stored, and the key is checked."""
    about = About(f"GitLab project {project.project}")
    try:
        asked = endpoint.Endpoint(project)
    except UserError as error:
        yield about.problem(str(error), "mend ca_file")
        return
    payload = {
        "title": "picket doctor",
        "fingerprint": FINGERPRINT,
        "end_time": at.isoformat(),
    }
    try:
        answer = asked.post(payload, resolves=True)
    finally:
        asked.close()
    if answer.meaning in {Meaning.TAKEN, Meaning.NOTHING_OPEN}:
        yield about.fine("its integration answers and takes the key")
        return
    advice = ADVICE.get(answer.reason[:3], "is the address right, and reachable from here?")
    yield about.problem(answer.reason, advice)
