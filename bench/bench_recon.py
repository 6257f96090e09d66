"""Reconstruction from NXtomo to HDF5 by the command, and what other programs take for the same sinograms.
    bench_recon.py XCSCT [COLUMNS ANGLES ROWS [SLICES OF EACH PEER]]        default: 512 720 64 2
One JSON line per case; rates per second of one processor, also of several ranks. Start is what one slice (two on two
ranks) takes: libraries, a batch of one slice, the picture. Peers that are not installed are said to be skipped.
XCSCT_BENCH_FOLDER: where the files go (default: the folder of temporary files).
XCSCT_BENCH_WARM_GB=N: N GB of memory are touched and freed before each command. A virtual machine that hands free memory
back to its host takes seconds for each GB that is touched anew; this times the program instead."""
import json, mmap, os, resource, subprocess, sys, tempfile, time

for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"
import h5py
import numpy as np


def say(case, **more):
    print(json.dumps({"bench": case, **more}), flush=True)


def sinogram(columns, angles):
    """A disc and a bar of what 20,000 counts show, attenuation."""
    theta = np.arange(angles) * np.pi / angles
    s = np.arange(columns) - 0.5 * (columns - 1)
    value = 1.5 * np.sqrt(np.maximum(1 - (s / (0.45 * columns)) ** 2, 0))[None, :] * np.ones((angles, 1))
    d = s[None, :] - 0.2 * columns * np.cos(theta)[:, None]
    value += 0.3 * np.sqrt(np.maximum(1 - (d / (0.1 * columns)) ** 2, 0))
    return theta, (value + np.random.default_rng(1).normal(0, 0.01, value.shape)).astype("f4")


def write_scan(path, theta, sino, rows):
    angles, columns = sino.shape
    frames = np.round(100 + 20000 * np.exp(-sino)).astype("u2")
    with h5py.File(path, "w") as f:
        entry = "entry1/tomo_entry/"
        data = f.create_dataset(entry + "instrument/detector/data", (angles + 20, rows, columns), "u2")
        data[:10], data[10:20] = 100, 20100
        for a in range(angles):
            data[20 + a] = np.roll(frames[a][None, :].repeat(rows, 0), 1, 0)
        f[entry + "instrument/detector/image_key"] = np.array([2] * 10 + [1] * 10 + [0] * angles, "i4")
        f[entry + "sample/rotation_angle"] = np.concatenate([np.zeros(20), np.rad2deg(theta)])
        f[entry + "sample/rotation_angle"].attrs["units"] = "degree"


def children_s():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def warm_memory(gigabytes):
    if gigabytes > 0:
        with mmap.mmap(-1, int(gigabytes * 1e9)) as memory:
            memory.madvise(mmap.MADV_HUGEPAGE)
            for at in range(0, len(memory), 4096):
                memory[at] = 1


def command(xcsct, words, ranks):
    head = ["mpirun", "-n", str(ranks)] if ranks > 1 else []
    warm_memory(float(os.environ.get("XCSCT_BENCH_WARM_GB", 0)))
    begun, used = time.time(), children_s()
    subprocess.run(head + [xcsct] + words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.time() - begun, children_s() - used


def end_to_end(xcsct, folder, theta, sino, rows):
    angles, columns = sino.shape
    scan, out = os.path.join(folder, "scan.nxs"), os.path.join(folder, "out.h5")
    write_scan(scan, theta, sino, rows)
    words = ["recon", "--input", scan, "--output", out, "--centre", str(0.5 * (columns - 1)), "--quiet"]
    command(xcsct, words, 1)  # the files are in the system's cache from here on
    for case, more, ranks in (("plain", [], 1), ("sorting", ["--rings", "vo"], 1), ("all_rings", ["--rings", "vo-all"], 1),
                              ("plain", [], 2), ("sorting", ["--rings", "vo"], 2)):
        start = command(xcsct, words + more + ["--rows", "0:" + str(ranks)], ranks)
        whole = command(xcsct, words + more, ranks)
        wall_s, cpu_s = [max(a - b, 1e-9) for a, b in zip(whole, start)]
        say("recon.end_to_end." + case, columns=columns, angles=angles, slices=rows, ranks=ranks, seconds=round(whole[0], 3),
            cpu_s=round(whole[1], 3), start_seconds=round(start[0], 3), start_cpu_s=round(start[1], 3),
            slices_per_cpu_s=round(rows / whole[1], 2), slices_per_cpu_s_after_start=round((rows - ranks) / cpu_s, 2),
            slices_per_second_after_start=round((rows - ranks) / wall_s, 2))


def peer(name, columns, angles, slices, make):
    try:
        work = make()
    except ImportError as why:
        return say("recon.peer." + name, skipped=str(why))
    work()  # what is compiled at first use
    begun = time.process_time()
    for _ in range(slices):
        work()
    cpu_s = (time.process_time() - begun) / slices
    say("recon.peer." + name, columns=columns, angles=angles, cpu_ms_per_slice=round(1e3 * cpu_s, 2),
        slices_per_cpu_s=round(1 / cpu_s, 3))


def skimage(theta, sino):
    def make():
        from skimage.transform import iradon
        return lambda: iradon(sino.T, theta=np.rad2deg(theta), filter_name="ramp", circle=True)
    return make


def astra(theta, sino):
    def make():
        import astra
        columns = sino.shape[1]
        volume, rays = astra.create_vol_geom(columns, columns), astra.create_proj_geom("parallel", 1.0, columns, theta)
        projector = astra.create_projector("linear", rays, volume)

        def work():
            config = astra.astra_dict("FBP")
            config["ProjectionDataId"] = astra.data2d.create("-sino", rays, sino)
            config["ReconstructionDataId"] = astra.data2d.create("-vol", volume)
            config["ProjectorId"] = projector
            algorithm = astra.algorithm.create(config)
            astra.algorithm.run(algorithm)
            astra.algorithm.delete(algorithm)
            astra.data2d.delete([config["ProjectionDataId"], config["ReconstructionDataId"]])
        return work
    return make


def algotom(theta, sino):
    def make():
        from algotom.rec import reconstruction
        centre = 0.5 * (sino.shape[1] - 1)
        return lambda: reconstruction.fbp_reconstruction(sino, centre, angles=theta, apply_log=False, gpu=False, ncore=1)
    return make


def algotom_sorting(theta, sino):
    def make():
        from algotom.prep import removal
        return lambda: removal.remove_stripe_based_sorting(sino, size=21)
    return make


def algotom_all(theta, sino):
    def make():
        from algotom.prep import removal
        return lambda: removal.remove_all_stripe(sino)
    return make


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    columns, angles, rows, slices = [int(w) for w in sys.argv[2:6]] + [512, 720, 64, 2][len(sys.argv) - 2:]
    theta, sino = sinogram(columns, angles)
    with tempfile.TemporaryDirectory(dir=os.environ.get("XCSCT_BENCH_FOLDER")) as folder:
        end_to_end(sys.argv[1], folder, theta, sino, rows)
    for name, make in (("skimage.iradon", skimage), ("astra.fbp_linear", astra), ("algotom.fbp", algotom),
                       ("algotom.sorting", algotom_sorting), ("algotom.all_stripes", algotom_all)):
        if slices > 0:
            peer(name, columns, angles, slices, make(theta, sino))


if __name__ == "__main__":
    main()
