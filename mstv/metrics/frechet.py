"""The Frechet distance of two normal distributions, given by samples that are never all kept."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def frechet_distance(
    mean_a: Float[Tensor, " D"],
    covariance_a: Float[Tensor, "D D"],
    mean_b: Float[Tensor, " D"],
    covariance_b: Float[Tensor, "D D"],
) -> float:
    """Squared 2-Wasserstein distance of two normal distributions (Dowson & Landau 1982), in float64.

    |mean_a - mean_b|^2 + tr(A) + tr(B) - 2 tr((A B)^(1/2)). With A = L L', B = M M' the last trace is the sum of the
    singular values of L' M. So nothing asymmetric is ever decomposed, and singular covariances (fewer samples than
    features) need no epsilon on the diagonal.

    Returns:
        A distance of at least 0.
    """
    roots = [_root(covariance) for covariance in (covariance_a, covariance_b)]
    cross = torch.linalg.svdvals(roots[0].T @ roots[1]).sum()
    apart = (mean_a.double() - mean_b.double()).square().sum()
    distance = apart + covariance_a.double().trace() + covariance_b.double().trace() - 2 * cross
    return max(0.0, distance.item())


def frechet_distance_of_samples(a: Float[Tensor, "N D"], b: Float[Tensor, "M D"]) -> float:
    """The distance of the normal distributions with the means and unbiased covariances of samples, in float64.

    The roots of the covariances are the centred samples themselves where they are fewer than the features.

    Args:
        a: at least 2 samples.
        b: at least 2 samples.

    Returns:
        A distance of at least 0.

    Raises:
        ValueError: fewer samples.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"a Frechet distance needs at least 2 samples of each side, not {len(a)} and {len(b)}")
    means, roots = [], []
    for samples in (a.double(), b.double()):
        means.append(samples.mean(0))
        centred = (samples - means[-1]) / (len(samples) - 1) ** 0.5
        roots.append(centred.T if len(samples) <= samples.shape[1] else _root(centred.T @ centred))
    cross = torch.linalg.svdvals(roots[0].T @ roots[1]).sum()
    variances = sum(root.square().sum() for root in roots)
    return max(0.0, ((means[0] - means[1]).square().sum() + variances - 2 * cross).item())


def _root(covariance: Float[Tensor, "D D"]) -> Float[Tensor, "D rank"]:
    """L with L L' = covariance; directions whose variance is rounding are left out."""
    variance, directions = torch.linalg.eigh(covariance.double())
    kept = variance > variance[-1] * len(variance) * torch.finfo(torch.float64).eps
    return directions[:, kept] * variance[kept].sqrt()


def mean_and_covariance(
    count: Int[Tensor, ""], total: Float[Tensor, " D"], outer: Float[Tensor, "D D"]
) -> tuple[Float[Tensor, " D"], Float[Tensor, "D D"]]:
    """Mean and unbiased covariance from sums of samples.

    Args:
        count: samples, at least 2.
        total: their float64 sum.
        outer: the float64 sum of their outer products.
    """
    mean = total / count
    covariance = (outer - count * torch.outer(mean, mean)) / (count - 1)
    return mean, (covariance + covariance.T) / 2
