/* Kernel: one pass over the voxels. Planes are pipelined: while plane k takes the coarse correction,
 * plane k-1 gets the first half sweep of red-black Gauss-Seidel, k-2 the second, and so on; the
 * residual of the planes that are done is summed into boxes. So x goes through memory once per
 * cycle. Blocked voxels hold 0 and have no weight. With one conductance, a voxel's code is the sum
 * of its open faces (a Dirichlet face counts 2, its halo cell holds twice the face's potential);
 * otherwise the code names the resistance and face conductances 2/(r_i + r_j) are made on the way
 * (Dirichlet: r = 0, half a voxel). */
#include "flux_inner.h"
#include <string.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif
#define INLINE static inline __attribute__((always_inline))

/* Row of planes k, j; empty outside. */
INLINE int64_t at(const struct flux_view *v, int64_t k, int64_t j) {
  return v->origin + k * v->plane + j * v->row;
}

#ifdef __AVX512F__
typedef __m512 vec;
INLINE vec load(const float *p) { return _mm512_loadu_ps(p); }
INLINE __m512i codes(const uint8_t *p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
}
INLINE vec resistance(vec table, const uint8_t *p) {
  return _mm512_permutexvar_ps(codes(p), table);
}
/* 2/(a+b) to the last bit or two: estimate and one Newton step. */
INLINE vec conductance(vec a, vec b) {
  const vec s = _mm512_add_ps(a, b), y = _mm512_rcp14_ps(s);
  const vec e = _mm512_fnmadd_ps(s, y, _mm512_set1_ps(2));
  return _mm512_mul_ps(_mm512_add_ps(y, y), e);
}
INLINE vec left(vec here, vec before) {
  return _mm512_castsi512_ps(
      _mm512_alignr_epi32(_mm512_castps_si512(here), _mm512_castps_si512(before), 15));
}
INLINE vec right(vec here, vec after) {
  return _mm512_castsi512_ps(
      _mm512_alignr_epi32(_mm512_castps_si512(after), _mm512_castps_si512(here), 1));
}
INLINE __mmask16 tail(int64_t left_over) {
  return (__mmask16)(left_over >= 16 ? 0xffff : (1u << left_over) - 1);
}
/* Sum of weight times neighbour, and of weights, of 16 voxels of several conductances. */
INLINE vec neighbours(const struct flux_view *v, vec table, int64_t p, vec l, vec r, vec *total) {
  const float *x   = v->x + p;
  const uint8_t *c = v->code + p;
  const vec here   = resistance(table, c);
  const vec wz = _mm512_set1_ps(v->weight[0]), wy = _mm512_set1_ps(v->weight[1]);
  const vec wx      = _mm512_set1_ps(v->weight[2]);
  const int64_t row = v->row, plane = v->plane;
  const vec a0 = conductance(here, resistance(table, c - plane));
  const vec a1 = conductance(here, resistance(table, c + plane));
  const vec b0 = conductance(here, resistance(table, c - row));
  const vec b1 = conductance(here, resistance(table, c + row));
  const vec c0 = conductance(here, resistance(table, c - 1));
  const vec c1 = conductance(here, resistance(table, c + 1));
  const vec z  = _mm512_fmadd_ps(a0, load(x - plane), _mm512_mul_ps(a1, load(x + plane)));
  const vec y  = _mm512_fmadd_ps(b0, load(x - row), _mm512_mul_ps(b1, load(x + row)));
  const vec s  = _mm512_fmadd_ps(c0, l, _mm512_mul_ps(c1, r));
  *total       = _mm512_fmadd_ps(
            wz, _mm512_add_ps(a0, a1),
            _mm512_fmadd_ps(wy, _mm512_add_ps(b0, b1), _mm512_mul_ps(wx, _mm512_add_ps(c0, c1))));
  return _mm512_fmadd_ps(wz, z, _mm512_fmadd_ps(wy, y, _mm512_mul_ps(wx, s)));
}
INLINE vec neighbours_uniform(const struct flux_view *v, int64_t p, vec l, vec r) {
  const float *x = v->x + p;
  const vec z    = _mm512_add_ps(load(x - v->plane), load(x + v->plane));
  const vec y    = _mm512_add_ps(load(x - v->row), load(x + v->row));
  return _mm512_add_ps(_mm512_add_ps(z, y), _mm512_add_ps(l, r));
}
INLINE void relax_row(const struct flux_view *v, int64_t p, int colour, bool uniform, bool rhs) {
  const vec table      = load(v->inverse);
  const __mmask16 half = colour ? 0xAAAA : 0x5555;
  vec before = load(v->x + p - 16), here = load(v->x + p);
  for (int64_t i = 0; i < v->n[2]; i += 16, p += 16) {
    const vec after = load(v->x + p + 16), l = left(here, before), r = right(here, after);
    __mmask16 m = half & tail(v->n[2] - i);
    vec s, result;
    if (uniform) {
      s = neighbours_uniform(v, p, l, r);
      if (rhs) s = _mm512_add_ps(s, load(v->rhs + p));
      result = _mm512_mask_mul_ps(here, m, s, resistance(table, v->code + p));
    } else {
      vec total;
      s = neighbours(v, table, p, l, r, &total);
      if (rhs) s = _mm512_add_ps(s, load(v->rhs + p));
      m &= _mm512_test_epi32_mask(codes(v->code + p), _mm512_set1_epi32(CODE_MASK));
      result = _mm512_mask_div_ps(here, m, s, total);
    }
    _mm512_storeu_ps(v->x + p, result);
    before = here;
    here   = after;
  }
}
INLINE void residual_row(const struct flux_view *v, int64_t p, float *sum, bool uniform, bool rhs) {
  const vec table = load(v->inverse);
  vec before = load(v->x + p - 16), here = load(v->x + p);
  for (int64_t i = 0; i < v->n[2]; i += 16, p += 16) {
    const vec after = load(v->x + p + 16), l = left(here, before), r = right(here, after);
    const __m512i c   = _mm512_and_si512(codes(v->code + p), _mm512_set1_epi32(CODE_MASK));
    const __mmask16 m = _mm512_test_epi32_mask(c, c) & tail(v->n[2] - i);
    vec total         = _mm512_cvtepi32_ps(c);
    vec s = uniform ? neighbours_uniform(v, p, l, r) : neighbours(v, table, p, l, r, &total);
    if (rhs) s = _mm512_add_ps(s, load(v->rhs + p));
    const vec res = _mm512_maskz_fnmadd_ps(m, total, here, s);
    _mm512_storeu_ps(sum + i, _mm512_add_ps(load(sum + i), res));
    before = here;
    here   = after;
  }
}
INLINE void add_row(const struct flux_view *v, int64_t p, const float *e) {
  for (int64_t i = 0; i < v->n[2]; i += 16, p += 16) {
    const __mmask16 m = _mm512_test_epi32_mask(codes(v->code + p), _mm512_set1_epi32(CODE_MASK)) &
                        tail(v->n[2] - i);
    _mm512_mask_storeu_ps(v->x + p, m, _mm512_add_ps(load(v->x + p), load(e + i)));
  }
}
#else
#ifdef __AVX2__
enum { WIDTH = 8 };
#else
enum { WIDTH = 4 };
#endif
typedef float vec __attribute__((vector_size(4 * WIDTH)));
typedef int32_t ivec __attribute__((vector_size(4 * WIDTH)));
INLINE vec load(const float *p) {
  vec r;
  memcpy(&r, p, sizeof r);
  return r;
}
#ifdef __AVX2__
INLINE ivec codes(const uint8_t *p) {
  return (ivec)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i_u *)p)) & CODE_MASK;
}
INLINE vec resistance(const struct flux_view *v, ivec code) {
  const __m256i c  = (__m256i)code;
  const vec first  = _mm256_permutevar8x32_ps(load(v->inverse), c);
  const vec second = _mm256_permutevar8x32_ps(load(v->inverse + 8), c);
  return _mm256_blendv_ps(first, second, (__m256)_mm256_slli_epi32(c, 28));
}
#else
INLINE ivec codes(const uint8_t *p) {
  ivec r;
  for (int l = 0; l < WIDTH; l++) r[l] = p[l] & CODE_MASK;
  return r;
}
INLINE vec resistance(const struct flux_view *v, ivec code) {
  vec r;
  for (int l = 0; l < WIDTH; l++) r[l] = v->inverse[code[l]];
  return r;
}
#endif
INLINE vec some(vec v, ivec on) { return (vec)((ivec)v & on); }
/* Values before and after each of `here`'s. A load across the vector that was stored last would wait for it. */
INLINE vec left(vec here, vec before) {
#ifdef __AVX2__
  return __builtin_shuffle(before, here, (ivec){7, 8, 9, 10, 11, 12, 13, 14});
#else
  return __builtin_shuffle(before, here, (ivec){3, 4, 5, 6});
#endif
}
INLINE vec right(vec here, vec after) {
#ifdef __AVX2__
  return __builtin_shuffle(here, after, (ivec){1, 2, 3, 4, 5, 6, 7, 8});
#else
  return __builtin_shuffle(here, after, (ivec){1, 2, 3, 4});
#endif
}
INLINE vec neighbours_uniform(const struct flux_view *v, int64_t p, vec l, vec r) {
  const float *x = v->x + p;
  return (load(x - v->plane) + load(x + v->plane)) + (load(x - v->row) + load(x + v->row)) +
         (l + r);
}
/* Sum of weight times neighbour, and of weights. */
INLINE vec neighbours(const struct flux_view *v, int64_t p, ivec code, vec l, vec r, vec *total) {
  const int64_t step[3] = {v->plane, v->row, 1};
  const vec here        = resistance(v, code);
  vec sum               = {0};
  *total                = (vec){0};
  for (int a = 0; a < 3; a++) {
    const vec before = 2 / (here + resistance(v, codes(v->code + p - step[a])));
    const vec after  = 2 / (here + resistance(v, codes(v->code + p + step[a])));
    const float *x   = v->x + p;
    const vec low = a == 2 ? l : load(x - step[a]), high = a == 2 ? r : load(x + step[a]);
    sum += v->weight[a] * (before * low + after * high);
    *total += v->weight[a] * (before + after);
  }
  return sum;
}
INLINE void store_some(float *p, vec value, int64_t n) {
  if (n >= WIDTH)
    memcpy(p, &value, sizeof value);
  else
    memcpy(p, &value, (size_t)n * sizeof *p);
}
INLINE void relax_row(const struct flux_view *v, int64_t p, int colour, bool uniform, bool rhs) {
  ivec half;
  for (int l = 0; l < WIDTH; l++) half[l] = l % 2 == colour ? -1 : 0;
  vec before = load(v->x + p - WIDTH), here = load(v->x + p);
  for (int64_t i = 0; i < v->n[2]; i += WIDTH, p += WIDTH) {
    const vec after = load(v->x + p + WIDTH), l = left(here, before), r = right(here, after);
    const ivec c = codes(v->code + p), on = half & (c != 0);
    vec total = {0};
    vec s     = uniform ? neighbours_uniform(v, p, l, r) : neighbours(v, p, c, l, r, &total);
    if (rhs) s += load(v->rhs + p);
    const vec result = uniform ? s * resistance(v, c) : s / total;
    store_some(v->x + p, (vec)((ivec)some(result, on) | ((ivec)here & ~on)), v->n[2] - i);
    before = here;
    here   = after;
  }
}
INLINE void residual_row(const struct flux_view *v, int64_t p, float *sum, bool uniform, bool rhs) {
  for (int64_t i = 0; i < v->n[2]; i += WIDTH, p += WIDTH) {
    const ivec c = codes(v->code + p);
    vec total    = __builtin_convertvector(c, vec);
    const vec l = load(v->x + p - 1), r = load(v->x + p + 1);
    vec s = uniform ? neighbours_uniform(v, p, l, r) : neighbours(v, p, c, l, r, &total);
    s -= total * load(v->x + p);
    if (rhs) s += load(v->rhs + p);
    store_some(sum + i, load(sum + i) + some(s, c != 0), v->n[2] - i);
  }
}
INLINE void add_row(const struct flux_view *v, int64_t p, const float *e) {
  for (int64_t i = 0; i < v->n[2]; i += WIDTH, p += WIDTH)
    store_some(v->x + p, load(v->x + p) + some(load(e + i), codes(v->code + p) != 0), v->n[2] - i);
}
#endif

INLINE void prolong_plane(const struct flux_view *v, int64_t k) {
  if (k < 0 || k >= v->n[0]) return;
  float *e = v->scratch;
  for (int64_t j = 0; j < v->n[1]; j++) {
    const float *box = v->box + (k / 2) * v->box_plane + (j / 2) * v->box_row;
    if (j % 2 == 0)
      for (int64_t i = 0; i < (v->n[2] + 1) / 2; i++) e[2 * i] = e[2 * i + 1] = box[i];
    add_row(v, at(v, k, j), e);
  }
}
INLINE void relax_plane(const struct flux_view *v, int64_t k, int colour, bool uniform, bool rhs) {
  if (k < 0 || k >= v->n[0]) return;
  for (int64_t j = 0; j < v->n[1]; j++)
    relax_row(v, at(v, k, j), (int)((k + j + v->parity + colour) & 1), uniform, rhs);
}
/* Sums of residuals of one plane of boxes. */
INLINE void restrict_plane(const struct flux_view *v, int64_t plane, bool uniform, bool rhs) {
  const int64_t k1 = 2 * plane + 2 < v->n[0] ? 2 * plane + 2 : v->n[0];
  const int64_t nx = (v->n[2] + 1) / 2;
  float *sum       = v->scratch;
  for (int64_t row = 0; row < (v->n[1] + 1) / 2; row++) {
    memset(sum, 0, (size_t)(v->n[2] + 2 * LANES) * sizeof *sum);
    for (int64_t k = 2 * plane; k < k1; k++)
      for (int64_t j = 2 * row; j < 2 * row + 2 && j < v->n[1]; j++)
        residual_row(v, at(v, k, j), sum, uniform, rhs);
    float *box = v->box + plane * v->box_plane + row * v->box_row;
    for (int64_t i = 0; i < nx; i++) box[i] = sum[2 * i] + sum[2 * i + 1];
  }
}
INLINE void run(const struct flux_view *v, bool prolong, int half_sweeps, int colour, bool uniform,
                bool rhs) {
  const int64_t last = v->n[0] - 1;
  for (int64_t k = 0; k <= last + half_sweeps + 1; k++) {
    if (prolong) prolong_plane(v, k);
    for (int h = 0; h < half_sweeps; h++)
      relax_plane(v, k - h - (prolong ? 1 : 0), (colour + h) & 1, uniform, rhs);
    /* planes up to done are final; a residual needs one more on either side */
    const int64_t done = k - half_sweeps + (prolong ? 0 : 1), ready = done - 1;
    if (ready < 0 || ready > last) continue;
    if (ready % 2 == 1 || ready == last) restrict_plane(v, ready / 2, uniform, rhs);
  }
}
void ISA_NAME(flux_pass)(struct flux_view *v, bool prolong, int half_sweeps, int colour) {
  if (v->uniform && !v->rhs)
    run(v, prolong, half_sweeps, colour, true, false);
  else if (v->uniform)
    run(v, prolong, half_sweeps, colour, true, true);
  else if (!v->rhs)
    run(v, prolong, half_sweeps, colour, false, false);
  else
    run(v, prolong, half_sweeps, colour, false, true);
}
