"""The claims engine: a statement, the evidence for it, and a control that has to fail.

A claim is a function of ``(scale, broken, block)`` that returns `Evidence`. With
``broken=True`` it runs the same check with one hypothesis broken; a claim stands only
if the check holds and the broken check does not.
"""

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, fields
from typing import Literal

import numpy as np

from fl import validate
from fl.keys import function_name
from fl.scales import SCALES, Scale
from fl.store import evaluate

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
    """Return a decorator for a function ``(scale, broken, block) -> Evidence``.

    Args:
        id: its name, ``topic.name``; the same function may be defined again.
        statement: what is claimed.
        source: ``paper KEY``, ``derived`` or ``observed``.
        control: the hypothesis that ``broken=True`` breaks.

    Raises:
        ValueError: if another function has the id, the id has no topic, the source is
            none of the three kinds, or a text is empty.
    """
    if not re.fullmatch(r"[a-z]\w*\.[a-z]\w*", id):
        raise ValueError(f"id = {id!r}: must be a new name of the form topic.name")
    if not re.fullmatch(r"paper \w+.*|derived|observed", source):
        raise ValueError(
            f"source = {source!r}: must be 'paper KEY', 'derived' or 'observed'"
        )
    for name, text in [("statement", statement), ("control", control)]:
        if not text.strip():
            raise ValueError(f"{name} = {text!r}: must say something")

    def register(function: Callable) -> Callable:
        made = Claim(id, statement, source, control, function)
        known = CLAIMS.get(id, made)
        # a cell that runs again, or a module that is loaded again, replaces its claim
        if function_name(known.function) != function_name(function):
            raise ValueError(f"id = {id!r}: must be a new name of the form topic.name")
        CLAIMS[id] = made
        return function

    return register


def verify_all(
    claims: Iterable[Claim],
    scale: Scale = "book",
    jobs: int | None = None,
    block: int = 0,
) -> list[Verdict]:
    """Evaluate claims and their controls, in parallel, each stored as it finishes.

    Args:
        claims: in the order in which they are started and returned.
        scale: ``smoke``, ``book`` or ``paper``.
        jobs: worker processes; ``FL_JOBS`` or the number of cores if None.
        block: of seeds; 0 for those of the book.

    Returns:
        A verdict a claim, stored ones where nothing that they depend on has changed.

    Raises:
        ValueError: for an unknown scale or a block < 0.
    """
    validate.choice("scale", scale, SCALES)
    validate.count("block", block, minimum=0)
    units = [{"claim": c, "scale": scale, "block": block} for c in claims]
    return evaluate(verdict, units, jobs, in_order=True)


def verdict(claim: Claim, scale: Scale, block: int) -> Verdict:
    """Return the verdict on ``claim`` at a ``scale``, on a ``block`` of seeds.

    Raises:
        ValueError: if the control is not the same check.
    """
    start = time.perf_counter()
    evidence, broken = (claim.function(scale, side, block) for side in (False, True))
    if (evidence.relation, evidence.reason) != (broken.relation, broken.reason):
        raise ValueError(
            f"{claim.id}: the control must be the same check: same relation, same reason "
            "for the tolerance"
        )
    found = {f.name: getattr(evidence, f.name) for f in fields(evidence)}
    return Verdict(
        id=claim.id,
        topic=claim.topic,
        statement=claim.statement,
        source=claim.source,
        control=claim.control,
        holds=evidence.holds,
        control_fails=bool(np.isfinite(broken.measured)) and not broken.holds,
        scale=scale,
        seconds=round(time.perf_counter() - start, 3),
        **found,
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
