/* Histograms and thresholds. float32 takes two passes, range and count: a row's bins are found on vectors, and only
 * values whose bin rounding could decide are compared with its edges. uint16 is counted by value in one pass. */
#include "voxel_threshold_private.h"
#include <math.h>
#include <string.h>

static double value_at(const struct grid_field *f, const void *line, int64_t x) {
  if (f->type == GRID_F32) return (double)((const float *)line)[x];
  return f->type == GRID_U16 ? ((const uint16_t *)line)[x] : ((const uint8_t *)line)[x];
}

static const void *line_of(const struct grid_field *f, int64_t z, int64_t y) {
  int64_t at = grid_field_origin(f) + z * f->row[0] + y * f->row[1];
  return (const char *)f->data + (size_t)at * grid_type_bytes(f->type);
}

/* Names the first value of a line that is not finite. */
static enum status check_finite(const struct grid_field *f, int64_t z, int64_t y) {
  const void *line = line_of(f, z, y);
  for (int64_t x = 0; x < f->mine.n[2]; x++) {
    double value = value_at(f, line, x);
    if (!isfinite(value))
      return FAIL(
          STATUS_INPUT,
          "voxel (z, y, x) = (%lld, %lld, %lld) is %s; only finite values can be classified",
          (long long)(z + f->mine.start[0]), (long long)(y + f->mine.start[1]),
          (long long)(x + f->mine.start[2]), isnan(value) ? "NaN" : "infinite");
  }
  return STATUS_OK;
}

/* The chosen values of a row, and how many: the row itself, or what of it was put into `kept`. */
static const void *chosen(const struct grid_field *f, const struct voxel_choice *c, int64_t z,
                          int64_t y, void *kept, int64_t *n) {
  const char *line    = line_of(f, z, y);
  size_t bytes        = grid_type_bytes(f->type);
  const uint8_t *mask = c && c->mask ? line_of(c->mask, z, y) : NULL;
  *n                  = f->mine.n[2];
  if (!c) return line;
  *n = 0;
  for (int64_t x = 0; x < f->mine.n[2]; x++) {
    double value = value_at(f, line, x);
    if ((mask && !mask[x]) || value < c->low || value > c->high) continue;
    memcpy((char *)kept + (size_t)(*n)++ * bytes, line + (size_t)x * bytes, bytes);
  }
  return kept;
}

/* Widens the range to hold this rank's values of a float32 field. */
static enum status range_here(const struct grid_field *f, const struct voxel_choice *c, void *kept,
                              float range[2]) {
  int64_t n;
  for (int64_t z = 0; z < f->mine.n[0]; z++)
    for (int64_t y = 0; y < f->mine.n[1]; y++) {
      const float *line = chosen(f, c, z, y, kept, &n);
      if (!ISA_PICK(range_f32)(line, n, range)) TRY(check_finite(f, z, y));
    }
  return STATUS_OK;
}

enum status voxel_finite_check(MPI_Comm comm, const struct grid_field *field) {
  float range[2] = {INFINITY, -INFINITY};
  return AGREE(comm, field->type == GRID_F32 ? range_here(field, NULL, NULL, range) : STATUS_OK);
}

enum { VALUES = 65536 }; /* of whole-number voxels */

/* Counts in two tables of 32 bits, which are half as large in the cache and let equal neighbours not wait for each other;
 * they are added to `count` before they could overflow. */
struct tally {
  uint32_t *part[2];
  int64_t since, bins, *count;
};

static enum status tally_make(int64_t bins, int64_t *count, struct tally *t) {
  *t = (struct tally){.bins = bins, .count = count};
  TRY(memory_make(2 * bins, sizeof *t->part[0], "a histogram", &t->part[0]));
  t->part[1] = t->part[0] + bins;
  return STATUS_OK;
}

static void tally_add(struct tally *t) {
  for (int64_t i = 0; i < t->bins; i++) t->count[i] += (int64_t)t->part[0][i] + t->part[1][i];
  memset(t->part[0], 0, (size_t)(2 * t->bins) * sizeof *t->part[0]);
  t->since = 0;
}

/* Before a row of n values. */
static void tally_ready(struct tally *t, int64_t n) {
  if (t->since + n > UINT32_MAX) tally_add(t);
  t->since += n;
}

static void tally_free(struct tally *t) { memory_free(t->part[0]); }

static void count_row(const struct grid_field *f, const void *row, int64_t n, struct tally *t) {
  const uint8_t *bytes  = row;
  const uint16_t *words = row;
  int64_t x             = 0;
  tally_ready(t, n);
  for (; f->type == GRID_U8 && x < n; x++) t->part[x & 1][bytes[x]]++;
  for (; x + 2 <= n; x += 2) t->part[0][words[x]]++, t->part[1][words[x + 1]]++;
  if (x < n) t->part[0][words[x]]++;
}

/* How often each whole number stands in this rank's box. */
static enum status count_values(const struct grid_field *f, const struct voxel_choice *c,
                                void *kept, int64_t *count) {
  struct tally tally;
  int64_t n;
  TRY(tally_make(VALUES, count, &tally));
  for (int64_t z = 0; z < f->mine.n[0]; z++)
    for (int64_t y = 0; y < f->mine.n[1]; y++) {
      const void *row = chosen(f, c, z, y, kept, &n);
      count_row(f, row, n, &tally);
    }
  tally_add(&tally);
  tally_free(&tally);
  return STATUS_OK;
}

/* Widens range by this rank's values; *values: of whole numbers their counts, owned by the caller. */
static enum status find_range(const struct grid_field *f, const struct voxel_choice *c, void *kept,
                              double range[2], int64_t **values) {
  float here[2] = {INFINITY, -INFINITY};
  if (f->type != GRID_F32 && f->type != GRID_U16 && f->type != GRID_U8)
    return FAIL(STATUS_INTERNAL, "a histogram of %s", grid_type_name(f->type));
  if (f->type == GRID_F32) {
    TRY(range_here(f, c, kept, here));
    range[0] = fmin(range[0], (double)here[0]);
    range[1] = fmax(range[1], (double)here[1]);
    return STATUS_OK;
  }
  TRY(memory_make(VALUES, sizeof **values, "a histogram", values));
  TRY(count_values(f, c, kept, *values));
  for (int i = 0; i < VALUES; i++)
    if ((*values)[i]) range[0] = fmin(range[0], i), range[1] = fmax(range[1], i);
  return STATUS_OK;
}

/* Edge i; rounded to float for float32 data, as numpy's are. */
static double edge_of(const struct voxel_histogram *h, bool single, int i) {
  double edge = i == h->bins ? h->high : h->low + i * ((h->high - h->low) / h->bins);
  return single ? (double)(float)edge : edge;
}

/* The bin whose edges hold the value; the last one holds the greatest. */
static int bin_of(const struct voxel_histogram *h, const double *edge, double value) {
  int bin = (int)((value - h->low) * (h->bins / (h->high - h->low)));
  if (bin >= h->bins) bin = h->bins - 1;
  if (value < edge[bin]) return bin - 1;
  return bin + 1 < h->bins && value >= edge[bin + 1] ? bin + 1 : bin;
}

/* By how much of a bin's width rounding may move an edge or a value. */
static double slack_of(const struct voxel_histogram *h, const double *edge) {
  double width = (h->high - h->low) / h->bins, most = 0;
  for (int i = 0; i <= h->bins; i++) most = fmax(most, fabs(edge[i] - (h->low + i * width)));
  return most / width + 1e-6;
}

struct binning {
  double *edge, slack;
  int32_t *bin; /* of a row */
  struct tally tally;
};

static int32_t settled(int32_t bin, float value, const struct voxel_histogram *h,
                       const struct binning *b) {
  return bin >= 0 ? bin : bin_of(h, b->edge, (double)value);
}

static void count_line(const float *line, int64_t n, const struct voxel_histogram *h,
                       struct binning *b) {
  const int32_t *bin = b->bin;
  uint32_t *even = b->tally.part[0], *odd = b->tally.part[1];
  int64_t x = 0;
  tally_ready(&b->tally, n);
  ISA_PICK(bins_f32)(line, n, h->low, h->bins / (h->high - h->low), b->slack, b->bin);
  for (; x + 2 <= n; x += 2) {
    even[settled(bin[x], line[x], h, b)]++;
    odd[settled(bin[x + 1], line[x + 1], h, b)]++;
  }
  if (x < n) even[settled(bin[x], line[x], h, b)]++;
}

static enum status binning_make(const struct grid_field *f, struct voxel_histogram *h,
                                struct binning *b) {
  memset(b, 0, sizeof *b);
  TRY(memory_make(h->bins + 1, sizeof *b->edge, "a histogram", &b->edge));
  for (int i = 0; i <= h->bins; i++) b->edge[i] = edge_of(h, f->type == GRID_F32, i);
  b->slack = slack_of(h, b->edge);
  TRY(memory_make(f->mine.n[2], sizeof *b->bin, "a histogram", &b->bin));
  return tally_make(h->bins, h->count, &b->tally);
}

static void binning_free(struct binning *b) {
  memory_free(b->edge);
  memory_free(b->bin);
  tally_free(&b->tally);
}

/* values: of whole numbers their counts, NULL: not known. */
static enum status count_bins(const struct grid_field *f, const struct voxel_choice *c, void *kept,
                              const int64_t *values, struct voxel_histogram *h) {
  int64_t n;
  struct binning b;
  enum status status = binning_make(f, h, &b);
  for (int i = 0; values && status == STATUS_OK && i < VALUES; i++)
    if (values[i]) h->count[bin_of(h, b.edge, i)] += values[i];
  for (int64_t z = 0; !values && status == STATUS_OK && z < f->mine.n[0]; z++)
    for (int64_t y = 0; y < f->mine.n[1]; y++) {
      const float *line = chosen(f, c, z, y, kept, &n);
      count_line(line, n, h, &b);
    }
  if (status == STATUS_OK) tally_add(&b.tally);
  binning_free(&b);
  return status;
}

/* One value: numpy widens the range, we keep one bin. */
static void count_one(const struct grid_field *f, const struct voxel_choice *c, void *kept,
                      struct voxel_histogram *h) {
  int64_t n;
  for (int64_t z = 0; z < f->mine.n[0]; z++)
    for (int64_t y = 0; y < f->mine.n[1]; y++) {
      chosen(f, c, z, y, kept, &n);
      h->count[h->bins - 1] += n;
    }
}

static enum status count_here(const struct grid_field *f, const struct voxel_choice *c, void *kept,
                              const int64_t *values, struct voxel_histogram *h) {
  if (h->low < h->high) return count_bins(f, c, kept, values, h);
  count_one(f, c, kept, h);
  return STATUS_OK;
}

/* Scratch for the chosen values of a row. */
static enum status make_kept(const struct grid_field *f, const struct voxel_choice *c,
                             void **kept) {
  *kept = NULL;
  return c ? memory_make_raw(f->mine.n[2] + 1, sizeof(double), "a row", kept) : STATUS_OK;
}

enum status voxel_histogram_widen(const struct grid_field *f, const struct voxel_choice *c,
                                  double range[2]) {
  int64_t *values = NULL;
  void *kept;
  TRY(make_kept(f, c, &kept));
  enum status status = find_range(f, c, kept, range, &values);
  memory_free(values);
  memory_free(kept);
  return status;
}

enum status voxel_histogram_begin(const double range[2], int bins, struct voxel_histogram *h) {
  *h = (struct voxel_histogram){.low = range[0], .high = range[1], .bins = bins};
  if (!isfinite(range[1]))
    return FAIL(STATUS_INPUT, "no voxel lies in the mask and within the range of grey values "
                              "asked for");
  return memory_make(bins, sizeof *h->count, "a histogram", &h->count);
}

enum status voxel_histogram_add(const struct grid_field *f, const struct voxel_choice *c,
                                struct voxel_histogram *h) {
  int64_t *values = NULL;
  double range[2] = {INFINITY, -INFINITY};
  void *kept;
  TRY(make_kept(f, c, &kept));
  enum status status = f->type == GRID_F32 ? STATUS_OK : find_range(f, c, kept, range, &values);
  if (status == STATUS_OK) status = count_here(f, c, kept, values, h);
  memory_free(values);
  memory_free(kept);
  return status;
}

void voxel_histogram_sum(MPI_Comm comm, struct voxel_histogram *h) {
  MPI_Allreduce(MPI_IN_PLACE, h->count, h->bins, MPI_INT64_T, MPI_SUM, comm);
  h->total = 0;
  for (int i = 0; i < h->bins; i++) h->total += h->count[i];
}

void voxel_range_sum(MPI_Comm comm, double range[2]) {
  range[0] = -range[0];
  MPI_Allreduce(MPI_IN_PLACE, range, 2, MPI_DOUBLE, MPI_MAX, comm);
  range[0] = -range[0];
}

static enum status make_histogram(MPI_Comm comm, const struct grid_field *f,
                                  const struct voxel_choice *c, void *kept, int bins,
                                  struct voxel_histogram *histogram) {
  double range[2]    = {INFINITY, -INFINITY};
  int64_t *values    = NULL;
  enum status status = fault_here("voxel.histogram");
  if (status == STATUS_OK) status = find_range(f, c, kept, range, &values);
  status = AGREE(comm, status);
  if (status == STATUS_OK) {
    voxel_range_sum(comm, range);
    status = voxel_histogram_begin(range, bins, histogram);
    if (status == STATUS_OK) status = count_here(f, c, kept, values, histogram);
    status = AGREE(comm, status);
  }
  memory_free(values);
  if (status == STATUS_OK) voxel_histogram_sum(comm, histogram);
  return status;
}

enum status voxel_histogram_of(MPI_Comm comm, const struct grid_field *field,
                               const struct voxel_choice *choice, int bins,
                               struct voxel_histogram *histogram) {
  void *kept;
  TRY_ALL(comm, make_kept(field, choice, &kept));
  enum status status = make_histogram(comm, field, choice, kept, bins, histogram);
  memory_free(kept);
  return status;
}

enum status voxel_histogram_make(MPI_Comm comm, const struct grid_field *field, int bins,
                                 struct voxel_histogram *histogram) {
  return voxel_histogram_of(comm, field, NULL, bins, histogram);
}

void voxel_histogram_free(struct voxel_histogram *histogram) {
  memory_free(histogram->count);
  memset(histogram, 0, sizeof *histogram);
}

/* Running sums of counts and of counts times bin centres, bins + 1 of each. */
struct sums {
  double *count, *moment;
};

static double class_variance(const struct sums *s, int from, int to) { /* bins from..to-1 */
  double n = s->count[to] - s->count[from], m = s->moment[to] - s->moment[from];
  return n > 0 ? m * m / n : 0;
}

/* best[c][b]: greatest sum over c + 1 classes that end before bin b; where[c][b]: where the last begins. */
static void best_splits(const struct sums *s, int bins, int classes, double *best, int *where) {
  for (int b = 0; b <= bins; b++) best[b] = class_variance(s, 0, b);
  for (int c = 1; c < classes; c++)
    for (int b = c + 1; b <= bins; b++) {
      double *to = &best[(int64_t)c * (bins + 1) + b];
      *to        = -1;
      for (int a = c; a < b; a++) {
        double sum = best[(int64_t)(c - 1) * (bins + 1) + a] + class_variance(s, a, b);
        if (sum <= *to) continue;
        *to                                = sum;
        where[(int64_t)c * (bins + 1) + b] = a;
      }
    }
}

/* Two classes need one pass over the histogram, however many bins. */
static int best_pair(const struct sums *s, int bins) {
  int best    = 0;
  double most = -1;
  for (int b = 1; b < bins; b++) {
    double sum = class_variance(s, 0, b) + class_variance(s, b, bins);
    if (sum > most) most = sum, best = b;
  }
  return best;
}

static int distinct(const struct voxel_histogram *h) {
  int n = 0;
  for (int i = 0; i < h->bins; i++) n += h->count[i] > 0;
  return n;
}

static double centre_of(const struct voxel_histogram *h, int bin) {
  return h->low + (bin + 0.5) * (h->high - h->low) / h->bins;
}

static enum status split(const struct voxel_histogram *h, int classes, const struct sums *s,
                         double *threshold) {
  if (classes == 2) {
    threshold[0] = centre_of(h, best_pair(s, h->bins) - 1);
    return STATUS_OK;
  }
  double *best = NULL;
  int *where   = NULL;
  enum status status =
      memory_make((int64_t)classes * (h->bins + 1), sizeof *best, "Otsu's table", &best);
  if (status == STATUS_OK)
    status = memory_make((int64_t)classes * (h->bins + 1), sizeof *where, "Otsu's table", &where);
  if (status == STATUS_OK) {
    best_splits(s, h->bins, classes, best, where);
    for (int c = classes - 1, end = h->bins; c > 0; c--) {
      end              = where[(int64_t)c * (h->bins + 1) + end];
      threshold[c - 1] = centre_of(h, end - 1);
    }
  }
  memory_free(best);
  memory_free(where);
  return status;
}

static enum status check_distinct(const struct voxel_histogram *h, int classes) {
  if (distinct(h) >= classes) return STATUS_OK;
  return FAIL(STATUS_INPUT, "%d distinct grey values cannot make %d classes%s", distinct(h),
              classes, distinct(h) == 1 ? ": the volume is constant" : "");
}

/* Moments are about the middle of the range, against cancellation. */
static enum status make_sums(const struct voxel_histogram *h, struct sums *s) {
  double middle = 0.5 * (h->low + h->high);
  TRY(memory_make(2 * (h->bins + 1), sizeof(double), "sums of a histogram", &s->count));
  s->moment = s->count + h->bins + 1;
  for (int i = 0; i < h->bins; i++) {
    s->count[i + 1]  = s->count[i] + (double)h->count[i];
    s->moment[i + 1] = s->moment[i] + (double)h->count[i] * (centre_of(h, i) - middle);
  }
  return STATUS_OK;
}

enum status voxel_otsu(const struct voxel_histogram *h, int classes, double *threshold) {
  struct sums s;
  TRY(check_distinct(h, classes));
  TRY(make_sums(h, &s));
  enum status status = split(h, classes, &s, threshold);
  memory_free(s.count);
  return status;
}

/* The bin that holds a grey value given from the middle of the range, kept off both ends. */
static int inner_bin(const struct voxel_histogram *h, double from_middle) {
  int bin = (int)floor((from_middle / (h->high - h->low) + 0.5) * h->bins);
  return bin < 0 ? 0 : bin > h->bins - 2 ? h->bins - 2 : bin;
}

enum status voxel_isodata(const struct voxel_histogram *h, double *threshold) {
  struct sums s;
  TRY(check_distinct(h, 2));
  TRY(make_sums(h, &s));
  double all = s.count[h->bins], whole = s.moment[h->bins];
  int bin = inner_bin(h, whole / all), before = -1, rounds = 0;
  /* the low side is bins 0..bin; ends of the range hold voxels, so neither side is empty */
  for (; bin != before && rounds < h->bins; rounds++) {
    double low  = s.moment[bin + 1] / s.count[bin + 1],
           high = (whole - s.moment[bin + 1]) / (all - s.count[bin + 1]);
    before      = bin;
    bin         = inner_bin(h, 0.5 * (low + high));
  }
  *threshold = centre_of(h, bin);
  memory_free(s.count);
  return STATUS_OK;
}

enum status voxel_moments(const struct voxel_histogram *h, double *threshold) {
  double n = 0, m[4] = {1, 0, 0, 0}, sum = 0;
  TRY(check_distinct(h, 2));
  for (int i = 0; i < h->bins; i++) { /* moments of positions 0..1 */
    double at = (i + 0.5) / h->bins, share = (double)h->count[i] / (double)h->total;
    m[1] += share * at, m[2] += share * at * at, m[3] += share * at * at * at;
  }
  double spread = m[2] - m[1] * m[1];
  double c0 = (m[1] * m[3] - m[2] * m[2]) / spread, c1 = (m[1] * m[2] - m[3]) / spread;
  double root = sqrt(fmax(c1 * c1 - 4 * c0, 0)), low = 0.5 * (-c1 - root), high = low + root;
  double part = root > 0 ? (high - m[1]) / root : 0.5; /* of the voxels, below */
  int bin     = 0;
  for (; bin < h->bins - 2; bin++) {
    n += (double)h->count[bin];
    sum = n / (double)h->total;
    if (sum > part) break;
  }
  *threshold = centre_of(h, bin);
  return STATUS_OK;
}

/* Of a side with counts c that sum to n and whose c ln c sum to w the entropy is ln n - w / n. */
enum status voxel_entropy(const struct voxel_histogram *h, double *threshold) {
  double most = -1, all = 0, n = 0, w = 0;
  TRY(check_distinct(h, 2));
  for (int i = 0; i < h->bins; i++)
    if (h->count[i]) all += (double)h->count[i] * log((double)h->count[i]);
  for (int i = 0; i < h->bins - 1; i++) {
    double count = (double)h->count[i], rest = (double)h->total - n - count;
    n += count;
    if (count > 0) w += count * log(count);
    double sum = log(n) - w / n + log(rest) - (all - w) / rest;
    if (sum > most) most = sum, *threshold = centre_of(h, i);
  }
  return STATUS_OK;
}

/* The greatest float32 that is not above the threshold: the same voxels lie above both. */
static float float_below(double threshold) {
  float single = (float)threshold;
  return (double)single > threshold ? nextafterf(single, -INFINITY) : single;
}

static void label_line(const struct grid_field *f, const void *line, double threshold,
                       uint8_t *label) {
  int64_t n = f->mine.n[2];
  if (f->type == GRID_F32)
    ISA_PICK(above_f32)(line, n, float_below(threshold), label);
  else if (f->type == GRID_U16 && threshold >= 0 && threshold < UINT16_MAX)
    ISA_PICK(above_u16)(line, n, (uint16_t)threshold, label);
  else
    for (int64_t x = 0; x < n; x++)
      label[x] = (uint8_t)(label[x] + (value_at(f, line, x) > threshold));
}

enum status voxel_label(MPI_Comm comm, const struct grid_field *field, const double *threshold,
                        int thresholds, struct grid_field *labels) {
  TRY(grid_field_make(comm, &field->plan, GRID_U8, NULL, labels));
  memcpy(labels->voxel_um, field->voxel_um, sizeof field->voxel_um);
  uint8_t *to = labels->data;
  for (int64_t z = 0; z < field->mine.n[0]; z++)
    for (int64_t y = 0; y < field->mine.n[1]; y++, to += field->mine.n[2])
      for (int t = 0; t < thresholds; t++)
        label_line(field, line_of(field, z, y), threshold[t], to);
  return STATUS_OK;
}
