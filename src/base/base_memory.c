/* Counted, aligned allocation: a line of 64 bytes before each block tells where it came from. */
#include "base.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum { LINE_BYTES = 64, HUGE_BYTES = 1 << 21 };
static int64_t now_bytes, peak_bytes;

/* Asks for huge pages inside a large block: an eighth of the time to first touch it. A hint only. */
static void ask_huge_pages(char *block, size_t bytes) {
  char *first = block + (HUGE_BYTES - (uintptr_t)block % HUGE_BYTES) % HUGE_BYTES;
  if (bytes < 4 * (size_t)HUGE_BYTES) return;
  (void)madvise(first, (bytes - (size_t)(first - block)) / HUGE_BYTES * HUGE_BYTES, MADV_HUGEPAGE);
}

/* What stands before a block. */
struct front {
  void *all; /* what malloc gave */
  size_t bytes;
};

static enum status make(int64_t count, size_t size_bytes, bool zero, const char *what, void **out) {
  *out = NULL;
  if (count < 0 || (size_bytes && (uint64_t)count > (uint64_t)(INT64_MAX / 2) / size_bytes))
    return FAIL(STATUS_INTERNAL, "%s: %lld items of %zu bytes are no size", what, (long long)count,
                size_bytes);
  const size_t bytes = ((size_t)count * size_bytes + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
  /* calloc knows which pages are fresh, and leaves them alone */
  char *all = zero ? calloc(1, bytes + 2 * LINE_BYTES) : malloc(bytes + 2 * LINE_BYTES);
  if (!all)
    return FAIL(STATUS_MEMORY, "not enough memory for %s: %.3f GB wanted, %.3f GB in use", what,
                (double)bytes * 1e-9, (double)now_bytes * 1e-9);
  char *block = all + 2 * LINE_BYTES - (uintptr_t)all % LINE_BYTES;
  ask_huge_pages(all, bytes + 2 * LINE_BYTES);
  memcpy(block - LINE_BYTES, &(struct front){all, bytes}, sizeof(struct front));
  now_bytes += (int64_t)bytes;
  if (now_bytes > peak_bytes) peak_bytes = now_bytes;
  *out = block;
  return STATUS_OK;
}
enum status memory_make_raw(int64_t count, size_t size_bytes, const char *what, void *out_pointer) {
  return make(count, size_bytes, false, what, out_pointer);
}
enum status memory_make(int64_t count, size_t size_bytes, const char *what, void *out_pointer) {
  return make(count, size_bytes, true, what, out_pointer);
}

void memory_free(void *pointer) {
  struct front front;
  if (!pointer) return;
  memcpy(&front, (char *)pointer - LINE_BYTES, sizeof front);
  now_bytes -= (int64_t)front.bytes;
  free(front.all);
}

int64_t memory_now_bytes(void) { return now_bytes; }
int64_t memory_peak_bytes(void) { return peak_bytes; }
void memory_peak_reset(void) { peak_bytes = now_bytes; }

int64_t memory_rss_peak_bytes(void) {
  struct rusage usage;
  return getrusage(RUSAGE_SELF, &usage) == 0 ? (int64_t)usage.ru_maxrss * 1024 : 0;
}
