/* np: 1 2 3 5 */
#include "check.h"
#include "voxel.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PLANS = 4 };

static uint64_t hash(uint64_t x) {
  x = (x + 1) * 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

static enum status plan_of(MPI_Comm comm, int kind, const int64_t n[3], struct grid_plan *plan) {
  return kind < 3 ? grid_plan_slabs(comm, n, kind, plan) : grid_plan_blocks(comm, n, 1, plan);
}

static int64_t reflect(int64_t i, int64_t n) {
  while (i < 0 || i >= n) i = i < 0 ? -1 - i : 2 * n - 1 - i;
  return i;
}

/* Two greys and noise. */
static double noisy(const int64_t n[3], int64_t z, int64_t y, int64_t x) {
  int64_t p[3] = {reflect(z, n[0]), reflect(y, n[1]), reflect(x, n[2])};
  return 1000 * (p[0] + p[1] + p[2] / 4 > 7) +
         (double)(hash((uint64_t)(p[0] * 1000003 + p[1] * 1009 + p[2])) % 200);
}

/* The formula as it stands, voxel by voxel. */
static double nlm_at(const int64_t n[3], const int64_t p[3], int search, double h) {
  double weight = 0, value = 0, patch = pow(1 + 2 * exp(-2), 3);
  for (int64_t i = -search; i <= search; i++)
    for (int64_t j = -search; j <= search; j++)
      for (int64_t k = -search; k <= search; k++) {
        double d = 0;
        for (int64_t a = -1; a <= 1; a++)
          for (int64_t b = -1; b <= 1; b++)
            for (int64_t c = -1; c <= 1; c++) {
              double e = noisy(n, p[0] + a, p[1] + b, p[2] + c) -
                         noisy(n, p[0] + a + i, p[1] + b + j, p[2] + c + k);
              d += exp(-2.0 * (double)(a * a + b * b + c * c)) / patch * e * e;
            }
        double w = d > 5 * h * h ? 0 : exp(-d / (h * h));
        weight += w;
        value += w * noisy(n, p[0] + i, p[1] + j, p[2] + k);
      }
  return value / weight;
}

/* Bits of the first plan decide. */
static void check_nlm(MPI_Comm comm, int kind, const int64_t n[3], int search, float *first) {
  const int64_t h = voxel_nlm_halo(search), halo[3] = {h, h, h};
  struct grid_plan plan;
  struct grid_field f;
  double off     = 0;
  int64_t differ = 0;
  float *all     = calloc((size_t)(n[0] * n[1] * n[2]), sizeof *all);
  CHECK_OK(plan_of(comm, kind, n, &plan));
  CHECK_OK(grid_field_make(comm, &plan, GRID_F32, halo, &f));
  for (int pass = 0; pass < 2; pass++) {
    for (int64_t z = 0; z < f.mine.n[0]; z++)
      for (int64_t y = 0; y < f.mine.n[1]; y++)
        for (int64_t x = 0; x < f.mine.n[2]; x++) {
          float *at = (float *)f.data + grid_field_origin(&f) + z * f.row[0] + y * f.row[1] + x;
          const int64_t p[3] = {z + f.mine.start[0], y + f.mine.start[1], x + f.mine.start[2]};
          if (!pass) {
            *at = (float)noisy(n, p[0], p[1], p[2]);
            continue;
          }
          all[(p[0] * n[1] + p[1]) * n[2] + p[2]] = *at;
          if (!first[0]) off = fmax(off, fabs((double)*at - nlm_at(n, p, search, 90)));
        }
    if (!pass) CHECK_OK(voxel_nlm(comm, &f, search, 90));
  }
  MPI_Allreduce(MPI_IN_PLACE, all, (int)(n[0] * n[1] * n[2]), MPI_FLOAT, MPI_SUM, comm);
  CHECK(off < 2e-3, "off by %g of 1200", off);
  if (!first[0]) memcpy(first, all, (size_t)(n[0] * n[1] * n[2]) * sizeof *all);
  for (int64_t i = 0; i < n[0] * n[1] * n[2]; i++) differ += first[i] != all[i];
  CHECK(differ == 0, "%lld voxels of plan %d have other bits", (long long)differ, kind);
  grid_field_free(&f);
  grid_plan_free(&plan);
  free(all);
}

TEST(non_local_means_are_the_formula_s_and_have_the_same_bits_on_any_plan) {
  const int64_t sizes[2][3] = {
      {7, 6, 37},
      {1, 5, 9 }
  };
  static float first[7 * 6 * 37];
  status_clear();
  for (int s = 0; s < 2; s++) {
    memset(first, 0, sizeof first);
    for (int kind = 0; kind < PLANS; kind++) check_nlm(comm, kind, sizes[s], 1 + s, first);
  }
}

TEST(a_fault_in_non_local_means_ends_all_ranks_alike) {
#ifdef XCSCT_FAULTS
  const int64_t n[3] = {3, 4, 5}, halo[3] = {2, 2, 2};
  int size;
  MPI_Comm_size(comm, &size);
  for (int bad = 0; bad < size; bad++) {
    struct grid_plan plan;
    struct grid_field f;
    char fault[64];
    status_clear();
    CHECK_OK(grid_plan_slabs(comm, n, 0, &plan));
    CHECK_OK(grid_field_make(comm, &plan, GRID_F32, halo, &f));
    snprintf(fault, sizeof fault, "voxel.nlm:%d", bad);
    setenv("FAULT", fault, 1);
    enum status got = voxel_nlm(comm, &f, 1, 1);
    unsetenv("FAULT");
    CHECK(got == STATUS_INTERNAL && strstr(status_text(), "voxel.nlm"), "%s", status_text());
    grid_field_free(&f);
    grid_plan_free(&plan);
  }
#else
  check_skip("built without XCSCT_FAULTS");
#endif
}
