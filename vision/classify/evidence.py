"""Where a picture spoke for the answered class and against another one: class activation maps, without torch.

The classifier is linear in a pooled vector, and every pooling that bundles know is homogeneous of degree 1 in the
feature map, so by Euler's theorem the vector is the sum over the places x of f(x) * d pooled / d f(x): what each place
added. With average pooling this is the class activation map (Zhou et al. 2016, arXiv 1512.04150); with the generalised
mean (Radenovic et al. 2018, arXiv 1711.02512) strong places count more, as they do in the vector. The map adds up to
the calibrated log-odds of the two classes, less what no place has a part in: the biases and the training features'
means. Taken as constant: standardisation, and weights of attention pooling.

A map says which places the network's last features were taken from. Such a feature has seen the places around it, too,
and a model can be right for a wrong reason: a map is a hint where to look, not a proof.

N pictures or views, D features, h and w the feature map's sides, K classes, S input side in px.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from vision.bundle import WEIGHTS_FILE, Bundle, BundleInfo
from vision.classify.decision import bundle_probabilities
from vision.classify.engine import Engine
from vision.config import Pooling
from vision.data.images import upright_size
from vision.data.preprocessing import Box, Preprocessing, load_network_input
from vision.errors import BundleError, VisionError, nearest_name_hint

Floats = NDArray[np.float64]
Part = tuple[float, float, float, float]

GEM_EXPONENT = 3.0
"""As training pools; a test holds the two together."""

_LEAST_ACTIVATION = 1e-6  # the generalised mean of training starts there
_DTYPES: dict[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4"), "F64": np.dtype("<f8")}


@dataclass(frozen=True)
class Head:
    """What a bundle does after its feature map.

    Attributes:
        weight: (K, D), applied to pooled features as they are, calibration included: differences are log-odds.
        constant: (K,), the rest of the calibrated logits: biases and the means of standardisation.
        mean: (D,) of the training features, which the feature map of the graph is less by.
        scale: (D,) what it is divided by.
        pooling: How maps become vectors.
        queries: Of attention pooling: (D_i,) for each map that is pooled; D is the sum of D_i.
        flip: Whether vectors are means over the picture and its mirror image.
        crops: Shares of the side that vectors are means over; the first is 1.
    """

    weight: Floats
    constant: Floats
    mean: Floats
    scale: Floats
    pooling: Pooling
    queries: tuple[Floats, ...] = ()
    flip: bool = False
    crops: tuple[float, ...] = (1.0,)


@dataclass(frozen=True)
class Evidence:
    """Where a picture spoke for one class and against another.

    Attributes:
        answered: Class that positive places speak for.
        against: Class that negative places speak for.
        log_odds: Natural logarithm of how many times as probable `answered` is, calibrated.
        grid: (h, w), what each place added to the log-odds; row 0 is the top.
        part: left, top, right, bottom of what the grid covers, as shares of the upright picture's width and height;
            below 0 or above 1 where the network saw padding.
        cues: What separates the two, if they are look-alikes.
    """

    answered: str
    against: str
    log_odds: float
    grid: Floats
    part: Part
    cues: tuple[str, ...]

    @property
    def unplaced(self) -> float:
        """What of the log-odds no place has a part in: what the model answers a picture without features."""
        return self.log_odds - float(self.grid.sum())


class EvidenceMaker:
    """Evidence maps of a loaded bundle; threads may share one.

    A map costs as many runs of the graph as the bundle looks at views: with mirror images two, each as long as a
    classification.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._head = load_head(engine.bundle)

    def evidence(
        self, path: Path, *, box: Box | None = None, answered: str | None = None, against: str | None = None
    ) -> Evidence:
        """The evidence of one picture.

        Args:
            path: The file.
            box: The part of the picture to look at, in px; None for the whole.
            answered: Class to speak for; the most probable by default.
            against: Class to speak against; the most probable other one by default.

        Raises:
            ImageError: The file is no whole picture.
            VisionError: A class is none of the bundle's, or both are the same.
        """
        info, head = self._engine.bundle.info, self._head
        network_input = load_network_input(path, info.preprocessing, box=box)
        outputs = [self._engine.graph_outputs(view) for view in views_of(network_input, head.crops, flip=head.flip)]
        logits, embedding = outputs[0].logits, outputs[0].embedding
        probabilities = bundle_probabilities(logits, info)
        first, second = chosen_classes(probabilities, info.classes, answered, against)
        places = picture_places(
            np.stack([output.feature_map for output in outputs]), embedding, head, len(network_input[0])
        )
        grid = evidence_of_places(places, head, first, second)
        return Evidence(
            answered=info.classes[first],
            against=info.classes[second],
            log_odds=log_odds(logits, info, first, second),
            grid=grid,
            part=seen_part(upright_size(path), info.preprocessing, box),
            cues=tuple(map(str, info.taxonomy.separating_cues(info.classes[first], info.classes[second]))),
        )


def chosen_classes(
    probabilities: Floats, classes: Sequence[str], answered: str | None, against: str | None
) -> tuple[int, int]:
    """Indices of the two classes of a map; what is not named is the most probable, other than the other.

    Raises:
        VisionError: A class is not there, both are the same, or there is only one.
    """
    if len(classes) < 2:
        raise VisionError(f"evidence needs two classes to compare, the bundle has only '{classes[0]}'")
    for name in (answered, against):
        if name is not None and name not in classes:
            raise VisionError(f"evidence: class '{name}' is not in the bundle{nearest_name_hint(name, classes)}")
    if answered is not None and answered == against:
        raise VisionError(f"evidence: '{answered}' cannot be compared with itself; name two classes")
    # A stable sort of the negatives: equal probabilities keep the order of the taxonomy.
    order = [classes[index] for index in np.argsort(-probabilities, kind="stable")]
    first = answered or next(name for name in order if name != against)
    second = against or next(name for name in order if name != first)
    return classes.index(first), classes.index(second)


def evidence_map(feature_maps: NDArray[np.floating], head: Head, answered_index: int, against_index: int) -> Floats:
    """What each place of feature maps speaks for one class and, where negative, for the other.

    Args:
        feature_maps: (D, h, w) or (N, D, h, w), standardised, as the graph puts them out.
        head: Of the bundle.
        answered_index: Class of positive places.
        against_index: Class of negative places.

    Returns:
        (h, w) or (N, h, w). Each map adds up to the difference of the calibrated logits of its own pooled vector, less
        the difference of `head.constant`.
    """
    return evidence_of_places(place_vectors(feature_maps, head), head, answered_index, against_index)


def evidence_of_places(places: Floats, head: Head, answered_index: int, against_index: int) -> Floats:
    """(..., D, h, w), what each place added to pooled vectors -> (..., h, w), what it added to the log-odds."""
    direction = head.weight[answered_index] - head.weight[against_index]  # (D,)
    evidence: Floats = np.einsum("d,...dhw->...hw", direction, places)
    return evidence


def place_vectors(feature_maps: NDArray[np.floating], head: Head) -> Floats:
    """What each place added to the pooled vectors: same shape as the maps, and the sum over places is the vector.

    Args:
        feature_maps: (..., D, h, w), standardised.
        head: Of the bundle.
    """
    maps = feature_maps * head.scale[:, None, None] + head.mean[:, None, None]
    if head.pooling == "max":
        is_largest = maps == maps.max(axis=(-2, -1), keepdims=True)
        return np.asarray(maps * is_largest / is_largest.sum(axis=(-2, -1), keepdims=True))
    shares = _attention(maps, head.queries) if head.queries else 1 / (maps.shape[-2] * maps.shape[-1])
    if head.pooling == "avg":
        return np.asarray(maps * shares)
    # d/df (sum of shares * f^p)^(1/p) times f is shares * f^p * pooled^(1 - p).
    powers = np.maximum(maps, _LEAST_ACTIVATION) ** GEM_EXPONENT * shares
    pooled = powers.sum(axis=(-2, -1), keepdims=True) ** (1 / GEM_EXPONENT)
    return np.asarray(powers * pooled ** (1 - GEM_EXPONENT))


def _attention(maps: Floats, queries: Sequence[Floats]) -> Floats:
    """Weights of the places, (..., D, h, w), that sum to 1 over them: a softmax for each map that was joined."""
    weights = []
    for query, part in zip(queries, np.split(maps, np.cumsum([len(q) for q in queries])[:-1], axis=-3), strict=True):
        products = np.einsum("...dhw,d->...hw", part, query) / np.sqrt(len(query))
        exponentials = np.exp(products - products.max(axis=(-2, -1), keepdims=True))
        share = exponentials / exponentials.sum(axis=(-2, -1), keepdims=True)
        weights.append(np.broadcast_to(share[..., None, :, :], part.shape))
    return np.concatenate(weights, axis=-3)


def picture_places(
    feature_maps: NDArray[np.floating], embedding: NDArray[np.floating], head: Head, input_px: int
) -> Floats:
    """What each place of a picture added to its vector, all its views laid over one another.

    The sum over places is exactly the vector, whatever the views: where a finer map was averaged to the coarser one's
    grid, as with `two_stages`, where its features lie within a cell is lost, but not how much they counted.

    Args:
        feature_maps: (views, D, h, w), standardised, in the order of `views_of`.
        embedding: (D,), the picture's standardised vector.
        head: Of the bundle.
        input_px: S.

    Returns:
        (D, h, w), in the frame of the whole picture, unmirrored.
    """
    of_views = place_vectors(feature_maps, head)
    upright = [places[..., ::-1] if head.flip and view % 2 else places for view, places in enumerate(of_views)]
    crops = [share for share in head.crops for _ in range(2 if head.flip else 1)]
    places = np.mean([_laid_back(p, share, input_px) for p, share in zip(upright, crops, strict=True)], axis=0)
    vector, found = embedding * head.scale + head.mean, places.sum(axis=(-2, -1))
    if head.pooling == "avg":  # features may be negative, so they have no shares
        return np.asarray(places + ((vector - found) / places[0].size)[:, None, None])
    return np.asarray(places * (vector / np.where(found == 0, 1, found))[:, None, None])


def _laid_back(places: Floats, share: float, input_px: int) -> Floats:
    """What places of a crop added, on the grid of the whole: same shape and sum; cells are divided by overlap."""
    margin = round((1 - share) / 2 * input_px)
    if margin == 0:
        return places
    rows, columns = (_overlaps(side, margin / input_px) for side in places.shape[-2:])
    return np.asarray(rows @ places @ columns.T)


def _overlaps(num_cells: int, margin: float) -> Floats:
    """(whole, crop): share of each cell of a crop that lies in each cell of the whole; columns sum to 1."""
    whole = np.linspace(0, 1, num_cells + 1)
    crop = np.linspace(margin, 1 - margin, num_cells + 1)
    ends = np.minimum(whole[1:, None], crop[None, 1:])
    starts = np.maximum(whole[:-1, None], crop[None, :-1])
    return np.asarray(np.maximum(ends - starts, 0) / (crop[1] - crop[0]))


def views_of(network_input: NDArray[np.float32], crops: Sequence[float], *, flip: bool) -> list[NDArray[np.float32]]:
    """The views of a network input (3, S, S) whose vectors the graph averages: each crop, with `flip` then mirrored."""
    views = []
    for share in crops:
        view = _centre(network_input, share)
        views += [view, np.ascontiguousarray(view[:, :, ::-1])] if flip else [view]
    return views


def _centre(network_input: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """The middle by a share of the side, resized to S bilinearly, as the graph does it."""
    side = network_input.shape[-1]
    margin = round((1 - share) / 2 * side)
    if margin == 0:
        return network_input
    weights = interpolation((np.arange(side) + 0.5) / side, side - 2 * margin)
    middle = network_input[:, margin : side - margin, margin : side - margin]
    return np.asarray(weights @ middle @ weights.T, dtype=np.float32)


def interpolation(positions: Floats, num_cells: int) -> Floats:
    """Weights of cells at positions along a side, (positions, cells): linear between the cells' centres.

    Args:
        positions: As shares of the side; those before the first or behind the last centre take that cell's value.
        num_cells: Cells along the side.
    """
    at = np.clip(positions * num_cells - 0.5, 0, num_cells - 1)
    return np.asarray(np.maximum(1 - np.abs(at[:, None] - np.arange(num_cells)[None]), 0))


def seen_part(size: tuple[int, int], preprocessing: Preprocessing, box: Box | None = None) -> Part:
    """left, top, right, bottom of the network's square, as shares of a picture's width and height.

    Args:
        size: Width and height of the upright picture in px.
        preprocessing: Of the bundle.
        box: The part that was looked at, in px.
    """
    left, top, width, height = _looked_at(size, preprocessing, box)
    if preprocessing.fit != "squash":
        side = max(width, height) if preprocessing.fit == "pad" else min(width, height)
        left, top = left + (width - side) / 2, top + (height - side) / 2
        width = height = side
    return left / size[0], top / size[1], (left + width) / size[0], (top + height) / size[1]


def _looked_at(size: tuple[int, int], preprocessing: Preprocessing, box: Box | None) -> Part:
    """left, top, width and height in px of what is fitted to the square: the widened box, and its middle."""
    left, top, right, bottom = 0.0, 0.0, float(size[0]), float(size[1])
    if box is not None:
        x, y, width, height = box
        wider, higher = preprocessing.box_margin * width, preprocessing.box_margin * height
        left, right = max(left, x - wider), min(right, x + width + wider)
        top, bottom = max(top, y - higher), min(bottom, y + height + higher)
    width, height = right - left, bottom - top
    cut = (1 - preprocessing.middle) / 2
    return left + cut * width, top + cut * height, preprocessing.middle * width, preprocessing.middle * height


def load_head(bundle: Bundle) -> Head:
    """The head of a bundle, from `weights.safetensors`.

    Raises:
        BundleError: The bundle was written without it.
    """
    path, info = bundle.folder / WEIGHTS_FILE, bundle.info
    tensors = _read_tensors(path, ("mean", "scale", "classifier.weight", "classifier.bias", "queries."))
    wanted = ("mean", "scale", "classifier.weight", "classifier.bias")
    pooling = info.embedding.get("pooling")
    missing = [name for name in wanted if name not in tensors]
    if missing or pooling not in get_args(Pooling):
        what = f"no tensor '{missing[0]}'" if missing else f"pooling '{pooling}' is not known"
        raise BundleError(f"{path}: {what}, so there are no evidence maps; train the bundle anew")
    mean, scale, weight, bias = (tensors[name] for name in wanted)
    factor, shift = calibration_of(info)
    plain = weight / scale  # on features that are not standardised
    queries = sorted((name for name in tensors if name.startswith("queries.")), key=lambda name: int(name[8:]))
    return Head(
        weight=plain * factor[:, None],
        constant=(bias - plain @ mean) * factor + shift,
        mean=mean,
        scale=scale,
        pooling=cast(Pooling, pooling),
        queries=tuple(tensors[name] for name in queries),
        flip=bool(info.embedding.get("flip", False)),
        crops=tuple(float(share) for share in str(info.embedding.get("crops", "1")).split()),
    )


def calibration_of(info: BundleInfo) -> tuple[Floats, Floats]:
    """(K,) and (K,): calibrated logits are logits times the first, plus the second."""
    if info.decision is None:
        return np.full(len(info.classes), 1 / info.calibration.temperature), np.zeros(len(info.classes))
    return np.array(info.decision.scale), np.array(info.decision.bias)


def log_odds(logits: NDArray[np.floating], info: BundleInfo, first: int, second: int) -> float:
    """Natural logarithm of how many times as probable one class is as another, calibrated, of logits (K,)."""
    factor, shift = calibration_of(info)
    calibrated = logits * factor + shift
    return float(calibrated[first] - calibrated[second])


def _read_tensors(path: Path, prefixes: tuple[str, ...]) -> dict[str, Floats]:
    """Tensors whose names start with one of `prefixes`, of a file of safetensors, whose digest has been checked.

    The format: 8 bytes with the header's length, the header in JSON, then the values, little-endian and by rows.
    """
    tensors = {}
    try:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header: dict[str, Any] = json.loads(stream.read(min(length, path.stat().st_size)))
            for name, entry in header.items():
                if name.startswith(prefixes):
                    start, end = entry["data_offsets"]
                    stream.seek(8 + length + start)
                    values = np.frombuffer(stream.read(end - start), dtype=_DTYPES[entry["dtype"]])
                    tensors[name] = values.reshape(entry["shape"]).astype(np.float64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path}: cannot be read as safetensors ({error})") from error
    return tensors
