"""No command that reads a manifest writes over it, whatever is given for its output."""

from __future__ import annotations

from pathlib import Path

import pytest

from vision.cli.data import data_app
from vision.cli.terminal import refuse_existing, refuse_overwriting_input
from vision.errors import OutputError, UsageError, VisionError

MANIFEST = "file_name,label,split\na.png,tor-m1,train\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("stats", "m.csv", "-o", "OUT"),
        ("stats", "m.csv", "--page", "OUT"),
        ("croissant", "m.csv", "-o", "OUT"),
        ("attribution", "m.csv", "-o", "OUT"),
        ("card", "m.csv", "--overwrite", "-o", "OUT"),
        ("suspicious", "predictions.csv", "--manifest", "m.csv", "-o", "OUT"),
        ("preview", "m.csv", "-o", "OUT"),
        ("duplicates", "m.csv", "-o", "OUT"),
        ("apply-review", "m.csv", "--overwrite", "-o", "OUT"),
        ("review", "m.csv", "--no-browser", "--decisions", "OUT"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
@pytest.mark.parametrize("output", ["m.csv", "./m.csv", "link.csv"])
def test_no_command_replaces_the_manifest_that_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], output: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.csv").write_text(MANIFEST)
    Path("link.csv").symlink_to("m.csv")
    with pytest.raises(VisionError, match=r"is the input itself, m\.csv, which would be lost"):
        data_app([output if each == "OUT" else each for each in arguments], standalone_mode=False)
    assert Path("m.csv").read_text() == MANIFEST
    assert Path("link.csv").is_symlink()


def test_predictions_that_are_read_are_not_replaced_either(tmp_path: Path) -> None:
    (tmp_path / "predictions.csv").touch()
    with pytest.raises(UsageError, match="is the input itself"):
        refuse_overwriting_input(tmp_path / "predictions.csv", tmp_path / "m.csv", tmp_path / "predictions.csv")
    refuse_overwriting_input(tmp_path / "other.csv", tmp_path / "m.csv", tmp_path / "predictions.csv")


def test_a_file_that_is_there_is_replaced_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "there.csv").touch()
    with pytest.raises(OutputError, match=r"there\.csv: is there already; use --overwrite"):
        refuse_existing(tmp_path / "there.csv", overwrite=False)
    refuse_existing(tmp_path / "there.csv", overwrite=True)
    refuse_existing(tmp_path / "new.csv", overwrite=False)
