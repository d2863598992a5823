"""What `vision data stats` says of a data set, as it stands in `stats.json`.

Counts are of pictures, shares in [0, 1]. Every list that can be long is cut, and says beside it how much was left out.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from vision.data.manifest import DOMINANT_SHARE


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SplitCounts(_Figures):
    """Pictures by split.

    Attributes:
        train: Of the split `train`.
        calibration: Of the split `calibration`.
        test: Of the split `test`.
        novel: Of the split `novel`.
        no_split: Without a split.
        unknown: With a split that is none of the four.
    """

    train: int = 0
    calibration: int = 0
    test: int = 0
    novel: int = 0
    no_split: int = 0
    unknown: int = 0


class LabelStatistics(_Figures):
    """Everything with one label.

    Attributes:
        label: As the manifest has it; None is the pictures without a label.
        name: Of the taxonomy's class; the label itself where it is none.
        family: Id of the class's family; None for labels outside the taxonomy.
        num_images: All splits together.
        splits: The same by split.
        num_groups: Groups that are named; one that holds several classes counts in each.
        num_without_group: Pictures that each stand alone.
        num_in_largest_group: Pictures of the largest group; 0 without groups.
        num_authors: Authors that are named.
        num_without_author: Pictures whose author is not stated.
        largest_author: Who made most of it; the first by name of several; None if no author is stated.
        num_of_largest_author: Pictures of that author.
        share_of_largest_author: The same of all pictures of the label; None if no author is stated.
    """

    label: str | None
    name: str
    family: str | None
    num_images: int
    splits: SplitCounts
    num_groups: int
    num_without_group: int
    num_in_largest_group: int
    num_authors: int
    num_without_author: int
    largest_author: str | None
    num_of_largest_author: int
    share_of_largest_author: float | None

    @property
    def is_dominated(self) -> bool:
        """Whether one author made most of two pictures or more."""
        return self.num_images > 1 and (self.share_of_largest_author or 0) > DOMINANT_SHARE


class FamilyStatistics(_Figures):
    """A family of the taxonomy.

    Attributes:
        family: Id.
        name: To show.
        num_images: Pictures of its classes.
        num_classes: Classes with pictures.
        classes_without_images: Ids of the others, in the taxonomy's order.
    """

    family: str
    name: str
    num_images: int
    num_classes: int
    classes_without_images: tuple[str, ...]


class LicenceStatistics(_Figures):
    """Pictures under one licence.

    Attributes:
        licence: As the manifest has it; None is not stated.
        num_images: Pictures.
        refusal: Why the policy refuses it, with the remedy; None if it is allowed.
    """

    licence: str | None
    num_images: int
    refusal: str | None


class AuthorStatistics(_Figures):
    """Pictures of one author.

    Attributes:
        author: As the manifest has it.
        num_images: Pictures.
        share: Of all pictures.
        num_labels: In how many classes, other labels and "no label" counted as such.
    """

    author: str
    num_images: int
    share: float
    num_labels: int


class SliceValue(_Figures):
    """Pictures with one value in a slice.

    Attributes:
        value: As the manifest has it.
        num_images: Pictures.
        num_by_label: The same by label, in the order of `labels`; labels that are not listed are left out.
    """

    value: str
    num_images: int
    num_by_label: tuple[int, ...]


class SliceStatistics(_Figures):
    """A column of the manifest beside the known ones.

    Attributes:
        column: Its name.
        num_values: Different values; an estimate where there are too many to be a slice.
        is_estimate: Whether it is one; then no values are listed.
        num_missing: Pictures without a value.
        values: The most frequent ones.
        num_in_other_values: Pictures with values that are not listed.
    """

    column: str
    num_values: int
    is_estimate: bool
    num_missing: int
    values: tuple[SliceValue, ...]
    num_in_other_values: int


class Quantiles(_Figures):
    """Seven numbers that tell how values are spread; nearest ranks, so each is a value that occurs.

    Attributes:
        minimum: The least.
        q05: 5 % lie at or below it.
        q25: 25 %.
        median: 50 %.
        q75: 75 %.
        q95: 95 %.
        maximum: The most.
    """

    minimum: float
    q05: float
    q25: float
    median: float
    q75: float
    q95: float
    maximum: float


class SizeBin(_Figures):
    """Pictures whose shorter side lies in a range.

    Attributes:
        from_px: Least shorter side.
        below_px: First shorter side that is too large; None is without bound.
        num_images: Pictures.
    """

    from_px: int
    below_px: int | None
    num_images: int


class SizeStatistics(_Figures):
    """Widths and heights as the manifest states them; files are not opened.

    Attributes:
        num_measured: Pictures with both; the figures below are of these.
        num_missing: The others.
        width: px; None without pictures that are measured, as the three after it.
        height: px.
        shorter_side: px.
        megapixels: Millions of pixels.
        small_px: What counts as small.
        num_small: Pictures whose shorter side is below it.
        bins: Shorter sides, from small to large.
    """

    num_measured: int
    num_missing: int
    width: Quantiles | None
    height: Quantiles | None
    shorter_side: Quantiles | None
    megapixels: Quantiles | None
    small_px: int
    num_small: int
    bins: tuple[SizeBin, ...]


class YearCount(_Figures):
    """Pictures of one year.

    Attributes:
        year: Of the common era.
        num_by_date: By the column `date`: when it was taken or published.
        num_by_retrieval: By `retrieved_at`, where there is no date: it was made that year or earlier.
    """

    year: int
    num_by_date: int
    num_by_retrieval: int


class AgeStatistics(_Figures):
    """When pictures were made.

    Attributes:
        num_dated: Pictures with a `date` that can be read.
        num_by_retrieval: Pictures without one whose `retrieved_at` can be read.
        num_without_year: Pictures with neither.
        num_unreadable_dates: Pictures whose `date` is filled in but is no date.
        years: That occur, from old to new.
    """

    num_dated: int
    num_by_retrieval: int
    num_without_year: int
    num_unreadable_dates: int
    years: tuple[YearCount, ...]


class ColumnStatistics(_Figures):
    """Gaps of a column.

    Attributes:
        column: Its name.
        num_missing: Rows without a value.
    """

    column: str
    num_missing: int


class DataSetStatistics(_Figures):
    """All figures of a data set.

    Attributes:
        created_by: Version of the toolkit.
        data_set: The manifest's folder, by its name.
        manifest: The manifest's file name.
        policy: Licence policy that the licences are judged by.
        num_images: Rows of the manifest.
        num_groups: Groups that are named.
        num_divided_groups: Of these, with pictures in several splits, no split counting as one.
        num_without_group: Rows that each stand alone.
        splits: Pictures by split.
        unknown_splits: Values of `split` that are none of the four, the most frequent ones.
        labels: Classes of the taxonomy with pictures, in its order; then labels outside it, the most frequent first;
            then the pictures without a label.
        num_labels_not_listed: Labels outside the taxonomy beyond those listed.
        families: All of the taxonomy, in its order.
        licences: The most frequent first.
        num_licences_not_listed: Beyond those listed; the policy's verdict on them is not asked.
        num_images_refused: Pictures whose licence is refused, of those listed.
        num_authors: Authors that are named.
        num_without_author: Pictures whose author is not stated.
        authors: Who made most pictures.
        slices: Further columns, in the manifest's order.
        sizes: Widths and heights.
        ages: Years.
        columns: Gaps by column, in the manifest's order.
    """

    created_by: str
    data_set: str
    manifest: str
    policy: str
    num_images: int
    num_groups: int
    num_divided_groups: int
    num_without_group: int
    splits: SplitCounts
    unknown_splits: tuple[str, ...]
    labels: tuple[LabelStatistics, ...]
    num_labels_not_listed: int
    families: tuple[FamilyStatistics, ...]
    licences: tuple[LicenceStatistics, ...]
    num_licences_not_listed: int
    num_images_refused: int
    num_authors: int
    num_without_author: int
    authors: tuple[AuthorStatistics, ...]
    slices: tuple[SliceStatistics, ...]
    sizes: SizeStatistics
    ages: AgeStatistics
    columns: tuple[ColumnStatistics, ...]

    @property
    def classes(self) -> tuple[LabelStatistics, ...]:
        """Classes of the taxonomy with pictures."""
        return tuple(each for each in self.labels if each.family is not None)

    @property
    def outside_taxonomy(self) -> tuple[LabelStatistics, ...]:
        """Labels that are no class."""
        return tuple(each for each in self.labels if each.family is None and each.label is not None)

    @property
    def unlabelled(self) -> LabelStatistics | None:
        """The pictures without a label; None if there are none."""
        return next((each for each in self.labels if each.label is None), None)

    @property
    def dominated(self) -> tuple[LabelStatistics, ...]:
        """Classes of which one author made most, the worst first."""
        return tuple(
            sorted(
                (each for each in self.classes if each.is_dominated), key=lambda c: -(c.share_of_largest_author or 0)
            )
        )
