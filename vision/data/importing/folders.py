"""Class folders: `tor-m1/a.jpg`, or with splits above the classes: `train/tor-m1/a.jpg`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from vision.data.images import IMAGE_ENDINGS
from vision.data.importing.source import (
    SPLIT_NAMES,
    Entry,
    ImportSource,
    SourceFormat,
    find_files,
)


def read_class_folders(root: Path) -> ImportSource:
    """Every picture beneath `root`, labelled by the first folder above it that is no split."""
    source = ImportSource(SourceFormat.FOLDERS, root)
    passed_by: Counter[str] = Counter()
    has_splits = has_split_folders(root)
    for path in find_files(root):
        if path.suffix.lower() not in IMAGE_ENDINGS:
            passed_by[path.suffix or path.name] += 1
            continue
        folders = path.relative_to(root).parts[:-1]
        split = SPLIT_NAMES[folders[0].lower()] if has_splits and folders else ""
        classes = folders[1:] if split else folders
        if not classes:
            source.leave_out(path, str(path.parent), "lies in no class folder")
            continue
        source.entries.append(Entry(str(path), classes[0], str(path.parent), _SPLIT_VALUES[split]))
    if passed_by:
        endings = ", ".join(f"{ending} {count}" for ending, count in passed_by.most_common(5))
        source.notes.append(f"{passed_by.total()} files passed by, which are no pictures by their ending ({endings})")
    return source


def has_split_folders(root: Path) -> bool:
    """Whether the folders in `root` are splits: each has the name of one, and one is `train` or `test`."""
    names = {path.name.lower() for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "__"))}
    return (
        bool(names) and names <= SPLIT_NAMES.keys() and bool({SPLIT_NAMES[name] for name in names} & {"train", "test"})
    )


_SPLIT_VALUES = {"": {}, **{split: {"split": split} for split in SPLIT_NAMES.values()}}
"""One dict for all pictures of a split, not one each."""
