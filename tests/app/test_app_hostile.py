"""Malformed inputs of every reader: a fixed sample of all. timeout: 400"""
import unittest

from hostile import Hostile, cases


class Sample(Hostile):
    def test_a_sample_of_malformed_inputs_is_refused_in_words(self):
        everything = list(cases())
        self.meets(everything[3::len(everything) // 30])


if __name__ == "__main__":
    unittest.main()
