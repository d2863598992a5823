"""A folder takes another's place whole or not at all, whatever comes between."""

from __future__ import annotations

from pathlib import Path

import pytest

from vision.data.importing.whole_folder import whole_folder
from vision.errors import OutputError


def write(folder: Path, text: str) -> None:
    with whole_folder(folder) as temporary:
        (temporary / "manifest.csv").write_text(text)


@pytest.mark.parametrize(("fault", "raised"), [(KeyboardInterrupt, KeyboardInterrupt), (OSError, OutputError)])
def test_what_comes_between_the_two_renames_leaves_the_old_folder(
    fault: type[BaseException], raised: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "data", "old")
    rename, targets = Path.rename, []

    def second_one_fails(self: Path, target: Path) -> Path:
        targets.append(target)
        if len(targets) == 2:
            raise fault
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", second_one_fails)
    with pytest.raises(raised):
        write(tmp_path / "data", "new")
    assert len(targets) == 3
    assert (tmp_path / "data" / "manifest.csv").read_text() == "old"


def test_a_new_folder_leaves_nothing_of_the_old_one(tmp_path: Path) -> None:
    write(tmp_path / "data", "old")
    write(tmp_path / "data", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert (tmp_path / "data" / "manifest.csv").read_text() == "new"


def test_what_a_killed_import_left_is_removed_by_the_next_of_the_same_name(tmp_path: Path) -> None:
    left, other, foreign = f".data.{'0' * 32}.part", f".date.{'0' * 32}.part", ".data.mine.part"
    for name in (left, other, foreign):
        (tmp_path / name / "images").mkdir(parents=True)
    write(tmp_path / "data", "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["data", other, foreign])


def test_what_another_import_is_writing_is_not_removed(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "data") as slow:
        (slow / "manifest.csv").write_text("slow")
        write(tmp_path / "data", "fast")
        assert slow.is_dir()
    assert (tmp_path / "data" / "manifest.csv").read_text() == "slow"
