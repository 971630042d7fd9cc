"""Coverage of the intervals of log D."""

from typing import Any


def covered(outliers: float, truth_edge: float) -> dict[str, Any]:
    """Coverage of the intervals of log D: 200 truths from the prior on a small sheet."""
    import numpy as np

    from jaxtwin.verify.coverage import coverage, small_sheet

    found = coverage(small_sheet(truth_edge=truth_edge), truths=200, outliers=outliers)
    names = [f"{level:.0%}" for level in found.levels]
    return {
        "truths": len(found.score),
        "share": dict(zip(names, found.share.tolist(), strict=True)),
        "error": dict(zip(names, found.error.tolist(), strict=True)),
        "score_sd": float(np.std(found.score)), "score_mean": float(np.mean(found.score)),
    }  # fmt: skip
