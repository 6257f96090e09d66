"""States side by side on groups of ranks give what one group gives.
timeout: 900 sanitized: full"""
import csv, json, os, unittest

from cycles import Folder, call, datasets

BLOCKS = "segment: {median: 3}\ntrack: {phase: 1}\n"


class Groups(Folder):
    def run_it(self, *words, out="out", ranks=3, **how):
        return call("run", self.at("cycle.yaml"), "--output", self.at(out), "--stages", "segment,track", *words, ranks=ranks, **how)

    def rows(self, out):
        with open(self.at(out, "summary.csv")) as f:
            return list(csv.DictReader(f))

    def done_lines(self, out="out"):
        return [line.split()[1:4] for line in self.read(out, "journal/run.log").splitlines() if " done " in line]

    def test_groups_of_ranks_give_the_same_files(self):
        states = ("a", "b", "c", "d", "e")
        self.cycle(states, 24, BLOCKS)
        self.ends(self.run_it("--quiet", out="one", ranks=0), 0)
        for groups in (2, 3):
            out = f"side{groups}"
            result = self.run_it("--side-by-side", groups, out=out)
            self.ends(result, 0)
            self.assertIn(f"{groups} states side by side", result[2])
            for state in states:
                self.assertEqual(datasets(self.at(out, state, "segment.h5")), datasets(self.at("one", state, "segment.h5")))
            self.assertEqual(datasets(self.at(out, "track.h5")), datasets(self.at("one", "track.h5")))
            self.assertEqual(self.rows(out), self.rows("one"), "the same rows in the same order")
            units = {u["state"] + "/" + u["stage"]: u for u in self.status(out)["units"]}
            self.assertEqual({u["is"] for u in units.values()}, {"done"})
            for state in states:  # what another group did is known with its costs
                self.assertGreater(units[state + "/segment"]["written_bytes"], 24 * 25 * 26)
            self.assertEqual(sorted(self.done_lines(out)), sorted([["done", s, "segment"] for s in states] + [["done", "all", "track"]]))
            self.ends(self.run_it("--side-by-side", groups, "--quiet", out=out), 0)
            self.assertEqual(set(self.units(out).values()), {"kept"})
        self.assertEqual([n for n in os.listdir(self.at("side2", "a")) if not n.endswith(".h5")], [])

    def test_a_state_that_fails_leaves_the_others_alone(self):
        self.cycle(("a", "b", "c"))
        self.write("raw/b.h5", "no volume at all")
        self.ends(self.run_it("--side-by-side", 2, "--quiet", "--until", "segment"), 3, "b/segment", "raw/b.h5")
        self.assertEqual([self.units()[s + "/segment"] for s in "abc"], ["done", "failed", "done"])

    def test_what_a_group_has_no_memory_for_is_done_by_all(self):
        """Two of three ranks cannot hold a state, three can."""
        self.cycle(("a", "b"), 60)
        needs = {}
        for ranks in (1, 2, 3):
            code, said, _ = call("plan", "segment", "--input", self.at("raw/a.h5"), "--memory-gb", 1, "--json", "-", ranks=ranks)
            needs[ranks] = json.loads(said)["results"]["memory_per_rank"]["value"]
        self.assertLess(needs[3], needs[2])
        allowed = 3 * (needs[3] + needs[2]) / 2
        result = self.run_it("--side-by-side", 2, "--memory-gb", allowed, "--until", "segment")
        self.ends(result, 0)
        self.assertIn("again, by all ranks", result[2])
        self.assertEqual(set(self.units().values()), {"done"})

    def test_a_stop_file_ends_all_groups(self):
        self.cycle(("a", "b", "c"))
        self.ends(self.run_it("--quiet"), 0)
        self.write("out/stop", "")
        self.ends(self.run_it("--side-by-side", 3, "--redo", "--quiet"), 75, "stop")
        self.assertEqual(self.status()["phase"], "stopped")
        self.ends(self.run_it("--side-by-side", 3, "--redo", "--quiet"), 0)

    def test_more_groups_than_ranks_are_refused(self):
        self.cycle()
        self.ends(self.run_it("--side-by-side", 4, "--quiet"), 2, "--side-by-side 4", "ranks (3)")


if __name__ == "__main__":
    unittest.main()
