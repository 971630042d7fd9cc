"""The files of an export: one file, a folder or a zip, read in place and never unpacked."""

import hashlib
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from ..._files import read_bytes
from ..._results import InputError
from ..._signatures import HEAD, refuse_foreign

MOST_FILES = 1_000_000
MOST_TEXT = 2**30  # bytes of one file that is read whole
MOST_EXPANSION = 200  # how much larger than its archive a member of a zip may be, once it is large
LARGE = 2**26  # bytes


class Files:
    """Names and contents of all files under a path. Closed by `with`.

    Names are relative, with forward slashes. Links that lead out of a folder are left out, and so are members
    of a zip with absolute names or with "..": nothing is ever written, but such a name is not one of the
    export.

    Raises `InputError` for paths that cannot be read, damaged archives, and archives that would expand
    without measure.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.notes: list[str] = []
        self._hashes: dict[str, tuple[str, int]] = {}
        self._folder = self.path
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._zip: zipfile.ZipFile | None = None
        try:
            if self.path.is_dir():
                self._sizes = self._of_folder()
            elif self.path.is_file():
                self._sizes = self._of_zip() if zipfile.is_zipfile(self.path) else self._of_file()
            else:
                raise InputError(f"{self.path}, which does not exist", "a file or a folder", "Check the path")
        except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{self.path}, which cannot be read ({error})", "a readable file, folder or zip",
                "Check the path, or export it again",
            ) from error  # fmt: skip
        self._lower = {each.lower(): each for each in self._sizes}

    def __enter__(self) -> "Files":
        return self

    def __exit__(self, *error) -> None:
        if self._zip is not None:
            self._zip.close()

    def _of_file(self) -> dict[str, int]:
        head = read_bytes(self.path, HEAD)
        refuse_foreign(str(self.path), head, "a folder, a zip or a file of an export")
        if head.startswith(b"PK\x03\x04"):
            raise InputError(
                f"{self.path}, a zip archive that is damaged or cut short", "a whole zip",
                "Copy or export it again",
            )  # fmt: skip
        self._folder = self.path.parent
        return {self.path.name: self.path.stat().st_size}

    def _of_folder(self) -> dict[str, int]:
        root, sizes, outside = self.path.resolve(), {}, 0
        for place, _, names in os.walk(self.path):
            for name in names:
                file = Path(place, name)
                if file.is_symlink() and not file.resolve().is_relative_to(root):
                    outside += 1
                elif file.is_file():
                    sizes[file.relative_to(self.path).as_posix()] = file.stat().st_size
            if len(sizes) > MOST_FILES:
                raise InputError(
                    f"{self.path} with more than {MOST_FILES} files", "the folder of one export",
                    "Choose the folder of the study itself",
                )  # fmt: skip
        if outside:
            self.notes.append(f"{outside} links not followed, since they lead out of the folder")
        return dict(sorted(sizes.items()))

    def _of_zip(self) -> dict[str, int]:
        self._zip = zipfile.ZipFile(self.path)
        members = [info for info in self._zip.infolist() if not info.is_dir()]
        if any(info.filename == "xl/workbook.xml" for info in members):
            raise InputError(f"{self.path}, which is an Excel workbook", "a table as CSV", "Save it as CSV")
        if len(members) > MOST_FILES:
            raise InputError(
                f"{self.path} with {len(members)} members", f"at most {MOST_FILES}", "Export one study alone"
            )
        kept, left = {}, 0
        for info in members:
            name = PurePosixPath(info.filename.replace("\\", "/"))
            if name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
                left += 1
                continue
            if info.file_size > LARGE and info.file_size > MOST_EXPANSION * max(info.compress_size, 1):
                raise InputError(
                    f"{self.path}, in which {name} would grow from {info.compress_size} to {info.file_size} "
                    "bytes", f"a member that grows at most {MOST_EXPANSION} times",
                    "This is no export of a mapping system: do not open it",
                )  # fmt: skip
            if info.flag_bits & 1:
                raise InputError(
                    f"{self.path} with a password", "an open archive", "Unpack it and give the folder"
                )
            kept[name.as_posix()], self._members[name.as_posix()] = info.file_size, info
        if left:
            self.notes.append(f"{left} members not read, since their names lead out of the archive")
        return dict(sorted(kept.items()))

    @property
    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(self._sizes)

    def size(self, name: str) -> int:
        """Size of a file in bytes, as given by its folder or archive."""
        return self._sizes[name]

    def find(self, suffix: str = "", prefix: str = "", contains: str = "") -> list[str]:
        """Names whose last part has this ending, beginning and content, ignoring case."""
        found = []
        for name in self._sizes:
            last = name.rpartition("/")[2].lower()
            if last.endswith(suffix.lower()) and last.startswith(prefix.lower()) and contains.lower() in last:
                found.append(name)
        return found

    def beside(self, name: str, other: str) -> str | None:
        """The file `other` in the folder of `name`, ignoring case; None if there is none."""
        folder = name.rpartition("/")[0]
        wanted = (f"{folder}/{other}" if folder else other).lower()
        return self._lower.get(wanted)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """A byte stream of one file. Damage found while reading raises `InputError`."""
        try:
            if self._zip is not None:
                with self._zip.open(self._members[name]) as stream:
                    yield stream  # type: ignore[misc]
            else:
                with (self._folder / name).open("rb") as stream:
                    yield stream
        except (
            OSError,
            EOFError,
            zipfile.BadZipFile,
            NotImplementedError,
            RuntimeError,
            ValueError,
        ) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{self.path}: {name}, which cannot be read ({error})", "an undamaged file", "Export it again"
            ) from error
        except Exception as error:
            if type(error).__module__ != "zlib":  # zlib.error derives from nothing else
                raise
            raise InputError(
                f"{self.path}: {name}, which is damaged ({error})", "an undamaged archive", "Export it again"
            ) from error

    def head(self, name: str, most: int = 4096) -> bytes:
        """The first bytes of a file."""
        with self.open(name) as stream:
            return stream.read(most)

    def read(self, name: str, most: int = MOST_TEXT) -> bytes:
        """A complete file; its hash is recorded. Raises `InputError` for more than `most` bytes."""
        with self.open(name) as stream:
            content = stream.read(min(self.size(name), most) + 1)
        if len(content) > most:
            raise InputError(
                f"{self.path}: {name} with more than {most} bytes", "a file of an export", "Check what it is"
            )
        self._hashes[name] = hashlib.sha256(content).hexdigest(), len(content)
        return content

    def text(self, name: str, encoding: str = "cp1252") -> str:
        """A complete file as text; undecodable bytes are replaced. UTF-8 with a mark and UTF-16 are
        recognised by their first bytes."""
        content = self.read(name)
        if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return content.decode("utf-16", "replace")
        if content[:3] == b"\xef\xbb\xbf":
            return content[3:].decode("utf-8", "replace")
        return content.decode(encoding, "replace")

    @property
    def sources(self) -> tuple[tuple[str, str, int], ...]:
        """Files that were read completely: file extension, sha256, bytes. Names are omitted, since they may
        identify the patient."""
        each = ((PurePosixPath(name).suffix, *found) for name, found in self._hashes.items())
        return tuple(sorted(each))
