"""The claims engine: a statement, the evidence for it, and a control that has to fail.

A claim is a function of ``(scale, broken, block)`` that returns `Evidence`. With
``broken=True`` it runs the same check with one hypothesis broken; a claim stands only
if the check holds and the broken check does not.
"""

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Literal

import numpy as np

from fl import validate
from fl.scales import SCALES, Scale
from fl.sweep import cached, evaluate

CLAIMS: dict[str, "Claim"] = {}


@dataclass(frozen=True)
class Evidence:
    """One prediction held against one measurement.

    ``relation`` says what holds means: ``equal`` for ``abs(measured - predicted) <=
    tolerance``, ``at most`` for ``measured <= predicted + tolerance``, ``at least`` for
    ``measured >= predicted - tolerance``. ``reason`` says where the tolerance comes
    from; ``sizes`` holds the dimensions, sample sizes and seeds used.
    ``standard_error`` is None where nothing is sampled.
    """

    predicted: float
    measured: float
    tolerance: float
    reason: str
    standard_error: float | None = None
    relation: Literal["equal", "at most", "at least"] = "equal"
    sizes: dict = field(default_factory=dict)

    def __post_init__(self):
        validate.choice("relation", self.relation, ["equal", "at most", "at least"])
        # plain values: the record has to survive JSON, whatever types it was made from
        plain = {
            "predicted": validate.number("predicted", self.predicted),
            "measured": float(self.measured),
            "tolerance": validate.number("tolerance", self.tolerance, 0),
            "sizes": _plain(self.sizes),
        }
        if self.standard_error is not None:
            error = validate.number("standard_error", self.standard_error, 0)
            plain["standard_error"] = error
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    @property
    def holds(self) -> bool:
        """Whether the measurement is where the prediction puts it; NaN and infinity
        never hold.
        """
        gap = self.measured - self.predicted
        within = {"equal": abs(gap), "at most": gap, "at least": -gap}[self.relation]
        return bool(np.isfinite(self.measured) and within <= self.tolerance)


@dataclass(frozen=True)
class Claim:
    """A statement, its source (``paper KEY``, ``derived``, ``observed``), and the
    hypothesis its control breaks.
    """

    id: str
    statement: str
    source: str
    control: str
    function: Callable = field(repr=False)

    @property
    def topic(self) -> str:
        """The part of the id before the point; also the name of the chapter."""
        return self.id.split(".")[0]


@dataclass(frozen=True)
class Verdict:
    """A claim after its evaluation; the fields are the keys of the JSON record."""

    id: str
    topic: str
    statement: str
    source: str
    predicted: float
    measured: float
    standard_error: float | None
    relation: str
    tolerance: float
    reason: str
    holds: bool
    control: str
    control_fails: bool
    sizes: dict
    scale: str
    seconds: float

    @property
    def stands(self) -> bool:
        """Whether the claim holds and its control fails as it must."""
        return self.holds and self.control_fails

    def record(self) -> dict:
        """Return the verdict as plain numbers, strings and dictionaries, ready for
        JSON, which has no NaN: None.
        """
        return {
            k: None if isinstance(v, float) and not np.isfinite(v) else v
            for k, v in asdict(self).items()
        }


def claim(id: str, *, statement: str, source: str, control: str) -> Callable:
    """Register the decorated function ``(scale, broken) -> Evidence`` as the claim
    ``id``.

    Raises:
        ValueError: if the id is taken or has no topic, or the source is none of the
            three kinds.
    """
    if id in CLAIMS or not re.fullmatch(r"[a-z]\w*\.[a-z]\w*", id):
        raise ValueError(f"id = {id!r}: must be a new name of the form topic.name")
    if not re.fullmatch(r"paper \w+.*|derived|observed", source):
        raise ValueError(
            f"source = {source!r}: must be 'paper KEY', 'derived' or 'observed'"
        )
    for name, text in [("statement", statement), ("control", control)]:
        if not text.strip():
            raise ValueError(f"{name} = {text!r}: must say something")

    def register(function: Callable) -> Callable:
        CLAIMS[id] = Claim(id, statement, source, control, function)
        return function

    return register


def select(names: Iterable[str] = ()) -> list[Claim]:
    """Return the claims with these ids or topics, in the order of registration; all of
    them for no names.

    Raises:
        ValueError: for a name that is neither an id nor a topic.
    """
    names = list(names)
    known = set(CLAIMS) | {c.topic for c in CLAIMS.values()}
    for name in names:
        validate.choice("claim or topic", name, sorted(known))
    return [
        c for c in CLAIMS.values() if not names or c.id in names or c.topic in names
    ]


def verify(id: str, scale: Scale = "book") -> Verdict:
    """Evaluate one claim and its control, or read the stored verdict of the same
    source.

    Raises:
        ValueError: for an unknown id or scale.
    """
    validate.choice("claim", id, CLAIMS)
    validate.choice("scale", scale, SCALES)
    return cached(run, id=id, scale=scale)


def verify_all(
    claims: Iterable[Claim], scale: Scale = "book", jobs: int | None = None
) -> list[Verdict]:
    """Evaluate several claims, in parallel, each stored as it finishes."""
    validate.choice("scale", scale, SCALES)
    return evaluate(run, [{"id": c.id, "scale": scale} for c in claims], jobs)


def run(id: str, scale: Scale) -> Verdict:
    """Evaluate the claim ``id`` and its control, without looking for a stored verdict."""
    from fl import claims  # noqa: F401, a fresh worker has to fill the registry first

    c, start = CLAIMS[id], time.perf_counter()
    evidence, broken = c.function(scale, False, 0), c.function(scale, True, 0)
    if (evidence.relation, evidence.reason) != (broken.relation, broken.reason):
        raise ValueError(
            f"{id}: the control must be the same check: same relation, same reason for the tolerance"
        )
    return Verdict(
        id=c.id,
        topic=c.topic,
        statement=c.statement,
        source=c.source,
        predicted=evidence.predicted,
        measured=evidence.measured,
        standard_error=evidence.standard_error,
        relation=evidence.relation,
        tolerance=evidence.tolerance,
        reason=evidence.reason,
        holds=evidence.holds,
        control=c.control,
        control_fails=bool(np.isfinite(broken.measured)) and not broken.holds,
        sizes=evidence.sizes,
        scale=scale,
        seconds=round(time.perf_counter() - start, 3),
    )


def _plain(value):
    """Return ``value`` with numpy's numbers and arrays as Python's own; the sizes of a
    claim hold nothing else.
    """
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, range)):
        return [_plain(v) for v in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else str(value)
    raise ValueError(
        f"sizes holds {value!r}: must be numbers, strings, lists and dictionaries of them"
    )
