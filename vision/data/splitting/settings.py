"""How to split a data set, and whether a manifest can be split so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vision.data.check import empty_values, outer_blanks, repeated_rows, unknown_splits
from vision.data.manifest import Manifest, column_names
from vision.errors import ManifestError, UsageError, nearest_name_hint

DEALT_SPLITS = ("train", "calibration", "test")
DEFAULT_SHARES = {"train": 0.7, "calibration": 0.15, "test": 0.15}
_NO_SLICES = ("file_name", "label", "split", "group", "sha256")


@dataclass(frozen=True)
class SplitSettings:
    """How to split.

    Attributes:
        shares: Of each split, summing to 1.
        slices: Columns within whose values the classes' shares are kept as well.
        novel: Classes that go to the split `novel` as a whole.
        seed: Another seed is another split.
        by_author: Pictures of one author stay together, as those of one group do.
        reassign: Forget the splits that the manifest has.
    """

    shares: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_SHARES))
    slices: tuple[str, ...] = ()
    novel: frozenset[str] = frozenset()
    seed: int = 0
    by_author: bool = False
    reassign: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """What splitting reads of a manifest."""
        return ("file_name", "label", "split", "group", "sha256", "author", *self.slices)


def parse_shares(text: str) -> dict[str, float]:
    """`train=0.7,test=0.3` as shares.

    Raises:
        UsageError: A name is no split, a number no share, or the sum is not 1.
    """
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = (piece.strip() for piece in part.partition("="))
        if name not in DEALT_SPLITS or name in shares:
            why = "stands twice" if name in shares else f"is none of {', '.join(DEALT_SPLITS)}"
            hint = (
                "; whole classes go to novel by --novel" if name == "novel" else nearest_name_hint(name, DEALT_SPLITS)
            )
            raise UsageError(f"--shares {text}: '{name}' {why}{hint}")
        shares[name] = _share(number, text)
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise UsageError(f"--shares {text}: the shares sum to {sum(shares.values()):g}, not to 1")
    return {name: shares[name] for name in DEALT_SPLITS if name in shares}


def _share(number: str, text: str) -> float:
    try:
        share = float(number)
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise UsageError(
            f"--shares {text}: '{number}' is no share; write a number above 0 and up to 1, or leave the split out"
        )
    return share


def check_slices(path: Path, slices: Sequence[str]) -> None:
    """Make sure that a manifest has these columns.

    Raises:
        UsageError: One is not there; the nearest is named.
    """
    names = [name for name in column_names(path) if name not in _NO_SLICES]
    for name in slices:
        if name not in names:
            listed = nearest_name_hint(name, names) or f"; there are: {', '.join(names) or 'none'}"
            raise UsageError(f"--slice {name}: {path} has no such column to keep shares in{listed}")


def check_can_be_split(manifest: Manifest, novel: Iterable[str]) -> None:
    """Make sure that rows and novel classes are what splitting needs.

    Raises:
        UsageError: A novel class is no label; the nearest is named.
        ManifestError: With every row that is at fault.
    """
    blanks = [problem for problem in outer_blanks(manifest) if not problem.is_warning]
    problems = [*empty_values(manifest), *blanks, *unknown_splits(manifest), *repeated_rows(manifest)]
    if problems:
        raise ManifestError("\n".join(map(str, problems)))
    labels = set(manifest.table["label"].unique())
    for name in sorted(set(novel) - labels):
        raise UsageError(
            f"--novel {name}: no picture in {manifest.path} has this label{nearest_name_hint(name, labels)}"
        )
