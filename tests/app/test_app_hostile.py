"""Malformed inputs of every reader: a fixed sample of all, and what fuzzers found. timeout: 400"""
import unittest

from hostile import Hostile, cases, findings


class Sample(Hostile):
    def test_a_sample_of_malformed_inputs_is_refused_in_words(self):
        everything = list(cases())
        self.meets(everything[3::len(everything) // 30] + list(findings()))


if __name__ == "__main__":
    unittest.main()
