"""What pictures' own metadata say: each kind, their order, and metadata that are broken or hostile."""

import io
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from vision.data.importing.embedded_provenance import Provenance, read_provenance, short_date, stated_licence
from vision.data.importing.embedded_statements import MOST_CHARACTERS, clean_text, find_web_address, xmp_statements

ARTIST, COPYRIGHT, DESCRIPTION, XP_TITLE, XP_AUTHOR = 0x013B, 0x8298, 0x010E, 0x9C9B, 0x9C9D
EXIF_IFD, DATE_TIME_ORIGINAL = 0x8769, 0x9003
BY_SA = "https://creativecommons.org/licenses/by-sa/4.0/"


def xmp(inner: str, attributes: str = "") -> bytes:
    return f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:cc="http://creativecommons.org/ns#"
 xmlns:xmpRights="http://ns.adobe.com/xap/1.0/rights/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
 xmlns:plus="http://ns.useplus.org/ldf/xmp/1.0/">
<rdf:Description rdf:about="" {attributes}>{inner}</rdf:Description>
</rdf:RDF></x:xmpmeta><?xpacket end="w"?>""".encode()


def iptc(*records: tuple[int, bytes]) -> bytes:
    """The application segment of a JPEG in which IPTC records stand."""
    data = b"".join(b"\x1c\x02" + struct.pack(">BH", number, len(value)) + value for number, value in records)
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(data)) + data + b"\0" * (len(data) % 2)
    body = b"Photoshop 3.0\0" + resource
    return b"\xff\xed" + struct.pack(">H", len(body) + 2) + body


def exif(tags: dict[int, bytes | str], original_date: str = "") -> Image.Exif:
    made = Image.Exif()
    for tag, value in tags.items():
        made[tag] = value
    if original_date:
        made.get_ifd(EXIF_IFD)[DATE_TIME_ORIGINAL] = original_date
    return made


def jpeg(tmp_path: Path, *, segment: bytes = b"", **saved: object) -> Path:
    stream = io.BytesIO()
    Image.new("RGB", (8, 6), (90, 100, 80)).save(stream, "JPEG", **saved)  # type: ignore[arg-type]
    path = tmp_path / "a.jpg"
    path.write_bytes(stream.getvalue()[:2] + segment + stream.getvalue()[2:])
    return path


def test_a_picture_without_metadata_says_nothing(tmp_path: Path) -> None:
    assert read_provenance(jpeg(tmp_path)) == Provenance()
    assert not read_provenance(jpeg(tmp_path))


def test_exif_says_author_copyright_description_and_date(tmp_path: Path) -> None:
    tags: dict[int, bytes | str] = {ARTIST: "A. Person", COPYRIGHT: "(c) 2010 A. Person", DESCRIPTION: "A parade"}
    found = read_provenance(jpeg(tmp_path, exif=exif(tags, "2010:05:09 10:11:12")))
    assert found == Provenance(
        author="A. Person",
        copyright="(c) 2010 A. Person",
        licence_stated="(c) 2010 A. Person",
        description="A parade",
        date="2010-05-09",
    )


def test_a_copyright_line_alone_is_no_licence(tmp_path: Path) -> None:
    assert read_provenance(jpeg(tmp_path, exif=exif({COPYRIGHT: "(c) 2010 A. Person"}))).licence == ""


@pytest.mark.parametrize("raw", ["Jürgen Weiß".encode(), "Jürgen Weiß".encode("cp1252")])
def test_exif_in_utf_8_and_in_windows_1252_is_read(tmp_path: Path, raw: bytes) -> None:
    assert read_provenance(jpeg(tmp_path, exif=exif({ARTIST: raw}))).author == "Jürgen Weiß"


def test_windows_tags_in_utf_16_are_read(tmp_path: Path) -> None:
    tags = {XP_AUTHOR: "Фото\0".encode("utf-16-le"), XP_TITLE: "Парад\0".encode("utf-16-le")}
    found = read_provenance(jpeg(tmp_path, exif=exif(dict(tags))))
    assert (found.author, found.title) == ("Фото", "Парад")


def test_a_comment_with_the_page_of_wikimedia_is_the_source(tmp_path: Path) -> None:
    page = "https://commons.wikimedia.org/wiki/File:Tor-M1_(2010).jpg"
    assert read_provenance(jpeg(tmp_path, comment=f"File source: {page}".encode())).source_url == page


def test_a_comment_of_an_encoder_says_nothing(tmp_path: Path) -> None:
    comment = b"CREATOR: gd-jpeg v1.0 (using IJG JPEG v62), quality = 90\n"
    assert read_provenance(jpeg(tmp_path, comment=comment)) == Provenance()


def test_the_address_of_a_licence_in_a_comment_is_the_licence_not_the_source(tmp_path: Path) -> None:
    found = read_provenance(jpeg(tmp_path, comment=f"https://example.org/p/1, {BY_SA}".encode()))
    assert (found.licence, found.licence_url, found.source_url) == ("CC-BY-SA-4.0", BY_SA, "https://example.org/p/1")


def test_iptc_says_author_title_date_and_licence(tmp_path: Path) -> None:
    records = iptc(
        (80, "Jörg".encode()), (5, b"Parade"), (55, b"20100509"), (116, b"CC BY-SA 3.0"), (115, b"https://e.org/1")
    )
    found = read_provenance(jpeg(tmp_path, segment=records))
    assert (found.author, found.title, found.date) == ("Jörg", "Parade", "2010-05-09")
    assert (found.licence, found.source_url) == ("CC-BY-SA-3.0", "https://e.org/1")


def test_iptc_with_several_authors_names_all(tmp_path: Path) -> None:
    assert read_provenance(jpeg(tmp_path, segment=iptc((80, b"One"), (80, b"Two")))).author == "One, Two"


def test_xmp_elements_are_read(tmp_path: Path) -> None:
    packet = xmp(
        "<dc:creator><rdf:Seq><rdf:li>One</rdf:li><rdf:li>Two</rdf:li></rdf:Seq></dc:creator>"
        '<dc:title><rdf:Alt><rdf:li xml:lang="de">Zug</rdf:li><rdf:li xml:lang="x-default">Train</rdf:li></rdf:Alt>'
        f'</dc:title><cc:license rdf:resource="{BY_SA}"/>'
        "<plus:Licensor><rdf:Seq><rdf:li><plus:LicensorURL>https://e.org/2</plus:LicensorURL></rdf:li></rdf:Seq>"
        "</plus:Licensor>"
    )
    found = read_provenance(jpeg(tmp_path, xmp=packet))
    assert (found.author, found.title, found.source_url) == ("One, Two", "Train", "https://e.org/2")
    assert (found.licence, found.licence_url) == ("CC-BY-SA-4.0", BY_SA)


def test_xmp_attributes_are_read(tmp_path: Path) -> None:
    attributes = f'xmpRights:WebStatement="{BY_SA}" photoshop:Credit="One" photoshop:DateCreated="2010-05"'
    found = read_provenance(jpeg(tmp_path, xmp=xmp("", attributes)))
    assert (found.author, found.licence, found.date) == ("One", "CC-BY-SA-4.0", "2010-05")


def test_xmp_in_utf_16_is_read(tmp_path: Path) -> None:
    packet = xmp("<cc:attributionName>Жук</cc:attributionName>").decode().encode("utf-16")
    assert read_provenance(jpeg(tmp_path, xmp=packet)).author == "Жук"


def test_xmp_goes_before_iptc_and_iptc_before_exif_field_by_field(tmp_path: Path) -> None:
    path = jpeg(
        tmp_path,
        xmp=xmp("<cc:attributionName>of XMP</cc:attributionName>"),
        segment=iptc((80, b"of IPTC"), (120, b"caption of IPTC")),
        exif=exif({ARTIST: "of EXIF", DESCRIPTION: "of EXIF", XP_TITLE: "title of EXIF".encode("utf-16-le")}),
    )
    found = read_provenance(path)
    assert (found.author, found.description, found.title) == ("of XMP", "caption of IPTC", "title of EXIF")


@pytest.mark.parametrize("makes_chunk", [PngImagePlugin.PngInfo.add_text, PngImagePlugin.PngInfo.add_itxt])
def test_texts_of_a_png_are_read(tmp_path: Path, makes_chunk: object) -> None:
    info = PngImagePlugin.PngInfo()
    for keyword, text in (("Author", "One"), ("License", "CC0"), ("Source", "https://e.org/3"), ("Title", "T")):
        makes_chunk(info, keyword, text)  # type: ignore[operator]
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", pnginfo=info)
    found = read_provenance(tmp_path / "a.png")
    assert (found.author, found.licence, found.source_url, found.title) == ("One", "CC0-1.0", "https://e.org/3", "T")


@pytest.mark.parametrize(
    ("rights", "licence"),
    [
        (["© A. Person, CC BY-SA 4.0, via Wikimedia Commons"], "CC-BY-SA-4.0"),
        (["CC BY 2.0", "https://creativecommons.org/licenses/by/2.0/"], "CC-BY-2.0"),
        (["https://creativecommons.org/licenses/by/2.0/", BY_SA], ""),
        ([BY_SA, "All rights reserved"], ""),
        ([BY_SA, "© A. Person, no commercial use"], ""),
        (["© A. Person, CC BY 4.0, no commercial use"], ""),
        (["https://creativecommons.org/licenses/by/4.0/ and https://creativecommons.org/licenses/by-sa/4.0/"], ""),
        (["no CC BY 3.0"], ""),
        (["no CC BY 4.0 here"], ""),
        (["© 2011, MIT"], ""),
        (["Public domain"], ""),
        (["© A. Person", "https://example.org/terms"], ""),
        ([], ""),
    ],
)
def test_a_licence_is_taken_only_where_the_statements_agree(rights: list[str], licence: str) -> None:
    assert stated_licence(rights) == licence


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2010:05:09 10:11:12", "2010-05-09"),
        ("2010-05-09T10:11:12+02:00", "2010-05-09"),
        ("20100509", "2010-05-09"),
        ("2010-05", "2010-05"),
        ("2010", "2010"),
        ("2010:00:00 00:00:00", "2010"),
        ("2010:02:31 00:00:00", "2010-02"),
        ("2010:05:00 00:00:00", "2010-05"),
        ("0000:00:00 00:00:00", ""),
        ("    :  :     :  :  ", ""),
        ("9999:99:99", ""),
        ("yesterday", ""),
    ],
)
def test_dates_are_shortened_or_left_empty(text: str, date: str) -> None:
    assert short_date(text) == date


def test_an_address_ends_before_punctuation() -> None:
    assert find_web_address("(see https://e.org/a.jpg), or not") == "https://e.org/a.jpg"
    assert find_web_address("https://e.org/File:A_(b).jpg.") == "https://e.org/File:A_(b).jpg"
    assert find_web_address("javascript:alert(1)") == ""


def test_control_characters_and_nuls_become_blanks(tmp_path: Path) -> None:
    found = read_provenance(jpeg(tmp_path, exif=exif({ARTIST: b"One\x01\x1b[31m\nLee", COPYRIGHT: b"One\0Bob"})))
    assert found.author == "One [31m Lee"
    assert clean_text("a\u202eb\0c") == "a b c"


def test_a_huge_text_is_cut(tmp_path: Path) -> None:
    found = read_provenance(jpeg(tmp_path, exif=exif({DESCRIPTION: "x" * 60_000})))
    assert len(found.description) == MOST_CHARACTERS
    assert found.description.endswith("…")


@pytest.mark.parametrize(
    "packet",
    [
        b'<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;&b;">]><a>&c;</a>',
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>'.encode("utf-16"),
        b"<a><b></a>",
        b"",
        b"\0\0\0",
        b"\xff\xfe\0",
        b"<a>" * 20_000,
    ],
)
def test_hostile_or_broken_xmp_is_left_unread_and_the_rest_is_read(tmp_path: Path, packet: bytes) -> None:
    found = read_provenance(jpeg(tmp_path, xmp=packet, comment=b"https://e.org/4"))
    assert found == Provenance(source_url="https://e.org/4")


def test_entities_of_xmp_are_never_expanded() -> None:
    assert xmp_statements('<!DOCTYPE a [<!ENTITY x "One">]>' + xmp("<dc:rights>&x;</dc:rights>").decode()) == {}


def test_a_file_that_is_no_picture_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    assert read_provenance(tmp_path / "a.jpg") == Provenance()
    assert read_provenance(tmp_path / "missing.jpg") == Provenance()
    assert read_provenance(tmp_path) == Provenance()


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_metadata_never_raise(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.getbasetemp()
    tags = {ARTIST: "One", COPYRIGHT: BY_SA}
    whole = jpeg(folder, segment=iptc((80, b"One")), xmp=xmp("<dc:rights>x</dc:rights>"), exif=exif(dict(tags)))
    raw = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(2, len(raw) - 1))] = data.draw(st.integers(0, 255))
    whole.write_bytes(raw[: data.draw(st.integers(2, len(raw)))])
    assert all(text.isprintable() for text in vars(read_provenance(whole)).values())


def test_the_real_photographs_hold_no_metadata(photos_dir: Path) -> None:
    # Measured: the repository that they come from cropped them and saved them anew, without any.
    paths = sorted((photos_dir / "images").iterdir())
    assert len(paths) == 75
    assert sum(bool(read_provenance(path)) for path in paths) == 0
