"""A fault at every place of the source that allows one, on each of three ranks.
label: full
timeout: 1800"""
import sys, unittest

from faults import COMMANDS, RANKS, Faults, sites_of_source


class All(Faults):
    def test_a_fault_anywhere_on_any_rank_ends_all_with_its_message(self):
        seen = set()
        for at in range(len(COMMANDS)):
            for site in self.passed(at):
                if site in seen:
                    continue
                seen.add(site)
                for rank in range(RANKS):
                    self.fault_is_told_by_all(at, site, rank)
        everything = sites_of_source()
        print(f"{len(seen)} of {len(everything)} places tried on {RANKS} ranks each; "
              f"not passed by these commands: {' '.join(sorted(everything - seen))}", file=sys.stderr)
        self.assertGreaterEqual(len(seen), 58)


if __name__ == "__main__":
    unittest.main()
