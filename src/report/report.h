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
