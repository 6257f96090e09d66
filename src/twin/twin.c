/* The command: scans of the states that had a tomogram, impedance spectra of all, the galvanostatic record, the
 * cycle's file and the truth. */
#include "twin.h"
#include "numeric.h"
#include <complex.h>
#include <errno.h>
#include <math.h>
#include <string.h>
#include <stdlib.h>
#include <sys/stat.h>

#define CONFIG_OWNER struct twin_params
static const struct config_row param_rows[] = {
#include "config_rows.inc"
#include "twin_params.def"
#include "config_undef.inc"
};
static const struct config_set param_set = CONFIG_SET("twin", struct twin_params, param_rows);

enum { STREAM_IMPEDANCE = 10 };
static const double rate_mA = 0.3 * 1.539; /* 0.3 mA/cm2 on a disc of 14 mm */

/* The small twin has three scans, the others the paper's five. */
static bool has_scan(const char *size, int state) {
  if (strcmp(size, "small") == 0) return state == 0 || state == 3 || state == 6;
  return state != 2 && state != 5;
}

/* ---- small files, rank 0 -------------------------------------------------------------------------------- */

static enum status write_text(const char *folder, const char *name, const char *bytes, size_t n) {
  char path[STORE_NAME_BYTES];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return store_text_write(path, bytes, (int64_t)n);
}

static void print_spectrum(const struct twin_params *p, int state, FILE *to) {
  fprintf(to, "frequency_Hz,Z_real_Ohm,Z_imag_Ohm\n");
  for (int i = 0; i <= 60; i++) {
    double f = pow(10, 6 - 0.125 * i), w = 2 * PI * f;
    double complex z = 120 + 1 / (1 / twin_states[state].R_ct_Ohm + 1e-5 * cpow(I * w, 0.85)) +
                       25 * (1 - I) / sqrt(w);
    uint64_t index = (uint64_t)(2 * (100 * state + i));
    double re =
        creal(z) + 0.003 * cabs(z) * random_normal((uint64_t)p->seed, STREAM_IMPEDANCE, index);
    double im =
        cimag(z) + 0.003 * cabs(z) * random_normal((uint64_t)p->seed, STREAM_IMPEDANCE, index + 1);
    fprintf(to, "%.9g,%.9g,%.9g\n", f, re, im);
  }
}

static void print_galvanostatic(FILE *to) {
  fprintf(to, "time_s,voltage_V,current_A\n");
  for (int minute = 0; minute <= 1128; minute += 4) {
    double hour = minute / 60.0;
    int s       = 1;
    while (s < TWIN_STATES - 1 && twin_states[s].time_h < hour) s++;
    const struct twin_state *a = &twin_states[s - 1], *b = &twin_states[s];
    double share = fmin((hour - a->time_h) / (b->time_h - a->time_h), 1);
    double sign  = hour <= 10 ? 1 : -1;
    if (minute == 600) fprintf(to, "%d,%.4f,%.6g\n", minute * 60, 4.30, 1e-3 * rate_mA);
    fprintf(to, "%d,%.4f,%.6g\n", minute * 60, a->voltage_V + share * (b->voltage_V - a->voltage_V),
            (minute == 600 ? -1 : sign) * 1e-3 * rate_mA);
  }
}

static void print_cycle(const struct twin_params *p, const struct twin_cell *cell, FILE *to) {
  int64_t low  = (int64_t)((cell->interface_um - 20) / cell->voxel_um);
  int64_t high = (int64_t)((cell->interface_um + 45) / cell->voxel_um);
  int64_t side = (int64_t)(0.55 * cell->radius_um / cell->voxel_um);
  int64_t x0 = (int64_t)cell->x0_px, y0 = (int64_t)cell->y0_px;
  fprintf(to,
          "# Made by xcsct twin --size %s --seed %lld\nsample: twin\nbeam: {energy_keV: 115, "
          "beam_deg: 90}\n",
          p->size, (long long)p->seed);
  fprintf(to, "truth: truth.json\ngalvanostatic: raw/galvanostatic.csv\nstates:\n");
  for (int s = 0; s < TWIN_STATES; s++) {
    const struct twin_state *state = &twin_states[s];
    fprintf(to,
            "  - name: %s\n    percent: %g\n    step: %s\n    time_s: %.0f\n    impedance: "
            "raw/%s_eis.csv\n",
            state->name, state->percent, state->step, 3600 * state->time_h, state->name);
    if (has_scan(p->size, s)) fprintf(to, "    tomogram: raw/%s_ct.nxs\n", state->name);
  }
  fprintf(to, "segment: {threshold: [%.5f, %.5f, %.5f], phase: 1}\n", twin_mu_per_mm[1] / 2,
          (twin_mu_per_mm[1] + twin_mu_per_mm[2]) / 2, (twin_mu_per_mm[2] + twin_mu_per_mm[3]) / 2);
  fprintf(to,
          "# phases by ascending attenuation: 0 outside, 1 lithium, 2 electrolyte, 3 cathode\n");
  fprintf(to, "surface: {phase: 1, disc: \"%.2f,%.2f,%.2f\"}\n", cell->x0_px, cell->y0_px,
          twin_field_um(cell) / cell->voxel_um);
  fprintf(to,
          "flux: {conducting: [2], direction: x, tolerance: 1e-3, box: "
          "\"%lld:%lld,%lld:%lld,%lld:%lld\"}\n",
          (long long)low, (long long)high, (long long)(y0 - side), (long long)(y0 + side),
          (long long)(x0 - side), (long long)(x0 + side));
}

static void print_number(FILE *to, const char *name, double value, const char *unit, bool last) {
  fprintf(to, "\"%s\":{\"value\":%.10g,\"unit\":\"%s\"}%s", name, value, unit, last ? "" : ",");
}

static void print_truth(const struct twin_params *p, const struct twin_truth *truth, FILE *to) {
  fprintf(to, "{\"command\":\"twin\",\"size\":\"%s\",\"seed\":%lld,\"states\":{", p->size,
          (long long)p->seed);
  for (int s = 0; s < TWIN_STATES; s++) {
    fprintf(to, "%s\n\"%s\":{", s ? "," : "", twin_states[s].name);
    if (has_scan(p->size, s)) {
      print_number(to, "Ra_um", truth[s].Ra_um, "um", false);
      print_number(to, "Rq_um", truth[s].Rq_um, "um", false);
      print_number(to, "phase_volume_um3", truth[s].phase_volume_um3, "um3", false);
      for (int k = 0; k < TWIN_PHASES; k++) {
        char name[32];
        snprintf(name, sizeof name, "phase_fraction_%d", k);
        print_number(to, name, truth[s].phase_fraction[k], "", false);
      }
    }
    print_number(to, "R_s", 120, "Ohm", false);
    print_number(to, "R_ct", twin_states[s].R_ct_Ohm, "Ohm", true);
    fprintf(to, "}");
  }
  fprintf(to, "\n}}\n");
}

struct texts {
  const struct twin_params *params;
  const struct twin_cell *cell;
  const struct twin_truth *truth;
  int state;
};
static void print_text(const struct texts *t, const char *kind, FILE *to) {
  if (strcmp(kind, "eis") == 0)
    print_spectrum(t->params, t->state, to);
  else if (strcmp(kind, "galvanostatic") == 0)
    print_galvanostatic(to);
  else if (strcmp(kind, "cycle") == 0)
    print_cycle(t->params, t->cell, to);
  else
    print_truth(t->params, t->truth, to);
}

static enum status write_one(const char *folder, const char *name, const char *kind,
                             const struct texts *t) {
  char *bytes = NULL;
  size_t n    = 0;
  FILE *to    = open_memstream(&bytes, &n);
  if (!to) return FAIL(STATUS_MEMORY, "no memory for %s", name);
  print_text(t, kind, to);
  fclose(to);
  enum status status = write_text(folder, name, bytes, n);
  free(bytes);
  return status;
}

static enum status write_texts(const char *folder, const struct texts *given) {
  if (!log_is_speaker()) return STATUS_OK;
  struct texts t = *given;
  for (t.state = 0; t.state < TWIN_STATES; t.state++) {
    char name[128];
    snprintf(name, sizeof name, "raw/%s_eis.csv", twin_states[t.state].name);
    TRY(write_one(folder, name, "eis", &t));
  }
  TRY(write_one(folder, "raw/galvanostatic.csv", "galvanostatic", &t));
  TRY(write_one(folder, "truth.json", "truth", &t));
  return write_one(folder, "cycle.yaml", "cycle", &t); /* last: a cycle that is there is whole */
}

/* ---- the stage ---------------------------------------------------------------------------------------------- */

static enum status make_folders(const char *folder) {
  char path[STORE_NAME_BYTES];
  if (!log_is_speaker()) return STATUS_OK;
  snprintf(path, sizeof path, "%s/raw", folder);
  if (mkdir(folder, 0755) != 0 && errno != EEXIST)
    return FAIL(STATUS_OUTPUT, "the folder %s cannot be made: %s", folder, strerror(errno));
  if (mkdir(path, 0755) != 0 && errno != EEXIST)
    return FAIL(STATUS_OUTPUT, "the folder %s cannot be made: %s", path, strerror(errno));
  return STATUS_OK;
}

static enum status check(const void *params, const struct stage_common *common) {
  (void)params;
  if (!common->output[0])
    return FAIL(STATUS_USAGE, "--output DIR is missing: the folder for the twin");
  return STATUS_OK;
}

static enum status plan(const struct stage_job *job, struct stage_need *need) {
  const struct twin_params *p = job->params;
  struct twin_cell cell       = twin_cell_of(p->size);
  int size, scans = 0;
  MPI_Comm_size(job->comm, &size);
  for (int s = 0; s < TWIN_STATES; s++) scans += has_scan(p->size, s);
  int64_t rows = (cell.rows + size - 1) / size, frame = 2 * cell.columns * (cell.angles + 15);
  *need = (struct stage_need){.memory_bytes = rows * frame + 12 * cell.columns * cell.columns,
                              .disk_bytes   = scans * cell.rows * frame + (1 << 20),
                              .rounds       = scans};
  return STATUS_OK;
}

static enum status run(const struct stage_job *job) {
  const struct twin_params *p          = job->params;
  struct twin_cell cell                = twin_cell_of(p->size);
  struct twin_truth truth[TWIN_STATES] = {{.Ra_um = 0}};
  TRY_ALL(job->comm, make_folders(job->output));
  for (int s = 0; s < TWIN_STATES; s++) {
    char path[STORE_NAME_BYTES];
    if (!has_scan(p->size, s)) continue;
    TRY(stop_agree(job->comm));
    snprintf(path, sizeof path, "%.1900s/raw/%s_ct.nxs", job->output, twin_states[s].name);
    TRY(twin_scan(job, &cell, &twin_states[s], path, &truth[s]));
    log_info("twin: %s", path);
    struct stage_result *Ra = stage_result_add(job->results, "Ra_um", truth[s].Ra_um, "um");
    snprintf(Ra->of, sizeof Ra->of, "%s", twin_states[s].name);
  }
  const struct texts texts = {p, &cell, truth, 0};
  return AGREE(job->comm, write_texts(job->output, &texts));
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
