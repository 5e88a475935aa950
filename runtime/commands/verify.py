"""`verify`: the site acceptance test of a bundle."""

from __future__ import annotations

import argparse
import os

from runtime.cli import add_model_arguments
from runtime.errors import ExitCode, GateError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_model_arguments(parser)
    parser.add_argument("--json", action="store_true", help="machine-readable result")


def run(args: argparse.Namespace) -> int:
    """Check the bundle; exit 4 for a wrong checksum, 7 for drift."""
    import json

    from runtime.bundle import load_bundle
    from runtime.verify import verify_bundle

    bundle = load_bundle(args.model)
    results = verify_bundle(bundle, args.engine, args.threads)
    good = sum(result.passed for result in results)
    worst = max((r.drift for r in results if r.drift is not None), default=0.0)
    failed = [result for result in results if not result.passed]
    if args.json:
        rows = [
            {
                "file": r.file,
                "drift": r.drift,
                "atol": r.atol,
                "passed": r.passed,
                "reason": r.reason,
            }
            for r in results
        ]
        print(json.dumps({"bundle": bundle.name, "passed": not failed, "golden": rows}, indent=2))
    else:
        print(
            f"{bundle.name} {bundle.version}: {os.path.basename(bundle.model.path)} checksum right"
        )
        for r in results:
            drift = "no answer" if r.drift is None else f"drift {r.drift:.6f}"
            verdict = "ok" if r.passed else "FAILED"
            print(f"  {r.file:<32} {drift}  (limit {r.atol:g})  {verdict} {r.reason}".rstrip())
        print(f"{good} of {len(results)} golden pages, largest drift {worst:.6f}")
    if failed:
        raise GateError(
            f"golden pages off on this device: {', '.join(r.file for r in failed)}",
            "do not use this installation; run python -m runtime doctor",
        )
    return ExitCode.OK
