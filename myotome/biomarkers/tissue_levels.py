"""How bright muscle and fat are around a structure in an MR slice, and how the coil's sensitivity varies over it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.ndimage import binary_dilation, distance_transform_edt, gaussian_filter1d, uniform_filter
from scipy.special import ndtr

__all__ = ["REACH_MM", "TissueLevels", "compute_otsu_threshold", "fit_tissue_levels"]

REACH_MM = 40.0
_WIDER_MM = 60.0
_PASSES = (0.5, 0.75, 1.0)  # radii of the fit's passes, as shares of its reach; the field gains an order in each
_STEPS, _STEPS_WITHOUT_FIELD = 10, 3
_FIELD_UNIT_MM = 50.0
_LOWEST_FIELD = 0.05
_POWERS = tuple((i, j) for i in range(4) for j in range(4 - i))
_DEGREES = np.array([i + j for i, j in _POWERS])
_MOST_PIXELS, _FEW_PIXELS = 4000, 1200
_FAT_GUESSES = (1.0, 0.85)
_FEWEST_PIXELS = 200
_LIT = 0.08  # of the bright pixels' level; darker pixels are air or bone
_FEW_SATURATED = 20  # pixels of the image's highest value; more of them are cut off at the scale's end
_EVEN, _EVEN_PERCENTILE = 1.5, 20  # even pixels vary at most 1.5 times as much as the most even fifth
_BINS = 128
_TALL, _SEEN = 0.3, 0.1  # muscle's peak, as a share of the tallest where it can lie, and of the tallest of all
_MUSCLE_RANGE = (0.08, 0.72)  # where muscle's peak can lie, as a share of fat's level
_OUTSIDE = 2.5  # standard deviations beyond a level at which a pixel is darker or brighter tissue
_SD_RANGE = (0.01, 0.25)  # of the contrast
_MARROW_RANGE = (0.55, 0.90)  # of the way from muscle to fat


@dataclass(frozen=True, eq=False)
class TissueLevels:
    """Levels of muscle and fat, and the coil's field, by which the image is divided to have these levels.

    ``field`` has the image's shape and a mean of 1 over the structure; it is 1 beyond the reach of the fit.
    """

    muscle: float
    fat: float
    field: np.ndarray

    @property
    def contrast(self) -> float:
        return self.fat - self.muscle


@dataclass(frozen=True, eq=False)
class _Mixture:
    """Levels and spreads of muscle, fat and marrow, weights of the six classes, coefficients of the field."""

    levels: np.ndarray
    sds: np.ndarray
    weights: np.ndarray
    coefficients: np.ndarray


@dataclass(frozen=True, eq=False)
class _Pixels:
    """Values, field basis and distance from the structure (1 at the reach) of the pixels that are fitted."""

    values: np.ndarray
    basis: np.ndarray
    away: np.ndarray
    mean_basis: np.ndarray

    def take(self, chosen: np.ndarray | slice) -> _Pixels:
        return _Pixels(self.values[chosen], self.basis[chosen], self.away[chosen], self.mean_basis)

    def thin(self, count: int) -> _Pixels:
        """About ``count`` of the pixels, spread evenly."""
        return self.take(slice(None, None, max(1, len(self.values) // count)))


def compute_otsu_threshold(values: np.ndarray) -> float | None:
    """Otsu's threshold: the cut that leaves the greatest variance between its two sides; exact, without a histogram.

    Source: Otsu, IEEE Trans Syst Man Cybern 1979;9:62-66. Among equal cuts the lowest; it lies halfway between two
    neighbouring values. ``None`` for fewer than two different values.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64).ravel())
    if ordered.size < 2 or ordered[0] == ordered[-1]:
        return None
    low, total = np.cumsum(ordered)[:-1], ordered.sum()
    count = np.arange(1, ordered.size)
    rest = ordered.size - count
    between = count * rest * (low / count - (total - low) / rest) ** 2
    between[ordered[1:] == ordered[:-1]] = -1
    cut = int(between.argmax())
    return float((ordered[cut] + ordered[cut + 1]) / 2)


def fit_tissue_levels(image: np.ndarray, structure: np.ndarray, spacing_mm: tuple[float, float]) -> TissueLevels | None:
    """Fit muscle, fat and the coil's field together to the even pixels around a structure.

    Even pixels are those whose 3 x 3 neighbourhood varies no more than noise does; their neighbourhood's mean counts.
    They are a mixture of six classes: muscle, fat and marrow (normal), any mixture of muscle and fat, darker and
    brighter tissue (uniform). The field, a polynomial of third order, multiplies all; levels and field are updated in
    turn (expectation maximisation, after Wells et al., IEEE Trans Med Imaging 1996;15:429-442), first near the
    structure with a plane as field, then further away with more orders: up to 40 mm, or to 60 mm where no two tissues
    can be told apart within 40.

    Parameters
    ----------
    image : (x, y) intensities
    structure : boolean, not empty; what the fit is centred on
    spacing_mm : along both axes

    Returns
    -------
    The levels, or ``None`` when no two tissues can be told apart
    """
    away_mm = distance_transform_edt(~structure, sampling=spacing_mm)
    for reach_mm in (REACH_MM, _WIDER_MM):
        levels = _fit(image, structure, spacing_mm, away_mm, reach_mm)
        if levels is not None:
            return levels
    return None


def _fit(
    image: np.ndarray, structure: np.ndarray, spacing_mm: tuple[float, float], away_mm: np.ndarray, reach_mm: float
) -> TissueLevels | None:
    """The likeliest of the fits that begin with different guesses of the levels."""
    near = away_mm <= reach_mm
    even, means = _find_even_pixels(image, near)
    centre = np.argwhere(structure).mean(axis=0)
    whole = _basis((np.argwhere(near) - centre) * spacing_mm)
    pixels = _Pixels(
        means[even],
        _basis((np.argwhere(even) - centre) * spacing_mm),
        away_mm[even] / reach_mm,
        whole[structure[near]].mean(axis=0),
    )
    fits = [_run(pixels.thin(_FEW_PIXELS), *start) for start in _find_starts(pixels)]
    fits = [fit for fit in fits if fit is not None]
    if not fits:
        return None
    best = max(fits, key=lambda fit: _score(fit, pixels.thin(_FEW_PIXELS)))
    mixture = _refine(best, pixels.thin(_MOST_PIXELS))
    if mixture is None:
        return None
    field = np.ones(image.shape)
    field[near] = np.maximum(whole @ mixture.coefficients, _LOWEST_FIELD)
    return TissueLevels(float(mixture.levels[0]), float(mixture.levels[1]), field)


def _find_starts(pixels: _Pixels) -> list[tuple[float, float, float]]:
    """Guesses of muscle's and fat's level, each with the share of the reach within which the fit then begins."""
    starts = {}
    for share in _PASSES:
        for muscle, fat in _find_peaks(pixels.values[pixels.away <= share]):
            starts.setdefault((round(muscle / fat, 1), round(10 * np.log(fat))), (muscle, fat, share))
    return list(starts.values())


def _run(pixels: _Pixels, muscle: float, fat: float, first: float) -> _Mixture | None:
    mixture = _begin(muscle, fat)
    for order, share in enumerate(_PASSES, start=1):
        taken = pixels.take(pixels.away <= max(share, first))
        for step in range(_STEPS):
            mixture = _step(mixture, taken, order if order > 1 or step >= _STEPS_WITHOUT_FIELD else 0)
            if mixture is None:
                return None
    return mixture


def _refine(mixture: _Mixture | None, pixels: _Pixels) -> _Mixture | None:
    for _ in range(_STEPS):
        mixture = mixture and _step(mixture, pixels, len(_PASSES))
    return mixture


def _step(mixture: _Mixture, pixels: _Pixels, order: int) -> _Mixture | None:
    """One step of the fit, with a field up to an order (0: the field stays); ``None`` when the levels have met."""
    mixture, shares = _update(mixture, pixels.values, pixels.basis)
    if not mixture.levels[1] > mixture.levels[0] > 0:
        return None
    if order == 0:
        return mixture
    use = order >= _DEGREES
    return _update_field(mixture, pixels.values, pixels.basis[:, use], shares, use, pixels.mean_basis)


def _score(mixture: _Mixture, pixels: _Pixels) -> float:
    """Mean logarithm of the pixels' likelihood."""
    field = np.maximum(pixels.basis @ mixture.coefficients, _LOWEST_FIELD)
    likelihood = _densities(mixture, pixels.values / field) @ mixture.weights / field
    return float(np.log(likelihood).mean())


def _find_even_pixels(image: np.ndarray, near: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the image is even, and the means over 3 x 3 pixels."""
    saturated = image == image[near].max()
    near = near & ~binary_dilation(saturated, iterations=2) if saturated.sum() > _FEW_SATURATED else near
    means = uniform_filter(image, 3)
    if not near.any():
        return near, means
    spread = np.sqrt(np.maximum(uniform_filter(image**2, 3) - means**2, 0))
    lit = near & (means > _LIT * np.percentile(image[near], 90))
    if not lit.any():
        return lit, means
    return lit & (spread <= _EVEN * np.percentile(spread[lit], _EVEN_PERCENTILE)), means


def _find_peaks(values: np.ndarray) -> list[tuple[float, float]]:
    """Guesses of the levels: fat the middle of the brightest of three classes, or less, and muscle one of the peaks."""
    threshold = _upper_threshold(values)
    if threshold is None:
        return []
    fat = float(np.median(values[values > threshold]))
    counts, edges = np.histogram(values, _BINS, (0, 1.3 * fat))
    counts, centres = gaussian_filter1d(counts.astype(float), 3), (edges[1:] + edges[:-1]) / 2
    peak = np.r_[False, (counts[1:-1] > counts[:-2]) & (counts[1:-1] >= counts[2:]), False]
    peak &= (centres > _MUSCLE_RANGE[0] * fat) & (centres < _MUSCLE_RANGE[1] * fat)
    found = np.flatnonzero(peak & (counts >= _SEEN * counts.max()))
    if not found.size:
        return []
    tall = found[counts[found] >= _TALL * counts[found].max()]
    darkest, first_tall, tallest = found[0], tall[0], found[counts[found].argmax()]
    muscles = [float(centres[peak]) for peak in dict.fromkeys((darkest, first_tall, tallest))]
    return [(muscle, share * fat) for muscle in muscles for share in _FAT_GUESSES if muscle < share * fat]


def _upper_threshold(values: np.ndarray) -> float | None:
    """The upper of Otsu's two thresholds of three classes, on a histogram."""
    if values.size < _FEWEST_PIXELS or values.min() == values.max():
        return None
    counts, edges = np.histogram(values, _BINS, (0, np.percentile(values, 99.5)))
    centres = (edges[1:] + edges[:-1]) / 2
    weight, total = (np.concatenate([[0], np.cumsum(item)]).astype(float) for item in (counts, counts * centres))
    first, second = np.triu_indices(_BINS, 1)
    first, second = first[first > 0], second[first > 0]
    cuts = (np.zeros_like(first), first, second, np.full_like(first, _BINS))
    score = sum(
        (total[stop] - total[start]) ** 2 / np.maximum(weight[stop] - weight[start], 1e-9)
        for start, stop in pairwise(cuts)
    )
    threshold = float(edges[second[score.argmax()]])
    return threshold if (values > threshold).any() else None


def _begin(muscle: float, fat: float) -> _Mixture:
    contrast = fat - muscle
    coefficients = np.zeros(len(_POWERS))
    coefficients[0] = 1
    weights = np.array([0.3, 0.25, 0.1, 0.15, 0.15, 0.05])
    return _Mixture(np.array([muscle, fat, fat - 0.25 * contrast]), np.full(3, 0.1 * contrast), weights, coefficients)


def _basis(places_mm: np.ndarray) -> np.ndarray:
    x, y = places_mm.T / _FIELD_UNIT_MM
    return np.stack([x**i * y**j for i, j in _POWERS], axis=1)


def _update(mixture: _Mixture, values: np.ndarray, basis: np.ndarray) -> tuple[_Mixture, np.ndarray]:
    """Levels, spreads and weights from the pixels' shares in the classes, and the shares in the three normal ones."""
    field = np.maximum(basis @ mixture.coefficients, _LOWEST_FIELD)
    flat = values / field
    shares = _densities(mixture, flat) * mixture.weights
    shares /= shares.sum(axis=1, keepdims=True)
    pure = shares[:, :3]
    levels = (field * values) @ pure / np.maximum(field**2 @ pure, 1e-9)
    contrast = max(levels[1] - levels[0], 1e-9)
    levels[2] = np.clip(levels[2], *(levels[0] + share * contrast for share in _MARROW_RANGE))
    variance = (pure * (flat[:, None] - levels) ** 2).sum(axis=0) / np.maximum(pure.sum(axis=0), 1e-9)
    sds = np.clip(np.sqrt(variance), *(share * contrast for share in _SD_RANGE))
    weights = np.maximum(shares.mean(axis=0), 1e-3)
    return replace(mixture, levels=levels, sds=sds, weights=weights), pure


def _update_field(
    mixture: _Mixture,
    values: np.ndarray,
    basis: np.ndarray,
    shares: np.ndarray,
    use: np.ndarray,
    mean_basis: np.ndarray,
) -> _Mixture:
    """The field that brings the pixels of muscle and of fat nearest to their levels (weighted least squares)."""
    trust = shares[:, :2] / mixture.sds[:2] ** 2
    normal = (basis * (trust @ mixture.levels[:2] ** 2)[:, None]).T @ basis
    ridge = 1e-9 * normal[0, 0] * np.eye(len(normal))
    coefficients = np.zeros(len(use))
    coefficients[use] = np.linalg.solve(normal + ridge, basis.T @ ((trust @ mixture.levels[:2]) * values))
    return replace(mixture, coefficients=coefficients / (mean_basis @ coefficients))


def _densities(mixture: _Mixture, flat: np.ndarray) -> np.ndarray:
    """(N, 6) densities at each value: muscle, fat, marrow, mixtures, darker, brighter."""
    low, high = mixture.levels[:2]
    from_levels = (flat[:, None] - mixture.levels) / mixture.sds
    normal = np.exp(-0.5 * from_levels**2) / (mixture.sds * np.sqrt(2 * np.pi))
    from_low, from_high = from_levels[:, 0], from_levels[:, 1]
    mixed = np.maximum(ndtr(from_low) - ndtr(from_high), 0) / (high - low)
    brightest = max(float(flat.max()) - high, mixture.sds[1])
    outside = (ndtr(-from_low - _OUTSIDE) / low, ndtr(from_high - _OUTSIDE) / brightest + 1e-12)
    return np.column_stack([normal, mixed, *outside])
