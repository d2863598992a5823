from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from vision.errors import TaxonomyError
from vision.taxonomy import ConfusionCost, Fact, Taxonomy, default_taxonomy_path, load_taxonomy

REFERENCE = Path(__file__).parents[1].parent / "shared" / "reference" / "air_defence_systems.yaml"
needs_reference = pytest.mark.skipif(not REFERENCE.exists(), reason=f"the reference {REFERENCE} is not there")

TRUE_KEY, PREDICTED_KEY, _ = ConfusionCost.model_fields

TREE = """\
version: 1
sources:
  book: A book
  page: A page
roles:
  - {id: missile, name: Missile}
  - {id: gun, name: Gun}
families:
  - {id: gun-family, role: gun, name: Guns}
  - {id: tor-family, role: missile, name: Tor family}
  - {id: buk-family, role: missile, name: Buk family}
classes:
  - {id: shilka, family: gun-family, names: [Shilka, ZSU-23-4]}
  - {id: buk-m1, family: buk-family, names: [Buk-M1]}
  - {id: buk, family: buk-family, names: [Buk], covers: [buk-m1]}
  - id: tor-m1
    family: tor-family
    names: [Tor-M1]
    cues:
      - {text: A mesh dish, provenance: sourced, sources: [book]}
  - {id: tor-m2, family: tor-family, names: [Tor-M2]}
look_alikes:
  - classes: [tor-m1, tor-m2]
    cues:
      - {text: Dish or plate, provenance: derived}
  - classes: [buk-m1, tor-m1]
    cues:
      - {text: Missiles in the open, provenance: sourced, sources: [page]}
costs:
  - {"TRUE": shilka, PREDICTED: tor-m1, cost: 9}
""".replace("TRUE", TRUE_KEY).replace("PREDICTED", PREDICTED_KEY)

FAULTS = """\
version: 1
sources:
  book: A book
roles:
  - {id: missile, name: Missile}
families:
  - {id: tor-family, role: missle, name: Tor family}
  - {id: buk-family, role: missile, name: Buk family}
classes:
  - {id: tor-m1, family: tor-familly, names: [A]}
  - {id: buk-m1, family: buk-family, names: [B]}
  - {id: buk-m1, family: buk-family, names: [C]}
  - {id: ring-a, family: buk-family, names: [D], covers: [ring-b]}
  - {id: ring-b, family: buk-family, names: [E], covers: [ring-a]}
  - {id: buk, family: buk-family, names: [F], covers: [buk-m9, tor-m1]}
  - id: facts
    family: buk-family
    names: [G]
    nato:
      {text: a, provenance: sourced, sources: [bok]}
    cues:
      - {text: a, provenance: sourced}
      - {text: a, provenance: unchecked, sources: [book]}
      - {text: a, provenance: partly, sources: [book]}
      - {text: a, provenance: partly}
      - {text: a, provenance: derived, sources: [book]}
look_alikes:
  - {classes: [buk, bukk], cues: [{text: a, provenance: derived}]}
  - {classes: [buk, buk], cues: [{text: a, provenance: derived}]}
  - {classes: [buk, tor-m1], cues: [{text: a, provenance: derived}]}
  - {classes: [tor-m1, buk], cues: [{text: a, provenance: derived, sources: [book]}]}
costs:
  - {"TRUE": buk, PREDICTED: tor-m11, cost: 1}
""".replace("TRUE", TRUE_KEY).replace("PREDICTED", PREDICTED_KEY)


def taxonomy_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "t.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def faults_of(tmp_path: Path, text: str) -> list[str]:
    path = taxonomy_file(tmp_path, text)
    with pytest.raises(TaxonomyError) as caught:
        load_taxonomy(path)
    return [line.removeprefix(f"{tmp_path}/") for line in str(caught.value).splitlines()]


@pytest.fixture
def tree(tmp_path: Path) -> Taxonomy:
    return load_taxonomy(taxonomy_file(tmp_path, TREE))


@pytest.fixture(scope="module")
def shipped() -> Taxonomy:
    return load_taxonomy()


@pytest.fixture(scope="module")
def reference() -> list[dict[str, Any]]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    systems: list[dict[str, Any]] = yaml.load(REFERENCE.read_text(encoding="utf-8"), loader)["systems"]
    return systems


def test_all_faults_of_a_file_are_told_at_once_each_with_its_line(tmp_path: Path) -> None:
    assert faults_of(tmp_path, FAULTS) == [
        "t.yaml:11: id 'buk-m1' is used 2 times; every role, family and class needs an id of its own",
        "t.yaml:12: id 'buk-m1' is used 2 times; every role, family and class needs an id of its own",
        "t.yaml:7: role 'missle' of family 'tor-family' is not a role, did you mean 'missile'?",
        "t.yaml:10: family 'tor-familly' of class 'tor-m1' is not a family, did you mean 'tor-family'?",
        "t.yaml:13: ring-a -> ring-b -> ring-a is a cycle; break it at one of these ids",
        "t.yaml:15: covered class 'buk-m9' is not a class, did you mean 'buk-m1'?",
        "t.yaml:15: 'buk' covers 'tor-m1' of another family",
        "t.yaml:28: look-alike 'bukk' is not a class, did you mean 'buk'?",
        "t.yaml:29: 'buk' cannot be its own look-alike",
        f"t.yaml:31: the pair tor-m1, buk stands also at {tmp_path}/t.yaml:30",
        "t.yaml:33: predicted class 'tor-m11' is not a class, did you mean 'tor-m1'?",
        "t.yaml:19: source 'bok' is not in the register of sources, did you mean 'book'?",
        "t.yaml:22: provenance 'sourced' needs a source; add it or write 'unchecked'",
        "t.yaml:23: provenance 'unchecked' contradicts its sources; write 'sourced' or 'partly'",
        "t.yaml:24: provenance 'partly', but the text does not say which part is unchecked",
        "t.yaml:25: provenance 'partly' needs a source; add it or write 'unchecked'",
        "t.yaml:25: provenance 'partly', but the text does not say which part is unchecked",
        "t.yaml:26: provenance 'derived' contradicts its sources; write 'sourced' or 'partly'",
        "t.yaml:31: provenance 'derived' contradicts its sources; write 'sourced' or 'partly'",
    ]


def test_a_cycle_through_covers_of_itself_is_told(tmp_path: Path) -> None:
    text = TREE.replace("covers: [buk-m1]", "covers: [buk]")
    assert faults_of(tmp_path, text) == ["t.yaml:15: buk -> buk is a cycle; break it at one of these ids"]


def test_a_cycle_between_a_family_and_its_role_is_told(tmp_path: Path) -> None:
    faults = faults_of(tmp_path, TREE.replace("role: gun, name: Guns", "role: gun-family, name: Guns"))
    assert "t.yaml:9: gun-family -> gun-family is a cycle; break it at one of these ids" in faults


def test_an_id_shared_by_a_role_and_a_class_is_told_at_both_places(tmp_path: Path) -> None:
    faults = faults_of(tmp_path, TREE.replace("{id: shilka", "{id: gun"))
    assert [fault for fault in faults if "used 2 times" in fault] == [
        f"t.yaml:{line}: id 'gun' is used 2 times; every role, family and class needs an id of its own"
        for line in (7, 13)
    ]


def test_the_keys_of_a_cost_need_no_quotes(tmp_path: Path) -> None:
    taxonomy = load_taxonomy(taxonomy_file(tmp_path, TREE.replace('"', "")))
    assert [cost.cost for cost in taxonomy.costs] == [9]


def test_a_cost_that_is_stated_twice_is_told(tmp_path: Path) -> None:
    faults = faults_of(tmp_path, TREE + TREE.splitlines()[-1].replace("9", "2"))
    assert len(faults) == 1
    assert faults[0].startswith("t.yaml:31: ")


@pytest.mark.parametrize("slug", ["Tor-M1", "tor_m1", "tor-m1-", "tör", "t" * 65])
def test_an_id_that_is_no_slug_is_told_with_its_line(tmp_path: Path, slug: str) -> None:
    (fault,) = [f for f in faults_of(tmp_path, TREE.replace("id: shilka", f"id: {slug}")) if "classes.0.id" in f]
    assert fault.startswith("t.yaml:13: classes.0.id: String should ")
    assert slug in fault


def test_an_unknown_key_is_told_with_its_line_and_the_nearest_name(tmp_path: Path) -> None:
    faults = faults_of(tmp_path, TREE.replace("family: tor-family\n", "familiy: tor-family\n"))
    assert "t.yaml:17: unknown key 'classes.3.familiy', did you mean 'family'?" in faults


def test_a_negative_cost_is_told(tmp_path: Path) -> None:
    (fault,) = faults_of(tmp_path, TREE.replace("cost: 9", "cost: -1"))
    assert fault == "t.yaml:30: costs.0.cost: Input should be greater than or equal to 0, not -1"


def test_another_version_is_refused(tmp_path: Path) -> None:
    (fault,) = faults_of(tmp_path, TREE.replace("version: 1", "version: 2"))
    assert fault == "t.yaml:1: version: Input should be 1, not 2"


def test_classes_are_ordered_by_role_then_family_then_file(tree: Taxonomy) -> None:
    assert tree.class_ids == ("tor-m1", "tor-m2", "buk-m1", "buk", "shilka")


def test_in_order_drops_repetitions_and_follows_the_tree(tree: Taxonomy) -> None:
    assert tree.in_order(["shilka", "buk", "tor-m2", "buk"]) == ("tor-m2", "buk", "shilka")


def test_in_order_of_an_unknown_class_names_it_and_the_nearest(tree: Taxonomy) -> None:
    with pytest.raises(TaxonomyError, match=r"class 'tor-m' is not in the taxonomy, did you mean 'tor-m[12]'\?"):
        tree.in_order(["shilka", "tor-m"])


def test_names_of_classes_families_roles_and_anything_else(tree: Taxonomy) -> None:
    assert [tree.name(node) for node in ("shilka", "buk-family", "gun", "unknown")] == [
        "Shilka",
        "Buk family",
        "Gun",
        "unknown",
    ]


def test_family_and_role_of_a_class(tree: Taxonomy) -> None:
    assert (tree.family_id("tor-m2"), tree.role_id("tor-m2")) == ("tor-family", "missile")


@pytest.mark.parametrize(
    ("first", "second", "steps"),
    [("tor-m1", "tor-m1", 0), ("tor-m1", "tor-m2", 1), ("tor-m1", "buk-m1", 2), ("tor-m1", "shilka", 3)],
)
def test_distance_counts_the_steps_to_the_common_ancestor(tree: Taxonomy, first: str, second: str, steps: int) -> None:
    assert tree.distance(first, second) == tree.distance(second, first) == steps


def test_cost_matrix_is_the_distance_unless_a_cost_is_stated(tree: Taxonomy) -> None:
    expected = [[0, 1, 3], [1, 0, 3], [9, 3, 0]]  # rows true, columns predicted
    np.testing.assert_array_equal(tree.cost_matrix(["tor-m1", "tor-m2", "shilka"]), expected)


def test_cost_matrix_follows_the_given_order(tree: Taxonomy) -> None:
    np.testing.assert_array_equal(tree.cost_matrix(["shilka", "tor-m1"]), [[0, 9], [3, 0]])


def test_cost_matrix_of_no_class_is_empty(tree: Taxonomy) -> None:
    assert tree.cost_matrix([]).shape == (0, 0)


def test_separating_cues_are_the_same_in_both_directions(tree: Taxonomy) -> None:
    forth, back = tree.separating_cues("tor-m1", "tor-m2"), tree.separating_cues("tor-m2", "tor-m1")
    assert [cue.text for cue in forth] == ["Dish or plate"]
    assert back == forth


def test_separating_cues_of_classes_that_are_no_look_alikes_are_empty(tree: Taxonomy) -> None:
    assert tree.separating_cues("shilka", "tor-m1") == ()


def test_restricted_to_keeps_only_what_the_classes_need(tree: Taxonomy) -> None:
    part = tree.restricted_to(["tor-m2", "tor-m1", "buk"])
    assert part.class_ids == ("tor-m1", "tor-m2", "buk")
    assert [family.id for family in part.families] == ["tor-family", "buk-family"]
    assert [role.id for role in part.roles] == ["missile"]
    assert [pair.classes for pair in part.look_alikes] == [("tor-m1", "tor-m2")]
    assert part.vehicle_class("buk").covers == ()
    assert part.sources == {"book": "A book"}
    assert part.costs == ()


def test_restricted_to_keeps_costs_and_covers_between_kept_classes(tree: Taxonomy) -> None:
    part = tree.restricted_to(["shilka", "tor-m1", "buk", "buk-m1"])
    assert part.vehicle_class("buk").covers == ("buk-m1",)
    assert part.costs == tree.costs != ()
    assert part.sources == tree.sources


def test_restricted_to_all_classes_changes_nothing(tree: Taxonomy) -> None:
    assert tree.restricted_to(tree.class_ids) == tree


def test_restricted_to_an_unknown_class_is_an_error(tree: Taxonomy) -> None:
    with pytest.raises(TaxonomyError, match="class 'shilkaa' is not in the taxonomy, did you mean 'shilka'"):
        tree.restricted_to(["shilkaa"])


def test_a_restricted_taxonomy_is_valid_as_a_file(tmp_path: Path, tree: Taxonomy) -> None:
    part = tree.restricted_to(["tor-m1", "tor-m2"])
    text = yaml.safe_dump(part.model_dump(mode="json", exclude_none=True))
    assert load_taxonomy(taxonomy_file(tmp_path, text)) == part


def test_an_unchecked_fact_says_so_when_it_is_shown() -> None:
    assert str(Fact(text="Six wheels", provenance="unchecked")) == "Six wheels (unchecked)"
    assert str(Fact(text="Six wheels", provenance="derived")) == "Six wheels"


def texts_in(content: Any) -> Iterator[str]:
    """Every text in nested dicts and lists, keys included."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from texts_in(key)
            yield from texts_in(value)
    elif isinstance(content, list | tuple):
        for item in content:
            yield from texts_in(item)
    elif isinstance(content, str):
        yield content


def test_the_shipped_taxonomy_loads_and_every_class_has_a_name_and_a_role(shipped: Taxonomy) -> None:
    assert len(set(shipped.class_ids)) == len(shipped.class_ids) >= 47
    assert all(shipped.name(class_id) and shipped.role_id(class_id) for class_id in shipped.class_ids)


def test_the_shipped_taxonomy_restricted_to_some_classes_is_valid(tmp_path: Path, shipped: Taxonomy) -> None:
    part = shipped.restricted_to(["tor-m1", "osa-akm", "shilka", "buk-m1"])
    text = yaml.safe_dump(part.model_dump(mode="json", exclude_none=True), allow_unicode=True)
    assert load_taxonomy(taxonomy_file(tmp_path, text)) == part


def test_no_text_of_the_shipped_taxonomy_speaks_of_memory(shipped: Taxonomy) -> None:
    assert [text for text in texts_in(shipped.model_dump()) if "memory" in text.lower()] == []
    assert "[memory]" not in default_taxonomy_path().read_text(encoding="utf-8")


@needs_reference
def test_every_system_of_the_reference_is_a_class_with_as_many_cues(
    shipped: Taxonomy, reference: list[dict[str, Any]]
) -> None:
    assert len(reference) == 47
    expected = {system["id"]: len(system["cues"]) for system in reference}
    assert {class_id: len(shipped.vehicle_class(class_id).cues) for class_id in expected} == expected


@needs_reference
def test_a_cue_that_the_reference_marks_as_memory_is_not_sourced(
    shipped: Taxonomy, reference: list[dict[str, Any]]
) -> None:
    marked = [
        (system["id"], cue, fact)
        for system in reference
        for cue, fact in zip(system["cues"], shipped.vehicle_class(system["id"]).cues, strict=True)
        if "[memory]" in str(cue)
    ]
    assert len(marked) > 50
    assert [(class_id, cue) for class_id, cue, fact in marked if fact.provenance in ("sourced", "derived")] == []


@needs_reference
@pytest.mark.parametrize("key", ["nato", "chassis", "wheels"])
def test_a_fact_that_the_reference_marks_as_memory_is_not_sourced(
    shipped: Taxonomy, reference: list[dict[str, Any]], key: str
) -> None:
    marked = [system["id"] for system in reference if "[memory]" in str(system.get(key))]
    facts = {class_id: getattr(shipped.vehicle_class(class_id), key) for class_id in marked}
    assert marked
    assert [class_id for class_id, fact in facts.items() if fact and fact.provenance == "sourced"] == []


@needs_reference
def test_every_pair_that_the_reference_calls_confusable_has_separating_cues(
    shipped: Taxonomy, reference: list[dict[str, Any]]
) -> None:
    known = set(shipped.class_ids)
    pairs = [(system["id"], other["id"]) for system in reference for other in system["confused_with"]]
    assert [pair for pair in pairs if set(pair) <= known and not shipped.separating_cues(*pair)] == []
