"""Evaluate all claims on all cores: ``python tools/claims.py [SCALE [BLOCK]]``.

The longest go first, by the seconds that each took when ``tools/seconds.json`` was
written; what is stored already costs nothing.
"""

import json
import sys
import time
from pathlib import Path

from tqdm import tqdm

from fl.book import scale
from fl.evidence import verify_all
from fl.registry import select

FILE = Path(__file__).with_name("seconds.json")
SECONDS = json.loads(FILE.read_text())


def evaluate(size: str, block: int = 0) -> bool:
    """Store the verdicts of all claims at a scale, on a block of seeds; tell whether all
    of them stand.
    """
    start, known = time.perf_counter(), SECONDS["claims"]
    claims = sorted(select(), key=lambda c: -known.get(c.id, 1e9))
    computed = []

    def tell(verdict) -> None:
        computed.append(verdict)
        if len(computed) % 10 == 0:
            say(f"claims at scale {size}: {len(computed)} evaluated", start)

    verdicts = verify_all(claims, size, blocks=[block], tell=tell)
    failed = [v.id for v in verdicts if not v.stands]
    stand = len(verdicts) - len(failed)
    say(f"claims at scale {size}: {stand} of {len(verdicts)} stand", start)
    if failed:
        print(f"not standing: {', '.join(failed)}")
    return not failed


def say(text: str, start: float) -> None:
    """Print a line at once, above the bar of a terminal, with the seconds so far."""
    tqdm.write(f"{text} ({time.perf_counter() - start:.0f} s)")
    sys.stdout.flush()


if __name__ == "__main__":
    size, block, *_ = [*sys.argv[1:], *[scale(), "0"][len(sys.argv) - 1 :]]
    sys.exit(not evaluate(size, int(block)))
