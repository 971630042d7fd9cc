"""`python -m benchmarks claims [GROUP]`, `... GROUP NAME`, `... gpu [PART ...]`, `... readme`."""

import argparse
import json
import sys
from importlib import import_module

from . import claims, gpu, readme
from .machine import machine


def main() -> int:
    """Exit code 1 where a claim is not met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures what jaxtwin claims.")
    commands = parser.add_subparsers(dest="command", required=True)
    of_claims = commands.add_parser("claims", help="measure the claims and compare them with their bounds")
    of_claims.add_argument("group", nargs="?", choices=claims.groups())
    of_claims.add_argument("--save", action="store_true", help="keep the figures in benchmarks/results")
    of_claims.add_argument("--only", default="", help="measure these commands, keep the others as stored")
    commands.add_parser("readme", help="write the figures in README.md and docs/topics/claims.md")
    on_gpu = commands.add_parser("gpu", help=gpu.__doc__)
    on_gpu.add_argument("parts", nargs="*", help=f"of {', '.join(gpu.PARTS)}; all where none is named")
    on_gpu.add_argument("--anywhere", action="store_true", help="also where there is no GPU")
    for group in claims.groups():
        module = import_module(f".{group}", __package__)
        if module is gpu:
            continue
        one = commands.add_parser(group, help=module.__doc__)
        one.add_argument("name", choices=module.BENCHMARKS)
    given = parser.parse_args()
    if given.command == "claims":
        return claims.run(given.group, given.save, given.only)
    if given.command == "readme":
        readme.write()
        return 0
    if given.command == "gpu":
        if unknown := set(given.parts) - gpu.PARTS.keys():
            parser.error(f"no such part: {', '.join(sorted(unknown))}; choose from {', '.join(gpu.PARTS)}")
        return gpu.run(given.parts, given.anywhere)
    benchmark = import_module(f".{given.command}", __package__).BENCHMARKS[given.name]
    # the benchmark first: one that keeps to one core must say so before JAX counts them
    figures = benchmark()
    result = {"benchmark": f"{given.command} {given.name}", "machine": machine()} | figures
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
