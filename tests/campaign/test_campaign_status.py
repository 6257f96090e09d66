"""How far a run is, from another shell and at its end.
timeout: 200"""
import json, os, re, subprocess, time, unittest

from cycles import MPIEXEC, XCSCT, Folder, call, scan

CYCLE = """states:
  - {name: a, tomogram: a.h5}
  - {name: b, tomogram: a.h5}
recon: {centre: 79.5, rings: none, method: direct}
"""


class Status(Folder):
    def started(self):
        scan(self.at("a.h5"))
        self.write("cycle.yaml", CYCLE)
        _, said, _ = call("plan", "recon", "--input", self.at("a.h5"), "--centre", "79.5", "--rings", "none",
                          "--method", "direct", "--memory-gb", "1e-6", "--json", "-")
        least = json.loads(said)["results"]["memory_per_rank"]["value"]
        return subprocess.Popen([MPIEXEC, "-n", "2", XCSCT, "run", self.at("cycle.yaml"), "--output", self.at("out"),
                                 "--until", "recon", "--memory-gb", str(2.0002 * least)], stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, text=True)

    def test_another_shell_sees_the_unit_in_work(self):
        job = self.started()
        seen = ""
        while job.poll() is None and "b/recon" not in seen:
            if os.path.exists(self.at("out/status.json")):
                code, seen, words = call("status", self.at("out"))
                self.assertEqual(code, 0, words)
                if re.search(r"now a/recon: recon [0-9]+ of 320, [0-9.e+]+ per s, about [0-9]+ s left", seen):
                    break
            time.sleep(0.02)
        self.assertRegex(seen, "now a/recon: recon [0-9]+ of 320, ", "the run was over before it was seen")
        self.assertIn("running", seen)
        _, words = job.communicate(timeout=100)
        self.assertEqual(job.returncode, 0, words)
        self.assertRegex(words, r"recon +2 done +[0-9.]+ s +[0-9.]+ GB read +0\.066 GB written +0\.[0-9]+ GB per rank")
        self.assertRegex(words, r"2 ranks, of which the largest took [0-9.]+ GB")
        upkeep, all_s = map(float, re.search(r"reading back took ([0-9.]+) s of ([0-9.]+) s", words).groups())
        self.assertTrue(0 < upkeep < all_s, words)
        status = self.status()
        self.assertNotIn("now", status)
        volume = 4 * 320 * 160 * 160
        for unit in status["units"]:
            self.assertGreater(unit["written_bytes"], volume)
            self.assertLess(unit["written_bytes"], 1.2 * volume)
            self.assertGreater(unit["read_bytes"], os.path.getsize(self.at("a.h5")))
            self.assertGreater(unit["memory_bytes"], 4 * 160 * 160)
        code, seen, _ = call("status", self.at("out"))
        self.assertIn("finished", seen)
        self.assertNotIn("now", seen)


if __name__ == "__main__":
    unittest.main()
