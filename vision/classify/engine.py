"""The engine: pictures in, prediction rows out, one per picture and in order.

K classes, D features, R training pictures, S input side in px.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from vision.bundle import Bundle
from vision.classify.decision import (
    Decider,
    DecisionRules,
    NoveltyMeter,
    calibrated_probabilities,
    logit_scaling,
    rules_of,
)
from vision.classify.novelty import unit_row
from vision.data.preprocessing import Box, load_network_input
from vision.errors import BundleError, ImageError
from vision.files import sha256_of_file
from vision.predictions import NearestImage, Prediction

NUM_NEAREST = 3

BLOCK = 16
"""Pictures decided in one go after the graph, which leaves nothing of what a decision needs in the caches: one by one,
a decision takes some three times as long."""


@dataclass(frozen=True)
class GraphOutputs:
    """What the graph makes of one picture.

    Attributes:
        logits: (K,).
        embedding: (D,).
        feature_map: (D, h, w), standardised, of the whole picture unmirrored.
    """

    logits: NDArray[np.float32]
    embedding: NDArray[np.float32]
    feature_map: NDArray[np.float32]


@dataclass(frozen=True)
class _Seen:
    """A picture that went through the graph: its name, digest, logits (K,) and embedding (D,)."""

    name: str
    digest: str
    logits: NDArray[np.float32]
    embedding: NDArray[np.float32]


class Engine:
    """A loaded bundle.

    Every picture goes through the graph alone and on one thread; several pictures run side by side. So an answer does
    not depend on the batch that a picture came in, nor on the number of cores.

    Args:
        bundle: The model.
        top_k: How many classes each row lists; None for all.
        rules: Other promises than the bundle's own, see `vision.classify.redecide.rules_with`.
    """

    def __init__(self, bundle: Bundle, *, top_k: int | None = None, rules: DecisionRules | None = None) -> None:
        self.bundle = bundle
        self.rules = rules if rules is not None else rules_of(bundle)
        info, reference = bundle.info, bundle.reference
        self._decider = Decider(
            info.classes,
            info.taxonomy,
            top_k=top_k if top_k is not None else len(info.classes),
            rules=self.rules,
            trained_on=frozenset(reference.sha256),
        )
        self._scale, self._bias = logit_scaling(info)
        self._meter = NoveltyMeter(info, reference) if self.rules is not None else None
        self._reference_classes = [info.classes[index] for index in reference.class_indices.tolist()]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only: the graph's optimiser warns of what nobody can mend
        try:
            self._session = onnxruntime.InferenceSession(
                str(bundle.model_path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            if type(error).__module__.startswith("onnxruntime"):
                raise BundleError(f"{bundle.model_path}: not a graph that onnxruntime can load ({error})") from error
            raise

    def classify(self, path: Path, *, box: Box | None = None, file_name: str | None = None) -> Prediction:
        """The row for one picture; a picture that cannot be read is a row with its error.

        Args:
            path: The file.
            box: The part of the picture to look at, in px; None for the whole.
            file_name: What to call the picture in the row; by default the path.
        """
        return self._answered(self._seen(path, box, file_name if file_name is not None else str(path)))

    def stream(self, pictures: Iterable[tuple[str, Path, Box | None]]) -> Iterator[Prediction]:
        """Rows for (name, path, box) in order; a few pictures are under way at a time, however many there are."""
        num_workers = os.cpu_count() or 1
        with ThreadPoolExecutor(num_workers) as pool:
            waiting: deque[Future[_Seen | Prediction]] = deque()
            try:
                for name, path, box in pictures:
                    waiting.append(pool.submit(self._seen, path, box, name))
                    if len(waiting) >= BLOCK + 2 * num_workers:
                        yield from self._answered_block(waiting)
                while waiting:
                    yield from self._answered_block(waiting)
            finally:
                for future in waiting:
                    future.cancel()

    def _seen(self, path: Path, box: Box | None, name: str) -> _Seen | Prediction:
        """What the graph makes of a picture, or the row of one that cannot be read."""
        digest = ""
        try:
            digest = _digest_or_empty(path)
            network_input = load_network_input(path, self.bundle.info.preprocessing, box=box)
        except ImageError as error:
            reason = str(error).removeprefix(f"{path}: ")
            return Prediction(name, digest, "error", error=reason, model=self.bundle.digest)
        logits, embedding = self._session.run(["logits", "embedding"], {"images": network_input[None]})
        return _Seen(name, digest, logits[0], embedding[0])

    def _answered_block(self, waiting: deque[Future[_Seen | Prediction]]) -> list[Prediction]:
        """Rows of the next pictures, which leave the queue; each is decided alone, so that a block changes nothing."""
        seen = [waiting.popleft().result() for _ in range(min(BLOCK, len(waiting)))]
        return [self._answered(each) for each in seen]

    def _answered(self, seen: _Seen | Prediction) -> Prediction:
        if isinstance(seen, Prediction):
            return seen
        similarities = nearest_similarities(seen.embedding, self.bundle.reference.embeddings)
        rank = self._meter.rank(seen.logits, seen.embedding, similarities) if self._meter is not None else None
        probabilities = calibrated_probabilities(seen.logits * self._scale + self._bias, 1.0)
        nearest = self._nearest(similarities)
        return self._decider.decide(probabilities, rank, seen.digest).row(
            seen.name,
            seen.digest,
            novelty_rank=rank,
            novelty=1 - nearest[0].similarity if nearest else None,
            nearest=nearest,
            model=self.bundle.digest,
            logits=_row_logits(seen.logits),
        )

    def graph_outputs(self, network_input: NDArray[np.float32]) -> GraphOutputs:
        """All outputs for one network input (3, S, S)."""
        outputs = self._session.run(["logits", "embedding", "feature_map"], {"images": network_input[None]})
        return GraphOutputs(*(output[0] for output in outputs))

    def _nearest(self, similarities: NDArray[np.float32]) -> tuple[NearestImage, ...]:
        """The training pictures with the largest cosine similarity (R,), nearest first; of equal ones the first."""
        place = max(len(similarities) - NUM_NEAREST, 0)
        least = np.partition(similarities, place)[place] if len(similarities) else 0.0
        found = np.flatnonzero(similarities >= least).tolist()
        values = {index: float(similarities[index]) for index in found}
        reference = self.bundle.reference
        return tuple(
            NearestImage(
                reference.file_names[index],
                self._reference_classes[index],
                values[index],
                reference.attributions[index],
            )
            for index in sorted(found, key=lambda index: -values[index])[:NUM_NEAREST]
        )


def nearest_similarities(embedding: NDArray[np.floating], references: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosine similarity of one embedding (D,) to unit-length references (R, D): (R,), in [-1, 1]."""
    similarities: NDArray[np.float32] = references @ unit_row(embedding).astype(np.float32)
    return np.minimum(np.maximum(similarities, np.float32(-1), out=similarities), np.float32(1), out=similarities)


def _row_logits(logits: NDArray[np.float32]) -> tuple[float, ...]:
    """Logits (K,) as a row keeps them; none if one is not a number that JSON can hold."""
    return tuple(logits.tolist()) if np.isfinite(logits).all() else ()


def _digest_or_empty(path: Path) -> str:
    try:
        return sha256_of_file(path) if path.is_file() else ""
    except (OSError, ValueError):
        return ""
