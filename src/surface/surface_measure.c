/* Ra and Rq are arithmetic mean and root mean square of the heights about the form taken out (Huang et al. 2024, eq.
 * 6-7; ISO 4287's definitions on an area), before the filters. The variance that grey noise gives to a crossing is
 * independent of the surface's and is subtracted (Rq^2 - noise^2; Ra by the same factor, as for normal heights); the
 * other parameters keep it. Volumes and counts are found on all ranks, what a map tells by rank 0 alone, so nothing
 * depends on the number of ranks. */
#include "surface_private.h"
#include <math.h>
#include <string.h>

enum { DENDRITE_COLUMNS = 4 };

enum status surface_table_make(int64_t rows, int columns, struct surface_table *table) {
  memset(table, 0, sizeof *table);
  TRY(memory_make(columns * (rows + 1), sizeof(double), "a table", &table->column[0]));
  for (int k = 1; k < columns; k++) table->column[k] = table->column[k - 1] + rows + 1;
  table->rows = rows;
  return STATUS_OK;
}

void surface_result_free(struct surface_result *r) {
  struct surface_table *table[4] = {&r->pore_depths, &r->pore_list, &r->dendrite_list,
                                    &r->thicknesses};
  for (int i = 0; i < 4; i++) memory_free(table[i]->column[0]);
  grid_field_free(&r->height);
  grid_field_free(&r->low);
  grid_field_free(&r->membrane);
  grid_field_free(&r->pores);
  memory_free(r->levelled.z);
  memset(r, 0, sizeof *r);
}

/* ---- on rank 0 ------------------------------------------------------------------------------------------------- */

static enum surface_form form_of(const struct surface_params *p) {
  if (strcmp(p->level, "none") == 0) return SURFACE_MEAN;
  return strcmp(p->level, "plane") == 0 ? SURFACE_PLANE : SURFACE_QUADRATIC;
}

/* Ra and Rq of a map after its form is out, less the noise's share. */
static enum status roughness(const struct surface_params *p, struct surface_map *map,
                             double noise_um, double *Ra, double *Rq) {
  double sum = 0, square = 0, n = 0;
  TRY(surface_map_level(map, form_of(p)));
  for (int64_t i = 0; i < map->ny * map->nx; i++) {
    double z = (double)map->z[i];
    if (!isnan(z)) sum += fabs(z), square += z * z, n++;
  }
  *Ra = sum / n;
  *Rq = sqrt(square / n);
  if (!(strcmp(p->noise, "subtract") == 0 && noise_um < *Rq)) return STATUS_OK;
  double kept = sqrt(1 - noise_um * noise_um / (*Rq * *Rq));
  *Ra *= kept;
  *Rq *= kept;
  return STATUS_OK;
}

static enum status list_dendrites(const struct surface_params *p, const struct surface_map *map,
                                  struct surface_result *result) {
  struct surface_report *r = &result->report;
  struct surface_dendrite *list;
  int64_t n;
  r->dendrite_level_um = p->dendrite_um > 0 ? p->dendrite_um : 3 * r->Rq_um;
  TRY(surface_dendrites_of(map, r->dendrite_level_um, DENDRITE_COLUMNS, &list, &n));
  enum status status = surface_table_make(n, 6, &result->dendrite_list);
  for (int64_t i = 0; i < n && status == STATUS_OK; i++) {
    const double row[6] = {list[i].y_um,        list[i].x_um,      list[i].area_um2,
                           list[i].diameter_um, list[i].height_um, list[i].volume_um3};
    for (int k = 0; k < 6; k++) result->dendrite_list.column[k][i] = row[k];
    r->dendrite_um3 += list[i].volume_um3;
  }
  r->dendrites         = n;
  r->dendrites_per_mm2 = (double)n / ((double)r->points * map->step_um[0] * map->step_um[1]) * 1e6;
  memory_free(list);
  return status;
}

/* The map becomes the levelled and filtered one. */
static enum status describe(const struct surface_params *p, struct surface_map *map,
                            struct surface_result *result) {
  struct surface_report *r = &result->report;
  TRY(roughness(p, map, r->noise_um, &r->Ra_um, &r->Rq_um));
  TRY(surface_texture_of(map, p->block_vox, &result->texture));
  r->points   = result->texture.points;
  r->Ra_sigma = result->texture.Sa_sigma;
  r->Rq_sigma = result->texture.Sq_sigma;
  TRY(list_dendrites(p, map, result));
  if (p->s_filter_um == 0 && p->l_filter_um == 0) return STATUS_OK;
  TRY(surface_map_filter(map, p->s_filter_um, false));
  TRY(surface_map_filter(map, p->l_filter_um, true));
  return surface_texture_of(map, p->block_vox, &result->texture);
}

/* ---- on all ranks ---------------------------------------------------------------------------------------------- */

static enum status share_report(struct surface_work *w, struct surface_result *result) {
  MPI_Bcast(&result->report, sizeof result->report, MPI_BYTE, 0, w->comm);
  MPI_Bcast(&result->texture, sizeof result->texture, MPI_BYTE, 0, w->comm);
  if (result->report.points > 0) return STATUS_OK;
  return AGREE(w->comm, FAIL(STATUS_INPUT, "no column of the field holds the bulk of phase %d",
                             (int)w->params->phase));
}

static enum status other_roughness(struct surface_work *w, const struct grid_field *field,
                                   double noise_um, double *Ra, double *Rq) {
  struct surface_map map;
  *Ra = *Rq = (double)NAN;
  if (!field) return STATUS_OK;
  TRY(surface_map_gather(w, field, &map));
  enum status status = map.z ? roughness(w->params, &map, noise_um, Ra, Rq) : STATUS_OK;
  memory_free(map.z);
  return AGREE(w->comm, status);
}

static void order(double value, double *lower, double *upper) {
  double a = fmin(fmin(*lower, *upper), value), b = fmax(fmax(*lower, *upper), value);
  *lower = a;
  *upper = b;
}

static enum status measure_map(struct surface_work *w, const struct grid_field *low,
                               const struct grid_field *high, struct surface_result *result) {
  struct surface_report *r = &result->report;
  double rest;
  enum status status =
      result->levelled.z ? describe(w->params, &result->levelled, result) : STATUS_OK;
  TRY_ALL(w->comm, status);
  TRY(other_roughness(w, low, r->noise_um, &r->Ra_lower, &r->Rq_lower));
  TRY(other_roughness(w, high, r->noise_um, &r->Ra_upper, &r->Rq_upper));
  TRY(other_roughness(w, &result->low, r->noise_um, &r->Ra_low_um, &rest));
  if (low) order(r->Ra_um, &r->Ra_lower, &r->Ra_upper);
  if (low) order(r->Rq_um, &r->Rq_lower, &r->Rq_upper);
  return share_report(w, result);
}

static enum status check_points(struct surface_work *w) {
  int64_t known = 0, columns = w->mine.n[1] * w->n[2];
  for (int64_t i = 0; i < columns; i++) known += w->end[w->up][i] >= 0;
  MPI_Allreduce(MPI_IN_PLACE, &known, 1, MPI_INT64_T, MPI_SUM, w->comm);
  if (known > 0) return STATUS_OK;
  return AGREE(w->comm, FAIL(STATUS_INPUT, "no column of the field holds the bulk of phase %d",
                             (int)w->params->phase));
}

/* ---- pass by pass ---------------------------------------------------------------------------------------------- */

struct passes {
  struct surface_result *result;
  struct grid_field maps[3]; /* heights; the last two with the threshold moved */
  struct surface_layers *layers;
  struct exact_sum grey[SURFACE_GREY_SUMS], noise[SURFACE_NOISE_SUMS];
  struct voxel_isosurface_work *interface;
};

/* The first: what lies on the surface, and the grey values of both its sides. */
static enum status look(struct surface_work *w, void *owner) {
  struct passes *p = owner;
  surface_layers_contact(p->layers);
  if (w->source->volume) surface_greys_add(w, p->grey);
  return STATUS_OK;
}

/* The second: heights and all that follows from them. */
static enum status measure_piece(struct surface_work *w, void *owner) {
  struct passes *p = owner;
  double error     = w->params->threshold_error;
  surface_heights_fill(w, 0, &p->maps[0], p->noise);
  for (int i = 1; i < 3; i++)
    if (p->maps[i].plan.size) surface_heights_fill(w, i == 1 ? -error : error, &p->maps[i], NULL);
  surface_layers_add(p->layers);
  return p->interface ? surface_interface_add(w, p->interface) : STATUS_OK;
}

static enum status passes_begin(struct surface_work *w, struct passes *p) {
  const int n                = w->source->volume && w->params->threshold_error > 0 ? 3 : 1;
  struct grid_field *maps[3] = {&p->maps[0], n > 1 ? &p->maps[1] : NULL,
                                n > 1 ? &p->maps[2] : NULL};
  for (int i = 0; i < n; i++) TRY(surface_field_make(w, &p->maps[i]));
  return surface_layers_begin(w, maps, p->result, &p->layers);
}

static enum status passes_run(struct surface_work *w, struct passes *p) {
  TRY(passes_begin(w, p));
  TRY(surface_pieces(w, "surface (grey values)", look, p));
  surface_contact_find(p->layers);
  if (w->source->volume) {
    TRY(surface_greys_find(w, p->grey));
    TRY_ALL(w->comm, surface_interface_begin(w, &p->interface));
  }
  TRY(check_points(w));
  TRY(surface_pieces(w, "surface (heights)", measure_piece, p));
  TRY(exact_allreduce(w->comm, p->noise, SURFACE_NOISE_SUMS));
  p->result->report.noise_um = w->source->volume ? surface_noise_um(w, p->noise) : (double)NAN;
  TRY(surface_layers_end(p->layers));
  return surface_interface_end(w, p->interface, p->result);
}

static enum status passes_end(struct surface_work *w, struct passes *p) {
  struct surface_result *r      = p->result;
  const struct grid_field *low  = p->maps[1].plan.size ? &p->maps[1] : NULL,
                          *high = low ? &p->maps[2] : NULL;
  r->height                     = p->maps[0];
  memset(&p->maps[0], 0, sizeof p->maps[0]);
  TRY(surface_map_gather(w, &r->height, &r->levelled));
  TRY(surface_pores_list(w, &r->levelled, r));
  TRY(surface_thickness_measure(w, r));
  return measure_map(w, low, high, r);
}

static enum status measure(struct surface_work *w, struct surface_result *result) {
  struct passes *p = NULL;
  TRY(surface_pieces_begin(w));
  TRY(surface_kinds_make(w));
  enum status status = AGREE(w->comm, memory_make(1, sizeof *p, "sums", &p));
  if (status != STATUS_OK) {
    memory_free(p);
    return status;
  }
  p->result = result;
  status    = passes_run(w, p);
  if (status == STATUS_OK) status = passes_end(w, p);
  surface_layers_free(&p->layers);
  voxel_isosurface_free(&p->interface);
  for (int i = 0; i < 3; i++) grid_field_free(&p->maps[i]);
  memory_free(p);
  return status;
}

enum status surface_measure(MPI_Comm comm, const struct surface_params *params,
                            const struct surface_source *source, struct surface_result *result) {
  struct surface_work w = {.comm = comm, .params = params, .source = source};
  memset(result, 0, sizeof *result);
  w.up = strcmp(params->side, "z+") == 0;
  TRY_ALL(comm, fault_here("surface.measure"));
  enum status status = measure(&w, result);
  surface_pieces_free(&w);
  if (status != STATUS_OK) surface_result_free(result);
  return status;
}
