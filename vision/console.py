"""What people read on a terminal: rows of predictions, pages of the taxonomy, plans of runs. Rich, no decisions."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from vision.classify.decision import DecisionRules, as_percent
from vision.predictions import Prediction, printable_name
from vision.taxonomy import Fact, Taxonomy

if TYPE_CHECKING:
    from vision.train.run import TrainingPlan
    from vision.train.training_set import PreparedRun

MOST_ROWS_IN_FULL = 3
"""Up to so many pictures are shown in full, more as one line each."""

TOP_K = 5
"""So many classes are shown of each picture."""

_BAR = 24


def print_predictions(
    rows: Iterable[Prediction],
    taxonomy: Taxonomy,
    console: Console,
    *,
    top_k: int = TOP_K,
    rules: DecisionRules | None = None,
) -> Iterator[Prediction]:
    """Print rows as they come and pass each on: a few in full, many as one line each.

    Args:
        rows: The rows.
        taxonomy: For names.
        console: Where to print.
        top_k: Most classes to show of each.
        rules: What they were answered by, for what label sets promise.
    """
    remaining = iter(rows)
    first = list(islice(remaining, MOST_ROWS_IN_FULL + 1))
    if len(first) <= MOST_ROWS_IN_FULL:
        for row in first:
            console.print(prediction_card(row, taxonomy, top_k=top_k, rules=rules))
            yield row
        return
    width = max(20, min(60, console.width - 66))
    heading = f"{'picture':<{width}}  {'answer':<24} {'prob.':>6} {'novel':>5} {'set':>3}  classes"
    console.print(Text(heading, style="bold"), no_wrap=True)
    for row in chain(first, remaining):
        console.print(_prediction_line(row, width, top_k), no_wrap=True, overflow="ellipsis", crop=True)
        yield row


def prediction_card(
    row: Prediction, taxonomy: Taxonomy, *, top_k: int = TOP_K, rules: DecisionRules | None = None
) -> RenderableType:
    """One prediction in full: answer, bars, label set, novelty, cue to check, nearest pictures with attribution."""
    name = Text(_safe(row.file_name), style="bold")
    if row.status == "error":
        return Group(name, Padding(Text(f"not read: {_safe(row.error)}", style="red"), (0, 0, 1, 2)))
    bars = Table.grid(padding=(0, 2))
    for item in row.top[:top_k]:
        bar = "█" * round(_BAR * item.probability)
        bars.add_row(item.class_id, Text(f"{bar:<{_BAR}}", style="cyan"), f"{100 * item.probability:5.1f} %")
    parts: list[RenderableType] = [Padding(_head(row, taxonomy), (0, 0, 0, 2)), Padding(bars, (0, 0, 0, 4))]
    parts += [Padding(Text(line), (0, 0, 0, 2)) for line in _set_and_novelty(row, rules)]
    parts += [Padding(Text.assemble(("check: ", "yellow"), cue), (0, 0, 0, 2)) for cue in row.cues]
    if row.nearest:
        parts.append(Padding(Text("nearest training pictures:", style="dim"), (0, 0, 0, 2)))
        for near in row.nearest:
            line = f"{near.similarity:5.2f}  {near.class_id}  {_safe(near.file_name)}  {_safe(near.attribution)}"
            parts.append(Padding(Text(line, style="dim"), (0, 0, 0, 4)))
    return Group(name, *parts, Text(""))


def _head(row: Prediction, taxonomy: Taxonomy) -> Text:
    """The answer, how probable it is, and why; the probability of "unknown" is told by what it is one of."""
    probability = as_percent(row.probability or 0)
    if row.level != "unknown":
        return Text.assemble((taxonomy.name(row.label), "bold green"), f"  {row.label}  {probability}  ({row.reason})")
    what = "" if row.probability == row.novelty_rank else f"  {probability} that even the most probable role is wrong"
    return Text.assemble(("unknown", "bold green"), f"{what}  ({row.reason})")


def _set_and_novelty(row: Prediction, rules: DecisionRules | None) -> list[str]:
    lines = []
    if row.label_set:
        coverage = rules.label_sets.coverage if rules is not None and rules.label_sets is not None else None
        what = "" if coverage is None else f" ({as_percent(coverage)} of such sets contain the class, if it is known)"
        lines.append(f"label set: {', '.join(row.label_set)}{what}")
    if row.novelty_rank is not None:
        lines.append(f"novelty: {as_percent(row.novelty_rank)} of known pictures are less novel")
    return lines


def taxonomy_tree(taxonomy: Taxonomy) -> Tree:
    """Roles, families and classes as a tree."""
    tree = Tree(f"{len(taxonomy.classes)} classes; `vision taxonomy CLASS` shows cues and look-alikes")
    for role in taxonomy.roles:
        role_branch = tree.add(Text.assemble((role.name, "bold"), " ", (role.id, "dim")))
        for family in (family for family in taxonomy.families if family.role == role.id):
            family_branch = role_branch.add(Text.assemble(family.name, " ", (family.id, "dim")))
            for vehicle_class in (c for c in taxonomy.classes if c.family == family.id):
                family_branch.add(Text.assemble((vehicle_class.id, "green"), f" {vehicle_class.name}"))
    return tree


def class_page(taxonomy: Taxonomy, class_id: str) -> RenderableType:
    """One class: names, facts, cues, and what separates it from its look-alikes."""
    vehicle_class = taxonomy.vehicle_class(class_id)
    parts: list[RenderableType] = [
        Text(f"{vehicle_class.id}: {', '.join(vehicle_class.names)}", style="bold"),
        Text(f"{taxonomy.name(taxonomy.family_id(class_id))}, {taxonomy.name(taxonomy.role_id(class_id))}"),
    ]
    for label in ("nato", "chassis", "wheels"):
        fact = getattr(vehicle_class, label)
        if fact is not None:
            parts.append(Text(f"{label}: {_with_sources(fact)}"))
    parts.append(Text("\ncues", style="bold"))
    parts += [Padding(Text(f"- {_with_sources(cue)}"), (0, 0, 0, 2)) for cue in vehicle_class.cues]
    parts.append(Text("\nlook-alikes", style="bold"))
    for pair in taxonomy.look_alikes:
        if class_id in pair.classes:
            other = pair.classes[1] if pair.classes[0] == class_id else pair.classes[0]
            parts += [Padding(Text(f"- {other}: {_with_sources(cue)}"), (0, 0, 0, 2)) for cue in pair.cues]
    if vehicle_class.note:
        parts.append(Text(f"\nnote: {vehicle_class.note}", style="yellow"))
    return Group(*parts)


def describe_plan(prepared: PreparedRun, plan: TrainingPlan) -> list[str]:
    """What a run will do, a line each."""
    table = prepared.manifest.table
    splits = table.group_by(table["split"].fill_null("no split").alias("split")).len().sort("split")
    counts = ", ".join(f"{split} {count}" for split, count in splits.iter_rows())
    licences = table["licence"].fill_null("not stated").unique().sort().to_list()
    lines = [
        f"data: {len(table)} pictures ({counts}), {len(prepared.classes)} classes, "
        f"{len(set(prepared.training.groups))} groups to train on",
        f"licences, policy '{prepared.config.data.licence_policy.value}': {', '.join(licences)}",
    ]
    lines += [
        f"backbone: {backbone.name}, weights {backbone.weights.licence}, {backbone.weights.source.split(', sha256')[0]}"
        for backbone in plan.backbones.values()
    ]
    lines.append(
        f"features: {len(plan.recipes)} candidates, {plan.feature_bytes / 1e6:.0f} MB; {plan.num_passes} passes to "
        f"compute, {plan.num_images_to_see - plan.num_passes} cached; about {_duration(plan.seconds_for_features)}"
    )
    lines += [f"fine-tuning: {reason}" for reason in plan.fine_tuning]
    return lines


def _prediction_line(row: Prediction, width: int, top_k: int) -> Text:
    name = _safe(row.file_name)
    name = name if len(name) <= width else "…" + name[-(width - 1) :]
    if row.status == "error":
        return Text.assemble(f"{name:<{width}}  ", (f"not read: {_safe(row.error)}", "red"))
    others = [item for item in row.top[: min(top_k, 3)] if item.class_id != row.label]
    classes = ", ".join(f"{item.class_id} {100 * item.probability:.0f} %" for item in others)
    probability = f"{100 * (row.probability or 0):5.1f}%"
    novel = "" if row.novelty_rank is None else f"{100 * row.novelty_rank:.0f}%"
    size = str(len(row.label_set)) if row.label_set else ""
    return Text.assemble(
        f"{name:<{width}}  ", (f"{row.label:<24}", "green"), f" {probability} {novel:>5} {size:>3}  ", (classes, "dim")
    )


def _safe(text: str) -> str:
    """Text that cannot steer a terminal: control and direction characters are shown as escapes, on one line."""
    steering = ("Cc", "Cf", "Zl", "Zp")
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in steering else char
        for char in printable_name(text)
    )


def _with_sources(fact: Fact) -> str:
    return f"{fact} [{', '.join(fact.sources)}]" if fact.sources else str(fact)


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "no time"
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
