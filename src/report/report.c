/* The report of a result folder: reads what there is, writes the sections one after the other. Rank 0 writes; what has to
 * be read from files is read by all ranks together. */
#include "report_private.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CONFIG_OWNER struct report_params
static const struct config_row rows[] = {
#include "config_rows.inc"
#include "report_params.def"
#include "config_undef.inc"
};
const struct config_set report_param_set = CONFIG_SET("report", struct report_params, rows);

/* FOLDER/figures; a link in its place is not followed out of the folder. */
static enum status make_folder(const char *folder) {
  char path[STORE_NAME_BYTES];
  struct stat info;
  snprintf(path, sizeof path, "%.1900s/figures", folder);
  if (lstat(path, &info) == 0 && S_ISLNK(info.st_mode))
    return FAIL(STATUS_OUTPUT, "%s is a link, which is not followed out of the folder", path);
  if (mkdir(path, 0755) == 0 || errno == EEXIST) return STATUS_OK;
  return FAIL(errno == ENOSPC ? STATUS_MEMORY : STATUS_OUTPUT, "the folder %s cannot be made: %s",
              path, strerror(errno));
}

static enum status begin_page(struct report *r) {
  if (!r->speaks) return STATUS_OK;
  TRY(make_folder(r->folder));
  TRY(memory_make(REPORT_THUMBS_MOST, sizeof *r->thumb, "pictures of states", &r->thumb));
  for (int i = 0; i < REPORT_PARTS; i++) {
    r->part[i] = open_memstream(&r->bytes[i], &r->n[i]);
    if (!r->part[i]) return FAIL(STATUS_MEMORY, "no memory for a page");
  }
  report_part_choose(r, REPORT_TOP);
  return STATUS_OK;
}

static enum status figures(struct report *r) {
  TRY(report_curves(r));
  TRY(report_compton(r));
  if (r->speaks) report_against_state(r);
  TRY(report_pictures(r));
  TRY(report_growth(r));
  return report_correlations(r);
}

/* Figures come before the panels of states in the making, after them on the page. */
static enum status sections(struct report *r, FILE *plain) {
  if (r->speaks) {
    report_head(r);
    report_answer(r);
    report_part_choose(r, REPORT_FIGURES);
    report_section(r, "figures", "Figures");
  }
  TRY(figures(r));
  if (r->speaks) {
    report_part_choose(r, REPORT_OF_STATES);
    report_states(r);
    report_part_choose(r, REPORT_TAIL);
    report_flux_table(r);
    report_truth_table(r, plain);
  }
  TRY(report_checks(r));
  TRY(report_methods(r));
  if (r->speaks) report_foot(r);
  return STATUS_OK;
}

static enum status write_page(struct report *r) {
  char path[STORE_NAME_BYTES], *page;
  size_t n = 0;
  if (!r->speaks) return STATUS_OK;
  if (r->status != STATUS_OK) {
    status_clear();
    return FAIL(r->status, "%s", r->why);
  }
  for (int i = 0; i < REPORT_PARTS; i++) {
    bool good  = fclose(r->part[i]) == 0;
    r->part[i] = NULL;
    if (!good) return FAIL(STATUS_MEMORY, "no memory for a page");
    n += r->n[i];
  }
  TRY(memory_make_raw((int64_t)n + 1, 1, "a page", &page));
  n = 0;
  for (int i = 0; i < REPORT_PARTS; i++) {
    memcpy(page + n, r->bytes[i], r->n[i]);
    n += r->n[i];
  }
  snprintf(path, sizeof path, "%.1900s/report.html", r->folder);
  enum status status = store_text_write(path, page, (int64_t)n);
  memory_free(page);
  return status;
}

enum status report_write(MPI_Comm comm, const char *folder, const struct report_params *params,
                         FILE *to, struct stage_results *results) {
  struct report r = {.comm = comm, .params = params, .folder = folder};
  int rank;
  MPI_Comm_rank(comm, &rank);
  r.speaks           = rank == 0;
  enum status status = report_read(&r);
  if (status == STATUS_OK) status = AGREE(comm, begin_page(&r));
  if (status == STATUS_OK) status = AGREE(comm, fault_here("report.page"));
  if (r.speaks && !picture_can_rasterise())
    log_info("report: no librsvg is installed, so figures are SVG alone");
  if (status == STATUS_OK) status = sections(&r, r.speaks ? to : NULL);
  if (status == STATUS_OK) status = AGREE(comm, write_page(&r));
  int counts[3] = {r.figures, r.passed, r.warned};
  MPI_Bcast(counts, 3, MPI_INT, 0, comm);
  if (status == STATUS_OK && results) {
    stage_result_add(results, "figures", counts[0], "");
    stage_result_add(results, "checks_passed", counts[1], "");
    stage_result_add(results, "checks_warned", counts[2], "");
  }
  report_forget(&r);
  return status;
}
