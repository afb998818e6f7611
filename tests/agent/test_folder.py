"""Reading a folder again and again."""

import pytest

from agent.folder import Folder, Missing, cluster_uid
from tests.agent.builders import a_policy, write


def names(snapshot):
    return sorted(identity.name for identity in snapshot.objects)


def test_folders_are_read_recursively_but_for_dot_folders(tmp_path):
    """Each object knows its file relative to the folder, and its line."""
    (tmp_path / "team" / "deep").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    write(tmp_path, a=a_policy("a"))
    write(tmp_path / "team" / "deep", b="# remark\n" + a_policy("b"))
    write(tmp_path / ".git", c=a_policy("c"))
    (tmp_path / "notes.txt").write_text("no manifest")
    found = Folder(tmp_path).read()
    assert names(found) == ["a", "b"]
    places = {want.provenance.path: want.provenance.line for want in found.objects.values()}
    assert places == {"a.yaml": 1, "team/deep/b.yaml": 2}


def test_a_broken_file_does_not_stop_the_others(tmp_path):
    """It is named with its line, and what it held is held on to."""
    write(tmp_path, a=a_policy("a"), broken="a: [\n b")
    found = Folder(tmp_path).read()
    assert names(found) == ["a"]
    assert [problem.where for problem in found.problems] == ["broken.yaml:2"]
    assert found.held_paths == {"broken.yaml"}


def test_one_object_in_two_files_names_both(tmp_path):
    """Neither of them is taken."""
    write(tmp_path, one=a_policy("a"), two=a_policy("a", app="other"))
    found = Folder(tmp_path).read()
    assert names(found) == []
    (problem,) = found.problems
    assert (problem.where, "one.yaml:1" in problem.reason) == ("two.yaml:1", True)


def test_a_file_is_parsed_again_only_when_it_changed(tmp_path, monkeypatch):
    """Looking at a large folder every half a minute costs no more than its stats."""
    write(tmp_path, a=a_policy("a"))
    folder = Folder(tmp_path)
    folder.read()
    monkeypatch.setattr("agent.manifests.parse", lambda text: pytest.fail("parsed again"))
    assert names(folder.read()) == ["a"]


def test_text_that_is_no_text_is_a_problem(tmp_path):
    """The line of the first bad byte is told."""
    (tmp_path / "a.yaml").write_bytes(b"a: 1\nb: \xff\n")
    assert [problem.where for problem in Folder(tmp_path).read().problems] == ["a.yaml:2"]


def test_a_file_beyond_all_measure_is_not_even_read(tmp_path, monkeypatch):
    """The bound stands before the parser."""
    monkeypatch.setattr("agent.manifests.MAX_FILE_BYTES", 10)
    write(tmp_path, a=a_policy("a"))
    (problem,) = Folder(tmp_path).read().problems
    assert "a manifest may have 10" in problem.reason


def test_a_folder_that_is_away_is_no_empty_folder(tmp_path):
    """Nothing follows from a folder that cannot be listed."""
    with pytest.raises(Missing, match="No such file"):
        Folder(tmp_path / "gone").read()


def test_a_mounted_config_map_is_read_once(tmp_path):
    """Its files are links into a dot folder."""
    data = tmp_path / "..2026"
    data.mkdir()
    write(data, a=a_policy("a"))
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    found = Folder(tmp_path).read()
    assert (names(found), found.problems) == (["a"], ())


def test_a_single_file_will_do(tmp_path):
    """A folder of one is a folder."""
    write(tmp_path, a=a_policy("a"))
    assert names(Folder(tmp_path / "a.yaml").read()) == ["a"]


def test_the_cluster_is_told_apart_by_its_kube_system(tmp_path):
    """The UID of that namespace, where the folder has it."""
    assert cluster_uid(Folder(tmp_path).read()) == ""
    write(tmp_path, ns="{apiVersion: v1, kind: Namespace, metadata: {name: kube-system, uid: u-1}}")
    assert cluster_uid(Folder(tmp_path).read()) == "u-1"
