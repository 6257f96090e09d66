/* A sample of what this rank wrote: where, and a hash. Before an output gets its name the sample is
 * read back from the synced file, past the page cache where the system allows. */
#include "store_private.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { SAMPLES = 64, SAMPLE_BYTES = 4096 };
struct samples {
  struct sample {
    int64_t offset, bytes;
    uint64_t hash;
  } row[SAMPLES];
  int n;
  uint64_t seen;
};

enum status samples_make(struct samples **samples) {
  return memory_make(1, sizeof **samples, "the written sample", samples);
}

void samples_free(struct samples **samples) {
  memory_free(*samples);
  *samples = NULL;
}

/* Values written again make their old samples void. */
static void overlaps_drop(struct samples *samples, int64_t offset, int64_t bytes) {
  for (int i = 0; i < samples->n; i++)
    if (samples->row[i].offset < offset + bytes &&
        offset < samples->row[i].offset + samples->row[i].bytes)
      samples->row[i--] = samples->row[--samples->n];
}

/* Reservoir sampling (Vitter's algorithm R), with a hash of the counter as its random numbers. */
void samples_note(struct samples *samples, const void *from, int64_t bytes, int64_t offset) {
  overlaps_drop(samples, offset, bytes);
  uint64_t count = ++samples->seen, slot;
  slot           = store_hash(&count, sizeof count, 0) % count;
  if (samples->n < SAMPLES)
    slot = (uint64_t)samples->n++;
  else if (slot >= SAMPLES)
    return;
  int64_t taken      = bytes < SAMPLE_BYTES ? bytes : SAMPLE_BYTES;
  samples->row[slot] = (struct sample){offset, taken, store_hash(from, taken, 0)};
}

static enum status sample_check(const struct sample *sample, int handle, const char *file) {
  char back[SAMPLE_BYTES];
  ssize_t n = pread(handle, back, (size_t)sample->bytes, sample->offset);
  if (n < 0) return FAIL(STATUS_OUTPUT, "%s cannot be read back: %s", file, strerror(errno));
  if (n != sample->bytes || store_hash(back, n, 0) != sample->hash)
    return FAIL(STATUS_OUTPUT, "%s, read back at byte %lld, is not what was written", file,
                (long long)sample->offset);
  return STATUS_OK;
}

enum status samples_check(const struct samples *samples, const char *file) {
  if (samples->n == 0) return STATUS_OK;
  int handle = open(file, O_RDONLY | O_CLOEXEC);
  if (handle < 0) return FAIL(STATUS_OUTPUT, "%s cannot be read back: %s", file, strerror(errno));
  enum status status = STATUS_OK;
  for (int i = 0; i < samples->n && status == STATUS_OK; i++) {
    posix_fadvise(handle, samples->row[i].offset, samples->row[i].bytes, POSIX_FADV_DONTNEED);
    status = sample_check(&samples->row[i], handle, file);
  }
  close(handle);
  return status;
}
