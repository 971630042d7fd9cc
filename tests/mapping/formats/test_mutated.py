"""Damaged files of every format: a study or an error that names the file, and nothing else.

The same with more kinds of damage and 10,000 files each: `python -m benchmarks mapping fuzz`.
"""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jaxtwin as jt
from benchmarks.mapping.fuzz import READERS, all_of, export


@pytest.fixture(scope="module", params=sorted(READERS))
def whole(request, tmp_path_factory):
    """Where an export is, and what its files hold."""
    place = export(request.param, tmp_path_factory.mktemp("m") / "export", READERS[request.param])
    return place, {path: path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_read_or_refused(whole, data):
    """Bytes changed, put in and taken out of one file: what is read makes sense."""
    place, originals = whole
    path = data.draw(st.sampled_from(list(originals)))
    content = bytearray(originals[path])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(len(content) - 1, 0)))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    path.write_bytes(bytes(content))
    said = ""
    try:
        all_of(jt.read_mapping(place if len(originals) > 1 else path))
    except jt.InputError as error:
        said = error.got
    finally:
        path.write_bytes(originals[path])
    assert not said or place.name in said or path.name in said


def test_every_reader_has_an_export(tmp_path):
    """A new format comes with a writer, or it is not tried here."""
    from jaxtwin.mapping.formats.read import READERS as modules

    assert {name.partition(" ")[0] for name in READERS} - {"study"} == {
        m.__name__.split(".")[-1] for m in modules
    }
