"""The command compton: counts against an independent count, the same cube on any ranks and from every form of file,
rounds that go on after a kill, and words for every bad input."""
# timeout: 300
import json
import os
import struct
import subprocess
import sys
import tempfile
import unittest

import h5py
import numpy as np

XCSCT = os.environ["XCSCT"]
SIDE, BIN_KEV, FIRST_KEV, LAST_KEV = 80, 0.25, 10.0, 110.0
BINS = int((LAST_KEV - FIRST_KEV) / BIN_KEV)
THRESHOLD_KEV = 4.0


def call(folder, *words, ranks=1, env=None):
    """Exit code, results by name, what stands on stderr."""
    command = [XCSCT, "compton", *map(str, words), "--json", "-"]
    if ranks > 1:
        command = [os.environ["MPIEXEC"], "-n", str(ranks), *command]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200,
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
        cls.sensor = Sensor(5, 260, 25)
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
        for name in ("a.hxt", "odin_spectra.h5"):
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


if __name__ == "__main__":
    unittest.main(verbosity=2)
