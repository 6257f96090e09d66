"""Malformed inputs of every reader, all of them.
label: full
timeout: 1800"""
import unittest

from hostile import READERS, Hostile, cases


class All(Hostile):
    def test_there_are_at_least_three_hundred(self):
        self.assertGreaterEqual(len(list(cases())), 300)


def of_reader(reader):
    def test(self):
        print(f"{reader}: {self.meets([c for c in cases() if c[1] == reader])} malformed inputs")
    return test


for reader in READERS:
    setattr(All, f"test_no_malformed_input_of_{reader}_does_harm", of_reader(reader))

if __name__ == "__main__":
    unittest.main()
