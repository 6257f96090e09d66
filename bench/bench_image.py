"""bench_image.py PROGRAM [EDGE]: bench_image's lines, then scipy's in the same form on a smaller volume of like blobs."""
import json, subprocess, sys, time

import numpy as np
from scipy import ndimage

subprocess.run(sys.argv[1:], check=True)
n = 96
rng = np.random.default_rng(1)
blob = ndimage.gaussian_filter(rng.standard_normal((n, n, n)), 3, mode="wrap")
grey = (30000 + 6000 * (blob / blob.std() + rng.random(blob.shape) - 0.5)).clip(0, 65535).astype("u2")
solid = blob > 0
z, y, x = np.ogrid[-3:4, -3:4, -3:4]
ball = z * z + y * y + x * x <= 9


def case(name, work):
    spent = []
    for _ in range(3):
        begun = time.process_time()
        work()
        spent.append(time.process_time() - begun)
    print(json.dumps({"case": name, "program": "scipy", "n": n, "Mvoxel_per_cpu_s": round(n**3 / min(spent) / 1e6, 2)}), flush=True)


case("image.median.u16", lambda: ndimage.median_filter(grey, 3))
case("image.opening.grey.u16", lambda: ndimage.grey_opening(grey, footprint=ball))
case("image.opening.bits", lambda: ndimage.binary_opening(solid, ball))
case("image.otsu.u16", lambda: np.histogram(grey, 65536))
case("image.components.26", lambda: ndimage.label(solid, np.ones((3, 3, 3))))
