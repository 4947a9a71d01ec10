"""Tests of the generators, the split, the judge and the tokenizer: `python -m unittest` in this folder.

Who uses it: whoever changes a generator. Torch is not needed; the tokenizer test skips where `tokenizers` is absent.
Invariant: seeded, offline, a few seconds.
"""

import random
import unittest
from collections import Counter

import dialogues
import lampstand
import memory
from plain_text import document
from score import is_right
from voice import Context, Voice, is_held_out


class Generators(unittest.TestCase):
    def test_every_answer_passes_its_own_check(self):
        rng = random.Random(3)
        for _ in range(1500):
            for e in dialogues.training_dialogue(rng, 3)[1]:
                self.assertTrue(is_right(e.check, e.answer), e)

    def test_same_seed_same_dialogue(self):
        one, two = (dialogues.training_dialogue(random.Random(5), 9) for _ in range(2))
        self.assertEqual(one, two)

    def test_no_leftover_marks_of_templates(self):
        rng = random.Random(4)
        for _ in range(1500):
            for e in dialogues.training_dialogue(rng, 2)[1]:
                if e.category not in ("json", "endpoints", "about", "repeating"):
                    self.assertNotRegex(e.user.replace(":)", "") + e.answer, r"[{}|()]|  ", e)
            self.assertTrue(document(rng))

    def test_memory_answers_come_from_the_context(self):
        voice, context = Voice(random.Random(6)), Context()
        memory.tell(voice, context, "name")
        self.assertIn(context.facts["name"], memory.ask(voice, context, "name").answer)
        self.assertIn("not know", memory.ask(voice, context, "age").answer)


class Split(unittest.TestCase):
    def test_training_never_holds_a_held_out_prompt(self):
        rng = random.Random(8)
        for _ in range(2000):
            for e in dialogues.training_dialogue(rng, 3)[1]:
                plain = e.key.rsplit("|", 1)[-1].lower() in dialogues.ALWAYS_TRAINED
                self.assertTrue(plain or not is_held_out(e.key), e)

    def test_noise_does_not_change_the_key(self):
        self.assertEqual(is_held_out("|What is 7 + 8?"), is_held_out("|what is 7 + 8"))

    def test_500_prompts_in_every_category(self):
        prompts = dialogues.held_out_prompts()
        self.assertEqual(len(prompts), 500)
        self.assertEqual(Counter(p["category"] for p in prompts), Counter(dialogues.EVALUATION))
        self.assertEqual(prompts, dialogues.held_out_prompts())


class Judge(unittest.TestCase):
    def test_right_and_wrong(self):
        for check, right, wrong in (
            (("number", -3), "4 - 7 = -3", "4 - 7 = 3"),
            (("number", 3), "7 - 4 = 3", "7 - 4 = 4"),
            (("numbers", [1, 2, 3]), "1, 2, 3", "1, 2, 3, 4"),
            (("keywords", ["Ada"]), "I am Ada.", "I am Adam."),
            (("flag", "--listen"), "Use --listen: it", "Use --listen-host: it"),
            (("flag", "--model"), "Use --model.", "Use --model or --model-dir."),
            (("route", "GET /v1/models"), "Send GET /v1/models: it", "Send GET /v1/models/{id}: it"),
            (("json", {"a": 1}), '{"a": 1}', '{"a": 1'),
            (("items", ["colour", 2]), "red, blue", "red, red"),
            (("exact", "a b"), "A b", "a c"),
            (("starts", "No"), "No, it is.", "Yes."),
            (("json items", ["animal", 2, None]), '["cat", "dog"]', '["cat"]'),
            (("any", ["not know"]), "I do not know that.", "Paris."),
        ):
            self.assertTrue(is_right(check, right), (check, right))
            self.assertFalse(is_right(check, wrong), (check, wrong))


class Vocabulary(unittest.TestCase):
    def test_round_trip_and_mask(self):
        try:
            import tokenizer
        except ImportError:
            self.skipTest("tokenizers is not installed")
        rng = random.Random(9)
        texts = [e.user + e.answer for _ in range(300) for e in dialogues.training_dialogue(rng, 2)[1]]
        made = tokenizer.train_tokenizer(texts, 512)
        for text in ("Hello, wörld! 128\n\t{}", "日本 \x00", "a  b"):
            self.assertEqual(made.decode(made.encode(text).ids), text)
        ids, mask = tokenizer.encode_dialogue(made, "s", [("hi", "yes 42"), ("two", "no")])
        self.assertEqual(
            made.decode([t for t, m in zip(ids, mask, strict=True) if m], skip_special_tokens=False),
            "yes 42<|im_end|>no<|im_end|>",
        )
        prompt = tokenizer.encode_prompt(made, [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}])
        self.assertEqual(ids[: len(prompt)], prompt)


class Flags(unittest.TestCase):
    def test_flags_are_those_of_the_command(self):
        self.assertEqual(
            set(lampstand.FLAGS),
            set(
                "--api --listen --listen-host --api-port --model --model-dir --settings --api-key --admin-key"
                " --ctx-size --parallel --kv-cache --threads --cpu --offline --verbose".split()
            ),
        )


if __name__ == "__main__":
    unittest.main()
