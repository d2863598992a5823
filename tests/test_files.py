import hashlib
from pathlib import Path

import pytest

from vision.errors import OutputError
from vision.files import sha256_of_file, whole_file, write_whole_text


def test_a_whole_file_appears_with_its_content_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
        assert not (tmp_path / "a.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "new"


def test_an_error_while_writing_keeps_the_old_file_and_removes_the_part(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")

    def write_half() -> None:
        with whole_file(tmp_path / "a.txt") as temporary:
            temporary.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_whole_text(tmp_path / "a" / "b" / "c.txt", "text")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "text"


def test_text_is_written_as_utf_8(tmp_path: Path) -> None:
    write_whole_text(tmp_path / "a.txt", "Бук × é")
    assert (tmp_path / "a.txt").read_bytes() == "Бук × é".encode()


def test_the_longest_name_that_a_file_system_takes_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 127)  # 254 bytes
    write_whole_text(path, "text")
    assert path.read_text() == "text"


def test_a_folder_in_the_place_of_the_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    with pytest.raises(OutputError, match=r"report: cannot write here \(Is a directory\); choose another place"):
        write_whole_text(tmp_path / "report", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(OutputError, match=r"runs/a\.txt: cannot write here .*; choose another place"):
        write_whole_text(tmp_path / "runs" / "a.txt", "text")


def test_the_digest_is_sha_256_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\0abc" * 100_000)
    assert sha256_of_file(tmp_path / "a") == hashlib.sha256(b"\0abc" * 100_000).hexdigest()
