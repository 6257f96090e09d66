/* Filters, thresholds and components on blobs of a chosen edge (default 512; 256 needs an eighth of the memory),
 * beside the memory's bandwidth: bench_image [EDGE [PART OF A CASE'S NAME]]. Run bench/bench_image.py for scipy's rates in the same run. */
#include "bench.h"
#include "voxel.h"
#include <math.h>
#include <time.h>

static MPI_Comm world;
static struct grid_plan plan;
static struct grid_field field;
static struct voxel_mask mask; /* of `field` */
static double stream;
static const char *wanted = "";

static void give_up_unless(enum status status) {
  if (status != STATUS_OK) status_abort(status, "%s", status_text());
}

/* ---- blobs: white noise under three box means along each axis, and fresh noise on top -------------- */

static uint64_t noise_of(uint64_t i) {
  i = (i + 1) * 0x9e3779b97f4a7c15u;
  i = (i ^ (i >> 30)) * 0xbf58476d1ce4e5b9u;
  return i ^ (i >> 27);
}

/* Running means of 7 along an axis of n, `lines` neighbouring lines at once, periodic. */
static void box_mean(const float *from, float *to, int64_t n, int64_t stride, int64_t lines) {
  const int64_t half = 3;
  for (int64_t k = 0; k < lines; k++) to[k] = 0;
  for (int64_t d = -half; d <= half; d++)
    for (int64_t k = 0; k < lines; k++) to[k] += from[(d + n) % n * stride + k];
  for (int64_t i = 1; i < n; i++) {
    const float *in = from + (i + half) % n * stride, *out = from + (i - half - 1 + n) % n * stride;
    for (int64_t k = 0; k < lines; k++)
      to[i * stride + k] = to[(i - 1) * stride + k] + in[k] - out[k];
  }
}

static float *blobs_make(const struct grid_box *mine) {
  const int64_t *n = mine->n, voxels = grid_box_voxels(mine);
  float *a, *b;
  give_up_unless(memory_make_raw(voxels, sizeof *a, "blobs", &a));
  give_up_unless(memory_make_raw(voxels, sizeof *b, "blobs", &b));
  for (int64_t i = 0; i < voxels; i++)
    a[i] = (float)(noise_of((uint64_t)(i + mine->start[0] * n[1] * n[2])) >> 40) / (1 << 24) - 0.5f;
  for (int pass = 0; pass < 2; pass++) {
    for (int64_t row = 0; row < n[0] * n[1]; row++)
      box_mean(a + row * n[2], b + row * n[2], n[2], 1, 1);
    for (int64_t z = 0; z < n[0]; z++)
      box_mean(b + z * n[1] * n[2], a + z * n[1] * n[2], n[1], n[2], n[2]);
    box_mean(a, b, n[0], n[1] * n[2], n[1] * n[2]);
    memcpy(a, b, (size_t)voxels * sizeof *a);
  }
  double square = 0;
  for (int64_t i = 0; i < voxels; i++) square += (double)a[i] * (double)a[i];
  float scale = (float)(1 / sqrt(square / (double)voxels));
  for (int64_t i = 0; i < voxels; i++) a[i] *= scale;
  memory_free(b);
  return a;
}

static void fill(const float *blob, float noise) {
  for (int64_t z = 0, i = 0; z < field.mine.n[0]; z++)
    for (int64_t y = 0; y < field.mine.n[1]; y++) {
      int64_t at = grid_field_origin(&field) + z * field.row[0] + y * field.row[1];
      for (int64_t x = 0; x < field.mine.n[2]; x++, i++) {
        float r     = (float)(noise_of((uint64_t)i * 31) >> 40) / (1 << 24) - 0.5f,
              value = 30000 + 6000 * (blob[i] + noise * r);
        if (field.type == GRID_F32) ((float *)field.data)[at + x] = value;
        if (field.type == GRID_U16) ((uint16_t *)field.data)[at + x] = (uint16_t)fmaxf(value, 0);
        if (field.type == GRID_U8) ((uint8_t *)field.data)[at + x] = value > 30000;
      }
    }
}

/* ---- cases ------------------------------------------------------------------------------------------- */

static void report(const char *name, struct bench_time time, double cpu_s) {
  double voxels = (double)plan.n[0] * (double)plan.n[1] * (double)plan.n[2];
  char more[256];
  snprintf(more, sizeof more,
           "\"n\":%lld,\"Mvoxel_per_s\":%.0f,\"Mvoxel_per_cpu_s\":%.0f,"
           "\"stream_GB_per_s\":%.1f",
           (long long)plan.n[0], 1e-6 * voxels / time.min_s, 1e-6 * voxels / cpu_s / plan.size,
           1e-9 * stream);
  bench_print(world, name, time, more);
}

/* The least time of a processor, which other work on the machine disturbs less than the clock on the wall. */
static double cpu_least_s(void (*work)(void *)) {
  double least = 1e30;
  for (int i = 0; i < 5; i++) {
    clock_t begun = clock();
    work(NULL);
    least = fmin(least, (double)(clock() - begun) / CLOCKS_PER_SEC);
  }
  return least;
}

static void bench_case(const char *name, const float *blob, float noise, enum grid_type type,
                       int64_t halo_vox, void (*work)(void *)) {
  const int64_t halo[3] = {halo_vox, halo_vox, halo_vox};
  if (!strstr(name, wanted)) return;
  give_up_unless(grid_field_make(world, &plan, type, halo, &field));
  fill(blob, noise);
  if (type == GRID_U8) give_up_unless(voxel_mask_make(world, &field, 1, 3, &mask));
  struct bench_time time = bench_run(world, 5, work, NULL);
  report(name, time, cpu_least_s(work));
  voxel_mask_free(&mask);
  grid_field_free(&field);
}

static void median(void *context) {
  (void)context;
  give_up_unless(voxel_median(world, &field));
}
static void opening(void *context) {
  (void)context;
  give_up_unless(voxel_ball_filter(world, &field, VOXEL_OPEN, 3));
}
static void mask_opening(void *context) {
  (void)context;
  give_up_unless(voxel_mask_filter(world, &mask, VOXEL_OPEN, 3));
}
static void labels_opening(void *context) {
  struct voxel_mask made;
  (void)context;
  give_up_unless(voxel_mask_make(world, &field, 1, 3, &made));
  give_up_unless(voxel_mask_filter(world, &made, VOXEL_OPEN, 3));
  voxel_mask_put(&made, 1, 0, &field);
  voxel_mask_free(&made);
}
static void components(void *context) {
  struct grid_field out;
  int64_t count;
  (void)context;
  give_up_unless(voxel_components(world, &field, 1, 26, &out, &count));
  grid_field_free(&out);
}
static void otsu(void *context) {
  struct voxel_histogram histogram;
  double threshold;
  (void)context;
  give_up_unless(voxel_histogram_make(world, &field, 65536, &histogram));
  give_up_unless(voxel_otsu(&histogram, 2, &threshold));
  voxel_histogram_free(&histogram);
}
static void label(void *context) {
  const double threshold = 30000;
  struct grid_field out;
  (void)context;
  give_up_unless(voxel_label(world, &field, &threshold, 1, &out));
  grid_field_free(&out);
}

int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  world = MPI_COMM_WORLD;
  status_program_set(world);
  int64_t edge       = argc > 1 ? atoll(argv[1]) : 512;
  const int64_t n[3] = {edge, edge, edge};
  if (argc > 2) wanted = argv[2];
  give_up_unless(grid_plan_slabs(world, n, 0, &plan));
  stream               = bench_stream_bytes_per_s(world);
  struct grid_box mine = grid_plan_mine(&plan);
  float *blob          = blobs_make(&mine);
  bench_case("image.median.u16", blob, 1, GRID_U16, 1, median);
  bench_case("image.median.f32", blob, 1, GRID_F32, 1, median);
  bench_case("image.opening.grey.u16", blob, 1, GRID_U16, 6, opening);
  bench_case("image.opening.labels", blob, 0, GRID_U8, 0, labels_opening);
  bench_case("image.opening.bits", blob, 0, GRID_U8, 0, mask_opening);
  bench_case("image.otsu.u16", blob, 1, GRID_U16, 0, otsu);
  bench_case("image.otsu.f32", blob, 1, GRID_F32, 0, otsu);
  bench_case("image.label.f32", blob, 1, GRID_F32, 0, label);
  bench_case("image.components.26", blob, 0, GRID_U8, 0, components);
  memory_free(blob);
  grid_plan_free(&plan);
  MPI_Finalize();
  return 0;
}
