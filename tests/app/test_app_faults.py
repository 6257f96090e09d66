"""A fault on one of three ranks ends all: some places; all of them in the long tests."""
import unittest

from faults import COMMANDS, Faults


class Some(Faults):
    def test_a_fault_on_one_rank_ends_all_with_its_message(self):
        if not self.passed(0):
            self.skipTest("built without XCSCT_FAULTS")
        for at, site, rank in ((0, "store.open", 0), (0, "voxel.components", 2), (0, "store.commit", 1),
                               (1, "flux.fine", 1), (2, "surface.measure", 2), (3, "raw.read", 0),
                               (len(COMMANDS) - 2, "report.export", 1)):
            self.fault_is_told_by_all(at, site, rank)


if __name__ == "__main__":
    unittest.main()
