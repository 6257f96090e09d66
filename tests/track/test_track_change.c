/* np: 1 2 3 5 */
#include "check.h"
#include "track.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const int64_t size[3] = {17, 20, 23};

struct series {
  struct track_params params;
  struct track track;
  struct track_change change;
  int64_t deep;
};

static void begin(struct series *s) {
  memset(s, 0, sizeof *s);
  status_clear();
  CHECK_OK(config_defaults(track_stage.params, &s->params));
  s->params.phase = 1;
  s->deep         = 3;
}

typedef bool (*shape)(int state, int64_t z, int64_t y, int64_t x);
struct drawing {
  shape inside;
  int state;
};

static enum status draw(void *owner, const struct grid_box *box, uint8_t *labels) {
  const struct drawing *d = owner;
  int64_t plane           = box->n[1] * box->n[2];
  for (int64_t i = 0; i < box->n[0] * plane; i++) {
    int64_t z = box->start[0] + i / plane, y = i % plane / box->n[2], x = i % box->n[2];
    labels[i] = d->inside(d->state, z, y, x) ? 1 : (uint8_t)((x & 1) * 2);
  }
  return STATUS_OK;
}

/* The next state: phase 1 where `inside` says so, other phases elsewhere. */
static enum status next(MPI_Comm comm, const int64_t n[3], struct series *s, shape inside) {
  struct drawing drawing     = {inside, s->track.states};
  struct track_labels labels = {draw, &drawing, s->deep};
  if (!s->track.plan.size) {
    struct grid_plan plan;
    CHECK_OK(grid_plan_slabs(comm, n, 0, &plan));
    CHECK_OK(track_begin(&plan, &s->track));
    grid_plan_free(&plan);
  }
  return track_add(comm, &s->params, &labels, &s->track, &s->change);
}

/* Every voxel's growth is wanted[its slice], and its presence. */
static void check_growth(const struct series *s, const int *wanted, const uint32_t *presence) {
  const struct grid_box mine = grid_plan_mine(&s->track.plan);
  int32_t line[64 + VOXEL_ROW_SPARE];
  uint8_t growth[64];
  uint32_t bits[64];
  for (int64_t q = 0; q < mine.n[0] * mine.n[1]; q++) {
    int64_t z = q / mine.n[1], slice = mine.start[0] + z;
    track_row(&s->track, z, q % mine.n[1], line, growth, bits);
    for (int64_t x = 0; x < mine.n[2]; x++)
      if (!CHECK(growth[x] == wanted[slice] && bits[x] == presence[slice], "slice %lld: %d, %x",
                 (long long)slice, growth[x], bits[x]))
        return;
  }
}

/* Layers of 4, 7, 5 and 6 slices: every value of the growth is known. */
static bool layer(int state, int64_t z, int64_t y, int64_t x) {
  static const int64_t high[] = {4, 7, 5, 6};
  (void)y, (void)x;
  return z < high[state];
}

TEST(growth_and_loss_of_a_layer_are_those_of_its_slices) {
  static const int64_t gained[] = {0, 3, 0, 1}, lost[] = {0, 0, 2, 0}, high[] = {4, 7, 5, 6};
  static const int wanted[17]        = {1, 1, 1, 1, 2, 4, TRACK_LOST + 3};
  static const uint32_t presence[17] = {15, 15, 15, 15, 14, 10, 2};
  int64_t slice                      = size[1] * size[2];
  struct series s;
  begin(&s);
  for (int k = 0; k < 4; k++) {
    CHECK_OK(next(comm, size, &s, layer));
    CHECK(s.change.gained == gained[k] * slice && s.change.lost == lost[k] * slice,
          "state %d: %lld gained, %lld lost", k, (long long)s.change.gained,
          (long long)s.change.lost);
    CHECK(s.change.voxels == high[k] * slice, "%lld voxels", (long long)s.change.voxels);
    CHECK(s.change.faces == 2 * slice + 2 * high[k] * (size[1] + size[2]), "%lld faces",
          (long long)s.change.faces);
    CHECK(s.change.components == 1 &&
              s.change.births + s.change.deaths + s.change.splits + s.change.merges == 0,
          "the layer stays one");
  }
  check_growth(&s, wanted, presence);
  track_free(&s.track);
}

static bool cube(int64_t z, int64_t y, int64_t x, int64_t at_z, int64_t at_y, int64_t at_x) {
  return z >= at_z && z < at_z + 4 && y >= at_y && y < at_y + 4 && x >= at_x && x < at_x + 4;
}

/* Two cubes; a bar joins them; it goes again, a third cube is born and a speck; the first dies. */
static bool family(int state, int64_t z, int64_t y, int64_t x) {
  bool first = cube(z, y, x, 2, 2, 2), second = cube(z, y, x, 10, 2, 2),
       bar = z >= 6 && z < 10 && y == 3 && x == 3, third = cube(z, y, x, 6, 12, 14),
       speck = z == 15 && y == 18 && x == 20;
  switch (state) {
  case 0:
    return first || second;
  case 1:
    return first || second || bar;
  case 2:
    return first || second || third || speck;
  default:
    return second || third;
  }
}

static void check_family(MPI_Comm comm, int64_t deep) {
  static const int64_t wanted[4][5] = {
  /* components, births, deaths, splits, merges */
      {2, 0, 0, 0, 0},
      {1, 0, 0, 0, 1},
      {3, 1, 0, 1, 0},
      {2, 0, 1, 0, 0}
  };
  struct series s;
  begin(&s);
  s.deep = deep;
  for (int k = 0; k < 4; k++) {
    CHECK_OK(next(comm, size, &s, family));
    const struct track_change *c = &s.change;
    const int64_t got[5]         = {c->components, c->births, c->deaths, c->splits, c->merges};
    for (int i = 0; i < 5; i++)
      CHECK(got[i] == wanted[k][i], "state %d, count %d: %lld, not %lld", k, i, (long long)got[i],
            (long long)wanted[k][i]);
  }
  static const int64_t lineage[8][TRACK_KIN] = {
      {2, 1, 1, 64, TRACK_MERGE},
      {2, 2, 1, 64, TRACK_MERGE},
      {3, 1, 1, 64, TRACK_SPLIT},
      {3, 1, 3, 64, TRACK_SPLIT},
      {3, 0, 2, 64, TRACK_BIRTH},
      {4, 2, 1, 64, TRACK_LIVES},
      {4, 3, 2, 64, TRACK_LIVES},
      {4, 1, 0, 64, TRACK_DEATH}
  };
  CHECK(s.track.kin_n == 8, "%lld rows of lineage", (long long)s.track.kin_n);
  CHECK(s.track.kin_n == 8 && memcmp(s.track.kin, lineage, sizeof lineage) == 0,
        "the family's lineage");
  track_free(&s.track);
}

TEST(births_deaths_splits_and_merges_are_counted_however_many_planes_come_at_a_time) {
  for (int64_t deep = 1; deep < 20; deep += 6) check_family(comm, deep);
}

/* Digital balls of radius 5 and 6 off the grid: volumes within the stated counting error. */
static bool ball(int state, int64_t z, int64_t y, int64_t x) {
  double dz = (double)z - 8.3, dy = (double)y - 9.6, dx = (double)x - 11.1, r = 5.2 + 1.1 * state;
  return dz * dz + dy * dy + dx * dx < r * r;
}

TEST(a_ball_s_volume_lies_within_the_error_of_counting) {
  struct series s;
  begin(&s);
  for (int k = 0; k < 2; k++) {
    CHECK_OK(next(comm, size, &s, ball));
    double truth = 4 * PI / 3 * pow(5.2 + 1.1 * k, 3), sigma = sqrt((double)s.change.faces / 12);
    CHECK(fabs((double)s.change.voxels - truth) < 3 * sigma, "%lld voxels, truth %g, sigma %g",
          (long long)s.change.voxels, truth, sigma);
  }
  track_free(&s.track);
}

static bool nothing(int state, int64_t z, int64_t y, int64_t x) {
  (void)z, (void)y, (void)x;
  return state == 1;
}

TEST(a_phase_that_comes_and_goes_in_a_thin_volume) {
  const int64_t n[3] = {1, 9, 8};
  struct series s;
  begin(&s);
  for (int k = 0; k < 3; k++) CHECK_OK(next(comm, n, &s, nothing));
  CHECK(s.change.lost == 72 && s.change.voxels == 0 && s.change.deaths == 1, "%lld lost",
        (long long)s.change.lost);
  check_growth(&s, &(const int){TRACK_LOST + 3}, &(const uint32_t){2});
  track_free(&s.track);
}

TEST(a_fault_on_one_rank_ends_all) {
  struct series s;
  int ranks;
  char fault[64];
  MPI_Comm_size(comm, &ranks);
#ifndef XCSCT_FAULTS
  check_skip("built without XCSCT_FAULTS");
  return;
#endif
  begin(&s);
  CHECK_OK(next(comm, size, &s, layer));
  snprintf(fault, sizeof fault, "track.compare:%d", ranks - 1);
  setenv("FAULT", fault, 1);
  CHECK(next(comm, size, &s, layer) != STATUS_OK, "the fault passed");
  unsetenv("FAULT");
  status_clear();
  track_free(&s.track);
}
