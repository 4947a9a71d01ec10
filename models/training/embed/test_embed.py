"""Tests of the pairs: `cd models/training/embed && python -m unittest`.

Invariant: quick, seeded, and without torch.
"""

import random
import unittest

from frames import FRAMES, draw, key, places, say
from moderated import CATEGORIES
from pairs import held_out_pairs, paraphrase, training_pair
from voice import is_held_out


class Pairs(unittest.TestCase):
    """What is drawn."""

    def test_the_split_goes_by_meaning(self):
        rng = random.Random(1)
        self.assertTrue(all(not is_held_out(paraphrase(rng, held_out=False).meaning) for _ in range(500)))
        pairs = held_out_pairs(200, seed=1)
        self.assertTrue(all(is_held_out(pair.meaning) for pair in pairs))
        texts = [text for pair in pairs for text in pair[:2]]
        self.assertEqual(len(texts), len(set(texts)))

    def test_a_seed_gives_the_same_pairs(self):
        draw_all = lambda: [training_pair(rng) for rng in [random.Random(7)] for _ in range(100)]
        self.assertEqual(draw_all(), draw_all())

    def test_no_place_stays_open(self):
        rng = random.Random(2)
        for number, frame in enumerate(FRAMES):
            meaning = draw(rng, frame)
            self.assertEqual(list(meaning), places(frame))
            self.assertTrue(key(number, meaning).startswith(f"{number}|"))
            for wording in frame:
                text = say(rng, wording, meaning)
                self.assertFalse(set("{}|()") & set(text), text)

    def test_categories_have_descriptions_and_sentences(self):
        for descriptions, sentences in CATEGORIES.values():
            self.assertTrue(descriptions and sentences)


if __name__ == "__main__":
    unittest.main()
