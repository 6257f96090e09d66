"""run: folders, what is done stays, what changed is redone.
timeout: 400 sanitized: full"""
import csv, fcntl, os, shutil, unittest

import h5py

from cycles import Folder, call, datasets, volume


class Run(Folder):
    def run_it(self, *words, out="out", **how):
        return call("run", self.at("cycle.yaml"), "--output", self.at(out), "--until", "segment",
                    "--quiet", *words, **how)

    def test_a_run_makes_the_folders_and_a_second_one_keeps_everything(self):
        self.cycle()
        self.ends(self.run_it(ranks=2), 0)
        self.assertTrue(os.path.exists(self.at("out/a/segment.h5")))
        with open(self.at("out/summary.csv")) as f:
            rows = list(csv.DictReader(f))
        self.assertEqual({r["state"] for r in rows}, {"a", "b"})
        self.assertTrue(all(float(r["value"]) >= 0 and r["stage"] == "segment" for r in rows))
        self.assertEqual(self.units()["a/segment"], "done")
        before = os.stat(self.at("out/a/segment.h5"))
        first = self.read("out/summary.csv")
        self.ends(self.run_it(), 0)
        self.assertEqual(self.units()["b/segment"], "kept")
        after = os.stat(self.at("out/a/segment.h5"))
        self.assertEqual((before.st_ino, before.st_mtime_ns), (after.st_ino, after.st_mtime_ns))
        self.assertEqual(self.read("out/summary.csv"), first, "kept results are told again")
        journal = self.read("out/journal/run.log")
        self.assertIn("done a segment", journal)
        self.assertIn("kept a segment", journal)
        self.assertFalse(os.path.exists(self.at("out/run.lock")))

    def test_only_what_changed_is_redone(self):
        self.cycle()
        self.ends(self.run_it(), 0)
        volume(self.at("raw/b.h5"), 12, 77)
        self.ends(self.run_it(), 0)
        self.assertEqual((self.units()["a/segment"], self.units()["b/segment"]), ("kept", "done"))
        with open(self.at("cycle.yaml"), "a") as f:
            f.write("segment: {min_voxels: 5}\n")
        self.ends(self.run_it("--state", "b"), 0)
        self.assertEqual(self.units("out/b")["b/segment"], "done")
        self.assertNotIn("a/segment", self.units("out/b"))
        self.ends(self.run_it(), 0)
        self.assertEqual((self.units()["a/segment"], self.units()["b/segment"]), ("done", "kept"))
        self.ends(self.run_it("--redo"), 0)
        self.assertEqual(self.units()["a/segment"], "done")

    def test_a_state_can_have_parameters_of_its_own(self):
        text = self.read(self.cycle(more="segment: {classes: 2, min_voxels: 4}\n"))
        own = text.replace("volume: raw/b.h5}", "volume: raw/b.h5, segment: {classes: 3}}")
        self.write("cycle.yaml", own)
        self.ends(self.run_it(), 0)
        with open(self.at("out/summary.csv")) as f:
            found = {(r["state"], r["result"]) for r in csv.DictReader(f)}
        self.assertIn(("b", "phase_fraction_2"), found)
        self.assertNotIn(("a", "phase_fraction_2"), found)
        with h5py.File(self.at("out/b/segment.h5")) as f:
            record = f["entry/process/effective_yaml/data"][()].decode()
        self.assertIn("classes: 3", record)
        self.assertIn("min_voxels: 4", record, "the rest comes from the file's block")
        self.write("cycle.yaml", own.replace("segment: {classes: 3}", "segment: {classes: 4}"))
        self.ends(self.run_it(), 0)
        self.assertEqual((self.units()["a/segment"], self.units()["b/segment"]), ("kept", "done"))
        for wrong, words in (("segment: {clases: 3}", "did you mean classes?"), ("segment: 3", "block of parameters"),
                             ("segment: {classes: 99}", "lies outside"), ("track: {phase: 1}", "all states together"),
                             ("segment: {median: 2}", "would be 0 or 3"), ("segmnt: {classes: 3}", "did you mean segment?")):
            self.write("cycle.yaml", text.replace("volume: raw/b.h5}", "volume: raw/b.h5, " + wrong + "}"))
            self.ends(call("check", self.at("cycle.yaml")), 2, "cycle.yaml:4:", words)

    def test_a_tree_that_was_moved_is_still_done(self):
        self.cycle()
        self.ends(self.run_it(), 0)
        os.mkdir(self.at("elsewhere"))
        for name in ("raw", "cycle.yaml", "out"):
            shutil.move(self.at(name), self.at("elsewhere", name))
        self.folder = self.at("elsewhere")
        self.ends(self.run_it(), 0)
        self.assertEqual(self.units()["a/segment"], "kept")

    def test_a_damaged_result_is_made_anew(self):
        self.cycle()
        self.ends(self.run_it(), 0)
        whole = datasets(self.at("out/a/segment.h5"))
        os.truncate(self.at("out/a/segment.h5"), 3000)
        code, _, words = self.run_it()
        self.assertEqual(code, 0, words)
        self.assertIn("made anew", words)
        self.assertEqual(datasets(self.at("out/a/segment.h5")), whole)

    def test_a_dry_run_does_nothing(self):
        self.cycle()
        code, _, words = call("run", self.at("cycle.yaml"), "--output", self.at("out"), "--dry-run")
        self.assertEqual(code, 0, words)
        self.assertIn("a/segment: to do", words)
        self.assertFalse(os.path.exists(self.at("out")))

    def test_one_state_that_fails_leaves_the_others_alone(self):
        self.cycle(("a", "b", "c"))
        self.write("raw/b.h5", "no volume at all")
        self.ends(self.run_it(ranks=2), 3, "b/segment", "raw/b.h5")
        self.assertEqual([self.units()[s + "/segment"] for s in "abc"], ["done", "failed", "done"])
        self.assertEqual(self.status()["phase"], "failed")
        volume(self.at("raw/b.h5"), 12, 1)
        self.ends(self.run_it(), 0)
        self.assertEqual([self.units()[s + "/segment"] for s in "abc"], ["kept", "done", "kept"])

    def test_labels_that_a_state_brings_take_the_place_of_a_stage(self):
        self.cycle()
        text = self.read("cycle.yaml").replace("volume: raw/a", "labels: raw/a")
        self.write("cycle.yaml", text)
        self.ends(self.run_it(), 0)
        self.assertEqual((self.units()["a/segment"], self.units()["b/segment"]), ("skipped", "done"))

    def test_a_foreign_folder_is_refused(self):
        self.cycle()
        self.write("out/thesis.tex", "mine")
        self.ends(self.run_it(ranks=2), 5, "out", "--force")
        self.assertEqual(os.listdir(self.at("out")), ["thesis.tex"])
        self.ends(self.run_it("--force"), 0)
        self.assertEqual(self.read("out/thesis.tex"), "mine")

    def test_a_link_out_of_the_folder_is_not_followed(self):
        self.cycle()
        os.makedirs(self.at("out/journal"))
        os.makedirs(self.at("victim"))
        os.symlink(self.at("victim"), self.at("out/a"))
        self.ends(self.run_it(), 5, "out/a", "link")
        self.assertEqual(os.listdir(self.at("victim")), [])

    def test_two_runs_cannot_share_a_folder_and_a_dead_ones_lock_is_taken_over(self):
        self.cycle()
        self.ends(self.run_it(), 0)
        with open(self.at("out/run.lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.write(f"{os.uname().nodename} {os.getpid()}\n")
            lock.flush()
            self.ends(self.run_it(ranks=2), 5, str(os.getpid()), "run.lock")
        code, _, words = self.run_it()
        self.assertEqual(code, 0, words)

    def test_states_can_be_run_side_by_side_but_not_beside_a_run_of_all(self):
        self.cycle()
        self.ends(self.run_it(), 0)
        with open(self.at("out/a/run.lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.ends(self.run_it("--state", "b", "--redo"), 0)
            self.ends(self.run_it("--state", "a"), 5, "out/a/run.lock")
            self.ends(self.run_it(), 5, "out/a/run.lock")

    def test_stop_file_and_time_limit_end_a_run_with_75(self):
        self.cycle()
        self.ends(self.run_it(), 0)
        self.write("out/stop", "")
        self.ends(self.run_it("--redo", ranks=2), 75, "stop")
        self.assertFalse(os.path.exists(self.at("out/stop")), "the stop file is used up")
        self.assertEqual(self.status()["phase"], "stopped")
        self.ends(self.run_it("--redo", "--max-time", "1e-9"), 75, "time limit")
        self.ends(self.run_it(), 0)

    def test_wrong_choices_are_told(self):
        self.cycle(("pristine", "full"))
        self.ends(self.run_it("--state", "pristin"), 2, "pristin", "did you mean pristine?")
        self.ends(self.run_it("--from", "sgment"), 2, "sgment")
        self.ends(call("run", self.at("cycle.yaml")), 2, "--output DIR")
        self.ends(call("run"), 2, "usage")
        self.ends(call("run", self.at("none.yaml"), "--output", self.at("o")), 3, "none.yaml")
        self.assertFalse(os.path.exists(self.at("o")))

    def test_results_do_not_depend_on_the_ranks(self):
        self.cycle(("a",))
        self.ends(self.run_it(out="one"), 0)
        self.ends(self.run_it(out="three", ranks=3), 0)
        self.assertEqual(datasets(self.at("one/a/segment.h5")), datasets(self.at("three/a/segment.h5")))

    def test_status_check_plan_validate(self):
        self.cycle()
        self.ends(self.run_it(), 0)
        code, said, _ = call("status", self.at("out"))
        self.assertEqual(code, 0)
        self.assertIn("finished", said)
        code, said, _ = call("check", self.at("cycle.yaml"), "--json", "-")
        self.assertEqual(code, 0)
        code, said, _ = call("plan", self.at("cycle.yaml"), "--ranks", 64, "--per-node", 16)
        self.assertEqual(code, 0)
        for line in ("#SBATCH --nodes=4", "#SBATCH --ntasks-per-node=16", "#SBATCH --array=0-1"):
            self.assertIn(line, said)
        self.ends(call("validate", self.at("out/a/segment.h5"), "--quiet"), 0)
        os.unlink(self.at("raw/a.h5"))
        self.ends(call("check", self.at("cycle.yaml")), 3 - 1, "cycle.yaml:3:", "raw/a.h5 cannot be read")
        os.truncate(self.at("out/b/segment.h5"), 4000)
        self.ends(call("validate", self.at("out/b/segment.h5")), 3, "segment.h5")

    def test_init_makes_a_cycle_that_check_takes(self):
        self.cycle()
        os.unlink(self.at("cycle.yaml"))
        for name in ("pristine_ct.h5", "full_ct.h5"):
            volume(self.at("raw", name))
        self.ends(call("init", self.at("raw"), "--output", self.at("raw/cycle.yaml")), 0)
        self.ends(call("check", self.at("raw/cycle.yaml")), 0)
        self.ends(call("init", self.at("raw"), "--output", self.at("raw/cycle.yaml")), 5, "--force")


if __name__ == "__main__":
    unittest.main()
