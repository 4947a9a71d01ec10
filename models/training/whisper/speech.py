"""Speaks a text with espeak-ng and says where in the sound every word and every phoneme is.

Who uses it: windows.py (training), heldout.py (evaluation), fixtures.py.
Needs the library of espeak-ng (Debian: `apt-get install espeak-ng`), through ctypes.
Invariant: one process, one Speaker: the library keeps its voice and rate in globals.
"""

import ctypes
import re
from typing import NamedTuple

import numpy as np

SOURCE_RATE = 22050
WORD, PHONEME, END = 1, 7, 5
RATE, PITCH, RANGE, WORD_GAP = 1, 3, 4, 7


class Voice(NamedTuple):
    """A setting of the synthesiser: voice name with its variant, words a minute, pitch and its range (0..100), and the
    extra gap between words (10 ms each)."""

    name: str
    rate: int
    pitch: int
    pitch_range: int
    gap: int


class Clip(NamedTuple):
    """Sound at 22050 Hz (-1..1); words as (start, end) seconds, one for each written word; phonemes as (start, name)."""

    sound: np.ndarray
    words: list[tuple[float, float]]
    phonemes: list[tuple[float, str]]


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def spoken_words(text: str, language: str) -> list[str]:
    """What is said for each written word: times and years are read as people read them. Empty for a word that is said
    with the one before it ("Uhr" in "7:30 Uhr")."""
    said, before = [], ""
    for word in text.split():
        time = re.fullmatch(r"(\d+):(\d\d)(\W*)", word)
        year = re.fullmatch(r"(19)([1-9]\d)(\W*)", word)
        if time:
            hour, minute, mark = int(time[1]), int(time[2]), time[3]
            if language == "de":
                said.append(f"{hour} Uhr {minute or ''}{mark}")
            else:
                said.append(f"{hour} {f'oh {minute}' if minute < 10 else minute}{mark}")
        elif year:
            said.append(f"19 hundert {year[2]}{year[3]}" if language == "de" else f"19 {year[2]}{year[3]}")
        elif re.match(r"\d+:\d\d$", before) and re.fullmatch(r"Uhr\W*", word):
            said.append("")
            said[-2] += word[3:]
        else:
            said.append(word)
        before = word
    return said


class Speaker:
    """The synthesiser."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL("libespeak-ng.so.1")
        self.chunks: list[np.ndarray] = []
        self.events: list[tuple[int, float, int, str]] = []
        self.callback = _CALLBACK(self._receive)
        # 2: synchronous, sound goes to the callback; option 1: phoneme events.
        if self.library.espeak_Initialize(2, 200, None, 1) != SOURCE_RATE:
            raise RuntimeError("espeak-ng does not answer with 22050 Hz")
        self.library.espeak_SetSynthCallback(self.callback)
        self.voice = Voice("", 0, 0, 0, 0)

    def _receive(self, samples, count: int, events) -> int:
        if samples and count > 0:
            self.chunks.append(np.ctypeslib.as_array(samples, (count,)).astype(np.float32) / 32768)
        at = 0
        while events[at].type != 0:
            event = events[at]
            if event.type in (WORD, PHONEME):
                name = event.id.string.decode("utf-8", "replace") if event.type == PHONEME else ""
                self.events.append((event.type, event.audio_position / 1000, event.text_position - 1, name))
            at += 1
        return 0

    def _set(self, voice: Voice) -> None:
        if voice.name != self.voice.name and self.library.espeak_SetVoiceByName(voice.name.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice.name}")
        for parameter, value in ((RATE, voice.rate), (PITCH, voice.pitch), (RANGE, voice.pitch_range), (WORD_GAP, voice.gap)):
            self.library.espeak_SetParameter(parameter, value, 0)
        self.voice = voice

    def speak(self, text: str, language: str, voice: Voice) -> Clip:
        """The clip of one sentence, without the silence around it."""
        self._set(voice)
        said, starts, position = spoken_words(text, language), [], 0
        for word in said:
            starts.append(position)
            position += len(word) + 1
        self.chunks, self.events = [], []
        data = " ".join(said).encode()
        # Position type 1 (characters), flags 1: UTF-8.
        if self.library.espeak_Synth(data, len(data) + 1, 0, 1, 0, 1, None, None) != 0:
            raise RuntimeError("espeak-ng could not speak")
        sound = np.concatenate(self.chunks) if self.chunks else np.zeros(0, np.float32)
        return _cut(sound, self.events, said, starts)


def _cut(sound: np.ndarray, events, said: list[str], starts: list[int]) -> Clip:
    loud = np.flatnonzero(np.abs(sound) > 0.004)
    if not len(loud):
        raise RuntimeError("espeak-ng was silent")
    first, last = loud[0], loud[-1] + 1
    shift, length = first / SOURCE_RATE, (last - first) / SOURCE_RATE
    place = lambda seconds: min(max(seconds - shift, 0.0), length)
    begins: list[float | None] = [None] * len(said)
    for kind, seconds, position, _ in events:
        if kind == WORD:
            number = max((at for at, start in enumerate(starts) if start <= position), default=0)
            if said[number] and begins[number] is None:
                begins[number] = place(seconds)
    words, end = [], length
    for at in range(len(said) - 1, -1, -1):
        begin = begins[at] if begins[at] is not None else end
        words.append((min(begin, end), end))
        end = min(begin, end)
    words.reverse()
    phonemes = [(place(seconds), name) for kind, seconds, _, name in events if kind == PHONEME]
    return Clip(sound[first:last], words, phonemes)
