/* Geometry and states of the cell. */
#include "twin.h"
#include "numeric.h"
#include <math.h>
#include <string.h>

/* SoC or DoD, interface rise, Ra and charge-transfer resistance of the cycle; times at C/10 of 3.0 mAh/cm2 with a
 * discharge efficiency of 0.88. */
const struct twin_state twin_states[TWIN_STATES] = {
    {"pristine",         "charge",    0,   3.00, 0,   5.08, 400, 0             },
    {"charging_I",       "charge",    20,  3.75, 1.5, 5.15, 330, 2             },
    {"charging_II",      "charge",    71,  4.30, 5.5, 5.3,  240, 7.1           },
    {"fully_charged",    "charge",    100, 4.30, 8,   5.38, 210, 10            },
    {"discharging_I",    "discharge", 22,  4.00, 7,   5.55, 250, 10 + 8.8 * .22},
    {"discharging_II",   "discharge", 77,  3.65, 4.5, 5.9,  330, 10 + 8.8 * .77},
    {"fully_discharged", "discharge", 100, 3.00, 3.5, 6.11, 380, 18.8          },
};
const double twin_mu_per_mm[TWIN_PHASES] = {0, 0.0067, 0.0267, 0.082};

struct twin_cell twin_cell_of(const char *size) {
  struct twin_cell cell = {.columns = 160, .rows = 72, .angles = 240, .voxel_um = 6.48};
  if (strcmp(size, "medium") == 0)
    cell = (struct twin_cell){.columns = 512, .rows = 256, .angles = 720, .voxel_um = 3.24};
  if (strcmp(size, "paper") == 0)
    cell = (struct twin_cell){.columns = 2560, .rows = 2160, .angles = 3600, .voxel_um = 3.24};
  double high_um = (double)cell.rows * cell.voxel_um;
  cell.centre_px =
      0.5 * (double)(cell.columns - 1) + 1.3; /* the axis is never quite in the middle */
  cell.radius_um = 0.4 * (double)cell.columns * cell.voxel_um;
  cell.x0_px =
      0.5 * (double)(cell.columns - 1) + 0.05 * (double)cell.columns; /* nor the cell on it */
  cell.y0_px           = 0.5 * (double)(cell.columns - 1) - 0.03 * (double)cell.columns;
  cell.cathode_top_um  = high_um - 10 * cell.voxel_um;
  cell.membrane_top_um = cell.cathode_top_um - 65;
  cell.interface_um    = cell.membrane_top_um -
                      45; /* membrane of 30 um at full charge with the rough anode under it */
  cell.bottom_um = 10 * cell.voxel_um;
  return cell;
}

double twin_field_um(const struct twin_cell *cell) { return 0.8 * cell->radius_um; }

/* ---- the surface -------------------------------------------------------------------------------------- */

enum { MODES = 300, STREAM_SURFACE = 100 };

/* One row of a sum of cosines whose wave vectors are normal with the spread of the spectrum of exp(-(r/L)^2). */
static void add_modes(const struct twin_params *p, uint64_t stream, const struct twin_cell *cell,
                      int64_t y, double share, double *row) {
  double spread = sqrt(2) / p->correlation_um, scale = share * sqrt(2.0 / MODES);
  for (uint64_t m = 0; m < MODES; m++) {
    double kx    = spread * random_normal((uint64_t)p->seed, stream, 3 * m);
    double ky    = spread * random_normal((uint64_t)p->seed, stream, 3 * m + 1);
    double phase = 2 * PI * random_uniform((uint64_t)p->seed, stream, 3 * m + 2);
    for (int64_t x = 0; x < cell->columns; x++)
      row[x] +=
          scale * cos(kx * (double)x * cell->voxel_um + ky * (double)y * cell->voxel_um + phase);
  }
}

static bool in_field(const struct twin_cell *cell, int64_t y, int64_t x, double radius_um) {
  return hypot((double)x - cell->x0_px, (double)y - cell->y0_px) * cell->voxel_um <= radius_um;
}

/* Mean and slopes over the field, about its middle, to which it is symmetric but for the pixels' raster: the
 * remaining products are far below the slopes' own effect. */
static void remove_plane(const struct twin_cell *cell, double *height) {
  double n = 0, sum = 0, sx = 0, sy = 0, xx = 0, yy = 0;
  for (int64_t y = 0; y < cell->columns; y++)
    for (int64_t x = 0; x < cell->columns; x++) {
      if (!in_field(cell, y, x, twin_field_um(cell))) continue;
      double h = height[y * cell->columns + x], dx = (double)x - cell->x0_px,
             dy = (double)y - cell->y0_px;
      n++, sum += h, sx += h * dx, sy += h * dy, xx += dx * dx, yy += dy * dy;
    }
  for (int64_t y = 0; y < cell->columns; y++)
    for (int64_t x = 0; x < cell->columns; x++)
      height[y * cell->columns + x] -=
          sum / n + sx / xx * ((double)x - cell->x0_px) + sy / yy * ((double)y - cell->y0_px);
}

static void roughness(const struct twin_cell *cell, const double *height, double *Ra, double *Rq) {
  double n = 0, size = 0, square = 0;
  for (int64_t y = 0; y < cell->columns; y++)
    for (int64_t x = 0; x < cell->columns; x++) {
      if (!in_field(cell, y, x, twin_field_um(cell))) continue;
      double h = height[y * cell->columns + x];
      n++, size += fabs(h), square += h * h;
    }
  *Ra = size / n;
  *Rq = sqrt(square / n);
}

enum status twin_height(MPI_Comm comm, const struct twin_params *p, const struct twin_cell *cell,
                        const struct twin_state *state, double *height_um) {
  int rank, size, at = (int)(state - twin_states);
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  int64_t n = cell->columns;
  memset(height_um, 0, (size_t)(n * n) * sizeof *height_um);
  double turned = 0.15 * at; /* the surface changes a little from state to state */
  for (int64_t y = rank; y < n; y += size) {
    add_modes(p, STREAM_SURFACE, cell, y, cos(turned), height_um + y * n);
    if (at) add_modes(p, STREAM_SURFACE + (uint64_t)at, cell, y, sin(turned), height_um + y * n);
  }
  for (int64_t y = 0; y < n; y++)
    MPI_Allreduce(MPI_IN_PLACE, height_um + y * n, (int)n, MPI_DOUBLE, MPI_SUM, comm);
  double Ra, Rq, wanted = state->Ra_um;
  if (p->roughness_um > 0) wanted *= p->roughness_um / twin_states[0].Ra_um;
  remove_plane(cell, height_um);
  roughness(cell, height_um, &Ra, &Rq);
  for (int64_t i = 0; i < n * n; i++)
    height_um[i] = cell->interface_um + state->rise_um + height_um[i] * (Ra > 0 ? wanted / Ra : 0);
  return STATUS_OK;
}

/* ---- slices and projections ------------------------------------------------------------------------------ */

/* Share of a pixel inside the cylinder. */
static double covered(const struct twin_cell *cell, int64_t y, int64_t x) {
  double radius = cell->radius_um / cell->voxel_um, sum = 0;
  double dx = (double)x - cell->x0_px, dy = (double)y - cell->y0_px, r = hypot(dx, dy);
  if (r < radius - 1) return 1;
  if (r > radius + 1) return 0;
  for (int k = 0; k < 25; k++)
    sum += hypot(dx + 0.2 * (k % 5 - 2), dy + 0.2 * (k / 5 - 2)) <= radius;
  return sum / 25;
}

static double overlap(double low, double high, double from, double to) {
  double a = low > from ? low : from, b = high < to ? high : to;
  return b > a ? b - a : 0;
}

void twin_slice(const struct twin_cell *cell, const double *height_um, int64_t z, float *slice,
                double *volume) {
  double low = (double)z * cell->voxel_um, high = low + cell->voxel_um;
  for (int64_t y = 0; y < cell->columns; y++)
    for (int64_t x = 0; x < cell->columns; x++) {
      int64_t at    = y * cell->columns + x;
      double inside = covered(cell, y, x) / cell->voxel_um, h = height_um[at];
      const double edge[TWIN_PHASES] = {cell->bottom_um, h, cell->membrane_top_um,
                                        cell->cathode_top_um};
      double mu = 0, filled = 0;
      for (int phase = 1; phase < TWIN_PHASES; phase++) {
        double part = inside * overlap(low, high, edge[phase - 1], edge[phase]);
        mu += part * twin_mu_per_mm[phase];
        volume[phase] += part;
        filled += part;
      }
      volume[0] += 1 - filled;
      slice[at] = (float)mu;
    }
}

static double pixel(const struct twin_cell *cell, const float *slice, int64_t y, int64_t x) {
  bool in = x >= 0 && x < cell->columns && y >= 0 && y < cell->columns;
  return in ? (double)slice[y * cell->columns + x] : 0;
}

/* At angle th the ray of column c is x cos th + y sin th = c - centre; it steps along the axis it crosses faster. */
void twin_project(const struct twin_cell *cell, const float *slice, double angle_rad,
                  double *line) {
  double c = cos(angle_rad), s = sin(angle_rad), middle = 0.5 * (double)(cell->columns - 1);
  bool along_y     = fabs(c) >= fabs(s);
  double length_mm = 1e-3 * cell->voxel_um / (along_y ? fabs(c) : fabs(s));
  for (int64_t column = 0; column < cell->columns; column++) {
    double sum = 0, distance = (double)column - cell->centre_px;
    for (int64_t i = 0; i < cell->columns; i++) {
      double step = (double)i - middle;
      double at   = (along_y ? (distance - step * s) / c : (distance - step * c) / s) + middle;
      if (!(at > -1 && at < (double)cell->columns)) continue;
      int64_t low  = (int64_t)floor(at);
      double share = at - (double)low;
      sum +=
          along_y
              ? (1 - share) * pixel(cell, slice, i, low) + share * pixel(cell, slice, i, low + 1)
              : (1 - share) * pixel(cell, slice, low, i) + share * pixel(cell, slice, low + 1, i);
    }
    line[column] = sum * length_mm;
  }
}
