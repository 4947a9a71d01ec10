"""Tests of sentences, scores, tokens, features and windows: `cd models/training/whisper && python -m unittest`.

Those that speak need espeak-ng, the comparison of features needs transformers; without them they are skipped.
Invariant: quick and seeded.
"""

import ctypes
import importlib.util
import random
import unittest

import numpy as np

from features import log_mel
from score import error_rate, exact_rate, word_errors, words
from sentences import FRAMES, VOCABULARY, draw, word_list
from speech import Speaker, Voice, spoken_words
from tokenizer import SPECIAL, TIMESTAMPS, train_tokenizer
from windows import HELD_OUT_VARIANTS, IGNORED, VARIANTS, Ids, Maker


def has_espeak() -> bool:
    """Whether the library is there."""
    try:
        ctypes.CDLL("libespeak-ng.so.1")
    except OSError:
        return False
    return True


class Sentences(unittest.TestCase):
    """What is drawn."""

    def test_the_parts_share_no_sentence(self):
        rng = random.Random(1)
        held_out = {text for _ in range(2000) for text in draw(rng, held_out=True) if text}
        training = {text for _ in range(20000) for text in draw(rng) if text}
        self.assertFalse(held_out & training)

    def test_translation_is_a_function(self):
        rng, known = random.Random(2), {}
        for _ in range(20000):
            german, english = draw(rng, need="both")
            self.assertEqual(known.setdefault(german, english), english)

    def test_no_place_stays_open(self):
        rng = random.Random(3)
        for _ in range(5000):
            self.assertFalse(set("{}|") & set("".join(draw(rng))))
        self.assertTrue(all(len(frame) == 2 for frame in FRAMES))

    def test_a_seed_gives_the_same(self):
        several = lambda: [(draw(rng), word_list(rng, "de")) for rng in [random.Random(4)] for _ in range(50)]
        self.assertEqual(several(), several())
        self.assertGreater(min(len(found) for found in VOCABULARY.values()), 400)

    def test_times_and_years_are_read_as_people_do(self):
        self.assertEqual(spoken_words("At 7:05, in 1984.", "en"), ["At", "7 oh 5,", "in", "19 84."])
        self.assertEqual(spoken_words("Um 7:30 Uhr. Im Jahr 1984", "de"), ["Um", "7 Uhr 30.", "", "Im", "Jahr", "19 hundert 84"])


class Scores(unittest.TestCase):
    """How answers are judged."""

    def test_words_and_errors(self):
        self.assertEqual(words("It's 7:30, Anna: now!"), ["it's", "7:30", "anna", "now"])
        self.assertEqual(word_errors("one two three", "one three four"), (2, 3))
        self.assertAlmostEqual(error_rate([("a b", "a b"), ("a b", "b")]), 0.25)
        self.assertEqual(exact_rate([("A b.", "a b"), ("a", "b")]), 0.5)


class Tokens(unittest.TestCase):
    """The vocabulary."""

    def test_specials_and_numbers(self):
        tokenizer = train_tokenizer(1, 400)
        ids = [tokenizer.token_to_id(name) for name in SPECIAL + TIMESTAMPS]
        self.assertEqual(ids, list(range(400, 400 + len(ids))))
        self.assertEqual((TIMESTAMPS[0], TIMESTAMPS[-1], len(TIMESTAMPS)), ("<|0.00|>", "<|10.00|>", 501))
        number = tokenizer.encode(" 42", add_special_tokens=False)
        self.assertEqual(number.tokens, ["Ġ4", "2"])


class Features(unittest.TestCase):
    """Log-mel."""

    def test_silence(self):
        self.assertTrue(np.allclose(log_mel(np.zeros(16000)), -1.5))

    @unittest.skipUnless(importlib.util.find_spec("transformers"), "needs transformers")
    def test_as_the_reference(self):
        from transformers import WhisperFeatureExtractor

        sound = np.random.default_rng(1).standard_normal(160000).astype(np.float32) * 0.1
        sound[90000:] = 0
        reference = WhisperFeatureExtractor(chunk_length=10)(sound, sampling_rate=16000).input_features[0]
        self.assertLess(np.abs(reference - log_mel(sound)).max(), 1e-4)


@unittest.skipUnless(has_espeak(), "needs espeak-ng")
class Windows(unittest.TestCase):
    """Speech and examples."""

    def test_every_word_has_its_place(self):
        text = "Set a timer for 20 minutes, and wake me at 7:30."
        clip = Speaker().speak(text, "en", Voice("en-us+f1", 175, 50, 50, 0))
        self.assertEqual(len(clip.words), len(text.split()))
        self.assertTrue(all(begin < end for begin, end in clip.words))
        self.assertTrue(all(end <= begin for (_, end), (begin, _) in zip(clip.words, clip.words[1:])))
        self.assertAlmostEqual(clip.words[-1][1], len(clip.sound) / 22050, places=2)

    def test_held_out_voices_do_not_train(self):
        self.assertFalse(set(HELD_OUT_VARIANTS) & set(VARIANTS))

    def test_batches(self):
        tokenizer = train_tokenizer(1, 400)
        ids, maker = Ids(tokenizer), Maker(tokenizer, ["_", "a", "t"], "1")
        for batch in [*maker.short_batch(4), maker.long_batch(6, 500)]:
            self.assertEqual(batch.mel.shape[2], 2 * batch.phonemes.shape[1])
            self.assertEqual(batch.tokens.shape, batch.labels.shape)
            for tokens, labels, heard in zip(batch.tokens, batch.labels, batch.heard):
                kept = np.flatnonzero(labels != IGNORED)
                following = kept[kept + 1 < len(tokens)]
                right = (tokens[following + 1] == labels[following]) | (labels[following] == ids.no_speech)
                self.assertTrue(right.all())
                self.assertEqual(labels[kept[-1]], ids.end)
                times = labels[labels >= ids.first_time]
                self.assertTrue((np.diff(times) >= 0).all())
                self.assertTrue((heard <= batch.phonemes.shape[1] + 2).all())


if __name__ == "__main__":
    unittest.main()
