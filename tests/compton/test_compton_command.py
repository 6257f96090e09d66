"""The command compton: counts against an independent count, the same cube on any ranks and from every form of file,
rounds that go on after a kill, and words for every bad input."""
# timeout: 600 sanitized: full
import itertools
import json
import os
import struct
import subprocess
import tempfile
import time
import unittest

import h5py
import numpy as np

XCSCT = os.environ["XCSCT"]
SIDE, BIN_KEV, FIRST_KEV, LAST_KEV = 32, 0.25, 10.0, 110.0  # a smaller detector than the real one
BINS = int((LAST_KEV - FIRST_KEV) / BIN_KEV)
THRESHOLD_KEV = 4.0


SHAPE = ["--rows", SIDE, "--columns", SIDE]


def call(folder, *words, ranks=1, env=None, shape=SHAPE):
    """Exit code, results by name, what stands on stderr."""
    command = [XCSCT, "compton", *map(str, words), *map(str, shape), "--json", "-"]
    if ranks > 1:
        command = [os.environ["MPIEXEC"], "-n", str(ranks), *command]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300,
                          env=dict(os.environ, **(env or {})))
    results = json.loads(done.stdout)["results"] if done.stdout.startswith("{") else {}
    return done.returncode, {name: row["value"] for name, row in results.items()}, done.stderr


def cube_of(path):
    with h5py.File(path) as file:
        return file["/entry/cube/data"][:]


class Sensor:
    """Frames whose energies are whole multiples of 1/8 keV: no count hangs on rounding."""

    def __init__(self, seed, frames, hits, side=SIDE):
        random = np.random.default_rng(seed)
        self.dark = random.integers(900, 1100, (side, side))
        self.gain = random.choice([0.25, 0.5], (side, side))
        self.gain[3, 5] = 0
        self.offset = random.integers(-4, 5, (side, side)) / 8
        self.frame = np.broadcast_to(self.dark, (frames, side, side)).copy()
        n = random.poisson(hits, frames)
        for f in range(frames):
            for _ in range(n[f]):
                r, c = random.integers(0, side, 2)
                self.frame[f, r, c] += random.integers(8, 260)
                if random.random() < 0.4:
                    dr, dc = random.integers(-1, 2, 2)
                    if 0 <= r + dr < side and 0 <= c + dc < side:
                        self.frame[f, r + dr, c + dc] += random.integers(8, 130)
        self.frame[::7, 0, 0] += 100  # borders and corners
        self.frame[::5, side - 1, side - 1] += 120
        self.frame[::5, side - 2, side - 1] += 40
        self.frame = self.frame.astype("<u2")

    def write(self, folder):
        self.interleaved().tofile(f"{folder}/frames.bin")
        self.interleaved(self.dark[None].astype("<u2")).tofile(f"{folder}/dark.bin")
        np.savetxt(f"{folder}/gain.txt", self.gain)
        np.savetxt(f"{folder}/offset.txt", self.offset)

    def interleaved(self, frame=None):
        frame = self.frame if frame is None else frame
        side = frame.shape[-1]
        word = np.arange(side)
        return np.ascontiguousarray(frame[..., word // 4 + side // 4 * (word % 4)])


def count(sensor, max_cluster):
    """The count anew: clusters by growing from each hit over the eight neighbours."""
    energy = sensor.gain * (sensor.frame.astype(int) - sensor.dark) + sensor.offset
    hit = (energy >= THRESHOLD_KEV) & (sensor.gain > 0)
    side = sensor.gain.shape[0]
    cube = np.zeros((side, side, BINS), int)
    singles = pairs = dropped = outside = 0
    for f in range(len(sensor.frame)):
        left = {(int(r), int(c)) for r, c in zip(*np.nonzero(hit[f]))}
        while left:
            todo = [left.pop()]
            members = []
            while todo:
                r, c = todo.pop()
                members.append((r, c))
                near = {(r + a, c + b) for a in (-1, 0, 1) for b in (-1, 0, 1)} & left
                left -= near
                todo += near
            if len(members) > max_cluster:
                dropped += 1
                continue
            singles += len(members) == 1
            pairs += len(members) == 2
            at = min(members, key=lambda m: (-energy[f][m], m))
            b = int((sum(energy[f][m] for m in members) - FIRST_KEV) // BIN_KEV)
            if 0 <= b < BINS:
                cube[at][b] += 1
            else:
                outside += 1
    return cube, singles, pairs, dropped, outside


MAPS = ["--dark", "dark.bin", "--gain", "gain.txt", "--offset", "offset.txt"]
BINNING = ["--first-kev", FIRST_KEV, "--last-kev", LAST_KEV, "--bin-kev", BIN_KEV, "--threshold-kev", THRESHOLD_KEV]


class Counting(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.folder = cls.scratch.name
        cls.sensor = Sensor(5, 260, 10)
        cls.sensor.write(cls.folder)

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def cube(self, *words, **more):
        code, results, said = call(self.folder, *words, *BINNING, "--output", "out.h5", **more)
        self.assertEqual(code, 0, said)
        return cube_of(f"{self.folder}/out.h5"), results

    def test_counts_equal_an_independent_count(self):
        for most in (1, 2):
            want, singles, pairs, dropped, outside = count(self.sensor, most)
            self.assertGreater(dropped, 20)
            cube, results = self.cube("--frames", "frames.bin", *MAPS, "--max-cluster", most)
            self.assertEqual(cube.shape, (1, SIDE, SIDE, BINS))
            self.assertEqual(cube.dtype, np.uint32)
            np.testing.assert_array_equal(cube[0], want)
            self.assertEqual([results[k] for k in ("singles", "pairs", "dropped", "outside")],
                             [singles, pairs, dropped, outside])
            self.assertEqual(results["events"], singles + pairs)
            self.assertEqual(results["frames"], 260)
            self.assertEqual(results["bad_pixels"], 1)

    def test_headerless_frames_have_80_by_80_pixels_unless_it_is_said(self):
        with tempfile.TemporaryDirectory() as folder:
            sensor = Sensor(6, 90, 25, 80)
            sensor.write(folder)
            code, results, said = call(folder, "--frames", "frames.bin", *MAPS, *BINNING, "--output", "out.h5", shape=[])
            self.assertEqual(code, 0, said)
            want, singles, pairs, dropped, _ = count(sensor, 2)
            np.testing.assert_array_equal(cube_of(f"{folder}/out.h5")[0], want)
            self.assertEqual([results[k] for k in ("singles", "pairs", "dropped")], [singles, pairs, dropped])

    def test_ranks_do_not_show(self):
        one, results = self.cube("--frames", "frames.bin", *MAPS)
        for ranks in (2, 3, 5):
            cube, others = self.cube("--frames", "frames.bin", *MAPS, ranks=ranks)
            np.testing.assert_array_equal(cube, one)
            self.assertEqual(others, results)

    def test_every_form_of_file_gives_the_same_cube(self):
        one, results = self.cube("--frames", "frames.bin", *MAPS)
        sensor, folder = self.sensor, self.folder
        sensor.frame.tofile(f"{folder}/sorted.bin")
        sensor.dark.astype("<u2").tofile(f"{folder}/sorted_dark.bin")
        cube, others = self.cube("--frames", "sorted.bin", "--order", "sorted", "--dark", "sorted_dark.bin",
                                 "--gain", "gain.txt", "--offset", "offset.txt")
        np.testing.assert_array_equal(cube, one)
        self.assertEqual(others, results)
        sensor.interleaved()[:100].tofile(f"{folder}/a.bin")
        sensor.interleaved()[100:].tofile(f"{folder}/b.bin")
        cube, others = self.cube("--frames", "a.bin", "b.bin", *MAPS)
        np.testing.assert_array_equal(cube, one)
        self.assertEqual(others, results)
        with h5py.File(f"{folder}/odin.h5", "w") as file:
            file["raw_frames"] = sensor.frame
        with h5py.File(f"{folder}/maps.h5", "w") as file:
            file["gain"], file["offset"] = sensor.gain, sensor.offset
            file["dark"] = sensor.dark[None].astype("u2")
        cube, others = self.cube("--frames", "odin.h5", "--dark", "maps.h5:dark", "--gain", "maps.h5:gain",
                                 "--offset", "maps.h5:offset", ranks=2)
        np.testing.assert_array_equal(cube, one)
        self.assertEqual(others, results)

    def test_dark_runs_at_their_times_follow_a_dark_that_drifts(self):
        words = self.sensor.interleaved()[:200]
        words.tofile(f"{self.folder}/still.bin")
        one, results = self.cube("--frames", "still.bin", *MAPS)
        sensor = self.sensor
        drift = 2 * np.arange(200) + 1  # ADU, straight from 0 at the beginning to 400 at the end
        (words + drift[:, None, None].astype("<u2")).tofile(f"{self.folder}/drift.bin")
        for name, more in (("before.bin", 0), ("after.bin", 400)):
            sensor.interleaved(sensor.dark[None].astype("<u2") + np.uint16(more)).tofile(f"{self.folder}/{name}")
        words = ["--frames", "drift.bin", "--dark", "before.bin", "after.bin", "--gain", "gain.txt", "--offset", "offset.txt",
                 "--exposures-s", 20, "--starts-s", 1000, "--dark-times-s", "1000,1020"]
        for ranks in (1, 3):
            cube, others = self.cube(*words, ranks=ranks)
            np.testing.assert_array_equal(cube, one)
            self.assertEqual([others[k] for k in ("events", "singles", "pairs", "dropped", "outside")],
                             [results[k] for k in ("events", "singles", "pairs", "dropped", "outside")])
        cube, _ = self.cube(*words[:-2])
        self.assertGreater((cube != one).sum(), 1000)

    def test_spectra_give_the_cube_from_which_they_are(self):
        one, _ = self.cube("--frames", "frames.bin", *MAPS)
        edge = FIRST_KEV + BIN_KEV * np.arange(BINS)
        with open(f"{self.folder}/a.hxt", "wb") as file:
            file.write(b"HEXITECH" + struct.pack("<Q9Ii", 3, *[0] * 9, 0) + bytes(100) + bytes(16) +
                       struct.pack("<3I", SIDE, SIDE, BINS))
            edge.astype("<f8").tofile(file)
            one[0].astype("<f8").tofile(file)
        with h5py.File(f"{self.folder}/odin_spectra.h5", "w") as file:
            file["pixel_spectra"] = one.astype("f4")
            file["spectra_bins"] = edge
        with open(f"{self.folder}/first.hxt", "wb") as file:
            file.write(b"HEXITECH" + struct.pack("<Q3I", 1, SIDE, SIDE, BINS))
            edge.astype("<f8").tofile(file)
            one[0].astype("<f8").tofile(file)
        for name in ("a.hxt", "first.hxt", "odin_spectra.h5"):
            for ranks in (1, 3):
                cube, results = self.cube("--spectra", name, ranks=ranks)
                np.testing.assert_array_equal(cube, one)
                self.assertEqual(results["events"], one.sum())
        cube, _ = self.cube("--spectra", "a.hxt", "odin_spectra.h5")
        np.testing.assert_array_equal(cube, 2 * one)

    def test_regions_stand_one_behind_the_other(self):
        one, _ = self.cube("--frames", "frames.bin", *MAPS)
        self.sensor.interleaved()[:100].tofile(f"{self.folder}/a.bin")
        first, _ = self.cube("--frames", "a.bin", *MAPS)
        cube, results = self.cube("--frames", "frames.bin", "a.bin", "--files-per-region", "1,1", *MAPS, ranks=2)
        np.testing.assert_array_equal(cube[0], one[0])
        np.testing.assert_array_equal(cube[1], first[0])
        self.assertEqual(results["frames_region2"], 100)
        self.assertEqual(results["events"], results["events_region1"] + results["events_region2"])


class Hits(unittest.TestCase):
    """What the thresholds left of frames is counted anew."""

    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.folder = cls.scratch.name
        cls.sensor = Sensor(7, 150, 6)
        cls.sensor.frame[40:90] = cls.sensor.dark  # a gap
        cls.sensor.write(cls.folder)

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def cube(self, out, *words, **more):
        code, results, said = call(self.folder, *words, *MAPS, *BINNING, "--output", out, **more)
        self.assertEqual(code, 0, said)
        return cube_of(f"{self.folder}/{out}"), results

    def test_hits_are_the_frames(self):
        want, results = self.cube("a.h5", "--frames", "frames.bin", "--hits", "yes")
        with open(f"{self.folder}/a_region1.hits", "rb") as file:
            one = file.read()
        self.cube("a.h5", "--frames", "frames.bin", "--hits", "yes", ranks=3)
        with open(f"{self.folder}/a_region1.hits", "rb") as file:
            self.assertEqual(len(file.read()) // 100, len(one) // 100)  # gaps at the ends of blocks are apart
        energy = self.sensor.gain * (self.sensor.frame.astype(int) - self.sensor.dark) + self.sensor.offset
        hits = int(((energy >= THRESHOLD_KEV) & (self.sensor.gain > 0)).sum())
        self.assertLess(len(one), 48 + 2 * SIDE * SIDE + 4 * hits + 40)
        for ranks in (1, 2, 5):
            cube, others = self.cube("b.h5", "--frames", "a_region1.hits", ranks=ranks)
            np.testing.assert_array_equal(cube, want)
            self.assertEqual(others, results)

    def test_other_settings_are_those_of_the_frames(self):
        self.cube("a.h5", "--frames", "frames.bin", "--hits", "yes")
        for other in (["--veto", "yes"], ["--max-cluster", 1], ["--threshold-kev", 7.5], ["--offset", "more.txt"]):
            np.savetxt(f"{self.folder}/more.txt", self.sensor.offset - 0.25)
            cube, others = self.cube("b.h5", "--frames", "a_region1.hits", *other, ranks=2)
            want, results = self.cube("c.h5", "--frames", "frames.bin", *other)
            np.testing.assert_array_equal(cube, want)
            self.assertEqual(others, results)


class Killed(unittest.TestCase):
    def test_a_killed_count_goes_on_and_ends_alike(self):
        with tempfile.TemporaryDirectory() as folder:
            Sensor(9, 300, 4).write(folder)
            with open(f"{folder}/frames.bin", "rb") as file:
                frames = file.read()
            with open(f"{folder}/frames.bin", "wb") as file:
                for _ in range(160):
                    file.write(frames)
            words = ["--frames", "frames.bin", *MAPS, *BINNING, "--round-s", 0, "--hits", "yes"]
            code, results, said = call(folder, *words, "--output", "whole.h5")
            self.assertEqual(code, 0, said)
            command = [XCSCT, "compton", *map(str, words), *map(str, SHAPE), "--output", "killed.h5"]
            run = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for _ in range(4000):
                if os.path.exists(f"{folder}/killed.h5.region1.kept") or run.poll() is not None:
                    break
                time.sleep(0.005)
            run.kill()
            self.assertNotEqual(run.wait(), 0, "it was killed amid the count")
            self.assertFalse(os.path.exists(f"{folder}/killed.h5"))
            code, others, said = call(folder, *words, "--output", "killed.h5", ranks=2)
            self.assertEqual(code, 0, said)
            self.assertIn("goes on after", said)
            self.assertEqual(others, results)
            np.testing.assert_array_equal(cube_of(f"{folder}/killed.h5"), cube_of(f"{folder}/whole.h5"))
            self.assertEqual(sorted(name for name in os.listdir(folder) if name.startswith("killed")),
                             ["killed.h5", "killed_region1.hits"])
            code, others, said = call(folder, "--frames", "killed_region1.hits", *MAPS, *BINNING)
            self.assertEqual((code, others), (0, results), said)


class Refused(unittest.TestCase):
    """One clear message, the right exit code, nothing under the output's name."""

    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.folder = cls.scratch.name
        cls.sensor = Sensor(11, 6, 10)
        cls.sensor.write(cls.folder)
        flat = np.zeros((1, SIDE, SIDE, 200), "f4")
        cls.spectra("empty.h5", flat)
        flat[..., 130] = 1e3  # one line far below the peak
        cls.spectra("low.h5", np.roll(flat, -120, axis=3))
        flat[0, 4, 7, 9] = -1
        cls.spectra("negative.h5", flat)
        cls.spectra("small.h5", np.ones((1, 40, 40, 200), "f4"))
        cls.spectra("wide.h5", np.ones((1, SIDE, SIDE, 200), "f4"), 0.25)

    @classmethod
    def spectra(cls, name, counts, step=0.2):
        with h5py.File(f"{cls.folder}/{name}", "w") as file:
            file.create_dataset("pixel_spectra", data=counts, compression=1)
            file["spectra_bins"] = 75 + step * np.arange(counts.shape[-1])

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    ranks = itertools.cycle((1, 2))

    def refused(self, code, what, *words):
        got, _, said = call(self.folder, *words, "--output", "refused.h5", ranks=next(self.ranks))
        lines = [line for line in said.splitlines() if "error:" in line]
        self.assertEqual((got, len(lines)), (code, 1), said)
        self.assertIn(what, lines[0])
        self.assertEqual([name for name in os.listdir(self.folder) if name.startswith("refused.h5")], [])

    def frames(self, code, what, *words):
        self.refused(code, what, "--frames", "frames.bin", *words)

    def write(self, name, content):
        with open(f"{self.folder}/{name}", "wb") as file:
            file.write(content)
        return name

    def test_a_short_last_frame(self):
        self.sensor.frame.tofile(f"{self.folder}/short.bin")
        whole = 2 * SIDE * SIDE
        os.truncate(f"{self.folder}/short.bin", 6 * whole - 77)
        self.refused(3, f"short.bin: the last frame has {whole - 77} of {whole} bytes", "--frames", "short.bin", *MAPS)
        self.refused(3, "is empty", "--frames", self.write("nothing.bin", b""), *MAPS)

    def test_a_map_of_another_size(self):
        np.savetxt(f"{self.folder}/map.txt", np.ones((SIDE, SIDE - 1)))
        self.frames(3, f"map.txt has {SIDE * (SIDE - 1)} values; {SIDE} x {SIDE} pixels want {SIDE * SIDE}", "--gain", "map.txt")

    def test_a_map_with_words(self):
        self.write("words.txt", b"0.1 0.2\n0.1 O.3\n")
        self.frames(3, 'words.txt:2: "O.3" is no number', "--gain", "words.txt")

    def test_values_out_of_range(self):
        gain = self.sensor.gain.copy()
        gain[2, 9] = 1e9
        np.savetxt(f"{self.folder}/gains.txt", gain)
        self.frames(3, "gains.txt: the gain of pixel (2, 9) is 1e+09", "--gain", "gains.txt")
        offset = self.sensor.offset.copy()
        offset[1, 3] = -1e12
        np.savetxt(f"{self.folder}/offsets.txt", offset)
        self.frames(3, "the offset of pixel (1, 3)", "--gain", "gain.txt", "--offset", "offsets.txt")
        np.savetxt(f"{self.folder}/thresholds.txt", np.full((SIDE, SIDE), 70000))
        self.frames(3, "the threshold of pixel (0, 0) is 70000", "--gain", "gain.txt", "--threshold", "thresholds.txt")

    def test_negative_gains(self):
        gain = self.sensor.gain.copy()
        gain[5, 6] = -0.027
        np.savetxt(f"{self.folder}/below.txt", gain)
        self.frames(3, "below.txt: the gain of pixel (5, 6) is -0.027", "--gain", "below.txt")

    def test_an_all_dead_sensor(self):
        np.savetxt(f"{self.folder}/dead.txt", np.zeros((SIDE, SIDE)))
        self.frames(3, f"none of the {SIDE * SIDE} pixels is good", "--gain", "dead.txt")

    def test_frames_of_another_detector(self):
        with h5py.File(f"{self.folder}/other.h5", "w") as file:
            file["raw_frames"] = np.zeros((3, 40, 40), "u2")
        self.refused(3, "frames of another detector", "--frames", "frames.h5", "other.h5", *self.odin())
        self.refused(3, "another detector", "--frames", "frames.h5", "other.h5", "--files-per-region", "1,1",
                     "--gain-kev", 0.03, "--bin-kev", 2)
        self.refused(3, f"40 x 40 pixels, the frames {SIDE} x {SIDE}", "--frames", "frames.h5", "--dark", "other.h5",
                     "--gain-kev", 0.03)

    def odin(self):
        with h5py.File(f"{self.folder}/frames.h5", "w") as file:
            file["raw_frames"] = self.sensor.frame
        return ["--gain-kev", 0.03]

    def test_spectra_that_do_not_fit(self):
        self.refused(3, f"negative.h5: pixel {4 * SIDE + 7} has -1 counts in bin 9", "--spectra", "negative.h5")
        self.refused(3, "another detector", "--spectra", "empty.h5", "small.h5")
        self.refused(3, "another detector", "--spectra", "empty.h5", "small.h5", "--spectra-per-region", "1,1")
        self.refused(3, "bins of 0.25 keV", "--spectra", "empty.h5", "wide.h5")
        self.refused(3, "the disc has 40 x 40 pixels", "--spectra", "low.h5", "--disc", "small.h5")

    def test_settings_that_do_not_fit(self):
        self.refused(2, "--frames FILE ... or --spectra FILE")
        self.refused(2, "no gain is given", "--frames", "frames.bin")
        self.refused(2, "needs a dark run", "--frames", "frames.bin", "--gain-kev", 1, "--threshold-sigma", 5)
        self.refused(2, "last_kev = 10 keV would be above", "--frames", "frames.bin", "--first-kev", 20, "--last-kev", 10)
        self.refused(2, "'litium' is none of", "--spectra", "low.h5", "--materials", "litium")
        self.refused(2, "the regions want more", "--spectra", "low.h5", "--spectra-per-region", "1,1")
        self.refused(2, "belong to no region", "--spectra", "low.h5", "low.h5", "--spectra-per-region", "1")
        self.refused(2, "lives_s: 3 s is more than the exposure", "--spectra", "low.h5", "--exposures-s", 2,
                     "--lives-s", 3)
        self.refused(2, "frames and spectra", "--spectra", "low.h5", "--frames", "frames.bin")
        self.frames(2, "has 1 times for 2 dark runs", "--gain-kev", 1, "--dark", "dark.bin", "dark.bin", "--dark-times-s", 5)
        self.frames(2, "need the exposure", "--gain-kev", 1, "--dark", "dark.bin", "dark.bin", "--dark-times-s", "5,6")
        self.refused(2, "pair_loss = half", "--spectra", "low.h5", "--pair-loss", "half")

    def test_no_counts_is_undefined_and_said(self):
        for name in ("empty.h5", "low.h5"):
            code, results, said = call(self.folder, "--spectra", name, "--output", "undefined.h5")
            self.assertEqual(code, 0, said)
            self.assertIsNone(results["emf"])
            self.assertIsNone(results["emf_high_side"])
            self.assertIn("the momentum factor of region 1 is undefined", said)
            with h5py.File(f"{self.folder}/undefined.h5") as file:
                self.assertTrue(np.isnan(file["/entry/emf/data"][:]).all())


if __name__ == "__main__":
    unittest.main(verbosity=2)
