"""Which claims the book has: the topics in reading order, each loaded when asked for.

The claims of a topic are in ``fl/claims/<topic>.py`` and, where there are many, in further
modules ``<topic>_*.py`` beside it.
"""

import ast
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
    asked = set(map(_topic, names)) or set(TOPICS)
    wanted = [topic for topic in TOPICS if topic in asked]
    for path in _files(wanted):
        import_module(f"fl.claims.{path.stem}")
    return [CLAIMS[id] for id in named(names, CLAIMS)]


def named(names: Iterable[str], ids: Iterable[str]) -> list[str]:
    """Return which of the ``ids`` of claims the ``names``, ids or topics, mean, in reading
    order; all for no ``names``.

    Raises:
        ValueError: for a name that is neither one of the ids nor a topic.
    """
    names = set(names)
    asked = set(map(_topic, names))
    topics = list(dict.fromkeys([*TOPICS, *map(_topic, ids)]))
    near = [id for id in ids if _topic(id) in asked]
    for name in names:
        validate.choice("claim or topic", name, near + topics)
    chosen = [id for id in ids if not names or {id, _topic(id)} & names]
    return sorted(chosen, key=lambda id: topics.index(_topic(id)))


def _topic(name: str) -> str:
    return name.partition(".")[0]


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
    for path in _files(TOPICS):
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
    (found,) = verify_all(chosen([id]), scale, blocks=[block])
    return found


def chosen(ids: Iterable[str]) -> list[Claim]:
    """Return the claims with these ``ids``, in their order.

    Raises:
        ValueError: for an unknown id.
    """
    known = [c.id for c in select(map(_topic, ids))]
    return [CLAIMS[validate.choice("claim", id, known)] for id in ids]


def runs() -> dict[str, Callable]:
    """Return the stored runs of all studies, by name."""
    for path in sorted(_FOLDER.glob("studies/[a-z]*.py")):
        import_module(f"fl.studies.{path.stem}")
    return RUNS


def _files(topics: Iterable[str]) -> Iterator[Path]:
    for topic in topics:
        yield _FOLDER / "claims" / f"{topic}.py"
        yield from sorted(_FOLDER.glob(f"claims/{topic}_*.py"))
