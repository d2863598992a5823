"""What each kind of metadata in a picture's file says of its author, licence and source.

Four kinds are read: XMP, IPTC (of JPEG and TIFF), EXIF, and the texts and comments that PNG, JPEG and GIF may hold.
Each reader returns statements by the names of `FIELDS`, only those that are there. Values are as the file has them,
decoded; `clean_text` makes them fit for a table.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping

from PIL import ExifTags, Image, ImageFile, IptcImagePlugin

FIELDS = (
    "author",
    "copyright",
    "title",
    "description",
    "source_url",
    "date",
    "licence_url",
    "licence_stated",
)
Statements = dict[str, str]

MOST_CHARACTERS = 2000
"""Longer texts are cut: a caption may be a paragraph, but not a book."""

MOST_XMP_BYTES = 4_000_000
"""More is no description of a picture."""

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_DC = "{http://purl.org/dc/elements/1.1/}"
_CC = "{http://creativecommons.org/ns#}"
_RIGHTS = "{http://ns.adobe.com/xap/1.0/rights/}"
_PHOTOSHOP = "{http://ns.adobe.com/photoshop/1.0/}"
_PLUS = "{http://ns.useplus.org/ldf/xmp/1.0/}"

# IPTC Photo Metadata Standard 2023.2 and Creative Commons' guide to XMP; the first that is there counts.
_XMP_NAMES: dict[str, tuple[str, ...]] = {
    "author": (f"{_DC}creator", f"{_CC}attributionName", f"{_PHOTOSHOP}Credit"),
    "copyright": (f"{_DC}rights",),
    "title": (f"{_DC}title", f"{_PHOTOSHOP}Headline"),
    "description": (f"{_DC}description",),
    "source_url": (f"{_CC}attributionURL", f"{_DC}source", f"{_PHOTOSHOP}Source", f"{_PLUS}LicensorURL"),
    "date": (
        "{http://ns.adobe.com/exif/1.0/}DateTimeOriginal",
        f"{_PHOTOSHOP}DateCreated",
        "{http://ns.adobe.com/xap/1.0/}CreateDate",
    ),
    "licence_url": (f"{_CC}license", f"{_RIGHTS}WebStatement"),
    "licence_stated": (f"{_RIGHTS}UsageTerms",),
}

# Record 2 of IPTC IIM 4.2; the first that is there counts.
_IPTC_DATA_SETS: dict[str, tuple[int, ...]] = {
    "author": (80, 110),  # by-line, credit
    "copyright": (116,),
    "title": (5, 105),  # object name, headline
    "description": (120,),
    "source_url": (115,),
    "date": (55,),
}

_EXIF_TAGS: dict[str, tuple[int, ...]] = {
    "author": (ExifTags.Base.Artist, ExifTags.Base.XPAuthor),
    "copyright": (ExifTags.Base.Copyright,),
    "title": (ExifTags.Base.XPTitle,),
    "description": (ExifTags.Base.ImageDescription, ExifTags.Base.XPComment),
}

# Keywords of PNG (W3C, third edition, 11.3.3.2), in lower case, and two that are seen besides.
_PNG_KEYWORDS: dict[str, tuple[str, ...]] = {
    "author": ("author", "artist"),
    "copyright": ("copyright",),
    "title": ("title",),
    "description": ("description",),
    "source_url": ("source",),
    "date": ("creation time",),
    "licence_stated": ("license", "licence"),
}

_WEB_ADDRESS = re.compile(r"https?://[^\s<>\"'|\\^`{}]+", re.IGNORECASE)
_LICENCE_ADDRESS = re.compile(r"creativecommons\.org|/licen[cs]e", re.IGNORECASE)


def find_web_addresses(text: str) -> list[str]:
    """Every address of the web in a text, without punctuation behind it."""
    addresses = [found.rstrip(".,;:!?") for found in _WEB_ADDRESS.findall(text)]
    return [address.rstrip(")") if "(" not in address else address for address in addresses]


def find_web_address(text: str) -> str:
    """The first address of the web in a text; empty if there is none."""
    return next(iter(find_web_addresses(text)), "")


def clean_text(text: str) -> str:
    """One line of printable text: control characters become blanks, what is too long is cut."""
    head = text[: 4 * MOST_CHARACTERS]
    printable = "".join(character if character.isprintable() else " " for character in head)
    line = " ".join(printable.split())
    return line if len(line) <= MOST_CHARACTERS else f"{line[: MOST_CHARACTERS - 1]}…"


def decoded(raw: bytes) -> str:
    """Bytes of no stated encoding as text: UTF-8 if they are that, else Windows-1252, as old tools write."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def xmp_statements(packet: bytes | str) -> Statements:
    """What an XMP packet says; nothing if it is too large, or declares a document type, which XMP has no use for.

    Without a document type there are no entities, so none that grow or that read other files.

    Raises:
        SyntaxError: It is no XML.
    """
    text = packet if isinstance(packet, str) else _xml_text(packet)
    if len(text) > MOST_XMP_BYTES or "<!DOCTYPE" in text or "<!ENTITY" in text:
        return {}
    properties = _xmp_properties(ET.fromstring(text.strip("\ufeff\0 \r\n\t")))
    return _first_stated({name: [properties.get(key, "") for key in keys] for name, keys in _XMP_NAMES.items()})


def iptc_statements(image: Image.Image) -> Statements:
    """What the IPTC records of a JPEG or TIFF say."""
    records = IptcImagePlugin.getiptcinfo(image) if isinstance(image, ImageFile.ImageFile) else None
    if not records:
        return {}
    texts = {number: _iptc_text(value) for (record, number), value in records.items() if record == 2}
    return _first_stated(
        {name: [texts.get(number, "") for number in numbers] for name, numbers in _IPTC_DATA_SETS.items()}
    )


def exif_statements(image: Image.Image) -> Statements:
    """What the EXIF tags say."""
    exif = image.getexif()
    listed = {name: [_exif_text(tag, exif.get(tag)) for tag in tags] for name, tags in _EXIF_TAGS.items()}
    original = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.DateTimeOriginal)
    return _first_stated({**listed, "date": [_exif_text(ExifTags.Base.DateTimeOriginal, original)]})


def png_statements(texts: Mapping[object, object]) -> Statements:
    """What the text chunks of a PNG say.

    Args:
        texts: `Image.info`, where Pillow puts them among other things.
    """
    by_keyword = {key.lower(): value for key, value in texts.items() if isinstance(key, str) and isinstance(value, str)}
    return _first_stated(
        {name: [by_keyword.get(keyword, "") for keyword in keywords] for name, keywords in _PNG_KEYWORDS.items()}
    )


def comment_statements(comment: bytes | str) -> Statements:
    """What a JPEG's or GIF's comment says: the page that the picture comes from.

    Wikimedia writes `File source: https://commons.wikimedia.org/wiki/File:...` there. A comment without an address is
    mostly an encoder's name, and tells nothing of the picture.
    """
    text = clean_text(decoded(comment) if isinstance(comment, bytes) else comment)
    addresses = find_web_addresses(text)
    of_licences = [address for address in addresses if _LICENCE_ADDRESS.search(address)]
    pages = [address for address in addresses if address not in of_licences]
    return _first_stated({"source_url": pages, "licence_url": of_licences})


def _first_stated(listed: Mapping[str, list[str]]) -> Statements:
    """For every field the first of its texts that says something."""
    cleaned = {name: next(filter(None, map(clean_text, texts)), "") for name, texts in listed.items()}
    return {name: text for name, text in cleaned.items() if text}


def _xml_text(packet: bytes) -> str:
    """The text of an XMP packet, which may be UTF-8, UTF-16 or UTF-32."""
    for mark, encoding in ((b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16")):
        if packet.startswith(mark):
            return packet.decode(encoding, "replace")
    if packet.startswith(b"\xfe\xff"):
        return packet.decode("utf-16", "replace")
    return decoded(packet[: MOST_XMP_BYTES + 1])


def _xmp_properties(root: ET.Element) -> dict[str, str]:
    """The first value of every property, wherever it stands, by its name with namespace."""
    properties: dict[str, str] = {}
    for element in root.iter():
        for name, text in element.attrib.items():
            if text.strip():
                properties.setdefault(name, text)
        if element.tag not in properties and (text := _xmp_value(element)):
            properties[element.tag] = text
    return properties


def _xmp_value(element: ET.Element) -> str:
    """A property's value: an address, a text, several texts, or the text in the default language."""
    if resource := element.get(f"{_RDF}resource"):
        return resource
    items = [item for container in element for item in container if item.tag == f"{_RDF}li"]
    default = [item for item in items if item.get("{http://www.w3.org/XML/1998/namespace}lang") == "x-default"]
    is_choice = element.find(f"{_RDF}Alt") is not None
    texts = [text for item in (default or items) if (text := (item.text or "").strip())]
    if texts:
        return texts[0] if is_choice else ", ".join(texts)
    return (element.text or "").strip()


def _iptc_text(value: bytes | list[bytes]) -> str:
    return ", ".join(map(decoded, value)) if isinstance(value, list) else decoded(value)


def _exif_text(tag: int, value: object) -> str:
    """A tag's value as text. Pillow decodes ASCII tags as Latin-1, whatever the camera wrote."""
    if isinstance(value, tuple) and all(isinstance(number, int) and 0 <= number < 256 for number in value):
        value = bytes(value)
    if isinstance(value, bytes):
        is_wide = ExifTags.Base.XPTitle <= tag <= ExifTags.Base.XPSubject  # UTF-16 by Microsoft's definition
        return value.decode("utf-16-le", "replace") if is_wide else decoded(value)
    if not isinstance(value, str):
        return ""
    try:
        return decoded(value.encode("latin-1"))
    except UnicodeEncodeError:
        return value
