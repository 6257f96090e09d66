/* Complex transforms of lines: n = n1 n2 (Cooley and Tukey 1965), each part by Stockham's self-sorting stages in a
 * buffer that stays in the first cache, so that memory is passed through twice. */
#include "recon_batch.h"
#include "recon_vector.h"

enum { RADIX_MOST = 10, CACHE_FLOATS = 16 };

/* ---- transforms of a few lines in registers, exp(-2 pi i j k / radix) ---------------------------------------- */

INLINE void dft2(vec *x) {
  vec a = x[0], b = x[1];
  x[0] = a + b;
  x[1] = a - b;
}

INLINE void dft3(vec *x) {
  const float s = 0.866025403784438647f;
  vec sum = x[1] + x[2], turned = (x[1] - x[2]) * s, rest = x[0] - sum * 0.5f;
  x[0] += sum;
  x[1] = vec_minus_i(rest, turned);
  x[2] = vec_plus_i(rest, turned);
}

INLINE void dft4(vec *x) {
  vec a = x[0] + x[2], b = x[0] - x[2], c = x[1] + x[3], d = x[1] - x[3];
  x[0] = a + c;
  x[2] = a - c;
  x[1] = vec_minus_i(b, d);
  x[3] = vec_plus_i(b, d);
}

INLINE void dft5(vec *x) {
  const float c1 = 0.309016994374947424f, c2 = -0.809016994374947424f, s1 = 0.951056516295153572f,
              s2 = 0.587785252292473129f;
  vec a = x[1] + x[4], b = x[1] - x[4], c = x[2] + x[3], d = x[2] - x[3];
  vec t1 = x[0] + a * c1 + c * c2, t2 = x[0] + a * c2 + c * c1;
  vec u1 = b * s1 + d * s2, u2 = b * s2 - d * s1;
  x[0] += a + c;
  x[1] = vec_minus_i(t1, u1);
  x[4] = vec_plus_i(t1, u1);
  x[2] = vec_minus_i(t2, u2);
  x[3] = vec_plus_i(t2, u2);
}

/* By Good's prime factors: no twiddles. */
INLINE void dft6(vec *x) {
  vec even[3] = {x[0], x[2], x[4]}, odd[3] = {x[3], x[5], x[1]};
  dft3(even);
  dft3(odd);
  UNROLLED
  for (int k = 0; k < 3; k++) {
    x[4 * k % 6]       = even[k] + odd[k];
    x[(4 * k + 3) % 6] = even[k] - odd[k];
  }
}

INLINE void dft8(vec *x) {
  const float h = 0.707106781186547524f;
  vec even[4] = {x[0], x[2], x[4], x[6]}, odd[4] = {x[1], x[3], x[5], x[7]};
  dft4(even);
  dft4(odd);
  vec one = vec_minus_i(odd[1], odd[1]) * h, three = vec_plus_i(odd[3], odd[3]) * h;
  x[0] = even[0] + odd[0];
  x[4] = even[0] - odd[0];
  x[1] = even[1] + one;
  x[5] = even[1] - one;
  x[2] = vec_minus_i(even[2], odd[2]);
  x[6] = vec_plus_i(even[2], odd[2]);
  x[3] = even[3] - three;
  x[7] = even[3] + three;
}

INLINE void dft10(vec *x) {
  vec even[5], odd[5];
  UNROLLED
  for (int i = 0; i < 5; i++) even[i] = x[2 * i], odd[i] = x[(2 * i + 5) % 10];
  dft5(even);
  dft5(odd);
  UNROLLED
  for (int k = 0; k < 5; k++) {
    x[6 * k % 10]       = even[k] + odd[k];
    x[(6 * k + 5) % 10] = even[k] - odd[k];
  }
}

INLINE void dft(int radix, vec *x) {
  switch (radix) {
  case 2:
    dft2(x);
    break;
  case 3:
    dft3(x);
    break;
  case 4:
    dft4(x);
    break;
  case 5:
    dft5(x);
    break;
  case 6:
    dft6(x);
    break;
  case 8:
    dft8(x);
    break;
  default:
    dft10(x);
  }
}

/* ---- stages ------------------------------------------------------------------------------------------------------ */

/* Lines at from + i step; from line `count` on they are 0. */
struct lines {
  const float *from;
  int64_t step, count;
};

INLINE vec line_at(struct lines in, int64_t i) {
  return i < in.count ? vec_get(in.from + i * in.step) : (vec){0};
}

/* All but the last stage: `done` is the product of the radices before, `left` of those after. */
INLINE void stage(int radix, struct lines in, int64_t done, int64_t left, const float *twiddle,
                  float *to) {
  for (int64_t p = 0; p < left; p++, twiddle += 2 * (radix - 1))
    for (int64_t q = 0; q < done; q++) {
      vec x[RADIX_MOST];
      float *y = to + (q + done * radix * p) * LANES;
      UNROLLED
      for (int k = 0; k < radix; k++) x[k] = line_at(in, q + done * (p + left * k));
      dft(radix, x);
      vec_put(y, x[0]);
      UNROLLED
      for (int k = 1; k < radix; k++)
        vec_put(y + k * done * LANES, vec_times(x[k], twiddle[2 * k - 2], twiddle[2 * k - 1]));
    }
}

/* Where output i goes: to + (place ? place[i] : i) step, times factor[i] if there is one. */
struct slots {
  float *to;
  int64_t step;
  const int32_t *place;
  const float *factor;
};

INLINE void last_stage(int radix, bool placed, bool times, struct lines in, int64_t done,
                       struct slots out) {
  for (int64_t q = 0; q < done; q++) {
    vec x[RADIX_MOST];
    UNROLLED
    for (int k = 0; k < radix; k++) x[k] = line_at(in, q + done * k);
    dft(radix, x);
    UNROLLED
    for (int k = 0; k < radix; k++) {
      int64_t i = q + done * k;
      if (times) x[k] = vec_times(x[k], out.factor[2 * i], out.factor[2 * i + 1]);
      vec_put(out.to + (placed ? out.place[i] : i) * out.step, x[k]);
    }
  }
}

#define BY_RADIX(r, f, ...)                                                                        \
  switch (r) {                                                                                     \
  case 2:                                                                                          \
    f(2, __VA_ARGS__);                                                                             \
    break;                                                                                         \
  case 3:                                                                                          \
    f(3, __VA_ARGS__);                                                                             \
    break;                                                                                         \
  case 4:                                                                                          \
    f(4, __VA_ARGS__);                                                                             \
    break;                                                                                         \
  case 5:                                                                                          \
    f(5, __VA_ARGS__);                                                                             \
    break;                                                                                         \
  case 6:                                                                                          \
    f(6, __VA_ARGS__);                                                                             \
    break;                                                                                         \
  case 8:                                                                                          \
    f(8, __VA_ARGS__);                                                                             \
    break;                                                                                         \
  default:                                                                                         \
    f(10, __VA_ARGS__);                                                                            \
  }

/* All stages of one part; `buffer` holds twice its points. */
INLINE void part(const struct recon_fft_part *fft, struct lines in, float *buffer, bool placed,
                 bool times, struct slots out) {
  int64_t done = 1, left = fft->points;
  const float *twiddle = fft->twiddle;
  float *to = buffer, *other = buffer + fft->points * LANES;
  int last = fft->stages - 1;
  for (int s = 0; s < last; s++) {
    int radix = fft->radix[s];
    left /= radix;
    BY_RADIX(radix, stage, in, done, left, twiddle, to)
    twiddle += 2 * (radix - 1) * left;
    done *= radix;
    in          = (struct lines){to, LANES, fft->points};
    float *swap = to;
    to = other, other = swap;
  }
  BY_RADIX(fft->radix[last], last_stage, placed, times, in, done, out)
}

/* Part k of n of what will be wanted next. */
INLINE void fetch_next(const struct recon_fft_next *next, int64_t k, int64_t n) {
  int64_t from = k * next->floats / n, to = (k + 1) * next->floats / n;
  for (int r = 0; r < next->rows; r++)
    for (int64_t i = from / CACHE_FLOATS * CACHE_FLOATS; i < to; i += CACHE_FLOATS)
      __builtin_prefetch(next->row[r] + i, 0, 2);
}

void ISA_NAME(recon_fft_lines)(const struct recon_fft *fft, const float *in, int64_t in_step,
                               int64_t count, const int32_t *place, const float *factor,
                               const struct recon_fft_next *next, float *work, float *out) {
  int64_t n1 = fft->first.points, n2 = fft->second.points;
  int64_t pitch = n2 + 1; /* columns of the middle in different sets of a cache */
  float *buffer = work + n1 * pitch * LANES;
  for (int64_t j = 0; j < n2; j++) {
    struct lines from = {in + j * in_step, n2 * in_step, count > j ? (count - j + n2 - 1) / n2 : 0};
    struct slots to   = {work + j * LANES, pitch * LANES, NULL, fft->between + 2 * j * n1};
    part(&fft->first, from, buffer, false, true, to);
  }
  for (int64_t k = 0; k < n1; k++) {
    if (next) fetch_next(next, k, n1);
    struct lines from = {work + k * pitch * LANES, LANES, n2};
    struct slots to   = {out, LANES, place + k * n2, factor ? factor + 2 * k * n2 : NULL};
    if (factor)
      part(&fft->second, from, buffer, true, true, to);
    else
      part(&fft->second, from, buffer, true, false, to);
  }
}
