"""A real MediaWiki on loopback, with a manifest's photographs in categories: what `vision data fetch` is tried against.

Needs Debian's packages mediawiki, php-cli, php-sqlite3, php-mbstring, php-xml, php-intl, php-gd. Nothing outside the
folder is written. Wikimedia Commons tells author and licence by its extension CommonsMetadata, which Debian does not
have; a hook in the wiki's settings stands in for it and reads the same fields from `{{Information}}` on a file's page.

    python scripts/loopback_wiki.py wiki ../shared/photos/manifest.csv     # makes it, serves it until Ctrl-C
    vision data fetch wiki/sources.yaml -o fetched                         # in another terminal
    vision data fetch wiki/all_kinds.yaml -o all_kinds                     # every kind of query, and scaled pictures

Every third picture of a class lies in a subcategory, and one of each has an old name that leads to it. `all_kinds.yaml`
asks for a category without its subcategories, for a subcategory alone, by a search, by names of which one is an old one
(a redirect), and for a width.
"""

from __future__ import annotations

import argparse
import html
import os
import secrets
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vision.data.images import decode_image
from vision.data.manifest import Manifest, load_manifest
from vision.errors import InputPathError, VisionError
from vision.files import write_whole_text

SCALED_PX = 250
PROGRAM_DIR = Path("/usr/share/mediawiki")
ROOT_CATEGORY = "Vehicles on this wiki"

_SETTINGS = r"""
$wgEnableUploads = true;
$wgUploadDirectory = "%(wiki_dir)s/images";
$wgUploadPath = "/images";
$wgFileExtensions = [ 'png', 'jpg', 'jpeg', 'webp' ];
$wgUseImageMagick = false;
$wgGenerateThumbnailOnParse = true;
$wgShowExceptionDetails = true;
$wgJobRunRate = 0;
// As CommonsMetadata does it: fields of {{Information}} on the file's page become metadata of the file.
$wgHooks['GetExtendedMetadata'][] = function ( &$metadata, $file, $context, $single, &$maxCache ) {
	$page = MediaWiki\MediaWikiServices::getInstance()->getWikiPageFactory()->newFromTitle( $file->getTitle() );
	$content = $page->getContent();
	$text = $content ? $content->getText() : '';
	$fields = [ 'Artist', 'LicenseShortName', 'LicenseUrl', 'ImageDescription', 'DateTimeOriginal' ];
	foreach ( $fields as $field ) {
		if ( preg_match( '/^\|\s*' . $field . '[ \t]*=[ \t]*(\S.*)$/m', $text, $found ) ) {
			$metadata[$field] = [ 'value' => trim( $found[1] ), 'source' => 'commons-desc-page' ];
		}
	}
};
"""

_ROUTER = """<?php
// Uploads lie outside MediaWiki's own folder; everything else is MediaWiki's.
$path = parse_url( $_SERVER['REQUEST_URI'], PHP_URL_PATH );
if ( strpos( $path, '/images/' ) === 0 ) {
	$file = realpath( '%(wiki_dir)s' . rawurldecode( $path ) );
	if ( $file === false || strpos( $file, '%(wiki_dir)s/images/' ) !== 0 || !is_file( $file ) ) {
		http_response_code( 404 );
		return true;
	}
	header( 'Content-Type: ' . mime_content_type( $file ) );
	header( 'Content-Length: ' . filesize( $file ) );
	readfile( $file );
	return true;
}
return false;
"""


def main() -> None:
    """Parse the arguments, make the wiki where it is not there yet, and serve it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wiki_dir", type=Path, help="folder of the wiki; made where it is missing")
    parser.add_argument("manifest", type=Path, help="whose pictures are uploaded")
    parser.add_argument("--port", type=int, default=8180)
    arguments = parser.parse_args()
    try:
        wiki = Wiki(arguments.wiki_dir.resolve(), arguments.port)
        if not wiki.settings_path.exists():
            wiki.make(load_manifest(arguments.manifest))
        wiki.serve()
    except VisionError as error:
        parser.exit(error.exit_code, f"error: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130)


class Wiki:
    """A wiki in a folder of its own.

    Attributes:
        folder: Database, uploads, settings.
        port: On 127.0.0.1.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.settings_path = folder / "LocalSettings.php"

    def make(self, manifest: Manifest) -> None:
        """Install MediaWiki, upload the pictures, put them into categories, and write `sources.yaml`.

        Raises:
            InputPathError: MediaWiki or PHP is not installed.
        """
        if not PROGRAM_DIR.is_dir() or shutil.which("php") is None:
            raise InputPathError(f"{PROGRAM_DIR}: MediaWiki and PHP are needed; see the top of this script")
        (self.folder / "images").mkdir(parents=True, exist_ok=True)
        new_settings_dir = self.folder / "new"
        new_settings_dir.mkdir(exist_ok=True)
        database = ("--dbtype", "sqlite", "--dbpath", str(self.folder), "--dbname", "wiki")
        address = ("--server", f"http://127.0.0.1:{self.port}", "--scriptpath", "")
        password = ("--pass", secrets.token_urlsafe(16))
        self._php("install", *database, *address, *password, "--confpath", str(new_settings_dir), "Loopback", "Admin")
        written = (new_settings_dir / "LocalSettings.php").read_text()
        folder = {"wiki_dir": self.folder}
        write_whole_text(self.folder / "router.php", _ROUTER % folder)
        self._upload(manifest, written + _SETTINGS % folder)
        write_whole_text(self.folder / "sources.yaml", self._sources(_by_category(manifest)))
        write_whole_text(self.folder / "all_kinds.yaml", self._sources(_by_all_kinds(manifest), width=SCALED_PX))
        write_whole_text(self.settings_path, written + _SETTINGS % folder)  # last: it says that all is there

    def serve(self) -> None:
        """Answer requests until Ctrl-C."""
        print(f"http://127.0.0.1:{self.port}/index.php/Category:{ROOT_CATEGORY.replace(' ', '_')}", flush=True)
        command = ["php", "-S", f"127.0.0.1:{self.port}", "-t", str(PROGRAM_DIR), str(self.folder / "router.php")]
        subprocess.run(command, env=os.environ | {"MW_CONFIG_FILE": str(self.settings_path)}, check=True)

    def _upload(self, manifest: Manifest, settings: str) -> None:
        settings_path = self.folder / "LocalSettings.making.php"
        write_whole_text(settings_path, settings)
        uploads_dir = self.folder / "uploads"
        uploads_dir.mkdir(exist_ok=True)
        for name, row in _named(manifest):
            target = uploads_dir / name
            shutil.copyfile(manifest.image_path(row["file_name"]), target)
            write_whole_text(target.with_suffix(".txt"), _page_of(row))
        for row in _unusable_rows(manifest):
            target = uploads_dir / f"{row['title']}.png"
            decode_image(manifest.image_path(row["file_name"])).save(target)
            write_whole_text(target.with_suffix(".txt"), _page_of(row))
        conf = ("--conf", str(settings_path))
        self._php("importImages", *conf, "--comment-ext=txt", str(uploads_dir))
        for label in manifest.table["label"].unique().sort():
            self._edit(conf, f"Category:{_category(label)}", f"[[Category:{ROOT_CATEGORY}]]")
            self._edit(conf, f"Category:{_subcategory(label)}", f"[[Category:{_category(label)}]]")
        self._edit(conf, f"Category:{ROOT_CATEGORY}", "All of them.")
        for label in manifest.table["label"].unique().sort():
            for name in _names_of(manifest, label)[3:4]:
                self._edit(conf, f"File:{_old_name(name)}", f"#REDIRECT [[File:{name}]]")
        self._php("runJobs", *conf)
        self._php("rebuildtextindex", *conf)  # what a search looks in

    def _edit(self, conf: Sequence[str], title: str, text: str) -> None:
        self._php("edit", *conf, title, typed=text)

    def _php(self, script: str, *arguments: str, typed: str = "") -> None:
        command = ["php", str(PROGRAM_DIR / "maintenance" / f"{script}.php"), *arguments]
        done = subprocess.run(command, input=typed, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stdout + done.stderr).strip().splitlines()[-3:]
            raise InputPathError(f"{self.folder}: MediaWiki's {script} failed: {' '.join(said)}")

    def _sources(self, queries: Sequence[tuple[str, str]], width: int | None = None) -> str:
        """A sources.yaml.

        Args:
            queries: Class and query, as YAML.
            width: px that the wiki scales to.
        """
        lines = [
            "# Written by scripts/loopback_wiki.py.",
            "version: 1",
            "wikis:",
            "  loopback:",
            f"    api: http://127.0.0.1:{self.port}/api.php",
            "    allowed_hosts: [127.0.0.1]",
            "    min_interval_s: 0",
            *([f"defaults: {{width: {width}}}"] if width else []),
            "classes:",
        ]
        for label, query in queries:
            lines += [f"  {label}:", f"    - {query}", "      source: loopback"]
        return "\n".join(lines) + "\n"


def _named(manifest: Manifest) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name of each picture on the wiki, and its row; every third of a class is for the subcategory."""
    numbers: Counter[str] = Counter()
    for row in manifest.table.iter_rows(named=True):
        numbers[row["label"]] += 1
        is_below = numbers[row["label"]] % 3 == 0
        category = _subcategory(row["label"]) if is_below else _category(row["label"])
        yield f"Photograph {Path(row['file_name']).name}", {**row, "category": category}


def _names_of(manifest: Manifest, label: str) -> list[str]:
    return [name for name, row in _named(manifest) if row["label"] == label]


def _by_category(manifest: Manifest) -> list[tuple[str, str]]:
    return [(label, f"category: {_category(label)}") for label in manifest.table["label"].unique().sort()]


def _by_all_kinds(manifest: Manifest) -> list[tuple[str, str]]:
    """A query of another kind for each class in turn."""
    queries = []
    for number, label in enumerate(manifest.table["label"].unique().sort()):
        names = _names_of(manifest, label)
        kinds = (
            f"category: {_category(label)}\n      depth: 0",
            f"category: {_subcategory(label)}",
            f"search: {label}\n      limit: 100",
            f"files: [{', '.join((*names[:3], *map(_old_name, names[3:4])))}]",
        )
        queries.append((label, kinds[number % len(kinds)]))
    return queries


def _old_name(name: str) -> str:
    """The name that a file had before it was moved."""
    return f"Old {name}"


def _unusable_rows(manifest: Manifest) -> list[dict[str, Any]]:
    """Two pictures once more, one without a licence and one under a licence that is not open."""
    first, second = manifest.table.head(2).rows(named=True)
    closed = "https://creativecommons.org/licenses/by-nc/4.0/"
    return [
        first
        | {"title": "Without a licence", "licence": None, "licence_url": None, "category": _category(first["label"])},
        second
        | {
            "title": "Not for sale",
            "licence": "CC BY-NC 4.0",
            "licence_url": closed,
            "category": _category(second["label"]),
        },
    ]


def _category(label: str) -> str:
    return f"Photographs of {label}"


def _subcategory(label: str) -> str:
    return f"More photographs of {label}"


def _page_of(row: dict[str, Any]) -> str:
    """The wikitext of a file's page; the author is a link, as nearly all are on Wikimedia Commons."""
    author = html.escape(row["author"] or "")
    return "\n".join(
        [
            "{{Information",
            f"|ImageDescription = <p>{html.escape(row['title'] or '')}</p>",
            f'|Artist = <a href="//127.0.0.1/wiki/User:{author}" title="User:{author}">{author}</a>',
            f"|LicenseShortName = {row['licence'] or ''}",
            f"|LicenseUrl = {row['licence_url'] or ''}",
            "}}",
            f"[[Category:{row['category']}]]",
        ]
    )


if __name__ == "__main__":
    main()
