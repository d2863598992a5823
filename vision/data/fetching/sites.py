"""The sources of one run: opened when first asked, each with a client and a list of hosts of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Self

from vision.data.fetching.commons import COMMONS_WIDTHS_PX, MediaWikiSource
from vision.data.fetching.found import FoundPicture, PictureSource
from vision.data.fetching.openverse import OpenverseSource
from vision.data.fetching.sources import COMMONS_SITE, OPENVERSE, Site, Sources
from vision.data.fetching.web_address import AllowList, check_contact
from vision.data.fetching.web_client import PoliteClient
from vision.data.sharing.licence_duties import applying_licences
from vision.errors import UsageError

ClientMaker = Callable[[str, Site], PoliteClient]


def polite_client(contact: str, site: Site, on_wait: Callable[[float, str], None] | None = None) -> PoliteClient:
    """The client for a site.

    Args:
        contact: Of whoever runs this.
        site: Address, hosts and pace.
        on_wait: Told before a wait that a fault makes necessary: seconds, and why.
    """
    return PoliteClient(contact, site.allowed_hosts, min_interval_s=site.min_interval_s, on_wait=on_wait)


@dataclass(frozen=True)
class _OpenSite:
    source: PictureSource
    client: PoliteClient


class OpenSites:
    """The sources that a sources.yaml names; used with `with`.

    Args:
        sources: The content of the file.
        contact: Of whoever runs this, sent to the sources.
        width: px that sources scale pictures to; None for originals.
        make_client: Makes the client for a site; another one in tests.

    Raises:
        FetchError: The contact is none.
    """

    def __init__(
        self, sources: Sources, contact: str, width: int | None, make_client: ClientMaker = polite_client
    ) -> None:
        self._sources = sources
        self._contact = check_contact(contact)
        self._width = width
        self._make_client = make_client
        self._stack = ExitStack()
        self._open: dict[str, _OpenSite] = {}
        self._allowed: dict[str, AllowList] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self._stack.close()

    @property
    def addresses(self) -> dict[str, str]:
        """Address of the API of every source."""
        return {name: self._site(name).api for name in self._sources.source_names}

    @property
    def warnings(self) -> list[str]:
        """What the sources warned of, in their words."""
        sources = [(name, opened.source) for name, opened in self._open.items()]
        return [
            f"{name}: {w}" for name, source in sources if isinstance(source, MediaWikiSource) for w in source.warnings
        ]

    def source(self, name: str) -> PictureSource:
        """What to ask for pictures."""
        return self._opened(name).source

    def client(self, name: str) -> PoliteClient:
        """What to download a source's pictures with."""
        return self._opened(name).client

    def check_address(self, name: str, url: str) -> None:
        """Make sure that an address may be asked for a source's sake.

        Raises:
            RefusedAddressError: It may not.
        """
        if name not in self._allowed:
            self._allowed[name] = AllowList(self._site(name).allowed_hosts)
        self._allowed[name].check(url)

    def completed(self, picture: FoundPicture) -> FoundPicture:
        """A picture with the licence and the author of its site, where its page states none at all.

        What a page states counts, also where it is nothing that is known: `all rights reserved` stays what it is.
        """
        site = self._site(picture.source)
        if site.author and not picture.author:
            picture = replace(picture, author=site.author, is_author_of_site=True)
        if site.licence and picture.states_no_licence:
            parts = applying_licences(site.licence) or ()
            picture = replace(picture, licence=site.licence, licence_url=parts[0].url if len(parts) == 1 else "")
        return picture

    def _opened(self, name: str) -> _OpenSite:
        if name not in self._open:
            site = self._site(name)
            client = self._stack.enter_context(self._make_client(self._contact, site))
            self._open[name] = _OpenSite(self._make_source(name, site, client), client)
        return self._open[name]

    def _make_source(self, name: str, site: Site, client: PoliteClient) -> PictureSource:
        if name == OPENVERSE:
            return OpenverseSource(client, site.api)
        if self._width is not None and site.api == COMMONS_SITE.api and self._width not in COMMONS_WIDTHS_PX:
            widths = ", ".join(map(str, COMMONS_WIDTHS_PX))
            raise UsageError(
                f"width {self._width}: Commons scales to {widths} px alone; choose one, or none for originals"
            )
        return MediaWikiSource(name, site.api, client, width=self._width)

    def _site(self, name: str) -> Site:
        site = self._sources.site(name)
        assert site is not None, f"{name} was checked when the file was read"
        return site
