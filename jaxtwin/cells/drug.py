"""Drugs: how much of a current a concentration leaves."""

from collections.abc import Mapping
from dataclasses import dataclass

from .._results import InputError, nearest
from .model import AbstractIonicModel, parameter_names


@dataclass(frozen=True)
class Drug:
    """A drug that blocks channels, each by a Hill curve.

    - `peak_nM`: the largest free concentration in plasma at a therapeutic dose, nM.
    - `blocks`: of each current the concentration that blocks half of it (nM) and the Hill coefficient.
    """

    peak_nM: float
    blocks: Mapping[str, tuple[float, float]]

    def left(self, concentration_nM: float) -> dict[str, float]:
        """The share of each current that a free concentration leaves: 1/(1 + (c/IC50)^h)."""
        if not concentration_nM >= 0.0:
            raise InputError(
                f"a concentration of {concentration_nM:g} nM", "0 nM or more", "Correct the concentration"
            )
        return {
            current: 1.0 / (1.0 + (concentration_nM / half) ** hill)
            for current, (half, hill) in self.blocks.items()
        }


def _cipa(peak_nM: float, kr, cal, late) -> Drug:
    named = {"Kr": kr, "CaL": cal, "NaL": late}
    return Drug(peak_nM, {name: block for name, block in named.items() if block is not None})


DRUGS: dict[str, Drug] = {
    "bepridil": _cipa(33.0, (149.0, 0.88), (2808.0, 0.65), (1814.0, 1.42)),
    "chlorpromazine": _cipa(38.0, (1118.0, 0.89), (8192.0, 0.84), (4560.0, 0.94)),
    "cisapride": _cipa(2.6, (11.8, 1.34), (9258076.0, 0.43), None),
    "diltiazem": _cipa(122.0, (6569.0, 0.79), (112.0, 0.71), (21868.0, 0.68)),
    "dofetilide": _cipa(2.0, (1.46, 0.63), (260.0, 1.16), (753160.0, 0.26)),
    "mexiletine": _cipa(4129.0, (24368.0, 2.59), (38244.0, 1.03), (8957.0, 1.41)),
    "ondansetron": _cipa(139.0, (1492.0, 0.96), (22551.0, 0.75), (19181.0, 1.03)),
    "quinidine": _cipa(3237.0, (343.0, 1.03), (51592.0, 0.59), (9417.0, 1.34)),
    "ranolazine": _cipa(1948.0, (6490.0, 0.84), None, (7884.0, 0.94)),
    "sotalol": _cipa(14690.0, (86369.0, 0.94), (7061526.0, 0.87), None),
    "terfenadine": _cipa(4.0, (18.5, 0.59), (700.0, 0.66), (20056.0, 0.6)),
    "verapamil": _cipa(81.0, (499.0, 1.10), (202.0, 1.10), (7028.0, 1.03)),
}
"""The twelve training drugs of CiPA on I_Kr, I_CaL and late I_Na (Li et al. 2019, doi 10.1002/cpt.1184)."""


def with_drugs(
    model: AbstractIonicModel, concentrations_nM: Mapping[str, float]
) -> tuple[AbstractIonicModel, list[str]]:
    """The model under these free concentrations of drugs, by name in `DRUGS`, and the blocked currents that
    it does not have. Drugs that block the same current do so independently.

    **Raises:** `InputError` for an unknown drug and a negative concentration.
    """
    factors, missing = {}, []
    for name, concentration in concentrations_nM.items():
        if name not in DRUGS:
            raise InputError(f"the drug '{name}'", nearest(name, DRUGS), "Correct the name")
        for current, share in DRUGS[name].left(concentration).items():
            if (parameter := f"g_{current}") in parameter_names(model):
                factors[parameter] = factors.get(parameter, 1.0) * share
            else:
                missing.append(f"{current} ({name})")
    return model.scaled(**factors), missing
