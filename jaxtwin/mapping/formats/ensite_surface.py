"""Shared by EnSite Precision and EnSite X: surfaces in DIF, and the numbers of their tables.

A DIF file holds volumes: vertices (mm), polygons counted from 1, and values at the vertices, whose quantity
is named only by the preceding comment. Layout as read by openep-core (Apache-2.0) and pyCEPS.
"""

import math
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Float

from ..._results import InputError
from ...anatomy import Surface
from ..study import Map
from .files import Files
from .xml import parse_xml

HEAD = 8192  # bytes read to recognise a file
MOST_HEADS = 500  # files examined to detect the format
MOST_XML = 2**27  # bytes
MOST_LABELS = 100
# marks for a missing number, in lower case; ".." is the name of a trace that was not recorded
ABSENT = {"", "nan", "-nan", "invalid", "n/a", "na", "none", "null", "-", "--", "..", "..."}
NO_VALUE = re.compile(
    r"\b(no (data|value)|invalid|unmapped|unused|outside|beyond|not (mapped|valid|used|available))\b", re.I
)


@dataclass(frozen=True)
class Volume:
    """One volume of a DIF file: the folder of the file, its name, its surface and what was left out."""

    folder: str
    name: str
    surface: Surface
    notes: tuple[str, ...]


def decoded(content: bytes) -> str:
    """Text of a table: cp1252, without the zeros that no name can hold."""
    return content.decode("cp1252", "replace").replace("\0", "")


def folder_of(name: str) -> str:
    """The folder of a file of an export, "" at the top."""
    return name.rpartition("/")[0]


def heads(files: Files, suffix: str, most: int | None = None) -> Iterator[tuple[str, str]]:
    """Names and first characters, in lower case, of the files with this ending, or of the first `most`."""
    for name in files.find(suffix)[:most]:
        yield name, files.head(name, HEAD).decode("cp1252", "replace").lower()


def dif_names(files: Files, most: int | None = None) -> Iterator[str]:
    """The files that hold surfaces, of all or of the first `most`."""
    for name in files.find(".xml")[:most]:
        # the head may be UTF-16, which has a zero after each letter
        if b"SJM_DIF" in files.head(name, HEAD).replace(b"\0", b""):
            yield name


def slug(text: str) -> str:
    """A name of letters, digits and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:60]


def value(text: str, where: str) -> float:
    """One number of a table, NaN where there is none. Raises `InputError` for other words."""
    text = text.strip().strip('"').strip()
    try:
        # float() also accepts 1_000 and the digits of all scripts; a table must not
        found = float(text) if text.isascii() and "_" not in text else None
    except ValueError:
        found = math.nan if text.lower() in ABSENT else None
    if found is None:
        raise InputError(f"{where}: {text[:40]!r}", "a number, or nothing", "Export it again")
    return found if math.isfinite(found) else math.nan


def table(
    lines: list[str], numbers: list[int], first: int, columns: int, where: str
) -> Float[np.ndarray, "lines columns"]:
    """Columns `first` and on of lines of a csv as float32. `numbers`: of these lines, for messages."""
    try:
        with np.errstate(all="ignore"):
            return np.loadtxt(
                lines, np.float32, delimiter=",", usecols=range(first, first + columns), comments=None,
                ndmin=2, quotechar='"',
            )  # fmt: skip
    except (ValueError, IndexError):
        pass  # words or gaps: cell by cell, which is slower but knows the line
    found = np.full((len(lines), columns), np.nan, np.float32)
    with np.errstate(all="ignore"):
        for row, (number, line) in enumerate(zip(numbers, lines, strict=True)):
            cells = line.split(",")[first : first + columns]
            if len(cells) < columns:
                raise InputError(
                    f"{where} line {number} with {len(cells)} values", f"{columns}", "Export it again"
                )
            found[row] = [value(each, f"{where} line {number}") for each in cells]
    return found


def reasons(utilized: Float[np.ndarray, " points"], lat_ms: Float[np.ndarray, " points"]) -> list[str]:
    """Why the LAT of each point cannot be used; "" where it can."""
    pairs = zip(utilized, lat_ms, strict=True)
    return ["not utilized" if used != 1 else "no LAT" if np.isnan(lat) else "" for used, lat in pairs]


def located(where: str, error: InputError) -> InputError:
    """The same error with the place before it."""
    return InputError(f"{where}: {error.got}", error.wanted, error.do)


def read_volumes(files: Files, name: str) -> list[Volume]:
    """All volumes of one DIF file that have vertices. Raises `InputError` for damage."""
    where = f"{files.path}: {name}"
    root = _parse(files, name, where)
    version = (root.findtext("DIFHeader/Version") or "").strip()
    if not version.startswith("SJM_DIF"):
        raise InputError(f"{where} of version {version[:40]!r}", "SJM_DIF_5.0", "Export the surface again")
    common = _labels(root, where) + _placement(root, where)
    found = []
    for number, volume in enumerate(root.iterfind("DIFBody/Volumes/Volume"), 1):
        here = f"{where}, volume {number}"
        if volume.find("Vertices") is None:
            continue
        surface, notes = _surface(volume, here)
        found.append(Volume(folder_of(name), (volume.get("name") or "").strip(), surface, notes + common))
    return found


def _parse(files: Files, name: str, where: str) -> ElementTree.Element:
    """The root with the comments in it. That the text declares no entities is seen to before."""
    content = files.read(name, MOST_XML)
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = content.decode("utf-16", "replace")
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            # names with a micro sign or an umlaut are in a Windows encoding, whatever is declared
            text = content.decode("cp1252", "replace")
    text = re.sub(r"^\s*<\?xml[^>]*\?>", "", text, count=1)
    content = text.encode("utf-8", "replace").replace(b"\0", b"").strip()
    parse_xml(content, where)
    builder = ElementTree.TreeBuilder(insert_comments=True)
    try:
        return ElementTree.fromstring(content, ElementTree.XMLParser(target=builder))
    except (ElementTree.ParseError, ValueError) as error:
        raise InputError(f"{where}, which is damaged ({error})", "whole XML", "Export it again") from error


def _array(element: ElementTree.Element, where: str, width: int = 1) -> Float[np.ndarray, "rows width"]:
    """The numbers of an element, as many as its attribute declares."""
    # comments inside split the text
    text = " ".join([element.text or "", *(child.tail or "" for child in element)])
    where = f"{where}, {element.tag}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # numpy < 2.3 stops at a word, with a warning
            found = np.fromstring(text, sep=" ") if text.strip() else np.zeros(0)
    except (ValueError, DeprecationWarning):
        words = text.split()
        number = next((i for i, word in enumerate(words) if not _is_number(word)), 0)
        raise InputError(
            f"{where}: {words[number][:40]!r} as entry {number + 1}", "numbers", "Export it again"
        ) from None
    declared = (element.get("number") or "").strip()
    if found.size % width or (declared and declared != str(found.size // width)):
        raise InputError(
            f"{where} with {found.size} numbers where {declared[:20] or 'some'} rows of {width} are declared",
            "as many as declared", "Export it again: the file is cut short or damaged",
        )  # fmt: skip
    return found.reshape(-1, width)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _surface(volume: ElementTree.Element, where: str) -> tuple[Surface, tuple[str, ...]]:
    points = triangles = np.zeros((0, 3))
    fields: dict[str, np.ndarray] = {}
    notes, status, legend, comment = [], None, {}, ""
    for element in volume:
        if element.tag is ElementTree.Comment:
            comment = (element.text or "")[:4000]
            continue
        if element.tag == "Vertices":
            points = _array(element, where, 3)
        elif element.tag == "Polygons":
            triangles = _array(element, where, 3)
        elif element.tag == "Map_data":
            name = _quantity(comment)
            if name == "map_data":
                notes.append("what the values of the surface are is not stated: kept as map_data")
            while name in fields:
                name += "_2"
            fields[name] = _array(element, where)[:, 0]
        elif element.tag == "Map_status":
            status, legend = _array(element, where)[:, 0], _legend(comment)
        elif element.tag == "Surface_of_origin":
            notes.append("from which surface each triangle comes was not read")
        comment = ""  # a comment describes the next element
    if not np.isfinite(triangles).all() or (np.abs(triangles) > 2**31).any() or (triangles % 1).any():
        raise InputError(f"{where}, Polygons that are not whole", "numbers of vertices", "Export it again")
    for name, values in fields.items():
        if len(values) != len(points):
            raise InputError(
                f"{where}, {len(values)} values ({name}) for {len(points)} vertices", "one for each",
                "Export it again",
            )  # fmt: skip
        fields[name] = np.where(np.isfinite(values), values, np.nan)
    if status is not None and len(status) == len(points) and fields:
        for code, text in legend.items():
            count = int((status == code).sum())
            if count and NO_VALUE.search(text):
                fields = {name: np.where(status == code, np.nan, v) for name, v in fields.items()}
                notes.append(f"values at {count} vertices left out: {text}")
        fields["map_status"] = np.where(np.isfinite(status), status, np.nan)
    try:
        return Surface(points, triangles.astype(np.int64) - 1, fields=fields), tuple(notes)
    except InputError as error:
        raise located(where, error) from error


def _quantity(comment: str) -> str:
    """The quantity of the values of a map, from "Data values at each vertex of DxL map P-P Voltage (bi)"."""
    found = re.search(r"vertex of DxL map\s+(.+)", comment, re.I | re.S)
    text = " ".join(found[1].split()) if found else ""
    if re.search(r"p-?p|peak.to.peak", text, re.I) and re.search("volt", text, re.I):
        return "unipolar_mv" if re.search(r"\buni", text, re.I) else "bipolar_mv"
    if re.match(r"LAT\b", text, re.I):
        return "lat_ms"
    return slug(text) or "map_data"


def _legend(comment: str) -> dict[float, str]:
    """Code -> meaning, from "Map_status for each vertex: 0=good, 1=..."."""
    found = re.findall(r"(-?\d{1,9})\s*=\s*([^,=]*?)\s*(?=,|$)", " ".join(comment.split()))
    return {float(code): text[:80] for code, text in found}


def _labels(root: ElementTree.Element, where: str) -> tuple[str, ...]:
    notes = []
    for label in list(root.iterfind("DIFBody/Labels/Label"))[:MOST_LABELS]:
        place = _array(label, where).ravel()
        if len(place) != 3:
            raise InputError(f"{where}, label with {len(place)} numbers", "x, y, z", "Export it again")
        name = (label.get("name") or label.get("Name") or "").strip()[:60]
        notes.append(f"label {name!r} at " + ", ".join(f"{x:g}" for x in place) + " mm")
    return tuple(notes)


def _placement(root: ElementTree.Element, where: str) -> tuple[str, ...]:
    """Notes if the surface is placed elsewhere than its vertices; each part has its own node."""
    plain = {"Rotation": np.eye(3).ravel(), "Translation": np.zeros(3), "Scaling": np.ones(3)}
    notes = []
    for tag, neutral in plain.items():
        for element in root.iterfind(f"DIFBody//{tag}"):
            found = _array(element, where).ravel()
            neutral = neutral[:1] if len(found) == 1 and tag == "Scaling" else neutral
            if len(found) != len(neutral):
                raise InputError(
                    f"{where}, {tag} with {len(found)} numbers", f"{len(neutral)}", "Export it again"
                )
            if not np.array_equal(found, neutral):
                numbers = " ".join(f"{x:g}" for x in found)
                notes.append(f"{tag.lower()} of the object not applied: {numbers}")
    return tuple(dict.fromkeys(notes))


def near(volumes: list[Volume], folder: str) -> list[Volume]:
    """The volumes of a folder, or of the nearest above that has any."""
    while True:
        found = [each for each in volumes if each.folder == folder]
        if found or not folder:
            return found
        folder = folder_of(folder)


def joined(volumes: list[Volume], name: str) -> tuple[Surface | None, tuple[str, ...], list[Volume]]:
    """One surface of some volumes, its notes, and which of them it took.

    Volumes of the same geometry are one surface with the fields of all. Of several, those with values count,
    then the one of this name; None where that leaves a choice.
    """
    for choice in (
        volumes,
        [each for each in volumes if each.surface.fields],
        [each for each in volumes if each.name and each.name.lower() == name.lower()],
    ):
        if choice and all(_same(choice[0].surface, each.surface) for each in choice):
            first, fields = choice[0].surface, {}
            for each in choice:
                for key, values in each.surface.fields.items():
                    fields.setdefault(key, values)
            surface = Surface(first.points, first.triangles, fields=fields)
            return surface, tuple(dict.fromkeys(n for each in choice for n in each.notes)), choice
    return None, (f"{len(volumes)} surfaces, none of them clearly that of this map",) if volumes else (), []


def surfaces_alone(volumes: list[Volume], taken: set[str]) -> list[Map]:
    """Maps without points."""
    return [
        Map(unique(each.name or "surface", taken), each.surface, notes=each.notes)
        for each in volumes
        if len(each.surface.points)
    ]


def _same(one: Surface, other: Surface) -> bool:
    return one is other or (
        np.array_equal(one.points, other.points) and np.array_equal(one.triangles, other.triangles)
    )


def channel(own: str, plain: str, slot: str, taken: list[str]) -> str:
    """The name of a channel: its own or a plain one, with its position if the name is taken."""
    name = own or plain
    while name in taken:
        name = f"{name} ({slot})"
    return name


def unique(name: str, taken: set[str]) -> str:
    """A name that is not yet taken, with a number appended if necessary; it is then taken."""
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name} ({number})"
    taken.add(found)
    return found
