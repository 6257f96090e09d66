/* The twin: the states of a cell's first cycle and the order in which their files are made. */
#include "twin_private.h"
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONFIG_OWNER struct twin_params
static const struct config_row param_rows[] = {
#include "config_rows.inc"
#include "twin_params.def"
#include "config_undef.inc"
};
static const struct config_set param_set = CONFIG_SET("twin", struct twin_params, param_rows);

/* Roughness, volumes and mixtures after Huang et al. 2024, made consistent with Faraday's law. */
/* clang-format off */
const struct twin_state twin_states[TWIN_STATES] = {
    {"pristine", "charge", true, 0, 3.00, 1.000, 0, 0, 0,
     {{.64, .11, .25}, {.89, .105, .005}, {.9878, .0122, 0}}, 5.08, 0, 0, 400},
    {"charging_I", "charge", true, 20, 3.75, .888, 1.5, 1.5, 1.5,
     {{.646, .11, .244}, {.896, .102, .002}, {.9906, .0094, 0}}, 5.15, .2, .5, 330},
    {"charging_II", "charge", false, 71, 4.30, .601, 5.5, 5.5, 5.5,
     {{.662, .11, .228}, {.912, .088, 0}, {.9951, .0049, 0}}, 5.30, .7, 1.5, 240},
    {"fully_charged", "charge", true, 100, 4.30, .438, 8, 8, 8,
     {{.672, .11, .218}, {.922, .078, 0}, {.9969, .0031, 0}}, 5.38, 1, 2, 210},
    {"discharging_I", "discharge", true, 22, 4.00, .547, 7, 5.5, 8.5,
     {{.668, .11, .222}, {.918, .082, 0}, {.996, .004, 0}}, 5.55, 2.6, 3, 250},
    {"discharging_II", "discharge", false, 77, 3.65, .819, 4.5, 2, 7,
     {{.658, .11, .232}, {.908, .092, 0}, {.9933, .0067, 0}}, 5.90, 6.9, 5, 330},
    {"fully_discharged", "discharge", true, 100, 3.00, .933, 3.5, .5, 6.5,
     {{.654, .11, .236}, {.904, .095, .001}, {.9915, .0085, 0}}, 6.11, 8.3, 6, 380},
};
/* clang-format on */

const struct twin_state *twin_content(const struct twin_params *params,
                                      const struct twin_state *state) {
  return params->change ? state : &twin_states[0];
}

static bool is_foreign(const char *folder) {
  char path[STORE_NAME_BYTES];
  snprintf(path, sizeof path, "%s/truth.json", folder);
  if (access(path, F_OK) == 0) return false;
  DIR *list = opendir(folder);
  if (!list) return false;
  bool any = false;
  for (struct dirent *entry; (entry = readdir(list));)
    any |= strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
  closedir(list);
  return any;
}

static enum status open_folder(const char *folder, bool force) {
  char raw[STORE_NAME_BYTES];
  if (!log_is_speaker()) return STATUS_OK;
  if (!folder[0])
    return FAIL(STATUS_USAGE, "--output DIR is missing: the folder for the files of the twin");
  if (mkdir(folder, 0755) != 0 && errno != EEXIST)
    return FAIL(STATUS_OUTPUT, "the folder %s cannot be made: %s", folder, strerror(errno));
  if (!force && is_foreign(folder))
    return FAIL(STATUS_OUTPUT,
                "the folder %s holds files that are not of a twin; name another, or add --force",
                folder);
  snprintf(raw, sizeof raw, "%s/raw", folder);
  if (mkdir(raw, 0755) != 0 && errno != EEXIST)
    return FAIL(STATUS_OUTPUT, "the folder %s cannot be made: %s", raw, strerror(errno));
  return STATUS_OK;
}

static enum status make_all(const struct stage_job *job, const struct twin_params *params,
                            struct twin_book *book) {
  for (int i = 0; i < TWIN_STATES && params->ct; i++)
    if (twin_states[i].has_ct)
      TRY(twin_ct_write(job->comm, job->common, params, &twin_states[i], book));
  if (params->xcs) TRY(twin_xcs_write(job->comm, job->common, params, book));
  TRY(twin_echem_write(job->comm, params, book));
  return twin_book_write(job->comm, params, book);
}

static enum status check(const void *params, const struct stage_common *common) {
  const struct twin_params *p = params;
  struct twin_scan scan       = twin_scan_of(p);
  if (!common->output[0])
    return FAIL(STATUS_USAGE, "--output DIR is missing: the folder for the twin");
  if (scan.columns < 16 || scan.projections < 2)
    return FAIL(STATUS_USAGE,
                "twin: %lld columns and %lld projections; at least 16 and 2 are needed",
                (long long)scan.columns, (long long)scan.projections);
  double bins = (p->xcs_last_kev - p->xcs_first_kev) / p->xcs_bin_kev;
  if (p->xcs && !(bins >= 16 && bins <= 8192))
    return FAIL(STATUS_USAGE,
                "twin: %.6g bins of %g keV from %g to %g keV; 16 to 8192 are possible", bins,
                p->xcs_bin_kev, p->xcs_first_kev, p->xcs_last_kev);
  return STATUS_OK;
}

static enum status plan(const struct stage_job *job, struct stage_need *need) {
  const struct twin_params *p = job->params;
  struct twin_scan scan       = twin_scan_of(p);
  struct stage_need spectra   = {0};
  int scans                   = 0;
  if (p->xcs) twin_xcs_need(job->comm, p, &spectra);
  for (int i = 0; i < TWIN_STATES; i++) scans += p->ct && twin_states[i].has_ct;
  need->memory_bytes = scans ? twin_ct_bytes(job->comm, p, &need->rounds) : 1 << 20;
  need->rounds *= scans;
  need->disk_bytes =
      scans * 2 * scan.columns * scan.rows * (scan.projections + 2 * (scan.flats + scan.darks)) +
      spectra.disk_bytes + (1 << 20);
  need->rounds += spectra.rounds;
  if (spectra.memory_bytes > need->memory_bytes) need->memory_bytes = spectra.memory_bytes;
  return STATUS_OK;
}

static enum status run(const struct stage_job *job) {
  const struct twin_params *params = job->params;
  struct twin_book book            = {.folder = job->output};
  struct twin_scan scan            = twin_scan_of(params);
  TRY_ALL(job->comm, open_folder(job->output, job->common->force));
  log_info("twin: %s, %lld projections of %lld x %lld pixels of %g um", params->size,
           (long long)scan.projections, (long long)scan.rows, (long long)scan.columns,
           scan.voxel_um);
  enum status status = make_all(job, params, &book);
  for (int i = 0; i < book.truth.n && status == STATUS_OK; i++)
    if (strcmp(book.truth.row[i].name, "Ra_um") == 0) {
      struct stage_result *row =
          stage_result_add(job->results, "Ra_um", book.truth.row[i].value, "um");
      if (row) snprintf(row->of, sizeof row->of, "%s", book.truth.row[i].of);
    }
  for (int i = 0; i < TWIN_STATES; i++) memory_free(book.state[i].text);
  memory_free(book.bottom.text);
  stage_results_free(&book.truth);
  return status;
}

const struct stage twin_stage = {
    .name       = "twin",
    .words      = "raw files of a cell whose truth is known",
    .params     = &param_set,
    .reads      = "",
    .writes     = "",
    .all_states = true,
    .check      = check,
    .plan       = plan,
    .run        = run,
};
