"""Make 12-lead recordings of our own: one moving heart dipole, seen by twelve leads.

Every wave of a beat (P, Q, R, S, ST, T) is a Gaussian, or a plateau for ST, along a direction of
its own in space (the idea of McSharry et al. 2003, IEEE Trans Biomed Eng 50:289, and of its
vectorcardiogram form by Sameni et al. 2007, EURASIP J Adv Signal Process 2007:043407, written anew
here). The Dower matrix projects the dipole onto I, II and V1 to V6; III and the augmented leads
follow from them, so Einthoven's and Goldberger's laws hold exactly. Because a lesion tilts the
dipole, the reciprocal changes of the opposite leads come out by themselves.

These are drawings for tests, demonstrations and checks of page reading, not patients. That is
truest for ``covid19``: no public COVID-19 recordings exist, so that heart is only a fast sinus
rhythm with unspecific ST-T changes and says nothing about the disease.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from runtime.labels import LABELS, LEADS
from train.draw.recording import RATE_HZ, Recording

__all__ = ["ELECTRODES", "Heart", "heart_of_class", "synthesise"]

Rhythm = Literal["sinus", "af", "pvc", "pause", "av_block_1", "av_block_2", "av_block_3"]
Territory = Literal["inferior", "anterior", "lateral"]
Vector = tuple[float, float, float]

SECONDS: Final = 10
"""Length of a synthetic recording, in s: what a cart records for one page."""

ELECTRODES: Final = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")
"""Electrodes that noise is added to; the leads are differences of them."""

_DOWER: Final = np.array(
    [
        [0.632, -0.235, 0.059],  # I
        [0.235, 1.066, -0.132],  # II
        [-0.515, 0.157, -0.917],  # V1
        [0.044, 0.164, -1.387],  # V2
        [0.882, 0.098, -1.277],  # V3
        [1.213, 0.127, -0.601],  # V4
        [1.125, 0.127, -0.086],  # V5
        [0.831, 0.076, 0.230],  # V6
    ]
)
"""Frank axes (x left, y foot, z back) to I, II, V1 to V6 (Dower 1980, J Electrocardiol 13:131)."""

_TERRITORY: Final[dict[str, Vector]] = {
    "inferior": (-0.15, 0.95, 0.25),
    "anterior": (0.35, -0.05, -0.90),
    "lateral": (0.90, -0.40, 0.15),
}
"""Direction from the heart's centre to each wall, in Frank axes."""

_ALTERED_MV: Final = 0.1
"""A lead counts as altered from 0.1 mV on: the ST limit of the 4th universal definition of MI."""


@dataclass(frozen=True)
class Heart:
    """What a synthetic recording shows.

    Parameters
    ----------
    label : str
        One of ``runtime.labels.LABELS``.
    rhythm : str
        ``sinus``, ``af``, ``pvc``, ``pause``, ``av_block_1``, ``av_block_2`` or ``av_block_3``.
    rate_bpm : float
        Mean rate of the sinus node (of the ventricles in atrial fibrillation), beats a minute.
    territory : str or None
        Wall of the infarction: ``inferior``, ``anterior``, ``lateral``.
    st_mv : float
        Size of the injury current, mV: positive elevates ST over the territory.
    q_mv : float
        Size of the pathological Q vector away from the territory, mV.
    t_inversion : float
        0 leaves T as it is, 1 turns its part along the territory round.
    t_scale : float
        Size of the T wave; below 1 it is flattened.
    st_depression_mv : float
        General ST depression, mV.
    noise_mv : float
        Standard deviation of the muscle noise of an electrode, mV.
    mains_mv : float
        Amplitude of the 50 Hz hum of an electrode, mV.
    wander_mv : float
        Standard deviation of the baseline wander of an electrode, mV.
    """

    label: str = "normal"
    rhythm: Rhythm = "sinus"
    rate_bpm: float = 72.0
    territory: Territory | None = None
    st_mv: float = 0.0
    q_mv: float = 0.0
    t_inversion: float = 0.0
    t_scale: float = 1.0
    st_depression_mv: float = 0.0
    noise_mv: float = 0.008
    mains_mv: float = 0.002
    wander_mv: float = 0.02

    def __post_init__(self) -> None:
        """Refuse names that no part of this module knows."""
        if self.label not in LABELS:
            raise ValueError(f"unknown class {self.label!r}")
        if self.territory is not None and self.territory not in _TERRITORY:
            raise ValueError(f"unknown territory {self.territory!r}")


@dataclass(frozen=True)
class _Wave:
    centre_s: float
    width_s: float
    vector: Vector


@dataclass(frozen=True)
class _Beat:
    time_s: float
    kind: Literal["conducted", "ventricular", "escape"]


def heart_of_class(label: str, seed: int) -> Heart:
    """Draw a random heart of one class.

    Parameters
    ----------
    label : str
        One of ``runtime.labels.LABELS``.
    seed : int
        The same seed gives the same heart.

    Returns
    -------
    Heart
    """
    rng = np.random.default_rng([seed, LABELS.index(label), 1])
    rate = float(rng.uniform(58, 92))
    plain = Heart(
        label=label,
        rate_bpm=rate,
        noise_mv=float(rng.uniform(0.003, 0.015)),
        mains_mv=float(rng.uniform(0.0, 0.004)),
        wander_mv=float(rng.uniform(0.0, 0.03)),
    )
    walls: tuple[Territory, ...] = ("inferior", "anterior", "lateral")
    wall = walls[int(rng.integers(len(walls)))]
    if label == "abnormal_heartbeat":
        return _abnormal(plain, rng)
    if label == "history_of_mi":
        q_mv, turned = float(rng.uniform(0.45, 0.75)), float(rng.uniform(0.5, 1.2))
        return replace(plain, territory=wall, q_mv=q_mv, t_inversion=turned)
    if label == "myocardial_infarction":
        st_mv, q_mv = float(rng.uniform(0.2, 0.45)), float(rng.uniform(0.0, 0.4))
        return replace(plain, territory=wall, st_mv=st_mv, q_mv=q_mv, rate_bpm=rate + 8.0)
    if label == "covid19":
        flat, depression = float(rng.uniform(-0.3, 0.4)), float(rng.uniform(0.03, 0.09))
        fast = float(rng.uniform(100, 122))
        return replace(plain, rate_bpm=fast, t_scale=flat, st_depression_mv=depression)
    return plain


def _abnormal(plain: Heart, rng: np.random.Generator) -> Heart:
    rhythms: tuple[tuple[Rhythm, float, float], ...] = (
        ("af", 70, 130),
        ("pvc", 58, 92),
        ("pause", 58, 92),
        ("av_block_1", 55, 85),
        ("av_block_2", 60, 90),
        ("av_block_3", 65, 95),
        ("sinus", 40, 49),
        ("sinus", 115, 150),
    )
    rhythm, low, high = rhythms[int(rng.integers(len(rhythms)))]
    return replace(plain, rhythm=rhythm, rate_bpm=float(rng.uniform(low, high)))


def synthesise(heart: Heart, seed: int) -> Recording:
    """Make the recording of a heart.

    Parameters
    ----------
    heart : Heart
        What to show.
    seed : int
        Body (axis, size, widths), beat-to-beat variation and noise; the same seed gives the same
        values, bit for bit.

    Returns
    -------
    Recording
        float32 [12, 5000] mV at 500 Hz; ``altered_leads`` are the leads in which the lesion moves
        the beat by 0.1 mV or more.
    """
    rng = np.random.default_rng([seed, 2])
    body = _body(rng)
    sound = _conducted_waves(Heart(rate_bpm=heart.rate_bpm), body)
    waves = _conducted_waves(heart, body)
    beats, atrial = _rhythm(heart, rng)
    dipole = np.zeros((3, SECONDS * RATE_HZ))
    pr_s = 0.16
    for beat in beats:
        size = 1.0 + 0.05 * np.sin(2 * np.pi * 0.25 * beat.time_s) + 0.02 * rng.standard_normal()
        shape = waves if beat.kind == "conducted" else _ventricular_waves(beat.kind, body)
        _add_waves(dipole, beat.time_s, shape, size)
        if beat.kind != "ventricular" and heart.territory is not None and heart.st_mv:
            wall = np.array(_TERRITORY[heart.territory]) * heart.st_mv
            _add_plateau(dipole, beat.time_s, wall, heart.rate_bpm)
        if beat.kind == "conducted" and heart.st_depression_mv:
            apex = np.array([-0.8, -0.6, 0.4]) * heart.st_depression_mv
            _add_plateau(dipole, beat.time_s, apex, heart.rate_bpm)
    for time_s in atrial:
        _add_waves(dipole, time_s + pr_s, [_P_WAVE], 1.0 + 0.05 * rng.standard_normal())
    if heart.rhythm == "af":
        dipole += _fibrillation(rng)
    leads = _leads_of_dipole(dipole)
    leads = leads + _leads_of_electrodes(_electrode_noise(heart, rng))
    return Recording(
        values=leads.astype(np.float32),
        source=f"synthetic/{heart.label}-{seed}",
        label=heart.label,
        altered_leads=_altered(heart, waves, sound),
        findings={k: v for k, v in asdict(heart).items() if k != "label"},
    )


# --- the beat -------------------------------------------------------------------------------------

_P_WAVE: Final = _Wave(-0.16, 0.022, (0.12, 0.12, -0.01))
_Q_WAVE: Final = _Wave(-0.028, 0.009, (-0.12, 0.02, -0.20))
_R_WAVE: Final = _Wave(0.0, 0.013, (1.05, 0.75, 0.30))
_S_WAVE: Final = _Wave(0.030, 0.012, (-0.25, -0.15, 0.75))
_T_EARLY: Final = _Wave(0.250, 0.050, (0.20, 0.13, -0.13))
_T_LATE: Final = _Wave(0.290, 0.030, (0.14, 0.10, -0.10))
"""Times from the R peak in s, vectors in mV in Frank axes: an ordinary adult's vectorcardiogram."""


@dataclass(frozen=True)
class _Body:
    rotation: NDArray[np.float64]
    size: float
    width: float
    t_size: float


def _body(rng: np.random.Generator) -> _Body:
    frontal, horizontal = np.deg2rad(rng.normal(0, 14)), np.deg2rad(rng.normal(0, 10))
    cos_f, sin_f = np.cos(frontal), np.sin(frontal)
    cos_h, sin_h = np.cos(horizontal), np.sin(horizontal)
    around_z = np.array([[cos_f, -sin_f, 0], [sin_f, cos_f, 0], [0, 0, 1]])
    around_y = np.array([[cos_h, 0, -sin_h], [0, 1, 0], [sin_h, 0, cos_h]])
    return _Body(
        rotation=around_y @ around_z,
        size=float(rng.uniform(0.75, 1.25)),
        width=float(rng.uniform(0.9, 1.15)),
        t_size=float(rng.uniform(0.75, 1.2)),
    )


def _turned(wave: _Wave, body: _Body, size: float, stretch: float = 1.0) -> _Wave:
    x, y, z = body.rotation @ np.array(wave.vector) * size
    return _Wave(wave.centre_s * stretch, wave.width_s * stretch, (float(x), float(y), float(z)))


def _qt_stretch(rate_bpm: float) -> float:
    # Fridericia's cube root: how much QT shortens with the RR interval; 1 at 72 beats a minute.
    return float(np.cbrt(72.0 / rate_bpm))


def _conducted_waves(heart: Heart, body: _Body) -> list[_Wave]:
    stretch = _qt_stretch(heart.rate_bpm)
    q, r, s = (_turned(w, body, body.size, body.width) for w in (_Q_WAVE, _R_WAVE, _S_WAVE))
    t_size = body.t_size * heart.t_scale
    t_waves = [_turned(w, body, t_size, stretch) for w in (_T_EARLY, _T_LATE)]
    waves = [q, r, s, *t_waves]
    if heart.territory is not None:
        wall = np.array(_TERRITORY[heart.territory])
        wall = wall / np.linalg.norm(wall)
        if heart.q_mv:
            lost = tuple(float(v) for v in -wall * heart.q_mv)
            waves += [_Wave(-0.020, 0.016, lost), _Wave(0.004, 0.016, lost)]  # type: ignore[arg-type]
        if heart.t_inversion:
            for t_wave in t_waves:
                along = abs(float(np.dot(t_wave.vector, wall))) + 0.06
                turned = tuple(float(v) for v in -wall * (2 * heart.t_inversion * along))
                waves.append(_Wave(t_wave.centre_s, t_wave.width_s, turned))  # type: ignore[arg-type]
    if heart.rhythm not in ("af", "av_block_3"):
        pr = 0.16 + (0.14 if heart.rhythm == "av_block_1" else 0.0)
        if heart.rhythm != "av_block_2":  # there the P waves march by themselves
            waves.insert(0, _Wave(-pr, _P_WAVE.width_s, _P_WAVE.vector))
    return waves


def _ventricular_waves(kind: str, body: _Body) -> list[_Wave]:
    # A beat from the ventricle: no P, wide, large, T against it. An escape beat is a smaller one.
    size = body.size * (1.25 if kind == "ventricular" else 0.7)
    return [
        _turned(_Wave(0.0, 0.030, (-0.5, 1.0, -0.7)), body, size),
        _turned(_Wave(0.055, 0.028, (0.5, 0.5, 0.9)), body, size * 0.7),
        _turned(_Wave(0.30, 0.060, (0.15, -0.45, 0.2)), body, size),
    ]


def _add_waves(dipole: NDArray[np.float64], time_s: float, waves: list[_Wave], size: float) -> None:
    for wave in waves:
        centre = time_s + wave.centre_s
        first = max(0, int((centre - 4.5 * wave.width_s) * RATE_HZ))
        last = min(dipole.shape[1], int((centre + 4.5 * wave.width_s) * RATE_HZ) + 1)
        if first >= last:
            continue
        distance = (np.arange(first, last) / RATE_HZ - centre) / wave.width_s
        bump = np.exp(-0.5 * distance**2) * size
        dipole[:, first:last] += np.array(wave.vector)[:, None] * bump


def _add_plateau(
    dipole: NDArray[np.float64], time_s: float, vector: NDArray[np.float64], rate_bpm: float
) -> None:
    stretch = _qt_stretch(rate_bpm)
    start, end = time_s + 0.04, time_s + 0.30 * stretch
    first, last = max(0, int((start - 0.06) * RATE_HZ)), int((end + 0.22) * RATE_HZ)
    last = min(dipole.shape[1], last)
    if first >= last:
        return
    t = np.arange(first, last) / RATE_HZ
    rise = 1.0 / (1.0 + np.exp(-(t - start) / 0.007))
    fall = 1.0 / (1.0 + np.exp((t - end) / 0.028))
    dipole[:, first:last] += vector[:, None] * (rise * fall)


# --- the rhythm -----------------------------------------------------------------------------------


def _sinus_times(rate_bpm: float, rng: np.random.Generator) -> list[float]:
    rr = 60.0 / rate_bpm
    times = [-rr * float(rng.uniform(0.3, 1.3))]
    while times[-1] < SECONDS + 1.0:
        breath = 1.0 + 0.03 * np.sin(2 * np.pi * 0.25 * times[-1])
        times.append(times[-1] + rr * float(breath + 0.01 * rng.standard_normal()))
    return times


def _rhythm(heart: Heart, rng: np.random.Generator) -> tuple[list[_Beat], list[float]]:
    """Times of the beats' R peaks, and of P waves that do not belong to a conducted beat, in s."""
    times = _sinus_times(heart.rate_bpm, rng)
    rr = 60.0 / heart.rate_bpm
    if heart.rhythm == "af":
        beats, now = [], -0.5
        while now < SECONDS + 1.0:
            beats.append(_Beat(now, "conducted"))
            now += max(0.33, rr * float(rng.gamma(18.0, 1 / 18.0)))
        return beats, []
    if heart.rhythm == "pvc":
        early = {int(i) for i in rng.choice(np.arange(2, max(5, len(times) - 2)), 2, replace=False)}
        early |= {i for i in range(2, len(times) - 1) if rng.random() < 0.12}
        early = {i for i in early if i - 1 not in early}
        kept = [
            _Beat(t - 0.38 * rr, "ventricular") if i in early else _Beat(t, "conducted")
            for i, t in enumerate(times)
        ]
        return kept, []
    if heart.rhythm == "pause":
        start = float(rng.uniform(2.5, 6.5))
        gap = float(rng.uniform(2.0, 3.2))
        return [_Beat(t + (gap if t > start else 0.0), "conducted") for t in times], []
    if heart.rhythm == "av_block_2":
        beats, atrial, pr = [], [], 0.16
        for i, t in enumerate(times):
            atrial.append(t - 0.16)
            if i % 4 == 3:
                pr = 0.16
                continue
            beats.append(_Beat(t - 0.16 + pr, "conducted"))
            pr += 0.07
        return beats, [t - 0.0 for t in atrial]
    if heart.rhythm == "av_block_3":
        slow = _sinus_times(38.0, rng)
        return [_Beat(t, "escape") for t in slow], times
    return [_Beat(t, "conducted") for t in times], []


def _fibrillation(rng: np.random.Generator) -> NDArray[np.float64]:
    t = np.arange(SECONDS * RATE_HZ) / RATE_HZ
    waves = np.zeros((3, t.size))
    for _ in range(3):
        jitter = gaussian_filter1d(rng.standard_normal(t.size), RATE_HZ) * 6.0
        phase = 2 * np.pi * np.cumsum(rng.uniform(5.0, 8.0) + jitter) / RATE_HZ
        direction = rng.normal(size=3) * np.array([0.015, 0.035, 0.04])
        waves += direction[:, None] * np.sin(phase)
    return waves


# --- leads and noise ------------------------------------------------------------------------------


def _twelve(
    one: NDArray[np.float64], two: NDArray[np.float64], chest: NDArray[np.float64]
) -> NDArray[np.float64]:
    three = two - one  # Einthoven
    limb = np.stack([one, two, three, -(one + two) / 2, one - two / 2, two - one / 2])  # Goldberger
    return np.concatenate([limb, chest])


def _leads_of_dipole(dipole: NDArray[np.float64]) -> NDArray[np.float64]:
    seen = _DOWER @ dipole
    return _twelve(seen[0], seen[1], seen[2:])


def _leads_of_electrodes(potential: NDArray[np.float64]) -> NDArray[np.float64]:
    right, left, foot = potential[:3]
    return _twelve(left - right, foot - right, potential[3:] - potential[:3].mean(axis=0))


def _electrode_noise(heart: Heart, rng: np.random.Generator) -> NDArray[np.float64]:
    n = SECONDS * RATE_HZ
    t = np.arange(n) / RATE_HZ
    shape = (len(ELECTRODES), n)
    quality = rng.lognormal(0.0, 0.4, size=(shape[0], 1))  # each electrode sticks differently
    muscle = gaussian_filter1d(rng.standard_normal(shape), 1.2, axis=1) * 2.05
    hum = np.sin(2 * np.pi * 50.0 * t + rng.uniform(0, 6.28)) * rng.uniform(0.3, 1, (shape[0], 1))
    knots = rng.standard_normal((shape[0], 8))
    slow = np.stack([np.interp(t, np.linspace(0, SECONDS, 8), row) for row in knots])
    slow = gaussian_filter1d(slow, RATE_HZ / 3, axis=1)
    return quality * (heart.noise_mv * muscle + heart.wander_mv * slow) + heart.mains_mv * hum


def _altered(heart: Heart, waves: list[_Wave], sound: list[_Wave]) -> tuple[str, ...]:
    if heart.territory is None:
        return ()
    beats = []
    for shape, st in ((waves, heart.st_mv), (sound, 0.0)):
        dipole = np.zeros((3, RATE_HZ))
        _add_waves(dipole, 0.3, shape, 1.0)
        if st:
            _add_plateau(dipole, 0.3, np.array(_TERRITORY[heart.territory]) * st, heart.rate_bpm)
        beats.append(_leads_of_dipole(dipole))
    moved = np.abs(beats[0] - beats[1]).max(axis=1)
    return tuple(lead for lead, mv in zip(LEADS, moved, strict=True) if mv >= _ALTERED_MV)
