"""From pairs of pictures to clusters, and from clusters to the groups of a manifest.

N rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

NO_CLUSTER = -1


def cluster_rows(num_rows: int, copies: Sequence[tuple[int, int]], similar: Iterable[tuple[int, int]] = ()) -> Ints:
    """The cluster of each row.

    Copies always stand together. Pictures that are merely similar join two clusters only if at least half of all pairs
    between both are similar, copies counting as one picture (average linkage, Sokal and Michener 1958): so a chain in
    which each is similar to the next does not swallow a data set.

    Args:
        num_rows: N.
        copies: Pairs of rows.
        similar: Pairs of rows, the most similar first.

    Returns:
        (N,) numbered from 0 by first row; `NO_CLUSTER` for rows that are alone.
    """
    of_row = _joined(_components(num_rows, copies), similar)
    sizes = np.bincount(of_row, minlength=num_rows)
    clusters = np.full(num_rows, NO_CLUSTER, dtype=np.int64)
    numbers: dict[int, int] = {}
    for row in np.flatnonzero(sizes[of_row] > 1).tolist():
        clusters[row] = numbers.setdefault(int(of_row[row]), len(numbers))
    return clusters


def merged_groups(groups: Sequence[str | None], clusters: Ints, digests: Sequence[str]) -> list[str | None]:
    """The group of every row after each cluster has become part of one group.

    A cluster that touches two groups joins them: all their rows get the name of the one that comes first. A cluster
    without a group gets a name made of its first picture's digest.

    Args:
        groups: N names, None for rows without one.
        clusters: (N,) of `cluster_rows`.
        digests: N, SHA-256 of the pictures.
    """
    nodes: dict[str, int] = {}
    for group in groups:
        if group is not None:
            nodes.setdefault(group, len(groups) + len(nodes))
    links = [(row, nodes[group]) for row, group in enumerate(groups) if group is not None]
    first_rows: dict[int, int] = {}
    clustered = np.flatnonzero(clusters != NO_CLUSTER).tolist()
    links += [(row, first_rows.setdefault(int(clusters[row]), row)) for row in clustered]
    component = _components(len(groups) + len(nodes), links)
    names: dict[int, str] = {}
    for row, group in enumerate(groups):
        if group is not None:
            names.setdefault(int(component[row]), group)
    for row in first_rows.values():
        names.setdefault(int(component[row]), _new_name(digests[row], nodes))
    return [names.get(int(component[row])) for row in range(len(groups))]


def _new_name(digest: str, known: Container[str]) -> str:
    lengths = (length for length in range(12, len(digest) + 1) if f"copies-{digest[:length]}" not in known)
    return f"copies-{digest[: next(lengths, len(digest))]}"


def _components(num_nodes: int, links: Sequence[tuple[int, int]]) -> Ints:
    """(nodes,) number of the connected component of each node."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = np.array(links, dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends), dtype=bool), (ends[:, 0], ends[:, 1])), shape=(num_nodes, num_nodes))
    _, numbers = connected_components(graph, directed=False)
    return np.asarray(numbers, dtype=np.int64)


def _joined(of_row: Ints, similar: Iterable[tuple[int, int]]) -> Ints:
    """Components after those were joined of which at least half of all pairs are similar."""
    ordered = dict.fromkeys(
        (min(ends), max(ends)) for ends in ((int(of_row[a]), int(of_row[b])) for a, b in similar) if ends[0] != ends[1]
    )
    members: dict[int, list[int]] = {end: [end] for pair in ordered for end in pair}
    links: dict[int, Counter[int]] = {end: Counter() for end in members}
    for a, b in ordered:
        links[a][b] += 1
        links[b][a] += 1
    cluster_of = {end: end for end in members}
    for a, b in ordered:
        one, other = cluster_of[a], cluster_of[b]
        if one == other or 2 * links[one][other] < len(members[one]) * len(members[other]):
            continue
        for member in members[other]:
            cluster_of[member] = one
        members[one] += members.pop(other)
        for third, count in links.pop(other).items():
            if third != one:
                links[one][third] += count
                links[third][one] += count
                del links[third][other]
        del links[one][other]
    return np.array([cluster_of.get(number, number) for number in of_row.tolist()], dtype=np.int64)
