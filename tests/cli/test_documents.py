"""What the documents say is what the program does."""

import re
from pathlib import Path

import pytest

from cli import main, reference, stages, up

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/first-alert.md"]
SECTIONS = [up.SECTION, stages.BUS, *(stage.section for stage in stages.STAGES)]


def test_the_page_of_settings_is_made_from_the_settings():
    """Run `python -m cli.reference > docs/settings.md` after a change of a setting."""
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert page == reference.document()


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name)
def test_every_setting_has_a_sentence(section):
    """It is the flag's help, and the line in the page."""
    for name, field in section.settings.model_fields.items():
        assert len(field.description or "") > 10, f"{section.name}.{name}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    """Those within the repository."""
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (ROOT / document).parent.joinpath(target).exists(), target


def test_commands_of_the_documents_exist(capsys):
    """Every `picket x` and `python -m x` that a reader is told to run."""
    text = " ".join((ROOT / document).read_text(encoding="utf-8") for document in DOCUMENTS)
    main.run(["--help"])
    known = capsys.readouterr().out
    for command in set(re.findall(r"^picket ([a-z-]+)|`picket ([a-z-]+)", text, re.MULTILINE)):
        assert f" {''.join(command)} " in known
    for module in set(re.findall(r"python -m ([a-z_.]+)", text)):
        assert (ROOT / f"{module.replace('.', '/')}.py").exists(), module


def test_decisions_have_a_title_and_a_number_once():
    """One page each; where the file's name has a number, its title has the same one."""
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [page.name[:4] for page in pages if page.name[:4].isdecimal()]
    assert len(numbers) == len(set(numbers))
    for page in pages:
        title = page.read_text(encoding="utf-8").splitlines()[0]
        begin = f"# {int(page.name[:4])}. " if page.name[:4].isdecimal() else "# "
        assert title.startswith(begin), page.name
