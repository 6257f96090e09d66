/* Two acquisitions of what should be the same: chi2 of a = s b with the scale s free, errors in both (its minimum by
 * fixed-point iteration, since the weights 1 / (sa^2 + s^2 sb^2) hold s). The paper compares the lithium of a cell with a
 * liquid electrolyte this way. p by Wilson and Hilferty's cube root (1931). */
#include "correlate_private.h"
#include <math.h>
#include <string.h>

struct correlate_match correlate_match_of(const double *a, const double *a_error, const double *b,
                                          const double *b_error, int64_t n) {
  struct correlate_match m = {1, (double)NAN, (double)NAN, (double)NAN, -1};
  for (int round = 0; round < 50; round++) {
    double ab = 0, bb = 0, chi2 = 0, old = m.scale;
    int64_t used = 0;
    for (int64_t i = 0; i < n; i++) {
      double variance = a_error[i] * a_error[i] + old * old * b_error[i] * b_error[i];
      if (!isfinite(a[i]) || !isfinite(b[i]) || !(variance > 0)) continue;
      ab += a[i] * b[i] / variance, bb += b[i] * b[i] / variance;
      chi2 += (a[i] - old * b[i]) * (a[i] - old * b[i]) / variance;
      used++;
    }
    if (used < 2 || !(bb > 0)) return m;
    m = (struct correlate_match){ab / bb, 1 / sqrt(bb), chi2, (double)NAN, used - 1};
    if (fabs(m.scale - old) < 1e-9 * fabs(old)) break;
  }
  double k  = (double)m.freedom, spread = 2 / (9 * k);
  m.p_value = 0.5 * erfc((cbrt(m.chi2 / k) - (1 - spread)) / sqrt(2 * spread));
  return m;
}

/* Columns of compton's table of whole regions. */
struct profiles {
  double *region, *J, *error;
  int64_t n;
};

static void profiles_free(struct profiles *p) {
  memory_free(p->region);
  memory_free(p->J);
  memory_free(p->error);
}

static enum status profiles_read(MPI_Comm comm, const char *file, struct profiles *p) {
  static const char *const path[3] = {"/entry/region_profiles/region", "/entry/region_profiles/J",
                                      "/entry/region_profiles/J_error"};
  double **const to[3]             = {&p->region, &p->J, &p->error};
  int64_t n[3]                     = {0};
  for (int k = 0; k < 3; k++) {
    bool found;
    TRY(store_get_doubles(comm, file, path[k], &found, to[k], &n[k]));
    if (!found || n[k] != n[0])
      return AGREE(comm, FAIL(STATUS_INPUT, "%s has no %s; it would be a result of compton", file,
                              path[k]));
  }
  p->n = n[0];
  return STATUS_OK;
}

static enum status compare(struct correlate_work *w, const struct profiles *a,
                           const struct profiles *b, struct correlate_table *table) {
  if (a->n != b->n)
    return FAIL(STATUS_INPUT, "%s: %lld values of profiles, the first state has %lld",
                w->params->reference, (long long)b->n, (long long)a->n);
  int64_t each = a->n / w->regions;
  for (int r = 0; r < w->regions; r++) {
    char name[64];
    int64_t at               = r * each;
    struct correlate_match m = correlate_match_of(a->J + at, a->error + at, b->J + at, b->error + at, each);
    const double row[]       = {r + 1, m.scale, m.scale_error, m.chi2, (double)m.freedom, m.p_value};
    TRY(correlate_table_add(table, row));
    snprintf(name, sizeof name, "reference_chi2_region%d", r + 1);
    stage_result_add(w->job->results, name, m.chi2, "");
    snprintf(name, sizeof name, "reference_p_region%d", r + 1);
    stage_result_add(w->job->results, name, m.p_value, "");
  }
  return STATUS_OK;
}

enum status correlate_reference_make(struct correlate_work *w, struct correlate_table *table) {
  static const char *const column[] = {"region", "scale", "scale_error", "chi2", "freedom", "p"};
  MPI_Comm comm                     = w->job->comm;
  char name[STORE_NAME_BYTES];
  struct profiles a = {0}, b = {0};
  int first         = 0;
  correlate_table_begin(table, "reference", column, NULL, 6);
  if (!w->params->reference[0]) return STATUS_OK;
  while (!w->state[first].has_seen) first++;
  if (!stage_bundle_find(w->state[first].bundle, "emf", false, name, sizeof name)) return STATUS_OK;
  char *colon = strrchr(name, ':');
  if (colon) *colon = 0;
  enum status status = profiles_read(comm, name, &a);
  if (status == STATUS_OK) status = profiles_read(comm, w->params->reference, &b);
  if (status == STATUS_OK) status = AGREE(comm, compare(w, &a, &b, table));
  profiles_free(&a);
  profiles_free(&b);
  return status;
}
