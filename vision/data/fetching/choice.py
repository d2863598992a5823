"""Which of the pictures that were found are worth downloading, and why the others are not.

Decided from what the sources say, without asking them again, anew in every run: another limit or another class in
sources.yaml changes the answer.
"""

from __future__ import annotations

import mimetypes
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from vision.data.fetching.found import FilesQuery, FoundPicture
from vision.data.fetching.journal import Decision, Outcome
from vision.data.fetching.sources import ClassQuery
from vision.data.images import MAX_PIXELS
from vision.data.licences import LicencePolicy, licence_refusal
from vision.data.sharing.data_card import REFUSED_LICENCE
from vision.errors import RefusedAddressError
from vision.taxonomy import Taxonomy

READ_MEDIA_TYPES = ("image/jpeg", "image/png", "image/webp", "image/tiff")
"""What photographs come as and `vision.data.images` reads; GIF, SVG, PDF, DjVu, sound and video are none."""

TOO_LARGE, TOO_SMALL = "too large", "too small"
"""Kinds of reasons that another limit in sources.yaml removes."""


@dataclass(frozen=True)
class Candidate:
    """A picture that a query found for a class."""

    class_id: str
    class_query: ClassQuery
    picture: FoundPicture

    @property
    def key(self) -> tuple[str, str]:
        """As `Decision.key`."""
        return self.picture.identity, self.class_id

    def left_out(self, kind: str, reason: str) -> Decision:
        """The decision not to take it."""
        return Decision(self.class_id, self.class_query.text, self.picture, Outcome.LEFT_OUT, kind, reason)


@dataclass(frozen=True)
class Limits:
    """What is taken of all that is found.

    Attributes:
        policy: Which licences are allowed; `unknown` never is.
        max_per_class: Most pictures of one class.
        min_side_px: Least shorter side of the original.
        max_file_bytes: Most bytes of one file.
        check_address: Raises `RefusedAddressError` for an address of a source that may not be asked.
    """

    policy: LicencePolicy
    max_per_class: int
    min_side_px: int
    max_file_bytes: int
    check_address: Callable[[str, str], None]


@dataclass(frozen=True)
class Choice:
    """What is to be done with the pictures that were found.

    Attributes:
        wanted: To be downloaded, in order.
        had: Decisions of earlier runs that hold: taken, or unusable.
        left_out: Decisions against a download.
    """

    wanted: tuple[Candidate, ...]
    had: tuple[Decision, ...]
    left_out: tuple[Decision, ...]


def choose(
    candidates: Sequence[Candidate],
    limits: Limits,
    taxonomy: Taxonomy,
    known: Mapping[tuple[str, str], Decision],
    removed: Collection[str],
) -> Choice:
    """What to do with each candidate; one decision for each file and class.

    A file that was found for two classes shows two vehicles, or is filed wrongly in one place: no one here can tell, so
    neither class gets it. It is settled where one class covers the other (the finer one gets it), and where it is named
    by title for one class alone.

    Args:
        candidates: All that was found, in the order of sources.yaml; a file may stand there several times.
        limits: What is taken.
        taxonomy: Tells which class covers which.
        known: Decisions of earlier runs.
        removed: Paths that the user took out of the manifest.
    """
    ordered = _by_turns(list(_without_repetitions(candidates)), limits.max_per_class)
    return _Chooser(ordered, limits, taxonomy, known, removed).choose()


class _Chooser:
    def __init__(
        self,
        candidates: list[Candidate],
        limits: Limits,
        taxonomy: Taxonomy,
        known: Mapping[tuple[str, str], Decision],
        removed: Collection[str],
    ) -> None:
        self.candidates = candidates
        self.limits = limits
        self.known = known
        self.removed = removed
        self.owners = _Owners(candidates, taxonomy)
        taken = [d for d in known.values() if d.outcome is Outcome.TAKEN]
        self.taken_by_content = {_content(d.picture): d for d in taken}
        self.num_of_class = Counter(d.class_id for d in taken if d.path not in removed)
        self.wanted: list[Candidate] = []
        self.wanted_by_content: dict[str, Candidate] = {}

    def choose(self) -> Choice:
        had: list[Decision] = []
        left_out: list[Decision] = []
        for candidate in self.candidates:
            earlier = self.known.get(candidate.key)
            if earlier is not None and self._still_holds(earlier, candidate):
                had.append(earlier)
                continue
            refusal = self._refusal(candidate)
            if refusal is not None:
                left_out.append(candidate.left_out(*refusal))
                continue
            self.wanted.append(candidate)
            self.wanted_by_content[_content(candidate.picture)] = candidate
            self.num_of_class[candidate.class_id] += 1
        return Choice(tuple(self.wanted), tuple(had), tuple(left_out))

    def _still_holds(self, earlier: Decision, candidate: Candidate) -> bool:
        if earlier.outcome is Outcome.TAKEN:
            return True
        then, now = earlier.picture, candidate.picture
        is_same_file = (then.sha1, then.file_url) == (now.sha1, now.file_url)
        return earlier.outcome is Outcome.UNUSABLE and is_same_file and not self._is_let_in(earlier)

    def _is_let_in(self, earlier: Decision) -> bool:
        """Whether the limit that an arrived file did not keep has moved since."""
        if earlier.kind == TOO_LARGE:
            return self.limits.max_file_bytes > earlier.limit
        return earlier.kind == TOO_SMALL and self.limits.min_side_px < earlier.limit

    def _refusal(self, candidate: Candidate) -> tuple[str, str] | None:
        """Kind and reason of leaving a candidate out; None if it is wanted."""
        return (
            picture_refusal(candidate.picture, self.limits)
            or self._ownership_refusal(candidate)
            or self._repetition_refusal(candidate)
            or self._number_refusal(candidate)
        )

    def _ownership_refusal(self, candidate: Candidate) -> tuple[str, str] | None:
        taken = self.taken_by_content.get(_content(candidate.picture))
        if taken is not None and taken.class_id != candidate.class_id:
            return "two classes", f"was taken for {taken.class_id} earlier ({taken.path}); look which one it shows"
        return self.owners.refusal(candidate)

    def _repetition_refusal(self, candidate: Candidate) -> tuple[str, str] | None:
        content = _content(candidate.picture)
        taken, wanted = self.taken_by_content.get(content), self.wanted_by_content.get(content)
        if taken is not None:
            return "same picture", f"byte for byte {taken.picture.title} ({taken.path})"
        if wanted is not None:
            return "same picture", f"byte for byte {wanted.picture.title}, {wanted.picture.page_url}"
        return None

    def _number_refusal(self, candidate: Candidate) -> tuple[str, str] | None:
        most = self.limits.max_per_class
        if self.num_of_class[candidate.class_id] < most:
            return None
        return "enough of the class", f"max_per_class is {most}"


class _Owners:
    """Which class may have a file that several classes were found to have."""

    def __init__(self, candidates: Iterable[Candidate], taxonomy: Taxonomy) -> None:
        self._covers = {c.id: set(c.covers) for c in taxonomy.classes}
        self._found_for: dict[str, dict[str, None]] = defaultdict(dict)
        self._named_for: dict[str, dict[str, None]] = defaultdict(dict)
        for candidate in candidates:
            content = _content(candidate.picture)
            self._found_for[content][candidate.class_id] = None
            if isinstance(candidate.class_query.query, FilesQuery):
                self._named_for[content][candidate.class_id] = None

    def refusal(self, candidate: Candidate) -> tuple[str, str] | None:
        content = _content(candidate.picture)
        owners = list(self._named_for[content] or self._found_for[content])
        finest = [c for c in owners if not self._covers.get(c, set()) & set(owners)]
        if finest == [candidate.class_id]:
            return None
        if len(finest) == 1:
            return "another class", f"goes to {finest[0]}, which is finer or names it by title"
        others = ", ".join(c for c in finest if c != candidate.class_id)
        if candidate.class_id not in finest:
            return "another class", f"goes to none of {others}, which are finer or name it by title"
        return "two classes", f"found for {others} too; name it under `files` of the class that it shows"


def picture_refusal(picture: FoundPicture, limits: Limits) -> tuple[str, str] | None:
    """Kind and reason of leaving a picture out for what its source says of it alone; None if it is not."""
    return _licence_refusal(picture, limits) or _file_refusal(picture, limits) or _size_refusal(picture, limits)


def _licence_refusal(picture: FoundPicture, limits: Limits) -> tuple[str, str] | None:
    if picture.licence in ("", "unknown"):
        stated = f"'{picture.licence_stated}' is no licence that is known" if picture.licence_stated else "not stated"
        return REFUSED_LICENCE, f"{stated}; look at {picture.page_url}"
    refusal = licence_refusal(picture.licence, limits.policy)
    return (REFUSED_LICENCE, f"{picture.licence}: {refusal}") if refusal else None


def _file_refusal(picture: FoundPicture, limits: Limits) -> tuple[str, str] | None:
    # Drawings, documents and films are delivered as JPEG or PNG when a width is asked for: their names tell.
    for media_type in (mimetypes.guess_type(picture.key)[0], picture.media_type):
        if media_type and media_type not in READ_MEDIA_TYPES:
            return "no photograph", f"{media_type}; taken are {', '.join(READ_MEDIA_TYPES)}"
    try:
        limits.check_address(picture.source, picture.file_url)
    except RefusedAddressError as error:
        return "host not allowed", str(error)
    return None


def _size_refusal(picture: FoundPicture, limits: Limits) -> tuple[str, str] | None:
    sides = [side for side in (picture.width, picture.height) if side is not None]
    if sides and min(sides) < limits.min_side_px:
        return TOO_SMALL, f"{picture.width} x {picture.height} px; min_side_px is {limits.min_side_px}"
    if picture.changes:  # scaled by the source: what arrives is smaller than what it tells
        return None
    if picture.size_bytes is not None and picture.size_bytes > limits.max_file_bytes:
        return TOO_LARGE, f"{picture.size_bytes:,} bytes; the limit is {limits.max_file_bytes:,}; or fetch a width"
    if len(sides) == 2 and sides[0] * sides[1] > MAX_PIXELS:
        return TOO_LARGE, f"{sides[0]} x {sides[1]} px; the limit is {MAX_PIXELS:,} pixels; or fetch a width"
    return None


def _content(picture: FoundPicture) -> str:
    """What two titles of the same file share, as far as their source tells."""
    return picture.sha1 or picture.identity


def _by_turns(candidates: list[Candidate], max_per_class: int) -> list[Candidate]:
    """Candidates of a class that has more than it may: query after query, and within each the authors take turns.

    A wiki lists one upload series after another, and the first would fill the class. Those of nobody known count as one
    author's.
    """
    sizes = Counter(candidate.class_id for candidate in candidates)
    places: dict[ClassQuery, int] = {}
    turns: Counter[tuple[ClassQuery, str]] = Counter()
    ranks = []
    for candidate in candidates:
        query, author = candidate.class_query, " ".join(candidate.picture.author.casefold().split())
        place = places.setdefault(query, len(places))
        ranks.append((place, turns[query, author] if sizes[candidate.class_id] > max_per_class else 0))
        turns[query, author] += 1
    order = sorted(range(len(candidates)), key=ranks.__getitem__)
    return [candidates[position] for position in order]


def _without_repetitions(candidates: Sequence[Candidate]) -> Iterable[Candidate]:
    """The first of each file and class, or the one that names it by title."""
    firsts: dict[tuple[str, str], Candidate] = {}
    for candidate in candidates:
        is_named = isinstance(candidate.class_query.query, FilesQuery)
        if candidate.key not in firsts or is_named:
            firsts[candidate.key] = candidate
    return firsts.values()
