"""How long the decision takes beside the network: all that follows on the ONNX graph, one by one and in blocks.

    python scripts/benchmark_decisions.py runs/photos/bundle photo.jpg --runs 200

The engine itself runs, with a stopwatch around its steps. Times are of the thread's processor, so that other programs
on the machine do not count but for what they push out of the caches, and medians over the pictures. One by one is
`Engine.classify`; `vision classify` and `vision evaluate` decide in blocks, as `Engine.stream` does.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from vision.bundle import load_bundle
from vision.classify import engine as engine_module
from vision.classify.engine import BLOCK, Engine

GRAPH, DECISION = "graph", "decision"
INPUTS = ("_digest_or_empty", "load_network_input")
SOFTMAX, SIMILARITIES = "calibrated_probabilities", "nearest_similarities"
PARTS = (SIMILARITIES, "novelty", SOFTMAX, "nearest", "answer")


class Stopwatch:
    """Times of calls by name, in s of the thread's processor."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = defaultdict(list)

    def around(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, timed."""

        def timed(*arguments: Any, **options: Any) -> Any:
            start = time.thread_time()
            result = call(*arguments, **options)
            self.times[name].append(time.thread_time() - start)
            return result

        return timed

    def median_ms(self, name: str) -> float:
        """0 for what was never called."""
        return 1000 * statistics.median(self.times[name] or [0.0])


class TimedSession:
    """Stands in for the engine's session, which takes no other attributes."""

    def __init__(self, session: Any, watch: Stopwatch) -> None:
        self.run = watch.around(GRAPH, session.run)


def main() -> None:
    """Print medians, the decision's share, and its parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photos", type=Path, nargs="+", metavar="photo")
    parser.add_argument("--runs", type=int, default=200)
    arguments = parser.parse_args()
    bundle = load_bundle(arguments.bundle)
    engine = Engine(bundle)
    for photo in arguments.photos:
        row = engine.classify(photo)
        if row.status == "error":
            sys.exit(f"error: {photo}: {row.error}; give pictures that can be read")
    print(f"{len(bundle.info.classes)} classes, embeddings {bundle.reference.embeddings.shape}; milliseconds")
    photos = list(islice(cycle(arguments.photos), arguments.runs))
    for name, run in {"one by one": one_by_one, f"in blocks of {BLOCK}": in_blocks}.items():
        report(name, measured(engine, photos, run))
        report(f"{name}, parts timed", measured(engine, photos, run, parts=True), parts=True)


def measured(
    engine: Engine, photos: Sequence[Path], run: Callable[[Engine, Sequence[Path]], None], *, parts: bool = False
) -> Stopwatch:
    """The times of a run, after one of a few pictures that warms up.

    Args:
        engine: Left as it was.
        photos: Pictures.
        run: Classifies them.
        parts: Whether to time the decision's parts, too, which makes the whole some microseconds slower.
    """
    watch = Stopwatch()
    kept, of_module = dict(vars(engine)), dict(vars(engine_module))
    for function in (*INPUTS, *((SOFTMAX, SIMILARITIES) if parts else ())):
        setattr(engine_module, function, watch.around(function, getattr(engine_module, function)))
    engine._session = TimedSession(engine._session, watch)
    engine._answered = watch.around(DECISION, engine._answered)  # type: ignore[method-assign]
    if parts:
        engine._nearest = watch.around("nearest", engine._nearest)  # type: ignore[method-assign]
        engine._decider.decide = watch.around("answer", engine._decider.decide)  # type: ignore[method-assign]
        if engine._meter is not None:
            engine._meter.rank = watch.around("novelty", engine._meter.rank)  # type: ignore[method-assign]
    try:
        run(engine, photos[: 2 * BLOCK])
        watch.times.clear()
        run(engine, photos)
    finally:
        for instance in (engine._decider, engine._meter):
            for method in ("decide", "rank"):
                vars(instance).pop(method, None) if instance is not None else None
        vars(engine).clear()
        vars(engine).update(kept)
        vars(engine_module).update(of_module)
    return watch


def report(name: str, watch: Stopwatch, *, parts: bool = False) -> None:
    """Print one line, or the parts' lines."""
    if parts:
        for part in PARTS:
            print(f"    {part.replace('_', ' '):<26}{watch.median_ms(part):>8.3f}")
        return
    graph, decision = watch.median_ms(GRAPH), watch.median_ms(DECISION)
    before = sum(map(watch.median_ms, INPUTS))
    print(f"{name}: input {before:.3f}, graph {graph:.3f}, decision {decision:.3f}", end="")
    print(f" ({decision / graph:.1%} of the graph, {decision / (before + graph + decision):.1%} of the picture)")


def one_by_one(engine: Engine, photos: Sequence[Path]) -> None:
    """Classify each picture by itself."""
    for photo in photos:
        engine.classify(photo)


def in_blocks(engine: Engine, photos: Sequence[Path]) -> None:
    """Classify the pictures in the engine's stream."""
    for _ in engine.stream((str(photo), photo, None) for photo in photos):
        pass


if __name__ == "__main__":
    main()
