/* The flux solver on correlated blobs, beside PETSc's algebraic multigrids, a plain SOR and STREAM's triad in the same
 * run. Medians and minima by the clock, processor seconds of the median beside them.
 * usage: bench_flux [speed|peers|iterations|traffic [EDGE]] */
#include "bench.h"
#include "flux.h"
#include <math.h>
#include <time.h>

struct volume {
  struct grid_plan plan;
  struct grid_field codes;
  int64_t edge;
  double porosity;
};
static double cpu_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
static uint64_t mix(uint64_t v) {
  v = (v ^ v >> 33) * 0xff51afd7ed558ccdULL;
  v = (v ^ v >> 33) * 0xc4ceb9fe1a85ec53ULL;
  return v ^ v >> 33;
}

/* ---- structures ---- */

/* Noise smoothed thrice along each axis by a mean of `width` voxels, every rank for itself on its box and a margin, so
 * the volume does not depend on the ranks. width 1: sites without correlation. */
static void smooth(float *f, float *t, const int64_t n[3], int axis, int width) {
  const int64_t step[3] = {n[1] * n[2], n[2], 1}, s = step[axis], all = n[0] * n[1] * n[2];
  for (int64_t p = 0; p < all; p++) {
    const int64_t at = p / s % n[axis];
    float sum        = 0;
    for (int d = 0; d < width; d++) sum += at + d < n[axis] ? f[p + d * s] : 0;
    t[p] = sum;
  }
  memcpy(f, t, (size_t)all * sizeof *f);
}
static int order(const void *a, const void *b) {
  const float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}
/* Threshold at a quantile of a sample of the whole volume (`whole` voxels along each edge), alike on any ranks; f has
 * rows of n voxels from the start of `mine` on. */
static float quantile(MPI_Comm comm, const float *f, const int64_t n[3],
                      const struct grid_box *mine, int64_t whole, double share) {
  enum { SAMPLE = 4000 };
  float some[SAMPLE];
  for (int i = 0; i < SAMPLE; i++) {
    const int64_t p     = (int64_t)(mix((uint64_t)i + 77) % (uint64_t)(whole * whole * whole));
    const int64_t at[3] = {p / (whole * whole) - mine->start[0], p / whole % whole - mine->start[1],
                           p % whole - mine->start[2]};
    bool here           = true;
    for (int a = 0; a < 3; a++) here = here && at[a] >= 0 && at[a] < mine->n[a];
    some[i] = here ? f[(at[0] * n[1] + at[1]) * n[2] + at[2]] : 0;
  }
  MPI_Allreduce(MPI_IN_PLACE, some, SAMPLE, MPI_FLOAT, MPI_SUM, comm);
  qsort(some, SAMPLE, sizeof *some, order);
  return some[(int)((1 - share) * (SAMPLE - 1))];
}
/* phases 2: the outer half of the conductors is a second phase. */
static void blobs(MPI_Comm comm, struct volume *v, int width, int phases) {
  const struct grid_box *m = &v->codes.mine;
  const int64_t margin     = 3 * (width - 1);
  int64_t n[3];
  float *f, *t;
  for (int a = 0; a < 3; a++) n[a] = m->n[a] + margin;
  if (memory_make(n[0] * n[1] * n[2], sizeof *f, "noise", &f) ||
      memory_make(n[0] * n[1] * n[2], sizeof *t, "noise", &t))
    status_abort(STATUS_MEMORY, "%s", status_text());
  for (int64_t p = 0; p < n[0] * n[1] * n[2]; p++) {
    const int64_t z = m->start[0] + p / (n[1] * n[2]), y = m->start[1] + p / n[2] % n[1],
                  x = m->start[2] + p % n[2];
    f[p]            = (float)(mix((uint64_t)((z * 100003 + y) * 100003 + x)) >> 40) / 16777216.F;
  }
  for (int a = 0; a < 3 && width > 1; a++)
    for (int k = 0; k < 3; k++) smooth(f, t, n, a, width);
  const float level  = quantile(comm, f, n, m, v->edge, v->porosity);
  const float second = phases == 2 ? quantile(comm, f, n, m, v->edge, v->porosity / 2) : level;
  uint8_t *code      = v->codes.data;
  for (int64_t z = 0; z < m->n[0]; z++)
    for (int64_t y = 0; y < m->n[1]; y++)
      for (int64_t x = 0; x < m->n[2]; x++) {
        const float value                     = f[(z * n[1] + y) * n[2] + x];
        code[(z * m->n[1] + y) * m->n[2] + x] = value >= second ? 1 : value >= level ? 2 : 0;
      }
  memory_free(f);
  memory_free(t);
}
static struct volume volume_make(MPI_Comm comm, int64_t edge, double porosity, int width,
                                 int phases) {
  const int64_t n[3] = {edge, edge, edge};
  struct volume v    = {.edge = edge, .porosity = porosity};
  if (flux_plan_make(comm, n, &v.plan) ||
      grid_field_make(comm, &v.plan, GRID_U8, (int64_t[3]){0, 0, 0}, &v.codes))
    status_abort(STATUS_MEMORY, "%s", status_text());
  blobs(comm, &v, width, phases);
  return v;
}
static void volume_free(struct volume *v) {
  grid_field_free(&v->codes);
  grid_plan_free(&v->plan);
}
/* ---- our solver ---- */

enum { RUNS_MOST = 9 };

struct measured {
  struct flux_answer answer;
  double cpu_s, wall_s, least_s, bytes_per_voxel, bytes_per_open;
  int runs;
};
static struct flux_case problem_of(const struct volume *v, double tolerance, bool certify,
                                   enum flux_solver solver) {
  return (struct flux_case){
      .spacing        = {1, 1, 1  },
      .diffusivity    = {0, 1, 0.1},
      .volume_vox     = v->edge * v->edge * v->edge,
      .tolerance      = tolerance,
      .iterations_max = 200,
      .solver         = solver,
      .certify        = certify
  };
}
static struct measured solve_once(MPI_Comm comm, const struct volume *v,
                                  const struct flux_case *problem) {
  struct measured m = {.runs = 1};
  memory_peak_reset();
  const double before = (double)memory_now_bytes(), begun_s = cpu_s(), begun_wall_s = MPI_Wtime();
  if (flux_solve(comm, problem, &v->codes, &m.answer, NULL))
    status_abort(STATUS_INTERNAL, "%s", status_text());
  double spent[2] = {cpu_s() - begun_s, MPI_Wtime() - begun_wall_s};
  MPI_Allreduce(MPI_IN_PLACE, spent, 2, MPI_DOUBLE, MPI_MAX, comm);
  m.cpu_s     = spent[0];
  m.wall_s    = spent[1];
  m.least_s   = spent[1];
  double more = (double)memory_peak_bytes() - before;
  MPI_Allreduce(MPI_IN_PLACE, &more, 1, MPI_DOUBLE, MPI_SUM, comm);
  double open = 0;
  for (int c = 1; c < FLUX_CODES; c++) open += (double)m.answer.percolating[c];
  m.bytes_per_voxel = more / pow((double)v->edge, 3);
  m.bytes_per_open  = more / open;
  return m;
}
static int by_wall(const void *a, const void *b) {
  const double x = ((const struct measured *)a)->wall_s, y = ((const struct measured *)b)->wall_s;
  return (x > y) - (x < y);
}
/* The median of some runs by the clock, beside the least. With several there is one before them that does not count: memory
 * that a process touches for the first time may have to come from beneath a virtual machine. */
static struct measured solve(MPI_Comm comm, const struct volume *v, const struct flux_case *problem,
                             int runs) {
  struct measured all[RUNS_MOST];
  if (runs > 1) solve_once(comm, v, problem);
  for (int i = 0; i < runs; i++) all[i] = solve_once(comm, v, problem);
  qsort(all, (size_t)runs, sizeof *all, by_wall);
  struct measured m = all[(runs - 1) / 2];
  m.runs            = runs;
  m.least_s         = all[0].wall_s;
  return m;
}
/* Seconds of one cycle: six against two. */
static double cycle_s(MPI_Comm comm, const struct volume *v) {
  double spent[2];
  for (int i = 0; i < 2; i++) {
    struct flux_case problem = problem_of(v, 1e-12, false, FLUX_MULTIGRID);
    problem.iterations_max   = i ? 6 : 2;
    spent[i]                 = solve(comm, v, &problem, 3).cpu_s;
  }
  return (spent[1] - spent[0]) / 4;
}
/* STREAM's triad by processor time, bytes/s of one rank. */
static double stream_by_cpu(void) {
  const int64_t n = 8 << 20;
  double *a, *b, *c, best = 1e30;
  if (memory_make(n, sizeof *a, "stream", &a) || memory_make(n, sizeof *b, "stream", &b) ||
      memory_make(n, sizeof *c, "stream", &c))
    status_abort(STATUS_MEMORY, "%s", status_text());
  for (int k = 0; k < 8; k++) {
    const double begun_s = cpu_s();
    for (int64_t i = 0; i < n; i++) a[i] = b[i] + 1.5 * c[i];
    __asm__ volatile("" : : "r"(a) : "memory");
    best = fmin(best, cpu_s() - begun_s);
  }
  memory_free(a);
  memory_free(b);
  memory_free(c);
  return 24.0 * (double)n / best;
}
/* What a cycle moves through memory at least: potential read and written, a byte of code, on the voxels; the graph of an
 * eighth as many nodes some four times. */
static double cycle_bytes(const struct volume *v) { return 40 * pow((double)v->edge, 3); }

/* A number as JSON has it. */
static const char *number(double value, char text[32]) {
  if (!isfinite(value)) return "null";
  snprintf(text, 32, "%.8g", value);
  return text;
}
static void print(MPI_Comm comm, const char *name, const struct volume *v, const struct measured *m,
                  const char *more) {
  int rank, size;
  char lower[32], open[32];
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  if (rank) return;
  printf("{\"case\":\"%s\",\"ranks\":%d,\"isa\":\"%s\",\"edge\":%d,\"porosity\":%g,\"cpu_s\":%.4g,"
         "\"median_s\":%.4g,\"min_s\":%.4g,\"runs\":%d,"
         "\"setup_s\":%.4g,\"solve_s\":%.4g,\"bound_s\":%.4g,\"iterations\":%d,\"converged\":%d,"
         "\"D_eff\":%.8g,"
         "\"lower\":%s,\"bytes_per_voxel\":%.4g,\"bytes_per_conducting_voxel\":%s%s%s}\n",
         name, size, isa_name(isa_now()), (int)v->edge, v->porosity, m->cpu_s, m->wall_s,
         m->least_s, m->runs, m->answer.setup_s, m->answer.solve_s, m->answer.bound_s,
         m->answer.iterations, m->answer.converged, m->answer.upper, number(m->answer.lower, lower),
         m->bytes_per_voxel, number(m->bytes_per_open, open), *more ? "," : "", more);
  fflush(stdout);
}

/* ---- a plain SOR, the method of TauFactor ---- */

struct sor {
  float *x;
  uint8_t *open;
  int64_t n, row, plane;
};
static void sor_half(const struct sor *s, int colour, float omega) {
  for (int64_t k = 1; k <= s->n; k++)
    for (int64_t j = 1; j <= s->n; j++)
      for (int64_t i = 1 + ((k + j + colour) & 1); i <= s->n; i += 2) {
        const int64_t p = k * s->plane + j * s->row + i;
        if (!s->open[p]) continue;
        const float *x  = s->x + p;
        const float sum = x[-s->plane] + x[s->plane] + x[-s->row] + x[s->row] + x[-1] + x[1];
        s->x[p] += omega * (sum / (float)s->open[p] - s->x[p]);
      }
}
/* Open faces of each voxel (an outer face across the flow counts twice, its halo holds twice the value). */
static void sor_fill(struct sor *s, const struct volume *v) {
  const uint8_t *code = v->codes.data;
  for (int64_t k = 0; k < s->n; k++)
    for (int64_t j = 0; j < s->n; j++)
      for (int64_t i = 0; i < s->n; i++)
        s->open[(k + 1) * s->plane + (j + 1) * s->row + i + 1] = code[(k * s->n + j) * s->n + i];
  const uint8_t *faces = s->open;
  uint8_t *sum;
  if (memory_make((s->n + 2) * s->plane, 1, "faces", &sum))
    status_abort(STATUS_MEMORY, "%s", status_text());
  for (int64_t p = s->plane; p < (s->n + 1) * s->plane; p++) {
    if (!faces[p]) continue;
    sum[p] = (uint8_t)(faces[p - s->plane] + faces[p + s->plane] + faces[p - s->row] +
                       faces[p + s->row] + faces[p - 1] + faces[p + 1]);
    if (p < 2 * s->plane || p >= s->n * s->plane) sum[p] = (uint8_t)(sum[p] + 2);
    s->x[p] = 0.5F - (float)(p / s->plane - 1) / (float)s->n;
  }
  for (int64_t p = 0; p < s->plane; p++)
    if (sum[p + s->plane]) s->x[p] = 1;
  for (int64_t p = 0; p < s->plane; p++)
    if (sum[s->n * s->plane + p]) s->x[(s->n + 1) * s->plane + p] = -1;
  memory_free(s->open);
  s->open = sum;
}
static double sor_flow(const struct sor *s) {
  double in = 0, out = 0;
  for (int64_t p = 0; p < s->plane; p++) {
    if (s->open[p + s->plane]) in += 1 - 2 * (double)s->x[p + s->plane];
    if (s->open[s->n * s->plane + p]) out += 1 + 2 * (double)s->x[s->n * s->plane + p];
  }
  return 0.5 * (in + out) * (double)s->n / pow((double)s->n, 2);
}
static void sor(MPI_Comm comm, const struct volume *v, double truth, double tolerance) {
  struct sor s = {.n = v->edge, .row = v->edge + 2, .plane = (v->edge + 2) * (v->edge + 2)};
  if (memory_make((s.n + 2) * s.plane, sizeof *s.x, "potential", &s.x) ||
      memory_make((s.n + 2) * s.plane, 1, "faces", &s.open))
    status_abort(STATUS_MEMORY, "%s", status_text());
  const double begun_s = cpu_s(), begun_wall_s = MPI_Wtime();
  const float omega = (float)(2 - 3.14159265358979 / (1.5 * (double)s.n));
  struct measured m = {.runs = 1};
  sor_fill(&s, v);
  for (int i = 1; i <= 20000 && !m.answer.converged; i++) {
    sor_half(&s, 0, omega);
    sor_half(&s, 1, omega);
    m.answer.iterations = i;
    if (i % 50 == 0) m.answer.converged = fabs(sor_flow(&s) / truth - 1) < tolerance;
  }
  m.cpu_s  = cpu_s() - begun_s;
  m.wall_s = m.least_s = MPI_Wtime() - begun_wall_s;
  m.answer.upper       = sor_flow(&s);
  print(comm, "plain SOR, stopped where the truth is known", v, &m, "");
  memory_free(s.x);
  memory_free(s.open);
}

/* ---- cases ---- */

static void speed(MPI_Comm comm, int64_t edge) {
  static const double porosity[] = {0.7, 0.3, 0.2};
  const double stream            = stream_by_cpu();
  for (int i = 0; i < 3; i++)
    for (int kind = 0; kind < 4; kind++) {
      static const char *const name[] = {"certified 1e-4", "uncertified 1e-4", "certified 1e-6",
                                         "two phases, certified 1e-4"};
      struct volume v                 = volume_make(comm, edge, porosity[i], 8, kind == 3 ? 2 : 1);
      char more[160];
      struct flux_case problem = problem_of(&v, kind == 2 ? 1e-6 : 1e-4, kind != 1, FLUX_MULTIGRID);
      struct measured m        = solve(comm, &v, &problem, kind == 3 ? 3 : 7);
      const double per_cycle   = cycle_s(comm, &v);
      snprintf(more, sizeof more,
               "\"stream_GB_s\":%.3g,\"ns_per_voxel_cycle\":%.3g,\"fraction_of_bandwidth\":%.3g",
               1e-9 * stream, 1e9 * per_cycle / pow((double)edge, 3),
               cycle_bytes(&v) / stream / per_cycle);
      print(comm, name[kind], &v, &m, more);
      volume_free(&v);
    }
}
static void peers(MPI_Comm comm, int64_t edge) {
  static const double porosity[]  = {0.7, 0.3, 0.2};
  static const char *const name[] = {"multigrid", "krylov", "gamg", "boomeramg"};
  int size;
  MPI_Comm_size(comm, &size);
  for (int i = 0; i < 3; i++) {
    struct volume v = volume_make(comm, edge, porosity[i], 8, 1);
    for (int solver = FLUX_MULTIGRID; solver <= FLUX_BOOMERAMG; solver++) {
      if (solver == FLUX_KRYLOV) continue;
      struct flux_case problem =
          problem_of(&v, 1e-4, solver == FLUX_MULTIGRID, (enum flux_solver)solver);
      struct measured m = solve(comm, &v, &problem, solver == FLUX_MULTIGRID ? 3 : 1);
      print(comm, name[solver], &v, &m, "");
    }
    struct flux_case fine = problem_of(&v, 1e-7, true, FLUX_KRYLOV);
    struct measured truth = solve(comm, &v, &fine, 1);
    if (size == 1) sor(comm, &v, truth.answer.upper, 1e-4);
    volume_free(&v);
  }
}
static void iterations(MPI_Comm comm, int64_t largest) {
  static const double porosity[] = {0.15, 0.2, 0.3, 0.5, 0.7};
  static const int64_t edges[]   = {64, 128, 256, 400};
  for (int e = 0; e < 4 && edges[e] <= largest; e++)
    for (int i = 0; i < 6; i++)
      for (int fine = 0; fine < 2; fine++) {
        struct volume v = volume_make(comm, edges[e], i < 5 ? porosity[i] : 0.33, i < 5 ? 8 : 1, 1);
        struct flux_case problem = problem_of(&v, fine ? 1e-6 : 1e-4, true, FLUX_MULTIGRID);
        struct measured m        = solve(comm, &v, &problem, 1);
        print(comm,
              i < 5  ? (fine ? "blobs 1e-6" : "blobs 1e-4")
              : fine ? "sites 1e-6"
                     : "sites 1e-4",
              &v, &m, "");
        volume_free(&v);
      }
}
static void traffic_of(MPI_Comm comm, int64_t edge, double porosity, int width) {
  struct volume v          = volume_make(comm, edge, porosity, width, 1);
  struct flux_case problem = problem_of(&v, 1e-6, true, FLUX_MULTIGRID);
  struct measured m        = solve(comm, &v, &problem, 1);
  struct flux_traffic most = m.answer.traffic, model[2];
  char more[400];
  for (int k = 0; k < 2; k++) model[k] = flux_traffic_model(&v.plan, k);
  MPI_Allreduce(MPI_IN_PLACE, &most, 4, MPI_INT64_T, MPI_MAX, comm);
  snprintf(more, sizeof more,
           "\"parts\":[%d,%d,%d],\"messages\":%lld,\"messages_model\":[%lld,%lld],\"bytes\":%lld,"
           "\"bytes_model\":[%lld,%lld],\"sums\":%lld,\"sums_model\":[%lld,%lld],"
           "\"alone\":%lld,\"alone_model\":[%lld,%lld]",
           v.plan.parts[0], v.plan.parts[1], v.plan.parts[2], (long long)most.messages,
           (long long)model[0].messages, (long long)model[1].messages, (long long)most.bytes,
           (long long)model[0].bytes, (long long)model[1].bytes, (long long)most.sums,
           (long long)model[0].sums, (long long)model[1].sums, (long long)most.alone,
           (long long)model[0].alone, (long long)model[1].alone);
  print(comm, width > 1 ? "traffic of one cycle, blobs" : "traffic of one cycle, sites", &v, &m,
        more);
  volume_free(&v);
}
static void traffic(MPI_Comm comm, int64_t edge) {
  traffic_of(comm, edge, 0.5, 8);
  traffic_of(comm, edge, 0.17, 8);
  traffic_of(comm, edge, 0.33, 1);
}
/* Seconds of a cycle per voxel (of a volume of which half conducts), and at most per node of a graph on one rank: of a whole
 * cycle whose first graph that is. */
static void rates(double *per_voxel_s, double *per_node_s) {
  struct volume v = volume_make(MPI_COMM_SELF, 128, 0.5, 8, 1);
  *per_voxel_s    = cycle_s(MPI_COMM_SELF, &v) / pow(128, 3);
  volume_free(&v);
  v           = volume_make(MPI_COMM_SELF, 62, 1, 8, 1);
  *per_node_s = cycle_s(MPI_COMM_SELF, &v) / pow(31, 3);
  volume_free(&v);
}
/* The full size on many ranks, by the model alone: where none of the second steps is taken, and where all are. Seconds from
 * this machine's rates and a network of 2 us a message, 1 GB/s a rank and 4 us per doubling of the ranks in a sum. */
static void forecast(void) {
  static const int64_t n[3] = {2160, 2560, 2560};
  double per_voxel_s, per_node_s;
  rates(&per_voxel_s, &per_node_s);
  for (int size = 64; size <= 4096; size *= 4)
    for (int second = 0; second < 2; second++) {
      struct grid_plan plan = {
          .size = size, .n = {n[0], n[1], n[2]}
      };
      if (flux_plan_parts(&plan)) status_abort(STATUS_MEMORY, "%s", status_text());
      const struct flux_traffic t = flux_traffic_model(&plan, second);
      const double voxels         = (double)grid_plan_most(&plan);
      printf(
          "{\"case\":\"forecast of one cycle, 2160 x 2560 x 2560, %s second steps\",\"ranks\":%d,"
          "\"parts\":[%d,%d,%d],\"messages\":%lld,\"bytes\":%lld,\"sums\":%lld,"
          "\"voxels_per_rank\":%.4g,\"bytes_per_voxel\":%.3g,\"voxels_and_graphs_s\":%.3g,"
          "\"one_rank_s\":%.3g,\"messages_s\":%.3g,\"bytes_s\":%.3g,\"sums_s\":%.3g}\n",
          second ? "all" : "no", size, plan.parts[0], plan.parts[1], plan.parts[2],
          (long long)t.messages, (long long)t.bytes, (long long)t.sums, voxels,
          (double)t.bytes / voxels, voxels * per_voxel_s, (double)t.alone * per_node_s,
          2e-6 * (double)t.messages, 1e-9 * (double)t.bytes, 4e-6 * log2(size) * (double)t.sums);
      grid_plan_free(&plan);
    }
}
int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  MPI_Comm comm = MPI_COMM_WORLD;
  int rank;
  MPI_Comm_rank(comm, &rank);
  status_program_set(comm);
  const char *which  = argc > 1 ? argv[1] : "speed";
  const int64_t edge = argc > 2 ? atoll(argv[2]) : 256;
  if (isa_agree(comm, NULL)) status_abort(STATUS_USAGE, "%s", status_text());
  if (strcmp(which, "speed") == 0) speed(comm, edge);
  if (strcmp(which, "peers") == 0) peers(comm, edge);
  if (strcmp(which, "iterations") == 0) iterations(comm, edge);
  if (strcmp(which, "traffic") == 0) traffic(comm, edge);
  if (strcmp(which, "traffic") == 0 && rank == 0) forecast();
  MPI_Finalize();
  return 0;
}
