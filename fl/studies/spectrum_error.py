"""Studies of the chapter on the learned features: the error of the ridge read-out."""

from fl import scales
from fl.scales import Scale
from fl.simulate import spectrum as simulate
from fl.simulate.spectrum import Setting, Spiked, Step
from fl.studies.spectrum import RELU, SIN, SIN_COS, STEPS, TANH, Run, measure, tripled
from fl.tasks import Link

# link, activation, recipe
ERRORS = [
    (SIN, TANH, Spiked((1.5,), gamma=0.95)),
    (SIN, TANH, Spiked((2.0, 0.5), gamma=0.95)),
    (TANH, RELU, Spiked((1.5, -1.0), gamma=0.9)),
    (SIN_COS, RELU, Spiked((1.5, -1.5), gamma=0.95)),
    (SIN, TANH, Spiked((0.5, 1.0, 2.0))),  # nearly collinear blocks
]
# no step, then k = 1, 2, 4
BLOCKS = [(0.0,), (1.0,), (1.0, -1.0), (-2.0, -0.7, 0.7, 2.0)]


def errors(scale: Scale, block: int = 0) -> list[Run]:
    """Return the errors of `ERRORS` with noisy labels at two widths of ``scale``, with
    the draws of ``block``.
    """
    width = scales.at(scale, smoke=40, book=80, paper=500)
    seeds = scales.seeds(12, block)
    cases = []
    for link, activation, recipe in ERRORS:
        setting = Setting(activation, width, 2.0, 1.0, link, noise=0.01)
        cases.append((recipe, setting))
    return measure(simulate.error, seeds, tripled(cases))


def step_errors(scale: Scale, block: int = 0) -> list[Run]:
    """Return the errors of the trained tanh network with few and with many samples per
    neuron, then of the trained ReLU network with many, at a third of the width of
    ``scale`` and at the full one, with the draws of ``block``.
    """
    width = scales.at(scale, smoke=40, book=80, paper=500)
    seeds = scales.seeds(12, block)
    cases = []
    for i, alpha in [(0, 0.6), (0, 2.0), (1, 2.0)]:
        link, activation, step = STEPS[i]
        cases.append((step, Setting(activation, width, alpha, 1.0, link)))
    return measure(simulate.error, seeds, tripled(cases))


def untrained_errors(scale: Scale, block: int = 0) -> list[Run]:
    """Return the errors of the tanh network without a step, with few and with many
    samples per neuron, at ``scale``, with four draws of ``block``.
    """
    width = scales.at(scale, smoke=100, book=300, paper=1500)
    start = Spiked((0.0,))
    cases = [(start, Setting(TANH, width, alpha, 1.0)) for alpha in (0.6, 2.0)]
    return measure(simulate.error, scales.seeds(4, block), cases)


def large_batch(scale: Scale, block: int = 0) -> Run:
    """Return the error of the tanh network after a step on a batch with little noise,
    at ``scale``, with 16 draws of ``block``.
    """
    width = scales.at(scale, smoke=100, book=300, paper=1500)
    setting = Setting(TANH, width, 2.0, 1.0)
    step = Step(3.0, alpha0=60.0)
    seeds = scales.seeds(16, block)
    (run,) = measure(simulate.error, seeds, [(step, setting)])
    return run


def expressivity(scale: Scale, block: int = 0, activation: Link = RELU) -> list[Run]:
    """Return the errors of `BLOCKS` on a link with an odd and an even part, with an
    ``activation``, at a third of the width of ``scale`` and at the full one, with the draws of
    ``block``.
    """
    width = scales.at(scale, smoke=40, book=80, paper=500)
    seeds = scales.seeds(12, block)
    setting = Setting(activation, width, 2.0, 2.0, SIN_COS)
    cases = [(Spiked(r), setting) for r in BLOCKS]
    return measure(simulate.error, seeds, tripled(cases))
