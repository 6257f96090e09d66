/* The stage: reads the small files on rank 0, every rank parses and fits the same bytes. */
#include "echem_curves.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_OWNER struct echem_params
static const struct config_row rows[] = {
#include "config_rows.inc"
#include "echem_params.def"
#include "config_undef.inc"
};
static const struct config_set param_set = CONFIG_SET("echem", struct echem_params, rows);

/* The i-th line of a newline-separated list, or the i-th item of a comma-separated one. */
static bool item_of(const char *list, char separator, int i, char *text, size_t bytes) {
  for (; list && *list && i > 0; i--) {
    list = strchr(list, separator);
    if (list) list++;
  }
  if (!list || !*list) return false;
  const char *stop = strchr(list, separator);
  size_t n         = stop ? (size_t)(stop - list) : strlen(list);
  snprintf(text, bytes, "%.*s", (int)(n < bytes ? n : bytes - 1), list);
  return true;
}

static void name_result(struct stage_result *result, const struct stage_job *job, int i) {
  const struct stage_bundle *all = job->input;
  if (all && i < all->states_n && all->states[i].state)
    snprintf(result->of, sizeof result->of, "%s", all->states[i].state);
  else
    snprintf(result->of, sizeof result->of, "%d", i + 1);
}

static void add(const struct stage_job *job, int i, const char *name, double value, double sigma,
                const char *unit) {
  struct stage_result *result = stage_result_add(job->results, name, value, unit);
  if (!result) return;
  result->sigma = sigma;
  name_result(result, job, i);
}

static enum status fit_one(const struct stage_job *job, int i, const char *file,
                           struct echem_curves *curves) {
  char *bytes;
  int64_t n;
  struct echem_table spectrum;
  struct echem_impedance fit;
  TRY(file_bytes(job->comm, file, 256 << 20, &bytes, &n));
  enum status status = echem_impedance_parse(file, bytes, n, &spectrum);
  if (status == STATUS_OK) {
    status = echem_impedance_fit(file, &spectrum, &fit);
    if (status == STATUS_OK) status = echem_curves_spectrum(curves, i, &spectrum, &fit);
    echem_table_free(&spectrum);
  }
  memory_free(bytes);
  TRY_ALL(job->comm, status);
  add(job, i, "R_s", fit.R_s_Ohm, fit.R_s_sigma, "Ohm");
  add(job, i, "R_ct", fit.R_ct_Ohm, fit.R_ct_sigma, "Ohm");
  add(job, i, "kramers_kronig_residual", fit.kramers_kronig, (double)NAN, "");
  if (!fit.kramers_kronig_good)
    log_warning("%s: breaks the Kramers-Kronig relations by %.2g of |Z| (noise of the fit: %.2g)",
                file, fit.kramers_kronig, fit.relative_noise);
  return STATUS_OK;
}

static enum status place_states(const struct stage_job *job, const char *file,
                                const struct echem_table *cycle, const char *times) {
  char text[64];
  for (int i = 0; item_of(times, ',', i, text, sizeof text); i++) {
    char *end;
    double time_s = strtod(text, &end);
    struct echem_point point;
    if (end == text || *end)
      return FAIL(STATUS_USAGE, "echem.state_times: '%s' is no number of seconds", text);
    TRY(echem_point_at(file, cycle, time_s, &point));
    add(job, i, point.discharging ? "DoD" : "SoC", point.percent, (double)NAN, "%");
    add(job, i, "voltage", point.voltage_V, (double)NAN, "V");
    add(job, i, "charge", point.charge_mAh, (double)NAN, "mAh");
  }
  return STATUS_OK;
}

static enum status read_cycle(const struct stage_job *job, const char *file, const char *times,
                              struct echem_curves *curves) {
  char *bytes;
  int64_t n;
  struct echem_table cycle;
  TRY(file_bytes(job->comm, file, 256 << 20, &bytes, &n));
  enum status status = echem_cycle_parse(file, bytes, n, &cycle);
  if (status == STATUS_OK) {
    double charge_mAh, discharge_mAh;
    echem_capacity(&cycle, &charge_mAh, &discharge_mAh);
    stage_result_add(job->results, "charge_capacity", charge_mAh, "mAh");
    stage_result_add(job->results, "discharge_capacity", discharge_mAh, "mAh");
    status = place_states(job, file, &cycle, times);
    if (status == STATUS_OK) status = echem_curves_cycle(curves, &cycle);
    echem_table_free(&cycle);
  }
  memory_free(bytes);
  return AGREE(job->comm, status);
}

static enum status check(const void *params, const struct stage_common *common) {
  const struct echem_params *p = params;
  (void)common;
  if ((!p->galvanostatic || !*p->galvanostatic) && (!p->impedance || !*p->impedance))
    return FAIL(STATUS_USAGE, "echem needs --galvanostatic FILE or --impedance FILE");
  if (p->state_times[0] && (!p->galvanostatic || !*p->galvanostatic))
    return FAIL(STATUS_USAGE,
                "echem.state_times needs the galvanostatic data whose times they are");
  return STATUS_OK;
}

static enum status plan(const struct stage_job *job, struct stage_need *need) {
  (void)job;
  *need = (struct stage_need){.memory_bytes = 64 << 20, .disk_bytes = 16 << 20, .rounds = 1};
  return STATUS_OK;
}

static enum status read_all(const struct stage_job *job, struct echem_curves *curves) {
  const struct echem_params *p = job->params;
  char file[STORE_NAME_BYTES];
  if (p->galvanostatic && item_of(p->galvanostatic, '\n', 0, file, sizeof file))
    TRY(read_cycle(job, file, p->state_times, curves));
  for (int i = 0; p->impedance && item_of(p->impedance, '\n', i, file, sizeof file); i++)
    if (strcmp(file, "-") != 0) TRY(fit_one(job, i, file, curves));
  return STATUS_OK;
}

static enum status write_output(const struct stage_job *job, const struct echem_curves *curves) {
  struct store_output *output;
  if (!job->output[0]) return STATUS_OK;
  TRY(stage_output_begin(job, 16 << 20, &output));
  enum status status = echem_curves_write(job->comm, output, curves);
  if (status == STATUS_OK) status = store_ready(job->comm, output);
  if (status == STATUS_OK) return stage_output_commit(job, &output);
  store_abandon(job->comm, &output, false);
  return status;
}

static enum status run(const struct stage_job *job) {
  struct echem_curves curves;
  memset(&curves, 0, sizeof curves);
  enum status status = read_all(job, &curves);
  if (status == STATUS_OK) status = write_output(job, &curves);
  echem_curves_free(&curves);
  return status;
}

const struct stage echem_stage = {
    .name       = "echem",
    .words      = "state of charge, capacity and resistances from potentiostat files",
    .params     = &param_set,
    .reads      = "",
    .writes     = "",
    .all_states = true,
    .check      = check,
    .plan       = plan,
    .run        = run,
};
