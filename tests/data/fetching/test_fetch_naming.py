"""Names of files and groups: the same in every run, apart for different pictures, safe on every system."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision.data.fetching.found import FoundPicture
from vision.data.fetching.naming import author_group, picture_path


def picture(**values: Any) -> FoundPicture:
    given = {"source": "commons", "key": "Tor.jpg", "title": "Tor", "page_url": "", "file_url": "https://a.org/Tor.jpg"}
    return FoundPicture(**{**given, **values})


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"title": "Tor-M1, Kyiv (2018).JPG"}, r"images/tor-m1/tor-m1-kyiv-2018-[0-9a-f]{10}\.jpg"),
        ({"title": "Бук", "file_url": "https://a.org/%D0%91.JPEG?utm=1"}, r"images/tor-m1/[0-9a-f]{10}\.jpg"),
        ({"title": "../../etc/passwd"}, r"images/tor-m1/etc-passwd-[0-9a-f]{10}\.jpg"),
        ({"file_url": "https://a.org/1", "media_type": "image/png"}, r"images/tor-m1/tor-[0-9a-f]{10}\.png"),
        ({"title": "x" * 300}, r"images/tor-m1/x{60}-[0-9a-f]{10}\.jpg"),
    ],
)
def test_a_path_tells_the_title_as_far_as_every_system_can_write_it(values: dict[str, str], path: str) -> None:
    assert re.fullmatch(path, picture_path(picture(**values), "tor-m1"))


@given(st.text(), st.text())
def test_a_path_stays_in_its_folder_and_is_plain_ascii(title: str, key: str) -> None:
    path = picture_path(picture(title=title, key=key), "tor-m1")
    assert re.fullmatch(r"images/tor-m1/[a-z0-9-]{10,71}\.(jpg|png|webp|tif)", path)


def test_pictures_that_differ_in_letters_that_are_left_off_have_different_paths() -> None:
    assert picture_path(picture(key="Тор.jpg"), "tor-m1") != picture_path(picture(key="Бук.jpg"), "tor-m1")


@pytest.mark.parametrize(
    ("author", "group"),
    [
        ("A. Person", "author-a-person"),
        ("  a.\nPERSON ", "author-a-person"),
        ("Ein Köche-Bündnis", "author-ein-koche-bundnis"),
        ("Некий Автор", f"author-{hashlib.sha256('некий автор'.encode()).hexdigest()[:12]}"),
    ],
)
def test_an_authors_pictures_are_one_group(author: str, group: str) -> None:
    assert author_group(picture(author=author)) == group
    assert author_group(picture(author=author, key="Other.jpg")) == group


@pytest.mark.parametrize("author", ["", "Unknown author", "anonymous", " Unknown "])
def test_pictures_of_nobody_known_are_groups_of_their_own(author: str) -> None:
    assert author_group(picture(author=author)) != author_group(picture(author=author, key="Other.jpg"))


def test_authors_in_other_scripts_are_told_apart() -> None:
    names = ["Некий Автор", "Другой Автор", "V. Автор", "W. Автор", "北朝鮮"]
    assert len({author_group(picture(author=name)) for name in names}) == len(names)
