/* np: 1 2 */
#include "recon_phantom.h"
#include <stdlib.h>
#include <string.h>

static const char *const isas[] = {"baseline", "avx2", "avx512"};

/* Runs `work` on every instruction set of this machine. */
static int on_each_isa(MPI_Comm comm, void (*work)(MPI_Comm, const char *)) {
  int ran = 0;
  for (int i = 0; i < 3; i++) {
    status_clear();
    if (isa_agree(comm, isas[i]) != STATUS_OK) continue;
    work(comm, isas[i]);
    ran++;
  }
  status_clear();
  (void)isa_agree(comm, NULL);
  return ran;
}

static uint64_t noise_state;
static float noise(void) {
  noise_state = noise_state * 6364136223846793005u + 1442695040888963407u;
  return (float)(noise_state >> 40) / 16777216.0f;
}

/* ---- the definition ------------------------------------------------------------------------------------------------ */

struct noisy {
  int columns, angles, pad, slices;
  double *angle_rad, *weight_rad, (*spectrum)[2]; /* [slice][angle][pad / 2] */
  float *sinogram, *slice;
};

/* The transform at frequency k of `columns` values; turn[i] = exp(-2 pi i i / pad). */
static void transform_at(const float *value, int columns, int k, int pad, const double (*turn)[2],
                         double out[2]) {
  out[0] = out[1] = 0;
  for (int c = 0, at = 0; c < columns; c++, at = (at + k) % pad) {
    out[0] += (double)value[c] * turn[at][0];
    out[1] += (double)value[c] * turn[at][1];
  }
}

/* Noise, about a disc of `disc` at its middle, at uneven angles; the transform of each projection times the ramp of its
 * spatial kernel. */
static void noisy_make(int columns, int angles, int pad, int slices, float disc, struct noisy *s) {
  int64_t lines = slices * angles;
  double(*turn)[2];
  *s = (struct noisy){.columns = columns, .angles = angles, .pad = pad, .slices = slices};
  CHECK_OK(memory_make(angles, sizeof(double), "angles", &s->angle_rad));
  CHECK_OK(memory_make(angles, sizeof(double), "weights", &s->weight_rad));
  CHECK_OK(memory_make(lines * pad / 2, sizeof *s->spectrum, "spectrum", &s->spectrum));
  CHECK_OK(memory_make(lines * columns, sizeof(float), "sinogram", &s->sinogram));
  CHECK_OK(memory_make(slices * columns * columns, sizeof(float), "slices", &s->slice));
  CHECK_OK(memory_make(pad, sizeof *turn, "turns", &turn));
  for (int k = 0; k < pad; k++)
    turn[k][0] = cos(2 * PI * k / pad), turn[k][1] = -sin(2 * PI * k / pad);
  noise_state = 3;
  for (int a = 0; a < angles; a++)
    s->angle_rad[a] = PI * (a * 10 % angles + 0.4 * (double)noise()) / angles;
  CHECK_OK(recon_weights(s->angle_rad, angles, s->weight_rad));
  for (int64_t i = 0; i < lines * columns; i++) {
    double t       = ((double)(i % columns) - 0.47 * columns) / (0.4 * columns);
    s->sinogram[i] = noise() - 0.5f + disc * (float)sqrt(fmax(1 - t * t, 0));
  }
  for (int k = 0; k < pad / 2; k++) {
    double ramp = 0.25;
    for (int d = 1; d < pad / 2; d += 2) ramp -= 2 / (PI * PI * d * d) * turn[k * d % pad][0];
    for (int64_t i = 0; i < lines; i++) {
      double *to = s->spectrum[i * pad / 2 + k];
      transform_at(s->sinogram + i * columns, columns, k, pad, (const double(*)[2])turn, to);
      to[0] *= ramp / pad, to[1] *= ramp / pad;
    }
  }
  memory_free(turn);
}

static void noisy_free(struct noisy *s) {
  memory_free(s->angle_rad);
  memory_free(s->weight_rad);
  memory_free(s->spectrum);
  memory_free(s->sinogram);
  memory_free(s->slice);
}

/* The direct double sum of the interpolated, filtered projections at a pixel. */
static double definition(const struct noisy *s, int slice, double centre, double x, double y) {
  double sum = 0;
  for (int a = 0; a < s->angles; a++) {
    const double(*f)[2] = (const double(*)[2])s->spectrum + (slice * s->angles + a) * s->pad / 2;
    double at = centre + x * cos(s->angle_rad[a]) + y * sin(s->angle_rad[a]), value = f[0][0];
    for (int k = 1; k < s->pad / 2; k++) {
      double phase = 2 * PI * k * at / s->pad;
      value += 2 * (f[k][0] * cos(phase) - f[k][1] * sin(phase));
    }
    sum += s->weight_rad[a] * value;
  }
  return sum;
}

/* Rms error of pixels within `most` columns of the middle, of the rms. */
static double error_of(const struct noisy *s, double centre, int step, double most) {
  double error = 0, size = 0, middle = 0.5 * (s->columns - 1);
  for (int i = 0; i < s->slices; i++)
    for (int y = i; y < s->columns; y += step)
      for (int x = 1; x < s->columns; x += step - 1) {
        if (hypot(x - middle, y - middle) > most * s->columns) continue;
        double want = definition(s, i, centre, x - middle, y - middle),
               have = (double)s->slice[(i * s->columns + y) * s->columns + x];
        error += pow(have - want, 2);
        size += want * want;
      }
  return sqrt(error / size);
}

static void reconstruct_noisy(const struct noisy *s, double centre, int pad) {
  struct recon_geometry g = {.columns    = s->columns,
                             .angles     = s->angles,
                             .angle_rad  = s->angle_rad,
                             .weight_rad = s->weight_rad,
                             .centre_px  = centre,
                             .filter     = "ramp",
                             .rolloff    = 1,
                             .pad        = pad};
  CHECK_OK(recon_slices("gridding", &g, s->sinogram, s->slices, s->slice));
}

static void check_definition(MPI_Comm comm, const char *isa) {
  const double centre = 21.7;
  struct noisy s;
  (void)comm;
  noisy_make(46, 37, 96, 5, 0, &s);
  reconstruct_noisy(&s, centre, s.pad);
  double error = error_of(&s, centre, 5, 0.5);
  CHECK(error < 1.2e-4, "%s: rms error %.2e of the rms", isa, error);
  noisy_free(&s);
}

TEST(gridding_is_its_definition_on_every_instruction_set) {
  CHECK(on_each_isa(comm, check_definition) >= 1, "no instruction set");
}

/* From 512 columns on a projection is sampled more thinly: with an even and an odd width, an axis off the middle, with
 * noise alone and with a disc of which the noise is 0.7 %. */
static void check_wide(MPI_Comm comm, const char *isa) {
  static const struct {
    int columns, angles, pad; /* pad: twice the grid's side */
    double centre;
    float disc;
    double most;
  } cases[] = {
      {512, 6,  1280, 255.9, 0,  2.5e-4},
      {512, 91, 1280, 255.9, 40, 1e-4  },
      {521, 6,  1440, 302,   0,  1e-4  }
  };
  (void)comm;
  for (int i = 0; i < 3; i++) {
    struct noisy s;
    noisy_make(cases[i].columns, cases[i].angles, cases[i].pad, 2, cases[i].disc, &s);
    reconstruct_noisy(&s, cases[i].centre, 0);
    double error = error_of(&s, cases[i].centre, 27, 0.5);
    CHECK(error < cases[i].most, "%s, case %d: rms error %.2e of the rms", isa, i, error);
    if (strcmp(isa, "avx512") == 0)
      printf("         %d columns, disc %g: %.2e of the rms\n", cases[i].columns,
             (double)cases[i].disc, error);
    noisy_free(&s);
  }
}

TEST(wide_detectors_are_reconstructed_by_the_same_definition) {
  CHECK(on_each_isa(comm, check_wide) >= 1, "no instruction set");
}

/* ---- batches ---------------------------------------------------------------------------------------------------------- */

static void check_batches(MPI_Comm comm, const char *isa) {
  enum { COLUMNS = 67, ANGLES = 41, MANY = 37 };
  double angle_rad[ANGLES], weight_rad[ANGLES];
  float *sinogram = NULL, *all = NULL, *some = NULL;
  (void)comm;
  for (int a = 0; a < ANGLES; a++) angle_rad[a] = PI * a / ANGLES;
  CHECK_OK(recon_weights(angle_rad, ANGLES, weight_rad));
  CHECK_OK(memory_make(MANY * ANGLES * COLUMNS, sizeof *sinogram, "sinograms", &sinogram));
  CHECK_OK(memory_make(MANY * COLUMNS * COLUMNS, sizeof *all, "slices", &all));
  CHECK_OK(memory_make(MANY * COLUMNS * COLUMNS, sizeof *some, "slices", &some));
  for (int i = 0; i < MANY * ANGLES * COLUMNS; i++) sinogram[i] = noise();
  struct recon_geometry g = {.columns    = COLUMNS,
                             .angles     = ANGLES,
                             .angle_rad  = angle_rad,
                             .weight_rad = weight_rad,
                             .centre_px  = 33.25,
                             .filter     = "hann",
                             .rolloff    = 1};
  struct recon_work *work = NULL;
  CHECK_OK(recon_work_make("gridding", &g, &work));
  CHECK_OK(recon_work_slices(work, sinogram, MANY, all));
  for (int first = 0, n = 2; first < MANY; first += n, n = n == 2 ? 6 : n == 6 ? 18 : 2)
    CHECK_OK(recon_work_slices(work, sinogram + first * ANGLES * COLUMNS,
                               MANY - first < n ? MANY - first : n,
                               some + first * COLUMNS * COLUMNS));
  CHECK(memcmp(all, some, MANY * COLUMNS * COLUMNS * sizeof *all) == 0,
        "%s: a slice's bits depend on the others of its batch", isa);
  recon_work_free(&work);
  memory_free(sinogram);
  memory_free(all);
  memory_free(some);
}

TEST(bits_of_a_pair_do_not_depend_on_its_batch) {
  CHECK(on_each_isa(comm, check_batches) >= 1, "no instruction set");
}

TEST(lengths_of_all_kinds_are_transformed) {
  static const int64_t columns[] = {4, 5, 9, 24, 75, 81, 96, 100, 125, 162};
  for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
    struct scan s;
    double scale;
    if (columns[i] < 24) { /* too small to hold the phantom: only that it runs and stays finite */
      float sinogram[9 * 7], slice[81];
      double angle_rad[7], weight_rad[7];
      for (int k = 0; k < 63; k++) sinogram[k] = 1;
      for (int a = 0; a < 7; a++) angle_rad[a] = PI * a / 7;
      CHECK_OK(recon_weights(angle_rad, 7, weight_rad));
      struct recon_geometry g = {.columns    = columns[i],
                                 .angles     = 7,
                                 .angle_rad  = angle_rad,
                                 .weight_rad = weight_rad,
                                 .centre_px  = 2,
                                 .filter     = "ramp",
                                 .rolloff    = 1};
      CHECK_OK(recon_slices("gridding", &g, sinogram, 1, slice));
      for (int k = 0; k < columns[i] * columns[i]; k++)
        CHECK(isfinite(slice[k]), "%lld columns", (long long)columns[i]);
      continue;
    }
    scan_make(columns[i], 2 * columns[i], 180, 0.5 * (double)(columns[i] - 1), &s);
    struct recon_geometry g = geometry_of(&s, "hann", 1);
    CHECK_OK(recon_slices("gridding", &g, s.sinogram, 1, s.slice));
    double rmse = flat_rmse(&s, s.slice, &scale);
    CHECK(columns[i] < 75 || (rmse < 0.03 && fabs(scale - 1) < 0.01),
          "%lld columns: RMSE %.4f %.4f", (long long)columns[i], rmse, scale);
    scan_free(&s);
  }
}

/* ---- accuracy with the width of edges ----------------------------------------------------------------------------------- */

TEST(flat_regions_edges_and_scale_at_512_by_720) {
  struct scan s;
  scan_make(512, 720, 180, 255.5, &s);
  check_sharpness(&s, 0.8, 0.006, 1.13);
  check_sharpness(&s, 0.6, 0.004, 1.25);
  scan_free(&s);
}

TEST(gridding_and_direct_agree_to_a_thousandth) {
  struct scan s;
  float *direct = NULL;
  scan_make(129, 200, 180, 64, &s);
  struct recon_geometry g = geometry_of(&s, "ramp", 0.8);
  CHECK_OK(memory_make(s.columns * s.columns, sizeof *direct, "slice", &direct));
  CHECK_OK(recon_slices("gridding", &g, s.sinogram, 1, s.slice));
  CHECK_OK(recon_slices("direct", &g, s.sinogram, 1, direct));
  double worst = 0, most = 0;
  for (int64_t i = 0; i < s.columns * s.columns; i++) {
    double x = (double)(i % s.columns) - s.radius, y = (double)(i / s.columns) - s.radius;
    if (hypot(x, y) > s.radius) continue;
    worst = fmax(worst, fabs((double)direct[i] - (double)s.slice[i]));
    most  = fmax(most, fabs((double)s.slice[i]));
  }
  CHECK(worst < 1e-3 * most, "they differ by %.2e of the maximum", worst / most);
  memory_free(direct);
  scan_free(&s);
}

/* ---- what stands before ------------------------------------------------------------------------------------------------------ */

struct ranked {
  float value;
  int angle;
};
static int by_value(const void *a, const void *b) {
  const struct ranked *x = a, *y = b;
  if (x->value != y->value) return x->value < y->value ? -1 : 1;
  return x->angle - y->angle;
}
static int ascending(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

/* By the book: sort columns, median across, sort back. */
static void unstripe_plainly(float *sinogram, int angles, int columns, int width) {
  struct ranked *all = calloc((size_t)(angles * columns), sizeof *all);
  float *window      = calloc((size_t)width, sizeof *window);
  for (int c = 0; c < columns && all && window; c++) {
    for (int a = 0; a < angles; a++)
      all[c * angles + a] = (struct ranked){sinogram[a * columns + c], a};
    qsort(all + c * angles, (size_t)angles, sizeof *all, by_value);
  }
  for (int c = 0; c < columns && all && window; c++)
    for (int r = 0; r < angles; r++) {
      for (int k = 0; k < width; k++) {
        int at = c + k - width / 2;
        while (at < 0 || at >= columns) at = at < 0 ? -1 - at : 2 * columns - 1 - at;
        window[k] = all[at * angles + r].value;
      }
      qsort(window, (size_t)width, sizeof *window, ascending);
      sinogram[all[c * angles + r].angle * columns + c] = window[width / 2];
    }
  free(all);
  free(window);
}

static void check_sorting(MPI_Comm comm, const char *isa) {
  static const int cases[][3] = {
      {61,  37,  5 },
      {64,  48,  21},
      {3,   19,  31},
      {50,  4,   9 },
      {130, 113, 3 }
  };
  (void)comm;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const int angles = cases[i][0], columns = cases[i][1], width = cases[i][2],
              n = angles * columns;
    float fast[130 * 113], plain[130 * 113];
    for (int k = 0; k < n; k++) fast[k] = noise() - 0.5f;
    for (int a = 0; a < angles; a++) fast[a * columns + 1] = 0.25f;    /* all alike */
    for (int a = 0; a < angles; a += 3) fast[a * columns + 2] = -1.0f; /* ties */
    fast[(angles - 1) * columns + 3] = 1e20f; /* makes the others alike to a scaled key */
    memcpy(plain, fast, (size_t)n * sizeof *fast);
    unstripe_plainly(plain, angles, columns, width);
    CHECK_OK(recon_unstripe(fast, angles, columns, width));
    CHECK(memcmp(fast, plain, (size_t)n * sizeof *fast) == 0, "%s: case %zu", isa, i);
  }
}

TEST(stripe_sorting_is_what_the_book_says) {
  CHECK(on_each_isa(comm, check_sorting) >= 1, "no instruction set");
}

static void check_logarithm(MPI_Comm comm, const char *isa) {
  enum { ANGLES = 301, COLUMNS = 5 };
  const float flat[COLUMNS] = {101, 5001, 65001, 2, 1}, dark[COLUMNS] = {1, 1, 1, 1, 1};
  float sinogram[ANGLES * COLUMNS], counts[ANGLES * COLUMNS];
  double worst = 0;
  (void)comm;
  for (int i = 0; i < ANGLES * COLUMNS; i++)
    sinogram[i] = counts[i] = 1 + (float)exp(-10 + 0.06 * (i / COLUMNS)) * (flat[i % COLUMNS] - 1);
  int64_t bad = recon_attenuation(sinogram, 1, ANGLES, COLUMNS, flat, dark, true);
  for (int i = 0; i < ANGLES * COLUMNS; i++) {
    int c = i % COLUMNS;
    if (c == 4) continue;
    double want = -log(((double)counts[i] - 1) / ((double)flat[c] - 1));
    worst       = fmax(worst, fabs((double)sinogram[i] - want) / fmax(fabs(want), 1));
  }
  CHECK(worst < 3e-7, "%s: the logarithm is off by %.1e", isa, worst);
  CHECK(bad == ANGLES, "%s: %lld bad values of a column without a flat, not %d", isa,
        (long long)bad, ANGLES);
}

TEST(logarithms_are_right_on_every_instruction_set) {
  CHECK(on_each_isa(comm, check_logarithm) >= 1, "no instruction set");
}
