/* np: 1 2 */
#include "recon_phantom.h"
#include "recon_rings.h"
#include <stdlib.h>
#include <string.h>

static const char *const methods[] = {
    "vo",        "vo-all", "vo-large", "vo-dead", "vo-interpolate",
    "vo-filter", "vo-fit", "fw",       "ti",      "raven"};
enum { METHODS = sizeof methods / sizeof *methods };

static struct recon_rings rings_of(const char *method) {
  return (struct recon_rings){
      .method = method, .width = 21, .wide = 61, .sd = 6, .sigma = 2, .alpha = 0.1};
}

static float noise(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (float)(*state >> 40) / 16777216.0f - 0.5f;
}

/* ---- what each must do ------------------------------------------------------------------------------------------------ */

/* What is smooth over columns stays; a stripe of constant height in it goes. */
enum { ANGLES = 301, COLUMNS = 203, STRIPE = 90 };

static void smooth_scan(float *sinogram, uint64_t seed) {
  for (int a = 0; a < ANGLES; a++)
    for (int c = 0; c < COLUMNS; c++)
      sinogram[a * COLUMNS + c] = 3 + (float)cos(0.008 * c + 0.01 * a) + 0.01f * noise(&seed);
}

static double rms_over(const float *a, const float *b, int from, int to) {
  double sum = 0;
  for (int i = 0; i < ANGLES; i++)
    for (int c = from; c < to; c++)
      sum += pow((double)a[i * COLUMNS + c] - (double)b[i * COLUMNS + c], 2);
  return sqrt(sum / ANGLES / (to - from));
}

TEST(each_method_takes_a_stripe_out_of_a_smooth_sinogram) {
  static float clean[ANGLES * COLUMNS], got[ANGLES * COLUMNS];
  for (int m = 0; m < METHODS; m++) {
    struct recon_rings rings = rings_of(methods[m]);
    bool dead                = strcmp(methods[m], "vo-dead") == 0;
    uint64_t seed            = 5;
    smooth_scan(clean, 1);
    memcpy(got, clean, sizeof got);
    for (int a = 0; a < ANGLES; a++) got[a * COLUMNS + STRIPE] += dead ? 2 * noise(&seed) : 0.2f;
    double before = rms_over(got, clean, STRIPE, STRIPE + 1);
    CHECK_OK(recon_rings_remove(&rings, got, ANGLES, COLUMNS));
    double left = rms_over(got, clean, STRIPE, STRIPE + 1), harm = rms_over(got, clean, 30, 60);
    printf("         %-14s stripe %.4f left of %.4f, harm elsewhere %.5f\n", methods[m], left,
           before, harm);
    CHECK(left < 0.2 * before, "%s: %.4f of %.4f is left", methods[m], left, before);
    CHECK(harm < 0.006, "%s: harm %.4f", methods[m], harm);
  }
}

TEST(nothing_is_done_to_what_has_no_stripes_and_odd_shapes_are_taken) {
  static const int shapes[][2] = {
      {5,  7 },
      {16, 9 },
      {33, 64},
      {64, 33},
      {3,  4 }
  };
  for (int m = 0; m < METHODS; m++)
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
      float sinogram[64 * 64];
      struct recon_rings rings = rings_of(methods[m]);
      int n                    = shapes[k][0] * shapes[k][1];
      for (int i = 0; i < n; i++) sinogram[i] = 1.5f;
      CHECK_OK(recon_rings_remove(&rings, sinogram, shapes[k][0], shapes[k][1]));
      for (int i = 0; i < n; i++)
        CHECK(fabsf(sinogram[i] - 1.5f) < 2e-5f, "%s, %d x %d: a constant becomes %g", methods[m],
              shapes[k][0], shapes[k][1], (double)sinogram[i]);
    }
}

/* The normal equations of Titarenko's least squares, written out. */
TEST(titarenkos_offsets_solve_their_least_squares) {
  enum { C = 23, A = 4 };
  float sinogram[A * C], before[A * C];
  uint64_t seed            = 9;
  struct recon_rings rings = rings_of("ti");
  for (int i = 0; i < A * C; i++) sinogram[i] = before[i] = noise(&seed);
  CHECK_OK(recon_rings_remove(&rings, sinogram, A, C));
  double p[C], q[C];
  for (int c = 0; c < C; c++) {
    p[c] = 0;
    for (int a = 0; a < A; a++) p[c] += (double)before[a * C + c] / A;
    q[c] = (double)sinogram[c] - (double)before[c];
  }
  for (int c = 0; c < C; c++) {
    double slope = rings.alpha * q[c];
    if (c > 0) slope += p[c] + q[c] - p[c - 1] - q[c - 1];
    if (c + 1 < C) slope -= p[c + 1] + q[c + 1] - p[c] - q[c];
    CHECK(fabs(slope) < 1e-6, "column %d: the slope is %g", c, slope);
  }
}

/* Two levels split and joined again are what they were. */
TEST(the_wavelet_is_orthonormal) {
  enum { N = 6, C = 32, TAPS = 10 };
  static const float filter[TAPS] = {
      0.160102397974f,  0.603829269797f, 0.724308528438f,  0.138428145901f,  -0.242294887066f,
      -0.032244869585f, 0.077571493840f, -0.006241490213f, -0.012580751999f, 0.003335725285f};
  float value[N * C], low[N * C / 2], high[N * C / 2], back[N * C];
  uint64_t seed = 2;
  for (int i = 0; i < N * C; i++) value[i] = noise(&seed);
  ISA_PICK(recon_wavelet_split)(value, N, C, filter, TAPS, low, high);
  ISA_PICK(recon_wavelet_join)(low, high, N, C, filter, TAPS, back);
  for (int i = 0; i < N * C; i++)
    CHECK(fabsf(back[i] - value[i]) < 1e-6f, "%d: %g, not %g", i, (double)back[i],
          (double)value[i]);
}

/* ---- a phantom behind a bad detector ------------------------------------------------------------------------------------- */

/* A share of the columns has another gain, which drifts by 30 % of itself, two stripes are wide, two columns are dead.
 * Attenuations of a real sample: the phantom's integrals scaled to 2 at most, with the noise of 20,000 counts. */
enum { WIDEST = 768 };
struct detector {
  uint64_t seed;
  int columns, angles, bad; /* bad columns */
  double gain;
  int wide_at[2], wide[2], dead_at[2];
};

static void spoil(const struct detector *d, float *sinogram, bool dead) {
  uint64_t state      = d->seed;
  double gain[WIDEST] = {0};
  for (int k = 0; k < d->bad; k++) {
    double unit                                = (double)noise(&state) + 0.5;
    gain[20 + (int)(unit * (d->columns - 40))] = noise(&state) > 0 ? d->gain : -d->gain;
  }
  for (int k = 0; k < d->wide[0]; k++) gain[d->wide_at[0] + k] = d->gain;
  for (int k = 0; k < d->wide[1]; k++) gain[d->wide_at[1] + k] = -d->gain;
  for (int a = 0; a < d->angles; a++, sinogram += d->columns) {
    for (int c = 0; c < d->columns; c++)
      sinogram[c] -= (float)log(1 + gain[c] * (0.7 + 0.3 * a / d->angles));
    if (!dead) continue;
    sinogram[d->dead_at[0]] = 4 + noise(&state);
    sinogram[d->dead_at[1]] = 0.3f * noise(&state);
  }
}

/* Rings are what the detector's faults add to a slice, before and after the same removal: mean square of the
 * difference averaged around the axis. */
static double ring_energy(const float *slice, const float *like, int64_t n) {
  double sum[WIDEST] = {0}, count[WIDEST] = {0}, middle = 0.5 * (double)(n - 1), energy = 0,
         all = 0;
  for (int64_t i = 0; i < n * n; i++) {
    double r = hypot((double)(i % n) - middle, (double)(i / n) - middle);
    if (r > 0.9 * middle || r < 4) continue;
    sum[(int)(r + 0.5)] += (double)slice[i] - (double)like[i];
    count[(int)(r + 0.5)]++;
  }
  for (int k = 0; k < WIDEST; k++)
    if (count[k] > 0) energy += sum[k] * sum[k] / count[k], all += count[k];
  return energy / all;
}

/* What a noisy scan of the phantom shows behind that detector, against the same scan behind a good one. */
static void check_phantom(struct scan *s, const struct detector *d, const float *clean,
                          const char *method, bool dead, double fall_least, double growth_most) {
  int64_t samples = s->angles * s->columns, pixels = s->columns * s->columns;
  float *bad = NULL, *good = NULL;
  double scale;
  struct recon_rings rings = rings_of(method);
  struct recon_geometry g  = geometry_of(s, "shepp-logan", 1);
  CHECK_OK(memory_make(2 * samples, sizeof *bad, "sinograms", &bad));
  CHECK_OK(memory_make(pixels, sizeof *good, "a slice", &good));
  memcpy(bad, clean, (size_t)samples * sizeof *bad);
  memcpy(bad + samples, clean, (size_t)samples * sizeof *bad);
  spoil(d, bad, dead);
  CHECK_OK(recon_slices("gridding", &g, clean, 1, good));
  CHECK_OK(recon_slices("gridding", &g, bad, 1, s->slice));
  double rmse_clean = flat_rmse(s, good, &scale), before = ring_energy(s->slice, good, s->columns);
  for (int i = 0; i < 2; i++)
    CHECK_OK(recon_rings_remove(&rings, bad + i * samples, s->angles, s->columns));
  CHECK_OK(recon_slices("gridding", &g, bad + samples, 1, good));
  CHECK_OK(recon_slices("gridding", &g, bad, 1, s->slice));
  double fall = before / ring_energy(s->slice, good, s->columns),
         rmse = flat_rmse(s, s->slice, &scale), growth = rmse / rmse_clean - 1;
  printf(
      "         %-8s %d, %s: ring energy falls %.0f-fold; flat RMSE grows by %.1f %%; scale %.4f\n",
      method, d->columns, dead ? "with dead columns" : "drift and wide stripes", fall, 100 * growth,
      scale);
  CHECK(fall > fall_least && growth < growth_most, "%s: %.1f-fold, RMSE %.1f %%", method, fall,
        100 * growth);
  memory_free(bad);
  memory_free(good);
}

/* The phantom behind a good detector with the noise of 20,000 counts; truth and integrals scaled alike. */
static float *noisy_scan(const struct detector *d, uint64_t seed, struct scan *s) {
  scan_make(d->columns, d->angles, 180, 0.5 * (d->columns - 1) + 0.2, s);
  int64_t samples = s->angles * s->columns;
  float *clean = NULL, most = 0;
  CHECK_OK(memory_make(samples, sizeof *clean, "a sinogram", &clean));
  for (int64_t i = 0; i < samples; i++) most = fmaxf(most, s->sinogram[i]);
  float scale = 2 / most;
  for (int64_t i = 0; i < samples; i++) {
    float sum = 0, value = scale * s->sinogram[i]; /* nearly normal: twelve of them */
    for (int k = 0; k < 12; k++) sum += noise(&seed);
    clean[i] = value + sum * (float)sqrt(exp((double)value) / 20000);
  }
  for (int64_t i = 0; i < s->columns * s->columns; i++) s->truth[i] *= scale;
  return clean;
}

TEST(rings_of_a_bad_detector_fall_twentyfold_and_the_slice_stays) {
  const struct detector d = {
      7, 768, 900, 38, 0.01, {240, 400},
           {7,   7  },
           {500, 560}
  };
  struct scan s;
  int rank;
  MPI_Comm_rank(comm, &rank);
  if (rank > 0) return;
  float *clean = noisy_scan(&d, 3, &s);
  status_clear();
  check_phantom(&s, &d, clean, "vo-all", false, 20, 0.1);
  check_phantom(&s, &d, clean, "vo-all", true, 20, 0.1);
  check_phantom(&s, &d, clean, "vo", false, 3, 0.05);
  check_phantom(&s, &d, clean, "ti", false, 10, 0.05);
  check_phantom(&s, &d, clean, "fw", false, 20, 0.4); /* takes of the object, too */
  memory_free(clean);
  scan_free(&s);
}

/* On this one nothing was chosen. */
TEST(rings_of_another_detector_fall_too) {
  const struct detector d[] = {
      {11, 640, 721, 51, 0.02,  {180, 431}, {4, 12}, {333, 90}},
      {12, 512, 600, 15, 0.006, {150, 300}, {3, 9},  {260, 99}}
  };
  int rank;
  MPI_Comm_rank(comm, &rank);
  for (int k = 0; k < 2 && rank == 0; k++) {
    struct scan s;
    float *clean = noisy_scan(&d[k], 30 + (uint64_t)k, &s);
    status_clear();
    check_phantom(&s, &d[k], clean, "vo-all", false, 20, 0.1);
    memory_free(clean);
    scan_free(&s);
  }
}
