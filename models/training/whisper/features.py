"""Whisper's log-mel features: 80 Slaney bands of a 25 ms Hann window every 10 ms, log10, at most 8 below the window's peak.

Who uses it: windows.py, train.py (evaluation).
Source: the Whisper paper, section 2.2, and the reference's feature extractor, which test_whisper.py compares with.
Invariant: the sound has the window's full length; silence behind the speech is part of the features.
"""

import numpy as np

RATE, HOP, FFT, BANDS = 16000, 160, 400, 80


def mel_filters() -> np.ndarray:
    """Triangles on Slaney's scale (linear to 1 kHz, then logarithmic), each of area 1: [201, 80]."""
    step, knee, log_step = 200 / 3, 15.0, np.log(6.4) / 27
    to_hertz = lambda mel: np.where(mel < knee, mel * step, 1000 * np.exp(log_step * (mel - knee)))
    top = knee + np.log(RATE / 2 / 1000) / log_step
    corners = to_hertz(np.linspace(0, top, BANDS + 2))
    hertz = np.linspace(0, RATE / 2, FFT // 2 + 1)[:, None]
    low, middle, high = corners[:-2], corners[1:-1], corners[2:]
    up, down = (hertz - low) / (middle - low), (high - hertz) / (high - middle)
    return (np.maximum(0, np.minimum(up, down)) * 2 / (high - low)).astype(np.float32)


FILTERS = mel_filters()
HANN = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT) / FFT)).astype(np.float32)


def log_mel(sound: np.ndarray) -> np.ndarray:
    """[80, samples / 160] of mono sound at 16 kHz."""
    padded = np.pad(sound.astype(np.float32), FFT // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT)[::HOP][: len(sound) // HOP]
    spectrum = np.fft.rfft(frames * HANN)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    log = np.log10(np.maximum(power @ FILTERS, 1e-10))
    return ((np.maximum(log, log.max() - 8) + 4) / 4).T
