"""kill -9 at any moment: run again continues, and ends with the same bits.
timeout: 400"""
import os, random, shutil, signal, subprocess, time, unittest

import h5py
import numpy as np

from cycles import MPIEXEC, XCSCT, Folder, datasets, scan

KILLS = int(os.environ.get("XCSCT_KILLS", "5"))
BLOCKS = ("recon: {centre: 31.5, rings: none, method: direct}\nsegment: {median: 3}\n"
          "flux: {conducting: [1], direction: z, tolerance: 1e-3}\n")


def ranks_of(mpirun):
    """Processes that mpirun started."""
    out = subprocess.run(["ps", "-o", "pid=", "--ppid", str(mpirun)], capture_output=True, text=True)
    return [int(pid) for pid in out.stdout.split()]


class Kill(Folder):
    def words(self, out):
        return [MPIEXEC, "-n", "2", XCSCT, "run", self.at("cycle.yaml"), "--output", self.at(out), "--quiet", *self.chosen()]

    def chosen(self):
        return ["--stages", "recon,segment,flux"]

    def inputs(self):
        states = ("a", "b", "c")
        for i, state in enumerate(states):
            scan(self.at(state + ".h5"), 64, 60, 64, i)
        self.write("cycle.yaml", "states:\n" + "".join(f"  - {{name: {s}, tomogram: {s}.h5}}\n" for s in states) + BLOCKS)

    def files(self):
        """{"state/stage": file below the output folder} of an undisturbed run."""
        done = [name for name, what in self.units("whole").items() if what == "done"]
        return {name: name.removeprefix("all/") + ".h5" for name in done}

    def undisturbed(self, out):
        begun = time.monotonic()
        done = subprocess.run(self.words(out), capture_output=True, text=True, timeout=900)
        self.assertEqual(done.returncode, 0, done.stderr)
        return time.monotonic() - begun

    def kill_once(self, kind, after):
        job = subprocess.Popen(self.words("out"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(after)
        ranks = ranks_of(job.pid)
        victims = {"one": ranks[:1], "all": ranks, "mpirun": [job.pid]}[kind]
        for pid in victims:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        job.wait(timeout=60)
        for _ in range(100):  # ranks end by themselves when their mpirun is gone
            if not any(os.path.exists(f"/proc/{pid}") for pid in ranks):
                break
            time.sleep(0.1)
        self.assertFalse(any(os.path.exists(f"/proc/{pid}") for pid in ranks), "ranks outlive their job")

    def whole_under_their_names(self):
        for name in self.files().values():
            if os.path.exists(self.at("out", name)):
                h5py.File(self.at("out", name), "r").close()

    def same(self, stage, path):
        a, b = (datasets(self.at(out, path)) for out in ("out", "whole"))
        if stage == "flux":  # within its interval
            with h5py.File(self.at("out", path)) as f, h5py.File(self.at("whole", path)) as g:
                for name in (n for n in g["entry/results"] if n.startswith("effective_diffusivity")):
                    x, y = f["entry/results/" + name][()], g["entry/results/" + name][()]
                    self.assertAlmostEqual(x, y, delta=1e-3 * abs(y) + 1e-12, msg=(path, name))
            return
        if stage == "correlate":  # what follows from the flux does so within its interval
            flux = 14  # correlate_maps.def
            for found, out in ((a, "out"), (b, "whole")):
                with h5py.File(self.at(out, path)) as f:
                    for name in ("entry/maps/data", "entry/maps/data_errors"):
                        found[name] = np.delete(f[name][...], flux, 1).tobytes()
                for name in [n for n in found if "flux" in n or n.startswith("entry/correlations")]:
                    del found[name]
        self.assertEqual(sorted(a), sorted(b), path)
        self.assertEqual([n for n in a if a[n] != b[n]], [], path)

    def ends_as_undisturbed(self):
        self.undisturbed("out")
        for unit, path in self.files().items():
            self.same(unit.split("/")[1], path)
        lines = [line.split()[1:4] for line in self.read("out/journal/run.log").splitlines()]
        for unit in self.files():
            self.assertLessEqual(lines.count(["done", *unit.split("/")]), 1, "a finished unit was redone: " + unit)
        left = [name for _, _, names in os.walk(self.at("out")) for name in names
                if name.endswith((".partial", ".rounds", ".lock", ".checkpoint"))]
        self.assertEqual(left, [], "partial files, journals and locks are left behind")

    def test_a_killed_run_goes_on_to_the_same_bits(self):
        self.inputs()
        seconds = self.undisturbed("whole")
        dice, cycles = random.Random(KILLS), 0
        for i in range(KILLS):
            self.kill_once(("one", "all", "mpirun")[i % 3], dice.uniform(0.1, 0.9) * seconds)
            self.whole_under_their_names()
            if i < KILLS - 1 and all(os.path.exists(self.at("out", f)) for f in self.files().values()):  # all is done: again from nothing
                self.ends_as_undisturbed()
                shutil.rmtree(self.at("out"))
                cycles += 1
        self.ends_as_undisturbed()
        print(f"{KILLS} kills, {cycles + 1} cycles of {seconds:.1f} s")


if __name__ == "__main__":
    unittest.main()
