"""Pictures that stand in a data set more than once: equal files, copies, and pictures that are merely alike.

A copy in the test split of a picture that was trained on is recognised by heart, and the test figure is flattered; a
copy with another label means that one of both is wrong.

N rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vision.data.duplication.groups import NO_CLUSTER, cluster_rows, merged_groups
from vision.data.duplication.pairs import SURE_KINDS, PairKind
from vision.data.duplication.thumbnails import SeenPictures
from vision.data.manifest import Manifest


@dataclass(frozen=True)
class Duplicates:
    """What was found in a data set.

    Attributes:
        manifest: N rows.
        seen: Its pictures.
        pairs: `PAIR_COLUMNS`, then of both rows file name, label, split and group, `is_leak`, `is_contradiction` and
            `cluster`; leaks first, then contradictions, then by kind and agreement.
        clusters: (N,) as of `cluster_rows`.
        weakest: The least sure kind of pairs that count as copies.
    """

    manifest: Manifest
    seen: SeenPictures
    pairs: pl.DataFrame
    clusters: NDArray[np.int64]
    weakest: PairKind

    @property
    def num_clusters(self) -> int:
        """Clusters of two and more rows."""
        return int(self.clusters.max(initial=NO_CLUSTER)) + 1

    @property
    def num_in_clusters(self) -> int:
        """Rows that have a copy."""
        return int((self.clusters != NO_CLUSTER).sum())

    @cached_property
    def num_leaks(self) -> int:
        """Clusters that stand in several splits."""
        return _num_divided(self.clusters, _splits(self.manifest))

    @cached_property
    def num_contradictions(self) -> int:
        """Clusters with several labels."""
        return _num_divided(self.clusters, self.manifest.table["label"])

    def num_pairs(self, kind: PairKind) -> int:
        """Pairs of a kind."""
        return int((self.pairs["kind"] == kind.value).sum())

    def merged_groups(self) -> tuple[pl.Series, int]:
        """(N,) groups with each cluster inside one of them, and how many rows have another group than before."""
        old = self.manifest.table["group"]
        new = pl.Series("group", merged_groups(old.to_list(), self.clusters, self.seen.digests), dtype=pl.String)
        return new, int(old.ne_missing(new).sum())


def judge_pairs(
    manifest: Manifest, seen: SeenPictures, pairs: pl.DataFrame, *, weakest: PairKind = PairKind.COPY
) -> Duplicates:
    """What pairs mean in a manifest: clusters, leaks between splits, contradictions between labels.

    A row without a split counts as one of `train`, where training takes it.

    Args:
        manifest: N rows.
        seen: Its pictures.
        pairs: Of `find_pairs`.
        weakest: The least sure kind that counts as a copy, with all that are surer; `COPY` at least.
    """
    is_sure = pl.col("kind").is_in([kind.value for kind in SURE_KINDS])
    counted = list(PairKind)[: list(PairKind).index(weakest) + 1]
    is_counted = pl.col("kind").is_in([kind.value for kind in counted])
    weak = pairs.filter(~is_sure & is_counted)
    weak = weak.sort(["correlation", "embedding_similarity"], descending=True, nulls_last=True)
    weak_ends = weak.select("row", "other").rows()
    clusters = cluster_rows(len(manifest.table), pairs.filter(is_sure).select("row", "other").rows(), weak_ends)
    facts = manifest.table.select("file_name", "label", "split", "group").with_columns(
        effective=_splits(manifest), cluster=pl.Series(clusters, dtype=pl.Int64)
    )
    one = facts[pairs["row"].to_list()]
    other = facts[pairs["other"].to_list()].rename(lambda name: f"other_{name}")
    named = pl.concat([pairs, one, other], how="horizontal")
    in_cluster = (pl.col("cluster") == pl.col("other_cluster")) & (pl.col("cluster") != NO_CLUSTER)
    counts = is_sure | (is_counted & in_cluster)
    named = named.with_columns(
        is_leak=counts & (pl.col("effective") != pl.col("other_effective")),
        is_contradiction=counts & pl.col("label").ne_missing(pl.col("other_label")),
        cluster=pl.when(in_cluster).then(pl.col("cluster")),
        order=pl.col("kind").replace_strict({kind.value: place for place, kind in enumerate(PairKind)}),
    )
    ranking = ["is_leak", "is_contradiction", "order", "agreement", "embedding_similarity", "row", "other"]
    ordered = named.sort(ranking, descending=[True, True, False, True, True, False, False], nulls_last=True)
    return Duplicates(
        manifest, seen, ordered.drop("order", "effective", "other_effective", "other_cluster"), clusters, weakest
    )


def _splits(manifest: Manifest) -> pl.Series:
    return manifest.table["split"].fill_null("train")


def _num_divided(clusters: NDArray[np.int64], values: pl.Series) -> int:
    """Clusters with several values."""
    table = pl.DataFrame({"cluster": pl.Series(clusters, dtype=pl.Int64), "value": values})
    counts = table.filter(pl.col("cluster") != NO_CLUSTER).group_by("cluster").agg(pl.col("value").n_unique())
    return int((counts["value"] > 1).sum())
