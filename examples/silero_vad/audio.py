"""Sound for the example: speech from espeak-ng with pauses and noise, or WAV files, at 16 kHz."""

from __future__ import annotations

import subprocess
import wave
from math import gcd
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

RATE = 16_000
VOICES = ("en-us", "en-gb", "en-gb-scotland", "de", "fr-fr", "es", "it", "nl", "pl", "sv")
VARIANTS = ("+m1", "+m3", "+m5", "+m7", "+f1", "+f2", "+f4", "+whisper")
SENTENCES = (
    "The machine reads one vector from each scratchpad in every cycle.",
    "Please leave the parcel beside the blue door, and ring twice.",
    "Seven swans were swimming on the lake when the rain began.",
    "No, I have not seen him since Tuesday.",
    "A train of small tensors stands for one large matrix.",
    "Could you turn the radio down a little?",
    "She counted the steps: one, two, three, four, five, and then she stopped.",
    "It will be cold tonight, with snow above six hundred metres.",
    "Nobody knew where the key was, so we climbed through the window.",
    "Yes.",
    "The meeting has been moved from nine to half past ten.",
    "Bring bread, butter, a dozen eggs and some black tea.",
    "Every bank can be read once and written once in a cycle.",
    "He laughed, looked at the map again, and turned left.",
    "What a strange place to put a piano!",
    "Numbers without units are not worth much.",
)

Sound = NDArray[np.float32]


def read_wav(path: str | Path) -> Sound:
    """Return a WAV file (8, 16 or 32 bit PCM, any rate) as one channel at 16 kHz, in [-1, 1)."""
    with wave.open(str(path), "rb") as file:
        width, rate, channels = file.getsampwidth(), file.getframerate(), file.getnchannels()
        data = file.readframes(file.getnframes())
    if width not in (1, 2, 4):
        raise ValueError(f"{path}: found {8 * width} bit samples, expected 8, 16 or 32; convert it")
    samples = np.frombuffer(data, dtype={1: "u1", 2: "<i2", 4: "<i4"}[width]).astype(np.float64)
    samples = (samples - 128) / 128 if width == 1 else samples / 2.0 ** (8 * width - 1)
    mono = samples.reshape(-1, channels).mean(axis=1)
    common = gcd(rate, RATE)
    return np.asarray(resample_poly(mono, RATE // common, rate // common), dtype=np.float32)


def speak(text: str, voice: str, words_per_minute: int, pitch: int, path: Path) -> Sound:
    """Return a sentence spoken by espeak-ng; `path` is written on the way."""
    command = ["espeak-ng", "-v", voice, "-s", str(words_per_minute), "-p", str(pitch)]
    try:
        subprocess.run([*command, "-w", str(path), text], check=True, capture_output=True)
    except FileNotFoundError:
        raise SystemExit(
            "espeak-ng: not found; apt-get install espeak-ng, or name WAV files"
        ) from None
    return read_wav(path)


def noise(n_samples: int, rng: np.random.Generator) -> Sound:
    """Return noise of unit power: white, brownish or a hum, or a mixture of them."""
    white = rng.standard_normal(n_samples)
    brown = np.convolve(rng.standard_normal(n_samples + 63), np.ones(64) / 8, mode="valid")
    hum = np.sin(2 * np.pi * rng.uniform(50, 120) * np.arange(n_samples) / RATE)
    mix = rng.dirichlet((1, 1, 1)) @ np.stack([white, brown, hum])
    return np.asarray(mix / np.sqrt(np.mean(mix**2)), dtype=np.float32)


def conversation(seconds: float, seed: int, work: Path) -> Sound:
    """Return speech of changing voices with pauses, over noise of 0 to 40 dB less power."""
    rng = np.random.default_rng(seed)
    pieces: list[Sound] = []
    length = 0
    while length < seconds * RATE:
        voice = str(rng.choice(VOICES)) + str(rng.choice(VARIANTS))
        text = SENTENCES[int(rng.integers(len(SENTENCES)))]
        speech = speak(
            text, voice, int(rng.integers(120, 220)), int(rng.integers(20, 80)), work / "s.wav"
        )
        speech = speech * np.float32(rng.uniform(0.1, 1.0))
        pause = np.zeros(int(RATE * rng.exponential(0.8)), np.float32)
        pieces += [speech, pause]
        length += len(speech) + len(pause)
    sound = np.concatenate(pieces)[: int(seconds * RATE)]
    level = np.sqrt(np.mean(sound**2)) * 10 ** (-rng.uniform(0, 40) / 20)
    return np.asarray(np.clip(sound + level * noise(len(sound), rng), -1, 1), dtype=np.float32)
