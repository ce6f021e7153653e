"""Which claims the book has: the topics in reading order, each loaded when asked for.

The claims of a topic are in ``fl/claims/<topic>.py`` and, where there are many, in further
modules ``<topic>_*.py`` beside it.
"""

import ast
import itertools
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from operator import itemgetter
from pathlib import Path

from fl import validate
from fl.evidence import CLAIMS, Claim, Verdict, verify_all
from fl.scales import Scale
from fl.stored import RUNS

TOPICS = (
    "gram",
    "alignment",
    "help_or_hurt",
    "scaling_laws",
    "noise",
    "ood",
    "transfer",
    "spikes",
    "spectrum",
    "representation",
    "single_index",
    "unified",
    "effective_exponent",
    "choosing_p",
    "spectral_updates",
    "feature_matrix",
    "exponent_meter",
)
_FOLDER = Path(__file__).parent


def select(names: Iterable[str] = ()) -> list[Claim]:
    """Return the claims with these ids or topics in reading order, all for no ``names``.

    Raises:
        ValueError: for a name that is neither an id nor a topic.
    """
    names = set(names)
    asked = {name.partition(".")[0] for name in names}
    for topic in TOPICS:
        if topic in asked or not asked:
            _load(topic)
    claims = list(CLAIMS.values())
    topics = list(dict.fromkeys([*TOPICS, *(c.topic for c in claims)]))
    near = [c.id for c in claims if c.topic in asked]
    for name in names:
        validate.choice("claim or topic", name, near + topics)
    chosen = [c for c in claims if not names or {c.id, c.topic} & names]
    return sorted(chosen, key=lambda c: topics.index(c.topic))


def listed() -> list[tuple[str, str, str]]:
    """Return id, source and statement of every claim in reading order, read from the files:
    importing them takes seconds.
    """
    wanted = itemgetter("id", "source", "statement")
    return list(map(wanted, _words()))


def uses() -> dict[str, tuple[str, ...]]:
    """Return what each claim, in reading order, says that it rests on: labels of the
    book's boxes and ids of claims, read from the files.
    """
    return {w["id"]: w.get("uses", ()) for w in _words()}


def _words() -> Iterator[dict]:
    """Yield the words of each claim, as its file has them."""
    kept = {"source", "statement", "uses"}
    for path in itertools.chain.from_iterable(map(_files, TOPICS)):
        tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):
            match node:
                case ast.Call(ast.Name("claim"), [id], keywords):
                    said = {k.arg: k.value for k in keywords if k.arg in kept}
                    said["id"] = id
                    yield {k: ast.literal_eval(v) for k, v in said.items()}


def verify(id: str, scale: Scale = "book", block: int = 0) -> Verdict:
    """Return the verdict of the claim ``id`` at a ``scale``, on a ``block`` of seeds.

    Raises:
        ValueError: for an unknown id or scale, or a block < 0.
    """
    (found,) = verify_all(chosen([id]), scale, block=block)
    return found


def chosen(ids: Iterable[str]) -> list[Claim]:
    """Return the claims with these ``ids``, in their order.

    Raises:
        ValueError: for an unknown id.
    """
    topics = {id.partition(".")[0] for id in ids}
    known = [c.id for c in select(topics)]
    return [CLAIMS[validate.choice("claim", id, known)] for id in ids]


def runs() -> dict[str, Callable]:
    """Return the stored runs of all studies, by name."""
    paths = _FOLDER.glob("studies/[a-z]*.py")
    for path in sorted(paths):
        import_module(f"fl.studies.{path.stem}")
    return RUNS


def _load(topic: str) -> None:
    for path in _files(topic):
        import_module(f"fl.claims.{path.stem}")


def _files(topic: str) -> list[Path]:
    others = _FOLDER.glob(f"claims/{topic}_*.py")
    return [_FOLDER / "claims" / f"{topic}.py", *sorted(others)]
