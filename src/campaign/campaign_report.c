/* report: the page of a result folder, by hand or at the end of a run; export and preview of single files. */
#include "campaign_inner.h"
#include "report.h"
#include <stdlib.h>
#include <string.h>

enum { CYCLE_MOST = 16 << 20 };

static enum status keep(const struct campaign *c, const char *file, const char *bytes) {
  char path[STORE_NAME_BYTES], *full = realpath(file, NULL), *text = NULL;
  size_t n = 0;
  FILE *to = open_memstream(&text, &n);
  if (to) fprintf(to, "# kept by run, from %s\n%s", full ? full : file, bytes);
  enum status status =
      to && fclose(to) == 0 ? STATUS_OK : FAIL(STATUS_MEMORY, "no memory for the cycle's copy");
  snprintf(path, sizeof path, "%.1900s/journal/cycle.yaml", c->folder);
  if (status == STATUS_OK) status = store_text_write(path, text, (int64_t)n);
  free(text);
  free(full);
  return status;
}

enum status report_keep_cycle(const struct campaign *c, const char *cycle_file) {
  char *bytes;
  int64_t n;
  TRY(file_bytes(c->comm, cycle_file, CYCLE_MOST, &bytes, &n));
  enum status status = log_is_speaker() ? keep(c, cycle_file, bytes) : STATUS_OK;
  memory_free(bytes);
  return AGREE(c->comm, status);
}

enum status report_after(const struct campaign *c, enum status done) {
  struct report_params params;
  char words[1024];
  snprintf(words, sizeof words, "%.1000s", status_text());
  status_clear();
  enum status status = AGREE(c->comm, config_defaults(&report_param_set, &params));
  if (status == STATUS_OK) status = report_write(c->comm, c->folder, &params, NULL, NULL);
  if (status == STATUS_OK) log_info("report: %s/report.html", c->folder);
  if (done == STATUS_OK) return status;
  if (status != STATUS_OK) log_warning("the report could not be written: %s", status_text());
  status_clear();
  return FAIL(done, "%s", words);
}

static enum status report(MPI_Comm comm, const struct stage_common *common, const void *params,
                          const char *operand, struct stage_results *results) {
  char folder[STORE_NAME_BYTES];
  snprintf(folder, sizeof folder, "%.1900s", operand[0] ? operand : common->input);
  for (size_t n = strlen(folder); n > 1 && folder[n - 1] == '/';) folder[--n] = 0;
  if (!folder[0])
    return AGREE(comm, FAIL(STATUS_USAGE, "usage: xcsct report DIR, the folder that run made"));
  return report_write(comm, folder, params, stdout, results);
}

const struct campaign_command campaign_report = {
    "report", "one page of a result folder, its figures as SVG, PNG and CSV", "DIR",
    &report_param_set, report};

static enum status export(MPI_Comm comm, const struct stage_common *common, const void *params,
                          const char *operand, struct stage_results *results) {
  return report_export(comm, operand[0] ? operand : common->input, common, params, results);
}
static enum status preview(MPI_Comm comm, const struct stage_common *common, const void *params,
                           const char *operand, struct stage_results *results) {
  return report_preview(comm, operand[0] ? operand : common->input, common, params, results);
}

const struct campaign_command campaign_export  = {"export",
                                                  "a dataset as TIFF, VTK image data, CSV or PNG",
                                                  "FILE[:DATASET]", &export_param_set, export};
const struct campaign_command campaign_preview = {"preview",
                                                  "pictures of a volume, a scan or detector frames",
                                                  "FILE[:DATASET]", &preview_param_set, preview};
