from . import assurance, case, chamber, exchange, inference, mapping, signals, twin, verify, view
from ._results import InputError, SilentWarning, SolveError
from .anatomy import (
    Heart,
    Mesh,
    atrial_shell,
    cable,
    read_heart,
    read_mesh,
    refine,
    remesh,
    reorder,
    repair,
    sheet,
    slab,
    write_mesh,
)
from .case import Case, Prepared, load_case, prepare
from .cells import AbstractIonicModel, MitchellSchaeffer, ModifiedMitchellSchaeffer
from .fem import Space, matern_modes, partition
from .inference import (
    AbstractEvidence,
    Arrival,
    Fit,
    Laplace,
    Prior,
    StudentT,
    Voltage,
    cramer_rao,
    design_next,
    fit,
    identifiable,
    posterior,
    predict,
    read_twin,
    sample,
    spread,
    write_twin,
)
from .mapping import MappingData, Study, project, read_csv, read_mapping, read_study, write_csv, write_study
from .monodomain import (
    AbstractRecorder,
    Checkpointed,
    ForwardMode,
    RungeKuttaChebyshev,
    Solution,
    Stimulus,
    Times,
    Tissue,
    burst,
    decremental,
    diffusion_tensor,
    eikonal,
    in_regions,
    in_sphere,
    pulse,
    s1s2,
    simulate,
    simulate_batch,
    simulate_split,
    train,
    travelling_window,
)
from .signals import ActivationTimes, VoltageTrace, diffusivity_for, numerical_error, wave_speed
from .twin import (
    Beat,
    Discrepancy,
    LogDiffusivity,
    Twin,
    beat,
    discrepancy,
    earliest_sources,
    field,
    per_region,
    uniform,
)

__all__ = [
    "AbstractEvidence", "AbstractIonicModel", "AbstractRecorder", "ActivationTimes", "Arrival", "Beat",
    "Case", "Checkpointed", "Discrepancy", "Fit", "ForwardMode", "Heart", "InputError", "Laplace",
    "LogDiffusivity", "MappingData", "Mesh", "MitchellSchaeffer", "ModifiedMitchellSchaeffer", "Prepared",
    "Prior", "RungeKuttaChebyshev", "SilentWarning", "Solution", "SolveError", "Space", "Stimulus",
    "StudentT", "Study", "Times", "Tissue", "Twin", "Voltage", "VoltageTrace", "assurance", "atrial_shell",
    "beat", "burst", "cable", "case", "chamber", "cramer_rao", "decremental", "design_next",
    "diffusion_tensor", "diffusivity_for", "discrepancy", "earliest_sources", "eikonal", "exchange",
    "field", "fit", "identifiable", "in_regions", "in_sphere", "inference", "load_case", "mapping",
    "matern_modes", "numerical_error", "partition", "per_region", "posterior", "predict", "prepare",
    "project", "pulse", "read_csv", "read_heart", "read_mapping", "read_mesh", "read_study", "read_twin",
    "refine", "remesh", "reorder", "repair", "s1s2", "sample", "sheet", "signals", "simulate",
    "simulate_batch", "simulate_split", "slab", "spread", "train", "travelling_window", "twin", "uniform",
    "verify", "view", "wave_speed", "write_csv", "write_mesh", "write_study", "write_twin",
]  # fmt: skip
