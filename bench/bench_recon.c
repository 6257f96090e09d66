/* Reconstruction: the kernel, its transforms alone (ours and FFTW's) as its bound, and what stands around it.
 *   bench_recon [COLUMNS ANGLES]...   default: 512 720 2048 1800 2560 3600
 * Each rank works on its own batch of slices; rates are per core. */
#include "bench.h"
#include "recon_halves.h"
#include <fftw3.h>
#include <math.h>
#include <time.h>

static MPI_Comm world;

struct job {
  struct recon_geometry geometry;
  struct recon_work *work;
  int64_t slices;
  float *sinogram, *slice, *flat;
  /* transforms alone */
  struct recon_fft forward, inverse;
  int32_t *place;
  float *line, *middle;
  int64_t side;
  fftwf_plan projections, plane;
};

static void give_up_unless(enum status status) {
  if (status != STATUS_OK) status_abort(status, "%s", status_text());
}

static void reconstruct(void *context) {
  struct job *job = context;
  give_up_unless(recon_work_slices(job->work, job->sinogram, job->slices, job->slice));
}

/* As many transforms as a batch needs: projections, rows and wanted columns of the grid, on data in cache. */
static void transform(void *context) {
  struct job *job = context;
  for (int64_t a = 0; a < job->geometry.angles; a++) ISA_PICK(recon_fft_lines)
  (&job->forward, job->line, ISA_PICK(recon_batch_lanes)(), job->geometry.columns, job->place, NULL,
   NULL, job->middle, job->line);
  for (int64_t r = 0; r < job->side + job->geometry.columns; r++) ISA_PICK(recon_fft_lines)
  (&job->inverse, job->line, ISA_PICK(recon_batch_lanes)(), job->side, job->place, NULL, NULL,
   job->middle, job->line);
}

/* FFTW's transforms of one pair of slices. */
static void transform_fftw(void *context) {
  struct job *job = context;
  for (int64_t a = 0; a + 16 <= job->geometry.angles; a += 16) fftwf_execute(job->projections);
  fftwf_execute(job->plane);
}

static void unstripe(void *context) {
  struct job *job = context;
  give_up_unless(recon_unstripe(job->sinogram, job->geometry.angles, job->geometry.columns, 31));
}

static void attenuate(void *context) {
  struct job *job = context;
  int64_t n       = job->geometry.angles * job->geometry.columns;
  for (int64_t i = 0; i < n; i++) job->sinogram[i] = 1000 + (float)(i * 2654435761u % 16384);
  recon_attenuation(job->sinogram, 1, job->geometry.angles, job->geometry.columns, job->flat,
                    job->flat + job->geometry.columns, true);
}

static void fill(struct job *job, double *angle_rad) {
  int64_t columns = job->geometry.columns, angles = job->geometry.angles;
  for (int64_t a = 0; a < angles; a++) angle_rad[a] = PI * (double)a / (double)angles;
  for (int64_t i = 0; i < job->slices * angles * columns; i++) {
    double t = ((double)(i % columns) - 0.5 * (double)columns) / (0.45 * (double)columns);
    job->sinogram[i] =
        (fabs(t) < 1 ? (float)sqrt(1 - t * t) : 0) + 0.01f * (float)(i * 2654435761u % 97) / 97;
  }
  for (int64_t c = 0; c < columns; c++) job->flat[c] = 40000, job->flat[columns + c] = 100;
}

/* Beside the wall clock, the processor's: what others on the machine do disturbs it less. */
struct timed {
  void (*work)(void *);
  void *context;
  double least_s;
};

static double cpu_s(void) {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void run_timed(void *context) {
  struct timed *t = context;
  double begun_s  = cpu_s();
  t->work(t->context);
  t->least_s = fmin(t->least_s, cpu_s() - begun_s);
}

static void bench_case(const char *name, struct job *job, double slices, void (*work)(void *)) {
  char more[256];
  struct timed timed     = {work, job, INFINITY};
  struct bench_time time = bench_run(world, 5, run_timed, &timed);
  snprintf(more, sizeof more,
           "\"columns\":%lld,\"angles\":%lld,\"cpu_ms_per_slice\":%.3f,\"slices_per_cpu_s\":%.2f",
           (long long)job->geometry.columns, (long long)job->geometry.angles,
           1e3 * timed.least_s / slices, slices / timed.least_s);
  bench_print(world, name, time, more);
}

static void bench_transforms(struct job *job, int lanes) {
  int64_t side = recon_gridding_side(&job->geometry),
          pad  = recon_halves_serve(&job->geometry) ? side : recon_pad(&job->geometry);
  int64_t most = pad > side ? pad : side;
  job->side    = side;
  give_up_unless(recon_fft_make(pad, &job->forward));
  give_up_unless(recon_fft_make(side, &job->inverse));
  give_up_unless(memory_make(most, sizeof *job->place, "places", &job->place));
  give_up_unless(memory_make(most * lanes, sizeof(float), "lines", &job->line));
  give_up_unless(memory_make(2 * most * lanes, sizeof(float), "lines", &job->middle));
  for (int64_t i = 0; i < most; i++) job->place[i] = (int32_t)i;
  bench_case("recon.transforms", job, lanes, transform);
  fftwf_complex *rows  = fftwf_alloc_complex((size_t)(16 * pad)),
                *plane = fftwf_alloc_complex((size_t)(side * side));
  const int n          = (int)pad;
  job->projections     = fftwf_plan_many_dft(1, &n, 16, rows, NULL, 1, n, rows, NULL, 1, n,
                                             FFTW_FORWARD, FFTW_MEASURE);
  job->plane = fftwf_plan_dft_2d((int)side, (int)side, plane, plane, FFTW_BACKWARD, FFTW_MEASURE);
  memset(rows, 0, (size_t)(16 * pad) * sizeof *rows);
  memset(plane, 0, (size_t)(side * side) * sizeof *plane);
  bench_case("recon.transforms.fftw", job, 2, transform_fftw);
  fftwf_destroy_plan(job->projections);
  fftwf_destroy_plan(job->plane);
  fftwf_free(rows);
  fftwf_free(plane);
  recon_fft_free(&job->forward);
  recon_fft_free(&job->inverse);
  memory_free(job->place);
  memory_free(job->line);
  memory_free(job->middle);
}

static void bench_size(int64_t columns, int64_t angles) {
  struct job job = {
      .geometry = {.columns   = columns,
                   .angles    = angles,
                   .filter    = "ramp",
                   .rolloff   = 1,
                   .centre_px = 0.5 * (double)(columns - 1) + 0.3},
  };
  int lanes = ISA_PICK(recon_batch_lanes)();
  double *angle_rad, *weight_rad;
  job.slices = lanes;
  give_up_unless(memory_make(angles, sizeof *angle_rad, "angles", &angle_rad));
  give_up_unless(memory_make(angles, sizeof *weight_rad, "angles", &weight_rad));
  give_up_unless(memory_make(lanes * angles * columns, sizeof(float), "sinograms", &job.sinogram));
  give_up_unless(memory_make(lanes * columns * columns, sizeof(float), "slices", &job.slice));
  give_up_unless(memory_make(2 * columns, sizeof(float), "flats", &job.flat));
  fill(&job, angle_rad);
  give_up_unless(recon_weights(angle_rad, angles, weight_rad));
  job.geometry.angle_rad  = angle_rad;
  job.geometry.weight_rad = weight_rad;
  give_up_unless(recon_work_make("gridding", &job.geometry, &job.work));
  bench_case("recon.gridding", &job, lanes, reconstruct);
  recon_work_free(&job.work);
  bench_transforms(&job, lanes);
  bench_case("recon.sorting", &job, 1, unstripe);
  bench_case("recon.attenuation", &job, 1, attenuate);
  memory_free(angle_rad);
  memory_free(weight_rad);
  memory_free(job.sinogram);
  memory_free(job.slice);
  memory_free(job.flat);
}

int main(int argc, char **argv) {
  static const int64_t sizes[][2] = {
      {512,  720 },
      {2048, 1800},
      {2560, 3600}
  };
  MPI_Init(&argc, &argv);
  world = MPI_COMM_WORLD;
  status_program_set(world);
  give_up_unless(isa_agree(world, getenv("BENCH_ISA")));
  for (int i = 1; i + 1 < argc; i += 2) bench_size(atoll(argv[i]), atoll(argv[i + 1]));
  for (int i = 0; i < 3 && argc < 3; i++) bench_size(sizes[i][0], sizes[i][1]);
  MPI_Finalize();
  return 0;
}
