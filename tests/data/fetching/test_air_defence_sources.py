"""datasets/air_defence/sources.yaml holds for every class of the taxonomy."""

from __future__ import annotations

import pytest

pytest.importorskip("httpx2", reason="needs the extra 'data'")

from command_line import REPOSITORY

from vision.data.fetching.commons import COMMONS_WIDTHS_PX
from vision.data.fetching.found import CategoryQuery
from vision.data.fetching.sources import SourcesFile, load_sources
from vision.taxonomy import Taxonomy, load_taxonomy


@pytest.fixture(scope="module")
def taxonomy() -> Taxonomy:
    return load_taxonomy(None)


@pytest.fixture(scope="module")
def loaded(taxonomy: Taxonomy) -> SourcesFile:
    return load_sources(REPOSITORY / "datasets" / "air_defence" / "sources.yaml", taxonomy)


def test_every_class_has_queries_or_a_reason_why_not(loaded: SourcesFile, taxonomy: Taxonomy) -> None:
    named = [*loaded.sources.classes, *loaded.sources.without_sources]
    assert sorted(named) == sorted(taxonomy.class_ids)
    assert all(loaded.sources.classes.values())


def test_no_name_is_called_verified_before_a_source_was_asked(loaded: SourcesFile) -> None:
    text = loaded.path.read_text()
    unverified = [query for query in loaded.queries if query.entry.verified is False]
    assert text.count("verified: false\n") == len(unverified)
    assert all(query.entry.verified is not True for query in loaded.queries)


def test_no_category_or_search_is_asked_for_two_classes(loaded: SourcesFile) -> None:
    asked = [(query.source, query.query) for query in loaded.queries]
    assert len(asked) == len(set(asked))
    categories = [query.query.name for query in loaded.queries if isinstance(query.query, CategoryQuery)]
    assert len(categories) == len(set(categories))


def test_the_width_is_one_that_commons_scales_to(loaded: SourcesFile) -> None:
    assert loaded.sources.defaults.width in COMMONS_WIDTHS_PX
