"""helpers/autoencoder.py: training, scoring without torch, and what is kept of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.autoencoder import ROWS_AT_ONCE, Autoencoder, chosen_device

ROWS = ROWS_AT_ONCE + 500


def on_a_sheet(rows: int = ROWS, seed: int = 0) -> np.ndarray:
    """Seven inputs that follow three hidden ones, with a little noise."""
    generator = np.random.default_rng(seed)
    hidden, ways = generator.normal(size=(rows, 3)), np.random.default_rng(9).normal(size=(3, 7))
    return hidden @ ways / 2 + generator.normal(0, 0.05, size=(rows, 7))


@pytest.fixture(scope="module")
def inputs() -> np.ndarray:
    return on_a_sheet()


@pytest.fixture(scope="module")
def trained(inputs) -> Autoencoder:
    return Autoencoder(epochs=25).fit(inputs)


@pytest.fixture(scope="module")
def errors(trained, inputs) -> np.ndarray:
    return trained.reconstruction_error(inputs)


def test_it_rebuilds_what_it_knows_and_fails_on_the_strange(trained):
    ordinary = on_a_sheet(500, seed=1)
    strange = np.random.default_rng(2).permuted(ordinary, axis=0)
    known, unknown = trained.reconstruction_error(ordinary), trained.reconstruction_error(strange)
    assert np.median(unknown) > 10 * np.median(known)


def test_the_error_is_the_mean_square_over_the_inputs(trained, inputs):
    gap = inputs[:20] - trained.reconstruct(inputs[:20])
    np.testing.assert_allclose(trained.reconstruction_error(inputs[:20]), [np.mean(row**2) for row in gap])


def test_scoring_in_numpy_is_torch_s_forward_pass(trained, inputs):
    network = trained._network(7).double()
    linear = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
    for layer, (weights, bias) in zip(linear, trained.layers, strict=True):
        layer.load_state_dict({"weight": torch.as_tensor(weights.T), "bias": torch.as_tensor(bias)})
    with torch.no_grad():
        forward = network(torch.as_tensor(inputs)).numpy()
    np.testing.assert_allclose(trained.reconstruct(inputs), forward, rtol=1e-9, atol=1e-12)
    kinds = [type(layer).__name__ for layer in network]
    assert kinds == ["Linear", "Tanh", "Linear", "Linear", "Tanh", "Linear"]


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(1, ROWS - 1), max_size=8, unique=True))
def test_errors_have_the_same_bits_for_any_cut(trained, inputs, errors, cuts):
    cut = [trained.reconstruction_error(part) for part in np.split(inputs, sorted(cuts))]
    np.testing.assert_array_equal(np.concatenate(cut), errors)


def test_errors_have_the_same_bits_one_by_one_and_in_either_memory_order(trained, inputs, errors):
    one_by_one = [trained.reconstruction_error(inputs[i : i + 1])[0] for i in range(300)]
    np.testing.assert_array_equal(one_by_one, errors[:300])
    np.testing.assert_array_equal(trained.reconstruction_error(np.asfortranarray(inputs)), errors)
    assert trained.reconstruction_error(inputs[:0]).shape == (0,)


def test_scoring_leaves_the_inputs_alone(trained, inputs):
    before = inputs.copy()
    trained.reconstruct(inputs)
    np.testing.assert_array_equal(inputs, before)


def test_one_seed_one_network(trained, inputs):
    again, other = Autoencoder(epochs=25).fit(inputs), Autoencoder(epochs=25, seed=1).fit(inputs)
    assert again.to_bytes() == trained.to_bytes() and again.history == trained.history
    assert other.to_bytes() != trained.to_bytes()


def test_training_leaves_torch_s_generator_and_threads_alone(inputs):
    torch.set_num_threads(2)
    state = torch.random.get_rng_state()
    Autoencoder(epochs=1).fit(inputs)
    assert torch.equal(torch.random.get_rng_state(), state) and torch.get_num_threads() == 2


def test_a_generator_used_elsewhere_changes_nothing(trained, inputs):
    torch.manual_seed(5)
    assert Autoencoder(epochs=25).fit(inputs).to_bytes() == trained.to_bytes()


def test_training_stops_early_and_keeps_the_best_epoch(inputs):
    stopped = Autoencoder(epochs=100, patience=2).fit(inputs)
    held_out = [error for _, error in stopped.history]
    assert len(held_out) < 100
    latest = inputs[int(len(inputs) * 0.85) :]
    assert stopped.reconstruction_error(latest).mean() == pytest.approx(min(held_out), rel=1e-4)
    lowest, waited = held_out[0], 0
    for error in held_out[1:]:
        waited = 0 if error < 0.99 * lowest else waited + 1
        lowest = min(lowest, error)
    assert waited == 2


def test_the_held_out_rows_are_the_latest_and_teach_nothing(inputs):
    other = inputs.copy()
    other[int(len(inputs) * 0.85) :] *= 3
    one, same = Autoencoder(epochs=1).fit(inputs), Autoencoder(epochs=1).fit(other)
    assert one.to_bytes() == same.to_bytes() and one.history[0][1] != same.history[0][1]


def test_bytes_bring_the_same_scores_back(trained, inputs, errors, tmp_path):
    again = Autoencoder.from_bytes(trained.to_bytes())
    np.testing.assert_array_equal(again.reconstruction_error(inputs), errors)
    assert again.hidden == trained.hidden and again.to_bytes() == trained.to_bytes()
    trained.save(tmp_path / "a.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == trained.to_bytes()


def test_the_narrowest_layer_stays_linear_after_loading():
    rows = on_a_sheet(700)
    wide = Autoencoder(hidden=(8, 4, 2, 4, 8), epochs=1).fit(rows)
    again = Autoencoder.from_bytes(wide.to_bytes())
    np.testing.assert_array_equal(again.reconstruct(rows), wide.reconstruct(rows))


def test_as_few_rows_as_a_batch_needs_and_no_fewer():
    assert Autoencoder(epochs=1).fit(on_a_sheet(603)).layers
    with pytest.raises(ValueError, match="at least 603 presumed normal events to learn from, not 602"):
        Autoencoder(epochs=1).fit(on_a_sheet(602))
    with pytest.raises(ValueError, match="not 0: ask for more rows"):
        Autoencoder().fit(np.empty((0, 7)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_gaps_are_refused(value):
    rows = on_a_sheet(700)
    rows[5, 3] = value
    with pytest.raises(ValueError, match="finite inputs only"):
        Autoencoder(epochs=1).fit(rows)


def test_a_constant_input_and_identical_events_train_and_score():
    rows = on_a_sheet(700)
    rows[:, 4] = 0
    assert np.isfinite(Autoencoder(epochs=2).fit(rows).reconstruction_error(rows)).all()
    same = np.repeat(rows[:1], 700, axis=0)
    scored = Autoencoder(epochs=2).fit(same).reconstruction_error(same)
    assert np.isfinite(scored).all() and len(set(scored)) == 1


def test_cuda_without_a_card_and_other_words_are_refused_in_one_sentence(inputs, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for device in ("cuda", "gpu", ""):
        with pytest.raises(ValueError, match=f"There is no device '{device}' here: choose 'cpu' or 'auto'."):
            Autoencoder(device=device).fit(inputs)


def test_auto_takes_the_card_where_there_is_one(monkeypatch):
    for card, chosen in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda card=card: card)
        assert (chosen_device("auto"), chosen_device("cpu")) == (chosen, "cpu")


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_every_device_learns_the_same(trained, inputs, errors, device):
    """On a card sums are rounded otherwise; another seed differs by 8 % and correlates with 0.84."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch finds no NVIDIA card here")
    other = Autoencoder(epochs=25, device=device).fit(inputs)
    found = other.reconstruction_error(inputs)
    if chosen_device(device) == "cpu":
        np.testing.assert_array_equal(found, errors)
    assert np.median(found) == pytest.approx(np.median(errors), rel=0.02)
    assert np.corrcoef(np.log(found), np.log(errors))[0, 1] > 0.99
