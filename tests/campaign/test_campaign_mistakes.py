"""What `check` says about mistakes in a cycle's file, word for word: mistakes.txt holds each file and its message.
sanitized: full"""
import os, unittest

from cycles import Folder, call

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "mistakes.txt")


def cases():
    with open(GOLDEN) as f:
        for block in f.read().split("====\n"):
            if block:
                text, said = block.split("----\n")
                yield text[2:text.index("\n")], text[text.index("\n") + 1:], said


class Mistakes(Folder):
    def test_each_is_told_with_its_place_and_what_would_be_right(self):
        found = list(cases())
        self.assertGreaterEqual(len(found), 30)
        self.write("v.h5", "only its name is looked at")
        for name, text, said in found:
            with self.subTest(name):
                self.write("cycle.yaml", text)
                code, out, words = call("check", self.at("cycle.yaml"))
                self.assertEqual((code, out), (2, ""))
                self.assertEqual(words.replace(self.folder + "/", ""), said)

    def test_a_run_with_a_mistake_writes_nothing(self):
        for _, text, _ in list(cases())[::7]:
            self.write("cycle.yaml", text)
            self.ends(call("run", self.at("cycle.yaml"), "--output", self.at("out"), ranks=2), 2, "cycle.yaml")
            self.assertFalse(os.path.exists(self.at("out")))


if __name__ == "__main__":
    unittest.main()
