"""What tests do to the files of an export."""

from pathlib import Path


def replaced(path: Path, old: bytes, new: bytes, count: int = 1) -> None:
    """Writes a file again with `new` in the first `count` places of `old` (-1: in all), which must be
    there."""
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, count))
