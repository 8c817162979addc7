"""Between this computer's memory and a device's, without either waiting for the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

__all__ = ["iter_on_host", "put_on_device"]


def put_on_device(planes: np.ndarray, device: torch.device | str) -> Tensor:
    """(Z, X, Y) float32 tensor on a device of (X, Y, Z) planes, which travel in their own type.

    An image read from NIfTI lies in memory as the transpose, and is not rearranged here.
    """
    host = torch.from_numpy(np.ascontiguousarray(planes.T))
    if torch.device(device).type == "cuda":
        host = host.pin_memory()
    return host.to(device, non_blocking=True).float().transpose(1, 2)


def iter_on_host(results: Iterable[Tensor]) -> Iterator[np.ndarray]:
    """Tensors as arrays of this computer's memory, in their order: each is copied while the next is computed."""
    waiting: tuple[Tensor, torch.cuda.Event | None] | None = None
    for result in results:
        host = torch.empty(result.shape, dtype=result.dtype, pin_memory=result.is_cuda)
        host.copy_(result, non_blocking=True)
        copied = torch.cuda.current_stream(result.device).record_event() if result.is_cuda else None
        if waiting:
            yield _wait(*waiting)
        waiting = host, copied
    if waiting:
        yield _wait(*waiting)


def _wait(host: Tensor, copied: torch.cuda.Event | None) -> np.ndarray:
    if copied:
        copied.synchronize()
    return host.numpy()
