/* Element types as stored in files, and checked conversion to ours. A value goes through the widest
 * type of its class (int64 or double, both hold every narrower value exactly), in blocks that stay
 * in the first cache, then into the wanted type with the check. */
#include "store_private.h"
#include <math.h>
#include <string.h>

static const struct {
  const char *name;
  size_t bytes;
  enum grid_type nearest;
} natives[] = {
#define X(name, ctype, hdf5, nearest) {#ctype, sizeof(ctype), nearest},
    NATIVE_LIST(X)
#undef X
};

size_t native_bytes(enum native native) { return natives[native].bytes; }
enum grid_type native_nearest(enum native native) { return natives[native].nearest; }

const char *native_name(enum native native) {
  static const char *const names[] = {"int8",   "uint8", "int16",  "uint16",  "int32",
                                      "uint32", "int64", "uint64", "float32", "float64"};
  return native < NATIVE_NONE ? names[native] : "not numeric";
}

hid_t native_hdf5(enum native native) {
  switch (native) {
#define X(name, ctype, hdf5, nearest)                                                              \
  case NATIVE_##name:                                                                              \
    return hdf5;
    NATIVE_LIST(X)
#undef X
  case NATIVE_NONE:
    break;
  }
  return -1;
}

enum native native_of_grid(enum grid_type type) {
  switch (type) {
#define X(name, ctype)                                                                             \
  case GRID_##name:                                                                                \
    return NATIVE_##name;
    GRID_TYPE_LIST(X)
#undef X
  }
  return NATIVE_NONE;
}

static enum native integer_of(size_t bytes, bool has_sign) {
  switch (bytes) {
  case 1:
    return has_sign ? NATIVE_I8 : NATIVE_U8;
  case 2:
    return has_sign ? NATIVE_I16 : NATIVE_U16;
  case 4:
    return has_sign ? NATIVE_I32 : NATIVE_U32;
  case 8:
    return has_sign ? NATIVE_I64 : NATIVE_U64;
  default:
    return NATIVE_NONE;
  }
}

enum native native_of_hdf5(hid_t type) {
  H5T_class_t class = H5Tget_class(type);
  size_t bytes      = H5Tget_size(type);
  if (class == H5T_INTEGER) return integer_of(bytes, H5Tget_sign(type) == H5T_SGN_2);
  if (class == H5T_FLOAT) return bytes <= 4 ? NATIVE_F32 : bytes == 8 ? NATIVE_F64 : NATIVE_NONE;
  if (class == H5T_ENUM) {
    hid_t base         = H5Tget_super(type);
    enum native native = base < 0 ? NATIVE_NONE : native_of_hdf5(base);
    if (base >= 0) H5Tclose(base);
    return native;
  }
  return NATIVE_NONE;
}

enum { BLOCK = 1024 };
union wide {
  int64_t i[BLOCK];
  double f[BLOCK];
};

static bool is_float(enum native native) { return native == NATIVE_F32 || native == NATIVE_F64; }

/* Gives the index of the first value past int64 (of uint64), or -1. */
static int64_t widen(enum native native, const void *from, int64_t first, int64_t n,
                     union wide *wide) {
  switch (native) {
#define WIDEN(name, ctype, member)                                                                 \
  case NATIVE_##name: {                                                                            \
    const ctype *source = (const ctype *)from + first;                                             \
    for (int64_t k = 0; k < n; k++) wide->member[k] = source[k];                                   \
    return -1;                                                                                     \
  }
    WIDEN(I8, int8_t, i)
    WIDEN(U8, uint8_t, i)
    WIDEN(I16, int16_t, i)
    WIDEN(U16, uint16_t, i)
    WIDEN(I32, int32_t, i)
    WIDEN(U32, uint32_t, i)
    WIDEN(I64, int64_t, i)
    WIDEN(F32, float, f)
    WIDEN(F64, double, f)
#undef WIDEN
  case NATIVE_U64: {
    const uint64_t *source = (const uint64_t *)from + first;
    for (int64_t k = 0; k < n; k++) {
      if (source[k] > INT64_MAX) return k;
      wide->i[k] = (int64_t)source[k];
    }
    return -1;
  }
  case NATIVE_NONE:
    break;
  }
  return 0;
}

static int64_t narrow_integers(const int64_t *wide, enum grid_type type, void *to, int64_t first,
                               int64_t n, bool exact) {
  switch (type) {
#define NARROW(name, ctype, low, high)                                                             \
  case GRID_##name: {                                                                              \
    ctype *target = (ctype *)to + first;                                                           \
    for (int64_t k = 0; k < n; k++) {                                                              \
      if (wide[k] < (low) || wide[k] > (high)) return k;                                           \
      target[k] = (ctype)wide[k];                                                                  \
    }                                                                                              \
    return -1;                                                                                     \
  }
    NARROW(U8, uint8_t, 0, UINT8_MAX)
    NARROW(U16, uint16_t, 0, UINT16_MAX)
    NARROW(U32, uint32_t, 0, UINT32_MAX)
    NARROW(I32, int32_t, INT32_MIN, INT32_MAX)
#undef NARROW
  case GRID_I64:
    memcpy((int64_t *)to + first, wide, (size_t)n * sizeof *wide);
    return -1;
#define TO_FLOAT(name, ctype)                                                                      \
  case GRID_##name: {                                                                              \
    ctype *target = (ctype *)to + first;                                                           \
    for (int64_t k = 0; k < n; k++) {                                                              \
      target[k] = (ctype)wide[k];                                                                  \
      if (exact && (target[k] >= (ctype)0x1p63 || (int64_t)target[k] != wide[k])) return k;        \
    }                                                                                              \
    return -1;                                                                                     \
  }
    TO_FLOAT(F32, float)
    TO_FLOAT(F64, double)
#undef TO_FLOAT
  }
  return 0;
}

static int64_t narrow_floats(const double *wide, enum grid_type type, void *to, int64_t first,
                             int64_t n, bool exact) {
  switch (type) {
#define ROUND(name, ctype, low, high)                                                              \
  case GRID_##name: {                                                                              \
    ctype *target = (ctype *)to + first;                                                           \
    for (int64_t k = 0; k < n; k++) {                                                              \
      double whole = rint(wide[k]);                                                                \
      if (!(whole >= (low) && whole <= (high)) || (exact && whole != wide[k])) return k;           \
      target[k] = (ctype)whole;                                                                    \
    }                                                                                              \
    return -1;                                                                                     \
  }
    ROUND(U8, uint8_t, 0, UINT8_MAX)
    ROUND(U16, uint16_t, 0, UINT16_MAX)
    ROUND(U32, uint32_t, 0, UINT32_MAX)
    ROUND(I32, int32_t, INT32_MIN, INT32_MAX)
    ROUND(I64, int64_t, -0x1p63, 0x1.fffffffffffffp62)
#undef ROUND
  case GRID_F32: {
    float *target = (float *)to + first;
    for (int64_t k = 0; k < n; k++) {
      target[k] = (float)wide[k];
      if (isfinite(wide[k]) && (!isfinite(target[k]) || (exact && (double)target[k] != wide[k])))
        return k;
    }
    return -1;
  }
  case GRID_F64:
    memcpy((double *)to + first, wide, (size_t)n * sizeof *wide);
    return -1;
  }
  return 0;
}

/* Small integers are exact in float: the way of most raw data, without checks. */
static bool floats_direct(enum native from_type, const void *from, float *to, int64_t n) {
  switch (from_type) {
#define DIRECT(name, ctype)                                                                        \
  case NATIVE_##name:                                                                              \
    for (int64_t k = 0; k < n; k++) to[k] = ((const ctype *)from)[k];                              \
    return true;
    DIRECT(I8, int8_t)
    DIRECT(U8, uint8_t)
    DIRECT(I16, int16_t)
    DIRECT(U16, uint16_t)
#undef DIRECT
  default:
    return false;
  }
}

int64_t native_convert(enum native from_type, const void *from, enum grid_type to_type, void *to,
                       int64_t n, bool exact) {
  if (native_of_grid(to_type) == from_type) {
    memcpy(to, from, (size_t)n * native_bytes(from_type));
    return -1;
  }
  if (to_type == GRID_F32 && floats_direct(from_type, from, to, n)) return -1;
  for (int64_t first = 0; first < n; first += BLOCK) {
    union wide wide;
    int64_t here = n - first < BLOCK ? n - first : BLOCK;
    int64_t bad  = widen(from_type, from, first, here, &wide);
    if (bad >= 0) return first + bad;
    bad = is_float(from_type) ? narrow_floats(wide.f, to_type, to, first, here, exact)
                              : narrow_integers(wide.i, to_type, to, first, here, exact);
    if (bad >= 0) return first + bad;
  }
  return -1;
}

void native_text(enum native native, const void *data, int64_t i, char *text, size_t bytes) {
  union wide wide;
  if (native == NATIVE_U64)
    snprintf(text, bytes, "%llu", (unsigned long long)((const uint64_t *)data)[i]);
  else if (widen(native, data, i, 1, &wide) >= 0)
    snprintf(text, bytes, "?");
  else if (is_float(native))
    snprintf(text, bytes, "%.9g", wide.f[0]);
  else
    snprintf(text, bytes, "%lld", (long long)wide.i[0]);
}
