"""FSA's links in PyTorch; the contract is `core.primitives.links`."""

import torch

from core.primitives.arrays import Array
from torch_backend.primitives.ops import asarray

__all__ = ["link_weights"]

BINS = 2048


def link_weights(divergence: Array, sharpness: float, mass: float | None = None) -> torch.Tensor:
    similarity = (1 + asarray(divergence)).reciprocal()
    logits = similarity * (similarity * sharpness).exp()
    if mass is not None and similarity.numel():
        logits = logits.masked_fill_(similarity < _weakest_kept(similarity.detach(), mass), -torch.inf)
    return torch.softmax(logits, dim=-1)


def _weakest_kept(similarity: torch.Tensor, mass: float) -> torch.Tensor:
    """A number that parts those that are kept from the others: (..., N) -> (..., 1).

    A histogram of each row tells in which bin the mass is reached, from the largest down; only that bin is sorted. Equal
    entries share a bin. Where not even the largest entry of that bin fits, only those above it stay.
    """
    largest, smallest = similarity.amax(dim=-1, keepdim=True), similarity.amin(dim=-1, keepdim=True)
    bins = (largest - similarity) * ((BINS - 1) / (largest - smallest).clamp_(min=1e-30))
    bins = bins.long().clamp_(0, BINS - 1)
    weights = (similarity - largest).exp_()
    held = weights.new_zeros(*weights.shape[:-1], BINS).scatter_add_(-1, bins, weights).cumsum_(dim=-1)
    limit = held[..., -1:] * mass
    edge = torch.searchsorted(held, limit, right=True).clamp_(max=BINS - 1)
    elsewhere = bins != edge
    n_inside = similarity.shape[-1] - elsewhere.sum(dim=-1, keepdim=True)
    inside = similarity.masked_fill(elsewhere, -torch.inf).topk(max(int(n_inside.max()), 1)).values
    before = held.gather(-1, (edge - 1).clamp_(min=0)).masked_fill_(edge == 0, 0)
    fits = before + (inside - largest).exp_().cumsum_(dim=-1) <= limit
    n_kept = torch.minimum(fits.sum(dim=-1, keepdim=True), n_inside).clamp_(min=edge == 0)
    weakest = inside.gather(-1, (n_kept - 1).clamp_(min=0))
    return torch.where(n_kept > 0, weakest, torch.nextafter(weakest, largest))
