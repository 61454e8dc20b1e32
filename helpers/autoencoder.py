"""The autoencoder: a small network that learns to rebuild ordinary events and fails on strange ones."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Self

import numpy as np

from helpers.rows import in_blocks, row_sums


@dataclass
class Autoencoder:
    """Reconstruction error as anomaly score; scikit-learn's `fit` convention, trained with torch.

    Attributes:
        hidden: widths between input and output; if not given, the narrowest one, the code, has half as many
            numbers as the input and those beside it 16, or as many as the input: (16, 3, 16) for seven.
        epochs, patience: at most so many passes over the training rows, and so many without a held-out
            error at least 1 % lower.
        held_out: share of the rows, the latest ones, that only watch.
        batch, learning_rate: rows a step; Adam's.
        seed: of the weights and the shuffling.
        device: where torch trains: "cpu", "cuda", or "auto", which is "cuda" where there is a card. Scoring
            is numpy, everywhere the same.
        layers: after `fit`, (weights, bias) of each layer.
        history: after `fit`, one (training, held-out) mean squared error an epoch.
    """

    hidden: tuple[int, ...] = ()
    epochs: int = 100
    patience: int = 5
    held_out: float = 0.15
    batch: int = 512
    learning_rate: float = 5e-3
    seed: int = 0
    device: str = "cpu"
    layers: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list, repr=False)
    history: list[tuple[float, float]] = field(default_factory=list, repr=False)

    def fit(self, inputs: np.ndarray) -> Self:
        """Learn to rebuild (n, k) scaled inputs, in time order."""
        import torch

        n_train = int(len(inputs) * (1 - self.held_out))
        if n_train < self.batch:
            raise ValueError(
                f"An autoencoder needs at least {int(self.batch / (1 - self.held_out)) + 1} presumed normal "
                f"events to learn from, not {len(inputs)}: ask for more rows."
            )
        device = self.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if not self.hidden:
            width = inputs.shape[1]
            self.hidden = (max(16, width), max(1, width // 2), max(16, width))
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # small tensors are slower on many
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                network = self._network(inputs.shape[1]).to(device)
                rows = torch.tensor(inputs, dtype=torch.float32, device=device)
                best = self._train(network, rows[:n_train], rows[n_train:])
        finally:
            torch.set_num_threads(threads)
        arrays = [best[name].cpu().numpy() for name in best]
        self.layers = [(w.T.copy(), b) for w, b in zip(arrays[::2], arrays[1::2], strict=True)]
        return self

    def _network(self, width: int):
        """Fully connected layers, tanh after all but the code and the output."""
        from torch import nn

        widths = (width, *self.hidden, width)
        parts: list[nn.Module] = []
        for depth, (before, after) in enumerate(pairwise(widths)):
            parts.append(nn.Linear(before, after))
            if self._bends(depth):
                parts.append(nn.Tanh())
        return nn.Sequential(*parts)

    def _bends(self, depth: int) -> bool:
        """Whether a layer is followed by tanh: the narrowest one, the code, and the output are linear."""
        return depth < len(self.hidden) and self.hidden[depth] != min(self.hidden)

    def _train(self, network, train, watched) -> dict:
        """Adam until the held-out error stops falling; the best epoch's weights."""
        import torch

        optimiser = torch.optim.Adam(network.parameters(), lr=self.learning_rate, fused=True)
        mean_squared = torch.nn.functional.mse_loss
        lowest, waited, best = np.inf, 0, {}
        self.history = []
        for _ in range(self.epochs):
            total = 0.0
            for picked in torch.randperm(len(train)).split(self.batch):
                rows = train[picked.to(train.device)]
                loss = mean_squared(network(rows), rows)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                total += loss.item() * len(rows)
            with torch.no_grad():
                held_out = mean_squared(network(watched), watched).item()
            self.history.append((total / len(train), held_out))
            waited = 0 if held_out < 0.99 * lowest else waited + 1
            if held_out < lowest:
                lowest = held_out
                best = {name: value.detach().clone() for name, value in network.state_dict().items()}
            if waited >= self.patience:
                break
        return best

    def _rebuilt(self, rows: np.ndarray) -> np.ndarray:
        """What the network makes of a block of rows, in single precision, as torch does; einsum, unlike BLAS,
        adds in one order everywhere."""
        columns = np.ascontiguousarray(rows.T, dtype=np.float32)
        for depth, (weights, bias) in enumerate(self.layers):
            columns = np.einsum("km,kn->mn", weights, columns) + bias[:, None]
            if self._bends(depth):
                columns = np.tanh(columns)
        return columns.T

    def reconstruct(self, inputs: np.ndarray) -> np.ndarray:
        """Rebuild (n, k) scaled inputs."""
        return in_blocks(self._rebuilt, inputs)

    def reconstruction_error(self, inputs: np.ndarray) -> np.ndarray:
        """The anomaly score: squared error averaged over the inputs; (n, k) -> (n,)."""
        return row_sums((inputs - self.reconstruct(inputs)) ** 2) / inputs.shape[1]
