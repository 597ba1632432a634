"""Sinusoids: their frequencies, and that neighbouring positions can be told apart."""

import math

import torch

from daep_ray.nn.embed import Sinusoids


def test_frequencies_are_log_spaced_between_the_scales() -> None:
    frequencies = Sinusoids((30.0, 2.0), 0.5, 5).frequencies
    assert frequencies.shape == (2, 5)
    torch.testing.assert_close(frequencies[:, 0], torch.tensor([30.0, 2.0]))
    torch.testing.assert_close(frequencies[:, -1], torch.tensor([0.5, 0.5]))
    ratios = frequencies[:, 1:] / frequencies[:, :-1]
    torch.testing.assert_close(ratios, ratios[:, :1].expand(-1, 4))


def test_features_are_sine_and_cosine() -> None:
    features = Sinusoids((4.0,), 4.0, 1)(torch.tensor([[math.pi / 16]]))
    torch.testing.assert_close(features, torch.full((1, 2), math.sqrt(0.5)))


def test_no_positions_give_no_features() -> None:
    assert Sinusoids((), 0.5, 4)(torch.zeros(3, 0)).shape == (3, 0)
