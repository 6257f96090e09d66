/* np: 1 2 3 5 */
#include "align.h"
#include "check.h"
#include "numeric.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A cloud of Gaussian blobs about the middle, moved by a known rigid motion: p -> middle + turn (p - middle) + shift. */
struct pose {
  double shift[3], deg[3]; /* z, y, x */
};
static const int64_t size[3] = {50, 48, 51};
static const struct pose still;

static void turn_about(const double deg[3], const double p[3], double q[3]) {
  double w[3], angle = 0, dot = 0;
  for (int a = 0; a < 3; a++) w[a] = deg[a] / DEG_PER_RAD, angle += w[a] * w[a];
  angle = sqrt(angle);
  for (int a = 0; a < 3; a++) {
    w[a] = angle > 0 ? w[a] / angle : 0;
    dot += w[a] * p[a];
  }
  /* cross product of x, y, z, kept as z, y, x */
  const double cross[3] = {w[2] * p[1] - w[1] * p[2], w[0] * p[2] - w[2] * p[0],
                           w[1] * p[0] - w[0] * p[1]};
  for (int a = 0; a < 3; a++)
    q[a] = p[a] * cos(angle) + cross[a] * sin(angle) + w[a] * dot * (1 - cos(angle));
}

static void add_blob(struct grid_field *v, const double at[3], double wide, double high) {
  float *data = (float *)v->data + grid_field_origin(v);
  for (int64_t z = 0; z < v->mine.n[0]; z++)
    for (int64_t y = 0; y < v->mine.n[1]; y++)
      for (int64_t x = 0; x < v->mine.n[2]; x++) {
        double dz = (double)(z + v->mine.start[0]) - at[0], dy = (double)y - at[1],
               dx = (double)x - at[2], r2 = (dz * dz + dy * dy + dx * dx) / (wide * wide);
        if (r2 < 25) data[z * v->row[0] + y * v->row[1] + x] += (float)(high * exp(-0.5 * r2));
      }
}

/* `seed` chooses the blobs, those of the lower `changed` share of z come from another; `noise` and its own seed. */
static void make(const int64_t n[3], const struct pose *pose, uint64_t seed, double changed,
                 double high, double noise, uint64_t noise_seed, struct grid_field *v) {
  struct grid_plan plan;
  CHECK_OK(grid_plan_slabs(MPI_COMM_SELF, n, 0, &plan)); /* every rank has all */
  CHECK_OK(grid_field_make(MPI_COMM_SELF, &plan, GRID_F32, NULL, v));
  grid_plan_free(&plan);
  for (uint64_t k = 0; k < 160; k++) {
    double p[3], q[3], draw[5];
    for (uint64_t i = 0; i < 5; i++) draw[i] = random_uniform(seed, 1, 8 * k + i);
    bool other = draw[0] < changed;
    if (other)
      for (uint64_t i = 1; i < 5; i++) draw[i] = random_uniform(noise_seed, 2, 8 * k + i);
    for (int a = 0; a < 3; a++) p[a] = (draw[a] - 0.5) * 1.1 * (double)n[a];
    if (other) p[0] -= 5; /* the anode lies under a gap */
    turn_about(pose->deg, p, q);
    for (int a = 0; a < 3; a++) q[a] += 0.5 * (double)(n[a] - 1) + pose->shift[a];
    add_blob(v, q, 1.3 + 1.2 * draw[3], (other ? 1 : high) * (0.6 + 0.4 * draw[4]));
  }
  float *data = v->data;
  for (int64_t i = 0; i < v->voxels; i++)
    data[i] +=
        (float)(noise * random_normal(noise_seed, 3, (uint64_t)(i + v->mine.start[0] * v->row[0])));
}

static enum status read_field(void *owner, const struct grid_box *box, struct grid_field *to) {
  const struct grid_field *from = owner;
  for (int64_t z = 0; z < box->n[0]; z++)
    for (int64_t y = 0; y < box->n[1]; y++)
      memcpy((float *)to->data + grid_field_origin(to) + z * to->row[0] + y * to->row[1],
             (const float *)from->data + (z + box->start[0]) * from->row[0] +
                 (y + box->start[1]) * from->row[1] + box->start[2],
             (size_t)box->n[2] * sizeof(float));
  return STATUS_OK;
}

static struct align_source source_of(struct grid_field *field) {
  struct align_source s = {.read = read_field, .owner = field};
  memcpy(s.n, field->plan.n, sizeof s.n);
  return s;
}

struct trial {
  struct align_params params;
  struct align_view view;
  struct align_report report;
};

static void trial_begin(const int64_t n[3], const char *mask, const char *box, struct trial *t) {
  memset(t, 0, sizeof *t);
  status_clear();
  CHECK_OK(config_defaults(align_stage.params, &t->params));
  CHECK_OK(config_assign(align_stage.params, &t->params, "mask_above", mask, ""));
  CHECK_OK(config_assign(align_stage.params, &t->params, "box", box, ""));
  CHECK_OK(stage_box_parse("align.box", t->params.box, n, &t->view.box));
}

static void run_trial(MPI_Comm comm, struct trial *t, double threshold, struct grid_field *fixed,
                      struct grid_field *moved) {
  const struct align_source sources[2] = {source_of(fixed), source_of(moved)};
  struct grid_field a, b;
  t->view.threshold = threshold;
  CHECK_OK(align_look(comm, &t->params, &sources[0], &t->view, &a));
  CHECK_OK(align_look(comm, &t->params, &sources[1], &t->view, &b));
  CHECK_OK(align_find(comm, &t->params, &a, &b, sources, &t->view, &t->report));
  grid_field_free(&a);
  grid_field_free(&b);
}

static void check_pose(const struct trial *t, const struct pose *pose) {
  CHECK(t->report.converged, "not converged");
  for (int a = 0; a < 3; a++) {
    CHECK_NEAR(t->report.shift_px[a], pose->shift[a], 0.05);
    CHECK_NEAR(t->report.rotation_deg[a], pose->deg[a], 0.02);
  }
}

TEST(known_shifts_and_rotations_are_found_in_noise) {
  static const struct pose poses[] = {
      {{0, 0, 0},           {0, 0, 0}         },
      {{0.5, -0.5, 0.25},   {0, 0, 0}         },
      {{-2.37, 5.61, -1.2}, {0.8, -0.4, 0.3}  },
      {{1.1, 0.9, 7.45},    {-1.2, 0.2, -0.25}},
  };
  struct grid_field fixed, moved;
  make(size, &still, 1, 0, 1, 0.03, 11, &fixed);
  for (uint64_t k = 0; k < 4; k++) {
    struct trial t;
    trial_begin(size, "", "all", &t);
    make(size, &poses[k], 1, 0, 1, 0.03, 20 + k, &moved);
    run_trial(comm, &t, -INFINITY, &fixed, &moved);
    check_pose(&t, &poses[k]);
    CHECK(t.report.quality > 0.97, "quality %g", t.report.quality);
    for (int a = 0; a < 3; a++)
      CHECK(fabs(t.report.shift_px[a] - poses[k].shift[a]) < 5 * t.report.sigma[a],
            "axis %d: %g is not within 5 times %g", a, t.report.shift_px[a], t.report.sigma[a]);
    grid_field_free(&moved);
  }
  grid_field_free(&fixed);
}

/* Looks of half the voxels along each axis; the fit ends on single voxels, some slices at a
 * time. */
TEST(binned_looks_find_the_same_motion_and_any_rounds_the_same_bits) {
  static const int64_t n[3]        = {85, 96, 91};
  static const struct pose poses[] = {
      {{-2.37, 5.61, -1.2}, {0.8, -0.4, 0.3}  },
      {{1.1, 0.9, 7.45},    {-1.2, 0.2, -0.25}},
  };
  struct grid_field fixed, moved;
  make(n, &still, 1, 0, 1, 0.03, 11, &fixed);
  for (uint64_t k = 0; k < 2; k++) {
    struct trial t, rounds;
    trial_begin(n, "", "all", &t);
    t.view.halvings = 1;
    make(n, &poses[k], 1, 0, 1, 0.03, 20 + k, &moved);
    run_trial(comm, &t, -INFINITY, &fixed, &moved);
    check_pose(&t, &poses[k]);
    for (int a = 0; a < 3; a++)
      CHECK(fabs(t.report.shift_px[a] - poses[k].shift[a]) < 5 * t.report.sigma[a],
            "axis %d: %g is not within 5 times %g", a, t.report.shift_px[a], t.report.sigma[a]);
    rounds           = t;
    rounds.view.deep = 6;
    run_trial(comm, &rounds, -INFINITY, &fixed, &moved);
    CHECK(memcmp(rounds.report.shift_px, t.report.shift_px, sizeof t.report.shift_px) == 0 &&
              memcmp(&rounds.report.map, &t.report.map, sizeof t.report.map) == 0,
          "rounds of 6 slices: %.17g, not %.17g", rounds.report.shift_px[0], t.report.shift_px[0]);
    grid_field_free(&moved);
  }
  grid_field_free(&fixed);
}

TEST(a_changed_anode_does_not_move_the_result) {
  const struct pose pose = {
      {-1.63, 2.28, 0.71},
      {0.5,   0.3,  -0.4}
  };
  struct grid_field fixed, moved;
  struct trial t;
  make(size, &still, 2, 0.3, 10, 0.1, 12, &fixed);
  make(size, &pose, 2, 0.3, 10, 0.1, 13, &moved); /* other blobs in the lower 30 % */
  trial_begin(size, "1.1", "", &t);
  run_trial(comm, &t, 1.1, &fixed, &moved);
  check_pose(&t, &pose);
  trial_begin(size, "", "24:50,0:48,0:51", &t);
  run_trial(comm, &t, -INFINITY, &fixed, &moved);
  check_pose(&t, &pose);
  trial_begin(size, "", "all", &t); /* all of it: what does not fit is not trusted */
  run_trial(comm, &t, -INFINITY, &fixed, &moved);
  check_pose(&t, &pose);
  grid_field_free(&fixed);
  grid_field_free(&moved);
}

TEST(noise_alone_has_no_quality) {
  struct grid_field fixed, moved;
  struct trial t;
  make(size, &still, 1, 0, 0, 1, 14, &fixed);
  make(size, &still, 1, 0, 0, 1, 15, &moved);
  trial_begin(size, "", "all", &t);
  run_trial(comm, &t, -INFINITY, &fixed, &moved);
  CHECK(t.report.quality < 0.2, "quality %g", t.report.quality);
  grid_field_free(&fixed);
  grid_field_free(&moved);
}

TEST(a_round_can_has_no_turn_about_its_axis) {
  const struct pose pose = {
      {0.4, -0.8, 0.3},
      {0,   0,    0  }
  };
  struct grid_field field[2];
  struct trial t;
  for (int k = 0; k < 2; k++) {
    make(size, &still, 1, 0, 0, 0.02, 16 + (uint64_t)k, &field[k]);
    float *data = field[k].data;
    for (int64_t i = 0; i < field[k].voxels; i++) {
      double z    = (double)(field[k].mine.start[0] + i / field[k].row[0]) - 24 - k * pose.shift[0],
             y    = (double)(i % field[k].row[0] / 51) - 23.5 - k * pose.shift[1],
             x    = (double)(i % 51) - 25 - k * pose.shift[2];
      double wall = fmin(fmin(hypot(y, x) - 14, 19 - hypot(y, x)), 15 - fabs(z));
      data[i] += (float)(1 / (1 + exp(-2 * wall)));
    }
  }
  trial_begin(size, "", "all", &t);
  run_trial(comm, &t, -INFINITY, &field[0], &field[1]);
  check_pose(&t, &pose);
  CHECK(t.report.held[3] && isnan(t.report.sigma[3]), "the turn about z is not held");
  CHECK(!t.report.held[0] && !t.report.held[2] && !t.report.held[4], "something else is held");
  grid_field_free(&field[0]);
  grid_field_free(&field[1]);
}

TEST(thin_volumes_with_fewer_slices_than_ranks_are_aligned) {
  const struct pose pose = {
      {0,   1.4, -2.3},
      {0.6, 0,   0   }
  };
  const int64_t n[3] = {3, 70, 65};
  struct grid_field fixed, moved;
  struct trial t;
  make(n, &still, 3, 0, 1, 0.01, 17, &fixed);
  make(n, &pose, 3, 0, 1, 0.01, 18, &moved);
  trial_begin(n, "", "all", &t);
  CHECK_OK(config_assign(align_stage.params, &t.params, "rotation", "z", ""));
  run_trial(comm, &t, -INFINITY, &fixed, &moved);
  CHECK(t.report.held[4] && t.report.held[5], "rotations that were not asked for");
  for (int a = 1; a < 3; a++) CHECK_NEAR(t.report.shift_px[a], pose.shift[a], 0.05);
  CHECK_NEAR(t.report.rotation_deg[0], 0.6, 0.05);
  grid_field_free(&fixed);
  grid_field_free(&moved);
}

TEST(resampling_is_exact_for_quadratics_and_takes_the_nearest_beyond) {
  const int64_t n[3]         = {9, 11, 13};
  const struct voxel_map map = {
      {{0.999, 0.02, -0.01}, {-0.02, 0.998, 0.03}, {0.01, -0.03, 0.997}},
      {0.31,                 -0.27,                0.44                }
  };
  struct grid_plan plan;
  struct grid_field from, to;
  const int64_t halo[3] = {4, 0, 0};
  CHECK_OK(grid_plan_slabs(comm, n, 0, &plan));
  CHECK_OK(grid_field_make(comm, &plan, GRID_F32, halo, &from));
  CHECK_OK(grid_field_make(comm, &plan, GRID_F32, NULL, &to));
  for (int64_t z = 0; z < from.mine.n[0]; z++)
    for (int64_t i = 0; i < from.row[0]; i++) {
      double pz = (double)(z + from.mine.start[0]), py = (double)(i / 13), px = (double)(i % 13);
      ((float *)from.data)[(z + 4) * from.row[0] + i] =
          (float)(1 + pz + 2 * py - px + 0.1 * pz * py + 0.05 * px * px);
    }
  CHECK_OK(grid_halo_exchange(comm, &from, GRID_EDGE_KEEP));
  CHECK_OK(voxel_resample(&map, &from, &to));
  for (int64_t i = 0; i < to.voxels; i++) {
    double p[3] = {(double)(to.mine.start[0] + i / to.row[0]), (double)(i % to.row[0] / 13),
                   (double)(i % 13)},
           q[3];
    bool inner = true;
    for (int a = 0; a < 3; a++) {
      q[a] = map.at[a];
      for (int b = 0; b < 3; b++) q[a] += map.turn[a][b] * p[b];
      inner &= q[a] >= 1 && q[a] <= (double)(n[a] - 3);
    }
    double want = 1 + q[0] + 2 * q[1] - q[2] + 0.1 * q[0] * q[1] + 0.05 * q[2] * q[2],
           got  = (double)((float *)to.data)[i];
    if (inner && !CHECK(fabs(got - want) < 1e-4, "voxel %lld: %g, not %g", (long long)i, got, want))
      break;
  }
  grid_field_free(&from);
  grid_field_free(&to);
  grid_plan_free(&plan);
}

/* Waves down to five voxels, turned and shifted: the longer kernel follows them more closely. */
TEST(lanczos_follows_waves_that_cubics_flatten) {
  const int64_t n[3]         = {24, 25, 26};
  const struct voxel_map map = {
      {{1, 0.004, -0.003}, {-0.004, 1, 0.002}, {0.003, -0.002, 1}},
      {0.37,               -0.22,              0.48              }
  };
  struct grid_plan plan;
  struct grid_field from, to;
  double error[2] = {0, 0};
  status_clear();
  CHECK_OK(grid_plan_slabs(MPI_COMM_SELF, n, 0, &plan));
  CHECK_OK(grid_field_make(MPI_COMM_SELF, &plan, GRID_F32, NULL, &from));
  CHECK_OK(grid_field_make(MPI_COMM_SELF, &plan, GRID_F32, NULL, &to));
  for (int64_t z = 0; z < from.mine.n[0]; z++)
    for (int64_t i = 0; i < from.row[0]; i++)
      ((float *)from.data)[z * from.row[0] + i] =
          (float)sin(2 * PI * ((double)z + 2 * (double)(i / 26) + 3 * (double)(i % 26)) / 16);
  for (int kernel = 0; kernel < 2; kernel++) {
    CHECK_OK(voxel_resample_part(&map, n, kernel, &from, &to));
    for (int64_t i = 0; i < to.voxels; i++) {
      double p[3] = {(double)(to.mine.start[0] + i / to.row[0]), (double)(i % to.row[0] / 26),
                     (double)(i % 26)},
             q[3];
      bool inner = true;
      for (int a = 0; a < 3; a++) {
        q[a] = map.at[a];
        for (int b = 0; b < 3; b++) q[a] += map.turn[a][b] * p[b];
        inner &= q[a] >= 2 && q[a] <= (double)(n[a] - 4);
      }
      double want = sin(2 * PI * (q[0] + 2 * q[1] + 3 * q[2]) / 16);
      if (inner) error[kernel] = fmax(error[kernel], fabs((double)((float *)to.data)[i] - want));
    }
  }
  CHECK(error[1] < 0.03 && error[1] < 0.65 * error[0], "errors %g (cubic) and %g", error[0],
        error[1]);
  grid_field_free(&from);
  grid_field_free(&to);
  grid_plan_free(&plan);
}

/* Slices of the aligned volume one, four or all at a time. */
TEST(slices_under_a_map_do_not_depend_on_how_many_are_taken) {
  static const struct pose pose = {
      {-2.37, 5.61, -1.2},
      {0.8,   -0.4, 0.3 }
  };
  const double slope[2] = {0.05, -0.03};
  const int64_t n[3] = {31, 40, 37}, slice = n[1] * n[2];
  const struct voxel_map map = align_level_map(slope, (double[3]){1, 1, 1}, n);
  struct grid_field volume;
  struct trial t;
  float *whole, *part;
  trial_begin(n, "", "all", &t);
  make(n, &pose, 1, 0, 1, 0.03, 11, &volume);
  const struct align_source source = source_of(&volume);
  CHECK_OK(memory_make(n[0] * slice, sizeof *whole, "a volume", &whole));
  CHECK_OK(memory_make(n[0] * slice, sizeof *part, "a volume", &part));
  for (int kernel = 0; kernel < 2; kernel++) {
    CHECK_OK(config_assign(align_stage.params, &t.params, "resampling",
                           kernel ? "lanczos" : "cubic", ""));
    CHECK_OK(align_slices(comm, &t.params, &source, &map, 0, n[0], whole));
    for (int64_t deep = 1; deep < 5; deep += 3) {
      for (int64_t z = 0; z < n[0]; z += deep)
        CHECK_OK(align_slices(comm, &t.params, &source, &map, z, z + deep < n[0] ? deep : n[0] - z,
                              part + z * slice));
      CHECK(memcmp(whole, part, (size_t)(n[0] * slice) * sizeof *part) == 0, "%lld at a time",
            (long long)deep);
    }
  }
  memory_free(whole);
  memory_free(part);
  grid_field_free(&volume);
}

TEST(a_fault_on_one_rank_ends_all) {
  static const char *const sites[] = {"align.look", "align.find", "voxel.shift", "voxel.halve",
                                      "voxel.resample"};
  struct grid_field volume, a, b;
  int ranks;
  MPI_Comm_size(comm, &ranks);
#ifndef XCSCT_FAULTS
  check_skip("built without XCSCT_FAULTS");
  return;
#endif
  make(size, &still, 1, 0, 1, 0, 11, &volume);
  const struct align_source source = source_of(&volume), sources[2] = {source, source};
  for (size_t k = 0; k < sizeof sites / sizeof *sites; k++) {
    struct trial t;
    char fault[64];
    trial_begin(size, "", "all", &t);
    t.view.threshold = -INFINITY;
    snprintf(fault, sizeof fault, "%s:%d", sites[k], ranks - 1);
    if (k) setenv("FAULT", fault, 1);
    CHECK_OK(align_look(comm, &t.params, &source, &t.view, &a));
    if (!k) {
      setenv("FAULT", fault, 1);
      CHECK(align_look(comm, &t.params, &source, &t.view, &b) != STATUS_OK, "%s", fault);
    } else {
      unsetenv("FAULT");
      CHECK_OK(align_look(comm, &t.params, &source, &t.view, &b));
      setenv("FAULT", fault, 1);
      CHECK(align_find(comm, &t.params, &a, &b, sources, &t.view, &t.report) != STATUS_OK, "%s",
            fault);
      grid_field_free(&b);
    }
    unsetenv("FAULT");
    status_clear();
    grid_field_free(&a);
  }
  grid_field_free(&volume);
}
