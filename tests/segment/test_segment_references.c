/* np: 1 2 3 5
 * Filters, thresholds and components against scipy's answers (segment_references.h), voxel for voxel by hash: noise, blobs
 * and a real volume, on slabs along each axis and on blocks. */
#include "check.h"
#include "store.h"
#include "voxel.h"
#include "segment_references.h"
#include <string.h>

static uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
  return x ^ (x >> 31);
}
static const uint64_t golden = UINT64_C(0x9e3779b97f4a7c15);

static uint64_t value_at(const struct grid_field *f, int64_t at) {
  switch (f->type) {
  case GRID_U8:
    return ((const uint8_t *)f->data)[at];
  case GRID_U16:
    return ((const uint16_t *)f->data)[at];
  case GRID_F32:
    return (uint64_t)((const float *)f->data)[at];
  default:
    return (uint64_t)((const int32_t *)f->data)[at];
  }
}

/* As references.py's hash_of. */
static uint64_t hash_of(MPI_Comm comm, const struct grid_field *f) {
  const int64_t *n = f->plan.n;
  uint64_t sum     = 0;
  for (int64_t z = 0; z < f->mine.n[0]; z++)
    for (int64_t y = 0; y < f->mine.n[1]; y++)
      for (int64_t x = 0; x < f->mine.n[2]; x++) {
        int64_t at = grid_field_origin(f) + z * f->row[0] + y * f->row[1] + x;
        int64_t i =
            ((z + f->mine.start[0]) * n[1] + y + f->mine.start[1]) * n[2] + x + f->mine.start[2];
        sum += mix((uint64_t)i * golden + value_at(f, at));
      }
  MPI_Allreduce(MPI_IN_PLACE, &sum, 1, MPI_UINT64_T, MPI_SUM, comm);
  return sum;
}

enum { NZ = 23, NY = 30, NX = 75, PLANS = 4 };
static uint16_t blobs[NZ * NY * NX];

static uint64_t noise(int64_t i) { return mix(((uint64_t)i + 1) * golden) >> 48; }

/* Sums of five along every axis, twice, periodic; noise of the slices from behind on top. */
static void blobs_make(void) {
  static int64_t a[NZ * NY * NX], b[NZ * NY * NX];
  const int64_t n[3] = {NZ, NY, NX}, stride[3] = {NY * NX, NX, 1};
  for (int64_t i = 0; i < NZ * NY * NX; i++) a[i] = (int64_t)noise(i);
  for (int pass = 0; pass < 6; pass++) {
    int axis = pass % 3;
    for (int64_t i = 0; i < NZ * NY * NX; i++) {
      int64_t at = i / stride[axis] % n[axis], line = i - at * stride[axis];
      b[i] = 0;
      for (int64_t d = -2; d <= 2; d++)
        b[i] += a[line + (at + d + n[axis]) % n[axis] * stride[axis]];
    }
    memcpy(a, b, sizeof a);
  }
  for (int64_t i = 0; i < NZ * NY * NX; i++) {
    int64_t z = i / (NY * NX), rest = i % (NY * NX);
    blobs[i] = (uint16_t)(a[i] / 15625 + (int64_t)(noise((NZ - 1 - z) * NY * NX + rest) / 64));
  }
}

struct answers {
  const char *name;
  uint64_t self, threshold, median, opened, closed, bits, otsu, parts[3];
  int radius; /* of the opening of packed bits */
};
#define ANSWERS(NAME, RADIUS)                                                                      \
  {                                                                                                \
#NAME, NAME##_SELF, NAME##_THRESHOLD, NAME##_MEDIAN, NAME##_OPENED, NAME##_CLOSED,             \
        NAME##_BITS_OPENED, NAME##_OTSU,                                                           \
        {NAME##_PARTS_6, NAME##_PARTS_18, NAME##_PARTS_26 }, RADIUS                                \
  }

static enum status plan_of(MPI_Comm comm, int kind, const int64_t n[3], struct grid_plan *plan) {
  return kind < 3 ? grid_plan_slabs(comm, n, kind, plan) : grid_plan_blocks(comm, n, 1, plan);
}

/* A fresh copy of the volume on a plan, as uint16 or float32. */
static void copy_make(MPI_Comm comm, const struct grid_field *from, int kind, enum grid_type type,
                      struct grid_field *to) {
  const int64_t h       = 3 + 3 * (kind & 1),
                halo[3] = {h, h, h}; /* an opening in two passes and in one */
  struct grid_plan plan;
  struct grid_field whole;
  CHECK_OK(plan_of(comm, kind, from->plan.n, &plan));
  CHECK_OK(grid_field_make(comm, &plan, GRID_U16, halo, &whole));
  CHECK_OK(grid_field_move(comm, from, &whole));
  *to = whole;
  if (type == GRID_F32) {
    CHECK_OK(grid_field_make(comm, &plan, GRID_F32, halo, to));
    for (int64_t i = 0; i < to->voxels; i++)
      ((float *)to->data)[i] = (float)((const uint16_t *)whole.data)[i];
    grid_field_free(&whole);
  }
  grid_plan_free(&plan);
}

static void check_hash(MPI_Comm comm, const struct grid_field *f, uint64_t want, const char *what,
                       const struct answers *a, int kind) {
  uint64_t got = hash_of(comm, f);
  CHECK(got == want, "%s of %s on plan %d: hash %llu, scipy's %llu", what, a->name, kind,
        (unsigned long long)got, (unsigned long long)want);
}

static void check_greys(MPI_Comm comm, const struct grid_field *from, const struct answers *a,
                        int kind, enum grid_type type) {
  struct grid_field f;
  copy_make(comm, from, kind, type, &f);
  check_hash(comm, &f, a->self, "the volume", a, kind);
  CHECK_OK(voxel_median(comm, &f));
  check_hash(comm, &f, a->median, "median", a, kind);
  grid_field_free(&f);
  copy_make(comm, from, kind, type, &f);
  CHECK_OK(voxel_ball_filter(comm, &f, VOXEL_OPEN, 3));
  check_hash(comm, &f, a->opened, "grey opening", a, kind);
  grid_field_free(&f);
  copy_make(comm, from, kind, type, &f);
  CHECK_OK(voxel_ball_filter(comm, &f, VOXEL_CLOSE, 2));
  check_hash(comm, &f, a->closed, "grey closing", a, kind);
  grid_field_free(&f);
}

static void check_labels(MPI_Comm comm, const struct grid_field *from, const struct answers *a,
                         int kind, enum grid_type type) {
  const int connectivity[3] = {6, 18, 26};
  struct grid_field f, labels, parts;
  struct voxel_histogram histogram;
  struct voxel_mask mask;
  int64_t count;
  double threshold;
  copy_make(comm, from, kind, type, &f);
  CHECK_OK(voxel_histogram_make(comm, &f, 65536, &histogram));
  CHECK_OK(voxel_otsu(&histogram, 2, &threshold));
  voxel_histogram_free(&histogram);
  CHECK_OK(voxel_label(comm, &f, &threshold, 1, &labels));
  check_hash(comm, &labels, a->otsu, "Otsu", a, kind);
  grid_field_free(&labels);
  threshold = (double)a->threshold;
  CHECK_OK(voxel_label(comm, &f, &threshold, 1, &labels));
  grid_field_free(&f);
  for (int k = 0; k < 3; k++) {
    CHECK_OK(voxel_components(comm, &labels, 1, connectivity[k], &parts, &count));
    check_hash(comm, &parts, a->parts[k], "components", a, kind);
    grid_field_free(&parts);
  }
  CHECK_OK(voxel_mask_make(comm, &labels, 1, a->radius, &mask));
  CHECK_OK(voxel_mask_filter(comm, &mask, VOXEL_OPEN, a->radius));
  voxel_mask_put(&mask, 1, 0, &labels);
  check_hash(comm, &labels, a->bits, "binary opening", a, kind);
  voxel_mask_free(&mask);
  grid_field_free(&labels);
}

static void check_all(MPI_Comm comm, const struct grid_field *from, const struct answers *a) {
  for (int kind = 0; kind < PLANS; kind++) {
    check_greys(comm, from, a, kind, kind % 2 ? GRID_F32 : GRID_U16);
    check_labels(comm, from, a, kind, kind % 2 ? GRID_F32 : GRID_U16);
  }
}

static void check_made(MPI_Comm comm, bool smooth, const struct answers *a) {
  const int64_t n[3] = {NZ, NY, NX};
  struct grid_plan plan;
  struct grid_field f;
  status_clear();
  CHECK_OK(grid_plan_slabs(comm, n, 0, &plan));
  CHECK_OK(grid_field_make(comm, &plan, GRID_U16, NULL, &f));
  for (int64_t i = 0; i < f.voxels; i++) {
    int64_t whole           = f.mine.start[0] * NY * NX + i;
    ((uint16_t *)f.data)[i] = smooth ? blobs[whole] : (uint16_t)noise(whole);
  }
  check_all(comm, &f, a);
  grid_field_free(&f);
  grid_plan_free(&plan);
}

TEST(noise_is_treated_as_scipy_treats_it) {
  const struct answers noise_answers = ANSWERS(NOISE, 1);
  check_made(comm, false, &noise_answers);
}

TEST(blobs_are_treated_as_scipy_treats_them) {
  const struct answers blob_answers = ANSWERS(BLOBS, 3);
  blobs_make();
  check_made(comm, true, &blob_answers);
}

/* The box of a real volume. */
static void check_real(MPI_Comm comm, const char *file, const char *product,
                       const struct grid_box *box, const struct answers *answers) {
  char path[1024];
  struct store_input *input;
  struct grid_plan plan;
  struct grid_field f;
  if (!check_data(file, path, sizeof path)) {
    check_skip("no real data (XCSCT_DATA)");
    return;
  }
  status_clear();
  if (!CHECK_OK(store_open(comm, path, product, 3, &input))) return;
  CHECK_OK(grid_plan_slabs(comm, box->n, 0, &plan));
  CHECK_OK(grid_field_make(comm, &plan, GRID_U16, NULL, &f));
  CHECK_OK(store_read_field_box(comm, input, box, true, &f));
  store_close(&input);
  check_all(comm, &f, answers);
  grid_field_free(&f);
  grid_plan_free(&plan);
}

TEST(a_real_volume_of_fibres_is_treated_as_scipy_treats_it) {
  const struct answers fibre_answers = ANSWERS(FIBRES, 3);
  const struct grid_box whole        = {
             {0,   0,   0  },
             {100, 100, 100}
  };
  check_real(comm, "transport/fiberform_100_grey.h5", "volume", &whole, &fibre_answers);
}

TEST(a_real_electrode_is_treated_as_scipy_treats_it) {
  const struct answers electrode_answers = ANSWERS(ELECTRODE, 3);
  const struct grid_box part             = {
                  {64, 64, 64},
                  {64, 72, 80}
  };
  check_real(comm, "transport/taufactor_electrode_256.h5", "labels", &part, &electrode_answers);
}
