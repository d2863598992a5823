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
from vision.classify.decision import NoveltyMeter, bundle_probabilities, decide, rules_of
from vision.data.preprocessing import Box, load_network_input
from vision.errors import BundleError, ImageError
from vision.files import sha256_of_file
from vision.predictions import NearestImage, Prediction

DEFAULT_TOP_K = 5
NUM_NEAREST = 3


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


class Engine:
    """A loaded bundle.

    Every picture goes through the graph alone and on one thread; several pictures run side by side. So an answer does
    not depend on the batch that a picture came in, nor on the number of cores.
    """

    def __init__(self, bundle: Bundle, *, top_k: int = DEFAULT_TOP_K) -> None:
        self.bundle = bundle
        self._top_k = top_k
        self._rules = rules_of(bundle)
        self._meter = NoveltyMeter(bundle.info, bundle.reference) if self._rules is not None else None
        self._trained_on = frozenset(bundle.reference.sha256)
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
        name = file_name if file_name is not None else str(path)
        digest = ""
        try:
            digest = _digest_or_empty(path)
            network_input = load_network_input(path, self.bundle.info.preprocessing, box=box)
        except ImageError as error:
            reason = str(error).removeprefix(f"{path}: ")
            return Prediction(name, digest, "error", error=reason, model=self.bundle.digest)
        logits, embedding = self._session.run(["logits", "embedding"], {"images": network_input[None]})
        info = self.bundle.info
        rank = self._meter.rank(logits[0], embedding[0]) if self._meter is not None else None
        decision = decide(
            bundle_probabilities(logits[0], info),
            info.classes,
            info.taxonomy,
            top_k=self._top_k,
            rules=self._rules,
            novelty_rank=rank,
            digest=digest,
        )
        nearest = self._nearest(embedding[0])
        known_by_heart = "trained on this very picture; " if digest in self._trained_on else ""
        return decision.row(
            name,
            digest,
            reason=known_by_heart + decision.reason,
            novelty_rank=rank,
            novelty=1 - nearest[0].similarity if nearest else None,
            nearest=nearest,
            model=self.bundle.digest,
            logits=_row_logits(logits[0]),
        )

    def stream(self, pictures: Iterable[tuple[str, Path, Box | None]]) -> Iterator[Prediction]:
        """Rows for (name, path, box) in order; a few pictures are under way at a time, however many there are."""
        num_workers = os.cpu_count() or 1
        with ThreadPoolExecutor(num_workers) as pool:
            waiting: deque[Future[Prediction]] = deque()
            try:
                for name, path, box in pictures:
                    waiting.append(pool.submit(self.classify, path, box=box, file_name=name))
                    if len(waiting) >= 2 * num_workers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def graph_outputs(self, network_input: NDArray[np.float32]) -> GraphOutputs:
        """All outputs for one network input (3, S, S)."""
        outputs = self._session.run(["logits", "embedding", "feature_map"], {"images": network_input[None]})
        return GraphOutputs(*(output[0] for output in outputs))

    def _nearest(self, embedding: NDArray[np.float32]) -> tuple[NearestImage, ...]:
        """The training pictures with the largest cosine similarity, nearest first."""
        reference = self.bundle.reference
        similarities = nearest_similarities(embedding, reference.embeddings)
        order = np.argsort(-similarities, kind="stable")[:NUM_NEAREST]
        return tuple(
            NearestImage(
                reference.file_names[index],
                self.bundle.info.classes[reference.class_indices[index]],
                float(similarities[index]),
                reference.attributions[index],
            )
            for index in order
        )


def nearest_similarities(embedding: NDArray[np.floating], references: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cosine similarity of one embedding (D,) to unit-length references (R, D): (R,), in [-1, 1]."""
    unit = np.asarray(embedding, dtype=np.float64)
    unit = unit / max(float(np.linalg.norm(unit)), 1e-12)
    return np.clip((references @ unit.astype(np.float32)).astype(np.float64), -1.0, 1.0)


def _row_logits(logits: NDArray[np.float32]) -> tuple[float, ...]:
    """Logits (K,) as a row keeps them; none if one is not a number that JSON can hold."""
    return tuple(logits.tolist()) if np.isfinite(logits).all() else ()


def _digest_or_empty(path: Path) -> str:
    try:
        return sha256_of_file(path) if path.is_file() else ""
    except (OSError, ValueError):
        return ""
