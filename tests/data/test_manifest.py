from pathlib import Path

import polars as pl
import pytest

from vision.data.manifest import (
    COLUMNS,
    MOST_LISTED_ROWS,
    Manifest,
    column_names,
    copy_with_column,
    load_manifest,
    manifest_from_rows,
    parse_box,
    read_manifest,
    save_manifest,
    truth_columns,
)
from vision.errors import ManifestError

ENDINGS = [".csv", ".jsonl", ".ndjson", ".parquet"]


def manifest_file(tmp_path: Path, text: str, name: str = "m.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode())
    return path


def places(manifest: Manifest) -> list[str]:
    return [manifest.place(row).removeprefix(f"{manifest.folder}/") for row in range(len(manifest.table))]


def full_manifest(path: Path) -> Manifest:
    awkward = 'He said "no",\nthen; left'
    return manifest_from_rows(
        path,
        [
            {"file_name": "a b/ü.jpg", "label": "007", "width": 640, "height": 480, "title": awkward, "view": "front"},
            {"file_name": "c.jpg", "label": "tor-m1", "split": "test", "box": "1 2 3 4", "author": " A ", "view": None},
        ],
    )


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_saved_manifest_is_loaded_equal(tmp_path: Path, ending: str) -> None:
    manifest = full_manifest(tmp_path / f"m{ending}")
    save_manifest(manifest, manifest.path)
    loaded = load_manifest(manifest.path)
    assert loaded.path == manifest.path
    assert loaded.table.equals(manifest.table)
    assert loaded.table.schema == manifest.table.schema


@pytest.mark.parametrize("ending", [".csv", ".parquet"])  # JSON lines without a line have no columns
def test_a_manifest_without_rows_is_loaded_without_rows(tmp_path: Path, ending: str) -> None:
    manifest = full_manifest(tmp_path / f"m{ending}")
    manifest = Manifest(manifest.path, manifest.table.clear())
    save_manifest(manifest, manifest.path)
    assert len(load_manifest(manifest.path).table) == 0


def test_a_manifest_of_no_rows_has_none() -> None:
    assert len(manifest_from_rows(Path("m.csv"), []).table) == 0


def test_every_known_column_is_there_in_its_order_then_the_slices(tmp_path: Path) -> None:
    manifest = load_manifest(manifest_file(tmp_path, "label,view,file_name,season\nx,front,a.jpg,winter\n"))
    assert manifest.table.columns == [*COLUMNS, "view", "season"]
    assert manifest.table.columns[len(COLUMNS) :] == ["view", "season"]


def test_empty_texts_become_null(tmp_path: Path) -> None:
    manifest = load_manifest(manifest_file(tmp_path, 'file_name,label,split,view\na.jpg,x,,""\n'))
    assert manifest.table["split"].to_list() == [None]
    assert manifest.table["view"].to_list() == [None]


def test_a_label_of_digits_stays_text(tmp_path: Path) -> None:
    for name, text in [("m.csv", "file_name,label\na,007\n"), ("m.jsonl", '{"file_name": "a", "label": "007"}\n')]:
        assert load_manifest(manifest_file(tmp_path, text, name)).table["label"].to_list() == ["007"]


def test_columns_that_are_empty_throughout_are_not_saved(tmp_path: Path) -> None:
    manifest = manifest_from_rows(tmp_path / "m.csv", [{"file_name": "a.jpg", "label": None, "split": None}])
    save_manifest(manifest, manifest.path)
    assert manifest.path.read_text() == "file_name,label\na.jpg,\n"


def test_places_count_lines_from_the_header(tmp_path: Path) -> None:
    manifest = load_manifest(manifest_file(tmp_path, "file_name,label\na,x\nb,x\n"))
    assert places(manifest) == ["m.csv:2", "m.csv:3"]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_quoted_line_break_moves_the_lines_after_it(tmp_path: Path, line_end: str) -> None:
    lines = ["file_name,title,label", 'a,"two', 'lines",x', 'b,"three', "", 'lines",x', "c,one,x", ""]
    manifest = load_manifest(manifest_file(tmp_path, line_end.join(lines)))
    assert places(manifest) == ["m.csv:2", "m.csv:4", "m.csv:7"]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("m.csv", 'file_name,label,"my\nslice"\na,x,1\nb,x,2\n', ["m.csv:3", "m.csv:4"]),
        (
            "m.jsonl",
            '{"file_name": "a", "label": "x"}\n\n{"file_name": "b", "label": "x"}\n',
            ["m.jsonl:1", "m.jsonl:3"],
        ),
    ],
    ids=["line break in the header", "empty line in JSON lines"],
)
def test_places_are_the_lines_that_an_editor_shows(tmp_path: Path, name: str, text: str, expected: list[str]) -> None:
    assert places(load_manifest(manifest_file(tmp_path, text, name))) == expected


def test_places_in_parquet_are_rows(tmp_path: Path) -> None:
    manifest = full_manifest(tmp_path / "m.parquet")
    assert places(manifest) == ["m.parquet: row 1", "m.parquet: row 2"]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    assert load_manifest(manifest_file(tmp_path, "\ufefffile_name,label\na,x\n")).file_names == ["a"]


def test_pictures_lie_relative_to_the_manifest(tmp_path: Path) -> None:
    manifest = load_manifest(manifest_file(tmp_path, "file_name,label\nimages/a.jpg,x\n"))
    assert manifest.image_path("images/a.jpg") == tmp_path / "images" / "a.jpg"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("licences", "licence"),
        ("license", "licence"),
        ("Split", "split"),
        ("heigth", "height"),
        ("source_urls", "source_url"),
    ],
)
def test_a_misspelt_column_is_told_with_the_right_name(tmp_path: Path, written: str, meant: str) -> None:
    path = manifest_file(tmp_path, f"file_name,label,{written}\na,x,1\n")
    with pytest.raises(ManifestError, match=rf"m\.csv:1: {written}: unknown column, did you mean '{meant}'\?"):
        load_manifest(path)


def test_a_misspelt_required_column_is_told_as_misspelt_and_as_missing(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        load_manifest(manifest_file(tmp_path, "filename,label\na,x\n"))
    assert "m.csv:1: filename: unknown column, did you mean 'file_name'?" in str(caught.value)
    assert "m.csv:1: file_name: required column is missing; there are: filename, label" in str(caught.value)


@pytest.mark.parametrize("name", ["view", "season", "camera", "distance_m", "weather"])
def test_a_column_far_from_the_known_ones_is_a_slice(tmp_path: Path, name: str) -> None:
    loaded = load_manifest(manifest_file(tmp_path, f"file_name,label,{name}\na,x,1\n"))
    assert loaded.table.columns[len(COLUMNS) :] == [name]


def test_a_column_that_stands_twice_is_told(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"m\.csv.*label"):
        load_manifest(manifest_file(tmp_path, "file_name,label,label\na,x,y\n"))


def test_wrong_whole_numbers_are_all_told_with_line_and_value(tmp_path: Path) -> None:
    path = manifest_file(tmp_path, "file_name,label,width,height\na,x,640,480px\nb,x,,\nc,x,12.5,1\n")
    with pytest.raises(ManifestError) as caught:
        load_manifest(path)
    assert str(caught.value).replace(f"{tmp_path}/", "").splitlines() == [
        "m.csv:4: width '12.5': not a whole number of pixels, 1 or more",
        "m.csv:2: height '480px': not a whole number of pixels, 1 or more",
    ]


def test_a_wrong_whole_number_after_a_quoted_line_break_has_its_own_line(tmp_path: Path) -> None:
    path = manifest_file(tmp_path, 'file_name,label,title,width\na,x,"two\nlines",1\nb,x,one,wide\n')
    with pytest.raises(ManifestError, match=r"m\.csv:4: width 'wide': not a whole number of pixels"):
        load_manifest(path)


def test_a_fraction_in_json_lines_is_told_instead_of_cut(tmp_path: Path) -> None:
    path = manifest_file(tmp_path, '{"file_name": "a", "label": "x", "width": 12.5}\n', "m.jsonl")
    with pytest.raises(ManifestError, match=r"m\.jsonl:1: width '12\.5': not a whole number of pixels"):
        load_manifest(path)


def test_a_list_in_json_lines_is_told_with_its_column(tmp_path: Path) -> None:
    path = manifest_file(tmp_path, '{"file_name": "a", "label": "x", "box": [1, 2, 3, 4]}\n', "m.jsonl")
    with pytest.raises(ManifestError, match=r"m\.jsonl.*box"):
        load_manifest(path)


def test_numbers_of_json_lines_become_text_where_text_is_meant(tmp_path: Path) -> None:
    path = manifest_file(tmp_path, '{"file_name": "a", "label": 7, "width": 3}\n', "m.jsonl")
    assert load_manifest(path).table.select("label", "width").rows() == [("7", 3)]


@pytest.mark.parametrize("name", ["m.xlsx", "m", "m.CSV", "m.csv.gz"])
def test_an_unknown_ending_is_told_with_the_known_ones(tmp_path: Path, name: str) -> None:
    path = manifest_file(tmp_path, "file_name,label\n", name)
    with pytest.raises(ManifestError, match=rf"{name}: a manifest ends in \.csv, \.jsonl, .*, not in '.*'"):
        load_manifest(path)


def test_saving_under_an_unknown_ending_is_refused_before_writing(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"m\.txt: a manifest ends in \.csv, .*, not in '\.txt'"):
        save_manifest(full_manifest(tmp_path / "m.csv"), tmp_path / "m.txt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_missing_file_is_told(tmp_path: Path, ending: str) -> None:
    with pytest.raises(ManifestError, match=rf"m\{ending}: no such file; give the path of a manifest"):
        load_manifest(tmp_path / f"m{ending}")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_folder_is_told(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"m{ending}").mkdir()
    with pytest.raises(ManifestError, match=rf"m\{ending}: a folder, not a file; give the path of a manifest"):
        load_manifest(tmp_path / f"m{ending}")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.csv", b""),
        ("m.csv", b"file_name,label\na,x,too,many\n"),
        ("m.csv", "file_name,label\nMüller,x\n".encode("latin-1")),
        ("m.jsonl", b'{"file_name": "a"\n'),
        ("m.jsonl", b"[1, 2]\n"),
        ("m.jsonl", b""),
        ("m.parquet", b"no parquet"),
    ],
)
def test_a_file_that_is_no_table_is_told_with_its_format(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    ending = name.removeprefix("m.")
    with pytest.raises(ManifestError, match=rf"m\.{ending}: cannot be read as {ending} \(.+\)"):
        load_manifest(tmp_path / name)


def test_read_manifest_returns_table_and_problems_together(tmp_path: Path) -> None:
    manifest, problems = read_manifest(manifest_file(tmp_path, "file_name,label,width\na,x,wide\n"))
    assert manifest.table["width"].to_list() == [None]
    assert [(problem.column, problem.value, problem.kind) for problem in problems] == [
        ("width", "wide", "wrong number")
    ]


def test_truth_columns_name_the_label_as_truth_and_drop_the_file(tmp_path: Path) -> None:
    truth = truth_columns(load_manifest(manifest_file(tmp_path, "file_name,label,view\na,x,front\n")).table)
    assert truth.columns[0] == "true_label"
    assert truth["true_label"].to_list() == ["x"]
    assert not {"file_name", "sha256", "label"} & set(truth.columns)
    assert "view" in truth.columns


def test_a_box_is_four_numbers() -> None:
    assert parse_box("1 2.5  30 4e1") == (1.0, 2.5, 30.0, 40.0)


@pytest.mark.parametrize(
    "text",
    ["", "1 2 3", "1 2 3 4 5", "a b c d", "1,2,3,4", "1 2 0 4", "1 2 3 -4", "nan 2 3 4", "1 nan 3 4", "1 2 inf 4"],
)
def test_a_text_that_is_no_box_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_box(text)


def test_columns_that_are_not_asked_for_are_empty_and_slices_not_there(tmp_path: Path) -> None:
    manifest = full_manifest(tmp_path / "m.csv")
    save_manifest(manifest, manifest.path)
    some = load_manifest(manifest.path, ["label", "width", "season"]).table
    assert some.columns == list(COLUMNS)
    assert some.schema == manifest.table.drop("view").schema
    assert some.select("label", "width").equals(manifest.table.select("label", "width"))
    assert some.drop("label", "width").null_count().row(0) == (2,) * (len(COLUMNS) - 2)


def test_columns_that_are_not_read_are_named_and_counted_in_lines_all_the_same(tmp_path: Path) -> None:
    path = manifest_file(tmp_path, 'file_name,titel,label,title,width\na,,x,"two\nlines",1\nb,,x,one,wide\n')
    _, problems = read_manifest(path, ["width"])
    assert [(problem.place.rsplit(":")[-1], problem.column) for problem in problems] == [("4", "width")]
    _, problems = read_manifest(manifest_file(tmp_path, "file_name,license,label\na,x,x\n"), ["label"])
    assert [problem.kind for problem in problems] == ["misspelt column"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_names_of_files_are_no_patterns(tmp_path: Path, ending: str) -> None:
    manifest = full_manifest(tmp_path / f"[m]*{ending}")
    save_manifest(manifest, manifest.path)
    assert load_manifest(manifest.path).table.equals(manifest.table)


def test_wrong_rows_beyond_the_first_are_counted_together(tmp_path: Path) -> None:
    path = manifest_file(tmp_path, "file_name,label,width\n" + "a,x,wide\n" * (MOST_LISTED_ROWS + 234))
    _, problems = read_manifest(path)
    assert len(problems) == MOST_LISTED_ROWS + 1
    assert sum(problem.num_rows for problem in problems) == MOST_LISTED_ROWS + 234
    assert str(problems[-1]) == f"{path}: width: 234 more rows have the same fault"


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_copy_with_a_column_keeps_all_else_as_it_stands(tmp_path: Path, ending: str) -> None:
    manifest = full_manifest(tmp_path / f"m{ending}")
    save_manifest(manifest, manifest.path)
    copy_with_column(manifest.path, tmp_path / f"n{ending}", "split", pl.Series(["test", None]))
    copied = load_manifest(tmp_path / f"n{ending}")
    assert copied.table["split"].to_list() == ["test", None]
    assert copied.table.drop("split").equals(manifest.table.drop("split"))


def test_a_copy_may_replace_its_source_and_have_another_ending(tmp_path: Path) -> None:
    path = manifest_file(tmp_path, "label,view,file_name,width\n007,front,a.jpg,+5\n")
    copy_with_column(path, path, "split", pl.Series(["test"]))
    assert path.read_text() == "label,view,file_name,split,width\n007,front,a.jpg,test,+5\n"
    copy_with_column(path, tmp_path / "m.parquet", "season", pl.Series(["winter"]))
    assert column_names(tmp_path / "m.parquet") == ["label", "view", "file_name", "split", "width", "season"]
    assert load_manifest(tmp_path / "m.parquet").table["width"].to_list() == [5]


def test_a_copy_that_cannot_be_made_leaves_the_old_one(tmp_path: Path) -> None:
    path = manifest_file(tmp_path, "file_name,label\na,x\n")
    broken = manifest_file(tmp_path, "file_name,label\na,x,too,many\n", "broken.csv")
    with pytest.raises(ManifestError, match=r"broken\.csv: cannot be read as csv"):
        copy_with_column(broken, path, "split", pl.Series(["test"]))
    assert path.read_text() == "file_name,label\na,x\n"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["broken.csv", "m.csv"]
