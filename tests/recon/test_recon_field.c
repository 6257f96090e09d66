/* np: 1 2 */
#include "recon_field.h"
#include "check.h"
#include <math.h>
#include <string.h>

/* Ellipses about the axis, in pixels: middle, half axes, tilt and value. */
struct ellipse {
  double x, y, a, b, tilt, value;
};
static const struct ellipse grains[] = {
    {0,   0,   100, 88, 0.3,  0.010 },
    {12,  -30, 30,  18, 1.1,  0.008 },
    {-50, 20,  14,  24, -0.4, -0.006},
    {40,  35,  9,   9,  0,    0.012 },
    {-8,  4,   5,   12, 0.7,  0.010 },
    {5,   62,  11,  6,  0,    -0.004}
};
enum { GRAINS = sizeof grains / sizeof *grains };

static double integral(double s, double th) {
  double sum = 0;
  for (int e = 0; e < GRAINS; e++) {
    const struct ellipse *p = &grains[e];
    double d = s - p->x * cos(th) - p->y * sin(th), c = p->a * cos(th - p->tilt),
           w = p->b * sin(th - p->tilt), extent = c * c + w * w;
    if (d * d < extent) sum += p->value * 2 * p->a * p->b * sqrt(extent - d * d) / extent;
  }
  return sum;
}

static double noise(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (double)(*state >> 40) / 16777216.0 - 0.5;
}

/* Detector averages over sub-rays, five to a pixel: of the pixel alone (reach 2), or of a camera that blurs. */
static void project(int64_t columns, double centre, const double *angle_rad, int64_t angles,
                    double noise_size, int reach, float *sinogram) {
  uint64_t state = 11;
  for (int64_t i = 0; i < angles * columns; i++) {
    double sum   = noise_size * noise(&state);
    double value = 0, weight = 0;
    for (int k = -reach; k <= reach; k++) {
      double w = reach > 2 ? 1 + cos(PI * k / (reach + 1)) : 1;
      value += w * integral((double)(i % columns) + 0.2 * k - centre, angle_rad[i / columns]);
      weight += w;
    }
    sinogram[i] = (float)(sum + value / weight);
  }
}

enum { WHOLE = 213, HALF = 127, TURN = 360, REACH = 14 };

struct turn {
  double angle_rad[TURN], weight_rad[TURN];
  float *whole, *half, *wide, *want, *got;
};

static void turn_make(struct turn *t) {
  memset(t, 0, sizeof *t);
  for (int a = 0; a < TURN; a++) t->angle_rad[a] = 2 * PI * a / TURN;
  status_clear();
  CHECK_OK(recon_weights(t->angle_rad, TURN, t->weight_rad));
  CHECK_OK(memory_make(TURN * WHOLE, sizeof(float), "whole", &t->whole));
  CHECK_OK(memory_make(TURN * WHOLE, sizeof(float), "half", &t->half));
  CHECK_OK(memory_make(TURN * WHOLE, sizeof(float), "wide", &t->wide));
  CHECK_OK(memory_make(WHOLE * WHOLE, sizeof(float), "want", &t->want));
  CHECK_OK(memory_make(WHOLE * WHOLE, sizeof(float), "got", &t->got));
}

static void turn_free(struct turn *t) {
  memory_free(t->whole);
  memory_free(t->half);
  memory_free(t->wide);
  memory_free(t->want);
  memory_free(t->got);
}

static struct recon_geometry geometry_of(const struct turn *t, double centre) {
  return (struct recon_geometry){.columns    = WHOLE,
                                 .angles     = TURN,
                                 .angle_rad  = t->angle_rad,
                                 .weight_rad = t->weight_rad,
                                 .centre_px  = centre,
                                 .filter     = "shepp-logan",
                                 .rolloff    = 1};
}

/* The same detector, once whole and once without its last or first 86 columns. Both halves of a full turn sample
 * the rays at places half a pixel apart when the axis lies at a quarter: sharper projections than a detector's, and
 * the full scan knows more. So the camera blurs here, by 3 px. */
TEST(half_an_acquisition_is_the_full_scans_slice) {
  struct turn t;
  turn_make(&t);
  const double centres[] = {106, 105.75, 106.25};
  for (int i = 0; i < 6; i++) {
    double centre = centres[i / 2], axis = i % 2 ? centre : centre - (WHOLE - HALF);
    int64_t cut = i % 2 ? 0 : WHOLE - HALF;
    struct recon_field field;
    project(WHOLE, centre, t.angle_rad, TURN, 0, REACH, t.whole);
    for (int64_t a = 0; a < TURN; a++)
      memcpy(t.half + a * HALF, t.whole + a * WHOLE + cut, HALF * sizeof(float));
    CHECK_OK(recon_field_make(HALF, axis, true, &field));
    CHECK(field.columns >= WHOLE - 1 && field.columns <= WHOLE + 1, "%lld columns",
          (long long)field.columns);
    CHECK(fabs(field.centre_px - (double)field.shift - axis) < 1e-12, "axis %g", field.centre_px);
    /* of the columns of the field, those of the whole detector */
    int64_t from = field.shift - cut;
    float *line;
    CHECK_OK(memory_make(TURN * field.columns, sizeof *line, "a wide sinogram", &line));
    recon_field_embed(&field, t.half, TURN, line);
    memset(t.wide, 0, TURN * WHOLE * sizeof(float));
    for (int64_t a = 0; a < TURN; a++)
      for (int64_t c = 0; c < WHOLE; c++)
        if (c + from >= 0 && c + from < field.columns)
          t.wide[a * WHOLE + c] = line[a * field.columns + c + from];
    memory_free(line);
    struct recon_geometry g = geometry_of(&t, centre);
    CHECK_OK(recon_slices("gridding", &g, t.whole, 1, t.want));
    CHECK_OK(recon_slices("gridding", &g, t.wide, 1, t.got));
    double worst = 0, most = 0, square = 0;
    for (int64_t k = 0; k < WHOLE * WHOLE; k++) {
      double off = fabs((double)t.got[k] - (double)t.want[k]);
      worst      = fmax(worst, off);
      square += off * off;
      most = fmax(most, fabs((double)t.want[k]));
    }
    printf("         centre %.2f: worst %.1e, rms %.1e of the maximum\n", axis, worst / most,
           sqrt(square / WHOLE / WHOLE) / most);
    CHECK(sqrt(square / WHOLE / WHOLE) < 1e-3 * most, "case %d: rms %g of %g", i,
          sqrt(square / WHOLE / WHOLE), most);
    CHECK(worst < 1e-3 * most, "case %d: %g of %g", i, worst, most);
  }
  turn_free(&t);
}

TEST(the_axis_near_an_edge_is_found_to_a_tenth_of_a_pixel) {
  struct turn t;
  turn_make(&t);
  const double centres[] = {20, 31.3, 12.65, 106.4, 95.15, 114.8, 64.25};
  for (size_t i = 0; i < sizeof centres / sizeof *centres; i++)
    for (int noisy = 0; noisy < 2; noisy++) {
      double found = 0;
      bool edge    = false;
      status_clear();
      project(HALF, centres[i], t.angle_rad, TURN, 0.1 * noisy, 2, t.half);
      CHECK_OK(recon_centre(comm, t.half, t.angle_rad, TURN, HALF, true, &found, &edge));
      printf("         %.2f found as %.2f\n", centres[i], found);
      CHECK(fabs(found - centres[i]) < 0.1 && !edge, "%.2f, not %.2f, noise %d", found, centres[i],
            noisy);
    }
  turn_free(&t);
}

TEST(an_axis_at_the_edge_itself_is_refused) {
  struct recon_field field;
  status_clear();
  CHECK(recon_field_make(100, 0.5, true, &field) == STATUS_USAGE, "too little overlap");
  CHECK(strstr(status_text(), "at least 2") != NULL, "%s", status_text());
  status_clear();
  CHECK_OK(recon_field_make(100, 20, false, &field));
  CHECK(field.columns == 100 && field.shift == 0 && field.overlap_px <= 0, "not extended");
}

/* A disc (or an ellipse, its axes `uneven` times and a part of that) `times` as wide as the field, with grains: the mean over rings, from the middle to 0.95 of the radius of
 * what is seen, leaves the truth by at most this share of it. */
static double cupping(double times, const char *how, bool given, double offset, double uneven) {
  enum { N = 151, P = 180 };
  static double angle[P], weight[P];
  static float sinogram[N * P], slice[N * N];
  double field = 0.5 * (N - 1), radius = times * field, ring[N] = {0}, count[N] = {0};
  for (int a = 0; a < P; a++) angle[a] = PI * a / P;
  CHECK_OK(recon_weights(angle, P, weight));
  for (int i = 0; i < N * P; i++) {
    double s = i % N - field - offset, d = s - 20 * cos(angle[i / N]) - 15 * sin(angle[i / N]);
    sinogram[i] =
        (float)(0.02 * sqrt(fmax(radius * radius - s * s, 0)) + 0.02 * sqrt(fmax(36 - d * d, 0)));
  }
  struct recon_geometry g = {.columns    = N,
                             .angles     = P,
                             .angle_rad  = angle,
                             .weight_rad = weight,
                             .centre_px  = field + offset,
                             .filter     = "shepp-logan",
                             .rolloff    = 1};
  if (how) {
    CHECK_OK(recon_field_filter(&g, how, given ? radius : 0, sinogram, 1));
    g.filter = "none";
  }
  CHECK_OK(recon_slices("gridding", &g, sinogram, 1, slice));
  for (int y = 0; y < N; y++)
    for (int x = 0; x < N; x++) {
      double r = hypot(x - field, y - field);
      if (r > 0.95 * (field - fabs(offset)) || hypot(x - field - 20, y - field - 15) < 9) continue;
      ring[(int)r / 3] += (double)slice[y * N + x];
      count[(int)r / 3]++;
    }
  double low = 1e30, high = -1e30;
  for (int k = 0; k < N; k++)
    if (count[k] > 8) low = fmin(low, ring[k] / count[k]), high = fmax(high, ring[k] / count[k]);
  double off = fmax(fabs(low - 0.01), fabs(high - 0.01)) / 0.01;
  printf("         %.1fx %s %s, oval %g, axis off by %g: cupping %.2f %%, off the truth by at most "
         "%.2f %%\n",
         times, how ? how : "cut", given ? "given" : "found", uneven, offset,
         100 * (high - low) / 0.01, 100 * off);
  return off;
}

TEST(truncated_objects_do_not_cup) {
  status_clear();
  CHECK(cupping(1.3, NULL, false, 0, 1) > 0.2, "the cut is seen without a remedy");
  CHECK(cupping(1.3, "circle", true, 0, 1) < 0.02, "1.3 x, radius given");
  CHECK(cupping(2.0, "circle", true, 0, 1) < 0.02, "2 x, radius given");
  CHECK(cupping(1.3, "circle", true, 6.3, 1) < 0.02, "1.3 x, radius given, axis off the middle");
  CHECK(cupping(1.3, "circle", false, 0, 1) < 0.04, "1.3 x, radius found");
  CHECK(cupping(2.0, "circle", false, 0, 1) < 0.04, "2 x, radius found");
  CHECK(cupping(1.3, "circle", false, -5.5, 1) < 0.04, "1.3 x, radius found, axis off the middle");
  CHECK(cupping(1.5, "circle", true, 0, 1.07) < 0.02, "an oval of 15 %%, mean radius given");
  CHECK(cupping(1.5, "circle", false, 0, 1.07) < 0.04, "an oval of 15 %%, radius found");
  CHECK(cupping(2.0, "taper", false, 0, 1) < 0.5 * cupping(2.0, NULL, false, 0, 1), "2 x, taper");
}

/* Filtering beforehand is what the reconstruction does itself when nothing lies beyond the edges. */
TEST(lines_filtered_beforehand_give_the_same_slice) {
  struct turn t;
  turn_make(&t);
  struct recon_geometry g = geometry_of(&t, 104.7);
  project(WHOLE, g.centre_px, t.angle_rad, TURN, 0, 2, t.whole);
  CHECK_OK(recon_slices("gridding", &g, t.whole, 1, t.want));
  CHECK_OK(recon_field_filter(&g, "circle", 100, t.whole, 1));
  g.filter = "none";
  CHECK_OK(recon_slices("gridding", &g, t.whole, 1, t.got));
  double worst = 0;
  for (int64_t y = 0; y < WHOLE; y++)
    for (int64_t x = 0; x < WHOLE; x++)
      if (hypot((double)x - 106, (double)y - 106) < 0.95 * 106)
        worst = fmax(worst, fabs((double)(t.got[y * WHOLE + x] - t.want[y * WHOLE + x])));
  CHECK(worst < 1e-3 * 0.022, "%g", worst);
  turn_free(&t);
}
