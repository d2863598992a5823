"""The page on which people look at labels that may be wrong: each picture large, beside it what may decide."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from PIL import Image, ImageDraw

from vision.data.images import decode_image
from vision.data.manifest import Manifest, parse_box
from vision.data.sharing.attribution import attribution_line
from vision.errors import ImageError
from vision.evaluate.report.pages import report_environment
from vision.evaluate.suspicious_labels import SuspiciousLabelFigures
from vision.evaluate.suspicious_listing import ImagePaths, ListedLabel
from vision.files import whole_file, write_whole_text
from vision.pages import PAGE_FILE, check_may_write_page
from vision.taxonomy import Taxonomy

PICTURES_DIR = "pictures"
GENERATOR = "vision data suspicious"
"""Stands in the head of a page, so that the next one knows what it may replace."""

LARGE_PX, SMALL_PX = 800, 300
NUM_EXAMPLES = 2
_MOST_CANDIDATES = 20  # of each class; so many are tried for pictures of other groups that can be read
_MOST_CUES = 3
_NAME_LENGTH = 16


@dataclass(frozen=True)
class Example:
    """A picture to compare with.

    Attributes:
        address: Of its copy, from the page.
        attribution: Title, author and licence in a line.
        source_url: Page that it comes from, or an empty text.
    """

    address: str
    attribution: str
    source_url: str


@dataclass(frozen=True)
class ClassSide:
    """What the page shows of one of two classes.

    Attributes:
        class_id: Its id.
        name: Its name.
        probability: By the predictions, in [0, 1].
        cues: Its own, where the two are not listed as look-alikes.
        examples: Pictures with this label that are not doubted.
    """

    class_id: str
    name: str
    probability: float
    cues: tuple[str, ...]
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class DoubtfulPicture:
    """One picture of the page.

    Attributes:
        label: What is doubted.
        address: Of the picture's copy from the page; empty if it cannot be shown.
        fault: Why it cannot be shown.
        separating_cues: What separates the two classes.
        given: The class that the label names.
        suggested: The class that the predictions favour.
    """

    label: ListedLabel
    address: str
    fault: str
    separating_cues: tuple[str, ...]
    given: ClassSide
    suggested: ClassSide


def write_suspicious_page(
    labels: Sequence[ListedLabel],
    figures: SuspiciousLabelFigures,
    table: pl.DataFrame,
    manifest: Manifest,
    taxonomy: Taxonomy,
    folder: Path,
    *,
    most: int,
    num_trained_on: int = 0,
    on_progress: Callable[[int], None] = lambda count: None,
) -> Path:
    """Write `index.html` and the pictures that it shows into a folder; the page's path.

    Args:
        labels: What is doubted, most suspicious first.
        figures: The same as figures; for their number.
        table: Predictions with the truth and the manifest's columns.
        manifest: The data set.
        taxonomy: For names and cues.
        folder: Where it goes; pictures of an earlier page in it are removed.
        most: Labels that are shown.
        num_trained_on: Pictures that the model was trained on.
        on_progress: Told of each picture that is done.

    Raises:
        OutputError: The folder has a page of another origin, or cannot be written to.
    """
    check_may_write_page(folder, GENERATOR)
    pictures_dir = folder / PICTURES_DIR
    for stale in pictures_dir.glob(f"{'[0-9a-f]' * _NAME_LENGTH}-*.jpg"):
        stale.unlink()
    examples = _Examples(table, {label.file_name for label in labels}, manifest, folder)
    shown = []
    for label in labels[:most]:
        shown.append(_doubtful_picture(label, taxonomy, examples, folder))
        on_progress(1)
    page = report_environment().get_template("suspicious.html.j2")
    write_whole_text(
        folder / PAGE_FILE,
        page.render(
            generator=GENERATOR,
            title=manifest.folder.resolve().name,
            shown=shown,
            num_labels=len(labels),
            num_images=figures.num_images,
            num_trained_on=num_trained_on,
        ),
    )
    return folder / PAGE_FILE


class _Examples:
    """Pictures to compare with, by class: those that the predictions believe most, of different groups."""

    def __init__(self, table: pl.DataFrame, doubted: set[str], manifest: Manifest, folder: Path) -> None:
        self._images, self._folder = ImagePaths(manifest), folder
        self._copied: dict[Path, str] = {}
        believed = (
            table.with_row_index("_row")
            .filter((pl.col("status") == "ok") & ~pl.col("file_name").is_in(list(doubted)))
            .select("_row", "true_label", "group", "top")
            .explode("top")
            .unnest("top")
            .filter(pl.col("class_id") == pl.col("true_label"))
            .sort("probability", "_row", descending=[True, False])
            # One of each group and class; a picture without a group is a group of its own.
            .unique(["true_label", pl.coalesce("group", pl.format("\0{}", "_row"))], keep="first", maintain_order=True)
        )
        self._table = table
        self._rows: dict[str, list[int]] = {
            str(label[0]): rows["_row"].head(_MOST_CANDIDATES).to_list()
            for label, rows in believed.group_by("true_label", maintain_order=True)
        }

    def of(self, class_id: str, *, but_group: str) -> tuple[Example, ...]:
        """Up to `NUM_EXAMPLES` pictures of a class, none of one group."""
        found: list[Example] = []
        for row in self._rows.get(class_id, []):
            values = self._table.row(row, named=True)
            if but_group and values["group"] == but_group:
                continue
            address = self._copy(self._images.of(values["file_name"], values["sha256"]), values["box"] or "")
            if address:
                # The source stands as a link, not as text.
                line = attribution_line({**values, "source_url": None})
                found.append(Example(address, line, values["source_url"] or ""))
            if len(found) == NUM_EXAMPLES:
                break
        return tuple(found)

    def _copy(self, source: Path, box: str) -> str:
        if source not in self._copied:
            try:
                self._copied[source] = write_copy(source, self._folder, side_px=SMALL_PX, box=box)
            except ImageError:
                self._copied[source] = ""
        return self._copied[source]


def write_copy(source: Path, folder: Path, *, side_px: int, box: str = "") -> str:
    """Write a smaller copy of a picture, with its box outlined, beside a page; its address from the page.

    Raises:
        ImageError: The file is no whole picture.
    """
    image = decode_image(source, enough_px=None if box else side_px)
    full_width = image.width
    image.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    if box:
        scale = image.width / full_width
        x, y, width, height = (scale * value for value in parse_box(box))
        ImageDraw.Draw(image).rectangle((x, y, x + width, y + height), outline=(255, 140, 0), width=2)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85)
    name = f"{hashlib.sha256(str(source).encode('utf-8', 'surrogateescape')).hexdigest()[:_NAME_LENGTH]}-{side_px}.jpg"
    with whole_file(folder / PICTURES_DIR / name) as temporary:
        temporary.write_bytes(stream.getvalue())
    return f"{PICTURES_DIR}/{name}"


def _doubtful_picture(label: ListedLabel, taxonomy: Taxonomy, examples: _Examples, folder: Path) -> DoubtfulPicture:
    address, fault = "", ""
    try:
        address = write_copy(label.image_path, folder, side_px=LARGE_PX, box=label.box)
    except ImageError as error:
        fault = str(error).removeprefix(f"{label.image_path}: ")  # the page may be mailed
    cues = tuple(map(str, taxonomy.separating_cues(label.given, label.suggested)))
    sides = [
        ClassSide(
            class_id=class_id,
            name=taxonomy.name(class_id),
            probability=probability,
            cues=() if cues else _own_cues(class_id, taxonomy),
            examples=examples.of(class_id, but_group=label.group),
        )
        for class_id, probability in (
            (label.given, label.self_confidence),
            (label.suggested, label.self_confidence - label.margin),
        )
    ]
    return DoubtfulPicture(label, address, fault, cues, *sides)


def _own_cues(class_id: str, taxonomy: Taxonomy) -> tuple[str, ...]:
    if class_id not in taxonomy.class_ids:
        return ()
    return tuple(str(cue) for cue in taxonomy.vehicle_class(class_id).cues[:_MOST_CUES])
