"""Boxes of COCO and YOLO: a red marker drawn in the picture lies where the imported box says, whatever turns it."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from vision.data.images import decode_image
from vision.data.importing.boxes import BoxError, box_text, cut_out, place_box, save_crop
from vision.data.importing.coco import read_coco
from vision.data.importing.embedded_provenance import Provenance, read_provenance
from vision.data.importing.importing import ImportedDataSet, import_data_set, plan_pictures
from vision.data.importing.labels import map_labels, with_classes
from vision.data.importing.pictures import ImportOptions
from vision.data.importing.source import ImportSource, SourceBox
from vision.data.importing.yolo import read_yolo
from vision.data.manifest import load_manifest, parse_box
from vision.errors import InputPathError
from vision.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy()
MARKER = (20, 10, 16, 12)
SIZE = (90, 60)


def draw(path: Path, boxes: Sequence[tuple[int, int, int, int]] = (MARKER,), orientation: int = 1) -> Path:
    """A grey picture with red markers in its stored pixels."""
    image = Image.new("RGB", SIZE, (90, 90, 90))
    for x, y, width, height in boxes:
        ImageDraw.Draw(image).rectangle((x, y, x + width - 1, y + height - 1), fill=(255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, exif=exif)
    return path


def red_box(path: Path) -> tuple[int, int, int, int]:
    """Where the red pixels of the upright picture lie."""
    pixels = np.asarray(decode_image(path)).astype(int)
    ys, xs = np.nonzero((pixels[..., 0] > 180) & (pixels[..., 1] < 60))
    return int(xs.min()), int(ys.min()), int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1


def coco(
    tmp_path: Path, images: object, annotations: object, categories: object = None, licences: object = None
) -> Path:
    path = tmp_path / "in" / "annotations.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    categories = categories or [{"id": 1, "name": "tor-m1"}, {"id": 2, "name": "osa-akm"}]
    content = {"images": images, "annotations": annotations, "categories": categories, "licenses": licences}
    path.write_text(json.dumps(content))
    return path


def annotation(number: int, bbox: object, image_id: int = 1, category: int = 1, **more: object) -> dict[str, object]:
    return {"id": number, "image_id": image_id, "category_id": category, "bbox": bbox, **more}


def imported(source: ImportSource, folder: Path, options: ImportOptions | None = None) -> ImportedDataSet:
    options = options or ImportOptions()
    mapping = map_labels(source, TAXONOMY, {})
    assert not mapping.unknown
    with_classes(source, mapping)
    return import_data_set(source, plan_pictures(source, options.crop), folder, options)


def reasons(done: ImportedDataSet | ImportSource) -> list[str]:
    return [out.reason for out in done.left_out]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("counts_stored", [False, True])
def test_a_coco_box_lies_on_its_marker_however_exif_turns_the_picture(
    tmp_path: Path, orientation: int, counts_stored: bool
) -> None:
    picture = draw(tmp_path / "in/a.png", orientation=orientation)
    upright = decode_image(picture).size
    box, size = (MARKER, SIZE) if counts_stored else (red_box(picture), upright)
    path = coco(
        tmp_path,
        [{"id": 1, "file_name": "a.png", "width": size[0], "height": size[1]}],
        [annotation(1, list(box))],
    )
    options = ImportOptions(crop=True, boxes_count_stored_pixels=counts_stored and size == upright)
    done = imported(read_coco(path), tmp_path / "out", options)
    (row,) = done.manifest.table.iter_rows(named=True)
    assert parse_box(row["box"]) == red_box(tmp_path / "out" / row["file_name"])
    assert (row["width"], row["height"]) == decode_image(tmp_path / "out" / row["file_name"]).size


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_yolo_box_lies_on_its_marker_in_whole_and_cropped_pictures(
    tmp_path: Path, orientation: int, ending: str
) -> None:
    picture = draw(tmp_path / f"in/images/a.{ending}", orientation=orientation)
    (x, y, width, height), size = red_box(picture), decode_image(picture).size
    shares = ((x + width / 2) / size[0], (y + height / 2) / size[1], width / size[0], height / size[1])
    yolo_labels(tmp_path, "a", "0 " + " ".join(map(str, shares)), names="tor-m1\n")
    for crop in (False, True):
        done = imported(read_yolo(tmp_path / "in"), tmp_path / f"out{crop}", ImportOptions(crop=crop))
        (row,) = done.manifest.table.iter_rows(named=True)
        found = red_box(tmp_path / f"out{crop}" / row["file_name"])
        assert np.allclose(parse_box(row["box"]), found, atol=1.5 if ending == "jpg" else 0.25)


@given(
    x=st.floats(-40, 120), y=st.floats(-40, 90), width=st.floats(-5, 150), height=st.floats(-5, 150),
    orientation=st.integers(1, 8), stored=st.booleans(), margin=st.floats(0, 2),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_placed_boxes_lie_within_the_picture_and_crops_around_them(
    x: float, y: float, width: float, height: float, orientation: int, stored: bool, margin: float
) -> None:
    try:
        placed = place_box(SourceBox(x, y, width, height), SIZE, orientation, counts_stored_pixels=stored)
    except BoxError:
        return
    left, top, box_width, box_height = placed.box
    assert left >= 0
    assert top >= 0
    assert left + box_width <= SIZE[0]
    assert top + box_height <= SIZE[1]
    assert min(box_width, box_height) >= 1
    crop = cut_out(Image.new("RGB", SIZE), placed.box, margin)
    inner = parse_box(box_text(crop.box))
    assert (crop.rectangle[0] + inner[0], crop.rectangle[1] + inner[1]) == (left, top)
    assert min(inner[:2]) >= 0
    assert inner[0] + inner[2] <= crop.image.width
    assert inner[1] + inner[3] <= crop.image.height


def test_several_boxes_become_crops_of_one_group_and_a_single_box_stays_whole(tmp_path: Path) -> None:
    second = (60, 30, 20, 20)
    draw(tmp_path / "in/a.png", [MARKER, second])
    single = draw(tmp_path / "in/b.png")
    images = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}]
    boxes = [annotation(1, MARKER), annotation(2, second, category=2), annotation(3, MARKER, image_id=2)]
    done = imported(read_coco(coco(tmp_path, images, boxes)), tmp_path / "out")
    rows = done.manifest.table.select("file_name", "label", "group", "changes").rows()
    assert [row[:3] for row in rows] == [
        ("images/a-box1.png", "tor-m1", "a.png"),
        ("images/a-box2.png", "osa-akm", "a.png"),
        ("images/b.png", "tor-m1", None),
    ]
    assert rows[0][3] == "cropped to 18 9 20 14 of the original (box with margin 0.1), saved as PNG"
    assert (tmp_path / "out/images/b.png").read_bytes() == single.read_bytes()


def test_whole_pictures_cannot_hold_several_boxes(tmp_path: Path) -> None:
    draw(tmp_path / "in/a.png")
    draw(tmp_path / "in/b.png")
    boxes = [annotation(1, MARKER), annotation(2, [60, 30, 20, 20]), annotation(3, MARKER, 2)]
    images = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}]
    done = imported(read_coco(coco(tmp_path, images, boxes)), tmp_path / "out", ImportOptions(crop=False))
    assert reasons(done) == ["2 boxes in one picture: one row can hold one; import with --crop"] * 2


def test_crops_of_a_jpeg_keep_author_and_page_and_drop_the_place(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x013B] = "Ann Lee"
    exif.get_ifd(0x8825)[1] = "N"
    (tmp_path / "in").mkdir()
    Image.new("RGB", SIZE).save(tmp_path / "in/a.jpg", exif=exif, comment=b"https://e.org/1")
    source = read_coco(coco(tmp_path, [{"id": 1, "file_name": "a.jpg"}], [annotation(1, MARKER)]))
    done = imported(source, tmp_path / "out", ImportOptions(crop=True))
    (row,) = done.manifest.table.iter_rows(named=True)
    assert (row["author"], row["source_url"]) == ("Ann Lee", "https://e.org/1")
    with Image.open(tmp_path / "out/images/a-box1.jpg") as crop:
        assert crop.getexif()[0x013B] == "Ann Lee"
        assert crop.info["comment"] == b"File source: https://e.org/1"
        assert not crop.getexif().get_ifd(0x8825)


@pytest.mark.parametrize(
    ("bbox", "more", "reason"),
    [
        ([1, 2, 3], {}, "bbox [1, 2, 3] is not four finite numbers"),
        (None, {}, "bbox None is not four finite numbers"),
        ([1, 2, "3", 4], {}, "bbox [1, 2, '3', 4] is not four finite numbers"),
        ([float("nan"), 2, 3, 4], {}, "bbox [nan, 2, 3, 4] is not four finite numbers"),
        ([5, 5, 0, 9], {}, "the box has no area: width 0, height 9"),
        ([5, 5, -4, 9], {}, "the box has no area: width -4, height 9"),
        ([95, 5, 9, 9], {}, "box 95 5 9 9 lies outside the picture of 90 x 60 px"),
        ([89.5, 5, 9, 9], {}, "box 89.5 5 9 9 lies with less than 1 px in the picture of 90 x 60 px"),
        (MARKER, {"iscrowd": 1}, "a crowd, not one vehicle"),
        (MARKER, {"category_id": 9}, "there is no category with the id 9"),
        (MARKER, {"category_id": None}, "there is no category with the id None"),
        (MARKER, {"image_id": 9}, "there is no single picture with the id 9"),
        (MARKER, {"image_id": [1]}, "there is no single picture with the id [1]"),
    ],
)
def test_a_coco_box_that_cannot_be_used_is_left_out_with_its_reason(
    tmp_path: Path, bbox: object, more: dict[str, object], reason: str
) -> None:
    draw(tmp_path / "in/a.png")
    good = annotation(1, MARKER)
    bad = annotation(2, bbox) | more
    done = imported(read_coco(coco(tmp_path, [{"id": 1, "file_name": "a.png"}], [good, bad])), tmp_path / "out")
    assert len(done.manifest.table) == 1
    assert reasons(done) == [reason]


def test_a_box_partly_outside_is_clipped_and_told(tmp_path: Path) -> None:
    draw(tmp_path / "in/a.png")
    source = read_coco(coco(tmp_path, [{"id": 1, "file_name": "a.png"}], [annotation(1, [-5, -5, 30, 30])]))
    done = imported(source, tmp_path / "out")
    assert done.manifest.table["box"].to_list() == ["0 0 25 25"]
    assert "1 boxes reached outside their picture and were clipped" in done.notes


def test_a_box_that_stands_twice_is_taken_once(tmp_path: Path) -> None:
    draw(tmp_path / "in/a.png")
    boxes = [annotation(1, MARKER), annotation(2, MARKER)]
    done = imported(read_coco(coco(tmp_path, [{"id": 1, "file_name": "a.png"}], boxes)), tmp_path / "out")
    assert len(done.manifest.table) == 1
    assert reasons(done) == ["the same box with the same label stands already"]


def test_pictures_of_coco_with_one_id_are_left_out_with_their_boxes(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "a.png"}, {"id": 1, "file_name": "b.png"}, {"id": 2, "file_name": "c.png"}]
    source = read_coco(coco(tmp_path, images, [annotation(1, MARKER), annotation(2, MARKER, image_id=2)]))
    assert [entry.path for entry in source.entries] == [str(tmp_path / "in/c.png")]
    assert reasons(source) == ["its id 1 is that of another picture too"] * 2 + [
        "there is no single picture with the id 1"
    ]


def test_a_picture_without_boxes_is_told_as_background(tmp_path: Path) -> None:
    draw(tmp_path / "in/a.png")
    source = read_coco(coco(tmp_path, [{"id": 1, "file_name": "a.png"}], []))
    assert [(out.reason, out.is_fault) for out in source.left_out] == [("has no box: a background picture", False)]


def test_boxes_of_a_picture_that_was_resized_since_are_left_out(tmp_path: Path) -> None:
    draw(tmp_path / "in/a.png")
    draw(tmp_path / "in/b.png")
    images = [{"id": 1, "file_name": "a.png", "width": 900, "height": 600}, {"id": 2, "file_name": "b.png"}]
    annotations = [annotation(1, MARKER), annotation(2, MARKER, 2)]
    done = imported(read_coco(coco(tmp_path, images, annotations)), tmp_path / "out")
    assert reasons(done) == ["the box was drawn in a picture of 900 x 600 px, this one has 90 x 60"]


def test_boxes_whose_pixels_nothing_tells_are_noted(tmp_path: Path) -> None:
    draw(tmp_path / "in/a.png", orientation=6)
    source = read_coco(coco(tmp_path, [{"id": 1, "file_name": "a.png"}], [annotation(1, MARKER)]))
    assert any("1 boxes are of pictures that EXIF turns" in note for note in imported(source, tmp_path / "out").notes)


COCO_LICENCES = [
    {"id": 1, "name": "Attribution-NonCommercial License", "url": "http://creativecommons.org/licenses/by-nc/2.0/"},
    {"id": 4, "name": "Attribution License", "url": "http://creativecommons.org/licenses/by/2.0/"},
    {"id": 5, "name": "CC BY 4.0", "url": "http://creativecommons.org/licenses/by-nc/4.0/"},
    {"id": 6, "name": "", "url": ""},
]


@pytest.mark.parametrize(
    ("number", "licence"),
    [
        (1, "CC-BY-NC-2.0"),
        (4, "CC-BY-2.0"),
        (5, "CC BY 4.0 (http://creativecommons.org/licenses/by-nc/4.0/)"),  # contradicts itself, so it is none
        (6, None),
        (None, None),
    ],
)
def test_licences_of_coco_are_those_of_its_pictures(tmp_path: Path, number: int | None, licence: str | None) -> None:
    draw(tmp_path / "in/a.png")
    image = {"id": 1, "file_name": "a.png", "license": number}
    source = read_coco(coco(tmp_path, [image], [annotation(1, MARKER)], licences=COCO_LICENCES))
    assert imported(source, tmp_path / "out").manifest.table["licence"].to_list() == [licence]


def test_source_and_date_of_coco_are_those_of_its_pictures(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        draw(tmp_path / "in" / name)
    flickr, own = "http://farm4.staticflickr.com/1/2_z.jpg", "http://images.cocodataset.org/train2017/1.jpg"
    told = {"date_captured": "2013-11-14 16:28:13", "coco_url": own, "license": 9}
    images = [{"id": 1, "file_name": "a.png", "flickr_url": flickr, **told}, {"id": 2, "file_name": "b.png", **told}]
    annotations = [annotation(1, MARKER), annotation(2, MARKER, 2)]
    source = read_coco(coco(tmp_path, images, annotations, licences=COCO_LICENCES))
    done = imported(source, tmp_path / "out")
    assert done.manifest.table["source_url"].to_list() == [flickr, own]
    assert set(done.manifest.table["date"]) == {"2013-11-14"}
    assert any("2 pictures name a licence that the file's `licenses` do not list" in note for note in done.notes)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"images": []}', '{"images": 1, "annotations": 2, "categories": 3}'])
def test_a_file_that_is_not_coco_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputPathError, match=r"a\.json: no"):
        read_coco(tmp_path / "a.json")


def test_splits_of_coco_are_those_of_the_files_names(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        draw(tmp_path / f"in/{split}/a.png")
        path = coco(tmp_path, [{"id": 1, "file_name": "a.png"}], [annotation(1, MARKER)])
        path.rename(tmp_path / f"in/{split}/_annotations.coco.json")
    done = imported(read_coco(tmp_path / "in"), tmp_path / "out")
    assert done.manifest.table.select("file_name", "split").rows() == [
        ("images/train/a.png", "train"),
        ("images/valid/a.png", "calibration"),
    ]


def yolo_labels(tmp_path: Path, stem: str, text: str, *, names: str = "tor-m1\nosa-akm\n") -> None:
    (tmp_path / "in/labels").mkdir(parents=True, exist_ok=True)
    (tmp_path / f"in/labels/{stem}.txt").write_text(text)
    (tmp_path / "in/classes.txt").write_text(names)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0 0.5 0.5 0.2", "has 3 values after the class, not x y width height, and not a polygon's"),
        ("0 0.5 0.5 0.2 0.2 0.9", "has 5 values after the class, not x y width height, and not a polygon's"),
        ("0", "has 0 values after the class, not x y width height, and not a polygon's"),
        ("2 0.5 0.5 0.2 0.2", "'2' is no number of a class, which are 0 to 1"),
        ("-1 0.5 0.5 0.2 0.2", "'-1' is no number of a class, which are 0 to 1"),
        ("tor 0.5 0.5 0.2 0.2", "'tor' is no number of a class"),
        ("0 0.5 0.5 x 0.2", "'0.5 0.5 x 0.2' are not all numbers"),
        ("0 45 30 20 10", "'45 30 20 10' are not all shares between 0 and 1; are they px?"),
        ("0 nan 0.5 0.2 0.2", "'nan 0.5 0.2 0.2' are not all shares between 0 and 1; are they px?"),
        ("", "the file of labels is empty: a background picture"),
    ],
)
def test_a_yolo_line_that_cannot_be_used_is_left_out_with_its_reason(tmp_path: Path, line: str, reason: str) -> None:
    picture = draw(tmp_path / "in/images/a.png")
    yolo_labels(tmp_path, "a", line)
    source = read_yolo(tmp_path / "in")
    assert source.entries == []
    assert [(out.picture, out.reason) for out in source.left_out] == [(str(picture), reason)]


def test_a_polygon_of_yolo_is_taken_by_its_bounds(tmp_path: Path) -> None:
    draw(tmp_path / "in/images/a.png")
    yolo_labels(tmp_path, "a", "1 0.2 0.3 0.4 0.1 0.5 0.5")
    (entry,) = read_yolo(tmp_path / "in").entries
    assert entry.label == "osa-akm"
    assert entry.box is not None
    assert np.allclose((entry.box.x, entry.box.y, entry.box.width, entry.box.height), (0.2, 0.1, 0.3, 0.4))


@pytest.mark.parametrize("names", ["[tor-m1, osa-akm]", "{0: tor-m1, 1: osa-akm}"])
@pytest.mark.parametrize(
    ("base", "train"), [("", "images/train"), ("", "../images/train"), (".", "images/train"), ("{0}", "images/train")]
)
def test_data_yaml_names_classes_and_folders_in_every_way(tmp_path: Path, names: str, base: str, train: str) -> None:
    for split in ("train", "val"):
        draw(tmp_path / f"in/images/{split}/a b.png")
        (tmp_path / f"in/labels/{split}").mkdir(parents=True)
        (tmp_path / f"in/labels/{split}/a b.txt").write_text("1 0.5 0.5 0.5 0.5\n")
    text = f"train: {train}\nval: [images/val]\nnames: {names}\n"
    path_line = f"path: {base.format(tmp_path / 'in')}\n" if base else ""
    (tmp_path / "in/data.yaml").write_text(path_line + text)
    source = read_yolo(tmp_path / "in/data.yaml")
    assert [(entry.label, entry.values) for entry in source.entries] == [
        ("osa-akm", {"split": "train"}),
        ("osa-akm", {"split": "calibration"}),
    ]


def test_a_list_of_pictures_is_read_relative_to_itself(tmp_path: Path) -> None:
    draw(tmp_path / "in/images/a.png")
    yolo_labels(tmp_path, "a", "0 0.5 0.5 0.5 0.5")
    (tmp_path / "in/train.txt").write_text("./images/a.png\n./images/missing.png\n")
    (tmp_path / "in/data.yaml").write_text("train: train.txt\nnames: [tor-m1]\n")
    source = read_yolo(tmp_path / "in")
    assert [Path(entry.path).name for entry in source.entries] == ["a.png"]
    assert reasons(source) == ["there is no such file of labels: a background picture"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("train: images/trian\nnames: [a]\n", r"data\.yaml:1: train: 'images/trian' is not there"),
        ("train: images\nnames: 7\n", r"data\.yaml:2: names: neither a list"),
        ("train: images\n", r"data\.yaml: no data\.yaml of YOLO, it has no key 'names'"),
        ("names: [a]\n", r"data\.yaml: names no pictures"),
        ("names: [\n", r"data\.yaml:\d: not valid YAML"),
    ],
)
def test_a_wrong_data_yaml_is_told_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(InputPathError, match=told):
        read_yolo(tmp_path / "data.yaml")


def test_the_manifest_of_imported_boxes_passes_its_own_check(tmp_path: Path) -> None:
    from vision.data.check import find_file_problems, read_file_facts

    draw(tmp_path / "in/a.png", [MARKER, (50, 20, 40, 40)])
    boxes = [annotation(1, [19.7, 9.9, 16.2, 12.3]), annotation(2, [49.9, 20.1, 45, 45], category=2)]
    imported(read_coco(coco(tmp_path, [{"id": 1, "file_name": "a.png"}], boxes)), tmp_path / "out")
    manifest = load_manifest(tmp_path / "out/manifest.csv")
    assert len(manifest.table) == 2
    assert find_file_problems(manifest, read_file_facts(manifest)) == []


def test_a_crop_says_where_its_picture_comes_from(tmp_path: Path) -> None:
    page = "https://example.org/page"
    for name in ("a.png", "a.jpg"):
        save_crop(Image.new("RGB", (4, 4)), tmp_path / name, Provenance(source_url=page, author="A. Person"))
        found = read_provenance(tmp_path / name)
        assert (found.source_url, found.author) == (page, "A. Person")


def test_places_of_yolo_that_were_looked_at_are_named_once(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("names: [tor-m1]\ntrain: images\n")
    with pytest.raises(InputPathError) as caught:
        read_yolo(tmp_path / "data.yaml")
    assert str(caught.value).count(str(tmp_path / "images")) == 1
