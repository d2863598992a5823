"""How long the decision takes beside the network: all that follows on the ONNX graph, for one picture and for many.

    python scripts/benchmark_decisions.py runs/photos/bundle photo.jpg --runs 200

The engine itself runs, with a stopwatch around its steps. Times are of the thread's processor, so that other programs
on the machine do not count, and medians over the pictures.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vision.bundle import load_bundle
from vision.classify import engine as engine_module
from vision.classify.engine import Engine

GRAPH, WHOLE = "graph", "whole picture"
INPUTS = ("_digest_or_empty", "load_network_input")
PARTS = {"calibration": "bundle_probabilities", "roll-up and sets": "decide", "similarities": "nearest_similarities"}


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
    parser.add_argument("photo", type=Path)
    parser.add_argument("--runs", type=int, default=200)
    arguments = parser.parse_args()
    bundle = load_bundle(arguments.bundle)
    engine, watch = Engine(bundle, top_k=len(bundle.info.classes)), Stopwatch()
    time_steps(engine, watch)
    print(f"{len(bundle.info.classes)} classes, embeddings {bundle.reference.embeddings.shape}; milliseconds")
    for name, run in {"one by one": one_by_one, "side by side": side_by_side}.items():
        run(engine, arguments.photo, 5)  # warm
        watch.times.clear()
        run(engine, arguments.photo, arguments.runs)
        graph, before = watch.median_ms(GRAPH), sum(map(watch.median_ms, INPUTS))
        decision = watch.median_ms(WHOLE) - graph - before
        print(f"{name}: input {before:.3f}, graph {graph:.3f}, decision {decision:.3f}", end="")
        print(f" ({decision / graph:.1%} of the graph, {decision / watch.median_ms(WHOLE):.1%} of the picture)")
        for part in (*PARTS, "novelty", "nearest in all"):
            print(f"    {part:<20}{watch.median_ms(part):>8.3f}")


def time_steps(engine: Engine, watch: Stopwatch) -> None:
    """Put the stopwatch around an engine's steps, where they are called."""
    for name, function in PARTS.items():
        setattr(engine_module, function, watch.around(name, getattr(engine_module, function)))
    for function in INPUTS:
        setattr(engine_module, function, watch.around(function, getattr(engine_module, function)))
    engine._session = TimedSession(engine._session, watch)
    engine._nearest = watch.around("nearest in all", engine._nearest)  # type: ignore[method-assign]
    engine.classify = watch.around(WHOLE, engine.classify)  # type: ignore[method-assign]
    if engine._meter is not None:
        engine._meter.rank = watch.around("novelty", engine._meter.rank)  # type: ignore[method-assign]


def one_by_one(engine: Engine, photo: Path, count: int) -> None:
    """Classify the same picture again and again."""
    for _ in range(count):
        engine.classify(photo)


def side_by_side(engine: Engine, photo: Path, count: int) -> None:
    """Classify the same picture in the engine's stream."""
    for _ in engine.stream((str(photo), photo, None) for _ in range(count)):
        pass


if __name__ == "__main__":
    main()
