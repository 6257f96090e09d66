"""References of filters, thresholds and components: scipy's answers on four volumes, as hashes for
test_segment_references.c. usage: references.py (prints segment_references.h).

The hash of a volume: the sum modulo 2^64 of mix(i * 0x9e3779b97f4a7c15 + value) over its voxels i in raster order, so
that it can be summed in any order."""
import os
import sys

import h5py
import numpy as np
from scipy import ndimage

DATA = os.environ.get("XCSCT_DATA", "")
SHAPE = (23, 30, 75)
GOLDEN = np.uint64(0x9e3779b97f4a7c15)


def mix(x):
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xbf58476d1ce4e5b9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94d049bb133111eb)
    return x ^ (x >> np.uint64(31))


def hash_of(volume):
    values = np.ascontiguousarray(volume).ravel().astype("u8")
    with np.errstate(over="ignore"):
        return int(np.sum(mix(np.arange(values.size, dtype="u8") * GOLDEN + values), dtype="u8"))


def noise(shape):
    with np.errstate(over="ignore"):
        return (mix((np.arange(np.prod(shape), dtype="u8") + np.uint64(1)) * GOLDEN) >> np.uint64(48)).reshape(shape)


def volumes():
    """Name, uint16 volume, threshold of its solid phase."""
    yield "NOISE", noise(SHAPE).astype("u2"), 40000
    blob = noise(SHAPE).astype("i8")
    for axis in (0, 1, 2, 0, 1, 2):  # whole numbers: sums of five, periodic
        blob = sum(np.roll(blob, d, axis) for d in range(-2, 3))
    grey = blob // 15625 + noise(SHAPE)[::-1].astype("i8") // 64
    yield "BLOBS", grey.astype("u2"), int(np.median(grey))
    real = os.path.join(DATA, "transport", "fiberform_100_grey.h5")
    if os.path.exists(real):
        with h5py.File(real) as f:
            yield "FIBRES", f["entry/volume/data"][...].astype("u2"), 64
    real = os.path.join(DATA, "transport", "taufactor_electrode_256.h5")
    if os.path.exists(real):  # phases 0, 1, 2 of a battery electrode
        with h5py.File(real) as f:
            yield "ELECTRODE", f["entry/labels/data"][64:128, 64:136, 64:144].astype("u2"), 0


def ball(r):
    z, y, x = np.ogrid[-r:r + 1, -r:r + 1, -r:r + 1]
    return z * z + y * y + x * x <= r * r


def numbered(solid, steps):
    """Components by the raster order of their first voxels."""
    found = ndimage.label(solid, ndimage.generate_binary_structure(3, steps))[0]
    values, first = np.unique(found, return_index=True)
    rank = np.zeros(values.max() + 1, int)
    inside = values > 0
    rank[values[inside][np.argsort(first[inside])]] = 1 + np.arange(inside.sum())
    return rank[found]


def otsu(grey):
    """The middle of the last bin of 65536 below the split of greatest between-class variance."""
    count, edges = np.histogram(grey.astype(float), 65536)
    middle = edges[:-1] + np.diff(edges) / 2
    n, m = np.cumsum(count.astype(float)), np.cumsum(count * (middle - (edges[0] + edges[-1]) / 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        between = m[:-1] ** 2 / n[:-1] + (m[-1] - m[:-1]) ** 2 / (n[-1] - n[:-1])
    return middle[np.nanargmax(between)]


def opened(solid, r):
    """Nothing erodes and nothing grows beyond the volume."""
    return ndimage.binary_dilation(ndimage.binary_erosion(solid, ball(r), border_value=1), ball(r))


def answers():
    for name, grey, threshold in volumes():
        solid = grey > threshold
        yield name, "SELF", hash_of(grey)
        yield name, "THRESHOLD", threshold
        yield name, "MEDIAN", hash_of(ndimage.median_filter(grey, 3))
        yield name, "OPENED", hash_of(ndimage.grey_opening(grey, footprint=ball(3)))
        yield name, "CLOSED", hash_of(ndimage.grey_closing(grey, footprint=ball(2)))
        yield name, "BITS_OPENED", hash_of(opened(solid, 3 if name != "NOISE" else 1))
        yield name, "OTSU", hash_of(grey > otsu(grey))
        for steps, connectivity in ((1, 6), (2, 18), (3, 26)):
            yield name, f"PARTS_{connectivity}", hash_of(numbered(solid, steps))


def header():
    lines = ["/* Made by references.py with scipy; see there. */", "#pragma once", "#include <stdint.h>", ""]
    lines += [f"#define {name}_{what} UINT64_C({value})" for name, what, value in answers()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(header())
