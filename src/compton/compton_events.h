/* Inside compton: hits, clusters and events of frames, all in integers so that counts do not depend on the
 * instruction set, the rank count or the block. */
#pragma once
#include "compton_cube.h"

/* Energies are whole numbers of 2^-36 of a bin. */
enum { EVENTS_FRACTION_BITS = 36, EVENTS_RIM = 1, PAIR_STEPS = 64, PAIR_FACTOR_BITS = 30 };

/* One word of a frame. */
struct events_word {
  int64_t slope, base; /* energy = slope ADU + base */
  int32_t pixel;       /* in raster order */
  int32_t cell;        /* of the label grid, which has a rim of one cell */
};
struct events_tally {
  int64_t hits, singles, pairs, dropped, vetoed, outside;
};
struct events_hit {
  int64_t energy;
  int32_t pixel, cell;
  int32_t word, parent; /* parent, members, other: of clusters, while a frame is worked on */
  int32_t members, other;
  bool veto;
};
struct events_work {
  int64_t words, row; /* row: cells of a row of the label grid */
  const struct events_word *word;
  const uint16_t *limit;  /* a hit is more than this; 65535: never */
  const float *limit_kev; /* frames in keV: a hit is at least this; INFINITY: never */
  double kev_scale;       /* energy of a frame in keV */
  int64_t first;          /* lower edge of bin 0 */
  int64_t bins;
  int max_cluster;
  bool veto;
  const int64_t *pair_factor; /* [PAIR_STEPS] by R, in 2^-30; NULL: pairs keep their sum */
  uint32_t *histogram;        /* [pixel][bin] */
  uint32_t *pairs;            /* [PAIR_SHARES][pair_bins], NULL: not wanted */
  int64_t pair_first, pair_width, pair_bins;
  int32_t *label; /* 1 + hit of each cell; all 0 between frames */
  struct events_hit *hit;
  int32_t *crowd;          /* hits with a neighbour */
  uint64_t *bits, *before; /* a bit per word: hit in this frame, in the one before */
  uint32_t *
      note; /* hits of the frames counted, as raw_hits.h has them; borrowed, NULL: none are noted */
  int64_t noted, empties; /* words in it; frames without hits since the last */
  struct events_tally tally;
};

/* bits[i / 64] bit i % 64 = word i is a hit; (words + 63) / 64 of them. */
ISA_DECLARE(void, events_find, const uint16_t *frame, const uint16_t *limit, int64_t words,
            uint64_t *bits)
ISA_DECLARE(void, events_find_kev, const float *frame, const float *limit, int64_t words,
            uint64_t *bits)
/* Counts the events of the hits in work->bits; `frame` is uint16, or float where limit_kev is set. */
ISA_DECLARE(void, events_count, struct events_work *work, const void *frame)
/* sum[i] += frame[i], square[i] += frame[i]^2. */
ISA_DECLARE(void, events_dark_add, const uint16_t *frame, int64_t words, uint64_t *sum,
            uint64_t *square)

/* What files tell of every pixel, in raster order. */
struct events_pixels {
  double *gain, *offset, *threshold, *mean, *noise; /* mean, noise: [runs][n], of the dark */
  double *median_noise; /* [runs], of pixels with a gain; 0: no noise is known */
  int64_t n;
  int runs; /* dark runs apart; 1: all together, or none */
};
/* The detector as the settings see it, on all ranks alike. */
struct events_map {
  int64_t rows, columns, words, bins;
  struct events_word *word; /* [words], in the order of the frames' words */
  uint16_t *limit;
  float *limit_kev; /* NULL but for frames in keV */
  uint8_t *bad;     /* [words], in raster order */
  double kev_scale;
  int64_t first, bad_pixels;
  bool pairs_lost;
  int64_t pair_factor[PAIR_STEPS];
  struct events_pixels pixels; /* kept where the dark changes */
  int64_t step;                /* of the dark, that word and limit have */
};
/* Local. Do the settings go together, and with these frames? */
enum status compton_events_check(const struct compton_frames_settings *settings,
                                 const struct raw_frames *frames);
/* Local. What map and work take; darks: dark runs apart, or 0. */
int64_t compton_events_bytes(int64_t rows, int64_t columns, int64_t bins, int darks);
/* Collective: reads maps and dark runs. */
enum status compton_events_map_make(MPI_Comm comm, const struct compton_frames_settings *settings,
                                    const struct raw_frames *frames, struct events_map *map);
void compton_events_map_free(struct events_map *map);
/* Local. Gives word and limit the dark of a frame; that of the frames before the returned one is the same. The dark goes in
 * steps of the acquisition, so blocks and ranks do not show. */
int64_t compton_events_map_at(const struct compton_frames_settings *settings,
                              const struct raw_frames *frames, int64_t frame,
                              struct events_map *map);
/* Local. The map is borrowed. */
enum status compton_events_work_make(const struct events_map *map,
                                     const struct compton_frames_settings *settings,
                                     struct events_work *work);
void compton_events_work_free(struct events_work *work);
/* Local. Counts n frames one after the other. `before`: the first of them is only looked at for hits (it precedes
 * the block). */
void compton_events_add(struct events_work *work, const void *frames, int64_t n, bool before);

/* Collective. Mean and noise (standard deviation) of every pixel of the dark runs, in ADU, in raster order, from exact
 * integer sums. */
enum status compton_events_dark(MPI_Comm comm, const struct raw_frames_request *request,
                                int64_t rows, int64_t columns, double *mean, double *noise,
                                int64_t *frames);

/* Local. A frame's hits, those in work->bits, into work->note; at the end of a block the frames without hits. Room:
 * a word per pixel and one more for each frame. */
void compton_hits_note(struct events_work *work, const uint16_t *frame);
void compton_hits_note_end(struct events_work *work);
/* Local. Counts the frames that begin among word[begin .. end - 1] of word[n]; `frame` is room for one. On both sides
 * of begin .. end stand compton_hits_margin words, or all there are. */
int64_t compton_hits_margin(int64_t pixels);
void compton_hits_add(struct events_work *work, const uint32_t *word, int64_t n, int64_t begin,
                      int64_t end, uint16_t *frame);
/* Collective. INPUT: hits that today's limits ask for were not kept. */
enum status compton_hits_check(MPI_Comm comm, const struct raw_frames *frames,
                               const struct events_map *map);
