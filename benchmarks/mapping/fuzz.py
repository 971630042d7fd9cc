"""Mutated files for every reader: each is read or refused, in bounded time and memory, and nothing else."""

import os
import resource
import signal
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

FILES = 10_000  # for each reader
SLOW = 5  # s, what one file may take; a small one takes milliseconds
MEMORY = 3 * 2**30  # bytes of address space beyond what the process has after its imports
READERS = {
    "carto": {"points": 5, "samples": 12}, "ensite_precision": {}, "ensite_x": {}, "rhythmia": {},
    "kodex": {},
    "openep": {}, "openep plain": {"compress": False}, "openep 7.3": {"version": "7.3"},
    "vtk_surface": {}, "csv_points": {}, "study": {},
}  # fmt: skip


def export(name: str, folder: Path, how: dict[str, Any]) -> Path:
    """A whole export; where it is."""
    folder.mkdir()
    if name == "study":  # our own file
        from jaxtwin.mapping import read_mapping, write_study

        from ..exports import carto

        carto.make(folder / "source", points=5, samples=12)
        study = read_mapping(folder / "source")
        (folder / "whole").mkdir()
        write_study(folder / "whole" / "study.h5", study)
        return folder / "whole"
    import_module(f"benchmarks.exports.{name.partition(' ')[0]}").make(folder, **how)
    return folder


def mutate(content: bytes, random) -> bytes:
    """Bits turned, bytes replaced, cut short, pieces doubled, moved or dropped, digits made large."""
    if not content:
        return bytes(random.integers(0, 256, 16, dtype="u1"))
    found = bytearray(content)
    for _ in range(int(random.integers(1, 5))):
        at = int(random.integers(0, len(found))) if found else 0
        kind = int(random.integers(0, 8))
        some = int(min(2 ** random.integers(0, 12), max(len(found), 1)))
        if kind == 0 and found:
            found[at] ^= 1 << int(random.integers(0, 8))
        elif kind == 1:
            found[at : at + some] = bytes(random.integers(0, 256, min(some, 16), dtype="u1"))
        elif kind == 2:
            del found[at:]
        elif kind == 3:
            found[at:at] = found[at : at + some]
        elif kind == 4:
            del found[at : at + some]
        elif kind == 5:
            piece = found[at : at + some]
            del found[at : at + some]
            there = int(random.integers(0, len(found) + 1))
            found[there:there] = piece
        elif kind == 6:
            found[at : at + 1] = random.choice(
                [b"-1", b"1e308", b"nan", b"999999999999", b"-10000", b"0", b'"', b"<"]
            )
        else:
            found[at : at + some] = b"\0" * some
    return bytes(found)


def _slow(number, frame):
    raise TimeoutError


def _reader(name: str, how: dict[str, Any], count: int, seed: int) -> dict[str, Any]:
    import numpy as np

    from jaxtwin import InputError
    from jaxtwin.mapping import read_mapping

    random = np.random.default_rng(seed)
    outcome = {"files": 0, "read": 0, "refused": 0, "crashed": 0, "hung": 0, "slowest_s": 0.0}
    first: list[str] = []
    with tempfile.TemporaryDirectory() as base:
        place = export(name, Path(base) / "export", how)
        originals = {path: path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}
        everything: Callable[[], Any] = lambda: all_of(read_mapping(place if len(originals) > 1 else only))  # noqa: E731
        only = next(iter(originals))
        for _ in range(count):
            path = list(originals)[int(random.integers(0, len(originals)))]
            path.write_bytes(mutate(originals[path], random))
            begin = time.perf_counter()
            signal.setitimer(signal.ITIMER_REAL, SLOW)
            try:
                everything()
                outcome["read"] += 1
            except InputError:
                outcome["refused"] += 1
            except TimeoutError:
                outcome["hung"] += 1
            except Exception as error:  # what the fuzz is for
                outcome["crashed"] += 1
                first.append(f"{type(error).__name__}: {error}"[:200])
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            outcome["slowest_s"] = max(outcome["slowest_s"], time.perf_counter() - begin)
            outcome["files"] += 1
            path.write_bytes(originals[path])
    return outcome | {"errors": first[:5]}


def all_of(study) -> None:
    """What was read makes sense: sizes fit, positions are finite, waveforms can be read."""
    import numpy as np

    for one in study.maps:
        assert np.isfinite(one.points.positions).all()
        if one.surface is not None and len(one.surface.triangles):
            assert 0 <= one.surface.triangles.min() <= one.surface.triangles.max() < len(one.surface.points)
        for signals in one.signals:
            if len(signals.rows):
                assert signals.raw(0).shape == (signals.samples, len(signals.channels))


def fuzz(count: int = FILES) -> dict[str, Any]:
    """All readers, one after another. `JAXTWIN_FUZZ` may name one of them."""
    import numpy as np

    signal.signal(signal.SIGALRM, _slow)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    wanted = os.environ.get("JAXTWIN_FUZZ", "")
    names = [name for name in READERS if not wanted or name == wanted]
    begin = time.perf_counter()
    with np.errstate(all="ignore"):
        each = {name: _reader(name, READERS[name], count, seed) for seed, name in enumerate(names)}
    return {
        "least_files": min(one["files"] for one in each.values()),
        "crashed": sum(one["crashed"] for one in each.values()),
        "hung": sum(one["hung"] for one in each.values()),
        "slowest_s": max(one["slowest_s"] for one in each.values()), "seconds": time.perf_counter() - begin,
        "readers": each,
    }  # fmt: skip
