/* Areas by Cauchy and Crofton: a surface of area S is crossed, per area across the line, S/2 times by lines averaged over
 * all directions. Lines run in the 13 directions to a voxel's neighbours, each standing for the directions nearest to it
 * (Ohser and Muecklich, Statistical Analysis of Microstructures, 2000), so spacings may differ. Counting faces instead
 * makes a sphere half as large again. The line where labels meet is counted along voxel edges, where it zigzags: for an
 * isotropic line 3/2 of the length. */
#include "flux_surfaces.h"
#include <math.h>
#include <string.h>

static const int8_t direction[FLUX_DIRECTIONS][3] = {
    {0, 0,  1 },
    {0, 1,  0 },
    {1, 0,  0 },
    {0, 1,  1 },
    {0, 1,  -1},
    {1, 0,  1 },
    {1, 0,  -1},
    {1, 1,  0 },
    {1, -1, 0 },
    {1, 1,  1 },
    {1, 1,  -1},
    {1, -1, 1 },
    {1, -1, -1}
};
enum { AXES = 3, SPHERE = 400000 };

struct counts {
  int64_t pair[FLUX_DIRECTIONS][FLUX_PHASES + 1][FLUX_PHASES + 1];
  int64_t edge[3]; /* with three labels or more, by axis */
  int64_t triple[3][FLUX_PHASES + 1][FLUX_PHASES + 1][FLUX_PHASES + 1]; /* by axis, i < j < k */
};

/* Share of all directions that are nearest to each of the 13; points of a golden spiral. */
static void weights_find(const double spacing[3], double weight[FLUX_DIRECTIONS]) {
  double unit[FLUX_DIRECTIONS][3];
  for (int d = 0; d < FLUX_DIRECTIONS; d++) {
    double square = 0;
    for (int a = 0; a < 3; a++) square += pow(direction[d][a] * spacing[a], 2);
    for (int a = 0; a < 3; a++) unit[d][a] = direction[d][a] * spacing[a] / sqrt(square);
    weight[d] = 0;
  }
  for (int i = 0; i < SPHERE; i++) {
    const double z = 1 - (2 * i + 1) / (double)SPHERE, r = sqrt(1 - z * z),
                 turn  = i * 2.399963229728653;
    const double at[3] = {z, r * cos(turn), r * sin(turn)};
    int best           = 0;
    double most        = -1;
    for (int d = 0; d < FLUX_DIRECTIONS; d++) {
      const double along = fabs(at[0] * unit[d][0] + at[1] * unit[d][1] + at[2] * unit[d][2]);
      if (along > most) {
        most = along;
        best = d;
      }
    }
    weight[best] += 1. / SPHERE;
  }
}

/* Bytes become 1 + index among the labels that occur; 0 is left to what lies outside. */
static enum status labels_number(MPI_Comm comm, struct grid_field *f, struct flux_surfaces *s) {
  uint8_t seen[256] = {0}, index[256] = {0}, *v = f->data;
  const int64_t origin = grid_field_origin(f);
  for (int64_t z = 0; z < f->mine.n[0]; z++)
    for (int64_t y = 0; y < f->mine.n[1]; y++)
      for (int64_t x = 0; x < f->mine.n[2]; x++)
        seen[v[origin + z * f->row[0] + y * f->row[1] + x]] = 1;
  MPI_Allreduce(MPI_IN_PLACE, seen, 256, MPI_UINT8_T, MPI_MAX, comm);
  for (int l = 0; l < 256; l++) {
    if (!seen[l]) continue;
    if (s->phases == FLUX_PHASES)
      return FAIL(STATUS_INPUT, "flux.surfaces: more than %d labels occur", FLUX_PHASES);
    s->label[s->phases++] = l;
    index[l]              = (uint8_t)s->phases;
  }
  for (int64_t z = 0; z < f->mine.n[0]; z++)
    for (int64_t y = 0; y < f->mine.n[1]; y++)
      for (int64_t x = 0; x < f->mine.n[2]; x++) {
        uint8_t *p = &v[origin + z * f->row[0] + y * f->row[1] + x];
        *p         = index[*p];
      }
  return STATUS_OK;
}
static int by_size(uint8_t v[4]) {
  int n = 0;
  for (int i = 0; i < 4; i++) {
    int k = 0;
    while (k < n && v[k] != v[i]) k++;
    if (k == n) v[n++] = v[i];
  }
  for (int i = 1; i < n; i++)
    for (int k = i; k > 0 && v[k] < v[k - 1]; k--) {
      const uint8_t t = v[k];
      v[k]            = v[k - 1];
      v[k - 1]        = t;
    }
  return n;
}
/* The voxel edge along `axis` between a voxel and its three neighbours after it. */
static void edge_count(struct counts *c, int axis, const uint8_t *p, const int64_t step[3]) {
  const int64_t u = step[axis == 0 ? 1 : 0], w = step[axis == 2 ? 1 : 2];
  uint8_t v[4] = {p[0], p[u], p[w], p[u + w]};
  if ((v[0] == v[3] && v[1] == v[2]) || !v[1] || !v[2] || !v[3]) return;
  const int n = by_size(v);
  c->edge[axis] += n >= 3;
  for (int i = 0; i < n; i++)
    for (int j = i + 1; j < n; j++)
      for (int k = j + 1; k < n; k++) c->triple[axis][v[i]][v[j]][v[k]]++;
}
static void count(const struct grid_field *f, struct counts *c) {
  const int64_t step[3] = {f->row[0], f->row[1], 1};
  int64_t to[FLUX_DIRECTIONS];
  for (int d = 0; d < FLUX_DIRECTIONS; d++)
    to[d] = direction[d][0] * step[0] + direction[d][1] * step[1] + direction[d][2];
  for (int64_t z = 0; z < f->mine.n[0]; z++)
    for (int64_t y = 0; y < f->mine.n[1]; y++) {
      const uint8_t *p =
          (const uint8_t *)f->data + grid_field_origin(f) + z * step[0] + y * step[1];
      for (int64_t x = 0; x < f->mine.n[2]; x++, p++) {
        bool same = true;
        for (int d = 0; d < FLUX_DIRECTIONS; d++) {
          if (p[to[d]] == *p) continue;
          same = false;
          c->pair[d][*p][p[to[d]]]++;
        }
        for (int a = 0; a < AXES && !same; a++) edge_count(c, a, p, step);
      }
    }
}
static void densities(const struct counts *c, const struct grid_field *f, const double spacing[3],
                      struct flux_surfaces *s) {
  double weight[FLUX_DIRECTIONS];
  const double voxels = (double)f->plan.n[0] * (double)f->plan.n[1] * (double)f->plan.n[2];
  const double volume = spacing[0] * spacing[1] * spacing[2];
  weights_find(spacing, weight);
  for (int i = 0; i < s->phases; i++)
    for (int j = 0; j < s->phases; j++)
      for (int d = 0; d < FLUX_DIRECTIONS; d++) {
        const double n = (double)(c->pair[d][i + 1][j + 1] + c->pair[d][j + 1][i + 1]) / voxels;
        double square  = 0;
        for (int a = 0; a < 3; a++) square += pow(direction[d][a] * spacing[a], 2);
        s->contact[i][j] += 2 * weight[d] * n / sqrt(square);
        if (d < AXES) s->faces[i][j] += n / sqrt(square);
      }
  for (int a = 0; a < 3; a++) {
    s->line += (double)c->edge[a] * spacing[a] / (voxels * volume);
    for (int i = 0; i < s->phases; i++)
      for (int j = i + 1; j < s->phases; j++)
        for (int k = j + 1; k < s->phases; k++)
          s->triple[i][j][k] +=
              (double)c->triple[a][i + 1][j + 1][k + 1] * spacing[a] / (voxels * volume);
  }
}
enum status flux_surfaces_find(MPI_Comm comm, struct grid_field *labels, const double spacing[3],
                               struct flux_surfaces *s) {
  struct counts *c = NULL;
  memset(s, 0, sizeof *s);
  TRY_ALL(comm, labels_number(comm, labels, s));
  TRY(grid_halo_exchange(comm, labels, GRID_EDGE_KEEP));
  TRY_ALL(comm, memory_make(1, sizeof *c, "contacts", &c));
  count(labels, c);
  MPI_Allreduce(MPI_IN_PLACE, c, (int)(sizeof *c / sizeof(int64_t)), MPI_INT64_T, MPI_SUM, comm);
  densities(c, labels, spacing, s);
  memory_free(c);
  return STATUS_OK;
}
