/* Undoing the HDF5 filters that beamlines use: deflate, shuffle, Fletcher's checksum, LZF (32000), Blosc
 * (32001), LZ4 (32004) and bitshuffle (32008; plain or with LZ4). Nothing is loaded from outside.
 * Formats:
 *   https://docs.hdfgroup.org/hdf5/v1_14/_f_m_t11.html (Filter Pipeline message);
 *   LZF: liblzf's stream of literal runs (top 3 bits 0) and back references;
 *   LZ4: big-endian 8-byte size, 4-byte block size, then blocks of 4-byte length and data, one as long
 *     as the block size is raw (github.com/HDFGroup/hdf5_plugins, RegisteredFilterPlugins.md);
 *   bitshuffle: the same header before LZ4 blocks of shuffled bits (github.com/kiyo-masui/bitshuffle);
 *   Blosc: the chunk of the Blosc library.
 * All lengths come from the file and are checked. */
#include "store_private.h"
#include <blosc.h>
#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { FILTER_LZF = 32000, FILTER_BLOSC = 32001, FILTER_LZ4 = 32004, FILTER_BITSHUFFLE = 32008 };
static const uint64_t chunk_limit_bytes = (uint64_t)4 << 30; /* HDF5's own */

/* What goes in and out of one filter; `got` bytes of `room` are made. */
struct stream {
  const unsigned *detail;
  size_t details;
  const unsigned char *from;
  size_t bytes;
  unsigned char *to;
  size_t room, got;
};

static uint64_t big_endian(const unsigned char *at, int bytes) {
  uint64_t value = 0;
  for (int i = 0; i < bytes; i++) value = value << 8 | at[i];
  return value;
}

/* ---- HDF5's own ---------------------------------------------------------------------------------- */

static bool deflate_undo(struct stream *s) {
  uLongf got = s->room;
  if (uncompress(s->to, &got, s->from, s->bytes) != Z_OK) return false;
  s->got = got;
  return true;
}

static bool shuffle_undo(struct stream *s) {
  size_t element = s->details > 0 ? s->detail[0] : 0;
  if (element == 0 || s->bytes > s->room) return false;
  size_t n = s->bytes / element, whole = n * element;
  for (size_t k = 0; k < element; k++)
    for (size_t i = 0; i < n; i++) s->to[i * element + k] = s->from[k * n + i];
  memcpy(s->to + whole, s->from + whole, s->bytes - whole);
  s->got = s->bytes;
  return true;
}

/* Fletcher's sums of big-endian 16-bit words, modulo 65535. */
static uint32_t fletcher32(const unsigned char *from, size_t bytes) {
  uint64_t low = 0, high = 0;
  for (size_t i = 0; i < bytes; i += 2) {
    low  = (low + (unsigned)(from[i] << 8 | (i + 1 < bytes ? from[i + 1] : 0))) % 65535;
    high = (high + low) % 65535;
  }
  return (uint32_t)(high << 16 | low);
}

/* Residues 0 and 65535 are one; so are the byte orders that HDF5's versions have written. */
static bool sums_agree(uint32_t sum, const unsigned char *stored) {
  uint32_t value          = (uint32_t)big_endian(stored, 4);
  const uint32_t order[3] = {value, __builtin_bswap32(value),
                             (value & 0xFF00FF00u) >> 8 | (value & 0x00FF00FFu) << 8};
  for (int i = 0; i < 3; i++)
    for (uint32_t half = 0; half < 4; half++) {
      uint32_t other = order[i];
      if (half & 1 && (other & 0xFFFF) == 0xFFFF) other &= 0xFFFF0000u;
      if (half & 2 && other >> 16 == 0xFFFF) other &= 0xFFFFu;
      if (other == sum) return true;
    }
  return false;
}

static bool fletcher_undo(struct stream *s) {
  if (s->bytes < 4 || s->bytes - 4 > s->room) return false;
  s->got = s->bytes - 4;
  if (!sums_agree(fletcher32(s->from, s->got), s->from + s->got)) return false;
  memcpy(s->to, s->from, s->got);
  return true;
}

/* ---- LZF ----------------------------------------------------------------------------------------- */

static bool lzf_undo(struct stream *s) {
  size_t at = 0, done = 0;
  while (at < s->bytes) {
    unsigned control = s->from[at++];
    if (control < 32) {
      size_t run = control + 1;
      if (run > s->bytes - at || run > s->room - done) return false;
      memcpy(s->to + done, s->from + at, run);
      at += run;
      done += run;
      continue;
    }
    size_t run = control >> 5;
    if (run == 7 && at < s->bytes) run += s->from[at++];
    run += 2;
    if (at >= s->bytes) return false;
    size_t back = ((size_t)(control & 31) << 8 | s->from[at++]) + 1;
    if (back > done || run > s->room - done) return false;
    for (size_t k = 0; k < run; k++, done++) s->to[done] = s->to[done - back];
  }
  s->got = done;
  return true;
}

/* ---- LZ4 ----------------------------------------------------------------------------------------- */

/* Blocks of 4-byte length and data into `to`; `raw_when_full`: a block of full length is raw. */
static bool blocks_unpack(const unsigned char *from, size_t from_bytes, unsigned char *to,
                          uint64_t to_bytes, uint64_t block_bytes, bool raw_when_full,
                          size_t *used) {
  size_t at = 0;
  for (uint64_t done = 0; done < to_bytes;) {
    uint64_t here = to_bytes - done < block_bytes ? to_bytes - done : block_bytes;
    if (from_bytes - at < 4) return false;
    uint64_t packed = big_endian(from + at, 4);
    at += 4;
    if (packed > from_bytes - at || packed > INT32_MAX || here > INT32_MAX) return false;
    if (raw_when_full && packed == here)
      memcpy(to + done, from + at, here);
    else if (LZ4_decompress_safe((const char *)from + at, (char *)to + done, (int)packed,
                                 (int)here) != (int)here)
      return false;
    at += packed;
    done += here;
  }
  *used = at;
  return true;
}

static bool lz4_undo(struct stream *s) {
  size_t used;
  if (s->bytes < 12) return false;
  uint64_t whole = big_endian(s->from, 8), block = big_endian(s->from + 8, 4);
  s->got = whole;
  return block > 0 && whole <= s->room &&
         blocks_unpack(s->from + 12, s->bytes - 12, s->to, whole, block, true, &used);
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
static bool bitshuffle_lz4_undo(struct stream *s, size_t element) {
  size_t used = 0;
  if (s->bytes < 12) return false;
  uint64_t whole = big_endian(s->from, 8), block = big_endian(s->from + 8, 4) / element;
  if (whole > s->room || whole % element != 0 || block < 8 || block % 8 != 0) return false;
  uint64_t plain        = whole / element % 8 * element;
  unsigned char *packed = malloc(whole + 1);
  bool good             = packed &&
              blocks_unpack(s->from + 12, s->bytes - 12, packed, whole - plain, block * element,
                            false, &used) &&
              s->bytes - 12 - used >= plain;
  if (good) {
    memcpy(packed + (whole - plain), s->from + 12 + used, plain);
    unshuffle(packed, s->to, whole / element, element, block);
  }
  free(packed);
  s->got = whole;
  return good;
}

static bool bitshuffle_undo(struct stream *s) {
  if (s->details < 3 || s->detail[2] == 0 || s->detail[2] > 64) return false;
  size_t element   = s->detail[2];
  unsigned packing = s->details > 4 ? s->detail[4] : 0; /* 0 none, 2 LZ4 */
  if (packing == 2) return bitshuffle_lz4_undo(s, element);
  size_t block = s->details > 3 && s->detail[3] ? s->detail[3] : default_block(element);
  if (packing != 0 || s->bytes > s->room || s->bytes % element != 0 || block % 8 != 0) return false;
  unshuffle(s->from, s->to, s->bytes / element, element, block);
  s->got = s->bytes;
  return true;
}

/* ---- Blosc --------------------------------------------------------------------------------------------- */

static bool blosc_undo(struct stream *s) {
  if (s->bytes < BLOSC_MIN_HEADER_LENGTH ||
      blosc_cbuffer_validate(s->from, s->bytes, &s->got) != 0 || s->got > s->room)
    return false;
  return blosc_decompress_ctx(s->from, s->to, s->got, 1) == (int)s->got;
}

/* ---- all ------------------------------------------------------------------------------------------------ */

static bool (*undo_of(int id))(struct stream *s) {
  switch (id) {
  case H5Z_FILTER_DEFLATE:
    return deflate_undo;
  case H5Z_FILTER_SHUFFLE:
    return shuffle_undo;
  case H5Z_FILTER_FLETCHER32:
    return fletcher_undo;
  case FILTER_LZF:
    return lzf_undo;
  case FILTER_BLOSC:
    return blosc_undo;
  case FILTER_LZ4:
    return lz4_undo;
  case FILTER_BITSHUFFLE:
    return bitshuffle_undo;
  default:
    return NULL;
  }
}

bool filter_known(int id) { return undo_of(id) != NULL; }

bool filter_undo(const struct filter *filter, const void *from, size_t bytes, void *to, size_t room,
                 size_t *got) {
  bool (*undo)(struct stream *) = undo_of(filter->id);
  struct stream s               = {filter->detail, filter->details, from, bytes, to, room, 0};
  if (!undo || !undo(&s)) return false;
  *got = s.got;
  return true;
}

/* Bytes that will come out, as the stream or the parameters say; 0: no sense in them. */
static size_t bytes_said(int id, const struct stream *s) {
  size_t whole = s->bytes;
  if (id == FILTER_BLOSC) return blosc_cbuffer_validate(s->from, s->bytes, &whole) == 0 ? whole : 0;
  if (id == FILTER_LZF) return s->details > 2 ? s->detail[2] : 0;
  if (id == FILTER_LZ4 || (s->details > 4 && s->detail[4] == 2))
    whole = s->bytes < 12 ? 0 : big_endian(s->from, 8);
  return whole;
}

/* As HDF5 calls it. */
static size_t registered(int id, unsigned flags, size_t details, const unsigned *detail,
                         size_t bytes, size_t *buffer_bytes, void **buffer) {
  struct stream s = {detail, details, *buffer, bytes, NULL, 0, 0};
  if (!(flags & H5Z_FLAG_REVERSE)) return 0;
  s.room = bytes_said(id, &s);
  if (s.room == 0 || s.room > chunk_limit_bytes) return 0;
  s.to = H5allocate_memory(s.room, false);
  if (!s.to) return 0;
  if (!undo_of(id)(&s)) {
    H5free_memory(s.to);
    return 0;
  }
  H5free_memory(*buffer);
  *buffer       = s.to;
  *buffer_bytes = s.room;
  return s.got;
}

#define REGISTERED(name, id)                                                                       \
  static size_t name(unsigned flags, size_t details, const unsigned detail[], size_t bytes,        \
                     size_t *buffer_bytes, void **buffer) {                                        \
    return registered(id, flags, details, detail, bytes, buffer_bytes, buffer);                    \
  }
REGISTERED(lzf_filter, FILTER_LZF)
REGISTERED(blosc_filter, FILTER_BLOSC)
REGISTERED(lz4_filter, FILTER_LZ4)
REGISTERED(bitshuffle_filter, FILTER_BITSHUFFLE)

void filters_register(void) {
  static const H5Z_class2_t filters[] = {
      {H5Z_CLASS_T_VERS, FILTER_LZF,        0, 1, "lzf",        NULL, NULL, lzf_filter       },
      {H5Z_CLASS_T_VERS, FILTER_BLOSC,      0, 1, "blosc",      NULL, NULL, blosc_filter     },
      {H5Z_CLASS_T_VERS, FILTER_LZ4,        0, 1, "lz4",        NULL, NULL, lz4_filter       },
      {H5Z_CLASS_T_VERS, FILTER_BITSHUFFLE, 0, 1, "bitshuffle", NULL, NULL, bitshuffle_filter},
  };
  for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) H5Zregister(&filters[i]);
}
