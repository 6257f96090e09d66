"""The whole chain on a small twin, all of it on three ranks and on one.
label: full
timeout: 3600"""
import os, sys, unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import test_app_chain
from test_app_chain import SANITIZED, call


@unittest.skipIf(SANITIZED, "slow under sanitizers")
class All(test_app_chain.Chain):
    test_the_twin_is_the_same_on_any_rank_count = None

    def again_on_one_rank(self, cycle):
        self.ends(call("run", cycle, "--output", self.at("one"), "--quiet", timeout=1800), 0)
        return "out", "one"


if __name__ == "__main__":
    unittest.main()
