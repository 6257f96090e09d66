/* grid: who owns which voxels, fields on them, halos, and moving a field between plans. */
#pragma once
#include "base.h"

/* Element types of fields and datasets. */
#define GRID_TYPE_LIST(X)                                                                          \
  X(U8, uint8_t)                                                                                   \
  X(U16, uint16_t) X(U32, uint32_t) X(I32, int32_t) X(I64, int64_t) X(F32, float) X(F64, double)
enum grid_type {
#define X(name, ctype) GRID_##name,
  GRID_TYPE_LIST(X)
#undef X
};
size_t grid_type_bytes(enum grid_type type);
const char *grid_type_name(enum grid_type type); /* "uint8" ... "float64" */

/* A half-open box of voxels; axes z, y, x = 0, 1, 2. Empty when any n[a] == 0. */
struct grid_box {
  int64_t start[3], n[3];
};
int64_t grid_box_voxels(const struct grid_box *box);
struct grid_box grid_box_overlap(const struct grid_box *a, const struct grid_box *b);

/* How n[0] x n[1] x n[2] voxels are dealt to the ranks of a communicator: a brick of parts[0] x
 * parts[1] x parts[2] boxes, rank = (iz parts[1] + iy) parts[2] + ix. Along axis a part i holds
 * cut[a][i] .. cut[a][i+1]. Ranks past the last part, and empty parts, own nothing.
 * The same on all ranks. Borrows comm. */
struct grid_plan {
  MPI_Comm comm;
  int rank, size;
  int64_t n[3];
  int parts[3];
  int64_t *cut[3]; /* owned */
};
/* Local, but same arguments on all ranks. Slabs: equal shares along `axis` (first ranks get one
 * more). Blocks: the brick with the least surface that leaves no part thinner than `thinnest`
 * where the shape allows. Cuts: given shares, `share[size]` along `axis` (FFTW's slabs). */
enum status grid_plan_slabs(MPI_Comm comm, const int64_t n[3], int axis, struct grid_plan *plan);
enum status grid_plan_blocks(MPI_Comm comm, const int64_t n[3], int64_t thinnest,
                             struct grid_plan *plan);
enum status grid_plan_cuts(MPI_Comm comm, const int64_t n[3], int axis, const int64_t *share,
                           struct grid_plan *plan);
/* Deep copy; the same plan for another shape has to be made anew. */
enum status grid_plan_copy(const struct grid_plan *from, struct grid_plan *plan);
void grid_plan_free(struct grid_plan *plan);
bool grid_plan_equal(const struct grid_plan *a, const struct grid_plan *b);
struct grid_box grid_plan_box(const struct grid_plan *plan, int rank); /* of any rank */
struct grid_box grid_plan_mine(const struct grid_plan *plan);
/* The largest number of voxels any rank owns (for forecasts and equal rounds). */
int64_t grid_plan_most(const struct grid_plan *plan);

/* A field on a plan: this rank's box grown by halo[a] on both sides of axis a (also beyond the
 * volume's faces), C order, contiguous. Voxel (z,y,x) of the volume lies at
 * data[((z - z0 + halo[0]) * row[0] + (y - y0 + halo[1]) * row[1] + x - x0 + halo[2])].
 * row[] are strides in elements. Owns data and its own copy of the plan. */
struct grid_field {
  struct grid_plan plan;
  enum grid_type type;
  struct grid_box mine; /* without halo */
  int64_t halo[3];
  int64_t size[3]; /* with halo */
  int64_t row[2];  /* strides of z and y in elements; x has stride 1 */
  int64_t voxels;  /* elements stored, with halo */
  void *data;
  double voxel_um[3]; /* spacing along z, y, x; 0 when not known */
};
/* Collective. Zeroed. Volumes come from here alone, so memory can be counted. */
enum status grid_field_make(MPI_Comm comm, const struct grid_plan *plan, enum grid_type type,
                            const int64_t halo[3], struct grid_field *field);
/* The same with whatever was in memory: for what is written whole, halo and all. */
enum status grid_field_make_raw(MPI_Comm comm, const struct grid_plan *plan, enum grid_type type,
                                const int64_t halo[3], struct grid_field *field);
void grid_field_free(struct grid_field *field);
/* Offset in elements of the first owned voxel. */
int64_t grid_field_origin(const struct grid_field *field);

/* What the halo beyond the volume's own faces holds after an exchange. */
enum grid_edge { GRID_EDGE_KEEP, GRID_EDGE_NEAREST, GRID_EDGE_REFLECT, GRID_EDGE_PERIODIC };
/* Collective. Fills halos (faces, edges, corners) from whoever owns the voxels, also where a
 * neighbour is thinner than the halo; then the part beyond the volume by `edge` (REFLECT is
 * d c b a | a b c d, scipy's default). */
enum status grid_halo_exchange(MPI_Comm comm, struct grid_field *field, enum grid_edge edge);
/* Overlapped form: begin packs and posts; the inside may be worked on; end completes.
 * `exchange` is opaque, freed by end. Only edges KEEP and PERIODIC. */
struct grid_exchange;
enum status grid_halo_begin(MPI_Comm comm, struct grid_field *field, enum grid_edge edge,
                            struct grid_exchange **exchange);
enum status grid_halo_end(MPI_Comm comm, struct grid_exchange **exchange);

/* Collective. Copies the owned voxels of `from` to the owned voxels of `to` (same shape and type,
 * any two plans), in pieces of bounded buffer memory, any size. Halos of `to` are not filled. */
enum status grid_field_move(MPI_Comm comm, const struct grid_field *from, struct grid_field *to);
/* Collective. The box `box` of `from` becomes the whole of `to` (crop; `to` has shape box->n). */
enum status grid_field_crop(MPI_Comm comm, const struct grid_field *from,
                            const struct grid_box *box, struct grid_field *to);
/* Collective. `to[a] = from[order[a]]` in shape: a field with permuted axes (rows <-> angles). */
enum status grid_field_transpose(MPI_Comm comm, const struct grid_field *from, const int order[3],
                                 struct grid_field *to);
