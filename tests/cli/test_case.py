"""The case: what is written is what is read, and what is not understood is refused by name."""

import dataclasses
import json
import tomllib
import types
import typing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxtwin import InputError
from jaxtwin.anatomy import atrial_shell, write_mesh
from jaxtwin.case import (
    LISTED,
    TABLES,
    BeatCase,
    Case,
    CellsCase,
    PulseCase,
    example_case,
    load_case,
    parameter_keys,
    prepare,
    write_case,
)
from jaxtwin.cells import OF_CASES

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
FIELDS = {
    f"{table}.{field.name}": field
    for table, kind in TABLES.items()
    for field in dataclasses.fields(kind)
    if field.name != "parameters"
}
PARAMETERS = {model: list(parameter_keys(model).values()) for model in OF_CASES}
WAYS = ("speed_mm_per_ms", "conductivity_S_per_m", "diffusivity_mm2_per_ms")
SLOW_DISK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def values(hint, field):
    """Any value that the rules of a field allow."""
    if isinstance(hint, types.UnionType):
        return st.none() | values(typing.get_args(hint)[0], field)
    if typing.get_origin(hint) is tuple:
        return st.lists(values(typing.get_args(hint)[0], field), max_size=4).map(tuple)
    rules = field.metadata
    if rules["choices"]:
        return st.sampled_from(rules["choices"])
    low = rules["least"] if rules["above"] is None else rules["above"]
    if hint is float:
        low, high = -1e9 if low is None else low, 1e9 if rules["most"] is None else rules["most"]
        return st.floats(low, high, exclude_min=rules["above"] is not None)
    return {str: TEXT, int: st.integers(low, rules["most"]), bool: st.booleans()}[hint]


def keys(kind):
    """Any keys of a table that its rules allow."""
    hints = typing.get_type_hints(kind)
    return st.fixed_dictionaries({f.name: values(hints[f.name], f) for f in dataclasses.fields(kind)})


CELLS = st.sampled_from(list(PARAMETERS)).flatmap(
    lambda model: st.fixed_dictionaries({
        "model": st.just(model),
        "parameters": st.dictionaries(st.sampled_from(PARAMETERS[model]), st.floats(-1e9, 1e9)),
    })
)  # fmt: skip
ANY = st.fixed_dictionaries({
    name: CELLS if kind is CellsCase else keys(kind) for name, kind in TABLES.items() if name != LISTED
})  # fmt: skip
BEATS = st.lists(st.lists(keys(PulseCase), min_size=1, max_size=3), min_size=1, max_size=3)


def beat_of(pulses):
    """A beat that can be run."""
    made = [PulseCase(**pulse) for pulse in pulses]
    for pulse in made:
        pulse.interval_ms = (pulse.interval_ms or 500.0) if pulse.count > 1 else None
    if any(pulse.kind == "map" for pulse in made):
        made = [dataclasses.replace(made[0], kind="map", count=1, interval_ms=None)]
    return BeatCase(pulses=made)


def case_of(tables, beats, way):
    """A case that can be run."""
    case = Case(
        **{name: TABLES[name](**given) for name, given in tables.items()},
        beats=[beat_of(pulses) for pulses in beats],
    )
    case.mesh.file = case.mesh.file or "heart.vtu"
    for each in WAYS:
        setattr(case.tissue, each, (getattr(case.tissue, each) or 0.5) if each == way else None)
    case.fit.largest_diffusivity_mm2_per_ms += 2 * (case.fit.least_diffusivity_mm2_per_ms or 0.0)
    if case.time.end_ms is not None:
        case.time.end_ms += 2 * max(pulse.last_ms for pulse in case.pulses())
    return case


@SLOW_DISK
@given(tables=ANY, beats=BEATS, way=st.sampled_from(WAYS), comments=st.booleans())
def test_what_is_written_is_read_again(tmp_path, tables, beats, way, comments):
    case, path = case_of(tables, beats, way), tmp_path / "case.toml"
    path.write_text(write_case(case, comments), encoding="utf-8")
    case.where = tmp_path.resolve()
    assert load_case(path) == case


def test_seen_from_another_folder_all_files_are_the_same(tmp_path):
    case = dataclasses.replace(example_case(), where=tmp_path / "a")
    case.beats[0].pulses[0].file = "../pacing.vtx"
    moved = case.seen_from(tmp_path / "b" / "c")
    assert moved.mesh.file == "../../a/heart.vtu"
    assert moved.path(moved.beats[0].pulses[0].file) == case.path("../pacing.vtx")
    assert moved.path(moved.output.folder) == case.path(case.output.folder)
    assert moved.fit == case.fit


@pytest.fixture
def load(tmp_path):
    """Loads a text with the tables that every case needs, where it does not have them."""

    def loaded(text):
        for table, line in (
            ("[mesh]", 'file = "a.vtu"'),
            ("[tissue]", "speed_mm_per_ms = 0.7"),
            ("[beat.pulse]", "centre_mm = [0, 0, 0]"),
        ):
            text += "" if table.strip("[]") in text else f"\n{table}\n{line}\n"
        path = tmp_path / "case.toml"
        path.write_text(text, encoding="utf-8")
        return load_case(path)

    return loaded


def test_whole_numbers_serve_as_numbers(load):
    case = load("[time]\nstep_ms = 0.1\nend_ms = 300")
    assert isinstance(case.time.end_ms, float)
    assert case.beats[0].pulses[0].centre_mm == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[mesh]\nfile = 'a'\nrefin = 1", ("key refin in [mesh]", "Perhaps refine is meant")),
        ("[mesh]\nfile = 'a'\nRefine = 1", ("Perhaps refine is meant",)),
        ("[MESH]\nfile = 'a'", ("table [MESH]", "Perhaps mesh is meant")),
        ("[time]\nstep = 1", ("Perhaps step_ms is meant",)),
        ("[tissue]\nconductivity = 1", ("Perhaps conductivity_S_per_m is meant",)),
        ("[cells]\niterations = 5", ("key iterations in [cells]", "Move it to [fit]")),
        ("end_ms = 5", ("key end_ms outside of any table", "Move it to [time]")),
        ("[fit]\nxyzzyx = 5", ("Remove it", "iterations")),
        ("[cells]\nmodel = 'mitchell'", ("cells.model = 'mitchell'", "Perhaps mitchell_schaeffer")),
        ("[mesh]\nfile = 'a'\nunit = 'inch'", ("mesh.unit = 'inch'", "auto, um, mm, cm, m")),
        ("[time]\nstep_ms = '0.1'", ("time.step_ms = '0.1'", "Wanted a number", "0.2")),
        ("[time]\nstep_ms = true", ("time.step_ms = True", "Wanted a number")),
        ("[time]\nstep_ms = nan", ("time.step_ms = nan", "finite")),
        ("[time]\nstep_ms = inf", ("time.step_ms = inf", "finite")),
        ("[time]\nstep_ms = [0.1]", ("time.step_ms = [0.1]", "Wanted a number")),
        ("[map]\nseed = 1.5", ("map.seed = 1.5", "a whole number")),
        ("[map]\nfile = 3", ("map.file = 3", "a text in quotes")),
        ("[map]\nfile = 'a\\u0000'".replace("'", '"'), ("map.file", "null characters")),
        ("[fit]\nscar = 1", ("fit.scar = 1", "true or false")),
        ("[beat.pulse]\nregions = 3", ("beat.pulse.regions = 3", "a list in brackets, each a whole number")),
        ("[beat.pulse]\nregions = ['a']", ("beat.pulse.regions", "each a whole number")),
        ("[[beat]]\n[[beat.pulse]]\nstart_ms = 9.0\n[time]\nend_ms = 9.0", ("starts at 9 ms", "end_ms")),
        ("[beat.pulse]\ncount = 4\ninterval_ms = 9.0\n[time]\nend_ms = 20.0", ("starts at 27 ms", "count")),
        ("[beat.pulse]\ncount = 4", ("count = 4 and no interval_ms", "train")),
        ("[beat.pulse]\ninterval_ms = 4", ("count = 1 and interval_ms = 4",)),
        ("[beat.pulse]\nkind = 'map'\ncount = 2\ninterval_ms = 9.0", ("of kind map", "alone in its beat")),
        ("[[beat.pulse]]\nkind = 'map'\n[[beat.pulse]]\nkind = 'map'", ("[[beat]] of their own",)),
        ("[[beat]]\nradius_mm = 3", ("key radius_mm in [[beat]]", "Move it to [beat.pulse]")),
        ("[[beat]]\n#beat.pulse", ("a [[beat]] without a pulse",)),
        ("[[stimulus]]\n#beat.pulse", ("[[stimulus]] in case.toml", "Rename each", "one beat for each map")),
        (
            "[cells]\nmodel = 'modified_mitchell_schaeffer'\nu_gate = 1",
            ("key u_gate in [cells]", "tau_in_ms"),
        ),
        ("[cells]\ntau_in_ms = 'fast'", ("cells.tau_in_ms = 'fast'", "a number")),
        ("[fit]\nleast_diffusivity_mm2_per_ms = 5.0", ("the least below the largest",)),
        ("[tissue]\n", ("no conduction", *WAYS)),
        (
            "[tissue]\nspeed_mm_per_ms = 1\nconductivity_S_per_m = 1",
            ("speed_mm_per_ms and conductivity_S_per_m",),
        ),
        ("[mesh]\nunit = 'mm'", ("without a mesh",)),
        ("mesh = 3\n[beat.pulse]\n#[mesh]", ("mesh = 3", "a table [mesh]")),
        ("[[mesh]]\nfile = 'a'\n#[mesh]", ("a table [mesh]",)),
        ("beat = []\n#beat.pulse", ("without a beat",)),
        ("beat = 5\n#beat.pulse", ("a table [[beat]]", "5")),
        ("beat = [1, 2]\n#beat.pulse", ("a table [[beat]]",)),
        ("[beat]\npulse = 5\n#beat.pulse", ("a table [[beat.pulse]]", "5")),
        ("[time]\nstep_ms = 0,1", ("not TOML", "line 2", "decimal point")),
        ("[map]\nseed = " + "9" * 5000, ("not TOML",)),
        ("x = " + "[" * 5000, ("not TOML",)),
    ],
)
def test_refused_by_name(load, text, words):
    with pytest.raises(InputError) as refused:
        load(text)
    for word in words:
        assert word in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [(n, f.metadata["above"]) for n, f in FIELDS.items() if f.metadata["above"] is not None]
    + [(n, f.metadata["least"] - 1) for n, f in FIELDS.items() if f.metadata["least"] is not None]
    + [(n, f.metadata["most"] + 1) for n, f in FIELDS.items() if f.metadata["most"] is not None],
)
def test_a_number_outside_its_range_is_refused(load, name, value):
    table, _, key = name.rpartition(".")
    required = "file = 'a'\n" if table == "mesh" else ""
    with pytest.raises(InputError, match=rf"{key} = .*Wanted .*(above|more|less)"):
        load(f"[{table}]\n{required}{key} = {value}")


@SLOW_DISK
@given(
    table=st.sampled_from(list(TABLES)) | TEXT,
    key=st.sampled_from([name.split(".")[-1] for name in FIELDS]) | TEXT,
    value=st.recursive(
        st.booleans() | st.integers() | st.integers(10**400, 10**401) | st.floats(-1e9, 1e9) | TEXT,
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=5,
    ),
)
def test_anything_else_is_a_case_or_refused(tmp_path, table, key, value):
    quote = lambda text: json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")  # noqa: E731
    path = tmp_path / "case.toml"
    path.write_text(f"[{quote(table)}]\n{quote(key)} = {quote(value)}\n", encoding="utf-8", newline="\n")
    tomllib.loads(path.read_text(encoding="utf-8"))
    try:
        loaded = load_case(path)
    except InputError as refused:
        loaded = refused
    assert isinstance(loaded, Case) or len(str(loaded)) < 1000


def test_a_folder_is_its_case_toml(tmp_path):
    (tmp_path / "case.toml").write_text(write_case(example_case(), comments=True), encoding="utf-8")
    assert load_case(tmp_path) == load_case(tmp_path / "case.toml")
    with pytest.raises(InputError, match=r"case\.toml, which cannot be read"):
        load_case(tmp_path / "..")


def test_a_map_in_the_file_of_a_remeshed_heart_keeps_its_points(tmp_path):
    """Else only the few nodes that are also nodes of the file would be points."""
    shell = atrial_shell(3.0)
    write_mesh(tmp_path / "heart.vtu", shell, {"LAT": 50.0 + shell.points[:, 2]})
    table = {"file": str(tmp_path / "heart.vtu")}
    text = (
        "[mesh]\nfile = {file!r}\nremesh_mm = 2.0\n[tissue]\nspeed_mm_per_ms = 0.7\nanisotropy_ratio = 1.0\n"
    )
    text += '[[beat]]\n[[beat.pulse]]\nkind = "map"\n[map]\nfile = {file!r}\narray = "LAT"\n'
    (tmp_path / "case.toml").write_text(text.format(**table))
    ready = prepare(load_case(tmp_path / "case.toml"))
    assert len(ready.data.positions) == len(shell.points)
    assert (ready.heart.origin < 0).mean() > 0.5
