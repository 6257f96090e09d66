"""Makes packed.h5: one array packed by the filters as beamlines use them, written by other people's
plugins (Debian: bitshuffle, hdf5-filter-plugin, hdf5-filter-plugin-blosc-serial).

HDF5_PLUGIN_PATH=/usr/lib/x86_64-linux-gnu/hdf5/serial/plugins /usr/bin/python3 packed.py packed.h5
"""
import sys

import h5py
import numpy as np

BLOSC, LZ4, BITSHUFFLE = 32001, 32004, 32008
index = np.arange(5 * 7 * 11).reshape(5, 7, 11)

with h5py.File(sys.argv[1], "w", libver="latest") as file:

    def put(name, values, chunks, filter_id, options=None, **more):
        file.create_dataset(name, data=values, chunks=chunks, compression=filter_id, compression_opts=options, **more)

    put("bitshuffle_lz4_u16", (index * 37 % 4099).astype("u2"), (2, 7, 11), BITSHUFFLE, (0, 2))
    put("bitshuffle_plain_f32", (index * 0.5).astype("f4"), (5, 3, 11), BITSHUFFLE, (0,))
    put("bitshuffle_lz4_f64", index * 0.25, (5, 7, 11), BITSHUFFLE, (64, 2))
    put("lz4_u8", (index % 251).astype("u1"), (1, 7, 11), LZ4)
    put("lz4_i32", (index // 50 * 1000 - 3000).astype("i4"), (5, 7, 11), LZ4, (256,))
    for code, name in enumerate(("blosclz", "lz4", "lz4hc", "snappy", "zlib", "zstd")):
        put("blosc_" + name, (index // 9).astype("u2"), (3, 4, 11), BLOSC, (0, 0, 0, 0, 5, 1, code))
    put("blosc_bits", (index // 9).astype("f4"), (3, 4, 11), BLOSC, (0, 0, 0, 0, 5, 2, 1))
    put("gzip_sums", (index // 9).astype(">u2"), (3, 4, 5), "gzip", 4, shuffle=True, fletcher32=True)
    put("lzf_shuffle", (index // 9).astype("i8"), (2, 7, 4), "lzf", shuffle=True)
    # chunks that were never written hold the fill value 7; the first was
    part = file.create_dataset("part", shape=(5, 7, 11), dtype="f4", chunks=(2, 7, 11), compression="gzip", fillvalue=7)
    part[:2] = index[:2]
