"""The transforms of Transform Quantization (Young et al., TPAMI 2021, arXiv 2009.01174): a kernel
as a product ``Theta = S T`` of a basis and transformed kernels whose covariance is diagonal.

All functions see the kernel as ``[n, ...]``, with the transformed dimension first: outputs for a
column transform, inputs for a row transform.

* KLT: U are the eigenvectors of ``C_tt``, the covariance of the weights across n; orthogonal.
* ELT: also the covariance ``C_gg`` of the outputs' gradients becomes diagonal:
  ``C_tt U = C_gg^-1 U Lambda``, ``U^t C_gg^-1 U = I``. U need not be orthogonal.

``T = U^t Theta`` and ``S = U^-t``, with columns of S of length 1, in order of falling variance.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from sigbit.ir.convolution import row_major_convolutions

Transform = Literal["klt", "elt", "identity"]

_REGULARIZATION = 1e-3


def weight_covariance(theta: Tensor) -> Tensor:
    """``C_tt`` ``[n, n]`` (float64): ``theta theta^t`` over all other dimensions, divided by the
    size of the second one; means are not removed."""
    rows = theta.detach().double().flatten(1)
    return rows @ rows.T / theta.shape[1]


@torch.enable_grad()
@row_major_convolutions()
def gradient_covariance(
    model: nn.Module, weight: nn.Parameter, inputs: Tensor, dimension: int
) -> Tensor:
    """``C_gg`` ``[n, n]`` (float64) along ``dimension`` of ``weight``: covariance of the gradients
    of every output of ``model`` for every one of ``inputs``, summed; regularized so that it is
    invertible."""
    total = torch.zeros(weight.shape[dimension], weight.shape[dimension], dtype=torch.float64)
    for x in inputs.split(1):
        outputs = model(x).flatten()
        for i in range(len(outputs)):
            (g,) = torch.autograd.grad(outputs[i], weight, retain_graph=i + 1 < len(outputs))
            rows = g.transpose(0, dimension).flatten(1).double().cpu()
            total += rows @ rows.T
    size = float(torch.linalg.matrix_norm(total))
    return total + _REGULARIZATION * max(size, 1e-30) * torch.eye(len(total), dtype=torch.float64)


def basis(c_tt: Tensor, c_gg: Tensor | None = None) -> Tensor:
    """U ``[n, n]`` of the KLT, or with ``c_gg`` of the ELT, in descending order of variance."""
    if c_gg is None:
        vectors = torch.linalg.eigh(c_tt).eigenvectors
        return vectors.flip(1)
    root = torch.linalg.cholesky(c_gg)
    vectors = torch.linalg.eigh(root.T @ c_tt @ root).eigenvectors
    return root @ vectors.flip(1)


def factors(theta: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """(S ``[n, n]``, T ``[n, ...]``) in float64 with ``S T == theta``, columns of S of length 1."""
    s = torch.linalg.inv(u).T
    s = s / s.norm(dim=0)
    t = torch.linalg.solve(s, theta.detach().double().flatten(1))
    return s, t.view(theta.shape)


def coding_gain(u: Tensor, c_tt: Tensor, c_gg: Tensor | None = None) -> float:
    """G: the geometric mean of ``(C_gg)_kk (C_tt)_kk`` before the transform divided by that after
    it; worth ``log2(G) / 2`` bits per weight."""
    gg = torch.eye(len(u), dtype=u.dtype) if c_gg is None else c_gg
    inverse, tiny = torch.linalg.inv(u), torch.finfo(torch.float64).tiny

    def logs(c: Tensor) -> Tensor:
        return c.diagonal().clamp(min=tiny).log()

    before = logs(gg) + logs(c_tt)
    after = logs(inverse @ gg @ inverse.T) + logs(u.T @ c_tt @ u)
    return float((before - after).mean().exp())
