"""How long `clew --help` and `clew resolve` take, beside a Python that does nothing.

Run: python benchmarks/startup.py [--runs 15]. Works on a throw-away clone of this repository.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
CLEW = Path(sys.executable).parent / "clew"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        clone = Path(name) / "clone"
        subprocess.run(["git", "clone", "--quiet", HERE, clone], check=True)
        commands: dict[str, list[str | Path]] = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "git rev-parse HEAD": ["git", "rev-parse", "HEAD"],
            "clew --help": [CLEW, "--help"],
            "clew resolve": [CLEW, "resolve", "--json"],
        }
        print(f"{'command':<20} {'median ms':>10} {'min ms':>8} {'max ms':>8}   ({runs} runs)")
        for title, command in commands.items():
            seconds = sorted(timed(command, clone) for _ in range(runs + 1))[:runs]
            row = (statistics.median(seconds), seconds[0], seconds[-1])
            print(f"{title:<20} {row[0] * 1e3:>10.0f} {row[1] * 1e3:>8.0f} {row[2] * 1e3:>8.0f}")


def timed(command: list[str | Path], cwd: Path) -> float:
    started = time.perf_counter()
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
