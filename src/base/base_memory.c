/* Counted, aligned allocation: a line of 64 bytes before each block holds its size. */
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

enum status memory_make_raw(int64_t count, size_t size_bytes, const char *what, void *out_pointer) {
  void **out = out_pointer;
  *out       = NULL;
  if (count < 0 || (size_bytes && (uint64_t)count > (uint64_t)(INT64_MAX / 2) / size_bytes))
    return FAIL(STATUS_INTERNAL, "%s: %lld items of %zu bytes are no size", what, (long long)count,
                size_bytes);
  size_t bytes = ((size_t)count * size_bytes + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
  char *block  = aligned_alloc(LINE_BYTES, bytes + LINE_BYTES);
  if (!block)
    return FAIL(STATUS_MEMORY, "not enough memory for %s: %.3f GB wanted, %.3f GB in use", what,
                (double)bytes * 1e-9, (double)now_bytes * 1e-9);
  ask_huge_pages(block, bytes + LINE_BYTES);
  memcpy(block, &bytes, sizeof bytes);
  now_bytes += (int64_t)bytes;
  if (now_bytes > peak_bytes) peak_bytes = now_bytes;
  *out = block + LINE_BYTES;
  return STATUS_OK;
}

enum status memory_make(int64_t count, size_t size_bytes, const char *what, void *out_pointer) {
  TRY(memory_make_raw(count, size_bytes, what, out_pointer));
  memset(*(void **)out_pointer, 0, (size_t)count * size_bytes);
  return STATUS_OK;
}

void memory_free(void *pointer) {
  if (!pointer) return;
  char *block = (char *)pointer - LINE_BYTES;
  size_t bytes;
  memcpy(&bytes, block, sizeof bytes);
  now_bytes -= (int64_t)bytes;
  free(block);
}

int64_t memory_now_bytes(void) { return now_bytes; }
int64_t memory_peak_bytes(void) { return peak_bytes; }
void memory_peak_reset(void) { peak_bytes = now_bytes; }

int64_t memory_rss_peak_bytes(void) {
  struct rusage usage;
  return getrusage(RUSAGE_SELF, &usage) == 0 ? (int64_t)usage.ru_maxrss * 1024 : 0;
}
