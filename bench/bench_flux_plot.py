"""Cycles to a certified tolerance against the volume's edge: `bench_flux iterations 400 | bench_flux_plot.py OUT.svg`.
Needs matplotlib. Also prints the table."""
import json, sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

rows = [json.loads(line) for line in sys.stdin if line.startswith("{")]
rows = [row for row in rows if row.get("case", "").split()[0] in ("blobs", "sites")]
edges = sorted({row["edge"] for row in rows})
series = sorted({(row["case"], row["porosity"]) for row in rows})
if not rows:
    sys.exit("no lines of bench_flux iterations")


def cycles(case, porosity, edge):
    for row in rows:
        if (row["case"], row["porosity"], row["edge"]) == (case, porosity, edge):
            return row["iterations"] if row["D_eff"] > 0 else None
    return None


plt.rcParams["svg.fonttype"] = "none"
plt.rcParams["svg.hashsalt"] = "flux"
figure, axes = plt.subplots(figsize=(7.2, 4))
colours = plt.get_cmap("viridis")
porosities = sorted({porosity for _, porosity in series})
for case, porosity in series:
    value = [cycles(case, porosity, edge) for edge in edges]
    print(f"{case:11s} {porosity:5.2f} ", *("   -" if v is None else f"{v:4d}" for v in value))
    colour = colours(porosities.index(porosity) / max(len(porosities) - 1, 1) * 0.9)
    axes.plot(edges, [float("nan") if v is None else v for v in value], color=colour,
              linestyle="-" if case.endswith("1e-6") else "--", marker="s" if case.startswith("sites") else "o", markersize=4,
              label=f"{case}, {porosity}")
axes.set_xscale("log")
axes.set_xticks(edges, [str(edge) for edge in edges])
axes.minorticks_off()
axes.set_xlabel("edge of the volume / voxels")
axes.set_ylabel("cycles to the certified tolerance")
axes.set_ylim(bottom=0)
axes.legend(fontsize=7, handlelength=4, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
figure.tight_layout()
figure.savefig(sys.argv[1], metadata={"Date": None} if sys.argv[1].endswith(".svg") else None)
