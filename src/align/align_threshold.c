/* The grey value above which a volume is looked at: as given, or between the two brightest of four classes. */
#include "align_stage.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Grey values of the first volume: their range, then their histogram. Where one round is all it is read once. */
struct greys {
  double range[2];
  struct voxel_histogram histogram;
  float *slices;
  bool are_read;
};

static enum status
each_round(const struct align_work *w, const struct align_source *volume, struct greys *g,
           enum status (*take)(const struct grid_field *slices, struct greys *g)) {
  for (int64_t k = 0; k < w->rounds; k++) {
    struct grid_field slices = {
        .type = GRID_F32, .row = {w->n[1] * w->n[2], w->n[2]},
             .data = g->slices
    };
    align_round_place(w, k, &slices.mine.start[0], &slices.mine.n[0]);
    slices.mine.n[1] = w->n[1];
    slices.mine.n[2] = w->n[2];
    TRY(stop_agree(w->job->comm));
    if (w->rounds > 1 || !g->are_read)
      TRY(align_slices(w->job->comm, w->params, volume, NULL, slices.mine.start[0],
                       slices.mine.n[0], g->slices));
    TRY_ALL(w->job->comm, take(&slices, g));
  }
  g->are_read = true;
  return STATUS_OK;
}

static enum status widen(const struct grid_field *slices, struct greys *g) {
  return voxel_histogram_widen(slices, NULL, g->range);
}
static enum status count(const struct grid_field *slices, struct greys *g) {
  return voxel_histogram_add(slices, NULL, &g->histogram);
}

static enum status find_brightest(struct align_work *w, const struct align_source *volume,
                                  struct greys *g) {
  MPI_Comm comm = w->job->comm;
  double threshold[VOXEL_CLASSES_MOST];
  TRY_ALL(comm,
          memory_make_raw(w->deep * w->n[1] * w->n[2], sizeof *g->slices, "slices", &g->slices));
  TRY(each_round(w, volume, g, widen));
  voxel_range_sum(comm, g->range);
  TRY_ALL(comm, voxel_histogram_begin(g->range, 1024, &g->histogram));
  TRY(each_round(w, volume, g, count));
  voxel_histogram_sum(comm, &g->histogram);
  TRY_ALL(comm, voxel_otsu(&g->histogram, 4, threshold));
  w->view.threshold = threshold[2];
  return STATUS_OK;
}

enum status align_threshold_find(struct align_work *w) {
  struct align_reading reading;
  struct align_source volume;
  struct greys greys = {
      .range = {INFINITY, -INFINITY}
  };
  w->view.threshold = -INFINITY;
  if (!w->params->mask_above[0]) return STATUS_OK;
  if (strcmp(w->params->mask_above, "auto") != 0) {
    w->view.threshold = strtod(w->params->mask_above, NULL);
    return STATUS_OK;
  }
  TRY(align_volume_open(w, &w->source[0], &reading, &volume));
  enum status status = find_brightest(w, &volume, &greys);
  memory_free(greys.slices);
  voxel_histogram_free(&greys.histogram);
  store_close(&reading.input);
  return status;
}
