/* The tilt of a made cell's layers: casing, foil, particles, a rough interface, noise.
 * np: 1 2 3 5 */
#include "align.h"
#include "check.h"
#include "numeric.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PARTICLES = 60 };
struct cell {
  int64_t n[3];
  double voxel_um[3], deg[2], noise; /* tilt along y and x */
  uint64_t seed;
  bool layers;
  double particle[PARTICLES][4];
};
static double ramp(double x) { return fmin(fmax(x + 0.5, 0), 1); }
static void particles_set(struct cell *c) {
  for (uint64_t k = 0; k < PARTICLES; k++) {
    for (uint64_t a = 0; a < 4; a++) c->particle[k][a] = random_uniform(c->seed, 3, 4 * k + a);
    for (int a = 0; a < 3; a++)
      c->particle[k][a] = (c->particle[k][a] - 0.5) * (double)c->n[a] * c->voxel_um[a];
  }
}
/* At p (z, y, x in um about the middle). */
static double grey_of(const struct cell *c, const double p[3]) {
  const double ty = tan(c->deg[0] / DEG_PER_RAD), tx = tan(c->deg[1] / DEG_PER_RAD);
  const double per = sqrt(1 + ty * ty + tx * tx), edge = c->voxel_um[0];
  double u         = (p[0] - ty * p[1] - tx * p[2]) / per; /* along the layers' normal */
  double out2      = p[0] * p[0] + p[1] * p[1] + p[2] * p[2] - u * u;
  const double rim = 0.46 * (double)c->n[1] * c->voxel_um[1], high = 0.3 * (double)c->n[0] * edge;
  double grey = 0;
  if (c->layers) {
    const double rough = 0.8 * edge * cos(p[1] / (4 * edge)) * cos(p[2] / (5 * edge));
    const double body  = ramp((high - fabs(u)) / edge) * ramp((rim - sqrt(out2)) / edge);
    const double plate = ramp((fabs(u) - 0.7 * high) / edge); /* casing above and below */
    grey               = body * (0.3 + 0.9 * plate + 0.4 * ramp((u - rough + 0.1 * high) / edge));
  }
  for (int k = 0; k < PARTICLES; k++) {
    double r2 = 0;
    for (int a = 0; a < 3; a++) r2 += pow((p[a] - c->particle[k][a]) / (2.5 * edge), 2);
    if (c->layers && (u - high * 0.1) * (c->particle[k][0]) < 0) continue;
    grey += 0.5 * exp(-0.5 * r2) * (c->layers ? ramp((0.6 * high - fabs(u)) / edge) : 1);
  }
  return grey;
}
static enum status read_cell(void *owner, const struct grid_box *box, struct grid_field *to) {
  const struct cell *c = owner;
  float *data          = (float *)to->data + grid_field_origin(to);
  for (int64_t z = 0; z < box->n[0]; z++)
    for (int64_t y = 0; y < box->n[1]; y++)
      for (int64_t x = 0; x < box->n[2]; x++) {
        const int64_t at[3] = {z + box->start[0], y + box->start[1], x + box->start[2]};
        const int64_t i     = (at[0] * c->n[1] + at[1]) * c->n[2] + at[2];
        double p[3];
        for (int a = 0; a < 3; a++)
          p[a] = ((double)at[a] - 0.5 * (double)(c->n[a] - 1)) * c->voxel_um[a];
        const double noise = c->noise * random_normal(c->seed, 5, (uint64_t)i);
        data[z * to->row[0] + y * to->row[1] + x] = (float)(grey_of(c, p) + noise);
      }
  return STATUS_OK;
}
static enum status find(MPI_Comm comm, struct cell *c, int64_t deep, struct align_level *level) {
  struct align_source source = {.read = read_cell, .owner = c};
  const struct grid_box box  = {
       {0,       0,       0      },
       {c->n[0], c->n[1], c->n[2]}
  };
  memcpy(source.n, c->n, sizeof source.n);
  memcpy(source.voxel_um, c->voxel_um, sizeof source.voxel_um);
  particles_set(c);
  return align_level_find(comm, &source, &box, deep, level);
}
static double off_deg(const struct cell *c, const struct align_level *l, int a) {
  return atan(l->slope[a]) * DEG_PER_RAD - c->deg[a];
}

TEST(the_tilt_of_layers_is_found_with_its_error) {
  static const double tilts[][2] = {
      {0,   0   },
      {0.3, -0.2},
      {1.7, 2.4 },
      {-4,  1   }
  };
  double square = 0, worst = 0;
  int n = 0;
  for (size_t t = 0; t < sizeof tilts / sizeof *tilts; t++)
    for (uint64_t seed = 1; seed <= 3; seed++) {
      struct cell c = {
          {49, 70, 66},
          {1,  1,    1},
          {tilts[t][0], tilts[t][1]},
          .noise = 0.1, .seed = seed, .layers = true
      };
      struct align_level level;
      CHECK_OK(find(comm, &c, 0, &level));
      for (int a = 0; a < 2; a++, n++) {
        const double off = off_deg(&c, &level, a);
        if (getenv("SHOW"))
          printf("%zu %d a%d off %.4f sigma %.4f blocks %d\n", t, (int)seed, a, off,
                 level.sigma[a] * DEG_PER_RAD, (int)level.blocks);
        worst = fmax(worst, fabs(off));
        square += pow(off / (level.sigma[a] * DEG_PER_RAD), 2);
      }
    }
  CHECK(worst < 0.05, "off by up to %.3f degrees", worst);
  CHECK(square / n > 0.2 && square / n < 2.5, "mean squared pull %.2f of %d", square / n, n);
}
TEST(edges_of_voxels_may_differ_and_rounds_do_not_matter) {
  struct cell c = {
      {41,   72, 60},
      {2.5,    1.5,    2.0},
      {1.2, -2.1},
      .noise = 0.05, .seed = 4, .layers = true
  };
  struct align_level whole, rounds;
  CHECK_OK(find(comm, &c, 0, &whole));
  for (int a = 0; a < 2; a++) CHECK_NEAR(off_deg(&c, &whole, a), 0, 0.05);
  CHECK_OK(find(comm, &c, 3, &rounds));
  CHECK(memcmp(&whole, &rounds, sizeof whole) == 0, "%.9g, not %.9g", rounds.slope[0],
        whole.slope[0]);
  CHECK_OK(find(MPI_COMM_SELF, &c, 0, &rounds));
  CHECK(memcmp(&whole, &rounds, sizeof whole) == 0, "%.9g alone, not %.9g", rounds.slope[0],
        whole.slope[0]);
}
TEST(what_has_no_layers_is_refused) {
  static const int64_t sizes[][3] = {
      {40, 44, 42},
      {1,  60, 60},
      {40, 1,  60},
      {40, 60, 1 },
      {7,  30, 30},
      {40, 9,  9 }
  };
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
    struct cell c = {
        {sizes[s][0], sizes[s][1], sizes[s][2]},
        {1,           1,                      1},
        {0,          0},
        .noise  = 0.1,
        .seed   = 7,
        .layers = s > 0
    };
    struct align_level level;
    CHECK(find(comm, &c, 0, &level) == STATUS_INPUT, "case %d", (int)s);
    CHECK(strstr(status_text(), "no layers within 5 degrees"), "%s", status_text());
    status_clear();
  }
  struct cell steep = {
      {60, 70, 66},
      {1,  1,    1},
      {8, 0},
      .noise = 0.05, .seed = 3, .layers = true
  };
  struct align_level level;
  const enum status status = find(comm, &steep, 0, &level);
  CHECK(status == STATUS_INPUT, "8 degrees: %.3f +- %.3f", atan(level.slope[0]) * DEG_PER_RAD,
        level.sigma[0] * DEG_PER_RAD);
  status_clear();
}
TEST(a_fault_on_one_rank_ends_all) {
  struct cell c = {
      {20, 40, 40},
      {1,  1,    1},
      {0, 0},
      .seed = 1, .layers = true
  };
  struct align_level level;
  char fault[64];
  int ranks;
  MPI_Comm_size(comm, &ranks);
#ifndef XCSCT_FAULTS
  check_skip("built without XCSCT_FAULTS");
  return;
#endif
  snprintf(fault, sizeof fault, "align.level:%d", ranks - 1);
  setenv("FAULT", fault, 1);
  CHECK(find(comm, &c, 0, &level) != STATUS_OK, "%s", fault);
  unsetenv("FAULT");
  status_clear();
}
