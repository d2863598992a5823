"""`vision data duplicates`."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vision.cli.terminal import (
    CacheOption,
    ManifestArgument,
    need_data_extra,
    need_training_extra,
    printable,
    progress_bars,
    refuse_existing,
    refuse_overwriting_input,
    say,
)
from vision.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vision.bundle import Bundle
    from vision.data.duplication.duplicates import Duplicates
    from vision.data.duplication.thumbnails import SeenPictures
    from vision.data.manifest import Manifest

MOST_LISTED = 20
_WITH_BUNDLED_WEIGHTS = ("tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2")


class WeakKind(StrEnum):
    """The values of `WEAK_KINDS` of the pairs, here again so that this module imports nothing heavy."""

    SIMILAR = "similar"
    ALIKE = "alike"


def data_duplicates(
    manifest_path: ManifestArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write all pairs to this file, .csv or .json.")
    ] = None,
    page_dir: Annotated[
        Path | None, typer.Option("--page", help="Write a page that shows the pairs side by side into this folder.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", "-m", help="A bundle whose network finds pictures that look alike.")
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            "--backbone",
            help="Before there is a bundle: a pretrained network of timm instead, such as tf_efficientnet_lite0. Needs "
            "the extra 'train'.",
        ),
    ] = None,
    min_similarity: Annotated[
        float | None,
        typer.Option(
            "--min-similarity",
            min=0,
            max=1,
            help="With a network: least cosine of alike pictures. Default: by how far apart neighbours are.",
        ),
    ] = None,
    group: Annotated[bool, typer.Option("--group", help="Write the clusters into the manifest's groups.")] = False,
    grouped_path: Annotated[
        Path | None, typer.Option("--grouped", help="With --group: the manifest to write, instead of MANIFEST itself.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that are there at --output and --grouped.")
    ] = False,
    is_strict: Annotated[
        bool, typer.Option("--strict", help="Count pairs that are only similar or alike as copies, too.")
    ] = False,
    strict_from: Annotated[
        WeakKind | None,
        typer.Option("--strict-from", help="Count as copies what is similar; or what is similar or alike (--strict)."),
    ] = None,
    cache: CacheOption = None,
) -> None:
    """Find pictures that stand in a data set more than once: equal files, copies, and pictures that are much alike.

    Copies are found through crops (to some 15 % a side), mirroring, quarter turns, bars, resizing, recompression, logos
    and other colours. Pairs between splits are leaks: exit code 3. Pairs that are merely similar, or alike to a
    network, are for a person to look at; they are leaks only with --strict or --strict-from. Exit code 1 if pictures
    could not be read and there is no leak.

    Example: vision data duplicates data/manifest.csv -o pairs.csv --page duplicates --group
    """
    need_data_extra()
    from vision.data.check import check_splits
    from vision.data.duplication.pages import save_pairs, write_duplicate_page
    from vision.data.manifest import load_manifest

    _check_paths(manifest_path, output, page_dir, grouped_path if group else None, overwrite=overwrite)
    if grouped_path is not None and not group:
        raise UsageError("--grouped names the manifest that --group writes; give --group too")
    if min_similarity is not None and model is None and backbone is None:
        raise UsageError("--min-similarity is about a network's embeddings; give --model or --backbone too")
    if model is not None and backbone is not None:
        raise UsageError("--model and --backbone are two networks; give one of them")
    if backbone is not None:
        need_training_extra()
    manifest = load_manifest(manifest_path)
    check_splits(manifest)
    weakest = strict_from or (WeakKind.ALIKE if is_strict else None)
    found = _found(manifest, model, backbone, min_similarity, weakest=weakest, cache=cache)
    told = []  # printed when all is written, whoever reads it or stops reading
    if output is not None:
        save_pairs(found, output)
        told.append(f"{output}: {len(found.pairs)} pairs")
    if page_dir is not None:
        told.append(str(write_duplicate_page(found, page_dir)))
    if group:
        told.append(_write_groups(found, grouped_path or manifest_path))
    _print_summary(found)
    print("\n".join(map(printable, told)), end="\n" * bool(told))
    if group and found.num_leaks:
        say("warning: the splits are as they were; divide anew with vision data split")
    if found.num_leaks:
        raise typer.Exit(3)
    if found.seen.faults:
        raise typer.Exit(1)


def _check_paths(
    manifest_path: Path, output: Path | None, page_dir: Path | None, grouped_path: Path | None, *, overwrite: bool
) -> None:
    """Refuse places that cannot be written to before pictures are read, which may take minutes."""
    from vision.data.duplication.pages import GENERATOR, check_pairs_path
    from vision.pages import check_may_write_page

    if output is not None:
        check_pairs_path(output)
        refuse_overwriting_input(output, manifest_path)
        refuse_existing(output, overwrite=overwrite)
    if page_dir is not None:
        check_may_write_page(page_dir, GENERATOR)
    if grouped_path is None:
        return
    if grouped_path.parent.resolve() != manifest_path.parent.resolve():
        raise UsageError(f"{grouped_path}: is in another folder than {manifest_path}, where its paths lead nowhere")
    if grouped_path.suffix != manifest_path.suffix:
        raise UsageError(f"{grouped_path}: end it in '{manifest_path.suffix}', as {manifest_path} does")
    if grouped_path.resolve() != manifest_path.resolve():
        refuse_existing(grouped_path, overwrite=overwrite)
    if output is not None and output.resolve() == grouped_path.resolve():
        raise UsageError(f"{output}: is given for the pairs and for the manifest; give two paths")


def _found(
    manifest: Manifest,
    model: Path | None,
    backbone: str | None,
    min_similarity: float | None,
    *,
    weakest: WeakKind | None,
    cache: Path | None,
) -> Duplicates:
    """Everything that is done before something is printed or written."""
    from vision.bundle import load_bundle
    from vision.data.duplication.duplicates import judge_pairs
    from vision.data.duplication.pairs import PairKind, find_pairs
    from vision.data.duplication.thumbnails import see_pictures
    from vision.files import default_cache_folder

    bundle = load_bundle(model) if model is not None else None
    num_rows = len(manifest.table)
    bars = ("reading pictures", 2 * num_rows), ("embedding", num_rows), ("looking for copies", num_rows)
    with progress_bars(*bars) as (advance_reading, advance_embedding, advance_search):
        seen = see_pictures(manifest, (cache or default_cache_folder()) / "duplicates", on_progress=advance_reading)
        for row, fault in sorted(seen.faults.items()):
            say(f"{manifest.place(row)}: {manifest.file_names[row]}: {fault}; it is left out")
        embeddings = None
        if bundle is not None:
            embeddings = embed_pictures(manifest, seen, bundle, advance_embedding)
        elif backbone is not None:
            embeddings = embed_by_backbone(manifest, seen, backbone, cache, advance_embedding)
        pairs = find_pairs(seen, embeddings, min_similarity=min_similarity, on_progress=advance_search)
    return judge_pairs(manifest, seen, pairs, weakest=PairKind(weakest.value) if weakest else PairKind.COPY)


def embed_pictures(
    manifest: Manifest, seen: SeenPictures, bundle: Bundle, advance: Callable[[int], None]
) -> NDArray[np.float32]:
    """(M, D) of each different picture as a whole, on all cores; zeros for one that is gone since it was read."""
    import os
    from concurrent.futures import ThreadPoolExecutor
    from contextlib import suppress

    import numpy as np

    from vision.classify.engine import Engine
    from vision.data.preprocessing import load_network_input
    from vision.errors import ImageError

    engine = Engine(bundle)
    embeddings = np.zeros((len(seen.rows), bundle.reference.embeddings.shape[1]), dtype=np.float32)

    def embed(place: int) -> None:
        path = manifest.image_path(manifest.file_names[int(seen.rows[place])])
        with suppress(ImageError):
            embeddings[place] = engine.graph_outputs(load_network_input(path, bundle.info.preprocessing)).embedding
        advance(1)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(embed, range(len(seen.rows))))
    return embeddings


def embed_by_backbone(
    manifest: Manifest, seen: SeenPictures, name: str, cache: Path | None, advance: Callable[[int], None]
) -> NDArray[np.float32]:
    """(M, D) frozen features of each different picture as a whole, as training would take them and keeps them."""
    import numpy as np

    from vision.config import BackboneSettings, FeatureSettings
    from vision.files import default_cache_folder
    from vision.train.backbones import load_backbones
    from vision.train.features import FeatureCache, FeatureRecipe, TrainingImage

    settings = BackboneSettings(name=(name,), weights="bundled" if name in _WITH_BUNDLED_WEIGHTS else "hub")
    features = FeatureSettings()
    recipe = FeatureRecipe(
        name, features.input_px[0], features.layers[0], features.pooling[0], features.flip, features.fit, box_margin=0
    )
    rows = seen.rows.tolist()
    images = [TrainingImage(manifest.image_path(manifest.file_names[row]), seen.digests[row]) for row in rows]
    if not images:
        return np.zeros((0, 1), dtype=np.float32)
    backbones = load_backbones(settings, input_px=features.input_px)
    kept = FeatureCache((cache or default_cache_folder()) / "features", backbones)
    return kept.features(images, [recipe], batch_size=32, on_progress=advance)[recipe]


def _print_summary(found: Duplicates) -> None:
    from vision.data.duplication.pages import KIND_TEXTS

    for row in found.pairs.head(MOST_LISTED).iter_rows(named=True):
        what = ["leak"] * row["is_leak"] + ["two labels"] * row["is_contradiction"] + [row["kind"]]
        sides = [
            f"{found.manifest.place(row[end])} {row[f'{side}file_name']} ({row[f'{side}label']}, "
            f"{row[f'{side}split'] or 'no split'})"
            for end, side in (("row", ""), ("other", "other_"))
        ]
        print(printable(f"{', '.join(what)}: {' and '.join(sides)}"))
    if len(found.pairs) > MOST_LISTED:
        print(f"... and {len(found.pairs) - MOST_LISTED} more pairs; -o or --page has them")
    for kind, text in KIND_TEXTS.items():
        print(f"{found.num_pairs(kind):>7} pairs {kind.value:<8}{text}")
    table = found.manifest.table
    print(
        f"{found.manifest.path}: {len(table)} rows, {found.num_in_clusters} in {found.num_clusters} clusters "
        f"of copies; {found.num_leaks} clusters in several splits, {found.num_contradictions} with several labels, "
        f"{len(found.seen.faults)} pictures not readable"
    )


def _write_groups(found: Duplicates, path: Path) -> str:
    """Write the clusters into groups; what is told of it."""
    from vision.data.manifest import copy_with_column

    groups, num_changed = found.merged_groups()
    if num_changed or path.resolve() != found.manifest.path.resolve():
        copy_with_column(found.manifest.path, path, "group", groups)
    return f"{path}: {num_changed} rows have another group than before"
