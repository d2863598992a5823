"""What to look at first in the statistics of a data set, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vision.data.manifest import SPLITS
from vision.data.one_line import plain_line
from vision.data.statistics.figures import DataSetStatistics, LabelStatistics, SliceValue

SPLIT_NAMES: dict[str, str] = {**{split: split for split in SPLITS}, "no_split": "no split", "unknown": "unknown split"}
"""Fields of `SplitCounts`, as they are shown."""

MAX_NAMED = 8
"""So many classes are named in a sentence; the others are counted."""


def splits_that_occur(statistics: DataSetStatistics) -> list[str]:
    """Fields of `SplitCounts` with any picture, in their order."""
    return [name for name in SPLIT_NAMES if getattr(statistics.splits, name)]


def findings(statistics: DataSetStatistics) -> Iterator[str]:
    """A sentence for everything that may spoil training or a figure, what is worst first."""
    s = statistics
    if not s.num_images:
        yield "The manifest has no rows."
        return
    if s.num_images_refused:
        yield f"Policy '{s.policy}' refuses the licence of {pictures(s.num_images_refused)}."
    if s.unlabelled is not None:
        yield f"{pictures(s.unlabelled.num_images).capitalize()} without a label."
    if s.outside_taxonomy:
        outside = [f"'{each.label}'" for each in s.outside_taxonomy]
        more = s.num_labels_not_listed
        yield f"Labels that are no class of the taxonomy: {named(outside, more)}."
    if s.splits.unknown:
        yield (
            f"{pictures(s.splits.unknown).capitalize()} in splits that are none: "
            f"{named([repr(each) for each in s.unknown_splits])}."
        )
    if s.num_divided_groups:
        yield (
            f"{groups_in_several_splits(s.num_divided_groups)}: pictures of one vehicle or event are trained on and "
            "tested with, which flatters the test figure. `vision data check` names them."
        )
    yield from _gaps_between_splits(s)
    if s.dominated:
        worst = [f"{each.label} ({share_of_author(each)})" for each in s.dominated]
        yield f"One author made most of {named(worst)}; a model may learn the photographer instead of the vehicle."
    if s.num_without_author:
        yield f"No author is stated for {pictures(s.num_without_author)}; most licences ask for one."
    if s.sizes.num_small:
        yield f"The shorter side of {pictures(s.sizes.num_small)} is below {s.sizes.small_px} px."
    if s.ages.num_unreadable_dates:
        yield f"The date of {pictures(s.ages.num_unreadable_dates)} is not YYYY, YYYY-MM or YYYY-MM-DD."


def _gaps_between_splits(statistics: DataSetStatistics) -> Iterator[str]:
    if not (statistics.splits.train and statistics.splits.test):
        return
    seen = [each for each in statistics.classes if each.splits.train]
    untested = [str(each.label) for each in seen if not each.splits.test]
    untrained = [str(each.label) for each in statistics.classes if each.splits.test and not each.splits.train]
    if untested:
        yield f"Nothing in split 'test' of {named(untested)}."
    if untrained:
        yield f"Nothing in split 'train' of {named(untrained)}, but in 'test'."


def share_of_author(label: LabelStatistics) -> str:
    """`67 % by A. Person`, or `author not stated`."""
    if label.largest_author is None or label.share_of_largest_author is None:
        return "author not stated"
    return f"{100 * label.share_of_largest_author:.0f} % by {plain_line(label.largest_author, most=60)}"


def largest_labels(value: SliceValue, labels: Sequence[LabelStatistics], *, most: int = 5) -> str:
    """The classes that have most pictures of a slice's value, with the counts."""
    counts = sorted(
        ((count, place) for place, count in enumerate(value.num_by_label) if count),
        key=lambda each: (-each[0], each[1]),
    )
    shown = [f"{labels[place].label or 'no label'} {count:,}" for count, place in counts[:most]]
    more = len(counts) - len(shown)
    return ", ".join([*shown, f"{more} other{'' if more == 1 else 's'}"] if more else shown)


def pictures(count: int) -> str:
    """`1 picture`, `2,000 pictures`."""
    return f"{count:,} picture{'' if count == 1 else 's'}"


def groups_in_several_splits(count: int) -> str:
    """`1 group stands in several splits`, `2 groups stand ...`."""
    return f"{count:,} group{' stands' if count == 1 else 's stand'} in several splits"


def named(names: Sequence[str], num_more: int = 0) -> str:
    """Some of the names, and how many others there are."""
    shown = [plain_line(name, most=80) for name in names[:MAX_NAMED]]
    num_more += len(names) - len(shown)
    return ", ".join(shown) + (f" and {num_more:,} more" if num_more else "")
