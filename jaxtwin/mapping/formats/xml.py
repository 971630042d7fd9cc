"""XML of mapping systems, read without entities or anything from elsewhere."""

import re
from xml.etree.ElementTree import Element, ParseError

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from ..._results import InputError
from .files import Files

MOST = 2**29  # bytes
DEEPEST = 100  # elements inside each other


def read_xml(files: Files, name: str) -> Element:
    """The root element of a file. Raises `InputError`, with the line, for damage, for entities or references
    to other files, and for elements nested without measure."""
    content = files.read(name, MOST)
    return parse_xml(content, f"{files.path}: {name}")


def parse_xml(content: bytes, where: str) -> Element:
    """The root element of a text; `where` names it in messages."""
    content = content.replace(b"\0", b"").strip()
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        if content[:2] not in (b"\xff\xfe", b"\xfe\xff"):
            # Windows text, whether the declaration says so or not
            content = re.sub(rb"^<\?xml[^>]*\?>", b"", content).decode("cp1252", "replace").encode()
    try:
        root = fromstring(content, forbid_dtd=True)
    except DefusedXmlException as error:
        raise InputError(
            f"{where}, which declares entities or refers to other files ({type(error).__name__})",
            "plain XML, as mapping systems write it", "Do not open this file: no export needs that",
        ) from error  # fmt: skip
    except (ParseError, ValueError, LookupError) as error:
        raise InputError(
            f"{where}, which is no XML or damaged ({error})", "an undamaged file", "Export it again"
        ) from error
    stack = [(root, 1)]
    while stack:
        element, depth = stack.pop()
        if depth > DEEPEST:
            raise InputError(
                f"{where} with more than {DEEPEST} elements inside each other",
                "an export",
                "Check what it is",
            )
        stack += [(child, depth + 1) for child in element]
    return root


def numbers(text: str | None, count: int, where: str) -> np.ndarray:
    """`count` numbers of a text, separated by blanks or commas. Raises `InputError` for any other count."""
    try:
        found = np.array([float(each) for each in (text or "").replace(",", " ").split()])
    except ValueError:
        found = np.zeros(0)
    if len(found) != count:
        raise InputError(
            f"{where}: {(text or '')[:60]!r}", f"{count} numbers", "Export it again: this file is damaged"
        )
    return found


def number(text: str | None, where: str, missing: float = np.nan) -> float:
    """One number; `missing` where there is no text."""
    return missing if text is None or not text.strip() else float(numbers(text, 1, where)[0])
