/* base: what every folder stands on - status and agreement across ranks, log, timers, memory
 * count, instruction sets, exact sums, units and constants. */
#pragma once
#include <mpi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* ---- status ------------------------------------------------------------------------------ */

/* One row per way a run can end: name, exit code of the program, words. */
#define STATUS_LIST(X)                                                                             \
  X(OK, 0, "success")                                                                              \
  X(INTERNAL, 1, "internal error")                                                                 \
  X(USAGE, 2, "usage or configuration")                                                            \
  X(INPUT, 3, "input")                                                                             \
  X(MEMORY, 4, "memory or disk")                                                                   \
  X(OUTPUT, 5, "output")                                                                           \
  X(NOT_CONVERGED, 6, "tolerance or quality not reached")                                          \
  X(STOPPED, 75, "stopped early, run again to go on")

enum status {
#define X(name, exit, text) STATUS_##name,
  STATUS_LIST(X)
#undef X
};

/* Local: records rank, place and words (the first record wins until status_clear) and gives `code`
 * back. The message says what, where, which value and what would be right. */
#define FAIL(code, ...) status_set((code), __FILE__, __LINE__, __VA_ARGS__)
enum status status_set(enum status code, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Collective: one reduction when all is well. Otherwise every rank returns the status of the first
 * (lowest) failing rank and holds its message. `site` names the place; in debug mode
 * (XCSCT_DEBUG_AGREE=1) ranks that agree at different places end the job with both places. */
enum status status_agree(MPI_Comm comm, enum status mine, const char *site);

/* Local function: leave on the first failure. */
#define TRY(expr)                                                                                  \
  do {                                                                                             \
    enum status try_status_ = (expr);                                                              \
    if (try_status_ != STATUS_OK) return try_status_;                                              \
  } while (0)
/* Collective function: leave only when all ranks leave. */
#define TRY_ALL(comm, expr) TRY(AGREE(comm, expr))
#define AGREE(comm, expr)   status_agree((comm), (expr), __FILE__ ":" STATUS_LINE_(__LINE__))
#define STATUS_LINE_(n)     STATUS_LINE2_(n)
#define STATUS_LINE2_(n)    #n

const char *status_name(enum status code);
const char *status_words(enum status code);
int status_exit_code(enum status code);
/* Message of the first failure, "" when none; status_place: "rank 2, file.c:14". */
const char *status_text(void);
const char *status_place(void);
void status_clear(void);
/* Local: puts "name: " before the message when it does not name that file yet. */
void status_about(const char *name);
/* Local, does not return: for what cannot be agreed (inside PETSc, MPI, HDF5). Prints and calls
 * MPI_Abort on the program's communicator with the exit code of `code`. */
_Noreturn void status_abort(enum status code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Which communicator status_abort ends and whose rank messages name; set once by the program. */
void status_program_set(MPI_Comm comm);

/* Test builds (XCSCT_FAULTS): fails when the environment says FAULT=site:rank, stays for ever when it says
 * FAULT=site:rank:hang. Else always OK. */
enum status fault_here(const char *site);

/* Narrows with a check: INTERNAL when it does not fit. */
enum status base_int_from(int64_t value, const char *what, int *out);

/* ---- memory ------------------------------------------------------------------------------ */

/* Counted allocation, zeroed, aligned to 64 bytes; MEMORY status naming `what` and the bytes when
 * it fails. count x size is checked for overflow. A count of 0 gives a valid pointer.
 * memory_free(NULL) does nothing. Ownership passes to the caller. */
enum status memory_make(int64_t count, size_t size_bytes, const char *what, void *out_pointer);
/* The same without zeroing. */
enum status memory_make_raw(int64_t count, size_t size_bytes, const char *what, void *out_pointer);
void memory_free(void *pointer);
int64_t memory_now_bytes(void);
int64_t memory_peak_bytes(void);
void memory_peak_reset(void); /* to what is in use now */
/* Peak resident set of the process, bytes. */
int64_t memory_rss_peak_bytes(void);

/* ---- log (rank 0 speaks, on stderr) -------------------------------------------------------- */

void log_open(MPI_Comm comm, bool quiet);
/* A line "xcsct: ..." from rank 0 only; silent when quiet. */
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* As log_info, told even when quiet; for what a user must know about the result. */
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Progress of `done` out of `total`: a bar on a terminal, else at most a line every 10 s. */
void log_progress(const char *what, int64_t done, int64_t total);
bool log_is_speaker(void);
/* Monotonic seconds. */
double time_now_s(void);
/* Local. Seconds of this process between the two calls are upkeep: what only keeps a run safe (probes of
 * inputs, records, journals, locks, syncs, reading back). Spans inside a span count once. upkeep_end
 * gives `status` back. */
void upkeep_begin(void);
enum status upkeep_end(enum status status);
double upkeep_s(void); /* of all spans that have ended */

/* Local. `see` (NULL: nobody) is called on the rank that speaks, also when quiet, at most every second
 * of progress; left_s is NAN while nothing is known. */
void log_progress_seen_by(void (*see)(void *context, const char *what, int64_t done, int64_t total,
                                      double left_s),
                          void *context);

/* ---- small files ---------------------------------------------------------------------------- */

/* Collective. Rank 0 reads the file, every rank gets its bytes (a 0 byte follows the last); the caller
 * memory_free's them. INPUT when it cannot be read or has more than most_bytes. */
enum status file_bytes(MPI_Comm comm, const char *path, int64_t most_bytes, char **bytes,
                       int64_t *n);

/* Local. Reads or writes at an offset of an open file, past interruptions; how many bytes: where it is less, errno tells why (0:
 * the file ends there). */
int64_t file_read_at(int handle, void *to, int64_t bytes, int64_t at);
int64_t file_write_at(int handle, const void *from, int64_t bytes, int64_t at);

/* ---- stop requests ------------------------------------------------------------------------- */

/* Installs TERM and USR1 handlers and the limits; `stop_file` may be NULL, max_s 0 for none. */
void stop_watch(const char *stop_file, double max_s);
/* Collective: STOPPED on all ranks when any rank was asked to stop. Called between rounds. */
enum status stop_agree(MPI_Comm comm);

/* ---- watchdog ---------------------------------------------------------------------------------- */

/* Local. From now on a rank that for limit_s seconds neither came past an agreement nor told progress says
 * where it stands, and soon after the job is ended with the code of INTERNAL. 0: no longer. */
void watch_begin(double limit_s);
/* Local. This rank is well, although it comes to no agreement (a long wait, a long calculation). */
void watch_alive(void);

/* ---- instruction sets ----------------------------------------------------------------------- */

/* Hot kernels live in files named *_kernel.c, compiled once per instruction set with ISA_NAME(f)
 * giving f_baseline, f_avx2, f_avx512 (AVX2 = x86-64-v3, AVX512 = x86-64-v4). On other machines
 * than x86-64 only the baseline exists. */
enum isa { ISA_BASELINE, ISA_AVX2, ISA_AVX512 };
#define ISA_PASTE2_(f, s) f##_##s
#define ISA_PASTE_(f, s)  ISA_PASTE2_(f, s)
#ifdef XCSCT_ISA
#define ISA_NAME(f) ISA_PASTE_(f, XCSCT_ISA)
#endif
#ifdef XCSCT_ISA_X86
#define ISA_DECLARE(ret, f, ...)                                                                   \
  ret f##_baseline(__VA_ARGS__);                                                                   \
  ret f##_avx2(__VA_ARGS__);                                                                       \
  ret f##_avx512(__VA_ARGS__);
#define ISA_PICK(f)                                                                                \
  (isa_now() == ISA_AVX512 ? f##_avx512 : isa_now() == ISA_AVX2 ? f##_avx2 : f##_baseline)
#else
#define ISA_DECLARE(ret, f, ...) ret f##_baseline(__VA_ARGS__);
#define ISA_PICK(f)              (f##_baseline)
#endif
/* What was chosen; before isa_agree: the best of this machine. */
enum isa isa_now(void);
const char *isa_name(enum isa isa);
/* Collective: all ranks take the lowest of what they can do and of `limit_name` (NULL or "auto" for
 * no limit; else baseline, avx2, avx512; USAGE when unknown or more than a machine can do). */
enum status isa_agree(MPI_Comm comm, const char *limit_name);

/* ---- exact sums ------------------------------------------------------------------------------ */

/* A sum of doubles whose bits do not depend on order or rank count: integer bins, one per 32 bits
 * of exponent range (Demmel and Nguyen's idea with 64-bit integers, exact for all finite doubles).
 * Up to 2^31 terms per bin before an automatic carry. */
enum { EXACT_BINS = 68 };
struct exact_sum {
  int64_t bin[EXACT_BINS];
  int64_t terms; /* since the last carry */
  int64_t bad;   /* count of NaN or infinite terms */
};
void exact_add(struct exact_sum *sum, double value);
void exact_add_many(struct exact_sum *sum, const float *value, int64_t n);
void exact_merge(struct exact_sum *sum, const struct exact_sum *other);
/* Correctly rounded to within one unit in the last place; NaN when any term was not finite. */
double exact_value(const struct exact_sum *sum);
/* Collective: `n` sums, each summed over all ranks; every rank gets the same bits. */
enum status exact_allreduce(MPI_Comm comm, struct exact_sum *sum, int n);

/* ---- units and constants (CODATA 2018) ------------------------------------------------------ */

#define ELECTRON_MASS_KEV      510.99895
#define INVERSE_FINE_STRUCTURE 137.035999
#define FARADAY_C_PER_MOL      96485.33212
#define PI                     3.14159265358979323846
#define DEG_PER_RAD            (180.0 / PI)
