"""Seeds of the noise."""

import torch

from aevb.training.noise import seed_noise


def test_noise_is_a_function_of_its_key():
    draws = []
    for key in ((0, 0, 100), (0, 0, 200), (0, 1, 100), (1, 0, 100), (0, 0, "test"), (0, 0, 100)):
        seed_noise(*key)
        draws.append(torch.rand(4))
    assert torch.equal(draws[0], draws[-1])
    for i in range(5):
        for j in range(i):
            assert not torch.equal(draws[i], draws[j])
