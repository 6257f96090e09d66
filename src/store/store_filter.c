/* HDF5 filters registered inside, for reading what beamlines write: bitshuffle (32008; plain or with
 * LZ4), LZ4 (32004) and Blosc (32001). Nothing is loaded from outside. Formats:
 *   bitshuffle: https://github.com/kiyo-masui/bitshuffle (README and its HDF5 filter's header: big-
 *     endian 8-byte size, 4-byte block size in bytes, then each block as 4-byte length and LZ4 data);
 *   LZ4: https://github.com/HDFGroup/hdf5_plugins/blob/master/docs/RegisteredFilterPlugins.md (big-
 *     endian 8-byte size, 4-byte block size, then blocks; one as long as the block size is raw);
 *   Blosc: the chunk of the Blosc library.
 * All lengths come from the file and are checked. */
#include "store_private.h"
#include <blosc.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>

enum { FILTER_BLOSC = 32001, FILTER_LZ4 = 32004, FILTER_BITSHUFFLE = 32008 };
static const uint64_t chunk_limit_bytes = (uint64_t)4 << 30; /* HDF5's own */

static uint64_t big_endian(const unsigned char *at, int bytes) {
  uint64_t value = 0;
  for (int i = 0; i < bytes; i++) value = value << 8 | at[i];
  return value;
}

/* Hands the unpacked bytes to HDF5 in place of the packed ones; 0 (failure) when there are none. */
static size_t hand_over(void *unpacked, size_t bytes, size_t *buffer_bytes, void **buffer) {
  if (!unpacked) return 0;
  H5free_memory(*buffer);
  *buffer       = unpacked;
  *buffer_bytes = bytes;
  return bytes;
}

/* ---- LZ4 ----------------------------------------------------------------------------------------- */

/* Blocks of 4-byte length and data into `to`; `raw_when_full`: a block of full length is raw. */
static bool blocks_unpack(const unsigned char *from, size_t from_bytes, char *to, uint64_t to_bytes,
                          uint64_t block_bytes, bool raw_when_full, size_t *used) {
  size_t at = 0;
  for (uint64_t done = 0; done < to_bytes;) {
    uint64_t here = to_bytes - done < block_bytes ? to_bytes - done : block_bytes;
    if (from_bytes - at < 4) return false;
    uint64_t packed = big_endian(from + at, 4);
    at += 4;
    if (packed > from_bytes - at || packed > INT32_MAX || here > INT32_MAX) return false;
    if (raw_when_full && packed == here)
      memcpy(to + done, from + at, here);
    else if (LZ4_decompress_safe((const char *)from + at, to + done, (int)packed, (int)here) !=
             (int)here)
      return false;
    at += packed;
    done += here;
  }
  *used = at;
  return true;
}

static size_t lz4_filter(unsigned flags, size_t details, const unsigned detail[], size_t bytes,
                         size_t *buffer_bytes, void **buffer) {
  const unsigned char *from = *buffer;
  size_t used;
  (void)details, (void)detail;
  if (!(flags & H5Z_FLAG_REVERSE) || bytes < 12) return 0;
  uint64_t whole = big_endian(from, 8), block = big_endian(from + 8, 4);
  if (whole == 0 || whole > chunk_limit_bytes || block == 0) return 0;
  char *to = H5allocate_memory(whole, false);
  if (to && !blocks_unpack(from + 12, bytes - 12, to, whole, block, true, &used)) {
    H5free_memory(to);
    to = NULL;
  }
  return hand_over(to, whole, buffer_bytes, buffer);
}

/* ---- bitshuffle ------------------------------------------------------------------------------------ */

/* Transposes an 8 x 8 matrix of bits (Hacker's Delight, 7-3). */
static uint64_t bits_transpose(uint64_t x) {
  uint64_t t = (x ^ x >> 7) & 0x00AA00AA00AA00AAu;
  x ^= t ^ t << 7;
  t = (x ^ x >> 14) & 0x0000CCCC0000CCCCu;
  x ^= t ^ t << 14;
  t = (x ^ x >> 28) & 0x00000000F0F0F0F0u;
  return x ^ t ^ t << 28;
}

/* One block of n elements (n % 8 == 0): the packed form holds, for every byte of an element and every
 * bit of it, the bits of all elements in order. */
static void block_unshuffle(const unsigned char *from, unsigned char *to, size_t n,
                            size_t element) {
  size_t plane = n / 8;
  for (size_t byte = 0; byte < element; byte++)
    for (size_t group = 0; group < plane; group++) {
      uint64_t matrix = 0;
      for (size_t bit = 0; bit < 8; bit++)
        matrix |= (uint64_t)from[(byte * 8 + bit) * plane + group] << (8 * bit);
      matrix = bits_transpose(matrix);
      for (size_t k = 0; k < 8; k++)
        to[(group * 8 + k) * element + byte] = (unsigned char)(matrix >> (8 * k));
    }
}

/* Whole blocks, then one block of the remaining multiple of 8 elements; the last few are plain. */
static void unshuffle(const unsigned char *from, unsigned char *to, size_t n, size_t element,
                      size_t block) {
  size_t done = 0;
  while (n - done >= 8) {
    size_t here = n - done >= block ? block : (n - done) / 8 * 8;
    block_unshuffle(from + done * element, to + done * element, here, element);
    done += here;
  }
  memcpy(to + done * element, from + done * element, (n - done) * element);
}

/* Bitshuffle's own choice: 8192 bytes, whole multiples of 8 elements, at least 128. */
static size_t default_block(size_t element) {
  size_t block = 8192 / element / 8 * 8;
  return block < 128 ? 128 : block;
}

/* After the 12-byte header: LZ4 blocks of the shuffled bytes, then the plain rest. */
static bool shuffled_unpack(const unsigned char *from, size_t bytes, char *to, uint64_t whole,
                            size_t element, size_t block) {
  size_t n = whole / element, used = 0;
  uint64_t plain = n % 8 * element;
  if (!blocks_unpack(from, bytes, to, whole - plain, block * element, false, &used) ||
      bytes - used < plain)
    return false;
  memcpy(to + (whole - plain), from + used, plain);
  return true;
}

static size_t bitshuffle_filter(unsigned flags, size_t details, const unsigned detail[],
                                size_t bytes, size_t *buffer_bytes, void **buffer) {
  const unsigned char *from = *buffer;
  if (!(flags & H5Z_FLAG_REVERSE) || details < 3 || detail[2] == 0 || detail[2] > 64) return 0;
  size_t element = detail[2], block = details > 3 && detail[3] ? detail[3] : default_block(element);
  unsigned packing = details > 4 ? detail[4] : 0; /* 0 none, 2 LZ4 */
  uint64_t whole   = bytes;
  char *packed = NULL, *to = NULL;
  if (packing != 0 && packing != 2) return 0;
  if (packing == 2) {
    if (bytes < 12) return 0;
    whole = big_endian(from, 8);
    block = big_endian(from + 8, 4) / element;
    if (whole == 0 || whole > chunk_limit_bytes) return 0;
    packed = malloc(whole);
  }
  bool good = block >= 8 && block % 8 == 0 && whole % element == 0 && (packing == 0 || packed);
  if (good && packing == 2)
    good = shuffled_unpack(from + 12, bytes - 12, packed, whole, element, block);
  if (good) to = H5allocate_memory(whole, false);
  if (to)
    unshuffle(packed ? (unsigned char *)packed : from, (unsigned char *)to, whole / element,
              element, block);
  free(packed);
  return hand_over(to, whole, buffer_bytes, buffer);
}

/* ---- Blosc --------------------------------------------------------------------------------------------- */

static size_t blosc_filter(unsigned flags, size_t details, const unsigned detail[], size_t bytes,
                           size_t *buffer_bytes, void **buffer) {
  size_t whole = 0;
  (void)details, (void)detail;
  if (!(flags & H5Z_FLAG_REVERSE) || bytes < BLOSC_MIN_HEADER_LENGTH ||
      blosc_cbuffer_validate(*buffer, bytes, &whole) != 0 || whole == 0 ||
      whole > chunk_limit_bytes)
    return 0;
  char *to = H5allocate_memory(whole, false);
  if (to && blosc_decompress_ctx(*buffer, to, whole, 1) != (int)whole) {
    H5free_memory(to);
    to = NULL;
  }
  return hand_over(to, whole, buffer_bytes, buffer);
}

void filters_register(void) {
  static const H5Z_class2_t filters[] = {
      {H5Z_CLASS_T_VERS, FILTER_BLOSC,      0, 1, "blosc",      NULL, NULL, blosc_filter     },
      {H5Z_CLASS_T_VERS, FILTER_LZ4,        0, 1, "lz4",        NULL, NULL, lz4_filter       },
      {H5Z_CLASS_T_VERS, FILTER_BITSHUFFLE, 0, 1, "bitshuffle", NULL, NULL, bitshuffle_filter},
  };
  for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) H5Zregister(&filters[i]);
}
