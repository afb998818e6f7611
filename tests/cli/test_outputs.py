"""The files with what the stages write."""

from cli import outputs


def test_a_full_file_is_put_aside(tmp_path):
    """Two files at most, however much is written."""
    output = outputs.Output(tmp_path / "a.log", max_bytes=50)
    output.open()
    for number in range(100):
        output.write(f"line {number}")
    output.close()
    output.write("too late")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.log", "a.log.1"]
    assert (tmp_path / "a.log.1").read_text().splitlines()[-1] == "line 98"
    assert (tmp_path / "a.log").read_text() == "line 99\n"


def test_the_run_before_is_kept(tmp_path):
    """A new run begins a new file."""
    for text in ("first", "second"):
        with outputs.opened(tmp_path, ["a"]) as files:
            files["a"].write(text)
    assert (tmp_path / "a.log.1").read_text() == "first\n"
    assert (tmp_path / "a.log").read_text() == "second\n"
