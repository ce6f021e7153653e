"""Write ``tools/seconds.json``: what each claim and page took, the longest first.

Claims are read from the results store (or evaluated), pages from the last build; one that
the tests ran has no time of its own and keeps the last. Only the order of evaluation depends
on it, so it need not be exact.
"""

import json

from claims import FILE
from jupyter_cache import get_cache
from pages import CACHE

from fl.book import verdicts


def longest_first(seconds: dict[str, float]) -> dict[str, float]:
    """Return ``seconds`` with the largest first, to a tenth."""
    order = sorted(seconds, key=lambda name: -seconds[name])
    return {name: round(seconds[name], 1) for name in order}


records = get_cache(str(CACHE)).list_cache_records()
found = {
    r.uri.split("/")[-1].split(".")[0]: r.data["execution_seconds"] for r in records
}
pages = json.loads(FILE.read_text())["pages"]
pages |= {name: took for name, took in found.items() if took}
claims = {v.id: v.seconds for v in verdicts()}
made = {"claims": longest_first(claims), "pages": longest_first(pages)}
FILE.write_text(json.dumps(made, indent=0) + "\n")
