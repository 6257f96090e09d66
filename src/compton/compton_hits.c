/* Hits instead of frames: what counting leaves of frames, and counting from that. Words of all files are shared out as
 * frames are; a rank's frames are those that begin among its words, and it looks a little to both sides: behind for the
 * end of its last frame, before for the frame that precedes its first. */
#include "compton_events.h"
#include "raw_hits.h"
#include <string.h>

/* ---- noting -------------------------------------------------------------------------------------- */

static void empties_note(struct events_work *work) {
  while (work->empties > 0) {
    int64_t n = work->empties < RAW_HITS_EMPTY_MOST ? work->empties : RAW_HITS_EMPTY_MOST;
    work->note[work->noted++] = (uint32_t)RAW_HITS_GAP << 16 | (uint32_t)n;
    work->empties -= n;
  }
}

void compton_hits_note(struct events_work *work, const uint16_t *frame) {
  uint32_t first = (uint32_t)RAW_HITS_FIRST << 16;
  bool any       = false;
  for (int64_t i = 0; i < (work->words + 63) / 64; i++)
    for (uint64_t bits = work->bits[i]; bits; bits &= bits - 1) {
      int64_t w = 64 * i + __builtin_ctzll(bits);
      if (!any) empties_note(work);
      work->note[work->noted++] =
          (any ? 0 : first) | (uint32_t)work->word[w].pixel << 16 | frame[w];
      any = true;
    }
  work->empties += !any;
}

void compton_hits_note_end(struct events_work *work) { empties_note(work); }

/* ---- counting ------------------------------------------------------------------------------------ */

static bool is_gap(uint32_t word) { return word >> 16 == RAW_HITS_GAP; }
static bool is_first(uint32_t word) { return word >> 31; }

/* The hits of a frame, word[first .. end - 1], into `frame`, and the bits of those over today's limits. */
static void frame_set(struct events_work *work, const uint32_t *word, int64_t first, int64_t end,
                      uint16_t *frame) {
  memset(work->bits, 0, (size_t)((work->words + 63) / 64) * sizeof *work->bits);
  for (int64_t k = first; k < end; k++) {
    int64_t pixel  = word[k] >> 16 & 0x7fff;
    uint16_t value = (uint16_t)(word[k] & 0xffff);
    if (pixel >= work->words || value <= work->limit[pixel]) continue;
    frame[pixel] = value;
    work->bits[pixel / 64] |= UINT64_C(1) << (pixel % 64);
  }
}

int64_t compton_hits_margin(int64_t pixels) { return pixels + 16; }

void compton_hits_add(struct events_work *work, const uint32_t *word, int64_t n, int64_t begin,
                      int64_t end, uint16_t *frame) {
  size_t bits_bytes = (size_t)((work->words + 63) / 64) * sizeof *work->before;
  memset(work->before, 0, bits_bytes);
  for (int64_t i = 0; i < n;) {
    if (is_gap(word[i])) memset(work->before, 0, bits_bytes);
    if (!is_first(word[i])) {
      i++;
      continue;
    }
    if (i >= end) return;
    int64_t next = i + 1;
    while (next < n && !is_gap(word[next]) && !is_first(word[next])) next++;
    frame_set(work, word, i, next, frame);
    if (i >= begin) ISA_PICK(events_count)(work, frame);
    uint64_t *swap = work->before;
    work->before = work->bits, work->bits = swap;
    i = next;
  }
}

/* ---- limits -------------------------------------------------------------------------------------- */

static enum status limits_check(const struct raw_frames *frames, int i,
                                const struct events_map *map, const uint16_t *kept) {
  for (int64_t p = 0; p < map->words; p++)
    if (!map->bad[p] && map->limit[p] < kept[p])
      return FAIL(STATUS_INPUT,
                  "%s: of pixel (%lld, %lld) hits above %d ADU were kept, now those above %d are "
                  "asked for; a "
                  "higher threshold, or the frames themselves would do",
                  frames->file[i].name, (long long)(p / map->columns),
                  (long long)(p % map->columns), kept[p], map->limit[p]);
  return STATUS_OK;
}

enum status compton_hits_check(MPI_Comm comm, const struct raw_frames *frames,
                               const struct events_map *map) {
  uint16_t *kept;
  TRY_ALL(comm, memory_make(map->words, sizeof *kept, "limits of hits", &kept));
  enum status status = STATUS_OK;
  for (int i = 0; i < frames->files && status == STATUS_OK; i++) {
    status = raw_hits_limits(comm, frames, i, kept);
    if (status == STATUS_OK) status = AGREE(comm, limits_check(frames, i, map, kept));
  }
  memory_free(kept);
  return status;
}
