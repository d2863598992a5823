"""Boxes in the columns of a table, as tools that export CSV write them."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import run_vision
from PIL import Image

from vision.data.importing.columns import parse_column_options
from vision.data.importing.importing import ImportedDataSet, import_data_set, open_source, plan_pictures
from vision.data.importing.labels import map_labels, with_classes
from vision.data.importing.pictures import ImportOptions
from vision.errors import InputPathError
from vision.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy()


def table(folder: Path, text: str) -> Path:
    """A table of pictures `a.png` and `b.png`, both of 90 x 60 px."""
    for name in ("a.png", "b.png"):
        Image.new("RGB", (90, 60)).save(folder / name)
    path = folder / "list.csv"
    path.write_text(text)
    return path


def imported(path: Path, *columns: str, crop: bool | None = None) -> ImportedDataSet:
    source = open_source(path, None, parse_column_options(list(columns)))
    with_classes(source, map_labels(source, TAXONOMY, {}))
    return import_data_set(source, plan_pictures(source, crop), path.parent / "out", ImportOptions(crop=crop))


@pytest.mark.parametrize(
    "text",
    [
        "filename,width,height,class,xmin,ymin,xmax,ymax\na.png,90,60,tor-m1,20,10,36,22\n",
        "filename,class,x,y,w,h\na.png,tor-m1,20,10,16,12\n",
        "filename,class,x,y,width,height\na.png,tor-m1,20,10,16,12\n",
        "filename,class,x1,y1,x2,y2\na.png,tor-m1,20.0,10.0,36.0,22.0\n",
        "filename,class,XMin,XMax,YMin,YMax\na.png,tor-m1,0.222223,0.4,0.166667,0.366667\n",  # shares of the sides
    ],
)
def test_four_columns_are_a_box(tmp_path: Path, text: str) -> None:
    done = imported(table(tmp_path, text))
    assert done.manifest.table["box"].to_list() == ["20 10 16 12"]
    assert not {"xmin", "x", "x1", "XMin"} & set(done.manifest.table.columns)
    assert any("are taken as the box" in note for note in done.notes)


def test_several_boxes_of_one_picture_are_several_rows(tmp_path: Path) -> None:
    rows = "a.png,90,60,tor-m1,20,10,36,22\na.png,90,60,osa-akm,50,10,80,50\nb.png,90,60,tor-m1,1,1,9,9\n"
    done = imported(table(tmp_path, f"filename,width,height,class,xmin,ymin,xmax,ymax\n{rows}"))
    assert done.manifest.table["label"].to_list() == ["tor-m1", "osa-akm", "tor-m1"]
    assert done.manifest.file_names == ["images/a-box1.png", "images/a-box2.png", "images/b.png"]
    assert done.left_out == []


def test_no_path_of_this_machine_becomes_a_group(tmp_path: Path) -> None:
    (tmp_path / "table").mkdir()
    inner = table(tmp_path, "")
    rows = "".join(f"{inner.parent / 'a.png'},tor-m1,{x},1,9,9\n" for x in (1, 50))
    path = table(tmp_path / "table", f"filename,class,x,y,w,h\n{rows}")
    assert imported(path).manifest.table["group"].to_list() == ["images/a-box1"] * 2


def test_a_row_without_numbers_is_a_whole_picture_and_one_with_too_few_is_left_out(tmp_path: Path) -> None:
    path = table(tmp_path, "filename,class,xmin,ymin,xmax,ymax\na.png,tor-m1,,,,\nb.png,tor-m1,1,2,x,4\n")
    done = imported(path)
    assert done.manifest.table["box"].to_list() == [None]
    assert done.left_out[0].reason == "the box is not four numbers: xmin '1', ymin '2', xmax 'x', ymax '4'"


def test_a_box_of_a_picture_of_another_size_is_left_out(tmp_path: Path) -> None:
    path = table(tmp_path, "filename,width,height,class,xmin,ymin,xmax,ymax\na.png,900,600,tor-m1,20,10,36,22\n")
    with pytest.raises(InputPathError, match=r"list\.csv:2: the box was drawn in a picture of 900 x 600 px"):
        imported(path)


def test_other_names_of_the_columns_can_be_given_and_a_column_box_counts_first(tmp_path: Path) -> None:
    path = table(tmp_path, "filename,class,l,t,r,b\na.png,tor-m1,20,10,36,22\n")
    done = imported(path, "l=xmin", "t=ymin", "r=xmax", "b=ymax")
    assert done.manifest.table["box"].to_list() == ["20 10 16 12"]
    path = table(tmp_path / "out", "filename,class,x,y,w,h,box\na.png,tor-m1,1,1,1,1,20 10 16 12\n")
    assert imported(path).manifest.table["box"].to_list() == ["20 10 16 12"]


def test_an_import_of_nothing_writes_nothing_and_says_why(tmp_path: Path) -> None:
    path = table(tmp_path, "filename,class\na.png,tor-m1\na.png,osa-akm\n")
    for options in ([], ["--dry-run"]):
        done = run_vision("data", "import", path, "-o", tmp_path / "new", *options)
        assert done.returncode == 2
        assert "no row comes out of it, all 2 pictures or boxes are left out" in done.stderr
        assert "list.csv:2: stands several times, as osa-akm and as tor-m1" in done.stderr
        assert not (tmp_path / "new").exists()
