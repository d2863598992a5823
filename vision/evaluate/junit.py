"""Results as JUnit XML, the form that systems of continuous integration read.

There is no standard; the elements here are those that Jenkins, GitLab, GitHub actions and Azure Pipelines all take:
https://github.com/testmoapp/junitxml. No time and no host name: equal results make equal files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree


@dataclass(frozen=True)
class Case:
    """One result.

    Attributes:
        classname: What kind it is of; the systems group by it.
        name: Its name.
        words: What was found.
        failure: Kind of failure; empty if it passed.
    """

    classname: str
    name: str
    words: str
    failure: str = ""


def junit_xml(suite: str, cases: Sequence[Case]) -> str:
    """The cases as one suite; characters that XML cannot hold are shown as escapes."""
    counts = {
        "name": visible_text(suite),
        "tests": str(len(cases)),
        "failures": str(sum(bool(case.failure) for case in cases)),
        "errors": "0",
    }
    root = ElementTree.Element("testsuites", counts)
    element = ElementTree.SubElement(root, "testsuite", {**counts, "skipped": "0"})
    for case in cases:
        _add_case(element, case)
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def visible_text(text: str) -> str:
    """Text on one line in which every character can be seen: controls, direction marks and the like are escapes.

    What is left may stand in XML (https://www.w3.org/TR/xml/#charsets) and cannot steer a terminal.
    """
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _add_case(suite: ElementTree.Element, case: Case) -> None:
    named = {"classname": visible_text(case.classname), "name": visible_text(case.name)}
    element = ElementTree.SubElement(suite, "testcase", named)
    words = visible_text(case.words)
    if case.failure:
        failure = {"message": words, "type": visible_text(case.failure)}
        ElementTree.SubElement(element, "failure", failure).text = f"{named['name']}: {words}"
    else:
        ElementTree.SubElement(element, "system-out").text = words
