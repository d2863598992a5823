"""Which addresses may be asked, and who is asking.

Only https, and only hosts on a list: an answer from the web names the addresses that are asked next (files, redirects),
and must not be able to name any other. Plain http is for a wiki of one's own on this machine.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from vision.errors import FetchError, RefusedAddressError

_HOST = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_HOST_ENTRY = re.compile(r"(?P<host>\[[0-9a-f:]+\]|[^:\[\]]+)(:(?P<port>\d{1,5}))?")
_MAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@(?P<domain>[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+)")
# RFC 2606 and RFC 6761: names that belong to nobody, as they stand in documentation; `your.domain` stands in ours.
_NOBODYS_DOMAIN = re.compile(
    r"(.*\.)?(example\.(com|net|org)|your[.-]?domain(\.[a-z]+)*|[^.]*\.?(test|invalid|example|localhost|local))", re.I
)


@dataclass(frozen=True)
class _AllowedHost:
    host: str
    port: int | None

    def matches(self, host: str, port: int, *, is_loopback: bool) -> bool:
        if self.port is None:
            if not is_loopback and port != 443:
                return False
        elif self.port != port:
            return False
        return host.endswith(self.host[1:]) if self.host.startswith("*.") else host == self.host


class AllowList:
    """The hosts that may be asked.

    Args:
        hosts: Such as `commons.wikimedia.org`, `*.wikimedia.org` (hosts below it), `wiki.museum.org:8443` (a port other
            than 443), `127.0.0.1` or `localhost` (this machine: any port, and plain http too).

    Raises:
        FetchError: An entry is no host.
    """

    def __init__(self, hosts: Collection[str]) -> None:
        self._hosts = tuple(_parse_entry(entry) for entry in hosts)
        self._told = ", ".join(hosts) or "empty"

    def check(self, url: str) -> None:
        """Make sure that an address may be asked.

        Raises:
            RefusedAddressError: It may not; says why.
        """
        parts = _split(url)
        host, port = _host_and_port(parts, url)
        if parts.username is not None or parts.password is not None:
            raise RefusedAddressError(
                f"{host}: an address with a user name or password in it is not asked; leave it out"
            )
        if parts.scheme != "https" and not _is_loopback(host):
            raise RefusedAddressError(f"{url}: only https is asked; plain http is for wikis on this machine alone")
        if not any(entry.matches(host, port, is_loopback=_is_loopback(host)) for entry in self._hosts):
            shown = host if port in (443, 80) else f"{host}:{port}"
            raise RefusedAddressError(
                f"{url}: the host {shown} is not on the list of hosts that may be asked ({self._told}); "
                "add it there if you trust it"
            )


def check_contact(contact: str) -> str:
    """The contact without spaces around it, fit for a User-Agent header.

    Raises:
        FetchError: It is neither a mail address nor an https page, or one that belongs to nobody.
    """
    contact = contact.strip()
    remedy = "give a mail address, or an https page that says how to reach you"
    if not contact:
        raise FetchError(f"contact is missing: sources ask for one in every request; {remedy}")
    domain = _contact_domain(contact)
    if domain is None:
        raise FetchError(f"contact '{contact}' is neither a mail address nor an https page; {remedy}")
    if _NOBODYS_DOMAIN.fullmatch(domain):
        raise FetchError(f"contact '{contact}': {domain} belongs to nobody; {remedy}")
    return contact


def _contact_domain(contact: str) -> str | None:
    if mail := _MAIL.fullmatch(contact):
        return mail["domain"]
    if not re.fullmatch(r"https://[!-'*-~]+", contact):  # ASCII without spaces and brackets, which end the comment
        return None
    try:
        host = urlsplit(contact).hostname or ""
    except ValueError:
        return None
    return host if "." in host else None


def _parse_entry(entry: str) -> _AllowedHost:
    match = _HOST_ENTRY.fullmatch(entry.strip().lower())
    host = match["host"].strip("[]") if match else ""
    if match is None or not (_HOST.fullmatch(host) or _is_ip(host)) or (host.startswith("*.") and host.count(".") < 2):
        raise FetchError(
            f"allowed host '{entry}' is no host; write the name alone, such as commons.wikimedia.org, "
            "*.wikimedia.org or 127.0.0.1"
        )
    return _AllowedHost(host, int(match["port"]) if match["port"] else None)


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise RefusedAddressError(f"{url}: not an address ({error})") from error


def _host_and_port(parts: SplitResult, url: str) -> tuple[str, int]:
    try:
        port = parts.port
    except ValueError as error:
        raise RefusedAddressError(f"{url}: not an address ({error})") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"[\s\\\x00-\x20\x7f]", url):
        raise RefusedAddressError(f"{url!r}: not an https address")
    return parts.hostname.lower().rstrip("."), port or (443 if parts.scheme == "https" else 80)


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_ip(host) and ip_address(host).is_loopback)


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
