"""Names of files and groups, made so that they are the same in every run and on every system."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from vision.data.fetching.found import FoundPicture

_ENDINGS = {".jpg": ".jpg", ".jpeg": ".jpg", ".png": ".png", ".webp": ".webp", ".tif": ".tif", ".tiff": ".tif"}
_ENDING_OF_TYPE = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp", "image/tiff": ".tif"}
_NOBODY = frozenset(("", "unknown", "unknown author", "unknown photographer", "anonymous", "author not stated", "n/a"))
_LONGEST_SLUG = 60


def picture_path(picture: FoundPicture, class_id: str) -> str:
    """Where a picture goes, relative to the data set's folder, such as `images/tor-m1/tor-kyiv-2018-1f0c9a3e52.jpg`.

    The digest of the source's own name keeps titles apart that differ in letters which not every system has.
    """
    ending = _ending(picture)
    stem = picture.title or picture.key
    suffix = PurePosixPath(stem).suffix
    stem = stem.removesuffix(suffix) if suffix.lower() in _ENDINGS else stem
    return "/".join(("images", class_id, "-".join(filter(None, (_slug(stem), _digest(picture.identity, 10)))) + ending))


def author_group(picture: FoundPicture) -> str:
    """The group of a picture: one for each author, and one for each picture of nobody known, or of a site's one author.

    Names in other scripts than Latin become a digest, which is the same in every run.
    """
    author = " ".join(unicodedata.normalize("NFKC", picture.author).casefold().split())
    if author in _NOBODY or picture.is_author_of_site:
        return f"picture-{_digest(picture.identity, 12)}"
    slug = _slug(author)
    is_told_by_slug = len(slug) < _LONGEST_SLUG and not any(c.isalnum() and not _ascii(c) for c in author)
    return f"author-{slug}" if slug and is_told_by_slug else f"author-{_digest(author, 12)}"


def _ending(picture: FoundPicture) -> str:
    path = PurePosixPath(unquote(urlsplit(picture.file_url).path))
    return _ENDINGS.get(path.suffix.lower()) or _ENDING_OF_TYPE.get(picture.media_type, ".jpg")


def _slug(text: str) -> str:
    words = re.findall(r"[a-z0-9]+", _ascii(text).lower())
    return "-".join(words)[:_LONGEST_SLUG].strip("-")


def _ascii(text: str) -> str:
    """The text with accents left off and without what is not ASCII then."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")


def _digest(text: str, length: int) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]
