"""helpers/autoencoder.py: training with torch, scoring without it."""

from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pytest
import torch
from sandbox import refused

from helpers.autoencoder import Autoencoder
from helpers.files import from_bytes, to_bytes


def on_a_sheet(rows: int = 2_000, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    hidden, ways = generator.normal(size=(rows, 3)), np.random.default_rng(9).normal(size=(3, 7))
    return hidden @ ways / 2 + generator.normal(0, 0.05, size=(rows, 7))


once = pytest.fixture(scope="module")
inputs = once(lambda: on_a_sheet())
trained = once(lambda inputs: Autoencoder(epochs=20).fit(inputs))


def test_it_rebuilds_what_it_knows_and_fails_on_the_strange(trained):
    known = on_a_sheet(500, seed=1)
    unknown = np.random.default_rng(2).permuted(known, axis=0)
    errors = [np.median(trained.reconstruction_error(rows)) for rows in (known, unknown)]
    assert errors[1] > 10 * errors[0]


@pytest.mark.parametrize(("hidden", "kinds"), [((), "LTLLTL"), ((8, 4, 2, 4, 8), "LTLTLLTLTL")])
def test_scoring_in_numpy_is_torchs_forward_pass_and_leaves_the_inputs_alone(inputs, hidden, kinds):
    fitted, before = Autoencoder(hidden, epochs=1).fit(inputs), inputs.copy()
    network = fitted._network(7)
    linear = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
    for layer, (weights, bias) in zip(linear, fitted.layers, strict=True):
        layer.load_state_dict({"weight": torch.as_tensor(weights.T), "bias": torch.as_tensor(bias)})
    with torch.no_grad():
        forward = network(torch.as_tensor(inputs, dtype=torch.float32)).numpy()
    np.testing.assert_allclose(fitted.reconstruct(inputs), forward, rtol=1e-4, atol=1e-6)
    errors = fitted.reconstruction_error(inputs)
    np.testing.assert_allclose(errors, ((inputs - forward) ** 2).mean(axis=1), rtol=1e-4)
    assert "".join(type(layer).__name__[0] for layer in network) == kinds  # linear, or tanh
    assert (inputs == before).all()
    again = from_bytes("x", to_bytes("x", fitted), {"Autoencoder": Autoencoder})
    np.testing.assert_array_equal(again.reconstruction_error(inputs), errors)


@pytest.mark.parametrize(("width", "hidden"), [(1, (16, 1, 16)), (7, (16, 3, 16)), (40, (40, 20, 40))])
def test_the_code_is_half_the_input_and_the_layers_beside_it_are_wide(width, hidden):
    rows = np.random.default_rng(0).normal(size=(700, width))
    fitted = Autoencoder(epochs=1).fit(rows)
    errors = fitted.reconstruction_error(rows)
    one_by_one = [fitted.reconstruction_error(rows[i : i + 1])[0] for i in range(70)]
    assert fitted.hidden == hidden and (one_by_one == errors[:70]).all()
    np.testing.assert_array_equal(fitted.reconstruction_error(rows[:0:-1]), errors[:0:-1])


def test_one_seed_one_network_whatever_torch_did_before_and_it_is_left_alone(trained, inputs):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    again = Autoencoder(epochs=20).fit(inputs)
    assert torch.equal(torch.random.get_rng_state(), state) and torch.get_num_threads() == 2
    torch.set_num_threads(threads)
    assert to_bytes("x", again) == to_bytes("x", trained)
    assert Autoencoder(epochs=1, seed=1).fit(inputs).history[0] != trained.history[0]


def test_training_stops_early_and_keeps_the_best_epoch(inputs):
    stopped = Autoencoder(epochs=100, patience=2, learning_rate=0.02).fit(inputs)
    held_out = [error for _, error in stopped.history]
    kept = stopped.reconstruction_error(inputs[1_700:]).mean()
    assert len(held_out) < 100 and kept == pytest.approx(min(held_out), rel=1e-4)
    lower = [error < 0.99 * min(held_out[:i]) for i, error in enumerate(held_out) if i]
    assert not any(lower[-2:]) and all(a or b for a, b in pairwise(lower[:-1]))


def test_the_held_out_rows_are_the_latest_and_teach_nothing(inputs):
    other = np.r_[inputs[:1_700], 3 * inputs[1_700:]]
    one, two = Autoencoder(epochs=1).fit(inputs), Autoencoder(epochs=1).fit(other)
    np.testing.assert_equal(asdict(one) | {"history": 0}, asdict(two) | {"history": 0})
    (train, held_out), (same_train, larger) = one.history[0], two.history[0]
    assert train == same_train and larger > held_out
    assert 0.5 * (inputs**2).mean() < train < 1.5 * (inputs**2).mean()  # of an untrained network, a row


def test_enough_rows_are_there_or_it_is_said_and_auto_takes_a_card_where_there_is_one(inputs, monkeypatch):
    assert Autoencoder(epochs=1).fit(on_a_sheet(603)).layers
    with refused(r"at least 603 presumed normal events to learn from, not 602: ask"):
        Autoencoder(epochs=1).fit(on_a_sheet(602))
    for card, chosen in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda card=card: card)
        monkeypatch.setattr(torch.nn.Sequential, "to", lambda network, device: pytest.fail(device))
        with pytest.raises(pytest.fail.Exception, match=chosen):
            Autoencoder(device="auto").fit(inputs)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no NVIDIA card here")
def test_a_card_learns_the_same(trained, inputs):
    """On a card sums are rounded otherwise; another seed differs by 8 % and correlates with 0.84."""
    errors = trained.reconstruction_error(inputs)
    found = Autoencoder(epochs=20, device="cuda").fit(inputs).reconstruction_error(inputs)
    assert np.median(found) == pytest.approx(np.median(errors), rel=0.02)
    assert np.corrcoef(np.log(found), np.log(errors))[0, 1] > 0.99
