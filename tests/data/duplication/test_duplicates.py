"""Copies that are planted here are found, strangers and look-alikes are not; clusters, leaks, groups."""

from __future__ import annotations

import shutil
from pathlib import Path

import imagehash
import numpy as np
import polars as pl
import pytest
from command_line import REPOSITORY
from duplicate_pictures import KINDS, scene, vary
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageOps
from scipy.fft import dctn

from vision.data.duplication import thumbnails as duplicate_thumbnails
from vision.data.duplication.alignment import SIDE_PX, fit_pairs
from vision.data.duplication.duplicates import Duplicates, judge_pairs
from vision.data.duplication.groups import cluster_rows, merged_groups
from vision.data.duplication.pairs import PairKind, find_pairs
from vision.data.duplication.search import (
    NearestNeighbours,
    describe,
    find_candidates,
    mirrored,
    phash_signs,
    turned,
    windows,
)
from vision.data.duplication.thumbnails import SeenPictures, see_pictures, without_bars
from vision.data.manifest import Manifest, load_manifest, manifest_from_rows, save_manifest

LOOKALIKES = REPOSITORY / "datasets" / "lookalikes" / "manifest.csv"
NUM_STRANGERS = 12
Row = dict[str, str | int | None]


def small(picture: Image.Image) -> np.ndarray:
    plain = without_bars(picture.convert("L"))
    return np.asarray(plain.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC))


def picture(seed: int, vehicle: int | None = None) -> Image.Image:
    return scene(np.random.default_rng([99, seed]), vehicle=None if vehicle is None else np.random.default_rng(vehicle))


def seen_of(*thumbnails: np.ndarray) -> SeenPictures:
    """Pictures that were read, one a row, all different."""
    digests = tuple(f"{row:064x}" for row in range(len(thumbnails)))
    return SeenPictures(digests, {}, np.arange(len(thumbnails)), np.stack(thumbnails))


def manifest_of(folder: Path, *rows: Row) -> Manifest:
    manifest = manifest_from_rows(folder / "manifest.csv", [{"label": "tor-m1", **row} for row in rows])
    save_manifest(manifest, manifest.path)
    return load_manifest(manifest.path)


def found_in(manifest: Manifest, tmp_path: Path) -> Duplicates:
    seen = see_pictures(manifest, tmp_path / "cache")
    return judge_pairs(manifest, seen, find_pairs(seen))


def ends_of(pairs: pl.DataFrame) -> set[tuple[int, int]]:
    return set(pairs.select("row", "other").rows())


@pytest.fixture(scope="module")
def planted() -> tuple[SeenPictures, pl.DataFrame]:
    """A copy of each kind, beside its original, then strangers; and the pairs found among them."""
    thumbnails = []
    for number, kind in enumerate(KINDS):
        original = picture(number)
        thumbnails += [small(original), small(vary(original, kind, np.random.default_rng(number)))]
    thumbnails += [small(picture(100 + number)) for number in range(NUM_STRANGERS)]
    seen = seen_of(*thumbnails)
    return seen, find_pairs(seen)


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_is_found_by_its_kind(planted: tuple[SeenPictures, pl.DataFrame], kind: str) -> None:
    number = list(KINDS).index(kind)
    (pair,) = planted[1].filter(pl.col("row") == 2 * number).to_dicts()
    assert (pair["other"], pair["kind"]) == (2 * number + 1, "copy")
    if kind not in ("turn", "upside down"):
        assert (pair["is_mirrored"], pair["degrees_turned"]) == (kind == "flip", 0)


def test_strangers_are_no_copies(planted: tuple[SeenPictures, pl.DataFrame]) -> None:
    copies = planted[1].filter(pl.col("kind") == "copy")
    assert ends_of(copies) == {(2 * number, 2 * number + 1) for number in range(len(KINDS))}


def test_phash_bits_are_those_of_the_library(planted: tuple[SeenPictures, pl.DataFrame]) -> None:
    seen, pairs = planted
    upright = pairs.filter(~pl.col("is_mirrored") & (pl.col("degrees_turned") == 0))
    for row, other, bits in upright.select("row", "other", "phash_bits").iter_rows():
        one, two = (imagehash.phash(Image.fromarray(seen.thumbnails[place])) for place in (row, other))
        assert one - two == bits


def test_one_place_with_two_vehicles_is_similar_not_a_copy() -> None:
    seen = seen_of(*(small(picture(number, vehicle)) for number in range(6) for vehicle in (1, 2)))
    pairs = find_pairs(seen)
    assert pairs["kind"].unique().to_list() == ["similar"]
    assert ends_of(pairs) <= {(2 * number, 2 * number + 1) for number in range(6)}


def test_renders_of_look_alikes_at_one_place_are_no_copies(tmp_path: Path) -> None:
    manifest = load_manifest(LOOKALIKES)
    places = manifest.table.filter(pl.col("group").is_in([f"place-{number:05}" for number in range(6)]))
    seen = see_pictures(Manifest(manifest.path, places), tmp_path)
    assert len(seen.rows) > 80
    assert "copy" not in find_pairs(seen)["kind"].to_list()


def test_the_second_shots_among_the_photographs_are_found_and_nothing_else(photos_dir: Path, tmp_path: Path) -> None:
    found = found_in(load_manifest(photos_dir / "manifest.csv"), tmp_path)
    told = found.pairs.select("file_name", "other_file_name", "kind").rows()
    assert told == [("images/buk-02.jpg", "images/buk-03.jpg", "similar")]


def test_equal_files_are_told_with_the_first_of_them_and_not_again_as_copies(tmp_path: Path) -> None:
    picture(0).save(tmp_path / "a.jpg", quality=90)
    picture(1).save(tmp_path / "b.jpg", quality=90)
    for name in ("c.jpg", "d.jpg"):
        shutil.copy(tmp_path / "a.jpg", tmp_path / name)
    found = found_in(manifest_of(tmp_path, *({"file_name": f"{name}.jpg"} for name in "abcd")), tmp_path)
    assert ends_of(found.pairs) == {(0, 2), (0, 3)}
    assert found.pairs["kind"].unique().to_list() == ["bytes"]
    assert found.clusters.tolist() == [0, -1, 0, 0]


@pytest.mark.parametrize(
    ("splits", "num_leaks"),
    [(("train", "test"), 1), (("train", "train"), 0), ((None, "test"), 1), ((None, "train"), 0), ((None, None), 0)],
)
def test_a_copy_in_another_split_is_a_leak_and_no_split_counts_as_train(
    tmp_path: Path, splits: tuple[str | None, str | None], num_leaks: int
) -> None:
    rows: list[Row] = [{"file_name": f"{number}.jpg", "split": split} for number, split in enumerate(splits)]
    seen = seen_of(small(picture(0)), small(vary(picture(0), "crop 5 %", np.random.default_rng(0))))
    found = judge_pairs(manifest_of(tmp_path, *rows), seen, find_pairs(seen))
    assert (found.num_leaks, found.pairs["is_leak"].sum()) == (num_leaks, num_leaks)


def test_copies_with_two_labels_are_a_contradiction_and_come_before_others(tmp_path: Path) -> None:
    rows: list[Row] = [{"file_name": f"{n}.jpg", "label": label} for n, label in enumerate(["a", "a", "a", "b"])]
    one, other = small(picture(0)), small(picture(1))
    seen = seen_of(one, one[:, ::-1], other, other[:, ::-1])
    found = judge_pairs(manifest_of(tmp_path, *rows), seen, find_pairs(seen))
    assert found.num_contradictions == 1
    assert found.pairs["is_contradiction"].to_list() == [True, False]
    assert found.pairs["row"].to_list() == [2, 0]


def test_alike_embeddings_are_told_but_are_leaks_only_when_strict(tmp_path: Path) -> None:
    rows: list[Row] = [{"file_name": f"{n}.jpg", "split": split} for n, split in enumerate(["train", "test", "test"])]
    seen = seen_of(*(small(picture(number)) for number in range(3)))
    embeddings = np.array([[1, 0], [0.99, 0.1], [0, 1]], dtype=np.float32)
    pairs = find_pairs(seen, embeddings, min_similarity=0.95)
    assert pairs.select("row", "other", "kind").rows() == [(0, 1, "alike")]
    manifest = manifest_of(tmp_path, *rows)
    assert judge_pairs(manifest, seen, pairs).num_leaks == 0
    assert judge_pairs(manifest, seen, pairs, weakest=PairKind.SIMILAR).num_leaks == 0
    assert judge_pairs(manifest, seen, pairs, weakest=PairKind.ALIKE).num_leaks == 1


def test_how_close_alike_embeddings_are_follows_from_the_neighbours_of_all() -> None:
    seen = seen_of(*(small(picture(number)) for number in range(12)))
    spread = np.random.default_rng(0).normal(size=(12, 64)).astype(np.float32)
    spread[7] = spread[3] + 0.1
    for common in (0, 30):  # the second network puts all pictures close together
        pairs = find_pairs(seen, np.pad(spread, ((0, 0), (0, 1)), constant_values=common))
        assert pairs.select("row", "other", "kind").rows() == [(3, 7, "alike")]


def test_a_picture_without_an_embedding_is_alike_to_none() -> None:
    seen = seen_of(*(small(picture(number)) for number in range(3)))
    pairs = find_pairs(seen, np.zeros((3, 4), dtype=np.float32), min_similarity=0.5)
    assert len(pairs) == 0


def test_broken_and_missing_pictures_are_told_and_left_out(tmp_path: Path) -> None:
    picture(0).save(tmp_path / "a.jpg")
    (tmp_path / "broken.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:900])
    manifest = manifest_of(tmp_path, *({"file_name": name} for name in ("broken.jpg", "a.jpg", "gone.jpg")))
    seen = see_pictures(manifest, tmp_path / "cache")
    assert seen.rows.tolist() == [1]
    assert "broken picture" in seen.faults[0]
    assert "No such file" in seen.faults[2]
    assert [bool(digest) for digest in seen.digests] == [False, True, False]


def test_a_second_run_takes_thumbnails_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(0).save(tmp_path / "a.jpg")
    manifest = manifest_of(tmp_path, {"file_name": "a.jpg"})
    first = see_pictures(manifest, tmp_path / "cache")
    monkeypatch.setattr(duplicate_thumbnails, "decode_image", None)
    assert np.array_equal(see_pictures(manifest, tmp_path / "cache").thumbnails, first.thumbnails)


def test_a_damaged_cache_counts_as_empty(tmp_path: Path) -> None:
    picture(0).save(tmp_path / "a.jpg")
    manifest = manifest_of(tmp_path, {"file_name": "a.jpg"})
    first = see_pictures(manifest, tmp_path / "cache")
    (kept,) = (tmp_path / "cache").rglob("*.npz")
    kept.write_bytes(kept.read_bytes()[:100])
    assert np.array_equal(see_pictures(manifest, tmp_path / "cache").thumbnails, first.thumbnails)


def test_no_pictures_at_all_give_no_pairs(tmp_path: Path) -> None:
    found = found_in(manifest_of(tmp_path, {"file_name": "gone.jpg"}), tmp_path)
    assert (len(found.pairs), found.num_clusters, found.num_leaks) == (0, 0, 0)


def test_descriptions_are_the_weighted_cosine_transform_of_scipy() -> None:
    pixels = small(picture(0))
    grid = np.asarray(Image.fromarray(pixels.astype(np.float32)).resize((32, 32), Image.Resampling.BICUBIC))
    frequencies = dctn(grid, norm="ortho")[:8, :8] * np.hypot(np.arange(8)[:, None], np.arange(8))
    expected = frequencies.ravel()[1:] / np.linalg.norm(frequencies)
    assert describe(pixels[None], windows()[:1])[0, 0] == pytest.approx(expected, abs=1e-4)


def test_the_mirror_image_is_described_by_turned_signs() -> None:
    pixels = small(picture(0))
    of_mirrored = describe(np.ascontiguousarray(pixels[None, :, ::-1]), windows()[:1])
    assert mirrored(describe(pixels[None], windows()[:1])[0]) == pytest.approx(of_mirrored[0], abs=1e-4)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_picture_is_described_by_exchanged_axes_and_turned_signs(turns: int) -> None:
    pixels = small(picture(0))
    of_turned = describe(np.rot90(pixels, -turns)[None], windows()[:1])
    assert turned(describe(pixels[None], windows()[:1])[0], turns) == pytest.approx(of_turned[0], abs=1e-4)


def test_signs_differ_where_bits_of_the_librarys_phash_do() -> None:
    thumbnails = np.stack([small(picture(number)) for number in range(6)])
    signs = phash_signs(thumbnails)
    bits = np.round(32 * (1 - signs @ signs.T))
    hashes = [imagehash.phash(Image.fromarray(pixels)) for pixels in thumbnails]
    assert np.abs(bits - [[one - other for other in hashes] for one in hashes]).max() <= 4  # another filter to 32 px


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize("is_first", [False, True])
def test_a_turned_copy_is_told_with_how_the_second_is_turned_to_fit_the_first(
    turns: int, is_mirrored: bool, is_first: bool
) -> None:
    pixels = small(picture(3))
    copy = np.rot90(pixels[:, ::-1] if is_mirrored else pixels, -turns)
    ends = (copy, pixels) if is_first else (pixels, copy)
    (pair,) = find_pairs(seen_of(*ends)).to_dicts()
    fitted = np.rot90(ends[1][:, ::-1] if pair["is_mirrored"] else ends[1], -pair["degrees_turned"] // 90)
    assert (pair["kind"], pair["is_mirrored"]) == ("copy", is_mirrored)
    assert np.array_equal(fitted, ends[0])


@pytest.mark.parametrize("size", [(1.5, 1), (1, 1.5), (1.2, 1.2)])
@pytest.mark.parametrize("colour", ["black", "white"])
def test_bars_at_the_edges_are_taken_off(size: tuple[float, float], colour: str, tmp_path: Path) -> None:
    plain = picture(2)
    wide, tall = round(plain.width * size[0]), round(plain.height * size[1])
    barred = Image.new("RGB", (wide, tall), colour)
    barred.paste(plain, ((wide - plain.width) // 2, (tall - plain.height) // 2))
    barred.save(tmp_path / "barred.jpg", quality=85)
    with Image.open(tmp_path / "barred.jpg") as image:
        found = without_bars(image.convert("L"))
    assert found.size == pytest.approx(plain.size, abs=4)


def test_a_clear_sky_and_a_blank_page_are_no_bars() -> None:
    sky = Image.new("L", (200, 150), 250)
    ImageDraw.Draw(sky).polygon([(0, 150), (0, 110), (90, 60), (200, 120), (200, 150)], fill=60)
    for image in (sky, Image.new("L", (200, 150), 250), Image.new("L", (1, 1))):
        assert without_bars(image).size == image.size


def test_a_near_phash_is_similar_at_least_though_little_fits() -> None:
    pixels = small(picture(1))
    ground = np.random.default_rng(0).normal(0, 40, (SIDE_PX, SIDE_PX))
    noisy = np.clip(pixels * 0.5 + 60 + ground, 0, 255).astype(np.uint8)
    (pair,) = find_pairs(seen_of(pixels, noisy)).to_dicts()
    assert pair["phash_bits"] <= 10
    assert (pair["kind"], pair["correlation"] < 0.52) == ("similar", True)


def test_copies_of_photographs_with_strips_bars_turns_and_cuts_are_found(photos_dir: Path) -> None:
    originals = [Image.open(path).convert("RGB") for path in sorted((photos_dir / "images").glob("*.jpg"))[::6]]
    for kind in ("strip", "bars", "turn", "upside down", "cut 20 %"):
        copies = [vary(each, kind, np.random.default_rng(number)) for number, each in enumerate(originals)]
        pairs = find_pairs(seen_of(*map(small, [*originals, *copies])))
        assert ends_of(pairs) == {(number, number + len(originals)) for number in range(len(originals))}, kind
        assert (pairs["kind"] == "copy").mean() > 0.8, kind


def test_neighbours_are_those_of_comparing_all_with_all_and_the_same_every_time() -> None:
    points = np.random.default_rng(0).normal(size=(500, 16)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    places, cosines = NearestNeighbours(points).nearest(points, 3)
    exact = np.argsort(-(points @ points.T), axis=1)[:, :3]
    assert (places == exact).mean() > 0.99
    assert cosines[:, 0] == pytest.approx(1, abs=1e-5)
    assert np.array_equal(places, NearestNeighbours(points).nearest(points, 3)[0])


def test_candidates_grow_with_the_pictures_not_with_their_square() -> None:
    one = small(picture(0)).astype(np.int64)
    noise = np.random.default_rng(0).integers(-3, 4, (60, SIDE_PX, SIDE_PX))
    copies = np.clip(one + noise, 0, 255).astype(np.uint8)
    assert 60 < len(find_candidates(copies)) <= 18 * 60  # 12 by windows, 6 by pHash
    pairs = find_pairs(seen_of(*copies))
    assert cluster_rows(60, pairs.select("row", "other").rows()).tolist() == [0] * 60


def test_blank_pictures_are_never_candidates() -> None:
    blank = np.full((4, SIDE_PX, SIDE_PX), 200, dtype=np.uint8)
    assert len(find_candidates(blank)) == 0
    assert fit_pairs(blank, blank, windows()[[0] * 4]).agreements.tolist() == [0] * 4


def test_a_picture_fits_itself_and_its_brighter_flatter_copy() -> None:
    pixels = small(picture(0))[None]
    fit = fit_pairs(pixels, (pixels * 0.6 + 70).astype(np.uint8), windows()[:1])
    assert fit.correlations[0] > 0.98
    assert (fit.agreements[0], fit.middle_agreements[0]) == (1, 1)


@pytest.mark.parametrize("share", [0.05, 0.08])
def test_a_white_frame_is_no_hindrance(share: float) -> None:
    originals = [picture(number) for number in range(4)]
    framed = [
        ImageOps.expand(each, (round(share * each.width), round(share * each.height)), "white") for each in originals
    ]
    pairs = find_pairs(seen_of(*map(small, originals + framed)))
    assert ends_of(pairs.filter(pl.col("kind") == "copy")) == {(number, number + 4) for number in range(4)}


def test_a_chain_of_copies_is_one_cluster() -> None:
    assert cluster_rows(5, [(0, 1), (1, 2), (2, 3)]).tolist() == [0, 0, 0, 0, -1]


def test_a_chain_of_similar_pictures_does_not_swallow_the_data_set() -> None:
    chain = [(row, row + 1) for row in range(999)]
    assert np.bincount(cluster_rows(1000, [], chain) + 1).max() <= 3


def test_pictures_that_are_all_similar_to_each_other_are_one_cluster() -> None:
    everything = [(one, other) for other in range(6) for one in range(other)]
    assert cluster_rows(7, [], everything).tolist() == [0] * 6 + [-1]


def test_a_second_shot_joins_all_copies_of_the_first() -> None:
    assert cluster_rows(6, [(0, 1), (1, 2), (2, 3)], [(3, 5)]).tolist() == [0, 0, 0, 0, -1, 0]


def test_a_cluster_that_touches_two_groups_joins_them() -> None:
    groups = ["parade", "museum", "museum", None, "other", None]
    clusters = np.array([0, 0, -1, 0, -1, -1])
    assert merged_groups(groups, clusters, ["f" * 64] * 6) == ["parade", "parade", "parade", "parade", "other", None]


def test_a_cluster_without_a_group_gets_a_name_that_no_group_has() -> None:
    groups = [None, None, f"copies-{'a' * 12}"]
    assert merged_groups(groups, np.array([0, 0, -1]), ["a" * 64] * 3) == [f"copies-{'a' * 13}"] * 2 + groups[2:]


@given(st.lists(st.tuples(st.sampled_from([None, "a", "b", "c", "d"]), st.integers(-1, 3)), max_size=30))
def test_merged_groups_hold_old_groups_and_clusters_together_and_leave_the_rest(
    rows: list[tuple[str | None, int]],
) -> None:
    groups, clusters = [group for group, _ in rows], np.array([cluster for _, cluster in rows], dtype=np.int64)
    merged = merged_groups(groups, clusters, [f"{row:064x}" for row in range(len(rows))])
    for keys in (groups, [None if cluster < 0 else cluster for cluster in clusters.tolist()]):
        of_key: dict[object, set[str | None]] = {}
        for key, name in zip(keys, merged, strict=True):
            of_key.setdefault(key, set()).add(name)
        assert all(len(names) == 1 for key, names in of_key.items() if key is not None)
    assert all(new is None for (old, cluster), new in zip(rows, merged, strict=True) if old is None and cluster < 0)


def test_kinds_are_ordered_from_the_surest() -> None:
    assert [kind.value for kind in PairKind] == ["bytes", "copy", "similar", "alike"]
