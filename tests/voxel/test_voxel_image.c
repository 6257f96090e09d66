/* np: 1 2 3 5 */
#include "check.h"
#include "voxel.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint64_t hash(uint64_t x) {
  x = (x + 1) * 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

static const int64_t shapes[][3] = {
    {9,  7,  70},
    {1,  1,  1 },
    {1,  5,  3 },
    {4,  1,  33},
    {12, 11, 1 },
    {2,  2,  65}
};
enum { SHAPES = sizeof shapes / sizeof *shapes, PLANS = 4 };

static enum status plan_of(MPI_Comm comm, int kind, const int64_t n[3], struct grid_plan *plan) {
  return kind < 3 ? grid_plan_slabs(comm, n, kind, plan) : grid_plan_blocks(comm, n, 1, plan);
}

static int64_t reflect(int64_t i, int64_t n) {
  while (i < 0 || i >= n) i = i < 0 ? -1 - i : 2 * n - 1 - i;
  return i;
}

/* ---- median and opening ---- */

static double grey(int64_t z, int64_t y, int64_t x, int levels) {
  return (double)(hash((uint64_t)(z * 1000003 + y * 1009 + x)) % (uint64_t)levels);
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median_at(const int64_t n[3], const int64_t p[3], int levels) {
  double w[27];
  int k = 0;
  for (int64_t dz = -1; dz <= 1; dz++)
    for (int64_t dy = -1; dy <= 1; dy++)
      for (int64_t dx = -1; dx <= 1; dx++)
        w[k++] = grey(reflect(p[0] + dz, n[0]), reflect(p[1] + dy, n[1]), reflect(p[2] + dx, n[2]),
                      levels);
  qsort(w, 27, sizeof *w, ascending);
  return w[13];
}

static void set(struct grid_field *f, int64_t at, double value) {
  if (f->type == GRID_F32)
    ((float *)f->data)[at] = (float)value;
  else if (f->type == GRID_U16)
    ((uint16_t *)f->data)[at] = (uint16_t)value;
  else
    ((uint8_t *)f->data)[at] = (uint8_t)value;
}
static double get(const struct grid_field *f, int64_t at) {
  if (f->type == GRID_F32) return (double)((float *)f->data)[at];
  return f->type == GRID_U16 ? ((uint16_t *)f->data)[at] : ((uint8_t *)f->data)[at];
}

static void fill_grey(struct grid_field *f, int levels) {
  for (int64_t z = 0; z < f->mine.n[0]; z++)
    for (int64_t y = 0; y < f->mine.n[1]; y++)
      for (int64_t x = 0; x < f->mine.n[2]; x++)
        set(f, grid_field_origin(f) + z * f->row[0] + y * f->row[1] + x,
            grey(z + f->mine.start[0], y + f->mine.start[1], x + f->mine.start[2], levels));
}

static void check_median(MPI_Comm comm, int s, int kind, enum grid_type type, int levels) {
  const int64_t one[3] = {1, 1, 1};
  struct grid_plan plan;
  struct grid_field f;
  CHECK_OK(plan_of(comm, kind, shapes[s], &plan));
  CHECK_OK(grid_field_make(comm, &plan, type, one, &f));
  fill_grey(&f, levels);
  CHECK_OK(voxel_median(comm, &f));
  bool same = true;
  for (int64_t z = 0; z < f.mine.n[0]; z++)
    for (int64_t y = 0; y < f.mine.n[1]; y++)
      for (int64_t x = 0; x < f.mine.n[2]; x++) {
        const int64_t p[3] = {f.mine.start[0] + z, f.mine.start[1] + y, f.mine.start[2] + x};
        double got         = get(&f, grid_field_origin(&f) + z * f.row[0] + y * f.row[1] + x);
        same               = same && got == median_at(shapes[s], p, levels);
      }
  CHECK(same, "shape %d plan %d levels %d %s", s, kind, levels, grid_type_name(type));
  grid_field_free(&f);
  grid_plan_free(&plan);
}

TEST(medians_are_those_of_27_sorted_values_with_reflected_borders) {
  status_clear();
  for (int s = 0; s < SHAPES; s++)
    for (int kind = 0; kind < PLANS; kind++)
      for (int levels = 2; levels < 70000; levels = levels * 30) {
        check_median(comm, s, kind, GRID_U16, levels);
        check_median(comm, s, kind, GRID_F32, levels);
      }
}

TEST(medians_are_alike_for_every_instruction_set) {
  const char *const names[] = {"baseline", "avx2", "avx512"};
  for (int i = 0; i < 3; i++) {
    status_clear();
    if (isa_agree(comm, names[i]) != STATUS_OK) continue;
    check_median(comm, 0, 3, GRID_U16, 1000);
    check_median(comm, 0, 3, GRID_F32, 1000);
  }
  status_clear();
  CHECK_OK(isa_agree(comm, "auto"));
}

static double extreme_at(const double *v, const int64_t n[3], const int64_t p[3], int r,
                         bool least) {
  double best = least ? 1e300 : -1e300;
  for (int64_t dz = -r; dz <= r; dz++)
    for (int64_t dy = -r; dy <= r; dy++)
      for (int64_t dx = -r; dx <= r; dx++) {
        if (dz * dz + dy * dy + dx * dx > r * r) continue;
        double value = v[(reflect(p[0] + dz, n[0]) * n[1] + reflect(p[1] + dy, n[1])) * n[2] +
                         reflect(p[2] + dx, n[2])];
        best         = least ? fmin(best, value) : fmax(best, value);
      }
  return best;
}

static void whole_extreme(double *v, const int64_t n[3], int r, bool least, double *out) {
  for (int64_t i = 0; i < n[0] * n[1] * n[2]; i++) {
    const int64_t p[3] = {i / (n[1] * n[2]), i / n[2] % n[1], i % n[2]};
    out[i]             = extreme_at(v, n, p, r, least);
  }
}

static void check_opening(MPI_Comm comm, int r, int t, double *v, double *w) {
  const int64_t h = r + (t == 1) * r, n[3] = {9, 8, 70}, halo[3] = {h, h, h};
  const enum grid_type types[3] = {GRID_U8, GRID_U16, GRID_F32};
  struct grid_plan plan;
  struct grid_field f;
  CHECK_OK(plan_of(comm, r, n, &plan));
  CHECK_OK(grid_field_make(comm, &plan, types[t], halo, &f));
  fill_grey(&f, 200);
  for (int64_t i = 0; i < 9 * 8 * 70; i++) v[i] = grey(i / 560, i / 70 % 8, i % 70, 200);
  whole_extreme(v, n, r, true, w);
  whole_extreme(w, n, r, false, v);
  CHECK_OK(voxel_ball_filter(comm, &f, VOXEL_OPEN, r));
  bool same = true;
  for (int64_t z = 0; z < f.mine.n[0]; z++)
    for (int64_t y = 0; y < f.mine.n[1]; y++)
      for (int64_t x = 0; x < f.mine.n[2]; x++)
        same = same &&
               get(&f, grid_field_origin(&f) + z * f.row[0] + y * f.row[1] + x) ==
                   v[((z + f.mine.start[0]) * 8 + y + f.mine.start[1]) * 70 + x + f.mine.start[2]];
  CHECK(same, "radius %d, %s", r, grid_type_name(types[t]));
  grid_field_free(&f);
  grid_plan_free(&plan);
}

/* Of waves, which an opening flattens; the same by one voxel after another. */
static double wave(int64_t z, int64_t y, int64_t x) {
  return (double)((z * 37 + y * 11 + x * 5 + (int64_t)grey(z, y, x, 60)) % 251);
}

/* Wider and deeper than a tile, with a halo for one filter after the other and with one for both at once. */
static void check_tiles(MPI_Comm comm, int kind, int64_t halo_vox, enum grid_type type, int r,
                        const int64_t n[3], const double *want) {
  const int64_t halo[3] = {halo_vox, halo_vox, halo_vox};
  struct grid_plan plan;
  struct grid_field f;
  int64_t differ = 0;
  CHECK_OK(plan_of(comm, kind, n, &plan));
  CHECK_OK(grid_field_make(comm, &plan, type, halo, &f));
  for (int pass = 0; pass < 2; pass++) {
    for (int64_t z = 0; z < f.mine.n[0]; z++)
      for (int64_t y = 0; y < f.mine.n[1]; y++)
        for (int64_t x = 0; x < f.mine.n[2]; x++) {
          int64_t at         = grid_field_origin(&f) + z * f.row[0] + y * f.row[1] + x;
          const int64_t p[3] = {z + f.mine.start[0], y + f.mine.start[1], x + f.mine.start[2]};
          if (pass)
            differ += get(&f, at) != want[(p[0] * n[1] + p[1]) * n[2] + p[2]];
          else
            set(&f, at, wave(p[0], p[1], p[2]));
        }
    if (!pass) CHECK_OK(voxel_ball_filter(comm, &f, VOXEL_CLOSE, r));
  }
  CHECK(differ == 0, "%lld voxels differ: plan %d, halo %lld, radius %d, %s", (long long)differ,
        kind, (long long)halo_vox, r, grid_type_name(type));
  grid_field_free(&f);
  grid_plan_free(&plan);
}

TEST(ball_filters_in_tiles_are_those_of_the_whole) {
  const int64_t n[3]            = {3, 70, 1100};
  const enum grid_type types[3] = {GRID_U8, GRID_U16, GRID_F32};
  const int radii[2]            = {3, 2};
  int64_t voxels                = n[0] * n[1] * n[2];
  double *v = malloc((size_t)voxels * sizeof *v), *w = malloc((size_t)voxels * sizeof *w);
  status_clear();
  for (int i = 0; i < 2; i++) {
    for (int64_t k = 0; k < voxels; k++) v[k] = wave(k / (n[1] * n[2]), k / n[2] % n[1], k % n[2]);
    whole_extreme(v, n, radii[i], false, w);
    whole_extreme(w, n, radii[i], true, v);
    for (int t = 0; t < 3; t++)
      for (int kind = 0; kind < PLANS; kind++)
        check_tiles(comm, kind, (1 + (t + kind) % 2) * radii[i], types[t], radii[i], n, v);
  }
  free(v);
  free(w);
}

TEST(an_opening_is_an_erosion_and_a_dilation_by_the_exact_ball) {
  static double v[9 * 8 * 70], w[9 * 8 * 70];
  struct voxel_ball ball;
  int voxels = 0;
  status_clear();
  CHECK_OK(voxel_ball_make(3, &ball));
  for (int i = 0; i < ball.rows; i++) voxels += 2 * ball.row[i].half + 1;
  CHECK(voxels == 123, "%d voxels in the ball of radius 3", voxels);
  voxel_ball_free(&ball);
  for (int r = 1; r <= 4; r++)
    for (int t = 0; t < 3; t++) check_opening(comm, r, t, v, w);
}

/* The same by packed bits: a mask of one phase against the extremes of its zeros and ones. */
static void check_mask(MPI_Comm comm, int kind, const int64_t n[3], enum voxel_ball_filter filter,
                       int r, double *v, double *w) {
  struct grid_plan plan;
  struct grid_field f;
  struct voxel_mask mask;
  bool first = filter == VOXEL_ERODE || filter == VOXEL_OPEN, same = true;
  CHECK_OK(plan_of(comm, kind, n, &plan));
  CHECK_OK(grid_field_make(comm, &plan, GRID_U8, NULL, &f));
  fill_grey(&f, 3);
  for (int64_t i = 0; i < f.voxels; i++) /* mostly phase 1, so that holes are balls' worth apart */
    if (hash((uint64_t)(f.mine.start[2] + i % f.row[1] +
                        1000 * (f.mine.start[1] + i % f.row[0] / f.row[1]) +
                        1000000 * (f.mine.start[0] + i / f.row[0]))) %
        (uint64_t)(filter == VOXEL_ERODE || filter == VOXEL_OPEN ? 60 : 1))
      ((uint8_t *)f.data)[i] = 1;
  for (int64_t i = 0; i < n[0] * n[1] * n[2]; i++) {
    int64_t z = i / (n[1] * n[2]), y = i / n[2] % n[1], x = i % n[2];
    v[i] = grey(z, y, x, 3) == 1 ||
           hash((uint64_t)(x + 1000 * y + 1000000 * z)) % (uint64_t)(first ? 60 : 1);
  }
  whole_extreme(v, n, r, first, w);
  if (filter == VOXEL_OPEN || filter == VOXEL_CLOSE)
    whole_extreme(w, n, r, !first, v);
  else
    memcpy(v, w, (size_t)(n[0] * n[1] * n[2]) * sizeof *v);
  CHECK_OK(voxel_mask_make(comm, &f, 1, r, &mask));
  CHECK_OK(voxel_mask_filter(comm, &mask, filter, r));
  voxel_mask_put(&mask, 1, 7, &f);
  for (int64_t i = 0; i < f.voxels; i++) {
    int64_t z = f.mine.start[0] + i / f.row[0], y = f.mine.start[1] + i % f.row[0] / f.row[1],
            x = f.mine.start[2] + i % f.row[1];
    same      = same && (((uint8_t *)f.data)[i] == 1) == (v[(z * n[1] + y) * n[2] + x] == 1);
  }
  CHECK(same, "plan %d filter %d radius %d on %lld x %lld x %lld", kind, (int)filter, r,
        (long long)n[0], (long long)n[1], (long long)n[2]);
  voxel_mask_free(&mask);
  grid_field_free(&f);
  grid_plan_free(&plan);
}

TEST(packed_bits_are_filtered_by_the_exact_ball_with_neutral_borders) {
  const int64_t sizes[4][3] = {
      {9, 8, 70},
      {1, 9, 64},
      {7, 1, 5 },
      {6, 5, 1 }
  };
  static double v[9 * 8 * 70], w[9 * 8 * 70];
  status_clear();
  for (int s = 0; s < 4; s++)
    for (int kind = 0; kind < PLANS; kind++)
      for (int filter = VOXEL_ERODE; filter <= VOXEL_CLOSE; filter++)
        check_mask(comm, kind, sizes[s], (enum voxel_ball_filter)filter, 1 + (s + kind) % 4, v, w);
}

TEST(ball_filters_are_alike_for_every_instruction_set) {
  const char *const names[] = {"baseline", "avx2", "avx512"};
  const int64_t n[3]        = {9, 8, 70};
  static double v[9 * 8 * 70], w[9 * 8 * 70];
  for (int i = 0; i < 3; i++) {
    status_clear();
    if (isa_agree(comm, names[i]) != STATUS_OK) continue;
    check_mask(comm, 3, n, VOXEL_OPEN, 3, v, w);
    for (int t = 0; t < 3; t++) check_opening(comm, 3, t, v, w);
  }
  status_clear();
  CHECK_OK(isa_agree(comm, "auto"));
}

/* ---- components ---- */

static bool solid(int64_t z, int64_t y, int64_t x, int percent) {
  return (int)(hash((uint64_t)(z * 7919 + y * 104729 + x * 31)) % 100) < percent;
}

/* The reference: flood fill in raster order over the whole volume. */
static int64_t flood(const int64_t n[3], int connectivity, int percent, int64_t *label) {
  int64_t voxels = n[0] * n[1] * n[2], count = 0, *stack = malloc((size_t)voxels * sizeof *stack);
  int steps = connectivity == 6 ? 1 : connectivity == 18 ? 2 : 3;
  memset(label, 0, (size_t)voxels * sizeof *label);
  for (int64_t s = 0; s < voxels; s++) {
    if (label[s] || !solid(s / n[2] / n[1], s / n[2] % n[1], s % n[2], percent)) continue;
    int64_t top             = 0;
    label[stack[top++] = s] = ++count;
    while (top) {
      int64_t i = stack[--top];
      for (int k = 0; k < 27; k++) {
        int d[3]     = {k / 9 - 1, k / 3 % 3 - 1, k % 3 - 1};
        int64_t p[3] = {i / n[2] / n[1] + d[0], i / n[2] % n[1] + d[1], i % n[2] + d[2]};
        bool in      = abs(d[0]) + abs(d[1]) + abs(d[2]) <= steps;
        for (int a = 0; a < 3; a++) in = in && p[a] >= 0 && p[a] < n[a];
        int64_t j = (p[0] * n[1] + p[1]) * n[2] + p[2];
        if (in && !label[j] && solid(p[0], p[1], p[2], percent)) label[stack[top++] = j] = count;
      }
    }
  }
  free(stack);
  return count;
}

static void check_components(MPI_Comm comm, int s, int kind, int connectivity, int percent) {
  const int64_t *n = shapes[s];
  static int64_t want[9 * 7 * 70];
  int64_t count, counted = flood(n, connectivity, percent, want);
  struct grid_plan plan;
  struct grid_field in, out;
  struct voxel_component *table;
  CHECK_OK(plan_of(comm, kind, n, &plan));
  CHECK_OK(grid_field_make(comm, &plan, GRID_U8, NULL, &in));
  for (int64_t i = 0; i < in.voxels; i++)
    ((uint8_t *)in.data)[i] =
        3 * solid(in.mine.start[0] + i / in.row[0], in.mine.start[1] + i % in.row[0] / in.row[1],
                  in.mine.start[2] + i % in.row[1], percent);
  CHECK_OK(voxel_components(comm, &in, 3, connectivity, &out, &count));
  CHECK(count == counted, "%lld components, not %lld", (long long)count, (long long)counted);
  bool same           = true;
  const int32_t *data = (int32_t *)out.data + grid_field_origin(&out);
  for (int64_t z = 0; z < out.mine.n[0]; z++)
    for (int64_t y = 0; y < out.mine.n[1]; y++)
      for (int64_t x = 0; x < out.mine.n[2]; x++)
        same = same && data[z * out.row[0] + y * out.row[1] + x] ==
                           want[((z + out.mine.start[0]) * n[1] + y + out.mine.start[1]) * n[2] +
                                x + out.mine.start[2]];
  CHECK(same, "shape %d plan %d connectivity %d percent %d", s, kind, connectivity, percent);
  CHECK_OK(voxel_component_table(comm, &out, count, &table));
  int64_t voxels = 0, wanted = 0;
  for (int64_t i = 0; i < count; i++) voxels += table[i].voxels;
  for (int64_t i = 0; i < n[0] * n[1] * n[2]; i++) wanted += want[i] > 0;
  CHECK(voxels == wanted, "the table holds %lld of %lld voxels", (long long)voxels,
        (long long)wanted);
  memory_free(table);
  grid_field_free(&in);
  grid_field_free(&out);
  grid_plan_free(&plan);
}

TEST(components_are_numbered_as_a_flood_fill_in_raster_order) {
  const int connectivities[3] = {6, 18, 26}, percents[4] = {8, 30, 60, 100};
  status_clear();
  for (int s = 0; s < SHAPES; s++)
    for (int kind = 0; kind < PLANS; kind++)
      for (int c = 0; c < 3; c++)
        for (int p = 0; p < 4; p++) check_components(comm, s, kind, connectivities[c], percents[p]);
}

TEST(components_are_alike_for_every_instruction_set) {
  const char *const names[] = {"baseline", "avx2", "avx512"};
  for (int i = 0; i < 3; i++) {
    status_clear();
    if (isa_agree(comm, names[i]) != STATUS_OK) continue;
    for (int c = 6; c <= 26; c += c == 6 ? 12 : 8) check_components(comm, 0, 3, c, 30);
  }
  status_clear();
  CHECK_OK(isa_agree(comm, "auto"));
}

TEST(the_component_table_measures_a_known_box) {
  const int64_t n[3] = {10, 9, 8};
  struct grid_plan plan;
  struct grid_field in, out;
  struct voxel_component *table;
  int64_t count;
  status_clear();
  CHECK_OK(grid_plan_slabs(comm, n, 0, &plan));
  CHECK_OK(grid_field_make(comm, &plan, GRID_U8, NULL, &in));
  for (int64_t i = 0; i < in.voxels; i++) {
    int64_t z = in.mine.start[0] + i / 72, y = i / 8 % 9, x = i % 8;
    ((uint8_t *)in.data)[i] = z >= 2 && z < 10 && y >= 1 && y < 4 && x >= 3 && x < 5;
  }
  CHECK_OK(voxel_components(comm, &in, -1, 26, &out, &count));
  CHECK_OK(voxel_component_table(comm, &out, count, &table));
  CHECK(count == 1 && table[0].voxels == 48, "%lld", (long long)table[0].voxels);
  CHECK(table[0].low[0] == 2 && table[0].high[0] == 10 && table[0].low[2] == 3 &&
            table[0].high[2] == 5,
        "its box");
  CHECK(table[0].sum[0] == 48 * 11 / 2 && table[0].sum[1] == 48 * 2 &&
            table[0].sum[2] == 48 * 7 / 2,
        "its centroid");
  CHECK(table[0].faces == 2 * (8 * 3 + 8 * 2 + 3 * 2), "%lld faces", (long long)table[0].faces);
  CHECK(table[0].touches == 2, "touches %x", table[0].touches);
  memory_free(table);
  grid_field_free(&in);
  grid_field_free(&out);
  grid_plan_free(&plan);
}

/* ---- thresholds ---- */

static void make_modes(MPI_Comm comm, int modes, struct grid_plan *plan, struct grid_field *f) {
  const int64_t n[3] = {20, 20, 25};
  CHECK_OK(grid_plan_slabs(comm, n, 0, plan));
  CHECK_OK(grid_field_make(comm, plan, GRID_F32, NULL, f));
  for (int64_t i = 0; i < f->voxels; i++) {
    uint64_t h   = hash((uint64_t)(i + f->mine.start[0] * 500));
    double noise = (double)(h >> 40) / (1 << 24) + (double)(h >> 16 & 0xffffff) / (1 << 24) - 1;
    ((float *)f->data)[i] = (float)(10.0 * (double)(h % (uint64_t)modes) + noise);
  }
}

TEST(otsu_parts_separate_modes_and_fractions_are_whole) {
  for (int modes = 2; modes <= 5; modes++) {
    struct grid_plan plan;
    struct grid_field f, labels;
    struct voxel_histogram h;
    double threshold[4];
    status_clear();
    make_modes(comm, modes, &plan, &f);
    CHECK_OK(voxel_histogram_make(comm, &f, modes == 2 ? 65536 : 1024, &h));
    CHECK(h.total == 10000, "%lld counted", (long long)h.total);
    CHECK_OK(voxel_otsu(&h, modes, threshold));
    for (int t = 0; t < modes - 1; t++)
      CHECK(threshold[t] >= 10 * t + 0.9 && threshold[t] <= 10 * t + 9.1, "%d modes: threshold %g",
            modes, threshold[t]);
    CHECK_OK(voxel_label(comm, &f, threshold, modes - 1, &labels));
    for (int64_t i = 0; i < f.voxels; i++) {
      double value = (double)((float *)f.data)[i], near = 1e9;
      int want = (int)floor(value / 10 + 0.5), got = ((uint8_t *)labels.data)[i];
      for (int t = 0; t < modes - 1; t++) near = fmin(near, fabs(value - threshold[t]));
      bool in_the_thresholds_bin = near <= (h.high - h.low) / h.bins;
      if (!CHECK(got == want || in_the_thresholds_bin, "%g is phase %d", value, got)) break;
    }
    voxel_histogram_free(&h);
    grid_field_free(&f);
    grid_field_free(&labels);
    grid_plan_free(&plan);
  }
}

/* Every value against the rounded edges, and against the thresholds, one by one. */
static void check_bins(MPI_Comm comm, enum grid_type type, double offset, double range, int bins) {
  const int64_t n[3]        = {7, 9, 75};
  const double threshold[4] = {-3.5, offset + 0.3 * range, offset + floor(0.6 * range), 70000.25};
  struct grid_plan plan;
  struct grid_field f, labels;
  struct voxel_histogram h;
  bool same = true;
  CHECK_OK(grid_plan_blocks(comm, n, 1, &plan));
  CHECK_OK(grid_field_make(comm, &plan, type, NULL, &f));
  int64_t *want = calloc((size_t)bins, sizeof *want);
  for (int64_t i = 0; i < f.voxels; i++) {
    uint64_t place = (uint64_t)((f.mine.start[0] + i / f.row[0]) * 1000000 +
                                (f.mine.start[1] + i % f.row[0] / f.row[1]) * 1000 +
                                f.mine.start[2] + i % f.row[1]);
    double level   = (double)(hash(place) % 4097) / 4096; /* many lie on edges */
    set(&f, i, type == GRID_F32 ? offset + range * level : floor(offset + range * level));
  }
  CHECK_OK(voxel_histogram_make(comm, &f, bins, &h));
  for (int64_t i = 0; i < f.voxels; i++) {
    double value = get(&f, i);
    int bin      = bins - 1;
    for (; bin > 0; bin--) {
      double edge = h.low + bin * ((h.high - h.low) / bins);
      if (value >= (type == GRID_F32 ? (double)(float)edge : edge)) break;
    }
    want[bin]++;
  }
  MPI_Allreduce(MPI_IN_PLACE, want, bins, MPI_INT64_T, MPI_SUM, comm);
  for (int i = 0; i < bins; i++) same = same && want[i] == h.count[i];
  CHECK(same, "%s, %g + %g, %d bins", grid_type_name(type), offset, range, bins);
  CHECK_OK(voxel_label(comm, &f, threshold, 4, &labels));
  same = true;
  for (int64_t i = 0; i < f.voxels; i++) {
    int above = 0;
    for (int t = 0; t < 4; t++) above += get(&f, i) > threshold[t];
    same = same && ((uint8_t *)labels.data)[i] == above;
  }
  CHECK(same, "labels of %s, %g + %g", grid_type_name(type), offset, range);
  free(want);
  voxel_histogram_free(&h);
  grid_field_free(&labels);
  grid_field_free(&f);
  grid_plan_free(&plan);
}

TEST(histograms_follow_the_edges_of_numpy_and_labels_their_thresholds) {
  const char *const names[] = {"baseline", "avx2", "avx512"};
  for (int i = 0; i < 3; i++) {
    status_clear();
    if (isa_agree(comm, names[i]) != STATUS_OK) continue;
    check_bins(comm, GRID_F32, -1, 2, 256);
    check_bins(comm, GRID_F32, 0.1, 1, 4097);
    check_bins(comm, GRID_F32, 1000, 1, 1024); /* edges round by much of a bin */
    check_bins(comm, GRID_U16, 17, 60000, 1000);
    check_bins(comm, GRID_U16, 0, 3, 64);
    check_bins(comm, GRID_U8, 5, 200, 256);
  }
  status_clear();
  CHECK_OK(isa_agree(comm, "auto"));
}

TEST(what_cannot_be_classified_is_said) {
  struct grid_plan plan;
  struct grid_field f;
  struct voxel_histogram h;
  double threshold[4];
  status_clear();
  make_modes(comm, 2, &plan, &f);
  for (int64_t i = 0; i < f.voxels; i++) ((float *)f.data)[i] = 3;
  CHECK_OK(voxel_histogram_make(comm, &f, 256, &h));
  CHECK(voxel_otsu(&h, 2, threshold) == STATUS_INPUT && strstr(status_text(), "constant"), "%s",
        status_text());
  voxel_histogram_free(&h);
  status_clear();
  if (f.mine.n[0] && f.mine.start[0] + f.mine.n[0] == 20)
    ((float *)f.data)[f.voxels - 1] = (float)NAN;
  CHECK(voxel_histogram_make(comm, &f, 256, &h) == STATUS_INPUT, "NaN accepted");
  CHECK(strstr(status_text(), "(19, 19, 24) is NaN") != NULL, "%s", status_text());
  status_clear();
  grid_field_free(&f);
  grid_plan_free(&plan);
}

TEST(a_fault_on_any_rank_ends_all_ranks_alike) {
#ifdef XCSCT_FAULTS
  const char *const sites[] = {"voxel.median", "voxel.ball", "voxel.components", "voxel.histogram",
                               "voxel.mask"};
  const int64_t one[3]      = {1, 1, 1};
  int size;
  MPI_Comm_size(comm, &size);
  for (int s = 0; s < 5; s++)
    for (int bad = 0; bad < size; bad++) {
      struct grid_plan plan;
      struct grid_field in, out;
      struct voxel_histogram h;
      struct voxel_mask mask;
      int64_t count;
      char fault[64];
      memset(&out, 0, sizeof out);
      status_clear();
      CHECK_OK(grid_plan_slabs(comm, shapes[1], 0, &plan));
      CHECK_OK(grid_field_make(comm, &plan, s == 2 || s == 4 ? GRID_U8 : GRID_F32, one, &in));
      snprintf(fault, sizeof fault, "%s:%d", sites[s], bad);
      setenv("FAULT", fault, 1);
      enum status got = s == 0   ? voxel_median(comm, &in)
                        : s == 1 ? voxel_ball_filter(comm, &in, VOXEL_OPEN, 1)
                        : s == 2 ? voxel_components(comm, &in, 1, 6, &out, &count)
                        : s == 3 ? voxel_histogram_make(comm, &in, 16, &h)
                                 : voxel_mask_make(comm, &in, 1, 1, &mask);
      unsetenv("FAULT");
      CHECK(got == STATUS_INTERNAL && strstr(status_text(), sites[s]), "%s: %s", fault,
            status_text());
      grid_field_free(&in);
      grid_plan_free(&plan);
    }
#else
  check_skip("built without XCSCT_FAULTS");
#endif
}
