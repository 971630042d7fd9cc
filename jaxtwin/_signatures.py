"""What a file is, by its first bytes: one table for all commands that open files."""

from typing import NamedTuple

from ._results import InputError

HEAD = 512  # bytes that tell
UNPACK = "Unpack it and give the folder"


class Signature(NamedTuple):
    """`mark` stands at the byte `at`. `reader`: whether something here reads such files."""

    mark: bytes
    name: str
    do: str
    reader: bool = False
    at: int = 0


SIGNATURES = (
    Signature(b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    Signature(b"Rar!\x1a\x07", "a RAR archive", UNPACK),
    Signature(b"\x1f\x8b", "a gzip archive", "Unpack it (gunzip, tar -x) and give what is in it"),
    Signature(b"BZh", "a bzip2 archive", "Unpack it (bunzip2, tar -x) and give what is in it"),
    Signature(b"\xfd7zXZ\0", "an xz archive", "Unpack it (unxz, tar -x) and give what is in it"),
    Signature(b"\x28\xb5\x2f\xfd", "a zstd archive", "Unpack it (unzstd) and give what is in it"),
    Signature(b"ustar", "a tar archive", "Unpack it (tar -x) and give the folder", at=257),
    Signature(b"PK\x03\x04", "a zip archive", "Import it (jaxtwin import), or unpack it", True),
    Signature(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel or Word document", "Save the table as CSV"),
    Signature(b"%PDF", "a PDF document", "Export the data, not a report"),
    Signature(b"\x89PNG", "a picture (PNG)", "Export the data, not a picture"),
    Signature(b"\xff\xd8\xff", "a picture (JPEG)", "Export the data, not a picture"),
    Signature(b"DICM", "a DICOM image", "Segment it elsewhere and give the mesh", at=128),
    Signature(b"#TriangulatedMeshVersion", "a CARTO mesh",
              "Import it (jaxtwin import FILE --case FOLDER makes a mesh to compute on)", True),
    Signature(b"jaxtwin study", "a study of jaxtwin", "Name it as [map] file; a mesh stands beside it", True),
    Signature(b"MATLAB ", "a MAT-file", "Import it (jaxtwin import) if it is of OpenEP", True),
    Signature(b"\x89HDF\r\n\x1a\n", "an HDF5 file", "Import it (jaxtwin import) if it is of OpenEP", True),
)  # fmt: skip


def signature(head: bytes) -> Signature | None:
    """What a file that begins with these bytes (512 of them) is; None for what the table does not have."""
    return next((each for each in SIGNATURES if head.startswith(each.mark, each.at)), None)


def refuse_foreign(name: str, head: bytes, wanted: str) -> None:
    """Raises `InputError`, which names the format, for a file that nothing here reads."""
    found = signature(head)
    if found and not found.reader:
        raise InputError(f"{name}, which is {found.name}", wanted, found.do)
