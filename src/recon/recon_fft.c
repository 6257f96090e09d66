/* Plans of the transforms of lines: parts near the square root, radices of least work, twiddles in double. */
#include "recon_batch.h"
#include <math.h>
#include <string.h>

/* Operations per line of a stage: butterfly, and five for its loads, stores and twiddles. */
static const struct {
  int radix;
  double work;
} radices[] = {
    {2,  1 + 5  },
    {3,  2.7 + 5},
    {4,  2 + 5  },
    {5,  4.4 + 5},
    {6,  3.7 + 5},
    {8,  3.5 + 5},
    {10, 5.4 + 5}
};
enum { RADICES = sizeof radices / sizeof *radices };

/* Work per line of `points` in the best order of radices, which is given. */
static double choose_radices(int64_t points, int *radix, int *stages) {
  double best = INFINITY;
  *stages     = 0;
  if (points == 1) return 0;
  for (int i = 0; i < RADICES; i++) {
    int rest[RADICES_MOST], n;
    if (points % radices[i].radix) continue;
    double work = radices[i].work + choose_radices(points / radices[i].radix, rest, &n);
    if (!(work < best) || n + 1 > RADICES_MOST) continue;
    best     = work;
    radix[0] = radices[i].radix;
    memcpy(radix + 1, rest, (size_t)n * sizeof *rest);
    *stages = n + 1;
  }
  return best;
}

/* The second part is even, and the least that is not below the root; but not all. */
static int64_t second_points(int64_t n) {
  int64_t d = 2;
  while (n % d || d % 2 || d * d < n) d++;
  return d < n ? d : 2;
}

static void put_turn(float *to, int64_t product, int64_t n) {
  double angle = -2 * PI * (double)(product % n) / (double)n;
  to[0]        = (float)cos(angle);
  to[1]        = (float)sin(angle);
}

static enum status part_make(int64_t points, struct recon_fft_part *part) {
  part->points = points;
  if (!isfinite(choose_radices(points, part->radix, &part->stages)))
    return FAIL(STATUS_INTERNAL, "a transform of %lld points", (long long)points);
  TRY(memory_make(2 * points + 2, sizeof(float), "twiddles", &part->twiddle));
  float *to    = part->twiddle;
  int64_t left = points;
  for (int s = 0; s < part->stages - 1; s++) {
    int radix   = part->radix[s];
    int64_t all = left;
    left /= radix;
    for (int64_t p = 0; p < left; p++)
      for (int k = 1; k < radix; k++, to += 2) put_turn(to, p * k, all);
  }
  return STATUS_OK;
}

enum status recon_fft_make(int64_t n, struct recon_fft *fft) {
  memset(fft, 0, sizeof *fft);
  fft->n     = n;
  int64_t n2 = second_points(n), n1 = n / n2;
  enum status status = part_make(n1, &fft->first);
  if (status == STATUS_OK) status = part_make(n2, &fft->second);
  if (status == STATUS_OK) status = memory_make(2 * n, sizeof(float), "twiddles", &fft->between);
  for (int64_t j = 0; j < n2 && status == STATUS_OK; j++)
    for (int64_t k = 0; k < n1; k++) put_turn(fft->between + 2 * (j * n1 + k), j * k, n);
  if (status != STATUS_OK) recon_fft_free(fft);
  return status;
}

void recon_fft_free(struct recon_fft *fft) {
  memory_free(fft->first.twiddle);
  memory_free(fft->second.twiddle);
  memory_free(fft->between);
  memset(fft, 0, sizeof *fft);
}

int64_t recon_fft_bytes(int64_t n) { return 12 * n; }

int64_t recon_fft_index(const struct recon_fft *fft, int64_t at) {
  return at / fft->second.points + fft->first.points * (at % fft->second.points);
}

int64_t recon_fft_work_lines(const struct recon_fft *fft) {
  int64_t n1 = fft->first.points, n2 = fft->second.points;
  return n1 * (n2 + 1) + 2 * (n1 > n2 ? n1 : n2);
}
