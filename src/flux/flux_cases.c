/* Further solutions beside the stage's own: other labels conduct, in the same region or in slices about the interface.
 * Each is the stage once more with parameters of its own, without fields, its results suffixed with its name. */
#include "flux_study.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct one {
  char name[24], conducting[64], axes[4], interface[32]; /* interface "": the stage's own region */
};

/* NAME=LABELS[/AXES][@follow|@UM] up to the next semicolon. */
static enum status next(const char **at, struct one *c) {
  int used       = 0;
  const char *in = *at;
  memset(c, 0, sizeof *c);
  if (sscanf(in, " %23[A-Za-z0-9_] = %63[0-9,]%n", c->name, c->conducting, &used) != 2) used = 0;
  in += used;
  if (used && *in == '/')
    used = sscanf(in, "/%3[zyx]%n", c->axes, &used) == 1 ? used : 0, in += used;
  if (used && *in == '@')
    used = sscanf(in, "@%31[a-z0-9.]%n", c->interface, &used) == 1 ? used : 0, in += used;
  if (used) in += strspn(in, " ");
  if (!used || (*in && *in != ';'))
    return FAIL(STATUS_USAGE,
                "flux.cases = %.200s; it would be NAME=LABELS[/AXES][@follow|@UM] between "
                "semicolons, like spe=2/yx@follow",
                *at);
  *at = *in ? in + 1 : in;
  return STATUS_OK;
}

/* The box without its slices, which the interface decides. */
static void open_box(const char *box, int64_t nz, char *to) {
  const char *rest = strchr(box, ',');
  if (rest) snprintf(to, CONFIG_TEXT_BYTES, "0:%lld%.200s", (long long)nz, rest);
}

static enum status params_of(const struct flux_params *from, const struct one *c, int64_t nz,
                             struct flux_params *p) {
  *p                = *from;
  p->diffusivity[0] = p->start[0] = 0;
  snprintf(p->conducting, sizeof p->conducting, "%s", c->conducting);
  snprintf(p->fields, sizeof p->fields, "none");
  if (c->interface[0]) {
    open_box(from->box, nz, p->box);
    snprintf(p->interphase_um, sizeof p->interphase_um, "%s", from->cases_um);
    snprintf(p->interface, sizeof p->interface, "%s", c->interface);
  }
  struct flux_labels labels;
  TRY(flux_labels_parse(p, &labels));
  return flux_region_check(p);
}

enum status flux_cases_check(const struct flux_params *p) {
  struct flux_params own;
  struct one c, before;
  for (const char *at = p->cases; *at;) {
    const char *here = at;
    TRY(next(&at, &c));
    for (const char *other = p->cases; other < here;) {
      TRY(next(&other, &before));
      if (strcmp(before.name, c.name) == 0)
        return FAIL(STATUS_USAGE, "flux.cases: two are called %s", c.name);
    }
    if (c.interface[0] && !p->cases_um[0])
      return FAIL(STATUS_USAGE, "flux.cases: @%s needs flux.cases_um = A:B", c.interface);
    TRY(params_of(p, &c, 1 << 20, &own));
  }
  return STATUS_OK;
}

double flux_cases_share(const struct flux_params *p, const struct grid_box *box, double slice_um) {
  double most = 0, from, to;
  struct one c;
  for (const char *at = p->cases; *at;) {
    double share = 1;
    if (next(&at, &c) != STATUS_OK) break;
    if (c.interface[0] && sscanf(p->cases_um, "%lf:%lf", &from, &to) == 2)
      share = (ceil((to - from) / slice_um) + 1) / (double)box->n[0];
    most = fmax(most, share);
  }
  return most;
}

static enum status solve(struct flux_task *t, const struct one *c, int axis) {
  struct flux_case problem;
  struct flux_answer answer;
  char where[64];
  TRY(stop_agree(t->job->comm));
  flux_case_of(t, axis, &problem);
  TRY(flux_solve(t->job->comm, &problem, &t->codes, &answer, NULL));
  snprintf(where, sizeof where, "%s along %c", c->name, "zyx"[axis]);
  flux_tell(t, where, &answer);
  flux_results_add(t, axis, &answer);
  return STATUS_OK;
}

static enum status run_one(struct flux_task *whole, const struct one *c) {
  struct flux_params params;
  struct stage_job job = *whole->job;
  struct flux_task t   = {.job       = &job,
                          .params    = &params,
                          .converged = true,
                          .suffix    = c->name,
                          .axes      = c->axes[0] ? c->axes : NULL};
  TRY_ALL(job.comm, params_of(whole->params, c, whole->labels_n[0], &params));
  job.params    = &params;
  enum status s = flux_task_read(&t);
  for (int axis = 0; axis < 3 && s == STATUS_OK; axis++)
    if (flux_task_runs(&t, axis)) s = solve(&t, c, axis);
  if (!t.converged) {
    whole->converged = false;
    memcpy(whole->worst, t.worst, sizeof t.worst);
  }
  flux_task_free(&t);
  return s;
}

enum status flux_cases_run(struct flux_task *t) {
  struct one c;
  for (const char *at = t->params->cases; *at;) {
    TRY_ALL(t->job->comm, next(&at, &c));
    TRY(run_one(t, &c));
  }
  return STATUS_OK;
}
