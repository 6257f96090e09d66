/* The cell of one state: layers, a Gaussian surface, particles, pores, a can.
 * Surface: white noise of (seed, position) smoothed by exp(-2 (d/L)^2), so that its autocorrelation is
 * exp(-(d/L)^2); two such fields are mixed by an angle that grows with the state, levelled by least squares in the
 * field and scaled to the state's Ra. Particles and pores are Boolean models: Poisson numbers of spheres in the cells
 * of a lattice, drawn from the cell's own index, so any rank makes those it needs. Partial volume: exact along z,
 * 2 x 2 points across for the surface, by distance for spheres and cylinders. */
#include "twin_private.h"
#include "numeric.h"
#include <math.h>
#include <string.h>

/* physics at 115 keV, per mm; NMC so that 63 % of it with SPE between give the composite's 0.082 */
const double twin_mu_per_mm[TWIN_MATERIALS] = {0, 0.0067, 0.0267, 0.1145, 0.228};

const double twin_flat_deg = 40;

enum stream { STREAM_SURFACE = 1, STREAM_DRIFT = 8, STREAM_DENDRITE, STREAM_NMC, STREAM_PORE };
enum { PORE_BAND_UM = 40, INTERPHASE_UM = 65 };
static const double spe_margin_um = 3;

static double clamp(double x, double low, double high) {
  return x < low ? low : x > high ? high : x;
}

/* ---- sizes ----------------------------------------------------------------------------------------- */

struct twin_scan twin_scan_of(const struct twin_params *p) {
  struct twin_scan scan = {160, 0, 200, 10, 5, 3.24, 1e8, 200, 100};
  if (strcmp(p->size, "medium") == 0)
    scan = (struct twin_scan){480, 0, 720, 20, 10, 3.24, 2e7, 660, 250};
  if (strcmp(p->size, "paper") == 0)
    scan = (struct twin_scan){2560, 2160, 3600, 40, 40, 3.24, 15000, 3800, 300};
  if (p->columns) scan.columns = p->columns;
  if (p->projections) scan.projections = p->projections;
  if (p->voxel_um > 0) scan.voxel_um = p->voxel_um;
  if (p->counts > 0) scan.photons = p->counts;
  if (p->radius_um > 0) scan.radius_um = p->radius_um;
  if (p->anode_um > 0) scan.anode_um = p->anode_um;
  double high_um = 13 + 13 + scan.anode_um + 30 + 65 + 13 + 26 + 13 + 13;
  if (!scan.rows) scan.rows = 8 * (int64_t)ceil(high_um / scan.voxel_um / 8);
  return scan;
}

static void set_layers(const struct twin_scan *scan, struct twin_cell *cell) {
  cell->rows       = scan->rows;
  cell->voxel_um   = scan->voxel_um;
  cell->radius_um  = scan->radius_um;
  cell->field_um   = 0.8 * scan->radius_um;
  cell->can_um     = scan->radius_um + 13;
  cell->wall_um    = 10;
  cell->spe_um     = 27.5; /* what the mixtures of the Compton half hold */
  cell->cathode_um = 65;
  cell->plate_um   = 13;
  double room_um =
      (double)scan->rows * scan->voxel_um - (13 + scan->anode_um + 30 + 65 + 13 + 26 + 13);
  cell->floor_um     = 0.5 * room_um; /* in the middle of the field of view */
  cell->anode_um     = cell->floor_um + 13;
  cell->interface_um = cell->anode_um + scan->anode_um;
  cell->lid_um       = cell->interface_um + 30 + 65 + 13 + 26;
  double outer_um    = cell->can_um + cell->wall_um + 8;
  cell->n            = 2 * (int64_t)ceil(outer_um / scan->voxel_um) + 2;
}

void twin_cell_layers(const struct twin_params *params, struct twin_cell *cell) {
  struct twin_scan scan = twin_scan_of(params);
  memset(cell, 0, sizeof *cell);
  set_layers(&scan, cell);
  cell->chord_um = params->flat > 0 ? (1 - params->flat) * cell->radius_um : 2 * cell->radius_um;
}

/* ---- the surface ------------------------------------------------------------------------------------ */

/* One Gaussian field [n][n]; scratch of the same size plus margins. */
static enum status gaussian_field(uint64_t seed, uint64_t stream, int64_t n, double length_px,
                                  float *field) {
  int64_t reach = (int64_t)ceil(1.6 * length_px) + 1, wide = n + 2 * reach;
  float *noise = NULL, *tap = NULL;
  TRY(memory_make_raw(wide * n, sizeof *noise, "a random surface", &noise));
  enum status status = memory_make(wide + 2 * reach + 1, sizeof *tap, "a random surface", &tap);
  float *line        = tap ? tap + 2 * reach + 1 : NULL;
  for (int64_t k = -reach; k <= reach && tap; k++)
    tap[k + reach] = (float)exp(-2 * (double)(k * k) / (length_px * length_px));
  for (int64_t y = 0; y < wide && tap; y++) { /* along x */
    for (int64_t x = 0; x < wide; x++)
      line[x] = (float)random_normal(seed, stream, (uint64_t)(y * wide + x));
    for (int64_t x = 0; x < n; x++) {
      float sum = 0;
      for (int64_t k = 0; k <= 2 * reach; k++) sum += tap[k] * line[x + k];
      noise[y * n + x] = sum;
    }
  }
  for (int64_t y = 0; y < n && tap; y++) /* along y */
    for (int64_t x = 0; x < n; x++) {
      float sum = 0;
      for (int64_t k = 0; k <= 2 * reach; k++) sum += tap[k] * noise[(y + k) * n + x];
      field[y * n + x] = sum;
    }
  memory_free(tap);
  memory_free(noise);
  return status;
}

struct plane {
  double mean, slope_y, slope_x; /* about the middle of the field, per voxel */
};
static bool in_field(const struct twin_cell *cell, int64_t y, int64_t x) {
  double half = 0.5 * (double)(cell->n - 1), dy = (double)y - half, dx = (double)x - half;
  return hypot(dy, dx) * cell->voxel_um <= cell->field_um;
}

/* Least-squares plane in the field; the disc is symmetric, so the normal equations are diagonal. */
static struct plane plane_of(const struct twin_cell *cell, const float *height) {
  double n = 0, sum = 0, y2 = 0, x2 = 0, yh = 0, xh = 0, half = 0.5 * (double)(cell->n - 1);
  for (int64_t y = 0; y < cell->n; y++)
    for (int64_t x = 0; x < cell->n; x++)
      if (in_field(cell, y, x)) {
        double h = (double)height[y * cell->n + x], dy = (double)y - half, dx = (double)x - half;
        n++, sum += h, y2 += dy * dy, x2 += dx * dx, yh += dy * h, xh += dx * h;
      }
  return (struct plane){sum / n, yh / y2, xh / x2};
}

static double above_plane(const struct twin_cell *cell, const float *height,
                          const struct plane *plane, int64_t y, int64_t x) {
  double half = 0.5 * (double)(cell->n - 1);
  return (double)height[y * cell->n + x] - plane->mean - plane->slope_y * ((double)y - half) -
         plane->slope_x * ((double)x - half);
}

static void roughness(const struct twin_cell *cell, const float *height, double *Ra, double *Rq) {
  struct plane plane = plane_of(cell, height);
  double n = 0, sum = 0, square = 0;
  for (int64_t y = 0; y < cell->n; y++)
    for (int64_t x = 0; x < cell->n; x++)
      if (in_field(cell, y, x)) {
        double d = above_plane(cell, height, &plane, y, x);
        n++, sum += fabs(d), square += d * d;
      }
  *Ra = sum / n;
  *Rq = sqrt(square / n);
}

/* Levels the field, scales it to Ra, and lifts it by the state's rise: none beyond 0.9 R, more on the right. */
static void shape_surface(const struct twin_cell *cell, const struct twin_state *state,
                          double target_um, float *height) {
  double Ra, Rq, half = 0.5 * (double)(cell->n - 1), R = cell->radius_um;
  struct plane plane = plane_of(cell, height);
  roughness(cell, height, &Ra, &Rq);
  /* over half a disc the mean of x is 4 R / (3 pi) */
  double tilt = (state->rise_right - state->rise_left) / 2 / (4 * 0.875 * R / (3 * PI));
  for (int64_t y = 0; y < cell->n; y++)
    for (int64_t x = 0; x < cell->n; x++) {
      double x_um = ((double)x - half) * cell->voxel_um, y_um = ((double)y - half) * cell->voxel_um;
      double inner = clamp((0.9 * R - hypot(x_um, y_um)) / (0.05 * R), 0, 1);
      double h     = above_plane(cell, height, &plane, y, x) * target_um / Ra;
      h            = clamp(h, -cell->spe_um, cell->spe_um) + inner * (state->rise_um + tilt * x_um);
      height[y * cell->n + x] = (float)h;
    }
}

/* Bumps (1 - (d/w)^2)^2, at least one where the state has any; wider from full charge on. */
static void add_dendrites(struct twin_cell *cell, const struct twin_state *state, float *height) {
  double area_mm2 = PI * cell->field_um * cell->field_um * 1e-6, half = 0.5 * (double)(cell->n - 1);
  double wider    = state - twin_states >= 3 ? 1.4 : 1;
  cell->dendrites = (int64_t)ceil(state->dendrites_per_mm2 * area_mm2 - 1e-9);
  for (int64_t i = 0; i < cell->dendrites; i++) {
    double draw[4];
    for (int k = 0; k < 4; k++)
      draw[k] = random_uniform(cell->seed, STREAM_DENDRITE, (uint64_t)(4 * i + k));
    double r = 0.85 * cell->field_um * sqrt(draw[0]), angle = 2 * PI * draw[1];
    double w = (7 + 8 * draw[2]) * wider, high = 10 + 10 * draw[3];
    for (int64_t y = 0; y < cell->n; y++)
      for (int64_t x = 0; x < cell->n; x++) {
        double dx = ((double)x - half) * cell->voxel_um - r * cos(angle),
               dy = ((double)y - half) * cell->voxel_um - r * sin(angle);
        double q  = 1 - (dx * dx + dy * dy) / (w * w);
        if (q > 0) height[y * cell->n + x] += (float)(high * q * q);
      }
  }
}

static enum status make_surface(const struct twin_params *p, const struct twin_state *state,
                                struct twin_cell *cell) {
  int64_t voxels = cell->n * cell->n;
  double length  = p->correlation_um / cell->voxel_um,
         mix     = 0.6 * (double)(state - twin_states) / TWIN_STATES;
  float *other   = NULL, most;
  TRY(memory_make(voxels, sizeof *cell->height_um, "the anode's surface", &cell->height_um));
  TRY(memory_make(voxels, sizeof *other, "the anode's surface", &other));
  enum status status = gaussian_field(cell->seed, STREAM_SURFACE, cell->n, length, cell->height_um);
  if (status == STATUS_OK)
    status = gaussian_field(cell->seed, STREAM_SURFACE + 1, cell->n, length, other);
  float c = (float)cos(mix), s = (float)sin(mix);
  for (int64_t i = 0; i < voxels; i++) cell->height_um[i] = c * cell->height_um[i] + s * other[i];
  memory_free(other);
  TRY(status);
  shape_surface(cell, state,
                state->Ra_um * (p->roughness_um > 0 ? p->roughness_um / twin_states[0].Ra_um : 1),
                cell->height_um);
  add_dendrites(cell, state, cell->height_um);
  most = (float)(cell->rise_um + cell->spe_um - spe_margin_um);
  for (int64_t i = 0; i < voxels; i++)
    if (cell->height_um[i] > most) cell->height_um[i] = most;
  return STATUS_OK;
}

int64_t twin_cell_slab_low(const struct twin_cell *cell) {
  return (int64_t)ceil((cell->anode_um + 10) / cell->voxel_um);
}

enum status twin_cell_surface(const struct twin_cell *cell, struct twin_surface *surface) {
  double area     = cell->voxel_um * cell->voxel_um;
  double below_um = (double)twin_cell_slab_low(cell) * cell->voxel_um;
  *surface = (struct twin_surface){0};
  roughness(cell, cell->height_um, &surface->Ra_um, &surface->Rq_um);
  surface->mean_um = plane_of(cell, cell->height_um).mean;
  for (int64_t y = 0; y < cell->n; y++)
    for (int64_t x = 0; x < cell->n; x++) {
      if (!in_field(cell, y, x)) continue;
      surface->envelope_um3 +=
          area *
          (cell->interface_um - below_um + (double)cell->height_um[y * cell->n + x]);
    }
  return STATUS_OK;
}

/* ---- making a cell ------------------------------------------------------------------------------------- */

/* Mean volume of spheres with radii even between a and b. */
static double mean_volume(double a, double b) { return PI / 3 * (pow(b, 4) - pow(a, 4)) / (b - a); }
static const double nmc_radius_um[2] = {4, 8}, pore_radius_um[2] = {4, 9};

enum status twin_cell_make(const struct twin_params *params, const struct twin_state *state,
                           struct twin_cell *cell) {
  twin_cell_layers(params, cell);
  cell->seed    = (uint64_t)params->seed;
  int at                         = (int)(state - twin_states);
  const struct twin_state *holds = twin_content(params, state);
  cell->rise_um                  = holds->rise_um;
  for (int a = 0; a < 3 && at; a++)
    cell->drift_um[a] =
        clamp(params->drift_um * random_normal(cell->seed, STREAM_DRIFT, (uint64_t)(4 * at + a)),
              -2 * params->drift_um, 2 * params->drift_um);
  if (at)
    cell->turn_rad = params->drift_deg / DEG_PER_RAD *
                     random_normal(cell->seed, STREAM_DRIFT, (uint64_t)(4 * at + 3));
  double most = 0;
  for (int i = 0; i < TWIN_STATES; i++) most = fmax(most, twin_states[i].pore_percent);
  double full         = -log(1 - 0.01 * most * INTERPHASE_UM / PORE_BAND_UM);
  cell->pores_per_um3 = full / mean_volume(pore_radius_um[0], pore_radius_um[1]);
  cell->pores_share   = -log(1 - 0.01 * holds->pore_percent * INTERPHASE_UM / PORE_BAND_UM) / full;
  enum status status  = make_surface(params, holds, cell);
  if (status != STATUS_OK) twin_cell_free(cell);
  return status;
}

void twin_cell_free(struct twin_cell *cell) {
  memory_free(cell->height_um);
  memset(cell, 0, sizeof *cell);
}

/* ---- rows ------------------------------------------------------------------------------------------------ */

/* From the cell's own frame to that of the volume (um about the axis), and back. */
static void to_volume(const struct twin_cell *cell, double y, double x, double *out_y,
                      double *out_x) {
  double c = cos(cell->turn_rad), s = sin(cell->turn_rad);
  *out_x = c * x - s * y + cell->drift_um[2];
  *out_y = s * x + c * y + cell->drift_um[1];
}
static void to_cell(const struct twin_cell *cell, double y, double x, double *out_y,
                    double *out_x) {
  double c = cos(cell->turn_rad), s = sin(cell->turn_rad);
  x -= cell->drift_um[2], y -= cell->drift_um[1];
  *out_x = c * x + s * y;
  *out_y = -s * x + c * y;
}

static double height_at(const struct twin_cell *cell, double y_um, double x_um) {
  double half = 0.5 * (double)(cell->n - 1),
         y    = clamp(y_um / cell->voxel_um + half, 0, 2 * half - 1e-9),
         x    = clamp(x_um / cell->voxel_um + half, 0, 2 * half - 1e-9);
  int64_t iy = (int64_t)y, ix = (int64_t)x;
  const float *h = cell->height_um + iy * cell->n + ix;
  double fy = y - (double)iy, fx = x - (double)ix;
  return (1 - fy) * ((1 - fx) * (double)h[0] + fx * (double)h[1]) +
         fy * ((1 - fx) * (double)h[cell->n] + fx * (double)h[cell->n + 1]);
}

struct sphere {
  double z, y, x, r; /* um in the volume's frame */
};

/* The larger of what is there and the share of each voxel within the sphere. */
static void add_sphere(const struct twin_cell *cell, const struct sphere *s, int64_t row0, int rows,
                       float *share) {
  double v = cell->voxel_um, half = 0.5 * (double)(cell->n - 1), reach = s->r + v;
  int64_t y0 = (int64_t)clamp(floor((s->y - reach) / v + half), 0, (double)cell->n - 1),
          y1 = (int64_t)clamp(ceil((s->y + reach) / v + half), 0, (double)cell->n - 1),
          x0 = (int64_t)clamp(floor((s->x - reach) / v + half), 0, (double)cell->n - 1),
          x1 = (int64_t)clamp(ceil((s->x + reach) / v + half), 0, (double)cell->n - 1);
  for (int64_t y = y0; y <= y1; y++)
    for (int64_t x = x0; x <= x1; x++) {
      double dy = ((double)y - half) * v - s->y, dx = ((double)x - half) * v - s->x;
      float *at = share + (y * cell->n + x) * TWIN_LANES;
      for (int k = 0; k < rows; k++) {
        double dz  = ((double)(row0 + k) + 0.5) * v - s->z;
        float part = (float)clamp((s->r - sqrt(dz * dz + dy * dy + dx * dx)) / v + 0.5, 0, 1);
        if (part > at[k]) at[k] = part;
      }
    }
}

/* A Boolean model in the box |y|, |x| <= radius, base <= z < base + high: lattice cells of edge 2 radius[1]. `depth`:
 * z counts downwards from the anode's surface; only the share `kept` of the spheres is there. */
struct model {
  uint64_t stream;
  double radius_um[2], per_um3, base_um, high_um, kept;
  bool depth;
};

static void model_sphere(const struct twin_cell *cell, const struct model *m, const int64_t at[3],
                         int64_t lattice, int64_t rank_in_cell, int64_t row0, int rows,
                         float *share) {
  double edge = 2 * m->radius_um[1], draw[5], y, x;
  uint64_t index =
      (uint64_t)((((at[0] * lattice + at[1]) * lattice + at[2]) * 64 + rank_in_cell + 1) * 8);
  for (int k = 0; k < 5; k++) draw[k] = random_uniform(cell->seed, m->stream, index + (uint64_t)k);
  if (draw[4] >= m->kept) return;
  struct sphere s = {.r = m->radius_um[0] + draw[3] * (m->radius_um[1] - m->radius_um[0])};
  double w        = m->high_um * ((double)at[0] + draw[0]) / ceil(m->high_um / edge);
  y               = ((double)at[1] + draw[1]) * edge - 0.5 * edge * (double)lattice;
  x               = ((double)at[2] + draw[2]) * edge - 0.5 * edge * (double)lattice;
  s.z = m->depth ? cell->interface_um + height_at(cell, y, x) - s.r - 4 - w : m->base_um + w;
  s.z += cell->drift_um[0];
  double low  = ((double)row0 - 1) * cell->voxel_um,
         high = ((double)(row0 + rows) + 1) * cell->voxel_um;
  if (s.z + s.r < low || s.z - s.r > high) return;
  to_volume(cell, y, x, &s.y, &s.x);
  add_sphere(cell, &s, row0, rows, share);
}

static void add_model(const struct twin_cell *cell, const struct model *m, int64_t row0, int rows,
                      float *share) {
  double edge     = 2 * m->radius_um[1];
  int64_t layers  = (int64_t)ceil(m->high_um / edge),
          lattice = (int64_t)ceil(2 * cell->radius_um / edge);
  double expected = m->per_um3 * edge * edge * m->high_um / (double)layers;
  for (int64_t z = 0; z < layers; z++)
    for (int64_t y = 0; y < lattice; y++)
      for (int64_t x = 0; x < lattice; x++) {
        uint64_t index = (uint64_t)(((z * lattice + y) * lattice + x) * 64 * 8);
        int64_t number = random_poisson(cell->seed, m->stream, index, expected), at[3] = {z, y, x};
        for (int64_t i = 0; i < number && i < 62; i++)
          model_sphere(cell, m, at, lattice, i, row0, rows, share);
      }
}

static double overlap(double low, double high, double a, double b) {
  double from = a > low ? a : low, to = b < high ? b : high;
  return to > from ? to - from : 0;
}

/* Shares of the materials in one voxel of the layers; z_um is its lower face in the cell's frame. */
static void layer_shares(const struct twin_cell *cell, const double height_um[4], double z_um,
                         double nmc, double pore, double *share, double *in_pore) {
  double v = cell->voxel_um, top = z_um + v, li = 0, spe = 0;
  double cathode = cell->interface_um + cell->rise_um + cell->spe_um;
  for (int k = 0; k < 4; k++) {
    double surface = cell->interface_um + height_um[k];
    li += overlap(z_um, top, cell->anode_um, surface) / (4 * v);
    spe += overlap(z_um, top, surface, cathode) / (4 * v);
  }
  double active = overlap(z_um, top, cathode, cathode + cell->cathode_um) / v;
  double plate =
      overlap(z_um, top, cathode + cell->cathode_um, cathode + cell->cathode_um + cell->plate_um) /
      v;
  *in_pore          = li * pore;
  share[TWIN_LI]    = li - *in_pore;
  share[TWIN_SPE]   = spe + active * (1 - nmc);
  share[TWIN_NMC]   = active * nmc;
  share[TWIN_STEEL] = plate + overlap(z_um, top, cell->floor_um, cell->anode_um) / v;
}

/* The can: a wall with a slot (it tells how far a state has turned) and a lid. */
static double can_share(const struct twin_cell *cell, double r_um, double angle, double z_um) {
  double v = cell->voxel_um, outer = cell->can_um + cell->wall_um, lid_top = cell->lid_um + 13;
  double tall = overlap(z_um, z_um + v, cell->floor_um, lid_top) / v,
         lid  = overlap(z_um, z_um + v, cell->lid_um, lid_top) / v;
  double disc = clamp((outer - r_um) / v + 0.5, 0, 1),
         hole = clamp((cell->can_um - r_um) / v + 0.5, 0, 1);
  double wall = fabs(angle - 0.6) < 0.25 ? 0 : tall * (disc - hole);
  return fmax(wall, lid * disc);
}

/* One voxel column: heights at 2 x 2 points, then each lane. */
static void fill_column(const struct twin_cell *cell, int64_t y, int64_t x, int64_t row0, int rows,
                        float *mu, const float *nmc, const float *pore,
                        double volume_vox[TWIN_LANES][TWIN_MATERIALS], double *pore_vox) {
  double v = cell->voxel_um, half = 0.5 * (double)(cell->n - 1), height[4], cy, cx;
  double y_um = ((double)y - half) * v, x_um = ((double)x - half) * v;
  for (int k = 0; k < 4; k++) {
    to_cell(cell, y_um + (k / 2 - 0.5) * v / 2, x_um + (k % 2 - 0.5) * v / 2, &cy, &cx);
    height[k] = height_at(cell, cy, cx);
  }
  to_cell(cell, y_um, x_um, &cy, &cx);
  double r = hypot(cy, cx), angle = atan2(cy, cx),
         towards = r * cos(angle - twin_flat_deg / DEG_PER_RAD),
         disc    = clamp((cell->radius_um - r) / v + 0.5, 0, 1) *
                clamp((cell->chord_um - towards) / v + 0.5, 0, 1);
  bool inside  = disc > 0;
  for (int k = 0; k < rows; k++) {
    double share[TWIN_MATERIALS] = {0}, in_pore = 0,
           z_um = (double)(row0 + k) * v - cell->drift_um[0], sum = 0, filled = 0;
    if (inside) layer_shares(cell, height, z_um, (double)nmc[k], (double)pore[k], share, &in_pore);
    for (int m = TWIN_LI; m < TWIN_MATERIALS; m++) share[m] *= disc;
    share[TWIN_STEEL] += can_share(cell, r, angle, z_um);
    for (int m = TWIN_LI; m < TWIN_MATERIALS; m++) {
      sum += share[m] * twin_mu_per_mm[m] * 1e-3 * v;
      filled += share[m];
      volume_vox[k][m] += share[m];
    }
    volume_vox[k][TWIN_VOID] += 1 - filled;
    pore_vox[k] += in_pore * disc;
    mu[k] = (float)sum;
  }
}

void twin_cell_rows(const struct twin_cell *cell, int64_t row0, int rows, float *mu, float *share,
                    double volume_vox[TWIN_LANES][TWIN_MATERIALS], double *pore_vox) {
  int64_t all = cell->n * cell->n * TWIN_LANES;
  float *nmc = share, *pore = share + all;
  struct model particles = {
      STREAM_NMC,
      {nmc_radius_um[0], nmc_radius_um[1]},
      -log(1 - 0.63) / mean_volume(nmc_radius_um[0], nmc_radius_um[1]),
      cell->interface_um + cell->rise_um + cell->spe_um,
      cell->cathode_um,
      1,
      false
  };
  struct model pores = {
      STREAM_PORE,
      {pore_radius_um[0], pore_radius_um[1]},
      cell->pores_per_um3,
      0,
      PORE_BAND_UM,
      cell->pores_share,
      true
  };
  memset(share, 0, (size_t)(2 * all) * sizeof *share);
  memset(mu, 0, (size_t)all * sizeof *mu);
  memset(volume_vox, 0, TWIN_LANES * sizeof *volume_vox);
  memset(pore_vox, 0, TWIN_LANES * sizeof *pore_vox);
  add_model(cell, &particles, row0, rows, nmc);
  if (pores.kept > 0) add_model(cell, &pores, row0, rows, pore);
  for (int64_t y = 0; y < cell->n; y++)
    for (int64_t x = 0; x < cell->n; x++) {
      int64_t at = (y * cell->n + x) * TWIN_LANES;
      fill_column(cell, y, x, row0, rows, mu + at, nmc + at, pore + at, volume_vox, pore_vox);
    }
}
