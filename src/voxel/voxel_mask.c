#include "voxel_mask.h"
#include "voxel_exchange.h"
#include "voxel_filter_private.h"
#include <string.h>

static uint64_t *row_of(const struct voxel_mask *m, int64_t z, int64_t y) {
  return m->bit + (z + m->halo) * m->row[0] + (y + m->halo) * m->row[1] + 1;
}

static const uint8_t *line_of(const struct grid_field *f, int64_t z, int64_t y) {
  return (const uint8_t *)f->data + grid_field_origin(f) + z * f->row[0] + y * f->row[1];
}

static enum status mask_here(const struct grid_field *labels, int phase, int64_t halo,
                             struct voxel_mask *m) {
  TRY(fault_here("voxel.mask"));
  if (labels->type != GRID_U8 || halo > VOXEL_RADIUS_MOST)
    return FAIL(STATUS_INTERNAL, "a mask with a halo of %lld of a %s field", (long long)halo,
                grid_type_name(labels->type));
  TRY(grid_plan_copy(&labels->plan, &m->plan));
  m->mine   = labels->mine;
  m->halo   = halo;
  m->row[1] = (m->mine.n[2] + 63) / 64 + 2;
  m->row[0] = m->row[1] * (m->mine.n[1] + 2 * halo);
  TRY(memory_make(m->row[0] * (m->mine.n[0] + 2 * halo), sizeof *m->bit, "a mask", &m->bit));
  for (int64_t z = 0; z < m->mine.n[0]; z++)
    for (int64_t y = 0; y < m->mine.n[1]; y++) ISA_PICK(bits_pack)
  (line_of(labels, z, y), m->mine.n[2], (uint8_t)phase, false, row_of(m, z, y));
  return STATUS_OK;
}

enum status voxel_mask_make(MPI_Comm comm, const struct grid_field *labels, int phase, int64_t halo,
                            struct voxel_mask *mask) {
  memset(mask, 0, sizeof *mask);
  enum status status = AGREE(comm, mask_here(labels, phase, halo, mask));
  if (status != STATUS_OK) voxel_mask_free(mask);
  return status;
}

void voxel_mask_free(struct voxel_mask *mask) {
  grid_plan_free(&mask->plan);
  memory_free(mask->bit);
  memset(mask, 0, sizeof *mask);
}

/* ---- halo ---------------------------------------------------------------------------------------------- */

/* Everything that is not this rank's becomes `set`. */
static void fill_outside(struct voxel_mask *m, bool set) {
  uint64_t all     = set ? ~UINT64_C(0) : 0;
  const int64_t *n = m->mine.n;
  for (int64_t z = -m->halo; z < n[0] + m->halo; z++)
    for (int64_t y = -m->halo; y < n[1] + m->halo; y++) {
      uint64_t *row = row_of(m, z, y);
      bool inside   = z >= 0 && z < n[0] && y >= 0 && y < n[1];
      int64_t whole = inside ? n[2] / 64 : 0;
      uint64_t rest = inside && n[2] % 64 ? ~UINT64_C(0) << n[2] % 64 : ~UINT64_C(0);
      row[-1]       = all;
      row[whole]    = (row[whole] & ~rest) | (all & rest);
      for (int64_t i = whole + 1; i <= m->row[1] - 2; i++) row[i] = all;
    }
}

static void pack_box(const void *owner, const struct grid_box *box, void *to) {
  const struct voxel_mask *m = owner;
  uint8_t *byte              = to;
  for (int64_t z = box->start[0] - m->mine.start[0], i = 0; i < box->n[0]; i++)
    for (int64_t y = box->start[1] - m->mine.start[1], j = 0; j < box->n[1]; j++)
      for (int64_t x = box->start[2] - m->mine.start[2], k = 0; k < box->n[2]; k++)
        *byte++ = row_of(m, z + i, y + j)[(x + k) / 64] >> ((x + k) % 64) & 1;
}

static enum status take_box(void *owner, const struct grid_box *box, const void *from) {
  const struct voxel_mask *m = owner;
  const uint8_t *byte        = from;
  for (int64_t z = box->start[0] - m->mine.start[0], i = 0; i < box->n[0]; i++)
    for (int64_t y = box->start[1] - m->mine.start[1], j = 0; j < box->n[1]; j++)
      for (int64_t x = box->start[2] - m->mine.start[2] + 64, k = 0; k < box->n[2]; k++) {
        uint64_t *word = &row_of(m, z + i, y + j)[(x + k) / 64 - 1], bit = UINT64_C(1)
                                                                           << (x + k) % 64;
        *word = *byte++ ? *word | bit : *word & ~bit;
      }
  return STATUS_OK;
}

/* ---- filters ----------------------------------------------------------------------------------------------- */

static enum status extreme_here(const struct voxel_mask *from, int radius, bool least,
                                struct voxel_mask *to) {
  struct voxel_bits_work work = {
      .radius  = radius,
      .least   = least,
      .in      = row_of(from, 0, 0),
      .out     = row_of(to, 0, 0),
      .n       = {from->mine.n[0], from->mine.n[1], (from->mine.n[2] + 63) / 64},
      .in_row  = {from->row[0],               from->row[1]                  },
      .out_row = {to->row[0],               to->row[1]  }
  };
  return voxel_bits_extreme(&work);
}

static enum status extreme(MPI_Comm comm, struct voxel_mask *mask, int radius, bool least,
                           uint64_t *scratch) {
  struct voxel_mask to                 = *mask;
  const struct voxel_exchange exchange = {.plan  = &mask->plan,
                                          .reach = mask->halo,
                                          .bytes = 1,
                                          .owner = mask,
                                          .pack  = pack_box,
                                          .take  = take_box};
  fill_outside(mask, least);
  TRY(voxel_exchange_run(comm, &exchange));
  to.bit = scratch;
  return AGREE(comm, extreme_here(mask, radius, least, &to));
}

enum status voxel_mask_filter(MPI_Comm comm, struct voxel_mask *mask, enum voxel_ball_filter filter,
                              int radius) {
  uint64_t *scratch = NULL;
  bool twice        = filter == VOXEL_OPEN || filter == VOXEL_CLOSE,
       least        = filter == VOXEL_ERODE || filter == VOXEL_OPEN;
  if (radius < 0 || radius > mask->halo)
    return AGREE(comm, FAIL(STATUS_INTERNAL, "a ball of %d in a halo of %lld", radius,
                            (long long)mask->halo));
  enum status status = AGREE(comm, memory_make(mask->row[0] * (mask->mine.n[0] + 2 * mask->halo),
                                               sizeof *scratch, "a filtered mask", &scratch));
  for (int step = 0; step < 1 + twice && status == STATUS_OK; step++) {
    status        = extreme(comm, mask, radius, step ? !least : least, scratch);
    uint64_t *bit = mask->bit;
    mask->bit     = scratch;
    scratch       = bit;
  }
  memory_free(scratch);
  return status;
}

void voxel_mask_put(const struct voxel_mask *mask, int phase, int instead,
                    struct grid_field *labels) {
  uint8_t *to = (uint8_t *)labels->data + grid_field_origin(labels);
  for (int64_t z = 0; z < mask->mine.n[0]; z++)
    for (int64_t y = 0; y < mask->mine.n[1]; y++) ISA_PICK(bits_unpack)
  (row_of(mask, z, y), mask->mine.n[2], (uint8_t)phase, (uint8_t)instead,
   to + z * labels->row[0] + y * labels->row[1]);
}
