"""A data set described in Croissant 1.1, the format of MLCommons for data sets (http://mlcommons.org/croissant/1.1).

The description is JSON-LD beside the manifest: two resources (the manifest, the pictures) and three sets of records
(classes, splits, pictures). Tools such as mlcroissant load labels and pictures from it; this module does not need it.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from typing import Any

import polars as pl

from vision.data.manifest import COLUMNS, INTEGER_COLUMNS, Manifest
from vision.data.sharing.data_set_facts import DataSetFacts, citation
from vision.data.sharing.licence_duties import applying_licences
from vision.files import sha256_of_file
from vision.taxonomy import Taxonomy

CROISSANT_VERSION = "http://mlcommons.org/croissant/1.1"
CROISSANT_FILE = "croissant.json"

Json = dict[str, Any]

_CONTEXT: Json = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    **{
        term: f"cr:{term}"
        for term in (
            *("annotation", "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "excludes"),
            *("extract", "field", "fileObject", "fileProperty", "fileSet", "format", "includes", "isArray"),
            *("isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "readLines", "recordSet"),
            *("references", "regex", "repeated", "replace", "samplingRate", "sdVersion", "separator", "source"),
            *("subField", "transform", "unArchive"),
        )
    },
}
"""The context of the specification's appendix 1, and the terms that mlcroissant 1.1 looks for beyond it."""

_ENCODINGS = {
    ".csv": "text/csv",
    ".jsonl": "application/jsonlines",
    ".ndjson": "application/jsonlines",
    ".parquet": "application/x-parquet",
}
_PICTURE_ENCODINGS = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
    ".gif": "image/gif",
}
_MOST_PATTERNS = 50  # with more folders of pictures, patterns name the uppermost folders alone
_MOST_NAMED = 2_000  # so many pictures are named one by one, whatever lies among them: mlcroissant matches them in 1 s
_MOST_NAMED_AT_NEED = 20_000  # so many where others lie among them; it tries every name on every file

_SPLIT_KINDS = {"train": "cr:TrainingSplit", "calibration": "cr:ValidationSplit"}  # all others: cr:TestSplit
_EQUIVALENTS = {
    "title": "sc:name",
    "author": "sc:creator",
    "licence_url": "sc:license",
    "source_url": "sc:isBasedOn",
    "sha256": "sc:sha256",
    "width": "sc:width",
    "height": "sc:height",
}
_ADDRESSES = ("licence_url", "source_url")

# What pandas, and so mlcroissant, reads as "no value" in a CSV (pandas.read_csv, na_values).
_NOT_A_VALUE = frozenset(
    (
        *("#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>"),
        *("N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    )
)


def describe_in_croissant(manifest: Manifest, taxonomy: Taxonomy, facts: DataSetFacts) -> Json:
    """The description of a data set; the same for the same files and facts.

    Args:
        manifest: The data set, checked; its file is read for its digest.
        taxonomy: For the names of classes.
        facts: What the manifest does not tell.
    """
    described: Json = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CROISSANT_VERSION,
        "name": facts.name,
        "description": facts.description,
        "citeAs": citation(facts),
        "creator": [{"@type": "sc:Person", "name": creator} for creator in facts.creators],
        "datePublished": facts.date_published,
        "license": licence_addresses(manifest.table),
        "url": facts.url,
        "version": facts.version,
        "distribution": [_manifest_file(manifest), _picture_files(manifest)],
        "recordSet": [_classes(manifest, taxonomy), *_splits(manifest), _pictures(manifest)],
    }
    return {key: value for key, value in described.items() if value}


def find_gaps(described: Json) -> list[str]:
    """Properties that Croissant requires or recommends and that are missing, by the option that gives them."""
    options = {"url": "--url", "creator": "--creator", "datePublished": "--date", "license": "column licence"}
    return [f"{key} ({option})" for key, option in options.items() if key not in described]


def licence_addresses(table: pl.DataFrame) -> list[str]:
    """Address of each licence in a table; of one that is not known here its id."""
    addresses = set()
    for licence in table["licence"].drop_nulls().unique():
        parts = applying_licences(licence)
        addresses |= {licence} if parts is None else {part.url for part in parts}
    return sorted(addresses)


def picture_places(file_names: pl.Series) -> pl.DataFrame:
    """Columns `folder` (empty for the manifest's own), `suffix` and `count` of pictures, sorted."""
    places = pl.DataFrame({"name": file_names}).select(
        folder=pl.col("name").str.extract(r"^(.*)/[^/]*$").fill_null(""),
        suffix=pl.col("name").str.extract(r"(\.[^./]+)$").fill_null(""),
    )
    return places.group_by("folder", "suffix").len("count").sort("folder", "suffix")


def picture_patterns(file_names: pl.Series) -> list[str]:
    """Glob patterns that match the pictures: folder and ending."""
    places = list(picture_places(file_names).select("folder", "suffix").iter_rows())
    if len(places) <= _MOST_PATTERNS:
        return sorted(_pattern(folder, f"*{suffix}") for folder, suffix in places)
    upper = {(folder.split("/")[0], suffix, "/" in folder) for folder, suffix in places}
    return sorted(_pattern(top, f"**/*{suffix}" if deeper else f"*{suffix}") for top, suffix, deeper in upper)


def included_patterns(manifest: Manifest) -> list[str]:
    """Patterns of the files to be loaded: the name of each row's, or folders and endings where there are very many.

    The specification's `excludes` would say it shorter, but mlcroissant 1.1 does not look at it.
    """
    names = manifest.table["file_name"]
    patterns = picture_patterns(names)
    if len(names) <= _MOST_NAMED or (len(names) <= _MOST_NAMED_AT_NEED and _files_without_row(manifest, patterns)):
        return sorted(map(glob.escape, names.unique()))
    return patterns


def find_extra_pictures(manifest: Manifest) -> list[str]:
    """Files that `included_patterns` match too though no row names them: they would be loaded without a label."""
    return _files_without_row(manifest, included_patterns(manifest))


def _files_without_row(manifest: Manifest, patterns: list[str]) -> list[str]:
    # In these patterns `*` reaches into folders too, as in mlcroissant.
    matches = re.compile("|".join(map(fnmatch.translate, patterns))).fullmatch
    tops = {folder.split("/")[0] for folder in picture_places(manifest.table["file_name"])["folder"].unique()}
    found = (
        os.path.relpath(f"{folder}/{file}", manifest.folder)
        for top in ({""} if "" in tops else tops)
        for folder, _, files in os.walk(manifest.folder / top)
        for file in files
    )
    named = set(manifest.file_names)
    return sorted({name for name in found if name not in named and matches(name)})


def num_missing_pictures(manifest: Manifest) -> int:
    """Rows whose file is not there."""
    return sum(not manifest.image_path(name).is_file() for name in manifest.file_names)


def find_misread_columns(manifest: Manifest) -> list[str]:
    """Text columns with values that pandas, by which mlcroissant reads, changes: it takes `007` in a CSV for 7.

    Of JSON lines it takes columns with names of dates for dates (pandas.read_json, convert_dates).
    """
    if manifest.path.suffix in (".jsonl", ".ndjson"):
        return [name for name in ("date", "retrieved_at") if manifest.table[name].null_count() < len(manifest.table)]
    if manifest.path.suffix != ".csv":
        return []
    texts = [name for name, kind in manifest.table.schema.items() if kind == pl.String]
    return [name for name in texts if _is_misread(manifest.table[name])]


def _is_misread(column: pl.Series) -> bool:
    values = column.drop_nulls().unique()
    if values.is_empty():
        return False
    numbers = values.cast(pl.Float64, strict=False)
    if numbers.null_count() == 0:
        # All are numbers: unchanged only if written as whole numbers are, with no cell empty.
        return column.null_count() > 0 or not values.str.contains(r"^(0|-?[1-9]\d{0,17})$").all()
    if values.str.to_lowercase().is_in(["true", "false"]).all():
        return True
    return bool(values.is_in(list(_NOT_A_VALUE)).any())


def _pattern(folder: str, last: str) -> str:
    return last if folder == "" else f"{glob.escape(folder)}/{last}"


def _manifest_file(manifest: Manifest) -> Json:
    return {
        "@type": "cr:FileObject",
        "@id": "manifest",
        "name": manifest.path.name,
        "description": "One row per picture.",
        "contentUrl": manifest.path.name,
        "contentSize": f"{manifest.path.stat().st_size} B",
        "encodingFormat": _ENCODINGS[manifest.path.suffix],
        "sha256": sha256_of_file(manifest.path),
    }


def _picture_files(manifest: Manifest) -> Json:
    names = manifest.table["file_name"]
    endings = {suffix.lower() for suffix in picture_places(names)["suffix"].unique()}
    found = {_PICTURE_ENCODINGS.get(ending, "image/*") for ending in endings}
    # mlcroissant reads by the first format that it knows, so those come first.
    encodings = [kind for kind in dict.fromkeys(_PICTURE_ENCODINGS.values()) if kind in found] + sorted(
        found - set(_PICTURE_ENCODINGS.values())
    )
    return {
        "@type": "cr:FileSet",
        "@id": "picture-files",
        "name": "pictures",
        "description": "The files that the manifest names.",
        "encodingFormat": encodings[0] if len(encodings) == 1 else encodings,
        "includes": included_patterns(manifest),
    }


def _classes(manifest: Manifest, taxonomy: Taxonomy) -> Json:
    ids = taxonomy.in_order(manifest.table["label"].drop_nulls().unique())
    rows = [
        {
            "classes/id": class_id,
            "classes/name": taxonomy.name(class_id),
            "classes/family": taxonomy.name(taxonomy.family_id(class_id)),
            "classes/role": taxonomy.name(taxonomy.role_id(class_id)),
        }
        for class_id in ids
    ]
    return {
        "@type": "cr:RecordSet",
        "@id": "classes",
        "name": "classes",
        "description": "The labels, with their names; families and roles are what classes have in common.",
        "dataType": "sc:Enumeration",
        "key": {"@id": "classes/id"},
        "field": [_text_field("classes", name) for name in ("id", "name", "family", "role")],
        "data": rows,
    }


def _splits(manifest: Manifest) -> list[Json]:
    names = manifest.table["split"].drop_nulls().unique().sort().to_list()
    if not names:
        return []
    rows = [{"splits/name": name, "splits/url": _SPLIT_KINDS.get(name, "cr:TestSplit")} for name in names]
    return [
        {
            "@type": "cr:RecordSet",
            "@id": "splits",
            "name": "splits",
            "description": "train; calibration, to set thresholds; test; novel: classes kept out of training.",
            "dataType": "cr:Split",
            "key": {"@id": "splits/name"},
            "field": [_text_field("splits", "name"), {**_text_field("splits", "url"), "dataType": "sc:URL"}],
            "data": rows,
        }
    ]


def _pictures(manifest: Manifest) -> Json:
    given = [name for name in manifest.table.columns if manifest.table[name].null_count() < len(manifest.table)]
    columns = [name for name in given if name != "file_name"]
    return {
        "@type": "cr:RecordSet",
        "@id": "pictures",
        "name": "pictures",
        "description": "One record per picture: the pixels and what the manifest says of them.",
        "key": {"@id": "pictures/file_name"},
        # The join stands first: readers that join once join here.
        "field": [_file_name_field(), _image_field(), *(_column_field(name) for name in columns)],
    }


def _file_name_field() -> Json:
    return {
        "@type": "cr:Field",
        "@id": "pictures/file_name",
        "name": "file_name",
        "description": COLUMNS["file_name"],
        "dataType": "sc:Text",
        "source": {
            "fileSet": {"@id": "picture-files"},
            "extract": {"fileProperty": "fullpath"},
            "transform": {"regex": "^(.*)$"},  # a path becomes a text, which compares with the column's
        },
        "references": {"fileObject": {"@id": "manifest"}, "extract": {"column": "file_name"}},
    }


def _image_field() -> Json:
    return {
        "@type": "cr:Field",
        "@id": "pictures/image",
        "name": "image",
        "description": "The picture.",
        "dataType": "sc:ImageObject",
        "source": {"fileSet": {"@id": "picture-files"}, "extract": {"fileProperty": "content"}},
    }


def _column_field(name: str) -> Json:
    source: Json = {"fileObject": {"@id": "manifest"}, "extract": {"column": name}}
    field: Json = {
        "@type": "cr:Field",
        "@id": f"pictures/{name}",
        "name": name,
        "description": COLUMNS.get(name, f"{name}, by which results may be told apart"),
        "dataType": _data_type(name),
        "source": source,
    }
    if name in _EQUIVALENTS:
        field["equivalentProperty"] = _EQUIVALENTS[name]
    if name == "box":
        source["format"] = "XYWH"
    if name == "label":
        field["references"] = {"field": {"@id": "classes/id"}}
    if name == "split":
        field["references"] = {"field": {"@id": "splits/name"}}
    return field


def _data_type(name: str) -> str | list[str]:
    if name in INTEGER_COLUMNS:
        return "sc:Integer"
    if name == "label":
        return ["sc:Text", "cr:Label"]
    if name == "box":
        return "cr:BoundingBox"
    return "sc:URL" if name in _ADDRESSES else "sc:Text"


def _text_field(record_set: str, name: str) -> Json:
    return {"@type": "cr:Field", "@id": f"{record_set}/{name}", "name": name, "dataType": "sc:Text"}
