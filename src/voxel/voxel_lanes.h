/* Vectors of uint8, uint16 and float32 for this folder's kernels: load, store, smaller and greater of two, with
 * the same results on every instruction set, NaN and -0 included (low is a < b ? a : b, high a > b ? a : b). */
#pragma once
#include <stdint.h>
#include <string.h>

#if defined __AVX512BW__
#include <immintrin.h>
enum { LANES_BYTES = 64 };
typedef __m512i lanes_u8, lanes_u16;
typedef __m512 lanes_f32;
#define LANES_INT(NAME, PART)                                                                      \
  static inline lanes_##NAME low_##NAME(lanes_##NAME a, lanes_##NAME b) {                          \
    return _mm512_min_##PART(a, b);                                                                \
  }                                                                                                \
  static inline lanes_##NAME high_##NAME(lanes_##NAME a, lanes_##NAME b) {                         \
    return _mm512_max_##PART(a, b);                                                                \
  }
#elif defined __AVX2__
#include <immintrin.h>
enum { LANES_BYTES = 32 };
typedef __m256i lanes_u8, lanes_u16;
typedef __m256 lanes_f32;
#define LANES_INT(NAME, PART)                                                                      \
  static inline lanes_##NAME low_##NAME(lanes_##NAME a, lanes_##NAME b) {                          \
    return _mm256_min_##PART(a, b);                                                                \
  }                                                                                                \
  static inline lanes_##NAME high_##NAME(lanes_##NAME a, lanes_##NAME b) {                         \
    return _mm256_max_##PART(a, b);                                                                \
  }
#else
enum { LANES_BYTES = 16 };
typedef uint8_t lanes_u8 __attribute__((vector_size(16)));
typedef uint16_t lanes_u16 __attribute__((vector_size(16)));
typedef float lanes_f32 __attribute__((vector_size(16)));
typedef uint32_t lanes_bits __attribute__((vector_size(16)));
#define LANES_PICK(NAME, BETTER)                                                                   \
  lanes_bits mask = (lanes_bits)(a BETTER b);                                                      \
  return (lanes_##NAME)(((lanes_bits)a & mask) | ((lanes_bits)b & ~mask))
#define LANES_INT(NAME, PART)                                                                      \
  static inline lanes_##NAME low_##NAME(lanes_##NAME a, lanes_##NAME b) { LANES_PICK(NAME, <); }   \
  static inline lanes_##NAME high_##NAME(lanes_##NAME a, lanes_##NAME b) { LANES_PICK(NAME, >); }
#endif
LANES_INT(u8, epu8)
LANES_INT(u16, epu16)
LANES_INT(f32, ps)

/* How many lanes; whole loads and stores at any address; the first `n` lanes alone. */
#define LANES_MEMORY(T, NAME)                                                                      \
  enum { LANES_##NAME = LANES_BYTES / (int)sizeof(T) };                                            \
  static inline lanes_##NAME load_##NAME(const T *from) {                                          \
    lanes_##NAME v;                                                                                \
    memcpy(&v, from, sizeof v);                                                                    \
    return v;                                                                                      \
  }                                                                                                \
  static inline void store_##NAME(T *to, lanes_##NAME v) { memcpy(to, &v, sizeof v); }             \
  static inline lanes_##NAME load_some_##NAME(const T *from, int64_t n) {                          \
    T part[LANES_##NAME] = {0};                                                                    \
    if (n >= LANES_##NAME) return load_##NAME(from);                                               \
    memcpy(part, from, (size_t)n * sizeof(T));                                                     \
    return load_##NAME(part);                                                                      \
  }                                                                                                \
  static inline void store_some_##NAME(T *to, lanes_##NAME v, int64_t n) {                         \
    T part[LANES_##NAME];                                                                          \
    if (n >= LANES_##NAME) {                                                                       \
      store_##NAME(to, v);                                                                         \
      return;                                                                                      \
    }                                                                                              \
    store_##NAME(part, v);                                                                         \
    memcpy(to, part, (size_t)n * sizeof(T));                                                       \
  }
LANES_MEMORY(uint8_t, u8)
LANES_MEMORY(uint16_t, u16)
LANES_MEMORY(float, f32)

/* Vectors of packed bits, at any address: the compiler takes copies of them apart where memcpy makes them. */
typedef uint64_t lanes_words __attribute__((vector_size(LANES_BYTES)));
typedef lanes_words lanes_words_anywhere __attribute__((aligned(8), may_alias));
enum { LANES_WORDS = LANES_BYTES / 8 };
static inline lanes_words load_words(const uint64_t *from) {
  return *(const lanes_words_anywhere *)from;
}
static inline void store_words(uint64_t *to, lanes_words v) { *(lanes_words_anywhere *)to = v; }
