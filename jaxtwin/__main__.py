"""The command line: the only place that prints."""

import hashlib
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from jax.errors import JaxRuntimeError
from rich.console import Console
from rich.table import Table

from ._cli.shown import cells_table, errors_table, interval_lines, rounded, summary_lines
from ._cli.terminal import bar, configure, console, of_beats, of_iterations, say
from ._files import atomic_write
from ._results import InputError, SolveError

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None
)

CaseFile = Annotated[Path, typer.Argument(help="The case: a TOML file or the folder that holds case.toml.")]


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="A new folder.")]) -> None:
    """Write a commented case with a small atrial shell and a map of it, ready to simulate and to fit."""
    from ._cli.init import make_case

    configure("float32")
    make_case(folder)
    say(f"{folder}: case.toml, heart.vtu, map.csv. Next: jaxtwin simulate {folder} or jaxtwin fit {folder}")


@app.command()
def simulate(case: CaseFile) -> None:
    """Simulate the beats of a case, each from rest; write activation times, voltages and figures."""
    from ._cli.folder import run_folder
    from ._cli.simulate import run_simulate
    from .case import load_case

    loaded = load_case(case)
    configure(loaded.output.precision)
    target = loaded.path(loaded.output.folder)
    with run_folder(target) as folder, bar("simulate", "preparing") as update:
        summary = run_simulate(loaded, folder, say, of_beats(update, len(loaded.beats)))
    keys = "nodes", "activated_nodes", "last_activation_ms", "seconds"
    print(*summary_lines(summary, target, keys), sep="\n")


@app.command()
def fit(case: CaseFile) -> None:
    """Fit conductivity (and scar) to a measured map, and test the fit on what was held out.

    A fit by trust_region that was interrupted goes on from its last iteration when the same command is given
    again.
    """
    from ._cli.fit import run_fit
    from ._cli.folder import run_folder
    from .case import load_case, write_case

    loaded = load_case(case)
    configure(loaded.output.precision)
    target = loaded.path(loaded.output.folder)
    # named by what is asked for: a fit that was killed goes on, one of another case begins anew
    key = hashlib.sha256(write_case(loaded).encode()).hexdigest()[:12]
    checkpoint = target.with_name(f".{target.name}.{key}.checkpoint.h5")
    with run_folder(target) as folder, bar("fit", "preparing") as update:
        summary = run_fit(loaded, folder, checkpoint, say, of_iterations(update))
    checkpoint.unlink(missing_ok=True)
    Console(highlight=False).print(errors_table(summary))
    better = ("combined_is_better",) if summary["combined_is_better"] else ()
    keys = "validated", *better, "noise_scale_ms", "speed_mm_per_ms", "ended", "seconds"
    print(*interval_lines(summary), *summary_lines(summary, target, keys), sep="\n")


@app.command()
def cell(
    model: Annotated[str, typer.Argument(help="A cell model, such as ten_tusscher_panfilov.")],
    variant: Annotated[str, typer.Option(help="One of its variants, such as endo.")] = "",
    interval: Annotated[float, typer.Option(help="Cycle length, ms.")] = 1000.0,
    beats: Annotated[int, typer.Option(help="How many beats; the last ones are measured.", min=1)] = 100,
    scale: Annotated[
        list[str] | None, typer.Option(help="g_Kr=0.5 halves a parameter; may be given again.")
    ] = None,
    drug: Annotated[
        list[str] | None, typer.Option(help="dofetilide=2 is 2 nM free in plasma; may be given again.")
    ] = None,
    premature: Annotated[
        bool, typer.Option("--restitution", help="A premature beat at many coupling intervals too.")
    ] = False,
    step: Annotated[float, typer.Option(help="Time step of the upstroke, ms.")] = 0.02,
    folder: Annotated[Path | None, typer.Option(help="Write trace, figures and summary here.")] = None,
) -> None:
    """Pace a single cell to a steady beat and measure its action potential, with drugs or changed channels
    beside the cell as it is."""
    from ._cli.cell import MARK, changed, model_of, run_cell
    from ._cli.folder import run_folder

    configure("float64")
    plain = model_of(model, variant)
    cells, warnings = {"control": plain}, []
    if scale or drug:
        cells["changed"], warnings = changed(plain, scale or [], drug or [])
    if not (interval > 0.0 and step > 0.0):
        raise InputError(
            f"a cycle of {interval:g} ms and steps of {step:g} ms", "both above 0", "Correct the options"
        )
    asked = interval, beats, step, premature
    if folder is None:
        summary = run_cell(cells, *asked, None, warnings)
    else:
        with run_folder(folder, MARK) as place:
            summary = run_cell(cells, *asked, place, warnings)
    Console(highlight=False).print(cells_table(summary))
    for warning in summary["warnings"]:
        say(warning)
    where = f"Results in {folder}. " if folder is not None else ""
    print(f"{where}{summary['notice']}")


@app.command("import")
def import_(
    source: Annotated[
        Path, typer.Argument(help="What the mapping system exported: a folder, a zip or a file.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A study: one HDF5 file (.h5).")
    ] = None,
    case: Annotated[
        Path | None, typer.Option(help="A new folder: study, mesh and case, ready to fit.")
    ] = None,
    maps: Annotated[
        list[str] | None, typer.Option("--map", help="A map by name; may be given again.")
    ] = None,
    annotate: Annotated[
        str, typer.Option(help="Take LATs from the waveforms: auto, unipolar or bipolar.")
    ] = "",
    edge: Annotated[float, typer.Option(help="With --case: edges of the mesh, mm.")] = 1.0,
    close: Annotated[
        float,
        typer.Option(help="With --case: perimeter below which holes in the wall are closed, mm; 0: none."),
    ] = 30.0,
    fibres: Annotated[
        str,
        typer.Option(
            help="With --case: none (those of the export, if any), rule (left atrium), or a mesh with "
            "fibres, registered to the same coordinates."
        ),
    ] = "none",
    keep_identity: Annotated[
        bool,
        typer.Option("--keep-identity", help="Keep the name of the study, which often says who and when."),
    ] = False,
) -> None:
    """Read an export of CARTO 3, EnSite, Rhythmia, Kodex or OpenEP into one file, or into a case ready to
    fit."""
    from ._cli.folder import new_folder
    from ._cli.study import import_study, make_study_case, rows

    if (output is None) == (case is None):
        raise InputError(
            "neither -o nor --case" if output is None else "both -o and --case", "one of the two",
            "Give -o study.h5 for the study alone, --case FOLDER for a case to fit",
        )  # fmt: skip
    how = {"maps": tuple(maps or ()), "annotate": annotate, "identity": keep_identity, "say": say}
    configure("float32")
    with bar("import", "reading") as update:

        def progress(done: int, traces: int) -> None:
            update(done, traces, f"{done} of {traces} waveforms")

        if case is None:
            assert output is not None
            study = import_study(source, output, progress=progress, **how)
        else:
            with new_folder(case) as made:
                study = import_study(source, made / "study.h5", progress=progress, **how)
                kind = "" if fibres == "none" else fibres
                make_study_case(study, "study.h5", made, edge_mm=edge, close_mm=close, fibres=kind, say=say)
    table = Table("map", "points", "valid", "LAT, ms", "nodes", "waveforms", title_justify="left")
    for row in rows(study):
        table.add_row(*row)
    Console(highlight=False).print(table)
    print(f"{study.system} {study.version}".strip() + (f": {output}" if case is None else f": {case}"))
    say(f"Next: jaxtwin check {output}" if case is None else f"Next: jaxtwin fit {case}")


@app.command("export")
def export_(
    source: Annotated[Path, typer.Argument(help="A study, an export, or the folder of a run.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help=".csv .mat .vtu .pts; of a run .vtu or a folder (openCARP)."),
    ],
    maps: Annotated[
        list[str] | None, typer.Option("--map", help="A map by name; may be given again.")
    ] = None,
    edge: Annotated[
        float | None, typer.Option(help="Of a surface: cut, repair and refine it to this, mm.")
    ] = None,
) -> None:
    """Write a study or the result of a run for other programs: openCARP, ParaView, OpenEP, CSV."""
    from ._cli.export import export

    configure("float32")
    for line in export(source, output, maps=tuple(maps or ()), edge_mm=edge):
        say(line)
    print(output)


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(help="Meshes, maps (CSV), studies, exports or cases.")],
    unit: Annotated[str, typer.Option(help="Of the points of meshes: auto, um, mm, cm or m.")] = "auto",
    figure: Annotated[Path | None, typer.Option(help="Of a study: draw its points here (.png).")] = None,
) -> None:
    """Say what a mesh, a map, a study or a case holds, and what is wrong with it."""
    from ._cli.check import check_file

    refused = False
    for path in files:
        print(path, flush=True)
        try:
            facts = check_file(path, unit, figure)
        except InputError as error:
            _complain("Error", error)
            refused = True
            continue
        problems = facts.pop("problems")
        for key, value in facts.items():
            print(f"  {key + ':':<25}{value if isinstance(value, str) else json.dumps(rounded(value))}")
        for problem in problems:
            print(f"  ! {problem}")
        print("  nothing wrong found" if not problems else f"  to know: {len(problems)}, marked with !")
    if refused:
        raise typer.Exit(2)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where figures and summary go.")] = Path("jaxtwin-demo"),
    edge: Annotated[float, typer.Option(help="Edge of the fitted mesh, mm; the truth has half of it.")] = 1.8,
    iterations: Annotated[int, typer.Option(help="Steps of the fit by gradients.")] = 15,
) -> None:
    """Find a hidden scar in a synthetic atrium from noisy activation times, and compare with the truth."""
    from ._cli.demo import run_demo
    from ._cli.folder import run_folder

    configure("float32")
    with run_folder(folder) as made, bar("fit", "simulating the truth") as update:
        summary = run_demo(made, say, of_iterations(update), edge=edge, iterations=iterations)
    table = Table("", "truth", "estimate", title="Truth against estimate", title_justify="left")
    speed, area, unseen = (
        summary[k] for k in ("healthy_speed_mm_per_ms", "scar_area_mm2", "unseen_site_rmse_ms")
    )
    table.add_row("speed of healthy tissue, mm/ms", f"{speed['truth']:.3f}", f"{speed['estimate']:.3f}")
    table.add_row("area of scar, mm2", f"{area['truth']:.0f}", f"{area['estimate']:.0f}")
    table.add_row("overlap of scar (Dice)", "1", f"{summary['scar_dice']:.2f}")
    table.add_row(
        "misfit of the maps, ms", f"{summary['noise_ms']:.1f} (noise)", f"{summary['rmse_fit_ms']:.1f}"
    )
    table.add_row(
        "error at a pacing site never seen, ms",
        f"{unseen['before_fit']:.1f} before the fit",
        f"{unseen['after_fit']:.1f}",
    )
    Console(highlight=False).print(table)
    print(f"{summary['seconds']:.0f} s. Figures and summary in {folder}. {summary['notice']}")


@app.command()
def doctor() -> None:
    """Devices, versions, memory, and a self-test of a few seconds."""
    from ._cli.doctor import examine

    configure("float32")
    facts = examine()
    print(json.dumps(rounded(facts), indent=2))
    if not facts["self_test"]["passed"]:
        raise SolveError("The self-test failed: speed or derivative are not as expected on this machine.")
    say(f"Ready: the self-test passed on {', '.join(d['kind'] for d in facts['devices'])}.")


@app.command()
def verify(
    full: Annotated[bool, typer.Option("--full", help="Finer meshes and all tables; 25 minutes.")] = False,
    only: Annotated[list[str] | None, typer.Option(help="A group by name; may be given again.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write figures and tables here.")] = None,
    markdown_file: Annotated[
        Path | None, typer.Option("--markdown", help="Write the printed tables here.")
    ] = None,
) -> None:
    """Measure the claims of the solver: orders, speeds, invariance, gradients, precision, the slab."""
    from ._cli.claims import content, document, markdown
    from ._cli.folder import readable_json
    from ._cli.verify import chosen_groups, run_group

    names = chosen_groups(only or [])
    files = [path for path in (json_file, markdown_file) if path is not None]
    _refuse_folders_and_twins(files)
    configure("float64")
    groups = {}
    with ExitStack() as stack:
        # opened before the work, so that a path that cannot be written costs no time
        streams = {path: stack.enter_context(atomic_write(path)) for path in files}
        for name in names:
            say(f"{name} ...")
            groups[name] = run_group(name, full, say)
            print(markdown(groups[name]), flush=True)
        if json_file is not None:
            streams[json_file].write(readable_json(content(groups, full)).encode())
        if markdown_file is not None:
            streams[markdown_file].write(document(groups).encode())
    claims = [claim for group in groups.values() for claim in group.claims]
    missed = [claim.text for claim in claims if not claim.met]
    if missed:
        raise SolveError(f"{len(missed)} of {len(claims)} claims are not met: {'; '.join(missed)}.")
    seconds = sum(group.seconds for group in groups.values())
    say(f"All {len(claims)} claims are met, {seconds:.0f} s.")


@app.command()
def coverage(
    truths: Annotated[int, typer.Option(help="Truths drawn from the prior.", min=2)] = 200,
    outliers: Annotated[
        float, typer.Option(help="Share of outliers among the points.", min=0, max=0.5)
    ] = 0.0,
    coarse: Annotated[bool, typer.Option("--coarse", help="Fit on edges twice those of the truth.")] = False,
) -> None:
    """Test the intervals of a fit: truths from the prior, mapped with noise, fitted, and counted."""
    from .verify import coverage as covered
    from .verify import small_sheet

    configure("float32")
    problem = small_sheet(truth_edge=0.5 if coarse else 1.0)
    with bar("coverage", "compiling") as update:
        found = covered(
            problem, truths=truths, outliers=outliers,
            report=lambda done, scores: update(done, truths, f"{done} of {truths} truths"),
        )  # fmt: skip
    table = Table("interval", "held the truth", "with 95 % confidence", title_justify="left")
    for level, share, error in zip(found.levels, found.share, found.error, strict=True):
        low, high = max(share - 1.96 * error, 0.0), min(share + 1.96 * error, 1.0)
        table.add_row(f"{level:.0%}", f"{share:.1%}", f"{low:.1%} to {high:.1%}")
    Console(highlight=False).print(table)
    print(f"{truths} truths, {found.score.shape[1]} places each; scores have a standard deviation of "
          f"{found.score.std():.2f} (1 is right)")  # fmt: skip


def _refuse_folders_and_twins(files: list[Path]) -> None:
    for path in files:
        if path.is_dir():
            raise InputError(f"{path}, which is a folder", "the name of a file", "Choose another name")
    if len({path.resolve() for path in files}) < len(files):
        raise InputError(f"{files[0]} for both files", "two names", "Choose another name for one of them")


def _complain(word: str, error: Exception) -> None:
    """The message as one paragraph."""
    console.print(f"{word}: {' '.join(str(error).split()) or type(error).__name__}", markup=False)


def main() -> None:
    """Entry point. Exit code 0: good, 1: the run failed, 2: bad input, 130: interrupted."""
    try:
        app(standalone_mode=True)
    except SystemExit as end:
        if end.code == 130:
            console.print("Interrupted: no result was written.")
        raise
    except InputError as error:
        _complain("Error", error)
        sys.exit(2)
    except (SolveError, MemoryError, OSError, JaxRuntimeError) as error:  # no memory, no space on the disk
        _complain("Failed", error)
        sys.exit(1)


if __name__ == "__main__":
    main()
