"""Good and strange files for a fuzzer to begin with: seeds.py TARGET FOLDER."""
import os, sys, tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hostile import CYCLE, FRAMES, GAINS, HXTS, READERS, STRUCTURES, TABLES, YAMLS


def made(make):
    with tempfile.TemporaryDirectory() as folder:
        make(os.path.join(folder, "file"))
        with open(os.path.join(folder, "file"), "rb") as f:
            return f.read()


def seeds(target):
    good = {reader: made(make) for reader, (_, make, _) in READERS.items() if reader != "gain"}
    words = {name: w.encode("utf-8", "surrogateescape") for name, (w, _) in YAMLS.items()}
    if target == "fuzz_config_yaml":
        return [CYCLE.encode(), *words.values()]
    if target == "fuzz_echem_tables":
        return [bytes([kind]) + w for w in [good["csv"], good["dta"], *(t.encode() for t in TABLES.values())] for kind in (0, 1)]
    if target == "fuzz_raw_files":
        return ([b"\0" + w for w in [good["frames"], *FRAMES.values()]] + [b"\1" + w for w in [good["hxt"], *HXTS.values()]]
                + [b"\2" + w.encode() for w in GAINS.values()])
    if target == "fuzz_store_metadata":
        return [good["flux"], good["segment"], good["recon"], good["tiff"], *(made(make) for make, _ in STRUCTURES.values())]
    return []


for i, seed in enumerate(seeds(sys.argv[1])):
    if len(seed) <= 20000:
        with open(os.path.join(sys.argv[2], f"seed{i:03d}"), "wb") as f:
            f.write(seed)
