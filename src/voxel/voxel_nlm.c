/* Non-local means (Buades, Coll and Morel 2005) with patches of 3 x 3 x 3 voxels, weighted as scikit-image does without
 * fast_mode: a Gaussian of half a voxel; weights of patches farther than 5 h^2 are 0. Plane by plane, in place: what a plane
 * becomes waits until no other needs what it was. Every voxel's sum goes in the same order, wherever it lies. */
#include "voxel_filter_private.h"
#include <math.h>
#include <string.h>

int64_t voxel_nlm_halo(int search_vox) { return search_vox + 1; }

struct nlm {
  struct grid_field *field;
  int search;
  float tap, scale;
  int64_t plane, stride; /* of scratch */
  float *weight, *value, *line, *differ[3];
};

static float *row_of(const struct nlm *w, int64_t z, int64_t y, int64_t x) {
  const struct grid_field *f = w->field;
  return (float *)f->data + grid_field_origin(f) + z * f->row[0] + y * f->row[1] + x;
}

/* Values wait in a ring of search + 2 planes. */
static float *value_plane(const struct nlm *w, int64_t z) {
  return w->value + z % (w->search + 2) * w->plane;
}

/* What the voxels `step` away add to plane z. */
static void add_step(const struct nlm *w, int64_t z, const int64_t step[3]) {
  const int64_t *n = w->field->mine.n;
  for (int64_t y = -1; y <= n[1]; y++) {
    const float *a[3], *b[3], *differ[3];
    for (int k = 0; k < 3; k++) {
      a[k]      = row_of(w, z + k - 1, y, -1);
      b[k]      = row_of(w, z + k - 1 + step[0], y + step[1], step[2] - 1);
      differ[k] = w->differ[(y + k + 2) % 3]; /* of rows y - 2, y - 1, y */
    }
    ISA_PICK(nlm_differ)(a, b, w->tap, w->differ[(y + 4) % 3], n[2] + 2);
    if (y < 1) continue;
    ISA_PICK(nlm_add)
    (differ, w->tap, w->scale, row_of(w, z + step[0], y - 1 + step[1], step[2]), w->line,
     w->weight + (y - 1) * n[2], value_plane(w, z) + (y - 1) * n[2], n[2]);
  }
}

static void find_plane(const struct nlm *w, int64_t z) {
  const int64_t *n = w->field->mine.n, s = w->search;
  float *value = value_plane(w, z);
  for (int64_t y = 0; y < n[1]; y++)
    memcpy(value + y * n[2], row_of(w, z, y, 0), (size_t)n[2] * sizeof *value);
  for (int64_t i = 0; i < w->plane; i++) w->weight[i] = 1;
  for (int64_t i = -s; i <= s; i++)
    for (int64_t j = -s; j <= s; j++)
      for (int64_t k = -s; k <= s; k++)
        if (i || j || k) add_step(w, z, (const int64_t[]){i, j, k});
  for (int64_t i = 0; i < w->plane; i++) value[i] /= w->weight[i];
}

static void put_plane(const struct nlm *w, int64_t z) {
  const int64_t *n   = w->field->mine.n;
  const float *value = value_plane(w, z);
  for (int64_t y = 0; y < n[1]; y++)
    memcpy(row_of(w, z, y, 0), value + y * n[2], (size_t)n[2] * sizeof *value);
}

static int64_t scratch_floats(const int64_t n[3], int search_vox) {
  return (search_vox + 3) * n[1] * n[2] + 4 * (n[2] + 2);
}

int64_t voxel_nlm_bytes(const int64_t n[3], int search_vox) {
  return search_vox > 0 ? scratch_floats(n, search_vox) * (int64_t)sizeof(float) : 0;
}

static enum status nlm_here(struct grid_field *f, int search_vox, double grey) {
  const int64_t *n = f->mine.n;
  double tap = exp(-2), patch = pow(1 + 2 * tap, 3);
  struct nlm w = {.field  = f,
                  .search = search_vox,
                  .tap    = (float)tap,
                  .scale  = (float)(1 / (patch * grey * grey)),
                  .plane  = n[1] * n[2]};
  TRY(fault_here("voxel.nlm"));
  if (f->type != GRID_F32)
    return FAIL(STATUS_INTERNAL, "non-local means of %s", grid_type_name(f->type));
  TRY(voxel_halo_check(f, voxel_nlm_halo(search_vox)));
  if (f->voxels == 0) return STATUS_OK;
  TRY(memory_make_raw(scratch_floats(n, search_vox), sizeof *w.weight, "planes of a filter",
                      &w.weight));
  w.value = w.weight + w.plane;
  w.line  = w.value + (search_vox + 2) * w.plane;
  for (int k = 0; k < 3; k++) w.differ[k] = w.line + (k + 1) * (n[2] + 2);
  int64_t late = search_vox + 1;
  for (int64_t z = 0; z < n[0] + late; z++) {
    if (z < n[0]) find_plane(&w, z);
    if (z >= late) put_plane(&w, z - late);
  }
  memory_free(w.weight);
  return STATUS_OK;
}

enum status voxel_nlm(MPI_Comm comm, struct grid_field *field, int search_vox, double grey) {
  TRY(grid_halo_exchange(comm, field, GRID_EDGE_REFLECT));
  return AGREE(comm, nlm_here(field, search_vox, grey));
}
