"""Writes the small recordings that the server's tests hear: `python models/training/whisper/fixtures.py`.

Who uses it: people who change them; the files are kept in the repository. Held-out sentences by held-out voices, and a .json
that says the texts. Needs espeak-ng and the package soundfile.
Invariant: together at most 150 KB.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import soundfile

from evaluate import wave_bytes
from features import RATE
from heldout import resample
from sentences import Sentence, is_held_out
from speech import Speaker, Voice

BYTES_MAX = 150_000
ENGLISH = Sentence("Ich muss nächste Woche den Computer reparieren.", "I have to repair the computer next week.")
GERMAN = Sentence("Kaufe bitte Fisch und Wasser.", "Please buy fish and water.")
FIRST = Sentence("Das kostet 28 Euro.", "That costs 28 euros.")
SECOND = Sentence("Ich muss nächste Woche die Tür schließen.", "I have to close the door next week.")
PAUSE_SECONDS = 2.0


def spoken(speaker: Speaker, text: str, language: str, voice: str, rate: int = RATE) -> np.ndarray:
    """A sentence with a fifth of a second of silence around it, -1..1."""
    sound = resample(speaker.speak(text, language, Voice(voice, 190, 50, 50, 0)).sound, rate)
    around = np.zeros(rate // 5, np.float32)
    return np.concatenate([around, 0.5 * sound / np.abs(sound).max(), around])


def main() -> None:
    """Writes all files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("tests/fixtures/audio"))
    args = parser.parse_args()
    for sentence in (ENGLISH, GERMAN, FIRST, SECOND):
        if not is_held_out(sentence):
            raise ValueError(f"{sentence.english!r} is a sentence of the training")
    args.out.mkdir(parents=True, exist_ok=True)
    speaker = Speaker()
    english = spoken(speaker, ENGLISH.english, "en", "en-us+f4")
    (args.out / "starter_english.wav").write_bytes(wave_bytes(np.round(english * 32767).astype(np.int16)))
    wide = spoken(speaker, ENGLISH.english, "en", "en-us+f4", 44100)
    soundfile.write(args.out / "starter_english_stereo.mp3", np.stack([wide, 0.7 * wide], 1), 44100, format="MP3", compression_level=0.95)
    german = spoken(speaker, GERMAN.german, "de", "de+m4")
    soundfile.write(args.out / "starter_german.flac", german, RATE, subtype="PCM_16")
    pause = np.zeros(int(RATE * (PAUSE_SECONDS - 0.4)), np.float32)
    first, second = (spoken(speaker, sentence.english, "en", "en+m4") for sentence in (FIRST, SECOND))
    both = np.concatenate([first, pause, second])
    soundfile.write(args.out / "starter_pause.mp3", both, RATE, format="MP3", compression_level=0.8)
    begin = (len(first) + len(pause)) / RATE + 0.2
    about = {
        "starter_english.wav": {"language": "en", "text": ENGLISH.english, "seconds": round(len(english) / RATE, 2)},
        "starter_english_stereo.mp3": {"language": "en", "text": ENGLISH.english, "seconds": round(len(wide) / 44100, 2)},
        "starter_german.flac": {
            "language": "de",
            "text": GERMAN.german,
            "translation": GERMAN.english,
            "seconds": round(len(german) / RATE, 2),
        },
        "starter_pause.mp3": {
            "language": "en",
            "text": f"{FIRST.english} {SECOND.english}",
            "segments": [
                {"text": FIRST.english, "start": 0.2, "end": round(len(first) / RATE - 0.2, 2)},
                {"text": SECOND.english, "start": round(begin, 2), "end": round(len(both) / RATE - 0.2, 2)},
            ],
            "seconds": round(len(both) / RATE, 2),
        },
    }
    (args.out / "starter.json").write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n")
    size = sum((args.out / name).stat().st_size for name in [*about, "starter.json"])
    print({name: (args.out / name).stat().st_size for name in about}, f"together {size} bytes")
    if size > BYTES_MAX:
        raise ValueError("too large")


if __name__ == "__main__":
    main()
