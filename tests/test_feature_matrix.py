"""What trained weights remember of the preconditioner: special cases, invariances, limits, two independent routes."""

import numpy as np

from fl.simulate import feature_matrix as simulate
from fl.studies import feature_matrix as study
from fl.theory import feature_matrix as theory


def test_one_square_has_the_variance_of_chi_square():
    assert theory.variance(1) == 2


def test_a_unit_is_the_mean_of_its_squares():
    z = np.random.default_rng(3).standard_normal(7)
    assert np.isclose(simulate.mean_square(3, 7)["mean"], z @ z / 7)


def test_another_block_has_other_seeds(cache):
    blocks = [study.mean_squares("smoke", block)["seed"].values for block in (0, 1)]
    assert not set(blocks[0]) & set(blocks[1])
