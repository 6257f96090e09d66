/* report: one self-contained page of a result folder, its figures as SVG, PNG and CSV beside it; also export of
 * products to other formats and quick looks at files. */
#pragma once
#include "stage.h"

struct report_params {
#include "config_struct.inc"
#include "report_params.def"
#include "config_undef.inc"
};
extern const struct config_set report_param_set;

/* Collective. Writes FOLDER/report.html and FOLDER/figures/. What is missing, failed or unreadable is said in its place;
 * INPUT when the folder holds no results at all. With a truth, prints the table truth | result | pull to `to` (NULL:
 * nowhere). `results` (may be NULL) gets the counts of figures and of quality checks passed and warned. */
enum status report_write(MPI_Comm comm, const char *folder, const struct report_params *params,
                         FILE *to, struct stage_results *results);

struct export_params {
#include "config_struct.inc"
#include "export_params.def"
#include "config_undef.inc"
};
extern const struct config_set export_param_set;
/* Collective. A dataset of any file as TIFF (pages along the first axes), VTK image data, CSV (a row per value) or PNG
 * (one slice). Every rank writes its own slices, each in its place; the file appears whole or not at all. */
enum status report_export(MPI_Comm comm, const char *input, const struct stage_common *common,
                          const struct export_params *params, struct stage_results *results);

struct preview_params {
#include "config_struct.inc"
#include "preview_params.def"
#include "config_undef.inc"
};
extern const struct config_set preview_param_set;
/* Collective. A page FOLDER/preview.html of slices of a volume, or of projections, their mean flat and dark and a
 * sinogram of a scan, or of the mean of frames of a detector; their PNGs beside it. */
enum status report_preview(MPI_Comm comm, const char *input, const struct stage_common *common,
                           const struct preview_params *params, struct stage_results *results);
