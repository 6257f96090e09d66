/* Components by runs along x: joined by union-find as they are found, plane after plane, so that a volume may also come
 * in pieces. */
#include "voxel_components_private.h"
#include "voxel_bits.h"
#include <string.h>

/* ---- runs and their union ------------------------------------------------------------------------- */

static enum status grow(void *at, int64_t n, int64_t room, size_t bytes) {
  void **array = at, *larger;
  TRY(memory_make_raw(room, bytes, "runs of components", &larger));
  if (n) memcpy(larger, *array, (size_t)n * bytes);
  memory_free(*array);
  *array = larger;
  return STATUS_OK;
}

/* Room for the runs of one more row when `done` of `rows` are through: what the box needs if it goes on as it began, but not
 * over four times what it has. */
static enum status make_room(struct component_runs *runs, int64_t wide, int64_t done,
                             int64_t rows) {
  int64_t least = runs->n + wide / 2 + 1;
  if (runs->room >= least) return STATUS_OK;
  if (least > INT32_MAX)
    return FAIL(STATUS_MEMORY, "more than 2^31 runs on a rank; use more ranks");
  double all   = done ? 1.02 * (double)runs->n * (double)rows / (double)done : 0;
  int64_t room = all < 4 * (double)least ? (int64_t)all : 4 * least;
  if (room < least + least / 8) room = least + least / 8;
  room += 4096;
  TRY(grow(&runs->run, runs->n, room, sizeof *runs->run));
  TRY(grow(&runs->component, runs->n, room, sizeof *runs->component));
  if (runs->faces) TRY(grow(&runs->faces, runs->n, room, sizeof *runs->faces));
  runs->room = room;
  return STATUS_OK;
}

/* Rows -1..ny of the bits of two planes; those at the ends stay empty. */
struct planes {
  struct component_bits *row[2]; /* owned: row[0]; row[i][0] is row 0 */
  uint64_t *bit;
  int32_t *before;
};

static void planes_free(struct planes *p) {
  if (p->row[0]) memory_free(p->row[0] - 1);
  memory_free(p->bit);
  memory_free(p->before);
}

static enum status planes_make(int64_t ny, int64_t wide, struct planes *p) {
  int64_t stride = (wide + 511) / 512 * 8 + 8, rows = 2 * (ny + 2);
  struct component_bits *row;
  TRY(memory_make(rows, sizeof *row, "rows of bits", &row));
  p->row[0] = row + 1;
  p->row[1] = p->row[0] + ny + 2;
  TRY(memory_make(2 * rows * stride, sizeof *p->bit, "rows of bits", &p->bit));
  TRY(memory_make(rows * stride, sizeof *p->before, "rows of bits", &p->before));
  for (int64_t i = 0; i < rows; i++) {
    uint64_t *bit = p->bit + i * stride + 1, *start = bit + rows * stride;
    row[i] = (struct component_bits){bit, start, p->before + i * stride + 1};
  }
  return STATUS_OK;
}

/* Finds the runs of a row and joins them with earlier rows' that touch. */
static void add_row(const uint8_t *line, int phase, int64_t wide, int steps,
                    const struct component_bits row[ROWS], struct component_runs *runs) {
  ISA_PICK(bits_pack)
  (line, wide, (uint8_t)(phase < 0 ? 0 : phase), phase < 0, row[ROW_HERE].bit);
  int64_t n =
      ISA_PICK(component_find_runs)(&row[ROW_HERE], wide, (int32_t)runs->n, runs->run + runs->n);
  for (int64_t i = runs->n; i < runs->n + n; i++) runs->component[i] = (int32_t)i;
  runs->n += n;
  ISA_PICK(component_join_row)(row, (wide + 63) / 64, steps, runs->component);
}

struct voxel_parts {
  struct grid_plan plan;
  int connectivity;
  int64_t z; /* of this rank's box: the next plane */
  struct component_runs runs;
  struct component_keys keys;
  struct planes planes;
  int32_t *number;
};

static enum status add_plane(const uint8_t *from, int64_t stride, int phase,
                             struct voxel_parts *w) {
  struct component_runs *runs = &w->runs;
  int64_t ny = runs->mine.n[1], wide = runs->mine.n[2], z = w->z++;
  for (int64_t y = 0; y < ny; y++) {
    const struct component_bits *here     = w->planes.row[z & 1] + y,
                                *below    = w->planes.row[~z & 1] + y;
    const struct component_bits row[ROWS] = {[ROW_HERE]         = here[0],
                                             [ROW_BEFORE]       = here[-1],
                                             [ROW_BELOW]        = below[0],
                                             [ROW_BELOW_BEFORE] = below[-1],
                                             [ROW_BELOW_AFTER]  = below[1]};
    runs->row[z * ny + y]                 = runs->n;
    TRY(make_room(runs, wide, z * ny + y, runs->mine.n[0] * ny));
    add_row(from + y * stride, phase, wide, component_steps(w->connectivity), row, runs);
  }
  runs->row[w->z * ny] = runs->n;
  return STATUS_OK;
}

/* Of a row of the phase the faces to its neighbours along y and z that are not; NULL: beyond the volume. */
static int32_t faces_of(const uint8_t *line, const uint8_t *const side[4], int32_t start,
                        int32_t end) {
  int32_t faces = 2;
  for (int k = 0; k < 4; k++)
    for (int32_t x = start; x < end; x++) faces += !side[k] || side[k][x] != line[x];
  return faces;
}

/* Runs of plane z of this rank's box, which has the whole width and depth. */
static void add_faces(const uint8_t *from, int64_t z, struct voxel_parts *w) {
  struct component_runs *runs = &w->runs;
  int64_t ny = runs->mine.n[1], wide = runs->mine.n[2], whole = z + runs->mine.start[0];
  for (int64_t y = 0; y < ny; y++) {
    const uint8_t *line    = from + y * wide;
    const uint8_t *side[4] = {y ? line - wide : NULL, y + 1 < ny ? line + wide : NULL,
                              whole ? line - ny * wide : NULL,
                              whole + 1 < w->plan.n[0] ? line + ny * wide : NULL};
    for (int64_t i = runs->row[z * ny + y]; i < runs->row[z * ny + y + 1]; i++)
      runs->faces[i] = faces_of(line, side, runs->run[i].start, runs->run[i].end);
  }
}

static int64_t key_of(const struct grid_plan *plan, const struct component_runs *runs, int64_t row,
                      int64_t run) {
  int64_t z = runs->mine.start[0] + row / runs->mine.n[1],
          y = runs->mine.start[1] + row % runs->mine.n[1];
  return 1 + (z * plan->n[1] + y) * plan->n[2] + runs->mine.start[2] + runs->run[run].start;
}

/* Roots are numbered as they come; every other run's parent has its number before it. */
static enum status number_here(const struct grid_plan *plan, struct component_runs *runs,
                               struct component_keys *keys) {
  int64_t n = 0;
  for (int64_t i = 0; i < runs->n; i++) n += runs->component[i] == i;
  TRY(memory_make_raw(n, sizeof *keys->key, "components", &keys->key));
  for (int64_t q = 0; q < runs->mine.n[0] * runs->mine.n[1]; q++)
    for (int64_t i = runs->row[q]; i < runs->row[q + 1]; i++) {
      int32_t up = runs->component[i];
      if (up == i) keys->key[keys->n] = key_of(plan, runs, q, i);
      runs->component[i] = up == i ? (int32_t)keys->n++ : runs->component[up];
    }
  return STATUS_OK;
}

int component_steps(int connectivity) { return connectivity == 6 ? 1 : connectivity == 18 ? 2 : 3; }

/* ---- in pieces ---------------------------------------------------------------------------------------- */

static enum status parts_make(const struct grid_plan *plan, int connectivity, bool with_faces,
                              struct voxel_parts *w) {
  TRY(grid_plan_copy(plan, &w->plan));
  w->connectivity = connectivity;
  w->runs.mine    = grid_plan_mine(plan);
  if (connectivity != 6 && connectivity != 18 && connectivity != 26)
    return FAIL(STATUS_USAGE, "connectivity = %d; it would be 6, 18 or 26", connectivity);
  if (with_faces)
    TRY(memory_make_raw(0, sizeof *w->runs.faces, "faces of components", &w->runs.faces));
  TRY(memory_make(w->runs.mine.n[0] * w->runs.mine.n[1] + 1, sizeof *w->runs.row,
                  "rows of components", &w->runs.row));
  return planes_make(w->runs.mine.n[1], w->runs.mine.n[2], &w->planes);
}

enum status voxel_parts_make(const struct grid_plan *plan, int connectivity, bool with_faces,
                             struct voxel_parts **parts) {
  TRY(memory_make(1, sizeof **parts, "components", parts));
  enum status status = parts_make(plan, connectivity, with_faces, *parts);
  if (status != STATUS_OK) voxel_parts_free(parts);
  return status;
}

void voxel_parts_free(struct voxel_parts **parts) {
  struct voxel_parts *w = *parts;
  if (!w) return;
  grid_plan_free(&w->plan);
  memory_free(w->runs.run);
  memory_free(w->runs.row);
  memory_free(w->runs.component);
  memory_free(w->runs.faces);
  memory_free(w->keys.key);
  planes_free(&w->planes);
  memory_free(w->number);
  memory_free(w);
  *parts = NULL;
}

enum status voxel_parts_add(struct voxel_parts *w, const uint8_t *labels, int64_t planes,
                            int phase) {
  int64_t plane = w->runs.mine.n[1] * w->runs.mine.n[2];
  for (int64_t k = 0; k < planes; k++) {
    TRY(add_plane(labels + k * plane, w->runs.mine.n[2], phase, w));
    if (w->runs.faces) add_faces(labels + k * plane, w->z - 1, w);
  }
  return STATUS_OK;
}

enum status voxel_parts_join(MPI_Comm comm, struct voxel_parts *w, int64_t *count) {
  TRY_ALL(comm, number_here(&w->plan, &w->runs, &w->keys));
  planes_free(&w->planes);
  w->planes = (struct planes){
      {NULL, NULL},
      NULL, NULL
  };
  return component_numbers(comm, &w->plan, w->connectivity, &w->runs, &w->keys, &w->number, count);
}

static void add_run(const struct voxel_parts *w, int64_t row, int64_t i,
                    struct voxel_component *table) {
  const struct component_run *run = &w->runs.run[i];
  struct voxel_component *c       = &table[w->number[w->runs.component[i]] - 1];
  int64_t n                       = run->end - run->start;
  const int64_t low[3]            = {w->runs.mine.start[0] + row / w->runs.mine.n[1],
                                     w->runs.mine.start[1] + row % w->runs.mine.n[1],
                                     w->runs.mine.start[2] + run->start},
                high[3]           = {low[0] + 1, low[1] + 1, low[2] + n};
  c->voxels += n;
  if (w->runs.faces) c->faces += w->runs.faces[i];
  for (int a = 0; a < 3; a++) {
    c->sum[a] += a < 2 ? n * low[a] : n * low[2] + n * (n - 1) / 2;
    if (low[a] < c->low[a]) c->low[a] = low[a];
    if (high[a] > c->high[a]) c->high[a] = high[a];
    if (low[a] == 0) c->touches |= 1u << (2 * a);
    if (high[a] == w->plan.n[a]) c->touches |= 2u << (2 * a);
  }
}

enum status voxel_parts_table(MPI_Comm comm, const struct voxel_parts *w, int64_t count,
                              struct voxel_component **table) {
  TRY_ALL(comm, component_table_make(count, table));
  for (int64_t q = 0; q < w->runs.mine.n[0] * w->runs.mine.n[1]; q++)
    for (int64_t i = w->runs.row[q]; i < w->runs.row[q + 1]; i++)
      if (w->number[w->runs.component[i]]) add_run(w, q, i, *table);
  component_table_sum(comm, count, *table);
  return STATUS_OK;
}

void voxel_parts_renumber(struct voxel_parts *w, const int64_t *number) {
  for (int64_t i = 0; i < w->keys.n; i++) w->number[i] = (int32_t)number[w->number[i]];
}

void voxel_parts_row(const struct voxel_parts *w, int64_t z, int64_t y, int32_t *line) {
  int64_t row = z * w->runs.mine.n[1] + y, first = w->runs.row[row];
  ISA_PICK(component_write_row)
  (w->runs.run + first, w->runs.component + first, w->runs.row[row + 1] - first, w->number,
   w->runs.mine.n[2], line);
}

/* ---- of a field --------------------------------------------------------------------------------------- */

static enum status add_field(const struct grid_field *field, int phase, struct voxel_parts *w) {
  TRY(fault_here("voxel.components"));
  if (field->type != GRID_U8)
    return FAIL(STATUS_INTERNAL, "components of a %s field", grid_type_name(field->type));
  const uint8_t *from = (const uint8_t *)field->data + grid_field_origin(field);
  for (int64_t z = 0; z < field->mine.n[0]; z++)
    TRY(add_plane(from + z * field->row[0], field->row[1], phase, w));
  return STATUS_OK;
}

/* Every element of the field, in the order of memory, once: what a row's last vector writes too much is overwritten by what follows;
 * where that would be too little, the row goes by way of `line`. */
static enum status write_field(const struct voxel_parts *w, struct grid_field *to) {
  const int64_t *n = to->mine.n, wide = to->size[2];
  int32_t *line, *data                = to->data;
  TRY(memory_make(wide + VOXEL_ROW_SPARE, sizeof *line, "a row", &line));
  for (int64_t z = -1; z <= n[0] && to->voxels; z++)
    for (int64_t y = -1; y <= n[1]; y++, data += wide) {
      bool inside = z >= 0 && z < n[0] && y >= 0 && y < n[1];
      bool last   = data + wide + VOXEL_ROW_SPARE > (int32_t *)to->data + to->voxels;
      int32_t *at = last ? line : data;
      if (!inside)
        memset(data, 0, (size_t)wide * sizeof *data);
      else {
        voxel_parts_row(w, z, y, at + 1);
        at[0] = at[wide - 1] = 0;
        if (last) memcpy(data, line, (size_t)wide * sizeof *line);
      }
    }
  memory_free(line);
  return STATUS_OK;
}

enum status voxel_components(MPI_Comm comm, const struct grid_field *field, int phase,
                             int connectivity, struct grid_field *components, int64_t *count) {
  struct voxel_parts *w = NULL;
  const int64_t one[3]  = {1, 1, 1};
  memset(components, 0, sizeof *components);
  *count             = 0;
  enum status status = voxel_parts_make(&field->plan, connectivity, false, &w);
  if (status == STATUS_OK) status = add_field(field, phase, w);
  status = AGREE(comm, status);
  if (status == STATUS_OK) status = voxel_parts_join(comm, w, count);
  if (status == STATUS_OK)
    status = grid_field_make_raw(comm, &field->plan, GRID_I32, one, components);
  if (status == STATUS_OK) {
    memcpy(components->voxel_um, field->voxel_um, sizeof field->voxel_um);
    status = AGREE(comm, write_field(w, components));
    if (status == STATUS_OK) status = grid_halo_exchange(comm, components, GRID_EDGE_KEEP);
    if (status != STATUS_OK) grid_field_free(components);
  }
  voxel_parts_free(&w);
  return status;
}
