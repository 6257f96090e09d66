/* The components' table: boxes and faces from their numbers, areas and volumes from the grey values between the phase's
 * thresholds. Faces of voxels are half as much again as the area; the grey values follow the surface. */
#include "segment_private.h"
#include <math.h>
#include <string.h>

enum { TABLE_MOST = 1000000, PLAIN = 14 };

static double sphericity(double volume, double area) {
  return area > 0 ? cbrt(PI) * pow(6 * volume, 2.0 / 3) / area : (double)NAN;
}

static void fill_row(const struct voxel_component *c, const struct voxel_isosurface *s, int64_t i,
                     double *const *column) {
  const double voxels = (double)c->voxels, area = (double)c->faces;
  const double row[SEGMENT_COLUMNS] = {(double)c->number,
                                       voxels,
                                       (double)c->low[0],
                                       (double)c->low[1],
                                       (double)c->low[2],
                                       (double)c->high[0],
                                       (double)c->high[1],
                                       (double)c->high[2],
                                       (double)c->sum[0] / voxels,
                                       (double)c->sum[1] / voxels,
                                       (double)c->sum[2] / voxels,
                                       area,
                                       (double)c->touches,
                                       sphericity(voxels, area),
                                       s ? s->area : 0,
                                       s ? s->volume : 0,
                                       s ? sphericity(s->volume, s->area) : 0};
  for (int k = 0; k < (s ? SEGMENT_COLUMNS : PLAIN); k++) column[k][i] = row[k];
}

/* In um when all three are known, else in voxels. */
static bool edges_of(const double voxel_um[3], double edge[3]) {
  bool known = voxel_um[0] > 0 && voxel_um[1] > 0 && voxel_um[2] > 0;
  for (int a = 0; a < 3; a++) edge[a] = known ? voxel_um[a] : 1;
  return known;
}

enum status segment_table_fill(const double voxel_um[3], int64_t count,
                               const struct voxel_component *component,
                               const struct voxel_isosurface *surface, struct segment_table *t) {
  t->in_um = edges_of(voxel_um, t->edge);
  TRY(memory_make(SEGMENT_COLUMNS * (count + 1), sizeof(double), "a table of components",
                  &t->column[0]));
  for (int k = 1; k < SEGMENT_COLUMNS; k++) t->column[k] = t->column[k - 1] + count + 1;
  t->rows          = count;
  t->with_surfaces = surface != NULL;
  for (int64_t i = 0; i < count; i++)
    fill_row(&component[i], surface ? &surface[i] : NULL, i, t->column);
  return STATUS_OK;
}

bool segment_table_is_long(int64_t count) {
  if (count > TABLE_MOST)
    log_warning("%lld components: their table is left out (at most %d rows; raise min_voxels)",
                (long long)count, TABLE_MOST);
  return count > TABLE_MOST;
}

enum status segment_table_make(const struct stage_job *job, struct grid_field *volume,
                               struct grid_field *components, const struct segment_report *r,
                               struct segment_table *t) {
  const struct segment_params *p    = job->params;
  struct voxel_component *component = NULL;
  struct voxel_isosurface *surface  = NULL;
  int64_t count                     = r->components;
  double low                        = r->phase > 0 ? r->threshold[r->phase - 1] : -INFINITY,
         high                       = r->phase + 1 < r->classes ? r->threshold[r->phase] : INFINITY;
  double edge[3];
  memset(t, 0, sizeof *t);
  edges_of(volume->voxel_um, edge);
  if (segment_table_is_long(count)) return STATUS_OK;
  /* with a threshold of its own in every slice the phase has no one grey value at its surface */
  bool surfaces = p->surfaces && count > 0 && strcmp(p->per, "slice") != 0;
  TRY(voxel_component_table(job->comm, components, count, &component));
  enum status status = STATUS_OK;
  if (surfaces)
    status =
        voxel_isosurface_table(job->comm, volume, components, count, low, high, edge, &surface);
  if (status == STATUS_OK)
    status = AGREE(job->comm, segment_table_fill(volume->voxel_um, count, component, surface, t));
  memory_free(component);
  memory_free(surface);
  return status;
}

enum status segment_table_write(const struct stage_job *job, struct store_output *output,
                                const struct segment_table *t) {
  static const char *const names[SEGMENT_COLUMNS] = {
      "number", "voxels",   "low_z",     "low_y",    "low_x", "high_z",  "high_y",
      "high_x", "centre_z", "centre_y",  "centre_x", "faces", "touches", "sphericity_of_faces",
      "area",   "volume",   "sphericity"};
  const char *area = t->in_um ? "um2" : "vox2", *volume = t->in_um ? "um3" : "vox3";
  const char *const units[SEGMENT_COLUMNS] = {"",    "vox", "vox", "vox",  "vox", "vox",
                                              "vox", "vox", "vox", "vox",  "vox", "vox",
                                              "",    "",    area,  volume, ""};
  if (!t->column[0]) return STATUS_OK;
  return store_table(job->comm, output, "component_table", names, units,
                     t->with_surfaces ? SEGMENT_COLUMNS : PLAIN, (const double *const *)t->column,
                     t->rows);
}

void segment_table_free(struct segment_table *t) {
  memory_free(t->column[0]);
  memset(t, 0, sizeof *t);
}
