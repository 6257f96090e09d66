/* What lies under and over the surface, column by column. Counts are whole numbers; volumes under the surface are sums of
 * heights, exact whatever the number of ranks. Pores by grey values: what the mean from the third voxel under the surface
 * to the depth asked for lacks of the mean in the third of that depth below it, over what void lacks; blur and partial
 * volumes do not change a mean. Its error: the noise of both means, and how far the mean of one eighth of the field's
 * columns strays from another's. The threshold's error moves voxels of the phase's own boundary whose grey
 * value lies within it, and the heights. */
#include "surface_private.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
  C_FIELD,    /* columns in view */
  C_COLUMNS,  /* of these with a surface */
  C_UNDER,    /* voxels under it, to the depth asked for */
  C_OTHER,    /* of these not of the phase */
  C_CLOSED,   /* closed pores, at any depth */
  C_SOLID,    /* bulk in these columns */
  C_OVERHANG, /* columns with an open gap under the surface */
  C_CONTACT,  /* columns on which the membrane lies */
  C_MEMBRANE, /* its voxels over them */
  C_PHASE,    /* voxels of the phase, in the whole volume */
  C_LOST,     /* of these, and of others, within the threshold's error */
  C_GAINED,
  C_DETACHED, /* in view */
  COUNTS
};
enum {
  PARTS    = 8,
  SKIN_VOX = 3
}; /* of the field, by sectors; voxels under the surface that it blurs */
struct surface_layers {
  struct surface_work *work;
  struct surface_result *result;
  struct grid_field *map[3]; /* heights */
  int64_t count[COUNTS], label[256], least_membrane;
  int64_t deep, *depth; /* [deep][3]: voxels at a depth, not of the phase, closed */
  struct exact_sum envelope[3];
  struct exact_sum
      grey[2 * PARTS]; /* sums of grey values in the depth, then below it, by part of the field */
  int64_t greys[2 * PARTS];
};

/* ---- a column ------------------------------------------------------------------------------------------------ */

static void under_surface(struct surface_layers *l, int64_t y, int64_t x, int64_t top,
                          int64_t bottom) {
  const struct surface_work *w = l->work;
  int64_t out = w->up ? 1 : -1, thick = out * (top - bottom), closed = 0;
  for (int64_t k = 1; k <= thick; k++) {
    int64_t z  = top - out * k;
    int kind   = surface_kind_at(w, z, y, x);
    bool other = surface_label_at(w, z, y, x) != w->params->phase;
    closed += kind == KIND_PORE;
    if (k > l->deep) continue;
    int64_t *at = l->depth + 3 * (k - 1);
    at[0]++, at[1] += other, at[2] += kind == KIND_PORE;
    l->count[C_UNDER]++;
    l->count[C_OTHER] += other;
  }
  l->count[C_CLOSED] += closed;
  ((float *)l->result->pores.data)[surface_place(w, y, x)] =
      (float)((double)closed * w->voxel_um[0]);
}

/* Sector of a column about the volume's axis. */
static int part_of(const struct surface_work *w, int64_t y, int64_t x) {
  double dy = (double)surface_row(w, y) - 0.5 * (double)w->n[1] + 0.25,
         dx = (double)x - 0.5 * (double)w->n[2] + 0.25;
  int part  = (int)((atan2(dy, dx) / PI + 1) * (PARTS / 2));
  return part < PARTS ? part : PARTS - 1;
}

static void add_greys(struct surface_layers *l, int64_t y, int64_t x, int64_t top, int64_t bottom) {
  const struct surface_work *w = l->work;
  int64_t out = w->up ? 1 : -1, thick = out * (top - bottom), below = l->deep + l->deep / 3;
  int part = part_of(w, y, x);
  for (int64_t k = SKIN_VOX; k < thick && k <= below; k++) {
    int64_t z = top - out * k;
    int which = k > l->deep ? PARTS + part : part;
    exact_add(&l->grey[which], surface_grey_at(w, z, y, x));
    l->greys[which]++;
  }
}

/* The lowest bulk under an open gap; the top itself where there is none. */
static int64_t lowest_open(struct surface_layers *l, int64_t y, int64_t x, int64_t top,
                           int64_t bottom) {
  const struct surface_work *w = l->work;
  int64_t out = w->up ? 1 : -1, low = top;
  bool open = false;
  for (int64_t z = top; z != bottom - out; z -= out) {
    int kind = surface_kind_at(w, z, y, x);
    l->count[C_SOLID] += kind == KIND_BULK;
    if (kind == KIND_OPEN) open = true;
    if (kind == KIND_BULK && open) low = z, open = false;
  }
  l->count[C_OVERHANG] += low != top;
  return low;
}

static void count_label(struct surface_layers *l, int64_t y, int64_t x, int64_t top) {
  const struct surface_work *w = l->work;
  int64_t z                    = top + (w->up ? 1 : -1);
  if (z >= 0 && z < w->n[0]) l->label[surface_label_at(w, z, y, x)]++;
}

static double bottom_um(const struct surface_work *w, int64_t bottom) {
  return ((double)bottom + !w->up) * w->voxel_um[0];
}

static void do_column(struct surface_layers *l, int64_t y, int64_t x) {
  const struct surface_work *w = l->work;
  int64_t top = surface_top(w, y, x), bottom = surface_bottom(w, y, x);
  int64_t at = surface_place(w, y, x);
  float *low = (float *)l->result->low.data + at, *pores = (float *)l->result->pores.data + at;
  *low = *pores = NAN;
  if (!w->shown[at]) return;
  l->count[C_FIELD]++;
  if (top < 0) return;
  l->count[C_COLUMNS]++;
  under_surface(l, y, x, top, bottom);
  if (w->source->volume && w->params->void_grey[0]) add_greys(l, y, x, top, bottom);
  *low = (float)surface_height_um(w, y, x, lowest_open(l, y, x, top, bottom));
  for (int i = 0; i < 3; i++)
    if (l->map[i])
      exact_add(&l->envelope[i],
                fabs((double)((const float *)l->map[i]->data)[at] - bottom_um(w, bottom)));
}

/* ---- the membrane ---------------------------------------------------------------------------------------------- */

static void do_membrane(struct surface_layers *l, int64_t y, int64_t x) {
  const struct surface_work *w = l->work;
  int64_t out = w->up ? 1 : -1, top = surface_top(w, y, x), thick = 0;
  for (int64_t z = top + out; top >= 0 && z >= 0 && z < w->n[0]; z += out) {
    if (surface_label_at(w, z, y, x) != w->contact) break;
    thick++;
  }
  ((float *)l->result->membrane.data)[surface_place(w, y, x)] =
      thick ? (float)((double)thick * w->voxel_um[0]) : NAN;
  l->count[C_CONTACT] += thick > 0;
  l->count[C_MEMBRANE] += thick;
  if (thick && thick < l->least_membrane) l->least_membrane = thick;
}

/* ---- the phase's volume ------------------------------------------------------------------------------------------ */

static bool is_phase(int kind) {
  return kind == KIND_BULK || kind == KIND_BESIDE || kind == KIND_DETACHED;
}

static bool is_boundary(const struct surface_work *w, int64_t z, int64_t y, int64_t x, bool phase) {
  const struct grid_field *k = &w->kind_view;
  const int64_t step[3] = {k->row[0], k->row[1], 1}, whole[3] = {z, surface_row(w, y), x};
  const uint8_t *at =
      (const uint8_t *)k->data + grid_field_origin(k) + z * step[0] + y * step[1] + x;
  for (int a = 0; a < 3; a++) {
    if (whole[a] > 0 && is_phase(at[-step[a]]) != phase) return true;
    if (whole[a] + 1 < w->n[a] && is_phase(at[step[a]]) != phase) return true;
  }
  return false;
}

static void count_phase(struct surface_layers *l, double error) {
  const struct surface_work *w = l->work;
  double level = 0.5 * (w->inside + w->outside), within = error * fabs(w->inside - w->outside);
  for (int64_t z = 0; z < w->n[0]; z++)
    for (int64_t y = 0; y < w->rows; y++)
      for (int64_t x = 0; x < w->n[2]; x++) {
        int kind   = surface_kind_at(w, z, y, x);
        bool phase = is_phase(kind);
        l->count[C_PHASE] += phase;
        if (kind == KIND_DETACHED && z >= w->view.low && z < w->view.high &&
            w->shown[surface_place(w, y, x)])
          l->count[C_DETACHED]++;
        if (!w->source->volume || !(fabs(surface_grey_at(w, z, y, x) - level) < within)) continue;
        if (is_boundary(w, z, y, x, phase)) l->count[phase ? C_LOST : C_GAINED]++;
      }
}

/* ---- together ------------------------------------------------------------------------------------------------------ */

static struct surface_range ranged(double value, double a, double b) {
  return (struct surface_range){value, fmin(a, b), fmax(a, b)};
}

static void report(struct surface_layers *l, bool error) {
  const struct surface_work *w = l->work;
  struct surface_report *r     = &l->result->report;
  const double *um = w->voxel_um, face = um[1] * um[2], voxel = face * um[0];
  const int64_t *c = l->count;
  double columns = (double)c[C_COLUMNS], none = (double)NAN, envelope[3];
  for (int i = 0; i < 3; i++)
    envelope[i] = i == 0 || error ? exact_value(&l->envelope[i]) * face : none;
  r->phase_volume_um3 = (struct surface_range){
      (double)c[C_PHASE] * voxel, error ? (double)(c[C_PHASE] - c[C_LOST]) * voxel : none,
      error ? (double)(c[C_PHASE] + c[C_GAINED]) * voxel : none};
  r->envelope_um3             = error ? ranged(envelope[0], envelope[1], envelope[2])
                                      : (struct surface_range){envelope[0], none, none};
  r->solid_um3                = (double)c[C_SOLID] * voxel;
  r->subsurface_pore_fraction = c[C_UNDER] ? (double)c[C_OTHER] / (double)c[C_UNDER] : none;
  r->overhang_fraction        = (double)c[C_OVERHANG] / columns;
  r->hole_fraction            = 1 - columns / (double)c[C_FIELD];
  r->detached                 = w->detached;
  r->detached_um3             = (double)c[C_DETACHED] * voxel;
  r->closed_pore_um3          = (double)c[C_CLOSED] * voxel;
  r->contact                  = w->contact;
  r->contact_fraction         = (double)c[C_CONTACT] / columns;
  r->membrane_um       = c[C_CONTACT] ? (double)c[C_MEMBRANE] / (double)c[C_CONTACT] * um[0] : none;
  r->membrane_least_um = c[C_CONTACT] ? (double)l->least_membrane * um[0] : none;
}

/* What the grey values say of pores; nothing where no voxel lies below the depth. */
static void report_greys(struct surface_layers *l, double void_grey) {
  const struct surface_work *w = l->work;
  struct surface_report *r     = &l->result->report;
  double sum[2] = {0, 0}, n[2] = {0, 0}, square = 0, mean = 0, parts = 0;
  r->grey_pore_fraction = r->grey_pore_sigma = r->pore_contrast_to_noise = (double)NAN;
  if (!w->source->volume || !w->params->void_grey[0]) return;
  r->pore_contrast_to_noise = fabs(w->inside - void_grey) / w->noise;
  for (int i = 0; i < 2 * PARTS; i++) {
    sum[i / PARTS] += exact_value(&l->grey[i]);
    n[i / PARTS] += (double)l->greys[i];
  }
  if (n[0] == 0 || n[1] == 0) return;
  double dense          = sum[1] / n[1] - void_grey;
  r->grey_pore_fraction = 1 - (sum[0] / n[0] - void_grey) / dense;
  for (int i = 0; i < PARTS;
       i++) { /* each part's own dense phase: what both share as they go round is the scan's */
    if (l->greys[i] == 0 || l->greys[PARTS + i] == 0) continue;
    double below = exact_value(&l->grey[PARTS + i]) / (double)l->greys[PARTS + i] - void_grey;
    mean += below, square += below * below, parts++;
  }
  double spread      = parts > 1 ? (square - mean * mean / parts) / (parts - 1) / parts : 0;
  double noise       = w->noise * w->noise * (1 / n[0] + 1 / n[1]);
  r->grey_pore_sigma = sqrt(fmax(spread, 0) + noise) / fabs(dense);
}

static enum status fill_depths(struct surface_layers *l) {
  struct surface_table *t = &l->result->pore_depths;
  int64_t rows            = 0;
  while (rows < l->deep && l->depth[3 * rows] > 0) rows++;
  TRY(surface_table_make(rows, 4, t));
  for (int64_t i = 0; i < rows; i++) {
    double all      = (double)l->depth[3 * i];
    t->column[0][i] = ((double)i + 1) * l->work->voxel_um[0];
    t->column[1][i] = all;
    t->column[2][i] = (double)l->depth[3 * i + 1] / all;
    t->column[3][i] = (double)l->depth[3 * i + 2] / all;
  }
  return STATUS_OK;
}

void surface_contact_find(struct surface_layers *l) {
  struct surface_work *w = l->work;
  int most               = 0;
  MPI_Allreduce(MPI_IN_PLACE, l->label, 256, MPI_INT64_T, MPI_SUM, w->comm);
  for (int i = 1; i < 256; i++)
    if (l->label[i] > l->label[most]) most = i;
  w->contact = w->params->contact_phase >= 0 ? (int)w->params->contact_phase : most;
}

void surface_layers_contact(struct surface_layers *l) {
  const struct surface_work *w = l->work;
  for (int64_t y = 0; y < w->rows; y++)
    for (int64_t x = 0; x < w->n[2]; x++) {
      int64_t top = surface_top(w, y, x);
      if (top >= 0) count_label(l, y, x, top);
    }
}

void surface_layers_add(struct surface_layers *l) {
  const struct surface_work *w = l->work;
  for (int64_t y = 0; y < w->rows; y++)
    for (int64_t x = 0; x < w->n[2]; x++) {
      do_column(l, y, x);
      do_membrane(l, y, x);
    }
  count_phase(l, w->params->threshold_error);
}

enum status surface_layers_end(struct surface_layers *l) {
  struct surface_work *w = l->work;
  MPI_Allreduce(MPI_IN_PLACE, l->count, COUNTS, MPI_INT64_T, MPI_SUM, w->comm);
  MPI_Allreduce(MPI_IN_PLACE, &l->least_membrane, 1, MPI_INT64_T, MPI_MIN, w->comm);
  MPI_Allreduce(MPI_IN_PLACE, l->depth, (int)(3 * l->deep), MPI_INT64_T, MPI_SUM, w->comm);
  TRY(exact_allreduce(w->comm, l->envelope, 3));
  TRY(exact_allreduce(w->comm, l->grey, 2 * PARTS));
  MPI_Allreduce(MPI_IN_PLACE, l->greys, 2 * PARTS, MPI_INT64_T, MPI_SUM, w->comm);
  report(l, l->map[1] != NULL);
  report_greys(l, strtod(w->params->void_grey, NULL));
  return AGREE(w->comm, fill_depths(l));
}

static enum status begin(struct surface_work *w, struct grid_field *const maps[3],
                         struct surface_result *result, struct surface_layers *l) {
  int64_t deep = (int64_t)fmin(w->params->depth_um / w->voxel_um[0], 1e9);
  *l           = (struct surface_layers){.work = w, .result = result, .least_membrane = INT64_MAX};
  l->deep      = deep < w->n[0] ? deep : w->n[0];
  memcpy(l->map, maps, sizeof l->map);
  TRY(surface_field_make(w, &result->low));
  TRY(surface_field_make(w, &result->membrane));
  TRY(surface_field_make(w, &result->pores));
  return AGREE(w->comm, memory_make(3 * l->deep + 1, sizeof *l->depth, "depths", &l->depth));
}

enum status surface_layers_begin(struct surface_work *w, struct grid_field *const maps[3],
                                 struct surface_result *result, struct surface_layers **layers) {
  TRY_ALL(w->comm, memory_make(1, sizeof **layers, "layers", layers));
  enum status status = begin(w, maps, result, *layers);
  if (status != STATUS_OK) surface_layers_free(layers);
  return status;
}

void surface_layers_free(struct surface_layers **layers) {
  if (*layers) memory_free((*layers)->depth);
  memory_free(*layers);
  *layers = NULL;
}
