/* Kernels on graphs: slices of 16 rows, one lane per row. */
#include "flux_floats.h"
#ifdef __AVX512F__
INLINE lanes neighbours(const struct flux_graph *g, int64_t slice, const float *x, lanes s) {
  for (int64_t e = g->slice[slice]; e < g->slice[slice + 1]; e += LANES) {
    const __m512i col = _mm512_loadu_si512(g->col + e);
    s = _mm512_fmadd_ps(_mm512_loadu_ps(g->weight + e), _mm512_i32gather_ps(col, x, 4), s);
  }
  return s;
}
#else
INLINE lanes neighbours(const struct flux_graph *g, int64_t slice, const float *x, lanes s) {
  for (int64_t e = g->slice[slice]; e < g->slice[slice + 1]; e += LANES) EACH_PART {
      part weight;
      memcpy(&weight, g->weight + e + h * WIDE, sizeof weight);
      s.p[h] += weight * gathered(x, g->col + e + h * WIDE);
    }
  return s;
}
#endif

/* One colour of a Gauss-Seidel sweep for A x = b; `start`: x is zero, so x = b / diagonal. */
void ISA_NAME(flux_sweep)(const struct flux_graph *g, int colour, bool start) {
  for (int i = g->colour_start[colour]; i < g->colour_start[colour + 1]; i += LANES) {
    lanes s = get(g->b + i);
    if (!start) s = neighbours(g, i / LANES, g->x, s);
    put(g->x + i, divided(s, get(g->diagonal + i)));
  }
}
/* r = b - A x of the first rows. */
void ISA_NAME(flux_residual)(const struct flux_graph *g, int rows, float *r) {
  for (int i = 0; i < rows; i += LANES)
    put(r + i, minus_product(neighbours(g, i / LANES, g->x, get(g->b + i)), get(g->diagonal + i),
                             get(g->x + i)));
}
/* out = A x (where out is not NULL); dots: x.Ax, x.b, x.v (v may be NULL), b.b. */
void ISA_NAME(flux_apply)(const struct flux_graph *g, const float *x, const float *v, float *out,
                          double dots[4]) {
  enum { CHUNK = 64 * LANES };
  dots[0] = dots[1] = dots[2] = dots[3] = 0;
  for (int first = 0; first < g->loose; first += CHUNK) {
    struct dots sum;
    dots_begin(&sum);
    for (int i = first; i < g->loose && i < first + CHUNK; i += LANES)
      dots_add(&sum, g, i, x, v,
               minus_product(neighbours(g, i / LANES, x, zero()), get(g->diagonal + i), get(x + i)),
               out);
    dots_end(&sum, dots);
  }
}
/* b -= a v; gives b.b. */
double ISA_NAME(flux_less)(float *b, const float *v, float a, int n) {
  enum { CHUNK = 64 * LANES };
  double all = 0;
  for (int first = 0; first < n; first += CHUNK) {
    lanes sum = zero();
    for (int i = first; i < n && i < first + CHUNK; i += LANES) {
      const lanes rest = minus_product(get(b + i), all_lanes(a), get(v + i));
      put(b + i, rest);
      sum = plus_product(sum, rest, rest);
    }
    all += (double)total(sum);
  }
  return all;
}
/* x = p c + q x. */
void ISA_NAME(flux_combine)(float *x, const float *c, float p, float q, int n) {
  for (int i = 0; i < n; i += LANES) {
    lanes sum = plus_product(zero(), all_lanes(p), get(c + i));
    if (q != 0) sum = plus_product(sum, all_lanes(q), get(x + i));
    put(x + i, sum);
  }
}

/* load -= A z scale, without the faces' part. */
void ISA_NAME(flux_carry_potential)(const struct flux_graph *g, const float *z, double scale) {
  const float times = (float)scale;
  for (int i = 0; i < g->loose; i += LANES) {
    double out[LANES] = {0};
    for (int64_t e = g->slice[i / LANES]; e < g->slice[i / LANES + 1]; e += LANES) {
      float flux[LANES];
      for (int l = 0; l < LANES; l++) flux[l] = times * (z[i + l] - z[g->col[e + l]]);
      for (int l = 0; l < LANES; l++) out[l] += (double)g->weight[e + l] * (double)flux[l];
    }
    for (int l = 0; l < LANES; l++) g->load[i + l] -= out[l];
  }
}
/* entry_flux = along z (may be NULL) + between aggregates that of the next graph; load loses the
 * latter. */
void ISA_NAME(flux_split)(const struct flux_graph *g, const struct flux_graph *next, const float *z,
                          double scale) {
  const float times = (float)scale;
  for (int i = 0; i < g->loose; i += LANES) {
    int64_t above[LANES]; /* first entry of the row above */
    double out[LANES] = {0};
    for (int l = 0; l < LANES; l++) {
      const int up = g->agg[i + l];
      above[l]     = up < 0 ? 0 : next->slice[up / LANES] + up % LANES;
    }
    for (int64_t e = g->slice[i / LANES]; e < g->slice[i / LANES + 1]; e += LANES) {
      float along[LANES] = {0}, split[LANES];
      const uint8_t *up  = g->up + e;
      bool search        = false;
      if (z)
        for (int l = 0; l < LANES; l++) along[l] = times * (z[i + l] - z[g->col[e + l]]);
      for (int l = 0; l < LANES; l++) {
        const bool on = g->weight[e + l] > 0 && up[l] < UP_SEARCH;
        const float q = next->entry_flux[on ? above[l] + (int64_t)up[l] * LANES : 0];
        split[l]      = on ? q : 0;
        search |= g->weight[e + l] > 0 && up[l] == UP_SEARCH;
      }
      for (int l = 0; l < LANES && search; l++)
        if (g->weight[e + l] > 0 && up[l] == UP_SEARCH)
          split[l] = next->entry_flux[flux_graph_find(next, g->agg[i + l], g->agg[g->col[e + l]])];
      for (int l = 0; l < LANES; l++) {
        g->entry_flux[e + l] = along[l] + split[l];
        out[l] += (double)g->weight[e + l] * ((double)g->entry_flux[e + l] - (double)along[l]);
      }
    }
    for (int l = 0; l < LANES; l++) g->load[i + l] -= out[l];
  }
}
