import io
import os
from pathlib import Path

import pytest

from vision.classify.inputs import IMAGE_ENDINGS, expand_inputs
from vision.errors import InputPathError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a few files; only their names matter."""
    for name in ("b.jpg", "a.PNG", "notes.txt", "sub/d.webp", "sub/deep/c.tif", "sub/readme.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def expanded(*arguments: str, recursive: bool = False, stdin: bytes = b"") -> list[str]:
    return [str(path) for path in expand_inputs(arguments, recursive=recursive, stdin=io.BytesIO(stdin))]


def test_files_come_in_the_order_given_and_as_often(folder: Path) -> None:
    assert expanded("b.jpg", "a.PNG", "b.jpg") == ["b.jpg", "a.PNG", "b.jpg"]


def test_a_named_file_is_taken_whatever_its_ending(folder: Path) -> None:
    assert expanded("notes.txt") == ["notes.txt"]


def test_a_missing_file_is_passed_on_for_its_row(folder: Path) -> None:
    assert expanded("gone.jpg", "b.jpg") == ["gone.jpg", "b.jpg"]


def test_a_folder_gives_its_pictures_by_name(folder: Path) -> None:
    assert expanded(".") == ["a.PNG", "b.jpg"]


def test_a_folder_recursively_gives_the_pictures_beneath_it_too(folder: Path) -> None:
    assert expanded("sub", recursive=True) == ["sub/d.webp", "sub/deep/c.tif"]


@pytest.mark.parametrize("ending", sorted(IMAGE_ENDINGS))
def test_every_ending_of_a_picture_is_found_in_either_case(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"a{ending}").touch()
    (tmp_path / f"b{ending.upper()}").touch()
    assert len(expanded(str(tmp_path))) == 2


def test_a_folder_named_like_a_picture_gets_its_row(folder: Path) -> None:
    (folder / "sub" / "album.jpg").mkdir()
    assert expanded("sub") == ["sub/album.jpg", "sub/d.webp"]


def test_a_folder_named_like_a_picture_is_searched_when_it_is_given_itself(folder: Path) -> None:
    (folder / "album.jpg").mkdir()
    (folder / "album.jpg" / "x.png").touch()
    assert expanded("album.jpg") == ["album.jpg/x.png"]


def test_a_link_to_a_folder_above_is_not_followed_for_ever(folder: Path) -> None:
    (folder / "sub" / "up").symlink_to(folder)
    assert expanded("sub", recursive=True) == ["sub/d.webp", "sub/deep/c.tif"]


def test_a_folder_without_pictures_is_told_with_the_remedy(folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(InputPathError, match=r"empty: no picture in the folder; use --recursive to look into its fold"):
        expanded("empty")


def test_a_folder_without_pictures_to_its_ends_is_told(folder: Path) -> None:
    (folder / "empty" / "inner").mkdir(parents=True)
    with pytest.raises(InputPathError, match=r"empty: no picture in the folder$"):
        expanded("empty", recursive=True)


def test_a_pattern_gives_its_matches_by_name(folder: Path) -> None:
    (folder / "a.jpg").touch()
    assert expanded("*.jpg", "sub/*.webp") == ["a.jpg", "b.jpg", "sub/d.webp"]


def test_two_stars_reach_any_depth(folder: Path) -> None:
    assert expanded("sub/**/*.tif") == ["sub/deep/c.tif"]


def test_an_absolute_pattern_works(folder: Path) -> None:
    assert expanded(f"{folder}/*.jpg") == [f"{folder}/b.jpg"]


def test_a_pattern_without_matches_is_told_with_the_remedy(folder: Path) -> None:
    with pytest.raises(InputPathError, match=r"x\*\.jpg: the pattern matches no file; check it, and quote it"):
        expanded("x*.jpg")


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(folder: Path) -> None:
    (folder / "a[1].jpg").touch()
    (folder / "a1.jpg").touch()
    assert expanded("a[1].jpg") == ["a[1].jpg"]


def test_a_list_gives_its_paths_in_its_order(folder: Path) -> None:
    (folder / "list.txt").write_bytes(b"b.jpg\n\n  \r\nsub/d.webp\r\n with space.jpg\nlast.jpg")
    assert expanded("@list.txt", "a.PNG") == ["b.jpg", "sub/d.webp", " with space.jpg", "last.jpg", "a.PNG"]


def test_a_path_in_a_list_is_no_pattern_and_no_list(folder: Path) -> None:
    (folder / "list.txt").write_text("*.jpg\n@list.txt\n-\n")
    assert expanded("@list.txt") == ["*.jpg", "@list.txt", "-"]


def test_a_list_written_by_a_windows_editor_has_no_mark_before_its_first_path(folder: Path) -> None:
    (folder / "list.txt").write_bytes(b"\xef\xbb\xbfb.jpg\r\na.PNG\r\n")
    assert expanded("@list.txt") == ["b.jpg", "a.PNG"]


def test_a_missing_list_is_told_with_the_remedy(folder: Path) -> None:
    with pytest.raises(InputPathError, match=r"@gone\.txt: cannot read the list \(No such file.*\); check the path"):
        expanded("@gone.txt")


def test_a_folder_in_place_of_a_list_is_told(folder: Path) -> None:
    with pytest.raises(InputPathError, match=r"@sub: cannot read the list \(Is a directory\)"):
        expanded("@sub")


def test_a_dash_reads_paths_from_standard_input(folder: Path) -> None:
    assert expanded("a.PNG", "-", "b.jpg", stdin=b"x.jpg\ny.jpg\n") == ["a.PNG", "x.jpg", "y.jpg", "b.jpg"]


def test_a_file_whose_name_begins_with_an_at_sign_is_reached_by_its_path(folder: Path) -> None:
    (folder / "@x.jpg").touch()
    assert expanded("./@x.jpg") == ["@x.jpg"]


def test_a_file_named_dash_is_reached_by_its_path(folder: Path) -> None:
    (folder / "-").touch()
    assert expanded("./-", stdin=b"never read\n") == ["-"]


def test_names_that_are_not_utf_8_stay_what_they_are(folder: Path) -> None:
    name = os.fsdecode(b"Stra\xdfe.jpg")
    try:
        (folder / "sub" / name).touch()
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    from_list = expanded("-", stdin=b"sub/Stra\xdfe.jpg\n")
    assert from_list == [f"sub/{name}"]
    assert f"sub/{name}" in expanded("sub") == expanded("sub/*.jpg", "sub/*.webp")
    assert Path(from_list[0]).exists()


def test_an_argument_longer_than_any_file_name_is_passed_on_for_its_row() -> None:
    assert expanded("a" * 5000) == ["a" * 5000]


def test_paths_come_one_after_another_without_waiting_for_the_rest() -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"first.jpg\n")
    with os.fdopen(read_end, "rb", buffering=0) as stream:
        paths = expand_inputs(["-"], recursive=False, stdin=stream)
        assert next(paths) == Path("first.jpg")
        os.close(write_end)
        assert list(paths) == []
