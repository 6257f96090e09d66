/* What all benchmarks share: repeat, take the median and the minimum, print one JSON line beside the
 * machine's own limit measured in the same run. */
#pragma once
#include "base.h"
#include <stdlib.h>
#include <string.h>

enum { BENCH_RUNS_MOST = 101 };
struct bench_time {
  double median_s, min_s;
  int runs;
};

static int bench_compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Collective. `work` is called runs + 1 times (one warm-up); a run lasts until the slowest rank is
 * through. */
static inline struct bench_time bench_run(MPI_Comm comm, int runs, void (*work)(void *),
                                          void *context) {
  double spent_s[BENCH_RUNS_MOST];
  if (runs > BENCH_RUNS_MOST) runs = BENCH_RUNS_MOST;
  for (int i = -1; i < runs; i++) {
    MPI_Barrier(comm);
    double begun_s = MPI_Wtime();
    work(context);
    double here_s = MPI_Wtime() - begun_s, all_s;
    MPI_Allreduce(&here_s, &all_s, 1, MPI_DOUBLE, MPI_MAX, comm);
    if (i >= 0) spent_s[i] = all_s;
  }
  qsort(spent_s, (size_t)runs, sizeof *spent_s, bench_compare);
  return (struct bench_time){spent_s[runs / 2], spent_s[0], runs};
}

/* One line on rank 0: {"case":..., "ranks":..., "median_s":..., "min_s":..., "runs":..., <more>}; `more`
 * is JSON members without braces, "" for none. */
static inline void bench_print(MPI_Comm comm, const char *name, struct bench_time time,
                               const char *more) {
  int rank, size;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  if (rank == 0) {
    printf("{\"case\":\"%s\",\"ranks\":%d,\"isa\":\"%s\",\"median_s\":%.6g,\"min_s\":%.6g,\"runs\":"
           "%d%s%s}\n",
           name, size, isa_name(isa_now()), time.median_s, time.min_s, time.runs, *more ? "," : "",
           more);
    fflush(stdout);
  }
}

/* All ranks' memory bandwidth together, bytes/s, by STREAM's triad on arrays far larger than caches. */
static inline double bench_stream_bytes_per_s(MPI_Comm comm) {
  const int64_t n = 8 << 20;
  double *a, *b, *c, best_s = 1e30;
  if (memory_make(n, sizeof *a, "stream", &a) || memory_make(n, sizeof *b, "stream", &b) ||
      memory_make(n, sizeof *c, "stream", &c))
    status_abort(STATUS_MEMORY, "%s", status_text());
  for (int k = 0; k < 8; k++) {
    MPI_Barrier(comm);
    double begun_s = MPI_Wtime();
    for (int64_t i = 0; i < n; i++) a[i] = b[i] + 1.5 * c[i];
    __asm__ volatile("" : : "r"(a) : "memory");
    MPI_Barrier(comm);
    double spent_s = MPI_Wtime() - begun_s;
    if (spent_s < best_s) best_s = spent_s;
  }
  memory_free(a);
  memory_free(b);
  memory_free(c);
  int size;
  MPI_Comm_size(comm, &size);
  return 24.0 * (double)n * size / best_s;
}
