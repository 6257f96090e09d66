/* Reading packed chunks. HDF5 1.10 believes a chunk's filters about how many bytes they give, and reads
 * beyond them when a damaged file makes them give fewer. So packed chunks are taken as they lie in the
 * file (H5Dread_chunk) and unpacked here, each into exactly the bytes of a chunk or not at all. Files
 * that use HDF5's rarer filters (szip, n-bit, scale-offset) are left to H5Dread. */
#include "store_private.h"
#include <stdlib.h>
#include <string.h>

enum { FILTERS_MAX = 8, SLACK_BYTES = 64 };
struct chunks {
  struct filter filter[FILTERS_MAX];
  int filters, rank;
  int64_t n[STORE_RANK_MAX], chunk[STORE_RANK_MAX], elements;
  size_t stored_bytes, element_bytes; /* of a whole chunk as stored; of a native value */
  hid_t type, native;
  unsigned char *packed, *work[2]; /* the chunk in the file; two buffers of room_bytes */
  size_t packed_bytes, room_bytes;
  unsigned char fill[8];
};

/* False when some filter is not known here. */
static bool filters_read(hid_t creation, struct chunks *chunks) {
  chunks->filters = H5Pget_nfilters(creation);
  if (chunks->filters < 1 || chunks->filters > FILTERS_MAX) return false;
  for (int i = 0; i < chunks->filters; i++) {
    struct filter *filter = &chunks->filter[i];
    unsigned flags, config;
    filter->details = FILTER_DETAILS_MAX;
    filter->id = H5Pget_filter2(creation, (unsigned)i, &flags, &filter->details, filter->detail, 0,
                                NULL, &config);
    if (!filter_known(filter->id) || filter->details > FILTER_DETAILS_MAX) return false;
  }
  return true;
}

static enum status buffers_make(struct chunks *chunks, size_t type_bytes) {
  size_t larger        = type_bytes > chunks->element_bytes ? type_bytes : chunks->element_bytes;
  chunks->stored_bytes = (size_t)chunks->elements * type_bytes;
  chunks->room_bytes   = (size_t)chunks->elements * larger + SLACK_BYTES;
  TRY(memory_make_raw((int64_t)chunks->room_bytes, 1, "a chunk", &chunks->work[0]));
  return memory_make_raw((int64_t)chunks->room_bytes, 1, "a chunk", &chunks->work[1]);
}

void chunks_free(struct chunks **chunks) {
  if (!*chunks) return;
  if ((*chunks)->type >= 0) H5Tclose((*chunks)->type);
  memory_free((*chunks)->packed);
  memory_free((*chunks)->work[0]);
  memory_free((*chunks)->work[1]);
  memory_free(*chunks);
  *chunks = NULL;
}

enum status chunks_make(hid_t dataset, const struct store_info *info, enum native native,
                        struct chunks **chunks) {
  *chunks = NULL;
  if (info->rank < 1 || info->chunk[0] == 0) return STATUS_OK;
  TRY(memory_make(1, sizeof **chunks, "a chunk reader", chunks));
  struct chunks *made = *chunks;
  hid_t creation      = H5Dget_create_plist(dataset);
  made->type          = H5Dget_type(dataset);
  made->native        = native_hdf5(native);
  made->element_bytes = native_bytes(native);
  made->rank          = info->rank;
  made->elements      = 1;
  for (int a = 0; a < info->rank; a++) {
    made->n[a]     = info->n[a];
    made->chunk[a] = info->chunk[a];
    made->elements *= info->chunk[a];
  }
  bool known = filters_read(creation, made);
  if (known && H5Pget_fill_value(creation, made->native, made->fill) < 0)
    memset(made->fill, 0, sizeof made->fill);
  H5Pclose(creation);
  enum status status = known ? buffers_make(made, H5Tget_size(made->type)) : STATUS_OK;
  if (!known || status != STATUS_OK) chunks_free(chunks);
  return status;
}

static enum status damaged(const struct store_info *info, const hsize_t *offset, const char *why) {
  return FAIL(STATUS_INPUT, "%s:%s has a damaged chunk at (%lld, ...): %s", info->file,
              info->dataset, (long long)offset[0], why);
}

/* A chunk that was never written holds the fill value. */
static void fill_put(struct chunks *chunks) {
  for (int64_t i = 0; i < chunks->elements; i++)
    memcpy(chunks->work[0] + (size_t)i * chunks->element_bytes, chunks->fill,
           chunks->element_bytes);
}

static enum status packed_read(struct chunks *chunks, const struct store_info *info, hid_t dataset,
                               const hsize_t *offset, size_t bytes, uint32_t *mask) {
  if (bytes > 2 * chunks->room_bytes + 65536) return damaged(info, offset, "its length is absurd");
  if (bytes > chunks->packed_bytes) {
    memory_free(chunks->packed);
    chunks->packed       = NULL;
    chunks->packed_bytes = 0;
    TRY(memory_make_raw((int64_t)bytes, 1, "a packed chunk", &chunks->packed));
    chunks->packed_bytes = bytes;
  }
  if (H5Dread_chunk(dataset, H5P_DEFAULT, offset, mask, chunks->packed) < 0)
    return damaged(info, offset, hdf5_reason());
  return STATUS_OK;
}

/* Bytes of a chunk in the file, 0: never written. The quick question fails on chunks that are not
 * there as it does on damage; the slow one (it walks the whole index) tells them apart. */
static enum status chunk_bytes_find(const struct store_info *info, hid_t dataset,
                                    const hsize_t *offset, hsize_t *bytes) {
  unsigned mask;
  haddr_t place = HADDR_UNDEF;
  if (H5Dget_chunk_storage_size(dataset, offset, bytes) >= 0) return STATUS_OK;
  if (H5Dget_chunk_info_by_coord(dataset, offset, &mask, &place, bytes) < 0)
    return damaged(info, offset, hdf5_reason());
  if (place != HADDR_UNDEF && *bytes > 0) return damaged(info, offset, "its place is not known");
  *bytes = 0;
  return STATUS_OK;
}

/* Loads one chunk as native values into work[0]. */
static enum status chunk_load(struct chunks *chunks, const struct store_info *info, hid_t dataset,
                              const hsize_t *offset) {
  hsize_t stored = 0;
  uint32_t mask  = 0;
  TRY(chunk_bytes_find(info, dataset, offset, &stored));
  if (stored == 0) return fill_put(chunks), STATUS_OK;
  TRY(packed_read(chunks, info, dataset, offset, (size_t)stored, &mask));
  const unsigned char *from = chunks->packed;
  size_t bytes              = (size_t)stored;
  for (int i = chunks->filters - 1, turn = 0; i >= 0; i--) {
    if (mask >> i & 1) continue;
    if (!filter_undo(&chunks->filter[i], from, bytes, chunks->work[turn], chunks->room_bytes,
                     &bytes))
      return damaged(info, offset, "it cannot be unpacked");
    from = chunks->work[turn];
    turn = 1 - turn;
  }
  if (bytes != chunks->stored_bytes)
    return damaged(info, offset, "it has another length than a chunk");
  if (from != chunks->work[0]) memcpy(chunks->work[0], from, bytes);
  if (H5Tconvert(chunks->type, chunks->native, (size_t)chunks->elements, chunks->work[0], NULL,
                 H5P_DEFAULT) < 0)
    return damaged(info, offset, hdf5_reason());
  return STATUS_OK;
}

/* Copies what a loaded chunk and the piece have in common into the packed piece. */
static void overlap_copy(const struct chunks *chunks, const hsize_t *offset, const int64_t *start,
                         const int64_t *n, char *to) {
  int64_t first[STORE_RANK_MAX], end[STORE_RANK_MAX], at[STORE_RANK_MAX];
  int last = chunks->rank - 1;
  for (int a = 0; a < chunks->rank; a++) {
    int64_t low = (int64_t)offset[a], high = low + chunks->chunk[a];
    first[a] = at[a] = low > start[a] ? low : start[a];
    end[a]           = high < start[a] + n[a] ? high : start[a] + n[a];
  }
  size_t row = (size_t)(end[last] - first[last]) * chunks->element_bytes;
  for (;;) {
    int64_t from = 0, into = 0;
    for (int a = 0; a < chunks->rank; a++) {
      from = from * chunks->chunk[a] + at[a] - (int64_t)offset[a];
      into = into * n[a] + at[a] - start[a];
    }
    memcpy(to + (size_t)into * chunks->element_bytes,
           chunks->work[0] + (size_t)from * chunks->element_bytes, row);
    int a = last - 1;
    for (; a >= 0; a--) {
      if (++at[a] < end[a]) break;
      at[a] = first[a];
    }
    if (a < 0) return;
  }
}

enum status chunks_read(struct chunks *chunks, const struct store_info *info, hid_t dataset,
                        const int64_t *start, const int64_t *n, void *to) {
  hsize_t offset[STORE_RANK_MAX];
  for (int a = 0; a < chunks->rank; a++)
    offset[a] = (hsize_t)(start[a] / chunks->chunk[a] * chunks->chunk[a]);
  for (;;) {
    TRY(chunk_load(chunks, info, dataset, offset));
    overlap_copy(chunks, offset, start, n, to);
    int a = chunks->rank - 1;
    for (; a >= 0; a--) {
      offset[a] += (hsize_t)chunks->chunk[a];
      if ((int64_t)offset[a] < start[a] + n[a]) break;
      offset[a] = (hsize_t)(start[a] / chunks->chunk[a] * chunks->chunk[a]);
    }
    if (a < 0) return STATUS_OK;
  }
}
