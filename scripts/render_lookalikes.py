"""Render a data set of look-alike vehicles: original models, path-traced, released under CC0.

    python scripts/render_lookalikes.py                          # datasets/lookalikes, as it is shipped
    python scripts/render_lookalikes.py --out more --classes shilka,buk-m1 --per-class 500 --seed 7

The same seed, size, samples and variant give the same pictures, on the same kind of processor to the byte. A run that
is interrupted goes on where it stopped; with a larger --per-class it adds pictures. Needs the extra `render`.
"""

from __future__ import annotations

import json
import sys
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

try:
    import mitsuba as mi
    import numpy as np
except ImportError as missing:
    sys.exit(f"error: {missing.name} is missing; pip install 'vision[render]'")

from lookalikes.camera import compressed
from lookalikes.catalogue import NEIGHBOURS, NOVEL, VEHICLES
from lookalikes.sheet import contact_sheet

from vision.data.check import read_file_facts, with_file_facts
from vision.data.manifest import manifest_from_rows, save_manifest
from vision.errors import nearest_name_hint
from vision.files import sha256_of_file, whole_file, write_whole_text

PICTURES_PER_PLACE = 2
_PLACES_OF_NOVEL = 10_000  # the novel class stands at places of its own: a group may not be in two splits


def main(
    out: Annotated[Path, typer.Option("--out", "-o", help="The data set's folder.")] = Path("datasets/lookalikes"),
    classes: Annotated[
        str, typer.Option(help="Class ids, separated by commas. Default: all but bmp-2, t-90 and t-14.")
    ] = "",
    per_class: Annotated[int, typer.Option(min=1, help="Pictures of each class.")] = 120,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, other pictures.")] = 0,
    width: Annotated[int, typer.Option(min=64, help="px; the height is three quarters of it.")] = 320,
    samples: Annotated[int, typer.Option(min=1, help="Paths a pixel: fewer are faster and noisier.")] = 12,
    variant: Annotated[
        str,
        typer.Option(help="Of mitsuba: scalar_rgb runs everywhere; llvm_ad_rgb is faster and needs the LLVM library."),
    ] = "scalar_rgb",
) -> None:
    """Render a data set of look-alike vehicles: original models, path-traced, released under CC0."""
    chosen = [name.strip() for name in classes.split(",") if name.strip()] or [
        name for name in VEHICLES if name not in NEIGHBOURS
    ]
    for name in chosen:
        if name not in VEHICLES:
            _fail(f"--classes: no model of '{name}'{nearest_name_hint(name, VEHICLES)}")
    if variant not in mi.variants():
        _fail(f"--variant {variant}: not one of {', '.join(mi.variants())}")
    try:
        mi.set_variant(variant)
        mi.set_log_level(mi.LogLevel.Error)
        mi.Float(0) + mi.Float(1)  # the LLVM library is looked for at the first use
    except Exception as error:  # noqa: BLE001, whatever the renderer raises
        _fail(f"--variant {variant}: {error}; scalar_rgb needs nothing else")
    settings = {
        "seed": seed,
        "width": width,
        "height": width * 3 // 4,
        "samples": samples,
        "variant": variant,
        "mitsuba": mi.__version__,
    }
    rows = _rows_so_far(out, settings)
    wanted = [(name, number) for number in range(per_class) for name in chosen]
    missing = [(name, number) for name, number in wanted if file_name_of(name, number) not in rows]
    columns = (TextColumn("rendering"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=len(wanted), completed=len(wanted) - len(missing))
        with (out / "rows.jsonl").open("a", encoding="utf-8") as journal:
            for name, number in missing:
                row = render_one(out, name, number, settings)
                journal.write(json.dumps(row) + "\n")
                journal.flush()
                rows[row["file_name"]] = row
                progress.advance(task)
    _write_manifest(out, rows)
    typer.echo(f"{len(rows)} pictures in {out / 'manifest.csv'}")


def render_one(out: Path, class_id: str, number: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Render one picture into the data set's folder; its row for the journal."""
    from lookalikes.scene import photograph
    from lookalikes.surroundings import drawn_place

    place = number // PICTURES_PER_PLACE + (_PLACES_OF_NOVEL if class_id == NOVEL else 0)
    random = np.random.default_rng([settings["seed"], zlib.crc32(class_id.encode()), number])
    vehicle, state = VEHICLES[class_id](random)
    taken = photograph(
        vehicle,
        drawn_place(np.random.default_rng([settings["seed"], place])),
        random,
        width=settings["width"],
        height=settings["height"],
        samples=settings["samples"],
    )
    name = file_name_of(class_id, number)
    with whole_file(out / name) as temporary:
        temporary.write_bytes(compressed(taken.image, random))
    return {
        "file_name": name,
        "label": class_id,
        "split": split_of(class_id, place),
        "group": f"place-{place:05}",
        **asdict(taken.shot),
        "state": state,
        "outline": list(taken.box),
        "hidden": round(taken.hidden, 4),
        "sha256": sha256_of_file(out / name),
    }


def file_name_of(class_id: str, number: int) -> str:
    """Where a picture lies in the data set's folder."""
    return f"images/{class_id}-{number:04}.jpg"


def split_of(class_id: str, place: int) -> str:
    """Of five places one is for testing, one for calibration; the novel class is never trained on."""
    if class_id == NOVEL:
        return "novel"
    return {0: "test", 1: "calibration"}.get(place % 5, "train")


def _rows_so_far(out: Path, settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Rows of pictures that an earlier run of the same settings finished and that are still whole."""
    (out / "images").mkdir(parents=True, exist_ok=True)
    path = out / "render.json"
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        differing = [key for key in settings if before.get(key) != settings[key]]
        if differing:
            said = ", ".join(f"{key} {before.get(key)} there, {settings[key]} asked" for key in differing)
            _fail(f"{path}: rendered with other settings ({said}); choose another --out or the same settings")
    write_whole_text(path, json.dumps(settings, indent=1) + "\n")
    rows = {}
    journal = out / "rows.jsonl"
    for line in journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue  # cut off by an interruption: the picture is rendered again
        picture = out / row["file_name"]
        if picture.exists() and sha256_of_file(picture) == row["sha256"]:
            rows[row["file_name"]] = row
    write_whole_text(journal, "".join(json.dumps(row) + "\n" for row in rows.values()))
    return rows


def _write_manifest(out: Path, rows: dict[str, dict[str, Any]]) -> None:
    ordered = [rows[name] for name in sorted(rows)]
    beside = ("outline", "hidden")
    manifest = manifest_from_rows(
        out / "manifest.csv",
        [
            {key: value for key, value in row.items() if key not in beside}
            | {
                "title": f"Render of {row['label']} {row['file_name'][-8:-4]}",
                "author": "the authors of vision",
                "licence": "CC0-1.0",
                "licence_url": "https://creativecommons.org/publicdomain/zero/1.0/",
            }
            for row in ordered
        ],
    )
    save_manifest(with_file_facts(manifest, read_file_facts(manifest)), manifest.path)
    lines = ["file_name,left,top,width,height,hidden"]
    lines += [",".join(map(str, [row["file_name"], *row["outline"], row["hidden"]])) for row in ordered]
    write_whole_text(out / "outlines.csv", "\n".join(lines) + "\n")
    with whole_file(out / "contact_sheet.jpg") as temporary:
        contact_sheet(out, ordered).save(temporary, "JPEG", quality=82)


def _fail(message: str) -> None:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(2)


if __name__ == "__main__":
    typer.run(main)
