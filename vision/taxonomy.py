"""Classes, families and roles; which classes look alike and by which cue they separate; the order of classes.

K classes. The order of a taxonomy's file (roles, in them families, in them classes) is the order of every matrix and
of every model's outputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from vision.errors import TaxonomyError, nearest_name_hint
from vision.files import packaged_path
from vision.settings_file import SettingsFile, parse_settings

Slug = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
Provenance = Literal["sourced", "partly", "derived", "unchecked"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Fact(_Part):
    """A statement and where it comes from.

    `sourced`: every part has a source. `partly`: the parts without one are marked "unchecked" in the text. `derived`:
    follows from the cues of the two classes and is as good as they are. `unchecked`: nobody has checked it.
    """

    text: str = Field(min_length=1)
    provenance: Provenance
    sources: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The text, with a mark where not all of it is checked."""
        return f"{self.text} (unchecked)" if self.provenance == "unchecked" else self.text


class Role(_Part):
    """What vehicles are for, such as a short-range missile system."""

    id: Slug
    name: str


class Family(_Part):
    """Classes that share the turret, the missile or the descent, such as everything that carries a Tor turret."""

    id: Slug
    role: str
    name: str


class VehicleClass(_Part):
    """The finest label there is.

    `covers` lists classes that this one stands for where a picture's exact version is not settled.
    """

    id: Slug
    family: str
    names: tuple[str, ...] = Field(min_length=1)
    nato: Fact | None = None
    chassis: Fact | None = None
    wheels: Fact | None = None
    origin: str = ""
    cues: tuple[Fact, ...] = ()
    covers: tuple[str, ...] = ()
    note: str = ""
    commons: str = ""
    source_notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name to show."""
        return self.names[0]


class LookAlikes(_Part):
    """Two classes that are taken for each other, and the cues that separate them."""

    classes: tuple[str, str]
    cues: tuple[Fact, ...] = Field(min_length=1)


class ConfusionCost(_Part):
    """What it costs to answer `predicted_class` for a `true_class`; overrides the distance in the tree."""

    true_class: str
    predicted_class: str
    cost: float = Field(ge=0)


class Taxonomy(_Part):
    """The whole tree, with look-alikes, costs and the register of sources."""

    version: Literal[1]
    sources: dict[str, str] = {}
    roles: tuple[Role, ...] = Field(min_length=1)
    families: tuple[Family, ...] = Field(min_length=1)
    classes: tuple[VehicleClass, ...] = Field(min_length=1)
    look_alikes: tuple[LookAlikes, ...] = ()
    costs: tuple[ConfusionCost, ...] = ()

    @cached_property
    def class_ids(self) -> tuple[str, ...]:
        """All class ids, ordered by role, in it by family, in it as the file has them."""
        role_rank = {role.id: rank for rank, role in enumerate(self.roles)}
        family_rank = {f.id: (role_rank[f.role], rank) for rank, f in enumerate(self.families)}
        return tuple(c.id for c in sorted(self.classes, key=lambda c: family_rank[c.family]))

    @cached_property
    def _classes_by_id(self) -> dict[str, VehicleClass]:
        return {c.id: c for c in self.classes}

    @cached_property
    def _families_by_id(self) -> dict[str, Family]:
        return {f.id: f for f in self.families}

    @cached_property
    def _cues_by_pair(self) -> dict[frozenset[str], tuple[Fact, ...]]:
        return {frozenset(pair.classes): pair.cues for pair in self.look_alikes}

    def vehicle_class(self, class_id: str) -> VehicleClass:
        """The class with this id.

        Raises:
            TaxonomyError: There is none; the nearest known id is named.
        """
        try:
            return self._classes_by_id[class_id]
        except KeyError:
            hint = nearest_name_hint(class_id, self._classes_by_id)
            remedy = hint or "; a taxonomy of your own is given with --taxonomy"
            raise TaxonomyError(f"class '{class_id}' is not in the taxonomy{remedy}") from None

    def family_id(self, class_id: str) -> str:
        """Family of a class."""
        return self.vehicle_class(class_id).family

    def role_id(self, class_id: str) -> str:
        """Role of a class."""
        return self._families_by_id[self.family_id(class_id)].role

    def name(self, node_id: str) -> str:
        """Name of a class, family or role; the id itself for anything else, such as `unknown`."""
        if node_id in self._classes_by_id:
            return self._classes_by_id[node_id].name
        if node_id in self._families_by_id:
            return self._families_by_id[node_id].name
        return next((role.name for role in self.roles if role.id == node_id), node_id)

    def in_order(self, class_ids: Iterable[str]) -> tuple[str, ...]:
        """The given classes without repetition, in the order of the taxonomy."""
        wanted = set(class_ids)
        for class_id in wanted:
            self.vehicle_class(class_id)
        return tuple(class_id for class_id in self.class_ids if class_id in wanted)

    def separating_cues(self, first: str, second: str) -> tuple[Fact, ...]:
        """What separates two classes that look alike; empty if they are not listed as look-alikes."""
        return self._cues_by_pair.get(frozenset((first, second)), ())

    def distance(self, first: str, second: str) -> int:
        """Steps up the tree until the two classes meet: 0 same class, 1 same family, 2 same role, 3 otherwise."""
        if first == second:
            return 0
        if self.family_id(first) == self.family_id(second):
            return 1
        return 2 if self.role_id(first) == self.role_id(second) else 3

    def cost_matrix(self, class_ids: Sequence[str]) -> NDArray[np.float64]:
        """Cost of each answer for each truth: distance in the tree unless the file states a cost.

        Returns:
            (K, K), rows true, columns predicted, in the order of `class_ids`.
        """
        explicit = {(cost.true_class, cost.predicted_class): cost.cost for cost in self.costs}
        return np.array(
            [[explicit.get((t, p), float(self.distance(t, p))) for p in class_ids] for t in class_ids],
            dtype=np.float64,
        ).reshape(len(class_ids), len(class_ids))

    def restricted_to(self, class_ids: Iterable[str]) -> Taxonomy:
        """The part of the tree that these classes need: what a bundle keeps of it."""
        kept = set(self.in_order(class_ids))
        classes = tuple(
            c.model_copy(update={"covers": tuple(covered for covered in c.covers if covered in kept)})
            for c in self.classes
            if c.id in kept
        )
        families = tuple(f for f in self.families if any(c.family == f.id for c in classes))
        pairs = tuple(pair for pair in self.look_alikes if set(pair.classes) <= kept)
        cited = {source for fact in _all_facts(classes, pairs) for source in fact.sources}
        return Taxonomy(
            version=self.version,
            sources={key: text for key, text in self.sources.items() if key in cited},
            roles=tuple(r for r in self.roles if any(f.role == r.id for f in families)),
            families=families,
            classes=classes,
            look_alikes=pairs,
            costs=tuple(cost for cost in self.costs if {cost.true_class, cost.predicted_class} <= kept),
        )


def load_taxonomy(path: Path | None = None) -> Taxonomy:
    """The taxonomy in a YAML file, by default the one that comes with the package.

    Raises:
        TaxonomyError: With every fault of the file: wrong keys, repeated ids, references to nothing, cycles.
    """
    settings = SettingsFile(path or default_taxonomy_path(), TaxonomyError)
    taxonomy = parse_settings(Taxonomy, settings)
    problems = find_taxonomy_problems(taxonomy, settings)
    if problems:
        raise TaxonomyError("\n".join(problems))
    return taxonomy


def default_taxonomy_path() -> Path:
    """Where the taxonomy lies: in the installed package, or in `datasets/` of a source checkout."""
    return packaged_path("taxonomy.yaml", "datasets/taxonomy.yaml")


def find_taxonomy_problems(taxonomy: Taxonomy, settings: SettingsFile) -> list[str]:
    """Every contradiction in the tree, one line each with its place; empty if there is none."""
    return [
        *_repeated_ids(taxonomy, settings),
        *_wrong_parents(taxonomy, settings),
        *_cycles(taxonomy, settings),
        *_wrong_references(taxonomy, settings),
        *_wrong_provenance(taxonomy, settings),
    ]


def _repeated_ids(taxonomy: Taxonomy, settings: SettingsFile) -> list[str]:
    counts = Counter(
        [r.id for r in taxonomy.roles] + [f.id for f in taxonomy.families] + [c.id for c in taxonomy.classes]
    )
    problems = []
    for level in ("roles", "families", "classes"):
        for index, node_id in enumerate(node.id for node in getattr(taxonomy, level)):
            if counts[node_id] > 1:
                problems.append(
                    f"{settings.place((level, index, 'id'))}: id '{node_id}' is used {counts[node_id]} times; "
                    "every role, family and class needs an id of its own"
                )
    return problems


def _wrong_parents(taxonomy: Taxonomy, settings: SettingsFile) -> list[str]:
    role_ids = {role.id for role in taxonomy.roles}
    family_ids = {family.id for family in taxonomy.families}
    problems = []
    for index, family in enumerate(taxonomy.families):
        if family.role not in role_ids:
            hint = nearest_name_hint(family.role, role_ids)
            place = settings.place(("families", index, "role"))
            problems.append(f"{place}: role '{family.role}' of family '{family.id}' is not a role{hint}")
    for index, vehicle_class in enumerate(taxonomy.classes):
        if vehicle_class.family not in family_ids:
            hint = nearest_name_hint(vehicle_class.family, family_ids)
            place = settings.place(("classes", index, "family"))
            problems.append(
                f"{place}: family '{vehicle_class.family}' of class '{vehicle_class.id}' is not a family{hint}"
            )
    return problems


def _cycles(taxonomy: Taxonomy, settings: SettingsFile) -> list[str]:
    """Ids that are their own ancestor through `role`, `family` or `covers`, each cycle once."""
    above: dict[str, tuple[str, ...]] = {family.id: (family.role,) for family in taxonomy.families}
    above |= {c.id: (c.family, *c.covers) for c in taxonomy.classes}
    places = {f.id: settings.place(("families", index)) for index, f in enumerate(taxonomy.families)}
    places |= {c.id: settings.place(("classes", index)) for index, c in enumerate(taxonomy.classes)}
    problems = []
    finished: set[str] = set()
    for start in above:
        trail: list[str] = []

        def visit(node: str, trail: list[str] = trail) -> None:
            if node in trail:
                cycle = [*trail[trail.index(node) :], node]
                problems.append(f"{places[node]}: {' -> '.join(cycle)} is a cycle; break it at one of these ids")
            elif node not in finished:
                trail.append(node)
                for parent in above.get(node, ()):
                    visit(parent)
                trail.pop()
                finished.add(node)

        visit(start)
    return problems


def _wrong_references(taxonomy: Taxonomy, settings: SettingsFile) -> list[str]:
    class_ids = {c.id for c in taxonomy.classes}
    families = {c.id: c.family for c in taxonomy.classes}
    problems = []

    def expect_class(class_id: str, place: str, what: str) -> None:
        if class_id not in class_ids:
            problems.append(f"{place}: {what} '{class_id}' is not a class{nearest_name_hint(class_id, class_ids)}")

    for index, vehicle_class in enumerate(taxonomy.classes):
        place = settings.place(("classes", index, "covers"))
        for covered in vehicle_class.covers:
            expect_class(covered, place, "covered class")
            if families.get(covered, vehicle_class.family) != vehicle_class.family:
                problems.append(f"{place}: '{vehicle_class.id}' covers '{covered}' of another family")
    seen: dict[frozenset[str], str] = {}
    for index, pair in enumerate(taxonomy.look_alikes):
        place = settings.place(("look_alikes", index))
        for class_id in pair.classes:
            expect_class(class_id, place, "look-alike")
        key = frozenset(pair.classes)
        if len(key) == 1:
            problems.append(f"{place}: '{pair.classes[0]}' cannot be its own look-alike")
        elif key in seen:
            problems.append(f"{place}: the pair {pair.classes[0]}, {pair.classes[1]} stands also at {seen[key]}")
        seen.setdefault(key, place)
    costs: dict[tuple[str, str], str] = {}
    for index, cost in enumerate(taxonomy.costs):
        place = settings.place(("costs", index))
        expect_class(cost.true_class, place, "true class")
        expect_class(cost.predicted_class, place, "predicted class")
        first = costs.setdefault((cost.true_class, cost.predicted_class), place)
        if first != place:
            problems.append(
                f"{place}: the cost of {cost.predicted_class} for {cost.true_class} stands also at {first}; keep one"
            )
    return problems


def _wrong_provenance(taxonomy: Taxonomy, settings: SettingsFile) -> list[str]:
    problems = []

    def check(fact: Fact, place: str) -> None:
        for source in fact.sources:
            if source not in taxonomy.sources:
                hint = nearest_name_hint(source, taxonomy.sources)
                problems.append(f"{place}: source '{source}' is not in the register of sources{hint}")
        if fact.provenance in ("sourced", "partly") and not fact.sources:
            problems.append(f"{place}: provenance '{fact.provenance}' needs a source; add it or write 'unchecked'")
        if fact.provenance in ("derived", "unchecked") and fact.sources:
            problems.append(
                f"{place}: provenance '{fact.provenance}' contradicts its sources; write 'sourced' or 'partly'"
            )
        if fact.provenance == "partly" and "unchecked" not in fact.text:
            problems.append(f"{place}: provenance 'partly', but the text does not say which part is unchecked")

    for index, vehicle_class in enumerate(taxonomy.classes):
        for key in ("nato", "chassis", "wheels"):
            fact = getattr(vehicle_class, key)
            if fact is not None:
                check(fact, settings.place(("classes", index, key)))
        for cue_index, cue in enumerate(vehicle_class.cues):
            check(cue, settings.place(("classes", index, "cues", cue_index)))
    for index, pair in enumerate(taxonomy.look_alikes):
        for cue_index, cue in enumerate(pair.cues):
            check(cue, settings.place(("look_alikes", index, "cues", cue_index)))
    return problems


def _all_facts(classes: Iterable[VehicleClass], pairs: Iterable[LookAlikes]) -> Iterable[Fact]:
    for vehicle_class in classes:
        yield from (fact for fact in (vehicle_class.nato, vehicle_class.chassis, vehicle_class.wheels) if fact)
        yield from vehicle_class.cues
    for pair in pairs:
        yield from pair.cues
