/* Compton profiles of regions and components: profiles of the field's pixels, weighed with their densities, and the same
 * sums unmixed with the weights of the components' factors. Both per electron. */
#include "correlate_private.h"
#include <math.h>
#include <string.h>

struct sums {
  int64_t bins;
  double *p;                /* [bins] */
  double *value, *variance; /* [regions][bins], electrons per a.u. times density */
  double density[CORRELATE_REGIONS_MOST];
};

static void sums_free(struct sums *s) {
  memory_free(s->p);
  memory_free(s->value);
  memset(s, 0, sizeof *s);
}

static void add_region(const struct correlate_work *w, const struct correlate_seen *seen, int region,
                       const double *profile, const double *error, struct sums *s) {
  double *value = s->value + region * s->bins, *variance = s->variance + region * s->bins;
  for (int64_t i = 0; i < w->pixels; i++) {
    double density = seen->density[region * w->pixels + i];
    if (!w->field[i] || !isfinite(density) || !isfinite(profile[i * s->bins])) continue;
    s->density[region] += density;
    for (int64_t b = 0; b < s->bins; b++) {
      double e = density * error[i * s->bins + b];
      value[b] += density * profile[i * s->bins + b];
      if (isfinite(e)) variance[b] += e * e;
    }
  }
}

/* One region at a time, so that no rank holds more than a detector of profiles. */
static enum status read_region(struct correlate_work *w, struct store_input *input, int region,
                               double *to) {
  const struct store_info *info = store_info(input);
  const int64_t start[4]        = {region, 0, 0, 0}, n[4] = {1, info->n[1], info->n[2], info->n[3]};
  return store_read_box(w->job->comm, input, start, n, GRID_F64, false, to);
}

static enum status read_all(struct correlate_work *w, int state, struct store_input *values,
                            struct store_input *errors, struct sums *s) {
  MPI_Comm comm                 = w->job->comm;
  const struct store_info *info = store_info(values);
  double *profile               = NULL;
  bool found;
  int64_t n_p, most = w->pixels * info->n[3];
  TRY(store_get_doubles(comm, info->file, "/entry/profile/momentum", &found, &s->p, &n_p));
  if (!found || n_p != info->n[3] || info->n[0] != w->regions ||
      info->n[1] * info->n[2] != w->pixels)
    return STATUS_OK; /* no profiles to speak of */
  s->bins            = n_p;
  enum status status = memory_make(2 * w->regions * n_p, sizeof *s->value, "profiles", &s->value);
  if (status == STATUS_OK) status = memory_make(2 * most, sizeof *profile, "profiles", &profile);
  status      = AGREE(comm, status);
  s->variance = s->value + w->regions * n_p;
  for (int r = 0; r < w->regions && status == STATUS_OK; r++) {
    status = read_region(w, values, r, profile);
    if (status == STATUS_OK) status = read_region(w, errors, r, profile + most);
    if (status == STATUS_OK) add_region(w, &w->state[state].seen, r, profile, profile + most, s);
  }
  memory_free(profile);
  return status;
}

static enum status sums_make(struct correlate_work *w, int state, struct sums *s) {
  MPI_Comm comm = w->job->comm;
  char name[STORE_NAME_BYTES], other[STORE_NAME_BYTES + 16];
  struct store_input *values = NULL, *errors = NULL;
  memset(s, 0, sizeof *s);
  if (!stage_bundle_find(w->state[state].bundle, "profile", false, name, sizeof name))
    return STATUS_OK;
  snprintf(other, sizeof other, "%s_errors", name);
  TRY(store_open(comm, name, "profile", 4, &values));
  enum status status = store_open(comm, other, NULL, 4, &errors);
  if (status == STATUS_OK) status = read_all(w, state, values, errors, s);
  if (errors) store_close(&errors);
  store_close(&values);
  if (status != STATUS_OK) sums_free(s);
  return status;
}

/* ---- tables --------------------------------------------------------------------------------------------------- */

static enum status add_regions(struct correlate_work *w, int state, const struct sums *s,
                               struct correlate_table *table) {
  for (int r = 0; r < w->regions; r++)
    for (int64_t b = 0; b < s->bins; b++) {
      int64_t at         = r * s->bins + b;
      const double row[] = {state, r + 1, s->p[b], s->value[at] / s->density[r],
                            sqrt(s->variance[at]) / s->density[r]};
      TRY(correlate_table_add(table, row));
    }
  return STATUS_OK;
}

static enum status add_components(struct correlate_work *w, int state, const struct sums *s,
                                  struct correlate_table *table) {
  struct correlate_moves none = {0, 0, 0};
  struct unmix_matrix v;
  double sigma[UNMIX_REGIONS], gain[CORRELATE_C][CORRELATE_REGIONS_MOST];
  if (correlate_fractions(w, state, &none, 0, &v) == CORRELATE_UNKNOWN) return STATUS_OK;
  for (int r = 0; r < w->regions; r++) {
    struct correlate_windows sum = correlate_windows_of(&w->state[state].seen, r, w->field);
    sigma[r] = sqrt(sum.low_variance + sum.high_variance + 2 * sum.covariance);
  }
  if (correlate_components_gain(&v, sigma, gain) != STATUS_OK) {
    status_clear();
    return STATUS_OK;
  }
  for (int c = 0; c < CORRELATE_C; c++) {
    double electrons = 0;
    for (int r = 0; r < w->regions; r++) electrons += gain[c][r] * s->density[r];
    for (int64_t b = 0; b < s->bins; b++) {
      double value = 0, variance = 0;
      for (int r = 0; r < w->regions; r++) {
        value += gain[c][r] * s->value[r * s->bins + b];
        variance += gain[c][r] * gain[c][r] * s->variance[r * s->bins + b];
      }
      const double row[] = {state, c + 1, s->p[b], value / electrons, sqrt(variance) / fabs(electrons)};
      TRY(correlate_table_add(table, row));
    }
  }
  return STATUS_OK;
}

enum status correlate_profiles_make(struct correlate_work *w, struct correlate_table *table) {
  static const char *const region[] = {"state", "region", "p", "J", "J_error"},
                           *const component[] = {"state", "component", "p", "J", "J_error"},
                           *const unit[]      = {"", "", "a.u.", "electrons/a.u.", "electrons/a.u."};
  correlate_table_begin(&table[TABLE_REGION_PROFILES], "region_profiles", region, unit, 5);
  correlate_table_begin(&table[TABLE_COMPONENT_PROFILES], "component_profiles", component, unit, 5);
  for (int i = 0; i < w->states; i++) {
    struct sums s;
    if (!w->state[i].has_seen) continue;
    TRY(sums_make(w, i, &s));
    enum status status = s.bins ? add_regions(w, i, &s, &table[TABLE_REGION_PROFILES]) : STATUS_OK;
    if (status == STATUS_OK && s.bins)
      status = add_components(w, i, &s, &table[TABLE_COMPONENT_PROFILES]);
    sums_free(&s);
    TRY_ALL(w->job->comm, status);
  }
  return STATUS_OK;
}
