/* Compressed datasets: chunks of whole slices (shuffle and deflate, which every HDF5 reads). Ranks pack
 * their chunks side by side; rank 0, which alone speaks HDF5, receives them in bounded batches and
 * appends them. What it has to take is what is left after packing, never a volume. */
#include "store_private.h"
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { BATCH_BYTES = 16 << 20, CHUNK_BYTES = 8 << 20, PACK_TAG = 7101 };

/* A packed chunk as it travels: this, then its bytes. */
struct parcel {
  int64_t offset[STORE_RANK_MAX], bytes;
};

struct packing {
  struct store_output *output;
  const struct output_dataset *dataset;
  struct box box;
  const char *from;
  int level;
  int64_t chunks, per_batch, chunk_bytes, parcel_bytes; /* of this rank; the largest parcel */
  unsigned char *plain, *shuffled;                      /* one chunk */
  char *batch;
};

void pack_chunk(const struct output_dataset *dataset, int64_t *chunk) {
  int last          = dataset->rank - 1;
  int64_t row_bytes = dataset->n[last] * (int64_t)grid_type_bytes(dataset->type);
  for (int a = 0; a < dataset->rank; a++) chunk[a] = 1;
  chunk[last] = dataset->n[last] > 0 ? dataset->n[last] : 1;
  if (last == 0) return;
  int64_t rows    = CHUNK_BYTES / (row_bytes > 0 ? row_bytes : 1);
  chunk[last - 1] = rows < 1 ? 1 : rows < dataset->n[last - 1] ? rows : dataset->n[last - 1];
}

/* Chunks are whole: a box must cover full rows, and rows from one chunk's beginning to another's end. */
static enum status box_check(const struct packing *p, const int64_t *chunk) {
  const struct box *box = &p->box;
  for (int a = 0; a < box->rank; a++) {
    int64_t end = box->start[a] + box->n[a];
    if (box->start[a] % chunk[a] != 0 || (end % chunk[a] != 0 && end != p->dataset->n[a]))
      return FAIL(STATUS_INTERNAL, "%s is compressed and written in whole slices",
                  p->dataset->product);
  }
  return STATUS_OK;
}

static enum status packing_make(struct packing *p) {
  int64_t chunk[STORE_RANK_MAX];
  pack_chunk(p->dataset, chunk);
  p->chunks      = 1;
  p->chunk_bytes = (int64_t)grid_type_bytes(p->dataset->type);
  for (int a = 0; a < p->box.rank; a++) {
    p->chunks *= (p->box.n[a] + chunk[a] - 1) / chunk[a];
    p->chunk_bytes *= chunk[a];
  }
  p->parcel_bytes = (int64_t)sizeof(struct parcel) + (int64_t)compressBound((uLong)p->chunk_bytes);
  p->per_batch    = BATCH_BYTES / p->parcel_bytes > 0 ? BATCH_BYTES / p->parcel_bytes : 1;
  if (p->chunks > 0) TRY(box_check(p, chunk));
  TRY(memory_make(p->chunk_bytes, 1, "a chunk", &p->plain));
  TRY(memory_make(p->chunk_bytes, 1, "a chunk", &p->shuffled));
  return memory_make_raw(p->per_batch * p->parcel_bytes, 1, "packed chunks", &p->batch);
}

static void packing_free(struct packing *p) {
  memory_free(p->plain);
  memory_free(p->shuffled);
  memory_free(p->batch);
}

/* Offset of chunk i of this rank's box, and the rows of it that there are. */
static int64_t chunk_place(const struct packing *p, int64_t i, int64_t *offset) {
  int64_t chunk[STORE_RANK_MAX], rows = 1;
  int row_axis = p->box.rank - 2;
  pack_chunk(p->dataset, chunk);
  for (int a = p->box.rank - 1; a >= 0; a--) {
    int64_t along = (p->box.n[a] + chunk[a] - 1) / chunk[a];
    offset[a]     = p->box.start[a] + i % along * chunk[a];
    i /= along;
  }
  if (row_axis >= 0) {
    rows = p->dataset->n[row_axis] - offset[row_axis];
    if (rows > chunk[row_axis]) rows = chunk[row_axis];
  }
  return rows;
}

static void shuffle(const unsigned char *from, unsigned char *to, int64_t n, int64_t element) {
  for (int64_t k = 0; k < element; k++)
    for (int64_t i = 0; i < n; i++) to[k * n + i] = from[i * element + k];
}

static enum status chunk_pack(struct packing *p, int64_t i, char *to, int64_t *bytes) {
  struct parcel parcel = {0};
  int64_t element      = (int64_t)grid_type_bytes(p->dataset->type), at[STORE_RANK_MAX];
  int64_t rows         = chunk_place(p, i, parcel.offset);
  int64_t row_bytes    = p->dataset->n[p->box.rank - 1] * element;
  memcpy(at, parcel.offset, sizeof at);
  memset(p->plain + rows * row_bytes, 0, (size_t)(p->chunk_bytes - rows * row_bytes));
  for (int64_t row = 0; row < rows; row++) {
    memcpy(p->plain + row * row_bytes, p->from + (size_t)(box_offset(&p->box, at) * element),
           (size_t)row_bytes);
    if (p->box.rank > 1) at[p->box.rank - 2]++;
  }
  const unsigned char *source = p->plain;
  if (element > 1) {
    shuffle(p->plain, p->shuffled, p->chunk_bytes / element, element);
    source = p->shuffled;
  }
  uLongf packed = compressBound((uLong)p->chunk_bytes);
  if (compress2((Bytef *)to + sizeof parcel, &packed, source, (uLong)p->chunk_bytes, p->level) !=
      Z_OK)
    return FAIL(STATUS_INTERNAL, "%s cannot be compressed", p->dataset->product);
  parcel.bytes = (int64_t)packed;
  memcpy(to, &parcel, sizeof parcel);
  *bytes = (int64_t)sizeof parcel + parcel.bytes;
  return STATUS_OK;
}

static enum status batch_pack(struct packing *p, int64_t first, int64_t *bytes) {
  *bytes = 0;
  TRY(fault_here("store.pack"));
  for (int64_t i = first; i < first + p->per_batch && i < p->chunks; i++) {
    int64_t more = 0;
    TRY(chunk_pack(p, i, p->batch + *bytes, &more));
    *bytes += more;
  }
  return STATUS_OK;
}

/* ---- what was written, for reading back ------------------------------------------------------------ */

struct packed_sample {
  const struct output_dataset *dataset;
  struct parcel parcel;
  uint64_t hash;
};
enum { PACKED_SAMPLES = 64 };
struct packed_samples {
  struct packed_sample row[PACKED_SAMPLES];
  int n;
  uint64_t seen;
};

/* As store_samples.c does for plain values; a chunk written again replaces its sample. */
static void sample_note(struct store_output *output, const struct output_dataset *dataset,
                        const struct parcel *parcel, uint64_t hash) {
  struct packed_samples *samples = output->packed;
  uint64_t count = ++samples->seen, slot = store_hash(&count, sizeof count, 0) % count;
  if (samples->n < PACKED_SAMPLES) slot = (uint64_t)samples->n;
  for (int i = 0; i < samples->n; i++)
    if (samples->row[i].dataset == dataset &&
        memcmp(samples->row[i].parcel.offset, parcel->offset, sizeof parcel->offset) == 0)
      slot = (uint64_t)i;
  if (slot >= PACKED_SAMPLES) return;
  if (slot == (uint64_t)samples->n) samples->n++;
  samples->row[slot] = (struct packed_sample){dataset, *parcel, hash};
}

enum status packed_samples_make(struct packed_samples **samples) {
  return memory_make(1, sizeof **samples, "the written sample", samples);
}

/* Hash of a packed chunk as it lies in the file, chained; bytes < 0: of whatever length. */
static bool chunk_hash(hid_t dataset, const int64_t *offset, int rank, int64_t bytes,
                       uint64_t *hash) {
  hsize_t place[STORE_RANK_MAX], stored = 0;
  uint32_t mask;
  char *back = NULL;
  for (int a = 0; a < rank; a++) place[a] = (hsize_t)offset[a];
  if (H5Dget_chunk_storage_size(dataset, place, &stored) < 0 || stored == 0)
    return bytes < 0; /* never written */
  bool good = bytes < 0 || (int64_t)stored == bytes;
  good      = good && memory_make_raw((int64_t)stored, 1, "a packed chunk", &back) == STATUS_OK &&
         H5Dread_chunk(dataset, H5P_DEFAULT, place, &mask, back) >= 0;
  if (good) *hash = store_hash(back, (int64_t)stored, *hash);
  memory_free(back);
  return good;
}

bool packed_samples_agree(const struct packed_samples *samples,
                          const struct output_dataset *dataset, hid_t id) {
  for (int i = 0; i < samples->n; i++) {
    const struct packed_sample *sample = &samples->row[i];
    uint64_t hash                      = 0;
    if (sample->dataset == dataset &&
        (!chunk_hash(id, sample->parcel.offset, dataset->rank, sample->parcel.bytes, &hash) ||
         hash != sample->hash))
      return false;
  }
  return true;
}

bool packed_hash(const struct output_dataset *dataset, hid_t id, uint64_t *hash) {
  int64_t chunk[STORE_RANK_MAX], at[STORE_RANK_MAX] = {0};
  pack_chunk(dataset, chunk);
  for (;;) {
    if (!chunk_hash(id, at, dataset->rank, -1, hash)) return false;
    int a = dataset->rank - 1;
    for (; a >= 0; a--) {
      if ((at[a] += chunk[a]) < dataset->n[a]) break;
      at[a] = 0;
    }
    if (a < 0) return true;
  }
}

/* ---- rank 0 ------------------------------------------------------------------------------------------ */

static enum status parcel_write(struct packing *p, hid_t dataset, const struct parcel *parcel,
                                const char *bytes) {
  hsize_t offset[STORE_RANK_MAX];
  for (int a = 0; a < p->box.rank; a++) offset[a] = (hsize_t)parcel->offset[a];
  if (H5Dwrite_chunk(dataset, H5P_DEFAULT, 0, offset, (size_t)parcel->bytes, bytes) < 0)
    return FAIL(STATUS_OUTPUT, "%s cannot be written: %s", p->output->partial, hdf5_reason());
  if (p->output->why) return output_failed(p->output, p->output->why);
  uint64_t hash = store_hash(bytes, parcel->bytes, 0);
  sample_note(p->output, p->dataset, parcel, hash);
  return STATUS_OK;
}

static enum status parcels_write(struct packing *p, hid_t dataset, const char *batch,
                                 int64_t bytes) {
  for (int64_t at = 0; at < bytes;) {
    struct parcel parcel;
    memcpy(&parcel, batch + at, sizeof parcel);
    at += (int64_t)sizeof parcel;
    TRY(parcel_write(p, dataset, &parcel, batch + at));
    at += parcel.bytes;
  }
  return STATUS_OK;
}

static enum status dataset_open(const struct packing *p, hid_t *dataset) {
  char path[PRODUCT_BYTES + 32];
  snprintf(path, sizeof path, "/entry/%s/%s", p->dataset->product,
           p->dataset->errors ? "data_errors" : "data");
  *dataset = H5Dopen2(p->output->file, path, H5P_DEFAULT);
  return *dataset >= 0 ? STATUS_OK : FAIL(STATUS_INTERNAL, "%s: %s", path, hdf5_reason());
}

/* Takes the batches of all ranks in turn, also after a failure, so that nobody waits. */
static enum status batches_take(MPI_Comm comm, struct packing *p, int64_t bytes) {
  int size;
  hid_t dataset;
  MPI_Comm_size(comm, &size);
  enum status status = dataset_open(p, &dataset);
  if (status == STATUS_OK) status = parcels_write(p, dataset, p->batch, bytes);
  for (int rank = 1; rank < size; rank++) {
    int64_t more = 0;
    MPI_Recv(&more, 1, MPI_INT64_T, rank, PACK_TAG, comm, MPI_STATUS_IGNORE);
    if (more > 0) MPI_Recv(p->batch, (int)more, MPI_BYTE, rank, PACK_TAG, comm, MPI_STATUS_IGNORE);
    if (status == STATUS_OK) status = parcels_write(p, dataset, p->batch, more);
  }
  if (dataset >= 0) H5Dclose(dataset);
  return status;
}

static enum status batch_hand_over(MPI_Comm comm, struct packing *p, int64_t bytes) {
  if (rank_of(comm) == 0) return batches_take(comm, p, bytes);
  MPI_Send(&bytes, 1, MPI_INT64_T, 0, PACK_TAG, comm);
  if (bytes > 0) MPI_Send(p->batch, (int)bytes, MPI_BYTE, 0, PACK_TAG, comm);
  return STATUS_OK;
}

static enum status batches_write(MPI_Comm comm, struct packing *p) {
  int64_t batches = (p->chunks + p->per_batch - 1) / p->per_batch;
  MPI_Allreduce(MPI_IN_PLACE, &batches, 1, MPI_INT64_T, MPI_MAX, comm);
  for (int64_t k = 0; k < batches; k++) {
    int64_t bytes = 0;
    TRY_ALL(comm, batch_pack(p, k * p->per_batch, &bytes));
    TRY_ALL(comm, batch_hand_over(comm, p, bytes));
  }
  return STATUS_OK;
}

enum status pack_write(MPI_Comm comm, struct store_output *output,
                       const struct output_dataset *dataset, const struct box *box,
                       const void *from) {
  struct packing p = {
      .output = output, .dataset = dataset, .box = *box, .from = from, .level = output->deflate};
  enum status status = AGREE(comm, packing_make(&p));
  if (status == STATUS_OK) status = batches_write(comm, &p);
  packing_free(&p);
  return status;
}
