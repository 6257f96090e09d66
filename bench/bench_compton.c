/* Frames to counts: bench_compton FOLDER [FRAMES] (a file of
 * 5 x 12.8 kB x FRAMES is written there; a folder on disk: memory file systems have small pages). For each share of pixels hit: counting frames in memory beside a pure
 * read of the same memory, the whole way from a cached file beside a pure read of the same file, and from the hits that
 * were kept. Rates by the processor's time of rank 0 too: on a machine that others use they say more. */
#include "bench.h"
#include "compton_events.h"
#include "numeric.h"
#include <fcntl.h>
#include <math.h>
#include <time.h>
#include <unistd.h>

enum { REPEATS = 5, SIDE = 80, PIXELS = SIDE * SIDE, RUNS = 5, PEDESTAL = 1005, PIECE = 81 };
#define GAIN_KEV 0.0272

struct bench {
  MPI_Comm comm;
  struct compton_frames_settings set;
  struct compton_cube cube;
  struct raw_frames frames;
  struct events_map map;
  struct events_work work;
  uint16_t *memory, *piece;
  int64_t n; /* frames in memory; the file repeats them */
  uint64_t seen;
};

static void must(enum status status) {
  if (status != STATUS_OK) status_abort(status, "%s", status_text());
}

/* Photons of 94 keV on random pixels, three in ten shared with a neighbour; noise of 8 ADU about the pedestal. */
static void frame_make(double occupancy, const int16_t *noise, uint64_t index, uint16_t *frame) {
  for (int p = 0; p < PIXELS; p += 4) {
    struct random_block block = random_at(1, index, (uint64_t)p);
    for (int k = 0; k < 4; k++) frame[p + k] = (uint16_t)(PEDESTAL + noise[block.word[k] & 0xffff]);
  }
  int64_t photons = random_poisson(2, 0, index, occupancy * PIXELS / 1.3);
  for (int64_t k = 0; k < photons; k++) {
    struct random_block block = random_at(3, index, (uint64_t)k);
    int p = (int)(block.word[0] % PIXELS), adu = (int)(93.87 / GAIN_KEV);
    int shared = block.word[1] % 10 < 3 && p % SIDE < SIDE - 1;
    int first  = shared ? adu / 4 + (int)(block.word[2] % 1024) : adu;
    frame[p]   = (uint16_t)(frame[p] + first);
    if (shared) frame[p + 1] = (uint16_t)(frame[p + 1] + adu - first);
  }
}

static void file_make(const char *path, double occupancy, int64_t n) {
  static int16_t noise[1 << 16];
  FILE *file = fopen(path, "wb");
  if (!file) status_abort(STATUS_OUTPUT, "%s cannot be written", path);
  for (int i = 0; i < 1 << 16; i++) noise[i] = (int16_t)lrint(8 * random_normal(4, 0, (uint64_t)i));
  uint16_t *all;
  must(memory_make(n * PIXELS, sizeof *all, "frames", &all));
  for (int64_t k = 0; k < n; k++) frame_make(occupancy, noise, (uint64_t)k, all + k * PIXELS);
  for (int i = 0; i < REPEATS; i++) fwrite(all, sizeof *all * PIXELS, (size_t)n, file);
  memory_free(all);
  fclose(file);
}

static void count_memory(void *context) {
  struct bench *b = context;
  memset(&b->work.tally, 0, sizeof b->work.tally);
  compton_events_add(&b->work, b->memory, b->n, false);
}

static void read_memory(void *context) {
  struct bench *b      = context;
  const uint64_t *word = (const uint64_t *)b->memory;
  uint64_t seen[8]     = {0};
  for (int64_t i = 0; i < b->n * PIXELS / 4; i += 8)
    for (int k = 0; k < 8; k++) seen[k] ^= word[i + k];
  for (int k = 0; k < 8; k++) b->seen += seen[k];
}

static void count_file(void *context) {
  struct bench *b = context;
  compton_cube_free(&b->cube);
  must(compton_cube_from_frames(b->comm, &b->set, &b->cube));
}

/* Each rank its share, in pieces that stay in the cache, as the counting does. */
static void read_file(void *context) {
  struct bench *b = context;
  int rank, size;
  MPI_Comm_rank(b->comm, &rank);
  MPI_Comm_size(b->comm, &size);
  int64_t n = b->n * REPEATS, end = n * (rank + 1) / size;
  for (int64_t at = n * rank / size; at < end; at += PIECE)
    must(raw_frames_read_here(&b->frames, at, end - at < PIECE ? end - at : PIECE, b->piece));
}

/* A run's time, and the processor's in the mean over runs. */
struct timing {
  struct bench_time time;
  double cpu_s;
};

static double cpu_now_s(void) {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static struct timing measure(struct bench *b, void (*work)(void *)) {
  double begun_s    = cpu_now_s();
  struct timing all = {.time = bench_run(b->comm, RUNS, work, b)};
  all.cpu_s         = (cpu_now_s() - begun_s) / (RUNS + 1);
  return all;
}

static void tell(struct bench *b, const char *name, double occupancy, struct timing run,
                 struct timing pure, int64_t frames, int ranks) {
  char more[512];
  double each = (double)frames / ranks;
  snprintf(more, sizeof more,
           "\"occupancy\":%g,\"frames\":%lld,\"frames_per_s_per_core\":%.0f,\"bytes_per_s\":%.4g,"
           "\"pure_read_frames_per_s_per_core\":%.0f,\"frames_per_cpu_s\":%.0f,"
           "\"pure_read_frames_per_cpu_s\":%.0f",
           occupancy, (long long)frames, each / run.time.min_s,
           (double)frames * PIXELS * 2 / run.time.min_s, each / pure.time.min_s, each / run.cpu_s,
           each / pure.cpu_s);
  bench_print(b->comm, name, run.time, more);
}

/* The same acquisition from the hits that its frames leave. */
static void hits_case(struct bench *b, double hit, struct timing pure, int size) {
  struct compton_frames_settings frames = b->set;
  char path[1100];
  const char *file[] = {path};
  snprintf(path, sizeof path, "%s.hits", frames.frames.file[0]);
  b->set.hits = path;
  count_file(b);
  b->set.hits   = NULL;
  b->set.frames = (struct raw_frames_request){file, 1, false, 0, 0};
  tell(b, "compton_hits", hit, measure(b, count_file), pure, b->n * REPEATS, size);
  b->set = frames;
  MPI_Barrier(b->comm);
  if (log_is_speaker()) unlink(path);
}

static void case_run(struct bench *b) {
  int size;
  MPI_Comm_size(b->comm, &size);
  must(raw_frames_open(b->comm, &b->set.frames, &b->frames));
  must(compton_events_map_make(b->comm, &b->set, &b->frames, &b->map));
  must(compton_events_work_make(&b->map, &b->set, &b->work));
  must(memory_make(b->n * PIXELS, sizeof *b->memory, "frames", &b->memory));
  must(memory_make(PIECE * PIXELS, sizeof *b->piece, "frames", &b->piece));
  must(raw_frames_read_here(&b->frames, 0, b->n, b->memory));
  struct timing pure = measure(b, read_memory), run = measure(b, count_memory);
  double hit = (double)b->work.tally.hits / (double)b->n / PIXELS;
  tell(b, "compton_memory", hit, run, pure, b->n * size, size);
  pure = measure(b, read_file);
  run  = measure(b, count_file);
  tell(b, "compton_file", hit, run, pure, b->n * REPEATS, size);
  hits_case(b, hit, pure, size);
  memory_free(b->memory);
  memory_free(b->piece);
  compton_cube_free(&b->cube);
  compton_events_work_free(&b->work);
  compton_events_map_free(&b->map);
  raw_frames_close(&b->frames);
}

int main(int argc, char **argv) {
  static const double occupancy[] = {0.0002, 0.001, 0.005, 0.02};
  char path[1024];
  const char *file[] = {path};
  struct bench b     = {.comm = MPI_COMM_WORLD, .n = argc > 2 ? atoll(argv[2]) : 20000};
  int rank;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(b.comm, &rank);
  log_open(b.comm, true);
  must(isa_agree(b.comm, "auto"));
  snprintf(path, sizeof path, "%.900s/bench_compton.bin", argc > 1 ? argv[1] : "/tmp");
  b.set = (struct compton_frames_settings){
      .frames        = {file, 1, true, SIDE, SIDE},
      .gain          = "",
      .offset        = "",
      .threshold     = "",
      .gain_kev      = GAIN_KEV,
      .threshold_kev = PEDESTAL * GAIN_KEV + 4,
      .max_cluster   = 2,
      .last_kev      = 160,
      .bin_kev       = 0.2
  };
  for (size_t i = 0; i < sizeof occupancy / sizeof *occupancy; i++) {
    if (rank == 0) file_make(path, occupancy[i], b.n);
    MPI_Barrier(b.comm);
    case_run(&b);
  }
  if (rank == 0) unlink(path);
  MPI_Finalize();
  return 0;
}
