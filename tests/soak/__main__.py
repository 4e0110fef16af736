"""`python -m tests.soak`: the soak as a program (`--help` has its options). Exit code 1: not all is well."""

from __future__ import annotations

import argparse
import sys

from tests.soak.run import Soak, soak, verdict


def main() -> int:
    default = Soak()
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="A long run under fire.")
    parser.add_argument("--records", type=int, default=default.records)
    parser.add_argument("--kills", type=int, default=default.min_kills, help="fewer than these are not enough")
    parser.add_argument("--kill-every", type=float, default=default.kill_every, help="seconds")
    parser.add_argument("--batch-size", type=int, default=default.batch_size)
    parser.add_argument("--seed", type=int, default=default.seed)
    given = parser.parse_args()
    wanted = Soak(given.records, given.kills, given.kill_every, given.batch_size, given.seed)
    figures = soak(wanted, lambda line: print(line, flush=True))
    print(figures)
    problems = list(verdict(wanted, figures))
    print("\n".join(f"NOT WELL: {problem}" for problem in problems) or "all is well")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
