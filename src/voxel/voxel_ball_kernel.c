/* Rows of grey erosions and dilations by balls. Rows of scratch are padded: whole vectors are read and written. */
#include "voxel_filter_private.h"
#include "voxel_lanes.h"

#define UNROLL _Pragma("GCC unroll 16")

/* Of the ball of radius 3 parts are constants, as is the pitch of its rows: loops over them vanish. */
enum { BALL3_PARTS = 12 };
static const struct ball_part ball3_part[BALL3_PARTS] = {
    {0,  0, 0 },
    {-2, 1, 0 },
    {-1, 2, 0 },
    {0,  2, 0 },
    {1,  2, 0 },
    {2,  1, 0 },
    {-2, 2, 0 },
    {2,  2, 0 },
    {-3, 0, 0 },
    {0,  0, -3},
    {0,  0, 3 },
    {3,  0, 0 }
};
static const int ball3_end[3] = {12, 8, 6};

#define BALL(T, NAME)                                                                                                     \
  static inline lanes_##NAME extreme_##NAME(lanes_##NAME a, lanes_##NAME b, bool least) {                                 \
    return least ? low_##NAME(a, b) : high_##NAME(a, b);                                                                  \
  }                                                                                                                       \
  static inline __attribute__((always_inline)) void widen_##NAME(                                                         \
      const T *restrict in, T *restrict out, int64_t stride, int most, bool least, int64_t n) {                           \
    for (int64_t x = 0; x < n; x += LANES_##NAME) {                                                                       \
      lanes_##NAME v = load_##NAME(in + x);                                                                               \
      UNROLL for (int h = 1; h <= most; h++) {                                                                            \
        v = extreme_##NAME(v, load_##NAME(in + x - h), least);                                                            \
        v = extreme_##NAME(v, load_##NAME(in + x + h), least);                                                            \
        store_##NAME(out + (h - 1) * stride + x, v);                                                                      \
      }                                                                                                                   \
    }                                                                                                                     \
  }                                                                                                                       \
  /* Of the ball of radius 3, the usual one, loops are unrolled. */                                                       \
  void ISA_NAME(ball_widen_##NAME)(const T *restrict in, T *restrict out, int64_t stride,                                 \
                                   int most, bool least, int64_t n) {                                                     \
    if (least && most == 2)                                                                                               \
      widen_##NAME(in, out, stride, 2, true, n);                                                                          \
    else if (most == 2)                                                                                                   \
      widen_##NAME(in, out, stride, 2, false, n);                                                                         \
    else                                                                                                                  \
      widen_##NAME(in, out, stride, most, least, n);                                                                      \
  }                                                                                                                       \
  /* Where the parts of `planes` planes' discs stand: row[g * end[0] + i] is part i of plane g. */                        \
  static inline __attribute__((always_inline)) void find_parts_##NAME(                                                    \
      const struct ball_rows *at, const struct ball_part *part, int parts, int radius, int planes,                        \
      int64_t pitch, const T **row) {                                                                                     \
    UNROLL for (int g = 0; g < planes; g++) UNROLL for (int i = 0; i < parts; i++) {                                      \
      const struct ball_part p = part[i];                                                                                 \
      int line      = p.half ? g * (radius - 1) + p.half - 1 : (p.y + radius) * BALL_PLANES + g;                          \
      const T *from = p.half ? at->wider[p.y + radius - 1] : at->in;                                                      \
      row[g * parts + i] = from + line * pitch + (p.half ? 0 : radius + p.shift);                                         \
    }                                                                                                                     \
  }                                                                                                                       \
  /* disc[k]: the extreme over the disc at height k. */                                                                   \
  static inline __attribute__((always_inline)) void discs_##NAME(                                                         \
      const T *const *row, const int *end, int radius, bool least, int64_t x,                                             \
      lanes_##NAME *disc) {                                                                                               \
    lanes_##NAME v = disc[radius] = load_##NAME(row[0] + x);                                                              \
    int i                         = 1;                                                                                    \
    if (radius > 1) v = load_##NAME(row[i++] + x); /* that disc has the first row's voxel too */                          \
    UNROLL for (int k = radius - 1; k >= 0; k--) {                                                                        \
      UNROLL for (; i < end[k]; i++) v = extreme_##NAME(v, load_##NAME(row[i] + x), least);                               \
      disc[k]                          = v;                                                                               \
    }                                                                                                                     \
  }                                                                                                                       \
  static inline __attribute__((always_inline)) void spread_##NAME(                                                        \
      const T *const *row, const int *end, int radius, int planes, T *const *waiting,                                     \
      T *const *done, bool least, int64_t n, lanes_##NAME *disc) {                                                        \
    for (int64_t x = 0; x < n; x += LANES_##NAME) {                                                                       \
      UNROLL for (int g = 0; g < planes; g++)                                                                             \
          discs_##NAME(row + g * end[0], end, radius, least, x, disc + g * (radius + 1));                                 \
      UNROLL for (int j = 0; j < 2 * radius + planes; j++) {                                                              \
        int g = j > 2 * radius ? j - 2 * radius : 0, k = j - radius - g;                                                  \
        lanes_##NAME v = disc[g * (radius + 1) + (k < 0 ? -k : k)];                                                       \
        UNROLL for (g++; g < planes && g <= j; g++) {                                                                     \
          k = j - radius - g;                                                                                             \
          v = extreme_##NAME(v, disc[g * (radius + 1) + (k < 0 ? -k : k)], least);                                        \
        }                                                                                                                 \
        if (j < 2 * radius) v = extreme_##NAME(v, load_##NAME(waiting[j] + x), least);                                    \
        store_##NAME((j < planes ? done[j] : waiting[j]) + x, v);                                                         \
      }                                                                                                                   \
    }                                                                                                                     \
  }                                                                                                                       \
  static inline __attribute__((always_inline)) void spread3_##NAME(                                                       \
      const struct ball_rows *at, T *const *waiting, T *const *done, bool least, int64_t n) {                             \
    const T *row[BALL_PLANES * BALL3_PARTS];                                                                              \
    lanes_##NAME disc[BALL_PLANES * 4];                                                                                   \
    find_parts_##NAME(at, ball3_part, BALL3_PARTS, 3, BALL_PLANES, BALL3_PITCH / (int)sizeof(T),                          \
                      row);                                                                                               \
    spread_##NAME(row, ball3_end, 3, BALL_PLANES, waiting, done, least, n, disc);                                         \
  }                                                                                                                       \
  /* waiting[j]: what is known of the plane at height j - radius from the first of `planes` new ones; the last `planes` \
   * begin with them, the first are finished and go to done. */ \
  void ISA_NAME(ball_spread_##NAME)(const struct ball_rows *at, const struct ball_discs *ball,                            \
                                    int planes, T *const *waiting, T *const *done, bool least,                            \
                                    int64_t n) {                                                                          \
    const T *row[BALL_PLANES * BALL_PARTS_MOST];                                                                          \
    lanes_##NAME disc[BALL_PLANES * (VOXEL_RADIUS_MOST + 1)];                                                             \
    int64_t pitch = ball->pitch / (int64_t)sizeof(T);                                                                     \
    if (ball->radius == 3 && planes == BALL_PLANES && least)                                                              \
      spread3_##NAME(at, waiting, done, true, n);                                                                         \
    else if (ball->radius == 3 && planes == BALL_PLANES)                                                                  \
      spread3_##NAME(at, waiting, done, false, n);                                                                        \
    else {                                                                                                                \
      find_parts_##NAME(at, ball->part, ball->end[0], ball->radius, planes, pitch, row);                                  \
      spread_##NAME(row, ball->end, ball->radius, planes, waiting, done, least, n, disc);                                 \
    }                                                                                                                     \
  }

BALL(uint8_t, u8)
BALL(uint16_t, u16)
BALL(float, f32)

/* Floats without -0, of which it would depend on the order whether it is less than 0. */
void ISA_NAME(ball_take_f32)(const float *from, float *to, int64_t n) {
  for (int64_t x = 0; x < n; x++) to[x] = from[x] + 0.0F;
}
