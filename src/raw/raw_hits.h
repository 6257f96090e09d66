#pragma once
#include "raw_frames.h"

/* Files of hits: what a threshold leaves of frames, four bytes each, from which events are counted anew in seconds.
 *
 * Little-endian: char[8] "XCSCTHIT"; u32 version 1, rows, columns, 0; i64 frames, words; u16 limit[rows * columns] in
 * raster order (a value is a hit above it), filled up to a multiple of 4 bytes; then u32 word[words]. A word is a hit:
 * bit 31 set: the first of its frame; bits 16..30: pixel in raster order; bits 0..15: value in ADU. Or, with bits
 * 16..31 equal to 0x7fff, a gap: the low 16 bits count frames without hits. */
enum { RAW_HITS_GAP = 0x7fff, RAW_HITS_FIRST = 1 << 15, RAW_HITS_EMPTY_MOST = 65535 };

/* ---- reading: such a file is opened by raw_frames_open, whose is_hits is then set ---------------- */

/* Local. Words first .. first + n - 1 of all files of the acquisition, one after the other. */
enum status raw_hits_read_here(struct raw_frames *frames, int64_t first, int64_t n, uint32_t *to);
/* Collective. The limits that made file i, on all ranks: limit[frames->words]. */
enum status raw_hits_limits(MPI_Comm comm, const struct raw_frames *frames, int i, uint16_t *limit);

/* ---- writing ------------------------------------------------------------------------------------- */

struct raw_hits_file {
  char path[STORE_NAME_BYTES], partial[STORE_NAME_BYTES + 16];
  int handle;
  int64_t rows, columns, words; /* words so far, of all ranks */
};
/* Collective. limit[rows * columns]. words > 0: an earlier call's file goes on after them, where it is there; else
 * file->words is 0. INPUT: more pixels than a word can tell. */
enum status raw_hits_begin(MPI_Comm comm, const char *path, int64_t rows, int64_t columns,
                           const uint16_t *limit, int64_t words, struct raw_hits_file *file);
/* Collective. The ranks' words, those of rank 0 first. */
enum status raw_hits_put(MPI_Comm comm, struct raw_hits_file *file, const uint32_t *word,
                         int64_t n);
/* Collective. All that was put is on disk. */
enum status raw_hits_sync(MPI_Comm comm, const struct raw_hits_file *file);
/* Collective. The file gets its name. */
enum status raw_hits_commit(MPI_Comm comm, struct raw_hits_file *file, int64_t frames);
/* Local; also after commit. keep: the partial file stays for a later call. */
void raw_hits_close(struct raw_hits_file *file, bool keep);
