"""Class folders, tables and Hugging Face folders become data sets; nothing is lost, nothing is half written."""

import csv
import json
import os
import shutil
from pathlib import Path

import polars as pl
import pytest
from command_line import run_vision
from PIL import Image
from typer.testing import CliRunner

from vision.cli.data import data_app
from vision.data.check import find_file_problems, read_file_facts
from vision.data.importing.columns import parse_column_options
from vision.data.importing.importing import ImportedDataSet, find_format, import_data_set, open_source, plan_pictures
from vision.data.importing.labels import check_no_unknown_labels, map_labels, parse_label_options, with_classes
from vision.data.importing.names import NameRegister
from vision.data.importing.pictures import ImportOptions, versions_hint
from vision.data.importing.source import ImportSource, SourceFormat
from vision.data.manifest import load_manifest
from vision.errors import InputPathError, OutputError, UsageError, VisionError
from vision.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy()


def draw(path: Path, shade: int = 0, **saved: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 8), (shade, 60, 90)).save(path, **saved)  # type: ignore[arg-type]
    return path


def table(tmp_path: Path, text: str, name: str = "list.csv") -> Path:
    path = tmp_path / "in" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def opened(path: Path, *columns: str) -> ImportSource:
    return open_source(path, None, parse_column_options(list(columns)))


def imported(
    source: ImportSource, folder: Path, options: ImportOptions | None = None, **labels: str
) -> ImportedDataSet:
    mapping = map_labels(source, TAXONOMY, labels)
    with_classes(source, mapping)
    return import_data_set(source, plan_pictures(source, None), folder, options or ImportOptions())


def rows(done: ImportedDataSet, *columns: str) -> list[tuple[object, ...]]:
    return done.manifest.table.select(columns).rows()


def reasons(done: ImportedDataSet | ImportSource) -> list[str]:
    return [out.reason for out in done.left_out]


def test_class_folders_become_rows_with_digest_and_size(tmp_path: Path) -> None:
    draw(tmp_path / "in/tor-m1/a.png", 1)
    draw(tmp_path / "in/osa-akm/deep/ü b.png", 2)
    done = imported(opened(tmp_path / "in"), tmp_path / "out")
    assert rows(done, "file_name", "label", "width", "height") == [
        ("images/osa-akm/deep/ü b.png", "osa-akm", 12, 8),
        ("images/tor-m1/a.png", "tor-m1", 12, 8),
    ]
    manifest = load_manifest(tmp_path / "out/manifest.csv")
    assert manifest.table.equals(done.manifest.table)
    assert find_file_problems(manifest, read_file_facts(manifest)) == []


def test_split_folders_above_the_classes_are_splits(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        draw(tmp_path / f"in/{split}/tor-m1/a.png", len(split))
    done = imported(opened(tmp_path / "in"), tmp_path / "out")
    assert sorted(rows(done, "label", "split")) == [("tor-m1", s) for s in ("calibration", "test", "train")]


def test_files_of_one_name_in_several_folders_do_not_overwrite_each_other(tmp_path: Path) -> None:
    draw(tmp_path / "in/a.png", 1)
    draw(tmp_path / "other/a.png", 2)
    draw(tmp_path / "other/A.png", 3)
    path = table(tmp_path, "path,label\na.png,tor-m1\n../other/a.png,tor-m1\n../other/A.png,tor-m1\n")
    done = imported(opened(path), tmp_path / "out")
    assert [name for (name,) in rows(done, "file_name")] == ["images/a.png", "images/a-2.png", "images/A-3.png"]
    assert done.manifest.table["sha256"].n_unique() == 3


def test_broken_missing_and_unlabelled_pictures_are_left_out_with_their_reasons(tmp_path: Path) -> None:
    draw(tmp_path / "in/a.png")
    (tmp_path / "in/b.jpg").write_bytes(b"no picture")
    path = table(
        tmp_path, "file,class\na.png,tor-m1\nb.jpg,tor-m1\nc.png,tor-m1\na.png,\n,tor-m1\nhttp://e.org/a.jpg,x\n"
    )
    done = imported(opened(path), tmp_path / "out")
    with (tmp_path / "out/left_out.csv").open(newline="") as stream:
        left_out = {row["place"]: (row["picture"], row["reason"][:30]) for row in csv.DictReader(stream)}
    assert left_out == {
        "list.csv:3": ("b.jpg", "not a picture in a format that"),
        "list.csv:4": ("c.png", "no such file"),
        "list.csv:5": ("a.png", "it has no label"),
        "list.csv:6": ("", "names no picture"),
        "list.csv:7": ("http://e.org/a.jpg", "is an address, not a file; dow"),
    }
    assert len(done.manifest.table) + len(left_out) == 6


def test_a_picture_that_stands_twice_is_taken_once_and_one_with_two_labels_not_at_all(tmp_path: Path) -> None:
    draw(tmp_path / "in/a.png", 1)
    draw(tmp_path / "in/b.png", 2)
    path = table(tmp_path, "file,label\na.png,tor-m1\n./a.png,tor-m1\nb.png,tor-m1\nb.png,osa-akm\n")
    done = imported(opened(path), tmp_path / "out")
    assert rows(done, "file_name") == [("images/a.png",)]
    assert (
        reasons(done)
        == ["stands already at list.csv:2"]
        + ["stands several times, as osa-akm and as tor-m1; only one can be right"] * 2
    )


def test_columns_are_guessed_and_told_and_others_are_slices(tmp_path: Path) -> None:
    draw(tmp_path / "in/a.png")
    path = table(tmp_path, "Image_Path,Category,license,photographer,weather\na.png,tor-m1,CC BY-SA 4.0,nobody,snow\n")
    done = imported(opened(path), tmp_path / "out")
    assert rows(done, "file_name", "licence", "author", "weather") == [
        ("images/a.png", "CC-BY-SA-4.0", "nobody", "snow")
    ]
    assert "column 'Image_Path' is taken as file_name" in done.notes


def test_a_column_goes_where_the_user_says_or_is_left_out(tmp_path: Path) -> None:
    draw(tmp_path / "in/a.png")
    path = table(tmp_path, "photo,text,photographer,model\na.png,tor-m1,nobody,x\n")
    source = opened(path, "photo=file_name", "text=label", "photographer=group", "model=")
    assert rows(imported(source, tmp_path / "out"), "label", "group", "author") == [("tor-m1", "nobody", None)]


@pytest.mark.parametrize(
    ("header", "columns", "told"),
    [
        (
            "photo,label",
            [],
            r"list\.csv: no column is known to hold the picture's path; there are: photo, label; name it",
        ),
        ("path,text", [], r"no column is known to hold the label; .* --column THEIRS=label"),
        ("path,label,model", [], r"column 'model' has the name of a column of predictions"),
        ("path,label,titel", [], r"column 'titel' unknown column, did you mean 'title'"),
        ("path,label", ["lable=label"], r"there is no column 'lable', did you mean 'label'"),
        ("path,label,a,b", ["a=view", "b=view"], r"2 columns are taken as view \(a, b\)"),
        ("path,label", ["path"], r"--column path: not of the form THEIRS=OURS"),
    ],
)
def test_columns_that_do_not_fit_are_told_with_the_remedy(
    tmp_path: Path, header: str, columns: list[str], told: str
) -> None:
    path = table(tmp_path, f"{header}\n{','.join('x' for _ in header.split(','))}\n")
    with pytest.raises(UsageError, match=told):
        opened(path, *columns)


def test_nested_columns_are_told_with_the_remedy(tmp_path: Path) -> None:
    path = table(tmp_path, '{"file_name": "a.png", "label": "tor-m1", "objects": {"bbox": [1]}}\n', "metadata.jsonl")
    with pytest.raises(UsageError, match=r"column 'objects' holds Struct.*leave it out with --column 'objects='"):
        opened(path)


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_hugging_face_metadata_is_read_with_splits_by_folder(tmp_path: Path, ending: str) -> None:
    for split in ("train", "validation"):
        draw(tmp_path / f"in/{split}/a.png", len(split))
        frame = pl.DataFrame({"file_name": ["a.png"], "label": [0]})
        path = tmp_path / f"in/{split}/metadata{ending}"
        writers = {".csv": frame.write_csv, ".jsonl": frame.write_ndjson, ".parquet": frame.write_parquet}
        writers[ending](path)
    source = opened(tmp_path / "in")
    assert source.format is SourceFormat.HUGGINGFACE
    done = imported(source, tmp_path / "out", **{"0": "tor-m1"})
    assert rows(done, "file_name", "label", "split") == [
        ("images/train/a.png", "tor-m1", "train"),
        ("images/validation/a.png", "tor-m1", "calibration"),
    ]


def test_names_of_numbered_labels_in_a_parquet_of_hugging_face_are_used(tmp_path: Path) -> None:
    draw(tmp_path / "in/a.png")
    noted = {"info": {"features": {"label": {"_type": "ClassLabel", "names": ["osa-akm", "Tor-M1"]}}}}
    frame = pl.DataFrame({"file_name": ["a.png"], "label": [1]})
    frame.write_parquet(tmp_path / "in/metadata.parquet", metadata={"huggingface": json.dumps(noted)})
    assert rows(imported(opened(tmp_path / "in"), tmp_path / "out"), "label") == [("tor-m1",)]


def test_an_unknown_split_is_told_with_its_count(tmp_path: Path) -> None:
    path = table(tmp_path, "path,label,split\na,tor-m1,trian\nb,tor-m1,trian\nc,tor-m1,VAL\n")
    with pytest.raises(UsageError, match=r"split 'trian' \(2 times\) is none, did you mean 'train'"):
        opened(path)


def test_names_with_windows_separators_and_other_unicode_forms_are_found(tmp_path: Path) -> None:
    draw(tmp_path / "in/x/a\u0308.png", 1)
    path = table(tmp_path, "path,label\nx\\ä.png,tor-m1\n")
    assert rows(imported(opened(path), tmp_path / "out"), "label") == [("tor-m1",)]


def test_a_box_in_a_table_is_kept(tmp_path: Path) -> None:
    draw(tmp_path / "in/a.png")
    path = table(tmp_path, "path,label,box\na.png,tor-m1,1 2 5 4\na.png,tor-m1,1 2 x 4\n")
    done = imported(opened(path), tmp_path / "out")
    assert rows(done, "file_name", "box") == [("images/a.png", "1 2 5 4")]
    assert reasons(done) == ["box is not 'x y width height' in px (could not convert string to float: 'x')"]


def test_the_table_goes_before_the_file_and_the_file_before_the_options(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x013B], exif[0x8298] = "of the file", "CC BY 4.0"
    draw(tmp_path / "in/a.jpg", 1, exif=exif)
    draw(tmp_path / "in/b.jpg", 2, exif=exif)
    draw(tmp_path / "in/c.jpg", 3)
    path = table(
        tmp_path, "path,label,author,licence\na.jpg,tor-m1,of the table,CC0-1.0\nb.jpg,tor-m1,,\nc.jpg,tor-m1,,\n"
    )
    stated = {"author": "of the options", "licence": "CC-BY-SA-4.0"}
    done = imported(opened(path), tmp_path / "out", ImportOptions(stated=stated))
    assert rows(done, "author", "licence") == [
        ("of the table", "CC0-1.0"),
        ("of the file", "CC-BY-4.0"),
        ("of the options", "CC-BY-SA-4.0"),
    ]


def test_a_file_that_says_all_rights_are_reserved_gets_no_licence_of_the_options(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x8298] = "(c) Ann, all rights reserved"
    draw(tmp_path / "in/tor-m1/a.jpg", exif=exif)
    draw(tmp_path / "in/tor-m1/b.png")
    options = ImportOptions(stated={"licence": "CC0-1.0", "author": "Bob"})
    done = imported(opened(tmp_path / "in"), tmp_path / "out", options)
    assert rows(done, "licence", "author") == [(None, "Bob"), ("CC0-1.0", "Bob")]
    assert done.reserved == ["images/tor-m1/a.jpg: (c) Ann, all rights reserved"]
    options = ImportOptions(stated={"licence": "CC0-1.0"}, licence_overrides=True)
    assert set(imported(opened(tmp_path / "in"), tmp_path / "all", options).manifest.table["licence"]) == {"CC0-1.0"}


def test_the_command_lists_files_whose_rights_are_reserved(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x8298] = "(c) Ann, all rights reserved"
    draw(tmp_path / "in/tor-m1/a.jpg", exif=exif)
    command = ("data", "import", tmp_path / "in", "-o", tmp_path / "out")
    done = run_vision(*command, "--licence", "CC0-1.0")
    assert "import with --licence-overrides:\n  images/tor-m1/a.jpg: (c) Ann" in done.stderr
    alone = run_vision(*command, "--licence-overrides", "--overwrite")
    assert (alone.returncode, "give --licence too" in alone.stderr) == (2, True)


def test_rights_in_a_file_that_the_options_override_are_noted(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x8298] = "(c) Ann"
    draw(tmp_path / "in/tor-m1/a.jpg", exif=exif)
    done = imported(opened(tmp_path / "in"), tmp_path / "out", ImportOptions(stated={"licence": "CC0-1.0"}))
    assert any("1 files speak of rights that are no licence, such as '(c) Ann" in note for note in done.notes)


def test_groups_come_from_folders_or_names(tmp_path: Path) -> None:
    draw(tmp_path / "in/tor-m1/parade/ann_1.png")
    by_folder = imported(opened(tmp_path / "in"), tmp_path / "out", ImportOptions(group_by_folder=True))
    assert rows(by_folder, "group") == [("tor-m1/parade",)]
    draw(tmp_path / "in/list/ann_1.png")
    done = run_vision("data", "import", tmp_path / "in/tor-m1", "-o", tmp_path / "named", "--label", "parade=tor-m1",
                      "--group-by-name", "^([a-z]+)_")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert load_manifest(tmp_path / "named/manifest.csv").table["group"].to_list() == ["ann"]


def test_hard_links_share_the_file(tmp_path: Path) -> None:
    picture = draw(tmp_path / "in/tor-m1/a.png")
    imported(opened(tmp_path / "in"), tmp_path / "out", ImportOptions(link=True))
    assert os.path.samefile(picture, tmp_path / "out/images/tor-m1/a.png")  # noqa: PTH121


def test_unknown_labels_are_told_together_with_counts_and_nearest_class(tmp_path: Path) -> None:
    for name in ("tor-n1/a", "tor-n1/b", "zebra/c", "Tor-M1/d"):
        draw(tmp_path / f"in/{name}.png")
    source = opened(tmp_path / "in")
    mapping = map_labels(source, TAXONOMY, {})
    with pytest.raises(UsageError) as told:
        check_no_unknown_labels(mapping, TAXONOMY)
    lines = str(told.value).splitlines()
    assert lines[:2] == [
        "label 'tor-n1' (2 times) is no class of the taxonomy, did you mean 'tor-m1'?",
        "label 'zebra' (1 times) is no class of the taxonomy",
    ]
    assert "label 'Tor-M1' is taken as tor-m1" in source.notes


@pytest.mark.parametrize(
    ("options", "text", "told"),
    [
        (["tor"], None, r"--label tor: not of the form NAME=CLASS_ID"),
        (["a=tor-m1", "a=osa-akm"], None, r"label 'a' is already mapped to 'tor-m1'"),
        ([], "name,class\n", r"labels\.csv:1: needs the columns label and class, has name, class"),
        ([], "label,class\na,\n", r"labels\.csv:2: label or class is empty"),
    ],
)
def test_wrong_label_maps_are_told(tmp_path: Path, options: list[str], text: str | None, told: str) -> None:
    path = None if text is None else tmp_path / "labels.csv"
    if path is not None:
        path.write_text(text or "")
    with pytest.raises(UsageError, match=told):
        parse_label_options(options, path)


def test_a_label_mapped_to_a_class_that_is_none_names_the_nearest(tmp_path: Path) -> None:
    draw(tmp_path / "in/x/a.png")
    with pytest.raises(UsageError, match=r"label 'x': class 'tor-n1' is not in the taxonomy, did you mean 'tor-m1'"):
        map_labels(opened(tmp_path / "in"), TAXONOMY, {"x": "tor-n1"})


def test_a_layout_that_is_not_clear_is_told_with_both_readings(tmp_path: Path) -> None:
    draw(tmp_path / "in/tor-m1/a.png")
    assert find_format(tmp_path / "in") is SourceFormat.FOLDERS
    table(tmp_path, "file_name,label\n", "metadata.csv")
    table(tmp_path, '{"images": [], "annotations": [], "categories": []}', "a.json")
    with pytest.raises(UsageError, match=r"may be huggingface \(metadata\.csv\) and coco \(a\.json\); say which"):
        find_format(tmp_path / "in")


def test_a_folder_without_pictures_and_a_wrong_path_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputPathError, match=r"nowhere: no such file or folder"):
        opened(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"no known layout"):
        opened(tmp_path)


def test_nothing_is_left_behind_when_importing_is_interrupted(tmp_path: Path) -> None:
    draw(tmp_path / "in/tor-m1/a.png")
    source = opened(tmp_path / "in")

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_data_set(source, plan_pictures(source, None), tmp_path / "out", ImportOptions(), on_progress=interrupt)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_pictures_that_lie_in_the_folder_to_be_replaced_are_safe(tmp_path: Path) -> None:
    picture = draw(tmp_path / "out/a.png")
    source = opened(table(tmp_path, f"path,label\n{picture},tor-m1\n"))
    with pytest.raises(OutputError, match=r"are to be imported and lie in it; choose another folder"):
        imported(source, tmp_path / "out")
    assert picture.exists()


def test_names_are_fit_for_every_file_system() -> None:
    register = NameRegister(Path("/data"))
    assert register.name_of("/data/a\\b:c\n.jpg") == "images/a_b_c_.jpg"
    assert register.name_of("/data/images/x.jpg") == "images/x.jpg"
    long = register.name_of(f"/data/{'ü' * 120}.jpg")
    assert len(long.encode()) < 230
    assert long.endswith(".jpg")
    assert register.stems_of_crops("/data/x.jpg", 2) == ["images/x-box1", "images/x-box2"]
    assert register.name_of("/data/X-box1.PNG") == "images/X-box1-2.PNG"


def test_the_command_replaces_only_data_sets_and_only_when_told(tmp_path: Path) -> None:
    draw(tmp_path / "in/tor-m1/a.png")
    draw(tmp_path / "home/precious.png")
    command = ("data", "import", tmp_path / "in", "-o")
    assert run_vision(*command, tmp_path / "out", "--licence", "CC BY 4.0").returncode == 0
    for arguments, told in [
        ((*command, tmp_path / "out"), "is not empty; choose another folder, or replace it whole with --overwrite"),
        ((*command, tmp_path / "home", "--overwrite"), "holds no manifest.csv"),
        ((*command, tmp_path / "in/new"), "lies in SOURCE"),
        ((*command, tmp_path), "SOURCE lies in it"),
        ((*command, tmp_path / "new", "--format", "cocco"), "did you mean 'coco'?"),
        ((*command, tmp_path / "new", "--column", "a=b"), "--column is for tables"),
        ((*command, tmp_path / "new", "--label", "tor-m1=tor-m9"), "class 'tor-m9' is not in the taxonomy"),
    ]:
        done = CliRunner().invoke(data_app, list(map(str, arguments[1:])))
        assert isinstance(done.exception, VisionError), done.output
        assert (done.exception.exit_code, told in str(done.exception)) == (2, True), str(done.exception)
    (tmp_path / "out/old.txt").touch()
    assert run_vision(*command, tmp_path / "out", "--overwrite").returncode == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["images", "left_out.csv", "manifest.csv"]
    assert (tmp_path / "home/precious.png").exists()


def test_the_command_tells_broken_pictures_by_its_exit_code_and_missing_licences(tmp_path: Path) -> None:
    draw(tmp_path / "in/tor-m1/a.png")
    (tmp_path / "in/tor-m1/b.png").write_bytes(b"\x89PNG")
    done = run_vision("data", "import", tmp_path / "in", "-o", tmp_path / "out")
    assert done.returncode == 1
    assert f"left out: {tmp_path}/in/tor-m1: b.png: not a picture in a format that is read" in done.stderr
    assert "1 pictures have no licence" in done.stderr
    assert "1 rows; 1 left out" in done.stdout


def test_a_dry_run_writes_nothing_and_tells_what_is_missing(tmp_path: Path) -> None:
    path = table(tmp_path, "path,label\na.png,tor-m1\nb.png,zebra\n")
    done = run_vision("data", "import", path, "-o", tmp_path / "out", "--dry-run", "--skip-unknown-labels")
    assert done.returncode == 0, done.stderr
    assert (
        "would hold 1 rows from 1 pictures; 1 files are missing, 1 pictures or boxes would be left out" in done.stdout
    )
    assert not (tmp_path / "out").exists()


def test_the_real_photographs_as_class_folders_give_their_manifest_again(photos_dir: Path, tmp_path: Path) -> None:
    known = load_manifest(photos_dir / "manifest.csv").table
    for name, label in known.select("file_name", "label").iter_rows():
        (tmp_path / "in" / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(photos_dir / name, tmp_path / "in" / label)
    done = imported(opened(tmp_path / "in"), tmp_path / "out")
    columns = ("label", "sha256", "width", "height")
    assert len(done.manifest.table) == 75
    assert sorted(rows(done, *columns)) == sorted(known.select(columns).rows())
    assert "0 of 75 files say something of author, licence, source or title" in done.notes


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"photo;label\na.png;tor-m1\n", r"list\.csv: its columns are separated by ';'; save it with commas"),
        (b"photo\tlabel\na.png\ttor-m1\n", r"its columns are separated by tabs; save it with commas"),
        ("path,label\na.png,tor-m1\n".encode("utf-16"), r"list\.csv: is UTF-16, or no text; save it as CSV in UTF-8"),
        ("path,label\n\u00fc.png,tor-m1\n".encode("latin-1"), r"cannot be read as csv \(.*\); save it in UTF-8"),
    ],
)
def test_a_table_in_another_form_is_told_with_the_way_to_save_it(tmp_path: Path, content: bytes, told: str) -> None:
    path = table(tmp_path, "")
    path.write_bytes(content)
    with pytest.raises(InputPathError, match=told):
        opened(path)


def test_pictures_in_no_class_folder_are_told_instead_of_an_empty_data_set(tmp_path: Path) -> None:
    draw(tmp_path / "in/a.png")
    with pytest.raises(UsageError, match=r"holds 1 pictures in no folder of a class; put them into folders"):
        opened(tmp_path / "in")
    with pytest.raises(InputPathError, match=r"holds 1 pictures in no folder of a class; put them into folders"):
        open_source(tmp_path / "in", SourceFormat.FOLDERS, {})


def test_a_licence_without_its_version_is_told_so(tmp_path: Path) -> None:
    assert versions_hint("cc by") == "the version is missing; such as 'CC-BY-4.0'"
    assert versions_hint("CC BY-SA 3.0") == versions_hint("my own") == ""
    draw(tmp_path / "in/tor-m1/a.png")
    done = CliRunner().invoke(
        data_app, ["import", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--licence", "cc by", "--dry-run"]
    )
    assert "--licence 'cc by': the version is missing; such as 'CC-BY-4.0'" in done.stderr
