"""A disk that is full at any point of a run, an output folder that cannot be written, an input that vanishes, clocks that
jump: one message, older results whole, and the next run goes on.
timeout: 400 sanitized: full"""
import os, signal, subprocess, tempfile, time, unittest

from hostile import COUNTING, CYCLE, Folder, call, frames, hxt, labels, scan, text, volume
from faults import blobs

import cycles
import h5py

STAGES = [
    (volume, "volume.h5", ("segment", "--input")), (labels, "labels.h5", ("flux", "--conducting", "1", "--input")),
    (labels, "labels.h5", ("surface", "--phase", "1", "--voxel-um", "1", "--labels")),
    (scan, "scan.nxs", ("recon", "--rings", "none", "--centre", "8", "--input")),
    (frames, "f.bin", (*COUNTING, "--gain-kev", "0.05", "--frames")), (hxt, "s.hxt", (*COUNTING, "--spectra")),
    (blobs, "blobs.h5", ("align", "--box", "all", "--most-px", "4", "--volumes")),
]


def mounted(kind, at, options):
    os.makedirs(at, exist_ok=True)
    return subprocess.run(["mount", *kind, "-o", options, at], capture_output=True).returncode == 0


class Disk(Folder):
    def mount(self, kind, name, options):
        at = self.at(name)
        if not mounted(kind, at, options):
            self.skipTest("nothing can be mounted here")
        self.addCleanup(subprocess.run, ["umount", at], capture_output=True)
        return at

    def used(self, at):
        info = os.statvfs(at)
        return (info.f_blocks - info.f_bfree) * info.f_frsize

    def test_every_stage_says_that_the_disk_is_full(self):
        """By half of what it wrote where there was room: neither nothing nor all of it fits."""
        roomy = self.mount(("-t", "tmpfs", "tmpfs"), "roomy", "size=64m")
        for make, name, command in STAGES:
            make(self.at(name))
            begun = time.monotonic()
            self.assertIn(call(*command, self.at(name), "--output", os.path.join(roomy, "o.h5"), "--quiet")[0], (0, 6))
            bytes_used = self.used(roomy)
            for path in os.listdir(roomy):
                os.unlink(os.path.join(roomy, path))
            small = self.mount(("-t", "tmpfs", "tmpfs"), "small", f"size={max(bytes_used // 2, 8192) // 4096 * 4096}")
            with self.subTest(command[0]):
                result = call(*command, self.at(name), "--output", os.path.join(small, "o.h5"), "--quiet", ranks=2, timeout=60)
                self.ends(result, 4, os.path.join(small, "o."))
                self.assertEqual([n for n in os.listdir(small)], [])
                self.assertLess(time.monotonic() - begun, 90)
            subprocess.run(["umount", small])

    def test_a_run_on_a_disk_that_fills_goes_on_when_there_is_room(self):
        """Every size from too small for the folders to large enough; then room is made."""
        volume(self.at("v.h5"))
        text(CYCLE.replace("flux:\n  conducting: [1, 2]\n  direction: z\n", "flux: {conducting: [1]}\n"))(self.at("cycle.yaml"))
        words = ("run", self.at("cycle.yaml"), "--stages", "segment,flux", "--quiet", "--output")
        self.ends(call(*words, self.at("whole")), 0)
        small, codes = self.mount(("-t", "tmpfs", "tmpfs"), "small", "size=16k"), []
        for size_kb in (16, 48, 80, 144, 272, 528, 4096):
            subprocess.run(["mount", "-o", f"remount,size={size_kb}k", small], check=True)
            code, _, said = call(*words, os.path.join(small, "out"), timeout=60)
            codes.append(code)
            self.assertIn(code, (0, 4), said)
            self.assertEqual(said.count("xcsct: error:"), 1 if code else 0, said)
            for folder, _, names in os.walk(small):
                for name in names:
                    self.assertFalse("partial" in name or "lock" in name, name)
                    if name.endswith(".h5"):
                        h5py.File(os.path.join(folder, name), "r").close()
        self.assertEqual((codes[0], codes[-1]), (4, 0), codes)
        for state in ("pristine", "full"):
            for stage in ("segment", "flux"):
                self.assertEqual(*(sorted(h5py.File(p, "r")["entry"]) for p in (os.path.join(small, "out", state, stage + ".h5"),
                                                                              self.at("whole", state, stage + ".h5"))))

    def test_a_folder_that_is_read_only(self):
        labels(self.at("labels.h5"))
        volume(self.at("v.h5"))
        text(CYCLE)(self.at("cycle.yaml"))
        folder = self.mount(("-t", "tmpfs", "tmpfs"), "fixed", "ro,size=1m")
        self.ends(call("flux", "--conducting", "1", "--input", self.at("labels.h5"), "--output", os.path.join(folder, "o.h5"), ranks=2), 5, folder)
        self.ends(call("run", self.at("cycle.yaml"), "--output", os.path.join(folder, "out"), ranks=2), 5, folder)

    def test_an_input_that_vanishes_while_it_is_read(self):
        """The link to one of the states goes away while another is in work."""
        for name in "ab":
            cycles.scan(self.at(name + ".nxs"), rows=80)
        self.write("cycle.yaml", "states: [{name: a, tomogram: a.nxs}, {name: b, tomogram: b.nxs}]\n"
                                 "recon: {rings: none, centre: 79.5, method: direct}\n")
        job = subprocess.Popen([os.environ["XCSCT"], "run", self.at("cycle.yaml"), "--output", self.at("out"), "--until", "recon"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while not os.path.exists(self.at("out/a/recon.h5.partial")) and job.poll() is None:
            time.sleep(0.001)
        job.send_signal(signal.SIGSTOP)
        os.unlink(self.at("b.nxs"))
        job.send_signal(signal.SIGCONT)
        _, said = job.communicate(timeout=60)
        self.assertEqual(job.returncode, 3, said)
        self.assertEqual(said.count("xcsct: error:"), 1, said)
        self.assertRegex(said, "error: b/recon: .*b.nxs.*No such file")
        self.assertEqual(self.units()["a/recon"], "done")

    def test_clocks_that_jump(self):
        """The date leaps by years at every look, in both directions: limits and the journal do not mind."""
        source, library = self.write("jump.c", JUMP), self.at("jump.so")
        if subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], capture_output=True).returncode:
            self.skipTest("no compiler")
        if os.environ.get("XCSCT_BUILD") == "Sanitize":
            self.skipTest("a preloaded library comes before the sanitizer's")
        labels(self.at("labels.h5"))
        volume(self.at("v.h5"))
        text(CYCLE.replace("flux:\n  conducting: [1, 2]\n  direction: z\n", ""))(self.at("cycle.yaml"))
        words = ("run", self.at("cycle.yaml"), "--output", self.at("out"), "--stages", "segment", "--max-time", "60", "--watchdog", "30")
        code, _, said = call(*words, ranks=2, env={"LD_PRELOAD": library})
        self.assertEqual(code, 0, said)
        times = [int(line.split()[0]) for line in self.read("out/journal/run.log").splitlines()]
        self.assertGreater(max(times) - min(times), 10 ** 8, "the clock did not jump")
        self.assertLess(self.status()["seconds"], 60)
        os.utime(self.at("v.h5"), (2 ** 31, 2 ** 31))  # touched in the future
        self.ends(call(*words, "--quiet"), 0)
        self.assertEqual(set(self.units().values()), {"kept"}, "small files count by what they hold")


JUMP = """#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
static long jumps;
static long leap(void) { return (++jumps % 2 ? 1 : -1) * 100000000L * (1 + jumps % 5); }
time_t time(time_t *at) {
  struct timespec now;
  int (*clock)(clockid_t, struct timespec *) = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  clock(CLOCK_REALTIME, &now);
  now.tv_sec += leap();
  if (at) *at = now.tv_sec;
  return now.tv_sec;
}
int clock_gettime(clockid_t id, struct timespec *now) {
  int (*clock)(clockid_t, struct timespec *) = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  int failed = clock(id, now);
  if (id == CLOCK_REALTIME) now->tv_sec += leap();
  return failed;
}
"""

if __name__ == "__main__":
    unittest.main()
